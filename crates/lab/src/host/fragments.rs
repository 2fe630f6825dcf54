//! Reassembly at the receiver: what arrived first stays where pieces overlap.
//!
//! That is Linux's answer for IPv4 duplicates; a packet whose pieces overlap otherwise is dropped whole, as
//! RFC 5722 demands for IPv6 and Linux does for both since 4.19
//! (https://git.kernel.org/linus/7969e5c40dfd04799d4341f1b7cd266b6e47f227).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use okno_wire::Instant;
use okno_wire::build::IpRepr;
use okno_wire::packet::{Fragment, PacketView};

/// Linux's net.ipv4.ipfrag_time.
const LIFE: Duration = Duration::from_secs(30);
/// Packets in the making; the oldest goes.
const MAX_PACKETS: usize = 64;

#[derive(Debug)]
struct Making {
    began: Instant,
    ttl: u8,
    pieces: BTreeMap<u32, Vec<u8>>,
    total: Option<u32>,
    broken: bool,
}

type Key = (IpAddr, IpAddr, u8, u32);

/// Packets in the making.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    making: BTreeMap<Key, Making>,
}

impl Fragments {
    /// Takes a piece; gives the whole packet when it was the last one.
    pub fn add(&mut self, now: Instant, view: &PacketView<'_>) -> Option<Vec<u8>> {
        let fragment = view.fragment?;
        self.making.retain(|_, making| now.since(making.began) < LIFE);
        if self.making.len() >= MAX_PACKETS {
            let oldest = self.making.iter().min_by_key(|(_, making)| making.began).map(|(key, _)| *key)?;
            self.making.remove(&oldest);
        }
        let key = (view.source, view.destination, view.protocol, fragment.id);
        let making = self.making.entry(key).or_insert_with(|| Making {
            began: now,
            ttl: view.ttl,
            pieces: BTreeMap::new(),
            total: None,
            broken: false,
        });
        making.add(fragment, view.ip_payload());
        let payload = making.whole()?;
        let ttl = making.ttl;
        self.making.remove(&key);
        let mut ip = IpRepr::new(view.source, view.destination);
        ip.ttl = ttl;
        Some(ip.emit(view.protocol, None, &payload))
    }
}

impl Making {
    fn add(&mut self, fragment: Fragment, piece: &[u8]) {
        let (start, end) = (fragment.offset, fragment.offset + piece.len() as u32);
        // RFC 791 §3.2: all but the last are multiples of 8; a packet ends at 65,535.
        if piece.is_empty() || (fragment.more && piece.len() % 8 != 0) || end > 65_535 {
            self.broken = true;
            return;
        }
        if self.pieces.get(&start).is_some_and(|known| known.len() == piece.len()) {
            return;
        }
        let overlaps = self.pieces.iter().any(|(at, known)| *at < end && start < *at + known.len() as u32);
        let past = self.total.is_some_and(|total| end > total || (!fragment.more && end != total));
        if overlaps || past {
            self.broken = true;
            return;
        }
        if !fragment.more {
            self.total = Some(end);
        }
        self.pieces.insert(start, piece.to_vec());
    }

    fn whole(&self) -> Option<Vec<u8>> {
        let total = self.total.filter(|_| !self.broken)?;
        let mut bytes = Vec::with_capacity(total as usize);
        for (start, piece) in &self.pieces {
            if *start as usize != bytes.len() {
                return None;
            }
            bytes.extend_from_slice(piece);
        }
        (bytes.len() == total as usize).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use okno_wire::build;
    use okno_wire::packet::number;

    fn pieces(cuts: &[usize]) -> Vec<Vec<u8>> {
        let ip = IpRepr::new(IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let segment = build::udp_segment(&ip, 5, 6, &[9; 200]);
        ip.emit_fragments(number::UDP, 3, cuts, &segment)
    }

    fn feed(fragments: &mut Fragments, packet: &[u8], at: u64) -> Option<Vec<u8>> {
        fragments.add(Instant::from_secs(at), &PacketView::parse(packet).expect("a packet"))
    }

    #[test]
    fn pieces_in_any_order_make_the_packet_and_a_late_one_does_not() {
        let cut = pieces(&[64, 128]);
        let mut fragments = Fragments::default();
        assert!(feed(&mut fragments, &cut[2], 1).is_none());
        assert!(feed(&mut fragments, &cut[0], 1).is_none());
        let whole = feed(&mut fragments, &cut[1], 2).expect("whole");
        assert_eq!(PacketView::parse(&whole).expect("a packet").payload(), [9; 200]);
        assert!(feed(&mut fragments, &cut[0], 10).is_none());
        assert!(feed(&mut fragments, &cut[1], 10).is_none());
        assert!(feed(&mut fragments, &cut[2], 41).is_none());
    }

    #[test]
    fn overlapping_pieces_spoil_the_packet() {
        let [cut, other] = [pieces(&[64]), pieces(&[32])];
        let mut fragments = Fragments::default();
        assert!(feed(&mut fragments, &cut[0], 1).is_none());
        assert!(feed(&mut fragments, &other[1], 1).is_none());
        assert!(feed(&mut fragments, &cut[1], 1).is_none());
    }
}
