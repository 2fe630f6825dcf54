//! Many measurements out of few: the samples' lines with other ids.

use std::path::PathBuf;

use crate::binary::{Folder, Random, gzip, sample_lines};

/// The samples' lines, `copies` times, each copy with ids of its own.
pub fn lines(copies: usize) -> impl Iterator<Item = String> {
    let samples = sample_lines();
    assert!(samples.len() > 500);
    let mut random = Random(17);
    (0..copies).flat_map(move |copy| {
        let made: Vec<String> = samples
            .iter()
            .map(|(uid, line)| {
                let front = uid.rsplit_once('_').unwrap().0;
                let other = format!("{front}_{:016x}", random.below(u64::MAX));
                let key = "\"report_id\":\"";
                assert!(line.contains(key) && line.contains(uid.as_str()));
                line.replace(uid.as_str(), &other).replace(key, &format!("{key}{copy:04}"))
            })
            .collect();
        made
    })
}

/// Text of some lines.
pub fn text(lines: &[String]) -> Vec<u8> {
    let mut bytes = lines.join("\n").into_bytes();
    bytes.push(b'\n');
    bytes
}

/// Writes `copies` of the samples into eight gzip files, so large that each is a segment of its own, and
/// thirty small ones that are packed together. Returns their folder and the size of the text.
pub fn write(folder: &Folder, name: &str, copies: usize) -> (PathBuf, usize) {
    let all: Vec<String> = lines(copies).collect();
    let (large, small) = all.split_at(all.len() * 19 / 20);
    let mut size = 0;
    for (prefix, lines, files) in [("a-large", large, 8), ("b-small", small, 30)] {
        for (number, part) in lines.chunks(lines.len().div_ceil(files)).enumerate() {
            let text = text(part);
            size += text.len();
            folder.write(&format!("{name}/{prefix}-{number:02}.jsonl.gz"), &gzip(&text));
        }
    }
    (folder.path(name), size)
}
