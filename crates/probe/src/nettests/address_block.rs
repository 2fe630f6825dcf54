//! `address_block`: is it this address that is silent, its block, everything abroad, or the server itself?
//!
//! Boxes that block an address drop all that a subscriber sends to it, whatever port or protocol (IMC 2022,
//! doi:10.1145/3517745.3561461); banned addresses die one by one, some minutes after they were used
//! (https://github.com/net4people/bbs/issues/671). From inside that is a server that is down: so the helper
//! looks from outside, and addresses beside it, at home and abroad are tried too.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use okno_model::Failure;
use serde::Deserialize;
use serde_json::Value;

use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::helper::web::protocol::HelperRequest;
use crate::helper::web::{Ask, ask};
use crate::net::{Dial, Endpoint, Task, sleep};
use crate::tcp;
use crate::trial::{Place, Trials, arm, contact, millis};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AddressBlock {
    /// places at home, `host` or `host:port`
    pub domestic: Vec<String>,
    /// places abroad
    pub foreign: Vec<String>,
    /// other ports of the target
    pub ports: Vec<u16>,
    /// neighbours: what is added to the last byte of an IPv4 address
    pub neighbours: Vec<i16>,
    /// tries of the target, each from a fresh port
    pub tries: u32,
    /// patience with each connect, seconds
    pub seconds: u64,
    /// seconds after which an address that answered is tried again; bans came after 300 to 900
    /// (https://github.com/DanielLavrushin/tspu-docs)
    pub later: Vec<u64>,
}

impl Default for AddressBlock {
    fn default() -> Self {
        Self {
            domestic: vec!["ya.ru".to_owned(), "vk.com".to_owned()],
            foreign: vec!["www.wikipedia.org".to_owned(), "www.google.com".to_owned()],
            ports: vec![80, 22],
            neighbours: vec![1, -1, 2, -2],
            tries: 3,
            seconds: 6,
            later: Vec::new(),
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether an address is silenced, or its block, or all abroad, or its server is down",
    trigger: "SYNs and echo requests to the address, some from fresh ports",
    control: "other ports of it, addresses beside it, places at home and abroad, and the helper's connect \
            to it",
    logic: "silent on every port and to echo requests, while the helper reaches it and others answer \
            here: the address \
            is blocked; the helper does not reach it either: it is down; all abroad is silent: a list or \
            isolation; \
            it answers first and not some minutes later: banned after use",
    blind: "without a helper a server that is down looks the same; neighbours that do not exist are \
            silent too",
    bytes: 4_000,
    seconds: 120,
    risk: Risk::Elevated,
    risk_note: "contacts the suspected address, and four unknown ones beside it, with a SYN each",
    source: "IMC 2022, doi:10.1145/3517745.3561461; https://github.com/net4people/bbs/issues/671",
};

/// Addresses of the same /24, those at its ends left out.
fn beside(ip: IpAddr, steps: &[i16]) -> Vec<IpAddr> {
    let IpAddr::V4(v4) = ip else { return Vec::new() };
    let [a, b, c, d] = v4.octets();
    let near = steps.iter().filter_map(|step| u8::try_from(i16::from(d) + step).ok());
    near.filter(|last| (1..255).contains(last) && *last != d)
        .map(|last| IpAddr::V4(Ipv4Addr::new(a, b, c, last)))
        .collect()
}

impl AddressBlock {
    /// A SYN and its answer; nothing is sent on the connection.
    async fn connect(&self, trials: &Trials<'_>, arm: Arm, to: Endpoint) -> bool {
        let mut arm = arm.toward(to, "");
        let scope = trials.scope(&mut arm);
        let dial = Dial { patience: Duration::from_secs(self.seconds), ..Dial::to(to) };
        let from = trials.world().now();
        let opened = match tcp::connect_detailed(&scope, dial).await {
            Ok(flow) => {
                arm.rtt_first_ms = Some(millis(trials.world().now().since(from)));
                flow.abort();
                true
            }
            Err(error) => {
                arm.fail("tcp", error.kind.failure());
                false
            }
        };
        trials.book.close(arm);
        opened
    }

    async fn places(&self, trials: &Trials<'_>, label: &str, role: Role, texts: &[String]) {
        for (round, text) in texts.iter().enumerate() {
            let Ok(place) = Place::parse(text, 443) else { continue };
            let mut arm = arm(&trials.book, label, role, round as u32, "tcp_connect");
            match trials.resolve(&place).await {
                Ok(ip) => {
                    self.connect(trials, arm, Endpoint { ip, port: place.port }).await;
                }
                Err(failure) => {
                    arm.endpoint = format!("{}:{}", place.host, place.port);
                    arm.fail("dns", failure);
                    trials.book.close(arm);
                }
            }
        }
    }

    /// What the helper sees of the address.
    async fn outside(&self, trials: &Trials<'_>, place: &Place, to: Endpoint) {
        let context = trials.context;
        let Some(url) = context.helper.as_deref() else { return };
        let mut arm = arm(&trials.book, "outside", Role::Outside, 0, "tcp_connect").toward(to, "");
        let scheme = if place.plain { "http" } else { "https" };
        let request = HelperRequest {
            http_request: format!("{scheme}://{}:{}/", place.host, to.port),
            tcp_connect: vec![to.to_string()],
            ..HelperRequest::default()
        };
        let whom = Ask { url, addresses: &context.helper_addresses };
        match ask(context, whom, &request).await {
            Ok(answer) => match answer.tcp_connect.get(&to.to_string()) {
                Some(seen) if seen.status => {}
                Some(seen) => {
                    let failure = seen.failure.as_deref().map_or(Failure::Unknown, Failure::from_ooni);
                    arm.fail("tcp", failure);
                }
                None => return,
            },
            // A helper that was not reached says nothing of the address.
            Err(_) => return,
        }
        trials.book.close(arm);
    }

    async fn measure(&self, context: &Context, input: Option<&str>) -> Result<Value, String> {
        let place = Place::parse(input.unwrap_or_default(), 443)?;
        let trials = Trials::new(context);
        self.places(&trials, "domestic", Role::Domestic, &self.domestic).await;
        self.places(&trials, "foreign", Role::Foreign, &self.foreign).await;
        let ip = match trials.resolve(&place).await {
            Ok(ip) => ip,
            Err(failure) => {
                let mut arm = arm(&trials.book, "target", Role::Target, 0, "tcp_connect");
                arm.endpoint = format!("{}:{}", place.host, place.port);
                arm.fail("dns", failure);
                trials.book.close(arm);
                return Ok(trials.keys());
            }
        };
        let to = Endpoint { ip, port: place.port };
        let began = context.world.now();
        let open = |label: &str, role: Role, round: u32| arm(&trials.book, label, role, round, "tcp_connect");
        let mut answered = false;
        for round in 0..self.tries.max(1) {
            let role = if round == 0 { Role::Target } else { Role::Repeat };
            answered |= self.connect(&trials, open("target", role, round), to).await;
            sleep(&*context.world, Duration::from_millis(200)).await;
        }
        let ping = arm(&trials.book, "ping", Role::OtherTransport, 0, "ping");
        trials.pings(ping, ip, 3, 56).await;
        for (round, port) in self.ports.iter().filter(|port| **port != to.port).enumerate() {
            let end = Endpoint { ip, port: *port };
            self.connect(&trials, open("other_port", Role::OtherPort, round as u32), end).await;
        }
        for (round, near) in beside(ip, &self.neighbours).into_iter().enumerate() {
            let end = Endpoint { ip: near, port: to.port };
            self.connect(&trials, open("neighbour", Role::Neighbour, round as u32), end).await;
        }
        if answered && !self.later.is_empty() {
            let hello = arm(&trials.book, "use", Role::Plain, 0, "tls_hello");
            trials.hello(hello, to, place.name(), Duration::from_secs(self.seconds)).await;
            for (round, seconds) in self.later.iter().enumerate() {
                context.world.sleep_until(began + Duration::from_secs(*seconds)).await;
                self.connect(&trials, open("later", Role::Recovery, round as u32), to).await;
            }
        }
        self.outside(&trials, &place, to).await;
        Ok(trials.keys())
    }
}

impl Experiment for AddressBlock {
    fn name(&self) -> &'static str {
        "address_block"
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
        let parse = |text: &str| Place::parse(text, 443).ok();
        let mut contacts = Vec::new();
        if let Some(place) = input.and_then(parse) {
            contacts.push(place.contact("target"));
            contacts.push(contact(&place.host, "icmp", "pings"));
            let ports = self.ports.iter().filter(|port| **port != place.port);
            contacts.extend(ports.map(|port| contact(&place.host, &format!("tcp/{port}"), "another port")));
            match place.address() {
                Some(ip) => contacts.extend(beside(ip, &self.neighbours).iter().map(|near| {
                    contact(&near.to_string(), &format!("tcp/{}", place.port), "an address beside it")
                })),
                None if !self.neighbours.is_empty() => contacts.push(contact(
                    &format!("{}/24", place.host),
                    &format!("tcp/{}", place.port),
                    "addresses beside its own",
                )),
                None => {}
            }
        }
        let all = [(&self.domestic, "control at home"), (&self.foreign, "control abroad")];
        let places = all.into_iter().flat_map(|(texts, what)| texts.iter().map(move |text| (text, what)));
        contacts.extend(places.filter_map(|(text, what)| Some(parse(text)?.contact(what))));
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context, input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_stay_in_the_block_and_leave_its_ends_out() {
        let near = |text: &str| beside(text.parse().unwrap(), &[1, -1, 2, -2, 0]);
        let ips =
            |texts: &[&str]| texts.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
        assert_eq!(near("192.0.2.2"), ips(&["192.0.2.3", "192.0.2.1", "192.0.2.4"]));
        assert_eq!(near("192.0.2.254"), ips(&["192.0.2.253", "192.0.2.252"]));
        assert!(near("2001:db8::1").is_empty());
    }
}
