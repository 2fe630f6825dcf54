//! From test keys to a judgement: the envelope of a measurement around them, `okno_ingest`, `okno_detect`.
//!
//! Healthy measurements of other networks become the baseline, as they would in the observatory: tests
//! without a helper are judged against it.
#![allow(dead_code, reason = "each test program uses its part")]

use okno_detect::{Baseline, BaselineBuilder, Facts, Judge, Knowledge, Ruleset, Summary, sum_up};
use okno_ingest::reference::Reference;
use okno_ingest::{Extractor, Line, Origin};
use okno_probe::Experiment;
use serde_json::{Value, json};

/// A measurement as one line of a file, from network `asn` of a country.
pub fn line(test: &dyn Experiment, from: (&str, u32), keys: &Value) -> String {
    line_of(test, from, None, keys)
}

/// The same of an input.
pub fn line_of(
    test: &dyn Experiment,
    (country, asn): (&str, u32),
    input: Option<&str>,
    keys: &Value,
) -> String {
    let measurement = json!({
        "annotations": {"platform": "lab"},
        "data_format_version": "0.2.0",
        "input": input,
        "measurement_start_time": "2026-03-20 10:00:00",
        "probe_asn": format!("AS{asn}"),
        "probe_cc": country,
        "probe_ip": "127.0.0.1",
        "report_id": "",
        "resolver_asn": format!("AS{asn}"),
        "resolver_ip": "127.0.0.2",
        "software_name": "okno",
        "software_version": "0.1.0",
        "test_keys": keys,
        "test_name": test.name(),
        "test_runtime": 1.0,
        "test_start_time": "2026-03-20 10:00:00",
        "test_version": test.version(),
    });
    measurement.to_string()
}

/// The rows of a line.
fn with_facts<T>(text: &str, then: impl FnOnce(&Facts<'_, '_>) -> T) -> T {
    let reference = Reference::empty();
    let whole = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let rows = Extractor::new(&reference).line(Origin { source: "lab", line: whole }, text);
    assert!(rows.rejects.is_empty(), "{:?}", rows.rejects);
    let measurement = rows.measurement.expect("a line of ours is a measurement");
    then(&Facts { measurement: &measurement, observations: &rows.observations, controls: &rows.controls })
}

/// What ten other networks saw, where nothing interferes.
pub fn elsewhere(test: &dyn Experiment, healthy: &Value) -> Baseline {
    let mut builder = BaselineBuilder::new();
    let countries = ["DE", "FR", "NL", "PL", "SE", "FI", "JP", "BR", "US", "CA"];
    for (asn, country) in (1_101..).zip(countries) {
        with_facts(&line(test, (country, asn), healthy), |facts| builder.add(facts));
    }
    builder.finish()
}

/// Judges a measurement of AS 8359: the sum, and the mechanisms of all blocked verdicts, sorted.
pub fn judged(test: &dyn Experiment, keys: &Value, baseline: &Baseline) -> (Summary, Vec<String>) {
    let (rules, knowledge) = (Ruleset::native(), Knowledge::empty());
    let text = line(test, ("RU", 8_359), keys);
    with_facts(&text, |facts| {
        let mut verdicts = Vec::new();
        Judge::new(&rules, baseline, &knowledge).judge(facts, &mut verdicts);
        for verdict in &verdicts {
            println!(
                "{} {:?} {:?} {:?} by {} ({})",
                verdict.hostname.as_deref().unwrap_or("-"),
                verdict.layer,
                verdict.state,
                verdict.mechanism,
                verdict.rule,
                verdict.rules_fired
            );
        }
        let mut mechanisms: Vec<String> =
            verdicts.iter().filter_map(|verdict| verdict.mechanism.as_deref()).map(str::to_owned).collect();
        mechanisms.sort();
        mechanisms.dedup();
        (sum_up(&verdicts), mechanisms)
    })
}
