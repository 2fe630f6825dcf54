//! The one line that shows a verdict: what was tried, what came back, what the helper saw.
//!
//! It names targets, resolvers and the addresses they answered with; facts hold no address of a probe.

use std::fmt::Write;

use okno_model::{Layer, Observation, State};

use super::{Evidence, Scene};
use crate::facts;

pub(super) fn text(
    scene: &Scene<'_, '_, '_>,
    layer: Layer,
    state: State,
    evidence: &Evidence<'_, '_>,
) -> Option<String> {
    let row = evidence.row?;
    let mut text = String::with_capacity(96);
    if !evidence.arms.is_empty() {
        let _ = arms(&mut text, row, &evidence.arms);
        return Some(text);
    }
    // Writing to a string cannot fail.
    let _ = match layer {
        Layer::Dns => lookup(&mut text, row),
        Layer::Tcp => connection(&mut text, row),
        Layer::Tls | Layer::Quic => handshake(&mut text, row, layer),
        Layer::Http => exchange(&mut text, row),
        Layer::App => application(&mut text, row),
    };
    if state != State::Insufficient || evidence.control.is_some() {
        let _ = helper(&mut text, scene, layer, evidence);
    }
    Some(text)
}

fn lookup(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    match (row.dns_engine.as_deref(), row.dns_resolver.as_deref()) {
        (Some(engine), Some(resolver)) => write!(text, "{engine} {resolver} ")?,
        (Some("unknown") | None, _) => write!(text, "lookup ")?,
        (Some(engine), None) => write!(text, "{engine} ")?,
    }
    write!(text, "{} → ", row.hostname.as_deref().unwrap_or("?"))?;
    match (row.ip.as_deref(), row.dns_failure) {
        (_, Some(failure)) => write!(text, "{failure}"),
        (Some(ip), None) if facts::is_bogon(row) => write!(text, "{ip} (bogon)"),
        (Some(ip), None) => match row.ip_network {
            Some(asn) if asn.is_known() => write!(text, "{ip} ({asn})"),
            _ => write!(text, "{ip}"),
        },
        (None, None) => write!(text, "no address"),
    }
}

fn address(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    let ip = row.ip.as_deref().unwrap_or("?");
    match row.port {
        Some(port) if facts::is_ipv6(ip) => write!(text, "[{ip}]:{port}"),
        Some(port) => write!(text, "{ip}:{port}"),
        None => write!(text, "{ip}"),
    }
}

fn connection(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    write!(text, "connect ")?;
    address(text, row)?;
    match row.tcp_failure {
        Some(failure) => write!(text, " → {failure}"),
        None => write!(text, " → open"),
    }
}

fn handshake(text: &mut String, row: &Observation<'_>, layer: Layer) -> std::fmt::Result {
    let name = row.tls_server_name.as_deref().or(row.hostname.as_deref()).unwrap_or("(no name)");
    write!(text, "{} {name} at ", if layer == Layer::Quic { "QUIC" } else { "TLS" })?;
    address(text, row)?;
    match row.tls_failure {
        Some(failure) => write!(text, " → {failure}")?,
        None if row.http_failure.is_some() => received(text, row)?,
        None => write!(text, " → completed")?,
    }
    match (row.tls_failure.is_some_and(okno_model::Failure::is_certificate), row.cert_issuer.as_deref()) {
        (true, Some(issuer)) => write!(text, " (issuer {issuer})"),
        _ => Ok(()),
    }
}

fn received(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    if let Some(status) = row.http_status {
        write!(text, " → status {status}, then ")?;
    } else {
        write!(text, " → ")?;
    }
    if let Some(failure) = row.http_failure {
        write!(text, "{failure}")?;
    }
    if let (Some(bytes), Some(us)) = (row.rx_bytes, row.rx_us) {
        write!(text, " ({bytes} bytes in {:.1} s)", us as f64 / 1e6)?;
    }
    Ok(())
}

fn exchange(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    let method = row.http_method.as_deref().unwrap_or("GET");
    write!(text, "{method} {}", row.http_url.as_deref().unwrap_or("?"))?;
    match (row.http_failure, row.http_status) {
        (Some(_), _) => received(text, row)?,
        (None, Some(status)) => {
            write!(text, " → status {status}")?;
            if let Some(bytes) = row.http_body_bytes {
                write!(text, ", {bytes} bytes")?;
            }
            if let Some(title) = row.http_title.as_deref().filter(|title| !title.is_empty()) {
                write!(text, ", “{}”", cut_off(title))?;
            }
            if let Some(location) = row.http_location.as_deref() {
                write!(text, ", to {}", cut_off(location))?;
            }
        }
        (None, None) => {}
    }
    match row.http_fingerprints.as_deref().filter(|ids| !ids.is_empty()) {
        Some(ids) => write!(text, ", fingerprint {ids}"),
        None => Ok(()),
    }
}

fn application(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    write!(text, "{}", row.app.as_deref().unwrap_or("application"))?;
    if let Some(role) = row.role.as_deref() {
        write!(text, " {role}")?;
    }
    match (row.app_success, row.app_failure) {
        (_, Some(failure)) => write!(text, " → {failure}"),
        (Some(true), None) => write!(text, " → worked"),
        (Some(false), None) => write!(text, " → did not work"),
        (None, None) => write!(text, " → not run"),
    }
}

/// The arm that shows it, and one arm of each other role beside it, three at most.
fn arms<'a>(text: &mut String, shown: &Observation<'a>, arms: &[&Observation<'a>]) -> std::fmt::Result {
    arm(text, shown)?;
    let mut told = vec![shown.arm_role.as_deref()];
    for other in arms.iter().filter(|row| row.arm_success.is_some()) {
        if told.len() > 3 {
            break;
        }
        if !told.contains(&other.arm_role.as_deref()) {
            told.push(other.arm_role.as_deref());
            write!(text, "; ")?;
            arm(text, other)?;
        }
    }
    Ok(())
}

fn arm(text: &mut String, row: &Observation<'_>) -> std::fmt::Result {
    write!(text, "{}", row.arm.as_deref().unwrap_or("arm"))?;
    let words = [row.arm_operation.as_deref(), row.arm_variant.as_deref(), row.tls_server_name.as_deref()];
    for word in words.into_iter().flatten() {
        write!(text, " {}", cut_off(word))?;
    }
    if row.ip.is_some() {
        write!(text, " at ")?;
        address(text, row)?;
    }
    match (row.arm_success, row.arm_failure) {
        (_, Some(failure)) => write!(text, " → {failure}")?,
        (Some(_), None) => write!(text, " → worked")?,
        (None, None) => write!(text, " → not run")?,
    }
    if let Some(rate) = row.arm_goodput_bytes_s {
        write!(text, ", {:.0} kB/s", rate / 1e3)?;
    }
    if let Some(loss) = row.arm_loss_share {
        write!(text, ", {:.0} % lost", loss * 100.0)?;
    }
    match row.arm_note.as_deref() {
        Some(note) => write!(text, ", {}", cut_off(note)),
        None => Ok(()),
    }
}

fn helper(
    text: &mut String,
    scene: &Scene<'_, '_, '_>,
    layer: Layer,
    evidence: &Evidence<'_, '_>,
) -> std::fmt::Result {
    if layer == Layer::Dns {
        let host = evidence.row.and_then(|row| row.hostname.as_deref());
        let mut head = "; control: ";
        for control in scene.facts.controls_for("dns", host).take(3) {
            match (control.ip.as_deref(), control.failure) {
                (Some(ip), _) => write!(text, "{head}{ip}")?,
                (None, Some(failure)) => write!(text, "{head}{failure}")?,
                (None, None) => write!(text, "{head}no address")?,
            }
            head = ", ";
        }
        return Ok(());
    }
    let Some(control) = evidence.control else { return Ok(()) };
    match (control.failure, control.http_status) {
        (Some(failure), _) => write!(text, "; control: {failure}"),
        (None, Some(status)) => {
            write!(text, "; control: status {status}")?;
            if let Some(bytes) = control.http_body_bytes {
                write!(text, ", {bytes} bytes")?;
            }
            match control.http_title.as_deref().filter(|title| !title.is_empty()) {
                Some(title) => write!(text, ", “{}”", cut_off(title)),
                None => Ok(()),
            }
        }
        (None, None) => write!(text, "; control: worked"),
    }
}

/// At most 80 characters: a witness is a line, and a title may be a book.
fn cut_off(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(at, _)| &text[..at])
}
