//! Calls: STUN, TURN, media over RTP, and the DTLS of WebRTC.
//!
//! A call as a box sees it: binding requests, then media between the same two ports; or an allocation at a
//! relay; or a DTLS handshake and encrypted records. [`answer`] is the far end, again a pure function.

use core::fmt;
use core::net::IpAddr;

use okno_wire::stun::{COOKIE, Class, Repr};
use okno_wire::{Endpoint, dtls, rtp};

use super::Speech;
use crate::net::{Net, random};

/// Methods and attributes (https://www.iana.org/assignments/stun-parameters).
pub mod number {
    /// binding
    pub const BINDING: u16 = 1;
    /// allocate (TURN)
    pub const ALLOCATE: u16 = 3;
    /// MAPPED-ADDRESS
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// ERROR-CODE
    pub const ERROR_CODE: u16 = 0x0009;
    /// REALM
    pub const REALM: u16 = 0x0014;
    /// NONCE
    pub const NONCE: u16 = 0x0015;
    /// REQUESTED-TRANSPORT
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// XOR-MAPPED-ADDRESS
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
}

/// Part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// DTLS as WebRTC does it, then records
    Dtls,
    /// binding, then media of 20 ms
    Media,
    /// media of 20 ms alone, as behind a relay
    Rtp,
    /// binding requests
    Stun,
    /// allocations at a relay
    Turn,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] = [Self::Dtls, Self::Media, Self::Rtp, Self::Stun, Self::Turn];

    /// Its name, as the scheme of an input and as an arm's variant.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dtls => "dtls",
            Self::Media => "media",
            Self::Rtp => "rtp",
            Self::Stun => "stun",
            Self::Turn => "turn",
        }
    }

    /// By name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == name)
    }

    /// The caller's side; DTLS with `hello`.
    pub fn client(self, hello: Hello, net: &dyn Net) -> Client {
        let word = || u32::from_be_bytes(random(net));
        Client {
            part: self,
            hello,
            seed: u64::from_be_bytes(random(net)),
            asked: [0; 12],
            ssrc: word() | 1,
            sequence: word() as u16 & 0x7fff,
            timestamp: word() & 0x7fff_ffff,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which DTLS hello (https://github.com/net4people/bbs/issues/603: the first was dropped, the others passed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hello {
    /// pion's of DTLS 1.2
    Pion,
    /// pion's parts in another order and choice
    Randomised,
    /// DTLS 1.3
    Version13,
}

impl Hello {
    /// As an arm's variant.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pion => "dtls-pion",
            Self::Randomised => "dtls-randomised",
            Self::Version13 => "dtls-1.3",
        }
    }
}

/// A caller.
#[derive(Clone, Debug)]
pub struct Client {
    part: Part,
    hello: Hello,
    seed: u64,
    asked: [u8; 12],
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Client {
    fn request(&mut self, method: u16, net: &dyn Net) -> Vec<u8> {
        self.asked = random(net);
        // RFC 8656 §18.8: 17 is UDP.
        let wants = (number::REQUESTED_TRANSPORT, vec![17, 0, 0, 0]);
        let attributes = if method == number::ALLOCATE { vec![wants] } else { Vec::new() };
        Repr { method, class: Class::Request, transaction: self.asked, attributes }.emit()
    }

    const fn method(&self) -> u16 {
        if matches!(self.part, Part::Turn) { number::ALLOCATE } else { number::BINDING }
    }
}

impl Speech for Client {
    fn steps(&self) -> usize {
        usize::from(self.part != Part::Rtp)
    }

    fn open(&mut self, _: usize, net: &dyn Net) -> Vec<u8> {
        if self.part != Part::Dtls {
            return self.request(self.method(), net);
        }
        let repr = match self.hello {
            Hello::Pion => dtls::preset::pion(self.seed),
            Hello::Randomised => dtls::preset::randomised(self.seed),
            Hello::Version13 => dtls::preset::dtls13(self.seed),
        };
        dtls::preset::datagram(&repr)
    }

    fn accepts(&mut self, _: usize, bytes: &[u8]) -> bool {
        if self.part == Part::Dtls {
            return dtls::looks_like_dtls(bytes);
        }
        // A relay without credentials refuses with 401, which is an answer (RFC 8656 §7.1).
        Repr::parse(bytes).is_ok_and(|answer| {
            answer.transaction == self.asked && matches!(answer.class, Class::Success | Class::Error)
        })
    }

    fn data(&mut self, index: u32, len: usize, net: &dyn Net) -> Vec<u8> {
        match self.part {
            Part::Stun | Part::Turn => self.request(self.method(), net),
            Part::Media | Part::Rtp => {
                // Opus, 20 ms at 48 kHz: 960 ticks (RFC 7587 §4.1), a dynamic payload type.
                let header = rtp::Header {
                    marker: index == 0,
                    payload_type: 111,
                    sequence: self.sequence.wrapping_add(index as u16),
                    timestamp: self.timestamp.wrapping_add(index.wrapping_mul(960)),
                    ssrc: self.ssrc,
                    sources: 0,
                    extension: false,
                    padding: false,
                };
                let mut bytes = vec![0; len.max(20)];
                net.fill_random(&mut bytes);
                bytes[..12].copy_from_slice(&header.emit());
                bytes
            }
            Part::Dtls => {
                let mut body = vec![0; len.max(24)];
                net.fill_random(&mut body);
                dtls::record(23, 0xfefd, 1, u64::from(index), &body)
            }
        }
    }

    fn key(&self, bytes: &[u8]) -> Option<[u8; 8]> {
        match self.part {
            // The answer carries the transaction id (RFC 8489 §5).
            Part::Stun | Part::Turn => bytes.get(12..20)?.try_into().ok(),
            Part::Media | Part::Rtp | Part::Dtls => bytes.last_chunk::<8>().copied(),
        }
    }
}

/// An address under the cookie and the transaction id (RFC 8489 §14.2).
pub fn xor_address(end: Endpoint, transaction: &[u8; 12]) -> Vec<u8> {
    let mask = [&COOKIE.to_be_bytes()[..], transaction].concat();
    let (family, octets) = match end.ip {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let port = end.port ^ (COOKIE >> 16) as u16;
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    value.extend(octets.iter().zip(&mask).map(|(octet, mask)| octet ^ mask));
    value
}

/// What the far end answers to one message of a caller at `from`; `None` when it is none. Media comes back
/// as it is and is not this function's business.
///
/// The helper tells a caller the address it is seen from, as every STUN server does; the probe does not
/// keep it.
pub fn answer(bytes: &[u8], from: Endpoint, fill: &mut dyn FnMut(&mut [u8])) -> Option<Vec<u8>> {
    if let Ok(request) = Repr::parse(bytes) {
        return stun_answer(&request, from);
    }
    if !dtls::looks_like_dtls(bytes) {
        return None;
    }
    let record = dtls::records(bytes).next()?.ok()?;
    if record.kind != okno_wire::tls::code::content::HANDSHAKE || record.epoch != 0 {
        return None;
    }
    let mut cookie = [0; 20];
    fill(&mut cookie);
    // RFC 6347 §4.2.1: a hello without cookie is asked to come again; nothing is kept.
    Some(dtls::hello_verify(&cookie))
}

fn stun_answer(request: &Repr, from: Endpoint) -> Option<Vec<u8>> {
    let (class, attributes) = match (request.class, request.method) {
        (Class::Request, number::BINDING) => {
            let mapped = xor_address(from, &request.transaction);
            (Class::Success, vec![(number::XOR_MAPPED_ADDRESS, mapped)])
        }
        (Class::Request, number::ALLOCATE) => (
            // RFC 8489 §9.2.4: 401 with a realm and a nonce. Nobody is relayed.
            Class::Error,
            vec![
                (number::ERROR_CODE, vec![0, 0, 4, 1]),
                (number::REALM, b"okno".to_vec()),
                (number::NONCE, b"none".to_vec()),
            ],
        ),
        _ => return None,
    };
    Some(Repr { method: request.method, class, transaction: request.transaction, attributes }.emit())
}
