//! Comparing pages: the probe's with the helper's, by what both recorded of them.
//!
//! The comparison is OONI's (ts-017 "HTTP blocking": status, length ratio 0.7, title words, uncommon
//! headers), with two differences: what was cut off is not compared, and one difference in length alone
//! accuses nobody, because a page for another country or day is longer or shorter too.

use okno_model::{Asn, Control, FingerprintScope, Observation};

use super::Scene;
use crate::facts::Facts;

/// How alike two pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// same status, and length, title or headers match
    Same,
    /// nothing that could be compared matches, and at least two things could
    Different,
    /// neither
    Unclear,
}

/// The last answer of the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) hop: u32,
    pub(super) observation: u32,
    pub(super) likeness: Likeness,
    pub(super) authenticated: bool,
    /// see [`is_foreign`]
    pub(super) foreign: bool,
    /// it comes from the probe's own network, or is less than a fifth of the helper's page
    pub(super) suspect: bool,
}

pub(super) fn last(facts: &Facts<'_, '_>, control: Option<&Control<'_>>) -> Option<Last> {
    let row = facts
        .observations
        .iter()
        .filter(|row| row.http_status.is_some())
        .max_by_key(|row| (row.hop, row.http_failure.is_none(), std::cmp::Reverse(row.observation)))?;
    let own = row.ip_network.is_some_and(Asn::is_known) && row.ip_network == Some(facts.measurement.network);
    let bytes = row.http_body_bytes.unwrap_or(u64::MAX);
    let small = control.and_then(|c| c.http_body_bytes).is_some_and(|page| bytes.saturating_mul(5) < page);
    Some(Last {
        hop: row.hop,
        observation: row.observation,
        likeness: compare(row, control),
        authenticated: is_authenticated(row),
        foreign: is_foreign(row, facts),
        suspect: own || small,
    })
}

/// Whether an answer comes from another site than the input's. Its certificate then proves who wrote it, and
/// not that the site sent the visitor there. Names that differ in the domain alone (`.com`, `.it`)
/// are one site.
fn is_foreign(row: &Observation<'_>, facts: &Facts<'_, '_>) -> bool {
    let label = |host: &'_ str| site(host).split('.').next().unwrap_or_default().to_ascii_lowercase();
    let host = row.http_url.as_deref().and_then(url_host).or(row.hostname.as_deref());
    match (host, facts.measurement.hostname.as_deref()) {
        (Some(host), Some(own)) => label(host) != label(own),
        _ => false,
    }
}

/// Whether the answer came over a verified TLS connection. Tests before web_connectivity 0.5 record no
/// handshake for their requests; their client verified all the same and gives a status only when that held.
pub(super) fn is_authenticated(row: &Observation<'_>) -> bool {
    is_encrypted(row) && row.http_status.is_some() && row.tls_success != Some(false) && !row.tls_unverified
}

pub(super) fn is_encrypted(row: &Observation<'_>) -> bool {
    row.http_url.as_deref().is_some_and(|url| url.starts_with("https:"))
}

pub(super) fn is_redirect(row: &Observation<'_>) -> bool {
    row.http_status.is_some_and(|status| (300..400).contains(&status)) && row.http_location.is_some()
}

pub(super) fn compare(row: &Observation<'_>, control: Option<&Control<'_>>) -> Likeness {
    let (Some(control), Some(status)) = (control, row.http_status) else { return Likeness::Unclear };
    if is_redirect(row) || row.http_failure.is_some() {
        return Likeness::Unclear;
    }
    let compared = [length(row, control), title(row, control), headers(row, control)];
    let same = compared.contains(&Some(true));
    let different = compared.iter().filter(|result| **result == Some(false)).count();
    // A helper that got next to nothing was shown a stub; a block page is smaller than the page it
    // stands for.
    let plausible = compared[1] == Some(false) || row.http_body_bytes < control.http_body_bytes;
    let is_page = |status: Option<u32>| status.is_some_and(|status| (200..300).contains(&status));
    if same && control.http_status == Some(status) {
        Likeness::Same
    } else if !same
        && plausible
        && different >= 2
        && compared[0].is_some()
        && is_page(control.http_status)
        && is_page(Some(status))
    {
        Likeness::Different
    } else {
        Likeness::Unclear
    }
}

/// ts-017: lengths match when the smaller is more than 0.7 of the larger.
fn length(row: &Observation<'_>, control: &Control<'_>) -> Option<bool> {
    let (own, other) = (row.http_body_bytes?, control.http_body_bytes?);
    if row.http_body_truncated == Some(true) {
        return None;
    }
    if own == 0 && other == 0 {
        return Some(true);
    }
    Some(own.min(other) as f64 / own.max(other) as f64 > 0.7)
}

fn title(row: &Observation<'_>, control: &Control<'_>) -> Option<bool> {
    let (own, other) = (row.http_title.as_deref()?.trim(), control.http_title.as_deref()?.trim());
    if own.is_empty() || other.is_empty() {
        return None;
    }
    // ts-017 compares words of five and more letters; shorter titles are compared whole.
    let long = |text: &'_ str| text.split_whitespace().any(|word| word.chars().count() >= 5);
    if own == other || !long(own) || !long(other) {
        return Some(own == other);
    }
    let shared = own
        .split_whitespace()
        .filter(|word| word.chars().count() >= 5)
        .any(|word| other.split_whitespace().any(|also| also == word));
    Some(shared)
}

fn headers(row: &Observation<'_>, control: &Control<'_>) -> Option<bool> {
    let names = |text: &'_ str| text.split([' ', ',', ';']).any(|name| !name.is_empty());
    let other = control.http_headers.as_deref().filter(|text| names(text))?;
    let own = row.http_headers.as_deref().unwrap_or_default();
    let mut each = own.split([' ', ',', ';']).filter(|name| !name.is_empty());
    Some(each.any(|name| other.split([' ', ',', ';']).any(|also| also == name)))
}

/// What the fingerprints that matched say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Matched<'f> {
    /// a known owner, expected here
    pub(super) strong: Option<&'f str>,
    /// an unknown owner, or expected elsewhere
    pub(super) weak: Option<&'f str>,
    /// evidence of a false positive, or of the site's own refusal
    pub(super) innocent: Option<&'f str>,
}

pub(super) fn fingerprints<'f>(row: &'f Observation<'_>, scene: &Scene<'_, '_, '_>) -> Matched<'f> {
    let mut matched = Matched::default();
    let Some(ids) = row.http_fingerprints.as_deref() else { return matched };
    let country = scene.facts.measurement.country;
    for id in ids.split([' ', ',']).filter(|id| !id.is_empty()) {
        let Some(info) = scene.judge.knowledge.http(id) else { continue };
        let slot = match info.scope {
            FingerprintScope::Fp | FingerprintScope::Svr => &mut matched.innocent,
            FingerprintScope::Vbw => &mut matched.weak,
            _ if info.is_expected_in(country) => &mut matched.strong,
            _ => &mut matched.weak,
        };
        *slot = slot.or(Some(id));
    }
    matched
}

/// The fingerprint of a block page that is expected here, if the page shows one.
pub(super) fn blockpage<'f>(row: &'f Observation<'_>, scene: &Scene<'_, '_, '_>) -> Option<&'f str> {
    fingerprints(row, scene).strong
}

/// The host of an absolute URL, without port and user.
pub(super) fn url_host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map(|(_, rest)| rest).or_else(|| url.strip_prefix("//"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split(']').next();
    }
    host.split(':').next().filter(|host| !host.is_empty())
}

/// The part of a name that one owner registers, as well as it can be told without a suffix list: two labels,
/// three where the second is a short one below a country's domain (`co.uk`).
pub(super) fn site(host: &str) -> &str {
    let host = host.trim_end_matches('.');
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (dots.next(), dots.next()) else { return host };
    let country = host.len() - last == 3;
    let short = last - second <= 4;
    if country && short {
        return dots.next().map_or(host, |third| &host[third + 1..]);
    }
    &host[second + 1..]
}
