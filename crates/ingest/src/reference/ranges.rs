//! Address ranges as sorted boundaries: one start and one value each, 0 where nothing is known.
//!
//! Ends are not stored: a range ends where the next begins, and a gap is a range with value 0.
//! Neighbours with the same value are joined. An index by the first bits leaves a
//! search few places to look at.

/// One range of an input table, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row<K> {
    pub start: K,
    pub end: K,
    /// never 0
    pub value: u32,
}

/// A number that addresses can be written as.
pub(super) trait Key: Copy + Ord + std::fmt::Debug {
    /// The next address; `None` after the last.
    fn next(self) -> Option<Self>;
    /// The address before; wraps.
    fn before(self) -> Self;
    /// Distance from an earlier address.
    fn minus(self, earlier: Self) -> Self;
    /// The address at a distance; wraps.
    fn plus(self, distance: Self) -> Self;
    /// As the widest number.
    fn wide(self) -> u128;
    /// From the widest number; `None` when too large.
    fn narrow(number: u128) -> Option<Self>;
    /// The bucket of the index that the address falls into, at most [`BUCKETS`] - 1; never lower for a
    /// higher address.
    fn bucket(self) -> usize;
}

/// Buckets of the index: as many as IPv4 has /16.
const BUCKETS: usize = 1 << 16;

/// First 32 bits of 2000::/3, of which global addresses come (RFC 4291 section 2.4), and the number of
/// bits that one bucket leaves open: 2000:: to 2fff:: in buckets of a /20.
const GLOBAL_V6: u32 = 0x2000_0000;
const V6_BUCKET_BITS: u32 = 12;

fn bucket_v4(key: u32) -> usize {
    (key >> 16) as usize
}

fn bucket_v6(key: u128) -> usize {
    (((key >> 96) as u32).saturating_sub(GLOBAL_V6) >> V6_BUCKET_BITS).min(BUCKETS as u32 - 1) as usize
}

macro_rules! key {
    ($ty:ty, $bucket:ident) => {
        impl Key for $ty {
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn before(self) -> Self {
                self.wrapping_sub(1)
            }
            fn minus(self, earlier: Self) -> Self {
                self.wrapping_sub(earlier)
            }
            fn plus(self, distance: Self) -> Self {
                self.wrapping_add(distance)
            }
            fn wide(self) -> u128 {
                self.into()
            }
            fn narrow(number: u128) -> Option<Self> {
                number.try_into().ok()
            }
            #[inline]
            fn bucket(self) -> usize {
                $bucket(self)
            }
        }
    };
}
key!(u32, bucket_v4);
key!(u128, bucket_v6);

/// Sorted, disjoint ranges with a value each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges<K> {
    starts: Vec<K>,
    values: Vec<u32>,
    /// how many starts lie in lower buckets than each, and in all; empty without starts
    index: Vec<u32>,
}

impl<K: Key> Ranges<K> {
    /// Joins rows in any order; gives the number of rows set aside because they overlap an earlier one
    /// or end before they start. The row with the lower start wins, then the one that stood first.
    pub fn build(mut rows: Vec<Row<K>>) -> (Self, u64) {
        rows.sort_by_key(|row| row.start);
        let mut overlapping = 0;
        let mut ranges = Self { starts: Vec::new(), values: Vec::new(), index: Vec::new() };
        // First address after the last range; `None` once the address space is used up.
        let mut free: Option<K> = None;
        let mut full = false;
        for row in &rows {
            if row.end < row.start || full || free.is_some_and(|free| row.start < free) {
                overlapping += 1;
                continue;
            }
            if let Some(free) = free
                && free < row.start
            {
                ranges.push(free, 0);
            }
            ranges.push(row.start, row.value);
            free = row.end.next();
            full = free.is_none();
        }
        if let Some(free) = free {
            ranges.push(free, 0);
        }
        ranges.starts.shrink_to_fit();
        ranges.values.shrink_to_fit();
        ranges.reindex();
        (ranges, overlapping)
    }

    fn push(&mut self, start: K, value: u32) {
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn reindex(&mut self) {
        if self.starts.is_empty() {
            return;
        }
        let mut index = vec![0u32; BUCKETS + 1];
        for start in &self.starts {
            index[start.bucket() + 1] += 1;
        }
        let mut before = 0;
        for count in &mut index {
            before += *count;
            *count = before;
        }
        self.index = index;
    }

    /// The value of an address; 0 where nothing is known.
    pub fn value(&self, key: K) -> u32 {
        let bucket = key.bucket();
        let (Some(&first), Some(&last)) = (self.index.get(bucket), self.index.get(bucket + 1)) else {
            return 0;
        };
        let within = &self.starts[first as usize..last as usize];
        let before = first as usize + within.partition_point(|start| *start <= key);
        before.checked_sub(1).map_or(0, |place| self.values[place])
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The ranges that have a value, as rows.
    pub fn rows(&self, last: K) -> impl Iterator<Item = Row<K>> {
        (0..self.starts.len()).filter(|&i| self.values[i] != 0).map(move |i| Row {
            start: self.starts[i],
            end: self.starts.get(i + 1).map_or(last, |next| next.before()),
            value: self.values[i],
        })
    }

    /// Bytes held in memory.
    pub fn size_bytes(&self) -> usize {
        self.starts.len() * size_of::<K>() + (self.values.len() + self.index.len()) * 4
    }

    /// Pours count, start distances and values. A distance is its number of trailing zero bits (most
    /// are whole prefixes) and the rest; numbers have seven bits a byte, the last below 128.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_number(self.starts.len() as u128, out);
        let mut before = None;
        for &start in &self.starts {
            let distance = before.map_or(start, |before| start.minus(before)).wide();
            let zeros = if distance == 0 { 0 } else { distance.trailing_zeros() };
            out.push(zeros as u8);
            write_number(distance >> zeros, out);
            before = Some(start);
        }
        for value in &self.values {
            write_number(u128::from(*value), out);
        }
    }

    /// Reads what [`Self::write`] poured; `None` when damaged: too short, or starts not ascending.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let count = usize::try_from(read_number(bytes)?).ok()?;
        // Each boundary takes three bytes or more, so a wrong count cannot ask for much memory.
        if count > bytes.len() / 3 {
            return None;
        }
        let mut starts: Vec<K> = Vec::with_capacity(count);
        for _ in 0..count {
            let zeros = u32::from(take(bytes, 1)?[0]);
            let distance = read_number(bytes)?;
            let distance = K::narrow(distance.checked_shl(zeros).filter(|d| d >> zeros == distance)?)?;
            let start = match starts.last() {
                Some(&before) => Some(before.plus(distance)).filter(|start| *start > before)?,
                None => distance,
            };
            starts.push(start);
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(u32::try_from(read_number(bytes)?).ok()?);
        }
        let mut ranges = Self { starts, values, index: Vec::new() };
        ranges.reindex();
        Some(ranges)
    }

    /// The highest value.
    pub fn max_value(&self) -> u32 {
        self.values.iter().copied().max().unwrap_or(0)
    }
}

/// Writes a number, seven bits a byte, the lowest first.
pub(super) fn write_number(mut number: u128, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads what [`write_number`] wrote.
pub(super) fn read_number(bytes: &mut &[u8]) -> Option<u128> {
    let mut number = 0u128;
    for (i, &byte) in bytes.iter().enumerate().take(19) {
        let part = u128::from(byte & 127);
        // The nineteenth byte has room for two bits.
        if i == 18 && part > 3 {
            return None;
        }
        number |= part << (7 * i);
        if byte < 128 {
            *bytes = &bytes[i + 1..];
            return Some(number);
        }
    }
    None
}

/// Cuts `count` bytes off the front.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: u32, end: u32, value: u32) -> Row<u32> {
        Row { start, end, value }
    }

    #[test]
    fn unsorted_overlapping_and_inverted_rows_are_counted_and_the_rest_answers() {
        let (ranges, overlapping) =
            Ranges::build(vec![row(50, 59, 3), row(10, 19, 1), row(15, 30, 9), row(9, 2, 9), row(20, 29, 1)]);
        assert_eq!(overlapping, 2);
        let seen: Vec<u32> =
            [0, 9, 10, 19, 29, 30, 49, 50, 59, 60, u32::MAX].map(|k| ranges.value(k)).to_vec();
        assert_eq!(seen, [0, 0, 1, 1, 1, 0, 0, 3, 3, 0, 0]);
        assert_eq!(ranges.starts, [10, 30, 50, 60], "neighbours with one value are joined");
    }

    #[test]
    fn the_last_address_belongs_to_its_range() {
        let (ranges, overlapping) =
            Ranges::build(vec![row(u32::MAX - 1, u32::MAX, 7), row(u32::MAX, u32::MAX, 8)]);
        assert_eq!((ranges.value(u32::MAX), ranges.value(u32::MAX - 2), overlapping), (7, 0, 1));
    }

    /// The same pattern spread over the whole of IPv6, so that all buckets occur, the first and last too.
    fn rows_v6(ranges: &Ranges<u32>) -> (Vec<Row<u128>>, Ranges<u128>) {
        let wide = |key: u32| u128::from(key) << 104 | u128::from(key);
        let rows: Vec<_> = ranges
            .rows(u32::MAX)
            .map(|row| Row { start: wide(row.start), end: wide(row.end), value: row.value })
            .collect();
        (rows.clone(), Ranges::build(rows).0)
    }

    #[test]
    fn search_agrees_with_a_linear_scan_and_survives_writing() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u32
        };
        let rows: Vec<_> = (0..2_000)
            .map(|i| {
                let s = next();
                row(s, s + next() % 9_000, i + 1)
            })
            .collect();
        let (ranges, _) = Ranges::build(rows);
        let mut bytes = Vec::new();
        ranges.write(&mut bytes);
        let back = Ranges::<u32>::read(&mut &bytes[..]).unwrap();
        assert_eq!(back, ranges);
        let again = Ranges::build(ranges.rows(u32::MAX).collect()).0;
        assert_eq!(again, ranges);
        for _ in 0..20_000 {
            let key = next();
            let linear = ranges.starts.iter().rposition(|s| *s <= key).map_or(0, |i| ranges.values[i]);
            assert_eq!(back.value(key), linear);
        }
        let wide = rows_v6(&ranges);
        for row in &wide.0 {
            for key in [row.start, row.end, row.start.wrapping_sub(1), row.end.wrapping_add(1)] {
                let linear = wide.1.starts.iter().rposition(|s| *s <= key).map_or(0, |i| wide.1.values[i]);
                assert_eq!(wide.1.value(key), linear);
            }
        }
        for cut in 0..bytes.len().min(600) {
            assert!(Ranges::<u32>::read(&mut &bytes[..cut]).is_none());
        }
    }
}
