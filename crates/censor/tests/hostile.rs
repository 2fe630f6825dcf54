//! Hostile traffic: whatever comes, in whatever order and at whatever time, no box panics, none grows
//! without end, and the same packets give the same verdicts.

use core::net::IpAddr;
use core::time::Duration;

use okno_censor::presets::Preset;
use okno_censor::profile::{BUILTIN, builtin};
use okno_censor::{
    Action, Context, Decision, Decisions, Direction, Effects, Engine, Event, Evidence, FlowView, Forge,
    Interest, Middlebox, Rate, Refresh, Scope, Switches, Technique, Verdict, Ways,
};
use okno_model::Mechanism;
use okno_wire::build::{IpRepr, TcpRepr, udp, udp_segment};
use okno_wire::packet::{flag, number};
use okno_wire::quic::{InitialRepr, Side, Version, crypto_frames};
use okno_wire::tls::{preset, record};
use okno_wire::{Instant, PacketView};

/// Hears everything and does, by turns, everything that can be decided.
#[derive(Debug, Default)]
struct Everything(usize);

impl Technique for Everything {
    fn rule(&self) -> &str {
        "everything"
    }

    fn mechanism(&self) -> Mechanism {
        Mechanism::parse("tls").expect("in the taxonomy")
    }

    fn interest(&self) -> Interest {
        Interest(u32::MAX)
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, _: &Event<'_>, decisions: &mut Decisions) {
        self.0 += 1;
        *flow.slot += 1;
        let turn = self.0;
        let rate = Some(Rate { bits_per_second: 8_000, burst_bytes: 2_000 });
        let action = match turn % 9 {
            0 => Action::Nothing,
            1 => Action::Drop { ways: Ways::Up, after: 2, pass_ppm: 500_000, data_only: true },
            2 => Action::RewriteToReset { way: flow.direction },
            3 => Action::Police { up: rate, down: None },
            4 => Action::Shape { up: None, down: rate, queue_bytes: 20_000 },
            5 => Action::Delay { ways: Ways::Both, time: Duration::from_millis(50) },
            6 => Action::Budget { packets: Some(9), bytes_up: Some(3_000), bytes_down: None },
            7 => Action::Redirect { to: "198.51.100.53:0".parse().expect("an end") },
            _ => return if turn % 90 == 8 { decisions.exempt_flow() } else { decisions.ignore_flow() },
        };
        let scopes = [Scope::Flow, Scope::FourTuple, Scope::ThreeTuple, Scope::HostPair, Scope::Remote];
        let refreshes = [Refresh::Never, Refresh::Trigger, Refresh::Packet];
        let forges = [
            Forge::reset(Direction::Up),
            Forge::segment(Direction::Down, 0x19, b"page".to_vec()),
            Forge::datagram(Direction::Down, b"answer".to_vec()),
        ];
        let mut decision = Decision::new(action, Evidence::default())
            .on(scopes[turn % scopes.len()])
            .lasting(Duration::from_secs(turn as u64 % 300))
            .after(Duration::from_secs(turn as u64 % 3))
            .refreshed_by(refreshes[turn % 3])
            .forging(forges[turn % 3].clone());
        (decision.drop_this, decision.from_this) = (turn % 5 == 0, turn % 2 == 0);
        decisions.push(decision);
    }
}

/// A generator of one's own: the tests of this workspace draw from nothing else.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit.max(1)
    }
}

/// Packets of many kinds between two hosts, in both families.
fn seeds() -> Vec<Vec<u8>> {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let mut all = Vec::new();
    for (a, b) in [("10.0.0.7", "192.0.2.44"), ("fd00::7", "2001:db8::44")] {
        let (up, down) = (IpRepr::new(ip(a), ip(b)), IpRepr::new(ip(b), ip(a)));
        let tcp = |seq, flags| TcpRepr { flags, ..TcpRepr::data(40_000, 443, seq, 9_001) };
        let hello = record(22, 0x0301, &preset::chrome(1, Some("www.facebook.com"), true).emit());
        all.push(tcp(1_000, flag::SYN).emit(&up, &[]));
        all.push(
            TcpRepr { flags: flag::SYN | flag::ACK, ..TcpRepr::data(443, 40_000, 9_000, 1_001) }
                .emit(&down, &[]),
        );
        all.push(tcp(1_001, flag::ACK).emit(&up, &hello));
        all.push(tcp(1_001, flag::ACK).emit(&up, &hello[..300]));
        all.push(tcp(1_301, flag::ACK).emit(&up, &hello[300..]));
        all.push(
            TcpRepr::data(443, 40_000, 9_001, 2_000).emit(&down, b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"),
        );
        all.push(tcp(1_001, flag::RST).emit(&up, &[]));
        let request = b"GET / HTTP/1.1\r\nHost: www.facebook.com\r\n\r\n";
        all.push(TcpRepr::data(40_001, 80, 5, 5).emit(&up, request));
        let quic = preset::quic(1, Some("www.facebook.com"), b"scid", true).emit();
        let frames = crypto_frames(&quic, &[700]);
        for (number, frame) in frames.chunks(1).enumerate() {
            let repr = InitialRepr {
                number: number as u32,
                ..InitialRepr::first(Version::V1, b"dcid1234", b"scid")
            };
            let sealed = repr.seal(Side::Client, b"dcid1234", frame, 1200).expect("a known version");
            all.push(udp(&up, 50_000, 443, &sealed));
        }
        all.push(udp(
            &up,
            5_353,
            53,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x02ua\x00\x00\x01\x00\x01",
        ));
        let mut wireguard = vec![1, 0, 0, 0];
        wireguard.resize(148, 7);
        all.push(udp(&up, 51_820, 51_820, &wireguard));
        let segment = udp_segment(&up, 6_000, 443, &[5; 200]);
        all.extend(up.emit_fragments(number::UDP, 9, &[64, 128], &segment));
        all.push(okno_wire::build::icmp(&up, 8, 0, 7, b"ping"));
    }
    all
}

/// What a box made of the packets of one seed.
fn run(mut engine: Engine, packets: &[Vec<u8>], rounds: usize, seed: u64) -> (Vec<Verdict>, u64) {
    let mut chance = Seeded(seed);
    let mut effects = Effects::default();
    let (mut verdicts, mut most) = (Vec::new(), 0);
    let mut now = 1_700_000_000_000_000_000_u64;
    for _ in 0..rounds {
        let mut packet = packets[chance.below(packets.len())].clone();
        for _ in 0..chance.below(4) {
            let at = chance.below(packet.len().min(80));
            packet[at] = chance.next() as u8;
        }
        if chance.below(8) == 0 {
            packet.truncate(chance.below(packet.len()) + 1);
        }
        now = match chance.below(200) {
            0 => chance.next(),
            1 => now.wrapping_sub(3_600_000_000_000),
            2 => now.saturating_add(600_000_000_000),
            _ => now.saturating_add(chance.next() % 2_000_000_000),
        };
        let direction = if chance.below(3) == 0 { Direction::Down } else { Direction::Up };
        let mut context = Context { seed: 7, effects: &mut effects };
        while engine.next_timer().is_some_and(|due| due.nanos() <= now) {
            engine.on_timer(Instant::from_nanos(now), &mut context);
        }
        if let Ok(view) = PacketView::parse(&packet) {
            verdicts.push(engine.on_packet(Instant::from_nanos(now), direction, &view, &mut context));
        }
        for injection in effects.injections.drain(..) {
            assert!(!injection.packet.is_empty());
        }
        effects.acts.clear();
        most = most.max(engine.stats().memory_bytes);
    }
    engine.finish();
    (verdicts, most)
}

fn boxes() -> Vec<(String, Engine)> {
    let all = || vec![Box::new(Everything::default()) as Box<dyn Technique>];
    let presets = Preset::all()
        .into_iter()
        .map(move |preset| (preset.name, Engine::new(preset.switches, all()).with_summaries()));
    let profiles = BUILTIN.iter().map(|profile| {
        let name = profile.0;
        (name.to_owned(), builtin(name).expect("shipped").engine().expect("builds"))
    });
    presets.chain(profiles).chain([("default".to_owned(), Engine::new(Switches::default(), all()))]).collect()
}

#[test]
fn no_box_panics_or_grows_whatever_comes() {
    let packets = seeds();
    for (name, engine) in boxes() {
        let (verdicts, most) = run(engine, &packets, 3_000, 0x9e37_79b9_7f4a_7c15);
        assert!(verdicts.len() > 1_500, "{name}: {}", verdicts.len());
        assert!(most < 8 << 20, "{name} keeps {most} bytes");
    }
}

#[test]
fn the_same_packets_give_the_same_verdicts_in_every_box() {
    let packets = seeds();
    let first: Vec<_> = boxes().into_iter().map(|(_, engine)| run(engine, &packets, 500, 42)).collect();
    let second: Vec<_> = boxes().into_iter().map(|(_, engine)| run(engine, &packets, 500, 42)).collect();
    assert_eq!(first, second);
}
