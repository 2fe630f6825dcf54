//! What a probe measured, and what really happened meanwhile: the rows that scoring compares.
//!
//! A probe measures one thing at a time from its own address, so a deed of a box belongs to the measurement
//! during which the flow was first seen; behind a shared address the NAT's mappings tell whose flow it was.

use core::net::IpAddr;
use std::collections::BTreeMap;

use okno_censor::ActKind;
use okno_model::Mechanism;
use okno_wire::{Endpoint, FlowKey, Instant};

use super::cell::Site;
use super::plan::Plan;
use super::running::{CellAct, ends, kind_name, transport_name};
use crate::scenario::{FaultKind, Policy, PolicyAction, Scenario, Word};
use crate::world::NatBinding;

/// A measurement as an observer gets it.
#[derive(Clone, Copy, Debug)]
pub struct ProbeMeasurement<'a> {
    /// one line of OONI's JSON, without line end: what the probe would publish
    pub line: &'a str,
    /// what really happened; the probe knows nothing of it
    pub truth: &'a MeasurementTruth,
}

/// What really happened during a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasurementTruth {
    /// name of the scenario
    pub scenario: String,
    /// whether the scenario promises that no censor acts in it
    pub benign: bool,
    /// seed of the run
    pub seed: u64,
    /// place among the measurements of the run, from 1
    pub sequence: u64,
    /// access network and region, `mts/moscow`
    pub cell: String,
    /// region's id
    pub region: String,
    /// access network's id
    pub operator: String,
    /// access network's AS number
    pub asn: u32,
    /// `fixed`, `mobile`, `datacentre`
    pub access: String,
    /// group and number within the cell, `wc/0`
    pub probe: String,
    /// name of the test
    pub test: String,
    /// version of the test
    pub test_version: String,
    /// what was measured, for tests that take inputs
    pub input: Option<String>,
    /// ids of the services that the test was about; its helper and resolvers left out
    pub targets: Vec<String>,
    /// begin of the measurement
    pub start: Instant,
    /// its end
    pub end: Instant,
    /// what boxes did to its flows, by first moment
    pub acts: Vec<MeasuredAct>,
    /// natural trouble on its path meanwhile
    pub faults: Vec<MeasuredFault>,
    /// whether a service that it was about was itself out of order, for whatever natural reason
    pub target_down: bool,
}

impl MeasurementTruth {
    /// Mechanisms whose symptoms the probe could have seen, each once, sorted by name.
    pub fn visible_mechanisms(&self) -> Vec<Mechanism> {
        let mut all: Vec<Mechanism> =
            self.acts.iter().filter(|act| act.visible).map(|act| act.mechanism).collect();
        all.sort_unstable_by_key(|mechanism| mechanism.as_str());
        all.dedup();
        all
    }

    /// Whether a box did something that the probe could have seen.
    pub fn is_blocked(&self) -> bool {
        self.acts.iter().any(|act| act.visible)
    }
}

/// What a box did to flows of a measurement: same rule, same kind, same end, once.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredAct {
    /// first time
    pub first: Instant,
    /// last time
    pub last: Instant,
    /// how often; boxes tell the first packet of a kind a flow
    pub count: u64,
    /// name of the box
    pub filter: String,
    /// profile that it had
    pub profile: String,
    /// rule of the profile
    pub rule: String,
    /// mechanism
    pub mechanism: Mechanism,
    /// what it did
    pub kind: ActKind,
    /// its name in the truth's table
    pub kind_name: &'static str,
    /// `tcp`, `udp`, `icmp` …
    pub transport: &'static str,
    /// the probe's end of the first flow
    pub inside: Endpoint,
    /// the other end
    pub outside: Endpoint,
    /// id of the service at the other end; empty when none is there
    pub target: String,
    /// name as the box read it; empty when it read none
    pub target_name: String,
    /// whether packets were lost, forged, changed or late while the probe still measured
    pub visible: bool,
}

/// Natural trouble during a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredFault {
    /// kind as in scenarios; `box-overload` for a box that drops whatever comes
    pub kind: String,
    /// services it concerned, of those that the measurement was about; empty for the whole network
    pub services: Vec<String>,
    /// in words
    pub cause: String,
}

/// A measurement as the probe's program leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub began: Instant,
    pub done: Instant,
    /// position of the probe among the cell's probes
    pub probe: usize,
    pub label: String,
    pub test: String,
    pub test_version: String,
    pub input: Option<String>,
    /// positions in the plan
    pub targets: Vec<usize>,
    pub line: String,
    pub acts: Vec<CellAct>,
}

/// Lays acts to the measurements during which they happened.
#[derive(Debug, Default)]
pub(crate) struct Attribution {
    by_address: BTreeMap<IpAddr, usize>,
    /// behind a shared address: transport and outside end, and who had it from when
    shared: BTreeMap<(u8, Endpoint), Vec<(Instant, usize)>>,
    /// by probe: acts not yet laid to a measurement
    waiting: Vec<Vec<CellAct>>,
    /// by probe: flows of earlier measurements, and when they were seen last
    seen: Vec<BTreeMap<FlowKey, Instant>>,
}

/// How long a flow is remembered: longer than a mapping of a NAT or a repetition of a FIN lives.
const MEMORY_NANOS: u64 = 7_200 * 1_000_000_000;

impl Attribution {
    /// For the probes with these addresses.
    pub fn new(probes: &[Vec<IpAddr>]) -> Self {
        let pairs = probes.iter().enumerate().flat_map(|(at, own)| own.iter().map(move |ip| (*ip, at)));
        Self {
            by_address: pairs.collect(),
            shared: BTreeMap::new(),
            waiting: vec![Vec::new(); probes.len()],
            seen: vec![BTreeMap::new(); probes.len()],
        }
    }

    /// Whether there are probes at all.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what a NAT gave out.
    pub fn learn(&mut self, bindings: Vec<NatBinding>) {
        for binding in bindings {
            if let Some(probe) = self.by_address.get(&binding.inside.ip) {
                let known = self.shared.entry((binding.protocol, binding.outside)).or_default();
                known.push((binding.at, *probe));
            } else {
                // somebody else has it from now on
                let known = self.shared.get_mut(&(binding.protocol, binding.outside));
                if let Some(known) = known {
                    known.push((binding.at, usize::MAX));
                }
            }
        }
    }

    fn owner(&self, act: &CellAct) -> Option<usize> {
        let flow = &act.act.flow;
        for end in [flow.low, flow.high] {
            if let Some(probe) = self.by_address.get(&end.ip) {
                return Some(*probe);
            }
            if let Some(holders) = self.shared.get(&(flow.protocol, end)) {
                let holder = holders.iter().rev().find(|(from, _)| *from <= act.at);
                return holder.map(|(_, probe)| *probe).filter(|probe| *probe != usize::MAX);
            }
        }
        None
    }

    /// Takes an act that may be somebody's.
    pub fn act(&mut self, act: &CellAct) {
        if let Some(probe) = self.owner(act) {
            self.waiting[probe].push(act.clone());
        }
    }

    /// Lays what waits to a measurement that has ended.
    pub fn settle(&mut self, measured: &mut Measured) {
        let Some(waiting) = self.waiting.get_mut(measured.probe) else { return };
        let seen = &mut self.seen[measured.probe];
        seen.retain(|_, last| measured.began.nanos().saturating_sub(last.nanos()) < MEMORY_NANOS);
        let earlier: Vec<FlowKey> = seen.keys().copied().collect();
        let mut later = Vec::new();
        for act in waiting.drain(..) {
            if act.at > measured.done {
                later.push(act);
                continue;
            }
            let is_old = earlier.binary_search(&act.act.flow).is_ok();
            seen.insert(act.act.flow, act.at);
            if act.at >= measured.began && !is_old {
                measured.acts.push(act);
            }
        }
        *waiting = later;
    }
}

/// Puts the truth of a measurement together.
pub(crate) fn truth(
    scenario: &Scenario,
    plan: &Plan<'_>,
    site: Site<'_>,
    measured: &Measured,
    sequence: u64,
) -> MeasurementTruth {
    let of = |at: &usize| plan.services.get(*at).map(|placed| placed.service.id.text.clone());
    let targets: Vec<String> = measured.targets.iter().filter_map(of).collect();
    let (faults, target_down) = faults(scenario, plan, site, measured, &targets);
    MeasurementTruth {
        scenario: scenario.name.clone(),
        benign: scenario.benign,
        seed: scenario.seed,
        sequence,
        cell: site.name(),
        region: site.region.id.clone(),
        operator: site.network.id.clone(),
        asn: site.network.asn,
        access: site.network.access.as_str().to_owned(),
        probe: measured.label.clone(),
        test: measured.test.clone(),
        test_version: measured.test_version.clone(),
        input: measured.input.clone(),
        targets,
        start: measured.began,
        end: measured.done,
        acts: joined(plan, &measured.acts),
        faults,
        target_down,
    }
}

/// Whether an act alters what the probe gets.
const fn alters(kind: ActKind) -> bool {
    !matches!(kind, ActKind::Triggered | ActKind::Expired)
}

fn joined(plan: &Plan<'_>, acts: &[CellAct]) -> Vec<MeasuredAct> {
    let mut all: Vec<MeasuredAct> = Vec::new();
    for of in acts {
        let act = &of.act;
        let (inside, outside) = ends(plan, &act.flow);
        let transport = transport_name(act.flow.protocol);
        let same = |known: &&mut MeasuredAct| {
            known.filter == of.slot
                && known.rule == act.rule
                && known.mechanism == act.mechanism
                && known.kind == act.kind
                && known.transport == transport
                && known.outside == outside
                && known.target_name == act.evidence.name
        };
        if let Some(known) = all.iter_mut().find(same) {
            (known.last, known.count) = (of.at, known.count + 1);
            continue;
        }
        all.push(MeasuredAct {
            first: of.at,
            last: of.at,
            count: 1,
            filter: of.slot.clone(),
            profile: of.profile.clone(),
            rule: act.rule.clone(),
            mechanism: act.mechanism,
            kind: act.kind,
            kind_name: kind_name(act.kind),
            transport,
            inside,
            outside,
            target: plan.at(outside.ip).map_or_else(String::new, |placed| placed.service.id.text.clone()),
            target_name: act.evidence.name.clone(),
            visible: alters(act.kind),
        });
    }
    all
}

/// Natural trouble on the way, and whether it put a target out of order.
fn faults(
    scenario: &Scenario,
    plan: &Plan<'_>,
    site: Site<'_>,
    measured: &Measured,
    targets: &[String],
) -> (Vec<MeasuredFault>, bool) {
    let overlaps = |at: Instant, until: Instant| at <= measured.done && measured.began < until;
    let mut found = Vec::new();
    let mut target_down = false;
    for fault in &scenario.faults {
        if !fault.target.covers(site.network, &site.region.id) || !overlaps(fault.at, fault.until) {
            continue;
        }
        let names = |id: &String| {
            let hosting = plan.find(id).map(|placed| &*placed.hosting.id);
            fault.services.iter().any(|word: &Word| word.text == *id || Some(&*word.text) == hosting)
        };
        let services: Vec<String> = targets.iter().filter(|id| names(id)).cloned().collect();
        if !fault.services.is_empty() && services.is_empty() {
            continue;
        }
        target_down |= !services.is_empty()
            && matches!(fault.kind, FaultKind::ServerDown | FaultKind::ServerRefuses | FaultKind::Outage);
        let (kind, cause) = (fault.kind.as_str().to_owned(), fault.cause.clone());
        found.push(MeasuredFault { kind, services, cause });
    }
    let overloaded = |policy: &&Policy| {
        matches!(policy.action, PolicyAction::Overload { .. })
            && policy.target.covers(site.network, &site.region.id)
            && overlaps(policy.at, policy.until.unwrap_or(scenario.end))
    };
    found.extend(scenario.policies.iter().filter(overloaded).map(|policy| MeasuredFault {
        kind: String::from("box-overload"),
        services: Vec::new(),
        cause: policy.note.clone(),
    }));
    (found, target_down)
}
