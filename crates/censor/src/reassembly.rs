//! The start of one way of a TCP connection, put together as the switches say.
//!
//! Only as much is kept as the inspection needs, and the buffer goes with it. Bytes that were already
//! contiguous stay: an engine that looked at them cannot unlook.

use crate::switches::{Gap, LeftOfStream, Overlap, Reassembly, StreamBase, TcpSwitches};

/// Sequence numbers further apart than this are not of one stream; half the space is the most that can be
/// told (RFC 9293 §3.4).
const HALF: u32 = 1 << 31;

/// What a segment did to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// the contiguous part grew
    Grew,
    /// it waits, was known already or was left out
    Nothing,
    /// this way is not looked at any more
    GaveUp,
}

/// One way's stream.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// sequence number of `bytes[0]`
    base: Option<u32>,
    bytes: Vec<u8>,
    /// bytes of the stream before `bytes[0]`, looked at or stepped over
    passed: u32,
    /// what waits beyond a gap: (offset, bytes), by offset, not overlapping
    waiting: Vec<(u32, Vec<u8>)>,
    waiting_bytes: u32,
    /// segments that the contiguous part came in
    pub segments: u32,
    pub gave_up: bool,
}

impl Assembler {
    /// The contiguous part.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that are kept, with what the allocator and the queue need for each segment that waits: a hostile
    /// one holds a single byte.
    pub fn memory(&self) -> usize {
        const EACH: usize = size_of::<(u32, Vec<u8>)>() + 16;
        self.bytes.capacity() + self.waiting_bytes as usize + self.waiting.len() * EACH
    }

    /// The sequence number of the first byte, from a SYN or, without one, from the first data.
    pub fn begin(&mut self, seq: u32, switches: &TcpSwitches) {
        if switches.stream_base == StreamBase::Syn {
            self.base = Some(seq);
        }
    }

    /// A segment without data beyond the stream: where such segments move it, what is missing is given up.
    pub fn control(&mut self, seq: u32, switches: &TcpSwitches) {
        let Some(base) = self.base.filter(|_| switches.control_moves && switches.gap == Gap::Skip) else {
            return;
        };
        let offset = seq.wrapping_sub(base);
        if offset < HALF && offset > self.next_offset() {
            self.step(base, offset);
        }
    }

    pub const fn has_begun(&self) -> bool {
        self.base.is_some()
    }

    /// Whether nothing is kept and `seq` is what comes next, with less than `cap` bytes before it: such a
    /// segment can be looked at in place.
    pub fn is_next(&self, seq: u32, cap: usize) -> bool {
        let nothing = self.bytes.is_empty() && self.waiting.is_empty() && !self.gave_up;
        nothing && (self.passed as usize) < cap && self.base.is_none_or(|base| seq == base)
    }

    /// Offset in the stream of the first byte that is kept.
    pub const fn passed(&self) -> u32 {
        self.passed
    }

    /// Gives up what is kept of the contiguous part, and steps over `len` bytes that begin at `seq` and were
    /// looked at in place.
    pub fn pass_over(&mut self, seq: u32, len: usize) {
        let base = *self.base.get_or_insert(seq);
        let count = (self.bytes.len() + len) as u32;
        self.step(base, count);
        self.segments = 0;
    }

    /// Lets the stream begin `count` bytes later.
    fn step(&mut self, base: u32, count: u32) {
        self.base = Some(base.wrapping_add(count));
        self.passed = self.passed.saturating_add(count);
        self.bytes = Vec::new();
        for (offset, _) in &mut self.waiting {
            *offset = offset.saturating_sub(count);
        }
    }

    /// Lends the contiguous part out; [`Self::give_back`] ends it.
    pub fn lend(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// Takes back what was lent.
    pub fn give_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Takes one segment's data. At most `cap` contiguous bytes are kept.
    pub fn offer(&mut self, seq: u32, data: &[u8], cap: usize, switches: &TcpSwitches) -> Offered {
        if self.gave_up {
            return Offered::GaveUp;
        }
        if self.passed as usize + self.bytes.len() >= cap {
            self.give_up();
            return Offered::GaveUp;
        }
        let base = *self.base.get_or_insert(seq);
        if switches.reassembly == Reassembly::Arrival {
            return self.append(data, cap);
        }
        let offset = seq.wrapping_sub(base);
        let (offset, data) = if offset >= HALF {
            // Begins before the stream: what is left of it is not part of it.
            let before = offset.wrapping_neg() as usize;
            match data.get(before..) {
                Some(rest) if !rest.is_empty() && switches.left_of_stream == LeftOfStream::Cut => (0, rest),
                _ => return Offered::Nothing,
            }
        } else {
            (offset, data)
        };
        let next = self.next_offset();
        if switches.exact_next && offset < next {
            return Offered::Nothing;
        }
        if offset > next {
            return self.beyond_gap(offset, data, cap, switches);
        }
        let Some(fresh) = data.get((next - offset) as usize..).filter(|fresh| !fresh.is_empty()) else {
            return Offered::Nothing;
        };
        if self.waiting.is_empty() {
            return self.append(fresh, cap);
        }
        self.wait(next, fresh, switches.overlap);
        self.advance(cap)
    }

    fn next_offset(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn append(&mut self, data: &[u8], cap: usize) -> Offered {
        let room = cap.saturating_sub(self.passed as usize + self.bytes.len());
        self.bytes.extend_from_slice(&data[..data.len().min(room)]);
        self.segments += 1;
        Offered::Grew
    }

    fn beyond_gap(&mut self, offset: u32, data: &[u8], cap: usize, switches: &TcpSwitches) -> Offered {
        match (switches.reassembly, switches.gap) {
            (Reassembly::Queue, _) => {
                let far = offset - self.next_offset() > switches.queue_bytes;
                let full = self.waiting.len() >= usize::from(switches.queue_segments)
                    || self.waiting_bytes + data.len() as u32 > switches.queue_bytes;
                if far || full {
                    if full && switches.full_queue_gives_up {
                        self.give_up();
                        return Offered::GaveUp;
                    }
                    return Offered::Nothing;
                }
                self.wait(offset, data, switches.overlap);
                Offered::Nothing
            }
            (_, Gap::Ignore) => Offered::Nothing,
            (_, Gap::GiveUp) => {
                self.give_up();
                Offered::GaveUp
            }
            (_, Gap::Skip) => {
                let base = self.base.unwrap_or_default();
                self.step(base, offset);
                self.append(data, cap)
            }
        }
    }

    /// Puts a segment among those that wait; `overlap` says whose bytes stay where two overlap.
    fn wait(&mut self, offset: u32, data: &[u8], overlap: Overlap) {
        let end = offset + data.len() as u32;
        let mut pieces: Vec<(u32, Vec<u8>)> = Vec::with_capacity(self.waiting.len() + 1);
        // The parts of the new segment that are still to be placed.
        let mut holes = vec![(offset, end)];
        for (start, bytes) in self.waiting.drain(..) {
            let stop = start + bytes.len() as u32;
            if stop <= offset || end <= start {
                pieces.push((start, bytes));
            } else if new_wins(overlap, (start, stop), (offset, end)) {
                if start < offset {
                    pieces.push((start, bytes[..(offset - start) as usize].to_vec()));
                }
                if end < stop {
                    pieces.push((end, bytes[(end - start) as usize..].to_vec()));
                }
            } else {
                holes = holes.into_iter().flat_map(|hole| without(hole, (start, stop))).collect();
                pieces.push((start, bytes));
            }
        }
        for (start, stop) in holes {
            pieces.push((start, data[(start - offset) as usize..(stop - offset) as usize].to_vec()));
        }
        pieces.sort_by_key(|(start, _)| *start);
        self.waiting_bytes = pieces.iter().map(|(_, bytes)| bytes.len() as u32).sum();
        self.waiting = pieces;
    }

    /// Moves what is contiguous now out of the queue.
    fn advance(&mut self, cap: usize) -> Offered {
        let mut outcome = Offered::Nothing;
        while self.waiting.first().is_some_and(|(start, _)| *start <= self.next_offset()) {
            let (start, bytes) = self.waiting.remove(0);
            self.waiting_bytes -= bytes.len() as u32;
            let known = (self.next_offset() - start) as usize;
            if let Some(fresh) = bytes.get(known..).filter(|fresh| !fresh.is_empty()) {
                outcome = self.append(fresh, cap);
            }
        }
        outcome
    }

    /// Stops looking at this way; what is contiguous stays to be read once more.
    fn give_up(&mut self) {
        self.gave_up = true;
        self.waiting = Vec::new();
        self.waiting_bytes = 0;
    }
}

/// Whose bytes stay where a new segment overlaps one that waits. The policies are those that
/// target-based engines name after operating systems (Novak and Sturges, "Target-Based TCP Stream
/// Reassembly", 2007).
fn new_wins(overlap: Overlap, old: (u32, u32), new: (u32, u32)) -> bool {
    match overlap {
        Overlap::First => false,
        Overlap::Last => true,
        Overlap::Bsd => new.0 < old.0,
        Overlap::Linux => new.0 < old.0 || (new.0 == old.0 && new.1 > old.1),
    }
}

/// A range without another: none, one or two ranges.
fn without(range: (u32, u32), taken: (u32, u32)) -> Vec<(u32, u32)> {
    [(range.0, range.1.min(taken.0)), (range.0.max(taken.1), range.1)]
        .into_iter()
        .filter(|(start, stop)| start < stop)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches(reassembly: Reassembly, gap: Gap, overlap: Overlap) -> TcpSwitches {
        TcpSwitches { reassembly, gap, overlap, ..TcpSwitches::default() }
    }

    fn stream(switches: &TcpSwitches, segments: &[(u32, &[u8])]) -> (Vec<u8>, bool) {
        let mut assembler = Assembler::default();
        assembler.begin(1000, switches);
        for (offset, data) in segments {
            assembler.offer(1000_u32.wrapping_add(*offset), data, 1000, switches);
        }
        (assembler.bytes().to_vec(), assembler.gave_up)
    }

    #[test]
    fn a_gap_is_waited_for_left_out_given_up_or_stepped_over_as_the_switches_say() {
        let sent: &[(u32, &[u8])] = &[(3, b"def"), (0, b"abc"), (6, b"g")];
        let queue = switches(Reassembly::Queue, Gap::Ignore, Overlap::First);
        assert_eq!(stream(&queue, sent), (b"abcdefg".to_vec(), false));
        let ignore = switches(Reassembly::InOrder, Gap::Ignore, Overlap::First);
        assert_eq!(stream(&ignore, sent), (b"abc".to_vec(), false));
        let give_up = switches(Reassembly::InOrder, Gap::GiveUp, Overlap::First);
        assert_eq!(stream(&give_up, sent), (Vec::new(), true));
        let skip = switches(Reassembly::InOrder, Gap::Skip, Overlap::First);
        assert_eq!(stream(&skip, sent), (b"defg".to_vec(), false));
        let arrival = switches(Reassembly::Arrival, Gap::Ignore, Overlap::First);
        assert_eq!(stream(&arrival, sent), (b"defabcg".to_vec(), false));
    }

    #[test]
    fn overlaps_in_the_queue_are_settled_by_policy_and_delivered_bytes_stay() {
        let sent: &[(u32, &[u8])] = &[(4, b"EEEE"), (2, b"ffffff"), (0, b"ab")];
        let by = |overlap| stream(&switches(Reassembly::Queue, Gap::Ignore, overlap), sent).0;
        assert_eq!(by(Overlap::First), b"abffEEEE");
        for newer in [Overlap::Last, Overlap::Bsd, Overlap::Linux] {
            assert_eq!(by(newer), b"abffffff", "{newer:?}");
        }
        let same_start: &[(u32, &[u8])] = &[(1, b"11"), (1, b"222"), (0, b"a")];
        let by = |overlap| stream(&switches(Reassembly::Queue, Gap::Ignore, overlap), same_start).0;
        assert_eq!((by(Overlap::Bsd), by(Overlap::Linux)), (b"a112".to_vec(), b"a222".to_vec()));
        let delivered: &[(u32, &[u8])] = &[(0, b"aaaa"), (2, b"bbbb")];
        let last = switches(Reassembly::Queue, Gap::Ignore, Overlap::Last);
        assert_eq!(stream(&last, delivered).0, b"aaaabb");
    }

    #[test]
    fn data_left_of_the_stream_is_cut_off_even_across_the_wrap_of_sequence_numbers() {
        let switches = switches(Reassembly::Queue, Gap::Ignore, Overlap::First);
        let mut assembler = Assembler::default();
        assembler.begin(2, &switches);
        assert_eq!(assembler.offer(u32::MAX, b"xxxabc", 100, &switches), Offered::Grew);
        assert_eq!(assembler.bytes(), b"abc");
        assert_eq!(assembler.offer(u32::MAX, b"xx", 100, &switches), Offered::Nothing);
    }

    #[test]
    fn a_full_queue_and_a_full_prefix_end_it() {
        let mut switches = switches(Reassembly::Queue, Gap::Ignore, Overlap::First);
        switches.queue_segments = 2;
        let mut assembler = Assembler::default();
        assembler.begin(0, &switches);
        assert_eq!(assembler.offer(10, b"a", 100, &switches), Offered::Nothing);
        assert_eq!(assembler.offer(20, b"a", 100, &switches), Offered::Nothing);
        assert_eq!(assembler.offer(30, b"a", 100, &switches), Offered::GaveUp);
        let mut assembler = Assembler::default();
        assembler.begin(0, &switches);
        assert_eq!(assembler.offer(0, &[1; 70], 100, &switches), Offered::Grew);
        assert_eq!(assembler.offer(70, &[1; 70], 100, &switches), Offered::Grew);
        assert_eq!(
            (assembler.bytes().len(), assembler.offer(140, &[1], 100, &switches)),
            (100, Offered::GaveUp)
        );
    }
}
