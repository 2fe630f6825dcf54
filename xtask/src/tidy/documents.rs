//! Pages for people: links that lead somewhere, tables that are those of the command.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Finding;

/// Pages at the root whose links are followed.
const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "LIMITATIONS.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "samples/README.md",
];
/// Of these, pages that must exist.
const REQUIRED: &[&str] =
    &["README.md", "ARCHITECTURE.md", "LIMITATIONS.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// Links in our pages that lead to no file, and pages that are missing.
pub fn check_links(root: &Path) -> Result<Vec<Finding>> {
    let mut pages: Vec<PathBuf> = PAGES.iter().map(PathBuf::from).collect();
    for folder in ["docs", "bench"] {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "md") {
                pages.push(Path::new(folder).join(entry.file_name()));
            }
        }
    }
    pages.sort();
    let mut found = Vec::new();
    for page in pages {
        let name = page.to_string_lossy().replace('\\', "/");
        let Ok(text) = std::fs::read_to_string(root.join(&page)) else {
            // ARCHITECTURE.md is reported with its table.
            if REQUIRED.contains(&name.as_str()) && name != "ARCHITECTURE.md" {
                found.push(Finding::new(&name, 0, "there is none", "write it"));
            }
            continue;
        };
        let folder = root.join(&page).parent().map_or_else(|| root.to_path_buf(), Path::to_path_buf);
        for (line, target) in links(&text) {
            if !folder.join(&target).exists() {
                let what = format!("a link to {target}, which is not there");
                found.push(Finding::new(&name, line, what, "correct it, or write the file"));
            }
        }
    }
    Ok(found)
}

/// Line and path of each link that means a file of ours.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            let path = target.split(['#', ' ']).next().unwrap_or_default();
            let outside = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !outside {
                found.push((number, path.to_owned()));
            }
        }
    }
    found
}

/// Pages that commands print: file, and the command after `okno`.
pub const PRINTED: &[(&str, &[&str])] = &[
    ("docs/probe-tests.md", &["probe", "manual", "--markdown"]),
    ("docs/tables.md", &["tables", "--markdown"]),
];

/// Compares a page with what its command prints.
pub fn check_printed(page: &'static str, command: &[&str], written: &str, printed: &str) -> Vec<Finding> {
    if written == printed {
        return Vec::new();
    }
    let line = written.lines().zip(printed.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| written.lines().count().min(printed.lines().count())) + 1;
    let fix = format!("run `okno {} > {page}`", command.join(" "));
    vec![Finding::new(page, line, "differs from what the command prints", fix)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_and_addresses_and_code_are_not() {
        let text = "[a](docs/a.md#part) [b](https://example.org/x.md) [c](#here)\n```\n[d](no.md)\n```\n![e](e.png \"title\")\n";
        assert_eq!(links(text), [(1, "docs/a.md".to_owned()), (5, "e.png".to_owned())]);
    }

    #[test]
    fn a_changed_page_is_named_by_its_first_line() {
        let check = |written, printed| check_printed("docs/a.md", &["a"], written, printed);
        assert!(check("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(check("a\nb\n", "a\nc\n")[0].line, 2);
        assert_eq!(check("a\n", "a\nc\n")[0].line, 2);
    }
}
