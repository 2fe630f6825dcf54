//! Raw packets: for probes that make their own segments, fragments and TTLs.
//!
//! A claim takes what it names out of the host's own stack, so that no kernel-like reset answers for it.

use core::net::IpAddr;
use core::task::Waker;
use std::collections::{BTreeMap, VecDeque};

use okno_wire::Instant;
use okno_wire::packet::{PacketView, Transport, number};

use crate::world::ip;

/// Packets that wait at a claim before new ones are dropped.
const QUEUE: usize = 4_096;

/// What a raw socket takes out of the host's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawClaim {
    /// IANA protocol number
    pub protocol: u8,
    /// the host's port; 0 is all, and the only sense where the protocol has no ports
    pub port: u16,
    /// packets from this address alone, and errors about packets to it; from anybody when `None`
    pub remote: Option<IpAddr>,
    /// whether the host's own stack does not see them
    pub takes: bool,
}

impl RawClaim {
    /// All packets of a protocol to a port (0: to any), which the host's stack does not see.
    pub const fn of(protocol: u8, port: u16) -> Self {
        Self { protocol, port, remote: None, takes: true }
    }
}

#[derive(Default)]
pub(crate) struct RawQueue {
    pub queue: VecDeque<(Instant, Vec<u8>)>,
    pub reader: Option<Waker>,
}

/// A host's raw sockets.
#[derive(Default)]
pub(crate) struct RawTable {
    pub sockets: BTreeMap<u32, (RawClaim, RawQueue)>,
    pub next: u32,
}

impl RawTable {
    /// Gives the packet, or the ICMP error about a claimed one, to the first socket that takes it and to all
    /// before it that only watch. True when one took it.
    pub fn takes(&mut self, now: Instant, view: &PacketView<'_>) -> bool {
        if self.sockets.is_empty() {
            return false;
        }
        let own_port = view.ports().1;
        let quoted = quoted(view);
        for (claim, socket) in self.sockets.values_mut() {
            let claims = |(protocol, port, remote): (u8, u16, IpAddr)| {
                protocol == claim.protocol
                    && (claim.port == 0 || claim.port == port)
                    && claim.remote.is_none_or(|wanted| wanted == remote)
            };
            if claims((view.protocol, own_port, view.source)) || quoted.is_some_and(claims) {
                if socket.queue.len() < QUEUE {
                    socket.queue.push_back((now, view.bytes().to_vec()));
                }
                if let Some(waker) = socket.reader.take() {
                    waker.wake();
                }
                if claim.takes {
                    return true;
                }
            }
        }
        false
    }
}

/// Protocol, own port and receiver of the packet that an ICMP error quotes.
fn quoted(view: &PacketView<'_>) -> Option<(u8, u16, IpAddr)> {
    let Transport::Icmp(icmp) = view.transport else { return None };
    let is_error = match view.protocol {
        number::ICMP => matches!(icmp.kind(), 3 | 11 | 12),
        _ => icmp.kind() < 128,
    };
    let quote = icmp.payload();
    let (own, remote) = ip::addresses(quote).filter(|_| is_error)?;
    let (protocol, at) =
        if own.is_ipv4() { (quote[9], usize::from(quote[0] & 15) * 4) } else { (quote[6], 40) };
    let port = quote.get(at..at + 2)?;
    Some((protocol, u16::from_be_bytes([port[0], port[1]]), remote))
}
