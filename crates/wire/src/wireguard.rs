//! WireGuard's four messages (https://www.wireguard.com/papers/wireguard.pdf §5.4).
//!
//! A type byte, three reserved zero bytes, and sizes that are fixed but for data, which is padded to 16
//! bytes. Some clients put bits into the reserved bytes (Cloudflare WARP a client id): they parse, and
//! [`Message::reserved`] says what stood there.

use crate::bytes::le32;
use crate::malformed::Malformed;

/// Size of a handshake initiation (paper §5.4.2).
pub const INITIATION: usize = 148;
/// Size of a handshake response (paper §5.4.3).
pub const RESPONSE: usize = 92;
/// Size of a cookie reply (paper §5.4.7).
pub const COOKIE: usize = 64;
/// Least size of transport data: a keepalive (paper §5.4.6).
pub const KEEPALIVE: usize = 32;

/// A message; indices are session numbers chosen by the receiver's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// type 1: who opens
    Initiation {
        /// sender's index
        sender: u32,
    },
    /// type 2: the answer
    Response {
        /// sender's index
        sender: u32,
        /// index of the initiation
        receiver: u32,
    },
    /// type 3: under load
    CookieReply {
        /// index of the message answered
        receiver: u32,
    },
    /// type 4
    Data {
        /// receiver's index
        receiver: u32,
        /// counter, from 0
        counter: u64,
        /// encrypted bytes, tag included
        size: usize,
    },
}

/// A parsed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// what it is
    pub kind: Kind,
    /// the three bytes after the type; zeros by the paper
    pub reserved: [u8; 3],
}

impl Message {
    /// Reads a datagram: type and exact size.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(&[kind, a, b, c]), Some(first)) = (bytes.first_chunk::<4>(), le32(bytes, 4)) else {
            return Err(Malformed::short("wireguard", 0, "8 bytes", bytes.len()));
        };
        let exact = |size: usize, what| {
            if bytes.len() == size {
                Ok(())
            } else {
                Err(Malformed::value("wireguard", 0, what, bytes.len() as u64))
            }
        };
        let kind = match kind {
            1 => {
                exact(INITIATION, "148 bytes of initiation")?;
                Kind::Initiation { sender: first }
            }
            2 => {
                exact(RESPONSE, "92 bytes of response")?;
                Kind::Response { sender: first, receiver: le32(bytes, 8).unwrap_or(0) }
            }
            3 => {
                exact(COOKIE, "64 bytes of cookie reply")?;
                Kind::CookieReply { receiver: first }
            }
            4 => {
                if bytes.len() < KEEPALIVE || bytes.len() % 16 != 0 {
                    let size = bytes.len() as u64;
                    return Err(Malformed::value("wireguard", 0, "32 bytes or more, in units of 16", size));
                }
                let low = u64::from(le32(bytes, 8).unwrap_or(0));
                let high = u64::from(le32(bytes, 12).unwrap_or(0));
                Kind::Data { receiver: first, counter: high << 32 | low, size: bytes.len() - 16 }
            }
            other => return Err(Malformed::value("wireguard", 0, "a type of 1–4", u64::from(other))),
        };
        Ok(Self { kind, reserved: [a, b, c] })
    }

    /// Writes the message with `fill` for all that is encrypted or random.
    pub fn emit(&self, fill: u8) -> Vec<u8> {
        let [a, b, c] = self.reserved;
        let (kind, size) = match self.kind {
            Kind::Initiation { .. } => (1, INITIATION),
            Kind::Response { .. } => (2, RESPONSE),
            Kind::CookieReply { .. } => (3, COOKIE),
            Kind::Data { size, .. } => (4, 16 + size),
        };
        let mut bytes = vec![fill; size.max(16)];
        bytes[..4].copy_from_slice(&[kind, a, b, c]);
        match self.kind {
            Kind::Initiation { sender: index } | Kind::CookieReply { receiver: index } => {
                bytes[4..8].copy_from_slice(&index.to_le_bytes());
            }
            Kind::Response { sender, receiver } => {
                bytes[4..8].copy_from_slice(&sender.to_le_bytes());
                bytes[8..12].copy_from_slice(&receiver.to_le_bytes());
            }
            Kind::Data { receiver, counter, .. } => {
                bytes[4..8].copy_from_slice(&receiver.to_le_bytes());
                bytes[8..16].copy_from_slice(&counter.to_le_bytes());
            }
        }
        bytes
    }
}
