//! From a profile's words, the scenario's lists, a network and a date to a machine.
//!
//! Rules of a profile carry dates: a filter changes on those days by itself unless its words pin a day with
//! `@`. The scenario's lists take the place of the profile's, because the lab has addresses of its own.

use std::collections::{BTreeMap, BTreeSet};

use okno_censor::Middlebox;
use okno_censor::profile::{Profile, ProfileError};
use okno_model::Timestamp;
use okno_wire::Instant;

use super::Fatal;
use super::plan::Plan;
use crate::scenario::{Place, PolicyAction, Problem, ProfileFile, Scenario};

/// All that a machine depends on; equal keys need no new machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    words: String,
    rules: Vec<String>,
    lists: BTreeMap<String, Vec<String>>,
}

/// The profiles of a run, read once.
#[derive(Debug)]
pub(crate) struct Engines<'s> {
    plan: &'s Plan<'s>,
    profiles: BTreeMap<String, Profile>,
}

impl<'s> Engines<'s> {
    /// Reads every profile that the scenario installs.
    pub fn new(scenario: &Scenario, plan: &'s Plan<'s>) -> Result<Self, Fatal> {
        let mut profiles = BTreeMap::new();
        for (words, place) in installed(scenario) {
            let profile = find(&scenario.profiles, &words).map_err(|error| fatal(scenario, place, &error))?;
            profiles.insert(words, profile);
        }
        Ok(Self { plan, profiles })
    }

    /// Moments at which a profile changes by itself.
    pub fn moments(&self, words: &str) -> Vec<Instant> {
        if words.contains('@') {
            return Vec::new();
        }
        let changes = self.profiles.get(words).map(Profile::changes).unwrap_or_default();
        let micros = changes.into_iter().filter_map(|at| u64::try_from(at.micros()).ok());
        micros.map(Instant::from_micros).collect()
    }

    fn profile(&self, words: &str) -> Result<&Profile, Fatal> {
        self.profiles.get(words).ok_or_else(|| Fatal::Internal(String::from("a profile that was not read")))
    }

    /// What a machine with these words would be at a moment.
    pub fn key(
        &self,
        words: &str,
        lists: &BTreeMap<String, BTreeSet<String>>,
        asn: u32,
        at: Instant,
    ) -> Result<Key, Fatal> {
        let profile = self.profile(words)?.on_network(asn);
        let micros = i64::try_from(at.micros()).unwrap_or(i64::MAX);
        let now = if words.contains('@') { profile } else { profile.at(Timestamp::from_micros(micros)) };
        let rules: Vec<String> = now.active().map(|rule| rule.id.clone()).collect();
        let used: BTreeSet<&String> = now.rules.iter().flat_map(|rule| rule.lists.values()).collect();
        let own = lists.iter().filter(|(name, _)| used.contains(name));
        let lists = own.map(|(name, entries)| (name.clone(), self.plan.expand(entries))).collect();
        Ok(Key { words: words.to_owned(), rules, lists })
    }

    /// The machine of a key.
    pub fn engine(&self, key: &Key) -> Result<Box<dyn Middlebox>, Fatal> {
        let mut profile = self.profile(&key.words)?.clone();
        profile.rules.retain(|rule| key.rules.contains(&rule.id));
        machine(profile, &key.lists).map_err(|error| Fatal::Profile(Box::new(problem_of(&error))))
    }
}

/// Makes a machine of a profile with other lists.
fn machine(
    mut profile: Profile,
    lists: &BTreeMap<String, Vec<String>>,
) -> Result<Box<dyn Middlebox>, ProfileError> {
    for (name, entries) in lists {
        profile.override_list(name, "the scenario's list", &entries.join("\n"))?;
    }
    Ok(Box::new(profile.engine()?))
}

/// A profile by its words: the scenario's own first, then those that come with the lab.
fn find(own: &BTreeMap<String, ProfileFile>, words: &str) -> Result<Profile, ProfileError> {
    match own.get(words) {
        Some(file) => Profile::parse(&file.file, &file.text),
        None => Profile::named(words),
    }
}

/// Every profile's words with the place of the first policy that installs it.
fn installed(scenario: &Scenario) -> BTreeMap<String, Place> {
    let mut words = BTreeMap::new();
    for policy in &scenario.policies {
        if let PolicyAction::Install { profile, .. } | PolicyAction::Replace { profile, .. } = &policy.action
        {
            words.entry(profile.text.clone()).or_insert(profile.place);
        }
    }
    words
}

fn problem_of(error: &ProfileError) -> Problem {
    Problem {
        file: error.file.clone(),
        line: u32::try_from(error.line).unwrap_or(u32::MAX),
        column: 1,
        what: error.problem.clone(),
        fix: error.fix.clone(),
    }
}

/// An error about a profile, at the policy that names it where the profile has no file of its own.
fn fatal(scenario: &Scenario, place: Place, error: &ProfileError) -> Fatal {
    let mut problem = problem_of(error);
    if error.line == 0 {
        problem.file = scenario.files.get(usize::from(place.file)).cloned().unwrap_or_default();
        (problem.line, problem.column) = (place.line, place.column);
    }
    Fatal::Profile(Box::new(problem))
}

/// Reads all profiles of a scenario and makes each machine once, so that a mistake shows before the run.
///
/// # Errors
/// The first profile or list that cannot be used, at its line.
pub fn check(scenario: &Scenario) -> Result<(), Box<Problem>> {
    let plan = Plan::new(scenario);
    let as_problem = |fatal: Fatal| match fatal {
        Fatal::Profile(problem) => problem,
        Fatal::Internal(what) => {
            Box::new(Problem { file: String::new(), line: 0, column: 0, what, fix: String::new() })
        }
    };
    let engines = Engines::new(scenario, &plan).map_err(as_problem)?;
    for words in engines.profiles.keys() {
        for cell in scenario.nation.cells().into_iter().take(1) {
            let Some(network) = scenario.nation.networks.get(cell.network) else { continue };
            let region = scenario.nation.regions.get(cell.region).map_or("", |region| region.id.as_str());
            let state = super::timeline::Timeline::new(scenario, network, region).at(scenario.start);
            let key = engines.key(words, &state.lists, network.asn, scenario.start).map_err(as_problem)?;
            engines.engine(&key).map_err(as_problem)?;
        }
    }
    Ok(())
}
