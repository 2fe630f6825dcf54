//! What a measurement in the lab costs: web_connectivity with its helper, TLS included, under the profile of
//! 2024 with two of the ten pages blocked, and how many a simulated year holds.
//!
//! `cargo xtask bench probe [--days N | --scenario FOLDER]`: one probe in each of 8 cells, ten pages every
//! six hours. One thread, then two; the lines must be the same. Prints measurements per core-second and a
//! hash over all lines. With a folder, the probes of that scenario instead.

use std::process::Command;

use okno_lab::run::{Observer, ProbeMeasurement, RunOptions, run};
use okno_lab::scenario::{Overrides, Scenario};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The scenario; `END` and `PAGES` are replaced, and services for the pages are added.
const SCENARIO: &str = r#"
format = 1
title = "ten pages, every six hours"
shows = "what measurements cost"
sources = ["made for the bench"]
seed = 1
start = 2025-07-01T00:00:00Z
end = END

[topology]
model = "russia"
networks = ["mts", "rostelecom"]
regions = ["moscow", "spb", "tatarstan", "rostov"]

[lists]
"sni.blocked" = ["page3.example", "page7.example"]

[[service]]
id = "th.example"
hosting = "foreign-hosting"
speaks = ["helper"]

[[service]]
id = "public-dns"
names = ["dns.example"]
hosting = "google"
speaks = ["dns"]

[[policy]]
do = "install"
box = "tspu"
profile = "tspu-2024"
source = "made for the bench"

[[probe]]
id = "wc"
tests = ["web_connectivity"]
inputs = [PAGES]
every = "6h"
jitter = "1h"
helper = "th.example"
[probe.options.web_connectivity]
udp_resolvers = ["service:public-dns:53"]
doh = ["https://dns.example/dns-query"]
"#;

/// Pages of the scenario.
const PAGES: usize = 10;

fn scenario(days: u64, folder: Option<&str>) -> Scenario {
    if let Some(folder) = folder {
        let overrides = Overrides { probes_only: true, ..Overrides::default() };
        let loaded = Scenario::load(std::path::Path::new(folder), &overrides);
        return loaded.unwrap_or_else(|error| panic!("{error}"));
    }
    const DAY: i64 = 86_400;
    let end = 1_751_328_000 + i64::try_from(days).unwrap_or(1) * DAY;
    let end = okno_lab::scenario::format_moment(okno_wire::Instant::from_secs(end.unsigned_abs()));
    let pages: Vec<String> = (0..PAGES).map(|page| format!("\"https://page{page}.example/\"")).collect();
    let mut text = SCENARIO.replace("END", &end).replace("PAGES", &pages.join(", "));
    for page in 0..PAGES {
        let hosting = ["wikimedia", "github", "yandex", "foreign-hosting"][page % 4];
        text.push_str(&format!("[[service]]\nid = \"page{page}.example\"\nhosting = \"{hosting}\"\n"));
    }
    Scenario::parse("bench", &text, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Core-seconds of this process, all threads (fields 14 and 15 of proc(5) stat).
fn core_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells core time");
    let fields = stat.rsplit(") ").next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(|word| word.parse::<f64>().unwrap_or(0.0)).sum::<f64>() / 100.0
}

#[derive(Default)]
struct Counted {
    lines: u64,
    bytes: u64,
    hash: u64,
    blocked: u64,
}

impl Observer for Counted {
    fn measurement(&mut self, measurement: &ProbeMeasurement<'_>) -> Result<(), String> {
        self.lines += 1;
        self.bytes += measurement.line.len() as u64;
        self.hash = xxh3_64_with_seed(measurement.line.as_bytes(), self.hash);
        self.blocked += u64::from(measurement.truth.is_blocked());
        Ok(())
    }
}

fn measure(days: u64, folder: Option<&str>, threads: usize) {
    let scenario = scenario(days, folder);
    let days = scenario.end.since(scenario.start).as_secs() / 86_400;
    let (before, wall) = (core_seconds(), std::time::Instant::now());
    let mut counted = Counted::default();
    let summary = run(&scenario, &RunOptions { threads, ..RunOptions::default() }, &mut counted)
        .unwrap_or_else(|error| panic!("{error}"));
    let (seconds, wall) = (core_seconds() - before, wall.elapsed().as_secs_f64());
    println!(
        "{threads} threads: {} measurements of {days} days ({} blocked, {:.0} kB each) in {seconds:.2} core-seconds, {wall:.2} s: \
         {:.0} per core-second; 100,000 take {:.1} core-minutes; {} events, {} packets each; lines {:016x}",
        counted.lines,
        counted.blocked,
        counted.bytes as f64 / counted.lines as f64 / 1e3,
        counted.lines as f64 / seconds,
        1e5 / (counted.lines as f64 / seconds) / 60.0,
        summary.events / counted.lines,
        summary.packets / counted.lines,
        counted.hash
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let days = value("--days").map_or(7, |days| days.parse().expect("--days takes a number"));
    let folder = value("--scenario").map(String::as_str);
    if let Some(threads) = value("--measure") {
        return measure(days, folder, threads.parse().expect("a number"));
    }
    let this = std::env::current_exe().expect("this program has a path");
    for threads in ["1", "2"] {
        let mut command = Command::new(&this);
        command.args(["--measure", threads, "--days", &days.to_string()]);
        command.args(folder.iter().flat_map(|folder| ["--scenario", *folder]));
        assert!(command.status().expect("it starts").success(), "the run failed");
    }
}
