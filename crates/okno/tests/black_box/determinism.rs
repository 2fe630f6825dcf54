//! The same input gives the same bytes: again, elsewhere, and with any number of threads.

use crate::binary::{Folder, arg, assert_same, shared, workspace};

/// What is observed: the samples, and the archive's odd and overlapping files where they are present.
fn inputs() -> Vec<std::path::PathBuf> {
    let mut inputs = vec![workspace("samples")];
    inputs.extend(shared("ooni-raw/misc"));
    inputs.extend(shared("ooni-raw/s3"));
    inputs
}

#[test]
fn two_runs_write_the_same_lake_and_the_same_report_with_one_thread_or_four() {
    let inputs = inputs();
    let mut args = vec!["observe"];
    args.extend(inputs.iter().map(|path| arg(path)));
    let runs = ["1", "4", "4"].map(|threads| {
        let folder = Folder::new(&format!("same-{threads}-{}", args.len()));
        let mut args = args.clone();
        args.extend(["--quiet", "--json", "--threads", threads]);
        let facts = folder.okno(&args).good().out;
        // The command line is part of the report.
        let said = format!("--threads {threads}");
        assert!(facts.contains(&said));
        let report = folder.text("okno-report.html").replace(&said, "--threads N");
        (folder.lake("okno-data"), report, facts.replace(&said, "--threads N"))
    });
    for (lake, report, facts) in &runs[1..] {
        assert_same(lake, &runs[0].0, "the lake depends on the run");
        assert!(*report == runs[0].1, "the report depends on the run");
        assert!(*facts == runs[0].2, "the facts depend on the run");
    }
}

#[test]
fn observing_the_same_files_again_changes_nothing() {
    let folder = Folder::new("again");
    let samples = workspace("samples");
    folder.okno(&["observe", arg(&samples), "--quiet"]).good();
    let (lake, report) = (folder.lake("okno-data"), folder.text("okno-report.html"));
    folder.okno(&["observe", arg(&samples), "--quiet"]).good();
    assert_same(&folder.lake("okno-data"), &lake, "a second run changed the lake");
    assert!(folder.text("okno-report.html") == report);
}
