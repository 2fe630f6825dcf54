//! L2TP, version 2, and version 3 over UDP: control messages.
//!
//! Data messages have hardly anything to hold on to; a control message has flags, a length and a chain of
//! attribute–value pairs that starts with the message type.

use crate::bytes::be16;
use crate::malformed::Malformed;

/// Port of L2TP.
pub const PORT: u16 = 1701;

/// A control message (RFC 2661 §3.1, §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// 2 or 3
    pub version: u8,
    /// tunnel (version 3: the high half of the connection id)
    pub tunnel: u16,
    /// session (version 3: the low half)
    pub session: u16,
    /// this message's number
    pub sent: u16,
    /// next expected
    pub expected: u16,
    /// message type: 1 SCCRQ, 2 SCCRP … ; `None` for an empty acknowledgment
    pub kind: Option<u16>,
}

impl Control {
    /// Reads a control message that fills `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(flags) = be16(bytes, 0).filter(|_| bytes.len() >= 12) else {
            return Err(Malformed::short("l2tp", 0, "12 bytes of header", bytes.len()));
        };
        let version = (flags & 0x000f) as u8;
        // RFC 2661 §3.1: T, L and S set, O and P clear, reserved bits zero.
        if flags & 0xfff0 != 0xc800 || !matches!(version, 2 | 3) {
            return Err(Malformed::value("l2tp", 0, "a control message's flags", u64::from(flags)));
        }
        let field = |at| be16(bytes, at).unwrap_or(0);
        if usize::from(field(2)) != bytes.len() {
            return Err(Malformed::value("l2tp", 2, "the datagram's length", u64::from(field(2))));
        }
        let kind = Self::kind(bytes)?;
        Ok(Self { version, tunnel: field(4), session: field(6), sent: field(8), expected: field(10), kind })
    }

    /// Walks the pairs; the first must be the message type (RFC 2661 §4.1, §4.4.1).
    fn kind(bytes: &[u8]) -> Result<Option<u16>, Malformed> {
        let mut at = 12;
        let mut kind = None;
        while at < bytes.len() {
            let Some(head) = be16(bytes, at) else {
                return Err(Malformed::short("l2tp", at, "a pair's header", bytes.len() - at));
            };
            let length = usize::from(head & 0x03ff);
            if length < 6 || at + length > bytes.len() {
                return Err(Malformed::value("l2tp", at, "a pair that fits", length as u64));
            }
            if at == 12 {
                let vendor_and_type = (be16(bytes, 14), be16(bytes, 16));
                if length != 8 || vendor_and_type != (Some(0), Some(0)) {
                    return Err(Malformed::value("l2tp", at, "the message type first", length as u64));
                }
                kind = be16(bytes, 18);
            }
            at += length;
        }
        Ok(kind)
    }

    /// Writes the message with no pair but the message type.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = (0xc800 | u16::from(self.version)).to_be_bytes().to_vec();
        let length: u16 = if self.kind.is_some() { 20 } else { 12 };
        for field in [length, self.tunnel, self.session, self.sent, self.expected] {
            bytes.extend(field.to_be_bytes());
        }
        if let Some(kind) = self.kind {
            bytes.extend([0x80, 0x08, 0, 0, 0, 0]);
            bytes.extend(kind.to_be_bytes());
        }
        bytes
    }
}
