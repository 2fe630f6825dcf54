//! OONI pipeline v5's judgement, for comparison: `rules/ooni-v5.toml`, evaluated the way v5 does.
//!
//! Every row gets a triple (blocked, down, ok) from the first rule that fits; the greatest of each component
//! over the rows of a measurement stands for the layer; readers call it blocked above one half (ooni/data
//! c8fcc72, `analysis/rules.py`, `web_analysis.py`). Reproduced as far as its text goes, mistakes included:
//! no control reads as a contrary control, redirect hops have no control, `fetch_body` is not known, there is
//! no HTTP layer, and only web_connectivity is judged.
//!
//! Two differences. v5 pools control rows and valid certificates of all probes by host name and day; here
//! the measurement's own helper and handshakes count, so that a verdict depends on nothing else. v5 joins
//! the control by the input's host name as written, so international names never match; here they do, and
//! such a name is falsely accused for its redirect hops alone.

use okno_model::{Control, FailureKind, FingerprintScope, Layer, Mechanism, Observation, State, Verdict};

use crate::facts::{self, Facts};
use crate::judge::Judge;
use crate::rules::{Outcome, Rule};
use crate::signs::{Sign, Signs};

/// The three components, and the rule and row behind the greatest `blocked`.
#[derive(Clone, Copy, Default)]
struct Top<'r, 'f, 'a> {
    blocked: f64,
    down: f64,
    ok: f64,
    rule: Option<&'r Rule>,
    row: Option<&'f Observation<'a>>,
    fired: Signs,
}

pub(crate) fn judge<'a>(judge: &Judge<'_>, facts: &Facts<'_, 'a>, out: &mut Vec<Verdict<'a>>) {
    if facts.measurement.test_name != "web_connectivity" {
        return;
    }
    for layer in [Layer::Dns, Layer::Tcp, Layer::Tls] {
        let mut top = Top::default();
        for row in facts.observations {
            let signs = match layer {
                Layer::Dns => dns(judge, facts, row),
                Layer::Tcp => tcp(judge, facts, row),
                _ => tls(judge, facts, row),
            };
            if let Some(signs) = signs {
                fold(judge, layer, row, &signs, &mut top);
            }
        }
        if top.rule.is_some() {
            out.push(verdict(judge, facts, layer, &top));
        }
    }
}

fn fold<'k: 'r, 'r, 'f, 'a>(
    judge: &Judge<'k>,
    layer: Layer,
    row: &'f Observation<'a>,
    signs: &Signs,
    top: &mut Top<'r, 'f, 'a>,
) {
    let decision = judge.rules.decide(layer, signs);
    let Some(rule) = decision.rule else { return };
    let Outcome::Triple { blocked, down, ok } = rule.outcome() else { return };
    top.down = top.down.max(down);
    top.ok = top.ok.max(ok);
    top.fired = top.fired.with(decision.fired);
    // v5: argMax(rule_id, (evidence, blocked, rule_id)).
    let greater = top.rule.is_none_or(|other| (blocked, rule.id()) > (top.blocked, other.id()));
    if greater {
        (top.blocked, top.rule, top.row) = (blocked, Some(rule), Some(row));
    }
}

/// v5 reads the system's resolver alone, and an engine that is not named is none (trap 3).
fn dns(judge: &Judge<'_>, facts: &Facts<'_, '_>, row: &Observation<'_>) -> Option<Signs> {
    if !facts::is_lookup(row) || row.dns_engine.as_deref() != Some("system") {
        return None;
    }
    let mut signs = Signs::default();
    let controls = || facts.controls_for("dns", row.hostname.as_deref());
    let (mut succeeded, mut all) = (0u32, 0u32);
    for control in controls() {
        all += 1;
        succeeded += u32::from(control.ip.is_some());
    }
    signs.add_if(all > 0 && succeeded * 2 > all, Sign::DnsControlAnswered);
    signs.add_if(all > 0 && succeeded * 2 <= all, Sign::DnsControlError);
    let Some(ip) = row.ip.as_deref().filter(|_| row.dns_failure.is_none()) else {
        signs.add_if(row.dns_failure.is_some(), Sign::DnsFailed);
        return Some(signs);
    };
    signs.add(Sign::DnsAnswered);
    signs.add_if(row.ip_is_bogon == Some(true), Sign::DnsBogon);
    let same = |control: &Control<'_>| control.ip.as_deref() == Some(ip);
    signs.add_if(controls().any(same), Sign::DnsControlMatch);
    let network = |control: &Control<'_>| row.ip_network.is_some() && control.ip_network == row.ip_network;
    signs.add_if(controls().any(network), Sign::DnsSameNetwork);
    let by_probe = facts.observations.iter().any(|other| {
        other.ip.as_deref() == Some(ip) && other.hostname == row.hostname && other.tls_success == Some(true)
    });
    let by_control = facts.controls.iter().filter(|control| control.kind == "tls" && same(control));
    // v5 reads valid certificates through its control table: a host without control has none.
    let mut valid = by_probe && all > 0;
    for control in by_control {
        match control.failure {
            None => valid |= control.server_name == row.hostname,
            Some(failure) => signs.add_if(failure.is_certificate(), Sign::DnsCertificateContradicts),
        }
    }
    signs.add_if(valid, Sign::DnsValidated);
    let fingerprint = judge.knowledge.dns(ip).is_some_and(|info| {
        info.scope != FingerprintScope::Fp && info.countries.contains(&facts.measurement.country)
    });
    signs.add_if(fingerprint, Sign::DnsFingerprint);
    Some(signs)
}

/// Sum of the DNS triples of the rows that share this row's host and address.
fn dns_untrusted(judge: &Judge<'_>, facts: &Facts<'_, '_>, row: &Observation<'_>) -> bool {
    let mut top = Top::default();
    for other in
        facts.observations.iter().filter(|other| other.hostname == row.hostname && other.ip == row.ip)
    {
        if let Some(signs) = dns(judge, facts, other) {
            fold(judge, Layer::Dns, other, &signs, &mut top);
        }
    }
    top.blocked > 0.0 && top.ok <= top.blocked + top.down
}

fn control_rate(signs: &mut Signs, controls: impl Iterator<Item = bool>, ok: Sign, failed: Sign) {
    let (mut succeeded, mut all) = (0u32, 0u32);
    for worked in controls {
        all += 1;
        succeeded += u32::from(worked);
    }
    signs.add(if all > 0 && succeeded * 2 > all { ok } else { failed });
}

fn tcp(judge: &Judge<'_>, facts: &Facts<'_, '_>, row: &Observation<'_>) -> Option<Signs> {
    let opened = row.tcp_success?;
    let mut signs = Signs::default();
    if opened {
        signs.add(Sign::TcpOk);
        return Some(signs);
    }
    signs.add(Sign::TcpFailed);
    let is_v6 =
        |row: &&Observation<'_>| row.tcp_success.is_some() && row.ip.as_deref().is_some_and(facts::is_ipv6);
    let all = facts.observations.iter().filter(is_v6).count();
    let failed = facts.observations.iter().filter(is_v6).filter(|row| row.tcp_success == Some(false)).count();
    signs.add_if(is_v6(&row) && failed * 2 > all, Sign::TcpIpv6Broken);
    let rows = facts.controls.iter().filter(|control| control.kind == "tcp" && control.ip == row.ip);
    control_rate(&mut signs, rows.map(|c| c.failure.is_none()), Sign::TcpControlOk, Sign::TcpControlFailed);
    signs.add_if(dns_untrusted(judge, facts, row), Sign::TcpNotTrusted);
    Some(signs)
}

fn tls(judge: &Judge<'_>, facts: &Facts<'_, '_>, row: &Observation<'_>) -> Option<Signs> {
    let completed = row.tls_success?;
    let mut signs = Signs::default();
    if completed {
        signs.add(Sign::TlsOk);
        return Some(signs);
    }
    signs.add(Sign::TlsFailed);
    match row.tls_failure.map(okno_model::Failure::kind) {
        Some(FailureKind::Certificate | FailureKind::Handshake) => signs.add(Sign::TlsCertInvalid),
        Some(FailureKind::Reset) => signs.add(Sign::TlsReset),
        _ => {}
    }
    let rows = facts.controls.iter().filter(|control| control.kind == "tls" && control.ip == row.ip);
    control_rate(&mut signs, rows.map(|c| c.failure.is_none()), Sign::TlsControlSame, Sign::TlsControlFailed);
    let tcp_blocked = tcp(judge, facts, row).is_some_and(|signs| !signs.has(Sign::TcpOk));
    signs.add_if(dns_untrusted(judge, facts, row) || tcp_blocked, Sign::TlsNotTrusted);
    Some(signs)
}

fn verdict<'a>(judge: &Judge<'_>, facts: &Facts<'_, 'a>, layer: Layer, top: &Top<'_, '_, 'a>) -> Verdict<'a> {
    let measurement = facts.measurement;
    let (state, probability) = if top.blocked > 0.5 {
        (State::Blocked, top.blocked)
    } else if top.down > 0.5 && top.down >= top.ok {
        (State::Down, top.down)
    } else if top.ok > 0.5 {
        (State::Ok, top.ok)
    } else {
        (State::Insufficient, top.blocked.max(top.down).max(top.ok))
    };
    // v5 names the layer and no mechanism.
    let mechanism = (state == State::Blocked).then(|| Mechanism::parse(layer.as_str())).flatten();
    let decision = crate::rules::Decision { rule: top.rule, fired: top.fired, count: 2 };
    Verdict {
        measurement_uid: measurement.measurement_uid.clone(),
        test_name: measurement.test_name.clone(),
        target: measurement.target.clone(),
        hostname: measurement.hostname.clone(),
        country: measurement.country,
        network: measurement.network,
        start_utc: measurement.start_utc,
        layer,
        state,
        mechanism: mechanism.map(|mechanism| mechanism.as_str().into()),
        probability,
        rule: top.rule.map_or("".into(), Rule::stable_id),
        rules_fired: judge.rules.fired_ids(&decision),
        witness_observation: top.row.map(|row| row.observation),
        ruleset: judge.rules.stamp_text(),
        reference: judge.knowledge.stamp_text(),
        ..Verdict::default()
    }
}
