//! ICMP at a host: echo either way, and errors brought to whom they concern.

use core::net::IpAddr;
use core::task::Waker;
use core::time::Duration;
use std::collections::BTreeMap;

use okno_probe::net::IcmpNotice;
use okno_wire::build::{self, IpRepr};
use okno_wire::packet::{IcmpView, PacketView, number};
use okno_wire::{Endpoint, Instant};

use super::Host;
use crate::net::NetErrorKind;
use crate::world::{NodeId, Wires, ip};

/// What came back for an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingAnswer {
    /// the echo reply
    Reply,
    /// a router says that the TTL ran out
    TimeExceeded,
    /// a router or host says that there is no way: ICMP type and code
    Unreachable(u8, u8),
}

/// An answer to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReply {
    /// who answered
    pub from: IpAddr,
    /// what it said
    pub answer: PingAnswer,
    /// after how long
    pub after: Duration,
    /// TTL that the answer came with
    pub ttl: u8,
}

pub(crate) struct PendingPing {
    pub sent: Instant,
    pub answer: Option<PingReply>,
    pub waker: Option<Waker>,
}

/// Path MTUs that a host remembers; when they are more, it learns them anew.
const MAX_PATHS: usize = 1_024;

/// Echo requests without an answer, by identifier and sequence number.
#[derive(Default)]
pub(crate) struct PingTable {
    pub pending: BTreeMap<u32, PendingPing>,
    next: u32,
}

impl PingTable {
    fn answer(&mut self, now: Instant, key: u32, (from, ttl): (IpAddr, u8), answer: PingAnswer) {
        if let Some(pending) = self.pending.get_mut(&key)
            && pending.answer.is_none()
        {
            pending.answer = Some(PingReply { from, answer, after: now.since(pending.sent), ttl });
            if let Some(waker) = pending.waker.take() {
                waker.wake();
            }
        }
    }
}

/// What an ICMP error says to a sender, and the packet it is about.
struct Complaint {
    protocol: u8,
    own: Endpoint,
    remote: Endpoint,
    sequence: u32,
    echo: Option<u32>,
}

impl Host {
    /// Sends an echo request; the key finds the answer.
    pub fn ping(
        &mut self,
        node: NodeId,
        wires: &mut Wires,
        to: IpAddr,
        ttl: Option<u8>,
        len: usize,
    ) -> Option<u32> {
        let mut ip = IpRepr::new(self.address_for(to)?, to);
        ip.ttl = ttl.unwrap_or(self.setup.ttl);
        self.pings.next += 1;
        let id = (self.seed as u32 & 0xffff) << 16;
        let key = id | (self.pings.next & 0xffff);
        let pending = PendingPing { sent: wires.now, answer: None, waker: None };
        self.pings.pending.insert(key, pending);
        let kind = if to.is_ipv4() { 8 } else { 128 };
        let packet = build::icmp(&ip, kind, 0, key, &vec![0x2a; len]);
        self.send(node, wires, packet);
        Some(key)
    }

    pub(super) fn icmp_in(
        &mut self,
        node: NodeId,
        wires: &mut Wires,
        view: &PacketView<'_>,
        icmp: IcmpView<'_>,
    ) {
        let is_v4 = view.protocol == number::ICMP;
        match (is_v4, icmp.kind()) {
            (true, 8) | (false, 128) => {
                if self.setup.answers_ping
                    && let Some(bytes) = ip::echo_reply(view.destination, view)
                {
                    self.send(node, wires, bytes);
                }
            }
            // The identifier that comes back through a NAT is the one that was sent.
            (true, 0) | (false, 129) => {
                self.pings.answer(wires.now, icmp.rest(), (view.source, view.ttl), PingAnswer::Reply);
            }
            (true, 3 | 11) | (false, 1..=3) => self.icmp_error(node, wires, view, icmp),
            _ => {}
        }
    }

    fn icmp_error(&mut self, node: NodeId, wires: &mut Wires, view: &PacketView<'_>, icmp: IcmpView<'_>) {
        let Some(complaint) = complaint(icmp.payload()) else { return };
        let (kind, code) = (icmp.kind(), icmp.code());
        let is_v4 = view.protocol == number::ICMP;
        let expired = kind == if is_v4 { 11 } else { 3 };
        if let Some(key) = complaint.echo {
            let answer = if expired { PingAnswer::TimeExceeded } else { PingAnswer::Unreachable(kind, code) };
            return self.pings.answer(wires.now, key, (view.source, view.ttl), answer);
        }
        let notice = IcmpNotice { at: wires.now, from: view.source, kind, code };
        match complaint.protocol {
            number::TCP => self.tcp_notice((complaint.own, complaint.remote), notice),
            number::UDP => self.udp_notice(complaint.own.port, complaint.remote, notice),
            _ => {}
        }
        let too_big = if is_v4 { (kind, code) == (3, 4) } else { kind == 2 };
        if too_big {
            return self.too_big(node, wires, &complaint, icmp.rest(), is_v4);
        }
        let port_closed = if is_v4 { (kind, code) == (3, 3) } else { (kind, code) == (1, 4) };
        let no_route = if is_v4 { matches!((kind, code), (3, 0 | 6 | 9)) } else { (kind, code) == (1, 0) };
        // What Linux makes of them: icmp_err_convert in net/ipv4/icmp.c, icmpv6_err_convert in
        // net/ipv6/icmp.c.
        let kind = match () {
            () if port_closed => NetErrorKind::Refused,
            () if no_route => NetErrorKind::NetworkUnreachable,
            () => NetErrorKind::Unreachable,
        };
        match complaint.protocol {
            number::TCP => {
                self.tcp_error(node, wires, (complaint.own, complaint.remote), complaint.sequence, kind);
            }
            // To UDP a TTL that ran out is a soft error, which is not told (__udp4_lib_err).
            number::UDP if !expired => {
                self.udp_error(wires.now, complaint.own.port, complaint.remote, kind);
            }
            _ => {}
        }
    }

    /// Path MTU discovery (RFC 1191, RFC 8201).
    fn too_big(&mut self, node: NodeId, wires: &mut Wires, complaint: &Complaint, rest: u32, is_v4: bool) {
        let floor = if is_v4 { 576 } else { 1280 };
        let mtu = u16::try_from(rest & if is_v4 { 0xffff } else { u32::MAX }).unwrap_or(u16::MAX).max(floor);
        if mtu < self.mtu_to(complaint.remote.ip) {
            if self.path_mtu.len() >= MAX_PATHS {
                self.path_mtu.clear();
            }
            self.path_mtu.insert(complaint.remote.ip, mtu);
            if complaint.protocol == number::TCP {
                self.tcp_shrink(node, wires, (complaint.own, complaint.remote), mtu);
            }
        }
    }
}

/// Reads the packet that an error quotes. It is cut, so only what the first eight bytes of the transport say
/// counts (RFC 792).
fn complaint(quote: &[u8]) -> Option<Complaint> {
    let (own, remote) = ip::addresses(quote)?;
    let (protocol, at) = match own {
        IpAddr::V4(_) => (quote[9], usize::from(quote[0] & 15) * 4),
        IpAddr::V6(_) => (quote[6], 40),
    };
    let head = quote.get(at..at + 8)?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let is_echo = matches!((protocol, head[0]), (number::ICMP, 8) | (number::ICMPV6, 128));
    let [from, to] = [(word(0) >> 16) as u16, word(0) as u16];
    Some(Complaint {
        protocol,
        own: Endpoint { ip: own, port: from },
        remote: Endpoint { ip: remote, port: to },
        sequence: word(4),
        echo: is_echo.then(|| word(4)),
    })
}
