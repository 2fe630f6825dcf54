//! Which of many texts stand in a body, in one pass.
//!
//! Every text of at least [`SHORT`] bytes has a window; whatever the alignment of an occurrence, one
//! of the body's blocks of [`STRIDE`] bytes (half blocks for shorter texts) lies inside the window.
//! So only whole blocks are looked at: a small bitmap says whether any text could have this block,
//! a table says which, and the text is compared in full. Windows are chosen where a text is least
//! like ordinary HTML, so that `<title>` or `http://` seldom lead to a comparison. Texts shorter than
//! that are few and go to a vectorised multi-string search.

use aho_corasick::packed;
use memchr::memmem;

/// Bytes of a block, and the distance between the blocks that are looked at.
const STRIDE: usize = 8;
/// Texts from here on are found by whole blocks: any 15 bytes hold an aligned 8.
const LONG: usize = 2 * STRIDE - 1;
/// Texts from here on are found by half blocks: any 7 bytes hold an aligned 4.
const SHORT: usize = STRIDE - 1;

/// Bits of the bitmap for whole blocks: 2^20 bits are 128 KiB. A fuller, smaller one fits the first
/// cache level, but its false alarms cost more than the second level does (measured).
const LONG_BITS: u32 = 20;
/// Bits of the bitmap for half blocks: 2^17 bits are 16 KiB.
const SHORT_BITS: u32 = 17;

/// Words that stand in most pages: a window that looks like them would fire all the time.
const ORDINARY: &str = "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \
    \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\"><html xmlns=\"http://www.w3.org/1999/xhtml\" \
    lang=\"en\"><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\" />\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1.0\"><meta property=\"og:title\" \
    <meta name=\"description\" content=\"<meta name=\"keywords\" <title></title><link rel=\"stylesheet\" \
    type=\"text/css\" href=\"https://www.google.com/ media=\"all\" <script type=\"text/javascript\" src=\"//cdn.\
    .min.js\"></script><script>window.document.location.getElementById(function(){var return false;});</script>\
    <style>body{margin:0;padding:0;font-family:Arial,Helvetica,sans-serif;font-size:12px;color:#000000;\
    background-color:#ffffff;text-align:center;width:100%;height:auto;display:none;border:0;}</style></head>\
    <body class=\"container\" id=\"content\"><div class=\"header\"><div id=\"main\" style=\"<span class=\"<span style=\"<p>\
    <a href=\"/index.html\" target=\"_blank\" title=\"<img src=\"/images/logo.png\" alt=\"\" width=\"1\" \
    height=\"1\" border=\"0\"/></a></li><li class=\"menu-item\"><ul><h1></h1><h2></h2><br><br><br/><br />&nbsp;&copy; \
    <table cellpadding=\"0\" cellspacing=\"0\"><tr><td align=\"left\" valign=\"top\"></td></tr></table>\
    <input type=\"hidden\" name=\"<form action=\" method=\"post\"></form></span></p></div></div></body></html> \
    .com/ https://www. .org/ the and for you this that with are not from have page site your error found request \
    access has been blocked website Copyright All rights reserved. Please contact ";

/// Whether a text stands in ordinary pages, so that finding it says little.
pub(super) fn is_ordinary(text: &str) -> bool {
    ORDINARY.contains(text)
}

/// A place where a text may stand: the block is the text's bytes from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    block: u64,
    text: u32,
    offset: u32,
}

/// One bit for each value of a hash. The length is part of the type, so that no access is checked.
#[derive(Debug)]
struct Bitmap<const WORDS: usize>(Box<[u64; WORDS]>);

impl<const WORDS: usize> Default for Bitmap<WORDS> {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl<const WORDS: usize> Bitmap<WORDS> {
    const BITS: u32 = (WORDS * 64).ilog2();

    #[inline(always)]
    fn may_hold(&self, block: u64) -> bool {
        let bit = hash(block, Self::BITS);
        self.0[(bit >> 6) & (WORDS - 1)] >> (bit & 63) & 1 == 1
    }

    fn add(&mut self, block: u64) {
        let bit = hash(block, Self::BITS);
        self.0[bit >> 6] |= 1 << (bit & 63);
    }
}

/// Blocks of some texts: bitmap, then table.
#[derive(Debug, Default)]
struct Blocks<const WORDS: usize> {
    bitmap: Bitmap<WORDS>,
    /// hash value to the first of its candidates; open addressing, `u32::MAX` is empty
    slots: Vec<u32>,
    /// sorted by block
    candidates: Vec<Candidate>,
}

#[inline(always)]
fn hash(block: u64, bits: u32) -> usize {
    // Multiplication by 2^64 divided by the golden ratio; the upper bits are well mixed.
    (block.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
}

impl<const WORDS: usize> Blocks<WORDS> {
    fn build(mut candidates: Vec<Candidate>) -> Self {
        candidates.sort();
        let slot_bits = (candidates.len() * 4).next_power_of_two().max(16).ilog2();
        let mut slots = vec![u32::MAX; 1 << slot_bits];
        let mut bitmap = Bitmap::default();
        for (i, candidate) in candidates.iter().enumerate() {
            bitmap.add(candidate.block);
            if i > 0 && candidates[i - 1].block == candidate.block {
                continue;
            }
            let mut slot = hash(candidate.block, slot_bits);
            while slots[slot] != u32::MAX {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = u32::try_from(i).unwrap_or(u32::MAX);
        }
        Self { bitmap, slots, candidates }
    }

    #[inline(always)]
    fn may_hold(&self, block: u64) -> bool {
        self.bitmap.may_hold(block)
    }

    /// Candidates of a block.
    fn of(&self, block: u64) -> &[Candidate] {
        let mut slot = hash(block, self.slots.len().ilog2());
        loop {
            let Some(first) = self.candidates.get(self.slots[slot] as usize) else { return &[] };
            if first.block == block {
                let from = &self.candidates[self.slots[slot] as usize..];
                let same = from.iter().take_while(|c| c.block == block).count();
                return &from[..same];
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

/// A set of texts to search for.
#[derive(Debug, Default)]
pub(super) struct Literals {
    texts: Vec<Vec<u8>>,
    long: Blocks<{ 1 << (LONG_BITS - 6) }>,
    short: Blocks<{ 1 << (SHORT_BITS - 6) }>,
    /// numbers of the texts that are shorter than [`SHORT`]
    tiny: Vec<u32>,
    tiny_finders: Vec<memmem::Finder<'static>>,
    tiny_packed: Option<packed::Searcher>,
}

/// Which texts were found, one bit each.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<u64>);

impl Found {
    fn has(&self, text: u32) -> bool {
        self.0[text as usize >> 6] >> (text & 63) & 1 == 1
    }

    fn add(&mut self, text: u32) {
        self.0[text as usize >> 6] |= 1 << (text & 63);
    }

    /// Numbers of the texts that were found, ascending.
    pub fn texts(&self) -> impl Iterator<Item = u32> {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors((bits != 0).then_some(bits), |&b| {
                let rest = b & (b - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |b| word as u32 * 64 + b.trailing_zeros())
        })
    }
}

impl Literals {
    /// Prepares a search for texts, none of them empty; their numbers are their places in the list.
    pub fn build(texts: Vec<Vec<u8>>) -> Self {
        let costs = Costs::of(&texts);
        let (mut long, mut short, mut tiny) = (Vec::new(), Vec::new(), Vec::new());
        for (number, text) in (0u32..).zip(&texts) {
            match text.len() {
                LONG.. => window(text, number, 8, LONG, &costs, &mut long),
                SHORT.. => window(text, number, 4, SHORT, &costs, &mut short),
                _ => tiny.push(number),
            }
        }
        let of = |number: &u32| texts[*number as usize].as_slice();
        let tiny_finders = tiny.iter().map(|n| memmem::Finder::new(of(n)).into_owned()).collect();
        let tiny_packed = packed::Searcher::new(tiny.iter().map(of));
        Self {
            long: Blocks::build(long),
            short: Blocks::build(short),
            tiny,
            tiny_finders,
            tiny_packed,
            texts,
        }
    }

    /// Searches a body.
    pub fn find(&self, body: &[u8]) -> Found {
        let mut found = Found(vec![0; self.texts.len().div_ceil(64)]);
        if self.texts.is_empty() {
            return found;
        }
        self.find_tiny(body, &mut found);
        if self.short.candidates.is_empty() {
            self.find_long(body, &mut found);
        } else {
            self.find_blocks(body, &mut found);
        }
        found
    }

    fn find_blocks(&self, body: &[u8], found: &mut Found) {
        let mut blocks = body.chunks_exact(STRIDE);
        for (i, bytes) in blocks.by_ref().enumerate() {
            let block = u64::from_le_bytes(bytes.try_into().expect("chunks of STRIDE bytes"));
            let (low, high) = (block & 0xffff_ffff, block >> 32);
            let hits = (self.long.may_hold(block), self.short.may_hold(low), self.short.may_hold(high));
            if hits.0 | hits.1 | hits.2 {
                self.compare(body, i * STRIDE, block, hits, found);
            }
        }
        // The half block that may be left has room for a short text's last half block only.
        if let Some(bytes) = blocks.remainder().first_chunk::<4>() {
            let low = u64::from(u32::from_le_bytes(*bytes));
            let at = body.len() - blocks.remainder().len();
            self.compare_all(self.short.of(low), body, at, found);
        }
    }

    fn find_long(&self, body: &[u8], found: &mut Found) {
        for (i, bytes) in body.chunks_exact(STRIDE).enumerate() {
            let block = u64::from_le_bytes(bytes.try_into().expect("chunks of STRIDE bytes"));
            if self.long.may_hold(block) {
                self.compare_all(self.long.of(block), body, i * STRIDE, found);
            }
        }
    }

    #[cold]
    fn compare(&self, body: &[u8], at: usize, block: u64, hits: (bool, bool, bool), found: &mut Found) {
        if hits.0 {
            self.compare_all(self.long.of(block), body, at, found);
        }
        if hits.1 {
            self.compare_all(self.short.of(block & 0xffff_ffff), body, at, found);
        }
        if hits.2 {
            self.compare_all(self.short.of(block >> 32), body, at + 4, found);
        }
    }

    fn compare_all(&self, candidates: &[Candidate], body: &[u8], at: usize, found: &mut Found) {
        for candidate in candidates {
            if found.has(candidate.text) {
                continue;
            }
            let text = &self.texts[candidate.text as usize];
            let start = at.checked_sub(candidate.offset as usize);
            if start.is_some_and(|start| body[start..].starts_with(text)) {
                found.add(candidate.text);
            }
        }
    }

    /// One search for all; from the first find on, one for each that is still missing, so that a body
    /// full of one of them costs no more than a few passes.
    fn find_tiny(&self, body: &[u8], found: &mut Found) {
        let mut from = 0;
        if let Some(searcher) = &self.tiny_packed
            && body.len() >= searcher.minimum_len()
        {
            let Some(first) = searcher.find(body) else { return };
            from = first.start();
        }
        for (number, finder) in self.tiny.iter().zip(&self.tiny_finders) {
            if finder.find(&body[from..]).is_some() {
                found.add(*number);
            }
        }
    }
}

/// How common a block is: among the texts themselves, and in ordinary pages.
struct Costs {
    eights: Vec<u64>,
    fours: Vec<u32>,
    ordinary_pairs: Vec<u16>,
}

impl Costs {
    fn of(texts: &[Vec<u8>]) -> Self {
        let (mut eights, mut fours) = (Vec::new(), Vec::new());
        for text in texts.iter().map(Vec::as_slice).chain([ORDINARY.as_bytes()]) {
            eights.extend(text.windows(8).map(block_of));
            fours.extend(text.windows(4).map(|w| block_of(w) as u32));
        }
        eights.sort_unstable();
        fours.sort_unstable();
        let mut ordinary_pairs: Vec<u16> =
            ORDINARY.as_bytes().windows(2).map(|w| u16::from_le_bytes([w[0], w[1]])).collect();
        ordinary_pairs.sort_unstable();
        Self { eights, fours, ordinary_pairs }
    }

    /// Cost of a block: how often it stands in the texts and in ordinary pages, and how ordinary its
    /// pairs of bytes are.
    fn of_block(&self, bytes: &[u8]) -> u64 {
        let block = block_of(bytes);
        let same =
            if bytes.len() == 8 { count(&self.eights, &block) } else { count(&self.fours, &(block as u32)) };
        let pairs: usize = bytes
            .windows(2)
            .map(|w| count(&self.ordinary_pairs, &u16::from_le_bytes([w[0], w[1]])).min(20))
            .sum();
        let is_one_byte = bytes.iter().all(|b| *b == bytes[0]);
        (same * same * 10 + pairs) as u64 + u64::from(is_one_byte) * 100_000
    }
}

fn count<T: Ord>(sorted: &[T], value: &T) -> usize {
    sorted.partition_point(|v| v <= value) - sorted.partition_point(|v| v < value)
}

fn block_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |block, byte| block << 8 | u64::from(*byte))
}

/// Adds the blocks of the cheapest window of a text; the first of equals.
fn window(text: &[u8], number: u32, size: usize, width: usize, costs: &Costs, into: &mut Vec<Candidate>) {
    let block_costs: Vec<u64> = text.windows(size).map(|bytes| costs.of_block(bytes)).collect();
    let blocks = width - size + 1;
    let start = (0..=text.len() - width)
        .min_by_key(|&start| block_costs[start..start + blocks].iter().sum::<u64>())
        .expect("texts are at least as long as their window");
    for offset in start..start + blocks {
        let block = block_of(&text[offset..offset + size]);
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        into.push(Candidate { block, text: number, offset });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(texts: &[Vec<u8>], body: &[u8]) -> Vec<u32> {
        let stands = |t: &Vec<u8>| body.windows(t.len()).any(|w| w == t.as_slice());
        (0u32..).zip(texts).filter(|(_, t)| stands(t)).map(|(i, _)| i).collect()
    }

    /// Splitmix64: a seeded stream of numbers.
    struct Numbers(u64);
    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % limit as u64) as usize
        }
        fn bytes(&mut self, length: usize, letters: usize) -> Vec<u8> {
            (0..length).map(|_| b'a' + self.below(letters) as u8).collect()
        }
    }

    #[test]
    fn every_text_is_found_at_every_place_and_alignment() {
        let mut numbers = Numbers(1);
        for length in 1..40 {
            let text = numbers.bytes(length, 26);
            let literals = Literals::build(vec![text.clone()]);
            for before in 0..20 {
                for after in 0..20 {
                    let body = [vec![b'#'; before], text.clone(), vec![b'#'; after]].concat();
                    assert_eq!(
                        literals.find(&body).texts().collect::<Vec<_>>(),
                        [0],
                        "{length} {before} {after}"
                    );
                    let cut = &body[..before + length - 1];
                    assert_eq!(literals.find(cut).texts().count(), 0, "{length} {before}");
                }
            }
        }
    }

    #[test]
    fn the_fast_search_equals_the_naive_one_on_random_texts_and_bodies() {
        let mut numbers = Numbers(2);
        for round in 0..400 {
            // Few letters: many texts share blocks, overlap each other and recur.
            let letters = 2 + round % 4;
            let count = 1 + numbers.below(120);
            let texts: Vec<_> = (0..count)
                .map(|_| {
                    let n = 1 + numbers.below(30);
                    numbers.bytes(n, letters)
                })
                .collect();
            let literals = Literals::build(texts.clone());
            for _ in 0..6 {
                let n = numbers.below(300);
                let mut body = numbers.bytes(n, letters);
                for _ in 0..numbers.below(4) {
                    let text = &texts[numbers.below(texts.len())];
                    let at = numbers.below(body.len() + 1);
                    body.splice(at..at, text.iter().copied());
                }
                assert_eq!(literals.find(&body).texts().collect::<Vec<_>>(), naive(&texts, &body));
            }
        }
    }

    #[test]
    fn a_body_that_repeats_one_block_is_searched_all_the_same() {
        let texts = vec![b"aaaaaaaaaaaaaaaaaaaab".to_vec(), b"aaaaaaa".to_vec(), b"aaab".to_vec()];
        let literals = Literals::build(texts.clone());
        let body = [vec![b'a'; 5_000], b"b".to_vec()].concat();
        assert_eq!(literals.find(&body).texts().collect::<Vec<_>>(), naive(&texts, &body));
        assert_eq!(literals.find(b"").texts().count(), 0);
        assert_eq!(Literals::build(Vec::new()).find(b"anything").texts().count(), 0);
    }
}
