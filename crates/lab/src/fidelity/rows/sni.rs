//! M1 to M4: what the TSPU does to a listed server name over TLS.

use okno_censor::Direction;
use okno_wire::PacketView;
use okno_wire::packet::flag;

use super::check::{after, blocked, name_to_port, only, rate};
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, HARMLESS, Seen, Tcp, Tried, hello};
use crate::fidelity::trial::Trial;

const PROFILE: &str = "tspu-2022";
const PAPER: Said = Said { source: source::IMC22, tag: 'P', confidence: "high", profile: PROFILE };
const QUOTED: Said = Said { tag: 'S', confidence: "medium", ..PAPER };
const RECALLED: Said = Said { tag: 'R', confidence: "medium", ..PAPER };
const VENDOR: Said = Said { source: source::TSPUDOC, tag: 'V', confidence: "medium", profile: PROFILE };
const FIELD: Said = Said { source: source::REFLEX, tag: 'F', confidence: "medium", profile: PROFILE };

pub(super) fn rows(rows: &mut Rows) {
    names(rows);
    reset(rows);
    silence(rows);
    throttle(rows);
    drop_all(rows);
}

fn names(rows: &mut Rows) {
    for (id, name, blocked) in [
        ("exact", BLOCKED, true),
        ("below", "cdn.blocked.example", true),
        ("deeper", "a.b.c.blocked.example", true),
        ("not_suffix", "notblocked.example", false),
        ("contained", "www.blocked.example.org", false),
        ("other", HARMLESS, false),
    ] {
        let what = format!("SNI {name} under the entry *.blocked.example");
        let run = move || name_to_port(PROFILE, "sni_reset", name, 443);
        let id = format!("sni.names.{id}");
        if blocked { rows.fails(VENDOR, &id, &what, run) } else { rows.passes(VENDOR, &id, &what, run) }
    }
    rows.passes(RECALLED, "sni.port.8443", "a listed name on port 8443 (SNI rules: port 443)", || {
        name_to_port(PROFILE, "sni_reset", BLOCKED, 8443)
    });
    rows.fails(RECALLED, "sni.port.443", "a listed name on port 443", || {
        name_to_port(PROFILE, "sni_reset", BLOCKED, 443)
    });
}

/// A residual's row just before and just after its end, on the same ports and on fresh ones.
fn residual(rows: &mut Rows, said: Said, mechanism: &str, technique: &'static str, seconds: f64) {
    let profile = said.profile;
    let (before, later) = (seconds - 1.0, seconds + 1.0);
    rows.fails(
        said,
        &format!("{mechanism}.residual.{before}"),
        &format!("a harmless hello on the same ports {before} s after the trigger"),
        move || after(profile, technique, before, 40_000),
    );
    rows.passes(
        said,
        &format!("{mechanism}.residual.{later}"),
        &format!("a harmless hello on the same ports {later} s after the trigger"),
        move || after(profile, technique, later, 40_000),
    );
    rows.passes(
        said,
        &format!("{mechanism}.residual.fresh_port"),
        "a harmless hello from a fresh source port at once (the key is the 4-tuple)",
        move || after(profile, technique, 2.0, 40_001),
    );
}

fn reset(rows: &mut Rows) {
    const SNI1: &str = "sni_reset";
    rows.passes(PAPER, "M1.client_packets", "the client's hello itself goes on to the server", || {
        let (mut stage, mut tcp) = (only(PROFILE, SNI1)?.stage()?, Tcp::new(40_000));
        tcp.open(&mut stage);
        let named = tcp.up(&mut stage, &hello(BLOCKED));
        let later = tcp.up(&mut stage, &[0x17; 100]);
        Ok(Observed::new(named.passed() && later.passed(), format!("{named:?}, {later:?}")))
    });
    rows.holds(
        PAPER,
        "M1.answer_rewritten",
        "the server's next packet has no payload and flags RST/ACK",
        || {
            let (_, _, tried) = blocked(PROFILE, SNI1)?;
            Ok(Observed::new(tried == Tried::Reset, format!("{tried:?}")))
        },
    );
    rows.holds(
        PAPER,
        "M1.numbers_of_the_server",
        "the rewritten packet keeps the server's sequence and acknowledgment numbers and TTL",
        || {
            let (mut stage, mut tcp) = (only(PROFILE, SNI1)?.stage()?, Tcp::new(40_000));
            tcp.ttl_down = 47;
            tcp.open(&mut stage);
            tcp.up(&mut stage, &hello(BLOCKED));
            let (seq, ack) = (tcp.down, tcp.up);
            let Seen::Changed(packet) = tcp.down(&mut stage, &[0x16; 500]) else {
                return Err("the answer was not rewritten".to_owned());
            };
            let view = PacketView::parse(&packet).map_err(|error| error.to_string())?;
            let head = view.tcp().ok_or("no TCP")?;
            let same = head.seq() == seq && head.ack() == ack && view.ttl == 47;
            let sound = view.ip_checksum_holds() && view.transport_checksum_holds();
            Ok(Observed::new(
                same && sound,
                format!("seq {}, ack {}, TTL {}", head.seq(), head.ack(), view.ttl),
            ))
        },
    );
    rows.holds(
        PAPER,
        "M1.every_packet",
        "every following packet of the server is rewritten, not only the first",
        || {
            let (mut stage, mut tcp) = (only(PROFILE, SNI1)?.stage()?, Tcp::new(40_000));
            tcp.open(&mut stage);
            tcp.up(&mut stage, &hello(BLOCKED));
            let all = (0..20).all(|_| tcp.down(&mut stage, &[0x17; 700]).is_reset());
            Ok(Observed::new(all, "20 packets of the server"))
        },
    );
    rows.holds(
        PAPER,
        "M1.nothing_injected",
        "no packet is injected: what arrives is the server's own, changed",
        || {
            let (stage, _, tried) = blocked(PROFILE, SNI1)?;
            let quiet = stage.sent.is_empty() && tried == Tried::Reset;
            Ok(Observed::new(quiet, format!("{tried:?}, {} packets sent", stage.sent.len())))
        },
    );
    reset_state(rows);
}

fn reset_state(rows: &mut Rows) {
    const SNI1: &str = "sni_reset";
    rows.passes(PAPER, "M1.neutral_name", "the same address with a neutral name", || {
        name_to_port(PROFILE, SNI1, HARMLESS, 443)
    });
    residual(rows, QUOTED, "M1", SNI1, 75.0);
    rows.holds(
        Said { source: source::IMC21, ..PAPER },
        "M1.rst_does_not_clear",
        "a RST or FIN of the client does not end the blocking of its connection",
        || {
            let (mut stage, mut tcp) = (only(PROFILE, SNI1)?.stage()?, Tcp::new(40_000));
            tcp.open(&mut stage);
            tcp.up(&mut stage, &hello(BLOCKED));
            tcp.send(&mut stage, Direction::Up, flag::FIN | flag::ACK, &[]);
            let fin = tcp.down(&mut stage, &[0x17; 100]).is_reset();
            tcp.send(&mut stage, Direction::Up, flag::RST, &[]);
            let rst = tcp.down(&mut stage, &[0x17; 100]).is_reset();
            Ok(Observed::new(fin && rst, format!("after FIN {fin}, after RST {rst}")))
        },
    );
}

/// Packets that pass after the hello, both ways counted, when they alternate.
fn extra(seed: u64) -> Result<u32, String> {
    let mut stage = only(PROFILE, "sni_silence")?.seed(seed).stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    if !tcp.up(&mut stage, &hello(BLOCKED)).passed() {
        return Err("the hello did not pass".to_owned());
    }
    let mut passed = 0;
    for index in 0..40 {
        let seen = if index % 2 == 0 { tcp.down(&mut stage, &[0x16; 700]) } else { tcp.ack_up(&mut stage) };
        if !seen.passed() {
            break;
        }
        passed += 1;
    }
    Ok(passed)
}

fn silence(rows: &mut Rows) {
    const SNI2: &str = "sni_silence";
    rows.passes(QUOTED, "M2.hello_passes", "the hello passes (and is acknowledged)", || {
        let (mut stage, mut tcp) = (only(PROFILE, SNI2)?.stage()?, Tcp::new(40_000));
        tcp.open(&mut stage);
        let named = tcp.up(&mut stage, &hello(BLOCKED));
        let acked = tcp.ack_down(&mut stage);
        Ok(Observed::new(named.passed() && acked.passed(), format!("{named:?}, {acked:?}")))
    });
    rows.holds(QUOTED, "M2.extra_packets", "5 to 8 further packets pass, both ways counted", || {
        let counts: Vec<u32> = (0..40).map(extra).collect::<Result<_, _>>()?;
        let within = counts.iter().all(|count| (5..=8).contains(count));
        Ok(Observed::new(within, format!("{counts:?}")))
    });
    rows.fails(QUOTED, "M2.silence_down", "the server's packets after those", || {
        let (mut stage, mut tcp, tried) = blocked(PROFILE, SNI2)?;
        let seen = tcp.down(&mut stage, &[0x17; 100]);
        Ok(Observed::new(seen.passed(), format!("{tried:?}, {seen:?}")))
    });
    rows.fails(QUOTED, "M2.silence_up", "the client's packets after those, FIN included", || {
        let (mut stage, mut tcp, _) = blocked(PROFILE, SNI2)?;
        let seen = tcp.up(&mut stage, &[0x17; 100]);
        let fin = tcp.send(&mut stage, Direction::Up, flag::FIN | flag::ACK, &[]);
        Ok(Observed::new(seen.passed() || fin.passed(), format!("{seen:?}, FIN {fin:?}")))
    });
    rows.holds(FIELD, "M2.no_reset", "no RST and no FIN comes: silence", || {
        let (stage, _, tried) = blocked(PROFILE, SNI2)?;
        Ok(Observed::new(stage.sent.is_empty() && tried == Tried::Silent, format!("{tried:?}")))
    });
    residual(rows, QUOTED, "M2", SNI2, 420.0);
}

fn throttle(rows: &mut Rows) {
    const SNI3: &str = "sni_throttle";
    const SAID: Said = QUOTED;
    rows.holds(SAID, "M3.rate_down", "after the name 600 to 700 bytes a second come down", || {
        let (mut stage, mut tcp) = (only(PROFILE, SNI3)?.stage()?, Tcp::new(40_000));
        tcp.open(&mut stage);
        tcp.up(&mut stage, &hello(BLOCKED));
        // The bucket first.
        rate(&mut stage, &mut tcp, Direction::Down, 20);
        let bytes = rate(&mut stage, &mut tcp, Direction::Down, 60) / 8.0;
        Ok(Observed::new((560.0..740.0).contains(&bytes), format!("{bytes:.0} bytes/s over 60 s")))
    });
    rows.holds(SAID, "M3.rate_up", "and go up", || {
        let (mut stage, mut tcp) = (only(PROFILE, SNI3)?.stage()?, Tcp::new(40_000));
        tcp.open(&mut stage);
        tcp.up(&mut stage, &hello(BLOCKED));
        rate(&mut stage, &mut tcp, Direction::Up, 20);
        let bytes = rate(&mut stage, &mut tcp, Direction::Up, 60) / 8.0;
        Ok(Observed::new((560.0..740.0).contains(&bytes), format!("{bytes:.0} bytes/s over 60 s")))
    });
    rows.passes(SAID, "M3.neutral_name", "a neutral name at full rate", || {
        let (mut stage, mut tcp) = (only(PROFILE, SNI3)?.stage()?, Tcp::new(40_000));
        tcp.open(&mut stage);
        tcp.up(&mut stage, &hello(HARMLESS));
        let bits = rate(&mut stage, &mut tcp, Direction::Down, 5);
        Ok(Observed::new(bits > 1_900_000.0, format!("{bits:.0} bit/s of 2 Mbit/s offered")))
    });
    for (id, date, on) in [
        ("2022-02-25", "2022-02-25", false),
        ("2022-02-27", "2022-02-27", true),
        ("2022-03-05", "2022-03-05", false),
    ] {
        let what = format!("the throttle of 26 Feb to 4 Mar 2022 is in force on {date}: {on}");
        rows.holds(SAID, &format!("M3.date.{id}"), &what, move || {
            let trial = Trial::new(&format!("{PROFILE}@{date}"))?;
            let there = trial.profile().rules.iter().any(|rule| rule.technique == SNI3);
            Ok(Observed::new(there == on, format!("in force: {there}")))
        });
    }
    for (date, on) in [("2022-03-03", false), ("2022-03-05", true)] {
        let what = format!("the reset that followed on 4 Mar 2022 is in force on {date}: {on}");
        rows.holds(PAPER, &format!("M1.date.{date}"), &what, move || {
            let trial = Trial::new(&format!("{PROFILE}@{date}"))?;
            let there = trial.profile().rules.iter().any(|rule| rule.technique == "sni_reset");
            Ok(Observed::new(there == on, format!("in force: {there}")))
        });
    }
}

fn drop_all(rows: &mut Rows) {
    const SNI4: &str = "sni_drop";
    rows.fails(FIELD, "M4.hello", "the hello itself reaches the server", || {
        let (_, _, tried) = blocked(PROFILE, SNI4)?;
        Ok(Observed::new(tried != Tried::HelloDropped, format!("{tried:?}")))
    });
    rows.fails(
        FIELD,
        "M4.retransmissions",
        "its retransmissions at 0.30, 0.59, 1.22, 2.43, 4.80, 9.67 s",
        || {
            let (mut stage, mut tcp) = (only(PROFILE, SNI4)?.stage()?, Tcp::new(40_000));
            tcp.open(&mut stage);
            let packet = tcp.packet(Direction::Up, flag::PSH | flag::ACK, &hello(BLOCKED));
            let mut any = stage.send(Direction::Up, &packet).passed();
            for gap in [0.30, 0.29, 0.63, 1.21, 2.37, 4.87] {
                stage.wait_s(gap);
                any |= stage.send(Direction::Up, &packet).passed();
            }
            Ok(Observed::new(any, "seven copies of the hello"))
        },
    );
    rows.fails(QUOTED, "M4.server", "packets of the server after it", || {
        let (mut stage, mut tcp, _) = blocked(PROFILE, SNI4)?;
        let seen = tcp.ack_down(&mut stage);
        Ok(Observed::new(seen.passed(), format!("{seen:?}")))
    });
    rows.passes(FIELD, "M4.neutral_name", "the same address with a neutral name", || {
        name_to_port(PROFILE, SNI4, HARMLESS, 443)
    });
    rows.holds(QUOTED, "M4.no_reset", "nothing is sent by the box", || {
        let (stage, _, tried) = blocked(PROFILE, SNI4)?;
        let quiet = stage.sent.is_empty() && tried == Tried::HelloDropped;
        Ok(Observed::new(quiet, format!("{tried:?}, {} packets", stage.sent.len())))
    });
    residual(rows, QUOTED, "M4", SNI4, 40.0);
    rows.holds(
        RECALLED,
        "M4.one_way_box",
        "a box that sees only the subscriber's packets still drops (SNI-I could not rewrite there)",
        || one_way(SNI4),
    );
}

/// The box sees no packet of the server.
fn one_way(technique: &str) -> Answer {
    let mut stage = only(PROFILE, technique)?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.send(&mut stage, Direction::Up, flag::SYN, &[]);
    tcp.ack_up(&mut stage);
    let seen = tcp.up(&mut stage, &hello(BLOCKED));
    Ok(Observed::new(seen.dropped(), format!("{seen:?}")))
}
