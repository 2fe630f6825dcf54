//! What happens next: a binary heap of small entries over a slab of events.
//!
//! Entries are ordered by (time, sequence number), never by what they hold, so that two events of the same
//! moment happen in the order in which they were made. The heap moves 24 bytes, not the packets.

use core::cmp::Reverse;
use core::task::Waker;
use std::collections::BinaryHeap;

use okno_wire::Instant;

use super::{LinkId, NodeId, Packet, Side, Wires, World};

/// A change of the world at a moment of its timeline.
pub(crate) type Action = Box<dyn FnOnce(&mut World)>;

/// Something that happens.
pub(crate) enum Event {
    /// a packet reaches the end of a link; `from` is the end it left
    Arrive { link: LinkId, from: Side, packet: Packet },
    /// a packet leaves a node late: a box's injection with a delay
    Leave { node: NodeId, port: u16, packet: Packet },
    /// a box asked to be called
    BoxTimer { node: NodeId },
    /// a TCP connection asked to be polled
    TcpTimer { node: NodeId, connection: u32, generation: u32 },
    /// a program sleeps no longer
    Wake(Waker),
    /// the timeline changes the world
    Act(Action),
    /// the slot is free
    Nothing,
}

impl Event {
    /// Where it happens, if at one node.
    pub fn node(&self, wires: &Wires) -> Option<NodeId> {
        match self {
            Self::Arrive { link, from, .. } => Some(wires.other_end(*link, *from)),
            Self::Leave { node, .. } | Self::BoxTimer { node } | Self::TcpTimer { node, .. } => Some(*node),
            Self::Wake(_) | Self::Act(_) | Self::Nothing => None,
        }
    }
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    events: Vec<Event>,
    free: Vec<u32>,
    sequence: u64,
}

impl Queue {
    /// Lets `event` happen at `at`.
    pub fn push(&mut self, at: Instant, event: Event) {
        let slot = if let Some(slot) = self.free.pop() {
            self.events[slot as usize] = event;
            slot
        } else {
            self.events.push(event);
            u32::try_from(self.events.len() - 1).expect("fewer than 2^32 events wait at once")
        };
        self.heap.push(Reverse((at, self.sequence, slot)));
        self.sequence += 1;
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Instant, Event)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, core::mem::replace(&mut self.events[slot as usize], Event::Nothing)))
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}
