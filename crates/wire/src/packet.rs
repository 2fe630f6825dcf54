//! One IP packet as a view: addresses, extension headers, fragments, transport.
//!
//! The walk is ours because it is the hottest loop and has to be lenient: a header that is cut or wrong
//! keeps all that stood before it, and says how it broke.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum;
use crate::flow::{Endpoint, FlowKey};
use crate::malformed::Malformed;

/// IANA protocol numbers (https://www.iana.org/assignments/protocol-numbers).
pub mod number {
    /// IPv6 hop-by-hop options
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP
    pub const ICMP: u8 = 1;
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
    /// IPv6 routing header
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header
    pub const FRAGMENT: u8 = 44;
    /// GRE
    pub const GRE: u8 = 47;
    /// ESP
    pub const ESP: u8 = 50;
    /// AH
    pub const AH: u8 = 51;
    /// ICMPv6
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Extension headers walked before the walk gives up; no sane packet has as many.
const MAX_EXTENSIONS: usize = 8;

/// One fragment of a packet (RFC 791 §3.1, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// identification; 16 bits in IPv4
    pub id: u32,
    /// byte offset of this piece in the packet's payload
    pub offset: u32,
    /// more fragments follow
    pub more: bool,
}

/// IPv6 extension headers that stood before the transport; all false in IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// hop-by-hop options
    pub hop_by_hop: bool,
    /// destination options
    pub destination: bool,
    /// routing header
    pub routing: bool,
}

/// A borrowed IP packet.
#[derive(Clone, Copy, Debug)]
pub struct PacketView<'a> {
    bytes: &'a [u8],
    /// sender
    pub source: IpAddr,
    /// receiver
    pub destination: IpAddr,
    /// TTL or hop limit
    pub ttl: u8,
    /// IPv4 identification; 0 in IPv6
    pub ip_id: u16,
    /// IANA number of the transport, after IPv6 extension headers
    pub protocol: u8,
    /// set when the packet is a fragment; the transport of a later fragment is [`Transport::Opaque`]
    pub fragment: Option<Fragment>,
    /// IPv6 extension headers
    pub extensions: Extensions,
    /// the IPv4 header has options
    pub ip_options: bool,
    /// the header says more bytes than the capture has
    pub truncated: bool,
    transport_at: usize,
    /// the transport
    pub transport: Transport<'a>,
}

/// What the IP packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP
    Tcp(TcpView<'a>),
    /// UDP
    Udp(UdpView<'a>),
    /// ICMP or ICMPv6: type, code, and all bytes from the type on
    Icmp(IcmpView<'a>),
    /// another protocol, or a fragment that is not the first
    Opaque(&'a [u8]),
    /// a transport header that does not hold; the bytes are there all the same
    Malformed(Malformed, &'a [u8]),
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl<'a> PacketView<'a> {
    /// Reads an IP packet from its first header byte. Bytes past the packet's own length (Ethernet
    /// padding) are left out; a packet cut short by the capture is read as far as it goes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            Some(version) => Err(Malformed::value("ip", 0, "version 4 or 6", u64::from(version))),
            None => Err(Malformed::short("ip", 0, "a packet", 0)),
        }
    }

    /// RFC 791 §3.1.
    fn parse_v4(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < 20 {
            return Err(Malformed::short("ipv4", 0, "20 bytes of header", bytes.len()));
        }
        let header = usize::from(bytes[0] & 0x0f) * 4;
        if header < 20 {
            return Err(Malformed::value("ipv4", 0, "a header length of 20 or more", header as u64));
        }
        if header > bytes.len() {
            return Err(Malformed::short("ipv4", 0, "the header's options", bytes.len()));
        }
        let total = usize::from(be16(bytes, 2));
        // A total length of 0 is what offloading leaves in captures: the frame's length counts.
        let total = if total == 0 { bytes.len() } else { total };
        if total < header {
            return Err(Malformed::value("ipv4", 2, "a total length of the header or more", total as u64));
        }
        let truncated = total > bytes.len();
        let bytes = &bytes[..total.min(bytes.len())];
        let flags = be16(bytes, 6);
        let offset = u32::from(flags & 0x1fff) * 8;
        let more = flags & 0x2000 != 0;
        let fragment =
            (more || offset != 0).then(|| Fragment { id: u32::from(be16(bytes, 4)), offset, more });
        let address = |at: usize| IpAddr::V4(Ipv4Addr::from(be32(bytes, at)));
        let mut view = Self {
            bytes,
            source: address(12),
            destination: address(16),
            ttl: bytes[8],
            ip_id: be16(bytes, 4),
            protocol: bytes[9],
            fragment,
            extensions: Extensions::default(),
            ip_options: header > 20,
            truncated,
            transport_at: header,
            transport: Transport::Opaque(&[]),
        };
        view.transport = view.read_transport();
        Ok(view)
    }

    /// RFC 8200 §3 and §4.
    fn parse_v6(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < 40 {
            return Err(Malformed::short("ipv6", 0, "40 bytes of header", bytes.len()));
        }
        let payload = usize::from(be16(bytes, 4));
        let total = if payload == 0 { bytes.len() } else { 40 + payload };
        let truncated = total > bytes.len();
        let bytes = &bytes[..total.min(bytes.len())];
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[at..at + 16]);
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let mut view = Self {
            bytes,
            source: address(8),
            destination: address(24),
            ttl: bytes[7],
            ip_id: 0,
            protocol: bytes[6],
            fragment: None,
            extensions: Extensions::default(),
            ip_options: false,
            truncated,
            transport_at: 40,
            transport: Transport::Opaque(&[]),
        };
        view.transport = match view.walk_extensions() {
            Ok(()) => view.read_transport(),
            Err(malformed) => Transport::Malformed(malformed, &bytes[view.transport_at.min(bytes.len())..]),
        };
        Ok(view)
    }

    /// Steps over IPv6 extension headers to the transport.
    fn walk_extensions(&mut self) -> Result<(), Malformed> {
        for _ in 0..MAX_EXTENSIONS {
            let at = self.transport_at;
            let left = self.bytes.len().saturating_sub(at);
            let known = matches!(
                self.protocol,
                number::HOP_BY_HOP
                    | number::ROUTING
                    | number::FRAGMENT
                    | number::DESTINATION_OPTIONS
                    | number::AH
            );
            if !known || self.fragment.is_some_and(|fragment| fragment.offset != 0) {
                return Ok(());
            }
            if left < 8 {
                return Err(Malformed::short("ipv6", at, "8 bytes of extension header", left));
            }
            let units = usize::from(self.bytes[at + 1]);
            let mut len = (units + 1) * 8;
            match self.protocol {
                number::HOP_BY_HOP => self.extensions.hop_by_hop = true,
                number::DESTINATION_OPTIONS => self.extensions.destination = true,
                number::ROUTING => self.extensions.routing = true,
                // RFC 4302 §2.2: in units of four bytes, minus two.
                number::AH => len = (units + 2) * 4,
                _ => {
                    let field = be16(self.bytes, at + 2);
                    let id = be32(self.bytes, at + 4);
                    let (offset, more) = (u32::from(field & 0xfff8), field & 1 != 0);
                    // An atomic fragment (RFC 6946) is no fragment.
                    if offset != 0 || more {
                        self.fragment = Some(Fragment { id, offset, more });
                    }
                    len = 8;
                }
            }
            if len > left {
                return Err(Malformed::short("ipv6", at, "the whole extension header", left));
            }
            self.protocol = self.bytes[at];
            self.transport_at = at + len;
        }
        Err(Malformed::value("ipv6", self.transport_at, "a transport after 8 extension headers", 8))
    }

    fn read_transport(&self) -> Transport<'a> {
        let bytes = &self.bytes[self.transport_at.min(self.bytes.len())..];
        if self.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Transport::Opaque(bytes);
        }
        match self.protocol {
            number::TCP => {
                TcpView::parse(bytes).map_or_else(|m| Transport::Malformed(m, bytes), Transport::Tcp)
            }
            number::UDP => {
                UdpView::parse(bytes).map_or_else(|m| Transport::Malformed(m, bytes), Transport::Udp)
            }
            number::ICMP | number::ICMPV6 => {
                IcmpView::parse(bytes).map_or_else(|m| Transport::Malformed(m, bytes), Transport::Icmp)
            }
            _ => Transport::Opaque(bytes),
        }
    }

    /// The whole packet, from the first byte of the IP header, without link padding.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Offset of the transport header in [`Self::bytes`].
    pub const fn transport_at(&self) -> usize {
        self.transport_at
    }

    /// All bytes after the IP headers: the piece of a fragment, or the transport's header and payload.
    pub fn ip_payload(&self) -> &'a [u8] {
        &self.bytes[self.transport_at.min(self.bytes.len())..]
    }

    /// The application's bytes: after the TCP or UDP header; empty for other transports.
    pub fn payload(&self) -> &'a [u8] {
        match self.transport {
            Transport::Tcp(tcp) => tcp.payload(),
            Transport::Udp(udp) => udp.payload(),
            _ => &[],
        }
    }

    /// The TCP header, when it is one.
    pub const fn tcp(&self) -> Option<TcpView<'a>> {
        match self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// The UDP header, when it is one.
    pub const fn udp(&self) -> Option<UdpView<'a>> {
        match self.transport {
            Transport::Udp(udp) => Some(udp),
            _ => None,
        }
    }

    /// The sender's end.
    pub fn source_end(&self) -> Endpoint {
        Endpoint { ip: self.source, port: self.ports().0 }
    }

    /// The receiver's end.
    pub fn destination_end(&self) -> Endpoint {
        Endpoint { ip: self.destination, port: self.ports().1 }
    }

    /// Source and destination port; zeros where there are none.
    pub fn ports(&self) -> (u16, u16) {
        match self.transport {
            Transport::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
            Transport::Udp(udp) => (udp.source_port(), udp.destination_port()),
            _ => (0, 0),
        }
    }

    /// The flow's key, and whether the sender is its greater end.
    pub fn flow(&self) -> (FlowKey, bool) {
        FlowKey::of(self.source_end(), self.destination_end(), self.protocol)
    }

    /// Whether the IPv4 header's checksum holds; always true in IPv6, which has none.
    pub fn ip_checksum_holds(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => checksum::finish(checksum::sum(0, &self.bytes[..self.transport_at])) == 0,
            IpAddr::V6(_) => true,
        }
    }

    /// Whether the TCP or UDP checksum holds. True where it cannot be told: other transports, fragments,
    /// packets cut by the capture, UDP over IPv4 without one (RFC 768).
    pub fn transport_checksum_holds(&self) -> bool {
        if self.fragment.is_some() || self.truncated {
            return true;
        }
        let segment = match self.transport {
            Transport::Tcp(_) => self.ip_payload(),
            Transport::Udp(udp) if udp.checksum() != 0 => udp.bytes,
            _ => return true,
        };
        let start = checksum::pseudo_header(self.source, self.destination, self.protocol, segment.len());
        checksum::finish(checksum::sum(start, segment)) == 0
    }
}

/// TCP flags (RFC 9293 §3.1), low byte.
pub mod flag {
    /// no more data
    pub const FIN: u8 = 0x01;
    /// synchronise
    pub const SYN: u8 = 0x02;
    /// reset
    pub const RST: u8 = 0x04;
    /// push
    pub const PSH: u8 = 0x08;
    /// the acknowledgment field counts
    pub const ACK: u8 = 0x10;
    /// the urgent pointer counts
    pub const URG: u8 = 0x20;
}

/// A TCP segment (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    bytes: &'a [u8],
    header: usize,
}

impl<'a> TcpView<'a> {
    /// Reads a segment from its first header byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < 20 {
            return Err(Malformed::short("tcp", 0, "20 bytes of header", bytes.len()));
        }
        let header = usize::from(bytes[12] >> 4) * 4;
        if header < 20 {
            return Err(Malformed::value("tcp", 12, "a data offset of 20 or more", header as u64));
        }
        if header > bytes.len() {
            return Err(Malformed::short("tcp", 12, "the header's options", bytes.len()));
        }
        Ok(Self { bytes, header })
    }

    /// sender's port
    pub fn source_port(&self) -> u16 {
        be16(self.bytes, 0)
    }

    /// receiver's port
    pub fn destination_port(&self) -> u16 {
        be16(self.bytes, 2)
    }

    /// sequence number of the first byte (of SYN, when set)
    pub fn seq(&self) -> u32 {
        be32(self.bytes, 4)
    }

    /// acknowledgment number; counts only with ACK
    pub fn ack(&self) -> u32 {
        be32(self.bytes, 8)
    }

    /// flags, low byte; see [`flag`]
    pub fn flags(&self) -> u8 {
        self.bytes[13]
    }

    /// whether all of `flags` are set
    pub fn has(&self, flags: u8) -> bool {
        self.flags() & flags == flags
    }

    /// window as on the wire, not scaled
    pub fn window(&self) -> u16 {
        be16(self.bytes, 14)
    }

    /// checksum field
    pub fn checksum(&self) -> u16 {
        be16(self.bytes, 16)
    }

    /// urgent pointer; counts only with URG
    pub fn urgent(&self) -> u16 {
        be16(self.bytes, 18)
    }

    /// header length in bytes
    pub const fn header_len(&self) -> usize {
        self.header
    }

    /// data
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header..]
    }

    /// Options as (kind, data); stops at the first that does not fit.
    pub fn options(&self) -> TcpOptions<'a> {
        TcpOptions { left: &self.bytes[20..self.header] }
    }

    /// Sequence space used: data, and one each for SYN and FIN.
    pub fn sequence_len(&self) -> u32 {
        let flags = self.flags();
        self.payload().len() as u32 + u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0)
    }
}

/// Kinds of TCP options (https://www.iana.org/assignments/tcp-parameters).
pub mod tcp_option {
    /// maximum segment size
    pub const MSS: u8 = 2;
    /// window scale
    pub const WINDOW_SCALE: u8 = 3;
    /// selective acknowledgment permitted
    pub const SACK_PERMITTED: u8 = 4;
    /// timestamps
    pub const TIMESTAMPS: u8 = 8;
    /// MD5 signature (RFC 2385)
    pub const MD5: u8 = 19;
}

/// Iterates over a segment's options; padding is left out.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&kind, rest) = self.left.split_first()?;
            match kind {
                0 => return None,
                1 => self.left = rest,
                _ => {
                    let len = usize::from(*rest.first()?);
                    let data = self.left.get(2..len)?;
                    self.left = &self.left[len..];
                    return Some((kind, data));
                }
            }
        }
    }
}

/// A UDP datagram (RFC 768).
#[derive(Clone, Copy, Debug)]
pub struct UdpView<'a> {
    bytes: &'a [u8],
}

impl<'a> UdpView<'a> {
    /// Reads a datagram from its first header byte. A length field below 8 is malformed; one beyond the
    /// packet (fragment, cut capture) reads what is there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < 8 {
            return Err(Malformed::short("udp", 0, "8 bytes of header", bytes.len()));
        }
        let len = usize::from(be16(bytes, 4));
        if len != 0 && len < 8 {
            return Err(Malformed::value("udp", 4, "a length of 8 or more", len as u64));
        }
        let len = if len == 0 { bytes.len() } else { len.min(bytes.len()) };
        Ok(Self { bytes: &bytes[..len] })
    }

    /// sender's port
    pub fn source_port(&self) -> u16 {
        be16(self.bytes, 0)
    }

    /// receiver's port
    pub fn destination_port(&self) -> u16 {
        be16(self.bytes, 2)
    }

    /// checksum field; 0 is none
    pub fn checksum(&self) -> u16 {
        be16(self.bytes, 6)
    }

    /// data
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[8..]
    }
}

/// An ICMP or ICMPv6 message (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug)]
pub struct IcmpView<'a> {
    bytes: &'a [u8],
}

impl<'a> IcmpView<'a> {
    /// Reads a message from its type byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < 8 {
            return Err(Malformed::short("icmp", 0, "8 bytes of header", bytes.len()));
        }
        Ok(Self { bytes })
    }

    /// type
    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// code
    pub fn code(&self) -> u8 {
        self.bytes[1]
    }

    /// the four bytes after the checksum (identifier and sequence of an echo)
    pub fn rest(&self) -> u32 {
        be32(self.bytes, 4)
    }

    /// data: the echo's bytes, or the head of the packet that an error is about
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[8..]
    }
}
