//! Distinct flows, names, fragments and connection ids without end: what a box keeps stays under its limits,
//! whether time passes or stands still.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use okno_censor::profile::Profile;
use okno_censor::{Context, Direction, Effects, Engine, Middlebox};
use okno_wire::build::{IpRepr, TcpRepr, udp, udp_segment};
use okno_wire::packet::{flag, number};
use okno_wire::quic::{InitialRepr, Side, Version, crypto_frames};
use okno_wire::tls::{preset, record};
use okno_wire::{Instant, PacketView};

/// All rules of 2026 under small limits.
fn engine() -> Engine {
    let text = r#"
name = "small"
title = "small limits"
country = "RU"
extends = "tspu-2026"
[switches]
"limits.flows" = { value = 2000 }
"limits.residuals" = { value = 300 }
"limits.stream_bytes" = { value = 1000000 }
"limits.waiting_bytes" = { value = 100000 }
"fragments.max_bytes" = { value = 200000 }
"#;
    let profile = Profile::parse("small.toml", text).expect("a profile");
    profile.engine().expect("a box")
}

/// The subscriber's and the server's addresses, every one another.
fn ends(n: u32) -> IpRepr {
    if n % 3 == 0 {
        let ip = |net: u128| IpAddr::V6(Ipv6Addr::from_bits(net << 96 | u128::from(n)));
        return IpRepr::new(ip(0x2001_0db8), ip(0x2001_0db9));
    }
    let ip = |net: u32| IpAddr::V4(Ipv4Addr::from_bits(net | n & 0x00ff_ffff));
    IpRepr::new(ip(0x0a00_0000), ip(0xcb00_0000))
}

/// The `n`th of packets that each want to be remembered.
fn packets(n: u32, sealed: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let ip = ends(n);
    let tcp = |seq, flags| TcpRepr { flags, ..TcpRepr::data(40_000, 443, seq, 1) };
    match n % 6 {
        0 => vec![tcp(n, flag::SYN).emit(&ip, &[])],
        1 => {
            // Single bytes, each behind a gap.
            let mut all = vec![tcp(0, flag::SYN).emit(&ip, &[])];
            all.extend((1..40).map(|at| tcp(1 + at * 2, flag::ACK).emit(&ip, b"x")));
            all
        }
        2 => {
            let segment = udp_segment(&ip, 5_000, 443, &[7; 600]);
            ip.emit_fragments(number::UDP, n, &[296], &segment)[..1].to_vec()
        }
        3 => vec![udp(&ip, 50_000, 443, &sealed[n as usize % sealed.len()])],
        4 => {
            let name = format!("{}.facebook.com", "a.".repeat(2_000 + n as usize % 7));
            let hello = record(22, 0x0301, &preset::curl(1, Some(&name)).emit());
            hello
                .chunks(1_400)
                .enumerate()
                .map(|(at, piece)| tcp(1 + 1_400 * at as u32, flag::ACK).emit(&ip, piece))
                .collect()
        }
        _ => {
            let hello = record(22, 0x0301, &preset::chrome(1, Some("rutracker.org"), false).emit());
            vec![tcp(1, flag::ACK).emit(&ip, &hello[..200]), tcp(201, flag::ACK).emit(&ip, &hello[200..])]
        }
    }
}

/// Halves of hellos in QUIC's Initials, each under another connection id.
fn sealed() -> Vec<Vec<u8>> {
    let hello = preset::quic(1, Some("www.facebook.com"), b"scid", true).emit();
    let frames = crypto_frames(&hello, &[700]);
    (0_u32..50)
        .map(|n| {
            let id = n.to_be_bytes().repeat(2);
            let repr = InitialRepr::first(Version::V1, &id, b"scid");
            repr.seal(Side::Client, &id, &frames[1..2], 1200).expect("a known version")
        })
        .collect()
}

#[test]
fn what_never_ends_is_forgotten_under_the_limits_whether_time_passes_or_stands_still() {
    let sealed = sealed();
    for step in [0_u64, 1_000_000] {
        let mut engine = engine();
        let mut effects = Effects::default();
        let (mut sent, mut most) = (0_u64, 0);
        for n in 0..8_000_u32 {
            for packet in packets(n, &sealed) {
                let view = PacketView::parse(&packet).expect("a packet");
                let now = Instant::from_nanos(1_700_000_000_000_000_000 + u64::from(n) * step);
                let mut context = Context { seed: 7, effects: &mut effects };
                engine.on_packet(now, Direction::Up, &view, &mut context);
                sent += packet.len() as u64;
                effects.injections.clear();
                effects.acts.clear();
            }
            most = most.max(engine.stats().memory_bytes);
        }
        let stats = engine.stats();
        assert!(sent > 10_000_000, "{sent} bytes are more than may be kept");
        assert!(most < 4_000_000, "{most} bytes kept of {sent}");
        assert!(stats.flows_open <= 2_000 && stats.flows_evicted > 3_000, "{stats:?}");
        assert!(stats.residuals <= 300 && stats.residuals_evicted > 300, "{stats:?}");
        assert!(stats.streams_evicted > 0 && stats.packets_discarded_in_fragments > 300, "{stats:?}");
    }
}
