//! `okno probe run`: a session of tests over inputs.

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use okno_model::Timestamp;
use okno_probe::guard::Why;
use okno_probe::session::{Done, Job, Session};
use serde_json::json;

use super::cli::Run;
use super::output::{self, Output};
use super::setup;
use crate::Unusable;

pub fn run(args: &Run) -> Result<ExitCode> {
    let jobs = jobs(args)?;
    let mut plan = setup::plan(&args.common, usize::from(args.parallel))?;
    let reference = crate::reference::load(args.common.reference.as_deref())?;
    setup::check_risks(&args.common, &jobs, &reference)?;
    let stun = setup::stun(&args.common)?;
    if args.common.dry_run {
        let list = setup::dry(&plan, &jobs, stun.as_ref(), args.json)?;
        writeln!(std::io::stdout(), "{list}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let sockets = setup::sockets(&args.common)?;
    let path = args.output.clone().unwrap_or_else(|| output::default_name(now()));
    let mut file = Output::create(&path)?;
    let (mut lines, mut failed) = (0, Vec::new());
    let quiet = args.common.quiet;
    let outcome = okno_sockets::run(async {
        let world = setup::open(&sockets, &mut plan, stun.as_ref(), quiet).await;
        let session = Session::new(world, plan, &jobs);
        let total = jobs.len();
        let mut count = 0;
        let mut each = |done: Done| {
            count += 1;
            if !quiet {
                eprintln!("{}", progress(&done, count, total));
            }
            match &done.line {
                Ok(line) => {
                    lines += 1;
                    file.line(line)?;
                }
                Err(why) => failed.push(json!({ "test": done.test, "input": done.input, "why": why })),
            }
            Ok(())
        };
        session.run(&jobs, &mut each).await?;
        let spent = session.ledger().spent();
        Ok::<_, std::io::Error>((spent, session.ledger().attempts()))
    })?;
    let (spent, attempts) =
        outcome.context("the session broke off; what was measured is in the .part file")?;
    let written = file.finish(lines)?;
    let refused = attempts.iter().filter(|one| matches!(one.refused, Some(why) if why != Why::Dry)).count();
    setup::tell_refusals(&attempts);
    let mut out = std::io::stdout().lock();
    if args.json {
        let summary = json!({
            "measurements": lines, "failed": failed, "file": written, "sent_bytes": spent.sent,
            "received_bytes": spent.received, "connections": spent.connections, "packets": spent.packets,
            "refused_contacts": refused,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&summary)?)?;
    } else if let Some(path) = &written {
        let (sent, received) = (spent.sent.div_ceil(1_000), spent.received.div_ceil(1_000));
        let (path, count) = (path.display(), setup::counted(lines));
        writeln!(out, "{count} in {path} ({sent} kB sent, {received} kB received); nothing left this disk.")?;
        writeln!(out, "To read them: okno observe {path}")?;
    }
    Ok(if lines > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress(done: &Done, count: usize, total: usize) -> String {
    let what = done.input.as_deref().unwrap_or_default();
    match &done.line {
        Ok(_) => format!("[{count}/{total}] {} {what} {:.1} s", done.test, done.seconds),
        Err(why) => format!("[{count}/{total}] {} {what}: {why}", done.test),
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell: the time names a file")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or_default())
}

/// Every test over every input that it takes, in the order given.
fn jobs(args: &Run) -> Result<Vec<Job>> {
    let mut inputs = args.input.clone();
    if let Some(path) = &args.inputs {
        let text = fs::read_to_string(path)
            .map_err(|error| Unusable(format!("--inputs {}: {error}", path.display())))?;
        inputs.extend(lines(&text));
    }
    let names = match (args.test.is_empty(), inputs.is_empty()) {
        (false, _) => args.test.clone(),
        (true, false) => vec!["web_connectivity".to_string()],
        (true, true) => {
            let text = "nothing to measure: name an --input, a file of --inputs or a --test; okno probe manual lists the tests";
            return Err(Unusable(text.to_string()).into());
        }
    };
    let mut jobs = Vec::new();
    for experiment in setup::tests(&names, &args.common.option)? {
        let taken: Vec<_> = inputs.iter().filter(|_| experiment.takes_input()).cloned().map(Some).collect();
        if taken.is_empty() {
            // A test that takes inputs may still know some of its own.
            jobs.push(Job { experiment, input: None });
        } else {
            jobs.extend(taken.into_iter().map(|input| Job { experiment: experiment.clone(), input }));
        }
    }
    Ok(jobs)
}

/// One input a line; comments and blank lines are left out, of CSV the first column counts.
fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .map(|line| line.split(',').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#') && *line != "url")
        .map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_or_without_columns() {
        let text = "url,category_code\n# a comment\nhttps://a.example/,NEWS,News\n\nb.example\n";
        assert_eq!(lines(text).collect::<Vec<_>>(), ["https://a.example/", "b.example"]);
    }
}
