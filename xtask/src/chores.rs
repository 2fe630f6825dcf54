//! `test`, `ci` and `bench`: cargo, called the way this project wants it called, and one honest closing line.
//!
//! Tests run under the release profile: DataFusion is then compiled once for command, tests and benches.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::tidy;

/// What the test binaries reported, summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    in_successes: bool,
    skip_noted: bool,
    suite_skips: u64,
}

impl Tally {
    /// Takes one line of the output; says whether it is worth printing. What passing tests printed is not,
    /// but for lines that begin with `skipped:`; a test that prints one counts as skipped.
    pub fn line(&mut self, line: &str) -> bool {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                let before = result.split(word).next().unwrap_or_default();
                before.trim_end().rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
            };
            self.passed += count(" passed").saturating_sub(self.suite_skips);
            self.failed += count(" failed");
            self.skipped += count(" ignored") + self.suite_skips;
            self.suite_skips = 0;
            self.in_successes = false;
            return true;
        }
        if line == "successes:" {
            self.in_successes = true;
            return false;
        }
        if line == "failures:" {
            self.in_successes = false;
            return true;
        }
        if !self.in_successes {
            return true;
        }
        if line.starts_with("---- ") {
            self.skip_noted = false;
        }
        let skip = line.starts_with("skipped:");
        if skip && !self.skip_noted {
            self.skip_noted = true;
            self.suite_skips += 1;
        }
        skip
    }

    /// The closing line.
    pub fn closing(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }

    /// Whether something ran and nothing failed.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed + self.skipped > 0
    }
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Arguments of `cargo test` for what the user asked: what stands before `--` goes to cargo, the rest to the
/// tests.
fn test_arguments(args: &[String]) -> Vec<String> {
    let split = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let (for_cargo, for_tests) = args.split_at(split);
    let mut all: Vec<String> = ["test", "--release", "--no-fail-fast"].map(str::to_owned).to_vec();
    let chosen =
        for_cargo.iter().any(|arg| arg == "-p" || arg.starts_with("--package") || arg.starts_with("-p="));
    if !chosen {
        all.push("--workspace".to_owned());
    }
    all.extend_from_slice(for_cargo);
    all.extend(["--".to_owned(), "--show-output".to_owned()]);
    all.extend(for_tests.iter().skip(1).cloned());
    all
}

/// Runs the tests and prints what they report, the closing line last.
pub fn test(root: &Path, args: &[String]) -> Result<ExitCode> {
    let tally = run_tests(root, args)?;
    println!("{}", tally.closing());
    Ok(if tally.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_tests(root: &Path, args: &[String]) -> Result<Tally> {
    let mut child = cargo(root)
        .args(test_arguments(args))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo; is it on the PATH?")?;
    let mut tally = Tally::default();
    let output = child.stdout.take().context("cargo's output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if tally.line(&line) {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        // A test binary that did not build or was killed reports nothing: that is a failure all the same.
        tally.failed = 1;
    }
    Ok(tally)
}

fn step(name: &str, work: impl FnOnce() -> Result<bool>) -> Result<bool> {
    println!("== {name}");
    #[expect(clippy::disallowed_methods, reason = "a chore that says how long its steps take")]
    let begin = Instant::now();
    let good = work()?;
    println!("== {name}: {}, {:.0} s", if good { "ok" } else { "FAILED" }, begin.elapsed().as_secs_f64());
    Ok(good)
}

/// Everything that must hold before a change lands. It goes on after a failed step, so that one run says all.
pub fn ci(root: &Path) -> Result<ExitCode> {
    let run = |arguments: &[&str], variable: Option<(&str, &str)>| -> Result<bool> {
        let mut command = cargo(root);
        command.args(arguments);
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        Ok(command.status().context("cannot start cargo")?.success())
    };
    let mut good = true;
    good &= step("fmt", || run(&["fmt", "--all", "--check"], None))?;
    good &= step("tidy", || tidy::report(root))?;
    let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    good &= step("clippy", || run(&clippy, None))?;
    let doc = ["doc", "--release", "--workspace", "--no-deps"];
    good &= step("doc", || run(&doc, Some(("RUSTDOCFLAGS", "-D warnings"))))?;
    let mut tally = Tally::default();
    good &= step("test", || {
        tally = run_tests(root, &[])?;
        Ok(tally.good())
    })?;
    good &= step("tables", || tidy::report_printed(root))?;
    println!("{}", tally.closing());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The benches: where, name, what is measured. `bench` is a workspace of its own, for peers' sake.
pub const BENCHES: &[(&str, &str, &str)] = &[
    ("bench", "ingest", "MB of JSON per core-second, beside decompressing and tokenising alone"),
    ("bench", "observe", "the whole command: core-seconds, wall, memory, lake, beside the same floor"),
    ("bench", "replay", "packets per core-second through all techniques of a profile, beside a floor"),
    ("bench", "probe", "measurements in the lab per core-second, helper and TLS included"),
    ("bench", "lab", "virtual against core time of the national model, events, memory"),
    ("crates/sockets", "session", "100 targets by okno probe run in a namespace: seconds, peak memory"),
    ("crates/ingest", "fingerprints", "MB of bodies per core-second over all patterns"),
    ("crates/detect", "verdicts", "measurements judged per core-second"),
];

/// Runs the bench called `name`, or all; `args` go to it.
pub fn bench(root: &Path, name: Option<&str>, args: &[String]) -> Result<ExitCode> {
    let chosen: Vec<_> =
        BENCHES.iter().filter(|(_, bench, _)| name.is_none_or(|name| name == *bench)).collect();
    if chosen.is_empty() {
        println!("no such bench; there are:");
        for (place, bench, what) in BENCHES {
            println!("  {bench:<14} {what} ({place})");
        }
        return Ok(ExitCode::from(2));
    }
    let mut good = true;
    for (place, bench, what) in chosen {
        println!("== {bench}: {what}");
        let mut command = cargo(root);
        if matches!(*bench, "observe" | "session") {
            // The whole command is measured as users build it.
            good &= cargo(root).args(["build", "--quiet", "--release", "-p", "okno"]).status()?.success();
        }
        if *place == "bench" {
            command.args(["run", "--quiet", "--release", "--manifest-path", "bench/Cargo.toml"]);
            command.args(["--target-dir", "target/bench", "--bin", bench]);
        } else {
            let package = place.replace("crates/", "okno-");
            command.args(["bench", "--quiet", "-p", &package, "--bench", bench]);
        }
        let status = command.arg("--").args(args).status().context("cannot start cargo")?;
        good &= status.success();
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        for line in text.lines() {
            tally.line(line);
        }
        tally
    }

    #[test]
    fn results_of_all_binaries_are_summed() {
        let text = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nskipped: not me, I failed\n\n\
                    test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: ok. 30 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(tally(text).closing(), "31 passed, 1 failed, 2 skipped");
        assert!(!tally(text).good());
    }

    #[test]
    fn a_test_that_says_skipped_counts_once_and_not_as_passed() {
        let text = "test a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\nskipped: no shared data\nskipped: again\n\n\
                    ---- b stdout ----\nall is well\n\nsuccesses:\n    a\n    b\n\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(tally(text).closing(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn nothing_run_is_not_good() {
        assert!(!tally("error: could not compile\n").good());
        let empty =
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert!(!tally(empty).good());
    }

    #[test]
    fn arguments_are_split_between_cargo_and_the_tests() {
        let args: Vec<String> = ["-p", "okno-model", "--", "--exact", "x"].map(str::to_owned).to_vec();
        let expected = [
            "test",
            "--release",
            "--no-fail-fast",
            "-p",
            "okno-model",
            "--",
            "--show-output",
            "--exact",
            "x",
        ];
        assert_eq!(test_arguments(&args), expected);
        assert!(test_arguments(&[]).contains(&"--workspace".to_owned()));
    }
}
