//! A TCP segment relative to the first data byte, and the ways to cut it at the IP layer.

use core::time::Duration;

use okno_wire::build::IpRepr;
use okno_wire::packet::flag;

/// Data of a full segment on Ethernet with timestamps (RFC 9293 §3.7.1, RFC 7323 appendix A).
pub const MSS: usize = 1_448;

/// What one segment carries and how it deviates from an honest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// bytes from the first data byte; negative is left of the window
    pub offset: i64,
    /// data
    pub payload: Vec<u8>,
    /// TCP flags
    pub flags: u8,
    /// another TTL than the conversation's
    pub ttl: Option<u8>,
    /// IPv4 identification
    pub ip_id: u16,
    /// leave a wrong TCP checksum
    pub break_checksum: bool,
    /// added to the acknowledgment number
    pub ack_shift: i64,
    /// added to the timestamp, when the conversation has them
    pub timestamp_shift: i64,
    /// urgent pointer
    pub urgent: u16,
    /// further raw TCP options
    pub options: Vec<u8>,
    /// IPv6 extension headers
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// cut into IP fragments
    pub fragmenting: Option<Fragmenting>,
    /// time since the segment before
    pub gap: Duration,
}

impl Segment {
    /// An honest data segment a millisecond after the one before.
    pub fn data(offset: usize, payload: &[u8]) -> Self {
        Self {
            offset: offset as i64,
            payload: payload.to_vec(),
            flags: flag::PSH | flag::ACK,
            ttl: None,
            ip_id: 0,
            break_checksum: false,
            ack_shift: 0,
            timestamp_shift: 0,
            urgent: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            fragmenting: None,
            gap: Duration::from_millis(1),
        }
    }

    /// The flight cut at `cuts` (rising).
    pub fn split(flight: &[u8], cuts: &[usize]) -> Vec<Self> {
        let mut starts = vec![0];
        starts.extend(cuts.iter().copied().filter(|cut| *cut > 0 && *cut < flight.len()));
        let end = |index: usize| starts.get(index + 1).copied().unwrap_or(flight.len());
        let piece = |(index, start): (usize, &usize)| Self::data(*start, &flight[*start..end(index)]);
        starts.iter().enumerate().map(piece).collect()
    }

    /// The flight cut into pieces of `size` bytes.
    pub fn chunks(flight: &[u8], size: usize) -> Vec<Self> {
        let cuts: Vec<usize> = (1..flight.len().div_ceil(size.max(1))).map(|index| index * size).collect();
        Self::split(flight, &cuts)
    }

    /// Itself, or in pieces of `MSS` bytes when it is larger and not cut by the IP layer.
    pub fn fitting(&self) -> Vec<Self> {
        if self.payload.len() <= MSS || self.fragmenting.is_some() {
            return vec![self.clone()];
        }
        let piece = |(index, part): (usize, &[u8])| {
            self.clone().with(|segment| {
                segment.payload = part.to_vec();
                segment.offset += (index * MSS) as i64;
            })
        };
        self.payload.chunks(MSS).enumerate().map(piece).collect()
    }

    /// Changed by `change`.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// With this TTL.
    pub fn with_ttl(self, ttl: u8) -> Self {
        self.with(|segment| segment.ttl = Some(ttl))
    }
}

/// How a transport segment is cut into IP fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragmenting {
    /// identification
    pub id: u32,
    /// number of fragments wanted; sizes are multiples of 8 (RFC 791 §3.1)
    pub count: usize,
    /// last fragment first
    pub reversed: bool,
    /// TTLs of the fragments in order of offset; the last holds for the rest, empty leaves the header's
    pub ttls: Vec<u8>,
}

impl Fragmenting {
    /// `count` fragments in order.
    pub const fn into_pieces(count: usize) -> Self {
        Self { id: 0x0bad, count, reversed: false, ttls: Vec::new() }
    }

    /// The packets, in the order they are sent.
    pub fn cut(&self, ip: &IpRepr, protocol: u8, segment: &[u8]) -> Vec<Vec<u8>> {
        let size = (segment.len() / self.count.max(1)).max(8) / 8 * 8;
        // RFC 7112 §5: the first fragment of IPv6 holds the whole transport header.
        let first = if ip.source.is_ipv6() { size.max(24) } else { size };
        let cuts: Vec<usize> = (0..self.count.saturating_sub(1)).map(|index| first + index * size).collect();
        let mut pieces = ip.emit_fragments(protocol, self.id, &cuts, segment);
        for (index, piece) in pieces.iter_mut().enumerate() {
            if let Some(ttl) = self.ttls.get(index).or(self.ttls.last()) {
                let at = if ip.source.is_ipv4() { 8 } else { 7 };
                piece[at] = *ttl;
                okno_wire::build::mend_checksums(piece);
            }
        }
        if self.reversed {
            pieces.reverse();
        }
        pieces
    }
}
