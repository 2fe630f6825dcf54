//! Who measured what, when and from where.

use std::borrow::Cow;

use okno_model::{Asn, Country, Measurement, RejectReason, Text, Timestamp};

use super::raw::{Outcome, Raw, Value};
use super::{Origin, fields, nettests};
use crate::host;

/// Parts that every measurement should have, and why one could not be had.
type Absent = Vec<(&'static str, RejectReason)>;

/// Who, when and where.
struct Head<'a> {
    test_name: Text<'a>,
    start_utc: Timestamp,
    country: Country,
    network: Asn,
}

/// The measurement's row and the required parts that are absent or unreadable; `None` when the line is none.
pub fn of<'a>(raw: &Raw<'a>, origin: &Origin<'a>) -> Option<(Measurement<'a>, Absent)> {
    let (head, absent) = head(raw)?;
    Some((measurement(raw, origin, head), absent))
}

fn head<'a>(raw: &Raw<'a>) -> Option<(Head<'a>, Absent)> {
    let named = raw.text("test_name").filter(|name| !name.is_empty());
    if named.is_none() && !raw.has_test_keys {
        return None;
    }
    let mut absent = Vec::new();
    let mut lacks = |part: &'static str, unreadable: RejectReason| {
        let is_there = !matches!(raw.value(part), None | Some(Value::Null));
        absent.push((part, if is_there { unreadable } else { RejectReason::Missing }));
    };
    let test_name = named.map_or(Cow::Borrowed("unknown"), |name| test_name(name.clone()));
    if named.is_none() {
        lacks("test_name", RejectReason::WrongType);
    }
    if !raw.has_test_keys {
        lacks("test_keys", RejectReason::WrongType);
    }
    let start_utc = start(raw).unwrap_or_else(|| {
        lacks("measurement_start_time", RejectReason::InvalidTime);
        Timestamp::default()
    });
    let country = raw.text("probe_cc").and_then(|cc| Country::parse(cc)).unwrap_or_else(|| {
        lacks("probe_cc", RejectReason::WrongType);
        Country::UNKNOWN
    });
    let network = match raw.value("probe_asn") {
        Some(Value::Text(text)) => Asn::parse(text),
        Some(Value::Number(number)) if (0.0..4_294_967_296.0).contains(number) => Some(Asn(*number as u32)),
        _ => None,
    };
    let network = network.unwrap_or_else(|| {
        lacks("probe_asn", RejectReason::WrongType);
        Asn::UNKNOWN
    });
    Some((Head { test_name, start_utc, country, network }, absent))
}

fn measurement<'a>(raw: &Raw<'a>, origin: &Origin<'a>, head: Head<'a>) -> Measurement<'a> {
    let Head { test_name, start_utc, country, network } = head;
    let input = input(raw);
    let (target, hostname) = target(&test_name, input.as_deref(), raw);
    let (resolver_prefix, resolver_scrubbed) = resolver(raw);
    let uid = raw.text("measurement_uid").filter(|uid| !uid.is_empty()).cloned();
    let report_id = raw.text("report_id").filter(|id| !id.is_empty()).cloned();
    let upload_utc = uid.as_deref().and_then(upload_time);
    let line = &origin.line;
    let control_failure = raw.key_outcome("control_failure").failure();
    Measurement {
        measurement_uid: uid.unwrap_or_else(|| made_up_uid(raw, &test_name, input.as_deref(), start_utc)),
        report_id,
        source: Cow::Borrowed(origin.source),
        line: line.number,
        byte_offset: line.offset,
        size_bytes: (line.end - line.start) as u64,
        test_version: version_text(raw.value("test_version")),
        start_utc,
        upload_utc,
        country,
        network,
        network_name: raw.text("probe_network_name").filter(|name| !name.is_empty()).cloned(),
        resolver_network: raw
            .text("resolver_asn")
            .and_then(|asn| Asn::parse(asn))
            .filter(|asn| asn.is_known()),
        resolver_prefix,
        resolver_scrubbed,
        software_name: raw.text("software_name").cloned(),
        software_version: version_text(raw.value("software_version")),
        engine_name: raw.annotation("engine_name").cloned(),
        engine_version: raw.annotation("engine_version").cloned(),
        platform: raw.annotation("platform").cloned(),
        network_type: raw.annotation("network_type").cloned(),
        origin: raw.annotation("origin").cloned(),
        data_format_version: version_text(raw.value("data_format_version")),
        input,
        target,
        hostname,
        runtime_us: runtime(raw),
        control: control_state(&test_name, raw),
        control_failure,
        probe_blocking: probe_blocking(raw),
        probe_accessible: raw.key_bool("accessible"),
        rejects: 0,
        observations: 0,
        content_hash: raw.content_hash,
        test_name,
    }
}

/// Archive paths write names without underscores; measurements with (trap 30). Two tests have two names.
fn test_name(name: Text<'_>) -> Text<'_> {
    match name.as_ref() {
        "stun_reachability" => Cow::Borrowed("stunreachability"),
        "webconnectivity" => Cow::Borrowed("web_connectivity"),
        _ => name,
    }
}

/// Trap 15: the probe's clock, at the measurement's start; legacy reports have `start_time`, in seconds.
fn start(raw: &Raw<'_>) -> Option<Timestamp> {
    ["measurement_start_time", "start_time", "test_start_time"].into_iter().find_map(|key| {
        match raw.value(key)? {
            Value::Text(text) => Timestamp::parse(text),
            Value::Number(seconds) => Timestamp::from_seconds(*seconds),
            _ => None,
        }
    })
}

/// Trap 14: a uid may carry the time of upload, as `YYYYMMDDhhmmss.…` or `YYYYMMDDThhmmss…`; the form
/// `01YYYYMMDD…` of the old archive carries none.
pub fn upload_time(uid: &str) -> Option<Timestamp> {
    let bytes = uid.as_bytes();
    let digits: Vec<i64> = bytes
        .iter()
        .filter(|b| **b != b'T')
        .take(14)
        .map(|b| b.is_ascii_digit().then(|| i64::from(b - b'0')))
        .collect::<Option<_>>()?;
    if digits.len() < 14 || !uid.starts_with("20") {
        return None;
    }
    let number =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0, |value, digit| value * 10 + digit);
    let narrow = |value: i64| i8::try_from(value).ok();
    Timestamp::from_civil(
        i16::try_from(number(0..4)).ok()?,
        narrow(number(4..6))?,
        narrow(number(6..8))?,
        narrow(number(8..10))?,
        narrow(number(10..12))?,
        narrow(number(12..14))?,
    )
}

/// An id for a measurement that has none: the same content gives the same id (trap 14).
fn made_up_uid<'a>(raw: &Raw<'a>, test: &str, input: Option<&str>, start: Timestamp) -> Text<'a> {
    let identity = format!(
        "{}\n{}\n{}\n{}\n{:016x}",
        raw.text("report_id").map_or("", AsRef::as_ref),
        test,
        input.unwrap_or(""),
        start.micros(),
        raw.content_hash
    );
    Cow::Owned(format!("x{:016x}", fields::hash_of(&identity)))
}

/// Trap 13: a text, a list, null or absent.
fn input<'a>(raw: &Raw<'a>) -> Option<Text<'a>> {
    let value = raw.value("input").or_else(|| raw.key("input"))?;
    match value {
        Value::Text(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Raw(part) => {
            let mut reader = crate::json::Reader::part(*part);
            let mut items = Vec::new();
            let mut run = || -> Result<(), crate::json::Broken> {
                if reader.enter_array()? {
                    while reader.next_element()? {
                        items.extend(reader.take_str()?);
                    }
                }
                Ok(())
            };
            let _ = run();
            (!items.is_empty()).then(|| Cow::Owned(items.join(" ")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// What was measured, in one word, and its host.
fn target<'a>(test: &str, input: Option<&str>, raw: &Raw<'a>) -> (Text<'a>, Option<Text<'a>>) {
    let fixed = nettests::fixed_target(test);
    let first = input.map(|input| input.split_whitespace().next().unwrap_or(""));
    let place = first.and_then(|first| host::place(first, None)).filter(|place| place.host.is_some());
    let hostname: Option<String> = match (&place, first) {
        // OpenVPN inputs name the provider as host and the address as a parameter (ts-040).
        (Some(place), _) => place.host.clone(),
        (None, Some(first)) => match host::endpoint(first) {
            Some((ip, _)) => Some(ip.into_owned()),
            None => first
                .rsplit_once(':')
                .filter(|(_, port)| port.parse::<u16>().is_ok())
                .map_or(Some(first), |(name, _)| Some(name))
                .and_then(host::canonical)
                .filter(|name| name.contains('.'))
                .map(Cow::into_owned),
        },
        (None, None) => None,
    };
    let target = match (fixed, &hostname) {
        (Some(fixed), _) => Cow::Borrowed(fixed),
        (None, Some(host)) => Cow::Owned(host.clone()),
        (None, None) => match raw.key_text("endpoint").and_then(|e| e.rsplit_once(':')) {
            Some((name, _)) => {
                host::canonical(name).map_or(Cow::Borrowed("unknown"), |n| Cow::Owned(n.into_owned()))
            }
            None => Cow::Owned(test.to_owned()),
        },
    };
    (target, hostname.map(Cow::Owned))
}

/// The resolver, as far as it may be kept (trap 12). The one that the test helper saw stands in when the
/// probe hid its own.
fn resolver<'a>(raw: &Raw<'a>) -> (Option<Text<'a>>, bool) {
    let written = raw.text("resolver_ip").map(AsRef::as_ref);
    let scrubbed = written == Some(host::SCRUBBED);
    let own = super::scrub::Scrubber::new(raw.probe_ips.iter().map(AsRef::as_ref));
    let address = [written, raw.key_text("client_resolver").map(AsRef::as_ref)]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse::<std::net::IpAddr>().ok())
        .find(|ip| !ip.is_loopback() && !own.is_probe(*ip) && !crate::reference::is_bogon(*ip));
    (address.map(|ip| Cow::Owned(host::truncated(ip))), scrubbed)
}

fn version_text<'a>(value: Option<&Value<'a>>) -> Option<Text<'a>> {
    match value? {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn runtime(raw: &Raw<'_>) -> Option<i64> {
    match raw.value("test_runtime")? {
        Value::Number(seconds) if (0.0..1e6).contains(seconds) => Some((seconds * 1e6) as i64),
        _ => None,
    }
}

/// Trap 8: no helper, no answer, a failed helper and an answer are four things.
fn control_state(test: &str, raw: &Raw<'_>) -> Text<'static> {
    Cow::Borrowed(if !nettests::has_control(test) {
        "none"
    } else if matches!(raw.key_outcome("control_failure"), Outcome::Failed(_)) {
        "failed"
    } else if raw.control_present {
        "ok"
    } else {
        "absent"
    })
}

/// Trap 24: text, false, null or absent.
fn probe_blocking<'a>(raw: &Raw<'a>) -> Option<Text<'a>> {
    match raw.key("blocking")? {
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}
