//! What a row costs: poured into columns, written, read back; and what a file costs however few its rows.
//!
//! `cargo bench -p okno-store --bench rows`. Prints time and a count of the answer; gates nothing.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::time::Instant;

use okno_model::{Asn, Country, Failure, Measurement, Observation, Source, Timestamp};
use okno_store::{BatchBuilder, Lake, Projection, SegmentWriter, SourceId};

const PER_MEASUREMENT: u32 = 8;

fn measurement(n: u32) -> Measurement<'static> {
    Measurement {
        measurement_uid: format!(
            "20250701{:06}.{:06}_RU_webconnectivity_{:016x}",
            n % 240_000,
            n % 997_001,
            u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
        .into(),
        report_id: Some(
            format!("20250701T000000Z_webconnectivity_RU_{}_n1_abcdef{:04}", n % 50, n / 100).into(),
        ),
        source: "2025070100_RU_webconnectivity.n1.0.jsonl.gz".into(),
        line: u64::from(n) + 1,
        byte_offset: u64::from(n) * 30_000,
        size_bytes: 30_000 + u64::from(n % 1000),
        test_name: "web_connectivity".into(),
        test_version: Some("0.5.28".into()),
        start_utc: Timestamp::parse("2025-07-01 00:00:00")
            .map(|t| Timestamp::from_micros(t.micros() + i64::from(n) * 700_001))
            .expect("a date"),
        country: Country::parse("RU").expect("a country"),
        network: Asn(12389 + n % 50),
        software_name: Some("ooniprobe-android-unattended".into()),
        input: Some(format!("https://host-{}.example/", n % 2000).into()),
        target: format!("host-{}.example", n % 2000).into(),
        control: "ok".into(),
        observations: PER_MEASUREMENT,
        content_hash: u64::from(n),
        ..Measurement::default()
    }
}

fn observation(m: &Measurement<'_>, n: u32, i: u32) -> Observation<'static> {
    Observation {
        measurement_uid: m.measurement_uid.to_string().into(),
        observation: i,
        test_name: "web_connectivity".into(),
        country: m.country,
        network: m.network,
        start_utc: m.start_utc,
        transaction: u64::from(i),
        classic: i < 2,
        hostname: Some(format!("host-{}.example", n % 2000).into()),
        ip: Some(format!("192.0.{}.{}", n % 250, i).into()),
        port: Some(443),
        ip_network: Some(Asn(13335)),
        ip_org: Some("Some Network, Inc.".into()),
        dns_lookup: Some(0),
        dns_engine: Some("system".into()),
        dns_us: Some(i64::from(n % 90_000)),
        tcp_success: Some(true),
        tcp_us: Some(i64::from(n * 7 % 90_000)),
        tls_success: Some(i % 3 != 0),
        tls_failure: (i % 3 == 0).then(|| Failure::from_ooni("connection_reset")),
        tls_server_name: Some(format!("host-{}.example", n % 2000).into()),
        tls_us: Some(i64::from(n * 13 % 90_000)),
        cert_sha256: Some(format!("{:064x}", u128::from(n % 2000) << 80).into()),
        http_url: Some(format!("https://host-{}.example/", n % 2000).into()),
        http_status: Some(200),
        http_title: Some("A title of a page".into()),
        ..Observation::default()
    }
}

fn main() -> Result<(), okno_store::StoreError> {
    // As a test (`cargo test --benches`) a tenth of a percent is enough to show that it runs.
    let measurements: u32 = if std::env::args().any(|a| a == "--bench") { 40_000 } else { 200 };
    let dir = std::env::temp_dir().join(format!("okno-store-bench-{}", std::process::id()));
    let mut lake = Lake::open(&dir)?;
    let mut facts: Vec<_> = (0..2000.min(measurements))
        .map(|n| {
            let m = measurement(n);
            let o: Vec<_> = (0..PER_MEASUREMENT).map(|i| observation(&m, n, i)).collect();
            (m, o)
        })
        .collect();
    let plan = lake.plan(&[SourceId { path: "a".into(), hash: "0".into(), size_bytes: 9 << 20 }], "")?;
    lake.begin(&plan)?;
    let mut writer = SegmentWriter::create(&lake, &plan.segments[0])?;
    let (mut pour, mut write) = (0.0, 0.0);
    let mut n = 0;
    while n < measurements {
        let start = Instant::now();
        let mut batch = BatchBuilder::new();
        for (m, o) in facts.iter_mut().take(1000) {
            let uid = format!("{}{n}", m.measurement_uid);
            for (i, row) in o.iter_mut().enumerate() {
                row.measurement_uid = uid.clone().into();
                row.tcp_us = Some(i64::from(n % 4099) * 17 + i as i64);
            }
            batch.push(
                &Measurement {
                    measurement_uid: uid.into(),
                    report_id: None,
                    content_hash: n.into(),
                    ..m.clone()
                },
                o,
                &[],
                &[],
            );
            n += 1;
        }
        let batch = batch.finish();
        pour += start.elapsed().as_secs_f64();
        let start = Instant::now();
        writer.append(batch)?;
        write += start.elapsed().as_secs_f64();
    }
    let lines = u64::from(n);
    let done =
        writer.finish(vec![Source { path: "a".into(), lines, measurements: lines, ..Source::default() }])?;
    let bytes = done.bytes();
    lake.commit(done)?;
    let rows = f64::from(n * (PER_MEASUREMENT + 1));
    println!(
        "rows {rows}: pour {:.2} µs, write {:.2} µs, {:.1} bytes per row",
        pour * 1e6 / rows,
        write * 1e6 / rows,
        bytes as f64 / rows
    );
    let start = Instant::now();
    let mut count = 0;
    for month in lake.manifest().months() {
        lake.for_each(month, &Projection::all(), |f| count += 1 + f.observations.len())?;
    }
    println!(
        "measurements read {count}: {:.2} µs per row of a measurement",
        start.elapsed().as_secs_f64() * 1e6 / rows
    );
    few_rows(&dir)?;
    std::fs::remove_dir_all(&dir).ok();
    Ok(())
}

/// Segments of one measurement each.
fn few_rows(dir: &std::path::Path) -> Result<(), okno_store::StoreError> {
    let dir = dir.join("few");
    let mut lake = Lake::open(&dir)?;
    let sources: Vec<_> = (0..50)
        .map(|i| SourceId { path: format!("s{i}"), hash: i.to_string(), size_bytes: 2 << 20 })
        .collect();
    let plan = lake.plan(&sources, "")?;
    lake.begin(&plan)?;
    let (mut append, mut finish, mut commit, mut bytes) = (0.0, 0.0, 0.0, 0);
    for (n, segment) in plan.segments.iter().enumerate() {
        let start = Instant::now();
        let mut writer = SegmentWriter::create(&lake, segment)?;
        let mut batch = BatchBuilder::new();
        let m = measurement(n as u32);
        batch.push(&m, &[observation(&m, n as u32, 0)], &[], &[]);
        writer.append(batch.finish())?;
        append += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let done = writer.finish(vec![Source {
            path: format!("s{n}").into(),
            lines: 1,
            measurements: 1,
            ..Source::default()
        }])?;
        bytes += done.bytes();
        finish += start.elapsed().as_secs_f64();
        let start = Instant::now();
        lake.commit(done)?;
        commit += start.elapsed().as_secs_f64();
    }
    let n = plan.segments.len() as f64;
    println!(
        "a segment of one row: append {:.2} ms, finish {:.2} ms, commit {:.2} ms, {:.0} bytes",
        append * 1e3 / n,
        finish * 1e3 / n,
        commit * 1e3 / n,
        bytes as f64 / n
    );
    Ok(())
}
