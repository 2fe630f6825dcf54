//! The scenarios below `scenarios/tell-apart`: what probes measured there is judged, and laid to what
//! happened.
//!
//! A verdict accuses exactly where a box did something that the probe could see, and then of that mechanism.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use okno_detect::{Baseline, Facts, Judge, Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_ingest::{Extractor, Line, Origin};
use okno_lab::run::{self, MeasurementTruth, Observer, ProbeMeasurement, RunOptions};
use okno_lab::scenario::{Overrides, Scenario};
use okno_model::{Mechanism, State};

#[derive(Default)]
struct Kept(Vec<(String, MeasurementTruth)>);

impl Observer for Kept {
    fn measurement(&mut self, measurement: &ProbeMeasurement<'_>) -> Result<(), String> {
        self.0.push((measurement.line.to_owned(), measurement.truth.clone()));
        Ok(())
    }
}

fn measure(file: &str, seed: u64) -> Vec<(String, MeasurementTruth)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/tell-apart").join(file);
    let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
    let scenario = Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let mut kept = Kept::default();
    let options = RunOptions { threads: 2, ..RunOptions::default() };
    run::run(&scenario, &options, &mut kept).unwrap_or_else(|error| panic!("{error}"));
    kept.0
}

/// State, mechanism and rule of the one verdict.
fn judged(text: &str) -> (State, String, String) {
    let (reference, rules) = (Reference::empty(), Ruleset::native());
    let (baseline, knowledge) = (Baseline::empty(), Knowledge::empty());
    let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let out = Extractor::new(&reference).line(Origin { source: "lab", line }, text);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    let measurement = out.measurement.as_ref().unwrap();
    let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
    let mut verdicts = Vec::new();
    Judge::new(&rules, &baseline, &knowledge).judge(&facts, &mut verdicts);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    let verdict = &verdicts[0];
    (verdict.state, verdict.mechanism.as_deref().unwrap_or("").to_owned(), verdict.rule.to_string())
}

/// Arms as lines, for failures.
fn arms(text: &str) -> String {
    let row: serde_json::Value = serde_json::from_str(text).unwrap();
    let arm = |arm: &serde_json::Value| {
        format!(
            "  {} {} {} {} rx {} good {} value {} rtt {} {}\n",
            arm["name"],
            arm["failure"],
            arm["failed_at"],
            arm["note"],
            arm["received_bytes"],
            arm["goodput"],
            arm["value"],
            arm["rtt_first_ms"],
            arm["rtt_ms"]
        )
    };
    row["test_keys"]["arms"].as_array().into_iter().flatten().map(arm).collect()
}

/// Every verdict of every seed against the truth, and each of `mechanisms` found at least once a seed.
fn told_apart(file: &str, seeds: &[u64], mechanisms: &[&str], fine: usize) {
    for seed in seeds {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        let mut innocent = 0;
        for (line, truth) in measure(file, *seed) {
            let (state, mechanism, rule) = judged(&line);
            // What was done to an address beside the target is not what the verdict is about.
            let about = |target: &String| truth.targets.is_empty() || truth.targets.contains(target);
            let acts: Vec<Mechanism> = truth
                .acts
                .iter()
                .filter(|act| act.visible && about(&act.target))
                .map(|act| act.mechanism)
                .collect();
            let accused = matches!(state, State::Blocked | State::Throttled);
            let at = format!(
                "{file}, seed {seed}, {} {} {:?}: {state:?} {mechanism} by {rule}; acts {:?}, faults {:?}, down {}\n{}",
                truth.cell,
                truth.test,
                truth.input,
                acts,
                truth.faults,
                truth.target_down,
                arms(&line)
            );
            if !acts.is_empty() {
                let named = Mechanism::parse(&mechanism);
                let so = named.is_some_and(|named| {
                    acts.iter().any(|act| named.is_within(*act) || act.is_within(named))
                });
                assert!(accused && so, "{at}");
                *found.entry(mechanism).or_default() += 1;
            } else {
                assert!(!accused, "{at}");
                innocent += 1;
            }
        }
        for mechanism in mechanisms {
            assert!(found.contains_key(*mechanism), "{file}, seed {seed}: {mechanism} not in {found:?}");
        }
        assert!(innocent >= fine, "{file}, seed {seed}: {innocent}");
    }
}

const SEEDS: [u64; 2] = [1, 2];

#[test]
fn low_goodput_by_name_by_queue_by_loss_and_by_protocol() {
    told_apart("policing.toml", &SEEDS, &["tls.throttle.sni", "degradation"], 3);
}

#[test]
fn transfers_that_stop_by_packets_by_bytes_and_by_nature() {
    told_apart("packet-budget.toml", &SEEDS, &["tcp.packet_budget"], 4);
}

#[test]
fn many_handshakes_frozen_by_either_form_or_refused_by_the_server() {
    told_apart("connections.toml", &SEEDS, &["tcp.connection_limit"], 3);
}

#[test]
fn silent_addresses_and_servers_that_are_down() {
    told_apart("silent-addresses.toml", &SEEDS, &["ip.drop"], 6);
}

#[test]
fn blackouts_lists_portals_and_outages() {
    let lists = ["blackout", "whitelist.cidr", "whitelist.sni", "whitelist.both"];
    told_apart("nothing-answers.toml", &SEEDS, &lists, 4);
}

#[test]
fn tunnels_filtered_or_degraded_lossy_paths_and_dead_hosts() {
    let filtered = ["vpn.ike", "vpn.l2tp", "vpn.openvpn", "vpn.wireguard", "degradation"];
    told_apart("tunnels.toml", &SEEDS, &filtered, 10);
}

#[test]
fn calls_without_stun_or_with_lost_media_lossy_paths_and_dead_hosts() {
    told_apart("calls.toml", &SEEDS, &["calls.stun", "tor.snowflake", "degradation"], 8);
}

#[test]
fn names_denied_on_the_path_or_raced_and_resolvers_that_are_down() {
    told_apart("names.toml", &SEEDS, &["dns.nxdomain", "dns.injection.bogon"], 10);
}

/// The most alarming verdict of a page's layers.
fn page(text: &str) -> (State, String, String) {
    let (reference, rules) = (Reference::empty(), Ruleset::native());
    let (baseline, knowledge) = (Baseline::empty(), Knowledge::empty());
    let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let out = Extractor::new(&reference).line(Origin { source: "lab", line }, text);
    let measurement = out.measurement.as_ref().unwrap();
    let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
    let mut verdicts = Vec::new();
    Judge::new(&rules, &baseline, &knowledge).judge(&facts, &mut verdicts);
    let order = |state: State| State::ALL.iter().position(|other| *other == state);
    let worst = verdicts.iter().max_by_key(|verdict| order(verdict.state)).unwrap();
    (worst.state, worst.mechanism.as_deref().unwrap_or("").to_owned(), worst.rule.to_string())
}

#[test]
fn an_operators_page_and_a_captive_portals() {
    for seed in SEEDS {
        let (mut blocked, mut portal) = (0, 0);
        for (line, truth) in measure("pages.toml", seed) {
            let (state, mechanism, rule) = page(&line);
            let accused = matches!(state, State::Blocked | State::Throttled);
            let at =
                format!("seed {seed}, {} {:?}: {state:?} {mechanism} by {rule}", truth.cell, truth.input);
            let acted: Vec<_> =
                truth.acts.iter().filter(|act| act.visible).map(|act| act.mechanism).collect();
            assert_eq!(accused, !acted.is_empty(), "{at}, acts {acted:?}, faults {:?}", truth.faults);
            if accused {
                let named = Mechanism::parse(&mechanism).unwrap();
                let family = |path: &str| path.split('.').next().unwrap().to_owned();
                assert!(
                    acted.iter().any(|act| family(act.as_str()) == family(named.as_str())),
                    "{at} {acted:?}"
                );
                blocked += 1;
            }
            portal += usize::from(truth.faults.iter().any(|fault| fault.kind == "captive-portal"));
        }
        assert!(blocked >= 1 && portal >= 2, "seed {seed}: {blocked} {portal}");
    }
}
