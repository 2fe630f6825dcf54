//! Input that means harm, or was given by mistake: bounded in memory and time, counted, explained.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::binary::{Folder, Random, Run, arg, gzip, pause, sample_lines};
use crate::crowd;

/// Memory that a run may take at its peak, whatever it is given.
const PEAK_KIB: u64 = 512 << 10;
/// Time after which a run counts as hanging.
const PATIENCE_MS: u64 = 120_000;
const STEP_MS: u64 = 2;

/// The highest mark of a living process's resident memory so far; `None` where the system does not say.
fn peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// Runs the binary within the bounds of memory and time.
fn bounded(folder: &Folder, args: &[&str]) -> Run {
    let [out, err] = ["bounded.out", "bounded.err"].map(|name| folder.path(name));
    let mut child = folder
        .command(args)
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let (mut peak, mut waited) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(peak_kib(child.id()).unwrap_or(0));
        pause(STEP_MS);
        waited += STEP_MS;
        if waited > PATIENCE_MS {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("okno {} did not end", args.join(" "));
        }
    };
    println!("okno {}: {} MiB", args.join(" "), peak >> 10);
    assert!(peak < PEAK_KIB, "okno {} took {peak} KiB", args.join(" "));
    let read = |path| String::from_utf8(fs::read(path).unwrap()).unwrap();
    Run { args: args.join(" "), code: status.code(), out: read(out), err: read(err) }
}

/// The reasons for which something of a lake was rejected, each once.
fn reasons(folder: &Folder, lake: &str) -> Vec<String> {
    let rows = folder.sql(lake, "SELECT DISTINCT reason FROM rejects ORDER BY reason");
    rows.iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect()
}

/// A run over input of which nothing is a measurement says so, and still leaves lake and report.
fn nothing_read(folder: &Folder, input: &str) -> Vec<String> {
    let lake = format!("lake-{}", input.replace('/', "-"));
    let run = bounded(folder, &["observe", input, "--lake", &lake, "--quiet"]).ends(1);
    assert!(run.err.contains("no measurement could be read"), "{input}: {}", run.err);
    assert!(run.err.lines().count() <= 3 && !run.err.contains("panicked"), "{input}: {}", run.err);
    assert!(folder.text("okno-report.html").len() < 300_000);
    assert_eq!(folder.count(&lake, "SELECT count(*) FROM sources WHERE lines <> rejected"), 0);
    reasons(folder, &lake)
}

/// Small file, `mib` MiB of one byte.
fn bomb(byte: u8, mib: usize) -> Vec<u8> {
    let block = vec![byte; 1 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    (0..mib).for_each(|_| encoder.write_all(&block).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn a_bomb_is_given_up_and_its_neighbours_are_read() {
    let folder = Folder::new("bombs");
    folder.write("zeros.jsonl.gz", &bomb(0, 1024));
    folder.write("brackets.jsonl.gz", &bomb(b'[', 64).repeat(16));
    for input in ["zeros.jsonl.gz", "brackets.jsonl.gz"] {
        let reasons = nothing_read(&folder, input);
        assert!(reasons.contains(&"bomb".to_owned()), "{input}: {reasons:?}");
    }
    let lines: Vec<String> = crowd::lines(1).collect();
    folder.write("in/a.jsonl.gz", &gzip(&crowd::text(&lines)));
    fs::rename(folder.path("zeros.jsonl.gz"), folder.path("in/b.jsonl.gz")).unwrap();
    folder.write("in/c.jsonl", &crowd::text(&sample_lines().into_iter().map(|l| l.1).collect::<Vec<_>>()));
    bounded(&folder, &["observe", "in", "--quiet"]).good();
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM measurements"), 2 * lines.len() as u64);
}

#[test]
fn millions_of_lines_that_are_no_measurements_are_counted_within_memory() {
    let folder = Folder::new("lines");
    folder.write("lines.jsonl.gz", &gzip(&b"{}\n".repeat(1 << 20)).repeat(12));
    assert_eq!(nothing_read(&folder, "lines.jsonl.gz"), ["not_a_measurement"]);
}

#[test]
fn lines_of_many_megabytes_are_read_or_refused_within_memory() {
    let folder = Folder::new("long");
    folder.write("too-long.jsonl", line(60, 1).as_bytes());
    assert_eq!(nothing_read(&folder, "too-long.jsonl"), ["too_long"]);
    long_lines(&folder, 3, "2");
}

/// A measurement with a body of so many MiB.
fn line(mib: usize, number: usize) -> String {
    let body = "a".repeat(mib << 20);
    let keys = format!(
        r#"{{"requests":[{{"request":{{"url":"http://a.example/"}},"response":{{"code":200,"body":"{body}"}}}}]}}"#
    );
    let start = format!("2026-03-20 10:00:{number:02}");
    format!(
        r#"{{"test_name":"web_connectivity","report_id":"r{number}","probe_cc":"RU","probe_asn":"AS1","measurement_start_time":"{start}","input":"http://a.example/","test_keys":{keys}}}"#
    ) + "\n"
}

/// Observes files of three lines of 22 MiB each, which is about as long as is read.
fn long_lines(folder: &Folder, files: usize, threads: &str) {
    for file in 0..files {
        let packed: Vec<u8> = (0..3).flat_map(|n| gzip(line(22, file * 3 + n).as_bytes())).collect();
        folder.write(&format!("in/{file}.jsonl.gz"), &packed);
    }
    bounded(folder, &["observe", "in", "--quiet", "--threads", threads]).good();
    let whole = format!("SELECT count(*) FROM observations WHERE http_body_bytes = {}", 22 << 20);
    assert_eq!(folder.count("okno-data", &whole), 3 * files as u64);
}

#[test]
fn lines_of_many_megabytes_are_read_within_memory_by_many_threads() {
    long_lines(&Folder::new("long-many"), 6, "16");
}

#[test]
fn what_is_no_measurement_is_refused_with_its_reason_and_exit_code_1() {
    let folder = Folder::new("garbage");
    let mut random = Random(5);
    let noise: Vec<u8> = (0..4 << 20).map(|_| random.below(256) as u8).collect();
    let deep = |open: &str, close: &str, n: usize| format!("{}1{}\n", open.repeat(n), close.repeat(n));
    for (name, bytes, reason) in [
        ("empty.jsonl", Vec::new(), None),
        ("blank.jsonl", b"\n\n \n".to_vec(), None),
        ("noise.jsonl", noise.clone(), Some("invalid_json")),
        ("noise.json", noise.clone(), Some("invalid_json")),
        ("noise.jsonl.gz", noise.clone(), None),
        ("noise.jsonl.zst", noise.clone(), None),
        ("noise.jsonl.lz4", noise.clone(), None),
        ("noise.tar.gz", noise, None),
        ("arrays.jsonl", deep("[", "]", 2_000_000).into_bytes(), None),
        ("objects.jsonl", deep(r#"{"a":"#, "}", 1_000_000).into_bytes(), None),
        ("other.jsonl", b"{\"a\":1}\n[1,2,3]\n\"text\"\n17\n".to_vec(), Some("not_a_measurement")),
        ("page.json", b"<html><body>Not found</body></html>".to_vec(), Some("invalid_json")),
    ] {
        folder.write(name, &bytes);
        let reasons = nothing_read(&folder, name);
        let is_empty = name.starts_with("empty") || name.starts_with("blank");
        assert_eq!(reasons.is_empty(), is_empty, "{name}: {reasons:?}");
        assert!(reason.is_none_or(|reason| reasons.iter().any(|r| r == reason)), "{name}: {reasons:?}");
    }
    fs::create_dir(folder.path("nothing")).unwrap();
    for input in ["nothing", "no-such-*.jsonl"] {
        let run = bounded(&folder, &["observe", input, "--lake", "none"]).ends(1);
        assert!(run.err.contains("nothing could be read"), "{}", run.err);
    }
}

/// Observes a folder of so many files, each with one short measurement.
fn tiny_files(folder: &Folder, count: u64) {
    fs::create_dir(folder.path("in")).unwrap();
    for n in 0..count {
        let line = format!(
            r#"{{"test_name":"telegram","probe_cc":"RU","probe_asn":"AS1","measurement_start_time":"2026-03-20 10:{:02}:{:02}","report_id":"r{n}","test_keys":{{"telegram_web_status":"ok"}}}}"#,
            n / 60 % 60,
            n % 60
        );
        fs::write(folder.path(&format!("in/{n:05}.json")), line).unwrap();
    }
    let facts = bounded(folder, &["observe", "in", "--quiet", "--json"]).good().json();
    for name in ["files", "lines", "measurements"] {
        assert_eq!(facts["quality"][name], count, "{name}");
    }
    assert!(folder.lake("okno-data").len() < 100, "tiny files do not become tiny files");
}

#[test]
fn a_folder_of_a_thousand_tiny_files_is_read_within_memory_into_few_files() {
    tiny_files(&Folder::new("tiny"), 1_000);
}

#[test]
fn a_folder_of_twenty_thousand_tiny_files_is_read_within_memory_and_patience() {
    tiny_files(&Folder::new("tiny-many"), 20_000);
}

#[test]
fn documents_arrays_pipes_and_globs_give_the_same_measurements_as_lines() {
    let folder = Folder::new("shapes");
    let lines: Vec<String> = sample_lines().into_iter().take(24).map(|(_, line)| line).collect();
    let values: Vec<serde_json::Value> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let text = crowd::text(&lines);
    folder.write("lines/all.jsonl", &text);
    folder.write("array/all.json", serde_json::to_string(&values).unwrap().as_bytes());
    for (n, value) in values.iter().enumerate() {
        let pretty = serde_json::to_string_pretty(value).unwrap();
        folder.write(&format!("pretty/{n:02}.json"), pretty.as_bytes());
    }
    let rows = |lake: &str| {
        folder
            .sql(lake, "SELECT measurement_uid, state, layer, mechanism FROM measurement_verdicts ORDER BY 1")
    };
    folder.okno(&["observe", "lines", "--lake", "l", "--quiet"]).good();
    let expected = rows("l");
    assert_eq!(expected.len(), 24);
    for (input, lake) in [("array", "a"), ("pretty", "p"), ("pretty/*.json", "g"), ("l[!x]nes/*.jsonl", "b")]
    {
        folder.okno(&["observe", input, "--lake", lake, "--quiet"]).good();
        assert_eq!(rows(lake), expected, "{input}");
    }
    for (packed, lake) in [(text.clone(), "s"), (gzip(&text), "z")] {
        let mut child = folder
            .command(&["observe", "-", "--lake", lake, "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&packed).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(rows(lake), expected, "standard input");
        assert_eq!(folder.count(lake, "SELECT count(*) FROM sources WHERE path LIKE '-#%'"), 1);
    }
}

#[test]
fn arguments_that_cannot_be_used_are_told_apart_by_exit_code_2_and_leave_no_lake() {
    let folder = Folder::new("arguments");
    for (args, word) in [
        (&["observe"][..], "nothing to observe"),
        (&["observe", "no-such-file.jsonl"], "does not exist"),
        (&["observe", "--lake", "none", "--rules", "ooni-v5"], "nothing to observe"),
        (&["observe", ".", "--rules", "no-such-rules"], "neither native, ooni-v5 nor a readable file"),
        (&["observe", ".", "--reference", "no-such-folder"], "okno reference import"),
        (&["observe", ".", "--threads", "many"], "--threads"),
        (&["observe", ".", "--no-such-option"], "--no-such-option"),
        (&["observe", "a[b.jsonl"], "pattern"),
        (&["no-such-command"], "no-such-command"),
        (&[], "okno observe samples"),
    ] {
        let run = folder.okno(args).ends(2);
        assert!(run.err.contains(word), "{args:?}: {word} is missing in {}", run.err);
        assert!(run.out.is_empty(), "{args:?}: {}", run.out);
    }
    assert!(!folder.path("okno-data/manifest.json").exists(), "nothing was made");
    let run = folder.okno(&["sql", "SELECT 1"]).ends(1);
    assert!(run.err.contains("there is no lake") && run.err.contains("okno observe"), "{}", run.err);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_opened_is_named_and_the_others_are_read() {
    let folder = Folder::new("unreadable");
    let line = sample_lines().swap_remove(0).1;
    fs::create_dir(folder.path("in")).unwrap();
    std::os::unix::fs::symlink("/no/such/file", folder.path("in/b.jsonl")).unwrap();
    folder.okno(&["observe", "in", "--quiet", "--lake", "none"]).ends(1);
    folder.write("in/a.jsonl", line.as_bytes());
    let run = folder.okno(&["observe", "in", "--quiet"]).good();
    assert!(run.err.contains("in/b.jsonl was not read"), "{}", run.err);
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM measurements"), 1);
}

/// Must end, within patience much shorter than that for large input.
fn ends_soon(folder: &Folder) -> bool {
    let mut child = folder.command(&["observe", "in", "--quiet"]).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..10_000 / STEP_MS {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        pause(STEP_MS);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[cfg(unix)]
#[test]
fn links_that_lead_in_circles_are_not_followed_for_ever() {
    let folder = Folder::new("links");
    folder.write("in/sub/a.jsonl", sample_lines().swap_remove(0).1.as_bytes());
    for link in ["in/one", "in/two", "in/sub/up"] {
        std::os::unix::fs::symlink(folder.path("in"), folder.path(link)).unwrap();
    }
    assert!(ends_soon(&folder), "the folders were followed in circles");
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM measurements"), 1);
}

#[cfg(unix)]
#[test]
fn a_named_pipe_in_a_folder_is_not_waited_for() {
    let folder = Folder::new("pipe");
    folder.write("in/a.jsonl", sample_lines().swap_remove(0).1.as_bytes());
    let made = Command::new("mkfifo").arg(folder.path("in/b.jsonl")).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo");
        return;
    }
    assert!(ends_soon(&folder), "{} was waited for", arg(&folder.path("in/b.jsonl")));
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM measurements"), 1);
}
