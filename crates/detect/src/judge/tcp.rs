//! Connections: which of them may accuse, and what the helper saw at the same address and port.

use okno_model::{FailureKind, Layer, Observation, Verdict};

use super::{Evidence, View, worked};
use crate::facts;
use crate::signs::{Sign, Signs};
use crate::votes;

pub(super) fn judge<'a>(view: &View<'_, '_, 'a>, out: &mut Vec<Verdict<'a>>) {
    let rows = &view.unit.rows;
    if !rows.iter().any(|row| row.tcp_success.is_some()) {
        return;
    }
    let mut evidence = Evidence { signs: view.shared, ..Evidence::default() };
    let opened = |row: &&Observation<'_>| row.tcp_success == Some(true);
    let classic = rows.iter().copied().filter(opened).any(|row| is_users(view, row));
    evidence.signs.add_if(classic, Sign::TcpOk);
    evidence.signs.add_if(!classic && rows.iter().copied().any(|row| opened(&row)), Sign::TcpOkElsewhere);
    endpoints(view, &mut evidence.signs);
    failed(view, classic, &mut evidence);
    if let Some(row) = rows.iter().find(|row| view.scene.is_frozen(row)) {
        evidence.signs.add(Sign::TcpFrozen);
        evidence.row = Some(row);
    }
    view.scene.conclude(Some(view.unit), Layer::Tcp, &evidence, out);
}

/// Whether a user of this machine would have made the connection.
fn is_users<'a>(view: &View<'_, '_, 'a>, row: &Observation<'a>) -> bool {
    row.classic && row.fetch_body != Some(false) && !is_false(view, row)
}

fn is_false<'a>(view: &View<'_, '_, 'a>, row: &Observation<'a>) -> bool {
    view.is_false_address(row)
}

fn endpoints(view: &View<'_, '_, '_>, signs: &mut Signs) {
    if view.host().is_some() {
        return;
    }
    let tried = view.unit.rows.iter().filter(|row| row.tcp_success.is_some());
    let (count, opened) =
        tried.fold((0, false), |(count, opened), row| (count + 1, opened || row.tcp_success == Some(true)));
    signs.add_if(count >= 3, Sign::TcpManyEndpoints);
    signs.add_if(count > 0 && !opened, Sign::TcpAllFailed);
}

/// Finds the failed connection that accuses most, and says what stands beside it.
fn failed<'f, 'a>(view: &View<'_, 'f, 'a>, classic: bool, evidence: &mut Evidence<'f, 'a>) {
    let mut best: Option<(u32, &'f Observation<'a>)> = None;
    let mut excused = Signs::default();
    for row in view.unit.rows.iter().copied().filter(|row| row.tcp_success == Some(false)) {
        let at = view.control_at("tcp", row);
        let control_ok = at.is_some_and(worked);
        let v6 = row.ip.as_deref().is_some_and(facts::is_ipv6);
        if facts::is_local(row.tcp_failure) {
            excused.add(Sign::TcpLocal);
        } else if v6 && view.scene.ipv6_broken {
            excused.add(Sign::TcpIpv6Broken);
        } else if row.fetch_body == Some(false) {
            excused.add(Sign::TcpCheckOnly);
        } else if is_false(view, row) && !control_ok {
            // An address that only a false answer gave may be anything; if the helper connects to
            // it, it is judgeable.
            excused.add(Sign::TcpNotTrusted);
        } else if !classic || row.classic {
            let active = row.tcp_failure.is_some_and(|failure| failure.kind() != FailureKind::Timeout);
            let rank = u32::from(control_ok) * 8
                + u32::from(at.is_none()) * 4
                + u32::from(row.classic) * 2
                + u32::from(active);
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, row));
            }
        }
    }
    match best {
        Some((_, row)) => accuse(view, row, evidence),
        None => {
            evidence.signs = evidence.signs.with(excused);
            evidence.row = view.unit.rows.iter().copied().find(|row| row.tcp_success == Some(false));
        }
    }
    if evidence.row.is_none() {
        evidence.row = view.unit.rows.iter().copied().find(|row| row.tcp_success == Some(true));
    }
}

fn accuse<'f, 'a>(view: &View<'_, 'f, 'a>, row: &'f Observation<'a>, evidence: &mut Evidence<'f, 'a>) {
    let scene = view.scene;
    let signs = &mut evidence.signs;
    signs.add(Sign::TcpFailed);
    signs.add(match row.tcp_failure.map(okno_model::Failure::kind) {
        Some(FailureKind::Refused) => Sign::TcpRefused,
        Some(FailureKind::Reset | FailureKind::Eof) => Sign::TcpReset,
        Some(FailureKind::Timeout) => Sign::TcpTimeout,
        Some(FailureKind::Unreachable) => Sign::TcpUnreachable,
        _ => Sign::TcpLocal,
    });
    let control = view.control_at("tcp", row);
    signs.add_if(control.is_some_and(worked), Sign::TcpControlOk);
    // A helper without a route to the address says nothing of it.
    let says = |failure: okno_model::Failure| {
        !matches!(failure.kind(), FailureKind::Unreachable | FailureKind::Local)
    };
    let refuted = control.is_some_and(|control| !worked(control) && control.failure.is_none_or(says));
    signs.add_if(refuted, Sign::TcpControlFailed);
    let elsewhere = view.unit.hop == 0
        && (scene.control_page.is_some()
            || scene.facts.controls.iter().any(|c| matches!(c.kind.as_ref(), "tcp" | "tls") && worked(c)));
    signs.add_if(elsewhere, Sign::TcpNameControlOk);
    signs.add_if(view.is_vouched(row), Sign::TcpVouched);
    if let (Some(ip), Some(port)) = (row.ip.as_deref(), row.port) {
        scene.add_baseline(signs, votes::connect(ip, port), Sign::TcpBaselineOk, Sign::TcpBaselineFails);
    }
    evidence.row = Some(row);
    evidence.control = control;
}
