//! Chance without a generator: a hash of the seed, the rule and what is decided.
//!
//! So a coin does not depend on the order of unrelated packets, and two runs agree.

use core::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

/// 64 fair bits for the decision that `about` names.
pub fn bits<T: Hash>(seed: u64, rule: &str, about: &T) -> u64 {
    let mut hasher = Xxh3::with_seed(seed);
    rule.hash(&mut hasher);
    about.hash(&mut hasher);
    hasher.finish()
}

/// True with a chance of `ppm` millionths.
pub fn coin<T: Hash>(seed: u64, rule: &str, about: &T, ppm: u32) -> bool {
    within(seed, rule, about, 1_000_000) < u64::from(ppm)
}

/// A number in `0..below`, evenly; 0 when `below` is 0.
pub fn within<T: Hash>(seed: u64, rule: &str, about: &T, below: u64) -> u64 {
    ((u128::from(bits(seed, rule, about)) * u128::from(below)) >> 64) as u64
}

/// A number in `low..=high`, evenly; `low` when the range is empty.
pub fn between<T: Hash>(seed: u64, rule: &str, about: &T, low: u64, high: u64) -> u64 {
    low + within(seed, rule, about, high.saturating_sub(low).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coin_falls_as_often_as_it_should_and_the_same_way_each_time() {
        let heads = (0..100_000_u32).filter(|n| coin(7, "rule", n, 263_000)).count();
        assert!((25_700..26_900).contains(&heads), "{heads}");
        assert_eq!(bits(7, "rule", &3_u32), bits(7, "rule", &3_u32));
        assert_ne!(bits(7, "rule", &3_u32), bits(7, "other", &3_u32));
        assert_ne!(bits(7, "rule", &3_u32), bits(8, "rule", &3_u32));
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_both_ends() {
        let seen: std::collections::BTreeSet<u64> =
            (0..1000_u32).map(|n| between(1, "r", &n, 5, 8)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert_eq!(between(1, "r", &0_u32, 9, 9), 9);
        assert_eq!(within(1, "r", &0_u32, 0), 0);
    }
}
