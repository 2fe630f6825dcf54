//! The closed loop: what probes in scenarios measured, judged as `okno observe` judges, against the truth.
//!
//! ```text
//! scenario ─run─► lines + labels ─judged─► verdicts ─board─► TP FP FN TN, delays, calibration
//!                                             └──────fit───► posteriors of rules (rules/fitted.toml)
//! ```
//! How truth and verdict are matched, and what is left out of the count, is docs/scoring.md; the code that
//! decides it is [`matching`] and [`mod@label`] alone.

pub mod board;
pub mod figures;
pub mod fit;
mod judged;
pub mod label;
pub mod matching;
pub mod page;
mod split;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use okno_detect::{Knowledge, Ruleset};
use okno_ingest::reference::Reference;
use okno_model::Truth;
use serde::Serialize;

use crate::run::{MeasurementTruth, Observer, ProbeMeasurement, RunError, RunOptions, run};
use crate::scenario::{Protocol, Scenario, Service};
use board::{Board, Tally};
pub use judged::{Desk, Finding, Judged};
pub use label::{Deed, Label};
pub use split::Split;

/// What one run of a scenario gave: measurements as text, their truth, and when boxes acted on anybody.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// the scenario's name
    pub scenario: String,
    /// the scenario promises that no censor acts in it
    pub benign: bool,
    /// seed of the run
    pub seed: u64,
    /// one line of JSON a measurement
    pub lines: Vec<String>,
    /// their truth, in the same order
    pub labels: Vec<Label>,
    /// cell, mechanism, and the first moment in µs since 1970
    pub onsets: BTreeMap<(String, String), i64>,
    /// ids of services that serve tests and are no targets by themselves: helpers and public resolvers
    servants: BTreeSet<String>,
}

impl Collected {
    /// Runs a scenario and keeps what its probes measured.
    ///
    /// # Errors
    /// As [`run`].
    pub fn from(scenario: &Scenario, threads: usize) -> Result<Self, RunError> {
        let mut kept = Self {
            scenario: scenario.name.clone(),
            benign: scenario.benign,
            seed: scenario.seed,
            servants: servants(scenario),
            ..Self::default()
        };
        run(scenario, &RunOptions { threads, ..RunOptions::default() }, &mut kept)?;
        Ok(kept)
    }
}

/// Services that speak as helpers or resolvers.
fn servants(scenario: &Scenario) -> BTreeSet<String> {
    let serves = |service: &&Service| {
        service.speaks.iter().any(|protocol| matches!(protocol, Protocol::Helper | Protocol::Dns))
    };
    scenario.services.iter().filter(serves).map(|service| service.id.text.clone()).collect()
}

/// The truth of a measurement, as scoring reads it.
fn label(truth: &MeasurementTruth, servants: &BTreeSet<String>) -> Label {
    let us = |at: okno_wire::Instant| i64::try_from(at.micros()).unwrap_or(i64::MAX);
    // A helper or a resolver that the test chose; without targets the network is the subject.
    let is_beside = |act: &crate::run::MeasuredAct| {
        !truth.targets.is_empty() && !truth.targets.contains(&act.target) && servants.contains(&act.target)
    };
    let deed = |act: &crate::run::MeasuredAct| Deed {
        beside: is_beside(act),
        mechanism: act.mechanism.as_str().to_owned(),
        kind: act.kind_name.to_owned(),
        remote: Some(act.outside.ip),
        name: act.target_name.clone(),
    };
    Label {
        scenario: truth.scenario.clone(),
        benign: truth.benign,
        cell: truth.cell.clone(),
        network_type: truth.access.clone(),
        began_us: us(truth.start),
        ended_us: us(truth.end),
        deeds: truth.acts.iter().filter(|act| act.visible).map(deed).collect(),
        faults: truth.faults.iter().map(|fault| fault.kind.clone()).collect(),
    }
}

impl Observer for Collected {
    fn truth(&mut self, row: &Truth<'_>) -> Result<(), String> {
        if row.class == "act"
            && matches!(&*row.kind, "dropped" | "rewritten" | "injected" | "policed" | "delayed")
        {
            let key = (row.cell.to_string(), row.mechanism.to_string());
            let at = row.at_utc.micros();
            self.onsets.entry(key).and_modify(|first| *first = at.min(*first)).or_insert(at);
        }
        Ok(())
    }

    fn measurement(&mut self, measurement: &ProbeMeasurement<'_>) -> Result<(), String> {
        self.lines.push(measurement.line.to_owned());
        self.labels.push(label(measurement.truth, &self.servants));
        Ok(())
    }
}

/// A scored measurement as one line of JSON: id, cell, true mechanisms or why it is not scored, verdicts.
pub fn scored_line(label: &Label, judged: Option<&Judged>) -> String {
    let truth = judged.map_or(Err(label::Excluded::NoMeasurement), |judged| label::mechanisms(label, judged));
    let verdicts: Vec<serde_json::Value> = judged
        .iter()
        .flat_map(|judged| &judged.findings)
        .map(|finding| {
            serde_json::json!({
                "hostname": finding.host, "layer": finding.layer.as_str(), "state": finding.state.as_str(),
                "mechanism": finding.mechanism, "probability": finding.probability, "rule": finding.rule,
            })
        })
        .collect();
    let summary = judged.map(|judged| &judged.summary);
    let line = serde_json::json!({
        "measurement_uid": judged.map(|judged| &judged.uid),
        "scenario": label.scenario,
        "cell": label.cell,
        "test_name": judged.map(|judged| &judged.test),
        "target": judged.map(|judged| &judged.target),
        "truth": truth.as_ref().ok(),
        "excluded": truth.as_ref().err().map(|why| why.as_str()),
        "faults": label.faults,
        "state": summary.map(|summary| summary.state.as_str()),
        "mechanism": summary.and_then(|summary| summary.mechanism.as_ref()),
        "probability": summary.map(|summary| summary.probability),
        "verdicts": verdicts,
    });
    format!("{line}\n")
}

/// The boards of one ruleset.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Boards {
    /// name of the ruleset
    pub rules: String,
    /// scenarios with a censor
    pub censored: Board,
    /// their benign twins
    pub benign: Board,
}

/// Scores runs by one ruleset.
pub struct Scorer<'r> {
    rules: &'r Ruleset,
    reference: Reference,
    knowledge: Knowledge,
    censored: Tally,
    benign: Tally,
}

impl<'r> Scorer<'r> {
    /// Nothing scored yet.
    pub fn new(rules: &'r Ruleset) -> Self {
        let knowledge = Knowledge::empty();
        let (censored, benign) = Default::default();
        Self { rules, reference: Reference::empty(), knowledge, censored, benign }
    }

    /// Judges and counts a run. Gives what was judged, in the order of the lines, for those who want more.
    pub fn add(&mut self, run: &Collected) -> Vec<Option<Judged>> {
        let judged = Desk::new(self.rules, &self.reference, &self.knowledge).judge(&run.lines);
        let tally = if run.benign { &mut self.benign } else { &mut self.censored };
        for ((cell, mechanism), at) in &run.onsets {
            tally.act(&run.scenario, cell, mechanism, *at);
        }
        for (label, one) in run.labels.iter().zip(&judged) {
            tally.add(label, one.as_ref());
        }
        judged
    }

    /// The boards.
    pub fn boards(&self) -> Boards {
        let stamp = self.rules.stamp();
        Boards {
            rules: self.rules.name().to_owned(),
            censored: self.censored.board(stamp),
            benign: self.benign.board(stamp),
        }
    }
}

#[cfg(test)]
mod tests;
