//! `sni_blocking` (ts-024): is a name in the hello enough to break a handshake with an innocent server?

use core::time::Duration;

use okno_model::Failure;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::dns::{self, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::limits;
use crate::net::{Dial, Endpoint, Task, below, sleep};
use crate::tcp;
use crate::tls::{self, TlsOptions};
use crate::trace::{Scope, Trace};
use crate::trial::Place;

/// What may be chosen (probe-cli `internal/experiment/sniblocking`, Config).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SniBlocking {
    /// a name that nobody blocks
    pub control_sni: String,
    /// `host:port` of a TLS server; empty is the control name's own port 443
    pub test_helper_address: String,
}

impl Default for SniBlocking {
    /// OONI's control name.
    fn default() -> Self {
        Self { control_sni: "example.org".to_owned(), test_helper_address: String::new() }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a server name alone breaks handshakes",
    trigger: "a TLS hello with the suspected name, sent to a server that has nothing to do with it",
    control: "the same server with its own name",
    logic: "the control works and the target ends with a reset, a close or silence: the name is the \
            trigger; a certificate for another name is what such a server is expected to show",
    blind: "filters that look at addresses too; which of several boxes it was; a server that itself turns \
            away names which it does not know",
    bytes: 15_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "shows a name that may be blocked to whoever looks at your traffic",
    source: "OONI ts-024-sni-blocking",
};

impl SniBlocking {
    fn helper(&self) -> Result<Place, String> {
        let text =
            if self.test_helper_address.is_empty() { &self.control_sni } else { &self.test_helper_address };
        Place::parse(text, 443)
    }

    /// One handshake with the helper that shows `sni`: OONI's Subresult.
    async fn subresult(
        &self,
        context: &Context,
        whole: &Trace,
        helper: &Place,
        sni: &str,
    ) -> (Option<Failure>, Value) {
        // ts-024: the order of control and target shall not be the same each time.
        let delay = Duration::from_millis(below(&*context.world, 250));
        sleep(&*context.world, delay).await;
        let trace = whole.beside(limits::EVENTS);
        let scope = Scope::new(context, &trace, &[]);
        let failure = self.shake(&scope, helper, sni).await.err();
        let lists = trace.test_keys();
        let list = |name: &str| match lists.get(name) {
            Some(Value::Array(list)) if list.is_empty() => Value::Null,
            Some(list) => list.clone(),
            None => Value::Null,
        };
        let mut keys = Map::new();
        for name in ["network_events", "queries", "requests", "tcp_connect", "tls_handshakes"] {
            keys.insert(name.to_owned(), list(name));
        }
        keys.insert("failure".to_owned(), json!(failure.map(Failure::as_str)));
        let failed_at = failure.map(|_| if lists_connected(&lists) { "tls_handshake" } else { "connect" });
        keys.insert("failed_operation".to_owned(), json!(failed_at));
        keys.insert("sni".to_owned(), json!(sni));
        keys.insert("th_address".to_owned(), json!(format!("{}:{}", helper.host, helper.port)));
        (failure, Value::Object(keys))
    }

    async fn shake(&self, scope: &Scope, helper: &Place, sni: &str) -> Result<(), Failure> {
        let found = dns::lookup(scope, &Resolver::System, &helper.host).await;
        let ip = found.addresses.first().ok_or(found.failure.unwrap_or(Failure::DnsNoAnswer))?;
        let remote = Endpoint { ip: *ip, port: helper.port };
        let flow = tcp::connect(scope, Dial::to(remote)).await?;
        tls::handshake(scope, flow, remote, sni, &TlsOptions::default()).await.map(drop)
    }

    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let target = Place::parse(input, 443)?;
        let helper = self.helper()?;
        let whole = Trace::new(context);
        let ((control_failure, control), (failure, target)) = futures::future::join(
            self.subresult(context, &whole, &helper, &self.control_sni),
            self.subresult(context, &whole, &helper, &target.host),
        )
        .await;
        Ok(json!({
            "control": control,
            "result": classify(failure, control_failure),
            "target": target,
        }))
    }
}

fn lists_connected(lists: &Map<String, Value>) -> bool {
    lists.get("tls_handshakes").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// OONI's reading (probe-cli `internal/experiment/sniblocking`, classify).
const fn classify(target: Option<Failure>, control: Option<Failure>) -> &'static str {
    match target {
        None | Some(Failure::SslInvalidHostname) => "success.got_server_hello",
        Some(Failure::ConnectionRefused | Failure::DnsNxDomain | Failure::AndroidDnsCacheNoData) => {
            "anomaly.test_helper_unreachable"
        }
        Some(Failure::GenericTimeout) => match control {
            Some(_) => "anomaly.test_helper_unreachable",
            None => "anomaly.timeout",
        },
        Some(Failure::ConnectionReset) => "interference.reset",
        Some(Failure::Eof) => "interference.closed",
        Some(Failure::SslInvalidCertificate) => "interference.invalid_certificate",
        Some(Failure::SslUnknownAuthority) => "interference.unknown_authority",
        Some(_) => "anomaly.unexpected_failure",
    }
}

impl Experiment for SniBlocking {
    fn name(&self) -> &'static str {
        "sni_blocking"
    }

    fn version(&self) -> &'static str {
        "0.3.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, _: Option<&str>) -> Vec<Contact> {
        self.helper()
            .iter()
            .map(|place| place.contact("innocent TLS server that is shown the names"))
            .collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("sni_blocking needs a name or a URL, like https://site.example/")?;
            self.measure(context, input).await
        })
    }
}
