//! Tests that compare: arms to signs, one verdict a case.
//!
//! A case is the set of arms that answers one question: whether WireGuard passes, whether this name is slow.
//! Most tests ask one; a test of several protocols asks one for each. Each case gives one verdict at one
//! layer. What every case has are the signs of roles and endings; the family of the test (`tcp`, `udp`,
//! `tls_quic`) divides the arms into cases and adds what takes arithmetic.

mod places;
mod tcp;
mod tls_quic;
mod udp;

use okno_model::{FailureKind, Layer, Observation, Verdict};

use super::{Evidence, Scene};
use crate::arms::{Ending, Role};
use crate::rules::Limits;
use crate::signs::{Sign, Signs};

/// Arms of one question.
pub(super) struct Case<'f, 'a> {
    /// where its verdict belongs
    pub(super) layer: Layer,
    /// its arms, in the order in which they were written
    pub(super) arms: Vec<&'f Observation<'a>>,
    /// what the family adds to the signs of roles and endings
    pub(super) signs: Signs,
}

/// Divides the arms of one measurement into cases.
type Divide = for<'f, 'a> fn(&[&'f Observation<'a>], Layer, Limits) -> Vec<Case<'f, 'a>>;

/// A test of our own.
pub(super) struct Test {
    name: &'static str,
    /// its sign
    pub(super) sign: Sign,
    layer: Layer,
    divide: Divide,
}

/// Every test that writes arms, with the layer of its verdicts.
const TESTS: &[Test] = &[
    Test { name: "throttling", sign: Sign::TestThrottling, layer: Layer::Tls, divide: tcp::speed },
    Test { name: "packet_budget", sign: Sign::TestPacketBudget, layer: Layer::Tcp, divide: tcp::budget },
    Test {
        name: "connection_policer",
        sign: Sign::TestConnectionPolicer,
        layer: Layer::Tcp,
        divide: tcp::run,
    },
    Test { name: "whitelist", sign: Sign::TestWhitelist, layer: Layer::App, divide: places::places },
    Test { name: "blackout", sign: Sign::TestBlackout, layer: Layer::App, divide: places::places },
    Test { name: "initiation", sign: Sign::TestInitiation, layer: Layer::Tls, divide: tcp::direction },
    Test {
        name: "fragment_census",
        sign: Sign::TestFragmentCensus,
        layer: Layer::App,
        divide: places::census,
    },
    Test { name: "address_block", sign: Sign::TestAddressBlock, layer: Layer::Tcp, divide: places::address },
    Test { name: "vpn_protocols", sign: Sign::TestVpnProtocols, layer: Layer::App, divide: udp::cases },
    Test { name: "calls", sign: Sign::TestCalls, layer: Layer::App, divide: udp::cases },
    Test { name: "dns_interception", sign: Sign::TestDnsInterception, layer: Layer::Dns, divide: udp::cases },
    Test { name: "quic_matrix", sign: Sign::TestQuicMatrix, layer: Layer::Quic, divide: tls_quic::cases },
    Test { name: "ech_matrix", sign: Sign::TestEchMatrix, layer: Layer::Tls, divide: tls_quic::cases },
    Test { name: "box_location", sign: Sign::TestBoxLocation, layer: Layer::Tls, divide: tls_quic::cases },
    Test { name: "certificates", sign: Sign::TestCertificates, layer: Layer::Tls, divide: tls_quic::cases },
    Test { name: "hello_matrix", sign: Sign::TestHelloMatrix, layer: Layer::Tls, divide: tls_quic::forms },
    // OONI's tests, where ours writes arms beside OONI's keys.
    Test { name: "sni_blocking", sign: Sign::TestSni, layer: Layer::Tls, divide: tls_quic::cases },
    Test { name: "tlsmiddlebox", sign: Sign::TestSni, layer: Layer::Tls, divide: tls_quic::cases },
    Test { name: "echcheck", sign: Sign::TestEch, layer: Layer::Tls, divide: tls_quic::cases },
];

impl Test {
    /// The test of this name, if it writes arms.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        TESTS.iter().find(|test| test.name == name)
    }
}

pub(super) fn judge<'a>(scene: &Scene<'_, '_, 'a>, out: &mut Vec<Verdict<'a>>) {
    let arms: Vec<_> = scene.facts.observations.iter().filter(|row| row.arm.is_some()).collect();
    if arms.is_empty() {
        return;
    }
    let measurement = scene.facts.measurement;
    let (layer, divide): (Layer, Divide) =
        Test::of(&measurement.test_name).map_or((Layer::App, whole), |test| (test.layer, test.divide));
    for case in divide(&arms, layer, scene.limits()) {
        let mut signs = scene.shared.with(case.signs);
        signs.add_if(measurement.network_type.as_deref() == Some("mobile"), Sign::ProbeMobile);
        roles(&case.arms, scene.limits(), &mut signs);
        let evidence = Evidence { signs, row: shown(&case.arms), arms: case.arms, ..Evidence::default() };
        scene.conclude(None, case.layer, &evidence, out);
        if let Some(verdict) = out.last_mut() {
            verdict.hostname = measurement.hostname.clone();
        }
    }
}

/// One case of all arms, without further signs.
pub(super) fn whole<'f, 'a>(arms: &[&'f Observation<'a>], layer: Layer, _: Limits) -> Vec<Case<'f, 'a>> {
    vec![Case { layer, arms: arms.to_vec(), signs: Signs::default() }]
}

/// Arms apart by variant, in the order of first appearance; those without a variant belong to every case.
pub(super) fn by_variant<'f, 'a>(arms: &[&'f Observation<'a>]) -> Vec<(&'f str, Vec<&'f Observation<'a>>)> {
    let mut variants: Vec<&'f str> = Vec::new();
    for arm in arms {
        if let Some(variant) = arm.arm_variant.as_deref()
            && !variants.contains(&variant)
        {
            variants.push(variant);
        }
    }
    let of = |variant: &str| {
        let own =
            |arm: &&&'f Observation<'a>| arm.arm_variant.as_deref().is_none_or(|other| other == variant);
        arms.iter().filter(own).copied().collect()
    };
    variants.iter().map(|variant| (*variant, of(variant))).collect()
}

/// The signs of roles and endings, and how all arms together fared.
fn roles(arms: &[&Observation<'_>], limits: Limits, signs: &mut Signs) {
    let (mut worked, mut failed) = (false, false);
    for arm in arms {
        let mut any = false;
        for ending in endings(arm, limits) {
            any = true;
            worked |= ending == Ending::Ok;
            failed |= ending == Ending::Failed;
            if let Some(role) = role(arm) {
                signs.add(Sign::arm(role, ending));
            }
        }
        if any && role(arm).is_none() {
            // A role that this version does not know may still tell that the line is up.
            worked |= arm.arm_success == Some(true);
        }
    }
    signs.add_if(!worked && !failed, Sign::ArmsNone);
    signs.add_if(failed && !worked, Sign::ArmsAllFailed);
    signs.add_if(worked && !failed, Sign::ArmsAllOk);
}

/// The role of an arm, if it is a known one.
pub(super) fn role(arm: &Observation<'_>) -> Option<Role> {
    arm.arm_role.as_deref().and_then(Role::parse)
}

/// How an arm ended; nothing when it was not carried out or the probe's own machine failed.
pub(super) fn endings(arm: &Observation<'_>, limits: Limits) -> Vec<Ending> {
    let mut endings = Vec::with_capacity(3);
    match (arm.arm_success, arm.arm_failure.map(okno_model::Failure::kind)) {
        (None, _) | (_, Some(FailureKind::Local)) => return endings,
        (Some(true), _) => endings.push(Ending::Ok),
        (Some(false), kind) => {
            endings.push(Ending::Failed);
            endings.extend(match kind {
                Some(FailureKind::Reset) => Some(Ending::Reset),
                Some(FailureKind::Timeout) => Some(Ending::Timeout),
                Some(FailureKind::Eof) => Some(Ending::Eof),
                Some(FailureKind::Refused) => Some(Ending::Refused),
                Some(FailureKind::Unreachable) => Some(Ending::Unreachable),
                Some(FailureKind::Handshake) => Some(Ending::Handshake),
                Some(FailureKind::Certificate) => Some(Ending::Certificate),
                Some(FailureKind::NxDomain | FailureKind::NoAnswer | FailureKind::DnsError) => {
                    Some(Ending::Name)
                }
                Some(FailureKind::Http | FailureKind::Local | FailureKind::Unknown) | None => None,
            });
            let stopped = arm.arm_failed_at.as_deref() == Some("transfer")
                && arm.arm_failure.map(okno_model::Failure::kind) == Some(FailureKind::Timeout)
                && arm.rx_bytes.unwrap_or(0) > 0;
            endings.extend(stopped.then_some(Ending::Frozen));
        }
    }
    let slow = |rate: f64| rate < limits.slow_bytes_per_s as f64;
    endings.extend(arm.arm_goodput_bytes_s.filter(|rate| slow(*rate)).map(|_| Ending::Slow));
    let lossy = |share: &f64| (0.1..1.0).contains(share);
    endings.extend(arm.arm_loss_share.filter(lossy).map(|_| Ending::Lossy));
    endings
}

/// The median of a number over the arms of a role; `None` where no arm has it.
pub(super) fn median(
    arms: &[&Observation<'_>],
    role: Role,
    number: impl Fn(&Observation<'_>) -> Option<f64>,
) -> Option<f64> {
    let of_role = arms.iter().filter(|arm| self::role(arm) == Some(role));
    let mut numbers: Vec<f64> = of_role.filter_map(|arm| number(arm)).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// The arm that shows most: a target that failed, else a target, else the first.
fn shown<'f, 'a>(arms: &[&'f Observation<'a>]) -> Option<&'f Observation<'a>> {
    let targets = || arms.iter().copied().filter(|arm| role(arm) == Some(Role::Target));
    let failed = targets().find(|arm| arm.arm_success == Some(false));
    failed.or_else(|| targets().next()).or_else(|| arms.first().copied())
}
