//! The sisters of `observe`: help, tables, rules, reference data, SQL; and judging again without the raw
//! files.

use std::collections::BTreeSet;
use std::fs;

use crate::binary::{Folder, arg, assert_same, gzip, sample_lines, workspace};
use crate::crowd;

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.split("Commands:").nth(1).unwrap_or_default();
    let lines = listed.lines().skip(1).take_while(|line| line.starts_with("  "));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .filter(|c| c != "help")
        .collect()
}

#[test]
fn the_help_of_every_command_has_an_example_of_it() {
    let folder = Folder::new("help");
    let top = folder.okno(&["--help"]).good().out;
    assert!(top.contains("okno observe samples"), "{top}");
    let names = commands(&top);
    assert!(["observe", "sql", "tables", "rules", "reference"].iter().all(|c| names.iter().any(|n| n == c)));
    let mut pending: Vec<Vec<String>> = names.into_iter().map(|name| vec![name]).collect();
    while let Some(path) = pending.pop() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        let example = format!("  okno {}", args.join(" "));
        args.push("--help");
        let help = folder.okno(&args).good().out;
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        assert!(examples.contains(&example), "okno {} has no example of it:\n{help}", args.join(" "));
        pending.extend(commands(&help).into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
    let version = folder.okno(&["--version"]).good().out;
    assert_eq!(version.trim(), format!("okno {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn tables_in_json_are_the_columns_of_the_lake_and_of_the_documentation() {
    let folder = Folder::new("tables");
    folder.write("one.jsonl", sample_lines()[0].1.as_bytes());
    folder.okno(&["observe", "one.jsonl", "--quiet"]).good();
    let tables = folder.okno(&["tables", "--json"]).good().json();
    let markdown = folder.okno(&["tables", "--markdown"]).good().out;
    let plain = folder.okno(&["tables"]).good().out;
    let named: BTreeSet<&str> =
        tables.as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    for name in [
        "sources",
        "measurements",
        "observations",
        "controls",
        "rejects",
        "verdicts",
        "cells",
        "flows",
        "truth",
        "outcomes",
    ] {
        assert!(named.contains(name), "{name} is not among {named:?}");
    }
    for table in tables.as_array().unwrap() {
        let name = table["name"].as_str().unwrap();
        assert!(markdown.contains(&format!("\n## {name}\n")) && plain.contains(&format!("{name}: ")));
        let query = format!("SELECT * FROM {name} LIMIT 1");
        let csv = folder.okno(&["sql", "--format", "csv", &query]).good().out;
        let mut header = csv.lines().next().unwrap().split(',');
        for column in table["columns"].as_array().unwrap() {
            let (column, doc) = (column["name"].as_str().unwrap(), column["doc"].as_str().unwrap());
            assert_eq!(header.next(), Some(column), "{name}");
            assert!(!doc.is_empty() && markdown.contains(doc) && plain.contains(doc), "{name}.{column}");
        }
        // What the lake adds to a table is the month by which it lies in folders.
        assert!(header.all(|added| added == "month"), "{name}");
        let one = folder.okno(&["tables", name]).good().out;
        assert!(one.starts_with(&format!("{name}: ")) && plain.contains(one.trim_end()));
    }
    assert!(markdown.contains("measurement_verdicts") && plain.contains("measurement_verdicts"));
    let docs = workspace("docs").join("tables.md");
    if docs.exists() {
        assert!(
            fs::read_to_string(docs).unwrap() == markdown,
            "docs/tables.md is not okno tables --markdown"
        );
    }
    let run = folder.okno(&["tables", "verdict"]).ends(2);
    assert!(run.err.contains("verdicts"), "{}", run.err);
}

#[test]
fn rules_are_listed_with_meaning_and_source_and_the_verdicts_name_only_these() {
    let folder = Folder::new("rules");
    let samples = workspace("samples");
    folder.okno(&["observe", arg(&samples), "--quiet"]).good();
    for ruleset in ["native", "ooni-v5"] {
        let rules = folder.okno(&["rules", "--rules", ruleset, "--json"]).good().json();
        let stamp = rules["ruleset"].as_str().unwrap();
        assert!(stamp.starts_with(&format!("{ruleset}@")), "{stamp}");
        let plain = folder.okno(&["rules", "--rules", ruleset]).good().out;
        let mut ids = BTreeSet::new();
        for rule in rules["rules"].as_array().unwrap() {
            let id = rule["id"].as_str().unwrap();
            assert!(ids.insert(id) && plain.contains(id), "{id}");
            assert!(
                rule["doc"].as_str().unwrap().len() > 8 && rule["source"].as_str().unwrap().len() > 3,
                "{id}"
            );
        }
        folder.okno(&["observe", "--rules", ruleset, "--quiet"]).good();
        let used = folder.sql("okno-data", "SELECT DISTINCT rule, ruleset FROM verdicts");
        assert!(!used.is_empty());
        for row in &used {
            assert_eq!(row["ruleset"], stamp);
            assert!(ids.contains(row["rule"].as_str().unwrap()), "{row} is not among the rules");
        }
    }
}

#[test]
fn a_lake_is_judged_again_by_other_rules_without_the_raw_files_and_back_to_the_same_bytes() {
    let folder = Folder::new("rejudge");
    let lines: Vec<String> = crowd::lines(1).collect();
    folder.write("in/a.jsonl.gz", &gzip(&crowd::text(&lines)));
    folder.okno(&["observe", "in", "--quiet"]).good();
    let native = folder.lake("okno-data");
    fs::remove_dir_all(folder.path("in")).unwrap();
    let run = folder.okno(&["observe", "--rules", "ooni-v5", "--quiet"]).good();
    assert!(run.out.contains("Rules ooni-v5@"), "{}", run.out);
    let judged = "SELECT count(DISTINCT measurement_uid) FROM verdicts WHERE ruleset LIKE 'ooni-v5@%'";
    assert!(folder.count("okno-data", judged) > 400);
    assert_eq!(folder.count("okno-data", "SELECT count(*) FROM verdicts WHERE ruleset LIKE 'native@%'"), 0);
    for (name, bytes) in folder.lake("okno-data") {
        let is_fact = !name.starts_with("verdicts") && !name.starts_with("cells") && name != "manifest.json";
        assert!(!is_fact || native[&name] == bytes, "{name}: judging changed a fact");
    }
    folder.okno(&["observe", "--quiet"]).good();
    assert_same(&folder.lake("okno-data"), &native, "judged back");
}

#[test]
fn sql_prints_tables_csv_and_json_and_explains_what_it_cannot_answer() {
    let folder = Folder::new("sql");
    let samples = workspace("samples");
    folder.okno(&["observe", arg(&samples), "--quiet"]).good();
    let query = "SELECT state, count(*) AS n FROM measurement_verdicts GROUP BY state ORDER BY n DESC";
    let json = folder.okno(&["sql", "--format", "json", query]).good().json();
    let csv = folder.okno(&["sql", "--format", "csv", query]).good().out;
    let table = folder.okno(&["sql", query]).good().out;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["state", "n"]);
    let rows = json.as_array().unwrap();
    assert!(rows.len() >= 4);
    for (row, record) in rows.iter().zip(reader.records()) {
        let record = record.unwrap();
        assert_eq!((row["state"].as_str(), row["n"].to_string().as_str()), (record.get(0), &record[1]));
        assert!(table.contains(&record[0]) && table.contains(&record[1]), "{table}");
    }
    for (query, words) in [
        ("SELECT * FROM verdict", &["verdict", "verdicts", "measurement_verdicts", "rejects"][..]),
        ("SELECT stat FROM verdicts", &["stat", "state", "mechanism"]),
        ("SELECT FROM WHERE", &["line 1"]),
        ("DROP TABLE verdicts", &["only reads"]),
        ("COPY verdicts TO 'x.csv'", &["only reads"]),
        ("SELECT * FROM '/etc/passwd'", &["there is no table"]),
    ] {
        let run = folder.okno(&["sql", query]).ends(1);
        for word in words {
            assert!(run.err.contains(word), "{query}: {word} is missing in {}", run.err);
        }
        assert!(run.out.is_empty() && !run.err.contains("panicked"));
    }
    assert!(!folder.path("x.csv").exists());
}

/// A tar of these files: POSIX ustar headers and blocks of 512 bytes.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, text) in files {
        let mut header = [0; 512];
        let mut put = |at: usize, field: &str| header[at..at + field.len()].copy_from_slice(field.as_bytes());
        put(0, name);
        put(100, "0000644\0");
        put(124, &format!("{:011o}\0", text.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn reference_data_is_imported_listed_and_named_in_every_verdict() {
    let folder = Folder::new("reference");
    let package = tar(&[
        ("package/package.json", "{\"name\":\"@ip-location-db/asn\",\"version\":\"2.3.2025060100\"}"),
        ("package/asn-ipv4.csv", "198.51.100.0,198.51.100.255,64500,\"Example Net, Inc.\"\n"),
        ("package/asn-ipv6.csv", "2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,64501,Example Six\n"),
    ]);
    folder.write("asn.tgz", &gzip(&package));
    folder.write(
        "lists/ru.csv",
        b"url,category_code,category_description,date_added,source,notes\nhttps://rutracker.org/,FILE,File-sharing,2025-01-01,us,\n",
    );
    folder.write(
        "fingerprints_http.csv",
        b"name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries\n\
          test.page,isp,,body,contains,this very line is on no page of the samples,5,RU\n",
    );
    let empty = folder.okno(&["reference", "list"]).ends(2);
    assert!(empty.err.contains("okno reference import"), "{}", empty.err);
    let imported = folder
        .okno(&["reference", "import", "asn.tgz", "lists", "fingerprints_http.csv", "--json"])
        .good()
        .json();
    let listed = folder.okno(&["reference", "list", "--json"]).good().json();
    assert_eq!(imported, listed);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    for part in ["asn", "ru", "http"] {
        assert!(names.iter().any(|name| name.contains(part)), "{part} is missing among {names:?}");
    }
    assert!(folder.okno(&["reference", "list"]).good().out.contains("2025-06-01"));
    // Again, from the same files: the same bytes.
    let before = folder.lake("okno-reference");
    folder.okno(&["reference", "import", "asn.tgz", "lists", "fingerprints_http.csv"]).good();
    assert_same(&folder.lake("okno-reference"), &before, "imported again");
    let samples = workspace("samples");
    let facts = folder.okno(&["observe", arg(&samples), "--quiet", "--json"]).good().json();
    let stamps = folder.sql("okno-data", "SELECT DISTINCT reference FROM verdicts");
    assert_eq!(stamps.len(), 1, "{stamps:?}");
    let stamp = stamps[0]["reference"].as_str().unwrap();
    assert!(stamp.contains("asn@2025-06-01"), "{stamp}");
    assert_eq!(facts["versions"]["reference"], stamp);
    assert_eq!(facts["versions"]["reference_tables"].as_array().unwrap().len(), names.len());
    let rutracker = facts["targets"].as_array().unwrap().iter().find(|t| t["target"] == "rutracker.org");
    assert_eq!(rutracker.unwrap()["category"], "FILE");
    // What is no reference data is refused, and the tables that were there stay.
    folder.write("other.csv", b"a,b\n1,2\n");
    let run = folder.okno(&["reference", "import", "other.csv"]).ends(1);
    assert!(run.err.contains("nothing was imported"), "{}", run.err);
    assert_same(&folder.lake("okno-reference"), &before, "a failed import");
}
