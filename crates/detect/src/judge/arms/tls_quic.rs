//! Arms over TLS and QUIC: names, versions, ports, ECH, the place of the box, certificates.

use okno_model::{Layer, Observation};

use super::{Case, whole};
use crate::rules::Limits;

pub(super) fn cases<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, limits: Limits) -> Vec<Case<'f, 'a>> {
    whole(arms, layer, limits)
}
