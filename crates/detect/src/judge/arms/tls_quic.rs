//! Arms over TLS and QUIC: names, versions, ports, ECH, the place of the box, certificates.
//!
//! What a client can see beyond an ending: how soon and with whose TTL a reset came, whether a hello was
//! acknowledged, where on the way two names begin to fare differently.

use okno_model::{FailureKind, Layer, Observation};

use super::{Case, by_variant, role};
use crate::arms::Role;
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// A reset in less than this share of a round trip cannot be the server's: the hello was not there yet.
const SHORT: f64 = 0.8;

/// Most bytes that one segment takes over Ethernet (RFC 9293 §3.7.1 over an MTU of 1500).
const ONE_SEGMENT: u64 = 1_460;

pub(super) fn cases<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    let targets: Vec<_> = arms.iter().copied().filter(|arm| role(arm) == Some(Role::Target)).collect();
    resets(&targets, &mut signs);
    acknowledgments(&targets, &mut signs);
    let of_state = targets.iter().any(|arm| arm.arm_note.as_deref() == Some("state_authority"));
    signs.add_if(of_state, Sign::ArmsStateAuthority);
    signs.add_if(place_found(arms), Sign::ArmsPlaceFound);
    // Steps are made to fail: they speak through `arms.place_found` alone.
    let whole = arms.iter().copied().filter(|arm| role(arm) != Some(Role::Step)).collect();
    vec![Case { layer, arms: whole, signs }]
}

/// One case a form of the hello.
pub(super) fn forms<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let is_large = |arm: &Observation<'_>| arm.tx_bytes.is_some_and(|bytes| bytes > ONE_SEGMENT);
    let of_chrome = |arm: &&&'f Observation<'a>| arm.arm_variant.as_deref() == Some("chrome-pq");
    let large_fails = arms.iter().filter(of_chrome).any(|arm| arm.arm_success == Some(false));
    let case = |(variant, arms): (&str, Vec<&'f Observation<'a>>)| {
        let mut signs = Signs::default();
        let tried_large = arms.iter().any(|arm| role(arm) == Some(Role::Target) && is_large(arm));
        signs.add_if(large_fails && tried_large, Sign::ArmsLargeControlFails);
        let layer = match variant {
            "telegram" | "telegram-short" => {
                signs.add(Sign::ArmsOfTelegramHello);
                Layer::App
            }
            "chrome-pq" => {
                signs.add(Sign::ArmsOfLargeHello);
                Layer::Tcp
            }
            _ => layer,
        };
        let cut = |arm: &&&'f Observation<'a>| {
            let sent = arm.tx_bytes.unwrap_or(0) as f64;
            role(arm) == Some(Role::Target)
                && kind(arm) == Some(FailureKind::Timeout)
                && arm.arm_value.is_some_and(|left| left > 0.0 && left < sent)
        };
        signs.add_if(arms.iter().any(|arm| cut(&arm)), Sign::ArmsPartlyAcknowledged);
        Case { layer, arms, signs }
    };
    by_variant(arms).into_iter().map(case).collect()
}

fn kind(arm: &Observation<'_>) -> Option<FailureKind> {
    arm.arm_failure.map(okno_model::Failure::kind)
}

/// Whose the resets are: by the time since the hello, and by TTL where raw packets told it.
fn resets(targets: &[&Observation<'_>], signs: &mut Signs) {
    let resets: Vec<_> = targets.iter().filter(|arm| kind(arm) == Some(FailureKind::Reset)).collect();
    let injected = |arm: &Observation<'_>| {
        let soon = arm.arm_rtt_ms.zip(arm.arm_rtt_first_ms).is_some_and(|(came, rtt)| came < rtt * SHORT);
        soon || arm.arm_note.as_deref() == Some("rst_other_ttl")
    };
    let timed = resets.iter().all(|arm| arm.arm_rtt_ms.is_some() && arm.arm_rtt_first_ms.is_some());
    signs.add_if(resets.iter().any(|arm| injected(arm)), Sign::ArmsResetInjected);
    signs.add_if(
        !resets.is_empty() && timed && !resets.iter().any(|arm| injected(arm)),
        Sign::ArmsResetOfServer,
    );
}

/// Whether hellos after which nothing more came were acknowledged: an answer shows it, else what the stack
/// says of bytes that were not (`value`).
fn acknowledgments(targets: &[&Observation<'_>], signs: &mut Signs) {
    for arm in targets.iter().filter(|arm| kind(arm) == Some(FailureKind::Timeout)) {
        let answered = arm.rx_bytes.is_some_and(|bytes| bytes > 0);
        match arm.arm_value {
            _ if answered => signs.add(Sign::ArmsTargetAcknowledged),
            Some(left) if left > 0.0 => signs.add(Sign::ArmsTargetUnacknowledged),
            Some(_) => signs.add(Sign::ArmsTargetAcknowledged),
            None => {}
        }
    }
}

/// Whether at one TTL the neutral hello was reported by a router and the target's was reset or swallowed.
fn place_found(arms: &[&Observation<'_>]) -> bool {
    let steps = |variant: &'static str| {
        arms.iter()
            .filter(move |arm| role(arm) == Some(Role::Step) && arm.arm_variant.as_deref() == Some(variant))
    };
    let note = |arm: &Observation<'_>| arm.arm_note.as_deref().unwrap_or("").to_owned();
    steps("neutral").filter(|arm| note(arm) == "icmp_time_exceeded").any(|neutral| {
        steps("target").any(|target| {
            let word = note(target);
            target.arm_ttl == neutral.arm_ttl && (word.starts_with("rst") || word == "silence")
        })
    })
}
