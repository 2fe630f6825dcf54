//! A map that forgets: entries expire by packet time, and there are never more than a fixed number.
//!
//! Techniques count across flows with it (connections to one server, candidates for a ban). When it is
//! full the oldest entry goes, and that is counted: a box under load forgets, too.

use core::hash::Hash;
use core::time::Duration;

use hashbrown::HashMap;
use okno_wire::Instant;
use xxhash_rust::xxh3::Xxh3Builder;

/// Keyed state with an age limit and a cap.
#[derive(Clone, Debug)]
pub struct Memory<K, V> {
    entries: HashMap<K, (Instant, u64, V), Xxh3Builder>,
    order: std::collections::VecDeque<(Instant, u64, K)>,
    lifetime: Duration,
    cap: usize,
    serial: u64,
    evicted: u64,
}

impl<K: Hash + Eq + Clone, V> Memory<K, V> {
    /// Entries live `lifetime` after they were last touched; there are at most `cap`, at least one.
    pub fn new(lifetime: Duration, cap: usize) -> Self {
        Self {
            entries: HashMap::with_hasher(Xxh3Builder::new()),
            order: std::collections::VecDeque::new(),
            lifetime,
            cap: cap.max(1),
            serial: 0,
            evicted: 0,
        }
    }

    /// The entry, if it is not too old.
    pub fn peek(&mut self, now: Instant, key: &K) -> Option<&mut V> {
        self.expire(now);
        let lifetime = self.lifetime;
        let entry = self.entries.get_mut(key).filter(|(at, ..)| lives(*at, now, lifetime));
        entry.map(|(_, _, value)| value)
    }

    /// The entry, made by `fresh` when there is none; its life begins anew.
    pub fn touch(&mut self, now: Instant, key: K, fresh: impl FnOnce() -> V) -> &mut V {
        self.expire(now);
        self.serial += 1;
        let serial = self.serial;
        if !self.entries.contains_key(&key) && self.entries.len() >= self.cap {
            self.evict_oldest();
        }
        self.order.push_back((now, serial, key.clone()));
        // Behind one of a later time there may be entries whose time is over.
        if self.entries.get(&key).is_some_and(|(at, ..)| !lives(*at, now, self.lifetime)) {
            self.entries.remove(&key);
        }
        let entry = self.entries.entry(key).or_insert_with(|| (now, serial, fresh()));
        (entry.0, entry.1) = (now, serial);
        &mut entry.2
    }

    /// Takes an entry out.
    pub fn forget(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, _, value)| value)
    }

    /// Entries that are kept, expired ones not yet dropped included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that had to go because the memory was full.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Drops what is too old. The queue holds each touch once, so this costs a constant per touch.
    fn expire(&mut self, now: Instant) {
        while let Some((at, serial, key)) = self.order.front() {
            let current = self.entries.get(key).is_some_and(|entry| entry.1 == *serial);
            if current && lives(*at, now, self.lifetime) {
                break;
            }
            if current {
                self.entries.remove(key);
            }
            self.order.pop_front();
        }
        self.compact();
    }

    fn evict_oldest(&mut self) {
        while let Some((_, serial, key)) = self.order.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.1 == serial) {
                self.entries.remove(&key);
                self.evicted += 1;
                return;
            }
        }
    }

    /// Keeps the queue within a few times the entries, when the same keys are touched over and over.
    fn compact(&mut self) {
        if self.order.len() > 4 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|(_, serial, key)| entries.get(key).is_some_and(|entry| entry.1 == *serial));
        }
    }
}

/// Whether an entry of a time is still alive: not too old, nor of a clock that has since gone back by more
/// than a lifetime.
fn lives(at: Instant, now: Instant, lifetime: Duration) -> bool {
    now.since(at) < lifetime && at.since(now) < lifetime
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn an_entry_lives_until_just_before_its_lifetime_and_a_touch_renews_it() {
        let mut memory = Memory::new(Duration::from_secs(60), 10);
        *memory.touch(at(100), "a", || 0) += 1;
        assert_eq!(memory.peek(at(159), &"a").copied(), Some(1));
        *memory.touch(at(159), "a", || 0) += 1;
        assert_eq!(memory.peek(at(218), &"a").copied(), Some(2));
        assert_eq!(memory.peek(at(219), &"a"), None);
        assert!(memory.is_empty());
    }

    #[test]
    fn a_clock_that_jumped_ahead_for_one_packet_keeps_nothing_alive() {
        let mut memory = Memory::new(Duration::from_secs(60), 10);
        memory.touch(at(100), "before", || ());
        memory.touch(at(3_000_000_000), "century", || ());
        memory.touch(at(100), "after", || ());
        assert_eq!(memory.peek(at(101), &"century"), None);
        assert!(memory.peek(at(159), &"after").is_some());
        // Small steps back keep what is there, and what stands behind it ends at its own time.
        memory.touch(at(200), "late", || ());
        memory.touch(at(150), "early", || ());
        assert!(memory.peek(at(209), &"early").is_some() && memory.peek(at(209), &"late").is_some());
        assert_eq!(memory.peek(at(210), &"early"), None);
        assert!(memory.peek(at(259), &"late").is_some());
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_and_counts_it() {
        let mut memory = Memory::new(Duration::from_secs(60), 3);
        for key in 0..1000_u64 {
            memory.touch(at(key / 100), key, || ());
            assert!(memory.len() <= 3);
        }
        assert_eq!(memory.evicted(), 997);
        assert!(memory.peek(at(9), &999).is_some() && memory.peek(at(9), &996).is_none());
    }

    #[test]
    fn touching_one_key_for_ever_does_not_grow() {
        let mut memory = Memory::new(Duration::from_secs(60), 3);
        for n in 0..10_000_u64 {
            memory.touch(at(n / 1000), 1_u8, || ());
        }
        assert!(memory.order.len() < 100);
    }
}
