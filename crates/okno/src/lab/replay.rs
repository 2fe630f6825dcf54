//! `okno lab replay`: captures through a profile's box.

use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use okno_lab::replay::{FlowRow, Options, Replay, Summary};
use okno_store::{LabWriter, Lake};
use serde_json::json;

use super::cli;
use super::files::{self, CaptureFile};
use super::rows::{self, Run, Subscribers};
use super::summary;
use super::text::time;
use crate::observe::progress::Progress;

pub fn run(args: &cli::Replay) -> Result<ExitCode> {
    let subscribers = files::subscribers(&args.subscriber)?;
    let profile = super::profile::select(args)?;
    let captures = files::find(&args.captures)?;
    let options = Options { subscribers, seed: args.seed, ..Options::default() };
    let run = name(args, &captures);
    let mut out = Output::begin(args, run)?;
    let mut replay = Replay::new(options, || super::profile::engine(&profile));
    let total = captures.iter().map(|file| file.size).sum();
    let stage = Progress::new("replay", total, true, args.quiet);
    let mut done = 0;
    for file in &captures {
        let opened = match file.open() {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("okno: {} was not read: {error}", file.path.display());
                continue;
            }
        };
        let read = opened.read;
        let result = replay.capture(&file.name, opened.stream, &mut |row| out.row(&row), &mut |at| {
            let what = format!("{} packets, {}", at.packets, time(at.at));
            stage.at(done + read.load(Ordering::Relaxed), total, what);
        });
        if let Err(error) = result {
            eprintln!("okno: {}: {error}", file.path.display());
        }
        done += file.size;
    }
    let total = replay.finish(&mut |row| out.row(&row));
    stage.end();
    if total.packets == 0 {
        eprintln!("okno: no IP packet could be read; okno lab replay --help tells what is read");
        return Ok(ExitCode::FAILURE);
    }
    out.end(args, &total)?;
    Ok(ExitCode::SUCCESS)
}

/// What the run is called, and what its rows share.
fn name(args: &cli::Replay, captures: &[CaptureFile]) -> Run {
    let seed = args.seed.to_string();
    let network = args.network.map(|asn| asn.to_string()).unwrap_or_default();
    let mut options = vec![args.profile.as_str(), &seed, &network];
    options.extend(args.list.iter().chain(&args.set).chain(&args.subscriber).map(String::as_str));
    Run {
        id: files::run_id(captures, &options),
        profile: args.profile.clone(),
        captures: captures.iter().map(|file| file.name.clone()).collect(),
    }
}

/// Where flows go as they end. The first error stops all further writing and is told at the end.
struct Output {
    run: Run,
    subscribers: Subscribers,
    out: BufWriter<std::io::Stdout>,
    lake: Option<(Lake, LabWriter)>,
    json: bool,
    all: bool,
    error: Option<anyhow::Error>,
}

impl Output {
    fn begin(args: &cli::Replay, run: Run) -> Result<Self> {
        let lake = match &args.lake {
            None => None,
            Some(dir) => {
                let lake = Lake::open(dir)?;
                let writer = LabWriter::create::<okno_model::Flow<'_>>(&lake, &run.id)?;
                Some((lake, writer))
            }
        };
        let out = BufWriter::new(std::io::stdout());
        let subscribers = Subscribers::default();
        Ok(Self { run, subscribers, out, lake, json: args.json, all: args.all, error: None })
    }

    fn row(&mut self, row: &FlowRow) {
        if self.error.is_none()
            && let Err(error) = self.write(row)
        {
            self.error = Some(error);
        }
    }

    fn write(&mut self, row: &FlowRow) -> Result<()> {
        let subscriber = self.subscribers.number(row.subscriber().0);
        if let Some((_, writer)) = &mut self.lake {
            writer.push(&rows::table(row, &self.run, subscriber))?;
        }
        if self.json {
            serde_json::to_writer(&mut self.out, &rows::json(row, &self.run, subscriber))?;
            writeln!(self.out)?;
        } else if self.all || !row.deeds.is_empty() {
            self.out.write_all(rows::lines(row, subscriber).as_bytes())?;
        }
        Ok(())
    }

    fn end(mut self, args: &cli::Replay, total: &Summary) -> Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.json {
            let line = json!({ "summary": summary::json(total, &self.run) });
            serde_json::to_writer(&mut self.out, &line)?;
            writeln!(self.out)?;
        } else {
            summary::print(total, &self.run, &mut self.out)?;
        }
        self.out.flush().context("cannot write the answer")?;
        if let Some((mut lake, writer)) = self.lake {
            let rows = writer.rows();
            writer.commit(&mut lake)?;
            let dir = args.lake.as_deref().unwrap_or(lake.dir()).display();
            eprintln!("{rows} flows written; okno sql --lake {dir} \"SELECT * FROM flows\" reads them");
        }
        Ok(())
    }
}
