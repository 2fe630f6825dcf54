//! Runs a scenario: one world a cell, on one or several threads, the same bytes on any number of them.
//!
//! Cells do not talk to each other. Each thread owns some of them and runs them window by window of virtual
//! time; after each window the rows of all cells are merged by (time, cell, order), handed to the
//! observer and forgotten, so that weeks need no more memory than one window.

mod activity;
mod apps;
mod bell;
mod cell;
mod clients;
mod engines;
mod faults;
mod measured;
mod merge;
mod names;
mod plan;
mod probe_side;
mod probes;
mod running;
mod servers;
mod timeline;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use okno_model::{Outcome, Truth};
use okno_wire::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::nation::Cell;
use crate::scenario::{Problem, Scenario, format_moment};
use crate::summary::{Summary, Summing};
use crate::tap::TapRecord;
use engines::Engines;
use merge::Merger;
use running::{Batch, CellEnd, Running};
use servers::Certificates;

pub use engines::check as check_profiles;
pub use measured::{MeasuredAct, MeasuredFault, MeasurementTruth, ProbeMeasurement};
pub use plan::{Placed, Plan};
pub use timeline::{FilterState, Mode, State, Timeline};

/// Most threads that a run uses.
const MAX_THREADS: usize = 256;

/// Which cells' packets are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trace {
    /// none
    #[default]
    Nothing,
    /// those of all cells
    Everything,
    /// those of these cells: `mts/moscow`
    Cells(Vec<String>),
}

impl Trace {
    fn wants(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Cells(names) => names.iter().any(|known| known == name),
        }
    }
}

/// How a run is done; nothing here changes its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// threads; 0 and 1 are one
    pub threads: usize,
    /// packets to record
    pub trace: Trace,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// virtual time
    pub now: Instant,
    /// first moment
    pub start: Instant,
    /// last moment
    pub end: Instant,
    /// outcomes so far
    pub outcomes: u64,
    /// acts of filters so far
    pub acts: u64,
}

impl Progress {
    /// Share done, 0–1.
    pub fn share(&self) -> f64 {
        let whole = self.end.since(self.start).as_secs_f64();
        if whole > 0.0 { self.now.since(self.start).as_secs_f64() / whole } else { 1.0 }
    }
}

/// Takes what a run gives, in order. An error ends the run.
pub trait Observer {
    /// A row of the truth.
    fn truth(&mut self, _row: &Truth<'_>) -> Result<(), String> {
        Ok(())
    }

    /// What a client got.
    fn outcome(&mut self, _row: &Outcome<'_>) -> Result<(), String> {
        Ok(())
    }

    /// A packet at the subscriber's side of a recorded cell; `interface` is the cell's place in
    /// [`interfaces`].
    fn packet(&mut self, _interface: u32, _record: TapRecord<'_>) -> Result<(), String> {
        Ok(())
    }

    /// What a probe measured, with what really happened; in the order of their ends.
    fn measurement(&mut self, _measurement: &ProbeMeasurement<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Virtual time went on.
    fn progress(&mut self, _progress: Progress) -> Result<(), String> {
        Ok(())
    }
}

/// An observer that wants nothing but the summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {}

/// Why a run ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// a profile does not fit the scenario
    #[error("{0}")]
    Profile(Box<Problem>),
    /// the observer gave up
    #[error("{0}")]
    Observer(String),
    /// a mistake of the lab
    #[error("mistake in the lab: {0}")]
    Internal(String),
}

/// Why a cell cannot go on.
#[derive(Clone, Debug)]
pub(crate) enum Fatal {
    Profile(Box<Problem>),
    Internal(String),
}

impl From<Fatal> for RunError {
    fn from(fatal: Fatal) -> Self {
        match fatal {
            Fatal::Profile(problem) => Self::Profile(problem),
            Fatal::Internal(what) => Self::Internal(what),
        }
    }
}

/// Names of the recorded cells, in the order of [`Observer::packet`]'s interfaces.
pub fn interfaces(scenario: &Scenario, trace: &Trace) -> Vec<String> {
    let cells = scenario.nation.cells();
    let names = cells.into_iter().filter_map(|cell| cell::Site::new(scenario, cell)).map(|site| site.name());
    names.filter(|name| trace.wants(name)).collect()
}

/// Runs a scenario from start to end.
///
/// # Errors
/// A profile that cannot be read, an observer's error, or a mistake of the lab.
pub fn run(
    scenario: &Scenario,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<Summary, RunError> {
    let plan = Plan::new(scenario);
    let engines = Engines::new(scenario, &plan)?;
    let certificates = Certificates::new(scenario, &plan);
    let cells = scenario.nation.cells();
    let counts = counts(scenario, &cells);
    let windows = windows(scenario);
    let threads = options.threads.clamp(1, MAX_THREADS).min(cells.len().max(1));
    let summing = Summing::new(begin(scenario, &cells, &counts));
    let mut merger = Merger::new(scenario, &plan, &options.trace, summing, observer);
    merger.begin()?;
    let mut ends = vec![CellEnd::default(); cells.len()];
    std::thread::scope(|scope| -> Result<(), RunError> {
        let mut workers = Vec::new();
        for thread in 0..threads {
            let (sender, receiver) = sync_channel::<Message>(2);
            let share: Vec<(usize, Cell, Vec<u32>)> = cells
                .iter()
                .enumerate()
                .filter(|(at, _)| at % threads == thread)
                .map(|(at, cell)| (at, *cell, counts.iter().map(|group| group[at]).collect()))
                .collect();
            let shared = Shared { scenario, plan: &plan, engines: &engines, certificates: &certificates };
            let (windows, trace) = (&windows, &options.trace);
            scope.spawn(move || work(shared, share, windows, trace, &sender));
            workers.push(receiver);
        }
        for window in &windows {
            let batches = receive(&workers)?;
            merger.merge(*window, batches)?;
        }
        for (at, end) in receive_ends(&workers)? {
            ends[at] = end;
        }
        Ok(())
    })?;
    merger.finish(|summary| {
        let hash =
            ends.iter().fold(scenario.seed, |hash, end| xxh3_64_with_seed(&end.trace.to_le_bytes(), hash));
        summary.trace_hash = format!("{hash:016x}");
        summary.packets = ends.iter().map(|end| end.packets).sum();
        summary.events = ends.iter().map(|end| end.events).sum();
    })
}

enum Message {
    Window(Vec<(usize, Batch)>),
    Ends(Vec<(usize, CellEnd)>),
    Failed(Fatal),
}

/// Clients by group and cell.
fn counts(scenario: &Scenario, cells: &[Cell]) -> Vec<Vec<u32>> {
    scenario.clients.iter().map(|group| group.per_cell(scenario, cells)).collect()
}

/// Ends of all windows, the scenario's end last.
fn windows(scenario: &Scenario) -> Vec<Instant> {
    let length = running::window(scenario);
    let mut windows = Vec::new();
    let mut at = scenario.start;
    while at < scenario.end {
        at = (at + length).min(scenario.end);
        windows.push(at);
    }
    windows
}

fn begin(scenario: &Scenario, cells: &[Cell], counts: &[Vec<u32>]) -> Summary {
    Summary {
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        seed: scenario.seed,
        start_utc: format_moment(scenario.start),
        end_utc: format_moment(scenario.end),
        cells: cells.len() as u64,
        clients: counts.iter().flatten().map(|count| u64::from(*count)).sum(),
        ..Summary::default()
    }
}

/// What all threads read.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'s> {
    pub scenario: &'s Scenario,
    pub plan: &'s Plan<'s>,
    pub engines: &'s Engines<'s>,
    pub certificates: &'s Certificates,
}

/// One thread's work: its cells, window by window. A receiver that is gone ends it.
fn work(
    shared: Shared<'_>,
    share: Vec<(usize, Cell, Vec<u32>)>,
    windows: &[Instant],
    trace: &Trace,
    sender: &SyncSender<Message>,
) {
    let result = (|| -> Result<(), Fatal> {
        let mut cells = Vec::new();
        for (at, cell, counts) in &share {
            cells.push((*at, Running::new(shared, *cell, counts, trace)?));
        }
        for window in windows {
            let mut batches = Vec::new();
            for (at, cell) in &mut cells {
                batches.push((*at, cell.run_until(*window)?));
            }
            if sender.send(Message::Window(batches)).is_err() {
                return Ok(());
            }
        }
        let ends = cells.iter().map(|(at, cell)| (*at, cell.end())).collect();
        let _ = sender.send(Message::Ends(ends));
        Ok(())
    })();
    if let Err(fatal) = result {
        let _ = sender.send(Message::Failed(fatal));
    }
}

/// One window of every thread, in the order of cells.
fn receive(workers: &[Receiver<Message>]) -> Result<Vec<(usize, Batch)>, RunError> {
    let mut all = Vec::new();
    for worker in workers {
        match worker.recv() {
            Ok(Message::Window(batches)) => all.extend(batches),
            Ok(Message::Failed(fatal)) => return Err(fatal.into()),
            Ok(Message::Ends(_)) | Err(_) => return Err(RunError::Internal("a thread ended early".into())),
        }
    }
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all)
}

fn receive_ends(workers: &[Receiver<Message>]) -> Result<Vec<(usize, CellEnd)>, RunError> {
    let mut all = Vec::new();
    for worker in workers {
        match worker.recv() {
            Ok(Message::Ends(ends)) => all.extend(ends),
            Ok(Message::Failed(fatal)) => return Err(fatal.into()),
            Ok(Message::Window(_)) | Err(_) => return Err(RunError::Internal("a thread ended early".into())),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
