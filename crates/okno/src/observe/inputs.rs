//! Inputs of a run: arguments to files, files to identities.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use okno_ingest::source;
use okno_store::SourceId;
use xxhash_rust::xxh3::Xxh3Default;

use crate::Unusable;

/// One input file.
pub struct Input {
    /// where to read it
    pub path: PathBuf,
    /// what the lake knows of it
    pub id: SourceId,
}

/// A file that could not even be opened.
pub struct Unreadable {
    /// the path as given
    pub path: String,
    /// the system's words
    pub why: String,
}

/// Refuses arguments that name nothing, before anything is made.
pub fn check(args: &[PathBuf]) -> Result<()> {
    for arg in args {
        let text = arg.to_string_lossy();
        if text == "-" || arg.exists() {
            continue;
        }
        if !is_glob(&text) {
            return Err(Unusable(format!("{text} does not exist; give files, folders, globs, or -")).into());
        }
        glob::Pattern::new(&text).map_err(|e| Unusable(format!("{text} is no pattern: {e}")))?;
    }
    Ok(())
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Finds the files behind the arguments, in the order given, each once.
pub fn find(args: &[PathBuf], spool: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for arg in args {
        let text = arg.to_string_lossy();
        if text == "-" {
            found.push((STREAM.into(), spool_stream(&mut io::stdin().lock(), spool, found.len())?));
            continue;
        }
        if is_stream(arg) {
            let mut stream = File::open(arg).with_context(|| format!("cannot read {text}"))?;
            found.push((STREAM.into(), spool_stream(&mut stream, spool, found.len())?));
            continue;
        }
        let mut files = Vec::new();
        if arg.exists() {
            source::walk(arg, &mut files).with_context(|| format!("cannot read {}", arg.display()))?;
        } else if is_glob(&text) {
            let matches = glob::glob(&text).map_err(|e| Unusable(format!("{text} is no pattern: {e}")))?;
            for path in matches {
                source::walk(&path?, &mut files)?;
            }
        } else {
            return Err(Unusable(format!("{text} does not exist; give files, folders, globs, or -")).into());
        }
        if files.is_empty() {
            eprintln!(
                "okno: no measurements under {text} (.jsonl or .json, plain or packed, are looked for)"
            );
        }
        found.extend(files.into_iter().map(|path| (label(&path), path)));
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|(label, _)| label == STREAM || seen.insert(label.clone()));
    Ok(found)
}

/// A path as it will stand in the tables: with `/`, without a leading `./`.
fn label(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "/");
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}

/// What a stream is called until its content has named it.
const STREAM: &str = "-";

/// Whether a path is a pipe or another thing that can be read only once.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

/// A stream cannot be read twice, and its hash is its identity: it waits in the lake's tmp.
fn spool_stream(stream: &mut impl Read, spool: &Path, number: usize) -> Result<PathBuf> {
    let path = spool.join(format!("stream-{}-{number}", std::process::id()));
    let what = || format!("cannot write {}; free some space or choose another --lake", path.display());
    std::fs::create_dir_all(spool).with_context(what)?;
    let mut file = File::create(&path).with_context(what)?;
    io::copy(stream, &mut file).with_context(what)?;
    file.flush().with_context(what)?;
    Ok(path)
}

/// Reads each file once to name it by its content.
pub fn identify(files: Vec<(String, PathBuf)>, mut step: impl FnMut(u64)) -> (Vec<Input>, Vec<Unreadable>) {
    let (mut inputs, mut unreadable) = (Vec::new(), Vec::new());
    for (label, path) in files {
        match hash_file(&path, &mut step) {
            Ok((hash, size_bytes)) => {
                // Two streams are two sources, although both are called "-".
                let label = if label == STREAM { format!("-#{}", &hash[..8]) } else { label };
                inputs.push(Input { path, id: SourceId { path: label, hash, size_bytes } });
            }
            Err(error) => unreadable.push(Unreadable { path: label, why: error.to_string() }),
        }
    }
    (inputs, unreadable)
}

fn hash_file(path: &Path, step: &mut impl FnMut(u64)) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((format!("{:032x}", hash.digest128()), size)),
            Ok(n) => {
                hash.update(&buffer[..n]);
                size += n as u64;
                step(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
