//! What OONI's messenger tests share: name → connection → TLS → HTTP, and at which step it broke.
//!
//! The name is OONI's for its own shared engine (ts-027). Verdict keys of telegram, whatsapp, signal and
//! facebook_messenger are functions of how each [`Goal`] ended. Redirects are followed on the same host only:
//! a session contacts no host that it did not announce.

use core::cell::{Cell, RefCell};
use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use futures::StreamExt as _;
use okno_model::Failure;
use serde_json::{Map, Value};
use url::Url;

use crate::experiment::{Contact, Context};
use crate::net::{Dial, Endpoint, within};
use crate::trace::{Scope, Trace};
use crate::{dns, http, tcp, tls};

/// Most time for all goals of one measurement (probe-cli: 60 s in telegram, whatsapp, signal and
/// facebook_messenger).
const PATIENCE: Duration = Duration::from_secs(60);
/// Waves of goals: three waves of lookups and connects that time out after 15 s fit the minute.
const WAVES: usize = 3;
/// Most redirects that are followed (Go's client: 10).
const REDIRECTS: usize = 10;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// a round trip of HTTP
    Fetch {
        /// `GET` or `POST`
        method: &'static str,
        /// the URL
        url: String,
    },
    /// a TCP connection to a name
    Connect {
        /// the name
        host: String,
        /// the port
        port: u16,
    },
    /// a lookup
    Lookup {
        /// the name
        host: String,
    },
}

impl Goal {
    /// A GET.
    pub fn get(url: &str) -> Self {
        Self::Fetch { method: "GET", url: url.to_owned() }
    }

    /// A POST without a body.
    pub fn post(url: &str) -> Self {
        Self::Fetch { method: "POST", url: url.to_owned() }
    }

    /// A connection.
    pub fn connect(host: &str, port: u16) -> Self {
        Self::Connect { host: host.to_owned(), port }
    }

    /// A lookup.
    pub fn lookup(host: &str) -> Self {
        Self::Lookup { host: host.to_owned() }
    }

    /// The URL, where there is one.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Fetch { url, .. } => Some(url),
            _ => None,
        }
    }

    /// Whether this fetches `url`.
    pub fn is(&self, url: &str) -> bool {
        self.url() == Some(url)
    }

    /// Host and port; 0 where nothing is connected to.
    fn host(&self) -> Option<(String, u16)> {
        match self {
            Self::Connect { host, port } => Some((host.clone(), *port)),
            Self::Lookup { host } => Some((host.clone(), 0)),
            Self::Fetch { url, .. } => {
                let url = Url::parse(url).ok()?;
                let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
                Some((host, url.port_or_known_default()?))
            }
        }
    }
}

/// The hosts of goals, once each, with the word for what each is for.
pub fn contacts(goals: &[Goal], purpose: impl Fn(&Goal) -> &'static str) -> Vec<Contact> {
    let contact = |goal: &Goal| {
        let (host, port) = goal.host()?;
        let port = if port == 0 { "lookup".to_owned() } else { format!("tcp/{port}") };
        Some(Contact { host, port, purpose: purpose(goal).to_owned() })
    };
    let mut contacts: Vec<Contact> = goals.iter().filter_map(contact).collect();
    contacts.sort();
    contacts.dedup();
    contacts
}

/// The step at which a goal failed, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// the name
    Resolve,
    /// the connection
    Connect,
    /// the handshake of TLS
    Tls,
    /// request and response
    Http,
}

/// How a goal ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// where and why it failed; `None` when it did not
    pub failed: Option<(Step, Failure)>,
    /// what the name resolved to
    pub addresses: Vec<IpAddr>,
}

impl Outcome {
    /// OONI's name of the failure.
    pub fn failure_text(&self) -> Option<String> {
        self.failed.map(|(_, failure)| failure.as_str().to_owned())
    }
}

/// Whom TLS trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// the world's authorities
    World,
    /// these too, DER
    Also(Vec<Vec<u8>>),
}

/// Pursues all goals, some at a time, and gives the outcomes in the order of the goals. What is not done when
/// the minute is over failed with a timeout at the step where it stood.
pub async fn pursue_all(context: &Context, trace: &Rc<Trace>, goals: &[Goal], trust: &Trust) -> Vec<Outcome> {
    let end = context.world.now() + PATIENCE;
    let one = |goal: &Goal| {
        let (pursuit, goal) = (Pursuit::new(context, trace), goal.clone());
        async move {
            let left = end.since(context.world.now());
            let done = within(&*context.world, left, pursue(&pursuit, &goal, trust)).await;
            let failed = match done {
                Some(result) => result.err().map(|failure| (pursuit.step(), failure)),
                None => Some((pursuit.step(), Failure::GenericTimeout)),
            };
            Outcome { failed, addresses: pursuit.addresses.into_inner() }
        }
    };
    let work: Vec<_> = goals.iter().map(one).collect();
    futures::stream::iter(work).buffered(goals.len().div_ceil(WAVES).max(1)).collect().await
}

/// One goal on its way.
struct Pursuit<'a> {
    context: &'a Context,
    trace: &'a Rc<Trace>,
    step: Cell<Step>,
    addresses: RefCell<Vec<IpAddr>>,
    /// the transaction that was begun last, and with whom
    last: RefCell<Option<(Scope, Option<Endpoint>)>>,
}

impl<'a> Pursuit<'a> {
    fn new(context: &'a Context, trace: &'a Rc<Trace>) -> Self {
        let (step, addresses, last) = (Cell::new(Step::Resolve), RefCell::default(), RefCell::default());
        Self { context, trace, step, addresses, last }
    }

    /// A fresh transaction. Lookups and connections have one each: OONI's pipeline wants all events of a
    /// transaction to be of one address (`find_tls_handshake_network_events_with_transaction_id`).
    fn scope(&self, remote: Option<Endpoint>) -> Scope {
        let scope = Scope::new(self.context, self.trace, &[]);
        *self.last.borrow_mut() = Some((scope.clone(), remote));
        scope
    }

    /// Records a request that was not sent, with the lookup or connection that failed.
    fn record_unsent(&self, request: &http::Request, failure: Failure) {
        if let Some((scope, remote)) = &*self.last.borrow() {
            let via = http::Via { remote: *remote, alpn: String::new() };
            http::record_unsent(scope, &via, request, failure);
        }
    }

    fn at(&self, step: Step) {
        self.step.set(step);
    }

    fn step(&self) -> Step {
        self.step.get()
    }
}

async fn pursue(pursuit: &Pursuit<'_>, goal: &Goal, trust: &Trust) -> Result<(), Failure> {
    let (host, port) = goal.host().ok_or(Failure::Unknown)?;
    match goal {
        Goal::Lookup { .. } => resolve(pursuit, &host).await.map(|_| ()),
        Goal::Connect { .. } => open(pursuit, &host, port).await.map(|_| ()),
        Goal::Fetch { method, url } => fetch(pursuit, method, url, trust).await,
    }
}

async fn resolve(pursuit: &Pursuit<'_>, host: &str) -> Result<Vec<IpAddr>, Failure> {
    pursuit.at(Step::Resolve);
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let found = dns::lookup(&pursuit.scope(None), &dns::Resolver::System, host).await;
    if let Some(failure) = found.failure {
        return Err(failure);
    }
    pursuit.addresses.borrow_mut().extend(&found.addresses);
    Ok(found.addresses)
}

/// Connects to the first address that accepts; the failure is the first one's, as OONI's dialer has it.
async fn open(pursuit: &Pursuit<'_>, host: &str, port: u16) -> Result<(Scope, tcp::Flow), Failure> {
    let mut addresses = resolve(pursuit, host).await?;
    pursuit.at(Step::Connect);
    // IPv4 first, as OONI's dialer orders them.
    addresses.sort_by_key(IpAddr::is_ipv6);
    let mut first = None;
    for ip in addresses {
        let remote = Endpoint { ip, port };
        let scope = pursuit.scope(Some(remote));
        match tcp::connect(&scope, Dial::to(remote)).await {
            Ok(flow) => return Ok((scope, flow)),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or(Failure::DnsNoAnswer))
}

async fn fetch(pursuit: &Pursuit<'_>, method: &str, url: &str, trust: &Trust) -> Result<(), Failure> {
    let mut request = http::Request::get(url);
    method.clone_into(&mut request.method);
    for _ in 0..=REDIRECTS {
        let Ok(url) = Url::parse(&request.url) else { return Err(Failure::HttpInvalidRedirect) };
        let response = match round_trip(pursuit, &request, &url, trust).await {
            Ok(response) => response,
            Err(failure) => {
                if pursuit.step() < Step::Http {
                    pursuit.record_unsent(&request, failure);
                }
                return Err(failure);
            }
        };
        let next = response.header("location").filter(|_| matches!(response.code, 301..=303 | 307 | 308));
        let Some(next) = next.and_then(|location| url.join(location).ok()) else { return Ok(()) };
        let is_same =
            next.host_str() == url.host_str() && next.port_or_known_default() == url.port_or_known_default();
        if !is_same {
            return Ok(());
        }
        request.url = next.into();
        if response.code <= 303 {
            "GET".clone_into(&mut request.method);
        }
    }
    Ok(())
}

async fn round_trip(
    pursuit: &Pursuit<'_>,
    request: &http::Request,
    url: &Url,
    trust: &Trust,
) -> Result<http::Response, Failure> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    let (scope, flow) = open(pursuit, host, port).await?;
    let mut via = http::Via { remote: Some(flow.remote()), alpn: String::new() };
    if url.scheme() == "http" {
        pursuit.at(Step::Http);
        return http::exchange(&scope, flow, &via, request).await;
    }
    pursuit.at(Step::Tls);
    let mut options = tls::TlsOptions::web();
    if let Trust::Also(authorities) = trust {
        options.authorities.clone_from(authorities);
    }
    let remote = flow.remote();
    let stream = tls::handshake(&scope, flow, remote, host, &options).await?;
    via.alpn = stream.alpn();
    pursuit.at(Step::Http);
    http::exchange(&scope, stream, &via, request).await
}

/// The keys that all tests of OONI's engine write: its lists, `agent`, and the failure keys that stay null
/// where a test has its own (ts-027).
pub fn test_keys(trace: &Trace) -> Map<String, Value> {
    let mut keys = trace.test_keys();
    keys.remove("quic_handshakes");
    keys.insert("agent".to_owned(), "redirect".into());
    keys.insert("failed_operation".to_owned(), Value::Null);
    keys.insert("failure".to_owned(), Value::Null);
    keys
}
