//! The three lookups of a hop, side by side: the system's resolver, one over UDP, now and then one over HTTPS
//! (ts-017, extensions E003 and E004; probe-cli webconnectivitylte/dnsresolvers.go).

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use futures::future::{join, join_all, join3};
use okno_model::Failure;
use url::Url;

use super::measure::{DOH_BASE, Measure, SYSTEM_BASE, UDP_BASE};
use super::priority::{BY_HTTPS, BY_SYSTEM, BY_UDP, Found};
use crate::dns::{self, Answer, RecordType, Resolver};
use crate::limits;
use crate::net::Endpoint;
use crate::trace::{Scope, Trace};

/// How long a second answer over UDP is waited for (webconnectivitylte/dnsresolvers.go).
const LATE: Duration = Duration::from_millis(500);

/// Addresses of a hop, and what may still answer late.
pub struct Resolved {
    /// who found what
    pub found: Vec<Found>,
    late: Vec<Answer>,
    scope: Option<Scope>,
}

impl Resolved {
    /// Waits for late answers; they go where the scope of the lookup says.
    pub async fn late(&self) {
        if let Some(scope) = &self.scope {
            join_all(self.late.iter().map(|answer| answer.late(scope, LATE))).await;
        }
    }
}

impl Measure<'_> {
    /// Addresses of `host`: known from an earlier hop, or looked up.
    pub async fn resolve(&self, host: &str, depth: u32) -> Resolved {
        if let Ok(ip) = host.parse() {
            // An address is not looked up (ts-017, "faking is not recommended").
            let found = vec![Found { ip, by: BY_SYSTEM | BY_UDP | BY_HTTPS }];
            return Resolved { found, late: Vec::new(), scope: None };
        }
        if let Some(found) = self.known.borrow().get(host) {
            return Resolved { found: found.clone(), late: Vec::new(), scope: None };
        }
        let (system, (udp, late, scope), https) = join3(
            self.by_system(host, depth),
            self.by_udp(host, depth),
            Box::pin(self.by_https(host, depth)),
        )
        .await;
        let mut found: Vec<Found> = Vec::new();
        for (by, addresses) in [(BY_SYSTEM, system), (BY_UDP, udp), (BY_HTTPS, https)] {
            for ip in addresses {
                match found.iter_mut().find(|known| known.ip == ip) {
                    Some(known) => known.by |= by,
                    None => found.push(Found { ip, by }),
                }
            }
        }
        self.known.borrow_mut().insert(host.to_owned(), found.clone());
        Resolved { found, late, scope }
    }

    /// A scope of one lookup in a trace of its own side.
    fn lookup_scope(&self, trace: &Rc<Trace>, base: u64, depth: u32, is_classic: bool) -> Scope {
        let mut tags = vec![format!("depth={depth}")];
        if is_classic {
            tags.insert(0, "classic".to_owned());
        }
        let world = self.context.world.clone();
        Scope { world, trace: trace.clone(), transaction: self.next_id(base), tags }
    }

    /// Moves the lookups of these engines to the measurement's own list, where OONI has them.
    fn publish(&self, trace: &Trace, engines: &[&str]) {
        for record in trace.take_queries(|engine| engines.contains(&engine)) {
            self.trace.add_query(record);
        }
    }

    async fn by_system(&self, host: &str, depth: u32) -> Vec<IpAddr> {
        let scope = self.lookup_scope(&self.aside, SYSTEM_BASE, depth, true);
        let found = dns::lookup(&scope, &Resolver::System, host).await;
        self.publish(&self.aside, &["getaddrinfo"]);
        found.addresses
    }

    async fn by_udp(&self, host: &str, depth: u32) -> (Vec<IpAddr>, Vec<Answer>, Option<Scope>) {
        let Some(resolver) = self.udp_resolver else { return Default::default() };
        let resolver = Resolver::Udp(resolver);
        let scope = self.lookup_scope(&self.do53, UDP_BASE, depth, false);
        let (v4, v6) = join(
            dns::query(&scope, &resolver, host, RecordType::A),
            dns::query(&scope, &resolver, host, RecordType::AAAA),
        )
        .await;
        self.publish(&self.do53, &["udp", "tcp"]);
        let addresses = v4.addresses.iter().chain(&v6.addresses).copied().collect();
        let late = Scope { trace: self.late.clone(), ..scope };
        (addresses, vec![v4, v6], Some(late))
    }

    async fn by_https(&self, host: &str, depth: u32) -> Vec<IpAddr> {
        let Some(server) = self.options.next_doh(&self.context.world) else { return Vec::new() };
        let Ok(url) = Url::parse(&server) else { return Vec::new() };
        let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let scope = self.lookup_scope(&self.doh, DOH_BASE, depth, false);
        let from = scope.now();
        // The service's own name is part of the same four seconds.
        let first = dns::lookup(&scope, &Resolver::System, name).await;
        let left = limits::DNS.saturating_sub(scope.now().since(from));
        let port = url.port_or_known_default().unwrap_or(443);
        let Some(ip) = first.addresses.into_iter().find(|ip| self.may_contact(*ip)) else {
            let failure = first.failure.unwrap_or(Failure::DnsBogon);
            self.failed_doh(&scope, &server, host, failure);
            return Vec::new();
        };
        let resolver = Resolver::Doh { endpoint: Endpoint { ip, port }, url: server };
        let (v4, v6) = join(
            dns::query_within(&scope, &resolver, host, RecordType::A, left),
            dns::query_within(&scope, &resolver, host, RecordType::AAAA, left),
        )
        .await;
        self.publish(&self.doh, &["doh"]);
        v4.addresses.into_iter().chain(v6.addresses).collect()
    }

    /// Lookups that could not be made, since the service's own name led nowhere.
    fn failed_doh(&self, scope: &Scope, server: &str, host: &str, failure: Failure) {
        for kind in ["A", "AAAA"] {
            self.trace.add_query(crate::trace::DnsRecord {
                engine: "doh".to_owned(),
                failure: Some(failure),
                hostname: host.to_owned(),
                query_type: kind.to_owned(),
                resolver_address: server.to_owned(),
                stamp: scope.stamp(scope.now()),
                ..crate::trace::DnsRecord::default()
            });
        }
    }
}
