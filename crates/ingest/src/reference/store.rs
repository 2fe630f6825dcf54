//! The imported form of reference tables: one compact file a table and a manifest.
//!
//! Files are called by the hash of their bytes and never change; the manifest alone says which belong
//! to the directory, and it is replaced by renaming. So a reader sees the old tables or the new ones,
//! never a mixture, whenever the import is interrupted. Same tables, same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::ReferenceError;
use super::networks::{Networks, RangeTable};
use super::ranges::{Ranges, read_number, write_number};
use super::tables::{Content, FingerprintRow, HostRow};
use super::{Table, TableEntry, TableKind};

/// Name of the manifest; a directory that has one was made by an import.
pub(super) const MANIFEST: &str = "manifest.json";
/// Version of the file format, counted up with every change.
const FORMAT: u32 = 1;
/// Ending of table files.
const ENDING: &str = ".okref";
/// Compression level: the tables are written once and read at every start.
const LEVEL: i32 = 9;
/// Bytes that one table file may unpack to.
const UNPACKED_BYTES: usize = 512 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    tables: Vec<ManifestTable>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ManifestTable {
    #[serde(flatten)]
    entry: TableEntry,
    /// file in the same directory, called by the hash of its bytes
    file: String,
}

/// Reads an imported directory.
pub(super) fn read(dir: &Path) -> Result<Vec<Table>, ReferenceError> {
    let manifest = read_manifest(dir)?;
    manifest.tables.into_iter().map(|table| read_table(dir, table)).collect()
}

fn read_manifest(dir: &Path) -> Result<Manifest, ReferenceError> {
    let path = dir.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|e| ReferenceError::reading(&path, &e))?;
    let damaged = |what| ReferenceError::Damaged { path: path.clone(), what };
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|_| damaged("the manifest cannot be read"))?;
    if manifest.format != FORMAT {
        return Err(damaged("the tables were imported by another version of okno"));
    }
    Ok(manifest)
}

fn read_table(dir: &Path, table: ManifestTable) -> Result<Table, ReferenceError> {
    let is_plain = table.file.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let path = dir.join(&table.file);
    let damaged = |what| ReferenceError::Damaged { path: path.clone(), what };
    if !is_plain {
        return Err(damaged("the manifest names a file outside of its directory"));
    }
    let packed = fs::read(&path).map_err(|e| ReferenceError::reading(&path, &e))?;
    if file_name(&packed) != table.file {
        return Err(damaged("the file is not what was imported"));
    }
    let content = unpack(&packed)
        .and_then(|bytes| decode(table.entry.kind, &bytes))
        .ok_or_else(|| damaged("the table cannot be read"))?;
    Ok(Table { entry: table.entry, content })
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let size = usize::try_from(u64::from_le_bytes(*packed.first_chunk::<8>()?)).ok()?;
    if size > UNPACKED_BYTES {
        return None;
    }
    zstd::bulk::decompress(&packed[8..], size).ok().filter(|bytes| bytes.len() == size)
}

fn file_name(packed: &[u8]) -> String {
    format!("{:016x}{ENDING}", xxh3_64(packed))
}

/// Writes tables as the whole content of a directory.
pub(super) fn write(dir: &Path, tables: &[Table]) -> Result<(), ReferenceError> {
    fs::create_dir_all(dir).map_err(|e| ReferenceError::writing(dir, &e))?;
    let mut manifest = Manifest { format: FORMAT, tables: Vec::new() };
    for table in tables {
        let bytes = encode(&table.content);
        let path = dir.join("table.tmp");
        let mut packed = (bytes.len() as u64).to_le_bytes().to_vec();
        packed.extend(
            zstd::bulk::compress(&bytes, LEVEL).map_err(|error| ReferenceError::writing(&path, &error))?,
        );
        let file = file_name(&packed);
        replace(&path, &dir.join(&file), &packed)?;
        manifest.tables.push(ManifestTable { entry: table.entry.clone(), file });
    }
    let json = serde_json::to_vec_pretty(&manifest).expect("strings and numbers can be written as JSON");
    replace(&dir.join("manifest.tmp"), &dir.join(MANIFEST), &json)?;
    sweep(dir, &manifest);
    Ok(())
}

/// Writes a file under a temporary name, flushes it to the disk, then gives it its name.
fn replace(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<(), ReferenceError> {
    use std::io::Write;
    let mut file = fs::File::create(temporary).map_err(|e| ReferenceError::writing(temporary, &e))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| ReferenceError::writing(temporary, &e))?;
    fs::rename(temporary, path).map_err(|e| ReferenceError::writing(path, &e))
}

/// Removes tables that the manifest no longer names; what cannot be removed does no harm.
fn sweep(dir: &Path, manifest: &Manifest) {
    let kept: BTreeSet<&str> = manifest.tables.iter().map(|table| table.file.as_str()).collect();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name.ends_with(ENDING) && !kept.contains(&*name)) || name == "table.tmp" {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Canonical bytes of a table.
pub(super) fn encode(content: &Content) -> Vec<u8> {
    match content {
        Content::Networks(table) | Content::Countries(table) => encode_ranges(table),
        Content::Fingerprints(rows) => serde_json::to_vec(rows).expect("strings can be written as JSON"),
        Content::Hosts(rows) => serde_json::to_vec(rows).expect("strings can be written as JSON"),
    }
}

/// Reads canonical bytes; `None` when damaged.
pub(super) fn decode(kind: TableKind, bytes: &[u8]) -> Option<Content> {
    Some(match kind {
        TableKind::Asn => Content::Networks(decode_ranges(bytes, true)?),
        TableKind::Country => Content::Countries(decode_ranges(bytes, false)?),
        TableKind::Fingerprints => {
            let rows: Vec<FingerprintRow> = serde_json::from_slice(bytes).ok()?;
            Content::Fingerprints(rows.into_iter().filter(|row| !row.pattern.is_empty()).collect())
        }
        TableKind::TestList => Content::Hosts(serde_json::from_slice::<Vec<HostRow>>(bytes).ok()?),
    })
}

fn encode_ranges(table: &RangeTable) -> Vec<u8> {
    let mut out = Vec::new();
    table.v4.write(&mut out);
    table.v6.write(&mut out);
    let networks = &table.networks;
    write_number(networks.asns.len() as u128, &mut out);
    for numbers in [&networks.asns, &networks.ends] {
        let mut before = 0;
        for &number in numbers {
            write_number(u128::from(number - before), &mut out);
            before = number;
        }
    }
    out.extend_from_slice(networks.names.as_bytes());
    out
}

fn decode_ranges(mut bytes: &[u8], is_asn: bool) -> Option<RangeTable> {
    let bytes = &mut bytes;
    let (v4, v6) = (Ranges::<u32>::read(bytes)?, Ranges::<u128>::read(bytes)?);
    let count = usize::try_from(read_number(bytes)?).ok().filter(|count| *count <= bytes.len())?;
    let mut ascending = || {
        let mut before = 0u32;
        let mut next = || {
            before = before.checked_add(u32::try_from(read_number(bytes)?).ok()?)?;
            Some(before)
        };
        (0..count).map(|_| next()).collect::<Option<Vec<u32>>>()
    };
    let (asns, ends) = (ascending()?, ascending()?);
    let names = std::str::from_utf8(bytes).ok()?.to_owned();
    let is_whole = ends.last().map_or(0, |end| *end as usize) == names.len()
        && (!is_asn || v4.max_value().max(v6.max_value()) as usize <= asns.len());
    is_whole.then_some(RangeTable { v4, v6, networks: Networks { asns, ends, names } })
}
