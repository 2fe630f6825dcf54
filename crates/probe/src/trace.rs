//! What happened, as OONI's archival data formats write it (df-001 … df-008).
//!
//! One [`Trace`] belongs to one measurement and is shared; a [`Scope`] is the trace under one transaction id
//! and with tags, and is what every primitive takes. Times are seconds since the measurement's start.
//! Records are typed here and become JSON only at the end, so that a test can look at what it did.

use core::cell::{Ref, RefCell};
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use okno_model::Failure;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::experiment::Context;
use crate::limits;
use crate::net::{Endpoint, Instant, World};

/// Bytes that are text where they are UTF-8, `{"data": …, "format": "base64"}` where not (df-001,
/// "MaybeBinaryData").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaybeBinary(pub Vec<u8>);

impl Serialize for MaybeBinary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match core::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => binary(&self.0, serializer),
        }
    }
}

/// Bytes that are always `{"data": …, "format": "base64"}` (df-001, "BinaryData").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        binary(&self.0, serializer)
    }
}

fn binary<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Encoded {
        data: String,
        format: &'static str,
    }
    Encoded { data: BASE64.encode(bytes), format: "base64" }.serialize(serializer)
}

fn plain_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn failure_name<S: Serializer>(failure: &Option<Failure>, serializer: S) -> Result<S::Ok, S::Error> {
    failure.map(Failure::as_str).serialize(serializer)
}

/// When, and of what: the part that all records share.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stamp {
    /// start, in seconds since the measurement's
    pub t0: f64,
    /// end
    pub t: f64,
    /// transaction
    pub transaction_id: u64,
    /// free words, such as `depth=0`
    pub tags: Vec<String>,
}

/// An answer's record (df-002).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DnsAnswer {
    /// `A`, `AAAA`, `CNAME`
    pub answer_type: String,
    /// AS of the address, where a table told
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// its name
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_org_name: Option<String>,
    /// the target of a CNAME
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// address
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    /// address
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// seconds; null where the system's resolver answered
    pub ttl: Option<u32>,
}

impl DnsAnswer {
    /// An address.
    pub fn address(ip: IpAddr, ttl: Option<u32>) -> Self {
        let text = Some(ip.to_string());
        match ip {
            IpAddr::V4(_) => Self { answer_type: "A".to_owned(), ipv4: text, ttl, ..Self::default() },
            IpAddr::V6(_) => Self { answer_type: "AAAA".to_owned(), ipv6: text, ttl, ..Self::default() },
        }
    }
}

/// A lookup (df-002-dnst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DnsRecord {
    /// addresses and aliases
    pub answers: Option<Vec<DnsAnswer>>,
    /// `getaddrinfo`, `udp`, `tcp`, `dot`, `doh`
    pub engine: String,
    /// failure
    #[serde(serialize_with = "failure_name")]
    pub failure: Option<Failure>,
    /// the name
    pub hostname: String,
    /// `A`, `AAAA`, `ANY`, `NS` …
    pub query_type: String,
    /// the answer's message
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "plain_base64")]
    pub raw_response: Vec<u8>,
    /// the answer's code, where there was an answer; 0 is not written, as OONI does not
    #[serde(skip_serializing_if = "is_none_or_zero")]
    pub rcode: Option<u16>,
    /// null (legacy)
    pub resolver_hostname: Option<String>,
    /// null (legacy)
    pub resolver_port: Option<String>,
    /// `1.1.1.1:53`, a URL for DoH, empty for the system
    pub resolver_address: String,
    /// when
    #[serde(flatten)]
    pub stamp: Stamp,
}

/// How a connect ended (df-005).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TcpStatus {
    /// web_connectivity's opinion; set by that test alone
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
    /// failure
    #[serde(serialize_with = "failure_name")]
    pub failure: Option<Failure>,
    /// whether it connected
    pub success: bool,
}

/// A connect (df-005-tcpconnect).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TcpRecord {
    /// address
    pub ip: String,
    /// port
    pub port: u16,
    /// end
    pub status: TcpStatus,
    /// when
    #[serde(flatten)]
    pub stamp: Stamp,
}

/// A TLS or QUIC handshake (df-006-tlshandshake, and `quic_handshakes` of the same shape).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HandshakeRecord {
    /// `tcp`, `udp`
    pub network: String,
    /// `93.184.216.34:443`
    pub address: String,
    /// `TLS_AES_128_GCM_SHA256`; empty when it failed
    pub cipher_suite: String,
    /// failure
    #[serde(serialize_with = "failure_name")]
    pub failure: Option<Failure>,
    /// what the kernel says of the socket (tlsmiddlebox)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub so_error: Option<String>,
    /// ALPN
    pub negotiated_protocol: String,
    /// whether the certificate was not looked at
    pub no_tls_verify: bool,
    /// the chain as the peer showed it, DER
    pub peer_certificates: Vec<Binary>,
    /// the name in the hello (the inner one with ECH)
    pub server_name: String,
    /// the outer name, with ECH
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer_server_name: Option<String>,
    /// ECH's configuration (base64), or `GREASE`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echconfig: Option<String>,
    /// `TLSv1.3`; empty when it failed
    pub tls_version: String,
    /// version of QUIC as on the wire, `0x1`; ours
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quic_version: Option<String>,
    /// when
    #[serde(flatten)]
    pub stamp: Stamp,
}

/// An event on the network (df-008-netevents).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkEvent {
    /// `93.184.216.34:443`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// failure
    #[serde(serialize_with = "failure_name")]
    pub failure: Option<Failure>,
    /// bytes read or written
    #[serde(skip_serializing_if = "is_zero")]
    pub num_bytes: u64,
    /// `connect`, `read`, `write`, `read_from`, `write_to`, `tls_handshake_start` …
    pub operation: String,
    /// `tcp`, `udp`, `quic`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proto: String,
    /// when
    #[serde(flatten)]
    pub stamp: Stamp,
}

const fn is_none_or_zero(code: &Option<u16>) -> bool {
    matches!(code, None | Some(0))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Headers in their order, values as bytes; written as OONI's `headers_list` and `headers`.
pub type Headers = Vec<(String, Vec<u8>)>;

/// One HTTP round trip (df-001-httpt).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpRecord {
    /// `tcp`, `udp`
    pub network: String,
    /// `93.184.216.34:443`
    pub address: String,
    /// ALPN; empty over plain TCP
    pub alpn: String,
    /// failure
    pub failure: Option<Failure>,
    /// `GET`
    pub method: String,
    /// the whole URL
    pub url: String,
    /// request headers
    pub request_headers: Headers,
    /// request body
    pub request_body: Vec<u8>,
    /// status; 0 without response
    pub code: u16,
    /// response headers
    pub response_headers: Headers,
    /// response body, cut at the limit
    pub response_body: Vec<u8>,
    /// whether it was cut
    pub response_truncated: bool,
    /// when
    pub stamp: Stamp,
}

fn header_values(headers: &Headers) -> (Value, Value) {
    let value = |bytes: &[u8]| serde_json::to_value(MaybeBinary(bytes.to_vec())).unwrap_or(Value::Null);
    let list = headers.iter().map(|(name, bytes)| Value::Array(vec![name.clone().into(), value(bytes)]));
    let mut map = Map::new();
    for (name, bytes) in headers {
        // df-001: the map keeps one value a name; the list keeps all.
        map.entry(name.clone()).or_insert_with(|| value(bytes));
    }
    (Value::Array(list.collect()), Value::Object(map))
}

impl Serialize for HttpRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (request_list, request_map) = header_values(&self.request_headers);
        let (response_list, response_map) = header_values(&self.response_headers);
        let mut out = serde_json::json!({
            "failure": self.failure.map(Failure::as_str),
            "request": {
                "body": MaybeBinary(self.request_body.clone()),
                "body_is_truncated": false,
                "headers": request_map,
                "headers_list": request_list,
                "method": self.method,
                "tor": {"exit_ip": null, "exit_name": null, "is_tor": false},
                "url": self.url,
                "x_transport": if self.network == "udp" { "quic" } else { "tcp" },
            },
            "response": {
                "body": MaybeBinary(self.response_body.clone()),
                "body_is_truncated": self.response_truncated,
                "code": self.code,
                "headers": response_map,
                "headers_list": response_list,
            },
            "t0": self.stamp.t0,
            "t": self.stamp.t,
            "tags": self.stamp.tags,
            "transaction_id": self.stamp.transaction_id,
        });
        if let Value::Object(map) = &mut out {
            for (key, text) in [("network", &self.network), ("address", &self.address), ("alpn", &self.alpn)]
            {
                if !text.is_empty() {
                    map.insert(key.to_owned(), text.clone().into());
                }
            }
        }
        out.serialize(serializer)
    }
}

/// Everything that one measurement recorded.
pub struct Trace {
    start: Instant,
    queries: RefCell<Vec<DnsRecord>>,
    tcp_connect: RefCell<Vec<TcpRecord>>,
    tls_handshakes: RefCell<Vec<HandshakeRecord>>,
    quic_handshakes: RefCell<Vec<HandshakeRecord>>,
    network_events: RefCell<Vec<NetworkEvent>>,
    event_counts: RefCell<BTreeMap<u64, usize>>,
    event_limit: usize,
    requests: RefCell<Vec<HttpRecord>>,
}

impl Trace {
    /// An empty trace; its zero is now. At most [`limits::EVENTS`] network events a transaction.
    pub fn new(context: &Context) -> Rc<Self> {
        Self::with_event_limit(context, limits::EVENTS)
    }

    /// The same with another limit of network events a transaction (transfers need more, or none).
    pub fn with_event_limit(context: &Context, event_limit: usize) -> Rc<Self> {
        Self::of(context.world.now(), event_limit)
    }

    fn of(start: Instant, event_limit: usize) -> Rc<Self> {
        Rc::new(Self {
            start,
            queries: RefCell::default(),
            tcp_connect: RefCell::default(),
            tls_handshakes: RefCell::default(),
            quic_handshakes: RefCell::default(),
            network_events: RefCell::default(),
            event_counts: RefCell::default(),
            event_limit,
            requests: RefCell::default(),
        })
    }

    /// An empty trace with the same zero: for what stands apart in the measurement, as the DoH server's own
    /// connections do.
    pub fn beside(&self, event_limit: usize) -> Rc<Self> {
        Self::of(self.start, event_limit)
    }

    /// Takes out the lookups of these engines, or of all others.
    pub fn take_queries(&self, of: impl Fn(&str) -> bool) -> Vec<DnsRecord> {
        let mut queries = self.queries.borrow_mut();
        let (taken, left) = core::mem::take(&mut *queries).into_iter().partition(|r| of(&r.engine));
        *queries = left;
        taken
    }

    /// Gives the last request of a transaction this failure: what the answer says can be one.
    pub fn amend_request(&self, transaction: u64, failure: Failure) {
        let mut requests = self.requests.borrow_mut();
        let last = requests.iter_mut().rev().find(|record| record.stamp.transaction_id == transaction);
        if let Some(record) = last {
            record.failure = Some(failure);
        }
    }

    /// Leaves the bodies of responses out.
    pub fn forget_bodies(&self) {
        for record in self.requests.borrow_mut().iter_mut() {
            record.response_body.clear();
        }
    }

    /// The measurement's zero.
    pub const fn start(&self) -> Instant {
        self.start
    }

    /// Seconds from the measurement's start, to the microsecond.
    #[expect(clippy::cast_precision_loss, reason = "micros of a measurement are far below 2^52")]
    pub fn seconds(&self, at: Instant) -> f64 {
        at.since(self.start).as_micros() as f64 / 1e6
    }

    /// Adds a lookup.
    pub fn add_query(&self, record: DnsRecord) {
        self.queries.borrow_mut().push(record);
    }

    /// Adds a connect.
    pub fn add_tcp(&self, record: TcpRecord) {
        self.tcp_connect.borrow_mut().push(record);
    }

    /// Adds a TLS handshake.
    pub fn add_tls(&self, record: HandshakeRecord) {
        self.tls_handshakes.borrow_mut().push(record);
    }

    /// Adds a QUIC handshake.
    pub fn add_quic(&self, record: HandshakeRecord) {
        self.quic_handshakes.borrow_mut().push(record);
    }

    /// Adds a network event; a read or write beyond the transaction's limit is left out.
    pub fn add_event(&self, event: NetworkEvent) {
        if !matches!(event.operation.as_str(), "read" | "write" | "read_from" | "write_to") {
            if self.event_limit > 0 {
                self.network_events.borrow_mut().push(event);
            }
            return;
        }
        let mut counts = self.event_counts.borrow_mut();
        let count = counts.entry(event.stamp.transaction_id).or_default();
        if *count < self.event_limit {
            *count += 1;
            self.network_events.borrow_mut().push(event);
        }
    }

    /// Adds an HTTP round trip.
    pub fn add_request(&self, record: HttpRecord) {
        self.requests.borrow_mut().push(record);
    }

    /// Lookups, in the order in which they ended.
    pub fn queries(&self) -> Ref<'_, Vec<DnsRecord>> {
        self.queries.borrow()
    }

    /// Connects.
    pub fn tcp_connects(&self) -> Ref<'_, Vec<TcpRecord>> {
        self.tcp_connect.borrow()
    }

    /// Lets web_connectivity write its opinion on a connect (`status.blocked`).
    pub fn judge_tcp(&self, mut judge: impl FnMut(&TcpRecord) -> Option<bool>) {
        for record in self.tcp_connect.borrow_mut().iter_mut() {
            record.status.blocked = judge(record);
        }
    }

    /// TLS handshakes.
    pub fn tls_handshakes(&self) -> Ref<'_, Vec<HandshakeRecord>> {
        self.tls_handshakes.borrow()
    }

    /// QUIC handshakes.
    pub fn quic_handshakes(&self) -> Ref<'_, Vec<HandshakeRecord>> {
        self.quic_handshakes.borrow()
    }

    /// Network events.
    pub fn network_events(&self) -> Ref<'_, Vec<NetworkEvent>> {
        self.network_events.borrow()
    }

    /// HTTP round trips, oldest first.
    pub fn requests(&self) -> Ref<'_, Vec<HttpRecord>> {
        self.requests.borrow()
    }

    /// The lists under OONI's keys: `queries`, `tcp_connect`, `tls_handshakes`, `quic_handshakes`,
    /// `network_events`, `requests`. The last is newest first, as OONI writes it (df-001: "the first element
    /// is the last request"). A test adds its own keys to this map.
    pub fn test_keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        keys.insert("queries".to_owned(), list(self.queries.borrow().iter()));
        keys.insert("tcp_connect".to_owned(), list(self.tcp_connect.borrow().iter()));
        keys.insert("tls_handshakes".to_owned(), list(self.tls_handshakes.borrow().iter()));
        keys.insert("quic_handshakes".to_owned(), list(self.quic_handshakes.borrow().iter()));
        keys.insert("network_events".to_owned(), list(self.network_events.borrow().iter()));
        keys.insert("requests".to_owned(), list(self.requests.borrow().iter().rev()));
        keys
    }
}

fn list<'a, T: Serialize + 'a>(records: impl Iterator<Item = &'a T>) -> Value {
    Value::Array(records.map(|record| serde_json::to_value(record).unwrap_or(Value::Null)).collect())
}

/// A trace under one transaction: what primitives take.
#[derive(Clone)]
pub struct Scope {
    /// the network
    pub world: World,
    /// where it is recorded
    pub trace: Rc<Trace>,
    /// transaction id of everything done in this scope
    pub transaction: u64,
    /// tags of everything done in this scope
    pub tags: Vec<String>,
}

impl Scope {
    /// A scope with a fresh transaction id.
    pub fn new(context: &Context, trace: &Rc<Trace>, tags: &[&str]) -> Self {
        Self {
            world: context.world.clone(),
            trace: trace.clone(),
            transaction: context.transaction(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Seconds from the measurement's start to now.
    pub fn seconds(&self) -> f64 {
        self.trace.seconds(self.now())
    }

    /// The stamp of something that began at `from` and ends now.
    pub fn stamp(&self, from: Instant) -> Stamp {
        self.stamp_between(from, self.now())
    }

    /// The stamp of something that began at `from` and ended at `to`.
    pub fn stamp_between(&self, from: Instant, to: Instant) -> Stamp {
        Stamp {
            t0: self.trace.seconds(from),
            t: self.trace.seconds(to),
            transaction_id: self.transaction,
            tags: self.tags.clone(),
        }
    }

    /// Records a network event that began at `from` and ends now.
    pub fn event(
        &self,
        operation: &str,
        proto: &str,
        remote: Option<Endpoint>,
        from: Instant,
        done: Result<usize, Failure>,
    ) {
        self.trace.add_event(NetworkEvent {
            address: remote.map(|remote| remote.to_string()).unwrap_or_default(),
            failure: done.err(),
            num_bytes: done.unwrap_or(0) as u64,
            operation: operation.to_owned(),
            proto: proto.to_owned(),
            stamp: self.stamp(from),
        });
    }
}
