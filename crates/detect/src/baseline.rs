//! What other networks saw of the same thing around the same day.
//!
//! A vote is (thing, day, network, country, worked or failed). A network has at most one vote for each
//! side per thing and day, so one submitter with ten thousand rows moves nothing; rules ask for
//! several networks (`baseline_networks`) and, for "fails everywhere", several countries. What this
//! does not stop is a submitter who claims many networks: the archive has no proof of origin.
//!
//! Memory is bounded. When there are more votes than the cap, things are sampled by their hash: the
//! threshold depends on the set of votes alone, so the result is the same in any order of input.

use okno_model::{Asn, Country, Timestamp};

use crate::facts::Facts;
use crate::votes;

/// What a vote is about. The numbers are part of the hash and never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Subject {
    Resolve = 1,
    Valid = 2,
    Connect = 3,
    Tls = 4,
    Http = 6,
    Quic = 7,
    App = 8,
    Resolver = 9,
}

/// 16 bytes; the order of fields is the order of the sorted list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    key: u64,
    network: u32,
    day: u16,
    /// country in the upper bits, 1 in the lowest when it worked
    side: u16,
}

/// Votes that fit by default: 6 million of 16 bytes.
pub const DEFAULT_CAP: usize = 6_000_000;

/// Collects votes; any order, any partition, the same [`Baseline`].
#[derive(Clone, Debug)]
pub struct BaselineBuilder {
    votes: Vec<Vote>,
    cap: usize,
    settled: usize,
    halvings: u32,
    dropped: u64,
    /// votes pushed lately, by their hash: repetition is the rule, and skipping it spares most of the sorting
    recent: Vec<Vote>,
}

/// Slots of the memory of recent votes, a power of two.
const RECENT: usize = 8192;

impl Default for BaselineBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BaselineBuilder {
    /// Empty, with [`DEFAULT_CAP`].
    pub fn new() -> Self {
        Self::with_cap(DEFAULT_CAP)
    }

    /// Empty, keeping at most `cap` votes.
    pub fn with_cap(cap: usize) -> Self {
        Self { votes: Vec::new(), cap: cap.max(1), settled: 0, halvings: 0, dropped: 0, recent: Vec::new() }
    }

    /// Adds what one measurement says.
    pub fn add(&mut self, facts: &Facts<'_, '_>) {
        let measurement = facts.measurement;
        if !measurement.network.is_known() || measurement.network.is_private() {
            // AS0 is not one network: it would be a vote without a voter (trap 17).
            return;
        }
        let Ok(day) = u16::try_from(measurement.start_utc.day_index()) else { return };
        let network = measurement.network.0;
        let country = pack_country(measurement.country) << 1;
        let version = votes::version(measurement);
        votes::collect(facts, &mut |key, worked| {
            let side = country | u16::from(worked);
            self.push(Vote { key, network, day, side });
            if let Some(version) = version {
                self.push(Vote { key: crate::hash::mix(key, version), network, day, side });
            }
        });
    }

    /// Adds everything another builder has.
    pub fn merge(&mut self, mut other: Self) {
        self.halvings = self.halvings.max(other.halvings);
        self.dropped += other.dropped;
        self.votes.append(&mut other.votes);
        self.settled = 0;
        self.settle();
    }

    /// Sorts, and ends the collection.
    pub fn finish(mut self) -> Baseline {
        self.settle();
        self.votes.shrink_to_fit();
        Baseline { votes: self.votes, halvings: self.halvings, dropped: self.dropped }
    }

    fn push(&mut self, vote: Vote) {
        if !is_kept(vote.key, self.halvings) {
            self.dropped += 1;
            return;
        }
        if self.recent.is_empty() {
            self.recent = vec![Vote::default(); RECENT];
        }
        let slot = crate::hash::mix(vote.key, u64::from(vote.network)) as usize % RECENT;
        if self.recent[slot] == vote {
            return;
        }
        self.recent[slot] = vote;
        self.votes.push(vote);
        // Repetition is the rule, so the list is settled when it has grown by half, not at the cap.
        let grown = self.settled + (self.settled / 2).max(65_536).min(self.cap / 4 + 1024);
        if self.votes.len() >= grown {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let halvings = self.halvings;
        self.votes.retain(|vote| is_kept(vote.key, halvings));
        self.votes.sort_unstable();
        self.votes.dedup();
        while self.votes.len() > self.cap && self.halvings < 63 {
            self.halvings += 1;
            let (before, halvings) = (self.votes.len(), self.halvings);
            self.votes.retain(|vote| is_kept(vote.key, halvings));
            self.dropped += (before - self.votes.len()) as u64;
        }
        self.settled = self.votes.len();
    }
}

fn is_kept(key: u64, halvings: u32) -> bool {
    halvings == 0 || key >> (64 - halvings.min(63)) == 0
}

fn pack_country(country: Country) -> u16 {
    let letter = |at: usize| country.as_str().as_bytes().get(at).map_or(0, |b| u16::from(b - b'A'));
    letter(0) * 26 + letter(1)
}

/// Votes of other networks about one thing, within a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// networks in which it worked at least once
    pub worked: u32,
    /// networks in which it only failed
    pub failed: u32,
    /// countries of the latter
    pub failed_countries: u32,
}

/// The collected votes, sorted; see the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    votes: Vec<Vote>,
    halvings: u32,
    dropped: u64,
}

/// Networks counted at most; rules need a handful.
const COUNTED: usize = 32;

/// A few distinct values, without allocation.
struct Few<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy + Default + PartialEq, const N: usize> Few<T, N> {
    fn new() -> Self {
        Self { items: [T::default(); N], len: 0 }
    }

    fn has(&self, value: T) -> bool {
        self.items[..self.len].contains(&value)
    }

    fn add(&mut self, value: T) {
        if self.len < N && !self.has(value) {
            self.items[self.len] = value;
            self.len += 1;
        }
    }
}

impl Baseline {
    /// No votes: nothing is ever known of other networks.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Votes kept.
    pub fn len(&self) -> usize {
        self.votes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.votes.is_empty()
    }

    /// Share of things that the baseline still knows, 1 unless the cap was reached.
    pub fn kept_share(&self) -> f64 {
        0.5_f64.powi(i32::try_from(self.halvings).unwrap_or(63))
    }

    /// Votes turned away because of the cap, repetitions included; how many depends on the order of input.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn tally(&self, key: u64, at: Timestamp, own: Asn) -> Tally {
        let Ok(day) = u16::try_from(at.day_index()) else { return Tally::default() };
        let start = self.votes.partition_point(|vote| vote.key < key);
        let mut worked = Few::<u32, COUNTED>::new();
        let mut failed = Few::<(u32, u16), COUNTED>::new();
        for vote in &self.votes[start..] {
            if vote.key != key || (worked.len == COUNTED && failed.len == COUNTED) {
                break;
            }
            if vote.network == own.0 || vote.day.abs_diff(day) > 1 {
                continue;
            }
            if vote.side & 1 == 1 {
                worked.add(vote.network);
            } else {
                failed.add((vote.network, vote.side >> 1));
            }
        }
        let mut countries = Few::<u16, COUNTED>::new();
        let mut only_failed = Few::<u32, COUNTED>::new();
        for (network, country) in failed.items[..failed.len].iter().copied() {
            if !worked.has(network) {
                only_failed.add(network);
                countries.add(country);
            }
        }
        Tally {
            worked: worked.len as u32,
            failed: only_failed.len as u32,
            failed_countries: countries.len as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(key: u64, network: u32, day: u16, worked: bool, country: &str) -> Vote {
        let country = pack_country(Country::parse(country).unwrap());
        Vote { key, network, day, side: country << 1 | u16::from(worked) }
    }

    fn noon(day: i64) -> Timestamp {
        Timestamp::from_hour_index(day * 24 + 12)
    }

    #[test]
    fn a_network_counts_once_whatever_it_submits() {
        let mut builder = BaselineBuilder::new();
        for _ in 0..10_000 {
            builder.push(vote(7, 1, 100, true, "DE"));
        }
        builder.push(vote(7, 2, 100, true, "FR"));
        let tally = builder.finish().tally(7, noon(100), Asn(9));
        assert_eq!(tally, Tally { worked: 2, failed: 0, failed_countries: 0 });
    }

    #[test]
    fn only_other_networks_within_a_day_are_heard() {
        let mut builder = BaselineBuilder::new();
        for (network, day) in [(1, 99), (2, 100), (3, 101), (4, 102), (5, 98), (9, 100)] {
            builder.push(vote(7, network, day, false, if network == 1 { "DE" } else { "FR" }));
        }
        let baseline = builder.finish();
        assert_eq!(baseline.tally(7, noon(100), Asn(9)), Tally { worked: 0, failed: 3, failed_countries: 2 });
        assert_eq!(baseline.tally(8, noon(100), Asn(9)), Tally::default());
    }

    #[test]
    fn a_network_where_it_worked_once_is_no_network_where_it_fails() {
        let mut builder = BaselineBuilder::new();
        builder.push(vote(7, 1, 100, false, "DE"));
        builder.push(vote(7, 1, 101, true, "DE"));
        assert_eq!(
            builder.finish().tally(7, noon(100), Asn(9)),
            Tally { worked: 1, failed: 0, failed_countries: 0 }
        );
    }

    #[test]
    fn beyond_the_cap_the_result_does_not_depend_on_the_order_or_the_partition() {
        let votes: Vec<Vote> = (0..40_000u64)
            .map(|n| vote(crate::hash::mix(n % 9_000, 1), (n % 7) as u32 + 1, 100, n % 3 == 0, "DE"))
            .collect();
        let whole = |votes: &mut dyn Iterator<Item = &Vote>| {
            let mut builder = BaselineBuilder::with_cap(5_000);
            votes.for_each(|vote| builder.push(*vote));
            builder
        };
        let forward = whole(&mut votes.iter()).finish();
        let backward = whole(&mut votes.iter().rev()).finish();
        let mut parts = whole(&mut votes[..9_000].iter());
        parts.merge(whole(&mut votes[9_000..].iter()));
        let parts = parts.finish();
        assert!(forward.len() <= 5_000 && forward.kept_share() < 1.0 && forward.dropped() > 0);
        assert_eq!((&forward.votes, forward.halvings), (&backward.votes, backward.halvings));
        assert_eq!((&forward.votes, forward.halvings), (&parts.votes, parts.halvings));
    }
}
