//! Writing a segment again without some of its measurements.
//!
//! Two reasons: another segment brought a measurement before (duplicates across sources), and a source
//! grew, so that its old rows go while those of its neighbours in the segment stay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use okno_model::{Measurement, Reject, RejectReason, Source, Table};

use crate::batch::{duplicate, keep_rows};
use crate::error::Result;
use crate::keys::{Keys, keys_of, uid_key};
use crate::manifest::FileEntry;
use crate::month::Month;
use crate::parquet_file::{next_batch, open};
use crate::rows::{Columns, RowCursor};
use crate::segment::{FACTS, SegmentDone, SegmentWriter};

/// Rows per batch while copying.
const BATCH_ROWS: usize = 8192;

/// Which of a segment's rows to keep.
pub(crate) struct Keep<'a> {
    /// whether a source's rows stay
    pub(crate) source: &'a dyn Fn(&str) -> bool,
    /// whether another segment brought the measurement before
    pub(crate) is_duplicate: &'a dyn Fn(Keys) -> bool,
}

/// The files of a segment and where they lie.
pub(crate) struct SegmentFiles<'a> {
    pub(crate) root: &'a Path,
    pub(crate) files: &'a [FileEntry],
}

impl SegmentFiles<'_> {
    pub(crate) fn of(&self, table: &str) -> impl Iterator<Item = (&FileEntry, PathBuf)> {
        let table = table.to_owned();
        self.files.iter().filter(move |f| f.table == table).map(|f| (f, self.root.join(f.path())))
    }
}

/// Copies the rows to keep from `from` into `to`, and ends `to`.
pub(crate) fn rewrite(
    from: &SegmentFiles<'_>,
    mut to: SegmentWriter,
    keep: &Keep<'_>,
) -> Result<SegmentDone> {
    let mut gone = Gone::default();
    for (file, path) in from.of(FACTS[0]) {
        let month = file.month().unwrap_or(Month::UNKNOWN);
        copy_measurements(&path, month, &mut to, keep, &mut gone)?;
        for (table, name) in FACTS.iter().enumerate().skip(1) {
            let same_part =
                |(other, _): &(&FileEntry, PathBuf)| other.month == file.month && other.name == file.name;
            if let Some((_, path)) = from.of(name).find(same_part) {
                copy_followers(&path, month, table, &mut to, &gone)?;
            }
        }
    }
    let mut dropped_rejects: BTreeMap<String, u64> = BTreeMap::new();
    for (_, path) in from.of("rejects") {
        copy_rejects(&path, &mut to, keep, &gone, &mut dropped_rejects)?;
    }
    to.write_rejects(&gone.duplicates.get_or_insert_with(Columns::new::<Reject>).finish())?;
    for (source, count) in gone.by_source {
        to.count_dropped(source, count, 0);
    }
    for (source, count) in dropped_rejects {
        to.count_dropped(source, 0, count);
    }
    let mut batches = Vec::new();
    for (_, path) in from.of("sources") {
        let mut reader = open(&path, BATCH_ROWS, None)?;
        while let Some(batch) = next_batch(&mut reader, &path)? {
            batches.push(batch);
        }
    }
    let mut sources: Vec<Source<'_>> = Vec::new();
    for batch in &batches {
        let mut cursor = RowCursor::new(&Source::doc(), batch);
        sources.extend((0..batch.num_rows()).map(|row| cursor.read::<Source>(row)));
    }
    sources.retain(|source| (keep.source)(&source.path));
    to.finish(sources)
}

/// Measurements that do not stay.
#[derive(Default)]
struct Gone {
    /// keys of their uids
    uids: BTreeSet<u64>,
    /// rows in `rejects` for those that are duplicates
    duplicates: Option<Columns>,
    /// duplicates by source
    by_source: BTreeMap<String, u64>,
}

fn copy_measurements(
    path: &Path,
    month: Month,
    to: &mut SegmentWriter,
    keep: &Keep<'_>,
    gone: &mut Gone,
) -> Result<()> {
    let mut reader = open(path, BATCH_ROWS, None)?;
    while let Some(batch) = next_batch(&mut reader, path)? {
        let mut cursor = RowCursor::new(&Measurement::doc(), &batch);
        let mut flags = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let measurement: Measurement<'_> = cursor.read(row);
            let keys = keys_of(&measurement);
            let wanted = (keep.source)(&measurement.source);
            let duplicated = wanted && (keep.is_duplicate)(keys);
            if duplicated {
                let rows = gone.duplicates.get_or_insert_with(Columns::new::<Reject>);
                rows.push(&duplicate(&measurement));
                *gone.by_source.entry(measurement.source.to_string()).or_default() += 1;
            }
            flags.push(wanted && !duplicated);
            if wanted && !duplicated {
                to.add_keys(keys);
            } else {
                gone.uids.insert(keys[0]);
            }
        }
        to.write(month, 0, &keep_rows(&batch, flags))?;
        to.relieve()?;
    }
    Ok(())
}

fn copy_followers(
    path: &Path,
    month: Month,
    table: usize,
    to: &mut SegmentWriter,
    gone: &Gone,
) -> Result<()> {
    let mut reader = open(path, BATCH_ROWS, None)?;
    while let Some(batch) = next_batch(&mut reader, path)? {
        let flags = match crate::rows::text_column(&batch, "measurement_uid") {
            Some(uids) => {
                uids.iter().map(|uid| !gone.uids.contains(&uid_key(uid.unwrap_or_default()))).collect()
            }
            None => vec![true; batch.num_rows()],
        };
        to.write(month, table, &keep_rows(&batch, flags))?;
        to.relieve()?;
    }
    Ok(())
}

fn copy_rejects(
    path: &Path,
    to: &mut SegmentWriter,
    keep: &Keep<'_>,
    gone: &Gone,
    dropped: &mut BTreeMap<String, u64>,
) -> Result<()> {
    let mut reader = open(path, BATCH_ROWS, None)?;
    while let Some(batch) = next_batch(&mut reader, path)? {
        let mut cursor = RowCursor::new(&Reject::doc(), &batch);
        let flags = (0..batch.num_rows()).map(|row| {
            let reject: Reject<'_> = cursor.read(row);
            // The row that names a duplicate speaks of another line than the one that goes now.
            let part = reject.reason != RejectReason::DuplicateMeasurement;
            let goes = part && reject.measurement_uid.is_some_and(|uid| gone.uids.contains(&uid_key(&uid)));
            let wanted = (keep.source)(&reject.source);
            if goes && wanted {
                *dropped.entry(reject.source.to_string()).or_default() += 1;
            }
            wanted && !goes
        });
        let flags = flags.collect();
        to.write_rejects(&keep_rows(&batch, flags))?;
    }
    Ok(())
}
