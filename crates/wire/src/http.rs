//! HTTP/1 heads, read leniently, with every oddity written down.
//!
//! Engines of the field disagree on what they still take for a Host header (letter case, missing or extra
//! space, bare LF line ends, the absolute form, several of them), and evasions live on that. So the view
//! takes them all and records [`Quirks`]; [`HostRule`] then says which of them a given box reads.

mod emit;
#[cfg(test)]
mod tests;

pub use emit::{RequestRepr, response};

use memchr::{memchr, memchr_iter};

use crate::malformed::Malformed;

/// A head longer than this is not read on: servers refuse more, and a box has to have a limit.
pub const MAX_HEAD: usize = 65_536;

/// Departures from the plain form (`GET / HTTP/1.1`, `Host: name`, CRLF) seen while reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// empty lines before the request line (RFC 9112 §2.2 tells servers to skip them)
    pub leading_lines: bool,
    /// a line ends with LF alone
    pub bare_lf: bool,
    /// more than one blank between the parts of the request line
    pub wide_request_line: bool,
    /// the request line names no version
    pub no_version: bool,
    /// the method is not all upper case
    pub method_case: bool,
    /// the target is a whole URI
    pub absolute_target: bool,
    /// a Host header is not spelt `Host`
    pub host_case: bool,
    /// no blank after the colon of a Host header
    pub host_no_space: bool,
    /// more than one blank after that colon, a tab, or blanks at the end
    pub host_extra_space: bool,
    /// a blank before a colon (RFC 9112 §5.1 forbids it)
    pub space_before_colon: bool,
    /// more than one Host header
    pub several_hosts: bool,
    /// no Host header
    pub no_host: bool,
    /// the Host's letters are not all lower case
    pub host_value_case: bool,
    /// the Host ends with a dot
    pub host_dot: bool,
    /// a header goes on in the next line (obsolete folding)
    pub folded: bool,
}

/// Which Host headers a box reads. The default reads them all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostRule {
    /// only when spelt `Host:`
    pub exact_case: bool,
    /// only with exactly one space after the colon
    pub one_space: bool,
    /// only when every line so far ends with CRLF
    pub crlf_only: bool,
    /// the last of several instead of the first
    pub last: bool,
    /// the target's authority before the header when the target is a whole URI (as RFC 9112 §3.2.2 says)
    pub absolute_target: bool,
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// name as it stands, without blanks at its end
    pub name: &'a [u8],
    /// all before the colon
    pub raw_name: &'a [u8],
    /// value without blanks around it
    pub value: &'a [u8],
    /// all between the colon and the line end
    pub raw_value: &'a [u8],
    /// offset of the value in the bytes
    pub value_at: usize,
    /// the line ends with CRLF
    pub crlf: bool,
}

/// Header lines in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// The line at `at` without its end, how long it is with it, and whether it ends with CRLF.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize, bool)> {
    let rest = bytes.get(at..)?;
    let end = memchr(b'\n', rest)?;
    let crlf = end > 0 && rest[end - 1] == b'\r';
    Some((&rest[..end - usize::from(crlf)], end + 1, crlf))
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        loop {
            let (text, len, crlf) = line(self.bytes, self.at)?;
            if text.is_empty() {
                return None;
            }
            let at = self.at;
            self.at += len;
            let Some(colon) = memchr(b':', text) else { continue };
            if matches!(text[0], b' ' | b'\t') {
                continue;
            }
            let raw_value = &text[colon + 1..];
            let value = trim(raw_value);
            let lead =
                raw_value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(raw_value.len());
            return Some(HeaderView {
                name: trim(&text[..colon]),
                raw_name: &text[..colon],
                value,
                raw_value,
                value_at: at + colon + 1 + lead,
                crlf,
            });
        }
    }
}

/// A request's head (RFC 9112 §2.1, §3).
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    bytes: &'a [u8],
    /// method as it stands
    pub method: &'a [u8],
    /// target as it stands
    pub target: &'a [u8],
    /// `HTTP/1.1`; empty when the line names none
    pub version: &'a [u8],
    headers_at: usize,
    /// bytes of the head with its empty line, or all bytes while it is not complete
    pub head_len: usize,
    /// the empty line has come
    pub complete: bool,
    /// departures from the plain form
    pub quirks: Quirks,
}

const METHODS: [&[u8]; 10] =
    [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH", b"TRACE", b"PROPFIND"];

/// Whether the bytes may begin an HTTP/1 request of a usual method, empty lines before it let be. Looks at
/// no more than a dozen bytes.
pub fn looks_like_request(bytes: &[u8]) -> bool {
    let empty = bytes.iter().take(4).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[empty..];
    METHODS.iter().any(|method| {
        let begins = bytes.len() > method.len() && bytes[method.len()] == b' ';
        begins && bytes[..method.len()].eq_ignore_ascii_case(method)
    })
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

impl<'a> RequestView<'a> {
    /// Reads a head from the contiguous start of a stream. An error that found `Bytes` means that the first
    /// line is not whole yet; one that found a value means that this is no HTTP/1 request. Headers that
    /// have not come are simply not there: see `complete`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = &bytes[..bytes.len().min(MAX_HEAD)];
        let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let method_len =
            bytes[start..].iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len() - start);
        if method_len > 24 {
            return Err(Malformed::value("http", start, "method", u64::from(bytes[start])));
        }
        if let Some(byte) = bytes.get(start + method_len).filter(|byte| **byte != b' ' || method_len == 0) {
            return Err(Malformed::value(
                "http",
                start + method_len,
                "blank after a method",
                u64::from(*byte),
            ));
        }
        let Some((text, len, crlf)) = line(bytes, start) else {
            return Err(Malformed::short("http", start, "request line", bytes.len() - start));
        };
        let (method, rest) = text.split_at(method_len);
        let parts = trim(rest);
        let (target, version) = match parts.iter().rposition(|byte| matches!(byte, b' ' | b'\t')) {
            Some(blank) if parts[blank + 1..].starts_with(b"HTTP/") => {
                (trim(&parts[..blank]), &parts[blank + 1..])
            }
            _ => (parts, &parts[parts.len()..]),
        };
        if target.is_empty() {
            return Err(Malformed::short("http", start + method_len, "request target", 0));
        }
        let mut view = Self {
            bytes,
            method,
            target,
            version,
            headers_at: start + len,
            head_len: bytes.len(),
            complete: false,
            quirks: Quirks {
                leading_lines: start > 0,
                bare_lf: !crlf,
                wide_request_line: text.len() != method.len() + target.len() + version.len() + 2,
                no_version: version.is_empty(),
                method_case: method.iter().any(u8::is_ascii_lowercase),
                absolute_target: authority(target).is_some(),
                ..Quirks::default()
            },
        };
        view.wide_fix(text.len());
        view.find_end();
        view.host_quirks();
        Ok(view)
    }

    /// Without a version there is one blank fewer.
    fn wide_fix(&mut self, len: usize) {
        if self.version.is_empty() {
            self.quirks.wide_request_line = len != self.method.len() + self.target.len() + 1;
        }
    }

    fn find_end(&mut self) {
        let mut at = self.headers_at;
        while let Some((text, len, crlf)) = line(self.bytes, at) {
            at += len;
            self.quirks.bare_lf |= !crlf;
            if text.is_empty() {
                (self.complete, self.head_len) = (true, at);
                return;
            }
            self.quirks.folded |= matches!(text[0], b' ' | b'\t');
            let colon = memchr(b':', text);
            self.quirks.space_before_colon |=
                colon.is_some_and(|colon| colon > 0 && matches!(text[colon - 1], b' ' | b'\t'));
        }
    }

    fn host_quirks(&mut self) {
        let mut count = 0;
        for header in self.headers().filter(|header| header.name.eq_ignore_ascii_case(b"host")) {
            count += 1;
            let quirks = &mut self.quirks;
            quirks.host_case |= header.name != b"Host";
            quirks.host_no_space |=
                header.raw_value.first().is_some_and(|byte| !matches!(byte, b' ' | b'\t'));
            let plain = header.raw_value.len() == header.value.len() + 1 && header.raw_value[0] == b' ';
            quirks.host_extra_space |= !plain && header.raw_value.len() > header.value.len();
            quirks.host_value_case |= header.value.iter().any(u8::is_ascii_uppercase);
            quirks.host_dot |= name_of(header.value).ends_with(b".");
        }
        self.quirks.several_hosts = count > 1;
        self.quirks.no_host = count == 0;
    }

    /// Header lines that have come whole, in order.
    pub const fn headers(&self) -> Headers<'a> {
        Headers { bytes: self.bytes, at: self.headers_at }
    }

    /// The first header of that name, case aside.
    pub fn header(&self, name: &str) -> Option<HeaderView<'a>> {
        self.headers().find(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// All Host headers' values, in order.
    pub fn hosts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let named = |header: &HeaderView<'a>| header.name.eq_ignore_ascii_case(b"host");
        self.headers().filter(named).map(|header| header.value)
    }

    /// The name that the most lenient reader sees: the first Host header, or the authority of a whole URI
    /// when there is no header; without port.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.host_by(HostRule::default())
            .or_else(|| authority(self.target).map(name_of))
            .filter(|name| !name.is_empty())
    }

    /// The name that a box with this rule sees, as it stands, without port.
    pub fn host_by(&self, rule: HostRule) -> Option<&'a [u8]> {
        if let Some(name) = authority(self.target).filter(|_| rule.absolute_target) {
            return Some(name_of(name));
        }
        if rule.crlf_only && self.quirks.bare_lf {
            return None;
        }
        let mut fitting = self.headers().filter(|header| {
            let name = if rule.exact_case {
                header.raw_name == b"Host"
            } else {
                header.name.eq_ignore_ascii_case(b"host")
            };
            let spaced =
                header.raw_value.first() == Some(&b' ') && header.raw_value.len() == header.value.len() + 1;
            name && (spaced || !rule.one_space)
        });
        let header = if rule.last { fitting.last() } else { fitting.next() };
        header.map(|header| name_of(header.value)).filter(|name| !name.is_empty())
    }

    /// Where the first Host header's value stands in the bytes; what segmenting evasions cut.
    pub fn host_range(&self) -> Option<core::ops::Range<usize>> {
        let header = self.header("host")?;
        Some(header.value_at..header.value_at + header.value.len())
    }
}

/// The authority of a whole URI with `http` or `https`, and of CONNECT's target nothing.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = target.iter().take(8).position(|byte| *byte == b':')?;
    let rest = target[scheme..].strip_prefix(b"://")?;
    let known =
        target[..scheme].eq_ignore_ascii_case(b"http") || target[..scheme].eq_ignore_ascii_case(b"https");
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let host = &rest[..end];
    let host = host.iter().rposition(|byte| *byte == b'@').map_or(host, |at| &host[at + 1..]);
    known.then_some(host)
}

/// A host without its port; an IPv6 literal keeps its brackets.
fn name_of(host: &[u8]) -> &[u8] {
    if host.first() == Some(&b'[') {
        return memchr(b']', host).map_or(host, |end| &host[..=end]);
    }
    let mut colons = memchr_iter(b':', host);
    match (colons.next(), colons.next()) {
        (Some(colon), None) => &host[..colon],
        _ => host,
    }
}

/// A response's head (RFC 9112 §4).
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    bytes: &'a [u8],
    /// `HTTP/1.1`
    pub version: &'a [u8],
    /// status code
    pub status: u16,
    /// reason phrase, often empty
    pub reason: &'a [u8],
    headers_at: usize,
    /// bytes of the head with its empty line, or all bytes while it is not complete
    pub head_len: usize,
    /// the empty line has come
    pub complete: bool,
}

impl<'a> ResponseView<'a> {
    /// Reads a head from the contiguous start of a stream; errors as [`RequestView::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = &bytes[..bytes.len().min(MAX_HEAD)];
        let have = bytes.len().min(5);
        if let Some(at) = (0..have).find(|at| bytes[*at] != b"HTTP/"[*at]) {
            return Err(Malformed::value("http", at, "HTTP/", u64::from(bytes[at])));
        }
        let Some((text, len, _)) = line(bytes, 0) else {
            return Err(Malformed::short("http", 0, "status line", bytes.len()));
        };
        let blank = memchr(b' ', text).ok_or_else(|| Malformed::short("http", len, "status code", 0))?;
        let digits = text.get(blank + 1..blank + 4).unwrap_or_default();
        let status =
            core::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let status = status.and_then(|digits| digits.parse().ok());
        let wrong = || {
            Malformed::value("http", blank + 1, "status code of three digits", u64::from(bytes[blank + 1]))
        };
        let mut view = Self {
            bytes,
            version: &text[..blank],
            status: status.ok_or_else(wrong)?,
            reason: trim(&text[blank + 4..]),
            headers_at: len,
            head_len: bytes.len(),
            complete: false,
        };
        let mut at = len;
        while let Some((text, len, _)) = line(bytes, at) {
            at += len;
            if text.is_empty() {
                (view.complete, view.head_len) = (true, at);
                break;
            }
        }
        Ok(view)
    }

    /// Header lines that have come whole, in order.
    pub const fn headers(&self) -> Headers<'a> {
        Headers { bytes: self.bytes, at: self.headers_at }
    }

    /// The first header of that name, case aside.
    pub fn header(&self, name: &str) -> Option<HeaderView<'a>> {
        self.headers().find(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The value of the Location header.
    pub fn location(&self) -> Option<&'a [u8]> {
        self.header("location").map(|header| header.value)
    }

    /// What came of the body.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.head_len..]
    }
}
