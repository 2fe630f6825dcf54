//! Input that means harm or was damaged: bounded, counted and explained, never a panic, never a silent loss.

mod reading;

use std::path::{Path, PathBuf};

use okno_ingest::{Extractor, Line, fuzz_line};
use okno_model::{Observation, RejectReason, Table};
use reading::{measurement, read, web};

/// Kept and lost lines of an input, which must be all of its lines that are not blank; a line that opens an
/// array of objects may stand for more.
fn account(bytes: &[u8]) -> (usize, usize) {
    let (kept, lost) = fuzz_line(bytes);
    let lines = || bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let is_array = lines().any(|line| line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).starts_with(b"["));
    let (found, expected) = (kept + lost, lines().count());
    let fits = if is_array { found >= expected } else { found == expected };
    assert!(fits, "{found} of {expected}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)]));
    (kept, lost)
}

#[test]
fn deep_nesting_is_noted_where_it_begins_to_matter() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        let rows = web(&format!(
            r#"{{"x":{deep},"tcp_connect":[{{"ip":"192.0.2.1","port":443,"status":{{"success":true,"failure":null}}}}]}}"#
        ));
        assert_eq!(rows.observations.len(), 1, "what stands beside it is read");
        assert_eq!(rows.measured().target, "www.example.org");
        assert_eq!(account(deep.as_bytes()), (0, 1));
        assert_eq!(account(open.repeat(200_000).as_bytes()), (0, 1));
    }
    // A measurement wrapped again and again, and shared structures below the depth of the search.
    let wrapped =
        format!("{}{}{}", r#"{"m":"#.repeat(500), measurement("telegram", "", "{}"), "}".repeat(500));
    assert!(read(&wrapped).why().iter().any(|(_, reason)| *reason == RejectReason::TooDeep));
    let buried = format!(r#"{{{}"queries":[]{}}}"#, r#""a":{"#.repeat(50), "}".repeat(50));
    assert!(web(&buried).observations.is_empty());
}

#[test]
fn huge_numbers_are_out_of_range_and_cost_only_themselves() {
    let digits = "9".repeat(100_000);
    let rows = web(&format!(
        r#"{{"tcp_connect":[{{"ip":"192.0.2.1","port":{digits},"t":1e400,"transaction_id":-{digits},"status":{{"success":true,"failure":null}}}},
            {{"ip":"192.0.2.2","port":70000,"t":-1e308,"transaction_id":18446744073709551615,"status":{{"success":true,"failure":null}}}}],
            "requests":[{{"request":{{"url":"http://a.example/"}},"response":{{"code":-5,"body":"x"}}}}],
            "network_events":[{{"operation":"read","num_bytes":9223372036854775807,"t":0.1}},{{"operation":"read","num_bytes":9223372036854775807,"t":0.2}}]}}"#
    ));
    assert_eq!((rows.at("192.0.2.1")[0].port, rows.at("192.0.2.1")[0].tcp_success), (None, Some(true)));
    assert_eq!(rows.at("192.0.2.2")[0].port, None, "no such port");
    assert!(rows.why().iter().all(|(part, reason)| *reason == RejectReason::NumberOutOfRange && part.starts_with("test_keys.")));
    assert!(rows.rejects.len() >= 4);
}

#[test]
fn no_text_of_a_row_is_longer_than_a_column_should_hold() {
    let long = "é".repeat(300_000);
    let rows = read(&measurement(
        "web_connectivity",
        &format!(
            r#","input":"http://a.example/{long}","measurement_uid":"{long}","annotations":{{"platform":"{long}"}}"#
        ),
        &format!(
            r#"{{"blocking":"{long}","{long}":{{"queries":[{{"hostname":"a.example","engine":"udp","resolver_address":"{long}","query_type":"{long}","answers":[{{"ipv4":"192.0.2.1"}}]}}]}},
               "tls_handshakes":[{{"address":"192.0.2.1:443","tls_version":"{long}","cipher_suite":"{long}","failure":"{long}"}}],
               "requests":[{{"request":{{"url":"http://a.example/{long}","method":"{long}"}},"response":{{"code":200,"body":"<title>{long}</title>","headers":{{"Server":"{long}","Location":"{long}","{long}":"x"}}}}}}]}}"#
        ),
    ));
    let mut longest = 0;
    let mut measured = rows.measured().clone();
    measured.each_text(&mut |text| longest = longest.max(text.len()));
    for mut row in rows.observations.clone() {
        row.each_text(&mut |text| longest = longest.max(text.len()));
    }
    assert!(longest <= 8_192, "{longest}");
    assert_eq!(rows.observations.len(), 3);
    assert!(
        rows.rejects.iter().any(|reject| reject.reason == RejectReason::TooLong && reject.detail.is_some())
    );
}

#[test]
fn the_last_of_two_equal_keys_counts_and_the_first_is_noted() {
    let rows = read(
        r#"{"test_name":"telegram","test_name":"signal","probe_cc":"RU","probe_asn":"AS1","measurement_start_time":"2026-03-20 10:00:00",
            "test_keys":{"blocking":"dns","requests":[{"request":{"url":"http://first.example/"}}]},
            "test_keys":{"blocking":"dns","blocking":false,
               "tcp_connect":[{"ip":"192.0.2.1","port":1,"status":{"success":true}}],"tcp_connect":[{"ip":"192.0.2.2","port":1,"status":{"success":true}}],
               "control":{"dns":{"addrs":["192.0.2.3"]}},"control":{"dns":{"addrs":["192.0.2.4"]}}}}"#,
    );
    assert_eq!(rows.measured().test_name, "signal");
    assert_eq!(rows.measured().probe_blocking.as_deref(), Some("false"));
    let ips: Vec<_> = rows.chains().iter().map(|row| row.ip.as_deref()).collect();
    assert_eq!(ips, [Some("192.0.2.2")]);
    assert_eq!(rows.controls.iter().map(|row| row.ip.as_deref()).collect::<Vec<_>>(), [Some("192.0.2.4")]);
    assert_eq!(rows.why().iter().filter(|(_, reason)| *reason == RejectReason::DuplicateKey).count(), 5);
}

#[test]
fn damaged_text_is_replaced_noted_and_the_rest_is_read() {
    let whole = measurement(
        "web_connectivity",
        r#","input":"http://a.example/""#,
        r#"{"requests":[{"request":{"url":"http://a.example/"},"response":{"code":200,"body":"?"}}]}"#,
    );
    let mut bytes = whole.clone().into_bytes();
    let at = bytes.iter().position(|b| *b == b'?').unwrap();
    bytes[at] = 0xFF;
    assert_eq!(account(&bytes), (1, 0));
    let surrogate = read(&whole.replace('?', "\\ud800 and \\udc00"));
    assert_eq!(surrogate.why(), [("test_keys.requests[0].response.body", RejectReason::InvalidUtf8); 2]);
    assert_eq!(surrogate.observations[0].http_body_bytes, Some("\u{fffd} and \u{fffd}".len() as u64));
    // NUL bytes inside a string are no JSON (RFC 8259 §7), yet name no reason to lose the measurement.
    assert_eq!(account(whole.replace('?', "\0\0").as_bytes()), (1, 0));
    assert_eq!(account(&[0; 5_000]), (0, 1));
    // Every cut of a line keeps what came before, once the name of the test came.
    let mut kept = 0;
    for end in 1..whole.len() {
        if whole.is_char_boundary(end) {
            kept += account(&whole.as_bytes()[..end]).0;
        }
    }
    assert!(kept * 10 > whole.len() * 8, "{kept} of {} cuts keep the measurement", whole.len());
}

#[test]
fn a_mark_of_byte_order_and_the_line_ends_of_windows_are_no_fault() {
    let line = measurement("telegram", "", r#"{"tcp_connect":[{"ip":"not an address","port":1}]}"#);
    let rows = read(&format!("\u{feff}{line}"));
    assert_eq!(rows.why(), [("test_keys.tcp_connect[0].ip", RejectReason::InvalidAddress)]);
    let plain = read(&line);
    assert_eq!(
        rows.rejects[0].byte_offset,
        plain.rejects[0].byte_offset + 3,
        "offsets are those of the file"
    );
    assert_eq!(rows.measured().measurement_uid, plain.measured().measurement_uid);
    assert_eq!(account(format!("\u{feff}{line}\r\n\r\n{line}\r\n").as_bytes()), (2, 0));
}

#[test]
fn an_array_of_measurements_is_one_line_an_element() {
    let one = measurement("telegram", "", r#"{"telegram_web_status":"ok"}"#);
    let two = measurement("signal", "", "{}");
    let text = format!("  [ {one} ,\n{two}]  ").replace('\n', " ");
    let line = Line { start: 0, end: text.len(), number: 4, offset: 1_000, invalid_utf8: Some(8) };
    let elements = Extractor::elements(&text, line).unwrap();
    let parts: Vec<&str> = elements.iter().map(|part| &text[part.start..part.end]).collect();
    assert_eq!(parts, [one.as_str(), two.as_str()]);
    assert_eq!((elements[0].number, elements[1].number), (4, 5));
    assert_eq!(elements[1].offset, 1_000 + elements[1].start as u64);
    assert_eq!((elements[0].invalid_utf8, elements[1].invalid_utf8), (Some(8 - elements[0].start), None));
    // A cut array keeps its whole elements, and the last one says where it breaks.
    let cut = format!("[{one},{}", &two[..two.len() - 4]);
    let line = Line { start: 0, end: cut.len(), number: 1, offset: 0, invalid_utf8: None };
    let elements = Extractor::elements(&cut, line).unwrap();
    assert_eq!(elements.len(), 2);
    assert_eq!(read(&cut[elements[1].start..elements[1].end]).measured().test_name, "signal");
    // What stands behind the array is a line of its own, to be counted.
    let more = format!("[{one}] {two}");
    let line = Line { start: 0, end: more.len(), number: 1, offset: 0, invalid_utf8: None };
    let elements = Extractor::elements(&more, line).unwrap();
    assert_eq!(&more[elements[1].start..elements[1].end], two);
    for none in ["[]", "[1,2]", "{}", "", "[", "[[{}]]"] {
        let line = Line { start: 0, end: none.len(), number: 1, offset: 0, invalid_utf8: None };
        assert!(Extractor::elements(none, line).is_none(), "{none}");
    }
}

#[test]
fn a_measurement_printed_over_many_lines_is_read_as_one_document() {
    let value: serde_json::Value =
        serde_json::from_str(&measurement("telegram", "", r#"{"telegram_web_status":"ok"}"#)).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    let path = std::env::temp_dir().join(format!("okno-hostile-{}.json", std::process::id()));
    std::fs::write(&path, &pretty).unwrap();
    let mut lines = okno_ingest::source::open(&path).unwrap();
    let okno_ingest::source::Next::Bytes(raw) = lines.next_batch() else { panic!("a batch") };
    let batch = okno_ingest::source::Batch::prepare(raw);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(batch.lines.len(), 1);
    assert_eq!(read(&batch.text).statements(), [("web", Some(true), None)]);
}

#[test]
fn keys_that_are_addresses_are_shown_in_no_reject() {
    let rows = read(&measurement(
        "tor",
        r#","probe_ip":"198.51.100.77""#,
        r#"{"targets":{"203.0.113.9:443":{"failure":7,"tcp_connect":[{"ip":5}]},"198.51.100.77:9001":{"target_protocol":"obfs4","failure":null,"requests":[{"request":{"url":"http://198.51.100.77/?c=198-51-100-77"}}]}}}"#,
    ));
    let parts: Vec<_> = rows.why();
    assert!(!parts.is_empty() && parts.iter().all(|(part, _)| !part.contains("203.0.113")), "{parts:?}");
    let all = format!("{:?}{:?}{:?}", rows.measurement, rows.observations, rows.rejects);
    assert!(!all.contains("198.51.100.77") && !all.contains("198-51-100-77"), "the probe's own address");
}

#[test]
fn long_lists_are_cut_and_counted_and_joining_them_ends() {
    let many = |element: &str, count: usize| vec![element; count].join(",");
    for (keys, least) in [
        (format!(r#"{{"tcp_connect":[{}]}}"#, many(r#"{"ip":"192.0.2.1","port":1}"#, 100_000)), 4_096),
        (
            format!(
                r#"{{"queries":[{{"hostname":"a.example","answers":[{}]}}]}}"#,
                many(r#"{"ipv4":"192.0.2.1"}"#, 1_000_000)
            ),
            256,
        ),
        (format!(r#"{{"requests":[{}]}}"#, many("{}", 1_000_000)), 4_096),
        (format!(r#"{{"network_events":[{}]}}"#, many(r#"{"operation":"read"}"#, 1_000_000)), 0),
        (format!(r#"{{"x":[{}]}}"#, many(r#"{"queries":[]}"#, 1_000_000)), 0),
    ] {
        let rows = web(&keys);
        assert!(rows.why().iter().any(|(_, reason)| *reason == RejectReason::TooMany), "{:.40}", keys);
        assert!(
            (least..=20_000).contains(&rows.observations.len()),
            "{:.40} {}",
            keys,
            rows.observations.len()
        );
    }
    // Keys without number, each another.
    let keys: String = (0..200_000).map(|n| format!(r#""k{n}":{n},"#)).collect();
    assert!(
        web(&format!(r#"{{{keys}"blocking":"dns"}}"#))
            .why()
            .iter()
            .any(|(_, reason)| *reason == RejectReason::TooMany)
    );
    // Everything against everything: what joining costs at its worst.
    let all = format!(
        r#"{{"queries":[{}],"tcp_connect":[{}],"tls_handshakes":[{}],"requests":[{}]}}"#,
        many(
            r#"{"hostname":"a.example","answers":[{"ipv4":"192.0.2.1"}]},{"hostname":"b.example","answers":[{"ipv4":"192.0.2.1"}]}"#,
            3_000
        ),
        many(r#"{"ip":"192.0.2.1","port":443,"t":1,"status":{"success":true}}"#, 5_000),
        many(r#"{"server_name":"c.example","t":2,"failure":null}"#, 5_000),
        many(r#"{"request":{"url":"http://a.example/"}}"#, 5_000),
    );
    assert!(web(&all).observations.len() <= 20_000);
}

#[test]
fn a_line_of_40_mib_is_read() {
    let body = "x".repeat(20 << 20);
    let text = measurement(
        "web_connectivity",
        r#","input":"http://a.example/""#,
        &format!(
            r#"{{"requests":[{{"request":{{"url":"http://a.example/"}},"response":{{"code":200,"body":"{body}"}}}}]}}"#
        ),
    );
    let rows = read(&text);
    assert_eq!(rows.observations[0].http_body_bytes, Some(20 << 20));
    assert_eq!(account(text.as_bytes()), (1, 0));
}

#[test]
fn rejects_of_one_line_are_bounded_and_the_rest_is_counted() {
    let odd = vec![r#"{"ip":"none of them","port":"x"}"#; 3_000].join(",");
    let rows = web(&format!(r#"{{"tcp_connect":[{odd}]}}"#));
    assert!(rows.rejects.len() <= 66, "{}", rows.rejects.len());
    let rest = rows.rejects.iter().find(|reject| reject.reason == RejectReason::TooMany).unwrap();
    assert!(rest.detail.as_deref().unwrap().contains("more parts"), "{:?}", rest.detail);
}

/// The tests' own generator: what it gives is part of no claim, only that it is the same every time.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Measurements shaped like real ones, to be damaged.
fn models() -> Vec<Vec<u8>> {
    let web = r#"{"queries":[{"transaction_id":5,"engine":"getaddrinfo","hostname":"a.example","query_type":"ANY","failure":null,"answers":[{"answer_type":"A","ipv4":"192.0.2.1"},{"answer_type":"CNAME","hostname":"b.example"}],"t0":0.1,"t":0.2,"tags":["classic","depth=0"]}],"tcp_connect":[{"transaction_id":9,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true,"blocked":false},"t0":0.2,"t":0.3,"tags":["classic","fetch_body=true"]}],"tls_handshakes":[{"transaction_id":9,"network":"tcp","address":"192.0.2.1:443","server_name":"a.example","failure":"connection_reset","peer_certificates":[{"format":"base64","data":"MIIB"}],"t":0.4}],"requests":[{"transaction_id":9,"address":"192.0.2.1:443","request":{"url":"https://a.example/x","method":"GET","tor":{"is_tor":false},"headers_list":[["Host","a.example"]]},"response":{"code":200,"body":{"format":"base64","data":"PHRpdGxlPkE8L3RpdGxlPg=="},"headers_list":[["Server","nginx"],["Location","/b"]],"headers":{"Server":"nginx"}},"failure":null}],"network_events":[{"transaction_id":9,"operation":"read","num_bytes":517,"t":0.35,"failure":null},{"operation":"connect","address":"192.0.2.1:443","t":0.3,"failure":null},{"operation":"bytes_received_cumulative","num_bytes":9}],"control":{"dns":{"failure":null,"addrs":["192.0.2.1"]},"tcp_connect":{"192.0.2.1:443":{"status":true,"failure":null}},"tls_handshake":{"192.0.2.1:443":{"server_name":"a.example","status":true,"failure":null}},"http_request":{"body_length":22,"status_code":200,"title":"A","headers":{"X-A":"1"},"failure":null}},"control_failure":null,"blocking":"http-failure","accessible":false}"#;
    let mut models = vec![
        measurement(
            "web_connectivity",
            r#","input":"https://a.example/","probe_ip":"198.51.100.7","annotations":{"platform":"linux"}"#,
            web,
        )
        .into_bytes(),
    ];
    for (test, keys) in [
        (
            "tor",
            r#"{"targets":{"192.0.2.1:9001":{"target_protocol":"or_port","target_address":"192.0.2.1:9001","failure":null,"tcp_connect":[{"conn_id":1,"ip":"192.0.2.1","port":9001,"status":{"failure":null,"success":true}}],"network_events":[{"conn_id":1,"operation":"write","num_bytes":5}]},"b":{"failure":false}}}"#,
        ),
        (
            "tlsmiddlebox",
            r#"{"iterative_trace":[{"address":"192.0.2.1:443","target_trace":{"iterations":[{"ttl":1,"handshake":{"failure":"host_unreachable"}}]},"control_trace":null}]}"#,
        ),
        (
            "facebook_messenger",
            r#"{"facebook_b_api_dns_consistent":true,"facebook_b_api_reachable":null,"tcp_connect":null}"#,
        ),
        (
            "http_invalid_request_line",
            r#"{"sent":["a",{"format":"base64","data":"AA=="}],"received":["a",{"format":"base64","data":"AB=="}]}"#,
        ),
        (
            "quicping",
            r#"{"pings":[{"failure":null,"responses":[{"t":1.5}]},{"failure":"x","responses":null}]}"#,
        ),
        ("ndt", r#"{"failure":null,"summary":{"download":1.5e3,"upload":-0,"ping":1E-3}}"#),
    ] {
        models.push(measurement(test, r#","input":["a.example","b"]"#, keys).into_bytes());
    }
    models
}

fn mutate(random: &mut SplitMix, models: &[Vec<u8>]) -> Vec<u8> {
    const SEEDS: [&[u8]; 12] =
        [b"\"", b"\\", b"{", b"}", b"[", b"]", b",", b"null", b"\\ud800", b"-1e999", b"\xFF\xFE", b"\0"];
    let mut bytes = models[random.below(models.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let length = random.below(bytes.len() - at).min(200);
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let part = bytes[at..at + length].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let other = &models[random.below(models.len())];
                let from = random.below(other.len());
                let part = other[from..(from + random.below(300)).min(other.len())].to_vec();
                bytes.splice(at..at + length, part);
            }
            5 => drop(bytes.splice(at..at, SEEDS[random.below(SEEDS.len())].iter().copied())),
            _ => {
                // One value for another: the next number or word becomes something else.
                if let Some(colon) = bytes[at..].iter().position(|b| *b == b':') {
                    let from = at + colon + 1;
                    bytes.splice(from..from, b"[{\"a\":".iter().copied());
                }
            }
        }
    }
    bytes
}

#[test]
fn twenty_thousand_damaged_measurements_are_all_accounted_for() {
    let (models, mut random) = (models(), SplitMix(2026));
    let (mut kept, mut lost) = (0, 0);
    for _ in 0..20_000 {
        let (k, l) = account(&mutate(&mut random, &models));
        kept += k;
        lost += l;
    }
    println!("{kept} lines kept, {lost} lost");
    assert!(kept > 5_000 && lost > 500, "the mutations are neither too tame nor too wild: {kept} {lost}");
}

#[test]
fn the_same_damage_gives_the_same_rows() {
    let models = models();
    let text = |seed| String::from_utf8_lossy(&mutate(&mut SplitMix(seed), &models)).into_owned();
    for seed in 0..200 {
        let (first, again) = (read(&text(seed)), read(&text(seed)));
        let print = |rows: &[Observation<'_>]| format!("{rows:?}");
        assert_eq!(print(&first.observations), print(&again.observations));
        assert_eq!(first.rejects, again.rejects);
    }
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{}", folder.display());
    files
}

#[test]
fn the_corpus_of_measurement_lines_is_accounted_for() {
    for file in corpus("measurement_line") {
        account(&std::fs::read(file).unwrap());
    }
}

#[test]
fn the_corpus_of_reference_tables_is_read_or_refused_with_a_reason() {
    let out = std::env::temp_dir().join(format!("okno-hostile-tables-{}", std::process::id()));
    for file in corpus("reference_tables") {
        okno_ingest::reference::fuzz_tables(&std::fs::read(&file).unwrap());
        let _ = std::fs::remove_dir_all(&out);
        if let Err(error) = okno_ingest::reference::import(std::slice::from_ref(&file), &out) {
            assert!(!error.to_string().is_empty());
        }
    }
    let _ = std::fs::remove_dir_all(&out);
}
