//! STUN and TURN: message header, attributes, ChannelData.
//!
//! Three generations share the header: RFC 3489 (128-bit transaction id), RFC 5389/8489 (its first 32 bits
//! are a fixed cookie), and the TURN methods of RFC 8656. Without the cookie a message is only taken when
//! method and attributes are those of RFC 3489, because sixteen free bits would match too much.

use crate::bytes::{be16, be32};
use crate::malformed::Malformed;

/// The fixed cookie (RFC 8489 §5).
pub const COOKIE: u32 = 0x2112_a442;

/// Bytes before the attributes (RFC 8489 §5).
pub const HEADER: usize = 20;

/// What kind of message (RFC 8489 §5, the bits C1 and C0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// a request
    Request,
    /// an indication, not answered
    Indication,
    /// a success response
    Success,
    /// an error response
    Error,
}

/// A borrowed message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Message<'a> {
    /// Reads a message from its first byte. Bytes after it are left alone: see [`Self::size`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEADER {
            return Err(Malformed::short("stun", 0, "20 bytes of header", bytes.len()));
        }
        // RFC 8489 §5: the first two bits are zero, the length is a multiple of four.
        if bytes[0] & 0xc0 != 0 {
            return Err(Malformed::value("stun", 0, "two zero bits", u64::from(bytes[0])));
        }
        let length = usize::from(be16(bytes, 2).unwrap_or(0));
        let view = Self { bytes, length };
        // RFC 3489 pads nothing and need not be a multiple of four; its attributes are.
        if length % 4 != 0 {
            return Err(Malformed::value("stun", 2, "a length in units of four", length as u64));
        }
        if bytes.len() < HEADER + length {
            return Err(Malformed::short("stun", HEADER, "the attributes", bytes.len() - HEADER));
        }
        view.check_attributes()?;
        Ok(view)
    }

    fn check_attributes(&self) -> Result<(), Malformed> {
        let mut at = HEADER;
        let end = HEADER + self.length;
        while at < end {
            let Some(length) = be16(self.bytes, at + 2).filter(|_| at + 4 <= end) else {
                return Err(Malformed::short("stun", at, "an attribute's header", end - at));
            };
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        if at != end {
            return Err(Malformed::value("stun", 2, "attributes that fill the length", at as u64));
        }
        Ok(())
    }

    /// Bytes of the whole message.
    pub const fn size(&self) -> usize {
        HEADER + self.length
    }

    /// The method: 1 binding, 3 allocate … (https://www.iana.org/assignments/stun-parameters).
    pub fn method(&self) -> u16 {
        let kind = be16(self.bytes, 0).unwrap_or(0);
        kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2
    }

    /// The class.
    pub fn class(&self) -> Class {
        match (self.bytes[0] & 1, self.bytes[1] & 0x10) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            _ => Class::Error,
        }
    }

    /// Whether the cookie of RFC 5389 and later is there.
    pub fn has_cookie(&self) -> bool {
        be32(self.bytes, 4) == Some(COOKIE)
    }

    /// The transaction id: 12 bytes after the cookie, or 16 in RFC 3489.
    pub fn transaction(&self) -> &'a [u8] {
        &self.bytes[if self.has_cookie() { 8 } else { 4 }..HEADER]
    }

    /// The attributes in order: type and value without padding.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let bytes = &self.bytes[..HEADER + self.length];
        let mut at = HEADER;
        core::iter::from_fn(move || {
            let kind = be16(bytes, at)?;
            let length = usize::from(be16(bytes, at + 2)?);
            let value = bytes.get(at + 4..at + 4 + length)?;
            at += 4 + length.next_multiple_of(4);
            Some((kind, value))
        })
    }

    /// Whether the method is one of TURN (RFC 8656 §17, RFC 6062 §6.2).
    pub fn is_turn(&self) -> bool {
        matches!(self.method(), 3 | 4 | 6..=12)
    }

    /// Whether a message without cookie is one of RFC 3489: binding or shared secret (§11.1), only the
    /// attributes of §11.2 and those of the drafts between it and RFC 5389.
    pub fn is_classic(&self) -> bool {
        let known = |kind: u16| matches!(kind, 1..=0x0b | 0x20 | 0x8020 | 0x8022 | 0x8023);
        let method = self.method();
        let class_fits = self.class() != Class::Indication;
        !self.has_cookie()
            && (method == 1 || method == 2)
            && class_fits
            && self.attributes().all(|(kind, value)| known(kind) && fits_classic(kind, value))
            && self.transaction().iter().any(|&byte| byte != 0)
            && (self.class() == Class::Request || self.length > 0)
    }
}

/// Whether an attribute of RFC 3489 §11.2 has the length its type fixes.
fn fits_classic(kind: u16, value: &[u8]) -> bool {
    match kind {
        // Addresses: a zero byte, the family, port, IPv4 address; the drafts' XOR form also has IPv6.
        1 | 2 | 4 | 5 | 0x0b | 0x20 | 0x8020 | 0x8023 => {
            (value.len() == 8 && value[1] == 1) || (value.len() == 20 && value[1] == 2)
        }
        3 => value.len() == 4,
        8 => value.len() == 20,
        _ => true,
    }
}

/// TURN's framing of media on a channel (RFC 8656 §12.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// channel number, 0x4000–0x4fff
    pub channel: u16,
    /// the peer's bytes
    pub data: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Reads one from its first byte; a UDP datagram may pad it to four bytes (§12.5).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (Some(channel), Some(length)) = (be16(bytes, 0), be16(bytes, 2)) else {
            return Err(Malformed::short("turn", 0, "4 bytes of header", bytes.len()));
        };
        if !(0x4000..=0x4fff).contains(&channel) {
            return Err(Malformed::value("turn", 0, "a channel of 0x4000–0x4fff", u64::from(channel)));
        }
        match bytes.get(4..4 + usize::from(length)) {
            Some(data) => Ok(Self { channel, data }),
            None => Err(Malformed::short("turn", 4, "the channel's data", bytes.len() - 4)),
        }
    }

    /// Writes it, without padding.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = self.channel.to_be_bytes().to_vec();
        bytes.extend((self.data.len() as u16).to_be_bytes());
        bytes.extend(self.data);
        bytes
    }
}

/// A message to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    /// method, 12 bits
    pub method: u16,
    /// class
    pub class: Class,
    /// transaction id after the cookie
    pub transaction: [u8; 12],
    /// type and value, in order
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl Repr {
    /// Reads a message with the cookie into a repr.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = Message::parse(bytes)?;
        let cookie = be32(bytes, 4).unwrap_or(0);
        if cookie != COOKIE {
            return Err(Malformed::value("stun", 4, "the cookie 0x2112a442", u64::from(cookie)));
        }
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&bytes[8..HEADER]);
        let attributes = message.attributes().map(|(kind, value)| (kind, value.to_vec())).collect();
        Ok(Self { method: message.method(), class: message.class(), transaction, attributes })
    }

    /// Writes the message; padding is zeros.
    pub fn emit(&self) -> Vec<u8> {
        let class = match self.class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let method = self.method;
        let kind = method & 0x000f | (method & 0x0070) << 1 | (method & 0x0f80) << 2 | class;
        let mut body = Vec::new();
        for (kind, value) in &self.attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(self.transaction);
        bytes.extend(body);
        bytes
    }
}
