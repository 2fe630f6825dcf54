//! Reference data, versioned and named in every verdict: who announces an address, which page is a
//! blockpage, which category a host has.
//!
//! ```text
//!   raw files, folders, packages ──import──► directory (manifest.json, *.okref) ──load──► Reference
//!                └──────────────────────load, slower──────────────────────────────────────────┘
//! ```
//!
//! Nothing here is needed: with [`Reference::empty`] everything still runs, and
//! [`Reference::missing`] says what could not be told.

mod error;
mod fingerprint_tables;
mod fingerprints;
mod literals;
mod networks;
mod ranges;
mod recognise;
mod required_literal;
mod sources;
mod store;
mod tables;
mod test_lists;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use okno_model::{ReferenceStamp, Timestamp};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub use error::ReferenceError;
pub use fingerprints::Fingerprints;
pub use networks::NetworkTable;
pub use okno_model::{is_bogon, unmap_nat64};
pub use test_lists::TestLists;

use networks::{NetworkTableBuilder, RangeTable};
use recognise::Format;
use sources::Source;
use tables::Content;

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

/// One table, as `okno reference` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// name without version: `asn-ipv4`, `ooni-http`, `delegated-ripencc` …
    pub name: String,
    /// what it tells
    pub kind: TableKind,
    /// date `YYYY-MM-DD` where the source has one, else the first 8 digits of the hash
    pub version: String,
    /// rows that were read
    pub rows: u64,
    /// rows that could not be read
    pub skipped: u64,
    /// rows set aside because they overlap or repeat others
    pub overlapping: u64,
    /// file it came from, without folder
    pub origin: String,
    /// its licence, as its publisher states it
    pub licence: String,
    /// XXH3-64 of the origin's unpacked bytes, 16 hexadecimal digits
    pub hash: String,
    /// what a reader should know: expressions that do not compile, caveats of the publisher
    pub notes: Vec<String>,
}

/// A table with its content.
#[derive(Debug)]
struct Table {
    entry: TableEntry,
    content: Content,
}

impl Table {
    /// Days since the epoch; before everything when the source has no date.
    fn day(&self) -> i64 {
        Timestamp::parse(&self.entry.version).map_or(i64::MIN, Timestamp::day_index)
    }

    /// The version where it is a date, which sorts after no date.
    fn date(&self) -> &str {
        if self.day() == i64::MIN { "" } else { &self.entry.version }
    }

    fn key(&self) -> (TableKind, &str, &str) {
        (self.entry.kind, &self.entry.name, &self.entry.version)
    }
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
        Self::build(Vec::new())
    }

    /// Reads a directory that [`import`] made, or any file or directory with raw tables, recursively.
    ///
    /// # Errors
    /// When nothing can be read, nothing is recognised, or an imported directory is damaged.
    pub fn load(dir: &Path) -> Result<Self, ReferenceError> {
        if dir.join(store::MANIFEST).is_file() {
            return store::read(dir).map(Self::build);
        }
        let tables = raw_tables(&[dir.to_path_buf()])?;
        Ok(Self::build(tables))
    }

    fn build(mut tables: Vec<Table>) -> Self {
        tables.sort_by(|a, b| a.key().cmp(&b.key()));
        let stamp = stamp(&tables);
        let entries = tables.iter().map(|table| table.entry.clone()).collect();
        let last_days = last_days(&tables);
        let mut networks = NetworkTableBuilder::default();
        let mut countries: BTreeMap<(i64, u8, String), Vec<RangeTable>> = BTreeMap::new();
        let (mut adapted, mut others, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for table in tables {
            let (day, date) = (table.day(), table.date().to_owned());
            let Table { entry, content } = table;
            match content {
                Content::Networks(ranges) => networks.add_networks(day, ranges),
                Content::Countries(ranges) => {
                    countries.entry(country_order(&entry, day, &last_days)).or_default().push(ranges);
                }
                Content::Fingerprints(rows) if entry.name.starts_with("ooni-") => adapted.extend(rows),
                Content::Fingerprints(rows) => others.extend(rows),
                Content::Hosts(hosts) => lists.push((entry.name, date, hosts)),
            }
        }
        for ((day, _, _), mut group) in countries {
            let table = if group.len() == 1 { group.remove(0) } else { networks::joined(group) };
            networks.add_countries(day, table);
        }
        Self {
            networks: networks.finish(),
            fingerprints: Fingerprints::build(adapted, others),
            test_lists: TestLists::build(lists),
            tables: entries,
            stamp,
        }
    }

    /// `name@version` of each kind of table, sorted, joined with a blank; `none` without any. Networks
    /// and countries are named by their dates, fingerprints and test lists by a hash of their content.
    pub fn stamp(&self) -> ReferenceStamp {
        ReferenceStamp { text: self.stamp.clone() }
    }

    /// The tables, sorted by kind, name and version.
    pub fn tables(&self) -> &[TableEntry] {
        &self.tables
    }

    /// What cannot be told without a table that is not there, in plain sentences.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if !self.networks.has_networks() {
            missing.push(
                "No table of AS numbers: whose network an answer's address belongs to cannot be told, so \
                 another address of the same provider may look foreign. Import @ip-location-db/asn.",
            );
        }
        if !self.networks.has_countries() {
            missing.push(
                "No table of countries: where an answer's address is registered cannot be told. Import \
                 @ip-location-db/asn-country.",
            );
        }
        if self.fingerprints.http_infos().next().is_none() {
            missing.push(
                "No fingerprints of pages: blockpages cannot be recognised or told from captchas. Import \
                 fingerprints_http.csv of ooni/blocking-fingerprints.",
            );
        }
        if self.fingerprints.dns_infos().next().is_none() {
            missing.push(
                "No fingerprints of DNS answers: known forged answers cannot be recognised. Import \
                 fingerprints_dns.csv of ooni/blocking-fingerprints.",
            );
        }
        if self.test_lists.is_empty() {
            missing
                .push("No test lists: targets have no category. Import the lists of citizenlab/test-lists.");
        }
        missing
    }
}

/// Order of country tables: by day, then the address's own registration before what its network, its
/// owner or an aggregate says; the last of a day is asked first. Registries publish one file each, often
/// a day apart, and ipverse one a country: those of a month join into one table, as of its last day.
fn country_order(entry: &TableEntry, day: i64, last_days: &BTreeMap<String, i64>) -> (i64, u8, String) {
    match entry.name.as_str() {
        name if name.starts_with("delegated-") => {
            (last_days.get(month(entry)).copied().unwrap_or(day), 3, "delegated".into())
        }
        name if name.starts_with("ipverse-") => (i64::MIN, 0, "ipverse".into()),
        name if name.starts_with("geo-whois") => (day, 1, name.into()),
        name => (day, 2, name.into()),
    }
}

/// Last day of each month's delegation files.
fn last_days(tables: &[Table]) -> BTreeMap<String, i64> {
    let mut days: BTreeMap<String, i64> = BTreeMap::new();
    for table in tables.iter().filter(|t| t.entry.name.starts_with("delegated-")) {
        let last = days.entry(month(&table.entry).to_owned()).or_insert(i64::MIN);
        *last = table.day().max(*last);
    }
    days
}

fn month(entry: &TableEntry) -> &str {
    entry.version.get(..7).unwrap_or_default()
}

fn stamp(tables: &[Table]) -> String {
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    for (kind, word) in [(TableKind::Asn, "asn"), (TableKind::Country, "country")] {
        let (dated, undated): (Vec<&Table>, Vec<&Table>) =
            tables.iter().filter(|t| t.entry.kind == kind).partition(|t| t.day() != i64::MIN);
        let mut versions: BTreeSet<String> = dated.iter().map(|t| t.entry.version.clone()).collect();
        if !undated.is_empty() {
            versions.insert(format!("undated-{}", joint_hash(undated.into_iter())));
        }
        if !versions.is_empty() {
            parts.insert(word, versions.into_iter().collect::<Vec<_>>().join("+"));
        }
    }
    for (kind, word) in [(TableKind::Fingerprints, "fingerprints"), (TableKind::TestList, "testlists")] {
        if tables.iter().any(|t| t.entry.kind == kind) {
            parts.insert(word, joint_hash(tables.iter().filter(|t| t.entry.kind == kind)));
        }
    }
    if parts.is_empty() {
        return "none".into();
    }
    parts.iter().map(|(word, version)| format!("{word}@{version}")).collect::<Vec<_>>().join(" ")
}

/// Eight digits that stand for the content of several tables.
fn joint_hash<'a>(tables: impl Iterator<Item = &'a Table>) -> String {
    let hashes: Vec<&str> = tables.map(|t| t.entry.hash.as_str()).collect();
    format!("{:08x}", xxh3_64(hashes.join(" ").as_bytes()) >> 32)
}

/// Imports raw files, directories and packages (npm `.tgz`, `.csv`, `.csv.gz`, `.csv.zst`, `.json` …)
/// into a directory that [`Reference::load`] reads fast. Tables that are there already stay, unless one
/// of the same name and version comes in. Gives the entries of what came in.
///
/// # Errors
/// When a path cannot be read, nothing is recognised, or the directory cannot be written. The directory
/// then is as it was.
pub fn import(paths: &[PathBuf], into: &Path) -> Result<Vec<TableEntry>, ReferenceError> {
    let incoming = raw_tables(paths)?;
    let entries: Vec<TableEntry> = incoming.iter().map(|table| table.entry.clone()).collect();
    let mut tables = incoming;
    if into.join(store::MANIFEST).is_file() {
        let known: BTreeSet<_> =
            entries.iter().map(|e| (e.kind, e.name.clone(), e.version.clone())).collect();
        let is_new =
            |t: &Table| !known.contains(&(t.entry.kind, t.entry.name.clone(), t.entry.version.clone()));
        tables.extend(store::read(into)?.into_iter().filter(is_new));
    }
    tables.sort_by(|a, b| a.key().cmp(&b.key()));
    store::write(into, &tables)?;
    Ok(entries)
}

/// Reads every table of the paths; of two with the same name and version, the first.
fn raw_tables(paths: &[PathBuf]) -> Result<Vec<Table>, ReferenceError> {
    let mut tables: BTreeMap<(TableKind, String, String), Table> = BTreeMap::new();
    for path in paths {
        sources::walk(path, &mut |source| {
            let table = table_of(source);
            let key = (table.entry.kind, table.entry.name.clone(), table.entry.version.clone());
            if table.entry.rows > 0 {
                tables.entry(key).or_insert(table);
            }
        })?;
    }
    if tables.is_empty() {
        let path = paths.first().cloned().unwrap_or_default();
        return Err(ReferenceError::NothingRecognised { path });
    }
    Ok(newest_lists(tables.into_values().collect()))
}

/// Of each test list one version is in force: the youngest, and of several without date the last.
fn newest_lists(tables: Vec<Table>) -> Vec<Table> {
    let mut newest: BTreeMap<String, (String, String)> = BTreeMap::new();
    let order = |t: &Table| (t.date().to_owned(), t.entry.version.clone());
    for table in tables.iter().filter(|t| t.entry.kind == TableKind::TestList) {
        let known = newest.entry(table.entry.name.clone()).or_default();
        *known = order(table).max(std::mem::take(known));
    }
    let in_force =
        |t: &Table| t.entry.kind != TableKind::TestList || newest.get(&t.entry.name) == Some(&order(t));
    tables.into_iter().filter(in_force).collect()
}

fn table_of(source: Source) -> Table {
    let parsed = tables::parse(source.format, &source.bytes);
    let hash = format!("{:016x}", xxh3_64(&source.bytes));
    let (name, kind, licence) = identity(&source, &parsed.qualifier);
    let mut notes = parsed.notes;
    if matches!(source.format, Format::AsnCsv | Format::CountryCsv) && source.origin.contains("ipv") {
        notes.push(
            "its publisher says that the npm packages hold wrong rows and are no longer updated; corrected \
             data is in the project's GitHub releases"
                .into(),
        );
    }
    let version = source.date.or(parsed.date).unwrap_or_else(|| hash[..8].to_owned());
    Table {
        entry: TableEntry {
            name,
            kind,
            version,
            rows: parsed.rows,
            skipped: parsed.skipped,
            overlapping: parsed.overlapping,
            origin: source.origin,
            licence: licence.to_owned(),
            hash,
            notes,
        },
        content: parsed.content,
    }
}

/// Name, kind and licence of a table.
fn identity(source: &Source, qualifier: &str) -> (String, TableKind, &'static str) {
    let stem = source.stem.as_str();
    match source.format {
        Format::AsnCsv => {
            (stem.into(), TableKind::Asn, "CC BY 4.0: DB-IP (https://db-ip.com), RouteViews, NRO")
        }
        Format::CountryCsv if stem.starts_with("geo-whois") => (stem.into(), TableKind::Country, "CC0"),
        Format::CountryCsv => (stem.into(), TableKind::Country, "CC BY 4.0: NRO"),
        Format::Delegated => {
            (format!("delegated-{qualifier}"), TableKind::Country, "RIR statistics, CC BY 4.0: NRO")
        }
        Format::Ipverse => (format!("ipverse-{qualifier}"), TableKind::Country, "CC0"),
        Format::OoniFingerprints => (
            format!("ooni-{qualifier}"),
            TableKind::Fingerprints,
            "no licence file; CC BY-NC-SA 4.0 as OONI's data, presumed",
        ),
        Format::CitizenLabHttp | Format::CitizenLabDns => {
            (format!("citizenlab-{qualifier}"), TableKind::Fingerprints, "BSD style")
        }
        Format::CensoredPlanet => {
            (format!("censoredplanet-{qualifier}"), TableKind::Fingerprints, "BSD-3-Clause")
        }
        Format::TestList => {
            let list = stem.strip_prefix("citizenlab-").unwrap_or(stem);
            (format!("citizenlab-{list}"), TableKind::TestList, "CC BY-NC-SA 4.0")
        }
    }
}

/// Reads any bytes as every kind of table, raw and imported, and matches them: for fuzzing. Must not
/// panic, whatever the bytes.
pub fn fuzz_tables(bytes: &[u8]) {
    let _ = recognise::recognise(bytes);
    for format in Format::ALL {
        let parsed = tables::parse(format, bytes);
        if let Content::Fingerprints(rows) = parsed.content {
            let fingerprints = Fingerprints::build(rows.clone(), rows);
            let mut hits = Vec::new();
            fingerprints.match_body(bytes, &mut hits);
            fingerprints.match_dns(&String::from_utf8_lossy(bytes), &mut hits);
            fingerprints.match_header("location", &String::from_utf8_lossy(bytes), &mut hits);
        }
    }
    for kind in [TableKind::Asn, TableKind::Country, TableKind::Fingerprints, TableKind::TestList] {
        if let Some(content) = store::decode(kind, bytes) {
            assert_eq!(store::decode(kind, &store::encode(&content)), Some(content));
        }
    }
}
