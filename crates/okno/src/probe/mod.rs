//! `okno probe`: measurements on this machine's network, and the other side of other people's.

mod cli;
mod explain;
mod helper;
mod manual;
mod output;
mod run;
mod setup;
mod single;

use std::process::ExitCode;

use anyhow::Result;

use cli::Action;
pub use cli::Probe;

pub fn run(args: &Probe) -> Result<ExitCode> {
    match &args.action {
        Action::Run(args) => run::run(args),
        Action::Test(args) => single::run(args),
        Action::Helper(args) => helper::run(args),
        Action::Manual(args) => manual::run(args),
    }
}
