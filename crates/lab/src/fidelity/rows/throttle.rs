//! M8 to M10: the 2021 throttler, probabilistic degradation, YouTube.

use okno_censor::Direction;
use okno_wire::packet::flag;

use super::check::{bounds, rate, through};
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, HARMLESS, Stage, Tcp, Tried, end, exchange, hello};
use crate::fidelity::trial::Trial;

const P: &str = "tspu-2021";
const PAPER: Said = Said { source: source::IMC21, tag: 'P', confidence: "high", profile: P };

/// The rule in force longest, with the stage's names.
fn twitter() -> Result<Trial, String> {
    Trial::new(P)?.rules(&["twitter-exact"])
}

/// Whether a flow is held down after `before` was sent on it.
fn held_down(stage: &mut Stage, tcp: &mut Tcp) -> (bool, f64) {
    // The bucket's burst first.
    rate(stage, tcp, Direction::Down, 2);
    let bits = rate(stage, tcp, Direction::Down, 10);
    (bits < 400_000.0, bits)
}

fn after_flights(flights: &[&[u8]]) -> Answer {
    let mut stage = twitter()?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    for flight in flights {
        tcp.up(&mut stage, flight);
        tcp.ack_down(&mut stage);
    }
    let (held, bits) = held_down(&mut stage, &mut tcp);
    Ok(Observed::new(!held, format!("{bits:.0} bit/s of 2 Mbit/s offered")))
}

pub(super) fn rows(rows: &mut Rows) {
    trigger(rows);
    parser(rows);
    bucket(rows);
    state(rows);
    twitter_names(rows);
    capacity(rows);
    youtube(rows);
}

fn trigger(rows: &mut Rows) {
    rows.fails(PAPER, "M8.name", "a listed name at full rate", || after_flights(&[&hello(BLOCKED)]));
    rows.passes(PAPER, "M8.other_name", "another name at full rate", || after_flights(&[&hello(HARMLESS)]));
    rows.passes(PAPER, "M8.scrambled", "the same bytes scrambled (the control of the replay)", || {
        let bytes: Vec<u8> = hello(BLOCKED).iter().map(|byte| byte ^ 0x5a).collect();
        after_flights(&[&bytes])
    });
    rows.fails(
        PAPER,
        "M8.hello_of_the_server",
        "a hello that the far side sends, in a flow opened from inside",
        || {
            let mut stage = twitter()?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            tcp.down(&mut stage, &hello(BLOCKED));
            let (held, bits) = held_down(&mut stage, &mut tcp);
            Ok(Observed::new(!held, format!("{bits:.0} bit/s")))
        },
    );
    rows.passes(
        PAPER,
        "M8.opened_outside",
        "a listed name in a flow opened from outside (echo servers saw nothing)",
        || {
            let mut stage = twitter()?.stage()?;
            let mut tcp = Tcp::between(end("10.0.0.2", 7), end("198.51.100.7", 40_000));
            tcp.open_from_outside(&mut stage);
            tcp.down(&mut stage, &hello(BLOCKED));
            tcp.up(&mut stage, &hello(BLOCKED));
            let (held, bits) = held_down(&mut stage, &mut tcp);
            Ok(Observed::new(!held, format!("{bits:.0} bit/s")))
        },
    );
    rows.fails(
        PAPER,
        "M8.fake_hello_first",
        "a harmless hello first, then the listed one (did not help)",
        || after_flights(&[&hello(HARMLESS), &hello(BLOCKED)]),
    );
}

fn parser(rows: &mut Rows) {
    rows.passes(PAPER, "M8.junk_101", "101 scrambled bytes first", || {
        after_flights(&[&[0xe7; 101], &hello(BLOCKED)])
    });
    rows.fails(PAPER, "M8.junk_100", "100 scrambled bytes first", || {
        after_flights(&[&[0xe7; 100], &hello(BLOCKED)])
    });
    rows.passes(PAPER, "M8.two_segments", "the hello in two segments", || {
        let bytes = hello(BLOCKED);
        after_flights(&[&bytes[..60], &bytes[60..]])
    });
    rows.passes(PAPER, "M8.record_beyond_segment", "a record length that exceeds the segment", || {
        let mut bytes = hello(BLOCKED);
        bytes.truncate(bytes.len() - 1);
        after_flights(&[&bytes])
    });
    for (id, at, value) in [("content_type", 0_usize, 0x15_u8), ("handshake_type", 5, 2)] {
        let what = format!("a hello whose {} is another", id.replace('_', " "));
        rows.passes(PAPER, &format!("M8.{id}"), &what, move || {
            let mut bytes = hello(BLOCKED);
            bytes[at] = value;
            after_flights(&[&bytes])
        });
    }
    rows.passes(
        PAPER,
        "M8.ccs_first",
        "a ChangeCipherSpec record before the hello in the same segment",
        || after_flights(&[&[&[20, 3, 1, 0, 1, 1][..], &hello(BLOCKED)].concat()]),
    );
    rows.fails(
        PAPER,
        "M8.socks_first",
        "a SOCKS5 greeting first, then the listed hello (a plain proxy did not help)",
        || after_flights(&[&[5, 1, 0], &hello(BLOCKED)]),
    );
    rows.fails(PAPER, "M8.http_proxy_first", "an HTTP CONNECT first, then the listed hello", || {
        after_flights(&[
            b"CONNECT www.harmless.example:443 HTTP/1.1\r\nHost: www.harmless.example:443\r\n\r\n",
            &hello(BLOCKED),
        ])
    });
    rows.passes(PAPER, "M8.trailing_dot", "a dot after the name", || {
        after_flights(&[&hello("www.blocked.example.")])
    });
    let disputed = Said { confidence: "medium", ..PAPER };
    rows.fails(
        disputed,
        "M8.budget.3",
        "the listed hello as third packet after a harmless TLS packet",
        || budget_after(2),
    );
    rows.passes(
        disputed,
        "M8.budget.22",
        "the listed hello after 22 harmless data packets (3 to 20 are inspected)",
        || budget_after(22),
    );
    rows.unknown(
        disputed,
        "M8.budget.exact",
        "whether the budget is 3–15 or 15–20 packets: the sources disagree",
    );
}

/// The listed hello after so many harmless data packets, the first of which is TLS.
fn budget_after(packets: usize) -> Answer {
    let mut stage = twitter()?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    tcp.up(&mut stage, &hello(HARMLESS));
    for _ in 1..packets {
        tcp.up(&mut stage, &[0x17, 3, 3, 0, 3, 1, 2, 3]);
    }
    tcp.up(&mut stage, &hello(BLOCKED));
    let (held, bits) = held_down(&mut stage, &mut tcp);
    Ok(Observed::new(!held, format!("{bits:.0} bit/s")))
}

/// A throttled connection, its bucket still full.
fn throttled() -> Result<(Stage, Tcp), String> {
    let mut stage = twitter()?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    tcp.up(&mut stage, &hello(BLOCKED));
    Ok((stage, tcp))
}

fn bucket(rows: &mut Rows) {
    for (id, direction) in [("down", Direction::Down), ("up", Direction::Up)] {
        let what = format!("130 to 150 kbit/s {id}, over 60 s");
        rows.holds(PAPER, &format!("M8.rate_{id}"), &what, move || {
            let (mut stage, mut tcp) = throttled()?;
            rate(&mut stage, &mut tcp, direction, 5);
            let bits = rate(&mut stage, &mut tcp, direction, 60);
            Ok(Observed::new((125_000.0..=155_000.0).contains(&bits), format!("{bits:.0} bit/s")))
        });
    }
    rows.holds(PAPER, "M8.buckets_apart", "each way has a bucket of its own", || {
        let (mut stage, mut tcp) = throttled()?;
        rate(&mut stage, &mut tcp, Direction::Down, 30);
        let bits = rate(&mut stage, &mut tcp, Direction::Up, 30);
        Ok(Observed::new(bits > 125_000.0, format!("up, after 30 s of down: {bits:.0} bit/s")))
    });
    rows.holds(PAPER, "M8.burst", "after a pause about 16 KB pass at once, then a gap", || {
        let (mut stage, mut tcp) = throttled()?;
        rate(&mut stage, &mut tcp, Direction::Down, 5);
        stage.wait_s(5.0);
        let mut burst = 0_u64;
        while tcp.down(&mut stage, &[0x17; 1_000]).passed() && burst < 200_000 {
            burst += 1_040;
        }
        let mut gap = 0;
        while !tcp.down(&mut stage, &[0x17; 1_000]).passed() && gap < 5_000 {
            gap += 1;
        }
        let fits = (15_000..=20_000).contains(&burst) && gap >= 20;
        Ok(Observed::new(fits, format!("burst {burst} bytes, then {gap} ms without")))
    });
    rows.holds(PAPER, "M8.policing", "policing, not shaping: no packet is delayed", || {
        let (mut stage, mut tcp) = throttled()?;
        let bits = rate(&mut stage, &mut tcp, Direction::Down, 5);
        let policed = stage.sent.is_empty() && (1.0..1_000_000.0).contains(&bits);
        Ok(Observed::new(policed, format!("{bits:.0} bit/s, {} delayed packets", stage.sent.len())))
    });
}

fn state(rows: &mut Rows) {
    let still = |prepare: fn(&mut Stage, &mut Tcp)| -> Answer {
        let (mut stage, mut tcp) = throttled()?;
        prepare(&mut stage, &mut tcp);
        let (held, bits) = held_down(&mut stage, &mut tcp);
        Ok(Observed::new(!held, format!("{bits:.0} bit/s")))
    };
    rows.fails(PAPER, "M8.after_fin", "full rate after FIN both ways", move || {
        still(|stage, tcp| {
            tcp.send(stage, Direction::Up, flag::FIN | flag::ACK, &[]);
            tcp.send(stage, Direction::Down, flag::FIN | flag::ACK, &[]);
        })
    });
    rows.fails(PAPER, "M8.after_rst", "full rate after a RST", move || {
        still(|stage, tcp| {
            tcp.send(stage, Direction::Up, flag::RST, &[]);
        })
    });
    let idle = Said { confidence: "medium", ..PAPER };
    rows.fails(idle, "M8.idle_9_min", "full rate after 9 minutes of silence", move || {
        still(|stage, _| stage.wait_s(540.0))
    });
    rows.passes(
        idle,
        "M8.idle_11_min",
        "full rate after 11 minutes of silence (about 10 clear it)",
        move || still(|stage, _| stage.wait_s(660.0)),
    );
    rows.fails(PAPER, "M8.active_2_h", "full rate after two hours of traffic", move || {
        still(|stage, tcp| {
            for _ in 0..120 {
                stage.wait_s(60.0);
                tcp.ack_up(stage);
                tcp.ack_down(stage);
            }
        })
    });
    rows.passes(PAPER, "M8.second_connection", "another connection at full rate", || {
        let (mut stage, _) = throttled()?;
        let mut other = Tcp::new(40_001);
        other.open(&mut stage);
        other.up(&mut stage, &hello(HARMLESS));
        let (held, bits) = held_down(&mut stage, &mut other);
        Ok(Observed::new(!held, format!("{bits:.0} bit/s")))
    });
}

/// Whether the shipped rules of a day hold a name down.
fn on_day(day: &str, name: &'static str) -> Answer {
    let mut stage = Trial::new(&format!("{P}@{day}"))?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    tcp.up(&mut stage, &hello(name));
    let (held, bits) = held_down(&mut stage, &mut tcp);
    Ok(Observed::new(!held, format!("{bits:.0} bit/s on {day}")))
}

fn twitter_names(rows: &mut Rows) {
    // Names as in the record: *t.co* as a substring at first, twitter.com exact by 2 April 2021.
    for (id, day, name, held) in [
        ("t_co", "2021-03-10", "t.co", true),
        ("substring_microsoft", "2021-03-10", "microsoft.com", true),
        ("substring_reddit", "2021-03-10", "reddit.com", true),
        ("twimg", "2021-03-10", "abs.twimg.com", true),
        ("suffix_twitter", "2021-03-10", "nottwitter.com", true),
        ("unrelated", "2021-03-10", "ya.ru", false),
        ("later_microsoft", "2021-04-10", "microsoft.com", false),
        ("later_reddit", "2021-04-10", "reddit.com", false),
        ("later_t_co", "2021-04-10", "t.co", true),
        ("later_twitter", "2021-04-10", "twitter.com", true),
        ("later_nottwitter", "2021-04-10", "nottwitter.com", false),
        ("later_twimg", "2021-04-10", "abs.twimg.com", true),
        ("before", "2021-03-09", "twitter.com", false),
    ] {
        let what = format!("{name} at full rate on {day}, shipped lists");
        let run = move || on_day(day, name);
        let id = format!("M8.names.{id}");
        if held { rows.fails(PAPER, &id, &what, run) } else { rows.passes(PAPER, &id, &what, run) }
    }
}

fn capacity(rows: &mut Rows) {
    let said = Said { source: source::TSPUDOC, tag: 'V', confidence: "medium-low", profile: "tspu-2022" };
    rows.holds(
        said,
        "M9.share",
        "a recognised protocol's packets pass with the set chance, each by itself",
        || {
            let mut stage = super::check::any_profile("capacity")?.stage()?;
            let udp = crate::fidelity::stage::Udp::new(50_000).port(3_478);
            udp.up(&mut stage, &super::tunnels::binding());
            let mut passed = 0_u32;
            for _ in 0..10_000 {
                passed += u32::from(udp.up(&mut stage, &super::tunnels::binding()).passed());
            }
            let share = f64::from(passed) / 10_000.0;
            let (low, high) = (bounds(0.02, 10_000).0, bounds(0.10, 10_000).1);
            Ok(Observed::new(
                (low..=high).contains(&share),
                format!("{share:.4} of 10,000 pass (2 to 10 % in the record)"),
            ))
        },
    );
    rows.passes(said, "M9.others", "ICMP on the same path", || {
        let mut stage = super::check::any_profile("capacity")?.stage()?;
        let all = (0..50).all(|_| crate::fidelity::stage::ping(&mut stage, "198.51.100.7").passed());
        Ok(Observed::new(all, "50 echoes"))
    });
}

fn youtube(rows: &mut Rows) {
    let said = Said { source: source::N4P_382, tag: 'F', confidence: "high", profile: "tspu-2024" };
    // With the shipped lists: the record is about the name, whatever the address.
    for (id, name, ip, passes) in [
        ("googlevideo", "rr3---sn-4g5e6nsz.googlevideo.com", "203.0.113.50", false),
        ("other_address", "rr3---sn-4g5e6nsz.googlevideo.com", "192.0.2.1", false),
        ("neutral", "www.example.org", "203.0.113.50", true),
    ] {
        let what = format!("{name} at {ip}, TLS, at full rate, Aug 2024, shipped lists");
        let run = move || {
            let mut stage = Trial::new("tspu-2024@2024-08-16")?.stage()?;
            let mut tcp = Tcp::new(40_000).to(ip);
            let tried = exchange(&mut stage, &mut tcp, &hello(name));
            let (held, bits) = held_down(&mut stage, &mut tcp);
            Ok(Observed::new(tried == Tried::Through && !held, format!("{tried:?}, {bits:.0} bit/s")))
        };
        let id = format!("M10.{id}");
        if passes { rows.passes(said, &id, &what, run) } else { rows.fails(said, &id, &what, run) }
    }
    rows.fails(
        said,
        "M10.quic",
        "a googlevideo name in a QUIC Initial at full rate, Aug 2024, shipped lists",
        || {
            let mut stage = Trial::new("tspu-2024@2024-08-16")?.stage()?;
            let udp = crate::fidelity::stage::Udp::new(50_000).to("203.0.113.50");
            let version = okno_wire::quic::Version::V1;
            udp.up(
                &mut stage,
                &crate::evasion::initial_for(version, Some("rr3---sn-4g5e6nsz.googlevideo.com"), 1_200),
            );
            let mut passed = 0_u32;
            for _ in 0..1_000 {
                stage.wait_s(0.003);
                passed += u32::from(udp.down(&mut stage, &[0x40; 1_000]).passed());
            }
            Ok(Observed::new(passed > 900, format!("{passed} of 1,000 datagrams in 4 s")))
        },
    );
    rows.passes(said, "M10.before", "the same name before 12 Jul 2024", || {
        let mut stage = Trial::new("tspu-2024@2024-07-01")?.stage()?;
        let mut tcp = Tcp::new(40_000).to("203.0.113.50");
        let tried = exchange(&mut stage, &mut tcp, &hello("rr3---sn-4g5e6nsz.googlevideo.com"));
        Ok(through(tried))
    });
    let decoys = Said { source: source::ZAPRET, tag: 'F', confidence: "medium", profile: "tspu-2024" };
    for (id, ids, passes) in
        [("same", [77_u16, 77], false), ("zero", [0, 0], true), ("differing", [77, 78], true)]
    {
        let what = format!("two data packets with IP identifications {ids:?} on a googlevideo range");
        let run = move || repeated_ids(ids);
        let id = format!("M10.ip_id.{id}");
        if passes { rows.passes(decoys, &id, &what, run) } else { rows.fails(decoys, &id, &what, run) }
    }
}

/// Two data packets with these identifications, then an answer.
fn repeated_ids(ids: [u16; 2]) -> Answer {
    let mut stage = super::check::any_profile("ip_id_repeat")?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    let bytes = hello(HARMLESS);
    for (index, id) in ids.into_iter().enumerate() {
        let piece = if index == 0 { &bytes[..100] } else { &bytes[100..] };
        let mut packet = tcp.packet(Direction::Up, flag::PSH | flag::ACK, piece);
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        okno_wire::build::mend_checksums(&mut packet);
        stage.send(Direction::Up, &packet);
        tcp.up = tcp.up.wrapping_add(piece.len() as u32);
    }
    let answer = tcp.down(&mut stage, &[0x16; 300]);
    Ok(Observed::new(answer.passed(), format!("answer {answer:?}")))
}
