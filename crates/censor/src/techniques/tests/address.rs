//! Blocks by address, bans in two stages, blackouts, overload.

use okno_wire::build::{self, IpRepr};
use okno_wire::packet::flag;

use super::bench::{Bench, DATA, Line, ip, wireguard};
use crate::middlebox::{ActKind, Direction, Verdict};

const BLOCKED: &str = "192.0.2.130";

#[test]
fn a_blocked_address_is_dead_for_every_port_and_protocol_ping_included() {
    let mut bench = Bench::of("tspu-2022", "ip");
    for port in [22, 443, 51820] {
        let syn = Line::to(BLOCKED, port).packet(Direction::Up, flag::SYN, &[]);
        assert!(!bench.passes(Direction::Up, &syn), "{port}");
        assert!(!bench.passes(Direction::Up, &Line::to(BLOCKED, port).udp(Direction::Up, b"x")));
    }
    let ping = |to: &str| build::icmp(&IpRepr::new(ip("10.0.0.7"), ip(to)), 8, 0, 1, b"ping");
    assert!(!bench.passes(Direction::Up, &ping(BLOCKED)));
    assert!(bench.passes(Direction::Up, &ping("192.0.2.127")), "the address before the list's first");
    let syn = Line::to("192.0.2.127", 443).packet(Direction::Up, flag::SYN, &[]);
    assert!(bench.passes(Direction::Up, &syn));
    let act = bench.effects.acts.first().expect("an act");
    assert_eq!((act.kind, act.evidence.matched.as_str()), (ActKind::Triggered, "192.0.2.128/26"));
}

#[test]
fn a_flow_that_the_blocked_address_opens_is_answered_with_a_rewritten_syn_ack() {
    let mut bench = Bench::of("tspu-2022", "ip");
    let mut line = Line { ports: (443, 50_000), ..Line::to(BLOCKED, 0) }.opened_outside();
    let syn = line.packet(Direction::Down, flag::SYN, &[]);
    assert!(bench.passes(Direction::Down, &syn), "its packets come in");
    let answer = line.packet(Direction::Up, flag::SYN | flag::ACK, &[]);
    let Verdict::Rewrite(packet) = bench.send(Direction::Up, &answer) else { panic!("not rewritten") };
    let view = okno_wire::PacketView::parse(&packet).unwrap();
    assert_eq!(view.tcp().unwrap().flags(), flag::RST | flag::ACK);
}

#[test]
fn dns_over_tls_is_blocked_on_its_port_alone() {
    let mut bench = Bench::of("tspu-2026", "dot");
    let syn = |port: u16| Line::to("8.8.8.8", port).packet(Direction::Up, flag::SYN, &[]);
    assert!(!bench.passes(Direction::Up, &syn(853)));
    assert!(bench.passes(Direction::Up, &syn(443)));
}

/// A tunnel that looks like nothing.
fn junk(n: usize) -> Vec<u8> {
    okno_wire::tls::preset::random_bytes(n as u64, "junk", 500)
}

#[test]
fn the_far_end_of_a_tunnel_is_banned_within_5_to_15_minutes_for_everybody_and_released() {
    let set = ["two-stage.delay_s=300", "two-stage.release_s=900", "two-stage.protocols=openvpn,wireguard"];
    let mut bench = Bench::with("tspu-2026", &["two-stage"], &set);
    let line = Line::to("198.51.100.9", 51820);
    let [initiation, response, data] = wireguard();
    assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, &initiation)));
    assert!(bench.passes(Direction::Down, &line.udp(Direction::Down, &response)));
    for _ in 0..4 {
        assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, &data)), "works at first");
    }
    assert_eq!(bench.triggered(), 1);
    let other = Line { inside: ip("10.0.0.99"), ..Line::to("198.51.100.9", 51820) };
    let elsewhere = Line::to("198.51.100.9", 51821);
    bench.wait(299.0);
    assert!(bench.passes(Direction::Up, &other.udp(Direction::Up, &initiation)));
    bench.wait(2.0);
    assert!(!bench.passes(Direction::Up, &other.udp(Direction::Up, &data)), "another subscriber");
    assert!(!bench.passes(Direction::Up, &line.udp(Direction::Up, &data)));
    assert!(bench.passes(Direction::Up, &elsewhere.udp(Direction::Up, &junk(1))), "another port");
    bench.wait(900.0);
    assert!(bench.passes(Direction::Up, &other.udp(Direction::Up, &junk(2))), "released");
}

#[test]
fn a_ban_needs_a_recognised_protocol_and_a_foreign_address() {
    let run = |to: &str, payload: &[u8]| {
        let mut bench = Bench::with("tspu-2026", &["two-stage"], &["two-stage.protocols=wireguard"]);
        let line = Line::to(to, 51820);
        for _ in 0..8 {
            bench.send(Direction::Up, &line.udp(Direction::Up, payload));
        }
        bench.triggered()
    };
    let [initiation, ..] = wireguard();
    assert_eq!(run("198.51.100.9", &[0xc5; 148]), 0, "same size, another protocol");
    assert_eq!(run("203.0.113.9", &initiation), 0, "domestic");
}

#[test]
fn in_a_blackout_nothing_answers_not_even_domestic_names_and_the_trickle_is_14_kbit() {
    let mut bench = Bench::of("ru-mobile-blackout", "blackout");
    for to in ["77.88.55.242", "192.0.2.44"] {
        let syn = Line::to(to, 443).packet(Direction::Up, flag::SYN, &[]);
        assert!(!bench.passes(Direction::Up, &syn));
    }
    let inward =
        Line { ports: (443, 5000), ..Line::new(0) }.opened_outside().packet(Direction::Down, flag::SYN, &[]);
    assert!(!bench.passes(Direction::Down, &inward));
    let mut bench = Bench::of("ru-mobile-blackout:trickle", "blackout");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    let mut bytes = 0;
    for _ in 0..2000 {
        bench.wait(0.1);
        let packet = line.down(&[0; 460]);
        bytes += if bench.passes(Direction::Down, &packet) { packet.len() } else { 0 };
    }
    let rate = bytes as f64 * 8.0 / 200.0;
    assert!((13_000.0..15_000.0).contains(&rate), "{rate} bit/s");
}

#[test]
fn in_an_isolation_drill_all_that_is_foreign_is_silent_and_domestic_networks_answer() {
    let mut bench = Bench::of("ru-mobile-blackout", "isolation");
    let syn = |to: &str| Line::to(to, 443).packet(Direction::Up, flag::SYN, &[]);
    assert!(!bench.passes(Direction::Up, &syn("192.0.2.44")));
    assert!(bench.passes(Direction::Up, &syn("77.88.55.242")));
}

#[test]
fn irans_stealth_blackout_leaves_some_three_flows_in_a_hundred_and_domestic_ones() {
    let mut bench = Bench::of("iran", "blackout");
    let alive = (0..5000)
        .filter(|n| {
            let syn = Line::new(1000 + n).packet(Direction::Up, flag::SYN, &[]);
            bench.passes(Direction::Up, &syn)
        })
        .count();
    assert!((110..190).contains(&alive), "{alive} of 5000");
    let syn = Line::to("203.0.113.9", 443).packet(Direction::Up, flag::SYN, &[]);
    assert!(bench.passes(Direction::Up, &syn));
}

#[test]
fn an_overloaded_box_loses_packets_whatever_they_carry() {
    let mut bench = Bench::with("tspu-2022", &["overload"], &["overload.drop_share=0.2"]);
    let lost = (0..5000_u32)
        .filter(|n| {
            let line = Line::to("192.0.2.44", 4000).with_port((n % 50) as u16 + 1);
            !bench.passes(Direction::Up, &line.udp(Direction::Up, &n.to_be_bytes()))
        })
        .count();
    assert!((900..1100).contains(&lost), "{lost} of 5000");
}

#[test]
fn a_box_that_fails_open_filters_nothing_of_flows_begun_in_the_window() {
    let text = r#"
        name = "x"
        title = "x"
        country = "ZZ"
        [[rule]]
        id = "open"
        technique = "fail_open"
        mechanism = "overload.fail_open"
        title = "bypassed for ten seconds"
        params = { windows = { value = ["1970-01-12T13:46:40/1970-01-12T13:46:50"] } }
        [[rule]]
        id = "all"
        technique = "blackout"
        mechanism = "blackout"
        title = "nothing passes"
    "#;
    let profile = crate::Profile::parse("x.toml", text).unwrap();
    let mut bench = Bench::of("tspu-2022", "ip");
    bench.engine = profile.engine().unwrap();
    assert!(bench.passes(Direction::Up, &Line::new(1).packet(Direction::Up, DATA, b"x")));
    bench.wait(9.9);
    assert!(bench.passes(Direction::Up, &Line::new(2).packet(Direction::Up, DATA, b"x")));
    bench.wait(0.2);
    assert!(!bench.passes(Direction::Up, &Line::new(3).packet(Direction::Up, DATA, b"x")));
}

#[test]
fn tor_relays_are_blocked_by_address() {
    let mut bench = Bench::of("tspu-2021", "tor-relays");
    let syn = |to: &str| Line::to(to, 9001).packet(Direction::Up, flag::SYN, &[]);
    assert!(!bench.passes(Direction::Up, &syn("128.31.0.39")));
    assert!(bench.passes(Direction::Up, &syn("128.31.0.40")));
}

#[test]
fn an_intercepted_flow_goes_to_the_interceptor_and_answers_come_back_as_the_servers() {
    let mut bench = Bench::with("kazakhstan", &["interception"], &["interception.share=1"]);
    let mut line = Line::to("198.51.100.70", 443);
    let syn = line.packet(Direction::Up, flag::SYN, &[]);
    let Verdict::Rewrite(packet) = bench.send(Direction::Up, &syn) else { panic!("not turned") };
    assert_eq!(okno_wire::PacketView::parse(&packet).unwrap().destination, ip("192.0.2.66"));
    let mut answers = Line { outside: ip("192.0.2.66"), ..line.clone() };
    let answer = answers.packet(Direction::Down, flag::SYN | flag::ACK, &[]);
    let Verdict::Rewrite(packet) = bench.send(Direction::Down, &answer) else { panic!("not turned back") };
    assert_eq!(okno_wire::PacketView::parse(&packet).unwrap().source, ip("198.51.100.70"));
    let mut other = Line::to("192.0.2.44", 443).with_port(5);
    bench.open(&mut other);
}
