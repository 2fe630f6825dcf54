//! What a replay prints at its end.

use std::io::{self, Write};

use okno_lab::replay::Summary;
use serde_json::{Value, json};

use super::rows::Run;
use super::text::{bytes, count, plain, time};

/// Names listed a rule.
const LISTED: usize = 5;

/// A rule's most frequent names.
fn most(on: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut names: Vec<(&str, u64)> =
        on.iter().filter(|(name, _)| !name.is_empty()).map(|(name, flows)| (name.as_str(), *flows)).collect();
    names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    names
}

/// Prints the summary for people.
pub fn print(total: &Summary, run: &Run, out: &mut impl Write) -> io::Result<()> {
    let span =
        total.span.map_or_else(String::new, |(first, last)| format!(", {} to {}", time(first), time(last)));
    let volume = bytes(total.bytes);
    writeln!(
        out,
        "\n{}, {volume}, {} of {}{span}",
        count(total.packets, "packet"),
        count(total.flows, "flow"),
        count(run.captures.len() as u64, "capture")
    )?;
    writeln!(out, "\nRecognised:")?;
    for (protocol, tally) in &total.protocols {
        let name = if protocol.is_empty() { "(not recognised)" } else { protocol };
        writeln!(
            out,
            "  {name:<18} {:>14} {:>18} {:>10}",
            count(tally.flows, "flow"),
            count(tally.packets, "packet"),
            bytes(tally.bytes)
        )?;
    }
    writeln!(
        out,
        "\n{} would have acted on {} of {}; {} of the recorded packets dropped, {} forged",
        run.profile,
        total.flows_acted_on,
        count(total.flows, "flow"),
        total.dropped,
        total.forged
    )?;
    for (rule, tally) in &total.rules {
        let names: Vec<String> = most(&tally.on)
            .iter()
            .take(LISTED)
            .map(|(name, flows)| format!("{} ({flows})", plain(name)))
            .collect();
        writeln!(
            out,
            "  {rule:<28} {:<24} {:>6}  {}",
            tally.mechanism,
            count(tally.flows, "flow"),
            names.join(", ")
        )?;
    }
    if !total.malformed.is_empty() {
        writeln!(out, "\nMalformed packets:")?;
        for ((layer, expected), (packets, first)) in &total.malformed {
            writeln!(out, "  {packets} × {layer}: expected {expected} (first: #{first})")?;
        }
    }
    if !total.set_aside.is_empty() {
        writeln!(out, "\nSet aside:")?;
        for (reason, records) in &total.set_aside {
            writeln!(out, "  {records} × {reason}")?;
        }
    }
    if total.crowded_out > 0 {
        writeln!(
            out,
            "\n{} were ended early, because too many were open at once",
            count(total.crowded_out, "flow")
        )?;
    }
    for (name, why) in &total.cut_short {
        writeln!(out, "\n{} was read only in part: {why}", plain(name))?;
    }
    Ok(())
}

/// The summary as JSON.
pub fn json(total: &Summary, run: &Run) -> Value {
    let protocols: serde_json::Map<String, Value> = total
        .protocols
        .iter()
        .map(|(name, tally)| {
            let name = if name.is_empty() { "unrecognised" } else { name };
            let value = json!({ "flows": tally.flows, "packets": tally.packets, "bytes": tally.bytes });
            (name.to_owned(), value)
        })
        .collect();
    let rules: serde_json::Map<String, Value> = total
        .rules
        .iter()
        .map(|(rule, tally)| {
            let on: Vec<Value> = most(&tally.on)
                .iter()
                .take(100)
                .map(|(name, flows)| json!({ "name": name, "flows": flows }))
                .collect();
            (rule.clone(), json!({ "mechanism": tally.mechanism, "flows": tally.flows, "on": on }))
        })
        .collect();
    let malformed: Vec<Value> = total
        .malformed
        .iter()
        .map(|((layer, expected), (packets, first))| {
            json!({ "layer": layer, "expected": expected, "packets": packets, "first_packet": first })
        })
        .collect();
    json!({
        "run": run.id,
        "profile": run.profile,
        "captures": run.captures,
        "packets": total.packets,
        "bytes": total.bytes,
        "flows": total.flows,
        "first_utc": total.span.map(|(first, _)| time(first).to_string()),
        "last_utc": total.span.map(|(_, last)| time(last).to_string()),
        "flows_acted_on": total.flows_acted_on,
        "dropped": total.dropped,
        "forged": total.forged,
        "crowded_out": total.crowded_out,
        "unread": total.unread,
        "protocols": protocols,
        "rules": rules,
        "malformed": malformed,
        "set_aside": total.set_aside,
        "cut_short": total.cut_short.iter().map(|(name, why)| json!({ "capture": name, "why": why })).collect::<Vec<_>>(),
    })
}
