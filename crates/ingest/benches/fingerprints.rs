//! Reference data: load times, memory, cost of a lookup, and fingerprint matching in MB/s beside
//! aho-corasick over the same patterns in the same run.
//!
//! Bodies are those of real measurements where `../shared/data` is present, else synthetic pages.
//! Every line prints the time and a hash of the answer; two speeds are compared only if the answers
//! agree. Run: `cargo bench -p okno-ingest --bench fingerprints`.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use okno_ingest::reference::{Fingerprints, Reference, import, is_bogon};
use okno_model::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of bodies that are searched.
const BODY_BYTES: usize = 96 << 20;
/// Each measurement is the best of this many runs.
const RUNS: usize = 5;

fn shared() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    path.is_dir().then_some(path)
}

/// Bodies of the responses of real measurements.
fn real_bodies(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut bodies = Vec::new();
    let mut size = 0;
    for file in files {
        let file = std::fs::File::open(file).expect("the file was listed");
        for line in BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines().map_while(Result::ok) {
            let Ok(measurement) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let requests = measurement["test_keys"]["requests"].as_array();
            for body in requests.into_iter().flatten().filter_map(|r| r["response"]["body"].as_str()) {
                size += body.len();
                bodies.push(body.as_bytes().to_vec());
            }
            if size > BODY_BYTES {
                return bodies;
            }
        }
    }
    bodies
}

/// Pages made of ordinary parts, for machines without real ones.
fn synthetic_bodies() -> Vec<Vec<u8>> {
    let parts = [
        "<div class=\"row\"><a href=\"https://www.example.org/news/",
        "\" title=\"Read more\">",
        "<script type=\"text/javascript\" src=\"/js/jquery.min.js\"></script>",
        "The quick brown fox jumps over the lazy dog. ",
        "<span style=\"color:#333\">Ещё немного текста</span>",
        "function(a,b){return a.call(this,b)||null};",
    ];
    let mut state = 1u64;
    let page = |_| {
        let mut body = b"<!DOCTYPE html><html><head><title>Page</title></head><body>".to_vec();
        while body.len() < 60_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            body.extend_from_slice(parts[(state >> 33) as usize % parts.len()].as_bytes());
        }
        body
    };
    (0..200).map(page).collect()
}

/// Seconds that this thread has been running: on a busy machine the clock on the wall says little.
/// Without Linux's accounting, the wall's.
fn seconds_now(started: Instant) -> f64 {
    let accounting = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = accounting.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| started.elapsed().as_secs_f64(), |n| n / 1e9)
}

/// Seconds of the fastest run, and the answer.
fn best<T>(mut run: impl FnMut() -> T) -> (f64, T) {
    let started = Instant::now();
    let mut timed = || {
        let before = seconds_now(started);
        let answer = run();
        (seconds_now(started) - before, answer)
    };
    let (mut best, mut answer) = timed();
    for _ in 1..RUNS {
        let (seconds, again) = timed();
        best = best.min(seconds);
        answer = again;
    }
    (best, answer)
}

fn report(name: &str, bytes: usize, seconds: f64, hits: &[(u32, String)]) {
    let text: Vec<String> = hits.iter().map(|(body, id)| format!("{body}:{id}")).collect();
    println!(
        "{name:<44} {:>8.0} MB/s  {:>6} hits  hash {:016x}",
        bytes as f64 / 1e6 / seconds,
        hits.len(),
        xxh3_64(text.join("\n").as_bytes())
    );
}

fn named(fingerprints: &Fingerprints, hits: &[(u32, u32)]) -> Vec<(u32, String)> {
    hits.iter().map(|(body, index)| (*body, fingerprints.info(*index).id.clone())).collect()
}

fn all_hits(fingerprints: &Fingerprints, bodies: &[Vec<u8>]) -> Vec<(u32, u32)> {
    let (mut all, mut hits) = (Vec::new(), Vec::new());
    for (number, body) in (0u32..).zip(bodies) {
        hits.clear();
        fingerprints.match_body(body, &mut hits);
        all.extend(hits.iter().map(|hit| (number, *hit)));
    }
    all
}

/// Names and texts of the `contains` patterns of an OONI table.
fn contains_patterns(table: &Path) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_path(table).expect("the table is there");
    let rows = reader.records().map_while(Result::ok);
    rows.filter(|r| &r[3] == "body" && &r[4] == "contains").map(|r| (r[0].into(), r[5].into())).collect()
}

fn aho_hits(automaton: &AhoCorasick, bodies: &[Vec<u8>], count: usize) -> Vec<(u32, u32)> {
    let mut all = Vec::new();
    for (number, body) in (0u32..).zip(bodies) {
        let mut seen = vec![false; count];
        for found in automaton.find_overlapping_iter(body) {
            seen[found.pattern().as_usize()] = true;
        }
        all.extend((0u32..).zip(seen).filter(|(_, s)| *s).map(|(pattern, _)| (number, pattern)));
    }
    all
}

fn compare_matchers(table: &Path, bodies: &[Vec<u8>], bytes: usize) {
    let fingerprints = Reference::load(table).expect("the table is readable").fingerprints;
    let (seconds, hits) = best(|| all_hits(&fingerprints, bodies));
    let hits = named(&fingerprints, &hits);
    report("okno, OONI's table, all pattern types", bytes, seconds, &hits);
    let patterns = contains_patterns(table);
    let mut of_contains: Vec<_> =
        hits.into_iter().filter(|(_, id)| patterns.iter().any(|(name, _)| name == id)).collect();
    of_contains.sort();
    report("  of these the hits of `contains`", bytes, seconds, &of_contains);
    for (name, kind) in [
        ("aho-corasick, contiguous NFA, overlapping", AhoCorasickKind::ContiguousNFA),
        ("aho-corasick, DFA, overlapping", AhoCorasickKind::DFA),
    ] {
        let automaton = AhoCorasick::builder()
            .kind(Some(kind))
            .build(patterns.iter().map(|(_, text)| text))
            .expect("some thousand short patterns fit");
        let (seconds, hits) = best(|| aho_hits(&automaton, bodies, patterns.len()));
        let mut hits: Vec<_> =
            hits.iter().map(|(body, pattern)| (*body, patterns[*pattern as usize].0.clone())).collect();
        hits.sort();
        report(name, bytes, seconds, &hits);
        assert_eq!(hits, of_contains, "both find the same");
    }
}

fn tables(shared: &Path) {
    let paths = ["ip-tables", "fingerprints", "ru-lists"].map(|name| shared.join(name));
    let into = std::env::temp_dir().join(format!("okno-bench-reference-{}", std::process::id()));
    let start = Instant::now();
    import(&paths, &into).expect("the tables are readable");
    println!("import of all tables: {:.2} s", start.elapsed().as_secs_f64());
    let (seconds, reference) = best(|| Reference::load(&into).expect("just imported"));
    let disk: u64 = std::fs::read_dir(&into)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|m| m.len())
        .sum();
    println!(
        "load of the imported directory: {:.0} ms, {:.1} MiB on disk, {:.1} MiB of networks in memory",
        seconds * 1e3,
        disk as f64 / f64::from(1 << 20),
        reference.networks.size_bytes() as f64 / f64::from(1 << 20)
    );
    println!("{}", reference.stamp().text);
    for t in reference.tables() {
        println!(
            "  {:<28} {:<12} {:>7} rows {:>4} skipped {:>6} overlapping  {}",
            t.name,
            t.version,
            t.rows,
            t.skipped,
            t.overlapping,
            t.notes.len()
        );
    }
    lookups(&reference);
    let _ = std::fs::remove_dir_all(&into);
}

fn lookups(reference: &Reference) {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    };
    let v4: Vec<IpAddr> = (0..200_000).map(|_| Ipv4Addr::from(next() as u32).into()).collect();
    let v6: Vec<IpAddr> = (0..200_000)
        .map(|_| {
            Ipv6Addr::from((0x2000_0000 + next() as u128 % 0x0d00_0000) << 96 | u128::from(next()) << 64)
        })
        .map(IpAddr::V6)
        .collect();
    // Answers repeat: most lookups of a run are of addresses that were looked up shortly before.
    let repeated: Vec<IpAddr> = v4[..2_000].iter().copied().cycle().take(v4.len()).collect();
    for day in ["2015-01-01", "2020-09-21", "2026-08-01"] {
        let day = Timestamp::parse(day).expect("a date");
        for (name, ips) in [("IPv4", &v4), ("IPv6", &v6), ("IPv4, 2,000 addresses", &repeated)] {
            let (seconds, sum) = best(|| {
                let all = (0..10).flat_map(|_| ips.iter());
                let networks = all.filter_map(|ip| reference.networks.lookup(*ip, day));
                networks.map(|n| u64::from(n.asn.0)).sum::<u64>()
            });
            println!("lookup {name} {}: {:.0} ns, sum {sum}", day.date(), seconds * 1e9 / 2_000_000.0);
        }
    }
    for (name, ips) in [("IPv4", &v4), ("IPv6", &v6)] {
        let (seconds, count) =
            best(|| (0..100).map(|_| ips.iter().filter(|ip| is_bogon(**ip)).count()).sum::<usize>());
        println!("is_bogon {name}: {:.1} ns, {count} bogons", seconds * 1e9 / 20_000_000.0);
    }
}

fn main() {
    let shared = shared();
    let mut bodies = shared.as_ref().map(|s| real_bodies(&s.join("ooni-raw/s3"))).unwrap_or_default();
    if bodies.is_empty() {
        bodies = synthetic_bodies();
    }
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    println!("{} bodies, {:.1} MB, mean {} bytes", bodies.len(), bytes as f64 / 1e6, bytes / bodies.len());
    let Some(shared) = shared else {
        println!("skipped: no shared data, so no tables");
        return;
    };
    compare_matchers(&shared.join("fingerprints/ooni-fingerprints_http.csv"), &bodies, bytes);
    let all = Reference::load(&shared.join("fingerprints")).expect("the tables are readable").fingerprints;
    let (seconds, hits) = best(|| all_hits(&all, &bodies));
    report(&format!("okno, all tables ({} fingerprints)", all.len()), bytes, seconds, &named(&all, &hits));
    println!("expressions that run on every body: {}", all.always_run());
    tables(&shared);
}
