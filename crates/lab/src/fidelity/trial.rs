//! From a profile's name to a box on a stage.

use okno_censor::profile::Selection;
use okno_censor::{Engine, Middlebox, Profile};

use super::stage::Stage;

/// A profile under trial.
#[derive(Clone, Debug)]
pub struct Trial {
    profile: Profile,
    /// seed of the box's chance
    pub seed: u64,
}

impl Trial {
    /// A shipped profile as `NAME[:VARIANT][@DATE]`.
    pub fn new(words: &str) -> Result<Self, String> {
        let profile = Profile::named(words).map_err(|error| format!("{words}: {error}"))?;
        Ok(Self { profile, seed: 1 })
    }

    /// Keeps only the rules of these techniques, switches them on, and puts the stage's names and networks
    /// into their lists.
    pub fn only(mut self, techniques: &[&str]) -> Result<Self, String> {
        self.profile.rules.retain(|rule| techniques.contains(&rule.technique.as_str()));
        if self.profile.rules.is_empty() {
            return Err(format!("{} has no rule of {}", self.profile.name, techniques.join(", ")));
        }
        for rule in &mut self.profile.rules {
            rule.off = false;
        }
        self.with_stage_lists()
    }

    /// Keeps only these rules, as `only` does.
    pub fn rules(mut self, ids: &[&str]) -> Result<Self, String> {
        self.profile.rules.retain(|rule| ids.contains(&rule.id.as_str()));
        if self.profile.rules.len() != ids.len() {
            let have: Vec<&str> = self.profile.rules.iter().map(|rule| rule.id.as_str()).collect();
            return Err(format!("{} lacks one of {}: it has {have:?}", self.profile.name, ids.join(", ")));
        }
        for rule in &mut self.profile.rules {
            rule.off = false;
        }
        self.with_stage_lists()
    }

    /// Keeps only these rules, with the lists as shipped.
    pub fn rules_as_shipped(mut self, ids: &[&str]) -> Result<Self, String> {
        self.profile.rules.retain(|rule| ids.contains(&rule.id.as_str()));
        if self.profile.rules.len() != ids.len() {
            return Err(format!("{} lacks one of {}", self.profile.name, ids.join(", ")));
        }
        Ok(self)
    }

    fn with_stage_lists(mut self) -> Result<Self, String> {
        let lists: Vec<(String, String)> = self
            .profile
            .rules
            .iter()
            .flat_map(|rule| rule.lists.iter().map(|(role, list)| (role.clone(), list.clone())))
            .collect();
        for (role, list) in lists {
            let text = match role.as_str() {
                role if role.contains("except_names") => "www.exempt.example\n",
                role if role.contains("except_networks") => "203.0.113.0/24\n",
                role if role.contains("names") => "www.blocked.example\n*.blocked.example\n",
                role if role.contains("networks") => "198.51.100.0/24\n2001:db8:1::/48\n",
                _ => continue,
            };
            self.profile
                .override_list(&list, "stage", text)
                .map_err(|error| format!("list {list} ({role}): {error}"))?;
        }
        Ok(self)
    }

    /// Chooses an alternative or a value, as `--set` does.
    pub fn set(self, choice: &str) -> Result<Self, String> {
        let selection = Selection { set: vec![choice.to_owned()], ..Selection::default() };
        let profile = self.profile.select(&selection).map_err(|error| error.to_string())?;
        Ok(Self { profile, ..self })
    }

    /// As an autonomous system has it.
    pub fn on_network(mut self, asn: u32) -> Self {
        self.profile = self.profile.on_network(asn);
        self
    }

    /// With another seed.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes the profile by hand.
    pub fn change(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(&mut self.profile);
        self
    }

    /// The profile.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The box.
    pub fn engine(&self) -> Result<Engine, String> {
        #[cfg(test)]
        if let Some(engine) = super::tests::sabotaged() {
            return Ok(engine);
        }
        self.profile.engine().map_err(|error| error.to_string())
    }

    /// The box on a stage.
    pub fn stage(&self) -> Result<Stage, String> {
        let engine: Box<dyn Middlebox> = Box::new(self.engine()?);
        Ok(Stage::new(engine, self.seed))
    }
}
