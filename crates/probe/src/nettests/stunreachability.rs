//! `stunreachability`: OONI's test of one STUN server by one binding request (ts-025).
//!
//! Keys, names and the classes of failure are OONI's
//! (https://github.com/ooni/spec/blob/master/nettests/ts-025-stun-reachability.md).
//! The answer holds the own address: it is read, compared with nothing, and not kept.

use core::time::Duration;

use okno_model::Failure;
use okno_wire::Endpoint;
use okno_wire::stun::{Class, Repr};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dns::{self, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Task, UdpSetup, random, receive};
use crate::talk::bout::target;
use crate::talk::call::number;
use crate::trace::{Scope, Trace};

/// How long it waits.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stunreachability {
    /// milliseconds to the second try; the n-th wait is n times as long, as in the library that OONI uses
    /// (https://github.com/pion/stun client.go: 300 ms)
    pub first_wait_ms: u64,
    /// tries in all (the same: 7 repetitions)
    pub tries: u32,
}

impl Default for Stunreachability {
    fn default() -> Self {
        Self { first_wait_ms: 300, tries: 8 }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a STUN server answers",
    trigger: "one binding request over UDP, repeated until it is answered",
    control: "none: see the test `calls`",
    logic: "a success response that names an address is success; anything else is the failure",
    blind: "whether the server, the port, UDP or STUN is at fault",
    bytes: 600,
    seconds: 12,
    risk: Risk::Low,
    risk_note: "Looks like the beginning of a call or a video conference.",
    source: "https://github.com/ooni/spec/blob/master/nettests/ts-025-stun-reachability.md",
};

/// ts-025: tested when no input is given.
const DEFAULT: &str = "stun://stun.l.google.com:19302";

/// Host and port of `stun://host:port`.
fn endpoint(input: Option<&str>) -> Result<(&str, u16), String> {
    let expected = "give stun://HOST:PORT, as stun://stun.l.google.com:19302";
    let found = target(input.unwrap_or(DEFAULT)).filter(|found| found.scheme == "stun").ok_or(expected)?;
    Ok((found.host, found.port.ok_or(expected)?))
}

impl Stunreachability {
    async fn ask(&self, scope: &Scope, host: &str, port: u16) -> Result<(), Failure> {
        let found = dns::lookup(scope, &Resolver::System, host).await;
        let Some(&ip) = found.addresses.first() else {
            return Err(found.failure.unwrap_or(Failure::DnsNoAnswer));
        };
        let remote = Endpoint { ip, port };
        let (net, from) = (&*scope.world, scope.now());
        let socket = net.udp(UdpSetup { peer: Some(remote), ..UdpSetup::default() });
        let opened = socket.as_ref().map(|_| 0).map_err(|error| error.kind.failure());
        scope.event("connect", "udp", Some(remote), from, opened);
        let socket = socket.map_err(|error| error.kind.failure())?;
        let request = Repr {
            method: number::BINDING,
            class: Class::Request,
            transaction: random(net),
            attributes: Vec::new(),
        };
        let bytes = request.emit();
        for attempt in 1..=self.tries.clamp(1, 16) {
            let from = scope.now();
            let sent = socket.send_to(&bytes, remote, None).map_err(|error| error.kind.failure());
            scope.event("write", "udp", Some(remote), from, sent.map(|()| bytes.len()));
            sent?;
            let until = from + Duration::from_millis(self.first_wait_ms) * attempt;
            while scope.now() < until {
                let from = scope.now();
                let left = until.since(from);
                match receive(net, &*socket, left).await {
                    Err(error) if error.kind == crate::net::NetErrorKind::TimedOut => break,
                    Err(error) => {
                        let failure = error.kind.failure();
                        scope.event("read", "udp", Some(remote), from, Err(failure));
                        return Err(failure);
                    }
                    Ok(datagram) => {
                        scope.event("read", "udp", Some(remote), from, Ok(datagram.bytes.len()));
                        if let Some(result) = read(&datagram.bytes, &request) {
                            return result;
                        }
                    }
                }
            }
        }
        // probe-cli internal/netxlite/classify.go takes the library's "transaction is timed out" for this.
        Err(Failure::GenericTimeout)
    }
}

/// What an answer says; `None` when it is not one to this request.
fn read(bytes: &[u8], request: &Repr) -> Option<Result<(), Failure>> {
    let answer = Repr::parse(bytes).ok().filter(|answer| answer.transaction == request.transaction)?;
    let mapped = answer.attributes.iter().any(|(kind, _)| *kind == number::XOR_MAPPED_ADDRESS);
    Some(if mapped { Ok(()) } else { Err(Failure::Unknown) })
}

impl Experiment for Stunreachability {
    fn name(&self) -> &'static str {
        "stunreachability"
    }

    fn version(&self) -> &'static str {
        "0.4.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let Ok((host, port)) = endpoint(input) else { return Vec::new() };
        let purpose = "a STUN binding request".to_owned();
        vec![Contact { host: host.to_owned(), port: format!("udp/{port}"), purpose }]
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let (host, port) = endpoint(input)?;
            let trace = Trace::new(context);
            let scope = Scope::new(context, &trace, &[]);
            let failure = self.ask(&scope, host, port).await.err();
            let written =
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            Ok(json!({
                "endpoint": written,
                "failure": failure.map(Failure::as_str),
                "network_events": *trace.network_events(),
                "queries": *trace.queries(),
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_needs_scheme_and_port_as_oonis_does() {
        assert_eq!(endpoint(None), Ok(("stun.l.google.com", 19_302)));
        assert_eq!(endpoint(Some("stun://stun.example:3478")), Ok(("stun.example", 3_478)));
        for wrong in ["stun://stun.example", "stun.example:3478", "turn://stun.example:3478"] {
            assert!(endpoint(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
