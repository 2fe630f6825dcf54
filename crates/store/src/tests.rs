//! What the lake promises, shown: nothing twice, nothing lost, the same bytes however often it was killed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use okno_model::{Asn, Control, Country, Measurement, Observation, Reject, RejectReason, Source, Timestamp};

use crate::disk::Disk;
use crate::{BatchBuilder, Lake, Month, Projection, Result, SegmentWriter, SourceId, StoreError};

/// An input: a path, the numbers of its measurements, its size as the plan sees it.
#[derive(Clone)]
struct Input {
    path: &'static str,
    numbers: Vec<u32>,
    size_bytes: u64,
}

fn input(path: &'static str, numbers: impl IntoIterator<Item = u32>, size_bytes: u64) -> Input {
    Input { path, numbers: numbers.into_iter().collect(), size_bytes }
}

fn id_of(input: &Input) -> SourceId {
    let bytes: Vec<u8> = input.numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes));
    SourceId { path: input.path.into(), hash, size_bytes: input.size_bytes }
}

fn measurement(path: &str, line: usize, number: u32) -> Measurement<'static> {
    Measurement {
        measurement_uid: format!("uid-{number}").into(),
        report_id: Some(format!("report-{}", number / 10).into()),
        source: path.to_owned().into(),
        line: line as u64 + 1,
        test_name: "web_connectivity".into(),
        start_utc: Timestamp::parse("2025-06-20 00:00:00")
            .map(|t| Timestamp::from_micros(t.micros() + i64::from(number) * 20_000_000_000))
            .unwrap(),
        country: Country::parse("RU").unwrap(),
        network: Asn(12389 + number % 3),
        input: Some(format!("https://host-{number}.example/").into()),
        target: format!("host-{number}.example").into(),
        control: "ok".into(),
        observations: number % 4,
        content_hash: u64::from(number),
        rejects: u32::from(number % 5 == 0),
        ..Measurement::default()
    }
}

fn followers(m: &Measurement<'_>, number: u32) -> (Vec<Observation<'static>>, Vec<Control<'static>>) {
    let observation = |n| Observation {
        measurement_uid: m.measurement_uid.to_string().into(),
        observation: n,
        start_utc: m.start_utc,
        hostname: Some(format!("host-{number}.example").into()),
        classic: true,
        dns_lookup: Some(n),
        dns_engine: Some("system".into()),
        ip: Some(format!("203.0.113.{n}").into()),
        port: Some(443),
        tcp_success: Some(number % 7 != 0),
        ..Observation::default()
    };
    let control = |n: u32| Control {
        measurement_uid: m.measurement_uid.to_string().into(),
        start_utc: m.start_utc,
        kind: "dns".into(),
        port: Some(n),
        ..Control::default()
    };
    ((0..number % 4).map(observation).collect(), (0..number % 3).map(control).collect())
}

/// Reads an input as ingest would: one batch per 5 measurements, one broken line at the end.
fn fill(writer: &mut SegmentWriter, input: &Input) -> Result<Source<'static>> {
    let mut batch = BatchBuilder::new();
    let mut rejects = 1;
    for (line, &number) in input.numbers.iter().enumerate() {
        let m = measurement(input.path, line, number);
        let (observations, controls) = followers(&m, number);
        let part = Reject {
            source: input.path.into(),
            line: m.line,
            part: "test_keys.queries".into(),
            reason: RejectReason::WrongType,
            measurement_uid: Some(m.measurement_uid.clone()),
            ..Reject::default()
        };
        let parts = if number % 5 == 0 { vec![part] } else { vec![] };
        rejects += parts.len() as u64;
        batch.push(&m, &observations, &controls, &parts);
        if batch.len() == 5 {
            writer.append(batch.finish())?;
        }
    }
    let line = input.numbers.len() as u64 + 1;
    batch.push_reject(&Reject { source: input.path.into(), line, part: "line".into(), ..Reject::default() });
    writer.append(batch.finish())?;
    let id = id_of(input);
    Ok(Source {
        path: id.path.into(),
        hash: id.hash.into(),
        size_bytes: id.size_bytes,
        lines: line,
        measurements: line - 1,
        rejected: 1,
        rejects,
        ..Source::default()
    })
}

fn observe_on(dir: &Path, disk: Disk, inputs: &[Input], keys_max: Option<u64>) -> Result<Lake> {
    let mut lake = Lake::open_on(dir.to_owned(), disk)?;
    if let Some(max) = keys_max {
        lake.hold_keys(max);
    }
    let ids: Vec<SourceId> = inputs.iter().map(id_of).collect();
    let plan = lake.plan(&ids, "")?;
    lake.begin(&plan)?;
    for segment in &plan.segments {
        let mut writer = SegmentWriter::create(&lake, segment)?;
        let sources: Result<Vec<_>> = segment.inputs.iter().map(|i| fill(&mut writer, &inputs[*i])).collect();
        lake.commit(writer.finish(sources?)?)?;
    }
    Ok(lake)
}

fn observe(dir: &Path, inputs: &[Input]) -> Result<Lake> {
    observe_on(dir, Disk::watched(Arc::new(|_, _| Ok(()))), inputs, None)
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("okno-store-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Every file and folder below `dir` with its content.
fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            if path.is_dir() {
                all.insert(name, Vec::new());
                todo.push(path);
            } else {
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for (name, bytes) in snapshot(from) {
        let path = to.join(&name);
        if from.join(&name).is_dir() {
            std::fs::create_dir_all(path).unwrap();
        } else {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

fn names(snapshot: &BTreeMap<String, Vec<u8>>) -> Vec<&String> {
    snapshot.keys().collect()
}

/// All measurements of a lake with the numbers of their observations and controls, in order.
fn rows(lake: &Lake) -> Vec<(String, usize, usize)> {
    let mut rows = Vec::new();
    for month in lake.manifest().months() {
        let visit = |f: okno_detect::Facts<'_, '_>| {
            let uid = &f.measurement.measurement_uid;
            assert!(f.observations.iter().all(|o| o.measurement_uid == *uid));
            assert!(f.controls.iter().all(|c| c.measurement_uid == *uid));
            assert_eq!(f.measurement.observations as usize, f.observations.len());
            rows.push((uid.to_string(), f.observations.len(), f.controls.len()));
        };
        lake.for_each(month, &Projection::all(), visit).unwrap();
    }
    rows
}

const MIB: u64 = 1 << 20;

/// Four segments over three months; `d` repeats measurements of `a` and of itself.
fn world() -> Vec<Input> {
    vec![
        input("a", 0..30, 2 * MIB),
        input("b", 40..47, 1000),
        input("c", 100..230, 3 * MIB),
        input("d", [7, 8, 300, 301, 300, 9, 44], 2 * MIB),
        input("e", 400..403, 1000),
    ]
}

#[test]
fn what_was_written_is_read_back_measurement_by_measurement() {
    let dir = Dir::new("read");
    let lake = observe(&dir.0, &world()).unwrap();
    let expected = (0..30).chain(40..47).chain(100..230).chain([300, 301]).chain(400..403);
    let mut expected: Vec<_> =
        expected.map(|n: u32| (format!("uid-{n}"), (n % 4) as usize, (n % 3) as usize)).collect();
    let mut found = rows(&lake);
    assert_eq!(lake.manifest().months().len(), 4);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn duplicates_become_rejects_and_lines_always_add_up() {
    let dir = Dir::new("counts");
    let lake = observe(&dir.0, &world()).unwrap();
    let mut by_source = BTreeMap::new();
    let mut rejects: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for segment in &lake.manifest().segments {
        for file in &segment.files {
            let path = dir.0.join(file.path());
            let mut reader = crate::parquet_file::open(&path, 100, None).unwrap();
            while let Some(batch) = crate::parquet_file::next_batch(&mut reader, &path).unwrap() {
                for row in 0..batch.num_rows() {
                    if file.table == "sources" {
                        let s: Source<'_> = crate::rows::RowCursor::new(&doc::<Source>(), &batch).read(row);
                        assert_eq!(s.lines, s.measurements + s.rejected, "{}", s.path);
                        by_source.insert(s.path.to_string(), (s.measurements, s.rejected, s.rejects));
                    } else if file.table == "rejects" {
                        let r: Reject<'_> = crate::rows::RowCursor::new(&doc::<Reject>(), &batch).read(row);
                        let count = rejects.entry(r.source.to_string()).or_default();
                        count.0 += 1;
                        count.1 += u64::from(r.reason == RejectReason::DuplicateMeasurement);
                    }
                }
            }
        }
    }
    // Of d's 7 measurements 300 comes twice within d, 7, 8, 9 are in a, and 44 in b, which is packed
    // with e and committed last: there it is b's that goes.
    assert_eq!(by_source["d"], (3, 5, rejects["d"].0));
    assert_eq!(rejects["d"].1, 4);
    assert_eq!(by_source["b"], (6, 2, rejects["b"].0));
    for (source, (_, _, counted)) in by_source {
        assert_eq!(counted, rejects[&source].0, "{source}");
    }
}

fn doc<T: okno_model::Table<'static>>() -> okno_model::TableDoc {
    T::doc()
}

#[test]
fn two_runs_over_the_same_input_are_the_same_bytes() {
    let (one, two) = (Dir::new("same-1"), Dir::new("same-2"));
    observe(&one.0, &world()).unwrap();
    observe(&two.0, &world()).unwrap();
    let first = snapshot(&one.0);
    assert_eq!(first, snapshot(&two.0));
    observe(&two.0, &world()).unwrap();
    assert_eq!(first, snapshot(&two.0), "a third run has nothing to do");
}

/// Runs over `inputs` in a copy of `start`, stopped before every single step in turn; the next run must
/// end with the bytes of an undisturbed one.
fn stopped_anywhere(name: &str, start: &[Input], inputs: &[Input], kind: io::ErrorKind) {
    let (base, calm) = (Dir::new(&format!("{name}-base")), Dir::new(&format!("{name}-calm")));
    observe(&base.0, start).unwrap();
    copy(&base.0, &calm.0);
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&steps);
    let count = Disk::watched(Arc::new(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }));
    observe_on(&calm.0, count, inputs, None).unwrap();
    let expected = snapshot(&calm.0);
    let steps = steps.load(Ordering::Relaxed);
    assert!(steps > 50, "{steps} steps are too few to mean anything");
    for stop in 0..steps {
        let dir = Dir::new(&format!("{name}-stop"));
        copy(&base.0, &dir.0);
        let done = AtomicUsize::new(0);
        let disk = Disk::watched(Arc::new(move |_, _| {
            if done.fetch_add(1, Ordering::Relaxed) < stop { Ok(()) } else { Err(kind.into()) }
        }));
        let error = observe_on(&dir.0, disk, inputs, None).err().expect("the run was stopped");
        assert_eq!(error.is_disk_full(), kind == io::ErrorKind::StorageFull, "{error}");
        observe(&dir.0, inputs).unwrap();
        let found = snapshot(&dir.0);
        assert_eq!(names(&found), names(&expected), "stopped before step {stop}");
        assert!(found == expected, "other bytes when stopped before step {stop}");
    }
}

/// As [`world`], as small as it can be: each of some hundred steps is stopped once.
fn small_world() -> Vec<Input> {
    vec![
        input("a", 0..3, 2 * MIB),
        input("b", 5..7, 1000),
        input("d", [1, 200, 200, 5], 2 * MIB),
        input("e", 8..9, 1000),
    ]
}

#[test]
fn killed_before_any_step_the_next_run_ends_with_the_same_bytes() {
    stopped_anywhere("kill", &[], &small_world(), io::ErrorKind::Other);
}

#[test]
fn with_the_disk_full_at_any_step_the_next_run_ends_with_the_same_bytes() {
    stopped_anywhere("full", &[], &small_world(), io::ErrorKind::StorageFull);
}

#[test]
fn killed_while_a_grown_source_is_taken_again_nothing_is_lost() {
    let mut grown = small_world();
    grown[1] = input("b", 5..8, 2000);
    grown[2] = input("d", [1, 200, 200, 5, 201], 2 * MIB);
    // `e` shares a segment with `b` and is not at hand.
    grown.truncate(3);
    stopped_anywhere("grown", &small_world(), &grown, io::ErrorKind::Other);
}

#[test]
fn a_grown_source_replaces_its_rows_and_a_neighbour_keeps_its_own() {
    let dir = Dir::new("grown");
    drop(observe(&dir.0, &world()).unwrap());
    let lake = observe(&dir.0, &[input("b", 40..60, 2000)]).unwrap();
    let uids: Vec<String> = rows(&lake).into_iter().map(|(uid, ..)| uid).collect();
    for number in (40..60).chain(400..403).chain(0..30) {
        let uid = format!("uid-{number}");
        assert_eq!(uids.iter().filter(|u| **u == uid).count(), 1, "{uid}");
    }
}

/// Observes and judges `before`, then `after` in the same lake; that must be a fresh lake of `after`.
fn ends_as_a_fresh_lake(name: &str, before: &[Input], after: &[Input]) {
    let (fresh, again) = (Dir::new(&format!("{name}-fresh")), Dir::new(&format!("{name}-again")));
    drop(observe(&fresh.0, after).unwrap());
    judge_on(&fresh.0, unflushed(), 2).unwrap();
    drop(observe(&again.0, before).unwrap());
    judge_on(&again.0, unflushed(), 2).unwrap();
    assert_ne!(snapshot(&again.0), snapshot(&fresh.0), "the change is one");
    drop(observe(&again.0, after).unwrap());
    judge_on(&again.0, unflushed(), 2).unwrap();
    let (found, expected) = (snapshot(&again.0), snapshot(&fresh.0));
    assert_eq!(names(&found), names(&expected));
    assert!(found == expected, "other bytes than in a fresh lake");
}

/// Three large sources of one month; the last repeats a measurement of each of the others.
fn three() -> Vec<Input> {
    vec![input("a", 0..9, 2 * MIB), input("b", 10..19, 2 * MIB), input("c", [3, 20, 21, 12, 22], 2 * MIB)]
}

#[test]
fn a_grown_source_keeps_its_place_before_its_neighbours() {
    let mut before = three();
    before[0] = input("a", 0..2, 2 * MIB);
    ends_as_a_fresh_lake("first", &before, &three());
    stopped_anywhere("first-stop", &before, &three(), io::ErrorKind::Other);
}

#[test]
fn a_truncated_source_that_comes_whole_keeps_its_place_in_the_middle() {
    let mut before = three();
    before[1] = input("b", 10..12, 1000);
    ends_as_a_fresh_lake("middle", &before, &three());
}

#[test]
fn a_small_source_that_grows_moves_the_bounds_of_packs_as_in_a_fresh_lake() {
    let pack = |b: u64| {
        let size = 1_000_000;
        let mut all = vec![input("a", 0..4, size), input("b", 4..4 + b as u32, 300_000 * b)];
        let names = ["c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        all.extend(names.iter().zip(1..).map(|(name, n)| input(name, n * 20..n * 20 + 3, size)));
        all
    };
    ends_as_a_fresh_lake("packs", &pack(1), &pack(3));
    ends_as_a_fresh_lake("packs-out", &pack(1), &pack(5));
}

#[test]
fn a_source_that_comes_new_between_others_takes_its_place() {
    let mut before = three();
    before.remove(1);
    ends_as_a_fresh_lake("between", &before, &three());
    before = three();
    before.pop();
    ends_as_a_fresh_lake("behind", &before, &three());
}

#[test]
fn the_window_of_keys_follows_when_segments_are_built_anew() {
    let (fresh, again) = (Dir::new("window-fresh"), Dir::new("window-again"));
    let mut inputs = three();
    observe_on(&fresh.0, unflushed(), &inputs, Some(24)).unwrap();
    inputs[0] = input("a", 0..5, 2 * MIB);
    observe_on(&again.0, unflushed(), &inputs, Some(24)).unwrap();
    let lake = observe_on(&again.0, unflushed(), &three(), Some(24)).unwrap();
    assert_eq!(lake.manifest().dedupe_window_exceeded, 2);
    drop(lake);
    assert!(snapshot(&again.0) == snapshot(&fresh.0));
}

#[test]
fn a_lake_is_written_by_one_process_and_read_by_many() {
    let dir = Dir::new("busy");
    let lake = observe(&dir.0, &world()).unwrap();
    assert_eq!(Lake::open(&dir.0).err(), Some(StoreError::Busy { path: dir.0.clone() }));
    assert_eq!(rows(&Lake::open_read(&dir.0).unwrap()), rows(&lake));
    drop(lake);
    assert!(Lake::open(&dir.0).is_ok());
}

#[test]
fn segments_are_committed_in_plan_order_or_not_at_all() {
    let dir = Dir::new("order");
    let mut lake = Lake::open(&dir.0).unwrap();
    let inputs = world();
    let plan = lake.plan(&inputs.iter().map(id_of).collect::<Vec<_>>(), "").unwrap();
    lake.begin(&plan).unwrap();
    let mut writer = SegmentWriter::create(&lake, &plan.segments[1]).unwrap();
    let counts = fill(&mut writer, &inputs[2]).unwrap();
    let done = writer.finish(vec![counts]).unwrap();
    assert!(matches!(lake.commit(done), Err(StoreError::Order { .. })));
}

#[test]
fn counters_that_do_not_add_up_are_refused() {
    let dir = Dir::new("sums");
    let lake = Lake::open(&dir.0).unwrap();
    let plan = lake.plan(&[id_of(&world()[0])], "").unwrap();
    let writer = SegmentWriter::create(&lake, &plan.segments[0]).unwrap();
    let wrong = Source { path: "a".into(), lines: 3, measurements: 1, rejected: 1, ..Source::default() };
    assert!(matches!(writer.finish(vec![wrong]), Err(StoreError::Counts { lines: 3, .. })));
}

#[test]
fn beyond_the_window_of_keys_duplicates_stay_and_that_is_counted() {
    let dir = Dir::new("window");
    let inputs = [input("a", 0..20, 2 * MIB), input("b", 20..40, 2 * MIB), input("c", 0..40, 2 * MIB)];
    let lake = observe_on(&dir.0, Disk::default(), &inputs, Some(60)).unwrap();
    assert_eq!(lake.manifest().dedupe_window_exceeded, 2);
    let twice = rows(&lake).iter().filter(|(uid, ..)| uid == "uid-3").count();
    assert_eq!(twice, 2, "the keys of `a` were forgotten");
    let once = rows(&lake).iter().filter(|(uid, ..)| uid == "uid-30").count();
    assert_eq!(once, 1);
}

#[test]
fn a_wild_clock_cannot_open_more_months_than_memory_allows() {
    let dir = Dir::new("months");
    let mut lake = Lake::open(&dir.0).unwrap();
    let plan = lake.plan(&[id_of(&world()[0])], "").unwrap();
    lake.begin(&plan).unwrap();
    let mut writer = SegmentWriter::create(&lake, &plan.segments[0]).unwrap();
    let (mut n, mut expected) = (0, Vec::new());
    for _round in 0..2 {
        for year in 2000..2060 {
            let mut m = measurement("a", n, n as u32);
            m.start_utc = Timestamp::from_civil(year, 3, 1, 0, 0, 0).unwrap();
            let (observations, controls) = followers(&m, n as u32);
            let mut batch = BatchBuilder::new();
            batch.push(&m, &observations, &controls, &[]);
            writer.append(batch.finish()).unwrap();
            expected.push((format!("uid-{n}"), observations.len(), controls.len()));
            n += 1;
        }
    }
    let counts = Source { path: "a".into(), lines: 120, measurements: 120, ..Source::default() };
    lake.commit(writer.finish(vec![counts]).unwrap()).unwrap();
    assert_eq!(lake.manifest().months().len(), 27, "26 years and one folder for all others");
    assert_eq!(lake.manifest().months().last(), Some(&Month::UNKNOWN));
    let mut found = rows(&lake);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_lake_of_another_format_is_refused_by_name() {
    let dir = Dir::new("format");
    drop(observe(&dir.0, &world()).unwrap());
    std::fs::write(dir.0.join("manifest.json"), "{\"format\":99,\"chapters\":[]}").unwrap();
    let error = Lake::open_read(&dir.0).err().unwrap();
    assert_eq!(error, StoreError::Format { path: dir.0.clone(), found: 99, known: 1 });
    std::fs::remove_dir_all(&dir.0).unwrap();
    assert!(matches!(Lake::open_read(&dir.0), Err(StoreError::NoLake { .. })));
}

fn judge_on(dir: &Path, disk: Disk, threads: usize) -> Result<crate::Judged> {
    let mut lake = Lake::open_on(dir.to_owned(), disk)?;
    let (rules, knowledge) = (okno_detect::Ruleset::native(), okno_detect::Knowledge::empty());
    crate::judge(&mut lake, &rules, &knowledge, threads, &|_| {})
}

fn unflushed() -> Disk {
    Disk::watched(Arc::new(|_, _| Ok(())))
}

#[test]
fn verdicts_are_the_same_bytes_for_any_number_of_threads() {
    let one = Dir::new("threads-1");
    observe(&one.0, &world()).unwrap();
    let judged = judge_on(&one.0, unflushed(), 1).unwrap();
    assert_eq!((judged.months_judged, judged.months_kept, judged.measurements), (4, 0, 172));
    assert!(judged.verdicts > 100 && judged.cells > 100, "{judged:?}");
    let expected = snapshot(&one.0);
    for threads in [2, 3, 8] {
        let many = Dir::new(&format!("threads-{threads}"));
        observe(&many.0, &world()).unwrap();
        judge_on(&many.0, unflushed(), threads).unwrap();
        assert_eq!(names(&snapshot(&many.0)), names(&expected), "{threads} threads");
        assert!(snapshot(&many.0) == expected, "{threads} threads");
    }
}

#[test]
fn months_that_did_not_change_are_left_alone_and_neighbours_of_changed_ones_are_not() {
    let dir = Dir::new("kept");
    observe(&dir.0, &[input("a", 0..3, 2 * MIB), input("c", 300..303, 2 * MIB)]).unwrap();
    judge_on(&dir.0, unflushed(), 2).unwrap();
    let before = snapshot(&dir.0);
    let again = judge_on(&dir.0, unflushed(), 2).unwrap();
    assert_eq!((again.months_judged, again.months_kept), (0, 2));
    assert!(snapshot(&dir.0) == before);
    // 150 lies in July, beside the June of `a`; the August of `c` borders on July too; 900 far away.
    observe(&dir.0, &[input("z", 900..903, 2 * MIB)]).unwrap();
    let more = judge_on(&dir.0, unflushed(), 2).unwrap();
    assert_eq!((more.months_judged, more.months_kept), (1, 2));
    observe(&dir.0, &[input("y", 100..103, 2 * MIB)]).unwrap();
    let more = judge_on(&dir.0, unflushed(), 2).unwrap();
    assert_eq!((more.months_judged, more.months_kept), (3, 1));
}

#[test]
fn a_verdict_pass_that_is_stopped_anywhere_is_made_up_for() {
    let (base, calm) = (Dir::new("judge-base"), Dir::new("judge-calm"));
    observe(&base.0, &small_world()).unwrap();
    copy(&base.0, &calm.0);
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&steps);
    let count = Disk::watched(Arc::new(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }));
    judge_on(&calm.0, count, 2).unwrap();
    let expected = snapshot(&calm.0);
    for stop in 0..steps.load(Ordering::Relaxed) {
        let dir = Dir::new("judge-stop");
        copy(&base.0, &dir.0);
        let done = AtomicUsize::new(0);
        let disk = Disk::watched(Arc::new(move |_, _| {
            if done.fetch_add(1, Ordering::Relaxed) < stop {
                Ok(())
            } else {
                Err(io::ErrorKind::Other.into())
            }
        }));
        judge_on(&dir.0, disk, 2).expect_err("the pass was stopped");
        judge_on(&dir.0, unflushed(), 2).unwrap();
        assert!(snapshot(&dir.0) == expected, "stopped before step {stop}");
    }
}
