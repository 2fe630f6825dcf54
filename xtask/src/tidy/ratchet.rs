//! Sizes: lines of a file and of a function, columns of a line. What is over the limit stands in
//! `xtask/ratchet.toml` with its present size; the number there may only shrink.
//!
//! Columns are counted in comments only: code is rustfmt's business, and text that people read may be as
//! long as it is. A function is measured from its `fn` to the `}` in the same column. That is right for code
//! that rustfmt has seen, and wrong elsewhere; a parser would not earn its keep here.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Finding;
use super::source::{COLUMNS, ordinary};

/// Lines of a file that are not tests.
const FILE_LINES: usize = 800;
/// Lines of a function.
const FUNCTION_LINES: usize = 70;

/// Sizes over the limit, by what they are the size of: `path`, `path fn name`, `path columns`.
pub type Exceptions = BTreeMap<String, usize>;

/// Reads `xtask/ratchet.toml`: `"path" = 812` under `[file]`, `"path fn name" = 80` under `[function]`,
/// `"path columns" = 3` (lines that are too long) under `[columns]`.
pub fn read(text: &str) -> Result<Exceptions> {
    let table: toml::Table = text.parse().context("xtask/ratchet.toml is no TOML")?;
    let mut exceptions = Exceptions::new();
    for section in ["file", "function", "columns"] {
        let Some(entries) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for (what, size) in entries {
            let size = size.as_integer().and_then(|size| usize::try_from(size).ok());
            exceptions.insert(what.clone(), size.with_context(|| format!("{what}: the size is no number"))?);
        }
    }
    Ok(exceptions)
}

/// Sizes over the limit, with the line where the thing begins.
pub fn oversized(files: &[(String, String)]) -> Vec<(String, String, usize, usize)> {
    let mut found = Vec::new();
    for (path, text) in files {
        let lines = ordinary(path, text);
        if lines.len() > FILE_LINES {
            found.push((path.clone(), path.clone(), 1, lines.len()));
        }
        for (name, line, length) in functions(&lines) {
            if length > FUNCTION_LINES {
                found.push((format!("{path} fn {name}"), path.clone(), line, length));
            }
        }
        let long: Vec<usize> =
            text.lines().enumerate().filter(|(_, line)| is_long(line)).map(|(at, _)| at + 1).collect();
        if let Some(first) = long.first() {
            found.push((format!("{path} columns"), path.clone(), *first, long.len()));
        }
    }
    found
}

/// The list with the present sizes, for `cargo xtask tidy --ratchet`; what grew shows in the diff.
pub fn written(files: &[(String, String)]) -> String {
    let mut text = HEAD.to_owned();
    let sizes = oversized(files);
    let kind = |what: &str| match what {
        _ if what.ends_with(" columns") => "columns",
        _ if what.contains(" fn ") => "function",
        _ => "file",
    };
    for section in ["file", "function", "columns"] {
        text.push_str(&format!("\n[{section}]\n"));
        for (what, _, _, size) in sizes.iter().filter(|(what, ..)| kind(what) == section) {
            text.push_str(&format!("\"{what}\" = {size}\n"));
        }
    }
    text
}

const HEAD: &str = "\
# What is over a limit of `cargo xtask tidy`, with its present size. Numbers here may only shrink; a new line needs a
# reason in the commit that adds it. `cargo xtask tidy --ratchet` writes the present sizes.
";

/// Compares sizes with the exceptions.
pub fn check(files: &[(String, String)], exceptions: &Exceptions) -> Vec<Finding> {
    let mut found = Vec::new();
    let sizes = oversized(files);
    for (what, path, line, size) in &sizes {
        match exceptions.get(what) {
            Some(allowed) if size == allowed => {}
            Some(allowed) if size < allowed => found.push(Finding::new(
                path,
                *line,
                format!("`{what}` shrank to {size}"),
                format!("write {size} instead of {allowed} in xtask/ratchet.toml"),
            )),
            _ => found.push(Finding::new(path, *line, too_big(what, *size), remedy(what))),
        }
    }
    for what in exceptions.keys().filter(|what| !sizes.iter().any(|(known, ..)| known == *what)) {
        found.push(Finding::new(
            "xtask/ratchet.toml",
            0,
            format!("`{what}` is within its limit, or gone"),
            "take the line out",
        ));
    }
    found
}

fn too_big(what: &str, size: usize) -> String {
    match what.split_once(' ') {
        Some((_, "columns")) => format!("comments over {COLUMNS} columns: {size}, this the first"),
        Some((_, function)) => format!("`{function}` has {size} lines"),
        None => format!("{size} lines that are not tests"),
    }
}

fn remedy(what: &str) -> String {
    match what.split_once(' ') {
        Some((_, "columns")) => "break them".to_owned(),
        Some(_) => format!("split it ({FUNCTION_LINES} lines are allowed), or list it in xtask/ratchet.toml"),
        None => format!("split it ({FILE_LINES} lines are allowed), or list it in xtask/ratchet.toml"),
    }
}

/// A comment that is longer than the limit, and not because of one long word (an address) that cannot be
/// broken.
fn is_long(line: &str) -> bool {
    line.trim_start().starts_with("//")
        && line.chars().count() > COLUMNS
        && !line.split(' ').any(|word| word.chars().count() > 60)
}

/// Name, line and length of each function.
fn functions(lines: &[&str]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(name) = function_name(code) else { continue };
        let indent = line.len() - code.len();
        let one_line = code.ends_with('}') || code.ends_with(';');
        if one_line {
            continue;
        }
        let end = lines[at..].iter().position(|later| {
            later.len() > indent && later.as_bytes()[indent] == b'}' && later[..indent].trim().is_empty()
        });
        if let Some(end) = end {
            found.push((name, at + 1, end + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<String> {
    let mut rest = code;
    for prefix in ["pub ", "pub(crate) ", "pub(super) ", "const ", "async "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> (String, String) {
        let mut text = "//! x\n".to_owned();
        text.push_str(&"// y\n".repeat(lines - 1));
        ("crates/okno/src/a.rs".to_owned(), text)
    }

    fn exceptions(what: &str, size: usize) -> Exceptions {
        Exceptions::from([(what.to_owned(), size)])
    }

    #[test]
    fn a_long_file_needs_an_exception_of_exactly_its_size() {
        assert!(check(&[file(800)], &Exceptions::new()).is_empty());
        assert_eq!(check(&[file(801)], &Exceptions::new()).len(), 1);
        assert!(check(&[file(801)], &exceptions("crates/okno/src/a.rs", 801)).is_empty());
        assert!(check(&[file(801)], &exceptions("crates/okno/src/a.rs", 900))[0].what.contains("shrank"));
        assert!(check(&[file(10)], &exceptions("crates/okno/src/a.rs", 900))[0].what.contains("within"));
    }

    #[test]
    fn functions_are_measured_from_fn_to_the_brace_in_the_same_column() {
        let text = "impl X {\n    pub fn a(\n        x: u32,\n    ) -> u32 {\n        if x {\n        }\n        1\n    }\n    fn b() {}\n}\n";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(functions(&lines), [("a".to_owned(), 2, 7)]);
    }

    #[test]
    fn a_long_word_does_not_make_a_line_long() {
        assert!(is_long(&format!("    // {}", "word ".repeat(30))));
        assert!(!is_long(&format!("// https://example.org/{}", "x".repeat(120))));
        assert!(!is_long(&"code ".repeat(30)));
    }

    #[test]
    fn the_list_that_is_written_is_the_one_that_is_accepted() {
        let files = [file(801)];
        let exceptions = read(&written(&files)).unwrap();
        assert_eq!(exceptions, self::exceptions("crates/okno/src/a.rs", 801));
        assert!(check(&files, &exceptions).is_empty());
    }

    #[test]
    fn the_list_is_read_and_a_size_that_is_no_number_is_an_error() {
        assert_eq!(read("[file]\n\"a.rs\" = 900\n").unwrap(), exceptions("a.rs", 900));
        assert!(read("[file]\n\"a.rs\" = \"big\"\n").is_err());
    }
}
