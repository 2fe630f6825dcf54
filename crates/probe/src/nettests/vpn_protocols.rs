//! `vpn_protocols`: does a tunnel's protocol pass where random bytes of the same sizes do?
//!
//! A real handshake and data go to a host that consents, each beside controls on fresh source ports. The
//! order matters: a control before the tunnel shows that the path worked, one from the tunnel's own port
//! right after it shows a block that stays on the flow, a later one from a fresh port shows a block that
//! stays on the address. Mass interference of 7 August 2023: https://github.com/net4people/bbs/issues/274;
//! fully encrypted protocols: https://github.com/net4people/bbs/issues/363.

use core::net::IpAddr;
use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::arm_book::ArmBook;
use crate::arms::Role;
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::Task;
use crate::talk::bout::{address, target, usual};
use crate::talk::tunnel::Tunnel;
use crate::talk::{Bout, Pace, Plan};

/// What it sends and how fast.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VpnProtocols {
    /// data messages after the handshake. More than two of WireGuard and fifteen of OpenVPN are said to pass
    /// before the silence, counted both ways (https://github.com/net4people/bbs/issues/274)
    pub packets: u32,
    /// bytes of each; the rule of 2024 counts 411 and more (https://github.com/net4people/bbs/issues/363)
    pub bytes: usize,
    /// bytes that stay below that rule
    pub small_bytes: usize,
    /// milliseconds between two
    pub every_ms: u64,
    /// tries of each handshake message; WireGuard's own are five seconds apart (paper §6.4)
    pub tries: u32,
    /// milliseconds before the second try; each further wait doubles
    pub wait_ms: u64,
    /// milliseconds of waiting for late answers
    pub tail_ms: u64,
    /// a port of the same host where nothing usual listens
    pub other_port: u16,
    /// a host at home that runs the helper too: the tunnel as a control that does not leave the country
    pub domestic: Option<String>,
}

impl Default for VpnProtocols {
    fn default() -> Self {
        Self {
            packets: 32,
            bytes: 640,
            small_bytes: 300,
            every_ms: 60,
            tries: 3,
            wait_ms: 1_000,
            tail_ms: 1_500,
            other_port: 40_123,
            domestic: None,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether WireGuard, OpenVPN, IKEv2, L2TP or a fully encrypted protocol passes",
    trigger: "a handshake of the protocol and data after it, to a host that consents and answers",
    control: "random bytes (letters for protocols that are random themselves) of the same sizes and rhythm: to the same address and port before and after, from the tunnel's own source port at once, to another port; the protocol to another port; TCP and ICMP to the same address; the same protocol to a host at home",
    logic: "the tunnel silent twice and every control answered: the protocol is filtered. All UDP silent and TCP answered: UDP is dropped. Nothing answered: the host is down or its address blocked, which one side alone cannot tell",
    blind: "rules that need real keys or hours of traffic; bans that come minutes later (5 to 15 are reported); whether the loss was on the way there or back; a helper whose address is itself blocked",
    bytes: 400_000,
    seconds: 120,
    risk: Risk::High,
    risk_note: "A handshake of a VPN goes out, though no tunnel is made. Where using one is an offence, or boxes report who does, this looks like it.",
    source: "https://github.com/net4people/bbs/issues/274",
};

impl VpnProtocols {
    fn pace(&self) -> Pace {
        Pace {
            tries: self.tries.clamp(1, 8),
            wait: Duration::from_millis(self.wait_ms),
            packets: self.packets.min(1_000),
            len: self.bytes.min(1_300),
            every: Duration::from_millis(self.every_ms),
            tail: Duration::from_millis(self.tail_ms),
        }
    }

    fn parse<'a>(&self, input: Option<&'a str>) -> Result<(Tunnel, &'a str, u16), String> {
        let names = Tunnel::ALL.map(Tunnel::as_str).join(", ");
        let expected = || {
            format!("give PROTOCOL://HOST[:PORT] of a host that runs the helper; PROTOCOL is one of {names}")
        };
        let target = input.and_then(target).ok_or_else(expected)?;
        let tunnel = Tunnel::parse(target.scheme).ok_or_else(expected)?;
        Ok((tunnel, target.host, target.port.unwrap_or(tunnel.port())))
    }

    async fn measure(&self, context: &Context, book: &ArmBook, tunnel: Tunnel, ip: IpAddr, port: u16) {
        let mut bout = Bout {
            context,
            book,
            variant: tunnel.as_str(),
            pace: self.pace(),
            framing: tunnel.framing(),
            letters: tunnel.is_featureless(),
        };
        let net = &*context.world;
        for plan in usual(port, self.other_port) {
            bout.hold(ip, &plan, &mut tunnel.client(net)).await;
        }
        if tunnel == Tunnel::Shadowsocks {
            bout.pace.len = self.small_bytes.min(1_300);
            let plan = Plan { name: "small", role: Role::OtherSize, round: 0, port, noise: false };
            bout.hold(ip, &plan, &mut tunnel.client(net)).await;
            bout.pace = self.pace();
        }
        if let Some(home) = &self.domestic
            && let Ok(home) = address(context, home).await
        {
            let plan = Plan { name: "domestic", role: Role::Domestic, round: 0, port, noise: false };
            bout.hold(home, &plan, &mut tunnel.client(net)).await;
        }
        bout.beside(ip, self.other_port).await;
    }
}

impl Experiment for VpnProtocols {
    fn name(&self) -> &'static str {
        "vpn_protocols"
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
        let Ok((tunnel, host, port)) = self.parse(input) else { return Vec::new() };
        let contact = |host: &str, port: String, purpose: &str| Contact {
            host: host.to_owned(),
            port,
            purpose: purpose.to_owned(),
        };
        let transport = if tunnel.framing().is_some() { "tcp" } else { "udp" };
        let mut contacts = vec![
            contact(
                host,
                format!("{transport}/{port}"),
                "the tunnel's protocol and random bytes of its sizes",
            ),
            contact(host, format!("{transport}/{}", self.other_port), "the same on another port"),
            contact(host, format!("tcp/{}", self.other_port), "whether the host is alive"),
            contact(host, "icmp".to_owned(), "whether the host is alive"),
        ];
        if let Some(domestic) = &self.domestic {
            contacts.push(contact(domestic, format!("{transport}/{port}"), "the same at home"));
        }
        contacts.dedup();
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let (tunnel, host, port) = self.parse(input)?;
            let book = ArmBook::new(context);
            let mut failure = None;
            match address(context, host).await {
                Ok(ip) => self.measure(context, &book, tunnel, ip, port).await,
                Err(error) => failure = Some(error),
            }
            let mut keys = book.keys();
            keys.insert("protocol".to_owned(), json!(tunnel.as_str()));
            keys.insert("failure".to_owned(), json!(failure));
            Ok(Value::Object(keys))
        })
    }
}
