//! The TSPU's four ways with a name (M1–M4): answers turned into resets, silence after a few packets,
//! a rate, silence at once. IMC 2022, https://ensa.fi/papers/tspu-imc22.pdf

use okno_model::Mechanism;

use super::maker::{Draw, Maker, Ruling};
use super::trigger::{self, Trigger};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Rate, Refresh, Scope, Ways};
use crate::chance;
use crate::middlebox::Direction;
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// What a rate that holds a flow down is made of.
pub(super) const RATE: &[ParamSpec] = &[
    ParamSpec {
        name: "rate_bps",
        unit: "bit/s",
        default: DefaultValue::Needed,
        doc: "rate of each way, in bits of IP packets per second",
    },
    ParamSpec {
        name: "burst_bytes",
        unit: "bytes",
        default: DefaultValue::Number(16384.0),
        doc: "bytes that may pass at once",
    },
];

/// Parameters of what stays after a trigger.
pub(super) const RESIDUAL: &[ParamSpec] = &[
    ParamSpec {
        name: "residual_s",
        unit: "s",
        default: DefaultValue::Needed,
        doc: "how long packets of the same key stay under the rule",
    },
    ParamSpec {
        name: "residual_key",
        unit: "",
        default: DefaultValue::Text("4-tuple"),
        doc: "what the key is: flow, 4-tuple, 3-tuple, host pair, remote end, remote, subscriber",
    },
    ParamSpec {
        name: "refresh",
        unit: "",
        default: DefaultValue::Text("never"),
        doc: "what lets the time begin anew: never, trigger, packet",
    },
];

/// What stays after a trigger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Residual {
    time: Draw,
    scope: Scope,
    refresh: Refresh,
}

impl Residual {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, ProfileError> {
        Ok(Self {
            time: maker.draw("residual_s")?,
            scope: maker.scope("residual_key")?,
            refresh: maker.refresh("refresh")?,
        })
    }

    /// The decision under this residual; a time of zero is only the flow's life.
    pub(super) fn on(&self, decision: Decision, ruling: &Ruling, flow: &FlowView<'_>) -> Decision {
        let time = self.time.time(ruling, flow);
        if time.is_zero() {
            return decision;
        }
        decision.on(self.scope).lasting(time).refreshed_by(self.refresh)
    }
}

/// M1: the server's packets become RST/ACK.
pub static RESET: TechniqueSpec = TechniqueSpec {
    name: "sni_reset",
    doc: "after a listed name every packet of the server loses its payload and becomes RST/ACK; sequence numbers, TTL and timing stay the server's",
    roles: trigger::ROLES,
    params: &[trigger::PARAMS, RESIDUAL],
    make: |maker| make(maker, Way::Reset),
};

/// M2: a few more packets, then silence.
pub static SILENCE: TechniqueSpec = TechniqueSpec {
    name: "sni_silence",
    doc: "after a listed name a few more packets of either way pass, then none",
    roles: trigger::ROLES,
    params: &[
        trigger::PARAMS,
        RESIDUAL,
        &[
            ParamSpec {
                name: "extra_packets",
                unit: "packets",
                default: DefaultValue::Number(0.0),
                doc: "packets that still pass after the one that named, both ways counted",
            },
            ParamSpec {
                name: "ways",
                unit: "",
                default: DefaultValue::Text("both"),
                doc: "which ways fall silent: both, up, down",
            },
        ],
    ],
    make: |maker| {
        make(maker, Way::Silence { extra: maker.draw("extra_packets")?, ways: maker.ways("ways")? })
    },
};

/// M4: the naming packet itself is dropped, and all after it.
pub static DROP: TechniqueSpec = TechniqueSpec {
    name: "sni_drop",
    doc: "the packet that completes a listed name is dropped, and everything after it, both ways",
    roles: trigger::ROLES,
    params: &[
        trigger::PARAMS,
        RESIDUAL,
        &[ParamSpec {
            name: "ways",
            unit: "",
            default: DefaultValue::Text("both"),
            doc: "which ways fall silent: both, up, down",
        }],
    ],
    make: |maker| make(maker, Way::Drop { ways: maker.ways("ways")? }),
};

/// M3, M8's successor and M10: packets beyond a rate are dropped or wait.
pub static THROTTLE: TechniqueSpec = TechniqueSpec {
    name: "sni_throttle",
    doc: "after a listed name packets beyond a rate are dropped (policing) or wait (shaping), each way by itself",
    roles: trigger::ROLES,
    params: &[
        trigger::PARAMS,
        RESIDUAL,
        RATE,
        &[
            ParamSpec {
                name: "manner",
                unit: "",
                default: DefaultValue::Text("police"),
                doc: "`police` drops what is beyond the rate, `shape` delays it",
            },
            ParamSpec {
                name: "share",
                unit: "of flows",
                default: DefaultValue::Number(1.0),
                doc: "share of the flows that are held down",
            },
        ],
    ],
    make: |maker| {
        let way = Way::Throttle {
            rate: maker.draw("rate_bps")?,
            burst: u64::from(maker.count("burst_bytes")?),
            shape: maker.text("manner", &["police", "shape"])? == "shape",
            share_ppm: maker.ppm("share")?,
        };
        make(maker, way)
    },
};

fn make(maker: &Maker<'_>, way: Way) -> Result<Box<dyn Technique>, ProfileError> {
    let sni =
        Sni { ruling: maker.ruling(), trigger: Trigger::new(maker)?, residual: Residual::new(maker)?, way };
    Ok(Box::new(sni))
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Reset,
    Silence { extra: Draw, ways: Ways },
    Drop { ways: Ways },
    Throttle { rate: Draw, burst: u64, shape: bool, share_ppm: u32 },
}

#[derive(Debug)]
struct Sni {
    ruling: Ruling,
    trigger: Trigger,
    residual: Residual,
    way: Way,
}

/// Silence of some ways after so many packets.
pub(super) const fn silence(ways: Ways, after: u32) -> Action {
    Action::Drop { ways, after, pass_ppm: 0, data_only: false }
}

/// The same rate both ways.
pub(super) const fn held_down(bits_per_second: u64, burst_bytes: u64, shape: bool) -> Action {
    let rate = Some(Rate { bits_per_second, burst_bytes });
    if shape {
        Action::Shape { up: rate, down: rate, queue_bytes: burst_bytes.saturating_mul(4) }
    } else {
        Action::Police { up: rate, down: rate }
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
        self.trigger.interest()
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Some(mut evidence) = self.trigger.hit(flow, event) else { return };
        let decision = match self.way {
            // A rewritten answer needs the downstream way; the box that sees only one way cannot do it.
            Way::Reset => Decision::new(Action::RewriteToReset { way: Direction::Down }, evidence),
            Way::Silence { extra, ways } => {
                let extra = extra.count(&self.ruling, flow.seed, &flow.key) as u32;
                evidence.detail = format!("{extra} more packets pass");
                Decision::new(silence(ways, extra), evidence)
            }
            Way::Drop { ways } => Decision::new(silence(ways, 0), evidence).dropping_this(),
            Way::Throttle { rate, burst, shape, share_ppm } => {
                if !chance::coin(flow.seed, &self.ruling.id, &flow.key, share_ppm) {
                    return;
                }
                let rate = rate.count(&self.ruling, flow.seed, &flow.key);
                evidence.detail = format!("{rate} bit/s, {burst} bytes at once");
                Decision::new(held_down(rate, burst, shape), evidence)
            }
        };
        decisions.push(self.residual.on(decision, &self.ruling, flow));
    }
}
