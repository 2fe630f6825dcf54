//! `initiation`: does it matter who opened the connection?
//!
//! Rules of the Russian boxes look only at flows whose first packet came from the subscriber (IMC 2022,
//! doi:10.1145/3517745.3561461). The same hello goes to the partner on a connection from inside, on one that
//! the partner opened on request, and downwards, said by the partner on a connection from inside, which
//! shows whether the box reads that way at all (IMC 2021, doi:10.1145/3487552.3487858).

use core::time::Duration;

use okno_model::Failure;
use serde::Deserialize;
use serde_json::Value;

use super::throttling::partner_contact;
use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::flow::Limits;
use crate::helper::replay::{self, Play, Request, Talk};
use crate::net::{Dial, Endpoint, Listener, Stream, Task, sleep, within};
use crate::trial::{Place, Trials, arm};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Initiation {
    /// a name that nobody filters
    pub neutral_name: String,
    /// address and port of the partner; the helper's when empty
    pub partner: String,
    /// bytes of content after each hello
    pub bytes: u64,
    /// patience with each step, seconds
    pub seconds: u64,
}

impl Default for Initiation {
    fn default() -> Self {
        Self { neutral_name: "example.org".to_owned(), partner: String::new(), bytes: 32_000, seconds: 8 }
    }
}

static MANUAL: Manual = Manual {
    title: "whether interference depends on who opens the connection, and on which way the name goes",
    trigger: "a TLS hello with the target's name on a connection that the probe opens",
    control: "the same on a connection that the partner opens; neutral names on both; the hello said by \
            the partner",
    logic: "fails from inside and works from outside, while neutral names work on both: the rule looks at \
            flows \
            that subscribers open; fails on both: it does not care; the partner's own hello works where the \
            probe's fails: the box reads one way only",
    blind: "behind a NAT no connection comes in, and only the first part is told",
    bytes: 200_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "sends the target's name in the clear and opens a port for the partner for some seconds",
    source: "IMC 2022, doi:10.1145/3517745.3561461",
};

/// Which way a trial goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    FromInside,
    FromOutside,
    HelloDown,
}

impl Initiation {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn play<'a>(&self, name: &'a str, request: Request) -> Play<'a> {
        let limits = Limits::secs(self.seconds, self.seconds * 2);
        Play { name: Some(name), inverted: false, request, patience: self.patience(), limits }
    }

    /// One trial; `name` is what the hello carries.
    async fn trial(&self, trials: &Trials<'_>, partner: Endpoint, what: (&str, Role, Way), name: &str) {
        let (label, role, way) = what;
        let mut arm = arm(&trials.book, label, role, 0, "transfer");
        arm = match way {
            Way::FromInside => {
                arm.variant = "from_inside".to_owned();
                trials.replay(arm, partner, &self.play(name, Request::Down(self.bytes))).await
            }
            Way::HelloDown => {
                arm.variant = "hello_from_partner".to_owned();
                let request = Request::HelloDown(name.to_owned(), self.bytes);
                trials.replay(arm, partner, &self.play(&self.neutral_name, request)).await
            }
            Way::FromOutside => {
                arm.variant = "from_outside".to_owned();
                let mut arm = arm.toward(partner, name);
                match self.inbound(trials, partner).await {
                    Ok(stream) => {
                        let mut talk = Talk::new(stream, false);
                        let what = self.play(name, Request::Down(self.bytes));
                        let played = replay::play(&**trials.world(), &mut talk, &what).await;
                        arm.received_bytes = played.series.bytes();
                        arm.goodput = played.series.goodput();
                        arm.note = played.ending.word().to_owned();
                        if let Some(failure) = played.ending.failure() {
                            arm.fail(played.failed_at, failure);
                        }
                    }
                    Err((note, failure)) => {
                        arm.note = note;
                        arm.fail("tcp", failure);
                    }
                }
                arm
            }
        };
        arm.server_name = name.to_owned();
        trials.book.close(arm);
    }

    /// Asks the partner to dial, and takes its connection.
    async fn inbound(
        &self,
        trials: &Trials<'_>,
        partner: Endpoint,
    ) -> Result<Box<dyn Stream>, (String, Failure)> {
        let net = &**trials.world();
        let own =
            net.own_address(partner.ip).ok_or(("no_address".to_owned(), Failure::NetworkUnreachable))?;
        let local = |error: crate::net::NetError| ("no_port".to_owned(), error.kind.failure());
        let mut listener = net.listen(Endpoint { ip: own, port: 0 }).map_err(local)?;
        let ask = self.play(&self.neutral_name, Request::DialBack(listener.local().port));
        let asked = self.ask(trials, partner, &ask);
        let (said, came) = futures::future::join(asked, self.accept(trials, &mut *listener, partner)).await;
        match (came, said) {
            (Some(stream), _) => Ok(stream),
            (None, Ok(said)) => Err((format!("partner_{said}"), Failure::GenericTimeout)),
            (None, Err(failure)) => Err(("not_asked".to_owned(), failure)),
        }
    }

    async fn ask(&self, trials: &Trials<'_>, partner: Endpoint, what: &Play<'_>) -> Result<String, Failure> {
        let net = &**trials.world();
        let dial = Dial { patience: self.patience(), ..Dial::to(partner) };
        let stream = net.connect(dial).await.map_err(|error| error.kind.failure())?;
        let played = replay::play(net, &mut Talk::new(stream, false), what).await;
        match played.ending.failure() {
            None => Ok(played.reply),
            Some(failure) => Err(failure),
        }
    }

    /// The next connection that comes from the partner's address; others are closed on.
    async fn accept(
        &self,
        trials: &Trials<'_>,
        listener: &mut dyn Listener,
        partner: Endpoint,
    ) -> Option<Box<dyn Stream>> {
        let net = &**trials.world();
        let until = net.now() + self.patience() + crate::helper::dialback::PATIENCE;
        loop {
            match within(net, until.since(net.now()), listener.accept()).await {
                Some(Ok(stream)) if stream.ends().1.ip == partner.ip => return Some(stream),
                Some(Ok(stranger)) => stranger.abort(),
                _ => return None,
            }
        }
    }

    async fn measure(&self, context: &Context, input: Option<&str>) -> Result<Value, String> {
        let target = Place::parse(input.unwrap_or_default(), 443)?;
        if target.name().is_empty() {
            return Err("initiation needs a name".to_owned());
        }
        let trials = Trials::new(context);
        let partner = trials.partner(&self.partner);
        let partner = partner.ok_or("initiation needs a partner that dials back: give a helper")?;
        let all: [(&str, Role, Way, &str); 6] = [
            ("inside.neutral", Role::NeutralName, Way::FromInside, &self.neutral_name),
            ("inside.target", Role::Target, Way::FromInside, target.name()),
            ("outside.neutral", Role::Plain, Way::FromOutside, &self.neutral_name),
            ("outside.target", Role::Inbound, Way::FromOutside, target.name()),
            ("downward.target", Role::OtherVersion, Way::HelloDown, target.name()),
            ("inside.again", Role::Repeat, Way::FromInside, target.name()),
        ];
        for (label, role, way, name) in all {
            self.trial(&trials, partner, (label, role, way), name).await;
            sleep(&*context.world, Duration::from_millis(500)).await;
        }
        Ok(trials.keys())
    }
}

impl Experiment for Initiation {
    fn name(&self) -> &'static str {
        "initiation"
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

    fn contacts(&self, _: Option<&str>) -> Vec<Contact> {
        partner_contact(&self.partner, "replays, and dials back", false)
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input))
    }
}
