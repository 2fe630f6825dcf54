//! What TCP tests of our own try, one function a kind of arm.
//!
//! Every trial takes a fresh source port. A hello is answered when any TLS record comes back, alerts
//! included: the question is whether it arrived, not whether the server likes the name.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use futures::future::{Either, select};
use okno_model::Failure;
use okno_wire::Endpoint;
use okno_wire::tls::preset;
use serde_json::Value;
use url::{Host, Url};

use crate::arm_book::ArmBook;
use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context};
use crate::flow::{self, Ending, Limits, Series};
use crate::helper::partner;
use crate::helper::replay::{self, Play, Played, Request, Talk};
use crate::net::{Dial, World, random, sleep, within};
use crate::tcp;
use crate::tls::{self, Came, Sni, TlsOptions, first_flight};
use crate::trace::{Scope, TcpRecord, TcpStatus, Trace};

/// Where to go: a name or address, a port, a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// name or address, without brackets
    pub host: String,
    /// port
    pub port: u16,
    /// path and query of a URL, `/` otherwise
    pub path: String,
    /// whether a URL said `http`
    pub plain: bool,
}

impl Place {
    /// From a URL, `host:port`, or a host alone (then with `port`).
    pub fn parse(text: &str, port: u16) -> Result<Self, String> {
        let wrong = || format!("{text}: not a URL, a host or HOST:PORT; give one like https://site.example/");
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}/") };
        let url = Url::parse(&full).map_err(|_| wrong())?;
        let host = match url.host().ok_or_else(wrong)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let own = if text.contains("://") { url.port_or_known_default() } else { url.port() };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self { host, port: own.unwrap_or(port), path, plain: url.scheme() == "http" })
    }

    /// The host as an address, when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The name for a hello; empty when the host is an address.
    pub fn name(&self) -> &str {
        if self.address().is_some() { "" } else { &self.host }
    }

    /// As a contact over TCP.
    pub fn contact(&self, purpose: &str) -> Contact {
        contact(&self.host, &format!("tcp/{}", self.port), purpose)
    }
}

/// A contact.
pub fn contact(host: &str, port: &str, purpose: &str) -> Contact {
    Contact { host: host.to_owned(), port: port.to_owned(), purpose: purpose.to_owned() }
}

/// One measurement's trials: the book of arms and OONI's lists beside it.
pub struct Trials<'a> {
    /// what the test runs in
    pub context: &'a Context,
    /// OONI's lists
    pub trace: Rc<Trace>,
    /// arms
    pub book: ArmBook,
}

impl<'a> Trials<'a> {
    /// None yet.
    pub fn new(context: &'a Context) -> Self {
        Self { context, trace: Trace::new(context), book: ArmBook::new(context) }
    }

    /// The network.
    pub const fn world(&self) -> &'a World {
        &self.context.world
    }

    /// An address of the place, IPv4 before IPv6.
    pub async fn resolve(&self, place: &Place) -> Result<IpAddr, Failure> {
        if let Some(ip) = place.address() {
            return Ok(ip);
        }
        let mut found = self.world().lookup(&place.host).await?;
        found.sort_by_key(IpAddr::is_ipv6);
        found.first().copied().ok_or(Failure::DnsNoAnswer)
    }

    /// The partner that consents: an address and port from the test's options, else the helper's first
    /// address and a partner's usual port.
    pub fn partner(&self, option: &str) -> Option<Endpoint> {
        if let Ok(end) = option.parse() {
            return Some(end);
        }
        let ip = *self.context.helper_addresses.first()?;
        Some(Endpoint { ip, port: partner::PORT })
    }

    /// A scope with a fresh transaction, which is written into the arm.
    pub fn scope(&self, arm: &mut Arm) -> Scope {
        let scope = Scope::new(self.context, &self.trace, &[]);
        arm.transaction_id = scope.transaction;
        scope
    }

    /// Connects, says Firefox's hello and waits for anything of TLS. The arm's name, role and round are
    /// given; what came stands in its note, and whether the stack saw the hello acknowledged in `value`
    /// (bytes that were not). Chrome's is on lists of fingerprints that are filtered or counted
    /// (https://github.com/net4people/bbs/issues/546), and would be a cause of its own.
    pub async fn hello(&self, arm: Arm, to: Endpoint, name: &str, patience: Duration) {
        let flight = preset::firefox(u64::from_le_bytes(random(&**self.world())), filled(name), false);
        self.first_flight(arm, to, name, &[&flight.emit_record()], Duration::ZERO, patience).await;
    }

    /// The same with Chrome's hello.
    pub async fn chrome_hello(&self, arm: Arm, to: Endpoint, name: &str, patience: Duration) {
        let flight = preset::chrome(u64::from_le_bytes(random(&**self.world())), filled(name), false);
        self.first_flight(arm, to, name, &[&flight.emit_record()], Duration::ZERO, patience).await;
    }

    /// The same with chosen bytes, in pieces, `gap` apart.
    pub async fn first_flight(
        &self,
        arm: Arm,
        to: Endpoint,
        name: &str,
        pieces: &[&[u8]],
        gap: Duration,
        patience: Duration,
    ) {
        let mut arm = arm.toward(to, name);
        let scope = self.scope(&mut arm);
        let dial = Dial { patience, ..Dial::to(to) };
        let from = self.world().now();
        let mut stream = match tcp::connect_detailed(&scope, dial).await {
            Ok(stream) => stream,
            Err(error) => {
                arm.fail("tcp", error.kind.failure());
                return self.book.close(arm);
            }
        };
        arm.rtt_first_ms = Some(millis(self.world().now().since(from)));
        let (last, first) = pieces.split_last().map_or((&[][..], &[][..]), |(last, first)| (*last, first));
        for piece in first {
            let _ = flow::write_all(&**self.world(), &mut stream, piece, patience).await;
            arm.sent_packets += 1;
            arm.sent_bytes += piece.len() as u64;
            sleep(&**self.world(), gap).await;
        }
        let answer = first_flight(&scope, &mut stream, last, patience).await;
        arm.sent_packets += 1;
        arm.sent_bytes += last.len() as u64;
        arm.received_bytes = answer.bytes.len() as u64;
        arm.received_packets = stream.counters().reads();
        arm.note = answer.came.word().to_owned();
        arm.value = stream.facts().unacknowledged.map(|bytes| bytes as f64);
        if !matches!(answer.came, Came::ServerHello(_) | Came::Alert(_))
            && let Some(failure) = answer.came.failure()
        {
            arm.fail("tls", failure);
        }
        self.book.close(arm);
        stream.abort();
    }

    /// Plays a replay with the partner on a connection of its own, and measures round trips to the same end
    /// beside it: by connects, which wait in the same queues and are no part of the flow.
    pub async fn replay(&self, arm: Arm, to: Endpoint, what: &Play<'_>) -> Arm {
        let mut arm = arm.toward(to, what.name.unwrap_or_default());
        let scope = self.scope(&mut arm);
        let from = self.world().now();
        let dial = Dial { patience: what.patience, ..Dial::to(to) };
        let connected = self.world().connect(dial).await;
        let failure = connected.as_ref().err().map(|error| error.kind.failure());
        self.trace.add_tcp(TcpRecord {
            ip: to.ip.to_string(),
            port: to.port,
            status: TcpStatus { blocked: None, failure, success: failure.is_none() },
            stamp: scope.stamp(from),
        });
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                arm.fail("tcp", error.kind.failure());
                return arm;
            }
        };
        arm.rtt_first_ms = Some(millis(self.world().now().since(from)));
        let mut talk = Talk::new(stream, what.inverted);
        let mut beside = Vec::new();
        let played = {
            let play = Box::pin(replay::play(&**self.world(), &mut talk, what));
            let side = Box::pin(self.round_trips(to, &mut beside));
            match select(play, side).await {
                Either::Left((played, _)) => played,
                Either::Right(((), play)) => play.await,
            }
        };
        arm.rtt_ms = median(&mut beside);
        let sent = talk.stream().facts().unacknowledged;
        fill(&mut arm, &played, sent, &what.request);
        self.book.keep(&arm.name, &played.series);
        arm
    }

    /// Connects to `to` every second, for ever, and keeps the times in milliseconds.
    async fn round_trips(&self, to: Endpoint, times: &mut Vec<f64>) {
        loop {
            sleep(&**self.world(), Duration::from_secs(1)).await;
            let from = self.world().now();
            let dial = Dial { patience: Duration::from_secs(4), ..Dial::to(to) };
            if let Some(Ok(stream)) =
                within(&**self.world(), Duration::from_secs(4), self.world().connect(dial)).await
            {
                times.push(millis(self.world().now().since(from)));
                stream.abort();
            }
        }
    }

    /// Fetches a page, or sends `up` bytes to it, over TLS (certificates are not the question) or in the
    /// clear, and keeps the arrivals. A page that ends before `want` bytes is complete.
    pub async fn web(&self, arm: Arm, to: Endpoint, place: &Place, what: &Fetch) -> Arm {
        let shown = what.other_name.as_deref().unwrap_or(place.name());
        let mut arm = arm.toward(to, if place.plain { "" } else { shown });
        let scope = self.scope(&mut arm);
        let from = self.world().now();
        let dial = Dial { patience: what.patience, ..Dial::to(to) };
        let flow = match tcp::connect_detailed(&scope, dial).await {
            Ok(flow) => flow,
            Err(error) => {
                arm.fail("tcp", error.kind.failure());
                return arm;
            }
        };
        arm.rtt_first_ms = Some(millis(self.world().now().since(from)));
        let counters = flow.counters();
        counters.keep_progress();
        let mut series = Series::new(self.world().now());
        let ending = if place.plain {
            let mut flow = flow;
            self.request(&mut flow, place, what, &mut series).await
        } else {
            let sni = what.other_name.clone().map_or(Sni::Same, Sni::Other);
            let options = TlsOptions { sni, verify: false, patience: what.patience, ..TlsOptions::http1() };
            match tls::handshake(&scope, flow, to, &place.host, &options).await {
                Ok(mut stream) => self.request(&mut stream, place, what, &mut series).await,
                Err(failure) => {
                    arm.fail("tls", failure);
                    arm.received_bytes = counters.received_bytes();
                    return arm;
                }
            }
        };
        arm.received_bytes = counters.received_bytes();
        arm.sent_bytes = counters.sent_bytes();
        (arm.received_packets, arm.sent_packets) = (counters.reads(), counters.writes());
        if what.up == 0 {
            // The wire's bytes: TLS gives nothing of a record that is not whole.
            let ended = series.ended();
            series = Series::of_totals(series.began(), &counters.progress());
            series.end(ended);
            arm.value = series.idle_share(Duration::from_millis(100));
        }
        arm.goodput = series.goodput();
        arm.note = ending.word().to_owned();
        if let Some(failure) = ending.failure() {
            arm.fail("transfer", failure);
        }
        self.book.keep(&arm.name, &series);
        arm
    }

    /// One request over an open stream, and its answer to the end that is wanted.
    async fn request<S>(&self, stream: &mut S, place: &Place, what: &Fetch, series: &mut Series) -> Ending
    where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin,
    {
        let net = &**self.world();
        let head = match what.up {
            0 => format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", place.path, place.host),
            up => format!(
                "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {up}\r\n\r\n",
                place.path, place.host
            ),
        };
        if let Err(ending) = flow::write_all(net, stream, head.as_bytes(), what.patience).await {
            return ending;
        }
        *series = Series::new(net.now());
        if what.up == 0 {
            let ending = flow::take(net, stream, what.want, what.limits, series).await;
            return if ending == Ending::Closed && series.bytes() > 0 { Ending::Complete } else { ending };
        }
        let mut block = vec![0; 4_096];
        net.fill_random(&mut block);
        match flow::give(net, stream, &block, what.up, what.limits, series).await {
            // Any answer shows that the bytes came, a refusal too; the stack's taking them shows nothing.
            Ending::Complete => flow::take(net, stream, 1, what.limits, &mut Series::new(net.now())).await,
            ending => ending,
        }
    }

    /// Echo requests, one a 100 ms; loss in the arm, the median of the round trips too.
    pub async fn pings(&self, mut arm: Arm, to: IpAddr, count: u64, len: usize) {
        arm.endpoint = to.to_string();
        let mut times = Vec::new();
        let mut failure = None;
        for _ in 0..count {
            match self.world().ping(to, None, len, Duration::from_secs(2)).await {
                Ok(echo) if echo.reached => times.push(millis(echo.rtt)),
                Ok(_) => failure = Some(Failure::HostUnreachable),
                Err(error) => failure = Some(error.kind.failure()),
            }
            sleep(&**self.world(), Duration::from_millis(100)).await;
        }
        arm.sent_packets = count;
        arm.sent_bytes = count * len as u64;
        arm.received_packets = times.len() as u64;
        arm.loss = Some(1.0 - times.len() as f64 / count.max(1) as f64);
        arm.rtt_ms = median(&mut times);
        if arm.received_packets == 0
            && let Some(failure) = failure
        {
            arm.fail("ping", failure);
        }
        self.book.close(arm);
    }

    /// The test keys.
    pub fn keys(self) -> Value {
        let mut keys = self.trace.test_keys();
        keys.extend(self.book.keys());
        Value::Object(keys)
    }
}

/// What is asked of a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// bytes of the answer, head included, after which enough has come
    pub want: u64,
    /// bytes to send as a POST; 0 is a GET
    pub up: u64,
    /// name in the hello in the place of the page's own
    pub other_name: Option<String>,
    /// patience with each step before the transfer
    pub patience: Duration,
    /// limits of the transfer
    pub limits: Limits,
}

/// What came of a replay, in an arm. `value` is the share of 100 ms in which nothing came.
fn fill(arm: &mut Arm, played: &Played, unacknowledged: Option<usize>, request: &Request) {
    let up = matches!(request, Request::Up(_));
    let bytes = played.series.bytes();
    let (sent, received) = if up { (bytes, 0) } else { (0, bytes) };
    arm.sent_bytes = sent.saturating_sub(unacknowledged.unwrap_or(0) as u64);
    arm.received_bytes = received;
    *(if up { &mut arm.sent_packets } else { &mut arm.received_packets }) = played.series.reads() as u64;
    arm.goodput = played.series.goodput();
    arm.value = played.series.idle_share(Duration::from_millis(100));
    arm.note = played.ending.word().to_owned();
    if let Some(failure) = played.ending.failure() {
        arm.fail(played.failed_at, failure);
    } else if played.ending == Ending::OutOfTime && bytes == 0 {
        arm.fail(played.failed_at, Failure::GenericTimeout);
    }
}

/// `None` for an empty text.
pub fn filled(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

/// Milliseconds, to the microsecond.
pub fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// The middle one; `None` without any.
pub fn median(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// An arm of a role, named by its label and round.
pub fn arm(book: &ArmBook, label: &str, role: Role, round: u32, operation: &str) -> Arm {
    Arm { round, ..book.open(format!("{label}.{round}"), role, operation) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_urls_hosts_and_ends() {
        let place = |text: &str| Place::parse(text, 443).map(|p| (p.host, p.port, p.path, p.plain));
        assert_eq!(place("https://a.example/x?y"), Ok(("a.example".into(), 443, "/x?y".into(), false)));
        assert_eq!(place("http://a.example"), Ok(("a.example".into(), 80, "/".into(), true)));
        assert_eq!(place("192.0.2.1:8443"), Ok(("192.0.2.1".into(), 8443, "/".into(), false)));
        assert_eq!(place("a.example"), Ok(("a.example".into(), 443, "/".into(), false)));
        assert!(place("").is_err() && place("a b").is_err());
        assert_eq!(Place::parse("192.0.2.1", 1).map(|p| p.name().to_owned()), Ok(String::new()));
    }

    #[test]
    fn the_median_of_none_is_none() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
    }
}
