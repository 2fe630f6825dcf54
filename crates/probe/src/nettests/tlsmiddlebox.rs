//! `tlsmiddlebox` (ts-037): at which distance does a name break a handshake?
//!
//! Handshakes with one server whose hellos live for one hop, two, three …, with a control name and with the
//! suspected one. Routers on the way are written as /24 and /48 prefixes.

use core::net::IpAddr;
use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::dns::{self, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::limits;
use crate::net::{Dial, Endpoint, IcmpNotice, Instant, NetErrorKind, Task, sleep};
use crate::tcp;
use crate::tls::{self, Sni, TlsOptions};
use crate::trace::{HandshakeRecord, Scope, Trace};
use crate::trial::Place;

/// What may be chosen (probe-cli `internal/experiment/tlsmiddlebox/config.go`).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tlsmiddlebox {
    /// a name that nobody blocks
    pub sni_control: String,
    /// milliseconds between the steps
    pub delay: u64,
    /// the last TTL
    pub maximum_ttl: u8,
    /// server to whom the names are shown, `host[:port]`; empty is the input's own
    pub test_helper: String,
}

impl Default for Tlsmiddlebox {
    /// OONI's.
    fn default() -> Self {
        Self {
            sni_control: "example.com".to_owned(),
            delay: 100,
            maximum_ttl: 20,
            test_helper: String::new(),
        }
    }
}

static MANUAL: Manual = Manual {
    title: "how many hops away a box breaks handshakes with a name",
    trigger: "hellos with the suspected name that do not reach the server",
    control: "the same with a name that nobody blocks",
    logic: "the suspected name is reset at a TTL at which the control name only runs out: the box stands \
            there",
    blind: "boxes that drop in silence, or that change the server's answers: no answer, nothing to change",
    bytes: 60_000,
    seconds: 40,
    risk: Risk::Elevated,
    risk_note: "shows a name that may be blocked some twenty times",
    source: "OONI ts-037-tlsmiddlebox",
};

/// One step of a trace.
struct Step {
    ttl: u8,
    handshake: HandshakeRecord,
    notices: Vec<IcmpNotice>,
    from: Instant,
}

/// A router's address as far as it may be written.
pub(super) fn prefix(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

impl Tlsmiddlebox {
    /// The server and the suspected name.
    fn places(&self, input: &str) -> Result<(Place, String), String> {
        let plain = input.strip_prefix("tlstrace://").unwrap_or(input);
        let target = Place::parse(plain, 443)?;
        let helper = match self.test_helper.as_str() {
            "" => target.clone(),
            text => Place::parse(text.strip_prefix("tlshandshake://").unwrap_or(text), 443)?,
        };
        Ok((helper, target.host))
    }

    async fn step(&self, context: &Context, whole: &Trace, remote: Endpoint, sni: &str, ttl: u8) -> Step {
        sleep(&*context.world, Duration::from_millis(self.delay) * u32::from(ttl - 1)).await;
        // Its connect is not recorded (probe-cli records the first one alone): a trace of its own.
        let trace = whole.beside(limits::EVENTS);
        let scope = Scope::new(context, &trace, &[]);
        let from = scope.now();
        let mut step = Step { ttl, handshake: HandshakeRecord::default(), notices: Vec::new(), from };
        let flow = match tcp::connect(&scope, Dial::to(remote)).await {
            Ok(flow) => flow,
            Err(failure) => {
                step.handshake.failure = Some(failure);
                return step;
            }
        };
        if flow.set_ttl(ttl).is_err() {
            return step;
        }
        let options = TlsOptions { verify: false, sni: Sni::Same, ..TlsOptions::web() };
        let mut flow = flow;
        let _ = tls::handshake(&scope, &mut flow, remote, sni, &options).await;
        step.notices = flow.notices();
        let _ = flow.set_ttl(64);
        if let Some(record) = trace.tls_handshakes().first() {
            step.handshake = record.clone();
        }
        if step.notices.iter().any(IcmpNotice::is_time_exceeded) {
            // Linux tells time exceeded as EHOSTUNREACH (icmp(7)), and OONI reads SO_ERROR.
            step.handshake.so_error = Some(NetErrorKind::HostUnreachable.failure().as_str().to_owned());
        }
        step
    }

    async fn trace(&self, context: &Context, whole: &Trace, remote: Endpoint, sni: &str) -> Vec<Step> {
        let steps = (1..=self.maximum_ttl).map(|ttl| self.step(context, whole, remote, sni, ttl));
        futures::future::join_all(steps).await
    }

    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let (helper, sni) = self.places(input)?;
        let trace = Trace::new(context);
        let scope = Scope::new(context, &trace, &[]);
        let found = dns::lookup(&scope, &Resolver::System, &helper.host).await;
        let mut traces = Vec::new();
        for ip in &found.addresses {
            let remote = Endpoint { ip: *ip, port: helper.port };
            let scope = Scope::new(context, &trace, &[]);
            let mut complete = json!({
                "address": remote.to_string(),
                "tcp_traceroute": null,
                "control_trace": null,
                "target_trace": null,
            });
            if let Ok(flow) = tcp::connect(&scope, Dial::to(remote)).await {
                drop(flow);
                let control = self.trace(context, &trace, remote, &self.sni_control).await;
                complete["tcp_traceroute"] = traceroute(&trace, &self.sni_control, &control);
                complete["control_trace"] = iterations(&self.sni_control, &control);
                let target = self.trace(context, &trace, remote, &sni).await;
                complete["target_trace"] = iterations(&sni, &target);
            }
            traces.push(complete);
        }
        let mut keys = trace.test_keys();
        keys.retain(|key, _| key == "queries" || key == "tcp_connect");
        keys.insert("iterative_trace".to_owned(), Value::Array(traces));
        Ok(Value::Object(keys))
    }
}

/// The steps up to the first that worked or was reset (probe-cli, alignIterations).
fn iterations(sni: &str, steps: &[Step]) -> Value {
    let ends =
        |step: &Step| matches!(step.handshake.failure, None | Some(okno_model::Failure::ConnectionReset));
    let count = steps.iter().position(ends).map_or(steps.len(), |at| at + 1);
    let written = steps[..count].iter().map(|step| json!({"ttl": step.ttl, "handshake": step.handshake}));
    json!({"server_name": sni, "iterations": written.collect::<Vec<_>>()})
}

/// The routers that reported (df-010-icmp, with prefixes in the place of addresses).
fn traceroute(trace: &Trace, sni: &str, steps: &[Step]) -> Value {
    let written = steps.iter().map(|step| {
        let notice = step.notices.iter().find(|notice| notice.is_time_exceeded());
        let worked = step.handshake.failure.is_none();
        json!({"ttl": step.ttl, "icmp_error": {
            "timeout": if notice.is_none() && !worked { "yes" } else { "no" },
            "connected": if worked { "yes" } else { "" },
            "error": "",
            "source_ip_prefix": notice.map(|notice| prefix(notice.from)).unwrap_or_default(),
            "source_ip_country_code": "ZZ",
            "source_ip_asn": 0,
            "source_ip_asn_org": "",
            "type": notice.map_or(0, |notice| notice.kind),
            "code": notice.map_or(0, |notice| notice.code),
            "quote": null,
            "t0": trace.seconds(step.from),
            "t": trace.seconds(notice.map_or(step.from, |notice| notice.at)),
        }})
    });
    json!({"server_name": sni, "iterations": written.collect::<Vec<_>>()})
}

impl Experiment for Tlsmiddlebox {
    fn name(&self) -> &'static str {
        "tlsmiddlebox"
    }

    fn version(&self) -> &'static str {
        "0.1.2"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let places = input.and_then(|input| self.places(input).ok());
        places.iter().map(|(place, _)| place.contact("TLS server behind the path")).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("tlsmiddlebox needs a name or tlstrace://NAME")?;
            self.measure(context, input).await
        })
    }
}
