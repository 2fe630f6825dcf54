//! Parquet as the lake writes and reads it.
//!
//! Small before all: a footer of seventy columns weighs more than the rows of a small input, so there
//! are no page indexes, no copy of the Arrow schema, and statistics only for the columns that queries
//! cut by. The bytes depend on the rows alone: the writer's name is fixed and nothing carries a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use okno_model::{ColumnKind, TableDoc};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;

use crate::disk::{Disk, DiskFile};
use crate::error::{Result, StoreError};
use crate::rows::schema_of;

/// Who wrote the file: the lake's format, not the program's version, so that equal rows are equal bytes.
const CREATED_BY: &str = "okno lake 1";
/// Rows per row group; an observation takes some 150 bytes in memory when encoded.
const ROW_GROUP_ROWS: usize = 32_768;
/// Columns by which queries cut: only these carry the least and the greatest value of a row group.
const CUT_BY: [&str; 7] = ["country", "hostname", "hour_utc", "network", "start_utc", "target", "test_name"];

/// Rows that a table keeps in memory before it begins its file. A file that ends before is small, and
/// its columns are looked at one by one: most are empty, and empty pages cost too.
const WAITING_ROWS: usize = 2048;
/// Below this size compression adds more than it takes away.
const WORTH_COMPRESSING_BYTES: usize = 160;

fn properties(doc: &TableDoc, whole: Option<&[RecordBatch]>) -> WriterProperties {
    let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.into())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(Some(32))
        .set_offset_index_disabled(true);
    for (index, column) in doc.columns.iter().enumerate() {
        let path = ColumnPath::from(column.name);
        if CUT_BY.contains(&column.name) {
            builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk);
        }
        // Durations and hashes hardly repeat: a dictionary would only copy them.
        let unique = column.name.ends_with("_us") || column.name == "content_hash";
        let bytes = whole.map(|batches| batches.iter().map(|b| value_bytes(b.column(index))).sum::<usize>());
        if bytes == Some(0) || (unique && column.kind != ColumnKind::Str) {
            builder = builder.set_column_dictionary_enabled(path.clone(), false);
        }
        if bytes.is_some_and(|bytes| bytes < WORTH_COMPRESSING_BYTES) {
            builder = builder.set_column_compression(path, Compression::UNCOMPRESSED);
        }
    }
    builder.build()
}

/// Size of the values of a column, nulls not counted.
fn value_bytes(column: &dyn Array) -> usize {
    let values = column.len() - column.null_count();
    match column.data_type() {
        DataType::Boolean => values.div_ceil(8),
        DataType::Utf8 => {
            let text = column.as_any().downcast_ref::<StringArray>();
            values * 4 + text.map_or(0, |text| text.iter().flatten().map(str::len).sum())
        }
        other => values * other.primitive_width().unwrap_or(8),
    }
}

/// Writes the rows of one table into one file.
pub(crate) struct TableWriter {
    doc: TableDoc,
    state: State,
    rows: u64,
}

enum State {
    /// few rows so far
    Waiting {
        file: DiskFile,
        batches: Vec<RecordBatch>,
        rows: usize,
        /// memory of the batches: asked for at every append, so a sum over them would be quadratic
        bytes: usize,
    },
    Writing(Box<ArrowWriter<DiskFile>>),
    /// an error ended it
    Broken,
}

impl TableWriter {
    pub(crate) fn create(disk: &Disk, path: &Path, doc: &TableDoc) -> Result<Self> {
        let state = State::Waiting { file: disk.create(path)?, batches: Vec::new(), rows: 0, bytes: 0 };
        Ok(Self { doc: doc.clone(), state, rows: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if let State::Waiting { batches, rows, bytes, .. } = &mut self.state {
            batches.push(batch.clone());
            *rows += batch.num_rows();
            *bytes += batch.get_array_memory_size();
            return if *rows > WAITING_ROWS { self.begin(false).map(drop) } else { Ok(()) };
        }
        let writer = self.begin(false)?;
        let outcome = writer.write(batch);
        outcome.map_err(|e| StoreError::parquet("write", writer.inner().path(), &e))
    }

    /// Begins the file with the rows that wait; `is_whole` when these are all.
    fn begin(&mut self, is_whole: bool) -> Result<&mut ArrowWriter<DiskFile>> {
        if matches!(self.state, State::Waiting { .. })
            && let State::Waiting { file, batches, .. } = std::mem::replace(&mut self.state, State::Broken)
        {
            let path = file.path().to_owned();
            let wrap = |e| StoreError::parquet("write", &path, &e);
            let properties = properties(&self.doc, is_whole.then_some(&batches));
            let options =
                ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
            let mut writer =
                ArrowWriter::try_new_with_options(file, schema_of(&self.doc), options).map_err(wrap)?;
            batches.iter().try_for_each(|batch| writer.write(batch)).map_err(wrap)?;
            self.state = State::Writing(Box::new(writer));
        }
        match &mut self.state {
            State::Writing(writer) => Ok(writer),
            _ => Err(StoreError::Corrupt {
                path: self.doc.name.into(),
                text: "an earlier error ended this file".into(),
            }),
        }
    }

    /// Memory held by the rows that are not in the file yet, in bytes.
    pub(crate) fn pending_bytes(&self) -> usize {
        match &self.state {
            State::Waiting { bytes, .. } => *bytes,
            State::Writing(writer) => writer.in_progress_size(),
            State::Broken => 0,
        }
    }

    /// Ends the row group, which frees its memory.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        let writer = self.begin(false)?;
        let outcome = writer.flush();
        outcome.map_err(|e| StoreError::parquet("write", writer.inner().path(), &e))
    }

    /// Ends the file and waits until it is on the disk; returns its rows and bytes.
    pub(crate) fn finish(mut self) -> Result<(u64, u64)> {
        let rows = self.rows;
        let writer = self.begin(true)?;
        let outcome = writer.finish();
        outcome.map_err(|e| StoreError::parquet("write", writer.inner().path(), &e))?;
        Ok((rows, writer.inner_mut().sync()?))
    }
}

/// Opens a file for reading in batches of `batch_rows`; `columns` selects by name, `None` takes all.
pub(crate) fn open(
    path: &Path,
    batch_rows: usize,
    columns: Option<&BTreeSet<&'static str>>,
) -> Result<ParquetRecordBatchReader> {
    let file = File::open(path).map_err(|e| StoreError::io("read", path, &e))?;
    let wrap = |e| StoreError::parquet("read", path, &e);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(wrap)?;
    if let Some(columns) = columns {
        let schema: &SchemaRef = builder.schema();
        let fields = schema.fields().iter().enumerate();
        let wanted: Vec<usize> =
            fields.filter(|(_, f)| columns.contains(f.name().as_str())).map(|(i, _)| i).collect();
        let mask = ProjectionMask::leaves(builder.parquet_schema(), wanted);
        builder = builder.with_projection(mask);
    }
    builder.with_batch_size(batch_rows).build().map_err(wrap)
}

/// The least and the greatest `start_utc` of a file, in microseconds; `None` when the file does not say.
pub(crate) fn time_range(path: &Path) -> Result<Option<(i64, i64)>> {
    let file = File::open(path).map_err(|e| StoreError::io("read", path, &e))?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
    let metadata = metadata.map_err(|e| StoreError::parquet("read", path, &e))?;
    let mut range: Option<(i64, i64)> = None;
    for group in metadata.row_groups() {
        let column = group.columns().iter().find(|c| c.column_path().string() == "start_utc");
        let Some(Statistics::Int64(times)) = column.and_then(|c| c.statistics()) else { return Ok(None) };
        let (Some(least), Some(greatest)) = (times.min_opt(), times.max_opt()) else { return Ok(None) };
        let (from, to) = range.unwrap_or((*least, *greatest));
        range = Some((from.min(*least), to.max(*greatest)));
    }
    Ok(range)
}

/// Reads one batch; wraps the error with the file's name.
pub(crate) fn next_batch(reader: &mut ParquetRecordBatchReader, path: &Path) -> Result<Option<RecordBatch>> {
    reader.next().transpose().map_err(|e| StoreError::Corrupt { path: path.to_owned(), text: e.to_string() })
}
