//! The oddities that evasions live on, each recorded and each read by those who read it.

use super::*;
use crate::malformed::Found;

fn odd(change: impl Fn(&mut RequestRepr)) -> Vec<u8> {
    let mut repr = RequestRepr::get("www.example.org", "/");
    change(&mut repr);
    repr.emit()
}

fn host(name: &str, value: &str) -> impl Fn(&mut RequestRepr) {
    let entry = (name.to_owned(), value.to_owned());
    move |repr| repr.headers[0] = entry.clone()
}

#[test]
fn a_plain_request_has_no_quirks_and_ends_at_its_empty_line() {
    let mut bytes = odd(|_| {});
    let len = bytes.len();
    bytes.extend(b"body");
    let view = RequestView::parse(&bytes).expect("a request");
    assert_eq!(view.quirks, Quirks::default());
    assert_eq!((view.method, view.target, view.version), (&b"GET"[..], &b"/"[..], &b"HTTP/1.1"[..]));
    assert_eq!((view.head_len, view.complete), (len, true));
    assert_eq!(view.host(), Some(&b"www.example.org"[..]));
    assert_eq!(&bytes[view.host_range().expect("a host")], b"www.example.org");
    assert!(looks_like_request(&bytes) && !looks_like_request(b"\x16\x03\x01"));
}

#[test]
fn each_quirk_is_recorded_and_only_the_strict_reader_is_blind() {
    let strict = HostRule { exact_case: true, one_space: true, crlf_only: true, ..HostRule::default() };
    type Seen = fn(&Quirks) -> bool;
    let cases: [(Vec<u8>, Seen); 8] = [
        (odd(host("hOsT", " www.example.org")), |quirks| quirks.host_case),
        (odd(host("Host", "www.example.org")), |quirks| quirks.host_no_space),
        (odd(host("Host", "  www.example.org")), |quirks| quirks.host_extra_space),
        (odd(host("Host", "\twww.example.org")), |quirks| quirks.host_extra_space),
        (odd(host("Host", " www.example.org ")), |quirks| quirks.host_extra_space),
        (odd(|repr| repr.line_end = "\n"), |quirks| quirks.bare_lf),
        (odd(|repr| repr.headers[0].0 = "HOST".to_owned()), |quirks| quirks.host_case),
        (odd(|repr| repr.headers[0].0 = "Host ".to_owned()), |quirks| quirks.space_before_colon),
    ];
    for (bytes, seen) in cases {
        let text = String::from_utf8_lossy(&bytes);
        let view = RequestView::parse(&bytes).expect("a request");
        assert!(seen(&view.quirks), "{text}: {:?}", view.quirks);
        assert_eq!(view.host(), Some(&b"www.example.org"[..]), "{text}");
        assert_eq!(view.host_by(strict), None, "{text}");
        assert!(view.complete);
    }
    let plain = odd(|_| {});
    let view = RequestView::parse(&plain).expect("a request");
    assert_eq!(view.host_by(strict), Some(&b"www.example.org"[..]));
}

#[test]
fn of_several_names_the_rule_chooses() {
    let bytes = odd(|repr| {
        repr.target = "http://user@c.example:80/x".to_owned();
        repr.headers.push(("host".to_owned(), " B.Example.:8080".to_owned()));
    });
    let view = RequestView::parse(&bytes).expect("a request");
    assert!(view.quirks.several_hosts && view.quirks.absolute_target && view.quirks.host_value_case);
    assert!(view.quirks.host_dot);
    let by = |rule| view.host_by(rule).map(<[u8]>::to_vec);
    assert_eq!(by(HostRule::default()).as_deref(), Some(&b"www.example.org"[..]));
    assert_eq!(by(HostRule { last: true, ..HostRule::default() }).as_deref(), Some(&b"B.Example."[..]));
    let target = HostRule { absolute_target: true, ..HostRule::default() };
    assert_eq!(by(target).as_deref(), Some(&b"c.example"[..]));
    let six = odd(host("Host", " [2001:db8::1]:80"));
    assert_eq!(RequestView::parse(&six).expect("a request").host(), Some(&b"[2001:db8::1]"[..]));
}

#[test]
fn what_is_no_request_is_told_from_what_is_not_whole() {
    for len in 0..odd(|_| {}).len() {
        let bytes = odd(|_| {});
        match RequestView::parse(&bytes[..len]) {
            Ok(view) => assert!(!view.complete && view.head_len == len),
            Err(malformed) => assert!(matches!(malformed.found, Found::Bytes(_)), "{len}: {malformed}"),
        }
    }
    for no in [&b"\x16\x03\x01\x00"[..], b"SSH-2.0-x\r\n", b"{\"a\": 1}\n", b" GET / HTTP/1.1\r\n"] {
        let malformed = RequestView::parse(no).expect_err("no request");
        assert!(matches!(malformed.found, Found::Value(_)), "{malformed}");
    }
}

#[test]
fn a_response_is_read_back() {
    let bytes = response(302, "Found", &[("Location", "http://block.example/")], b"gone");
    let view = ResponseView::parse(&bytes).expect("a response");
    assert_eq!((view.status, view.reason, view.complete), (302, &b"Found"[..], true));
    assert_eq!(view.location(), Some(&b"http://block.example/"[..]));
    assert_eq!(view.body(), b"gone");
    for len in 0..bytes.len() {
        match ResponseView::parse(&bytes[..len]) {
            Ok(view) => assert_eq!(view.complete, len >= bytes.len() - 4),
            Err(malformed) => assert!(matches!(malformed.found, Found::Bytes(_))),
        }
    }
    assert!(ResponseView::parse(b"HTTP/1.1 abc\r\n").is_err());
    assert!(ResponseView::parse(b"HTTP/1.1 \r\n").is_err());
}
