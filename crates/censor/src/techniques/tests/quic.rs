//! QUIC by version and by name, Russia's and China's.

use okno_wire::quic::{InitialRepr, Side, Version, crypto_frames};
use okno_wire::tls::preset;

use super::bench::{Bench, Line};
use crate::middlebox::Direction;

/// An Initial of 1,200 bytes that names a host.
pub(super) fn initial(version: Version, name: &str) -> Vec<u8> {
    let message = preset::quic(1, Some(name), &[3; 8], false).emit();
    let dcid = [9; 8];
    InitialRepr::first(version, &dcid, &[3; 8])
        .seal(Side::Client, &dcid, &crypto_frames(&message, &[]), 1200)
        .expect("it fits a datagram")
}

/// A datagram whose bytes 1 to 4 are a version.
fn versioned(version: u32, len: usize) -> Vec<u8> {
    let mut datagram = vec![0xc0; len];
    datagram[1..5].copy_from_slice(&version.to_be_bytes());
    datagram
}

#[test]
fn the_rule_of_2022_wants_port_443_version_1_and_1001_bytes_and_reads_no_name() {
    for (port, version, len, dropped) in [
        (443, 1, 1001, true),
        (443, 1, 1000, false),
        (443, 0xff00_001d, 1200, false),
        (443, 0xbaba_baba, 1200, false),
        (443, 0x6b33_43cf, 1200, false),
        (8443, 1, 1200, false),
    ] {
        let mut bench = Bench::of("tspu-2022", "quic-1");
        let line = Line::to("192.0.2.44", port);
        let datagram = line.udp(Direction::Up, &versioned(version, len));
        assert_eq!(!bench.passes(Direction::Up, &datagram), dropped, "{port} {version:#x} {len}");
        assert_eq!(!bench.passes(Direction::Down, &line.udp(Direction::Down, b"x")), dropped, "and its flow");
    }
    let mut bench = Bench::of("tspu-2022", "quic-1");
    assert!(
        bench.passes(Direction::Up, &Line::to("87.240.129.1", 443).udp(Direction::Up, &versioned(1, 1200)))
    );
}

#[test]
fn yota_reads_names_to_the_servers_that_it_exempts() {
    let dropped = |to: &str, name: &str| {
        let mut bench = Bench::with("tspu-2022", &["quic-1", "quic-yota"], &[]);
        let line = Line::to(to, 443);
        !bench.passes(Direction::Up, &line.udp(Direction::Up, &initial(Version::V1, name)))
    };
    assert!(!dropped("87.240.129.1", "vk.com") && dropped("87.240.129.1", "www.facebook.com"));
    assert!(dropped("192.0.2.44", "vk.com"));
}

#[test]
fn three_dummy_datagrams_first_let_the_initial_pass_and_two_do_not() {
    for (dummies, passes) in [(2, false), (3, true)] {
        let mut bench = Bench::of("tspu-2022", "quic-1");
        let line = Line::to("192.0.2.44", 443);
        for _ in 0..dummies {
            assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, b"dummy")));
        }
        let passed = bench.passes(Direction::Up, &line.udp(Direction::Up, &versioned(1, 1200)));
        assert_eq!(passed, passes, "{dummies}");
    }
}

#[test]
fn both_generations_hold_a_four_tuple_for_420_s() {
    for (profile, rule, datagram) in [
        ("tspu-2022", "quic-1", versioned(1, 1200)),
        ("tspu-2026", "quic-2", initial(Version::V1, "www.bbc.com")),
    ] {
        for (after, port, dropped) in [(419.0, 40_000, true), (421.0, 40_000, false), (1.0, 40_001, false)] {
            let mut bench = Bench::of(profile, rule);
            let line = Line::to("192.0.2.44", 443);
            assert!(!bench.passes(Direction::Up, &line.udp(Direction::Up, &datagram)));
            bench.wait(after);
            let later = line.with_port(port).udp(Direction::Up, b"x");
            assert_eq!(!bench.passes(Direction::Up, &later), dropped, "{rule} after {after} s from {port}");
        }
    }
}

#[test]
fn names_in_initials_are_read_in_version_1_on_most_ports_and_outbound_only() {
    let dropped = |version, name: &str, port: u16, direction| {
        let mut bench = Bench::of("tspu-2026", "quic-2");
        let line = Line::to("192.0.2.44", port);
        !bench.passes(direction, &line.udp(direction, &initial(version, name)))
    };
    assert!(dropped(Version::V1, "www.bbc.com", 443, Direction::Up));
    assert!(!dropped(Version::V1, "www.example.org", 443, Direction::Up));
    assert!(!dropped(Version::V2, "www.bbc.com", 443, Direction::Up));
    assert!(!dropped(Version::V1, "www.bbc.com", 443, Direction::Down));
    let free = (1..1024).filter(|port| !dropped(Version::V1, "www.bbc.com", *port, Direction::Up)).count();
    assert!((190..260).contains(&free), "{free} of 1,023 ports are free");
    assert!((1024..1100).all(|port| dropped(Version::V1, "www.bbc.com", port, Direction::Up)));
}

#[test]
fn a_further_blocked_initial_begins_the_420_s_anew_and_other_packets_do_not() {
    for (again, still) in [(initial(Version::V1, "www.bbc.com"), true), (vec![0x40; 60], false)] {
        let mut bench = Bench::of("tspu-2026", "quic-2");
        let line = Line::to("192.0.2.44", 443);
        assert!(!bench.passes(Direction::Up, &line.udp(Direction::Up, &initial(Version::V1, "www.bbc.com"))));
        bench.wait(300.0);
        assert!(!bench.passes(Direction::Up, &line.udp(Direction::Up, &again)));
        bench.wait(300.0);
        assert_eq!(!bench.passes(Direction::Up, &line.udp(Direction::Up, b"x")), still);
    }
}

#[test]
fn china_exempts_source_ports_up_to_the_destination_port_and_holds_the_three_tuple() {
    let dropped = |source: u16, port: u16| {
        let mut bench = Bench::of("china-gfw", "quic");
        let line = Line::to("192.0.2.44", port).with_port(source);
        !bench.passes(Direction::Up, &line.udp(Direction::Up, &initial(Version::V1, "www.google.com")))
    };
    assert!(dropped(444, 443));
    assert!(!dropped(443, 443) && !dropped(442, 443));
    for (after, still) in [(179.0, true), (181.0, false)] {
        let mut bench = Bench::of("china-gfw", "quic");
        let line = Line::to("192.0.2.44", 443);
        bench.passes(Direction::Up, &line.udp(Direction::Up, &initial(Version::V1, "www.google.com")));
        bench.wait(after);
        let other = line.with_port(50_000).udp(Direction::Up, b"x");
        assert_eq!(!bench.passes(Direction::Up, &other), still, "another source port after {after} s");
    }
}

#[test]
fn youtube_is_silenced_over_quic_as_over_tls_whatever_the_address() {
    let mut bench = Bench::of("tspu-2026", "googlevideo");
    let name = "rr3---sn-x.googlevideo.com";
    let line = Line::to("203.0.113.77", 443);
    assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, &initial(Version::V1, name))));
    let passed = (0..20).filter(|_| bench.passes(Direction::Down, &line.udp(Direction::Down, b"x"))).count();
    assert!((5..=8).contains(&passed), "{passed}");
    let mut line = Line::to("203.0.113.77", 443).with_port(7);
    assert!(bench.hello(&mut line, name));
    assert!((0..20).any(|_| !bench.down(&mut line, b"x")));
    let mut line = Line::to("142.250.1.1", 443).with_port(8);
    assert!(bench.hello(&mut line, "www.google.com"));
    assert!((0..20).all(|_| bench.down(&mut line, b"x")), "a neutral name at Google's address");
}
