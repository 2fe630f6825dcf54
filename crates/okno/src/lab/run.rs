//! `okno lab run`: a scenario in virtual time, with its truth.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use okno_lab::run::{Observer, Progress as At, RunError, RunOptions, Trace, interfaces, run as run_lab};
use okno_lab::scenario::{Overrides, Scenario, format_moment, parse_moment};
use okno_lab::tap::{Pcapng, TapRecord};
use okno_lab::truth::JsonLines;
use okno_model::{Outcome, Truth};
use okno_store::{LabWriter, Lake};
use xxhash_rust::xxh3::xxh3_64;

use super::cli;
use crate::Unusable;
use crate::observe::progress::Progress;

pub fn run(args: &cli::Run) -> Result<ExitCode> {
    let end = match &args.until {
        None => None,
        Some(text) => Some(parse_moment(text).ok_or_else(|| {
            Unusable(format!("--until {text}: no moment; write 2022-03-05 or 2022-03-05T12:00:00Z"))
        })?),
    };
    for path in [&args.trace, &args.truth].into_iter().flatten() {
        if path.as_os_str() == "-" {
            let what = "--trace and --truth take a file; standard output has the summary";
            return Err(Unusable(what.to_owned()).into());
        }
    }
    let overrides = Overrides { seed: args.seed, end, clients: args.clients, ..Overrides::default() };
    let scenario = Scenario::load(&args.scenario, &overrides).map_err(|error| Unusable(error.to_string()))?;
    let trace = match (&args.trace, args.trace_cell.is_empty()) {
        (None, _) => Trace::Nothing,
        (Some(_), true) => Trace::Everything,
        (Some(_), false) => Trace::Cells(args.trace_cell.clone()),
    };
    let mut output = Output::begin(args, &scenario, &trace)?;
    let threads = args.threads.unwrap_or_else(available).clamp(1, 256);
    let summary = match run_lab(&scenario, &RunOptions { threads, trace }, &mut output) {
        Ok(summary) => summary,
        Err(RunError::Profile(problem)) => return Err(Unusable(problem.to_string()).into()),
        Err(error) => return Err(error.into()),
    };
    let lake = output.end()?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&summary)?)?;
    } else {
        write!(out, "{summary}")?;
    }
    if let Some(rows) = lake {
        let dir = args.lake.as_deref().unwrap_or(Path::new(".")).display();
        eprintln!(
            "{rows} rows written; okno sql --lake {dir} \"SELECT * FROM truth\" reads them, and outcomes"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Where a run's rows and packets go.
struct Output {
    truth: Option<(BufWriter<File>, JsonLines, JsonLines, PathBuf)>,
    trace: Option<Pcapng<BufWriter<File>>>,
    lake: Option<(Lake, LabWriter, LabWriter)>,
    stage: Option<Progress>,
}

impl Output {
    fn begin(args: &cli::Run, scenario: &Scenario, trace: &Trace) -> Result<Self> {
        let create = |path: &PathBuf| {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Ok::<_, anyhow::Error>(BufWriter::with_capacity(1 << 18, file))
        };
        let truth = match &args.truth {
            None => None,
            Some(path) => {
                let (truth, outcomes) = (JsonLines::of::<Truth<'_>>(), JsonLines::of::<Outcome<'_>>());
                Some((create(path)?, truth, outcomes, path.clone()))
            }
        };
        let names = interfaces(scenario, trace);
        if args.trace.is_some() && names.is_empty() {
            let known = interfaces(scenario, &Trace::Everything).join(", ");
            return Err(Unusable(format!("--trace-cell names no cell; there are {known}")).into());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let trace = match &args.trace {
            None => None,
            Some(path) => Some(Pcapng::new(create(path)?, &names)?),
        };
        let lake = match &args.lake {
            None => None,
            Some(dir) => {
                let lake = Lake::open(dir)?;
                let words = format!("{} {} {}", scenario.name, scenario.seed, format_moment(scenario.end));
                let id = format!("{:016x}", xxh3_64(words.as_bytes()));
                let truth = LabWriter::create::<Truth<'_>>(&lake, &id)?;
                let outcomes = LabWriter::create::<Outcome<'_>>(&lake, &id)?;
                Some((lake, truth, outcomes))
            }
        };
        let hours = scenario.end.since(scenario.start).as_secs() / 3_600;
        let stage = Some(Progress::new("run", hours, false, args.quiet));
        Ok(Self { truth, trace, lake, stage })
    }

    /// Ends all files; rows in the lake, if one was named.
    fn end(mut self) -> Result<Option<u64>> {
        if let Some(stage) = self.stage.take() {
            stage.end();
        }
        if let Some((mut file, _, _, path)) = self.truth {
            file.flush().with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(trace) = self.trace {
            trace.into_inner().flush().context("cannot write the trace")?;
        }
        let Some((mut lake, truth, outcomes)) = self.lake else { return Ok(None) };
        let rows = truth.rows() + outcomes.rows();
        truth.commit(&mut lake)?;
        outcomes.commit(&mut lake)?;
        Ok(Some(rows))
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Observer for Output {
    fn truth(&mut self, row: &Truth<'_>) -> Result<(), String> {
        if let Some((file, lines, _, _)) = &mut self.truth {
            file.write_all(lines.line(row).as_bytes()).map_err(words)?;
        }
        if let Some((_, writer, _)) = &mut self.lake {
            writer.push(row).map_err(words)?;
        }
        Ok(())
    }

    fn outcome(&mut self, row: &Outcome<'_>) -> Result<(), String> {
        if let Some((_, _, writer)) = &mut self.lake {
            writer.push(row).map_err(words)?;
        }
        Ok(())
    }

    fn packet(&mut self, interface: u32, record: TapRecord<'_>) -> Result<(), String> {
        match &mut self.trace {
            Some(trace) => trace.write(interface, record).map_err(words),
            None => Ok(()),
        }
    }

    fn progress(&mut self, at: At) -> Result<(), String> {
        if let Some(stage) = &self.stage {
            let hours = |from, to: okno_wire::Instant| to.since(from).as_secs() / 3_600;
            let what = format!("{} {} outcomes, {} acts", format_moment(at.now), at.outcomes, at.acts);
            stage.at(hours(at.start, at.now), hours(at.start, at.end), what);
        }
        Ok(())
    }
}
