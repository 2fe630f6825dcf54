//! `okno sql`: a question to the lake.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use okno_store::Session;

use crate::cli::{Format, Sql};

pub fn run(args: &Sql) -> Result<ExitCode> {
    let session = Session::open(&args.lake)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let format = match args.format {
        Format::Table => okno_store::Format::Table,
        Format::Csv => okno_store::Format::Csv,
        Format::Json => okno_store::Format::Json,
    };
    session.write(&args.query, format, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
