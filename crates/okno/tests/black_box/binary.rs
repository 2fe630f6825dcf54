//! Running the binary: a folder for each test, a run and its output, the bytes of a lake.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// A folder of one test, emptied before use and removed after it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("okno-black-box-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The command with these arguments, in this folder, without what the caller's environment adds.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_okno"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        command.env_remove("OKNO_REFERENCE").env("LC_ALL", "C");
        command
    }

    /// Runs the binary to its end.
    pub fn okno(&self, args: &[&str]) -> Run {
        let output = self.command(args).output().unwrap();
        Run {
            args: args.join(" "),
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The answer to a question to the lake, as JSON objects.
    pub fn sql(&self, lake: &str, query: &str) -> Vec<Value> {
        let run = self.okno(&["sql", "--lake", lake, "--format", "json", query]).good();
        serde_json::from_str(&run.out).unwrap()
    }

    /// The single number that answers a question.
    pub fn count(&self, lake: &str, query: &str) -> u64 {
        let rows = self.sql(lake, query);
        let row = rows[0].as_object().unwrap();
        row.values().next().unwrap().as_u64().unwrap_or_else(|| panic!("{query}: {row:?}"))
    }

    /// Every file of a lake but its lock.
    pub fn lake(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let root = self.path(name);
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let inner = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if inner != "lock" {
                    files.insert(inner, fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A run that has ended.
pub struct Run {
    pub args: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// Must have ended with this exit code.
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "okno {}\n{}\n{}", self.args, self.out, self.err);
        self
    }

    pub fn good(self) -> Self {
        self.ends(0)
    }

    /// What it printed as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("okno {}: {e}\n{}", self.args, self.out))
    }
}

/// Two lakes must hold the same files with the same bytes; only their names are shown when they do not.
pub fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
    let names = found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>();
    let different: Vec<_> = names
        .into_iter()
        .filter(|name| found.get(*name) != expected.get(*name))
        .map(|name| format!("{name}: {:?} bytes, not {:?}", size(found, name), size(expected, name)))
        .collect();
    assert!(!expected.is_empty() && different.is_empty(), "{what}:\n{}", different.join("\n"));
}

fn size(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Option<usize> {
    files.get(name).map(Vec::len)
}

/// A folder of the workspace.
pub fn workspace(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name).canonicalize().unwrap()
}

/// A folder of real data, if it is there.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.is_dir() {
        return Some(path.canonicalize().unwrap());
    }
    println!("skipped: no shared data");
    None
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// All files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The text of a file, unpacked if it is gzip.
pub fn unpacked(path: &Path) -> String {
    let text = if path.extension().is_some_and(|e| e == "gz") {
        std::io::read_to_string(flate2::read::MultiGzDecoder::new(File::open(path).unwrap()))
    } else {
        fs::read_to_string(path)
    };
    text.unwrap()
}

/// The samples' lines that are whole measurements, each once, with their uid.
pub fn sample_lines() -> Vec<(String, String)> {
    let mut lines = BTreeMap::new();
    for file in files(&workspace("samples/raw")) {
        for line in unpacked(&file).lines() {
            let uid = serde_json::from_str::<Value>(line)
                .ok()
                .and_then(|value| Some(value.get("measurement_uid")?.as_str()?.to_owned()));
            lines.extend(uid.map(|uid| (uid, line.to_owned())));
        }
    }
    lines.into_iter().collect()
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Numbers from a seed (splitmix64, public domain).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Waits a little.
pub fn pause(millis: u64) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test that interrupts a run, or watches one, needs a clock"
    )]
    std::thread::sleep(std::time::Duration::from_millis(millis));
}
