//! The Parquet lake, its manifest, and SQL over it.
//!
//! ```text
//!   rows ──BatchBuilder──► RowBatch ──SegmentWriter──► SegmentDone ──Lake::commit──► manifest
//!                                                                                       │
//!                 Session (SQL) ◄── Parquet files ──► Lake::for_each ──► verdicts ──────┘
//! ```
//!
//! A lake is a folder of Hive-partitioned Parquet files that DuckDB, Polars and pandas read as they are,
//! and a manifest that says which files count. It is safe to kill at any moment: what the manifest does
//! not name does not exist. The same input makes the same bytes.
//!
//! ```
//! use okno_model::{Measurement, Source, Timestamp};
//! use okno_store::{BatchBuilder, Lake, Projection, SegmentWriter, SourceId};
//!
//! # fn main() -> Result<(), okno_store::StoreError> {
//! let dir = std::env::temp_dir().join(format!("okno-store-doc-{}", std::process::id()));
//! let mut lake = Lake::open(&dir)?;
//! let source = SourceId { path: "a.jsonl".into(), hash: "00".into(), size_bytes: 10 };
//! let plan = lake.plan(&[source], "")?;
//! lake.begin(&plan)?;
//! let mut writer = SegmentWriter::create(&lake, &plan.segments[0])?;
//! let mut batch = BatchBuilder::new();
//! let mut row = Measurement { measurement_uid: "u1".into(), ..Measurement::default() };
//! row.source = "a.jsonl".into();
//! batch.push(&row, &[], &[], &[]);
//! writer.append(batch.finish())?;
//! let counts = Source { path: "a.jsonl".into(), lines: 1, measurements: 1, ..Source::default() };
//! let done = writer.finish(vec![counts])?;
//! lake.commit(done)?;
//! let months = lake.manifest().months();
//! let mut seen = 0;
//! lake.for_each(months[0], &Projection::all(), |facts| seen += facts.measurement.measurement_uid.len())?;
//! assert_eq!(seen, 2);
//! # std::fs::remove_dir_all(&dir).ok();
//! # Ok(())
//! # }
//! ```

mod answer;
mod batch;
mod disk;
mod error;
mod judge;
mod keys;
mod lab;
mod lake;
mod manifest;
mod month;
mod parquet_file;
mod plan;
mod read;
mod rewrite;
mod rows;
mod segment;
mod sql;
#[cfg(test)]
mod sql_tests;
mod table_files;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Format};
pub use batch::{BatchBuilder, RowBatch};
pub use error::{Result, StoreError};
pub use judge::{JudgeProgress, Judged, judge};
pub use lab::LabWriter;
pub use lake::Lake;
pub use manifest::{FORMAT, FileEntry, Manifest, SegmentEntry, VerdictEntry};
pub use month::Month;
pub use plan::{DuplicateSource, Plan, PlannedSegment, SourceId};
pub use read::Projection;
pub use segment::{SegmentDone, SegmentWriter};
pub use sql::Session;
