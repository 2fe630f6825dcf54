//! What can go wrong with a lake: each error says what happened, where, and what to do.
//!
//! Errors hold an [`io::ErrorKind`] and its text instead of an [`io::Error`], so that they can be
//! cloned and compared. A full disk is an error of its own: it is the one that users can mend.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

/// Result of this crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What can go wrong with a lake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system has no room left.
    #[error(
        "no space left while trying to {doing} {}; free some space or choose a lake on another disk, then run the same command again: what is finished is kept",
        path.display()
    )]
    DiskFull {
        /// what was tried
        doing: &'static str,
        /// on which file
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {text}", path.display())]
    Io {
        /// what was tried
        doing: &'static str,
        /// on which file
        path: PathBuf,
        /// kind of the refusal
        kind: io::ErrorKind,
        /// the system's words
        text: String,
    },
    /// Another process writes to this lake.
    #[error("another okno process writes to {}; wait for it, or choose another --lake", path.display())]
    Busy {
        /// folder of the lake
        path: PathBuf,
    },
    /// There is no lake to read.
    #[error("there is no lake at {}; `okno observe DATA --lake {}` makes one", path.display(), path.display())]
    NoLake {
        /// folder that was named
        path: PathBuf,
    },
    /// A file of the lake is not what the manifest says.
    #[error(
        "{} is damaged: {text}; move the lake's folder away and run `okno observe` again",
        path.display()
    )]
    Corrupt {
        /// the file
        path: PathBuf,
        /// what was found
        text: String,
    },
    /// The lake was written in a format that this program does not know.
    #[error(
        "{} has format {found}, this program reads format {known}; use the program that wrote it, or a new lake",
        path.display()
    )]
    Format {
        /// folder of the lake
        path: PathBuf,
        /// format found
        found: u32,
        /// format known
        known: u32,
    },
    /// A source's counters do not add up: a bug of the caller.
    #[error(
        "{source_path}: {lines} lines are not {measurements} measurements and {rejected} rejected lines; please report this"
    )]
    Counts {
        /// path of the source
        source_path: String,
        /// its lines
        lines: u64,
        /// measurements that came of them
        measurements: u64,
        /// lines of which nothing could be kept
        rejected: u64,
    },
    /// Segments were handed over out of plan order: a bug of the caller.
    #[error("segment {found} was committed where {expected} was due; please report this")]
    Order {
        /// segment due
        expected: String,
        /// segment found
        found: String,
    },
    /// A query that is refused, could not be planned, or failed.
    #[error("{text}")]
    Sql {
        /// what, where in the text, and what to do
        text: String,
    },
}

impl StoreError {
    /// Wraps an error of the operating system.
    pub(crate) fn io(doing: &'static str, path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { doing, path: path.to_owned() };
        }
        Self::Io { doing, path: path.to_owned(), kind: error.kind(), text: error.to_string() }
    }

    /// Wraps an error of the Parquet writer or reader, which may hold one of the operating system.
    pub(crate) fn parquet(doing: &'static str, path: &Path, error: &ParquetError) -> Self {
        if let ParquetError::External(inner) = error
            && let Some(inner) = inner.downcast_ref::<io::Error>()
        {
            return Self::io(doing, path, inner);
        }
        Self::Corrupt { path: path.to_owned(), text: format!("cannot {doing}: {error}") }
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
