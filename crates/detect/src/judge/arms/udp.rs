//! Arms over UDP: tunnels, calls, interception of DNS. One case a variant (protocol) that was tried.
//!
//! Loss is compared with random datagrams of the same sizes: a lossy line loses those as well.

use okno_model::{Layer, Observation};

use super::{Case, by_variant, role, whole};
use crate::arms::Role;
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// So much more of the target's datagrams than of random ones must be lost before loss is selective: two arms
/// of fifty datagrams on a line that loses a tenth differ by less. Hand-set.
const MORE_LOST: f64 = 0.2;

/// A cut within so many messages comes before the budgets of packets that hold for everything: 25 both ways,
/// the first dozen of one side (https://github.com/net4people/bbs/issues/490).
const EARLY: f64 = 8.0;

/// Messages of one side below which a cut is no budget of packets: the smallest that is reported is ten both
/// ways (https://en.zona.media/article/2025/06/27/cloud_confirmed).
const LEAST_BUDGET: f64 = 3.0;

pub(super) fn cases<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, limits: Limits) -> Vec<Case<'f, 'a>> {
    let variants = by_variant(arms);
    if variants.is_empty() {
        let mut all = whole(arms, layer, limits);
        for case in &mut all {
            questions(&case.arms, &mut case.signs);
        }
        return all;
    }
    let case = |(variant, arms): (&str, Vec<&'f Observation<'a>>)| {
        let mut signs = Signs::default();
        losses(&arms, &mut signs);
        shapes(&arms, &mut signs);
        if let Some(sign) = protocol(variant) {
            signs.add(sign);
        }
        // A budget of packets is the taxonomy's affair of connections, whatever it counts.
        let budget = signs.has(Sign::ArmsAllCutAlike) && !signs.has(Sign::ArmsCutBeforeControl);
        let layer = if budget { Layer::Tcp } else { layer };
        Case { layer, arms, signs }
    };
    variants.into_iter().map(case).collect()
}

/// What a variant is, whatever carries it.
fn protocol(variant: &str) -> Option<Sign> {
    Some(match variant {
        "wireguard" => Sign::ArmsOfWireguard,
        "openvpn" | "openvpn-udp" | "openvpn-tcp" => Sign::ArmsOfOpenvpn,
        "ike" | "ikev2" => Sign::ArmsOfIke,
        "l2tp" => Sign::ArmsOfL2tp,
        "shadowsocks" | "shadowsocks-udp" => Sign::ArmsOfFullyEncrypted,
        "stun" | "turn" => Sign::ArmsOfStun,
        "media" | "rtp" => Sign::ArmsOfMedia,
        "dtls" => Sign::ArmsOfDtls,
        _ => return None,
    })
}

/// The least loss of the target's arms against the greatest of the controls': one bad second on the line
/// does not make a protocol's loss. An arm whose first message stayed without answer lost all.
fn losses(arms: &[&Observation<'_>], signs: &mut Signs) {
    let of = |roles: &[Role]| -> Vec<f64> {
        let fits = |arm: &&&Observation<'_>| role(arm).is_some_and(|role| roles.contains(&role));
        let lost = |arm: &&Observation<'_>| match arm.arm_failed_at.as_deref() {
            Some("handshake") => Some(1.0),
            _ => arm.arm_loss_share,
        };
        arms.iter().filter(fits).filter_map(lost).collect()
    };
    let least = of(&[Role::Target, Role::Repeat]).into_iter().min_by(f64::total_cmp);
    let greatest = of(&[Role::Random]).into_iter().max_by(f64::total_cmp);
    let more = least.zip(greatest).is_some_and(|(target, random)| target >= random + MORE_LOST);
    signs.add_if(more, Sign::ArmsDatagramsLost);
}

/// Where answers ended, and what else was silent.
fn shapes(arms: &[&Observation<'_>], signs: &mut Signs) {
    let of = |wanted: Role| arms.iter().filter(move |arm| role(arm) == Some(wanted));
    let failed_at = |arm: &Observation<'_>, step: &str| {
        arm.arm_success == Some(false) && arm.arm_failed_at.as_deref() == Some(step)
    };
    let early = |arm: &&Observation<'_>| {
        failed_at(arm, "transfer") && arm.arm_value.is_some_and(|passed| passed <= EARLY)
    };
    signs.add_if(of(Role::Target).any(early), Sign::ArmsCutEarly);
    signs.add_if(of(Role::Target).any(|arm| failed_at(arm, "handshake")), Sign::ArmsStuckAtHandshake);
    let cuts = |roles: &[Role]| -> Vec<f64> {
        let fits = |arm: &&&Observation<'_>| {
            role(arm).is_some_and(|role| roles.contains(&role)) && arm.arm_success == Some(false)
        };
        let passed = |arm: &&Observation<'_>| match arm.arm_failed_at.as_deref() {
            Some("handshake") => Some(0.0),
            Some("transfer") => arm.arm_value,
            _ => None,
        };
        arms.iter().filter(fits).filter_map(passed).collect()
    };
    let (targets, controls) = (cuts(&[Role::Target, Role::Repeat]), cuts(&[Role::Random]));
    let least = controls.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = controls.iter().copied().fold(0.0, f64::max);
    let alike = controls.len() >= 3 && least > LEAST_BUDGET && greatest - least <= 2.0;
    signs.add_if(alike, Sign::ArmsAllCutAlike);
    let before = targets.len() >= 2 && targets.iter().all(|passed| 2.0 * passed <= least);
    signs.add_if(alike && before, Sign::ArmsCutBeforeControl);
    let ended = |round: u32, success: bool| {
        of(Role::Random).any(|arm| arm.arm_round == Some(round) && arm.arm_success == Some(success))
    };
    signs.add_if(ended(0, true) && ended(1, false), Sign::ArmsControlLostLater);
    let datagrams = || arms.iter().filter(|arm| arm.arm_operation.as_deref() == Some("udp_exchange"));
    let silent = |arm: &&&Observation<'_>| arm.arm_success == Some(false) && arm.rx_bytes.unwrap_or(0) == 0;
    let none = datagrams().count() > 0 && datagrams().filter(silent).count() == datagrams().count();
    signs.add_if(none, Sign::ArmsUdpSilent);
    let connected = |arm: &Observation<'_>| arm.arm_operation.as_deref() == Some("transfer");
    signs.add_if(
        of(Role::OtherTransport).any(|arm| connected(arm) && arm.arm_success == Some(true)),
        Sign::ArmsTcpOk,
    );
}

/// What the answers to questions of DNS say, transport by transport.
fn questions(arms: &[&Observation<'_>], signs: &mut Signs) {
    let named = |name: &str| arms.iter().find(|arm| arm.arm.as_deref() == Some(name));
    let said = |name: &str, word: &str| named(name).is_some_and(|arm| arm.arm_note.as_deref() == Some(word));
    let twice = |word: &str| said("target", word) && said("repeat", word);
    let either = |a: &str, b: &str, word: &str| said(a, word) || said(b, word);
    let answered = |name: &str| ["address", "bogon", "code"].iter().any(|word| said(name, word));
    let any_name = answered("no_resolver.neutral");
    signs.add_if(any_name, Sign::ArmsDnsNonResolver);
    signs.add_if(answered("no_resolver") && !any_name, Sign::ArmsDnsNonResolverName);
    signs.add_if(either("target.second", "repeat.second", "differs"), Sign::ArmsDnsSecondDiffers);
    signs.add_if(twice("code"), Sign::ArmsDnsUdpDenies);
    signs.add_if(twice("bogon"), Sign::ArmsDnsUdpBogon);
    signs.add_if(twice("none"), Sign::ArmsDnsUdpSilent);
    signs.add_if(either("target", "repeat", "address"), Sign::ArmsDnsUdpAddress);
    signs.add_if(said("tcp", "address"), Sign::ArmsDnsTcpAddress);
    signs.add_if(said("tcp", "code"), Sign::ArmsDnsTcpDenies);
    signs.add_if(either("dot", "doh", "address"), Sign::ArmsDnsEncryptedAddress);
    signs.add_if(either("dot", "doh", "code"), Sign::ArmsDnsEncryptedDenies);
    signs.add_if(said("neutral.udp", "address"), Sign::ArmsDnsNeutralUdp);
    signs.add_if(said("neutral.tcp", "address"), Sign::ArmsDnsNeutralTcp);
    let silent = said("neutral.udp", "none") && said("neutral.tcp", "none");
    signs.add_if(silent, Sign::ArmsDnsNeutralSilent);
    let system = said("system", "code") && said("system.neutral", "address");
    signs.add_if(system, Sign::ArmsDnsSystemDenies);
    signs.add_if(said("system", "address"), Sign::ArmsDnsSystemAddress);
    let (udp, tcp) = (whoami(arms, "whoami.udp."), whoami(arms, "whoami.tcp."));
    let elsewhere = !udp.is_empty() && !tcp.is_empty() && udp.iter().all(|network| !tcp.contains(network));
    signs.add_if(elsewhere, Sign::ArmsDnsWhoamiElsewhere);
}

/// The networks that a whoami name saw, as wide as an operator's: the first half of what the arm kept.
fn whoami<'f>(arms: &[&'f Observation<'_>], prefix: &str) -> Vec<&'f str> {
    let of = arms.iter().filter(|arm| arm.arm.as_deref().is_some_and(|name| name.starts_with(prefix)));
    let half = |note: &'f str| {
        let separator = if note.contains(':') { ':' } else { '.' };
        note.match_indices(separator).nth(1).map(|(at, _)| &note[..at])
    };
    of.filter_map(|arm| arm.arm_note.as_deref().and_then(half)).collect()
}
