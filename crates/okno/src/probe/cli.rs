//! `okno probe`: what each of its commands takes, with examples.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use okno_probe::guard::Range;

use crate::cli::Language;

/// `okno probe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno probe test https://site.example --helper https://helper.example/
  okno probe run --input https://site.example --dry-run
  okno probe manual throttling

Nothing is sent before you ask for it, and results stay on this disk. What a test sends, what it
costs and what it may mean for you: okno probe manual, or docs/probe-tests.md.")]
pub struct Probe {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// The probe's commands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Run tests, and write what they saw as OONI's JSON lines
    Run(Box<Run>),
    /// Measure one address of the web, and say in a sentence what happened
    Test(Box<Test>),
    /// Serve as the other side of other people's measurements
    Helper(Helper),
    /// Print what tests do: trigger, control, logic, blind spots, cost, risk
    Manual(Manual),
}

/// What every measurement takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Base URL of a test helper (`okno probe helper` runs one); without it nothing can be compared
    #[arg(long, value_name = "URL", env = "OKNO_HELPER")]
    pub helper: Option<String>,
    /// Address of the helper, when its name shall not be looked up; can be repeated
    #[arg(long, value_name = "IP")]
    pub helper_address: Vec<IpAddr>,
    /// Country that is written into results
    #[arg(long, value_name = "CC", default_value = "ZZ")]
    pub country: String,
    /// Network that is written into results, as AS64500
    #[arg(long, value_name = "ASN", default_value = "AS0")]
    pub network: String,
    /// Name of the network that is written into results
    #[arg(long, value_name = "NAME", default_value = "")]
    pub network_name: String,
    /// Kind of the network that is written into results
    #[arg(long, value_name = "TYPE", default_value = "unknown", value_parser = ["wifi", "mobile", "wired", "unknown"])]
    pub network_type: String,
    /// STUN server that tells the own public address, so that it is taken out of results; `none` asks nobody
    #[arg(long, value_name = "HOST:PORT", default_value = "stun.cloudflare.com:3478")]
    pub stun: String,
    /// List every host that would be contacted, and contact none
    #[arg(long)]
    pub dry_run: bool,
    /// Run what is risky too, after its warning was read
    #[arg(long)]
    pub i_understand: bool,
    /// Most bytes that may go over the line, both ways
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    pub budget_bytes: u64,
    /// A private or reserved range that may be measured, for your own labs: 198.18.0.0/15
    #[arg(long, value_name = "RANGE")]
    pub allow_range: Vec<Range>,
    /// Certificate (PEM) of an authority to trust beside those of browsers, for your own servers
    #[arg(long, value_name = "FILE")]
    pub authority: Vec<PathBuf>,
    /// A test's options, NAME={…}; okno probe manual names them
    #[arg(long, value_name = "NAME=JSON")]
    pub option: Vec<String>,
    /// Folder of reference data; its test lists tell which targets are risky
    #[arg(long, value_name = "DIR", env = "OKNO_REFERENCE")]
    pub reference: Option<PathBuf>,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `okno probe run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno probe run --input https://site.example --helper https://helper.example/ --country KZ
  okno probe run --test telegram --test signal
  okno probe run --inputs list.txt --parallel 8 --output today.jsonl && okno observe today.jsonl
  okno probe run --test throttling --dry-run

Without --test, inputs are measured by web_connectivity. A list has one input a line; of CSV the first column
counts. Results are JSON lines as OONI's tools read them, without your addresses.
Exit codes: 0 measured, 1 nothing could be measured or written, 2 refused or unusable arguments.")]
pub struct Run {
    /// Test to run; can be repeated
    #[arg(long, value_name = "NAME")]
    pub test: Vec<String>,
    /// What to measure: a URL, a host or an endpoint, as the test wants; can be repeated
    #[arg(long, value_name = "INPUT")]
    pub input: Vec<String>,
    /// File with inputs, one a line
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    /// Where to write results [default: okno-probe-TIME.jsonl]; it must not exist
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Measurements at a time; tests of rates always run alone
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: u16,
    /// Print a summary, or the hosts of a dry run, as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// What every measurement takes.
    #[command(flatten)]
    pub common: Common,
}

/// `okno probe test`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno probe test https://site.example --helper https://helper.example/
  okno probe test site.example --lang ru

One measurement is no verdict: try again later, and from another network.
Exit codes: 0 measured (whatever it found), 1 could not be measured, 2 refused or unusable arguments.")]
pub struct Test {
    /// What to measure; without a scheme https:// is taken
    #[arg(value_name = "URL")]
    pub target: String,
    /// Test to run
    #[arg(long, value_name = "NAME", default_value = "web_connectivity")]
    pub test: String,
    /// Language of the answer [default: the system's]
    #[arg(long, value_enum)]
    pub lang: Option<Language>,
    /// Also write the measurement
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print sentence, verdicts and measurement as JSON
    #[arg(long)]
    pub json: bool,
    /// What every measurement takes.
    #[command(flatten)]
    pub common: Common,
}

/// `okno probe helper`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno probe helper --listen 0.0.0.0:8080
  okno probe helper --listen 0.0.0.0:443 --certificate chain.pem --key key.pem --udp 203.0.113.7
  okno probe helper --listen 127.0.0.1:8080 --allow-private     for trying it on one machine

The helper answers OONI's protocol for web_connectivity (POST, JSON): it looks names up, connects and fetches
pages for its clients, to public addresses and the ports of the web alone, and keeps no log. With --udp it
also answers probes of tunnels and calls; with --partner it replays transfers, dials back and counts fragments,
for clients that say the right hello. Ends with Ctrl-C.
Exit codes: 0 ended by you, 1 it cannot listen, 2 unusable arguments.")]
pub struct Helper {
    /// Where to listen for HTTP (or HTTPS, with a certificate)
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Certificate chain (PEM); makes it HTTPS
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Address on which to answer probes of tunnels and calls over UDP
    #[arg(long, value_name = "IP")]
    pub udp: Option<IpAddr>,
    /// Address and port on which to be the partner of replays, dial-backs and fragment counts
    #[arg(long, value_name = "ADDRESS")]
    pub partner: Option<SocketAddr>,
    /// Address and port on which to send back lines and headers of HTTP, for the tests that look for proxies
    #[arg(long, value_name = "ADDRESS")]
    pub echo: Option<SocketAddr>,
    /// Resolver to ask for names, over UDP [default: the system's]
    #[arg(long, value_name = "ADDRESS")]
    pub resolver: Option<SocketAddr>,
    /// Connect to private and reserved addresses too; for trying it on one machine or in a lab
    #[arg(long)]
    pub allow_private: bool,
}

/// `okno probe manual`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno probe manual
  okno probe manual web_connectivity
  okno probe manual --markdown > docs/probe-tests.md")]
pub struct Manual {
    /// One test only
    pub test: Option<String>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
