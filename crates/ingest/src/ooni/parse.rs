//! One line of JSON to [`Raw`]: tolerant, in one pass, whatever the nettest.
//!
//! The shared structures are found by their key wherever they stand in `test_keys`, so a test that nobody
//! has heard of still yields its lookups, connects, handshakes and requests. Everything else is kept
//! unread for the adapter of the test in question.

use std::borrow::Cow;

use okno_model::{RejectReason, Text, Transport};
use sha2::{Digest, Sha256};

use super::body::{self, is_uncommon};
use super::fields::{Step, address, common, filled, here, name, number_u32, outcome, value};
use super::operations::{connect, query};
use super::raw::{Chain, Handshake, Raw, RawControl, Request, Value};
use super::traffic::event;
use super::{cert, control};
use crate::json::{Broken, Kind, RawValue, Reader};
use crate::reference::Fingerprints;

/// Most elements that are read from one list; the rest is counted. OONI's probe caps network events at 64.
const MAX_LIST: usize = 20_000;
/// Most operations of each kind that one measurement may have, and most addresses in its lookups: joining
/// them costs their product. The largest real measurements (tor, whatsapp) have some 200.
const MAX_OPERATIONS: usize = 4_096;
/// Most names of uncommon headers that are kept.
pub const MAX_NAMES: usize = 24;
/// Most keys of one object that are kept; real measurements have some 60.
const MAX_KEYS: usize = 1_024;
/// Most roles, so that indexes stay small.
const MAX_ROLES: usize = 10_000;
/// The structures that nettests share, lists all (df-001, 002, 005, 006, 008).
const SHARED: [&str; 6] =
    ["queries", "tcp_connect", "tls_handshakes", "quic_handshakes", "requests", "network_events"];
/// Longest part of a role that one key gives, in characters: a key may be anything.
const MAX_STEP: usize = 80;
/// Most parts of one container that are searched for shared structures.
const MAX_NESTED: usize = 4_096;
/// How deep `test_keys` is searched for shared structures.
const MAX_SEARCH: u32 = 6;

/// Buffers that live across measurements.
#[derive(Default)]
pub struct Scratch {
    body: Vec<u8>,
    decoded: Vec<u8>,
    /// the probe's address as written, once it was read: a body that holds it gets no hash
    pub probe_ip: Vec<u8>,
    /// a body was read before that
    pub bodies_before_probe_ip: bool,
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
        self.scratch.probe_ip.clear();
        self.scratch.bodies_before_probe_ip = false;
        // A file that was edited on Windows may open with a byte order mark: no JSON (RFC 8259 §8.1).
        let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::part(RawValue { text: plain, offset: text.len() - plain.len() });
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
                "annotations" => {
                    if !raw.annotations.is_empty() {
                        reader.note(at, RejectReason::DuplicateKey);
                        raw.annotations.clear();
                    }
                    annotations(reader, raw)?;
                }
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
                    if key == "test_runtime" && !matches!(value, Value::Null | Value::Number(_)) {
                        reader.note(at, RejectReason::WrongType);
                    }
                    if key == "probe_ip" {
                        self.probe_ip(&value, raw);
                    }
                    keep(reader, at, &mut raw.top, key, value);
                }
            }
        }
        Ok(())
    }

    /// The probe's address may be a text, a list, or written twice; all of it is remembered.
    fn probe_ip<'a>(&mut self, value: &Value<'a>, raw: &mut Raw<'a>) {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Raw(part) => Cow::Borrowed(part.text),
            Value::Null | Value::Bool(_) | Value::Number(_) => return,
        };
        self.scratch.probe_ip.clear();
        self.scratch.probe_ip.extend_from_slice(text.trim().as_bytes());
        raw.probe_ips.push(text);
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
        let mut seen: Vec<&'static str> = Vec::new();
        while let Some(key) = reader.next_key()? {
            let at = reader.offset();
            let shared = SHARED.into_iter().find(|shared| *shared == key);
            if shared.is_some_and(|shared| seen.contains(&shared)) {
                reader.note(at, RejectReason::DuplicateKey);
                forget(&key, raw);
            }
            if self.shared(&key, reader, raw, None)? {
                seen.extend(shared);
                continue;
            }
            if raw.key(&key).is_some() {
                reader.note(at, RejectReason::DuplicateKey);
                raw.keys.retain(|(name, _)| *name != key);
                if key == "control" {
                    raw.controls.clear();
                    raw.control_present = false;
                }
            }
            let value = value(reader)?;
            if key == "control"
                && let Value::Raw(part) = value
            {
                control::read(part, raw);
            }
            keep(reader, at, &mut raw.keys, key, value);
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
            key if SHARED.contains(&key) => Kind::Array,
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
        if kind != Kind::Array {
            reader.note(reader.offset(), RejectReason::WrongType);
            reader.skip()?;
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
        let at = here(reader)?;
        if is_full(key, raw) {
            if raw.overfull.insert(kind_of(key)) {
                reader.note(at, RejectReason::TooMany);
            }
            return reader.skip();
        }
        if !reader.enter_object()? {
            return Ok(());
        }
        match key {
            "queries" | "query" => {
                let query = query(reader, role)?;
                raw.has_classic |= query.common.classic;
                raw.answers += query.answers.len();
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
                if request.over_tor {
                    raw.control_present |= request.status.is_some();
                    raw.controls.push(RawControl::over_tor(request));
                } else {
                    raw.has_classic |= request.common.classic;
                    raw.requests.push(request);
                }
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
            let at = here(reader)?;
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
        let at = here(reader)?;
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
                                "tor" => request.over_tor = over_tor(reader)?,
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
                        self.scratch.bodies_before_probe_ip |= self.scratch.probe_ip.is_empty();
                        request.body = Some(body::look(body, self.fingerprints, &self.scratch.probe_ip));
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
        names.truncate(MAX_NAMES);
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
                // Sorted and cut at the end; a million headers need no million names.
                if names.len() > MAX_KEYS {
                    names.sort_unstable();
                    names.dedup();
                    names.truncate(MAX_NAMES);
                }
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
            let name: Text<'a> = match name.char_indices().nth(MAX_STEP) {
                Some((end, _)) => Cow::Owned(name[..end].to_owned()),
                None => name,
            };
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
                raw.issues.extend(reader.issues.iter().map(|issue| (issue.offset, issue.reason)));
                // The target's handshake carried a GREASE extension, which 0.1 did not write down.
                if let Some(handshake) =
                    raw.handshakes.last_mut().filter(|h| name == "target" && h.common.role == role)
                {
                    handshake.ech = handshake.ech.take().or(Some(Cow::Borrowed("GREASE")));
                }
                continue;
            }
            let first = raw.handshakes.len();
            // Breaks cannot happen here: the part was balanced, and what is odd in it is noted.
            let _ = self.descend(&mut reader, raw, &name, 0);
            raw.issues.extend(reader.issues.iter().map(|issue| (issue.offset, issue.reason)));
            if matches!(name.as_ref(), "control" | "target") {
                name_handshakes(part, &mut raw.handshakes[first..]);
            }
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
                if index < MAX_NESTED {
                    self.descend(reader, raw, &format!("{path}[{index}]"), depth + 1)?;
                } else {
                    if index == MAX_NESTED {
                        reader.note(reader.offset(), RejectReason::TooMany);
                    }
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
        let mut parts = 0;
        while let Some(key) = reader.next_key()? {
            if !self.shared(&key, reader, raw, role)? {
                match reader.peek()? {
                    Kind::Object | Kind::Array if parts >= MAX_NESTED => {
                        if parts == MAX_NESTED {
                            reader.note(reader.offset(), RejectReason::TooMany);
                        }
                        parts += 1;
                        reader.skip()?;
                    }
                    Kind::Object | Kind::Array => {
                        parts += 1;
                        let step: String = key.chars().take(MAX_STEP).collect();
                        self.descend(reader, raw, &format!("{path}.{step}"), depth + 1)?;
                    }
                    _ => reader.skip()?,
                }
            }
        }
        Ok(())
    }
}

fn forget_test_keys(raw: &mut Raw<'_>) {
    SHARED.into_iter().for_each(|key| forget(key, raw));
    raw.keys.clear();
    raw.controls.clear();
    raw.control_present = false;
    raw.has_classic = false;
}

/// sni_blocking before 0.3 wrote the name it sent beside its handshake, not in it (ts-024).
fn name_handshakes<'a>(part: RawValue<'a>, handshakes: &mut [Handshake<'a>]) {
    let mut reader = Reader::part(part);
    let mut sni = None;
    let mut run = || -> Step {
        if reader.enter_object()? {
            while let Some(key) = reader.next_key()? {
                match key.as_ref() {
                    "sni" => sni = name(&mut reader)?,
                    _ => reader.skip()?,
                }
            }
        }
        Ok(())
    };
    // The part was read once already: what is odd in it is noted.
    let _ = run();
    for handshake in handshakes.iter_mut().filter(|handshake| handshake.server_name.is_none()) {
        handshake.server_name.clone_from(&sni);
    }
}

/// Drops what an earlier list under the same key gave: the last one counts.
fn forget(key: &str, raw: &mut Raw<'_>) {
    match key {
        "queries" => {
            raw.queries.clear();
            raw.answers = 0;
        }
        "tcp_connect" => raw.connects.clear(),
        "tls_handshakes" => raw.handshakes.retain(|h| h.transport != Transport::Tcp),
        "quic_handshakes" => raw.handshakes.retain(|h| h.transport == Transport::Tcp),
        "requests" => raw.requests.clear(),
        _ => raw.traffic.clear(),
    }
}

/// The list that an operation goes to.
fn kind_of(key: &str) -> &'static str {
    match key {
        "queries" | "query" => "queries",
        "tcp_connect" | "tcp_handshake" => "tcp_connect",
        "tls_handshakes" | "tls_handshake" | "quic_handshakes" | "quic_handshake" => "tls_handshakes",
        "requests" => "requests",
        _ => "network_events",
    }
}

fn is_full(key: &str, raw: &Raw<'_>) -> bool {
    match kind_of(key) {
        "queries" => raw.queries.len().max(raw.answers) >= MAX_OPERATIONS,
        "tcp_connect" => raw.connects.len() >= MAX_OPERATIONS,
        "tls_handshakes" => raw.handshakes.len() >= MAX_OPERATIONS,
        "requests" => raw.requests.len() + raw.controls.len() >= MAX_OPERATIONS,
        _ => false,
    }
}

/// Keeps a key's value, unless there are more than any measurement has.
fn keep<'a>(
    reader: &mut Reader<'a>,
    at: usize,
    kept: &mut Vec<(Text<'a>, Value<'a>)>,
    key: Text<'a>,
    value: Value<'a>,
) {
    if kept.len() < MAX_KEYS {
        kept.push((key, value));
    } else if kept.len() == MAX_KEYS {
        reader.note(at, RejectReason::TooMany);
        // A key of no meaning marks that the surplus was noted.
        kept.push((Cow::Borrowed(""), Value::Null));
    }
}

/// ts-001: http_requests asked every page twice, once through Tor for comparison.
fn over_tor(reader: &mut Reader<'_>) -> Result<bool, Broken> {
    let mut is_tor = false;
    if reader.enter_object()? {
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "is_tor" => is_tor = reader.take_bool()? == Some(true),
                _ => reader.skip()?,
            }
        }
    }
    Ok(is_tor)
}

fn annotations<'a>(reader: &mut Reader<'a>, raw: &mut Raw<'a>) -> Step {
    if !reader.enter_object()? {
        return Ok(());
    }
    while let Some(key) = reader.next_key()? {
        // Values may be anything (trap 32); only text is of use.
        if let Value::Text(text) = value(reader)?
            && raw.annotations.len() < MAX_KEYS
        {
            raw.annotations.push((key, text));
        }
    }
    Ok(())
}
