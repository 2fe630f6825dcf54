//! The data plane that the TSPU's mechanisms share: who opened, fragments, state, segmentation.

use core::time::Duration;

use okno_censor::Direction;
use okno_wire::PacketView;
use okno_wire::build::IpRepr;
use okno_wire::packet::{flag, number};
use okno_wire::tls::preset;

use super::check::{only, through};
use super::{Answer, Rows, Said, source};
use crate::evasion::Fragmenting;
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, HARMLESS, Stage, Tcp, Tried, end, exchange, hello, say};

const PROFILE: &str = "tspu-2022";
const SNI1: &str = "sni_reset";
const HIGH: Said = Said { source: source::IMC22, tag: 'P', confidence: "high", profile: PROFILE };
const RECALLED: Said = Said { source: source::IMC22, tag: 'R', confidence: "medium", profile: PROFILE };
const VENDOR: Said = Said { source: source::TSPUDOC, tag: 'V', confidence: "medium", profile: PROFILE };

pub(super) fn rows(rows: &mut Rows) {
    initiation(rows);
    fragments(rows);
    state(rows);
    rows.unknown(
        Said { tag: 'R', confidence: "low", ..HIGH },
        "plane.fragment_overlap",
        "overlapping and repeated IP fragments are discarded in a way that differs from Linux",
    );
    rows.unknown(
        Said { source: source::IMC22, tag: 'F', confidence: "low", profile: PROFILE },
        "plane.ipv6",
        "how any mechanism treats IPv6",
    );
}

fn initiation(rows: &mut Rows) {
    rows.fails(HIGH, "plane.initiator.inside", "a listed name in a flow that the subscriber opened", || {
        let mut stage = only(PROFILE, SNI1)?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000), &hello(BLOCKED))))
    });
    rows.passes(
        HIGH,
        "plane.initiator.outside",
        "a listed name in a flow that was opened from outside",
        || {
            let mut stage = only(PROFILE, SNI1)?.stage()?;
            let mut tcp = Tcp::between(end("10.0.0.2", 443), end("198.51.100.7", 40_000));
            tcp.open_from_outside(&mut stage);
            let named = tcp.down(&mut stage, &hello(BLOCKED)).passed();
            let answer = tcp.up(&mut stage, &[0x16; 900]).passed();
            Ok(Observed::new(named && answer && !stage.triggered(), "hello from outside"))
        },
    );
    rows.passes(
        HIGH,
        "plane.initiator.outside_hello_up",
        "a listed name sent by the subscriber in a flow that was opened from outside",
        || {
            let mut stage = only(PROFILE, SNI1)?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open_from_outside(&mut stage);
            Ok(through(say(&mut stage, &mut tcp, &hello(BLOCKED))))
        },
    );
    rows.passes(
        HIGH,
        "plane.split_handshake",
        "a listed name after a split handshake (the server sends SYN)",
        || {
            let mut stage = only(PROFILE, SNI1)?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.send(&mut stage, Direction::Up, flag::SYN, &[]);
            tcp.send(&mut stage, Direction::Down, flag::SYN, &[]);
            tcp.up = tcp.up.wrapping_sub(1);
            tcp.send(&mut stage, Direction::Up, flag::SYN | flag::ACK, &[]);
            tcp.ack_down(&mut stage);
            Ok(through(say(&mut stage, &mut tcp, &hello(BLOCKED))))
        },
    );
    rows.passes(HIGH, "plane.simultaneous_open", "a listed name after a simultaneous open", || {
        let mut stage = only(PROFILE, SNI1)?.stage()?;
        let mut tcp = Tcp::new(40_000);
        tcp.send(&mut stage, Direction::Up, flag::SYN, &[]);
        tcp.send(&mut stage, Direction::Down, flag::SYN, &[]);
        tcp.up = tcp.up.wrapping_sub(1);
        tcp.down = tcp.down.wrapping_sub(1);
        tcp.send(&mut stage, Direction::Up, flag::SYN | flag::ACK, &[]);
        tcp.send(&mut stage, Direction::Down, flag::SYN | flag::ACK, &[]);
        Ok(through(say(&mut stage, &mut tcp, &hello(BLOCKED))))
    });
    rows.fails(VENDOR, "plane.midstream", "a listed name in a flow whose SYN the box never saw", || {
        let mut stage = only(PROFILE, SNI1)?.stage()?;
        Ok(through(say(&mut stage, &mut Tcp::new(40_000), &hello(BLOCKED))))
    });
}

/// The fragments of a hello, sent up; what came out, in order, and whether all were held until the last.
fn fragmented(stage: &mut Stage, name: &str, count: usize, reversed: bool) -> Result<Vec<Vec<u8>>, String> {
    let mut tcp = Tcp::new(40_000);
    if !tcp.open(stage) {
        return Err("no connection".to_owned());
    }
    let flight = preset::curl(3, Some(name)).padded_to(512).emit_record();
    let packet = tcp.packet(Direction::Up, flag::PSH | flag::ACK, &flight);
    let view = PacketView::parse(&packet).map_err(|error| error.to_string())?;
    let mut ip = IpRepr::new(tcp.inside.ip, tcp.outside.ip);
    ip.ttl = 64;
    let how = Fragmenting { reversed, ttls: vec![64, 40], ..Fragmenting::into_pieces(count) };
    let mut out = Vec::new();
    for piece in how.cut(&ip, number::TCP, view.ip_payload()) {
        let before = stage.sent.len();
        if stage.send(Direction::Up, &piece).passed() {
            out.push(piece);
        }
        out.extend(stage.sent[before..].iter().map(|sent| sent.packet.clone()));
    }
    tcp.up = tcp.up.wrapping_add(flight.len() as u32);
    let answer = tcp.down(stage, &[0x16; 900]);
    if !answer.passed() {
        return Err(format!("the answer: {answer:?}"));
    }
    Ok(out)
}

fn count_out(count: usize, reversed: bool) -> Answer {
    let mut stage = only(PROFILE, SNI1)?.stage()?;
    let out = fragmented(&mut stage, HARMLESS, count, reversed)?;
    Ok(Observed::new(out.len() == count, format!("{} of {count} fragments came out", out.len())))
}

fn fragments(rows: &mut Rows) {
    for (count, reversed, id) in
        [(2, false, "2"), (2, true, "2_reversed"), (45, false, "45"), (45, true, "45_reversed")]
    {
        let what = format!("a packet in {count} IP fragments{}", if reversed { ", last first" } else { "" });
        rows.passes(HIGH, &format!("plane.fragments.{id}"), &what, move || count_out(count, reversed));
    }
    for (count, reversed, id) in [(46, false, "46"), (46, true, "46_reversed"), (60, false, "60")] {
        let what = format!("a packet in {count} IP fragments{}", if reversed { ", last first" } else { "" });
        rows.fails(HIGH, &format!("plane.fragments.{id}"), &what, move || {
            let mut stage = only(PROFILE, SNI1)?.stage()?;
            let out = fragmented(&mut stage, HARMLESS, count, reversed)?;
            Ok(Observed::new(!out.is_empty(), format!("{} fragments came out", out.len())))
        });
    }
    rows.holds(
        HIGH,
        "plane.fragments.from_outside",
        "45 fragments from outside to an open port pass, 46 do not",
        || {
            let pass = |count: usize| -> Result<usize, String> {
                let mut stage = only(PROFILE, SNI1)?.stage()?;
                let tcp = Tcp::between(end("10.0.0.2", 7547), end("198.51.100.7", 40_000));
                let packet = tcp.packet(Direction::Down, flag::SYN, &[0; 400]);
                let view = PacketView::parse(&packet).map_err(|error| error.to_string())?;
                let ip = IpRepr::new(tcp.outside.ip, tcp.inside.ip);
                let mut out = 0;
                for piece in Fragmenting::into_pieces(count).cut(&ip, number::TCP, view.ip_payload()) {
                    out += usize::from(stage.send(Direction::Down, &piece).passed());
                }
                Ok(out + stage.sent.len())
            };
            let (few, many) = (pass(45)?, pass(46)?);
            Ok(Observed::new(few == 45 && many == 0, format!("{few} of 45, {many} of 46")))
        },
    );
    rows.holds(HIGH, "plane.fragments.held", "fragments are held until the last is there", || {
        let mut stage = only(PROFILE, SNI1)?.stage()?;
        let tcp = Tcp::new(40_000);
        let packet = tcp.packet(Direction::Up, flag::PSH | flag::ACK, &hello(HARMLESS));
        let view = PacketView::parse(&packet).map_err(|error| error.to_string())?;
        let ip = IpRepr::new(tcp.inside.ip, tcp.outside.ip);
        let pieces = Fragmenting::into_pieces(3).cut(&ip, number::TCP, view.ip_payload());
        let early: Vec<bool> = pieces[..2].iter().map(|p| stage.send(Direction::Up, p).passed()).collect();
        let sent_early = stage.sent.len();
        let last = stage.send(Direction::Up, &pieces[2]).passed();
        let out = stage.sent.len() + usize::from(last);
        let held = early.iter().all(|passed| !passed) && sent_early == 0;
        Ok(Observed::new(held && out == 3, format!("early {early:?}, {out} at the end")))
    });
    rows.holds(HIGH, "plane.fragments.unjoined", "fragments leave as fragments, not as one packet", || {
        let mut stage = only(PROFILE, SNI1)?.stage()?;
        let out = fragmented(&mut stage, HARMLESS, 4, false)?;
        let whole = out.iter().all(|p| PacketView::parse(p).is_ok_and(|view| view.fragment.is_some()));
        Ok(Observed::new(whole && out.len() == 4, format!("{} pieces", out.len())))
    });
    rows.holds(
        HIGH,
        "plane.fragments.ttl",
        "all fragments leave with the TTL of the one at offset 0",
        || {
            let mut stage = only(PROFILE, SNI1)?.stage()?;
            let out = fragmented(&mut stage, HARMLESS, 4, true)?;
            let ttls: Vec<u8> =
                out.iter().filter_map(|p| PacketView::parse(p).ok().map(|view| view.ttl)).collect();
            Ok(Observed::new(ttls.len() == 4 && ttls.iter().all(|ttl| *ttl == 64), format!("{ttls:?}")))
        },
    );
}

/// An idle gap at one stage of the connection, then the hello.
fn idle(seconds: f64, established: bool) -> Answer {
    let mut stage = only(PROFILE, SNI1)?.stage()?;
    let mut tcp = Tcp::new(40_000);
    // The flow is opened from outside, so a box that still knows it leaves it alone, and one that forgot it
    // takes the subscriber's next packet for the opening of a new one.
    tcp.send(&mut stage, Direction::Down, flag::SYN, &[]);
    if established {
        tcp.send(&mut stage, Direction::Up, flag::SYN | flag::ACK, &[]);
        tcp.ack_down(&mut stage);
    }
    stage.wait(Duration::from_secs_f64(seconds));
    let tried = say(&mut stage, &mut tcp, &hello(BLOCKED));
    Ok(Observed::new(tried == Tried::Through, format!("{tried:?} after {seconds} s")))
}

/// The same with SYN and SYN/ACK seen.
fn idle_half_open(seconds: f64) -> Answer {
    let mut stage = only(PROFILE, SNI1)?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.send(&mut stage, Direction::Down, flag::SYN, &[]);
    tcp.send(&mut stage, Direction::Up, flag::SYN | flag::ACK, &[]);
    stage.wait(Duration::from_secs_f64(seconds));
    let tried = say(&mut stage, &mut tcp, &hello(BLOCKED));
    Ok(Observed::new(tried == Tried::Through, format!("{tried:?} after {seconds} s")))
}

fn state(rows: &mut Rows) {
    rows.passes(
        RECALLED,
        "plane.state.syn_sent.59",
        "a flow opened from outside is remembered 59 s after its SYN",
        || idle(59.0, false),
    );
    rows.fails(RECALLED, "plane.state.syn_sent.61", "and forgotten 61 s after its SYN", || idle(61.0, false));
    rows.passes(RECALLED, "plane.state.syn_received.104", "and remembered 104 s after SYN/ACK", || {
        idle_half_open(104.0)
    });
    rows.fails(RECALLED, "plane.state.syn_received.106", "and forgotten 106 s after SYN/ACK", || {
        idle_half_open(106.0)
    });
    rows.passes(
        RECALLED,
        "plane.state.established.479",
        "and remembered 479 s after it was established",
        || idle(479.0, true),
    );
    rows.fails(
        RECALLED,
        "plane.state.established.481",
        "and forgotten 481 s after it was established",
        || idle(481.0, true),
    );
    rows.holds(
        VENDOR,
        "plane.latency",
        "a packet that no rule takes is neither delayed nor changed (20–30 µs are no signal)",
        || {
            let mut stage = only(PROFILE, SNI1)?.stage()?;
            let tried = exchange(&mut stage, &mut Tcp::new(40_000), &hello(HARMLESS));
            Ok(Observed::new(tried == Tried::Through && stage.sent.is_empty(), format!("{tried:?}")))
        },
    );
}
