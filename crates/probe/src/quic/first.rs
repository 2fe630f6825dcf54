//! First datagrams by hand: any version, any name, and what came back.

use core::time::Duration;

use okno_model::Failure;
use okno_wire::quic::{
    Frame, InitialRepr, Keys, LongView, Packet, PacketKind, Side, Version, crypto_frames, frames, packets,
};
use okno_wire::tls::{ServerHello, preset};

use crate::net::{Datagrams, Endpoint, Instant, UdpSetup, random, receive};
use crate::trace::Scope;

/// A first datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstInitial<'a> {
    /// version on the wire; one that nobody speaks asks for a negotiation (RFC 9000 §15: 0x?a?a?a?a)
    pub version: u32,
    /// name in the hello
    pub name: Option<&'a str>,
    /// size of the datagram; below 1,200 a server does not answer (RFC 9000 §14.1)
    pub size: usize,
    /// own port; 0 takes a free one
    pub own_port: u16,
    /// how often it is sent again while nothing comes, with doubling pauses from 0.5 s
    pub retries: u32,
    /// most time
    pub patience: Duration,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuicCame {
    /// an Initial with a ServerHello
    ServerHello,
    /// an Initial or a Handshake packet without a readable hello: a server answered all the same
    Answer,
    /// a Retry
    Retry,
    /// version negotiation, with the server's list
    Negotiation(Vec<u32>),
    /// a close, with its code (RFC 9000 §20)
    Close(u64),
    /// something that is no QUIC of this connection
    Other,
    /// nothing in time
    Silence,
    /// an ICMP error or another failure
    Failed(Failure),
}

impl QuicCame {
    /// OONI's name; `None` where a server answered. A close is an answer: the hello is not meant to lead to a
    /// connection, and a server may not like it (no common signature scheme), but it has seen it.
    pub const fn failure(&self) -> Option<Failure> {
        match self {
            Self::ServerHello | Self::Answer | Self::Retry | Self::Negotiation(_) | Self::Close(_) => None,
            Self::Other => Some(Failure::QuicHandshake),
            Self::Silence => Some(Failure::GenericTimeout),
            Self::Failed(failure) => Some(*failure),
        }
    }

    /// One word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ServerHello => "server_hello",
            Self::Answer => "answer",
            Self::Retry => "retry",
            Self::Negotiation(_) => "version_negotiation",
            Self::Close(_) => "close",
            Self::Other => "other",
            Self::Silence => "silence",
            Self::Failed(_) => "failed",
        }
    }
}

/// The answer to a first datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicFirst {
    /// what
    pub came: QuicCame,
    /// when the first datagram went out
    pub sent: Instant,
    /// when the answer came, or patience was over
    pub at: Instant,
    /// datagrams sent
    pub datagrams: u32,
    /// bytes sent
    pub sent_bytes: u64,
    /// bytes of the datagram that came
    pub received_bytes: u64,
    /// its TTL, where the system tells
    pub ttl: Option<u8>,
}

/// Sends an Initial with a hello like Chrome's and waits for what comes back.
pub async fn first_initial(scope: &Scope, remote: Endpoint, what: &FirstInitial<'_>) -> QuicFirst {
    let dcid: [u8; 8] = random(&*scope.world);
    let scid: [u8; 8] = random(&*scope.world);
    let seed = u64::from_be_bytes(random(&*scope.world));
    let version = Version(what.version);
    // An unknown version has no salt; its payload is sealed as version 1's and nobody opens it.
    let sealed_as = if version.salt().is_some() { version } else { Version::V1 };
    let message = preset::quic(seed, what.name, &scid, false).emit();
    let repr = InitialRepr::first(sealed_as, &dcid, &scid);
    let frames = crypto_frames(&message, &[]);
    let mut datagram = repr.seal(Side::Client, &dcid, &frames, what.size).unwrap_or_default();
    if let Some(field) = datagram.get_mut(1..5) {
        field.copy_from_slice(&what.version.to_be_bytes());
    }
    let sent = scope.now();
    let setup = UdpSetup { port: what.own_port, peer: Some(remote), ..UdpSetup::default() };
    let mut first = QuicFirst {
        came: QuicCame::Silence,
        sent,
        at: sent,
        datagrams: 0,
        sent_bytes: 0,
        received_bytes: 0,
        ttl: None,
    };
    match scope.world.udp(setup) {
        Ok(socket) => {
            let ids = (&dcid[..], &scid[..]);
            converse(scope, &*socket, remote, (what, &datagram), ids, &mut first).await;
        }
        Err(error) => first.came = QuicCame::Failed(error.kind.failure()),
    }
    first.at = scope.now();
    first
}

async fn converse(
    scope: &Scope,
    socket: &dyn Datagrams,
    remote: Endpoint,
    (what, datagram): (&FirstInitial<'_>, &[u8]),
    (dcid, scid): (&[u8], &[u8]),
    first: &mut QuicFirst,
) {
    let give_up = scope.now() + what.patience;
    let mut pause = Duration::from_millis(500);
    loop {
        let sent = socket.send_to(datagram, remote, None).map_err(|error| error.kind.failure());
        scope.event("write_to", "udp", Some(remote), scope.now(), sent.map(|()| datagram.len()));
        if let Err(failure) = sent {
            first.came = QuicCame::Failed(failure);
            return;
        }
        first.datagrams += 1;
        first.sent_bytes += datagram.len() as u64;
        let last = first.datagrams > what.retries;
        let until = if last { give_up } else { (scope.now() + pause).min(give_up) };
        pause *= 2;
        while scope.now() < until {
            let from = scope.now();
            match receive(&*scope.world, socket, until.since(from)).await {
                Ok(came) => {
                    scope.event("read_from", "udp", Some(remote), from, Ok(came.bytes.len()));
                    first.received_bytes = came.bytes.len() as u64;
                    first.ttl = came.ttl;
                    first.came = read_answer(&came.bytes, dcid, scid);
                    if first.came != QuicCame::Other {
                        return;
                    }
                }
                Err(error) if error.kind == crate::net::NetErrorKind::TimedOut => break,
                Err(error) => {
                    let failure = error.kind.failure();
                    scope.event("read_from", "udp", Some(remote), from, Err(failure));
                    first.came = QuicCame::Failed(failure);
                    return;
                }
            }
        }
        if scope.now() >= give_up {
            return;
        }
    }
}

/// What a datagram is that came back; answers bear the own id as their destination.
fn read_answer(datagram: &[u8], dcid: &[u8], scid: &[u8]) -> QuicCame {
    let mut came = QuicCame::Other;
    for packet in packets(datagram) {
        let Ok(Packet::Long(view)) = packet else { continue };
        if view.dcid != scid {
            continue;
        }
        let read = match view.kind {
            PacketKind::VersionNegotiation => {
                QuicCame::Negotiation(view.versions().map(|version| version.0).collect())
            }
            PacketKind::Retry => QuicCame::Retry,
            PacketKind::Initial => read_initial(&view, dcid),
            _ => QuicCame::Answer,
        };
        if came == QuicCame::Other || read == QuicCame::ServerHello {
            came = read;
        }
    }
    came
}

fn read_initial(view: &LongView<'_>, dcid: &[u8]) -> QuicCame {
    let keys = Keys::initial(view.version, dcid, Side::Server);
    let Some(opened) = keys.and_then(|keys| keys.open(view).ok()) else { return QuicCame::Answer };
    for frame in frames(&opened.payload, view.version).flatten() {
        match frame {
            Frame::Crypto { data, .. } if ServerHello::parse(data).is_ok() => {
                return QuicCame::ServerHello;
            }
            Frame::ConnectionClose { code, .. } => return QuicCame::Close(code),
            _ => {}
        }
    }
    QuicCame::Answer
}
