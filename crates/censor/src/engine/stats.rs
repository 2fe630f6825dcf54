//! Counters of an engine.

use crate::middlebox::Verdict;

/// What an engine did so far and holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// packets seen
    pub packets: u64,
    /// their bytes
    pub bytes: u64,
    /// fragments that came to the queue
    pub fragments: u64,
    /// packets whose transport header does not hold
    pub malformed: u64,
    /// packets that failed a check of the switches
    pub not_believed: u64,
    /// packets dropped
    pub dropped: u64,
    /// packets changed
    pub rewritten: u64,
    /// packets held back
    pub held: u64,
    /// packets forged
    pub injected: u64,
    /// decisions that began something
    pub triggered: u64,
    /// flows tracked now
    pub flows_open: u64,
    /// flows ever tracked
    pub flows_opened: u64,
    /// flows forgotten after their idle time
    pub flows_expired: u64,
    /// flows that had to go because the table was full
    pub flows_evicted: u64,
    /// flows no longer looked into because stream memory was full
    pub streams_evicted: u64,
    /// residual entries now
    pub residuals: u64,
    /// residual entries that had to go
    pub residuals_evicted: u64,
    /// packets given up in the fragment queue
    pub packets_discarded_in_fragments: u64,
    /// an estimate of what the engine keeps, in bytes
    pub memory_bytes: u64,
}

impl Stats {
    pub(super) const fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass => {}
            Verdict::Drop => self.dropped += 1,
            Verdict::Rewrite(_) => self.rewritten += 1,
            Verdict::Hold => self.held += 1,
        }
    }
}
