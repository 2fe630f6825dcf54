//! Verdicts per second on typical web_connectivity measurements held in memory, with a hash of the answer.
//!
//! Thirteen rows and six control rows a measurement, one in eight interfered with in one of four ways; the
//! baseline is filled from the same measurements. `cargo bench -p okno-detect`.

use okno_detect::{Baseline, BaselineBuilder, Facts, Judge, Knowledge, Ruleset};
use okno_model::{Asn, Control, Country, Failure, Measurement, Observation, Timestamp, Transport, Verdict};
use xxhash_rust::xxh3::Xxh3;

struct Case {
    measurement: Measurement<'static>,
    observations: Vec<Observation<'static>>,
    controls: Vec<Control<'static>>,
}

impl Case {
    fn facts(&self) -> Facts<'_, 'static> {
        Facts { measurement: &self.measurement, observations: &self.observations, controls: &self.controls }
    }
}

/// Text as ingest leaves it, borrowed from the line.
fn keep(text: String) -> std::borrow::Cow<'static, str> {
    std::borrow::Cow::Borrowed(Box::leak(text.into_boxed_str()))
}

fn case(n: usize) -> Case {
    let host = keep(format!("www.site{}.example", n % 500));
    let ips = [keep(format!("93.184.{}.34", n % 200)), keep(format!("93.184.{}.35", n % 200))];
    let uid = keep(format!("20240212203347.{n:06}_IT_webconnectivity_e8f8dd0667749294"));
    let network = Asn(30_000 + (n % 40) as u32);
    let start = Timestamp::from_micros(1_707_770_027_000_000 + n as i64 * 1_000_000);
    let country = Country::parse(if n.is_multiple_of(3) { "IT" } else { "DE" }).expect("two letters");
    let blank = Observation {
        measurement_uid: uid.clone(),
        test_name: "web_connectivity".into(),
        country,
        network,
        start_utc: start,
        classic: true,
        hostname: Some(host.clone()),
        ..Observation::default()
    };
    let mut rows = Vec::new();
    for (lookup, engine) in [(0, "system"), (1, "udp"), (2, "doh")] {
        for ip in &ips {
            rows.push(Observation {
                classic: engine == "system",
                dns_lookup: Some(lookup),
                dns_engine: Some(engine.into()),
                ip: Some(ip.clone()),
                ip_network: Some(Asn(15133)),
                ip_is_bogon: Some(false),
                ..blank.clone()
            });
        }
    }
    for lookup in [3, 4] {
        rows.push(Observation {
            classic: false,
            dns_lookup: Some(lookup),
            dns_engine: Some("udp".into()),
            dns_failure: Some(Failure::DnsNoAnswer),
            ..blank.clone()
        });
    }
    for (at, row) in rows.iter_mut().take(2).enumerate() {
        row.port = Some(80);
        row.tcp_success = Some(true);
        row.fetch_body = Some(true);
        if at == 0 {
            row.http_url = Some(keep(format!("http://{host}/")));
            row.http_status = Some(301);
            row.http_location = Some(keep(format!("https://{host}/")));
        }
    }
    for (hop, check, ip) in [(0, true, 0), (0, true, 1), (1, false, 0), (1, false, 1), (1, false, 0)] {
        rows.push(Observation {
            hop,
            port: Some(443),
            ip: Some(ips[ip].clone()),
            ip_network: Some(Asn(15133)),
            fetch_body: Some(!check),
            dns_lookup: (hop == 1).then_some(5),
            dns_engine: (hop == 1).then(|| "system".into()),
            tcp_success: Some(true),
            transport: Some(Transport::Tcp),
            tls_success: Some(true),
            tls_server_name: Some(host.clone()),
            http_url: (!check && ip == 0).then(|| keep(format!("https://{host}/"))),
            http_status: (!check && ip == 0).then_some(200),
            http_body_bytes: Some(61_234),
            http_title: Some("A page like many others".into()),
            http_headers: Some("alt-svc x-cache".into()),
            ..blank.clone()
        });
    }
    interfere(n, &mut rows);
    for (number, row) in rows.iter_mut().enumerate() {
        row.observation = number as u32;
    }
    let control = |kind: &'static str, ip: usize, port| Control {
        measurement_uid: uid.clone(),
        kind: kind.into(),
        hostname: Some(host.clone()),
        ip: Some(ips[ip].clone()),
        ip_network: Some(Asn(15133)),
        port,
        success: Some(true),
        server_name: (kind == "tls").then(|| host.clone()),
        ..Control::default()
    };
    let controls = vec![
        control("dns", 0, None),
        control("dns", 1, None),
        control("tcp", 0, Some(80)),
        control("tcp", 0, Some(443)),
        control("tls", 0, Some(443)),
        Control {
            ip: None,
            http_status: Some(200),
            http_body_bytes: Some(60_000),
            http_title: Some("A page like many others".into()),
            ..control("http", 0, None)
        },
    ];
    let measurement = Measurement {
        measurement_uid: uid,
        test_name: "web_connectivity".into(),
        start_utc: start,
        country,
        network,
        input: Some(keep(format!("http://{host}/"))),
        target: host.clone(),
        hostname: Some(host),
        control: "ok".into(),
        software_name: Some("ooniprobe-android".into()),
        software_version: Some("3.22.0".into()),
        ..Measurement::default()
    };
    Case { measurement, observations: rows, controls }
}

fn interfere(n: usize, rows: &mut [Observation<'static>]) {
    if !n.is_multiple_of(8) {
        return;
    }
    for row in rows.iter_mut() {
        match n / 8 % 4 {
            0 if row.tls_success.is_some() => {
                (row.tls_success, row.tls_failure) = (Some(false), Some(Failure::ConnectionReset));
                row.http_status = None;
            }
            1 if row.dns_engine.as_deref() == Some("system") && row.hop == 0 => {
                row.ip = Some("10.10.34.35".into());
                row.ip_is_bogon = Some(true);
            }
            2 if row.tcp_success.is_some() => {
                (row.tcp_success, row.tcp_failure) = (Some(false), Some(Failure::GenericTimeout));
                (row.tls_success, row.http_status) = (None, None);
            }
            3 if row.http_status == Some(301) => {
                row.http_status = None;
                row.http_failure = Some(Failure::ConnectionReset);
            }
            _ => {}
        }
    }
}

fn hash_of(verdicts: &[Verdict<'_>], hash: &mut Xxh3) {
    for v in verdicts {
        hash.update(v.rules_fired.as_bytes());
        hash.update(v.state.as_str().as_bytes());
        hash.update(v.witness.as_deref().unwrap_or_default().as_bytes());
    }
}

/// Seconds that this thread has spent on a core: other work on the machine does not count.
fn core_seconds() -> f64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's core time");
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).expect("nanoseconds come first")
        / 1e9
}

fn run(name: &str, cases: &[Case], judge: &Judge<'_>) {
    let mut verdicts = Vec::new();
    let (mut count, mut accused, mut hash) = (0usize, 0usize, Xxh3::new());
    for case in cases {
        verdicts.clear();
        judge.judge(&case.facts(), &mut verdicts);
        count += verdicts.len();
        accused += verdicts.iter().filter(|v| v.state.is_interference()).count();
        hash_of(&verdicts, &mut hash);
    }
    let mut best = f64::MAX;
    for _ in 0..40 {
        let start = core_seconds();
        for case in cases {
            verdicts.clear();
            judge.judge(&case.facts(), &mut verdicts);
            std::hint::black_box(&verdicts);
        }
        best = best.min(core_seconds() - start);
    }
    println!(
        "{name:24} {:9.0} measurements/core-s   {count} verdicts, {accused} accuse, hash {:016x}",
        cases.len() as f64 / best,
        hash.digest()
    );
}

fn main() {
    let cases: Vec<Case> = (0..2_000).map(case).collect();
    let rows: usize = cases.iter().map(|case| case.observations.len()).sum();
    println!("{} measurements, {rows} rows", cases.len());
    let start = core_seconds();
    let mut builder = BaselineBuilder::new();
    cases.iter().for_each(|case| builder.add(&case.facts()));
    let filled = builder.finish();
    let took = core_seconds() - start;
    println!(
        "{:24} {:9.0} measurements/core-s   {} votes",
        "baseline",
        cases.len() as f64 / took,
        filled.len()
    );
    let (native, v5, knowledge, empty) =
        (Ruleset::native(), Ruleset::ooni_v5(), Knowledge::empty(), Baseline::empty());
    run("native, empty baseline", &cases, &Judge::new(&native, &empty, &knowledge));
    run("native", &cases, &Judge::new(&native, &filled, &knowledge));
    run("ooni-v5", &cases, &Judge::new(&v5, &empty, &knowledge));
}
