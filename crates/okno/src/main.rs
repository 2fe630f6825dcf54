//! The one binary: wires the crates to the command line. Clocks, threads and standard streams live here.

mod cli;
mod facts;
mod lab;
mod observe;
mod probe;
mod reference;
mod report;
mod rules;
mod sql;
mod tables;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Observe(args) => observe::run(&args),
        Command::Sql(args) => sql::run(&args),
        Command::Tables(args) => tables::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Reference(args) => reference::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Lab(args) => lab::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
            {
                return ExitCode::SUCCESS;
            }
            eprintln!("okno: {error:#}");
            ExitCode::from(if error.downcast_ref::<Unusable>().is_some() { 2 } else { 1 })
        }
    }
}

/// An argument that cannot be used: exit code 2.
#[derive(Debug)]
struct Unusable(String);

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}
