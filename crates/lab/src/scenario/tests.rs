//! Claims about reading scenarios.

use super::*;

const SMALL: &str = r#"format = 1
title = "small"
shows = "that it can be read"
seed = 7
start = 2022-03-01T00:00:00Z
end = 2022-03-08T00:00:00Z

[topology]
model = "russia"
networks = ["rostelecom", "mts"]
regions = ["moscow", "spb"]

[lists]
blocked = ["twitter.com", "*.twimg.com"]

[[service]]
id = "twitter.com"
hosting = "twitter"

[[service]]
id = "ya.ru"
hosting = "yandex"

[[policy]]
at = 2022-03-04T00:00:00Z
do = "install"
profile = "tspu-2022"
box = "tspu"
networks = ["fixed"]

[[fault]]
at = 2022-03-02
lasts = "1h"
kind = "outage"
regions = ["spb"]
cause = "a cable was cut"

[[client]]
id = "measure"
per_cell = 2
targets = ["twitter.com", "ya.ru"]
does = ["dns", "https"]
every = "1h"
"#;

fn read(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("test", text, &Overrides::default())
}

/// The only problem of a text.
fn problem(text: &str) -> Problem {
    let error = read(text).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    error.problems[0].clone()
}

#[test]
fn a_small_scenario_is_read_whole() {
    let scenario = read(SMALL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.nation.cells().len(), 4);
    assert_eq!(scenario.services.len(), 2);
    assert_eq!(scenario.policies.len(), 1);
    assert_eq!(format_moment(scenario.faults[0].until), "2022-03-02T01:00:00Z");
    assert_eq!(scenario.clients[0].rounds_within(&scenario), 7 * 24);
    assert_eq!(scenario.clients[0].does, [Activity::Dns, Activity::Https]);
}

#[test]
fn every_model_is_read_and_has_all_its_cells() {
    for (model, least) in [("russia", 200), ("iran", 12), ("china", 16)] {
        let text =
            format!("title = \"t\"\nstart = 2025-01-01\nend = 2025-01-02\n[topology]\nmodel = \"{model}\"\n");
        let scenario = read(&text).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.nation.cells().len() >= least, "{model}: {}", scenario.nation.cells().len());
        for network in &scenario.nation.networks {
            assert!(network.tspu_hop <= 5 && network.share > 0.0, "{}", network.id);
        }
    }
}

/// Replaces a word; the only problem must stand in the line of the new one and offer this fix.
fn claim(old: &str, new: &str, fix: &str) {
    let text = SMALL.replacen(old, new, 1);
    let found = problem(&text);
    let line = text.lines().position(|line| line.contains(new)).map_or(0, |at| at + 1);
    assert_eq!((found.line as usize, found.fix.as_str()), (line, fix), "{found}");
    assert_eq!(found.file, "scenario.toml");
}

#[test]
fn mistakes_name_line_and_fix() {
    claim(
        "box = \"tspu\"",
        "bocks = \"tspu\"",
        "known here: `at`, `box`, `do`, `lasts`, `networks`, `note`, `place`, `profile`, `regions`, `source`, `until`",
    );
    claim("networks = [\"fixed\"]", "netwroks = [\"fixed\"]", "did you mean `networks`?");
    claim("\"rostelecom\"", "\"rostelekom\"", "did you mean `rostelecom`?");
    claim("hosting = \"yandex\"", "hosting = \"yandx\"", "did you mean `yandex`?");
    claim("\"outage\"", "\"outtage\"", "did you mean `outage`?");
    claim("\"ya.ru\"]", "\"ya.rv\"]", "did you mean `ya.ru`?");
    claim("\"https\"]", "\"htps\"]", "did you mean `https`?");
    claim("[\"spb\"]", "[\"sbp\"]", "did you mean `spb`?");
    claim("seed = 7", "seed = = 7", "see https://toml.io");
    claim("seed = 7", "seed = \"7\"", "for example `seed = 1`");
    claim("model = \"russia\"", "model = \"rusia\"", "did you mean `russia`?");
    claim(
        "lasts = \"1h\"",
        "lasts = \"1x\"",
        "write a number and a unit (ms, s, m, h, d, w), for example \"90s\" or \"1h30m\"",
    );
    let end = problem(&SMALL.replace("end = 2022-03-08", "end = 2021-03-08"));
    assert_eq!(end.what, "the end, 2021-03-08T00:00:00Z, is not after the start, 2022-03-01T00:00:00Z");
    let lacking = problem(&SMALL.replace("profile = \"tspu-2022\"\n", ""));
    assert_eq!(
        lacking.to_string(),
        "scenario.toml:24:1: [[policy]] lacks `profile`\n  fix: add `profile = \"tspu-2025\"`"
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let text = SMALL.replace("kind = \"outage\"", "kind = \"x\"").replace("seed = 7", "sead = 7");
    let error = read(&text).unwrap_err();
    let lines: Vec<u32> = error.problems.iter().map(|problem| problem.line).collect();
    let line = |word: &str| text.lines().position(|line| line.contains(word)).map_or(0, |at| at as u32 + 1);
    assert_eq!(lines, [line("sead"), line("kind = \"x\"")]);
}

#[test]
fn hostile_numbers_are_refused_with_the_limit() {
    let cases = [
        (SMALL.replace("per_cell = 2", "per_cell = 1000000000"), "100000"),
        (SMALL.replace("per_cell = 2", "per_cell = 99999"), "100000"),
        (SMALL.replace("per_cell = 2", "per_cell = 10000").replace("\"1h\"", "\"1s\""), "100000000"),
        (SMALL.replace("2022-03-08", "9000-01-01"), "moment"),
        (SMALL.replace("2022-03-08", "2100-01-01"), "3660"),
        (SMALL.replace("\"1h\"\n", "\"99999999999d\"\n"), "length of time"),
        (SMALL.replace("seed = 7", "seed = 99999999999999999999999"), "9223372036854775807"),
    ];
    for (text, limit) in cases {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(limit), "{error}");
    }
}

#[test]
fn deep_and_wide_files_are_refused() {
    let deep = format!("{}a = 1\n", "a.".repeat(200_000));
    assert!(read(&deep).unwrap_err().to_string().contains("16 parts"));
    let nested = format!("a = {}", "[".repeat(100_000));
    assert!(read(&nested).is_err());
    let inline = format!("a = {}", "{a=".repeat(100_000));
    assert!(read(&inline).is_err());
    let header = format!("[{}a]\n", "a . ".repeat(100_000));
    assert!(read(&header).is_err());
    let many = "[[service]]\nid = \"a\"\nhosting = \"x\"\n".repeat(20_000);
    assert!(read(&many).unwrap_err().problems.len() <= MAX_PROBLEMS);
    let cells = (0..1_900)
        .map(|n| format!("[[region]]\nid = \"r{n}\"\n[[network]]\nid = \"n{n}\"\naccess = \"fixed\"\n"));
    let cells = cells.collect::<String>() + "[extra]\n";
    let text = cells.replace("[extra]\n", "");
    let text = format!("title = \"t\"\nstart = 2025-01-01\nend = 2025-01-02\n{text}");
    assert!(read(&text).unwrap_err().to_string().contains("4000 cells"));
}

#[test]
fn includes_stay_inside_and_do_not_turn_in_circles() {
    let files = |scenario: &str, other: &str| {
        Memory([("scenario.toml", scenario), ("more.toml", other)].map(|(a, b)| (a.into(), b.into())).into())
    };
    let read = |files: &Memory| Scenario::read("t", "scenario.toml", "dir/", files, &Overrides::default());
    let with = |include: &str| format!("include = [\"{include}\"]\n{SMALL}");

    let good = files(&with("more.toml"), "[lists]\nmore = [\"example.org\"]\n");
    let scenario = read(&good).unwrap_or_else(|error| panic!("{error}"));
    assert!(scenario.lists.contains_key("more") && scenario.lists.contains_key("blocked"));
    assert_eq!(scenario.files, ["dir/scenario.toml", "<model russia>", "dir/more.toml"]);

    let circle = files(&with("more.toml"), "include = [\"scenario.toml\"]\n");
    let error = read(&circle).unwrap_err().to_string();
    assert!(error.starts_with("dir/more.toml:1:12: `scenario.toml` is included twice"), "{error}");

    for outside in
        ["../more.toml", "/etc/a.toml", "../a/../b.toml", "../../a/b.toml", "C:more.toml", "more.txt", ""]
    {
        let error = read(&files(&with(outside), "")).unwrap_err().to_string();
        assert!(error.contains("no file of the scenario's folder"), "{error}");
    }
    let absent = read(&files(&with("none.toml"), "")).unwrap_err().to_string();
    assert!(absent.contains("cannot read `none.toml`"), "{absent}");
}

#[test]
fn a_scenario_changes_a_network_of_the_model_and_nothing_else_of_it() {
    let changed = read(&format!("{SMALL}\n[[network]]\nid = \"mts\"\ntspu_hop = 4\n"))
        .unwrap_or_else(|error| panic!("{error}"));
    let plain = read(SMALL).unwrap_or_else(|error| panic!("{error}"));
    let hop = |scenario: &Scenario| {
        let network = scenario.nation.networks.iter().find(|network| network.id == "mts").cloned();
        network.map(|network| (network.tspu_hop, network.asn, network.regions))
    };
    assert_eq!(hop(&changed).map(|network| network.0), Some(4));
    assert_eq!(hop(&plain).map(|network| network.0), Some(2));
    assert_eq!(hop(&changed).map(|network| network.1), Some(8359));
}

#[test]
fn a_benign_scenario_with_a_policy_is_refused() {
    let found = problem(&SMALL.replace("seed = 7", "benign = true\nseed = 7"));
    assert!(found.what.contains("benign"), "{found}");
}

#[test]
fn no_damage_to_a_file_makes_the_reader_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
    };
    let bits =
        ["\"", "[", "]", "=", "\n", "{", "}", ".", "9", "-1", "[[", "*", "é", "'''", "#", "e9", "T", ","];
    let mut errors = 0;
    for _ in 0..600 {
        let mut text: Vec<char> = SMALL.chars().collect();
        for _ in 0..1 + next(4) {
            let at = next(text.len());
            match next(3) {
                0 => drop(text.drain(at..(at + 1 + next(12)).min(text.len()))),
                1 => drop(text.splice(at..at, bits[next(bits.len())].chars())),
                _ => text[at] = bits[next(bits.len())].chars().next().unwrap_or(' '),
            }
        }
        errors += usize::from(read(&text.into_iter().collect::<String>()).is_err());
    }
    assert!(errors > 300, "the damage does nothing: {errors}");
}

#[test]
fn overrides_shorten_a_scenario() {
    let overrides = Overrides {
        seed: Some(9),
        end: parse_moment("2022-03-02"),
        regions: vec!["spb".into()],
        clients: Some(6),
        ..Overrides::default()
    };
    let scenario = Scenario::parse("t", SMALL, &overrides).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.seed, 9);
    assert_eq!(scenario.nation.cells().len(), 2);
    let cells = scenario.nation.cells();
    assert_eq!(scenario.clients[0].per_cell(&scenario, &cells).iter().sum::<u32>(), 6);
    assert_eq!(scenario.clients[0].rounds_within(&scenario), 24);
}

#[test]
fn a_path_at_which_there_is_nothing_is_named_and_nothing_else_is_complained_of() {
    for path in ["no/such/scenario", "no/such/scenario/scenario.toml", "nothing"] {
        let error = Scenario::load(path.as_ref(), &Overrides::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{path}: there is no such folder or file\n  fix: name a folder that holds `scenario.toml`, or the file itself"
            )
        );
    }
}

#[test]
fn a_first_file_that_is_no_toml_file_is_named() {
    let files = Memory::default();
    let error = Scenario::read("x", "notes", "here/", &files, &Overrides::default()).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert_eq!(error.problems[0].file, "here/notes");
}

#[test]
fn no_clients_at_all_is_a_mistake_and_not_a_run_without_measurements() {
    let overrides = Overrides { clients: Some(0), ..Overrides::default() };
    let error = Scenario::parse("test", SMALL, &overrides).unwrap_err();
    assert!(error.to_string().contains("0 clients"), "{error}");
}

#[test]
fn a_cell_has_no_more_clients_than_addresses() {
    let wide = |count| SMALL.replace("per_cell = 2", &format!("per_cell = {count}"));
    let enough = read(&wide(4_000)).map_err(|error| error.to_string());
    assert!(enough.is_ok(), "{enough:?}");
    assert!(problem(&wide(4_001)).what.starts_with("4001 clients in one cell"));
}
