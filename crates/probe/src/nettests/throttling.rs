//! `throttling`: is a flow held down for its name, and how?
//!
//! The same transfer from the same address, thrice: under the target's name, under a neutral name, and with
//! every bit inverted. The partner that consents plays the other side. Arms follow one another and are
//! repeated, then target and neutral run at once; round trips are taken beside each, by connects. A page of
//! the target's own server, where one is given, is fetched under both names too: a cache that serves many
//! names shows at its own address what the name costs (https://github.com/net4people/bbs/issues/382).

use core::time::Duration;

use futures::future::join;
use serde::Deserialize;
use serde_json::Value;

use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::flow::Limits;
use crate::helper::replay::{Play, Request};
use crate::net::{Endpoint, Task, sleep};
use crate::trial::{Fetch, Place, Trials, arm, contact};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttling {
    /// a name that nobody filters
    pub neutral_name: String,
    /// address and port of the partner; the helper's when empty
    pub partner: String,
    /// bytes of each transfer: those of the image of 2021 (IMC 2021, doi:10.1145/3487552.3487858)
    pub bytes: u64,
    /// longest time of each transfer, seconds
    pub seconds: u64,
    /// how often each arm runs
    pub rounds: u32,
    /// also the other way
    pub up: bool,
    /// also a page of the target's own server, under its name and under the neutral one
    pub direct: bool,
}

impl Default for Throttling {
    fn default() -> Self {
        Self {
            neutral_name: "example.org".to_owned(),
            partner: String::new(),
            bytes: 383_000,
            seconds: 10,
            rounds: 2,
            up: false,
            direct: true,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a flow is slowed for the name it shows, and by policing or by a queue",
    trigger: "a TLS hello with the target's name, to a partner that consents",
    control: "the same transfer with a neutral name, and with every bit inverted, from the same address \
            and port",
    logic: "slow with the name alone, in bursts with gaps and a steady round trip: policing by name; all \
            slow and \
            round trips grow: a queue; both names slow and the scrambled flow fast: the protocol is degraded",
    blind: "throttling bound to the target's own address; what begins only after minutes or megabytes; a \
            filter \
            that exempts the partner's network",
    bytes: 2_800_000,
    seconds: 110,
    risk: Risk::Elevated,
    risk_note: "sends the target's name in the clear, as opening the site would, several times in two \
            minutes",
    source: "IMC 2021, doi:10.1145/3487552.3487858; https://wehe.meddle.mobi",
};

/// One kind of transfer.
struct Kind<'a> {
    label: &'static str,
    role: Role,
    name: &'a str,
    inverted: bool,
}

impl Throttling {
    fn kinds<'a>(&'a self, target: &'a str) -> [Kind<'a>; 3] {
        [
            Kind { label: "target", role: Role::Target, name: target, inverted: false },
            Kind { label: "neutral", role: Role::NeutralName, name: &self.neutral_name, inverted: false },
            Kind { label: "scrambled", role: Role::Scrambled, name: target, inverted: true },
        ]
    }

    async fn transfer(&self, trials: &Trials<'_>, kind: &Kind<'_>, how: (u32, &str, Endpoint)) {
        let (round, variant, partner) = how;
        let up = variant == "up";
        let label =
            if variant == "down" { kind.label.to_owned() } else { format!("{}.{variant}", kind.label) };
        let mut arm = arm(&trials.book, &label, kind.role, round, "transfer");
        arm.variant = variant.to_owned();
        let what = Play {
            name: Some(kind.name),
            inverted: kind.inverted,
            request: if up { Request::Up(self.bytes) } else { Request::Down(self.bytes) },
            patience: Duration::from_secs(self.seconds),
            limits: Limits::secs(self.seconds, self.seconds),
        };
        let mut arm = trials.replay(arm, partner, &what).await;
        if kind.inverted {
            // The name is not on the wire: every bit of it is inverted.
            arm.server_name.clear();
        }
        trials.book.close(arm);
    }

    /// The target's own page, under its own name and the neutral one.
    async fn own_page(&self, trials: &Trials<'_>, target: &Place) {
        let resolved = trials.resolve(target).await;
        for round in 0..self.rounds {
            for (label, role, other) in
                [("own", Role::Target, None), ("own.neutral", Role::NeutralName, Some(&self.neutral_name))]
            {
                let mut arm = arm(&trials.book, label, role, round, "transfer");
                arm.variant = "direct".to_owned();
                let fetch = Fetch {
                    want: self.bytes,
                    up: 0,
                    other_name: other.cloned(),
                    patience: Duration::from_secs(self.seconds),
                    limits: Limits::secs(self.seconds, self.seconds),
                };
                let done = match resolved {
                    Ok(ip) => trials.web(arm, Endpoint { ip, port: target.port }, target, &fetch).await,
                    Err(failure) => {
                        arm.endpoint = format!("{}:{}", target.host, target.port);
                        arm.fail("dns", failure);
                        arm
                    }
                };
                trials.book.close(done);
                sleep(&**trials.world(), Duration::from_secs(1)).await;
            }
        }
    }

    async fn replays(&self, trials: &Trials<'_>, partner: Endpoint, name: &str) {
        let pings = arm(&trials.book, "ping", Role::OtherTransport, 0, "ping");
        trials.pings(pings, partner.ip, 10, 56).await;
        let kinds = self.kinds(name);
        for round in 0..self.rounds {
            for kind in &kinds {
                self.transfer(trials, kind, (round, "down", partner)).await;
                // What is left in queues and buckets drains.
                sleep(&**trials.world(), Duration::from_secs(1)).await;
            }
        }
        if self.up {
            for kind in &kinds {
                self.transfer(trials, kind, (0, "up", partner)).await;
                sleep(&**trials.world(), Duration::from_secs(1)).await;
            }
        }
        let [first, second, _] = &kinds;
        let together = (0, "parallel", partner);
        join(self.transfer(trials, first, together), self.transfer(trials, second, together)).await;
    }

    async fn measure(&self, context: &Context, input: Option<&str>) -> Result<Value, String> {
        let target = Place::parse(input.unwrap_or_default(), 443)?;
        if target.name().is_empty() {
            return Err("throttling by name needs a name".to_owned());
        }
        let trials = Trials::new(context);
        let partner = trials.partner(&self.partner);
        // A page's path was given: then there is something to fetch.
        let direct = self.direct && input.is_some_and(|input| input.contains("://")) && !target.plain;
        if partner.is_none() && !direct {
            return Err(
                "throttling needs a helper that replays, or a page: https://site.example/large".to_owned()
            );
        }
        if let Some(partner) = partner {
            self.replays(&trials, partner, target.name()).await;
        }
        if direct {
            self.own_page(&trials, &target).await;
        }
        Ok(trials.keys())
    }
}

impl Experiment for Throttling {
    fn name(&self) -> &'static str {
        "throttling"
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
        let mut contacts = partner_contact(&self.partner, "replays, and pings", true);
        let page = input.filter(|text| self.direct && text.contains("://"));
        if let Some(place) = page.and_then(|text| Place::parse(text, 443).ok()) {
            contacts.push(place.contact("its own page, under two names"));
        }
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input))
    }
}

/// The partner as contacts; the word `helper` stands for the session's helper.
pub fn partner_contact(partner: &str, purpose: &str, ping: bool) -> Vec<Contact> {
    let (host, port) = match partner.parse::<Endpoint>() {
        Ok(end) => (end.ip.to_string(), end.port),
        Err(_) => ("helper".to_owned(), crate::helper::partner::PORT),
    };
    let mut contacts = vec![contact(&host, &format!("tcp/{port}"), purpose)];
    if ping {
        contacts.push(contact(&host, "icmp", "pings"));
    }
    contacts
}
