//! Pairs that look alike to a client, told apart: tunnels, calls, and the interception of DNS.
//!
//! Each world has one cause on the path; the probe measures, ingest reads, detect judges, for several seeds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use core::net::IpAddr;
use std::rc::Rc;

use okno_censor::profile::Profile;
use okno_censor::{Direction, Middlebox, Verdict};
use okno_detect::{Baseline, Facts, Judge, Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_ingest::{Extractor, Line, Origin};
use okno_lab::probe::{Bench, LabNet, Server};
use okno_lab::services::dns::{DnsServer, NameRule, Resolver, Zones};
use okno_lab::services::shared;
use okno_lab::world::{LinkId, Side};
use okno_probe::Experiment;
use okno_probe::helper::udp_echo::{self, EchoSetup};
use okno_probe::nettests::calls::Calls;
use okno_probe::nettests::vpn_protocols::VpnProtocols;
use okno_wire::{Instant, PacketView};
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 2, 3];

/// What detect says: state, mechanism and rule of the first verdict that is of the test's own layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    state: String,
    mechanism: String,
    rule: String,
}

fn judged(test: &str, input: &str, keys: &Value) -> Said {
    let text = json!({
        "test_name": test, "probe_cc": "RU", "probe_asn": "AS12389", "input": input,
        "measurement_start_time": "2025-10-20 10:00:00", "test_keys": keys,
    })
    .to_string();
    let (reference, rules) = (Reference::empty(), Ruleset::native());
    let (baseline, knowledge) = (Baseline::empty(), Knowledge::empty());
    let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let out = Extractor::new(&reference).line(Origin { source: "test", line }, &text);
    let measurement = out.measurement.as_ref().unwrap();
    let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
    let mut verdicts = Vec::new();
    Judge::new(&rules, &baseline, &knowledge).judge(&facts, &mut verdicts);
    assert_eq!(verdicts.len(), 1, "one question, one verdict: {verdicts:?}");
    Said {
        state: verdicts[0].state.as_str().to_owned(),
        mechanism: verdicts[0].mechanism.as_deref().unwrap_or("").to_owned(),
        rule: verdicts[0].rule.to_string(),
    }
}

/// A profile's rules alone, whatever lists say of addresses.
fn profile(words: &str, rules: &[&str]) -> Box<dyn Middlebox> {
    let mut profile = Profile::named(words).unwrap();
    profile.rules.retain(|rule| rules.contains(&rule.id.as_str()));
    assert_eq!(profile.rules.len(), rules.len());
    Box::new(profile.engine().unwrap())
}

fn helper(bench: &mut Bench) -> Server {
    let server = bench.server("helper.example");
    serve(bench, server, true);
    server
}

fn serve(bench: &mut Bench, server: Server, udp: bool) {
    let tls = okno_lab::tls::ground(&[]);
    bench.serve(server, move |net| async move {
        let world = LabNet::new(net, None, tls).world();
        let mut setup = EchoSetup::at(IpAddr::from([0, 0, 0, 0]));
        if !udp {
            setup.udp.clear();
        }
        udp_echo::serve(&world, &setup).unwrap();
    });
}

fn arms(keys: &Value) -> String {
    let arm = |arm: &Value| {
        format!(
            "{:<20} {:<22} {:<10} {:<7} loss {:<6} value {:<5} {}\n",
            arm["name"].as_str().unwrap(),
            arm["failure"].as_str().unwrap_or("-"),
            arm["failed_at"].as_str().unwrap(),
            arm["note"].as_str().unwrap_or(""),
            arm["loss"],
            arm["value"],
            arm["t"],
        )
    };
    keys["arms"].as_array().unwrap().iter().map(arm).collect()
}

fn vpn(bench: &mut Bench, protocol: &str) -> (Said, Value) {
    let test: Rc<dyn Experiment> = Rc::new(VpnProtocols::default());
    let input = format!("{protocol}://helper.example");
    let keys = bench.measure(&test, Some(&input));
    (judged("vpn_protocols", &input, &keys), keys)
}

fn call(bench: &mut Bench, part: &str) -> (Said, Value) {
    let test: Rc<dyn Experiment> = Rc::new(Calls::default());
    let input = format!("{part}://helper.example");
    let keys = bench.measure(&test, Some(&input));
    (judged("calls", &input, &keys), keys)
}

/// Rules of a profile of a test's own.
fn rules(text: &str) -> Box<dyn Middlebox> {
    let head = "name = \"test\"\ntitle = \"test\"\nsummary = \"a test\"\ncountry = \"ZZ\"\n";
    Box::new(Profile::parse("test", &format!("{head}{text}")).unwrap().engine().unwrap())
}

/// Drops every datagram of UDP but DNS.
#[derive(Debug)]
struct NoUdp;

impl Middlebox for NoUdp {
    fn on_packet(
        &mut self,
        _: Instant,
        _: Direction,
        packet: &PacketView<'_>,
        _: &mut okno_censor::Context<'_>,
    ) -> Verdict {
        let dns = packet.source_end().port == 53 || packet.destination_end().port == 53;
        if packet.udp().is_some() && !dns { Verdict::Drop } else { Verdict::Pass }
    }

    fn on_timer(&mut self, _: Instant, _: &mut okno_censor::Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

/// A line that loses datagrams of every kind.
fn lose(bench: &mut Bench, share: f64) {
    // The bench's first link is the probe's own.
    let link = LinkId(0);
    for side in [Side::A, Side::B] {
        let setup = bench.world.link_setup(link, side).with_loss(share);
        bench.world.change_link(link, side, setup);
    }
}

fn expect(said: &Said, keys: &Value, state: &str, mechanism: &str, what: &str) {
    let fits = said.state == state && said.mechanism == mechanism;
    assert!(fits, "{what}: {said:?}, expected {state} {mechanism}\n{}", arms(keys));
}

const TUNNELS: [(&str, &str); 5] = [
    ("wireguard", "vpn.wireguard"),
    ("openvpn-udp", "vpn.openvpn"),
    ("openvpn-tcp", "vpn.openvpn"),
    ("ikev2", "vpn.ike"),
    ("l2tp", "vpn.l2tp"),
];

#[test]
fn a_filtered_tunnel_is_named_and_an_open_path_accuses_nobody() {
    for seed in SEEDS {
        for (protocol, mechanism) in TUNNELS {
            let mut bench = Bench::new(seed, Some(profile("tspu-2025@2025-10-20", &["vpn-2023"])));
            helper(&mut bench);
            let (said, keys) = vpn(&mut bench, protocol);
            expect(&said, &keys, "blocked", mechanism, protocol);
            let mut bench = Bench::new(seed, None);
            helper(&mut bench);
            let (said, keys) = vpn(&mut bench, protocol);
            expect(&said, &keys, "ok", "", protocol);
        }
    }
}

#[test]
fn one_protocol_filtered_all_udp_dropped_and_a_dead_host_are_three_things() {
    for seed in SEEDS {
        let mut bench = Bench::new(seed, Some(profile("tspu-2025@2025-10-20", &["vpn-2023"])));
        helper(&mut bench);
        let (said, keys) = vpn(&mut bench, "wireguard");
        expect(&said, &keys, "blocked", "vpn.wireguard", "one protocol");

        let mut bench = Bench::new(seed, Some(Box::new(NoUdp)));
        helper(&mut bench);
        for (said, keys) in [vpn(&mut bench, "wireguard"), call(&mut bench, "stun")] {
            expect(&said, &keys, "blocked", "udp.drop", "all UDP");
        }

        let mut bench = Bench::new(seed, None);
        let server = helper(&mut bench);
        bench.world.set_host_up(server.node, false);
        let (said, keys) = vpn(&mut bench, "wireguard");
        expect(&said, &keys, "insufficient", "", "a dead host");

        let mut bench = Bench::new(seed, None);
        let server = bench.server("helper.example");
        serve(&mut bench, server, false);
        let (said, keys) = vpn(&mut bench, "wireguard");
        expect(&said, &keys, "insufficient", "", "a host that does not listen");
    }
}

/// 25 packets both ways, then silence, whatever they carry (June 2025).
const BUDGET: &str = r#"
[[rule]]
id = "budget"
technique = "packet_budget"
mechanism = "tcp.packet_budget"
title = "25 packets"
tag = "F"
confidence = "medium"
source = "N4P490"
[rule.params]
packets = { value = 25, unknown = true }
"#;

#[test]
fn a_budget_of_packets_is_told_from_a_filter_of_the_protocol_before_it() {
    for seed in SEEDS {
        for (protocol, _) in TUNNELS.into_iter().filter(|(protocol, _)| *protocol != "openvpn-tcp") {
            let mut bench = Bench::new(seed, Some(rules(BUDGET)));
            helper(&mut bench);
            let (said, keys) = vpn(&mut bench, protocol);
            expect(&said, &keys, "blocked", "tcp.packet_budget", protocol);
        }
        let both = format!(
            "{BUDGET}{}",
            r#"
[[rule]]
id = "tunnels"
technique = "vpn"
mechanism = "vpn"
title = "tunnels"
tag = "F"
confidence = "high"
source = "N4P274"
[rule.params]
wireguard_data = { value = 2, unknown = true }
"#
        );
        let mut bench = Bench::new(seed, Some(rules(&both)));
        helper(&mut bench);
        let (said, keys) = vpn(&mut bench, "wireguard");
        expect(&said, &keys, "blocked", "vpn.wireguard", "both");
    }
}

/// A filter of fully encrypted flows by the sizes of what is inside (April 2024).
const SIZES: &str = r#"
[[rule]]
id = "sizes"
technique = "encapsulated"
mechanism = "vpn.fully_encrypted"
title = "sizes"
tag = "F"
confidence = "medium"
source = "N4P363"
[rule.params]
client_packets = { value = 3, unknown = true }
min_payload = { value = 411, unknown = true }
"#;

#[test]
fn a_featureless_protocol_is_told_by_sizes_and_an_open_path_is_open() {
    for seed in SEEDS {
        let mut bench = Bench::new(seed, Some(rules(SIZES)));
        helper(&mut bench);
        let (said, keys) = vpn(&mut bench, "shadowsocks");
        expect(&said, &keys, "blocked", "vpn.fully_encrypted", "sizes");
        for protocol in ["shadowsocks", "shadowsocks-udp"] {
            let mut bench = Bench::new(seed, None);
            helper(&mut bench);
            let (said, keys) = vpn(&mut bench, protocol);
            expect(&said, &keys, "ok", "", protocol);
        }
    }
}

/// Recognised protocols keep a share of their packets.
fn capacity(protocols: &str, share: f64) -> Box<dyn Middlebox> {
    rules(&format!(
        r#"
[[rule]]
id = "capacity"
technique = "capacity"
mechanism = "degradation"
title = "capacity"
tag = "V"
confidence = "low"
source = "TSPUDOC"
[rule.params]
protocols = {{ value = [{protocols}], unknown = true }}
pass_share = {{ value = {share}, unit = "of packets", unknown = true }}
"#
    ))
}

#[test]
fn random_loss_of_one_protocol_and_a_lossy_path_are_told_apart() {
    for seed in SEEDS {
        for share in [0.5, 0.75] {
            let mut bench = Bench::new(seed, Some(capacity("\"rtp\"", share)));
            helper(&mut bench);
            let (said, keys) = call(&mut bench, "rtp");
            expect(&said, &keys, "throttled", "degradation", &format!("media at {share}"));
            let mut bench = Bench::new(seed, Some(capacity("\"wireguard\"", share)));
            helper(&mut bench);
            let (said, keys) = vpn(&mut bench, "wireguard");
            expect(&said, &keys, "throttled", "degradation", &format!("wireguard at {share}"));
        }
        for loss in [0.08, 0.25] {
            for part in ["stun", "turn", "media", "rtp", "dtls"] {
                let mut bench = Bench::new(seed, None);
                helper(&mut bench);
                lose(&mut bench, loss);
                let (said, keys) = call(&mut bench, part);
                let harmless = matches!(said.state.as_str(), "insufficient" | "ok");
                assert!(harmless, "{part} at a loss of {loss}: {said:?}\n{}", arms(&keys));
            }
            for (protocol, _) in TUNNELS {
                let mut bench = Bench::new(seed, None);
                helper(&mut bench);
                lose(&mut bench, loss);
                let (said, keys) = vpn(&mut bench, protocol);
                let harmless = matches!(said.state.as_str(), "insufficient" | "ok");
                assert!(harmless, "{protocol} at a loss of {loss}: {said:?}\n{}", arms(&keys));
            }
        }
    }
}

#[test]
fn calls_lose_stun_on_the_messengers_ports_and_nothing_else() {
    for seed in SEEDS {
        for part in ["stun", "turn", "media"] {
            let censor = profile("tspu-2025@2025-10-20", &["calls-whatsapp", "calls-telegram"]);
            let mut bench = Bench::new(seed, Some(censor));
            helper(&mut bench);
            let (said, keys) = call(&mut bench, part);
            expect(&said, &keys, "blocked", "calls.stun", part);
            let mut bench = Bench::new(seed, None);
            helper(&mut bench);
            let (said, keys) = call(&mut bench, part);
            expect(&said, &keys, "ok", "", part);
        }
    }
}

#[test]
fn a_filtered_dtls_hello_is_told_from_dtls_that_is_filtered_whatever_its_hello() {
    for seed in SEEDS {
        let censor = profile("tspu-2026@2026-04-15", &["snowflake-2026"]);
        let mut bench = Bench::new(seed, Some(censor));
        helper(&mut bench);
        let (said, keys) = call(&mut bench, "dtls");
        expect(&said, &keys, "blocked", "tor.snowflake", "one hello");
        let mut bench = Bench::new(seed, Some(capacity("\"dtls\"", 0.0)));
        helper(&mut bench);
        let (said, keys) = call(&mut bench, "dtls");
        expect(&said, &keys, "blocked", "calls", "any hello");
    }
}

#[test]
fn the_same_seed_gives_the_same_arms_byte_for_byte() {
    let run = |seed| {
        let mut bench = Bench::new(seed, Some(capacity("\"rtp\"", 0.5)));
        helper(&mut bench);
        call(&mut bench, "rtp").1.to_string()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// The name under suspicion.
const NAME: &str = "suspected.example";
/// The public resolver, and the national one, which is the fifth server.
const PUBLIC: &str = "11.18.0.1";
const NATIONAL: &str = "11.18.0.5";

fn address_of(bench: &Bench, name: &str) -> IpAddr {
    let found = bench.zones.borrow().find(name, 1).unwrap();
    IpAddr::from(<[u8; 4]>::try_from(found[0].data.as_slice()).unwrap())
}

/// A bench with the suspected and a neutral name, a host that runs no resolver, a whoami name that names the
/// public resolver, and a national resolver that denies the suspected name and is named by another whoami.
fn resolvers(seed: u64, censor: Option<Box<dyn Middlebox>>) -> Bench {
    let mut bench = Bench::new(seed, censor);
    for name in [NAME, "neutral.example", "silent.example"] {
        bench.server(name);
    }
    let national = bench.server_at_home("national.example");
    assert_eq!(national.v4, NATIONAL.parse::<IpAddr>().unwrap());
    bench.zones.borrow_mut().set_addresses("whoami.example", 1, &[PUBLIC.parse().unwrap()]);
    let mut zones = Zones::default();
    zones.set_addresses("neutral.example", 60, &[address_of(&bench, "neutral.example")]);
    zones.set_addresses("whoami.example", 1, &["193.232.230.48".parse().unwrap()]);
    let policy = shared(Resolver::new(shared(zones)));
    bench.serve(national, |net| DnsServer::new(net, policy).serve(53));
    bench
}

/// Another resolver abroad, with this rule for the suspected name and this for the neutral one.
fn another(bench: &mut Bench, suspected: Option<NameRule>, neutral: Option<NameRule>) -> Server {
    let server = bench.server("another.example");
    let mut policy = Resolver::new(bench.zones.clone());
    for (name, rule) in [(NAME, suspected), ("neutral.example", neutral)] {
        if let Some(rule) = rule {
            policy.rules.insert(name.to_owned(), rule);
        }
    }
    let policy = shared(policy);
    let (dot, doh) =
        (bench.tls(&["another.example"], &["dot"]), bench.tls(&["another.example"], &["http/1.1"]));
    let [udp, tcp, tls, https] = [(); 4].map(|()| policy.clone());
    bench.serve(server, |net| DnsServer::new(net, udp).serve(53));
    bench.serve(server, |net| DnsServer::new(net, tcp).serve_stream(53, None));
    bench.serve(server, |net| DnsServer::new(net, tls).serve_stream(853, Some(dot)));
    bench.serve(server, |net| DnsServer::new(net, https).serve_https(443, doh));
    server
}

fn intercepted(bench: &mut Bench, resolver: IpAddr, certificate: &str) -> (Said, Value) {
    let options = json!({
        "neutral": "neutral.example", "whoami": "whoami.example", "certificate_name": certificate,
        "no_resolver": address_of(bench, "silent.example").to_string(),
    });
    let test = okno_probe::nettests::by_name("dns_interception", &options).unwrap();
    let input = format!("dns://{resolver}/{NAME}");
    let keys = bench.measure(&test, Some(&input));
    (judged("dns_interception", &input, &keys), keys)
}

fn public(bench: &mut Bench) -> (Said, Value) {
    intercepted(bench, PUBLIC.parse().unwrap(), "dns.example")
}

/// Queries over UDP to these addresses are turned to the national resolver.
fn turned(networks: &str) -> Box<dyn Middlebox> {
    rules(&format!(
        r#"
[lists.turned]
kind = "networks"
title = "turned"
source = "N4P657"
entries = ["{networks}"]

[[rule]]
id = "dnat"
technique = "dns_redirect"
mechanism = "dns.redirect"
title = "turned"
tag = "F"
confidence = "medium"
source = "N4P657"
lists = {{ networks = "turned" }}
[rule.params]
resolvers = {{ value = ["{NATIONAL}"], unknown = true }}
"#
    ))
}

/// Queries for the suspected name get a forged answer, which races the real one or takes its place.
fn forged(answer: &str, races: bool) -> Box<dyn Middlebox> {
    rules(&format!(
        r#"
[lists.suspected]
kind = "names"
title = "suspected"
source = "N4P657"
entries = ["{NAME}"]

[[rule]]
id = "forge"
technique = "dns_forge"
mechanism = "dns.nxdomain"
title = "forged"
tag = "F"
confidence = "medium"
source = "N4P657"
lists = {{ names = "suspected" }}
[rule.params]
answer = {{ value = ["{answer}"], unknown = true }}
races = {{ value = {races}, unknown = true }}
"#
    ))
}

#[test]
fn queries_that_are_turned_are_told_from_a_resolvers_policy_and_from_a_broken_resolver() {
    for seed in SEEDS {
        for networks in ["0.0.0.0/0", "11.18.0.1"] {
            let mut bench = resolvers(seed, Some(turned(networks)));
            let (said, keys) = public(&mut bench);
            expect(&said, &keys, "blocked", "dns.redirect", networks);
        }
        let mut bench = resolvers(seed, None);
        let own = another(&mut bench, Some(NameRule::NxDomain), None);
        let (said, keys) = intercepted(&mut bench, own.v4, "another.example");
        expect(&said, &keys, "insufficient", "", "the resolver's own policy");
        assert_eq!(said.rule, "dns.interception.policy");

        let mut bench = resolvers(seed, None);
        let broken = Some(NameRule::Servfail);
        let own = another(&mut bench, broken.clone(), broken);
        let (said, keys) = intercepted(&mut bench, own.v4, "another.example");
        expect(&said, &keys, "insufficient", "", "a broken resolver");
        assert_eq!(said.rule, "dns.interception.broken");

        let mut bench = resolvers(seed, None);
        bench.lie(NAME, NameRule::NxDomain);
        let (said, keys) = public(&mut bench);
        expect(&said, &keys, "blocked", "dns.nxdomain", "the network's own resolver denies");
        assert_eq!(said.rule, "dns.interception.system_policy");

        let mut bench = resolvers(seed, None);
        let (said, keys) = public(&mut bench);
        expect(&said, &keys, "ok", "", "an open path");
    }
}

#[test]
fn an_answer_in_the_resolvers_place_is_told_from_one_that_races_it() {
    for seed in SEEDS {
        for (answer, races, mechanism, rule) in [
            ("nxdomain", false, "dns.nxdomain", "dns.interception.by_name.denies"),
            ("nxdomain", true, "dns.nxdomain", "dns.interception.race.denies"),
            ("10.10.34.34", false, "dns.injection.bogon", "dns.interception.by_name.bogon"),
            ("10.10.34.34", true, "dns.injection.bogon", "dns.interception.race.bogon"),
            ("8.7.198.46", true, "dns.injection.other", "dns.interception.race"),
            ("silence", false, "dns.timeout", "dns.interception.forged.silent.tcp"),
        ] {
            let mut bench = resolvers(seed, Some(forged(answer, races)));
            let (said, keys) = public(&mut bench);
            let what = format!("{answer} {races}");
            expect(&said, &keys, "blocked", mechanism, &what);
            assert_eq!(said.rule, rule, "{what}");
        }
    }
}

/// Sends every answer of DNS twice, as a network that duplicates packets does.
#[derive(Debug)]
struct Twice;

impl Middlebox for Twice {
    fn on_packet(
        &mut self,
        _: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut okno_censor::Context<'_>,
    ) -> Verdict {
        if direction == Direction::Down && packet.udp().is_some() && packet.source_end().port == 53 {
            context.effects.injections.push(okno_censor::Injection {
                direction,
                packet: packet.bytes().to_vec(),
                delay: core::time::Duration::from_millis(3),
            });
        }
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut okno_censor::Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn a_second_answer_that_says_the_same_accuses_nobody() {
    for seed in SEEDS {
        let mut bench = resolvers(seed, Some(Box::new(Twice)));
        let (said, keys) = public(&mut bench);
        let second =
            keys["arms"].as_array().unwrap().iter().find(|arm| arm["name"] == "target.second").unwrap();
        assert_eq!(second["note"], "same");
        expect(&said, &keys, "ok", "", "duplicates");
    }
}

#[test]
fn no_test_key_holds_the_address_of_the_resolver_that_asks() {
    let mut bench = resolvers(1, Some(turned("11.18.0.1")));
    let (_, keys) = public(&mut bench);
    let text = keys.to_string();
    assert!(text.contains("193.232.230.0/24") && !text.contains("193.232.230.48"));
}
