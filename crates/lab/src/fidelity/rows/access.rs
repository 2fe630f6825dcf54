//! M5, M19, M23, M24, M29: addresses, bans, shutdowns, admission lists, boxes that fail.

use okno_censor::Direction;
use okno_wire::packet::flag;

use super::check::{only, share, through};
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{
    BLOCKED, ELSEWHERE, HARMLESS, OUTSIDE, Stage, Tcp, Tried, Udp, end, exchange, hello, ping,
};
use crate::fidelity::trial::Trial;

const IP: Said = Said { source: source::IMC22, tag: 'P', confidence: "high", profile: "tspu-2022" };
const TWO_STAGE: Said =
    Said { source: source::OUTLINE, tag: 'V', confidence: "medium", profile: "tspu-2022" };

pub(super) fn rows(rows: &mut Rows) {
    addresses(rows);
    two_stage(rows);
    blackout(rows);
    whitelist(rows);
    failing(rows);
}

fn addresses(rows: &mut Rows) {
    const P: &str = "tspu-2022";
    rows.fails(IP, "M5.tcp", "a SYN to a listed address, any port", || {
        let mut stage = only(P, "ip_block")?.stage()?;
        let any = [22, 80, 443, 9001].into_iter().any(|port| Tcp::new(40_000).port(port).open(&mut stage));
        Ok(Observed::new(any, "ports 22, 80, 443, 9001"))
    });
    rows.fails(IP, "M5.udp", "a datagram to a listed address", || {
        let mut stage = only(P, "ip_block")?.stage()?;
        let seen = Udp::new(40_000).port(51_820).up(&mut stage, &[7; 100]);
        Ok(Observed::new(seen.passed(), format!("{seen:?}")))
    });
    rows.fails(IP, "M5.icmp", "an ICMP echo to a listed address", || {
        let mut stage = only(P, "ip_block")?.stage()?;
        let seen = ping(&mut stage, OUTSIDE);
        Ok(Observed::new(seen.passed(), format!("{seen:?}")))
    });
    rows.passes(IP, "M5.neighbour", "a SYN to an address that is not listed", || {
        let mut stage = only(P, "ip_block")?.stage()?;
        let open = Tcp::new(40_000).to(ELSEWHERE).open(&mut stage);
        Ok(Observed::new(open && ping(&mut stage, ELSEWHERE).passed(), "TCP and ICMP"))
    });
    rows.holds(
        Said { tag: 'R', confidence: "medium", ..IP },
        "M5.answer_to_blocked",
        "where the listed address opens the flow, the local SYN/ACK leaves as RST/ACK",
        || {
            let mut stage = only(P, "ip_block")?.stage()?;
            let mut tcp = Tcp::between(end("10.0.0.2", 80), end(OUTSIDE, 40_000));
            let syn = tcp.send(&mut stage, Direction::Down, flag::SYN, &[]);
            let answer = tcp.send(&mut stage, Direction::Up, flag::SYN | flag::ACK, &[]);
            Ok(Observed::new(syn.passed() && answer.is_reset(), format!("SYN {syn:?}, answer {answer:?}")))
        },
    );
    rows.holds(IP, "M5.silence", "nothing is sent in answer: silence", || {
        let mut stage = only(P, "ip_block")?.stage()?;
        let open = Tcp::new(40_000).open(&mut stage);
        Ok(Observed::new(!open && stage.sent.is_empty(), format!("{} packets", stage.sent.len())))
    });
}

/// A recognised flow at time zero, then a SYN to the same end after so many seconds.
fn banned_after(seconds: f64, host: &str) -> Answer {
    let mut stage = two_stage_box()?.stage()?;
    let first = Udp::new(40_000).port(51_820);
    super::tunnels::wireguard(&mut stage, first, 8);
    stage.wait_s(seconds);
    let mut again = first;
    again.inside = end(host, 41_000);
    let seen = again.up(&mut stage, &[9; 200]);
    Ok(Observed::new(seen.passed(), format!("{seen:?} after {seconds} s")))
}

fn two_stage_box() -> Result<Trial, String> {
    for profile in ["tspu-2022", "tspu-2024", "tspu-2025", "tspu-2026"] {
        if let Ok(trial) = only(profile, "two_stage_ban") {
            return Ok(trial);
        }
    }
    Err("no profile has a two-stage ban".to_owned())
}

fn two_stage(rows: &mut Rows) {
    rows.passes(
        TWO_STAGE,
        "M19.before",
        "the far end of a recognised tunnel, 4 minutes after it was recognised",
        || banned_after(240.0, "10.0.0.2"),
    );
    rows.fails(
        TWO_STAGE,
        "M19.after",
        "the same end 15 minutes and a bit after (the cycle takes 5 to 15 min)",
        || banned_after(905.0, "10.0.0.2"),
    );
    rows.fails(TWO_STAGE, "M19.everybody", "the same end, from another subscriber", || {
        banned_after(905.0, "10.0.77.9")
    });
    rows.passes(
        Said { tag: 'F', ..TWO_STAGE },
        "M19.released",
        "the same end 31 minutes after: released about 15 minutes after the ban",
        || banned_after(1_860.0, "10.0.0.2"),
    );
    rows.passes(TWO_STAGE, "M19.unrecognised", "an end to which nothing recognised went", || {
        let mut stage = two_stage_box()?.stage()?;
        let udp = Udp::new(40_000).port(51_820);
        for _ in 0..8 {
            udp.up(&mut stage, &[0x55; 90]);
            udp.down(&mut stage, &[0x55; 90]);
        }
        stage.wait_s(905.0);
        let seen = udp.up(&mut stage, &[9; 200]);
        Ok(Observed::new(seen.passed(), format!("{seen:?}")))
    });
}

fn blackout(rows: &mut Rows) {
    const P: &str = "ru-mobile-blackout";
    let said = Said { source: source::SHUTDOWN, tag: 'F', confidence: "high", profile: P };
    let low = Said { confidence: "low", ..said };
    rows.fails(said, "M23.foreign", "a foreign site in a shutdown", || {
        let mut stage = Trial::new(P)?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).to(ELSEWHERE), &hello(HARMLESS))))
    });
    rows.fails(said, "M23.domestic", "a domestic control (ya.ru) in a shutdown: nothing answers", || {
        let mut stage = Trial::new(P)?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).to("77.88.55.242"), &hello("ya.ru"))))
    });
    rows.fails(said, "M23.icmp", "ICMP in a shutdown", || {
        let mut stage = Trial::new(P)?.stage()?;
        Ok(Observed::new(ping(&mut stage, "77.88.55.242").passed(), "echo"))
    });
    rows.holds(low, "M23.trickle", "variant: everything not listed is held to about 14 kbit/s", || {
        let mut stage = Trial::new(&format!("{P}:trickle"))?.stage()?;
        let mut tcp = Tcp::new(40_000).to(ELSEWHERE);
        tcp.open(&mut stage);
        super::check::rate(&mut stage, &mut tcp, Direction::Down, 30);
        let bits = super::check::rate(&mut stage, &mut tcp, Direction::Down, 60);
        Ok(Observed::new((10_000.0..=16_000.0).contains(&bits), format!("{bits:.0} bit/s")))
    });
    rows.unknown(low, "M23.per_event", "by which of the techniques a given shutdown was made");
}

/// One exchange under a variant of the whitelist: an address and a name.
fn admitted(mode: &str, ip: &str, name: &str) -> Result<Tried, String> {
    let trial = Trial::new(&format!("ru-mobile-whitelist-2025:{mode}"))?.only(&["whitelist"])?;
    let mut stage = trial.stage()?;
    Ok(exchange(&mut stage, &mut Tcp::new(40_000).to(ip), &hello(name)))
}

fn whitelist(rows: &mut Rows) {
    const P: &str = "ru-mobile-whitelist-2025";
    let said = Said { source: source::N4P_516, tag: 'F', confidence: "medium", profile: P };
    // In a whitelist the stage's listed network and name are those that pass.
    let cases: [(&str, &str, &str, &str, bool); 12] = [
        ("cidr", "M24.cidr.listed", OUTSIDE, HARMLESS, true),
        ("cidr", "M24.cidr.listed_other_name", OUTSIDE, "meduza.example", true),
        ("cidr", "M24.cidr.unlisted", ELSEWHERE, HARMLESS, false),
        ("cidr", "M24.cidr.unlisted_listed_name", ELSEWHERE, BLOCKED, false),
        ("sni", "M24.sni.listed", ELSEWHERE, BLOCKED, true),
        ("sni", "M24.sni.listed_any_address", OUTSIDE, BLOCKED, true),
        ("sni", "M24.sni.unlisted", ELSEWHERE, HARMLESS, false),
        ("sni", "M24.sni.unlisted_listed_address", OUTSIDE, HARMLESS, false),
        ("both", "M24.both.both", OUTSIDE, BLOCKED, true),
        ("both", "M24.both.only_name", ELSEWHERE, BLOCKED, false),
        ("both", "M24.both.only_address", OUTSIDE, HARMLESS, false),
        ("both", "M24.both.neither", ELSEWHERE, HARMLESS, false),
    ];
    for (mode, id, ip, name, passes) in cases {
        let address = if ip == OUTSIDE { "a listed address" } else { "an unlisted address" };
        let named = if name == BLOCKED { "a listed name" } else { "an unlisted name" };
        let what = format!("admission by {mode}: {address}, {named}");
        let run = move || admitted(mode, ip, name).map(through);
        if passes { rows.passes(said, id, &what, run) } else { rows.fails(said, id, &what, run) }
    }
    rows.holds(
        said,
        "M24.syn_delivered",
        "SYN reaches an unlisted foreign server, the hello does not",
        || {
            let tried = admitted("cidr", ELSEWHERE, HARMLESS)?;
            Ok(Observed::new(tried == Tried::HelloDropped, format!("{tried:?}")))
        },
    );
    rows.fails(said, "M24.icmp", "ICMP to an unlisted address", || {
        let mut stage = Trial::new(&format!("{P}:cidr"))?.only(&["whitelist"])?.stage()?;
        Ok(Observed::new(ping(&mut stage, ELSEWHERE).passed(), "echo"))
    });
    rows.passes(said, "M24.domestic_control", "a domestic control (ya.ru) with the shipped list", || {
        let mut stage = Trial::new(P)?.stage()?;
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).to("77.88.55.242"), &hello("ya.ru"))))
    });
    rows.fails(
        Said { source: source::CHECKERS, tag: 'C', confidence: "medium", profile: P },
        "M24.foreign_control",
        "a foreign control (github.com) with the shipped list",
        || {
            let mut stage = Trial::new(P)?.stage()?;
            Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).to("140.82.121.4"), &hello("github.com"))))
        },
    );
    rows.unknown(
        Said { source: source::WHITELIST, tag: 'F', confidence: "low", profile: P },
        "M24.who",
        "whether the TSPU or the operator's policy function admits",
    );
}

fn failing(rows: &mut Rows) {
    let said = Said { source: source::TSPUDOC, tag: 'V', confidence: "medium", profile: "tspu-2022" };
    rows.passes(said, "M29.fail_open", "a listed name while the box is bypassed", || {
        let mut engine = only("tspu-2022", "sni_reset")?.engine()?;
        engine.set_mode(okno_censor::Mode::FailOpen);
        let mut stage = Stage::new(Box::new(engine), 1);
        Ok(through(exchange(&mut stage, &mut Tcp::new(40_000), &hello(BLOCKED))))
    });
    rows.holds(said, "M29.overload", "an overloaded box loses packets whatever they carry", || {
        let trial = only("tspu-2022", "overload")?;
        share(&trial, 2_000, 0.01, 0.99, |stage, tcp| {
            let packet = tcp.packet(Direction::Up, flag::SYN, &[]);
            !stage.send(Direction::Up, &packet).passed()
        })
    });
    rows.unknown(
        Said { tag: 'N', confidence: "low", ..said },
        "M29.spring_2026",
        "whether the devices were overloaded in spring 2026 (reported, and denied by the regulator)",
    );
}
