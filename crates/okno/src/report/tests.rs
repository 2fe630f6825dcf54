//! Claims about the whole page, on a made-up report rich enough to fill every section.

use std::collections::BTreeMap;

use super::facts::*;
use super::*;

/// Networks of the made-up report: numbers from the range for documentation (RFC 5398), names invented.
const NETWORKS: &[(u32, &str)] = &[
    (64496, "Volga Telecom"),
    (64497, "Северная Связь"),
    (64498, "Baltic Mobile"),
    (64499, "Ural Net"),
    (64500, "Городские сети"),
    (64501, "Taiga Broadband"),
];

/// A small fixed-seed generator, so that the made-up report varies and stays the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn cell(target: &str, country: &str, network: u32, counts: StateCounts, mechanism: &str) -> CellFacts {
    let hit = counts.interference() > 0;
    CellFacts {
        target: target.into(),
        country: country.into(),
        network,
        counts,
        reports: counts.total(),
        mechanisms: if hit && !mechanism.is_empty() {
            vec![MechanismCount { mechanism: mechanism.into(), measurements: counts.interference() }]
        } else {
            Vec::new()
        },
        first_utc: "2025-06-02 03:11:09".into(),
        last_utc: "2025-07-13 21:40:00".into(),
        first_interference_utc: hit.then(|| format!("2025-06-{:02} 08:15:00", 2 + network % 5)),
        last_interference_utc: hit.then(|| "2025-07-13 19:02:44".into()),
        ..CellFacts::default()
    }
}

fn witness(target: &str, country: &str, network: u32, mechanism: &str, text: &str) -> Witness {
    Witness {
        target: target.into(),
        country: country.into(),
        network,
        state: if mechanism.contains("throttle") { "throttled" } else { "blocked" }.into(),
        measurement_uid: format!("20250612140311.{network:06}_{country}_webconnectivity_0123456789abcdef"),
        test_name: "web_connectivity".into(),
        start_utc: "2025-06-12 14:03:11".into(),
        witness: text.into(),
        mechanism: Some(mechanism.into()),
        rule: "tls.reset_after_hello".into(),
        probability: 0.974,
        fingerprint: None,
    }
}

fn buckets(dice: &mut Dice, days: u64, scale: u64, share: u64) -> Vec<BucketFacts> {
    let silent_from = 8 + dice.roll(days - 14);
    (0..days)
        .filter(|day| !(silent_from..silent_from + 5).contains(day))
        .filter_map(|day| {
            let measurements = dice.roll(scale);
            let start = okno_model::Timestamp::parse("2025-06-02")?.hour_index() + (day * 24) as i64;
            (measurements > 0).then(|| BucketFacts {
                start_utc: okno_model::Timestamp::from_hour_index(start).to_string(),
                measurements,
                interference: measurements * share / 10,
                insufficient: measurements / 6,
            })
        })
        .collect()
}

/// The targets of the made-up report: (name, category, state letter, mechanism, witness).
#[rustfmt::skip]
const TARGETS: &[(&str, &str, char, &str, &str)] = &[
    ("www.bbc.com", "NEWS", 'b', "tls.reset.sni", "tls handshake to 151.101.0.81:443 for www.bbc.com → connection_reset; control connected"),
    ("meduza.io", "NEWS", 'b', "tls.timeout.sni", "tls handshake to 192.0.2.14:443 for meduza.io → generic_timeout_error; control connected"),
    ("www.facebook.com", "GRP", 'b', "tls.reset.sni", "tls handshake to 192.0.2.35:443 for www.facebook.com → connection_reset; control connected"),
    ("ovd.info", "HUMR", 'b', "dns.injection.blockpage", "dns answer 198.51.100.7 from the system resolver for ovd.info: known block page; control: 203.0.113.9"),
    ("signal", "COMT", 'b', "messenger.endpoints", "tls handshake to 192.0.2.77:443 for chat.signal.org → connection_reset"),
    ("www.torproject.org", "ANON", 'b', "http.blockpage", "http get http://www.torproject.org/ → 200, fingerprint of a provider’s block page; control: 200, other page"),
    ("tor", "ANON", 'b', "tor.directory", "tcp connect to 9 of 10 directory authorities → generic_timeout_error"),
    ("www.youtube.com", "MMED", 't', "tls.throttle.sni", "body of 512 kB at 128 kbit/s after the first 16 kB; control target on the same line: 24 Mbit/s"),
    ("example-archive.net", "FILE", 'd', "", ""),
    ("old-forum.example", "GRP", 'd', "", ""),
    ("discord.example", "COMT", '1', "tls.timeout", "tls handshake to 192.0.2.90:443 for discord.example → generic_timeout_error; control connected"),
    ("news.example.org", "NEWS", 'm', "tcp.reset", "tcp connect to 192.0.2.91:443 → connection_reset; control connected"),
    ("rare-site.example", "CULTR", 'i', "", ""),
    ("сайт-без-контроля.example", "MISC", 'i', "", ""),
    ("www.wikipedia.org", "CULTR", 'o', "", ""), ("github.com", "HOST", 'o', "", ""), ("www.who.int", "PUBH", 'o', "", ""),
    ("telegram", "COMT", 'o', "", ""), ("whatsapp", "COMT", 'o', "", ""), ("www.un.org", "IGO", 'o', "", ""),
    ("www.mozilla.org", "COMM", 'o', "", ""), ("archive.org", "CULTR", 'o', "", ""), ("duckduckgo.com", "SRCH", 'o', "", ""),
];

fn counts_of(kind: char, place: usize, dice: &mut Dice) -> StateCounts {
    let n = 3 + dice.roll(10);
    let mut counts = StateCounts { insufficient: dice.roll(3), ..StateCounts::default() };
    match kind {
        'b' if place == 5 => counts.ok = n,
        'b' => (counts.blocked, counts.ok) = (n, dice.roll(2)),
        't' if place < 3 => (counts.throttled, counts.ok) = (n, 1),
        'd' => (counts.down, counts.ok) = (n, dice.roll(2)),
        '1' if place == 2 => (counts.blocked, counts.insufficient) = (1, 0),
        'm' => (counts.ok, counts.blocked) = (n, 1 + dice.roll(2)),
        'i' | '1' => counts.insufficient += 2,
        _ => counts.ok = n,
    }
    counts
}

/// A made-up report that fills every section.
pub(crate) fn fixture() -> ReportFacts {
    let mut dice = Dice(7);
    let mut cells = Vec::new();
    let mut witnesses = Vec::new();
    let mut categories = BTreeMap::new();
    for (at, (name, category, kind, mechanism, text)) in TARGETS.iter().enumerate() {
        categories.insert((*name).to_owned(), (*category).to_owned());
        for (place, (network, _)) in NETWORKS.iter().enumerate() {
            if (at + place * 5) % 11 == 3 {
                continue; // silence
            }
            cells.push(cell(name, "RU", *network, counts_of(*kind, place, &mut dice), mechanism));
        }
        if !text.is_empty() {
            witnesses.push(witness(name, "RU", NETWORKS[at % 6].0, mechanism, text));
        }
    }
    let mut targets = findings::assemble(cells, witnesses, &categories);
    for target in targets.iter_mut().filter(|t| t.counts.interference() > 20) {
        target.timeline = buckets(&mut dice, 42, 9, 9);
        target.bucket_hours = 24;
    }
    let mut facts = ReportFacts { format_version: FORMAT_VERSION, targets, ..ReportFacts::default() };
    sum_scope(&mut facts);
    fill_networks(&mut facts, &mut dice);
    fill_tables(&mut facts);
    facts.quality = quality(&facts);
    facts.versions = versions();
    facts
}

fn sum_scope(facts: &mut ReportFacts) {
    let mut states = StateCounts::default();
    let mut countries: BTreeMap<String, u64> = BTreeMap::new();
    for target in &facts.targets {
        states.add(&target.counts);
        *countries.entry(target.country.clone()).or_default() += target.counts.total();
    }
    facts.scope = Scope {
        countries: countries
            .into_iter()
            .map(|(country, measurements)| CountryCount { country, measurements })
            .collect(),
        first_utc: "2025-06-02 03:11:09".into(),
        last_utc: "2025-07-13 21:40:00".into(),
        measurements: states.total(),
        states,
        networks: NETWORKS.len() as u64,
        targets: facts.targets.len() as u64,
        reports: states.total() / 7,
        observations: states.total() * 11,
        synthetic: false,
    };
}

fn fill_networks(facts: &mut ReportFacts, dice: &mut Dice) {
    for (at, (network, name)) in NETWORKS.iter().enumerate() {
        let mut counts = StateCounts::default();
        for cell in facts.targets.iter().flat_map(|t| &t.cells).filter(|c| c.network == *network) {
            counts.add(&cell.counts);
        }
        facts.networks.push(NetworkFacts {
            network: *network,
            name: Some((*name).into()),
            country: "RU".into(),
            measurements: counts.total(),
            counts,
            targets: 20,
            reports: counts.total() / 7,
            volume: buckets(dice, 42, 12 + at as u64 * 9, 4),
            bucket_hours: 24,
        });
    }
}

fn fill_tables(facts: &mut ReportFacts) {
    let mut mechanisms: BTreeMap<(String, u32), (u64, u64)> = BTreeMap::new();
    for cell in facts.targets.iter().flat_map(|t| &t.cells) {
        for entry in &cell.mechanisms {
            let sum = mechanisms.entry((entry.mechanism.clone(), cell.network)).or_default();
            *sum = (sum.0 + entry.measurements, sum.1 + 1);
        }
    }
    facts.mechanisms = mechanisms
        .into_iter()
        .map(|((mechanism, network), (measurements, targets))| MechanismFacts {
            mechanism,
            network,
            country: "RU".into(),
            measurements,
            targets,
        })
        .collect();
    let states = facts.scope.states;
    for (name, share) in [("web_connectivity", 8), ("telegram", 1), ("signal", 1), ("tor", 0)] {
        facts.nettests.push(NettestFacts {
            test_name: name.into(),
            measurements: states.total() * share / 10,
            counts: StateCounts {
                ok: states.ok * share / 10,
                blocked: states.blocked * share / 10,
                ..StateCounts::default()
            },
            networks: 6,
            targets: 20 * share / 8,
            observations: states.total() * share,
            with_rejects: share / 4,
        });
    }
    for (rule, state, meaning, n) in [
        (
            "control.absent",
            "insufficient",
            "the test has a helper and this measurement names none; nothing to compare with",
            61,
        ),
        ("address.not_trusted", "insufficient", "the address came from a lookup that is itself in doubt", 17),
        (
            "tls.reset_after_hello",
            "blocked",
            "RST after the ClientHello, while the helper completed the handshake",
            210,
        ),
        ("dns.same_as_control", "ok", "the answers overlap with the helper’s", 388),
    ] {
        facts.rules.push(RuleFacts {
            rule: rule.into(),
            state: state.into(),
            meaning: meaning.into(),
            measurements: n,
        });
    }
}

fn quality(facts: &ReportFacts) -> QualityFacts {
    let measurements = facts.scope.measurements;
    QualityFacts {
        files: 38,
        files_unreadable: 1,
        size_bytes: 4_812_004,
        text_bytes: 61_337_100,
        lines: measurements + 12,
        measurements,
        rejected: 12,
        duplicates: 7,
        measurements_with_rejects: 21,
        rejects: vec![
            RejectFacts {
                reason: "invalid_base64".into(),
                rows: 19,
                rows_of_kept_measurements: 19,
                files: 4,
                example_source: "/home/somebody/2025/2025061214_RU_webconnectivity.n0.jsonl.gz".into(),
                example_line: 71,
                example_part: "test_keys.requests[0].response.body".into(),
            },
            RejectFacts {
                reason: "duplicate_measurement".into(),
                rows: 7,
                files: 2,
                example_source: "2025061215_RU_signal.n1.jsonl.gz".into(),
                example_line: 3,
                example_part: "line".into(),
                ..RejectFacts::default()
            },
            RejectFacts {
                reason: "corrupt_stream".into(),
                rows: 1,
                files: 1,
                example_source: "2025061300_RU_tor.n0.jsonl.gz".into(),
                example_line: 0,
                example_part: "file".into(),
                ..RejectFacts::default()
            },
        ],
        controls: ControlCounts { ok: 480, failed: 22, absent: 61, none: 90 },
        clocks: ClockFacts { compared: 640, ahead: 3, behind: 11, ahead_max_s: 93_600 },
        network_unknown: 2,
        country_unknown: 0,
        reference_missing: vec![MissingReference {
            table: "fingerprints_dns".into(),
            measurements: Some(44),
        }],
    }
}

fn versions() -> VersionFacts {
    VersionFacts {
        okno: "0.1.0".into(),
        okno_commit: Some("4597aef".into()),
        ruleset: "native@1 xxh3:0f2c11d07a3e9b54".into(),
        reference: "bogons@builtin fingerprints_http@2024-07-04 ip_to_network@2025-06-01".into(),
        reference_tables: vec![ReferenceTable {
            name: "ip_to_network".into(),
            version: "2025-06-01".into(),
            rows: 612_345,
            source: "a public table of routes".into(),
            licence: "CC BY 4.0".into(),
        }],
        lake: "./okno-data".into(),
        lake_hash: None,
        command: "okno observe samples --report report.html".into(),
        probe_software: vec![SoftwareCount { software: "ooniprobe-android 5.1.0".into(), measurements: 401 }],
    }
}

/// Many targets on many networks, in three countries.
pub(crate) fn large_fixture() -> ReportFacts {
    let mut dice = Dice(11);
    let mut facts = fixture();
    let (mut cells, mut witnesses) = (Vec::new(), Vec::new());
    for t in 0..300usize {
        let (country, kind) = (["RU", "IR", "TR"][t % 3], ['b', 'o', 'i', 'd', 't', 'm', '1'][t % 7]);
        let name = format!("www.a-rather-long-host-name-{t}.example.org");
        for n in 0..40u32 {
            let counts = counts_of(kind, n as usize % 6, &mut dice);
            cells.push(cell(&name, country, 64496 + n, counts, "tls.timeout.sni"));
        }
        witnesses.push(witness(
            &name,
            country,
            64496,
            "tls.timeout.sni",
            &"tls handshake → generic_timeout_error; ".repeat(6),
        ));
    }
    facts.targets = findings::assemble(cells, witnesses, &BTreeMap::new());
    for target in &mut facts.targets {
        target.timeline = buckets(&mut dice, 42, 9, 9);
        target.bucket_hours = 24;
    }
    sum_scope(&mut facts);
    for n in 0..40u32 {
        let volume = buckets(&mut dice, 42, 90, 3);
        facts.networks.push(NetworkFacts {
            network: 64496 + n,
            country: "RU".into(),
            volume,
            bucket_hours: 24,
            ..NetworkFacts::default()
        });
    }
    facts
}

#[test]
fn every_section_is_there_in_both_languages() {
    let html = render(&fixture(), Lang::En);
    for lang in ["en", "ru"] {
        for id in [
            "found",
            "signs",
            "throttled",
            "down",
            "untold",
            "works",
            "table",
            "map",
            "time",
            "how",
            "tests",
            "quality",
            "reading",
            "versions",
            "cite",
        ] {
            assert_eq!(html.matches(&format!("<section id=\"{id}-{lang}\"")).count(), 1, "{id}-{lang}");
        }
        assert!(html.contains(&format!("<article class=\"doc {lang}\" lang=\"{lang}\">")));
    }
    assert!(html.contains("<title>Russia: 7 of 23 targets blocked</title>"), "{}", &html[..900]);
    assert!(html.contains("Россия: заблокировано 7 из 23 целей"));
}

#[test]
fn a_finding_carries_denominator_interval_and_witness() {
    let facts = fixture();
    let meduza = facts.targets.iter().find(|t| t.target == "meduza.io").unwrap();
    let html = render(&facts, Lang::En).replace('\u{a0}', " ");
    let sentence = format!(
        "was blocked on {} of {} networks in Russia: the connection goes silent as soon as the site’s name is sent (TLS).",
        meduza.networks_in_state, meduza.networks_judged
    );
    assert!(html.contains(&sentence), "{sentence}");
    assert!(html.contains(&format!(
        "<b>{} of {}</b> judged measurements: ",
        meduza.counts.interference(),
        meduza.counts.judged()
    )));
    assert!(html.contains("(95% interval "));
    assert!(html.contains("<b>Witness:</b> <span lang=\"en\">tls handshake to 192.0.2.14:443 for meduza.io → generic_timeout_error; control connected</span><br>"));
    assert!(html.contains("блокировался в"));
}

#[test]
fn the_language_that_was_asked_for_comes_first() {
    let (en, ru) = (render(&fixture(), Lang::En), render(&fixture(), Lang::Ru));
    assert!(
        en.starts_with("<!DOCTYPE html>\n<html lang=\"en\">")
            && ru.starts_with("<!DOCTYPE html>\n<html lang=\"ru\">")
    );
    assert!(en.find("class=\"doc en\"") < en.find("class=\"doc ru\""));
    assert!(ru.find("class=\"doc ru\"") < ru.find("class=\"doc en\""));
    assert!(ru.contains("id=\"ru\" class=\"pick\" aria-label=\"Русский\" checked"));
    assert_eq!(Lang::parse("ru_RU.UTF-8"), Some(Lang::Ru));
    assert_eq!(Lang::parse("tlh"), None);
}

#[test]
fn the_page_asks_nothing_of_the_network_and_runs_nothing() {
    let html = render(&fixture(), Lang::Ru).to_lowercase();
    for forbidden in [
        "<script",
        "javascript:",
        "<link",
        "<img",
        "<iframe",
        "@import",
        "url(",
        "@font-face",
        " onload",
        " src=",
    ] {
        let at = html.find(forbidden);
        assert!(at.is_none(), "{forbidden} at {at:?}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn the_largest_report_stays_below_the_limit_and_names_what_it_left_out() {
    let html = render(&large_fixture(), Lang::En);
    assert!(html.len() < MAX_BYTES, "{}", html.len());
    assert!(html.len() > MAX_BYTES / 2, "caps are tighter than they need to be: {}", html.len());
    assert!(html.contains("more: <code>okno sql "));
}

#[test]
fn the_longest_names_cannot_push_a_report_over_the_limit() {
    let mut facts = large_fixture();
    let long = "\"".repeat(5000);
    for target in &mut facts.targets {
        target.target.push_str(&long);
        target.category = Some(long.clone());
        for witness in &mut target.witnesses {
            (witness.witness, witness.measurement_uid, witness.rule) =
                (long.clone(), long.clone(), long.clone());
        }
    }
    for network in &mut facts.networks {
        network.name = Some(long.clone());
    }
    for rule in &mut facts.rules {
        (rule.rule, rule.meaning) = (long.clone(), long.clone());
    }
    facts.versions.command = long.clone();
    facts.quality.rejects = vec![
        RejectFacts {
            reason: long.clone(),
            example_source: long.clone(),
            example_part: long,
            ..RejectFacts::default()
        };
        500
    ];
    let html = render(&facts, Lang::Ru);
    assert!(html.len() < MAX_BYTES, "{}", html.len());
}

#[test]
fn hostile_names_stay_text() {
    let mut facts = fixture();
    let evil = "<script>alert(1)</script>\"' onmouseover=x \u{202e}moc.knab";
    facts.targets[0].target = evil.into();
    for cell in &mut facts.targets[0].cells {
        cell.target = evil.into();
    }
    facts.targets[0].witnesses[0].witness = evil.into();
    facts.targets[0].witnesses[0].measurement_uid = "\"><script>".into();
    facts.targets[0].mechanism = Some("<b>".into());
    facts.targets[0].category = Some(evil.into());
    facts.networks[0].name = Some(evil.into());
    facts.scope.countries[0].country = evil.into();
    facts.rules[0].rule = evil.into();
    facts.quality.rejects[0].reason = evil.into();
    facts.quality.rejects[0].example_source = evil.into();
    facts.nettests[0].test_name = evil.into();
    facts.versions.command = evil.into();
    facts.versions.lake = format!("$(rm -rf)'{evil}");
    let html = render(&facts, Lang::En);
    assert!(!html.contains("<script") && !html.contains('\u{202e}') && !html.contains("\"' on"));
    assert!(html.contains("&lt;script&gt;alert(1)") && html.contains("[U+202E]moc.knab"));
}

#[test]
fn every_link_inside_the_page_leads_somewhere() {
    for facts in [fixture(), ReportFacts::default(), large_fixture()] {
        let html = render(&facts, Lang::En);
        for link in html.split("href=\"#").skip(1) {
            let id = link.split('"').next().unwrap();
            assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
}

#[test]
fn tags_are_balanced() {
    for facts in [fixture(), ReportFacts::default(), large_fixture()] {
        let html = render(&facts, Lang::En);
        for tag in [
            "section", "article", "table", "thead", "tbody", "ul", "ol", "dl", "details", "svg", "figure",
            "div", "a", "b", "code", "span", "p", "main", "header", "nav",
        ] {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}

#[test]
fn insufficient_never_looks_like_ok() {
    let facts = fixture();
    let html = render(&facts, Lang::En);
    assert!(html.contains("<td class=i><i>cannot tell</i>") && html.contains("<i>works</i>"));
    let rule = |selector: &str| {
        let css = include_str!("style.css");
        let line = css.lines().find(|l| l.contains(selector) && l.contains("background")).unwrap();
        line.split_once('{').unwrap().1.to_owned()
    };
    assert_ne!(rule("td.i"), rule("td.o"));
    assert!(rule("td.i").contains("repeating-linear-gradient"));
    let untold: Vec<_> = facts.targets.iter().filter(|t| t.counts.judged() == 0).collect();
    assert!(!untold.is_empty() && untold.iter().all(|t| t.state == "insufficient"));
}

#[test]
fn too_few_measurements_are_signs_and_not_findings() {
    let cells = vec![
        cell("once.example", "RU", 1, StateCounts { blocked: 1, ..StateCounts::default() }, "tls.reset"),
        cell("thrice.example", "RU", 1, StateCounts { blocked: 3, ..StateCounts::default() }, "tls.reset"),
        cell(
            "rarely.example",
            "RU",
            1,
            StateCounts { ok: 9, blocked: 1, ..StateCounts::default() },
            "tls.reset",
        ),
        cell(
            "noise.example",
            "RU",
            1,
            StateCounts { ok: 99, blocked: 1, ..StateCounts::default() },
            "tls.reset",
        ),
        cell(
            "tie.example",
            "RU",
            1,
            StateCounts { ok: 3, blocked: 3, ..StateCounts::default() },
            "tls.reset",
        ),
    ];
    let targets = findings::assemble(cells, Vec::new(), &BTreeMap::new());
    let of = |name: &str| findings::group(targets.iter().find(|t| t.target == name).unwrap());
    assert_eq!(of("once.example"), findings::Group::Sign);
    assert_eq!(of("thrice.example"), findings::Group::Blocked);
    assert_eq!(of("rarely.example"), findings::Group::Sign);
    assert_eq!(of("noise.example"), findings::Group::Works);
    assert_eq!(of("tie.example"), findings::Group::Sign);
}

#[test]
fn books_that_do_not_balance_are_shown_as_such() {
    let mut facts = fixture();
    assert!(!render(&facts, Lang::En).contains("These numbers do not add up"));
    facts.quality.rejected += 1;
    assert!(render(&facts, Lang::En).contains("These numbers do not add up"));
}

#[test]
fn made_up_measurements_are_announced_and_not_linked() {
    let mut facts = fixture();
    assert!(render(&facts, Lang::En).contains("https://explorer.ooni.org/m/20250612140311"));
    facts.scope.synthetic = true;
    let html = render(&facts, Lang::En);
    assert!(html.contains("These measurements are made up.") && html.contains("Эти измерения выдуманы."));
    assert!(!html.contains("explorer.ooni.org"));
}

#[test]
fn no_folder_of_the_input_reaches_the_page() {
    assert!(!render(&fixture(), Lang::En).contains("/home/"));
}

#[test]
fn an_empty_report_says_that_it_is_empty() {
    let html = render(&ReportFacts::default(), Lang::En);
    assert!(html.contains("No measurement could be read") && html.contains("Ни одного измерения"));
    assert!(!html.contains("NaN") && !html.contains("inf"));
}

#[test]
fn facts_survive_json() {
    let facts = fixture();
    let json = serde_json::to_string(&facts).unwrap();
    let back: ReportFacts = serde_json::from_str(&json).unwrap();
    assert_eq!(render(&facts, Lang::En), render(&back, Lang::En));
}

#[test]
fn wilson_intervals_are_those_of_the_textbook() {
    let (low, high) = findings::wilson(41, 44).unwrap();
    assert!((low - 0.8177).abs() < 5e-4 && (high - 0.9765).abs() < 5e-4, "{low} {high}");
    assert_eq!(findings::wilson(0, 0), None);
    assert_eq!(findings::wilson(5, 5).unwrap().1, 1.0);
    assert_eq!(findings::wilson(0, 5).unwrap().0, 0.0);
}

/// Relative luminance and contrast as WCAG 2 defines them.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |hex: &str| {
        let wide: String =
            if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_owned() };
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_contrast_is_at_least_4_5_in_light_and_dark() {
    let css = include_str!("style.css");
    for scheme in css.split(":root{").skip(1).take(2) {
        let colours: BTreeMap<&str, &str> = scheme
            .split('}')
            .next()
            .unwrap()
            .split(';')
            .filter_map(|entry| {
                let (name, value) = entry.trim().split_once(":#")?;
                Some((name, value))
            })
            .collect();
        for (text, ground) in [
            ("--ink", "--paper"),
            ("--soft", "--paper"),
            ("--link", "--paper"),
            ("--ink", "--panel"),
            ("--soft", "--panel"),
            ("--bi", "--b"),
            ("--ti", "--t"),
            ("--di", "--d"),
            ("--oi", "--o"),
            ("--ii", "--i"),
            ("--ii", "--i2"),
            ("--soft", "--gap"),
        ] {
            let ratio = contrast(colours[text], colours[ground]);
            assert!(ratio >= 4.5, "{text} on {ground}: {ratio:.2}");
        }
    }
}
