//! A link: two ends, and for each way a rate, a delay, a queue with a limit in bytes, loss and jitter.
//!
//! A way keeps order: jitter never lets a packet overtake another, because reordering is a middlebox's or a
//! scenario's deed and must not come by accident.

use core::time::Duration;

use okno_wire::Instant;

use super::chance;

/// One way of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSetup {
    /// bits per second; 0 is no limit
    pub rate_bps: u64,
    /// propagation
    pub delay: Duration,
    /// bytes that may wait for the transmitter; more are dropped (drop tail)
    pub queue_bytes: u64,
    /// probability that a packet is lost
    pub loss: f64,
    /// added to the delay, evenly distributed from zero up to this
    pub jitter: Duration,
    /// greatest IP packet
    pub mtu: u16,
}

impl LinkSetup {
    /// No limit of rate, no loss, 1 MB of queue, an MTU of 1500.
    pub const fn new(delay: Duration) -> Self {
        Self { rate_bps: 0, delay, queue_bytes: 1_000_000, loss: 0.0, jitter: Duration::ZERO, mtu: 1500 }
    }

    /// [`Self::new`] of so many milliseconds.
    pub const fn millis(delay: u64) -> Self {
        Self::new(Duration::from_millis(delay))
    }

    /// With a rate.
    pub const fn with_rate(mut self, bits_per_second: u64) -> Self {
        self.rate_bps = bits_per_second;
        self
    }

    /// With a queue limit.
    pub const fn with_queue(mut self, bytes: u64) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// With loss.
    pub const fn with_loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// With jitter.
    pub const fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// With an MTU.
    pub const fn with_mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }
}

/// An end of a link: the first or the second node that was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// the first
    A,
    /// the second
    B,
}

impl Side {
    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What passed one way of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCount {
    /// packets that arrived or will
    pub packets: u64,
    /// their bytes
    pub bytes: u64,
    /// packets lost on the way
    pub lost: u64,
    /// packets for which the queue had no room
    pub overflowed: u64,
}

/// One way, with its state.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub setup: LinkSetup,
    pub up: bool,
    pub count: LinkCount,
    busy_until: Instant,
    last_arrival: Instant,
    sent: u64,
}

/// What becomes of a packet that was given to a way.
pub(crate) enum Passage {
    /// it is on the wire from `leaves` on and arrives then
    Arrives { leaves: Instant, at: Instant },
    /// it was on the wire from then on and is lost
    Lost { leaves: Instant },
    /// it never left: link down or queue full
    Refused,
}

impl Way {
    pub const fn new(setup: LinkSetup) -> Self {
        Self {
            setup,
            up: true,
            count: LinkCount { packets: 0, bytes: 0, lost: 0, overflowed: 0 },
            busy_until: Instant::ZERO,
            last_arrival: Instant::ZERO,
            sent: 0,
        }
    }

    /// Gives a packet of `len` bytes to the way at `now`; `seed` is the link's and the way's own.
    pub fn pass(&mut self, now: Instant, len: usize, seed: u64) -> Passage {
        if !self.up {
            self.count.lost += 1;
            return Passage::Refused;
        }
        let leaves = match self.transmit(now, len as u64) {
            Some(leaves) => leaves,
            None => {
                self.count.overflowed += 1;
                return Passage::Refused;
            }
        };
        self.sent += 1;
        let setup = &self.setup;
        if setup.loss > 0.0 && chance::happens(setup.loss, chance::hash(seed, &[1, self.sent])) {
            self.count.lost += 1;
            return Passage::Lost { leaves };
        }
        let mut at = leaves + setup.delay;
        if !setup.jitter.is_zero() {
            let span = u64::try_from(setup.jitter.as_nanos()).unwrap_or(u64::MAX);
            at = at + Duration::from_nanos(chance::hash(seed, &[2, self.sent]) % span);
        }
        self.last_arrival = self.last_arrival.max(at);
        self.count.packets += 1;
        self.count.bytes += len as u64;
        Passage::Arrives { leaves, at: self.last_arrival }
    }

    /// When the packet's last bit has left; `None` when the queue has no room for it.
    fn transmit(&mut self, now: Instant, len: u64) -> Option<Instant> {
        let rate = self.setup.rate_bps;
        if rate == 0 {
            return Some(now);
        }
        let waiting = self.busy_until.since(now).as_nanos() * u128::from(rate) / 8_000_000_000;
        // A packet that finds the transmitter idle needs no room in the queue.
        if waiting > 0 && waiting + u128::from(len) > u128::from(self.setup.queue_bytes) {
            return None;
        }
        let takes = Duration::from_nanos((len * 8).saturating_mul(1_000_000_000) / rate);
        self.busy_until = self.busy_until.max(now) + takes;
        Some(self.busy_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_a_rate_spaces_packets() {
        let mut way = Way::new(LinkSetup::millis(10).with_rate(8_000_000).with_queue(2_000));
        let arrivals: Vec<_> = (0..4)
            .map(|_| match way.pass(Instant::ZERO, 1_000, 1) {
                Passage::Arrives { at, .. } => Some(at.micros()),
                _ => None,
            })
            .collect();
        assert_eq!(arrivals, [Some(11_000), Some(12_000), None, None]);
        assert_eq!(way.count.overflowed, 2);
    }

    #[test]
    fn jitter_never_reorders() {
        let mut way = Way::new(LinkSetup::millis(10).with_jitter(Duration::from_millis(9)));
        let mut last = Instant::ZERO;
        for n in 0..100 {
            let Passage::Arrives { at, .. } = way.pass(Instant::from_micros(n * 100), 100, 5) else {
                panic!()
            };
            assert!(at >= last);
            last = at;
        }
    }
}
