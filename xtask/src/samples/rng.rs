//! The generator's own random numbers: splitmix64, so that a seed gives the same bytes on every machine.
//!
//! Each series of measurements has a stream of its own, named by text. Adding a series therefore does
//! not change the bytes of the others.

/// A stream of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub struct Stream(u64);

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a over the name: enough to keep the streams apart.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`; `high` must be above `low`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// One of the choices.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.between(0, choices.len() as u64) as usize;
        &choices[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_algorithm() {
        // Reference: splitmix64 with state 1234567, first output (Vigna's test vector).
        let mut stream = Stream(1_234_567);
        assert_eq!(stream.next(), 6_457_827_717_110_365_317);
        assert_eq!(stream.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn streams_of_other_names_differ() {
        assert_ne!(Stream::named(1, "a").next(), Stream::named(1, "b").next());
        assert_eq!(Stream::named(1, "a").next(), Stream::named(1, "a").next());
    }
}
