//! Natural trouble in a cell's world: links and hosts are set to what the faults in force make of them.
//!
//! As with policies, what holds at a moment is computed from all faults in force then, so that overlapping
//! faults end without undoing each other.

use std::collections::BTreeMap;

use okno_wire::Instant;

use super::cell::Site;
use crate::scenario::{Fault, FaultKind};
use crate::world::{LinkId, LinkSetup, NodeId, Side, World};

/// Where faults act.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub uplink: LinkId,
    pub access: NodeId,
    pub resolver: NodeId,
    /// position in the plan, service, hosting, host, its link
    pub servers: Vec<(usize, String, String, NodeId, LinkId)>,
}

/// How a service's server behaves; the service's program looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manners {
    /// closed ports
    pub refuses: bool,
    /// delay of each answer
    pub slow: core::time::Duration,
    /// status 403 for everybody here
    pub turns_away: bool,
    /// certificate that has expired
    pub expired: bool,
    /// names lead to the spare addresses
    pub rotated: bool,
}

/// All faults that concern one cell.
#[derive(Clone, Debug)]
pub(crate) struct Faults<'s> {
    faults: Vec<&'s Fault>,
    links: Links,
    base: BTreeMap<LinkId, [LinkSetup; 2]>,
}

/// What holds at a moment beyond links and hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// by position in the plan
    pub manners: BTreeMap<usize, Manners>,
    /// the operator's resolver sends everybody to a login page
    pub portal: bool,
}

impl<'s> Faults<'s> {
    pub fn new(site: Site<'s>, world: &World, links: Links) -> Self {
        let covers = |fault: &&Fault| fault.target.covers(site.network, &site.region.id);
        let faults = site.scenario.faults.iter().filter(covers).collect();
        let ids = links.servers.iter().map(|server| server.4).chain([links.uplink]);
        let base = ids.map(|id| (id, [Side::A, Side::B].map(|side| world.link_setup(id, side)))).collect();
        Self { faults, links, base }
    }

    /// Moments at which something changes, the scenario's bounds left aside.
    pub fn moments(&self) -> Vec<Instant> {
        let mut moments: Vec<Instant> =
            self.faults.iter().flat_map(|fault| [fault.at, fault.until]).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    fn in_force(&self, now: Instant) -> impl Iterator<Item = &'s Fault> + '_ {
        self.faults.iter().copied().filter(move |fault| fault.at <= now && now < fault.until)
    }

    /// Whether a fault that names services concerns this one.
    fn concerns(fault: &Fault, service: &str, hosting: &str) -> bool {
        fault.services.iter().any(|word| word.text == service || word.text == hosting)
    }

    /// Sets links and hosts to what holds now, and says what services shall do.
    pub fn apply(&self, world: &mut World, now: Instant) -> Circumstances {
        let whole = |fault: &&Fault| fault.services.is_empty();
        let network: Vec<&Fault> = self.in_force(now).filter(whole).collect();
        self.set_link(world, self.links.uplink, &network);
        let resolver_down = network.iter().any(|fault| fault.kind == FaultKind::ResolverDown);
        world.set_host_up(self.links.resolver, !resolver_down);
        let ipv6_broken = network.iter().any(|fault| fault.kind == FaultKind::BrokenIpv6);
        world.set_router_loses_ipv6(self.links.access, ipv6_broken);
        let mut circumstances = Circumstances {
            portal: network.iter().any(|fault| fault.kind == FaultKind::CaptivePortal),
            ..Circumstances::default()
        };
        for (at, service, hosting, node, link) in &self.links.servers {
            let here = |fault: &&Fault| Self::concerns(fault, service, hosting);
            let faults: Vec<&Fault> = self.in_force(now).filter(here).collect();
            self.set_link(world, *link, &faults);
            world.set_host_up(*node, !faults.iter().any(|fault| fault.kind == FaultKind::ServerDown));
            circumstances.manners.insert(*at, manners(&faults));
        }
        circumstances
    }

    fn set_link(&self, world: &mut World, link: LinkId, faults: &[&Fault]) {
        let Some(base) = self.base.get(&link) else { return };
        world.set_link_up(link, !faults.iter().any(|fault| fault.kind == FaultKind::Outage));
        for (side, base) in [Side::A, Side::B].into_iter().zip(base) {
            let mut setup = *base;
            for fault in faults {
                if let FaultKind::Congestion { loss, delay, rate_bps } = fault.kind {
                    setup.loss = 1.0 - (1.0 - setup.loss) * (1.0 - loss);
                    setup.delay += delay / 2;
                    if let Some(rate) = rate_bps {
                        setup.rate_bps = if setup.rate_bps == 0 { rate } else { setup.rate_bps.min(rate) };
                        // a second of waiting at most: full queues are what congestion feels like
                        setup.queue_bytes = setup.queue_bytes.min((rate / 8).max(15_000));
                    }
                }
            }
            world.change_link(link, side, setup);
        }
    }
}

fn manners(faults: &[&Fault]) -> Manners {
    let mut manners = Manners::default();
    for fault in faults {
        match fault.kind {
            FaultKind::ServerRefuses => manners.refuses = true,
            FaultKind::ServerSlow { delay } => manners.slow = manners.slow.max(delay),
            FaultKind::GeoBlock => manners.turns_away = true,
            FaultKind::ExpiredCertificate => manners.expired = true,
            FaultKind::CdnRotation => manners.rotated = true,
            _ => {}
        }
    }
    manners
}
