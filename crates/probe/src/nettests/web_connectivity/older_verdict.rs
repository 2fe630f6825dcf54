//! What version 0.4 concludes (probe-cli webconnectivity/summary.go, dnsanalysis.go, httpanalysis.go):
//! one verdict of the whole, with the reasons as bits of `x_status`.

use core::net::IpAddr;

use serde_json::{Map, Value, json};

use super::seen::{Control, Page};
use super::verdict::{Blocking, Comparison};
use crate::page::{proportion, same_title, share_uncommon_header};

/// Bits of `x_status`.
mod status {
    pub const SECURE: u64 = 1;
    pub const CLEAR: u64 = 1 << 1;
    pub const NXDOMAIN: u64 = 1 << 2;
    pub const CONTROL_UNREACHABLE: u64 = 1 << 3;
    pub const CONTROL_FAILED: u64 = 1 << 4;
    pub const DNS: u64 = 1 << 5;
    pub const DIFFERENT: u64 = 1 << 6;
    pub const CONNECT: u64 = 1 << 7;
    pub const READ_WRITE: u64 = 1 << 8;
    pub const UNKNOWN: u64 = 1 << 9;
    pub const HANDSHAKE: u64 = 1 << 10;
    pub const STEP_DNS: u64 = 1 << 11;
    pub const STEP_CONNECT: u64 = 1 << 12;
    pub const STEP_HTTP: u64 = 1 << 13;
    pub const NO_REQUESTS: u64 = 1 << 14;
}

/// A request of version 0.4, which compares whatever came of an answer, failed or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OldRequest {
    /// its URL
    pub url: String,
    /// why it failed
    pub failure: Option<String>,
    /// what came; status 0 when nothing did
    pub page: Page,
}

/// What version 0.4 saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OldSeen {
    /// host of the URL
    pub host: String,
    /// why the lookup failed
    pub lookup_failure: Option<String>,
    /// addresses that it gave
    pub addresses: Vec<IpAddr>,
    /// connects that were tried
    pub attempts: usize,
    /// connects that opened
    pub successes: usize,
    /// requests, newest first
    pub requests: Vec<OldRequest>,
}

/// What it concluded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OldVerdict {
    /// `Some(true)`: consistent
    pub dns_consistent: Option<bool>,
    /// the page
    pub comparison: Comparison,
    /// what kept it away
    pub blocking: Blocking,
    /// whether the right page came
    pub accessible: Option<bool>,
    /// `x_status`
    pub status: u64,
}

impl OldVerdict {
    /// Writes the keys.
    pub fn write(&self, keys: &mut Map<String, Value>) {
        let consistency = self.dns_consistent.map(|yes| if yes { "consistent" } else { "inconsistent" });
        let Value::Object(own) = json!({
            "dns_consistency": consistency,
            "body_proportion": self.comparison.proportion.unwrap_or(0.0),
            "body_length_match": self.comparison.length(),
            "headers_match": self.comparison.headers,
            "status_code_match": self.comparison.status,
            "title_match": self.comparison.title,
            "blocking": self.blocking.json(),
            "accessible": self.accessible,
            "x_status": self.status,
        }) else {
            return;
        };
        keys.extend(own);
    }
}

/// Judges; without control when the helper failed.
pub fn judge(seen: &OldSeen, control: Option<&Control<'_>>) -> OldVerdict {
    let mut verdict =
        OldVerdict { dns_consistent: control.map(|c| consistent(seen, c)), ..Default::default() };
    if let (Some(last), Some(control)) = (seen.requests.first(), control) {
        verdict.comparison = compare(&last.page, control);
    }
    let (blocking, accessible, status) = summarise(seen, control, &verdict);
    verdict.blocking = if accessible == Some(true) { Blocking::No } else { blocking };
    (verdict.accessible, verdict.status) = (accessible, status);
    verdict
}

fn is_missing(failure: Option<&str>) -> bool {
    matches!(failure, Some("dns_nxdomain_error" | "android_dns_cache_no_data"))
}

fn consistent(seen: &OldSeen, control: &Control<'_>) -> bool {
    if seen.host.parse::<IpAddr>().is_ok() {
        return true;
    }
    if let (Some(ours), Some(theirs)) = (&seen.lookup_failure, &control.response.dns.failure) {
        return theirs == "dns_name_error" && is_missing(Some(ours));
    }
    control.agrees(&seen.addresses)
}

fn compare(page: &Page, control: &Control<'_>) -> Comparison {
    let theirs = &control.response.http_request;
    let known = page.code > 0 && theirs.status_code > 0;
    let same_names = || {
        let lower = |name: &String| name.to_ascii_lowercase();
        let mut ours: Vec<String> = page.headers.iter().map(lower).collect();
        let mut other: Vec<String> = theirs.headers.keys().map(lower).collect();
        for names in [&mut ours, &mut other] {
            names.sort_unstable();
            names.dedup();
        }
        let uncommon = share_uncommon_header(
            page.headers.iter().map(String::as_str),
            theirs.headers.keys().map(String::as_str),
        );
        ours == other || uncommon
    };
    let same_status = i64::from(page.code) == theirs.status_code;
    Comparison {
        proportion: if page.truncated { None } else { proportion(page.length, theirs.body_length) },
        headers: known.then(same_names),
        // A helper that gets a 5xx is taken to fail itself.
        status: (known && (same_status || theirs.status_code / 100 != 5)).then_some(same_status),
        title: (known && !page.truncated && !page.title.is_empty())
            .then(|| same_title(&page.title, &theirs.title)),
    }
}

fn summarise(
    seen: &OldSeen,
    control: Option<&Control<'_>>,
    verdict: &OldVerdict,
) -> (Blocking, Option<bool>, u64) {
    use Blocking::{Dns, HttpDiff, Tcp, Unknown};
    let last = seen.requests.first();
    if last.is_some_and(|last| last.failure.is_none() && last.url.starts_with("https://")) {
        return (Unknown, Some(true), status::SECURE);
    }
    let Some(control) = control else { return (Unknown, None, status::CONTROL_UNREACHABLE) };
    let inconsistent = verdict.dns_consistent == Some(false);
    if is_missing(seen.lookup_failure.as_deref()) {
        return if inconsistent {
            (Dns, Some(false), status::DNS | status::STEP_DNS)
        } else {
            // The name is gone for both: "accessible", as its predecessors said.
            (Unknown, Some(true), status::NXDOMAIN | status::STEP_DNS)
        };
    }
    if seen.attempts > 0 && seen.successes == 0 {
        let so = status::CONNECT | status::STEP_CONNECT;
        return if inconsistent { (Dns, Some(false), so | status::DNS) } else { (Tcp, Some(false), so) };
    }
    if control.page().is_err() {
        return (Unknown, None, status::CONTROL_FAILED);
    }
    match last.map(|last| &last.failure) {
        None => (Unknown, None, status::NO_REQUESTS),
        Some(Some(failure)) => request_failed(failure, seen.requests.len() == 1 && inconsistent),
        Some(None) if !verdict.comparison.differs() => (Unknown, Some(true), status::CLEAR),
        Some(_) if inconsistent => (Dns, Some(false), status::DIFFERENT | status::DNS),
        Some(_) => (HttpDiff, Some(false), status::DIFFERENT),
    }
}

fn request_failed(failure: &str, blame_dns: bool) -> (Blocking, Option<bool>, u64) {
    use Blocking::{Dns, HttpFailure, Unknown};
    let (blocking, flag) = match failure {
        "connection_refused" => (HttpFailure, status::CONNECT),
        "connection_reset" | "eof_error" => (HttpFailure, status::READ_WRITE),
        "dns_nxdomain_error" => (Dns, status::DNS),
        "generic_timeout_error" => (HttpFailure, status::UNKNOWN),
        "ssl_invalid_hostname" | "ssl_invalid_certificate" | "ssl_unknown_authority" => {
            (HttpFailure, status::HANDSHAKE)
        }
        _ => return (Unknown, None, status::STEP_HTTP),
    };
    let flags = status::STEP_HTTP | flag;
    if blame_dns { (Dns, Some(false), flags | status::DNS) } else { (blocking, Some(false), flags) }
}
