//! Killed at any moment, or out of disk: the next run ends with the bytes of an undisturbed one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::binary::{Folder, Random, arg, assert_same, pause};
use crate::crowd;

/// Copies of the samples in the input of the killing: some 150 MB of JSON.
const COPIES: usize = 30;
/// Lakes that are begun, and how often each is killed before it is finished.
const LAKES: usize = 8;
const KILLS: usize = 2;
/// Length of a step in which a run is waited for.
const STEP_MS: u64 = 5;

/// Runs the binary to its end; returns how many milliseconds that took, more or less.
fn duration(folder: &Folder, args: &[&str]) -> u64 {
    let mut child =
        folder.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let mut steps = 1;
    while child.try_wait().unwrap().is_none() {
        pause(STEP_MS);
        steps += 1;
    }
    assert!(child.wait().unwrap().success());
    steps * STEP_MS
}

/// Kills a run (SIGKILL) after so many milliseconds; says whether it was still running.
fn kill_after(folder: &Folder, args: &[&str], millis: u64) -> bool {
    let mut child =
        folder.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    pause(millis);
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

#[test]
fn a_run_that_was_killed_anywhere_is_finished_by_the_next_with_the_bytes_of_an_undisturbed_one() {
    let folder = Folder::new("killed");
    let (input, size) = crowd::write(&folder, "in", COPIES);
    assert!(size > 140_000_000, "{size} bytes of JSON");
    let whole = Folder::new("killed-whole");
    let args = ["observe", arg(&input), "--quiet"];
    let time = duration(&whole, &args);
    let (expected, report) = (whole.lake("okno-data"), whole.text("okno-report.html"));
    let mut random = Random(2026);
    let (mut interrupted, mut longest, mut lakes) = (0, time, 0);
    while lakes < LAKES && longest > 20 {
        let broken = Folder::new(&format!("killed-{lakes}"));
        let kills = (0..KILLS).take_while(|_| kill_after(&broken, &args, random.below(longest))).count();
        interrupted += kills;
        if kills < KILLS {
            // The run ended first: the machine was slower when the time was taken.
            longest = longest * 4 / 5;
            continue;
        }
        lakes += 1;
        broken.okno(&args).good();
        assert_same(&broken.lake("okno-data"), &expected, "a killed run left its marks");
        assert!(broken.text("okno-report.html") == report, "the report differs");
    }
    println!("{interrupted} runs were killed, within {longest} to {time} ms");
    assert!(lakes == LAKES, "only {interrupted} runs were killed while they ran");
}

/// Killing costs no question: whatever the manifest names can be read at once.
#[test]
fn what_a_killed_run_left_can_be_asked_at_once() {
    let folder = Folder::new("asked");
    let (input, _) = crowd::write(&folder, "in", 6);
    let args = ["observe", arg(&input), "--quiet"];
    let whole = Folder::new("asked-whole");
    let time = duration(&whole, &args);
    for part in 1..5 {
        kill_after(&folder, &args, time * part / 5);
        let run = folder.okno(&[
            "sql",
            "--format",
            "json",
            "SELECT sum(lines) l, sum(measurements) m, sum(rejected) r FROM sources",
        ]);
        if run.code == Some(0) {
            let row = run.json()[0].clone();
            let number = |name: &str| row[name].as_u64().unwrap_or(0);
            assert_eq!(number("l"), number("m") + number("r"));
            let rows = folder.count("okno-data", "SELECT count(*) FROM measurements");
            assert_eq!(rows, number("m"), "each measurement that a source counts is there, none twice");
        } else {
            assert!(run.err.contains("no lake"), "{}", run.err);
        }
    }
}

#[test]
fn a_second_writer_is_told_to_wait_and_readers_are_not() {
    let folder = Folder::new("busy");
    let line = crowd::lines(1).next().unwrap();
    let file = folder.write("one.jsonl", line.as_bytes());
    folder.okno(&["observe", arg(&file), "--quiet"]).good();
    // A run that waits for its standard input holds the lake.
    let mut first = folder
        .command(&["observe", "-", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let spool = folder.path("okno-data/tmp");
    for _ in 0..2_000 {
        if std::fs::read_dir(&spool).is_ok_and(|mut entries| entries.next().is_some()) {
            break;
        }
        pause(STEP_MS);
    }
    let second = folder.okno(&["observe", arg(&file), "--quiet"]).ends(1);
    assert!(second.err.contains("another okno process") && second.err.contains("--lake"), "{}", second.err);
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM measurements"), 1);
    drop(first.stdin.take());
    first.wait().unwrap();
    folder.okno(&["observe", arg(&file), "--quiet"]).good();
}

/// A file system of a few megabytes, in memory, unmounted when it goes.
struct Small<'f>(&'f Path);

impl<'f> Small<'f> {
    fn mount(at: &'f Path, bytes: usize) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs", arg(at)]).output();
        output.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn bytes(lake: &BTreeMap<String, Vec<u8>>) -> usize {
    lake.values().map(Vec::len).sum()
}

#[test]
fn with_the_disk_full_it_says_what_to_do_and_then_ends_with_the_same_bytes() {
    let folder = Folder::new("full");
    let (input, _) = crowd::write(&folder, "in", 12);
    let whole = Folder::new("full-whole");
    whole.okno(&["observe", arg(&input), "--lake", "small/lake", "--quiet"]).good();
    let expected = whole.lake("small/lake");
    let need = bytes(&expected);
    let small = folder.path("small");
    for percent in [0, 15, 40, 65, 90] {
        let Some(_mounted) = Small::mount(&small, need * 3) else {
            println!("skipped: a small file system cannot be mounted here (root can)");
            return;
        };
        let args = ["observe", arg(&input), "--lake", "small/lake", "--quiet"];
        let filler = folder.write("small/filler", &vec![0; need * 3 - need * percent / 100]);
        let run = folder.okno(&args).ends(1);
        for word in ["no space left", "free some space", "run the same command again"] {
            assert!(run.err.contains(word), "{percent} %: {word} is missing in {}", run.err);
        }
        std::fs::remove_file(filler).unwrap();
        folder.okno(&args).good();
        assert_same(&folder.lake("small/lake"), &expected, "a full disk left its marks");
    }
}
