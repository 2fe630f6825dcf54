//! From cells to what a report claims of a target: sums, intervals, and how firmly it stands.
//!
//! Pure arithmetic, kept apart from the page so that `--json` and HTML cannot disagree. A target is called
//! blocked in a country only when most judged measurements of at least one network show it; a lone
//! measurement among many that work is reported as a sign, not as a finding.

use std::collections::BTreeMap;

use okno_model::{State, Timestamp};

use super::facts::{BucketFacts, CellFacts, MechanismCount, StateCounts, Strength, TargetFacts, Witness};

/// Measurements that a finding needs before the report states it without reserve. Three: one may be an
/// accident, two may be one person's line.
pub const FIRM_MEASUREMENTS: u64 = 3;

/// Witnesses that a target keeps.
const WITNESSES: usize = 3;

pub use okno_detect::cells::wilson;

/// The state of most judged measurements, as in a cell of the lake.
pub fn majority(counts: &StateCounts) -> State {
    State::of_most(counts.ok, counts.down, counts.throttled, counts.blocked)
}

/// Hours per bucket that give a chart of this period at most about a hundred bars.
pub fn bucket_hours(first_utc: &str, last_utc: &str) -> u32 {
    let (Some(first), Some(last)) = (Timestamp::parse(first_utc), Timestamp::parse(last_utc)) else {
        return 24;
    };
    let hours = (last.hour_index() - first.hour_index()).max(0) + 1;
    [1, 6, 24, 168, 672].into_iter().find(|bucket| hours <= i64::from(*bucket) * 100).unwrap_or(8064)
}

/// Targets out of cells: one per target and country, most alarming and best witnessed first.
///
/// `categories` maps a target to its category. Derived fields of the cells (`state`, shares) are filled here.
pub fn assemble(
    cells: Vec<CellFacts>,
    witnesses: Vec<Witness>,
    categories: &BTreeMap<String, String>,
) -> Vec<TargetFacts> {
    let mut groups: BTreeMap<(String, String), TargetFacts> = BTreeMap::new();
    for mut cell in cells {
        judge_cell(&mut cell);
        let key = (cell.country.clone(), cell.target.clone());
        groups.entry(key).or_default().cells.push(cell);
    }
    for witness in witnesses {
        if let Some(target) = groups.get_mut(&(witness.country.clone(), witness.target.clone())) {
            target.witnesses.push(witness);
        }
    }
    let mut targets: Vec<TargetFacts> = groups
        .into_iter()
        .map(|((country, name), mut target)| {
            target.category = categories.get(&name).cloned();
            (target.target, target.country) = (name, country);
            sum_up(&mut target);
            target
        })
        .collect();
    targets.sort_by(|a, b| {
        rank(a).cmp(&rank(b)).then_with(|| (&a.country, &a.target).cmp(&(&b.country, &b.target)))
    });
    targets
}

fn judge_cell(cell: &mut CellFacts) {
    cell.state = majority(&cell.counts).as_str().to_owned();
    let interval = wilson(cell.counts.interference(), cell.counts.judged());
    cell.interference_share = share(&cell.counts);
    cell.interference_low = interval.map(|i| i.0);
    cell.interference_high = interval.map(|i| i.1);
}

fn share(counts: &StateCounts) -> Option<f64> {
    (counts.judged() > 0).then(|| counts.interference() as f64 / counts.judged() as f64)
}

fn sum_up(target: &mut TargetFacts) {
    target.cells.sort_by_key(|cell| cell.network);
    let mut mechanisms: BTreeMap<String, u64> = BTreeMap::new();
    for cell in &target.cells {
        target.counts.add(&cell.counts);
        target.reports += cell.reports;
        target.networks_measured += u64::from(cell.counts.total() > 0);
        target.networks_judged += u64::from(cell.counts.judged() > 0);
        for entry in &cell.mechanisms {
            *mechanisms.entry(entry.mechanism.clone()).or_default() += entry.measurements;
        }
    }
    target.mechanisms = mechanisms
        .into_iter()
        .map(|(mechanism, measurements)| MechanismCount { mechanism, measurements })
        .collect();
    target.mechanisms.sort_by_key(|entry| std::cmp::Reverse(entry.measurements)); // stable: ties by path
    target.mechanism = target.mechanisms.first().map(|entry| entry.mechanism.clone());
    let interval = wilson(target.counts.interference(), target.counts.judged());
    target.interference_share = share(&target.counts);
    target.interference_low = interval.map(|i| i.0);
    target.interference_high = interval.map(|i| i.1);
    let known = |pick: fn(&CellFacts) -> Option<&str>| {
        let mut times: Vec<&str> = target.cells.iter().filter_map(pick).filter(|t| !t.is_empty()).collect();
        times.sort_unstable();
        (times.first().map(|t| (*t).to_owned()), times.last().map(|t| (*t).to_owned()))
    };
    let first = known(|cell| Some(&cell.first_utc)).0.unwrap_or_default();
    let last = known(|cell| Some(&cell.last_utc)).1.unwrap_or_default();
    let onset = known(|cell| cell.first_interference_utc.as_deref()).0;
    let end = known(|cell| cell.last_interference_utc.as_deref()).1;
    (target.first_utc, target.last_utc) = (first, last);
    (target.first_interference_utc, target.last_interference_utc) = (onset, end);
    conclude(target);
}

/// State and strength of a target in a country, from its cells.
fn conclude(target: &mut TargetFacts) {
    let in_state = |state: State| target.cells.iter().filter(|c| c.state == state.as_str()).count() as u64;
    let counts = &target.counts;
    let (blocked, throttled) = (in_state(State::Blocked), in_state(State::Throttled));
    let state = if blocked + throttled > 0 {
        // What more networks show, then what more measurements show; then the graver.
        if (throttled, counts.throttled) > (blocked, counts.blocked) {
            State::Throttled
        } else {
            State::Blocked
        }
    } else if counts.judged() == 0 {
        State::Insufficient
    } else if counts.down > counts.ok {
        State::Down
    } else {
        State::Ok
    };
    let firm: u64 = target
        .cells
        .iter()
        .filter(|c| c.state == State::Blocked.as_str() || c.state == State::Throttled.as_str())
        .map(|c| c.counts.interference())
        .sum();
    target.strength = match (state.is_interference(), counts.interference()) {
        (true, _) if firm >= FIRM_MEASUREMENTS => Strength::Firm,
        (true, _) => Strength::Few,
        (false, 0) => Strength::None,
        (false, _) => Strength::Minority,
    };
    target.networks_in_state = in_state(state);
    target.state = state.as_str().to_owned();
    let wanted = target.state.clone();
    let certainty = |w: &Witness| (w.probability.clamp(0.0, 1.0) * 1e9) as u64;
    target.witnesses.sort_by(|a, b| {
        (b.state == wanted)
            .cmp(&(a.state == wanted))
            .then(certainty(b).cmp(&certainty(a)))
            .then_with(|| (&a.start_utc, &a.measurement_uid).cmp(&(&b.start_utc, &b.measurement_uid)))
    });
    target.witnesses.truncate(WITNESSES);
}

/// What the report says of a target; every target stands in exactly one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// blocked, firmly
    Blocked,
    /// throttled, firmly
    Throttled,
    /// interference was seen, but too rarely or too seldom to call it a finding
    Sign,
    /// down for everyone
    Down,
    /// nothing could be judged
    Untold,
    /// works
    Works,
}

/// The group of a target. A minority of blocked measurements counts as a sign when there are
/// [`FIRM_MEASUREMENTS`] of them or one in ten; below that it is noise, and the count still shows in the map.
pub fn group(target: &TargetFacts) -> Group {
    let noticed = target.counts.interference() >= FIRM_MEASUREMENTS
        || target.interference_share.is_some_and(|share| share >= 0.1);
    match (State::parse(&target.state), target.strength) {
        (Some(State::Blocked), Strength::Firm) => Group::Blocked,
        (Some(State::Throttled), Strength::Firm) => Group::Throttled,
        (Some(State::Blocked | State::Throttled), _) => Group::Sign,
        (Some(State::Ok | State::Down), Strength::Minority) if noticed => Group::Sign,
        (Some(State::Ok), _) => Group::Works,
        (Some(State::Down), _) => Group::Down,
        (Some(State::Insufficient) | None, _) => Group::Untold,
    }
}

/// Order of the report: by group, then by networks, then by count.
fn rank(target: &TargetFacts) -> (Group, std::cmp::Reverse<u64>, std::cmp::Reverse<u64>) {
    let group = group(target);
    let weight = match group {
        Group::Blocked | Group::Throttled | Group::Sign => target.counts.interference(),
        Group::Down => target.counts.down,
        Group::Untold | Group::Works => target.counts.total(),
    };
    (group, std::cmp::Reverse(target.networks_in_state), std::cmp::Reverse(weight))
}

/// Joins neighbouring buckets until at most `limit` remain in the period; returns them with their new length
/// in hours, indexed from the period's first bucket. Silence is an absent index.
pub(super) fn rebin(
    buckets: &[BucketFacts],
    hours: u32,
    first_utc: &str,
    last_utc: &str,
    limit: i64,
) -> Option<Rebinned> {
    let (first, last) = (Timestamp::parse(first_utc)?, Timestamp::parse(last_utc)?);
    let mut length = i64::from(hours.max(1));
    while (last.hour_index().div_euclid(length) - first.hour_index().div_euclid(length)) >= limit {
        length *= 2;
    }
    let origin = first.hour_index().div_euclid(length);
    let count = last.hour_index().div_euclid(length) - origin + 1;
    if count < 1 {
        return None;
    }
    let mut bars: BTreeMap<i64, (u64, u64, u64)> = BTreeMap::new();
    for bucket in buckets.iter().filter(|bucket| bucket.measurements > 0) {
        let Some(start) = Timestamp::parse(&bucket.start_utc) else { continue };
        let index = start.hour_index().div_euclid(length) - origin;
        let bar = bars.entry(index.clamp(0, count - 1)).or_default();
        bar.0 += bucket.measurements;
        bar.1 += bucket.interference;
        bar.2 += bucket.insufficient;
    }
    Some(Rebinned { hours: length, count, origin_hour: origin * length, bars })
}

/// Buckets of a chart.
pub(super) struct Rebinned {
    /// hours per bucket
    pub hours: i64,
    /// buckets in the period
    pub count: i64,
    /// first hour, since the epoch
    pub origin_hour: i64,
    /// (measurements, interference, insufficient) by index; absent is silence
    pub bars: BTreeMap<i64, (u64, u64, u64)>,
}
