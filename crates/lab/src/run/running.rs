//! A cell while it runs: it goes from change to change, and between them the world goes by itself.
//!
//! Changes of policy and faults are applied from outside at their moment, just before what the world does at
//! the same nanosecond.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use okno_censor::{Act, ActKind};
use okno_wire::{Endpoint, FlowKey, Instant};

use super::cell::{self, Layout, Site, Wire, box_mode};
use super::clients::{self, Noted};
use super::engines::{Engines, Key};
use super::faults::Faults;
use super::measured::{Attribution, Measured};
use super::plan::Plan;
use super::servers::House;
use super::timeline::{State, Timeline};
use super::{Fatal, Shared, Trace};
use crate::nation::Cell;
use crate::scenario::Scenario;
use crate::tap::{KeptRecord, Recording};
use crate::world::{NodeId, Side, World};

/// An act with what the world knows about it.
#[derive(Clone, Debug)]
pub(crate) struct CellAct {
    pub at: Instant,
    pub slot: String,
    pub profile: String,
    pub act: Act,
}

/// What a cell gives back after a window.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub acts: Vec<CellAct>,
    pub outcomes: Vec<Noted>,
    pub measured: Vec<Measured>,
    pub packets: Vec<KeptRecord>,
}

/// What a cell is at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CellEnd {
    pub trace: u64,
    pub packets: u64,
    pub events: u64,
}

struct Standing {
    node: NodeId,
    slot: String,
    key: Option<Key>,
    profile: String,
}

/// A cell that runs.
pub(crate) struct Running<'s> {
    world: World,
    timeline: Timeline<'s>,
    engines: &'s Engines<'s>,
    faults: Faults<'s>,
    filters: Vec<Standing>,
    asn: u32,
    /// moments of change that are to come, last first
    changes: Vec<Instant>,
    house: House,
    outcomes: Rc<RefCell<Vec<Noted>>>,
    recording: Option<Recording>,
    acts: Vec<CellAct>,
    nat: Option<NodeId>,
    measured: Rc<RefCell<Vec<Measured>>>,
    problem: Rc<RefCell<Option<String>>>,
    attribution: Attribution,
}

impl<'s> Running<'s> {
    pub fn new(shared: Shared<'s>, cell: Cell, counts: &[u32], trace: &Trace) -> Result<Self, Fatal> {
        let Shared { scenario, plan, engines, certificates } = shared;
        let site =
            Site::new(scenario, cell).ok_or_else(|| Fatal::Internal(String::from("a cell of no network")))?;
        let used = clients::used_services(site, plan, counts);
        let (mut world, layout) = cell::build(site, plan, &used);
        let faults = cell::faults(site, plan, &world, &layout);
        let house = House::default();
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        let cast = clients::Cast {
            site,
            plan,
            layout: &layout,
            certificates,
            house: house.clone(),
            outcomes: outcomes.clone(),
        };
        let probes = cast.probe_hosts(&mut world);
        let hosts = cast.hosts(&mut world, counts);
        world.fill_routes();
        cast.start(&mut world, &hosts);
        let (measured, problem) = (Rc::default(), Rc::default());
        cast.start_probes(&world, &probes, &measured, &problem).map_err(Fatal::Internal)?;
        let own: Vec<Vec<IpAddr>> = probes.into_iter().map(|probe| probe.addresses).collect();
        let attribution = Attribution::new(&own);
        let nat = layout.nat.filter(|_| !attribution.is_idle());
        if let Some(nat) = nat {
            world.log_nat(nat);
        }
        let timeline = site.timeline();
        let recording = trace.wants(&site.name()).then(Recording::default);
        if let Some(recording) = &recording {
            world.tap(layout.uplink, Side::A, Box::new(recording.clone()));
        }
        let mut changes: Vec<Instant> = timeline.moments().into_iter().collect();
        changes.extend(faults.moments());
        changes.extend(timeline.profiles().iter().flat_map(|profile| engines.moments(profile)));
        changes.retain(|at| (scenario.start..scenario.end).contains(at));
        changes.push(scenario.start);
        changes.sort_unstable_by(|a, b| b.cmp(a));
        changes.dedup();
        let filters = standing(&layout);
        let asn = site.network.asn;
        let acts = Vec::new();
        Ok(Self {
            world,
            timeline,
            engines,
            faults,
            filters,
            asn,
            changes,
            house,
            outcomes,
            recording,
            acts,
            nat,
            measured,
            problem,
            attribution,
        })
    }

    /// Runs up to and including `end`.
    pub fn run_until(&mut self, end: Instant) -> Result<Batch, Fatal> {
        while let Some(&at) = self.changes.last()
            && at <= end
        {
            self.changes.pop();
            let before = Instant::from_nanos(at.nanos().saturating_sub(1));
            if before > self.world.now() {
                self.world.run_until(before);
            }
            self.change(at)?;
        }
        self.world.run_until(end);
        if let Some(why) = self.world.stalled() {
            return Err(Fatal::Internal(format!("AS{}: {why}", self.asn)));
        }
        self.collect();
        let packets = self.recording.as_ref().map(Recording::take).unwrap_or_default();
        if let Some(problem) = self.problem.take() {
            return Err(Fatal::Internal(problem));
        }
        let mut measured = self.measured.take();
        for one in &mut measured {
            self.attribution.settle(one);
        }
        let acts = core::mem::take(&mut self.acts);
        Ok(Batch { acts, outcomes: self.outcomes.take(), measured, packets })
    }

    /// Gives acts so far to the profiles that did them.
    fn collect(&mut self) {
        if let Some(nat) = self.nat {
            self.attribution.learn(self.world.take_nat_log(nat));
        }
        for deed in self.world.take_deeds() {
            if let Some(filter) = self.filters.iter().find(|filter| filter.node == deed.node) {
                let (slot, profile) = (filter.slot.clone(), filter.profile.clone());
                let act = CellAct { at: deed.act.at, slot, profile, act: deed.act };
                if !self.attribution.is_idle() {
                    self.attribution.act(&act);
                }
                self.acts.push(act);
            }
        }
    }

    fn change(&mut self, at: Instant) -> Result<(), Fatal> {
        self.collect();
        let State { filters, lists } = self.timeline.at(at);
        for standing in &mut self.filters {
            let state = filters.get(&standing.slot).cloned().unwrap_or_default();
            let words = state.profile.clone().unwrap_or_default();
            let key = match &state.profile {
                Some(words) => Some(self.engines.key(words, &lists, self.asn, at)?),
                None => None,
            };
            if key != standing.key {
                let engine = match &key {
                    Some(key) => self.engines.engine(key)?,
                    None => Box::new(Wire),
                };
                self.world.replace_engine(standing.node, engine);
                (standing.key, standing.profile) = (key, words);
            }
            self.world.set_box_mode(standing.node, box_mode(state.mode, state.profile.is_some()));
        }
        let circumstances = self.faults.apply(&mut self.world, at);
        if *self.house.circumstances.borrow() != circumstances {
            *self.house.circumstances.borrow_mut() = circumstances;
            self.house.bell.ring();
        }
        Ok(())
    }

    /// What it was, at the end.
    pub fn end(&self) -> CellEnd {
        let count = self.world.count();
        CellEnd { trace: self.world.trace_hash(), packets: count.packets, events: count.events }
    }
}

fn standing(layout: &Layout) -> Vec<Standing> {
    let of = |filter: &cell::Filter| Standing {
        node: filter.node,
        slot: filter.slot.clone(),
        key: None,
        profile: String::new(),
    };
    layout.filters.iter().map(of).collect()
}

/// Which end of a flow is outside, as far as the plan knows.
pub(crate) fn ends(plan: &Plan<'_>, flow: &FlowKey) -> (Endpoint, Endpoint) {
    let low_is_outside =
        plan.at(flow.low.ip).is_some() || is_well_known(flow.low) && !is_well_known(flow.high);
    if low_is_outside { (flow.high, flow.low) } else { (flow.low, flow.high) }
}

const fn is_well_known(end: Endpoint) -> bool {
    end.port != 0 && end.port < 10_000
}

/// Name of an act's kind in the truth.
pub(crate) const fn kind_name(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Triggered => "triggered",
        ActKind::Dropped => "dropped",
        ActKind::Rewritten => "rewritten",
        ActKind::Injected => "injected",
        ActKind::Policed => "policed",
        ActKind::Delayed => "delayed",
        ActKind::Expired => "expired",
    }
}

/// Name of a transport in the truth.
pub(crate) const fn transport_name(protocol: u8) -> &'static str {
    match protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        50 => "esp",
        58 => "icmpv6",
        _ => "ip",
    }
}

/// A window of virtual time: short enough that what waits to be merged stays small.
pub(crate) fn window(scenario: &Scenario) -> Duration {
    let whole = scenario.end.since(scenario.start);
    (whole / 200).clamp(Duration::from_secs(600), Duration::from_secs(86_400))
}
