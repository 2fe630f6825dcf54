//! The two tests for boxes that read HTTP: nothing on the path, a box that puts headers in order, a proxy
//! that answers in the server's place.

use okno_censor::{Context, Direction, Middlebox, Verdict};
use okno_lab::probe::Bench;
use okno_model::State;
use okno_probe::nettests::by_name;
use okno_wire::{Instant, PacketView, build};
use serde_json::{Value, json};

mod app_worlds;
mod judged;

use app_worlds::{with_helper, with_proxy};
use judged::{elsewhere, judged};

/// A box on port 80 that writes methods and header names as a proxy does, without changing their length.
#[derive(Debug)]
struct Orderly;

impl Middlebox for Orderly {
    fn on_packet(
        &mut self,
        _: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        _: &mut Context<'_>,
    ) -> Verdict {
        let payload = packet.payload();
        if direction != Direction::Up || packet.ports().1 != 80 || payload.is_empty() {
            return Verdict::Pass;
        }
        let mut text = payload.to_vec();
        let line = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        text[..3].make_ascii_uppercase();
        let mut is_start = true;
        for byte in &mut text[line..] {
            match *byte {
                b'\n' => is_start = true,
                b':' => is_start = false,
                letter if is_start => *byte = letter.to_ascii_lowercase(),
                _ => {}
            }
        }
        let mut whole = packet.bytes().to_vec();
        let at = whole.len() - payload.len();
        whole[at..].copy_from_slice(&text);
        build::mend_checksums(&mut whole);
        Verdict::Rewrite(whole)
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn invalid_lines_come_back_where_nothing_reads_them() {
    let mut bench = Bench::open();
    let test = with_helper(&mut bench, "http_invalid_request_line");
    let keys = bench.measure(&test, None);
    assert_eq!(keys["tampering"], false);
    assert_eq!(keys["tampering_list"], json!([false, false, false, false, false]));
    assert_eq!(keys["failure_list"], json!([null, null, null, null, null]));
    assert_eq!(keys["sent"], keys["received"]);
    assert_eq!(keys["sent"][2].as_str().map(str::len), Some(1_024 + " / HTTP/1.1\r\n".len()));
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
}

#[test]
fn a_proxy_that_refuses_invalid_lines_is_tampering_and_the_own_address_is_not_written() {
    let mut bench = Bench::open();
    let test = with_proxy(&mut bench, "http_invalid_request_line");
    let keys = bench.measure(&test, None);
    assert_eq!(keys["tampering"], true);
    assert!(keys["received"][0].as_str().is_some_and(|text| text.contains("squid")));
    assert!(!keys.to_string().contains("11.19.0.200"), "{keys}");
    let (summary, mechanisms) = judged(&*test, &keys, &okno_detect::Baseline::empty());
    assert_ne!(summary.state, State::Ok);
    println!("{mechanisms:?}");
}

#[test]
fn headers_arrive_as_they_were_sent_where_nothing_reads_them() {
    let mut bench = Bench::open();
    let test = with_helper(&mut bench, "http_header_field_manipulation");
    let keys = bench.measure(&test, None);
    let tampering = json!({
        "header_field_name": false,
        "header_field_number": false,
        "header_field_value": false,
        "header_name_capitalization": false,
        "header_name_diff": [],
        "request_line_capitalization": false,
        "total": false,
    });
    assert_eq!(keys["tampering"], tampering);
    assert_eq!(keys["failure"], Value::Null);
    assert_eq!(keys["requests"][0]["response"]["code"], 200);
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
}

#[test]
fn a_box_that_puts_headers_in_order_is_seen_in_names_and_line_alone() {
    let mut bench = Bench::with_box(Box::new(Orderly));
    let test = with_helper(&mut bench, "http_header_field_manipulation");
    let keys = bench.measure(&test, None);
    let tampering = &keys["tampering"];
    assert_eq!(tampering["header_name_capitalization"], true);
    assert_eq!(tampering["request_line_capitalization"], true);
    assert_eq!(tampering["header_field_number"], false);
    assert_eq!(tampering["total"], false);
    let (summary, mechanisms) = judged(&*test, &keys, &okno_detect::Baseline::empty());
    println!("{mechanisms:?}");
    assert_ne!(summary.state, State::Ok);
}

#[test]
fn a_proxy_that_answers_itself_is_total() {
    let mut bench = Bench::open();
    let test = with_proxy(&mut bench, "http_header_field_manipulation");
    let keys = bench.measure(&test, None);
    assert_eq!(keys["tampering"]["total"], true);
    assert_eq!(keys["failure"], "http_request_failed");
    assert!(!keys.to_string().contains("11.19.0.200"), "{keys}");
}

#[test]
fn without_a_helper_the_test_says_what_to_give() {
    for name in ["http_invalid_request_line", "http_header_field_manipulation"] {
        let mut bench = Bench::open();
        let test = by_name(name, &Value::Null).unwrap_or_else(|error| panic!("{error}"));
        let refused = bench.run(|context| async move { test.run(&context, None).await });
        assert!(refused.is_err_and(|problem| problem.contains("backend")));
    }
}
