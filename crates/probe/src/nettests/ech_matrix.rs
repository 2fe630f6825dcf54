//! `ech_matrix`: the 2×2 of ECH: extension or none, the suspected outer name or a neutral one.
//!
//! Four hellos that differ in nothing else go to one address. The extension is GREASE, which no filter can
//! tell from the real thing (RFC 9849 §6.2), so the server need not know ECH.

use core::time::Duration;

use okno_wire::tls::{code, preset};
use serde::Deserialize;
use serde_json::Value;

use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Task, random};
use crate::trial::{Place, Trials, arm, filled};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EchMatrix {
    /// a name that nobody filters
    pub neutral: String,
    /// server to whom the names are shown, `host[:port]` or an address; empty is the input's own. The filter
    /// of 2024 looks at addresses of one provider alone.
    pub server: String,
    /// patience with each hello, seconds
    pub seconds: u64,
    /// rounds of the four
    pub rounds: u32,
}

impl Default for EchMatrix {
    /// Two rounds of 8 s (https://github.com/net4people/bbs/issues/417).
    fn default() -> Self {
        Self { neutral: "www.example.com".to_owned(), server: String::new(), seconds: 8, rounds: 2 }
    }
}

/// The outer name of Cloudflare's ECH, which is the one that is filtered in Russia since 5 November 2024.
const DEFAULT_INPUT: &str = "cloudflare-ech.com";

static MANUAL: Manual = Manual {
    title: "whether ECH is filtered: by its extension, by its outer name, or by both together",
    trigger: "a hello with an ECH extension and the suspected outer name",
    control: "extension without that name, that name without the extension, neither",
    logic: "only the cell with both fails: both are looked at; both cells with the extension: the \
            extension; both with the name: the name; all: the address or the path",
    blind: "filters of other providers' addresses: choose a server there; QUIC",
    bytes: 30_000,
    seconds: 70,
    risk: Risk::Low,
    risk_note: "looks like a browser that supports ECH",
    source: "https://github.com/net4people/bbs/issues/417; \
             https://www.petsymposium.org/foci/2025/foci-2025-0016.pdf",
};

/// Chrome's hello, with or without its ECH extension.
fn flight(seed: u64, name: Option<&str>, with_ech: bool) -> Vec<u8> {
    let mut hello = preset::chrome(seed, name, false);
    if !with_ech && let Some(extensions) = &mut hello.extensions {
        extensions.retain(|(kind, _)| *kind != code::ext::ECH);
    }
    hello.emit_record()
}

impl EchMatrix {
    /// The server and the suspected name.
    fn places(&self, input: &str) -> Result<(Place, Place), String> {
        let target = Place::parse(input, 443)?;
        let server = if self.server.is_empty() { target.clone() } else { Place::parse(&self.server, 443)? };
        Ok((server, target))
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
        let patience = Duration::from_secs(self.seconds);
        for round in 0..self.rounds {
            for (label, role, name, with_ech) in [
                ("baseline", Role::Baseline, self.neutral.as_str(), false),
                ("neutral", Role::NeutralName, self.neutral.as_str(), true),
                ("plain", Role::Plain, target.name(), false),
                ("target", Role::Target, target.name(), true),
            ] {
                let mut arm = arm(&trials.book, label, role, round, "tls_handshake");
                if with_ech { "ech" } else { "no_ech" }.clone_into(&mut arm.variant);
                let seed = u64::from_be_bytes(random(&**trials.world()));
                let flight = flight(seed, filled(name), with_ech);
                trials.first_flight(arm, end, name, &[&flight], Duration::ZERO, patience).await;
            }
        }
        Ok(trials.keys())
    }
}

impl Experiment for EchMatrix {
    fn name(&self) -> &'static str {
        "ech_matrix"
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
        let places = self.places(input.unwrap_or(DEFAULT_INPUT)).ok();
        places.iter().map(|(server, _)| server.contact("TLS hellos with and without ECH")).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input.unwrap_or(DEFAULT_INPUT)))
    }
}

#[cfg(test)]
mod tests {
    use okno_wire::tls::{ClientHello, FirstFlight, first_flight};

    use super::*;

    #[test]
    fn the_four_cells_differ_in_name_and_extension_alone() {
        let read = |name, ech| {
            let bytes = flight(1, Some(name), ech);
            let FirstFlight::Hello(flight) = first_flight(&bytes) else { panic!("a hello") };
            let hello = ClientHello::parse(&flight.message).unwrap();
            (hello.server_name().map(str::to_owned), hello.extension(code::ext::ECH).is_some())
        };
        assert_eq!(read("a.example", true), (Some("a.example".to_owned()), true));
        assert_eq!(read("b.example", false), (Some("b.example".to_owned()), false));
    }
}
