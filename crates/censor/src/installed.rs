//! An action at work on one flow: counters, buckets, beginning and end.

use core::time::Duration;

use okno_wire::{Endpoint, FlowKey, Instant};

use crate::action::{Action, Rate, Refresh, Scope};
use crate::bucket::Bucket;
use crate::chance;
use crate::middlebox::{Direction, Evidence};
use crate::technique::PerWay;

/// An action on a flow.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    /// index of the technique
    pub rule: u16,
    pub scope: Scope,
    pub action: Action,
    pub from: Instant,
    pub until: Instant,
    pub lasting: Duration,
    pub refresh: Refresh,
    /// packets that it saw
    pub seen: u32,
    pub buckets: PerWay<Option<Bucket>>,
    /// the first packet it took was told
    pub told: bool,
    /// it came from an earlier flow or another one
    pub inherited: bool,
    /// what is told when it first takes a packet, where the decision alone is no deed yet
    pub evidence: Option<Box<Evidence>>,
}

/// What an action does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deal {
    Pass,
    Drop,
    /// dropped for its rate
    Police,
    Reset,
    Delay(Duration),
    Redirect(Endpoint),
}

/// What an action needs to know of the packet at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtHand<'a> {
    pub now: Instant,
    pub direction: Direction,
    /// bytes of the IP packet
    pub size: usize,
    pub has_data: bool,
    /// of the flow, this one included
    pub packets: u32,
    pub bytes: PerWay<u64>,
    pub key: FlowKey,
    pub seed: u64,
    pub rule: &'a str,
}

/// Whether what begins at `from` for `lasting`, and ends at `until`, is not over at `now`. A clock that
/// jumped ahead for a packet and came back leaves ends that are further away than they could be: those
/// hold no more.
pub(crate) fn holds(now: Instant, from: Instant, until: Instant, lasting: Duration) -> bool {
    // More than captures are out of order.
    const SLACK: Duration = Duration::from_secs(7200);
    now < until && until.since(now.max(from)) <= lasting.saturating_add(SLACK)
}

impl Installed {
    /// Deals with one packet.
    pub fn deal(&mut self, at: &AtHand<'_>) -> Deal {
        if at.now < self.from {
            return Deal::Pass;
        }
        // What holds for data alone counts data alone.
        if at.has_data || !matches!(self.action, Action::Drop { data_only: true, .. }) {
            self.seen = self.seen.saturating_add(1);
        }
        match &self.action {
            Action::Nothing => Deal::Pass,
            Action::Drop { ways, after, pass_ppm, data_only } => {
                let spared = self.seen <= *after || !ways.has(at.direction) || (*data_only && !at.has_data);
                if spared
                    || (*pass_ppm > 0 && chance::coin(at.seed, at.rule, &(at.key, at.packets), *pass_ppm))
                {
                    Deal::Pass
                } else {
                    Deal::Drop
                }
            }
            Action::RewriteToReset { way } if *way == at.direction => Deal::Reset,
            Action::RewriteToReset { .. } => Deal::Pass,
            Action::Police { up, down } => {
                let rate = *PerWay { up: *up, down: *down }.of(at.direction);
                self.police(rate, at)
            }
            Action::Shape { up, down, queue_bytes } => {
                let rate = *PerWay { up: *up, down: *down }.of(at.direction);
                let queue_bytes = *queue_bytes;
                self.shape(rate, queue_bytes, at)
            }
            Action::Delay { ways, time } if ways.has(at.direction) => Deal::Delay(*time),
            Action::Delay { .. } => Deal::Pass,
            Action::Budget { packets, bytes_up, bytes_down } => {
                let spent = packets.is_some_and(|limit| at.packets > limit)
                    || bytes_up.is_some_and(|limit| at.bytes.up > limit)
                    || bytes_down.is_some_and(|limit| at.bytes.down > limit);
                if spent { Deal::Drop } else { Deal::Pass }
            }
            Action::Redirect { to } => Deal::Redirect(*to),
        }
    }

    fn police(&mut self, rate: Option<Rate>, at: &AtHand<'_>) -> Deal {
        let Some(rate) = rate else { return Deal::Pass };
        let bucket = self.buckets.of_mut(at.direction).get_or_insert_with(|| Bucket::full(rate, at.now));
        if bucket.take(rate, at.now, at.size) { Deal::Pass } else { Deal::Police }
    }

    fn shape(&mut self, rate: Option<Rate>, queue_bytes: u64, at: &AtHand<'_>) -> Deal {
        let Some(rate) = rate else { return Deal::Pass };
        let bucket = self.buckets.of_mut(at.direction).get_or_insert_with(|| Bucket::full(rate, at.now));
        match bucket.queue(rate, at.now, at.size, queue_bytes) {
            Some(Duration::ZERO) => Deal::Pass,
            Some(wait) => Deal::Delay(wait),
            None => Deal::Police,
        }
    }
}
