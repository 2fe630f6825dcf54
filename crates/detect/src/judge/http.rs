//! Requests and answers: fingerprints, the helper's page, and how an exchange was cut.

use okno_model::{Failure, FailureKind, Layer, Observation, Verdict};

use super::{Evidence, View, cut, page};
use crate::facts;
use crate::signs::{Sign, Signs};
use crate::votes;

pub(super) fn judge<'a>(view: &View<'_, '_, 'a>, out: &mut Vec<Verdict<'a>>) {
    if !view.unit.rows.iter().any(|row| is_http(row)) {
        return;
    }
    let mut evidence = Evidence { signs: view.shared, ..Evidence::default() };
    let row = chosen(view);
    evidence.row = row;
    if let Some(row) = row {
        let mut signs = Signs::default();
        signs.add_if(page::is_encrypted(row), Sign::HttpEncrypted);
        signs.add_if(view.is_false_address(row), Sign::HttpNotTrusted);
        chain_signs(view, row, &mut signs);
        if row.http_status.is_some() {
            answer_signs(view, row, &mut signs, &mut evidence);
        }
        if row.http_failure.is_some() {
            failure_signs(view, row, &mut signs);
        }
        evidence.signs = evidence.signs.with(signs);
    }
    view.scene.conclude(Some(view.unit), Layer::Http, &evidence, out);
}

fn is_http(row: &Observation<'_>) -> bool {
    row.http_status.is_some() || row.http_failure.is_some()
}

/// The exchange to judge by: one that shows a block page, else a user's, else one that failed.
fn chosen<'f, 'a>(view: &View<'_, 'f, 'a>) -> Option<&'f Observation<'a>> {
    let rows = || view.unit.rows.iter().copied().filter(|row| is_http(row));
    // Probes before 2021 tried again; an attempt that another one made good says nothing.
    let made_good = |row: &Observation<'_>| {
        row.http_failure.is_some()
            && rows().any(|other| {
                other.http_failure.is_none() && other.http_url == row.http_url && other.ip == row.ip
            })
    };
    rows().filter(|row| !made_good(row)).max_by_key(|row| {
        let rank = u32::from(page::blockpage(row, view.scene).is_some()) * 8
            + u32::from(!view.is_false_address(row)) * 4
            + u32::from(row.classic) * 2
            + u32::from(row.http_status.is_none());
        (rank, std::cmp::Reverse(row.observation))
    })
}

fn chain_signs(view: &View<'_, '_, '_>, row: &Observation<'_>, signs: &mut Signs) {
    let Some(last) = view.scene.last else { return };
    signs.add_if(last.observation == row.observation, Sign::HttpFinal);
    if last.hop < row.hop {
        return;
    }
    let fetched = view.scene.control_page.is_some();
    match last.likeness {
        page::Likeness::Same => signs.add(Sign::HttpFinalSame),
        // A verified page of another language or country differs, too, and its site wrote it.
        page::Likeness::Different => {
            signs.add_if(!last.authenticated, Sign::HttpFinalDiffers);
            signs.add_if(last.authenticated && last.foreign && last.suspect, Sign::HttpFinalForeign);
        }
        page::Likeness::Unclear => {
            signs.add_if(last.authenticated && !last.foreign && fetched, Sign::HttpFinalSame);
        }
    }
}

fn answer_signs<'f, 'a>(
    view: &View<'_, 'f, 'a>,
    row: &'f Observation<'a>,
    signs: &mut Signs,
    evidence: &mut Evidence<'f, 'a>,
) {
    let scene = view.scene;
    let status = row.http_status.unwrap_or(0);
    signs.add(Sign::HttpAnswered);
    signs.add_if(page::is_authenticated(row), Sign::HttpAuthenticated);
    signs.add_if((200..300).contains(&status), Sign::HttpStatusOk);
    if page::is_redirect(row) {
        signs.add(Sign::HttpRedirect);
        let target = row.http_location.as_deref().and_then(page::url_host).map(page::site);
        let own = row.hostname.as_deref().map(page::site);
        signs.add_if(target.is_some() && own.is_some() && target != own, Sign::HttpCrossesSite);
    }
    if let Some(control) = scene.control_page {
        signs.add_if(control.http_status == Some(status), Sign::HttpStatusSame);
        signs.add_if(status >= 400 && control.http_status.is_some_and(|c| c < 400), Sign::HttpStatusRefused);
        evidence.control = Some(control);
        signs.add_if(row.http_body_bytes < control.http_body_bytes, Sign::HttpShorter);
        match page::compare(row, Some(control)) {
            page::Likeness::Same => signs.add(Sign::HttpSame),
            page::Likeness::Different => signs.add(Sign::HttpDiff),
            page::Likeness::Unclear => {}
        }
    }
    signs.add_if(is_captcha(row, status), Sign::HttpCaptcha);
    let matched = page::fingerprints(row, scene);
    signs.add_if(matched.strong.is_some(), Sign::HttpFingerprint);
    signs.add_if(matched.weak.is_some(), Sign::HttpFingerprintWeak);
    signs.add_if(matched.innocent.is_some(), Sign::HttpFingerprintFalse);
    // A vague fingerprint stands in the witness; only one with a known owner may confirm.
    evidence.fingerprint = matched.strong.map(str::to_owned);
}

fn failure_signs(view: &View<'_, '_, '_>, row: &Observation<'_>, signs: &mut Signs) {
    let scene = view.scene;
    signs.add(Sign::HttpFailed);
    if scene.is_stalled(row) {
        signs.add(Sign::HttpStalledBody);
    }
    signs.add_if(scene.is_slow(row), Sign::HttpSlow);
    signs.add_if(scene.is_frozen(row), Sign::TransferFrozen);
    let large =
        scene.control_page.and_then(|page| page.http_body_bytes).unwrap_or(0) >= scene.limits().large_bytes;
    signs.add_if(large, Sign::TransferLarge);
    signs.add(match row.http_failure.map(Failure::kind) {
        Some(FailureKind::Reset) => Sign::HttpReset,
        Some(FailureKind::Timeout) => Sign::HttpTimeout,
        Some(FailureKind::Eof) => Sign::HttpEof,
        _ => Sign::HttpOtherFailure,
    });
    // A request without a chain of its own failed at a stage that nobody wrote down.
    let reached = view.unit.rows.iter().any(|other| {
        other.tcp_success == Some(true)
            && (row.ip.is_none() || other.ip == row.ip)
            && (!page::is_encrypted(row) || (other.tls_success == Some(true) && !facts::is_quic(other)))
    });
    signs.add_if(reached || row.http_status.is_some(), Sign::HttpReached);
    let kind = cut(row.http_failure);
    // A request over TLS beside a handshake that failed and none that completed never left the probe.
    let unsent = page::is_encrypted(row) && !reached;
    let same_cut = kind.is_some()
        && row.http_status.is_none()
        && (unsent || !page::is_encrypted(row))
        && view.unit.rows.iter().any(|other| {
            !facts::is_quic(other)
                && other.tls_success == Some(false)
                && (unsent || cut(other.tls_failure) == kind)
                && (other.ip.is_none() || row.ip.is_none() || other.ip == row.ip)
        });
    signs.add_if(same_cut, Sign::HttpSameCut);
    if let Some(host) = view.host() {
        scene.add_baseline(signs, votes::http(host), Sign::HttpBaselineOk, Sign::HttpBaselineFails);
    }
}

/// A page that asks the visitor to prove himself: known by who serves it, since its text changes.
fn is_captcha(row: &Observation<'_>, status: u32) -> bool {
    const CDNS: [&str; 8] =
        ["cloudflare", "ddos-guard", "akamai", "sucuri", "imperva", "incapsula", "qrator", "cloudfront"];
    let server = row.http_server.as_deref().unwrap_or_default();
    matches!(status, 403 | 429 | 503)
        && CDNS.iter().any(|cdn| {
            server.len() >= cdn.len()
                && server.as_bytes().windows(cdn.len()).any(|part| part.eq_ignore_ascii_case(cdn.as_bytes()))
        })
}

impl<'a> super::Scene<'_, '_, 'a> {
    /// The answer began and its body never completed.
    pub(super) fn is_stalled(&self, row: &Observation<'a>) -> bool {
        row.http_status.is_some() && cut(row.http_failure) == Some(FailureKind::Timeout)
    }

    /// Bytes came fast, then none at all: 8 to 64 KiB, whatever was still due.
    pub(super) fn is_frozen(&self, row: &Observation<'a>) -> bool {
        if row.http_failure.is_none() {
            return false;
        }
        let bytes = row.rx_bytes.unwrap_or(0);
        let quick = row.rx_us.is_some_and(|us| us < self.limits().slow_us);
        let more = self.control_page.and_then(|page| page.http_body_bytes).is_some_and(|body| body > bytes);
        self.is_stalled(row) && (8_192..65_536).contains(&bytes) && quick && more
    }

    /// Bytes trickled: slow over a long time, and not because of one pause.
    pub(super) fn is_slow(&self, row: &Observation<'a>) -> bool {
        let limits = self.limits();
        let (Some(bytes), Some(us)) = (row.rx_bytes, row.rx_us) else { return false };
        if us < limits.slow_us || row.rx_reads.is_none_or(|reads| reads < 8) {
            return false;
        }
        let steady = row.rx_gap_us.is_some_and(|gap| gap < us / 4);
        let allowed = u128::from(limits.slow_bytes_per_s) * us.unsigned_abs() as u128 / 1_000_000;
        steady && u128::from(bytes) < allowed
    }
}
