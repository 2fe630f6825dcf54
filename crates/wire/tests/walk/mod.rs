//! Walks that touch all a parser offers, for any bytes, and check what must hold of its answers.
//!
//! The mutation tests and the fuzz targets both run these, so that what one finds the other keeps.

#![allow(dead_code, reason = "each user takes the walks it needs")]

use okno_wire::dns::{self, MessageRepr, MessageView};
use okno_wire::quic::{
    self, CryptoAssembler, Frame, GquicView, InitialRepr, Packet, Rekey, Side, Step, Version,
};
use okno_wire::tls::{
    Certificates, ClientHello, ClientHelloRepr, FirstFlight, Ja4Transport, ServerHello, first_flight,
    handshake_bytes, ja3, ja4, messages, records,
};
use okno_wire::x509::CertificateView;
use okno_wire::{Malformed, dtls, http};

/// An error names a place in the bytes.
fn inside(bytes: &[u8], malformed: &Malformed) {
    assert!(malformed.offset <= bytes.len(), "{malformed} of {} bytes", bytes.len());
}

fn hello(hello: &ClientHello<'_>, transport: Ja4Transport) {
    if let Some(range) = hello.sni_range() {
        assert_eq!(hello.sni(), Some(&hello.message()[range]));
    }
    let _ = (hello.normalised_name(), hello.ech(), hello.esni(), hello.padding(), hello.highest_version());
    let _ = (hello.alpn().count(), hello.key_shares().count(), hello.groups().count());
    assert_eq!(ja3(hello).len(), 32);
    assert!(ja4(hello, transport).len() >= 36);
    for extension in hello.extensions() {
        assert_eq!(&hello.message()[extension.at..extension.at + extension.body.len()], extension.body);
    }
}

/// TLS streams and messages, of either side.
pub fn tls(bytes: &[u8]) {
    let mut end = 0;
    for record in records(bytes) {
        match record {
            Ok(record) => {
                assert_eq!(record.at, end);
                end = record.end();
            }
            Err(malformed) => inside(bytes, &malformed),
        }
    }
    match first_flight(bytes) {
        FirstFlight::Hello(flight) => {
            assert!(flight.end <= bytes.len());
            message(&flight.message);
            // What is a hello stays one when more follows.
            assert!(matches!(first_flight(&[bytes, &[0]].concat()), FirstFlight::Hello(_)));
        }
        FirstFlight::NotTls(malformed) | FirstFlight::Broken(malformed) => inside(bytes, &malformed),
        FirstFlight::NeedMore | FirstFlight::SslV2(_) => {}
    }
    message(bytes);
    for message in messages(&handshake_bytes(bytes)) {
        server(message.bytes);
    }
}

fn message(bytes: &[u8]) {
    match ClientHello::parse(bytes) {
        Ok(view) => {
            hello(&view, Ja4Transport::Tcp);
            // An odd count of cipher bytes is the one thing the repr rounds off.
            let repr = ClientHelloRepr::from_view(&view);
            let again = repr.emit();
            if again.len() == view.message().len() {
                assert_eq!(again, view.message());
            }
            let view = ClientHello::parse(&again).expect("what is emitted parses");
            assert_eq!(ClientHelloRepr::from_view(&view), repr);
        }
        Err(malformed) => inside(bytes, &malformed),
    }
    if let Ok(view) = ClientHello::parse_prefix(bytes) {
        hello(&view, Ja4Transport::Quic);
    }
    server(bytes);
}

fn server(bytes: &[u8]) {
    match ServerHello::parse(bytes) {
        Ok(hello) => {
            let _ = (hello.version(), hello.alpn(), hello.is_retry_request(), hello.extensions().count());
        }
        Err(malformed) => inside(bytes, &malformed),
    }
    if let Ok(chain) = Certificates::parse(bytes) {
        chain.for_each(x509);
    }
}

/// One certificate.
pub fn x509(bytes: &[u8]) {
    match CertificateView::parse(bytes) {
        Ok(view) => {
            let _ = (view.subject.common_name(), view.issuer.organisation(), view.subject.country());
            let _ = (
                view.dns_names().count() + view.addresses().count(),
                view.names("www.example.org"),
                view.is_self_issued(),
            );
        }
        Err(malformed) => inside(bytes, &malformed),
    }
}

/// QUIC datagrams, and frames behind real keys.
pub fn quic(bytes: &[u8]) {
    for packet in quic::packets(bytes) {
        match packet {
            Ok(Packet::Long(view)) => {
                assert!(view.number_at <= view.bytes().len() || view.bytes().len() == bytes.len());
                let _ = (view.versions().count(), view.retry_tag(), view.version.name());
            }
            Ok(Packet::Short(rest)) => assert!(!rest.is_empty()),
            Err(malformed) => inside(bytes, &malformed),
        }
    }
    if let Some(chlo) = GquicView::parse(bytes).and_then(|view| view.chlo) {
        let _ = (chlo.sni(), chlo.user_agent(), chlo.tags().count());
    }
    let mut assembler = CryptoAssembler::new(Rekey::Any);
    let half = bytes.len() / 2;
    for datagram in [bytes, &bytes[..half], &bytes[half..], bytes] {
        step(datagram, &mut assembler);
        assembler.server(datagram);
    }
    for version in [Version::V1, Version::V2, Version::T051] {
        let frames: Vec<Frame<'_>> = quic::frames(bytes, version).map_while(Result::ok).take(64).collect();
        // Padding that would not fit a datagram, and counts that an emitter need not keep, are left out.
        let frames: Vec<_> = frames.into_iter().filter(|frame| !matches!(frame, Frame::Padding(_))).collect();
        let mut assembler = CryptoAssembler::new(Rekey::Never);
        for (number, frame) in frames.iter().enumerate() {
            let mut repr = InitialRepr::first(version, &[7; 8], &[]);
            repr.number = number as u32;
            let datagram = repr.seal(Side::Client, &[7; 8], &[*frame], 0).expect("a version with known keys");
            let step = step(&datagram, &mut assembler);
            assert!(matches!(step, Step::Hello | Step::NeedMore), "{step:?}");
        }
    }
}

fn step(datagram: &[u8], assembler: &mut CryptoAssembler) -> Step {
    let step = assembler.client(datagram);
    assert!(assembler.held_bytes() <= 2 * 65_536 + 16_384);
    if let Some(bytes) = assembler.hello()
        && let Ok(view) = ClientHello::parse(bytes)
    {
        hello(&view, Ja4Transport::Quic);
    }
    let _ = assembler.chlo().map(|chlo| chlo.sni());
    step
}

/// DNS messages and streams.
pub fn dns(bytes: &[u8]) {
    for message in dns::tcp_messages(bytes).take(16).chain([bytes]) {
        let Ok(view) = MessageView::parse(message) else { continue };
        let _ = (view.is_plausible(), view.addresses().count(), view.rcode(), view.opcode());
        if let Err(malformed) = view.check() {
            inside(message, &malformed);
        }
        for record in view.records().map_while(Result::ok) {
            let _ = (record.data(), record.strings().count(), record.service_parameter(5));
            assert!(record.name.normalised().len() <= 4 * 255);
        }
        for question in view.questions().map_while(Result::ok) {
            let text = question.name.to_text();
            assert!(text.contains('\\') || question.name.is_under(&text, false));
            again(&text);
        }
    }
}

/// A name without escapes survives the way out and back.
fn again(name: &str) {
    if name.contains('\\') {
        return;
    }
    let repr = MessageRepr { questions: vec![(name.to_owned(), 1, 1)], ..MessageRepr::default() };
    let bytes = repr.emit();
    let view = MessageView::parse(&bytes).expect("what is emitted parses");
    assert_eq!(view.question().expect("a question").name.to_text(), name);
}

/// HTTP/1 heads.
pub fn http(bytes: &[u8]) {
    match http::RequestView::parse(bytes) {
        Ok(view) => {
            assert!(view.head_len <= bytes.len());
            for header in view.headers() {
                assert_eq!(&bytes[header.value_at..header.value_at + header.value.len()], header.value);
            }
            let _ = (view.host(), view.hosts().count());
            let strict = http::HostRule {
                exact_case: true,
                one_space: true,
                crlf_only: true,
                ..http::HostRule::default()
            };
            let last = http::HostRule { last: true, absolute_target: true, ..http::HostRule::default() };
            let _ = (view.host_by(strict), view.host_by(last));
            if let Some(range) = view.host_range() {
                assert_eq!(view.hosts().next(), Some(&bytes[range]));
            }
        }
        Err(malformed) => inside(bytes, &malformed),
    }
    match http::ResponseView::parse(bytes) {
        Ok(view) => {
            let _ = (view.location(), view.headers().count(), view.body());
        }
        Err(malformed) => inside(bytes, &malformed),
    }
    let _ = http::looks_like_request(bytes);
}

/// DTLS datagrams.
pub fn dtls(bytes: &[u8]) {
    for record in dtls::records(bytes) {
        match record {
            Ok(record) => dtls::fragments(record.body).for_each(|fragment| {
                if let Err(malformed) = fragment {
                    inside(record.body, &malformed);
                }
            }),
            Err(malformed) => inside(bytes, &malformed),
        }
    }
    let mut assembler = dtls::Assembler::client_hello();
    let half = bytes.len() / 2;
    for datagram in [bytes, &bytes[half..], &bytes[..half], bytes] {
        if let dtls::Step::NotDtls(malformed) = assembler.datagram(datagram) {
            inside(datagram, &malformed);
        }
        assert!(assembler.held_bytes() <= 4 * 65_536 + 16_384);
    }
    for body in assembler.body().into_iter().chain([bytes]) {
        let view = dtls::client_hello_prefix(body);
        hello(&view, Ja4Transport::Dtls);
        let _ = dtls::srtp_profiles(&view).count();
        if let Ok(view) = dtls::client_hello(body) {
            let again = ClientHelloRepr::from_view(&view).emit_body();
            assert!(again.len() != body.len() || again == body);
        }
        let _ = (ServerHello::parse_body(body).is_ok(), dtls::verify_cookie(body).is_ok());
    }
}
