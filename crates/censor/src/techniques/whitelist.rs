//! Admission by list (M24): TCP's handshake reaches the server, the first data does not.
//!
//! By address, by name, or both; which of them an operator uses differs by month and cell. Beeline's packet
//! view of September 2025, https://github.com/net4people/bbs/issues/516; dpi-checkers for the probes.

use okno_model::Mechanism;
use okno_wire::packet::number;
use okno_wire::tls::looks_like_tls;

use super::maker::{Draw, NameSet, NetworkSet, PortSet, Ruling, service_port};
use super::sni::{held_down, silence};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Forge, Ways};
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M24.
pub static WHITELIST: TechniqueSpec = TechniqueSpec {
    name: "whitelist",
    doc: "only flows to listed networks, with listed names, or both pass; of others TCP's handshake does, data does not",
    roles: &["names", "networks", "dns"],
    params: &[&[
        ParamSpec {
            name: "mode",
            unit: "",
            default: DefaultValue::Needed,
            doc: "`cidr` by address, `sni` by name, `both` by both at once",
        },
        ParamSpec {
            name: "refusal",
            unit: "",
            default: DefaultValue::Text("silence"),
            doc: "how what is not listed is refused: silence, reset, or trickle (it passes at `trickle_bps`)",
        },
        ParamSpec {
            name: "trickle_bps",
            unit: "bit/s",
            default: DefaultValue::Number(14_000.0),
            doc: "rate that each flow keeps under the refusal `trickle`",
        },
        ParamSpec {
            name: "icmp_passes",
            unit: "",
            default: DefaultValue::Flag(true),
            doc: "ICMP to listed addresses passes",
        },
        ParamSpec {
            name: "syn_passes",
            unit: "",
            default: DefaultValue::Flag(true),
            doc: "TCP's handshake with others is let through",
        },
        ParamSpec {
            name: "dns_ports",
            unit: "",
            default: DefaultValue::Numbers(&[53.0]),
            doc: "UDP ports on which the list `dns` is exempt",
        },
        ParamSpec {
            name: "names_on_port_80",
            unit: "",
            default: DefaultValue::Flag(true),
            doc: "an HTTP Host counts as a name",
        },
    ]],
    make: |maker| {
        let mode = maker.text("mode", &["cidr", "sni", "both"])?;
        let refusal = maker.text("refusal", &["silence", "reset", "trickle"])?;
        Ok(Box::new(Whitelist {
            ruling: maker.ruling(),
            names: maker.names("names")?,
            networks: maker.networks("networks")?,
            dns: maker.networks("dns")?,
            dns_ports: maker.ports("dns_ports")?,
            by_name: mode != "cidr",
            by_address: mode != "sni",
            reset: refusal == "reset",
            trickle: if refusal == "trickle" { Some(maker.draw("trickle_bps")?) } else { None },
            icmp_passes: maker.flag("icmp_passes")?,
            syn_passes: maker.flag("syn_passes")?,
            http: maker.flag("names_on_port_80")?,
        }))
    },
};

/// Values of the slot.
const ADMITTED: u64 = 1;
const REFUSED: u64 = 2;

/// Bytes at once of a trickle, two packets; none was measured.
const TRICKLE_BURST: u64 = 3000;

#[derive(Debug)]
struct Whitelist {
    ruling: Ruling,
    names: NameSet,
    networks: NetworkSet,
    dns: NetworkSet,
    dns_ports: PortSet,
    by_name: bool,
    by_address: bool,
    reset: bool,
    /// rate of what is not listed, where it passes at all
    trickle: Option<Draw>,
    icmp_passes: bool,
    syn_passes: bool,
    http: bool,
}

impl Whitelist {
    fn refuse(&self, flow: &mut FlowView<'_>, name: &str, why: &str, decisions: &mut Decisions) {
        *flow.slot = REFUSED;
        decisions.ignore_flow();
        let evidence = Evidence {
            protocol: flow.recognised,
            name: name.to_owned(),
            detail: why.to_owned(),
            ..Evidence::default()
        };
        if let Some(rate) = self.trickle {
            let rate = rate.count(&self.ruling, flow.seed, &flow.key);
            return decisions
                .push(Decision::new(held_down(rate, TRICKLE_BURST, false), evidence).from_this());
        }
        if self.reset && flow.key.protocol == number::TCP {
            let decision = Decision::new(silence(Ways::Both, 0), evidence).dropping_this();
            return decisions.push(decision.forging(Forge::reset(Direction::Down)));
        }
        let data_only = flow.key.protocol == number::TCP && self.syn_passes;
        let action = Action::Drop { ways: Ways::Both, after: 0, pass_ppm: 0, data_only };
        let decision = Decision::new(action, evidence);
        decisions.push(if data_only && flow.data_packets.up + flow.data_packets.down == 0 {
            decision
        } else {
            decision.dropping_this().from_this()
        });
    }

    /// The first packet decides all that an address can decide.
    fn opened(&self, flow: &mut FlowView<'_>, decisions: &mut Decisions) {
        let ip = flow.outside.ip;
        let tcp = flow.key.protocol == number::TCP;
        let udp = flow.key.protocol == number::UDP;
        let icmp = matches!(flow.key.protocol, number::ICMP | number::ICMPV6);
        if icmp && !self.icmp_passes {
            return self.refuse(flow, "", "ICMP", decisions);
        }
        let exempt = udp && self.dns.excepts(ip) && self.dns_ports.has(service_port(flow));
        if exempt || (!self.by_name && self.networks.has(ip)) {
            *flow.slot = ADMITTED;
            return decisions.ignore_flow();
        }
        if self.by_address && !self.networks.has(ip) && !(tcp && self.reset) {
            return self.refuse(flow, "", "address not listed", decisions);
        }
        if !tcp && !udp {
            self.refuse(flow, "", "no name", decisions);
        }
    }

    fn named(&self, flow: &mut FlowView<'_>, name: &str, decisions: &mut Decisions) {
        if *flow.slot != 0 {
            return;
        }
        let address = !self.by_address || self.networks.has(flow.outside.ip);
        if address && self.names.matched(name).is_some() {
            *flow.slot = ADMITTED;
            return decisions.ignore_flow();
        }
        let why = if address { "name not listed" } else { "address not listed" };
        self.refuse(flow, name, why, decisions);
    }

    /// Data before any name: what may still become a hello waits for it, the rest has none.
    fn data(&self, flow: &mut FlowView<'_>, payload: &[u8], decisions: &mut Decisions) {
        if *flow.slot != 0 {
            return decisions.ignore_flow();
        }
        if flow.direction == Direction::Down {
            return;
        }
        if self.by_address && !self.networks.has(flow.outside.ip) {
            return self.refuse(flow, "", "address not listed", decisions);
        }
        let may_name = match flow.key.protocol {
            number::TCP => {
                let later = flow.data_packets.up > 1;
                later || looks_like_tls(payload) || (self.http && is_request(payload))
            }
            // QUIC's long header (RFC 9000 §17.2); the name decides with the Initial's event.
            _ => payload.first().is_some_and(|first| first & 0xc0 == 0xc0) && payload.len() >= 1200,
        };
        if !may_name {
            self.refuse(flow, "", "no name", decisions);
        }
    }
}

/// Whether the bytes begin as an HTTP/1 request: a method in capitals, then a blank.
fn is_request(payload: &[u8]) -> bool {
    let method = payload.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    (3..=7).contains(&method) && payload.get(method).is_none_or(|next| *next == b' ')
}

impl Technique for Whitelist {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::OPENED | Interest::UNARMED_TOO | Interest::DATA;
        if self.by_name {
            interest = interest | Interest::CLIENT_HELLO | Interest::QUIC_INITIAL;
            if self.http {
                interest = interest | Interest::HTTP_REQUEST;
            }
        }
        interest
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        match event {
            Event::Opened { .. } => self.opened(flow, decisions),
            Event::Data { packet, .. } => self.data(flow, packet.payload(), decisions),
            Event::ClientHello(hello) => self.named(flow, hello.name, decisions),
            Event::QuicInitial(initial) => {
                if let Some(hello) = initial.hello {
                    self.named(flow, hello.name, decisions);
                }
            }
            Event::HttpRequest(request) if self.http => self.named(flow, request.host, decisions),
            _ => {}
        }
    }
}
