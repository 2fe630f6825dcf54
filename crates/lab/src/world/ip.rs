//! The few IP fields that a forwarder reads and writes, straight from the bytes.
//!
//! Routers see every packet several times; they need the destination, the TTL and the length, not a whole
//! view of the transport.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use okno_wire::build::{self, IpRepr};
use okno_wire::packet::{Fragment, PacketView, number};

fn v6(bytes: &[u8], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    IpAddr::V6(Ipv6Addr::from(octets))
}

fn v4(bytes: &[u8], at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]))
}

/// Sender and receiver; `None` when the header is too short or of no known version.
pub(crate) fn addresses(bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match bytes.first()? >> 4 {
        4 if bytes.len() >= 20 => Some((v4(bytes, 12), v4(bytes, 16))),
        6 if bytes.len() >= 40 => Some((v6(bytes, 8), v6(bytes, 24))),
        _ => None,
    }
}

/// Takes one from the TTL; false when the packet must not go on. The IPv4 checksum is mended in place
/// (RFC 1624 §3).
pub(crate) fn decrement_ttl(bytes: &mut [u8]) -> bool {
    let at = if bytes[0] >> 4 == 4 { 8 } else { 7 };
    if bytes[at] <= 1 {
        return false;
    }
    bytes[at] -= 1;
    if at == 8 {
        let sum = u32::from(u16::from_be_bytes([bytes[10], bytes[11]])) + 0x0100;
        let sum = (sum + (sum >> 16)) as u16;
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    true
}

/// The kinds of trouble a forwarder or host reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// TTL ran out
    TimeExceeded,
    /// no route
    NoRoute,
    /// no such port
    NoPort,
    /// forbidden by a filter
    Prohibited,
    /// larger than this MTU
    TooBig(u16),
}

/// An ICMP error about `packet` from `from`, or `None` where none must be sent: about ICMP errors, later
/// fragments, broken packets (RFC 1122 §3.2.2, RFC 4443 §2.4).
pub(crate) fn error(from: IpAddr, packet: &[u8], trouble: Trouble) -> Option<Vec<u8>> {
    let view = PacketView::parse(packet).ok()?;
    if view.fragment.is_some_and(|fragment| fragment.offset != 0) || view.source.is_unspecified() {
        return None;
    }
    let kind = view.ip_payload().first().copied().unwrap_or(0);
    let about_error = match view.protocol {
        // Echo, echo reply, timestamp may be answered with an error; all else of ICMP is an error itself.
        number::ICMP => !matches!(kind, 0 | 8 | 13 | 14),
        number::ICMPV6 => kind < 128,
        _ => false,
    };
    if about_error || from.is_ipv4() != view.source.is_ipv4() {
        return None;
    }
    // RFC 1812 §4.3.2.3 (at most 576 bytes), RFC 4443 §2.4 (at most 1280).
    let room = if from.is_ipv4() { 576 - 28 } else { 1280 - 48 };
    let quote = &packet[..packet.len().min(room)];
    let (kind, code, rest) = match (trouble, from.is_ipv4()) {
        (Trouble::TimeExceeded, true) => (11, 0, 0),
        (Trouble::NoRoute, true) => (3, 0, 0),
        (Trouble::NoPort, true) => (3, 3, 0),
        (Trouble::Prohibited, true) => (3, 13, 0),
        (Trouble::TooBig(mtu), true) => (3, 4, u32::from(mtu)),
        (Trouble::TimeExceeded, false) => (3, 0, 0),
        (Trouble::NoRoute, false) => (1, 0, 0),
        (Trouble::NoPort, false) => (1, 4, 0),
        (Trouble::Prohibited, false) => (1, 1, 0),
        (Trouble::TooBig(mtu), false) => (2, 0, u32::from(mtu)),
    };
    Some(build::icmp(&IpRepr::new(from, view.source), kind, code, rest, quote))
}

/// An echo reply to `packet`, when it is an echo request to `own`.
pub(crate) fn echo_reply(own: IpAddr, packet: &PacketView<'_>) -> Option<Vec<u8>> {
    let okno_wire::Transport::Icmp(icmp) = packet.transport else { return None };
    let kind = match (packet.protocol, icmp.kind()) {
        (number::ICMP, 8) => 0,
        (number::ICMPV6, 128) => 129,
        _ => return None,
    };
    Some(build::icmp(&IpRepr::new(own, packet.source), kind, 0, icmp.rest(), icmp.payload()))
}

/// What to do with a packet that is larger than the next link takes.
pub(crate) enum Oversize {
    /// send these instead
    Pieces(Vec<Vec<u8>>),
    /// tell the sender
    TooBig,
}

/// Cuts an IPv4 packet without DF to `mtu`; anything else is too big (RFC 791 §3.2, RFC 8200 §5).
pub(crate) fn cut(packet: &[u8], mtu: u16) -> Oversize {
    let Ok(view) = PacketView::parse(packet) else { return Oversize::TooBig };
    let dont_fragment = packet[6] & 0x40 != 0;
    if view.source.is_ipv6() || dont_fragment || view.ip_options {
        return Oversize::TooBig;
    }
    let mut ip = IpRepr::new(view.source, view.destination);
    ip.ttl = view.ttl;
    let step = (usize::from(mtu).max(68) - 20) / 8 * 8;
    let (start, last_more) = view.fragment.map_or((0, false), |f| (f.offset, f.more));
    let payload = view.ip_payload();
    let count = payload.len().div_ceil(step);
    let pieces = payload.chunks(step).enumerate().map(|(index, piece)| {
        let more = index + 1 < count || last_more;
        let offset = start + (index * step) as u32;
        let fragment = Fragment { id: u32::from(view.ip_id), offset, more };
        ip.emit(view.protocol, Some(fragment), piece)
    });
    Oversize::Pieces(pieces.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decremented_ttl_leaves_a_valid_checksum() {
        let ip = IpRepr::new(IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 2]));
        let mut packet = build::udp(&ip, 1, 2, b"x");
        for _ in 0..63 {
            assert!(decrement_ttl(&mut packet));
            assert!(PacketView::parse(&packet).expect("a packet").ip_checksum_holds());
        }
        assert!(!decrement_ttl(&mut packet));
    }

    #[test]
    fn no_error_answers_an_error_or_a_later_fragment() {
        let [a, b] = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 2])];
        let ip = IpRepr::new(a, b);
        let packet = build::udp(&ip, 1, 2, &[7; 64]);
        let answer = error(b, &packet, Trouble::TimeExceeded).expect("an error");
        assert!(error(a, &answer, Trouble::NoRoute).is_none());
        let pieces = ip.emit_fragments(number::UDP, 9, &[32], &[7; 64]);
        assert!(error(b, &pieces[0], Trouble::TimeExceeded).is_some());
        assert!(error(b, &pieces[1], Trouble::TimeExceeded).is_none());
    }
}
