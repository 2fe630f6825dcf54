//! The scenarios that come with Okno: each can be read, has a benign twin, and shows what it says it shows.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use okno_lab::run::check_profiles;
use okno_lab::scenario::{Overrides, Scenario};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn load(name: &str, overrides: &Overrides) -> Scenario {
    Scenario::load(&folder().join(name), overrides).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_scenario_can_be_read_and_has_a_benign_twin() {
    let names = names();
    assert!(names.len() >= 16, "{names:?}");
    for name in &names {
        let scenario = load(name, &Overrides::default());
        assert_eq!(&scenario.name, name);
        assert!(!scenario.shows.is_empty() && !scenario.sources.is_empty(), "{name}");
        check_profiles(&scenario).unwrap_or_else(|problem| panic!("{problem}"));
        match name.strip_suffix("-benign") {
            Some(twin) => {
                assert!(
                    scenario.benign && scenario.policies.is_empty() && !scenario.faults.is_empty(),
                    "{name}"
                );
                let twin = load(twin, &Overrides::default());
                assert_eq!(
                    (twin.start, twin.end, &twin.clients),
                    (scenario.start, scenario.end, &scenario.clients)
                );
            }
            None => assert!(names.contains(&format!("{name}-benign")), "{name} has no twin"),
        }
    }
}
