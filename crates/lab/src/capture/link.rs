//! From a frame of any link type to the IP packet in it.
//!
//! Numbers of link types: https://www.tcpdump.org/linktypes.html. Tags and labels (VLAN, MPLS, PPPoE) are
//! stepped over; tunnels that are IP themselves (GRE, IP in IP) stay packets, because a box on the path
//! sees them as such.

use core::fmt;
use core::ops::Range;

/// Headers stepped over before the walk gives up.
const MAX_HEADERS: usize = 16;

/// Why a record holds no IP packet that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aside {
    /// the link type is not one of those read here
    LinkType(u16),
    /// a frame of another protocol, by its EtherType
    EtherType(u16),
    /// a frame of another protocol, by its PPP number
    Ppp(u16),
    /// a frame of another address family (BSD loopback)
    Family(u32),
    /// a frame of 802.2 LLC that is not SNAP
    Llc,
    /// 802.11: no data frame
    WifiManagement,
    /// 802.11: encrypted, or an aggregate
    WifiOpaque,
    /// the frame ends inside its link header
    Cut,
    /// more tags and labels than any real frame has
    TooManyHeaders,
    /// the packet block names an interface that the section has not described
    NoInterface,
    /// the packet block is larger than any packet, or too small for its own header
    Oversized,
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkType(number) => write!(f, "link type {number} is not read"),
            Self::EtherType(number) => match ether_type_name(*number) {
                Some(name) => write!(f, "not IP: {name}"),
                None => write!(f, "not IP: EtherType {number:#06x}"),
            },
            Self::Ppp(number) => write!(f, "not IP: PPP protocol {number:#06x}"),
            Self::Family(number) => write!(f, "not IP: address family {number}"),
            Self::Llc => f.write_str("not IP: 802.2 LLC"),
            Self::WifiManagement => f.write_str("not IP: 802.11 management or control"),
            Self::WifiOpaque => f.write_str("802.11 data that is encrypted or aggregated"),
            Self::Cut => f.write_str("cut inside the link header"),
            Self::TooManyHeaders => f.write_str("more link headers than any real frame has"),
            Self::NoInterface => f.write_str("a packet of an undescribed interface"),
            Self::Oversized => f.write_str("a packet block of an impossible size"),
        }
    }
}

/// Names of the EtherTypes met most (IANA, ieee-802-numbers).
fn ether_type_name(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0806 => "ARP",
        0x0842 => "Wake-on-LAN",
        0x8035 => "RARP",
        0x8137 => "IPX",
        0x8809 => "slow protocols",
        0x8863 => "PPPoE discovery",
        0x888e => "EAPOL",
        0x88a2 => "ATA over Ethernet",
        0x88cc => "LLDP",
        0x88e1 => "HomePlug",
        0x88e5 => "MACsec",
        0x88f7 => "PTP",
        0x9000 => "loopback test",
        _ => return None,
    })
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, Aside> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]])).ok_or(Aside::Cut)
}

fn le16(bytes: &[u8], at: usize) -> Result<u16, Aside> {
    be16(bytes, at).map(u16::swap_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Result<u32, Aside> {
    Ok(u32::from(be16(bytes, at)?) << 16 | u32::from(be16(bytes, at + 2)?))
}

/// What stands at an offset of the frame.
enum Next {
    /// a frame of this link type
    Link(u16),
    /// the payload of this EtherType
    Ether(u16),
    /// a PPP protocol field
    Ppp,
    /// an LLC header
    Llc,
    /// MPLS labels
    Mpls,
    /// an IP packet
    Ip,
}

/// Where the IP packet of a frame lies.
#[inline]
pub(super) fn ip(link_type: u16, frame: &[u8]) -> Result<Range<usize>, Aside> {
    let (mut next, mut at) = (Next::Link(link_type), 0);
    for _ in 0..MAX_HEADERS {
        (next, at) = match next {
            Next::Link(number) => link(number, frame, at)?,
            Next::Ether(number) => ether(number, frame, at)?,
            Next::Ppp => ppp(frame, at)?,
            Next::Llc => llc(frame, at)?,
            Next::Mpls => mpls(frame, at)?,
            Next::Ip if at < frame.len() => return Ok(at..frame.len()),
            Next::Ip => return Err(Aside::Cut),
        };
    }
    Err(Aside::TooManyHeaders)
}

fn link(number: u16, frame: &[u8], at: usize) -> Result<(Next, usize), Aside> {
    Ok(match number {
        // NULL: the family in the byte order of the host that captured; LOOP: in network order.
        0 | 108 => (family(be32(frame, at)?)?, at + 4),
        1 => (Next::Ether(be16(frame, at + 12)?), at + 14),
        9 | 50 => (Next::Ppp, at),
        12 | 14 | 101 | 228 | 229 => (Next::Ip, at),
        // PPPoE without Ethernet.
        51 => (Next::Ppp, at + 6),
        100 => (Next::Llc, at),
        // Cisco HDLC: address, control, EtherType.
        104 => (Next::Ether(be16(frame, at + 2)?), at + 4),
        105 => wifi(frame, at)?,
        // OpenBSD's enc: family, SPI, flags.
        109 => (family(be32(frame, at)?)?, at + 12),
        // SLL: type, hardware type, address length, address, protocol.
        113 => (Next::Ether(be16(frame, at + 14)?), at + 16),
        // pflog: its own length in fours, family.
        117 => {
            let head = be16(frame, at)?;
            let length = usize::from(head >> 8).next_multiple_of(4);
            (family(u32::from(head & 0xff))?, at + length)
        }
        // radiotap: version, pad, length (https://www.radiotap.org/).
        127 => (Next::Link(105), at + usize::from(le16(frame, at + 2)?)),
        // pppd: a direction in place of the address.
        166 => (Next::Ppp, at + 2),
        // PPI: version, flags, length, link type; all little-endian
        // (https://www.cacetech.com/documents/PPI_Header_format_1.0.1.pdf).
        192 => (Next::Link(le16(frame, at + 4)?), at + usize::from(le16(frame, at + 2)?.max(8))),
        // PPP behind a direction byte.
        204 => (Next::Ppp, at + 1),
        // NFLOG: a list of length, type, value; type 9 is the packet.
        239 => nflog(frame, at)?,
        276 => (Next::Ether(be16(frame, at)?), at + 20),
        other => return Err(Aside::LinkType(other)),
    })
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 (Linux), 24 (NetBSD, OpenBSD), 28 (FreeBSD), 30 (macOS), 23
/// (Windows).
fn family(raw: u32) -> Result<Next, Aside> {
    let number = if raw > 0xffff { raw.swap_bytes() } else { raw };
    match number {
        2 | 10 | 23 | 24 | 28 | 30 => Ok(Next::Ip),
        other => Err(Aside::Family(other)),
    }
}

/// The payload of an EtherType at `at`.
#[inline]
fn ether(number: u16, frame: &[u8], at: usize) -> Result<(Next, usize), Aside> {
    Ok(match number {
        0x0800 | 0x86dd => (Next::Ip, at),
        // 802.1Q, 802.1ad, and the two numbers used for stacking before it.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => (Next::Ether(be16(frame, at + 2)?), at + 4),
        0x8847 | 0x8848 => (Next::Mpls, at),
        // PPPoE session (RFC 2516 §4): version, code, session, length.
        0x8864 => (Next::Ppp, at + 6),
        // SLL says 4 where the frame is 802.2; below 1501 it is a length (IEEE 802.3 §3.2.6).
        0..=1500 => (Next::Llc, at),
        other => return Err(Aside::EtherType(other)),
    })
}

/// RFC 1662 §3.1: address and control may be left out, and the protocol compressed to one byte (RFC 1661
/// §6.5).
fn ppp(frame: &[u8], at: usize) -> Result<(Next, usize), Aside> {
    let at = if frame.get(at..at + 2) == Some(&[0xff, 0x03]) { at + 2 } else { at };
    let first = *frame.get(at).ok_or(Aside::Cut)?;
    let (number, at) = if first & 1 == 1 { (u16::from(first), at + 1) } else { (be16(frame, at)?, at + 2) };
    match number {
        0x0021 | 0x0057 => Ok((Next::Ip, at)),
        0x0281 | 0x0283 => Ok((Next::Mpls, at)),
        // Cisco HDLC seen under a PPP link type: the EtherType stands where PPP's protocol would.
        0x0800 | 0x86dd => Ok((Next::Ip, at)),
        other => Err(Aside::Ppp(other)),
    }
}

/// 802.2 with SNAP (RFC 1042).
fn llc(frame: &[u8], at: usize) -> Result<(Next, usize), Aside> {
    match frame.get(at..at + 6) {
        Some([0xaa, 0xaa, 0x03, 0, 0, 0]) => Ok((Next::Ether(be16(frame, at + 6)?), at + 8)),
        Some(_) => Err(Aside::Llc),
        None => Err(Aside::Cut),
    }
}

/// RFC 3032 §2.1: labels of four bytes, the last marked; what follows shows by its first half byte.
fn mpls(frame: &[u8], mut at: usize) -> Result<(Next, usize), Aside> {
    for _ in 0..MAX_HEADERS {
        let last = be32(frame, at)? & 0x100 != 0;
        at += 4;
        if last {
            let first = *frame.get(at).ok_or(Aside::Cut)?;
            return match first >> 4 {
                4 | 6 => Ok((Next::Ip, at)),
                // A pseudowire's control word (RFC 4385 §3), then Ethernet.
                0 => Ok((Next::Link(1), at + 4)),
                _ => Ok((Next::Link(1), at)),
            };
        }
    }
    Err(Aside::TooManyHeaders)
}

/// IEEE 802.11 §9.2.4: frame control, duration, three or four addresses, sequence, then LLC.
fn wifi(frame: &[u8], at: usize) -> Result<(Next, usize), Aside> {
    let control = le16(frame, at)?;
    let (kind, subtype) = ((control >> 2) & 3, (control >> 4) & 15);
    let (to_and_from, protected, order) =
        (control & 0x0300 == 0x0300, control & 0x4000 != 0, control & 0x8000 != 0);
    if kind != 2 || subtype & 4 != 0 {
        return Err(Aside::WifiManagement);
    }
    if protected {
        return Err(Aside::WifiOpaque);
    }
    let mut length = if to_and_from { 30 } else { 24 };
    if subtype & 8 != 0 {
        if le16(frame, at + length)? & 0x80 != 0 {
            return Err(Aside::WifiOpaque);
        }
        length += if order { 6 } else { 2 };
    }
    Ok((Next::Llc, at + length))
}

/// Linux's NFLOG: four bytes of head, then entries in fours, in the byte order of the host.
fn nflog(frame: &[u8], at: usize) -> Result<(Next, usize), Aside> {
    let mut at = at + 4;
    for _ in 0..64 {
        let (length, kind) = (le16(frame, at)?, le16(frame, at + 2)?);
        if kind == 9 {
            return Ok((Next::Ip, at + 4));
        }
        at += usize::from(length.max(4)).next_multiple_of(4);
    }
    Err(Aside::TooManyHeaders)
}
