//! Captures behind the arguments, opened as streams that say how far reading came.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use okno_ingest::source;
use okno_lab::replay::Cidr;
use xxhash_rust::xxh3::Xxh3Default;

use crate::Unusable;

/// Bytes from each file's beginning that name a run.
const NAMING: usize = 64 << 10;

/// One capture.
pub struct CaptureFile {
    /// where it lies; `-` is standard input
    pub path: PathBuf,
    /// its name in tables
    pub name: String,
    /// bytes on the disk; 0 of a stream
    pub size: u64,
}

/// Finds the captures behind the arguments, in the order given.
pub fn find(args: &[PathBuf]) -> Result<Vec<CaptureFile>> {
    let mut found = Vec::new();
    for arg in args {
        let text = arg.to_string_lossy();
        if text == "-" {
            found.push(CaptureFile { path: arg.clone(), name: "-".into(), size: 0 });
        } else if arg.exists() {
            walk(arg, &mut found).with_context(|| format!("cannot read {text}"))?;
        } else if text.contains(['*', '?', '[']) {
            let wrong = |e: glob::PatternError| Unusable(format!("{text} is no pattern: {e}"));
            for path in glob::glob(&text).map_err(wrong)? {
                walk(&path?, &mut found)?;
            }
        } else {
            let problem = format!("{text} does not exist; give captures, folders, globs, or -");
            return Err(Unusable(problem).into());
        }
    }
    Ok(found)
}

/// A file as it is; of a folder all that are named like captures, by name.
fn walk(path: &Path, found: &mut Vec<CaptureFile>) -> io::Result<()> {
    let mut pending = vec![path.to_owned()];
    while let Some(next) = pending.pop() {
        let meta = std::fs::symlink_metadata(&next)?;
        if meta.is_dir() {
            let entries = std::fs::read_dir(&next)?.map(|entry| Ok(entry?.path()));
            let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
            entries.sort_unstable_by(|a, b| b.cmp(a));
            pending.extend(entries);
        } else if next == path || is_capture(&next) {
            let name = next.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let size = std::fs::metadata(&next).map_or(0, |meta| meta.len());
            found.push(CaptureFile { path: next, name, size });
        }
    }
    Ok(())
}

fn is_capture(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let bare = [".gz", ".zst", ".lz4"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    [".pcap", ".pcapng", ".cap"].iter().any(|end| bare.ends_with(end)) && !name.starts_with('.')
}

/// An open capture, unpacked on the way.
pub struct Opened {
    /// the capture's bytes
    pub stream: Box<dyn Read + Send>,
    /// bytes of the file that were read
    pub read: Arc<AtomicU64>,
}

impl CaptureFile {
    /// Opens it.
    pub fn open(&self) -> io::Result<Opened> {
        let raw: Box<dyn Read + Send> =
            if self.name == "-" { Box::new(io::stdin()) } else { Box::new(File::open(&self.path)?) };
        let read = Arc::new(AtomicU64::new(0));
        let counting = Box::new(Counting { inner: raw, read: Arc::clone(&read) });
        let (stream, _) = source::decompress(counting)?;
        Ok(Opened { stream, read })
    }
}

struct Counting {
    inner: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Names a run by what it was given: names, sizes and beginnings of the captures, and its options.
pub fn run_id(files: &[CaptureFile], options: &[&str]) -> String {
    let mut hash = Xxh3Default::new();
    for text in options {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut head = vec![0; NAMING];
    for file in files {
        hash.update(file.name.as_bytes());
        hash.update(&file.size.to_le_bytes());
        let count = File::open(&file.path).and_then(|mut stream| stream.read(&mut head)).unwrap_or(0);
        hash.update(&head[..count]);
    }
    format!("{:016x}", hash.digest())
}

/// Reads ranges of subscribers.
pub fn subscribers(texts: &[String]) -> Result<Vec<Cidr>> {
    let read =
        |text: &String| text.parse::<Cidr>().map_err(|e| Unusable(format!("--subscriber: {e}")).into());
    texts.iter().map(read).collect()
}
