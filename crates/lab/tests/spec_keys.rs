//! The examples of OONI's specification, key for key: what each test writes here has the keys and the types
//! that its example has, and no others but those that are listed as ours.
//!
//! The lists stand in `spec_keys/`: `keys` is every path of the example with its types (nullable failures and
//! TTLs added), `not_written` the paths of examples that are too old or too bare to be followed,
//! `other_types` where ours differ, `ours` what the example has not; each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use okno_lab::probe::{Envelope, Finished};
use okno_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;

mod app_worlds;

use app_worlds::{TESTS, measured};

/// Objects whose keys are names: targets by id, results by address.
const NAMED: [&str; 6] = [
    ".targets",
    ".lookups",
    ".control.ip_info",
    ".control.tcp_connect",
    ".control.tls_handshake",
    ".x_dns_whoami.udp_v4",
];

/// What a file says of a test.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Specified {
    origin: String,
    keys: BTreeMap<String, String>,
    not_written: BTreeMap<String, String>,
    other_types: BTreeMap<String, String>,
    ours: BTreeMap<String, String>,
}

fn specified(test: &str) -> Specified {
    let path = format!("{}/tests/spec_keys/{test}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a test's file says, and what is true of records of every test.
fn specified_with_records(test: &str) -> Specified {
    let (mut of_test, records) = (specified(test), specified("records"));
    of_test.not_written.extend(records.not_written);
    of_test.other_types.extend(records.other_types);
    of_test.ours.extend(records.ours);
    of_test
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Every path below, with the types found there. Keys that are names (targets, lookups, header names) are
/// `*`.
fn walk(value: &Value, path: &str, paths: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let is_binary = value.as_object().is_some_and(|map| map.len() == 2 && map.contains_key("format"));
    paths.entry(path.to_owned()).or_default().insert(if is_binary { "binary" } else { kind(value) });
    match value {
        Value::Object(map) if !is_binary && !path.ends_with(".headers") => {
            let is_named = NAMED.iter().any(|end| path.ends_with(end));
            for (key, value) in map {
                walk(value, &format!("{path}.{}", if is_named { "*" } else { key }), paths);
            }
        }
        Value::Array(list) if !path.ends_with(".headers_list") => {
            for value in list {
                walk(value, &format!("{path}[]"), paths);
            }
        }
        _ => {}
    }
}

/// Whether a path or what it stands in is listed; lists of records name ends of paths, such as `[].t0`.
fn is_listed(list: &BTreeMap<String, String>, path: &str) -> bool {
    list.keys().any(|listed| {
        if listed.starts_with("[]") {
            return path.ends_with(listed.as_str());
        }
        path.strip_prefix(listed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// What differs between the example's keys and ours.
fn differences(specified: &Specified, keys: &Value, root: &str) -> Vec<String> {
    let (mut paths, mut differences) = (BTreeMap::new(), Vec::new());
    walk(keys, root, &mut paths);
    paths.remove(root);
    for path in specified.keys.keys() {
        if !paths.contains_key(path) && !is_listed(&specified.not_written, path) {
            differences.push(format!("missing {path} ({})", specified.keys[path]));
        }
    }
    for (path, kinds) in &paths {
        let Some(allowed) = specified.keys.get(path) else {
            if !is_listed(&specified.ours, path) {
                differences.push(format!("not in the example: {path} {kinds:?}"));
            }
            continue;
        };
        let fits = |kind: &&str| allowed.split('|').any(|allowed| allowed == *kind);
        if !kinds.iter().all(fits) && !is_listed(&specified.other_types, path) {
            differences.push(format!("type of {path}: {kinds:?}, not {allowed}"));
        }
    }
    differences
}

#[test]
fn every_example_of_the_specification_is_reproduced_key_for_key() {
    let mut all = Vec::new();
    for name in TESTS {
        let specified = specified_with_records(name);
        assert!(specified.origin.starts_with("https://github.com/ooni/spec/"));
        let (_, _, keys) = measured(name);
        assert!(specified.keys.len() >= 4, "{name}: an example has keys");
        all.extend(
            differences(&specified, &keys, "test_keys")
                .iter()
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_missing_key_and_a_new_one_are_noticed() {
    let specified = specified_with_records("telegram");
    let (_, _, mut keys) = measured("telegram");
    let map = keys.as_object_mut().expect("test keys are an object");
    map.remove("telegram_web_status");
    map.insert("telegram_opinion".to_owned(), Value::Null);
    map.insert("telegram_tcp_blocking".to_owned(), "no".into());
    let found = differences(&specified, &keys, "test_keys");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn a_measurement_has_the_keys_of_the_base_format_and_of_an_example() {
    let (test, _, keys) = measured("signal");
    let text = |text: &str| text.to_owned();
    let envelope = Envelope {
        country: text("ZZ"),
        asn: text("AS0"),
        network_name: text("lab"),
        network_type: text("wifi"),
        resolver_asn: text("AS0"),
        resolver_network_name: text("lab"),
        software: (text("okno"), text("0.1.0")),
    };
    let now = Timestamp::from_micros(1_774_000_000_000_000);
    let line = envelope.line(Finished {
        test: test.name(),
        version: test.version(),
        input: None,
        keys,
        round_began: now,
        began: now,
        runtime: core::time::Duration::from_secs(1),
        helper: None,
        token: 7,
        own: &[],
    });
    let mut measurement: Value = serde_json::from_str(&line).expect("a line is JSON");
    measurement["test_keys"] = serde_json::json!({});
    let found = differences(&specified("measurement"), &measurement, "measurement");
    assert!(found.is_empty(), "{found:#?}");
}
