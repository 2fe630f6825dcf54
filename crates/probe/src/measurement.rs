//! The envelope of a measurement: OONI's df-000-base, one JSON object a line.

use okno_model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// Who measured, as far as it may be written: never an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// country, `ZZ` when unknown
    pub country: String,
    /// network, `AS0` when unknown
    pub asn: String,
    /// the network's name
    pub network_name: String,
    /// `wifi`, `mobile`, `wired`, `unknown`
    pub network_type: String,
    /// AS of the system's resolver
    pub resolver_asn: String,
    /// the resolver's network's name
    pub resolver_network_name: String,
    /// software that measures
    pub software_name: String,
    /// its version
    pub software_version: String,
    /// `linux`, `lab` …
    pub platform: String,
    /// `manual` or `timed`
    pub origin: String,
}

/// One measurement (df-000 version 0.2.0). Field order is the order in the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// free notes
    pub annotations: Map<String, Value>,
    /// `0.2.0`
    pub data_format_version: &'static str,
    /// data formats that the test keys use, each with its version ([`extensions`])
    pub extensions: Map<String, Value>,
    /// what was measured
    pub input: Option<String>,
    /// hashes of input lists; empty, and then not written (df-000: clients should not)
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input_hashes: Vec<String>,
    /// `YYYY-MM-DD hh:mm:ss` in UTC
    pub measurement_start_time: String,
    /// network
    pub probe_asn: String,
    /// country
    pub probe_cc: String,
    /// always empty, and then not written (df-000: clients should not)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_city: Option<String>,
    /// always `127.0.0.1`: the own address is never written
    pub probe_ip: &'static str,
    /// the network's name
    pub probe_network_name: String,
    /// empty until a collector gives one
    pub report_id: String,
    /// AS of the resolver
    pub resolver_asn: String,
    /// always `127.0.0.2`: the resolver's address is never written
    pub resolver_ip: &'static str,
    /// the resolver's network's name
    pub resolver_network_name: String,
    /// software
    pub software_name: String,
    /// its version
    pub software_version: String,
    /// the helpers that were used
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub test_helpers: Map<String, Value>,
    /// what was found
    pub test_keys: Value,
    /// name of the test
    pub test_name: String,
    /// seconds that it took
    pub test_runtime: f64,
    /// when the session's run of this test began
    pub test_start_time: String,
    /// version of the test
    pub test_version: String,
}

/// Names of data formats (df-001 … df-008 without prefix and ending) by the list in which their records
/// stand; all are in version 0.
const FORMATS: [(&str, &str); 5] = [
    ("dnst", "queries"),
    ("httpt", "requests"),
    ("netevents", "network_events"),
    ("tcpconnect", "tcp_connect"),
    ("tlshandshake", "tls_handshakes"),
];

/// The data formats that these test keys use, at the top or in the objects below (targets, lookups).
pub fn extensions(test_keys: &Value) -> Map<String, Value> {
    fn has(value: &Value, list: &str, depth: u32) -> bool {
        let Value::Object(map) = value else { return false };
        map.contains_key(list) || depth > 0 && map.values().any(|value| has(value, list, depth - 1))
    }
    let used = FORMATS.into_iter().filter(|(_, list)| has(test_keys, list, 2));
    used.map(|(format, _)| (format.to_owned(), Value::from(0))).collect()
}

/// `YYYY-MM-DD hh:mm:ss` in UTC, as df-000 writes times.
pub fn format_time(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}
