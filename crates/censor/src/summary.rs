//! What is told of a flow when it is over.

use okno_model::Mechanism;
use okno_wire::{Endpoint, FlowKey, Instant, Malformed, Protocol};

use crate::middlebox::{ActKind, Direction, Evidence};
use crate::technique::PerWay;

/// One deed in a flow, as remembered by it.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub rule: u16,
    pub kind: ActKind,
    pub packet: u32,
    pub at: Instant,
    pub evidence: Evidence,
}

/// A flow that is over, or was when the engine was drained.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSummary {
    /// both ends
    pub key: FlowKey,
    /// the subscriber's end
    pub inside: Endpoint,
    /// the far end
    pub outside: Endpoint,
    /// who sent the first packet
    pub opened_by: Direction,
    /// first packet
    pub opened: Instant,
    /// last packet
    pub last: Instant,
    /// packets
    pub packets: PerWay<u32>,
    /// payload bytes
    pub bytes: PerWay<u64>,
    /// what it was recognised as
    pub protocol: Option<Protocol>,
    /// version or flavour; empty when unknown
    pub version: String,
    /// server name; empty when none
    pub name: String,
    /// JA4 or empty
    pub fingerprint: String,
    /// how the first packet whose transport does not hold is broken
    pub malformed: Option<Malformed>,
    /// what was done, the first of each kind and rule, in order
    pub deeds: Vec<FlowDeed>,
}

/// One deed in a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowDeed {
    /// id of the profile's rule
    pub rule: String,
    /// node of the taxonomy
    pub mechanism: Mechanism,
    /// kind
    pub kind: ActKind,
    /// index of the packet in the flow, both ways counted, from 1
    pub packet: u32,
    /// packet time
    pub at: Instant,
    /// what it rests on
    pub evidence: Evidence,
}
