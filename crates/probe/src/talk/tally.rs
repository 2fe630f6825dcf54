//! Which messages of a run were answered, and when.
//!
//! The shape of what is missing tells interference apart: a box that lets n packets pass leaves an unbroken
//! beginning and silence after it, random loss leaves holes everywhere. Said here of one run alone; the
//! comparison with a control is not made here.

use core::time::Duration;
use std::collections::BTreeMap;

use okno_wire::Instant;

/// Unanswered messages at a run's end that count as silence. Of independent losses with a share of a third,
/// eight in a row end a run in 0.02 % of cases.
pub const SILENT_END: usize = 8;

/// What a run's answers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// every message was answered, or all but one in twenty
    Clean,
    /// answers came, then none any more
    Cut,
    /// holes all over
    Lossy,
    /// no answer at all
    Silent,
}

impl Shape {
    /// As in an arm's note.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Cut => "cut",
            Self::Lossy => "lossy",
            Self::Silent => "silent",
        }
    }
}

/// A run of messages and their answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    sent: Vec<Instant>,
    back: Vec<Option<Instant>>,
    keys: BTreeMap<[u8; 8], usize>,
    /// interarrival jitter in seconds (RFC 3550 §6.4.1), and the transit of the packet before
    jitter: f64,
    transit: Option<f64>,
}

impl Tally {
    /// A message went out.
    pub fn sent(&mut self, key: Option<[u8; 8]>, at: Instant) {
        if let Some(key) = key {
            self.keys.insert(key, self.sent.len());
        }
        self.sent.push(at);
        self.back.push(None);
    }

    /// An answer came. A second one to the same message counts nothing.
    pub fn back(&mut self, key: [u8; 8], at: Instant) {
        let Some(&index) = self.keys.get(&key) else { return };
        if self.back[index].is_some() {
            return;
        }
        self.back[index] = Some(at);
        // RFC 3550 §6.4.1: J += (|D| - J) / 16, D the difference of two transits.
        let transit = at.since(self.sent[index]).as_secs_f64();
        if let Some(before) = self.transit.replace(transit) {
            self.jitter += ((transit - before).abs() - self.jitter) / 16.0;
        }
    }

    /// Messages sent.
    pub const fn len(&self) -> usize {
        self.sent.len()
    }

    /// None was sent.
    pub const fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Answers that came.
    pub fn answers(&self) -> usize {
        self.back.iter().flatten().count()
    }

    /// Every message has its answer.
    pub fn is_complete(&self) -> bool {
        self.answers() == self.len()
    }

    /// Share without answer; `None` when nothing was sent.
    pub fn loss(&self) -> Option<f64> {
        (!self.is_empty()).then(|| 1.0 - self.answers() as f64 / self.len() as f64)
    }

    /// The last message that was answered, from 0.
    pub fn last_answered(&self) -> Option<u32> {
        self.back.iter().rposition(Option::is_some).and_then(|last| u32::try_from(last).ok())
    }

    /// Round trip of the last message that was answered.
    pub fn last_rtt(&self) -> Option<Duration> {
        let last = self.back.iter().rposition(Option::is_some)?;
        Some(self.back[last]?.since(self.sent[last]))
    }

    /// Jitter in seconds, after two answers.
    pub fn jitter(&self) -> Option<f64> {
        (self.answers() >= 2).then_some(self.jitter)
    }

    /// What the answers look like. A run of a handful of messages has no shape but silence.
    pub fn shape(&self) -> Shape {
        let Some(last) = self.last_answered() else {
            return if self.is_empty() { Shape::Clean } else { Shape::Silent };
        };
        let end = self.len() - 1 - last as usize;
        let lost = self.len() - self.answers();
        // A cut has an end without answers that holds most of what is missing.
        if end >= SILENT_END && 2 * end >= lost {
            Shape::Cut
        } else if 20 * lost <= self.len() {
            Shape::Clean
        } else {
            Shape::Lossy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(answered: impl Fn(usize) -> bool) -> Tally {
        let mut tally = Tally::default();
        for index in 0..40_usize {
            let key = (index as u64).to_be_bytes();
            let at = Instant::from_nanos(index as u64 * 20_000_000);
            tally.sent(Some(key), at);
            if answered(index) {
                tally.back(key, at + Duration::from_millis(40 + (index as u64 % 2) * 8));
            }
        }
        tally
    }

    #[test]
    fn packets_that_pass_and_then_silence_are_a_cut_and_holes_are_loss() {
        assert_eq!(run(|_| true).shape(), Shape::Clean);
        assert_eq!(run(|index| index < 3).shape(), Shape::Cut);
        assert_eq!(run(|index| index < 3).last_answered(), Some(2));
        assert_eq!(run(|_| false).shape(), Shape::Silent);
        assert_eq!(run(|index| index % 3 != 0).shape(), Shape::Lossy);
        assert_eq!(run(|index| index % 8 == 0 || index == 39).shape(), Shape::Lossy);
    }

    #[test]
    fn jitter_follows_the_differences_of_transits() {
        let jitter = run(|_| true).jitter().expect("answers came");
        // Transits alternate by 8 ms; the estimator comes near that from below.
        assert!((0.006..0.008).contains(&jitter), "{jitter}");
    }
}
