//! Profiles: what a documented network does, as data.
//!
//! A profile is a set of dated rules; a rule names a technique, its lists and its parameters, and each
//! parameter is written with its provenance. Where sources disagree a parameter holds alternatives with one
//! named default; where the record is silent it says so and what the lab assumes instead. A profile is
//! resolved in one order, always the same: parent, own rules, variant, date, network, `--set`.

mod builtin;
mod engine;
mod error;
mod param;
mod read;
mod select;

pub(crate) use builtin::lists as builtin_lists;
pub use builtin::{BUILTIN, builtin, source_text};
pub use error::ProfileError;
pub(crate) use error::suggestion;
pub use param::{Alternative, Confidence, Param, Provenance, Tag, Value};
pub use select::Selection;

use std::collections::BTreeMap;

use okno_model::{Country, Mechanism, Timestamp};

use crate::lists::Lists;

/// A profile, read and checked.
#[derive(Clone, Debug)]
pub struct Profile {
    /// name, as in `--profile tspu-2025`
    pub name: String,
    /// one line for people
    pub title: String,
    /// what it models and what it leaves out
    pub summary: String,
    /// country whose networks it describes
    pub country: Country,
    /// days in which it holds
    pub period: Period,
    /// the day that is meant when none is given; without one all rules hold
    pub as_of: Option<Timestamp>,
    /// shared machinery's switches by their paths in [`crate::Switches`] (`tcp.reassembly`), each with its
    /// source
    pub switches: BTreeMap<String, Param>,
    /// where its box stands and how it is built, for a world's layout; no rule reads it
    pub device: BTreeMap<String, Param>,
    /// what it does, in the order in which rules are asked
    pub rules: Vec<Rule>,
    /// named choices over it, e.g. the modes of a whitelist
    pub variants: BTreeMap<String, Variant>,
    /// keys of sources to their full text
    pub sources: BTreeMap<String, String>,
    /// lists of this file; they stand before the built-in ones
    pub lists: Lists,
}

/// From and until, both inclusive days in UTC; an absent end is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// first day
    pub from: Option<Timestamp>,
    /// last day, as its start
    pub until: Option<Timestamp>,
}

impl Period {
    /// Whether the moment lies within.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at)
            && self.until.is_none_or(|until| at.day_index() <= until.day_index())
    }
}

/// One rule of a profile.
#[derive(Clone, Debug)]
pub struct Rule {
    /// unique in the profile
    pub id: String,
    /// name of the technique, see [`crate::techniques::TECHNIQUES`]
    pub technique: String,
    /// node of the taxonomy that names the effect
    pub mechanism: Mechanism,
    /// what it does, in one sentence
    pub title: String,
    /// where it comes from, how surely it exists
    pub provenance: Provenance,
    /// when it was in force
    pub period: Period,
    /// autonomous systems it was seen in; empty for any
    pub networks: Vec<u32>,
    /// lists by their role in the technique (`names`, `networks` …)
    pub lists: BTreeMap<String, String>,
    /// parameters by name
    pub params: BTreeMap<String, Param>,
    /// off until a variant or `--set RULE=on` asks for it
    pub off: bool,
    /// file it stands in
    pub file: String,
    /// line it begins on, from 1
    pub line: usize,
}

/// A named choice over a profile.
#[derive(Clone, Debug, Default)]
pub struct Variant {
    /// what it stands for
    pub title: String,
    /// rules switched on
    pub on: Vec<String>,
    /// rules switched off
    pub off: Vec<String>,
    /// `rule.param` to the alternative or value chosen
    pub set: BTreeMap<String, String>,
}

impl Profile {
    /// Reads a profile from TOML text; `file` names it in errors. A profile that extends another finds it
    /// among the built-in ones.
    pub fn parse(file: &str, text: &str) -> Result<Self, ProfileError> {
        read::profile(file, text)
    }

    /// The rule of this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The profile with the rules that were in force then and are not switched off.
    #[must_use]
    pub fn at(&self, moment: Timestamp) -> Self {
        let mut profile = self.clone();
        profile.rules.retain(|rule| rule.period.contains(moment));
        profile
    }

    /// The profile on the day that is meant when none is given: of rules that followed one another, those of
    /// that day alone.
    #[must_use]
    pub fn standing(&self) -> Self {
        self.as_of.map_or_else(|| self.clone(), |day| self.at(day))
    }

    /// The profile as an autonomous system had it: rules that name others only are left out.
    #[must_use]
    pub fn on_network(&self, asn: u32) -> Self {
        let mut profile = self.clone();
        profile.rules.retain(|rule| rule.networks.is_empty() || rule.networks.contains(&asn));
        profile
    }

    /// Days on which some rule begins or ends: where a timeline changes, in order.
    pub fn changes(&self) -> Vec<Timestamp> {
        const DAY_US: i64 = 86_400_000_000;
        let mut days: Vec<Timestamp> = Vec::new();
        for rule in &self.rules {
            days.extend(rule.period.from);
            days.extend(rule.period.until.map(|until| Timestamp::from_micros(until.micros() + DAY_US)));
        }
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Rules that are switched on, in order.
    pub fn active(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.off)
    }
}

#[cfg(test)]
mod tests;
