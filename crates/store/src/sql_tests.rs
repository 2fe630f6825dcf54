//! Questions and their answers: `tests/sql/NAME.sql` and `NAME.txt`; `UPDATE_EXPECT=1` rewrites the latter.

use std::path::{Path, PathBuf};
use std::process::Command;

use okno_model::{
    Asn, Cell, Control, Country, Layer, Measurement, Observation, Reject, Source, State, Table, Timestamp,
    Verdict,
};

use crate::manifest::{FileEntry, VerdictEntry};
use crate::parquet_file::TableWriter;
use crate::rows::Columns;
use crate::segment::entry;
use crate::{BatchBuilder, Format, Lake, Month, SegmentWriter, Session, SourceId, StoreError};

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A lake of twelve measurements in two months, with verdicts written by hand.
fn lake(name: &str) -> Dir {
    let dir = Dir(std::env::temp_dir().join(format!("okno-store-sql {name}-{}", std::process::id())));
    std::fs::remove_dir_all(&dir.0).ok();
    let mut lake = Lake::open(&dir.0).unwrap();
    let source = SourceId { path: "a.jsonl.gz".into(), hash: "0a".into(), size_bytes: 1000 };
    let plan = lake.plan(&[source], "").unwrap();
    lake.begin(&plan).unwrap();
    let mut writer = SegmentWriter::create(&lake, &plan.segments[0]).unwrap();
    let mut batch = BatchBuilder::new();
    for n in 0..12 {
        let m = measurement(n);
        let control = Control {
            measurement_uid: m.measurement_uid.clone(),
            kind: "dns".into(),
            start_utc: m.start_utc,
            ..Control::default()
        };
        batch.push(&m, &[observation(&m, 0), observation(&m, 1)], &[control], &[]);
    }
    batch.push_reject(&Reject {
        source: "a.jsonl.gz".into(),
        line: 13,
        byte_offset: 999,
        part: "line".into(),
        ..Reject::default()
    });
    writer.append(batch.finish()).unwrap();
    let counts = Source {
        path: "a.jsonl.gz".into(),
        hash: "0a".into(),
        size_bytes: 1000,
        text_bytes: 9000,
        lines: 13,
        measurements: 12,
        rejected: 1,
        rejects: 1,
    };
    lake.commit(writer.finish(vec![counts]).unwrap()).unwrap();
    let verdicts: Vec<Verdict<'_>> = (0..12).flat_map(verdicts).collect();
    for month in lake.manifest().months() {
        let of_month: Vec<_> = verdicts.iter().filter(|v| Month::of(v.start_utc) == month).collect();
        let cell = Cell {
            target: "blocked.example".into(),
            hour_utc: month.bounds().unwrap().0,
            state: "silent".into(),
            ..Cell::default()
        };
        let files = vec![put(&lake, month, &[&cell]), put(&lake, month, &of_month)];
        let entry = VerdictEntry { month: month.to_string(), key: "k".into(), files };
        lake.manifest_mut().verdicts.push(entry);
    }
    lake.save().unwrap();
    dir
}

fn put<'a, T: Table<'a>>(lake: &Lake, month: Month, rows: &[&T]) -> FileEntry {
    let entry = entry(T::NAME, Some(month), "k.parquet");
    let path = lake.dir().join(entry.path());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut columns = Columns::new::<T>();
    rows.iter().for_each(|row| columns.push(*row));
    let mut writer = TableWriter::create(lake.disk(), &path, &T::doc()).unwrap();
    writer.write(&columns.finish()).unwrap();
    let (rows, bytes) = writer.finish().unwrap();
    FileEntry { rows, bytes, ..entry }
}

fn measurement(n: u32) -> Measurement<'static> {
    let day = if n < 8 {
        format!("2025-07-{:02} 10:00:00", n + 20)
    } else {
        format!("2025-08-{:02} 23:59:59.5", n)
    };
    Measurement {
        measurement_uid: format!("uid-{n:02}").into(),
        source: "a.jsonl.gz".into(),
        line: u64::from(n) + 1,
        size_bytes: 700,
        test_name: if n % 3 == 0 { "telegram".into() } else { "web_connectivity".into() },
        start_utc: Timestamp::parse(&day).unwrap(),
        country: Country::parse(if n % 4 == 0 { "BY" } else { "RU" }).unwrap(),
        network: Asn([12389, 8402, 31133][n as usize % 3]),
        input: (n % 2 == 0).then(|| "https://blocked.example/".into()),
        target: if n % 2 == 0 { "blocked.example".into() } else { "пример, \"ещё\"".into() },
        control: "ok".into(),
        observations: 2,
        ..Measurement::default()
    }
}

fn observation(m: &Measurement<'_>, number: u32) -> Observation<'static> {
    Observation {
        measurement_uid: m.measurement_uid.to_string().into(),
        observation: number,
        test_name: m.test_name.to_string().into(),
        country: m.country,
        network: m.network,
        start_utc: m.start_utc,
        hostname: Some("blocked.example".into()),
        tcp_us: Some(i64::from(number) * 1500),
        http_title: Some("a\u{1b}[31mtitle\nof two lines".into()),
        ..Observation::default()
    }
}

fn verdicts(n: u32) -> Vec<Verdict<'static>> {
    let m = measurement(n);
    let verdict = |layer, state, probability| Verdict {
        measurement_uid: m.measurement_uid.clone(),
        test_name: m.test_name.clone(),
        target: m.target.clone(),
        country: m.country,
        network: m.network,
        start_utc: m.start_utc,
        layer,
        state,
        probability,
        rule: "r".into(),
        ..Verdict::default()
    };
    let states = [State::Ok, State::Down, State::Throttled, State::Blocked, State::Insufficient];
    let state = states[n as usize % 5];
    let mut worst = verdict(Layer::Tls, state, 0.75);
    if state.is_interference() {
        worst.mechanism = Some(if n == 3 { "http.blockpage" } else { "tls.reset.sni" }.into());
        worst.fingerprint = (n == 3).then(|| "page_1".into());
    }
    let dns = if state == State::Insufficient { State::Insufficient } else { State::Ok };
    vec![verdict(Layer::Dns, dns, 0.5), worst]
}

#[test]
fn every_question_has_its_answer() {
    let dir = lake("questions");
    let session = Session::open(&dir.0).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let mut questions: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    questions.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    questions.sort();
    assert!(questions.len() > 10);
    for path in questions {
        let answer = match session.query(&std::fs::read_to_string(&path).unwrap()) {
            Ok(answer) => answer.text(Format::Table),
            Err(error) => format!("error: {error}\n"),
        };
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected, &answer).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(answer, expected, "{}", path.display());
    }
}

#[test]
fn nothing_but_reading_is_understood() {
    let dir = lake("refused");
    let session = Session::open(&dir.0).unwrap();
    let target = dir.0.join("stolen.csv");
    for sql in [
        format!("COPY measurements TO '{}'", target.display()),
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'".into(),
        "CREATE TABLE x AS SELECT 1".into(),
        "CREATE VIEW x AS SELECT 1".into(),
        "INSERT INTO measurements SELECT * FROM measurements".into(),
        "DELETE FROM measurements".into(),
        "DROP TABLE measurements".into(),
        "SET datafusion.execution.batch_size = 1".into(),
        "EXPLAIN ANALYZE INSERT INTO measurements SELECT * FROM measurements".into(),
        "SELECT * FROM '/etc/passwd'".into(),
        "SELECT 1; SELECT 2".into(),
    ] {
        assert!(matches!(session.query(&sql), Err(StoreError::Sql { .. })), "{sql}");
    }
    assert!(!target.exists());
}

#[test]
fn csv_and_json_keep_quotes_nulls_and_types() {
    let dir = lake("formats");
    let session = Session::open(&dir.0).unwrap();
    let sql =
        "SELECT line, target, input, start_utc, resolver_scrubbed, runtime_us, CAST('NaN' AS DOUBLE) AS odd
               FROM measurements ORDER BY line LIMIT 2";
    let mut csv = Vec::new();
    assert_eq!(session.write(sql, Format::Csv, &mut csv).unwrap(), 2);
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "line,target,input,start_utc,resolver_scrubbed,runtime_us,odd\r\n\
         1,blocked.example,https://blocked.example/,2025-07-20T10:00:00Z,false,,NaN\r\n\
         2,\"пример, \"\"ещё\"\"\",,2025-07-21T10:00:00Z,false,,NaN\r\n"
    );
    let mut json = Vec::new();
    session.write(sql, Format::Json, &mut json).unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(rows[1]["target"], "пример, \"ещё\"");
    assert_eq!(rows[0]["line"], 1);
    assert_eq!(rows[0]["resolver_scrubbed"], false);
    assert!(rows[1]["input"].is_null() && rows[0]["odd"].is_null());
    assert_eq!(session.query(sql).unwrap().text(Format::Json).into_bytes(), json);
    let mut none = Vec::new();
    session.write("SELECT line FROM measurements WHERE line = 99", Format::Json, &mut none).unwrap();
    assert_eq!(none, b"[]\n");
}

#[test]
fn a_table_shows_no_control_characters() {
    let dir = lake("control");
    let text = Session::open(&dir.0).unwrap().query("SELECT http_title FROM observations").unwrap();
    let text = text.text(Format::Table);
    assert!(!text.contains('\u{1b}') && text.contains("a·[31mtitle·of two lines"), "{text}");
}

#[test]
fn a_query_beyond_its_memory_spills_or_says_what_to_do() {
    let dir = lake("memory");
    let session = Session::open(&dir.0).unwrap();
    // Ten million distinct texts do not fit into 256 MiB.
    let sql = "SELECT count(*) FROM (SELECT DISTINCT 'some text that takes room ' || CAST(value AS VARCHAR) FROM generate_series(1, 10000000))";
    match session.query(sql) {
        Ok(answer) => assert!(answer.text(Format::Table).contains("10000000")),
        Err(error) => assert!(error.to_string().contains("256 MiB"), "{error}"),
    }
    drop(session);
    assert_eq!(std::fs::read_dir(dir.0.join("tmp")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_empty_lake_answers_with_no_rows() {
    let dir = Dir(std::env::temp_dir().join(format!("okno-store-empty-{}", std::process::id())));
    drop(Lake::open(&dir.0).unwrap());
    let session = Session::open(&dir.0).unwrap();
    for doc in okno_model::tables() {
        let answer = session.query(&format!("SELECT * FROM {}", doc.name)).unwrap();
        assert_eq!(answer.rows(), 0);
        assert!(answer.columns.len() >= doc.columns.len(), "{}", doc.name);
    }
    assert_eq!(session.query("SELECT * FROM measurement_verdicts").unwrap().columns.len(), 12);
}

/// Reads the lake with tools that know nothing of us.
#[test]
fn duckdb_and_polars_read_the_lake_as_it_is() {
    let imports = Command::new("python3").args(["-c", "import duckdb, polars"]).output();
    if !imports.is_ok_and(|o| o.status.success()) {
        println!("skipped: no python3 with duckdb and polars");
        return;
    }
    let dir = lake("interop");
    let script = r#"
import sys, duckdb, polars
glob = sys.argv[1] + "/%s/**/*.parquet"
for table, column in [("measurements", "line"), ("observations", "tcp_us"), ("verdicts", "hop")]:
    files = glob % table
    d = duckdb.sql(f"SELECT count(*), sum({column})::BIGINT, count(DISTINCT month), epoch_us(min(start_utc)) FROM read_parquet('{files}', hive_partitioning = true)").fetchall()[0]
    p = polars.scan_parquet(files, hive_partitioning=True).select(polars.len(), polars.col(column).sum(), polars.col("month").n_unique(), polars.col("start_utc").min().dt.epoch("us")).collect().row(0)
    print(table, *d)
    print(table, *p)
"#;
    let output = Command::new("python3").args(["-c", script]).arg(&dir.0).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).unwrap();
    let session = Session::open(&dir.0).unwrap();
    let mut expected = String::new();
    for (table, column) in [("measurements", "line"), ("observations", "tcp_us"), ("verdicts", "hop")] {
        let sql =
            format!("SELECT count(*) AS n, sum({column}) AS s, count(DISTINCT month) AS m FROM {table}");
        let json: serde_json::Value =
            serde_json::from_str(&session.query(&sql).unwrap().text(Format::Json)).unwrap();
        let row = &json[0];
        let line = format!("{table} {} {} {} 1753005600000000\n", row["n"], row["s"], row["m"]);
        expected.push_str(&line.repeat(2));
    }
    assert_eq!(found, expected);
}

#[test]
fn a_run_of_the_lab_stands_beside_the_measurements_and_replaces_itself() {
    let dir = lake("lab");
    let before = Session::open(&dir.0).unwrap().query("SELECT * FROM measurements").unwrap().rows();
    let write = |run: &str, rows: u64| {
        let mut lake = Lake::open(&dir.0).unwrap();
        let mut writer = crate::LabWriter::create::<okno_model::Flow<'_>>(&lake, run).unwrap();
        for flow in 0..rows {
            let row = okno_model::Flow { run: run.into(), flow, ..okno_model::Flow::default() };
            writer.push(&row).unwrap();
        }
        assert_eq!(writer.rows(), rows);
        writer.commit(&mut lake).unwrap();
    };
    write("a", 10_000);
    write("b", 3);
    write("a", 7);
    // A run that was begun and never committed leaves nothing.
    let lake = Lake::open(&dir.0).unwrap();
    drop(crate::LabWriter::create::<okno_model::Flow<'_>>(&lake, "c").unwrap());
    // What observe plans does not touch it.
    let plan = lake.plan(&[], "").unwrap();
    drop(lake);
    let mut lake = Lake::open(&dir.0).unwrap();
    lake.begin(&plan).unwrap();
    drop(lake);
    drop(Lake::open(&dir.0).unwrap());
    let session = Session::open(&dir.0).unwrap();
    let answer =
        session.query("SELECT run, count(*) AS n, sum(flow) AS s FROM flows GROUP BY run ORDER BY run");
    let json: serde_json::Value = serde_json::from_str(&answer.unwrap().text(Format::Json)).unwrap();
    let expected = serde_json::json!([{ "run": "a", "n": 7, "s": 21 }, { "run": "b", "n": 3, "s": 3 }]);
    assert_eq!(json, expected);
    assert_eq!(session.query("SELECT * FROM measurements").unwrap().rows(), before);
    assert_eq!(std::fs::read_dir(dir.0.join("flows")).unwrap().count(), 2);
}
