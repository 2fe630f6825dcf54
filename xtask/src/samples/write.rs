//! The archive's layout, gzip without a clock, and the table of truth.
//!
//! Files lie where OONI's archive would have them, `raw/YYYYMMDD/HH/CC/testname/…`, under the hour of their
//! first measurement; unlike OONI, one file covers a week or more, so that there are few.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::world::{FIRST_SECOND, digits};
use super::{Sample, SampleFile};

/// Appended to a file as a line that is no JSON.
const NO_JSON: &str = "<html><head><title>502 Bad Gateway</title></head></html>";

/// The files of the archive, uncompressed. Flaws are put in on purpose: two resubmissions, a line that is no
/// JSON, a measurement with wrong types, a last line that is cut off.
pub fn archive(samples: &[Sample]) -> Vec<SampleFile> {
    let mut groups: BTreeMap<(&str, &str, i64), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        groups.entry((sample.network.country, sample.test, part(sample))).or_default().push(sample);
    }
    let mut files: Vec<SampleFile> = Vec::new();
    for ((country, test, _), group) in &groups {
        let hour = &digits(group[0].start)[..10];
        let plain = test.replace('_', "");
        let path = format!(
            "raw/{}/{}/{country}/{plain}/{hour}_{country}_{plain}.n0.0.jsonl.gz",
            &hour[..8],
            &hour[8..]
        );
        let mut text = String::new();
        for sample in group {
            text.push_str(&line(&sample.measurement));
            text.push('\n');
        }
        files.push((path, text.into_bytes()));
    }
    files.sort();
    flaws(&mut files, samples);
    files
}

/// Russian web measurements go by week, the other web measurements by three weeks, the rest together.
fn part(sample: &Sample) -> i64 {
    let week = (sample.start - FIRST_SECOND) / (7 * 86_400);
    match (sample.test, sample.network.country) {
        ("web_connectivity", "RU") => week,
        ("web_connectivity", _) => week / 3,
        _ => 0,
    }
}

fn flaws(files: &mut [SampleFile], samples: &[Sample]) {
    let web: Vec<usize> =
        (0..files.len()).filter(|at| files[*at].0.contains("/RU/webconnectivity/")).collect();
    let ours: Vec<&Sample> =
        samples.iter().filter(|s| s.test == "web_connectivity" && s.network.country == "RU").collect();
    // Resubmitted a week later, byte for byte.
    for sample in [ours[3], ours[11]] {
        files[web[1]].1.extend_from_slice(line(&sample.measurement).as_bytes());
        files[web[1]].1.push(b'\n');
    }
    files[web[2]].1.extend_from_slice(NO_JSON.as_bytes());
    files[web[2]].1.push(b'\n');
    let odd = odd_types(&ours[ours.len() / 2].measurement);
    files[web[3]].1.extend_from_slice(line(&odd).as_bytes());
    files[web[3]].1.push(b'\n');
    let mut cut = ours[ours.len() / 3].measurement.clone();
    cut["measurement_uid"] = Value::from(other_uid(&cut, "ee"));
    let last = line(&cut);
    files[web[5]].1.extend_from_slice(&last.as_bytes()[..last.len() / 2]);
}

/// A measurement of which parts have types that they cannot have; the rest is readable.
fn odd_types(measurement: &Value) -> Value {
    let mut odd = measurement.clone();
    odd["measurement_uid"] = Value::from(other_uid(measurement, "dd"));
    odd["report_id"] = Value::from("20250626T000000Z_webconnectivity_RU_0_n1_OddTypesOddTypes");
    odd["annotations"] = Value::from("none");
    odd["test_runtime"] = Value::from("fast");
    odd["test_keys"]["queries"] = Value::from(17);
    odd["test_keys"]["network_events"] = serde_json::json!([null, 1, "read"]);
    odd
}

/// The uid of a flawed copy: as the original's, but for its end.
fn other_uid(measurement: &Value, end: &str) -> String {
    let uid = measurement["measurement_uid"].as_str().unwrap_or_default();
    format!("{}{end:0>16}", &uid[..uid.len().saturating_sub(16)])
}

/// One line of JSON, keys sorted whatever features `serde_json` was built with.
pub fn line(value: &Value) -> String {
    let mut out = String::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put(&Value::from(key.as_str()), out);
                out.push(':');
                put(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The table of truth. Where two layers are both right, they stand with a blank between them, and so do their
/// mechanisms; a mechanism below the one that is named is right too.
pub fn truth(samples: &[Sample]) -> String {
    let mut text =
        "measurement_uid,test_name,country,network,target,interference,state,layer,mechanism,scenario\n"
            .to_owned();
    for sample in samples {
        let scenario = sample.scenario;
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{},{}\n",
            sample.uid,
            sample.test,
            sample.network.country,
            sample.network.asn,
            sample.target,
            scenario.interference,
            scenario.state,
            scenario.layer,
            scenario.mechanism,
            scenario.id,
        ));
    }
    text
}

/// Writes a file, compressed when its name ends in `.gz`; returns its size on disk.
pub fn to_disk(path: &Path, content: &[u8]) -> Result<u64> {
    let folder = path.parent().context("a sample lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let bytes = if path.extension().is_some_and(|extension| extension == "gz") {
        let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
        gzip.write_all(content)?;
        gzip.finish()?
    } else {
        content.to_vec()
    };
    std::fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(bytes.len() as u64)
}

/// Reads a file that [`to_disk`] wrote; a gzip header with a time in it is an error.
pub fn from_disk(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes);
    }
    if bytes.get(4..8) != Some(&[0; 4][..]) {
        bail!("the gzip header carries a time");
    }
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut content)?;
    Ok(content)
}

/// Paths of the files below `folder`, relative to it, sorted.
pub fn present(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(short) = path.strip_prefix(folder) {
                found.push(short.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}
