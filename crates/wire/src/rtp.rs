//! RTP and RTCP headers, plain or SRTP: the header is in the clear in both.
//!
//! One RTP packet proves little (two bits of version); [`Track`] asks for a run of packets of one source
//! whose sequence numbers and timestamps move as a clock's do. RTCP proves more: lengths must add up.

use crate::bytes::{be16, be32};
use crate::malformed::Malformed;

/// RTP's fixed header (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// marker bit
    pub marker: bool,
    /// payload type, 7 bits
    pub payload_type: u8,
    /// sequence number
    pub sequence: u16,
    /// timestamp, in units of the payload's clock
    pub timestamp: u32,
    /// synchronisation source
    pub ssrc: u32,
    /// contributing sources listed after the header
    pub sources: u8,
    /// a header extension follows
    pub extension: bool,
    /// the last byte counts padding
    pub padding: bool,
}

impl Header {
    /// Reads the header from its first byte, and checks that what it announces fits.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(sequence), Some(timestamp), Some(ssrc)) = (be16(bytes, 2), be32(bytes, 4), be32(bytes, 8))
        else {
            return Err(Malformed::short("rtp", 0, "12 bytes of header", bytes.len()));
        };
        if bytes[0] >> 6 != 2 {
            return Err(Malformed::value("rtp", 0, "version 2", u64::from(bytes[0] >> 6)));
        }
        let header = Self {
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7f,
            sequence,
            timestamp,
            ssrc,
            sources: bytes[0] & 0x0f,
            extension: bytes[0] & 0x10 != 0,
            padding: bytes[0] & 0x20 != 0,
        };
        // RFC 5761 §4: RTCP's packet types 192–223 are payload types 64–95 with the marker bit.
        if (192..=223).contains(&bytes[1]) {
            return Err(Malformed::value("rtp", 1, "a payload type that is not RTCP's", u64::from(bytes[1])));
        }
        let mut at = 12 + 4 * usize::from(header.sources);
        if header.extension {
            // RFC 3550 §5.3.1: the length counts 32-bit words after its own.
            at += 4 + 4 * usize::from(be16(bytes, at + 2).unwrap_or(u16::MAX));
        }
        if at > bytes.len() {
            return Err(Malformed::short("rtp", 12, "the sources and the extension", bytes.len() - 12));
        }
        Ok(header)
    }

    /// Writes the fixed header; sources and extension are the caller's.
    pub fn emit(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0] = 0x80 | u8::from(self.padding) << 5 | u8::from(self.extension) << 4 | self.sources & 0x0f;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

/// One RTCP packet of a compound (RFC 3550 §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// packet type: 200 sender report, 201 receiver report, 202 description, 203 bye …
    pub kind: u8,
    /// report count or subtype
    pub count: u8,
    /// first source, when there is one
    pub ssrc: Option<u32>,
    /// bytes after the 4-byte header
    pub body: &'a [u8],
}

/// Reads a compound: packets whose lengths fill the datagram, the first a report or feedback. SRTCP
/// appends an index and a tag (RFC 3711 §3.4), so with `secure` only the first packet must fit.
pub fn control(bytes: &[u8], secure: bool) -> Result<Vec<Control<'_>>, Malformed> {
    let mut packets = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let left = bytes.len() - at;
        let (Some(&[first, kind]), Some(words)) = (bytes.get(at..at + 2), be16(bytes, at + 2)) else {
            return Err(Malformed::short("rtcp", at, "4 bytes of header", left));
        };
        if first >> 6 != 2 {
            return Err(Malformed::value("rtcp", at, "version 2", u64::from(first >> 6)));
        }
        // RFC 5761 §4 and https://www.iana.org/assignments/rtp-parameters: 192–195, 200–213.
        if !matches!(kind, 192..=195 | 200..=213) || (at == 0 && !matches!(kind, 200 | 201 | 205..=207)) {
            return Err(Malformed::value("rtcp", at + 1, "a packet type of RTCP", u64::from(kind)));
        }
        let size = 4 * (usize::from(words) + 1);
        let Some(body) = bytes.get(at + 4..at + size) else {
            return Err(Malformed::short("rtcp", at, "the whole packet", left));
        };
        let count = first & 0x1f;
        check_report(kind, count, body, at)?;
        packets.push(Control { kind, count, ssrc: be32(body, 0), body });
        at += size;
        if secure {
            break;
        }
    }
    if packets.is_empty() { Err(Malformed::short("rtcp", 0, "a packet", 0)) } else { Ok(packets) }
}

/// A report holds its sender, for a sender report 20 bytes more, and 24 bytes a block (RFC 3550 §6.4).
fn check_report(kind: u8, count: u8, body: &[u8], at: usize) -> Result<(), Malformed> {
    let needed = match kind {
        200 => 24 + 24 * usize::from(count),
        201 => 4 + 24 * usize::from(count),
        205..=207 => 4,
        _ => 0,
    };
    if body.len() < needed {
        return Err(Malformed::short("rtcp", at + 4, "the report's blocks", body.len()));
    }
    Ok(())
}

/// A run of packets of one source: whether a sender's datagrams are a media stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    last: Option<Header>,
    run: u8,
}

impl Track {
    /// Takes the next datagram of one direction; says how many in a row were of one stream.
    pub fn take(&mut self, bytes: &[u8]) -> u8 {
        // https://www.iana.org/assignments/rtp-parameters: assigned payload types, and the dynamic ones.
        let usual = |header: &Header| {
            matches!(header.payload_type, 0..=34 | 96..=127) && (header.ssrc != 0 || header.timestamp != 0)
        };
        let Some(header) = Header::parse(bytes).ok().filter(usual) else {
            *self = Self::default();
            return 0;
        };
        let follows = self.last.is_some_and(|last| {
            let step = header.sequence.wrapping_sub(last.sequence);
            let ticks = header.timestamp.wrapping_sub(last.timestamp);
            // Sequence numbers grow by one, a few when packets are lost; a frame of several packets keeps
            // its timestamp; ten seconds at 90 kHz is more than any pause between two packets here.
            last.ssrc == header.ssrc
                && (1..=32).contains(&step)
                && ticks < 900_000
                && (last.payload_type == header.payload_type || header.marker || last.marker || step == 1)
        });
        let repeats = self.last.is_some_and(|last| last == header);
        self.run = match (follows, repeats) {
            (true, _) => self.run.saturating_add(1),
            (false, true) => self.run,
            _ => 1,
        };
        self.last = Some(header);
        self.run
    }

    /// The last header of the run.
    pub const fn last(&self) -> Option<Header> {
        self.last
    }
}
