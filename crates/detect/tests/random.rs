//! Whatever the facts: no panic, a probability, and a mechanism exactly where somebody is accused.

mod scenes;

use okno_detect::cells::{CellBuilder, Grid};
use okno_detect::{Baseline, BaselineBuilder, Facts, Judge, Knowledge, Ruleset, sum_up};
use okno_model::{
    Asn, Control, Country, Failure, FingerprintInfo, FingerprintScope, Mechanism, Observation,
    ReferenceStamp, Timestamp, Transport,
};
use scenes::Scene;

/// splitmix64: a seed gives the same facts on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (!self.one_in(3)).then_some(value)
    }
}

const HOSTS: [&str; 5] = ["a.example", "b.example", "xn--e1afmkfd.xn--p1ai", "", "1.2.3.4"];
const IPS: [&str; 8] =
    ["1.2.3.4", "10.0.0.1", "::1", "2001:db8::1", "64:ff9b::102:304", "64:ff9b:zz", "", "not an address"];
const TESTS: [&str; 12] = [
    "web_connectivity",
    "telegram",
    "signal",
    "tor",
    "sni_blocking",
    "echcheck",
    "dnscheck",
    "quicping",
    "http_invalid_request_line",
    "facebook_messenger",
    "stunreachability",
    "",
];

fn failure(dice: &mut Dice) -> Option<Failure> {
    let failure = dice.of(Failure::ALL);
    (!dice.one_in(2)).then_some(failure)
}

fn time(dice: &mut Dice) -> Timestamp {
    Timestamp::from_micros(dice.of(&[
        0,
        i64::MIN,
        i64::MAX,
        1_700_000_000_000_000,
        -5,
        1_700_050_000_000_000,
    ]))
}

fn text(dice: &mut Dice, items: &[&'static str]) -> Option<std::borrow::Cow<'static, str>> {
    let item = dice.of(items);
    dice.maybe(item.into())
}

fn observation(dice: &mut Dice, number: u32) -> Observation<'static> {
    let flag = |dice: &mut Dice| {
        let value = dice.one_in(2);
        dice.maybe(value)
    };
    let urls = [
        "http://a.example/",
        "https://b.example/x?y",
        "https://[::1]:8/",
        "://",
        "//",
        "ftp:",
        "http://é@:/",
    ];
    Observation {
        observation: number,
        hop: dice.of(&[0, 0, 0, 1, 2, u32::MAX]),
        role: text(dice, &["target", "control", "obfs4", "web"]),
        classic: dice.one_in(2),
        fetch_body: flag(dice),
        hostname: text(dice, &HOSTS),
        ip: text(dice, &IPS),
        port: dice.of(&[None, Some(80), Some(443), Some(u32::MAX)]),
        ip_network: dice.of(&[None, Some(Asn(0)), Some(Asn(137)), Some(Asn(7))]),
        ip_is_bogon: flag(dice),
        dns_lookup: dice.of(&[None, Some(0), Some(1)]),
        dns_engine: text(dice, &["system", "udp", "doh", "dot", "unknown", "other", ""]),
        dns_resolver: text(dice, &["8.8.8.8:53", ""]),
        dns_query_type: text(dice, &["A", "AAAA", "ANY"]),
        dns_failure: failure(dice),
        dns_second_answer: flag(dice),
        tcp_success: flag(dice),
        tcp_failure: failure(dice),
        transport: dice.of(&[None, Some(Transport::Tcp), Some(Transport::Quic), Some(Transport::Udp)]),
        tls_success: flag(dice),
        tls_failure: failure(dice),
        tls_server_name: text(dice, &HOSTS),
        tls_ech: text(dice, &["grease", "ech x"]),
        tls_unverified: dice.one_in(4),
        rx_bytes: dice.of(&[None, Some(0), Some(20_000), Some(u64::MAX)]),
        rx_reads: dice.of(&[None, Some(0), Some(50), Some(u32::MAX)]),
        rx_us: dice.of(&[None, Some(0), Some(9_000_000), Some(i64::MAX), Some(i64::MIN)]),
        rx_gap_us: dice.of(&[None, Some(0), Some(i64::MIN), Some(i64::MAX)]),
        http_url: text(dice, &urls),
        http_failure: failure(dice),
        http_status: dice.of(&[None, Some(0), Some(200), Some(302), Some(403), Some(u32::MAX)]),
        http_body_bytes: dice.of(&[None, Some(0), Some(188), Some(u64::MAX)]),
        http_body_truncated: flag(dice),
        http_title: text(
            dice,
            &[
                "",
                "Home page",
                "é",
                "ünïcödé ünïcödé ünïcödé ünïcödé ünïcödé ünïcödé ünïcödé ünïcödé ünïcödé ünïcödé",
            ],
        ),
        http_location: text(dice, &urls),
        http_server: text(dice, &["cloudflare", "nginx", "é"]),
        http_headers: text(dice, &["", "alt-svc x-y", ","]),
        http_fingerprints: text(dice, &["known", "vague innocent", "no such", ""]),
        app: text(dice, &["web", "target", "endpoints_tcp", "sni", "backend", "dns_consistent"]),
        app_success: flag(dice),
        app_failure: failure(dice),
        ..Observation::default()
    }
}

fn control(dice: &mut Dice) -> Control<'static> {
    let success = dice.one_in(2);
    Control {
        kind: dice.of(&["dns", "tcp", "tls", "quic", "http", "odd"]).into(),
        hostname: text(dice, &HOSTS),
        ip: text(dice, &IPS),
        port: dice.of(&[None, Some(80), Some(443)]),
        ip_network: dice.of(&[None, Some(Asn(137)), Some(Asn(7))]),
        ip_is_bogon: dice.of(&[None, Some(true), Some(false)]),
        success: dice.maybe(success),
        failure: failure(dice),
        server_name: text(dice, &HOSTS),
        http_status: dice.of(&[None, Some(200), Some(500)]),
        http_body_bytes: dice.of(&[None, Some(0), Some(u64::MAX), Some(16_777_216)]),
        http_title: text(dice, &["", "Home page"]),
        http_headers: text(dice, &["", "alt-svc"]),
        ..Control::default()
    }
}

fn scene(dice: &mut Dice) -> Scene {
    let mut scene = Scene::default();
    let m = &mut scene.measurement;
    m.measurement_uid = format!("m{}", dice.below(1000)).into();
    m.test_name = dice.of(&TESTS).into();
    m.test_version = text(dice, &["0.2.4", "x", "0.2.", "999999999999.1", ""]);
    m.software_version = text(dice, &["3.1.0", "…"]);
    m.target = dice.of(&HOSTS).into();
    m.hostname = text(dice, &HOSTS);
    m.input = text(dice, &["https://a.example/", "http://b.example/", ""]);
    m.network = Asn(dice.of(&[0, 137, 7, 64512, u32::MAX, 1, 2, 3, 4]));
    m.country = Country::parse(dice.of(&["IT", "RU", "DE"])).expect("country codes");
    m.start_utc = time(dice);
    m.upload_utc =
        dice.of(&[None, Some(Timestamp::from_micros(i64::MIN)), Some(Timestamp::from_micros(i64::MAX))]);
    m.control = dice.of(&["none", "absent", "failed", "ok", "odd"]).into();
    let rows = dice.below(14) as u32;
    scene.observations = (0..rows).map(|n| observation(dice, n)).collect();
    let controls = dice.below(7);
    scene.controls = (0..controls).map(|_| control(dice)).collect();
    scene
}

fn knowledge() -> Knowledge {
    let page = |id: &str, scope| FingerprintInfo { id: id.to_owned(), scope, countries: Vec::new() };
    Knowledge::new(
        [
            page("known", FingerprintScope::Nat),
            page("vague", FingerprintScope::Vbw),
            page("innocent", FingerprintScope::Fp),
        ],
        [("1.2.3.4".to_owned(), page("dns", FingerprintScope::Isp))],
        ReferenceStamp::default(),
    )
}

#[test]
fn random_facts_give_verdicts_that_the_taxonomy_allows() {
    let mut dice = Dice(20_240_212);
    let scenes: Vec<Scene> = (0..4_000).map(|_| scene(&mut dice)).collect();
    let mut builder = BaselineBuilder::new();
    scenes.iter().for_each(|scene| builder.add(&scene.facts()));
    let (filled, empty, knowledge) = (builder.finish(), Baseline::empty(), knowledge());
    let v5 = Ruleset::ooni_v5();
    let mut cells = CellBuilder::new();
    let (mut accused, mut total) = (0, 0);
    for scene in &scenes {
        for (rules, baseline) in [(scenes::native(), &filled), (scenes::native(), &empty), (&v5, &empty)] {
            let mut verdicts = Vec::new();
            let facts = scene.facts();
            Judge::new(rules, baseline, &knowledge).judge(&facts, &mut verdicts);
            for v in &verdicts {
                total += 1;
                accused += usize::from(v.state.is_interference());
                assert!((0.0..=1.0).contains(&v.probability), "{v:?}");
                assert_eq!(v.mechanism.is_some(), v.state.is_interference(), "{v:?}");
                if let Some(path) = &v.mechanism {
                    let mechanism = Mechanism::parse(path).expect("a node of the taxonomy");
                    assert!(mechanism.layer().is_none_or(|layer| layer == v.layer), "{v:?}");
                }
                assert!(v.rules_fired.split(' ').any(|id| id == v.rule), "{v:?}");
                assert!(v.witness_observation.is_none_or(|n| (n as usize) < scene.observations.len()));
                cells.add(v, scene.measurement.report_id.as_deref());
            }
            assert!(!verdicts.is_empty(), "every measurement has a verdict");
            let summary = sum_up(&verdicts);
            assert!(!summary.confirmed || summary.anomaly);
            let mut again = Vec::new();
            Judge::new(rules, baseline, &knowledge).judge(&facts, &mut again);
            assert_eq!(verdicts, again);
        }
    }
    assert!(accused > 500 && total > 20_000, "{accused} of {total}: the facts must reach the accusing rules");
    for cell in cells.finish(Grid::default()) {
        assert_eq!(
            cell.measurements,
            cell.ok + cell.down + cell.blocked + cell.throttled + cell.insufficient
        );
        if let (Some(low), Some(share), Some(high)) =
            (cell.interference_low, cell.interference_share, cell.interference_high)
        {
            assert!(low <= share && share <= high);
        }
    }
}

#[test]
fn thousands_of_hosts_in_one_measurement_are_bounded() {
    let mut dice = Dice(7);
    let mut scene = scene(&mut dice);
    scene.observations = (0..5_000)
        .map(|n| Observation { hostname: Some(format!("h{n}.example").into()), ..observation(&mut dice, n) })
        .collect();
    let mut verdicts = Vec::new();
    let facts: Facts<'_, '_> = scene.facts();
    Judge::new(scenes::native(), &Baseline::empty(), &Knowledge::empty()).judge(&facts, &mut verdicts);
    assert!(verdicts.len() <= 512 * 5 + 1);
}
