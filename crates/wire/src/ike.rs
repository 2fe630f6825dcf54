//! IKE of IPsec, both versions, and what shares port 4500 with it: ESP in UDP and keepalives.
//!
//! The length field must equal the datagram and the chain of payloads must add up where it is not
//! encrypted; two versions and a dozen exchanges would match junk otherwise.

use crate::bytes::{be16, be32, be64};
use crate::malformed::Malformed;

/// Bytes of the header (RFC 7296 §3.1, RFC 2408 §3.1).
pub const HEADER: usize = 28;
/// Port of IKE.
pub const PORT: u16 = 500;
/// Port of IKE and ESP behind a NAT (RFC 3948).
pub const NAT_PORT: u16 = 4500;

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// initiator's SPI (IKEv1: cookie)
    pub initiator: u64,
    /// responder's, 0 in the first message
    pub responder: u64,
    /// type of the first payload
    pub next: u8,
    /// 1 or 2
    pub version: u8,
    /// exchange: 2 main, 4 aggressive, 32 quick in version 1; 34 SA_INIT, 35 AUTH … in version 2
    pub exchange: u8,
    /// flags
    pub flags: u8,
    /// message id
    pub message: u32,
    /// bytes of the whole message
    pub length: u32,
}

impl Header {
    /// Reads a message that fills `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEADER {
            return Err(Malformed::short("ike", 0, "28 bytes of header", bytes.len()));
        }
        let word = |at| be64(bytes, at).unwrap_or(0);
        let header = Self {
            initiator: word(0),
            responder: word(8),
            next: bytes[16],
            version: bytes[17] >> 4,
            exchange: bytes[18],
            flags: bytes[19],
            message: be32(bytes, 20).unwrap_or(0),
            length: be32(bytes, 24).unwrap_or(0),
        };
        if header.initiator == 0 {
            return Err(Malformed::value("ike", 0, "an initiator's SPI", 0));
        }
        if !matches!(bytes[17], 0x10 | 0x20) {
            return Err(Malformed::value("ike", 17, "version 1.0 or 2.0", u64::from(bytes[17])));
        }
        if header.length as usize != bytes.len() {
            return Err(Malformed::value("ike", 24, "the datagram's length", u64::from(header.length)));
        }
        header.check()?;
        header.walk(bytes)?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Malformed> {
        // https://www.iana.org/assignments/isakmp-registry and .../ikev2-parameters.
        let (exchanges, payloads, flags) = if self.version == 1 {
            (
                matches!(self.exchange, 1..=6 | 32..=33),
                matches!(self.next, 1..=20 | 130 | 132),
                self.flags & !0x07 == 0,
            )
        } else {
            (matches!(self.exchange, 34..=44), matches!(self.next, 0 | 33..=54), self.flags & !0x38 == 0)
        };
        if !exchanges {
            return Err(Malformed::value("ike", 18, "an exchange of the version", u64::from(self.exchange)));
        }
        if !payloads {
            return Err(Malformed::value("ike", 16, "a payload of the version", u64::from(self.next)));
        }
        if !flags {
            return Err(Malformed::value("ike", 19, "flags of the version", u64::from(self.flags)));
        }
        Ok(())
    }

    /// Whether the payloads are encrypted, and so not to be walked.
    pub const fn is_encrypted(&self) -> bool {
        // IKEv1: the flag (RFC 2408 §3.1); IKEv2: payload SK or SKF (RFC 7296 §3.14, RFC 7383 §2.5).
        if self.version == 1 { self.flags & 1 != 0 } else { matches!(self.next, 46 | 53) }
    }

    fn walk(&self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.is_encrypted() {
            return Ok(());
        }
        let (mut next, mut at) = (self.next, HEADER);
        while next != 0 {
            let Some(length) = be16(bytes, at + 2).map(usize::from) else {
                return Err(Malformed::short("ike", at, "a payload's header", bytes.len() - at));
            };
            if length < 4 || at + length > bytes.len() {
                return Err(Malformed::value("ike", at + 2, "a payload that fits", length as u64));
            }
            // What follows an encrypted payload's header names what is inside it.
            next = if matches!(next, 46 | 53) { 0 } else { bytes[at] };
            at += length;
        }
        // IKEv1 may pad the end with zeros.
        if bytes[at..].iter().any(|&byte| byte != 0) {
            return Err(Malformed::short("ike", at, "no bytes after the payloads", bytes.len() - at));
        }
        Ok(())
    }

    /// Writes the header; `length` is the caller's.
    pub fn emit(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.initiator.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.responder.to_be_bytes());
        bytes[16..20].copy_from_slice(&[self.next, self.version << 4, self.exchange, self.flags]);
        bytes[20..24].copy_from_slice(&self.message.to_be_bytes());
        bytes[24..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}

/// What a datagram on port 4500 is (RFC 3948 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Natted {
    /// one byte 0xff
    Keepalive,
    /// four zero bytes, then IKE
    Ike(Header),
    /// ESP: an SPI that is not zero
    Esp(Esp),
}

/// ESP's clear fields (RFC 4303 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Esp {
    /// security parameters index; 1–255 are reserved
    pub spi: u32,
    /// sequence number, from 1
    pub sequence: u32,
}

impl Esp {
    /// Reads the clear fields; SPI 0–255 and too short packets are refused (RFC 4303 §2.1).
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(spi), Some(sequence)) = (be32(bytes, 0), be32(bytes, 4)) else {
            return Err(Malformed::short("esp", 0, "8 bytes of header", bytes.len()));
        };
        if spi < 256 {
            return Err(Malformed::value("esp", 0, "an SPI of 256 or more", u64::from(spi)));
        }
        // Padding to four bytes, its length, the next header, and some check value.
        if bytes.len() < 20 {
            return Err(Malformed::short("esp", 8, "a block and a check value", bytes.len() - 8));
        }
        Ok(Self { spi, sequence })
    }

    /// Writes the clear fields and `size` bytes of `fill`.
    pub fn emit(&self, size: usize, fill: u8) -> Vec<u8> {
        let mut bytes = self.spi.to_be_bytes().to_vec();
        bytes.extend(self.sequence.to_be_bytes());
        bytes.resize(8 + size, fill);
        bytes
    }
}

/// Reads a datagram of port 4500.
pub fn natted(bytes: &[u8]) -> Result<Natted, Malformed> {
    match bytes {
        [0xff] => Ok(Natted::Keepalive),
        [0, 0, 0, 0, message @ ..] => Header::parse(message).map(Natted::Ike),
        _ => Esp::parse(bytes).map(Natted::Esp),
    }
}

/// AH's fields (RFC 4302 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ah {
    /// IANA number of what follows
    pub next: u8,
    /// security parameters index
    pub spi: u32,
    /// sequence number
    pub sequence: u32,
    /// bytes of the header
    pub size: usize,
}

impl Ah {
    /// Reads the header from its first byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(spi), Some(sequence)) = (be32(bytes, 4), be32(bytes, 8)) else {
            return Err(Malformed::short("ah", 0, "12 bytes of header", bytes.len()));
        };
        // RFC 4302 §2.2: in units of four bytes, minus two; §2.3: reserved, zero.
        let size = (usize::from(bytes[1]) + 2) * 4;
        if size < 12 || size > bytes.len() {
            return Err(Malformed::value("ah", 1, "a header that fits", size as u64));
        }
        Ok(Self { next: bytes[0], spi, sequence, size })
    }
}
