//! OONI's openvpn and stunreachability in the lab: key for key as the specification's examples.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;

use okno_ingest::source::{Batch, Next};
use okno_lab::probe::{Bench, Server};
use okno_probe::nettests::by_name;
use serde_json::{Value, json};

mod app_worlds;

use app_worlds::openvpn_server;

fn openvpn(bench: &mut Bench, server: Server, transport: &str) -> Value {
    let test = by_name("openvpn", &json!({ "timeout_s": 20 })).unwrap();
    let input = format!("openvpn://riseup.corp/?address={}&transport={transport}", server.end(1_194));
    bench.measure(&test, Some(&input))
}

fn stages(keys: &Value) -> Vec<&str> {
    let rows = keys["network_events"].as_array().unwrap().iter();
    rows.filter(|row| row["operation"] == "state").map(|row| row["stage"].as_str().unwrap()).collect()
}

#[test]
fn an_openvpn_handshake_goes_through_all_stages_over_both_transports() {
    for transport in ["tcp", "udp"] {
        let mut bench = Bench::open();
        let server = openvpn_server(&mut bench);
        let keys = openvpn(&mut bench, server, transport);
        assert_eq!(keys["success"], true, "{transport}: {keys:#}");
        assert_eq!(stages(&keys), ["PRE_START", "START", "SENT_KEY", "GOT_KEY", "ACTIVE", "GENERATED_KEYS"]);
        let tags = keys["network_events"].to_string();
        assert!(tags.contains("client_hello") && tags.contains("server_hello"));
        assert_eq!(keys["tcp_connect"].is_array(), transport == "tcp");
        assert!(keys["bootstrap_time"].as_f64().unwrap() > 0.1);
    }
}

#[test]
fn a_handshake_that_fails_says_how_and_at_which_stage() {
    let mut bench = Bench::open();
    let server = bench.server("vpn.example");
    for (transport, expected) in [("tcp", "connection_refused"), ("udp", "connection_refused")] {
        let keys = openvpn(&mut bench, server, transport);
        assert_eq!((&keys["success"], keys["failure"].as_str()), (&json!(false), Some(expected)));
        assert_eq!(keys["bootstrap_time"], 0.0);
    }
    bench.world.set_host_up(server.node, false);
    let keys = openvpn(&mut bench, server, "udp");
    assert_eq!(keys["failure"], "generic_timeout_error");
    assert_eq!(stages(&keys), ["PRE_START"]);
}

/// Every key of `example` at every depth, lists by their first elements' keys together.
fn shape(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                out.insert(path.clone());
                shape(value, &path, out);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| shape(value, &format!("{path}[]"), out)),
        _ => {}
    }
}

fn keys_of(value: &Value) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    shape(value, "", &mut out);
    out
}

/// The specification's example for a test, of this version.
fn example(test: &str, version: &str) -> Option<Value> {
    let folder = std::env::var("OKNO_SHARED_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = Path::new(&folder).join("ooni-raw/misc/fixtures-and-examples.jsonl.gz");
    let mut lines = okno_ingest::source::open(&path).ok()?;
    let mut rows = Vec::new();
    while let Next::Bytes(raw) = lines.next_batch() {
        let batch = Batch::prepare(raw);
        let texts = batch.lines.iter().map(|line| &batch.text[line.start..line.end]);
        rows.extend(texts.filter_map(|text| serde_json::from_str::<Value>(text).ok()));
    }
    let rows = rows.into_iter();
    let mut found = rows.filter_map(|row| match &row["m"] {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null => Some(row),
        value => Some(value.clone()),
    });
    found.find(|m: &Value| {
        let handshake = &m["test_keys"]["openvpn_handshake"][0];
        m["test_name"] == test
            && m["test_version"] == version
            && (handshake.is_null() || handshake.get("failure").is_some())
    })
}

#[test]
fn openvpn_writes_the_keys_of_oonis_example() {
    let Some(example) = example("openvpn", "0.1.1") else {
        println!("skipped: no shared data");
        return;
    };
    let mut bench = Bench::open();
    let server = openvpn_server(&mut bench);
    let ours = keys_of(&openvpn(&mut bench, server, "tcp"));
    let missing: Vec<_> = keys_of(&example["test_keys"]).difference(&ours).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
    // ts-040 names these in its text and leaves them out of its example.
    let further: Vec<_> = ours.difference(&keys_of(&example["test_keys"])).cloned().collect();
    assert_eq!(further, [".bootstrap_time", ".failure", ".openvpn_handshake[].handshake_time", ".tunnel"]);
}

#[test]
fn stunreachability_writes_the_keys_of_oonis_example_and_no_answer() {
    let mut bench = Bench::open();
    let server = bench.server("stun.example");
    bench.serve(server, |net| okno_lab::services::call::serve_stun(net, 19_302));
    let test = by_name("stunreachability", &Value::Null).unwrap();
    let keys = bench.measure(&test, Some("stun://stun.example:19302"));
    assert_eq!((&keys["failure"], &keys["endpoint"]), (&Value::Null, &json!("stun.example:19302")));
    let operations: Vec<&str> = keys["network_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["operation"].as_str().unwrap())
        .collect();
    assert_eq!(operations, ["resolve_start", "resolve_done", "connect", "write", "read"]);
    assert_eq!(keys["network_events"][3]["num_bytes"], 20);

    let keys = bench.measure(&test, Some("stun://stun.example:3478"));
    assert_eq!(keys["failure"], "connection_refused");
    bench.world.set_host_up(server.node, false);
    let keys = bench.measure(&test, Some("stun://stun.example:19302"));
    assert_eq!(keys["failure"], "generic_timeout_error");

    let Some(example) = example("stun_reachability", "0.0.1") else {
        println!("skipped: no shared data");
        return;
    };
    let ours = keys_of(&keys);
    // AS numbers and names are the reader's to add; an IPv6 address needs an answer that has one.
    let known = ["asn", "as_org_name", "ipv6", "address"].map(|word| format!(".{word}"));
    let missing: Vec<_> = keys_of(&example["test_keys"])
        .difference(&ours)
        .filter(|key| !known.iter().any(|known| key.ends_with(known.as_str())))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
