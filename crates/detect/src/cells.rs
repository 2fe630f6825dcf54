//! Verdicts counted on a grid of target × network × layer × hour, hours of silence included.
//!
//! A measurement counts once per cell: of several hops the most alarming state stands for it, as in the
//! summary. The grid is dense because a country that falls silent is a finding; where a dense grid would be
//! larger than the limit, series keep the hours between their own first and last measurement, and beyond that
//! only the hours that have data.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use okno_model::{Asn, Cell, Country, Layer, State, Timestamp, Verdict};

use crate::hash::{self, FixedState};

/// Hours that a table of cells shall cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// first hour; `None` for the first that has data
    pub first_hour: Option<Timestamp>,
    /// last hour, inclusive; `None` for the last that has data
    pub last_hour: Option<Timestamp>,
    /// cells at most; see the module for what is left out first
    pub max_cells: u64,
}

impl Default for Grid {
    fn default() -> Self {
        Self { first_hour: None, last_hour: None, max_cells: 500_000 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Series {
    country: Country,
    target: u32,
    network: Asn,
    layer: Layer,
}

/// A series by name, in the order of the table.
type Named<'w> = (Country, &'w str, Asn, Layer);

#[derive(Clone, Debug, Default)]
struct Tally {
    states: [u32; 5],
    rules: Vec<(u16, u32)>,
    mechanisms: Vec<(u16, u32)>,
    reports: HashSet<u64, FixedState>,
}

/// The part of a measurement that falls into one cell, until the next measurement begins.
#[derive(Clone, Debug)]
struct Open {
    series: Series,
    hour: i64,
    state: State,
    probability: f64,
    rule: u16,
    mechanism: Option<u16>,
}

/// Words that repeat, numbered in order of first appearance.
#[derive(Clone, Debug, Default)]
struct Words {
    numbers: HashMap<String, u32, FixedState>,
    words: Vec<String>,
}

impl Words {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = self.words.len() as u32;
        self.words.push(word.to_owned());
        self.numbers.insert(word.to_owned(), number);
        number
    }

    /// Rules and mechanisms are few; what goes beyond shares the last number.
    fn small(&mut self, word: &str) -> u16 {
        u16::try_from(self.number(word)).unwrap_or(u16::MAX)
    }

    fn word(&self, number: usize) -> &str {
        self.words.get(number).map_or("", String::as_str)
    }
}

/// Counts verdicts into cells.
#[derive(Clone, Debug, Default)]
pub struct CellBuilder {
    targets: Words,
    rules: Words,
    mechanisms: Words,
    cells: HashMap<(Series, i64), Tally, FixedState>,
    open: Vec<Open>,
    current: String,
    report: Option<u64>,
}

impl CellBuilder {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a verdict. Verdicts of one measurement follow each other; `report` is the measurement's
    /// report id.
    pub fn add(&mut self, verdict: &Verdict<'_>, report: Option<&str>) {
        if verdict.measurement_uid != self.current {
            self.close();
            self.current.clear();
            self.current.push_str(&verdict.measurement_uid);
        }
        self.report = report.filter(|report| !report.is_empty()).map(|report| hash::of_text(report, 21));
        let series = Series {
            country: verdict.country,
            target: self.targets.number(&verdict.target),
            network: verdict.network,
            layer: verdict.layer,
        };
        let next = Open {
            series,
            hour: verdict.start_utc.hour_index(),
            state: verdict.state,
            probability: verdict.probability,
            rule: self.rules.small(&verdict.rule),
            mechanism: verdict.mechanism.as_deref().map(|path| self.mechanisms.small(path)),
        };
        match self.open.iter_mut().find(|open| open.series == series && open.hour == next.hour) {
            Some(open) => {
                let order = next.state.cmp(&open.state).then(next.probability.total_cmp(&open.probability));
                if order.is_gt() {
                    *open = next;
                }
            }
            None => self.open.push(next),
        }
    }

    /// Adds all that another builder counted; measurements must not be split between the two.
    pub fn merge(&mut self, mut other: Self) {
        self.close();
        other.close();
        let rules: Vec<u16> = other.rules.words.iter().map(|word| self.rules.small(word)).collect();
        let mechanisms: Vec<u16> =
            other.mechanisms.words.iter().map(|word| self.mechanisms.small(word)).collect();
        let targets: Vec<u32> = other.targets.words.iter().map(|word| self.targets.number(word)).collect();
        let renamed = |numbers: &[u16], old: u16| numbers.get(usize::from(old)).copied().unwrap_or(u16::MAX);
        for ((mut series, hour), tally) in other.cells {
            series.target = targets.get(series.target as usize).copied().unwrap_or(u32::MAX);
            let own = self.cells.entry((series, hour)).or_default();
            for (count, more) in own.states.iter_mut().zip(tally.states) {
                *count += more;
            }
            for (rule, count) in tally.rules {
                bump(&mut own.rules, renamed(&rules, rule), count);
            }
            for (mechanism, count) in tally.mechanisms {
                bump(&mut own.mechanisms, renamed(&mechanisms, mechanism), count);
            }
            own.reports.extend(tally.reports);
        }
    }

    /// Cells that have data.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.open.is_empty()
    }

    /// The cells, sorted by country, target, network, layer and hour.
    pub fn finish(self, grid: Grid) -> Vec<Cell<'static>> {
        let mut cells = Vec::new();
        self.finish_each(grid, |cell| cells.push(cell));
        cells
    }

    /// The same, one by one, for tables that do not fit into memory.
    pub fn finish_each(mut self, grid: Grid, mut take: impl FnMut(Cell<'static>)) {
        self.close();
        let mut series: BTreeMap<Named<'_>, Vec<(i64, &Tally)>> = BTreeMap::new();
        for ((key, hour), tally) in &self.cells {
            let target = self.targets.word(key.target as usize);
            series.entry((key.country, target, key.network, key.layer)).or_default().push((*hour, tally));
        }
        let hours = || self.cells.keys().map(|(_, hour)| *hour);
        let first = grid.first_hour.map(Timestamp::hour_index).or_else(|| hours().min()).unwrap_or(0);
        let last = grid.last_hour.map(Timestamp::hour_index).or_else(|| hours().max()).unwrap_or(-1);
        let mut own_span = 0u64;
        for hours in series.values_mut() {
            hours.sort_unstable_by_key(|(hour, _)| *hour);
            hours.retain(|(hour, _)| (first..=last).contains(hour));
            own_span += span(hours).map_or(0, |(first, last)| (last - first + 1).unsigned_abs());
        }
        let whole = (last - first + 1).max(0).unsigned_abs().saturating_mul(series.len() as u64);
        let silent = Tally::default();
        for ((country, target, network, layer), hours) in &series {
            let (from, to) = match span(hours) {
                _ if whole <= grid.max_cells => (first, last),
                Some(own) if own_span <= grid.max_cells => own,
                _ => (0, -1),
            };
            let key = |hour, tally: &Tally| self.cell(*country, target, *network, *layer, hour, tally);
            if from > to {
                hours.iter().for_each(|(hour, tally)| take(key(*hour, tally)));
                continue;
            }
            let mut with_data = hours.iter().peekable();
            for hour in from..=to {
                match with_data.next_if(|(at, _)| *at == hour) {
                    Some((_, tally)) => take(key(hour, tally)),
                    None => take(key(hour, &silent)),
                }
            }
        }
    }

    fn close(&mut self) {
        for open in self.open.drain(..) {
            let tally = self.cells.entry((open.series, open.hour)).or_default();
            tally.states[open.state as usize] += 1;
            bump(&mut tally.rules, open.rule, 1);
            if let Some(mechanism) = open.mechanism {
                bump(&mut tally.mechanisms, mechanism, 1);
            }
            tally.reports.extend(self.report);
        }
    }

    fn cell(
        &self,
        country: Country,
        target: &str,
        network: Asn,
        layer: Layer,
        hour: i64,
        tally: &Tally,
    ) -> Cell<'static> {
        let [insufficient, ok, down, throttled, blocked] = tally.states;
        let judged = ok + down + throttled + blocked;
        let interval = wilson(u64::from(throttled + blocked), u64::from(judged));
        let mut cell = Cell {
            target: target.to_owned().into(),
            country,
            network,
            layer,
            // Times come from probes; the first hour of all time has no start that fits.
            hour_utc: Timestamp::from_micros(hour.saturating_mul(3_600_000_000)),
            measurements: judged + insufficient,
            ok,
            down,
            blocked,
            throttled,
            insufficient,
            rules: histogram(&tally.rules, &self.rules).into(),
            mechanism: frequent(&tally.mechanisms, &self.mechanisms).map(Into::into),
            reports: tally.reports.len() as u32,
            interference_share: (judged > 0).then(|| f64::from(throttled + blocked) / f64::from(judged)),
            interference_low: interval.map(|(low, _)| low),
            interference_high: interval.map(|(_, high)| high),
            state: "silent".into(),
        };
        if let Some(state) = cell.majority() {
            cell.state = state.as_str().into();
        }
        cell
    }
}

fn span(hours: &[(i64, &Tally)]) -> Option<(i64, i64)> {
    Some((hours.first()?.0, hours.last()?.0))
}

fn bump(counts: &mut Vec<(u16, u32)>, word: u16, by: u32) {
    match counts.iter_mut().find(|(other, _)| *other == word) {
        Some((_, count)) => *count += by,
        None => counts.push((word, by)),
    }
}

/// Most frequent first; equal counts by name, so that the order of input does not show.
fn sorted<'w>(counts: &[(u16, u32)], words: &'w Words) -> Vec<(u32, &'w str)> {
    let mut named: Vec<(u32, &str)> =
        counts.iter().map(|(word, count)| (*count, words.word(usize::from(*word)))).collect();
    named.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    named
}

fn histogram(counts: &[(u16, u32)], words: &Words) -> String {
    let parts: Vec<String> =
        sorted(counts, words).iter().map(|(count, word)| format!("{word}:{count}")).collect();
    parts.join(" ")
}

fn frequent(counts: &[(u16, u32)], words: &Words) -> Option<String> {
    sorted(counts, words).first().map(|(_, word)| (*word).to_owned())
}

/// The 95 % Wilson score interval of `k` of `n`; `None` when `n` is 0. `k` above `n` counts as `n`.
pub fn wilson(k: u64, n: u64) -> Option<(f64, f64)> {
    if n == 0 {
        return None;
    }
    const Z: f64 = 1.959_963_984_540_054;
    let (n, p) = (n as f64, k.min(n) as f64 / n as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At the ends the bound is exact; rounding must not leave 1e-17 there.
    let low = if k == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if k as f64 >= n { 1.0 } else { (centre + half).min(1.0) };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(uid: &str, hour: i64, layer: Layer, state: State, hop: u32) -> Verdict<'static> {
        Verdict {
            measurement_uid: uid.to_owned().into(),
            target: "example.org".into(),
            network: Asn(12389),
            country: Country::parse("RU").unwrap(),
            start_utc: Timestamp::from_micros(Timestamp::from_hour_index(hour).micros() + 5),
            layer,
            state,
            hop,
            rule: format!("{layer}.{state}").into(),
            mechanism: state.is_interference().then(|| "tls.reset".into()),
            probability: 0.9,
            ..Verdict::default()
        }
    }

    #[test]
    fn hours_without_measurements_are_cells_too() {
        let mut builder = CellBuilder::new();
        builder.add(&verdict("a", 100, Layer::Tls, State::Blocked, 0), Some("r1"));
        builder.add(&verdict("b", 103, Layer::Tls, State::Ok, 0), Some("r1"));
        let cells = builder.finish(Grid::default());
        let states: Vec<&str> = cells.iter().map(|cell| cell.state.as_ref()).collect();
        assert_eq!(states, ["blocked", "silent", "silent", "ok"]);
        assert_eq!(cells[1].interference_share, None);
        assert_eq!(cells[0].rules, "tls.blocked:1");
        assert_eq!(cells[0].mechanism.as_deref(), Some("tls.reset"));
    }

    #[test]
    fn a_measurement_counts_once_with_its_most_alarming_hop() {
        let mut builder = CellBuilder::new();
        builder.add(&verdict("a", 100, Layer::Dns, State::Ok, 0), None);
        builder.add(&verdict("a", 100, Layer::Dns, State::Blocked, 1), None);
        builder.add(&verdict("a", 100, Layer::Dns, State::Ok, 2), None);
        let cells = builder.finish(Grid::default());
        assert_eq!((cells.len(), cells[0].measurements, cells[0].blocked), (1, 1, 1));
    }

    #[test]
    fn insufficient_is_measured_but_not_judged() {
        let mut builder = CellBuilder::new();
        builder.add(&verdict("a", 100, Layer::Dns, State::Insufficient, 0), Some("r"));
        let cells = builder.finish(Grid::default());
        assert_eq!((cells[0].measurements, cells[0].judged()), (1, 0));
        assert_eq!(cells[0].state, "insufficient");
        assert_eq!(cells[0].interference_low, None);
    }

    #[test]
    fn distinct_reports_are_counted_not_measurements() {
        let mut builder = CellBuilder::new();
        for (uid, report) in
            [("a", Some("r1")), ("b", Some("r1")), ("c", Some("r2")), ("d", None), ("e", Some(""))]
        {
            builder.add(&verdict(uid, 100, Layer::Dns, State::Ok, 0), report);
        }
        assert_eq!(builder.finish(Grid::default())[0].reports, 2);
    }

    #[test]
    fn order_and_partition_do_not_show() {
        let all: Vec<Verdict<'_>> = (0..200)
            .map(|n| {
                let layer = Layer::ALL[n % 4];
                let mut v = verdict(&format!("m{n}"), 100 + (n as i64 * 7) % 11, layer, State::ALL[n % 5], 0);
                v.target = format!("host{}.example", n % 3).into();
                v
            })
            .collect();
        let count = |verdicts: &mut dyn Iterator<Item = &Verdict<'_>>| {
            let mut builder = CellBuilder::new();
            verdicts.for_each(|v| builder.add(v, Some(&v.measurement_uid[..2])));
            builder
        };
        let forward = count(&mut all.iter());
        let mut parts = count(&mut all[77..].iter());
        parts.merge(count(&mut all[..77].iter()));
        let backward = count(&mut all.iter().rev()).finish(Grid::default());
        let forward = forward.finish(Grid::default());
        assert_eq!(forward, backward);
        assert_eq!(forward, parts.finish(Grid::default()));
        assert!(forward.len() > 60);
    }

    #[test]
    fn a_grid_beyond_the_limit_keeps_every_hour_that_has_data() {
        let mut builder = CellBuilder::new();
        for (n, hour) in [0, 1_000_000, 2_000_000].into_iter().enumerate() {
            builder.add(&verdict(&n.to_string(), hour, Layer::Dns, State::Ok, 0), None);
        }
        let grid = Grid { max_cells: 10, ..Grid::default() };
        assert_eq!(builder.finish(grid).len(), 3);
    }

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
        for (k, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (l, h) = wilson(k, n).unwrap();
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{k}/{n}: {l} {h}");
        }
        assert_eq!(wilson(5, 5).unwrap().1, 1.0);
        assert_eq!(wilson(0, 0), None);
    }
}
