//! The messenger tests of OONI against a world whose truth is known: healthy, and under the interference that
//! is documented of each; then read by ingest and judged by detect.

use okno_lab::probe::Bench;
use okno_lab::services::dns::NameRule;
use okno_lab::services::shared;
use okno_lab::services::web::Web;
use okno_model::State;
use serde_json::{Value, json};

mod app_worlds;
mod judged;

use app_worlds::{address, facebook, signal, telegram, test, whatsapp};
use judged::{elsewhere, judged};

#[test]
fn telegram_works_where_nothing_interferes() {
    let mut bench = Bench::open();
    let test = test("telegram", &telegram(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["telegram_tcp_blocking"], false);
    assert_eq!(keys["telegram_http_blocking"], false);
    assert_eq!(keys["telegram_web_status"], "ok");
    assert_eq!(keys["telegram_web_failure"], Value::Null);
    assert_eq!(keys["requests"].as_array().map(Vec::len), Some(13));
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
}

#[test]
fn telegrams_data_centres_dropped_by_address_are_blocked_endpoints() {
    let mut open = Bench::open();
    let healthy = test("telegram", &telegram(&mut open));
    let baseline = elsewhere(&*healthy, &open.measure(&healthy, None));
    let dropped: Vec<String> = (2..=7).map(|number| address(number) + "/32").collect();
    let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
    let mut bench = Bench::with_profile("tspu-2022", &[("net.blocked", &dropped)]);
    let test = test("telegram", &telegram(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["telegram_tcp_blocking"], true);
    assert_eq!(keys["telegram_http_blocking"], true);
    assert_eq!(keys["telegram_web_status"], "ok");
    let (summary, mechanisms) = judged(&*test, &keys, &baseline);
    assert_eq!(summary.state, State::Blocked);
    assert_eq!(summary.mechanism.as_deref(), Some("messenger.endpoints"), "{mechanisms:?}");
}

#[test]
fn telegrams_web_silenced_by_name_leaves_the_data_centres_alone() {
    let mut bench = Bench::with_profile("tspu-2024", &[("sni.signal", &[".telegram.org"])]);
    let test = test("telegram", &telegram(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["telegram_tcp_blocking"], false);
    assert_eq!(keys["telegram_web_status"], "blocked");
    assert_eq!(keys["telegram_web_failure"], "generic_timeout_error");
}

#[test]
fn whatsapp_works_where_nothing_interferes() {
    let mut bench = Bench::open();
    whatsapp(&mut bench);
    let test = test("whatsapp", &Value::Null);
    let keys = bench.measure(&test, None);
    assert_eq!(keys["whatsapp_endpoints_status"], "ok");
    assert_eq!(keys["whatsapp_endpoints_blocked"], json!([]));
    assert_eq!(keys["registration_server_status"], "ok");
    assert_eq!(keys["whatsapp_web_status"], "ok");
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
}

#[test]
fn whatsapps_names_taken_out_of_dns_are_blocked_by_dns() {
    let mut open = Bench::open();
    whatsapp(&mut open);
    let test = test("whatsapp", &Value::Null);
    let baseline = elsewhere(&*test, &open.measure(&test, None));
    let mut bench = Bench::open();
    whatsapp(&mut bench);
    bench.lie("whatsapp.net", NameRule::NxDomain);
    bench.lie("whatsapp.com", NameRule::NxDomain);
    let keys = bench.measure(&test, None);
    assert_eq!(keys["whatsapp_endpoints_status"], "blocked");
    assert_eq!(keys["whatsapp_endpoints_blocked"].as_array().map(Vec::len), Some(16));
    assert_eq!(keys["registration_server_failure"], "dns_nxdomain_error");
    assert_eq!(keys["whatsapp_web_failure"], "dns_nxdomain_error");
    let (summary, mechanisms) = judged(&*test, &keys, &baseline);
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.iter().any(|mechanism| mechanism.starts_with("dns")), "{mechanisms:?}");
}

#[test]
fn facebook_messenger_works_where_nothing_interferes() {
    let mut bench = Bench::open();
    let test = test("facebook_messenger", &facebook(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["facebook_dns_blocking"], false);
    assert_eq!(keys["facebook_tcp_blocking"], false);
    assert_eq!(keys["facebook_edge_reachable"], true);
    assert_eq!(keys["facebook_stun_reachable"], Value::Null);
    assert_eq!(keys["queries"][0]["answers"][0]["asn"], 32_934);
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
}

#[test]
fn facebooks_names_that_resolve_elsewhere_are_dns_blocking() {
    let mut bench = Bench::open();
    let test = test("facebook_messenger", &facebook(&mut bench));
    for name in ["facebook.com", "fbcdn.net", "fbsbx.com"] {
        bench.lie(name, NameRule::Addresses(vec![[10, 10, 34, 36].into()]));
    }
    let keys = bench.measure(&test, None);
    assert_eq!(keys["facebook_dns_blocking"], true);
    assert_eq!(keys["facebook_tcp_blocking"], false);
    assert_eq!(keys["facebook_b_api_dns_consistent"], false);
    assert_eq!(keys["facebook_b_api_reachable"], Value::Null);
    let (summary, mechanisms) = judged(&*test, &keys, &okno_detect::Baseline::empty());
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.iter().any(|mechanism| mechanism.starts_with("dns")), "{mechanisms:?}");
}

#[test]
fn facebooks_address_dropped_is_tcp_blocking() {
    let mut open = Bench::open();
    let options = facebook(&mut open);
    let test = test("facebook_messenger", &options);
    let baseline = elsewhere(&*test, &open.measure(&test, None));
    let mut bench = Bench::with_profile("tspu-2022", &[("net.blocked", &["11.18.0.2/32"])]);
    facebook(&mut bench);
    let keys = bench.measure(&test, None);
    assert_eq!(keys["facebook_dns_blocking"], false);
    assert_eq!(keys["facebook_tcp_blocking"], true);
    let (summary, mechanisms) = judged(&*test, &keys, &baseline);
    assert_eq!(summary.state, State::Blocked);
    // In this small world all names lead to one address, as behind a hotspot, so the connections themselves
    // accuse nobody; that the servers work elsewhere does.
    assert!(mechanisms.iter().any(|mechanism| mechanism == "messenger.endpoints"), "{mechanisms:?}");
}

#[test]
fn facebook_reset_by_name_is_not_seen_as_the_manual_says() {
    let mut bench = Bench::with_profile("tspu-2022", &[("sni.blocked", &[".facebook.com", ".fbcdn.net"])]);
    let test = test("facebook_messenger", &facebook(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["facebook_tcp_blocking"], false);
    assert!(test.manual().blind.contains("server name"));
}

#[test]
fn signal_works_where_nothing_interferes() {
    let mut bench = Bench::open();
    signal(&mut bench);
    let test = test("signal", &Value::Null);
    let keys = bench.measure(&test, None);
    assert_eq!(keys["signal_backend_status"], "ok");
    assert_eq!(keys["signal_backend_failure"], Value::Null);
    assert_eq!(keys["tls_handshakes"].as_array().map(Vec::len), Some(4));
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
}

#[test]
fn signal_silenced_after_the_hello_is_blocked() {
    let mut open = Bench::open();
    signal(&mut open);
    let test = test("signal", &Value::Null);
    let baseline = elsewhere(&*test, &open.measure(&test, None));
    let mut bench = Bench::with_profile("tspu-2024", &[("sni.signal", &[".signal.org"])]);
    signal(&mut bench);
    let keys = bench.measure(&test, None);
    assert_eq!(keys["signal_backend_status"], "blocked");
    assert_eq!(keys["signal_backend_failure"], "generic_timeout_error");
    let (summary, mechanisms) = judged(&*test, &keys, &baseline);
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.iter().any(|mechanism| mechanism.starts_with("tls.timeout")), "{mechanisms:?}");
}

#[test]
fn signals_servers_with_a_certificate_of_somebody_else_are_blocked() {
    let mut bench = Bench::open();
    signal(&mut bench);
    let forged = bench.foreign_tls(&["chat.signal.org"], &["http/1.1"]);
    let server = bench.server("chat.signal.org");
    bench.serve(server, move |net| {
        okno_lab::services::web::serve_https(net, 443, shared(forged), shared(Web::of_page("ok")))
    });
    let test = test("signal", &Value::Null);
    let keys = bench.measure(&test, None);
    assert_eq!(keys["signal_backend_failure"], "ssl_unknown_authority");
}
