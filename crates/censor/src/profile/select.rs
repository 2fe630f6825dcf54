//! Which profile is meant: `NAME[:VARIANT][@DATE]`, a network, and single choices.

use okno_model::Timestamp;

use super::error::suggestion;
use super::{BUILTIN, Profile, ProfileError, builtin};
use crate::lists::Lists;

/// A choice among what a profile offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// variants, in the order in which they are applied
    pub variants: Vec<String>,
    /// the day; without one all rules hold, whatever their dates
    pub date: Option<Timestamp>,
    /// the autonomous system
    pub network: Option<u32>,
    /// `RULE.PARAM=ALTERNATIVE`, `RULE.PARAM=VALUE`, `RULE=on`, `RULE=off`
    pub set: Vec<String>,
}

impl Profile {
    /// Reads `NAME[:VARIANT…][@DATE]` of a built-in profile.
    pub fn named(words: &str) -> Result<Self, ProfileError> {
        let (rest, date) = match words.split_once('@') {
            Some((rest, date)) => (rest, Some(date)),
            None => (words, None),
        };
        let mut parts = rest.split(':');
        let name = parts.next().unwrap_or_default();
        let profile = builtin(name).ok_or_else(|| {
            let known: Vec<&str> = BUILTIN.iter().map(|(name, _)| *name).collect();
            ProfileError::new(
                "--profile",
                0,
                format!("there is no profile `{name}`"),
                suggestion(name, &known),
            )
        })?;
        let date = match date {
            None => None,
            Some(date) => Some(Timestamp::parse(date).ok_or_else(|| {
                ProfileError::new("--profile", 0, format!("`{date}` is no date"), "write it as @2025-06-09")
            })?),
        };
        profile.select(&Selection {
            variants: parts.map(str::to_owned).collect(),
            date,
            ..Selection::default()
        })
    }

    /// The profile after a selection: variants first, then the date and the network, then single choices.
    pub fn select(&self, selection: &Selection) -> Result<Self, ProfileError> {
        let mut profile = self.clone();
        for name in &selection.variants {
            profile.apply_variant(name)?;
        }
        if let Some(date) = selection.date {
            profile = profile.at(date);
        }
        if let Some(asn) = selection.network {
            profile = profile.on_network(asn);
        }
        for choice in &selection.set {
            let Some((target, words)) = choice.split_once('=') else {
                let problem = format!("`{choice}` has no `=`");
                return Err(ProfileError::new("--set", 0, problem, "write RULE.PARAM=VALUE or RULE=off"));
            };
            profile.choose("--set", target.trim(), words.trim())?;
        }
        Ok(profile)
    }

    /// Puts another list in the place of one that the rules name, from lines of text.
    pub fn override_list(&mut self, name: &str, file: &str, text: &str) -> Result<(), ProfileError> {
        self.lists.read_lines(name, file, text, super::builtin::lists())
    }

    fn apply_variant(&mut self, name: &str) -> Result<(), ProfileError> {
        let Some(variant) = self.variants.get(name).cloned() else {
            let known: Vec<&str> = self.variants.keys().map(String::as_str).collect();
            let problem = format!("`{}` has no variant `{name}`", self.name);
            return Err(ProfileError::new("--profile", 0, problem, suggestion(name, &known)));
        };
        let place = format!("variant {name}");
        for id in &variant.off {
            self.choose(&place, id, "off")?;
        }
        for id in &variant.on {
            self.choose(&place, id, "on")?;
        }
        for (target, words) in &variant.set {
            self.choose(&place, target, words)?;
        }
        Ok(())
    }

    fn choose(&mut self, place: &str, target: &str, words: &str) -> Result<(), ProfileError> {
        if let Some(switch) = target.strip_prefix("switches.") {
            let known: Vec<String> = self.switches.keys().cloned().collect();
            let Some(param) = self.switches.get_mut(switch) else {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let problem = format!("the profile sets no switch `{switch}`");
                return Err(ProfileError::new(place, 0, problem, suggestion(switch, &known)));
            };
            return param.choose(place, words);
        }
        let (id, name) = match target.split_once('.') {
            Some((id, name)) => (id, Some(name)),
            None => (target, None),
        };
        let ids: Vec<String> = self.rules.iter().map(|rule| rule.id.clone()).collect();
        let Some(rule) = self.rules.iter_mut().find(|rule| rule.id == id) else {
            let known: Vec<&str> = ids.iter().map(String::as_str).collect();
            return Err(ProfileError::new(
                place,
                0,
                format!("there is no rule `{id}`"),
                suggestion(id, &known),
            ));
        };
        match (name, words) {
            (None, "on") => rule.off = false,
            (None, "off") => rule.off = true,
            (None, _) => {
                let problem = format!("`{words}` does not fit the rule `{id}`");
                return Err(ProfileError::new(place, 0, problem, "write `on` or `off`"));
            }
            (Some(name), words) => {
                let known: Vec<String> = rule.params.keys().cloned().collect();
                let Some(param) = rule.params.get_mut(name) else {
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    let problem = format!("`{id}` sets no parameter `{name}`");
                    return Err(ProfileError::new(place, 0, problem, suggestion(name, &known)));
                };
                param.choose(place, words)?;
            }
        }
        Ok(())
    }
}

/// Leaves out a parent's variants that speak of rules or alternatives which the child no longer has.
pub(super) fn drop_stale_variants(profile: &mut Profile) {
    let names: Vec<String> = profile.variants.keys().cloned().collect();
    for name in names {
        if profile.clone().apply_variant(&name).is_err() {
            profile.variants.remove(&name);
        }
    }
}

/// Holds lists and variants against the rest of the profile.
pub(super) fn check(profile: &Profile, file: &str) -> Result<(), ProfileError> {
    let shared: &Lists = super::builtin::lists();
    for rule in &profile.rules {
        for list in rule.lists.values() {
            if !profile.lists.has(list) && !shared.has(list) {
                let mut known = profile.lists.names();
                known.extend(shared.names());
                let problem = format!("rule `{}` names the list `{list}`, which is nowhere", rule.id);
                return Err(ProfileError::new(&rule.file, rule.line, problem, suggestion(list, &known)));
            }
        }
    }
    for name in profile.variants.keys() {
        let mut trial = profile.clone();
        trial.apply_variant(name).map_err(|error| {
            ProfileError::new(file, 0, format!("variant `{name}`: {}", error.problem), error.fix)
        })?;
    }
    Ok(())
}
