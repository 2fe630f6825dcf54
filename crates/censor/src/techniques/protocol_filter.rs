//! Iran's protocol filter: on three ports only the three protocols that belong there pass.
//!
//! Bock et al., "Detecting and Evading Censorship-in-Depth: A Case Study of Iran's Protocol Filter", FOCI
//! 2020, https://www.usenix.org/conference/foci20/presentation/bock

use okno_model::Mechanism;
use okno_wire::packet::number;

use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::sni::{RESIDUAL, Residual, silence};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// Iran, from February 2020.
pub static PROTOCOL_FILTER: TechniqueSpec = TechniqueSpec {
    name: "protocol_filter",
    doc: "a TCP flow to some ports whose first data packets are neither DNS, HTTP nor TLS loses the subscriber's packets for a while",
    roles: &["except_networks"],
    params: &[
        RESIDUAL,
        &[
            ParamSpec {
                name: "ports",
                unit: "",
                default: DefaultValue::Needed,
                doc: "ports that are filtered",
            },
            ParamSpec {
                name: "inspected_packets",
                unit: "packets",
                default: DefaultValue::Needed,
                doc: "first data packets of the subscriber that are looked at; one that fits lets the flow pass",
            },
        ],
    ],
    make: |maker| {
        Ok(Box::new(ProtocolFilter {
            ruling: maker.ruling(),
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            inspected: maker.count("inspected_packets")?,
            residual: Residual::new(maker)?,
        }))
    },
};

#[derive(Debug)]
struct ProtocolFilter {
    ruling: Ruling,
    except: NetworkSet,
    ports: PortSet,
    inspected: u32,
    residual: Residual,
}

/// Whether the bytes begin as DNS over TCP, HTTP or TLS.
fn is_allowed(payload: &[u8]) -> bool {
    const METHODS: [&[u8]; 7] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT "];
    let tls = matches!(payload, [0x16, 3, 0..=4, ..]);
    // RFC 1035 §4.2.2: a length of two bytes, then a query with one question or more.
    let dns = matches!(payload, [high, low, _, _, flags, _, 0, 1..=8, ..]
        if flags & 0xf8 == 0 && usize::from(u16::from_be_bytes([*high, *low])) + 2 == payload.len());
    tls || dns || METHODS.iter().any(|method| payload.starts_with(method))
}

impl Technique for ProtocolFilter {
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
        let elsewhere = flow.key.protocol != number::TCP
            || !self.ports.has(service_port(flow))
            || self.except.excepts(flow.outside.ip);
        if elsewhere {
            return decisions.ignore_flow();
        }
        if flow.direction != Direction::Up {
            return;
        }
        if is_allowed(packet.payload()) {
            return decisions.ignore_flow();
        }
        if *index < self.inspected {
            return;
        }
        let detail = format!("no protocol that port {} knows", service_port(flow));
        let evidence = Evidence { detail, ..Evidence::default() };
        let decision = Decision::new(silence(Ways::Up, 0), evidence).dropping_this();
        decisions.push(self.residual.on(decision, &self.ruling, flow));
        decisions.ignore_flow();
    }
}
