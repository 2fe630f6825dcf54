//! Packets out: small reprs with checksums.
//!
//! A repr holds what a sender chooses; lengths and checksums are computed, unless a field asks for a wrong
//! one on purpose: evasions live on packets that one side takes and the other does not.

use core::net::IpAddr;

use crate::checksum;
use crate::packet::{Fragment, PacketView, Transport, flag, number};

/// The IP header a sender chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRepr {
    /// sender; must be of the same family as `destination`
    pub source: IpAddr,
    /// receiver
    pub destination: IpAddr,
    /// TTL or hop limit
    pub ttl: u8,
    /// IPv4 identification; ignored in IPv6
    pub id: u16,
    /// raw IPv6 extension headers, in order, each as (its number, its bytes, a multiple of 8, whose
    /// next-header and length bytes are filled in); ignored in IPv4
    pub extensions: Vec<(u8, Vec<u8>)>,
}

impl IpRepr {
    /// From `source` to `destination`, TTL 64.
    pub const fn new(source: IpAddr, destination: IpAddr) -> Self {
        Self { source, destination, ttl: 64, id: 0, extensions: Vec::new() }
    }

    /// The whole IP packet around `payload`, whose protocol is `protocol`. `fragment` makes it one piece of
    /// a greater packet; its offset is in bytes and a multiple of 8.
    pub fn emit(&self, protocol: u8, fragment: Option<Fragment>, payload: &[u8]) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut out = Vec::with_capacity(20 + payload.len());
                out.extend_from_slice(&[0x45, 0]);
                out.extend_from_slice(&len16(20 + payload.len()));
                let id = fragment.map_or(self.id, |fragment| fragment.id as u16);
                out.extend_from_slice(&id.to_be_bytes());
                let field = fragment.map_or(0x4000, |fragment| {
                    (fragment.offset / 8) as u16 & 0x1fff | if fragment.more { 0x2000 } else { 0 }
                });
                out.extend_from_slice(&field.to_be_bytes());
                out.extend_from_slice(&[self.ttl, protocol, 0, 0]);
                out.extend_from_slice(&source.octets());
                out.extend_from_slice(&destination.octets());
                let sum = checksum::finish(checksum::sum(0, &out));
                out[10..12].copy_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(payload);
                out
            }
            _ => self.emit_v6(protocol, fragment, payload),
        }
    }

    fn emit_v6(&self, protocol: u8, fragment: Option<Fragment>, payload: &[u8]) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some(fragment) = fragment {
            let field = fragment.offset as u16 & 0xfff8 | u16::from(fragment.more);
            let mut header = vec![0, 0];
            header.extend_from_slice(&field.to_be_bytes());
            header.extend_from_slice(&fragment.id.to_be_bytes());
            chain.push((number::FRAGMENT, header));
        }
        let mut next = protocol;
        for (kind, header) in chain.iter_mut().rev() {
            let units = (header.len() / 8).saturating_sub(1) as u8;
            if let [first, len, ..] = header.as_mut_slice() {
                *first = next;
                *len = if *kind == number::FRAGMENT { 0 } else { units };
            }
            next = *kind;
        }
        let extensions: usize = chain.iter().map(|(_, header)| header.len()).sum();
        let mut out = Vec::with_capacity(40 + extensions + payload.len());
        out.extend_from_slice(&[0x60, 0, 0, 0]);
        out.extend_from_slice(&len16(extensions + payload.len()));
        out.extend_from_slice(&[next, self.ttl]);
        for ip in [self.source, self.destination] {
            match ip {
                IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                IpAddr::V4(ip) => out.extend_from_slice(&ip.to_ipv6_mapped().octets()),
            }
        }
        for (_, header) in chain {
            out.extend_from_slice(&header);
        }
        out.extend_from_slice(payload);
        out
    }

    /// The packet cut into fragments whose payloads start at the byte offsets `cuts` (multiples of 8,
    /// rising, without 0). The pieces come in order.
    pub fn emit_fragments(&self, protocol: u8, id: u32, cuts: &[usize], payload: &[u8]) -> Vec<Vec<u8>> {
        let mut starts = vec![0];
        starts.extend(cuts.iter().copied().filter(|cut| *cut > 0 && *cut < payload.len()));
        let mut pieces = Vec::with_capacity(starts.len());
        for (index, start) in starts.iter().copied().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(payload.len());
            let fragment = Fragment { id, offset: start as u32, more: end < payload.len() };
            pieces.push(self.emit(protocol, Some(fragment), &payload[start..end]));
        }
        pieces
    }
}

/// The TCP header a sender chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRepr {
    /// sender's port
    pub source_port: u16,
    /// receiver's port
    pub destination_port: u16,
    /// sequence number
    pub seq: u32,
    /// acknowledgment number
    pub ack: u32,
    /// flags, low byte; see [`flag`]
    pub flags: u8,
    /// window
    pub window: u16,
    /// urgent pointer
    pub urgent: u16,
    /// raw options; padded to four bytes with end-of-options
    pub options: Vec<u8>,
    /// leave a wrong checksum
    pub break_checksum: bool,
}

impl TcpRepr {
    /// A data segment: PSH and ACK.
    pub const fn data(source_port: u16, destination_port: u16, seq: u32, ack: u32) -> Self {
        Self {
            source_port,
            destination_port,
            seq,
            ack,
            flags: flag::PSH | flag::ACK,
            window: 64_240,
            urgent: 0,
            options: Vec::new(),
            break_checksum: false,
        }
    }

    /// The segment, to be put into `ip`.
    pub fn emit_segment(&self, ip: &IpRepr, payload: &[u8]) -> Vec<u8> {
        let options = self.options.len().min(40).next_multiple_of(4);
        let mut out = Vec::with_capacity(20 + options + payload.len());
        out.extend_from_slice(&self.source_port.to_be_bytes());
        out.extend_from_slice(&self.destination_port.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ack.to_be_bytes());
        out.extend_from_slice(&[((5 + options / 4) << 4) as u8, self.flags]);
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.urgent.to_be_bytes());
        out.extend_from_slice(&self.options[..self.options.len().min(40)]);
        out.resize(20 + options, 0);
        out.extend_from_slice(payload);
        fill_checksum(ip, number::TCP, &mut out, 16, self.break_checksum);
        out
    }

    /// The whole IP packet.
    pub fn emit(&self, ip: &IpRepr, payload: &[u8]) -> Vec<u8> {
        ip.emit(number::TCP, None, &self.emit_segment(ip, payload))
    }
}

/// The UDP datagram's whole IP packet.
pub fn udp(ip: &IpRepr, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    ip.emit(number::UDP, None, &udp_segment(ip, source_port, destination_port, payload))
}

/// The UDP header and payload, to be put into `ip`.
pub fn udp_segment(ip: &IpRepr, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + payload.len());
    out.extend_from_slice(&source_port.to_be_bytes());
    out.extend_from_slice(&destination_port.to_be_bytes());
    out.extend_from_slice(&len16(8 + payload.len()));
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(payload);
    fill_checksum(ip, number::UDP, &mut out, 6, false);
    out
}

/// An ICMP (IPv4) or ICMPv6 message's whole IP packet: `rest` are the four bytes after the checksum.
pub fn icmp(ip: &IpRepr, kind: u8, code: u8, rest: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, code, 0, 0];
    out.extend_from_slice(&rest.to_be_bytes());
    out.extend_from_slice(payload);
    if ip.source.is_ipv4() {
        let sum = checksum::finish(checksum::sum(0, &out));
        out[2..4].copy_from_slice(&sum.to_be_bytes());
        ip.emit(number::ICMP, None, &out)
    } else {
        fill_checksum(ip, number::ICMPV6, &mut out, 2, false);
        ip.emit(number::ICMPV6, None, &out)
    }
}

/// Writes the IPv4 header checksum and the TCP or UDP checksum of a whole packet again, after a change.
/// Fragments and other transports keep what they carry.
pub fn mend_checksums(packet: &mut [u8]) {
    let Ok(view) = PacketView::parse(packet) else { return };
    let (at, protocol) = (view.transport_at(), view.protocol);
    let ip = IpRepr::new(view.source, view.destination);
    // A UDP header's own length counts, not the packet's: what lies behind it is not summed up.
    let field = match (view.transport, view.fragment) {
        (Transport::Tcp(_), None) => Some((16, view.bytes().len())),
        (Transport::Udp(udp), None) if udp.checksum() != 0 => Some((6, at + 8 + udp.payload().len())),
        _ => None,
    };
    if ip.source.is_ipv4() {
        packet[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(0, &packet[..at]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    if let Some((field, end)) = field {
        let segment = &mut packet[at..end];
        segment[field..field + 2].fill(0);
        fill_checksum(&ip, protocol, segment, field, false);
    }
}

fn fill_checksum(ip: &IpRepr, protocol: u8, segment: &mut [u8], field: usize, broken: bool) {
    let start = checksum::pseudo_header(ip.source, ip.destination, protocol, segment.len());
    let sum = checksum::finish(checksum::sum(start, segment));
    let sum = if broken { sum ^ 0x5a5a } else { sum };
    // RFC 768, RFC 8200 §8.1: a computed checksum of zero is sent as all ones; zero says that there is none.
    let sum = if protocol == number::UDP && sum == 0 { 0xffff } else { sum };
    segment[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

/// A length field; a packet beyond 65,535 bytes cannot be, so the field saturates.
fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> [IpRepr; 2] {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        [IpRepr::new(ip("192.0.2.1"), ip("198.51.100.2")), IpRepr::new(ip("2001:db8::1"), ip("2001:db8::2"))]
    }

    #[test]
    fn what_tcp_emits_parses_back_with_valid_checksums_in_both_families() {
        for ip in ends() {
            let mut tcp = TcpRepr::data(1000, 443, 7, 9);
            tcp.options = vec![2, 4, 5, 0xb4, 1];
            let packet = tcp.emit(&ip, b"hello");
            let view = PacketView::parse(&packet).expect("a packet");
            let read = view.tcp().expect("tcp");
            assert_eq!((read.seq(), read.ack(), read.flags()), (7, 9, flag::PSH | flag::ACK));
            assert_eq!(read.options().next(), Some((2, &[5, 0xb4][..])));
            assert_eq!(view.payload(), b"hello");
            assert!(view.ip_checksum_holds() && view.transport_checksum_holds());
            tcp.break_checksum = true;
            let packet = tcp.emit(&ip, b"hello");
            assert!(!PacketView::parse(&packet).expect("a packet").transport_checksum_holds());
        }
    }

    #[test]
    fn fragments_carry_the_whole_payload_and_only_the_first_has_ports() {
        for ip in ends() {
            let segment = udp_segment(&ip, 5000, 443, &[7; 100]);
            let pieces = ip.emit_fragments(number::UDP, 77, &[16, 48], &segment);
            assert_eq!(pieces.len(), 3);
            let views: Vec<_> =
                pieces.iter().map(|piece| PacketView::parse(piece).expect("a packet")).collect();
            let whole: Vec<u8> = views.iter().flat_map(|view| view.ip_payload().iter().copied()).collect();
            assert_eq!(whole, segment);
            assert_eq!(views[0].ports(), (5000, 443));
            assert_eq!(views[1].fragment, Some(Fragment { id: 77, offset: 16, more: true }));
            assert_eq!(views[2].fragment, Some(Fragment { id: 77, offset: 48, more: false }));
            assert!(matches!(views[2].transport, Transport::Opaque(_)));
        }
    }

    #[test]
    fn a_changed_packet_is_valid_again_after_mending() {
        for ip in ends() {
            let mut packet = TcpRepr::data(1000, 443, 7, 9).emit(&ip, b"hello");
            let last = packet.len() - 1;
            packet[last] = b'!';
            assert!(!PacketView::parse(&packet).expect("a packet").transport_checksum_holds());
            mend_checksums(&mut packet);
            assert!(PacketView::parse(&packet).expect("a packet").transport_checksum_holds());
        }
    }

    #[test]
    fn a_udp_checksum_that_comes_out_as_zero_is_mended_to_ones_and_bytes_behind_its_length_do_not_count() {
        for ip in ends() {
            let mut packet = udp(&ip, 1000, 53, &[0, 0, 7]);
            let at = PacketView::parse(&packet).expect("a packet").transport_at();
            // A payload word that equals the checksum brings the sum to zero.
            let sum = [packet[at + 6], packet[at + 7]];
            packet[at + 8..at + 10].copy_from_slice(&sum);
            mend_checksums(&mut packet);
            assert_eq!(packet[at + 6..at + 8], [0xff, 0xff]);
            assert!(PacketView::parse(&packet).expect("a packet").transport_checksum_holds());
            packet[at + 5] = 9;
            packet[at + 8] = 1;
            mend_checksums(&mut packet);
            let view = PacketView::parse(&packet).expect("a packet");
            assert_eq!(view.payload(), [1]);
            assert!(view.transport_checksum_holds());
        }
    }

    #[test]
    fn extension_headers_are_walked_to_the_transport() {
        let mut ip = ends()[1].clone();
        ip.extensions = vec![(number::HOP_BY_HOP, vec![0; 8]), (number::DESTINATION_OPTIONS, vec![0; 16])];
        let packet = udp(&ip, 1, 2, b"x");
        let view = PacketView::parse(&packet).expect("a packet");
        assert!(view.extensions.hop_by_hop && view.extensions.destination && !view.extensions.routing);
        assert_eq!((view.ports(), view.payload()), ((1, 2), &b"x"[..]));
    }

    #[test]
    fn every_prefix_of_a_packet_parses_or_says_where_it_breaks() {
        for ip in ends() {
            let packet = TcpRepr::data(1000, 443, 7, 9).emit(&ip, b"hello");
            for len in 0..packet.len() {
                match PacketView::parse(&packet[..len]) {
                    Ok(view) => assert!(view.truncated),
                    Err(malformed) => assert!(malformed.offset <= len),
                }
            }
        }
    }
}
