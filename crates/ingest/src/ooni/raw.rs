//! What a measurement says, as it says it: the archival structures that OONI's nettests share
//! (df-001-httpt, df-002-dnst, df-005-tcpconnect, df-006-tlshandshake, df-008-netevents), read tolerantly.

use okno_model::{Failure, RejectReason, Text, Timestamp, Transport};

use super::body::BodyFacts;
use crate::json::RawValue;

/// How an operation ended (trap 11: null, false, true, a name, or an empty string).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// the key is absent
    #[default]
    Absent,
    /// null: no failure
    Fine,
    /// `false`: the operation was not run (tor targets, trap 11)
    NotRun,
    /// failed
    Failed(Failure),
}

impl Outcome {
    /// The failure, if it failed.
    pub fn failure(self) -> Option<Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// Times and labels that every operation carries.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// start, µs after the measurement's start
    pub t0_us: Option<i64>,
    /// end, µs after the measurement's start
    pub t_us: Option<i64>,
    /// 0 when unknown (trap 1)
    pub transaction: u64,
    /// redirects before this, from tag `depth=N`
    pub depth: Option<u32>,
    /// tag `classic`
    pub classic: bool,
    /// tag `fetch_body=…`
    pub fetch_body: Option<bool>,
    /// any tag at all
    pub tagged: bool,
    /// index into [`Raw::roles`]
    pub role: Option<usize>,
}

impl Common {
    /// How long it took.
    pub fn took_us(&self) -> Option<i64> {
        let (t0, t) = (self.t0_us?, self.t_us?);
        (t >= t0).then_some(t - t0)
    }
}

/// One answer of a lookup.
#[derive(Clone, Debug, Default)]
pub struct Answer<'a> {
    /// address in canonical text, or `[scrubbed]`
    pub ip: Option<Text<'a>>,
    /// alias
    pub cname: Option<Text<'a>>,
}

/// One lookup (df-002).
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    /// times and labels
    pub common: Common,
    /// resolver engine as written
    pub engine: Option<Text<'a>>,
    /// name asked for
    pub hostname: Option<Text<'a>>,
    /// record type
    pub query_type: Option<Text<'a>>,
    /// how it ended
    pub outcome: Outcome,
    /// resolver asked
    pub resolver: Option<Text<'a>>,
    /// answers
    pub answers: Vec<Answer<'a>>,
}

/// One connect (df-005).
#[derive(Clone, Debug, Default)]
pub struct Connect<'a> {
    /// times and labels
    pub common: Common,
    /// address
    pub ip: Option<Text<'a>>,
    /// name that was connected to, where the probe wrote one in place of an address
    pub host: Option<Text<'a>>,
    /// port
    pub port: Option<u32>,
    /// how it ended
    pub outcome: Outcome,
    /// `status.success`, where the outcome is absent
    pub success: Option<bool>,
}

impl Connect<'_> {
    /// Whether it opened.
    pub fn succeeded(&self) -> bool {
        match self.outcome {
            Outcome::Fine => true,
            Outcome::Absent => self.success == Some(true),
            Outcome::NotRun | Outcome::Failed(_) => false,
        }
    }
}

/// The end-entity certificate and how many came with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// number of certificates
    pub length: u32,
    /// SHA-256 of the leaf, hex
    pub sha256: Option<String>,
    /// common name of its subject
    pub subject: Option<String>,
    /// common name or organisation of its issuer
    pub issuer: Option<String>,
    /// names it is for, lower case
    pub names: Vec<String>,
    /// validity
    pub not_before: Option<Timestamp>,
    /// validity
    pub not_after: Option<Timestamp>,
}

/// One handshake (df-006), over TCP or QUIC.
#[derive(Clone, Debug, Default)]
pub struct Handshake<'a> {
    /// times and labels
    pub common: Common,
    /// how it travelled
    pub transport: Transport,
    /// address
    pub ip: Option<Text<'a>>,
    /// port
    pub port: Option<u32>,
    /// how it ended
    pub outcome: Outcome,
    /// SNI
    pub server_name: Option<Text<'a>>,
    /// outer SNI of an ECH handshake
    pub outer_name: Option<Text<'a>>,
    /// ECH configuration as written; `GREASE` when it was grease
    pub ech: Option<Text<'a>>,
    /// version
    pub version: Option<Text<'a>>,
    /// cipher suite
    pub cipher: Option<Text<'a>>,
    /// agreed protocol
    pub alpn: Option<Text<'a>>,
    /// not verified
    pub no_verify: bool,
    /// certificates
    pub chain: Option<Chain>,
}

/// One HTTP transaction (df-001).
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// times and labels
    pub common: Common,
    /// URL
    pub url: Option<Text<'a>>,
    /// method
    pub method: Option<Text<'a>>,
    /// how it ended
    pub outcome: Outcome,
    /// status code
    pub status: Option<u32>,
    /// `ip:port` it went to
    pub address: Option<Text<'a>>,
    /// agreed protocol
    pub alpn: Option<Text<'a>>,
    /// `Location` header
    pub location: Option<Text<'a>>,
    /// `Server` header
    pub server: Option<Text<'a>>,
    /// names of uncommon headers, sorted, joined with a blank
    pub uncommon: String,
    /// hits among header fingerprints
    pub header_hits: Vec<u32>,
    /// the body's features; the body itself is gone
    pub body: Option<BodyFacts>,
    /// cut off by the probe
    pub truncated: Option<bool>,
    /// sent through Tor, so that it speaks of no network of the probe's (ts-001)
    pub over_tor: bool,
}

/// Network events of one connection, summed up (df-008).
#[derive(Clone, Debug, Default)]
pub struct Traffic<'a> {
    /// transaction
    pub transaction: u64,
    /// `ip:port`, where the events carry it
    pub address: Option<Text<'a>>,
    /// role
    pub role: Option<usize>,
    /// bytes read
    pub rx_bytes: u64,
    /// bytes written
    pub tx_bytes: u64,
    /// reads that returned data
    pub rx_reads: u32,
    /// first and last read, µs after the measurement's start
    pub rx_first_us: Option<i64>,
    /// last read
    pub rx_last_us: Option<i64>,
    /// longest pause between reads
    pub rx_gap_us: i64,
    /// largest cumulative snapshot (dd-007)
    pub cumulative: Option<u64>,
    /// last operation and how it ended
    pub last: Option<(Text<'a>, Option<Failure>)>,
    /// when its `connect` was recorded, where that opened it and events carry no id
    pub opened_us: Option<i64>,
    /// handshakes that began
    pub handshakes: u32,
    /// when the last one ended
    pub handshake_us: Option<i64>,
    /// reads or writes were recorded, failed ones too
    pub moved: bool,
}

/// A key of `test_keys` that is no shared structure.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// null
    Null,
    /// boolean
    Bool(bool),
    /// number
    Number(f64),
    /// string
    Text(Text<'a>),
    /// array or object, unread
    Raw(RawValue<'a>),
}

/// A control's answer about one thing.
#[derive(Clone, Debug, Default)]
pub struct RawControl<'a> {
    /// `dns`, `tcp`, `tls`, `quic`, `http`
    pub kind: &'static str,
    /// name that was connected to, where the helper wrote one in place of an address
    pub host: Option<Text<'a>>,
    /// address
    pub ip: Option<Text<'a>>,
    /// port
    pub port: Option<u32>,
    /// whether it worked
    pub success: Option<bool>,
    /// why not
    pub failure: Option<Failure>,
    /// SNI
    pub server_name: Option<Text<'a>>,
    /// status code
    pub status: Option<u32>,
    /// body length
    pub body_bytes: Option<u64>,
    /// title
    pub title: Option<Text<'a>>,
    /// uncommon headers
    pub headers: Option<String>,
}

impl<'a> RawControl<'a> {
    /// What a request through Tor saw, which http_requests made for comparison.
    pub fn over_tor(request: Request<'a>) -> Self {
        let host = request.url.as_deref().and_then(|url| crate::host::place(url, None)?.host);
        Self {
            kind: "http",
            host: host.map(Text::Owned),
            success: Some(request.outcome.failure().is_none() && request.status.is_some()),
            failure: request.outcome.failure(),
            status: request.status,
            body_bytes: request.body.as_ref().map(|body| body.bytes),
            title: request.body.and_then(|body| body.title).map(Text::Owned),
            headers: Some(request.uncommon).filter(|names| !names.is_empty()),
            ..Self::default()
        }
    }
}

/// One measurement as written.
#[derive(Debug, Default)]
pub struct Raw<'a> {
    /// top-level strings by key
    pub top: Vec<(Text<'a>, Value<'a>)>,
    /// annotations that are strings
    pub annotations: Vec<(Text<'a>, Text<'a>)>,
    /// every `probe_ip` that is written, whatever its form
    pub probe_ips: Vec<Text<'a>>,
    /// lookups
    pub queries: Vec<Query<'a>>,
    /// connects
    pub connects: Vec<Connect<'a>>,
    /// handshakes
    pub handshakes: Vec<Handshake<'a>>,
    /// HTTP transactions, in the order written
    pub requests: Vec<Request<'a>>,
    /// network events by connection
    pub traffic: Vec<Traffic<'a>>,
    /// answers in all lookups
    pub answers: usize,
    /// kinds of operations of which there were too many, each noted once
    pub overfull: std::collections::BTreeSet<&'static str>,
    /// other keys of `test_keys`
    pub keys: Vec<(Text<'a>, Value<'a>)>,
    /// roles that operations refer to
    pub roles: Vec<Text<'a>>,
    /// control rows
    pub controls: Vec<RawControl<'a>>,
    /// a control object was there and not empty
    pub control_present: bool,
    /// `test_keys` was an object
    pub has_test_keys: bool,
    /// hash of the text of `test_keys`
    pub content_hash: u64,
    /// what could not be read
    pub issues: Vec<(usize, RejectReason)>,
    /// the text broke here
    pub broken: Option<crate::json::Issue>,
    /// any operation of the measurement is tagged `classic`
    pub has_classic: bool,
}

impl<'a> Raw<'a> {
    /// A top-level string.
    pub fn text(&self, key: &str) -> Option<&Text<'a>> {
        self.top.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == key => Some(text),
            _ => None,
        })
    }

    /// A top-level value.
    pub fn value(&self, key: &str) -> Option<&Value<'a>> {
        self.top.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A value of `test_keys`.
    pub fn key(&self, key: &str) -> Option<&Value<'a>> {
        self.keys.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A string of `test_keys`.
    pub fn key_text(&self, key: &str) -> Option<&Text<'a>> {
        match self.key(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A boolean of `test_keys`.
    pub fn key_bool(&self, key: &str) -> Option<bool> {
        match self.key(key) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number of `test_keys`.
    pub fn key_number(&self, key: &str) -> Option<f64> {
        match self.key(key) {
            Some(Value::Number(value)) => Some(*value),
            _ => None,
        }
    }

    /// A failure of `test_keys`, by trap 11.
    pub fn key_outcome(&self, key: &str) -> Outcome {
        match self.key(key) {
            None => Outcome::Absent,
            Some(Value::Null | Value::Number(_) | Value::Raw(_)) => Outcome::Fine,
            Some(Value::Bool(false)) => Outcome::NotRun,
            Some(Value::Bool(true)) => Outcome::Failed(Failure::Unknown),
            Some(Value::Text(text)) => Outcome::Failed(Failure::from_ooni(text)),
        }
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> Option<&Text<'a>> {
        self.annotations.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}
