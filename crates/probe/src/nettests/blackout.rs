//! `blackout`: what still answers when little does?
//!
//! A captive portal is looked for first; then the first routers (by echo requests that end on the way, so
//! that no private address is contacted), the system's resolver, places at home and abroad by name and by
//! address, and one page at home for the speed. Whether other operators of the region are silent too, one
//! probe cannot know (https://github.com/net4people/bbs/issues/515).

use core::time::Duration;

use okno_model::Failure;
use serde::Deserialize;
use serde_json::Value;

use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::flow::{self, Ending, Limits};
use crate::net::{Dial, Endpoint, Task, within};
use crate::tcp;
use crate::trial::{Fetch, Place, Trials, arm, contact, millis};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blackout {
    /// plain HTTP URLs that answer 204, for a captive portal
    pub captive: Vec<String>,
    /// names at home; looked up, then contacted
    pub domestic: Vec<String>,
    /// names abroad
    pub foreign: Vec<String>,
    /// addresses at home, for when no name resolves
    pub domestic_addresses: Vec<String>,
    /// addresses abroad
    pub foreign_addresses: Vec<String>,
    /// a page at home for the speed
    pub page: String,
    /// routers asked, by TTL
    pub routers: u8,
    /// patience with each step, seconds
    pub seconds: u64,
}

impl Default for Blackout {
    /// Anycast resolvers that serve TLS stand for addresses; portals' pages are those of Android and Firefox.
    fn default() -> Self {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            captive: list(&[
                "http://connectivitycheck.gstatic.com/generate_204",
                "http://detectportal.firefox.com/success.txt?ipv4",
            ]),
            domestic: list(&["ya.ru", "vk.com", "gosuslugi.ru"]),
            foreign: list(&["www.wikipedia.org", "github.com", "www.google.com"]),
            domestic_addresses: list(&["77.88.8.8:443"]),
            foreign_addresses: list(&["1.1.1.1:443", "9.9.9.9:443"]),
            page: "https://ya.ru/".to_owned(),
            routers: 6,
            seconds: 6,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether nothing passes, and whether that is a portal, the own line, or the network",
    trigger: "none: it looks at what is there",
    control: "a portal check, the first routers, the resolver, places at home and abroad",
    logic: "a portal answers: log in first; the first router is silent, or the system has no route: the \
            own line; \
            routers say unreachable: an outage beyond; routers answer and everything behind them is \
            silent, home \
            included: a blackout, or an outage that says nothing; home answers: no blackout",
    blind: "an outage of the operator that drops in silence looks the same: ask other operators and fixed \
            lines \
            of the region, and routing",
    bytes: 120_000,
    seconds: 150,
    risk: Risk::Low,
    risk_note: "contacts large sites as any browser does",
    source: "https://github.com/net4people/bbs/issues/515; https://github.com/net4people/bbs/issues/516",
};

impl Blackout {
    const fn patience(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What a portal check got: a status, or how it failed.
    async fn captive(&self, trials: &Trials<'_>, round: usize, url: &str) {
        let Ok(place) = Place::parse(url, 80) else { return };
        let mut arm = arm(&trials.book, "portal", Role::Plain, round as u32, "http_get");
        match trials.resolve(&place).await {
            Err(failure) => arm.fail("dns", failure),
            Ok(ip) => {
                let to = Endpoint { ip, port: place.port };
                arm = arm.toward(to, "");
                let scope = trials.scope(&mut arm);
                match self.status(trials, &scope, to, &place).await {
                    Ok((204, _)) => arm.note = "as_expected".to_owned(),
                    Ok((200, body)) if body.contains("\r\n\r\nsuccess") => {
                        arm.note = "as_expected".to_owned()
                    }
                    Ok((300..=399 | 511, _)) => arm.note = "redirect".to_owned(),
                    Ok((200, _)) => arm.note = "page".to_owned(),
                    Ok(_) => arm.note = "other_status".to_owned(),
                    Err((step, failure)) => arm.fail(step, failure),
                }
            }
        }
        trials.book.close(arm);
    }

    /// Status and text of a plain GET, up to 4 kB.
    async fn status(
        &self,
        trials: &Trials<'_>,
        scope: &crate::trace::Scope,
        to: Endpoint,
        place: &Place,
    ) -> Result<(u16, String), (&'static str, Failure)> {
        let net = &**trials.world();
        let dial = Dial { patience: self.patience(), ..Dial::to(to) };
        let mut stream =
            tcp::connect_detailed(scope, dial).await.map_err(|error| ("tcp", error.kind.failure()))?;
        let request =
            format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", place.path, place.host);
        let failed = |ending: Ending| ("http", ending.failure().unwrap_or(Failure::Unknown));
        flow::write_all(net, &mut stream, request.as_bytes(), self.patience()).await.map_err(failed)?;
        let mut text = Vec::new();
        let mut chunk = [0; 1_024];
        while text.len() < 4_096 {
            match flow::read(net, &mut stream, &mut chunk, self.patience()).await {
                Ok(taken) => text.extend_from_slice(&chunk[..taken]),
                Err(_) if !text.is_empty() => break,
                Err(ending) => return Err(failed(ending)),
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        status.map(|status| (status, text)).ok_or(("http", Failure::HttpRequestFailed))
    }

    /// The routers on the way: which TTLs are answered.
    async fn routers(&self, trials: &Trials<'_>, toward: Endpoint) {
        for ttl in 1..=self.routers {
            let mut arm = arm(&trials.book, "router", Role::Step, u32::from(ttl), "ping");
            arm.ttl = Some(ttl);
            arm.value = Some(f64::from(ttl));
            arm.endpoint = toward.ip.to_string();
            let patience = Duration::from_secs(2);
            let answer = trials.world().ping(toward.ip, Some(ttl), 56, patience).await;
            let mut reached = false;
            match answer {
                Ok(echo) => {
                    reached = echo.reached;
                    arm.note = if reached { "reached" } else { "icmp_time_exceeded" }.to_owned();
                    arm.rtt_ms = Some(millis(echo.rtt));
                }
                Err(error) => arm.fail("ping", error.kind.failure()),
            }
            trials.book.close(arm);
            if reached {
                return;
            }
        }
    }

    async fn places(&self, trials: &Trials<'_>, label: &str, role: Role, names: &[String]) {
        for (round, text) in names.iter().enumerate() {
            let Ok(place) = Place::parse(text, 443) else { continue };
            let mut to = place.address();
            if to.is_none() {
                let mut lookup = arm(&trials.book, &format!("{label}.name"), role, round as u32, "dns_query");
                lookup.variant = "name".to_owned();
                lookup.endpoint = place.host.clone();
                let found = within(&**trials.world(), self.patience(), trials.resolve(&place)).await;
                match found.unwrap_or(Err(Failure::GenericTimeout)) {
                    Ok(ip) => to = Some(ip),
                    Err(failure) => lookup.fail("dns", failure),
                }
                trials.book.close(lookup);
            }
            if let Some(ip) = to {
                let mut arm = arm(&trials.book, label, role, round as u32, "tls_hello");
                arm.variant = if place.address().is_some() { "address" } else { "place" }.to_owned();
                let end = Endpoint { ip, port: place.port };
                trials.hello(arm, end, place.name(), self.patience()).await;
            }
        }
    }

    async fn page(&self, trials: &Trials<'_>) {
        let Ok(place) = Place::parse(&self.page, 443) else { return };
        let mut arm = arm(&trials.book, "page", Role::OtherSize, 0, "transfer");
        arm.variant = "page".to_owned();
        let fetch = Fetch {
            want: 65_536,
            up: 0,
            other_name: None,
            patience: self.patience() * 2,
            limits: Limits::secs(self.seconds, self.seconds * 2),
        };
        let done = match trials.resolve(&place).await {
            Ok(ip) => trials.web(arm, Endpoint { ip, port: place.port }, &place, &fetch).await,
            Err(failure) => {
                arm.fail("dns", failure);
                arm
            }
        };
        trials.book.close(done);
    }

    async fn measure(&self, context: &Context) -> Result<Value, String> {
        let trials = Trials::new(context);
        for (round, url) in self.captive.iter().enumerate() {
            self.captive(&trials, round, url).await;
        }
        if let Some(toward) = self.foreign_addresses.first().and_then(|text| text.parse().ok()) {
            self.routers(&trials, toward).await;
        }
        self.places(&trials, "domestic", Role::Domestic, &self.domestic).await;
        self.places(&trials, "domestic_address", Role::Domestic, &self.domestic_addresses).await;
        self.places(&trials, "foreign", Role::Foreign, &self.foreign).await;
        self.places(&trials, "foreign_address", Role::Foreign, &self.foreign_addresses).await;
        if !self.page.is_empty() {
            self.page(&trials).await;
        }
        Ok(trials.keys())
    }
}

impl Experiment for Blackout {
    fn name(&self) -> &'static str {
        "blackout"
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
        let groups = [
            (&self.captive, "portal check"),
            (&self.domestic, "place at home"),
            (&self.domestic_addresses, "place at home"),
            (&self.foreign, "place abroad"),
            (&self.foreign_addresses, "place abroad"),
        ];
        let all = groups.into_iter().flat_map(|(texts, what)| texts.iter().map(move |text| (text, what)));
        let page = (!self.page.is_empty()).then_some((&self.page, "page at home"));
        let places = all.chain(page).filter_map(|(text, what)| Some((Place::parse(text, 443).ok()?, what)));
        let mut contacts: Vec<Contact> = places.map(|(place, what)| place.contact(what)).collect();
        if let Some(place) = self.foreign_addresses.first().and_then(|text| Place::parse(text, 443).ok()) {
            contacts.push(contact(&place.host, "icmp", "echo requests that end at routers on the way"));
        }
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context))
    }
}
