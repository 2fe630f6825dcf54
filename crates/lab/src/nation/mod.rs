//! A country as data: regions, access networks, exchanges, border links, hosting.
//!
//! A model is a TOML file with the same tables that a scenario may hold itself, so that a scenario can take a
//! national model, change a network of it, and add its own. Addresses are the lab's own and mean nothing
//! outside: RFC 1918, RFC 6598 and the benchmarking and documentation ranges (RFC 2544, RFC 3849).

mod address;
mod parse;

pub use address::{AddressPlan, MAX_SUBSCRIBERS, Prefix};
pub(crate) use parse::{parse_nation, select};

/// The models that come with the lab: id and TOML text.
pub const MODELS: &[(&str, &str)] = &[
    ("russia", include_str!("../../nation/russia.toml")),
    ("iran", include_str!("../../nation/iran.toml")),
    ("china", include_str!("../../nation/china.toml")),
];

/// A country, or the part of it that a scenario uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nation {
    /// ISO 3166 code, for clients' country
    pub country: String,
    /// one line for people
    pub title: String,
    /// regions, in the file's order
    pub regions: Vec<Region>,
    /// exchange points
    pub exchanges: Vec<Exchange>,
    /// links out of the country
    pub borders: Vec<Border>,
    /// access networks
    pub networks: Vec<Network>,
    /// where services stand, at home and abroad
    pub hostings: Vec<Hosting>,
}

/// A region of the country.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region {
    /// short name in scenarios
    pub id: String,
    /// for people
    pub name: String,
    /// inhabitants in millions: weight of its cells
    pub people_millions: f64,
    /// id of its exchange
    pub exchange: String,
    /// one-way delay to the exchange, microseconds
    pub delay_us: u64,
}

/// An exchange point, where domestic traffic meets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    /// short name in scenarios
    pub id: String,
    /// for people
    pub name: String,
    /// one-way delay to the country's main exchange, microseconds
    pub delay_us: u64,
    /// id of the border link its foreign traffic takes
    pub border: String,
}

/// A link out of the country.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Border {
    /// short name in scenarios
    pub id: String,
    /// for people
    pub name: String,
    /// one-way delay, microseconds
    pub delay_us: u64,
    /// share of packets lost
    pub loss: f64,
}

/// How subscribers are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// homes and offices
    #[default]
    Fixed,
    /// phones
    Mobile,
    /// rented servers
    Datacentre,
}

/// Names of [`Access`] in files.
pub const ACCESSES: &[(&str, Access)] =
    &[("fixed", Access::Fixed), ("mobile", Access::Mobile), ("datacentre", Access::Datacentre)];

impl Access {
    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        ACCESSES.iter().find(|(_, access)| *access == self).map_or("fixed", |(name, _)| name)
    }
}

/// An access network. Hops count from the subscriber, 0 means that no such box can stand there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// short name in scenarios
    pub id: String,
    /// for people
    pub name: String,
    /// AS number
    pub asn: u32,
    /// kind of access
    pub access: Access,
    /// approximate share of its kind of access, 0–1
    pub share: f64,
    /// ids of regions where it has subscribers; `*` for all
    pub regions: Vec<String>,
    /// id of the network whose radio and filters it uses (a virtual operator)
    pub host: String,
    /// whether subscribers share addresses
    pub cgnat: bool,
    /// share of subscribers with IPv6, 0–1
    pub ipv6: f64,
    /// one-way delay of the access line, microseconds
    pub delay_us: u64,
    /// loss of the access line, 0–1
    pub loss: f64,
    /// rate towards the subscriber, bits per second
    pub down_bps: u64,
    /// rate from the subscriber, bits per second
    pub up_bps: u64,
    /// hop of the state's box
    pub tspu_hop: u8,
    /// hop of a box that sees only the upstream
    pub upstream_hop: u8,
    /// hop of the operator's own filter
    pub legacy_hop: u8,
    /// hop of the core's second echelon
    pub core_hop: u8,
    /// where it stood
    pub place: crate::scenario::Place,
}

/// Where services stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosting {
    /// short name in scenarios
    pub id: String,
    /// for people
    pub name: String,
    /// AS number
    pub asn: u32,
    /// ISO 3166 code of where it stands
    pub country: String,
    /// whether its traffic crosses the border
    pub foreign: bool,
    /// one-way delay from the border (foreign) or from the main exchange (domestic), microseconds
    pub delay_us: u64,
}

/// One access network in one region: the unit that is simulated on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// number of the cell, in the order of networks and regions
    pub number: u32,
    /// position in [`Nation::networks`]
    pub network: usize,
    /// position in [`Nation::regions`]
    pub region: usize,
}

impl Nation {
    /// Every network in each of its regions, numbered.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for (network, of) in self.networks.iter().enumerate() {
            for (region, at) in self.regions.iter().enumerate() {
                if of.regions.iter().any(|id| id == "*" || *id == at.id) {
                    let number = u32::try_from(cells.len()).unwrap_or(u32::MAX);
                    cells.push(Cell { number, network, region });
                }
            }
        }
        cells
    }

    /// Weight of a cell: the network's share times the region's inhabitants.
    pub fn weight(&self, cell: Cell) -> f64 {
        let share = self.networks.get(cell.network).map_or(0.0, |network| network.share);
        let people = self.regions.get(cell.region).map_or(0.0, |region| region.people_millions);
        share * people
    }

    /// A hosting by id.
    pub fn hosting(&self, id: &str) -> Option<&Hosting> {
        self.hostings.iter().find(|hosting| hosting.id == id)
    }
}
