//! `okno lab fidelity` and `okno lab matrix`: what the model does beside what the record says.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use okno_lab::fidelity::{Outcome, fidelity as try_all};
use okno_lab::matrix::matrix as compute;

use super::cli;

/// Tries every documented behaviour.
pub fn fidelity(args: &cli::Fidelity) -> Result<ExitCode> {
    let mut report = try_all();
    let failed = report.failed > 0;
    if args.failed {
        report.rows.retain(|row| row.outcome == Outcome::Failed);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else if args.failed {
        write!(out, "{}", report.failures())?;
        writeln!(out, "{} passed, {} failed, {} unknown", report.passed, report.failed, report.unknown)?;
    } else {
        write!(out, "{}", report.table())?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints what survives what.
pub fn matrix(args: &cli::Matrix) -> Result<ExitCode> {
    let matrix = compute().map_err(|problem| anyhow!("the matrix could not be computed: {problem}"))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&matrix)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let tables = [
        ("Evasions by mechanism and year", &matrix.evasions),
        ("Protocols by profile and day", &matrix.protocols),
        ("Evasions by server, no box between", &matrix.servers),
    ];
    for (title, table) in tables {
        writeln!(out, "{title}\n\n{}", table.text())?;
    }
    Ok(ExitCode::SUCCESS)
}
