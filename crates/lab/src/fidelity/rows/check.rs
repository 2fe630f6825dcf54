//! Trials that many rows share.

use okno_censor::Direction;
use okno_wire::tls::preset;

use super::Answer;
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, HARMLESS, Stage, Tcp, Tried, exchange, hello};
use crate::fidelity::trial::Trial;

/// A box with the rules of one technique of a profile.
pub fn only(profile: &str, technique: &str) -> Result<Trial, String> {
    Trial::new(profile)?.only(&[technique])
}

/// Whether an exchange came through.
pub fn through(tried: Tried) -> Observed {
    Observed::new(tried == Tried::Through, format!("{tried:?}"))
}

/// One exchange with a name, to a port.
pub fn name_to_port(profile: &str, technique: &str, name: &str, port: u16) -> Answer {
    let mut stage = only(profile, technique)?.stage()?;
    Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).port(port), &hello(name))))
}

/// What a first exchange with the blocked name came to.
pub fn blocked(profile: &str, technique: &str) -> Result<(Stage, Tcp, Tried), String> {
    let mut stage = only(profile, technique)?.stage()?;
    let mut tcp = Tcp::new(40_000);
    let tried = exchange(&mut stage, &mut tcp, &hello(BLOCKED));
    Ok((stage, tcp, tried))
}

/// After a trigger and so many seconds, a harmless exchange from `port` to the same end.
pub fn after(profile: &str, technique: &str, seconds: f64, port: u16) -> Answer {
    let trial = only(profile, technique)?;
    after_on(&trial, seconds, Tcp::new(port))
}

/// The same on a trial, over the connection given. The first connection is [`Tcp::new`] of port 40,000.
pub fn after_on(trial: &Trial, seconds: f64, mut second: Tcp) -> Answer {
    let mut stage = trial.stage()?;
    let mut first = Tcp::new(40_000);
    let tried = trigger(&mut stage, &mut first);
    if tried == Tried::Through && !stage.triggered() {
        return Err("the first connection did not trigger".to_owned());
    }
    let began = stage.acts.iter().map(|act| act.at).min().unwrap_or(stage.now);
    let gone = stage.now.since(began).as_secs_f64();
    stage.wait_s((seconds - gone).max(0.0));
    second.up = second.up.wrapping_add(700_000);
    second.down = second.down.wrapping_add(900_000);
    let again = exchange(&mut stage, &mut second, &hello(HARMLESS));
    Ok(Observed::new(again == Tried::Through, format!("first {tried:?}, then {again:?} after {seconds} s")))
}

/// Opens and names the blocked name, no more: the residual begins here.
pub fn trigger(stage: &mut Stage, tcp: &mut Tcp) -> Tried {
    if !tcp.open(stage) {
        return Tried::NoConnection;
    }
    let seen = tcp.up(stage, &hello(BLOCKED));
    if seen.passed() { Tried::Through } else { Tried::HelloDropped }
}

/// Among `flows` flows from different ports, the share for which `holds`, between `low` and `high`?
pub fn share(
    trial: &Trial,
    flows: u32,
    low: f64,
    high: f64,
    mut holds: impl FnMut(&mut Stage, Tcp) -> bool,
) -> Answer {
    let mut stage = trial.stage()?;
    let mut count = 0_u32;
    for index in 0..flows {
        let mut tcp = Tcp::new(1_024 + (index % 60_000) as u16);
        let host = core::net::Ipv4Addr::from(0x0a01_0000 + index / 60_000);
        tcp.inside.ip = host.into();
        count += u32::from(holds(&mut stage, tcp));
    }
    let share = f64::from(count) / f64::from(flows.max(1));
    Ok(Observed::new(
        (low..=high).contains(&share),
        format!("{count} of {flows} flows: {share:.4}, allowed {low}–{high}"),
    ))
}

/// Bounds of a share `p` of `n` flows, 4.5 standard deviations wide: a true model fails once in 150,000.
pub fn bounds(p: f64, n: u32) -> (f64, f64) {
    let width = 4.5 * (p * (1.0 - p) / f64::from(n)).sqrt();
    (p - width, p + width)
}

/// Payload bytes per second and way that pass after a trigger, over so many seconds.
pub fn rate(stage: &mut Stage, tcp: &mut Tcp, direction: Direction, seconds: u32) -> f64 {
    let mut passed = 0_u64;
    // 2 Mbit/s offered: 1,000 bytes each 4 ms, of which a millisecond goes by with each packet.
    for _ in 0..seconds * 250 {
        stage.wait_s(0.003);
        let seen = match direction {
            Direction::Up => tcp.up(stage, &[0x17; 1_000]),
            Direction::Down => tcp.down(stage, &[0x17; 1_000]),
        };
        if seen.passed() {
            passed += 1_040;
        }
    }
    passed as f64 * 8.0 / f64::from(seconds)
}

/// A browser's hello with post-quantum shares: two segments.
pub fn large_hello(name: &str) -> Vec<u8> {
    preset::chrome(5, Some(name), true).emit_record()
}

/// The first shipped profile that has a rule of the technique, with the stage's lists, rules switched on.
pub fn any_profile(technique: &str) -> Result<Trial, String> {
    for (name, _) in okno_censor::profile::BUILTIN {
        if let Ok(trial) = only(name, technique) {
            return Ok(trial.change(|profile| {
                profile.rules.truncate(1);
                for rule in &mut profile.rules {
                    rule.off = false;
                }
            }));
        }
    }
    Err(format!("no shipped profile has a rule of {technique}"))
}
