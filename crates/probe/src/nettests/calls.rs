//! `calls`: do STUN, TURN, media and DTLS pass where random datagrams of the same sizes do?
//!
//! Calls of messengers were degraded, not cut: one protocol loses packets at random while the rest of the
//! path is clean (regulator's statement of 13 August 2025; the knob "capacity" of
//! https://github.com/DanielLavrushin/tspu-docs ch. 17.3). So this test counts: loss, jitter and round trips
//! of media both ways, beside random datagrams of the same sizes and rate, TCP and ICMP on the same path.

use core::net::IpAddr;
use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::arm_book::ArmBook;
use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::Task;
use crate::talk::bout::{address, target, usual};
use crate::talk::call::{Hello, Part};
use crate::talk::{Bout, Pace, Plan};

/// What it sends and how fast.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// requests of STUN and TURN in a row
    pub requests: u32,
    /// packets of media, one every 20 ms (RFC 7587 §4.1)
    pub media_packets: u32,
    /// bytes of a packet of media: Opus at 32 kbit/s and its header
    pub media_bytes: usize,
    /// records after a DTLS hello; its rule fires some time after the hello
    /// (https://github.com/net4people/bbs/issues/603)
    pub records: u32,
    /// milliseconds between two requests or records
    pub every_ms: u64,
    /// tries of the first message
    pub tries: u32,
    /// milliseconds before the second try (RFC 8489 §6.2.1: 500); each further wait doubles
    pub wait_ms: u64,
    /// milliseconds of waiting for late answers
    pub tail_ms: u64,
    /// a port of the same host that no call uses
    pub other_port: u16,
    /// a host at home that runs the helper too, or a STUN server at home
    pub domestic: Option<String>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            requests: 40,
            media_packets: 200,
            media_bytes: 92,
            records: 40,
            every_ms: 80,
            tries: 4,
            wait_ms: 500,
            tail_ms: 1_500,
            other_port: 40_123,
            domestic: None,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether calls get through: STUN, TURN, media and DTLS, with loss and jitter",
    trigger: "STUN binding requests, TURN allocations, RTP after STUN, or a DTLS hello and records after it, to a host that consents and answers, on the ports that messengers use",
    control: "random datagrams of the same sizes and rate to the same address and port, before and after, and from the call's own source port at once; both to another port; DTLS hellos with other fingerprints; TCP and ICMP to the same address; the same to a host at home",
    logic: "much more of the call's datagrams lost than of random ones, twice: the protocol is degraded or dropped. Both lose alike: the path is lossy. Only one hello's flow falls silent: its fingerprint is filtered",
    blind: "on which way the loss happened; rules that know a messenger's own servers by address; media that is not RTP; a few per cent of loss",
    bytes: 250_000,
    seconds: 90,
    risk: Risk::Elevated,
    risk_note: "Looks like a call over the internet to a foreign server. Where calls are restricted a filter may count it.",
    source: "https://github.com/DanielLavrushin/tspu-docs",
};

impl Calls {
    fn parse<'a>(&self, input: Option<&'a str>) -> Result<(Part, &'a str, u16), String> {
        let names = Part::ALL.map(Part::as_str).join(", ");
        let expected =
            || format!("give PART://HOST[:PORT] of a host that runs the helper; PART is one of {names}");
        let target = input.and_then(target).ok_or_else(expected)?;
        let part = Part::parse(target.scheme).ok_or_else(expected)?;
        // RFC 8489 §18.6; calls of Telegram use 1400 too.
        Ok((part, target.host, target.port.unwrap_or(3_478)))
    }

    fn pace(&self, part: Part) -> Pace {
        let millis = Duration::from_millis;
        let (packets, len, every) = match part {
            Part::Stun | Part::Turn => (self.requests, 20, millis(self.every_ms)),
            Part::Media | Part::Rtp => (self.media_packets, self.media_bytes, millis(20)),
            Part::Dtls => (self.records, 120, millis(self.every_ms)),
        };
        Pace {
            tries: self.tries.clamp(1, 8),
            wait: millis(self.wait_ms),
            packets: packets.min(5_000),
            len: len.min(1_300),
            every,
            tail: millis(self.tail_ms),
        }
    }

    async fn measure(&self, context: &Context, book: &ArmBook, part: Part, ip: IpAddr, port: u16) {
        let net = &*context.world;
        let bout = Bout {
            context,
            book,
            variant: part.as_str(),
            pace: self.pace(part),
            framing: None,
            letters: false,
        };
        for plan in usual(port, self.other_port) {
            bout.hold(ip, &plan, &mut part.client(Hello::Pion, net)).await;
        }
        if part == Part::Dtls {
            for (name, role, hello) in [
                ("randomised", Role::Plain, Hello::Randomised),
                ("version_1_3", Role::OtherVersion, Hello::Version13),
            ] {
                let plan = Plan { name, role, round: 0, port, noise: false };
                bout.hold(ip, &plan, &mut part.client(hello, net)).await;
            }
        }
        if let Some(home) = &self.domestic
            && let Ok(home) = address(context, home).await
        {
            let plan = Plan { name: "domestic", role: Role::Domestic, round: 0, port, noise: false };
            bout.hold(home, &plan, &mut part.client(Hello::Pion, net)).await;
        }
        bout.beside(ip, self.other_port).await;
    }
}

impl Experiment for Calls {
    fn name(&self) -> &'static str {
        "calls"
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
        let Ok((_, host, port)) = self.parse(input) else { return Vec::new() };
        let contact = |host: &str, port: String, purpose: &str| Contact {
            host: host.to_owned(),
            port,
            purpose: purpose.to_owned(),
        };
        let mut contacts = vec![
            contact(host, format!("udp/{port}"), "a call's datagrams and random ones of their sizes"),
            contact(host, format!("udp/{}", self.other_port), "the same on another port"),
            contact(host, format!("tcp/{}", self.other_port), "whether the host is alive"),
            contact(host, "icmp".to_owned(), "whether the host is alive, and loss"),
        ];
        if let Some(domestic) = &self.domestic {
            contacts.push(contact(domestic, format!("udp/{port}"), "the same at home"));
        }
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let (part, host, port) = self.parse(input)?;
            let book = ArmBook::new(context);
            let mut failure = None;
            match address(context, host).await {
                Ok(ip) => self.measure(context, &book, part, ip, port).await,
                Err(error) => failure = Some(error),
            }
            let mut keys = book.keys();
            keys.insert("protocol".to_owned(), json!(part.as_str()));
            keys.insert("failure".to_owned(), json!(failure));
            Ok(Value::Object(keys))
        })
    }
}
