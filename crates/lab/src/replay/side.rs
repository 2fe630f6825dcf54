//! Which end of a flow is the subscriber: a box acts differently by side, and a capture does not say.
//!
//! In this order: an address within the ranges that the user names; the only private address of the two;
//! the end that opened the flow. Who opened it is told by the SYN, else by the first packet, unless that
//! comes from a service's port.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use okno_wire::PacketView;
use okno_wire::packet::flag;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// A range that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no range of addresses; write 192.0.2.0/24, 2001:db8::/32 or one address")]
pub struct NoCidr {
    text: String,
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let wrong = || NoCidr { text: text.to_owned() };
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { base, bits }) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Cidr {
    /// Whether the address lies within.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(base).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(base).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// An address that only a subscriber's side has: RFC 1918, RFC 6598 (behind a provider's NAT), link-local
/// (RFC 3927, RFC 4291), unique local (RFC 4193), loopback and the unspecified one.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    matches!((a, b), (10 | 0 | 127, _) | (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168))
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    ip.is_loopback() || ip.is_unspecified() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
}

/// Who opened a flow, as far as its first packet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opener {
    /// the sender of the packet at hand, else its receiver
    pub(super) sender: bool,
    /// a SYN says so; otherwise it is the better guess
    pub(super) sure: bool,
}

pub(super) fn opener(packet: &PacketView<'_>) -> Opener {
    if let Some(tcp) = packet.tcp().filter(|tcp| tcp.has(flag::SYN)) {
        return Opener { sender: !tcp.has(flag::ACK), sure: true };
    }
    let (source, destination) = packet.ports();
    let from_service = source != 0 && source < 1024 && destination >= 1024;
    Opener { sender: !from_service, sure: packet.udp().is_some() && !from_service }
}

/// Whether the sender of the flow's first packet is the subscriber.
pub(super) fn sender_is_subscriber(ranges: &[Cidr], packet: &PacketView<'_>, opener: Opener) -> bool {
    let within = |ip: IpAddr| {
        if ranges.is_empty() { is_private(ip) } else { ranges.iter().any(|range| range.contains(ip)) }
    };
    match (within(packet.source), within(packet.destination)) {
        (true, false) => true,
        (false, true) => false,
        _ => opener.sender,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say_and_refuse_nonsense() {
        let range: Cidr = "100.64.0.0/10".parse().unwrap();
        assert!(range.contains("100.127.255.255".parse().unwrap()));
        assert!(!range.contains("100.128.0.0".parse().unwrap()));
        assert!(!range.contains("::1".parse().unwrap()));
        assert!("::/0".parse::<Cidr>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains("8.8.8.8".parse().unwrap()));
        let one: Cidr = "2001:db8::1".parse().unwrap();
        assert!(
            one.contains("2001:db8::1".parse().unwrap()) && !one.contains("2001:db8::2".parse().unwrap())
        );
        for wrong in ["", "10.0.0.0/33", "10/8", "::/129", "example.org"] {
            assert!(wrong.parse::<Cidr>().unwrap_err().to_string().contains("is no range"), "{wrong}");
        }
    }

    #[test]
    fn carrier_nat_and_unique_local_addresses_are_private_and_their_neighbours_are_not() {
        for yes in
            ["10.1.2.3", "100.64.0.1", "172.31.0.1", "192.168.9.9", "169.254.1.1", "fd00::1", "fe80::1"]
        {
            assert!(is_private(yes.parse().unwrap()), "{yes}");
        }
        for no in ["11.0.0.1", "100.63.0.1", "172.32.0.1", "192.169.0.1", "2001:db8::1", "ff02::1"] {
            assert!(!is_private(no.parse().unwrap()), "{no}");
        }
    }
}
