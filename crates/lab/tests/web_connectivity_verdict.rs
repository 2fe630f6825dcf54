//! The verdict that web_connectivity writes against OONI's own: its emulator's 30 measurements are read back
//! into what was seen, judged by our code, and must get the very keys that OONI's code wrote.
//! Skipped where the shared data are not present.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::{Path, PathBuf};

use okno_ingest::source::{Batch, Next, open};
use okno_probe::helper::web::protocol::AddressInfo;
use okno_probe::helper::web::protocol::{HelperRequest, HelperResponse};
use okno_probe::nettests::web_connectivity::older_verdict::{self, OldRequest, OldSeen};
use okno_probe::nettests::web_connectivity::seen::{
    Chain, Control, Lookup, Page, Seen, depth_of, ended, fetch_body_of,
};
use okno_probe::nettests::web_connectivity::verdict::judge;
use serde_json::{Map, Value};

fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("OKNO_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

fn list<'a>(keys: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    keys[name].as_array().into_iter().flatten()
}

fn tags(record: &Value) -> Vec<String> {
    list(record, "tags").map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn lookup(record: &Value) -> Lookup {
    let address = |answer: &Value| {
        let text = answer["ipv4"].as_str().or(answer["ipv6"].as_str())?;
        text.parse().ok()
    };
    Lookup {
        transaction: record["transaction_id"].as_u64().unwrap(),
        engine: text(&record["engine"]),
        query_type: text(&record["query_type"]),
        hostname: text(&record["hostname"]),
        failure: record["failure"].as_str().map(str::to_owned),
        addresses: list(record, "answers").filter_map(address).collect(),
        depth: depth_of(&tags(record)).unwrap(),
    }
}

fn page(record: &Value) -> Result<Page, String> {
    match record["failure"].as_str() {
        Some(failure) => Err(failure.to_owned()),
        None => Ok(answer(record)),
    }
}

fn answer(record: &Value) -> Page {
    let response = &record["response"];
    let body = text(&response["body"]);
    Page {
        code: response["code"].as_u64().map_or(0, |code| u16::try_from(code).unwrap()),
        length: body.len() as u64,
        truncated: response["body_is_truncated"] == true,
        headers: response["headers"].as_object().into_iter().flat_map(Map::keys).cloned().collect(),
        title: okno_probe::page::title_of(body.as_bytes()).into_owned(),
    }
}

fn seen(keys: &Value) -> Seen {
    let with = |name: &str, id: &Value| list(keys, name).find(|r| r["transaction_id"] == *id).cloned();
    let chain = |record: &Value| {
        let id = &record["transaction_id"];
        let handshake = with("tls_handshakes", id);
        Chain {
            transaction: id.as_u64().unwrap(),
            ip: record["ip"].as_str().unwrap().parse().unwrap(),
            port: u16::try_from(record["port"].as_u64().unwrap()).unwrap(),
            depth: depth_of(&tags(record)).unwrap(),
            fetch_body: fetch_body_of(&tags(record)),
            connect: ended(record["status"]["failure"].as_str()),
            handshake: handshake.map(|r| (ended(r["failure"].as_str()), text(&r["server_name"]))),
            page: with("requests", id).map(|r| page(&r)),
        }
    };
    let mut chains: Vec<Chain> = list(keys, "tcp_connect").map(chain).collect();
    chains.sort_by_key(|chain| chain.transaction);
    Seen { lookups: list(keys, "queries").map(lookup).collect(), chains }
}

#[test]
fn our_verdict_has_the_values_that_oonis_own_code_wrote_for_its_emulators_measurements() {
    let Some(path) = shared("ooni-qa/qa.jsonl.gz") else { return };
    let mut lines = open(&path).unwrap();
    let (mut count, mut wrong) = (0, String::new());
    while let Next::Bytes(raw) = lines.next_batch() {
        let batch = Batch::prepare(raw);
        for line in &batch.lines {
            let measurement: Value = serde_json::from_str(&batch.text[line.start..line.end]).unwrap();
            let keys = &measurement["test_keys"];
            let mut host = String::new();
            let asked: Option<HelperRequest> = serde_json::from_value(keys["x_control_request"].clone()).ok();
            let said: Option<HelperResponse> = serde_json::from_value(keys["control"].clone()).ok();
            let control = asked.as_ref().zip(said.as_ref());
            let control = control.and_then(|(asked, said)| Control::of(asked, said, &mut host));
            let mut ours = Map::new();
            judge(&seen(keys), control.as_ref()).write(&mut ours);
            for (key, value) in &ours {
                let same = match (value.as_f64(), keys[key].as_f64()) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                    _ => *value == keys[key],
                };
                if !same {
                    wrong += &format!(
                        "{} {}: {key} is {value}, OONI says {}\n",
                        measurement["measurement_uid"], measurement["input"], keys[key]
                    );
                }
            }
            count += 1;
        }
    }
    assert_eq!(count, 30);
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What a real probe of version 0.4 saw.
fn old_seen(measurement: &Value) -> OldSeen {
    let keys = &measurement["test_keys"];
    let input = measurement["input"].as_str().unwrap();
    let host = input.split_once("://").unwrap().1.split(['/', ':', '?']).next().unwrap();
    let answers = list(keys, "queries").flat_map(|query| list(query, "answers"));
    let address = |answer: &Value| answer["ipv4"].as_str().or(answer["ipv6"].as_str())?.parse().ok();
    let request = |record: &Value| OldRequest {
        url: text(&record["request"]["url"]),
        failure: record["failure"].as_str().map(str::to_owned),
        page: answer(record),
    };
    let opened = |record: &&Value| record["status"]["success"] == true;
    OldSeen {
        host: host.to_owned(),
        lookup_failure: keys["dns_experiment_failure"].as_str().map(str::to_owned),
        addresses: answers.filter_map(address).collect(),
        attempts: list(keys, "tcp_connect").count(),
        successes: list(keys, "tcp_connect").filter(opened).count(),
        requests: list(keys, "requests").map(request).collect(),
    }
}

/// Whether a measurement gives all that the verdict depends on, and by the rules of the last version.
fn is_comparable(measurement: &Value) -> bool {
    let keys = &measurement["test_keys"];
    let is_whole = |r: &Value| r["response"].is_object() && !r["response"]["body"].is_object();
    let plain_bodies = list(keys, "requests").all(is_whole);
    measurement["test_version"].as_str().is_some_and(|version| version.starts_with("0.4."))
        && plain_bodies
        && keys.get("x_status").is_some()
        // Version 0.4.3 alone has its rule about names that are missing here only.
        && keys["dns_experiment_failure"] != "dns_nxdomain_error"
}

#[test]
fn our_older_verdict_has_the_values_that_real_probes_of_version_0_4_wrote() {
    let Some(folder) = shared("ooni-raw/s3") else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for path in files {
        let mut lines = open(&path).unwrap();
        while let Next::Bytes(raw) = lines.next_batch() {
            let batch = Batch::prepare(raw);
            for line in &batch.lines {
                let measurement: Value = serde_json::from_str(&batch.text[line.start..line.end]).unwrap();
                if !is_comparable(&measurement) {
                    continue;
                }
                count += 1;
                let keys = &measurement["test_keys"];
                let seen = old_seen(&measurement);
                let said = keys["control_failure"].is_null();
                let mut said: Option<HelperResponse> =
                    said.then(|| serde_json::from_value(keys["control"].clone()).unwrap());
                if let Some(said) = &mut said {
                    // The probe looked networks up by itself; whether they agreed is in its own verdict.
                    let asn = u32::from(keys["dns_consistency"] == "consistent");
                    let theirs = said.dns.addrs.clone();
                    let all = theirs.into_iter().chain(seen.addresses.iter().map(ToString::to_string));
                    said.ip_info = all.map(|ip| (ip, AddressInfo { asn, flags: 0 })).collect();
                }
                let control = said.as_ref().map(|response| Control { host: &seen.host, response });
                let mut ours = Map::new();
                older_verdict::judge(&seen, control.as_ref()).write(&mut ours);
                // Until 2021 a title of more than 128 characters was none (probe-cli measurexlite/web.go),
                // and a helper without an answer was compared as one with the status −1.
                let is_long = seen.requests.first().is_some_and(|r| r.page.title.chars().count() > 128);
                let no_status = keys["control"]["http_request"]["status_code"] == -1;
                for key in ["blocking", "accessible", "x_status", "status_code_match", "title_match"] {
                    let is_old =
                        (is_long && key == "title_match") || (no_status && key == "status_code_match");
                    if !is_old && ours[key] != keys[key] {
                        let told = format!(
                            "{}: {key} is {}, OONI says {}",
                            measurement["input"], ours[key], keys[key]
                        );
                        wrong.push(told);
                    }
                }
            }
        }
    }
    println!("{count} measurements, {} differences", wrong.len());
    assert!(count > 900);
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}
