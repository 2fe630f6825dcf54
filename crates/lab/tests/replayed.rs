//! Real captures through the profiles' boxes: the same answer each time, and no damage that hurts.

#![expect(clippy::unwrap_used, reason = "a failed read fails the test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use okno_censor::Profile;
use okno_censor::profile::BUILTIN;
use okno_lab::audit::Audit;
use okno_lab::replay::{Options, Replay, Summary};

fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from);
    let found = dir.join("pcap").is_dir().then_some(dir);
    if found.is_none() {
        println!("skipped: no shared data");
    }
    found
}

/// Every `step`th capture, by name.
fn captures(data: &Path, step: usize) -> Vec<Vec<u8>> {
    let (mut pending, mut found) = (vec![data.join("pcap"), data.join("evasion")], Vec::new());
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.iter().step_by(step).map(|path| std::fs::read(path).unwrap()).collect()
}

/// Replays the captures as one run; its rows as text.
fn replay(profile: &Profile, captures: &[Vec<u8>]) -> (String, Summary) {
    let mut replay = Replay::new(Options::default(), || profile.engine().unwrap());
    let mut text = String::new();
    let mut row = |row: okno_lab::replay::FlowRow| writeln!(text, "{row:?}").unwrap();
    for capture in captures {
        let _ = replay.capture("test", &capture[..], &mut row, &mut |_| {});
    }
    let summary = replay.finish(&mut row);
    (text, summary)
}

#[test]
fn every_profile_gives_the_same_answer_to_the_same_captures() {
    let Some(data) = shared_data() else { return };
    let captures = captures(&data, 5);
    let mut packets = None;
    for (name, _) in BUILTIN {
        let profile = Profile::named(name).unwrap();
        let (first, summary) = replay(&profile, &captures);
        let (second, _) = replay(&profile, &captures);
        assert!(first == second, "{name} answers otherwise the second time");
        assert_eq!(first.lines().count() as u64, summary.flows);
        assert_eq!(*packets.get_or_insert(summary.packets), summary.packets);
        let counted: u64 = summary.protocols.values().map(|tally| tally.packets).sum();
        let malformed: u64 = summary
            .malformed
            .iter()
            .filter(|((layer, _), _)| layer.starts_with("ip"))
            .map(|(_, (n, _))| n)
            .sum();
        assert!(
            counted + malformed >= summary.packets,
            "{name}: {counted} + {malformed} of {}",
            summary.packets
        );
        assert!(*name != "none" || summary.flows_acted_on == 0);
    }
}

#[test]
fn damaged_captures_hurt_neither_replay_nor_audit() {
    let Some(data) = shared_data() else { return };
    let mut captures = captures(&data, 9);
    captures.retain(|capture| capture.len() < 200_000);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    let profile = Profile::named("tspu-2026").unwrap();
    for _ in 0..6 {
        for capture in &mut captures {
            // Damage past the file's head and mostly inside packets, so that reading goes on.
            for _ in 0..1 + capture.len() / 400 {
                let at = 24 + draw(capture.len() - 24);
                capture[at] = u8::try_from(draw(256)).unwrap();
            }
        }
        let (_, summary) = replay(&profile, &captures);
        assert!(summary.packets > 0);
        let mut audit = Audit::new(Vec::new(), false);
        for capture in &captures {
            let _ = audit.capture("test", &capture[..], &mut |_| {});
        }
        assert_eq!(audit.finish().1.packets, summary.packets);
    }
}
