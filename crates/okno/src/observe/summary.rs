//! What a run prints at its end: the report in forty lines.

use std::io::{self, Write};

use crate::report::facts::{ReportFacts, TargetFacts};

/// Most targets that are listed a state.
const LISTED: usize = 12;

/// Prints the summary.
pub fn print(facts: &ReportFacts, out: &mut impl Write) -> io::Result<()> {
    let (scope, quality) = (&facts.scope, &facts.quality);
    if scope.synthetic {
        writeln!(out, "These measurements were generated; nothing below was measured on the internet.\n")?;
    }
    writeln!(
        out,
        "{} measurements of {} targets on {} networks, {} to {}",
        scope.measurements,
        scope.targets,
        scope.networks,
        day(&scope.first_utc),
        day(&scope.last_utc)
    )?;
    let states = &scope.states;
    writeln!(
        out,
        "  blocked {}, throttled {}, down {}, ok {}, insufficient evidence {}",
        states.blocked, states.throttled, states.down, states.ok, states.insufficient
    )?;
    writeln!(
        out,
        "  {} lines in {} files: {} measurements + {} rejected ({} duplicates); parts set aside: {}",
        quality.lines,
        quality.files,
        quality.measurements,
        quality.rejected,
        quality.duplicates,
        quality.rejects.iter().map(|row| row.rows_of_kept_measurements).sum::<u64>()
    )?;
    for (state, title) in [
        ("blocked", "Blocked"),
        ("throttled", "Throttled"),
        ("down", "Down for everyone, nobody accused"),
        ("ok", "Fine"),
        ("insufficient", "Not enough evidence"),
    ] {
        section(facts, state, title, out)?;
    }
    if !quality.reference_missing.is_empty() {
        let tables: Vec<&str> = quality.reference_missing.iter().map(|t| t.table.as_str()).collect();
        writeln!(
            out,
            "\nWithout reference data for {}; okno reference --help tells what that hides.",
            tables.join(", ")
        )?;
    }
    writeln!(out, "\nRules {}; reference {}", facts.versions.ruleset, facts.versions.reference)
}

fn section(facts: &ReportFacts, state: &str, title: &str, out: &mut impl Write) -> io::Result<()> {
    let targets: Vec<&TargetFacts> = facts.targets.iter().filter(|target| target.state == state).collect();
    if targets.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}: {}", targets.len())?;
    let detailed = matches!(state, "blocked" | "throttled");
    if !detailed {
        let names: Vec<String> =
            targets.iter().take(LISTED).map(|t| format!("{} ({})", t.target, t.country)).collect();
        let more = if targets.len() > LISTED {
            format!(" and {} more", targets.len() - LISTED)
        } else {
            String::new()
        };
        return writeln!(out, "  {}{more}", names.join(", "));
    }
    for target in targets.iter().take(LISTED) {
        let counts = &target.counts;
        let interval = match (target.interference_low, target.interference_high) {
            (Some(low), Some(high)) => format!("{:.0}–{:.0} %", low * 100.0, high * 100.0),
            _ => "–".into(),
        };
        writeln!(
            out,
            "  {:<28} {}  {:>4} of {:<4} judged ({interval}), {} of {} networks  {}",
            target.target,
            target.country,
            counts.interference(),
            counts.judged(),
            target.networks_in_state,
            target.networks_judged,
            target.mechanism.as_deref().unwrap_or("")
        )?;
    }
    if targets.len() > LISTED {
        writeln!(out, "  and {} more; see the report", targets.len() - LISTED)?;
    }
    Ok(())
}

fn day(text: &str) -> &str {
    text.get(..10).unwrap_or(text)
}
