//! `okno observe`: the main job, from files to a report.

mod inputs;
mod pipeline;
pub mod progress;
mod summary;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use okno_detect::Knowledge;
use okno_ingest::reference::Reference;
use okno_store::{Lake, Session};

use crate::cli::{Language, Observe};
use crate::report::{self, Lang};
use crate::{Unusable, facts, rules};
use progress::Progress;

/// Version of the rows that ingest makes; a change makes the lake take its sources again.
const INGEST: &str = "ingest@1";

pub fn run(args: &Observe) -> Result<ExitCode> {
    let rules = rules::load(&args.rules)?;
    let reference = crate::reference::load(args.reference.as_deref())?;
    let threads = args.threads.unwrap_or_else(available).clamp(1, 256);
    if args.paths.is_empty() && !args.lake.join("manifest.json").exists() {
        let text = format!(
            "nothing to observe: name files or folders, or a --lake that exists ({} does not)",
            args.lake.display()
        );
        return Err(Unusable(text).into());
    }
    inputs::check(&args.paths)?;
    let mut lake = Lake::open(&args.lake)?;
    let unreadable =
        if args.paths.is_empty() { Vec::new() } else { ingest(args, &mut lake, &reference, threads)? };
    if lake.manifest().segments.is_empty() {
        for file in &unreadable {
            eprintln!("okno: {}: {}", file.path, file.why);
        }
        bail!("nothing could be read from what was given; okno observe --help shows what is read");
    }
    judge(args, &mut lake, &rules, &reference, threads)?;
    let session = Session::open(&args.lake)?;
    let run = facts::Run {
        rules: &rules,
        reference: &reference,
        lake: without_home(&args.lake.to_string_lossy()),
        lake_hash: lake_hash(&args.lake)?,
        command: command_line(),
    };
    let mut facts = facts::collect(&session, &run)?;
    facts.quality.files_unreadable += unreadable.len() as u64;
    drop(lake);
    let html = report::render(&facts, lang(args.lang));
    write_whole(&args.report, html.as_bytes())?;
    if args.json {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &facts)?;
        writeln!(out)?;
    } else {
        summary::print(&facts, &mut std::io::stdout().lock())?;
    }
    for file in &unreadable {
        eprintln!("okno: {} was not read: {}", file.path, file.why);
    }
    let ending = format!("Report: {}", args.report.display());
    if args.json {
        eprintln!("{ending}");
    } else {
        writeln!(std::io::stdout(), "{ending}")?;
    }
    if facts.scope.measurements == 0 {
        eprintln!("okno: {}", nothing(&facts, &args.lake));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Why there is not one measurement, and where to look.
fn nothing(facts: &report::facts::ReportFacts, lake: &Path) -> String {
    let reasons: Vec<String> =
        facts.quality.rejects.iter().map(|row| format!("{} {}", row.rows, row.reason)).collect();
    format!(
        "no measurement could be read: {} lines in {} files ({}); okno sql --lake {} \"SELECT * FROM rejects\" tells more",
        facts.quality.lines,
        facts.quality.files,
        if reasons.is_empty() { "empty".to_owned() } else { reasons.join(", ") },
        lake.display()
    )
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The language asked for, else that of the user's system.
pub fn lang(language: Option<Language>) -> Lang {
    match language {
        Some(Language::En) => Lang::En,
        Some(Language::Ru) => Lang::Ru,
        None => ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .and_then(|value| Lang::parse(&value))
            .unwrap_or(Lang::En),
    }
}

fn ingest(
    args: &Observe,
    lake: &mut Lake,
    reference: &Reference,
    threads: usize,
) -> Result<Vec<inputs::Unreadable>> {
    let files = inputs::find(&args.paths, &args.lake.join("tmp"))?;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
    let total = files.iter().map(|(_, path)| size(path)).sum();
    let stage = Progress::new("identify", total, true, args.quiet);
    let (inputs, unreadable) = inputs::identify(files, |bytes| stage.step(bytes));
    stage.end();
    let ids: Vec<_> = inputs.iter().map(|input| input.id.clone()).collect();
    let stamp = format!("{INGEST} {}", reference.stamp().text);
    let plan = lake.plan(&ids, &stamp)?;
    for duplicate in &plan.duplicates {
        if !args.quiet {
            eprintln!("okno: {} has the content of {} and is counted once", duplicate.path, duplicate.of);
        }
    }
    for path in &plan.grown {
        eprintln!("okno: {path} changed since the lake took it; its rows are taken anew");
    }
    let planned = plan.segments.iter().flat_map(|s| &s.inputs).map(|i| ids[*i].size_bytes).sum();
    let stage = Progress::new("read", planned, true, args.quiet);
    pipeline::ingest(lake, &plan, &inputs, reference, threads, &stage)?;
    stage.end();
    for input in inputs.iter().filter(|input| input.id.path.starts_with("-#")) {
        let _ = std::fs::remove_file(&input.path);
    }
    Ok(unreadable)
}

fn judge(
    args: &Observe,
    lake: &mut Lake,
    rules: &okno_detect::Ruleset,
    reference: &Reference,
    threads: usize,
) -> Result<()> {
    let fingerprints = &reference.fingerprints;
    let knowledge = Knowledge::new(
        fingerprints.http_infos().cloned(),
        fingerprints.dns_answers().map(|(answer, info)| (answer.to_owned(), info.clone())),
        reference.stamp(),
    );
    let stage = Progress::new("judge", 0, false, args.quiet);
    let judged = okno_store::judge(lake, rules, &knowledge, threads, &|at| {
        let pass = if at.judging { "verdicts" } else { "baseline" };
        stage.at(at.done, at.total, format!("{pass} of {}", at.month));
    })?;
    if judged.baseline_share < 1.0 {
        eprintln!(
            "okno: baselines were drawn from {:.0} % of the votes, because all would not fit into memory",
            judged.baseline_share * 100.0
        );
    }
    stage.end();
    Ok(())
}

/// Names the lake's content: the manifest names every segment by the hashes of its sources.
fn lake_hash(lake: &Path) -> Result<String> {
    let path = lake.join("manifest.json");
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)))
}

/// Writes a file so that it is either whole or absent.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().context("--report names no file")?.to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, bytes).with_context(|| format!("cannot write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}

/// The command line without the user's home folder.
fn command_line() -> String {
    let words = std::env::args().enumerate().map(|(at, word)| match at {
        0 => "okno".to_owned(),
        _ => without_home(&word),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A text without the user's home folder.
fn without_home(text: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    if home.len() < 2 { text.to_owned() } else { text.replacen(&home, "~", 1) }
}
