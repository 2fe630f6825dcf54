//! Packets that wait for their time: delay and shaping.

use core::time::Duration;
use std::collections::BTreeMap;

use okno_wire::Instant;

use crate::middlebox::{Direction, Effects, Injection};

/// Packets by the time at which they go on.
#[derive(Debug)]
pub(super) struct Waiting {
    packets: BTreeMap<(Instant, u64), (Direction, Vec<u8>)>,
    bytes: usize,
    cap: usize,
    serial: u64,
}

impl Waiting {
    pub const fn new(cap: usize) -> Self {
        Self { packets: BTreeMap::new(), bytes: 0, cap, serial: 0 }
    }

    /// Keeps a packet; false when there is no room.
    pub fn hold(&mut self, until: Instant, direction: Direction, packet: Vec<u8>) -> bool {
        if self.bytes + packet.len() > self.cap {
            return false;
        }
        self.bytes += packet.len();
        self.serial += 1;
        self.packets.insert((until, self.serial), (direction, packet));
        true
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn next(&self) -> Option<Instant> {
        self.packets.first_key_value().map(|((until, _), _)| *until)
    }

    /// Lets go what is due.
    pub fn release(&mut self, now: Instant, effects: &mut Effects) {
        while self.next().is_some_and(|until| until <= now) {
            let Some((_, (direction, packet))) = self.packets.pop_first() else { return };
            self.bytes -= packet.len();
            effects.injections.push(Injection { direction, delay: Duration::ZERO, packet });
        }
    }
}
