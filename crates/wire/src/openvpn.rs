//! OpenVPN's control channel, over UDP and TCP (https://build.openvpn.net/doxygen/network_protocol.html).
//!
//! Opcode and key id share the first byte; a session id follows. What comes next depends on a mode that is
//! not announced: plain, tls-auth (a keyed hash of one of several lengths, replay id, time) or tls-crypt
//! (the same in another order, then ciphertext). The mode is told by where the fixed fields of a reset fit.

use crate::bytes::{be16, be32, be64};
use crate::malformed::Malformed;

/// Opcodes (ssl_pkt.h of OpenVPN 2.6: P_CONTROL_HARD_RESET_CLIENT_V1 …).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// client opens, key method 1
    ResetClientV1 = 1,
    /// server answers, key method 1
    ResetServerV1 = 2,
    /// new keys in the session
    SoftReset = 3,
    /// TLS bytes
    Control = 4,
    /// acknowledgment
    Ack = 5,
    /// payload
    DataV1 = 6,
    /// client opens
    ResetClientV2 = 7,
    /// server answers
    ResetServerV2 = 8,
    /// payload with a peer id
    DataV2 = 9,
    /// client opens with its own tls-crypt-v2 key, wrapped
    ResetClientV3 = 10,
    /// TLS bytes with the wrapped key
    ControlWrapped = 11,
}

impl Opcode {
    /// The opcode of a packet's first byte.
    pub const fn of(first: u8) -> Option<Self> {
        Some(match first >> 3 {
            1 => Self::ResetClientV1,
            2 => Self::ResetServerV1,
            3 => Self::SoftReset,
            4 => Self::Control,
            5 => Self::Ack,
            6 => Self::DataV1,
            7 => Self::ResetClientV2,
            8 => Self::ResetServerV2,
            9 => Self::DataV2,
            10 => Self::ResetClientV3,
            11 => Self::ControlWrapped,
            _ => return None,
        })
    }

    /// Whether it opens a session.
    pub const fn is_client_reset(self) -> bool {
        matches!(self, Self::ResetClientV1 | Self::ResetClientV2 | Self::ResetClientV3)
    }

    /// Whether it answers an opening.
    pub const fn is_server_reset(self) -> bool {
        matches!(self, Self::ResetServerV1 | Self::ResetServerV2)
    }

    /// Whether it carries payload.
    pub const fn is_data(self) -> bool {
        matches!(self, Self::DataV1 | Self::DataV2)
    }
}

/// How the control channel is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrap {
    /// not
    Plain,
    /// `--tls-auth`, with the hash's bytes: 16 MD5, 20 SHA-1, 28, 32, 48, 64 SHA-2
    Auth(u8),
    /// `--tls-crypt`
    Crypt,
    /// `--tls-crypt-v2`
    CryptV2,
}

impl Wrap {
    /// The name of OpenVPN's option.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Auth(_) => "tls-auth",
            Self::Crypt => "tls-crypt",
            Self::CryptV2 => "tls-crypt-v2",
        }
    }
}

/// Hash lengths of tls-auth worth trying, likeliest first.
const HASHES: [u8; 6] = [20, 64, 32, 16, 48, 28];

/// A borrowed packet, without the length that TCP puts before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// opcode
    pub opcode: Opcode,
    /// key id, 0 for a session's first
    pub key: u8,
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the first byte, and the session id of control packets.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Some(&first) = bytes.first() else {
            return Err(Malformed::short("openvpn", 0, "an opcode", 0));
        };
        let Some(opcode) = Opcode::of(first) else {
            return Err(Malformed::value("openvpn", 0, "an opcode of 1–11", u64::from(first >> 3)));
        };
        let needed = match opcode {
            Opcode::DataV1 => 1 + 16,
            Opcode::DataV2 => 4 + 16,
            _ => 14,
        };
        if bytes.len() < needed {
            return Err(Malformed::short("openvpn", 1, "the opcode's header", bytes.len() - 1));
        }
        Ok(Self { opcode, key: first & 7, bytes })
    }

    /// Session id of the sender, of a control packet.
    pub fn session(&self) -> Option<u64> {
        if self.opcode.is_data() { None } else { be64(self.bytes, 1) }
    }

    /// Peer id, of data in version 2.
    pub fn peer(&self) -> Option<u32> {
        (self.opcode == Opcode::DataV2).then(|| be32(self.bytes, 0).unwrap_or(0) & 0x00ff_ffff)
    }

    /// How a hard reset is wrapped; `None` when no mode fits, which means that it is none.
    pub fn wrap(&self) -> Option<Wrap> {
        if self.key != 0 || !self.session().is_some_and(is_drawn) {
            return None;
        }
        if self.opcode == Opcode::ResetClientV3 {
            return self.is_crypt_v2().then_some(Wrap::CryptV2);
        }
        if !self.opcode.is_client_reset() && !self.opcode.is_server_reset() {
            return None;
        }
        if self.ends_as_reset(9) {
            return Some(Wrap::Plain);
        }
        for hash in HASHES {
            let at = 9 + usize::from(hash);
            // The replay id counts from 1; resends of the reset count on. Then the time, in seconds.
            if self.is_replay(at) && self.ends_as_reset(at + 8) {
                return Some(Wrap::Auth(hash));
            }
        }
        self.is_crypt().then_some(Wrap::Crypt)
    }

    /// The rest of a reset: acknowledgments, the peer's session id if there are any, packet id 0, no more.
    fn ends_as_reset(&self, at: usize) -> bool {
        let Some(&count) = self.bytes.get(at) else { return false };
        let acks = usize::from(count);
        let fits = if self.opcode.is_client_reset() { acks == 0 } else { acks <= 8 };
        let id_at = at + 1 + 4 * acks + if acks > 0 { 8 } else { 0 };
        fits && self.bytes.len() == id_at + 4 && be32(self.bytes, id_at) == Some(0)
    }

    /// A replay id at `at`, then seconds since 1970 of an OpenVPN that knows the mode (2002–2038).
    fn is_replay(&self, at: usize) -> bool {
        let id = be32(self.bytes, at).unwrap_or(0);
        let time = be32(self.bytes, at + 4).unwrap_or(0);
        (1..=64).contains(&id) && (0x3c00_0000..0x8000_0000).contains(&time)
    }

    /// tls-crypt: replay id and time before a 32-byte tag, then five encrypted bytes of a client's reset, or
    /// more of a server's.
    fn is_crypt(&self) -> bool {
        let size = self.bytes.len();
        let fits = if self.opcode.is_client_reset() { size == 54 } else { (54..=98).contains(&size) };
        fits && self.is_replay(9)
    }

    /// tls-crypt-v2: as tls-crypt, then the wrapped key, whose last two bytes are its length (with them).
    fn is_crypt_v2(&self) -> bool {
        let size = self.bytes.len();
        let Some(length) = size.checked_sub(2).and_then(|at| be16(self.bytes, at)) else { return false };
        let time = be32(self.bytes, 13).unwrap_or(0);
        // doc/tls-crypt-v2.txt: the client key alone is 256 bytes, its tag 32, the length 2.
        usize::from(length) >= 290 && usize::from(length) + 54 == size && time >= 0x3c00_0000
    }

    /// For the answer to a reset: the session id that it acknowledges, where the wrap lets it be seen.
    pub fn acknowledges(&self) -> Option<u64> {
        let at = match self.wrap()? {
            Wrap::Plain => 9,
            Wrap::Auth(hash) => 17 + usize::from(hash),
            _ => return None,
        };
        let count = usize::from(*self.bytes.get(at)?);
        if count == 0 { None } else { be64(self.bytes, at + 1 + 4 * count) }
    }
}

/// Whether a session id looks drawn at random, as OpenVPN draws it: small numbers and padding do not.
fn is_drawn(session: u64) -> bool {
    let mut bytes = session.to_be_bytes();
    let zeros = bytes.iter().filter(|&&byte| byte == 0).count();
    bytes.sort_unstable();
    let distinct = 1 + bytes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    zeros <= 2 && distinct >= 5
}

/// The packets of a TCP stream: each has its length in two bytes before it. Stops at the first that is
/// not whole.
pub fn frames(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let length = usize::from(be16(stream, at)?);
        let frame = stream.get(at + 2..at + 2 + length)?;
        at += 2 + length;
        Some(frame)
    })
}

/// Whether packet sizes could be OpenVPN's static-key mode, which has no opcodes: 20 bytes of HMAC, 16 of
/// IV and whole cipher blocks. A heuristic that any block cipher with a hash of that size satisfies too, so
/// the recogniser does not use it.
pub fn static_key_sizes_fit(sizes: &[usize]) -> bool {
    sizes.len() >= 8 && sizes.iter().all(|&size| size >= 52 && (size - 36) % 16 == 0)
}

/// A control packet to write, plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    /// opcode, not of data
    pub opcode: Opcode,
    /// sender's session
    pub session: u64,
    /// packet ids acknowledged, at most 8
    pub acknowledged: Vec<u32>,
    /// the peer's session, written when something is acknowledged
    pub remote: u64,
    /// packet id; an ACK has none
    pub id: u32,
    /// TLS bytes
    pub payload: Vec<u8>,
}

impl Repr {
    /// Reads a plain control packet.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let packet = Packet::parse(bytes).or_else(|broken| match bytes.first().map(|first| first >> 3) {
            Some(5) if bytes.len() >= 10 => Ok(Packet { opcode: Opcode::Ack, key: bytes[0] & 7, bytes }),
            _ => Err(broken),
        })?;
        let (opcode, short) =
            (packet.opcode, |at| Malformed::short("openvpn", at, "the fields", bytes.len()));
        let session =
            packet.session().ok_or(Malformed::value("openvpn", 0, "a control opcode", opcode as u64))?;
        let count = usize::from(bytes[9]);
        let mut at = 10;
        let mut acknowledged = Vec::new();
        for _ in 0..count {
            acknowledged.push(be32(bytes, at).ok_or(short(at))?);
            at += 4;
        }
        let mut remote = 0;
        if count > 0 {
            remote = be64(bytes, at).ok_or(short(at))?;
            at += 8;
        }
        let mut id = 0;
        if opcode != Opcode::Ack {
            id = be32(bytes, at).ok_or(short(at))?;
            at += 4;
        }
        Ok(Self { opcode, session, acknowledged, remote, id, payload: bytes[at..].to_vec() })
    }

    /// Writes it with key id 0.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![(self.opcode as u8) << 3];
        bytes.extend(self.session.to_be_bytes());
        bytes.push(self.acknowledged.len() as u8);
        for id in &self.acknowledged {
            bytes.extend(id.to_be_bytes());
        }
        if !self.acknowledged.is_empty() {
            bytes.extend(self.remote.to_be_bytes());
        }
        if self.opcode != Opcode::Ack {
            bytes.extend(self.id.to_be_bytes());
        }
        bytes.extend(&self.payload);
        bytes
    }
}

/// Puts TCP's length before a packet.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let mut bytes = (packet.len() as u16).to_be_bytes().to_vec();
    bytes.extend(packet);
    bytes
}
