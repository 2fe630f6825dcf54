//! Initial keys, header protection, opening and sealing (RFC 9001 §5).

use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use super::header::{LongView, PacketKind};
use super::version::Version;
use crate::malformed::Malformed;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// the client
    Client,
    /// the server
    Server,
}

/// Keys of one side's Initials.
pub struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// An opened packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// packet number, as far as it was sent (1 to 4 bytes)
    pub number: u32,
    /// frames
    pub payload: Vec<u8>,
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7.1) with an empty context.
fn expand<const N: usize>(secret: &Prk, label: &str) -> Option<[u8; N]> {
    let len = (N as u16).to_be_bytes();
    let label_len = [6 + label.len() as u8];
    let info: [&[u8]; 5] = [&len, &label_len, b"tls13 ", label.as_bytes(), &[0]];
    let mut out = [0; N];
    secret.expand(&info, Len(N)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

impl Keys {
    /// The keys of `side`'s Initials from the destination connection id of the client's first Initial (after
    /// a Retry: of the first one that follows it). `None` for a version whose salt is not known.
    pub fn initial(version: Version, dcid: &[u8], side: Side) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, version.salt()?).extract(dcid);
        let label = if side == Side::Client { "client in" } else { "server in" };
        let secret = Prk::new_less_safe(HKDF_SHA256, &expand::<32>(&secret, label)?);
        let labels = if version.is_v2() {
            ["quicv2 key", "quicv2 iv", "quicv2 hp"]
        } else {
            ["quic key", "quic iv", "quic hp"]
        };
        let key = UnboundKey::new(&AES_128_GCM, &expand::<16>(&secret, labels[0])?).ok()?;
        let header = HeaderProtectionKey::new(&AES_128, &expand::<16>(&secret, labels[2])?).ok()?;
        Some(Self { key: LessSafeKey::new(key), iv: expand(&secret, labels[1])?, header })
    }

    /// Opens an Initial. Fails when the packet is too short, was cut, or is not sealed with these keys.
    pub fn open(&self, packet: &LongView<'_>) -> Result<Opened, Malformed> {
        let (bytes, at) = (packet.bytes(), packet.number_at);
        if packet.kind != PacketKind::Initial {
            return Err(Malformed::value("quic", 0, "initial packet", u64::from(bytes[0])));
        }
        let short = || Malformed::short("quic", at, "packet number and sample", bytes.len() - at);
        // RFC 9001 §5.4.2: the sample begins four bytes after the start of the packet number.
        let sample = bytes.get(at + 4..at + 20).ok_or_else(short)?;
        let mask = self.header.new_mask(sample).map_err(|_| short())?;
        let first = bytes[0] ^ mask[0] & 0x0f;
        let number_len = usize::from(first & 3) + 1;
        let mut header = bytes[..at + number_len].to_vec();
        header[0] = first;
        for (byte, mask) in header[at..].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        let number = header[at..].iter().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
        let mut payload = bytes[at + number_len..].to_vec();
        let nonce = self.nonce(number);
        let plain = self.key.open_in_place(nonce, Aad::from(&header), &mut payload).map(|plain| plain.len());
        let len = plain.map_err(|_| {
            Malformed::short(
                "quic",
                at + number_len,
                "payload that these keys open",
                bytes.len() - at - number_len,
            )
        })?;
        payload.truncate(len);
        Ok(Opened { number, payload })
    }

    /// Seals `payload` behind `header`, whose packet number takes its last `number_len` bytes, and protects
    /// the header. The payload must be 4 − `number_len` bytes or longer, so that there is a sample.
    pub(super) fn seal(&self, header: &[u8], number: u32, number_len: usize, payload: &[u8]) -> Vec<u8> {
        let mut sealed = payload.to_vec();
        self.key
            .seal_in_place_append_tag(self.nonce(number), Aad::from(header), &mut sealed)
            .expect("AES-GCM seals any payload of a datagram's size");
        let mut out = [header, &sealed].concat();
        let at = header.len() - number_len;
        if let Some(Ok(mask)) = out.get(at + 4..at + 20).map(|sample| self.header.new_mask(sample)) {
            out[0] ^= mask[0] & 0x0f;
            for (byte, mask) in out[at..at + number_len].iter_mut().zip(&mask[1..]) {
                *byte ^= mask;
            }
        }
        out
    }

    fn nonce(&self, number: u32) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

const RETRY_V1: ([u8; 16], [u8; 12]) = (
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e],
    [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
);
const RETRY_V2: ([u8; 16], [u8; 12]) = (
    [0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc, 0x92],
    [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a],
);

/// The integrity tag of a Retry in v1 or v2 (RFC 9001 §5.8, RFC 9369 §3.3.3) over the packet without its tag.
pub fn retry_tag(version: Version, original_dcid: &[u8], retry: &[u8]) -> Option<[u8; 16]> {
    let (key, nonce) = match version {
        Version::V1 => RETRY_V1,
        Version::V2 => RETRY_V2,
        _ => return None,
    };
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
    let pseudo = [&[original_dcid.len() as u8], original_dcid, retry].concat();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&pseudo), &mut []).ok()?;
    tag.as_ref().try_into().ok()
}
