//! QUIC in two generations: by version and size (M6), by the name in the Initial (M7).

use okno_model::Mechanism;
use okno_wire::{Protocol, packet::number};

use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::sni::{RESIDUAL, Residual, silence};
use super::trigger::{self, Trigger};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::chance;
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M6. IMC 2022; https://github.com/net4people/bbs/issues/108
pub static VERSION: TechniqueSpec = TechniqueSpec {
    name: "quic_version",
    doc: "a datagram of a size that carries a QUIC version at bytes 1 to 4 is dropped, and its flow; no name is read",
    roles: &["except_networks"],
    params: &[
        &[
            ParamSpec {
                name: "ports",
                unit: "",
                default: DefaultValue::Numbers(&[443.0]),
                doc: "ports of the server",
            },
            ParamSpec {
                name: "min_payload",
                unit: "bytes",
                default: DefaultValue::Needed,
                doc: "smallest UDP payload that is looked at",
            },
            ParamSpec {
                name: "version",
                unit: "",
                default: DefaultValue::Needed,
                doc: "version that is dropped",
            },
            ParamSpec {
                name: "inspected_datagrams",
                unit: "datagrams",
                default: DefaultValue::Number(3.0),
                doc: "datagrams of the subscriber, from the flow's first, that are looked at",
            },
        ],
        RESIDUAL,
    ],
    make: |maker| {
        Ok(Box::new(Version {
            ruling: maker.ruling(),
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            min_payload: maker.count("min_payload")? as usize,
            version: maker.count("version")?,
            inspected: maker.count("inspected_datagrams")?,
            residual: Residual::new(maker)?,
        }))
    },
};

/// M7, China's QUIC rule. FOCI 2026, https://www.petsymposium.org/foci/2026/foci-2026-0010.pdf
pub static SNI: TechniqueSpec = TechniqueSpec {
    name: "quic_sni",
    doc: "an Initial whose decrypted name is listed is dropped, and its key stays silent; some ports are free",
    roles: trigger::ROLES,
    params: &[
        trigger::PARAMS,
        &[
            ParamSpec {
                name: "free_port_share",
                unit: "of ports",
                default: DefaultValue::Number(0.0),
                doc: "share of the ports 1 to 1023, drawn once, that are left alone; 443 never is",
            },
            ParamSpec {
                name: "source_port_above_destination",
                unit: "",
                default: DefaultValue::Flag(false),
                doc: "only flows whose source port is greater than the destination port",
            },
            ParamSpec {
                name: "ways",
                unit: "",
                default: DefaultValue::Text("up"),
                doc: "which ways fall silent: both, up, down",
            },
        ],
        RESIDUAL,
    ],
    make: |maker| {
        Ok(Box::new(Sni {
            ruling: maker.ruling(),
            trigger: Trigger::quic(maker)?,
            free_ppm: maker.ppm("free_port_share")?,
            above: maker.flag("source_port_above_destination")?,
            ways: maker.ways("ways")?,
            residual: Residual::new(maker)?,
        }))
    },
};

#[derive(Debug)]
struct Version {
    ruling: Ruling,
    except: NetworkSet,
    ports: PortSet,
    min_payload: usize,
    version: u32,
    inspected: u32,
    residual: Residual,
}

impl Technique for Version {
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
        let udp = flow.key.protocol == number::UDP;
        if !udp || !self.ports.has(service_port(flow)) || self.except.excepts(flow.outside.ip) {
            return decisions.ignore_flow();
        }
        if flow.direction != Direction::Up {
            return;
        }
        // Three dummy datagrams first let a fourth through (https://github.com/net4people/bbs/issues/108).
        if *index > self.inspected {
            return decisions.ignore_flow();
        }
        let payload = packet.payload();
        if payload.len() < self.min_payload || payload.get(1..5) != Some(&self.version.to_be_bytes()) {
            return;
        }
        let detail = format!("{} bytes, version {:#x}", payload.len(), self.version);
        let evidence = Evidence { protocol: Some(Protocol::Quic), detail, ..Evidence::default() };
        let decision = Decision::new(silence(Ways::Both, 0), evidence).dropping_this();
        decisions.push(self.residual.on(decision, &self.ruling, flow));
        decisions.ignore_flow();
    }
}

#[derive(Debug)]
struct Sni {
    ruling: Ruling,
    trigger: Trigger,
    free_ppm: u32,
    above: bool,
    ways: Ways,
    residual: Residual,
}

impl Sni {
    /// Which ports are free is drawn once for the network: a hash of the port, not of the flow.
    fn is_free(&self, seed: u64, port: u16) -> bool {
        (1..1024).contains(&port) && port != 443 && chance::coin(seed, &self.ruling.id, &port, self.free_ppm)
    }
}

impl Technique for Sni {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::QUIC_INITIAL
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        if flow.direction != Direction::Up || self.is_free(flow.seed, flow.outside.port) {
            return;
        }
        if self.above && flow.inside.port <= flow.outside.port {
            return;
        }
        let Some(evidence) = self.trigger.hit(flow, event) else { return };
        let decision = Decision::new(silence(self.ways, 0), evidence).dropping_this();
        decisions.push(self.residual.on(decision, &self.ruling, flow));
    }
}
