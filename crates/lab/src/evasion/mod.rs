//! Evasions as packet sequences of our own making.
//!
//! A [`Conversation`] says who speaks and what the client's first flight is; a [`Strategy`] is a pure
//! function from it to timed client packets. Strategies describe segments relative to the first data byte
//! ([`Segment`]), and one place turns them into packets, so a strategy is a few lines and two of them
//! differ only in their trick. The server's part is not simulated here: [`Manner`] says what it does
//! differently, and the path and the acceptance model answer.

mod catalogue;
mod quic;
mod segments;
#[cfg(test)]
mod tests;
mod tls;

use core::ops::Range;
use core::time::Duration;

use okno_wire::build::{IpRepr, TcpRepr};
use okno_wire::packet::{flag, number, tcp_option};
use okno_wire::{Endpoint, build};

pub use catalogue::{Carrier, Strategy, strategies, strategy};
pub use quic::{bait_datagram, initial, initial_for};
pub use segments::{Fragmenting, Segment};

/// Who speaks, and what the client says first.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// the client's end
    pub client: Endpoint,
    /// the server's end
    pub server: Endpoint,
    /// the client's initial sequence number
    pub client_isn: u32,
    /// the server's initial sequence number, which the path's server uses too
    pub server_isn: u32,
    /// the client's first flight: TLS records, an HTTP request, or the payload of a datagram
    pub first: Vec<u8>,
    /// where the name stands in `first`; empty when it holds none
    pub name: Range<usize>,
    /// the name that the client means
    pub host: String,
    /// round trip between client and server
    pub rtt: Duration,
    /// TTL of honest packets as the client sends them
    pub ttl: u8,
    /// TTL of packets that must die between the box and the server
    pub decoy_ttl: u8,
    /// first value of the client's TCP timestamps (RFC 7323); `None` leaves the option out
    pub timestamps: Option<u32>,
}

impl Conversation {
    /// A conversation over TCP or UDP, 40 ms apart, whose name is looked for in `first`.
    pub fn new(client: Endpoint, server: Endpoint, first: Vec<u8>, name: &str) -> Self {
        let at = find(&first, name.as_bytes()).unwrap_or(0);
        let len = if find(&first, name.as_bytes()).is_some() { name.len() } else { 0 };
        Self {
            client,
            server,
            client_isn: 1_000_000,
            server_isn: 5_000_000,
            name: at..at + len,
            host: name.to_owned(),
            first,
            rtt: Duration::from_millis(40),
            ttl: 64,
            decoy_ttl: 3,
            timestamps: None,
        }
    }

    /// Replaces the first flight; the name is looked for again.
    pub fn with_first(mut self, first: Vec<u8>, name: &str) -> Self {
        let at = find(&first, name.as_bytes());
        self.name = at.map_or(0..0, |at| at..at + name.len());
        name.clone_into(&mut self.host);
        self.first = first;
        self
    }

    /// The middle of the name, or of the first flight when there is none.
    pub fn middle(&self) -> usize {
        if self.name.is_empty() {
            self.first.len() / 2
        } else {
            usize::midpoint(self.name.start, self.name.end)
        }
    }

    /// The client's IP header.
    pub fn ip(&self, ttl: u8) -> IpRepr {
        let mut ip = IpRepr::new(self.client.ip, self.server.ip);
        ip.ttl = ttl;
        ip
    }

    /// A client segment at `offset` bytes from the first data byte.
    pub fn tcp(&self, offset: i64, flags: u8) -> TcpRepr {
        let seq = self.client_isn.wrapping_add(1).wrapping_add(offset as u32);
        let ack = if flags & flag::ACK == 0 { 0 } else { self.server_isn.wrapping_add(1) };
        let mut tcp = TcpRepr::data(self.client.port, self.server.port, seq, ack);
        tcp.flags = flags;
        tcp
    }

    /// The client's SYN, with the options of an ordinary system.
    pub fn syn(&self) -> TcpRepr {
        let mut tcp = self.tcp(-1, flag::SYN);
        tcp.options = vec![tcp_option::MSS, 4, 0x05, 0xb4, tcp_option::SACK_PERMITTED, 2];
        if let Some(value) = self.timestamps {
            tcp.options.extend(timestamp_option(value, 0));
        }
        tcp.options.extend([1, tcp_option::WINDOW_SCALE, 3, 7]);
        tcp
    }

    /// The handshake's packets of the client: SYN at zero, ACK one round trip later.
    pub fn handshake(&self) -> Vec<Step> {
        let mut ack = self.tcp(0, flag::ACK);
        if let Some(value) = self.timestamps {
            ack.options = timestamp_option(value.wrapping_add(40), SERVER_TIMESTAMP);
        }
        vec![
            Step { at: Duration::ZERO, packet: self.syn().emit(&self.ip(self.ttl), &[]) },
            Step { at: self.rtt, packet: ack.emit(&self.ip(self.ttl), &[]) },
        ]
    }

    /// The handshake, then `segments`, a millisecond apart or as each says.
    pub fn sequence(&self, segments: &[Segment]) -> Sequence {
        let mut steps = self.handshake();
        self.append(&mut steps, segments);
        self.planned(steps, Manner::Plain, sent(segments))
    }

    /// These steps, of a server that is to read the name the client means.
    pub fn planned(&self, steps: Vec<Step>, manner: Manner, sent: u32) -> Sequence {
        Sequence { steps, manner, sent, name: self.host.clone() }
    }

    /// Adds `segments` after the last step.
    pub fn append(&self, steps: &mut Vec<Step>, segments: &[Segment]) {
        let mut at = steps.last().map_or(Duration::ZERO, |step| step.at);
        for segment in segments.iter().flat_map(Segment::fitting) {
            at += segment.gap;
            steps.extend(self.emit(&segment).into_iter().map(|packet| Step { at, packet }));
        }
    }

    /// The IP packets of one segment: one, or its fragments.
    pub fn emit(&self, segment: &Segment) -> Vec<Vec<u8>> {
        let mut ip = self.ip(segment.ttl.unwrap_or(self.ttl));
        ip.id = segment.ip_id;
        ip.extensions.clone_from(&segment.extensions);
        let mut tcp = self.tcp(segment.offset, segment.flags);
        if segment.flags & flag::ACK != 0 {
            tcp.ack = tcp.ack.wrapping_add(segment.ack_shift as u32);
        }
        tcp.urgent = segment.urgent;
        tcp.break_checksum = segment.break_checksum;
        if let Some(value) = self.timestamps {
            let value = value.wrapping_add(41).wrapping_add(segment.timestamp_shift as u32);
            tcp.options = timestamp_option(value, SERVER_TIMESTAMP);
        }
        tcp.options.extend_from_slice(&segment.options);
        match &segment.fragmenting {
            None => vec![tcp.emit(&ip, &segment.payload)],
            Some(how) => how.cut(&ip, number::TCP, &tcp.emit_segment(&ip, &segment.payload)),
        }
    }

    /// A client datagram.
    pub fn datagram(&self, ttl: u8, payload: &[u8]) -> Vec<u8> {
        build::udp(&self.ip(ttl), self.client.port, self.server.port, payload)
    }

    /// Datagrams a millisecond apart, each with its TTL.
    pub fn datagrams(&self, payloads: &[(u8, Vec<u8>)]) -> Sequence {
        let step = |(index, (ttl, payload)): (usize, &(u8, Vec<u8>))| Step {
            at: Duration::from_millis(index as u64),
            packet: self.datagram(*ttl, payload),
        };
        self.planned(payloads.iter().enumerate().map(step).collect(), Manner::Plain, 0)
    }
}

/// TSval of the modelled server's SYN/ACK.
pub const SERVER_TIMESTAMP: u32 = 9_000;

/// RFC 7323 §3.2, after two bytes of padding as systems send it.
pub fn timestamp_option(value: u32, echo: u32) -> Vec<u8> {
    let mut option = vec![1, 1, tcp_option::TIMESTAMPS, 10];
    option.extend_from_slice(&value.to_be_bytes());
    option.extend_from_slice(&echo.to_be_bytes());
    option
}

/// One packet the client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// since the start of the conversation
    pub at: Duration,
    /// whole IP packet
    pub packet: Vec<u8>,
}

/// What the client sends, and how the server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// in order of time
    pub steps: Vec<Step>,
    /// the server's part in it
    pub manner: Manner,
    /// bytes of sequence space that the data takes, from the first data byte; 0 over UDP
    pub sent: u32,
    /// the name that the server has to read for the client to be content, in lower case
    pub name: String,
}

impl Sequence {
    /// Content with another name: a front, or none.
    #[must_use]
    pub fn content_with(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }
}

/// End of the data of `segments`, from the first data byte.
pub(crate) fn sent(segments: &[Segment]) -> u32 {
    let end = |segment: &Segment| segment.offset + segment.payload.len() as i64;
    let ends = segments.iter().filter(|segment| !segment.payload.is_empty()).map(end);
    u32::try_from(ends.max().unwrap_or(0)).unwrap_or(0)
}

/// What a server does differently on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// nothing
    Plain,
    /// it advertises this window in its SYN/ACK, so the client's system cuts the first flight
    SmallWindow(u16),
    /// it announces this MSS
    SmallMss(u16),
    /// it answers SYN with a bare SYN, and the client's SYN/ACK with ACK (split handshake)
    SplitHandshake,
    /// it takes data in SYN (Linux: `net.ipv4.tcp_fastopen` with 0x200)
    DataInSyn,
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}
