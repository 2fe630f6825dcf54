//! `echcheck` (ts-039): does a TLS handshake suffer from an ECH extension?
//!
//! Three handshakes with one server: without the extension, with GREASE under the outer name that the server
//! advertises, and with GREASE under another. A filter cannot tell GREASE from the real thing (RFC 9849
//! §6.2).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::dns::{self, RecordType, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Dial, Endpoint, Task};
use crate::tcp;
use crate::tls::{self, Ech, Sni, TlsOptions};
use crate::trace::{Scope, Trace};
use crate::trial::Place;

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Echcheck {
    /// outer name where the server's HTTPS record gives none
    pub outer_name: String,
    /// the other outer name
    pub other_outer_name: String,
}

impl Default for Echcheck {
    /// Cloudflare's public name, which is the one that has been filtered
    /// (https://github.com/net4people/bbs/issues/417).
    fn default() -> Self {
        Self { outer_name: "cloudflare-ech.com".to_owned(), other_outer_name: "www.example.com".to_owned() }
    }
}

/// The server of OONI's test (probe-cli `internal/experiment/echcheck`, defaultURL).
const DEFAULT_INPUT: &str = "https://cloudflare-ech.com/cdn-cgi/trace";

static MANUAL: Manual = Manual {
    title: "whether handshakes with an ECH extension are interfered with",
    trigger: "an ECH extension in the hello, with the outer name that real clients show",
    control: "the same without the extension, and with another outer name",
    logic: "only the handshakes with the extension fail: ECH is interfered with; only with one outer name: \
            name and extension together",
    blind: "whether the server would decrypt; which half of a 2×2 is at work beyond these three (ech_matrix)",
    bytes: 20_000,
    seconds: 80,
    risk: Risk::Low,
    risk_note: "looks like a browser that supports ECH",
    source: "OONI ts-039-echcheck",
};

impl Echcheck {
    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        if !input.starts_with("https://") {
            return Err(format!("{input}: echcheck wants a URL with https, like {DEFAULT_INPUT}"));
        }
        let place = Place::parse(input, 443)?;
        let trace = Trace::new(context);
        let scope = Scope::new(context, &trace, &[]);
        let found = dns::lookup(&scope, &Resolver::System, &place.host).await;
        if let Some(ip) = found.addresses.first() {
            let remote = Endpoint { ip: *ip, port: place.port };
            let outer = self.advertised(context, &scope, &place.host).await;
            for outer in [None, Some(outer), Some(self.other_outer_name.clone())] {
                let scope = Scope::new(context, &trace, &[]);
                let options = TlsOptions {
                    verify: false,
                    ech: if outer.is_some() { Ech::Grease } else { Ech::Off },
                    sni: outer.map_or(Sni::Same, Sni::Other),
                    ..TlsOptions::web()
                };
                if let Ok(flow) = tcp::connect(&scope, Dial::to(remote)).await {
                    let _ = tls::handshake(&scope, flow, remote, &place.host, &options).await;
                }
            }
        }
        let mut keys = trace.test_keys();
        keys.retain(|key, _| key != "requests" && key != "quic_handshakes");
        Ok(json!(keys))
    }

    /// The outer name that the server's HTTPS record gives, or the usual one.
    async fn advertised(&self, context: &Context, scope: &Scope, host: &str) -> String {
        let Some(resolver) = context.world.system_resolver() else { return self.outer_name.clone() };
        let answer = dns::query(scope, &Resolver::Udp(resolver), host, RecordType::HTTPS).await;
        answer
            .ech_config()
            .and_then(|list| tls::ech_public_name(&list))
            .unwrap_or_else(|| self.outer_name.clone())
    }
}

impl Experiment for Echcheck {
    fn name(&self) -> &'static str {
        "echcheck"
    }

    fn version(&self) -> &'static str {
        "0.2.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let place = Place::parse(input.unwrap_or(DEFAULT_INPUT), 443).ok();
        place.iter().map(|place| place.contact("TLS handshakes with and without ECH")).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input.unwrap_or(DEFAULT_INPUT)))
    }
}
