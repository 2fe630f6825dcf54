//! `okno lab`: what each of its commands takes, with an example each.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `okno lab`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab replay capture.pcapng --profile tspu-2022
  okno lab audit capture.pcapng
  okno lab run scenarios/runet-2022-march

The lab models what has been measured, so that detectors are scored against a known truth and
tools are rehearsed. It sends nothing: there is no way from it to an interface. Guide:
docs/lab.md.")]
pub struct Lab {
    /// What to do.
    #[command(subcommand)]
    pub action: LabAction,
}

/// The lab's commands.
#[derive(Debug, Subcommand)]
pub enum LabAction {
    /// Run a scenario in virtual time, with the truth of what happened
    Run(Run),
    /// Tell, flow by flow, what a documented box would have recognised and done
    Replay(Replay),
    /// Tell what somebody on the path learns from a capture
    Audit(Audit),
    /// Print which evasion or protocol survives which mechanism in which year
    Matrix(Matrix),
    /// Try the models against what is documented, row by row
    Fidelity(Fidelity),
    /// Tell where each figure of a profile comes from, or list the profiles
    Explain(Explain),
    /// Judge what probes in scenarios measured, and compare with the truth
    Score(Score),
    /// Fit the probabilities of rules to what probes in scenarios measured
    Fit(Fit),
}

/// `okno lab score`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab score
  okno lab score scenarios/runet-2026 --rules native --rules ooni-v5
  okno lab score scenarios/china-2024 --seed 7 --output board --json

Runs scenarios with their probes and their benign twins, judges what the probes wrote as observe
does, and counts: precision and recall by mechanism, layer, network and test, delay, calibration,
confusion. Without a scenario it takes those that scenarios/split.toml holds out from fitting. What
counts as right and what is left out: docs/scoring.md. The same seed gives the same board.
Exit codes: 0 done, 1 nothing was measured, 2 unusable arguments or scenario.")]
pub struct Score {
    /// Folders of scenarios; a benign twin beside one is taken along
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
    /// native, native-by-hand, ooni-v5 or a file; several are scored beside each other
    #[arg(long, value_name = "RULES", default_values = ["native", "ooni-v5"])]
    pub rules: Vec<String>,
    /// Another seed than the scenarios'
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads; the board does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Run the scenarios' clients, too, not their probes alone
    #[arg(long)]
    pub clients: bool,
    /// Write board.json, board.txt, board.html there, and for each scenario its measurements
    /// (NAME.jsonl) and what the first ruleset says of them beside the truth (NAME.scored.jsonl)
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `okno lab fit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab fit > crates/detect/rules/fitted.toml
  okno lab fit --split my-split.toml --version 4

Runs the scenarios that the split names for fitting, with its seeds and their benign twins, and
prints for every rule that decided something how often it was right, and the posterior of its
probability. Rules without data keep what was set by hand. The same split gives the same bytes.
Exit codes: 0 done, 1 nothing was measured, 2 unusable arguments or scenario.")]
pub struct Fit {
    /// Which scenarios are fitted to, and which are held out
    #[arg(long, value_name = "FILE", default_value = "scenarios/split.toml")]
    pub split: PathBuf,
    /// Number of this fit
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub version: u32,
    /// Threads; the fit does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `okno lab run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab run scenarios/runet-2022-march
  okno lab run scenarios/runet-2022-march --until 2022-02-27 --trace trace.pcapng --truth truth.jsonl
  okno lab run my-scenario --seed 7 --threads 1 --lake okno-data --json

Time is virtual: weeks take seconds to minutes. The same scenario and seed give the same bytes, on
any number of threads. The truth says which filter acted on whom, when and why, and which faults
were no censorship.
Exit codes: 0 done, 1 it broke off, 2 unusable arguments or scenario (file, line and fix are
named).")]
pub struct Run {
    /// Folder of a scenario, or its file
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// Another seed than the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads; the answer does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Stop at this moment of virtual time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// So many clients instead of the scenario's number
    #[arg(long, value_name = "N")]
    pub clients: Option<u32>,
    /// Write the packets at the subscribers' side as pcapng
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Only this cell's packets, `mts/moscow`
    #[arg(long, value_name = "CELL", requires = "trace")]
    pub trace_cell: Vec<String>,
    /// Write the truth as JSON lines
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Write truth and outcomes into this lake, tables `truth` and `outcomes`
    #[arg(long, value_name = "DIR")]
    pub lake: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `okno lab fidelity`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab fidelity
  okno lab fidelity --failed
  okno lab fidelity --json > fidelity.json

Each row is one documented behaviour with its source. Where the record is silent the row says
unknown and nothing is asserted.
Exit codes: 0 no row failed, 1 a row failed.")]
pub struct Fidelity {
    /// Print only the rows that failed, with their sources
    #[arg(long)]
    pub failed: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `okno lab matrix`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab matrix
  okno lab matrix --json > matrix.json

Each cell is a packet sequence run through a profile's box to a modelled server. = marks cells
that are as the record says, ! those that are not; the others are what the model says where the
record is silent.
Exit codes: 0 done, 1 a cell could not be computed.")]
pub struct Matrix {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `okno lab explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab explain
  okno lab explain tspu-2022
  okno lab explain tspu-2026@2026-03-01 --json

Each figure carries the kind of its source, how surely it is known, and the source itself; where
sources disagree both are shown, and where nobody knows it says so.
Exit codes: 0 done, 2 no such profile.")]
pub struct Explain {
    /// `NAME[:VARIANT][@DATE]` or a TOML file; none lists the profiles
    #[arg(value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `okno lab replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab replay capture.pcapng --profile tspu-2022
  okno lab replay day1.pcap day2.pcap --profile tspu-2026 --list sni.blocked=my-names.txt --lake okno-data
  tcpdump -w - port 443 | okno lab replay - --profile china-gfw --json

Reads pcap and pcapng, plain or packed (gzip, zstd, lz4), folders of them, globs, and - for
standard input, as a stream. What is recorded has happened: every deed is what the box would have
done, and the rest of a flow stays as recorded. --json prints one line a flow and one line for the
summary.
Exit codes: 0 done, 1 nothing could be read, 2 unusable arguments.")]
pub struct Replay {
    /// Captures, folders, globs, or - for standard input
    #[arg(value_name = "CAPTURE", required = true)]
    pub captures: Vec<PathBuf>,
    /// Profile to ask, `NAME[:VARIANT][@DATE]` or a TOML file; `okno lab explain` lists them
    #[arg(long, value_name = "NAME")]
    pub profile: String,
    /// Put a file's lines in the place of one of the profile's lists
    #[arg(long, value_name = "LIST=FILE")]
    pub list: Vec<String>,
    /// Choose otherwise than the profile does
    #[arg(long, value_name = "RULE.PARAM=VALUE")]
    pub set: Vec<String>,
    /// Take the rules of this autonomous system
    #[arg(long, value_name = "AS")]
    pub network: Option<u32>,
    /// Addresses on the subscribers' side [default: private ones, else who opened the flow]
    #[arg(long, value_name = "CIDR")]
    pub subscriber: Vec<String>,
    /// Seed of the box's chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the flows into this lake, table `flows`
    #[arg(long, value_name = "DIR")]
    pub lake: Option<PathBuf>,
    /// Print a line for every flow, not only for those on which the box would have acted
    #[arg(long)]
    pub all: bool,
    /// Print JSON lines on standard output
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `okno lab audit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab audit capture.pcapng
  okno lab audit captures/ --json > audit.json
  okno lab audit capture.pcapng --show-identities

Says what an observer on the path learns without breaking any encryption: names, addresses,
fingerprints, identities, protocol by protocol. Contents are never kept. What identifies people is
shortened unless asked for.
Exit codes: 0 done, 1 nothing could be read, 2 unusable arguments.")]
pub struct Audit {
    /// Captures, folders, globs, or - for standard input
    #[arg(value_name = "CAPTURE", required = true)]
    pub captures: Vec<PathBuf>,
    /// Addresses on the subscribers' side [default: private ones, else who opened the flow]
    #[arg(long, value_name = "CIDR")]
    pub subscriber: Vec<String>,
    /// Show identities in full, on the screen only
    #[arg(long)]
    pub show_identities: bool,
    /// Print JSON on standard output
    #[arg(long, conflicts_with = "show_identities")]
    pub json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}
