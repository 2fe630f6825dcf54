//! The deeds a decision can ask for, as data: the engine knows how to carry each out.

use core::time::Duration;

use okno_wire::Endpoint;

use crate::middlebox::Direction;

/// Which ways something holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ways {
    /// both
    #[default]
    Both,
    /// from the subscriber
    Up,
    /// towards the subscriber
    Down,
}

impl Ways {
    /// Whether this way is among them.
    pub const fn has(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::Up, Direction::Up) | (Self::Down, Direction::Down)
        )
    }
}

/// A rate and the burst it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// bits of IP packets per second
    pub bits_per_second: u64,
    /// bytes that a full bucket holds
    pub burst_bytes: u64,
}

/// What is done to packets of a flow, from some moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// nothing more; the decision's forged packets and `drop_this` were all
    Nothing,
    /// silence
    Drop {
        /// which ways
        ways: Ways,
        /// packets that still pass, both ways counted
        after: u32,
        /// chance of each packet to pass all the same, in millionths
        pass_ppm: u32,
        /// only packets with payload
        data_only: bool,
    },
    /// packets of this way lose their payload and become RST/ACK; sequence numbers, TTL and timing stay
    RewriteToReset {
        /// which way
        way: Direction,
    },
    /// packets beyond a rate are dropped; one bucket per way
    Police {
        /// from the subscriber
        up: Option<Rate>,
        /// towards the subscriber
        down: Option<Rate>,
    },
    /// packets beyond a rate wait; one queue per way, of `queue_bytes`, beyond which they are dropped
    Shape {
        /// from the subscriber
        up: Option<Rate>,
        /// towards the subscriber
        down: Option<Rate>,
        /// bytes that may wait, per way
        queue_bytes: u64,
    },
    /// packets wait so long
    Delay {
        /// which ways
        ways: Ways,
        /// how long
        time: Duration,
    },
    /// silence both ways once the flow, from its opening on, has used up any of these; the packet that
    /// exceeds the budget is the first that is dropped
    Budget {
        /// packets, both ways counted
        packets: Option<u32>,
        /// payload bytes from the subscriber
        bytes_up: Option<u64>,
        /// payload bytes towards the subscriber
        bytes_down: Option<u64>,
    },
    /// the far end is replaced (DNAT); answers get the old address back
    Redirect {
        /// the end that really answers; port 0 keeps the port
        to: Endpoint,
    },
}

impl Action {
    /// Whether both are of one kind, whatever their numbers: a rule has at most one of each kind at work on
    /// a flow in each scope.
    pub fn is_like(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }

    /// Silence both ways from the next packet on.
    pub const DROP: Self = Self::Drop { ways: Ways::Both, after: 0, pass_ppm: 0, data_only: false };
    /// Silence of the subscriber's packets.
    pub const DROP_UP: Self = Self::Drop { ways: Ways::Up, after: 0, pass_ppm: 0, data_only: false };
    /// Silence of packets towards the subscriber.
    pub const DROP_DOWN: Self = Self::Drop { ways: Ways::Down, after: 0, pass_ppm: 0, data_only: false };
}

/// Which packets an action holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scope {
    /// this flow, as long as it is tracked
    #[default]
    Flow,
    /// both addresses and ports, even after the flow ended: the residual of the TSPU
    FourTuple,
    /// subscriber's address, remote address and port: the residual of the Great Firewall
    ThreeTuple,
    /// both addresses
    HostPair,
    /// remote address and port
    RemoteEnd,
    /// remote address
    Remote,
    /// subscriber's address
    Subscriber,
}

/// What lets a residual begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Refresh {
    /// nothing
    #[default]
    Never,
    /// another trigger of the same rule, and even one that is itself dropped
    Trigger,
    /// each packet it holds for
    Packet,
}

/// TTL of a forged packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForgedTtl {
    /// that of the last packet of the end that it pretends to come from; 64 when none was seen
    #[default]
    Peer,
    /// this
    Fixed(u8),
}

/// A packet to forge. Sequence numbers are those that the receiver expects next: the box counts both
/// sides, with the packet at hand included when it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forge {
    /// a TCP segment that pretends to come from the other end
    Segment {
        /// which way it goes: [`Direction::Down`] is to the subscriber, as if from the remote
        to: Direction,
        /// TCP flags
        flags: u8,
        /// payload
        payload: Vec<u8>,
        /// added to the sequence number
        seq_shift: u32,
        /// IPv4 identification
        ip_id: u16,
        /// TTL
        ttl: ForgedTtl,
        /// window
        window: u16,
        /// after the packet at hand
        delay: Duration,
    },
    /// a UDP datagram that pretends to come from the other end
    Datagram {
        /// which way it goes
        to: Direction,
        /// payload
        payload: Vec<u8>,
        /// IPv4 identification
        ip_id: u16,
        /// TTL
        ttl: ForgedTtl,
        /// after the packet at hand
        delay: Duration,
    },
    /// a whole IP packet of the technique's own making
    Packet {
        /// which way it goes
        to: Direction,
        /// from the IP header on
        bytes: Vec<u8>,
        /// after the packet at hand
        delay: Duration,
    },
}

impl Forge {
    /// RST/ACK that the receiver will take.
    pub const fn reset(to: Direction) -> Self {
        use okno_wire::packet::flag;
        Self::segment(to, flag::RST | flag::ACK, Vec::new())
    }

    /// A segment that the receiver will take.
    pub const fn segment(to: Direction, flags: u8, payload: Vec<u8>) -> Self {
        Self::Segment {
            to,
            flags,
            payload,
            seq_shift: 0,
            ip_id: 0,
            ttl: ForgedTtl::Peer,
            window: 0,
            delay: Duration::ZERO,
        }
    }

    /// A datagram from the other end.
    pub const fn datagram(to: Direction, payload: Vec<u8>) -> Self {
        Self::Datagram { to, payload, ip_id: 0, ttl: ForgedTtl::Peer, delay: Duration::ZERO }
    }
}
