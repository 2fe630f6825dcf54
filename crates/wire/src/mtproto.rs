//! MTProto's transports, of Telegram (https://core.telegram.org/mtproto/mtproto-transports).
//!
//! The obfuscated transport carries its own key: bytes 8–40 of the first 64 are an AES-256 key, 40–56 the
//! counter, and bytes 56–60, decrypted, name the framing. One AES block decides, so the cipher is here:
//! `ring` lends no bare block encryption. A proxy with a secret mixes it into the key (SHA-256 of key and
//! secret), and such a flow cannot be told from noise. FakeTLS is told by its hello, elsewhere.

use crate::bytes::{be32, le32};
use crate::malformed::Malformed;

/// Framing of messages in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Framing {
    /// length in one byte or four
    Abridged,
    /// length in four bytes
    Intermediate,
    /// length in four bytes, padded at random
    Padded,
    /// length, number, message, CRC-32
    Full,
}

impl Framing {
    /// The name in the protocol's documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abridged => "abridged",
            Self::Intermediate => "intermediate",
            Self::Padded => "padded",
            Self::Full => "full",
        }
    }

    const fn of_tag(tag: u32) -> Option<Self> {
        match tag {
            0xefef_efef => Some(Self::Abridged),
            0xeeee_eeee => Some(Self::Intermediate),
            0xdddd_dddd => Some(Self::Padded),
            _ => None,
        }
    }
}

/// The obfuscated transport's first 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obfuscated {
    /// framing inside
    pub framing: Framing,
    /// data centre asked for; negative for media, above 10,000 for test centres
    pub centre: i16,
}

/// Bytes of the obfuscated transport's opening.
pub const OPENING: usize = 64;

impl Obfuscated {
    /// Decrypts the tag with the key that stands before it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(opening) = bytes.first_chunk::<OPENING>() else {
            return Err(Malformed::short("mtproto", 0, "64 bytes of opening", bytes.len()));
        };
        let (key, counter) = key_and_counter(opening);
        // Bytes 48–63 are the fourth block of the key stream (counter mode, big-endian).
        let stream = aes256(&key, (counter.wrapping_add(3)).to_be_bytes());
        let plain: [u8; 8] = core::array::from_fn(|at| opening[56 + at] ^ stream[8 + at]);
        let tag = be32(&plain, 0).unwrap_or(0);
        match Framing::of_tag(tag) {
            Some(framing) => Ok(Self { framing, centre: i16::from_le_bytes([plain[4], plain[5]]) }),
            None => Err(Malformed::value("mtproto", 56, "a framing's tag, encrypted", u64::from(tag))),
        }
    }

    /// Writes an opening: `random` with the tag and the centre encrypted in place.
    pub fn emit(&self, random: &[u8; OPENING]) -> [u8; OPENING] {
        let (key, counter) = key_and_counter(random);
        let stream = aes256(&key, (counter.wrapping_add(3)).to_be_bytes());
        let tag = match self.framing {
            Framing::Intermediate => 0xee,
            Framing::Padded => 0xdd,
            _ => 0xef,
        };
        let [low, high] = self.centre.to_le_bytes();
        let plain = [tag, tag, tag, tag, low, high, random[62], random[63]];
        let mut bytes = *random;
        for (at, byte) in plain.iter().enumerate() {
            bytes[56 + at] = byte ^ stream[8 + at];
        }
        bytes
    }
}

fn key_and_counter(opening: &[u8; OPENING]) -> ([u8; 32], u128) {
    let (mut key, mut counter) = ([0; 32], [0; 16]);
    key.copy_from_slice(&opening[8..40]);
    counter.copy_from_slice(&opening[40..56]);
    (key, u128::from_be_bytes(counter))
}

/// The framing of a connection that is not obfuscated. All but the first forms start with a tag; their
/// first message has no key yet: eight zero bytes, an id, a length
/// (https://core.telegram.org/mtproto/description).
pub fn plain(bytes: &[u8]) -> Result<Framing, Malformed> {
    let first = bytes.first().copied().unwrap_or(0);
    let (framing, at) = match (first, be32(bytes, 0)) {
        (0xef, _) => (Framing::Abridged, 1),
        (_, Some(0xeeee_eeee)) => (Framing::Intermediate, 4),
        (_, Some(0xdddd_dddd)) => (Framing::Padded, 4),
        (_, Some(_)) => (Framing::Full, 0),
        _ => return Err(Malformed::short("mtproto", 0, "a framing's tag", bytes.len())),
    };
    let (length, at) = match framing {
        Framing::Abridged => match bytes.get(at) {
            Some(0x7f) => (le32(bytes, at).map(|word| (word >> 8) as usize * 4), at + 4),
            other => (other.map(|&words| usize::from(words) * 4), at + 1),
        },
        Framing::Full => (le32(bytes, 0).map(|length| length as usize), 8),
        _ => (le32(bytes, at).map(|length| length as usize), at + 4),
    };
    let Some(length) = length else {
        return Err(Malformed::short("mtproto", at, "a message's length", bytes.len()));
    };
    // Numbers start at 0 in the full framing.
    if framing == Framing::Full && le32(bytes, 4) != Some(0) {
        return Err(Malformed::value("mtproto", 4, "number 0", u64::from(le32(bytes, 4).unwrap_or(1))));
    }
    let message = bytes.get(at..).unwrap_or(&[]);
    let (Some(&[0, 0, 0, 0, 0, 0, 0, 0]), Some(inner)) = (message.first_chunk::<8>(), le32(message, 16))
    else {
        return Err(Malformed::short("mtproto", at, "eight zero bytes, an id, a length", message.len()));
    };
    let around = if framing == Framing::Full { 12 } else { 0 };
    let fits = length.saturating_sub(20 + around + inner as usize);
    if inner == 0 || inner as usize + 20 > length || (framing != Framing::Padded && fits != 0) {
        return Err(Malformed::value("mtproto", at + 16, "a length that fits its frame", u64::from(inner)));
    }
    Ok(framing)
}

/// Whether both sides speak a bare framing with a key agreed before: a tag, then a frame that ends with the
/// client's bytes and holds a key id, a message key and whole cipher blocks; the server's frames likewise.
pub fn keyed(client: &[u8], server: &[u8]) -> Option<Framing> {
    let (framing, at) = match client {
        [0xef, ..] => (Framing::Abridged, 1),
        [0xee, 0xee, 0xee, 0xee, ..] => (Framing::Intermediate, 4),
        _ => return None,
    };
    let one = |bytes: &[u8]| {
        let (length, at): (usize, usize) = match (framing, bytes) {
            (Framing::Abridged, [0x7f, ..]) => ((le32(bytes, 0)? >> 8) as usize * 4, 4),
            (Framing::Abridged, [words, ..]) => (usize::from(*words) * 4, 1),
            _ => (le32(bytes, 0)? as usize, 4),
        };
        let frame = bytes.get(at..at.checked_add(length)?)?;
        // https://core.telegram.org/mtproto/description: key id 8, message key 16, then AES blocks.
        let fits = length >= 40 && (length - 24) % 16 == 0 && frame[..8].iter().any(|&byte| byte != 0);
        fits.then_some(at + length)
    };
    let client_end = at + one(&client[at..])?;
    (client_end == client.len() && one(server)? <= server.len()).then_some(framing)
}

/// Whether a datagram is one of the calls' relays: a 16-byte tag, then twelve bytes 0xff, which mark what
/// is for the relay itself (tgcalls and libtgvoip, `VoIPController::SendUdpPing`).
pub fn is_relay(bytes: &[u8]) -> bool {
    bytes.len() >= 32
        && bytes.len() % 4 == 0
        && bytes[16..28].iter().all(|&byte| byte == 0xff)
        && bytes[..16].iter().any(|&byte| byte != 0xff && byte != 0)
}

/// One block of AES-256 (FIPS 197).
fn aes256(key: &[u8; 32], block: [u8; 16]) -> [u8; 16] {
    let mut words = [[0_u8; 4]; 60];
    for (at, word) in words.iter_mut().take(8).enumerate() {
        word.copy_from_slice(&key[4 * at..4 * at + 4]);
    }
    let mut round_constant = 1_u8;
    for at in 8..60 {
        let mut word = words[at - 1];
        if at % 8 == 0 {
            word.rotate_left(1);
            word = word.map(|byte| SBOX[usize::from(byte)]);
            word[0] ^= round_constant;
            round_constant = double(round_constant);
        } else if at % 8 == 4 {
            word = word.map(|byte| SBOX[usize::from(byte)]);
        }
        words[at] = core::array::from_fn(|byte| words[at - 8][byte] ^ word[byte]);
    }
    let mut state = block;
    add_key(&mut state, &words[..4]);
    for round in 1..=14 {
        let substituted = state.map(|byte| SBOX[usize::from(byte)]);
        // Row r of the column-major state moves left by r columns.
        state = core::array::from_fn(|at| substituted[(at + 4 * (at % 4)) % 16]);
        if round < 14 {
            mix_columns(&mut state);
        }
        add_key(&mut state, &words[4 * round..4 * round + 4]);
    }
    state
}

fn add_key(state: &mut [u8; 16], words: &[[u8; 4]]) {
    for (byte, key) in state.iter_mut().zip(words.iter().flatten()) {
        *byte ^= key;
    }
}

fn mix_columns(state: &mut [u8; 16]) {
    for column in state.chunks_exact_mut(4) {
        let all = column[0] ^ column[1] ^ column[2] ^ column[3];
        let first = column[0];
        for row in 0..4 {
            let next = if row == 3 { first } else { column[row + 1] };
            column[row] ^= all ^ double(column[row] ^ next);
        }
    }
}

const fn double(byte: u8) -> u8 {
    (byte << 1) ^ if byte & 0x80 != 0 { 0x1b } else { 0 }
}

/// The substitution box, computed: inverses by walking the field with the generator 3 and its inverse.
const SBOX: [u8; 256] = {
    let mut sbox = [0; 256];
    let (mut p, mut q) = (1_u8, 1_u8);
    loop {
        p ^= double(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if q & 0x80 != 0 {
            q ^= 0x09;
        }
        let mixed = q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        sbox[p as usize] = mixed ^ 0x63;
        if p == 1 {
            break;
        }
    }
    sbox[0] = 0x63;
    sbox
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_gives_the_standards_example() {
        // FIPS 197 appendix C.3.
        let key = core::array::from_fn(|at| at as u8);
        let block = core::array::from_fn(|at| at as u8 * 0x11);
        let expected: [u8; 16] = 0x8ea2_b7ca_5167_45bf_eafc_4990_4b49_6089_u128.to_be_bytes();
        assert_eq!(aes256(&key, block), expected);
    }

    #[test]
    fn an_opening_is_told_by_its_own_key_alone() {
        let random: [u8; OPENING] = core::array::from_fn(|at| (at as u8).wrapping_mul(97).wrapping_add(41));
        for framing in [Framing::Abridged, Framing::Intermediate, Framing::Padded] {
            let opening = Obfuscated { framing, centre: -2 };
            assert_eq!(Obfuscated::parse(&opening.emit(&random)), Ok(opening));
        }
        assert!(Obfuscated::parse(&random).is_err(), "random bytes are no opening");
    }
}
