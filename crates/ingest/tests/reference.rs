//! Reference data end to end: packages in, directory out, the same answers from both; and the real
//! tables where they are present.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use okno_ingest::reference::{Reference, ReferenceError, TableKind, import};
use okno_model::{Asn, Timestamp};

/// A directory of one test, emptied before use and removed after.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("okno-reference-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn package(version: &str, owner: &str) -> Vec<u8> {
    let rows = format!("1.0.0.0,1.0.0.255,13335,\"{owner}, Inc.\"\nbroken\n");
    gzip(&tar(&[
        ("package/package.json", &format!("{{\"name\":\"asn\",\"version\":\"2.3.{version}\"}}")),
        ("package/asn-ipv4.csv", &rows),
        ("package/asn-ipv6.csv", "2606:4700::,2606:4700:ffff:ffff:ffff:ffff:ffff:ffff,13335,Cloud\n"),
        ("package/README.md", "readme"),
    ]))
}

const PAGES: &str = "name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries\n\
    x.page,isp,,body,contains,access to this site is restricted,5,\"RU, BY\"\n";
const LIST_2015: &str = "url,category_code,category_description\nhttp://example.org/,HATE,Hate\n";
const LIST_2026: &str = "url,category_code,category_description\nhttp://example.org/,NEWS,News\n";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn raw_folder(scratch: &Scratch) -> PathBuf {
    scratch.write("raw/asn-2.3.2025040218.tgz", &package("2025040218", "Old"));
    scratch.write("raw/other-name.tgz", &package("2026061719", "New"));
    scratch.write("raw/fingerprints_http.csv", PAGES.as_bytes());
    scratch.write("raw/asn-country-ipv4-2026061719.csv.gz", &gzip(b"1.0.0.0,1.0.0.255,AU\n"));
    let versions =
        tar(&[("ru/2026-01-02T114003_a9.txt", LIST_2026), ("ru/2015-03-09T181947_16.txt", LIST_2015)]);
    scratch.write("raw/lists/ru.versions.tar.zst", &zstd::bulk::compress(&versions, 3).unwrap());
    scratch.write("raw/unrelated.json", b"{\"a\":1}");
    scratch.write("raw/damaged.csv.gz", &gzip(b"1.0.0.0,1.0.0.255,AU\n")[..12]);
    scratch.path("raw")
}

fn check(reference: &Reference) {
    let network = |day| reference.networks.lookup("1.0.0.7".parse().unwrap(), at(day)).unwrap();
    assert_eq!(network("2025-05-01").org.as_deref(), Some("Old, Inc."));
    assert_eq!(network("2026-07-01").org.as_deref(), Some("New, Inc."));
    assert_eq!(network("2020-01-01").country.map(|c| c.to_string()).as_deref(), Some("AU"));
    assert_eq!(reference.networks.org_of(Asn(13335), at("2025-05-01")), Some("Old, Inc."));
    let mut hits = Vec::new();
    reference.fingerprints.match_body(b"<p>access to this site is restricted</p>", &mut hits);
    assert_eq!(reference.fingerprints.info(hits[0]).id, "x.page");
    assert_eq!(reference.test_lists.category("example.org"), Some("NEWS"));
    let text = reference.stamp().text;
    assert!(text.starts_with("asn@2025-04-02+2026-06-17 country@2026-06-17 fingerprints@"), "{text}");
    assert!(text.contains(" testlists@"), "{text}");
    let asn: Vec<_> = reference.tables().iter().filter(|t| t.kind == TableKind::Asn).collect();
    assert_eq!((asn.len(), asn[0].name.as_str(), asn[0].rows, asn[0].skipped), (4, "asn-ipv4", 1, 1));
    let list = reference.tables().iter().find(|t| t.kind == TableKind::TestList).unwrap();
    assert_eq!((list.name.as_str(), list.version.as_str()), ("citizenlab-ru", "2026-01-02"));
    assert_eq!(reference.missing().len(), 1, "only the fingerprints of DNS are missing");
}

#[test]
fn packages_archives_and_plain_files_answer_alike_raw_and_imported() {
    let scratch = Scratch::new("alike");
    let raw = raw_folder(&scratch);
    let direct = Reference::load(&raw).unwrap();
    check(&direct);
    let entries = import(std::slice::from_ref(&raw), &scratch.path("imported")).unwrap();
    let imported = Reference::load(&scratch.path("imported")).unwrap();
    check(&imported);
    assert_eq!(imported.tables(), direct.tables());
    assert_eq!(entries, direct.tables());
    assert_eq!(imported.stamp(), direct.stamp());
}

#[test]
fn an_import_is_the_same_bytes_again_and_in_pieces() {
    let scratch = Scratch::new("bytes");
    let raw = raw_folder(&scratch);
    for into in ["one", "two"] {
        import(std::slice::from_ref(&raw), &scratch.path(into)).unwrap();
    }
    import(std::slice::from_ref(&raw), &scratch.path("two")).unwrap();
    assert_eq!(files(&scratch.path("one")), files(&scratch.path("two")));
    let pieces = ["lists", "fingerprints_http.csv", "other-name.tgz", "asn-2.3.2025040218.tgz"];
    for name in pieces.into_iter().chain(["asn-country-ipv4-2026061719.csv.gz"]) {
        import(&[raw.join(name)], &scratch.path("pieces")).unwrap();
    }
    assert_eq!(files(&scratch.path("one")), files(&scratch.path("pieces")));
}

#[test]
fn an_interrupted_import_leaves_the_old_tables_and_the_next_one_cleans_up() {
    let scratch = Scratch::new("interrupted");
    let raw = raw_folder(&scratch);
    let into = scratch.path("imported");
    import(std::slice::from_ref(&raw), &into).unwrap();
    let before = files(&into);
    scratch.write("imported/table.tmp", b"half a table");
    scratch.write("imported/0123456789abcdef.okref", b"a table without its manifest");
    check(&Reference::load(&into).unwrap());
    import(&[raw], &into).unwrap();
    assert_eq!(files(&into), before);
}

#[test]
fn a_damaged_import_is_refused_and_names_the_file() {
    let scratch = Scratch::new("damaged");
    let into = scratch.path("imported");
    import(&[raw_folder(&scratch)], &into).unwrap();
    for (name, bytes) in files(&into) {
        let mut changed = bytes.clone();
        changed.truncate(bytes.len() / 2);
        fs::write(into.join(&name), changed).unwrap();
        let error = Reference::load(&into).unwrap_err();
        assert!(error.to_string().contains(&name), "{error}");
        assert!(matches!(error, ReferenceError::Damaged { .. }));
        fs::write(into.join(&name), bytes).unwrap();
    }
    check(&Reference::load(&into).unwrap());
}

#[test]
fn a_list_without_date_is_older_than_any_with_one() {
    let scratch = Scratch::new("undated");
    scratch.write("raw/zz.csv", b"url,category_code\nhttp://example.org/,UNDATED\n");
    scratch.write("raw/aa-20150101.csv", b"url,category_code\nhttp://example.org/,DATED\n");
    let reference = Reference::load(&scratch.path("raw")).unwrap();
    assert_eq!(reference.tables().len(), 2);
    assert_eq!(reference.test_lists.category("example.org"), Some("DATED"));
}

#[test]
fn nothing_recognised_and_nothing_there_are_told_apart() {
    let scratch = Scratch::new("nothing");
    scratch.write("raw/notes.txt", b"nothing here");
    let error = Reference::load(&scratch.path("raw")).unwrap_err();
    assert!(matches!(error, ReferenceError::NothingRecognised { .. }), "{error}");
    let error = Reference::load(&scratch.path("absent")).unwrap_err();
    assert!(matches!(error, ReferenceError::Io { .. }), "{error}");
    assert!(import(&[scratch.path("absent")], &scratch.path("into")).is_err());
    assert!(!scratch.path("into").exists());
}

#[test]
fn without_tables_everything_answers_nothing_and_says_what_is_missing() {
    let reference = Reference::empty();
    assert_eq!(reference.stamp().text, "none");
    assert_eq!(reference.missing().len(), 5);
    assert_eq!(reference.networks.lookup("8.8.8.8".parse().unwrap(), at("2025-01-01")), None);
    assert_eq!(reference.test_lists.category("example.org"), None);
    let mut hits = Vec::new();
    reference.fingerprints.match_body(b"<html>Access Denied", &mut hits);
    assert!(hits.is_empty());
}

#[test]
fn damaged_tables_of_every_kind_never_panic() {
    let prefixes = "{\"countryCode\":\"RU\",\"prefixes\":{\"ipv4\":[\"1.0.0.0/33\",\"::/0\",\"x\"]}}";
    let ranges = "0.0.0.0,255.255.255.255,4294967295,x\n::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,1,y\n";
    for seed in [
        PAGES,
        LIST_2026,
        "a|RU|ipv4|1.0.0.0|0|x|allocated",
        prefixes,
        "{\"fingerprint\":\"b_nat_é\",\"pattern\":\"(a{9999}){9999}\"}",
        ranges,
    ] {
        for cut in 0..=seed.len() {
            okno_ingest::reference::fuzz_tables(&seed.as_bytes()[..cut]);
            let mut changed = seed.as_bytes().to_vec();
            changed[cut.min(seed.len() - 1)] ^= 0x5b;
            okno_ingest::reference::fuzz_tables(&changed);
        }
    }
}

/// The shared real data, where it is present.
fn shared() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

#[test]
fn the_real_tables_are_read_whole_and_imported_alike() {
    let Some(shared) = shared() else { return };
    let scratch = Scratch::new("real");
    let into = scratch.path("imported");
    let paths = ["ip-tables", "fingerprints", "ru-lists"].map(|name| shared.join(name));
    let entries = import(&paths, &into).unwrap();
    let rows = |name: &str, version: &str| {
        entries.iter().find(|e| e.name == name && e.version == version).map(|e| (e.rows, e.skipped))
    };
    assert_eq!(rows("asn-ipv4", "2025-04-02"), Some((381_889, 0)));
    assert_eq!(rows("asn-ipv6", "2026-06-17"), Some((103_197, 0)));
    assert_eq!(rows("geo-whois-asn-country-ipv4", "2026-06-17"), Some((334_373, 0)));
    let fingerprints = |name: &str| entries.iter().find(|e| e.name == name).map(|e| (e.rows, e.skipped));
    assert_eq!(fingerprints("ooni-http"), Some((1_729, 0)));
    assert_eq!(fingerprints("ooni-dns"), Some((226, 0)));
    let reference = Reference::load(&into).unwrap();
    let yandex = reference.networks.lookup("77.88.55.60".parse().unwrap(), at("2025-05-01")).unwrap();
    assert_eq!((yandex.asn, yandex.country.map(|c| c.to_string()).as_deref()), (Asn(13238), Some("RU")));
    let google = reference.networks.lookup("2001:4860:4860::8888".parse().unwrap(), at("2021-01-01"));
    assert_eq!(google.unwrap().asn, Asn(15169));
    assert!(reference.networks.size_bytes() < 60 << 20, "{}", reference.networks.size_bytes());
    assert!(reference.missing().is_empty());
}

/// A row of OONI's HTTP table: name, place, pattern type, pattern.
fn ooni_rows(table: &Path) -> Vec<[String; 4]> {
    let mut reader = csv::Reader::from_path(table).unwrap();
    let rows = reader.records().map(|row| row.unwrap());
    rows.map(|row| [0, 3, 4, 5].map(|column| row[column].to_owned())).collect()
}

/// What each row's documented meaning gives for a body, one row after the other.
fn naive(rows: &[[String; 4]], body: &[u8]) -> Vec<String> {
    let is_match = |kind: &str, pattern: &str| match kind {
        "full" => body == pattern.as_bytes(),
        "prefix" => body.starts_with(pattern.as_bytes()),
        "contains" => memchr::memmem::find(body, pattern.as_bytes()).is_some(),
        // `{"msg":` is itself in Python and RE2.
        _ => {
            regex::bytes::Regex::new(&format!("(?s){}", pattern.replace('{', "\\{"))).unwrap().is_match(body)
        }
    };
    let rows = rows.iter().filter(|row| row[1] == "body");
    let mut names: Vec<String> =
        rows.filter(|row| is_match(&row[2], &row[3])).map(|row| row[0].clone()).collect();
    names.sort();
    names
}

fn hits(reference: &Reference, body: &[u8]) -> Vec<String> {
    let mut hits = Vec::new();
    reference.fingerprints.match_body(body, &mut hits);
    let mut names: Vec<String> =
        hits.iter().map(|hit| reference.fingerprints.info(*hit).id.clone()).collect();
    names.sort();
    names
}

#[test]
fn real_bodies_match_the_same_fingerprints_as_a_search_for_each() {
    let Some(shared) = shared() else { return };
    let table = shared.join("fingerprints/ooni-fingerprints_http.csv");
    let reference = Reference::load(&table).unwrap();
    let rows = ooni_rows(&table);
    let file =
        fs::File::open(shared.join("ooni-raw/s3/2021081715_US_webconnectivity.n0.0.jsonl.gz")).unwrap();
    let lines = std::io::BufReader::new(flate2::read::MultiGzDecoder::new(file));
    let mut compared = 0;
    for line in std::io::BufRead::lines(lines).map_while(Result::ok).take(12) {
        let measurement: serde_json::Value = serde_json::from_str(&line).unwrap();
        let requests = measurement["test_keys"]["requests"].as_array();
        for body in requests.into_iter().flatten().filter_map(|r| r["response"]["body"].as_str()) {
            assert_eq!(hits(&reference, body.as_bytes()), naive(&rows, body.as_bytes()));
            compared += 1;
        }
    }
    assert!(compared > 5);
}

#[test]
fn every_real_fingerprint_is_found_at_every_alignment_and_nothing_else_is() {
    let Some(shared) = shared() else { return };
    let table = shared.join("fingerprints/ooni-fingerprints_http.csv");
    let reference = Reference::load(&table).unwrap();
    let rows = ooni_rows(&table);
    for (number, row) in rows.iter().filter(|row| row[1] == "body" && row[2] == "contains").enumerate() {
        for before in 0..9 {
            let body = [&vec![b'~'; before][..], row[3].as_bytes(), &b"~~~~"[..number % 5]].concat();
            let found = hits(&reference, &body);
            assert!(found.contains(&row[0]), "{} after {before}", row[0]);
            if before == number % 9 {
                assert_eq!(found, naive(&rows, &body), "{}", row[0]);
            }
        }
    }
}
