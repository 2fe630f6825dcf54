//! Headers: long, short, and the packets that share a datagram.

use super::frame::varint;
use super::version::Version;
use crate::malformed::Malformed;

/// What a long header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Initial
    Initial,
    /// 0-RTT
    ZeroRtt,
    /// Handshake
    Handshake,
    /// Retry
    Retry,
    /// version negotiation
    VersionNegotiation,
}

/// A packet with a long header (RFC 9000 §17.2).
#[derive(Clone, Copy, Debug)]
pub struct LongView<'a> {
    bytes: &'a [u8],
    /// kind; by version, since v2 numbers them anew
    pub kind: PacketKind,
    /// version
    pub version: Version,
    /// destination connection id
    pub dcid: &'a [u8],
    /// source connection id
    pub scid: &'a [u8],
    /// token of an Initial or a Retry; the version list of a version negotiation
    pub token: &'a [u8],
    /// offset of the protected packet number; the end for kinds without one
    pub number_at: usize,
    /// the length field says more than the datagram has
    pub truncated: bool,
}

impl<'a> LongView<'a> {
    /// The packet's own bytes, without what follows in the datagram.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The versions of a version negotiation.
    pub fn versions(&self) -> impl Iterator<Item = Version> + use<'a> {
        let list = if self.kind == PacketKind::VersionNegotiation { self.token } else { &[] };
        list.chunks_exact(4).map(|four| Version(u32::from_be_bytes([four[0], four[1], four[2], four[3]])))
    }

    /// The integrity tag of a Retry (RFC 9001 §5.8): its last 16 bytes.
    pub fn retry_tag(&self) -> Option<&'a [u8]> {
        (self.kind == PacketKind::Retry).then(|| &self.bytes[self.bytes.len() - 16..])
    }

    /// Reads the packet at the start of `datagram`.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let &[first, v0, v1, v2, v3, ref rest @ ..] = datagram else {
            return Err(Malformed::short("quic", 0, "long header", datagram.len()));
        };
        if first & 0x80 == 0 {
            return Err(Malformed::value("quic", 0, "long header form", u64::from(first)));
        }
        let version = Version(u32::from_be_bytes([v0, v1, v2, v3]));
        let mut at = 5;
        let mut rest = rest;
        let (dcid, scid) =
            (connection_id(&mut rest, &mut at, version)?, connection_id(&mut rest, &mut at, version)?);
        let mut view = Self {
            bytes: datagram,
            kind: kind(first, version),
            version,
            dcid,
            scid,
            token: &[],
            number_at: datagram.len(),
            truncated: false,
        };
        view.finish(first, at)?;
        Ok(view)
    }

    fn finish(&mut self, first: u8, mut at: usize) -> Result<(), Malformed> {
        let datagram = self.bytes;
        match self.kind {
            PacketKind::VersionNegotiation => {
                self.token = &datagram[at..];
                if self.token.is_empty() || self.token.len() % 4 != 0 {
                    return Err(Malformed::short("quic", at, "list of versions", self.token.len()));
                }
                return Ok(());
            }
            _ if first & 0x40 == 0 => return Err(Malformed::value("quic", 0, "fixed bit", u64::from(first))),
            PacketKind::Retry => {
                let left = datagram.len() - at;
                if left < 16 {
                    return Err(Malformed::short("quic", at, "retry integrity tag", left));
                }
                self.token = &datagram[at..datagram.len() - 16];
                return Ok(());
            }
            PacketKind::Initial => {
                let len = number(datagram, &mut at, "token length")?;
                let left = datagram.len() - at;
                if len > left as u64 {
                    return Err(Malformed::short("quic", at, "token", left));
                }
                self.token = &datagram[at..at + len as usize];
                at += len as usize;
            }
            PacketKind::ZeroRtt | PacketKind::Handshake => {}
        }
        let len = number(datagram, &mut at, "packet length")?;
        let left = datagram.len() - at;
        self.truncated = len > left as u64;
        self.number_at = at;
        self.bytes = &datagram[..at + left.min(usize::try_from(len).unwrap_or(usize::MAX))];
        Ok(())
    }
}

fn connection_id<'a>(rest: &mut &'a [u8], at: &mut usize, version: Version) -> Result<&'a [u8], Malformed> {
    let Some((&len, tail)) = rest.split_first() else {
        return Err(Malformed::short("quic", *at, "connection id length", 0));
    };
    // RFC 9000 §17.2: at most 20 bytes in known versions; RFC 8999 §5.1 allows 255 in others.
    if len > 20 && version != Version::NEGOTIATION && version.is_known() {
        return Err(Malformed::value("quic", *at, "connection id of at most 20 bytes", u64::from(len)));
    }
    let len = usize::from(len);
    if tail.len() < len {
        return Err(Malformed::short("quic", *at + 1, "connection id", tail.len()));
    }
    let (id, tail) = tail.split_at(len);
    *rest = tail;
    *at += 1 + len;
    Ok(id)
}

fn number(datagram: &[u8], at: &mut usize, expected: &'static str) -> Result<u64, Malformed> {
    let Some((value, len)) = varint(&datagram[*at..]) else {
        return Err(Malformed::short("quic", *at, expected, datagram.len() - *at));
    };
    *at += len;
    Ok(value)
}

/// RFC 9000 §17.2 and RFC 9369 §3.2.
const fn kind(first: u8, version: Version) -> PacketKind {
    if version.0 == 0 {
        return PacketKind::VersionNegotiation;
    }
    let bits = first >> 4 & 3;
    let bits = if version.is_v2() { bits.wrapping_sub(1) & 3 } else { bits };
    match bits {
        0 => PacketKind::Initial,
        1 => PacketKind::ZeroRtt,
        2 => PacketKind::Handshake,
        _ => PacketKind::Retry,
    }
}

/// Whether a datagram may begin with a QUIC long header of a version known here, or be a version
/// negotiation. Looks at no more than seven bytes.
pub fn looks_like_quic(datagram: &[u8]) -> bool {
    match datagram {
        &[first, v0, v1, v2, v3, dcid_len, _, ..] if first & 0x80 != 0 => {
            let version = Version(u32::from_be_bytes([v0, v1, v2, v3]));
            if version == Version::NEGOTIATION {
                return dcid_len <= 20;
            }
            first & 0x40 != 0 && dcid_len <= 20 && version.is_known() && !is_early_google(version)
        }
        _ => false,
    }
}

/// Google's versions below 50 have headers of their own; see [`super::GquicView`].
const fn is_early_google(version: Version) -> bool {
    version.is_google() && version.0 < Version::Q050.0
}

/// One packet of a datagram.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// with a long header
    Long(LongView<'a>),
    /// with a short header, or a stateless reset, which looks the same (RFC 9000 §10.3); takes the rest
    Short(&'a [u8]),
}

/// The packets of a datagram (RFC 9000 §12.2). Zero bytes after a packet are padding outside of QUIC and end
/// the walk.
pub const fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram, at: 0 }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = *self.rest.first()?;
        let rest = core::mem::take(&mut self.rest);
        if first & 0x80 == 0 {
            return match (first & 0x40 != 0, self.at) {
                (true, _) => Some(Ok(Packet::Short(rest))),
                (false, 0) => Some(Err(Malformed::value("quic", 0, "fixed bit", u64::from(first)))),
                (false, _) => None,
            };
        }
        let at = self.at;
        Some(match LongView::parse(rest) {
            Ok(view) => {
                self.rest = &rest[view.bytes().len()..];
                self.at += view.bytes().len();
                Ok(Packet::Long(view))
            }
            Err(malformed) => Err(Malformed { offset: malformed.offset + at, ..malformed }),
        })
    }
}
