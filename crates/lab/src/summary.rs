//! What a run showed, in a page: what acted on whom, what clients got of each target, a timeline, and faults
//! apart from censorship.
//!
//! It is fed row by row while the run goes on, so that it needs no more memory than its own size, and its
//! text is the same for the same rows.

use core::fmt::{self, Write as _};
use std::collections::{BTreeMap, BTreeSet};

use okno_model::{Outcome, Timestamp, Truth};
use serde::Serialize;

/// Most targets named of one rule.
const MAX_NAMED: usize = 8;
/// Most kinds of failure named of one target.
const MAX_FAILURES: usize = 3;
/// Most rules, targets and timeline entries that are counted apart.
const MAX_ROWS: usize = 5_000;
/// Most entries of the timeline in the text.
const SHOWN: usize = 60;

/// A run in a page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// name of the scenario
    pub scenario: String,
    /// its title
    pub title: String,
    /// seed of the run
    pub seed: u64,
    /// first moment, RFC 3339
    pub start_utc: String,
    /// last moment, RFC 3339
    pub end_utc: String,
    /// cells that were simulated
    pub cells: u64,
    /// clients in all cells
    pub clients: u64,
    /// packets that arrived anywhere
    pub packets: u64,
    /// events of all cells
    pub events: u64,
    /// hash over all packets, times and places
    pub trace_hash: String,
    /// acts of filters
    pub acts: u64,
    /// outcomes of clients
    pub outcomes: u64,
    /// outcomes that succeeded
    pub succeeded: u64,
    /// what acted, by mechanism, profile and rule
    pub rules: Vec<RuleCount>,
    /// what clients got, by target and activity
    pub targets: Vec<TargetCount>,
    /// changes of policy, by time
    pub timeline: Vec<Happening>,
    /// faults that are no censorship, by time
    pub faults: Vec<Happening>,
}

/// What one rule did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleCount {
    /// mechanism, as in verdicts
    pub mechanism: String,
    /// profile
    pub profile: String,
    /// its rule
    pub rule: String,
    /// acts
    pub acts: u64,
    /// flows that it triggered on
    pub triggered: u64,
    /// acts by kind
    pub kinds: BTreeMap<String, u64>,
    /// operators
    pub operators: Vec<String>,
    /// regions
    pub regions: Vec<String>,
    /// targets, the first few
    pub targets: Vec<String>,
    /// first act, RFC 3339
    pub first_utc: String,
    /// last act, RFC 3339
    pub last_utc: String,
}

/// What clients got of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TargetCount {
    /// id of the service
    pub target: String,
    /// what they did
    pub activity: String,
    /// in cells in which no filter had acted on it yet
    pub before: Success,
    /// from the first act on it in the cell on
    pub after: Success,
}

/// How often something succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Success {
    /// attempts
    pub attempts: u64,
    /// successes
    pub succeeded: u64,
    /// failures by name
    pub failures: BTreeMap<String, u64>,
    /// median goodput of those that have one, bits per second, to two digits
    pub goodput_bps_p50: Option<u64>,
    #[serde(skip)]
    goodputs: BTreeMap<u64, u64>,
}

/// A dated change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Happening {
    /// when, RFC 3339
    pub at_utc: String,
    /// until when, RFC 3339; empty when it did not end
    pub until_utc: String,
    /// what: `install`, `outage` …
    pub kind: String,
    /// whom it concerned
    pub scope: String,
    /// which box, profile or service
    pub what: String,
    /// cause or note
    pub detail: String,
}

impl Success {
    fn add(&mut self, outcome: &Outcome<'_>) {
        self.attempts += 1;
        if outcome.ok {
            self.succeeded += 1;
        } else {
            let failure = match &*outcome.failure {
                "" => "unknown_failure",
                failure => failure,
            };
            *self.failures.entry(failure.to_owned()).or_default() += 1;
        }
        if let Some(goodput) = outcome.goodput_bps {
            *self.goodputs.entry(two_digits(goodput)).or_default() += 1;
        }
    }

    fn settle(&mut self) {
        let half = self.goodputs.values().sum::<u64>().div_ceil(2);
        let mut seen = 0;
        self.goodput_bps_p50 = self.goodputs.iter().find_map(|(goodput, count)| {
            seen += count;
            (half > 0 && seen >= half).then_some(*goodput)
        });
    }
}

/// Rounds to two digits, so that counting values needs little memory.
fn two_digits(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number.saturating_add(unit / 2) / unit * unit
}

/// Collects a summary.
#[derive(Clone, Debug, Default)]
pub struct Summing {
    summary: Summary,
    rules: BTreeMap<(String, String, String), Rule>,
    targets: BTreeMap<(String, String), TargetCount>,
    struck: BTreeSet<(String, String, Reach)>,
}

/// What an act on a target reaches: a filter that reads TLS leaves QUIC alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    All,
    Http,
    Tls,
    Quic,
    Apps,
}

impl Reach {
    fn of_act(mechanism: &str) -> Self {
        match mechanism.split('.').next() {
            Some("http") => Self::Http,
            Some("tls") => Self::Tls,
            Some("quic") => Self::Quic,
            Some("calls" | "vpn") => Self::Apps,
            _ => Self::All,
        }
    }

    fn of_activity(activity: &str) -> Self {
        match activity {
            "http" => Self::Http,
            "https" | "upload" | "parallel" => Self::Tls,
            "quic" => Self::Quic,
            "dns" | "ping" => Self::All,
            _ => Self::Apps,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Rule {
    count: RuleCount,
    operators: BTreeSet<String>,
    regions: BTreeSet<String>,
    targets: BTreeSet<String>,
    first: Option<Timestamp>,
    last: Timestamp,
}

impl Summing {
    /// Begins with what is known before the run.
    pub fn new(summary: Summary) -> Self {
        Self { summary, ..Self::default() }
    }

    /// Takes a row of the truth.
    pub fn truth(&mut self, row: &Truth<'_>) {
        match &*row.class {
            "act" => self.act(row),
            class => {
                let happening = Happening {
                    at_utc: moment(row.at_utc),
                    until_utc: row.until_utc.map(moment).unwrap_or_default(),
                    kind: row.kind.to_string(),
                    scope: scope(row),
                    what: [&*row.filter, &*row.profile, &*row.target]
                        .into_iter()
                        .filter(|word| !word.is_empty())
                        .collect::<Vec<_>>()
                        .join(" "),
                    detail: row.detail.to_string(),
                };
                let list =
                    if class == "fault" { &mut self.summary.faults } else { &mut self.summary.timeline };
                if list.len() < MAX_ROWS {
                    list.push(happening);
                }
            }
        }
    }

    fn act(&mut self, row: &Truth<'_>) {
        self.summary.acts += 1;
        if row.mechanism.starts_with("blackout") {
            // who lets nothing pass looks at no name: the resolver's silence fails everything else
            self.struck.insert((row.cell.to_string(), String::new(), Reach::All));
        }
        for target in [&row.target, &row.target_name] {
            if !target.is_empty() && self.struck.len() < MAX_ROWS * 20 {
                let reach = Reach::of_act(&row.mechanism);
                self.struck.insert((row.cell.to_string(), target.to_string(), reach));
            }
        }
        let key = (row.mechanism.to_string(), row.profile.to_string(), row.rule.to_string());
        if self.rules.len() >= MAX_ROWS && !self.rules.contains_key(&key) {
            return;
        }
        let rule = self.rules.entry(key).or_default();
        rule.count.acts += 1;
        rule.count.triggered += u64::from(row.kind == "triggered");
        *rule.count.kinds.entry(row.kind.to_string()).or_default() += 1;
        rule.operators.insert(row.operator.to_string());
        rule.regions.insert(row.region.to_string());
        let target = if row.target.is_empty() { &row.target_name } else { &row.target };
        if !target.is_empty() && rule.targets.len() < MAX_ROWS {
            rule.targets.insert(target.to_string());
        }
        rule.first = Some(rule.first.unwrap_or(row.at_utc));
        rule.last = row.at_utc;
    }

    /// Takes an outcome; acts that came before it must have been told before.
    pub fn outcome(&mut self, row: &Outcome<'_>) {
        self.summary.outcomes += 1;
        self.summary.succeeded += u64::from(row.ok);
        let key = (row.target.to_string(), row.activity.to_string());
        if self.targets.len() >= MAX_ROWS && !self.targets.contains_key(&key) {
            return;
        }
        let hit = |name: &str, reach| self.struck.contains(&(row.cell.to_string(), name.to_owned(), reach));
        let struck = [Reach::All, Reach::of_activity(&row.activity)]
            .into_iter()
            .any(|reach| hit("", reach) || hit(&row.target, reach) || hit(&row.target_name, reach));
        let target = self.targets.entry(key).or_default();
        if struck { target.after.add(row) } else { target.before.add(row) }
    }

    /// Ends it. `finish` fills in what is known only after the run.
    pub fn finish(mut self, finish: impl FnOnce(&mut Summary)) -> Summary {
        for ((mechanism, profile, name), mut rule) in self.rules {
            rule.count.operators = rule.operators.into_iter().collect();
            rule.count.regions = rule.regions.into_iter().collect();
            rule.count.targets = rule.targets.into_iter().collect();
            rule.count.first_utc = rule.first.map(moment).unwrap_or_default();
            rule.count.last_utc = moment(rule.last);
            self.summary.rules.push(RuleCount { mechanism, profile, rule: name, ..rule.count });
        }
        for ((target, activity), mut count) in self.targets {
            count.before.settle();
            count.after.settle();
            self.summary.targets.push(TargetCount { target, activity, ..count });
        }
        finish(&mut self.summary);
        self.summary
    }
}

fn scope(row: &Truth<'_>) -> String {
    match (&*row.operator, &*row.region) {
        ("", "") => "everywhere".to_owned(),
        (operator, "") => operator.to_owned(),
        ("", region) => region.to_owned(),
        (operator, region) => format!("{operator} in {region}"),
    }
}

fn moment(at: Timestamp) -> String {
    let micros = u64::try_from(at.micros()).unwrap_or(0);
    crate::scenario::format_moment(okno_wire::Instant::from_micros(micros))
}

/// `3.4 Mbit/s`, `140 kbit/s`.
fn rate(bps: u64) -> String {
    match bps {
        0..1_000 => format!("{bps} bit/s"),
        1_000..1_000_000 => format!("{} kbit/s", bps / 1_000),
        _ => format!("{}.{} Mbit/s", bps / 1_000_000, bps / 100_000 % 10),
    }
}

fn few(words: &[String], all: &str) -> String {
    match words.len() {
        0 => all.to_owned(),
        count if count > MAX_NAMED => {
            format!("{} and {} more", words[..MAX_NAMED].join(", "), count - MAX_NAMED)
        }
        _ => words.join(", "),
    }
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts == 0 {
            return f.write_str("–");
        }
        // tenths of a percent, in whole numbers
        let share = self.succeeded * 1_000 / self.attempts;
        write!(f, "{}.{} % of {}", share / 10, share % 10, self.attempts)?;
        if let Some(goodput) = self.goodput_bps_p50 {
            write!(f, ", {}", rate(goodput))?;
        }
        let mut failures: Vec<(&String, &u64)> = self.failures.iter().collect();
        failures.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        for (name, count) in failures.iter().take(MAX_FAILURES) {
            write!(f, ", {name} {count}×")?;
        }
        match failures.len().saturating_sub(MAX_FAILURES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.title)?;
        writeln!(f, "  {} to {}, seed {}", self.start_utc, self.end_utc, self.seed)?;
        writeln!(
            f,
            "  {} cells, {} clients, {} measurements, {} succeeded; {} packets, {} events; trace {}",
            self.cells,
            self.clients,
            self.outcomes,
            self.succeeded,
            self.packets,
            self.events,
            self.trace_hash
        )?;
        if self.rules.is_empty() {
            writeln!(f, "\nNo filter acted.")?;
        } else {
            writeln!(f, "\nWhat acted ({} acts)", self.acts)?;
        }
        for rule in &self.rules {
            writeln!(f, "  {}  {} / {}", rule.mechanism, rule.profile, rule.rule)?;
            let mut kinds = String::new();
            for (kind, count) in &rule.kinds {
                write!(kinds, "{}{kind} {count}", if kinds.is_empty() { "" } else { ", " })?;
            }
            writeln!(f, "    {} to {}: {kinds}", rule.first_utc, rule.last_utc)?;
            let (operators, regions) = (few(&rule.operators, "–"), few(&rule.regions, "–"));
            writeln!(f, "    on {}; {operators}; {regions}", few(&rule.targets, "addresses"))?;
        }
        writeln!(f, "\nWhat clients got (before the first act on it in the cell | since)")?;
        for target in &self.targets {
            writeln!(f, "  {} {}: {} | {}", target.target, target.activity, target.before, target.after)?;
        }
        write_happenings(f, "Timeline of policy", &self.timeline)?;
        write_happenings(f, "Faults, no censorship", &self.faults)
    }
}

fn write_happenings(f: &mut fmt::Formatter<'_>, title: &str, list: &[Happening]) -> fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    for entry in list.iter().take(SHOWN) {
        let until =
            if entry.until_utc.is_empty() { String::new() } else { format!(" to {}", entry.until_utc) };
        let what = [&*entry.kind, &*entry.what].join(" ");
        let detail = if entry.detail.is_empty() { String::new() } else { format!(": {}", entry.detail) };
        writeln!(f, "  {}{until}  {}  {}{detail}", entry.at_utc, entry.scope, what.trim_end())?;
    }
    match list.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(f, "  … and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use okno_model::Asn;

    use super::*;

    fn outcome(cell: &'static str, ok: bool, goodput: Option<u64>) -> Outcome<'static> {
        Outcome {
            cell: cell.into(),
            target: "twitter.com".into(),
            activity: "https".into(),
            ok,
            failure: if ok { "".into() } else { "connection_reset".into() },
            goodput_bps: goodput,
            ..Outcome::default()
        }
    }

    #[test]
    fn outcomes_before_and_after_the_first_act_in_their_cell_are_told_apart() {
        let mut summing = Summing::new(Summary::default());
        summing.outcome(&outcome("mts/moscow", true, Some(9_876_543)));
        summing.truth(&Truth {
            class: "act".into(),
            kind: "triggered".into(),
            cell: "mts/moscow".into(),
            operator: "mts".into(),
            region: "moscow".into(),
            network: Asn(8359),
            mechanism: "tls.reset.sni".into(),
            rule: "sni-1".into(),
            target: "twitter.com".into(),
            ..Truth::default()
        });
        summing.outcome(&outcome("mts/moscow", false, None));
        summing.outcome(&outcome("ttk/moscow", true, None));
        let summary = summing.finish(|_| {});
        let target = &summary.targets[0];
        assert_eq!((target.before.attempts, target.before.succeeded), (2, 2));
        assert_eq!((target.after.attempts, target.after.succeeded), (1, 0));
        assert_eq!(target.before.goodput_bps_p50, Some(9_900_000));
        assert_eq!(summary.rules[0].triggered, 1);
        let text = summary.to_string();
        assert!(
            text.contains("twitter.com https: 100.0 % of 2, 9.9 Mbit/s | 0.0 % of 1, connection_reset 1×")
        );
    }

    #[test]
    fn goodput_is_rounded_and_not_cut() {
        let claims = [(0, 0), (7, 7), (99, 99), (127_365, 130_000), (124_999, 120_000), (996, 1_000)];
        for (number, rounded) in claims {
            assert_eq!(two_digits(number), rounded);
        }
        assert_eq!(two_digits(u64::MAX), 18_000_000_000_000_000_000, "what cannot grow is cut");
    }

    #[test]
    fn a_blackout_strikes_all_that_its_cell_wants_to_reach() {
        let mut summing = Summing::new(Summary::default());
        summing.outcome(&outcome("mts/moscow", true, None));
        let cell = "mts/moscow".into();
        let (class, kind) = ("act".into(), "triggered".into());
        summing.truth(&Truth { class, kind, cell, mechanism: "blackout".into(), ..Truth::default() });
        summing.outcome(&outcome("mts/moscow", false, None));
        summing.outcome(&outcome("ttk/moscow", true, None));
        let target = &summing.finish(|_| {}).targets[0];
        assert_eq!((target.before.attempts, target.before.succeeded), (2, 2));
        assert_eq!((target.after.attempts, target.after.succeeded), (1, 0));
    }

    #[test]
    fn failures_are_named_by_how_often_they_came_and_the_rest_is_counted() {
        let names = ["a", "b", "c", "d"];
        let failures = names.iter().zip([2, 7, 7, 1]).map(|(name, count)| ((*name).to_owned(), count));
        let success = Success { attempts: 17, failures: failures.collect(), ..Success::default() };
        assert_eq!(success.to_string(), "0.0 % of 17, b 7×, c 7×, a 2× and 1 more");
    }

    #[test]
    fn faults_stand_apart_from_policy() {
        let mut summing = Summing::new(Summary::default());
        for (class, kind) in [("fault", "outage"), ("policy", "install")] {
            let row = Truth { class: class.into(), kind: kind.into(), ..Truth::default() };
            summing.truth(&row);
        }
        let summary = summing.finish(|_| {});
        assert_eq!((summary.faults.len(), summary.timeline.len(), summary.acts), (1, 1, 0));
        assert!(summary.to_string().contains("No filter acted."));
    }
}
