//! The throttler of March 2021 (M8): a bare substring, an inspection budget, a bucket for each way.
//!
//! It reads a hello of either side, but only in flows opened from inside, and stops for good at a first
//! packet that is long and no protocol it knows. IMC 2021, https://censoredplanet.org/throttling

use okno_model::Mechanism;
use okno_wire::packet::number;

use super::maker::{Draw, Ruling};
use super::sni::{RATE, RESIDUAL, Residual, held_down};
use super::trigger::{self, Trigger};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M8.
pub static TWITTER: TechniqueSpec = TechniqueSpec {
    name: "budgeted_throttle",
    doc: "inspects a few packets of a flow for a hello of either side, and holds each way of the flow to a rate by dropping what is beyond it",
    roles: trigger::ROLES,
    params: &[
        trigger::PARAMS,
        RESIDUAL,
        RATE,
        &[
            ParamSpec {
                name: "budget_packets",
                unit: "packets",
                default: DefaultValue::Needed,
                doc: "data packets inspected after a first one that is of a known protocol, both ways counted",
            },
            ParamSpec {
                name: "junk_from",
                unit: "bytes",
                default: DefaultValue::Needed,
                doc: "a first packet of so many bytes that is no known protocol ends inspection for good",
            },
        ],
    ],
    make: |maker| {
        Ok(Box::new(Twitter {
            ruling: maker.ruling(),
            trigger: Trigger::new(maker)?,
            residual: Residual::new(maker)?,
            rate: maker.draw("rate_bps")?,
            burst: u64::from(maker.count("burst_bytes")?),
            budget: maker.draw("budget_packets")?,
            junk_from: maker.count("junk_from")? as usize,
        }))
    },
};

/// Values of the slot: nothing decided yet, finished, or so many packets left and three.
const FRESH: u64 = 0;
const STOPPED: u64 = 1;
const LEFT: u64 = 2;

#[derive(Debug)]
struct Twitter {
    ruling: Ruling,
    trigger: Trigger,
    residual: Residual,
    rate: Draw,
    burst: u64,
    budget: Draw,
    junk_from: usize,
}

impl Twitter {
    /// Counts a data packet against the budget.
    fn count(&self, flow: &mut FlowView<'_>, payload: &[u8]) {
        if *flow.slot == FRESH {
            if is_known(payload) {
                *flow.slot = LEFT + self.budget.count(&self.ruling, flow.seed, &flow.key);
            } else if payload.len() >= self.junk_from {
                *flow.slot = STOPPED;
            }
            return;
        }
        *flow.slot = (*flow.slot - 1).max(STOPPED);
    }
}

/// TLS, an HTTP proxy's request or SOCKS: what keeps the throttler looking.
fn is_known(payload: &[u8]) -> bool {
    const METHODS: [&[u8]; 6] = [b"CONNECT ", b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS "];
    let tls = matches!(payload, [0x14..=0x17, 3, 0..=4, ..]);
    let socks = matches!(payload, [4, 1 | 2, _, ..] | [5, 1..=8, ..]) && payload.len() <= 64;
    tls || socks || METHODS.iter().any(|method| payload.starts_with(method))
}

impl Technique for Twitter {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::CLIENT_HELLO | Interest::CLIENT_HELLO_EITHER_SIDE | Interest::DATA
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        if flow.key.protocol != number::TCP {
            return decisions.ignore_flow();
        }
        match event {
            Event::Data { packet, .. } => {
                if *flow.slot == STOPPED {
                    return decisions.ignore_flow();
                }
                self.count(flow, packet.payload());
            }
            Event::ClientHello(_) if *flow.slot != STOPPED => {
                let Some(mut evidence) = self.trigger.hit(flow, event) else { return };
                let rate = self.rate.count(&self.ruling, flow.seed, &flow.key);
                evidence.detail = format!("{rate} bit/s, {} bytes at once", self.burst);
                let decision = Decision::new(held_down(rate, self.burst, false), evidence);
                decisions.push(self.residual.on(decision, &self.ruling, flow));
                *flow.slot = STOPPED;
            }
            _ => {}
        }
    }
}
