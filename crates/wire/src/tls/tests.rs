//! What is emitted is read back, whole and in pieces.

use super::code::{content, ext};
use super::*;

fn samples() -> Vec<ClientHelloRepr> {
    vec![
        preset::chrome(1, Some("www.example.org"), false),
        preset::chrome(2, Some("WWW.Example.org."), true),
        preset::chrome(3, None, true),
        preset::firefox(4, Some("example.org"), true),
        preset::telegram(5, "example.com"),
        preset::telegram_short(6, "example.com"),
        preset::curl(6, Some("example.net")),
        preset::quic(7, Some("example.net"), &[1; 8], true),
    ]
}

#[test]
fn what_was_parsed_is_emitted_byte_for_byte() {
    for repr in samples() {
        let message = repr.emit();
        let view = ClientHello::parse(&message).expect("a hello");
        assert_eq!(ClientHelloRepr::from_view(&view), repr);
        assert_eq!(ClientHelloRepr::from_view(&view).emit(), message);
    }
}

#[test]
fn the_presets_have_the_fingerprints_of_their_clients() {
    let print = |repr: ClientHelloRepr| {
        let message = repr.emit();
        ja4(&ClientHello::parse(&message).expect("a hello"), Ja4Transport::Tcp)
    };
    // The Chrome fingerprint that Russian boxes were reported to match in June 2026.
    assert_eq!(print(preset::chrome(1, Some("a.org"), false)), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
    assert_eq!(print(preset::chrome(1, Some("a.org"), true)), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
    assert!(print(preset::curl(1, Some("a.org"))).starts_with("t13d3110h2_e8f1e7e78f70_"));
    for post_quantum in [false, true] {
        let firefox = print(preset::firefox(1, Some("a.org"), post_quantum));
        assert_eq!(firefox, "t13d1717h2_5b57614c22b0_3cbfd9057e0d");
    }
    assert_ne!(print(preset::telegram(1, "a.org")), print(preset::chrome(1, Some("a.org"), true)));
    assert_eq!(preset::telegram_short(1, "a.org").emit_record().len(), 517);
}

#[test]
fn the_view_tells_what_the_hello_says() {
    let message = preset::chrome(2, Some("WWW.Example.org."), true).emit();
    let view = ClientHello::parse(&message).expect("a hello");
    assert_eq!(view.sni(), Some(&b"WWW.Example.org."[..]));
    assert_eq!(view.normalised_name().as_deref(), Some("www.example.org"));
    assert_eq!(&message[view.sni_range().expect("a name")], b"WWW.Example.org.");
    assert_eq!(view.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!(view.highest_version(), 0x0304);
    assert!(view.has_grease() && !view.has_psk() && !view.has_early_data());
    assert!(matches!(view.ech(), Some(Ech::Outer { kdf: 1, aead: 1, .. })));
    assert_eq!(view.key_shares().map(|(_, key)| key.len()).collect::<Vec<_>>(), [1, 1_216, 32]);
    assert!((1_700..2_000).contains(&message.len()), "{} bytes", message.len());
    let telegram = preset::telegram(1, "a.org").emit();
    let view = ClientHello::parse(&telegram).expect("a hello");
    assert!(matches!(view.ech(), Some(Ech::Draft(ext::ECH_DRAFT_08, _))));
}

#[test]
fn padding_makes_the_message_as_long_as_asked() {
    let repr = preset::curl(1, Some("example.org"));
    let message = repr.clone().padded_to(1_500).emit();
    assert_eq!(message.len(), 1_500);
    let view = ClientHello::parse(&message).expect("a hello");
    assert!(view.padding().is_some());
    assert_eq!(repr.clone().padded_to(10), repr);
}

#[test]
fn a_hello_over_many_records_is_joined_and_one_record_shows_only_its_piece() {
    let message = preset::chrome(1, Some("www.example.org"), false).emit();
    for size in [1, 2, 3, 4, 7, 100, 16_384] {
        let mut stream = records_of(0x0301, &message, size);
        let end = stream.len();
        stream.extend(record(content::APPLICATION_DATA, 0x0303, b"early"));
        let FirstFlight::Hello(flight) = first_flight(&stream) else { panic!("no hello at {size}") };
        assert_eq!(*flight.message, *message);
        assert_eq!((flight.end, flight.records), (end, message.len().div_ceil(size)));
    }
    let name = ClientHello::parse(&message).expect("a hello").sni_range().expect("a name");
    let stream = split_records(0x0301, &message, &[name.start + 3]);
    let first = records(&stream).next().expect("a record").expect("well formed");
    let seen = ClientHello::parse_prefix(first.body).expect("a hello");
    assert_eq!(seen.sni(), None);
    assert!(seen.cut.is_some());
}

#[test]
fn every_prefix_of_a_flight_wants_more_and_every_prefix_of_a_hello_keeps_what_stood_before() {
    for repr in samples() {
        let stream = repr.emit_record();
        for len in 0..stream.len() {
            assert_eq!(first_flight(&stream[..len]), FirstFlight::NeedMore, "at {len}");
        }
        let message = repr.emit();
        let whole = ClientHello::parse(&message).expect("a hello");
        let name = whole.sni_range();
        for len in 4..message.len() {
            assert!(ClientHello::parse(&message[..len]).is_err());
            let view = ClientHello::parse_prefix(&message[..len]).expect("begins as a hello");
            assert!(view.cut.is_some_and(|cut| cut.offset <= len));
            assert_eq!(view.sni_range(), name.clone().filter(|name| name.end <= len), "at {len}");
        }
    }
}

#[test]
fn what_stands_before_the_hello_is_skipped_and_what_is_no_tls_is_said() {
    let hello = preset::curl(1, Some("example.org")).emit_record();
    let mut stream = record(content::CHANGE_CIPHER_SPEC, 0x0301, &[1]);
    stream.extend(Alert { level: 1, description: 0 }.emit(0x0301));
    stream.extend(&hello);
    let FirstFlight::Hello(flight) = first_flight(&stream) else { panic!("no hello") };
    assert_eq!(flight.skipped, 2);
    assert!(matches!(first_flight(b"GET / HTTP/1.1"), FirstFlight::NotTls(_)));
    assert!(matches!(first_flight(&[0x16, 3, 1, 0, 4, 2, 0, 0, 0]), FirstFlight::Broken(_)));
    assert!(matches!(first_flight(&[0x17, 3, 3, 0, 1, 2]), FirstFlight::NotTls(_)));
    assert!(matches!(first_flight(&[0x16, 3, 1, 0, 4, 1, 255, 0, 0]), FirstFlight::Broken(_)));
    let mut v2 = vec![0x80, 9 + 3 + 16, 1, 3, 1, 0, 3, 0, 0, 0, 16, 1, 2, 3];
    v2.extend([9; 16]);
    assert_eq!(first_flight(&v2), FirstFlight::SslV2(0x0301));
}

#[test]
fn the_servers_side_is_read_back() {
    let mut repr = ServerHelloRepr::tls12([7; 32]);
    repr.session_id = vec![3; 32];
    repr.extensions = vec![extension::alpn(&["h2"]), (ext::SUPPORTED_VERSIONS, vec![3, 4])];
    let mut stream = records_of(0x0303, &repr.emit(), 50);
    stream.extend(record(content::HANDSHAKE, 0x0303, &certificate_message(&[b"leaf", b"root"])));
    let joined = handshake_bytes(&stream);
    let all: Vec<_> = messages(&joined).collect();
    assert_eq!(all.len(), 2);
    let hello = ServerHello::parse(all[0].bytes).expect("a server hello");
    assert_eq!((hello.version(), hello.cipher, hello.alpn()), (0x0304, 0xc02f, Some(&b"h2"[..])));
    assert!(!hello.is_retry_request());
    let chain: Vec<_> = Certificates::parse(all[1].bytes).expect("a chain").collect();
    assert_eq!(chain, [b"leaf", b"root"]);
}

#[test]
fn alpn_of_a_fingerprint_takes_hexadecimal_for_odd_bytes() {
    let print = |alpn: &[u8]| {
        let mut body = vec![0, alpn.len() as u8 + 1, alpn.len() as u8];
        body.extend(alpn);
        let message = preset::curl(1, None).with_extension((ext::ALPN, body)).emit();
        ja4(&ClientHello::parse(&message).expect("a hello"), Ja4Transport::Tcp)[8..10].to_owned()
    };
    assert_eq!(print(b"h2"), "h2");
    assert_eq!(print(b"http/1.1"), "h1");
    assert_eq!(print(&[0xab]), "ab");
    assert_eq!(print(&[0x30, 0xab]), "3b");
}

/// The example of https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md.
#[test]
fn the_example_of_the_specification_has_its_fingerprint() {
    let message = preset::chrome(1, Some("a.org"), false)
        .without_extension(ext::ECH)
        .without_extension(ext::APPLICATION_SETTINGS)
        .with_extension((ext::APPLICATION_SETTINGS_OLD, vec![0, 3, 2, b'h', b'2']))
        .padded_to(512)
        .emit();
    let view = ClientHello::parse(&message).expect("a hello");
    assert_eq!(
        ja4_raw(&view, Ja4Transport::Tcp),
        "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_\
         0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_\
         0403,0804,0401,0503,0805,0501,0806,0601"
    );
    assert_eq!(ja4(&view, Ja4Transport::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    assert_eq!(ja4_head(&view, Ja4Transport::Tcp), "t13d1516h2");
}
