//! UDP ports: a queue each.

use core::task::Waker;
use std::collections::VecDeque;

use okno_probe::net::IcmpNotice;
use okno_wire::build::{self, IpRepr};
use okno_wire::packet::{PacketView, number};
use okno_wire::{Endpoint, Instant};

use super::Host;
use crate::net::{NetError, NetErrorKind};
use crate::world::ip::{self, Trouble};
use crate::world::{NodeId, Wires};

/// Datagrams that wait at a port before new ones are dropped.
const QUEUE: usize = 256;

/// A datagram that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// when
    pub at: Instant,
    /// sender
    pub from: Endpoint,
    /// the receiver's end: which of the host's addresses it was sent to
    pub to: Endpoint,
    /// TTL on arrival
    pub ttl: u8,
    /// payload
    pub bytes: Vec<u8>,
}

/// A bound port.
#[derive(Default)]
pub(crate) struct UdpPort {
    pub queue: VecDeque<Datagram>,
    pub reader: Option<Waker>,
    /// only datagrams and errors of this end count
    pub peer: Option<Endpoint>,
    pub failure: Option<NetError>,
    /// ICMP errors about what was sent from here, the oldest first
    pub notices: Vec<IcmpNotice>,
}

impl Host {
    pub(super) fn udp_in(&mut self, node: NodeId, wires: &mut Wires, view: &PacketView<'_>, payload: &[u8]) {
        let (from, to) = (view.source_end(), view.destination_end());
        match self.udp.get_mut(&to.port) {
            Some(port) if port.peer.is_none_or(|peer| peer == from) => {
                if port.queue.len() < QUEUE {
                    let bytes = payload.to_vec();
                    port.queue.push_back(Datagram { at: wires.now, from, to, ttl: view.ttl, bytes });
                }
                if let Some(waker) = port.reader.take() {
                    waker.wake();
                }
            }
            _ if self.setup.answers_closed => {
                if let Some(bytes) = ip::error(view.destination, view.bytes(), Trouble::NoPort) {
                    self.send(node, wires, bytes);
                }
            }
            _ => {}
        }
    }

    /// Sends a datagram; `None` when the host has no address of the receiver's family.
    pub fn udp_send(
        &mut self,
        node: NodeId,
        wires: &mut Wires,
        ends: (u16, Endpoint),
        ttl: Option<u8>,
        payload: &[u8],
    ) -> Option<()> {
        let (port, to) = ends;
        let mut ip = IpRepr::new(self.address_for(to.ip)?, to.ip);
        ip.ttl = ttl.unwrap_or(self.setup.ttl);
        let segment = build::udp_segment(&ip, port, to.port, payload);
        self.send_payload(node, wires, &ip, number::UDP, &segment);
        Some(())
    }

    /// Notes an ICMP error for those who ask (Linux's error queue, IP_RECVERR).
    pub(super) fn udp_notice(&mut self, own_port: u16, remote: Endpoint, notice: IcmpNotice) {
        if let Some(port) = self.udp.get_mut(&own_port)
            && port.peer.is_none_or(|peer| peer == remote)
            && port.notices.len() < QUEUE
        {
            port.notices.push(notice);
            if let Some(waker) = port.reader.take() {
                waker.wake();
            }
        }
    }

    /// An ICMP error about a datagram that this host sent: only a connected port learns of it, as in Linux.
    pub(super) fn udp_error(&mut self, now: Instant, own_port: u16, remote: Endpoint, kind: NetErrorKind) {
        if let Some(port) = self.udp.get_mut(&own_port)
            && port.peer == Some(remote)
        {
            port.failure = Some(NetError { kind, at: now });
            if let Some(waker) = port.reader.take() {
                waker.wake();
            }
        }
    }
}
