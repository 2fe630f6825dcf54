//! Tunnels told by the sizes of the handshake inside them (M15), without any look at entropy.
//!
//! Part of the rule is not known: the condition on the server's packets did not come down to us.
//! https://github.com/net4people/bbs/issues/363

use okno_model::Mechanism;
use okno_wire::Protocol;
use okno_wire::packet::number;

use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M15.
pub static ENCAPSULATED: TechniqueSpec = TechniqueSpec {
    name: "encapsulated",
    doc: "an unrecognised flow to listed networks and ports falls silent once the subscriber has sent several large packets",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "client_packets",
            unit: "packets",
            default: DefaultValue::Needed,
            doc: "large packets of the subscriber that make it",
        },
        ParamSpec {
            name: "min_payload",
            unit: "bytes",
            default: DefaultValue::Needed,
            doc: "payload from which a packet is large",
        },
        ParamSpec {
            name: "first_payload",
            unit: "bytes",
            default: DefaultValue::Number(0.0),
            doc: "least payload of the flow's first data packet; 0 does not ask",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server",
        },
        ParamSpec {
            name: "inspected_packets",
            unit: "packets",
            default: DefaultValue::Number(20.0),
            doc: "data packets of the subscriber that are looked at",
        },
    ]],
    make: |maker| {
        Ok(Box::new(Encapsulated {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            packets: u64::from(maker.count("client_packets")?),
            min_payload: maker.count("min_payload")? as usize,
            first_payload: maker.count("first_payload")? as usize,
            inspected: maker.count("inspected_packets")?,
        }))
    },
};

#[derive(Debug)]
struct Encapsulated {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    ports: PortSet,
    packets: u64,
    min_payload: usize,
    first_payload: usize,
    inspected: u32,
}

impl Technique for Encapsulated {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::DATA | Interest::RECOGNISED
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Data { packet, index } = event else { return };
        let known = flow.recognised.is_some_and(|protocol| protocol != Protocol::FullyEncrypted);
        let elsewhere = flow.key.protocol != number::TCP
            || !self.ports.has(service_port(flow))
            || !self.networks.has(flow.outside.ip)
            || self.except.excepts(flow.outside.ip);
        if known || elsewhere {
            return decisions.ignore_flow();
        }
        if flow.direction != Direction::Up {
            return;
        }
        let len = packet.payload().len();
        if *index > self.inspected || (*index == 1 && len < self.first_payload) {
            return decisions.ignore_flow();
        }
        if len < self.min_payload {
            return;
        }
        *flow.slot += 1;
        if *flow.slot < self.packets {
            return;
        }
        let evidence = Evidence {
            protocol: Some(Protocol::FullyEncrypted),
            matched: self.networks.matched(flow.outside.ip).unwrap_or_default().to_owned(),
            detail: format!("{} packets of {} bytes or more", self.packets, self.min_payload),
            ..Evidence::default()
        };
        decisions.push(Decision::new(silence(Ways::Both, 0), evidence).dropping_this());
        decisions.ignore_flow();
    }
}
