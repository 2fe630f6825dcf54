//! `packet_budget`: does a connection to this server freeze after so many packets, or after so many bytes?
//!
//! Reported since June 2025 for foreign hosting: some 25 packets of both ways, or 14 to 34 kB down, then
//! silence without a reset (https://github.com/net4people/bbs/issues/490). The same hello goes out in 64
//! pieces of two bytes and in one segment, which tells packets from bytes, as the l4-25 prober does; a full
//! segment comes first, because a path that loses large packets looks alike
//! (https://github.com/hyperion-cs/dpi-checkers).

use core::time::Duration;

use okno_wire::tls::preset;
use serde::Deserialize;
use serde_json::Value;

use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::flow::Limits;
use crate::helper::replay::{Play, Request};
use crate::net::{Endpoint, Task, random};
use crate::trial::{Fetch, Place, Trials, arm, contact, filled};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PacketBudget {
    /// pieces of the hello, two bytes each (l4-25 prober: 64 bytes in pieces of 2; a hello is longer, so 64
    /// pieces)
    pub pieces: usize,
    /// distance between them, ms (l4-25 prober: 50)
    pub gap_ms: u64,
    /// bytes of the transfers (dpi-checkers: 65,536)
    pub bytes: u64,
    /// longest pause, seconds (l4-25 prober: 5)
    pub seconds: u64,
    /// payload of the full segment
    pub full_segment: usize,
    /// the target is a partner and replays, so that no page is needed
    pub is_partner: bool,
    /// pages at home of at least `bytes`, as controls
    pub domestic: Vec<String>,
    /// pages abroad in other networks, as controls
    pub foreign: Vec<String>,
}

impl Default for PacketBudget {
    /// Controls: large sites that the reports name as passing.
    fn default() -> Self {
        Self {
            pieces: 64,
            gap_ms: 50,
            bytes: 65_536,
            seconds: 5,
            full_segment: 1_440,
            is_partner: false,
            domestic: vec!["https://ya.ru/".to_owned(), "https://www.ozon.ru/".to_owned()],
            foreign: vec!["https://www.wikipedia.org/".to_owned()],
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether connections to a server freeze after a number of packets or bytes",
    trigger: "a transfer of 64 KiB down and one up, and a hello in 64 small pieces",
    control: "the same hello in one segment, one full segment, and the transfer from servers in other \
            networks",
    logic: "transfers stop for good after some kB without a reset, again and at the same place, and the full \
            segment and other networks pass: a budget; the small pieces freeze too: it counts packets; only \
            they pass: it counts bytes; the full segment is lost at once: the path loses large packets",
    blind: "a budget above the page's size; a server that is exempt; for a claim about a network ask \
            three servers \
            of it and one at home",
    bytes: 400_000,
    seconds: 90,
    risk: Risk::Elevated,
    risk_note: "fetches pages of the target and of large sites; sends 64 KiB of random bytes to the target",
    source: "https://github.com/net4people/bbs/issues/490; https://github.com/hyperion-cs/dpi-checkers",
};

impl PacketBudget {
    const fn limits(&self) -> Limits {
        Limits::secs(self.seconds, self.seconds * 4)
    }

    const fn patience(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// A hello in one piece, in small pieces, or filled up to a full segment.
    async fn hellos(&self, trials: &Trials<'_>, to: Endpoint, name: &str) {
        let hello = preset::curl(u64::from_le_bytes(random(&**trials.world())), filled(name));
        let bytes = hello.emit_record();
        let full = hello.padded_to(self.full_segment.saturating_sub(5)).emit_record();
        let open = |label: &str, role: Role, variant: &str| {
            let arm = arm(&trials.book, label, role, 0, "tls_hello");
            Arm { variant: variant.to_owned(), ..arm }
        };
        let whole = open("one_segment", Role::Plain, "one_segment");
        trials.first_flight(whole, to, name, &[&bytes], Duration::ZERO, self.patience()).await;
        let large = open("full_segment", Role::Step, "full_segment");
        trials.first_flight(large, to, name, &[&full], Duration::ZERO, self.patience()).await;
        let (small, rest) = bytes.split_at((self.pieces * 2).min(bytes.len()));
        let mut pieces: Vec<&[u8]> = small.chunks(2).collect();
        if !rest.is_empty() {
            pieces.push(rest);
        }
        let chunks = open("pieces", Role::OtherSize, "pieces");
        let gap = Duration::from_millis(self.gap_ms);
        trials.first_flight(chunks, to, name, &pieces, gap, self.patience()).await;
    }

    /// One transfer with the target.
    async fn transfer(&self, trials: &Trials<'_>, arm: Arm, to: Endpoint, place: &Place, up: bool) {
        let arm = Arm { variant: if up { "up" } else { "down" }.to_owned(), ..arm };
        let done = if self.is_partner {
            let request = if up { Request::Up(self.bytes) } else { Request::Down(self.bytes) };
            let name = filled(place.name());
            let what =
                Play { name, inverted: false, request, patience: self.patience(), limits: self.limits() };
            trials.replay(arm, to, &what).await
        } else {
            trials.web(arm, to, place, &self.fetch(up)).await
        };
        trials.book.close(done);
    }

    const fn fetch(&self, up: bool) -> Fetch {
        let up = if up { self.bytes } else { 0 };
        Fetch { want: self.bytes, up, other_name: None, patience: self.patience(), limits: self.limits() }
    }

    async fn controls(&self, trials: &Trials<'_>, role: Role, label: &str, pages: &[String]) {
        for (round, page) in pages.iter().enumerate() {
            let Ok(place) = Place::parse(page, 443) else { continue };
            let mut arm = arm(&trials.book, label, role, round as u32, "transfer");
            arm.variant = "down".to_owned();
            let done = match trials.resolve(&place).await {
                Ok(ip) => {
                    let end = Endpoint { ip, port: place.port };
                    trials.web(arm, end, &place, &self.fetch(false)).await
                }
                Err(failure) => {
                    arm.endpoint = format!("{}:{}", place.host, place.port);
                    arm.fail("dns", failure);
                    arm
                }
            };
            trials.book.close(done);
        }
    }

    async fn measure(&self, context: &Context, input: Option<&str>) -> Result<Value, String> {
        let place = Place::parse(input.unwrap_or_default(), 443)?;
        let trials = Trials::new(context);
        match trials.resolve(&place).await {
            Ok(ip) => {
                let to = Endpoint { ip, port: place.port };
                let ping = arm(&trials.book, "ping", Role::OtherTransport, 0, "ping");
                trials.pings(ping, ip, 5, 56).await;
                self.hellos(&trials, to, place.name()).await;
                let open = |label: &str, role: Role| arm(&trials.book, label, role, 0, "transfer");
                self.transfer(&trials, open("down", Role::Target), to, &place, false).await;
                self.transfer(&trials, open("up", Role::OtherVersion), to, &place, true).await;
                self.transfer(&trials, open("down.again", Role::Repeat), to, &place, false).await;
            }
            Err(failure) => {
                let mut arm = arm(&trials.book, "down", Role::Target, 0, "transfer");
                arm.endpoint = format!("{}:{}", place.host, place.port);
                arm.fail("dns", failure);
                trials.book.close(arm);
            }
        }
        self.controls(&trials, Role::Domestic, "domestic", &self.domestic).await;
        self.controls(&trials, Role::Foreign, "foreign", &self.foreign).await;
        Ok(trials.keys())
    }
}

impl Experiment for PacketBudget {
    fn name(&self) -> &'static str {
        "packet_budget"
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
        let parse = |text: &str| Place::parse(text, 443).ok();
        let mut contacts = Vec::new();
        if let Some(place) = input.and_then(parse) {
            contacts.push(place.contact("target"));
            contacts.push(contact(&place.host, "icmp", "pings"));
        }
        let controls = self.domestic.iter().chain(&self.foreign).filter_map(|page| parse(page));
        contacts.extend(controls.map(|place| place.contact("control")));
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input))
    }
}
