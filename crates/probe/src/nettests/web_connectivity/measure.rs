//! One measurement of web_connectivity 0.5: hops, their lookups, the helper, connections, the page
//! (ts-017; probe-cli webconnectivitylte).
//!
//! A hop is one future that holds those of its connections; a redirect is a hop inside the connection that
//! fetched it, so it runs beside what is left of the first hop, as in OONI's probe.

use core::cell::{Cell, RefCell};
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::{join, join_all};
use okno_model::{Failure, is_bogon};
use url::Url;

use super::WebConnectivity;
use super::priority::{BY_SYSTEM, Found, LogLine, Priority};
use crate::cookies::Cookies;
use crate::experiment::Context;
use crate::helper::web::protocol::{HelperRequest, HelperResponse};
use crate::helper::web::{Ask, ask};
use crate::http::{self, Request, Via, exchange};
use crate::limits;
use crate::net::{Dial, Endpoint, Task, below};
use crate::quic::{self, QuicOptions};
use crate::redirect;
use crate::tcp::{self, Counters};
use crate::tls::{self, TlsOptions};
use crate::trace::{NetworkEvent, Scope, Trace};

/// First transaction ids, less one (webconnectivitylte/idgenerator.go).
pub const SYSTEM_BASE: u64 = 10_000;
/// Lookups over UDP.
pub const UDP_BASE: u64 = 20_000;
/// Lookups over HTTPS.
pub const DOH_BASE: u64 = 30_000;
/// Connections in the clear.
const CLEAR_BASE: u64 = 40_000;
/// Connections with TLS.
const SECURE_BASE: u64 = 50_000;
/// QUIC handshakes; ours.
const QUIC_BASE: u64 = 60_000;
/// Limit of a connect, a handshake and a round trip, each (webconnectivitylte/secureflow.go).
const PATIENCE: Duration = Duration::from_secs(10);
/// Most redirects (webconnectivitylte/measurer.go).
const REDIRECTS: u32 = 10;
/// Time between two snapshots of received bytes (probe-cli throttling/throttling.go: 250 ms on average).
const SNAPSHOT: Duration = Duration::from_millis(250);

/// A page on the way to the last one.
#[derive(Clone, Debug)]
pub struct Hop {
    /// its URL
    pub url: Url,
    /// URL of the page that sent us here; empty for the first
    pub referer: String,
    /// redirects before it
    pub depth: u32,
}

/// What the helper was asked and said.
#[derive(Debug, Default)]
pub struct Helped {
    /// the question
    pub request: Option<HelperRequest>,
    /// the answer
    pub response: Option<HelperResponse>,
    /// why there is none
    pub failure: Option<Failure>,
}

/// A measurement in work.
pub struct Measure<'a> {
    /// where it runs
    pub context: &'a Context,
    /// how
    pub options: &'a WebConnectivity,
    /// what stands in the measurement's own lists
    pub trace: Rc<Trace>,
    /// what is not written
    pub aside: Rc<Trace>,
    /// the UDP lookups' own events
    pub do53: Rc<Trace>,
    /// the HTTPS lookups' own connections
    pub doh: Rc<Trace>,
    /// late answers
    pub late: Rc<Trace>,
    /// the resolver over UDP of this measurement
    pub udp_resolver: Option<Endpoint>,
    /// addresses of hosts
    pub known: RefCell<BTreeMap<String, Vec<Found>>>,
    /// `x_conn_priority_log`
    pub log: RefCell<Vec<LogLine>>,
    /// snapshots of received bytes
    pub snapshots: RefCell<Vec<NetworkEvent>>,
    /// transactions that were sent on too often
    pub too_many: RefCell<Vec<u64>>,
    /// the helper's part
    pub helped: RefCell<Helped>,
    ids: RefCell<BTreeMap<u64, u64>>,
    cookies: RefCell<Cookies>,
    sent_on: Cell<u32>,
}

impl<'a> Measure<'a> {
    /// Begins now.
    pub fn new(context: &'a Context, options: &'a WebConnectivity) -> Self {
        let trace = Trace::new(context);
        let resolvers = &options.udp_resolvers;
        let chosen = below(&*context.world, resolvers.len() as u64);
        let udp_resolver = usize::try_from(chosen).ok().and_then(|index| resolvers.get(index));
        Self {
            context,
            options,
            aside: trace.beside(0),
            do53: trace.beside(limits::EVENTS),
            doh: trace.beside(limits::EVENTS),
            late: trace.beside(0),
            trace,
            udp_resolver: udp_resolver.and_then(|text| text.parse().ok()),
            known: RefCell::default(),
            log: RefCell::default(),
            snapshots: RefCell::default(),
            too_many: RefCell::default(),
            helped: RefCell::default(),
            ids: RefCell::default(),
            cookies: RefCell::default(),
            sent_on: Cell::new(0),
        }
    }

    /// The next transaction id of a kind.
    pub fn next_id(&self, base: u64) -> u64 {
        let mut ids = self.ids.borrow_mut();
        let last = ids.entry(base).or_insert(base);
        *last += 1;
        *last
    }

    /// Whether an address may be connected to. Loopback never (ooni/probe#2397); special addresses only in
    /// own networks: OONI's probe tries those too, which reaches into the network of the person who runs it.
    pub fn may_contact(&self, ip: IpAddr) -> bool {
        !ip.is_loopback() && (self.options.private_targets || !is_bogon(ip))
    }

    /// Measures a hop and all that follow from it.
    pub fn hop(&self, hop: Hop) -> Task<'_, ()> {
        Box::pin(async move {
            let host = hop.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let resolved = self.resolve(&host, hop.depth).await;
            let priority = Priority::new(&self.context.world, &self.trace, &self.log, resolved.found.clone());
            let connections = self.connections(&hop, &host, &resolved.found, &priority);
            let helper = async {
                if hop.depth == 0 {
                    Box::pin(self.ask_helper(&hop, &host, &resolved.found, &priority)).await;
                }
            };
            join(join(connections, resolved.late()), helper).await;
        })
    }

    /// Tries addresses: in the clear where the URL is, with TLS in any case (ts-017, extension E001).
    async fn connections(&self, hop: &Hop, host: &str, found: &[Found], priority: &Priority<'_>) {
        let is_clear = hop.url.scheme() == "http";
        let port = hop.url.port();
        let found: Vec<&Found> =
            found.iter().filter(|f| self.may_contact(f.ip)).take(self.options.most_addresses).collect();
        let clear = found.iter().filter(|_| is_clear).map(|found| {
            let remote = Endpoint { ip: found.ip, port: port.unwrap_or(80) };
            Box::pin(self.clear(hop, **found, remote, priority)) as Task<'_, ()>
        });
        // Of http://site:8080/ nobody knows where its HTTPS is.
        let secure = found.iter().filter(|_| !is_clear || port.is_none()).map(|found| {
            let remote = Endpoint { ip: found.ip, port: port.unwrap_or(443) };
            let priority = (!is_clear).then_some(priority);
            Box::pin(self.secure(hop, host, **found, remote, priority)) as Task<'_, ()>
        });
        let quic = found.iter().filter(|_| self.options.quic && !is_clear).map(|found| {
            let remote = Endpoint { ip: found.ip, port: port.unwrap_or(443) };
            let scope = self.scope(hop, **found, QUIC_BASE, false);
            Box::pin(async move {
                // The record tells how it went.
                let _ = quic::handshake(&scope, remote, host, &QuicOptions::default()).await;
            }) as Task<'_, ()>
        });
        join_all(clear.chain(secure).chain(quic)).await;
    }

    fn scope(&self, hop: &Hop, found: Found, base: u64, fetches: bool) -> Scope {
        let mut tags = Vec::with_capacity(4);
        if found.by & BY_SYSTEM != 0 {
            tags.push("classic".to_owned());
        }
        if hop.depth == 0 {
            tags.push("tcptls_experiment".to_owned());
        }
        tags.push(format!("depth={}", hop.depth));
        tags.push(format!("fetch_body={fetches}"));
        let world = self.context.world.clone();
        Scope { world, trace: self.trace.clone(), transaction: self.next_id(base), tags }
    }

    async fn clear(&self, hop: &Hop, found: Found, remote: Endpoint, priority: &Priority<'_>) {
        let scope = self.scope(hop, found, CLEAR_BASE, true);
        let from = scope.now();
        let Ok(flow) = tcp::connect(&scope, dial(remote)).await else { return };
        let counters = flow.counters();
        counters.keep_progress();
        if priority.may_fetch(remote.ip, remote.port).await {
            let via = Via { remote: Some(remote), alpn: String::new() };
            Box::pin(self.fetch(hop, &scope, flow, &via, (from, &counters))).await;
        } else {
            self.snapshot(&scope, remote, from, &counters);
        }
    }

    async fn secure(
        &self,
        hop: &Hop,
        host: &str,
        found: Found,
        remote: Endpoint,
        priority: Option<&Priority<'_>>,
    ) {
        let scope = self.scope(hop, found, SECURE_BASE, priority.is_some());
        let from = scope.now();
        let Ok(flow) = tcp::connect(&scope, dial(remote)).await else { return };
        let counters = flow.counters();
        counters.keep_progress();
        let options = TlsOptions { patience: PATIENCE, ..TlsOptions::web() };
        if let Ok(stream) = tls::handshake(&scope, flow, remote, host, &options).await
            && let Some(priority) = priority
            && priority.may_fetch(remote.ip, remote.port).await
        {
            let via = Via { remote: Some(remote), alpn: stream.alpn() };
            return Box::pin(self.fetch(hop, &scope, stream, &via, (from, &counters))).await;
        }
        self.snapshot(&scope, remote, from, &counters);
    }

    /// Fetches the page, and what it sends on to.
    async fn fetch<S>(
        &self,
        hop: &Hop,
        scope: &Scope,
        stream: S,
        via: &Via,
        (from, counters): (okno_wire::Instant, &Counters),
    ) where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin + 'static,
    {
        let answer = exchange(scope, stream, via, &self.request(hop)).await;
        if let Some(remote) = via.remote {
            self.snapshot(scope, remote, from, counters);
        }
        let Ok(answer) = answer else { return };
        for (name, value) in &answer.headers {
            if name.eq_ignore_ascii_case("set-cookie") {
                self.cookies.borrow_mut().keep(&hop.url, &String::from_utf8_lossy(value));
            }
        }
        match redirect::target(&hop.url, &answer) {
            Ok(None) => {}
            Err(failure) => self.trace.amend_request(scope.transaction, failure),
            Ok(Some(_)) if self.sent_on.get() >= REDIRECTS => {
                self.trace.amend_request(scope.transaction, Failure::Unknown);
                self.too_many.borrow_mut().push(scope.transaction);
            }
            Ok(Some(mut url)) => {
                self.sent_on.set(self.sent_on.get() + 1);
                bare(&mut url);
                let next = Hop { url, referer: hop.url.to_string(), depth: hop.depth + 1 };
                self.hop(next).await;
            }
        }
    }

    /// The request as OONI's probe sends it, header by header.
    fn request(&self, hop: &Hop) -> Request {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut request = Request::get(hop.url.as_str());
        request.headers = vec![
            header("Accept", http::ACCEPT),
            header("Accept-Language", http::ACCEPT_LANGUAGE),
            header("Host", &http::authority(hop.url.as_str())),
            header("Referer", &hop.referer),
            header("User-Agent", http::USER_AGENT),
        ];
        let cookie = self.cookies.borrow().header(&hop.url);
        request.headers.extend(cookie.map(|value| ("Cookie".to_owned(), value)));
        request.patience = PATIENCE;
        request
    }

    /// Writes how many bytes had come, four times a second and at the end (probe-cli throttling.go): a
    /// transfer that is slowed shows in them.
    fn snapshot(&self, scope: &Scope, remote: Endpoint, from: okno_wire::Instant, counters: &Counters) {
        let progress = counters.progress();
        let end = scope.now();
        let total_at = |at: okno_wire::Instant| {
            progress.iter().rev().find(|(when, _)| *when <= at).map_or(0, |(_, total)| *total)
        };
        let mut at = from + SNAPSHOT;
        let mut events = self.snapshots.borrow_mut();
        loop {
            let is_last = at >= end;
            let when = if is_last { end } else { at };
            let num_bytes = total_at(when);
            if num_bytes > 0 {
                events.push(NetworkEvent {
                    address: remote.to_string(),
                    failure: None,
                    num_bytes,
                    operation: "bytes_received_cumulative".to_owned(),
                    proto: "tcp".to_owned(),
                    stamp: scope.stamp_between(when, when),
                });
            }
            if is_last {
                return;
            }
            at = at + SNAPSHOT;
        }
    }

    /// Asks the helper, and tries addresses that it alone found (ts-017, extension E005).
    async fn ask_helper(&self, hop: &Hop, host: &str, found: &[Found], priority: &Priority<'_>) {
        let Some(helper) = self.context.helper.as_deref() else { return };
        let mut request = control_request(hop, found);
        request.x_quic_enabled = self.options.quic;
        self.helped.borrow_mut().request = Some(request.clone());
        let whom = Ask { url: helper, addresses: &self.context.helper_addresses };
        match ask(self.context, whom, &request).await {
            Err(failure) => self.helped.borrow_mut().failure = Some(failure),
            Ok(response) => {
                let new = response.dns.addrs.iter().filter_map(|text| text.parse().ok());
                let new: Vec<Found> = new
                    .filter(|ip| !found.iter().any(|known| known.ip == *ip))
                    .map(|ip| Found { ip, by: 0 })
                    .collect();
                self.helped.borrow_mut().response = Some(response);
                self.connections(hop, host, &new, priority).await;
            }
        }
    }
}

const fn dial(remote: Endpoint) -> Dial {
    Dial { remote, own_port: None, ttl: None, patience: PATIENCE }
}

/// A URL without what is not sent: its fragment, and names and passwords.
pub fn bare(url: &mut Url) {
    url.set_fragment(None);
    // These fail for URLs without a host, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// What the helper is asked (webconnectivitylte/control.go): 443 and 80 of each address, or the URL's port.
pub fn control_request(hop: &Hop, found: &[Found]) -> HelperRequest {
    let ports = hop.url.port().map_or(vec![443, 80], |port| vec![port]);
    let ends = found.iter().flat_map(|found| {
        let end = |port: &u16| Endpoint { ip: found.ip, port: *port }.to_string();
        ports.iter().map(end).collect::<Vec<_>>()
    });
    let headers = [
        ("Accept", http::ACCEPT),
        ("Accept-Language", http::ACCEPT_LANGUAGE),
        ("User-Agent", http::USER_AGENT),
    ];
    HelperRequest {
        http_request: hop.url.to_string(),
        http_request_headers: headers
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .into_iter()
            .collect(),
        tcp_connect: ends.collect(),
        x_quic_enabled: false,
    }
}
