//! The examples of OONI's specification against what we write, key for key and type for type: ts-017 (version
//! 0.5.28, and the helper's protocol), a real measurement of 0.4.3, ts-028. Skipped where the shared data are
//! not present.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use okno_ingest::source::{Batch, Next, open};
use okno_lab::probe::Bench;
use okno_lab::services::web::Web;
use okno_probe::Context;
use okno_probe::helper::web::{Helper, HelperOptions};
use okno_probe::net::Net as _;
use okno_probe::nettests::by_name;
use okno_wire::Endpoint;
use serde_json::{Value, json};

/// The measurement of this file (as the collection of fixtures names it), test and version.
fn example(origin: &str, test: &str, version: &str) -> Option<Value> {
    let root = std::env::var_os("OKNO_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join("ooni-raw/misc/fixtures-and-examples.jsonl.gz");
    if !path.exists() {
        println!("skipped: no shared data");
        return None;
    }
    let mut lines = open(&path).unwrap();
    while let Next::Bytes(raw) = lines.next_batch() {
        let batch = Batch::prepare(raw);
        for line in &batch.lines {
            let text = &batch.text[line.start..line.end];
            if !text.contains(origin) {
                continue;
            }
            let fixture: Value = serde_json::from_str(text).unwrap();
            let measurement = &fixture["m"];
            if measurement["test_name"] == test && measurement["test_version"] == version {
                return Some(measurement["test_keys"].clone());
            }
        }
    }
    panic!("no {test} {version} of {origin} in the shared data");
}

/// Paths of a value and the types that stand there. Keys that are data (addresses, header names) count as
/// one.
fn shape(value: &Value, path: &str, out: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    out.entry(path.to_owned()).or_default().insert(kind);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let is_data = key.contains(['.', ':']) || path.ends_with("headers");
                shape(value, &format!("{path}.{}", if is_data { "*" } else { key }), out);
            }
        }
        Value::Array(list) if path.ends_with("headers_list") => {
            let pairs = list.iter().all(|pair| pair.as_array().is_some_and(|pair| pair.len() == 2));
            assert!(pairs, "{path}: pairs of name and value");
        }
        Value::Array(list) => list.iter().for_each(|value| shape(value, &format!("{path}[]"), out)),
        _ => {}
    }
}

/// What differs: keys that one side alone has (unless a known addition), and types that never meet.
fn differences(theirs: &Value, ours: &Value, additions: &[&str], omissions: &[&str]) -> Vec<String> {
    let (mut their, mut our) = (BTreeMap::new(), BTreeMap::new());
    shape(theirs, "", &mut their);
    shape(ours, "", &mut our);
    let mut wrong = Vec::new();
    for (path, kinds) in &their {
        match our.get(path) {
            None if omissions.iter().any(|known| path.starts_with(known)) => {}
            None => wrong.push(format!("we lack {path} {kinds:?}")),
            Some(own) => {
                let is_optional = kinds.contains("null") || own.contains("null");
                if !is_optional && own.is_disjoint(kinds) {
                    wrong.push(format!("{path} is {own:?}, theirs {kinds:?}"));
                }
            }
        }
    }
    for path in our.keys().filter(|path| !their.contains_key(*path)) {
        if !additions.iter().any(|known| path.contains(known)) {
            wrong.push(format!("they lack {path} {:?}", our[path]));
        }
    }
    wrong
}

/// A world in which a page is fetched, an address fails and a lookup fails, as in the examples.
fn world() -> Bench {
    let mut bench = Bench::open();
    let server = bench.server("helper.example");
    let tls = bench.tls(&["helper.example"], &["http/1.1"]);
    let world = bench.world_of(server);
    bench.serve(server, move |_| async move {
        let listener = world.listen(Endpoint { ip: "0.0.0.0".parse().unwrap(), port: 443 }).unwrap();
        let options = HelperOptions { network_of: Rc::new(|_| 64_496), ..HelperOptions::default() };
        Helper::new(world.world(), options).run(listener, Some(tls)).await;
    });
    let page = bench.web("site.example", Web::of_page("<title>Example Domain</title>"));
    // IPv6 of a host where nothing listens: a second address, which fails.
    let silent = bench.server("silent.example");
    bench.zones.borrow_mut().set_addresses("site.example", 60, &[page.v4, silent.v6]);
    bench
}

fn measure(test: &str, options: &Value, input: &str) -> Value {
    let mut bench = world();
    bench.zones.borrow_mut().set_addresses("example.org", 60, &["11.18.0.99".parse().unwrap()]);
    let test = by_name(test, options).unwrap();
    let helper = |context: &mut Context| context.helper = Some("https://helper.example/".into());
    bench.measure_with(&test, Some(input), helper)
}

#[test]
fn version_0_5_writes_the_keys_of_the_specifications_example() {
    let Some(theirs) = example("nettests/ts-017", "web_connectivity", "0.5.28") else { return };
    let options = json!({"udp_resolvers": ["11.18.0.1:53"], "doh": ["https://dns.example/dns-query"]});
    let ours = measure("web_connectivity", &options, "https://site.example/");
    // Answers' codes came after the example. The resolver's own address is not looked up (no `whoami`), the
    // service's networks are not known, and the lab's names have no aliases.
    let omissions = [
        ".x_dns_whoami.system_v4[]",
        ".x_dns_whoami.udp_v4.*",
        ".x_doh.queries[].answers[]",
        ".queries[].answers[].hostname",
    ];
    let wrong = differences(&theirs, &ours, &[".rcode"], &omissions);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn version_0_4_writes_the_keys_of_a_real_measurement() {
    let Some(theirs) = example("20250527233111.802678_ID", "web_connectivity", "0.4.3") else { return };
    let ours = measure("web_connectivity", &json!({"variant": "0.4"}), "https://site.example/");
    // The real one went over HTTP, to a host with IPv4 alone.
    let additions = [".tls_handshakes[]", ".network_events[].num_bytes", ".ipv6", ".tcp_connect[].tags[]"];
    let omissions = [".queries[].answers[].as"];
    let wrong = differences(&theirs, &ours, &additions, &omissions);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn dnscheck_writes_the_keys_of_the_specifications_example() {
    let Some(theirs) = example("nettests/ts-028", "dnscheck", "0.1.0") else { return };
    let ours = measure("dnscheck", &json!({}), "dot://dns.example:853");
    // The example is of version 0.1; its records have no transactions yet. Networks of answers are not known,
    // and the lab's names have no IPv6.
    let additions = [
        ".t0",
        ".tags",
        ".transaction_id",
        ".rcode",
        ".raw_response",
        "tls_handshakes[].address",
        "tls_handshakes[].network",
        ".x_default_addrs",
        ".x_residual",
        ".network_events[].address",
        ".network_events[].proto",
    ];
    let omissions = [".bootstrap.queries[].answers[]", ".lookups.*.queries[].answers[]"];
    let wrong = differences(&theirs, &ours, &additions, &omissions);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
