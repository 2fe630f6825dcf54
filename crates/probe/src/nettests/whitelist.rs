//! `whitelist`: does the network admit only what is on a list, and is the list one of addresses, names, or
//! both?
//!
//! Known places at home and abroad under their own names; then foreign names shown to an address at home (fix
//! the address, vary the name), and names from home shown to addresses abroad (fix the name, vary the
//! address). A hello is delivered when any TLS comes back, be it an alert.

use core::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Task};
use crate::trial::{Place, Trials, arm, contact};

/// What may be chosen. Places are `host`, `host:port`, or `host@address` where the name shall not be looked
/// up.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whitelist {
    /// places that every list holds
    pub domestic: Vec<String>,
    /// places that no list holds and that nothing else blocks
    pub foreign: Vec<String>,
    /// patience with each step, seconds (dpi-checkers: 10)
    pub seconds: u64,
}

impl Default for Whitelist {
    /// The places of dpi-checkers (https://github.com/hyperion-cs/dpi-checkers).
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            domestic: list(&["max.ru", "ya.ru", "vk.ru"]),
            foreign: list(&["github.com", "ru.wikipedia.org", "www.google.com"]),
            seconds: 10,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether only listed places are admitted, by address, by name, or by both",
    trigger: "TLS hellos to places abroad that nothing else blocks",
    control: "the same to places at home; foreign names at an address at home, home's names at addresses \
            abroad",
    logic: "home works and all places abroad fail: a list; a foreign name works at home's address: by \
            address; \
            home's name works abroad: by name; neither: by both; home fails as well: no list but a \
            blackout or an \
            outage",
    blind: "which device holds the list; lists that change by the minute and by cell: repeat; where TCP \
            itself does not open abroad, a cut cable looks the same; an \
            isolation drill \
            looks like a list by address",
    bytes: 30_000,
    seconds: 130,
    risk: Risk::Low,
    risk_note: "a few hellos to large sites; names and addresses that do not belong together are rare in \
                ordinary traffic",
    source: "https://github.com/net4people/bbs/issues/516; https://github.com/hyperion-cs/dpi-checkers",
};

/// A place of the test: `host[:port][@address]`.
fn place(text: &str) -> Option<(Place, Option<core::net::IpAddr>)> {
    let (host, address) = match text.rsplit_once('@') {
        Some((host, address)) => (host, Some(address.parse().ok()?)),
        None => (text, None),
    };
    Some((Place::parse(host, 443).ok()?, address))
}

impl Whitelist {
    fn places(texts: &[String]) -> Vec<(Place, Option<core::net::IpAddr>)> {
        texts.iter().filter_map(|text| place(text)).collect()
    }

    async fn own_names(
        &self,
        trials: &Trials<'_>,
        label: &str,
        role: Role,
        texts: &[String],
    ) -> Vec<(Endpoint, String)> {
        let mut found = Vec::new();
        for (round, (place, address)) in Self::places(texts).into_iter().enumerate() {
            let mut arm = arm(&trials.book, label, role, round as u32, "tls_hello");
            arm.variant = "own_name".to_owned();
            let resolved = match address {
                Some(ip) => Ok(ip),
                None => trials.resolve(&place).await,
            };
            match resolved {
                Ok(ip) => {
                    let end = Endpoint { ip, port: place.port };
                    trials.hello(arm, end, place.name(), self.patience()).await;
                    found.push((end, place.name().to_owned()));
                }
                Err(failure) => {
                    arm.endpoint = format!("{}:{}", place.host, place.port);
                    arm.fail("dns", failure);
                    trials.book.close(arm);
                }
            }
        }
        found
    }

    const fn patience(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    async fn measure(&self, context: &Context) -> Result<Value, String> {
        let trials = Trials::new(context);
        let home = self.own_names(&trials, "domestic", Role::Domestic, &self.domestic).await;
        let abroad = self.own_names(&trials, "foreign", Role::Foreign, &self.foreign).await;
        let crossed = |label: &str, role: Role, round: usize, variant: &str| {
            let arm = arm(&trials.book, label, role, round as u32, "tls_hello");
            Arm { variant: variant.to_owned(), ..arm }
        };
        if let Some((end, _)) = home.first() {
            for (round, (_, name)) in abroad.iter().enumerate() {
                let arm = crossed("home_address", Role::OtherAddress, round, "domestic_address_foreign_name");
                trials.hello(arm, *end, name, self.patience()).await;
            }
        }
        if let Some((_, name)) = home.iter().find(|(_, name)| !name.is_empty()) {
            for (round, (end, _)) in abroad.iter().enumerate() {
                let arm = crossed("home_name", Role::NeutralName, round, "foreign_address_domestic_name");
                trials.hello(arm, *end, name, self.patience()).await;
            }
        }
        Ok(trials.keys())
    }
}

impl Experiment for Whitelist {
    fn name(&self) -> &'static str {
        "whitelist"
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _: Option<&str>) -> Vec<Contact> {
        let all = [(&self.domestic, "place at home"), (&self.foreign, "place abroad")];
        let places = all.into_iter().flat_map(|(texts, what)| {
            Self::places(texts).into_iter().map(move |(place, address)| match address {
                Some(ip) => contact(&ip.to_string(), &format!("tcp/{}", place.port), what),
                None => place.contact(what),
            })
        });
        places.collect()
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context))
    }
}
