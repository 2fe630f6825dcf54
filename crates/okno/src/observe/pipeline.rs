//! The busy part of a run: streams of lines through extraction into segments of the lake.
//!
//! ```text
//!   a thread a segment: read, decompress ──batches──► workers: find lines, extract, make columns
//!          ▲ reorder ◄───────────────────────────────────┘
//!          └► write Parquet ──► main: commit in plan order
//! ```
//!
//! The order of rows is that of the files, whatever the threads do: each segment's batches are numbered
//! and written in turn. Memory is bounded by a budget of bytes under way, whatever the number of threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use okno_ingest::reference::Reference;
use okno_ingest::source::{self, Batch, Next, RawBatch};
use okno_ingest::{Extractor, Origin};
use okno_model::{Reject, RejectReason, Source};
use okno_store::{BatchBuilder, Lake, Plan, RowBatch, SegmentDone, SegmentWriter};

use super::inputs::Input;
use super::progress::Progress;

/// Batches that a segment may have under way.
const IN_FLIGHT: usize = 3;
/// Most segments at work at once; each may hold a line of `source::MAX_LINE`.
const SEGMENTS: usize = 6;
/// Bytes of text that may be under way in all segments together.
const BUDGET: usize = 64 << 20;

/// Room for text under way. Whoever holds none of it gets what it asks for, so that nobody waits for ever.
#[derive(Default)]
struct Budget {
    held: Mutex<usize>,
    freed: Condvar,
}

impl Budget {
    /// Takes room if there is some.
    fn try_take(&self, bytes: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = *held == 0 || *held + bytes <= BUDGET;
        if fits {
            *held += bytes;
        }
        fits
    }

    /// Waits for room. The caller must hold none.
    fn take(&self, bytes: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while *held != 0 && *held + bytes > BUDGET {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held += bytes;
    }

    fn give_back(&self, bytes: usize) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.freed.notify_all();
    }
}

/// What a batch gave.
struct Rows {
    number: usize,
    rows: RowBatch,
    lines: u64,
    measurements: u64,
    rejects: u64,
    size: usize,
    buffer: Vec<u8>,
}

/// A batch to extract.
struct Task {
    raw: RawBatch,
    source: Arc<str>,
    number: usize,
    reply: Sender<Rows>,
}

/// Where batches go.
struct Queue<'q> {
    tasks: &'q SyncSender<Task>,
    budget: &'q Budget,
}

/// Ingests everything that is planned.
pub fn ingest(
    lake: &mut Lake,
    plan: &Plan,
    inputs: &[Input],
    reference: &Reference,
    threads: usize,
    progress: &Progress,
) -> Result<()> {
    lake.begin(plan)?;
    let next = AtomicUsize::new(0);
    let shared = Mutex::new(lake);
    let budget = Budget::default();
    let (tasks, queue) = mpsc::sync_channel::<Task>(threads);
    let queue = Arc::new(Mutex::new(queue));
    let (finished, done) = mpsc::channel::<(usize, Result<SegmentDone>)>();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            scope.spawn(move || work(&queue, reference));
        }
        for _ in 0..threads.min(plan.segments.len()).min(SEGMENTS) {
            let (tasks, finished) = (tasks.clone(), finished.clone());
            let (next, shared, budget) = (&next, &shared, &budget);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(segment) = plan.segments.get(index) else { break };
                    let writer = shared
                        .lock()
                        .map_err(|_| anyhow!("another thread failed"))
                        .and_then(|lake| Ok(SegmentWriter::create(&lake, segment)?));
                    let result = writer.and_then(|writer| {
                        build(writer, &segment.inputs, inputs, &Queue { tasks: &tasks, budget }, progress)
                    });
                    let failed = result.is_err();
                    if finished.send((index, result)).is_err() || failed {
                        break;
                    }
                }
            });
        }
        drop((tasks, finished));
        commit_in_order(&shared, done)
    })
}

fn commit_in_order(lake: &Mutex<&mut Lake>, done: Receiver<(usize, Result<SegmentDone>)>) -> Result<()> {
    let mut waiting: BTreeMap<usize, SegmentDone> = BTreeMap::new();
    let mut due = 0;
    let mut failure = None;
    for (index, result) in done {
        match result {
            Ok(segment) => {
                waiting.insert(index, segment);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
        while failure.is_none()
            && let Some(segment) = waiting.remove(&due)
        {
            let committed = lake
                .lock()
                .map_err(|_| anyhow!("another thread failed"))
                .and_then(|mut lake| Ok(lake.commit(segment)?));
            failure = committed.err();
            due += 1;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Extracts batches until no more come.
fn work(queue: &Mutex<Receiver<Task>>, reference: &Reference) {
    let mut extractor = Extractor::new(reference);
    let mut builder = BatchBuilder::new();
    loop {
        let task = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Task { raw, source, number, reply }) = task else { return };
        let size = raw.size();
        let batch = Batch::prepare(raw);
        let (mut measurements, mut rejects) = (0, 0);
        for line in &batch.lines {
            let text = &batch.text[line.start..line.end];
            let origin = Origin { source: &source, line: *line };
            // A panic here is a bug of ours; it must cost one line, not the run.
            let extracted = catch_unwind(AssertUnwindSafe(|| extractor.line(origin, text)));
            match extracted {
                Ok(out) => {
                    rejects += out.rejects.len() as u64;
                    if let Some(measurement) = &out.measurement {
                        measurements += 1;
                        builder.push(measurement, &out.observations, &out.controls, &out.rejects);
                    } else {
                        out.rejects.iter().for_each(|reject| builder.push_reject(reject));
                    }
                }
                Err(_) => {
                    extractor = Extractor::new(reference);
                    rejects += 1;
                    builder.push_reject(&Reject {
                        source: source.as_ref().into(),
                        line: line.number,
                        byte_offset: line.offset,
                        part: "line".into(),
                        reason: RejectReason::InvalidJson,
                        detail: Some("okno failed on this line; please report it".into()),
                        measurement_uid: None,
                    });
                }
            }
        }
        let lines = batch.lines.len() as u64;
        // The segment's thread may have given up; then nobody waits for this.
        let rows = builder.finish();
        let _ = reply.send(Rows {
            number,
            rows,
            lines,
            measurements,
            rejects,
            size,
            buffer: batch.into_buffer(),
        });
    }
}

/// Builds one segment from its files.
fn build(
    mut writer: SegmentWriter,
    files: &[usize],
    inputs: &[Input],
    queue: &Queue<'_>,
    progress: &Progress,
) -> Result<SegmentDone> {
    let mut sources = Vec::with_capacity(files.len());
    for index in files {
        let input = &inputs[*index];
        sources.push(file(&mut writer, input, queue, progress)?);
    }
    Ok(writer.finish(sources)?)
}

fn file(
    writer: &mut SegmentWriter,
    input: &Input,
    queue: &Queue<'_>,
    progress: &Progress,
) -> Result<Source<'static>> {
    let mut counts = Source {
        path: input.id.path.clone().into(),
        hash: input.id.hash.clone().into(),
        size_bytes: input.id.size_bytes,
        ..Source::default()
    };
    let name: Arc<str> = input.id.path.as_str().into();
    let mut lines = match source::open(&input.path) {
        Ok(lines) => lines,
        Err(error) => {
            let detail = format!("cannot be opened: {error}; check the file and run again");
            whole_file(writer, &mut counts, RejectReason::Unreadable, detail)?;
            return Ok(counts);
        }
    };
    let (reply, answers) = mpsc::channel();
    let mut order = Order {
        writer,
        counts: &mut counts,
        budget: queue.budget,
        waiting: BTreeMap::new(),
        due: 0,
        sent: 0,
        held: 0,
        used: Vec::new(),
    };
    loop {
        match lines.next_batch() {
            Next::Bytes(raw) => {
                let size = raw.size();
                if !queue.budget.try_take(size) {
                    order.take_all(&answers, progress)?;
                    queue.budget.take(size);
                }
                order.held += size;
                let task = Task { raw, source: Arc::clone(&name), number: order.sent, reply: reply.clone() };
                queue.tasks.send(task).ok().context("a worker thread failed")?;
                order.sent += 1;
                while order.sent - order.due > IN_FLIGHT {
                    order.take(&answers, progress)?;
                }
                order.used.drain(..).for_each(|buffer| lines.give_back(buffer));
            }
            Next::Reject(reject) => {
                order.take_all(&answers, progress)?;
                order.reject(&name, reject)?;
            }
            Next::End => break,
        }
    }
    order.take_all(&answers, progress)?;
    drop(order);
    counts.text_bytes = lines.text_bytes();
    progress.file(input.id.size_bytes);
    Ok(counts)
}

/// Brings answers into the order of their batches.
struct Order<'w> {
    writer: &'w mut SegmentWriter,
    counts: &'w mut Source<'static>,
    waiting: BTreeMap<usize, Rows>,
    budget: &'w Budget,
    due: usize,
    sent: usize,
    /// bytes of the budget that this file's batches hold
    held: usize,
    /// buffers that may be filled again
    used: Vec<Vec<u8>>,
}

impl Drop for Order<'_> {
    fn drop(&mut self) {
        // A file that failed half-way must not keep others waiting for its room.
        self.budget.give_back(self.held);
    }
}

impl Order<'_> {
    fn take_all(&mut self, answers: &Receiver<Rows>, progress: &Progress) -> Result<()> {
        while self.due < self.sent {
            self.take(answers, progress)?;
        }
        Ok(())
    }

    fn take(&mut self, answers: &Receiver<Rows>, progress: &Progress) -> Result<()> {
        while !self.waiting.contains_key(&self.due) {
            let rows = answers.recv().ok().context("a worker thread failed")?;
            self.waiting.insert(rows.number, rows);
        }
        let Some(rows) = self.waiting.remove(&self.due) else { return Ok(()) };
        self.due += 1;
        self.counts.lines += rows.lines;
        self.counts.measurements += rows.measurements;
        self.counts.rejected += rows.lines - rows.measurements;
        self.counts.rejects += rows.rejects;
        progress.measurements(rows.measurements);
        self.held -= rows.size;
        self.budget.give_back(rows.size);
        self.used.push(rows.buffer);
        Ok(self.writer.append(rows.rows)?)
    }

    fn reject(&mut self, name: &str, reject: source::StreamReject) -> Result<()> {
        if reject.counts_as_line {
            self.counts.lines += 1;
            self.counts.rejected += 1;
        }
        self.counts.rejects += 1;
        let mut builder = BatchBuilder::new();
        builder.push_reject(&Reject {
            source: name.into(),
            line: reject.line,
            byte_offset: reject.byte_offset,
            part: if reject.counts_as_line { "line" } else { "file" }.into(),
            reason: reject.reason,
            detail: Some(reject.detail.into()),
            measurement_uid: None,
        });
        Ok(self.writer.append(builder.finish())?)
    }
}

fn whole_file(
    writer: &mut SegmentWriter,
    counts: &mut Source<'static>,
    reason: RejectReason,
    detail: String,
) -> Result<()> {
    counts.rejects += 1;
    let mut builder = BatchBuilder::new();
    builder.push_reject(&Reject {
        source: counts.path.clone(),
        part: "file".into(),
        reason,
        detail: Some(detail.into()),
        ..Reject::default()
    });
    Ok(writer.append(builder.finish())?)
}
