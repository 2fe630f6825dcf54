//! The facts: what was measured, never what it means.

use std::borrow::Cow;

use crate::column::table;
use crate::{Asn, Country, Failure, Timestamp};

/// Text that is borrowed from the input where it can be.
pub type Text<'a> = Cow<'a, str>;

/// How a handshake travelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// over TCP
    #[default]
    Tcp,
    /// over UDP, no QUIC
    Udp,
    /// QUIC
    Quic,
}

impl Transport {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Quic => "quic",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Quic].into_iter().find(|t| t.as_str() == text)
    }
}

/// Why something could not be read, or was set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// the line is no JSON, from `byte_offset` on
    #[default]
    InvalidJson,
    /// the line ends inside a value
    TruncatedJson,
    /// bytes that are no UTF-8; they were replaced by U+FFFD
    InvalidUtf8,
    /// nested deeper than the reader goes
    TooDeep,
    /// longer than the reader goes
    TooLong,
    /// a value of a type that this part cannot have
    WrongType,
    /// a number outside what the column can hold
    NumberOutOfRange,
    /// a value marked base64 that is none
    InvalidBase64,
    /// a time that is none
    InvalidTime,
    /// an address that is none
    InvalidAddress,
    /// a URL that is none
    InvalidUrl,
    /// a certificate that is none
    InvalidCertificate,
    /// a key that appears twice in one object; the last one counts
    DuplicateKey,
    /// more elements than the reader takes from one list
    TooMany,
    /// a required part is absent
    Missing,
    /// JSON, but no measurement
    NotAMeasurement,
    /// a measurement that the lake already holds
    DuplicateMeasurement,
    /// the compressed stream is corrupt or cut short, from here on
    CorruptStream,
    /// the file could not be read
    Unreadable,
    /// a compressed stream that grows beyond the limit
    Bomb,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 20] = [
        Self::InvalidJson,
        Self::TruncatedJson,
        Self::InvalidUtf8,
        Self::TooDeep,
        Self::TooLong,
        Self::WrongType,
        Self::NumberOutOfRange,
        Self::InvalidBase64,
        Self::InvalidTime,
        Self::InvalidAddress,
        Self::InvalidUrl,
        Self::InvalidCertificate,
        Self::DuplicateKey,
        Self::TooMany,
        Self::Missing,
        Self::NotAMeasurement,
        Self::DuplicateMeasurement,
        Self::CorruptStream,
        Self::Unreadable,
        Self::Bomb,
    ];

    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::TruncatedJson => "truncated_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooDeep => "too_deep",
            Self::TooLong => "too_long",
            Self::WrongType => "wrong_type",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::InvalidBase64 => "invalid_base64",
            Self::InvalidTime => "invalid_time",
            Self::InvalidAddress => "invalid_address",
            Self::InvalidUrl => "invalid_url",
            Self::InvalidCertificate => "invalid_certificate",
            Self::DuplicateKey => "duplicate_key",
            Self::TooMany => "too_many",
            Self::Missing => "missing",
            Self::NotAMeasurement => "not_a_measurement",
            Self::DuplicateMeasurement => "duplicate_measurement",
            Self::CorruptStream => "corrupt_stream",
            Self::Unreadable => "unreadable",
            Self::Bomb => "bomb",
        }
    }

    /// Reads the word back; unknown words become `invalid_json`.
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).unwrap_or_default()
    }
}

table! {
    /// One row per input file.
    "sources" => pub struct Source<'a> {
        /// the path as it was given
        path: Text<'a>,
        /// XXH3-128 of the file's bytes as they lie on the disk, in hex
        hash: Text<'a>,
        /// size on disk
        size_bytes: u64,
        /// size after decompression
        text_bytes: u64,
        /// lines (or documents) in the file; always `measurements + rejected`
        lines: u64,
        /// lines that became a measurement
        measurements: u64,
        /// lines of which nothing could be kept, duplicates among them
        rejected: u64,
        /// rows in `rejects`, those for parts of kept measurements included
        rejects: u64,
    }
}

table! {
    /// One row per measurement that was submitted.
    "measurements" => pub struct Measurement<'a> {
        /// OONI's id of the submission; where the archive has none, `x` and a hash of the measurement
        measurement_uid: Text<'a>,
        /// OONI's report: measurements of one run of one test
        report_id: Option<Text<'a>>,
        /// path of the input file, as in `sources`
        source: Text<'a>,
        /// line in that file, from 1
        line: u64,
        /// where the line starts in the decompressed file
        byte_offset: u64,
        /// length of the line
        size_bytes: u64,
        /// name of the test, as in OONI's specification
        test_name: Text<'a>,
        /// version of the test
        test_version: Option<Text<'a>>,
        /// probe's clock at the measurement's start; the test's start where the former is absent or
        /// unreadable
        start_utc: Timestamp,
        /// collector's clock at submission, when the uid carries it
        upload_utc: Option<Timestamp>,
        /// country of the probe
        country: Country,
        /// AS number of the probe's network, 0 when unknown
        network: Asn,
        /// the network's name as the probe reported it
        network_name: Option<Text<'a>>,
        /// AS number of the resolver that the probe's system used
        resolver_network: Option<Asn>,
        /// the resolver's address, truncated to /24 or /48
        resolver_prefix: Option<Text<'a>>,
        /// the resolver's address was replaced by `[scrubbed]`
        resolver_scrubbed: bool,
        /// software that measured
        software_name: Option<Text<'a>>,
        /// its version
        software_version: Option<Text<'a>>,
        /// measurement engine
        engine_name: Option<Text<'a>>,
        /// its version
        engine_version: Option<Text<'a>>,
        /// operating system
        platform: Option<Text<'a>>,
        /// wifi, mobile, wired …
        network_type: Option<Text<'a>>,
        /// who started the test: the user or a timer
        origin: Option<Text<'a>>,
        /// version of OONI's data format
        data_format_version: Option<Text<'a>>,
        /// what was to be measured, as submitted; lists are joined with a blank
        input: Option<Text<'a>>,
        /// canonical name of what was measured: a host, an application, a service
        target: Text<'a>,
        /// host name of the input in ASCII (punycode), where it has one
        hostname: Option<Text<'a>>,
        /// how long the test ran
        runtime_us: Option<i64>,
        /// what became of the test helper: `none`, `absent`, `failed`, `ok`
        control: Text<'a>,
        /// why the test helper gave no answer
        control_failure: Option<Failure>,
        /// the probe's own verdict (`test_keys.blocking`): `false`, `dns`, `tcp_ip`, `http-diff`,
        /// `http-failure`
        probe_blocking: Option<Text<'a>>,
        /// the probe's own verdict (`test_keys.accessible`)
        probe_accessible: Option<bool>,
        /// parts that could not be read; the rest was kept
        rejects: u32,
        /// observations that follow from this measurement
        observations: u32,
        /// hash of the line's content, for telling resubmissions apart
        content_hash: u64,
    }
}

table! {
    /// One row per DNS → TCP → TLS or QUIC → HTTP chain that a probe walked. A step that was not
    /// walked, or was walked apart, leaves its columns empty.
    "observations" => pub struct Observation<'a> {
        /// measurement that it belongs to
        measurement_uid: Text<'a>,
        /// number within the measurement, from 0
        observation: u32,
        /// name of the test
        test_name: Text<'a>,
        /// country of the probe
        country: Country,
        /// AS number of the probe's network
        network: Asn,
        /// probe's clock at the chain's first step
        start_utc: Timestamp,
        /// redirects before this hop; 0 is the input itself
        hop: u32,
        /// the probe's transaction id; 0 when it gave none (df-001)
        transaction: u64,
        /// what the test says this operation is for: a target's id, a role
        role: Option<Text<'a>>,
        /// on the path that a user of this machine would take: the system's resolver and what follows from it
        classic: bool,
        /// false when the connection served only to validate an address (tag `fetch_body=false`)
        fetch_body: Option<bool>,
        /// host name in ASCII (punycode)
        hostname: Option<Text<'a>>,
        /// address that was resolved or contacted
        ip: Option<Text<'a>>,
        /// port
        port: Option<u32>,
        /// AS number of the address at the measurement's date
        ip_network: Option<Asn>,
        /// organisation that announces it
        ip_org: Option<Text<'a>>,
        /// country where it is registered
        ip_country: Option<Country>,
        /// private, reserved or otherwise not a public address
        ip_is_bogon: Option<bool>,
        /// number of the lookup within the measurement; several answers share it
        dns_lookup: Option<u32>,
        /// `system`, `udp`, `tcp`, `dot`, `doh`, or `unknown` where the probe did not say (before 2019)
        dns_engine: Option<Text<'a>>,
        /// resolver that the probe chose itself; never the system's own
        dns_resolver: Option<Text<'a>>,
        /// `A`, `AAAA`, `ANY` …
        dns_query_type: Option<Text<'a>>,
        /// why the lookup failed
        dns_failure: Option<Failure>,
        /// alias that the answer named
        dns_cname: Option<Text<'a>>,
        /// answers of this lookup that carry an address
        dns_answers: Option<u32>,
        /// time that the lookup took
        dns_us: Option<i64>,
        /// whether a further answer to the same question came and said something else, so that two parties
        /// answered; empty when none came or nobody waited
        dns_second_answer: Option<bool>,
        /// whether the connection opened
        tcp_success: Option<bool>,
        /// why it did not
        tcp_failure: Option<Failure>,
        /// time to connect
        tcp_us: Option<i64>,
        /// how the handshake travelled
        transport: Option<Transport>,
        /// whether the handshake completed; with verification unless `tls_unverified`
        tls_success: Option<bool>,
        /// why it did not
        tls_failure: Option<Failure>,
        /// name in the SNI extension
        tls_server_name: Option<Text<'a>>,
        /// outer name and `ech` or `grease`, when ECH was tried
        tls_ech: Option<Text<'a>>,
        /// protocol version
        tls_version: Option<Text<'a>>,
        /// cipher suite
        tls_cipher: Option<Text<'a>>,
        /// application protocol agreed on
        tls_alpn: Option<Text<'a>>,
        /// the probe did not verify the certificate
        tls_unverified: bool,
        /// SHA-256 of the end-entity certificate, hex
        cert_sha256: Option<Text<'a>>,
        /// its subject's common name
        cert_subject: Option<Text<'a>>,
        /// its issuer's common name, or organisation
        cert_issuer: Option<Text<'a>>,
        /// whether it is for the name that was asked; checked here, not by the probe
        cert_matches_name: Option<bool>,
        /// start of its validity
        cert_not_before_utc: Option<Timestamp>,
        /// end of its validity
        cert_not_after_utc: Option<Timestamp>,
        /// certificates that were sent
        cert_chain: Option<u32>,
        /// time of the handshake
        tls_us: Option<i64>,
        /// bytes read from the socket, by the recorded network events
        rx_bytes: Option<u64>,
        /// bytes written to the socket
        tx_bytes: Option<u64>,
        /// reads that returned data
        rx_reads: Option<u32>,
        /// from the first to the last read
        rx_us: Option<i64>,
        /// longest pause between two reads
        rx_gap_us: Option<i64>,
        /// last operation on the socket and how it ended
        last_operation: Option<Text<'a>>,
        /// URL of the request, without user name and password
        http_url: Option<Text<'a>>,
        /// method
        http_method: Option<Text<'a>>,
        /// why no complete answer came
        http_failure: Option<Failure>,
        /// status code
        http_status: Option<u32>,
        /// length of the body as recorded
        http_body_bytes: Option<u64>,
        /// the probe cut the body off (df-001: at 2^19 bytes)
        http_body_truncated: Option<bool>,
        /// XXH3-128 of the decoded body, hex; the body itself is never kept
        http_body_hash: Option<Text<'a>>,
        /// title of the page
        http_title: Option<Text<'a>>,
        /// where a redirect leads
        http_location: Option<Text<'a>>,
        /// `Server` header
        http_server: Option<Text<'a>>,
        /// names of uncommon response headers, lower case, sorted
        http_headers: Option<Text<'a>>,
        /// ids of blockpage fingerprints that matched, sorted
        http_fingerprints: Option<Text<'a>>,
        /// time from request to end of answer
        http_us: Option<i64>,
        /// what an application test reports: `bootstrap`, `web`, `registration` …
        app: Option<Text<'a>>,
        /// whether it worked
        app_success: Option<bool>,
        /// why it did not
        app_failure: Option<Failure>,
        /// a number that it reports
        app_value: Option<f64>,
        /// that number's unit
        app_unit: Option<Text<'a>>,
        /// arm: name of one tried thing of a test that compares, `target`, `neutral.1`; what was
        /// contacted stands in `ip`, `port`, `hostname`, `tls_server_name`, content in `rx_bytes`, `tx_bytes`
        arm: Option<Text<'a>>,
        /// its role in the comparison: `target`, `scrambled`, `neutral_name` …
        arm_role: Option<Text<'a>>,
        /// which repetition, from 0
        arm_round: Option<u32>,
        /// what was done: `tcp_connect`, `transfer`, `udp_exchange` …
        arm_operation: Option<Text<'a>>,
        /// protocol, version or variant that was tried
        arm_variant: Option<Text<'a>>,
        /// whether it worked
        arm_success: Option<bool>,
        /// why it did not
        arm_failure: Option<Failure>,
        /// the step at which it failed: `dns`, `tcp`, `tls`, `quic`, `http`, `transfer`
        arm_failed_at: Option<Text<'a>>,
        /// how long it took
        arm_us: Option<i64>,
        /// datagrams or writes sent
        arm_tx_packets: Option<u64>,
        /// datagrams or reads received
        arm_rx_packets: Option<u64>,
        /// content over the transfer alone, bytes a second
        arm_goodput_bytes_s: Option<f64>,
        /// share of datagrams without answer, 0 to 1
        arm_loss_share: Option<f64>,
        /// round-trip time at the end
        arm_rtt_ms: Option<f64>,
        /// round-trip time at the beginning
        arm_rtt_first_ms: Option<f64>,
        /// interarrival jitter (RFC 3550 §6.4.1)
        arm_jitter_ms: Option<f64>,
        /// TTL that was set, for steps of a search
        arm_ttl: Option<u32>,
        /// a further number of the test; its manual names the unit
        arm_value: Option<f64>,
        /// what came, in one word of a closed list of the test
        arm_note: Option<Text<'a>>,
    }
}

table! {
    /// One row per thing that a test helper, outside the probe's network, saw of the same target.
    "controls" => pub struct Control<'a> {
        /// measurement that it belongs to
        measurement_uid: Text<'a>,
        /// probe's clock at the measurement's start
        start_utc: Timestamp,
        /// `dns`, `tcp`, `tls`, `quic` or `http`
        kind: Text<'a>,
        /// host name in ASCII (punycode)
        hostname: Option<Text<'a>>,
        /// address that was resolved or contacted
        ip: Option<Text<'a>>,
        /// port
        port: Option<u32>,
        /// AS number of the address
        ip_network: Option<Asn>,
        /// private, reserved or otherwise not a public address
        ip_is_bogon: Option<bool>,
        /// whether it worked
        success: Option<bool>,
        /// why it did not
        failure: Option<Failure>,
        /// name in the SNI extension
        server_name: Option<Text<'a>>,
        /// status code of the last hop
        http_status: Option<u32>,
        /// length of the body of the last hop
        http_body_bytes: Option<u64>,
        /// title of the page of the last hop
        http_title: Option<Text<'a>>,
        /// names of uncommon response headers, lower case, sorted
        http_headers: Option<Text<'a>>,
    }
}

table! {
    /// One row per thing that could not be read, and why. Nothing is dropped without one.
    "rejects" => pub struct Reject<'a> {
        /// path of the input file, as in `sources`
        source: Text<'a>,
        /// line in that file, from 1; 0 when the whole file is meant
        line: u64,
        /// where it lies in the decompressed file
        byte_offset: u64,
        /// which part: a JSON path, `line`, `file`
        part: Text<'a>,
        /// why
        reason: RejectReason,
        /// what to do about it, or what was kept instead
        detail: Option<Text<'a>>,
        /// the measurement whose other parts were kept
        measurement_uid: Option<Text<'a>>,
    }
}
