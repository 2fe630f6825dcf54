//! Fitted probabilities: what labelled measurements say of rules, in the place of what their authors thought.
//!
//! `rules/fitted.toml` is written by `okno lab fit` and read here. An entry counts only for the rule it was
//! made for: `meaning` is a hash of what a rule asks for and concludes, so a rule that was changed is
//! hand-set again.

use serde::Deserialize;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FittedFile {
    /// counts up with every fit that is published
    pub(crate) version: u32,
    /// stamp of the texts that were fitted
    #[serde(rename = "ruleset")]
    _ruleset: String,
    /// what a hand-set probability weighed, in decisions
    #[serde(rename = "weight")]
    _weight: f64,
    /// seeds of the runs
    #[serde(rename = "seeds")]
    _seeds: Vec<u64>,
    /// names of the runs
    #[serde(rename = "runs")]
    _runs: Vec<String>,
    /// one entry a rule
    #[serde(default)]
    pub(crate) rule: Vec<Fit>,
}

/// What labelled measurements say of one rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// id of the rule
    pub(crate) id: String,
    /// hash of what the rule asked for and concluded then
    pub(crate) meaning: String,
    /// its hand-set probability then
    pub hand: f64,
    /// decisions of the rule in labelled measurements
    pub decisions: u64,
    /// of these true
    pub correct: u64,
    /// distinct networks, places and targets among them
    pub clusters: u64,
    /// posterior mean: the probability in use
    pub probability: f64,
    /// lower end of its 95 % interval
    pub low: f64,
    /// upper end
    pub high: f64,
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "fitted {} ({}–{}): {} of {} decisions true, in {} networks and targets; by hand {}",
            self.probability, self.low, self.high, self.correct, self.decisions, self.clusters, self.hand
        )
    }
}
