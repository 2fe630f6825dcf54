//! Puts the rows of all cells in order and hands them on: acts, outcomes, packets, changes of policy, faults.

use okno_model::{Asn, Failure, Outcome, Timestamp, Truth};
use okno_wire::Instant;

use super::cell::Site;
use super::clients::Noted;
use super::measured::{self, Measured, ProbeMeasurement};
use super::plan::Plan;
use super::running::{Batch, CellAct, ends, kind_name, transport_name};
use super::{Observer, Progress, RunError, Trace};
use crate::scenario::{Fault, ListChange, Policy, PolicyAction, Scenario, Where, Word};
use crate::summary::{Summary, Summing};
use crate::tap::{KeptRecord, TapRecord};

/// Orders and numbers rows.
pub(crate) struct Merger<'a, 's> {
    scenario: &'s Scenario,
    plan: &'a Plan<'s>,
    sites: Vec<Site<'s>>,
    names: Vec<String>,
    /// interface of each cell in the trace
    interfaces: Vec<Option<u32>>,
    summing: Summing,
    observer: &'a mut dyn Observer,
    sequence: u64,
    outcomes: u64,
    acts: u64,
    measurements: u64,
    /// policies and faults that are still to be told, last first
    waiting: Vec<(Instant, Truth<'static>)>,
}

enum Row {
    Act(CellAct),
    Outcome(Noted),
    Measured(Box<Measured>),
}

impl<'a, 's> Merger<'a, 's> {
    pub fn new(
        scenario: &'s Scenario,
        plan: &'a Plan<'s>,
        trace: &Trace,
        summing: Summing,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let sites: Vec<Site<'s>> =
            scenario.nation.cells().into_iter().filter_map(|cell| Site::new(scenario, cell)).collect();
        let names: Vec<String> = sites.iter().map(Site::name).collect();
        let mut wanted = 0..;
        let interfaces =
            names.iter().map(|name| if trace.wants(name) { wanted.next() } else { None }).collect();
        let mut waiting: Vec<(Instant, Truth<'static>)> = Vec::new();
        waiting.extend(scenario.policies.iter().map(|policy| (policy.at, policy_row(scenario, policy))));
        waiting.extend(scenario.faults.iter().map(|fault| (fault.at, fault_row(scenario, fault))));
        // an override may start the run later: what began before holds at its start
        waiting.retain(|(at, row)| {
            let ended = row.until_utc.is_some_and(|until| until <= timestamp(scenario.start));
            *at < scenario.end && !ended
        });
        waiting.sort_by_key(|(at, _)| *at);
        waiting.reverse();
        Self {
            scenario,
            plan,
            sites,
            names,
            interfaces,
            summing,
            observer,
            sequence: 0,
            outcomes: 0,
            acts: 0,
            measurements: 0,
            waiting,
        }
    }

    /// Tells what holds at the start.
    pub fn begin(&mut self) -> Result<(), RunError> {
        self.tell_until(self.scenario.start)
    }

    fn tell_until(&mut self, end: Instant) -> Result<(), RunError> {
        while self.waiting.last().is_some_and(|(at, _)| *at <= end) {
            if let Some((_, row)) = self.waiting.pop() {
                self.tell(row)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, mut row: Truth<'_>) -> Result<(), RunError> {
        self.sequence += 1;
        row.sequence = self.sequence;
        self.acts += u64::from(row.class == "act");
        self.summing.truth(&row);
        self.observer.truth(&row).map_err(RunError::Observer)
    }

    /// Takes one window of all cells, in the order of cells.
    pub fn merge(&mut self, end: Instant, batches: Vec<(usize, Batch)>) -> Result<(), RunError> {
        let mut rows: Vec<(Instant, usize, Row)> = Vec::new();
        let mut packets: Vec<(Instant, u32, KeptRecord)> = Vec::new();
        for (cell, batch) in batches {
            rows.extend(batch.acts.into_iter().map(|act| (act.at, cell, Row::Act(act))));
            rows.extend(batch.outcomes.into_iter().map(|noted| (noted.done, cell, Row::Outcome(noted))));
            let measured = batch.measured.into_iter();
            rows.extend(measured.map(|one| (one.done, cell, Row::Measured(Box::new(one)))));
            if let Some(Some(interface)) = self.interfaces.get(cell) {
                packets.extend(batch.packets.into_iter().map(|packet| (packet.at, *interface, packet)));
            }
        }
        // stable: the order within a cell stays
        rows.sort_by_key(|(at, cell, _)| (*at, *cell));
        packets.sort_by_key(|(at, interface, _)| (*at, *interface));
        for (at, cell, row) in rows {
            self.tell_until(at)?;
            match row {
                Row::Act(act) => {
                    let row = self.act_row(cell, &act);
                    self.tell(row)?;
                }
                Row::Outcome(noted) => self.outcome(cell, &noted)?,
                Row::Measured(measured) => self.measurement(cell, &measured)?,
            }
        }
        self.tell_until(end)?;
        for (at, interface, kept) in packets {
            let record =
                TapRecord { at, out: kept.out, packet: &kept.packet, comment: kept.comment.as_deref() };
            self.observer.packet(interface, record).map_err(RunError::Observer)?;
        }
        let (start, last) = (self.scenario.start, self.scenario.end);
        let progress = Progress { now: end, start, end: last, outcomes: self.outcomes, acts: self.acts };
        self.observer.progress(progress).map_err(RunError::Observer)
    }

    fn outcome(&mut self, cell: usize, noted: &Noted) -> Result<(), RunError> {
        let Some(site) = self.sites.get(cell).copied() else { return Ok(()) };
        let group = self.scenario.clients.get(noted.group);
        let placed = self.plan.services.get(noted.target);
        self.sequence += 1;
        self.outcomes += 1;
        let row = Outcome {
            scenario: (&*self.scenario.name).into(),
            seed: self.scenario.seed,
            sequence: self.sequence,
            at_utc: timestamp(noted.began),
            cell: self.names.get(cell).map_or("", String::as_str).into(),
            region: (&*site.region.id).into(),
            operator: (&*site.network.id).into(),
            network: Asn(site.network.asn),
            client: format!("{}/{}", group.map_or("", |group| &group.id.text), noted.client).into(),
            activity: noted.activity.as_str().into(),
            target: placed.map_or("", |placed| &placed.service.id.text).into(),
            target_name: (&*noted.name).into(),
            target_address: noted.report.address.map_or_else(String::new, |ip| ip.to_string()).into(),
            ok: noted.report.failure.is_none(),
            failure: noted.report.failure.map_or("", Failure::as_str).into(),
            failed_at: noted.report.failed_at.into(),
            duration_us: u64::try_from(noted.done.since(noted.began).as_micros()).unwrap_or(u64::MAX),
            received_bytes: noted.report.received,
            goodput_bps: noted.report.goodput_bps,
            http_status: noted.report.status,
        };
        self.summing.outcome(&row);
        self.observer.outcome(&row).map_err(RunError::Observer)
    }

    fn measurement(&mut self, cell: usize, measured: &Measured) -> Result<(), RunError> {
        let Some(site) = self.sites.get(cell).copied() else { return Ok(()) };
        self.measurements += 1;
        let truth = measured::truth(self.scenario, self.plan, site, measured, self.measurements);
        let row = ProbeMeasurement { line: &measured.line, truth: &truth };
        self.observer.measurement(&row).map_err(RunError::Observer)
    }

    fn act_row(&self, cell: usize, of: &CellAct) -> Truth<'s> {
        let act = &of.act;
        let (inside, outside) = ends(self.plan, &act.flow);
        let site = self.sites.get(cell);
        let target = self.plan.at(outside.ip).map_or("", |placed| &*placed.service.id.text);
        Truth {
            scenario: (&*self.scenario.name).into(),
            seed: self.scenario.seed,
            at_utc: timestamp(act.at),
            class: "act".into(),
            cell: self.names.get(cell).cloned().unwrap_or_default().into(),
            region: site.map_or("", |site| &*site.region.id).into(),
            operator: site.map_or("", |site| &*site.network.id).into(),
            network: Asn(site.map_or(0, |site| site.network.asn)),
            filter: of.slot.clone().into(),
            profile: of.profile.clone().into(),
            rule: act.rule.clone().into(),
            mechanism: act.mechanism.as_str().into(),
            kind: kind_name(act.kind).into(),
            flow: format!("{} {inside} > {outside}", transport_name(act.flow.protocol)).into(),
            target: target.into(),
            target_name: act.evidence.name.clone().into(),
            target_address: outside.ip.to_string().into(),
            protocol: act
                .evidence
                .protocol
                .map_or_else(String::new, |protocol| protocol.as_str().to_owned())
                .into(),
            matched: act.evidence.matched.clone().into(),
            fingerprint: act.evidence.fingerprint.clone().into(),
            packet: act.packet,
            detail: act.evidence.detail.clone().into(),
            ..Truth::default()
        }
    }

    /// Ends the summary.
    pub fn finish(self, finish: impl FnOnce(&mut Summary)) -> Result<Summary, RunError> {
        Ok(self.summing.finish(finish))
    }
}

fn timestamp(at: Instant) -> Timestamp {
    Timestamp::from_micros(i64::try_from(at.micros()).unwrap_or(i64::MAX))
}

/// Ids joined by commas; empty means all.
fn joined(words: &[Word]) -> String {
    words.iter().filter(|word| word.text != "*").map(|word| word.text.as_str()).collect::<Vec<_>>().join(",")
}

fn row_of(scenario: &Scenario, class: &'static str, at: Instant, target: &Where) -> Truth<'static> {
    Truth {
        scenario: scenario.name.clone().into(),
        seed: scenario.seed,
        at_utc: timestamp(at.max(scenario.start)),
        class: class.into(),
        region: joined(&target.regions).into(),
        operator: joined(&target.networks).into(),
        ..Truth::default()
    }
}

fn policy_row(scenario: &Scenario, policy: &Policy) -> Truth<'static> {
    let mut row = row_of(scenario, "policy", policy.at, &policy.target);
    row.until_utc = policy.until.map(timestamp);
    let (kind, filter, profile) = match &policy.action {
        PolicyAction::Install { slot, profile, .. } => ("install", &*slot.text, &*profile.text),
        PolicyAction::Remove { slot } => ("remove", &*slot.text, ""),
        PolicyAction::Replace { slot, profile } => ("replace", &*slot.text, &*profile.text),
        PolicyAction::List { list, change, .. } => match change {
            ListChange::Set => ("list-set", "", &*list.text),
            ListChange::Add => ("list-add", "", &*list.text),
            ListChange::Remove => ("list-remove", "", &*list.text),
        },
        PolicyAction::FailOpen { slot } => ("fail-open", &*slot.text, ""),
        PolicyAction::Overload { slot, .. } => ("overload", &*slot.text, ""),
    };
    row.kind = kind.into();
    row.filter = filter.to_owned().into();
    row.profile = profile.to_owned().into();
    row.detail = policy.note.clone().into();
    row
}

fn fault_row(scenario: &Scenario, fault: &Fault) -> Truth<'static> {
    let mut row = row_of(scenario, "fault", fault.at, &fault.target);
    row.until_utc = (fault.until < scenario.end).then(|| timestamp(fault.until));
    row.kind = fault.kind.as_str().into();
    row.target = joined(&fault.services).into();
    row.detail = fault.cause.clone().into();
    row
}
