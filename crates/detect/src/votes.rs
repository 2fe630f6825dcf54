//! What one measurement tells the baseline: which things worked and which failed in its network.
//!
//! Failures of a probe that had no network at all are no votes, nor are failures of the probe's own
//! machine, nor IPv6 failures: an IPv6 that does not work is a property of the line. Operations of arms are
//! none either: tests that compare provoke failures.

use okno_model::{FailureKind, Measurement, Observation};

use crate::baseline::Subject;
use crate::facts::{self, Facts};
use crate::hash;

pub(crate) fn resolve(host: &str) -> u64 {
    hash::of_text(host, Subject::Resolve as u64)
}

pub(crate) fn valid(host: &str, ip: &str) -> u64 {
    hash::mix(hash::of_text(host, Subject::Valid as u64), hash::of_text(ip, 0))
}

pub(crate) fn connect(ip: &str, port: u32) -> u64 {
    hash::mix(hash::of_text(ip, Subject::Connect as u64), u64::from(port))
}

pub(crate) fn tls(host: &str) -> u64 {
    hash::of_text(host, Subject::Tls as u64)
}

pub(crate) fn http(host: &str) -> u64 {
    hash::of_text(host, Subject::Http as u64)
}

pub(crate) fn quic(host: &str) -> u64 {
    hash::of_text(host, Subject::Quic as u64)
}

/// A part of an application: what the measurement is about, the statement, and whom it is about.
pub(crate) fn app(target: &str, app: &str, row: &Observation<'_>) -> u64 {
    let mut key = hash::mix(hash::of_text(target, Subject::App as u64), hash::of_text(app, 1));
    for (purpose, part) in [(2, row.role.as_deref()), (3, row.ip.as_deref())] {
        key = part.map_or(key, |part| hash::mix(key, hash::of_text(part, purpose)));
    }
    hash::mix(key, u64::from(row.port.unwrap_or(0)))
}

/// A resolver of the test's choice.
pub(crate) fn resolver(row: &Observation<'_>) -> Option<u64> {
    let engine = hash::of_text(row.dns_engine.as_deref()?, Subject::Resolver as u64);
    Some(hash::mix(engine, hash::of_text(row.dns_resolver.as_deref()?, 4)))
}

/// The instrument: software, its version and the version of the test.
pub(crate) fn version(measurement: &Measurement<'_>) -> Option<u64> {
    let software = measurement.software_version.as_deref()?;
    let name = measurement.software_name.as_deref().unwrap_or_default();
    let test = measurement.test_version.as_deref().unwrap_or_default();
    let key = hash::mix(hash::of_text(name, 11), hash::of_text(software, 12));
    Some(hash::mix(key, hash::of_text(test, 13)))
}

/// Calls `vote` with the key of each thing and whether it worked.
pub(crate) fn collect(facts: &Facts<'_, '_>, vote: &mut dyn FnMut(u64, bool)) {
    let online = facts.measurement.control == "ok" || facts.observations.iter().any(facts::has_success);
    let target = facts.measurement.target.as_ref();
    let compared = facts.compared();
    for row in facts.observations.iter().filter(|row| !facts::is_compared(row, &compared)) {
        names(row, online, vote);
        connections(row, online, vote);
        if let (Some(name), Some(worked)) = (row.app.as_deref(), row.app_success)
            && (worked || online)
        {
            vote(app(target, name, row), worked);
        }
    }
}

fn names(row: &Observation<'_>, online: bool, vote: &mut dyn FnMut(u64, bool)) {
    let Some(host) = row.hostname.as_deref() else { return };
    if !facts::is_lookup(row) {
        return;
    }
    if !facts::is_user_lookup(row) {
        let Some(key) = resolver(row) else { return };
        match row.dns_failure {
            None => vote(key, true),
            // The resolver answered; that the name does not exist is no failure of its own.
            Some(failure) if matches!(failure.kind(), FailureKind::NxDomain | FailureKind::NoAnswer) => {
                vote(key, true);
            }
            Some(failure) if online && !facts::is_local(Some(failure)) => vote(key, false),
            Some(_) => {}
        }
        return;
    }
    match row.dns_failure {
        // An empty AAAA answer beside a good A answer is how IPv4-only names look.
        Some(_) if row.dns_query_type.as_deref() == Some("AAAA") => {}
        Some(failure) if online && !facts::is_local(Some(failure)) => vote(resolve(host), false),
        None if row.ip.is_some() && !facts::is_bogon(row) => vote(resolve(host), true),
        _ => {}
    }
}

fn connections(row: &Observation<'_>, online: bool, vote: &mut dyn FnMut(u64, bool)) {
    let v6 = row.ip.as_deref().is_some_and(facts::is_ipv6);
    let may_fail = |failure| online && !v6 && !facts::is_local(failure);
    if let (Some(ip), Some(port), Some(worked)) = (row.ip.as_deref(), row.port, row.tcp_success)
        && (worked || may_fail(row.tcp_failure))
    {
        vote(connect(ip, port), worked);
    }
    let name = row.tls_server_name.as_deref().or(row.hostname.as_deref());
    if let (Some(name), Some(worked)) = (name, row.tls_success) {
        if worked || may_fail(row.tls_failure) {
            vote(if facts::is_quic(row) { quic(name) } else { tls(name) }, worked);
        }
        if let (true, false, Some(ip)) = (worked, row.tls_unverified, row.ip.as_deref()) {
            vote(valid(name, ip), true);
        }
    }
    if let Some(host) = row.hostname.as_deref() {
        match (row.http_status, row.http_failure) {
            (Some(_), None) => vote(http(host), true),
            (None, Some(failure)) if may_fail(Some(failure)) => vote(http(host), false),
            _ => {}
        }
    }
}
