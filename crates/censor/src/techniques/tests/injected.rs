//! Block pages and forged segments.

use okno_wire::PacketView;
use okno_wire::packet::flag;
use okno_wire::tls::{extension, preset, record};

use super::bench::{Bench, DATA, Line, hello};
use crate::middlebox::{Direction, Injection};

fn request(host: &str) -> Vec<u8> {
    format!("GET /index.html HTTP/1.1\r\nHost: {host}\r\nUser-Agent: x\r\n\r\n").into_bytes()
}

/// Sends a request on a new line to port 80; whether it passed, the line, what was injected.
fn ask(bench: &mut Bench, host: &str, port: u16) -> (bool, Line, Vec<Injection>) {
    let mut line = Line::to("192.0.2.44", port);
    bench.open(&mut line);
    let passed = bench.up(&mut line, &request(host));
    let injected = bench.injected();
    (passed, line, injected)
}

#[test]
fn the_first_request_gets_a_page_a_redirect_a_reset_or_silence() {
    let body = |profile: &str| {
        let mut bench = Bench::of(profile, "blockpage");
        let (passed, _, injected) = ask(&mut bench, "rutracker.org", 80);
        assert!(!passed);
        let down = injected.iter().find(|injection| injection.direction == Direction::Down)?;
        let view = PacketView::parse(&down.packet).unwrap();
        Some((view.tcp().unwrap().flags(), String::from_utf8_lossy(view.payload()).into_owned()))
    };
    let (flags, page) = body("ru-legacy-isp").expect("a page");
    assert!(
        flags & flag::FIN != 0 && page.starts_with("HTTP/1.1 200") && page.contains("blocklist.rkn.gov.ru")
    );
    let (_, redirect) = body("ru-legacy-isp:redirect").expect("a redirect");
    assert!(redirect.starts_with("HTTP/1.1 302") && redirect.contains("Location: http://warning.rt.ru/"));
    assert_eq!(body("ru-legacy-isp:datacentre"), Some((flag::RST | flag::ACK, String::new())));
    assert_eq!(body("ru-legacy-isp:datacentre-timeout"), None);
}

#[test]
fn a_second_request_another_port_and_another_host_pass() {
    let mut bench = Bench::of("ru-legacy-isp", "blockpage");
    let (passed, mut line, injected) = ask(&mut bench, "example.org", 80);
    assert!(passed && injected.is_empty());
    assert!(bench.up(&mut line, &request("rutracker.org")), "a second request is never read");
    assert!(ask(&mut Bench::of("ru-legacy-isp", "blockpage"), "rutracker.org", 7).0, "the echo port");
}

#[test]
fn resets_come_in_threes_after_the_request_and_carry_each_sides_next_number() {
    let mut bench = Bench::of("china-gfw", "http");
    let (passed, line, injected) = ask(&mut bench, "www.google.com", 80);
    assert!(passed, "the injector stands beside the path");
    assert_eq!(injected.len(), 6);
    for (way, next, ack) in
        [(Direction::Down, line.seq.1, line.seq.0), (Direction::Up, line.seq.0, line.seq.1)]
    {
        let forged: Vec<_> = injected.iter().filter(|injection| injection.direction == way).collect();
        for (copy, injection) in forged.iter().enumerate() {
            let view = PacketView::parse(&injection.packet).unwrap();
            let tcp = view.tcp().unwrap();
            assert_eq!(tcp.flags(), flag::RST | flag::ACK);
            assert_eq!(tcp.seq(), next + copy as u32 * 1460, "{way:?} copy {copy}");
            assert_eq!(tcp.ack(), ack, "{way:?}");
            assert!(view.transport_checksum_holds());
        }
    }
    assert_eq!(ask(&mut bench, "example.net", 8080).2.len(), 0, "another port is another triple");
}

#[test]
fn chinas_http_residual_meets_any_request_of_the_triple_for_90_s() {
    for (after, met) in [(89.0, true), (91.0, false)] {
        let mut bench = Bench::of("china-gfw", "http");
        ask(&mut bench, "www.google.com", 80);
        bench.wait(after);
        let mut again = Line::to("192.0.2.44", 80).with_port(5555);
        bench.open(&mut again);
        bench.up(&mut again, &request("harmless.example"));
        assert_eq!(!bench.injected().is_empty(), met, "after {after} s");
    }
}

#[test]
fn henans_wall_answers_with_ten_bytes_ip_id_1_and_ttl_58() {
    let mut bench = Bench::of("china-gfw", "henan");
    let mut line = Line::new(1000);
    assert!(bench.hello(&mut line, "www.nytimes.com"));
    let injected = bench.injected();
    assert_eq!(injected.len(), 1);
    let view = PacketView::parse(&injected[0].packet).unwrap();
    let tcp = view.tcp().unwrap();
    assert_eq!((view.ttl, view.ip_id, view.payload().len()), (58, 1, 10));
    assert_eq!((tcp.flags(), tcp.seq()), (flag::RST | flag::ACK, line.seq.1));
}

#[test]
fn uzbekistans_fin_has_the_right_number_a_payload_and_an_id_at_random() {
    let mut ids = std::collections::BTreeSet::new();
    for port in 1000..1010 {
        let mut bench = Bench::of("uzbekistan", "fin");
        let mut line = Line::new(port);
        assert!(bench.hello(&mut line, "www.tiktok.com"));
        let injected = bench.injected();
        let view = PacketView::parse(&injected[0].packet).unwrap();
        let tcp = view.tcp().unwrap();
        assert!(tcp.has(flag::FIN | flag::ACK) && !view.payload().is_empty());
        assert_eq!((tcp.seq(), tcp.ack()), (line.seq.1, line.seq.0));
        ids.insert(view.ip_id);
    }
    assert!(ids.len() > 5, "{ids:?}");
}

#[test]
fn iran_and_kazakhstan_silence_names_for_180_and_120_s_by_four_tuple() {
    for (profile, name, seconds) in [("iran", "www.facebook.com", 180.0), ("kazakhstan", "meduza.io", 120.0)]
    {
        for (after, silent) in [(seconds - 1.0, true), (seconds + 1.0, false)] {
            let mut bench = Bench::of(profile, "names");
            let mut line = Line::new(1000);
            assert!(!bench.hello(&mut line, name));
            bench.wait(after);
            assert_eq!(!bench.up(&mut line, b"x"), silent, "{profile} after {after} s");
            assert!(bench.passes(Direction::Up, &Line::new(1001).packet(Direction::Up, DATA, b"x")));
        }
        let mut bench = Bench::of(profile, "hosts");
        assert!(!ask(&mut bench, name, 80).0);
    }
}

fn esni() -> Vec<u8> {
    let entry: extension::Entry = (0xffce, vec![7; 200]);
    record(22, 0x0301, &preset::curl(1, None).with_extension(entry).emit())
}

#[test]
fn esni_is_reset_in_three_russian_networks_and_dropped_in_china() {
    let mut bench = Bench::of("tspu-2022", "esni");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    assert!(bench.up(&mut line, &esni()));
    assert_eq!(bench.injected().len(), 2, "both ends");
    let profile = crate::profile::builtin("tspu-2022").unwrap();
    assert!(
        profile.on_network(28890).rule("esni").is_some() && profile.on_network(12389).rule("esni").is_none()
    );
    for (after, silent) in [(119.0, true), (181.0, false)] {
        let mut bench = Bench::of("china-gfw", "esni");
        let mut line = Line::new(1000);
        bench.open(&mut line);
        assert!(!bench.up(&mut line, &esni()));
        bench.wait(after);
        let syn = Line::new(2000).packet(Direction::Up, flag::SYN, &[]);
        assert_eq!(!bench.passes(Direction::Up, &syn), silent, "another source port after {after} s");
    }
    let mut bench = Bench::of("china-gfw", "esni");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    assert!(bench.up(&mut line, &hello("example.org")));
}
