//! Other countries: what keeps the models general.

use okno_censor::Direction;
use okno_wire::dns::{MessageView, query};
use okno_wire::packet::flag;
use okno_wire::quic::Version;
use okno_wire::tls::code::ext;
use okno_wire::tls::preset;
use okno_wire::{PacketView, tls};

use super::check::{after_on, bounds, only, share, through};
use super::{Answer, Rows, Said, source};
use crate::evasion::initial_for;
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, HARMLESS, Stage, Tcp, Tried, Udp, exchange, hello, payload_of, say};
use crate::fidelity::trial::Trial;

pub(super) fn rows(rows: &mut Rows) {
    china_http(rows);
    china_encrypted(rows);
    china_quic(rows);
    china_esni(rows);
    iran(rows);
    kazakhstan(rows);
    others(rows);
}

const CHINA: &str = "china-gfw";

/// A request for a host.
fn request(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// The country's rule of a technique that reads this protocol, as shipped but for its lists.
fn reads(profile: &str, protocol: &str, techniques: &[&str]) -> Result<Trial, String> {
    let trial = Trial::new(profile)?;
    let ids: Vec<String> = trial
        .profile()
        .rules
        .iter()
        .filter(|rule| techniques.contains(&rule.technique.as_str()))
        .filter(|rule| {
            rule.params.get("on").map_or(protocol == "tls", |on| on.value.to_string().contains(protocol))
        })
        .map(|rule| rule.id.clone())
        .collect();
    if ids.is_empty() {
        return Err(format!("{profile} has no rule of {techniques:?} that reads {protocol}"));
    }
    trial.rules(&[ids[0].as_str()])
}

/// A listed Host, then after so many seconds a harmless request over the connection given.
fn http_after(trial: &Trial, seconds: f64, mut second: Tcp) -> Answer {
    let mut stage = trial.stage()?;
    let mut first = Tcp::new(40_000).port(80);
    first.open(&mut stage);
    first.up(&mut stage, &request(BLOCKED));
    if stage.acts.is_empty() {
        return Err("the first request did nothing".to_owned());
    }
    stage.wait_s(seconds);
    second.up = second.up.wrapping_add(700_000);
    let tried = exchange(&mut stage, &mut second, &request(HARMLESS));
    Ok(Observed::new(tried == Tried::Through, format!("{tried:?} after {seconds} s")))
}

fn china_http(rows: &mut Rows) {
    let said = Said { source: source::CORPUS, tag: 'K', confidence: "medium", profile: CHINA };
    let gfw = || reads(CHINA, "http", &["inject"]);
    rows.holds(
        said,
        "CN.http.resets",
        "a listed Host brings RSTs to both ends (three to the client)",
        move || {
            let mut stage = gfw()?.stage()?;
            let mut tcp = Tcp::new(40_000).port(80);
            tcp.open(&mut stage);
            tcp.up(&mut stage, &request(BLOCKED));
            let (down, up) = (stage.resets(Direction::Down).len(), stage.resets(Direction::Up).len());
            Ok(Observed::new(down >= 3 && up >= 1, format!("{down} down, {up} up")))
        },
    );
    rows.fails(said, "CN.http.89", "a harmless request from another port 88 s later (3-tuple)", move || {
        http_after(&gfw()?, 88.0, Tcp::new(40_777).port(80))
    });
    rows.passes(said, "CN.http.91", "the same 92 s later", move || {
        http_after(&gfw()?, 92.0, Tcp::new(40_777).port(80))
    });
    rows.passes(
        said,
        "CN.http.other_port",
        "a harmless request to another port of the server at once",
        move || http_after(&gfw()?, 1.0, Tcp::new(40_777).port(8_080)),
    );
    rows.passes(said, "CN.http.other_host", "another Host", move || {
        let mut stage = gfw()?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).port(80), &request(HARMLESS))))
    });
}

/// A first payload whose bytes hold `bits` set bits each, on the mean.
fn with_bits(bits: f64, len: usize, seed: u64) -> Vec<u8> {
    let threshold = (bits / 8.0 * f64::from(u32::MAX)) as u32;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bit = || {
        // xorshift* (https://www.jstatsoft.org/article/view/v008i14): chance without a table of bytes.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        u8::from(((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32) < threshold)
    };
    (0..len).map(|_| (0..8).fold(0, |byte, _| byte << 1 | bit())).collect()
}

fn china_encrypted(rows: &mut Rows) {
    let said = Said { source: source::CHINA_FET, tag: 'P', confidence: "high", profile: CHINA };
    let gfw = || only(CHINA, "set_bits");
    let blocked = |bits: f64| {
        move |stage: &mut Stage, mut tcp: Tcp| {
            let seed = u64::from(tcp.inside.port);
            // Each flow has a server of its own, so that no residual falls on the next.
            tcp.outside.ip = core::net::Ipv4Addr::from(0xc633_6400 | (seed as u32 & 0xff)).into();
            tcp.outside.port = 1_024 + (seed / 7) as u16;
            exchange(stage, &mut tcp, &with_bits(bits, 400, seed)) != Tried::Through
        }
    };
    rows.holds(
        said,
        "CN.encrypted.share",
        "26.3 % of flows whose first payload has 4.0 set bits a byte",
        move || {
            let (low, high) = bounds(0.263, 10_000);
            share(&gfw()?, 10_000, low, high, blocked(4.0))
        },
    );
    for (id, bits) in [("low", 3.0), ("high", 5.0)] {
        let what = format!("none of the flows whose first payload has {bits} set bits a byte");
        rows.holds(said, &format!("CN.encrypted.{id}"), &what, move || {
            share(&gfw()?, 1_000, 0.0, 0.0, blocked(bits))
        });
    }
    rows.holds(said, "CN.encrypted.printable", "none that begin with six printable bytes", move || {
        share(&gfw()?, 1_000, 0.0, 0.0, |stage, mut tcp| {
            let mut bytes = with_bits(4.0, 400, u64::from(tcp.inside.port));
            bytes[..6].copy_from_slice(b"abcdef");
            exchange(stage, &mut tcp, &bytes) != Tried::Through
        })
    });
    rows.holds(said, "CN.encrypted.tls", "none that begin as TLS", move || {
        share(&gfw()?, 1_000, 0.0, 0.0, |stage, mut tcp| {
            exchange(stage, &mut tcp, &hello(HARMLESS)) != Tried::Through
        })
    });
    for (seconds, passes) in [(178.0, false), (182.0, true)] {
        let what = format!(
            "a connection to the same address and port {seconds} s after a blocked one (180 s, 3-tuple)"
        );
        let run = move || encrypted_residual(&gfw()?, seconds);
        let id = format!("CN.encrypted.{seconds}");
        if passes { rows.passes(said, &id, &what, run) } else { rows.fails(said, &id, &what, run) }
    }
}

/// Tries flows to one server until one is blocked, waits, and tries a TLS connection to it.
fn encrypted_residual(trial: &Trial, seconds: f64) -> Answer {
    let mut stage = trial.stage()?;
    for port in 20_000..20_200_u16 {
        let mut tcp = Tcp::new(port).port(9_000 + (port - 20_000));
        if exchange(&mut stage, &mut tcp, &with_bits(4.0, 400, u64::from(port))) == Tried::Through {
            continue;
        }
        let began = stage.acts.iter().map(|act| act.at).max().unwrap_or(stage.now);
        stage.wait_s(seconds - stage.now.since(began).as_secs_f64());
        let mut again = Tcp::new(30_000).port(tcp.outside.port);
        return Ok(through(exchange(&mut stage, &mut again, &hello(HARMLESS))));
    }
    Err("none of 200 flows was blocked".to_owned())
}

fn china_quic(rows: &mut Rows) {
    let said = Said { source: source::CHINA_QUIC, tag: 'P', confidence: "high", profile: CHINA };
    let initial = |name: &str| initial_for(Version::V1, Some(name), 1_200);
    let tried = |name: &'static str, inside: u16, outside: u16| -> Answer {
        let mut stage = only(CHINA, "quic_sni")?.stage()?;
        let udp = Udp::new(inside).port(outside);
        let first = udp.up(&mut stage, &initial_for(Version::V1, Some(name), 1_200));
        let later = udp.up(&mut stage, &[0x40; 60]);
        Ok(Observed::new(later.passed(), format!("Initial {first:?}, later {later:?}")))
    };
    rows.fails(said, "CN.quic.blocked", "datagrams after an Initial with a listed name", move || {
        tried(BLOCKED, 50_000, 443)
    });
    rows.passes(said, "CN.quic.neutral", "datagrams after one with another name", move || {
        tried(HARMLESS, 50_000, 443)
    });
    rows.passes(said, "CN.quic.port_equal", "source port equal to the destination port", move || {
        tried(BLOCKED, 443, 443)
    });
    rows.passes(said, "CN.quic.port_below", "source port below the destination port", move || {
        tried(BLOCKED, 400, 443)
    });
    for (seconds, passes) in [(178.0, false), (182.0, true)] {
        let what =
            format!("another source port to the same address and port {seconds} s later (180 s, 3-tuple)");
        let run = move || {
            let mut stage = only(CHINA, "quic_sni")?.stage()?;
            Udp::new(50_000).up(&mut stage, &initial(BLOCKED));
            stage.wait_s(seconds);
            let seen = Udp::new(50_999).up(&mut stage, &[0x40; 60]);
            Ok(Observed::new(seen.passed(), format!("{seen:?}")))
        };
        let id = format!("CN.quic.{seconds}");
        if passes { rows.passes(said, &id, &what, run) } else { rows.fails(said, &id, &what, run) }
    }
    rows.passes(said, "CN.quic.before", "a listed name before 7 Apr 2024", move || {
        let trial = Trial::new(&format!("{CHINA}@2024-04-01"))?;
        let there = trial.profile().rules.iter().any(|rule| rule.technique == "quic_sni");
        Ok(Observed::new(!there, format!("in force: {there}")))
    });
}

/// A hello with the old encrypted_server_name extension.
fn esni_hello() -> Vec<u8> {
    let body = preset::random_bytes(1, "esni", 366);
    preset::curl(1, None).with_extension((ext::ESNI, body)).emit_record()
}

fn china_esni(rows: &mut Rows) {
    let said = Said { source: source::CHINA_ESNI, tag: 'P', confidence: "high", profile: CHINA };
    rows.fails(said, "CN.esni", "a hello with encrypted_server_name (0xffce)", || {
        let mut stage = only(CHINA, "esni")?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000), &esni_hello())))
    });
    rows.passes(said, "CN.esni.none", "a hello without a name and without the extension", || {
        let mut stage = only(CHINA, "esni")?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000), &preset::curl(1, None).emit_record())))
    });
    for (seconds, passes) in [(118.0, false), (182.0, true)] {
        let what = format!("a harmless hello from another port {seconds} s later (120 to 180 s)");
        let run = move || {
            let mut stage = only(CHINA, "esni")?.stage()?;
            exchange(&mut stage, &mut Tcp::new(40_000), &esni_hello());
            let began = stage.acts.iter().map(|act| act.at).min().ok_or("nothing was set off")?;
            stage.wait_s(seconds - stage.now.since(began).as_secs_f64());
            Ok(through(exchange(&mut stage, &mut Tcp::new(40_777), &hello(HARMLESS))))
        };
        let id = format!("CN.esni.{seconds}");
        if passes { rows.passes(said, &id, &what, run) } else { rows.fails(said, &id, &what, run) }
    }
    let henan = Said { source: source::HENAN, tag: 'P', confidence: "high", profile: CHINA };
    rows.holds(
        henan,
        "CN.henan",
        "Henan: RST/ACK with 10 bytes of payload, IP identification 1, TTL 58",
        || {
            let trial = Trial::new(CHINA)?;
            let id = trial
                .profile()
                .rules
                .iter()
                .find(|rule| rule.id.contains("henan"))
                .map(|rule| rule.id.clone());
            let id = id.ok_or("no rule of Henan")?;
            let mut stage = trial.rules(&[id.as_str()])?.stage()?;
            exchange(&mut stage, &mut Tcp::new(40_000), &hello(BLOCKED));
            let sent = stage.resets(Direction::Down);
            let packet = &sent.first().ok_or("no RST came")?.packet;
            let view = PacketView::parse(packet).map_err(|error| error.to_string())?;
            let flags = view.tcp().map_or(0, |tcp| tcp.flags());
            let fits = view.payload().len() == 10
                && view.ip_id == 1
                && view.ttl == 58
                && flags == flag::RST | flag::ACK;
            Ok(Observed::new(
                fits,
                format!("{} bytes, id {}, TTL {}", view.payload().len(), view.ip_id, view.ttl),
            ))
        },
    );
}

const IRAN: &str = "iran";

/// Two data packets on a port, then a third.
fn iran_flow(port: u16, first: &[u8], second: &[u8], wait: f64, touch: bool) -> Answer {
    let mut stage = only(IRAN, "protocol_filter")?.stage()?;
    let mut tcp = Tcp::new(40_000).port(port);
    tcp.open(&mut stage);
    tcp.up(&mut stage, first);
    tcp.ack_down(&mut stage);
    tcp.up(&mut stage, second);
    tcp.up(&mut stage, second);
    if touch {
        stage.wait_s(40.0);
        tcp.up(&mut stage, &[1; 20]);
    }
    stage.wait_s(wait);
    let seen = tcp.up(&mut stage, &[0xa7; 40]);
    Ok(Observed::new(seen.passed(), format!("{seen:?} after {wait} s")))
}

fn iran(rows: &mut Rows) {
    let said = Said { source: source::IRAN, tag: 'P', confidence: "high", profile: IRAN };
    let junk = [0xa7_u8; 120];
    for port in [53, 80, 443] {
        rows.fails(
            said,
            &format!("IR.filter.{port}"),
            &format!("a protocol that is none of DNS, HTTP, TLS on port {port}"),
            move || iran_flow(port, &junk, &junk, 0.1, false),
        );
    }
    rows.passes(said, "IR.filter.8080", "the same on port 8080", move || {
        iran_flow(8_080, &junk, &junk, 0.1, false)
    });
    rows.passes(said, "IR.filter.tls", "TLS on port 443", move || {
        iran_flow(443, &hello(HARMLESS), &tls::record(23, 0x0303, &[1; 90]), 0.1, false)
    });
    rows.passes(said, "IR.filter.http", "HTTP on port 80", move || {
        iran_flow(80, &request(HARMLESS), &junk, 0.1, false)
    });
    rows.passes(
        said,
        "IR.filter.second_fits",
        "junk first, then TLS: one of two data packets fits",
        move || iran_flow(443, &junk, &hello(HARMLESS), 0.1, false),
    );
    rows.fails(said, "IR.filter.59", "a packet 58 s after the drop began", move || {
        iran_flow(443, &junk, &junk, 58.0, false)
    });
    rows.passes(said, "IR.filter.61", "a packet 62 s after", move || {
        iran_flow(443, &junk, &junk, 62.0, false)
    });
    rows.fails(
        said,
        "IR.filter.reset",
        "a packet 100 s after, with another in between (it resets the timer)",
        move || iran_flow(443, &junk, &junk, 58.0, true),
    );
    let names = Said { source: source::CORPUS, tag: 'K', confidence: "medium", profile: IRAN };
    let rule = || reads(IRAN, "tls", &["sni_silence", "sni_drop", "inject", "sni_reset"]);
    rows.fails(
        names,
        "IR.names.179",
        "a harmless hello on the same four numbers 178 s after a listed name",
        move || after_on(&rule()?, 178.0, Tcp::new(40_000)),
    );
    rows.passes(names, "IR.names.181", "and 182 s after", move || {
        after_on(&rule()?, 182.0, Tcp::new(40_000))
    });
    rows.passes(names, "IR.names.fresh_port", "and from a fresh port at once (4-tuple)", move || {
        after_on(&rule()?, 1.0, Tcp::new(40_001))
    });
    rows.holds(names, "IR.dns", "a forged answer from 10.0.0.0/8 for a listed name", || {
        forged(IRAN, |ip| ip.starts_with("10."))
    });
}

/// The address in the forged answer to a query for a listed name.
fn forged(profile: &str, fits: impl Fn(&str) -> bool) -> Answer {
    let mut stage = only(profile, "dns_forge")?.stage()?;
    Udp::new(50_053).port(53).to("8.8.8.8").up(&mut stage, &query(7, BLOCKED, 1).emit());
    let sent =
        stage.sent.iter().find(|sent| sent.direction == Direction::Down).ok_or("no answer was forged")?;
    let payload = payload_of(&sent.packet);
    let view = MessageView::parse(&payload).map_err(|error| error.to_string())?;
    let addresses: Vec<String> = view.addresses().map(|ip| ip.to_string()).collect();
    Ok(Observed::new(addresses.iter().any(|ip| fits(ip)), addresses.join(", ")))
}

fn kazakhstan(rows: &mut Rows) {
    const KZ: &str = "kazakhstan";
    let names = Said { source: source::CORPUS, tag: 'K', confidence: "medium", profile: KZ };
    let rule = || reads(KZ, "tls", &["sni_silence", "sni_drop", "sni_reset", "inject"]);
    rows.fails(
        names,
        "KZ.names.119",
        "a harmless hello on the same four numbers 118 s after a listed name",
        move || after_on(&rule()?, 118.0, Tcp::new(40_000)),
    );
    rows.passes(names, "KZ.names.121", "and 122 s after", move || {
        after_on(&rule()?, 122.0, Tcp::new(40_000))
    });
    rows.passes(names, "KZ.names.fresh_port", "and from a fresh port at once (4-tuple)", move || {
        after_on(&rule()?, 1.0, Tcp::new(40_001))
    });
    rows.passes(names, "KZ.small_window", "a listed name cut by the server's small window", move || {
        let mut stage = rule()?.stage()?;
        let mut tcp = Tcp::new(40_000);
        tcp.open(&mut stage);
        let bytes = hello(BLOCKED);
        let (last, rest) = bytes.split_at(bytes.len() - 40);
        for piece in last.chunks(40) {
            tcp.up(&mut stage, piece);
            tcp.ack_down(&mut stage);
        }
        Ok(through(say(&mut stage, &mut tcp, rest)))
    });
    let mitm = Said { source: source::KAZAKH, tag: 'P', confidence: "high", profile: KZ };
    rows.holds(mitm, "KZ.mitm", "2019: TLS to listed sites is answered by an interceptor", || {
        let mut stage = only("kazakhstan", "intercept")?.set("interception.share=1")?.stage()?;
        let tcp = Tcp::new(40_000);
        let seen = stage.send(Direction::Up, &tcp.packet(Direction::Up, flag::SYN, &[]));
        let changed = matches!(&seen, crate::fidelity::stage::Seen::Changed(packet)
            if PacketView::parse(packet).is_ok_and(|view| view.destination != tcp.outside.ip));
        Ok(Observed::new(changed, "the SYN goes elsewhere"))
    });
}

/// A listed Host, then a harmless request on the same four numbers.
fn host_after(profile: &'static str, seconds: f64) -> Answer {
    let trial = reads(profile, "http", &["sni_silence", "sni_drop", "sni_reset", "inject"])?;
    let mut stage = trial.stage()?;
    let mut tcp = Tcp::new(40_000).port(80);
    tcp.open(&mut stage);
    tcp.up(&mut stage, &request(BLOCKED));
    let began = stage.acts.iter().map(|act| act.at).min().ok_or("nothing was set off")?;
    stage.wait_s(seconds - stage.now.since(began).as_secs_f64());
    tcp.up = tcp.up.wrapping_add(700_000);
    Ok(through(exchange(&mut stage, &mut tcp, &request(HARMLESS))))
}

fn hosts(rows: &mut Rows) {
    for (id, profile, seconds) in [("IR", IRAN, 180.0), ("KZ", "kazakhstan", 120.0)] {
        let said = Said { source: source::CORPUS, tag: 'K', confidence: "medium", profile };
        let (before, after) = (seconds - 2.0, seconds + 2.0);
        rows.fails(
            said,
            &format!("{id}.hosts.{before}"),
            &format!("a harmless request on the same four numbers {before} s after a listed Host"),
            move || host_after(profile, before),
        );
        rows.passes(said, &format!("{id}.hosts.{after}"), &format!("and {after} s after"), move || {
            host_after(profile, after)
        });
    }
    let china = Said { source: source::CORPUS, tag: 'K', confidence: "medium", profile: CHINA };
    rows.holds(china, "CN.sni.resets", "a listed SNI brings RSTs to the client (three)", || {
        let mut stage = reads(CHINA, "tls", &["inject"])?.stage()?;
        exchange(&mut stage, &mut Tcp::new(40_000), &hello(BLOCKED));
        let down = stage.resets(Direction::Down).len();
        Ok(Observed::new(down >= 3, format!("{down} down")))
    });
    rows.holds(china, "CN.resets_fit", "the first forged RST carries the number the client expects", || {
        let mut stage = reads(CHINA, "tls", &["inject"])?.stage()?;
        let mut tcp = Tcp::new(40_000);
        tcp.open(&mut stage);
        let expects = tcp.down;
        tcp.up(&mut stage, &hello(BLOCKED));
        let sent = stage.resets(Direction::Down);
        let packet = &sent.first().ok_or("no RST came")?.packet;
        let seq = PacketView::parse(packet).ok().and_then(|view| view.tcp()).map_or(0, |tcp| tcp.seq());
        Ok(Observed::new(seq == expects, format!("seq {seq} where {expects} is expected")))
    });
    rows.holds(
        Said {
            source: "Hoang et al., USENIX Security 2021, https://gfwatch.org/",
            tag: 'P',
            confidence: "high",
            profile: CHINA,
        },
        "CN.dns",
        "a forged answer for a listed name comes before the real one, which comes too",
        || {
            let mut stage = only(CHINA, "dns_forge")?.stage()?;
            let udp = Udp::new(50_053).port(53).to("8.8.8.8");
            let asked = udp.up(&mut stage, &query(7, BLOCKED, 1).emit());
            let forged = stage.sent.len();
            let real = udp.down(&mut stage, &[0; 60]);
            Ok(Observed::new(
                asked.passed() && forged > 0 && real.passed(),
                format!("{forged} forged, real {real:?}"),
            ))
        },
    );
    let said = Said {
        source: "IODA, https://ioda.inetintel.cc.gatech.edu/",
        tag: 'O',
        confidence: "medium",
        profile: IRAN,
    };
    rows.holds(said, "IR.blackout", "a stealth blackout leaves about 3 % of the flows", || {
        let trial = Trial::new(IRAN)?.rules(&["blackout"])?;
        let (low, high) = bounds(0.03, 4_000);
        share(&trial, 4_000, low, high, |stage, tcp| {
            let packet = tcp.packet(Direction::Up, flag::SYN, &[]);
            stage.send(Direction::Up, &packet).passed()
        })
    });
}

fn others(rows: &mut Rows) {
    hosts(rows);
    let turkmenistan =
        Said { source: source::TURKMEN, tag: 'P', confidence: "high", profile: "turkmenistan" };
    rows.holds(turkmenistan, "TM.dns", "a forged answer 127.0.0.1 for a listed name", || {
        forged("turkmenistan", |ip| ip == "127.0.0.1")
    });
    let turkey = Said { source: source::TURKEY, tag: 'F', confidence: "low", profile: "turkey" };
    rows.fails(turkey, "TR.throttle", "TCP to throttled services at full rate", || {
        let trial = Trial::new("turkey")?;
        let techniques: Vec<&str> = ["sni_throttle", "capacity", "blackout"].to_vec();
        let mut stage = trial.only(&techniques)?.stage()?;
        let mut tcp = Tcp::new(40_000);
        tcp.open(&mut stage);
        tcp.up(&mut stage, &hello(BLOCKED));
        super::check::rate(&mut stage, &mut tcp, Direction::Down, 5);
        let bits = super::check::rate(&mut stage, &mut tcp, Direction::Down, 20);
        Ok(Observed::new(bits > 1_900_000.0, format!("{bits:.0} bit/s of 2 Mbit/s offered")))
    });
    let uzbekistan = Said { source: source::CORPUS, tag: 'K', confidence: "medium", profile: "uzbekistan" };
    rows.holds(uzbekistan, "UZ.fin", "a FIN with the right numbers comes early", || {
        let mut stage = only("uzbekistan", "inject")?.stage()?;
        let mut tcp = Tcp::new(40_000);
        tcp.open(&mut stage);
        let expects = tcp.down;
        tcp.up(&mut stage, &hello(BLOCKED));
        let fin = stage.sent.iter().find(|sent| {
            PacketView::parse(&sent.packet).is_ok_and(|view| view.tcp().is_some_and(|tcp| tcp.has(flag::FIN)))
        });
        let view = PacketView::parse(&fin.ok_or("no FIN came")?.packet).map_err(|error| error.to_string())?;
        let head = view.tcp().ok_or("no TCP")?;
        Ok(Observed::new(head.seq() == expects && head.ack() == tcp.up, format!("seq {}", head.seq())))
    });
}
