//! `dnscheck` (ts-028): whether a resolver over UDP, TCP, TLS or HTTPS works, at each of its addresses.
//!
//! The input is the resolver's URL: `udp://dns.example:53`, `tcp://…`, `dot://dns.example`,
//! `https://dns.example/dns-query`. Unlike OONI's engine this one cannot show one name to TLS and another to
//! HTTP; `residual` waits are the session's pacing.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use futures::StreamExt as _;
use okno_model::{Failure, is_bogon};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::urlgetter;
use crate::dns::{self, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Task, within};
use crate::trace::{Scope, Trace};

/// Most time for one address (probe-cli dnscheck.go).
const PATIENCE: Duration = Duration::from_secs(15);
/// Addresses at a time (probe-cli dnscheck.go).
const AT_ONCE: usize = 10;
/// Most addresses of one resolver.
const MOST: usize = 32;

/// The test.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct DnsCheck {
    /// name to look up
    pub domain: String,
    /// addresses of the resolver that are tried beside those that its name has, separated by blanks
    pub default_addrs: String,
    /// whether private and other special addresses are contacted too: for tests in own networks
    pub private_targets: bool,
}

impl Default for DnsCheck {
    fn default() -> Self {
        // probe-cli dnscheck.go, defaultDomain
        Self { domain: "example.org".to_owned(), default_addrs: String::new(), private_targets: false }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a resolver works, over UDP, TCP, TLS or HTTPS, at each of its addresses",
    trigger: "the resolver's name in DNS and TLS, its addresses, and the protocol",
    control: "none of its own: the addresses are compared with each other, and with other networks",
    logic: "an address that cannot be connected to, breaks off in the handshake or does not answer fails at \
            that step",
    blind: "whether answers are true: only one harmless name is asked for; an outage of the resolver looks \
            like interference until other networks are compared",
    bytes: 30_000,
    seconds: 45,
    risk: Risk::Elevated,
    risk_note: "your network sees that you contact this resolver; some forbid resolvers other than their own",
    source: "OONI ts-028 (https://github.com/ooni/spec/blob/master/nettests/ts-028-dnscheck.md)",
};

/// A resolver's URL, read.
struct Target {
    url: Url,
    host: String,
    port: u16,
}

impl Target {
    fn of(input: Option<&str>) -> Result<Self, String> {
        const FORMS: &str =
            "such as udp://9.9.9.9:53, tcp://9.9.9.9, dot://dns.example or https://dns.example/dns-query";
        let text = input.ok_or_else(|| format!("needs a resolver's URL, {FORMS}"))?;
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL, {FORMS}: {error}"))?;
        let port = match url.scheme() {
            "https" => 443,
            "dot" => 853,
            "udp" | "tcp" => 53,
            other => return Err(format!("{other:?} is no way to ask a resolver, {FORMS}")),
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(format!("{text:?} names no host, {FORMS}"));
        }
        let port = url.port().unwrap_or(port);
        Ok(Self { url, host, port })
    }

    fn resolver(&self, ip: IpAddr) -> Resolver {
        let endpoint = Endpoint { ip, port: self.port };
        match self.url.scheme() {
            "udp" => Resolver::Udp(endpoint),
            "tcp" => Resolver::Tcp(endpoint),
            "dot" => Resolver::Dot { endpoint, name: self.host.clone() },
            _ => Resolver::Doh { endpoint, url: self.url.to_string() },
        }
    }

    /// The key of one address: the URL with the address in place of the name (dnscheck.go, makeResolverURL).
    fn key(&self, ip: IpAddr) -> String {
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}://{host}{port}{}{query}", self.url.scheme(), self.url.path())
    }
}

impl DnsCheck {
    /// Addresses of the resolver by its name, with what is written of that.
    async fn bootstrap(
        &self,
        context: &Context,
        trace: &Rc<Trace>,
        target: &Target,
    ) -> (Vec<IpAddr>, Value, Option<Failure>) {
        if let Ok(ip) = target.host.parse() {
            return (vec![ip], Value::Null, None);
        }
        let own = trace.beside(0);
        let scope = Scope { trace: own.clone(), ..Scope::new(context, trace, &[]) };
        let found = dns::lookup(&scope, &Resolver::System, &target.host).await;
        let mut keys = urlgetter::test_keys(&own);
        keys.insert("agent".to_owned(), "".into());
        // A lookup that gives special addresses is a failed one (dnscheck.go, BogonIsError).
        let special = !self.private_targets && found.addresses.iter().any(|ip| is_bogon(*ip));
        let failure = if special { Some(Failure::DnsBogon) } else { found.failure };
        let addresses = if failure.is_some() { Vec::new() } else { found.addresses };
        (addresses, Value::Object(keys), failure)
    }

    async fn lookup(
        &self,
        context: &Context,
        trace: &Rc<Trace>,
        target: &Target,
        ip: IpAddr,
    ) -> (String, Value) {
        let own = trace.beside(crate::limits::EVENTS);
        let scope = Scope { trace: own.clone(), ..Scope::new(context, trace, &[]) };
        let resolver = target.resolver(ip);
        let work = dns::lookup(&scope, &resolver, &self.domain);
        let done = within(&*context.world, PATIENCE, work).await;
        let failure = match done {
            None => Some(Failure::GenericTimeout),
            // An answer with special addresses counts as none (dnscheck.go, RejectDNSBogons).
            Some(found) if found.addresses.iter().any(|ip| is_bogon(*ip)) && !self.private_targets => {
                Some(Failure::DnsBogon)
            }
            Some(found) => found.failure,
        };
        let key = target.key(ip);
        for mut record in own.take_queries(|_| true) {
            if matches!(resolver, Resolver::Doh { .. }) {
                record.resolver_address.clone_from(&key);
            }
            own.add_query(record);
        }
        let mut keys = urlgetter::test_keys(&own);
        keys.insert("failure".to_owned(), failure.map(Failure::as_str).into());
        keys.insert("failed_operation".to_owned(), failure.map(|_| failed_operation(&own)).into());
        (key, Value::Object(keys))
    }

    async fn check(&self, context: &Context, target: Target) -> Value {
        let trace = Trace::new(context);
        let (found, bootstrap, bootstrap_failure) = self.bootstrap(context, &trace, &target).await;
        let given = self.default_addrs.split_whitespace().filter_map(|text| text.parse().ok());
        let addresses: BTreeSet<IpAddr> = found.into_iter().chain(given).collect();
        let may = |ip: &IpAddr| self.private_targets || !is_bogon(*ip);
        let work = addresses
            .into_iter()
            .filter(may)
            .take(MOST)
            .map(|ip| Box::pin(self.lookup(context, &trace, &target, ip)));
        let lookups: Map<String, Value> = futures::stream::iter(work).buffered(AT_ONCE).collect().await;
        json!({
            "domain": self.domain,
            "x_default_addrs": self.default_addrs,
            "x_residual": false,
            "bootstrap": bootstrap,
            "bootstrap_failure": bootstrap_failure.map(Failure::as_str),
            "lookups": lookups,
        })
    }
}

/// The step that failed, in the words of OONI's engine (probe-cli netxlite/operations.go).
fn failed_operation(trace: &Trace) -> &'static str {
    if trace.tcp_connects().iter().any(|record| record.status.failure.is_some()) {
        "connect"
    } else if trace.tls_handshakes().iter().any(|record| record.failure.is_some()) {
        "tls_handshake"
    } else {
        "resolve"
    }
}

impl Experiment for DnsCheck {
    fn name(&self) -> &'static str {
        "dnscheck"
    }

    fn version(&self) -> &'static str {
        "0.9.3"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let Ok(target) = Target::of(input) else { return Vec::new() };
        let transport = if target.url.scheme() == "udp" { "udp" } else { "tcp" };
        let port = format!("{transport}/{}", target.port);
        let given = self.default_addrs.split_whitespace().map(str::to_owned);
        let contact = |host: String| Contact {
            host,
            port: port.clone(),
            purpose: "the resolver under test".to_owned(),
        };
        given.chain([target.host.clone()]).map(contact).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move { Ok(self.check(context, Target::of(input)?).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_address_is_the_url_with_the_address_in_it() {
        let key = |url: &str, ip: &str| Target::of(Some(url)).unwrap().key(ip.parse().unwrap());
        assert_eq!(key("dot://dns.google:853", "8.8.8.8"), "dot://8.8.8.8:853");
        assert_eq!(key("dot://dns.google:853", "2001:4860:4860::8844"), "dot://[2001:4860:4860::8844]:853");
        assert_eq!(key("https://dns.google/dns-query", "8.8.8.8"), "https://8.8.8.8/dns-query");
        assert_eq!(key("udp://[2620:fe::fe]", "2620:fe::fe"), "udp://[2620:fe::fe]");
    }

    #[test]
    fn an_input_that_is_no_resolver_is_refused_with_an_example() {
        for wrong in [None, Some("http://dns.example/"), Some("dns.example"), Some("udp:///x")] {
            assert!(Target::of(wrong).err().unwrap().contains("udp://9.9.9.9:53"), "{wrong:?}");
        }
    }
}
