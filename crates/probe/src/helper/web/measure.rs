//! One request to the helper: look the name up, try every address, fetch the page (oohelperd measure.go).

use core::cell::RefCell;
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::channel::oneshot;
use futures::future::{join, join_all};
use okno_model::{Failure, is_bogon};
use url::Url;

use super::fetch::{self, Ready};
use super::protocol::{
    AddressInfo, ConnectSeen, FOUND_BY_HELPER, FOUND_BY_PROBE, HandshakeSeen, HelperRequest, HelperResponse,
    IS_BOGON, LookupSeen, VALID_FOR_DOMAIN, connect_failure, dns_failure,
};
use super::serve::HelperOptions;
use crate::dns;
use crate::experiment::Context;
use crate::http::Via;
use crate::net::{Dial, Endpoint, World};
use crate::tcp;
use crate::trace::{Scope, Trace};

/// A request in work.
pub struct Job<'a> {
    /// the network
    pub world: World,
    /// what the helper may
    pub options: &'a HelperOptions,
    /// headers of the requests for the page
    pub headers: Vec<(String, String)>,
    trace: Rc<Trace>,
}

impl Job<'_> {
    /// A scope for one operation. Nothing of the trace is kept: the answer is all that leaves the helper.
    pub fn scope(&self) -> Scope {
        Scope { world: self.world.clone(), trace: self.trace.clone(), transaction: 1, tags: Vec::new() }
    }
}

/// Why a request cannot be worked on; for the log, the client gets 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// no URL with a host
    #[error("http_request is no http or https URL with a host")]
    Url,
}

/// Works on a request.
pub async fn measure(
    world: &World,
    options: &HelperOptions,
    asked: &HelperRequest,
) -> Result<HelperResponse, BadRequest> {
    let url = Url::parse(&asked.http_request).map_err(|_| BadRequest::Url)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(BadRequest::Url);
    }
    let context = Context::new(world.clone());
    let job = Job {
        world: world.clone(),
        options,
        headers: passed_on(&asked.http_request_headers),
        trace: Trace::with_event_limit(&context, 0),
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let mut response = HelperResponse::default();
    let mut found = Vec::new();
    // An address is not looked up (oohelperd measure.go).
    let literal: Option<IpAddr> = host.parse().ok();
    let mut lookup_failure = None;
    if literal.is_none() {
        let looked = dns::lookup(&job.scope(), &options.resolver, &host).await;
        lookup_failure = looked.failure;
        found = looked.addresses;
        response.dns = LookupSeen {
            failure: lookup_failure.and_then(dns_failure).map(str::to_owned),
            addrs: found.iter().map(ToString::to_string).collect(),
        };
    }
    let known = addresses(options, asked, &found);
    let own: Vec<IpAddr> = literal.into_iter().chain(found).collect();
    let ends = endpoints(options, &url, &known);
    try_all(&job, &url, &host, &ends, (&own, lookup_failure), &mut response).await;
    if options.quic && asked.x_quic_enabled && !response.http_request.discovered_h3_endpoint.is_empty() {
        Box::pin(super::quic::over_quic(&job, &host, &ends, &mut response)).await;
    }
    for (ip, flags) in known {
        let info = AddressInfo { asn: (options.network_of)(ip), flags };
        let valid = [443, url.port_or_known_default().unwrap_or(443)].iter().any(|port| {
            let at = core::net::SocketAddr::new(ip, *port).to_string();
            response.tls_handshake.get(&at).is_some_and(|seen| seen.status)
        });
        let flags = info.flags | if valid { VALID_FOR_DOMAIN } else { 0 };
        response.ip_info.insert(ip.to_string(), AddressInfo { flags, ..info });
    }
    Ok(response)
}

/// The headers that a helper passes on (oohelperd http.go).
fn passed_on(asked: &BTreeMap<String, Vec<String>>) -> Vec<(String, String)> {
    let passes = |name: &str| {
        ["accept", "accept-language", "user-agent"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let sendable = |text: &str| text.len() <= 1_024 && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let mut headers = Vec::new();
    for (name, values) in asked.iter().filter(|(name, _)| passes(name)) {
        let values = values.iter().filter(|value| sendable(value)).take(1);
        headers.extend(values.map(|value| (name.clone(), value.clone())));
    }
    headers
}

/// Addresses that either side found, with who did (oohelperd ipinfo.go).
fn addresses(options: &HelperOptions, asked: &HelperRequest, found: &[IpAddr]) -> BTreeMap<IpAddr, u64> {
    let mut known: BTreeMap<IpAddr, u64> = BTreeMap::new();
    let named = asked.tcp_connect.iter().filter_map(|text| text.parse::<core::net::SocketAddr>().ok());
    let named = named.map(|end| (end.ip(), FOUND_BY_PROBE));
    let most = options.limits.addresses;
    // The helper's own come first, so that a long list of a probe's leaves room for them.
    for (ip, flag) in found.iter().map(|ip| (*ip, FOUND_BY_HELPER)).chain(named) {
        if known.len() < most || known.contains_key(&ip) {
            *known.entry(ip).or_default() |= flag | if is_bogon(ip) { IS_BOGON } else { 0 };
        }
    }
    known
}

/// The connection for the page: handed over by the first endpoint that stands.
struct Handover {
    give: RefCell<Option<oneshot::Sender<Result<Ready, Failure>>>>,
    /// endpoints that may still hand one over
    left: RefCell<usize>,
}

impl Handover {
    fn offer(&self, ready: Ready) {
        if let Some(give) = self.give.borrow_mut().take() {
            // The page is no longer wanted: its time is over.
            let _ = give.send(Ok(ready));
        }
    }

    /// One endpoint less; the last one's failure is the page's.
    fn failed(&self, failure: Failure) {
        let mut left = self.left.borrow_mut();
        *left = left.saturating_sub(1);
        if *left == 0
            && let Some(give) = self.give.borrow_mut().take()
        {
            let _ = give.send(Err(failure));
        }
    }
}

/// Ports that are tried (oohelperd ipinfo.go): the URL's own, or its scheme's; for HTTP also 443, which tells
/// whether an address is valid for the name.
fn ports(url: &Url) -> Vec<u16> {
    match (url.port(), url.scheme()) {
        (Some(port), _) => vec![port],
        (None, "https") => vec![443],
        (None, _) => vec![80, 443],
    }
}

/// Every address that may be contacted, at each port.
fn endpoints(options: &HelperOptions, url: &Url, known: &BTreeMap<IpAddr, u64>) -> Vec<Endpoint> {
    let may = |ip: &&IpAddr| options.private_targets || !is_bogon(**ip);
    let ports = ports(url);
    let at = |ip: &IpAddr| ports.iter().map(|port| Endpoint { ip: *ip, port: *port }).collect::<Vec<_>>();
    known.keys().filter(may).flat_map(at).collect()
}

async fn try_all(
    job: &Job<'_>,
    url: &Url,
    host: &str,
    ends: &[Endpoint],
    (own, lookup_failure): (&[IpAddr], Option<Failure>),
    response: &mut HelperResponse,
) {
    let page_port = url.port_or_known_default().unwrap_or(80);
    let bears_page = |end: &Endpoint| end.port == page_port && own.contains(&end.ip);
    let (give, take) = oneshot::channel();
    let count = ends.iter().filter(|end| bears_page(end)).count();
    let handover = Handover { give: RefCell::new(Some(give)), left: RefCell::new(count) };
    if count == 0 {
        handover.failed(lookup_failure.unwrap_or(if own.is_empty() {
            Failure::DnsNoAnswer
        } else {
            Failure::DnsBogon
        }));
    }
    let tried = ends.iter().map(|end| {
        let handover = bears_page(end).then_some(&handover);
        endpoint(job, url, host, *end, handover)
    });
    let first = async { take.await.unwrap_or(Err(Failure::Unknown)) };
    let (seen, page) = join(join_all(tried), fetch::page(job, url, first)).await;
    for (end, (connect, handshake)) in ends.iter().zip(seen) {
        response.tcp_connect.insert(end.to_string(), connect);
        response.tls_handshake.extend(handshake.map(|seen| (end.to_string(), seen)));
    }
    response.http_request = page;
}

/// One endpoint (oohelperd tcptls.go): a connect, and a handshake where it is port 443.
async fn endpoint(
    job: &Job<'_>,
    url: &Url,
    host: &str,
    remote: Endpoint,
    handover: Option<&Handover>,
) -> (ConnectSeen, Option<HandshakeSeen>) {
    let dial = Dial { patience: fetch::PATIENCE, ..Dial::to(remote) };
    let flow = match tcp::connect(&job.scope(), dial).await {
        Ok(flow) => flow,
        Err(failure) => {
            if let Some(handover) = handover {
                handover.failed(failure);
            }
            let seen = ConnectSeen { status: false, failure: Some(connect_failure(failure).to_owned()) };
            return (seen, None);
        }
    };
    let connected = ConnectSeen { status: true, failure: None };
    let over_tls = url.scheme() == "https";
    if remote.port != 443 && !over_tls {
        if let Some(handover) = handover {
            let via = Via { remote: Some(remote), alpn: String::new() };
            handover.offer(Ready { stream: Box::new(flow), via });
        }
        return (connected, None);
    }
    if remote.port != 443 && handover.is_none() {
        return (connected, None);
    }
    let shaken = fetch::shake(job, flow, remote, host).await;
    let failure = shaken.as_ref().err().copied();
    match (shaken, handover) {
        (Ok(ready), Some(handover)) => handover.offer(ready),
        (Err(failure), Some(handover)) => handover.failed(failure),
        (_, None) => {}
    }
    // Handshakes on other ports are the page's own and are not told.
    let seen = HandshakeSeen {
        server_name: host.to_owned(),
        status: failure.is_none(),
        failure: failure.map(|failure| failure.as_str().to_owned()),
    };
    (connected, (remote.port == 443).then_some(seen))
}
