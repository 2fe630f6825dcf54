//! The ClientHello joined over frames, packets and datagrams.
//!
//! State belongs to one flow and is bounded: at most [`MAX_HELLO`] bytes and [`MAX_PIECES`] loose pieces,
//! whatever the offsets say. Where pieces overlap, what was joined to the start stays, and of pieces that
//! wait for their turn the one with the lower offset (RFC 9000 §2.2 lets a receiver treat differing bytes as
//! it likes).

use super::frame::{Frame, frames};
use super::gquic::{Chlo, GquicView};
use super::header::{LongView, Packet, PacketKind, packets};
use super::keys::{Keys, Side};
use super::version::Version;
use crate::malformed::Malformed;
use crate::tls::MAX_HELLO;

/// Pieces held that do not touch the start; Chrome scatters a hello over some dozens.
const MAX_PIECES: usize = 256;

/// When keys are derived anew from another connection id than the client's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rekey {
    /// never
    Never,
    /// after a Retry seen from the server (RFC 9001 §5.2)
    AfterRetry,
    /// whenever the first keys fail and the packet's own id opens it: what it carries is a new connection
    #[default]
    Any,
}

/// What a datagram added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// the hello is whole; see [`CryptoAssembler::hello`] or [`CryptoAssembler::chlo`]
    Hello,
    /// it is QUIC; the hello is not whole yet
    NeedMore,
    /// not a long header of a version known here
    NotQuic(Malformed),
    /// it looks like QUIC, but no Initial in it could be opened: what was wrong with the last
    Unreadable(Malformed),
}

/// Joins the client's Initials of one flow.
#[derive(Debug, Default)]
pub struct CryptoAssembler {
    rekey: Rekey,
    keys: Option<(Version, Keys)>,
    first_dcid: Vec<u8>,
    retried: bool,
    google: Option<Version>,
    head: Vec<u8>,
    loose: Vec<(u64, Vec<u8>)>,
    held: usize,
    datagrams: u32,
}

impl CryptoAssembler {
    /// An empty one.
    pub fn new(rekey: Rekey) -> Self {
        Self { rekey, ..Self::default() }
    }

    /// Takes a datagram of the client.
    pub fn client(&mut self, datagram: &[u8]) -> Step {
        if let Some(view) = GquicView::parse(datagram) {
            return self.google(view);
        }
        let mut last = None;
        let mut opened = false;
        for packet in packets(datagram) {
            match packet {
                Ok(Packet::Long(view)) if view.kind == PacketKind::Initial => match self.initial(&view) {
                    Ok(()) => opened = true,
                    Err(malformed) => last = Some(Step::Unreadable(malformed)),
                },
                Ok(Packet::Long(view)) if view.version.is_known() => {}
                Ok(Packet::Long(view)) => {
                    let expected = "known version";
                    last = Some(Step::NotQuic(Malformed::value("quic", 1, expected, view.version.0.into())));
                }
                Ok(Packet::Short(_)) if self.keys.is_some() => {}
                Ok(Packet::Short(bytes)) => {
                    let value = u64::from(bytes[0]);
                    last = Some(Step::NotQuic(Malformed::value("quic", 0, "long header form", value)));
                }
                Err(malformed) => last = Some(Step::NotQuic(malformed)),
            }
        }
        self.datagrams += u32::from(opened);
        match last {
            _ if self.is_whole() => Step::Hello,
            Some(step) if !opened => step,
            _ => Step::NeedMore,
        }
    }

    /// Takes a datagram of the server: a Retry changes the keys.
    pub fn server(&mut self, datagram: &[u8]) {
        if let Some(Ok(Packet::Long(view))) = packets(datagram).next() {
            self.retried |= view.kind == PacketKind::Retry && self.keys.is_some();
        }
    }

    fn google(&mut self, view: GquicView<'_>) -> Step {
        self.google = Some(view.version);
        let Some(_) = view.chlo else { return Step::NeedMore };
        if self.head.is_empty() {
            self.head = view.chlo.map(Chlo::to_bytes).unwrap_or_default();
        }
        if self.is_whole() { Step::Hello } else { Step::NeedMore }
    }

    fn initial(&mut self, view: &LongView<'_>) -> Result<(), Malformed> {
        let unknown = || Malformed::value("quic", 1, "version with known keys", u64::from(view.version.0));
        let derive = || Keys::initial(view.version, view.dcid, Side::Client).ok_or_else(unknown);
        let payload = match &self.keys {
            None => {
                let keys = derive()?;
                let opened = keys.open(view)?;
                self.start(view, keys);
                opened.payload
            }
            Some((version, keys)) => match keys.open(view) {
                Ok(opened) if *version == view.version => opened.payload,
                failed => {
                    let malformed = failed.err().unwrap_or_else(unknown);
                    let may = match self.rekey {
                        Rekey::Never => false,
                        Rekey::AfterRetry => self.retried,
                        Rekey::Any => true,
                    };
                    if !may || (view.dcid == self.first_dcid && *version == view.version) {
                        return Err(malformed);
                    }
                    let keys = derive()?;
                    let opened = keys.open(view).map_err(|_| malformed)?;
                    self.start(view, keys);
                    opened.payload
                }
            },
        };
        for frame in frames(&payload, view.version) {
            if let Frame::Crypto { offset, data } = frame? {
                self.add(offset, data);
            }
        }
        Ok(())
    }

    /// A connection begins: what was held of another is gone.
    fn start(&mut self, view: &LongView<'_>, keys: Keys) {
        self.keys = Some((view.version, keys));
        self.first_dcid = view.dcid.to_vec();
        self.retried = false;
        self.head.clear();
        self.loose.clear();
        self.held = 0;
    }

    fn add(&mut self, offset: u64, data: &[u8]) {
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_HELLO as u64 || end <= self.head.len() as u64 || data.is_empty() {
            return;
        }
        if offset <= self.head.len() as u64 {
            self.head.extend_from_slice(&data[self.head.len() - offset as usize..]);
            self.absorb();
        } else if self.loose.len() < MAX_PIECES && self.held + data.len() <= MAX_HELLO {
            let known = self.loose.iter().any(|(at, piece)| *at == offset && piece.len() >= data.len());
            if !known {
                self.held += data.len();
                // Stable by offset: of two pieces at one place the earlier stays before the later.
                let place = self.loose.partition_point(|(at, _)| *at <= offset);
                self.loose.insert(place, (offset, data.to_vec()));
            }
        }
    }

    /// Moves loose pieces that touch the head into it.
    fn absorb(&mut self) {
        let mut taken = 0;
        for (at, piece) in &self.loose {
            let (at, len) = (*at as usize, self.head.len());
            if at > len {
                break;
            }
            if let Some(tail) = piece.get(len - at..) {
                self.head.extend_from_slice(tail);
            }
            taken += 1;
        }
        for (_, piece) in self.loose.drain(..taken) {
            self.held -= piece.len();
        }
    }

    fn is_whole(&self) -> bool {
        match *self.head {
            [b'C', b'H', b'L', b'O', ..] => Chlo::parse(&self.head).is_some_and(|chlo| chlo.is_complete()),
            [_, a, b, c, ..] => {
                self.head.len() >= 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
            }
            _ => false,
        }
    }

    /// The bytes joined so far from the start of the handshake; a prefix of the hello while it is not whole.
    pub fn joined(&self) -> &[u8] {
        &self.head
    }

    /// The TLS ClientHello message, when it is whole.
    pub fn hello(&self) -> Option<&[u8]> {
        let &[1, a, b, c, ..] = &*self.head else { return None };
        self.head.get(..4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)))
    }

    /// Google's hello, when there is one.
    pub fn chlo(&self) -> Option<Chlo<'_>> {
        Chlo::parse(&self.head)
    }

    /// The version of the connection.
    pub fn version(&self) -> Option<Version> {
        self.keys.as_ref().map(|(version, _)| *version).or(self.google)
    }

    /// The connection id that the keys come from.
    pub fn first_dcid(&self) -> &[u8] {
        &self.first_dcid
    }

    /// Datagrams of which an Initial was opened.
    pub const fn datagrams(&self) -> u32 {
        self.datagrams
    }

    /// Bytes held, for a tracker that counts its memory; each loose piece with what a queue and an allocator
    /// need for it, for a hostile one is of a single byte.
    pub const fn held_bytes(&self) -> usize {
        self.head.len() + self.held + self.loose.len() * (size_of::<(u64, Vec<u8>)>() + 16)
    }
}
