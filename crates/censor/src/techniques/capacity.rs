//! A recognised protocol at a fraction of its packets (M9): the knob "capacity", 0 to 100.
//!
//! The loss is even and knows neither size nor time, which tells it from policing. tspu-docs ch. 17.3,
//! https://github.com/DanielLavrushin/tspu-docs; that capacity is the passing share is our reading.

use okno_model::Mechanism;
use okno_wire::Protocol;

use super::maker::{Maker, NameSet, NetworkSet, PortSet, Ruling, service_port};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Ways};
use crate::middlebox::Evidence;
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M9.
pub static CAPACITY: TechniqueSpec = TechniqueSpec {
    name: "capacity",
    doc: "each packet of a recognised protocol passes with a fixed chance",
    roles: &["names", "networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "protocols",
            unit: "",
            default: DefaultValue::Needed,
            doc: "protocols as the classifier names them",
        },
        ParamSpec {
            name: "pass_share",
            unit: "of packets",
            default: DefaultValue::Needed,
            doc: "chance of each packet to pass",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server",
        },
    ]],
    make: |maker| {
        Ok(Box::new(Capacity {
            ruling: maker.ruling(),
            protocols: protocols(maker)?,
            names: maker.names("names")?,
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            pass_ppm: maker.ppm("pass_share")?,
        }))
    },
};

/// The parameter `protocols`.
pub(super) fn protocols(maker: &Maker<'_>) -> Result<Vec<Protocol>, ProfileError> {
    let known: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
    let words = maker.texts("protocols", &known)?;
    Ok(words.iter().filter_map(|word| Protocol::parse(word)).collect())
}

#[derive(Debug)]
struct Capacity {
    ruling: Ruling,
    protocols: Vec<Protocol>,
    names: NameSet,
    networks: NetworkSet,
    except: NetworkSet,
    ports: PortSet,
    pass_ppm: u32,
}

impl Technique for Capacity {
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
        let wanted = self.protocols.contains(&recognition.protocol)
            && *flow.slot == 0
            && self.ports.has(service_port(flow))
            && self.networks.has(ip)
            && !self.except.excepts(ip)
            && self.names.matched(&recognition.name).is_some();
        if !wanted {
            return;
        }
        *flow.slot = 1;
        let evidence = Evidence {
            protocol: Some(recognition.protocol),
            name: recognition.name.clone(),
            detail: format!("each packet passes with {} ppm", self.pass_ppm),
            ..Evidence::default()
        };
        let action = Action::Drop { ways: Ways::Both, after: 0, pass_ppm: self.pass_ppm, data_only: false };
        decisions.push(Decision::new(action, evidence));
    }
}
