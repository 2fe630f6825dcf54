//! `cargo xtask samples`: measurements in OONI's format with a known truth, made from a seed.
//!
//! Nothing here was measured and no person's data is in it. The same seed gives the same bytes; `cargo xtask
//! tidy` compares what is committed with what the generator gives (the text inside the gzip files, because
//! the compressor's output may differ between its versions).

mod envelope;
mod page;
mod plan;
mod readme;
mod rng;
mod services;
mod visit;
mod web;
mod world;
mod write;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use envelope::{Head, SOFTWARE};
use plan::{Scenario, Series, Service, What};
use rng::Stream;
use world::{DAYS, FIRST_SECOND, Network, network_of, site_of};

/// The seed of the committed samples.
pub const SEED: u64 = 20_250_602;

/// One measurement with its truth.
pub struct Sample {
    start: i64,
    test: &'static str,
    network: &'static Network,
    uid: String,
    target: &'static str,
    measurement: Value,
    scenario: &'static Scenario,
}

/// A file of the samples: path below the output folder and content (gzip'd when written if the name says so).
pub type SampleFile = (String, Vec<u8>);

/// Everything that belongs into the folder, sorted by path.
pub fn generate(seed: u64) -> Vec<SampleFile> {
    let mut samples = Vec::new();
    for series in &plan::series() {
        for asn in series.networks {
            samples.extend(play(seed, series, network_of(*asn)));
        }
    }
    samples.sort_by(|a, b| (a.start, &a.uid).cmp(&(b.start, &b.uid)));
    let mut files = write::archive(&samples);
    files.push(("truth.csv".to_owned(), write::truth(&samples).into_bytes()));
    files.push(("README.md".to_owned(), readme::text(&samples, seed).into_bytes()));
    files.sort();
    files
}

/// Writes the samples to `out`, which must not hold anything else.
pub fn run(seed: u64, out: &Path) -> Result<()> {
    let raw = out.join("raw");
    if raw.exists() {
        std::fs::remove_dir_all(&raw).with_context(|| format!("cannot clear {}", raw.display()))?;
    }
    let mut total = 0;
    let files = generate(seed);
    for (path, content) in &files {
        total += write::to_disk(&out.join(path), content)?;
    }
    println!("{} files, {} KiB, in {}", files.len(), total / 1024, out.display());
    Ok(())
}

/// What of `out` differs from what the generator gives.
pub fn differences(seed: u64, out: &Path) -> Vec<String> {
    let files = generate(seed);
    let mut found = Vec::new();
    for (path, content) in &files {
        match write::from_disk(&out.join(path)) {
            Err(error) => found.push(format!("{path}: {error}")),
            Ok(present) if present != *content => {
                found.push(format!("{path}: other content than the generator's"))
            }
            Ok(_) => {}
        }
    }
    for path in write::present(out) {
        if !files.iter().any(|(known, _)| *known == path) {
            found.push(format!("{path}: not made by the generator"));
        }
    }
    found
}

fn play(seed: u64, series: &Series, network: &'static Network) -> Vec<Sample> {
    let mut stream = Stream::named(
        seed,
        &format!("{} {} AS{} {:?}", series.scenario, series.what.label(), network.asn, series.rounds),
    );
    let seconds: Vec<u64> = if series.rounds.is_empty() {
        let span = (series.to - series.from) * 86_400 / series.count;
        // Evenly spread, each somewhere in the middle of its share.
        let spread = |n| series.from * 86_400 + n * span + span / 10 + stream.between(0, span * 8 / 10);
        (0..series.count).map(spread).collect()
    } else {
        series.rounds.iter().map(|day| day * 86_400 + stream.between(10_800, 75_600)).collect()
    };
    let mut samples = Vec::new();
    for second in seconds {
        let day = second / 86_400;
        if (network.asn == plan::SILENT.0 && plan::SILENT.1.contains(&day)) || day >= DAYS {
            continue;
        }
        samples.push(measure(series, network, FIRST_SECOND + second as i64, &mut stream));
    }
    samples
}

fn measure(series: &Series, network: &'static Network, start: i64, stream: &mut Stream) -> Sample {
    let software = series.software.unwrap_or_else(|| *stream.pick(SOFTWARE));
    let (test, target, version, input, keys, runtime_us) = match series.what {
        What::Web(key, case, v05) => {
            let site = site_of(key);
            let (keys, runtime) = web::test_keys(site, case, v05, stream);
            let version = if v05 { "0.5.28" } else { "0.4.3" };
            ("web_connectivity", site.host, version, Some(site.url), keys, runtime)
        }
        What::Service(service, trouble) => {
            let (test, run) = serve(service, trouble, stream);
            (test, run.target, run.version, run.input, run.keys, run.runtime_us)
        }
    };
    let head = Head { test, test_version: version, input, network, start, software, runtime_us };
    let (uid, measurement) = envelope::wrap(&head, keys, stream);
    Sample { start, test, network, uid, target, measurement, scenario: plan::scenario_of(series.scenario) }
}

fn serve(service: Service, trouble: bool, stream: &mut Stream) -> (&'static str, services::Run) {
    match service {
        Service::Telegram => ("telegram", services::telegram(trouble, stream)),
        Service::Whatsapp => ("whatsapp", services::whatsapp(trouble, stream)),
        Service::Signal => ("signal", services::signal(trouble, stream)),
        Service::FacebookMessenger => ("facebook_messenger", services::facebook_messenger(trouble, stream)),
        Service::Tor => ("tor", services::tor(trouble, stream)),
        Service::VanillaTor => ("vanilla_tor", services::bootstrap(false, trouble, stream)),
        Service::Torsf => ("torsf", services::bootstrap(true, trouble, stream)),
        Service::Dnscheck => ("dnscheck", services::dnscheck(trouble, stream)),
        Service::Openvpn => ("openvpn", services::openvpn(trouble, stream)),
        Service::Stunreachability => ("stunreachability", services::stun(trouble, stream)),
        Service::Psiphon => ("psiphon", services::psiphon(trouble, stream)),
        Service::Quicping => ("quicping", services::quicping(trouble, stream)),
        Service::Echcheck => ("echcheck", services::echcheck(trouble, stream)),
        Service::Urlgetter => ("urlgetter", services::urlgetter(trouble, stream)),
        Service::HttpInvalidRequestLine => {
            ("http_invalid_request_line", services::invalid_request_line(trouble, stream))
        }
        Service::HttpHeaderFieldManipulation => {
            ("http_header_field_manipulation", services::header_fields(trouble, stream))
        }
        Service::Ndt => ("ndt", services::ndt(stream)),
        Service::Dash => ("dash", services::dash(stream)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let first = generate(7);
        assert!(first == generate(7));
        assert!(first != generate(8));
    }

    #[test]
    fn no_probe_address_and_no_uid_twice_but_for_the_two_resubmissions() {
        let mut uids = std::collections::BTreeMap::<String, u32>::new();
        let mut unreadable = 0;
        for (path, content) in generate(SEED) {
            if !path.starts_with("raw/") {
                continue;
            }
            for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let Ok(value) = serde_json::from_slice::<Value>(line) else {
                    unreadable += 1;
                    continue;
                };
                assert_eq!(value["probe_ip"], "127.0.0.1");
                let uid = value["measurement_uid"].as_str().expect("every sample has one").to_owned();
                *uids.entry(uid).or_default() += 1;
            }
        }
        assert_eq!(unreadable, 2, "one truncated line, one that is no JSON");
        assert_eq!(uids.values().filter(|count| **count == 2).count(), 2);
        assert!(uids.values().all(|count| *count <= 2));
        assert!((400..=720).contains(&uids.len()), "{} measurements", uids.len());
    }

    #[test]
    fn every_scenario_is_played() {
        let truth =
            generate(SEED).into_iter().find(|(path, _)| path == "truth.csv").expect("it is written").1;
        let truth = String::from_utf8(truth).expect("text");
        for scenario in plan::SCENARIOS {
            assert!(truth.contains(&format!(",{}\n", scenario.id)), "{} is not played", scenario.id);
        }
    }
}
