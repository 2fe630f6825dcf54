//! The narrow waist: a box on the path sees packets and answers.
//!
//! A box never sleeps and owns neither clock nor randomness: time comes with each packet, chance is a hash
//! of the seed and of what is decided, so that it does not depend on the order of unrelated packets.

use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::{FlowKey, Instant, PacketView, Protocol};

/// Which way a packet crosses the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// from the subscriber's side
    Up,
    /// towards the subscriber
    Down,
}

impl Direction {
    /// The other way.
    pub const fn flip(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What becomes of the packet at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// it goes on as it came
    Pass,
    /// it ends here, in silence
    Drop,
    /// this whole IP packet goes on in its place
    Rewrite(Vec<u8>),
    /// the box keeps a copy; it comes out of [`Effects::injections`] later, or never
    Hold,
}

/// A box on the path.
pub trait Middlebox {
    /// Decides about one packet. `now` never goes back between calls.
    fn on_packet(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict;

    /// Lets timers that are due by `now` fire.
    fn on_timer(&mut self, now: Instant, context: &mut Context<'_>);

    /// When a timer is due next. Expiry of state needs none: it happens with packets.
    fn next_timer(&self) -> Option<Instant>;
}

/// What a box may use and where its effects go.
#[derive(Debug)]
pub struct Context<'a> {
    /// seed of all chance; decisions hash it with what they decide about
    pub seed: u64,
    /// what the box does besides its verdict
    pub effects: &'a mut Effects,
}

/// Packets and acts that a box adds. The caller drains both after each call.
#[derive(Debug, Default)]
pub struct Effects {
    /// packets to send: forged ones and those held before
    pub injections: Vec<Injection>,
    /// what was done, why, on what evidence: the truth log
    pub acts: Vec<Act>,
}

/// A packet that a box sends. It leaves after the packet at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// which way
    pub direction: Direction,
    /// after the packet at hand
    pub delay: Duration,
    /// whole IP packet
    pub packet: Vec<u8>,
}

/// One deed of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// packet time
    pub at: Instant,
    /// id of the profile's rule
    pub rule: String,
    /// what kind of deed
    pub kind: ActKind,
    /// deepest node of the taxonomy that names it
    pub mechanism: Mechanism,
    /// the flow
    pub flow: FlowKey,
    /// way of the packet at hand
    pub direction: Direction,
    /// index of that packet in its flow, both ways counted, from 1
    pub packet: u32,
    /// what it rests on
    pub evidence: Evidence,
}

/// Kinds of deeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActKind {
    /// a rule matched: from here on the flow, the address or the name is treated so
    Triggered,
    /// the first packet of a flow that was dropped for it
    Dropped,
    /// the first packet that was changed
    Rewritten,
    /// a packet was forged
    Injected,
    /// the first packet that a rate limit took
    Policed,
    /// the first packet that was delayed
    Delayed,
    /// a residual state or a ban ended
    Expired,
}

/// What a deed rests on. Empty fields say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// recognised protocol
    pub protocol: Option<Protocol>,
    /// SNI, host or query name as matched
    pub name: String,
    /// the list's entry that matched
    pub matched: String,
    /// JA4, when a fingerprint decided
    pub fingerprint: String,
    /// anything else, in words: `45 fragments`, `packet 26 of 25`
    pub detail: String,
}
