//! The four ways with a name, the throttler of 2021, ECH, the counter of connections, the budget, admission.

use okno_wire::PacketView;
use okno_wire::packet::flag;
use okno_wire::tls::{extension, preset, record};

use super::bench::{Bench, DATA, Line, hello};
use crate::middlebox::{ActKind, Direction, Verdict};

const BLOCKED: &str = "www.facebook.com";

#[test]
fn sni_1_makes_resets_of_the_servers_own_packets_and_lets_the_clients_pass() {
    let mut bench = Bench::of("tspu-2022", "sni-1");
    let mut line = Line::new(1000);
    assert!(bench.hello(&mut line, BLOCKED), "the hello goes on");
    let answer = line.down(&[7; 800]);
    let Verdict::Rewrite(packet) = bench.send(Direction::Down, &answer) else { panic!("not rewritten") };
    let (was, is) = (PacketView::parse(&answer).unwrap(), PacketView::parse(&packet).unwrap());
    let (was_tcp, is_tcp) = (was.tcp().unwrap(), is.tcp().unwrap());
    assert_eq!(is_tcp.flags(), flag::RST | flag::ACK);
    assert_eq!((is_tcp.seq(), is_tcp.ack(), is.ttl), (was_tcp.seq(), was_tcp.ack(), was.ttl));
    assert!(is.payload().is_empty() && is.transport_checksum_holds());
    assert!(bench.up(&mut line, b"still here"), "the client's packets continue");
    let act = bench.last_trigger();
    assert_eq!((act.rule.as_str(), act.mechanism.as_str()), ("sni-1", "tls.reset.sni"));
    assert_eq!((act.evidence.name.as_str(), act.evidence.matched.as_str()), (BLOCKED, ".facebook.com"));
}

#[test]
fn sni_1_passes_other_names_other_ports_and_flows_opened_from_outside() {
    for (name, port, outside) in
        [("www.facebook.example", 443, false), (BLOCKED, 8443, false), (BLOCKED, 443, true)]
    {
        let mut bench = Bench::of("tspu-2022", "sni-1");
        let mut line = Line::to("192.0.2.44", port);
        if outside {
            line = Line { ports: (443, 50_000), ..line }.opened_outside();
        }
        assert!(bench.hello(&mut line, name));
        assert!(bench.down(&mut line, &[7; 800]), "{name} {port} {outside}");
        assert_eq!(bench.triggered(), 0);
    }
}

#[test]
fn the_residual_of_sni_1_lasts_75_s_on_the_four_tuple_and_no_other() {
    for (after, port, blocked) in [(74.9, 1000, true), (75.1, 1000, false), (1.0, 1001, false)] {
        let mut bench = Bench::of("tspu-2022", "sni-1");
        let mut line = Line::new(1000);
        assert!(bench.hello(&mut line, BLOCKED));
        bench.wait(after);
        let mut again = Line::new(port);
        let syn = again.packet(Direction::Up, flag::SYN, &[]);
        assert!(bench.passes(Direction::Up, &syn));
        let answer = again.packet(Direction::Down, flag::SYN | flag::ACK, &[]);
        let rewritten = matches!(bench.send(Direction::Down, &answer), Verdict::Rewrite(_));
        assert_eq!(rewritten, blocked, "after {after} s from port {port}");
    }
}

#[test]
fn sni_2_lets_five_to_eight_packets_pass_and_then_none_for_420_s() {
    let mut seen = std::collections::BTreeSet::new();
    for port in 1000..1060 {
        let mut bench = Bench::of("tspu-2022", "sni-2");
        let mut line = Line::new(port);
        assert!(bench.hello(&mut line, "nordvpn.com"));
        let mut passed = 0;
        while bench.down(&mut line, b"x") {
            passed += 1;
            assert!(passed <= 8);
        }
        seen.insert(passed);
        assert!(!bench.up(&mut line, b"x") && !bench.down(&mut line, b"x"), "both ways");
        bench.wait(419.0);
        let mut again = Line::new(port);
        // A residual inherits the silence, not the few packets: it lasts.
        let syn = again.packet(Direction::Up, flag::SYN, &[]);
        let _ = bench.send(Direction::Up, &syn);
        bench.wait(1.2);
        assert!(bench.passes(Direction::Up, &Line::new(port + 1000).up(b"x")));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8]);
}

#[test]
fn sni_3_holds_a_flow_to_600_to_700_bytes_a_second() {
    let mut bench = Bench::of("tspu-2022", "sni-3");
    let mut line = Line::new(1000);
    assert!(bench.hello(&mut line, "twitter.com"));
    let mut bytes = 0;
    for _ in 0..6000 {
        bench.wait(0.1);
        let packet = line.down(&[0; 100]);
        if bench.passes(Direction::Down, &packet) {
            bytes += packet.len();
        }
    }
    let rate = bytes as f64 / 600.0;
    assert!((590.0..710.0).contains(&rate), "{rate} bytes a second");
    assert!(bench.effects.acts.iter().any(|act| act.kind == ActKind::Policed));
}

#[test]
fn sni_4_drops_the_hello_itself_and_everything_for_40_s() {
    for (after, dropped) in [(39.9, true), (40.1, false)] {
        let mut bench = Bench::of("tspu-2022", "sni-4");
        let mut line = Line::new(1000);
        assert!(!bench.hello(&mut line, "rutracker.org"), "the hello never arrives");
        assert!(!bench.down(&mut line, b"x"), "and nothing returns");
        bench.wait(after);
        assert_eq!(!bench.up(&mut line, b"x"), dropped, "after {after} s");
    }
    let mut bench = Bench::of("tspu-2022", "sni-4");
    assert!(bench.hello(&mut Line::new(1000), "rutracker.example"));
}

#[test]
fn the_bare_substring_of_2021_takes_reddit_and_the_narrowed_rule_does_not() {
    let hit = |rule: &str, name: &str| {
        let mut bench = Bench::of("tspu-2021", rule);
        assert!(bench.hello(&mut Line::new(1000), name), "policing passes a first packet");
        bench.triggered() == 1
    };
    for (name, substring, narrow, exact) in [
        ("reddit.com", true, false, false),
        ("t.co", true, true, true),
        ("nottwitter.com", true, true, false),
        ("twitter.com", true, true, true),
        ("abs.twimg.com", true, true, true),
        ("example.org", false, false, false),
    ] {
        let hits = ["twitter-substring", "twitter-narrow", "twitter-exact"].map(|rule| hit(rule, name));
        assert_eq!(hits, [substring, narrow, exact], "{name}");
    }
}

#[test]
fn the_throttler_reads_a_hello_of_either_side_but_only_in_flows_opened_from_inside() {
    let mut bench = Bench::of("tspu-2021", "twitter-exact");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    assert!(bench.down(&mut line, &hello("twitter.com")));
    assert_eq!(bench.triggered(), 1);
    let mut bench = Bench::of("tspu-2021", "twitter-exact");
    let mut line = Line { ports: (443, 50_000), ..Line::new(0) }.opened_outside();
    bench.open(&mut line);
    assert!(bench.up(&mut line, &hello("twitter.com")) && bench.down(&mut line, &hello("twitter.com")));
    assert_eq!(bench.triggered(), 0);
}

#[test]
fn a_first_packet_of_101_unknown_bytes_ends_inspection_and_one_of_100_does_not() {
    for (len, triggers) in [(100, 1), (101, 0)] {
        let mut bench = Bench::of("tspu-2021", "twitter-exact");
        let mut line = Line::new(1000);
        bench.open(&mut line);
        bench.up(&mut line, &vec![0xf7; len]);
        bench.up(&mut line, &hello("twitter.com"));
        assert_eq!(bench.triggered(), triggers, "{len} bytes");
    }
}

#[test]
fn after_a_known_first_packet_the_budget_of_packets_runs_out() {
    for (between, triggers) in [(13, 1), (15, 0)] {
        let mut bench = Bench::with("tspu-2021", &["twitter-exact"], &["twitter-exact.budget_packets=14"]);
        let mut line = Line::new(1000);
        bench.open(&mut line);
        bench.up(&mut line, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n");
        for _ in 0..between {
            bench.up(&mut line, b"x");
        }
        bench.up(&mut line, &hello("twitter.com"));
        assert_eq!(bench.triggered(), triggers, "{between} packets");
    }
}

#[test]
fn each_way_of_a_throttled_flow_has_its_own_bucket_and_ten_idle_minutes_clear_it() {
    let mut bench = Bench::of("tspu-2021", "twitter-exact");
    let mut line = Line::new(1000);
    assert!(bench.hello(&mut line, "twitter.com"));
    let mut burst = 0;
    while bench.down(&mut line, &[0; 1400]) {
        burst += 1440;
        assert!(burst < 40_000);
    }
    assert!((14_000..=17_000).contains(&burst), "{burst} bytes at once");
    assert!(bench.up(&mut line, &[0; 1400]), "the other way is full still");
    let mut bytes = 0;
    for _ in 0..2000 {
        bench.wait(0.05);
        let packet = line.down(&[0; 1400]);
        bytes += if bench.passes(Direction::Down, &packet) { packet.len() } else { 0 };
    }
    let kbps = bytes as f64 * 8.0 / 100.0 / 1000.0;
    assert!((125.0..155.0).contains(&kbps), "{kbps} kbit/s");
    // FIN and RST do not clear it.
    let rst = line.packet(Direction::Up, flag::RST, &[]);
    bench.send(Direction::Up, &rst);
    assert!((0..20).any(|_| !bench.down(&mut line, &[0; 1400])));
    bench.wait(601.0);
    assert!((0..30).all(|_| bench.down(&mut line, &[0; 1400])), "idle for ten minutes");
}

#[test]
fn capacity_loses_packets_evenly_whatever_their_size() {
    let mut bench =
        Bench::with("tspu-2022", &["capacity"], &["capacity.protocols=tls", "capacity.pass_share=0.05"]);
    let mut line = Line::new(1000);
    bench.hello(&mut line, "example.org");
    let passed = (0..4000).filter(|n| bench.down(&mut line, &vec![0; 1 + n % 1400])).count();
    assert!((140..260).contains(&passed), "{passed} of 4000");
}

/// An outer hello with an ECH extension, or without.
fn ech(name: &str, with: bool) -> Vec<u8> {
    let hello = preset::curl(1, Some(name));
    let hello = if with { hello.with_extension(extension::ech_outer(7, &[1; 32], &[2; 160])) } else { hello };
    record(22, 0x0301, &hello.emit())
}

#[test]
fn of_four_hellos_only_the_one_with_both_marks_of_ech_is_dropped_and_only_towards_cloudflare() {
    for (name, extension, to, dropped) in [
        ("cloudflare-ech.com", true, "104.16.1.1", true),
        ("cloudflare-ech.com", false, "104.16.1.1", false),
        ("example.org", true, "104.16.1.1", false),
        ("example.org", false, "104.16.1.1", false),
        ("cloudflare-ech.com", true, "192.0.2.44", false),
        ("cloudflare-ech.com", true, "2606:4700::1", true),
    ] {
        let mut bench = Bench::of("tspu-2024", "ech");
        let mut line = Line::to(to, 443);
        bench.open(&mut line);
        assert_eq!(!bench.up(&mut line, &ech(name, extension)), dropped, "{name} {extension} {to}");
    }
}

#[test]
fn the_budget_freezes_after_25_packets_of_both_ways_and_a_new_connection_has_its_own() {
    let mut bench = Bench::of("tspu-2025", "l4-25");
    for port in [1000, 1001] {
        let mut line = Line::to("198.51.100.9", 443).with_port(port);
        bench.open(&mut line);
        for packet in 4..=25 {
            assert!(bench.down(&mut line, &[0; 200]), "packet {packet}");
        }
        assert!(!bench.down(&mut line, &[0; 200]), "packet 26");
        bench.wait(400.0);
        assert!(!bench.up(&mut line, &[0; 200]), "waiting does not refill");
    }
    assert!(bench.injected().is_empty(), "no RST");
    assert_eq!(bench.last_trigger().evidence.detail, "packet 26 of 25");
}

#[test]
fn the_budget_spares_other_networks_ssh_and_exempt_names() {
    let frozen = |to: &str, port: u16, first: &[u8]| {
        let mut bench = Bench::of("tspu-2025", "l4-25");
        let mut line = Line::to(to, port);
        bench.open(&mut line);
        bench.up(&mut line, first);
        let server = if first.starts_with(b"SSH") { &b"SSH-2.0-OpenSSH_9.6\r\n"[..] } else { &[0; 100] };
        bench.down(&mut line, server);
        (0..60).any(|_| !bench.down(&mut line, &[0; 100]))
    };
    assert!(frozen("198.51.100.9", 443, &hello("example.org")));
    assert!(!frozen("203.0.113.9", 443, &hello("example.org")));
    assert!(!frozen("198.51.100.9", 443, &hello("www.ozon.ru")));
    assert!(!frozen("198.51.100.9", 2222, b"SSH-2.0-OpenSSH_9.6\r\n"));
    assert!(frozen("198.51.100.9", 2222, &[0xf7; 40]), "not the port but the protocol is exempt");
}

#[test]
fn the_alternative_budget_counts_16_384_bytes_towards_the_subscriber() {
    let mut bench = Bench::of("tspu-2025:bytes-16k", "l4-25");
    let mut line = Line::to("198.51.100.9", 443);
    bench.open(&mut line);
    for _ in 0..64 {
        assert!(bench.up(&mut line, &[0; 1000]), "bytes of the subscriber do not count");
    }
    for _ in 0..16 {
        assert!(bench.down(&mut line, &[0; 1024]));
    }
    assert!(!bench.down(&mut line, &[0; 1]), "byte 16,385");
}

#[test]
fn in_the_providers_account_the_freeze_comes_with_forged_resets() {
    let mut bench = Bench::of("tspu-2025:injecting", "l4-25");
    let mut line = Line::to("198.51.100.9", 443);
    bench.open(&mut line);
    assert_eq!((0..40).filter(|_| bench.down(&mut line, &[0; 200])).count(), 22);
    assert_eq!(bench.injected().len(), 2, "once, to both ends");
}

#[test]
fn ten_minutes_of_silence_to_the_address_follow_udp_where_the_early_form_is_chosen() {
    let mut bench = Bench::with("tspu-2025", &["l4-25"], &["l4-25.udp_ban_s=june-2025"]);
    let udp = |port| Line::to("198.51.100.9", 443).with_port(port).udp(Direction::Up, &[1; 64]);
    while bench.passes(Direction::Up, &udp(1)) {}
    assert!(!bench.wait(599.0).passes(Direction::Up, &udp(2)));
    assert!(bench.wait(1.0).passes(Direction::Up, &udp(3)));
}

#[test]
fn udp_has_the_same_budget() {
    let mut bench = Bench::of("tspu-2025", "l4-25");
    let line = Line::to("198.51.100.9", 4000);
    let datagram = line.udp(Direction::Up, &[7; 60]);
    assert_eq!((0..40).filter(|_| bench.passes(Direction::Up, &datagram)).count(), 25);
}

/// Opens a line from a port and sends Chrome's hello; whether it passed.
fn chrome(bench: &mut Bench, to: &str, port: u16, name: Option<&str>) -> bool {
    let mut line = Line::to(to, 443).with_port(port);
    bench.open(&mut line);
    let hello = record(22, 0x0301, &preset::chrome(u64::from(port), name, false).emit());
    bench.up(&mut line, &hello)
}

#[test]
fn the_first_counter_freezes_the_thirteenth_connection_for_a_minute() {
    let mut bench = Bench::of("tspu-2025", "siberian-1");
    for n in 0..12 {
        assert!(chrome(&mut bench, "192.0.2.44", 1000 + n, Some("a.example")), "{n}");
    }
    assert!(!chrome(&mut bench, "192.0.2.44", 1100, Some("a.example")));
    assert!(chrome(&mut bench, "192.0.2.44", 1101, None), "an empty name never");
    assert!(chrome(&mut bench, "192.0.2.45", 1102, Some("a.example")), "another server");
    bench.wait(59.9);
    assert!(!chrome(&mut bench, "192.0.2.44", 1103, Some("a.example")));
    bench.wait(0.2);
    assert!(chrome(&mut bench, "192.0.2.44", 1104, Some("a.example")));
}

#[test]
fn the_second_counter_wants_four_conditions_at_once_and_counts_by_name() {
    let suspicious = "198.51.100.9";
    let mut bench = Bench::of("tspu-2026", "siberian-2");
    for n in 0..3 {
        assert!(chrome(&mut bench, suspicious, 1000 + n, Some("alpha.example")), "{n}");
        bench.wait(0.3);
    }
    assert!(!chrome(&mut bench, suspicious, 1003, Some("alpha.example")), "more than three");
    assert!(chrome(&mut bench, suspicious, 1004, Some("beta.example")), "another name begins anew");
    bench.wait(119.0);
    assert!(!chrome(&mut bench, suspicious, 1005, Some("alpha.example")));
    bench.wait(1.5);
    assert!(chrome(&mut bench, suspicious, 1006, Some("alpha.example")));
}

#[test]
fn each_condition_of_the_second_counter_missing_lets_all_pass() {
    let all_pass = |to: &str, gap: f64, name: Option<&str>, curl: bool| {
        let mut bench = Bench::of("tspu-2026", "siberian-2");
        (0..12).all(|n| {
            bench.wait(gap);
            if curl {
                let mut line = Line::to(to, 443).with_port(2000 + n);
                return bench.hello(&mut line, name.unwrap_or_default());
            }
            chrome(&mut bench, to, 1000 + n, name)
        })
    };
    assert!(!all_pass("198.51.100.9", 0.39, Some("a.example"), false), "all four");
    assert!(all_pass("192.0.2.44", 0.1, Some("a.example"), false), "another subnet");
    assert!(all_pass("198.51.100.9", 0.41, Some("a.example"), false), "too far apart");
    assert!(all_pass("198.51.100.9", 0.1, None, false), "no name");
    assert!(all_pass("198.51.100.9", 0.1, Some("a.example"), true), "another fingerprint");
}

#[test]
fn admission_by_address_delivers_the_handshake_and_not_the_hello() {
    let mut bench = Bench::of("ru-mobile-whitelist-2025:cidr", "whitelist");
    let mut foreign = Line::to("192.0.2.44", 443);
    assert!(!bench.hello(&mut foreign, "ya.ru"), "no name helps at an unlisted address");
    assert!(!bench.down(&mut foreign, b"x"));
    let mut listed = Line::to("77.88.55.242", 443).with_port(2);
    assert!(bench.hello(&mut listed, "any.example"), "any name passes at a listed one");
    assert!(bench.down(&mut listed, b"x") && bench.up(&mut listed, b"x"));
    assert!(bench.passes(Direction::Up, &Line::to("8.8.8.8", 53).udp(Direction::Up, b"query")));
    assert!(!bench.passes(Direction::Up, &Line::to("1.1.1.1", 53).udp(Direction::Up, b"query")));
    let ping = |to: &str| {
        let ip = okno_wire::build::IpRepr::new(super::bench::ip("10.0.0.7"), super::bench::ip(to));
        okno_wire::build::icmp(&ip, 8, 0, 1, b"ping")
    };
    assert!(!bench.passes(Direction::Up, &ping("8.8.8.8")), "ICMP is dead");
    assert!(!bench.passes(Direction::Up, &ping("77.88.55.242")), "ICMP was dead on Beeline");
    let mut other =
        Bench::with("ru-mobile-whitelist-2025", &["whitelist"], &["whitelist.icmp_passes=any-protocol"]);
    assert!(other.passes(Direction::Up, &ping("77.88.55.242")));
}

#[test]
fn what_is_not_listed_is_refused_by_a_trickle_where_the_variant_says_so() {
    let mut bench = Bench::of("ru-mobile-whitelist-2025:trickle", "whitelist");
    let mut line = Line::to("192.0.2.44", 443);
    bench.open(&mut line);
    // 14 kbit/s, 3000 bytes at once: of 20 packets of 1040 bytes over ten seconds some 19 pass.
    let passed = (0..40).filter(|_| bench.wait(0.25).down(&mut line, &[0; 1000])).count();
    assert!((18..=20).contains(&passed), "{passed} of 40");
    let mut listed = Line::to("77.88.55.242", 443);
    bench.open(&mut listed);
    assert!((0..40).all(|_| bench.down(&mut listed, &[0; 1000])));
}

#[test]
fn admission_by_name_reads_the_name_at_any_address_and_both_wants_both() {
    let admitted = |variant: &str, to: &str, name: &str| {
        let profile = format!("ru-mobile-whitelist-2025:{variant}");
        let mut bench = Bench::of(&profile, "whitelist");
        let mut line = Line::to(to, 443);
        bench.hello(&mut line, name) && bench.down(&mut line, b"x")
    };
    for (variant, to, name, admits) in [
        ("sni", "192.0.2.44", "ya.ru", true),
        ("sni", "192.0.2.44", "example.org", false),
        ("sni", "77.88.55.242", "example.org", false),
        ("both", "77.88.55.242", "ya.ru", true),
        ("both", "77.88.55.242", "example.org", false),
        ("both", "192.0.2.44", "ya.ru", false),
    ] {
        assert_eq!(admitted(variant, to, name), admits, "{variant} {to} {name}");
    }
    let mut bench = Bench::of("ru-mobile-whitelist-2025:sni", "whitelist");
    let mut line = Line::to("192.0.2.44", 22);
    bench.open(&mut line);
    assert!(!bench.up(&mut line, b"SSH-2.0-x\r\n"), "what has no name is not admitted");
    let mut bench = Bench::of("ru-mobile-whitelist-2025:reset", "whitelist");
    assert!(!bench.hello(&mut Line::to("192.0.2.44", 443), "ya.ru"));
    assert_eq!(bench.injected().len(), 1, "a reset instead of silence");
}

#[test]
fn a_deed_bears_the_deepest_node_that_holds_for_its_protocol() {
    let mechanism = |profile: &str, rule: &str, act: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::of(profile, rule);
        act(&mut bench);
        bench.last_trigger().mechanism.as_str()
    };
    let tls = |name: &'static str| {
        move |bench: &mut Bench| {
            bench.hello(&mut Line::new(1000), name);
        }
    };
    let quic = |bench: &mut Bench| {
        let initial = super::quic::initial(okno_wire::quic::Version::V1, "a.googlevideo.com");
        bench.send(Direction::Up, &Line::to("192.0.2.44", 443).udp(Direction::Up, &initial));
    };
    let wireguard = |bench: &mut Bench| {
        for packet in super::bench::wireguard().iter().cycle().take(12) {
            bench.send(Direction::Up, &Line::to("198.51.100.9", 51820).udp(Direction::Up, packet));
        }
    };
    let request = |bench: &mut Bench| {
        let mut line = Line::to("192.0.2.44", 80);
        bench.open(&mut line);
        bench.up(&mut line, b"GET / HTTP/1.1\r\nHost: rutracker.org\r\n\r\n");
    };
    let video = "a.googlevideo.com";
    assert_eq!(mechanism("tspu-2026", "googlevideo", &tls(video)), "tls.timeout.sni");
    assert_eq!(mechanism("tspu-2026", "googlevideo", &quic), "quic.timeout.sni");
    assert_eq!(mechanism("tspu-2024", "googlevideo-slow", &quic), "quic.throttle.sni");
    assert_eq!(mechanism("tspu-2024", "vpn-2023", &wireguard), "vpn.wireguard");
    assert_eq!(mechanism("ru-mobile-whitelist-2025:sni", "whitelist", &tls("a.example")), "whitelist.sni");
    assert_eq!(mechanism("ru-mobile-blackout:trickle", "blackout", &tls("a.example")), "blackout.throttle");
    assert_eq!(mechanism("ru-legacy-isp:redirect", "blockpage", &request), "http.redirect");
}

#[test]
fn a_retransmitted_hello_neither_escapes_nor_triggers_twice() {
    let mut bench = Bench::of("tspu-2022", "sni-4");
    let mut line = Line::new(1000);
    bench.open(&mut line);
    let packet = line.packet(Direction::Up, DATA, &hello("rutracker.org"));
    for _ in 0..5 {
        bench.wait(1.0);
        assert!(!bench.passes(Direction::Up, &packet));
    }
    assert_eq!(bench.triggered(), 1);
}
