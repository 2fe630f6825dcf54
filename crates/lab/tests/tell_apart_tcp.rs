//! Pairs that look alike to a client over TCP, told apart: for each, the mechanism and what resembles it.
//!
//! Each world has one cause on the path; the probe measures, ingest reads, detect judges, for several seeds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use okno_censor::profile::Profile;
use okno_censor::{Context as Cx, Direction, Middlebox, Verdict};
use okno_detect::{Baseline, Facts, Judge, Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_ingest::{Extractor, Line, Origin};
use okno_lab::probe::{Bench, LabNet, Server};
use okno_lab::services::web::Web;
use okno_lab::world::{LinkId, LinkSetup, NatSetup, Side};
use okno_probe::Experiment;
use okno_probe::helper::partner;
use okno_probe::helper::web::{Helper, HelperOptions};
use okno_probe::nettests::address_block::AddressBlock;
use okno_probe::nettests::blackout::Blackout;
use okno_probe::nettests::connection_policer::ConnectionPolicer;
use okno_probe::nettests::fragment_census::FragmentCensus;
use okno_probe::nettests::initiation::Initiation;
use okno_probe::nettests::packet_budget::PacketBudget;
use okno_probe::nettests::throttling::Throttling;
use okno_probe::nettests::whitelist::Whitelist;
use okno_wire::{Endpoint, Instant, PacketView};
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 2, 3];

/// What detect says: state, mechanism and rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    state: String,
    mechanism: String,
    rule: String,
}

fn judged(test: &str, keys: &Value) -> Said {
    let text = json!({
        "test_name": test, "probe_cc": "RU", "probe_asn": "AS12389", "input": "https://target.example/",
        "measurement_start_time": "2025-10-20 10:00:00", "test_keys": keys,
        "annotations": {"network_type": "mobile"},
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

type Censor = Option<Box<dyn Middlebox>>;

/// A profile's rules of these names alone, with these lists and parameters (`rule.param`, words).
fn censor(words: &str, rules: &[&str], lists: &[(&str, &[&str])], sets: &[(&str, &str)]) -> Censor {
    let mut profile = Profile::named(words).unwrap();
    profile.rules.retain(|rule| rules.contains(&rule.id.as_str()));
    assert_eq!(profile.rules.len(), rules.len(), "{words} has {rules:?}");
    // In force whatever the world.s date.
    for rule in &mut profile.rules {
        (rule.period, rule.off) = (Default::default(), false);
    }
    for (place, words) in sets {
        let (rule, param) = place.split_once('.').unwrap();
        let rule = profile.rules.iter_mut().find(|one| one.id == rule).unwrap();
        rule.params.get_mut(param).unwrap().choose(place, words).unwrap();
    }
    for (name, entries) in lists {
        profile.override_list(name, "the test's list", &entries.join("\n")).unwrap();
    }
    Some(Box::new(profile.engine().unwrap()))
}

fn partner_of(bench: &mut Bench) -> Server {
    let server = bench.server("partner.example");
    let tls = okno_lab::tls::ground(&[]);
    bench.serve(server, move |net| async move {
        let any = Endpoint { ip: IpAddr::from([0, 0, 0, 0]), port: 443 };
        partner::serve(&LabNet::new(net, None, tls).world(), any).unwrap();
    });
    server
}

fn arms(keys: &Value) -> String {
    let arm = |arm: &Value| {
        format!(
            "{:<22} {:<22} {:<10} {:<14} rx {:<7} good {:<12} loss {:<6} value {:<8} rtt {} {} t {}\n",
            arm["name"].as_str().unwrap(),
            arm["failure"].as_str().unwrap_or("-"),
            arm["failed_at"].as_str().unwrap(),
            arm["note"].as_str().unwrap_or(""),
            arm["received_bytes"],
            arm["goodput"],
            arm["loss"],
            arm["value"],
            arm["rtt_first_ms"],
            arm["rtt_ms"],
            arm["t"],
        )
    };
    keys["arms"].as_array().unwrap().iter().map(arm).collect()
}

/// The probe's own line, both ways.
fn line(bench: &mut Bench, setup: LinkSetup) {
    for side in [Side::A, Side::B] {
        bench.world.change_link(LinkId(0), side, setup);
    }
}

fn measure(bench: &mut Bench, test: impl Experiment + 'static, helper: Option<Server>) -> (Said, Value) {
    let test: Rc<dyn Experiment> = Rc::new(test);
    let keys = bench.measure_with(&test, Some("https://target.example/"), move |context| {
        context.helper_addresses = helper.iter().map(|server| server.v4).collect();
    });
    (judged(test.name(), &keys), keys)
}

/// A path that loses packets above this size in silence.
#[derive(Debug)]
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

/// Runs a world for every seed and demands an answer.
fn demand(world: &str, want: [&str; 3], run: impl Fn(u64) -> (Said, Value)) {
    for seed in SEEDS {
        let (said, keys) = run(seed);
        let got = [said.state.as_str(), said.mechanism.as_str(), said.rule.as_str()];
        assert_eq!(got, want, "{world}, seed {seed}\n{}", arms(&keys));
    }
}

fn throttled(censor: impl Fn() -> Censor, setup: LinkSetup) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        let server = partner_of(&mut bench);
        line(&mut bench, setup);
        measure(&mut bench, Throttling::default(), Some(server))
    }
}

/// Without a partner: the target's own server, under its name and a neutral one.
fn own_page(censor: impl Fn() -> Censor, setup: LinkSetup) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        bench.web("target.example", Web::of_bytes(400_000));
        line(&mut bench, setup);
        measure(&mut bench, Throttling::default(), None)
    }
}

#[test]
fn policing_by_name_shows_at_the_targets_own_server_too() {
    let plain = LinkSetup::millis(2);
    let policed = || censor("tspu-2021", &["twitter-exact"], TWITTER, &[]);
    let said = ["throttled", "tls.throttle.sni", "tls.throttle.neutral_fast"];
    demand("policed", said, own_page(policed, plain));
    let alike = ["ok", "", "tls.throttle.pages_alike"];
    demand("nothing", alike, own_page(|| None, plain));
    demand("a slow line", alike, own_page(|| None, plain.with_rate(200_000)));
}

/// Packets of TLS are lost at random; those of other protocols are not.
fn degraded(share: &'static str) -> impl Fn() -> Censor {
    let text = format!(
        "name = \"capacity\"\ntitle = \"TLS at a share of its packets\"\nsummary = \"for a test\"\ncountry = \"RU\"\n\
         from = 2020-01-01\n[[rule]]\nid = \"capacity\"\ntechnique = \"capacity\"\nmechanism = \"degradation\"\n\
         title = \"TLS\"\ntag = \"V\"\nconfidence = \"low\"\nsource = \"TSPUDOC\"\n[rule.params]\n\
         protocols = {{ value = [\"tls\"], unknown = true }}\n\
         pass_share = {{ value = {share}, unit = \"of packets\", unknown = true }}\n"
    );
    move || Some(Box::new(Profile::parse("capacity.toml", &text).unwrap().engine().unwrap()))
}

const TWITTER: &[(&str, &[&str])] = &[("sni.twitter_exact", &["target.example"])];

#[test]
fn policing_by_name_is_told_from_a_queue_from_loss_and_from_a_degraded_protocol() {
    let plain = LinkSetup::millis(2);
    let policed = || censor("tspu-2021", &["twitter-exact"], TWITTER, &[]);
    let said = ["throttled", "tls.throttle.sni", "tls.throttle.policed"];
    demand("policed", said, throttled(policed, plain));
    demand("nothing", ["ok", "", "tls.throttle.alike"], throttled(|| None, plain));
    let queue = ["ok", "", "tls.throttle.queue"];
    demand("a slow line", queue, throttled(|| None, plain.with_rate(300_000)));
    demand("a slower line", queue, throttled(|| None, plain.with_rate(140_000)));
    demand("a lossy line", ["ok", "", "tls.throttle.alike"], throttled(|| None, plain.with_loss(0.1)));
    let protocol = ["throttled", "degradation", "tls.degraded.protocol"];
    demand("a degraded protocol", protocol, throttled(degraded("0.85"), plain));
    demand("a protocol near its end", protocol, throttled(degraded("0.05"), plain));
    // The name falls silent altogether: the same control, another answer.
    let silent = || censor("tspu-2022", &["sni-4"], &[("sni.backup", &["target.example"])], &[]);
    demand("silence", ["blocked", "tls.timeout.sni", "tls.throttle.name_silent"], throttled(silent, plain));
}

fn budget_bench(bench: &mut Bench) -> PacketBudget {
    bench.web("target.example", Web::of_bytes(100_000));
    bench.web("other.example", Web::of_bytes(100_000));
    bench.web_at_home("home.example", Web::of_bytes(100_000));
    PacketBudget {
        domestic: vec!["https://home.example/".to_owned()],
        foreign: vec!["https://other.example/".to_owned()],
        ..PacketBudget::default()
    }
}

const HOSTING: &[(&str, &[&str])] =
    &[("net.foreign_hosting", &["11.18.0.2/32"]), ("net.l4_exempt", &[]), ("sni.l4_exempt", &[])];

fn budgeted(censor: impl Fn() -> Censor, setup: LinkSetup) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        let test = budget_bench(&mut bench);
        line(&mut bench, setup);
        measure(&mut bench, test, None)
    }
}

#[test]
fn a_packet_budget_is_told_from_a_byte_budget_and_from_a_path_that_loses_large_packets() {
    let plain = LinkSetup::millis(2);
    let budget = |sets: &'static [(&str, &str)]| move || censor("tspu-2025", &["l4-25"], HOSTING, sets);
    let blocked = |rule| ["blocked", "tcp.packet_budget", rule];
    demand("25 packets", blocked("tcp.budget.packets"), budgeted(budget(&[]), plain));
    let bytes: &[(&str, &str)] = &[("l4-25.packets", "off"), ("l4-25.bytes_down", "cloudflare")];
    demand("16 KB down", blocked("tcp.budget.bytes"), budgeted(budget(bytes), plain));
    let spread: &[(&str, &str)] = &[("l4-25.packets", "off"), ("l4-25.bytes_down", "30000")];
    demand("30 kB down", blocked("tcp.budget.bytes"), budgeted(budget(spread), plain));
    demand("nothing", ["ok", "", "tcp.budget.passes"], budgeted(|| None, plain));
    for size in [1_300, 1_460] {
        let hole = move || Some(Box::new(Hole(size)) as Box<dyn Middlebox>);
        demand("a hole", ["insufficient", "", "tcp.budget.large_packets_lost"], budgeted(hole, plain));
    }
    demand("a lossy line", ["ok", "", "tcp.budget.passes"], budgeted(|| None, plain.with_loss(0.05)));
    demand("a slow line", ["ok", "", "tcp.budget.passes"], budgeted(|| None, plain.with_rate(128_000)));
}

fn policer() -> ConnectionPolicer {
    ConnectionPolicer { other_server: "other.example".to_owned(), ..ConnectionPolicer::default() }
}

fn limited(bench: &mut Bench, most: usize, manner: &'static str) {
    let server = bench.server("target.example");
    let tls = bench.tls(&["target.example"], &["http/1.1"]);
    bench.serve(server, move |net| async move {
        let mut listener = net.listen(443).unwrap();
        let mut seen: Vec<Instant> = Vec::new();
        let mut held = Vec::new();
        while let Ok(stream) = listener.accept().await {
            let now = net.now();
            seen.retain(|at| now.since(*at) < Duration::from_secs(60));
            seen.push(now);
            if seen.len() <= most {
                let tls = tls.clone();
                net.spawn(|_| async move { okno_lab::tls::TlsStream::accept(stream, tls).await.map(|_| ()) });
            } else if manner == "reset" {
                stream.abort();
            } else {
                held.push(stream);
            }
        }
    });
}

/// The hellos of the test, as the second form's list of fingerprints knows them.
const BROWSER: &[(&str, &[&str])] =
    &[("net.suspicious", &["11.18.0.0/16"]), ("ja4.browser", &["t13d1516h2_8daaf6152771_d8a2da3f94cd"])];

fn counted(censor: impl Fn() -> Censor, ports: u32, manner: &'static str) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let nat = (ports > 0).then(|| NatSetup {
            per_subscriber: ports,
            ..NatSetup::carrier(vec!["11.19.0.77".parse().unwrap()])
        });
        let mut bench = Bench::behind(seed, censor(), nat);
        match manner {
            "" => drop(bench.web("target.example", Web::of_bytes(100))),
            manner => limited(&mut bench, 12, manner),
        }
        bench.web("other.example", Web::of_bytes(100));
        measure(&mut bench, policer(), None)
    }
}

#[test]
fn a_policer_of_connections_is_told_from_used_up_ports_and_from_a_limit_of_the_server() {
    let first = || censor("tspu-2025", &["siberian-1"], &[], &[]);
    let second = || censor("tspu-2026", &["siberian-2"], BROWSER, &[]);
    let blocked = |rule| ["blocked", "tcp.connection_limit", rule];
    demand("first form", blocked("tcp.limit.policer"), counted(first, 0, ""));
    demand("second form", blocked("tcp.limit.policer"), counted(second, 0, ""));
    // Behind a shared address the same signs weigh less.
    demand("behind a NAT", blocked("tcp.limit.policer_unsure"), counted(first, 500, ""));
    demand("nothing", ["ok", "", "tcp.limit.none"], counted(|| None, 0, ""));
    demand("nothing, NAT", ["ok", "", "tcp.limit.none"], counted(|| None, 500, ""));
    demand("used-up ports", ["insufficient", "", "tcp.limit.ports_used_up"], counted(|| None, 12, ""));
    for manner in ["silent", "reset"] {
        demand(manner, ["insufficient", "", "tcp.limit.server"], counted(|| None, 0, manner));
    }
}

fn admission(bench: &mut Bench) -> Whitelist {
    for name in ["one.example", "two.example", "three.example"] {
        bench.web_at_home(&format!("home-{name}"), Web::of_bytes(100));
        bench.web(&format!("abroad-{name}"), Web::of_bytes(100));
    }
    let names =
        |prefix: &str| ["one", "two", "three"].map(|name| format!("{prefix}-{name}.example")).to_vec();
    Whitelist { domestic: names("home"), foreign: names("abroad"), ..Whitelist::default() }
}

const LIST: &[(&str, &[&str])] = &[
    ("whitelist.names", &["home-one.example", "home-two.example", "home-three.example"]),
    ("net.whitelist", &["11.18.0.2/32", "11.18.0.4/32", "11.18.0.6/32"]),
    ("net.dns_operator", &["11.19.0.1/32"]),
];

fn admitted(censor: impl Fn() -> Censor) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        let test = admission(&mut bench);
        measure(&mut bench, test, None)
    }
}

#[test]
fn a_list_is_told_by_what_it_holds_from_none_and_from_a_blackout() {
    for (mode, mechanism) in [("cidr", "cidr"), ("sni", "sni"), ("both", "both")] {
        for refusal in ["silence", "reset"] {
            let list = || {
                let sets = [("whitelist.mode", mode), ("whitelist.refusal", refusal)];
                censor("ru-mobile-whitelist-2025", &["whitelist"], LIST, &sets)
            };
            let (name, rule) = (format!("whitelist.{mechanism}"), format!("app.whitelist.{mechanism}"));
            demand(&format!("{mode}, {refusal}"), ["blocked", &name, &rule], admitted(list));
        }
    }
    demand("nothing", ["ok", "", "app.whitelist.none"], admitted(|| None));
    // A cable at the border was cut: nothing abroad opens.
    demand("border", ["insufficient", "", "app.whitelist.nothing_opens"], |seed| {
        let mut bench = Bench::new(seed, None);
        let test = admission(&mut bench);
        bench.world.set_link_up(LinkId(3), false);
        measure(&mut bench, test, None)
    });
    // Two of three places abroad are blocked for themselves: no list.
    let names: &[(&str, &[&str])] = &[("sni.backup", &["abroad-one.example", "abroad-two.example"])];
    let blocked = || censor("tspu-2022", &["sni-4"], names, &[]);
    demand("blocked names", ["ok", "", "app.whitelist.none"], admitted(blocked));
    let blackout = || censor("ru-mobile-blackout", &["blackout"], &[], &[]);
    let silence = ["insufficient", "", "app.whitelist.nothing_answers"];
    demand("blackout", silence, admitted(blackout));
}

/// Every address at home of [`answering`].
const LIST_HOME: &[(&str, &[&str])] = &[
    ("whitelist.names", &[]),
    ("net.whitelist", &["11.18.0.2/32", "11.18.0.3/32", "11.18.0.6/32"]),
    ("net.dns_operator", &["11.19.0.1/32"]),
];

/// A captive portal: names resolve, plain HTTP comes to its page, all else is dropped.
#[derive(Debug)]
struct Portal;

impl Middlebox for Portal {
    fn on_packet(&mut self, _: Instant, _: Direction, packet: &PacketView<'_>, _: &mut Cx<'_>) -> Verdict {
        let ports = <[u16; 2]>::from(packet.ports());
        if ports.contains(&80) || ports.contains(&53) { Verdict::Pass } else { Verdict::Drop }
    }

    fn on_timer(&mut self, _: Instant, _: &mut Cx<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

fn answering(bench: &mut Bench, portal: bool) -> Blackout {
    for name in ["home-one.example", "home-two.example"] {
        bench.web_at_home(name, Web::of_bytes(100_000));
    }
    for name in ["abroad-one.example", "abroad-two.example"] {
        bench.web(name, Web::of_bytes(100_000));
    }
    let address = bench.server_at_home("address-home.example");
    bench.serve_web(address, &["address-home.example"], Web::of_bytes(100));
    let abroad = bench.server("address-abroad.example");
    bench.serve_web(abroad, &["address-abroad.example"], Web::of_bytes(100));
    let second = bench.server("second-abroad.example");
    bench.serve_web(second, &["second-abroad.example"], Web::of_bytes(100));
    let mut page = Web::of_bytes(0);
    page.status = 204;
    if portal {
        page = Web::of_page("Log in to this network");
    }
    bench.web("portal-check.example", page);
    Blackout {
        captive: vec!["http://portal-check.example/generate_204".to_owned()],
        domestic: vec!["home-one.example".to_owned(), "home-two.example".to_owned()],
        foreign: vec!["abroad-one.example".to_owned(), "abroad-two.example".to_owned()],
        domestic_addresses: vec![address.end(443).to_string()],
        foreign_addresses: vec![abroad.end(443).to_string(), second.end(443).to_string()],
        page: "https://home-one.example/".to_owned(),
        ..Blackout::default()
    }
}

/// Cuts a link of the bench: 0 the own line, then towards servers.
fn cut(number: usize) -> impl Fn(&mut Bench) {
    move |bench| bench.world.set_link_up(LinkId(number as u32), false)
}

fn reached(
    censor: impl Fn() -> Censor,
    portal: bool,
    change: impl Fn(&mut Bench),
) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        let test = answering(&mut bench, portal);
        change(&mut bench);
        measure(&mut bench, test, None)
    }
}

#[test]
fn a_blackout_is_told_from_a_portal_from_the_own_line_and_from_a_list() {
    let blackout = || censor("ru-mobile-blackout", &["blackout"], &[], &[]);
    demand("nothing", ["ok", "", "app.blackout.home_and_abroad_answer"], reached(|| None, false, |_| {}));
    let silence = ["blocked", "blackout", "app.blackout.silence"];
    demand("blackout", silence, reached(blackout, false, |_| {}));
    let own = ["insufficient", "", "app.blackout.own_line"];
    demand("own line", own, reached(|| None, false, cut(0)));
    let outage = ["down", "", "app.blackout.outage"];
    demand("outage with messages", outage, |seed| {
        let mut bench = Bench::new(seed, None);
        let mut test = answering(&mut bench, false);
        // Addresses to which no router has a route.
        for (last, name) in test.domestic.iter().chain(&test.foreign).enumerate() {
            bench.zones.borrow_mut().set_addresses(name, 60, &[IpAddr::from([11, 17, 0, last as u8])]);
        }
        test.domestic_addresses = vec!["11.17.1.1:443".to_owned()];
        test.foreign_addresses = vec!["11.17.1.2:443".to_owned()];
        measure(&mut bench, test, None)
    });
    let beyond = ["insufficient", "", "app.blackout.beyond_operator"];
    demand("outage in silence", beyond, reached(|| None, false, cut(2)));
    let portal = || Some(Box::new(Portal) as Box<dyn Middlebox>);
    demand("portal", ["insufficient", "", "app.blackout.portal"], reached(portal, true, |_| {}));
    let list = || censor("ru-mobile-whitelist-2025", &["whitelist"], LIST_HOME, &[]);
    let home = ["blocked", "whitelist", "app.blackout.list"];
    demand("list", home, reached(list, false, |_| {}));
    let trickle = || censor("ru-mobile-blackout", &["blackout"], &[], &[("blackout.rate_bps", "14k")]);
    demand(
        "trickle",
        ["throttled", "blackout.throttle", "app.blackout.trickle"],
        reached(trickle, false, |_| {}),
    );
}

fn initiated(censor: impl Fn() -> Censor, nat: bool) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let nat = nat.then(|| NatSetup::carrier(vec!["11.19.0.77".parse().unwrap()]));
        let mut bench = Bench::behind(seed, censor(), nat);
        let server = partner_of(&mut bench);
        measure(&mut bench, Initiation::default(), Some(server))
    }
}

#[test]
fn a_rule_for_flows_from_inside_is_told_from_one_for_all_and_a_nat_hides_the_difference() {
    let listed: &[(&str, &[&str])] =
        &[("sni.blocked", &["target.example"]), ("sni.backup", &["target.example"])];
    let silent = || censor("tspu-2026", &["sni-4"], listed, &[]);
    let reset = || censor("tspu-2024", &["sni-1"], listed, &[]);
    let inside = |mechanism, rule| ["blocked", mechanism, rule];
    demand("silence", inside("tls.timeout.sni", "tls.initiation.inside_only"), initiated(silent, false));
    demand("reset", inside("tls.reset.sni", "tls.initiation.inside_only_reset"), initiated(reset, false));
    demand("nothing", ["ok", "", "tls.initiation.alike"], initiated(|| None, false));
    demand("nothing, NAT", ["ok", "", "tls.initiation.alike"], initiated(|| None, true));
    demand("a NAT", inside("tls.timeout.sni", "tls.initiation.both_ways"), initiated(silent, true));
    let everyone = || Some(Box::new(NameDrop("target.example")) as Box<dyn Middlebox>);
    demand("all", inside("tls.timeout.sni", "tls.initiation.both_ways"), initiated(everyone, false));
}

/// Drops what carries a name, whoever opened the flow.
#[derive(Debug)]
struct NameDrop(&'static str);

impl Middlebox for NameDrop {
    fn on_packet(&mut self, _: Instant, _: Direction, packet: &PacketView<'_>, _: &mut Cx<'_>) -> Verdict {
        let has = packet.bytes().windows(self.0.len()).any(|window| window == self.0.as_bytes());
        if has { Verdict::Drop } else { Verdict::Pass }
    }

    fn on_timer(&mut self, _: Instant, _: &mut Cx<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

fn counted_fragments(censor: impl Fn() -> Censor) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        let server = partner_of(&mut bench);
        measure(&mut bench, FragmentCensus::default(), Some(server))
    }
}

/// Drops fragments.
#[derive(Debug)]
struct NoFragments;

impl Middlebox for NoFragments {
    fn on_packet(&mut self, _: Instant, _: Direction, packet: &PacketView<'_>, _: &mut Cx<'_>) -> Verdict {
        if packet.fragment.is_some() { Verdict::Drop } else { Verdict::Pass }
    }

    fn on_timer(&mut self, _: Instant, _: &mut Cx<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn a_queue_of_45_fragments_is_told_from_none_and_from_a_path_without_fragments() {
    let tspu = || censor("tspu-2024", &["sni-1"], &[], &[]);
    demand("tspu", ["ok", "", "app.fragments.limit_45"], counted_fragments(tspu));
    demand("nothing", ["ok", "", "app.fragments.no_limit"], counted_fragments(|| None));
    let none = || Some(Box::new(NoFragments) as Box<dyn Middlebox>);
    demand("no fragments", ["insufficient", "", "app.fragments.dropped"], counted_fragments(none));
}

fn address(censor: impl Fn() -> Censor, later: &'static [u64], alive: bool) -> impl Fn(u64) -> (Said, Value) {
    move |seed| {
        let mut bench = Bench::new(seed, censor());
        bench.server("first.example");
        let target = bench.web("target.example", Web::of_bytes(100));
        bench.web("beside.example", Web::of_bytes(100));
        bench.web("abroad.example", Web::of_bytes(100));
        bench.web_at_home("home.example", Web::of_bytes(100));
        let helper = helper_of(&mut bench);
        bench.world.set_host_up(target.node, alive);
        let test: Rc<dyn Experiment> = Rc::new(AddressBlock {
            domestic: vec!["home.example".to_owned()],
            foreign: vec!["abroad.example".to_owned()],
            later: later.to_vec(),
            ..AddressBlock::default()
        });
        let keys = bench.measure_with(&test, Some("https://target.example/"), move |context| {
            context.helper = Some("https://th.example/".to_owned());
            context.helper_addresses = vec![helper.v4];
        });
        (judged(test.name(), &keys), keys)
    }
}

/// A helper that looks from outside.
fn helper_of(bench: &mut Bench) -> Server {
    let server = bench.server("th.example");
    let config = bench.tls(&["th.example"], &["http/1.1"]);
    let tls = okno_lab::tls::ground(&[]);
    bench.serve(server, move |net| async move {
        let world = LabNet::new(net, None, tls).world();
        let listener = world.listen(Endpoint { ip: IpAddr::from([0, 0, 0, 0]), port: 443 }).unwrap();
        Helper::new(world, HelperOptions::default()).run(listener, Some(config)).await;
    });
    server
}

#[test]
fn a_silenced_address_is_told_from_a_dead_server_from_a_list_and_from_a_later_ban() {
    let target = "11.18.0.3/32";
    let ip = move || censor("tspu-2022", &["ip"], &[("net.blocked", &[target])], &[]);
    demand("blocked", ["blocked", "ip.drop", "tcp.address.dropped"], address(ip, &[], true));
    demand("dead", ["down", "", "tcp.address.dead"], address(|| None, &[], false));
    demand("nothing", ["ok", "", "tcp.address.answers"], address(|| None, &[300, 600], true));
    let list = || {
        let home: &[(&str, &[&str])] = &[
            ("net.whitelist", &["11.18.0.6/32"]),
            ("net.dns_operator", &["11.19.0.1/32"]),
            ("whitelist.names", &[]),
        ];
        censor("ru-mobile-whitelist-2025", &["whitelist"], home, &[("whitelist.syn_passes", "false")])
    };
    demand("list", ["insufficient", "", "tcp.address.all_abroad"], address(list, &[], true));
    let later = || {
        Some(Box::new(LaterBan { target: "11.18.0.3".parse().unwrap(), seen: None }) as Box<dyn Middlebox>)
    };
    demand("ban", ["blocked", "ip.ban", "tcp.address.banned_later"], address(later, &[300, 600], true));
}

/// Drops what goes to an address five minutes after it was first used.
#[derive(Debug)]
struct LaterBan {
    target: IpAddr,
    seen: Option<Instant>,
}

impl Middlebox for LaterBan {
    fn on_packet(
        &mut self,
        now: Instant,
        way: Direction,
        packet: &PacketView<'_>,
        _: &mut Cx<'_>,
    ) -> Verdict {
        if way != Direction::Up || packet.destination != self.target {
            return Verdict::Pass;
        }
        let first = *self.seen.get_or_insert(now);
        if now.since(first) > Duration::from_secs(280) { Verdict::Drop } else { Verdict::Pass }
    }

    fn on_timer(&mut self, _: Instant, _: &mut Cx<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}
