//! The fragment queue: pieces wait until the packet is whole, and then go on as pieces.
//!
//! The TSPU buffers fragments but does not join them: it forwards them still fragmented, with the TTL of
//! the fragment at offset 0 copied into the others, and discards a packet of which a 46th fragment comes
//! (Xue et al., IMC 2022, tag P high; https://censoredplanet.org/tspu). So it can be seen from abroad.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use hashbrown::HashMap;
use okno_wire::packet::Fragment;
use okno_wire::{Instant, PacketView, build, checksum};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::switches::{FragmentOverlap, FragmentSwitches};

/// What belongs together (RFC 791 §3.2, RFC 8200 §4.5).
type Key = (IpAddr, IpAddr, u8, u32);

/// A packet greater than this cannot be (RFC 791 §3.1).
const MAX_PACKET: usize = 65_535;

/// Packets of which fragments wait, or which are remembered as discarded.
const MAX_WAITING: usize = 16_384;

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// it waits
    Held,
    /// it was dropped, with all of its packet, and why
    Discarded(&'static str),
    /// it was the last that was missing
    Whole {
        /// the joined packet, to be looked at
        packet: Vec<u8>,
        /// what goes on, in the order of arrival
        pieces: Vec<Vec<u8>>,
    },
}

#[derive(Debug)]
struct Waiting {
    serial: u64,
    pieces: Vec<Vec<u8>>,
    /// (offset, end) of each piece's data
    spans: Vec<(usize, usize)>,
    /// total length, once the last fragment is there
    total: Option<usize>,
    /// fragments seen, repeated ones included
    seen: u16,
    /// later fragments are dropped, too
    dead: bool,
}

/// Fragments that wait.
#[derive(Debug)]
pub(crate) struct FragmentQueue {
    waiting: HashMap<Key, Waiting, Xxh3Builder>,
    order: VecDeque<(Instant, u64, Key)>,
    bytes: usize,
    serial: u64,
    discarded: u64,
}

impl FragmentQueue {
    pub fn new() -> Self {
        Self {
            waiting: HashMap::with_hasher(Xxh3Builder::new()),
            order: VecDeque::new(),
            bytes: 0,
            serial: 0,
            discarded: 0,
        }
    }

    /// Packets given up so far: too many fragments, overlaps, time, memory.
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one fragment.
    pub fn push(
        &mut self,
        now: Instant,
        view: &PacketView<'_>,
        fragment: Fragment,
        switches: &FragmentSwitches,
    ) -> Queued {
        self.expire(now, Duration::from_secs(u64::from(switches.timeout_s)));
        while self.waiting.len() >= MAX_WAITING && self.drop_oldest() {}
        self.compact();
        let key = (view.source, view.destination, key_protocol(view), fragment.id);
        self.serial += 1;
        let serial = self.serial;
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting {
            serial,
            pieces: Vec::new(),
            spans: Vec::new(),
            total: None,
            seen: 0,
            dead: false,
        });
        if waiting.serial == serial {
            self.order.push_back((now, serial, key));
        }
        if waiting.dead {
            return Queued::Discarded("a fragment of a packet that was discarded");
        }
        match waiting.add(view, fragment, switches) {
            Ok(added) => self.bytes += added,
            Err(reason) => {
                self.bytes -= waiting.give_up();
                self.discarded += 1;
                return Queued::Discarded(reason);
            }
        }
        if waiting.is_whole() {
            return self.finish(&key, switches);
        }
        while self.bytes > switches.max_bytes && self.drop_oldest() {}
        Queued::Held
    }

    fn finish(&mut self, key: &Key, switches: &FragmentSwitches) -> Queued {
        let Some(mut waiting) = self.waiting.remove(key) else { return Queued::Held };
        self.bytes -= waiting.bytes();
        let Some(packet) = waiting.join(switches.overlap) else {
            self.discarded += 1;
            return Queued::Discarded("no fragment at offset 0");
        };
        if !switches.forward_fragments {
            return Queued::Whole { pieces: vec![packet.clone()], packet };
        }
        if switches.copy_ttl_of_first {
            copy_ttl(&mut waiting.pieces, &packet);
        }
        Queued::Whole { packet, pieces: waiting.pieces }
    }

    /// Forgets packets that waited too long.
    pub fn expire(&mut self, now: Instant, timeout: Duration) {
        while let Some((since, serial, key)) = self.order.front().copied() {
            let current = self.waiting.get(&key).is_some_and(|waiting| waiting.serial == serial);
            // One that came long after now is of a clock that went back: it shall not keep those behind it.
            if current
                && now.since(since) < timeout
                && since.since(now) < timeout.max(Duration::from_secs(60))
            {
                return;
            }
            self.order.pop_front();
            if current {
                self.remove(&key);
            }
        }
    }

    /// Keeps the order within a few times what waits: packets that became whole stay in it behind one that
    /// never does, without end where time stands still.
    fn compact(&mut self) {
        if self.order.len() > 4 * self.waiting.len() + 1024 {
            let waiting = &self.waiting;
            self.order.retain(|(_, serial, key)| waiting.get(key).is_some_and(|kept| kept.serial == *serial));
        }
    }

    fn drop_oldest(&mut self) -> bool {
        while let Some((_, serial, key)) = self.order.pop_front() {
            if self.waiting.get(&key).is_some_and(|waiting| waiting.serial == serial) {
                self.remove(&key);
                return true;
            }
        }
        false
    }

    fn remove(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.bytes -= waiting.bytes();
            self.discarded += u64::from(!waiting.dead);
        }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Frees the pieces and remembers that the packet is lost, until its time is over.
    fn give_up(&mut self) -> usize {
        let bytes = self.bytes();
        self.pieces = Vec::new();
        self.spans = Vec::new();
        self.dead = true;
        bytes
    }

    fn add(
        &mut self,
        view: &PacketView<'_>,
        fragment: Fragment,
        switches: &FragmentSwitches,
    ) -> Result<usize, &'static str> {
        self.seen = self.seen.saturating_add(1);
        if self.seen > switches.max_fragments {
            return Err("more fragments than the queue takes");
        }
        let start = fragment.offset as usize;
        let data = view.ip_payload();
        let end = start + data.len();
        if end > MAX_PACKET {
            return Err("a fragment that ends beyond 65,535 bytes");
        }
        if switches.overlap == FragmentOverlap::Discard {
            if self.repeats(start, view.bytes()) {
                return Ok(0);
            }
            if self.spans.iter().any(|(from, to)| start < *to && *from < end) {
                return Err("overlapping fragments");
            }
        }
        if !fragment.more {
            if self.total.is_some_and(|total| total != end) {
                return Err("two last fragments that disagree");
            }
            self.total = Some(end);
        }
        self.spans.push((start, end));
        self.pieces.push(view.bytes().to_vec());
        Ok(view.bytes().len())
    }

    fn repeats(&self, start: usize, bytes: &[u8]) -> bool {
        self.spans.iter().zip(&self.pieces).any(|((from, _), piece)| {
            *from == start
                && PacketView::parse(piece).is_ok_and(|old| {
                    PacketView::parse(bytes).is_ok_and(|new| old.ip_payload() == new.ip_payload())
                })
        })
    }

    fn is_whole(&self) -> bool {
        let Some(total) = self.total else { return false };
        let mut spans = self.spans.clone();
        spans.sort_unstable();
        let reached = spans
            .iter()
            .try_fold(0, |reached, (start, end)| (*start <= reached).then_some(reached.max(*end)));
        reached.is_some_and(|reached| reached >= total)
    }

    /// The whole packet, with the headers of the fragment at offset 0.
    fn join(&self, overlap: FragmentOverlap) -> Option<Vec<u8>> {
        let total = self.total?;
        let first = self.spans.iter().position(|(start, _)| *start == 0)?;
        let head = PacketView::parse(&self.pieces[first]).ok()?;
        let mut data = vec![0; total];
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        if overlap == FragmentOverlap::First {
            order.reverse();
        }
        for at in order {
            let (start, end) = self.spans[at];
            let piece = PacketView::parse(&self.pieces[at]).ok()?;
            let end = end.min(total);
            if start < end {
                data[start..end].copy_from_slice(&piece.ip_payload()[..end - start]);
            }
        }
        Some(rejoin(&head, &data))
    }
}

/// The next-header value of the part that was cut: IPv6 extension headers after the fragment header are
/// read only in the first piece, so the key leaves the protocol out there.
const fn key_protocol(view: &PacketView<'_>) -> u8 {
    match view.source {
        IpAddr::V4(_) => view.protocol,
        IpAddr::V6(_) => 0,
    }
}

/// A packet without fragmentation: `head`'s IP header around `data`.
fn rejoin(head: &PacketView<'_>, data: &[u8]) -> Vec<u8> {
    match head.source {
        IpAddr::V4(_) => {
            let mut packet = head.bytes()[..head.transport_at()].to_vec();
            packet.extend_from_slice(data);
            let total = u16::try_from(packet.len()).unwrap_or(u16::MAX);
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            packet[6..8].fill(0);
            packet[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(0, &packet[..head.transport_at()]));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet
        }
        IpAddr::V6(_) => {
            let mut ip = build::IpRepr::new(head.source, head.destination);
            ip.ttl = head.ttl;
            ip.emit(head.protocol, None, data)
        }
    }
}

/// Copies the first fragment's TTL into all.
fn copy_ttl(pieces: &mut [Vec<u8>], whole: &[u8]) {
    let Ok(view) = PacketView::parse(whole) else { return };
    for piece in pieces {
        match view.source {
            IpAddr::V4(_) => {
                piece[8] = view.ttl;
                build::mend_checksums(piece);
            }
            IpAddr::V6(_) => piece[7] = view.ttl,
        }
    }
}

#[cfg(test)]
#[path = "fragments_tests.rs"]
mod tests;
