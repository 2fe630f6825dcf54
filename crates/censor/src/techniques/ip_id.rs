//! Decoys told by their IPv4 identification (M10's extra rule): a value that comes twice in one flow.
//!
//! Decoy tools copy the real packet's header. https://github.com/bol-van/zapret (documentation); one source.

use okno_model::Mechanism;

use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M10, decoys.
pub static IP_ID: TechniqueSpec = TechniqueSpec {
    name: "ip_id_repeat",
    doc: "a flow to listed networks in which two of the subscriber's first data packets carry the same non-zero IP identification falls silent",
    roles: &["networks"],
    params: &[&[
        ParamSpec {
            name: "inspected_packets",
            unit: "packets",
            default: DefaultValue::Number(8.0),
            doc: "data packets of the subscriber that are compared, each with the four before it",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server",
        },
    ]],
    make: |maker| {
        Ok(Box::new(IpId {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            ports: maker.ports("ports")?,
            inspected: maker.count("inspected_packets")?,
        }))
    },
};

#[derive(Debug)]
struct IpId {
    ruling: Ruling,
    networks: NetworkSet,
    ports: PortSet,
    inspected: u32,
}

impl Technique for IpId {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::DATA
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Data { packet, index } = event else { return };
        if !self.networks.has(flow.outside.ip) || !self.ports.has(service_port(flow)) {
            return decisions.ignore_flow();
        }
        if flow.direction != Direction::Up {
            return;
        }
        if *index > self.inspected {
            return decisions.ignore_flow();
        }
        // The slot holds the four values before, sixteen bits each; zero is none and never counts.
        let id = packet.ip_id;
        let repeated = id != 0 && flow.slot.to_le_bytes().chunks_exact(2).any(|old| old == id.to_le_bytes());
        if !repeated {
            *flow.slot = *flow.slot << 16 | u64::from(id);
            return;
        }
        let matched = self.networks.matched(flow.outside.ip).unwrap_or_default().to_owned();
        let evidence =
            Evidence { matched, detail: format!("IP identification {id:#06x} twice"), ..Evidence::default() };
        decisions.push(Decision::new(silence(Ways::Both, 0), evidence).dropping_this());
        decisions.ignore_flow();
    }
}
