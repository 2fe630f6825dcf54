//! What our probe writes is what OONI's own tools read: every OONI-compatible test measures in a small world,
//! and `oonidata` (OONI's package, on PyPI) reads the lines. Skipped where it cannot be imported.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

mod app_worlds;
mod judged;

use app_worlds::{TESTS, measured, measured_under_interference};

/// The tests for which oonidata 0.3.0 has a model of their own; others are read by its general one.
const MODELS: &[(&str, &str)] = &[
    ("dnscheck", "DNSCheck"),
    ("facebook_messenger", "FacebookMessenger"),
    ("http_header_field_manipulation", "HTTPHeaderFieldManipulation"),
    ("http_invalid_request_line", "HTTPInvalidRequestLine"),
    ("signal", "Signal"),
    ("stunreachability", "StunReachability"),
    ("telegram", "Telegram"),
    ("tor", "Tor"),
    ("web_connectivity", "WebConnectivity"),
    ("whatsapp", "Whatsapp"),
];

/// Lists of records that the model of a test leaves out.
fn is_left_out(test: &str, list: &str) -> bool {
    match test {
        "facebook_messenger" => !matches!(list, "queries" | "tcp_connect"),
        "http_header_field_manipulation" => list != "requests",
        "stunreachability" => !matches!(list, "queries" | "network_events"),
        "http_invalid_request_line" | "dnscheck" => true,
        _ => false,
    }
}

/// Runs the reader over these lines; `None` where there is none.
fn read_by_ooni(lines: &str) -> Option<Vec<Value>> {
    let python = std::env::var("OKNO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import oonidata.dataclient"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} cannot import oonidata");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exchange.py");
    let mut child = Command::new(&python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python started a moment ago");
    let mut stdin = child.stdin.take().expect("it was asked for");
    let text = lines.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("python ends");
    writer.join().expect("the writer does not panic").expect("python reads to the end");
    assert!(output.status.success(), "OONI's reader failed");
    let text = String::from_utf8(output.stdout).expect("it writes JSON");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("it writes JSON")).collect())
}

/// Records of each kind as we wrote them.
fn written(keys: &Value) -> BTreeMap<String, usize> {
    let lists = ["queries", "tcp_connect", "tls_handshakes", "network_events", "requests"];
    let mut counts: BTreeMap<String, usize> =
        lists.map(|list| (list.to_owned(), keys[list].as_array().map_or(0, Vec::len))).into();
    for target in keys["targets"].as_object().into_iter().flat_map(|targets| targets.values()) {
        for (list, count) in written(target) {
            *counts.entry(list).or_default() += count;
        }
    }
    counts
}

#[test]
fn oonis_own_package_reads_every_measurement_and_every_record_of_it() {
    let all = |name: &&'static str| {
        let [dropped, reset] = measured_under_interference(name);
        [measured(name), dropped, reset].map(|measured| (*name, measured))
    };
    let measurements: Vec<_> = TESTS.iter().flat_map(all).collect();
    let lines: Vec<String> = measurements
        .iter()
        .map(|(_, (test, input, keys))| judged::line_of(&**test, ("RU", 8_359), input.as_deref(), keys))
        .collect();
    let Some(read) = read_by_ooni(&(lines.join("\n") + "\n")) else { return };
    assert_eq!(read.len(), measurements.len());
    for ((name, (_, _, keys)), read) in measurements.iter().zip(&read) {
        println!("{read}");
        assert_eq!(read["test_name"], *name);
        assert_eq!(read["differences"], Value::Array(Vec::new()), "{name}");
        let Some((_, model)) = MODELS.iter().find(|(test, _)| test == name) else { continue };
        assert_eq!(read["model"], *model);
        for (list, count) in written(keys).iter().filter(|(list, _)| !is_left_out(name, list)) {
            assert_eq!(read["counts"][list], *count, "{list} of {name}");
        }
    }
}
