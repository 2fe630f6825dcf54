//! What web_connectivity itself concludes: `blocking`, `accessible` and the keys beside them
//! (ts-017-web-connectivity, "Local processing of the measurement results").
//!
//! These keys are part of OONI's format and follow its probe (webconnectivitylte/analysisclassic.go and
//! analysisext.go over minipipeline). `okno-detect` reads none of them and judges by itself.

use core::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::seen::{Chain, Control, Ended, Lookup, Page, Seen, has_bogon};
use crate::page::{proportion, same_status, same_title, share_uncommon_header};

/// Least ratio of two bodies' lengths that counts as a match (ts-017, "body_length_match").
const ALIKE: f64 = 0.7;

/// Bits of `x_blocking_flags` (probe-cli webconnectivitylte/analysiscore.go).
pub mod blocking_flags {
    /// lookups were tampered with
    pub const DNS: u64 = 1;
    /// connects failed
    pub const TCP: u64 = 2;
    /// handshakes failed
    pub const TLS: u64 = 4;
    /// requests failed
    pub const HTTP: u64 = 8;
    /// the page is another one
    pub const DIFFERENT: u64 = 16;
    /// the page is as expected
    pub const SUCCESS: u64 = 32;
}

/// Bits of `x_dns_flags`.
mod dns_flags {
    pub const BOGON: u64 = 1;
    pub const UNEXPECTED_FAILURE: u64 = 2;
    pub const UNEXPECTED_ADDRESSES: u64 = 4;
}

/// Bits of `x_null_null_flags`.
mod null_flags {
    pub const DNS_FAILS_FOR_BOTH: u64 = 1;
    pub const TCP_FAILS_FOR_BOTH: u64 = 2;
    pub const TLS_FAILS_FOR_BOTH: u64 = 4;
    pub const HTTPS_WITHOUT_CONTROL: u64 = 8;
    pub const UNEXPECTED_ADDRESSES: u64 = 16;
}

/// What kept the page away, in OONI's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// cannot be said
    #[default]
    Unknown,
    /// nothing
    No,
    /// `dns`
    Dns,
    /// `tcp_ip`
    Tcp,
    /// `http-failure`
    HttpFailure,
    /// `http-diff`
    HttpDiff,
}

impl Blocking {
    /// As the key `blocking`.
    pub fn json(self) -> Value {
        match self {
            Self::Unknown => Value::Null,
            Self::No => Value::Bool(false),
            Self::Dns => "dns".into(),
            Self::Tcp => "tcp_ip".into(),
            Self::HttpFailure => "http-failure".into(),
            Self::HttpDiff => "http-diff".into(),
        }
    }
}

/// How the page compares with the helper's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// ratio of lengths
    pub proportion: Option<f64>,
    /// uncommon headers in common
    pub headers: Option<bool>,
    /// status codes
    pub status: Option<bool>,
    /// long words of the titles
    pub title: Option<bool>,
}

impl Comparison {
    /// `body_length_match`.
    pub fn length(&self) -> Option<bool> {
        self.proportion.map(|ratio| ratio > ALIKE)
    }

    /// ts-017, "blocking": the HTTP diff.
    pub fn differs(&self) -> bool {
        let one_of = [self.length(), self.headers, self.title];
        !(self.status == Some(true) && one_of.contains(&Some(true)))
    }
}

/// The conclusion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// `Some(true)`: consistent
    pub dns_consistent: Option<bool>,
    /// first failure of the system's lookups before any redirect
    pub dns_experiment_failure: Option<String>,
    /// failure of the operation that decided
    pub http_experiment_failure: Option<String>,
    /// the page
    pub comparison: Comparison,
    /// what kept it away
    pub blocking: Blocking,
    /// whether a page came that seems the right one
    pub accessible: Option<bool>,
    /// `x_dns_flags`
    pub dns_flags: u64,
    /// `x_blocking_flags`
    pub blocking_flags: u64,
    /// `x_null_null_flags`
    pub null_flags: u64,
}

impl Verdict {
    /// Writes the keys.
    pub fn write(&self, keys: &mut Map<String, Value>) {
        let consistency = self.dns_consistent.map(|yes| if yes { "consistent" } else { "inconsistent" });
        let Value::Object(own) = json!({
            "x_dns_flags": self.dns_flags,
            "dns_experiment_failure": self.dns_experiment_failure,
            "dns_consistency": consistency,
            "http_experiment_failure": self.http_experiment_failure,
            "x_blocking_flags": self.blocking_flags,
            "x_null_null_flags": self.null_flags,
            "body_proportion": self.comparison.proportion.unwrap_or(0.0),
            "body_length_match": self.comparison.length(),
            "headers_match": self.comparison.headers,
            "status_code_match": self.comparison.status,
            "title_match": self.comparison.title,
            "blocking": self.blocking.json(),
            "accessible": self.accessible,
        }) else {
            return;
        };
        keys.extend(own);
    }
}

/// Judges.
pub fn judge(seen: &Seen, control: Option<&Control<'_>>) -> Verdict {
    let mut verdict = Verdict::default();
    extended(seen, control, &mut verdict);
    let classic = seen.classic(control);
    let found = Metrics::of(&classic, control);
    verdict.dns_consistent = found.consistency(control);
    verdict.dns_experiment_failure = found.experiment_failure.clone();
    verdict.comparison = found.comparison.clone().unwrap_or_default();
    decide(&classic, control, &mut verdict);
    verdict
}

/// Sets of what went as expected and what did not (probe-cli minipipeline/analysis.go).
#[derive(Default)]
struct Metrics {
    resolved: bool,
    bogon: bool,
    valid: bool,
    valid_classic: bool,
    invalid: BTreeSet<u64>,
    invalid_classic: bool,
    dns_unexpected: bool,
    dns_unexplained: bool,
    dns_expected: bool,
    experiment_failure: Option<String>,
    tcp_expected: bool,
    tcp_unexpected: bool,
    tcp_unexplained: bool,
    tls_expected: bool,
    tls_unexpected: bool,
    tls_unexplained: bool,
    http_unexpected: bool,
    http_unexplained: bool,
    /// the final page, and whether it came over TLS
    last: Option<bool>,
    comparison: Option<Comparison>,
}

impl Metrics {
    fn of(seen: &Seen, control: Option<&Control<'_>>) -> Self {
        let mut found = Self::default();
        found.lookups_that_worked(seen, control);
        found.lookups_that_failed(seen, control);
        for chain in &seen.chains {
            found.connect(chain, control);
            found.handshake(seen, chain, control);
            found.request(chain, control);
        }
        let last = seen.chains.iter().find_map(|chain| Some((chain, final_page(chain)?)));
        if let Some((chain, page)) = last {
            found.last = Some(chain.handshake.as_ref().is_some_and(|(ended, _)| ended.is_ok()));
            found.comparison = control.map(|control| compare(page, control));
        }
        found
    }

    fn lookups_that_worked(&mut self, seen: &Seen, control: Option<&Control<'_>>) {
        let mut already = BTreeSet::new();
        for lookup in &seen.lookups {
            let answered = lookup.failure.is_none() && !lookup.addresses.is_empty();
            if !answered || !already.insert(lookup.transaction) || lookup.depth != 0 {
                continue;
            }
            self.resolved = true;
            self.bogon |= has_bogon(&lookup.addresses);
            let Some(control) = control.filter(|c| c.host == lookup.hostname && c.dns().is_ok()) else {
                continue;
            };
            if control.agrees(&lookup.addresses) {
                self.valid = true;
                self.valid_classic = true;
            } else {
                self.invalid.insert(lookup.transaction);
                self.invalid_classic = true;
            }
        }
    }

    fn lookups_that_failed(&mut self, seen: &Seen, control: Option<&Control<'_>>) {
        let mut already = BTreeSet::new();
        for lookup in &seen.lookups {
            let Some(failure) = lookup.failure.as_deref() else { continue };
            // A failed DoH lookup speaks of the DoH service (ooni/probe#2274), a missing AAAA of nothing.
            if !already.insert(lookup.transaction)
                || lookup.engine == "doh"
                || (lookup.query_type == "AAAA" && failure == "dns_no_answer")
            {
                continue;
            }
            if lookup.depth != 0 {
                self.dns_unexplained = true;
                continue;
            }
            self.experiment_failure.get_or_insert_with(|| failure.to_owned());
            let Some(control) = control.filter(|control| control.host == lookup.hostname) else { continue };
            // For a name without addresses a helper reports no failure and no addresses.
            let both = control.dns().is_err()
                || (failure == "dns_no_answer" && control.response.dns.addrs.is_empty());
            self.dns_expected |= both;
            self.dns_unexpected |= !both;
        }
    }

    fn connect(&mut self, chain: &Chain, control: Option<&Control<'_>>) {
        if chain.depth != 0 {
            self.tcp_unexplained |= chain.connect.is_err() && !lacks_ipv6(chain);
            return;
        }
        match control.and_then(|control| control.connect(chain)) {
            Some(Err(_)) => self.tcp_expected |= chain.connect.is_err(),
            Some(Ok(())) => self.tcp_unexpected |= chain.connect.is_err() && !lacks_ipv6(chain),
            None => {}
        }
    }

    fn handshake(&mut self, seen: &Seen, chain: &Chain, control: Option<&Control<'_>>) {
        let Some((ended, _)) = &chain.handshake else { return };
        if ended.is_ok()
            && let Some(lookup) = seen.lookup_of(chain.ip)
        {
            // A certificate for the name makes the address valid, whoever gave it.
            self.invalid.remove(&lookup.transaction);
            self.valid = true;
        }
        if chain.depth != 0 {
            self.tls_unexplained |= ended.is_err();
            return;
        }
        match control.and_then(|control| control.handshake(chain)) {
            Some(Err(_)) => self.tls_expected |= ended.is_err(),
            Some(Ok(())) => self.tls_unexpected |= ended.is_err(),
            None => {}
        }
    }

    fn request(&mut self, chain: &Chain, control: Option<&Control<'_>>) {
        if !matches!(chain.page, Some(Err(_))) {
            return;
        }
        match control.map(Control::page) {
            None => self.http_unexplained = true,
            Some(Ok(())) => self.http_unexpected = true,
            Some(Err(_)) => {}
        }
    }

    /// ts-017, "dns_consistency".
    fn consistency(&self, control: Option<&Control<'_>>) -> Option<bool> {
        if !self.dns_unexpected && !self.invalid_classic && (self.valid_classic || self.dns_expected) {
            return Some(true);
        }
        let helper_has_none = control.is_some_and(|control| control.response.dns.addrs.is_empty());
        (self.invalid_classic || self.dns_unexpected || (self.resolved && helper_has_none)).then_some(false)
    }
}

/// No IPv6 here, rather than a failure of the other side (ooni/probe#2284).
fn lacks_ipv6(chain: &Chain) -> bool {
    let unreachable =
        matches!(&chain.connect, Err(text) if text == "network_unreachable" || text == "host_unreachable");
    unreachable && chain.ip.is_ipv6()
}

fn final_page(chain: &Chain) -> Option<&Page> {
    chain.page.as_ref()?.as_ref().ok().filter(|page| page.is_final())
}

fn compare(page: &Page, control: &Control<'_>) -> Comparison {
    let theirs = &control.response.http_request;
    if control.page().is_err() || theirs.status_code <= 0 {
        return Comparison::default();
    }
    let length = if page.truncated { 0 } else { page.length };
    let ours = page.headers.iter().map(String::as_str);
    Comparison {
        proportion: proportion(length, theirs.body_length),
        headers: Some(share_uncommon_header(ours, theirs.headers.keys().map(String::as_str))),
        status: same_status(page.code, theirs.status_code),
        title: Some(same_title(&page.title, &theirs.title)),
    }
}

/// The flags: what all resolvers and addresses showed (probe-cli webconnectivitylte/analysisext.go).
fn extended(seen: &Seen, control: Option<&Control<'_>>, verdict: &mut Verdict) {
    use blocking_flags::{DIFFERENT, DNS, HTTP, SUCCESS, TCP, TLS};
    let found = Metrics::of(seen, control);
    let mut flags = |when: bool, flag: u64| {
        if when {
            verdict.blocking_flags |= flag;
        }
    };
    flags(found.dns_unexpected || !found.invalid.is_empty(), DNS);
    flags(found.tcp_unexpected, TCP);
    flags(found.tls_unexpected, TLS);
    flags(found.http_unexpected, HTTP);
    let helper_got_it = control.is_some_and(|control| control.page().is_ok());
    if found.last.is_none() && helper_got_it {
        flags(found.dns_unexplained, DNS);
        flags(found.tcp_unexplained, TCP);
        flags(found.tls_unexplained, TLS);
        flags(found.http_unexplained, HTTP);
    }
    match (found.last, &found.comparison) {
        (Some(true), _) => flags(true, SUCCESS),
        (Some(false), Some(comparison)) => {
            flags(true, if comparison.differs() { DIFFERENT } else { SUCCESS })
        }
        _ => {}
    }
    for (when, flag) in [
        (found.bogon, dns_flags::BOGON),
        (found.dns_unexpected, dns_flags::UNEXPECTED_FAILURE),
        (!found.invalid.is_empty(), dns_flags::UNEXPECTED_ADDRESSES),
    ] {
        verdict.dns_flags |= if when { flag } else { 0 };
    }
    let helper_has_none = control.is_some_and(|control| control.response.dns.addrs.is_empty());
    for (when, flag) in [
        (found.dns_expected, null_flags::DNS_FAILS_FOR_BOTH),
        (found.tcp_expected, null_flags::TCP_FAILS_FOR_BOTH),
        (found.tls_expected, null_flags::TLS_FAILS_FOR_BOTH),
        (found.last == Some(true) && control.is_none(), null_flags::HTTPS_WITHOUT_CONTROL),
        (helper_has_none && found.resolved, null_flags::UNEXPECTED_ADDRESSES),
    ] {
        verdict.null_flags |= if when { flag } else { 0 };
    }
}

/// The operation at which a lookup or a chain ended, deepest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Dns,
    Tcp,
    Tls,
    Http,
}

/// A lookup or a chain, seen from its end.
enum Entry<'a> {
    Lookup(&'a Lookup),
    Chain(&'a Chain),
}

impl Entry<'_> {
    const fn depth(&self) -> u32 {
        match self {
            Self::Lookup(lookup) => lookup.depth,
            Self::Chain(chain) => chain.depth,
        }
    }

    const fn transaction(&self) -> u64 {
        match self {
            Self::Lookup(lookup) => lookup.transaction,
            Self::Chain(chain) => chain.transaction,
        }
    }

    const fn step(&self) -> Step {
        match self {
            Self::Lookup(_) => Step::Dns,
            Self::Chain(Chain { page: Some(_), .. }) => Step::Http,
            Self::Chain(Chain { handshake: Some(_), .. }) => Step::Tls,
            Self::Chain(_) => Step::Tcp,
        }
    }

    fn failure(&self) -> &str {
        let text = match self {
            Self::Lookup(lookup) => lookup.failure.as_ref(),
            Self::Chain(Chain { page: Some(page), .. }) => page.as_ref().err(),
            Self::Chain(Chain { handshake: Some((ended, _)), .. }) => ended.as_ref().err(),
            Self::Chain(chain) => chain.connect.as_ref().err(),
        };
        text.map_or("", String::as_str)
    }

    /// What the helper saw of the same.
    fn control(&self, control: Option<&Control<'_>>) -> Option<Ended> {
        let control = control?;
        match (self, self.step()) {
            (Self::Lookup(lookup), _) => (control.host == lookup.hostname).then(|| control.dns()),
            (Self::Chain(_), Step::Http) => Some(control.page()),
            (Self::Chain(chain), Step::Tls) => control.handshake(chain),
            (Self::Chain(chain), _) => control.connect(chain),
        }
    }
}

/// Walks from the last redirect and the deepest operation back; the first that decides does
/// (probe-cli webconnectivitylte/analysisclassic.go).
fn decide(seen: &Seen, control: Option<&Control<'_>>, verdict: &mut Verdict) {
    let answered = |lookup: &&Lookup| lookup.failure.is_some() || !lookup.addresses.is_empty();
    let mut entries: Vec<Entry<'_>> = seen.lookups.iter().filter(answered).map(Entry::Lookup).collect();
    entries.extend(seen.chains.iter().map(Entry::Chain));
    entries.sort_by(|a, b| {
        let key = |e: &Entry<'_>| (Reverse(e.depth()), Reverse(e.step()));
        key(a)
            .cmp(&key(b))
            .then_with(|| a.failure().cmp(b.failure()))
            .then_with(|| b.transaction().cmp(&a.transaction()))
    });
    for entry in &entries {
        if let Entry::Chain(chain) = entry
            && final_page(chain).is_some()
        {
            return settle(page_says(chain, control, &verdict.comparison), verdict);
        }
        if let Some(blocking) = entry_says(entry, control) {
            // A name that has no addresses for either side is no failure of the page (rule 5.3).
            let told = entry.failure();
            let is_agreed = entry.step() == Step::Dns && told == "dns_no_answer" && blocking == Says::Down;
            if !told.is_empty() && !is_agreed {
                verdict.http_experiment_failure = Some(told.to_owned());
            }
            return settle(blocking, verdict);
        }
    }
}

/// What one entry says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// the page is there
    Fine,
    /// it is there for nobody
    Down,
    /// there is nothing to compare with
    Nothing,
    /// it is kept away
    Blocked(Blocking),
}

fn settle(says: Says, verdict: &mut Verdict) {
    let inconsistent = verdict.dns_consistent == Some(false);
    (verdict.blocking, verdict.accessible) = match says {
        Says::Fine => (Blocking::No, Some(true)),
        // Whatever else is wrong, wrong addresses came first.
        _ if inconsistent => (Blocking::Dns, Some(false)),
        Says::Down => (Blocking::No, Some(false)),
        Says::Nothing => (Blocking::Unknown, None),
        Says::Blocked(blocking) => (blocking, Some(false)),
    };
}

fn page_says(chain: &Chain, control: Option<&Control<'_>>, comparison: &Comparison) -> Says {
    if chain.handshake.as_ref().is_some_and(|(ended, _)| ended.is_ok()) {
        return Says::Fine;
    }
    match control {
        None => Says::Nothing,
        Some(_) if comparison.differs() => Says::Blocked(Blocking::HttpDiff),
        Some(_) => Says::Fine,
    }
}

fn entry_says(entry: &Entry<'_>, control: Option<&Control<'_>>) -> Option<Says> {
    let (step, failure) = (entry.step(), entry.failure());
    if failure.is_empty() {
        return match entry {
            Entry::Lookup(lookup) => loopback_says(lookup, control),
            Entry::Chain(_) => None,
        };
    }
    let same = entry.control(control);
    let kept_away = match step {
        Step::Dns => Blocking::Dns,
        // A connect of a redirect has no control of its own: OONI calls it an HTTP failure.
        Step::Tcp if same.is_some() => Blocking::Tcp,
        Step::Tcp | Step::Tls | Step::Http => Blocking::HttpFailure,
    };
    Some(match (same, control) {
        (None, None) if step == Step::Dns => Says::Fine,
        (None, None) => Says::Nothing,
        (None, Some(_)) => Says::Blocked(kept_away),
        (Some(Err(_)), _) => Says::Down,
        (Some(Ok(())), Some(control))
            if step == Step::Dns && failure == "dns_no_answer" && control.response.dns.addrs.is_empty() =>
        {
            Says::Down
        }
        (Some(Ok(())), _) => Says::Blocked(kept_away),
    })
}

/// Nobody connects to loopback addresses, so a lookup that gives nothing else decides alone.
fn loopback_says(lookup: &Lookup, control: Option<&Control<'_>>) -> Option<Says> {
    let control = control.filter(|control| control.host == lookup.hostname && control.dns().is_ok())?;
    if !lookup.addresses.iter().all(core::net::IpAddr::is_loopback) {
        return None;
    }
    let theirs: Vec<core::net::IpAddr> =
        control.response.dns.addrs.iter().filter_map(|text| text.parse().ok()).collect();
    let same = !theirs.is_empty() && theirs.iter().all(core::net::IpAddr::is_loopback);
    Some(if same { Says::Down } else { Says::Blocked(Blocking::Dns) })
}
