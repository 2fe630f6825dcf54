//! Queries and answers, there and back, and names that try to run away.

use super::*;

#[test]
fn a_query_and_its_answer_are_read_back() {
    let bytes = query(7, "WWW.Example.org", kind::A).emit();
    let view = MessageView::parse(&bytes).expect("a message");
    assert!(view.is_plausible() && !view.is_response());
    let question = view.question().expect("a question");
    assert_eq!((question.name.to_text().as_str(), question.kind), ("WWW.Example.org", kind::A));
    assert_eq!(question.name.normalised(), "www.example.org");
    let ip = "192.0.2.7".parse().expect("an address");
    let repr = answer(
        &view,
        vec![
            RecordRepr::cname("WWW.Example.org", 60, "cdn.example.net"),
            RecordRepr::address("cdn.example.net", 30, ip),
            RecordRepr::address("cdn.example.net", 30, "2001:db8::7".parse().expect("an address")),
        ],
    );
    let bytes = repr.emit();
    let view = MessageView::parse(&bytes).expect("a message");
    view.check().expect("well formed");
    assert!(view.is_response() && view.is_plausible());
    assert_eq!(view.addresses().count(), 2);
    assert_eq!(view.addresses().next(), Some(ip));
    let first = view.records().next().expect("a record").expect("well formed");
    assert_eq!(first.name.to_text(), "WWW.Example.org");
    let Data::Name(target) = first.data() else { panic!("no name") };
    assert!(target.is_under("example.NET", true) && !target.is_under("example.net", false));
    assert!(target.is_under("cdn.example.net", false) && !target.is_under("n.example.net", true));
}

#[test]
fn refusals_services_and_texts_are_read_back() {
    let bytes = query(7, "example.org", kind::HTTPS).emit();
    let view = MessageView::parse(&bytes).expect("a message");
    let none = nxdomain(&view).emit();
    assert_eq!(MessageView::parse(&none).expect("a message").rcode(), rcode::NXDOMAIN);
    let repr = answer(
        &view,
        vec![
            RecordRepr::https("example.org", 60, 1, ".", &[(1, b"\x02h2"), (5, b"ech")]),
            RecordRepr::text("example.org", 60, "hello"),
            RecordRepr::soa("org", 60, "a.org", 77),
        ],
    );
    let bytes = repr.emit();
    let records: Vec<_> =
        MessageView::parse(&bytes).expect("a message").records().map(|record| record.expect("one")).collect();
    assert_eq!(records[0].service_parameter(5), Some(&b"ech"[..]));
    assert_eq!(records[0].service_parameter(6), None);
    assert_eq!(records[1].strings().next(), Some(&b"hello"[..]));
    assert!(matches!(records[2].data(), Data::Soa { minimum: 77, .. }));
}

#[test]
fn pointers_that_turn_in_circles_are_malformed() {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend([0xc0, 12, 0, 1, 0, 1]);
    let view = MessageView::parse(&bytes).expect("a header");
    let malformed = view.check().expect_err("a loop");
    assert_eq!((malformed.offset, malformed.expected), (12, "pointer backwards"));
    assert!(!view.is_plausible());
    // Labels then a pointer back to them: each turn grows the name until it is too long.
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend([1, b'a', 0xc0, 12, 0, 1, 0, 1]);
    assert!(MessageView::parse(&bytes).expect("a header").check().is_err());
}

#[test]
fn messages_of_a_stream_are_told_apart() {
    let one = query(1, "a.org", kind::A).emit();
    let two = query(2, "b.org", kind::AAAA).emit();
    let stream = [tcp_framed(&one), tcp_framed(&two)].concat();
    assert_eq!(tcp_messages(&stream).collect::<Vec<_>>(), [&one, &two]);
    assert_eq!(tcp_messages(&stream[..stream.len() - 1]).count(), 1);
}

#[test]
fn every_prefix_parses_or_says_where_it_breaks() {
    let bytes = query(7, "www.example.org", kind::A).emit();
    let view = MessageView::parse(&bytes).expect("a message");
    let whole = answer(&view, vec![RecordRepr::cname("www.example.org", 60, "cdn.example.net")]).emit();
    for len in 0..whole.len() {
        let result = MessageView::parse(&whole[..len]).and_then(|view| view.check());
        assert!(result.is_err_and(|malformed| malformed.offset <= len), "{len}");
    }
}
