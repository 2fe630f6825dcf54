//! Who announces an address, by date: several dated snapshots, each a set of sorted ranges.
//!
//! The AS number comes from one snapshot, the latest not younger than the measurement's day, else the
//! earliest (df trap 16: a registry entry is picked by the date of the measurement). Countries come
//! from tables that may cover one registry only, so there the next snapshot is asked when one is silent.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use okno_model::{Asn, Country, NetworkInfo, Timestamp};

use super::ranges::{Key, Ranges, Row};

/// Address ranges of one table, before they join the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeTable {
    pub v4: Ranges<u32>,
    pub v6: Ranges<u128>,
    /// what stands behind each value, from value 1 on; empty in country tables, where the value is the
    /// two letters
    pub networks: Networks,
}

/// AS numbers and organisations, sorted; the names one after the other in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks {
    pub asns: Vec<u32>,
    /// where each name ends in `names`
    pub ends: Vec<u32>,
    pub names: String,
}

impl Networks {
    /// Sorts networks; gives for each place in the list its place in the sorted one.
    pub fn sorted(list: &[(u32, String)]) -> (Self, Vec<u32>) {
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by_key(|&i| &list[i]);
        let mut networks = Self::default();
        let mut places = vec![0; list.len()];
        for (place, &i) in (0u32..).zip(&order) {
            places[i] = place;
            networks.asns.push(list[i].0);
            networks.names.push_str(&list[i].1);
            networks.ends.push(u32::try_from(networks.names.len()).unwrap_or(u32::MAX));
        }
        (networks, places)
    }

    /// Organisation at a place; `None` when it has no name.
    pub fn name(&self, place: usize) -> Option<&str> {
        let end = *self.ends.get(place)? as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.names.get(start..end).filter(|name| !name.is_empty())
    }

    fn place_of(&self, asn: Asn) -> Option<usize> {
        let place = self.asns.partition_point(|known| *known < asn.0);
        (self.asns.get(place) == Some(&asn.0)).then_some(place)
    }

    fn size_bytes(&self) -> usize {
        self.asns.len() * 8 + self.names.len()
    }
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

/// A snapshot of one address family.
#[derive(Debug)]
struct Snapshot<K> {
    /// days since the epoch; `i64::MIN` when the source has no date
    day: i64,
    ranges: Ranges<K>,
    networks: Arc<Networks>,
}

/// Who announces an address, by date.
#[derive(Debug, Default)]
pub struct NetworkTable {
    asn_v4: Vec<Snapshot<u32>>,
    asn_v6: Vec<Snapshot<u128>>,
    country_v4: Vec<Snapshot<u32>>,
    country_v6: Vec<Snapshot<u128>>,
}

/// Builds a [`NetworkTable`] from tables in ascending order of preference within a day.
#[derive(Default)]
pub(super) struct NetworkTableBuilder {
    table: NetworkTable,
}

impl NetworkTableBuilder {
    /// Adds a table of AS numbers.
    pub fn add_networks(&mut self, day: i64, table: RangeTable) {
        let networks = Arc::new(table.networks);
        if !table.v4.is_empty() {
            let networks = Arc::clone(&networks);
            self.table.asn_v4.push(Snapshot { day, ranges: table.v4, networks });
        }
        if !table.v6.is_empty() {
            self.table.asn_v6.push(Snapshot { day, ranges: table.v6, networks });
        }
    }

    /// Adds a table of countries.
    pub fn add_countries(&mut self, day: i64, table: RangeTable) {
        let networks = Arc::new(table.networks);
        if !table.v4.is_empty() {
            let networks = Arc::clone(&networks);
            self.table.country_v4.push(Snapshot { day, ranges: table.v4, networks });
        }
        if !table.v6.is_empty() {
            self.table.country_v6.push(Snapshot { day, ranges: table.v6, networks });
        }
    }

    /// Puts the snapshots in order of their days.
    pub fn finish(mut self) -> NetworkTable {
        self.table.asn_v4.sort_by_key(|s| s.day);
        self.table.asn_v6.sort_by_key(|s| s.day);
        self.table.country_v4.sort_by_key(|s| s.day);
        self.table.country_v6.sort_by_key(|s| s.day);
        self.table
    }
}

/// Number of snapshots not younger than the day: the last of them is the one to use.
fn until<K>(snapshots: &[Snapshot<K>], day: i64) -> usize {
    snapshots.partition_point(|s| s.day <= day)
}

fn chosen<K>(snapshots: &[Snapshot<K>], day: i64) -> Option<&Snapshot<K>> {
    snapshots.get(until(snapshots, day).saturating_sub(1))
}

fn network_at<K: Key>(snapshots: &[Snapshot<K>], key: K, day: i64) -> Option<(Asn, Option<&str>)> {
    let snapshot = chosen(snapshots, day)?;
    let place = snapshot.ranges.value(key).checked_sub(1)? as usize;
    let asn = *snapshot.networks.asns.get(place)?;
    Some((Asn(asn), snapshot.networks.name(place)))
}

fn name_at<K>(snapshots: &[Snapshot<K>], asn: Asn, day: i64) -> Option<&str> {
    let networks = &chosen(snapshots, day)?.networks;
    networks.name(networks.place_of(asn)?)
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
        let (asn, name) = network.unwrap_or_default();
        Some(NetworkInfo { asn, org: name.map(Cow::Borrowed), country })
    }

    /// Organisation behind an AS number on the day of `at`.
    pub fn org_of(&self, asn: Asn, at: Timestamp) -> Option<&str> {
        let day = at.day_index();
        name_at(&self.asn_v4, asn, day).or_else(|| name_at(&self.asn_v6, asn, day))
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
            snapshots.iter().map(|s| s.ranges.size_bytes() + s.networks.size_bytes()).sum()
        }
        of(&self.asn_v4) + of(&self.asn_v6) + of(&self.country_v4) + of(&self.country_v6)
    }
}

/// Joins several country tables into one; rows of earlier tables win where they overlap.
pub(super) fn joined(tables: Vec<RangeTable>) -> RangeTable {
    let mut v4: Vec<Row<u32>> = Vec::new();
    let mut v6: Vec<Row<u128>> = Vec::new();
    for table in &tables {
        v4.extend(table.v4.rows(u32::MAX));
        v6.extend(table.v6.rows(u128::MAX));
    }
    RangeTable { v4: Ranges::build(v4).0, v6: Ranges::build(v6).0, networks: Networks::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(asn: u32, org: &str) -> RangeTable {
        let row = Row { start: 0x0100_0000, end: 0x0100_00ff, value: 1 };
        RangeTable {
            v4: Ranges::build(vec![row]).0,
            v6: Ranges::default(),
            networks: Networks::sorted(&[(asn, org.into())]).0,
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
