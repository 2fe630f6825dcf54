//! `torsf` (ts-030), as far as it goes without a tor binary: STUN, the broker behind its front, and a
//! volunteer's proxy up to the first flights of DTLS.
//!
//! The keys that only tor can fill (`success`, `tor_progress`, `tor_version` …) are null or empty: nothing
//! was bootstrapped and nothing is claimed. `failure` is that of the first step that failed. Each step also
//! stands in `arms`. Neither the own address nor the volunteer's is written: the request to the broker
//! carries the former, so `requests` is left out.

use core::time::Duration;
use std::rc::Rc;

use futures::future::join_all;
use okno_model::Failure;
use okno_wire::{dtls, tls::code};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::redact;
use super::snowflake::{self, Credentials, Ice, Matched, Proxy};
use crate::arm_book::ArmBook;
use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::guard;
use crate::net::{Datagrams, Dial, Endpoint, Instant, UdpSetup, World, random, receive};
use crate::net::{NetErrorKind, Task};
use crate::trace::{Scope, Trace};
use crate::{dns, http, tcp, tls};

/// The test and what it contacts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Torsf {
    /// the broker's URL: its host goes into `Host`
    pub broker: String,
    /// the name that DNS and TLS show instead
    pub front: String,
    /// STUN servers, `host:port`
    pub stun: Vec<String>,
    /// fingerprint of the bridge behind the proxies
    pub bridge: String,
}

impl Default for Torsf {
    fn default() -> Self {
        // probe-cli `internal/stuninput`, which follows Tor Browser's `pt_config.json`.
        let stun = [
            "stun.epygi.com:3478",
            "stun.uls.co.za:3478",
            "stun.voipgate.com:3478",
            "stun.mixvoip.com:3478",
            "stun.telnyx.com:3478",
            "stun.hot-chilli.net:3478",
            "stun.fitauto.ru:3478",
            "stun.m-online.net:3478",
        ];
        // probe-cli `internal/ptx/snowflake.go`, method `domain_fronting`.
        Self {
            broker: "https://1098762253.rsc.cdn77.org/".to_owned(),
            front: "www.phpmyadmin.net".to_owned(),
            stun: stun.map(str::to_owned).to_vec(),
            bridge: "2B280B23E1107BB62ABFC40DDCC8824814F80A72".to_owned(),
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether Snowflake's STUN servers, its broker and one volunteer's proxy can be reached",
    trigger: "STUN requests; an HTTPS request to the broker behind another site's name; checks of ICE and \
              DTLS to a volunteer's address",
    control: "none of its own: the steps are told apart, and eight STUN servers are compared with each other",
    logic: "each step has an arm; `failure` is that of the first step that failed (all STUN servers, the \
            broker, the proxy). A broker without a free proxy has answered: that is no failure. The proxy \
            is asked again three seconds after the hellos, since a box may fall silent after them",
    blind: "whether Tor starts: there is no tor binary, so `success` and `tor_progress` stay null. The DTLS \
            handshake is not finished, so filters that act on the ServerHello, on its size or on later \
            traffic are not seen. One proxy of thousands is tried: its own firewall or NAT looks like \
            blocking. The rendezvous by AMP cache and by SQS is not tried. Checked in the lab only, never \
            against the real broker",
    bytes: 40_000,
    seconds: 90,
    risk: Risk::High,
    risk_note: "your network sees the traffic of a Snowflake client, and the broker and one volunteer learn \
                your address, as with Tor Browser; a volunteer's place is held for some seconds",
    source: "OONI ts-030 (https://github.com/ooni/spec/blob/master/nettests/ts-030-torsf.md); Snowflake's \
             broker specification",
};

/// Waits between the sendings of a request that may be lost (RFC 8489 §6.2.1: 500 ms, doubled).
const RETRIES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How long a client waits for a proxy to open the data channel (Snowflake's client: 10 s).
const PROXY: Duration = Duration::from_secs(10);
/// How long after the hellos the proxy is asked again.
const LATER: Duration = Duration::from_secs(3);
/// How long the broker may take: it waits up to 10 s for a proxy's answer.
const BROKER: Duration = Duration::from_secs(20);

/// What one run carries along.
struct Run<'a> {
    context: &'a Context,
    trace: Rc<Trace>,
    book: ArmBook,
    socket: Rc<dyn Datagrams>,
}

/// `host:port`.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

fn world_of<'a>(run: &Run<'a>) -> &'a World {
    &run.context.world
}

impl Run<'_> {
    /// Finds where a STUN server is.
    async fn locate(&self, server: &str) -> Result<Endpoint, Failure> {
        let (host, port) = split(server).ok_or(Failure::Unknown)?;
        let scope = Scope::new(self.context, &self.trace, &[]);
        let found = dns::lookup(&scope, &dns::Resolver::System, host).await;
        let ip = found.addresses.iter().find(|ip| ip.is_ipv4()).or(found.addresses.first());
        ip.map(|ip| Endpoint { ip: *ip, port }).ok_or(found.failure.unwrap_or(Failure::DnsNoAnswer))
    }

    /// Asks all STUN servers from the one socket; gives where it is seen from outside.
    async fn stun(&self, servers: &[String]) -> Result<Vec<Endpoint>, Failure> {
        let world = world_of(self);
        let located = join_all(servers.iter().map(|server| self.locate(server))).await;
        let mut asked: Vec<([u8; 12], Option<Endpoint>)> =
            located.iter().map(|_| (random(&**world), None)).collect();
        for wait in RETRIES {
            for (end, (transaction, answer)) in located.iter().zip(&asked) {
                if let (Ok(end), None) = (end, answer) {
                    // A refusal shows as silence, and is told as such.
                    let _ = self.socket.send_to(&snowflake::binding(*transaction), *end, None);
                }
            }
            let until = world.now() + wait;
            while asked.iter().zip(&located).any(|((_, answer), end)| answer.is_none() && end.is_ok()) {
                let left = until.since(world.now());
                let Ok(datagram) = receive(&**world, &*self.socket, left).await else { break };
                if let Some(Ice::Success(transaction, Some(own))) = snowflake::ice(&datagram.bytes)
                    && let Some((_, answer)) = asked.iter_mut().find(|(id, _)| *id == transaction)
                {
                    *answer = Some(own);
                    world.saw_own_address(own.ip);
                }
            }
        }
        for (number, (server, (end, (_, answer)))) in
            servers.iter().zip(located.iter().zip(&asked)).enumerate()
        {
            let mut arm = self.book.open(format!("stun.{}", number + 1), Role::Target, "udp_exchange");
            arm.variant = "stun".to_owned();
            split(server).map(|(host, _)| host).unwrap_or_default().clone_into(&mut arm.server_name);
            match end {
                Ok(end) => arm.endpoint = end.to_string(),
                Err(failure) => arm.fail("dns", *failure),
            }
            if arm.worked() && answer.is_none() {
                arm.fail("transfer", Failure::GenericTimeout);
            }
            self.book.close(arm);
        }
        let mut own: Vec<Endpoint> = asked.iter().filter_map(|(_, answer)| *answer).collect();
        own.sort();
        own.dedup();
        let first = located.iter().find_map(|end| end.err()).unwrap_or(Failure::GenericTimeout);
        if own.is_empty() && !servers.is_empty() { Err(first) } else { Ok(own) }
    }

    /// Asks the broker for a proxy, through the front.
    async fn rendezvous(&self, test: &Torsf, offer: &str) -> Result<Matched, Failure> {
        let mut arm = self.book.open("broker", Role::Target, "http_get");
        arm.variant = "snowflake-broker".to_owned();
        arm.server_name.clone_from(&test.front);
        let scope = Scope::new(self.context, &self.trace, &[]);
        let mut step = "dns";
        let done = self.ask_broker(&scope, test, offer, &mut step, &mut arm.endpoint).await;
        match &done {
            Ok(Matched::Nobody(_)) => arm.note = "no_proxy".to_owned(),
            Ok(Matched::Proxy(_)) => arm.note = "proxy".to_owned(),
            Err(failure) => arm.fail(step, *failure),
        }
        self.book.close(arm);
        done
    }

    async fn ask_broker(
        &self,
        scope: &Scope,
        test: &Torsf,
        offer: &str,
        step: &mut &'static str,
        endpoint: &mut String,
    ) -> Result<Matched, Failure> {
        let url = Url::parse(&test.broker).and_then(|url| url.join("client"));
        let url = url.map_err(|_| Failure::Unknown)?;
        let found = dns::lookup(scope, &dns::Resolver::System, &test.front).await;
        let ip = *found.addresses.first().ok_or(found.failure.unwrap_or(Failure::DnsNoAnswer))?;
        let remote = Endpoint { ip, port: url.port_or_known_default().unwrap_or(443) };
        *endpoint = remote.to_string();
        *step = "tcp";
        let flow = tcp::connect(scope, Dial::to(remote)).await?;
        *step = "tls";
        let stream = tls::handshake(scope, flow, remote, &test.front, &tls::TlsOptions::web()).await?;
        *step = "http";
        let via = http::Via { remote: Some(remote), alpn: stream.alpn() };
        let body = snowflake::poll(offer, &test.bridge);
        let mut request = http::Request::post(url.as_str(), "text/plain", body);
        request.patience = BROKER;
        let response = http::exchange(scope, stream, &via, &request).await?;
        if response.code != 200 {
            return Err(Failure::HttpRequestFailed);
        }
        snowflake::matched(&response.body).ok_or(Failure::JsonParse)
    }

    /// Checks the way to the proxy and exchanges the first flights of DTLS with it.
    async fn meet(&self, own: &Credentials, proxy: &Proxy) -> Result<(), Failure> {
        let mut arm = self.book.open("proxy", Role::Target, "udp_exchange");
        arm.variant = "snowflake-dtls".to_owned();
        redact::SCRUBBED.clone_into(&mut arm.endpoint);
        let world = world_of(self);
        let (check, tie) = (random(&**world), random(&**world));
        let mut meeting =
            Meeting { run: self, own, proxy, check, tie, partner: None, stage: Stage::Checking };
        let done = meeting.hold().await;
        arm.note = meeting.stage.word().to_owned();
        if let Err(failure) = done {
            arm.fail(if meeting.partner.is_some() { "transfer" } else { "udp" }, failure);
        }
        self.book.close(arm);
        done
    }
}

/// How far the meeting came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// no check was answered
    Checking,
    /// a check was answered
    Checked,
    /// the proxy's first hello came
    Hello,
    /// the proxy answered what we sent: DTLS passes both ways
    Answered,
    /// some seconds later the proxy still answers
    Held,
}

impl Stage {
    const fn word(self) -> &'static str {
        match self {
            Self::Checking => "ice_unanswered",
            Self::Checked => "ice_answered",
            Self::Hello => "dtls_one_way",
            Self::Answered => "silent_after_dtls",
            Self::Held => "dtls_both_ways",
        }
    }
}

struct Meeting<'a> {
    run: &'a Run<'a>,
    own: &'a Credentials,
    proxy: &'a Proxy,
    /// transaction of the check that is out
    check: [u8; 12],
    tie: [u8; 8],
    partner: Option<Endpoint>,
    stage: Stage,
}

/// The cookie of our HelloVerifyRequest.
const COOKIE: [u8; 20] = [0x5a; 20];

impl Meeting<'_> {
    async fn hold(&mut self) -> Result<(), Failure> {
        let world = world_of(self.run);
        if self.proxy.candidates.is_empty() {
            return Err(Failure::Unknown);
        }
        let seed = u64::from_le_bytes(random(&**world));
        let end = world.now() + PROXY;
        let mut waits = RETRIES.iter();
        while world.now() < end && self.stage < Stage::Answered {
            self.send(seed);
            let wait = waits.next().copied().unwrap_or(RETRIES[2]);
            self.listen((world.now() + wait).min(end), Stage::Answered).await?;
        }
        if self.stage < Stage::Answered {
            return Err(Failure::GenericTimeout);
        }
        // A box may let the hellos pass and fall silent a little later
        // (https://github.com/net4people/bbs/issues/603): so the proxy is asked once more.
        self.listen(world.now() + LATER, Stage::Held).await?;
        self.check = random(&**world);
        for wait in RETRIES {
            self.send_check(self.partner.as_slice());
            self.listen(world.now() + wait, Stage::Held).await?;
            if self.stage == Stage::Held {
                return Ok(());
            }
        }
        Err(Failure::GenericTimeout)
    }

    /// Takes what comes until the stage is reached or the time is over.
    async fn listen(&mut self, until: Instant, goal: Stage) -> Result<(), Failure> {
        let world = world_of(self.run);
        while self.stage < goal {
            match receive(&**world, &*self.run.socket, until.since(world.now())).await {
                Ok(datagram) => self.take(datagram.from, &datagram.bytes),
                Err(error) if error.kind == NetErrorKind::TimedOut => break,
                Err(error) => return Err(error.kind.failure()),
            }
        }
        Ok(())
    }

    fn send_check(&self, to: &[Endpoint]) {
        let check = snowflake::check(self.own, &self.proxy.credentials, self.check, self.tie);
        for end in to {
            // What cannot be sent shows as silence.
            let _ = self.run.socket.send_to(&check, *end, None);
        }
    }

    /// A round of sending: checks until one is answered, then our hello if the proxy waits for one.
    fn send(&self, seed: u64) {
        match self.partner {
            None => self.send_check(&self.proxy.candidates),
            Some(partner) if self.proxy.is_passive => {
                let hello = dtls::preset::datagram(&dtls::preset::pion(seed));
                let _ = self.run.socket.send_to(&hello, partner, None);
            }
            Some(_) => {}
        }
    }

    fn take(&mut self, from: Endpoint, bytes: &[u8]) {
        match snowflake::ice(bytes) {
            Some(Ice::Request(transaction)) => {
                let answer = snowflake::check_answer(self.own, transaction, from);
                let _ = self.run.socket.send_to(&answer, from, None);
            }
            Some(Ice::Success(transaction, _)) if transaction == self.check => {
                self.partner.get_or_insert(from);
                match self.stage {
                    Stage::Checking => {
                        self.stage = Stage::Checked;
                        self.send(u64::from(from.port));
                    }
                    Stage::Answered => self.stage = Stage::Held,
                    _ => {}
                }
            }
            Some(_) => {}
            None => self.take_dtls(from, bytes),
        }
    }

    fn take_dtls(&mut self, from: Endpoint, bytes: &[u8]) {
        let Some(Ok(record)) = dtls::records(bytes).next() else { return };
        let Some(Ok(message)) = dtls::fragments(record.body).next() else { return };
        self.partner.get_or_insert(from);
        match message.kind {
            code::handshake::CLIENT_HELLO => {
                // A fragment of a hello counts; only a whole one can show our cookie.
                let cookie = dtls::client_hello_prefix(message.body).cookie.unwrap_or_default().to_vec();
                if cookie == COOKIE {
                    self.stage = self.stage.max(Stage::Answered);
                } else {
                    self.stage = self.stage.max(Stage::Hello);
                    let _ = self.run.socket.send_to(&dtls::hello_verify(&COOKIE), from, None);
                }
            }
            _ => self.stage = self.stage.max(Stage::Answered),
        }
    }
}

impl Torsf {
    /// The steps in order; the failure of the first that failed.
    async fn steps(&self, run: &Run<'_>) -> Result<(), Failure> {
        let world = world_of(run);
        let own = Credentials::of(random(&**world));
        let reflexive = run.stun(&self.stun).await;
        let ends = reflexive.as_deref().unwrap_or_default();
        let offer = snowflake::offer(&own, ends, random(&**world));
        let matched = run.rendezvous(self, &offer).await;
        let met = match &matched {
            Ok(Matched::Proxy(proxy)) => run.meet(&own, proxy).await,
            _ => Ok(()),
        };
        reflexive.map(|_| ()).and(matched.map(|_| ())).and(met)
    }
}

impl Experiment for Torsf {
    fn name(&self) -> &'static str {
        "torsf"
    }

    fn version(&self) -> &'static str {
        "0.5.1"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        let contact = |host: &str, port: String, purpose: &str| Contact {
            host: host.to_owned(),
            port,
            purpose: purpose.to_owned(),
        };
        let broker = Url::parse(&self.broker).ok().and_then(|url| url.port_or_known_default()).unwrap_or(443);
        let mut contacts =
            vec![contact(&self.front, format!("tcp/{broker}"), "Snowflake's broker, behind this name")];
        for (host, port) in self.stun.iter().filter_map(|server| split(server)) {
            contacts.push(contact(host, format!("udp/{port}"), "a STUN server"));
        }
        contacts.push(contact(
            guard::ANYWHERE,
            "udp/*".to_owned(),
            "a volunteer's proxy that the broker names",
        ));
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let socket = context.world.udp(UdpSetup::default());
            let socket = socket.map_err(|error| format!("no UDP port could be opened: {error}"))?;
            let (trace, book) = (Trace::new(context), ArmBook::new(context));
            let run = Run { context, trace, book, socket };
            let failure = self.steps(&run).await.err();
            let mut keys = run.trace.test_keys();
            // Under "requests" the offer would stand, and in it the own address.
            keys.retain(|key, _| !matches!(key.as_str(), "requests" | "quic_handshakes"));
            keys.extend(run.book.keys());
            let error = failure.map(|failure| {
                if failure == Failure::GenericTimeout { "timeout-reached" } else { "unknown-error" }
            });
            let Value::Object(specified) = json!({
                "bootstrap_time": 0.0,
                "error": error,
                "failure": failure.map(Failure::as_str),
                "persistent_datadir": false,
                "rendezvous_method": "domain_fronting",
                "success": null,
                "timeout": MANUAL.seconds as f64,
                "tor_logs": [],
                "tor_progress": null,
                "tor_progress_summary": "",
                "tor_progress_tag": "",
                "tor_version": "",
                "transport_name": "snowflake",
            }) else {
                unreachable!("the literal is an object")
            };
            keys.extend(specified);
            Ok(Value::Object(keys))
        })
    }
}
