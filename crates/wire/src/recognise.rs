//! What a flow is, from its first bytes: the classifier that the flow tracker drives.
//!
//! A [`Recogniser`] sits in every flow and is fed until it says it is done, so that a flow's later packets
//! cost nothing. It looks at structure, not at ports: a port may only raise the certainty of a pattern that
//! is short. State is a few bytes; what needs more (QUIC over several datagrams, the shape of a media
//! stream) is boxed when the first packets ask for it, and dropped with the decision. A flow picked up in
//! its middle is only named by messages that check themselves.

mod datagram;
mod named;
mod quic;
mod stream;

use crate::ike;
use crate::malformed::Malformed;
use crate::packet::number;
use crate::protocol::{Certainty, Protocol, Recognition};

/// Which end of the flow sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// the end that opened the flow: sender of the SYN, or of the first packet seen
    Initiator,
    /// the other end
    Responder,
}

/// The flow's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// port of the end that opened the flow
    pub initiator: u16,
    /// port of the other end
    pub responder: u16,
}

impl Ports {
    /// Whether either end uses `port`.
    pub const fn has(self, port: u16) -> bool {
        self.initiator == port || self.responder == port
    }
}

/// A TCP connection as far as it is known: the contiguous bytes from the start, for each side.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// bytes of the end that opened the connection, from its first; at most [`Recogniser::PREFIX`] are read
    pub initiator: &'a [u8],
    /// bytes of the other end
    pub responder: &'a [u8],
    /// ports
    pub ports: Ports,
    /// no SYN was seen: the bytes begin somewhere in the connection, at the start of a segment
    pub midstream: bool,
}

/// The classifier of one flow.
#[derive(Debug, Default)]
pub struct Recogniser {
    done: bool,
    /// protocol told last
    told: Option<Protocol>,
    /// calls so far that told nothing new
    looks: u16,
    datagrams: datagram::State,
    stream: stream::State,
}

impl Recogniser {
    /// Bytes of each side that are worth keeping for [`Self::stream`]: the largest first flights are
    /// hellos with post-quantum key shares and server flights with certificates.
    pub const PREFIX: usize = 16 * 1024;

    /// A flow of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing more can be learned: the flow needs not be fed, and its bytes not be kept.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// The protocol told last.
    pub const fn protocol(&self) -> Option<Protocol> {
        self.told
    }

    /// Bytes held beside the classifier itself, for a tracker that counts its memory.
    pub fn held_bytes(&self) -> usize {
        self.datagrams.held_bytes()
    }

    /// Looks at a TCP connection after its contiguous bytes grew. `Some` when there is news: the protocol,
    /// or more about it. A later answer replaces an earlier one.
    pub fn stream(&mut self, stream: &Stream<'_>) -> Option<Recognition> {
        if self.done {
            return None;
        }
        let news = stream::look(self, stream);
        self.note(news)
    }

    /// Looks at the payload of a UDP datagram. `Some` as in [`Self::stream`].
    pub fn datagram(&mut self, side: Side, payload: &[u8], ports: Ports) -> Option<Recognition> {
        if self.done {
            return None;
        }
        let news = datagram::look(self, side, payload, ports);
        self.note(news)
    }

    /// Looks at the payload of an IP packet that is neither TCP nor UDP: `protocol` is its IANA number.
    pub fn raw(&mut self, protocol: u8, payload: &[u8]) -> Option<Recognition> {
        if self.done {
            return None;
        }
        self.done = true;
        let news = match protocol {
            number::ESP if ike::Esp::parse(payload).is_ok() => Some("esp"),
            number::AH if ike::Ah::parse(payload).is_ok() => Some("ah"),
            _ => None,
        };
        let news = news.map(|version| plain(Protocol::Esp, version, Certainty::Parsed));
        self.note(news)
    }

    /// Ends the watch and frees what it held.
    fn finish(&mut self) {
        self.done = true;
        self.datagrams = datagram::State::default();
    }

    fn note(&mut self, news: Option<Recognition>) -> Option<Recognition> {
        match &news {
            Some(recognition) => self.told = Some(recognition.protocol),
            None => self.looks = self.looks.saturating_add(1),
        }
        news
    }
}

/// What a look brought.
enum News {
    /// nothing yet
    Nothing,
    /// this, and there may be more
    Told(Recognition),
    /// this or nothing, and no more
    Final(Option<Recognition>),
}

impl News {
    /// All that can be learned.
    const fn done(recognition: Recognition) -> Self {
        Self::Final(Some(recognition))
    }
}

/// More bytes may decide.
struct More;

/// A recognition without name or fingerprint.
pub(crate) fn plain(protocol: Protocol, version: &str, certainty: Certainty) -> Recognition {
    Recognition {
        protocol,
        version: version.to_owned(),
        name: String::new(),
        fingerprint: String::new(),
        certainty,
    }
}

/// Whether a parse broke because bytes are still to come.
pub(crate) const fn is_short(malformed: &Malformed) -> bool {
    matches!(malformed.found, crate::malformed::Found::Bytes(_))
}
