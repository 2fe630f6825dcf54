//! `connection_policer`: how many TLS handshakes in a row does a path allow, for which name, and until when?
//!
//! A run of hellos to one server, then a neutral name and no name to the same server, the same name to
//! another, and the first again at growing distances. Two forms are on record: 12 to 24 connections and a
//! minute, and more than three parallel ones under one name and two minutes
//! (https://github.com/net4people/bbs/issues/546; https://github.com/hyperion-cs/dpi-checkers).

use core::net::IpAddr;
use core::time::Duration;

use futures::future::join_all;
use okno_model::Failure;
use serde::Deserialize;
use serde_json::Value;

use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Task};
use crate::trial::{Place, Trials, arm};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionPolicer {
    /// handshakes of the run: two more than the greatest number on record
    pub handshakes: u32,
    /// distance between them, ms: well below the 350 to 400 ms of the second form
    pub gap_ms: u64,
    /// patience with each, seconds (dpi-checkers: 3)
    pub seconds: u64,
    /// a name that nobody filters
    pub neutral_name: String,
    /// another server, which shall not be under suspicion: `host` or `host:port`
    pub other_server: String,
    /// seconds after the run at which the first handshake is tried again
    pub recovery: Vec<u64>,
}

impl Default for ConnectionPolicer {
    fn default() -> Self {
        Self {
            handshakes: 26,
            gap_ms: 50,
            seconds: 3,
            neutral_name: "example.org".to_owned(),
            other_server: "ya.ru".to_owned(),
            recovery: vec![31, 65, 95, 125, 155],
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether many TLS connections in a row are frozen, for one name, and for how long",
    trigger: "26 TLS hellos with the target's name to its server, 50 ms apart",
    control: "a neutral name and no name to the same server, the same name to another server, and time",
    logic: "the first pass and later ones stall after TCP has opened, other names pass, and it ends after \
            about 60 or \
            120 s: a policer of connections; all names stall: the server's own limit; TCP itself fails, \
            to other \
            servers too: the ports of a shared address are used up",
    blind: "a policer that looks for another fingerprint; the hellos are a browser's, the handshakes stop \
            after \
            the server's answer; behind a shared address (100.64.0.0/10, RFC 6598) a finding weighs less",
    bytes: 150_000,
    seconds: 200,
    risk: Risk::Elevated,
    risk_note: "opens 26 connections in a second or two, as a browser on a heavy page may, and repeats \
            the name",
    source: "https://github.com/net4people/bbs/issues/546",
};

impl ConnectionPolicer {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The run; whether any handshake failed.
    async fn run_of_hellos(&self, trials: &Trials<'_>, to: Endpoint, name: &str) -> bool {
        let world = trials.world();
        let began = world.now();
        let hellos = (0..self.handshakes).map(|number| async move {
            world.sleep_until(began + Duration::from_millis(self.gap_ms) * number).await;
            let mut arm = arm(&trials.book, "series", Role::Series, number, "tls_hello");
            arm.variant = "series".to_owned();
            trials.chrome_hello(arm, to, name, self.patience()).await;
        });
        join_all(hellos).await;
        trials.book.any_failed("series.")
    }

    /// What else works while the run is frozen.
    async fn beside(&self, trials: &Trials<'_>, to: Endpoint, name: &str, other: &Result<IpAddr, Failure>) {
        let open = |label: &str, role: Role| arm(&trials.book, label, role, 0, "tls_hello");
        trials
            .chrome_hello(open("neutral", Role::NeutralName), to, &self.neutral_name, self.patience())
            .await;
        trials.chrome_hello(open("no_name", Role::Plain), to, "", self.patience()).await;
        trials.chrome_hello(open("again", Role::Repeat), to, name, self.patience()).await;
        trials.hello(open("other_browser", Role::OtherVersion), to, name, self.patience()).await;
        let Some(place) = self.other() else { return };
        let mut arm = open("other_server", Role::OtherAddress);
        match other {
            Ok(ip) => {
                let end = Endpoint { ip: *ip, port: place.port };
                trials.chrome_hello(arm, end, place.name(), self.patience()).await;
            }
            Err(failure) => {
                arm.endpoint = format!("{}:{}", place.host, place.port);
                arm.fail("dns", *failure);
                trials.book.close(arm);
            }
        }
    }

    fn other(&self) -> Option<Place> {
        if self.other_server.is_empty() { None } else { Place::parse(&self.other_server, 443).ok() }
    }

    async fn measure(&self, context: &Context, input: Option<&str>) -> Result<Value, String> {
        let target = Place::parse(input.unwrap_or_default(), 443)?;
        let trials = Trials::new(context);
        let ip = match trials.resolve(&target).await {
            Ok(ip) => ip,
            Err(failure) => {
                let mut arm = arm(&trials.book, "series", Role::Series, 0, "tls_hello");
                arm.endpoint = format!("{}:{}", target.host, target.port);
                arm.fail("dns", failure);
                trials.book.close(arm);
                return Ok(trials.keys());
            }
        };
        let to = Endpoint { ip, port: target.port };
        address_space(&trials, ip);
        // Looked up before the run: afterwards the resolver may be out of reach as well.
        let other = match self.other() {
            Some(place) => trials.resolve(&place).await,
            None => Err(Failure::DnsNoAnswer),
        };
        let began = context.world.now();
        if self.run_of_hellos(&trials, to, target.name()).await {
            self.beside(&trials, to, target.name(), &other).await;
            for (round, seconds) in self.recovery.iter().enumerate() {
                context.world.sleep_until(began + Duration::from_secs(*seconds)).await;
                let arm = arm(&trials.book, "recovery", Role::Recovery, round as u32, "tls_hello");
                let arm = Arm { variant: format!("after-{seconds}"), ..arm };
                trials.chrome_hello(arm, to, target.name(), self.patience()).await;
                if trials.book.last_worked() {
                    break;
                }
            }
        }
        Ok(trials.keys())
    }
}

/// Notes whether the own address is one that a carrier shares out (RFC 6598), never the address.
fn address_space(trials: &Trials<'_>, remote: IpAddr) {
    let shared = matches!(trials.world().own_address(remote), Some(IpAddr::V4(own))
        if own.octets()[0] == 100 && own.octets()[1] & 0xc0 == 64);
    let mut arm = trials.book.open("own_address", Role::Step, "own_address");
    arm.note = if shared { "shared" } else { "not_shared" }.to_owned();
    trials.book.close(arm);
}

impl Experiment for ConnectionPolicer {
    fn name(&self) -> &'static str {
        "connection_policer"
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

    fn alone(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let places = [(input.unwrap_or_default(), "target"), (&self.other_server, "control")];
        let named = places.into_iter().filter(|(text, _)| !text.is_empty());
        named
            .filter_map(|(text, what)| Place::parse(text, 443).ok().map(|place| place.contact(what)))
            .collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input))
    }
}
