//! Hostile traffic: whatever comes, in whatever order and at whatever time, no box panics, none grows
//! without end, and the same packets give the same verdicts.

mod watch;

use core::net::IpAddr;

use okno_censor::{Context, Direction, Effects, Engine, Middlebox, Verdict};
use okno_wire::build::{IpRepr, TcpRepr, udp, udp_segment};
use okno_wire::packet::{flag, number};
use okno_wire::quic::{InitialRepr, Side, Version, crypto_frames};
use okno_wire::tls::{preset, record};
use okno_wire::{Instant, PacketView};

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

#[test]
fn no_box_panics_or_grows_whatever_comes() {
    let packets = seeds();
    for (name, engine) in (0..watch::count()).map(watch::one) {
        let (verdicts, most) = run(engine, &packets, 3_000, 0x9e37_79b9_7f4a_7c15);
        assert!(verdicts.len() > 1_500, "{name}: {}", verdicts.len());
        assert!(most < 8 << 20, "{name} keeps {most} bytes");
    }
}

#[test]
fn the_same_packets_give_the_same_verdicts_in_every_box() {
    let packets = seeds();
    let all =
        || -> Vec<_> { (0..watch::count()).map(|at| run(watch::one(at).1, &packets, 500, 42)).collect() };
    assert_eq!(all(), all());
}

#[test]
fn what_the_fuzzer_kept_harms_no_more() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/censor_engine");
    let mut files: Vec<_> =
        std::fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        watch::traffic(&std::fs::read(&file).expect("a file"));
    }
}
