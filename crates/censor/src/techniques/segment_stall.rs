//! The stall after the first segment of a large hello (M18): one segment arrives, the rest never does.
//!
//! Whether it is the TSPU or an operator is not known, nor what sets it off; a coin for each flow stands for
//! that. https://github.com/XTLS/Xray-core/issues/6256 and field logs of May to September 2026.

use okno_model::Mechanism;
use okno_wire::packet::number;
use okno_wire::tls::looks_like_tls;
use okno_wire::{PacketView, Protocol};

use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Ways};
use crate::chance;
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M18.
pub static SEGMENT_STALL: TechniqueSpec = TechniqueSpec {
    name: "first_segment_stall",
    doc: "of a hello that does not fit one segment the first passes and nothing of the subscriber after it, in some share of the flows",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "share",
            unit: "of flows",
            default: DefaultValue::Needed,
            doc: "share of the flows with such a hello that stall",
        },
        ParamSpec {
            name: "min_segment",
            unit: "bytes",
            default: DefaultValue::Number(0.0),
            doc: "least payload of the first segment",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server",
        },
    ]],
    make: |maker| {
        Ok(Box::new(SegmentStall {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            share_ppm: maker.ppm("share")?,
            min_segment: maker.count("min_segment")? as usize,
        }))
    },
};

#[derive(Debug)]
struct SegmentStall {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    ports: PortSet,
    share_ppm: u32,
    min_segment: usize,
}

/// Whether the segment begins a TLS record that goes on behind it.
fn is_cut_record(packet: &PacketView<'_>) -> bool {
    let payload = packet.payload();
    let declared = payload.get(3..5).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])));
    looks_like_tls(payload)
        && payload[0] == 0x16
        && declared.is_some_and(|declared| payload.len() < declared + 5)
}

impl Technique for SegmentStall {
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
        let Event::Data { packet, .. } = event else { return };
        decisions.ignore_flow();
        let ip = flow.outside.ip;
        let ours = flow.key.protocol == number::TCP
            && flow.direction == Direction::Up
            && self.ports.has(service_port(flow))
            && self.networks.has(ip)
            && !self.except.excepts(ip);
        if !ours || packet.payload().len() < self.min_segment || !is_cut_record(packet) {
            return;
        }
        if !chance::coin(flow.seed, &self.ruling.id, &flow.key, self.share_ppm) {
            return;
        }
        let evidence = Evidence {
            protocol: Some(Protocol::Tls),
            matched: self.networks.matched(ip).unwrap_or_default().to_owned(),
            detail: format!("first segment of {} bytes", packet.payload().len()),
            ..Evidence::default()
        };
        let action = Action::Drop { ways: Ways::Up, after: 0, pass_ppm: 0, data_only: true };
        decisions.push(Decision::new(action, evidence));
    }
}
