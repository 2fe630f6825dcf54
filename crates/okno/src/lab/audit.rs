//! `okno lab audit`: what somebody on the path learns from captures.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Result;
use okno_lab::audit::{Audit, Channel, Finding, Found, Group};
use okno_lab::replay::Summary;
use serde_json::{Value, json};

use super::cli;
use super::files;
use super::text::{bytes, count, plain, time};
use crate::observe::progress::Progress;

/// Values shown of a channel.
const SHOWN: usize = 8;
/// Values in JSON of a channel.
const LISTED: usize = 1_000;

pub fn run(args: &cli::Audit) -> Result<ExitCode> {
    let mut audit = Audit::new(files::subscribers(&args.subscriber)?, args.show_identities);
    let captures = files::find(&args.captures)?;
    let total = captures.iter().map(|file| file.size).sum();
    let stage = Progress::new("audit", total, true, args.quiet);
    let mut done = 0;
    for file in &captures {
        let opened = match file.open() {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("okno: {} was not read: {error}", file.path.display());
                continue;
            }
        };
        let read = opened.read;
        let result = audit.capture(&file.name, opened.stream, &mut |at| {
            let what = format!("{} packets, {}", at.packets, time(at.at));
            stage.at(done + read.load(Ordering::Relaxed), total, what);
        });
        if let Err(error) = result {
            eprintln!("okno: {}: {error}", file.path.display());
        }
        done += file.size;
    }
    let (found, summary) = audit.finish();
    stage.end();
    if summary.packets == 0 {
        eprintln!("okno: no IP packet could be read; okno lab audit --help tells what is read");
        return Ok(ExitCode::FAILURE);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&as_json(&found, &summary))?)?;
    } else {
        print(&found, &summary, captures.len() as u64, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The most frequent values first.
fn most(finding: &Finding) -> Vec<(&str, u64)> {
    let mut values: Vec<(&str, u64)> =
        finding.values.iter().map(|(value, times)| (value.as_str(), *times)).collect();
    values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    values
}

fn print(found: &Found, summary: &Summary, captures: u64, out: &mut impl Write) -> io::Result<()> {
    let span =
        summary.span.map_or_else(String::new, |(first, last)| format!(", {} to {}", time(first), time(last)));
    writeln!(
        out,
        "{} of {}{span}: {}, {} of {}.",
        count(summary.packets, "packet"),
        count(captures, "capture"),
        bytes(summary.bytes),
        count(summary.flows, "flow"),
        count(found.subscribers.len() as u64, "subscriber"),
    )?;
    writeln!(out, "Whoever is on the path learns this without breaking any encryption:")?;
    for (group, title) in [
        (Group::Names, "Which sites and services"),
        (Group::Contents, "What is said"),
        (Group::Identities, "Who"),
        (Group::Software, "With what"),
    ] {
        section(found, group, title, out)?;
    }
    writeln!(out, "\nAddresses\n  {} far addresses", found.addresses.len())?;
    writeln!(
        out,
        "\nProtocol by protocol{:>16}{:>9}{:>10}{:>10}{:>10}{:>10}{:>8}",
        "flows", "volume", "name", "content", "identity", "software", "silent"
    )?;
    for (name, learned) in &found.protocols {
        let name = if name.is_empty() { "(not recognised)" } else { name };
        writeln!(
            out,
            "  {name:<20}{:>14}{:>9}{:>10}{:>10}{:>10}{:>10}{:>8}",
            learned.flows,
            bytes(learned.bytes),
            learned.names,
            learned.contents,
            learned.identities,
            learned.software,
            learned.silent
        )?;
    }
    let silent: u64 = found.protocols.values().map(|learned| learned.silent).sum();
    let local: u64 = found.protocols.values().map(|learned| learned.local).sum();
    writeln!(
        out,
        "\nSilent, telling no more than protocol, addresses, sizes and times: {}.",
        count(silent, "flow")
    )?;
    writeln!(out, "In the local network, where only somebody there sees it: {}.", count(local, "flow"))?;
    if summary.unread > 0 {
        let unread = count(summary.unread, "connection");
        writeln!(out, "{unread} were not looked into, because too many were open at once.")?;
    }
    for (name, why) in &summary.cut_short {
        writeln!(out, "{} was read only in part: {why}", plain(name))?;
    }
    Ok(())
}

fn section(found: &Found, group: Group, title: &str, out: &mut impl Write) -> io::Result<()> {
    let channels: Vec<(&Channel, &Finding)> = Channel::ALL
        .iter()
        .filter(|channel| channel.group() == group)
        .filter_map(|channel| Some((channel, found.channels.get(channel)?)))
        .collect();
    writeln!(out, "\n{title}")?;
    if channels.is_empty() {
        return writeln!(out, "  nothing in clear");
    }
    for (channel, finding) in channels {
        let different = finding.values.len() as u64;
        let different = if different > 0 { format!(", {different} different") } else { String::new() };
        let local =
            if finding.local > 0 { format!(", {} of them local", finding.local) } else { String::new() };
        writeln!(out, "  {}: {}{different}{local}", channel.words(), finding.times)?;
        let values = most(finding);
        let shown: Vec<String> =
            values.iter().take(SHOWN).map(|(value, times)| format!("{} ({times})", plain(value))).collect();
        if !shown.is_empty() {
            let more = if values.len() > SHOWN {
                format!(" and {} more", values.len() - SHOWN)
            } else {
                String::new()
            };
            writeln!(out, "      {}{more}", shown.join(", "))?;
        }
    }
    Ok(())
}

fn as_json(found: &Found, summary: &Summary) -> Value {
    let channels: BTreeMap<&str, Value> = found
        .channels
        .iter()
        .map(|(channel, finding)| {
            let values: Vec<Value> = most(finding)
                .into_iter()
                .take(LISTED)
                .map(|(value, times)| json!({ "value": value, "times": times }))
                .collect();
            let value = json!({
                "means": channel.words(),
                "times": finding.times,
                "local": finding.local,
                "different": finding.values.len(),
                "values": values,
            });
            (channel.as_str(), value)
        })
        .collect();
    let protocols: BTreeMap<&str, Value> = found
        .protocols
        .iter()
        .map(|(name, learned)| {
            let name = if name.is_empty() { "unrecognised" } else { name };
            let value = json!({
                "flows": learned.flows, "local": learned.local, "packets": learned.packets,
                "bytes": learned.bytes, "names": learned.names, "contents": learned.contents,
                "identities": learned.identities, "software": learned.software, "silent": learned.silent,
            });
            (name, value)
        })
        .collect();
    json!({
        "packets": summary.packets,
        "bytes": summary.bytes,
        "flows": summary.flows,
        "subscribers": found.subscribers.len(),
        "far_addresses": found.addresses.len(),
        "connections_unread": summary.unread,
        "learned": channels,
        "protocols": protocols,
        "cut_short": summary.cut_short.iter().map(|(name, why)| json!({ "capture": name, "why": why })).collect::<Vec<_>>(),
    })
}
