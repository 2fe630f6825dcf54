//! The smallest path on which an evasion can be tried: client packets, routers, boxes, routers, a server.
//!
//! The client plays a planned [`Sequence`] and acknowledges what it gets; the server is the acceptance model
//! with a service behind it. There is no retransmission and no congestion control, so what is lost here was
//! lost by a box, a TTL or a check, and the result can be read off. The lab's world with real stacks is
//! elsewhere; this one answers thousands of questions a second.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use okno_censor::{Act, ActKind, Context, Direction, Effects, Middlebox, Verdict};
use okno_wire::build::{IpRepr, TcpRepr, udp};
use okno_wire::packet::flag;
use okno_wire::{Instant, PacketView, Transport, tls};

use crate::accept::{Fate, Fragments, Greeting, Hops, Reply, Stack, TcpReceiver, greeting};
use crate::evasion::{Conversation, Sequence};

/// The way between client and server.
#[derive(Clone, Copy, Debug)]
pub struct Road {
    /// routers between client and server
    pub routers: u8,
    /// a router before the server drops packets with IPv6 hop-by-hop options
    pub filters_hop_by_hop: bool,
    /// the server
    pub stack: Stack,
    /// what it serves
    pub service: Service,
    /// when the conversation begins
    pub start: Instant,
    /// seed of the boxes' chance
    pub seed: u64,
}

impl Road {
    /// Ten routers to a Linux web server that answers with 4 kB.
    pub const fn new(start: Instant) -> Self {
        Self {
            routers: 10,
            filters_hop_by_hop: true,
            stack: Stack::linux(),
            service: Service::Web { answer: 4_000 },
            start,
            seed: 1,
        }
    }
}

/// What the server does with what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// answers a whole ClientHello or HTTP request with so many bytes
    Web {
        /// bytes of the answer
        answer: usize,
    },
    /// answers the first whole QUIC hello with so many datagrams of 1,200 bytes
    Quic {
        /// datagrams of the answer
        datagrams: u32,
    },
    /// answers each datagram with one of the same size
    Echo,
}

/// A box after so many routers, counted from the client.
pub struct Placed<'a> {
    /// routers between client and box
    pub hop: u8,
    /// the box
    pub middlebox: &'a mut dyn Middlebox,
}

/// How it ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// the server read the real name and the client got the whole answer
    Through,
    /// the client got a part of the answer and a box held down the rate
    Throttled,
    /// the client got bytes that the server did not send
    Forged,
    /// the client was reset
    Reset,
    /// the client got a part of the answer, then silence
    Frozen,
    /// the server read the real name; the client got nothing of the answer
    Unanswered,
    /// the server never read the real name
    NeverArrived,
}

/// What came of a conversation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// how it ended
    pub ending: Ending,
    /// what the server read
    pub read: String,
    /// bytes of the server's stream or datagrams at the client
    pub answered: usize,
    /// bytes the server sent
    pub answer: usize,
    /// when the client got the last of it
    pub last: Option<Instant>,
    /// TTL of the RST that ended it, as the client saw it
    pub reset_ttl: Option<u8>,
    /// packets that reached the server, each with what became of it
    pub at_server: Vec<(Instant, Fate)>,
    /// packets that reached the client
    pub at_client: Vec<(Instant, Vec<u8>)>,
    /// what boxes did
    pub acts: Vec<Act>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// the client sends
    Client(Vec<u8>),
    /// a packet reaches a box
    Box(usize, Direction, Vec<u8>),
    /// a packet reaches the server
    AtServer(Vec<u8>),
    /// a packet reaches the client
    AtClient(Vec<u8>),
    /// a box's timer
    Timer(usize),
}

/// Tries one conversation. Boxes stand in the order of their hops; what they remember stays with them, so
/// a second conversation can follow on the same boxes if it starts later.
pub fn walk(talk: &Conversation, sequence: &Sequence, boxes: &mut [Placed<'_>], road: &Road) -> Outcome {
    let mut walk = Walk::new(talk, sequence, road);
    for step in &sequence.steps {
        walk.push(road.start + step.at, Happening::Client(step.packet.clone()));
    }
    let mut budget = 200_000_u32;
    while let Some(Reverse((now, _, happening))) = walk.queue.pop() {
        budget = budget.saturating_sub(1);
        if budget == 0 {
            break;
        }
        match happening {
            Happening::Client(packet) => walk.enter(now, Direction::Up, packet, 0, boxes),
            Happening::Box(index, direction, packet) => walk.at_box(now, index, direction, packet, boxes),
            Happening::Timer(index) => walk.timer(now, index, boxes),
            Happening::AtServer(packet) => walk.at_server(now, &packet, boxes),
            Happening::AtClient(packet) => walk.at_client(now, packet, boxes),
        }
    }
    walk.outcome()
}

struct Walk<'a> {
    talk: &'a Conversation,
    /// the server's port as the sequence uses it, which may be another than the conversation's
    port: u16,
    sequence: &'a Sequence,
    road: &'a Road,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    counter: u64,
    effects: Effects,
    acts: Vec<Act>,
    fragments: Fragments,
    receiver: TcpReceiver,
    datagrams: Vec<Vec<u8>>,
    answered_hello: bool,
    answer: usize,
    at_server: Vec<(Instant, Fate)>,
    at_client: Vec<(Instant, Vec<u8>)>,
    client: Client,
}

/// The client's receiving half.
#[derive(Default)]
struct Client {
    expects: u32,
    got: usize,
    forged: bool,
    reset_ttl: Option<u8>,
    last: Option<Instant>,
    unacknowledged: u32,
}

impl<'a> Walk<'a> {
    fn new(talk: &'a Conversation, sequence: &'a Sequence, road: &'a Road) -> Self {
        Self {
            talk,
            port: port_of(talk, sequence),
            sequence,
            road,
            queue: BinaryHeap::new(),
            counter: 0,
            effects: Effects::default(),
            acts: Vec::new(),
            fragments: Fragments::new(road.stack.fragment_overlap),
            receiver: TcpReceiver::listen(road.stack, talk.server_isn, sequence.manner),
            datagrams: Vec::new(),
            answered_hello: false,
            answer: 0,
            at_server: Vec::new(),
            at_client: Vec::new(),
            client: Client { expects: talk.server_isn.wrapping_add(1), ..Client::default() },
        }
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.counter += 1;
        self.queue.push(Reverse((at, self.counter, happening)));
    }

    /// One-way time over so many routers.
    fn delay(&self, routers: u8) -> Duration {
        self.talk.rtt / 2 * u32::from(routers) / u32::from(self.road.routers.max(1))
    }

    /// Sends a packet on from router `hop` (counted from the client) its way, to the next box or end.
    fn enter(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, hop: u8, boxes: &[Placed<'_>]) {
        let next = match direction {
            Direction::Up => boxes.iter().position(|placed| placed.hop >= hop),
            Direction::Down => boxes.iter().rposition(|placed| placed.hop <= hop),
        };
        self.forward(now, direction, packet, hop, next, boxes);
    }

    /// Sends a packet on from a box.
    fn leave(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: Vec<u8>,
        index: usize,
        boxes: &[Placed<'_>],
    ) {
        let next = match direction {
            Direction::Up => (index + 1 < boxes.len()).then_some(index + 1),
            Direction::Down => index.checked_sub(1),
        };
        self.forward(now, direction, packet, boxes[index].hop, next, boxes);
    }

    fn forward(
        &mut self,
        now: Instant,
        direction: Direction,
        mut packet: Vec<u8>,
        from: u8,
        next: Option<usize>,
        boxes: &[Placed<'_>],
    ) {
        let to = match (next, direction) {
            (Some(index), _) => boxes[index].hop,
            (None, Direction::Up) => self.road.routers,
            (None, Direction::Down) => 0,
        };
        let routers = from.abs_diff(to);
        if !lower_ttl(&mut packet, routers) {
            return;
        }
        let at = now + self.delay(routers);
        match (next, direction) {
            (Some(index), _) => self.push(at, Happening::Box(index, direction, packet)),
            (None, Direction::Up) => self.push(at, Happening::AtServer(packet)),
            (None, Direction::Down) => self.push(at, Happening::AtClient(packet)),
        }
    }

    fn at_box(
        &mut self,
        now: Instant,
        index: usize,
        direction: Direction,
        packet: Vec<u8>,
        boxes: &mut [Placed<'_>],
    ) {
        let Ok(view) = PacketView::parse(&packet) else {
            return self.leave(now, direction, packet, index, boxes);
        };
        let mut context = Context { seed: self.road.seed, effects: &mut self.effects };
        let verdict = boxes[index].middlebox.on_packet(now, direction, &view, &mut context);
        match verdict {
            Verdict::Pass => self.leave(now, direction, packet, index, boxes),
            Verdict::Rewrite(changed) => self.leave(now, direction, changed, index, boxes),
            Verdict::Drop | Verdict::Hold => {}
        }
        self.drain(now, index, boxes);
    }

    fn timer(&mut self, now: Instant, index: usize, boxes: &mut [Placed<'_>]) {
        if boxes[index].middlebox.next_timer().is_some_and(|due| due <= now) {
            let mut context = Context { seed: self.road.seed, effects: &mut self.effects };
            boxes[index].middlebox.on_timer(now, &mut context);
            self.drain(now, index, boxes);
        }
    }

    /// Sends what a box added, keeps what it did, and waits for its next timer.
    fn drain(&mut self, now: Instant, index: usize, boxes: &mut [Placed<'_>]) {
        self.acts.append(&mut self.effects.acts);
        for injection in core::mem::take(&mut self.effects.injections) {
            self.leave(now + injection.delay, injection.direction, injection.packet, index, boxes);
        }
        if let Some(due) = boxes[index].middlebox.next_timer() {
            self.push(due.max(now), Happening::Timer(index));
        }
    }

    fn at_server(&mut self, now: Instant, packet: &[u8], boxes: &[Placed<'_>]) {
        let Ok(view) = PacketView::parse(packet) else { return };
        // The TTL was lowered on the way; what is left to ask is the filter.
        let hops = Hops { routers: 0, filters_hop_by_hop: self.road.filters_hop_by_hop };
        if let Some(fate) = crate::accept::on_the_way(&view, hops) {
            return self.at_server.push((now, fate));
        }
        let whole = match self.fragments.add(&view) {
            Ok(whole) => whole,
            Err(fate) => return self.at_server.push((now, fate)),
        };
        let Ok(view) = PacketView::parse(&whole) else { return };
        if let Some(fate) = crate::accept::ip_fault(&view) {
            return self.at_server.push((now, fate));
        }
        match view.transport {
            Transport::Tcp(_) => {
                let (fate, reply) = self.receiver.on_packet(&view);
                self.at_server.push((now, fate));
                if let Some(reply) = reply {
                    let packet = self.reply_packet(&reply);
                    self.enter(now, Direction::Down, packet, self.road.routers, boxes);
                }
                self.serve_stream(now, boxes);
            }
            Transport::Udp(udp) if view.transport_checksum_holds() => {
                self.at_server.push((now, Fate::Taken));
                self.datagrams.push(udp.payload().to_vec());
                self.serve_datagram(now, udp.payload().len(), boxes);
            }
            _ => self.at_server.push((now, Fate::TransportChecksum)),
        }
    }

    fn server_ip(&self) -> IpRepr {
        IpRepr::new(self.talk.server.ip, self.talk.client.ip)
    }

    fn reply_packet(&self, reply: &Reply) -> Vec<u8> {
        let mut tcp = TcpRepr::data(self.port, self.talk.client.port, reply.seq, reply.ack);
        tcp.flags = reply.flags;
        tcp.window = reply.window;
        tcp.options.clone_from(&reply.options);
        tcp.emit(&self.server_ip(), &[])
    }

    fn serve_stream(&mut self, now: Instant, boxes: &[Placed<'_>]) {
        let Service::Web { answer } = self.road.service else { return };
        if self.answered_hello || !self.receiver.is_established() {
            return;
        }
        let read = greeting(&self.receiver.stream(), self.port);
        if matches!(read, Greeting::Incomplete | Greeting::Other) || !self.wanted(&read.name()) {
            // A decoy that the server took is answered too; the real name never comes.
            return;
        }
        self.answered_hello = true;
        let bytes = answer_bytes(&read, answer);
        self.answer = bytes.len();
        let mut at = now;
        for piece in bytes.chunks(1_400) {
            let seq = self.receiver.snd_nxt;
            let mut tcp = TcpRepr::data(self.port, self.talk.client.port, seq, self.receiver.rcv_nxt);
            tcp.flags = flag::ACK | flag::PSH;
            self.receiver.snd_nxt = seq.wrapping_add(piece.len() as u32);
            at = at + Duration::from_micros(200);
            let packet = tcp.emit(&self.server_ip(), piece);
            self.enter(at, Direction::Down, packet, self.road.routers, boxes);
        }
    }

    /// Whether this is the name the client meant.
    fn wanted(&self, name: &str) -> bool {
        name == self.sequence.name
    }

    fn serve_datagram(&mut self, now: Instant, len: usize, boxes: &[Placed<'_>]) {
        let (count, size) = match self.road.service {
            Service::Echo => (1, len),
            Service::Quic { datagrams } if !self.answered_hello && self.quic_hello() => {
                self.answered_hello = true;
                (datagrams, 1_200)
            }
            _ => return,
        };
        for index in 0..count {
            let mut payload = vec![0x40; size];
            payload[..size.min(1)].fill(0xc0);
            self.answer += size;
            let packet = udp(&self.server_ip(), self.port, self.talk.client.port, &payload);
            let at = now + Duration::from_micros(200) * index;
            self.enter(at, Direction::Down, packet, self.road.routers, boxes);
        }
    }

    /// Whether the datagrams so far hold the flight the client meant.
    fn quic_hello(&self) -> bool {
        crate::accept::quic_name(&self.datagrams).is_some_and(|name| self.wanted(&name))
    }

    fn at_client(&mut self, now: Instant, packet: Vec<u8>, boxes: &[Placed<'_>]) {
        if let Ok(view) = PacketView::parse(&packet)
            && view.transport_checksum_holds()
        {
            match view.transport {
                Transport::Tcp(_) => self.client_tcp(now, &view, boxes),
                Transport::Udp(udp) => {
                    self.client.got += udp.payload().len();
                    self.client.last = Some(now);
                }
                _ => {}
            }
        }
        self.at_client.push((now, packet));
    }

    fn client_tcp(&mut self, now: Instant, view: &PacketView<'_>, boxes: &[Placed<'_>]) {
        let Transport::Tcp(tcp) = view.transport else { return };
        if self.client.reset_ttl.is_some() {
            return;
        }
        if tcp.has(flag::RST) {
            // RFC 5961 §3.2: exactly the next number; in SYN-SENT, an ACK of the SYN (RFC 9293 §3.10.7.3).
            let in_setup = tcp.has(flag::ACK) && tcp.ack() == self.talk.client_isn.wrapping_add(1);
            if tcp.seq() == self.client.expects || in_setup {
                self.client.reset_ttl = Some(view.ttl);
                self.client.last = Some(now);
            }
            return;
        }
        if tcp.payload().is_empty() || tcp.seq() != self.client.expects {
            return;
        }
        let sent = self.receiver.snd_nxt;
        let end = tcp.seq().wrapping_add(tcp.payload().len() as u32);
        if (end.wrapping_sub(sent) as i32) > 0 {
            self.client.forged = true;
        }
        self.client.expects = end;
        self.client.got += tcp.payload().len();
        self.client.last = Some(now);
        self.client.unacknowledged += 1;
        // RFC 9293 §3.8.6.3: at least every second full segment is acknowledged.
        if self.client.unacknowledged >= 2 || self.client.got >= self.answer {
            self.client.unacknowledged = 0;
            let mut ack = self.talk.tcp(i64::from(self.sequence.sent), flag::ACK);
            ack.ack = self.client.expects;
            let packet = ack.emit(&self.talk.ip(self.talk.ttl), &[]);
            self.enter(now, Direction::Up, packet, 0, boxes);
        }
    }

    fn outcome(self) -> Outcome {
        let stream = self.receiver.stream();
        let read = if stream.is_empty() {
            crate::accept::quic_name(&self.datagrams).unwrap_or_default()
        } else {
            greeting(&stream, self.port).name()
        };
        let limited = self.acts.iter().any(|act| matches!(act.kind, ActKind::Policed | ActKind::Delayed));
        let got = self.client.got;
        let arrived =
            self.answered_hello || (self.road.service == Service::Echo && !self.datagrams.is_empty());
        let ending = if self.client.forged {
            Ending::Forged
        } else if self.client.reset_ttl.is_some() {
            Ending::Reset
        } else if arrived && got >= self.answer && self.answer > 0 {
            Ending::Through
        } else if arrived && got > 0 && limited {
            Ending::Throttled
        } else if arrived && got > 0 {
            Ending::Frozen
        } else if arrived {
            Ending::Unanswered
        } else {
            Ending::NeverArrived
        };
        Outcome {
            ending,
            read,
            answered: got,
            answer: self.answer,
            last: self.client.last,
            reset_ttl: self.client.reset_ttl,
            at_server: self.at_server,
            at_client: self.at_client,
            acts: self.acts,
        }
    }
}

/// The port that the first packet goes to.
fn port_of(talk: &Conversation, sequence: &Sequence) -> u16 {
    let first = sequence.steps.first().and_then(|step| PacketView::parse(&step.packet).ok());
    first.map(|view| view.ports().1).filter(|port| *port != 0).unwrap_or(talk.server.port)
}

/// The service's answer: TLS records or an HTTP response.
fn answer_bytes(read: &Greeting, len: usize) -> Vec<u8> {
    match read {
        Greeting::Http { .. } => {
            let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").into_bytes();
            bytes.resize(bytes.len() + len, b'x');
            bytes
        }
        _ => {
            let mut bytes = tls::record(tls::code::content::HANDSHAKE, 0x0303, &[2, 0, 0, 2, 3, 3]);
            let body = vec![0x5a; 1_000];
            while bytes.len() < len {
                bytes.extend(tls::record(tls::code::content::APPLICATION_DATA, 0x0303, &body));
            }
            bytes
        }
    }
}

/// Lowers the TTL by so many routers; false when it ends there. The IPv4 checksum is updated, not computed
/// again, so that a wrong one stays wrong (RFC 1624 §3).
pub(crate) fn lower_ttl(packet: &mut [u8], routers: u8) -> bool {
    let v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let at = if v4 { 8 } else { 7 };
    let Some(ttl) = packet.get_mut(at) else { return false };
    if *ttl <= routers {
        return routers == 0;
    }
    *ttl -= routers;
    if v4 && packet.len() >= 20 {
        let sum = u32::from(u16::from_be_bytes([packet[10], packet[11]])) + (u32::from(routers) << 8);
        let folded = ((sum & 0xffff) + (sum >> 16)) as u16;
        packet[10..12].copy_from_slice(&folded.to_be_bytes());
    }
    true
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
