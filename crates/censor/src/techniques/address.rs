//! Silence by address alone (M5), and of everything (M23).
//!
//! The rule acts on the first packet, so no byte of an application is needed. Flows that the blocked address
//! opens itself are answered with a rewritten SYN/ACK, which is how such blocks were measured from abroad.
//! IMC 2022, https://ensa.fi/papers/tspu-imc22.pdf; IODA and net4people #515 for the blackouts.

use okno_model::Mechanism;
use okno_wire::packet::number;

use super::maker::{Draw, Maker, NetworkSet, PortSet, Ruling, service_port};
use super::sni::{held_down, silence};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Ways};
use crate::chance;
use crate::middlebox::{Direction, Evidence};
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M5, M16's relays, M19's waves, DoT's port.
pub static IP_BLOCK: TechniqueSpec = TechniqueSpec {
    name: "ip_block",
    doc: "the subscriber's packets to a listed address are dropped, whatever the protocol; where that address opens the flow, the answer is turned into RST/ACK",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server; none holds for all, ICMP included",
        },
        ParamSpec {
            name: "protocols",
            unit: "",
            default: DefaultValue::Texts(&[]),
            doc: "transports: tcp, udp, icmp, other; none holds for all",
        },
        ParamSpec {
            name: "ways",
            unit: "",
            default: DefaultValue::Text("up"),
            doc: "which ways fall silent: both, up, down",
        },
        ParamSpec {
            name: "answers_become_resets",
            unit: "",
            default: DefaultValue::Flag(false),
            doc: "answers to a flow that the listed address opened become RST/ACK on their way out",
        },
    ]],
    make: |maker| {
        Ok(Box::new(IpBlock {
            ruling: maker.ruling(),
            networks: needed(maker)?,
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            protocols: maker.texts("protocols", &["tcp", "udp", "icmp", "other"])?,
            ways: maker.ways("ways")?,
            resets: maker.flag("answers_become_resets")?,
        }))
    },
};

/// M23.
pub static BLACKOUT: TechniqueSpec = TechniqueSpec {
    name: "blackout",
    doc: "nothing passes, or only a trickle; exempt networks pass",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "rate_bps",
            unit: "bit/s",
            default: DefaultValue::Number(0.0),
            doc: "rate that each flow keeps; 0 is silence",
        },
        ParamSpec {
            name: "burst_bytes",
            unit: "bytes",
            default: DefaultValue::Number(1500.0),
            doc: "bytes that may pass at once",
        },
        ParamSpec {
            name: "manner",
            unit: "",
            default: DefaultValue::Text("police"),
            doc: "`police` drops what is beyond the rate, `shape` delays it",
        },
        ParamSpec {
            name: "share",
            unit: "of flows",
            default: DefaultValue::Number(1.0),
            doc: "share of the flows that it takes",
        },
    ]],
    make: |maker| {
        Ok(Box::new(Blackout {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            rate: maker.draw("rate_bps")?,
            burst: u64::from(maker.count("burst_bytes")?),
            shape: maker.text("manner", &["police", "shape"])? == "shape",
            share_ppm: maker.ppm("share")?,
        }))
    },
};

/// A block by address without a list would be a blackout in disguise.
fn needed(maker: &Maker<'_>) -> Result<NetworkSet, ProfileError> {
    let networks = maker.networks("networks")?;
    if networks.is_given() {
        return Ok(networks);
    }
    Err(maker.wrong(
        "networks",
        "the list is missing",
        "add `lists = { networks = \"…\" }`, or use `blackout`",
    ))
}

/// The word for a transport's number.
pub(super) const fn transport(protocol: u8) -> &'static str {
    match protocol {
        number::TCP => "tcp",
        number::UDP => "udp",
        number::ICMP | number::ICMPV6 => "icmp",
        _ => "other",
    }
}

#[derive(Debug)]
struct IpBlock {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    ports: PortSet,
    protocols: Vec<String>,
    ways: Ways,
    resets: bool,
}

impl Technique for IpBlock {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::OPENED | Interest::UNARMED_TOO
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Opened { .. } = event else { return };
        let Some(entry) = self.networks.matched(flow.outside.ip) else { return };
        if self.except.excepts(flow.outside.ip) || !self.ports.has(service_port(flow)) {
            return;
        }
        let transport = transport(flow.key.protocol);
        if !self.protocols.is_empty() && !self.protocols.iter().any(|known| known == transport) {
            return;
        }
        let evidence =
            Evidence { matched: entry.to_owned(), detail: transport.to_owned(), ..Evidence::default() };
        let from_outside = flow.opened_by == Direction::Down;
        let decision = if from_outside && self.resets && flow.key.protocol == number::TCP {
            Decision::new(Action::RewriteToReset { way: Direction::Up }, evidence)
        } else {
            Decision::new(silence(self.ways, 0), evidence).from_this()
        };
        decisions.push(decision);
    }
}

#[derive(Debug)]
struct Blackout {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    rate: Draw,
    burst: u64,
    shape: bool,
    share_ppm: u32,
}

impl Technique for Blackout {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::OPENED | Interest::UNARMED_TOO
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Opened { .. } = event else { return };
        let ip = flow.outside.ip;
        let taken = self.networks.has(ip) && !self.except.excepts(ip);
        if !taken || !chance::coin(flow.seed, &self.ruling.id, &flow.key, self.share_ppm) {
            return;
        }
        let rate = self.rate.count(&self.ruling, flow.seed, &flow.key);
        let detail = if rate == 0 { "nothing passes".to_owned() } else { format!("{rate} bit/s") };
        let action = if rate == 0 { Action::DROP } else { held_down(rate, self.burst, self.shape) };
        decisions.push(Decision::new(action, Evidence { detail, ..Evidence::default() }).from_this());
    }
}
