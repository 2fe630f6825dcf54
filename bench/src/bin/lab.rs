//! What the national model costs: virtual against core time, events per second, memory per client.
//!
//! `cargo xtask bench lab [--days N]`: all regions and networks of Russia's model under the profile of 2026,
//! 200 clients that measure six services every hour. One thread, then two; the answer must be the same. Each
//! run is a process of its own, so that its peak memory is its own.

use std::process::Command;

use okno_lab::run::{Quiet, RunOptions, run};
use okno_lab::scenario::{Overrides, Scenario};

/// The scenario; `DAYS` is replaced.
const SCENARIO: &str = r#"
format = 1
title = "200 clients, hourly"
shows = "what the national model costs"
sources = ["made for the bench"]
seed = 1
start = 2026-02-01T00:00:00Z
end = END

[topology]
model = "russia"

[[service]]
id = "abroad"
names = ["news.example"]
hosting = "aws"
object_bytes = 50000

[[service]]
id = "video"
names = ["rr1.googlevideo.com"]
hosting = "google"
speaks = ["https", "quic"]
object_bytes = 50000

[[service]]
id = "home"
names = ["ya.ru"]
hosting = "yandex"
object_bytes = 50000

[[policy]]
do = "install"
box = "tspu"
profile = "tspu-2026"
source = "made for the bench"

[[client]]
id = "probe"
total = 200
targets = ["abroad", "video", "home"]
does = ["https"]
every = "1h"

[[client]]
id = "quic"
per_cell = 1
targets = ["video"]
does = ["quic"]
every = "6h"
"#;

/// Core-seconds of this process, all threads (fields 14 and 15 of proc(5) stat).
fn core_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells core time");
    let fields = stat.rsplit(") ").next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(|word| word.parse::<f64>().unwrap_or(0.0)).sum::<f64>() / 100.0
}

/// Peak memory of this process in kB.
fn peak_kb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells peak memory");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0.0)
}

fn measure(days: u32, threads: usize) {
    let end = format!("2026-02-{:02}T00:00:00Z", 1 + days.min(27));
    let scenario = Scenario::parse("bench", &SCENARIO.replace("END", &end), &Overrides::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let (before, base, wall) = (core_seconds(), peak_kb(), std::time::Instant::now());
    let summary = run(&scenario, &RunOptions { threads, ..RunOptions::default() }, &mut Quiet)
        .unwrap_or_else(|error| panic!("{error}"));
    let (seconds, wall) = (core_seconds() - before, wall.elapsed().as_secs_f64());
    let virtual_seconds = f64::from(days) * 86_400.0;
    println!(
        "{threads} threads: {days} days, {} clients in {} cells: {seconds:.2} core-seconds, {wall:.2} s; \
         {:.0} × real time per core-second, {:.0} by the clock; {} events, {:.0} k events per core-second, {:.0} k packets",
        summary.clients,
        summary.cells,
        virtual_seconds / seconds,
        virtual_seconds / wall,
        summary.events,
        summary.events as f64 / seconds / 1e3,
        summary.packets as f64 / seconds / 1e3,
    );
    println!(
        "  peak {:.0} MB, {:.0} kB per client; {} outcomes, {} succeeded, {} acts, trace {}",
        peak_kb() / 1e3,
        (peak_kb() - base) / summary.clients as f64,
        summary.outcomes,
        summary.succeeded,
        summary.acts,
        summary.trace_hash
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let days = value("--days").map_or(7, |days| days.parse().expect("--days takes a number"));
    if let Some(threads) = value("--measure") {
        return measure(days, threads.parse().expect("a number"));
    }
    let this = std::env::current_exe().expect("this program has a path");
    for threads in ["1", "2"] {
        let words = ["--measure", threads, "--days", &days.to_string()].map(str::to_owned);
        assert!(Command::new(&this).args(words).status().expect("it starts").success(), "the run failed");
    }
}
