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
