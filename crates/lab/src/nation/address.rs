//! Which lab address belongs to whom.
//!
//! | range | use |
//! |---|---|
//! | 10.0.0.0/8 | fixed and datacentre subscribers, a /20 a cell (RFC 1918) |
//! | 100.64.0.0/10 | subscribers behind carrier-grade NAT, a /20 a cell, used again after 1,024 (RFC 6598) |
//! | 11.18.0.0/16 | hosting, a /24 each |
//! | 11.19.0.0/16 | cells' own: shared public addresses, resolvers, routers: 16 a cell |
//! | 2a0f:ffff::/32 | IPv6: a /48 each, hosting from 2a0f:ffff:f000:: on |
//!
//! The last three are no addresses for documentation, because measurements must take them for what they are
//! in the lab, public ones: an answer with an address that nobody can have is a sign of a forged answer.
//! 11.0.0.0/8 belongs to a network that announces no public service; nothing of the lab ever leaves the
//! process.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Access, Cell, Nation};

/// Most cells that the plan has addresses for.
pub const MAX_CELLS: usize = 4_000;
/// Most hostings that the plan has addresses for.
pub const MAX_HOSTINGS: usize = 250;
/// Most subscribers of one cell.
pub const MAX_SUBSCRIBERS: u32 = 4_000;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// first address
    pub base: IpAddr,
    /// length in bits
    pub length: u8,
}

impl Prefix {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let ((base, base_is_v4), (address, is_v4)) = (bits(self.base), bits(address));
        let shift = 128 - u32::from(self.length.min(128));
        base_is_v4 == is_v4 && (shift == 128 || base >> shift == address >> shift)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

/// Addresses of one nation.
#[derive(Clone, Copy, Debug)]
pub struct AddressPlan<'a> {
    nation: &'a Nation,
}

impl<'a> AddressPlan<'a> {
    /// The plan of a nation.
    pub fn new(nation: &'a Nation) -> Self {
        Self { nation }
    }

    /// Address of a subscriber of a cell, counted from 0.
    pub fn subscriber(&self, cell: Cell, number: u32) -> Ipv4Addr {
        let host = 16 + number % MAX_SUBSCRIBERS;
        let base = match self.nation.networks.get(cell.network) {
            Some(network) if network.cgnat || network.access == Access::Mobile => {
                0x6440_0000 | ((cell.number % 1024) << 12)
            }
            _ => 0x0a00_0000 | ((cell.number % 4096) << 12),
        };
        Ipv4Addr::from_bits(base | host)
    }

    /// IPv6 address of a subscriber of a cell, counted from 0.
    pub fn subscriber6(&self, cell: Cell, number: u32) -> Ipv6Addr {
        let cell = u16::try_from(cell.number % 0xe000).unwrap_or(0);
        let number = u16::try_from(number % 0xffff).unwrap_or(0);
        Ipv6Addr::new(0x2a0f, 0xffff, cell, number, 0, 0, 0, 1)
    }

    /// One of the 16 addresses that a cell has for itself.
    pub fn own(&self, cell: Cell, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0b13_0000 | ((cell.number % 4096) << 4) | (number % 16))
    }

    /// Address of a server of a hosting; `number` counts servers of this hosting from 0.
    pub fn server(&self, hosting: usize, number: u32) -> Ipv4Addr {
        let hosting = u32::try_from(hosting % 256).unwrap_or(0);
        Ipv4Addr::from_bits(0x0b12_0000 | (hosting << 8) | (1 + number % 254))
    }

    /// IPv6 address of a server of a hosting.
    pub fn server6(&self, hosting: usize, number: u32) -> Ipv6Addr {
        let hosting = 0xf000 | u16::try_from(hosting % 0xfff).unwrap_or(0);
        let number = u16::try_from(number % 0xffff).unwrap_or(0);
        Ipv6Addr::new(0x2a0f, 0xffff, hosting, 0, 0, 0, 1, 1 + number)
    }

    /// Whether an address is one of a hosting, at home or abroad, and no subscriber's.
    pub fn is_hosting(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.to_bits() >> 16 == 0x0b12,
            IpAddr::V6(v6) => {
                let [first, second, third, ..] = v6.segments();
                (first, second) == (0x2a0f, 0xffff) && third >= 0xf000
            }
        }
    }

    /// All addresses of a hosting.
    pub fn hosting_prefixes(&self, hosting: usize) -> [Prefix; 2] {
        let v4 = Ipv4Addr::from_bits(self.server(hosting, 0).to_bits() & 0xffff_ff00);
        let mut v6 = self.server6(hosting, 0).segments();
        v6[3..].fill(0);
        [
            Prefix { base: IpAddr::V4(v4), length: 24 },
            Prefix { base: IpAddr::V6(Ipv6Addr::from(v6)), length: 48 },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosting_contains_its_servers_and_no_others() {
        let nation = Nation::default();
        let plan = AddressPlan::new(&nation);
        for hosting in [0, 7, 249] {
            let [v4, v6] = plan.hosting_prefixes(hosting);
            assert!(v4.contains(IpAddr::V4(plan.server(hosting, 253))));
            assert!(v6.contains(IpAddr::V6(plan.server6(hosting, 9))));
            assert!(!v4.contains(IpAddr::V4(plan.server(hosting + 1, 0))));
            assert!(!v6.contains(IpAddr::V6(plan.server6(hosting + 1, 0))));
            assert!(!v4.contains(IpAddr::V6(plan.server6(hosting, 0))));
        }
    }

    #[test]
    fn cells_own_addresses_do_not_meet() {
        let nation = Nation::default();
        let plan = AddressPlan::new(&nation);
        let cell = |number| Cell { number, network: 0, region: 0 };
        assert_eq!(plan.own(cell(0), 15).to_string(), "11.19.0.15");
        assert_eq!(plan.own(cell(1), 0).to_string(), "11.19.0.16");
        assert_eq!(plan.subscriber(cell(3), 0).to_string(), "10.0.48.16");
    }
}
