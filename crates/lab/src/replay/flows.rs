//! The replay's flows: found by key, expired by packet time, capped in number and in bytes held.
//!
//! Apart from the box's own table, because a report must count what a box overlooks.

use core::time::Duration;
use std::collections::VecDeque;

use core::net::IpAddr;
use hashbrown::HashTable;
use okno_wire::packet::number;
use okno_wire::recognise::Recogniser;
use okno_wire::{Endpoint, FlowKey, Instant, Recognition};

use super::prefix::Prefix;
use super::row::{Broken, Deed, OpenedBy};

/// Silence after which a TCP flow is told: some idle connections are kept alive every ten minutes.
const TCP_IDLE: Duration = Duration::from_secs(600);
/// Silence after which any other flow is told; RFC 4787 §4.3 asks as much of a NAT.
const OTHER_IDLE: Duration = Duration::from_secs(120);
/// Silence after which a TCP flow that was closed or reset is told.
const CLOSED_IDLE: Duration = Duration::from_secs(5);

/// What is known of a flow while it lasts.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    pub(super) ordinal: u64,
    pub(super) number: u64,
    pub(super) capture: u32,
    pub(super) first: Instant,
    pub(super) last: Instant,
    pub(super) subscriber_is_high: bool,
    pub(super) initiator_is_high: bool,
    pub(super) opened_by: OpenedBy,
    /// ends that sent a FIN (1 low, 2 high), and 3 after a RST
    pub(super) closed: u8,
    pub(super) saw_syn: bool,
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
    pub(super) fragments: u32,
    pub(super) broken: Option<Box<Broken>>,
    pub(super) broken_packets: u32,
    pub(super) dropped: u32,
    pub(super) forged: u32,
    pub(super) recognition: Option<Box<Recognition>>,
    pub(super) working: Option<Box<Working>>,
    pub(super) deeds: Vec<Deed>,
    generation: u32,
    class: Class,
}

/// What a flow needs until it is recognised.
#[derive(Debug, Default)]
pub(super) struct Working {
    pub(super) recogniser: Recogniser,
    /// low and high end
    pub(super) sides: [Prefix; 2],
    pub(super) looks: u16,
    /// the classifier is done; the bytes are kept for whoever asked for them
    pub(super) told: bool,
}

/// Which timeout counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Tcp,
    Other,
    Closed,
}

impl Class {
    const fn idle(self) -> Duration {
        match self {
            Self::Tcp => TCP_IDLE,
            Self::Other => OTHER_IDLE,
            Self::Closed => CLOSED_IDLE,
        }
    }
}

/// A flow that may be due.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    slot: u32,
    generation: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Flows {
    index: HashTable<u32>,
    slots: Vec<Option<Flow>>,
    free: Vec<u32>,
    due: [VecDeque<Due>; 3],
    next_due: Instant,
    generation: u32,
    most: usize,
}

impl Flows {
    pub(super) fn new(most: usize) -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            due: Default::default(),
            next_due: Instant::MAX,
            generation: 0,
            most: most.max(1),
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &FlowKey) -> Option<u32> {
        let same = |slot: &u32| self.slots[*slot as usize].as_ref().is_some_and(|flow| flow.key == *key);
        self.index.find(hash(key), same).copied()
    }

    #[inline]
    pub(super) fn flow(&mut self, slot: u32) -> &mut Flow {
        self.slots[slot as usize].as_mut().expect("a slot that was found or inserted holds a flow")
    }

    /// Adds a flow; the caller made room and looked that there is none of this key.
    pub(super) fn insert(&mut self, mut flow: Flow) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        flow.generation = self.generation;
        let (key, at, class) = (flow.key, flow.last, flow.class);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(flow);
                slot
            }
            None => {
                self.slots.push(Some(flow));
                u32::try_from(self.slots.len() - 1).expect("the number of flows is capped")
            }
        };
        let slots = &self.slots;
        let rehash = |slot: &u32| slots[*slot as usize].as_ref().map_or(0, |flow| hash(&flow.key));
        self.index.insert_unique(hash(&key), slot, rehash);
        self.schedule(class, at, slot);
        slot
    }

    fn schedule(&mut self, class: Class, last: Instant, slot: u32) {
        let generation = self.slots[slot as usize].as_ref().map_or(0, |flow| flow.generation);
        let at = last + class.idle();
        self.due[class as usize].push_back(Due { at, slot, generation });
        self.next_due = self.next_due.min(at);
    }

    /// The flow is over but for stragglers.
    pub(super) fn close(&mut self, slot: u32) {
        let flow = self.flow(slot);
        if flow.class != Class::Closed {
            flow.class = Class::Closed;
            let last = flow.last;
            self.schedule(Class::Closed, last, slot);
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Flow {
        let flow = self.slots[slot as usize].take().expect("only flows that are there are removed");
        if let Ok(entry) = self.index.find_entry(hash(&flow.key), |other| *other == slot) {
            entry.remove();
        }
        self.free.push(slot);
        flow
    }

    /// One flow that was silent for too long, or must go because there are too many.
    #[inline]
    pub(super) fn expired(&mut self, now: Instant) -> Option<(Flow, bool)> {
        if now < self.next_due && self.index.len() < self.most {
            return None;
        }
        self.look_for_expired(now)
    }

    #[cold]
    fn look_for_expired(&mut self, now: Instant) -> Option<(Flow, bool)> {
        for class in [Class::Closed, Class::Other, Class::Tcp] {
            while let Some(due) = self.due[class as usize].front().copied() {
                let crowded = self.index.len() >= self.most && class != Class::Closed;
                if due.at > now && !crowded {
                    break;
                }
                self.due[class as usize].pop_front();
                let slot = self.slots[due.slot as usize].as_ref();
                let Some(flow) = slot.filter(|flow| flow.generation == due.generation && flow.class == class)
                else {
                    continue;
                };
                let last = flow.last;
                if last + class.idle() <= now {
                    return Some((self.remove(due.slot), false));
                }
                if crowded {
                    return Some((self.remove(due.slot), true));
                }
                self.schedule(class, last, due.slot);
            }
        }
        let fronts = self.due.iter().filter_map(VecDeque::front);
        self.next_due = fronts.map(|due| due.at).min().unwrap_or(Instant::MAX);
        None
    }

    /// All flows that are left, in the order in which they began.
    pub(super) fn drain(&mut self) -> Vec<Flow> {
        let mut flows: Vec<Flow> = self.slots.drain(..).flatten().collect();
        flows.sort_by_key(|flow| flow.ordinal);
        *self = Self::new(self.most);
        flows
    }
}

impl Flow {
    pub(super) fn new(key: FlowKey, at: Instant, number: u64, ordinal: u64) -> Self {
        let tcp = key.protocol == number::TCP;
        let tells = matches!(key.protocol, number::TCP | number::UDP | number::ESP | number::AH);
        Self {
            key,
            ordinal,
            number,
            capture: 0,
            first: at,
            last: at,
            subscriber_is_high: false,
            initiator_is_high: false,
            opened_by: OpenedBy::Unknown,
            closed: 0,
            saw_syn: false,
            packets: [0; 2],
            bytes: [0; 2],
            fragments: 0,
            broken: None,
            broken_packets: 0,
            dropped: 0,
            forged: 0,
            recognition: None,
            working: tells.then(Box::default),
            deeds: Vec::new(),
            generation: 0,
            class: if tcp { Class::Tcp } else { Class::Other },
        }
    }

    /// Packets both ways.
    pub(super) fn index(&self) -> u32 {
        u32::try_from(self.packets[0] + self.packets[1]).unwrap_or(u32::MAX)
    }
}

/// A fixed hash of few instructions: the same on every machine and run.
#[inline]
fn hash(key: &FlowKey) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |end: &Endpoint| match end.ip {
        IpAddr::V4(ip) => u64::from(u32::from(ip)) << 16 | u64::from(end.port),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            let (high, low) = ((bits >> 64) as u64, bits as u64);
            (high.wrapping_mul(ODD) ^ low).rotate_left(17) ^ u64::from(end.port)
        }
    };
    let mixed =
        fold(&key.low).wrapping_mul(ODD).rotate_left(31) ^ fold(&key.high) ^ u64::from(key.protocol) << 56;
    let wide = u128::from(mixed ^ 0x2545_f491_4f6c_dd1d) * u128::from(ODD);
    (wide >> 64) as u64 ^ wide as u64
}
