//! `box_location`: what breaks a handshake with a name, how soon, with whose TTL, and how far away.
//!
//! First whole handshakes with the suspected and a neutral name, each with a request: how it ended, when
//! after the hello, and where raw packets are allowed, whether a reset bears the TTL of the server's
//! SYN/ACK. Then hellos that live for one hop, two, three …: a reset from the way shows an injector and its
//! distance; where hops report the neutral name's hello and not the suspected one's, a box in the path
//! swallows it. Routers are written as prefixes.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use okno_model::Failure;
use okno_wire::packet::{PacketView, flag};
use okno_wire::tls::preset;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tlsmiddlebox::prefix;
use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Dial, Endpoint, IcmpNotice, Instant, Net, Packets, RawWatch, Task, random, sleep, within};
use crate::tcp;
use crate::tls::{self, Came, TlsOptions, first_flight, stream_failure};
use crate::trial::{Place, Trials, arm, filled, millis};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoxLocation {
    /// a name that nobody filters
    pub neutral: String,
    /// server to whom the names are shown, `host[:port]` or an address; empty is the input's own
    pub server: String,
    /// the last TTL
    pub most_hops: u8,
    /// patience with a whole hello, seconds
    pub seconds: u64,
    /// patience with a hello that does not reach the server, seconds
    pub step_seconds: u64,
    /// milliseconds from one step to the next
    pub delay_ms: u64,
}

impl Default for BoxLocation {
    /// TSPU sit within the first hops (Xue et al., TSPU, IMC 2022, §6); 20 is what tlsmiddlebox goes to.
    fn default() -> Self {
        Self {
            neutral: "www.example.com".to_owned(),
            server: String::new(),
            most_hops: 20,
            seconds: 8,
            step_seconds: 3,
            delay_ms: 100,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "what answers a forbidden name, and how many hops away",
    trigger: "TLS hellos with the suspected name, whole and with a limited TTL",
    control: "the same with a neutral name to the same address",
    logic: "a reset sooner than a round trip, or with another TTL than the server's, is injected; one \
            round trip late and with the server's TTL it is the server's own packet, changed on the way; \
            silence with the hello acknowledged or not tells dropping after from dropping at the hello; \
            the first TTL at which the names fare differently is the place",
    blind: "boxes that change answers show no place: nothing answers a hello that does not arrive; routers \
            that send no ICMP; without raw packets the TTL of a reset",
    bytes: 80_000,
    seconds: 40,
    risk: Risk::Elevated,
    risk_note: "shows a name that may be blocked some twenty times",
    source: "Xue et al., TSPU: Russia's decentralized censorship system, IMC 2022; OONI ts-037; \
             CenTrace, https://censoredplanet.org/censmap",
};

/// What raw packets told of one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    syn_ack_ttl: Option<u8>,
    reset: Option<(u8, Instant)>,
}

impl Heard {
    /// Reads what has come; the kernel sees it all the same.
    fn listen(&mut self, packets: &dyn Packets, remote: Endpoint, own_port: u16) {
        let waker = futures::task::noop_waker();
        let mut poller = core::task::Context::from_waker(&waker);
        while let core::task::Poll::Ready((at, bytes)) = packets.poll_receive(&mut poller) {
            let Ok(packet) = PacketView::parse(&bytes) else { continue };
            let Some(segment) = packet.tcp() else { continue };
            if packet.ports() != (remote.port, own_port) {
                continue;
            }
            if segment.has(flag::SYN | flag::ACK) {
                self.syn_ack_ttl.get_or_insert(packet.ttl);
            } else if segment.has(flag::RST) {
                self.reset.get_or_insert((packet.ttl, at));
            }
        }
    }
}

impl BoxLocation {
    /// The server and the suspected name.
    fn places(&self, input: &str) -> Result<(Place, Place), String> {
        let target = Place::parse(input, 443)?;
        let server = if self.server.is_empty() { target.clone() } else { Place::parse(&self.server, 443)? };
        Ok((server, target))
    }

    /// A handshake and a request over it, with all that can be seen of the way it ends. A request of a few
    /// segments is needed: some boxes let five to eight packets pass after the hello.
    async fn whole(&self, trials: &Trials<'_>, arm: Arm, to: Endpoint, name: &str) {
        let world = trials.world();
        let mut arm = arm.toward(to, name);
        let scope = trials.scope(&mut arm);
        let watch = RawWatch { remote: to.ip, protocol: 6, own_port: 0, take: false };
        let raw: Option<Rc<dyn Packets>> = world.raw(watch).ok();
        let from = world.now();
        let mut flow = match tcp::connect_detailed(&scope, Dial::to(to)).await {
            Ok(flow) => flow,
            Err(error) => {
                arm.fail("tcp", error.kind.failure());
                return trials.book.close(arm);
            }
        };
        let counters = flow.counters();
        let sent = world.now();
        arm.rtt_first_ms = Some(millis(sent.since(from)));
        let patience = Duration::from_secs(self.seconds);
        let options = TlsOptions { verify: false, patience, ..TlsOptions::http1() };
        let shaken = tls::handshake(&scope, &mut flow, to, name, &options).await;
        let failure = match shaken {
            Ok(mut stream) => {
                request(&**world, &mut stream, name, patience).await.map(|failure| ("transfer", failure))
            }
            Err(failure) => Some(("tls", failure)),
        };
        let mut heard = Heard::default();
        if let Some(raw) = &raw {
            heard.listen(&**raw, to, flow.local().port);
        }
        (arm.sent_bytes, arm.received_bytes) = (counters.sent_bytes(), counters.received_bytes());
        (arm.sent_packets, arm.received_packets) = (counters.writes(), counters.reads());
        arm.value = flow.facts().unacknowledged.map(|bytes| bytes as f64);
        if let Some((at, failure)) = failure {
            arm.fail(at, failure);
            if failure == Failure::ConnectionReset {
                let came = heard.reset.map_or_else(|| world.now(), |(_, at)| at);
                arm.rtt_ms = Some(millis(came.since(sent)));
            }
            note_of(failure, &heard).clone_into(&mut arm.note);
        }
        trials.book.close(arm);
        flow.abort();
    }

    /// One hello that lives for some hops; its routers' messages.
    async fn hello(
        &self,
        trials: &Trials<'_>,
        arm: Arm,
        to: Endpoint,
        name: &str,
        ttl: u8,
    ) -> Vec<IcmpNotice> {
        let world = trials.world();
        let mut arm = Arm { ttl: Some(ttl), ..arm.toward(to, name) };
        let scope = trials.scope(&mut arm);
        let opened = tcp::connect_detailed(&scope, Dial::to(to)).await;
        let opened = opened.and_then(|flow| flow.set_ttl(ttl).map(|()| flow));
        let mut flow = match opened {
            Ok(flow) => flow,
            Err(error) => {
                arm.fail("tcp", error.kind.failure());
                trials.book.close(arm);
                return Vec::new();
            }
        };
        let seed = u64::from_be_bytes(random(&**world));
        let flight = preset::chrome(seed, filled(name), false).emit_record();
        let span = Duration::from_secs(self.step_seconds);
        let answer = first_flight(&scope, &mut flow, &flight, span).await;
        let notices = flow.notices();
        arm.sent_packets = 1;
        arm.sent_bytes = flight.len() as u64;
        arm.received_bytes = answer.bytes.len() as u64;
        let reported = notices.iter().any(IcmpNotice::is_time_exceeded);
        let silent = answer.came == Came::Silence && reported;
        if silent { "icmp_time_exceeded" } else { answer.came.word() }.clone_into(&mut arm.note);
        if !matches!(answer.came, Came::ServerHello(_) | Came::Alert(_))
            && let Some(failure) = answer.came.failure()
        {
            arm.fail("tls", failure);
        }
        trials.book.close(arm);
        // What the kernel still sends shall not wander on as a trigger.
        flow.abort();
        notices
    }

    async fn step(&self, trials: &Trials<'_>, ttl: u8, to: Endpoint, name: &str, variant: &str) -> Hop {
        sleep(&**trials.world(), Duration::from_millis(self.delay_ms) * u32::from(ttl - 1)).await;
        let label = format!("{variant}.ttl.{ttl}");
        let mut arm = trials.book.open(label, Role::Step, "tls_handshake");
        variant.clone_into(&mut arm.variant);
        let notices = self.hello(trials, arm, to, name, ttl).await;
        let router = notices.iter().find(|notice| notice.is_time_exceeded()).map(|notice| notice.from);
        Hop { ttl, router }
    }

    async fn steps(&self, trials: &Trials<'_>, to: Endpoint, name: &str, variant: &str) -> Value {
        let steps = (1..=self.most_hops).map(|ttl| self.step(trials, ttl, to, name, variant));
        let hops = futures::future::join_all(steps).await;
        Value::Array(hops.iter().map(Hop::json).collect())
    }

    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let (server, target) = self.places(input)?;
        let trials = Trials::new(context);
        let ip = match trials.resolve(&server).await {
            Ok(ip) => ip,
            Err(failure) => {
                let mut unresolved = arm(&trials.book, "target", Role::Target, 0, "tls_handshake");
                unresolved.endpoint = format!("{}:{}", server.host, server.port);
                unresolved.fail("dns", failure);
                trials.book.close(unresolved);
                return Ok(trials.keys());
            }
        };
        let end = Endpoint { ip, port: server.port };
        let (name, neutral) = (target.name(), self.neutral.as_str());
        for round in 0..2 {
            let control = arm(&trials.book, "neutral", Role::NeutralName, round, "tls_handshake");
            self.whole(&trials, control, end, neutral).await;
            let whole = arm(&trials.book, "target", Role::Target, round, "tls_handshake");
            self.whole(&trials, whole, end, &target.host).await;
        }
        let control = self.steps(&trials, end, neutral, "neutral").await;
        let target = self.steps(&trials, end, name, "target").await;
        let mut keys = trials.keys();
        keys["hops"] = json!({"neutral": control, "target": target});
        Ok(keys)
    }
}

/// One word for the end; for a reset, whose TTL it bears where that was heard.
fn note_of(failure: Failure, heard: &Heard) -> &'static str {
    match (failure, heard.syn_ack_ttl, heard.reset) {
        (Failure::ConnectionReset, Some(own), Some((ttl, _))) if own == ttl => "rst_server_ttl",
        (Failure::ConnectionReset, Some(_), Some(_)) => "rst_other_ttl",
        (Failure::ConnectionReset, ..) => "rst",
        (Failure::GenericTimeout, ..) => "silence",
        (Failure::Eof, ..) => "eof",
        // Certificates are not judged here: what breaks a handshake is an alert or no TLS at all.
        (Failure::SslFailedHandshake, ..) => "alert",
        _ => "failed",
    }
}

/// GETs with 4,000 bytes of header each (half of what common servers take), one after another, and the first
/// bytes of their answers. A server may close after the first; silence or a reset at any of them is an end.
async fn request<S>(net: &dyn Net, stream: &mut S, name: &str, patience: Duration) -> Option<Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\nX-Padding: {}\r\n\r\n", "0".repeat(4_000));
    for round in 0..3 {
        let work = async {
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            stream.read(&mut [0; 16_384]).await
        };
        match within(net, patience, work).await {
            Some(Ok(0)) => return (round == 0).then_some(Failure::Eof),
            Some(Ok(_)) => {}
            // Who closes with data of ours unread sends a reset (RFC 9293 §3.10.4): after an answer it is
            // the server's way to end, and the box under search would have acted at the hello.
            Some(Err(error)) => {
                let failure = stream_failure(&error);
                return (round == 0 || failure == Failure::GenericTimeout).then_some(failure);
            }
            None => return Some(Failure::GenericTimeout),
        }
    }
    None
}

/// Who reported a hello at one TTL.
struct Hop {
    ttl: u8,
    router: Option<IpAddr>,
}

impl Hop {
    fn json(&self) -> Value {
        json!({"ttl": self.ttl, "router": self.router.map(prefix)})
    }
}

impl Experiment for BoxLocation {
    fn name(&self) -> &'static str {
        "box_location"
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let places = input.and_then(|input| self.places(input).ok());
        places.iter().map(|(server, _)| server.contact("TLS hellos, whole and with a limited TTL")).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("box_location needs a name or a URL, like https://site.example/")?;
            self.measure(context, input).await
        })
    }
}
