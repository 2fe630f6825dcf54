//! The manifest: the only truth about what is in a lake.
//!
//! A file that it does not name does not exist: it is what a killed run left, and the next writer
//! removes it. The manifest is replaced in one rename, so it is always a whole one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::{Result, StoreError};
use crate::month::Month;

/// Format of the lake; part of every segment's id.
pub const FORMAT: u32 = 1;

/// One file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// table that it belongs to
    pub table: String,
    /// partition, `2025-07` or `unknown`; absent where the table has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// name of the file
    pub name: String,
    /// rows in it
    pub rows: u64,
    /// its size
    pub bytes: u64,
}

impl FileEntry {
    /// The file's path below the lake's folder.
    pub fn path(&self) -> PathBuf {
        let folder = match &self.month {
            Some(month) => format!("{}/month={month}", self.table),
            None => self.table.clone(),
        };
        Path::new(&folder).join(&self.name)
    }

    /// The partition, if the file has one.
    pub fn month(&self) -> Option<Month> {
        self.month.as_deref().and_then(Month::parse)
    }
}

/// What one commit brought: the rows of one or several source files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// hash of the format and of the sources' paths and hashes, 16 hex digits
    pub id: String,
    /// what else the rows depend on, as the caller named it
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stamp: String,
    /// keys of its measurements, for telling duplicates
    pub keys: u64,
    /// its files
    pub files: Vec<FileEntry>,
}

/// The verdicts and cells of one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictEntry {
    /// partition
    pub month: String,
    /// hash of the rules, of the reference data and of the segments that were judged
    pub key: String,
    /// its files
    pub files: Vec<FileEntry>,
}

/// All that is in a lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// format of the lake
    pub format: u32,
    /// segments in the order of their commits, which is the order of the sources in the plan
    pub segments: Vec<SegmentEntry>,
    /// verdicts by month
    #[serde(default)]
    pub verdicts: Vec<VerdictEntry>,
    /// runs of the lab: flows of replayed captures, truth of scenarios
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lab: Vec<SegmentEntry>,
    /// segments, the oldest ones, whose keys no longer fit in memory: a duplicate of a measurement in
    /// one of these is not noticed
    #[serde(default)]
    pub dedupe_window_exceeded: u64,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            format: FORMAT,
            segments: Vec::new(),
            verdicts: Vec::new(),
            lab: Vec::new(),
            dedupe_window_exceeded: 0,
        }
    }
}

impl Manifest {
    /// Reads the manifest of a lake; `None` when there is none.
    pub(crate) fn load(disk: &Disk, lake: &Path) -> Result<Option<Self>> {
        let path = lake.join("manifest.json");
        let bytes = match disk.read(&path) {
            Err(StoreError::Io { kind: std::io::ErrorKind::NotFound, .. }) => return Ok(None),
            other => other?,
        };
        let corrupt = |e: serde_json::Error| StoreError::Corrupt { path: path.clone(), text: e.to_string() };
        let version: Version = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if version.format != FORMAT {
            return Err(StoreError::Format { path: lake.to_owned(), found: version.format, known: FORMAT });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(corrupt)
    }

    /// Replaces the manifest of a lake.
    pub(crate) fn save(&self, disk: &Disk, lake: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        disk.replace(&lake.join("tmp/manifest.json"), &lake.join("manifest.json"), &bytes)
    }

    /// All files of tables, in order.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let segments = self.segments.iter().flat_map(|s| &s.files);
        let verdicts = self.verdicts.iter().flat_map(|v| &v.files);
        segments.chain(verdicts).chain(self.lab.iter().flat_map(|run| &run.files))
    }

    /// All partitions with measurements, in order.
    pub fn months(&self) -> Vec<Month> {
        let files = self.segments.iter().flat_map(|s| &s.files).filter(|f| f.table == "measurements");
        let months: std::collections::BTreeSet<Month> = files.filter_map(FileEntry::month).collect();
        months.into_iter().collect()
    }
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}
