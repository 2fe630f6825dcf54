//! The tests, one module each, and their registry.

pub mod address_block;
pub mod backend;
pub mod blackout;
pub mod box_location;
pub mod calls;
pub mod certificates;
pub mod connection_policer;
pub mod dns_interception;
pub mod dnscheck;
pub mod ech_matrix;
pub mod echcheck;
pub mod facebook_messenger;
pub mod fragment_census;
pub mod hello_matrix;
pub mod http_header_field_manipulation;
pub mod http_invalid_request_line;
pub mod initiation;
pub mod obfs4;
pub mod openvpn;
pub mod packet_budget;
pub mod quic_matrix;
pub mod quicping;
pub mod redact;
pub mod signal;
pub mod sni_blocking;
pub mod snowflake;
pub mod stunreachability;
pub mod telegram;
pub mod throttling;
pub mod tlsmiddlebox;
pub mod tor;
pub mod tor_targets;
pub mod torsf;
pub mod urlgetter;
pub mod vpn_protocols;
pub mod web_connectivity;
pub mod whatsapp;
pub mod whitelist;

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::experiment::Experiment;

/// Names of all tests, sorted.
pub const ALL: &[&str] = &[
    "address_block",
    "blackout",
    "box_location",
    "calls",
    "certificates",
    "connection_policer",
    "dns_interception",
    "dnscheck",
    "ech_matrix",
    "echcheck",
    "facebook_messenger",
    "fragment_census",
    "hello_matrix",
    "http_header_field_manipulation",
    "http_invalid_request_line",
    "initiation",
    "openvpn",
    "packet_budget",
    "quic_matrix",
    "quicping",
    "signal",
    "sni_blocking",
    "stunreachability",
    "telegram",
    "throttling",
    "tlsmiddlebox",
    "tor",
    "torsf",
    "vpn_protocols",
    "web_connectivity",
    "whatsapp",
    "whitelist",
];

/// The test of this name with these options: a JSON object with fields of its configuration, or null.
///
/// # Errors
/// In words: that there is no such test, or what is wrong with the options.
pub fn by_name(name: &str, options: &Value) -> Result<Rc<dyn Experiment>, String> {
    match name {
        "address_block" => made::<address_block::AddressBlock>(options),
        "blackout" => made::<blackout::Blackout>(options),
        "box_location" => made::<box_location::BoxLocation>(options),
        "calls" => made::<calls::Calls>(options),
        "certificates" => made::<certificates::Certificates>(options),
        "connection_policer" => made::<connection_policer::ConnectionPolicer>(options),
        "dns_interception" => made::<dns_interception::DnsInterception>(options),
        "dnscheck" => made::<dnscheck::DnsCheck>(options),
        "ech_matrix" => made::<ech_matrix::EchMatrix>(options),
        "echcheck" => made::<echcheck::Echcheck>(options),
        "facebook_messenger" => made::<facebook_messenger::FacebookMessenger>(options),
        "fragment_census" => made::<fragment_census::FragmentCensus>(options),
        "hello_matrix" => made::<hello_matrix::HelloMatrix>(options),
        "http_header_field_manipulation" => {
            made::<http_header_field_manipulation::HttpHeaderFieldManipulation>(options)
        }
        "http_invalid_request_line" => made::<http_invalid_request_line::HttpInvalidRequestLine>(options),
        "initiation" => made::<initiation::Initiation>(options),
        "openvpn" => made::<openvpn::Openvpn>(options),
        "packet_budget" => made::<packet_budget::PacketBudget>(options),
        "quic_matrix" => made::<quic_matrix::QuicMatrix>(options),
        "quicping" => made::<quicping::Quicping>(options),
        "signal" => made::<signal::Signal>(options),
        "sni_blocking" => made::<sni_blocking::SniBlocking>(options),
        "stunreachability" => made::<stunreachability::Stunreachability>(options),
        "telegram" => made::<telegram::Telegram>(options),
        "throttling" => made::<throttling::Throttling>(options),
        "tlsmiddlebox" => made::<tlsmiddlebox::Tlsmiddlebox>(options),
        "tor" => made::<tor::Tor>(options),
        "torsf" => made::<torsf::Torsf>(options),
        "vpn_protocols" => made::<vpn_protocols::VpnProtocols>(options),
        "web_connectivity" => made::<web_connectivity::WebConnectivity>(options),
        "whatsapp" => made::<whatsapp::Whatsapp>(options),
        "whitelist" => made::<whitelist::Whitelist>(options),
        _ => Err(format!("no test `{name}`; there are {}", ALL.join(", "))),
    }
}

fn made<T: Experiment + DeserializeOwned + Default + 'static>(
    options: &Value,
) -> Result<Rc<dyn Experiment>, String> {
    if options.is_null() {
        return Ok(Rc::new(T::default()));
    }
    serde_json::from_value::<T>(options.clone())
        .map(|test| Rc::new(test) as Rc<dyn Experiment>)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_test_is_made_and_has_its_name() {
        assert!(ALL.is_sorted());
        for name in ALL {
            let test = by_name(name, &Value::Null).unwrap();
            assert_eq!(test.name(), *name);
        }
        assert!(by_name("nothing", &Value::Null).is_err());
    }

    #[test]
    fn an_unknown_option_is_named() {
        for name in ALL {
            let problem = by_name(name, &serde_json::json!({ "no_such_option": 1 })).err().unwrap();
            assert!(problem.contains("no_such_option"), "{name}: {problem}");
        }
    }
}
