//! SIP: start line and the headers that identify a dialogue (RFC 3261 §7).
//!
//! Only what tells SIP from its relatives (HTTP, RTSP, SSDP) and names the parties is read; a body is left
//! alone. Header names match without case and in their compact forms (RFC 3261 §7.3.3).

use crate::malformed::{Found, Malformed};

/// Methods of RFC 3261 and its extensions (https://www.iana.org/assignments/sip-parameters).
pub const METHODS: &[&str] = &[
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "SUBSCRIBE",
    "NOTIFY",
    "MESSAGE",
    "INFO",
    "PRACK",
    "UPDATE",
    "REFER",
    "PUBLISH",
];

/// A start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// a request
    Request {
        /// method, in capitals
        method: &'a str,
        /// what it is about: `sip:alice@example.org`
        uri: &'a str,
    },
    /// a response
    Status {
        /// 100–699
        code: u16,
        /// reason in words
        reason: &'a str,
    },
}

/// A borrowed message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// request or status line
    pub start: Start<'a>,
    /// Call-ID, or empty
    pub call_id: &'a str,
    /// From, or empty
    pub from: &'a str,
    /// To, or empty
    pub to: &'a str,
    /// Via, the first, or empty
    pub via: &'a str,
    /// User-Agent or Server, or empty
    pub agent: &'a str,
}

const VERSION: &str = "SIP/2.0";

impl<'a> Message<'a> {
    /// Reads the head, leniently about its end: a datagram or stream may cut it. Start line and at least
    /// one of Call-ID, From, To, Via must be there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        // RFC 3261 §7.5: empty lines before a message are skipped.
        let skipped = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = &bytes[skipped..];
        let (line, mut at) = line(bytes, 0).ok_or(Malformed::short("sip", 0, "a line", bytes.len()))?;
        let start = parse_start(line)?;
        let mut message = Self { start, call_id: "", from: "", to: "", via: "", agent: "" };
        while let Some((text, next)) = line_of(bytes, at) {
            if text.is_empty() {
                break;
            }
            message.take(text);
            at = next;
        }
        if message.call_id.is_empty()
            && (message.from.is_empty() || message.to.is_empty())
            && message.via.is_empty()
        {
            return Err(Malformed::short("sip", at, "a Call-ID, From and To, or Via", bytes.len() - at));
        }
        Ok(message)
    }

    fn take(&mut self, text: &'a str) {
        let Some((name, value)) = text.split_once(':') else { return };
        let (name, value) = (name.trim(), value.trim());
        let field = match () {
            () if name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i") => &mut self.call_id,
            () if name.eq_ignore_ascii_case("from") || name.eq_ignore_ascii_case("f") => &mut self.from,
            () if name.eq_ignore_ascii_case("to") || name.eq_ignore_ascii_case("t") => &mut self.to,
            () if name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("v") => &mut self.via,
            () if name.eq_ignore_ascii_case("user-agent") || name.eq_ignore_ascii_case("server") => {
                &mut self.agent
            }
            () => return,
        };
        if field.is_empty() {
            *field = value;
        }
    }

    /// The method of a request; empty for a response.
    pub const fn method(&self) -> &'a str {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Status { .. } => "",
        }
    }

    /// Host of the request's URI, or of the To header: what the message is for.
    pub fn host(&self) -> &'a str {
        let uri = match self.start {
            Start::Request { uri, .. } => uri,
            Start::Status { .. } => self.to,
        };
        let rest = uri.split_once("sips:").or_else(|| uri.split_once("sip:")).map_or("", |(_, rest)| rest);
        let rest = rest.split(['>', ';', '?', ' ']).next().unwrap_or("");
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        match host.strip_prefix('[') {
            Some(six) => six.split(']').next().unwrap_or(""),
            None => host.split(':').next().unwrap_or(""),
        }
    }
}

/// Whether bytes begin as SIP does: a method and a URI of telephony, or the version and a status. For heads
/// that are damaged or cut in their first line.
pub fn looks_like_sip(bytes: &[u8]) -> bool {
    if let Some(rest) = bytes.strip_prefix(b"SIP/2.0 ") {
        return matches!(rest, [b'1'..=b'6', b'0'..=b'9', b'0'..=b'9', ..]);
    }
    METHODS.iter().any(|method| {
        let rest = bytes.strip_prefix(method.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
        rest.is_some_and(|rest| {
            [&b"sip:"[..], b"sips:", b"tel:"].iter().any(|scheme| rest.starts_with(scheme))
        })
    })
}

fn parse_start(line: &str) -> Result<Start<'_>, Malformed> {
    let wrong = |expected| Malformed { layer: "sip", offset: 0, expected, found: Found::Bytes(line.len()) };
    if let Some(rest) = line.strip_prefix(VERSION) {
        let mut parts = rest.trim_start().splitn(2, ' ');
        let code = parts.next().and_then(|code| code.parse::<u16>().ok()).unwrap_or(0);
        if !(100..700).contains(&code) {
            return Err(Malformed::value("sip", 8, "a status of 100–699", u64::from(code)));
        }
        return Ok(Start::Status { code, reason: parts.next().unwrap_or("") });
    }
    let mut parts = line.splitn(3, ' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(uri), Some(VERSION)) if METHODS.contains(&method) => {
            Ok(Start::Request { method, uri })
        }
        _ => Err(wrong("a request line or a status line of SIP/2.0")),
    }
}

/// A whole line without its end, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Option<(&str, usize)> {
    let rest = bytes.get(at..)?;
    let end = memchr::memchr(b'\n', rest)?;
    let text = core::str::from_utf8(&rest[..end]).ok()?;
    Some((text.trim_end_matches('\r'), at + end + 1))
}

/// A line; the last may be cut, and one that is no text reads as `-`.
fn line_of(bytes: &[u8], at: usize) -> Option<(&str, usize)> {
    if at >= bytes.len() {
        return None;
    }
    line(bytes, at).or_else(|| {
        let rest = &bytes[at..];
        let cut = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        Some((core::str::from_utf8(&rest[..cut]).unwrap_or("-"), (at + cut + 1).min(bytes.len())))
    })
}

/// Writes a request with the headers of a dialogue and no body.
pub fn emit_request(method: &str, uri: &str, call_id: &str, from: &str, to: &str, via: &str) -> Vec<u8> {
    format!(
        "{method} {uri} {VERSION}\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Writes a response with the headers of a dialogue and no body.
pub fn emit_status(code: u16, reason: &str, call_id: &str, from: &str, to: &str, via: &str) -> Vec<u8> {
    format!(
        "{VERSION} {code} {reason}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}
