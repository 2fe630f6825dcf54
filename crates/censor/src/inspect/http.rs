//! The head of an HTTP/1 request, with the quirks that the switches let a box read.

use core::str::from_utf8;

use okno_wire::http::{HostRule, RequestView, looks_like_request};

use super::Tell;
use crate::switches::{HttpSwitches, Switches};
use crate::technique::{Event, Request};

/// Bytes by which a usual method and the blank after it can be told.
pub(super) const LONGEST_METHOD: usize = 9;

/// Whether bytes begin a request.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    looks_like_request(&bytes[start..])
}

/// Reads the request at the start of `bytes`, tells it, and answers its head's length. `None` when there is
/// none, or not enough of it yet.
pub(super) fn read(bytes: &[u8], index: u32, switches: &Switches, tell: Tell<'_>) -> Option<usize> {
    let quirks = &switches.http;
    if !looks_like(bytes) {
        return None;
    }
    let head = RequestView::parse(bytes).ok()?;
    if head.quirks.leading_lines && !quirks.leading_lines {
        return None;
    }
    let host = host_of(&head, quirks);
    if !head.complete && (quirks.whole_head || host.is_empty()) {
        return None;
    }
    let host = if quirks.lower_case { switches.normalise(host) } else { switches.cut_dot(host).to_owned() };
    let (path, method) = (from_utf8(head.target).unwrap_or(""), from_utf8(head.method).unwrap_or(""));
    tell(&Event::HttpRequest(&Request { host: &host, path, method, index }));
    Some(head.head_len)
}

fn host_of<'a>(head: &RequestView<'a>, quirks: &HttpSwitches) -> &'a str {
    let rule = HostRule {
        exact_case: !quirks.any_case,
        one_space: !quirks.missing_space,
        crlf_only: !quirks.bare_lf,
        ..HostRule::default()
    };
    head.host_by(rule).and_then(|host| from_utf8(host).ok()).unwrap_or("")
}
