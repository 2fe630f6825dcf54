//! `facebook_messenger` (ts-019): seven names, whether they resolve into Facebook's network and connect.
//!
//! OONI asks a routing table for the AS of each address. A probe of ours carries no table, so Facebook's
//! prefixes are part of the configuration, and answers within them are written with AS 32934.

use std::collections::BTreeMap;

use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};

use super::urlgetter::{self, Goal, Outcome, Step};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::Task;
use crate::trace::Trace;

/// Facebook's AS (ts-019).
const ASN: u32 = 32_934;

/// Addresses that share leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Whether an address lies in it.
    pub fn holds(&self, ip: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                bits == 0 || (own.to_bits() ^ other.to_bits()) >> (32 - bits) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                bits == 0 || (own.to_bits() ^ other.to_bits()) >> (128 - bits) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no prefix such as 157.240.0.0/16");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits): (IpAddr, u8) =
            (address.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The test and what it contacts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct FacebookMessenger {
    /// host by the key's part, `b_api` …; `stun` is looked up and not connected to
    pub services: BTreeMap<String, String>,
    /// port of those that are connected to
    pub port: u16,
    /// Facebook's network
    pub networks: Vec<Prefix>,
}

/// Names of ts-019, by the part of the key.
const SERVICES: [(&str, &str); 7] = [
    ("b_api", "b-api.facebook.com"),
    ("b_graph", "b-graph.facebook.com"),
    ("edge", "edge-mqtt.facebook.com"),
    ("external_cdn", "external.xx.fbcdn.net"),
    ("scontent_cdn", "scontent.xx.fbcdn.net"),
    ("star", "star.c10r.facebook.com"),
    ("stun", "stun.fbsbx.com"),
];

/// Prefixes that AS 32934 announces, aggregated (RIPEstat announced-prefixes and the registries' entries of
/// Facebook: https://stat.ripe.net/AS32934).
const NETWORKS: [&str; 19] = [
    "31.13.24.0/21",
    "31.13.64.0/18",
    "45.64.40.0/22",
    "57.141.0.0/16",
    "57.144.0.0/14",
    "66.220.144.0/20",
    "69.63.176.0/20",
    "69.171.224.0/19",
    "74.119.76.0/22",
    "102.132.96.0/20",
    "103.4.96.0/22",
    "129.134.0.0/16",
    "157.240.0.0/16",
    "163.70.128.0/17",
    "173.252.64.0/18",
    "179.60.192.0/22",
    "185.60.216.0/22",
    "204.15.20.0/22",
    "2a03:2880::/32",
];

impl Default for FacebookMessenger {
    fn default() -> Self {
        Self {
            services: SERVICES.map(|(key, host)| (key.to_owned(), host.to_owned())).into(),
            port: 443,
            networks: NETWORKS.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether Facebook Messenger's names resolve into Facebook's network and accept connections",
    trigger: "the names of Facebook's servers in DNS, and their addresses",
    control: "the prefixes that Facebook's network (AS 32934) announces",
    logic: "DNS blocking when a name does not resolve or resolves elsewhere; TCP blocking when an address of \
            Facebook's does not accept a connection",
    blind: "TLS is not spoken, so blocking by server name is not seen; a cache of Facebook's inside the \
            operator's network has an address outside Facebook's prefixes and looks like a false answer; the \
            list of prefixes ages",
    bytes: 10_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "your network sees that you contact Facebook; where Facebook is forbidden that may be held \
                against you",
    source: "OONI ts-019 (https://github.com/ooni/spec/blob/master/nettests/ts-019-facebook-messenger.md)",
};

/// The keys of one service: consistent, reachable.
type Keys = (Option<bool>, Option<bool>);

impl FacebookMessenger {
    fn goal(&self, key: &str, host: &str) -> Goal {
        if key == "stun" { Goal::lookup(host) } else { Goal::connect(host, self.port) }
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|prefix| prefix.holds(ip))
    }

    fn judge(&self, outcome: &Outcome) -> Keys {
        match outcome.failed {
            Some((Step::Resolve, _)) => (Some(false), None),
            _ if !outcome.addresses.iter().all(|ip| self.is_own(*ip)) => (Some(false), None),
            Some((Step::Connect, _)) => (Some(true), Some(false)),
            _ => (Some(true), Some(true)),
        }
    }

    fn write<'a>(
        &self,
        results: impl IntoIterator<Item = (&'a str, &'a Outcome)>,
        keys: &mut Map<String, Value>,
    ) {
        let (mut dns_blocking, mut tcp_blocking) = (false, false);
        for (service, outcome) in results {
            let (consistent, mut reachable) = self.judge(outcome);
            dns_blocking |= consistent == Some(false);
            tcp_blocking |= reachable == Some(false);
            if service == "stun" {
                // Only looked up (ts-019: always null).
                reachable = None;
            }
            keys.insert(format!("facebook_{service}_dns_consistent"), json!(consistent));
            keys.insert(format!("facebook_{service}_reachable"), json!(reachable));
        }
        keys.insert("facebook_dns_blocking".to_owned(), json!(dns_blocking));
        keys.insert("facebook_tcp_blocking".to_owned(), json!(tcp_blocking));
    }

    /// Writes AS 32934 into answers of Facebook's network.
    fn name_networks(&self, keys: &mut Map<String, Value>) {
        let Some(Value::Array(queries)) = keys.get_mut("queries") else { return };
        for answer in
            queries.iter_mut().filter_map(|query| query.get_mut("answers")?.as_array_mut()).flatten()
        {
            let ip = ["ipv4", "ipv6"].iter().find_map(|key| answer.get(key)?.as_str()?.parse().ok());
            if let (Some(ip), Value::Object(map)) = (ip, answer)
                && self.is_own(ip)
            {
                map.insert("asn".to_owned(), json!(ASN));
            }
        }
    }
}

impl Experiment for FacebookMessenger {
    fn name(&self) -> &'static str {
        "facebook_messenger"
    }

    fn version(&self) -> &'static str {
        "0.2.1"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        let goals: Vec<Goal> = self.services.iter().map(|(key, host)| self.goal(key, host)).collect();
        urlgetter::contacts(&goals, |_| "a server of Facebook Messenger")
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let trace = Trace::new(context);
            let goals: Vec<Goal> = self.services.iter().map(|(key, host)| self.goal(key, host)).collect();
            let outcomes = urlgetter::pursue_all(context, &trace, &goals, &urlgetter::Trust::World).await;
            let mut keys = urlgetter::test_keys(&trace);
            self.write(self.services.keys().map(String::as_str).zip(&outcomes), &mut keys);
            self.name_networks(&mut keys);
            Ok(Value::Object(keys))
        })
    }
}

#[cfg(test)]
mod tests {
    use okno_model::Failure;

    use super::*;

    fn at(address: &str, failed: Option<(Step, Failure)>) -> Outcome {
        Outcome { failed, addresses: vec![address.parse().unwrap()] }
    }

    #[test]
    fn every_prefix_of_the_list_is_read() {
        assert_eq!(FacebookMessenger::default().networks.len(), NETWORKS.len());
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
        assert!("10.0.0.0".parse::<Prefix>().is_err());
        assert!("0.0.0.0/0".parse::<Prefix>().unwrap().holds("9.9.9.9".parse().unwrap()));
    }

    #[test]
    fn an_address_elsewhere_is_inconsistent_and_says_nothing_of_tcp() {
        let test = FacebookMessenger::default();
        assert_eq!(test.judge(&at("10.1.2.3", None)), (Some(false), None));
        assert_eq!(test.judge(&at("157.240.1.1", None)), (Some(true), Some(true)));
        let silent = Some((Step::Connect, Failure::GenericTimeout));
        assert_eq!(test.judge(&at("2a03:2880:f1::1", silent)), (Some(true), Some(false)));
        let unknown = Outcome { failed: Some((Step::Resolve, Failure::DnsNxDomain)), addresses: Vec::new() };
        assert_eq!(test.judge(&unknown), (Some(false), None));
    }

    #[test]
    fn stun_is_never_said_to_be_reachable() {
        let mut keys = Map::new();
        FacebookMessenger::default().write([("stun", &at("157.240.1.1", None))], &mut keys);
        assert_eq!(keys["facebook_stun_reachable"], Value::Null);
        assert_eq!(keys["facebook_tcp_blocking"], false);
    }
}
