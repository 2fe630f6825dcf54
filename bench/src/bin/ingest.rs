//! What ingest costs beside the floor: decompressing and tokenising the same bytes, in the same run.
//!
//! `cargo xtask bench ingest [FILE…]`; without files it takes the shared archive files
//! where they are, else the samples. Prints core-seconds of this one thread as MB of JSON a second, and a
//! hash of the answers.

use std::io::Read;
use std::path::{Path, PathBuf};

use okno_ingest::reference::Reference;
use okno_ingest::source::{self, Batch, Next};
use okno_ingest::{Extracted, Extractor, Origin};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

/// Seconds that this thread has spent on a core: other work on the machine does not count.
fn core_seconds() -> f64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's core time");
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).expect("nanoseconds come first")
        / 1e9
}

fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let start = core_seconds();
    let answer = run();
    (core_seconds() - start, answer)
}

fn inputs() -> Vec<PathBuf> {
    let given: Vec<PathBuf> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    if !given.is_empty() {
        return given;
    }
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/ooni-raw/s3");
    let mut found = Vec::new();
    if source::walk(&shared, &mut found).is_err() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
        source::walk(&samples, &mut found).expect("the repository has samples");
    }
    found
}

fn decompress(file: &Path, text: &mut Vec<u8>) {
    let raw = std::fs::File::open(file).expect("input opens");
    let (mut stream, _) = source::decompress(Box::new(raw)).expect("input is readable");
    text.clear();
    stream.read_to_end(text).expect("input is whole");
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    let mut start = 0;
    ends.map(move |end| &text[std::mem::replace(&mut start, end + 1).min(end)..end]).filter(|l| !l.is_empty())
}

/// The peer: every value tokenised into a tree.
fn whole(text: &[u8]) -> usize {
    let tree = |line| sonic_rs::from_slice::<sonic_rs::Value>(line).expect("input is JSON");
    lines(text).map(|line| tree(line).as_object().map_or(0, |object| object.len())).sum()
}

/// The peer at its laziest: a few top-level fields, everything else passed over.
fn lazy(text: &[u8]) -> usize {
    const FIELDS: [&str; 13] = [
        "measurement_start_time",
        "probe_asn",
        "probe_cc",
        "report_id",
        "input",
        "test_name",
        "test_version",
        "software_name",
        "software_version",
        "resolver_asn",
        "resolver_ip",
        "data_format_version",
        "probe_ip",
    ];
    let mut count = 0;
    for line in lines(text) {
        for (key, value) in sonic_rs::to_object_iter(line).flatten() {
            if FIELDS.contains(&key.as_ref()) {
                count += value.as_str().map_or(0, str::len);
            }
        }
    }
    count
}

#[derive(Default)]
struct Answer {
    measurements: usize,
    observations: usize,
    rejects: usize,
    hash: u64,
}

impl Answer {
    fn add(&mut self, out: &Extracted<'_>) {
        self.measurements += usize::from(out.measurement.is_some());
        self.observations += out.observations.len();
        self.rejects += out.rejects.len();
        for row in &out.observations {
            for text in [&row.hostname, &row.ip, &row.http_body_hash, &row.http_fingerprints, &row.http_title]
            {
                let text = text.as_deref().unwrap_or("");
                self.hash = self.hash.rotate_left(5) ^ xxhash_rust::xxh3::xxh3_64(text.as_bytes());
            }
        }
    }
}

/// Ours: from the file to rows, as `okno observe` does it.
fn ingest(files: &[PathBuf], reference: &Reference) -> Answer {
    let mut answer = Answer::default();
    let mut extractor = Extractor::new(reference);
    for file in files {
        let mut lines = source::open(file).expect("input opens");
        while let Next::Bytes(raw) = lines.next_batch() {
            let batch = Batch::prepare(raw);
            for line in &batch.lines {
                let text = &batch.text[line.start..line.end];
                answer.add(&extractor.line(Origin { source: "bench", line: *line }, text));
            }
            lines.give_back(batch.into_buffer());
        }
    }
    answer
}

fn main() {
    let files = inputs();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/fingerprints");
    let reference = Reference::load(&shared).unwrap_or_else(|_| Reference::empty());
    println!("{} files, {} fingerprints", files.len(), reference.fingerprints.len());
    for round in 0..5 {
        let (mut floor, mut unpack, mut trees, mut skims, mut bytes) = (0.0, 0.0, 0.0, 0.0, 0);
        let (mut nodes, mut skimmed, mut text) = (0, 0, Vec::new());
        for file in &files {
            let (seconds, ()) = timed(|| decompress(file, &mut text));
            unpack += seconds;
            let (seconds, count) = timed(|| whole(&text));
            (trees, nodes) = (trees + seconds, nodes + count);
            let (seconds, count) = timed(|| lazy(&text));
            (skims, skimmed) = (skims + seconds, skimmed + count);
            bytes += text.len();
        }
        floor += unpack + trees;
        let (ours, answer) = timed(|| ingest(&files, &reference));
        let speed = |seconds: f64| bytes as f64 / 1e6 / seconds;
        println!(
            "round {round}: {:.0} MB JSON; MB per core-second: decompress {:.0}, tokenise (sonic-rs) {:.0}, skim {:.0}; \
             floor {:.0}, ingest {:.0} = {:.2} x floor; {:.0} measurements per core-second",
            bytes as f64 / 1e6,
            speed(unpack),
            speed(trees),
            speed(skims),
            speed(floor),
            speed(ours),
            ours / floor,
            answer.measurements as f64 / ours,
        );
        println!(
            "  {} measurements, {} observations, {} rejects, hash {:016x} (nodes {nodes}, skimmed {skimmed})",
            answer.measurements, answer.observations, answer.rejects, answer.hash
        );
    }
}
