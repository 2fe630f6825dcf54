//! Routes by least delay, computed once over the finished topology.
//!
//! Boxes and NATs have no routes: what enters one side leaves the other. A NAT is a one-way door for the
//! search: from inside everything beyond it is reachable, from outside only its own addresses are.

use core::cmp::Reverse;
use core::net::IpAddr;
use std::collections::{BTreeMap, BinaryHeap};

use super::router::Hop;
use super::{Core, Kind, NodeId, Prefix};

/// Fills all routers' tables with routes to single addresses.
pub(crate) fn fill(core: &mut Core) {
    let routers: Vec<u32> = (0..core.nodes.len() as u32)
        .filter(|node| matches!(core.nodes[*node as usize], Kind::Router(_)))
        .collect();
    for router in routers {
        let found = search(core, NodeId(router));
        if let Kind::Router(router) = &mut core.nodes[router as usize] {
            for (ip, port) in found {
                if !router.addresses.contains(&ip) {
                    router.table.insert(Prefix::host(ip), Hop::Port(port));
                }
            }
        }
    }
}

/// First hops to all addresses that a packet from `start` can reach.
fn search(core: &Core, start: NodeId) -> BTreeMap<IpAddr, u16> {
    let mut found = BTreeMap::new();
    let mut best: BTreeMap<(NodeId, u16), u64> = BTreeMap::new();
    let mut heap = BinaryHeap::new();
    let wires = &core.wires;
    // A packet that arrives at (node, port) after `cost` nanoseconds, having left by `first`.
    let leave = |node: NodeId, port: u16, cost: u64, first: Option<u16>| {
        let (link, side) = *wires.ports[node.0 as usize].get(usize::from(port))?;
        let link = &wires.links[link.0 as usize];
        let delay = u64::try_from(link.ways[side.index()].setup.delay.as_nanos()).unwrap_or(u64::MAX / 4);
        let (next, entry) = link.ends[side.other().index()];
        Some(Reverse((cost.saturating_add(delay).saturating_add(1), next, entry, first.unwrap_or(port))))
    };
    heap.extend(
        (0..wires.ports[start.0 as usize].len() as u16).filter_map(|port| leave(start, port, 0, None)),
    );
    while let Some(Reverse((cost, node, entry, first))) = heap.pop() {
        // Routers are left the same way wherever they were entered.
        let key = (node, if matches!(core.nodes[node.0 as usize], Kind::Router(_)) { 0 } else { entry });
        if node == start || best.contains_key(&key) {
            continue;
        }
        best.insert(key, cost);
        match &core.nodes[node.0 as usize] {
            Kind::Host(host) => {
                for ip in &host.setup.addresses {
                    found.entry(*ip).or_insert(first);
                }
            }
            Kind::Router(router) => {
                for ip in &router.addresses {
                    found.entry(*ip).or_insert(first);
                }
                let ports = wires.ports[node.0 as usize].len() as u16;
                heap.extend((0..ports).filter_map(|port| leave(node, port, cost, Some(first))));
            }
            Kind::Nat(nat) if entry == 1 => {
                for ip in &nat.setup.outside {
                    found.entry(IpAddr::V4(*ip)).or_insert(first);
                }
                // IPv6 is not translated: hosts behind are reachable. Who came out through it is behind
                // too, and reaches them without turning round.
                if !best.contains_key(&(node, 0)) {
                    for ip in behind(core, node) {
                        found.entry(ip).or_insert(first);
                    }
                }
            }
            Kind::Nat(_) | Kind::Box(_) => heap.extend(leave(node, 1 - entry.min(1), cost, Some(first))),
        }
    }
    found
}

/// IPv6 addresses on the inside of a NAT.
fn behind(core: &Core, nat: NodeId) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut seen = vec![nat];
    let mut next = vec![(nat, 0)];
    while let Some((node, port)) = next.pop() {
        let Some((link, side)) = core.wires.ports[node.0 as usize].get(usize::from(port)) else { continue };
        let (other, entry) = core.wires.links[link.0 as usize].ends[side.other().index()];
        if seen.contains(&other) {
            continue;
        }
        seen.push(other);
        match &core.nodes[other.0 as usize] {
            Kind::Host(host) => found.extend(host.setup.addresses.iter().filter(|ip| ip.is_ipv6())),
            Kind::Router(_) => {
                next.extend((0..core.wires.ports[other.0 as usize].len() as u16).map(|port| (other, port)));
            }
            Kind::Nat(_) | Kind::Box(_) => next.push((other, 1 - entry.min(1))),
        }
    }
    found
}
