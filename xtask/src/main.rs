//! `cargo xtask`: the project's own chores. CI calls these commands and nothing else.
//!
//! It depends on no crate of the workspace: it must build in seconds and work while they are broken.

mod chores;
mod samples;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask <command>
  test [ARGS]                      run all tests (release profile); the closing line sums them
  ci                               fmt, tidy, clippy, doc, test
  tidy [--ratchet]                 rules of the house that no compiler checks; --ratchet accepts present sizes
  bench [NAME [ARGS]]              run the benches
  samples [--seed N] [--out DIR]   write samples/ (measurements with a known truth)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = args.split_first() else {
        bail!("no command\n{USAGE}");
    };
    let root = root();
    match command.as_str() {
        "samples" => {
            let seed = match option(rest, "--seed") {
                Some(text) => text.parse().with_context(|| format!("--seed {text} is no number"))?,
                None => samples::SEED,
            };
            let out = option(rest, "--out").map_or_else(|| root.join("samples"), PathBuf::from);
            samples::run(seed, &out)?;
            Ok(ExitCode::SUCCESS)
        }
        "test" => chores::test(&root, rest),
        "ci" => chores::ci(&root),
        "tidy" if rest.iter().any(|arg| arg == "--ratchet") => {
            tidy::write_ratchet(&root)?;
            Ok(ExitCode::SUCCESS)
        }
        "tidy" => Ok(if tidy::report(&root)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        "bench" => chores::bench(&root, rest.first().map(String::as_str), rest.get(1..).unwrap_or(&[])),
        other => bail!("unknown command {other}\n{USAGE}"),
    }
}

fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}

fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
