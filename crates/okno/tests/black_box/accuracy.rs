//! Scenarios with a known truth, made by OONI's emulator: what `okno sql` says of them, by both rulesets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::binary::{Folder, arg, shared};

/// What a ruleset got right.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    interferences: usize,
    found: usize,
    right_layers: usize,
    others: usize,
    accused: usize,
    wrong: Vec<String>,
}

/// Compares the lake with the labels. A label's layer `throttle` is the state `throttled`.
fn score(folder: &Folder, labels: &[Value]) -> Score {
    let rows = folder.sql(
        "okno-data",
        "SELECT measurement_uid, layer, state FROM verdicts WHERE state IN ('blocked', 'throttled')",
    );
    let mut accused: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &rows {
        let what = if row["state"] == "throttled" { "throttle" } else { row["layer"].as_str().unwrap() };
        accused.entry(row["measurement_uid"].as_str().unwrap()).or_default().insert(what);
    }
    let mut score = Score::default();
    for label in labels {
        let said = accused.remove(label["measurement_uid"].as_str().unwrap()).unwrap_or_default();
        let layers: BTreeSet<&str> =
            label["layers"].as_array().unwrap().iter().map(|layer| layer.as_str().unwrap()).collect();
        if label["interference"] == true {
            score.interferences += 1;
            score.found += usize::from(!said.is_empty());
            score.right_layers += usize::from(said == layers);
        } else {
            score.others += 1;
            score.accused += usize::from(!said.is_empty());
        }
        if said != layers {
            score.wrong.push(format!("{}: {said:?}, not {layers:?}", label["scenario"]));
        }
    }
    score
}

#[test]
fn all_emulated_interferences_are_found_at_their_layers_none_accused_and_v5s_rules_do_worse() {
    let Some(qa) = shared("ooni-qa") else { return };
    let labels = std::fs::read_to_string(qa.join("qa.labels.json")).unwrap();
    let labels: Vec<Value> = serde_json::from_str(&labels).unwrap();
    let folder = Folder::new("qa");
    folder.okno(&["observe", arg(&qa.join("qa.jsonl.gz")), "--quiet"]).good();
    let native = score(&folder, &labels);
    assert!(native.wrong.is_empty(), "{:#?}", native.wrong);
    let all = (native.found, native.right_layers, native.accused);
    assert_eq!(all, (native.interferences, native.interferences, 0));
    assert!(native.interferences >= 18 && native.others >= 12);
    // By the other rules, from the lake alone.
    folder.okno(&["observe", "--rules", "ooni-v5", "--quiet"]).good();
    let v5 = score(&folder, &labels);
    println!(
        "of {} interferences and {} others: native found {}, accused {}, right layers {}; ooni-v5 {}, {}, {}",
        v5.interferences,
        v5.others,
        native.found,
        native.accused,
        native.right_layers,
        v5.found,
        v5.accused,
        v5.right_layers
    );
    assert!(v5.found < native.found && v5.right_layers < native.right_layers && v5.accused > native.accused);
}
