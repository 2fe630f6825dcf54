//! Calls of messengers (M20): STUN and TURN on the messengers' ports lose most of their packets.
//!
//! Built as a loss on recognised packets, which no packet-level study bears out: press digests and OONI,
//! 2025.

use okno_model::Mechanism;
use okno_wire::Protocol;
use okno_wire::packet::number;

use super::capacity::protocols;
use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Ways};
use crate::middlebox::Evidence;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M20.
pub static CALLS: TechniqueSpec = TechniqueSpec {
    name: "calls",
    doc: "a UDP flow on listed ports that is recognised as STUN, TURN or media loses most of its packets",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "protocols",
            unit: "",
            default: DefaultValue::Texts(&["stun"]),
            doc: "protocols of the calls",
        },
        ParamSpec { name: "ports", unit: "", default: DefaultValue::Needed, doc: "ports of the server" },
        ParamSpec {
            name: "pass_share",
            unit: "of packets",
            default: DefaultValue::Number(0.0),
            doc: "chance of each packet to pass",
        },
        ParamSpec {
            name: "first_too",
            unit: "",
            default: DefaultValue::Flag(true),
            doc: "the packet by which the flow was recognised is lost already",
        },
    ]],
    make: |maker| {
        Ok(Box::new(Calls {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            protocols: protocols(maker)?,
            ports: maker.ports("ports")?,
            pass_ppm: maker.ppm("pass_share")?,
            first_too: maker.flag("first_too")?,
        }))
    },
};

#[derive(Debug)]
struct Calls {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    protocols: Vec<Protocol>,
    ports: PortSet,
    pass_ppm: u32,
    first_too: bool,
}

impl Technique for Calls {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::RECOGNISED
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Recognised(recognition) = event else { return };
        let ip = flow.outside.ip;
        let ours = *flow.slot == 0
            && flow.key.protocol == number::UDP
            && self.protocols.contains(&recognition.protocol)
            && self.ports.has(service_port(flow))
            && self.networks.has(ip)
            && !self.except.excepts(ip);
        if !ours {
            return;
        }
        *flow.slot = 1;
        let evidence = Evidence {
            protocol: Some(recognition.protocol),
            detail: format!("port {}", service_port(flow)),
            ..Evidence::default()
        };
        let action = Action::Drop { ways: Ways::Both, after: 0, pass_ppm: self.pass_ppm, data_only: false };
        let decision = Decision::new(action, evidence);
        decisions.push(if self.first_too { decision.from_this() } else { decision });
    }
}
