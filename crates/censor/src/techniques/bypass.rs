//! The box under load (M29): it drops at random, or fails open and filters nothing.
//!
//! tspu-docs, https://github.com/DanielLavrushin/tspu-docs: lost heartbeats turn the bypass on, a full
//! session table drops. A scenario gives the times; a rule without windows holds always.

use okno_model::{Mechanism, Timestamp};
use okno_wire::Instant;

use super::maker::{Maker, NetworkSet, Ruling};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Ways};
use crate::chance;
use crate::middlebox::Evidence;
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

const WINDOWS: ParamSpec = ParamSpec {
    name: "windows",
    unit: "",
    default: DefaultValue::Texts(&[]),
    doc: "times from/to in UTC, `2026-04-01T10:00:00/2026-04-01T10:05:00`; none holds always",
};

/// M29, filtering off. It stands before the rules that it takes off.
pub static FAIL_OPEN: TechniqueSpec = TechniqueSpec {
    name: "fail_open",
    doc: "flows that begin while the box is bypassed are not filtered",
    roles: &["networks"],
    params: &[&[
        WINDOWS,
        ParamSpec {
            name: "share",
            unit: "of flows",
            default: DefaultValue::Number(1.0),
            doc: "share of the flows that go around the box",
        },
    ]],
    make: |maker| make(maker, None),
};

/// M29, packets lost.
pub static OVERLOAD: TechniqueSpec = TechniqueSpec {
    name: "overload",
    doc: "each packet is lost with a chance, whatever it carries",
    roles: &["networks"],
    params: &[&[
        WINDOWS,
        ParamSpec {
            name: "drop_share",
            unit: "of packets",
            default: DefaultValue::Needed,
            doc: "chance of each packet to be lost",
        },
        ParamSpec {
            name: "share",
            unit: "of flows",
            default: DefaultValue::Number(1.0),
            doc: "share of the flows that meet the overloaded box",
        },
    ]],
    make: |maker| make(maker, Some(maker.ppm("drop_share")?)),
};

fn make(maker: &Maker<'_>, drop_ppm: Option<u32>) -> Result<Box<dyn Technique>, ProfileError> {
    let mut windows = Vec::new();
    for words in maker.texts("windows", &[])? {
        let ends = words.split_once('/').and_then(|(from, to)| Some((instant(from)?, instant(to)?)));
        let fix = "write \"2026-04-01T10:00:00/2026-04-01T10:05:00\"";
        windows.push(ends.ok_or_else(|| maker.wrong("windows", &format!("`{words}` is no window"), fix))?);
    }
    Ok(Box::new(Bypass {
        ruling: maker.ruling(),
        networks: maker.networks("networks")?,
        windows,
        drop_ppm,
        share_ppm: maker.ppm("share")?,
    }))
}

fn instant(text: &str) -> Option<Instant> {
    Timestamp::parse(text).and_then(|at| u64::try_from(at.micros()).ok()).map(Instant::from_micros)
}

#[derive(Debug)]
struct Bypass {
    ruling: Ruling,
    networks: NetworkSet,
    windows: Vec<(Instant, Instant)>,
    /// `None` fails open
    drop_ppm: Option<u32>,
    share_ppm: u32,
}

impl Technique for Bypass {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::OPENED | Interest::UNARMED_TOO
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Opened { .. } = event else { return };
        let now = flow.now;
        let open = self.windows.iter().find(|(from, to)| (*from..*to).contains(&now));
        if (open.is_none() && !self.windows.is_empty())
            || !self.networks.has(flow.outside.ip)
            || !chance::coin(flow.seed, &self.ruling.id, &flow.key, self.share_ppm)
        {
            return;
        }
        let Some(drop_ppm) = self.drop_ppm else { return decisions.exempt_flow() };
        let evidence = Evidence { detail: format!("{drop_ppm} ppm of packets lost"), ..Evidence::default() };
        let pass_ppm = 1_000_000 - drop_ppm.min(1_000_000);
        let action = Action::Drop { ways: Ways::Both, after: 0, pass_ppm, data_only: false };
        let decision = Decision::new(action, evidence).from_this();
        decisions.push(match open {
            Some((_, to)) => decision.lasting(to.since(now)),
            None => decision,
        });
    }
}
