//! What ingest costs beside the floor: decompressing and tokenising the same bytes, in the same run.
//!
//! `cargo bench -p okno-ingest --bench ingest [-- FILE…]`; without files it takes the shared archive files
//! where they are, else it makes some. Prints core-seconds (the process is single-threaded), MB of JSON a
//! second and a hash of the answers.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use okno_ingest::reference::Reference;
use okno_ingest::source::{self, Batch, Next, Shape};
use okno_ingest::{Extractor, Origin};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

fn inputs() -> Vec<PathBuf> {
    let given: Vec<PathBuf> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    if !given.is_empty() {
        return given;
    }
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ooni-raw/s3");
    let mut found = Vec::new();
    if source::walk(&shared, &mut found).is_err() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
        source::walk(&samples, &mut found).expect("the repository has samples");
    }
    found
}

/// The fields a reader of measurements wants at least; bodies are passed over.
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

fn main() {
    let files = inputs();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let reference = if shared.exists() {
        Reference::load(&shared).unwrap_or_else(|_| Reference::empty())
    } else {
        Reference::empty()
    };
    println!("{} files, reference {}", files.len(), reference.stamp().text);
    for round in 0..3 {
        let start = Instant::now();
        let mut texts = Vec::new();
        let mut bytes = 0;
        for file in &files {
            let raw = std::fs::File::open(file).expect("input opens");
            let (mut stream, _) = source::decompress(Box::new(raw)).expect("input is readable");
            let mut text = Vec::new();
            stream.read_to_end(&mut text).expect("input is whole");
            bytes += text.len();
            texts.push(text);
        }
        let decompress = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let mut count = 0usize;
        for text in &texts {
            for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                for field in FIELDS {
                    // One get per field would rescan; take the object once.
                    let _ = field;
                }
                let value = sonic_rs::to_object_iter(line);
                for pair in value.flatten() {
                    if FIELDS.contains(&pair.0.as_ref()) {
                        count += pair.1.as_str().map_or(0, str::len);
                    } else if pair.0 == "test_keys" {
                        count += pair.1.as_raw_str().len() & 1;
                    }
                }
            }
        }
        let lazy = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let mut nodes = 0usize;
        for text in &texts {
            for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                let value: sonic_rs::Value = sonic_rs::from_slice(line).expect("input is JSON");
                nodes += value.as_object().map_or(0, |o| o.len());
            }
        }
        let tokenise = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let (mut measurements, mut observations, mut rejects, mut hash) = (0usize, 0usize, 0usize, 0u64);
        let mut extractor = Extractor::new(&reference);
        for text in &texts {
            let mut lines = source::Lines::new(&text[..], Shape::Lines, None);
            while let Next::Bytes(raw) = lines.next_batch() {
                let batch = Batch::prepare(raw);
                for line in &batch.lines {
                    let out = extractor
                        .line(Origin { source: "bench", line: *line }, &batch.text[line.start..line.end]);
                    measurements += usize::from(out.measurement.is_some());
                    observations += out.observations.len();
                    rejects += out.rejects.len();
                    for row in &out.observations {
                        for text in [
                            &row.hostname,
                            &row.ip,
                            &row.http_body_hash,
                            &row.http_fingerprints,
                            &row.http_title,
                        ] {
                            hash = hash.rotate_left(5)
                                ^ xxhash_rust::xxh3::xxh3_64(text.as_deref().unwrap_or("").as_bytes());
                        }
                    }
                }
            }
        }
        let extract = start.elapsed().as_secs_f64();
        let mb = bytes as f64 / 1e6;
        println!(
            "round {round}: {mb:.0} MB JSON | decompress {:.0} MB/s | sonic lazy {:.0} MB/s | sonic whole {:.0} MB/s | extract {:.0} MB/s | decompress+extract {:.0} MB/s = {:.2} x (decompress + sonic whole), {:.2} x (decompress + sonic lazy)",
            mb / decompress,
            mb / lazy,
            mb / tokenise,
            mb / extract,
            mb / (decompress + extract),
            (decompress + extract) / (decompress + tokenise),
            (decompress + extract) / (decompress + lazy)
        );
        println!(
            "  {measurements} measurements, {observations} observations, {rejects} rejects, hash {hash:016x} (lazy {count}, nodes {nodes})"
        );
    }
}
