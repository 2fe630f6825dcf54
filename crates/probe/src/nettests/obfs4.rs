//! The first flight of obfs4 and what answers it: enough to tell that a bridge is reachable.
//!
//! A bridge answers only those who know its public key and node id, which its bridge line holds. The key
//! exchange itself is left out: 32 random bytes stand for the representative of a key, as they do on the
//! wire, and `AUTH` is not checked. So an answer proves somebody who knows the bridge line, not the bridge's
//! secret key. Source: https://github.com/Yawning/obfs4/blob/master/doc/obfs4-spec.txt §4.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::hmac;

/// Length of a representative, of `AUTH`.
const KEY: usize = 32;
/// Length of a mark and of a MAC: HMAC-SHA256 cut to 128 bits.
const MARK: usize = 16;
/// Longest handshake of either side (§4).
pub const MAX_HANDSHAKE: usize = 8_192;
/// Shortest padding of the client (§4, `ClientMinPadLength`).
pub const MIN_PADDING: usize = 85;
/// Longest padding of the client (§4, `ClientMaxPadLength`).
pub const MAX_PADDING: usize = MAX_HANDSHAKE - KEY - 2 * MARK;
/// Longest padding of the server (§4, `ServerMaxPadLength`).
pub const MAX_SERVER_PADDING: usize = MAX_HANDSHAKE - 2 * KEY - 2 * MARK;

/// What a bridge line says of a bridge: its `cert`.
#[derive(Clone, PartialEq, Eq)]
pub struct Cert {
    /// public key `B`, then node id: the key of every mark
    key: [u8; 52],
}

impl core::fmt::Debug for Cert {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cert(…)")
    }
}

impl Cert {
    /// Reads the `cert` of a bridge line: base64 of the node id (20 bytes) and the public key (32 bytes).
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let (id, public) = (bytes.get(..20)?, bytes.get(20..)?);
        let mut key = [0; 52];
        (public.len() == KEY).then(|| {
            key[..KEY].copy_from_slice(public);
            key[KEY..].copy_from_slice(id);
            Self { key }
        })
    }

    /// The `cert` of a bridge with this node id and public key.
    pub fn of(id: [u8; 20], public: [u8; 32]) -> Self {
        let mut key = [0; 52];
        key[..KEY].copy_from_slice(&public);
        key[KEY..].copy_from_slice(&id);
        Self { key }
    }

    /// As in a bridge line.
    pub fn text(&self) -> String {
        let padded = STANDARD.encode([&self.key[KEY..], &self.key[..KEY]].concat());
        padded.trim_end_matches('=').to_owned()
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; MARK] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        let mut tag = [0; MARK];
        tag.copy_from_slice(&context.sign().as_ref()[..MARK]);
        tag
    }
}

/// `E` of the specification: hours since the Unix epoch, in decimal digits.
fn epoch(seconds: u64) -> String {
    (seconds / 3_600).to_string()
}

/// The client's first flight at `seconds` since the epoch: `X' | P_C | M_C | MAC_C`.
pub fn client_flight(cert: &Cert, representative: [u8; 32], padding: &[u8], seconds: u64) -> Vec<u8> {
    let mark = cert.tag(&[&representative]);
    let mut flight = [&representative[..], padding, &mark].concat();
    let mac = cert.tag(&[&flight, epoch(seconds).as_bytes()]);
    flight.extend(mac);
    flight
}

/// What stands in a peer's bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// it may still come
    More,
    /// a handshake whose marks fit
    Handshake,
    /// as many bytes as a handshake has at most, or a wrong MAC: not this bridge
    Stranger,
}

/// Looks for the mark of `bytes`' first 32 bytes, `before` bytes or more from the start, and checks the MAC
/// that follows it for the hours around `seconds`.
fn seek(cert: &Cert, bytes: &[u8], before: usize, seconds: u64) -> Seen {
    let Some(representative) = bytes.get(..KEY) else { return Seen::More };
    let mark = cert.tag(&[representative]);
    let window = &bytes[..bytes.len().min(MAX_HANDSHAKE)];
    let found = window.get(before..).and_then(|rest| rest.windows(MARK).position(|part| part == mark));
    let Some(at) = found.map(|at| before + at) else {
        return if bytes.len() >= MAX_HANDSHAKE { Seen::Stranger } else { Seen::More };
    };
    let Some(mac) = bytes.get(at + MARK..at + 2 * MARK) else { return Seen::More };
    // Clocks may differ by an hour (§4: the server tries E - 1, E and E + 1).
    let fits = [seconds.saturating_sub(3_600), seconds, seconds + 3_600]
        .into_iter()
        .any(|hour| cert.tag(&[&bytes[..at + MARK], epoch(hour).as_bytes()]) == mac);
    if fits { Seen::Handshake } else { Seen::Stranger }
}

/// What a client sees in the server's bytes.
pub fn server_answer(cert: &Cert, bytes: &[u8], seconds: u64) -> Seen {
    seek(cert, bytes, 2 * KEY, seconds)
}

/// What a bridge sees in a client's bytes.
pub fn client_hello(cert: &Cert, bytes: &[u8], seconds: u64) -> Seen {
    seek(cert, bytes, KEY, seconds)
}

/// A bridge's answer: `Y' | AUTH | P_S | M_S | MAC_S`; random `keys` stand for `Y'` and `AUTH`.
pub fn server_flight(cert: &Cert, keys: [u8; 64], padding: &[u8], seconds: u64) -> Vec<u8> {
    let mark = cert.tag(&[&keys[..KEY]]);
    let mut flight = [&keys[..], padding, &mark].concat();
    let mac = cert.tag(&[&flight, epoch(seconds).as_bytes()]);
    flight.extend(mac);
    flight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cert() -> Cert {
        Cert::of([7; 20], [9; 32])
    }

    #[test]
    fn a_bridge_line_is_read_and_written_back() {
        // A default bridge of Tor Browser.
        let text = "0LDeJH4JzMDtkJJrFphJCiPqKx7loozKN7VNfuukMGfHO0Z8OGdzHVkhVAOfo1mUdv9cMg";
        assert_eq!(Cert::parse(text).unwrap().text(), text);
        assert_eq!(Cert::parse(&text[1..]), None);
        assert_eq!(Cert::parse("?"), None);
    }

    #[test]
    fn both_sides_know_each_others_flights_and_no_others() {
        let (now, cert) = (1_700_000_000, cert());
        let hello = client_flight(&cert, [1; 32], &[2; 100], now);
        assert_eq!(client_hello(&cert, &hello, now + 1_800), Seen::Handshake);
        assert_eq!(client_hello(&cert, &hello, now + 8_000), Seen::Stranger);
        for cut in 0..hello.len() {
            assert_eq!(client_hello(&cert, &hello[..cut], now), Seen::More);
        }
        let answer = server_flight(&cert, [3; 64], &[4; 50], now);
        assert_eq!(server_answer(&cert, &answer, now), Seen::Handshake);
        let other = Cert::of([7; 20], [8; 32]);
        assert_eq!(server_answer(&other, &answer, now), Seen::More);
        assert_eq!(server_answer(&other, &[0; MAX_HANDSHAKE], now), Seen::Stranger);
        let mut forged = answer;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(server_answer(&cert, &forged, now), Seen::Stranger);
    }

    #[test]
    fn the_longest_flights_keep_the_specifications_limit() {
        let hello = client_flight(&cert(), [1; 32], &vec![2; MAX_PADDING], 0);
        let answer = server_flight(&cert(), [1; 64], &vec![2; MAX_SERVER_PADDING], 0);
        assert_eq!((hello.len(), answer.len()), (MAX_HANDSHAKE, MAX_HANDSHAKE));
        assert_eq!(client_hello(&cert(), &hello, 0), Seen::Handshake);
        assert_eq!(server_answer(&cert(), &answer, 0), Seen::Handshake);
    }
}
