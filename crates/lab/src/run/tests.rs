//! Claims about runs: the same bytes on any number of threads, truth and outcomes as the scenario says.

use okno_model::{Outcome, Truth};

use super::*;
use crate::scenario::Overrides;
use crate::tap::KeptRecord;
use crate::truth::JsonLines;

/// Keeps all that a run gives.
#[derive(Default)]
struct Keeper {
    truth: String,
    outcomes: String,
    packets: Vec<(u32, KeptRecord)>,
    progress: Vec<Progress>,
}

impl Observer for Keeper {
    fn truth(&mut self, row: &Truth<'_>) -> Result<(), String> {
        self.truth.push_str(&JsonLines::of::<Truth<'_>>().line(row));
        Ok(())
    }

    fn outcome(&mut self, row: &Outcome<'_>) -> Result<(), String> {
        self.outcomes.push_str(&JsonLines::of::<Outcome<'_>>().line(row));
        Ok(())
    }

    fn packet(&mut self, interface: u32, record: TapRecord<'_>) -> Result<(), String> {
        let kept = KeptRecord {
            at: record.at,
            out: record.out,
            packet: record.packet.to_vec(),
            comment: record.comment.map(str::to_owned),
        };
        self.packets.push((interface, kept));
        Ok(())
    }

    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        self.progress.push(progress);
        Ok(())
    }
}

const SMALL: &str = r#"title = "small"
benign = true
seed = 5
start = 2022-03-01T00:00:00Z
end = 2022-03-01T06:00:00Z

[topology]
model = "russia"
networks = ["rostelecom", "mts"]
regions = ["moscow", "spb"]

[[service]]
id = "a.example"
hosting = "cloudflare"
speaks = ["http", "https", "quic"]

[[service]]
id = "b.example"
hosting = "yandex"

[[fault]]
at = 2022-03-01T02:00:00Z
lasts = "1h"
kind = "outage"
networks = ["mts"]
regions = ["spb"]

[[fault]]
at = 2022-03-01T04:00:00Z
lasts = "1h"
kind = "server-refuses"
services = ["b.example"]

[[client]]
id = "web"
per_cell = 1
targets = ["a.example", "b.example"]
does = ["dns", "http", "https", "quic", "ping"]
every = "1h"
jitter = "1m"
"#;

fn run_small(seed: u64, threads: usize) -> (Summary, Keeper) {
    let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
    let scenario = Scenario::parse("small", SMALL, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let mut keeper = Keeper::default();
    let options = RunOptions { threads, trace: Trace::Everything };
    let summary = run(&scenario, &options, &mut keeper).unwrap_or_else(|error| panic!("{error}"));
    (summary, keeper)
}

#[test]
fn one_and_two_threads_give_the_same_bytes_and_another_seed_others() {
    let (one, kept_one) = run_small(5, 1);
    let (two, kept_two) = run_small(5, 2);
    assert_eq!(one, two);
    assert!(kept_one.truth == kept_two.truth && kept_one.outcomes == kept_two.outcomes);
    assert!(kept_one.packets == kept_two.packets && !kept_one.packets.is_empty());
    assert_eq!(kept_one.progress, kept_two.progress);
    let (other, _) = run_small(6, 2);
    assert_ne!(one.trace_hash, other.trace_hash);
}

#[test]
fn without_a_censor_everything_works_but_what_faults_break() {
    let (summary, kept) = run_small(5, 1);
    assert_eq!(summary.acts, 0);
    assert_eq!(summary.faults.len(), 2);
    // 4 cells × 6 rounds × (5 things with one target, 4 with the other)
    assert_eq!(summary.outcomes, 4 * 6 * 9, "{summary}");
    let failed: Vec<&str> = kept.outcomes.lines().filter(|line| line.contains("\"ok\":false")).collect();
    for line in &failed {
        let in_outage = line.contains("mts/spb") && line.contains("T02:");
        let refused = line.contains("b.example") && line.contains("T04:") && line.contains("refused");
        assert!(in_outage || refused, "{line}");
    }
    assert!(failed.len() > 8 && failed.len() <= 9 + 2 * 4, "{}", failed.len());
}

const BOTH_FAMILIES: &str = r#"title = "IPv6"
benign = true
start = 2026-01-01T00:00:00Z
end = 2026-01-01T12:00:00Z

[topology]
model = "russia"
networks = ["rostelecom"]
regions = ["moscow"]

[[network]]
id = "rostelecom"
ipv6 = 1.0

[[service]]
id = "a.example"
hosting = "cloudflare"
ipv6 = true

[[fault]]
at = 2026-01-01T04:00:00Z
lasts = "2h"
kind = "broken-ipv6"

[[client]]
id = "six"
per_cell = 1
targets = ["a.example"]
does = ["https"]
every = "1h"
ipv6 = true

[[client]]
id = "four"
per_cell = 1
targets = ["a.example"]
does = ["https"]
every = "1h"
"#;

#[test]
fn broken_ipv6_fails_ipv6_alone_and_ends() {
    let scenario = Scenario::parse("six", BOTH_FAMILIES, &Overrides::default());
    let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
    let mut keeper = Keeper::default();
    run(&scenario, &RunOptions::default(), &mut keeper).unwrap_or_else(|error| panic!("{error}"));
    let mut hours = Vec::new();
    for line in keeper.outcomes.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let six = text("target_address").contains(':');
        assert_eq!(six, text("client").starts_with("six"), "{line}");
        let hour: u32 = text("at_utc")[11..13].parse().unwrap();
        assert_eq!(row["ok"] == true, !(six && (4..6).contains(&hour)), "{line}");
        hours.push((six, hour));
    }
    hours.sort_unstable();
    assert_eq!(hours.len(), 24, "{hours:?}");
}
