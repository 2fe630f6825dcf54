//! Rows of the lab in a lake: one file a run, beside the measurements and without any say about them.
//!
//! They stand in the manifest under `lab`, apart from the segments, because a segment is made of sources
//! that `observe` may take again, and a run of the lab is made by itself. The same run replaces its file.

use std::path::PathBuf;

use okno_model::{Table, TableDoc};

use crate::error::Result;
use crate::lake::Lake;
use crate::manifest::{FileEntry, SegmentEntry};
use crate::parquet_file::TableWriter;
use crate::rows::Columns;

/// Rows that are gathered before they are handed to the file.
const BATCH_ROWS: usize = 4_096;

/// Writes the rows of one table of one run; nothing counts before [`Self::commit`].
pub struct LabWriter {
    doc: TableDoc,
    id: String,
    tmp: PathBuf,
    writer: TableWriter,
    columns: Columns,
    rows: u64,
}

impl LabWriter {
    /// Begins the file of run `run` for the table `T`. `run` is a hash or another word fit for a file name.
    pub fn create<'a, T: Table<'a>>(lake: &Lake, run: &str) -> Result<Self> {
        let doc = T::doc();
        let id = format!("{}-{run}", doc.name);
        let tmp = lake.dir().join("tmp").join(&id);
        lake.disk().create_dir_all(&tmp.join(doc.name))?;
        let path = tmp.join(doc.name).join(format!("{id}.parquet"));
        let writer = TableWriter::create(lake.disk(), &path, &doc)?;
        Ok(Self { doc, id, tmp, writer, columns: Columns::new::<T>(), rows: 0 })
    }

    /// Adds a row, which must be of the table that the file was begun for.
    pub fn push<'a, T: Table<'a>>(&mut self, row: &T) -> Result<()> {
        assert_eq!(T::NAME, self.doc.name, "a file holds one table");
        self.columns.push(row);
        self.rows += 1;
        if self.columns.len() < BATCH_ROWS {
            return Ok(());
        }
        self.writer.write(&self.columns.finish())
    }

    /// Rows so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file and puts it into the lake, in place of an earlier file of the same run.
    pub fn commit(mut self, lake: &mut Lake) -> Result<()> {
        if !self.columns.is_empty() {
            self.writer.write(&self.columns.finish())?;
        }
        let (rows, bytes) = self.writer.finish()?;
        let name = format!("{}.parquet", self.id);
        let file = FileEntry { table: self.doc.name.to_owned(), month: None, name, rows, bytes };
        let entry = SegmentEntry { id: self.id, stamp: String::new(), keys: 0, files: vec![file] };
        lake.move_into_place(&self.tmp, &entry.files)?;
        let manifest = lake.manifest_mut();
        manifest.lab.retain(|old| old.id != entry.id);
        manifest.lab.push(entry);
        lake.save()
    }
}
