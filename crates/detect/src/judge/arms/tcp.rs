//! Arms over TCP: speed, packet budgets, limits on connections, whitelists, blackouts, direction, fragments.
//!
//! Speeds are compared with each other, never with a line's promise: a slow line is slow for every arm.

use okno_model::{Layer, Observation};

use super::{Case, median};
use crate::arms::Role;
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// Below this part of a comparison's speed the target counts as slower: policing holds transfers down to some
/// tenth of the line (TSPU 2021: 130–150 kbit/s, Xue et al., IMC 2021), neighbours on one line differ by less.
const SLOWER: f64 = 1.0 / 3.0;

pub(super) fn cases<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, limits: Limits) -> Vec<Case<'f, 'a>> {
    let mut signs = Signs::default();
    speeds(arms, limits, &mut signs);
    vec![Case { layer, arms: arms.to_vec(), signs }]
}

fn speeds(arms: &[&Observation<'_>], limits: Limits, signs: &mut Signs) {
    let goodput = |role| median(arms, role, |arm| arm.arm_goodput_bytes_s);
    let Some(target) = goodput(Role::Target) else { return };
    // A comparison that is slow itself shows a slow line.
    let slower = |other: f64| other > limits.slow_bytes_per_s as f64 && target < other * SLOWER;
    signs.add_if(goodput(Role::Scrambled).is_some_and(slower), Sign::ArmsSlowerThanScrambled);
    signs.add_if(goodput(Role::NeutralName).is_some_and(slower), Sign::ArmsSlowerThanNeutral);
}
