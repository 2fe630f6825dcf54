//! `okno reference`: list and import what is known from outside.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use okno_ingest::reference::{self, Reference, TableEntry};

use crate::Unusable;
use crate::cli::{self, ReferenceAction};

/// Folder that `observe` looks into when none is named.
pub const DEFAULT: &str = "okno-reference";

pub fn run(args: &cli::Reference) -> Result<ExitCode> {
    match &args.action {
        ReferenceAction::List { reference, json } => {
            let loaded = load(Some(reference))?;
            print(loaded.tables(), *json)?;
            if !json {
                for sentence in loaded.missing() {
                    println!("not told: {sentence}");
                }
            }
        }
        ReferenceAction::Import { paths, reference, json } => {
            let tables = reference::import(paths, reference)
                .with_context(|| format!("nothing was imported into {}", reference.display()))?;
            print(&tables, *json)?;
            if !json {
                println!("imported into {}; `okno observe … --reference {0}` uses it", reference.display());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads reference data: the folder named, else `okno-reference` where it exists, else none.
pub fn load(named: Option<&Path>) -> Result<Reference> {
    let default = PathBuf::from(DEFAULT);
    let dir = match named {
        Some(dir) if dir.is_dir() => dir,
        Some(dir) => {
            let text = format!(
                "{} is no folder; `okno reference import FILE… --reference {0}` makes it",
                dir.display()
            );
            return Err(Unusable(text).into());
        }
        None if default.is_dir() => &default,
        None => return Ok(Reference::empty()),
    };
    Ok(Reference::load(dir)?)
}

fn print(tables: &[TableEntry], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(tables)?)?;
        return Ok(());
    }
    for table in tables {
        writeln!(
            out,
            "{:24} {:12} {:>9} rows  {:32}  {}",
            table.name, table.version, table.rows, table.licence, table.origin
        )?;
    }
    if tables.is_empty() {
        writeln!(out, "no tables")?;
    }
    Ok(())
}
