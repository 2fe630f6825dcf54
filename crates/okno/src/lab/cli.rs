//! `okno lab`: what each of its commands takes, with an example each.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `okno lab`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab replay capture.pcapng --profile tspu-2022
  okno lab audit capture.pcapng

The lab models what has been measured, so that detectors are scored against a known truth and tools are
rehearsed. It sends nothing: there is no way from it to an interface. Guide: docs/lab.md.")]
pub struct Lab {
    /// What to do.
    #[command(subcommand)]
    pub action: LabAction,
}

/// The lab's commands.
#[derive(Debug, Subcommand)]
pub enum LabAction {
    /// Tell, flow by flow, what a documented box would have recognised and done
    Replay(Replay),
    /// Tell what somebody on the path learns from a capture
    Audit(Audit),
}

/// `okno lab replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okno lab replay capture.pcapng --profile tspu-2022
  okno lab replay day1.pcap day2.pcap --profile tspu-2026 --list names=my-names.txt --lake okno-data
  tcpdump -w - port 443 | okno lab replay - --profile china-gfw --json

Reads pcap and pcapng, plain or packed (gzip, zstd, lz4), folders of them, globs, and - for standard input, as a
stream. What is recorded has happened: every deed is what the box would have done, and the rest of a flow stays as
recorded. --json prints one line a flow and one line for the summary.
Exit codes: 0 done, 1 nothing could be read, 2 unusable arguments.")]
pub struct Replay {
    /// Captures, folders, globs, or - for standard input
    #[arg(value_name = "CAPTURE", required = true)]
    pub captures: Vec<PathBuf>,
    /// Profile to ask, NAME[:VARIANT][@DATE]; `okno lab explain` lists them
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

Says what an observer on the path learns without breaking any encryption: names, addresses, fingerprints,
identities, protocol by protocol. Contents are never kept. What identifies people is shortened unless asked for.
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
