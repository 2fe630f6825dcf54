//! What is said between a probe and its test helper: ts-017-web-connectivity, "Example control request and
//! response", as OONI's helper (oohelperd) speaks it.
//!
//! Failures are texts here, for helpers use older names than probes do (`dns_name_error`,
//! `connection_refused_error`): [`dns_failure`], [`connect_failure`] and [`page_failure`] write those.

use core::net::IpAddr;
use std::collections::BTreeMap;

use okno_model::Failure;
use serde::{Deserialize, Deserializer, Serialize};

/// What a probe asks a helper to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperRequest {
    /// URL to fetch
    pub http_request: String,
    /// headers of that request; helpers pass on `Accept`, `Accept-Language` and `User-Agent` alone
    #[serde(default, deserialize_with = "null_is_empty")]
    pub http_request_headers: BTreeMap<String, Vec<String>>,
    /// endpoints that the probe found, `ip:port`
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tcp_connect: Vec<String>,
    /// whether the helper shall also try QUIC
    #[serde(default)]
    pub x_quic_enabled: bool,
}

/// A connect as the helper saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectSeen {
    /// whether it opened
    pub status: bool,
    /// why not
    pub failure: Option<String>,
}

/// A handshake, over TCP or QUIC, as the helper saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeSeen {
    /// name that was shown
    #[serde(default)]
    pub server_name: String,
    /// whether it was completed
    pub status: bool,
    /// why not
    pub failure: Option<String>,
}

/// The last page of a chain of redirects as the helper saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSeen {
    /// bytes of the decoded body; −1 when there was no answer
    pub body_length: i64,
    /// `host:port` where the first answer's Alt-Svc says that HTTP/3 is spoken; empty when nowhere
    #[serde(default)]
    pub discovered_h3_endpoint: String,
    /// why there was no answer
    pub failure: Option<String>,
    /// title of the page; empty when it has none
    #[serde(default)]
    pub title: String,
    /// headers; of several with one name the first
    #[serde(default, deserialize_with = "null_is_empty")]
    pub headers: BTreeMap<String, String>,
    /// status code; −1 when there was no answer
    pub status_code: i64,
}

impl PageSeen {
    /// No page, for this reason.
    pub fn failed(failure: &str) -> Self {
        Self {
            body_length: -1,
            discovered_h3_endpoint: String::new(),
            failure: Some(failure.to_owned()),
            title: String::new(),
            headers: BTreeMap::new(),
            status_code: -1,
        }
    }
}

impl Default for PageSeen {
    fn default() -> Self {
        let mut nothing = Self::failed("");
        nothing.failure = None;
        nothing
    }
}

/// The helper's lookup of the URL's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupSeen {
    /// why there are no addresses; `null` also when the name has none
    pub failure: Option<String>,
    /// addresses
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addrs: Vec<String>,
}

/// The probe found this address.
pub const FOUND_BY_PROBE: u64 = 1;
/// The helper found this address.
pub const FOUND_BY_HELPER: u64 = 2;
/// No public service can have this address.
pub const IS_BOGON: u64 = 4;
/// A handshake with the URL's name succeeded there.
pub const VALID_FOR_DOMAIN: u64 = 8;

/// What the helper knows of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressInfo {
    /// number of its network; 0 when not known
    pub asn: u32,
    /// [`FOUND_BY_PROBE`], [`FOUND_BY_HELPER`], [`IS_BOGON`], [`VALID_FOR_DOMAIN`]
    pub flags: u64,
}

/// What a helper answers. The order of fields is that of OONI's helper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperResponse {
    /// by `ip:port`
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tcp_connect: BTreeMap<String, ConnectSeen>,
    /// by `ip:port`, to ports 443
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub tls_handshake: BTreeMap<String, HandshakeSeen>,
    /// by `ip:port`
    #[serde(default, deserialize_with = "null_is_empty")]
    pub quic_handshake: BTreeMap<String, HandshakeSeen>,
    /// the page, over TCP
    #[serde(default)]
    pub http_request: PageSeen,
    /// the page over HTTP/3, where that was asked for and is offered
    #[serde(default)]
    pub http3_request: Option<PageSeen>,
    /// the lookup
    #[serde(default)]
    pub dns: LookupSeen,
    /// by address
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub ip_info: BTreeMap<String, AddressInfo>,
}

impl HelperResponse {
    /// Network of an address as the helper knows it; 0 when it does not.
    pub fn asn(&self, address: IpAddr) -> u32 {
        self.ip_info.get(&address.to_string()).map_or(0, |info| info.asn)
    }
}

/// Go writes an empty list or map that nobody filled as `null`.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A failed lookup in a helper's words; `None` for a name without addresses, which is no failure there
/// (probe-cli internal/oohelperd/dns.go).
pub fn dns_failure(failure: Failure) -> Option<&'static str> {
    match failure {
        Failure::DnsNxDomain => Some("dns_name_error"),
        Failure::DnsNoAnswer => None,
        Failure::DnsNonRecoverable
        | Failure::DnsRefused
        | Failure::DnsServerMisbehaving
        | Failure::DnsServfail
        | Failure::DnsTemporary => Some("dns_server_failure"),
        _ => Some("unknown_error"),
    }
}

/// A failed connect in a helper's words (probe-cli internal/oohelperd/tcptls.go).
pub fn connect_failure(failure: Failure) -> &'static str {
    match failure {
        Failure::GenericTimeout => Failure::GenericTimeout.as_str(),
        Failure::ConnectionRefused => "connection_refused_error",
        _ => "connect_error",
    }
}

/// A failed fetch in a helper's words; `resolving` when the lookup itself timed out
/// (probe-cli internal/oohelperd/http.go).
pub fn page_failure(failure: Failure, resolving: bool) -> &'static str {
    match failure {
        Failure::DnsNxDomain
        | Failure::DnsNoAnswer
        | Failure::DnsNonRecoverable
        | Failure::DnsRefused
        | Failure::DnsServerMisbehaving
        | Failure::DnsServfail
        | Failure::DnsTemporary => "dns_lookup_error",
        Failure::GenericTimeout if resolving => "dns_lookup_error",
        Failure::GenericTimeout => Failure::GenericTimeout.as_str(),
        Failure::ConnectionRefused => "connection_refused_error",
        _ => "unknown_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_helper_that_writes_null_for_empty_is_understood() {
        let text = r#"{"tcp_connect":null,"quic_handshake":null,"http_request":{"body_length":-1,
            "failure":"unknown_error","title":"","headers":null,"status_code":-1},"http3_request":null,
            "dns":{"failure":null,"addrs":null}}"#;
        let response: HelperResponse = serde_json::from_str(text).unwrap();
        assert_eq!(response.http_request, PageSeen::failed("unknown_error"));
        assert!(response.tcp_connect.is_empty() && response.dns.addrs.is_empty());
        let request: HelperRequest =
            serde_json::from_str(r#"{"http_request":"http://a/","tcp_connect":null}"#).unwrap();
        assert_eq!(request.http_request, "http://a/");
    }

    #[test]
    fn failures_have_the_names_that_older_helpers_gave_them() {
        assert_eq!(dns_failure(Failure::DnsNxDomain), Some("dns_name_error"));
        assert_eq!(dns_failure(Failure::DnsNoAnswer), None);
        assert_eq!(dns_failure(Failure::DnsServfail), Some("dns_server_failure"));
        assert_eq!(connect_failure(Failure::HostUnreachable), "connect_error");
        assert_eq!(page_failure(Failure::GenericTimeout, true), "dns_lookup_error");
        assert_eq!(page_failure(Failure::GenericTimeout, false), "generic_timeout_error");
        assert_eq!(page_failure(Failure::ConnectionReset, false), "unknown_error");
    }
}
