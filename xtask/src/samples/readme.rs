//! `samples/README.md`: what is in the samples, where, when, after which source, and what the truth is.

use std::collections::BTreeSet;

use super::Sample;
use super::plan::SCENARIOS;
use super::world::{NETWORKS, digits};

/// The text.
pub fn text(samples: &[Sample], seed: u64) -> String {
    let mut out = format!(
        "# Samples\n\n\
         {} measurements in OONI's format, made by `cargo xtask samples --seed {seed}`. **Nothing here was measured.** They are\n\
         modelled on documented cases, so that the first command shows something worth seeing and a test can compare\n\
         verdicts with a known truth. Page texts are ours; probe addresses are `127.0.0.1`, resolvers are scrubbed or lie in\n\
         documentation ranges (RFC 5737). Addresses of servers lie in the networks that are named beside them and say nothing\n\
         about the servers.\n\n\
         - `raw/`: the files, laid out like OONI's archive (`raw/YYYYMMDD/HH/CC/testname/`, the hour of the first\n  measurement; one file covers a week or more).\n\
         - `truth.csv`: one row per measurement: whether somebody interfered, the state, layer and mechanism that a right\n  verdict names, and the scenario. Where two answers are right, they stand with a blank between them; a mechanism\n  below the one that is named is right too.\n\n\
         ## Scenarios\n\n\
         | scenario | what | networks | first and last day | n | truth | source |\n|---|---|---|---|---|---|---|\n",
        samples.len()
    );
    for scenario in SCENARIOS {
        let played: Vec<&Sample> =
            samples.iter().filter(|sample| sample.scenario.id == scenario.id).collect();
        let (Some(first), Some(last)) = (played.first(), played.last()) else { continue };
        let networks: BTreeSet<String> =
            played.iter().map(|sample| format!("{}{}", sample.network.country, sample.network.asn)).collect();
        let truth = if scenario.interference {
            format!("{}: `{}`", scenario.state, scenario.mechanism)
        } else {
            format!("{}, no interference", scenario.state)
        };
        out.push_str(&format!(
            "| `{}` | {} | {} | {} – {} | {} | {truth} | {} |\n",
            scenario.id,
            scenario.what,
            networks.into_iter().collect::<Vec<_>>().join(", "),
            day(first.start),
            day(last.start),
            played.len(),
            scenario.source,
        ));
    }
    out.push_str(
        "\nBesides, MegaFon (AS31133) is silent on 2025-07-05 and 06: no measurement, modelled on the mobile shutdowns of those days\n\
         (https://github.com/net4people/bbs/issues/515). Silence is no measurement, so `truth.csv` has no row for it.\n\n\
         ## Flaws, put in on purpose\n\n\
         All in Russian web_connectivity files, in the order of their dates:\n\n\
         | file | flaw | what should come of it |\n|---|---|---|\n\
         | second | two lines of the first file again, byte for byte | two duplicates, set aside |\n\
         | third | a last line that is an HTML page | one line that is no JSON |\n\
         | fourth | a last line with wrong types (annotations, runtime, queries, events) and a uid that ends in `dd` | kept, with the parts that could not be read as rejects; not in `truth.csv` |\n\
         | sixth | a last line that is cut in half, with a uid that ends in `ee` | one truncated line; not in `truth.csv` |\n\n\
         ## Networks\n\n| AS | country | name | note |\n|---|---|---|---|\n",
    );
    for network in NETWORKS {
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            network.asn, network.country, network.name, network.note
        ));
    }
    out
}

fn day(seconds: i64) -> String {
    let text = digits(seconds);
    format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..8])
}
