//! The two-stage ban (M19): recognise, report, and minutes later the far end is on a list everywhere.
//!
//! tspu-docs, https://github.com/DanielLavrushin/tspu-docs: the cycle takes 5 to 15 minutes; Outline in
//! March 2022 fits it, https://github.com/net4people/bbs/issues/111.

use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::packet::number;
use okno_wire::{Endpoint, Protocol};

use super::capacity::protocols;
use super::maker::{Draw, NetworkSet, Ruling};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Scope, Ways};
use crate::memory::Memory;
use crate::middlebox::Evidence;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M19.
pub static TWO_STAGE: TechniqueSpec = TechniqueSpec {
    name: "two_stage_ban",
    doc: "the far end of a recognised flow is banned minutes later, for everybody, and released after a while",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "protocols",
            unit: "",
            default: DefaultValue::Needed,
            doc: "protocols that are reported",
        },
        ParamSpec {
            name: "packets",
            unit: "packets",
            default: DefaultValue::Number(1.0),
            doc: "data packets of a recognised flow, both ways, before it is reported",
        },
        ParamSpec {
            name: "delay_s",
            unit: "s",
            default: DefaultValue::Needed,
            doc: "time from the report to the ban",
        },
        ParamSpec {
            name: "release_s",
            unit: "s",
            default: DefaultValue::Needed,
            doc: "how long the ban lasts",
        },
        ParamSpec {
            name: "ban",
            unit: "",
            default: DefaultValue::Text("remote end"),
            doc: "what is banned: `remote end` (address and port) or `remote` (address)",
        },
    ]],
    make: |maker| {
        let (delay, release) = (maker.draw("delay_s")?, maker.draw("release_s")?);
        Ok(Box::new(TwoStage {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            protocols: protocols(maker)?,
            packets: maker.count("packets")?,
            delay,
            release,
            scope: maker.scope("ban")?,
            reported: Memory::new(delay.longest().max(Duration::from_secs(60)), MOST_REPORTS),
        }))
    },
};

/// Ends that wait for their ban at once.
const MOST_REPORTS: usize = 100_000;

#[derive(Debug)]
struct TwoStage {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    protocols: Vec<Protocol>,
    packets: u32,
    delay: Draw,
    release: Draw,
    scope: Scope,
    reported: Memory<Endpoint, ()>,
}

impl Technique for TwoStage {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::RECOGNISED | Interest::DATA
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let ip = flow.outside.ip;
        let transport = matches!(flow.key.protocol, number::TCP | number::UDP);
        if *flow.slot == 1 || !transport || !self.networks.has(ip) || self.except.excepts(ip) {
            return decisions.ignore_flow();
        }
        let data = flow.data_packets.up + flow.data_packets.down;
        let protocol = match event {
            Event::Recognised(recognition) => Some(recognition.protocol),
            _ => flow.recognised,
        };
        let Some(protocol) = protocol.filter(|protocol| self.protocols.contains(protocol)) else {
            if data > 32 || (protocol.is_some() && data > 8) {
                decisions.ignore_flow();
            }
            return;
        };
        if data < self.packets {
            return;
        }
        *flow.slot = 1;
        decisions.ignore_flow();
        // One report brings one ban: a second flow within the cycle neither hastens nor delays it.
        if self.reported.peek(flow.now, &flow.outside).is_some() {
            return;
        }
        self.reported.touch(flow.now, flow.outside, || ());
        let (delay, release) = (self.delay.time(&self.ruling, flow), self.release.time(&self.ruling, flow));
        let evidence = Evidence {
            protocol: Some(protocol),
            detail: format!("ban in {} s for {} s", delay.as_secs(), release.as_secs()),
            ..Evidence::default()
        };
        let decision = Decision::new(silence(Ways::Both, 0), evidence);
        decisions.push(decision.on(self.scope).after(delay).lasting(release));
    }
}
