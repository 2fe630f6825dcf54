//! Arms about places: whitelists, blackouts, and how many fragments the path to a partner takes.
//!
//! One place that fails shows little; a sign here says that all of a kind did.

use okno_model::{FailureKind, Layer, Observation};

use super::{Case, role};
use crate::arms::Role;
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// Places that must all be silent before the silence is one of a kind and not of a place.
const SEVERAL: usize = 2;
/// Slower than this nothing but a trickle passes, bytes a second: 14 kbit/s are 1,750
/// (https://github.com/net4people/bbs/issues/516); EDGE has some 10,000 and more.
const TRICKLE: f64 = 4_000.0;

/// Whether a connection was tried and came to nothing on the way, name resolution aside.
fn silent(arm: &Observation<'_>) -> bool {
    let step = arm.arm_failed_at.as_deref();
    arm.arm_success == Some(false) && matches!(step, Some("tcp" | "tls" | "http" | "transfer"))
}

/// All connections to places of a kind failed, and there were several.
fn all_silent(arms: &[&Observation<'_>], wanted: Role) -> bool {
    let mut tried = arms
        .iter()
        .filter(|arm| role(arm) == Some(wanted) && arm.arm_operation.as_deref() == Some("tls_hello"))
        .peekable();
    tried.peek().is_some() && tried.clone().count() >= SEVERAL && tried.all(|arm| silent(arm))
}

/// Whitelists and blackouts.
pub(super) fn places<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    signs.add_if(all_silent(arms, Role::Domestic), Sign::ArmsHomeSilent);
    signs.add_if(all_silent(arms, Role::Foreign), Sign::ArmsAbroadSilent);
    let any = |holds: &dyn Fn(&Observation<'_>) -> bool| arms.iter().any(|arm| holds(arm));
    let answered = |arm: &Observation<'_>, wanted: Role| {
        let hello = arm.arm_operation.as_deref() == Some("tls_hello");
        role(arm) == Some(wanted) && hello && arm.arm_success == Some(true)
    };
    signs.add_if(any(&|arm| answered(arm, Role::Domestic)), Sign::ArmsHomeAnswers);
    signs.add_if(any(&|arm| answered(arm, Role::Foreign)), Sign::ArmsAbroadAnswers);
    let lost = |arm: &&&Observation<'_>| {
        let hello = arm.arm_operation.as_deref() == Some("tls_hello");
        role(arm) == Some(Role::Foreign) && hello && arm.arm_failed_at.as_deref() == Some("tls")
    };
    signs.add_if(arms.iter().filter(lost).count() >= SEVERAL, Sign::ArmsAbroadHelloLost);
    let resolved = |arm: &Observation<'_>| {
        arm.arm_operation.as_deref() == Some("dns_query") && arm.arm_success == Some(true)
    };
    signs.add_if(any(&resolved), Sign::ArmsNamesResolve);
    let portal = |arm: &Observation<'_>| {
        arm.arm_operation.as_deref() == Some("http_get")
            && matches!(arm.arm_note.as_deref(), Some("redirect" | "page"))
    };
    signs.add_if(any(&portal), Sign::ArmsPortal);
    let router = |arm: &Observation<'_>| arm.arm_ttl.is_some() && arm.arm_success == Some(true);
    signs.add_if(any(&router), Sign::ArmsRouterAnswers);
    // One place may have no route of its own; an outage has none to most.
    let hello = |arm: &&&Observation<'_>| arm.arm_operation.as_deref() == Some("tls_hello") && silent(arm);
    let told = |arm: &&&Observation<'_>| {
        hello(arm) && arm.arm_failure.map(okno_model::Failure::kind) == Some(FailureKind::Unreachable)
    };
    let (told, failed) = (arms.iter().filter(told).count(), arms.iter().filter(hello).count());
    signs.add_if(told * 2 > failed, Sign::ArmsToldUnreachable);
    let trickle = |arm: &Observation<'_>| {
        arm.arm_variant.as_deref() == Some("page")
            && arm.arm_goodput_bytes_s.is_some_and(|rate| rate < TRICKLE)
    };
    signs.add_if(any(&trickle), Sign::ArmsTrickle);
    vec![Case { layer, arms: arms.to_vec(), signs }]
}

/// One address and those beside it. A reset is an answer: somebody is there.
pub(super) fn address<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    let answered = |arm: &Observation<'_>| {
        let refused = arm.arm_failure.map(okno_model::Failure::kind);
        arm.arm_success == Some(true) || matches!(refused, Some(FailureKind::Refused | FailureKind::Reset))
    };
    // At every try of the roles: whether any was made, and whether any was answered.
    let of = |wanted: &[Role]| {
        let tried = arms.iter().filter(|arm| role(arm).is_some_and(|role| wanted.contains(&role)));
        // What the own machine or session refused was not tried.
        let local = |arm: &&&Observation<'_>| {
            arm.arm_failure.map(okno_model::Failure::kind) == Some(FailureKind::Local)
        };
        let answers: Vec<bool> = tried.filter(|arm| !local(arm)).map(|arm| answered(arm)).collect();
        (!answers.is_empty(), answers.contains(&true))
    };
    let own = [Role::Target, Role::Repeat, Role::OtherPort, Role::OtherTransport];
    signs.add_if(of(&own) == (true, false), Sign::ArmsAddressSilent);
    signs.add_if(of(&[Role::Neighbour]) == (true, true), Sign::ArmsNeighboursAnswer);
    signs.add_if(of(&[Role::Neighbour]) == (true, false), Sign::ArmsNeighboursSilent);
    signs.add_if(of(&[Role::Target]).1 && of(&[Role::Recovery]) == (true, false), Sign::ArmsSilentLater);
    signs.add_if(of(&[Role::Domestic]) == (true, true), Sign::ArmsHomeAnswers);
    signs.add_if(of(&[Role::Foreign]) == (true, true), Sign::ArmsAbroadAnswers);
    signs.add_if(of(&[Role::Foreign]) == (true, false), Sign::ArmsAbroadSilent);
    vec![Case { layer, arms: arms.to_vec(), signs }]
}

/// The fragment census: `arm_value` is into how many fragments the datagram went.
pub(super) fn census<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    let passed = |count: f64| {
        let tried: Vec<bool> = arms
            .iter()
            .filter(|arm| arm.arm_value == Some(count))
            .filter_map(|arm| arm.arm_success)
            .collect();
        (!tried.is_empty()).then(|| tried.contains(&true))
    };
    let fragments = passed(2.0).or_else(|| passed(24.0));
    signs.add_if(fragments == Some(false) && passed(1.0) == Some(true), Sign::ArmsFragmentsDropped);
    signs.add_if(passed(45.0) == Some(true) && passed(46.0) == Some(false), Sign::ArmsFragments45);
    signs.add_if(passed(45.0) == Some(true) && passed(46.0) == Some(true), Sign::ArmsFragments46);
    vec![Case { layer, arms: arms.to_vec(), signs }]
}
