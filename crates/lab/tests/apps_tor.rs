//! Tor's and Snowflake's tests against authorities, bridges, a broker and a volunteer of the lab.

use okno_detect::Baseline;
use okno_lab::probe::Bench;
use okno_model::State;
use serde_json::{Value, json};

mod app_worlds;
mod judged;

use app_worlds::{FRONT, cert, snowflake_network, test, tor_network};
use judged::{elsewhere, judged};

fn blocks(numbers: core::ops::RangeInclusive<u8>) -> Vec<String> {
    numbers.map(|number| format!("11.18.0.{number}/32")).collect()
}

fn counts(keys: &Value) -> [u64; 6] {
    [
        "dir_port_accessible",
        "dir_port_total",
        "or_port_dirauth_accessible",
        "or_port_dirauth_total",
        "obfs4_accessible",
        "obfs4_total",
    ]
    .map(|key| keys[key].as_u64().unwrap_or(99))
}

#[test]
fn tor_works_where_nothing_interferes() {
    let mut bench = Bench::open();
    let test = test("tor", &tor_network(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(counts(&keys), [5; 6]);
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
    assert!(!keys.to_string().contains("11.19.0.200"), "a directory's header told the own address");
    let target = &keys["targets"]["11.18.0.2:9030"];
    assert_eq!(target["requests"][0]["response"]["body"].as_str().map(str::len), Some(256));
    assert_eq!(target["summary"], json!({"connect": {"failure": null}}));
    let target = &keys["targets"]["11.18.0.2:9001"];
    let both = json!({"connect": {"failure": null}, "handshake": {"failure": null}});
    assert_eq!(target["summary"], both);
}

#[test]
fn tors_authorities_dropped_by_address_leave_the_bridges() {
    let dropped = blocks(2..=6);
    let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
    let mut bench = Bench::with_profile("tspu-2022", &[("net.tor_relays", &dropped)]);
    let test = test("tor", &tor_network(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(counts(&keys), [0, 5, 0, 5, 5, 5]);
    let (summary, mechanisms) = judged(&*test, &keys, &Baseline::empty());
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.contains(&"tor.directory".to_owned()), "{mechanisms:?}");
}

#[test]
fn tors_bridges_dropped_by_address_leave_the_authorities() {
    let dropped = blocks(7..=11);
    let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
    let mut bench = Bench::with_profile("tspu-2022", &[("net.tor_relays", &dropped)]);
    let test = test("tor", &tor_network(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(counts(&keys), [5, 5, 5, 5, 0, 5]);
    let (summary, mechanisms) = judged(&*test, &keys, &Baseline::empty());
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.contains(&"tor.bridge".to_owned()), "{mechanisms:?}");
}

#[test]
fn a_server_that_accepts_everybody_is_no_bridge() {
    let mut bench = Bench::open();
    let server = bench.server("imposter");
    bench.serve(server, |net| okno_lab::services::covert::serve_random(net, 443));
    let target = json!({
        "address": server.end(443).to_string(),
        "params": {"cert": [cert(1).text()]},
        "protocol": "obfs4",
        "source": "bridgedb",
    });
    let test = test("tor", &json!({"targets": {"private": target}}));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["obfs4_accessible"], 0);
    assert_eq!(keys["targets"]["private"]["failure"], "generic_timeout_error");
    assert_eq!(keys["targets"]["private"]["target_address"], "[scrubbed]");
    assert!(!keys.to_string().contains("11.18."), "the address of a private bridge was written");
}

/// `name failure note` of each arm.
fn arms(keys: &Value) -> Vec<String> {
    let text = |arm: &Value, key: &str| arm[key].as_str().unwrap_or("-").to_owned();
    let each = |arm: &Value| format!("{} {} {}", text(arm, "name"), text(arm, "failure"), text(arm, "note"));
    keys["arms"].as_array().map(|arms| arms.iter().map(each).collect()).unwrap_or_default()
}

#[test]
fn snowflakes_way_is_open_where_nothing_interferes_in_either_role_of_dtls() {
    for is_passive in [false, true] {
        let mut bench = Bench::open();
        let test = test("torsf", &snowflake_network(&mut bench, is_passive, true));
        let keys = bench.measure(&test, None);
        let expected = ["stun.1 - -", "stun.2 - -", "broker - proxy", "proxy - dtls_both_ways"];
        assert_eq!(arms(&keys), expected);
        assert_eq!(keys["failure"], Value::Null);
        assert_eq!(keys["success"], Value::Null, "nothing was bootstrapped");
        let text = keys.to_string();
        assert!(!text.contains("11.19.0.200"), "the own address was written");
        assert!(!text.contains("11.18.0.5"), "the volunteer's address was written");
        assert_ne!(judged(&*test, &keys, &Baseline::empty()).0.state, State::Blocked);
    }
}

#[test]
fn a_broker_without_a_proxy_has_answered() {
    let mut bench = Bench::open();
    let test = test("torsf", &snowflake_network(&mut bench, false, false));
    let keys = bench.measure(&test, None);
    assert_eq!(arms(&keys)[2..], ["broker - no_proxy"]);
    assert_eq!(keys["failure"], Value::Null);
}

#[test]
fn the_front_reset_by_name_ends_the_rendezvous() {
    let mut open = Bench::open();
    let healthy = test("torsf", &snowflake_network(&mut open, false, true));
    let baseline = elsewhere(&*healthy, &open.measure(&healthy, None));
    let mut bench = Bench::with_profile("tspu-2022", &[("sni.blocked", &[FRONT])]);
    let test = test("torsf", &snowflake_network(&mut bench, false, true));
    let keys = bench.measure(&test, None);
    assert_eq!(arms(&keys)[2..], ["broker connection_reset -"]);
    assert_eq!(keys["failure"], "connection_reset");
    let (summary, mechanisms) = judged(&*test, &keys, &baseline);
    assert_eq!(summary.state, State::Blocked, "{mechanisms:?}");
}

#[test]
fn pions_hello_that_ends_the_flow_shows_as_silence_after_dtls() {
    let mut bench = Bench::with_profile("tspu-2026", &[]);
    let test = test("torsf", &snowflake_network(&mut bench, true, true));
    let keys = bench.measure(&test, None);
    // The same profile silences STUN abroad, as for calls; the meeting needs it only behind a NAT.
    let expected = [
        "stun.1 generic_timeout_error -",
        "stun.2 generic_timeout_error -",
        "broker - proxy",
        "proxy generic_timeout_error silent_after_dtls",
    ];
    assert_eq!(arms(&keys), expected);
    assert_eq!(keys["failure"], "generic_timeout_error");
    assert_eq!(keys["error"], "timeout-reached");
}

#[test]
fn stun_servers_dropped_by_address_are_the_first_failure() {
    let mut bench = Bench::with_profile("tspu-2022", &[("net.blocked", &["11.18.0.2/31"])]);
    let test = test("torsf", &snowflake_network(&mut bench, false, false));
    let keys = bench.measure(&test, None);
    assert_eq!(arms(&keys)[..2], ["stun.1 generic_timeout_error -", "stun.2 generic_timeout_error -"]);
    assert_eq!(keys["failure"], "generic_timeout_error");
}
