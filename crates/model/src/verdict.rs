//! What the facts mean.

use crate::column::table;
use crate::{Asn, Country, Layer, State, Text, Timestamp};

table! {
    /// One row per measurement, host and layer: what the evidence says, how surely, and why.
    "verdicts" => pub struct Verdict<'a> {
        /// measurement that was judged
        measurement_uid: Text<'a>,
        /// name of the test
        test_name: Text<'a>,
        /// what was to be measured
        target: Text<'a>,
        /// host that this verdict is about: the target's, or a redirect hop's
        hostname: Option<Text<'a>>,
        /// redirects before it
        hop: u32,
        /// country of the probe
        country: Country,
        /// AS number of the probe's network
        network: Asn,
        /// probe's clock
        start_utc: Timestamp,
        /// layer at which it showed
        layer: Layer,
        /// ok, down, blocked, throttled, insufficient
        state: State,
        /// dot path of the taxonomy, the deepest node that the evidence supports; empty unless
        /// blocked or throttled
        mechanism: Option<Text<'a>>,
        /// how probable the state is, given the evidence, 0 to 1
        probability: f64,
        /// stable id of the rule that decided
        rule: Text<'a>,
        /// ids of all rules that fired, in order of the ruleset
        rules_fired: Text<'a>,
        /// the operation that shows it
        witness: Option<Text<'a>>,
        /// number of the observation that shows it
        witness_observation: Option<u32>,
        /// fingerprint that matched, if one did
        fingerprint: Option<Text<'a>>,
        /// name, version and hash of the rules
        ruleset: Text<'a>,
        /// versions of the reference data
        reference: Text<'a>,
    }
}
