//! The scoreboard: measurements with their truth and their verdicts, counted.

use std::collections::{BTreeMap, BTreeSet};

use okno_model::{Layer, State};
use serde::Serialize;

use super::figures::{Calibration, Counts, Share};
use super::judged::{Finding, Judged};
use super::label::{self, Excluded, Label};
use super::matching;

/// A verdict accuses from this probability on, as in OONI's mapping of `anomaly`.
const ACCUSES: f64 = 0.5;

/// What is counted for one question.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// mechanism, layer, or kind of network
    pub name: String,
    /// the four counts
    #[serde(flatten)]
    pub counts: Counts,
    /// of what was said, so much was so
    pub precision: Share,
    /// of what was so, so much was said
    pub recall: Share,
}

impl Row {
    fn new(name: &str, counts: Counts) -> Self {
        Self { name: name.to_owned(), counts, precision: counts.precision(), recall: counts.recall() }
    }
}

/// How long it took until the first right verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Delay {
    /// mechanism
    pub mechanism: String,
    /// cells in which it acted, and a probe measured while it did
    pub cells: u64,
    /// of these, cells in which a right verdict was given
    pub found: u64,
    /// median seconds from the first act on anybody in the cell to the end of the measurement that was first
    /// judged right
    pub median_s: Option<f64>,
    /// 90th percentile of the same
    pub p90_s: Option<f64>,
    /// median seconds until an hour ended whose judged measurements, in the cell and of the target, accuse
    /// rightly by majority
    pub state_median_s: Option<f64>,
}

/// The board of one group of scenarios.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Board {
    /// rules that judged
    pub ruleset: String,
    /// scenarios, sorted
    pub scenarios: Vec<String>,
    /// measurements that were scored
    pub measurements: u64,
    /// measurements that were not, by reason
    pub excluded: BTreeMap<&'static str, u64>,
    /// of those left out because a box acted beside the target only, so many were accused
    pub beside_accused: u64,
    /// of the scored ones, those whose verdict is `insufficient`
    pub insufficient: u64,
    /// was a measurement interfered with
    pub detection: Row,
    /// of those rightly accused, so many name a right mechanism
    pub right_mechanism: Share,
    /// by true mechanism, or wrongly named one
    pub mechanisms: Vec<Row>,
    /// by layer
    pub layers: Vec<Row>,
    /// by kind of network
    pub networks: Vec<Row>,
    /// by test
    pub tests: Vec<Row>,
    /// true mechanism, what the verdict named, how often; both with words for none
    pub confusion: Vec<(String, String, u64)>,
    /// delays by mechanism
    pub delays: Vec<Delay>,
    /// measurement by measurement: the claimed probability of its state
    pub calibration: Calibration,
    /// verdict by verdict
    pub verdict_calibration: Calibration,
}

/// When a cell and mechanism began, were first found, and found by a majority.
#[derive(Clone, Copy, Debug, Default)]
struct Onset {
    acted: Option<i64>,
    measured: bool,
    found: Option<i64>,
}

/// Collects what a board counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    scenarios: BTreeSet<String>,
    measurements: u64,
    insufficient: u64,
    excluded: BTreeMap<&'static str, u64>,
    beside_accused: u64,
    detection: Counts,
    right: [u64; 2],
    truths: BTreeMap<String, u64>,
    mechanisms: BTreeMap<String, Counts>,
    layers: BTreeMap<Layer, Counts>,
    networks: BTreeMap<String, Counts>,
    tests: BTreeMap<String, Counts>,
    confusion: BTreeMap<(String, String), u64>,
    onsets: BTreeMap<(String, String, String), Onset>,
    hours: BTreeMap<(String, String, String, i64), HourTally>,
    pairs: Vec<(f64, bool)>,
    verdict_pairs: Vec<(f64, bool)>,
}

/// Judged measurements of one target in one cell and hour, and those among them rightly accused, by
/// mechanism.
#[derive(Clone, Debug, Default)]
struct HourTally {
    judged: u64,
    right: BTreeMap<String, u64>,
}

/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;

impl Tally {
    /// A box acted on somebody in a cell; for delays.
    pub fn act(&mut self, scenario: &str, cell: &str, mechanism: &str, at_us: i64) {
        let onset = self.onset(scenario, cell, mechanism);
        onset.acted = Some(onset.acted.map_or(at_us, |first| first.min(at_us)));
    }

    fn onset(&mut self, scenario: &str, cell: &str, mechanism: &str) -> &mut Onset {
        self.onsets.entry((scenario.to_owned(), cell.to_owned(), mechanism.to_owned())).or_default()
    }

    /// Counts one measurement.
    pub fn add(&mut self, label: &Label, judged: Option<&Judged>) {
        self.scenarios.insert(label.scenario.clone());
        let truth = match judged {
            None => Err(Excluded::NoMeasurement),
            Some(judged) => label::mechanisms(label, judged),
        };
        let (truth, judged) = match (truth, judged) {
            (Ok(truth), Some(judged)) => (truth, judged),
            (Err(why), _) => {
                *self.excluded.entry(why.as_str()).or_default() += 1;
                let accused = judged.is_some_and(|judged| judged.summary.anomaly);
                self.beside_accused += u64::from(why == Excluded::Beside && accused);
                return;
            }
            (Ok(_), None) => return,
        };
        self.measurements += 1;
        let said = judged.summary.anomaly;
        self.detection.add(!truth.is_empty(), said);
        self.networks.entry(label.network_type.clone()).or_default().add(!truth.is_empty(), said);
        self.tests.entry(judged.test.clone()).or_default().add(!truth.is_empty(), said);
        self.mechanism_counts(&truth, judged);
        self.delays(label, &truth, judged);
        self.confuse(&truth, judged);
        self.calibrate(label, &truth, judged);
    }

    fn mechanism_counts(&mut self, truth: &[String], judged: &Judged) {
        let accusing: Vec<&Finding> = judged.findings.iter().filter(|finding| accuses(finding)).collect();
        let is_right = |finding: &Finding, one: &String| {
            matching::is_right(one, &finding.mechanism)
                || matching::names_application(finding.layer, &finding.mechanism)
        };
        let mut layers: BTreeMap<Layer, [bool; 2]> =
            judged.findings.iter().map(|finding| (finding.layer, [false; 2])).collect();
        for one in truth {
            let found = accusing.iter().any(|finding| is_right(finding, one));
            *self.truths.entry(one.clone()).or_default() += 1;
            self.mechanisms.entry(one.clone()).or_default().add(true, found);
            let layer = layers.entry(matching::layer(one)).or_default();
            layer[0] = true;
            layer[1] |= found;
        }
        for finding in &accusing {
            if !truth.iter().any(|one| is_right(finding, one)) {
                self.mechanisms.entry(finding.mechanism.clone()).or_default().fp += 1;
                layers.entry(finding.layer).or_default()[1] = true;
            }
        }
        for (layer, [so, said]) in layers {
            self.layers.entry(layer).or_default().add(so, said);
        }
        if !truth.is_empty() && judged.summary.anomaly {
            let named = accusing.iter().any(|finding| truth.iter().any(|one| is_right(finding, one)));
            self.right[usize::from(!named)] += 1;
        }
    }

    fn delays(&mut self, label: &Label, truth: &[String], judged: &Judged) {
        let hour = label.ended_us.div_euclid(HOUR_US);
        let key = (label.scenario.clone(), label.cell.clone(), judged.target.clone(), hour);
        if judged.summary.state != State::Insufficient {
            self.hours.entry(key.clone()).or_default().judged += 1;
        }
        for one in truth {
            let right = judged.findings.iter().any(|finding| {
                accuses(finding)
                    && (matching::is_right(one, &finding.mechanism)
                        || matching::names_application(finding.layer, &finding.mechanism))
            });
            let onset = self.onset(&label.scenario, &label.cell, one);
            onset.measured = true;
            if right {
                onset.found = Some(onset.found.map_or(label.ended_us, |first| first.min(label.ended_us)));
                *self.hours.entry(key.clone()).or_default().right.entry(one.clone()).or_default() += 1;
            }
        }
    }

    fn confuse(&mut self, truth: &[String], judged: &Judged) {
        let named = match judged.summary.state {
            State::Blocked | State::Throttled if judged.summary.anomaly => {
                judged.summary.mechanism.clone().unwrap_or_default()
            }
            state => format!("({state})"),
        };
        // Of several true mechanisms the one that the verdict names stands for all, else the first.
        let one = truth.iter().find(|one| matching::is_right(one, &named)).or_else(|| truth.first());
        let one = one.map_or("(none)", String::as_str).to_owned();
        *self.confusion.entry((one, named)).or_default() += 1;
    }

    fn calibrate(&mut self, label: &Label, truth: &[String], judged: &Judged) {
        let summary = &judged.summary;
        match summary.state {
            State::Insufficient => self.insufficient += 1,
            state => self.pairs.push((summary.probability, state.is_interference() != truth.is_empty())),
        }
        for finding in &judged.findings {
            if let Some(so) = label::state_is_true(label, judged, finding) {
                self.verdict_pairs.push((finding.probability, so));
            }
        }
    }

    /// The board.
    pub fn board(&self, ruleset: &str) -> Board {
        let all = self.measurements;
        let complete = |counts: &Counts| {
            let known = counts.tp + counts.fp + counts.r#fn;
            Counts { tn: all.saturating_sub(known), ..*counts }
        };
        let rows = |map: &BTreeMap<String, Counts>| {
            map.iter().map(|(name, counts)| Row::new(name, *counts)).collect()
        };
        Board {
            ruleset: ruleset.to_owned(),
            scenarios: self.scenarios.iter().cloned().collect(),
            measurements: all,
            excluded: self.excluded.clone(),
            beside_accused: self.beside_accused,
            insufficient: self.insufficient,
            detection: Row::new("interference", self.detection),
            right_mechanism: Share::new(self.right[0], self.right[0] + self.right[1]),
            mechanisms: self
                .mechanisms
                .iter()
                .map(|(name, counts)| Row::new(name, complete(counts)))
                .collect(),
            layers: self.layers.iter().map(|(layer, counts)| Row::new(layer.as_str(), *counts)).collect(),
            networks: rows(&self.networks),
            tests: rows(&self.tests),
            confusion: self.confusion.iter().map(|((a, b), n)| (a.clone(), b.clone(), *n)).collect(),
            delays: self.delay_rows(),
            calibration: Calibration::of(&self.pairs),
            verdict_calibration: Calibration::of(&self.verdict_pairs),
        }
    }

    fn delay_rows(&self) -> Vec<Delay> {
        let mut names: Vec<&String> = self.onsets.keys().map(|(_, _, mechanism)| mechanism).collect();
        names.sort_unstable();
        names.dedup();
        let mut rows = Vec::new();
        for name in names {
            let of_it = self.onsets.iter().filter(|((_, _, mechanism), onset)| {
                mechanism == name && onset.measured && onset.acted.is_some()
            });
            let (mut cells, mut waits, mut states) = (0, Vec::new(), Vec::new());
            for ((scenario, cell, _), onset) in of_it {
                cells += 1;
                let began = onset.acted.unwrap_or_default();
                waits.extend(onset.found.map(|found| (found - began).max(0)));
                states.extend(self.state_after(scenario, cell, name).map(|found| (found - began).max(0)));
            }
            if cells > 0 {
                rows.push(Delay {
                    mechanism: name.clone(),
                    cells,
                    found: waits.len() as u64,
                    median_s: quantile(&mut waits, 0.5),
                    p90_s: quantile(&mut waits, 0.9),
                    state_median_s: quantile(&mut states, 0.5),
                });
            }
        }
        rows
    }

    /// End of the first hour in which most judged measurements of a target in a cell rightly name a
    /// mechanism.
    fn state_after(&self, scenario: &str, cell: &str, mechanism: &str) -> Option<i64> {
        let hours = self.hours.iter().filter(|((s, c, _, _), _)| s == scenario && c == cell);
        let most = hours
            .filter(|(_, tally)| tally.right.get(mechanism).is_some_and(|right| right * 2 > tally.judged));
        most.map(|((_, _, _, hour), _)| (hour + 1) * HOUR_US).min()
    }
}

fn accuses(finding: &Finding) -> bool {
    finding.state.is_interference() && finding.probability >= ACCUSES
}

/// A quantile in seconds of times in microseconds: the nearest rank.
fn quantile(times: &mut [i64], share: f64) -> Option<f64> {
    times.sort_unstable();
    let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times.get(at).map(|us| *us as f64 / 1e6)
}
