//! Real measurements, read by ingest: the emulator's with their truth, and the odd ones of the archive.
//! Skipped where the shared data are not present.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use okno_detect::{Baseline, Facts, Judge, Knowledge, Ruleset, sum_up};
use okno_ingest::reference::Reference;
use okno_ingest::source::{Batch, Next, open};
use okno_ingest::{Extractor, Origin};
use okno_model::{State, Verdict};

fn shared(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from).join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

/// Judges every measurement of a file and hands over the verdicts of each.
fn each(path: &Path, reference: &Reference, rules: &Ruleset, mut take: impl FnMut(&str, &[Verdict<'_>])) {
    let (baseline, knowledge) = (Baseline::empty(), Knowledge::empty());
    let judge = Judge::new(rules, &baseline, &knowledge);
    let mut extractor = Extractor::new(reference);
    let mut lines = open(path).unwrap();
    while let Next::Bytes(raw) = lines.next_batch() {
        let batch = Batch::prepare(raw);
        for line in &batch.lines {
            let origin = Origin { source: "test", line: *line };
            let out = extractor.line(origin, &batch.text[line.start..line.end]);
            let Some(measurement) = &out.measurement else { continue };
            let mut verdicts = Vec::new();
            let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
            judge.judge(&facts, &mut verdicts);
            take(&measurement.measurement_uid, &verdicts);
        }
    }
}

fn truth() -> Option<BTreeMap<String, (String, Vec<String>)>> {
    let text = std::fs::read_to_string(shared("ooni-qa/qa.labels.json")?).unwrap();
    let labels: serde_json::Value = serde_json::from_str(&text).unwrap();
    let text_of = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let truth = labels.as_array().unwrap().iter().map(|label| {
        let layers = label["layers"].as_array().unwrap().iter().map(text_of).collect();
        (text_of(&label["measurement_uid"]), (text_of(&label["scenario"]), layers))
    });
    Some(truth.collect())
}

fn score(reference: &Reference) {
    let (Some(truth), Some(path)) = (truth(), shared("ooni-qa/qa.jsonl.gz")) else { return };
    let mut wrong = String::new();
    let mut seen = 0;
    each(&path, reference, &Ruleset::native(), |uid, verdicts| {
        seen += 1;
        let (scenario, layers) = &truth[uid];
        let mut found: Vec<String> = verdicts
            .iter()
            .filter(|v| v.state.is_interference())
            .map(|v| {
                if v.state == State::Throttled { "throttle".to_owned() } else { v.layer.as_str().to_owned() }
            })
            .collect();
        found.dedup();
        if &found != layers || sum_up(verdicts).anomaly == layers.is_empty() {
            wrong += &format!("{scenario}: found {found:?}, truth {layers:?}\n");
            for v in verdicts {
                wrong += &format!(
                    "    {}#{} {} {} {} — {:?}\n",
                    v.hostname.as_deref().unwrap_or("-"),
                    v.hop,
                    v.layer,
                    v.state,
                    v.rules_fired,
                    v.witness
                );
            }
        }
    });
    assert_eq!(seen, truth.len());
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_emulators_scenarios_are_all_found_and_nobody_is_accused_without_any_reference_data() {
    score(&Reference::empty());
}

#[test]
fn the_emulators_scenarios_are_all_found_and_nobody_is_accused_with_tables_of_networks() {
    let Some(tables) = shared("ip-tables/npm") else { return };
    score(&Reference::load(&tables).unwrap());
}

#[test]
fn odd_measurements_of_the_archive_are_judged_without_a_panic_and_by_the_taxonomy() {
    let Some(path) = shared("ooni-raw/misc/fixtures-and-examples.jsonl.gz") else { return };
    let mut tally: BTreeMap<String, u32> = BTreeMap::new();
    each(&path, &Reference::empty(), &Ruleset::native(), |_, verdicts| {
        for v in verdicts {
            assert!((0.0..=1.0).contains(&v.probability));
            assert_eq!(v.mechanism.is_some(), v.state.is_interference());
            if v.state.is_interference() || v.layer.as_str() == "app" {
                *tally.entry(format!("{} {} {} {}", v.test_name, v.layer, v.state, v.rule)).or_default() += 1;
            }
        }
    });
    for (line, count) in tally {
        println!("{count:5} {line}");
    }
}

#[test]
fn the_v5_rules_find_and_miss_on_the_emulators_scenarios_what_v5_does() {
    let (Some(truth), Some(path)) = (truth(), shared("ooni-qa/qa.jsonl.gz")) else { return };
    let mut missed = Vec::new();
    let mut false_alarms = Vec::new();
    each(&path, &Reference::empty(), &Ruleset::ooni_v5(), |uid, verdicts| {
        let (scenario, layers) = &truth[uid];
        match (layers.is_empty(), sum_up(verdicts).anomaly) {
            (true, true) => false_alarms.push(scenario.clone()),
            (false, false) => missed.push(scenario.clone()),
            _ => {}
        }
    });
    missed.sort();
    false_alarms.sort();
    // The misses and false alarms that were measured of v5 itself on these scenarios.
    assert_eq!(
        missed,
        [
            "dnsHijackingToProxyWithHTTPURL",
            "httpBlockingConnectionReset",
            "httpDiffWithConsistentDNS",
            "redirectWithConsistentDNSAndThenNXDOMAIN",
            "throttlingWithHTTPS"
        ]
    );
    assert_eq!(false_alarms, ["controlFailureWithSuccessfulHTTPWebsite", "idnaWithoutCensorshipLowercase"]);
}
