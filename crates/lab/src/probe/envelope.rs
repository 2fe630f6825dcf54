//! The line that a probe of the lab publishes: OONI's envelope around test keys, the own address taken out.

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Timestamp;
use okno_probe::measurement::{Measurement, extensions, format_time};
use serde_json::{Map, Value};

/// Who measures, as far as it may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// country
    pub country: String,
    /// `AS8359`
    pub asn: String,
    /// the network's name
    pub network_name: String,
    /// `wifi`, `mobile`, `wired`
    pub network_type: String,
    /// AS of the resolver
    pub resolver_asn: String,
    /// the resolver's network's name
    pub resolver_network_name: String,
    /// name and version
    pub software: (String, String),
}

/// A measurement that has ended.
#[derive(Clone, Debug)]
pub struct Finished<'a> {
    /// name of the test
    pub test: &'a str,
    /// version of the test
    pub version: &'a str,
    /// what was measured
    pub input: Option<&'a str>,
    /// what was found
    pub keys: Value,
    /// when the session's run of the test began
    pub round_began: Timestamp,
    /// when the measurement began
    pub began: Timestamp,
    /// how long it took
    pub runtime: Duration,
    /// URL of the test helper that was used
    pub helper: Option<&'a str>,
    /// makes the report's id unique
    pub token: u64,
    /// the probe's addresses, which are never written
    pub own: &'a [IpAddr],
}

impl Envelope {
    /// One line of JSON without line end.
    pub fn line(&self, finished: Finished<'_>) -> String {
        let start = format_time(finished.round_began);
        let mut annotations = Map::new();
        annotations.insert("network_type".to_owned(), self.network_type.clone().into());
        let mut helpers = Map::new();
        if let Some(url) = finished.helper {
            let helper = serde_json::json!({ "address": url, "type": "https" });
            helpers.insert("backend".to_owned(), helper);
        }
        let measurement = Measurement {
            annotations,
            data_format_version: "0.2.0",
            extensions: extensions(&finished.keys),
            input: finished.input.map(str::to_owned),
            input_hashes: Vec::new(),
            measurement_start_time: format_time(finished.began),
            probe_asn: self.asn.clone(),
            probe_cc: self.country.clone(),
            probe_city: None,
            probe_ip: "127.0.0.1",
            probe_network_name: self.network_name.clone(),
            report_id: self.report_id(&finished, &start),
            resolver_asn: self.resolver_asn.clone(),
            resolver_ip: "127.0.0.2",
            resolver_network_name: self.resolver_network_name.clone(),
            software_name: self.software.0.clone(),
            software_version: self.software.1.clone(),
            test_helpers: helpers,
            test_keys: finished.keys,
            test_name: finished.test.to_owned(),
            test_runtime: finished.runtime.as_secs_f64(),
            test_start_time: start,
            test_version: finished.version.to_owned(),
        };
        let line = serde_json::to_string(&measurement).expect("a measurement is plain JSON");
        scrubbed(line, finished.own)
    }

    /// As OONI's collector makes them: `20250609T000000Z_webconnectivity_RU_8359_n1_0123456789abcdef`.
    fn report_id(&self, finished: &Finished<'_>, start: &str) -> String {
        let compact: String = start.replace(' ', "T").chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let test: String = finished.test.chars().filter(|c| *c != '_').collect();
        let asn = self.asn.trim_start_matches("AS");
        format!("{compact}Z_{test}_{}_{asn}_n1_{:016x}", self.country, finished.token)
    }
}

/// Replaces the own addresses wherever they stand as words of their own.
fn scrubbed(line: String, own: &[IpAddr]) -> String {
    let mut line = line;
    for ip in own {
        let (text, instead) = (ip.to_string(), if ip.is_ipv4() { "127.0.0.1" } else { "::1" });
        if !line.contains(&text) {
            continue;
        }
        let part = |c: char| c.is_ascii_digit() || c == '.';
        let mut out = String::with_capacity(line.len());
        let mut rest = line.as_str();
        while let Some((before, after)) = rest.split_once(&text) {
            let is_whole = !before.ends_with(part) && !after.starts_with(|c: char| c.is_ascii_digit());
            out.push_str(before);
            out.push_str(if is_whole { instead } else { &text });
            rest = after;
        }
        out.push_str(rest);
        line = out;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_taken_out_and_longer_ones_stay() {
        let own = [IpAddr::from([10, 0, 0, 1])];
        let line = scrubbed("\"10.0.0.1:80\" 10.0.0.12 110.0.0.1".to_owned(), &own);
        assert_eq!(line, "\"127.0.0.1:80\" 10.0.0.12 110.0.0.1");
    }
}
