//! Network address and port translation, from the home router to the carrier's CGNAT.
//!
//! Mapping is independent of the destination, filtering depends on address and port where asked for
//! (RFC 4787 §4.1 and §5). IPv6 passes as it is. Port 0 is the inside, port 1 the outside.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use okno_wire::packet::{PacketView, Transport, flag, number};
use okno_wire::{Endpoint, Instant, build};

use super::hasher::FixedMap;
use super::ip::{self, Trouble};
use super::{NodeId, Packet, Wires};

/// What a NAT is like.
#[derive(Clone, Debug, PartialEq)]
pub struct NatSetup {
    /// addresses on the outside; a subscriber keeps one of them (RFC 4787 REQ-2: paired pooling)
    pub outside: Vec<Ipv4Addr>,
    /// ports that may be used on each, first and last
    pub ports: (u16, u16),
    /// mappings that one inside address may hold; 0 is no limit (RFC 6888 REQ-4)
    pub per_subscriber: u32,
    /// idle time after which a UDP mapping ends (RFC 4787 REQ-5 recommends 300 s)
    pub udp_timeout: Duration,
    /// idle time after which an established TCP mapping ends (RFC 5382 REQ-5: not below 2 h 4 min)
    pub tcp_timeout: Duration,
    /// the same for TCP that is half open or closing (RFC 5382 REQ-5: not below 4 min)
    pub tcp_transitory: Duration,
    /// the same for ICMP queries (RFC 5508 REQ-2: not below 60 s)
    pub icmp_timeout: Duration,
    /// takes packets from outside only from ends to which the inside has sent
    pub filters_by_end: bool,
}

impl NatSetup {
    /// A CGNAT with these outside addresses: 1,000 ports a subscriber, the RFCs' timeouts, filtering by end.
    pub const fn carrier(outside: Vec<Ipv4Addr>) -> Self {
        Self {
            outside,
            ports: (1024, 65_535),
            per_subscriber: 1_000,
            udp_timeout: Duration::from_secs(300),
            tcp_timeout: Duration::from_secs(7_440),
            tcp_transitory: Duration::from_secs(240),
            icmp_timeout: Duration::from_secs(60),
            filters_by_end: true,
        }
    }
}

/// What happened to packets here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatCount {
    /// mappings that live
    pub mappings: usize,
    /// packets from inside for which no port was left
    pub exhausted: u64,
    /// packets from outside that no mapping took
    pub refused: u64,
}

/// A mapping that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatBinding {
    /// when
    pub at: Instant,
    /// IANA protocol number
    pub protocol: u8,
    /// the subscriber's end
    pub inside: Endpoint,
    /// what it is outside
    pub outside: Endpoint,
}

type End = (Ipv4Addr, u16);

#[derive(Clone, Debug)]
struct Mapping {
    inside: End,
    outside: End,
    protocol: u8,
    expires: Instant,
    established: bool,
    closing: bool,
    /// ends to which the inside has sent
    peers: Vec<End>,
}

/// Ends that a mapping remembers; the oldest is forgotten.
const MAX_PEERS: usize = 256;

/// A NAT.
#[derive(Debug)]
pub(crate) struct Nat {
    pub setup: NatSetup,
    pub count: NatCount,
    by_inside: FixedMap<(u8, End), u32>,
    by_outside: FixedMap<(u8, End), u32>,
    mappings: Vec<Option<Mapping>>,
    free: Vec<u32>,
    held: FixedMap<Ipv4Addr, u32>,
    next_port: u16,
    /// later fragments follow the first: (source, destination, id, protocol)
    fragments: FixedMap<(IpAddr, IpAddr, u16, u8), (End, Instant)>,
    next_sweep: Instant,
    /// mappings made since the log was taken last; nothing when nobody asked for one
    pub log: Option<Vec<NatBinding>>,
}

/// How often expired mappings are looked for; a mapping that is found expired before ends at once.
const SWEEP: Duration = Duration::from_secs(10);

/// How long the first fragment's ports are remembered (RFC 1122 §3.3.2: between 60 and 120 s).
const FRAGMENT_LIFE: Duration = Duration::from_secs(60);

/// Fragmented packets whose ports are remembered at once.
const MAX_FRAGMENTED: usize = 4_096;

/// One packet's transport end and what it is.
struct Ends {
    protocol: u8,
    source: End,
    destination: End,
}

impl Nat {
    pub fn new(setup: NatSetup) -> Self {
        Self {
            next_port: setup.ports.0,
            setup,
            count: NatCount::default(),
            by_inside: FixedMap::default(),
            by_outside: FixedMap::default(),
            mappings: Vec::new(),
            free: Vec::new(),
            held: FixedMap::default(),
            fragments: FixedMap::default(),
            next_sweep: Instant::ZERO,
            log: None,
        }
    }

    pub fn arrive(&mut self, node: NodeId, wires: &mut Wires, port: u16, mut packet: Packet) {
        let now = wires.now;
        self.sweep(now);
        let Some((source, _)) = ip::addresses(&packet.bytes) else { return };
        if source.is_ipv6() {
            if ip::decrement_ttl(&mut packet.bytes) {
                wires.send(node, 1 - port, packet);
            }
            return;
        }
        if !ip::decrement_ttl(&mut packet.bytes) {
            let own = self.setup.outside.first().map(|ip| IpAddr::V4(*ip));
            let answer = own.and_then(|own| ip::error(own, &packet.bytes, Trouble::TimeExceeded));
            if let (Some(bytes), 0) = (answer, port) {
                wires.send(node, 0, Packet::new(bytes));
            }
            return;
        }
        let translated =
            if port == 0 { self.outwards(now, &packet.bytes) } else { self.inwards(now, &packet.bytes) };
        if let Some(bytes) = translated {
            wires.send(node, 1 - port, Packet { bytes, note: packet.note });
        }
    }

    fn outwards(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let view = PacketView::parse(bytes).ok()?;
        if let Some(inner) = quoted(&view) {
            // An error from inside about a packet that came in: its quoted receiver is an inside end.
            let index = *self.by_inside.get(&(inner.protocol, inner.destination))?;
            let outside = self.mappings[index as usize].as_ref()?.outside;
            return Some(rewrite_error(bytes, &view, (outside.0, false), outside));
        }
        let key = fragment_key(&view);
        let outside = match ends(&view) {
            Some(ends) => {
                let index = self.map(now, &ends)?;
                let mapping = self.mappings[index as usize].as_mut()?;
                if !mapping.peers.contains(&ends.destination) {
                    if mapping.peers.len() == MAX_PEERS {
                        mapping.peers.remove(0);
                    }
                    mapping.peers.push(ends.destination);
                }
                let outside = mapping.outside;
                self.touch(now, index, &view);
                outside
            }
            None => return self.later_fragment(now, bytes, &view, true),
        };
        self.remember_fragment(now, &view, key, outside);
        Some(rewrite(bytes, &view, outside, true))
    }

    fn inwards(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let view = PacketView::parse(bytes).ok()?;
        if let Some(inner) = quoted(&view) {
            let index = *self.by_outside.get(&(inner.protocol, inner.source))?;
            let inside = self.mappings[index as usize].as_ref()?.inside;
            return Some(rewrite_error(bytes, &view, (inside.0, true), inside));
        }
        let Some(ends) = ends(&view) else { return self.later_fragment(now, bytes, &view, false) };
        let found = self.by_outside.get(&(ends.protocol, ends.destination)).copied();
        let taken = found.filter(|index| {
            self.mappings[*index as usize].as_ref().is_some_and(|mapping| {
                let known = !self.setup.filters_by_end || mapping.peers.contains(&ends.source);
                mapping.expires > now && known
            })
        });
        let Some(index) = taken else {
            self.count.refused += 1;
            return None;
        };
        let inside = self.mappings[index as usize].as_ref()?.inside;
        self.touch(now, index, &view);
        self.remember_fragment(now, &view, fragment_key(&view), inside);
        Some(rewrite(bytes, &view, inside, false))
    }

    /// The mapping of an inside end, made when there is none.
    fn map(&mut self, now: Instant, ends: &Ends) -> Option<u32> {
        if let Some(index) = self.by_inside.get(&(ends.protocol, ends.source)).copied() {
            if self.mappings[index as usize].as_ref().is_some_and(|mapping| mapping.expires > now) {
                return Some(index);
            }
            self.end(index);
        }
        let held = self.held.get(&ends.source.0).copied().unwrap_or(0);
        let outside = if self.setup.per_subscriber != 0 && held >= self.setup.per_subscriber {
            None
        } else {
            self.free_end(ends)
        };
        let Some(outside) = outside else {
            self.count.exhausted += 1;
            return None;
        };
        if let Some(log) = &mut self.log {
            let end = |(ip, port): End| Endpoint { ip: IpAddr::V4(ip), port };
            let (inside, outside) = (end(ends.source), end(outside));
            log.push(NatBinding { at: now, protocol: ends.protocol, inside, outside });
        }
        let mapping = Mapping {
            inside: ends.source,
            outside,
            protocol: ends.protocol,
            expires: now,
            established: false,
            closing: false,
            peers: Vec::new(),
        };
        let index = if let Some(index) = self.free.pop() {
            self.mappings[index as usize] = Some(mapping);
            index
        } else {
            self.mappings.push(Some(mapping));
            self.mappings.len() as u32 - 1
        };
        self.by_inside.insert((ends.protocol, ends.source), index);
        self.by_outside.insert((ends.protocol, outside), index);
        *self.held.entry(ends.source.0).or_insert(0) += 1;
        self.count.mappings += 1;
        Some(index)
    }

    /// The inside port itself where it is free, else the next free one.
    fn free_end(&mut self, ends: &Ends) -> Option<End> {
        let addresses = &self.setup.outside;
        let ip = *addresses.get(u32::from(ends.source.0) as usize % addresses.len().max(1))?;
        let (first, last) = self.setup.ports;
        let free = |port: u16| !self.by_outside.contains_key(&(ends.protocol, (ip, port)));
        if (first..=last).contains(&ends.source.1) && free(ends.source.1) {
            return Some((ip, ends.source.1));
        }
        for _ in first..=last {
            let port = self.next_port;
            self.next_port = if port >= last { first } else { port + 1 };
            if free(port) {
                return Some((ip, port));
            }
        }
        None
    }

    /// Prolongs a mapping by what the packet says of its state.
    fn touch(&mut self, now: Instant, index: u32, view: &PacketView<'_>) {
        let Some(mapping) = self.mappings[index as usize].as_mut() else { return };
        let life = match view.transport {
            Transport::Tcp(tcp) => {
                if tcp.has(flag::RST) || tcp.has(flag::FIN) {
                    mapping.closing = true;
                } else if tcp.has(flag::SYN) && !tcp.has(flag::ACK) {
                    (mapping.established, mapping.closing) = (false, false);
                } else if !tcp.has(flag::SYN) {
                    mapping.established = true;
                }
                if mapping.established && !mapping.closing {
                    self.setup.tcp_timeout
                } else {
                    self.setup.tcp_transitory
                }
            }
            Transport::Icmp(_) => self.setup.icmp_timeout,
            _ => self.setup.udp_timeout,
        };
        mapping.expires = now + life;
    }

    fn end(&mut self, index: u32) {
        let Some(mapping) = self.mappings[index as usize].take() else { return };
        self.by_inside.remove(&(mapping.protocol, mapping.inside));
        self.by_outside.remove(&(mapping.protocol, mapping.outside));
        if let Some(held) = self.held.get_mut(&mapping.inside.0) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&mapping.inside.0);
            }
        }
        self.free.push(index);
        self.count.mappings -= 1;
    }

    fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        for index in 0..self.mappings.len() {
            if self.mappings[index].as_ref().is_some_and(|mapping| mapping.expires <= now) {
                self.end(index as u32);
            }
        }
        self.fragments.retain(|_, (_, expires)| *expires > now);
    }

    fn remember_fragment(&mut self, now: Instant, view: &PacketView<'_>, key: FragmentKey, end: End) {
        if view.fragment.is_some_and(|fragment| fragment.more) {
            if self.fragments.len() >= MAX_FRAGMENTED {
                self.fragments.clear();
            }
            self.fragments.insert(key, (end, now + FRAGMENT_LIFE));
        }
    }

    fn later_fragment(
        &self,
        now: Instant,
        bytes: &[u8],
        view: &PacketView<'_>,
        outwards: bool,
    ) -> Option<Vec<u8>> {
        view.fragment?;
        let (end, expires) = self.fragments.get(&fragment_key(view))?;
        (*expires > now).then(|| rewrite(bytes, view, *end, outwards))
    }
}

type FragmentKey = (IpAddr, IpAddr, u16, u8);

const fn fragment_key(view: &PacketView<'_>) -> FragmentKey {
    (view.source, view.destination, view.ip_id, view.protocol)
}

fn four(ip: IpAddr) -> Ipv4Addr {
    match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// The packet's ends: ports, or the query's identifier in ICMP; `None` for later fragments and protocols
/// that have neither, which a NAT drops.
fn ends(view: &PacketView<'_>) -> Option<Ends> {
    let (from, to) = match view.transport {
        Transport::Tcp(_) | Transport::Udp(_) => view.ports(),
        Transport::Icmp(icmp) if matches!(icmp.kind(), 0 | 8) => {
            let id = (icmp.rest() >> 16) as u16;
            (id, id)
        }
        _ => return None,
    };
    let [mut source, mut destination] = [(four(view.source), from), (four(view.destination), to)];
    if view.protocol == number::ICMP {
        // Only the querier's identifier is translated; the other side has none.
        match view.transport {
            Transport::Icmp(icmp) if icmp.kind() == 8 => destination.1 = 0,
            _ => source.1 = 0,
        }
    }
    Some(Ends { protocol: view.protocol, source, destination })
}

/// The ends of the packet that an ICMP error quotes; the header may be cut after its ports.
fn quoted(view: &PacketView<'_>) -> Option<Ends> {
    let Transport::Icmp(icmp) = view.transport else { return None };
    let inner = icmp.payload();
    if !matches!(icmp.kind(), 3 | 11 | 12) || inner.len() < 28 || inner[0] >> 4 != 4 {
        return None;
    }
    let header = usize::from(inner[0] & 15) * 4;
    let port = |at: usize| Some(u16::from_be_bytes([*inner.get(at)?, *inner.get(at + 1)?]));
    let (source, destination) = ip::addresses(inner)?;
    let protocol = inner[9];
    let (from, to) = match protocol {
        number::ICMP => (port(header + 4)?, 0),
        _ => (port(header)?, port(header + 2)?),
    };
    Some(Ends { protocol, source: (four(source), from), destination: (four(destination), to) })
}

/// Writes `end` over the packet's source (`outwards`) or destination and mends the checksums.
fn rewrite(bytes: &[u8], view: &PacketView<'_>, end: End, outwards: bool) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let at = if outwards { 12 } else { 16 };
    let first = view.fragment.is_none_or(|fragment| fragment.offset == 0);
    let transport = view.transport_at();
    let before = [&out[at..at + 4], &[0, 0]].concat();
    out[at..at + 4].copy_from_slice(&end.0.octets());
    let (port_at, sum_at) = match view.transport {
        Transport::Tcp(_) => (transport + if outwards { 0 } else { 2 }, Some(transport + 16)),
        Transport::Udp(udp) => {
            let sum = (udp.checksum() != 0).then_some(transport + 6);
            (transport + if outwards { 0 } else { 2 }, sum)
        }
        _ => (transport + 4, Some(transport + 2)),
    };
    if first && out.len() >= port_at + 2 {
        let mut old = before;
        old[4..6].copy_from_slice(&out[port_at..port_at + 2]);
        out[port_at..port_at + 2].copy_from_slice(&end.1.to_be_bytes());
        let mut new = [&end.0.octets()[..], &end.1.to_be_bytes()].concat();
        if view.protocol == number::ICMP {
            // ICMP's checksum covers no addresses (RFC 792).
            old = old[4..].to_vec();
            new = new[4..].to_vec();
        }
        if let Some(sum_at) = sum_at {
            adjust(&mut out, sum_at, &old, &new);
        }
    }
    mend_header(&mut out);
    out
}

/// Changes a checksum for bytes that changed (RFC 1624 §3), so that fragments and wrong sums stay what
/// they were.
fn adjust(out: &mut [u8], at: usize, old: &[u8], new: &[u8]) {
    if out.len() < at + 2 {
        return;
    }
    let mut sum = u32::from(!u16::from_be_bytes([out[at], out[at + 1]]));
    for (pair, invert) in old.chunks(2).map(|p| (p, true)).chain(new.chunks(2).map(|p| (p, false))) {
        let word = u16::from_be_bytes([pair[0], pair[1]]);
        sum += u32::from(if invert { !word } else { word });
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    out[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn mend_header(out: &mut [u8]) {
    let header = usize::from(out[0] & 15) * 4;
    out[10..12].fill(0);
    let sum = okno_wire::checksum::finish(okno_wire::checksum::sum(0, &out[..header]));
    out[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An ICMP error with its quoted packet put back into the other side's terms (RFC 5508 §4.2). `outer` is
/// the address for the error's own header and whether it is its destination.
fn rewrite_error(bytes: &[u8], view: &PacketView<'_>, outer: (Ipv4Addr, bool), end: End) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let (ip, inwards) = outer;
    let at = if inwards { 16 } else { 12 };
    out[at..at + 4].copy_from_slice(&ip.octets());
    let inner = view.transport_at() + 8;
    // The quoted packet ran the other way: its source is the translated end when the error comes in.
    let (inner_at, port_at) = if inwards { (inner + 12, 0) } else { (inner + 16, 2) };
    out[inner_at..inner_at + 4].copy_from_slice(&end.0.octets());
    let header = inner + usize::from(out[inner] & 15) * 4;
    let port_at = header + if out[inner + 9] == number::ICMP { 4 } else { port_at };
    if let Some(port) = out.get_mut(port_at..port_at + 2) {
        port.copy_from_slice(&end.1.to_be_bytes());
    }
    let transport = view.transport_at();
    out[transport + 2..transport + 4].fill(0);
    let sum = okno_wire::checksum::finish(okno_wire::checksum::sum(0, &out[transport..]));
    out[transport + 2..transport + 4].copy_from_slice(&sum.to_be_bytes());
    mend_header(&mut out);
    build::mend_checksums(&mut out);
    out
}
