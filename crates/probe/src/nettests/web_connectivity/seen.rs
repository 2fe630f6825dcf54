//! What a probe saw, as far as the verdict of web_connectivity depends on it: lookups and chains of
//! connect, handshake and page, each with what the helper saw of the same.
//!
//! This is the web observation of probe-cli's minipipeline in fewer fields. It is made from a [`Trace`] here
//! and from real measurements in the tests, so that one code judges both.

use core::net::IpAddr;
use std::collections::BTreeMap;

use okno_model::{Failure, is_bogon};

use crate::helper::web::protocol::{HelperRequest, HelperResponse};
use crate::page::title_of;
use crate::trace::{DnsRecord, HttpRecord, Trace};

/// How something ended, in OONI's words.
pub type Ended = Result<(), String>;

/// One lookup, of one record type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookup {
    /// transaction; A and AAAA of one lookup share it
    pub transaction: u64,
    /// `getaddrinfo`, `udp`, `doh`
    pub engine: String,
    /// `A`, `AAAA`, `ANY`
    pub query_type: String,
    /// name asked for
    pub hostname: String,
    /// why it failed
    pub failure: Option<String>,
    /// addresses that it gave
    pub addresses: Vec<IpAddr>,
    /// redirects before it
    pub depth: u32,
}

impl Lookup {
    /// Whether the system's resolver answered.
    pub fn is_classic(&self) -> bool {
        matches!(self.engine.as_str(), "getaddrinfo" | "golang_net_resolver")
    }
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// status code
    pub code: u16,
    /// bytes of the body, decoded
    pub length: u64,
    /// the body was cut
    pub truncated: bool,
    /// names of its headers
    pub headers: Vec<String>,
    /// title; empty when there is none
    pub title: String,
}

impl Page {
    /// No redirect: the last of its chain.
    pub const fn is_final(&self) -> bool {
        matches!(self.code / 100, 2 | 4 | 5)
    }
}

/// One connection and what it was used for.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// transaction
    pub transaction: u64,
    /// address
    pub ip: IpAddr,
    /// port
    pub port: u16,
    /// redirects before it
    pub depth: u32,
    /// tag `fetch_body`
    pub fetch_body: Option<bool>,
    /// the connect
    pub connect: Ended,
    /// the handshake and the name that it showed
    pub handshake: Option<(Ended, String)>,
    /// the page
    pub page: Option<Result<Page, String>>,
}

/// Everything seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// lookups, in the order of the list `queries`
    pub lookups: Vec<Lookup>,
    /// connections, by transaction
    pub chains: Vec<Chain>,
}

/// What the helper was asked and said.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    /// host of the URL that was asked for
    pub host: &'a str,
    /// the answer
    pub response: &'a HelperResponse,
}

impl<'a> Control<'a> {
    /// `None` when the request's URL is none.
    pub fn of(request: &HelperRequest, response: &'a HelperResponse, host: &'a mut String) -> Option<Self> {
        let url = url::Url::parse(&request.http_request).ok()?;
        *host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some(Self { host, response })
    }

    /// The helper's lookup failed or not.
    pub fn dns(&self) -> Ended {
        ended(self.response.dns.failure.as_deref())
    }

    /// The helper's page failed or not.
    pub fn page(&self) -> Ended {
        ended(self.response.http_request.failure.as_deref())
    }

    /// The helper's connect to the same endpoint.
    pub fn connect(&self, chain: &Chain) -> Option<Ended> {
        let seen = self.response.tcp_connect.get(&endpoint_text(chain.ip, chain.port))?;
        Some(ended(seen.failure.as_deref()))
    }

    /// The helper's handshake with the same endpoint and name.
    pub fn handshake(&self, chain: &Chain) -> Option<Ended> {
        let (_, name) = chain.handshake.as_ref()?;
        let seen = self.response.tls_handshake.get(&endpoint_text(chain.ip, chain.port))?;
        (seen.server_name == *name).then(|| ended(seen.failure.as_deref()))
    }

    /// Whether the helper found this address.
    pub fn found(&self, ip: IpAddr) -> bool {
        self.response.dns.addrs.iter().any(|text| text.parse() == Ok(ip))
    }

    /// Whether addresses of a lookup have one, or one network, in common with the helper's.
    pub fn agrees(&self, addresses: &[IpAddr]) -> bool {
        if addresses.iter().any(|ip| self.found(*ip)) {
            return true;
        }
        let theirs: Vec<u32> = self
            .response
            .dns
            .addrs
            .iter()
            .filter_map(|text| text.parse().ok())
            .map(|ip| self.response.asn(ip))
            .filter(|asn| *asn != 0)
            .collect();
        addresses.iter().any(|ip| theirs.contains(&self.response.asn(*ip)))
    }
}

/// A failure, or none, as an end.
pub fn ended(failure: Option<&str>) -> Ended {
    match failure {
        None | Some("") => Ok(()),
        Some(text) => Err(text.to_owned()),
    }
}

/// `ip:port`, IPv6 in brackets.
pub fn endpoint_text(ip: IpAddr, port: u16) -> String {
    core::net::SocketAddr::new(ip, port).to_string()
}

impl Seen {
    /// What the trace recorded. `too_many` are transactions that were stopped for their redirects, which
    /// df-007 has no name for.
    pub fn of(trace: &Trace, too_many: &[u64]) -> Self {
        let lookups = trace.queries().iter().filter_map(lookup).collect();
        let mut chains: BTreeMap<u64, Chain> = BTreeMap::new();
        for record in trace.tcp_connects().iter() {
            let Ok(ip) = record.ip.parse() else { continue };
            let Some(depth) = depth_of(&record.stamp.tags) else { continue };
            let chain = Chain {
                transaction: record.stamp.transaction_id,
                ip,
                port: record.port,
                depth,
                fetch_body: fetch_body_of(&record.stamp.tags),
                connect: outcome(record.status.failure),
                handshake: None,
                page: None,
            };
            chains.insert(chain.transaction, chain);
        }
        for record in trace.tls_handshakes().iter() {
            if let Some(chain) = chains.get_mut(&record.stamp.transaction_id) {
                chain.handshake = Some((outcome(record.failure), record.server_name.clone()));
            }
        }
        for record in trace.requests().iter() {
            if let Some(chain) = chains.get_mut(&record.stamp.transaction_id) {
                chain.page = Some(if too_many.contains(&chain.transaction) {
                    Err(super::TOO_MANY_REDIRECTS.to_owned())
                } else {
                    page(record)
                });
            }
        }
        Self { lookups, chains: chains.into_values().collect() }
    }

    /// What version 0.4 would have seen: the system's lookups, and the connections that follow from them
    /// or from no lookup and may fetch the page (probe-cli minipipeline/classic.go).
    pub fn classic(&self, control: Option<&Control<'_>>) -> Self {
        let lookups: Vec<Lookup> =
            self.lookups.iter().filter(|lookup| lookup.is_classic()).cloned().collect();
        let gave = |lookups: &[Lookup], ip| lookups.iter().any(|lookup| lookup.addresses.contains(&ip));
        let chains = self.chains.iter().filter(|chain| {
            let is_known = if gave(&self.lookups, chain.ip) {
                gave(&lookups, chain.ip)
            } else {
                !control.is_some_and(|control| control.found(chain.ip))
            };
            is_known && chain.fetch_body == Some(true)
        });
        let chains = chains.cloned().collect();
        Self { lookups, chains }
    }

    /// The first lookup that gave an address.
    pub fn lookup_of(&self, ip: IpAddr) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.addresses.contains(&ip))
    }
}

fn outcome(failure: Option<Failure>) -> Ended {
    failure.map_or(Ok(()), |failure| Err(failure.as_str().to_owned()))
}

fn lookup(record: &DnsRecord) -> Option<Lookup> {
    let answers = record.answers.iter().flatten();
    let address = |text: Option<&String>| text.and_then(|text| text.parse().ok());
    Some(Lookup {
        transaction: record.stamp.transaction_id,
        engine: record.engine.clone(),
        query_type: record.query_type.clone(),
        hostname: record.hostname.clone(),
        failure: record.failure.map(|failure| failure.as_str().to_owned()),
        addresses: answers.filter_map(|a| address(a.ipv4.as_ref().or(a.ipv6.as_ref()))).collect(),
        depth: depth_of(&record.stamp.tags)?,
    })
}

fn page(record: &HttpRecord) -> Result<Page, String> {
    if let Some(failure) = record.failure {
        return Err(failure.as_str().to_owned());
    }
    Ok(Page {
        code: record.code,
        length: record.response_body.len() as u64,
        truncated: record.response_truncated,
        headers: record.response_headers.iter().map(|(name, _)| name.clone()).collect(),
        title: title_of(&record.response_body).into_owned(),
    })
}

/// The number in the tag `depth=N`.
pub fn depth_of(tags: &[String]) -> Option<u32> {
    tags.iter().find_map(|tag| tag.strip_prefix("depth=")?.parse().ok())
}

/// The answer in the tag `fetch_body=…`.
pub fn fetch_body_of(tags: &[String]) -> Option<bool> {
    tags.iter().find_map(|tag| tag.strip_prefix("fetch_body=")).map(|value| value == "true")
}

/// Whether any of them cannot belong to a public service.
pub fn has_bogon(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(|ip| is_bogon(*ip))
}
