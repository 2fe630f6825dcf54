//! QUIC in a flow: told by the first long header, named once the hello is joined.

use super::{News, Side, plain};
use crate::protocol::{Certainty, Protocol, Recognition};
use crate::quic::{
    Chlo, CryptoAssembler, GquicView, LongView, PacketKind, Rekey, Step, Version, looks_like_quic,
};
use crate::tls;

/// Datagrams after which a hello is no longer waited for.
const PATIENCE: u8 = 20;

/// The joining of one flow's hello.
#[derive(Debug, Default)]
pub(super) struct Flow {
    assembler: Option<Box<CryptoAssembler>>,
    client: Option<Side>,
    fed: u8,
}

/// Short headers of one side: the same connection id, all else protected (RFC 9000 §17.3).
#[derive(Debug, Default)]
pub(super) struct Short {
    id: [u8; 8],
    firsts: u64,
    aligned: bool,
    run: u8,
}

impl Short {
    /// Takes a datagram with a short header's form; true when enough of them agree. The id has to have eight
    /// bytes or more. The first byte's low bits are masked and so vary; those of OpenVPN, which has the same
    /// form, are an opcode and a key id of 0.
    pub(super) fn take(&mut self, payload: &[u8]) -> bool {
        let Some(id) = payload.get(1..9).and_then(<[u8]>::first_chunk).filter(|_| payload.len() >= 25) else {
            return false;
        };
        if *id != self.id || self.run == 0 {
            *self = Self { id: *id, aligned: true, ..Self::default() };
        }
        let spread = id.iter().any(|&byte| byte != id[0]);
        self.firsts |= 1 << (payload[0] & 0x3f);
        self.aligned &= payload[0] & 7 == 0;
        self.run = self.run.saturating_add(1);
        self.run >= 4 && self.firsts.count_ones() >= 2 && !self.aligned && spread
    }
}

/// Whether a datagram holds the refusal or hello of an early Google server, which names no version: the tag,
/// a count of entries, and the entries' first tag in letters.
pub(super) fn is_google_reject(payload: &[u8]) -> bool {
    if payload.len() < 64 || payload[0] & 0x80 != 0 || payload[0] & 0x01 != 0 {
        return false;
    }
    let window = &payload[..payload.len().min(96)];
    let at = memchr::memmem::find(window, b"REJ\0").or_else(|| memchr::memmem::find(window, b"SHLO"));
    at.and_then(|at| payload.get(at + 4..at + 12)).is_some_and(|rest| {
        let letters = rest[4..7].iter().all(u8::is_ascii_uppercase);
        (1..=64).contains(&rest[0]) && rest[1..4] == [0; 3] && letters
    })
}

/// Whether a datagram is worth the work.
pub(super) fn may_be(payload: &[u8]) -> bool {
    // The fixed bit, or Google's public header with a version flag.
    looks_like_quic(payload) || GquicView::parse(payload).is_some()
}

impl Flow {
    /// Bytes of what is being joined.
    pub(super) fn held_bytes(&self) -> usize {
        self.assembler.as_ref().map_or(0, |assembler| size_of::<CryptoAssembler>() + assembler.held_bytes())
    }

    /// Takes a datagram: the protocol is told at once, its name when the hello is whole. The client is who
    /// sent the first Initial that opens with a client's keys, whoever the flow's opener is taken to be.
    pub(super) fn take(&mut self, side: Side, payload: &[u8]) -> Option<News> {
        self.fed = self.fed.saturating_add(1);
        let assembler = self.assembler.get_or_insert_with(|| Box::new(CryptoAssembler::new(Rekey::Any)));
        if self.client.is_some_and(|client| client != side) {
            assembler.server(payload);
            return (self.fed >= PATIENCE).then_some(News::Final(None));
        }
        let step = assembler.client(payload);
        if assembler.datagrams() > 0 || assembler.chlo().is_some() {
            self.client = Some(side);
        }
        match step {
            Step::Hello => Some(News::done(recognition(assembler))),
            _ if self.fed >= PATIENCE => Some(News::Final(None)),
            Step::NeedMore => Some(News::Told(recognition(assembler))),
            Step::Unreadable(_) | Step::NotQuic(_) => by_header(payload),
        }
    }
}

/// What a header alone shows: a known version, and sizes that a client's first packet must have.
fn by_header(payload: &[u8]) -> Option<News> {
    let version = match GquicView::parse(payload) {
        Some(view) => view.version,
        None => {
            let view = LongView::parse(payload).ok()?;
            let fits = match view.kind {
                PacketKind::VersionNegotiation => negotiates(&view),
                // RFC 9000 §14.1: a client's Initial fills 1,200 bytes; what looks so and is short is junk.
                _ if view.version.is_grease() => payload.len() >= 1200 && !view.truncated,
                _ => view.version.is_known() && !view.truncated,
            };
            if !fits {
                return None;
            }
            view.version
        }
    };
    let name = if version == Version::NEGOTIATION { "negotiation".to_owned() } else { version.name() };
    Some(News::Told(plain(Protocol::Quic, &name, Certainty::Pattern)))
}

/// A version negotiation that lists at least one version we know.
fn negotiates(view: &LongView<'_>) -> bool {
    let mut versions = view.versions();
    !view.token.is_empty()
        && view.token.len() % 4 == 0
        && versions.any(|version| version.is_known() && !version.is_grease())
}

fn recognition(assembler: &CryptoAssembler) -> Recognition {
    let version = assembler.version().map_or_else(String::new, Version::name);
    let mut told = plain(Protocol::Quic, &version, Certainty::Parsed);
    if let Some(hello) = assembler.hello().and_then(|bytes| tls::ClientHello::parse(bytes).ok()) {
        told.name = hello.normalised_name().unwrap_or_default();
        told.fingerprint = tls::ja4(&hello, tls::Ja4Transport::Quic);
    } else if let Some(name) = assembler.chlo().as_ref().and_then(Chlo::sni) {
        told.name = tls::normalise_name(name);
    }
    told
}
