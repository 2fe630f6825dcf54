//! Version 0.4: the system's resolver alone, connects to find out whether addresses answer, then one client
//! that fetches the page and follows redirects as a whole (probe-cli webconnectivity/webconnectivity.go).
//!
//! Its records have no transactions and few tags, so which connection carried which request is not told;
//! readers of the archive live with that, and lab scenarios with older probes need it.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use futures::future::join_all;
use okno_model::Failure;
use serde_json::{Map, Value, json};
use url::Url;

use super::measure::{Hop, control_request};
use super::older_verdict::{OldRequest, OldSeen, judge};
use super::priority::{BY_SYSTEM, Found};
use super::seen::{Control, Page};
use super::{NO_HELPER, TOO_MANY_REDIRECTS, WebConnectivity};
use crate::cookies::Cookies;
use crate::dns::{self, Resolver};
use crate::experiment::Context;
use crate::helper::web::protocol::{HelperRequest, HelperResponse};
use crate::helper::web::{Ask, ask};
use crate::http::{Request, Response, Via, exchange, record_unsent};
use crate::net::{Dial, Endpoint, within};
use crate::page::title_of;
use crate::redirect;
use crate::tcp;
use crate::tls::{self, TlsOptions};
use crate::trace::{HttpRecord, Scope, Trace};

/// Most time for all (webconnectivity.go).
const PATIENCE: Duration = Duration::from_secs(60);
/// Most redirects (Go's net/http client).
const REDIRECTS: usize = 10;
/// Most network events of the connects; there are no transactions to count by.
const EVENTS: usize = 512;

struct Older<'a> {
    context: &'a Context,
    options: &'a WebConnectivity,
    /// lookups and connects
    trace: Rc<Trace>,
    /// the page's requests; its connections are not written
    pages: Rc<Trace>,
    too_many: core::cell::Cell<bool>,
}

/// Measures as version 0.4 does.
pub async fn measure(context: &Context, options: &WebConnectivity, url: Url) -> Value {
    let trace = Trace::with_event_limit(context, EVENTS);
    let pages = trace.beside(0);
    let older = Older { context, options, trace, pages, too_many: core::cell::Cell::new(false) };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let mut runtimes = Map::new();
    let mut timed = |name: &str, from: okno_wire::Instant| {
        let nanos = context.world.now().since(from).as_nanos();
        runtimes.insert(format!("x_{name}_runtime"), u64::try_from(nanos).unwrap_or(u64::MAX).into());
    };
    let mut from = context.world.now();
    let end = from + PATIENCE;
    let found = dns::lookup(&older.scope(&older.trace, &[]), &Resolver::System, &host).await;
    timed("dns", from);
    from = context.world.now();
    let addresses = &found.addresses;
    let (asked, answered) = older.ask_helper(&url, addresses).await;
    timed("th", from);
    from = context.world.now();
    older.connects(&url, &host, addresses).await;
    timed("tcptls", from);
    from = context.world.now();
    let mut failure = None;
    if !addresses.is_empty() {
        let left = end.since(context.world.now());
        let work = Box::pin(older.fetch(url, addresses));
        failure = within(&*context.world, left, work).await.unwrap_or(Err(Failure::GenericTimeout)).err();
    }
    timed("http", from);
    older.keys(&host, found.failure, addresses, (&asked, &answered), failure, runtimes)
}

impl Older<'_> {
    fn scope(&self, trace: &Rc<Trace>, tags: &[&str]) -> Scope {
        Scope {
            world: self.context.world.clone(),
            trace: trace.clone(),
            transaction: 0,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    fn may_contact(&self, ip: IpAddr) -> bool {
        !ip.is_loopback() && (self.options.private_targets || !okno_model::is_bogon(ip))
    }

    async fn ask_helper(
        &self,
        url: &Url,
        addresses: &[IpAddr],
    ) -> (Option<HelperRequest>, Result<HelperResponse, Option<Failure>>) {
        let Some(helper) = self.context.helper.as_deref() else { return (None, Err(None)) };
        let found: Vec<Found> = addresses.iter().map(|ip| Found { ip: *ip, by: BY_SYSTEM }).collect();
        let hop = Hop { url: url.clone(), referer: String::new(), depth: 0 };
        let request = control_request(&hop, &found);
        let whom = Ask { url: helper, addresses: &self.context.helper_addresses };
        let answer = ask(self.context, whom, &request).await.map_err(Some);
        (Some(request), answer)
    }

    /// Connects to every address at the URL's port, with a handshake for https.
    async fn connects(&self, url: &Url, host: &str, addresses: &[IpAddr]) {
        let port = url.port_or_known_default().unwrap_or(80);
        let one = |ip: &IpAddr| {
            let remote = Endpoint { ip: *ip, port };
            let scope = self.scope(&self.trace, &["tcptls_experiment"]);
            Box::pin(async move {
                let Ok(flow) = tcp::connect(&scope, Dial::to(remote)).await else { return };
                if url.scheme() == "https" {
                    // The record tells how it went.
                    let _ = tls::handshake(&scope, flow, remote, host, &TlsOptions::web()).await;
                }
            })
        };
        let may = |ip: &&IpAddr| self.may_contact(**ip);
        join_all(addresses.iter().filter(may).take(self.options.most_addresses).map(one)).await;
    }

    /// Fetches the page and what it sends on to, with a cookie jar.
    async fn fetch(&self, mut url: Url, known: &[IpAddr]) -> Result<(), Failure> {
        let mut cookies = Cookies::default();
        for sent_on in 0..=REDIRECTS {
            let mut request = Request::get(url.as_str());
            request.headers.extend(cookies.header(&url).map(|value| ("Cookie".to_owned(), value)));
            request.patience = PATIENCE;
            let scope = self.scope(&self.pages, &[]);
            let known = if sent_on == 0 { Some(known) } else { None };
            let answer = self.round_trip(&scope, &url, known, &request).await?;
            for (name, value) in &answer.headers {
                if name.eq_ignore_ascii_case("set-cookie") {
                    cookies.keep(&url, &String::from_utf8_lossy(value));
                }
            }
            match redirect::target(&url, &answer)? {
                Some(next) => url = next,
                None => return Ok(()),
            }
        }
        self.too_many.set(true);
        Err(Failure::Unknown)
    }

    async fn round_trip(
        &self,
        scope: &Scope,
        url: &Url,
        known: Option<&[IpAddr]>,
        request: &Request,
    ) -> Result<Response, Failure> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let unsent = |failure| {
            record_unsent(scope, &Via::default(), request, failure);
            failure
        };
        let addresses = match known {
            Some(known) => known.to_vec(),
            None => {
                // Lookups of redirects are not written by this version.
                let found = dns::lookup(scope, &Resolver::System, host).await;
                if let Some(failure) = found.failure {
                    return Err(unsent(failure));
                }
                found.addresses
            }
        };
        let port = url.port_or_known_default().unwrap_or(80);
        // What cannot be contacted at all is told as no route.
        let mut failure = Failure::NetworkUnreachable;
        for ip in addresses.into_iter().filter(|ip| self.may_contact(*ip)) {
            let remote = Endpoint { ip, port };
            let flow = match tcp::connect(scope, Dial::to(remote)).await {
                Ok(flow) => flow,
                Err(other) => {
                    failure = other;
                    continue;
                }
            };
            let via = Via { remote: Some(remote), alpn: String::new() };
            if url.scheme() == "http" {
                return exchange(scope, flow, &via, request).await;
            }
            let stream =
                tls::handshake(scope, flow, remote, host, &TlsOptions::web()).await.map_err(unsent)?;
            let via = Via { alpn: stream.alpn(), ..via };
            return exchange(scope, stream, &via, request).await;
        }
        Err(unsent(failure))
    }

    fn keys(
        &self,
        host: &str,
        lookup_failure: Option<Failure>,
        addresses: &[IpAddr],
        (asked, answered): (&Option<HelperRequest>, &Result<HelperResponse, Option<Failure>>),
        failure: Option<Failure>,
        runtimes: Map<String, Value>,
    ) -> Value {
        let mut own_host = String::new();
        let control = asked.as_ref().zip(answered.as_ref().ok());
        let control = control.and_then(|(asked, said)| Control::of(asked, said, &mut own_host));
        self.trace.judge_tcp(|record| {
            let end = super::seen::endpoint_text(record.ip.parse().ok()?, record.port);
            let theirs = control.as_ref()?.response.tcp_connect.get(&end)?;
            Some(theirs.failure.is_none() && record.status.failure.is_some())
        });
        let text = |failure: Failure| failure.as_str().to_owned();
        let http_failure = match failure {
            Some(_) if self.too_many.get() => Some(TOO_MANY_REDIRECTS.to_owned()),
            other => other.map(text),
        };
        let connects = self.trace.tcp_connects();
        let requests = self.pages.requests();
        let mut requests: Vec<_> = requests.iter().rev().map(request_of).collect();
        // The client gives up as a whole, so the last answer bears its failure.
        if let Some(last) = requests.first_mut() {
            last.failure = last.failure.take().or_else(|| http_failure.clone());
        }
        let seen = OldSeen {
            host: host.to_owned(),
            lookup_failure: lookup_failure.map(text),
            addresses: addresses.to_vec(),
            attempts: connects.len(),
            successes: connects.iter().filter(|record| record.status.success).count(),
            requests,
        };
        drop(connects);
        let verdict = judge(&seen, control.as_ref());
        if !self.options.bodies {
            self.pages.forget_bodies();
        }
        let mut keys = self.trace.test_keys();
        keys.remove("quic_handshakes");
        let mut pages = self.pages.test_keys().remove("requests").unwrap_or_default();
        if let (Some(failure), Some(last)) = (&http_failure, pages.get_mut(0)) {
            last["failure"] = failure.clone().into();
        }
        keys.insert("requests".to_owned(), pages);
        keys.extend(own_keys(seen.lookup_failure.as_deref(), answered, http_failure.as_deref()));
        keys.extend(runtimes);
        verdict.write(&mut keys);
        age(&mut keys);
        Value::Object(keys)
    }
}

/// Keys of the test itself, beside the records.
fn own_keys(
    lookup_failure: Option<&str>,
    answered: &Result<HelperResponse, Option<Failure>>,
    http_failure: Option<&str>,
) -> Map<String, Value> {
    let control_failure = match answered {
        Ok(_) => Value::Null,
        Err(None) => NO_HELPER.into(),
        Err(Some(failure)) => failure.as_str().into(),
    };
    let own = json!({
        "agent": "redirect",
        "client_resolver": "127.0.0.2",
        "retries": null,
        "socksproxy": null,
        "dns_experiment_failure": lookup_failure,
        "control_failure": control_failure,
        "control": answered.as_ref().ok(),
        "http_experiment_failure": http_failure,
    });
    match own {
        Value::Object(own) => own,
        _ => Map::new(),
    }
}

/// Takes away what records of that time did not have: readers join them by address, name and order.
fn age(keys: &mut Map<String, Value>) {
    const YOUNGER: [(&str, &[&str]); 5] = [
        ("queries", &["t0", "transaction_id", "rcode", "raw_response"]),
        ("tcp_connect", &["t0", "transaction_id"]),
        ("tls_handshakes", &["t0", "transaction_id", "network"]),
        ("network_events", &["t0", "transaction_id"]),
        ("requests", &["t0", "transaction_id", "network", "address", "alpn"]),
    ];
    for (list, younger) in YOUNGER {
        let records = keys.get_mut(list).and_then(Value::as_array_mut);
        for record in records.into_iter().flatten().filter_map(Value::as_object_mut) {
            record.retain(|key, _| !younger.contains(&key.as_str()));
        }
    }
}

fn request_of(record: &HttpRecord) -> OldRequest {
    OldRequest {
        url: record.url.clone(),
        failure: record.failure.map(|failure| failure.as_str().to_owned()),
        page: Page {
            code: record.code,
            length: record.response_body.len() as u64,
            truncated: record.response_truncated,
            headers: record.response_headers.iter().map(|(name, _)| name.clone()).collect(),
            title: title_of(&record.response_body).into_owned(),
        },
    }
}
