//! What a technique is: it hears events of a flow and answers with decisions that the engine carries out.
//!
//! A technique never sees raw switches, tables or timers. Everything about one flow stays in the flow (its
//! slot and the actions installed on it); everything about an address or a name stays in the residual
//! store or in a [`crate::Memory`], which expire and are capped. So a rule that acted once acts again.

use core::fmt;
use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::{Endpoint, FlowKey, Instant, PacketView, Protocol, Recognition};

use crate::action::{Action, Forge, Refresh, Scope};
use crate::middlebox::{Direction, Evidence};

/// One documented way of interference with its parameters.
pub trait Technique: fmt::Debug + Send {
    /// Id of the profile's rule, unique within an engine.
    fn rule(&self) -> &str;

    /// Deepest node of the taxonomy that names what a client will see.
    fn mechanism(&self) -> Mechanism;

    /// Which events it wants. What nobody wants is not computed.
    fn interest(&self) -> Interest;

    /// Hears one event and answers by pushing decisions; none means "go on".
    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions);
}

/// A set of event kinds and conditions; combine with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interest(pub u32);

impl Interest {
    /// nothing
    pub const NONE: Self = Self(0);
    /// [`Event::Opened`]
    pub const OPENED: Self = Self(1);
    /// [`Event::ClientHello`] sent by the side that opened the flow
    pub const CLIENT_HELLO: Self = Self(1 << 1);
    /// [`Event::ClientHello`] sent by the other side as well
    pub const CLIENT_HELLO_EITHER_SIDE: Self = Self(1 << 2);
    /// [`Event::QuicInitial`]
    pub const QUIC_INITIAL: Self = Self(1 << 3);
    /// [`Event::HttpRequest`]
    pub const HTTP_REQUEST: Self = Self(1 << 4);
    /// [`Event::DnsQuery`]
    pub const DNS_QUERY: Self = Self(1 << 5);
    /// [`Event::DtlsHello`]
    pub const DTLS_HELLO: Self = Self(1 << 6);
    /// [`Event::Recognised`]
    pub const RECOGNISED: Self = Self(1 << 7);
    /// [`Event::Data`]: each packet with payload, until [`Decisions::ignore_flow`]
    pub const DATA: Self = Self(1 << 8);
    /// [`Event::Packet`]: every packet, until [`Decisions::ignore_flow`]
    pub const PACKET: Self = Self(1 << 9);
    /// [`Event::Closed`]
    pub const CLOSED: Self = Self(1 << 10);
    /// also flows that the engine's switches leave alone: opened from outside, or disarmed
    pub const UNARMED_TOO: Self = Self(1 << 11);

    /// Whether all of `other` is wanted.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is wanted.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl core::ops::BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A number for each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerWay<T> {
    /// from the subscriber
    pub up: T,
    /// towards the subscriber
    pub down: T,
}

impl<T> PerWay<T> {
    /// The number of one way.
    pub const fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// The number of one way, to be changed.
    pub const fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// A flow as a technique sees it while an event is told.
#[derive(Debug)]
pub struct FlowView<'a> {
    /// both ends, for either direction
    pub key: FlowKey,
    /// the end on the subscriber's side
    pub inside: Endpoint,
    /// the end beyond the box
    pub outside: Endpoint,
    /// who sent the flow's first packet: [`Direction::Up`] is the subscriber
    pub opened_by: Direction,
    /// the switches let this flow be inspected: opened from the right side, no remote SYN in it
    pub armed: bool,
    /// time of the first packet
    pub opened: Instant,
    /// time of the packet at hand
    pub now: Instant,
    /// way of the packet at hand
    pub direction: Direction,
    /// packets so far, the one at hand included
    pub packets: PerWay<u32>,
    /// packets with payload so far, the one at hand included
    pub data_packets: PerWay<u32>,
    /// payload bytes so far, those at hand included
    pub bytes: PerWay<u64>,
    /// what the flow was recognised as
    pub recognised: Option<Protocol>,
    /// server name that the flow gave, as normalised by the switches; empty when none was seen
    pub name: &'a str,
    /// this technique's own state of this flow; 0 at first
    pub slot: &'a mut u64,
    /// seed of all chance, for [`crate::chance`]
    pub seed: u64,
}

impl FlowView<'_> {
    /// Index of the packet at hand in its flow, both ways counted, from 1.
    pub const fn packet_index(&self) -> u32 {
        self.packets.up + self.packets.down
    }
}

/// What happened in a flow.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// its first packet, or the first since the technique came into force
    Opened {
        /// that packet
        packet: &'a PacketView<'a>,
    },
    /// a TLS ClientHello became whole under the switches
    ClientHello(&'a Hello<'a>),
    /// a QUIC Initial was seen; `hello` is there once its ClientHello is whole under the switches
    QuicInitial(&'a Initial<'a>),
    /// the head of an HTTP/1 request
    HttpRequest(&'a Request<'a>),
    /// a DNS query, over UDP or TCP
    DnsQuery(&'a Query<'a>),
    /// a DTLS ClientHello or ServerHello
    DtlsHello(&'a Dtls<'a>),
    /// the classifier is sure enough
    Recognised(&'a Recognition),
    /// a packet with payload; `index` counts those of its way from 1
    Data {
        /// the packet
        packet: &'a PacketView<'a>,
        /// which data packet of its way, from 1
        index: u32,
    },
    /// any packet
    Packet {
        /// the packet
        packet: &'a PacketView<'a>,
    },
    /// the flow ended or expired; decisions come too late and are not carried out
    Closed,
}

/// A TLS ClientHello as the switches let it be seen.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// server name as normalised by the switches; empty when there is none
    pub name: &'a str,
    /// the handshake message with its 4-byte header, to parse further
    pub message: &'a [u8],
    /// an encrypted_client_hello extension (RFC 9849)
    pub ech: bool,
    /// the older encrypted_server_name extension (draft-ietf-tls-esni)
    pub esni: bool,
    /// who sent it
    pub direction: Direction,
    /// TCP segments or datagrams that it came in
    pub segments: u32,
    /// TLS records that it came in; 0 in QUIC
    pub records: u32,
    /// offset of its first record in the stream of its way
    pub offset: u32,
}

/// A QUIC Initial.
#[derive(Clone, Copy, Debug)]
pub struct Initial<'a> {
    /// version field of the long header
    pub version: u32,
    /// the ClientHello, once whole; `None` before that, and when the version is not decrypted
    pub hello: Option<&'a Hello<'a>>,
    /// the UDP payload at hand
    pub datagram: &'a [u8],
}

/// The head of an HTTP/1 request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Host header as normalised by the switches; empty when there is none
    pub host: &'a str,
    /// request target as sent
    pub path: &'a str,
    /// method as sent
    pub method: &'a str,
    /// which request of the flow, from 1
    pub index: u32,
}

/// A DNS query.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// first question's name as normalised by the switches
    pub name: &'a str,
    /// its type (1 A, 28 AAAA …)
    pub kind: u16,
    /// the whole message
    pub message: &'a [u8],
}

/// A DTLS hello.
#[derive(Clone, Copy, Debug)]
pub struct Dtls<'a> {
    /// the ServerHello, not the ClientHello
    pub from_server: bool,
    /// version of the record layer, as on the wire (0xfefd is 1.2)
    pub version: u16,
    /// JA4 of a ClientHello; empty otherwise
    pub fingerprint: &'a str,
    /// the UDP payload at hand
    pub datagram: &'a [u8],
}

/// What is to happen now and from now on.
#[derive(Clone, Debug)]
pub struct Decision {
    /// what is done to packets from now on
    pub action: Action,
    /// which packets it holds for
    pub scope: Scope,
    /// after this time; zero is at once
    pub after: Duration,
    /// for how long; `None` is as long as the flow lives (a day, for wider scopes)
    pub lasting: Option<Duration>,
    /// what lets `lasting` begin anew
    pub refresh: Refresh,
    /// the packet at hand is dropped, whatever `action` says
    pub drop_this: bool,
    /// the action holds for the packet at hand already
    pub from_this: bool,
    /// packets to forge; they leave after the packet at hand
    pub forge: Vec<Forge>,
    /// what it rests on
    pub evidence: Evidence,
}

impl Decision {
    /// An action on this flow, from the next packet on, as long as the flow lives.
    pub fn new(action: Action, evidence: Evidence) -> Self {
        Self {
            action,
            scope: Scope::Flow,
            after: Duration::ZERO,
            lasting: None,
            refresh: Refresh::Never,
            drop_this: false,
            from_this: false,
            forge: Vec::new(),
            evidence,
        }
    }

    /// Lasts so long.
    #[must_use]
    pub const fn lasting(mut self, time: Duration) -> Self {
        self.lasting = Some(time);
        self
    }

    /// Holds for these packets.
    #[must_use]
    pub const fn on(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Begins later.
    #[must_use]
    pub const fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }

    /// What lets it begin anew.
    #[must_use]
    pub const fn refreshed_by(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Drops the packet at hand.
    #[must_use]
    pub const fn dropping_this(mut self) -> Self {
        self.drop_this = true;
        self
    }

    /// Holds for the packet at hand already.
    #[must_use]
    pub const fn from_this(mut self) -> Self {
        self.from_this = true;
        self
    }

    /// Forges a packet as well.
    #[must_use]
    pub fn forging(mut self, forge: Forge) -> Self {
        self.forge.push(forge);
        self
    }
}

/// Where a technique puts its decisions.
#[derive(Debug, Default)]
pub struct Decisions {
    pub(crate) list: Vec<Decision>,
    pub(crate) ignore: bool,
    pub(crate) allow: bool,
}

impl Decisions {
    /// Adds one.
    pub fn push(&mut self, decision: Decision) {
        self.list.push(decision);
    }

    /// No more [`Event::Data`] and [`Event::Packet`] of this flow for this technique.
    pub const fn ignore_flow(&mut self) {
        self.ignore = true;
    }

    /// The flow is exempt: no technique of this engine looks at it again, and actions installed on the flow
    /// alone are taken off (an exempt name under a packet budget).
    pub const fn exempt_flow(&mut self) {
        self.allow = true;
    }
}
