//! Probes in scenarios: what they publish, and what the run says really happened.

use okno_lab::run::{self, MeasurementTruth, Observer, ProbeMeasurement, RunOptions};
use okno_lab::scenario::{Overrides, Scenario, parse_moment};

const TEXT: &str = r#"title = "probes"
start = 2025-06-01
end = 2025-06-02
[topology]
model = "russia"
networks = ["mts", "obit"]
regions = ["spb"]
[[service]]
id = "peer.example"
hosting = "hetzner"
speaks = ["udp-echo"]
[[policy]]
at = 2025-06-01T12:00:00Z
do = "install"
box = "tspu"
profile = "tspu-2024"
[[fault]]
at = 2025-06-01T06:00:00Z
lasts = "1h"
kind = "server-down"
services = ["peer.example"]
[[probe]]
id = "vpn"
tests = ["vpn_protocols"]
inputs = ["wireguard://service:peer.example"]
every = "2h"
jitter = "10m"
software = "okno-probe 0.2.0"
[probe.options.vpn_protocols]
packets = 4
"#;

#[derive(Default)]
struct Kept(Vec<(String, MeasurementTruth)>);

impl Observer for Kept {
    fn measurement(&mut self, measurement: &ProbeMeasurement<'_>) -> Result<(), String> {
        self.0.push((measurement.line.to_owned(), measurement.truth.clone()));
        Ok(())
    }
}

fn measure(text: &str, seed: u64, threads: usize) -> Vec<(String, MeasurementTruth)> {
    let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
    let scenario = Scenario::parse("probes", text, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let mut kept = Kept::default();
    let options = RunOptions { threads, ..RunOptions::default() };
    run::run(&scenario, &options, &mut kept).unwrap_or_else(|error| panic!("{error}"));
    kept.0
}

#[test]
fn a_measurement_comes_with_the_acts_of_boxes_and_the_faults_on_its_own_flows() {
    let all = measure(TEXT, 1, 1);
    assert!(all.len() >= 20, "{}", all.len());
    let noon = 1_748_779_200;
    let names: Vec<&str> = all.iter().map(|(_, truth)| truth.cell.as_str()).collect();
    assert!(names.contains(&"mts/spb") && names.contains(&"obit/spb"));
    for (line, truth) in &all {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["test_name"], "vpn_protocols");
        assert_eq!(row["probe_cc"], "RU");
        assert_eq!(row["probe_asn"], format!("AS{}", truth.asn));
        assert_eq!(row["software_version"], "0.2.0");
        assert!(row["input"].as_str().unwrap().starts_with("wireguard://11.18."));
        assert_eq!(truth.targets, ["peer.example"]);
        let after = truth.start.micros() / 1_000_000 >= noon;
        assert_eq!(truth.is_blocked(), after, "{truth:?}");
        for act in &truth.acts {
            assert!(truth.start <= act.first && act.last <= truth.end);
            assert_eq!(act.target, "peer.example");
        }
        let hour = truth.start.micros() / 1_000_000 % 86_400 / 3_600;
        assert_eq!(truth.target_down, hour == 6, "{truth:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_lines_on_one_thread_and_two_and_another_seed_others() {
    let one = measure(TEXT, 7, 1);
    assert_eq!(one, measure(TEXT, 7, 2));
    let other = measure(TEXT, 8, 1);
    assert_ne!(one.first().unwrap().0, other.first().unwrap().0);
}

#[test]
fn the_own_address_is_in_no_line() {
    for (line, _) in measure(TEXT, 1, 1) {
        assert!(!line.contains("\"10.") && !line.contains("100.64."), "{line}");
    }
}

#[test]
fn mistakes_in_a_probe_are_told_with_line_and_fix() {
    for (from, to, expected) in [
        ("vpn_protocols", "vpn_protocol", "unknown test `vpn_protocol`"),
        ("packets = 4", "pakets = 4", "pakets"),
        ("service:peer.example", "service:per.example", "unknown service `per.example`"),
        ("every = \"2h\"", "evry = \"2h\"", "unknown key `evry`"),
        ("id = \"vpn\"", "helper = \"nobody\"\nid = \"vpn\"", "unknown service `nobody`"),
    ] {
        let text = TEXT.replace(from, to);
        let error = Scenario::parse("probes", &text, &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("scenario.toml:"), "{error}");
    }
}

#[test]
fn only_probes_run_when_asked() {
    let text = format!(
        "{TEXT}[[service]]\nid = \"a.example\"\nhosting = \"hetzner\"\n[[client]]\nid = \"c\"\ntargets = [\"a.example\"]\n"
    );
    let overrides = Overrides { probes_only: true, ..Overrides::default() };
    let scenario = Scenario::parse("probes", &text, &overrides).unwrap();
    assert!(scenario.clients.is_empty() && !scenario.probes.is_empty());
}

const PAGES: &str = r#"title = "pages"
start = 2025-06-01
end = 2025-06-02
[topology]
model = "russia"
networks = ["mts", "obit"]
regions = ["spb"]
[lists]
"sni.blocked" = ["blocked.example"]
[[service]]
id = "blocked.example"
hosting = "hetzner"
[[service]]
id = "open.example"
hosting = "cloudflare"
addresses = 4
[[service]]
id = "th.example"
hosting = "hetzner"
speaks = ["helper"]
[[service]]
id = "public-dns"
names = ["dns.example"]
hosting = "google"
speaks = ["dns"]
[[policy]]
at = 2025-06-01T12:00:00Z
do = "install"
box = "tspu"
profile = "tspu-2024"
[[fault]]
at = 2025-06-01T06:00:00Z
lasts = "4h"
kind = "geo-block"
services = ["open.example"]
[[probe]]
id = "wc"
tests = ["web_connectivity"]
inputs = ["https://blocked.example/", "http://open.example/"]
every = "4h"
jitter = "10m"
helper = "th.example"
[probe.options.web_connectivity]
udp_resolvers = ["service:public-dns:53"]
doh = ["https://dns.example/dns-query"]
"#;

#[test]
fn pages_are_judged_by_the_helper_abroad_and_truth_says_who_was_right() {
    let all = measure(PAGES, 1, 1);
    assert!(all.len() >= 20, "{}", all.len());
    for (line, truth) in &all {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let keys = &row["test_keys"];
        let hour = truth.start.micros() / 1_000_000 % 86_400 / 3_600;
        let blocked = truth.targets == ["blocked.example"] && hour >= 12;
        assert_eq!(truth.is_blocked(), blocked, "{truth:?}");
        let expected = match (truth.is_blocked(), hour) {
            (true, _) => serde_json::json!("http-failure"),
            (false, 6..=9) if truth.targets == ["open.example"] => serde_json::json!("http-diff"),
            _ => serde_json::json!(false),
        };
        assert_eq!(keys["blocking"], expected, "{line}");
        assert_eq!(keys["control_failure"], serde_json::Value::Null, "{line}");
        assert_eq!(truth.faults.len(), usize::from(expected == "http-diff"), "{truth:?}");
    }
    assert_eq!(all, measure(PAGES, 1, 2));
}

/// A part of a shipped scenario, and of its twin.
fn shipped(name: &str, days: (&str, &str), network: &str, region: &str) -> Vec<(String, MeasurementTruth)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(name);
    let overrides = Overrides {
        start: parse_moment(days.0),
        end: parse_moment(days.1),
        networks: vec![network.to_owned()],
        regions: vec![region.to_owned()],
        probes_only: true,
        ..Overrides::default()
    };
    let scenario = Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let mut kept = Kept::default();
    run::run(&scenario, &RunOptions::default(), &mut kept).unwrap_or_else(|error| panic!("{error}"));
    kept.0
}

#[test]
fn a_twin_measures_the_same_things_and_no_box_touches_them() {
    let days = ("2025-06-11T00:00:00Z", "2025-06-13T00:00:00Z");
    let censored = shipped("iran-2025", days, "tci", "tehran");
    let benign = shipped("iran-2025-benign", days, "tci", "tehran");
    let what = |all: &[(String, MeasurementTruth)]| -> std::collections::BTreeSet<(String, Option<String>)> {
        all.iter().map(|(_, truth)| (truth.probe.clone(), truth.input.clone())).collect()
    };
    assert_eq!(what(&censored), what(&benign));
    assert!(censored.iter().any(|(_, truth)| truth.is_blocked()));
    assert!(censored.iter().any(|(_, truth)| !truth.is_blocked()));
    assert!(benign.iter().all(|(_, truth)| truth.acts.is_empty() && truth.benign));
}

#[test]
fn behind_a_shared_address_acts_are_laid_to_the_probe_whose_flow_it_was() {
    // The box stands at the border, where all subscribers of a mobile network have one address.
    let text = TEXT
        .replace("box = \"tspu\"\n", "box = \"gate\"\nplace = \"border\"\n")
        .replace("networks = [\"mts\", \"obit\"]", "networks = [\"mts\"]")
        .replace("per_cell = 1\n", "")
        + r#"
[[service]]
id = "home.example"
hosting = "selectel"
speaks = ["udp-echo"]
[[probe]]
id = "other"
tests = ["vpn_protocols"]
inputs = ["wireguard://service:home.example"]
every = "30m"
[probe.options.vpn_protocols]
packets = 4
"#;
    let all = measure(&text, 3, 1);
    let blocked = |probe: &str| {
        all.iter().filter(|(_, truth)| truth.probe.starts_with(probe) && truth.is_blocked()).count()
    };
    assert!(blocked("vpn") >= 5, "{}", blocked("vpn"));
    assert_eq!(blocked("other"), 0);
    let acts = all.iter().flat_map(|(_, truth)| &truth.acts);
    assert!(acts.clone().all(|act| act.inside.ip.to_string().starts_with("11.19.")));
    assert!(acts.count() > 0);
}
