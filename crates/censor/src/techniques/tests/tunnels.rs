//! VPN protocols, tunnels told by sizes or bits, Iran's filter.

use okno_wire::openvpn::{Opcode, Repr, framed};
use okno_wire::tls::preset::random_bytes;

use super::bench::{Bench, Line, hello, wireguard};
use crate::middlebox::Direction;

#[test]
fn wireguard_falls_silent_with_its_third_data_packet_to_a_foreign_address_only() {
    for (to, silent) in [("198.51.100.9", true), ("203.0.113.9", false)] {
        let mut bench = Bench::of("tspu-2022", "vpn-2023");
        let line = Line::to(to, 51820);
        let [initiation, response, data] = wireguard();
        assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, &initiation)));
        assert!(
            bench.passes(Direction::Down, &line.udp(Direction::Down, &response)),
            "the handshake completes"
        );
        for n in 1..=2 {
            assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, &data)), "data packet {n}");
        }
        assert_eq!(!bench.passes(Direction::Up, &line.udp(Direction::Up, &data)), silent, "{to}");
        assert_eq!(!bench.passes(Direction::Down, &line.udp(Direction::Down, &data)), silent);
    }
}

#[test]
fn random_datagrams_of_wireguards_sizes_pass() {
    let mut bench = Bench::of("tspu-2022", "vpn-2023");
    let line = Line::to("198.51.100.9", 51820);
    for n in 0..40 {
        let size = [148, 92, 96, 128][n % 4];
        let datagram = line.udp(Direction::Up, &random_bytes(n as u64, "noise", size));
        assert!(bench.passes(Direction::Up, &datagram), "{n}");
    }
}

#[test]
fn openvpn_over_tcp_falls_silent_with_its_sixteenth_data_packet() {
    let mut bench = Bench::of("tspu-2022", "vpn-2023");
    let mut line = Line::to("198.51.100.9", 1194);
    bench.open(&mut line);
    let (mine, theirs) = (0x9f3a_51c2_7e88_d046, 0x41d7_b0e9_3365_aa1c);
    let control = |opcode, session, remote, acknowledged: &[u32], payload: &[u8]| {
        let acknowledged = acknowledged.to_vec();
        framed(&Repr { opcode, session, acknowledged, remote, id: 0, payload: payload.to_vec() }.emit())
    };
    assert!(bench.up(&mut line, &control(Opcode::ResetClientV2, mine, 0, &[], &[])));
    assert!(bench.down(&mut line, &control(Opcode::ResetServerV2, theirs, mine, &[0], &[])));
    assert!(bench.up(&mut line, &control(Opcode::Control, mine, theirs, &[0], &[0x16, 3, 1])));
    let mut data = vec![(Opcode::DataV2 as u8) << 3, 0, 0, 0, 0, 0, 0, 1];
    data.extend(random_bytes(1, "data", 120));
    for n in 1..=15 {
        assert!(bench.up(&mut line, &framed(&data)), "data packet {n}");
    }
    assert!(!bench.up(&mut line, &framed(&data)), "data packet 16");
}

#[test]
fn tunnels_by_sizes_want_three_large_packets_the_right_network_and_the_right_port() {
    let silent = |rule: &str, to: &str, port: u16, sizes: &[usize]| {
        let mut bench = Bench::of("tspu-2024", rule);
        let mut line = Line::to(to, port);
        bench.open(&mut line);
        let passed = sizes.iter().enumerate().map(|(n, size)| {
            let payload = random_bytes(n as u64 + 5, "tunnel", *size);
            bench.up(&mut line, &payload)
        });
        passed.collect::<Vec<_>>().contains(&false)
    };
    let (digitalocean, vultr) = ("46.101.1.1", "45.76.1.1");
    assert!(silent("encapsulated-mts", digitalocean, 443, &[411, 411, 411]));
    assert!(!silent("encapsulated-mts", digitalocean, 443, &[411, 411, 410]), "one byte less");
    assert!(!silent("encapsulated-mts", digitalocean, 5555, &[500; 9]), "port 5555 passed");
    assert!(!silent("encapsulated-mts", vultr, 443, &[500; 9]), "another network");
    assert!(silent("encapsulated-megafon", vultr, 5555, &[500; 3]));
    assert!(!silent("encapsulated-beeline", vultr, 443, &[100, 500, 500, 500]), "the first size counts");
    assert!(silent("encapsulated-beeline", vultr, 443, &[500, 500, 500]));
}

#[test]
fn chinas_detector_blocks_some_26_in_a_hundred_candidates_for_180_s_by_three_tuple() {
    let mut bench = Bench::of("china-gfw", "fully-encrypted");
    let mut blocked = Vec::new();
    for n in 0..4000_u16 {
        let mut line = Line { ports: (1000 + n, 9000 + n), ..Line::to("198.51.100.9", 0) };
        bench.open(&mut line);
        if !bench.up(&mut line, &random_bytes(u64::from(n), "first", 300)) {
            blocked.push(line);
        }
    }
    let share = blocked.len() as f64 / 4000.0;
    assert!((0.24..0.285).contains(&share), "{share}");
    let line = blocked.last().unwrap().clone();
    for (after, still) in [(179.0, true), (1.5, false)] {
        bench.wait(after);
        let again = Line { ports: (30_000, line.ports.1), ..line.clone() };
        let syn = again.clone().packet(Direction::Up, okno_wire::packet::flag::SYN, &[]);
        assert_eq!(!bench.passes(Direction::Up, &syn), still, "another source port, after {after} s more");
    }
}

#[test]
fn what_is_printable_sparse_known_or_elsewhere_is_no_candidate() {
    let candidate = |to: &str, first: &[u8]| {
        let mut bench = Bench::with("china-gfw", &["fully-encrypted"], &["fully-encrypted.block_share=1"]);
        let mut line = Line::to(to, 9000);
        bench.open(&mut line);
        !bench.up(&mut line, first)
    };
    let random = random_bytes(3, "first", 300);
    assert!(candidate("198.51.100.9", &random));
    assert!(!candidate("203.0.113.9", &random), "no hosting range");
    assert!(!candidate("198.51.100.9", &[0x11; 200]), "2 set bits per byte");
    assert!(!candidate("198.51.100.9", &[0xf7; 200]), "7 set bits per byte");
    assert!(!candidate("198.51.100.9", &[&b"HELLO!"[..], &random].concat()), "six printable bytes first");
    assert!(!candidate("198.51.100.9", &[&random[..60], &[b'a'; 21], &random[60..]].concat()), "21 in a row");
    assert!(!candidate("198.51.100.9", &[&[0x16, 3, 1][..], &random].concat()), "a TLS record");
    assert!(candidate("198.51.100.9", &[&b"HELLO"[..], &[0x80], &random].concat()), "five do not exempt");
}

#[test]
fn irans_filter_passes_three_protocols_on_three_ports_and_begins_anew_with_each_packet() {
    let query = okno_wire::dns::tcp_framed(&okno_wire::dns::query(1, "a.example", 1).emit());
    for (port, first, passes) in [
        (443, hello("example.org"), true),
        (80, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), true),
        (53, query, true),
        (22, b"SSH-2.0-x\r\n".to_vec(), true),
        (443, b"SSH-2.0-x\r\n".to_vec(), false),
    ] {
        let mut bench = Bench::of("iran", "protocol-filter");
        let mut line = Line::to("192.0.2.44", port);
        bench.open(&mut line);
        assert!(bench.up(&mut line, &first), "the first data packet passes");
        assert_eq!(bench.up(&mut line, &first), passes, "port {port}");
    }
    let mut bench = Bench::of("iran", "protocol-filter");
    let mut line = Line::to("192.0.2.44", 443);
    bench.open(&mut line);
    bench.up(&mut line, b"odd");
    for _ in 0..5 {
        assert!(!bench.up(&mut line, b"odd"));
        bench.wait(59.0);
    }
    assert!(bench.down(&mut line, b"x"), "the server's packets are not dropped");
    bench.wait(61.0);
    assert!(bench.up(&mut line, b"odd"), "a minute of rest ends it");
}
