//! Files, folders and packages to recognised tables.
//!
//! Every file is opened, unpacked (gzip, zstd, tar; told by their magic, not by their name) and looked
//! at for its first 8 KiB; only what is recognised there is read whole. Archives of dated versions
//! (`NAME/2026-01-02T114003_….txt`) give the youngest version.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::error::ReferenceError;
use super::recognise::{Format, HEAD_BYTES, recognise};
use super::tables::{date_at_start, date_in};

/// Bytes of one unpacked table that are read at most; the largest known has 24 MB.
const TABLE_BYTES: u64 = 256 << 20;
/// Bytes that are unpacked of one archive at most.
const ARCHIVE_BYTES: u64 = 1 << 30;
/// Entries of an archive without any table, after which it is given up.
const STRANGERS: usize = 64;

/// A recognised table, not read yet.
#[derive(Debug)]
pub(super) struct Source {
    pub format: Format,
    pub bytes: Vec<u8>,
    /// file name without folder, for the listing
    pub origin: String,
    /// name to derive the table's from: the file's, or the folder's in an archive of versions
    pub stem: String,
    /// date that the name, or the package, tells
    pub date: Option<String>,
}

/// Hands every table of a file or folder to `each`, in the order of the names.
pub(super) fn walk(path: &Path, each: &mut impl FnMut(Source)) -> Result<(), ReferenceError> {
    let metadata = std::fs::metadata(path).map_err(|e| ReferenceError::reading(path, &e))?;
    if !metadata.is_dir() {
        return open(path, each).map_err(|e| ReferenceError::reading(path, &e));
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .map_err(|e| ReferenceError::reading(path, &e))?;
    inside.sort();
    for child in inside {
        let is_hidden = child.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        // Links are not followed: they can lead in circles.
        let Ok(metadata) = std::fs::symlink_metadata(&child) else { continue };
        if is_hidden || metadata.is_symlink() {
            continue;
        }
        if metadata.is_dir() {
            walk(&child, each)?;
        } else if open(&child, each).is_err() {
            // One damaged file among others (a capture, a truncated archive) is no reason to stop.
            continue;
        }
    }
    Ok(())
}

fn open(path: &Path, each: &mut impl FnMut(Source)) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut reader = unpacked(BufReader::with_capacity(64 << 10, File::open(path)?))?;
    let head = head_of(&mut reader)?;
    if is_tar(&head) {
        return archive(&name, Cursor::new(head).chain(reader).take(ARCHIVE_BYTES), each);
    }
    if let Some(format) = recognise(&head) {
        let bytes = rest_of(head, reader)?;
        each(Source { format, bytes, date: date_in(&name), stem: stem(&name), origin: name });
    }
    Ok(())
}

/// Unpacks gzip (RFC 1952) or zstd (RFC 8878), by their first bytes.
fn unpacked(mut reader: BufReader<File>) -> io::Result<Box<dyn Read>> {
    use io::BufRead;
    let magic = reader.fill_buf()?;
    Ok(if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(reader)?)
    } else {
        Box::new(reader)
    })
}

fn head_of(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn rest_of(mut head: Vec<u8>, reader: impl Read) -> io::Result<Vec<u8>> {
    reader.take(TABLE_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// POSIX tar has `ustar` at offset 257 of its first header.
fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

fn archive(name: &str, reader: impl Read, each: &mut impl FnMut(Source)) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    // By folder and name without date: of several versions the youngest remains.
    let mut tables: BTreeMap<(String, String), Source> = BTreeMap::new();
    let mut package_date = date_in(name);
    let mut strangers = 0;
    for entry in archive.entries()? {
        let Ok(mut entry) = entry else { break };
        let path = entry.path_bytes();
        let path = String::from_utf8_lossy(&path).into_owned();
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
        if path == "package/package.json" {
            package_date = package_version(entry).or(package_date);
            continue;
        }
        let head = head_of(&mut entry)?;
        let Some(format) = recognise(&head) else {
            strangers += 1;
            if strangers >= STRANGERS && tables.is_empty() {
                return Ok(());
            }
            continue;
        };
        let date = date_in(file);
        let file_stem = stem(file);
        let folder_stem = folder.rsplit('/').next().unwrap_or_default();
        // A file called by its date alone is a version of what the folder is called.
        let stem = if file_stem.is_empty() { stem(folder_stem) } else { file_stem };
        let key = (folder.to_owned(), stem.clone());
        if tables.get(&key).is_some_and(|known| known.date >= date && date.is_some()) {
            continue;
        }
        let bytes = rest_of(head, entry)?;
        tables.insert(key, Source { format, bytes, origin: format!("{name}:{file}"), stem, date });
    }
    for (_, mut source) in tables {
        source.date = source.date.or_else(|| package_date.clone());
        each(source);
    }
    Ok(())
}

/// Date in the version of an npm package: `2.3.2026061719`.
fn package_version(entry: impl Read) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        version: String,
    }
    let package: Package = serde_json::from_reader(entry.take(1 << 20)).ok()?;
    date_in(&package.version)
}

/// File name without endings, date and joints: `asn-ipv4-2025040218.csv.zst` is `asn-ipv4`; empty for a
/// name that begins with its date.
fn stem(name: &str) -> String {
    let name = name.split('.').next().unwrap_or_default();
    let begins_date = |at: &usize| {
        !name[..*at].ends_with(|c: char| c.is_ascii_digit()) && date_at_start(&name[*at..]).is_some()
    };
    let end = name.char_indices().map(|(at, _)| at).find(begins_date).unwrap_or(name.len());
    name[..end].trim_end_matches(['-', '_']).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_has_no_date_and_no_endings() {
        for (name, expected) in [
            ("asn-ipv4-2025040218.csv.zst", "asn-ipv4"),
            ("geo-whois-asn-country-ipv6-2026061719.csv.zst", "geo-whois-asn-country-ipv6"),
            ("2026-01-02T114003_a98e416e.txt", ""),
            ("ooni-fingerprints_http.csv", "ooni-fingerprints_http"),
            ("citizenlab-ru", "citizenlab-ru"),
            ("delegated-arin-extended-20181013.zst", "delegated-arin-extended"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }
}
