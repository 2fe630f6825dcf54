//! Fixed hashing: the same key has the same hash on every machine and in every run.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// A hasher without a random seed, so that maps behave alike in every run. Map order is still never used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(Xxh3::new())
    }
}

/// XXH3 over what is written.
pub(crate) struct FixedHasher(Xxh3);

impl Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Hash of a text, apart for each purpose.
pub(crate) fn of_text(text: &str, purpose: u64) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), purpose)
}

/// Mixes a number into a hash (the finaliser of splitmix64, so that neighbours do not stay neighbours).
pub(crate) fn mix(hash: u64, more: u64) -> u64 {
    let mut z = hash ^ more.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
