//! What can go wrong with reference data: what happened, where, what to do.
//!
//! A bad row is never an error: it is counted in [`super::TableEntry`]. Errors are about whole files
//! and directories only.

use std::path::{Path, PathBuf};

/// Why a table, or a directory of tables, could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A file or directory could not be read or written.
    #[error("{action} {path} failed: {kind}; {advice}", path = path.display())]
    Io {
        /// what was tried: `reading`, `writing` …
        action: &'static str,
        /// the file or directory
        path: PathBuf,
        /// the system's reason
        kind: std::io::ErrorKind,
        /// what to do
        advice: &'static str,
    },
    /// No table was recognised in what was given.
    #[error(
        "no reference table recognised in {path}; give an ip-location-db CSV or npm package, an RIR \
         delegation file, a fingerprint CSV or JSON, or a test list CSV",
        path = path.display()
    )]
    NothingRecognised {
        /// the first path that was given
        path: PathBuf,
    },
    /// An imported directory is damaged or of another version.
    #[error("{path}: {what}; run `okno reference import` again into an empty directory", path = path.display())]
    Damaged {
        /// the file
        path: PathBuf,
        /// what is wrong with it
        what: &'static str,
    },
}

impl ReferenceError {
    pub(super) fn reading(path: &Path, error: &std::io::Error) -> Self {
        Self::Io {
            action: "reading",
            path: path.to_path_buf(),
            kind: error.kind(),
            advice: "check the path and its permissions",
        }
    }

    pub(super) fn writing(path: &Path, error: &std::io::Error) -> Self {
        Self::Io {
            action: "writing",
            path: path.to_path_buf(),
            kind: error.kind(),
            advice: "check that the directory is writable and the disk is not full",
        }
    }
}
