//! One box on a stage: packets in, what became of them out.
//!
//! A fidelity row wants to know what a box does to one packet at one moment. So there are no ends here that
//! react; a row plays both of them, and the clock moves only as the row says (and a millisecond a packet).

use core::time::Duration;

use okno_censor::{Act, ActKind, Context, Direction, Effects, Middlebox, Verdict};
use okno_wire::build::{IpRepr, TcpRepr, icmp, udp};
use okno_wire::packet::flag;
use okno_wire::tls::preset;
use okno_wire::{Endpoint, Instant, PacketView, Transport};

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// it went on as it came
    Passed,
    /// another packet went on in its place
    Changed(Vec<u8>),
    /// it ended at the box
    Dropped,
    /// the box kept it
    Held,
}

impl Seen {
    /// It went on as it came.
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// It ended at the box.
    pub const fn dropped(&self) -> bool {
        matches!(self, Self::Dropped)
    }

    /// It was turned into RST/ACK without payload.
    pub fn is_reset(&self) -> bool {
        let Self::Changed(packet) = self else { return false };
        PacketView::parse(packet).is_ok_and(|view| {
            view.tcp().is_some_and(|tcp| tcp.flags() == flag::RST | flag::ACK && tcp.payload().is_empty())
        })
    }
}

/// A packet that the box sent by itself.
#[derive(Clone, Debug)]
pub struct Sent {
    /// when it left
    pub at: Instant,
    /// its way
    pub direction: Direction,
    /// whole IP packet
    pub packet: Vec<u8>,
}

/// A box, a clock, and what the box did.
pub struct Stage {
    middlebox: Box<dyn Middlebox>,
    /// now
    pub now: Instant,
    /// seed of the box's chance
    pub seed: u64,
    effects: Effects,
    /// what the box did so far
    pub acts: Vec<Act>,
    /// what the box sent so far
    pub sent: Vec<Sent>,
}

impl core::fmt::Debug for Stage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stage").field("now", &self.now).finish_non_exhaustive()
    }
}

/// When a stage's clock starts: a moment without meaning.
const START: Instant = Instant::from_secs(1_700_000_000);

impl Stage {
    /// A box at the start of time.
    pub fn new(middlebox: Box<dyn Middlebox>, seed: u64) -> Self {
        Self { middlebox, now: START, seed, effects: Effects::default(), acts: Vec::new(), sent: Vec::new() }
    }

    /// Lets time pass, and timers fire when they are due.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100_000 {
            let Some(due) = self.middlebox.next_timer().filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            let mut context = Context { seed: self.seed, effects: &mut self.effects };
            self.middlebox.on_timer(self.now, &mut context);
            self.drain();
        }
        self.now = until;
    }

    /// Lets seconds pass.
    pub fn wait_s(&mut self, seconds: f64) {
        self.wait(Duration::from_secs_f64(seconds));
    }

    /// Sends a packet across the box, a millisecond after what was before.
    pub fn send(&mut self, direction: Direction, packet: &[u8]) -> Seen {
        self.wait(Duration::from_millis(1));
        let Ok(view) = PacketView::parse(packet) else { return Seen::Passed };
        let mut context = Context { seed: self.seed, effects: &mut self.effects };
        let verdict = self.middlebox.on_packet(self.now, direction, &view, &mut context);
        self.drain();
        match verdict {
            Verdict::Pass => Seen::Passed,
            Verdict::Drop => Seen::Dropped,
            Verdict::Rewrite(packet) => Seen::Changed(packet),
            Verdict::Hold => Seen::Held,
        }
    }

    fn drain(&mut self) {
        self.acts.append(&mut self.effects.acts);
        for injection in self.effects.injections.drain(..) {
            let at = self.now + injection.delay;
            self.sent.push(Sent { at, direction: injection.direction, packet: injection.packet });
        }
    }

    /// Whether a rule triggered so far.
    pub fn triggered(&self) -> bool {
        self.acts.iter().any(|act| act.kind == ActKind::Triggered)
    }

    /// Forged RST segments so far, one way.
    pub fn resets(&self, direction: Direction) -> Vec<&Sent> {
        let is_reset = |packet: &[u8]| {
            PacketView::parse(packet).is_ok_and(|view| view.tcp().is_some_and(|tcp| tcp.has(flag::RST)))
        };
        self.sent.iter().filter(|sent| sent.direction == direction && is_reset(&sent.packet)).collect()
    }
}

/// An address of the stage's inside.
pub const INSIDE: &str = "10.0.0.2";
/// An address in the lists of networks that a trial sets.
pub const OUTSIDE: &str = "198.51.100.7";
/// An address in no list.
pub const ELSEWHERE: &str = "192.0.2.80";
/// An address in the lists of exempt networks that a trial sets.
pub const EXEMPT: &str = "203.0.113.9";
/// A name in the lists of names that a trial sets.
pub const BLOCKED: &str = "www.blocked.example";
/// A name in no list.
pub const HARMLESS: &str = "www.harmless.example";
/// A name in the lists of exempt names that a trial sets.
pub const FREE: &str = "www.exempt.example";

/// An end from text.
pub fn end(ip: &str, port: u16) -> Endpoint {
    Endpoint { ip: ip.parse().expect("an address in this file is one"), port }
}

/// A TLS hello for `name`, of curl's shape: one record, one segment.
pub fn hello(name: &str) -> Vec<u8> {
    preset::curl(3, Some(name)).emit_record()
}

/// A TCP connection whose both ends the row plays.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// subscriber's end
    pub inside: Endpoint,
    /// remote end
    pub outside: Endpoint,
    /// next sequence number from inside
    pub up: u32,
    /// next sequence number from outside
    pub down: u32,
    /// TTL from inside
    pub ttl_up: u8,
    /// TTL from outside
    pub ttl_down: u8,
}

impl Tcp {
    /// From a local port to port 443 of `OUTSIDE`.
    pub fn new(port: u16) -> Self {
        Self::between(end(INSIDE, port), end(OUTSIDE, 443))
    }

    /// Between two ends.
    pub const fn between(inside: Endpoint, outside: Endpoint) -> Self {
        Self { inside, outside, up: 1_000, down: 9_000, ttl_up: 64, ttl_down: 55 }
    }

    /// To another remote port.
    pub fn port(mut self, port: u16) -> Self {
        self.outside.port = port;
        self
    }

    /// To another remote address.
    pub fn to(mut self, ip: &str) -> Self {
        self.outside = end(ip, self.outside.port);
        self
    }

    /// One packet with these flags.
    pub fn packet(&self, direction: Direction, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (from, to, seq, ack, ttl) = match direction {
            Direction::Up => (self.inside, self.outside, self.up, self.down, self.ttl_up),
            Direction::Down => (self.outside, self.inside, self.down, self.up, self.ttl_down),
        };
        let mut tcp = TcpRepr::data(from.port, to.port, seq, if flags & flag::ACK == 0 { 0 } else { ack });
        tcp.flags = flags;
        let mut ip = IpRepr::new(from.ip, to.ip);
        ip.ttl = ttl;
        tcp.emit(&ip, payload)
    }

    /// Sends one packet and counts its sequence space, whatever becomes of it.
    pub fn send(&mut self, stage: &mut Stage, direction: Direction, flags: u8, payload: &[u8]) -> Seen {
        let packet = self.packet(direction, flags, payload);
        let count = payload.len() as u32 + u32::from(flags & (flag::SYN | flag::FIN) != 0);
        match direction {
            Direction::Up => self.up = self.up.wrapping_add(count),
            Direction::Down => self.down = self.down.wrapping_add(count),
        }
        stage.send(direction, &packet)
    }

    /// The handshake, begun inside; whether all of it passed.
    pub fn open(&mut self, stage: &mut Stage) -> bool {
        let syn = self.send(stage, Direction::Up, flag::SYN, &[]);
        if !syn.passed() {
            return false;
        }
        let answer = self.send(stage, Direction::Down, flag::SYN | flag::ACK, &[]);
        answer.passed() && self.send(stage, Direction::Up, flag::ACK, &[]).passed()
    }

    /// The handshake, begun outside.
    pub fn open_from_outside(&mut self, stage: &mut Stage) -> bool {
        let syn = self.send(stage, Direction::Down, flag::SYN, &[]);
        let answer = self.send(stage, Direction::Up, flag::SYN | flag::ACK, &[]);
        syn.passed() && answer.passed() && self.send(stage, Direction::Down, flag::ACK, &[]).passed()
    }

    /// Data from inside.
    pub fn up(&mut self, stage: &mut Stage, payload: &[u8]) -> Seen {
        self.send(stage, Direction::Up, flag::PSH | flag::ACK, payload)
    }

    /// Data from outside.
    pub fn down(&mut self, stage: &mut Stage, payload: &[u8]) -> Seen {
        self.send(stage, Direction::Down, flag::PSH | flag::ACK, payload)
    }

    /// A bare acknowledgment from inside.
    pub fn ack_up(&mut self, stage: &mut Stage) -> Seen {
        self.send(stage, Direction::Up, flag::ACK, &[])
    }

    /// A bare acknowledgment from outside.
    pub fn ack_down(&mut self, stage: &mut Stage) -> Seen {
        self.send(stage, Direction::Down, flag::ACK, &[])
    }
}

/// A UDP conversation whose both ends the row plays.
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// subscriber's end
    pub inside: Endpoint,
    /// remote end
    pub outside: Endpoint,
}

impl Udp {
    /// From a local port to port 443 of `OUTSIDE`.
    pub fn new(port: u16) -> Self {
        Self { inside: end(INSIDE, port), outside: end(OUTSIDE, 443) }
    }

    /// To another remote port.
    pub const fn port(mut self, port: u16) -> Self {
        self.outside.port = port;
        self
    }

    /// To another remote address.
    pub fn to(mut self, ip: &str) -> Self {
        self.outside = end(ip, self.outside.port);
        self
    }

    /// A datagram from inside.
    pub fn up(&self, stage: &mut Stage, payload: &[u8]) -> Seen {
        let ip = IpRepr::new(self.inside.ip, self.outside.ip);
        stage.send(Direction::Up, &udp(&ip, self.inside.port, self.outside.port, payload))
    }

    /// A datagram from outside.
    pub fn down(&self, stage: &mut Stage, payload: &[u8]) -> Seen {
        let ip = IpRepr::new(self.outside.ip, self.inside.ip);
        stage.send(Direction::Down, &udp(&ip, self.outside.port, self.inside.port, payload))
    }
}

/// An ICMP echo request from inside.
pub fn ping(stage: &mut Stage, to: &str) -> Seen {
    let ip = IpRepr::new(end(INSIDE, 0).ip, end(to, 0).ip);
    stage.send(Direction::Up, &icmp(&ip, 8, 0, 1, b"abcdefgh"))
}

/// The payload of a packet, for looking at forged ones.
pub fn payload_of(packet: &[u8]) -> Vec<u8> {
    PacketView::parse(packet).map(|view| view.payload().to_vec()).unwrap_or_default()
}

/// What a TLS client saw of a conversation with an honest server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// hello and answer passed
    Through,
    /// the handshake's packets did not pass
    NoConnection,
    /// the hello did not pass
    HelloDropped,
    /// the answer became RST/ACK
    Reset,
    /// the answer did not pass
    Silent,
}

/// Opens a connection, sends `flight` and lets the server answer.
pub fn exchange(stage: &mut Stage, tcp: &mut Tcp, flight: &[u8]) -> Tried {
    if !tcp.open(stage) {
        return Tried::NoConnection;
    }
    say(stage, tcp, flight)
}

/// Sends `flight` on an open connection and lets the server answer.
pub fn say(stage: &mut Stage, tcp: &mut Tcp, flight: &[u8]) -> Tried {
    let before = stage.sent.len();
    let mut passed = true;
    for piece in flight.chunks(1_400) {
        passed &= tcp.up(stage, piece).passed();
    }
    if !passed {
        return Tried::HelloDropped;
    }
    if stage.sent[before..].iter().any(|sent| {
        sent.direction == Direction::Down
            && PacketView::parse(&sent.packet).is_ok_and(|view| match view.transport {
                Transport::Tcp(tcp) => tcp.has(flag::RST),
                _ => false,
            })
    }) {
        return Tried::Reset;
    }
    let answer = tcp.down(stage, &[0x16; 1_200]);
    match answer {
        Seen::Passed => {
            // Rules that let some packets through show with the next ones.
            let mut later = true;
            for _ in 0..5 {
                later &= tcp.ack_up(stage).passed() & tcp.down(stage, &[0x17; 600]).passed();
            }
            if later { Tried::Through } else { Tried::Silent }
        }
        changed if changed.is_reset() => Tried::Reset,
        _ => Tried::Silent,
    }
}
