//! `okno lab`: captures, scenarios and profiles from the command line.

mod cli;
mod files;
mod profile;
mod replay;
mod rows;
mod summary;
mod text;

use std::process::ExitCode;

use anyhow::Result;

pub use cli::Lab;
use cli::LabAction;

pub fn run(args: &Lab) -> Result<ExitCode> {
    match &args.action {
        LabAction::Replay(args) => replay::run(args),
        LabAction::Audit(_) => anyhow::bail!("not there yet"),
    }
}
