//! The command line: what each command takes, with an example each.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Okno: an open observatory for closing internets.
#[derive(Debug, Parser)]
#[command(name = "okno", version, about, long_about = None, propagate_version = true,
    after_help = "Start with: okno observe samples")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read measurements, judge them, and write a report
    Observe(Observe),
    /// Ask the lake a question in SQL
    Sql(Sql),
    /// List the lake's tables and what their columns mean
    Tables(Tables),
    /// List the rules that verdicts come from
    Rules(Rules),
    /// List or import reference data: who announces an address, blockpages, test lists
    Reference(Reference),
    /// Measure: one honest session on this machine's network
    Probe(crate::probe::Probe),
    /// Rehearse: captures and scenarios against documented boxes
    Lab(crate::lab::Lab),
}

/// `okno observe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno observe samples
  okno observe ~/ooni/raw/20250702 --reference ~/okno-reference --report ru.html
  zcat part.jsonl.gz | okno observe - --lake /data/lake --json
  okno observe --rules ooni-v5          judge again what the lake holds, by other rules

Reads .jsonl and .json files, plain or packed (gzip, zstd, lz4, tar), folders of them, globs, and - for standard input.
Exit codes: 0 done (rejects are counted, not fatal), 1 nothing could be read, 2 unusable arguments.")]
pub struct Observe {
    /// Files, folders, globs, or - for standard input; none judges the lake again
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Folder of the lake (Parquet files that DuckDB, Polars and pandas read as they are)
    #[arg(long, value_name = "DIR", default_value = "okno-data")]
    pub lake: PathBuf,
    /// Where to write the report; one HTML file
    #[arg(long, value_name = "FILE", default_value = "okno-report.html")]
    pub report: PathBuf,
    /// Language that the report opens in [default: the system's]; the other is one click away
    #[arg(long, value_enum)]
    pub lang: Option<Language>,
    /// Rules to judge by: native, ooni-v5, or a file
    #[arg(long, value_name = "RULES", default_value = "native")]
    pub rules: String,
    /// Folder of reference data; see `okno reference --help`
    #[arg(long, value_name = "DIR", env = "OKNO_REFERENCE")]
    pub reference: Option<PathBuf>,
    /// Print the report's facts as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Threads; the answer does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// The report's languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English
    En,
    /// Russian
    Ru,
}

/// `okno sql`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno sql \"SELECT target, network, state, count(*) n FROM measurement_verdicts GROUP BY ALL ORDER BY n DESC LIMIT 20\"
  okno sql --format csv \"SELECT * FROM rejects\" > rejects.csv

Tables: okno tables. Only questions are taken, no statements that write.")]
pub struct Sql {
    /// The question
    #[arg(value_name = "SELECT")]
    pub query: String,
    /// Folder of the lake
    #[arg(long, value_name = "DIR", default_value = "okno-data")]
    pub lake: PathBuf,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// aligned columns
    Table,
    /// RFC 4180
    Csv,
    /// an array of objects
    Json,
}

/// `okno tables`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno tables
  okno tables verdicts
  okno tables --markdown > docs/tables.md")]
pub struct Tables {
    /// One table only
    pub table: Option<String>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `okno rules`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno rules
  okno rules --rules ooni-v5 --json")]
pub struct Rules {
    /// native, ooni-v5, or a file
    #[arg(long, value_name = "RULES", default_value = "native")]
    pub rules: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `okno reference`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno reference list
  npm pack @ip-location-db/asn && okno reference import ip-location-db-asn-*.tgz
  okno reference import fingerprints_dns.csv fingerprints_http.csv test-lists/lists/

Without reference data `observe` still runs; it then says what it could not tell.
Where the tables come from and their licences: docs/reference.md.")]
pub struct Reference {
    /// What to do.
    #[command(subcommand)]
    pub action: ReferenceAction,
}

/// What `okno reference` does.
#[derive(Debug, Subcommand)]
pub enum ReferenceAction {
    /// Show what is imported
    #[command(after_help = "Examples:
  okno reference list
  okno reference list --reference /data/reference --json")]
    List {
        /// Folder of reference data
        #[arg(long, value_name = "DIR", env = "OKNO_REFERENCE", default_value = "okno-reference")]
        reference: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Import tables: IP to AS, countries, fingerprints, test lists
    #[command(after_help = "Examples:
  okno reference import ip-location-db-asn-*.tgz fingerprints_dns.csv fingerprints_http.csv
  okno reference import test-lists/lists/ --reference /data/reference")]
    Import {
        /// Files or folders as published (.csv, .json, .tgz of npm; plain, gzip or zstd)
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Folder to import into
        #[arg(long, value_name = "DIR", env = "OKNO_REFERENCE", default_value = "okno-reference")]
        reference: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
