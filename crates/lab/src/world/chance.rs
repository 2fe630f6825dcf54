//! Chance without a generator that anybody could drain: hashes of a seed and of what is decided, and streams
//! that belong to one program each.
//!
//! A decision about a packet hashes the link and the packet's number, so that an unrelated link does not move
//! it. A program's random bytes come from a stream of its own; while the executor polls the program, the
//! stream lies in a thread-local so that cryptographic libraries, which take no argument for it, find it.

use core::cell::Cell;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A hash of `seed` and `parts`: the same on every machine and in every run.
pub fn hash(seed: u64, parts: &[u64]) -> u64 {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    for part in parts {
        state = mix(state ^ *part);
    }
    mix(state)
}

/// A hash of `seed` and a name.
pub fn hash_name(seed: u64, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

/// The finaliser of splitmix64 (https://prng.di.unimi.it/splitmix64.c).
const fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Whether an event of probability `probability` happens, given a hash.
pub fn happens(probability: f64, hash: u64) -> bool {
    probability > 0.0 && ((hash >> 11) as f64) < probability * ((1u64 << 53) as f64)
}

/// A stream of random bytes. Good enough for a lab; it protects no secret.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    seed: u64,
    count: u64,
}

impl Stream {
    /// The stream of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.count += 1;
        mix(self.seed ^ mix(self.count))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

thread_local! {
    static CURRENT: Cell<Stream> = const { Cell::new(Stream::new(0)) };
}

/// Runs `body` with `stream` as the source of [`fill`]; the stream keeps what was drawn.
pub fn scope<T>(stream: &mut Stream, body: impl FnOnce() -> T) -> T {
    let outer = CURRENT.replace(*stream);
    let result = body();
    *stream = CURRENT.replace(outer);
    result
}

/// Makes what is drawn outside of any program follow from `seed` too: a new world calls it, so that nothing
/// depends on the worlds that this thread ran before.
pub(crate) fn begin(seed: u64) {
    CURRENT.set(Stream::new(hash(seed, &[0])));
}

/// Fills `bytes` from the stream of the program that runs now.
pub fn fill(bytes: &mut [u8]) {
    let mut stream = CURRENT.get();
    stream.fill(bytes);
    CURRENT.set(stream);
}

/// 64 bits from the stream of the program that runs now.
pub fn next_u64() -> u64 {
    let mut stream = CURRENT.get();
    let value = stream.next_u64();
    CURRENT.set(stream);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_draws_from_its_own_stream_and_leaves_the_outer_one_alone() {
        let mut outer = Stream::new(1);
        let mut inner = Stream::new(2);
        let alone = Stream::new(1).next_u64();
        let drawn = scope(&mut outer, || {
            scope(&mut inner, next_u64);
            next_u64()
        });
        assert_eq!(drawn, alone);
        assert_eq!(inner.count, 1);
    }

    #[test]
    fn events_happen_about_as_often_as_their_probability_says() {
        let hits = (0..100_000).filter(|n| happens(0.03, hash(7, &[*n]))).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
        assert!(!happens(0.0, 0));
        assert!(happens(1.0, u64::MAX));
    }
}
