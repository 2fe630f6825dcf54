//! Arms: what tests of our own write down, one record a tried thing.
//!
//! OONI's formats have no place for "the same transfer, scrambled" or "the same address, a neutral name". A
//! test that compares writes one arm for each thing it tried, with the role it plays in the comparison, and
//! concludes nothing: `ingest` turns arms into rows, `detect` compares them. Operations of an arm also stand
//! in OONI's own lists (`tcp_connect`, `tls_handshakes` …) under the same transaction id.

use serde::Serialize;

/// What an arm is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// the thing under suspicion
    Target,
    /// the same again, later or on a fresh port
    Repeat,
    /// the same address, a name that nobody filters
    NeutralName,
    /// the suspected name, another address
    OtherAddress,
    /// another address beside the suspected one, as by /24
    Neighbour,
    /// the same bytes, scrambled: sizes and times remain, contents do not
    Scrambled,
    /// random bytes of the same sizes, same port and address
    Random,
    /// the same without the feature under suspicion (no ECH, another fingerprint, no decoy)
    Plain,
    /// the same over another transport
    OtherTransport,
    /// the same to another port
    OtherPort,
    /// the same in another version of the protocol
    OtherVersion,
    /// the same with packets of another size, so that packets and bytes can be told apart
    OtherSize,
    /// neither the suspected name nor the suspected feature: what has to work on any open path
    Baseline,
    /// the same seen from elsewhere, by the test helper
    Outside,
    /// a target at home
    Domestic,
    /// a target abroad
    Foreign,
    /// opened by the other side
    Inbound,
    /// a first connection of a series
    Series,
    /// after waiting: does it work again, and since when
    Recovery,
    /// a step of a search (TTL, size)
    Step,
}

/// One tried thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Arm {
    /// unique within the measurement, stable between versions: `target`, `neutral.1`, `ttl.4`
    pub name: String,
    /// its role
    pub role: Option<Role>,
    /// which repetition, from 0
    pub round: u32,
    /// transaction id of its operations; 0 when it has none
    pub transaction_id: u64,
    /// what was done: `tcp_connect`, `tls_handshake`, `transfer`, `udp_exchange`, `dns_query`,
    /// `quic_handshake`, `ping`, `fragments`, `media`, `http_get`
    pub operation: String,
    /// address and port
    pub endpoint: String,
    /// server name that was shown; empty when none was
    pub server_name: String,
    /// protocol, version or variant that was tried: `wireguard`, `quic-v2`, `ech`
    pub variant: String,
    /// OONI's failure string; `null` when it worked
    pub failure: Option<String>,
    /// the step at which it failed: `dns`, `tcp`, `tls`, `quic`, `http`, `transfer`; empty when it did not
    pub failed_at: String,
    /// seconds from the measurement's start
    pub t0: f64,
    /// seconds from the measurement's start
    pub t: f64,
    /// bytes of content sent
    pub sent_bytes: u64,
    /// bytes of content received
    pub received_bytes: u64,
    /// datagrams or writes sent
    pub sent_packets: u64,
    /// datagrams or reads received
    pub received_packets: u64,
    /// bytes of content a second, over the transfer alone
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput: Option<f64>,
    /// share of datagrams without answer, 0–1
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// round-trip time in milliseconds, at the end
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// round-trip time in milliseconds, at the beginning
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_first_ms: Option<f64>,
    /// interarrival jitter in milliseconds (RFC 3550 §6.4.1)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    /// TTL that was set, for steps of a search
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// a further number of this test, with its unit in the name of the test's manual
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// what came, in one word of a closed list of the test: `rst`, `icmp_time_exceeded`, `second_answer`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}
