//! M6 and M7: QUIC by version and size, then by the name inside the Initial.

use okno_wire::quic::Version;

use super::check::only;
use super::{Answer, Rows, Said, source};
use crate::evasion::{bait_datagram, initial_for};
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, EXEMPT, HARMLESS, Stage, Udp};

const FIRST: Said = Said { source: source::N4P_108, tag: 'P', confidence: "high", profile: "tspu-2022" };
const FIRST_TIMER: Said =
    Said { source: source::IMC22, tag: 'S', confidence: "medium", profile: "tspu-2022" };
const SECOND: Said =
    Said { source: source::FOCI26, tag: 'S', confidence: "medium-high", profile: "tspu-2026" };

/// A first datagram up and an answer down: both have to pass.
fn asked(stage: &mut Stage, udp: Udp, datagram: &[u8]) -> bool {
    udp.up(stage, datagram).passed() && udp.down(stage, &[0xc0; 1_200]).passed()
}

fn one(profile: &str, technique: &str, port: u16, datagram: &[u8]) -> Answer {
    let mut stage = only(profile, technique)?.stage()?;
    let passed = asked(&mut stage, Udp::new(50_000).port(port), datagram);
    Ok(Observed::new(passed, format!("{} bytes to port {port}", datagram.len())))
}

/// A payload of `len` bytes that is version 1 in bytes 1 to 4 and no more QUIC than that.
fn shaped(len: usize, version: u32) -> Vec<u8> {
    let mut out = vec![0xc3];
    out.extend_from_slice(&version.to_be_bytes());
    out.resize(len, 0x11);
    out
}

pub(super) fn rows(rows: &mut Rows) {
    first_generation(rows);
    second_generation(rows);
    second_timers(rows);
}

fn first_generation(rows: &mut Rows) {
    const P: &str = "tspu-2022";
    const T: &str = "quic_version";
    rows.fails(FIRST, "M6.any_name", "a version 1 Initial of 1,200 bytes to port 443, harmless name", || {
        one(P, T, 443, &initial_for(Version::V1, Some(HARMLESS), 1_200))
    });
    rows.fails(FIRST, "M6.1001", "1,001 bytes with version 1 in bytes 1 to 4", || {
        one(P, T, 443, &shaped(1_001, 1))
    });
    rows.passes(FIRST, "M6.1000", "1,000 bytes with version 1 in bytes 1 to 4", || {
        one(P, T, 443, &shaped(1_000, 1))
    });
    rows.passes(FIRST, "M6.draft_29", "1,200 bytes of draft-29", || {
        one(P, T, 443, &initial_for(Version::DRAFT_29, Some(HARMLESS), 1_200))
    });
    rows.passes(FIRST, "M6.v2", "1,200 bytes of version 2", || {
        one(P, T, 443, &initial_for(Version::V2, Some(HARMLESS), 1_200))
    });
    rows.passes(
        FIRST,
        "M6.negotiation",
        "1,200 bytes of version 0xbabababa (answered: tells it apart)",
        || one(P, T, 443, &bait_datagram()),
    );
    for port in [80, 444, 8443] {
        rows.passes(FIRST, &format!("M6.port_{port}"), &format!("version 1 to port {port}"), move || {
            one(P, T, port, &initial_for(Version::V1, Some(HARMLESS), 1_200))
        });
    }
    first_generation_flows(rows);
}

fn first_generation_flows(rows: &mut Rows) {
    const P: &str = "tspu-2022";
    const T: &str = "quic_version";
    rows.passes(FIRST, "M6.three_dummies", "version 1 after three dummy datagrams", || {
        let mut stage = only(P, T)?.stage()?;
        let udp = Udp::new(50_000);
        for _ in 0..3 {
            udp.up(&mut stage, &[0; 32]);
        }
        let passed = asked(&mut stage, udp, &initial_for(Version::V1, Some(HARMLESS), 1_200));
        Ok(Observed::new(passed, "after 3 datagrams of 32 bytes"))
    });
    rows.passes(
        Said { tag: 'F', confidence: "medium", ..FIRST },
        "M6.exempt_server",
        "version 1 to an exempt domestic server",
        || {
            let mut stage = only(P, T)?.stage()?;
            let udp = Udp::new(50_000).to(EXEMPT);
            let passed = asked(&mut stage, udp, &initial_for(Version::V1, Some(HARMLESS), 1_200));
            Ok(Observed::new(passed, "to an exempt network"))
        },
    );
    rows.fails(FIRST, "M6.flow", "a small datagram of the same flow after it", || {
        let mut stage = only(P, T)?.stage()?;
        let udp = Udp::new(50_000);
        udp.up(&mut stage, &shaped(1_200, 1));
        Ok(Observed::new(udp.up(&mut stage, &[0x40; 40]).passed(), "40 bytes"))
    });
    rows.holds(FIRST, "M6.silence", "no RST, no ICMP: silence", || {
        let mut stage = only(P, T)?.stage()?;
        let seen = Udp::new(50_000).up(&mut stage, &shaped(1_200, 1));
        Ok(Observed::new(
            seen.dropped() && stage.sent.is_empty(),
            format!("{seen:?}, {} packets", stage.sent.len()),
        ))
    });
    rows.passes(
        Said { source: source::IMC22, ..FIRST },
        "M6.from_outside",
        "version 1 in a flow opened from outside",
        || {
            let mut stage = only(P, T)?.stage()?;
            let udp = Udp::new(443);
            let passed =
                udp.down(&mut stage, &shaped(1_200, 1)).passed() && udp.up(&mut stage, &[1; 50]).passed();
            Ok(Observed::new(passed, "the Initial comes down"))
        },
    );
    for (seconds, passes) in [(419.0, false), (421.0, true)] {
        let what = format!("a small datagram of the same four numbers {seconds} s after it");
        let run = move || residual(P, T, seconds, &shaped(1_200, 1));
        let id = format!("M6.residual.{seconds}");
        if passes {
            rows.passes(FIRST_TIMER, &id, &what, run)
        } else {
            rows.fails(FIRST_TIMER, &id, &what, run)
        }
    }
}

fn residual(profile: &str, technique: &str, seconds: f64, datagram: &[u8]) -> Answer {
    let mut stage = only(profile, technique)?.stage()?;
    let udp = Udp::new(50_000);
    if asked(&mut stage, udp, datagram) {
        return Err("the first Initial passed".to_owned());
    }
    stage.wait_s(seconds - 0.002);
    Ok(Observed::new(udp.up(&mut stage, &[0x40; 40]).passed(), format!("after {seconds} s")))
}

fn second_generation(rows: &mut Rows) {
    const P: &str = "tspu-2026";
    const T: &str = "quic_sni";
    rows.fails(SECOND, "M7.blocked", "a version 1 Initial with a listed name to port 443", || {
        one(P, T, 443, &initial_for(Version::V1, Some(BLOCKED), 1_200))
    });
    rows.passes(SECOND, "M7.neutral", "the same server, a neutral name", || {
        one(P, T, 443, &initial_for(Version::V1, Some(HARMLESS), 1_200))
    });
    rows.passes(SECOND, "M7.v2", "version 2 with a listed name", || {
        one(P, T, 443, &initial_for(Version::V2, Some(BLOCKED), 1_200))
    });
    rows.passes(SECOND, "M7.nameless", "a version 1 Initial without a name", || {
        one(P, T, 443, &initial_for(Version::V1, None, 1_200))
    });
    rows.passes(
        SECOND,
        "M7.from_outside",
        "a listed name in an Initial from outside (outbound only)",
        || {
            let mut stage = only(P, T)?.stage()?;
            let udp = Udp::new(443);
            let named = udp.down(&mut stage, &initial_for(Version::V1, Some(BLOCKED), 1_200)).passed();
            Ok(Observed::new(named && udp.up(&mut stage, &[1; 60]).passed(), "the Initial comes down"))
        },
    );
    rows.holds(SECOND, "M7.ports", "about 22 % of the ports 1 to 1023 are left alone", || {
        let mut stage = only(P, T)?.stage()?;
        let mut free = 0;
        for port in 1..=1_023_u16 {
            let udp = Udp::new(20_000 + port).port(port);
            free += u32::from(udp.up(&mut stage, &initial_for(Version::V1, Some(BLOCKED), 1_200)).passed());
        }
        let share = f64::from(free) / 1_023.0;
        Ok(Observed::new((0.16..=0.28).contains(&share), format!("{free} of 1,023 ports: {share:.3}")))
    });
    rows.fails(SECOND, "M7.flow", "a later datagram of the same flow", || {
        let mut stage = only(P, T)?.stage()?;
        let udp = Udp::new(50_000);
        udp.up(&mut stage, &initial_for(Version::V1, Some(BLOCKED), 1_200));
        Ok(Observed::new(udp.up(&mut stage, &[0x40; 40]).passed(), "40 bytes"))
    });
    rows.unknown(
        SECOND,
        "M7.two_datagrams",
        "a hello over two datagrams (the method is in the paper, not read)",
    );
}

fn second_timers(rows: &mut Rows) {
    const P: &str = "tspu-2026";
    const T: &str = "quic_sni";
    let high = Said { confidence: "high", ..SECOND };
    let blocked = || initial_for(Version::V1, Some(BLOCKED), 1_200);
    rows.fails(high, "M7.residual.419", "a datagram of the same four numbers 419 s after it", move || {
        residual(P, T, 419.0, &blocked())
    });
    rows.passes(high, "M7.residual.421", "and 421 s after it", move || residual(P, T, 421.0, &blocked()));
    rows.passes(
        high,
        "M7.residual.fresh_port",
        "a neutral Initial from a fresh source port at once",
        move || {
            let mut stage = only(P, T)?.stage()?;
            Udp::new(50_000).up(&mut stage, &blocked());
            let passed =
                asked(&mut stage, Udp::new(50_001), &initial_for(Version::V1, Some(HARMLESS), 1_200));
            Ok(Observed::new(passed, "port 50001 after port 50000"))
        },
    );
    let twice = move |second: Vec<u8>| -> Answer {
        let mut stage = only(P, T)?.stage()?;
        let udp = Udp::new(50_000);
        udp.up(&mut stage, &blocked());
        stage.wait_s(300.0);
        udp.up(&mut stage, &second);
        stage.wait_s(200.0);
        Ok(Observed::new(
            udp.up(&mut stage, &[0x40; 40]).passed(),
            "500 s after the first, 200 s after the second",
        ))
    };
    rows.fails(
        high,
        "M7.timer_reset",
        "500 s after a listed Initial, with another listed one after 300 s",
        move || twice(blocked()),
    );
    rows.passes(
        high,
        "M7.timer_kept",
        "500 s after a listed Initial, with other data after 300 s",
        move || twice(vec![0x40; 60]),
    );
}
