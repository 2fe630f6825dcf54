//! Fits the probabilities of rules to labelled measurements: how often was a rule's decision true?
//!
//! A decision is one verdict of the rule; it is true as [`label::state_is_true`] says. The posterior is
//! Beta(w·p + true, w·(1−p) + false), where p is the rule's hand-set probability and w its weight in
//! decisions: a rule with few data stays near what its author thought. Measurements of one cell and target
//! repeat each other, so the interval counts each such cluster once: it is that of the same mean with as
//! many decisions as clusters.

use std::collections::{BTreeMap, BTreeSet};

use okno_detect::{Outcome, Ruleset};

use super::judged::Judged;
use super::label::{self, Label};

/// What the hand-set probability weighs, in decisions.
pub const WEIGHT: f64 = 2.0;

/// Decisions of one rule.
#[derive(Clone, Debug, Default)]
struct Decisions {
    all: u64,
    correct: u64,
    clusters: BTreeSet<(String, String, String)>,
}

/// No rule claims more: the lab is not the world, however often a rule was right in it.
pub const MOST: f64 = 0.999;

/// Fewer distinct cells and targets than this say too little: the rule keeps its hand-set number.
pub const LEAST_CLUSTERS: usize = 10;

/// Collects decisions.
#[derive(Clone, Debug, Default)]
pub struct Fitter {
    rules: BTreeMap<String, Decisions>,
    runs: BTreeSet<(String, u64)>,
}

/// What was found of one rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// id of the rule
    pub id: String,
    /// hash of what the rule asks for and concludes
    pub meaning: String,
    /// its hand-set probability
    pub hand: f64,
    /// decisions
    pub decisions: u64,
    /// of these true
    pub correct: u64,
    /// distinct cells and targets among them
    pub clusters: u64,
    /// posterior mean
    pub probability: f64,
    /// lower end of the 95 % interval
    pub low: f64,
    /// upper end
    pub high: f64,
}

impl Fitter {
    /// Names a run that decisions come from.
    pub fn run(&mut self, scenario: &str, seed: u64) {
        self.runs.insert((scenario.to_owned(), seed));
    }

    /// Takes the verdicts on one measurement. One that is not scored is not fitted to either.
    pub fn add(&mut self, label: &Label, judged: &Judged) {
        if label::mechanisms(label, judged).is_err() {
            return;
        }
        for finding in &judged.findings {
            let Some(correct) = label::state_is_true(label, judged, finding) else { continue };
            let decisions = self.rules.entry(finding.rule.clone()).or_default();
            decisions.all += 1;
            decisions.correct += u64::from(correct);
            let cluster = (label.scenario.clone(), label.cell.clone(), judged.target.clone());
            decisions.clusters.insert(cluster);
        }
    }

    /// The posteriors of the rules that decided in enough places, in the ruleset's order.
    pub fn fit(&self, rules: &Ruleset) -> Vec<Fitted> {
        let of = |rule: &okno_detect::Rule| {
            let decisions = self.rules.get(rule.id()).filter(|d| d.clusters.len() >= LEAST_CLUSTERS)?;
            let Outcome::Finding { state, .. } = rule.outcome() else { return None };
            if state == okno_model::State::Insufficient {
                return None;
            }
            let hand = rule.hand_set()?;
            Some(posterior(rule.id(), &rule.meaning(), hand, decisions))
        };
        rules.rules().iter().filter_map(of).collect()
    }

    /// The file `rules/fitted.toml`: the same decisions give the same bytes.
    pub fn file(&self, rules: &Ruleset, version: u32) -> String {
        let names: BTreeSet<&str> = self.runs.iter().map(|(name, _)| name.as_str()).collect();
        let seeds: BTreeSet<u64> = self.runs.iter().map(|(_, seed)| *seed).collect();
        let quoted: Vec<String> = names.iter().map(|name| format!("    \"{name}\",\n")).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let mut text = format!(
            "# Written by `okno lab fit`; not by hand. The probability of each rule that decided in enough places of\n\
             # the labelled runs named here; every other rule keeps its hand-set one. `meaning` is a hash of what the\n\
             # rule asks for and concludes: a rule that changed since is hand-set again until the next fit.\n\
             version = {version}\nruleset = \"{}\"\nweight = {WEIGHT:?}\nseeds = [{}]\nruns = [\n{}]\n",
            rules.text_stamp(),
            seeds.join(", "),
            quoted.concat()
        );
        for fitted in self.fit(rules) {
            text += &format!(
                "\n[[rule]]\nid = \"{}\"\nmeaning = \"{}\"\nhand = {:?}\ndecisions = {}\ncorrect = {}\nclusters = {}\n\
                 probability = {:.4}\nlow = {:.4}\nhigh = {:.4}\n",
                fitted.id,
                fitted.meaning,
                fitted.hand,
                fitted.decisions,
                fitted.correct,
                fitted.clusters,
                fitted.probability,
                fitted.low,
                fitted.high
            );
        }
        text
    }
}

fn posterior(id: &str, meaning: &str, hand: f64, decisions: &Decisions) -> Fitted {
    let (all, correct) = (decisions.all as f64, decisions.correct as f64);
    let probability = ((WEIGHT * hand + correct) / (WEIGHT + all)).min(MOST);
    let clusters = decisions.clusters.len() as u64;
    let strength = WEIGHT + clusters as f64;
    let (a, b) = (probability * strength, (1.0 - probability) * strength);
    Fitted {
        id: id.to_owned(),
        meaning: meaning.to_owned(),
        hand,
        decisions: decisions.all,
        correct: decisions.correct,
        clusters,
        probability,
        low: beta_quantile(a, b, 0.025),
        high: beta_quantile(a, b, 0.975),
    }
}

/// The quantile of a Beta distribution, by halving: 60 steps are beyond what a double tells apart.
fn beta_quantile(a: f64, b: f64, share: f64) -> f64 {
    if a <= 0.0 || b <= 0.0 {
        return if a <= 0.0 { 0.0 } else { 1.0 };
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if beta_share(a, b, middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Regularised incomplete beta function (NIST DLMF 8.17.22, the continued fraction by Lentz's method).
fn beta_share(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges quickly left of the mean; right of it the mirrored one does.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_share(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let tiny = 1e-300;
    let away = |value: f64| if value.abs() < tiny { tiny } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for step in [even, odd] {
            d = 1.0 / away(1.0 + step * d);
            c = away(1.0 + step / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front * fraction
}

/// Logarithm of the gamma function for positive numbers: Stirling's series (DLMF 5.11.1) from 10 on, the
/// recurrence below.
fn ln_gamma(x: f64) -> f64 {
    if x < 10.0 {
        return ln_gamma(x + 1.0) - x.ln();
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * core::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Beta(1, 1) is uniform; Beta(2, 3) at 0.025 and 0.975; Beta(50, 2).
        for (a, b, share, expected) in [
            (1.0, 1.0, 0.3, 0.3),
            (2.0, 3.0, 0.025, 0.067_586),
            (2.0, 3.0, 0.975, 0.805_880),
            (0.5, 0.5, 0.5, 0.5),
        ] {
            assert!((beta_quantile(a, b, share) - expected).abs() < 1e-4, "{a} {b} {share}");
        }
        assert!((ln_gamma(5.0) - 24.0f64.ln()).abs() < 1e-9 && (ln_gamma(0.5) - 0.572_364_943).abs() < 1e-7);
    }

    #[test]
    fn few_decisions_stay_near_the_hand_and_many_follow_the_data() {
        let of = |all, correct, clusters: u32| {
            let cluster = |n: u32| ("s".to_owned(), "c".to_owned(), n.to_string());
            let clusters = (0..clusters).map(cluster).collect();
            posterior("r", "m", 0.9, &Decisions { all, correct, clusters })
        };
        assert!((of(1, 1, 1).probability - 0.9333).abs() < 1e-3);
        let many = of(1000, 500, 400);
        assert!((many.probability - 0.5).abs() < 0.01 && many.low > 0.44 && many.high < 0.56);
        let repeated = of(1000, 500, 4);
        assert!(repeated.low < 0.25, "four clusters say little: {repeated:?}");
    }
}
