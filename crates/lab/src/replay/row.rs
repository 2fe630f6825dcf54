//! What a replay says: a row for each flow, and a summary of all.
//!
//! A recorded flow stays as it was recorded: every deed is what the box *would have* done, and packets
//! after the first deed are those of a flow that in truth it would not have let go on so.

use core::net::IpAddr;
use std::collections::BTreeMap;

use okno_censor::ActKind;
use okno_wire::{FlowKey, Instant, Malformed, Protocol, Recognition};

/// Who opened a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// the subscriber
    Subscriber,
    /// the other end
    Remote,
    /// the capture begins in the middle of it
    Unknown,
}

impl OpenedBy {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Remote => "remote",
            Self::Unknown => "unknown",
        }
    }
}

/// One deed that a box would have done on a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// when, in packet time
    pub at: Instant,
    /// id of the profile's rule
    pub rule: String,
    /// what kind
    pub kind: ActKind,
    /// node of the taxonomy
    pub mechanism: &'static str,
    /// which packet of the flow, both ways counted, from 1
    pub packet: u32,
    /// that packet's number in the capture; 0 when a timer acted
    pub number: u64,
    /// what the box saw
    pub protocol: Option<Protocol>,
    /// name as the box matched it
    pub name: String,
    /// the list's entry
    pub matched: String,
    /// JA4, when it decided
    pub fingerprint: String,
    /// the rest, in words
    pub detail: String,
}

/// A malformed packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broken {
    /// how
    pub malformed: Malformed,
    /// its number in the capture
    pub number: u64,
}

/// One flow of a capture.
#[derive(Clone, Debug)]
pub struct FlowRow {
    /// which flow of the run, from 1
    pub flow: u64,
    /// which capture of the run, from 0
    pub capture: usize,
    /// its first packet's number in the capture
    pub number: u64,
    /// first packet
    pub first: Instant,
    /// last packet
    pub last: Instant,
    /// both ends
    pub key: FlowKey,
    /// the subscriber is [`FlowKey::high`]
    pub subscriber_is_high: bool,
    /// who opened it
    pub opened_by: OpenedBy,
    /// packets from and to the subscriber
    pub packets: [u64; 2],
    /// bytes of whole IP packets from and to the subscriber, as far as captured
    pub bytes: [u64; 2],
    /// what it was recognised as
    pub recognition: Option<Recognition>,
    /// fragments among the packets
    pub fragments: u32,
    /// first malformed packet
    pub broken: Option<Broken>,
    /// malformed packets
    pub broken_packets: u32,
    /// what the box would have done, in order; the first of each rule and kind, at most sixteen
    pub deeds: Vec<Deed>,
    /// packets that the box would have dropped, of those recorded
    pub dropped: u32,
    /// packets that the box would have forged
    pub forged: u32,
    /// the first bytes of a TCP connection, of the end that opened it and of the other; only with
    /// [`super::Options::keep_streams`], and where room was left for them
    pub streams: Option<[Vec<u8>; 2]>,
}

impl FlowRow {
    /// The far end's address and port.
    pub const fn remote(&self) -> (IpAddr, u16) {
        let end = if self.subscriber_is_high { &self.key.low } else { &self.key.high };
        (end.ip, end.port)
    }

    /// The subscriber's address and port.
    pub const fn subscriber(&self) -> (IpAddr, u16) {
        let end = if self.subscriber_is_high { &self.key.high } else { &self.key.low };
        (end.ip, end.port)
    }

    /// The transport in a word.
    pub fn transport(&self) -> String {
        match self.key.protocol {
            1 => "icmp".into(),
            6 => "tcp".into(),
            17 => "udp".into(),
            47 => "gre".into(),
            50 => "esp".into(),
            51 => "ah".into(),
            58 => "icmpv6".into(),
            other => format!("ip-{other}"),
        }
    }
}

/// Counts of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// flows
    pub flows: u64,
    /// packets
    pub packets: u64,
    /// bytes
    pub bytes: u64,
}

/// What one rule would have done.
#[derive(Clone, Debug, Default)]
pub struct RuleTally {
    /// node of the taxonomy
    pub mechanism: &'static str,
    /// flows on which it acted
    pub flows: u64,
    /// deeds by kind
    pub deeds: BTreeMap<ActKind, u64>,
    /// flows by the name or address that it acted on; at most a thousand are told apart
    pub on: BTreeMap<String, u64>,
}

/// The whole run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// IP packets
    pub packets: u64,
    /// their bytes
    pub bytes: u64,
    /// flows
    pub flows: u64,
    /// flows on which the box would have acted
    pub flows_acted_on: u64,
    /// packets that the box would have dropped
    pub dropped: u64,
    /// packets that the box would have forged
    pub forged: u64,
    /// flows that were ended early because too many were open
    pub crowded_out: u64,
    /// connections whose first bytes were let go unread, because those of others filled the room
    pub unread: u64,
    /// first and last packet
    pub span: Option<(Instant, Instant)>,
    /// records that held no IP packet, by reason
    pub set_aside: BTreeMap<String, u64>,
    /// malformed packets, by layer and rule broken, each with the first one's number
    pub malformed: BTreeMap<(&'static str, &'static str), (u64, u64)>,
    /// protocols; `""` stands for flows that were not recognised
    pub protocols: BTreeMap<&'static str, Tally>,
    /// rules that would have acted
    pub rules: BTreeMap<String, RuleTally>,
    /// captures that ended early, with the reason
    pub cut_short: Vec<(String, String)>,
}
