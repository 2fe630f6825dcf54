//! `tor` (ts-023): directory authorities and obfs4 bridges, each spoken to as far as its protocol goes
//! without Tor.
//!
//! OONI's servers hand out the list of targets; ours has a list built in ([`super::tor_targets`]) and takes
//! another in OONI's shape. A relay tells who asks in `X-Your-Address-Is`: addresses in response headers are
//! taken out.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use okno_model::Failure;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{obfs4, redact, tor_targets};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Dial, Endpoint, NetErrorKind, Task, below, random, within};
use crate::trace::{Scope, Trace};
use crate::{http, tcp, tls};

/// A server to try, as OONI's API gives it (ts-023, "Expected inputs").
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Target {
    /// address and port
    pub address: String,
    /// fingerprint of its relay identity; empty when it has none
    pub fingerprint: String,
    /// its name, of authorities
    pub name: String,
    /// `cert` and `iat-mode` of obfs4
    pub params: BTreeMap<String, Vec<String>>,
    /// `dir_port`, `or_port`, `or_port_dirauth`, `obfs4`; anything else is connected to
    pub protocol: String,
    /// where a private bridge came from; then its address is never written
    pub source: String,
}

/// The test and what it contacts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Tor {
    /// targets by their id
    pub targets: BTreeMap<String, Target>,
}

/// The id of a bridge: SHA-256 of its address and fingerprint, in hexadecimal (ts-023).
pub fn bridge_id(address: &str, fingerprint: &str) -> String {
    let hash = Sha256::digest([address.as_bytes(), fingerprint.as_bytes()].concat());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Default for Tor {
    fn default() -> Self {
        let mut targets = BTreeMap::new();
        for authority in &tor_targets::AUTHORITIES {
            for (protocol, port) in [("or_port_dirauth", authority.or_port), ("dir_port", authority.dir_port)]
            {
                let target = Target {
                    address: format!("{}:{port}", authority.ip),
                    fingerprint: authority.fingerprint.to_owned(),
                    name: authority.name.to_owned(),
                    protocol: protocol.to_owned(),
                    ..Target::default()
                };
                targets.insert(target.address.clone(), target);
            }
        }
        for bridge in &tor_targets::BRIDGES {
            let params = [("cert", bridge.cert), ("iat-mode", bridge.iat_mode)];
            let target = Target {
                address: bridge.address.to_owned(),
                fingerprint: bridge.fingerprint.to_owned(),
                params: params.map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).into(),
                protocol: "obfs4".to_owned(),
                ..Target::default()
            };
            targets.insert(bridge_id(bridge.address, bridge.fingerprint), target);
        }
        Self { targets }
    }
}

/// How many targets are tried at a time: with all of them silent the test ends within the minute.
const PARALLEL: usize = 12;
/// Most time for one exchange with a directory or a bridge (probe-cli `tor.go`).
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a consensus that are kept (probe-cli `tor.go`).
const SNAPSHOT: usize = 1 << 8;

static MANUAL: Manual = Manual {
    title: "whether Tor's directory authorities and public obfs4 bridges answer",
    trigger: "addresses of Tor's authorities and bridges; Tor's directory protocol over plain HTTP; a TLS \
              handshake without a name; first flights of obfs4",
    control: "none of its own: authorities and bridges are compared with each other",
    logic: "each target has a failure or none; authorities that all fail while bridges answer are blocked as \
            such, and the other way round",
    blind: "whether a circuit can be built: no Tor runs. An answer of obfs4 proves that somebody knows the \
            bridge line, not the bridge's secret key. The list ages: a bridge that moved looks blocked. \
            Bridges that are handed out in private, WebTunnel and Snowflake are not tried",
    bytes: 2_000_000,
    seconds: 80,
    risk: Risk::High,
    risk_note: "your network sees that you contact many servers of Tor within a minute; where Tor is \
                forbidden or watched that marks you as its user",
    source: "OONI ts-023 (https://github.com/ooni/spec/blob/master/nettests/ts-023-tor.md)",
};

/// The end of a target whose address is one.
fn endpoint(target: &Target) -> Result<Endpoint, String> {
    target
        .address
        .parse()
        .map_err(|_| format!("target {:?} has no address such as 192.0.2.1:443", target.address))
}

/// The handshake of obfs4, as far as [`obfs4`] goes.
async fn obfs4_handshake(scope: &Scope, remote: Endpoint, cert: &str) -> Result<(), Failure> {
    let cert = obfs4::Cert::parse(cert).ok_or(Failure::Unknown)?;
    let mut flow = tcp::connect(scope, Dial::to(remote)).await?;
    let world = &*scope.world;
    let span = obfs4::MAX_PADDING - obfs4::MIN_PADDING;
    let mut padding = vec![0; obfs4::MIN_PADDING + below(world, span as u64 + 1) as usize];
    world.fill_random(&mut padding);
    let seconds = world.now().nanos() / 1_000_000_000;
    let flight = obfs4::client_flight(&cert, random(world), &padding, seconds);
    let work = async {
        flow.write_all(&flight).await?;
        flow.flush().await?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
        loop {
            let taken = flow.read(&mut chunk).await?;
            bytes.extend_from_slice(&chunk[..taken]);
            match obfs4::server_answer(&cert, &bytes, seconds) {
                obfs4::Seen::Handshake => return Ok(Ok(())),
                obfs4::Seen::Stranger => return Ok(Err(Failure::Unknown)),
                obfs4::Seen::More if taken == 0 => return Ok(Err(Failure::Eof)),
                obfs4::Seen::More => {}
            }
        }
    };
    let done: std::io::Result<_> = within(world, PATIENCE, work).await.ok_or(Failure::GenericTimeout)?;
    done.map_err(|error| NetErrorKind::of(&error).failure())?
}

async fn directory(scope: &Scope, remote: Endpoint) -> Result<(), Failure> {
    let mut request = http::Request::get(&format!("http://{remote}/tor/status-vote/current/consensus.z"));
    request.body_limit = SNAPSHOT;
    request.patience = PATIENCE;
    let via = http::Via { remote: Some(remote), alpn: String::new() };
    match tcp::connect(scope, Dial::to(remote)).await {
        Ok(flow) => http::exchange(scope, flow, &via, &request).await.map(|_| ()),
        Err(failure) => {
            http::record_unsent(scope, &via, &request, failure);
            Err(failure)
        }
    }
}

async fn link(scope: &Scope, remote: Endpoint) -> Result<(), Failure> {
    let flow = tcp::connect(scope, Dial::to(remote)).await?;
    // A relay's certificate is its own (tor-spec §2.1): not looked at, and no name is shown for an address.
    let options = tls::TlsOptions { verify: false, ..tls::TlsOptions::default() };
    tls::handshake(scope, flow, remote, &remote.ip.to_string(), &options).await.map(|_| ())
}

async fn try_target(scope: &Scope, target: &Target, remote: Endpoint) -> Result<(), Failure> {
    match target.protocol.as_str() {
        "dir_port" => directory(scope, remote).await,
        "or_port" | "or_port_dirauth" => link(scope, remote).await,
        "obfs4" => {
            let cert = target.params.get("cert").and_then(|values| values.first());
            obfs4_handshake(scope, remote, cert.map(String::as_str).unwrap_or_default()).await
        }
        _ => tcp::connect(scope, Dial::to(remote)).await.map(|_| ()),
    }
}

/// Takes addresses out of every text below.
fn scrub(value: &mut Value) {
    match value {
        Value::String(text) => *text = String::from_utf8_lossy(&redact::addresses(text.as_bytes())).into(),
        Value::Array(list) => list.iter_mut().for_each(scrub),
        Value::Object(map) => map.values_mut().for_each(scrub),
        _ => {}
    }
}

/// The `summary` of a target: how connect and handshake ended (probe-cli `tor.go`, `fillSummary`).
fn summary(target: &Target, trace: &Trace, failure: Option<Failure>) -> Value {
    let entry = |failure: Option<Failure>| json!({"failure": failure.map(Failure::as_str)});
    let mut summary = Map::new();
    let Some(connect) = trace.tcp_connects().first().map(|record| record.status.failure) else {
        return Value::Object(summary);
    };
    summary.insert("connect".to_owned(), entry(connect));
    match target.protocol.as_str() {
        "obfs4" => {
            summary.insert("handshake".to_owned(), entry(failure));
        }
        "or_port" | "or_port_dirauth" => {
            if let Some(record) = trace.tls_handshakes().first() {
                summary.insert("handshake".to_owned(), entry(record.failure));
            }
        }
        _ => {}
    }
    Value::Object(summary)
}

/// What is written of one target.
fn result(target: &Target, trace: &Trace, done: Result<(), Failure>) -> Value {
    let failure = done.err();
    let mut keys = trace.test_keys();
    keys.remove("quic_handshakes");
    for request in keys.get_mut("requests").and_then(Value::as_array_mut).into_iter().flatten() {
        for part in ["headers", "headers_list"] {
            if let Some(headers) = request.get_mut("response").and_then(|response| response.get_mut(part)) {
                scrub(headers);
            }
        }
    }
    keys.insert("agent".to_owned(), "redirect".into());
    keys.insert("failure".to_owned(), json!(failure.map(Failure::as_str)));
    keys.insert("summary".to_owned(), summary(target, trace, failure));
    let is_private = !target.source.is_empty();
    let mut value = Value::Object(keys);
    if is_private {
        scrub(&mut value);
    }
    if let Value::Object(keys) = &mut value {
        let address = if is_private { redact::SCRUBBED } else { &target.address };
        keys.insert("target_address".to_owned(), address.into());
        keys.insert("target_protocol".to_owned(), target.protocol.as_str().into());
        for (key, text) in [("target_name", &target.name), ("target_source", &target.source)] {
            if !text.is_empty() {
                keys.insert(key.to_owned(), text.as_str().into());
            }
        }
    }
    value
}

/// `…_total` and `…_accessible` of each protocol.
fn counts<'a>(results: impl Iterator<Item = (&'a Target, bool)> + Clone) -> Map<String, Value> {
    let mut keys = Map::new();
    for protocol in ["dir_port", "obfs4", "or_port_dirauth", "or_port"] {
        let of = results.clone().filter(|(target, _)| target.protocol == protocol);
        keys.insert(format!("{protocol}_total"), json!(of.clone().count()));
        keys.insert(format!("{protocol}_accessible"), json!(of.filter(|(_, fine)| *fine).count()));
    }
    keys
}

impl Experiment for Tor {
    fn name(&self) -> &'static str {
        "tor"
    }

    fn version(&self) -> &'static str {
        "0.4.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        let contact = |target: &Target| {
            let end = endpoint(target).ok()?;
            let what = match target.protocol.as_str() {
                "dir_port" | "or_port_dirauth" => "a directory authority of Tor",
                _ => "a bridge of Tor",
            };
            Some(Contact {
                host: end.ip.to_string(),
                port: format!("tcp/{}", end.port),
                purpose: what.to_owned(),
            })
        };
        self.targets.values().filter_map(contact).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let mut work = Vec::new();
            for target in self.targets.values() {
                let (remote, trace) = (endpoint(target)?, Trace::new(context));
                let scope = Scope::new(context, &trace, &[]);
                work.push(async move {
                    let done = try_target(&scope, target, remote).await;
                    (Rc::clone(&trace), done)
                });
            }
            let done: Vec<_> = futures::stream::iter(work).buffered(PARALLEL).collect().await;
            let fine = done.iter().map(|(_, done)| done.is_ok());
            let mut keys = counts(self.targets.values().zip(fine));
            let results: Map<String, Value> = self
                .targets
                .iter()
                .zip(&done)
                .map(|((id, target), (trace, done))| (id.clone(), result(target, trace, *done)))
                .collect();
            keys.insert("targets".to_owned(), Value::Object(results));
            Ok(Value::Object(keys))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridges_id_is_that_of_the_specification() {
        let id = bridge_id("1.2.3.4:1234", "1234567890123456789012345678901234567890");
        assert_eq!(id, "19bc59fa00d29729edea87368ceb062b9fad66759c0fcd6b7f8680ca14452fb8");
    }

    #[test]
    fn every_built_in_target_can_be_used() {
        let targets = Tor::default().targets;
        assert_eq!(targets.len(), 34);
        for target in targets.values() {
            assert!(endpoint(target).is_ok(), "{target:?}");
            let cert = target.params.get("cert").map(|values| obfs4::Cert::parse(&values[0]));
            assert_eq!(cert.is_some_and(|cert| cert.is_some()), target.protocol == "obfs4");
        }
    }

    #[test]
    fn no_word_of_a_private_bridge_tells_where_it_is() {
        let mut value = json!({"a": ["192.0.2.7:443", {"ip": "192.0.2.7"}], "n": 3});
        scrub(&mut value);
        assert_eq!(value, json!({"a": ["[scrubbed]", {"ip": "[scrubbed]"}], "n": 3}));
    }
}
