//! All links of a world with the queue of events: what a node needs to send a packet.
//!
//! Kept apart from the nodes so that a node can be borrowed while it sends. A trace hash over everything that
//! arrives anywhere is kept here too: it is how two runs are compared.

use std::collections::BTreeMap;

use okno_censor::Direction;
use okno_wire::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::inspection::Deed;
use super::link::{LinkCount, LinkSetup, Passage, Side, Way};
use super::queue::{Event, Queue};
use super::{LinkId, MOST_AT_ONCE, NodeId, chance};
use crate::tap::{Sink, TapRecord};

/// An IP packet on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// from the first byte of the IP header
    pub bytes: Vec<u8>,
    /// what a trace shall say about it: who forged or changed it
    pub note: Option<Box<str>>,
}

impl Packet {
    /// A packet that nobody remarks on.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, note: None }
    }
}

/// Two ways and where they lead.
pub(crate) struct Link {
    /// nodes and their ports, by side
    pub ends: [(NodeId, u16); 2],
    pub ways: [Way; 2],
    seed: u64,
    tap: Option<(Side, Box<dyn Sink>)>,
}

/// What happened in a world, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorldCount {
    /// events that happened
    pub events: u64,
    /// packets that arrived at a node
    pub packets: u64,
    /// times a program was polled
    pub polls: u64,
}

/// Links, queue, time.
pub(crate) struct Wires {
    pub now: Instant,
    pub seed: u64,
    pub queue: Queue,
    pub links: Vec<Link>,
    /// by node: the links at its ports
    pub ports: Vec<Vec<(LinkId, Side)>>,
    pub names: Vec<String>,
    pub deeds: Vec<Deed>,
    pub trace: u64,
    pub traced: bool,
    pub count: WorldCount,
    /// events and polls since time went on
    pub busy: u64,
    /// why the world stands still for good
    pub stalled: Option<String>,
    box_taps: BTreeMap<NodeId, Box<dyn Sink>>,
}

impl Wires {
    pub fn new(seed: u64, start: Instant) -> Self {
        Self {
            now: start,
            seed,
            queue: Queue::default(),
            links: Vec::new(),
            ports: Vec::new(),
            names: Vec::new(),
            deeds: Vec::new(),
            trace: seed,
            traced: true,
            count: WorldCount::default(),
            busy: 0,
            stalled: None,
            box_taps: BTreeMap::new(),
        }
    }

    pub fn name(&self, node: NodeId) -> &str {
        &self.names[node.0 as usize]
    }

    /// Counts one more event or poll of this moment, at `node`; true when there were too many.
    pub fn is_stalled(&mut self, node: Option<NodeId>) -> bool {
        self.busy += 1;
        if self.busy > MOST_AT_ONCE && self.stalled.is_none() {
            let place = node.map_or("the timeline", |node| self.name(node));
            let now = self.now.nanos();
            self.stalled =
                Some(format!("{place} goes in circles at {now} ns: more than {MOST_AT_ONCE} events"));
        }
        self.stalled.is_some()
    }

    /// The node at the end of a link that something from `from` reaches.
    pub fn other_end(&self, id: LinkId, from: Side) -> NodeId {
        self.links[id.0 as usize].ends[from.other().index()].0
    }

    /// Joins the next free ports of two nodes.
    pub fn join(&mut self, a: NodeId, b: NodeId, setups: [LinkSetup; 2]) -> LinkId {
        let id = LinkId(u32::try_from(self.links.len()).expect("fewer than 2^32 links"));
        let mut ends = [(a, 0), (b, 0)];
        for (side, end) in [Side::A, Side::B].into_iter().zip(&mut ends) {
            let ports = &mut self.ports[end.0.0 as usize];
            end.1 = u16::try_from(ports.len()).expect("a node has fewer than 65,536 links");
            ports.push((id, side));
        }
        let seed = chance::hash(self.seed, &[0x4c, u64::from(id.0)]);
        self.links.push(Link { ends, ways: setups.map(Way::new), seed, tap: None });
        id
    }

    /// The greatest packet that the link at this port takes.
    pub fn mtu(&self, node: NodeId, port: u16) -> u16 {
        let found = self.ports[node.0 as usize].get(usize::from(port));
        found.map_or(u16::MAX, |(link, side)| self.links[link.0 as usize].ways[side.index()].setup.mtu)
    }

    /// Sends a packet out of a node's port; a port without a link swallows it.
    pub fn send(&mut self, node: NodeId, port: u16, packet: Packet) {
        let Some((id, side)) = self.ports[node.0 as usize].get(usize::from(port)).copied() else { return };
        let link = &mut self.links[id.0 as usize];
        let seed = link.seed ^ side.index() as u64;
        let passage = link.ways[side.index()].pass(self.now, packet.bytes.len(), seed);
        if let (Some((end, sink)), Passage::Arrives { leaves, .. } | Passage::Lost { leaves }) =
            (&mut link.tap, &passage)
            && *end == side
        {
            sink.record(TapRecord {
                at: *leaves,
                out: true,
                packet: &packet.bytes,
                comment: packet.note.as_deref(),
            });
        }
        if let Passage::Arrives { at, .. } = passage {
            self.queue.push(at, Event::Arrive { link: id, from: side, packet });
        }
    }

    /// Notes an arrival for the trace and the tap at this end; says where the packet is.
    pub fn arrived(&mut self, id: LinkId, from: Side, packet: &Packet) -> (NodeId, u16) {
        self.count.packets += 1;
        if self.traced {
            let place = u64::from(id.0) << 1 | from.index() as u64;
            let seed = self.trace ^ self.now.nanos().rotate_left(20) ^ place;
            self.trace = xxh3_64_with_seed(&packet.bytes, seed);
        }
        let link = &mut self.links[id.0 as usize];
        if let Some((end, sink)) = &mut link.tap
            && *end != from
        {
            let comment = packet.note.as_deref();
            sink.record(TapRecord { at: self.now, out: false, packet: &packet.bytes, comment });
        }
        link.ends[from.other().index()]
    }

    pub fn set_tap(&mut self, link: LinkId, end: Side, sink: Box<dyn Sink>) {
        self.links[link.0 as usize].tap = Some((end, sink));
    }

    pub fn set_box_tap(&mut self, node: NodeId, sink: Box<dyn Sink>) {
        self.box_taps.insert(node, sink);
    }

    pub fn watches_box(&self, node: NodeId) -> bool {
        !self.box_taps.is_empty() && self.box_taps.contains_key(&node)
    }

    pub fn record_box(&mut self, node: NodeId, direction: Direction, packet: &[u8], comment: Option<String>) {
        let at = self.now;
        if let Some(sink) = self.box_taps.get_mut(&node) {
            let out = direction == Direction::Up;
            sink.record(TapRecord { at, out, packet, comment: comment.as_deref() });
        }
    }

    pub fn link_count(&self, link: LinkId, from: Side) -> LinkCount {
        self.links[link.0 as usize].ways[from.index()].count
    }
}
