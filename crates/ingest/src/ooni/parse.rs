//! One line of JSON to [`Raw`]: tolerant, in one pass, whatever the nettest.
//!
//! The shared structures are found by their key wherever they stand in `test_keys`, so a test that nobody
//! has heard of still yields its lookups, connects, handshakes and requests. Everything else is kept
//! unread for the adapter of the test in question.

use std::borrow::Cow;

use okno_model::{Failure, RejectReason, Text, Transport};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use super::body::{self, is_uncommon};
use super::raw::{Answer, Chain, Common, Connect, Handshake, Outcome, Query, Raw, Request, Traffic, Value};
use super::{cert, control};
use crate::host;
use crate::json::{Broken, Kind, RawValue, Reader};
use crate::reference::Fingerprints;

/// Most elements that are read from one list; the rest is counted. OONI's probe caps network events at 64.
const MAX_LIST: usize = 20_000;
/// Most roles, so that indexes stay small.
const MAX_ROLES: usize = 10_000;
/// How deep `test_keys` is searched for shared structures.
const MAX_SEARCH: u32 = 6;

type Step = Result<(), Broken>;

/// Buffers that live across measurements.
#[derive(Default)]
pub struct Scratch {
    body: Vec<u8>,
    decoded: Vec<u8>,
}

/// Reads lines.
pub struct Parser<'r, 's> {
    /// fingerprints to match bodies and headers with
    pub fingerprints: &'r Fingerprints,
    /// reused buffers
    pub scratch: &'s mut Scratch,
}

impl Parser<'_, '_> {
    /// Reads one line. Never fails: what cannot be read is in `issues` and `broken`.
    pub fn read<'a>(&mut self, text: &'a str) -> Raw<'a> {
        let mut raw = Raw::default();
        let mut reader = Reader::new(text);
        raw.broken = self.top(&mut reader, &mut raw).err();
        if raw.broken.is_none() && !reader.at_end() {
            raw.issues.push((reader.offset(), RejectReason::InvalidJson));
        }
        raw.issues.extend(reader.issues.iter().map(|issue| (issue.offset, issue.reason)));
        self.search_nested(&mut raw);
        raw.issues.sort_unstable();
        raw
    }

    fn top<'a>(&mut self, reader: &mut Reader<'a>, raw: &mut Raw<'a>) -> Step {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(key) = reader.next_key()? {
            let at = reader.offset();
            match key.as_ref() {
                "test_keys" => {
                    if raw.has_test_keys {
                        reader.note(at, RejectReason::DuplicateKey);
                        forget_test_keys(raw);
                    }
                    self.test_keys(reader, raw)?;
                }
                "annotations" => annotations(reader, raw)?,
                // Collections of fixtures wrap a measurement beside where they found it.
                "m" | "measurement" | "raw_measurement" if reader.peek()? == Kind::Object => {
                    self.top(reader, raw)?;
                }
                _ => {
                    if raw.value(&key).is_some() {
                        reader.note(at, RejectReason::DuplicateKey);
                        raw.top.retain(|(name, _)| *name != key);
                    }
                    let value = value(reader)?;
                    raw.top.push((key, value));
                }
            }
        }
        Ok(())
    }

    fn test_keys<'a>(&mut self, reader: &mut Reader<'a>, raw: &mut Raw<'a>) -> Step {
        let start = reader.offset();
        if reader.peek()? != Kind::Object {
            let value = value(reader)?;
            if !matches!(value, Value::Null) {
                raw.issues.push((start, RejectReason::WrongType));
            }
            return Ok(());
        }
        raw.has_test_keys = true;
        reader.enter_object()?;
        while let Some(key) = reader.next_key()? {
            let at = reader.offset();
            if !self.shared(&key, reader, raw, None)? {
                if key == "control" && reader.peek()? == Kind::Object {
                    let part = reader.take_raw()?;
                    control::read(part, raw);
                    raw.keys.push((key, Value::Raw(part)));
                    continue;
                }
                if raw.key(&key).is_some() {
                    reader.note(at, RejectReason::DuplicateKey);
                    raw.keys.retain(|(name, _)| *name != key);
                }
                let value = value(reader)?;
                raw.keys.push((key, value));
            }
        }
        raw.content_hash = reader.hash_since(start);
        Ok(())
    }

    /// Reads `key` if it names a shared structure; `false` when it does not, and nothing was consumed.
    fn shared<'a>(
        &mut self,
        key: &str,
        reader: &mut Reader<'a>,
        raw: &mut Raw<'a>,
        role: Option<usize>,
    ) -> Result<bool, Broken> {
        let kind = reader.peek()?;
        let shape = match key {
            "queries" | "tcp_connect" | "tls_handshakes" | "quic_handshakes" | "requests"
            | "network_events" => Kind::Array,
            // The single operations of the ping tests (ts-034 … ts-036).
            "tls_handshake" | "quic_handshake" | "query" | "tcp_handshake" if role.is_some() => Kind::Object,
            _ => return Ok(false),
        };
        if kind == Kind::Null {
            reader.skip()?;
            return Ok(true);
        }
        // The ping tests and portfiltering write one object where others write a list.
        if kind == Kind::Object {
            self.one(key, reader, raw, role)?;
            return Ok(true);
        }
        if kind != shape {
            return Ok(false);
        }
        reader.enter_array()?;
        let mut count = 0;
        while reader.next_element()? {
            count += 1;
            if count > MAX_LIST {
                if count == MAX_LIST + 1 {
                    reader.note(reader.offset(), RejectReason::TooMany);
                }
                reader.skip()?;
                continue;
            }
            self.one(key, reader, raw, role)?;
        }
        Ok(true)
    }

    fn one<'a>(
        &mut self,
        key: &str,
        reader: &mut Reader<'a>,
        raw: &mut Raw<'a>,
        role: Option<usize>,
    ) -> Step {
        if !reader.enter_object()? {
            return Ok(());
        }
        match key {
            "queries" | "query" => {
                let query = query(reader, role)?;
                raw.has_classic |= query.common.classic;
                raw.queries.push(query);
            }
            "tcp_connect" | "tcp_handshake" => {
                let connect = connect(reader, role)?;
                raw.has_classic |= connect.common.classic;
                raw.connects.push(connect);
            }
            "tls_handshakes" | "tls_handshake" => {
                let handshake = self.handshake(reader, role, Transport::Tcp)?;
                raw.has_classic |= handshake.common.classic;
                raw.handshakes.push(handshake);
            }
            "quic_handshakes" | "quic_handshake" => {
                let handshake = self.handshake(reader, role, Transport::Quic)?;
                raw.has_classic |= handshake.common.classic;
                raw.handshakes.push(handshake);
            }
            "requests" => {
                let request = self.request(reader, role)?;
                raw.has_classic |= request.common.classic;
                raw.requests.push(request);
            }
            _ => event(reader, raw, role)?,
        }
        Ok(())
    }

    fn handshake<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        role: Option<usize>,
        transport: Transport,
    ) -> Result<Handshake<'a>, Broken> {
        let mut handshake = Handshake { transport, ..Handshake::default() };
        handshake.common.role = role;
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "network" => match reader.take_str()?.as_deref() {
                    // `network:"quic"` in old data, `udp` in new (trap 20).
                    Some("quic" | "udp") => handshake.transport = Transport::Quic,
                    Some(_) => handshake.transport = Transport::Tcp,
                    None => {}
                },
                "address" => address(reader, &mut handshake.ip, &mut handshake.port)?,
                "failure" => handshake.outcome = outcome(reader)?,
                "server_name" | "sni" => handshake.server_name = name(reader)?,
                "outer_server_name" => handshake.outer_name = name(reader)?,
                "echconfig" => handshake.ech = filled(reader)?,
                "tls_version" => handshake.version = filled(reader)?,
                "cipher_suite" => handshake.cipher = filled(reader)?,
                "negotiated_protocol" => handshake.alpn = filled(reader)?,
                "no_tls_verify" => handshake.no_verify = reader.take_bool()? == Some(true),
                "peer_certificates" => handshake.chain = self.certificates(reader)?,
                _ => common(&key, reader, &mut handshake.common)?,
            }
        }
        Ok(handshake)
    }

    fn certificates(&mut self, reader: &mut Reader<'_>) -> Result<Option<Chain>, Broken> {
        if !reader.enter_array()? {
            return Ok(None);
        }
        let mut chain: Option<Chain> = None;
        let mut length = 0;
        while reader.next_element()? {
            length += 1;
            if length > 1 {
                reader.skip()?;
                continue;
            }
            let at = reader.offset();
            let Some(der) = self.binary(reader, true)? else { continue };
            let der = &self.scratch.body[..der];
            let sha256 = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
            chain = cert::leaf(der, sha256);
            if chain.is_none() {
                reader.note(at, RejectReason::InvalidCertificate);
            }
        }
        if length == 0 {
            return Ok(None);
        }
        let mut chain = chain.unwrap_or_default();
        chain.length = length;
        Ok(Some(chain))
    }

    /// A value that may be binary (df-000 `MaybeBinaryData`): text, or `{"format":"base64","data":…}`;
    /// leaves its bytes in `scratch.body` and gives their number. `bare_base64` is the form of certificates
    /// before df-006 0.3, where the text itself is base64.
    fn binary(&mut self, reader: &mut Reader<'_>, bare_base64: bool) -> Result<Option<usize>, Broken> {
        let at = reader.offset();
        if reader.peek()? != Kind::Object {
            let Some(length) = reader.take_str_into(&mut self.scratch.body)? else { return Ok(None) };
            if bare_base64 {
                return Ok(self.decode(length).or_else(|| {
                    reader.note(at, RejectReason::InvalidBase64);
                    None
                }));
            }
            return Ok(Some(length));
        }
        reader.enter_object()?;
        let (mut length, mut is_base64) = (None, false);
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "format" => is_base64 = reader.take_str()?.as_deref() == Some("base64"),
                "data" => length = reader.take_str_into(&mut self.scratch.body)?,
                _ => reader.skip()?,
            }
        }
        let Some(length) = length.filter(|_| is_base64) else {
            reader.note(at, RejectReason::WrongType);
            return Ok(None);
        };
        let decoded = self.decode(length);
        if decoded.is_none() {
            reader.note(at, RejectReason::InvalidBase64);
        }
        Ok(decoded)
    }

    fn decode(&mut self, length: usize) -> Option<usize> {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        self.scratch.decoded.clear();
        engine.decode_vec(&self.scratch.body[..length], &mut self.scratch.decoded).ok()?;
        std::mem::swap(&mut self.scratch.body, &mut self.scratch.decoded);
        let decoded = self.scratch.body.len();
        Some(decoded)
    }

    fn request<'a>(&mut self, reader: &mut Reader<'a>, role: Option<usize>) -> Result<Request<'a>, Broken> {
        let mut request = Request::default();
        request.common.role = role;
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "failure" => request.outcome = outcome(reader)?,
                "address" => request.address = filled(reader)?,
                "alpn" => request.alpn = filled(reader)?,
                "request" => {
                    if reader.enter_object()? {
                        while let Some(key) = reader.next_key()? {
                            match key.as_ref() {
                                "url" => request.url = filled(reader)?,
                                "method" => request.method = filled(reader)?,
                                _ => reader.skip()?,
                            }
                        }
                    }
                }
                "response" => self.response(reader, &mut request)?,
                // The 2014 form of http_requests has these at the top.
                "url" if request.url.is_none() => request.url = filled(reader)?,
                _ => common(&key, reader, &mut request.common)?,
            }
        }
        Ok(request)
    }

    fn response<'a>(&mut self, reader: &mut Reader<'a>, request: &mut Request<'a>) -> Step {
        if !reader.enter_object()? {
            return Ok(());
        }
        request.answered = true;
        let mut names: Vec<String> = Vec::new();
        let mut has_list = false;
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "code" => {
                    // `code` is 0 where no answer came (probe-cli tracex).
                    request.status = number_u32(reader)?.filter(|code| *code != 0);
                }
                "body" => {
                    if let Some(length) = self.binary(reader, false)? {
                        let body = &self.scratch.body[..length];
                        request.body = Some(body::look(body, self.fingerprints));
                    }
                }
                "body_is_truncated" => request.truncated = reader.take_bool()?,
                // The list is authoritative, the map keeps one value of each name (trap 10).
                "headers_list" => {
                    has_list = true;
                    names.clear();
                    request.header_hits.clear();
                    self.header_list(reader, request, &mut names)?;
                }
                "headers" if has_list => reader.skip()?,
                "headers" => match reader.peek()? {
                    Kind::Array => self.header_list(reader, request, &mut names)?,
                    _ => self.header_map(reader, request, &mut names)?,
                },
                _ => reader.skip()?,
            }
        }
        names.sort_unstable();
        names.dedup();
        names.truncate(24);
        request.uncommon = names.join(" ");
        request.header_hits.sort_unstable();
        request.header_hits.dedup();
        Ok(())
    }

    /// `[["Name", value], …]`; before 2016 the value may be a list.
    fn header_list<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        request: &mut Request<'a>,
        names: &mut Vec<String>,
    ) -> Step {
        if !reader.enter_array()? {
            return Ok(());
        }
        while reader.next_element()? {
            if !reader.enter_array()? {
                continue;
            }
            let mut name: Option<Text<'a>> = None;
            while reader.next_element()? {
                match &name {
                    None => match self.header_text(reader)? {
                        Some(text) => name = Some(text),
                        None => name = Some(Cow::Borrowed("")),
                    },
                    Some(known) => {
                        let known = known.clone();
                        self.header_values(&known, reader, request, names)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `{"Name": value, …}`, where a value may be a list (trap 10).
    fn header_map<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        request: &mut Request<'a>,
        names: &mut Vec<String>,
    ) -> Step {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(key) = reader.next_key()? {
            self.header_values(&key, reader, request, names)?;
        }
        Ok(())
    }

    /// One value or a list of them.
    fn header_values<'a>(
        &mut self,
        name: &str,
        reader: &mut Reader<'a>,
        request: &mut Request<'a>,
        names: &mut Vec<String>,
    ) -> Step {
        if reader.peek()? != Kind::Array {
            return self.header(name, reader, request, names);
        }
        reader.enter_array()?;
        while reader.next_element()? {
            self.header(name, reader, request, names)?;
        }
        Ok(())
    }

    fn header_text<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Broken> {
        if reader.peek()? == Kind::String {
            return reader.take_str();
        }
        let length = self.binary(reader, false)?;
        Ok(length.map(|n| Cow::Owned(String::from_utf8_lossy(&self.scratch.body[..n]).into_owned())))
    }

    fn header<'a>(
        &mut self,
        name: &str,
        reader: &mut Reader<'a>,
        request: &mut Request<'a>,
        names: &mut Vec<String>,
    ) -> Step {
        let Some(value) = self.header_text(reader)? else { return Ok(()) };
        if !self.fingerprints.is_empty() {
            self.fingerprints.match_header(name, &value, &mut request.header_hits);
        }
        if name.eq_ignore_ascii_case("location") {
            request.location = Some(value);
        } else if name.eq_ignore_ascii_case("server") {
            request.server = Some(value);
        } else if !name.is_empty() && name.len() <= 40 {
            let lower = name.to_ascii_lowercase();
            if is_uncommon(&lower) && lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            {
                names.push(lower);
            }
        }
        Ok(())
    }

    /// Looks for shared structures in what was kept unread, with the path of keys as their role.
    fn search_nested<'a>(&mut self, raw: &mut Raw<'a>) {
        let nested: Vec<(Text<'a>, RawValue<'a>)> = raw
            .keys
            .iter()
            .filter(|(name, _)| !name.starts_with("x_control"))
            .filter_map(|(name, value)| match value {
                Value::Raw(part) => Some((name.clone(), *part)),
                _ => None,
            })
            .collect();
        for (name, part) in nested {
            // In web_connectivity the control speaks for the helper; in sni_blocking and echcheck `control`
            // holds operations of the probe, which are found below because they are lists.
            if name == "control" && raw.control_present {
                continue;
            }
            let mut reader = Reader::part(part);
            // In echcheck 0.1 `control` and `target` are handshakes themselves (ts-039).
            if raw.text("test_name").is_some_and(|test| test == "echcheck")
                && matches!(name.as_ref(), "control" | "target")
            {
                raw.roles.push(name.clone());
                let role = Some(raw.roles.len() - 1);
                let _ = self.one("tls_handshake", &mut reader, raw, role);
                continue;
            }
            // Breaks cannot happen here: the part was balanced, and what is odd in it is noted.
            let _ = self.descend(&mut reader, raw, &name, 0);
            raw.issues.extend(reader.issues.iter().map(|issue| (issue.offset, issue.reason)));
        }
    }

    fn descend<'a>(&mut self, reader: &mut Reader<'a>, raw: &mut Raw<'a>, path: &str, depth: u32) -> Step {
        let kind = reader.peek()?;
        if depth > MAX_SEARCH || !matches!(kind, Kind::Object | Kind::Array) {
            return reader.skip();
        }
        if kind == Kind::Array {
            reader.enter_array()?;
            let mut index = 0;
            while reader.next_element()? {
                if index < MAX_LIST {
                    self.descend(reader, raw, &format!("{path}[{index}]"), depth + 1)?;
                } else {
                    reader.skip()?;
                }
                index += 1;
            }
            return Ok(());
        }
        let role = if raw.roles.len() < MAX_ROLES {
            raw.roles.push(Cow::Owned(path.to_owned()));
            Some(raw.roles.len() - 1)
        } else {
            None
        };
        reader.enter_object()?;
        while let Some(key) = reader.next_key()? {
            if !self.shared(&key, reader, raw, role)? {
                match reader.peek()? {
                    Kind::Object | Kind::Array => {
                        self.descend(reader, raw, &format!("{path}.{key}"), depth + 1)?;
                    }
                    _ => reader.skip()?,
                }
            }
        }
        Ok(())
    }
}

fn forget_test_keys(raw: &mut Raw<'_>) {
    raw.queries.clear();
    raw.connects.clear();
    raw.handshakes.clear();
    raw.requests.clear();
    raw.traffic.clear();
    raw.keys.clear();
    raw.controls.clear();
    raw.control_present = false;
}

/// Any value, containers unread.
pub fn value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Broken> {
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.skip()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(reader.take_bool()?.unwrap_or_default()),
        Kind::Number => reader.take_f64()?.map_or(Value::Null, Value::Number),
        Kind::String => reader.take_str()?.map_or(Value::Null, Value::Text),
        Kind::Array | Kind::Object => Value::Raw(reader.take_raw()?),
    })
}

fn annotations<'a>(reader: &mut Reader<'a>, raw: &mut Raw<'a>) -> Step {
    if !reader.enter_object()? {
        return Ok(());
    }
    while let Some(key) = reader.next_key()? {
        // Values may be anything (trap 32); only text is of use.
        if let Value::Text(text) = value(reader)? {
            raw.annotations.push((key, text));
        }
    }
    Ok(())
}

/// A text that is not empty.
fn filled<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Broken> {
    Ok(reader.take_str()?.filter(|text| !text.is_empty()))
}

/// A host name in canonical spelling.
fn name<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Broken> {
    Ok(filled(reader)?.and_then(canonical))
}

/// [`host::canonical`] for text that may be owned.
pub fn canonical(text: Text<'_>) -> Option<Text<'_>> {
    match text {
        Cow::Borrowed(text) => host::canonical(text),
        Cow::Owned(text) => host::canonical(&text).map(|name| Cow::Owned(name.into_owned())),
    }
}

/// [`host::endpoint`] for text that may be owned.
pub fn endpoint(text: Text<'_>) -> Option<(Text<'_>, Option<u32>)> {
    match text {
        Cow::Borrowed(text) => host::endpoint(text),
        Cow::Owned(text) => host::endpoint(&text).map(|(ip, port)| (Cow::Owned(ip.into_owned()), port)),
    }
}

fn address<'a>(reader: &mut Reader<'a>, ip: &mut Option<Text<'a>>, port: &mut Option<u32>) -> Step {
    let at = reader.offset();
    if let Some(text) = filled(reader)? {
        match endpoint(text) {
            Some((address, its_port)) => {
                *ip = Some(address);
                *port = its_port.or(*port);
            }
            None => reader.note(at, RejectReason::InvalidAddress),
        }
    }
    Ok(())
}

/// A failure in any of the forms that OONI wrote (trap 11).
pub fn outcome(reader: &mut Reader<'_>) -> Result<Outcome, Broken> {
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.skip()?;
            Outcome::Fine
        }
        Kind::Bool => match reader.take_bool()? {
            Some(true) => Outcome::Failed(Failure::Unknown),
            _ => Outcome::NotRun,
        },
        Kind::String => Outcome::Failed(Failure::from_ooni(&reader.take_str()?.unwrap_or_default())),
        _ => {
            reader.note(reader.offset(), RejectReason::WrongType);
            reader.skip()?;
            Outcome::Absent
        }
    })
}

fn number_u32(reader: &mut Reader<'_>) -> Result<Option<u32>, Broken> {
    let at = reader.offset();
    // Ports and codes are strings in some legacy data.
    let value = match reader.peek()? {
        Kind::String => reader.take_str()?.and_then(|text| text.trim().parse().ok()),
        _ => reader.take_i64()?,
    };
    Ok(value.and_then(|value| {
        let narrow = u32::try_from(value).ok();
        if narrow.is_none() {
            reader.note(at, RejectReason::NumberOutOfRange);
        }
        narrow
    }))
}

/// Seconds as written to microseconds; what cannot be a time within a test is left out.
fn seconds(reader: &mut Reader<'_>) -> Result<Option<i64>, Broken> {
    Ok(reader.take_f64()?.filter(|s| s.abs() < 1e7).map(|s| (s * 1e6).round() as i64))
}

fn common(key: &str, reader: &mut Reader<'_>, common: &mut Common) -> Step {
    match key {
        "t" => common.t_us = seconds(reader)?,
        "t0" => common.t0_us = seconds(reader)?,
        "transaction_id" => {
            common.transaction = reader.take_i64()?.and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        }
        // The id's name before 2021; it binds connect, handshake and events just so.
        "conn_id" if common.transaction == 0 => {
            common.transaction = reader.take_i64()?.and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        }
        "tags" => {
            if reader.enter_array()? {
                while reader.next_element()? {
                    let Some(tag) = reader.take_str()? else { continue };
                    common.tagged = true;
                    // Tags of web_connectivity 0.5 (trap 25; probe-cli webconnectivitylte).
                    match tag.as_ref() {
                        "classic" => common.classic = true,
                        "fetch_body=true" => common.fetch_body = Some(true),
                        "fetch_body=false" => common.fetch_body = Some(false),
                        tag => {
                            if let Some(depth) = tag.strip_prefix("depth=") {
                                common.depth = depth.parse().ok().filter(|depth| *depth <= 64);
                            }
                        }
                    }
                }
            }
        }
        _ => reader.skip()?,
    }
    Ok(())
}

fn query<'a>(reader: &mut Reader<'a>, role: Option<usize>) -> Result<Query<'a>, Broken> {
    let mut query = Query::default();
    query.common.role = role;
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "engine" => query.engine = filled(reader)?,
            "hostname" => query.hostname = name(reader)?,
            "query_type" => query.query_type = filled(reader)?,
            "failure" => query.outcome = outcome(reader)?,
            "resolver_address" => query.resolver = filled(reader)?,
            "answers" => {
                if reader.enter_array()? {
                    while reader.next_element()? {
                        if reader.enter_object()? && query.answers.len() < 256 {
                            query.answers.push(answer(reader)?);
                        }
                    }
                }
            }
            _ => common(&key, reader, &mut query.common)?,
        }
    }
    query.answers.retain(|answer| answer.ip.is_some() || answer.cname.is_some());
    Ok(query)
}

fn answer<'a>(reader: &mut Reader<'a>) -> Result<Answer<'a>, Broken> {
    let mut answer = Answer::default();
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "ipv4" | "ipv6" => {
                let mut port = None;
                address(reader, &mut answer.ip, &mut port)?;
            }
            "hostname" => answer.cname = name(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(answer)
}

fn connect<'a>(reader: &mut Reader<'a>, role: Option<usize>) -> Result<Connect<'a>, Broken> {
    let mut connect = Connect::default();
    connect.common.role = role;
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "ip" => {
                // Before 2021 probes connected to aliases by name.
                if let Some(text) = filled(reader)? {
                    match endpoint(text.clone()) {
                        Some((ip, port)) => {
                            connect.ip = Some(ip);
                            connect.port = connect.port.or(port);
                        }
                        None => connect.host = canonical(text),
                    }
                    if connect.ip.is_none() && connect.host.is_none() {
                        reader.note(reader.offset(), RejectReason::InvalidAddress);
                    }
                }
            }
            "port" => connect.port = number_u32(reader)?.filter(|port| *port <= 65_535),
            "status" => {
                if reader.enter_object()? {
                    while let Some(key) = reader.next_key()? {
                        match key.as_ref() {
                            "failure" => connect.outcome = outcome(reader)?,
                            "success" => connect.success = reader.take_bool()?,
                            _ => reader.skip()?,
                        }
                    }
                }
            }
            _ => common(&key, reader, &mut connect.common)?,
        }
    }
    // `failure: false` with a status object is legacy for "did not fail".
    if connect.outcome == Outcome::NotRun && connect.success == Some(true) {
        connect.outcome = Outcome::Fine;
    }
    Ok(connect)
}

fn event<'a>(reader: &mut Reader<'a>, raw: &mut Raw<'a>, role: Option<usize>) -> Step {
    let mut at = Common::default();
    let (mut operation, mut bytes, mut ended, mut address, mut cumulative) =
        (None, None, Outcome::Absent, None, false);
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "operation" => operation = filled(reader)?,
            "num_bytes" => bytes = reader.take_i64()?.and_then(|n| u64::try_from(n).ok()),
            "failure" => ended = outcome(reader)?,
            "address" => address = filled(reader)?,
            "tags" => {
                if reader.enter_array()? {
                    while reader.next_element()? {
                        cumulative |= reader.take_str()?.is_some_and(|tag| tag.contains("cumulative"));
                    }
                }
            }
            _ => common(&key, reader, &mut at)?,
        }
    }
    let Some(operation) = operation else { return Ok(()) };
    let slot = raw.traffic.iter().position(|t| {
        t.role == role && t.transaction == at.transaction && (at.transaction != 0 || t.address == address)
    });
    let slot = slot.unwrap_or_else(|| {
        raw.traffic.push(Traffic { transaction: at.transaction, role, ..Traffic::default() });
        raw.traffic.len() - 1
    });
    let traffic = &mut raw.traffic[slot];
    if traffic.address.is_none() {
        traffic.address = address;
    }
    traffic.events += 1;
    let failed = ended.failure();
    match operation.as_ref() {
        "bytes_received_cumulative" => traffic.snapshot(bytes, at.t_us),
        _ if cumulative => traffic.snapshot(bytes, at.t_us),
        // QUIC's sockets read from and write to (trap 20).
        "read" | "read_from" if failed.is_none() => traffic.read(bytes.unwrap_or(0), at.t_us),
        "write" | "write_to" if failed.is_none() => traffic.tx_bytes += bytes.unwrap_or(0),
        _ => {}
    }
    if !matches!(operation.as_ref(), "close" | "resolve_start" | "resolve_done") {
        traffic.last = Some((operation, failed));
    }
    Ok(())
}

impl Traffic<'_> {
    fn read(&mut self, bytes: u64, t_us: Option<i64>) {
        self.rx_bytes += bytes;
        self.rx_reads += 1;
        self.moment(t_us);
    }

    fn snapshot(&mut self, bytes: Option<u64>, t_us: Option<i64>) {
        if bytes > self.cumulative {
            self.cumulative = bytes;
            self.moment(t_us);
        }
    }

    fn moment(&mut self, t_us: Option<i64>) {
        let Some(t) = t_us else { return };
        if let Some(last) = self.rx_last_us {
            self.rx_gap_us = self.rx_gap_us.max(t - last);
        }
        self.rx_first_us = self.rx_first_us.or(Some(t));
        self.rx_last_us = self.rx_last_us.max(Some(t));
    }
}

/// Hash of a text, stable across runs.
pub fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}
