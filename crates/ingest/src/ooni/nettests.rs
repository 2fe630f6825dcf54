//! What a nettest says in keys of its own: one small adapter each, in OONI's specification's order.
//!
//! An adapter turns statements into application rows and never judges. Numbers of specifications (`ts-0NN`)
//! are those of ooni/spec, folder `nettests`.

use std::borrow::Cow;

use okno_model::{Failure, Text};

use super::raw::{Outcome, Raw, Value};
use crate::json::{Broken, Kind, Reader};

/// One statement of an application test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppRow<'a> {
    /// what it is about: a target's id, a protocol
    pub role: Option<Text<'a>>,
    /// what is stated
    pub app: Text<'a>,
    /// whether it worked
    pub success: Option<bool>,
    /// why it did not
    pub failure: Option<Failure>,
    /// a number
    pub value: Option<f64>,
    /// its unit
    pub unit: Option<&'static str>,
    /// address that it is about
    pub endpoint: Option<Text<'a>>,
}

impl<'a> AppRow<'a> {
    fn of(app: &'static str, outcome: Outcome) -> Option<Self> {
        let success = match outcome {
            Outcome::Fine => true,
            Outcome::Failed(_) => false,
            Outcome::Absent | Outcome::NotRun => return None,
        };
        Some(Self {
            app: Cow::Borrowed(app),
            success: Some(success),
            failure: outcome.failure(),
            ..Self::default()
        })
    }

    fn flag(app: &'static str, success: Option<bool>) -> Option<Self> {
        Some(Self { app: Cow::Borrowed(app), success: Some(success?), ..Self::default() })
    }
}

/// What a test measures when its input names no host.
pub fn fixed_target(test: &str) -> Option<&'static str> {
    Some(match test {
        "telegram" => "telegram",
        "whatsapp" => "whatsapp",
        "facebook_messenger" => "facebook_messenger",
        "signal" => "signal",
        "tor" | "vanilla_tor" => "tor",
        "torsf" => "tor-snowflake",
        "psiphon" => "psiphon",
        "riseupvpn" => "riseupvpn",
        "http_invalid_request_line" | "http_header_field_manipulation" => "http-middlebox",
        "ndt" | "dash" => "speed",
        "portfiltering" => "ports",
        // Tests of our own that are about the network and not about one host.
        "whitelist" | "blackout" | "initiation" => "network",
        "dns_interception" => "dns",
        _ => return None,
    })
}

/// Whether a test asks a helper about its target.
pub fn has_control(test: &str) -> bool {
    // http_requests compared with what it got through Tor (ts-001).
    matches!(test, "web_connectivity" | "http_requests")
}

/// Whether a test's requests went through the tunnel that it tests (ts-015, ts-040 before 0.1).
pub fn is_tunnelled(test: &str, raw: &Raw<'_>) -> bool {
    match test {
        "psiphon" | "torsf" | "vanilla_tor" | "openvpn" => true,
        _ => raw.key_text("socksproxy").is_some_and(|proxy| !proxy.is_empty()),
    }
}

/// Most statements of one measurement; its parts beyond that were noted when they were read.
const MAX_STATEMENTS: usize = 4_096;

/// The application rows of a measurement.
pub fn statements<'a>(test: &str, raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = match test {
        "telegram" => telegram(raw),
        "whatsapp" => whatsapp(raw),
        "facebook_messenger" => facebook(raw),
        "signal" => with_status(raw, "backend", "signal_backend_status", "signal_backend_failure"),
        "tor" => tor(raw),
        "vanilla_tor" | "torsf" | "psiphon" | "bridge_reachability" => bootstrap(raw),
        "openvpn" | "openvpn_client_test" => openvpn(raw),
        "riseupvpn" => riseup(raw),
        "stunreachability" | "stun_reachability" => {
            AppRow::of("stun", raw.key_outcome("failure")).into_iter().collect()
        }
        "http_invalid_request_line" => invalid_request_line(raw),
        "http_header_field_manipulation" => header_field_manipulation(raw),
        "ndt" | "dash" => speed(raw),
        "quicping" => quicping(raw),
        "sni_blocking" => sni_blocking(raw),
        "tlsmiddlebox" => tlsmiddlebox(raw),
        "browser_web" => browser(raw),
        "tcp_connect" => legacy_tcp_connect(raw),
        "meek_fronted_requests_test" | "shadowsocks" => {
            AppRow::flag("handshake", raw.key_bool("success")).into_iter().collect()
        }
        "http_host" => {
            AppRow::flag("no_transparent_proxy", raw.key_bool("transparent_http_proxy").map(|p| !p))
                .into_iter()
                .collect()
        }
        "ddr" | "doh" => AppRow::of("resolver", empty_is_fine(raw, "failure")).into_iter().collect(),
        // A test with a failure of its own and nothing else that is known.
        _ => Vec::new(),
    };
    rows.truncate(MAX_STATEMENTS);
    rows
}

fn empty_is_fine(raw: &Raw<'_>, key: &str) -> Outcome {
    match raw.key(key) {
        Some(Value::Text(text)) if text.is_empty() => Outcome::Fine,
        _ => raw.key_outcome(key),
    }
}

/// ts-020: booleans may be null (trap 35).
fn telegram<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = with_status(raw, "web", "telegram_web_status", "telegram_web_failure");
    rows.extend(AppRow::flag("endpoints_tcp", raw.key_bool("telegram_tcp_blocking").map(|blocked| !blocked)));
    rows.extend(AppRow::flag(
        "endpoints_http",
        raw.key_bool("telegram_http_blocking").map(|blocked| !blocked),
    ));
    rows
}

/// ts-018.
fn whatsapp<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = with_status(raw, "web", "whatsapp_web_status", "whatsapp_web_failure");
    rows.extend(with_status(
        raw,
        "registration",
        "registration_server_status",
        "registration_server_failure",
    ));
    rows.extend(AppRow::flag("endpoints", status(raw, "whatsapp_endpoints_status")));
    rows
}

/// `ok` or `blocked`, as the messenger tests write.
fn status(raw: &Raw<'_>, key: &str) -> Option<bool> {
    match raw.key_text(key).map(AsRef::as_ref) {
        Some("ok") => Some(true),
        Some("blocked") => Some(false),
        _ => None,
    }
}

fn with_status<'a>(raw: &Raw<'a>, app: &'static str, key: &str, failure_key: &str) -> Vec<AppRow<'a>> {
    let mut row = AppRow::flag(app, status(raw, key));
    if let Some(row) = &mut row {
        row.failure = raw.key_outcome(failure_key).failure();
    }
    row.into_iter().collect()
}

/// ts-019: `facebook_<service>_dns_consistent` and `…_reachable`, each true, false or null.
fn facebook<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = Vec::new();
    for (key, value) in &raw.keys {
        let (Some(rest), Value::Bool(good)) = (key.strip_prefix("facebook_"), value) else { continue };
        let (role, app) = if let Some(service) = rest.strip_suffix("_dns_consistent") {
            (service, "dns_consistent")
        } else if let Some(service) = rest.strip_suffix("_reachable") {
            (service, "reachable")
        } else {
            continue;
        };
        if role.len() <= 40 {
            rows.push(AppRow {
                role: Some(Cow::Owned(role.to_owned())),
                app: Cow::Borrowed(app),
                success: Some(*good),
                ..AppRow::default()
            });
        }
    }
    rows
}

/// Runs `each` over the objects of an array or over the values of an object, with the key.
fn each_object<'a>(
    raw: &Raw<'a>,
    key: &str,
    mut each: impl FnMut(Option<Text<'a>>, &mut Reader<'a>) -> Result<(), Broken>,
) {
    let Some(Value::Raw(part)) = raw.key(key) else { return };
    let mut reader = Reader::part(*part);
    let mut run = || -> Result<(), Broken> {
        let mut count = 0;
        if reader.peek()? == Kind::Array {
            reader.enter_array()?;
            while count < MAX_STATEMENTS && reader.next_element()? {
                count += 1;
                if reader.enter_object()? {
                    each(None, &mut reader)?;
                }
            }
        } else if reader.enter_object()? {
            while count < MAX_STATEMENTS
                && let Some(key) = reader.next_key()?
            {
                count += 1;
                if reader.enter_object()? {
                    each(Some(key), &mut reader)?;
                }
            }
        }
        Ok(())
    };
    // The part is balanced; what is odd inside ends the list and was noted when it was searched.
    let _ = run();
}

/// ts-023: targets with a protocol each; `failure: false` says that one was not run (traps 11 and 34).
fn tor<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = Vec::new();
    each_object(raw, "targets", |_, reader| {
        let (mut outcome, mut protocol, mut address) = (Outcome::Absent, None, None);
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "failure" => outcome = super::fields::outcome(reader)?,
                "target_protocol" => protocol = reader.take_str()?,
                "target_address" => address = reader.take_str()?,
                _ => reader.skip()?,
            }
        }
        if let Some(mut row) = AppRow::of("target", outcome) {
            row.role = protocol;
            row.endpoint = address;
            rows.push(row);
        }
        Ok(())
    });
    rows
}

/// ts-016, ts-030, ts-015 and the 2014 bridge test: how far a tunnel came, and how long it took.
fn bootstrap<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut outcome = raw.key_outcome("failure");
    if let Some(success) = raw.key_bool("success") {
        outcome = match (success, outcome) {
            (true, _) => Outcome::Fine,
            (false, Outcome::Failed(failure)) => Outcome::Failed(failure),
            (false, _) => match raw.key_text("error") {
                Some(error) => Outcome::Failed(Failure::from_ooni(error)),
                None => Outcome::Failed(Failure::TunnelStart),
            },
        };
    }
    // Our torsf has no tor to start: it says how far the way is open and leaves `success` null.
    let is_without_tor =
        raw.key_bool("success").is_none() && raw.key_text("tor_version").is_some_and(|text| text.is_empty());
    let app = if is_without_tor { "reachability" } else { "bootstrap" };
    let Some(mut row) = AppRow::of(app, outcome) else { return Vec::new() };
    row.value = raw.key_number("bootstrap_time").filter(|s| *s > 0.0).map(|s| s * 1e6);
    row.unit = row.value.map(|_| "us");
    row.role = raw.key_text("transport_name").cloned();
    let mut rows = vec![row];
    if let Some(progress) = raw.key_number("tor_progress") {
        rows.push(AppRow {
            app: Cow::Borrowed("bootstrap_progress"),
            success: Some(progress >= 100.0),
            value: Some(progress),
            unit: Some("percent"),
            ..AppRow::default()
        });
    }
    rows
}

/// ts-040: `success` and, per endpoint, `openvpn_handshake`.
fn openvpn<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = bootstrap(raw);
    for row in &mut rows {
        row.endpoint = raw.key_text("remote").cloned();
        row.role = raw.key_text("transport").cloned();
    }
    each_object(raw, "openvpn_handshake", |_, reader| {
        let (mut outcome, mut took, mut endpoint, mut ip, mut port, mut transport) =
            (Outcome::Absent, None, None, None, None, None);
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "failure" => outcome = super::fields::outcome(reader)?,
                "handshake_time" | "bootstrap_time" => took = reader.take_f64()?,
                "endpoint" => endpoint = reader.take_str()?,
                "ip" => ip = reader.take_str()?,
                "port" => port = reader.take_i64()?,
                "transport" => transport = reader.take_str()?,
                _ => reader.skip()?,
            }
        }
        if let Some(mut row) = AppRow::of("handshake", outcome) {
            row.value = took.filter(|s| *s > 0.0).map(|s| s * 1e6);
            row.unit = row.value.map(|_| "us");
            row.role = transport;
            row.endpoint = match (ip, port) {
                (Some(ip), Some(port)) => Some(Cow::Owned(format!("{ip}:{port}"))),
                _ => endpoint,
            };
            rows.push(row);
        }
        Ok(())
    });
    rows
}

/// ts-026.
fn riseup<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows: Vec<AppRow<'a>> = with_status(raw, "api", "api_status", "api_failure");
    rows.extend(AppRow::flag("ca_certificate", raw.key_bool("ca_cert_status")));
    rows
}

/// ts-007: what an echo server received must be what was sent. Values may be binary (trap 9), so they are
/// compared as written.
fn invalid_request_line<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let list = |key: &str| -> Option<Vec<String>> {
        let Some(Value::Raw(part)) = raw.key(key) else { return None };
        let mut reader = Reader::part(*part);
        let mut items = Vec::new();
        let mut run = || -> Result<(), Broken> {
            if reader.enter_array()? {
                while reader.next_element()? {
                    items.push(reader.take_raw()?.text.trim().to_owned());
                }
            }
            Ok(())
        };
        run().ok()?;
        Some(items)
    };
    let (Some(sent), Some(received)) = (list("sent"), list("received")) else { return Vec::new() };
    if sent.is_empty() || sent.len() != received.len() {
        return Vec::new();
    }
    // An empty answer is a failed connection, not an altered one.
    let altered = sent.iter().zip(&received).filter(|(s, r)| s != r && r.as_str() != "\"\"").count();
    let answered = received.iter().filter(|r| r.as_str() != "\"\"").count();
    if answered == 0 {
        return vec![AppRow {
            app: Cow::Borrowed("echo"),
            success: None,
            value: Some(0.0),
            unit: Some("answers"),
            ..AppRow::default()
        }];
    }
    vec![AppRow {
        app: Cow::Borrowed("echo"),
        success: Some(altered == 0),
        value: Some(altered as f64),
        unit: Some("altered"),
        ..AppRow::default()
    }]
}

/// ts-006: `tampering` holds a flag a kind of change; `total` is the probe's sum.
fn header_field_manipulation<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let Some(Value::Raw(part)) = raw.key("tampering") else { return Vec::new() };
    let mut rows = Vec::new();
    let mut reader = Reader::part(*part);
    let mut run = || -> Result<(), Broken> {
        if reader.enter_object()? {
            while let Some(key) = reader.next_key()? {
                let at = match key.as_ref() {
                    "total" => "headers",
                    "request_line_capitalization" => "request_line",
                    "header_name_capitalization" => "header_names",
                    "header_field_value" => "header_values",
                    "header_field_number" => "header_number",
                    "header_field_name" => "header_name_set",
                    _ => {
                        reader.skip()?;
                        continue;
                    }
                };
                if reader.peek()? == Kind::Bool {
                    rows.extend(AppRow::flag(at, reader.take_bool()?.map(|tampered| !tampered)));
                } else {
                    reader.skip()?;
                }
            }
        }
        Ok(())
    };
    let _ = run();
    rows
}

/// ts-022 (ndt) and ts-021 (dash), in their old and new shapes.
fn speed<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows: Vec<AppRow<'a>> = AppRow::of("speed", raw.key_outcome("failure")).into_iter().collect();
    for container in ["summary", "simple"] {
        let Some(Value::Raw(part)) = raw.key(container) else { continue };
        let mut reader = Reader::part(*part);
        let mut run = || -> Result<(), Broken> {
            if reader.enter_object()? {
                while let Some(key) = reader.next_key()? {
                    let (app, unit) = match key.as_ref() {
                        "download" => ("download", "kbit_s"),
                        "upload" => ("upload", "kbit_s"),
                        "ping" => ("ping", "ms"),
                        "median_bitrate" => ("median_bitrate", "kbit_s"),
                        "min_playout_delay" => ("min_playout_delay", "s"),
                        _ => {
                            reader.skip()?;
                            continue;
                        }
                    };
                    if let Some(value) = reader.take_f64()? {
                        rows.push(AppRow {
                            app: Cow::Borrowed(app),
                            value: Some(value),
                            unit: Some(unit),
                            ..AppRow::default()
                        });
                    }
                }
            }
            Ok(())
        };
        let _ = run();
    }
    rows
}

/// ts-031: an answer of any kind shows that UDP/443 passes.
fn quicping<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let (mut sent, mut answered, mut failure) = (0u32, 0u32, None);
    each_object(raw, "pings", |_, reader| {
        let (mut outcome, mut has_response) = (Outcome::Absent, false);
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "failure" | "Failure" => outcome = super::fields::outcome(reader)?,
                "responses" => {
                    if reader.enter_array()? {
                        while reader.next_element()? {
                            has_response = true;
                            reader.skip()?;
                        }
                    }
                }
                "Response" => {
                    has_response |= reader.peek()? != Kind::Null;
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
        }
        sent += 1;
        answered += u32::from(has_response);
        failure = failure.or(outcome.failure());
        Ok(())
    });
    if sent == 0 {
        return Vec::new();
    }
    vec![AppRow {
        app: Cow::Borrowed("quicping"),
        success: Some(answered > 0),
        failure: if answered == 0 { failure.or(Some(Failure::GenericTimeout)) } else { None },
        value: Some(f64::from(answered) / f64::from(sent)),
        unit: Some("answered_share"),
        ..AppRow::default()
    }]
}

/// ts-024: one server, two names; `control` with a harmless one, `target` with the name in question.
fn sni_blocking<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = Vec::new();
    for role in ["control", "target"] {
        let Some(Value::Raw(part)) = raw.key(role) else { continue };
        let mut reader = Reader::part(*part);
        let mut run = || -> Result<Outcome, Broken> {
            let mut outcome = Outcome::Absent;
            if reader.enter_object()? {
                while let Some(key) = reader.next_key()? {
                    match key.as_ref() {
                        "failure" => outcome = super::fields::outcome(&mut reader)?,
                        _ => reader.skip()?,
                    }
                }
            }
            Ok(outcome)
        };
        if let Ok(outcome) = run()
            && let Some(mut row) = AppRow::of("sni", outcome)
        {
            row.role = Some(Cow::Borrowed(role));
            rows.push(row);
        }
    }
    rows
}

/// ts-037: handshakes with a growing TTL; how the last one of each trace ended, and at which TTL.
fn tlsmiddlebox<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let mut rows = Vec::new();
    each_object(raw, "iterative_trace", |_, reader| {
        let (mut address, mut traces) = (None, Vec::new());
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "address" => address = reader.take_str()?,
                "control_trace" | "target_trace" => {
                    let role = if key.starts_with("control") { "control" } else { "target" };
                    traces.extend(last_iteration(reader)?.map(|(ttl, outcome)| (role, ttl, outcome)));
                }
                _ => reader.skip()?,
            }
        }
        for (role, ttl, outcome) in traces {
            if let Some(mut row) = AppRow::of("ttl_trace", outcome) {
                row.role = Some(Cow::Borrowed(role));
                row.value = ttl;
                row.unit = ttl.map(|_| "ttl");
                row.endpoint = address.clone();
                rows.push(row);
            }
        }
        Ok(())
    });
    rows
}

/// The last handshake of a trace: its TTL and how it ended.
fn last_iteration(reader: &mut Reader<'_>) -> Result<Option<(Option<f64>, Outcome)>, Broken> {
    let mut last = None;
    if !reader.enter_object()? {
        return Ok(None);
    }
    while let Some(key) = reader.next_key()? {
        if key != "iterations" || !reader.enter_array()? {
            if key != "iterations" {
                reader.skip()?;
            }
            continue;
        }
        while reader.next_element()? {
            if !reader.enter_object()? {
                continue;
            }
            let (mut ttl, mut outcome) = (None, Outcome::Absent);
            while let Some(key) = reader.next_key()? {
                match key.as_ref() {
                    "ttl" => ttl = reader.take_f64()?,
                    "handshake" if reader.peek()? == Kind::Object => {
                        reader.enter_object()?;
                        while let Some(key) = reader.next_key()? {
                            match key.as_ref() {
                                "failure" => outcome = super::fields::outcome(reader)?,
                                _ => reader.skip()?,
                            }
                        }
                    }
                    "failure" => outcome = super::fields::outcome(reader)?,
                    _ => reader.skip()?,
                }
            }
            last = Some((ttl, outcome));
        }
    }
    Ok(last)
}

/// ts-041: `result` is `ok` or an error's name; success is not the absence of a failure (trap 22).
fn browser<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let Some(result) = raw.key_text("result") else { return Vec::new() };
    vec![AppRow {
        app: Cow::Borrowed("page"),
        success: Some(result == "ok"),
        failure: (result != "ok").then(|| Failure::from_ooni(result)),
        value: raw.key_number("load_time_ms"),
        unit: Some("ms"),
        ..AppRow::default()
    }]
}

/// The 2012–2016 test: `connection` is `success` or a failure's name; later `failure`.
fn legacy_tcp_connect<'a>(raw: &Raw<'a>) -> Vec<AppRow<'a>> {
    let outcome = match raw.key_text("connection").map(AsRef::as_ref) {
        Some("success") => Outcome::Fine,
        Some(text) => Outcome::Failed(Failure::from_ooni(text)),
        None => raw.key_outcome("failure"),
    };
    AppRow::of("connect", outcome).into_iter().collect()
}
