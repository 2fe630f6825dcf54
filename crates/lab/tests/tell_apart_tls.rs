//! Pairs that look alike to a client, told apart: names, versions, ECH, resets, silence and certificates.
//!
//! Each world has one cause on the path, or none; the probe measures, ingest reads, detect judges, for
//! several seeds. The rows are those of the discriminating table of docs on tests: whose reset, which
//! silence, which cell of a matrix.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use okno_censor::profile::Profile;
use okno_censor::{Context as Cx, Direction, Middlebox, Verdict};
use okno_detect::{Baseline, Facts, Judge, Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_ingest::{Extractor, Line, Origin};
use okno_lab::net::Net;
use okno_lab::probe::{Bench, Server};
use okno_lab::run::{self, MeasurementTruth, Observer, ProbeMeasurement, RunOptions};
use okno_lab::scenario::{Overrides, Scenario};
use okno_lab::services::dns::NameRule;
use okno_lab::services::shared;
use okno_lab::services::web::{Web, serve_https};
use okno_lab::tls::{Authority, TlsVersions, UnknownName, server_config};
use okno_lab::world::{LinkId, Side};
use okno_probe::experiment::Context;
use okno_probe::guard::{Guard, Ledger, Limits};
use okno_probe::nettests::by_name;
use okno_wire::{Instant, PacketView};
use rustls::ServerConfig;
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 2, 3];
const NAME: &str = "suspect.example";

/// What detect says of the test's own question.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    state: String,
    mechanism: String,
    rule: String,
}

impl Said {
    fn new(state: &str, mechanism: &str, rule: &str) -> Self {
        Self { state: state.to_owned(), mechanism: mechanism.to_owned(), rule: rule.to_owned() }
    }
}

/// All verdicts on a measurement.
fn judged(test: &str, input: &str, keys: &Value) -> Vec<Said> {
    let text = json!({
        "test_name": test, "probe_cc": "RU", "probe_asn": "AS12389", "input": input,
        "measurement_start_time": "2025-10-20 10:00:00", "test_keys": keys,
    })
    .to_string();
    let (reference, rules) = (Reference::empty(), Ruleset::native());
    let (baseline, knowledge) = (Baseline::empty(), Knowledge::empty());
    let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let out = Extractor::new(&reference).line(Origin { source: "test", line }, &text);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    let measurement = out.measurement.as_ref().unwrap();
    let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
    let mut verdicts = Vec::new();
    Judge::new(&rules, &baseline, &knowledge).judge(&facts, &mut verdicts);
    let said = verdicts.iter().map(|verdict| {
        Said::new(verdict.state.as_str(), verdict.mechanism.as_deref().unwrap_or(""), &verdict.rule)
    });
    said.collect()
}

/// A profile's rules alone, with these lists.
fn censor(words: &str, rules: &[&str], lists: &[(&str, &str)]) -> Box<dyn Middlebox> {
    let mut profile = Profile::named(words).unwrap();
    profile.rules.retain(|rule| rules.contains(&rule.id.as_str()));
    assert_eq!(profile.rules.len(), rules.len(), "{words} {rules:?}");
    for (list, entries) in lists {
        profile.override_list(list, "the test's list", entries).unwrap();
    }
    Box::new(profile.engine().unwrap())
}

/// A world with a web server that has the suspected name.
fn world(seed: u64, path: Option<Box<dyn Middlebox>>) -> (Bench, Server) {
    let mut bench = Bench::new(seed, path);
    let server = bench.web(NAME, Web::of_page("hello"));
    (bench, server)
}

fn measure(bench: &mut Bench, test: &str, input: &str, options: &Value) -> Value {
    let mut options = options.clone();
    if test == "box_location" {
        // The bench's servers are five hops away.
        options["most_hops"] = json!(6);
    }
    let options = &options;
    let experiment = by_name(test, options).unwrap();
    bench.measure(&experiment, Some(input))
}

/// What is said of the test in this world, the same for every seed.
fn said(test: &str, options: &Value, make: impl Fn(u64) -> Bench) -> Said {
    let mut all: Vec<Said> = Vec::new();
    for seed in SEEDS {
        let keys = measure(&mut make(seed), test, NAME, options);
        let verdicts = judged(test, NAME, &keys);
        let own = verdicts.iter().find(|said| said.rule.contains(rule_family(test)));
        let own = own.unwrap_or_else(|| panic!("{test}: {verdicts:?}\n{}", keys["arms"]));
        for other in &verdicts {
            let harmless = other == own || other.state != "blocked" || other.mechanism == own.mechanism;
            assert!(harmless, "{test}, seed {seed}: {verdicts:?}");
        }
        all.push(own.clone());
    }
    all.dedup();
    assert_eq!(all.len(), 1, "{test}: every seed says the same: {all:?}");
    all.remove(0)
}

fn rule_family(test: &str) -> &str {
    match test {
        "quic_matrix" => "quic.matrix",
        "ech_matrix" => "tls.ech_matrix",
        "box_location" => "tls.location",
        "certificates" => "tls.certificates",
        other => panic!("{other} has no rules of its own"),
    }
}

fn names(words: &str, rule: &str, list: &str) -> impl Fn(u64) -> Bench + use<> {
    let (words, rule, list) = (words.to_owned(), rule.to_owned(), list.to_owned());
    move |seed| world(seed, Some(censor(&words, &[&rule], &[(&list, NAME)]))).0
}

fn open(seed: u64) -> Bench {
    world(seed, None).0
}

fn serve_tls(bench: &mut Bench, server: Server, config: Arc<ServerConfig>) {
    let web = shared(Web::of_page("hello"));
    bench.serve(server, move |net: Net| serve_https(net, 443, shared(config), web));
}

/// A server with a certificate for another name of `authority`, and what it does with names it does not know.
fn odd_tls(bench: &Bench, authority: &Authority, name: &str, unknown: UnknownName) -> Arc<ServerConfig> {
    const DAY: u64 = 86_400_000_000_000;
    let now = bench.world.now().nanos();
    let (from, to) = (Instant::from_nanos(now - 60 * DAY), Instant::from_nanos(now + 3_650 * DAY));
    let identity = authority.issue(&[name], from, to);
    server_config(&[(name, identity)], unknown, TlsVersions::Both, &["http/1.1"])
}

#[test]
fn a_reset_that_was_the_servers_packet_is_told_from_an_injected_one() {
    let none = json!({});
    let rewritten = said("box_location", &none, names("tspu-2022@2022-05-01", "sni-1", "sni.blocked"));
    assert_eq!(rewritten, Said::new("blocked", "tls.reset.sni", "tls.location.reset_rewritten"));
    let injected = said("box_location", &none, names("china-gfw@2025-01-01", "sni", "cn.names"));
    assert_eq!(injected, Said::new("blocked", "tls.reset.sni", "tls.location.reset_injected"));
    assert_eq!(said("box_location", &none, open), Said::new("ok", "", "tls.location.ok"));
}

#[test]
fn silence_after_the_hello_is_told_from_a_hello_that_never_arrives() {
    let none = json!({});
    let after = said("box_location", &none, names("tspu-2022@2022-05-01", "sni-2", "sni.out_registry"));
    assert_eq!(after, Said::new("blocked", "tls.timeout.sni", "tls.location.silence_after_hello"));
    let dropped = said("box_location", &none, names("tspu-2026@2026-06-01", "sni-4", "sni.backup"));
    assert_eq!(dropped, Said::new("blocked", "tls.timeout.sni", "tls.location.hello_dropped"));
}

#[test]
fn a_server_that_sends_an_alert_is_not_called_a_box() {
    let alert = said("box_location", &json!({}), |seed| {
        let mut bench = Bench::new(seed, None);
        let server = bench.server(NAME);
        let authority = Authority::new(seed, "Okno lab root");
        let config = odd_tls(&bench, &authority, "elsewhere.example", UnknownName::Alert);
        serve_tls(&mut bench, server, config);
        bench
    });
    assert_eq!(alert, Said::new("insufficient", "", "tls.location.alert"));
}

#[test]
fn an_address_that_nothing_reaches_is_not_blamed_on_its_name() {
    for test in ["box_location", "ech_matrix", "quic_matrix", "certificates"] {
        let dead = said(test, &json!({}), |seed| {
            let mut bench = Bench::new(seed, None);
            bench.server(NAME);
            bench
        });
        assert_eq!(dead.state, "insufficient", "{test}: {dead:?}");
    }
}

#[test]
fn the_box_that_injects_is_found_at_its_hop() {
    let mut bench = names("china-gfw@2025-01-01", "sni", "cn.names")(1);
    let keys = measure(&mut bench, "box_location", NAME, &json!({}));
    let steps: Vec<(u64, String)> = keys["arms"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|arm| arm["role"] == "step" && arm["variant"] == "target")
        .map(|arm| (arm["ttl"].as_u64().unwrap(), arm["note"].as_str().unwrap().to_owned()))
        .collect();
    let first = steps.iter().find(|(_, note)| note.starts_with("rst")).map(|(ttl, _)| *ttl);
    // probe – r1 – [box] – r2: a hello with TTL 1 ends at r1, one with TTL 2 has passed the box.
    assert_eq!(first, Some(2), "{steps:?}");
    let router = keys["hops"]["neutral"][0]["router"].as_str().unwrap();
    assert_eq!(router, "11.19.0.0/24", "a router's address is cut to its prefix");
}

#[test]
fn quic_by_version_is_told_from_quic_by_name() {
    let none = json!({});
    let version = said("quic_matrix", &none, |seed| {
        world(seed, Some(censor("tspu-2022@2022-05-01", &["quic-1"], &[]))).0
    });
    assert_eq!(version, Said::new("blocked", "quic.timeout.version", "quic.matrix.version_only"));
    let name = said("quic_matrix", &none, names("tspu-2026@2026-06-01", "quic-2", "sni.blocked"));
    assert_eq!(name, Said::new("blocked", "quic.timeout.sni", "quic.matrix.neutral_passes"));
    assert_eq!(said("quic_matrix", &none, open), Said::new("ok", "", "quic.matrix.ok"));
}

#[test]
fn a_server_without_quic_is_not_called_filtered() {
    let without = said("quic_matrix", &json!({}), |seed| {
        let mut bench = Bench::new(seed, None);
        let server = bench.server(NAME);
        let config = bench.tls(&[NAME], &["http/1.1"]);
        serve_tls(&mut bench, server, config);
        bench
    });
    assert_eq!(without.state, "insufficient", "{without:?}");
}

#[test]
fn ech_with_its_outer_name_is_told_from_the_name_alone() {
    let none = json!({});
    let lists = [("sni.ech_outer", NAME), ("net.cloudflare", "11.18.0.0/16")];
    let both = said("ech_matrix", &none, |seed| {
        world(seed, Some(censor("tspu-2024@2024-12-01", &["ech"], &lists))).0
    });
    assert_eq!(both, Said::new("blocked", "tls.timeout.ech", "tls.ech_matrix.name_and_extension"));
    let reset = said("ech_matrix", &none, names("tspu-2022@2022-05-01", "sni-1", "sni.blocked"));
    assert_eq!(reset, Said::new("blocked", "tls.reset.sni", "tls.ech_matrix.name.reset"));
    let silence = said("ech_matrix", &none, names("tspu-2026@2026-06-01", "sni-4", "sni.backup"));
    assert_eq!(silence, Said::new("blocked", "tls.timeout.sni", "tls.ech_matrix.name.silence"));
    assert_eq!(said("ech_matrix", &none, open), Said::new("ok", "", "tls.ech_matrix.ok"));
}

/// What is said of each form of hello, as rules; the same for every seed.
fn said_of_forms(options: &Value, make: impl Fn(u64) -> Bench) -> Vec<Said> {
    let mut all: Vec<Vec<Said>> = Vec::new();
    for seed in SEEDS {
        let verdicts = judged("hello_matrix", NAME, &measure(&mut make(seed), "hello_matrix", NAME, options));
        all.push(verdicts.into_iter().filter(|said| said.rule.contains(".hello.")).collect());
    }
    all.dedup();
    assert_eq!(all.len(), 1, "every seed says the same: {all:?}");
    all.remove(0)
}

#[test]
fn telegrams_hello_is_told_from_a_large_hello_and_from_other_clients() {
    let ok = |layer: &str| Said::new("ok", "", &format!("{layer}.hello.ok"));
    let none = json!({});
    let open_path = [ok("app"), ok("app"), ok("tls"), ok("tls"), ok("tcp")];
    assert_eq!(said_of_forms(&none, open), open_path);
    let telegram = Said::new("blocked", "messenger.mtproxy", "app.hello.telegram.silence");
    let april = said_of_forms(&none, |seed| {
        world(seed, Some(censor("tspu-2026@2026-04-15", &["telegram-tls-april"], &[]))).0
    });
    assert_eq!(april, [telegram.clone(), telegram, ok("tls"), ok("tls"), ok("tcp")]);
    let stall = said_of_forms(&none, |seed| {
        let lists = [("net.foreign_hosting", "11.18.0.0/16")];
        world(seed, Some(censor("tspu-2026@2026-06-15", &["first-segment-stall"], &lists))).0
    });
    assert_eq!(stall[4], Said::new("blocked", "tcp.first_segment", "tcp.hello.first_segment"));
    assert_eq!(stall[2..4], [ok("tls"), ok("tls")], "small hellos fit one segment");
    let by_name = said_of_forms(&none, names("tspu-2026@2026-06-01", "sni-4", "sni.backup"));
    assert!(by_name.iter().all(|said| said.state == "insufficient"), "a name is no form: {by_name:?}");
}

/// Options with the bench's resolver abroad.
fn with_doh(bench: &Bench) -> Value {
    json!({"doh_url": "https://dns.example/dns-query", "doh_address": bench.public_dns.v4.to_string()})
}

/// A site whose name the ISP's resolver gives the address of a server with a certificate of `authority`.
fn substituted(seed: u64, authority: &Authority) -> Bench {
    let (mut bench, _) = world(seed, None);
    let other = bench.server("mitm.example");
    let config = odd_tls(&bench, authority, NAME, UnknownName::FirstCertificate);
    serve_tls(&mut bench, other, config);
    bench.lie(NAME, NameRule::Addresses(vec![other.v4]));
    bench
}

#[test]
fn a_substituted_certificate_is_told_from_a_sites_own_bad_one() {
    let options = with_doh(&Bench::open());
    let somebody = Authority::new(9, "somebody");
    let state = Authority::new(9, "Russian Trusted Root CA");
    let false_one = said("certificates", &options, |seed| substituted(seed, &somebody));
    assert_eq!(false_one, Said::new("blocked", "tls.mitm.self_signed", "tls.certificates.other_address_ok"));
    let of_state = said("certificates", &options, |seed| substituted(seed, &state));
    assert_eq!(of_state, Said::new("blocked", "tls.mitm.ca_signed", "tls.certificates.state_authority"));
    let own = said("certificates", &options, |seed| {
        let mut bench = Bench::new(seed, None);
        let server = bench.server(NAME);
        let config = odd_tls(&bench, &state, NAME, UnknownName::FirstCertificate);
        serve_tls(&mut bench, server, config);
        bench
    });
    assert_eq!(own.state, "insufficient", "a site may choose a state's authority itself: {own:?}");
    assert_eq!(said("certificates", &options, open), Said::new("ok", "", "tls.certificates.ok"));
}

#[test]
fn oonis_tests_of_names_are_judged_as_oonis_measurements_are() {
    let helper = |bench: &mut Bench| bench.web("innocent.example", Web::of_page("hello"));
    let options = json!({"control_sni": "innocent.example"});
    let path = censor("tspu-2022@2022-05-01", &["sni-1"], &[("sni.blocked", NAME)]);
    let (mut bench, _) = world(1, Some(path));
    helper(&mut bench);
    let keys = measure(&mut bench, "sni_blocking", NAME, &options);
    assert_eq!(keys["result"], "interference.reset");
    assert_eq!(keys["control"]["failure"], Value::Null);
    let verdicts = judged("sni_blocking", NAME, &keys);
    assert!(verdicts.iter().any(|said| said.mechanism == "tls.reset.sni"), "{verdicts:?}");
    let (mut bench, _) = world(1, None);
    helper(&mut bench);
    let keys = measure(&mut bench, "sni_blocking", NAME, &options);
    assert_eq!(keys["result"], "success.got_server_hello");
    assert_eq!(keys["target"]["failure"], "ssl_invalid_hostname");
    assert!(judged("sni_blocking", NAME, &keys).iter().all(|said| said.state != "blocked"));
}

#[test]
fn tlsmiddlebox_sees_an_injector_before_the_server_and_none_on_an_open_path() {
    let options =
        json!({"sni_control": "innocent.example", "test_helper": "tlshandshake://innocent.example"});
    let last = |keys: &Value, trace: &str| {
        let steps = keys["iterative_trace"][0][trace]["iterations"].as_array().unwrap().clone();
        let last = steps.last().unwrap().clone();
        (last["ttl"].as_u64().unwrap(), last["handshake"]["failure"].as_str().map(str::to_owned))
    };
    let run = |path: Option<Box<dyn Middlebox>>| {
        let mut bench = Bench::new(1, path);
        bench.web("innocent.example", Web::of_page("hello"));
        measure(&mut bench, "tlsmiddlebox", &format!("tlstrace://{NAME}"), &options)
    };
    let open = run(None);
    assert_eq!(last(&open, "target_trace"), (5, None), "the server is five hops away");
    let routers = open["iterative_trace"][0]["tcp_traceroute"]["iterations"].as_array().unwrap();
    assert_eq!(routers[0]["icmp_error"]["source_ip_prefix"], "11.19.0.0/24");
    let boxed = run(Some(censor("china-gfw@2025-01-01", &["sni"], &[("cn.names", NAME)])));
    assert_eq!(last(&boxed, "target_trace"), (2, Some("connection_reset".to_owned())));
    assert_eq!(last(&boxed, "control_trace"), (5, None));
}

#[test]
fn quicping_is_answered_with_versions_and_a_silent_port_is_a_timeout() {
    let (mut bench, _) = world(1, None);
    bench.server("silent.example");
    let keys = measure(&mut bench, "quicping", NAME, &json!({"repetitions": 3}));
    let pings = keys["pings"].as_array().unwrap();
    assert_eq!((pings.len(), &keys["unexpected_responses"]), (3, &Value::Null));
    for ping in pings {
        assert_eq!(ping["failure"], Value::Null);
        assert!(ping["responses"][0]["supported_versions"].as_array().unwrap().contains(&json!(1)));
        assert!(ping["conn_id_dst"].as_str().unwrap().len() >= 16);
    }
    let path = censor("tspu-2022@2022-05-01", &["quic-1"], &[]);
    let keys = measure(&mut world(1, Some(path)).0, "quicping", NAME, &json!({"repetitions": 2}));
    assert_eq!(keys["pings"][1]["failure"], Value::Null, "a filter of version 1 lets a ping pass");
}

#[test]
fn echcheck_writes_three_handshakes_and_a_filter_breaks_the_one_that_it_looks_for() {
    let options = json!({"outer_name": "outer.example", "other_outer_name": "other.example"});
    let input = format!("https://{NAME}/");
    let failures = |path: Option<Box<dyn Middlebox>>| {
        let keys = measure(&mut world(1, path).0, "echcheck", &input, &options);
        let list = keys["tls_handshakes"].as_array().unwrap().clone();
        let of = |record: &Value| {
            (
                record["outer_server_name"].as_str().map(str::to_owned),
                record["failure"].as_str().map(str::to_owned),
            )
        };
        assert_eq!(list[1]["echconfig"], "GREASE");
        assert!(list.iter().all(|record| record["server_name"] == NAME));
        list.iter().map(of).collect::<Vec<_>>()
    };
    let outer = |name: &str, failure: Option<&str>| (Some(name.to_owned()), failure.map(str::to_owned));
    let open = failures(None);
    assert_eq!(open, [(None, None), outer("outer.example", None), outer("other.example", None)]);
    let lists = [("sni.ech_outer", "outer.example"), ("net.cloudflare", "11.18.0.0/16")];
    let filtered = failures(Some(censor("tspu-2024@2024-12-01", &["ech"], &lists)));
    let timeout = Some("generic_timeout_error");
    assert_eq!(filtered, [(None, None), outer("outer.example", timeout), outer("other.example", None)]);
}

#[test]
fn a_line_that_loses_a_tenth_is_never_called_filtered() {
    for test in ["box_location", "certificates", "ech_matrix", "hello_matrix", "quic_matrix"] {
        for seed in 1..=6 {
            let mut bench = open(seed);
            // The bench's first link is the probe's own.
            for side in [Side::A, Side::B] {
                let setup = bench.world.link_setup(LinkId(0), side).with_loss(0.1);
                bench.world.change_link(LinkId(0), side, setup);
            }
            let options = if test == "certificates" { with_doh(&bench) } else { json!({}) };
            let verdicts = judged(test, NAME, &measure(&mut bench, test, NAME, &options));
            assert!(verdicts.iter().all(|said| said.state != "blocked"), "{test}, {seed}: {verdicts:?}");
        }
    }
}

/// A path that loses packets above this size in silence.
struct Hole(usize);

impl Middlebox for Hole {
    fn on_packet(&mut self, _: Instant, _: Direction, packet: &PacketView<'_>, _: &mut Cx<'_>) -> Verdict {
        if packet.bytes().len() > self.0 { Verdict::Drop } else { Verdict::Pass }
    }

    fn on_timer(&mut self, _: Instant, _: &mut Cx<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn a_path_that_loses_large_packets_is_not_called_a_cut_after_the_first_segment() {
    for seed in SEEDS {
        let (mut bench, _) = world(seed, Some(Box::new(Hole(1_300))));
        let keys = measure(&mut bench, "hello_matrix", NAME, &json!({"large_rounds": 3}));
        let verdicts = judged("hello_matrix", NAME, &keys);
        let lost = verdicts.iter().any(|said| said.rule == "tcp.hello.large_lost");
        assert!(lost && verdicts.iter().all(|said| said.state != "blocked"), "{seed}: {verdicts:?}");
    }
}

#[derive(Default)]
struct Kept(Vec<(String, MeasurementTruth)>);

impl Observer for Kept {
    fn measurement(&mut self, measurement: &ProbeMeasurement<'_>) -> Result<(), String> {
        self.0.push((measurement.line.to_owned(), measurement.truth.clone()));
        Ok(())
    }
}

/// All measurements of `scenarios/tell-apart/hellos.toml`, with what really happened.
fn hellos(seed: u64) -> Vec<(String, MeasurementTruth)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/tell-apart/hellos.toml");
    let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
    let scenario = Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let mut kept = Kept::default();
    let options = RunOptions { threads: 2, ..RunOptions::default() };
    run::run(&scenario, &options, &mut kept).unwrap_or_else(|error| panic!("{error}"));
    kept.0
}

#[test]
fn in_a_scenario_every_accusation_is_of_what_a_box_did_and_nothing_done_is_missed() {
    for seed in [1, 2] {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut innocent = 0;
        for (line, truth) in hellos(seed) {
            let row: Value = serde_json::from_str(&line).unwrap();
            let (test, input) = (row["test_name"].as_str().unwrap(), row["input"].as_str().unwrap_or(""));
            let verdicts = judged(test, input, &row["test_keys"]);
            let accused: Vec<_> = verdicts.iter().filter(|said| said.state == "blocked").collect();
            let acts: Vec<_> =
                truth.acts.iter().filter(|act| act.visible).map(|act| act.mechanism.as_str()).collect();
            let at = format!("seed {seed}, {} {test} {input}: {verdicts:?}; acts {acts:?}\n", truth.cell);
            let arms: String = row["test_keys"]["arms"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|arm| format!("{arm}\n"))
                .collect();
            assert_eq!(accused.is_empty(), acts.is_empty(), "{at}{arms}");
            for said in accused {
                assert!(acts.contains(&said.mechanism.as_str()), "{at}{arms}");
                found.insert(said.rule.clone());
            }
            innocent += usize::from(acts.is_empty());
        }
        for rule in [
            "app.hello.telegram.silence",
            "quic.matrix.neutral_passes",
            "tls.ech_matrix.name.reset",
            "tls.ech_matrix.name_and_extension",
            "tls.location.hello_dropped",
            "tls.location.reset_injected",
            "tls.location.reset_rewritten",
            "tls.location.silence_after_hello",
        ] {
            assert!(found.contains(rule), "seed {seed}: {rule} not in {found:?}");
        }
        assert!(innocent >= 20, "seed {seed}: {innocent}");
    }
}

#[test]
fn no_test_contacts_a_host_that_it_did_not_name() {
    for test in [
        "box_location",
        "certificates",
        "ech_matrix",
        "echcheck",
        "hello_matrix",
        "quic_matrix",
        "quicping",
        "sni_blocking",
        "tlsmiddlebox",
    ] {
        let (mut bench, _) = world(1, None);
        bench.web("example.org", Web::of_page("hello"));
        let options = if test == "certificates" { with_doh(&bench) } else { json!({}) };
        let experiment = by_name(test, &options).unwrap();
        let input = format!("https://{NAME}/");
        let refused = bench.run(move |context| async move {
            let ledger = Ledger::new(Limits::default());
            let contacts = experiment.contacts(Some(&input));
            let guard = Guard::around(context.world.clone(), ledger.clone(), &contacts);
            let guarded = Context { world: guard, ..context };
            experiment.run(&guarded, Some(&input)).await.unwrap();
            let attempts = ledger.attempts();
            assert!(attempts.iter().any(|attempt| attempt.refused.is_none()), "it did something");
            attempts.into_iter().filter(|attempt| attempt.refused.is_some()).collect::<Vec<_>>()
        });
        assert_eq!(refused, [], "{test}");
    }
}

#[test]
fn the_same_seed_gives_the_same_measurement() {
    for test in ["quic_matrix", "ech_matrix", "box_location", "tlsmiddlebox", "quicping"] {
        let run = || measure(&mut open(5), test, NAME, &json!({})).to_string();
        assert_eq!(run(), run(), "{test}");
    }
}
