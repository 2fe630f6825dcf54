//! Named sets that rules point at: names, networks, ends, fingerprints, ports.
//!
//! Matching costs a hash per label of a name, a binary search for an address. The built-in lists are
//! illustrations made of public names; a scenario or `--list NAME=FILE` puts others in their place.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use okno_wire::Endpoint;
use xxhash_rust::xxh3::Xxh3Builder;

use crate::profile::ProfileError;

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// domain names: `host`, `*.suffix` (below it), `.suffix` (it and below), `*part*`, `*end`
    Names,
    /// IP prefixes, ranges `a-b`, single addresses
    Networks,
    /// `address:port`
    Endpoints,
    /// JA4 or JA3, exact
    Fingerprints,
    /// ports and ranges `596-599`
    Ports,
}

impl Kind {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Names, Self::Networks, Self::Endpoints, Self::Fingerprints, Self::Ports];

    /// The word in profiles.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Networks => "networks",
            Self::Endpoints => "endpoints",
            Self::Fingerprints => "fingerprints",
            Self::Ports => "ports",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// An entry that does not fit its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// which of the entries, from 0
    pub index: usize,
    /// as written
    pub entry: String,
    /// what is wrong
    pub problem: &'static str,
    /// what to do
    pub fix: &'static str,
}

/// Bytes at the end of a name in which a listed suffix is looked for.
const MOST_NAME: usize = 256;

type Index = HashMap<Box<str>, u32, Xxh3Builder>;

/// A set of domain names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    entries: Vec<Box<str>>,
    exact: Index,
    below: Index,
    /// raw ends of names: `*twitter.com` holds for `nottwitter.com`
    ends: Vec<(Box<str>, u32)>,
    parts: Vec<(Box<str>, u32)>,
}

impl Names {
    fn add(&mut self, entry: &str) -> Result<(), (&'static str, &'static str)> {
        let lower = entry.trim().to_ascii_lowercase();
        let at = self.entries.len() as u32;
        if !lower.is_ascii() {
            return Err(("it is not ASCII, as names on the wire are", "write it as xn--…, from RFC 3492"));
        }
        let part = lower.len() > 1 && lower.starts_with('*') && lower.ends_with('*');
        let bare = lower.strip_prefix('*').unwrap_or(&lower);
        let bare = if part { bare.strip_suffix('*').unwrap_or(bare) } else { bare };
        let label = if part { bare } else { bare.strip_prefix('.').unwrap_or(bare) };
        // Brackets and colons for addresses in a Host header. What stands in no name (a star elsewhere, a
        // URL, a filter's marks) would be an entry that holds for none, as a second dot in front would.
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.:[]".contains(c));
        let wrong = label.contains(odd) || label.len() > 253 || (!part && label.starts_with('.'));
        if wrong || label.trim_matches('.').is_empty() {
            return Err(("it is no pattern of names", "write host, *.suffix, .suffix, *part* or *end"));
        }
        if let Some(part) = lower.strip_prefix('*').and_then(|rest| rest.strip_suffix('*')) {
            self.parts.push((part.into(), at));
        } else if let Some(suffix) = lower.strip_prefix("*.") {
            self.below.insert(suffix.into(), at);
        } else if let Some(end) = lower.strip_prefix('*') {
            self.ends.push((end.into(), at));
        } else if let Some(suffix) = lower.strip_prefix('.') {
            self.below.insert(suffix.into(), at);
            self.exact.insert(suffix.into(), at);
        } else {
            self.exact.insert(lower.as_str().into(), at);
        }
        self.entries.push(lower.into());
        Ok(())
    }

    /// The entry that holds for a name, which is in lower case already.
    pub fn matched(&self, name: &str) -> Option<&str> {
        if name.is_empty() {
            return None;
        }
        self.find(name).map(|at| self.entries[at as usize].as_ref())
    }

    fn find(&self, name: &str) -> Option<u32> {
        if let Some(at) = self.exact.get(name) {
            return Some(*at);
        }
        if !self.below.is_empty() {
            // No suffix that is listed is longer than a name of DNS may be (RFC 1035 §2.3.4), and a hostile
            // name of thousands of labels is not hashed once for each.
            let mut rest = &name[name.ceil_char_boundary(name.len().saturating_sub(MOST_NAME))..];
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(at) = self.below.get(parent) {
                    return Some(*at);
                }
                rest = parent;
            }
        }
        let end = self.ends.iter().find(|(end, _)| name.ends_with(end.as_ref()));
        let part = || self.parts.iter().find(|(part, _)| name.contains(part.as_ref()));
        end.or_else(part).map(|(_, at)| *at)
    }
}

/// A set of addresses.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    entries: Vec<Box<str>>,
    v4: Vec<(u32, u32, u32)>,
    v6: Vec<(u128, u128, u32)>,
}

impl Networks {
    fn add(&mut self, entry: &str) -> Result<(), (&'static str, &'static str)> {
        const FIX: &str = "write 192.0.2.0/24, 192.0.2.1-192.0.2.9 or an address";
        let entry = entry.trim();
        let (low, high) = range(entry).ok_or(("it is no prefix, range or address", FIX))?;
        let at = self.entries.len() as u32;
        match (low, high) {
            (IpAddr::V4(low), IpAddr::V4(high)) => self.v4.push((low.to_bits(), high.to_bits(), at)),
            (IpAddr::V6(low), IpAddr::V6(high)) => self.v6.push((low.to_bits(), high.to_bits(), at)),
            _ => return Err(("its ends are of different families", FIX)),
        }
        self.entries.push(entry.into());
        Ok(())
    }

    fn settle(&mut self) {
        settle(&mut self.v4);
        settle(&mut self.v6);
    }

    /// The entry that holds an address; the widest where entries lie in one another.
    pub fn matched(&self, ip: IpAddr) -> Option<&str> {
        let at = match ip {
            IpAddr::V4(ip) => search(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => search(&self.v6, ip.to_bits()),
        }?;
        Some(self.entries[at as usize].as_ref())
    }

    /// Whether an address lies within.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.matched(ip).is_some()
    }
}

/// First and last address of an entry.
fn range(entry: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((low, high)) = entry.split_once('-') {
        let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        return (low <= high).then_some((low, high));
    }
    let Some((ip, bits)) = entry.split_once('/') else {
        let ip = entry.parse().ok()?;
        return Some((ip, ip));
    };
    let bits: u32 = bits.parse().ok()?;
    match ip.parse().ok()? {
        IpAddr::V4(ip) => {
            let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
            let low = ip.to_bits() & !hosts;
            (bits <= 32).then(|| (Ipv4Addr::from_bits(low).into(), Ipv4Addr::from_bits(low | hosts).into()))
        }
        IpAddr::V6(ip) => {
            let hosts = u128::MAX.checked_shr(bits).unwrap_or(0);
            let low = ip.to_bits() & !hosts;
            (bits <= 128).then(|| (Ipv6Addr::from_bits(low).into(), Ipv6Addr::from_bits(low | hosts).into()))
        }
    }
}

/// Sorts ranges and leaves out those that lie in another; what sticks out of its forerunner is cut.
fn settle<T: Copy + Ord>(ranges: &mut Vec<(T, T, u32)>) {
    ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
    let mut reach: Option<T> = None;
    ranges.retain(|range| {
        let keep = reach.is_none_or(|reach| range.1 > reach);
        if keep {
            reach = Some(range.1);
        }
        keep
    });
}

/// The ends of kept ranges rise with their starts, so the last that starts at or before decides.
fn search<T: Copy + Ord>(ranges: &[(T, T, u32)], ip: T) -> Option<u32> {
    let at = ranges.partition_point(|range| range.0 <= ip);
    let (_, high, entry) = ranges.get(at.checked_sub(1)?)?;
    (ip <= *high).then_some(*entry)
}

/// A set of ports.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    ranges: Vec<(u16, u16)>,
}

impl Ports {
    fn add(&mut self, entry: &str) -> Result<(), (&'static str, &'static str)> {
        let wrong = ("it is no port", "write 443 or 596-599");
        let (low, high) = entry.split_once('-').unwrap_or((entry, entry));
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong);
        let (low, high) = (port(low)?, port(high)?);
        if low > high {
            return Err(wrong);
        }
        self.ranges.push((low, high));
        Ok(())
    }

    /// Whether a port is among them.
    pub fn has(&self, port: u16) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&port))
    }
}

/// One list.
#[derive(Clone, Debug)]
pub enum List {
    /// names
    Names(Box<Names>),
    /// networks
    Networks(Networks),
    /// ends, sorted
    Endpoints(Vec<Endpoint>),
    /// fingerprints, sorted
    Fingerprints(Vec<Box<str>>),
    /// ports
    Ports(Ports),
}

impl List {
    /// Reads entries; empty ones are left out.
    pub fn read(kind: Kind, entries: &[&str]) -> Result<Self, BadEntry> {
        let mut list = Self::empty(kind);
        for (index, entry) in entries.iter().enumerate() {
            list.add(entry).map_err(|(problem, fix)| BadEntry {
                index,
                entry: (*entry).to_owned(),
                problem,
                fix,
            })?;
        }
        list.settle();
        Ok(list)
    }

    fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Names => Self::Names(Box::default()),
            Kind::Networks => Self::Networks(Networks::default()),
            Kind::Endpoints => Self::Endpoints(Vec::new()),
            Kind::Fingerprints => Self::Fingerprints(Vec::new()),
            Kind::Ports => Self::Ports(Ports::default()),
        }
    }

    fn add(&mut self, entry: &str) -> Result<(), (&'static str, &'static str)> {
        match self {
            Self::Names(names) => names.add(entry),
            Self::Networks(networks) => networks.add(entry),
            Self::Ports(ports) => ports.add(entry),
            Self::Fingerprints(prints) => {
                prints.push(entry.trim().into());
                Ok(())
            }
            Self::Endpoints(ends) => {
                let end: core::net::SocketAddr = entry
                    .trim()
                    .parse()
                    .map_err(|_| ("it is no end", "write 192.0.2.1:443 or [2001:db8::1]:443"))?;
                ends.push(Endpoint { ip: end.ip(), port: end.port() });
                Ok(())
            }
        }
    }

    fn settle(&mut self) {
        match self {
            Self::Networks(networks) => networks.settle(),
            Self::Endpoints(ends) => ends.sort_unstable(),
            Self::Fingerprints(prints) => prints.sort_unstable(),
            Self::Names(_) | Self::Ports(_) => {}
        }
    }

    /// What it holds.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Names(_) => Kind::Names,
            Self::Networks(_) => Kind::Networks,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::Fingerprints(_) => Kind::Fingerprints,
            Self::Ports(_) => Kind::Ports,
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Names(names) => names.entries.len(),
            Self::Networks(networks) => networks.entries.len(),
            Self::Endpoints(ends) => ends.len(),
            Self::Fingerprints(prints) => prints.len(),
            Self::Ports(ports) => ports.ranges.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Lists by name. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    lists: BTreeMap<String, (Arc<List>, String)>,
}

impl Lists {
    /// Puts a list in, in the place of one of the same name.
    pub fn insert(&mut self, name: &str, kind: Kind, entries: &[&str], source: &str) -> Result<(), BadEntry> {
        let list = List::read(kind, entries)?;
        self.lists.insert(name.to_owned(), (Arc::new(list), source.to_owned()));
        Ok(())
    }

    /// The list of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<List>> {
        self.lists.get(name).map(|(list, _)| list)
    }

    /// Where a list comes from; empty when it does not say.
    pub fn source(&self, name: &str) -> &str {
        self.lists.get(name).map_or("", |(_, source)| source)
    }

    /// Whether there is such a list.
    pub fn has(&self, name: &str) -> bool {
        self.lists.contains_key(name)
    }

    /// Names of the lists, in order.
    pub fn names(&self) -> Vec<&str> {
        self.lists.keys().map(String::as_str).collect()
    }

    /// Takes all of `other`, in the place of those of the same name.
    pub fn take_over(&mut self, other: Self) {
        self.lists.extend(other.lists);
    }

    /// Reads a list from lines of text, `#` begins a comment. Its kind is that of the list it replaces, here
    /// or in `below`.
    pub fn read_lines(
        &mut self,
        name: &str,
        file: &str,
        text: &str,
        below: &Self,
    ) -> Result<(), ProfileError> {
        let Some(kind) = self.find(name).or_else(|| below.find(name)).map(|list| list.kind()) else {
            let mut known = self.names();
            known.extend(below.names());
            let fix = crate::profile::suggestion(name, &known);
            return Err(ProfileError::new(file, 0, format!("no rule knows a list `{name}`"), fix));
        };
        let mut entries = Vec::new();
        let mut lines = Vec::new();
        // A byte order mark is what some editors put first.
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if !entry.is_empty() {
                entries.push(entry);
                lines.push(number + 1);
            }
        }
        self.insert(name, kind, &entries, file).map_err(|bad| {
            let line = lines.get(bad.index).copied().unwrap_or(0);
            ProfileError::new(file, line, format!("`{}`: {}", bad.entry, bad.problem), bad.fix)
        })
    }
}

#[cfg(test)]
mod tests;
