//! Calls, Snowflake, Telegram's FakeTLS, the stall after a first segment.

use okno_wire::dtls::{preset as dtls_preset, server_hello};
use okno_wire::tls::{extension, preset, record};

use super::bench::{Bench, Line};
use crate::middlebox::Direction;

/// A STUN binding request (RFC 8489 §5) with its cookie.
fn stun() -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend([5; 12]);
    message
}

#[test]
fn stun_to_the_messengers_ports_is_lost_and_the_same_elsewhere_passes() {
    let passed = |rule: &str, to: &str, port: u16, payload: &[u8]| {
        let mut bench = Bench::with("tspu-2025", &[rule], &[&format!("{rule}.pass_share=0.05")]);
        let line = Line::to(to, port);
        (0..200).filter(|_| bench.passes(Direction::Up, &line.udp(Direction::Up, payload))).count()
    };
    let foreign = "198.51.100.9";
    for port in [596, 599, 1400] {
        assert!((1..30).contains(&passed("calls-telegram", foreign, port, &stun())), "{port}");
    }
    for (rule, to, port, payload) in [
        ("calls-telegram", foreign, 595, stun()),
        ("calls-telegram", foreign, 600, stun()),
        ("calls-telegram", foreign, 3478, stun()),
        ("calls-telegram", "203.0.113.9", 1400, stun()),
        ("calls-telegram", foreign, 1400, preset::random_bytes(1, "noise", 20)),
        ("calls-whatsapp", foreign, 589, stun()),
        ("calls-whatsapp", foreign, 3479, stun()),
    ] {
        assert_eq!(passed(rule, to, port, &payload), 200, "{rule} {to} {port}");
    }
    assert!(passed("calls-whatsapp", foreign, 3478, &stun()) < 30);
    assert!(passed("calls-whatsapp", foreign, 590, &stun()) < 30);
}

#[test]
fn snowflake_of_2021_is_told_by_its_servers_groups_at_byte_0x5a() {
    let mut bench = Bench::of("tspu-2021", "snowflake-server");
    let line = Line::to("198.51.100.9", 5000);
    let hello = dtls_preset::datagram(&dtls_preset::pion(1));
    assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, &hello)));
    let mut answer = server_hello(&dtls_preset::pion_server_2021(1), 1);
    assert_eq!(answer[0x5a..0x5f], [0x1d, 0, 0x17, 0, 0x18]);
    assert!(!bench.passes(Direction::Down, &line.udp(Direction::Down, &answer)));
    let other = Line::to("198.51.100.9", 5001);
    assert!(bench.passes(Direction::Up, &other.udp(Direction::Up, &hello)));
    answer[0x5b] = 1;
    assert!(bench.passes(Direction::Down, &other.udp(Direction::Down, &answer)), "one byte differs");
}

#[test]
fn pions_hello_of_2026_falls_silent_after_a_small_delay_and_others_pass() {
    let silent = |hello: &[u8]| {
        let mut bench = Bench::of("tspu-2026", "snowflake-2026");
        let line = Line::to("198.51.100.9", 5000);
        assert!(bench.passes(Direction::Up, &line.udp(Direction::Up, hello)), "the hello itself passes");
        assert!(bench.passes(Direction::Down, &line.udp(Direction::Down, b"x")), "and what follows at once");
        bench.wait(0.6);
        !bench.passes(Direction::Up, &line.udp(Direction::Up, b"x"))
    };
    assert!(silent(&dtls_preset::datagram(&dtls_preset::pion(1))));
    assert!(silent(&dtls_preset::datagram(&dtls_preset::pion(2))));
    assert!(!silent(&dtls_preset::datagram(&dtls_preset::randomised(1))));
    assert!(!silent(&dtls_preset::datagram(&dtls_preset::dtls13(1))));
}

/// A FakeTLS hello of early 2026, with extension 0xfe02 of some length.
fn fake_tls(len: usize) -> Vec<u8> {
    let hello = preset::chrome(1, Some("ya.ru"), false);
    let entry: extension::Entry = (0xfe02, vec![7; len]);
    record(22, 0x0301, &hello.with_extension(entry).emit())
}

#[test]
fn the_rule_of_april_wants_the_extension_and_its_twenty_bytes() {
    let dropped = |hello: &[u8]| {
        let mut bench = Bench::of("tspu-2026", "telegram-tls-april");
        let mut line = Line::new(1000);
        bench.open(&mut line);
        !bench.up(&mut line, hello)
    };
    assert!(dropped(&fake_tls(20)));
    assert!(!dropped(&fake_tls(32)));
    assert!(!dropped(&record(22, 0x0301, &preset::chrome(1, Some("ya.ru"), false).emit())));
}

/// Telegram's hello of June 2026, after its extension was mended: that of Chrome 133.
fn telegram() -> Vec<u8> {
    record(22, 0x0301, &preset::chrome(1, Some("ya.ru"), false).emit())
}

#[test]
fn telegrams_fingerprint_is_told_even_in_segments_of_88_bytes_and_a_browsers_passes() {
    let dropped = |hello: &[u8], size: usize| {
        let mut bench = Bench::of("tspu-2026", "telegram-ja4");
        let mut line = Line::new(1000);
        bench.open(&mut line);
        hello.chunks(size).map(|part| bench.up(&mut line, part)).collect::<Vec<_>>().contains(&false)
    };
    assert!(dropped(&telegram(), 4000));
    assert!(dropped(&telegram(), 88));
    let firefox = record(22, 0x0301, &preset::firefox(1, Some("ya.ru"), false).emit());
    assert!(!dropped(&firefox, 4000), "same name, another fingerprint");
    let mut bench = Bench::of("tspu-2026", "telegram-ja4");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    bench.up(&mut line, &telegram());
    assert_eq!(bench.last_trigger().evidence.fingerprint, "t13d1516h2_8daaf6152771_d8a2da3f94cd");
}

#[test]
fn in_the_variant_of_may_the_first_segment_is_lost_each_time_and_the_second_arrives() {
    let mut bench = Bench::of("tspu-2026:first-segment", "telegram-ja4");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    let hello = telegram();
    let (first, second) = (line.up(&hello[..408]), line.up(&hello[408..]));
    assert!(!bench.passes(Direction::Up, &first));
    assert!(bench.passes(Direction::Up, &second), "the server answers it with SACK");
    bench.wait(1.0);
    assert!(!bench.passes(Direction::Up, &first), "sent again, lost again");
}

#[test]
fn in_the_variant_after_the_handshake_data_is_lost_and_acknowledgements_are_not() {
    let mut bench = Bench::of("tspu-2026:after-handshake", "telegram-ja4");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    assert!(bench.up(&mut line, &telegram()));
    let passed = (0..20).filter(|_| bench.down(&mut line, b"data")).count();
    assert_eq!(passed, 6);
    let ack = line.packet(Direction::Up, okno_wire::packet::flag::ACK, &[]);
    assert!(bench.passes(Direction::Up, &ack));
}

#[test]
fn about_half_of_the_large_hellos_stall_after_their_first_segment() {
    let large = record(22, 0x0301, &preset::chrome(1, Some("a.example"), true).emit());
    assert!(large.len() > 1500);
    let stalled = |to: &str, hello: &[u8], size: usize| {
        (0..400_u16)
            .filter(|n| {
                let mut bench = Bench::of("tspu-2026", "first-segment-stall");
                let mut line = Line::to(to, 8443).with_port(1000 + n);
                bench.open(&mut line);
                let mut parts = hello.chunks(size).map(|part| bench.up(&mut line, part));
                assert_eq!(parts.next(), Some(true), "the first segment arrives");
                let rest: Vec<bool> = parts.collect();
                rest.contains(&false)
            })
            .count()
    };
    let half = stalled("198.51.100.9", &large, 1448);
    assert!((160..240).contains(&half), "{half} of 400");
    assert_eq!(stalled("192.0.2.44", &large, 1448), 0, "another network");
    let short = record(22, 0x0301, &preset::curl(1, Some("a.example")).emit());
    assert_eq!(stalled("198.51.100.9", &short, 1448), 0, "a hello of one segment");
}

#[test]
fn the_lists_of_fingerprints_hold_what_wires_presets_give() {
    use okno_wire::tls::{ClientHello, Ja4Transport, ja4};
    let print = |message: &[u8], transport| ja4(&ClientHello::parse(message).unwrap(), transport);
    let has = |list: &str, print: &str| {
        let list = crate::profile::builtin_lists().find(list).unwrap();
        let crate::lists::List::Fingerprints(prints) = list.as_ref() else { return false };
        prints.iter().any(|known| **known == *print)
    };
    for post_quantum in [false, true] {
        let chrome = print(&preset::chrome(1, Some("a.example"), post_quantum).emit(), Ja4Transport::Tcp);
        assert!(has("ja4.browser", &chrome), "{chrome}");
    }
    let mended = print(&preset::chrome(1, Some("a.example"), false).emit(), Ja4Transport::Tcp);
    assert!(has("ja4.telegram_2026", &mended), "{mended}");
    let firefox = print(&preset::firefox(1, Some("a.example"), false).emit(), Ja4Transport::Tcp);
    assert!(!has("ja4.browser", &firefox), "{firefox}");
    let body = dtls_preset::pion(1).emit_body();
    let pion = ja4(&okno_wire::dtls::client_hello(&body).unwrap(), Ja4Transport::Dtls);
    assert!(has("ja4.pion", &pion), "{pion}");
}
