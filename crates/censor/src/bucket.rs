//! Token buckets and departure clocks in exact integers.
//!
//! Credit is counted in bits times nanoseconds per second, so that no rounding adds up: a rate of one bit
//! per second and a rate of a terabit are both exact.

use core::time::Duration;

use okno_wire::Instant;

use crate::action::Rate;

/// Credit of one byte.
const BYTE: u128 = 8 * 1_000_000_000;

/// A policer's bucket. It starts full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    credit: u128,
    at: Instant,
}

impl Bucket {
    /// Full, at `now`.
    pub const fn full(rate: Rate, now: Instant) -> Self {
        Self { credit: rate.burst_bytes as u128 * BYTE, at: now }
    }

    /// Takes `bytes` out; false when they do not fit, and then nothing is taken.
    pub fn take(&mut self, rate: Rate, now: Instant, bytes: usize) -> bool {
        self.fill(rate, now);
        let cost = bytes as u128 * BYTE;
        let fits = self.credit >= cost;
        if fits {
            self.credit -= cost;
        }
        fits
    }

    /// Takes `bytes` out and says how long they have to wait until the rate allows them; `None` when more
    /// than `queue_bytes` would wait.
    pub fn queue(&mut self, rate: Rate, now: Instant, bytes: usize, queue_bytes: u64) -> Option<Duration> {
        // A shaper's debt is kept as a time in the future at which the bucket is empty.
        if now >= self.at {
            self.fill(rate, now);
        }
        let cost = bytes as u128 * BYTE;
        if self.at <= now && self.credit >= cost {
            self.credit -= cost;
            return Some(Duration::ZERO);
        }
        let backlog = u128::from(nanos(self.at.since(now))) * u128::from(rate.bits_per_second);
        if backlog + cost > u128::from(queue_bytes) * BYTE {
            return None;
        }
        let missing = cost - core::mem::take(&mut self.credit).min(cost);
        let wait = missing.div_ceil(u128::from(rate.bits_per_second.max(1)));
        self.at = self.at.max(now) + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        Some(self.at.since(now))
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let elapsed = u128::from(nanos(now.since(self.at)));
        let full = u128::from(rate.burst_bytes) * BYTE;
        self.credit = (self.credit + elapsed * u128::from(rate.bits_per_second)).min(full);
        self.at = self.at.max(now);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bits_per_second: 140_000, burst_bytes: 16_384 };

    #[test]
    fn a_policer_passes_its_burst_and_then_exactly_its_rate() {
        let mut bucket = Bucket::full(RATE, Instant::ZERO);
        let mut passed = 0_u64;
        for millisecond in 0..100_000_u64 {
            if bucket.take(RATE, Instant::from_micros(millisecond * 1000), 1000) {
                passed += 1000;
            }
        }
        // 99.999 s at 17,500 bytes per second and the burst, less than one packet left over.
        let allowed = 16_384 + 99_999 * 17_500 / 1000;
        assert!(passed <= allowed && passed + 1000 > allowed, "{passed} of {allowed}");
    }

    #[test]
    fn a_burst_passes_at_once_and_is_followed_by_a_gap() {
        let mut bucket = Bucket::full(RATE, Instant::ZERO);
        let burst = (0..40).filter(|_| bucket.take(RATE, Instant::ZERO, 1024)).count();
        assert_eq!(burst, 16);
        assert!(!bucket.take(RATE, Instant::from_micros(58_514), 1024));
        assert!(bucket.take(RATE, Instant::from_micros(58_515), 1024));
    }

    #[test]
    fn time_that_goes_back_neither_fills_nor_drains() {
        let mut bucket = Bucket::full(RATE, Instant::from_secs(100));
        assert!(bucket.take(RATE, Instant::from_secs(100), 16_384));
        assert!(!bucket.take(RATE, Instant::from_secs(50), 1));
        assert!(bucket.take(RATE, Instant::from_secs(101), 16_384));
    }

    #[test]
    fn a_shaper_delays_what_a_policer_drops_and_its_queue_has_an_end() {
        let rate = Rate { bits_per_second: 8_000, burst_bytes: 1000 };
        let mut bucket = Bucket::full(rate, Instant::ZERO);
        let mut wait = || bucket.queue(rate, Instant::ZERO, 1000, 3000);
        assert_eq!(wait(), Some(Duration::ZERO));
        assert_eq!(wait(), Some(Duration::from_secs(1)));
        assert_eq!(wait(), Some(Duration::from_secs(2)));
        assert_eq!(wait(), Some(Duration::from_secs(3)));
        assert_eq!(wait(), None);
    }
}
