//! Claims about real measurements, where the shared data is present; without it they say so and pass.
//!
//! The privacy claim is checked against the raw lines by another parser and another list of spellings than
//! those of the reader.

mod reading;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use okno_ingest::reference::Reference;
use okno_ingest::source::{self, Batch, Next};
use okno_ingest::{Extracted, Extractor, Origin};
use okno_model::{RejectReason, Table};
use serde::Deserialize;

/// A folder of the shared data, if it is there.
fn shared(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from).join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

/// Runs `each` over every line of every file of a folder; gives the number of lines.
fn every_line(folder: &Path, mut each: impl FnMut(&str, Extracted<'_>)) -> usize {
    let mut files = Vec::new();
    source::walk(folder, &mut files).expect("the folder can be read");
    assert!(!files.is_empty());
    let reference = Reference::empty();
    let mut extractor = Extractor::new(&reference);
    let mut count = 0;
    for file in files {
        let mut lines = source::open(&file).expect("the file opens");
        loop {
            match lines.next_batch() {
                Next::Bytes(raw) => {
                    let batch = Batch::prepare(raw);
                    for line in &batch.lines {
                        let text = &batch.text[line.start..line.end];
                        each(text, extractor.line(Origin { source: "shared", line: *line }, text));
                        count += 1;
                    }
                }
                Next::Reject(reject) => panic!("{}: {reject:?}", file.display()),
                Next::End => break,
            }
        }
    }
    count
}

/// The addresses that a line must not leave behind.
#[derive(Deserialize)]
struct Secrets {
    probe_ip: Option<String>,
    test_keys: Option<SecretKeys>,
    m: Option<Box<Secrets>>,
}

#[derive(Deserialize)]
struct SecretKeys {
    client_resolver: Option<serde_json::Value>,
}

/// Spellings of an address, apart from the reader's own list.
fn spellings(ip: IpAddr) -> Vec<String> {
    match ip {
        IpAddr::V4(v4) => {
            let parts: Vec<String> = v4.octets().iter().map(u8::to_string).collect();
            let mut reversed = parts.clone();
            reversed.reverse();
            let mut all = Vec::new();
            for separator in [".", "-", "_", "%2e", "%2E"] {
                all.push(parts.join(separator));
                all.push(reversed.join(separator));
            }
            all
        }
        IpAddr::V6(v6) => {
            let long: Vec<String> = v6.segments().iter().map(|segment| format!("{segment:04x}")).collect();
            vec![v6.to_string(), long.join(":"), long.join("-"), v6.to_string().replace(':', "-")]
        }
    }
}

/// Whether `text` holds `needle` as an address of its own, not as the middle of a longer number.
fn holds(text: &str, needle: &str) -> bool {
    text.match_indices(needle).any(|(at, found)| {
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        !is_digit(text[..at].chars().next_back()) && !is_digit(text[at + found.len()..].chars().next())
    })
}

fn texts(out: &mut Extracted<'_>) -> Vec<String> {
    let mut texts = Vec::new();
    out.measurement.iter_mut().for_each(|row| row.each_text(&mut |text| texts.push(text.to_string())));
    out.observations.iter_mut().for_each(|row| row.each_text(&mut |text| texts.push(text.to_string())));
    out.controls.iter_mut().for_each(|row| row.each_text(&mut |text| texts.push(text.to_string())));
    out.rejects.iter_mut().for_each(|row| row.each_text(&mut |text| texts.push(text.to_string())));
    texts
}

/// The probe's address in a line, where it is one that names somebody.
fn probe_ip(secrets: &Secrets) -> Option<IpAddr> {
    let secrets = secrets.m.as_deref().unwrap_or(secrets);
    let ip: IpAddr = secrets.probe_ip.as_deref()?.parse().ok()?;
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn no_text_of_any_row_holds_the_probes_address_and_every_archive_line_is_a_measurement() {
    let Some(raw) = shared("ooni-raw") else { return };
    let (mut unscrubbed, mut resolvers) = (0, 0);
    for folder in ["misc", "s3"] {
        let lines = every_line(&raw.join(folder), |line, mut out| {
            assert!(out.measurement.is_some(), "{folder}: a line gave no measurement");
            let Ok(secrets) = serde_json::from_str::<Secrets>(line) else { return };
            let Some(ip) = probe_ip(&secrets) else { return };
            unscrubbed += 1;
            let keys = secrets.m.as_deref().unwrap_or(&secrets).test_keys.as_ref();
            let resolver = keys.and_then(|keys| keys.client_resolver.as_ref()?.as_str());
            resolvers += u32::from(resolver.is_some_and(|text| text.parse() == Ok(ip)));
            let texts = texts(&mut out);
            for needle in spellings(ip) {
                // The text itself is not shown: a failing test must not print it either.
                assert!(
                    !texts.iter().any(|text| holds(text, &needle)),
                    "{folder}: a row holds the probe's address"
                );
            }
        });
        assert!(lines > 0);
        println!("{folder}: {lines} lines");
    }
    println!("{unscrubbed} lines carry the probe's address, {resolvers} of them as resolver too");
    assert!(unscrubbed > 100, "the archive's sample holds unscrubbed addresses; this test looked at none");
}

#[test]
fn odd_measurements_that_others_drop_whole_keep_their_readable_part() {
    let Some(raw) = shared("ooni-raw") else { return };
    let (mut no_asn, mut no_input, mut null_keys, mut tor, mut base64, mut lines) = (0, 0, 0, 0, 0, 0);
    every_line(&raw.join("misc"), |line, out| {
        lines += 1;
        let value: serde_json::Value = serde_json::from_str(line).expect("the fixtures are JSON");
        let value = value.get("m").unwrap_or(&value);
        let row = out.measurement.as_ref().expect("every one keeps its row");
        let why: Vec<(&str, RejectReason)> =
            out.rejects.iter().map(|r| (r.part.as_ref(), r.reason)).collect();
        if value.get("probe_asn").is_none_or(serde_json::Value::is_null) {
            no_asn += 1;
            assert!(why.contains(&("probe_asn", RejectReason::Missing)));
            assert!(!row.network.is_known());
        }
        if value.get("input").is_none() {
            no_input += 1;
            assert!(!row.target.is_empty());
        }
        if value.get("test_keys").is_none_or(serde_json::Value::is_null) {
            null_keys += 1;
            assert!(why.contains(&("test_keys", RejectReason::Missing)));
        }
        let requests = value.pointer("/test_keys/requests").and_then(|r| r.as_array());
        let exitless = requests.is_some_and(|requests| {
            requests.iter().any(|r| r.pointer("/request/tor").is_some_and(|tor| tor.get("exit_ip").is_none()))
        });
        if exitless {
            tor += 1;
            assert!(!out.observations.is_empty() || !out.controls.is_empty());
        }
        if why.iter().any(|(_, reason)| *reason == RejectReason::InvalidBase64) {
            base64 += 1;
            assert!(
                out.observations.iter().any(|row| row.http_status.is_some() && row.http_body_bytes.is_none())
            );
            assert!(out.observations.iter().any(|row| row.tcp_success.is_some()));
        }
    });
    assert!(lines > 100);
    for (found, what) in [
        (no_asn, "without probe_asn"),
        (no_input, "without input"),
        (null_keys, "with test_keys null"),
        (tor, "with a tor object without exit"),
        (base64, "with bad base64"),
    ] {
        assert!(found > 0, "no measurement {what} among the fixtures");
    }
}

#[test]
fn handshakes_of_2021_find_their_connections_again() {
    let Some(raw) = shared("ooni-raw") else { return };
    let (mut apart, mut joined) = (0u32, 0u32);
    let mut files = Vec::new();
    source::walk(&raw.join("s3"), &mut files).expect("the folder can be read");
    let reference = Reference::empty();
    let mut extractor = Extractor::new(&reference);
    for file in files.iter().filter(|file| file.to_string_lossy().contains("2021081715_US")).take(2) {
        let mut lines = source::open(file).expect("the file opens");
        while let Next::Bytes(raw) = lines.next_batch() {
            let batch = Batch::prepare(raw);
            for line in &batch.lines {
                let text = &batch.text[line.start..line.end];
                let out = extractor.line(Origin { source: "shared", line: *line }, text);
                for row in out.observations.iter().filter(|row| row.tls_success.is_some()) {
                    match row.tcp_success {
                        Some(true) => joined += 1,
                        _ => apart += 1,
                    }
                }
            }
        }
    }
    assert!(joined > 100 && apart * 100 < joined, "{joined} handshakes joined, {apart} apart");
}

#[test]
fn emulated_scenarios_are_read_without_a_reject() {
    let Some(qa) = shared("ooni-qa") else { return };
    // The truth lies beside it, as JSON that is no measurement.
    let qa = qa.join("qa.jsonl.gz");
    let lines = every_line(&qa, |_, out| {
        assert!(out.rejects.is_empty(), "{:?}", out.rejects);
        let row = out.measurement.as_ref().expect("a measurement");
        assert!(matches!(row.control.as_ref(), "ok" | "failed"));
        assert!(out.observations.iter().all(|row| row.hostname.is_some()));
    });
    assert!(lines >= 30);
}
