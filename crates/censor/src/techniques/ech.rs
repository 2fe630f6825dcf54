//! Encrypted names: ECH to one provider (M11), and ESNI before it.
//!
//! Either condition alone passes: the outer name and the extension together set the rule off.
//! FOCI 2025, https://www.petsymposium.org/foci/2025/foci-2025-0016.pdf;
//! https://github.com/net4people/bbs/issues/417

use okno_model::Mechanism;

use super::maker::Ruling;
use super::sni::{RESIDUAL, Residual, silence};
use super::trigger::{self, Trigger};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Forge, Ways};
use crate::middlebox::Direction;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

const OUTCOME: &[ParamSpec] = &[ParamSpec {
    name: "outcome",
    unit: "",
    default: DefaultValue::Text("drop"),
    doc: "`drop` the hello and all after it, or `reset` both ends by forged packets",
}];

/// M11.
pub static ECH: TechniqueSpec = TechniqueSpec {
    name: "ech",
    doc: "a hello with a listed outer name and an ECH extension, towards listed networks, is dropped; either alone passes",
    roles: trigger::ROLES,
    params: &[trigger::PARAMS, RESIDUAL, OUTCOME],
    make: |maker| {
        Ok(Box::new(Encrypted {
            ruling: maker.ruling(),
            trigger: Trigger::new(maker)?,
            residual: Residual::new(maker)?,
            reset: maker.text("outcome", &["drop", "reset"])? == "reset",
            esni: false,
        }))
    },
};

/// ESNI: some Russian networks 2020–22, China.
pub static ESNI: TechniqueSpec = TechniqueSpec {
    name: "esni",
    doc: "a hello with the older encrypted_server_name extension is dropped or reset, whatever the name",
    roles: trigger::ROLES,
    params: &[trigger::PARAMS, RESIDUAL, OUTCOME],
    make: |maker| {
        Ok(Box::new(Encrypted {
            ruling: maker.ruling(),
            trigger: Trigger::new(maker)?,
            residual: Residual::new(maker)?,
            reset: maker.text("outcome", &["drop", "reset"])? == "reset",
            esni: true,
        }))
    },
};

#[derive(Debug)]
struct Encrypted {
    ruling: Ruling,
    trigger: Trigger,
    residual: Residual,
    reset: bool,
    esni: bool,
}

impl Technique for Encrypted {
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
        let Some((hello, mut evidence)) = self.trigger.hello(flow, event) else { return };
        if !(if self.esni { hello.esni } else { hello.ech }) {
            return;
        }
        evidence.detail =
            if self.esni { "encrypted_server_name" } else { "encrypted_client_hello" }.to_owned();
        let decision = if self.reset {
            Decision::new(Action::Nothing, evidence)
                .forging(Forge::reset(Direction::Down))
                .forging(Forge::reset(Direction::Up))
        } else {
            Decision::new(silence(Ways::Both, 0), evidence).dropping_this()
        };
        decisions.push(self.residual.on(decision, &self.ruling, flow));
    }
}
