//! `okno lab score` and `okno lab fit`: the loop from the command line.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::binary::Folder;

/// A small network with a box from noon on, pages, a helper, and probes every two hours.
const WORLD: &str = r#"title = "pages under a box"
start = 2025-06-01
end = 2025-06-02
[topology]
model = "russia"
networks = ["mts", "obit", "beeline", "er-telecom"]
regions = ["spb", "moscow"]
[[service]]
id = "facebook.com"
hosting = "meta"
object_bytes = 30000
[[service]]
id = "wikipedia.org"
hosting = "wikimedia"
object_bytes = 30000
[[service]]
id = "th.example"
hosting = "hetzner"
speaks = ["helper"]
[[probe]]
id = "wc"
tests = ["web_connectivity"]
inputs = ["https://facebook.com/", "https://wikipedia.org/"]
every = "4h"
jitter = "10m"
helper = "th.example"
"#;

const BOX: &str = r#"[[policy]]
at = 2025-06-01T12:00:00Z
do = "install"
box = "tspu"
profile = "tspu-2024"
"#;

fn scenarios(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("scenarios/pages/scenario.toml", format!("{WORLD}{BOX}").as_bytes());
    folder.write("scenarios/pages-benign/scenario.toml", format!("benign = true\n{WORLD}").as_bytes());
    let split = b"fit = [\"pages\"]\nheld_out = []\nseeds = [1, 2]\n";
    folder.write("scenarios/split.toml", split);
    folder
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn scoring_judges_as_observe_does_and_the_board_is_the_same_on_any_number_of_threads() {
    let folder = scenarios("score");
    let args = ["lab", "score", "scenarios/pages", "--rules", "native", "--json", "--quiet"];
    let one = folder.okno(&[&args[..], &["--threads", "1", "--output", "out"]].concat()).good();
    let two = folder.okno(&[&args[..], &["--threads", "2"]].concat()).good();
    assert_eq!(one.out, two.out);
    let board = &one.json()[0];
    assert!(board["censored"]["detection"]["tp"].as_u64().unwrap() > 0, "{board:#}");
    assert_eq!(board["benign"]["detection"]["fp"], 0);
    assert!(folder.text("out/board.html").contains("<svg"));
    assert!(folder.text("out/board.txt").contains("web_connectivity"));

    folder.okno(&["observe", "out/pages.jsonl", "--lake", "lake", "--report", "r.html", "--quiet"]).good();
    let query = "SELECT measurement_uid, hostname, layer, state, mechanism, probability, rule FROM verdicts";
    let key = |row: &Value, uid: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = format!("{:.6}", row["probability"].as_f64().unwrap());
        let words = ["hostname", "layer", "state", "mechanism", "rule"].map(text);
        (uid.as_str().unwrap().to_owned(), words, number)
    };
    let mut observed: BTreeMap<_, u32> = BTreeMap::new();
    for row in folder.sql("lake", query) {
        *observed.entry(key(&row, &row["measurement_uid"])).or_default() += 1;
    }
    let mut scored: BTreeMap<_, u32> = BTreeMap::new();
    for line in lines(&folder.text("out/pages.scored.jsonl")) {
        for row in line["verdicts"].as_array().unwrap() {
            *scored.entry(key(row, &line["measurement_uid"])).or_default() += 1;
        }
    }
    assert!(scored.len() > 50, "{}", scored.len());
    assert_eq!(observed, scored);
}

#[test]
fn fitting_gives_the_same_bytes_twice_and_names_its_runs() {
    let folder = scenarios("fit");
    let args = ["lab", "fit", "--quiet", "--version", "7", "--threads"];
    let one = folder.okno(&[&args[..], &["1"]].concat()).good().out;
    assert_eq!(one, folder.okno(&[&args[..], &["2"]].concat()).good().out);
    assert!(
        one.contains("version = 7") && one.contains("\"pages-benign\"") && one.contains("seeds = [1, 2]")
    );
    assert!(one.contains("[[rule]]") && one.contains("decisions = "), "{one}");
}

#[test]
fn a_scenario_without_probes_and_a_folder_without_split_are_told() {
    let folder = Folder::new("score-nothing");
    folder.okno(&["lab", "score"]).ends(2);
    folder.okno(&["lab", "fit"]).ends(2);
}
