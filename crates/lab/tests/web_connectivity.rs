//! web_connectivity in the lab: what it writes of each kind of interference, and what ingest and detect make
//! of that.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::net::IpAddr;

use okno_detect::{Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_lab::probe::{Bench, Server};
use okno_lab::score::{Desk, Judged};
use okno_lab::services::dns::NameRule;
use okno_lab::services::web::Web;
use okno_model::{Layer, State};
use okno_probe::helper::web::{Helper, HelperOptions};
use okno_probe::net::Net as _;
use okno_probe::nettests::by_name;
use okno_wire::Endpoint;
use serde_json::{Value, json};

const PAGE: &str = "<html><title>A page of pages</title><body>hello, this is the real page</body></html>";

/// A helper abroad, on port 443 with a certificate.
fn helper(bench: &mut Bench) {
    let server = bench.server("helper.example");
    let tls = bench.tls(&["helper.example"], &["http/1.1"]);
    let world = bench.world_of(server);
    bench.serve(server, move |_| async move {
        let listener = world.listen(Endpoint { ip: "0.0.0.0".parse().unwrap(), port: 443 }).unwrap();
        Helper::new(world.world(), HelperOptions::default()).run(listener, Some(tls)).await;
    });
}

/// A bench with a helper and this profile's box, or none.
fn bench(profile: &str, lists: &[(&str, &[&str])]) -> Bench {
    let mut bench = if profile.is_empty() { Bench::open() } else { Bench::with_profile(profile, lists) };
    helper(&mut bench);
    bench
}

/// Measures with the bench's resolvers, and judges.
fn measure(bench: &mut Bench, url: &str) -> (Value, Judged) {
    measure_as(bench, "0.5", url)
}

/// The same as a probe of this version.
fn measure_as(bench: &mut Bench, variant: &str, url: &str) -> (Value, Judged) {
    let options = json!({
        "variant": variant,
        "udp_resolvers": [bench.public_dns.end(53).to_string()],
        "doh": ["https://dns.example/dns-query"],
    });
    let test = by_name("web_connectivity", &options).unwrap();
    let helper = |context: &mut okno_probe::Context| context.helper = Some("https://helper.example/".into());
    let keys = bench.measure_with(&test, Some(url), helper);
    let judged = judge(&keys, url, test.version());
    (keys, judged)
}

fn judge(keys: &Value, url: &str, version: &str) -> Judged {
    let line = json!({
        "annotations": {}, "data_format_version": "0.2.0", "input": url, "input_hashes": [],
        "measurement_start_time": "2024-06-01 12:00:00", "probe_asn": "AS12389", "probe_cc": "RU",
        "probe_city": null, "probe_ip": "127.0.0.1", "probe_network_name": "lab", "report_id": "",
        "resolver_asn": "AS12389", "resolver_ip": "127.0.0.2", "resolver_network_name": "lab",
        "software_name": "okno", "software_version": "0.1.0", "test_keys": keys,
        "test_name": "web_connectivity", "test_runtime": 1.0,
        "test_start_time": "2024-06-01 12:00:00", "test_version": version,
    });
    let (rules, reference, knowledge) = (Ruleset::native(), Reference::empty(), Knowledge::empty());
    let desk = Desk::new(&rules, &reference, &knowledge);
    desk.judge(&[line.to_string()]).remove(0).unwrap()
}

/// What was judged in few words, for a failed assertion.
fn told(judged: &Judged) -> String {
    let mut text = format!("{:?}\n", judged.summary);
    for found in &judged.findings {
        text += &format!(
            "  {} {} {} {:.3} by {} of {:?}\n",
            found.layer, found.state, found.mechanism, found.probability, found.rule, found.host
        );
    }
    text
}

fn expect(judged: &Judged, state: State, layer: Layer, mechanism: &str) {
    let summary = &judged.summary;
    let right = summary.state == state
        && summary.layer == Some(layer)
        && summary.mechanism.as_deref().unwrap_or_default().starts_with(mechanism);
    assert!(right, "not {state} at {layer} by {mechanism}:\n{}", told(judged));
}

fn expect_fine(judged: &Judged) {
    assert_eq!(judged.summary.state, State::Ok, "{}", told(judged));
    assert!(!judged.summary.anomaly, "{}", told(judged));
}

#[test]
fn a_healthy_site_is_accessible_over_https_and_http() {
    for url in ["https://site.example/", "http://site.example/"] {
        let mut bench = bench("", &[]);
        bench.web("site.example", Web::of_page(PAGE));
        let (keys, judged) = measure(&mut bench, url);
        assert_eq!((&keys["blocking"], &keys["accessible"]), (&json!(false), &json!(true)));
        assert_eq!(keys["dns_consistency"], "consistent");
        assert_eq!(keys["body_length_match"], true);
        assert_eq!(keys["control"]["ip_info"]["11.18.0.3"]["flags"], 11);
        expect_fine(&judged);
    }
}

#[test]
fn an_injected_answer_is_told_as_dns_interference_though_the_page_came_another_way() {
    let mut bench = bench("turkmenistan", &[("tm.names", &["site.example"])]);
    bench.web("site.example", Web::of_page(PAGE));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["dns_consistency"], "inconsistent");
    assert_eq!(keys["blocking"], "dns");
    assert_eq!(keys["x_dns_flags"].as_u64().unwrap() & 1, 1, "a bogon");
    assert!(!keys["x_dns_duplicate_responses"].as_array().unwrap().is_empty(), "the true answer came late");
    expect(&judged, State::Blocked, Layer::Dns, "dns.injection");
}

#[test]
fn a_resolver_that_denies_a_name_is_told_by_the_failure_and_by_the_others_that_know_it() {
    let mut bench = bench("", &[]);
    bench.web("site.example", Web::of_page(PAGE));
    bench.lie("site.example", NameRule::NxDomain);
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["dns_experiment_failure"], "dns_nxdomain_error");
    assert_eq!(keys["blocking"], "dns");
    expect(&judged, State::Blocked, Layer::Dns, "dns.nxdomain");
}

#[test]
fn a_reset_after_the_name_in_the_hello_is_told_as_such() {
    let mut bench = bench("tspu-2024", &[("sni.blocked", &["site.example"])]);
    bench.web("site.example", Web::of_page(PAGE));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["tls_handshakes"][0]["failure"], "connection_reset");
    assert_eq!(keys["blocking"], "http-failure");
    expect(&judged, State::Blocked, Layer::Tls, "tls.reset");
}

#[test]
fn silence_after_the_name_in_the_hello_is_told_as_such() {
    let mut bench = bench("kazakhstan", &[("kz.names", &["site.example"])]);
    bench.web("site.example", Web::of_page(PAGE));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["tls_handshakes"][0]["failure"], "generic_timeout_error");
    assert_eq!(keys["blocking"], "http-failure");
    expect(&judged, State::Blocked, Layer::Tls, "tls.timeout");
}

#[test]
fn packets_to_an_address_that_are_dropped_are_told_as_tcp_interference() {
    let mut bench = bench("tspu-2022", &[("net.blocked", &["11.18.0.3"])]);
    bench.web("site.example", Web::of_page(PAGE));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["tcp_connect"][0]["status"]["failure"], "generic_timeout_error");
    assert_eq!(keys["blocking"], "tcp_ip");
    expect(&judged, State::Blocked, Layer::Tcp, "tcp.timeout");
}

#[test]
fn a_block_page_in_place_of_the_page_is_told_by_its_difference() {
    let mut bench = bench("ru-legacy-isp", &[("host.registry", &["site.example"])]);
    bench.web("site.example", Web::of_page(&PAGE.replace("hello", &"news ".repeat(400))));
    let (keys, judged) = measure(&mut bench, "http://site.example/");
    assert_eq!((&keys["title_match"], &keys["body_length_match"]), (&json!(false), &json!(false)));
    // Both have a Content-Length, which OONI's list of common headers lacks: its own verdict is deceived.
    assert_eq!((&keys["headers_match"], &keys["blocking"]), (&json!(true), &json!(false)));
    expect(&judged, State::Blocked, Layer::Http, "http.blockpage");
}

#[test]
fn a_throttled_page_is_told_by_its_speed() {
    let mut bench = bench("tspu-2021", &[("sni.twitter_exact", &["site.example"])]);
    bench.web("site.example", Web::of_bytes(400_000));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    let snapshots = keys["network_events"].as_array().unwrap();
    let count = snapshots.iter().filter(|event| event["operation"] == "bytes_received_cumulative").count();
    assert!(count > 20, "{count} snapshots");
    expect(&judged, State::Throttled, Layer::Tls, "tls.throttle");
}

#[test]
fn a_site_that_is_down_for_all_is_nobodys_doing() {
    let mut bench = bench("", &[]);
    bench.server("site.example");
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!((&keys["blocking"], &keys["accessible"]), (&json!(false), &json!(false)));
    assert_eq!(judged.summary.state, State::Down, "{}", told(&judged));
}

#[test]
fn a_server_that_turns_this_country_away_by_itself_is_no_interference() {
    let mut bench = bench("", &[]);
    let block = okno_lab::world::Prefix::new("11.19.0.0".parse().unwrap(), 24);
    bench.web("site.example", Web { refused: vec![block], ..Web::of_page(PAGE) });
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["requests"][0]["response"]["code"], 403);
    assert!(!judged.summary.anomaly, "{}", told(&judged));
}

#[test]
fn a_redirect_is_followed_with_its_cookies_and_each_hop_is_measured() {
    let mut bench = bench("", &[]);
    bench.web("site.example", Web { redirect: "https://www.site.example/".into(), ..Web::of_page("") });
    bench.web("www.site.example", Web::of_page(PAGE));
    let (keys, judged) = measure(&mut bench, "http://site.example/");
    let urls: Vec<&str> =
        keys["requests"].as_array().unwrap().iter().map(|r| r["request"]["url"].as_str().unwrap()).collect();
    assert_eq!(urls, ["https://www.site.example/", "http://site.example/"], "newest first");
    assert_eq!(keys["requests"][0]["request"]["headers"]["Referer"], "http://site.example/");
    assert!(keys["requests"][0]["tags"].as_array().unwrap().contains(&json!("depth=1")));
    assert_eq!(keys["accessible"], true);
    expect_fine(&judged);
}

#[test]
fn eleven_redirects_are_one_too_many() {
    let mut bench = bench("", &[]);
    bench.web("site.example", Web { redirect: "http://site.example/again".into(), ..Web::of_page("") });
    let (keys, judged) = measure(&mut bench, "http://site.example/");
    assert_eq!(keys["requests"].as_array().unwrap().len(), 11);
    assert_eq!(keys["requests"][0]["failure"], "unknown_failure: stopped after too many redirects");
    assert_eq!(keys["blocking"], false, "the helper gives up too");
    assert!(!judged.summary.anomaly, "{}", told(&judged));
}

/// A site whose name has one address here and another abroad, as those of large networks do.
fn two_addresses(bench: &mut Bench) -> [Server; 2] {
    let here = bench.web("site.example", Web::of_page(PAGE));
    let there = bench.server("there.example");
    bench.serve_web(there, &["site.example"], Web::of_page(PAGE));
    [here, there]
}

#[test]
fn other_addresses_of_a_large_network_are_no_interference_when_their_certificates_are_good() {
    let mut bench = bench("", &[]);
    let [_, there] = two_addresses(&mut bench);
    bench.lie("site.example", NameRule::Addresses(vec![there.v4]));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    let tried: Vec<&str> =
        keys["tcp_connect"].as_array().unwrap().iter().map(|c| c["ip"].as_str().unwrap()).collect();
    assert_eq!(tried.len(), 2, "the resolver's and the others'");
    assert_eq!(keys["accessible"], true);
    expect_fine(&judged);
}

#[test]
fn addresses_that_the_helper_alone_found_are_tried_without_the_tag_of_the_classic_test() {
    let mut bench = bench("", &[]);
    bench.web("site.example", Web::of_page(PAGE));
    bench.lie("site.example", NameRule::NxDomain);
    let test = by_name("web_connectivity", &json!({"udp_resolvers": [], "doh": []})).unwrap();
    let keys = bench.measure_with(&test, Some("https://site.example/"), |context| {
        context.helper = Some("https://helper.example/".into());
    });
    assert_eq!(keys["tcp_connect"][0]["ip"], "11.18.0.3");
    let tags = keys["tcp_connect"][0]["tags"].as_array().unwrap();
    assert!(!tags.contains(&json!("classic")));
    assert_eq!(keys["requests"][0]["response"]["code"], 200);
    assert_eq!(keys["x_control_request"]["tcp_connect"], json!([]));
}

#[test]
fn a_blocked_helper_leaves_the_measurement_without_control_and_accuses_nobody() {
    let mut bench = bench("tspu-2024", &[("sni.blocked", &["helper.example"])]);
    bench.web("site.example", Web::of_page(PAGE));
    let (keys, judged) = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["control_failure"], "connection_reset");
    assert_eq!(keys["control"], Value::Null);
    assert_eq!((&keys["blocking"], &keys["accessible"]), (&json!(false), &json!(true)));
    assert!(!judged.summary.anomaly, "{}", told(&judged));
}

#[test]
fn the_same_seed_gives_the_same_measurement_byte_for_byte() {
    let run = || {
        let mut bench = bench("tspu-2024", &[("sni.blocked", &["site.example"])]);
        bench.web("site.example", Web::of_page(PAGE));
        measure(&mut bench, "https://site.example/").0.to_string()
    };
    assert_eq!(run(), run());
}

#[test]
fn an_address_for_a_url_is_measured_without_lookups() {
    let mut bench = bench("", &[]);
    let server = bench.server("site.example");
    bench.serve_web(server, &["11.18.0.3"], Web::of_page(PAGE));
    let (keys, _) = measure(&mut bench, "http://11.18.0.3/");
    let ip: IpAddr = "11.18.0.3".parse().unwrap();
    assert_eq!(server.v4, ip);
    assert_eq!(keys["queries"], json!([]));
    assert_eq!(keys["requests"][0]["response"]["code"], 200);
    assert_eq!(keys["control"]["http_request"]["status_code"], 200);
}

#[test]
fn an_older_probe_finds_the_same_by_fewer_steps() {
    let open: &[(&str, &[&str])] = &[];
    let reset: &[(&str, &[&str])] = &[("sni.blocked", &["site.example"])];
    let dropped: &[(&str, &[&str])] = &[("net.blocked", &["11.18.0.3"])];
    for (profile, lists, url, blocking, expected) in [
        ("", open, "https://site.example/", json!(false), None),
        ("", open, "http://site.example/", json!(false), None),
        ("tspu-2024", reset, "https://site.example/", json!("http-failure"), Some((Layer::Tls, "tls.reset"))),
        ("tspu-2022", dropped, "http://site.example/", json!("tcp_ip"), Some((Layer::Tcp, "tcp.timeout"))),
    ] {
        let mut bench = bench(profile, lists);
        bench.web("site.example", Web::of_page(PAGE));
        let (keys, judged) = measure_as(&mut bench, "0.4", url);
        assert_eq!(keys["blocking"], blocking, "{url} {profile}");
        assert_eq!(keys["queries"].as_array().unwrap().len(), 1, "the system's resolver alone");
        match expected {
            None => expect_fine(&judged),
            Some((layer, mechanism)) => expect(&judged, State::Blocked, layer, mechanism),
        }
    }
}

#[test]
fn an_older_probe_follows_redirects_and_blames_the_resolver_that_denies() {
    let mut bench = bench("", &[]);
    bench.web("site.example", Web { redirect: "https://www.site.example/".into(), ..Web::of_page("") });
    bench.web("www.site.example", Web::of_page(PAGE));
    let (keys, judged) = measure_as(&mut bench, "0.4", "http://site.example/");
    assert_eq!(keys["requests"].as_array().unwrap().len(), 2);
    assert_eq!(keys["x_status"], 1);
    expect_fine(&judged);
    bench.lie("site.example", NameRule::NxDomain);
    let (keys, judged) = measure_as(&mut bench, "0.4", "http://site.example/");
    assert_eq!((&keys["blocking"], &keys["dns_consistency"]), (&json!("dns"), &json!("inconsistent")));
    expect(&judged, State::Blocked, Layer::Dns, "dns.nxdomain");
}

#[test]
fn quic_is_measured_beside_tls_when_that_is_wanted() {
    let mut bench = bench("china-gfw", &[("cn.names", &["blocked.example"])]);
    bench.web("site.example", Web { alt_svc: "h3=\":443\"".into(), ..Web::of_page(PAGE) });
    let options = json!({"udp_resolvers": [], "doh": [], "quic": true});
    let test = by_name("web_connectivity", &options).unwrap();
    let keys = bench.measure_with(&test, Some("https://site.example/"), |context| {
        context.helper = Some("https://helper.example/".into());
    });
    assert_eq!(keys["x_control_request"]["x_quic_enabled"], true);
    assert_eq!(keys["quic_handshakes"][0]["failure"], Value::Null);
    assert_eq!(keys["control"]["quic_handshake"]["11.18.0.3:443"]["status"], true);
    let judged = judge(&keys, "https://site.example/", test.version());
    expect_fine(&judged);
}

#[test]
fn a_forged_public_address_that_races_the_true_answer_is_told_as_dns_interference() {
    for url in ["https://site.example/", "http://site.example/"] {
        let mut bench = bench("china-gfw", &[("cn.names", &["site.example"])]);
        bench.web("site.example", Web::of_page(PAGE));
        let (keys, judged) = measure(&mut bench, url);
        assert_eq!(keys["dns_consistency"], "inconsistent");
        // Names in hellos and requests are reset there too; what matters here is the lookup.
        let found = judged.findings.iter().find(|found| found.layer == Layer::Dns).unwrap();
        assert_eq!((found.state, found.mechanism.as_str()), (State::Blocked, "dns.injection.other"));
        assert!(found.probability > 0.9, "{}", told(&judged));
    }
}
