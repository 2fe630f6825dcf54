//! The lake: a folder of Parquet files and the manifest that says which of them count.
//!
//! ```text
//! LAKE/manifest.json                                 the only truth
//! LAKE/measurements/month=2025-07/SEGMENT.parquet    likewise observations, controls
//! LAKE/sources/SEGMENT.parquet                       likewise rejects
//! LAKE/keys/SEGMENT.keys                             what tells duplicates
//! LAKE/flows/flows-RUN.parquet                       what the lab replayed
//! LAKE/verdicts/month=2025-07/KEY.parquet            likewise cells
//! LAKE/tmp/  LAKE/lock
//! ```
//!
//! A segment is written in `tmp/`, flushed, moved into place, and then named by the manifest. Killed
//! anywhere in between, the lake is what it was before; the next writer removes what nobody names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use okno_model::{Source, Table};

use crate::disk::Disk;
use crate::error::{Result, StoreError};
use crate::keys::{self, KeySet};
use crate::manifest::{FileEntry, Manifest, SegmentEntry};
use crate::month::Month;
use crate::parquet_file::{next_batch, open};
use crate::plan::{KnownSegment, Plan, SourceId, Superseded, plan, segment_id};
use crate::rewrite::{Keep, SegmentFiles, rewrite};
use crate::rows::RowCursor;
use crate::segment::{SegmentDone, SegmentWriter};

/// Keys held in memory at most: 128 MiB.
const KEYS_MAX: u64 = 16 << 20;

/// A lake, opened for writing by this process alone or for reading by many.
pub struct Lake {
    dir: PathBuf,
    disk: Disk,
    manifest: Manifest,
    _lock: Option<File>,
    keys: Option<KeySet>,
    keys_max: u64,
    due: VecDeque<String>,
    unsaved: usize,
}

impl Lake {
    /// Opens the lake in `dir` for writing; makes it if there is none, and removes what a killed run left.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        Self::open_on(dir.into(), Disk::default())
    }

    pub(crate) fn open_on(dir: PathBuf, disk: Disk) -> Result<Self> {
        disk.create_dir_all(&dir.join("tmp"))?;
        let path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|e| StoreError::io("open the lock", &path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy { path: dir }),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &path, &e)),
        }
        let loaded = Manifest::load(&disk, &dir)?;
        let is_new = loaded.is_none();
        let mut lake = Self::with(dir, disk, loaded.unwrap_or_default(), Some(lock));
        lake.remove_orphans()?;
        if is_new {
            lake.save()?;
        }
        Ok(lake)
    }

    /// Opens the lake in `dir` for reading.
    pub fn open_read(dir: impl Into<PathBuf>) -> Result<Self> {
        let (dir, disk) = (dir.into(), Disk::default());
        match Manifest::load(&disk, &dir)? {
            Some(manifest) => Ok(Self::with(dir, disk, manifest, None)),
            None => Err(StoreError::NoLake { path: dir }),
        }
    }

    fn with(dir: PathBuf, disk: Disk, manifest: Manifest, lock: Option<File>) -> Self {
        Self {
            dir,
            disk,
            manifest,
            _lock: lock,
            keys: None,
            keys_max: KEYS_MAX,
            due: VecDeque::new(),
            unsaved: 0,
        }
    }

    /// The lake's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What is in the lake.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// Plans which segments to build from `sources`. `stamp` names what else the rows depend on, such as
    /// the reference data: sources that were taken under another stamp are taken again.
    pub fn plan(&self, sources: &[SourceId], stamp: &str) -> Result<Plan> {
        Ok(plan(sources, stamp, &self.known_segments()?))
    }

    fn known_segments(&self) -> Result<Vec<KnownSegment>> {
        let columns = BTreeSet::from(["path", "hash"]);
        let mut known = Vec::with_capacity(self.manifest.segments.len());
        for segment in &self.manifest.segments {
            let mut sources = Vec::new();
            for file in segment.files.iter().filter(|f| f.table == Source::NAME) {
                let path = self.dir.join(file.path());
                let mut reader = open(&path, 8192, Some(&columns))?;
                while let Some(batch) = next_batch(&mut reader, &path)? {
                    let mut cursor = RowCursor::new(&Source::doc(), &batch);
                    for row in 0..batch.num_rows() {
                        let source: Source<'_> = cursor.read(row);
                        sources.push((source.path.into_owned(), source.hash.into_owned()));
                    }
                }
            }
            known.push(KnownSegment { id: segment.id.clone(), stamp: segment.stamp.clone(), sources });
        }
        Ok(known)
    }

    /// Begins a planned run: drops the segments that the plan builds anew, and expects the plan's
    /// segments, in order, in [`Self::commit`]. Killed after that, the lake lacks those that were not
    /// committed yet, until the next run over the same sources.
    pub fn begin(&mut self, plan: &Plan) -> Result<()> {
        self.due = plan.segments.iter().map(|segment| segment.id.clone()).collect();
        if plan.superseded.is_empty() {
            return Ok(());
        }
        let superseded: BTreeMap<&str, &Superseded> =
            plan.superseded.iter().map(|superseded| (superseded.id.as_str(), superseded)).collect();
        let (mut stay, mut old) = (Vec::new(), Vec::new());
        for segment in &self.manifest.segments {
            let Some(superseded) = superseded.get(segment.id.as_str()) else {
                stay.push(segment.clone());
                continue;
            };
            stay.extend(self.rows_that_stay(segment, superseded)?);
            old.push(segment.clone());
        }
        self.manifest.segments = stay;
        // What is built anew must not be taken for a duplicate of what it replaces.
        self.manifest.dedupe_window_exceeded = 0;
        self.keys = Some(self.load_keys()?);
        self.save()?;
        self.remove_files(&old)
    }

    /// The segment that holds the rows that stay of one that goes, if there are any.
    fn rows_that_stay(&self, old: &SegmentEntry, superseded: &Superseded) -> Result<Option<SegmentEntry>> {
        if superseded.keep.is_empty() {
            return Ok(None);
        }
        let stay: BTreeSet<&str> = superseded.keep.iter().map(|(path, _)| path.as_str()).collect();
        let id = segment_id(superseded.keep.iter().map(|(p, h)| (p.as_str(), h.as_str())), &old.stamp);
        let writer = SegmentWriter::begin(&self.disk, &self.dir, &id, &old.stamp)?;
        let keep = Keep { source: &|path| stay.contains(path), is_duplicate: &|_| false };
        let done = rewrite(&SegmentFiles { root: &self.dir, files: &old.files }, writer, &keep)?;
        self.publish(&done).map(Some)
    }

    /// Commits a finished segment: in plan order, without the measurements that earlier segments hold.
    pub fn commit(&mut self, done: SegmentDone) -> Result<()> {
        let expected = self.due.front().cloned().unwrap_or_else(|| "none".into());
        if expected != done.id {
            return Err(StoreError::Order { expected, found: done.id });
        }
        let seen = match self.keys.take() {
            Some(seen) => seen,
            None => self.load_keys()?,
        };
        let done = if done.keys.iter().any(|keys| seen.contains_any(*keys)) {
            self.without_duplicates(done, &seen)?
        } else {
            done
        };
        let entry = self.publish(&done)?;
        self.manifest.segments.push(entry);
        self.due.pop_front();
        let mut seen = seen;
        done.keys.iter().for_each(|keys| seen.insert_all(*keys));
        self.forget_oldest(&mut seen)?;
        self.keys = Some(seen);
        // The manifest grows with every segment: saving it at each would make long runs quadratic.
        self.unsaved += 1;
        if self.unsaved * 32 >= self.manifest.segments.len() || self.due.is_empty() {
            self.save()?;
        }
        Ok(())
    }

    /// Sets how many keys are held, for tests.
    #[cfg(test)]
    pub(crate) fn hold_keys(&mut self, max: u64) {
        self.keys_max = max;
    }

    fn without_duplicates(&self, done: SegmentDone, seen: &KeySet) -> Result<SegmentDone> {
        let tmp = self.dir.join("tmp").join(format!("{}.distinct", done.id));
        let writer = SegmentWriter::begin_in(&self.disk, tmp, &done.id, &done.stamp)?;
        let keep = Keep { source: &|_| true, is_duplicate: &|keys| seen.contains_any(keys) };
        let distinct = rewrite(&SegmentFiles { root: &done.tmp, files: &done.files }, writer, &keep)?;
        self.disk.remove_dir_all(&done.tmp)?;
        Ok(distinct)
    }

    /// Moves a segment's files into place; they count once the manifest names them.
    fn publish(&self, done: &SegmentDone) -> Result<SegmentEntry> {
        self.move_into_place(&done.tmp, &done.files)?;
        let keys = keys::encode(&done.keys);
        let folder = self.dir.join("keys");
        self.disk.create_dir_all(&folder)?;
        let name = format!("{}.keys", done.id);
        self.disk.replace(&self.dir.join("tmp").join(&name), &folder.join(&name), &keys)?;
        Ok(SegmentEntry {
            id: done.id.clone(),
            stamp: done.stamp.clone(),
            keys: keys.len() as u64 / 8,
            files: done.files.clone(),
        })
    }

    /// Moves files from a folder in `tmp/` to where the manifest will look for them.
    pub(crate) fn move_into_place(&self, tmp: &Path, files: &[FileEntry]) -> Result<()> {
        let mut folders = BTreeSet::new();
        for file in files {
            let to = self.dir.join(file.path());
            let folder = to.parent().expect("files lie in folders").to_owned();
            self.disk.create_dir_all(&folder)?;
            self.disk.rename(&tmp.join(file.path()), &to)?;
            folders.extend(folder.ancestors().take_while(|f| f.starts_with(&self.dir)).map(Path::to_owned));
        }
        for folder in folders {
            self.disk.sync_dir(&folder)?;
        }
        self.disk.remove_dir_all(tmp)
    }

    /// Loads the keys of the newest segments, as many as fit.
    fn load_keys(&mut self) -> Result<KeySet> {
        let mut seen = KeySet::large();
        let mut total = 0;
        for (index, segment) in self.manifest.segments.iter().enumerate().rev() {
            total += segment.keys;
            if total > self.keys_max {
                self.manifest.dedupe_window_exceeded = index as u64 + 1;
                break;
            }
            let path = self.dir.join("keys").join(format!("{}.keys", segment.id));
            keys::read(&self.disk, &path)?.into_iter().for_each(|key| seen.insert(key));
        }
        Ok(seen)
    }

    fn forget_oldest(&mut self, seen: &mut KeySet) -> Result<()> {
        while seen.len() as u64 > self.keys_max {
            let oldest = self.manifest.dedupe_window_exceeded as usize;
            let Some(segment) = self.manifest.segments.get(oldest) else { break };
            let path = self.dir.join("keys").join(format!("{}.keys", segment.id));
            keys::read(&self.disk, &path)?.into_iter().for_each(|key| seen.remove(key));
            self.manifest.dedupe_window_exceeded += 1;
        }
        Ok(())
    }

    /// Writes the manifest, after which all commits so far are final. [`Self::commit`] does so for the
    /// plan's last segment.
    pub fn save(&mut self) -> Result<()> {
        self.manifest.save(&self.disk, &self.dir)?;
        self.unsaved = 0;
        Ok(())
    }

    fn remove_files(&self, entries: &[SegmentEntry]) -> Result<()> {
        for entry in entries {
            for file in &entry.files {
                self.remove_file(&self.dir.join(file.path()))?;
            }
            self.remove_file(&self.dir.join("keys").join(format!("{}.keys", entry.id)))?;
        }
        Ok(())
    }

    /// Removes a file, and its partition's folder if that is empty now.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<()> {
        self.disk.remove_file(path)?;
        match path.parent() {
            Some(folder) if is_partition(folder) => self.disk.remove_empty_dir(folder),
            _ => Ok(()),
        }
    }

    /// Removes what a killed run left: all of `tmp/`, and files of ours that the manifest does not name.
    fn remove_orphans(&self) -> Result<()> {
        for path in entries(&self.dir.join("tmp"))? {
            if path.is_dir() { self.disk.remove_dir_all(&path)? } else { self.disk.remove_file(&path)? }
        }
        let mut named: BTreeSet<PathBuf> = self.manifest.files().map(|f| self.dir.join(f.path())).collect();
        named.extend(
            self.manifest.segments.iter().map(|s| self.dir.join("keys").join(format!("{}.keys", s.id))),
        );
        let tables = okno_model::tables();
        for folder in tables.iter().map(|table| table.name).chain(["keys"]) {
            for path in entries(&self.dir.join(folder))? {
                if !is_partition(&path) {
                    self.remove_orphan(&path, &named)?;
                    continue;
                }
                for path in entries(&path)? {
                    self.remove_orphan(&path, &named)?;
                }
                self.disk.remove_empty_dir(&path)?;
            }
        }
        Ok(())
    }

    fn remove_orphan(&self, path: &Path, named: &BTreeSet<PathBuf>) -> Result<()> {
        let ours = path.extension().is_some_and(|e| e == "parquet" || e == "keys");
        if ours && !named.contains(path) { self.disk.remove_file(path) } else { Ok(()) }
    }

    /// The segments that have measurements of `month`, in plan order.
    pub fn segments(&self, month: Month) -> impl Iterator<Item = &SegmentEntry> {
        let has = move |segment: &&SegmentEntry| {
            segment.files.iter().any(|f| f.table == "measurements" && f.month() == Some(month))
        };
        self.manifest.segments.iter().filter(has)
    }

    /// Rows and bytes by table, for a summary.
    pub fn sizes(&self) -> BTreeMap<String, (u64, u64)> {
        let mut sizes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for file in self.manifest.files() {
            let size = sizes.entry(file.table.clone()).or_default();
            size.0 += file.rows;
            size.1 += file.bytes;
        }
        sizes
    }
}

fn is_partition(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("month="))
}

/// What lies in a folder, sorted; nothing when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrap = |e: std::io::Error| StoreError::io("list", folder, &e);
    let listing = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(wrap)?,
    };
    let paths: std::io::Result<Vec<PathBuf>> = listing.map(|entry| entry.map(|e| e.path())).collect();
    let mut paths = paths.map_err(wrap)?;
    paths.sort();
    Ok(paths)
}
