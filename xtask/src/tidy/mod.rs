//! `cargo xtask tidy`: rules of the house that no compiler checks. It builds nothing and runs in seconds.
//!
//! Each finding names file and line, what is wrong, and how to put it right. Checks are pure functions over
//! text, so that each is tested on a small string.

mod crates;
mod documents;
mod ratchet;
mod source;
mod unharmful;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// path below the workspace root
    pub file: String,
    /// line from 1; 0 when the whole file is meant
    pub line: usize,
    /// what is wrong
    pub what: String,
    /// how to put it right
    pub fix: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), fix: fix.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.fix)
    }
}

/// Packages that the lock file may name (house style 6.9: every one of them is code that users run).
const LOCKED_PACKAGES: usize = 450;

/// Runs every check and prints the findings; true when there are none.
pub fn report(root: &Path) -> Result<bool> {
    let mut findings = Vec::new();
    let files = sources(root)?;
    findings.extend(files.iter().flat_map(|(path, text)| source::check(path, text)));
    let exceptions = ratchet::read(&text_of(root, "xtask/ratchet.toml")?)?;
    findings.extend(ratchet::check(&files, &exceptions));
    findings.extend(crates::check_dependency_reasons(&text_of(root, "Cargo.toml")?));
    let members =
        crates::members(&cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--locked"])?)?;
    findings.extend(crates::check_arrows(&members));
    findings.extend(match std::fs::read_to_string(root.join("ARCHITECTURE.md")) {
        Ok(text) => crates::check_table(&text, &members),
        Err(_) => {
            vec![Finding::new("ARCHITECTURE.md", 0, "there is none", "write it, with the table of crates")]
        }
    });
    for member in crates::LIGHT {
        let tree =
            cargo(root, &["tree", "--locked", "--package", member, "--edges", "normal", "--prefix", "none"])?;
        findings.extend(crates::check_weight(member, &tree));
    }
    findings.extend(files.iter().flat_map(|(path, text)| unharmful::check_source(path, text)));
    for member in unharmful::SOCKETLESS {
        let mut arguments = vec!["tree", "--locked", "--package", member];
        arguments.extend(["--edges", "normal,build", "--prefix", "none", "--format", "{p} {f}"]);
        findings.extend(unharmful::check_linked(member, &cargo(root, &arguments)?));
    }
    findings.extend(crates::check_lock(&text_of(root, "Cargo.lock")?, LOCKED_PACKAGES));
    findings.extend(documents::check_links(root)?);
    findings.extend(samples(root));
    let good = print(&findings);
    Ok(report_printed(root)? && good)
}

/// Writes the present sizes into `xtask/ratchet.toml`.
pub fn write_ratchet(root: &Path) -> Result<()> {
    let path = root.join("xtask/ratchet.toml");
    std::fs::write(&path, ratchet::written(&sources(root)?))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Compares pages with what commands print; true also when the command was not built yet.
pub fn report_printed(root: &Path) -> Result<bool> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let binary = target.join("release/okno");
    if !binary.exists() {
        println!("pages of commands not compared: {} is not built", binary.display());
        return Ok(true);
    }
    let mut found = Vec::new();
    for (page, command) in documents::PRINTED {
        let output = Command::new(&binary).args(*command).current_dir(root).output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let written = std::fs::read_to_string(root.join(page)).unwrap_or_default();
        found.extend(documents::check_printed(page, command, &written, &printed));
    }
    Ok(print(&found))
}

fn samples(root: &Path) -> Vec<Finding> {
    crate::samples::differences(crate::samples::SEED, &root.join("samples"))
        .into_iter()
        .map(|what| Finding::new("samples", 0, what, "run `cargo xtask samples` and commit what it writes"))
        .collect()
}

fn print(findings: &[Finding]) -> bool {
    let mut sorted = findings.to_vec();
    sorted.sort();
    for finding in &sorted {
        println!("{finding}");
    }
    if !sorted.is_empty() {
        println!("tidy: {} findings", sorted.len());
    }
    sorted.is_empty()
}

fn text_of(root: &Path, path: &str) -> Result<String> {
    std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(program).args(arguments).current_dir(root).output().context("cannot start cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every `.rs` file of ours, path below the root and text, sorted.
fn sources(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        ["crates", "xtask", "fuzz", "bench"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let short = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push((short.clone(), text_of(root, &short)?));
            }
        }
    }
    found.sort();
    Ok(found)
}
