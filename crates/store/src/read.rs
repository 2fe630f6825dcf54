//! Reading the facts back, measurement by measurement, in plan order.
//!
//! The three tables of facts hold the same measurements in the same order, file by file, so they are
//! read in step: a window of measurements, and the observations and controls that go with them. Rows
//! borrow their text from the columns; a window is all that is in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use okno_detect::Facts;
use okno_model::{Control, Measurement, Observation, Table, TableDoc};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::error::Result;
use crate::lake::Lake;
use crate::manifest::{FileEntry, SegmentEntry};
use crate::month::Month;
use crate::parquet_file::{next_batch, open};
use crate::rows::{RowCursor, text_column};
use crate::segment::FACTS;

/// Measurements per window.
const WINDOW_ROWS: usize = 1024;

/// Columns to read, by name, over all three tables; all others read as absent.
#[derive(Clone, Debug, Default)]
pub struct Projection(Option<BTreeSet<&'static str>>);

impl Projection {
    /// All columns.
    pub fn all() -> Self {
        Self(None)
    }

    /// The named columns, and those by which the tables are kept in step.
    pub fn of(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self(Some(columns.into_iter().chain(["measurement_uid"]).collect()))
    }
}

impl Lake {
    /// Calls `visit` with every measurement of `month`, in plan order.
    pub fn for_each(
        &self,
        month: Month,
        projection: &Projection,
        mut visit: impl FnMut(Facts<'_, '_>),
    ) -> Result<()> {
        for segment in self.segments(month) {
            self.for_each_in(segment, month, projection, &mut visit)?;
        }
        Ok(())
    }

    /// Calls `visit` with every measurement of `month` in `segment`, in the order of its sources.
    pub fn for_each_in(
        &self,
        segment: &SegmentEntry,
        month: Month,
        projection: &Projection,
        visit: &mut impl FnMut(Facts<'_, '_>),
    ) -> Result<()> {
        let in_month = |f: &&FileEntry| f.table == FACTS[0] && f.month() == Some(month);
        for file in segment.files.iter().filter(in_month) {
            let path_of = |table: &str| {
                let same = |f: &&FileEntry| f.table == table && f.month == file.month && f.name == file.name;
                segment.files.iter().find(same).map(|f| self.dir().join(f.path()))
            };
            let mut windows = Windows {
                measurements: Follower::open(path_of(FACTS[0]), WINDOW_ROWS, projection)?,
                observations: Follower::open(path_of(FACTS[1]), 4 * WINDOW_ROWS, projection)?,
                controls: Follower::open(path_of(FACTS[2]), 4 * WINDOW_ROWS, projection)?,
            };
            while windows.visit_next(visit)? {}
        }
        Ok(())
    }
}

struct Windows {
    measurements: Follower,
    observations: Follower,
    controls: Follower,
}

impl Windows {
    fn visit_next(&mut self, visit: &mut impl FnMut(Facts<'_, '_>)) -> Result<bool> {
        let Some(batch) = self.measurements.next()? else { return Ok(false) };
        let Some(uids) = text_column(&batch, "measurement_uid") else { return Ok(false) };
        let observations = self.observations.rows_of(uids)?;
        let controls = self.controls.rows_of(uids)?;
        let mut measurement_rows = RowCursor::new(&Measurement::doc(), &batch);
        let mut observation_rows = Rows::new(&Observation::doc(), &observations);
        let mut control_rows = Rows::new(&Control::doc(), &controls);
        let (mut of_observations, mut of_controls) = (Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            let measurement: Measurement<'_> = measurement_rows.read(row);
            of_observations.clear();
            observation_rows.take(observations.counts[row], &mut of_observations);
            of_controls.clear();
            control_rows.take(controls.counts[row], &mut of_controls);
            visit(Facts {
                measurement: &measurement,
                observations: &of_observations,
                controls: &of_controls,
            });
        }
        Ok(true)
    }
}

/// A table's file, read in step with the measurements.
struct Follower {
    file: Option<(ParquetRecordBatchReader, PathBuf)>,
    /// read, but belonging to the next window
    rest: Option<RecordBatch>,
}

/// The rows of one window: how many belong to each measurement, and the batches they lie in.
struct Window {
    counts: Vec<usize>,
    batches: Vec<RecordBatch>,
}

impl Follower {
    fn open(path: Option<PathBuf>, rows: usize, projection: &Projection) -> Result<Self> {
        let reader = |path: &Path| open(path, rows, projection.0.as_ref());
        let file = path.map(|path| reader(&path).map(|reader| (reader, path))).transpose()?;
        Ok(Self { file, rest: None })
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        match &mut self.file {
            Some((reader, path)) => next_batch(reader, path),
            None => Ok(None),
        }
    }

    /// The rows that follow from the measurements `uids`, in their order.
    fn rows_of(&mut self, uids: &arrow::array::StringArray) -> Result<Window> {
        let mut window = Window { counts: vec![0; uids.len()], batches: Vec::new() };
        let mut at = 0;
        while let Some(batch) = self.next()? {
            let Some(column) = text_column(&batch, "measurement_uid") else { break };
            let mut used = 0;
            while used < batch.num_rows() {
                while at < uids.len() && uids.value(at) != column.value(used) {
                    // Each measurement's rows lie together, so another uid means that they are over,
                    // or that there are none.
                    at += 1;
                }
                if at == uids.len() {
                    break;
                }
                window.counts[at] += 1;
                used += 1;
            }
            let whole = used == batch.num_rows();
            if !whole {
                self.rest = Some(batch.slice(used, batch.num_rows() - used));
            }
            if used > 0 {
                window.batches.push(batch.slice(0, used));
            }
            if !whole {
                break;
            }
        }
        Ok(window)
    }
}

/// The rows of a window, one after the other, over its batches.
struct Rows<'w> {
    cursors: Vec<(RowCursor<'w>, usize)>,
    batch: usize,
    row: usize,
}

impl<'w> Rows<'w> {
    fn new(doc: &TableDoc, window: &'w Window) -> Self {
        let cursor = |batch: &'w RecordBatch| (RowCursor::new(doc, batch), batch.num_rows());
        Self { cursors: window.batches.iter().map(cursor).collect(), batch: 0, row: 0 }
    }

    fn take<T: Table<'w>>(&mut self, count: usize, into: &mut Vec<T>) {
        for _ in 0..count {
            while self.row == self.cursors[self.batch].1 {
                self.batch += 1;
                self.row = 0;
            }
            into.push(self.cursors[self.batch].0.read(self.row));
            self.row += 1;
        }
    }
}
