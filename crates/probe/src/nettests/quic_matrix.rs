//! `quic_matrix`: which part of a first QUIC datagram makes it disappear: version, name or port?
//!
//! Initials by hand to one server, each from a fresh port: with the suspected name and a neutral one, in
//! version 1, in version 2, and in a version that forces negotiation; TCP with the suspected name beside.

use core::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Task, sleep};
use crate::quic::{FirstInitial, first_initial};
use crate::trial::{Place, Trials, arm, contact, filled, millis};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuicMatrix {
    /// a name that nobody filters
    pub neutral: String,
    /// QUIC server to whom the names are shown, `host[:port]` or an address; empty is the input's own
    pub server: String,
    /// a second port on which that server speaks QUIC; 0 leaves the question open
    pub other_port: u16,
    /// patience with each datagram, seconds, in which it is sent three times
    pub seconds: u64,
    /// how often the suspected name is tried, each time from a fresh port
    pub rounds: u32,
}

impl Default for QuicMatrix {
    /// Three tries within 4 s bring loss of 5 % below one in 8,000; a blocked 4-tuple does not count again,
    /// for every try has a fresh port (https://github.com/net4people/bbs/issues/654).
    fn default() -> Self {
        Self {
            neutral: "www.example.com".to_owned(),
            server: String::new(),
            other_port: 0,
            seconds: 4,
            rounds: 2,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether QUIC is filtered by version, by name or by port",
    trigger: "a QUIC version 1 Initial with the suspected name, to port 443",
    control: "the same with a neutral name, in version 2, in a version that forces negotiation, and TLS \
            over TCP",
    logic: "only the suspected name is unanswered: by name; version 1 is unanswered whatever the name and \
            others are answered: by version; nothing over UDP is answered and TCP is: UDP is filtered, or \
            the server speaks no QUIC",
    blind: "without any answer over UDP, a server without QUIC looks like a filter; answers show that the \
            first datagram passed, not that a transfer would",
    bytes: 30_000,
    seconds: 50,
    risk: Risk::Elevated,
    risk_note: "shows a name that may be blocked several times",
    source: "https://github.com/net4people/bbs/issues/108; \
            https://www.petsymposium.org/foci/2026/foci-2026-0010.pdf",
};

const V1: u32 = 1;
/// RFC 9369.
const V2: u32 = 0x6b33_43cf;
/// Of the form reserved for forcing negotiation (RFC 9000 §15).
const NEGOTIATE: u32 = 0xbaba_baba;

impl QuicMatrix {
    /// The server and the suspected name.
    fn places(&self, input: &str) -> Result<(Place, Place), String> {
        let target = Place::parse(input, 443)?;
        let server = if self.server.is_empty() { target.clone() } else { Place::parse(&self.server, 443)? };
        Ok((server, target))
    }

    /// One Initial as an arm.
    async fn initial(
        &self,
        trials: &Trials<'_>,
        (label, role, round): (&str, Role, u32),
        (version, variant): (u32, &str),
        to: Endpoint,
        name: &str,
    ) {
        let mut arm = arm(&trials.book, label, role, round, "quic_handshake").toward(to, name);
        variant.clone_into(&mut arm.variant);
        let scope = trials.scope(&mut arm);
        let what = FirstInitial {
            version,
            name: filled(name),
            size: 1_250,
            own_port: 0,
            retries: 2,
            patience: Duration::from_secs(self.seconds),
        };
        let first = first_initial(&scope, to, &what).await;
        arm.sent_packets = u64::from(first.datagrams);
        arm.sent_bytes = first.sent_bytes;
        arm.received_bytes = first.received_bytes;
        arm.received_packets = u64::from(first.received_bytes > 0);
        first.came.word().clone_into(&mut arm.note);
        match first.came.failure() {
            Some(failure) => arm.fail("quic", failure),
            None => arm.rtt_ms = Some(millis(first.at.since(first.sent))),
        }
        trials.book.close(arm);
    }

    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let (server, target) = self.places(input)?;
        let trials = Trials::new(context);
        let ip = match trials.resolve(&server).await {
            Ok(ip) => ip,
            Err(failure) => {
                let mut unresolved = arm(&trials.book, "target", Role::Target, 0, "quic_handshake");
                unresolved.endpoint = format!("{}:{}", server.host, server.port);
                unresolved.fail("dns", failure);
                trials.book.close(unresolved);
                return Ok(trials.keys());
            }
        };
        let end = Endpoint { ip, port: server.port };
        let (name, neutral) = (target.name(), self.neutral.as_str());
        for round in 0..self.rounds {
            let label = |text: &'static str, role| (text, role, round);
            // Controls before and after the trigger: what a whole address suffers shows in the second round.
            self.initial(&trials, label("neutral", Role::NeutralName), (V1, "v1"), end, neutral).await;
            self.initial(&trials, label("target", Role::Target), (V1, "v1"), end, name).await;
            self.initial(&trials, label("v2", Role::OtherVersion), (V2, "v2"), end, name).await;
            let version = (NEGOTIATE, "negotiation");
            self.initial(&trials, label("negotiation", Role::OtherVersion), version, end, name).await;
            sleep(&**trials.world(), Duration::from_millis(200)).await;
        }
        if self.other_port != 0 {
            let other = Endpoint { port: self.other_port, ..end };
            self.initial(&trials, ("port", Role::OtherPort, 0), (V1, "v1"), other, name).await;
        }
        let tcp = arm(&trials.book, "tcp", Role::OtherTransport, 0, "tls_hello");
        trials.hello(tcp, end, name, Duration::from_secs(self.seconds)).await;
        Ok(trials.keys())
    }
}

impl Experiment for QuicMatrix {
    fn name(&self) -> &'static str {
        "quic_matrix"
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
        let Some(Ok((server, _))) = input.map(|input| self.places(input)) else { return Vec::new() };
        let mut all = vec![contact(&server.host, &format!("udp/{}", server.port), "first QUIC datagrams")];
        if self.other_port != 0 {
            all.push(contact(&server.host, &format!("udp/{}", self.other_port), "the same on another port"));
        }
        all.push(server.contact("TLS hello over TCP"));
        all
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("quic_matrix needs a name or a URL, like https://site.example/")?;
            self.measure(context, input).await
        })
    }
}
