//! The scenarios that come with Okno: each can be read, has a benign twin, and shows what it says it shows.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use okno_lab::run::{Observer, RunOptions, check_profiles, run};
use okno_lab::scenario::{Overrides, Scenario, parse_moment};
use okno_model::{Failure, Outcome, Truth};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap())
        // `tell-apart` holds single files, with tests of their own
        .filter(|entry| entry.path().join("scenario.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn load(name: &str, overrides: &Overrides) -> Scenario {
    Scenario::load(&folder().join(name), overrides).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_scenario_can_be_read_and_has_a_benign_twin() {
    let names = names();
    assert!(names.len() >= 16, "{names:?}");
    for name in &names {
        let scenario = load(name, &Overrides::default());
        assert_eq!(&scenario.name, name);
        assert!(!scenario.shows.is_empty() && !scenario.sources.is_empty(), "{name}");
        check_profiles(&scenario).unwrap_or_else(|problem| panic!("{problem}"));
        match name.strip_suffix("-benign") {
            Some(twin) => {
                assert!(
                    scenario.benign && scenario.policies.is_empty() && !scenario.faults.is_empty(),
                    "{name}"
                );
                let twin = load(twin, &Overrides::default());
                assert_eq!(
                    (twin.start, twin.end, &twin.clients, &twin.probes),
                    (scenario.start, scenario.end, &scenario.clients, &scenario.probes)
                );
            }
            None => assert!(names.contains(&format!("{name}-benign")), "{name} has no twin"),
        }
    }
}

/// What a part of a scenario showed.
#[derive(Default)]
struct Seen {
    /// acts by rule
    rules: BTreeMap<String, u64>,
    outcomes: Vec<Got>,
}

struct Got {
    cell: String,
    client: String,
    address: String,
    activity: String,
    target: String,
    at: i64,
    failure: String,
    goodput_bps: Option<u64>,
}

impl Observer for Seen {
    fn truth(&mut self, row: &Truth<'_>) -> Result<(), String> {
        if row.class == "act" {
            *self.rules.entry(row.rule.to_string()).or_default() += 1;
        }
        Ok(())
    }

    fn outcome(&mut self, row: &Outcome<'_>) -> Result<(), String> {
        assert_eq!(row.ok, row.failure.is_empty());
        // OONI's names, none made up
        let failure = Failure::from_ooni(&row.failure);
        assert!(
            row.ok || failure != Failure::Unknown && failure.as_str() == &*row.failure,
            "{}",
            row.failure
        );
        self.outcomes.push(Got {
            cell: row.cell.to_string(),
            client: row.client.to_string(),
            address: row.target_address.to_string(),
            activity: row.activity.to_string(),
            target: row.target.to_string(),
            at: row.at_utc.micros(),
            failure: row.failure.to_string(),
            goodput_bps: row.goodput_bps,
        });
        Ok(())
    }
}

impl Seen {
    /// Failures of one activity with one target, each once; `ok` among them when some succeeded.
    fn got(&self, target: &str, activity: &str) -> BTreeSet<&str> {
        let of = self.outcomes.iter().filter(|got| got.target == target && got.activity == activity);
        of.map(|got| if got.failure.is_empty() { "ok" } else { &got.failure }).collect()
    }

    /// The same, in one cell and from a moment to another.
    fn got_in(&self, cell: &str, target: &str, activity: &str, from: &str, to: &str) -> BTreeSet<&str> {
        let micros = |at: &str| parse_moment(at).unwrap().micros() as i64;
        let (from, to) = (micros(from), micros(to));
        let of = self.outcomes.iter().filter(|got| {
            got.target == target
                && got.activity == activity
                && got.cell.contains(cell)
                && (from..to).contains(&got.at)
        });
        of.map(|got| if got.failure.is_empty() { "ok" } else { &got.failure }).collect()
    }

    fn acted(&self, rules: &[&str]) {
        for rule in rules {
            assert!(self.rules.contains_key(*rule), "{rule} did nothing: {:?}", self.rules);
        }
    }
}

/// Plays a part of a scenario: some networks, some regions, and fewer clients where it has many.
fn play(name: &str, span: (&str, &str), networks: &[&str], regions: &[&str]) -> Seen {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let overrides = Overrides {
        start: parse_moment(span.0),
        end: parse_moment(span.1),
        networks: own(networks),
        regions: own(regions),
        clients_only: true,
        clients: name.starts_with("runet-2025").then_some(5).filter(|_| !name.contains("whitelist")),
        ..Overrides::default()
    };
    let mut seen = Seen::default();
    run(&load(name, &overrides), &RunOptions::default(), &mut seen).unwrap_or_else(|error| panic!("{error}"));
    assert!(!seen.outcomes.is_empty(), "nobody measured anything");
    seen
}

const OK: [&str; 1] = ["ok"];
const TIMEOUT: [&str; 1] = ["generic_timeout_error"];

#[track_caller]
fn is(found: BTreeSet<&str>, expected: &[&str]) {
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn in_2021_names_with_t_co_are_slow_from_10_march_where_boxes_stand() {
    let seen = play(
        "runet-2021-throttle",
        ("2021-03-10T07:00:00Z", "2021-03-10T09:30:00Z"),
        &["mts", "rostelecom"],
        &["moscow"],
    );
    seen.acted(&["twitter-substring", "dns-stub"]);
    let goodput = |cell: &str, target: &str| -> Vec<u64> {
        let from = parse_moment("2021-03-10T07:00:00Z").unwrap().micros() as i64;
        let of = seen.outcomes.iter().filter(|got| {
            got.cell.starts_with(cell) && got.target == target && got.at >= from && got.activity == "https"
        });
        of.filter_map(|got| got.goodput_bps).collect()
    };
    for target in ["twitter.com", "abs.twimg.com", "t.co", "reddit.com"] {
        let slow = goodput("mts", target);
        assert!(
            !slow.is_empty() && slow.iter().all(|bps| (110_000..=155_000).contains(bps)),
            "{target}: {slow:?}"
        );
        assert!(goodput("rostelecom", target).iter().all(|bps| *bps > 500_000), "{target}");
    }
    for target in ["ya.ru", "wikipedia.org"] {
        assert!(goodput("mts", target).iter().all(|bps| *bps > 500_000), "{target}");
    }
}

#[test]
fn in_2022_throttling_gives_way_to_resets_silence_and_quic_v1_drops() {
    let span = ("2022-03-03T21:30:00Z", "2022-03-04T04:30:00Z");
    let seen = play("runet-2022-march", span, &["obit", "mts", "selectel-vps"], &["spb"]);
    seen.acted(&["sni-3", "sni-1", "sni-2", "sni-4", "quic-1", "ip", "tor-relays"]);
    let after = |cell: &str, target: &str, activity: &str| {
        seen.got_in(cell, target, activity, "2022-03-04T00:00:00Z", "2022-03-05T00:00:00Z")
    };
    is(after("mts", "bbc.com", "https"), &["connection_reset"]);
    is(after("mts", "twitter.com", "https"), &["connection_reset"]);
    // the device that sees only the upstream drops the hello itself
    is(after("obit", "twitter.com", "https"), &TIMEOUT);
    is(after("mts", "nordvpn.com", "https"), &TIMEOUT);
    is(after("mts", "cloudflare-quic.com", "quic"), &TIMEOUT);
    is(after("mts", "vk.com", "quic"), &OK);
    is(after("mts", "tor-relay", "https"), &TIMEOUT);
    is(after("mts", "wikipedia.org", "https"), &OK);
    is(seen.got_in("mts", "bbc.com", "https", span.0, "2022-03-04T00:00:00Z"), &OK);
    // rented servers see none of it
    is(after("selectel", "bbc.com", "https"), &OK);
    is(after("selectel", "cloudflare-quic.com", "quic"), &OK);
}

#[test]
fn in_2024_video_hosts_are_slow_by_name_and_the_same_caches_fast_for_others() {
    let span = ("2024-07-11T18:00:00Z", "2024-07-12T12:00:00Z");
    let seen = play("runet-2024-youtube", span, &["mts"], &["moscow"]);
    seen.acted(&["googlevideo-slow", "vpn-2023"]);
    let day = parse_moment("2024-07-12T00:00:00Z").unwrap().micros() as i64;
    let of =
        |target: &str| seen.got_in("mts", target, "https", "2024-07-12T00:00:00Z", "2024-07-14T00:00:00Z");
    // some 20–130 kbit/s: what does not time out is slow
    for got in seen.outcomes.iter().filter(|got| got.target == "googlevideo.com" && got.at >= day) {
        let slow = got.goodput_bps.is_none_or(|bps| bps < 150_000);
        assert!(
            slow && (got.activity == "https" || !got.failure.is_empty()),
            "{} {:?}",
            got.failure,
            got.goodput_bps
        );
    }
    is(of("gstatic-on-cache"), &OK);

    is(seen.got_in("mts", "googlevideo.com", "https", span.0, "2024-07-12T00:00:00Z"), &OK);
}

#[test]
fn on_whitelist_days_only_listed_targets_work_on_mobile_networks() {
    let span = ("2025-09-05T02:00:00Z", "2025-09-05T10:00:00Z");
    let seen = play("runet-2025-whitelist", span, &["mts", "megafon", "rostelecom"], &["nizhny"]);
    seen.acted(&["whitelist"]);
    let during = |cell: &str, target: &str| {
        seen.got_in(cell, target, "https", "2025-09-05T06:00:00Z", "2025-09-06T00:00:00Z")
    };
    for listed in ["max.ru", "ya.ru", "gosuslugi.ru", "vk.ru"] {
        is(during("mts", listed), &OK);
        is(during("megafon", listed), &OK);
    }
    for other in ["pharmacy.example", "github.com", "google.com", "ru.wikipedia.org"] {
        is(during("mts", other), &TIMEOUT);
        is(during("megafon", other), &TIMEOUT);
        is(during("rostelecom", other), &OK);
        is(seen.got_in("mts", other, "https", span.0, "2025-09-05T06:00:00Z"), &OK);
    }
    // on a listed address with a name that is not listed: admission by address lets it pass, by name not
    is(during("mts", "clinic.example"), &OK);
    is(during("megafon", "clinic.example"), &TIMEOUT);
    let night =
        play("runet-2025-whitelist", ("2025-09-18T21:00:00Z", "2025-09-19T01:00:00Z"), &["mts"], &["rostov"]);
    night.acted(&["blackout"]);
    is(night.got("ya.ru", "https"), &TIMEOUT);
}

#[test]
fn in_2025_transfers_from_foreign_hosting_freeze_and_small_ones_pass() {
    let span = ("2025-06-08T06:00:00Z", "2025-06-10T12:00:00Z");
    let seen = play("runet-2025", span, &["mts", "rostelecom"], &["moscow"]);
    seen.acted(&["l4-25", "sni-1", "googlevideo", "quic-2"]);
    let after = |cell: &str, target: &str| {
        seen.got_in(cell, target, "https", "2025-06-09T00:00:00Z", "2025-06-12T00:00:00Z")
    };
    for target in ["shop-on-cloudflare.example", "blog-on-hetzner.example"] {
        is(after("mts", target), &TIMEOUT);
        is(after("rostelecom", target), &OK);
        is(seen.got_in("mts", target, "https", span.0, "2025-06-09T00:00:00Z"), &OK);
    }
    for target in ["small-on-cloudflare.example", "shop-at-home.example", "wikipedia.org"] {
        is(after("mts", target), &OK);
    }
    is(after("mts", "facebook.com"), &["connection_reset"]);
    is(after("mts", "youtube-video"), &TIMEOUT);
}

#[test]
fn in_2025_encrypted_hellos_to_cloudflare_vanish_and_those_home_do_not() {
    let seen = play(
        "runet-2025",
        ("2025-06-12T00:00:00Z", "2025-06-16T00:00:00Z"),
        &["mts", "rostelecom"],
        &["moscow"],
    );
    seen.acted(&["ech"]);
    is(seen.got("ech-on-cloudflare.example", "ech"), &TIMEOUT);
    is(seen.got("shop-at-home.example", "ech"), &OK);
}

#[test]
fn in_2025_calls_abroad_fail_from_august_and_those_at_home_do_not() {
    let seen = play("runet-2025", ("2025-08-11T00:00:00Z", "2025-08-14T00:00:00Z"), &["mts"], &["moscow"]);
    seen.acted(&["calls-whatsapp", "vpn-2023"]);
    let late = ("2025-08-11T00:00:00Z", "2025-08-16T00:00:00Z");
    assert!(seen.got_in("mts", "whatsapp-calls", "stun", late.0, late.1).contains("generic_timeout_error"));
    is(seen.got("home-calls", "stun"), &OK);
    is(seen.got("wireguard-vpn", "wireguard"), &TIMEOUT);
}

#[test]
fn in_2026_names_leave_the_resolvers_and_addresses_are_banned() {
    let span = ("2026-02-08T00:00:00Z", "2026-02-18T00:00:00Z");
    let seen = play("runet-2026", span, &["mts"], &["moscow"]);
    seen.acted(&[
        "nsdi-nxdomain",
        "ip-waves",
        "whatsapp",
        "telegram-slow",
        "sni-1",
        "l4-25",
        "calls-whatsapp",
    ]);
    let after = |target: &str, activity: &str, from: &str| seen.got_in("mts", target, activity, from, span.1);
    assert!(after("youtube.com", "dns", "2026-02-10T00:00:00Z").contains("dns_nxdomain_error"));
    is(seen.got_in("mts", "youtube.com", "dns", span.0, "2026-02-10T00:00:00Z"), &OK);
    is(after("vpn-panel", "https", "2026-02-16T00:00:00Z"), &TIMEOUT);
    is(seen.got_in("mts", "vpn-panel", "https", span.0, "2026-02-16T00:00:00Z"), &OK);
    is(after("whatsapp.com", "https", "2026-02-13T00:00:00Z"), &TIMEOUT);
    is(seen.got("wikipedia.org", "https"), &OK);
    let late = play("runet-2026", ("2026-08-24T00:00:00Z", "2026-08-29T00:00:00Z"), &["mts"], &["moscow"]);
    late.acted(&["dnat-denies", "doh", "siberian-2"]);
}

#[test]
fn in_2026_fingerprints_first_segments_and_pages_are_what_clients_meet() {
    let both = ["mts", "rostelecom"];
    let spring = play("runet-2026", ("2026-03-27T00:00:00Z", "2026-04-04T00:00:00Z"), &both, &["moscow"]);
    spring.acted(&["ech", "snowflake-2026", "telegram-tls-april", "blockpage"]);
    let (turn, fool, end) = ("2026-03-30T00:00:00Z", "2026-04-01T00:00:00Z", "2026-04-05T00:00:00Z");
    is(spring.got_in("mts", "snowflake-proxy", "dtls", "2026-03-27T00:00:00Z", turn), &OK);
    is(spring.got_in("mts", "snowflake-proxy", "dtls", turn, end), &TIMEOUT);
    is(spring.got_in("mts", "mtproxy", "fake-tls", "2026-03-27T00:00:00Z", fool), &OK);
    is(spring.got_in("mts", "mtproxy", "fake-tls", fool, end), &TIMEOUT);
    is(spring.got("shop-on-cloudflare.example", "ech"), &TIMEOUT);
    // either alone passes: the outer name elsewhere, the extension under another name
    is(spring.got("shop-on-hetzner.example", "ech"), &OK);
    is(spring.got("shop-on-cloudflare.example", "hello"), &OK);
    // operators' own filters stand on fixed lines
    let page = |cell: &str| spring.got_in(cell, "kasparov.ru", "http", "2026-03-27T00:00:00Z", end);
    assert!(!page("rostelecom").contains("ok") && !page("rostelecom").contains(TIMEOUT[0]));
    is(page("mts"), &OK);
    is(spring.got("weather.example", "http"), &OK);

    let june = play("runet-2026", ("2026-06-01T00:00:00Z", "2026-06-15T00:00:00Z"), &["mts"], &["moscow"]);
    june.acted(&["first-segment-stall", "telegram-tls-april"]);
    is(june.got("shop-on-hetzner.example", "hello"), &["generic_timeout_error", "ok"]);
}

#[test]
fn without_a_censor_the_same_fingerprints_pass_and_broken_ipv6_hurts_who_cannot_fall_back() {
    let span = ("2026-03-03T00:00:00Z", "2026-03-10T00:00:00Z");
    let seen = play("runet-2026-benign", span, &["mts", "rostelecom"], &["moscow"]);
    assert!(seen.rules.is_empty());
    for (target, activity) in [
        ("mtproxy", "fake-tls"),
        ("snowflake-proxy", "dtls"),
        ("shop-on-hetzner.example", "hello"),
        ("shop-on-cloudflare.example", "ech"),
        ("kasparov.ru", "http"),
    ] {
        is(seen.got(target, activity), &OK);
    }
    let (broken, mended) = ("2026-03-05T00:00:00Z", "2026-03-08T00:00:00Z");
    let got = |group: &str, from: &str, to: &str| {
        let micros = |at: &str| parse_moment(at).unwrap().micros() as i64;
        let of = seen.outcomes.iter().filter(|got| {
            got.client.starts_with(group)
                && got.cell.starts_with("mts")
                && got.target == "ya.ru"
                && (micros(from)..micros(to)).contains(&got.at)
        });
        let rows: BTreeSet<(bool, bool)> =
            of.map(|got| (got.failure.is_empty(), got.address.contains(':'))).collect();
        rows.into_iter().collect::<Vec<_>>()
    };
    // (works, over IPv6)
    assert_eq!(got("six/", span.0, broken), [(true, true)]);
    assert_eq!(got("six/", broken, mended), [(false, true)]);
    assert_eq!(got("six/", mended, span.1), [(true, true)]);
    assert_eq!(got("six-browser/", span.0, broken), [(true, true)]);
    assert_eq!(got("six-browser/", broken, mended), [(true, false)]);
    assert_eq!(seen.got_in("mts", "weather.example", "http", broken, mended).len(), 1);
}

#[test]
fn in_iran_names_are_silenced_answers_forged_and_a_blackout_leaves_home_alive() {
    let seen = play("iran-2025", ("2025-06-18T09:00:00Z", "2025-06-18T15:00:00Z"), &["mci"], &["tehran"]);
    seen.acted(&["names", "hosts", "dns", "blackout"]);
    is(seen.got("twitter.com", "https"), &TIMEOUT);
    is(seen.got("twitter.com", "http"), &TIMEOUT);
    let before = ("2025-06-18T06:00:00Z", "2025-06-18T12:00:00Z");
    is(seen.got_in("mci", "twitter.com", "dns", before.0, before.1), &["dns_bogon_error"]);
    is(seen.got_in("mci", "wikipedia.org", "https", before.0, before.1), &OK);
    is(seen.got("digikala.com", "https"), &OK);
    let cut = seen.got_in("mci", "wikipedia.org", "https", "2025-06-18T12:00:00Z", "2025-06-18T18:00:00Z");
    assert!(cut.contains("generic_timeout_error"), "{cut:?}");
}

#[test]
fn in_china_names_are_reset_answers_forged_and_quic_read_from_7_april_2024() {
    let span = ("2024-04-06T21:00:00Z", "2024-04-07T03:00:00Z");
    let seen = play("china-2024", span, &["telecom"], &["henan", "beijing"]);
    seen.acted(&["http", "sni", "dns", "quic", "henan"]);
    is(seen.got("twitter.com", "https"), &["connection_reset"]);
    is(seen.got("twitter.com", "http"), &["connection_reset"]);
    is(seen.got("twitter.com", "dns"), &["dns_bogon_error"]);
    is(seen.got_in("telecom", "google.com", "quic", span.0, "2024-04-07T00:00:00Z"), &OK);
    is(seen.got_in("telecom", "google.com", "quic", "2024-04-07T00:00:00Z", span.1), &TIMEOUT);
    is(seen.got_in("henan", "github.com", "https", span.0, span.1), &["connection_reset"]);
    is(seen.got_in("beijing", "github.com", "https", span.0, span.1), &OK);
    for control in ["example.org", "baidu.com", "qq.com"] {
        let got = seen.got(control, "https");
        assert!(got.contains("ok") && !got.contains("connection_reset"), "{control}: {got:?}");
    }
}

#[test]
fn benign_twins_have_faults_and_failures_and_no_act_of_a_censor() {
    let parts = [
        ("runet-2021-throttle-benign", ("2021-03-10T06:00:00Z", "2021-03-10T08:30:00Z"), "mts", "moscow"),
        ("runet-2022-march-benign", ("2022-03-12T00:00:00Z", "2022-03-12T03:00:00Z"), "mts", "moscow"),
        ("runet-2024-youtube-benign", ("2024-08-09T00:00:00Z", "2024-08-09T10:00:00Z"), "mts", "moscow"),
        ("runet-2025-whitelist-benign", ("2025-09-05T00:00:00Z", "2025-09-05T04:00:00Z"), "mts", "nizhny"),
        ("runet-2025-benign", ("2025-08-22T00:00:00Z", "2025-08-23T12:00:00Z"), "mts", "moscow"),
        ("runet-2026-benign", ("2026-02-16T00:00:00Z", "2026-02-17T06:00:00Z"), "mts", "moscow"),
        ("iran-2025-benign", ("2025-06-18T10:30:00Z", "2025-06-18T13:30:00Z"), "mci", "tehran"),
        ("china-2024-benign", ("2024-04-14T00:00:00Z", "2024-04-14T03:00:00Z"), "telecom", "beijing"),
    ];
    for (name, span, network, region) in parts {
        let seen = play(name, span, &[network], &[region]);
        assert!(seen.rules.is_empty(), "{name}: {:?}", seen.rules);
        let failed = seen.outcomes.iter().filter(|got| !got.failure.is_empty()).count();
        assert!(failed > 0 || name.starts_with("runet-2021"), "{name}: the faults break nothing");
        assert!(failed < seen.outcomes.len(), "{name}: nothing works");
    }
}
