//! Injectors beside the path: forged RST or FIN that carry each side's next sequence number.
//!
//! China's triplets, Henan's odd RST with a payload, Uzbekistan's FIN. What stays afterwards is either
//! silence or a forged packet for each new attempt under the same key.

use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::packet::flag;

use super::maker::{Draw, Maker, Ruling};
use super::sni::{RESIDUAL, Residual, silence};
use super::trigger::{self, Trigger};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Forge, ForgedTtl, Scope, Ways};
use crate::chance;
use crate::memory::Memory;
use crate::middlebox::{Direction, Evidence};
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// Forged segments.
pub static INJECT: TechniqueSpec = TechniqueSpec {
    name: "inject",
    doc: "a listed name is met with forged TCP segments to one or both ends; for a while new attempts under the same key are met so too, or with silence",
    roles: trigger::ROLES,
    params: &[
        trigger::PARAMS,
        RESIDUAL,
        &[
            ParamSpec {
                name: "flags",
                unit: "",
                default: DefaultValue::Text("rst+ack"),
                doc: "flags of the segment: rst, rst+ack, fin+ack, fin+psh+ack",
            },
            ParamSpec {
                name: "copies",
                unit: "packets",
                default: DefaultValue::Number(1.0),
                doc: "segments to each end",
            },
            ParamSpec {
                name: "copy_step",
                unit: "bytes",
                default: DefaultValue::Number(0.0),
                doc: "added to the sequence number from copy to copy",
            },
            ParamSpec {
                name: "to",
                unit: "",
                default: DefaultValue::Text("both"),
                doc: "whom: both, up, down",
            },
            ParamSpec {
                name: "payload_bytes",
                unit: "bytes",
                default: DefaultValue::Number(0.0),
                doc: "length of the segment's payload",
            },
            ParamSpec {
                name: "ip_id",
                unit: "",
                default: DefaultValue::Text("random"),
                doc: "IPv4 identification: a number, or random",
            },
            ParamSpec {
                name: "ip_ttl",
                unit: "hops",
                default: DefaultValue::Number(0.0),
                doc: "TTL of the forged packet; 0 copies that of the end it pretends to be",
            },
            ParamSpec {
                name: "delay_s",
                unit: "s",
                default: DefaultValue::Number(0.0),
                doc: "time from the packet that triggered",
            },
            ParamSpec {
                name: "drop_this",
                unit: "",
                default: DefaultValue::Flag(false),
                doc: "the packet that triggered is dropped: the injector sits in the path",
            },
            ParamSpec {
                name: "residual_manner",
                unit: "",
                default: DefaultValue::Text("inject"),
                doc: "what meets new attempts: inject, silence, none",
            },
        ],
    ],
    make,
};

fn make(maker: &Maker<'_>) -> Result<Box<dyn Technique>, ProfileError> {
    let flags = match maker.text("flags", &["rst", "rst+ack", "fin+ack", "fin+psh+ack"])?.as_str() {
        "rst" => flag::RST,
        "fin+ack" => flag::FIN | flag::ACK,
        "fin+psh+ack" => flag::FIN | flag::PSH | flag::ACK,
        _ => flag::RST | flag::ACK,
    };
    let ip_id = match maker.text("ip_id", &[]) {
        Ok(word) if word == "random" => None,
        Ok(_) => return Err(maker.wrong("ip_id", "it is no number", "write a number, or \"random\"")),
        Err(_) => Some(maker.count("ip_id")? as u16),
    };
    let manner = match maker.text("residual_manner", &["inject", "silence", "none"])?.as_str() {
        "silence" => Manner::Silence,
        "none" => Manner::None,
        _ => Manner::Inject,
    };
    let longest = maker.draw("residual_s")?.longest().max(Duration::from_micros(1));
    Ok(Box::new(Inject {
        ruling: maker.ruling(),
        trigger: Trigger::new(maker)?,
        residual: Residual::new(maker)?,
        scope: maker.scope("residual_key")?,
        segment: Segment {
            flags,
            payload: maker.count("payload_bytes")?.min(1400) as usize,
            ip_id,
            ttl: match maker.count("ip_ttl")? {
                0 => ForgedTtl::Peer,
                ttl => ForgedTtl::Fixed(ttl.min(255) as u8),
            },
            copies: maker.count("copies")?.min(16),
            step: maker.count("copy_step")?,
            delay: maker.draw("delay_s")?,
        },
        to: maker.ways("to")?,
        drop_this: maker.flag("drop_this")?,
        manner,
        remembered: Memory::new(longest, MOST_KEYS),
    }))
}

/// Keys remembered at once.
const MOST_KEYS: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Inject,
    None,
    Silence,
}

#[derive(Debug)]
struct Segment {
    flags: u8,
    payload: usize,
    ip_id: Option<u16>,
    ttl: ForgedTtl,
    copies: u32,
    step: u32,
    delay: Draw,
}

#[derive(Debug)]
struct Inject {
    ruling: Ruling,
    trigger: Trigger,
    residual: Residual,
    scope: Scope,
    segment: Segment,
    to: Ways,
    drop_this: bool,
    manner: Manner,
    remembered: Memory<Key, ()>,
}

/// What a residual remembers; parts outside the key are left at their defaults.
type Key = (Option<core::net::IpAddr>, u16, core::net::IpAddr, u16);

impl Inject {
    /// The key of a flow under the rule's scope.
    fn key(&self, flow: &FlowView<'_>) -> Key {
        let (inside, outside) = (flow.inside, flow.outside);
        match self.scope {
            Scope::Flow | Scope::FourTuple => (Some(inside.ip), inside.port, outside.ip, outside.port),
            Scope::ThreeTuple => (Some(inside.ip), 0, outside.ip, outside.port),
            Scope::HostPair => (Some(inside.ip), 0, outside.ip, 0),
            Scope::RemoteEnd => (None, 0, outside.ip, outside.port),
            Scope::Remote => (None, 0, outside.ip, 0),
            Scope::Subscriber => (None, 0, inside.ip, 0),
        }
    }

    fn forged(&self, flow: &FlowView<'_>, to: Direction) -> Vec<Forge> {
        let segment = &self.segment;
        let about = |copy: u32| ("ip_id", flow.key, flow.packet_index(), copy, to);
        (0..segment.copies)
            .map(|copy| {
                let bits = chance::bits(flow.seed, &self.ruling.id, &about(copy));
                Forge::Segment {
                    to,
                    flags: segment.flags,
                    payload: bits.to_le_bytes().into_iter().cycle().take(segment.payload).collect(),
                    seq_shift: copy * segment.step,
                    ip_id: segment.ip_id.unwrap_or(bits as u16),
                    ttl: segment.ttl,
                    window: 0,
                    delay: segment.delay.time(&self.ruling, flow),
                }
            })
            .collect()
    }

    fn decision(&self, flow: &FlowView<'_>, action: Action, evidence: Evidence) -> Decision {
        let mut decision = Decision::new(action, evidence);
        for to in [Direction::Down, Direction::Up] {
            // A packet to the subscriber pretends to come from the server.
            if self.to.has(to) {
                decision.forge.extend(self.forged(flow, to));
            }
        }
        if self.drop_this { decision.dropping_this() } else { decision }
    }

    /// A new attempt under a key that is remembered: forged packets after its first data.
    fn again(&mut self, flow: &mut FlowView<'_>, decisions: &mut Decisions) {
        decisions.ignore_flow();
        let key = self.key(flow);
        if *flow.slot != 0 || self.remembered.peek(flow.now, &key).is_none() {
            return;
        }
        *flow.slot = 1;
        let evidence = Evidence { detail: "residual".to_owned(), ..Evidence::default() };
        decisions.push(self.decision(flow, Action::Nothing, evidence));
    }
}

impl Technique for Inject {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        let interest = self.trigger.interest();
        if self.manner == Manner::Inject { interest | Interest::DATA } else { interest }
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        if let Event::Data { .. } = event {
            if self.manner == Manner::Inject && flow.direction == Direction::Up {
                self.again(flow, decisions);
            }
            return;
        }
        let Some(evidence) = self.trigger.hit(flow, event) else { return };
        let key = self.key(flow);
        match self.manner {
            Manner::Silence => {
                let decision = self.decision(flow, silence(Ways::Both, 0), evidence);
                decisions.push(self.residual.on(decision, &self.ruling, flow));
            }
            Manner::Inject => {
                self.remembered.touch(flow.now, key, || ());
                // The data event of the same packet may have met the residual already.
                if *flow.slot == 0 {
                    *flow.slot = 1;
                    decisions.push(self.decision(flow, Action::Nothing, evidence));
                }
            }
            Manner::None => decisions.push(self.decision(flow, Action::Nothing, evidence)),
        }
    }
}
