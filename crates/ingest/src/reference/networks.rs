//! Who announces an address, by date: several dated snapshots, each a set of sorted ranges.
//!
//! The AS number comes from one snapshot, the latest not younger than the measurement's day, else the
//! earliest (df trap 16: a registry entry is picked by the date of the measurement). Countries come
//! from tables that may cover one registry only, so there the next snapshot is asked when one is silent.

use std::borrow::Cow;
use std::net::IpAddr;

use hashbrown::HashMap;
use okno_model::{Asn, Country, NetworkInfo, Timestamp};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::ranges::{Key, Ranges, Row};

/// Address ranges of one table, before they join the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeTable {
    pub v4: Ranges<u32>,
    pub v6: Ranges<u128>,
    /// AS number and organisation behind each value, from value 1 on; empty in country tables, where
    /// the value is the two letters
    pub networks: Vec<(u32, String)>,
}

/// The two letters of a country as a value.
pub(super) fn country_value(country: Country) -> u32 {
    let letters = country.as_str().as_bytes();
    (u32::from(letters[0]) << 8) | u32::from(letters[1])
}

fn country_of(value: u32) -> Option<Country> {
    let letters = [(value >> 8) as u8, value as u8];
    std::str::from_utf8(&letters).ok().and_then(Country::parse).filter(|c| c.is_known())
}

/// Names that several snapshots share, one after the other in one text.
#[derive(Debug, Default)]
struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    fn name(&self, number: u32) -> Option<&str> {
        let number = number as usize;
        let end = *self.ends.get(number)? as usize;
        let start = number.checked_sub(1).map_or(0, |n| self.ends[n] as usize);
        self.text.get(start..end).filter(|name| !name.is_empty())
    }
}

/// A snapshot of one address family.
#[derive(Debug)]
struct Snapshot<K> {
    /// days since the epoch; `i64::MIN` when the source has no date
    day: i64,
    ranges: Ranges<K>,
    /// AS number and number of its name, behind each value from 1 on
    networks: Vec<(u32, u32)>,
    /// indices into `networks`, by AS number
    by_asn: Vec<u32>,
}

/// Who announces an address, by date.
#[derive(Debug, Default)]
pub struct NetworkTable {
    asn_v4: Vec<Snapshot<u32>>,
    asn_v6: Vec<Snapshot<u128>>,
    country_v4: Vec<Snapshot<u32>>,
    country_v6: Vec<Snapshot<u128>>,
    names: Names,
}

/// Builds a [`NetworkTable`] from tables in ascending order of preference within a day.
#[derive(Default)]
pub(super) struct NetworkTableBuilder {
    table: NetworkTable,
    known: HashMap<String, u32, Xxh3DefaultBuilder>,
}

impl NetworkTableBuilder {
    /// Adds a table of AS numbers.
    pub fn add_networks(&mut self, day: i64, table: RangeTable) {
        let networks: Vec<(u32, u32)> =
            table.networks.into_iter().map(|(asn, name)| (asn, self.intern(name))).collect();
        if !table.v4.is_empty() {
            self.table.asn_v4.push(snapshot(day, table.v4, networks.clone()));
        }
        if !table.v6.is_empty() {
            self.table.asn_v6.push(snapshot(day, table.v6, networks));
        }
    }

    /// Adds a table of countries.
    pub fn add_countries(&mut self, day: i64, table: RangeTable) {
        if !table.v4.is_empty() {
            self.table.country_v4.push(snapshot(day, table.v4, Vec::new()));
        }
        if !table.v6.is_empty() {
            self.table.country_v6.push(snapshot(day, table.v6, Vec::new()));
        }
    }

    /// Puts the snapshots in order of their days.
    pub fn finish(mut self) -> NetworkTable {
        self.table.asn_v4.sort_by_key(|s| s.day);
        self.table.asn_v6.sort_by_key(|s| s.day);
        self.table.country_v4.sort_by_key(|s| s.day);
        self.table.country_v6.sort_by_key(|s| s.day);
        self.table.names.text.shrink_to_fit();
        self.table
    }

    fn intern(&mut self, name: String) -> u32 {
        if let Some(&number) = self.known.get(&name) {
            return number;
        }
        let names = &mut self.table.names;
        let number = u32::try_from(names.ends.len()).unwrap_or(u32::MAX);
        names.text.push_str(&name);
        names.ends.push(u32::try_from(names.text.len()).unwrap_or(u32::MAX));
        self.known.insert(name, number);
        number
    }
}

fn snapshot<K>(day: i64, ranges: Ranges<K>, networks: Vec<(u32, u32)>) -> Snapshot<K> {
    let mut by_asn: Vec<u32> = (0..u32::try_from(networks.len()).unwrap_or(u32::MAX)).collect();
    by_asn.sort_by_key(|&i| networks[i as usize].0);
    Snapshot { day, ranges, networks, by_asn }
}

/// Number of snapshots not younger than the day: the last of them is the one to use.
fn until<K>(snapshots: &[Snapshot<K>], day: i64) -> usize {
    snapshots.partition_point(|s| s.day <= day)
}

fn chosen<K>(snapshots: &[Snapshot<K>], day: i64) -> Option<&Snapshot<K>> {
    snapshots.get(until(snapshots, day).saturating_sub(1))
}

fn network_at<K: Key>(snapshots: &[Snapshot<K>], key: K, day: i64) -> Option<(u32, u32)> {
    let snapshot = chosen(snapshots, day)?;
    let value = snapshot.ranges.value(key).checked_sub(1)?;
    snapshot.networks.get(value as usize).copied()
}

fn country_at<K: Key>(snapshots: &[Snapshot<K>], key: K, day: i64) -> Option<Country> {
    let (past, future) = snapshots.split_at(until(snapshots, day));
    past.iter().rev().chain(future).find_map(|s| country_of(s.ranges.value(key)))
}

impl NetworkTable {
    /// Who announced `ip` on the day of `at`; `None` when neither network nor country is known. An
    /// unknown network is AS0.
    pub fn lookup(&self, ip: IpAddr, at: Timestamp) -> Option<NetworkInfo<'_>> {
        let day = at.day_index();
        let (network, country) = match ip {
            IpAddr::V4(v4) => {
                let key = u32::from(v4);
                (network_at(&self.asn_v4, key, day), country_at(&self.country_v4, key, day))
            }
            IpAddr::V6(v6) => {
                let key = u128::from(v6);
                (network_at(&self.asn_v6, key, day), country_at(&self.country_v6, key, day))
            }
        };
        if network.is_none() && country.is_none() {
            return None;
        }
        let (asn, name) = network.map_or((0, None), |(asn, name)| (asn, self.names.name(name)));
        Some(NetworkInfo { asn: Asn(asn), org: name.map(Cow::Borrowed), country })
    }

    /// Organisation behind an AS number on the day of `at`.
    pub fn org_of(&self, asn: Asn, at: Timestamp) -> Option<&str> {
        let day = at.day_index();
        chosen(&self.asn_v4, day)
            .and_then(|s| name_number(s, asn))
            .or_else(|| chosen(&self.asn_v6, day).and_then(|s| name_number(s, asn)))
            .and_then(|number| self.names.name(number))
    }

    /// Whether there is no table at all.
    pub fn is_empty(&self) -> bool {
        !self.has_networks() && !self.has_countries()
    }

    /// Whether AS numbers are known.
    pub fn has_networks(&self) -> bool {
        !self.asn_v4.is_empty() || !self.asn_v6.is_empty()
    }

    /// Whether countries are known.
    pub fn has_countries(&self) -> bool {
        !self.country_v4.is_empty() || !self.country_v6.is_empty()
    }

    /// Bytes held in memory.
    pub fn size_bytes(&self) -> usize {
        fn of<K: Key>(snapshots: &[Snapshot<K>]) -> usize {
            snapshots.iter().map(|s| s.ranges.size_bytes() + s.networks.len() * 12).sum()
        }
        of(&self.asn_v4)
            + of(&self.asn_v6)
            + of(&self.country_v4)
            + of(&self.country_v6)
            + self.names.text.len()
            + self.names.ends.len() * 4
    }
}

fn name_number<K>(snapshot: &Snapshot<K>, asn: Asn) -> Option<u32> {
    let at = snapshot.by_asn.partition_point(|&i| snapshot.networks[i as usize].0 < asn.0);
    let network = snapshot.networks[*snapshot.by_asn.get(at)? as usize];
    (network.0 == asn.0).then_some(network.1)
}

/// Joins several country tables into one; rows of earlier tables win where they overlap.
pub(super) fn joined(tables: Vec<RangeTable>) -> RangeTable {
    let mut v4: Vec<Row<u32>> = Vec::new();
    let mut v6: Vec<Row<u128>> = Vec::new();
    for table in &tables {
        v4.extend(table.v4.rows(u32::MAX));
        v6.extend(table.v6.rows(u128::MAX));
    }
    RangeTable { v4: Ranges::build(v4).0, v6: Ranges::build(v6).0, networks: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(asn: u32, org: &str) -> RangeTable {
        let row = Row { start: 0x0100_0000, end: 0x0100_00ff, value: 1 };
        RangeTable {
            v4: Ranges::build(vec![row]).0,
            v6: Ranges::default(),
            networks: vec![(asn, org.into())],
        }
    }

    fn countries(code: &str, start: u32) -> RangeTable {
        let value = country_value(Country::parse(code).unwrap());
        RangeTable {
            v4: Ranges::build(vec![Row { start, end: start + 255, value }]).0,
            ..RangeTable::default()
        }
    }

    fn day(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn df_trap_16_the_snapshot_is_the_latest_not_younger_than_the_measurement() {
        let mut builder = NetworkTableBuilder::default();
        builder.add_networks(day("2026-06-17").day_index(), table(200, "New Owner"));
        builder.add_networks(day("2025-04-02").day_index(), table(100, "Old Owner"));
        let networks = builder.finish();
        let asn = |at: &str| networks.lookup("1.0.0.1".parse().unwrap(), day(at)).map(|n| n.asn.0);
        assert_eq!(asn("2020-01-01"), Some(100), "before all: the earliest");
        assert_eq!(asn("2025-04-02 00:00:00"), Some(100), "the day itself counts");
        assert_eq!(asn("2026-06-16 23:59:59"), Some(100));
        assert_eq!(asn("2026-06-17"), Some(200));
        assert_eq!(networks.org_of(Asn(100), day("2025-05-01")), Some("Old Owner"));
        assert_eq!(networks.org_of(Asn(100), day("2027-01-01")), None);
        assert_eq!(networks.lookup("1.0.1.0".parse().unwrap(), day("2026-01-01")), None);
    }

    #[test]
    fn a_country_comes_from_the_next_snapshot_when_one_registry_is_silent() {
        let mut builder = NetworkTableBuilder::default();
        builder.add_countries(day("2014-06-30").day_index(), countries("IT", 0x0200_0000));
        builder.add_countries(day("2018-10-13").day_index(), countries("AU", 0x0100_0000));
        let networks = builder.finish();
        let country = |ip: &str| {
            networks
                .lookup(ip.parse().unwrap(), day("2015-01-01"))
                .and_then(|n| n.country)
                .map(|c| c.to_string())
        };
        assert_eq!(country("2.0.0.9").as_deref(), Some("IT"));
        assert_eq!(country("1.0.0.9").as_deref(), Some("AU"));
        assert_eq!(country("3.0.0.9"), None);
    }
}
