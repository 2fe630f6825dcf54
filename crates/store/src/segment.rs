//! Writing a segment: the rows of one or several sources, in files that wait in `tmp/` for the commit.
//!
//! Memory is bounded whatever the input: encoded row groups may hold 48 MiB together, and at most 16
//! months are open at a time. A month that is closed and comes again gets a further file, so that the
//! three tables of a month stay in step, file by file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use okno_model::{Control, Measurement, Observation, Reject, Source, Table, TableDoc};

use crate::batch::RowBatch;
use crate::disk::Disk;
use crate::error::{Result, StoreError};
use crate::keys::{KeySet, Keys};
use crate::lake::Lake;
use crate::manifest::FileEntry;
use crate::month::Month;
use crate::parquet_file::TableWriter;
use crate::plan::PlannedSegment;
use crate::rows::Columns;

/// Encoded rows that may wait in memory, over all files of a segment.
const PENDING_BYTES: usize = 48 << 20;
/// Months that may be open at once.
const OPEN_MONTHS: usize = 16;

/// The tables of facts, which are kept in step: row for row the same measurements in the same order.
pub(crate) const FACTS: [&str; 3] = ["measurements", "observations", "controls"];

struct OpenMonth {
    month: Month,
    name: String,
    tables: [Option<TableWriter>; 3],
    last_use: u64,
}

/// Writes one segment. Independent of the [`Lake`] while it works: may live on another thread.
pub struct SegmentWriter {
    disk: Disk,
    tmp: PathBuf,
    id: String,
    stamp: String,
    docs: [TableDoc; 3],
    open: Vec<OpenMonth>,
    parts: BTreeMap<Month, u32>,
    uses: u64,
    rejects: Option<TableWriter>,
    seen: KeySet,
    keys: Vec<Keys>,
    files: Vec<FileEntry>,
    dropped: BTreeMap<String, (u64, u64)>,
}

/// A finished segment that waits for its commit.
pub struct SegmentDone {
    pub(crate) id: String,
    pub(crate) stamp: String,
    pub(crate) tmp: PathBuf,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) keys: Vec<Keys>,
}

impl SegmentDone {
    /// Id of the segment.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Measurements in the segment.
    pub fn measurements(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Size of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl SegmentWriter {
    /// Begins a planned segment of `lake`.
    pub fn create(lake: &Lake, segment: &PlannedSegment) -> Result<Self> {
        Self::begin(lake.disk(), lake.dir(), &segment.id, &segment.stamp)
    }

    pub(crate) fn begin(disk: &Disk, lake: &Path, id: &str, stamp: &str) -> Result<Self> {
        Self::begin_in(disk, lake.join("tmp").join(id), id, stamp)
    }

    pub(crate) fn begin_in(disk: &Disk, tmp: PathBuf, id: &str, stamp: &str) -> Result<Self> {
        // What an earlier try in this process left there.
        disk.remove_dir_all(&tmp)?;
        disk.create_dir_all(&tmp)?;
        Ok(Self {
            disk: disk.clone(),
            tmp,
            id: id.to_owned(),
            stamp: stamp.to_owned(),
            docs: [Measurement::doc(), Observation::doc(), Control::doc()],
            open: Vec::new(),
            parts: BTreeMap::new(),
            uses: 0,
            rejects: None,
            seen: KeySet::small(),
            keys: Vec::new(),
            files: Vec::new(),
            dropped: BTreeMap::new(),
        })
    }

    /// Appends a batch. Of measurements that the segment already holds, rows in `rejects` are all that
    /// stays.
    pub fn append(&mut self, mut batch: RowBatch) -> Result<()> {
        let seen = &mut self.seen;
        let dropped = batch.retain(|keys| {
            let new = !seen.contains_any(keys);
            if new {
                seen.insert_all(keys);
            }
            new
        });
        for one in dropped {
            self.count_dropped(one.source, 1, one.rejects);
        }
        self.keys.extend(batch.keys());
        for rows in &batch.months {
            self.write(rows.month, 0, &rows.measurements)?;
            self.write(rows.month, 1, &rows.observations)?;
            self.write(rows.month, 2, &rows.controls)?;
        }
        if let Some(rejects) = &batch.rejects {
            self.write_rejects(rejects)?;
        }
        self.relieve()
    }

    /// Notes that `measurements` of a source were dropped as duplicates, and `rejects` rows with them.
    pub(crate) fn count_dropped(&mut self, source: String, measurements: u64, rejects: u64) {
        let count = self.dropped.entry(source).or_default();
        count.0 += measurements;
        count.1 += rejects;
    }

    pub(crate) fn add_keys(&mut self, keys: Keys) {
        self.keys.push(keys);
    }

    /// Writes rows of one of [`FACTS`].
    pub(crate) fn write(&mut self, month: Month, table: usize, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let slot = self.month_slot(month)?;
        let open = &mut self.open[slot];
        if open.tables[table].is_none() {
            let entry = entry(FACTS[table], Some(month), &open.name);
            let path = self.tmp.join(entry.path());
            self.disk.create_dir_all(path.parent().expect("files lie in folders"))?;
            open.tables[table] = Some(TableWriter::create(&self.disk, &path, &self.docs[table])?);
        }
        open.tables[table].as_mut().expect("opened above").write(rows)
    }

    fn month_slot(&mut self, month: Month) -> Result<usize> {
        self.uses += 1;
        if let Some(slot) = self.open.iter().position(|open| open.month == month) {
            self.open[slot].last_use = self.uses;
            return Ok(slot);
        }
        if self.open.len() == OPEN_MONTHS {
            let (oldest, _) =
                self.open.iter().enumerate().min_by_key(|(_, open)| open.last_use).expect("some are open");
            let open = self.open.remove(oldest);
            self.close(open)?;
        }
        let part = self.parts.entry(month).or_default();
        let name = match *part {
            0 => format!("{}.parquet", self.id),
            n => format!("{}-{n}.parquet", self.id),
        };
        *part += 1;
        self.open.push(OpenMonth { month, name, tables: [None, None, None], last_use: self.uses });
        Ok(self.open.len() - 1)
    }

    fn close(&mut self, open: OpenMonth) -> Result<()> {
        for (table, writer) in FACTS.iter().zip(open.tables) {
            let Some(writer) = writer else { continue };
            let (rows, bytes) = writer.finish()?;
            self.files.push(FileEntry { rows, bytes, ..entry(table, Some(open.month), &open.name) });
        }
        Ok(())
    }

    pub(crate) fn write_rejects(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.rejects.is_none() {
            let path = self.tmp.join("rejects").join(self.file_name());
            self.disk.create_dir_all(path.parent().expect("files lie in folders"))?;
            self.rejects = Some(TableWriter::create(&self.disk, &path, &Reject::doc())?);
        }
        self.rejects.as_mut().expect("opened above").write(rows)
    }

    /// Ends the largest row groups until the waiting rows fit.
    pub(crate) fn relieve(&mut self) -> Result<()> {
        loop {
            let tables = self.open.iter_mut().flat_map(|open| open.tables.iter_mut().flatten());
            let mut writers: Vec<&mut TableWriter> = tables.chain(self.rejects.as_mut()).collect();
            let pending: usize = writers.iter().map(|writer| writer.pending_bytes()).sum();
            let largest = writers.iter_mut().max_by_key(|writer| writer.pending_bytes());
            match largest {
                Some(writer) if pending > PENDING_BYTES => writer.end_row_group()?,
                _ => return Ok(()),
            }
        }
    }

    /// Ends the segment: `sources` has one row per source in plan order, counted before duplicates were
    /// dropped; they are corrected here. All files are on the disk when this returns.
    pub fn finish(mut self, sources: Vec<Source<'_>>) -> Result<SegmentDone> {
        for open in std::mem::take(&mut self.open) {
            self.close(open)?;
        }
        if let Some(writer) = self.rejects.take() {
            let (rows, bytes) = writer.finish()?;
            self.files.push(FileEntry { rows, bytes, ..entry("rejects", None, &self.file_name()) });
        }
        let mut columns = Columns::new::<Source>();
        for mut source in sources {
            if let Some((measurements, rejects)) = self.dropped.get(&*source.path) {
                source.measurements = source.measurements.saturating_sub(*measurements);
                source.rejected += measurements;
                source.rejects = (source.rejects + measurements).saturating_sub(*rejects);
            }
            check_counts(&source)?;
            columns.push(&source);
        }
        let path = self.tmp.join("sources").join(self.file_name());
        self.disk.create_dir_all(path.parent().expect("files lie in folders"))?;
        let mut writer = TableWriter::create(&self.disk, &path, &Source::doc())?;
        writer.write(&columns.finish())?;
        let (rows, bytes) = writer.finish()?;
        self.files.push(FileEntry { rows, bytes, ..entry("sources", None, &self.file_name()) });
        self.files.sort_by(|a, b| (&a.table, a.month(), &a.name).cmp(&(&b.table, b.month(), &b.name)));
        Ok(SegmentDone { id: self.id, stamp: self.stamp, tmp: self.tmp, files: self.files, keys: self.keys })
    }

    fn file_name(&self) -> String {
        format!("{}.parquet", self.id)
    }
}

pub(crate) fn entry(table: &str, month: Option<Month>, name: &str) -> FileEntry {
    FileEntry {
        table: table.to_owned(),
        month: month.map(|m| m.to_string()),
        name: name.to_owned(),
        rows: 0,
        bytes: 0,
    }
}

/// Input rows = observed + rejected, always.
fn check_counts(source: &Source<'_>) -> Result<()> {
    if source.lines == source.measurements + source.rejected {
        return Ok(());
    }
    Err(StoreError::Counts {
        source_path: source.path.to_string(),
        lines: source.lines,
        measurements: source.measurements,
        rejected: source.rejected,
    })
}
