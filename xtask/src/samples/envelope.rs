//! The part that all nettests share: who measured, when, with what (OONI df-000), and the ids.

use serde_json::{Value, json};

use super::rng::Stream;
use super::world::{Network, digits, stamp};

/// The probe software that a measurement names.
#[derive(Clone, Copy)]
pub struct Software {
    /// `ooniprobe-android` …
    pub name: &'static str,
    /// version of application and engine
    pub version: &'static str,
    /// operating system
    pub platform: &'static str,
}

/// Releases that were in use in summer 2025, and `DEFECT`, one that never existed.
pub const SOFTWARE: &[Software] = &[
    Software { name: "ooniprobe-android", version: "3.24.0", platform: "android" },
    Software { name: "ooniprobe-android-unattended", version: "3.25.0", platform: "android" },
    Software { name: "ooniprobe-cli", version: "3.25.0", platform: "linux" },
    Software { name: "ooniprobe-desktop-unattended", version: "3.24.0", platform: "windows" },
];

/// The release with a defect: its TLS stack lacks the certificate authorities.
pub const DEFECT: Software = Software { name: "ooniprobe-cli", version: "3.25.99", platform: "linux" };

/// An old release that still runs web_connectivity 0.4.
pub const OLD: Software = Software { name: "ooniprobe-android", version: "3.17.0", platform: "android" };

/// What a measurement is about, before it is wrapped.
pub struct Head<'a> {
    /// nettest
    pub test: &'a str,
    /// its version
    pub test_version: &'a str,
    /// input, where the test has one
    pub input: Option<&'a str>,
    /// where from
    pub network: &'a Network,
    /// second of the start
    pub start: i64,
    /// with what
    pub software: Software,
    /// how long it took
    pub runtime_us: u64,
}

/// Microseconds as the seconds of OONI's JSON.
pub fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Wraps `test_keys` into a measurement and returns it with its uid.
pub fn wrap(head: &Head<'_>, test_keys: Value, stream: &mut Stream) -> (String, Value) {
    let Head { network, software, start, .. } = head;
    let plain = head.test.replace('_', "");
    let upload = start + 2 + (head.runtime_us / 1_000_000) as i64 + stream.between(0, 20) as i64;
    let micros = stream.between(0, 1_000_000);
    let uid = format!("{}.{micros:06}_{}_{plain}_{:016x}", digits(upload), network.country, stream.next());
    let report = digits(*start - 30);
    let report_id = format!(
        "{}T{}Z_{plain}_{}_{}_n1_{}",
        &report[..8],
        &report[8..],
        network.country,
        network.asn,
        letters(stream)
    );
    let kind = match (network.mobile, software.platform) {
        (true, _) => "mobile",
        (false, "android") => "wifi",
        (false, _) => "wired_ethernet",
    };
    let asn = format!("AS{}", network.asn);
    let measurement = json!({
        "annotations": {
            "architecture": if software.platform == "android" { "arm64" } else { "amd64" },
            "engine_name": "ooniprobe-engine",
            "engine_version": software.version,
            "network_type": kind,
            // Nobody may take these for measurements: reports that hold any say so in their first line.
            "origin": "synthetic",
            "platform": software.platform,
        },
        "data_format_version": "0.2.0",
        "extensions": {"dnst": 0, "httpt": 0, "netevents": 0, "tcpconnect": 0, "tlshandshake": 0, "tunnel": 0},
        "input": head.input,
        "measurement_start_time": stamp(*start),
        "measurement_uid": uid,
        "probe_asn": asn,
        "probe_cc": network.country,
        "probe_ip": "127.0.0.1",
        "probe_network_name": network.name,
        "report_id": report_id,
        "resolver_asn": asn,
        "resolver_ip": network.resolver,
        "resolver_network_name": network.name,
        "software_name": software.name,
        "software_version": software.version,
        "test_helpers": if head.test == "web_connectivity" {
            json!({"backend": {"address": "https://0.th.ooni.org/", "type": "https"}})
        } else {
            Value::Null
        },
        "test_keys": test_keys,
        "test_name": head.test,
        "test_runtime": seconds(head.runtime_us),
        "test_start_time": stamp(start - 25),
        "test_version": head.test_version,
    });
    (uid, measurement)
}

fn letters(stream: &mut Stream) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..16).map(|_| char::from(*stream.pick(ALPHABET))).collect()
}
