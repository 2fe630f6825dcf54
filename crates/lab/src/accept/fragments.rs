//! The receiver's reassembly of IP fragments.

use std::collections::BTreeMap;

use core::net::IpAddr;

use okno_wire::PacketView;
use okno_wire::build::IpRepr;
use okno_wire::packet::number;

use super::Fate;

/// What becomes of overlapping IPv4 fragments. IPv6 always discards (RFC 5722 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentOverlap {
    /// the packet is discarded with all its fragments; an exact duplicate is ignored
    Discard,
    /// what came first stays
    First,
}

/// Packets that wait for more fragments.
#[derive(Clone, Debug)]
pub struct Fragments {
    overlap: FragmentOverlap,
    waiting: BTreeMap<(IpAddr, IpAddr, u32, u8), Waiting>,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    pieces: BTreeMap<u32, Vec<u8>>,
    total: Option<u32>,
    discarded: bool,
}

/// Fragments of one packet that a receiver keeps. Linux has no such limit (it limits memory), and a real
/// server takes the 46 fragments that the TSPU refuses (IMC'22); the cap is against hostile input.
const MAX_PIECES: usize = 8_192;
/// Packets that wait at once.
const MAX_WAITING: usize = 1_024;

impl Fragments {
    /// None wait.
    pub const fn new(overlap: FragmentOverlap) -> Self {
        Self { overlap, waiting: BTreeMap::new() }
    }

    /// Adds a fragment; the whole packet when it was the last one missing.
    pub fn add(&mut self, view: &PacketView<'_>) -> Result<Vec<u8>, Fate> {
        let Some(fragment) = view.fragment else { return Ok(view.bytes().to_vec()) };
        if view.source.is_ipv6() && fragment.offset == 0 && !holds_header(view) {
            return Err(Fate::FragmentTooShort);
        }
        let key = (view.source, view.destination, fragment.id, view.protocol);
        if !self.waiting.contains_key(&key) && self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_first();
        }
        let overlap = if view.source.is_ipv4() { self.overlap } else { FragmentOverlap::Discard };
        let waiting = self.waiting.entry(key).or_default();
        if waiting.discarded || waiting.pieces.len() >= MAX_PIECES {
            return Err(Fate::FragmentOverlap);
        }
        waiting.insert(fragment.offset, fragment.more, view.ip_payload(), overlap)?;
        let Some(payload) = waiting.whole() else { return Err(Fate::Fragment) };
        self.waiting.remove(&key);
        let mut ip = IpRepr::new(view.source, view.destination);
        ip.ttl = view.ttl;
        Ok(ip.emit(view.protocol, None, &payload))
    }
}

/// Whether a first fragment holds the transport header. RFC 7112 §5 wants it of IPv6, and Linux drops what
/// lacks it since 5.11 (`ipv6frag_thdr_truncated`); found by running our own sequences against Linux 6.18.
fn holds_header(view: &PacketView<'_>) -> bool {
    let least = match view.protocol {
        number::TCP => 20,
        number::UDP | number::ICMPV6 => 8,
        _ => 0,
    };
    view.ip_payload().len() >= least
}

impl Waiting {
    fn insert(
        &mut self,
        offset: u32,
        more: bool,
        piece: &[u8],
        overlap: FragmentOverlap,
    ) -> Result<(), Fate> {
        let end = offset.saturating_add(piece.len() as u32);
        if self.pieces.get(&offset).is_some_and(|there| there.len() == piece.len()) {
            return Err(Fate::Duplicate);
        }
        let hits = |(start, there): (&u32, &Vec<u8>)| *start < end && offset < start + there.len() as u32;
        let overlaps = self.pieces.iter().any(hits);
        match (overlaps, overlap) {
            (true, FragmentOverlap::Discard) => {
                self.discarded = true;
                self.pieces.clear();
                return Err(Fate::FragmentOverlap);
            }
            (true, FragmentOverlap::First) => self.fill_gaps(offset, piece),
            (false, _) => {
                self.pieces.insert(offset, piece.to_vec());
            }
        }
        if !more {
            self.total = Some(end);
        }
        Ok(())
    }

    /// Keeps of `piece` only what nothing covers yet.
    fn fill_gaps(&mut self, offset: u32, piece: &[u8]) {
        let mut at = offset;
        let end = offset + piece.len() as u32;
        let taken: Vec<(u32, u32)> =
            self.pieces.iter().map(|(start, there)| (*start, start + there.len() as u32)).collect();
        for (start, stop) in taken.into_iter().chain([(end, end)]) {
            let until = start.min(end);
            if at < until {
                let cut = &piece[(at - offset) as usize..(until - offset) as usize];
                self.pieces.insert(at, cut.to_vec());
            }
            at = at.max(stop.min(end));
        }
    }

    fn whole(&self) -> Option<Vec<u8>> {
        let total = self.total?;
        let mut payload = Vec::with_capacity(total as usize);
        for (start, piece) in &self.pieces {
            if *start != payload.len() as u32 {
                return None;
            }
            payload.extend_from_slice(piece);
        }
        (payload.len() as u32 >= total).then(|| payload[..total as usize].to_vec())
    }
}
