//! The suite against itself: nothing that the record supports may fail.

use std::cell::Cell;

use okno_censor::switches::Defragmentation;
use okno_censor::{Engine, Profile, Switches};

use super::live::{CELLS, CENSORS, came_through, run};
use super::*;

#[test]
fn strategies_and_plain_censors_give_the_cells_that_real_tools_gave_live() {
    let mut wrong = Vec::new();
    for (tool, id, cells) in CELLS {
        for (censor, expected) in CENSORS.into_iter().zip(cells) {
            if came_through(id, censor) != Some(expected) {
                let outcome = run(id, censor).expect("a strategy");
                wrong.push(format!(
                    "{tool} ({id}) × {censor}: expected {expected}, {:?} {:?}",
                    outcome.ending, outcome.at_server
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_live_cells_are_those_of_the_shared_measurement() {
    let root = std::env::var_os("OKNO_SHARED_DATA").map(std::path::PathBuf::from);
    let root =
        root.unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let Ok(text) = std::fs::read_to_string(root.join("evasion/live_matrix.tsv")) else {
        println!("skipped: no shared data");
        return;
    };
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or("").split('\t').skip(1).collect();
    assert_eq!(head, CENSORS);
    let measured: Vec<(String, Vec<bool>)> = lines
        .map(|line| {
            let mut fields = line.split('\t');
            let tool = fields.next().unwrap_or("").to_owned();
            (tool, fields.map(|field| field == "200").collect())
        })
        .collect();
    let ours: Vec<(String, Vec<bool>)> =
        CELLS.iter().map(|(tool, _, cells)| ((*tool).to_owned(), cells.to_vec())).collect();
    assert_eq!(measured, ours);
}

#[test]
fn no_row_that_the_record_supports_fails_and_at_least_150_pass() {
    let report = fidelity();
    println!("{}", report.table());
    assert_eq!(report.failed, 0, "\n{}", report.failures());
    assert!(report.passed >= 150, "{} rows pass", report.passed);
}

#[test]
fn every_row_has_its_own_name_and_a_source() {
    let rows = rows();
    for (index, row) in rows.iter().enumerate() {
        assert!(!rows[..index].iter().any(|other| other.id == row.id), "{} stands twice", row.id);
        assert!(!row.source.is_empty() && !row.what.is_empty(), "{}", row.id);
    }
}

/// A box in the place of the profile's, for as long as a row is tried on this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// does nothing
    Idle,
    /// lets nothing pass
    Closed,
}

thread_local! {
    static SABOTAGE: Cell<Sabotage> = const { Cell::new(Sabotage::None) };
}

/// The box that takes the place of a trial's, when a test asks for it.
pub(super) fn sabotaged() -> Option<Engine> {
    match SABOTAGE.get() {
        Sabotage::None => None,
        Sabotage::Idle => {
            let mut switches = Switches::default();
            switches.fragments.mode = Defragmentation::Ignore;
            Some(Engine::new(switches, Vec::new()))
        }
        Sabotage::Closed => Profile::named("ru-mobile-blackout").ok()?.engine().ok(),
    }
}

/// Rows of this kind that pass all the same on a sabotaged box.
fn blind(sabotage: Sabotage, kind: Expected) -> Vec<String> {
    SABOTAGE.set(sabotage);
    let blind = rows()
        .iter()
        .filter(|row| row.expected == kind && row.result().outcome == Outcome::Passed)
        .map(|row| row.id.clone())
        .collect();
    SABOTAGE.set(Sabotage::None);
    blind
}

#[test]
fn a_box_that_does_nothing_fails_every_row_about_traffic_that_is_stopped() {
    assert_eq!(blind(Sabotage::Idle, Expected::Fails), Vec::<String>::new());
}

#[test]
fn a_box_that_lets_nothing_pass_fails_every_row_about_traffic_that_passes() {
    // These find no rule in force on their day, and look at no box.
    let about_dates = ["M17.before", "CN.quic.before"];
    let bypassed = ["M29.fail_open"];
    let blind = blind(Sabotage::Closed, Expected::Passes);
    let known = |id: &&String| !about_dates.contains(&id.as_str()) && !bypassed.contains(&id.as_str());
    assert_eq!(blind.iter().filter(known).collect::<Vec<_>>(), Vec::<&String>::new());
}
