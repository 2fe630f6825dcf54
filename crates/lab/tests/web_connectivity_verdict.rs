//! The verdict that web_connectivity writes against OONI's own: its emulator's 30 measurements are read back
//! into what was seen, judged by our code, and must get the very keys that OONI's code wrote.
//! Skipped where the shared data are not present.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::{Path, PathBuf};

use okno_ingest::source::{Batch, Next, open};
use okno_probe::helper::web::protocol::{HelperRequest, HelperResponse};
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
    if let Some(failure) = record["failure"].as_str() {
        return Err(failure.to_owned());
    }
    let response = &record["response"];
    let body = text(&response["body"]);
    Ok(Page {
        code: u16::try_from(response["code"].as_u64().unwrap()).unwrap(),
        length: body.len() as u64,
        truncated: response["body_is_truncated"].as_bool().unwrap(),
        headers: response["headers"].as_object().unwrap().keys().cloned().collect(),
        title: okno_probe::page::title_of(body.as_bytes()).into_owned(),
    })
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
