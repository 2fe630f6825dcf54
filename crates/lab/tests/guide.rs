//! The guide's examples are read by the code that reads users' files. Its technique is a doctest.

#![expect(clippy::unwrap_used, reason = "an example that cannot be read fails the test")]

use okno_censor::Profile;
use okno_lab::run::{Quiet, RunOptions, run};
use okno_lab::scenario::{Overrides, Scenario};

const GUIDE: &str = include_str!("../../../docs/lab.md");

/// The TOML example after this heading.
fn example(heading: &str) -> &'static str {
    let after = GUIDE.split_once(heading).unwrap().1;
    after.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_guides_profile_makes_a_box() {
    let profile = Profile::parse("docs/lab.md", example("## Write your own profile")).unwrap();
    assert_eq!(profile.active().count(), 1);
    profile.engine().unwrap();
}

#[test]
fn the_guides_scenario_runs_and_shows_what_it_says() {
    let text = example("## Write your own scenario");
    let scenario = Scenario::parse("my-scenario", text, &Overrides::default()).unwrap();
    let summary = run(&scenario, &RunOptions::default(), &mut Quiet).unwrap();
    assert!(summary.outcomes > 20 && summary.succeeded > 0, "{summary}");
    assert_eq!((summary.timeline.len(), summary.faults.len()), (1, 1), "{summary}");
}
