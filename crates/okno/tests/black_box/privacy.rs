//! No address of a probe stands anywhere in what a run leaves behind. The addresses are taken from the raw
//! lines by another parser than the reader's, and no failure of these tests prints one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde_json::Value;

use crate::binary::{Folder, Run, arg, files, shared, unpacked};

/// Every `probe_ip` of a line that names somebody, wherever it stands.
fn collect(value: &Value, found: &mut BTreeSet<IpAddr>) {
    match value {
        Value::Object(map) => {
            if let Some(Ok(ip)) = map.get("probe_ip").and_then(Value::as_str).map(str::parse::<IpAddr>)
                && !ip.is_loopback()
                && !ip.is_unspecified()
            {
                found.insert(ip);
            }
            map.values().for_each(|inner| collect(inner, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}

fn probes(inputs: &[PathBuf]) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    for file in inputs.iter().flat_map(|folder| files(folder)) {
        for line in unpacked(&file).lines() {
            if line.contains("probe_ip")
                && let Ok(value) = serde_json::from_str::<Value>(line)
            {
                collect(&value, &mut found);
            }
        }
    }
    found
}

/// Every address that can be read out of some bytes: four numbers with dots, dashes or underscores between
/// them, forwards and backwards, and groups of hexadecimal digits with colons or dashes.
fn addresses(bytes: &[u8]) -> BTreeSet<IpAddr> {
    let lower = String::from_utf8_lossy(bytes).to_lowercase().replace("%2e", ".").replace("%3a", ":");
    let mut found = BTreeSet::new();
    for token in lower.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '_'))) {
        let numbers: Vec<Option<u8>> = token.split(['.', '-', '_']).map(|part| part.parse().ok()).collect();
        for window in numbers.windows(4) {
            if let [Some(a), Some(b), Some(c), Some(d)] = *window {
                found.insert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
                found.insert(IpAddr::V4(Ipv4Addr::new(d, c, b, a)));
            }
        }
    }
    for token in lower.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, ':' | '-' | '.'))) {
        let groups = token.replace('-', ":");
        for text in [token, groups.as_str(), token.trim_matches(['.', '-']), groups.trim_end_matches(':')] {
            found.extend(text.parse::<Ipv6Addr>().map(IpAddr::V6));
        }
    }
    found
}

fn assert_none(bytes: &[u8], probes: &BTreeSet<IpAddr>, place: &str) {
    let hits = addresses(bytes).intersection(probes).count();
    assert_eq!(hits, 0, "{place} holds {hits} addresses of probes");
}

fn text(run: &Run) -> String {
    format!("{}{}", run.out, run.err)
}

#[test]
fn no_probe_address_is_in_any_table_file_report_or_output() {
    let inputs: Vec<PathBuf> = ["ooni-raw/misc", "ooni-raw/s3"].into_iter().filter_map(shared).collect();
    if inputs.is_empty() {
        return;
    }
    let probes = probes(&inputs);
    assert!(probes.len() > 5, "the archive's sample holds unscrubbed addresses; {} were found", probes.len());
    let folder = Folder::new("privacy");
    let mut args = vec!["observe"];
    args.extend(inputs.iter().map(|path| arg(path)));
    assert_none(text(&folder.okno(&args).good()).as_bytes(), &probes, "what observe prints");
    args.push("--json");
    assert_none(text(&folder.okno(&args).good()).as_bytes(), &probes, "what observe --json prints");
    assert_none(folder.text("okno-report.html").as_bytes(), &probes, "the report");
    let tables = folder.okno(&["tables", "--json"]).good().json();
    let mut read = 0;
    for table in tables.as_array().unwrap() {
        let name = table["name"].as_str().unwrap();
        let query = format!("SELECT * FROM {name}");
        let dump = folder.okno(&["sql", "--format", "csv", &query]).good().out;
        read += dump.len();
        assert_none(dump.as_bytes(), &probes, name);
    }
    assert!(read > 1_000_000, "the dump of all tables has {read} bytes");
    for (name, bytes) in folder.lake("okno-data") {
        assert_none(name.as_bytes(), &probes, "a file's name");
        assert_none(&bytes, &probes, &name);
    }
}

#[test]
fn the_search_for_addresses_finds_the_spellings_that_hide_them() {
    let probe: BTreeSet<IpAddr> =
        ["203.0.113.77", "2001:db8::77"].map(|text| text.parse().unwrap()).into_iter().collect();
    for text in [
        "at 203.0.113.77:443",
        "host-203-0-113-77.isp.example",
        "77.113.0.203.in-addr.arpa",
        "a=203%2E0%2e113.77&",
        "[2001:DB8::77]:443",
        "2001-db8-0-0-0-0-0-77",
        "2001:0db8:0000:0000:0000:0000:0000:0077",
    ] {
        assert_eq!(addresses(text.as_bytes()).intersection(&probe).count(), 1, "{text}");
    }
    assert_eq!(addresses(b"203.0.113.0/24 1203.0.113.77 203.0.113.771").intersection(&probe).count(), 0);
}
