//! The suite against itself: nothing that the record supports may fail.

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
