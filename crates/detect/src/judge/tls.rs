//! Handshakes over TCP and over QUIC.

use okno_model::{Failure, FailureKind, Layer, Observation, Verdict};

use super::{Evidence, View, cut, page, worked};
use crate::facts;
use crate::signs::{Sign, Signs};
use crate::votes;

pub(super) fn judge<'a>(view: &View<'_, '_, 'a>, out: &mut Vec<Verdict<'a>>) {
    let rows = &view.unit.rows;
    if !rows.iter().any(|row| is_tls(row)) {
        return;
    }
    let mut evidence = Evidence { signs: view.shared, ..Evidence::default() };
    let mut classic = false;
    for row in rows.iter().copied().filter(|row| is_tls(row) && row.tls_success == Some(true)) {
        let signs = &mut evidence.signs;
        if row.fetch_body == Some(false) {
            signs.add(Sign::TlsOkCheck);
        } else if row.tls_unverified {
            signs.add(Sign::TlsOkUnverified);
        } else {
            signs.add(Sign::TlsOk);
        }
        classic |= row.classic && row.fetch_body != Some(false) && !view.is_false_address(row);
        evidence.row = evidence.row.or(Some(row));
    }
    failed(view, classic, &mut evidence);
    transfer(view, &mut evidence);
    view.scene.conclude(Some(view.unit), Layer::Tls, &evidence, out);
}

fn is_tls(row: &Observation<'_>) -> bool {
    row.tls_success.is_some() && !facts::is_quic(row)
}

fn failed<'f, 'a>(view: &View<'_, 'f, 'a>, classic: bool, evidence: &mut Evidence<'f, 'a>) {
    let mut best: Option<(u32, &'f Observation<'a>)> = None;
    let mut excused = Signs::default();
    let mut witness = None;
    for row in view.unit.rows.iter().copied().filter(|row| is_tls(row) && row.tls_success == Some(false)) {
        let v6 = row.ip.as_deref().is_some_and(facts::is_ipv6);
        let same_cut = has_same_cut(view, row);
        if facts::is_local(row.tls_failure) || (v6 && view.scene.ipv6_broken) {
            excused.add(Sign::TlsLocal);
        } else if view.is_false_address(row) {
            excused.add(Sign::TlsNotTrusted);
        } else if row.fetch_body == Some(false) && !same_cut {
            excused.add(Sign::TlsCheckOnly);
        } else if !classic || row.classic {
            let control = view.control_at("tls", row);
            let active = cut(row.tls_failure) != Some(FailureKind::Timeout);
            let rank = u32::from(control.is_some_and(worked)) * 16
                + u32::from(row.fetch_body != Some(false)) * 8
                + u32::from(control.is_none()) * 4
                + u32::from(row.classic) * 2
                + u32::from(active);
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, row));
            }
            continue;
        } else {
            continue;
        }
        witness = witness.or(Some(row));
    }
    match best {
        Some((_, row)) => accuse(view, row, evidence),
        None => {
            evidence.signs = evidence.signs.with(excused);
            evidence.row = witness.or(evidence.row);
        }
    }
}

/// Whether the plain HTTP request to the same host was cut in the same way: then one filter by name explains
/// both, and the handshake is where it shows whatever is spoken inside.
fn has_same_cut(view: &View<'_, '_, '_>, row: &Observation<'_>) -> bool {
    let Some(kind) = cut(row.tls_failure) else { return false };
    view.unit.rows.iter().any(|other| {
        cut(other.http_failure) == Some(kind)
            && other.http_status.is_none()
            && other.http_url.is_some()
            && !page::is_encrypted(other)
            && (other.ip.is_none() || row.ip.is_none() || other.ip == row.ip)
    })
}

fn accuse<'f, 'a>(view: &View<'_, 'f, 'a>, row: &'f Observation<'a>, evidence: &mut Evidence<'f, 'a>) {
    let scene = view.scene;
    let signs = &mut evidence.signs;
    signs.add(Sign::TlsFailed);
    let failure = row.tls_failure.unwrap_or_default();
    signs.add(match (failure, failure.kind()) {
        (Failure::SslInvalidHostname, _) => Sign::TlsCertName,
        (Failure::SslUnknownAuthority, _) => Sign::TlsCertAuthority,
        (Failure::SslInvalidCertificate, _) => Sign::TlsCertInvalid,
        (_, FailureKind::Reset) => Sign::TlsReset,
        (_, FailureKind::Timeout) => Sign::TlsTimeout,
        (_, FailureKind::Eof) => Sign::TlsEof,
        (_, FailureKind::Handshake) => Sign::TlsAlert,
        _ => Sign::TlsLocal,
    });
    signs.add_if(failure.is_certificate(), Sign::TlsHello);
    signs.add_if(has_same_cut(view, row), Sign::TlsHttpSameCut);
    let control = control_signs(view, row, signs);
    if let (Some(ip), name) = (row.ip.as_deref(), server_name(row)) {
        let other_name = scene.facts.observations.iter().any(|other| {
            is_tls(other)
                && is_hello(other)
                && server_name(other) != name
                && other.ip.as_deref().is_some_and(|address| facts::same_address(ip, address))
        });
        signs.add_if(other_name, Sign::TlsOtherNameOk);
    }
    // The outer name of ECH is another host, so the whole measurement is looked through.
    let without_ech = row.tls_ech.is_some()
        && scene.facts.observations.iter().any(|other| {
            other.tls_ech.is_none() && is_hello(other) && other.ip.is_some() && other.ip == row.ip
        });
    signs.add_if(without_ech, Sign::TlsEch);
    if let Some(name) = server_name(row) {
        scene.add_baseline(signs, votes::tls(name), Sign::TlsBaselineOk, Sign::TlsBaselineFails);
    }
    evidence.row = Some(row);
    evidence.control = control;
}

fn control_signs<'f, 'a>(
    view: &View<'_, 'f, 'a>,
    row: &Observation<'a>,
    signs: &mut Signs,
) -> Option<&'f okno_model::Control<'a>> {
    let scene = view.scene;
    let name = server_name(row);
    let failure = row.tls_failure;
    let mut shown = None;
    for control in scene.facts.controls.iter().filter(|control| control.kind == "tls") {
        let for_name = control.server_name.as_deref().or(control.hostname.as_deref()) == name;
        let same_ip = match (row.ip.as_deref(), control.ip.as_deref()) {
            (Some(a), Some(b)) => facts::same_address(a, b),
            _ => false,
        };
        if !for_name {
            continue;
        }
        if worked(control) {
            signs.add(if same_ip { Sign::TlsControlSame } else { Sign::TlsControlName });
        } else {
            signs.add_if(same_ip, Sign::TlsControlFailed);
            // A certificate that does not verify from outside either is the site's own.
            let alike =
                control.failure.is_some() && control.failure.map(Failure::kind) == failure.map(Failure::kind);
            signs.add_if(alike, Sign::TlsControlSameFailure);
        }
        if same_ip || shown.is_none() {
            shown = Some(control);
        }
    }
    let https = scene.facts.measurement.input.as_deref().is_some_and(|input| input.starts_with("https:"));
    if view.unit.hop == 0 && https && scene.control_page.is_some() {
        signs.add(Sign::TlsControlName);
    }
    shown
}

/// Whether the server's part of the handshake came, whatever certificate it showed.
fn is_hello(row: &Observation<'_>) -> bool {
    row.tls_success == Some(true) || row.tls_failure.is_some_and(Failure::is_certificate)
}

fn server_name<'f>(row: &'f Observation<'_>) -> Option<&'f str> {
    row.tls_server_name.as_deref().or(row.hostname.as_deref())
}

/// How the bytes came in after the handshake.
fn transfer<'f, 'a>(view: &View<'_, 'f, 'a>, evidence: &mut Evidence<'f, 'a>) {
    let scene = view.scene;
    for row in view.unit.rows.iter().copied().filter(|row| row.tls_success == Some(true)) {
        let (stalled, slow) = (scene.is_stalled(row), scene.is_slow(row));
        if (stalled || slow) && page::is_encrypted(row) {
            let large = scene.control_page.and_then(|page| page.http_body_bytes).unwrap_or(0);
            let signs = &mut evidence.signs;
            signs.add_if(stalled, Sign::TlsStalledBody);
            signs.add_if(slow, Sign::TlsSlow);
            signs.add_if(large >= scene.limits().large_bytes, Sign::TransferLarge);
            signs.add_if(scene.is_frozen(row), Sign::TransferFrozen);
            evidence.row = Some(row);
            return;
        }
    }
}

pub(super) fn judge_quic<'a>(view: &View<'_, '_, 'a>, out: &mut Vec<Verdict<'a>>) {
    let is_tried = |row: &&Observation<'_>| facts::is_quic(row) && row.tls_success.is_some();
    let rows = view.unit.rows.iter().copied().filter(|row| is_tried(row));
    let mut evidence = Evidence { signs: view.shared, ..Evidence::default() };
    let mut any = false;
    for row in rows {
        any = true;
        let v6 = row.ip.as_deref().is_some_and(facts::is_ipv6) && view.scene.ipv6_broken;
        if row.tls_success == Some(true) {
            evidence.signs.add(Sign::QuicOk);
            evidence.row = evidence.row.or(Some(row));
        } else if view.is_false_address(row) {
            evidence.signs.add(Sign::QuicNotTrusted);
        } else if !facts::is_local(row.tls_failure) && !v6 && !evidence.signs.has(Sign::QuicFailed) {
            accuse_quic(view, row, &mut evidence);
        }
    }
    if any {
        view.scene.conclude(Some(view.unit), Layer::Quic, &evidence, out);
    }
}

fn accuse_quic<'f, 'a>(view: &View<'_, 'f, 'a>, row: &'f Observation<'a>, evidence: &mut Evidence<'f, 'a>) {
    let signs = &mut evidence.signs;
    signs.add(Sign::QuicFailed);
    signs.add(match row.tls_failure.map(Failure::kind) {
        Some(FailureKind::Timeout) => Sign::QuicTimeout,
        Some(FailureKind::Reset | FailureKind::Eof | FailureKind::Refused) => Sign::QuicReset,
        Some(FailureKind::Certificate) => Sign::QuicCert,
        _ => Sign::QuicOther,
    });
    let name = server_name(row);
    for control in view.scene.facts.controls.iter().filter(|control| control.kind == "quic") {
        if control.server_name.as_deref().or(control.hostname.as_deref()) == name {
            signs.add(if worked(control) { Sign::QuicControlOk } else { Sign::QuicControlFailed });
            evidence.control = Some(control);
        }
    }
    if let Some(name) = name {
        view.scene.add_baseline(signs, votes::quic(name), Sign::QuicBaselineOk, Sign::QuicBaselineFails);
    }
    evidence.row = Some(row);
}
