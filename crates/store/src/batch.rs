//! Rows on their way into a segment: made by workers, appended by the segment's writer.
//!
//! A batch keeps the order in which measurements were pushed, across months, because the first of two
//! duplicates wins. The bytes of a lake depend on where batches are cut, so callers cut by input
//! (lines, bytes), never by time or by thread.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use okno_model::{Control, Measurement, Observation, Reject, RejectReason, Table};

use crate::keys::{Keys, keys_of};
use crate::month::Month;
use crate::rows::{Columns, RowCursor};

struct MonthColumns {
    month: Month,
    measurements: Columns,
    observations: Columns,
    controls: Columns,
}

/// What one pushed measurement brought.
struct Entry {
    slot: usize,
    keys: Keys,
    observations: usize,
    controls: usize,
    first_reject: usize,
    rejects: usize,
}

/// Collects rows into columns, by month.
#[derive(Default)]
pub struct BatchBuilder {
    months: Vec<MonthColumns>,
    entries: Vec<Entry>,
    rejects: Option<Columns>,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a measurement and all that follows from it.
    pub fn push(
        &mut self,
        measurement: &Measurement<'_>,
        observations: &[Observation<'_>],
        controls: &[Control<'_>],
        rejects: &[Reject<'_>],
    ) {
        let month = Month::of(measurement.start_utc);
        let slot = match self.months.iter().rposition(|m| m.month == month) {
            Some(slot) => slot,
            None => {
                self.months.push(MonthColumns {
                    month,
                    measurements: Columns::new::<Measurement>(),
                    observations: Columns::new::<Observation>(),
                    controls: Columns::new::<Control>(),
                });
                self.months.len() - 1
            }
        };
        let columns = &mut self.months[slot];
        columns.measurements.push(measurement);
        observations.iter().for_each(|row| columns.observations.push(row));
        controls.iter().for_each(|row| columns.controls.push(row));
        self.entries.push(Entry {
            slot,
            keys: keys_of(measurement),
            observations: observations.len(),
            controls: controls.len(),
            first_reject: self.rejects.as_ref().map_or(0, Columns::len),
            rejects: rejects.len(),
        });
        rejects.iter().for_each(|row| self.push_reject(row));
    }

    /// Adds a reject that belongs to no measurement that was kept.
    pub fn push_reject(&mut self, reject: &Reject<'_>) {
        self.rejects.get_or_insert_with(Columns::new::<Reject>).push(reject);
    }

    /// Measurements pushed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was pushed, rejects included.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rejects.as_ref().is_none_or(Columns::is_empty)
    }

    /// Roughly the memory that the rows take, in bytes.
    pub fn bytes(&self) -> usize {
        let month = |m: &MonthColumns| m.measurements.bytes() + m.observations.bytes() + m.controls.bytes();
        self.months.iter().map(month).sum::<usize>() + self.rejects.as_ref().map_or(0, Columns::bytes)
    }

    /// The batch; the builder is empty afterwards.
    pub fn finish(&mut self) -> RowBatch {
        let finish = |m: &mut MonthColumns| MonthRows {
            month: m.month,
            measurements: m.measurements.finish(),
            observations: m.observations.finish(),
            controls: m.controls.finish(),
        };
        let months = self.months.iter_mut().map(finish).collect();
        self.months.clear();
        RowBatch {
            months,
            entries: std::mem::take(&mut self.entries),
            rejects: self.rejects.as_mut().map(Columns::finish),
        }
    }
}

/// The rows of one month, in the order in which they were pushed.
pub(crate) struct MonthRows {
    pub(crate) month: Month,
    pub(crate) measurements: RecordBatch,
    pub(crate) observations: RecordBatch,
    pub(crate) controls: RecordBatch,
}

/// Finished columns, ready to be written. Can be sent between threads.
pub struct RowBatch {
    pub(crate) months: Vec<MonthRows>,
    pub(crate) rejects: Option<RecordBatch>,
    entries: Vec<Entry>,
}

/// A duplicate that was dropped: what the counters of its source must know.
pub(crate) struct Dropped {
    pub(crate) source: String,
    /// rows in `rejects` that went with it
    pub(crate) rejects: u64,
}

impl RowBatch {
    /// Measurements in this batch.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keeps the measurements whose keys `is_new` accepts, asked in order of pushing; each other becomes
    /// a row in `rejects`. Returns what was dropped.
    pub(crate) fn retain(&mut self, mut is_new: impl FnMut(Keys) -> bool) -> Vec<Dropped> {
        let verdicts: Vec<bool> = self.entries.iter().map(|entry| is_new(entry.keys)).collect();
        if verdicts.iter().all(|kept| *kept) {
            return Vec::new();
        }
        let mut masks: Vec<[Vec<bool>; 3]> = vec![Default::default(); self.months.len()];
        let mut reject_mask = vec![true; self.rejects.as_ref().map_or(0, RecordBatch::num_rows)];
        let mut dropped = Vec::new();
        let mut duplicates = Columns::new::<Reject>();
        let mut cursors: Vec<RowCursor<'_>> =
            self.months.iter().map(|m| RowCursor::new(&Measurement::doc(), &m.measurements)).collect();
        for (entry, kept) in self.entries.iter().zip(&verdicts) {
            let [measurements, observations, controls] = &mut masks[entry.slot];
            if !kept {
                let row: Measurement<'_> = cursors[entry.slot].read(measurements.len());
                duplicates.push(&duplicate(&row));
                reject_mask[entry.first_reject..entry.first_reject + entry.rejects].fill(false);
                dropped.push(Dropped { source: row.source.into_owned(), rejects: entry.rejects as u64 });
            }
            measurements.push(*kept);
            observations.resize(observations.len() + entry.observations, *kept);
            controls.resize(controls.len() + entry.controls, *kept);
        }
        for (month, [measurements, observations, controls]) in self.months.iter_mut().zip(masks) {
            month.measurements = keep_rows(&month.measurements, measurements);
            month.observations = keep_rows(&month.observations, observations);
            month.controls = keep_rows(&month.controls, controls);
        }
        let duplicates = duplicates.finish();
        self.rejects = Some(match self.rejects.take() {
            None => duplicates,
            Some(rejects) => {
                let parts = [&keep_rows(&rejects, reject_mask), &duplicates];
                arrow::compute::concat_batches(&duplicates.schema(), parts).expect("both are rejects")
            }
        });
        let mut kept = verdicts.iter();
        self.entries.retain(|_| *kept.next().expect("one verdict per entry"));
        dropped
    }

    /// The keys of the measurements.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Keys> + '_ {
        self.entries.iter().map(|entry| entry.keys)
    }
}

/// The row in `rejects` that stands for a dropped duplicate.
pub(crate) fn duplicate<'a>(measurement: &Measurement<'a>) -> Reject<'a> {
    Reject {
        source: measurement.source.clone(),
        line: measurement.line,
        byte_offset: measurement.byte_offset,
        part: "line".into(),
        reason: RejectReason::DuplicateMeasurement,
        detail: Some("the lake already holds this measurement; that one was kept".into()),
        measurement_uid: Some(measurement.measurement_uid.clone()),
    }
}

/// The rows of a batch whose flag is set.
pub(crate) fn keep_rows(batch: &RecordBatch, flags: Vec<bool>) -> RecordBatch {
    filter_record_batch(batch, &BooleanArray::from(flags)).expect("one flag per row")
}
