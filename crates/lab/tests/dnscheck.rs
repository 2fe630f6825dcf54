//! dnscheck in the lab: every way to ask a resolver, and what is written when it breaks.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use okno_lab::probe::Bench;
use okno_lab::services::dns::NameRule;
use okno_probe::nettests::by_name;
use serde_json::{Value, json};

fn check(bench: &mut Bench, options: &Value, url: &str) -> Value {
    bench.zones.borrow_mut().set_addresses("example.org", 60, &["11.18.0.99".parse().unwrap()]);
    let test = by_name("dnscheck", options).unwrap();
    bench.measure(&test, Some(url))
}

#[test]
fn a_resolver_that_works_is_told_for_each_way_to_ask_it() {
    for (url, key, engine) in [
        ("udp://dns.example", "udp://11.18.0.1", "udp"),
        ("tcp://dns.example:53", "tcp://11.18.0.1:53", "tcp"),
        ("dot://dns.example", "dot://11.18.0.1", "dot"),
        ("https://dns.example/dns-query", "https://11.18.0.1/dns-query", "doh"),
    ] {
        let keys = check(&mut Bench::open(), &json!({}), url);
        assert_eq!(keys["bootstrap_failure"], Value::Null, "{url}");
        assert_eq!(keys["bootstrap"]["queries"][0]["answers"][0]["ipv4"], "11.18.0.1");
        let lookup = &keys["lookups"][key];
        assert_eq!(lookup["failure"], Value::Null, "{url}: {}", keys["lookups"]);
        let query = &lookup["queries"][0];
        assert_eq!((&query["engine"], &query["hostname"]), (&json!(engine), &json!("example.org")));
        assert_eq!(query["answers"][0]["ipv4"], "11.18.0.99");
        if engine == "doh" {
            assert_eq!(query["resolver_address"], key);
            assert_eq!(lookup["requests"][0]["response"]["code"], 200);
        }
    }
}

#[test]
fn addresses_that_were_given_are_tried_though_the_resolvers_name_is_denied() {
    let mut bench = Bench::open();
    bench.lie("dns.example", NameRule::NxDomain);
    let given = json!({"default_addrs": "11.18.0.1"});
    let keys = check(&mut bench, &given, "dot://dns.example");
    assert_eq!(keys["bootstrap_failure"], "dns_nxdomain_error");
    assert_eq!(keys["lookups"]["dot://11.18.0.1"]["failure"], Value::Null);
    bench.lie("dns.example", NameRule::Addresses(vec!["10.1.1.1".parse().unwrap()]));
    let keys = check(&mut bench, &json!({}), "dot://dns.example");
    assert_eq!(keys["bootstrap_failure"], "dns_bogon_error");
    assert_eq!(keys["lookups"], json!({}), "a private address is not contacted");
}

#[test]
fn a_hello_for_the_resolvers_name_that_is_reset_is_told_at_the_handshake() {
    let mut bench = Bench::with_profile("tspu-2024", &[("sni.blocked", &["dns.example"])]);
    let keys = check(&mut bench, &json!({}), "https://dns.example/dns-query");
    let lookup = &keys["lookups"]["https://11.18.0.1/dns-query"];
    assert_eq!(lookup["failure"], "connection_reset");
    assert_eq!(lookup["failed_operation"], "tls_handshake");
    assert_eq!(lookup["tls_handshakes"][0]["server_name"], "dns.example");
}

/// The keys of a JSON object and those below, as paths; what is keyed by data counts once.
fn shape(value: &Value, path: &str, out: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let is_data = key.contains("://") || key.contains('.') || path.ends_with("headers");
                let next = format!("{path}.{}", if is_data { "*" } else { key });
                out.insert(next.clone());
                shape(value, &next, out);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| shape(value, &format!("{path}[]"), out)),
        _ => {}
    }
}

#[test]
fn the_keys_are_those_of_the_specifications_example() {
    // ts-028, "Example output sample": test keys, and below them those of one lookup over TLS.
    let keys = check(&mut Bench::open(), &json!({}), "dot://dns.example:853");
    let mut found = std::collections::BTreeSet::new();
    shape(&keys, "", &mut found);
    let lists = ["agent", "failed_operation", "failure", "network_events", "queries", "requests"];
    let mut wanted: Vec<String> =
        [".domain", ".bootstrap", ".bootstrap_failure", ".lookups", ".lookups.*"].map(str::to_owned).into();
    for parent in [".bootstrap", ".lookups.*"] {
        wanted.extend(
            lists.iter().chain(&["tcp_connect", "tls_handshakes"]).map(|key| format!("{parent}.{key}")),
        );
        for key in [
            "answers",
            "engine",
            "failure",
            "hostname",
            "query_type",
            "resolver_hostname",
            "resolver_port",
            "resolver_address",
            "t",
            "answers[].answer_type",
            "answers[].ipv4",
            "answers[].ttl",
        ] {
            wanted.push(format!("{parent}.queries[].{key}"));
        }
    }
    for key in ["ip", "port", "status", "status.failure", "status.success", "t"] {
        wanted.push(format!(".lookups.*.tcp_connect[].{key}"));
    }
    for key in [
        "cipher_suite",
        "failure",
        "negotiated_protocol",
        "no_tls_verify",
        "peer_certificates",
        "peer_certificates[].data",
        "peer_certificates[].format",
        "server_name",
        "t",
        "tls_version",
    ] {
        wanted.push(format!(".lookups.*.tls_handshakes[].{key}"));
    }
    for key in ["address", "failure", "operation", "proto", "t", "num_bytes"] {
        wanted.push(format!(".lookups.*.network_events[].{key}"));
    }
    let missing: Vec<&String> = wanted.iter().filter(|key| !found.contains(*key)).collect();
    assert!(missing.is_empty(), "missing {missing:?}");
}
