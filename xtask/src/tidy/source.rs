//! Rules about single lines of Rust.

use super::Finding;

/// Columns that a line may have, as in `rustfmt.toml`.
pub const COLUMNS: usize = 110;

/// Crates below the shells: time, randomness and order of iteration come in as arguments.
const PURE: &[&str] = &[
    "crates/model/src/",
    "crates/ingest/src/",
    "crates/detect/src/",
    "crates/wire/src/",
    "crates/censor/src/",
    "crates/lab/src/",
    "crates/probe/src/",
];

/// What they must not name. (The words are put together here, so that this file does not name them itself.)
const BANNED: &[(&str, &str)] = &[
    (concat!("Instant", "::now"), "take the time as an argument"),
    (concat!("SystemTime", "::now"), "take the time as an argument"),
    (concat!("thread", "_rng"), "take a seed as an argument"),
    (concat!("rand", "::random"), "take a seed as an argument"),
];

/// How much of a file is not tests: the lines before a `#[cfg(test)]` that opens a module at the margin. A
/// file in a `tests` folder has none.
pub fn ordinary<'a>(path: &str, text: &'a str) -> Vec<&'a str> {
    if path.contains("/tests/") || path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .iter()
        .zip(lines.iter().skip(1))
        .position(|(line, next)| *line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{'))
        .unwrap_or(lines.len());
    lines[..end].to_vec()
}

/// Everything that is wrong with the lines of one file.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(Finding::new(
            path,
            1,
            "does not open with `//!`",
            "say what the file is for, where it stands, and one decision that is not obvious",
        ));
    }
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(at) = code.find(concat!("fn ge", "t_")) {
            let name: String =
                code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(Finding::new(
                path,
                number,
                format!("`{name}`"),
                "name it after what it gives, without `get_`",
            ));
        }
        for word in [concat!("to", "do!("), concat!("un", "implemented!(")] {
            if code.contains(word) {
                found.push(Finding::new(
                    path,
                    number,
                    format!("`{word})`"),
                    "finish it, or leave it out and say so",
                ));
            }
        }
        if code.trim() == concat!("#[ign", "ore]") {
            found.push(Finding::new(
                path,
                number,
                "a test is ignored without a reason",
                "write `#[ignore = \"why\"]`",
            ));
        }
    }
    found.extend(check_purity(path, text));
    found
}

fn check_purity(path: &str, text: &str) -> Vec<Finding> {
    if !PURE.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    let fixed = text.contains("hashbrown");
    let mut found = Vec::new();
    for (number, line) in ordinary(path, text).iter().enumerate().map(|(at, line)| (at + 1, *line)) {
        let code = line.split("//").next().unwrap_or_default();
        for (word, fix) in BANNED {
            if code.contains(word) {
                found.push(Finding::new(path, number, format!("`{word}` below the shells"), *fix));
            }
        }
        let hashed = ["HashMap", "HashSet"].iter().any(|word| names(code, word));
        if hashed && (!fixed || code.contains("std::collections")) {
            found.push(Finding::new(
                path,
                number,
                "a std hash table below the shells; its order differs from run to run",
                "use BTreeMap, or hashbrown with a fixed hasher and sort before output",
            ));
        }
    }
    found
}

/// Whether `code` has `word` as a whole word.
fn names(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<(usize, String)> {
        check(path, text).into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn a_file_opens_by_saying_what_it_is_for() {
        assert_eq!(whats("crates/okno/src/a.rs", "use x;\n"), [(1, "does not open with `//!`".to_owned())]);
        assert_eq!(whats("crates/okno/src/a.rs", "//! what\n"), []);
    }

    #[test]
    fn names_that_begin_with_get_are_found_and_comments_are_not() {
        let text = "//! x\npub fn get_row() {}\n// fn get_other()\nfn budget_of() {}\n";
        assert_eq!(whats("xtask/src/a.rs", text), [(2, "`get_row`".to_owned())]);
    }

    #[test]
    fn unfinished_code_and_tests_ignored_without_reason_are_found() {
        let text = format!("//! x\n    {}to{}do!();\n#[ign{}]\n#[ignore = \"slow\"]\n", "", "", "ore");
        let found = whats("crates/okno/src/a.rs", &text);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn clocks_and_hash_tables_are_banned_below_the_shells_only() {
        let text = format!("//! x\nlet t = Instant{}::now();\nuse std::collections::HashMap;\n", "");
        assert_eq!(whats("crates/detect/src/a.rs", &text).len(), 2);
        assert_eq!(whats("crates/okno/src/a.rs", &text), []);
        let fixed = "//! x\nuse hashbrown::HashMap;\ntype Map = HashMap<u32, u32, Fixed>;\n";
        assert_eq!(whats("crates/detect/src/a.rs", fixed), []);
        let tested = "//! x\n#[cfg(test)]\nmod tests {\n    use std::collections::HashMap;\n}\n";
        assert_eq!(whats("crates/detect/src/a.rs", tested), []);
    }

    #[test]
    fn tests_do_not_count_as_ordinary_lines() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(ordinary("crates/okno/src/a.rs", text).len(), 2);
        assert_eq!(ordinary("crates/okno/tests/a.rs", text).len(), 0);
    }
}
