//! The first bytes of a connection, put in order for the classifier.
//!
//! Only as far as the classifier reads and only until it is done: then the bytes go. A gap that does not
//! close within a few segments ends the matter; a recorded flow need not be understood to be counted.

use okno_wire::packet::{TcpView, flag};
use okno_wire::recognise::Recogniser;

/// Segments that may wait for a gap to close.
const WAITING: usize = 16;

/// One side of a connection.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    bytes: Vec<u8>,
    /// sequence number of the next byte wanted; `None` before the first segment
    next: Option<u32>,
    waiting: Vec<(u32, Vec<u8>)>,
}

impl Prefix {
    /// Takes a segment. Whether the bytes in order grew.
    pub(super) fn push(&mut self, tcp: &TcpView<'_>) -> bool {
        if tcp.has(flag::SYN) {
            self.next.get_or_insert(tcp.seq().wrapping_add(1));
            return false;
        }
        let payload = tcp.payload();
        if payload.is_empty() || self.bytes.len() >= Recogniser::PREFIX {
            return false;
        }
        let next = *self.next.get_or_insert(tcp.seq());
        let before = self.bytes.len();
        self.place(tcp.seq(), payload, next);
        if self.bytes.len() > before {
            self.close_gaps();
        }
        self.bytes.len() > before
    }

    fn place(&mut self, seq: u32, payload: &[u8], next: u32) {
        let ahead = seq.wrapping_sub(next).cast_signed();
        if ahead > 0 {
            let near = usize::try_from(ahead).is_ok_and(|ahead| ahead < Recogniser::PREFIX);
            if near && self.waiting.len() < WAITING {
                let payload = &payload[..payload.len().min(Recogniser::PREFIX)];
                self.waiting.push((seq, payload.to_vec()));
            }
            return;
        }
        let known = usize::try_from(ahead.unsigned_abs()).unwrap_or(usize::MAX);
        let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) else { return };
        let room = Recogniser::PREFIX - self.bytes.len().min(Recogniser::PREFIX);
        let new = &new[..new.len().min(room)];
        self.bytes.extend_from_slice(new);
        self.next = Some(next.wrapping_add(u32::try_from(new.len()).unwrap_or(0)));
    }

    fn close_gaps(&mut self) {
        while let Some(next) = self.next {
            let fits = |(seq, _): &(u32, Vec<u8>)| seq.wrapping_sub(next).cast_signed() <= 0;
            let Some(at) = self.waiting.iter().position(fits) else { break };
            let (seq, payload) = self.waiting.swap_remove(at);
            self.place(seq, &payload, next);
        }
    }

    /// The bytes in order, from the connection's first.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes in order, for keeps.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Memory held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.waiting.iter().map(|(_, bytes)| bytes.capacity() + 32).sum::<usize>()
    }

    /// Whether all that the classifier reads is there.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= Recogniser::PREFIX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 80, 1, 2];
        bytes.extend(seq.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn disorder_overlap_and_wrapping_numbers_give_the_bytes_in_order() {
        let mut prefix = Prefix::default();
        let start = u32::MAX - 2;
        let mut push = |seq: u32, flags: u8, payload: &[u8]| {
            let bytes = segment(seq, flags, payload);
            let grew = prefix.push(&TcpView::parse(&bytes).unwrap());
            (grew, String::from_utf8_lossy(prefix.bytes()).into_owned())
        };
        assert_eq!(push(start, flag::SYN, b""), (false, String::new()));
        let first = start.wrapping_add(1);
        assert_eq!(push(first.wrapping_add(4), flag::ACK, b"ef"), (false, String::new()));
        assert_eq!(push(first.wrapping_add(2), flag::ACK, b"cde"), (false, String::new()));
        assert_eq!(push(first, flag::ACK, b"abc"), (true, "abcdef".into()));
        assert_eq!(push(first, flag::ACK, b"xyz"), (false, "abcdef".into()));
        assert_eq!(push(first.wrapping_add(5), flag::ACK, b"Fgh"), (true, "abcdefgh".into()));
    }

    #[test]
    fn no_more_is_held_than_the_classifier_reads() {
        let mut prefix = Prefix::default();
        for at in 0..200_u32 {
            let bytes = segment(at * 1_000, flag::ACK, &[7; 1_000]);
            prefix.push(&TcpView::parse(&bytes).unwrap());
        }
        for at in 0..200_u32 {
            let bytes = segment(1_000_000 + at * 2_000, flag::ACK, &[7; 1_000]);
            prefix.push(&TcpView::parse(&bytes).unwrap());
        }
        assert_eq!(prefix.bytes().len(), Recogniser::PREFIX);
        assert!(prefix.waiting.is_empty());
    }
}
