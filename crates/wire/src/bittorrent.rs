//! BitTorrent: the peers' handshake, uTP, the DHT, trackers over UDP, local peer discovery.

use crate::bytes::{be16, be32, be64};
use crate::malformed::Malformed;

/// What the handshake opens with (BEP 3, https://www.bittorrent.org/beps/bep_0003.html).
pub const HANDSHAKE: &[u8; 20] = b"\x13BitTorrent protocol";

/// The peers' handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// extension bits
    pub reserved: [u8; 8],
    /// which torrent
    pub info_hash: [u8; 20],
    /// peer id; may come later
    pub peer: &'a [u8],
}

impl<'a> Handshake<'a> {
    /// Reads the handshake.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let wrong = Malformed::value(
            "bittorrent",
            0,
            "the protocol's name",
            bytes.first().copied().unwrap_or(0).into(),
        );
        let Some(rest) = bytes.strip_prefix(HANDSHAKE) else {
            let left = bytes.len();
            let cut = HANDSHAKE.starts_with(bytes);
            return Err(if cut {
                Malformed::short("bittorrent", left, "the protocol's name", left)
            } else {
                wrong
            });
        };
        let (Some(reserved), Some(hash)) =
            (rest.first_chunk(), rest.get(8..28).and_then(<[u8]>::first_chunk))
        else {
            return Err(Malformed::short("bittorrent", 20, "48 bytes of handshake", rest.len()));
        };
        Ok(Self { reserved: *reserved, info_hash: *hash, peer: &rest[28..rest.len().min(48)] })
    }

    /// Writes it.
    pub fn emit(&self) -> Vec<u8> {
        [HANDSHAKE, &self.reserved[..], &self.info_hash, self.peer].concat()
    }
}

/// uTP's header (BEP 29).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utp {
    /// 0 data, 1 fin, 2 state, 3 reset, 4 syn
    pub kind: u8,
    /// first extension, 0 when none
    pub extension: u8,
    /// connection id
    pub connection: u16,
    /// sender's clock, µs
    pub timestamp: u32,
    /// difference seen, µs
    pub difference: u32,
    /// receive window, bytes
    pub window: u32,
    /// sequence number
    pub sequence: u16,
    /// acknowledgment
    pub acknowledged: u16,
    /// where the payload starts
    pub payload_at: usize,
}

impl Utp {
    /// Reads the header and steps over its extensions.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() < 20 {
            return Err(Malformed::short("utp", 0, "20 bytes of header", bytes.len()));
        }
        let kind = bytes[0] >> 4;
        if bytes[0] & 0x0f != 1 || kind > 4 {
            return Err(Malformed::value("utp", 0, "version 1 and a type of 0–4", u64::from(bytes[0])));
        }
        let mut extension = bytes[1];
        let mut payload_at = 20;
        while extension != 0 {
            let (Some(&next), Some(&length)) = (bytes.get(payload_at), bytes.get(payload_at + 1)) else {
                return Err(Malformed::short("utp", payload_at, "an extension", bytes.len() - payload_at));
            };
            // 1 selective ack in units of four bytes; 2 the old extension bits; 3 close reason.
            let fits = match extension {
                1 => length % 4 == 0 && length > 0,
                2 => length == 8,
                _ => extension == 3 && length == 4,
            };
            if !fits || payload_at + 2 + usize::from(length) > bytes.len() {
                return Err(Malformed::value(
                    "utp",
                    payload_at + 1,
                    "an extension that fits",
                    u64::from(length),
                ));
            }
            payload_at += 2 + usize::from(length);
            extension = next;
        }
        // Only data carries bytes (BEP 29, ST_DATA).
        if kind != 0 && bytes.len() != payload_at {
            return Err(Malformed::value("utp", payload_at, "no payload", (bytes.len() - payload_at) as u64));
        }
        let word = |at| be32(bytes, at).unwrap_or(0);
        let half = |at| be16(bytes, at).unwrap_or(0);
        Ok(Self {
            kind,
            extension: bytes[1],
            connection: half(2),
            timestamp: word(4),
            difference: word(8),
            window: word(12),
            sequence: half(16),
            acknowledged: half(18),
            payload_at,
        })
    }

    /// Writes the header without extensions.
    pub fn emit(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[0] = self.kind << 4 | 1;
        bytes[2..4].copy_from_slice(&self.connection.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.difference.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.window.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[18..20].copy_from_slice(&self.acknowledged.to_be_bytes());
        bytes
    }

    /// A connection's first packet: nothing acknowledged, sequence 1, no payload.
    pub const fn is_syn(&self) -> bool {
        self.kind == 4 && self.acknowledged == 0 && self.sequence == 1 && self.timestamp != 0
    }

    /// Whether this can be the other side's next word after `other`: the ids of the two directions differ
    /// by one at most (BEP 29: recv id = send id ± 1), and it acknowledges what was sent.
    pub const fn answers(&self, other: &Self) -> bool {
        let ids = self.connection.wrapping_sub(other.connection).wrapping_add(1);
        let acks = other.sequence.wrapping_sub(self.acknowledged);
        ids <= 2 && acks < 256
    }
}

/// What a datagram of the DHT is (BEP 5): a bencoded dictionary with a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dht {
    /// a query
    Query,
    /// a response
    Response,
    /// an error
    Error,
}

/// Reads a DHT message: one whole dictionary with `t` and `y`, and what its type demands.
pub fn dht(bytes: &[u8]) -> Result<Dht, Malformed> {
    if bytes.first() != Some(&b'd') {
        return Err(Malformed::value(
            "dht",
            0,
            "a dictionary",
            u64::from(bytes.first().copied().unwrap_or(0)),
        ));
    }
    let mut at = 1;
    let (mut kind, mut has_token, mut has_body) = (None, false, false);
    while bytes.get(at).is_some_and(|&byte| byte != b'e') {
        let (key, after) = string(bytes, at)?;
        let end = skip(bytes, after, 0)?;
        let value = &bytes[after..end];
        match key {
            b"t" => has_token = value.first().is_some_and(u8::is_ascii_digit),
            b"y" => kind = value.strip_prefix(b"1:").and_then(|letter| letter.first().copied()),
            b"a" | b"r" => has_body = value.starts_with(b"d2:id20:") || value.starts_with(b"d"),
            b"e" => has_body = value.first() == Some(&b'l'),
            _ => {}
        }
        at = end;
    }
    if at >= bytes.len() {
        return Err(Malformed::short("dht", at, "the dictionary's end", 0));
    }
    match (kind, has_token, has_body) {
        (Some(b'q'), true, true) => Ok(Dht::Query),
        (Some(b'r'), true, true) => Ok(Dht::Response),
        (Some(b'e'), true, true) => Ok(Dht::Error),
        _ => Err(Malformed::value("dht", 0, "t, y and the type's body", bytes.len() as u64)),
    }
}

/// A bencoded string, and where it ends.
fn string(bytes: &[u8], at: usize) -> Result<(&[u8], usize), Malformed> {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let colon = memchr::memchr(b':', &rest[..rest.len().min(6)]);
    let wrong = Malformed::value("dht", at, "a string", u64::from(rest.first().copied().unwrap_or(0)));
    let colon = colon.ok_or(wrong)?;
    let digits = core::str::from_utf8(&rest[..colon]).map_err(|_| wrong)?;
    let length: usize = digits.parse().map_err(|_| wrong)?;
    let from = at + colon + 1;
    let piece = bytes.get(from..from + length);
    Ok((piece.ok_or(Malformed::short("dht", from, "the whole string", bytes.len() - from))?, from + length))
}

/// Steps over one bencoded value; nesting deeper than eight is no DHT message.
fn skip(bytes: &[u8], at: usize, depth: u8) -> Result<usize, Malformed> {
    let first = *bytes.get(at).ok_or(Malformed::short("dht", at, "a value", 0))?;
    match first {
        b'0'..=b'9' => string(bytes, at).map(|(_, end)| end),
        b'i' => {
            let rest = &bytes[at + 1..];
            let end = memchr::memchr(b'e', &rest[..rest.len().min(21)]);
            end.map(|end| at + end + 2).ok_or(Malformed::short("dht", at, "a number's end", rest.len()))
        }
        b'd' | b'l' if depth < 8 => {
            let mut at = at + 1;
            while bytes.get(at).is_some_and(|&byte| byte != b'e') {
                at = skip(bytes, at, depth + 1)?;
            }
            if at < bytes.len() { Ok(at + 1) } else { Err(Malformed::short("dht", at, "an end", 0)) }
        }
        other => Err(Malformed::value("dht", at, "a bencoded value", u64::from(other))),
    }
}

/// Whether a datagram opens a talk with a tracker (BEP 15): protocol id, action 0, transaction.
pub fn is_tracker_connect(bytes: &[u8]) -> bool {
    bytes.len() == 16 && be64(bytes, 0) == Some(0x0417_2710_1980) && be32(bytes, 8) == Some(0)
}

/// Whether a datagram announces a peer to the local network (BEP 14).
pub fn is_local_discovery(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BT-SEARCH * HTTP/1.1\r\n")
}
