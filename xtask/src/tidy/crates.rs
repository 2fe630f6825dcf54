//! Which crate may use which, and what stays out of the light ones.
//!
//! `cargo tree` answers what is reachable, not `cargo metadata`: the latter unites features over the whole
//! workspace and would show paths that a crate by itself does not have.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

/// Arrows point one way: model, wire ← censor, ingest, detect ← lab, store ← okno. `xtask` uses none, so
/// that it works while they are broken.
const ARROWS: &[(&str, &[&str])] = &[
    ("okno-model", &[]),
    ("okno-ingest", &["okno-model"]),
    ("okno-detect", &["okno-model"]),
    ("okno-store", &["okno-model", "okno-ingest", "okno-detect"]),
    ("okno-wire", &[]),
    ("okno-censor", &["okno-model", "okno-wire"]),
    ("okno-probe", &["okno-model", "okno-wire"]),
    ("okno-sockets", &["okno-model", "okno-wire", "okno-probe"]),
    ("okno-lab", &["okno-model", "okno-wire", "okno-censor", "okno-probe", "okno-ingest", "okno-detect"]),
    (
        "okno",
        &[
            "okno-model",
            "okno-ingest",
            "okno-detect",
            "okno-store",
            "okno-wire",
            "okno-censor",
            "okno-probe",
            "okno-sockets",
            "okno-lab",
        ],
    ),
    ("xtask", &[]),
];

/// Crates from which no table engine and no executor may be reached.
pub const LIGHT: &[&str] =
    &["okno-model", "okno-ingest", "okno-detect", "okno-wire", "okno-censor", "okno-probe", "okno-lab"];

/// Each workspace member with the members that it uses outside its tests.
pub type Members = BTreeMap<String, Vec<String>>;

/// Reads the members from `cargo metadata --no-deps`.
pub fn members(metadata: &str) -> Result<Members> {
    let value: Value = serde_json::from_str(metadata).context("cargo metadata gave no JSON")?;
    let packages = value["packages"].as_array().context("cargo metadata names no packages")?;
    let name = |package: &Value| package["name"].as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = packages.iter().map(name).collect();
    let mut members = Members::new();
    for package in packages {
        let mut uses: Vec<String> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null())
            .map(name)
            .filter(|used| names.contains(used))
            .collect();
        uses.sort();
        members.insert(name(package), uses);
    }
    Ok(members)
}

/// Members that are not in the list of arrows, and arrows that point up.
pub fn check_arrows(members: &Members) -> Vec<Finding> {
    let mut found = Vec::new();
    for (member, uses) in members {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == member) else {
            found.push(Finding::new(
                "Cargo.toml",
                0,
                format!("crate {member} has no place among the arrows"),
                "a crate is earned by a direction to defend or a heavy dependency; then add it to ARROWS in xtask",
            ));
            continue;
        };
        for used in uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
            found.push(Finding::new(
                "Cargo.toml",
                0,
                format!("{member} uses {used}, against the arrows"),
                "move what is needed down to a crate that both may use",
            ));
        }
    }
    found
}

/// Compares the table of crates in ARCHITECTURE.md (first column `crate`, and a column `uses` where there is
/// one) with the workspace.
pub fn check_table(text: &str, members: &Members) -> Vec<Finding> {
    const FILE: &str = "ARCHITECTURE.md";
    let cells = |line: &str| -> Vec<String> {
        line.trim()
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let lines: Vec<&str> = text.lines().collect();
    let head =
        lines.iter().position(|line| line.starts_with('|') && cells(line)[0].eq_ignore_ascii_case("crate"));
    let Some(head) = head else {
        return vec![Finding::new(
            FILE,
            1,
            "no table of crates",
            "add one whose first column is called `crate`",
        )];
    };
    let uses_at = cells(lines[head]).iter().position(|cell| cell.eq_ignore_ascii_case("uses"));
    let mut found = Vec::new();
    let mut listed = Vec::new();
    for (at, line) in lines.iter().enumerate().skip(head + 2).take_while(|(_, line)| line.starts_with('|')) {
        let row = cells(line);
        let Some((member, uses)) = members.get_key_value(&row[0]) else {
            found.push(Finding::new(FILE, at + 1, format!("no crate {}", row[0]), "take the row out"));
            continue;
        };
        listed.push(member);
        if let Some(cell) = uses_at.and_then(|column| row.get(column)) {
            let mut written: Vec<String> = cell
                .split([',', ' '])
                .map(|word| word.trim_matches(['`', '–', '-', '—']).to_owned())
                .filter(|word| !word.is_empty())
                .collect();
            written.sort();
            if written != *uses {
                let truth = if uses.is_empty() { "–".to_owned() } else { uses.join(", ") };
                found.push(Finding::new(FILE, at + 1, format!("{member} uses: {truth}"), "write that"));
            }
        }
    }
    for member in members.keys().filter(|member| !listed.contains(member)) {
        found.push(Finding::new(FILE, head + 1, format!("the table lacks {member}"), "add a row"));
    }
    found
}

/// Heavy packages in what `cargo tree --prefix none` shows of a light crate.
pub fn check_weight(member: &str, tree: &str) -> Vec<Finding> {
    // tokio's locks and traits come with hyper and h3; its runtime and sockets are looked for by
    // `unharmful`.
    let heavy = |name: &str| name == "parquet" || name.starts_with("datafusion") || name.starts_with("arrow");
    let mut names: Vec<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| heavy(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            Finding::new(
                "Cargo.toml",
                0,
                format!("{name} is reachable from {member}"),
                format!("see `cargo tree -p {member} -i {name}`; tables belong into okno-store"),
            )
        })
        .collect()
}

/// Workspace dependencies without a reason behind them.
pub fn check_dependency_reasons(manifest: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in manifest.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            continue;
        }
        if !inside || line.is_empty() || line.starts_with('#') || line.contains("path = ") {
            continue;
        }
        let name = line.split([' ', '=']).next().unwrap_or_default();
        if line.split_once(" # ").is_none_or(|(_, reason)| reason.trim().is_empty()) {
            found.push(Finding::new(
                "Cargo.toml",
                number,
                format!("{name} has no reason"),
                "say after a `#` on the same line what it is for",
            ));
        }
        if !line.contains("default-features = false") {
            found.push(Finding::new(
                "Cargo.toml",
                number,
                format!("{name} takes its default features"),
                "write `default-features = false` and name the features that are used",
            ));
        }
    }
    found
}

/// A lock file that has grown too long.
pub fn check_lock(lock: &str, limit: usize) -> Vec<Finding> {
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    if packages <= limit {
        return Vec::new();
    }
    let what = format!("{packages} packages, {limit} are allowed");
    vec![Finding::new("Cargo.lock", 0, what, "drop a dependency, or a feature of one")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members_of(list: &[(&str, &[&str])]) -> Members {
        list.iter()
            .map(|(name, uses)| ((*name).to_owned(), uses.iter().map(|used| (*used).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn members_are_read_and_test_dependencies_left_out() {
        let metadata = r#"{"packages":[{"name":"okno-model","dependencies":[]},{"name":"okno-ingest","dependencies":[
            {"name":"okno-model","kind":null},{"name":"serde","kind":null},{"name":"okno-model","kind":"dev"}]}]}"#;
        let expected = members_of(&[("okno-model", &[]), ("okno-ingest", &["okno-model"])]);
        assert_eq!(members(metadata).unwrap(), expected);
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        assert!(check_arrows(&members_of(&[("okno-store", &["okno-detect"])])).is_empty());
        assert!(
            check_arrows(&members_of(&[("okno-detect", &["okno-store"])]))[0]
                .what
                .contains("against the arrows")
        );
        assert!(check_arrows(&members_of(&[("okno-extra", &[])]))[0].what.contains("no place"));
    }

    #[test]
    fn the_table_of_crates_is_compared_both_ways() {
        let members = members_of(&[("okno-model", &[]), ("okno-ingest", &["okno-model"])]);
        let good = "# A\n\n| crate | uses | what |\n|---|---|---|\n| `okno-model` | – | words |\n| `okno-ingest` | `okno-model` | bytes |\n";
        assert_eq!(check_table(good, &members), []);
        let wrong = good.replace("| `okno-model` | bytes", "| – | bytes");
        assert_eq!(check_table(&wrong, &members)[0].line, 6);
        let extra = good.replace("okno-ingest", "okno-other");
        let whats: Vec<String> =
            check_table(&extra, &members).into_iter().map(|finding| finding.what).collect();
        assert_eq!(whats, ["no crate okno-other", "the table lacks okno-ingest"]);
        assert_eq!(check_table("nothing", &members)[0].what, "no table of crates");
    }

    #[test]
    fn heavy_packages_are_found_once() {
        let tree = "okno-ingest v0.1.0\nserde v1\narrow-schema v60\nparquet v1\nparquet v1 (*)\n";
        let found = check_weight("okno-ingest", tree);
        assert_eq!(found.len(), 2);
        assert!(found[1].what.contains("parquet"));
    }

    #[test]
    fn a_dependency_needs_a_reason_and_named_features() {
        let text = "[workspace.dependencies]\nokno-model = { path = \"x\" }\na = { version = \"1\", default-features = false } # why\nb = { version = \"1\", default-features = false }\nc = \"1\" # why\n[profile.release]\nlto = 1\n";
        let lines: Vec<usize> = check_dependency_reasons(text).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [4, 5]);
    }

    #[test]
    fn a_long_lock_file_is_found() {
        let lock = "[[package]]\nname = \"a\"\n".repeat(3);
        assert!(check_lock(&lock, 3).is_empty());
        assert_eq!(check_lock(&lock, 2).len(), 1);
    }
}
