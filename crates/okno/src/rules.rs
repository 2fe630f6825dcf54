//! `okno rules`: the rules that verdicts come from, and the rulesets that `--rules` names.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use okno_detect::{Outcome, Rule, Ruleset};
use okno_model::State;

use crate::Unusable;
use crate::cli::Rules;

pub fn run(args: &Rules) -> Result<ExitCode> {
    let rules = load(&args.rules)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let mut rows: Vec<_> = rules
            .rules()
            .iter()
            .map(|rule| {
                serde_json::json!({
                    "id": rule.id(), "layer": rule.layer().as_str(), "doc": rule.doc(), "source": rule.source(),
                    "probability": probability(rule), "fit": fit(rule),
                })
            })
            .collect();
        let (id, doc, source) = NO_EVIDENCE;
        rows.push(serde_json::json!({"id": id, "layer": "app", "doc": doc, "source": source}));
        let all = serde_json::json!({"ruleset": rules.stamp(), "rules": rows});
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{} ({} rules, in the order in which they decide)", rules.stamp(), rules.rules().len())?;
    for rule in rules.rules() {
        writeln!(out, "\n{}  [{}]\n  {}\n  source: {}", rule.id(), rule.layer(), rule.doc(), rule.source())?;
        if let Some(probability) = probability(rule) {
            writeln!(out, "  probability: {probability}, {}", rule.basis())?;
        }
    }
    let (id, doc, source) = NO_EVIDENCE;
    writeln!(out, "\n{id}  [app]\n  {doc}\n  source: {source}")?;
    Ok(ExitCode::SUCCESS)
}

/// The probability that a rule claims; triples and rules that claim nothing have none.
fn probability(rule: &Rule) -> Option<f64> {
    match rule.outcome() {
        Outcome::Finding { state, probability, .. } if state != State::Insufficient => Some(probability),
        _ => None,
    }
}

/// What labelled measurements say of a rule.
fn fit(rule: &Rule) -> Option<serde_json::Value> {
    rule.fit().map(|fit| {
        serde_json::json!({
            "hand": fit.hand, "decisions": fit.decisions, "correct": fit.correct, "clusters": fit.clusters,
            "low": fit.low, "high": fit.high,
        })
    })
}

/// What stands in place of a rule where a measurement has nothing to judge: id, meaning, source.
const NO_EVIDENCE: (&str, &str, &str) = (
    "no_evidence",
    "the measurement holds no operation that could be judged",
    "built in, so that every measurement has a verdict",
);

/// The ruleset of that name, or in that file.
pub fn load(name: &str) -> Result<Ruleset> {
    match name {
        "native" => Ok(Ruleset::native()),
        "native-by-hand" => Ok(Ruleset::native_by_hand()),
        "ooni-v5" => Ok(Ruleset::ooni_v5()),
        path => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Unusable(format!("--rules {path}: neither native, ooni-v5 nor a readable file ({error})"))
            })?;
            Ruleset::parse(&text).with_context(|| path.to_owned())
        }
    }
}
