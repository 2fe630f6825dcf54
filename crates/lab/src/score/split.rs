//! Which scenarios are fitted to, and which are held out (`scenarios/split.toml`).

use serde::Deserialize;

/// Names of scenarios' folders. A benign twin goes where its scenario goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// fitted to
    pub fit: Vec<String>,
    /// tested on
    pub held_out: Vec<String>,
    /// seeds of the runs that are fitted to
    pub seeds: Vec<u64>,
}

impl Split {
    /// Reads the file.
    ///
    /// # Errors
    /// In words: no TOML, an unknown key, or a scenario on both sides.
    pub fn parse(text: &str) -> Result<Self, String> {
        let split: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match split.fit.iter().find(|name| split.held_out.contains(name)) {
            Some(both) => Err(format!("{both} is fitted to and held out; choose one")),
            None => Ok(split),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_tested_on_what_it_was_fitted_to() {
        let split =
            |held: &str| Split::parse(&format!("fit = [\"a\"]\nheld_out = [\"{held}\"]\nseeds = [1]\n"));
        assert_eq!(split("b").unwrap().seeds, [1]);
        assert!(split("a").unwrap_err().contains("choose one"));
    }

    #[test]
    fn the_shipped_split_names_every_scenario_once() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        let text = std::fs::read_to_string(format!("{folder}/split.toml")).unwrap();
        let split = Split::parse(&text).unwrap();
        let mut named: Vec<String> = split.fit.iter().chain(&split.held_out).cloned().collect();
        named.sort_unstable();
        let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut present: Vec<String> = folders
            .filter(|entry| entry.path().join("scenario.toml").exists())
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !name.ends_with("-benign"))
            .collect();
        present.sort_unstable();
        assert_eq!(named, present);
    }
}
