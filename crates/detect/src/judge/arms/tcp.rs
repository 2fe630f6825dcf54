//! Arms over TCP: speed, packet budgets, limits on connections, direction of initiation.
//!
//! Speeds are compared with each other, never with a line's promise: a slow line is slow for every arm.
//! What is about places (whitelists, blackouts) stands in [`super::places`].

use okno_model::{FailureKind, Layer, Observation};

use super::{Case, median, role, whole};
use crate::arms::Role;
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// Below this part of a comparison's speed the target counts as slower: policing holds transfers down to some
/// tenth of the line (TSPU 2021: 130–150 kbit/s, Xue et al., IMC 2021), neighbours on one line differ by
/// less.
const SLOWER: f64 = 1.0 / 3.0;
/// Share of 100 ms without a byte from which arrivals count as bursts. A bucket of 16 KB at 140 kbit/s left
/// half of them empty in the lab, a slow line none, a line that loses a tenth as many: loss is looked at
/// beside it.
const IDLE: f64 = 0.3;
/// A queue: the round trip at least so many times what it was, and so many ms longer. Hand-set.
const QUEUE: (f64, f64) = (2.0, 100.0);
/// Where a budget of packets or bytes has been seen to end, with room on either side: 14 to 34 kB, raw
/// transfers up to 100 kB (https://github.com/net4people/bbs/issues/490).
const BUDGET: core::ops::RangeInclusive<u64> = 5_000..=150_000;
/// Two freezes at one place differ by no more than a segment or two of each other.
const SAME_PLACE: u64 = 4_000;

/// Throttling: the same transfer under two names and scrambled.
pub(super) fn speed<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, limits: Limits) -> Vec<Case<'f, 'a>> {
    // Pages of the target's own server are another size and place than replays: compared only where no
    // partner replayed. Arms that ran at once take from each other.
    let of = |wanted: fn(&str) -> bool| -> Vec<&'f Observation<'a>> {
        arms.iter().copied().filter(|arm| wanted(arm.arm_variant.as_deref().unwrap_or_default())).collect()
    };
    let replays = of(|variant| variant != "direct");
    let direct = of(|variant| variant == "direct");
    let one = |arms: Vec<&'f Observation<'a>>| {
        let mut signs = Signs::default();
        let alone = |arm: &&&Observation<'_>| arm.arm_variant.as_deref() != Some("parallel");
        let apart: Vec<&Observation<'_>> = arms.iter().filter(alone).copied().collect();
        speeds(&apart, limits, &mut signs);
        Case { layer, arms, signs }
    };
    if replays.is_empty() { vec![one(direct)] } else { vec![one(replays)] }
}

fn speeds(arms: &[&Observation<'_>], limits: Limits, signs: &mut Signs) {
    let slow = limits.slow_bytes_per_s as f64;
    // What failed before any byte had no speed at all.
    let speed = |arm: &Observation<'_>| match arm.arm_success {
        Some(false) if arm.arm_goodput_bytes_s.is_none() => Some(0.0),
        _ => arm.arm_goodput_bytes_s,
    };
    let of =
        |wanted: Role| arms.iter().filter(move |arm| role(arm) == Some(wanted)).filter_map(|arm| speed(arm));
    let fastest = |role| of(role).reduce(f64::max);
    let slowest = |role| of(role).reduce(f64::min);
    let Some(target) = median(arms, Role::Target, speed) else { return };
    let bytes = |role| median(arms, role, |arm| arm.rx_bytes.map(|bytes| bytes as f64)).unwrap_or(0.0);
    // A comparison that is slow itself shows a slow line, one that was short shows the first flight; one
    // run that was slow by chance shows nothing.
    let slower = |other: Role| {
        median(arms, other, speed).is_some_and(|speed| speed > slow && target < speed * SLOWER)
            && fastest(Role::Target) < slowest(other)
            && bytes(other) * 2.0 >= bytes(Role::Target)
    };
    let (than_scrambled, than_neutral) = (slower(Role::Scrambled), slower(Role::NeutralName));
    signs.add_if(than_scrambled, Sign::ArmsSlowerThanScrambled);
    signs.add_if(than_neutral, Sign::ArmsSlowerThanNeutral);
    let neutral = median(arms, Role::NeutralName, speed);
    let both = median(arms, Role::Scrambled, speed)
        .is_some_and(|speed| speed > slow && neutral.is_some_and(|neutral| neutral < speed * SLOWER))
        && fastest(Role::NeutralName) < slowest(Role::Scrambled);
    signs.add_if(both, Sign::ArmsNeutralSlowerThanScrambled);
    let idle = median(arms, Role::Target, |arm| arm.arm_value);
    signs.add_if(idle.is_some_and(|share| share >= IDLE), Sign::ArmsBursts);
    let grows = |arm: &Observation<'_>| {
        let (first, last) = (arm.arm_rtt_first_ms?, arm.arm_rtt_ms?);
        Some(f64::from(u8::from(last >= first * QUEUE.0 && last >= first + QUEUE.1)))
    };
    signs.add_if(median(arms, Role::Target, grows) == Some(1.0), Sign::ArmsRoundTripGrows);
}

/// Packet budgets.
pub(super) fn budget<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    let frozen = |wanted: Role| {
        let stops = arms.iter().filter(|arm| role(arm) == Some(wanted) && stopped(arm));
        stops.filter_map(|arm| arm.rx_bytes).find(|bytes| BUDGET.contains(bytes))
    };
    let place = frozen(Role::Target).zip(frozen(Role::Repeat));
    signs
        .add_if(place.is_some_and(|(first, again)| first.abs_diff(again) <= SAME_PLACE), Sign::ArmsSamePlace);
    let timed_out = |variant: &str| {
        arms.iter()
            .any(|arm| arm.arm_variant.as_deref() == Some(variant) && kind(arm) == Some(FailureKind::Timeout))
    };
    signs.add_if(timed_out("full_segment"), Sign::ArmsFullSegmentLost);
    signs.add_if(timed_out("pieces"), Sign::ArmsPiecesFrozen);
    let freeze = place.map_or(0, |(first, _)| first);
    let passed = |arm: &&&Observation<'_>| {
        matches!(role(arm), Some(Role::Domestic | Role::Foreign))
            && arm.arm_success == Some(true)
            && arm.rx_bytes.unwrap_or(0) > freeze
    };
    signs.add_if(arms.iter().filter(passed).count() > 0, Sign::ArmsOtherNetworksPass);
    vec![Case { layer, arms: arms.to_vec(), signs }]
}

fn kind(arm: &Observation<'_>) -> Option<FailureKind> {
    arm.arm_failure.map(okno_model::Failure::kind)
}

/// Whether content came and then no more.
fn stopped(arm: &Observation<'_>) -> bool {
    arm.arm_failed_at.as_deref() == Some("transfer") && kind(arm) == Some(FailureKind::Timeout)
}

/// Limits on connections: the place in the run from which nothing works.
pub(super) fn run<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    let mut series: Vec<&Observation<'_>> =
        arms.iter().copied().filter(|arm| role(arm) == Some(Role::Series)).collect();
    series.sort_by_key(|arm| arm.arm_round);
    let worked = |arm: &&Observation<'_>| arm.arm_success == Some(true);
    let first = series.iter().take_while(|arm| worked(arm)).count();
    let rest = series.get(first..).unwrap_or_default();
    // All from some place on, or nearly: one of the run may be late on the way and count as earlier.
    let stays =
        first > 0 && rest.len() >= 2 && rest.iter().filter(|arm| worked(arm)).count() * 10 <= rest.len();
    if stays {
        let at = |step: &str, wanted: FailureKind| {
            let so = |arm: &&&Observation<'_>| {
                arm.arm_failed_at.as_deref() == Some(step) && kind(arm) == Some(wanted)
            };
            rest.iter().filter(so).count() * 2 > rest.len()
        };
        signs.add_if(at("tls", FailureKind::Timeout), Sign::ArmsLimitAfterSome);
        signs.add_if(at("tcp", FailureKind::Timeout), Sign::ArmsLimitAtTcp);
        let lost = |arm: &&&Observation<'_>| arm.arm_value.is_some_and(|bytes| bytes > 0.0);
        signs.add_if(rest.iter().filter(lost).count() * 2 > rest.len(), Sign::ArmsHelloUnacknowledged);
    }
    let shared = |arm: &&&Observation<'_>| arm.arm_note.as_deref() == Some("shared");
    signs.add_if(arms.iter().filter(shared).count() > 0, Sign::ArmsSharedAddress);
    vec![Case { layer, arms: arms.to_vec(), signs }]
}

/// Direction of initiation: nothing but roles; whether a connection came in at all is told by its step.
pub(super) fn direction<'f, 'a>(
    arms: &[&'f Observation<'a>],
    layer: Layer,
    limits: Limits,
) -> Vec<Case<'f, 'a>> {
    let mut cases = whole(arms, layer, limits);
    let came = |arm: &&Observation<'_>| {
        matches!(role(arm), Some(Role::Plain | Role::Inbound)) && arm.arm_failed_at.as_deref() != Some("tcp")
    };
    let came_in = arms.iter().any(came);
    for case in &mut cases {
        case.signs.add_if(came_in, Sign::ArmsCameIn);
    }
    cases
}
