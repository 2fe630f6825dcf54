//! A box with some rules of a profile, and conversations through it.

use core::net::IpAddr;
use core::time::Duration;

use okno_wire::build::{self, IpRepr, TcpRepr};
use okno_wire::packet::flag;
use okno_wire::tls::{preset, record};
use okno_wire::{Instant, PacketView};

use crate::middlebox::{Act, ActKind, Context, Direction, Effects, Injection, Middlebox, Verdict};
use crate::profile::{Profile, Selection};
use crate::{Engine, Switches};

pub(super) const DATA: u8 = flag::PSH | flag::ACK;

/// A box and its clock.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) effects: Effects,
    pub(super) now: Instant,
    pub(super) seed: u64,
}

impl Bench {
    /// Some rules of a profile, switched on, with choices.
    pub(super) fn with(profile: &str, rules: &[&str], set: &[&str]) -> Self {
        Self::tuned(profile, rules, set, |_| {})
    }

    pub(super) fn of(profile: &str, rule: &str) -> Self {
        Self::with(profile, &[rule], &[])
    }

    /// With switches that the profile does not set.
    pub(super) fn tuned(profile: &str, rules: &[&str], set: &[&str], tune: impl Fn(&mut Switches)) -> Self {
        let set = set.iter().map(|words| (*words).to_owned()).collect();
        let profile = Profile::named(profile).unwrap();
        let mut profile = profile.select(&Selection { set, ..Selection::default() }).unwrap();
        profile.rules.retain(|rule| rules.contains(&rule.id.as_str()));
        assert_eq!(profile.rules.len(), rules.len(), "{rules:?}");
        profile.rules.iter_mut().for_each(|rule| rule.off = false);
        let mut switches = profile.box_switches().unwrap();
        tune(&mut switches);
        let engine = Engine::new(switches, crate::techniques::build(&profile).unwrap());
        Self { engine, effects: Effects::default(), now: Instant::from_secs(1_000_000), seed: 7 }
    }

    pub(super) fn wait(&mut self, seconds: f64) -> &mut Self {
        self.now = self.now + Duration::from_micros((seconds * 1e6) as u64);
        self
    }

    pub(super) fn send(&mut self, direction: Direction, packet: &[u8]) -> Verdict {
        let view = PacketView::parse(packet).unwrap();
        self.engine.on_packet(
            self.now,
            direction,
            &view,
            &mut Context { seed: self.seed, effects: &mut self.effects },
        )
    }

    pub(super) fn passes(&mut self, direction: Direction, packet: &[u8]) -> bool {
        self.send(direction, packet) == Verdict::Pass
    }

    pub(super) fn injected(&mut self) -> Vec<Injection> {
        core::mem::take(&mut self.effects.injections)
    }

    /// How often a rule triggered so far.
    pub(super) fn triggered(&self) -> usize {
        self.effects.acts.iter().filter(|act| act.kind == ActKind::Triggered).count()
    }

    pub(super) fn last_trigger(&self) -> &Act {
        self.effects.acts.iter().rfind(|act| act.kind == ActKind::Triggered).expect("a trigger")
    }

    /// TCP's handshake; all of it passes.
    pub(super) fn open(&mut self, line: &mut Line) {
        let opener = line.opener;
        let syn = line.packet(opener, flag::SYN, &[]);
        assert!(self.passes(opener, &syn));
        let answer = line.packet(opener.flip(), flag::SYN | flag::ACK, &[]);
        assert!(self.passes(opener.flip(), &answer));
        let ack = line.packet(opener, flag::ACK, &[]);
        assert!(self.passes(opener, &ack));
    }

    /// Opens a line and sends a hello; whether the hello passed.
    pub(super) fn hello(&mut self, line: &mut Line, name: &str) -> bool {
        self.open(line);
        let hello = line.up(&hello(name));
        self.passes(Direction::Up, &hello)
    }

    pub(super) fn up(&mut self, line: &mut Line, payload: &[u8]) -> bool {
        let packet = line.up(payload);
        self.passes(Direction::Up, &packet)
    }

    pub(super) fn down(&mut self, line: &mut Line, payload: &[u8]) -> bool {
        let packet = line.down(payload);
        self.passes(Direction::Down, &packet)
    }
}

/// A TCP or UDP conversation between a subscriber and a server.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) inside: IpAddr,
    pub(super) outside: IpAddr,
    /// of the subscriber, of the server
    pub(super) ports: (u16, u16),
    pub(super) opener: Direction,
    /// next sequence number of the subscriber and of the server
    pub(super) seq: (u32, u32),
    pub(super) ip_id: u16,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Line {
    pub(super) fn to(outside: &str, port: u16) -> Self {
        let outside = ip(outside);
        let inside = ip(if outside.is_ipv4() { "10.0.0.7" } else { "2001:db8:d0::7" });
        Self { inside, outside, ports: (40_000, port), opener: Direction::Up, seq: (1000, 9000), ip_id: 0 }
    }

    /// A line to a server that no list knows, port 443.
    pub(super) fn new(port: u16) -> Self {
        Self { ports: (port, 443), ..Self::to("192.0.2.44", 443) }
    }

    pub(super) fn opened_outside(self) -> Self {
        Self { opener: Direction::Down, ..self }
    }

    pub(super) fn with_port(self, port: u16) -> Self {
        Self { ports: (port, self.ports.1), ..self }
    }

    pub(super) fn packet(&mut self, direction: Direction, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (source, destination, ports, seq, ack) = match direction {
            Direction::Up => (self.inside, self.outside, self.ports, self.seq.0, self.seq.1),
            Direction::Down => {
                (self.outside, self.inside, (self.ports.1, self.ports.0), self.seq.1, self.seq.0)
            }
        };
        let mut ip = IpRepr::new(source, destination);
        (ip.ttl, ip.id) = (if direction == Direction::Up { 63 } else { 52 }, self.ip_id);
        let used = payload.len() as u32 + u32::from(flags & (flag::SYN | flag::FIN) != 0);
        let counter = if direction == Direction::Up { &mut self.seq.0 } else { &mut self.seq.1 };
        *counter = counter.wrapping_add(used);
        TcpRepr { flags, ..TcpRepr::data(ports.0, ports.1, seq, ack) }.emit(&ip, payload)
    }

    pub(super) fn up(&mut self, payload: &[u8]) -> Vec<u8> {
        self.packet(Direction::Up, DATA, payload)
    }

    pub(super) fn down(&mut self, payload: &[u8]) -> Vec<u8> {
        self.packet(Direction::Down, DATA, payload)
    }

    pub(super) fn udp(&self, direction: Direction, payload: &[u8]) -> Vec<u8> {
        match direction {
            Direction::Up => {
                build::udp(&IpRepr::new(self.inside, self.outside), self.ports.0, self.ports.1, payload)
            }
            Direction::Down => {
                build::udp(&IpRepr::new(self.outside, self.inside), self.ports.1, self.ports.0, payload)
            }
        }
    }
}

/// A record with a short hello.
pub(super) fn hello(name: &str) -> Vec<u8> {
    record(22, 0x0301, &preset::curl(1, Some(name)).emit())
}

/// WireGuard's handshake and a data packet.
pub(super) fn wireguard() -> [Vec<u8>; 3] {
    use okno_wire::wireguard::{Kind, Message};
    let message = |kind| Message { kind, reserved: [0; 3] }.emit(0xa5);
    [
        message(Kind::Initiation { sender: 7 }),
        message(Kind::Response { sender: 9, receiver: 7 }),
        message(Kind::Data { receiver: 9, counter: 1, size: 80 }),
    ]
}
