//! `okno lab`: captures, scenarios and profiles from the command line.

mod audit;
mod cli;
mod files;
mod profile;
mod replay;
mod rows;
mod run;
mod score;
mod suite;
mod summary;
mod text;

use std::process::ExitCode;

use anyhow::Result;

pub use cli::Lab;
use cli::LabAction;

pub fn run(args: &Lab) -> Result<ExitCode> {
    match &args.action {
        LabAction::Run(args) => run::run(args),
        LabAction::Replay(args) => replay::run(args),
        LabAction::Audit(args) => audit::run(args),
        LabAction::Matrix(args) => suite::matrix(args),
        LabAction::Fidelity(args) => suite::fidelity(args),
        LabAction::Explain(args) => profile::explain(args),
        LabAction::Score(args) => score::score(args),
        LabAction::Fit(args) => score::fit(args),
    }
}
