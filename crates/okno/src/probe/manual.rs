//! `okno probe manual`: what people must know of each test, from the tests themselves.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use okno_probe::experiment::{Contact, Experiment, Risk};
use okno_probe::nettests;
use serde_json::{Value, json};

use super::cli::Manual;
use crate::Unusable;

/// One word for a risk.
pub const fn risk_word(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Elevated => "elevated",
        Risk::High => "high",
    }
}

pub fn run(args: &Manual) -> Result<ExitCode> {
    let names: Vec<&str> = match &args.test {
        Some(name) => vec![name.as_str()],
        None => nettests::ALL.to_vec(),
    };
    let tests: Result<Vec<_>, String> =
        names.iter().map(|name| nettests::by_name(name, &Value::Null)).collect();
    let tests = tests.map_err(Unusable)?;
    let mut out = String::new();
    if args.json {
        let all: Vec<Value> = tests.iter().map(|test| json(&**test)).collect();
        out = serde_json::to_string_pretty(&all)?;
        out.push('\n');
    } else if args.markdown {
        out.push_str(HEAD);
        tests.iter().for_each(|test| markdown(&mut out, &**test));
    } else {
        tests.iter().for_each(|test| text(&mut out, &**test));
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

const HEAD: &str = "# What the probe's tests do\n\n\
    Made by `okno probe manual --markdown` from the tests themselves; do not edit.\n\n\
    Nothing runs without an explicit command. A test of high risk also needs `--i-understand`. `--dry-run`\n\
    lists every host that would be contacted. Costs are of one input, about.\n";

/// Rows of a manual: name and text.
fn rows(test: &dyn Experiment) -> Vec<(&'static str, String)> {
    let manual = test.manual();
    let mut rows: Vec<(&'static str, String)> = vec![
        ("trigger", manual.trigger.to_string()),
        ("control", manual.control.to_string()),
        ("logic", manual.logic.to_string()),
        ("blind to", manual.blind.to_string()),
        ("cost", format!("{} and at most {} s", size(manual.bytes), manual.seconds)),
        ("risk", format!("{}: {}", risk_word(manual.risk), manual.risk_note)),
    ];
    let takes =
        if test.takes_input() { "what to measure (--input)" } else { "nothing: it knows what to measure" };
    rows.push(("takes", takes.to_string()));
    if test.alone() {
        rows.push(("runs", "alone, since it measures rates or losses of the line".to_string()));
    }
    rows.push(("source", manual.source.to_string()));
    rows
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=999 => format!("{bytes} B"),
        1_000..=999_999 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Hosts that a test contacts without any input.
fn contacts(test: &dyn Experiment) -> Vec<Contact> {
    if test.takes_input() { Vec::new() } else { test.contacts(None) }
}

fn text(out: &mut String, test: &dyn Experiment) {
    let _ = writeln!(out, "{} {}  {}", test.name(), test.version(), test.manual().title);
    for (name, text) in rows(test) {
        let _ = writeln!(out, "  {name:9} {text}");
    }
    out.push('\n');
}

fn markdown(out: &mut String, test: &dyn Experiment) {
    let _ = write!(out, "\n## {}\n\n{}.\n\n", test.name(), capital(test.manual().title));
    for (name, text) in rows(test) {
        let _ = writeln!(out, "- **{name}**: {text}");
    }
    let hosts = contacts(test);
    if !hosts.is_empty() {
        let count = hosts.len();
        let first: Vec<String> =
            hosts.iter().take(8).map(|contact| format!("`{}` {}", contact.host, contact.port)).collect();
        let more = if count > 8 {
            format!(", and {} more (`--dry-run` lists them)", count - 8)
        } else {
            String::new()
        };
        let _ = writeln!(out, "- **contacts**: {}{more}", first.join(", "));
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn json(test: &dyn Experiment) -> Value {
    let manual = test.manual();
    json!({
        "name": test.name(), "version": test.version(), "title": manual.title, "trigger": manual.trigger,
        "control": manual.control, "logic": manual.logic, "blind": manual.blind, "bytes": manual.bytes,
        "seconds": manual.seconds, "risk": risk_word(manual.risk), "risk_note": manual.risk_note,
        "source": manual.source, "takes_input": test.takes_input(), "alone": test.alone(),
        "contacts": contacts(test).iter()
            .map(|contact| json!({ "host": contact.host, "port": contact.port, "purpose": contact.purpose }))
            .collect::<Vec<_>>(),
    })
}
