//! Everything that changes the lake's folder goes through here.
//!
//! Two reasons: errors get their place and their advice in one spot, and tests can stop the world
//! before any single step, which is how crash safety is shown rather than claimed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Result, StoreError};

/// Called before each step; an error stops it.
pub(crate) type Hook = Arc<dyn Fn(&'static str, &Path) -> io::Result<()> + Send + Sync>;

/// The file system, watched.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    hook: Option<Hook>,
    /// tests need not wait for the device
    unflushed: bool,
}

impl Disk {
    /// A file system that asks `hook` before each step.
    #[cfg(test)]
    pub(crate) fn watched(hook: Hook) -> Self {
        Self { hook: Some(hook), unflushed: true }
    }

    fn step(&self, doing: &'static str, path: &Path) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(doing, path))
    }

    fn act<T>(&self, doing: &'static str, path: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T> {
        self.step(doing, path).and_then(|()| act()).map_err(|e| StoreError::io(doing, path, &e))
    }

    pub(crate) fn create_dir_all(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.act("make the folder", path, || fs::create_dir_all(path))
    }

    pub(crate) fn create(&self, path: &Path) -> Result<DiskFile> {
        let file = self.act("create", path, || File::create(path))?;
        Ok(DiskFile { file, disk: self.clone(), path: path.into() })
    }

    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path).map_err(|e| StoreError::io("read", path, &e))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.act("move a finished file to", to, || fs::rename(from, to))
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<()> {
        self.act("remove", path, || match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    pub(crate) fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.act("remove the folder", path, || match fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    /// Removes a folder if nothing is in it.
    pub(crate) fn remove_empty_dir(&self, path: &Path) -> Result<()> {
        self.act("remove the folder", path, || match fs::remove_dir(path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Ok(())
            }
            other => other,
        })
    }

    /// Makes renames in a folder last; without it they may be lost with the power.
    pub(crate) fn sync_dir(&self, path: &Path) -> Result<()> {
        self.act(
            "flush the folder",
            path,
            || if self.unflushed { Ok(()) } else { File::open(path)?.sync_all() },
        )
    }

    /// Puts `bytes` at `path` so that whoever looks finds the old content or the new, never a part.
    pub(crate) fn replace(&self, tmp: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(tmp)?;
        file.write_all(bytes).map_err(|e| StoreError::io("write", tmp, &e))?;
        file.sync()?;
        self.rename(tmp, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// A file that is being written.
pub(crate) struct DiskFile {
    file: File,
    disk: Disk,
    path: Box<Path>,
}

impl DiskFile {
    /// Waits until the content is on the disk; returns its length in bytes.
    pub(crate) fn sync(&mut self) -> Result<u64> {
        self.disk.act("flush", &self.path, || {
            if !self.disk.unflushed {
                self.file.sync_all()?;
            }
            self.file.metadata().map(|m| m.len())
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.step("write", &self.path)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
