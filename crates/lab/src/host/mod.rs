//! A host: real TCP by smoltcp, UDP, ICMP, reassembly of fragments, and raw packets for those who make
//! their own.
//!
//! smoltcp looks through all sockets of an interface for each packet. Here each connection is an interface
//! with one socket, found by its four-tuple, so that a server with ten thousand connections costs no more a
//! packet than one with one, and a path MTU is a connection's own. UDP and ICMP need no such machine and are
//! done here.

mod congestion;
mod fragments;
mod icmp;
mod raw;
mod tcp;
mod udp;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use okno_wire::build::IpRepr;
use okno_wire::packet::{PacketView, Transport};

use crate::world::hasher::FixedMap;
use crate::world::{NodeId, Packet, Wires, chance};
use fragments::Fragments;
use icmp::PingTable;
use raw::RawTable;
use tcp::TcpTable;
pub(crate) use udp::UdpPort;

pub use icmp::{PingAnswer, PingReply};
pub use raw::RawClaim;
pub use udp::Datagram;

/// What a host is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSetup {
    /// its addresses, of either family
    pub addresses: Vec<IpAddr>,
    /// greatest packet it sends
    pub mtu: u16,
    /// receive and send buffer of a TCP connection, bytes
    pub tcp_buffers: (u32, u32),
    /// how long unanswered TCP segments are repeated (Linux gives up a connect after 127 s)
    pub tcp_timeout: Duration,
    /// answers a packet to a closed port (reset, ICMP); a host behind a filter is silent
    pub answers_closed: bool,
    /// answers echo requests
    pub answers_ping: bool,
    /// TTL of its packets
    pub ttl: u8,
}

impl HostSetup {
    /// As a Linux host with buffers of 64 kB.
    pub fn new(addresses: &[IpAddr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            mtu: 1500,
            tcp_buffers: (65_535, 65_535),
            tcp_timeout: Duration::from_secs(127),
            answers_closed: true,
            answers_ping: true,
            ttl: 64,
        }
    }

    /// With these TCP buffers.
    pub const fn with_buffers(mut self, receive: u32, send: u32) -> Self {
        self.tcp_buffers = (receive, send);
        self
    }

    /// Silent where nobody listens.
    pub const fn silent(mut self) -> Self {
        self.answers_closed = false;
        self.answers_ping = false;
        self
    }
}

/// A host's state.
pub(crate) struct Host {
    pub setup: HostSetup,
    pub up: bool,
    pub seed: u64,
    pub tcp: TcpTable,
    pub udp: FixedMap<u16, UdpPort>,
    pub pings: PingTable,
    pub raw: RawTable,
    pub programs: u64,
    /// path MTUs learnt by ICMP
    pub path_mtu: BTreeMap<IpAddr, u16>,
    fragments: Fragments,
    next_port: u16,
    next_id: u32,
}

impl Host {
    pub fn new(setup: HostSetup, seed: u64) -> Self {
        Self {
            setup,
            up: true,
            seed,
            tcp: TcpTable::default(),
            udp: FixedMap::default(),
            pings: PingTable::default(),
            raw: RawTable::default(),
            programs: 0,
            path_mtu: BTreeMap::new(),
            fragments: Fragments::default(),
            next_port: (chance::hash(seed, &[1]) % 28_000) as u16,
            next_id: chance::hash(seed, &[2]) as u32,
        }
    }

    /// Takes a packet from the wire.
    pub fn arrive(&mut self, node: NodeId, wires: &mut Wires, packet: Packet) {
        if !self.up {
            return;
        }
        let Ok(view) = PacketView::parse(&packet.bytes) else { return };
        if view.truncated || !view.ip_checksum_holds() || !self.setup.addresses.contains(&view.destination) {
            return;
        }
        if view.fragment.is_some() {
            if let Some(bytes) = self.fragments.add(wires.now, &view) {
                self.arrive(node, wires, Packet { bytes, note: packet.note });
            }
            return;
        }
        if self.raw.takes(wires.now, &view) {
            return;
        }
        if view.source.is_ipv6() && view.transport_at() != 40 {
            // Extension headers have said what they had to: the stack below knows few of them.
            let mut ip = IpRepr::new(view.source, view.destination);
            ip.ttl = view.ttl;
            let bytes = ip.emit(view.protocol, None, view.ip_payload());
            return self.arrive(node, wires, Packet { bytes, note: packet.note });
        }
        match view.transport {
            Transport::Tcp(_) => self.tcp_in(node, wires, &view),
            Transport::Udp(udp) if view.transport_checksum_holds() => {
                self.udp_in(node, wires, &view, udp.payload());
            }
            Transport::Icmp(icmp) => self.icmp_in(node, wires, &view, icmp),
            _ => {}
        }
    }

    /// Sends a whole IP packet.
    pub fn send(&mut self, node: NodeId, wires: &mut Wires, bytes: Vec<u8>) {
        if self.up {
            wires.send(node, 0, Packet::new(bytes));
        }
    }

    /// Sends a transport's bytes, in fragments where the path's MTU asks for them.
    pub fn send_payload(&mut self, node: NodeId, wires: &mut Wires, ip: &IpRepr, protocol: u8, bytes: &[u8]) {
        let header = if ip.source.is_ipv4() { 20 } else { 40 };
        let mtu = usize::from(self.mtu_to(ip.destination));
        if header + bytes.len() <= mtu {
            return self.send(node, wires, ip.emit(protocol, None, bytes));
        }
        self.next_id = self.next_id.wrapping_add(1);
        // A fragment's payload is a multiple of 8 (RFC 791 §3.2); IPv6 adds a header of 8.
        let step = (mtu - header - if header == 40 { 8 } else { 0 }) / 8 * 8;
        let cuts: Vec<usize> = (1..=bytes.len() / step).map(|n| n * step).collect();
        for piece in ip.emit_fragments(protocol, self.next_id, &cuts, bytes) {
            self.send(node, wires, piece);
        }
    }

    /// The greatest packet for this destination.
    pub fn mtu_to(&self, destination: IpAddr) -> u16 {
        self.path_mtu.get(&destination).copied().unwrap_or(self.setup.mtu).min(self.setup.mtu)
    }

    /// The host's address for talking to `remote`.
    pub fn address_for(&self, remote: IpAddr) -> Option<IpAddr> {
        self.setup.addresses.iter().copied().find(|own| own.is_ipv4() == remote.is_ipv4())
    }

    /// A port of Linux's ephemeral range (32768–60999) that `taken` does not refuse.
    pub fn ephemeral(&mut self, taken: impl Fn(&Self, u16) -> bool) -> Option<u16> {
        for _ in 0..28_000u32 {
            self.next_port = (self.next_port + 1) % 28_000;
            let port = 32_768 + self.next_port;
            if !taken(self, port) {
                return Some(port);
            }
        }
        None
    }

    /// The seed of the host's next program.
    pub fn program_seed(&mut self) -> u64 {
        self.programs += 1;
        chance::hash(self.seed, &[3, self.programs])
    }
}
