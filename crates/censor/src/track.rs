//! The flow table: slab storage, a fixed hash, expiry by packet time without scanning.
//!
//! Each flow lies once in a ring of one-second slots and is looked at when its slot comes; if it was active
//! meanwhile it is put further on. A lookup checks the exact time itself, so the ring's grain shows nowhere.
//! Time may go back: the ring then turns back with it. When the table is full a clock hand picks a flow that
//! was not used since it last came by.

use core::time::Duration;

use hashbrown::HashTable;
use okno_wire::{Endpoint, FlowKey, Instant, Malformed, Protocol};

use crate::inspect::Inspection;
use crate::installed::Installed;
use crate::middlebox::Direction;
use crate::summary::Deed;
use crate::switches::Timeouts;
use crate::technique::PerWay;

/// How far a TCP connection has come, as far as idle times go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    SynSent,
    SynReceived,
    Established,
    /// ended by a FIN or RST that the switches accept
    Closed,
    /// not TCP
    Datagrams,
}

impl Stage {
    pub fn timeout(self, timeouts: &Timeouts) -> Duration {
        Duration::from_secs(u64::from(match self {
            Self::SynSent => timeouts.syn_sent_s,
            Self::SynReceived => timeouts.syn_received_s,
            Self::Established => timeouts.established_s,
            Self::Closed => timeouts.closed_s,
            Self::Datagrams => timeouts.udp_s,
        }))
    }
}

/// What is remembered of one way of a TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// sequence number after the last byte that passed
    pub next_seq: u32,
    /// last acknowledgment number sent
    pub acked: u32,
    /// last window announced, in bytes
    pub window: u32,
    pub scale: u8,
    /// TTL of the last packet; 0 when there was none
    pub ttl: u8,
    pub has_seq: bool,
    pub has_ack: bool,
    pub syn: bool,
    pub fin: bool,
}

/// Everything that is known of a flow. What only few flows need is boxed.
#[derive(Debug)]
pub(crate) struct Flow {
    pub key: FlowKey,
    pub stage: Stage,
    /// the smaller end is the subscriber's
    pub inside_is_low: bool,
    pub opened_by: Direction,
    /// the switches let it be inspected
    pub armed: bool,
    /// no technique looks at it
    pub exempt: bool,
    /// both FINs or a RST were seen, whether or not that ends the flow for the switches
    pub ended: bool,
    /// used since the clock hand last came by
    pub used: bool,
    /// techniques came into force that have not heard of its opening
    pub unheard: bool,
    pub protocol: Option<Protocol>,
    /// version of the residual store at the last look
    pub generation: u32,
    /// tells a flow from another that had the same place before
    pub serial: u32,
    pub opened: Instant,
    pub last: Instant,
    pub packets: PerWay<u32>,
    pub data_packets: PerWay<u32>,
    pub bytes: PerWay<u64>,
    pub ways: PerWay<Way>,
    /// as long as something is to be learned
    pub inspection: Option<Box<Inspection>>,
    /// techniques that want each packet, as a set of indices
    pub watchers: u64,
    /// what is done to it, and the techniques' slots
    pub hot: Option<Box<Hot>>,
    /// what was learned of it
    pub known: Option<Box<Known>>,
}

/// Actions and slots of a flow.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    pub installed: Vec<Installed>,
    pub slots: Vec<u64>,
}

/// What was learned and done.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub version: String,
    pub name: String,
    pub fingerprint: String,
    pub malformed: Option<Malformed>,
    pub deeds: Vec<Deed>,
}

impl Flow {
    /// The end on the subscriber's side.
    pub const fn inside(&self) -> Endpoint {
        if self.inside_is_low { self.key.low } else { self.key.high }
    }

    /// The end beyond the box.
    pub const fn outside(&self) -> Endpoint {
        if self.inside_is_low { self.key.high } else { self.key.low }
    }

    pub const fn packet_count(&self) -> u32 {
        self.packets.up.saturating_add(self.packets.down)
    }

    fn is_idle(&self, now: Instant, timeouts: &Timeouts) -> bool {
        now.since(self.last) >= self.stage.timeout(timeouts)
    }
}

/// Slots of one second; a flow that lives longer goes round more than once.
const SLOTS: usize = 512;

/// Looks at flows that a packet pays for; a flow needs one for each round of the ring that its time takes.
const LOOKS_PER_PACKET: u64 = 64;

/// Time may go back this far before the ring turns back.
const TOLERANCE_S: u64 = 60;

/// All flows.
#[derive(Debug)]
pub(crate) struct FlowTable {
    index: HashTable<u32>,
    slab: Vec<Option<Flow>>,
    free: Vec<u32>,
    ring: Vec<Vec<(u32, u32)>>,
    /// entries in the ring; more than one a flow where flows went before their time
    scheduled: usize,
    /// second up to which the ring was looked at
    second: u64,
    hand: usize,
    serial: u32,
    /// entries of the ring that were looked at
    looks: u64,
    cap: usize,
    pub opened: u64,
    pub expired: u64,
    pub evicted: u64,
}

impl FlowTable {
    pub fn new(cap: usize) -> Self {
        Self {
            index: HashTable::new(),
            slab: Vec::new(),
            free: Vec::new(),
            ring: vec![Vec::new(); SLOTS],
            scheduled: 0,
            second: 0,
            hand: 0,
            serial: 0,
            looks: 0,
            cap: cap.max(1),
            opened: 0,
            expired: 0,
            evicted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes that the table itself takes, without what flows have boxed.
    pub fn memory(&self) -> usize {
        self.slab.capacity() * size_of::<Option<Flow>>()
            + self.index.capacity() * 8
            + self.ring.iter().map(|slot| slot.capacity() * 8).sum::<usize>()
    }

    /// Where the flow of a key lies, idle or not.
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<usize> {
        self.index
            .find(hash, |at| self.slab[*at as usize].as_ref().is_some_and(|flow| flow.key == *key))
            .map(|at| *at as usize)
    }

    pub fn at(&self, at: usize) -> Option<&Flow> {
        self.slab.get(at)?.as_ref()
    }

    pub fn at_mut(&mut self, at: usize) -> Option<&mut Flow> {
        self.slab.get_mut(at)?.as_mut()
    }

    /// Whether the flow there was idle for its time.
    pub fn is_idle(&self, at: usize, now: Instant, timeouts: &Timeouts) -> bool {
        self.at(at).is_some_and(|flow| flow.is_idle(now, timeouts))
    }

    /// Adds a flow whose key is not there; an old one may have to go, and is returned.
    pub fn insert(&mut self, hash: u64, mut flow: Flow, timeouts: &Timeouts) -> (usize, Option<Flow>) {
        let gone = if self.index.len() >= self.cap { self.evict() } else { None };
        self.opened += 1;
        self.serial = self.serial.wrapping_add(1);
        flow.serial = self.serial;
        let deadline = flow.last + flow.stage.timeout(timeouts);
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slab.push(None);
                u32::try_from(self.slab.len() - 1).expect("the cap on flows is a u32")
            }
        };
        if self.second == 0 {
            self.second = seconds(flow.last);
        }
        self.schedule(at, flow.serial, deadline);
        self.slab[at as usize] = Some(flow);
        let slab = &self.slab;
        self.index
            .insert_unique(hash, at, |at| slab[*at as usize].as_ref().map_or(0, |flow| hash_of(&flow.key)));
        (at as usize, gone)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, at: usize) -> Option<Flow> {
        let flow = self.slab.get_mut(at)?.take()?;
        let found = self.index.find_entry(hash_of(&flow.key), |other| *other as usize == at);
        if let Ok(entry) = found {
            entry.remove();
        }
        self.free.push(at as u32);
        Some(flow)
    }

    /// Takes out flows that were idle for their time, at most those of the seconds that passed. `packets` is
    /// how many there were so far: looks are paid for by packets, so that a clock that jumps to and fro does
    /// not have all flows looked at with each of them. What is left is looked at later.
    pub fn expire(&mut self, now: Instant, timeouts: &Timeouts, packets: u64, mut gone: impl FnMut(Flow)) {
        let target = seconds(now);
        if target == self.second {
            return;
        }
        if target < self.second {
            if self.second - target > TOLERANCE_S {
                self.second = target;
            }
            return;
        }
        // After a jump every slot is looked at once.
        let from = self.second.max(target.saturating_sub(SLOTS as u64));
        self.second = target;
        for second in from..target {
            if self.looks > packets.saturating_mul(LOOKS_PER_PACKET) {
                self.second = second;
                return;
            }
            let slot = (second % SLOTS as u64) as usize;
            let entries = core::mem::take(&mut self.ring[slot]);
            self.scheduled -= entries.len();
            self.looks += entries.len() as u64;
            for (at, serial) in entries {
                let Some(flow) = self.at(at as usize).filter(|flow| flow.serial == serial) else { continue };
                if flow.is_idle(now, timeouts) {
                    if let Some(flow) = self.remove(at as usize) {
                        self.expired += 1;
                        gone(flow);
                    }
                } else {
                    let deadline = flow.last + flow.stage.timeout(timeouts);
                    self.schedule(at, serial, deadline);
                }
            }
        }
    }

    /// Ends inspections of flows that were silent for ten seconds, among the next few places; answers the
    /// bytes that this freed and the number of flows.
    pub fn relieve(&mut self, now: Instant) -> (usize, u64) {
        const PLACES: usize = 64;
        let (mut freed, mut count) = (0, 0);
        for _ in 0..PLACES.min(self.slab.len()) {
            self.hand = (self.hand + 1) % self.slab.len().max(1);
            let hand = self.hand;
            let Some(flow) = self.at_mut(hand) else { continue };
            if now.since(flow.last) >= Duration::from_secs(10)
                && let Some(inspection) = flow.inspection.take()
            {
                freed += inspection.memory();
                count += 1;
            }
        }
        (freed, count)
    }

    /// Visits every flow, in the order of their places.
    pub fn for_each(&mut self, visit: impl FnMut(&mut Flow)) {
        self.slab.iter_mut().flatten().for_each(visit);
    }

    /// Takes all flows out, in the order of their places.
    pub fn drain(&mut self) -> Vec<Flow> {
        self.index.clear();
        self.free.clear();
        for slot in &mut self.ring {
            slot.clear();
        }
        self.scheduled = 0;
        core::mem::take(&mut self.slab).into_iter().flatten().collect()
    }

    fn schedule(&mut self, at: u32, serial: u32, deadline: Instant) {
        // The slot after the deadline, so that the flow is idle when it comes; at most one round ahead.
        let ahead = (seconds(deadline) + 1).saturating_sub(self.second).clamp(1, SLOTS as u64 - 1);
        let slot = ((self.second + ahead) % SLOTS as u64) as usize;
        self.ring[slot].push((at, serial));
        self.scheduled += 1;
        if self.scheduled > 4 * self.slab.len() + 4096 {
            self.compact();
        }
    }

    /// Drops entries of flows that are gone, where time stands still and flows come and go.
    fn compact(&mut self) {
        let slab = &self.slab;
        for slot in &mut self.ring {
            slot.retain(|(at, serial)| {
                slab.get(*at as usize).and_then(Option::as_ref).is_some_and(|flow| flow.serial == *serial)
            });
        }
        self.scheduled = self.ring.iter().map(Vec::len).sum();
    }

    /// One flow that was not used since the hand last came by.
    fn evict(&mut self) -> Option<Flow> {
        for _ in 0..=2 * self.slab.len() {
            self.hand = (self.hand + 1) % self.slab.len().max(1);
            let hand = self.hand;
            match self.at_mut(hand) {
                Some(flow) if flow.used => flow.used = false,
                Some(_) => {
                    self.evicted += 1;
                    return self.remove(hand);
                }
                None => {}
            }
        }
        None
    }
}

fn seconds(at: Instant) -> u64 {
    at.nanos() / 1_000_000_000
}

/// A fixed hash of a flow's key: multiplications over the packed ends. Each end is added once more, so that
/// an address which cancels a constant (and makes a product zero) does not throw the other end away.
pub(crate) fn hash_of(key: &FlowKey) -> u64 {
    let (low, high) = (words(key.low), words(key.high));
    let both = |a: u64, b: u64| {
        fold(a ^ 0x9e37_79b9_7f4a_7c15, b ^ 0xc2b2_ae3d_27d4_eb4f)
            .wrapping_add(a.wrapping_mul(0x1656_67b1_9e37_79f9))
            .wrapping_add(b.wrapping_mul(0x27d4_eb2f_1656_67c5).rotate_left(31))
    };
    let ends = both(low.0, high.0);
    let rest = both(low.1, high.1 ^ (u64::from(key.protocol) << 56));
    fold(ends ^ rest.rotate_left(17), 0x2545_f491_4f6c_dd1d ^ rest) ^ ends.rotate_left(32)
}

fn words(end: Endpoint) -> (u64, u64) {
    match end.ip {
        core::net::IpAddr::V4(ip) => (u64::from(ip.to_bits()) << 16 | u64::from(end.port), 4),
        core::net::IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            ((bits >> 64) as u64, (bits as u64) ^ u64::from(end.port) << 48)
        }
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
