//! What all cells of a run share: who has which address and answers to which names.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::nation::{AddressPlan, Hosting};
use crate::scenario::{Scenario, Service};

/// A service with its addresses.
#[derive(Clone, Debug)]
pub struct Placed<'s> {
    /// the service
    pub service: &'s Service,
    /// position of its hosting in the nation
    pub hosting_at: usize,
    /// its hosting
    pub hosting: &'s Hosting,
    /// addresses in use, IPv4 first
    pub addresses: Vec<IpAddr>,
    /// as many that it moves to when its names rotate
    pub spare: Vec<IpAddr>,
}

/// All services of a run, placed.
#[derive(Clone, Debug)]
pub struct Plan<'s> {
    /// in the scenario's order
    pub services: Vec<Placed<'s>>,
    by_address: BTreeMap<IpAddr, usize>,
    by_id: BTreeMap<&'s str, usize>,
    scenario: &'s Scenario,
}

impl<'s> Plan<'s> {
    /// Places the services of a checked scenario.
    pub fn new(scenario: &'s Scenario) -> Self {
        let addresses = AddressPlan::new(&scenario.nation);
        let mut used = BTreeMap::<usize, u32>::new();
        let mut services: Vec<Placed<'s>> = Vec::new();
        for service in &scenario.services {
            let found = scenario
                .nation
                .hostings
                .iter()
                .enumerate()
                .find(|(_, hosting)| hosting.id == service.hosting.text);
            let Some((hosting_at, hosting)) = found else { continue };
            let next = used.entry(hosting_at).or_default();
            let mut take = |count: u32| -> Vec<IpAddr> {
                let numbers = *next..*next + count;
                *next += count;
                let v4 = numbers.clone().map(|number| IpAddr::V4(addresses.server(hosting_at, number)));
                let v6 = numbers.map(|number| IpAddr::V6(addresses.server6(hosting_at, number)));
                if service.ipv6 { v4.chain(v6).collect() } else { v4.collect() }
            };
            let (in_use, spare) = (take(service.addresses), take(service.addresses));
            services.push(Placed { service, hosting_at, hosting, addresses: in_use, spare });
        }
        let by_address = services.iter().enumerate().flat_map(|(at, placed)| {
            placed.addresses.iter().chain(&placed.spare).map(move |address| (*address, at))
        });
        let by_address = by_address.collect();
        let by_id = services.iter().enumerate().map(|(at, placed)| (&*placed.service.id.text, at)).collect();
        Self { services, by_address, by_id, scenario }
    }

    /// The service at an address.
    pub fn at(&self, address: IpAddr) -> Option<&Placed<'s>> {
        self.by_address.get(&address).and_then(|at| self.services.get(*at))
    }

    /// A service by id.
    pub fn find(&self, id: &str) -> Option<&Placed<'s>> {
        self.by_id.get(id).and_then(|at| self.services.get(*at))
    }

    /// Position of a service by id.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// What a list's entries stand for: `@ID` is all addresses of a hosting or a service, `@ID:443` its ends,
    /// `@foreign` and `@domestic` all hostings abroad and at home; anything else stands for itself.
    pub fn expand(&self, entries: &BTreeSet<String>) -> Vec<String> {
        let mut expanded = Vec::new();
        for entry in entries {
            match entry.strip_prefix('@') {
                Some(reference) => expanded.extend(self.resolve(reference)),
                None => expanded.push(entry.clone()),
            }
        }
        expanded
    }

    fn resolve(&self, reference: &str) -> Vec<String> {
        let plan = AddressPlan::new(&self.scenario.nation);
        let (id, port) = reference.split_once(':').map_or((reference, None), |(id, port)| (id, Some(port)));
        if let Some(placed) = self.find(id) {
            let both = placed.addresses.iter().chain(&placed.spare);
            return both
                .map(|address| match (address, port) {
                    (address, None) => address.to_string(),
                    (IpAddr::V4(v4), Some(port)) => format!("{v4}:{port}"),
                    (IpAddr::V6(v6), Some(port)) => format!("[{v6}]:{port}"),
                })
                .collect();
        }
        let of = |hosting: &Hosting| match id {
            "foreign" => hosting.foreign,
            "domestic" => !hosting.foreign,
            id => hosting.id == id,
        };
        let hostings = self.scenario.nation.hostings.iter().enumerate().filter(|(_, hosting)| of(hosting));
        hostings.flat_map(|(at, _)| plan.hosting_prefixes(at)).map(|prefix| prefix.to_string()).collect()
    }

    /// Whether `@ID` or `@ID:PORT` of a list refers to something.
    pub fn refers(scenario: &Scenario, reference: &str) -> bool {
        let id = reference.split_once(':').map_or(reference, |(id, _)| id);
        matches!(id, "foreign" | "domestic")
            || scenario.services.iter().any(|service| service.id.text == id)
            || scenario.nation.hostings.iter().any(|hosting| hosting.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Overrides;

    #[test]
    fn services_have_addresses_of_their_hosting_and_lists_can_name_them() {
        let text = r#"title = "t"
start = 2022-03-01
end = 2022-03-02
[topology]
model = "russia"
[[service]]
id = "a.example"
hosting = "cloudflare"
addresses = 2
ipv6 = true
[[service]]
id = "b.example"
hosting = "cloudflare"
"#;
        let scenario = Scenario::parse("t", text, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
        let plan = Plan::new(&scenario);
        let (a, b) = (plan.find("a.example").unwrap(), plan.find("b.example").unwrap());
        assert_eq!((a.addresses.len(), a.spare.len(), b.addresses.len()), (4, 4, 1));
        let all: BTreeSet<_> =
            [&a.addresses, &a.spare, &b.addresses, &b.spare].into_iter().flatten().collect();
        assert_eq!(all.len(), 10);
        assert_eq!(plan.at(b.addresses[0]).map(|placed| &*placed.service.id.text), Some("b.example"));

        let entries = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let expanded = plan.expand(&entries(&["@cloudflare", "@b.example:443", "plain.example"]));
        assert_eq!(expanded.len(), 2 + 2 + 1);
        assert!(expanded.contains(&format!("{}:443", b.addresses[0])));
        assert!(Plan::refers(&scenario, "foreign") && !Plan::refers(&scenario, "nobody"));
    }
}
