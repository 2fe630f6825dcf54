//! One cell as a world: an access network in a region, its filters, the exchange, the border, and the
//! services that its clients use.
//!
//! ```text
//! client ─ r1 ─ r2 ─[tspu]─[upstream]─ nat ─ r3 … ─[legacy]─[core]─ exchange ─[border]─ gateway ─
//! services abroad
//!               └ resolver                                              └ services at home
//! ```
//! Only filters that the scenario ever installs are built, and no more routers than their hops need: each hop
//! costs an event a packet.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use okno_censor::{Context, Direction, Middlebox, Verdict};
use okno_wire::{Instant, PacketView};

use super::faults::{Faults, Links};
use super::plan::Plan;
use super::timeline::{Mode, Timeline};
use crate::nation::{Access, AddressPlan, Cell, Network, Region};
use crate::scenario::{Placement, Scenario};
use crate::world::{BoxMode, LinkId, LinkSetup, NatSetup, NodeId, Setup, World};

/// A filter that is taken out: a wire.
#[derive(Debug)]
pub(crate) struct Wire;

impl Middlebox for Wire {
    fn on_packet(&mut self, _: Instant, _: Direction, _: &PacketView<'_>, _: &mut Context<'_>) -> Verdict {
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

/// A filter's place in the world.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub node: NodeId,
    pub slot: String,
}

/// The nodes of a cell that others need.
pub(crate) struct Layout {
    pub filters: Vec<Filter>,
    /// first router: clients hang on it
    pub access: NodeId,
    /// link between the first two routers: all traffic of the cell
    pub uplink: LinkId,
    pub resolver: NodeId,
    pub resolver_ip: IpAddr,
    /// where subscribers share an address
    pub nat: Option<NodeId>,
    /// by position in [`Plan::services`]; only those that the cell uses
    pub servers: BTreeMap<usize, (NodeId, LinkId)>,
}

/// Which cell it is, with what it consists of.
#[derive(Clone, Copy)]
pub(crate) struct Site<'s> {
    pub scenario: &'s Scenario,
    pub cell: Cell,
    pub network: &'s Network,
    pub region: &'s Region,
}

impl<'s> Site<'s> {
    pub fn new(scenario: &'s Scenario, cell: Cell) -> Option<Self> {
        let network = scenario.nation.networks.get(cell.network)?;
        let region = scenario.nation.regions.get(cell.region)?;
        Some(Self { scenario, cell, network, region })
    }

    /// `mts/moscow`
    pub fn name(&self) -> String {
        format!("{}/{}", self.network.id, self.region.id)
    }

    /// Seed of this cell: of the run's seed and the cell's name, so that it does not depend on other cells.
    pub fn seed(&self) -> u64 {
        crate::world::chance::hash_name(self.scenario.seed, &self.name())
    }

    /// Hop at which a filter stands; nothing where this network has no place for it.
    fn hop(&self, placement: Placement) -> Option<u8> {
        let hop = match placement {
            Placement::Tspu => self.network.tspu_hop,
            Placement::Upstream => self.network.upstream_hop,
            Placement::Core => self.network.core_hop,
            Placement::Legacy => self.network.legacy_hop,
            Placement::Border => return Some(u8::MAX),
        };
        (hop > 0).then_some(hop.max(2))
    }

    pub fn timeline(&self) -> Timeline<'s> {
        Timeline::new(self.scenario, self.network, &self.region.id)
    }
}

const fn micros(us: u64) -> LinkSetup {
    LinkSetup::new(Duration::from_micros(us))
}

/// Builds routers, filters, the resolver and the services' hosts; clients come later.
pub(crate) fn build(site: Site<'_>, plan: &Plan<'_>, used: &[usize]) -> (World, Layout) {
    let scenario = site.scenario;
    let addresses = AddressPlan::new(&scenario.nation);
    let mut world = World::new(Setup { seed: site.seed(), start: scenario.start, traced: true });
    let own = |number| IpAddr::V4(addresses.own(site.cell, number));
    let access = world.router("r1", &[own(2)], false);
    let mut path = Path { site, own: 3, uplink: None, nat: None, filters: Vec::new(), last: access };
    let slots = site.timeline().slots();
    let near = |placement: &Placement| matches!(placement, Placement::Tspu | Placement::Upstream);
    // the state's box sees subscribers' addresses: it stands before the shared address
    let nat_hop = slots.values().filter(|at| near(at)).filter_map(|at| site.hop(*at)).max().unwrap_or(2);
    let last_hop =
        slots.values().filter_map(|at| site.hop(*at)).filter(|hop| *hop != u8::MAX).max().unwrap_or(2).max(3);
    for hop in 2..=last_hop {
        path.filters_at(&mut world, &slots, hop);
        path.router(&mut world, &format!("r{hop}"));
        if hop == nat_hop && (site.network.cgnat || site.network.access == Access::Mobile) {
            path.nat(&mut world);
        }
    }
    let resolver_ip = own(1);
    let resolver = world.host("resolver", &[resolver_ip]);
    world.link(path.last, resolver, micros(1_000));
    let exchange = exchange(&mut world, &mut path);
    path.filters_at(&mut world, &slots, u8::MAX);
    let gateway = path.gateway(&mut world, exchange);
    let mut servers = BTreeMap::new();
    for &at in used {
        let Some(placed) = plan.services.get(at) else { continue };
        let all: Vec<IpAddr> = placed.addresses.iter().chain(&placed.spare).copied().collect();
        let host = world.host(&placed.service.id.text, &all);
        let (router, delay_us) = match placed.hosting.foreign {
            true => (gateway, placed.hosting.delay_us),
            false => (exchange, placed.hosting.delay_us + site_exchange(site).map_or(0, |at| at.delay_us)),
        };
        let link = world.link(router, host, micros(delay_us.max(50)));
        servers.insert(at, (host, link));
    }
    let uplink = path.uplink.expect("the second router was linked");
    let (filters, nat) = (path.filters, path.nat);
    (world, Layout { filters, access, uplink, resolver, resolver_ip, nat, servers })
}

fn site_exchange<'s>(site: Site<'s>) -> Option<&'s crate::nation::Exchange> {
    site.scenario.nation.exchanges.iter().find(|exchange| exchange.id == site.region.exchange)
}

fn exchange(world: &mut World, path: &mut Path<'_>) -> NodeId {
    let delay_us = path.site.region.delay_us;
    let node = path.next_router(world, "exchange");
    world.link(path.last, node, micros(delay_us.max(50)));
    path.last = node;
    node
}

/// The chain from the subscriber outwards, while it is built.
struct Path<'s> {
    site: Site<'s>,
    own: u32,
    uplink: Option<LinkId>,
    nat: Option<NodeId>,
    filters: Vec<Filter>,
    last: NodeId,
}

impl Path<'_> {
    fn next_router(&mut self, world: &mut World, name: &str) -> NodeId {
        let addresses = AddressPlan::new(&self.site.scenario.nation);
        self.own += 1;
        world.router(name, &[IpAddr::V4(addresses.own(self.site.cell, self.own))], false)
    }

    fn join(&mut self, world: &mut World, node: NodeId, setup: LinkSetup) {
        let link = world.link(self.last, node, setup);
        self.uplink.get_or_insert(link);
        self.last = node;
    }

    fn router(&mut self, world: &mut World, name: &str) {
        let node = self.next_router(world, name);
        self.join(world, node, micros(200));
    }

    fn nat(&mut self, world: &mut World) {
        let addresses = AddressPlan::new(&self.site.scenario.nation);
        let outside = vec![addresses.own(self.site.cell, 0)];
        let node = world.nat("cgnat", NatSetup::carrier(outside));
        self.nat = Some(node);
        self.join(world, node, micros(100));
    }

    fn filters_at(&mut self, world: &mut World, slots: &BTreeMap<String, Placement>, hop: u8) {
        for (slot, placement) in slots {
            if self.site.hop(*placement) != Some(hop) {
                continue;
            }
            let node = world.middlebox(slot, Box::new(Wire));
            if *placement == Placement::Upstream {
                world.set_box_sees_down(node, false);
            }
            self.join(world, node, micros(20));
            self.filters.push(Filter { node, slot: slot.clone() });
        }
    }

    fn gateway(&mut self, world: &mut World, exchange: NodeId) -> NodeId {
        let site = self.site;
        let at = site_exchange(site);
        let border =
            at.and_then(|at| site.scenario.nation.borders.iter().find(|border| border.id == at.border));
        let delay_us = at.map_or(0, |at| at.delay_us) + border.map_or(10_000, |border| border.delay_us);
        let setup = micros(delay_us.max(50)).with_loss(border.map_or(0.0, |border| border.loss));
        let node = self.next_router(world, "gateway");
        debug_assert!(self.last == exchange || !self.filters.is_empty(), "only filters stand in between");
        self.join(world, node, setup);
        node
    }
}

/// How a mode of the scenario is one of the world's.
pub(crate) fn box_mode(mode: Mode, in_place: bool) -> BoxMode {
    match (mode, in_place) {
        (_, false) | (Mode::FailOpen, _) => BoxMode::Bypass,
        (Mode::Overload(drop), _) => BoxMode::Overload { drop, bypass: 0.0 },
        (Mode::Active, _) => BoxMode::Active,
    }
}

/// The cell's links and hosts as its faults need them.
pub(crate) fn faults<'s>(site: Site<'s>, plan: &Plan<'_>, world: &World, layout: &Layout) -> Faults<'s> {
    let links = Links {
        uplink: layout.uplink,
        access: layout.access,
        resolver: layout.resolver,
        servers: layout
            .servers
            .iter()
            .filter_map(|(at, (node, link))| plan.services.get(*at).map(|placed| (*at, placed, *node, *link)))
            .map(|(at, placed, node, link)| {
                (at, placed.service.id.text.clone(), placed.hosting.id.clone(), node, link)
            })
            .collect(),
    };
    Faults::new(site, world, links)
}
