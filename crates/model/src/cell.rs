//! Verdicts counted on a grid, so that silence is visible.

use crate::column::table;
use crate::{Asn, Country, Layer, State, Text, Timestamp};

table! {
    /// One row per target, network, layer and hour, hours without any measurement included.
    "cells" => pub struct Cell<'a> {
        /// what was measured
        target: Text<'a>,
        /// country of the probes
        country: Country,
        /// AS number of the probes' network
        network: Asn,
        /// layer
        layer: Layer,
        /// start of the hour
        hour_utc: Timestamp,
        /// measurements judged
        measurements: u32,
        /// of these ok
        ok: u32,
        /// of these down
        down: u32,
        /// of these blocked
        blocked: u32,
        /// of these throttled
        throttled: u32,
        /// of these insufficient
        insufficient: u32,
        /// deciding rules and how often, `rule:count` joined with a blank, most frequent first
        rules: Text<'a>,
        /// most frequent mechanism among blocked and throttled
        mechanism: Option<Text<'a>>,
        /// distinct reports, the nearest thing to distinct probes that may be known
        reports: u32,
        /// share of blocked and throttled among what could be judged
        interference_share: Option<f64>,
        /// lower end of its 95 % Wilson interval
        interference_low: Option<f64>,
        /// upper end of its 95 % Wilson interval
        interference_high: Option<f64>,
        /// the cell's state: that of most judged measurements; `silent` when there were none
        state: Text<'a>,
    }
}

impl Cell<'_> {
    /// Measurements of this cell that could be judged.
    pub fn judged(&self) -> u32 {
        self.measurements - self.insufficient
    }

    /// The state of most judged measurements; ties go to the less alarming one.
    pub fn majority(&self) -> Option<State> {
        if self.measurements == 0 {
            return None;
        }
        let [ok, down, throttled, blocked] =
            [self.ok, self.down, self.throttled, self.blocked].map(u64::from);
        Some(State::of_most(ok, down, throttled, blocked))
    }
}
