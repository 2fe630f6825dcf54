//! Results on disk: lines go to a side file at once, which gets its name when the session is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use okno_model::Timestamp;

use crate::Unusable;

/// A file of results under way.
pub struct Output {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
}

/// The default name, by the session's beginning in UTC.
pub fn default_name(now: Timestamp) -> PathBuf {
    let digits: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    PathBuf::from(format!("okno-probe-{digits}.jsonl"))
}

impl Output {
    /// Opens it. An existing file is never written over: it may be somebody's only evidence.
    pub fn create(path: &Path) -> Result<Self> {
        let taken = || Unusable(format!("--output {}: exists already; name another file", path.display()));
        if path.exists() {
            return Err(taken().into());
        }
        let mut name = path.file_name().context("--output names no file")?.to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&part);
        let file = file.with_context(|| format!("cannot write {}", part.display()))?;
        Ok(Self { path: path.to_owned(), part, file: BufWriter::new(file) })
    }

    /// Writes a line; it is on its way to the disk when this returns, so that a cut session loses nothing.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.file.flush()
    }

    /// Gives the file its name, or takes it away when it is empty.
    pub fn finish(mut self, lines: usize) -> Result<Option<PathBuf>> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        if lines == 0 {
            std::fs::remove_file(&self.part)?;
            return Ok(None);
        }
        std::fs::rename(&self.part, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Some(self.path))
    }
}
