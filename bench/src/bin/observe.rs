//! What the whole command costs: files to lake, verdicts, cells and report, beside the floor of
//! decompressing and tokenising the same bytes, in the same run.
//!
//! `cargo xtask bench observe [FOLDER]`; without a folder it takes the shared archive files
//! where they are, else the samples. Prints core-seconds, wall seconds, peak memory, sizes and a hash of
//! the lake. Copies of the input under other report ids make it long enough to measure.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use okno_ingest::source;
use sonic_rs::JsonContainerTrait;

/// Copies of each input file.
const COPIES: usize = 5;

/// Core-seconds of this process (fields 14 and 15 of proc(5) stat) or of its ended children (16 and 17).
fn core_seconds(children: bool) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells core time");
    let fields: Vec<f64> = stat
        .rsplit(") ")
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .map(|word| word.parse().unwrap_or(0.0))
        .collect();
    let at = if children { 13 } else { 11 };
    (fields[at] + fields[at + 1]) / 100.0
}

fn folder() -> PathBuf {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let shared = root.join("../shared/data/ooni-raw/s3");
    given.map_or_else(|| if shared.is_dir() { shared } else { root.join("samples/raw") }, PathBuf::from)
}

fn unpack(file: &Path) -> Vec<u8> {
    let raw = std::fs::File::open(file).expect("input opens");
    let (mut stream, _) = source::decompress(Box::new(raw)).expect("input is readable");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("input is whole");
    text
}

/// Writes copies that are no duplicates: other reports, other contents.
fn copies(files: &[PathBuf], into: &Path) -> u64 {
    std::fs::create_dir_all(into).expect("a temporary folder");
    let mut bytes = 0;
    for (number, file) in files.iter().enumerate() {
        let text = String::from_utf8(unpack(file)).expect("input is UTF-8");
        for copy in 0..COPIES {
            let changed = text
                .replace("\"report_id\":\"", &format!("\"report_id\":\"c{copy}"))
                .replace("\"measurement_uid\":\"", &format!("\"measurement_uid\":\"c{copy}"))
                .replace("\"test_keys\":{", &format!("\"test_keys\":{{\"x_copy\":{copy},"));
            bytes += changed.len() as u64;
            let file = std::fs::File::create(into.join(format!("{number:03}-{copy}.jsonl.gz")));
            let mut gzip =
                flate2::write::GzEncoder::new(file.expect("room for copies"), flate2::Compression::new(6));
            gzip.write_all(changed.as_bytes()).expect("room for copies");
            gzip.finish().expect("room for copies");
        }
    }
    bytes
}

fn floor(folder: &Path) -> (f64, usize) {
    let start = core_seconds(false);
    let mut files = Vec::new();
    source::walk(folder, &mut files).expect("copies are there");
    let mut nodes = 0;
    for file in &files {
        let text = unpack(file);
        for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let value: sonic_rs::Value = sonic_rs::from_slice(line).expect("input is JSON");
            nodes += value.as_object().map_or(0, |object| object.len());
        }
    }
    (core_seconds(false) - start, nodes)
}

struct Run {
    cores: f64,
    wall: f64,
    peak_mib: u64,
}

/// Runs the command; with one thread it is held to one core as well, because reading and writing have
/// threads of their own.
fn observe(work: &Path, threads: usize, reference: Option<&Path>) -> Run {
    let lake = work.join("lake");
    let _ = std::fs::remove_dir_all(&lake);
    let binary = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/okno");
    let mut command = Command::new(if threads == 1 { "taskset" } else { binary });
    if threads == 1 {
        command.args(["-c", "0", binary]);
    }
    command.arg("observe").arg("in").args(["--lake", "lake", "--report", "report.html", "--quiet"]);
    command.args(["--threads", &threads.to_string()]).current_dir(work).stdout(Stdio::null());
    if let Some(reference) = reference {
        command.arg("--reference").arg(reference);
    }
    let (start, cores) = (Instant::now(), core_seconds(true));
    let mut child = command.spawn().expect("okno starts");
    let mut peak = 0;
    while child.try_wait().expect("okno is ours").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        peak = peak.max(kib);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Run { cores: core_seconds(true) - cores, wall: start.elapsed().as_secs_f64(), peak_mib: peak / 1024 }
}

fn size_and_hash(folder: &Path) -> (u64, u64) {
    let (mut pending, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).expect("the lake is there").flatten() {
            let path = entry.path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let (mut size, mut hash) = (0, 0u64);
    for file in files {
        let bytes = std::fs::read(&file).expect("the lake is readable");
        size += bytes.len() as u64;
        hash = hash.rotate_left(7) ^ xxhash_rust::xxh3::xxh3_64(&bytes);
    }
    (size, hash)
}

fn main() {
    let mut files = Vec::new();
    source::walk(&folder(), &mut files).expect("the input folder is readable");
    let work = std::env::temp_dir().join(format!("okno-bench-{}", std::process::id()));
    let bytes = copies(&files, &work.join("in"));
    let (packed, _) = size_and_hash(&work.join("in"));
    let fingerprints = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/fingerprints");
    let reference = fingerprints.is_dir().then_some(fingerprints.as_path());
    println!(
        "{} files, {:.0} MB JSON, {:.1} MB packed, fingerprints {}",
        files.len() * COPIES,
        bytes as f64 / 1e6,
        packed as f64 / 1e6,
        if reference.is_some() { "yes" } else { "no" }
    );
    let (floor, nodes) = floor(&work.join("in"));
    println!(
        "floor: decompress + tokenise {floor:.2} core-s, {:.0} MB/core-s ({nodes} nodes)",
        bytes as f64 / 1e6 / floor
    );
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut alone = 0.0;
    for threads in [1, cores, cores] {
        let run = observe(&work, threads, reference);
        let (size, hash) = size_and_hash(&work.join("lake"));
        if threads == 1 {
            alone = run.wall;
        }
        println!(
            "observe, {threads} threads: {:.2} core-s = {:.2} x floor, {:.0} MB/core-s; wall {:.2} s ({:.2} x one thread); \
             peak {} MiB; lake {:.1} % of the packed input, hash {hash:016x}",
            run.cores,
            run.cores / floor,
            bytes as f64 / 1e6 / run.cores,
            run.wall,
            alone / run.wall,
            run.peak_mib,
            size as f64 * 100.0 / packed as f64,
        );
    }
    let _ = std::fs::remove_dir_all(&work);
}
