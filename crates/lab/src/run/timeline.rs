//! What stands on a cell's path at each moment: the policies of a scenario, seen from one cell.
//!
//! The state at a moment is the fold of the policies in force then, in their order. So an ending policy needs
//! no undoing, and what overlaps is no special case.

use std::collections::{BTreeMap, BTreeSet};

use okno_wire::Instant;

use crate::nation::Network;
use crate::scenario::{ListChange, Placement, Policy, PolicyAction, Scenario};

/// How a filter works.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    /// as it should
    #[default]
    Active,
    /// everything passes
    FailOpen,
    /// a share of packets is dropped, whatever they are
    Overload(f64),
}

/// A filter at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterState {
    /// profile's words, `NAME[:VARIANT][@DATE]`; nothing means that the filter is taken out
    pub profile: Option<String>,
    /// how it works
    pub mode: Mode,
}

/// All filters of a cell at one moment, and the lists that the scenario sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// by slot
    pub filters: BTreeMap<String, FilterState>,
    /// lists by name, entries as written in the scenario
    pub lists: BTreeMap<String, BTreeSet<String>>,
}

/// The policies that concern one cell.
#[derive(Clone, Debug)]
pub struct Timeline<'s> {
    scenario: &'s Scenario,
    policies: Vec<&'s Policy>,
}

impl<'s> Timeline<'s> {
    /// Of one network in one region.
    pub fn new(scenario: &'s Scenario, network: &Network, region: &str) -> Self {
        let policies =
            scenario.policies.iter().filter(|policy| policy.target.covers(network, region)).collect();
        Self { scenario, policies }
    }

    /// Every filter that is ever on the path, with its place.
    pub fn slots(&self) -> BTreeMap<String, Placement> {
        let mut slots = BTreeMap::new();
        for policy in &self.policies {
            if let PolicyAction::Install { slot, placement, .. } = &policy.action {
                slots.entry(slot.text.clone()).or_insert(*placement);
            }
        }
        slots
    }

    /// Every profile that is ever installed.
    pub fn profiles(&self) -> BTreeSet<String> {
        let mut profiles = BTreeSet::new();
        for policy in &self.policies {
            if let PolicyAction::Install { profile, .. } | PolicyAction::Replace { profile, .. } =
                &policy.action
            {
                profiles.insert(profile.text.clone());
            }
        }
        profiles
    }

    /// Moments at which a policy begins or ends, within the scenario, its start included.
    pub fn moments(&self) -> BTreeSet<Instant> {
        let (start, end) = (self.scenario.start, self.scenario.end);
        let ends = self.policies.iter().filter_map(|policy| policy.until);
        let begins = self.policies.iter().map(|policy| policy.at);
        let inside = begins.chain(ends).filter(|at| (start..end).contains(at));
        inside.chain(core::iter::once(start)).collect()
    }

    /// What holds at a moment.
    pub fn at(&self, moment: Instant) -> State {
        let of = |list: &Vec<crate::scenario::Word>| list.iter().map(|word| word.text.clone()).collect();
        let lists = self.scenario.lists.iter().map(|(name, list)| (name.clone(), of(list))).collect();
        let mut state = State { filters: BTreeMap::new(), lists };
        for policy in &self.policies {
            if policy.at <= moment && policy.until.is_none_or(|until| moment < until) {
                apply(&mut state, &policy.action);
            }
        }
        state
    }
}

fn apply(state: &mut State, action: &PolicyAction) {
    match action {
        PolicyAction::Install { slot, profile, .. } | PolicyAction::Replace { slot, profile } => {
            state.filters.entry(slot.text.clone()).or_default().profile = Some(profile.text.clone());
        }
        PolicyAction::Remove { slot } => {
            state.filters.entry(slot.text.clone()).or_default().profile = None;
        }
        PolicyAction::List { list, change, entries } => {
            let known = state.lists.entry(list.text.clone()).or_default();
            let entries = entries.iter().map(|word| word.text.clone());
            match change {
                ListChange::Set => *known = entries.collect(),
                ListChange::Add => known.extend(entries),
                ListChange::Remove => {
                    let gone: BTreeSet<String> = entries.collect();
                    known.retain(|entry| !gone.contains(entry));
                }
            }
        }
        PolicyAction::FailOpen { slot } => set_mode(state, slot, Mode::FailOpen),
        PolicyAction::Overload { slot, drop } => set_mode(state, slot, Mode::Overload(*drop)),
    }
}

fn set_mode(state: &mut State, slot: &str, mode: Mode) {
    for (name, filter) in &mut state.filters {
        if slot.is_empty() || slot == name {
            filter.mode = mode;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, parse_moment};

    const TEXT: &str = r#"title = "t"
start = 2022-03-01
end = 2022-03-20
[topology]
model = "russia"
networks = ["mts", "obit"]
regions = ["spb"]
[lists]
blocked = ["a.example"]
[[policy]]
at = 2022-03-04
do = "install"
box = "tspu"
profile = "first"
[[policy]]
at = 2022-03-06
until = 2022-03-08
do = "replace"
box = "tspu"
profile = "second"
networks = ["mobile"]
[[policy]]
at = 2022-03-07
until = 2022-03-07T01:00:00Z
do = "fail-open"
[[policy]]
at = 2022-03-10
do = "list"
list = "blocked"
entries = ["b.example"]
[[policy]]
at = 2022-03-12
do = "remove"
box = "tspu"
"#;

    #[test]
    fn what_holds_is_the_fold_of_the_policies_in_force() {
        let scenario = Scenario::parse("t", TEXT, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
        let network = |id: &str| scenario.nation.networks.iter().find(|n| n.id == id).unwrap();
        let mobile = Timeline::new(&scenario, network("mts"), "spb");
        let fixed = Timeline::new(&scenario, network("obit"), "spb");
        let at = |timeline: &Timeline<'_>, day: &str| timeline.at(parse_moment(day).unwrap());
        let profile = |state: &State| state.filters.get("tspu").and_then(|filter| filter.profile.clone());

        assert_eq!(profile(&at(&mobile, "2022-03-03")), None);
        assert_eq!(profile(&at(&mobile, "2022-03-04")).as_deref(), Some("first"));
        assert_eq!(profile(&at(&mobile, "2022-03-06")).as_deref(), Some("second"));
        assert_eq!(profile(&at(&fixed, "2022-03-06")).as_deref(), Some("first"));
        assert_eq!(profile(&at(&mobile, "2022-03-08")).as_deref(), Some("first"));
        assert_eq!(at(&fixed, "2022-03-07").filters["tspu"].mode, Mode::FailOpen);
        assert_eq!(at(&fixed, "2022-03-07T01:00:00Z").filters["tspu"].mode, Mode::Active);
        assert_eq!(at(&fixed, "2022-03-09").lists["blocked"].len(), 1);
        assert_eq!(at(&fixed, "2022-03-10").lists["blocked"].len(), 2);
        assert_eq!(profile(&at(&mobile, "2022-03-13")), None);
        assert_eq!(fixed.moments().len(), 6);
        assert_eq!(mobile.profiles().len(), 2);
    }
}
