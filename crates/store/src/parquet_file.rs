//! Parquet as the lake writes and reads it.
//!
//! Small before all: a footer of seventy columns weighs more than the rows of a small input, so there
//! are no page indexes, no copy of the Arrow schema, and statistics only for the columns that queries
//! cut by. The bytes depend on the rows alone: the writer's name is fixed and nothing carries a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
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

fn properties(doc: &TableDoc) -> WriterProperties {
    let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.into())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(Some(32))
        .set_offset_index_disabled(true);
    for column in &doc.columns {
        let path = ColumnPath::from(column.name);
        if CUT_BY.contains(&column.name) {
            builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk);
        }
        // Durations and hashes hardly repeat: a dictionary would only copy them.
        let unique = column.name.ends_with("_us") || column.name == "content_hash";
        if unique && column.kind != ColumnKind::Str {
            builder = builder.set_column_dictionary_enabled(path, false);
        }
    }
    builder.build()
}

/// Writes the rows of one table into one file.
pub(crate) struct TableWriter {
    writer: ArrowWriter<DiskFile>,
    rows: u64,
}

impl TableWriter {
    pub(crate) fn create(disk: &Disk, path: &Path, doc: &TableDoc) -> Result<Self> {
        let options =
            ArrowWriterOptions::new().with_properties(properties(doc)).with_skip_arrow_metadata(true);
        let file = disk.create(path)?;
        let writer = ArrowWriter::try_new_with_options(file, schema_of(doc), options)
            .map_err(|e| StoreError::parquet("write", path, &e))?;
        Ok(Self { writer, rows: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let outcome = self.writer.write(batch);
        outcome.map_err(|e| StoreError::parquet("write", self.writer.inner().path(), &e))
    }

    /// Memory held by the row group that is being built, in bytes.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// Ends the row group, which frees its memory.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        let outcome = self.writer.flush();
        outcome.map_err(|e| StoreError::parquet("write", self.writer.inner().path(), &e))
    }

    /// Ends the file and waits until it is on the disk; returns its rows and bytes.
    pub(crate) fn finish(mut self) -> Result<(u64, u64)> {
        let outcome = self.writer.finish();
        outcome.map_err(|e| StoreError::parquet("write", self.writer.inner().path(), &e))?;
        Ok((self.rows, self.writer.inner_mut().sync()?))
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
