//! The head of an HTTP/1 request, with the quirks that engines take or do not take.
//!
//! Not the parser of `okno_wire`: that one reads what a server would read, this one reads what a box is
//! told to read, wrong line ends and missing spaces included or not.

use core::str::from_utf8;

use super::Tell;
use crate::switches::{HttpSwitches, Switches};
use crate::technique::{Event, Request};

/// Methods that a request may begin with (RFC 9110 §9, RFC 5789, RFC 4918).
const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE", "PROPFIND"];

/// Whether bytes begin a request.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| {
        bytes.strip_prefix(method.as_bytes()).is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\t')))
    })
}

/// Reads the request at the start of `bytes`, tells it, and answers its head's length. `None` when there is
/// none, or not enough of it yet.
pub(super) fn read(bytes: &[u8], index: u32, switches: &Switches, tell: Tell<'_>) -> Option<usize> {
    let quirks = &switches.http;
    if !looks_like(bytes) {
        return None;
    }
    let (line, mut at) = next_line(bytes, 0, quirks)?;
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let method = from_utf8(words.next()?).ok()?;
    let path = from_utf8(words.next()?).ok()?;
    let mut host = None;
    let mut ended = false;
    while let Some((line, next)) = next_line(bytes, at, quirks) {
        at = next;
        if line.is_empty() {
            ended = true;
            break;
        }
        host = host.or_else(|| host_of(line, quirks));
    }
    if !ended && (quirks.whole_head || host.is_none()) {
        return None;
    }
    let host = switches.normalise(host.unwrap_or(""));
    tell(&Event::HttpRequest(&Request { host: &host, path, method, index }));
    Some(at)
}

/// The line that begins at `at`, without its end, and where the next begins.
fn next_line<'a>(bytes: &'a [u8], at: usize, quirks: &HttpSwitches) -> Option<(&'a [u8], usize)> {
    let rest = bytes.get(at..)?;
    let feed = rest.iter().position(|byte| *byte == b'\n')?;
    match rest[..feed].strip_suffix(b"\r") {
        Some(line) => Some((line, at + feed + 1)),
        None if quirks.bare_lf => Some((&rest[..feed], at + feed + 1)),
        None => None,
    }
}

/// The value of a Host line, without the port.
fn host_of<'a>(line: &'a [u8], quirks: &HttpSwitches) -> Option<&'a str> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let named = if quirks.any_case { name.eq_ignore_ascii_case(b"host") } else { name == b"Host" };
    if !named || (!quirks.missing_space && !value.starts_with(b" ")) {
        return None;
    }
    let value = from_utf8(value.trim_ascii()).ok()?;
    Some(match value.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => value,
    })
}
