//! `okno lab score` and `okno lab fit`: scenarios with probes in, boards and posteriors out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use okno_detect::Ruleset;
use okno_lab::run::RunError;
use okno_lab::scenario::{Overrides, Scenario};
use okno_lab::score::fit::Fitter;
use okno_lab::score::{Boards, Collected, Scorer, Split, page, scored_line};

use super::cli;
use crate::Unusable;

fn read_split(path: &Path) -> Result<Split> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Unusable(format!("{shown}: {error}; name scenarios, or run where `scenarios/` lies"))
    })?;
    Split::parse(&text).map_err(|problem| Unusable(format!("{shown}: {problem}")).into())
}

/// A scenario's folder, and its benign twin's where there is one.
fn with_twin(path: &Path) -> Vec<PathBuf> {
    let twin = path.file_name().map(|name| {
        let mut name = name.to_owned();
        name.push("-benign");
        path.with_file_name(name)
    });
    [Some(path.to_owned()), twin.filter(|twin| twin.exists())].into_iter().flatten().collect()
}

/// Runs a scenario and keeps what its probes measured.
fn collect(
    path: &Path,
    seed: Option<u64>,
    clients: bool,
    threads: Option<usize>,
    quiet: bool,
) -> Result<Collected> {
    let overrides = Overrides { seed, probes_only: !clients, ..Overrides::default() };
    let scenario = Scenario::load(path, &overrides).map_err(|error| Unusable(error.to_string()))?;
    let threads = threads.unwrap_or_else(available).clamp(1, 256);
    let run = match Collected::from(&scenario, threads) {
        Ok(run) => run,
        Err(RunError::Profile(problem)) => return Err(Unusable(problem.to_string()).into()),
        Err(error) => return Err(error.into()),
    };
    if !quiet {
        eprintln!("{}, seed {}: {} measurements", run.scenario, run.seed, run.lines.len());
    }
    Ok(run)
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Scores scenarios by one or several rulesets.
pub fn score(args: &cli::Score) -> Result<ExitCode> {
    let paths = if args.scenarios.is_empty() {
        let split = read_split(Path::new("scenarios/split.toml"))?;
        split.held_out.iter().map(|name| Path::new("scenarios").join(name)).collect()
    } else {
        args.scenarios.clone()
    };
    let rulesets: Vec<Ruleset> =
        args.rules.iter().map(|name| crate::rules::load(name)).collect::<Result<_>>()?;
    let mut scorers: Vec<Scorer<'_>> = rulesets.iter().map(Scorer::new).collect();
    if let Some(dir) = &args.output {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let mut measured = 0;
    for path in paths.iter().flat_map(|path| with_twin(path)) {
        let run = collect(&path, args.seed, args.clients, args.threads, args.quiet)?;
        measured += run.lines.len();
        if let Some(dir) = &args.output {
            write(&dir.join(format!("{}.jsonl", run.scenario)), &lines(&run))?;
        }
        for (at, scorer) in scorers.iter_mut().enumerate() {
            let judged = scorer.add(&run);
            if let (0, Some(dir)) = (at, &args.output) {
                let pairs = run.labels.iter().zip(&judged);
                let scored: String = pairs.map(|(label, one)| scored_line(label, one.as_ref())).collect();
                write(&dir.join(format!("{}.scored.jsonl", run.scenario)), &scored)?;
            }
        }
    }
    let boards: Vec<Boards> = scorers.iter().map(Scorer::boards).collect();
    let json = format!("{}\n", serde_json::to_string_pretty(&boards)?);
    let text: String = boards.iter().map(Boards::to_string).collect();
    if let Some(dir) = &args.output {
        write(&dir.join("board.json"), &json)?;
        write(&dir.join("board.txt"), &text)?;
        write(&dir.join("board.html"), &page::html(&boards))?;
    }
    write!(std::io::stdout().lock(), "{}", if args.json { json } else { text })?;
    if measured == 0 {
        eprintln!("okno: no probe measured anything; add a [[probe]] to the scenario");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(run: &Collected) -> String {
    let mut text = String::with_capacity(run.lines.iter().map(|line| line.len() + 1).sum());
    for line in &run.lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Fits our rules to the scenarios of a split, and prints the file of posteriors.
pub fn fit(args: &cli::Fit) -> Result<ExitCode> {
    let split = read_split(&args.split)?;
    let folder = args.split.parent().unwrap_or(Path::new("."));
    let rules = Ruleset::native_by_hand();
    let mut fitter = Fitter::default();
    let mut measured = 0;
    for path in split.fit.iter().flat_map(|name| with_twin(&folder.join(name))) {
        for seed in &split.seeds {
            let run = collect(&path, Some(*seed), false, args.threads, args.quiet)?;
            measured += run.lines.len();
            fitter.run(&run.scenario, run.seed);
            let judged = Scorer::new(&rules).add(&run);
            for (label, one) in run.labels.iter().zip(&judged) {
                if let Some(one) = one {
                    fitter.add(label, one);
                }
            }
        }
    }
    write!(std::io::stdout().lock(), "{}", fitter.file(&rules, args.version))?;
    if measured == 0 {
        eprintln!("okno: no probe measured anything; add a [[probe]] to the scenarios");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
