//! Making packets: forged ones, and rewritten ones.
//!
//! A forged packet pretends to come from the end opposite to its receiver. Its sequence number is the one
//! that the receiver expects next, its acknowledgment the one after the receiver's own last byte: the
//! common failing of emulators is a RST that the receiver's stack ignores (RFC 5961 §3).

use core::net::IpAddr;
use core::time::Duration;

use okno_wire::build::{self, IpRepr, TcpRepr};
use okno_wire::packet::flag;
use okno_wire::{Endpoint, PacketView};

use crate::action::{Forge, ForgedTtl};
use crate::middlebox::{Direction, Injection};
use crate::track::Flow;

/// The packet that `forge` asks for, in `flow` as it stands after the packet at hand. `sent` is the way of
/// that packet and the number after its last byte: whoever sent it takes an answer for one to it, even where
/// it was dropped and the other end never saw it.
pub(super) fn packet(flow: &Flow, forge: &Forge, sent: Option<(Direction, u32)>) -> Injection {
    match forge {
        Forge::Packet { to, bytes, delay } => {
            Injection { direction: *to, delay: *delay, packet: bytes.clone() }
        }
        Forge::Datagram { to, payload, ip_id, ttl, delay } => {
            let (from, receiver) = ends(flow, *to);
            let ip = header(flow, *to, *ip_id, *ttl);
            injection(*to, *delay, build::udp(&ip, from.port, receiver.port, payload))
        }
        Forge::Segment { to, flags, payload, seq_shift, ip_id, ttl, window, delay } => {
            let (from, receiver) = ends(flow, *to);
            let sender = flow.ways.of(*to);
            let other = flow.ways.of(to.flip());
            let seq = if sender.has_seq { sender.next_seq } else { other.acked };
            let ack = if other.has_seq { other.next_seq } else { sender.acked };
            let ack = match sent {
                Some((way, end)) if way == to.flip() && end.wrapping_sub(ack) < 1 << 20 => end,
                _ => ack,
            };
            let segment = TcpRepr {
                flags: *flags,
                window: *window,
                ..TcpRepr::data(
                    from.port,
                    receiver.port,
                    seq.wrapping_add(*seq_shift),
                    if flags & flag::ACK == 0 { 0 } else { ack },
                )
            };
            let ip = header(flow, *to, *ip_id, *ttl);
            injection(*to, *delay, segment.emit(&ip, payload))
        }
    }
}

const fn injection(direction: Direction, delay: Duration, packet: Vec<u8>) -> Injection {
    Injection { direction, delay, packet }
}

/// Pretended sender and receiver of a packet that goes `to`.
const fn ends(flow: &Flow, to: Direction) -> (Endpoint, Endpoint) {
    match to {
        Direction::Down => (flow.outside(), flow.inside()),
        Direction::Up => (flow.inside(), flow.outside()),
    }
}

fn header(flow: &Flow, to: Direction, ip_id: u16, ttl: ForgedTtl) -> IpRepr {
    let (from, receiver) = ends(flow, to);
    let mut ip = IpRepr::new(from.ip, receiver.ip);
    ip.id = ip_id;
    ip.ttl = match (ttl, flow.ways.of(to).ttl) {
        (ForgedTtl::Fixed(ttl), _) | (ForgedTtl::Peer, ttl @ 1..) => ttl,
        (ForgedTtl::Peer, 0) => 64,
    };
    ip
}

/// The packet without payload and with RST and ACK as its only flags; everything else stays. `None` when
/// it is no whole TCP segment that holds: of a fragment the rest would still follow.
pub(super) fn reset_of(packet: &PacketView<'_>) -> Option<Vec<u8>> {
    let tcp = packet.tcp().filter(|_| packet.fragment.is_none())?;
    let end = packet.transport_at() + tcp.header_len();
    let mut bytes = packet.bytes().get(..end)?.to_vec();
    bytes[packet.transport_at() + 13] = flag::RST | flag::ACK;
    set_length(&mut bytes, packet);
    build::mend_checksums(&mut bytes);
    Some(bytes)
}

/// The packet with another source or destination.
pub(super) fn readdressed(
    packet: &PacketView<'_>,
    source: Option<Endpoint>,
    destination: Option<Endpoint>,
) -> Vec<u8> {
    let mut bytes = packet.bytes().to_vec();
    let (source_at, destination_at) = match packet.source {
        IpAddr::V4(_) => (12, 16),
        IpAddr::V6(_) => (8, 24),
    };
    let has_ports = packet.tcp().is_some() || packet.udp().is_some();
    for (end, address_at, port_at) in
        [(source, source_at, packet.transport_at()), (destination, destination_at, packet.transport_at() + 2)]
    {
        let Some(end) = end else { continue };
        match (packet.source, end.ip) {
            (IpAddr::V4(_), IpAddr::V4(ip)) => {
                bytes[address_at..address_at + 4].copy_from_slice(&ip.octets())
            }
            (IpAddr::V6(_), IpAddr::V6(ip)) => {
                bytes[address_at..address_at + 16].copy_from_slice(&ip.octets())
            }
            _ => return packet.bytes().to_vec(),
        }
        if has_ports {
            bytes[port_at..port_at + 2].copy_from_slice(&end.port.to_be_bytes());
        }
    }
    build::mend_checksums(&mut bytes);
    bytes
}

fn set_length(bytes: &mut [u8], packet: &PacketView<'_>) {
    match packet.source {
        IpAddr::V4(_) => {
            let total = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
        }
        IpAddr::V6(_) => {
            let payload = u16::try_from(bytes.len() - 40).unwrap_or(u16::MAX);
            bytes[4..6].copy_from_slice(&payload.to_be_bytes());
        }
    }
}
