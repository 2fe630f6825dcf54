//! What outlives a flow: blocks and bans keyed by addresses, with an end.
//!
//! Entries expire by packet time and are capped; the one whose end is nearest goes first. Refreshing moves
//! an entry's end without touching the order: the order is mended when the old end comes.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use hashbrown::HashMap;
use okno_wire::{Endpoint, FlowKey, Instant};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::action::{Action, Refresh, Scope};

/// What an entry is looked up by. Parts that the scope leaves out are unspecified and zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ResidualKey {
    scope: Scope,
    inside: Endpoint,
    outside: Endpoint,
    protocol: u8,
}

/// Scopes that the store keeps, all but [`Scope::Flow`].
pub(crate) const SCOPES: [Scope; 6] = [
    Scope::FourTuple,
    Scope::ThreeTuple,
    Scope::HostPair,
    Scope::RemoteEnd,
    Scope::Remote,
    Scope::Subscriber,
];

impl ResidualKey {
    /// The key of a flow's packets under a scope.
    pub fn of(scope: Scope, inside: Endpoint, outside: Endpoint, protocol: u8) -> Self {
        let address = |end: Endpoint| Endpoint { ip: end.ip, port: 0 };
        let none = Endpoint { ip: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), port: 0 };
        let (inside, outside, protocol) = match scope {
            Scope::Flow | Scope::FourTuple => (inside, outside, protocol),
            Scope::ThreeTuple => (address(inside), outside, protocol),
            Scope::HostPair => (address(inside), address(outside), 0),
            Scope::RemoteEnd => (none, outside, protocol),
            Scope::Remote => (none, address(outside), 0),
            Scope::Subscriber => (address(inside), none, 0),
        };
        Self { scope, inside, outside, protocol }
    }
}

/// One block or ban.
#[derive(Clone, Debug)]
pub(crate) struct Residual {
    /// told by the store; 0 before
    pub id: u64,
    /// index of the technique
    pub rule: u16,
    pub action: Action,
    pub from: Instant,
    pub until: Instant,
    pub lasting: Duration,
    pub refresh: Refresh,
    /// the flow that triggered it
    pub origin: FlowKey,
}

/// All blocks and bans of an engine.
#[derive(Debug)]
pub(crate) struct Residuals {
    entries: HashMap<ResidualKey, Vec<Residual>, Xxh3Builder>,
    ends: BTreeMap<(Instant, u64), (ResidualKey, u64)>,
    count: usize,
    per_scope: [usize; SCOPES.len()],
    next_end: Instant,
    serial: u64,
    cap: usize,
    generation: u32,
    evicted: u64,
}

impl Residuals {
    pub fn new(cap: usize) -> Self {
        Self {
            entries: HashMap::with_hasher(Xxh3Builder::new()),
            ends: BTreeMap::new(),
            count: 0,
            per_scope: [0; SCOPES.len()],
            next_end: Instant::MAX,
            serial: 0,
            cap: cap.max(1),
            generation: 0,
            evicted: 0,
        }
    }

    /// Changes whenever an entry begins that other flows may fall under.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Adds an entry, or lets the rule's entry under this key begin anew when it is refreshed by triggers.
    /// True when the entry is new.
    pub fn add(&mut self, key: ResidualKey, mut entry: Residual) -> bool {
        let same = |known: &&mut Residual| known.rule == entry.rule && known.action.is_like(&entry.action);
        if let Some(known) = self.entries.get_mut(&key).and_then(|list| list.iter_mut().find(same)) {
            if known.refresh == Refresh::Trigger {
                known.until = known.until.max(entry.until);
            }
            return false;
        }
        if self.count >= self.cap {
            self.evict();
        }
        self.serial += 1;
        entry.id = self.serial;
        self.ends.insert((entry.until, self.serial), (key, entry.id));
        self.next_end = self.next_end.min(entry.until);
        self.count += 1;
        self.count_scope(key.scope, 1);
        if key.scope != Scope::FourTuple {
            self.generation = self.generation.wrapping_add(1);
        }
        self.entries.entry(key).or_default().push(entry);
        true
    }

    /// Moves the end of a rule's entries.
    pub fn extend(&mut self, key: &ResidualKey, rule: u16, until: Instant) {
        let list = self.entries.get_mut(key).into_iter().flatten();
        for entry in list.filter(|entry| entry.rule == rule) {
            entry.until = entry.until.max(until);
        }
    }

    /// The end of a rule's entries, when there are any.
    pub fn until(&self, key: &ResidualKey, rule: u16) -> Option<Instant> {
        self.entries.get(key)?.iter().filter(|entry| entry.rule == rule).map(|entry| entry.until).max()
    }

    /// All entries that a flow falls under, widest scope last.
    pub fn matching(&self, inside: Endpoint, outside: Endpoint, protocol: u8) -> Vec<(Scope, Residual)> {
        let mut found = Vec::new();
        for (scope, count) in SCOPES.into_iter().zip(self.per_scope) {
            if count > 0
                && let Some(list) = self.entries.get(&ResidualKey::of(scope, inside, outside, protocol))
            {
                found.extend(list.iter().map(|entry| (scope, entry.clone())));
            }
        }
        found
    }

    /// Whether nothing is kept: the common case, checked before anything is hashed.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes out what has ended by `now`, in the order of the ends.
    pub fn expire(&mut self, now: Instant, mut ended: impl FnMut(&Residual)) {
        while now >= self.next_end {
            let Some(((end, _), (key, id))) = self.ends.pop_first() else {
                self.next_end = Instant::MAX;
                return;
            };
            let list = self.entries.get(&key).into_iter().flatten();
            match list.filter(|entry| entry.id == id).map(|entry| entry.until).next() {
                Some(until) if until > end => {
                    self.serial += 1;
                    self.ends.insert((until, self.serial), (key, id));
                }
                Some(_) => {
                    if let Some(entry) = self.remove(&key, id) {
                        ended(&entry);
                    }
                }
                None => {}
            }
            self.next_end = self.ends.first_key_value().map_or(Instant::MAX, |((end, _), _)| *end);
        }
    }

    /// Forgets the entries of rules for which `keep` does not hold.
    pub fn retain(&mut self, keep: impl Fn(u16) -> bool) {
        let all: Vec<_> = self.ends.iter().map(|(end, at)| (*end, *at)).collect();
        for (end, (key, id)) in all {
            let list = self.entries.get(&key).into_iter().flatten();
            if list.filter(|entry| entry.id == id).any(|entry| !keep(entry.rule)) {
                self.ends.remove(&end);
                self.remove(&key, id);
            }
        }
    }

    fn evict(&mut self) {
        if let Some((_, (key, id))) = self.ends.pop_first() {
            self.remove(&key, id);
            self.evicted += 1;
        }
    }

    fn remove(&mut self, key: &ResidualKey, id: u64) -> Option<Residual> {
        let list = self.entries.get_mut(key)?;
        let at = list.iter().position(|entry| entry.id == id)?;
        let entry = list.remove(at);
        if list.is_empty() {
            self.entries.remove(key);
        }
        self.count -= 1;
        self.count_scope(key.scope, -1);
        Some(entry)
    }

    fn count_scope(&mut self, scope: Scope, change: isize) {
        if let Some(at) = SCOPES.iter().position(|known| *known == scope) {
            self.per_scope[at] = self.per_scope[at].saturating_add_signed(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(last: u8, port: u16) -> Endpoint {
        Endpoint { ip: IpAddr::from([192, 0, 2, last]), port }
    }

    fn entry(rule: u16, until: u64, refresh: Refresh) -> Residual {
        Residual {
            id: 0,
            rule,
            action: Action::DROP,
            from: Instant::ZERO,
            until: Instant::from_secs(until),
            lasting: Duration::from_secs(until),
            refresh,
            origin: FlowKey::of(end(1, 1), end(2, 443), 6).0,
        }
    }

    fn ends_by(residuals: &mut Residuals, seconds: u64) -> usize {
        let mut count = 0;
        residuals.expire(Instant::from_secs(seconds), |_| count += 1);
        count
    }

    #[test]
    fn each_scope_holds_for_its_packets_and_no_others() {
        for scope in SCOPES {
            let mut residuals = Residuals::new(10);
            residuals.add(ResidualKey::of(scope, end(1, 1000), end(2, 443), 6), entry(0, 10, Refresh::Never));
            let holds = |inside, outside| !residuals.matching(inside, outside, 6).is_empty();
            assert!(holds(end(1, 1000), end(2, 443)), "{scope:?}");
            let other_port = holds(end(1, 1001), end(2, 443));
            let other_server_port = holds(end(1, 1000), end(2, 80));
            let other_host = holds(end(3, 1000), end(2, 443));
            let other_server = holds(end(1, 1000), end(4, 443));
            let expected = match scope {
                Scope::Flow | Scope::FourTuple => [false, false, false, false],
                Scope::ThreeTuple => [true, false, false, false],
                Scope::HostPair => [true, true, false, false],
                Scope::RemoteEnd => [true, false, true, false],
                Scope::Remote => [true, true, true, false],
                Scope::Subscriber => [true, true, false, true],
            };
            assert_eq!([other_port, other_server_port, other_host, other_server], expected, "{scope:?}");
        }
    }

    #[test]
    fn an_entry_ends_at_its_time_and_not_before_and_a_trigger_moves_the_end() {
        let mut residuals = Residuals::new(10);
        let key = ResidualKey::of(Scope::FourTuple, end(1, 1), end(2, 443), 17);
        assert!(residuals.add(key, entry(0, 420, Refresh::Trigger)));
        assert!(!residuals.add(key, entry(0, 600, Refresh::Trigger)));
        assert_eq!(ends_by(&mut residuals, 599), 0);
        assert_eq!(residuals.len(), 1);
        assert_eq!(ends_by(&mut residuals, 600), 1);
        assert!(residuals.is_empty());
        residuals.add(key, entry(0, 420, Refresh::Never));
        residuals.add(key, entry(0, 600, Refresh::Never));
        assert_eq!(ends_by(&mut residuals, 420), 1);
    }

    #[test]
    fn a_full_store_gives_up_what_ends_first_and_counts_it() {
        let mut residuals = Residuals::new(2);
        for (port, until) in [(1, 300), (2, 100), (3, 200)] {
            let key = ResidualKey::of(Scope::FourTuple, end(1, port), end(2, 443), 6);
            residuals.add(key, entry(0, until, Refresh::Never));
        }
        assert_eq!((residuals.len(), residuals.evicted()), (2, 1));
        assert!(residuals.matching(end(1, 2), end(2, 443), 6).is_empty());
    }
}
