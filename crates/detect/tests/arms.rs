//! Tests that compare, from their text to their verdict: arms as the probe writes them, ingested and judged.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use okno_detect::{Baseline, Facts, Judge, Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_ingest::{Extractor, Line, Origin};

/// Layer, state, mechanism and witness of each verdict on a measurement with these arms.
fn judged(test: &str, arms: &str, more: &str) -> Vec<(String, String, String, String)> {
    let text = format!(
        r#"{{"test_name":"{test}","probe_cc":"RU","probe_asn":"AS12389","input":"https://a.example/",
        "measurement_start_time":"2026-03-20 10:00:00","test_keys":{{"arms":[{arms}]{more}}}}}"#
    );
    let (reference, rules) = (Reference::empty(), Ruleset::native());
    let (baseline, knowledge) = (Baseline::empty(), Knowledge::empty());
    let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let out = Extractor::new(&reference).line(Origin { source: "test", line }, &text);
    let measurement = out.measurement.as_ref().unwrap();
    let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
    let mut verdicts = Vec::new();
    Judge::new(&rules, &baseline, &knowledge).judge(&facts, &mut verdicts);
    let text = |verdict: &okno_model::Verdict<'_>| {
        (
            verdict.layer.as_str().to_owned(),
            verdict.state.as_str().to_owned(),
            verdict.mechanism.as_deref().unwrap_or("").to_owned(),
            verdict.witness.as_deref().unwrap_or("").to_owned(),
        )
    };
    verdicts.iter().map(text).collect()
}

fn transfer(role: &str, goodput: u32) -> String {
    format!(
        r#"{{"name":"{role}","role":"{role}","operation":"transfer","endpoint":"192.0.2.1:443","failure":null,"t0":0,"t":5,"received_bytes":100000,"goodput":{goodput}}}"#
    )
}

fn exchange(role: &str, variant: &str, failure: &str) -> String {
    format!(
        r#"{{"name":"{role}","role":"{role}","operation":"udp_exchange","endpoint":"192.0.2.1:51820","variant":"{variant}","failure":{failure},"t0":0,"t":5}}"#
    )
}

#[test]
fn a_slow_target_beside_fast_comparisons_is_throttled_and_a_slow_line_is_not() {
    let arms = |target, other| {
        [transfer("target", target), transfer("scrambled", other), transfer("neutral_name", other)].join(",")
    };
    let held = judged("throttling", &arms(16_000, 900_000), "");
    assert_eq!((held[0].1.as_str(), held[0].2.as_str()), ("throttled", "tls.throttle.sni"));
    assert!(held[0].3.contains("target transfer") && held[0].3.contains("scrambled"), "{}", held[0].3);
    let slow_line = judged("throttling", &arms(16_000, 20_000), "");
    assert_eq!(slow_line[0].1, "ok", "the name makes no difference");
}

#[test]
fn each_variant_is_a_case_of_its_own() {
    let lost = r#""generic_timeout_error""#;
    let arms = [
        exchange("target", "wireguard", lost),
        exchange("random", "wireguard", "null"),
        exchange("target", "ike", "null"),
        exchange("random", "ike", "null"),
    ];
    let verdicts = judged("vpn_protocols", &arms.join(","), "");
    let states: Vec<_> =
        verdicts.iter().map(|verdict| (verdict.1.as_str(), verdict.2.starts_with("vpn"))).collect();
    assert_eq!(states.len(), 2);
    assert_eq!(states[0], ("blocked", true));
    assert!(states[1].0 != "blocked");
}

#[test]
fn operations_of_arms_are_compared_and_not_judged_one_by_one() {
    let arm = r#"{"name":"step.3","role":"step","transaction_id":9,"operation":"tls_handshake","endpoint":"192.0.2.1:443","failure":"generic_timeout_error","failed_at":"tls"}"#;
    let handshake = r#","tls_handshakes":[{"network":"tcp","address":"192.0.2.1:443","server_name":"a.example","failure":"generic_timeout_error","transaction_id":9}]"#;
    let verdicts = judged("throttling", arm, handshake);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    assert_eq!(verdicts[0].1, "insufficient");
}

#[test]
fn initial_packets_that_only_the_suspected_name_loses_are_blocked_by_name() {
    let arms = [
        exchange("target", "quic-v1", r#""generic_timeout_error""#),
        exchange("neutral_name", "quic-v1", "null"),
    ];
    let verdicts = judged("quic_matrix", &arms.join(","), "");
    assert_eq!((verdicts[0].1.as_str(), verdicts[0].2.as_str()), ("blocked", "quic.timeout.sni"));
}
