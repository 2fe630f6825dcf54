//! Arms over UDP: tunnels, calls, interception of DNS. One case a variant (protocol) that was tried.
//!
//! Loss is compared with random datagrams of the same sizes: a lossy line loses those as well.

use okno_model::{Layer, Observation};

use super::{Case, by_variant, median, whole};
use crate::arms::Role;
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// So much more of the target's datagrams than of random ones must be lost before loss is selective: two arms
/// of fifty datagrams on a line that loses a tenth differ by less. Hand-set.
const MORE_LOST: f64 = 0.2;

pub(super) fn cases<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, limits: Limits) -> Vec<Case<'f, 'a>> {
    let variants = by_variant(arms);
    if variants.is_empty() {
        return whole(arms, layer, limits);
    }
    let case = |arms: Vec<&'f Observation<'a>>| {
        let mut signs = Signs::default();
        losses(&arms, &mut signs);
        Case { layer, arms, signs }
    };
    variants.into_iter().map(|(_, arms)| case(arms)).collect()
}

fn losses(arms: &[&Observation<'_>], signs: &mut Signs) {
    let loss = |role| median(arms, role, |arm| arm.arm_loss_share);
    let more = loss(Role::Target).zip(loss(Role::Random)).is_some_and(|(t, r)| t >= r + MORE_LOST);
    signs.add_if(more, Sign::ArmsDatagramsLost);
}
