//! The verdict pass: facts of the lake in, verdicts and cells out, month by month.
//!
//! Two passes over a month: the first collects what all networks saw (the baseline, with the days that
//! border on the month), the second judges. Both run over the segments in parallel; verdicts are written
//! in plan order, so the bytes do not depend on the number of threads. A month whose segments, neighbours,
//! rules and reference data are as they were is left alone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arrow::array::RecordBatch;
use okno_detect::cells::{CellBuilder, Grid};
use okno_detect::{Baseline, BaselineBuilder, Judge, Knowledge, Ruleset};
use okno_model::{Cell, Table, Timestamp, Verdict};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;
use crate::lake::Lake;
use crate::manifest::{FORMAT, FileEntry, SegmentEntry, VerdictEntry};
use crate::month::Month;
use crate::parquet_file::{TableWriter, time_range};
use crate::read::Projection;
use crate::rows::Columns;
use crate::segment::{FACTS, entry};

/// Version of this pass; part of every month's key.
const PASS: u32 = 1;
/// Votes of the baseline of one month, per thread; the same for any number of threads, as the sample
/// that is taken beyond it must be.
const BASELINE_VOTES: usize = 3_000_000;
/// Threads that collect a baseline: each may hold as many votes.
const BASELINE_THREADS: usize = 4;
/// Verdicts per batch.
const BATCH_ROWS: usize = 8192;
/// Batches of one segment that may wait for the segments before it.
const WAITING_BATCHES: usize = 4;
/// Microseconds around a month whose measurements vote on it: the baseline looks one day either way.
const MARGIN_US: i64 = 86_400_000_000;

/// How far the pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeProgress {
    /// month at work
    pub month: Month,
    /// false while the baseline is collected, true while verdicts are made
    pub judging: bool,
    /// measurements done in this month and pass
    pub done: u64,
    /// measurements of this month
    pub total: u64,
}

/// What the pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// months judged now
    pub months_judged: u64,
    /// months that were as they were
    pub months_kept: u64,
    /// measurements judged now
    pub measurements: u64,
    /// rows in `verdicts`, over all months
    pub verdicts: u64,
    /// rows in `cells`, over all months
    pub cells: u64,
    /// least share of things that a month's baseline knows; 1 unless there were too many
    pub baseline_share: f64,
}

/// Judges every month of `lake` that needs it, with `threads` threads.
pub fn judge(
    lake: &mut Lake,
    rules: &Ruleset,
    knowledge: &Knowledge,
    threads: usize,
    progress: &(dyn Fn(JudgeProgress) + Sync),
) -> Result<Judged> {
    let mut judged = Judged { baseline_share: 1.0, ..Judged::default() };
    let mut entries = Vec::new();
    for month in lake.manifest().months() {
        let key = month_key(lake, month, rules, knowledge);
        let kept = lake.manifest().verdicts.iter().find(|v| v.key == key && v.month == month.to_string());
        if let Some(kept) = kept {
            judged.months_kept += 1;
            entries.push(kept.clone());
            continue;
        }
        let pass = Pass { lake, month, threads: threads.max(1), progress };
        let baseline = pass.baseline()?;
        judged.baseline_share = judged.baseline_share.min(baseline.kept_share());
        let (files, measurements) = pass.verdicts(&Judge::new(rules, &baseline, knowledge), &key)?;
        judged.months_judged += 1;
        judged.measurements += measurements;
        entries.push(VerdictEntry { month: month.to_string(), key, files });
    }
    for file in entries.iter().flat_map(|e| &e.files) {
        let rows = if file.table == Cell::NAME { &mut judged.cells } else { &mut judged.verdicts };
        *rows += file.rows;
    }
    if lake.manifest().verdicts != entries {
        let old = std::mem::replace(&mut lake.manifest_mut().verdicts, entries);
        lake.save()?;
        let named: Vec<PathBuf> = lake.manifest().files().map(FileEntry::path).collect();
        for file in old.iter().flat_map(|e| &e.files).filter(|f| !named.contains(&f.path())) {
            lake.remove_file(&lake.dir().join(file.path()))?;
        }
    }
    Ok(judged)
}

/// What the verdicts of a month depend on.
fn month_key(lake: &Lake, month: Month, rules: &Ruleset, knowledge: &Knowledge) -> String {
    let mut hash = Xxh3::new();
    hash.update(&FORMAT.to_le_bytes());
    hash.update(&PASS.to_le_bytes());
    let mut text = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    text(env!("CARGO_PKG_VERSION"));
    text(rules.stamp());
    text(&knowledge.stamp().text);
    for month in [month.previous(), Some(month), month.next()] {
        let ids = month.map(|month| lake.segments(month).map(|s| s.id.as_str()).collect::<Vec<_>>());
        text(&ids.unwrap_or_default().join(" "));
    }
    format!("{:032x}", hash.digest128())[..16].to_owned()
}

/// The work on one month.
struct Pass<'l> {
    lake: &'l Lake,
    month: Month,
    threads: usize,
    progress: &'l (dyn Fn(JudgeProgress) + Sync),
}

/// What a worker sends to the writer.
enum Sent {
    Verdicts(RecordBatch),
    Cells(Box<CellBuilder>),
}

impl Pass<'_> {
    fn segments(&self) -> Vec<&SegmentEntry> {
        self.lake.segments(self.month).collect()
    }

    fn total(&self) -> u64 {
        let files = self.lake.manifest().segments.iter().flat_map(|s| &s.files);
        files.filter(|f| f.table == FACTS[0] && f.month() == Some(self.month)).map(|f| f.rows).sum()
    }

    fn report(&self, judging: bool, counter: &AtomicU64, total: u64) {
        let done = counter.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(1024) || done == total {
            (self.progress)(JudgeProgress { month: self.month, judging, done, total });
        }
    }

    /// What all networks saw in this month and on the days that border on it.
    fn baseline(&self) -> Result<Baseline> {
        let mut units: Vec<(&SegmentEntry, Month)> =
            self.segments().into_iter().map(|segment| (segment, self.month)).collect();
        let window =
            self.month.bounds().map(|(from, to)| (from.micros() - MARGIN_US, to.micros() + MARGIN_US));
        if let Some(window) = window {
            for month in [self.month.previous(), self.month.next()].into_iter().flatten() {
                for segment in self.lake.segments(month) {
                    if self.touches(segment, month, window)? {
                        units.push((segment, month));
                    }
                }
            }
        }
        let (next, counter, total) = (AtomicUsize::new(0), AtomicU64::new(0), self.total());
        let work = || -> Result<BaselineBuilder> {
            let mut builder = BaselineBuilder::with_cap(BASELINE_VOTES);
            while let Some((segment, month)) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                let inside =
                    |time: Timestamp| window.is_none_or(|(from, to)| (from..to).contains(&time.micros()));
                self.lake.for_each_in(segment, *month, &Projection::all(), &mut |facts| {
                    if *month == self.month {
                        self.report(false, &counter, total);
                    }
                    if inside(facts.measurement.start_utc) {
                        builder.add(&facts);
                    }
                })?;
            }
            Ok(builder)
        };
        let threads = self.threads.min(BASELINE_THREADS).min(units.len().max(1));
        let builders: Vec<Result<BaselineBuilder>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().expect("workers do not panic")).collect()
        });
        let mut whole = BaselineBuilder::with_cap(BASELINE_VOTES);
        for builder in builders {
            whole.merge(builder?);
        }
        Ok(whole.finish())
    }

    /// Whether a neighbouring month's segment has measurements within `window`.
    fn touches(&self, segment: &SegmentEntry, month: Month, window: (i64, i64)) -> Result<bool> {
        for file in segment.files.iter().filter(|f| f.table == FACTS[0] && f.month() == Some(month)) {
            let range = time_range(&self.lake.dir().join(file.path()))?;
            if range.is_none_or(|(from, to)| to >= window.0 && from < window.1) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Judges the month; returns the files, in place, and the number of measurements.
    fn verdicts(&self, judge: &Judge<'_>, key: &str) -> Result<(Vec<FileEntry>, u64)> {
        let segments = self.segments();
        let (next, counter, stopped) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let total = self.total();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            segments.iter().map(|_| sync_channel::<Result<Sent>>(WAITING_BATCHES)).unzip();
        let tmp = self.lake.dir().join("tmp").join(key);
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(segment) = segments.get(at) else { return };
                let outcome = self.judge_segment(segment, judge, &senders[at], &stopped, &counter, total);
                if let Some(last) = outcome.transpose() {
                    // The writer is gone only when it failed; then its error counts.
                    senders[at].send(last).ok();
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let files = std::thread::scope(|scope| {
            let workers = self.threads.min(segments.len().max(1));
            (0..workers).for_each(|_| {
                scope.spawn(work);
            });
            let written = self.write(receivers, key, &tmp);
            stopped.store(true, Ordering::Relaxed);
            written
        })?;
        self.lake.move_into_place(&tmp, &files)?;
        Ok((files, total))
    }

    /// Judges one segment's measurements of the month and sends the verdicts; returns the cells that they
    /// make, or nothing when the writer has stopped.
    fn judge_segment(
        &self,
        segment: &SegmentEntry,
        judge: &Judge<'_>,
        sender: &SyncSender<Result<Sent>>,
        stopped: &AtomicBool,
        counter: &AtomicU64,
        total: u64,
    ) -> Result<Option<Sent>> {
        let mut columns = Columns::new::<Verdict>();
        let mut cells = CellBuilder::new();
        let send = |columns: &mut Columns| {
            if sender.send(Ok(Sent::Verdicts(columns.finish()))).is_err() {
                stopped.store(true, Ordering::Relaxed);
            }
        };
        self.lake.for_each_in(segment, self.month, &Projection::all(), &mut |facts| {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            self.report(true, counter, total);
            let mut verdicts = Vec::with_capacity(8);
            judge.judge(&facts, &mut verdicts);
            for verdict in &verdicts {
                cells.add(verdict, facts.measurement.report_id.as_deref());
                columns.push(verdict);
            }
            if columns.len() >= BATCH_ROWS {
                send(&mut columns);
            }
        })?;
        if !columns.is_empty() {
            send(&mut columns);
        }
        Ok((!stopped.load(Ordering::Relaxed)).then(|| Sent::Cells(Box::new(cells))))
    }

    /// Writes what the workers send, segment by segment in plan order.
    fn write(&self, receivers: Vec<Receiver<Result<Sent>>>, key: &str, tmp: &Path) -> Result<Vec<FileEntry>> {
        let name = format!("{key}.parquet");
        let disk = self.lake.disk();
        disk.remove_dir_all(tmp)?;
        let file = |table: &str| -> Result<(FileEntry, PathBuf)> {
            let entry = entry(table, Some(self.month), &name);
            let path = tmp.join(entry.path());
            disk.create_dir_all(path.parent().expect("files lie in folders"))?;
            Ok((entry, path))
        };
        let (verdicts_entry, path) = file(Verdict::NAME)?;
        let mut writer = TableWriter::create(disk, &path, &Verdict::doc())?;
        let mut cells = CellBuilder::new();
        for receiver in receivers {
            // A segment ends with its cells; the senders of all segments live until the last worker ends.
            loop {
                match receiver.recv() {
                    Ok(Ok(Sent::Verdicts(batch))) => writer.write(&batch)?,
                    Ok(Ok(Sent::Cells(more))) => {
                        cells.merge(*more);
                        break;
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(_) => break,
                }
            }
        }
        let (rows, bytes) = writer.finish()?;
        let mut files = vec![FileEntry { rows, bytes, ..verdicts_entry }];
        if self.month != Month::UNKNOWN {
            let (entry, path) = file(Cell::NAME)?;
            let writer = TableWriter::create(disk, &path, &Cell::doc())?;
            let (rows, bytes) = write_cells(cells, self.grid(), writer)?;
            files.insert(0, FileEntry { rows, bytes, ..entry });
        }
        Ok(files)
    }

    /// The hours of the grid: to the edge of the month where the lake goes on beyond it.
    fn grid(&self) -> Grid {
        let has =
            |month: Option<Month>| month.is_some_and(|month| self.lake.segments(month).next().is_some());
        let bounds = self.month.bounds();
        Grid {
            first_hour: bounds.filter(|_| has(self.month.previous())).map(|(from, _)| from),
            last_hour: bounds
                .filter(|_| has(self.month.next()))
                .map(|(_, to)| Timestamp::from_hour_index(to.hour_index() - 1)),
            ..Grid::default()
        }
    }
}

fn write_cells(cells: CellBuilder, grid: Grid, mut writer: TableWriter) -> Result<(u64, u64)> {
    let mut columns = Columns::new::<Cell>();
    let mut outcome = Ok(());
    cells.finish_each(grid, |cell| {
        columns.push(&cell);
        if columns.len() == BATCH_ROWS && outcome.is_ok() {
            outcome = writer.write(&columns.finish());
        }
    });
    outcome?;
    writer.write(&columns.finish())?;
    writer.finish()
}
