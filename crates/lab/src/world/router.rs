//! A router: longest prefix match, TTL, MTU, ICMP.

use core::net::IpAddr;

use okno_wire::packet::PacketView;

use super::hasher::FixedMap;
use super::ip::{self, Oversize, Trouble};
use super::{NodeId, Packet, Wires};

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// its first address
    pub ip: IpAddr,
    /// bits that count
    pub len: u8,
}

impl Prefix {
    /// The block of `ip` of length `len`; bits beyond it are cleared.
    pub fn new(ip: IpAddr, len: u8) -> Self {
        match ip {
            IpAddr::V4(v4) => {
                let len = len.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Self { ip: IpAddr::from((u32::from(v4) & mask).to_be_bytes()), len }
            }
            IpAddr::V6(v6) => {
                let len = len.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Self { ip: IpAddr::from((u128::from(v6) & mask).to_be_bytes()), len }
            }
        }
    }

    /// One address.
    pub const fn host(ip: IpAddr) -> Self {
        Self { ip, len: if ip.is_ipv4() { 32 } else { 128 } }
    }

    /// All of IPv4.
    pub const ALL_V4: Self = Self { ip: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), len: 0 };
    /// All of IPv6.
    pub const ALL_V6: Self = Self { ip: IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED), len: 0 };

    /// Whether `ip` lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && Self::new(ip, self.len).ip == self.ip
    }
}

impl core::str::FromStr for Prefix {
    type Err = String;

    /// `192.0.2.0/24`, or an address alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, len) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
        let ip: IpAddr = ip.parse().map_err(|_| format!("`{ip}` is not an IP address"))?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        match len.map(str::parse::<u8>) {
            None => Ok(Self::host(ip)),
            Some(Ok(len)) if len <= most => Ok(Self::new(ip, len)),
            _ => Err(format!("`{text}`: a prefix length is a number up to {most}")),
        }
    }
}

/// What a router does with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// send it out of this port
    Port(u16),
    /// drop it in silence
    Blackhole,
    /// drop it and say so (administratively prohibited)
    Prohibit,
}

/// Longest prefix match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// by family (0 IPv4) and length, longest first
    levels: [Vec<(u8, FixedMap<IpAddr, Hop>)>; 2],
}

impl Table {
    pub fn insert(&mut self, prefix: Prefix, hop: Hop) {
        let levels = &mut self.levels[usize::from(prefix.ip.is_ipv6())];
        let at = levels.partition_point(|(len, _)| *len > prefix.len);
        if levels.get(at).is_none_or(|(len, _)| *len != prefix.len) {
            levels.insert(at, (prefix.len, FixedMap::default()));
        }
        levels[at].1.insert(prefix.ip, hop);
    }

    pub fn remove(&mut self, prefix: Prefix) {
        let levels = &mut self.levels[usize::from(prefix.ip.is_ipv6())];
        if let Some((_, hops)) = levels.iter_mut().find(|(len, _)| *len == prefix.len) {
            hops.remove(&prefix.ip);
        }
    }

    pub fn find(&self, ip: IpAddr) -> Option<Hop> {
        let levels = &self.levels[usize::from(ip.is_ipv6())];
        levels.iter().find_map(|(len, hops)| hops.get(&Prefix::new(ip, *len).ip).copied())
    }
}

/// A router.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    /// its own addresses, at most one of each family is used for ICMP
    pub addresses: Vec<IpAddr>,
    pub table: Table,
    /// sends no ICMP errors, as many do
    pub silent: bool,
    /// swallows all IPv6
    pub loses_ipv6: bool,
}

impl Router {
    pub fn arrive(&mut self, node: NodeId, wires: &mut Wires, mut packet: Packet) {
        let Some((source, destination)) = ip::addresses(&packet.bytes) else { return };
        if self.loses_ipv6 && source.is_ipv6() {
            return;
        }
        if self.addresses.contains(&destination) {
            return self.serve(node, wires, destination, &packet);
        }
        // A packet on its last hop dies before its route is looked up (RFC 1812 §5.3.1).
        if !ip::decrement_ttl(&mut packet.bytes) {
            return self.complain(node, wires, source, &packet, Trouble::TimeExceeded);
        }
        match self.table.find(destination) {
            Some(Hop::Port(port)) => {
                let mtu = wires.mtu(node, port);
                if packet.bytes.len() <= usize::from(mtu) {
                    return wires.send(node, port, packet);
                }
                match ip::cut(&packet.bytes, mtu) {
                    Oversize::Pieces(pieces) => {
                        for bytes in pieces {
                            wires.send(node, port, Packet { bytes, note: packet.note.clone() });
                        }
                    }
                    Oversize::TooBig => self.complain(node, wires, source, &packet, Trouble::TooBig(mtu)),
                }
            }
            Some(Hop::Blackhole) => {}
            Some(Hop::Prohibit) => self.complain(node, wires, source, &packet, Trouble::Prohibited),
            None => self.complain(node, wires, source, &packet, Trouble::NoRoute),
        }
    }

    fn complain(&self, node: NodeId, wires: &mut Wires, to: IpAddr, packet: &Packet, trouble: Trouble) {
        if self.silent {
            return;
        }
        let Some(from) = self.addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4()) else { return };
        if let (Some(bytes), Some(Hop::Port(port))) =
            (ip::error(*from, &packet.bytes, trouble), self.table.find(to))
        {
            wires.send(node, port, Packet::new(bytes));
        }
    }

    /// Packets to the router itself: it answers echo requests.
    fn serve(&self, node: NodeId, wires: &mut Wires, own: IpAddr, packet: &Packet) {
        let Ok(view) = PacketView::parse(&packet.bytes) else { return };
        if let (Some(bytes), Some(Hop::Port(port))) =
            (ip::echo_reply(own, &view), self.table.find(view.source))
        {
            wires.send(node, port, Packet::new(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_in_either_family() {
        let mut table = Table::default();
        let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
        table.insert(Prefix::ALL_V4, Hop::Port(0));
        table.insert(prefix("192.0.2.0/24"), Hop::Port(1));
        table.insert(prefix("192.0.2.7"), Hop::Port(2));
        table.insert(prefix("2001:db8::/32"), Hop::Port(3));
        let find = |text: &str| table.find(text.parse().expect("an address"));
        assert_eq!(find("192.0.2.7"), Some(Hop::Port(2)));
        assert_eq!(find("192.0.2.8"), Some(Hop::Port(1)));
        assert_eq!(find("192.0.3.8"), Some(Hop::Port(0)));
        assert_eq!(find("2001:db8::1"), Some(Hop::Port(3)));
        assert_eq!(find("2001:db9::1"), None);
    }
}
