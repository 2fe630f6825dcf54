//! The archival structures that nettests share, filled operation by operation: queries (df-002), tcp_connect
//! (df-005), tls_handshakes (df-006), requests (df-001) and network events (df-008, cumulative counts
//! included).
//!
//! Times run on: each operation starts when the one before ended, so timings in the samples are consistent.

use serde_json::{Map, Value, json};

use super::envelope::seconds;
use super::rng::Stream;
use super::world::Address;

/// What a resolver answered.
#[derive(Clone, Copy)]
pub enum Answer<'a> {
    /// addresses of both families
    Addresses(&'a [Address]),
    /// an error
    Failure(&'static str),
}

/// A connection that was opened, or not.
pub struct Flow {
    address: String,
    ip: String,
    port: u16,
    transaction: u64,
    tags: Value,
    secure: bool,
    depth: u32,
}

/// What came back on a request.
pub struct Reply {
    code: u16,
    headers: Vec<(String, String)>,
    body: String,
    failure: Option<&'static str>,
}

impl Reply {
    /// A page.
    pub fn page(code: u16, server: &str, body: &str) -> Self {
        let headers = vec![
            ("Content-Length".to_owned(), body.len().to_string()),
            ("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned()),
            ("Server".to_owned(), server.to_owned()),
        ];
        Self { code, headers, body: body.to_owned(), failure: None }
    }

    /// A redirect.
    pub fn redirect(server: &str, location: &str) -> Self {
        let headers =
            vec![("Location".to_owned(), location.to_owned()), ("Server".to_owned(), server.to_owned())];
        Self { code: 302, headers, body: String::new(), failure: None }
    }

    /// No answer.
    pub fn failure(failure: &'static str) -> Self {
        Self { code: 0, headers: Vec::new(), body: String::new(), failure: Some(failure) }
    }

    /// One more header.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Operations of one measurement so far.
pub struct Visit<'s> {
    stream: &'s mut Stream,
    v05: bool,
    clock_us: u64,
    rtt_us: u64,
    depth: u32,
    next: u64,
    queries: Vec<Value>,
    connects: Vec<Value>,
    handshakes: Vec<Value>,
    requests: Vec<Value>,
    events: Vec<Value>,
    endpoints: Vec<(String, u16)>,
}

impl<'s> Visit<'s> {
    /// A visit that has not begun; `v05` chooses the shape of web_connectivity 0.5 with tags and transaction
    /// ids.
    pub fn new(v05: bool, stream: &'s mut Stream) -> Self {
        let rtt_us = stream.between(24_000, 96_000);
        Self {
            stream,
            v05,
            clock_us: 0,
            rtt_us,
            depth: 0,
            next: 1,
            queries: Vec::new(),
            connects: Vec::new(),
            handshakes: Vec::new(),
            requests: Vec::new(),
            events: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Whether the visit has the shape of 0.5.
    pub fn is_v05(&self) -> bool {
        self.v05
    }

    /// Time since the measurement began.
    pub fn clock_us(&self) -> u64 {
        self.clock_us
    }

    /// Addresses and ports that were contacted, in order.
    pub fn endpoints(&self) -> &[(String, u16)] {
        &self.endpoints
    }

    fn pass(&mut self, us: u64) -> (f64, f64) {
        let t0 = self.clock_us;
        self.clock_us += us;
        (seconds(t0), seconds(self.clock_us))
    }

    fn round_trip(&mut self) -> u64 {
        self.rtt_us + self.stream.between(0, 9_000)
    }

    /// Looks `host` up with the system's resolver, and in 0.5 with two public ones as well.
    pub fn lookup(&mut self, host: &str, depth: u32, system: Answer<'_>, public: Answer<'_>) {
        self.depth = depth;
        let cost = self.round_trip();
        let (t0, t) = self.pass(cost);
        let depth_tag = format!("depth={depth}");
        if !self.v05 {
            for kind in ["A", "AAAA"] {
                self.query(host, "system", "", kind, system, None, (t0, t, 0), None);
            }
            return;
        }
        let id = u64::from(depth) + 1;
        let classic = json!(["classic", depth_tag]);
        self.query(host, "getaddrinfo", "", "ANY", system, Some(&classic), (t0, t, 10_000 + id), None);
        let plain = json!([depth_tag]);
        for (engine, resolver, base) in
            [("udp", "1.1.1.1:53", 20_000), ("doh", "https://dns.google/dns-query", 30_000)]
        {
            for kind in ["A", "AAAA"] {
                self.query(host, engine, resolver, kind, public, Some(&plain), (t0, t, base + id), None);
            }
        }
    }

    /// One row of `queries`.
    #[allow(clippy::too_many_arguments, reason = "the row has that many independent fields")]
    pub fn query(
        &mut self,
        host: &str,
        engine: &str,
        resolver: &str,
        kind: &str,
        answer: Answer<'_>,
        tags: Option<&Value>,
        (t0, t, transaction): (f64, f64, u64),
        alias: Option<&str>,
    ) {
        let wants = |ip: &str| match kind {
            "A" => !ip.contains(':'),
            "AAAA" => ip.contains(':'),
            _ => true,
        };
        let mut rows: Vec<Value> = Vec::new();
        let mut failure = None;
        match answer {
            Answer::Failure(name) => failure = Some(name),
            Answer::Addresses(addresses) => {
                for address in addresses.iter().filter(|address| wants(address.ip)) {
                    let v6 = address.ip.contains(':');
                    rows.push(json!({
                        "answer_type": if v6 { "AAAA" } else { "A" },
                        "as_org_name": address.org,
                        "asn": address.asn,
                        (if v6 { "ipv6" } else { "ipv4" }): address.ip,
                        "ttl": null,
                    }));
                }
                if rows.is_empty() {
                    // The system's resolver leaves the empty family out on success (probe-cli,
                    // tracex/archival.go).
                    if engine == "system" {
                        return;
                    }
                    failure = Some("dns_no_answer");
                }
            }
        }
        if let Some(alias) = alias {
            rows.push(json!({"answer_type": "CNAME", "hostname": alias, "ttl": null}));
        }
        let mut row = json!({
            "answers": if rows.is_empty() { Value::Null } else { json!(rows) },
            "engine": engine,
            "failure": failure,
            "hostname": host,
            "query_type": kind,
            "resolver_address": resolver,
            "resolver_hostname": null,
            "resolver_port": null,
            "t": t,
        });
        if let Some(tags) = tags {
            row["tags"] = tags.clone();
            row["t0"] = json!(t0);
            row["transaction_id"] = json!(transaction);
        }
        self.queries.push(row);
    }

    /// Opens a TCP connection.
    pub fn connect(
        &mut self,
        ip: &str,
        port: u16,
        failure: Option<&str>,
        classic: bool,
        fetch: bool,
    ) -> Flow {
        let cost = match failure {
            Some("generic_timeout_error") => 15_000_000,
            _ => self.round_trip(),
        };
        let (t0, t) = self.pass(cost);
        let secure = port == 443;
        let mut tags: Vec<String> = Vec::new();
        if self.v05 {
            if classic {
                tags.push("classic".to_owned());
            }
            tags.push(if secure { "tcptls_experiment" } else { "tcp_experiment" }.to_owned());
            tags.push(format!("depth={}", self.depth));
            tags.push(format!("fetch_body={fetch}"));
        } else {
            tags.push("tcptls_experiment".to_owned());
        }
        let base = if secure { 50_000 } else { 40_000 };
        let transaction = if self.v05 { base + self.next } else { 0 };
        self.next += 1;
        let address = joined(ip, port);
        let flow = Flow {
            address,
            ip: ip.to_owned(),
            port,
            transaction,
            tags: json!(tags),
            secure,
            depth: self.depth,
        };
        let mut row = json!({
            "ip": flow.ip,
            "port": flow.port,
            "status": {"failure": failure, "success": failure.is_none()},
            "t": t,
        });
        self.stamp(&mut row, &flow, t0);
        self.connects.push(row);
        self.event(&flow, "connect", t0, t, None, failure);
        self.endpoints.push((flow.ip.clone(), port));
        flow
    }

    fn stamp(&self, row: &mut Value, flow: &Flow, t0: f64) {
        row["tags"] = flow.tags.clone();
        if self.v05 {
            row["t0"] = json!(t0);
            row["transaction_id"] = json!(flow.transaction);
        }
    }

    fn event(
        &mut self,
        flow: &Flow,
        operation: &str,
        t0: f64,
        t: f64,
        bytes: Option<u64>,
        failure: Option<&str>,
    ) {
        let mut row = json!({"failure": failure, "operation": operation, "t": t});
        if matches!(operation, "connect" | "read" | "write" | "bytes_received_cumulative") {
            row["address"] = json!(flow.address);
            row["proto"] = json!("tcp");
        }
        if let Some(bytes) = bytes {
            row["num_bytes"] = json!(bytes);
        }
        self.stamp(&mut row, flow, t0);
        self.events.push(row);
    }

    fn io(&mut self, flow: &Flow, operation: &str, us: u64, bytes: u64) {
        let (t0, t) = self.pass(us);
        self.event(flow, operation, t0, t, Some(bytes), None);
    }

    /// Runs a TLS handshake; `certificate` is the leaf that the peer sent (DER, base64).
    pub fn handshake(&mut self, flow: &Flow, host: &str, failure: Option<&str>, certificate: Option<&str>) {
        let (t0, _) = self.pass(120);
        self.event(flow, "tls_handshake_start", t0, t0, None, None);
        self.io(flow, "write", 260, 517);
        let rtt = self.round_trip();
        match failure {
            Some("generic_timeout_error") => {
                let (begin, end) = self.pass(10_000_000);
                self.event(flow, "read", begin, end, None, failure);
            }
            Some("connection_reset") => {
                let (begin, end) = self.pass(rtt);
                self.event(flow, "read", begin, end, None, failure);
            }
            _ => {
                self.io(flow, "read", rtt, 1_400);
                let rest = self.stream.between(1_800, 3_600);
                self.io(flow, "read", 900, rest);
                self.io(flow, "write", 700, 64);
            }
        }
        let end = seconds(self.clock_us);
        self.event(flow, "tls_handshake_done", end, end, None, failure);
        let done = failure.is_none();
        let certificates = match certificate {
            Some(data) => json!([{"data": data, "format": "base64"}]),
            None => Value::Null,
        };
        let mut row = json!({
            "address": flow.address,
            "cipher_suite": if done { "TLS_AES_128_GCM_SHA256" } else { "" },
            "failure": failure,
            "negotiated_protocol": if done { "h2" } else { "" },
            "network": "tcp",
            "no_tls_verify": false,
            "peer_certificates": certificates,
            "server_name": host,
            "t": end,
            "tls_version": if done { "TLSv1.3" } else { "" },
        });
        self.stamp(&mut row, flow, t0);
        self.handshakes.push(row);
    }

    /// Sends a request and takes the reply. `requests` is newest first, as OONI writes it.
    pub fn request(&mut self, flow: &Flow, url: &str, host: &str, reply: &Reply) {
        let (t0, _) = self.pass(90);
        self.event(flow, "http_transaction_start", t0, t0, None, None);
        self.io(flow, "write", 150, 380);
        let rtt = self.round_trip();
        if let Some(failure) = reply.failure {
            let (begin, end) = self.pass(rtt);
            self.event(flow, "read", begin, end, None, Some(failure));
        } else {
            let head: usize = reply.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
            self.io(flow, "read", rtt, (head + reply.body.len() + 40) as u64);
        }
        let end = seconds(self.clock_us);
        self.event(flow, "http_transaction_done", end, end, None, reply.failure);
        self.push_request(flow, url, host, reply, (t0, end), false);
    }

    /// A request that was never sent, because the connection did not open. Probes record it with the
    /// connection's failure; nothing on the HTTP layer happened.
    pub fn unsent_request(&mut self, flow: &Flow, url: &str, host: &str, failure: &'static str) {
        let now = seconds(self.clock_us);
        self.push_request(flow, url, host, &Reply::failure(failure), (now, now), false);
    }

    /// A request whose answer begins and does not end within ten seconds. `slow` answers trickle at some 130
    /// kbit/s (a policer of the kind described at https://censoredplanet.org/throttling); others freeze
    /// after some 16 KB (https://github.com/net4people/bbs/issues/490).
    pub fn stalled_request(&mut self, flow: &Flow, url: &str, host: &str, server: &str, slow: bool) {
        let (t0, _) = self.pass(90);
        self.event(flow, "http_transaction_start", t0, t0, None, None);
        self.io(flow, "write", 150, 380);
        let mut received = 0;
        let first = self.round_trip();
        if slow {
            // Ten seconds: a burst of 16 KB, then a gap of 0.9 s.
            for burst in 0..10_u64 {
                for part in 0..3_u64 {
                    let wait = if burst == 0 && part == 0 { first } else { 30_000 };
                    let bytes = 5_300 + self.stream.between(0, 160);
                    self.io(flow, "read", wait, bytes);
                    received += bytes;
                }
                let (begin, end) = self.pass(880_000);
                self.event(flow, "bytes_received_cumulative", begin, end, Some(received), None);
            }
            let (begin, end) = self.pass(40_000);
            self.event(flow, "read", begin, end, None, Some("generic_timeout_error"));
        } else {
            for part in 0..11_u64 {
                let wait = if part == 0 { first } else { 1_200 };
                self.io(flow, "read", wait, 1_400);
                received += 1_400;
            }
            let (begin, end) = self.pass(180_000);
            self.event(flow, "bytes_received_cumulative", begin, end, Some(received), None);
            let (begin, end) = self.pass(9_700_000);
            self.event(flow, "read", begin, end, None, Some("generic_timeout_error"));
        }
        let end = seconds(self.clock_us);
        self.event(flow, "http_transaction_done", end, end, None, Some("generic_timeout_error"));
        let mut reply = Reply::page(200, server, "");
        reply.headers.retain(|(name, _)| name != "Content-Length");
        reply.failure = Some("generic_timeout_error");
        self.push_request(flow, url, host, &reply, (t0, end), true);
    }

    fn push_request(
        &mut self,
        flow: &Flow,
        url: &str,
        host: &str,
        reply: &Reply,
        span: (f64, f64),
        cut: bool,
    ) {
        let sent = vec![
            (
                "Accept".to_owned(),
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".to_owned(),
            ),
            ("Accept-Language".to_owned(), "en-US,en;q=0.9".to_owned()),
            ("Host".to_owned(), host.to_owned()),
            (
                "User-Agent".to_owned(),
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned(),
            ),
        ];
        let mut row = json!({
            "failure": reply.failure,
            "request": {
                "body": "",
                "body_is_truncated": false,
                "headers": as_map(&sent),
                "headers_list": as_list(&sent),
                "method": "GET",
                "tor": {"exit_ip": null, "exit_name": null, "is_tor": false},
                "url": url,
                "x_transport": "tcp",
            },
            "response": {
                "body": reply.body,
                "body_is_truncated": cut,
                "code": reply.code,
                "headers": as_map(&reply.headers),
                "headers_list": as_list(&reply.headers),
            },
            "t": span.1,
        });
        if self.v05 {
            row["address"] = json!(flow.address);
            row["alpn"] = json!(if flow.secure { "h2" } else { "" });
            row["network"] = json!("tcp");
            self.stamp(&mut row, flow, span.0);
            row["tags"] = flow.tags.clone();
        }
        debug_assert!(flow.depth <= self.depth, "a hop follows the one before");
        self.requests.insert(0, row);
    }

    /// Puts the structures into `test_keys`.
    pub fn pour_into(self, keys: &mut Map<String, Value>) {
        keys.insert("queries".into(), json!(self.queries));
        keys.insert("tcp_connect".into(), json!(self.connects));
        keys.insert("tls_handshakes".into(), json!(self.handshakes));
        keys.insert("requests".into(), json!(self.requests));
        keys.insert("network_events".into(), json!(self.events));
    }
}

/// Address and port as one text, IPv6 in brackets.
pub fn joined(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn as_map(headers: &[(String, String)]) -> Value {
    Value::Object(headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

fn as_list(headers: &[(String, String)]) -> Value {
    json!(headers.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>())
}
