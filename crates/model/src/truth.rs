//! What really happened in a simulated internet, and what its clients saw of it.
//!
//! `truth` is what detectors are scored against: acts of filters, changes of policy, and natural faults,
//! which are no censorship. `outcomes` is what clients of the lab measured. Addresses in both are the
//! lab's own.

use crate::column::table;
use crate::{Asn, Text, Timestamp};

table! {
    /// What happened in a lab run and who caused it: acts of filters, changes of policy, natural faults.
    "truth" => pub struct Truth<'a> {
        /// name of the scenario
        scenario: Text<'a>,
        /// seed of the run
        seed: u64,
        /// place in the order of the run, from 1
        sequence: u64,
        /// when, in virtual time
        at_utc: Timestamp,
        /// when it ended, for policies and faults that end
        until_utc: Option<Timestamp>,
        /// `act` of a filter, `policy` (its change), `fault` (no censorship)
        class: Text<'a>,
        /// access network and region, `mts/moscow`; empty when several are concerned
        cell: Text<'a>,
        /// region's id
        region: Text<'a>,
        /// access network's id
        operator: Text<'a>,
        /// access network's AS number; 0 when several are concerned
        network: Asn,
        /// name of the filter
        filter: Text<'a>,
        /// profile that it had
        profile: Text<'a>,
        /// rule of the profile
        rule: Text<'a>,
        /// mechanism, as in verdicts; empty for policies and faults
        mechanism: Text<'a>,
        /// kind of act, of policy or of fault
        kind: Text<'a>,
        /// flow: `tcp 10.0.0.16:40000 > 11.18.8.1:443`
        flow: Text<'a>,
        /// id of the service that was concerned
        target: Text<'a>,
        /// name as the filter read it
        target_name: Text<'a>,
        /// address outside of the flow
        target_address: Text<'a>,
        /// protocol as recognised
        protocol: Text<'a>,
        /// entry of the list that matched
        matched: Text<'a>,
        /// fingerprint, when one decided
        fingerprint: Text<'a>,
        /// index of the packet in its flow, from 1; 0 when none is meant
        packet: u32,
        /// evidence or cause, in words
        detail: Text<'a>,
    }
}

table! {
    /// What a client of a lab run measured.
    "outcomes" => pub struct Outcome<'a> {
        /// name of the scenario
        scenario: Text<'a>,
        /// seed of the run
        seed: u64,
        /// place in the order of the run, from 1
        sequence: u64,
        /// when it began, in virtual time
        at_utc: Timestamp,
        /// access network and region, `mts/moscow`
        cell: Text<'a>,
        /// region's id
        region: Text<'a>,
        /// access network's id
        operator: Text<'a>,
        /// access network's AS number
        network: Asn,
        /// group and number of the client
        client: Text<'a>,
        /// what it did
        activity: Text<'a>,
        /// id of the service
        target: Text<'a>,
        /// name that it used
        target_name: Text<'a>,
        /// address that it used; empty when there was none
        target_address: Text<'a>,
        /// whether it got what it wanted
        ok: bool,
        /// how it failed, by OONI's names; empty when it did not
        failure: Text<'a>,
        /// at which step: dns, tcp, tls, quic, http, app; empty when it did not fail
        failed_at: Text<'a>,
        /// how long it took
        duration_us: u64,
        /// bytes of content that arrived
        received_bytes: u64,
        /// goodput after the handshake, bits per second; absent when too little arrived
        goodput_bps: Option<u64>,
        /// status of an HTTP answer; absent when there was none
        http_status: Option<u32>,
    }
}
