//! The cast of a cell: who serves, who measures, when, and what came of it.
//!
//! A client is a host with one program that sleeps between its rounds; the beginning of a round is a hash of
//! seed, cell, client and round, so that one client more changes nobody else's times.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use okno_wire::Instant;

use super::activity::{Job, Report, perform};
use super::cell::{Layout, Site};
use super::names::{CellResolver, Zone};
use super::plan::Plan;
use super::servers::{self, Certificates, House};
use crate::nation::AddressPlan;
use crate::net::Net;
use crate::scenario::{Activity, ClientGroup, Protocol};
use crate::world::{LinkSetup, NodeId, World, chance};

/// What a client got, before it is a row.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub began: Instant,
    pub done: Instant,
    pub group: usize,
    pub client: u32,
    pub target: usize,
    pub activity: Activity,
    pub name: Arc<str>,
    pub report: Report,
}

/// Positions of the services that a cell's clients use, resolvers included.
pub(crate) fn used_services(site: Site<'_>, plan: &Plan<'_>, counts: &[u32]) -> Vec<usize> {
    let mut used = BTreeSet::new();
    for (group, count) in site.scenario.clients.iter().zip(counts) {
        if *count > 0 {
            used.extend(group.targets.iter().filter_map(|target| plan.position(target)));
            used.extend(plan.position(&group.resolver));
        }
    }
    used.extend(super::probes::used_services(site, plan));
    used.into_iter().collect()
}

/// All that a cell's programs share.
pub(crate) struct Cast<'a, 's> {
    pub site: Site<'s>,
    pub plan: &'a Plan<'s>,
    pub layout: &'a Layout,
    pub certificates: &'a Certificates,
    pub house: House,
    pub outcomes: Rc<RefCell<Vec<Noted>>>,
}

/// A client's host, before its program starts.
pub(crate) struct Client {
    node: NodeId,
    group: usize,
    number: u32,
    ipv6: bool,
}

impl Cast<'_, '_> {
    /// Builds the clients' hosts and their access lines.
    pub fn hosts(&self, world: &mut World, counts: &[u32]) -> Vec<Client> {
        let addresses = AddressPlan::new(&self.site.scenario.nation);
        let network = self.site.network;
        let line = |rate_bps: u64| {
            LinkSetup::new(Duration::from_micros(network.delay_us))
                .with_rate(rate_bps)
                .with_loss(network.loss)
        };
        let mut clients = Vec::new();
        for (group, count) in counts.iter().enumerate() {
            for number in 0..*count {
                let at = u32::try_from(clients.len()).unwrap_or(u32::MAX);
                let luck = chance::hash(self.site.seed(), &[6, group as u64, u64::from(number)]);
                let ipv6 = chance::happens(network.ipv6, luck);
                let mut own = vec![IpAddr::V4(addresses.subscriber(self.site.cell, at))];
                if ipv6 {
                    own.push(IpAddr::V6(addresses.subscriber6(self.site.cell, at)));
                }
                let node = world.host(&format!("client-{at}"), &own);
                world.link_ways(node, self.layout.access, line(network.up_bps), line(network.down_bps));
                clients.push(Client { node, group, number, ipv6 });
            }
        }
        clients
    }

    /// Starts servers and clients.
    pub fn start(&self, world: &mut World, clients: &[Client]) {
        let zone = Rc::new(Zone::new(self.plan));
        let portal = Some(self.layout.resolver_ip);
        let (names, house) = (zone.clone(), self.house.clone());
        let own = CellResolver { zone: names, house, portal };
        world.net(self.layout.resolver).spawn(move |net| own.over_udp(net));
        world.net(self.layout.resolver).spawn(servers::login_page);
        for (at, (node, _)) in &self.layout.servers {
            let Some(placed) = self.plan.services.get(*at) else { continue };
            let service = placed.service;
            let speaks = &service.speaks;
            servers::web(world, *node, *at, service, self.certificates, &self.house);
            if speaks.contains(&Protocol::Dns) {
                let (names, house) = (zone.clone(), self.house.clone());
                let public = CellResolver { zone: names, house, portal: None };
                world.net(*node).spawn(move |net| public.over_udp(net));
            }
            super::apps::serve(world, *node, speaks, service.port);
            self.serve_probes(world, *node, *at, &zone);
        }
        for client in clients {
            if let Some(group) = self.site.scenario.clients.get(client.group) {
                self.start_client(world, client, group);
            }
        }
    }

    fn start_client(&self, world: &World, client: &Client, group: &ClientGroup) {
        let scenario = self.site.scenario;
        let from = group.from.unwrap_or(scenario.start).max(scenario.start);
        let seed = chance::hash(self.site.seed(), &[7, client.group as u64, u64::from(client.number)]);
        let program = Rounds {
            from,
            until: group.until.unwrap_or(scenario.end).min(scenario.end),
            every: group.every,
            jitter: group.jitter,
            rounds: group.rounds_within(scenario),
            seed,
            group: client.group,
            client: client.number,
            steps: self.steps(client, group),
            outcomes: self.outcomes.clone(),
        };
        world.net(client.node).spawn(move |net| program.run(net));
    }

    fn steps(&self, client: &Client, group: &ClientGroup) -> Vec<(usize, Arc<str>, Job)> {
        let resolver = self.plan.find(&group.resolver).and_then(|placed| placed.addresses.first().copied());
        let resolver = resolver.unwrap_or(self.layout.resolver_ip);
        let mut steps = Vec::new();
        for target in &group.targets {
            let Some(at) = self.plan.position(target) else { continue };
            let Some(placed) = self.plan.services.get(at) else { continue };
            let service = placed.service;
            let ipv6 = group.ipv6 && client.ipv6 && service.ipv6;
            // a wildcard names nothing that can be asked for
            let name = service.names.iter().find(|name| !name.starts_with("*."));
            let name: Arc<str> = name.map_or("", |name| &name.text).into();
            let address = placed.addresses.iter().find(|ip| ip.is_ipv6() == ipv6).copied();
            for activity in &group.does {
                if activity.needs().is_some_and(|needs| !service.speaks.contains(&needs)) {
                    continue;
                }
                let job = Job {
                    activity: *activity,
                    name: name.to_string(),
                    address: if group.resolve && !name.is_empty() { None } else { address },
                    resolver,
                    ipv6,
                    fallback: group.fallback,
                    genuine: placed.addresses.iter().chain(&placed.spare).copied().collect(),
                    port: service.port,
                    bytes: group.bytes,
                    object: service.object_bytes,
                    parallel: group.parallel,
                    timeout: group.timeout,
                    client: Arc::clone(&self.certificates.client),
                    trusted: self.certificates.trusted.clone(),
                };
                steps.push((at, name.clone(), job));
            }
        }
        steps
    }
}

/// A client's program.
struct Rounds {
    from: Instant,
    until: Instant,
    every: Duration,
    jitter: Duration,
    rounds: u64,
    seed: u64,
    group: usize,
    client: u32,
    steps: Vec<(usize, Arc<str>, Job)>,
    outcomes: Rc<RefCell<Vec<Noted>>>,
}

impl Rounds {
    async fn run(self, net: Net) {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let phase = chance::hash(self.seed, &[0]) % nanos(self.every).max(1);
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
            for (target, name, job) in &self.steps {
                let began = net.now();
                let report = perform(&net, job).await;
                self.outcomes.borrow_mut().push(Noted {
                    began,
                    done: net.now(),
                    group: self.group,
                    client: self.client,
                    target: *target,
                    activity: job.activity,
                    name: name.clone(),
                    report,
                });
            }
        }
    }
}
