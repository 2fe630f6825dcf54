//! Initials out, sealed as the real ones are: for tests, evasions and the lab.

use super::frame::Frame;
use super::keys::{Keys, Side, retry_tag};
use super::version::Version;

/// A variable-length integer in its shortest form.
fn put_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

impl Frame<'_> {
    /// Appends the frame; an ACK covers its largest number alone.
    pub fn emit(&self, version: Version, out: &mut Vec<u8>) {
        let google = version.is_google();
        match *self {
            Self::Padding(run) => out.resize(out.len() + run, 0),
            Self::Ping => out.push(if google { 7 } else { 1 }),
            Self::Ack { largest } => {
                out.push(2);
                put_varint(out, largest);
                out.extend_from_slice(&[0, 0, 0]);
            }
            Self::Crypto { offset, data } => {
                out.push(if google { 8 } else { 6 });
                put_varint(out, offset);
                put_varint(out, data.len() as u64);
                out.extend_from_slice(data);
            }
            Self::ConnectionClose { application, code } => {
                out.push(if application { 0x1d } else { 0x1c });
                put_varint(out, code);
                out.extend_from_slice(if application { &[0] } else { &[0, 0] });
            }
        }
    }
}

/// CRYPTO frames of `message` cut at `cuts` (rising offsets), in order; to be shuffled at will.
pub fn crypto_frames<'a>(message: &'a [u8], cuts: &[usize]) -> Vec<Frame<'a>> {
    let mut frames = Vec::with_capacity(cuts.len() + 1);
    let mut start = 0;
    for cut in cuts.iter().copied().chain([message.len()]) {
        if cut > start && cut <= message.len() {
            frames.push(Frame::Crypto { offset: start as u64, data: &message[start..cut] });
            start = cut;
        }
    }
    frames
}

/// An Initial to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialRepr {
    /// version, one with known keys
    pub version: Version,
    /// destination connection id, at most 20 bytes
    pub dcid: Vec<u8>,
    /// source connection id, at most 20 bytes
    pub scid: Vec<u8>,
    /// token
    pub token: Vec<u8>,
    /// packet number
    pub number: u32,
    /// bytes of it that are sent, 1 to 4
    pub number_len: usize,
}

impl InitialRepr {
    /// A client's first Initial: number 0 in one byte, no token.
    pub fn first(version: Version, dcid: &[u8], scid: &[u8]) -> Self {
        Self {
            version,
            dcid: dcid.to_vec(),
            scid: scid.to_vec(),
            token: Vec::new(),
            number: 0,
            number_len: 1,
        }
    }

    /// The sealed packet. Keys come from `key_dcid`, the client's first destination id, and `side`; PADDING
    /// frames after the others make the packet `size` bytes long (RFC 9000 §14.1 wants 1,200 of a client's
    /// datagram), or as long as it has to be. `None` for a version without known keys.
    pub fn seal(&self, side: Side, key_dcid: &[u8], frames: &[Frame<'_>], size: usize) -> Option<Vec<u8>> {
        let keys = Keys::initial(self.version, key_dcid, side)?;
        let number_len = self.number_len.clamp(1, 4);
        let mut payload = Vec::new();
        for frame in frames {
            frame.emit(self.version, &mut payload);
        }
        let mut header = vec![0xc0 | u8::from(self.version.is_v2()) << 4 | (number_len - 1) as u8];
        header.extend_from_slice(&self.version.0.to_be_bytes());
        for id in [&self.dcid, &self.scid] {
            let id = &id[..id.len().min(20)];
            header.push(id.len() as u8);
            header.extend_from_slice(id);
        }
        put_varint(&mut header, self.token.len() as u64);
        header.extend_from_slice(&self.token);
        // Two bytes of length, number, payload, tag of 16; the payload is long enough for the sample.
        let fixed = header.len() + 2 + number_len + 16;
        let len = payload.len().max(size.saturating_sub(fixed)).max(4 - number_len);
        payload.resize(len.min(0x3fff - number_len - 16), 0);
        let length = (number_len + payload.len() + 16) as u16 | 0x4000;
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&self.number.to_be_bytes()[4 - number_len..]);
        Some(keys.seal(&header, self.number, number_len, &payload))
    }
}

fn long_header(first: u8, version: Version, dcid: &[u8], scid: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    out.extend_from_slice(&version.0.to_be_bytes());
    for id in [dcid, scid] {
        let id = &id[..id.len().min(255)];
        out.push(id.len() as u8);
        out.extend_from_slice(id);
    }
    out
}

/// A Retry of v1 or v2, with its integrity tag; `None` for another version.
pub fn retry(
    version: Version,
    dcid: &[u8],
    scid: &[u8],
    token: &[u8],
    original_dcid: &[u8],
) -> Option<Vec<u8>> {
    // RFC 9369 §3.2: a Retry of v2 has type 0.
    let mut out = long_header(if version.is_v2() { 0xcf } else { 0xff }, version, dcid, scid);
    out.extend_from_slice(token);
    let tag = retry_tag(version, original_dcid, &out)?;
    out.extend_from_slice(&tag);
    Some(out)
}

/// A version negotiation (RFC 9000 §17.2.1).
pub fn version_negotiation(dcid: &[u8], scid: &[u8], versions: &[Version]) -> Vec<u8> {
    let mut out = long_header(0xc0, Version::NEGOTIATION, dcid, scid);
    for version in versions {
        out.extend_from_slice(&version.0.to_be_bytes());
    }
    out
}

/// A packet with a short header around opaque bytes: what the rest of a connection looks like from outside.
pub fn short_packet(dcid: &[u8], opaque: &[u8]) -> Vec<u8> {
    [&[0x43], dcid, opaque].concat()
}
