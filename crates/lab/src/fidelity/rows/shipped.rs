//! Rows on whole profiles with the lists as shipped: days, networks, variants.

use okno_censor::Direction;
use okno_wire::dns::query;
use okno_wire::tls::code::ext;
use okno_wire::tls::preset::{self, random_bytes};

use super::check::{rate, through};
use super::{Answer, Rows, Said, source};
use crate::evasion::bait_datagram;
use crate::fidelity::Observed;
use crate::fidelity::stage::{Stage, Tcp, Tried, Udp, exchange, hello, payload_of, ping, say};
use crate::fidelity::trial::Trial;

pub(super) fn rows(rows: &mut Rows) {
    operators_2024(rows);
    esni_2020(rows);
    tor_and_waves(rows);
    doh(rows);
    messengers(rows);
    variants(rows);
    nodes_2026(rows);
    yota_2022(rows);
}

/// A box of a profile on a network.
fn on(profile: &str, asn: u32) -> Result<Stage, String> {
    Trial::new(profile)?.on_network(asn).stage()
}

/// Five large packets that look like nothing, each answered; whether the flow lives on.
fn noise(stage: &mut Stage, ip: &str, port: u16) -> Observed {
    let mut tcp = Tcp::new(40_000).to(ip).port(port);
    tcp.open(stage);
    let mut all = true;
    for index in 0..5 {
        all &= tcp.up(stage, &random_bytes(index, "noise", 600)).passed();
        all &= tcp.down(stage, &random_bytes(index, "answer", 900)).passed();
    }
    Observed::new(all, format!("to {ip}:{port}"))
}

fn operators_2024(rows: &mut Rows) {
    let said =
        Said { source: source::N4P_363, tag: 'F', confidence: "medium", profile: "tspu-2024@2024-06-01" };
    const DIGITALOCEAN: &str = "134.209.10.20";
    const VULTR: &str = "45.76.10.20";
    let cases: [(&str, &str, u32, &str, u16, bool); 8] = [
        ("mts_do", "MTS, DigitalOcean, port 443", 8_359, DIGITALOCEAN, 443, false),
        ("mts_vultr", "MTS, Vultr, port 443", 8_359, VULTR, 443, true),
        ("mts_5555", "MTS, DigitalOcean, port 5555", 8_359, DIGITALOCEAN, 5_555, true),
        ("megafon_vultr", "MegaFon, Vultr", 31_133, VULTR, 443, false),
        ("megafon_do", "MegaFon, DigitalOcean", 31_133, DIGITALOCEAN, 443, true),
        ("beeline_vultr", "Beeline, Vultr", 3_216, VULTR, 443, false),
        ("beeline_do", "Beeline, DigitalOcean", 3_216, DIGITALOCEAN, 443, true),
        ("tele2", "Tele2, Vultr", 15_378, VULTR, 443, true),
    ];
    for (id, words, asn, ip, port, passes) in cases {
        let what = format!("a Shadowsocks-like flow: {words}, June 2024");
        let run = move || Ok(noise(&mut on("tspu-2024@2024-06-01", asn)?, ip, port));
        let id = format!("M15.{id}");
        if passes { rows.passes(said, &id, &what, run) } else { rows.fails(said, &id, &what, run) }
    }
}

fn esni_2020(rows: &mut Rows) {
    let said = Said { source: source::FOCI25, tag: 'K', confidence: "low", profile: "tspu-2022@2022-06-01" };
    let tried = |asn: u32| -> Answer {
        let mut stage = on("tspu-2022@2022-06-01", asn)?;
        let flight = preset::curl(1, None).with_extension((ext::ESNI, random_bytes(1, "esni", 366)));
        let tried = exchange(&mut stage, &mut Tcp::new(40_000).to("192.0.2.80"), &flight.emit_record());
        Ok(Observed::new(
            tried == Tried::Through,
            format!("{tried:?}, {} resets", stage.resets(Direction::Down).len()),
        ))
    };
    for asn in [28_890, 52_207, 41_754] {
        rows.fails(
            said,
            &format!("M11.esni.{asn}"),
            &format!("a hello with ESNI on AS{asn}, 2022"),
            move || tried(asn),
        );
    }
    rows.passes(said, "M11.esni.elsewhere", "a hello with ESNI on another network, 2022", move || {
        tried(12_389)
    });
}

/// An Initial to vk.com's range, which the rule on versions exempts, on a network in March 2022.
fn exempt_initial(asn: u32, name: &str) -> Answer {
    let mut stage = on("tspu-2022@2022-03-20", asn)?;
    let udp = Udp::new(50_000).to("87.240.190.1");
    let version = okno_wire::quic::Version::V1;
    let first = udp.up(&mut stage, &crate::evasion::initial_for(version, Some(name), 1_200));
    let later = udp.up(&mut stage, &[0x40; 60]);
    Ok(Observed::new(first.passed() && later.passed(), format!("{name} on AS{asn}: {first:?}, {later:?}")))
}

fn yota_2022(rows: &mut Rows) {
    let said =
        Said { source: source::N4P_108, tag: 'F', confidence: "medium", profile: "tspu-2022@2022-03-20" };
    rows.passes(said, "M6.yota.exempt", "version 1 to an exempt server with a harmless name, Yota", || {
        exempt_initial(31_213, "vk.com")
    });
    rows.fails(
        said,
        "M6.yota.name",
        "version 1 to an exempt server with a blocked name, Yota (second layer)",
        || exempt_initial(31_213, "www.facebook.com"),
    );
    rows.passes(
        said,
        "M6.exempt.name_elsewhere",
        "the same on another network, without the second layer",
        || exempt_initial(12_389, "www.facebook.com"),
    );
}

fn syn_to(profile: &str, ip: &str) -> Answer {
    let mut stage = Trial::new(profile)?.stage()?;
    Ok(Observed::new(Tcp::new(40_000).to(ip).port(9_001).open(&mut stage), format!("SYN to {ip}")))
}

fn tor_and_waves(rows: &mut Rows) {
    let tor = Said {
        source: "https://github.com/net4people/bbs/issues/97",
        tag: 'N',
        confidence: "high",
        profile: "tspu-2021",
    };
    rows.passes(tor, "M16.relay_before", "a SYN to a Tor relay in November 2021", || {
        syn_to("tspu-2021@2021-11-15", "128.31.0.39")
    });
    rows.fails(tor, "M16.relay_after", "a SYN to a Tor relay in December 2021", || {
        syn_to("tspu-2021@2021-12-05", "128.31.0.39")
    });
    let wave = Said {
        source: "https://github.com/net4people/bbs/issues/671",
        tag: 'F',
        confidence: "medium",
        profile: "tspu-2026",
    };
    rows.passes(wave, "M19.wave_before", "a SYN to a banned hoster's address on 10 February 2026", || {
        syn_to("tspu-2026@2026-02-10", "198.51.100.200")
    });
    rows.fails(wave, "M19.wave_after", "and on 22 September 2026", || {
        syn_to("tspu-2026@2026-09-22", "198.51.100.200")
    });
    rows.fails(wave, "M19.wave_ping", "a ping to it on 22 September 2026", || {
        let mut stage = Trial::new("tspu-2026@2026-09-22")?.stage()?;
        Ok(Observed::new(ping(&mut stage, "198.51.100.200").passed(), "echo"))
    });
}

/// One exchange on a profile and day.
fn name_on(profile: &str, name: &str, ip: &str) -> Answer {
    let mut stage = Trial::new(profile)?.stage()?;
    Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).to(ip), &hello(name))))
}

fn doh(rows: &mut Rows) {
    let said = Said { source: source::N4P_657, tag: 'F', confidence: "medium", profile: "tspu-2026" };
    rows.fails(said, "M21.doh", "DoH of dns.google on 20 August 2026", || {
        name_on("tspu-2026@2026-08-20", "dns.google", "8.8.8.8")
    });
    rows.passes(said, "M21.doh_before", "DoH of dns.google on 1 August 2026", || {
        name_on("tspu-2026@2026-08-01", "dns.google", "8.8.8.8")
    });
    rows.passes(said, "M21.doh_yandex", "DoH of Yandex on 20 August 2026", || {
        name_on("tspu-2026@2026-08-20", "common.dot.dns.yandex.net", "77.88.8.8")
    });
    rows.fails(
        Said { confidence: "low", ..said },
        "M21.dot",
        "DNS over TLS to 1.1.1.1 on 20 August 2026",
        || {
            let mut stage = Trial::new("tspu-2026@2026-08-20")?.stage()?;
            Ok(Observed::new(Tcp::new(40_000).to("1.1.1.1").port(853).open(&mut stage), "port 853"))
        },
    );
    rows.holds(said, "M21.ua", "a name below .ua at a national resolver: NXDOMAIN, September 2026", || {
        let mut stage = Trial::new("ru-dns-2026@2026-09-10")?.stage()?;
        Udp::new(50_053).port(53).to("195.208.4.1").up(&mut stage, &query(7, "pravda.com.ua", 1).emit());
        let sent = stage.sent.first().ok_or("no answer came")?;
        let payload = payload_of(&sent.packet);
        let view = okno_wire::dns::MessageView::parse(&payload).map_err(|error| error.to_string())?;
        Ok(Observed::new(view.flags & 15 == 3, format!("RCODE {}", view.flags & 15)))
    });
}

fn messengers(rows: &mut Rows) {
    let said = Said {
        source: "OONI Explorer (telegram, whatsapp), 2026; press",
        tag: 'P',
        confidence: "medium",
        profile: "tspu-2026",
    };
    for name in ["web.whatsapp.com", "web.telegram.org"] {
        rows.fails(said, &format!("M20.name.{name}"), &format!("TLS to {name}, 25 March 2026"), move || {
            name_on("tspu-2026@2026-03-25", name, "192.0.2.80")
        });
        rows.passes(
            said,
            &format!("M20.name_before.{name}"),
            &format!("TLS to {name}, 1 November 2025"),
            move || name_on("tspu-2025@2025-11-01", name, "192.0.2.80"),
        );
    }
    let blocked = Said {
        source: "https://ooni.org/post/2022-russia-blocks-amid-ru-ua-conflict/",
        tag: 'P',
        confidence: "high",
        profile: "tspu-2022",
    };
    for name in ["www.facebook.com", "twitter.com", "www.bbc.com"] {
        rows.fails(
            blocked,
            &format!("M1.name.{name}"),
            &format!("TLS to {name}, 15 March 2022"),
            move || name_on("tspu-2022@2022-03-15", name, "192.0.2.80"),
        );
    }
    rows.passes(blocked, "M1.name.control", "TLS to www.example.org, 15 March 2022", || {
        name_on("tspu-2022@2022-03-15", "www.example.org", "192.0.2.80")
    });
    rows.passes(
        Said { source: source::N4P_108, ..blocked },
        "M6.bait_alone",
        "a QUIC packet of an unknown version to port 443, 15 March 2022",
        || {
            let mut stage = Trial::new("tspu-2022@2022-03-15")?.stage()?;
            let udp = Udp::new(50_000).to("192.0.2.80");
            let passed =
                udp.up(&mut stage, &bait_datagram()).passed() && udp.down(&mut stage, &[0x80; 40]).passed();
            Ok(Observed::new(passed, "version negotiation"))
        },
    );
}

/// The forged payload, or the reset, that a first request meets under a variant of the operators' filter.
fn legacy(variant: &str) -> Result<(bool, bool, String), String> {
    let mut stage = Trial::new(&format!("ru-legacy-isp{variant}"))?.rules(&["blockpage"])?.stage()?;
    let mut tcp = Tcp::new(40_000).port(80);
    tcp.open(&mut stage);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", crate::fidelity::BLOCKED);
    let passed = tcp.up(&mut stage, request.as_bytes()).passed();
    let text: Vec<u8> = stage.sent.iter().flat_map(|sent| payload_of(&sent.packet)).collect();
    let reset = !stage.resets(Direction::Down).is_empty();
    let text = String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned();
    Ok((passed, reset, text))
}

fn variants(rows: &mut Rows) {
    let said = Said { source: source::NDSS20, tag: 'K', confidence: "high", profile: "ru-legacy-isp" };
    rows.holds(said, "M22.variant.redirect", "a residential line: 302 to a warning page", || {
        let (_, _, text) = legacy(":redirect")?;
        Ok(Observed::new(text.contains(" 302"), text))
    });
    rows.holds(said, "M22.variant.page", "a residential line: a block page", || {
        let (_, _, text) = legacy("")?;
        Ok(Observed::new(text.starts_with("HTTP/1."), text))
    });
    rows.holds(said, "M22.variant.reset", "a data centre's line: RST", || {
        let (_, reset, text) = legacy(":datacentre")?;
        Ok(Observed::new(reset && !text.contains("HTTP"), format!("reset {reset}")))
    });
    rows.holds(said, "M22.variant.silence", "a data centre's line: silence", || {
        let (passed, reset, text) = legacy(":datacentre-timeout")?;
        Ok(Observed::new(!passed && !reset && text.is_empty(), format!("passed {passed}, reset {reset}")))
    });
    let count =
        Said { source: source::N4P_546, tag: 'F', confidence: "low", profile: "tspu-2025:twenty-four" };
    rows.holds(count, "M13.first.twenty_four", "variant: 24 TLS connections pass, the 25th does not", || {
        let mut stage = Trial::new("tspu-2025:twenty-four")?.rules(&["siberian-1"])?.stage()?;
        let mut passed = 0;
        for index in 0..30 {
            stage.wait_s(0.2);
            let flight = preset::chrome(4, Some("www.example.org"), false).emit_record();
            passed +=
                u32::from(exchange(&mut stage, &mut Tcp::new(40_000 + index), &flight) == Tried::Through);
        }
        Ok(Observed::new(passed == 24, format!("{passed} of 30 passed")))
    });
    alternatives(rows);
}

fn alternatives(rows: &mut Rows) {
    let budget = Said { source: source::N4P_490, tag: 'F', confidence: "low", profile: "tspu-2025" };
    rows.holds(budget, "M12.udp_20", "alternative: UDP is cut after 20 packets (15 August 2026)", || {
        let trial = Trial::new("tspu-2025")?.rules(&["l4-25"])?.set("l4-25.udp_packets=aug-2026")?;
        let mut stage = trial.stage()?;
        let udp = Udp::new(50_000).port(4_433);
        let pass = |index: u32| {
            if index % 2 == 0 {
                udp.up(&mut stage, &[1; 80]).passed()
            } else {
                udp.down(&mut stage, &[2; 80]).passed()
            }
        };
        let passed = (0..60).map(pass).take_while(|passed| *passed).count();
        Ok(Observed::new(passed == 20, format!("{passed} passed")))
    });
    let shaped =
        Said { source: source::N4P_516, tag: 'F', confidence: "low", profile: "ru-mobile-blackout:shaping" };
    rows.holds(shaped, "M23.shaping", "variant: 200 to 500 kB/s, shaped and not blocked", || {
        let mut stage = Trial::new("ru-mobile-blackout:shaping")?.stage()?;
        let mut tcp = Tcp::new(40_000).to("192.0.2.80");
        tcp.open(&mut stage);
        // 2 Mbit/s are offered: below the lower figure, all of it comes.
        let passed = rate(&mut stage, &mut tcp, Direction::Down, 4);
        stage.wait_s(2.0);
        let came = stage.sent.len();
        Ok(Observed::new(
            passed > 1_500_000.0 || came > 500,
            format!("{passed:.0} bit/s at once, {came} packets later"),
        ))
    });
    let refused = Said {
        source: source::N4P_516,
        tag: 'F',
        confidence: "low",
        profile: "ru-mobile-whitelist-2025:reset",
    };
    rows.holds(refused, "M24.reset", "variant: RST instead of silence", || {
        let mut stage = Trial::new("ru-mobile-whitelist-2025:reset")?.rules(&["whitelist"])?.stage()?;
        let tried = exchange(&mut stage, &mut Tcp::new(40_000).to("192.0.2.80"), &hello("www.example.org"));
        let resets = stage.resets(Direction::Down).len();
        Ok(Observed::new(resets > 0, format!("{tried:?}, {resets} resets")))
    });
}

fn nodes_2026(rows: &mut Rows) {
    let said = Said { source: source::MTPROXY, tag: 'F', confidence: "medium", profile: "tspu-2026" };
    let split = |variant: &str| -> Answer {
        let mut stage = Trial::new(&format!("tspu-2026{variant}"))?.rules(&["sni-1"])?.stage()?;
        let mut tcp = Tcp::new(40_000);
        tcp.open(&mut stage);
        let bytes = hello(crate::fidelity::BLOCKED);
        tcp.up(&mut stage, &bytes[..60]);
        Ok(through(say(&mut stage, &mut tcp, &bytes[60..])))
    };
    rows.fails(
        said,
        "M17.node_upgraded",
        "a listed name in two segments, upgraded node of 2026",
        move || split(""),
    );
    rows.passes(
        said,
        "M17.node_old",
        "a listed name in two segments, node that was not upgraded",
        move || split(":old-node"),
    );
    rows.holds(
        said,
        "M17.variant_first_segment",
        "variant: the fingerprint's first segment is lost, the second arrives",
        || {
            let mut stage = Trial::new("tspu-2026:first-segment")?.rules(&["telegram-ja4"])?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            let flight = preset::chrome(2, Some("www.example.org"), false).emit_record();
            let first = tcp.up(&mut stage, &flight[..408]).passed();
            let second = tcp.up(&mut stage, &flight[408..]).passed();
            Ok(Observed::new(!first && second, format!("first {first}, second {second}")))
        },
    );
}
