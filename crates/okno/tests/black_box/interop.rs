//! Other people's readers over a lake that the binary made. (The store's own test compares column by column.)

use std::process::Command;

use crate::binary::{Folder, arg, workspace};

#[test]
fn duckdb_counts_the_states_as_okno_does() {
    let imports = Command::new("python3").args(["-c", "import duckdb"]).output();
    if !imports.is_ok_and(|output| output.status.success()) {
        println!("skipped: no python3 with duckdb");
        return;
    }
    let folder = Folder::new("interop");
    let samples = workspace("samples");
    folder.okno(&["observe", arg(&samples), "--quiet"]).good();
    let query =
        "SELECT state, layer, count(*) AS n FROM verdicts GROUP BY state, layer ORDER BY state, layer";
    let script = "import sys, csv, duckdb\n\
        duckdb.sql(\"CREATE VIEW verdicts AS FROM read_parquet('okno-data/verdicts/*/*.parquet')\")\n\
        answer = duckdb.sql(sys.argv[1])\n\
        out = csv.writer(sys.stdout, lineterminator='\\n')\n\
        out.writerow(answer.columns)\n\
        out.writerows(answer.fetchall())\n";
    let output =
        Command::new("python3").args(["-c", script, query]).current_dir(folder.path(".")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours = folder.okno(&["sql", "--format", "csv", query]).good().out.replace("\r\n", "\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ours);
    assert!(ours.lines().count() > 5);
}
