//! Every real capture at hand is read to its end.

#![expect(clippy::unwrap_used, reason = "a failed read fails the test")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use okno_lab::capture::{Capture, CaptureError};
use okno_wire::PacketView;

fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from);
    dir.join("pcap").is_dir().then_some(dir)
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap") {
            found.push(path);
        }
    }
}

#[test]
fn real_captures_of_all_link_types_are_read_whole() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let mut found = Vec::new();
    for folder in ["pcap", "pcap-censored", "evasion"] {
        files(&data.join(folder), &mut found);
    }
    found.sort();
    let (mut packets, mut malformed) = (BTreeMap::<u16, u64>::new(), 0);
    let mut broken = Vec::new();
    for path in &found {
        let mut capture = match Capture::open(File::open(path).unwrap()) {
            Ok(capture) => capture,
            Err(error) => {
                broken.push((path, error));
                continue;
            }
        };
        let mut last = 0;
        while let Some(packet) = capture.next() {
            match packet {
                Ok(packet) => {
                    assert!(packet.number > last && !packet.ip.is_empty());
                    last = packet.number;
                    *packets.entry(packet.link_type).or_default() += 1;
                    malformed += u64::from(PacketView::parse(packet.ip).is_err());
                }
                Err(error) => broken.push((path, error)),
            }
        }
        for (reason, count) in capture.set_aside() {
            println!("{}: {count} × {reason}", path.file_name().unwrap().display());
        }
    }
    println!("{} captures, packets by link type {packets:?}, {malformed} malformed", found.len());
    for (path, error) in &broken {
        println!("{}: {error}", path.display());
        assert!(matches!(error, CaptureError::Truncated { .. } | CaptureError::NotACapture { .. }));
    }
    let total: u64 = packets.values().sum();
    assert!(broken.len() * 50 < found.len(), "{} of {} captures are broken", broken.len(), found.len());
    assert!(malformed * 1_000 < total, "{malformed} of {total} packets are malformed");
    assert!(packets.len() >= 7, "link types met: {packets:?}");
}
