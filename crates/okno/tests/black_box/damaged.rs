//! Files that are cut short, corrupt, grown, doubled or overlapping: nothing twice, nothing lost.

use std::collections::BTreeMap;

use crate::binary::{Folder, assert_same, gzip};
use crate::crowd;

type Files = Vec<(&'static str, Vec<u8>)>;

/// These files, observed in a folder of their own.
fn fresh(name: &str, files: &Files) -> Folder {
    let folder = Folder::new(&format!("fresh-{name}"));
    files.iter().for_each(|(name, bytes)| drop(folder.write(&format!("in/{name}"), bytes)));
    folder.okno(&["observe", "in", "--quiet"]).good();
    folder
}

/// The rows of a lake, whatever their order.
fn rows(folder: &Folder) -> BTreeMap<String, Vec<u8>> {
    let tables = ["sources", "measurements", "observations", "controls", "rejects", "verdicts", "cells"];
    let dump = |table: &str| {
        let run = folder.okno(&["sql", "--format", "csv", &format!("SELECT * FROM {table}")]).good();
        let mut lines: Vec<&str> = run.out.lines().collect();
        lines.sort_unstable();
        (table.to_owned(), lines.join("\n").into_bytes())
    };
    tables.into_iter().map(dump).collect()
}

/// Observes `before`, then `after` in its place: the lake must be that of `after` alone, to the byte or at
/// least row by row.
fn replaced(name: &str, before: &Files, after: &Files, bytes: bool, between: impl FnOnce(&Folder)) {
    let folder = Folder::new(name);
    before.iter().for_each(|(name, bytes)| drop(folder.write(&format!("in/{name}"), bytes)));
    folder.okno(&["observe", "in", "--quiet"]).good();
    between(&folder);
    after.iter().for_each(|(name, bytes)| drop(folder.write(&format!("in/{name}"), bytes)));
    folder.okno(&["observe", "in", "--quiet"]).good();
    let fresh = fresh(name, after);
    if bytes {
        assert_same(&folder.lake("okno-data"), &fresh.lake("okno-data"), name);
    } else {
        assert_same(&rows(&folder), &rows(&fresh), name);
    }
}

/// Three files of several megabytes, each a segment of its own, and two small ones that share one.
fn three_large_and_two_small() -> Files {
    let all: Vec<String> = crowd::lines(12).collect();
    let large = all.len() / 4;
    let mut files: Files = Vec::new();
    for (number, name) in ["a.jsonl.gz", "b.jsonl.gz", "c.jsonl.gz"].into_iter().enumerate() {
        files.push((name, gzip(&crowd::text(&all[number * large..(number + 1) * large]))));
    }
    files.push(("d.jsonl.gz", gzip(&crowd::text(&all[3 * large..3 * large + 40]))));
    files.push(("e.jsonl", crowd::text(&all[3 * large + 40..3 * large + 80])));
    files
}

fn with(files: &Files, at: usize, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = files.clone();
    change(&mut files[at].1);
    files
}

#[test]
fn a_cut_gzip_keeps_what_came_before_the_break_and_the_whole_file_then_replaces_it() {
    cut(&[3], true);
    cut(&[0, 1], false);
}

#[test]
fn a_cut_gzip_that_is_not_the_last_gives_the_same_bytes_once_it_is_whole() {
    cut(&[0, 1], true);
}

/// Cuts the files at these places, then makes them whole.
fn cut(places: &[usize], bytes: bool) {
    let whole = three_large_and_two_small();
    for at in places {
        let cut = with(&whole, *at, |bytes| bytes.truncate(bytes.len() * 3 / 5));
        let name = whole[*at].0;
        replaced(&format!("cut-{at}-{bytes}"), &cut, &whole, bytes, |folder| {
            let source = format!("in/{name}");
            let kept = folder
                .count("okno-data", &format!("SELECT measurements FROM sources WHERE path = '{source}'"));
            assert!(kept > 10, "{kept} measurements of the cut file");
            let rejects = folder.sql(
                "okno-data",
                &format!("SELECT reason, part, line FROM rejects WHERE source = '{source}' AND reason = 'corrupt_stream'"),
            );
            assert_eq!(rejects.len(), 1, "{rejects:?}");
            let wrong = "SELECT count(*) FROM sources WHERE lines <> measurements + rejected";
            assert_eq!(folder.count("okno-data", wrong), 0);
        });
    }
}

#[test]
fn a_corrupt_middle_costs_no_line_before_it_and_no_other_file() {
    let mut files = three_large_and_two_small();
    let folder = Folder::new("corrupt");
    let at = files[1].1.len() / 2;
    files[1].1[at..at + 64].fill(0xff);
    files.iter().for_each(|(name, bytes)| drop(folder.write(&format!("in/{name}"), bytes)));
    let facts = folder.okno(&["observe", "in", "--quiet", "--json"]).good().json();
    let reasons: Vec<&str> = facts["quality"]["rejects"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["example_source"] == "in/b.jsonl.gz")
        .map(|row| row["reason"].as_str().unwrap())
        .collect();
    assert!(reasons.contains(&"corrupt_stream"), "{reasons:?}");
    let by_file = folder.sql("okno-data", "SELECT path, lines, measurements FROM sources ORDER BY path");
    let lines: Vec<u64> = by_file.iter().map(|row| row["measurements"].as_u64().unwrap()).collect();
    assert_eq!(lines[0], lines[2]);
    assert!(lines[1] > lines[0] / 4 && lines[1] < lines[0], "{lines:?}");
    assert_eq!((lines[3], lines[4]), (40, 40));
}

#[test]
fn a_file_that_grew_gives_the_lake_of_the_grown_file() {
    grown(&[3, 4], true);
    grown(&[0, 2], false);
}

#[test]
fn a_file_that_grew_and_is_not_the_last_gives_the_same_bytes() {
    grown(&[0, 2], true);
}

/// Lets the files at these places grow after they were observed.
fn grown(places: &[usize], bytes: bool) {
    let whole = three_large_and_two_small();
    let more: Vec<String> = crowd::lines(13).skip(12 * 690).collect();
    assert!(more.len() > 300);
    for at in places {
        let grown = with(&whole, *at, |bytes| {
            let text = crowd::text(&more[..200]);
            bytes.extend(if *at == 4 { text } else { gzip(&text) });
        });
        replaced(&format!("grown-{at}-{bytes}"), &whole, &grown, bytes, |_| {});
    }
}

#[test]
fn a_file_that_was_caught_in_the_middle_of_a_line_gives_the_lake_of_the_whole_one() {
    let whole = three_large_and_two_small();
    let caught = with(&whole, 4, |bytes| bytes.truncate(bytes.len() - 700));
    replaced("grown-line", &caught, &whole, true, |_| {});
}

#[test]
fn a_copy_under_another_name_is_counted_once_and_said() {
    let mut files = three_large_and_two_small();
    files.truncate(2);
    files[1].1 = files[0].1.clone();
    let folder = Folder::new("copy");
    files.iter().for_each(|(name, bytes)| drop(folder.write(&format!("in/{name}"), bytes)));
    let run = folder.okno(&["observe", "in"]).good();
    assert!(run.err.contains("in/b.jsonl.gz has the content of in/a.jsonl.gz"), "{}", run.err);
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM sources"), 1);
    files.pop();
    assert_same(
        &folder.lake("okno-data"),
        &fresh("copy", &files).lake("okno-data"),
        "a copy changed the lake",
    );
    // Nor does the same file given twice, or by another spelling of its path.
    let twice = Folder::new("twice");
    files.iter().for_each(|(name, bytes)| drop(twice.write(&format!("in/{name}"), bytes)));
    twice.okno(&["observe", "in/a.jsonl.gz", "in", "./in/a.jsonl.gz", "in/*.gz", "--quiet"]).good();
    assert_same(&twice.lake("okno-data"), &folder.lake("okno-data"), "the same file was counted twice");
}

#[test]
fn measurements_in_two_overlapping_files_are_counted_once_and_every_line_is_accounted_for() {
    let all: Vec<String> = crowd::lines(4).collect();
    let folder = Folder::new("overlap");
    folder.write("in/l.jsonl.gz", &gzip(&crowd::text(&all[..1_800])));
    folder.write("in/x.jsonl.gz", &gzip(&crowd::text(&all[1_000..])));
    let facts = folder.okno(&["observe", "in", "--quiet", "--json"]).good().json();
    let number = |name: &str| facts["quality"][name].as_u64().unwrap();
    assert_eq!(number("lines"), all.len() as u64 + 800);
    assert_eq!((number("measurements"), number("duplicates")), (all.len() as u64, 800));
    assert_eq!(number("rejected"), 800);
    let rows = |query: &str| folder.count("okno-data", query);
    assert_eq!(rows("SELECT count(DISTINCT measurement_uid) FROM measurements"), all.len() as u64);
    assert_eq!(
        rows(
            "SELECT count(*) FROM rejects WHERE reason = 'duplicate_measurement' AND source = 'in/x.jsonl.gz'"
        ),
        800
    );
    // The second file a day later gives the same measurements.
    let later = Folder::new("overlap-later");
    later.write("in/l.jsonl.gz", &gzip(&crowd::text(&all[..1_800])));
    later.okno(&["observe", "in", "--quiet"]).good();
    later.write("in/x.jsonl.gz", &gzip(&crowd::text(&all[1_000..])));
    later.okno(&["observe", "in", "--quiet"]).good();
    assert_same(&later.lake("okno-data"), &folder.lake("okno-data"), "one after the other");
}
