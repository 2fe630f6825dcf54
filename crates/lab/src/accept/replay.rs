//! A recorded or planned sequence of packets, taken by a modelled server.

use core::net::IpAddr;

use okno_wire::packet::{flag, number};
use okno_wire::{Instant, PacketView, Transport};

use super::{Fate, Fragments, Greeting, Stack, TcpReceiver, greeting};
use crate::evasion::Manner;

/// The way from where the packets were seen to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hops {
    /// routers that lower the TTL
    pub routers: u8,
    /// a router drops IPv6 packets with hop-by-hop options, as many do (RFC 7872 §3)
    pub filters_hop_by_hop: bool,
}

/// What a server took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// what became of each packet of the client, in the order sent; others are left out
    pub fates: Vec<Fate>,
    /// the TCP application's bytes
    pub stream: Vec<u8>,
    /// payloads of the datagrams that arrived
    pub datagrams: Vec<Vec<u8>>,
    /// port the server listened on
    pub port: u16,
    /// a RST was taken
    pub reset: bool,
}

impl Accepted {
    /// What the application read first, over TCP.
    pub fn greeting(&self) -> Greeting {
        greeting(&self.stream, self.port)
    }
}

/// One packet of a recorded or planned exchange: its time and its IP bytes.
pub type Flight<'a> = (Instant, &'a [u8]);

/// Replays one conversation, both directions of it or the client's alone, at the server's end. The client is
/// who sent the first packet. What the recorded server sent sets the numbers it acknowledges with: a SYN/ACK
/// that covers data in SYN shows that this server takes it.
pub fn replay(packets: &[Flight<'_>], stack: Stack, hops: Hops) -> Accepted {
    let views: Vec<PacketView<'_>> =
        packets.iter().filter_map(|(_, bytes)| PacketView::parse(bytes).ok()).collect();
    let mut out = Accepted {
        fates: Vec::new(),
        stream: Vec::new(),
        datagrams: Vec::new(),
        port: views.first().map_or(0, |view| view.ports().1),
        reset: false,
    };
    let Some(client) = views.first().map(|view| view.source) else { return out };
    let mut receiver = receiver_for(&views, client, stack);
    let mut fragments = Fragments::new(stack.fragment_overlap);
    for view in &views {
        if view.source != client {
            // The server's own data moves what the client may acknowledge.
            if let Some(tcp) = view.tcp() {
                let end = tcp.seq().wrapping_add(tcp.sequence_len());
                if (end.wrapping_sub(receiver.snd_nxt) as i32) > 0 {
                    receiver.snd_nxt = end;
                }
            }
            continue;
        }
        let fate = on_the_way(view, hops).unwrap_or_else(|| match fragments.add(view) {
            Ok(whole) => arrive(&whole, &mut receiver, &mut out.datagrams),
            Err(fate) => fate,
        });
        out.fates.push(fate);
    }
    out.stream = receiver.stream();
    out.reset = receiver.is_gone();
    out
}

fn receiver_for(views: &[PacketView<'_>], client: IpAddr, stack: Stack) -> TcpReceiver {
    let syn = |view: &&PacketView<'_>| view.tcp().is_some_and(|tcp| tcp.has(flag::SYN));
    let client_syn = views.iter().filter(|view| view.source == client).find(syn);
    let server_syn = views.iter().filter(|view| view.source != client).find(syn);
    let Some(client_syn) = client_syn else { return TcpReceiver::adopting(stack, 0) };
    let isn = match server_syn {
        Some(view) => view.tcp().map_or(0, |tcp| tcp.seq()),
        // Only one direction was recorded: the client's first acknowledgment tells.
        None => {
            let acked = views.iter().filter_map(PacketView::tcp).find(|tcp| tcp.has(flag::ACK));
            acked.map_or(0, |tcp| tcp.ack().wrapping_sub(1))
        }
    };
    let covers = match (server_syn.and_then(PacketView::tcp), client_syn.tcp()) {
        (Some(answer), Some(syn)) => answer.ack().wrapping_sub(syn.seq()) > 1,
        _ => false,
    };
    TcpReceiver::listen(stack, isn, if covers { Manner::DataInSyn } else { Manner::Plain })
}

/// Why a packet does not arrive, if it does not.
pub(crate) fn on_the_way(view: &PacketView<'_>, hops: Hops) -> Option<Fate> {
    if view.ttl <= hops.routers {
        return Some(Fate::TtlEnded);
    }
    if view.extensions.hop_by_hop && hops.filters_hop_by_hop {
        return Some(Fate::ExtensionFiltered);
    }
    None
}

/// The receiver's checks of the IP layer; `None` when the packet holds.
pub(crate) fn ip_fault(view: &PacketView<'_>) -> Option<Fate> {
    if !view.ip_checksum_holds() {
        return Some(Fate::IpChecksum);
    }
    hop_by_hop_misplaced(view).then_some(Fate::ExtensionOrder)
}

/// RFC 8200 §4.1: a hop-by-hop header stands only right after the IPv6 header, once.
fn hop_by_hop_misplaced(view: &PacketView<'_>) -> bool {
    if !view.extensions.hop_by_hop {
        return false;
    }
    let bytes = view.bytes();
    let mut next = bytes[6];
    let mut at = 40;
    let mut first = true;
    while at + 2 <= view.transport_at() {
        if next == number::HOP_BY_HOP && !first {
            return true;
        }
        first = false;
        next = bytes[at];
        at += (usize::from(bytes[at + 1]) + 1) * 8;
    }
    false
}

fn arrive(whole: &[u8], receiver: &mut TcpReceiver, datagrams: &mut Vec<Vec<u8>>) -> Fate {
    let Ok(view) = PacketView::parse(whole) else { return Fate::Malformed };
    if let Some(fault) = ip_fault(&view) {
        return fault;
    }
    match view.transport {
        Transport::Tcp(_) => receiver.on_packet(&view).0,
        Transport::Udp(udp) => {
            if !view.transport_checksum_holds() {
                return Fate::TransportChecksum;
            }
            datagrams.push(udp.payload().to_vec());
            Fate::Taken
        }
        _ => Fate::Malformed,
    }
}
