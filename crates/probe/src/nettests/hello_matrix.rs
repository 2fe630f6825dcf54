//! `hello_matrix`: does the form of a hello, not its name, decide whether it is answered?
//!
//! The same name goes to the same address in hellos of several clients: a small one of Chrome's as control,
//! Telegram's camouflage as it was and cut short, Firefox's, curl's, and Chrome's with a post-quantum key,
//! which takes two segments. For a large hello the stack tells whether its first segment was acknowledged.

use core::time::Duration;

use okno_wire::tls::{ClientHelloRepr, preset};
use serde::Deserialize;
use serde_json::Value;

use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Task, random, sleep};
use crate::trial::{Place, Trials, arm, filled};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HelloMatrix {
    /// server to whom the hellos are shown, `host[:port]` or an address; empty is the input's own
    pub server: String,
    /// forms: `telegram`, `telegram-short`, `firefox`, `curl`, `chrome-pq`
    pub forms: Vec<String>,
    /// patience with each hello, seconds
    pub seconds: u64,
    /// tries of each form
    pub rounds: u32,
    /// tries of the large hello: about half of the flows were seen to stall
    /// (https://github.com/XTLS/Xray-core/issues/6256), so that eight miss it once in 256
    pub large_rounds: u32,
    /// milliseconds between two hellos: policers count parallel handshakes within 0.4 s
    /// (https://github.com/net4people/bbs/issues/546)
    pub gap_ms: u64,
}

impl Default for HelloMatrix {
    fn default() -> Self {
        let forms = ["telegram", "telegram-short", "firefox", "curl", "chrome-pq"];
        Self {
            server: String::new(),
            forms: forms.map(str::to_owned).to_vec(),
            seconds: 5,
            rounds: 2,
            large_rounds: 8,
            gap_ms: 500,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether hellos are filtered by their fingerprint or their size",
    trigger: "TLS hellos of other clients' forms, one after another",
    control: "a small hello of Chrome's with the same name to the same address, between them",
    logic: "one form fails and the control passes: the form is the trigger; of a large hello the first \
            segment is acknowledged and the rest never: it is cut after the first segment; nothing of it \
            acknowledged: a path that loses large packets looks so",
    blind: "what follows the server's answer; forms that are not tried; a box that wants a name and a form",
    bytes: 50_000,
    seconds: 100,
    risk: Risk::Elevated,
    risk_note: "some hellos look like Telegram's proxies",
    source: "https://github.com/telegramdesktop/tdesktop/issues/30734; \
             https://github.com/XTLS/Xray-core/issues/6256",
};

/// A hello of this form; `None` for an unknown one.
fn hello(form: &str, seed: u64, name: Option<&str>) -> Option<ClientHelloRepr> {
    Some(match form {
        "chrome" => preset::chrome(seed, name, false),
        "chrome-pq" => preset::chrome(seed, name, true),
        "firefox" => preset::firefox(seed, name, false),
        "curl" => preset::curl(seed, name),
        "telegram" => preset::telegram(seed, name.unwrap_or_default()),
        "telegram-short" => preset::telegram_short(seed, name.unwrap_or_default()),
        _ => return None,
    })
}

impl HelloMatrix {
    /// The server and the name.
    fn places(&self, input: &str) -> Result<(Place, Place), String> {
        let target = Place::parse(input, 443)?;
        let server = if self.server.is_empty() { target.clone() } else { Place::parse(&self.server, 443)? };
        Ok((server, target))
    }

    /// One hello as an arm; the control's has no variant, so that it belongs to every comparison.
    async fn try_one(&self, trials: &Trials<'_>, form: &str, round: u32, to: Endpoint, name: &str) {
        let is_control = form == "chrome";
        let (label, role) = if is_control { ("plain", Role::Plain) } else { (form, Role::Target) };
        let mut arm = arm(&trials.book, label, role, round, "tls_handshake");
        if !is_control {
            form.clone_into(&mut arm.variant);
        }
        let seed = u64::from_be_bytes(random(&**trials.world()));
        let Some(hello) = hello(form, seed, filled(name)) else { return };
        let flight = hello.emit_record();
        let patience = Duration::from_secs(self.seconds);
        trials.first_flight(arm, to, name, &[&flight], Duration::ZERO, patience).await;
        sleep(&**trials.world(), Duration::from_millis(self.gap_ms)).await;
    }

    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let (server, target) = self.places(input)?;
        if let Some(unknown) = self.forms.iter().find(|form| hello(form, 0, None).is_none()) {
            return Err(format!("{unknown}: no such hello; there are {}", Self::default().forms.join(", ")));
        }
        let trials = Trials::new(context);
        let ip = match trials.resolve(&server).await {
            Ok(ip) => ip,
            Err(failure) => {
                let mut unresolved = arm(&trials.book, "plain", Role::Plain, 0, "tls_handshake");
                unresolved.endpoint = format!("{}:{}", server.host, server.port);
                unresolved.fail("dns", failure);
                trials.book.close(unresolved);
                return Ok(trials.keys());
            }
        };
        let end = Endpoint { ip, port: server.port };
        let mut controls = 0;
        for form in &self.forms {
            let rounds = if form == "chrome-pq" { self.large_rounds } else { self.rounds };
            self.try_one(&trials, "chrome", controls, end, target.name()).await;
            controls += 1;
            for round in 0..rounds {
                self.try_one(&trials, form, round, end, target.name()).await;
            }
        }
        self.try_one(&trials, "chrome", controls, end, target.name()).await;
        Ok(trials.keys())
    }
}

impl Experiment for HelloMatrix {
    fn name(&self) -> &'static str {
        "hello_matrix"
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
        places.iter().map(|(server, _)| server.contact("TLS hellos of several clients' forms")).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("hello_matrix needs a name or a URL, like https://site.example/")?;
            self.measure(context, input).await
        })
    }
}
