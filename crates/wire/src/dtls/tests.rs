//! Hellos there and back, in pieces and out of order.

use super::*;
use crate::tls::code::version;
use crate::tls::{ClientHelloRepr, Ja4Transport, ServerHello, ja4};

#[test]
fn what_was_parsed_is_emitted_byte_for_byte() {
    for repr in [preset::pion(1), preset::randomised(2), preset::randomised(3), preset::dtls13(4)] {
        let body = repr.emit_body();
        let view = client_hello(&body).expect("a hello");
        assert_eq!(ClientHelloRepr::from_view(&view), repr);
        let mut assembler = Assembler::client_hello();
        assert_eq!(assembler.datagram(&preset::datagram(&repr)), Step::Whole);
        assert_eq!(assembler.body(), Some(&*body));
        assert!(looks_like_dtls(&preset::datagram(&repr)));
    }
}

#[test]
fn versions_profiles_and_fingerprints_are_told() {
    let print = |repr: ClientHelloRepr| {
        let body = repr.emit_body();
        ja4(&client_hello(&body).expect("a hello"), Ja4Transport::Dtls)
    };
    assert!(print(preset::pion(1)).starts_with("dd2i060600_"));
    assert_eq!(print(preset::pion(1)), print(preset::pion(2)));
    assert!(print(preset::dtls13(1)).starts_with("dd3i030500_"));
    assert_ne!(print(preset::randomised(1)), print(preset::randomised(2)));
    let body = preset::pion(1).emit_body();
    assert_eq!(srtp_profiles(&client_hello(&body).expect("a hello")).collect::<Vec<_>>(), [7, 8, 1]);
}

#[test]
fn the_groups_of_pions_server_stand_where_the_rule_of_2021_looked() {
    let datagram = server_hello(&preset::pion_server_2021(1), 1);
    assert_eq!(datagram[..3], [0x16, 0xfe, 0xfd]);
    assert_eq!(datagram[0x5a..0x5f], [0x1d, 0, 0x17, 0, 0x18]);
    let record = records(&datagram).next().expect("a record").expect("well formed");
    let fragment = fragments(record.body).next().expect("one").expect("well formed");
    let hello = ServerHello::parse_body(fragment.body).expect("a server hello");
    assert_eq!((hello.version(), hello.cipher), (version::DTLS12, 0xc02b));
}

#[test]
fn fragments_are_joined_in_any_order_and_a_second_hello_replaces_the_first() {
    let body = preset::pion(1).emit_body();
    let pieces = fragments_of(handshake::CLIENT_HELLO, version::DTLS10, 0, 0, &body, 16);
    for stride in [1, 3, 5] {
        let count = pieces.len();
        assert!(count % 3 != 0 && count % 5 != 0, "{count}");
        let mut assembler = Assembler::client_hello();
        for index in 0..count {
            assert_eq!(assembler.body(), None);
            assembler.datagram(&pieces[index * stride % count]);
            assembler.datagram(&pieces[index * stride % count]);
        }
        assert_eq!(assembler.body(), Some(&*body));
        let verify = hello_verify(b"biscuit");
        assert_eq!(assembler.datagram(&verify), Step::Whole);
        let mut again = preset::pion(1);
        again.cookie = Some(b"biscuit".to_vec());
        let body = again.emit_body();
        let sent = fragments_of(handshake::CLIENT_HELLO, version::DTLS12, 1, 1, &body, 10_000).concat();
        assert_eq!(assembler.datagram(&sent), Step::Whole);
        let view = client_hello(assembler.body().expect("whole")).expect("a hello");
        assert_eq!(view.cookie, Some(&b"biscuit"[..]));
    }
    let verify = hello_verify(b"biscuit");
    let record = records(&verify).next().expect("a record").expect("well formed");
    let fragment = fragments(record.body).next().expect("one").expect("well formed");
    assert_eq!(verify_cookie(fragment.body), Ok(&b"biscuit"[..]));
}

#[test]
fn what_shares_the_port_is_not_taken_for_dtls() {
    let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let rtp = [0x80; 40];
    for no in [&stun[..], &rtp, b"\x16\x03\x01\x00\x05hello", &[0x16, 0xfe, 0xfd]] {
        assert!(!looks_like_dtls(no));
        assert!(matches!(Assembler::client_hello().datagram(no), Step::NotDtls(_)), "{no:?}");
    }
}

#[test]
fn every_prefix_of_a_datagram_is_answered_without_a_hello() {
    let datagram = preset::datagram(&preset::pion(1));
    for len in 1..datagram.len() {
        let mut assembler = Assembler::client_hello();
        let step = assembler.datagram(&datagram[..len]);
        assert!(matches!(step, Step::NotDtls(malformed) if malformed.offset <= len), "{len}: {step:?}");
    }
}

#[test]
fn encrypted_records_of_dtls_13_are_walked() {
    let mut datagram = vec![0x2e, 1, 2, 0, 4, 9, 9, 9, 9];
    datagram.extend([0x2a, 7, 7, 5]);
    let all: Vec<_> = records(&datagram).map(|record| record.expect("well formed")).collect();
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].body, all[0].epoch, all[1].epoch), (&[9; 4][..], 2, 2));
}
