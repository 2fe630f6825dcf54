//! What the lab leaves behind: flows of a replayed capture.
//!
//! No row carries a subscriber's address: within a run a subscriber is a number.

use crate::column::table;
use crate::{Text, Timestamp};

table! {
    /// One row per flow of a replayed capture: what it is, and what a documented box would have done to it.
    "flows" => pub struct Flow<'a> {
        /// the replay: a hash of the captures' names, sizes and beginnings, the profile and the options
        run: Text<'a>,
        /// the profile that was asked
        profile: Text<'a>,
        /// the capture file's name
        capture: Text<'a>,
        /// which flow of the run, from 1
        flow: u64,
        /// its first packet's number in the capture, as Wireshark counts
        first_packet: u64,
        /// time of its first packet
        first_utc: Timestamp,
        /// from its first packet to its last
        duration_us: u64,
        /// tcp, udp, icmp, esp …
        transport: Text<'a>,
        /// which subscriber of the run, from 1; no address is kept
        subscriber: u32,
        /// the subscriber's port; 0 where the transport has none
        subscriber_port: u32,
        /// the far end's address
        remote_ip: Text<'a>,
        /// the far end's port; 0 where the transport has none
        remote_port: u32,
        /// subscriber, remote, or unknown where the capture begins in the middle
        opened_by: Text<'a>,
        /// packets from the subscriber
        packets_up: u64,
        /// packets to the subscriber
        packets_down: u64,
        /// bytes of whole IP packets from the subscriber, as far as captured
        bytes_up: u64,
        /// bytes of whole IP packets to the subscriber, as far as captured
        bytes_down: u64,
        /// what it was recognised as; empty when it was not
        protocol: Option<Text<'a>>,
        /// version or flavour in the protocol's own words
        version: Option<Text<'a>>,
        /// server name: SNI, Host, query name
        name: Option<Text<'a>>,
        /// JA4 of its hello
        fingerprint: Option<Text<'a>>,
        /// how surely it was recognised: parsed, pattern, heuristic
        certainty: Option<Text<'a>>,
        /// IP fragments among its packets
        fragments: u32,
        /// malformed packets
        malformed: u32,
        /// the first malformed packet: layer, offset, what was expected, what was found
        malformed_first: Option<Text<'a>>,
        /// the first rule that would have acted; empty when none would
        rule: Option<Text<'a>>,
        /// its mechanism, a dot path of the taxonomy
        mechanism: Option<Text<'a>>,
        /// what it would have done first: triggered, dropped, rewritten, injected, policed, delayed, expired
        act: Option<Text<'a>>,
        /// at which packet of the flow, both ways counted, from 1
        act_packet: Option<u32>,
        /// that packet's number in the capture; empty when a timer acted
        act_number: Option<u64>,
        /// on which evidence, in words
        evidence: Option<Text<'a>>,
        /// ids of all rules that would have acted, in order, joined by blanks
        rules: Text<'a>,
        /// recorded packets that would have been dropped; what followed them stays as recorded
        dropped: u32,
        /// packets that would have been forged
        forged: u32,
    }
}
