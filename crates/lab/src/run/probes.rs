//! Probes of a cell: a host each, and a program that measures one thing after another on schedule.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use okno_model::Timestamp;
use okno_probe::Experiment;
use okno_probe::experiment::Context;
use okno_wire::{Endpoint, Instant};
use serde_json::Value;

use super::cell::Site;
use super::clients::Cast;
use super::measured::Measured;
use super::plan::Plan;
use crate::nation::{AddressPlan, MAX_SUBSCRIBERS};
use crate::net::Net;
use crate::probe::{Envelope, LabNet};
use crate::scenario::probes::replaced_text;
use crate::scenario::{ProbeGroup, Protocol};
use crate::world::{LinkSetup, NodeId, World, chance};

/// Longest measurement: one that takes longer is a mistake of its test.
const LONGEST: Duration = Duration::from_secs(4 * 3_600);

/// A probe's host, before its program starts.
pub(crate) struct ProbeHost {
    node: NodeId,
    group: usize,
    number: u32,
    pub addresses: Vec<IpAddr>,
}

/// Groups that have probes in a cell.
fn groups<'s>(site: Site<'s>) -> impl Iterator<Item = (usize, &'s ProbeGroup)> {
    let covers = move |group: &ProbeGroup| group.target.covers(site.network, &site.region.id);
    site.scenario.probes.iter().enumerate().filter(move |(_, group)| covers(group))
}

/// A test with an input, ready to run.
struct Step {
    experiment: Rc<dyn Experiment>,
    input: Option<String>,
    targets: Vec<usize>,
}

/// Everything that a probe of this group measures in a round, in order.
fn steps(plan: &Plan<'_>, group: &ProbeGroup) -> Result<Vec<Step>, String> {
    let address = |id: &str| plan.find(id)?.addresses.first().map(IpAddr::to_string);
    let mut steps = Vec::new();
    for test in &group.tests {
        let experiment = test.experiment(&address)?;
        let inputs: Vec<Option<String>> = if experiment.takes_input() {
            group.inputs.iter().map(|input| Some(replaced_text(&input.text, &address))).collect()
        } else {
            vec![None]
        };
        for input in inputs {
            let targets = targets(plan, group, &*experiment, input.as_deref());
            steps.push(Step { experiment: experiment.clone(), input, targets });
        }
    }
    Ok(steps)
}

/// Positions of the services that a host's name or address leads to.
fn service_of(plan: &Plan<'_>, host: &str) -> Option<usize> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return plan.at(ip).and_then(|placed| plan.position(&placed.service.id.text));
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let wild = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    let named = |name: &str| {
        plan.services.iter().position(|placed| placed.service.names.iter().any(|word| word.text == name))
    };
    named(&host).or_else(|| wild.and_then(|wild| named(&wild)))
}

/// The host of a URL, an endpoint or a plain name.
fn host_of(input: &str) -> &str {
    let rest = input.split_once("://").map_or(input, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
    }
}

/// The services that a measurement is about: the input's, or all contacts but helper and resolvers.
fn targets(
    plan: &Plan<'_>,
    group: &ProbeGroup,
    experiment: &dyn Experiment,
    input: Option<&str>,
) -> Vec<usize> {
    if let Some(found) = input.and_then(|input| service_of(plan, host_of(input))) {
        return vec![found];
    }
    let own = |at: &usize| {
        plan.services.get(*at).is_some_and(|placed| {
            let speaks = &placed.service.speaks;
            placed.service.id.text != group.helper.text
                && !speaks.iter().all(|protocol| matches!(protocol, Protocol::Dns | Protocol::Helper))
        })
    };
    let contacts = experiment.contacts(input);
    let found = contacts.iter().filter_map(|contact| service_of(plan, &contact.host)).filter(own);
    found.collect::<BTreeSet<usize>>().into_iter().collect()
}

/// Positions of the services that a cell's probes use, whatever for.
pub(crate) fn used_services(site: Site<'_>, plan: &Plan<'_>) -> BTreeSet<usize> {
    let mut used = BTreeSet::new();
    let address = |id: &str| plan.find(id)?.addresses.first().map(IpAddr::to_string);
    for (_, group) in groups(site) {
        let named = [&*group.helper.text, &*group.resolver.text].into_iter();
        used.extend(named.filter_map(|id| plan.position(id)));
        used.extend(group.referred().iter().filter_map(|id| plan.position(id)));
        for step in steps(plan, group).unwrap_or_default() {
            let input = step.input.as_deref().map(|input| replaced_text(input, &address));
            used.extend(input.as_deref().and_then(|input| service_of(plan, host_of(input))));
            let contacts = step.experiment.contacts(step.input.as_deref());
            used.extend(contacts.iter().filter_map(|contact| service_of(plan, &contact.host)));
        }
    }
    used
}

impl Cast<'_, '_> {
    /// Builds the probes' hosts and their access lines. Their addresses are the cell's last ones, so that
    /// clients do not move them.
    pub fn probe_hosts(&self, world: &mut World) -> Vec<ProbeHost> {
        let addresses = AddressPlan::new(&self.site.scenario.nation);
        let network = self.site.network;
        let line = |rate_bps: u64| {
            LinkSetup::new(Duration::from_micros(network.delay_us))
                .with_rate(rate_bps)
                .with_loss(network.loss)
        };
        let mut hosts: Vec<ProbeHost> = Vec::new();
        for (group, of) in groups(self.site) {
            for number in 0..of.per_cell {
                let at = MAX_SUBSCRIBERS - 1 - hosts.len() as u32;
                let own = vec![IpAddr::V4(addresses.subscriber(self.site.cell, at))];
                let node = world.host(&format!("probe-{}-{number}", of.id.text), &own);
                world.link_ways(node, self.layout.access, line(network.up_bps), line(network.down_bps));
                hosts.push(ProbeHost { node, group, number, addresses: own });
            }
        }
        hosts
    }

    /// Starts the probes.
    pub fn start_probes(
        &self,
        world: &World,
        hosts: &[ProbeHost],
        measured: &Rc<RefCell<Vec<Measured>>>,
        problem: &Rc<RefCell<Option<String>>>,
    ) -> Result<(), String> {
        for (at, host) in hosts.iter().enumerate() {
            let Some(group) = self.site.scenario.probes.get(host.group) else { continue };
            let scenario = self.site.scenario;
            let from = group.from.unwrap_or(scenario.start).max(scenario.start);
            let seed = chance::hash(self.site.seed(), &[8, host.group as u64, u64::from(host.number)]);
            let resolver = self.plan.find(&group.resolver);
            let resolver_ip = resolver.and_then(|placed| placed.addresses.first().copied());
            let helper = self.plan.find(&group.helper);
            let program = Rounds {
                from,
                until: group.until.unwrap_or(scenario.end).min(scenario.end),
                every: group.every,
                jitter: group.jitter,
                rounds: group.rounds_within(scenario),
                seed,
                probe: at,
                label: format!("{}/{}", group.id.text, host.number),
                steps: steps(self.plan, group)?,
                resolver: Endpoint { ip: resolver_ip.unwrap_or(self.layout.resolver_ip), port: 53 },
                ground: self.certificates.ground.clone(),
                helper: helper.map(|placed| {
                    let name = placed.service.names.first().map_or("", |name| &name.text);
                    (format!("https://{name}/"), placed.addresses.clone())
                }),
                envelope: self.envelope(group, resolver.map(|placed| placed.hosting)),
                own: host.addresses.clone(),
                measured: measured.clone(),
                problem: problem.clone(),
            };
            world.net(host.node).spawn(move |net| program.run(net));
        }
        Ok(())
    }

    fn envelope(&self, group: &ProbeGroup, resolver: Option<&crate::nation::Hosting>) -> Envelope {
        let network = self.site.network;
        let own = (format!("AS{}", network.asn), network.name.clone());
        let (resolver_asn, resolver_network_name) =
            resolver.map_or_else(|| own.clone(), |at| (format!("AS{}", at.asn), at.name.clone()));
        Envelope {
            country: self.site.scenario.nation.country.clone(),
            asn: own.0,
            network_name: own.1,
            network_type: network_type(network.access).to_owned(),
            resolver_asn,
            resolver_network_name,
            software: group.software.clone(),
        }
    }
}

/// OONI's word for how a probe is attached.
const fn network_type(access: crate::nation::Access) -> &'static str {
    match access {
        crate::nation::Access::Fixed => "wifi",
        crate::nation::Access::Mobile => "mobile",
        crate::nation::Access::Datacentre => "wired",
    }
}

/// A probe's program.
struct Rounds {
    from: Instant,
    until: Instant,
    every: Duration,
    jitter: Duration,
    rounds: u64,
    seed: u64,
    probe: usize,
    label: String,
    steps: Vec<Step>,
    resolver: Endpoint,
    ground: okno_probe::net::TlsGround,
    helper: Option<(String, Vec<IpAddr>)>,
    envelope: Envelope,
    own: Vec<IpAddr>,
    measured: Rc<RefCell<Vec<Measured>>>,
    problem: Rc<RefCell<Option<String>>>,
}

impl Rounds {
    async fn run(self, net: Net) {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let phase = chance::hash(self.seed, &[0]) % nanos(self.every).max(1);
        let world = LabNet::new(net.clone(), Some(self.resolver), self.ground.clone()).world();
        for round in 0..self.rounds {
            let jitter = match nanos(self.jitter) {
                0 => 0,
                jitter => chance::hash(self.seed, &[1, round]) % jitter,
            };
            let offset = nanos(self.every).saturating_mul(round).saturating_add(phase).saturating_add(jitter);
            let at = self.from + Duration::from_nanos(offset);
            if at >= self.until {
                return;
            }
            if at > net.now() {
                net.sleep_until(at).await;
            }
            let round_began = net.now();
            for (number, step) in self.steps.iter().enumerate() {
                let number = round * self.steps.len() as u64 + number as u64;
                if let Err(problem) = self.measure(&net, &world, step, round_began, number).await {
                    self.problem.borrow_mut().get_or_insert(problem);
                    return;
                }
            }
        }
    }

    async fn measure(
        &self,
        net: &Net,
        world: &okno_probe::World,
        step: &Step,
        round_began: Instant,
        number: u64,
    ) -> Result<(), String> {
        let mut context = Context::new(world.clone());
        if let Some((url, addresses)) = &self.helper {
            context.helper = Some(url.clone());
            context.helper_addresses.clone_from(addresses);
        }
        let began = net.now();
        let test = step.experiment.name();
        let named = |what: &str| {
            let input = step.input.as_deref().unwrap_or("no input");
            format!("probe {}: `{test}` with {input}: {what}", self.label)
        };
        let run = step.experiment.run(&context, step.input.as_deref());
        let keys: Value = match net.timeout(LONGEST, run).await {
            Ok(Ok(keys)) => keys,
            Ok(Err(problem)) => return Err(named(&problem)),
            Err(_) => return Err(named("did not end within four hours")),
        };
        let done = net.now();
        let line = self.envelope.line(crate::probe::Finished {
            test,
            version: step.experiment.version(),
            input: step.input.as_deref(),
            keys,
            round_began: timestamp(round_began),
            began: timestamp(began),
            runtime: done.since(began),
            helper: self.helper.as_ref().map(|(url, _)| url.as_str()),
            token: chance::hash(self.seed, &[2, number]),
            own: &self.own,
        });
        self.measured.borrow_mut().push(Measured {
            began,
            done,
            probe: self.probe,
            label: self.label.clone(),
            test: test.to_owned(),
            test_version: step.experiment.version().to_owned(),
            input: step.input.clone(),
            targets: step.targets.clone(),
            line,
            acts: Vec::new(),
        });
        Ok(())
    }
}

fn timestamp(at: Instant) -> Timestamp {
    Timestamp::from_micros(i64::try_from(at.micros()).unwrap_or(i64::MAX))
}
