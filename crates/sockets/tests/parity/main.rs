//! Two worlds, one result: the same measurements of the same servers, once on kernel sockets inside network
//! namespaces, once in the lab, record what is the same but for times.
//!
//! The test starts itself again under `unshare -rnm`, which needs no privilege where user namespaces are
//! permitted. Where they are not it says `skipped:`.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cases;
mod kernel;
mod lab;
mod servers;

use std::collections::BTreeMap;
use std::process::Command;
use std::rc::Rc;

use okno_lab::tls::Authority;
use okno_wire::Endpoint;
use serde_json::{Map, Value, json};

use servers::Tools;

/// Set where the test runs inside its namespaces.
const INSIDE: &str = "OKNO_PARITY_INSIDE";
/// Number of the first server's address; the lab's bench has its own resolver at 1.
const FIRST: u8 = 2;

fn tools() -> Tools {
    Tools {
        trusted: Authority::new(1, "parity's root"),
        foreign: Authority::new(2, "somebody else's root"),
        zone: Rc::new(BTreeMap::new()),
    }
}

#[test]
fn kernel_and_lab_observe_the_same() {
    let own = std::env::current_exe().unwrap();
    let inside = Command::new("unshare")
        .args(["-rnm", "--"])
        .arg(own)
        .args(["--exact", "inside_the_namespaces", "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let Ok(inside) = inside else {
        println!("skipped: no unshare(1) on this machine");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    println!("{out}\n{err}");
    if err.contains("unshare failed") || err.contains("Operation not permitted") || out.contains("skipped:") {
        println!("skipped: no namespaces for us here");
        return;
    }
    assert!(inside.status.success(), "the worlds differ");
    assert!(out.contains("parity: "), "the cases ran");
}

/// What a case shows, so that two worlds cannot agree on nothing.
const EXPECTED: &[(&str, &str)] = &[
    ("http ok", "\"code\":200"),
    ("http redirect", "\"code\":302"),
    ("tcp refused", "connection_refused"),
    ("reset after request", "connection_reset"),
    ("eof after request", "eof_error"),
    ("silence after request", "generic_timeout_error"),
    ("truncated body", "eof_error"),
    ("body broken off by a reset", "connection_reset"),
    ("stalled body", "generic_timeout_error"),
    ("https over http/2", "\"negotiated_protocol\":\"h2\""),
    ("tls 1.2", "TLSv1.2"),
    ("reset in the handshake", "connection_reset"),
    ("eof in the handshake", "eof_error"),
    ("silence in the handshake", "generic_timeout_error"),
    ("alert", "ssl_failed_handshake"),
    ("wrong name", "ssl_invalid_hostname"),
    ("unknown authority", "ssl_unknown_authority"),
    ("expired certificate", "ssl_invalid_certificate"),
    ("quic silence", "generic_timeout_error"),
    ("quic port unreachable", "connection_refused"),
    ("quic wrong name", "ssl_invalid_hostname"),
    ("http/3", "\"code\":200"),
    ("udp dns nxdomain", "dns_nxdomain_error"),
    ("udp dns servfail", "dns_servfail_error"),
    ("udp dns refused", "dns_refused_error"),
    ("udp dns no answer", "dns_no_answer"),
    ("udp dns timeout", "generic_timeout_error"),
    ("udp dns bogon", "10.10.34.36"),
    ("dot with another name", "ssl_invalid_hostname"),
    ("doh nxdomain", "dns_nxdomain_error"),
    ("system nxdomain", "dns_nxdomain_error"),
    ("system no answer", "dns_no_answer"),
    ("system servfail", "dns_temporary_failure"),
    ("udp port unreachable", "Refused"),
    ("udp by ttl", "11.19.0.4 11/0"),
    ("connect by ttl", "HostUnreachable"),
    ("echo requests", "11.19.0.4 false"),
    ("host unreachable", "NetworkUnreachable"),
    ("a handshake by hand", "[[false,1],[true,2]]"),
    ("own port", "InUse"),
    ("web_connectivity of a page that works", "\"accessible\":true"),
];

/// Numbers of addresses by case.
fn offsets(cases: &[cases::Case]) -> Vec<u8> {
    let next = |next: &mut u8, case: &cases::Case| {
        let offset = *next;
        *next += u8::try_from(case.servers.len()).unwrap();
        Some(offset)
    };
    cases.iter().scan(FIRST, next).collect()
}

#[test]
#[ignore = "started by the test above, inside namespaces"]
fn inside_the_namespaces() {
    if std::env::var_os(INSIDE).is_none() {
        println!("skipped: only inside namespaces");
        return;
    }
    let all = cases::all();
    let offsets = offsets(&all);
    let system = all.iter().position(|case| case.name == "system ok").unwrap();
    let resolver = Endpoint { ip: [11, 18, 0, offsets[system]].into(), port: 53 };
    let last = offsets.last().unwrap() + 5;
    if let Err(problem) = kernel::build(&resolver.ip.to_string()).and_then(|()| kernel::add_addresses(last)) {
        println!("skipped: {problem}");
        return;
    }
    let of_kernel = kernel::run(cases::all, &offsets, tools, resolver);
    let mut differing = Vec::new();
    for ((case, offset), kernel) in all.iter().zip(&offsets).zip(of_kernel) {
        let lab = lab::run(case, *offset, &tools());
        let (mut kernel, mut lab) = (comparable(kernel), comparable(lab));
        if case.name.starts_with("web_connectivity") {
            unordered(&mut kernel);
            unordered(&mut lab);
        }
        let expected = EXPECTED.iter().filter(|(name, _)| *name == case.name);
        for (name, part) in expected.filter(|(_, part)| !kernel.to_string().contains(part)) {
            differing.push(case.name);
            println!("--- {name}: no {part} in {kernel:#}");
        }
        if kernel != lab {
            differing.push(case.name);
            println!("--- {}\nkernel {kernel:#}\nlab    {lab:#}", case.name);
        }
    }
    println!("parity: {} of {} cases the same", all.len() - differing.len(), all.len());
    assert!(differing.is_empty(), "{differing:?}");
}

/// Keys that hold times, or what follows from them.
const TIMES: &[&str] = &["t", "t0", "started", "test_runtime"];
/// Keys whose sizes depend on how TCP cut the stream.
const SIZES: &[&str] = &["num_bytes"];

/// Whether HTTP/2 or QUIC was spoken: then both sides write whenever they like.
fn is_duplex(map: &Map<String, Value>) -> bool {
    let list = |key: &str| map.get(key).and_then(Value::as_array).into_iter().flatten();
    let http2 = list("tls_handshakes").any(|one| one["negotiated_protocol"] == "h2");
    http2 || list("quic_handshakes").next().is_some()
}

/// The value without times, sizes of single reads, and certificates (whose dates are the world's).
fn comparable(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            let duplex = is_duplex(&map);
            for (key, value) in map {
                let value = match key.as_str() {
                    key if TIMES.contains(&key) || SIZES.contains(&key) => continue,
                    "peer_certificates" => json!(value.as_array().map(Vec::len)),
                    "network_events" => events(value, duplex),
                    // message ids are random
                    "raw_response" => json!(value.as_str().map(str::len)),
                    _ => comparable(value),
                };
                out.insert(key, value);
            }
            Value::Object(out)
        }
        Value::Array(list) => Value::Array(list.into_iter().map(comparable).collect()),
        other => other,
    }
}

/// A test that does several things at once numbers and lists them as they end.
fn unordered(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("transaction_id");
            map.values_mut().for_each(unordered);
        }
        Value::Array(list) => {
            list.iter_mut().for_each(unordered);
            list.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}

/// Runs of reads and of writes count as one: TCP may cut them anywhere. With HTTP/2 and QUIC runs of both do.
fn events(value: Value, duplex: bool) -> Value {
    let mut out: Vec<Value> = Vec::new();
    for event in value.as_array().into_iter().flatten() {
        let mut event = comparable(event.clone());
        if event["operation"] == "bytes_received_cumulative" {
            continue; // a sample of time
        }
        let cut = matches!(event["operation"].as_str(), Some("read" | "write"))
            || duplex && matches!(event["operation"].as_str(), Some("read_from" | "write_to"));
        if cut && duplex {
            event["operation"] = "read or write".into();
        }
        if !(cut && out.last() == Some(&event)) {
            out.push(event);
        }
    }
    Value::Array(out)
}
