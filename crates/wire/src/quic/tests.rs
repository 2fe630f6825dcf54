//! The RFCs' own packets, and what is sealed is opened.

use super::*;
use crate::tls::{ClientHello, preset};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const DCID: &str = "8394c8f03e515708";

/// RFC 9001 appendix A.2: the CRYPTO frame of the client's Initial.
const CLIENT_FRAME: &str =
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c
    00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007
    000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43
    e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ff
    ffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff";

/// RFC 9001 appendix A.3 and RFC 9369 appendix A.3: the server's payload and its packets in v1 and v2.
const SERVER_PAYLOAD: &str =
    "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5
    430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a
    002b00020304";
const SERVER_V1: &str =
    "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c6979755
    4780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022
    f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";
const SERVER_V2: &str =
    "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bb
    f87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c98
    4c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140";

fn long(datagram: &[u8]) -> LongView<'_> {
    LongView::parse(datagram).expect("a long header")
}

#[test]
fn the_clients_initial_of_rfc_9001_is_sealed_and_opened() {
    let frame = hex(CLIENT_FRAME);
    let Some(Ok(crypto)) = frames(&frame, Version::V1).next() else { panic!("no frame") };
    let mut repr = InitialRepr::first(Version::V1, &hex(DCID), &[]);
    (repr.number, repr.number_len) = (2, 4);
    let packet = repr.seal(Side::Client, &hex(DCID), &[crypto], 1_200).expect("known keys");
    assert_eq!(packet.len(), 1_200);
    assert_eq!(packet[..34], hex("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242"));
    assert_eq!(packet[1_184..], hex("e221af44860018ab0856972e194cd934"));
    let mut assembler = CryptoAssembler::new(Rekey::Never);
    assert_eq!(assembler.client(&packet), Step::Hello);
    let hello = ClientHello::parse(assembler.hello().expect("a hello")).expect("a hello");
    assert_eq!(hello.server_name(), Some("example.com"));
}

#[test]
fn the_servers_initials_of_both_rfcs_open_and_seal_again() {
    for (version, packet) in [(Version::V1, hex(SERVER_V1)), (Version::V2, hex(SERVER_V2))] {
        let view = long(&packet);
        assert_eq!((view.kind, view.version), (PacketKind::Initial, version));
        let keys = Keys::initial(version, &hex(DCID), Side::Server).expect("known keys");
        let opened = keys.open(&view).expect("opens");
        assert_eq!((opened.number, &opened.payload), (1, &hex(SERVER_PAYLOAD)));
        let mut repr = InitialRepr::first(version, view.dcid, view.scid);
        (repr.number, repr.number_len) = (1, 2);
        // The RFC's ACK says first range 0 with delay 0: what Frame::Ack emits.
        let all: Vec<_> = frames(&opened.payload, version).map(|frame| frame.expect("a frame")).collect();
        assert_eq!(repr.seal(Side::Server, &hex(DCID), &all, 0).expect("known keys"), packet);
    }
}

#[test]
fn the_retries_of_both_rfcs_carry_the_tag_we_compute() {
    let v1 = "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba";
    let v2 = "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6";
    for (version, packet) in [(Version::V1, hex(v1)), (Version::V2, hex(v2))] {
        assert_eq!(retry(version, &[], &hex("f067a5502a4262b5"), b"token", &hex(DCID)), Some(packet.clone()));
        let view = long(&packet);
        assert_eq!((view.kind, view.token), (PacketKind::Retry, &b"token"[..]));
        assert!(view.retry_tag().is_some_and(|tag| packet.ends_with(tag)));
    }
}

fn hello() -> Vec<u8> {
    preset::quic(1, Some("quic.example.org"), &[9; 5], true).emit()
}

#[test]
fn a_hello_scattered_over_datagrams_is_joined_in_any_order() {
    let message = hello();
    let cuts: Vec<usize> = (1..30).map(|index| index * message.len() / 30).collect();
    let pieces = crypto_frames(&message, &cuts);
    for version in [Version::V1, Version::V2, Version::DRAFT_29, Version::T051] {
        for stride in [1, 7, 11, 29] {
            let order: Vec<Frame<'_>> = (0..30).map(|index| pieces[index * stride % 30]).collect();
            let mut assembler = CryptoAssembler::new(Rekey::Never);
            let mut last = Step::NeedMore;
            for (number, chunk) in order.chunks(15).enumerate() {
                assert_eq!(last, Step::NeedMore);
                // The second datagram already bears the server's id; the keys stay those of the first.
                let dcid: &[u8] = if number == 0 { &[1; 8] } else { &[2; 4] };
                let mut repr = InitialRepr::first(version, dcid, &[9; 5]);
                repr.number = number as u32;
                let mut frames = vec![Frame::Ping, Frame::Padding(3)];
                frames.extend(chunk);
                last =
                    assembler.client(&repr.seal(Side::Client, &[1; 8], &frames, 1_200).expect("known keys"));
            }
            assert_eq!(last, Step::Hello);
            assert_eq!(assembler.hello(), Some(&*message));
            assert_eq!((assembler.datagrams(), assembler.version()), (2, Some(version)));
        }
    }
}

#[test]
fn of_overlapping_pieces_what_was_joined_stays() {
    let message = hello();
    let forged = vec![0xee; 40];
    let all = [
        Frame::Crypto { offset: 100, data: &message[100..] },
        Frame::Crypto { offset: 90, data: &forged },
        Frame::Crypto { offset: 0, data: &message[..100] },
    ];
    let repr = InitialRepr::first(Version::V1, &[1; 8], &[]);
    let mut assembler = CryptoAssembler::new(Rekey::Never);
    assert_eq!(assembler.client(&repr.seal(Side::Client, &[1; 8], &all, 0).expect("known")), Step::Hello);
    assert_eq!(assembler.joined()[..100], message[..100]);
    // 90..130 was forged before the head came; the head's own bytes came later but are contiguous, so they
    // win up to 100, and the piece at 90 sorts before the one at 100.
    assert_eq!(assembler.joined()[130..], message[130..]);
}

#[test]
fn a_retry_changes_the_keys_and_a_foreign_id_only_when_allowed() {
    let message = hello();
    let whole = crypto_frames(&message, &[]);
    let half = crypto_frames(&message, &[900]);
    let seal = |dcid: &[u8], frames: &[Frame<'_>]| {
        InitialRepr::first(Version::V1, dcid, &[]).seal(Side::Client, dcid, frames, 1_200).expect("known")
    };
    let (first, second) = (seal(&[1; 8], &half[..1]), seal(&[2; 8], &whole));
    for (rekey, retried, expected) in [
        (Rekey::Never, true, false),
        (Rekey::AfterRetry, false, false),
        (Rekey::AfterRetry, true, true),
        (Rekey::Any, false, true),
    ] {
        let mut assembler = CryptoAssembler::new(rekey);
        assert_eq!(assembler.client(&first), Step::NeedMore);
        if retried {
            assembler.server(&retry(Version::V1, &[], &[2; 8], b"token", &[1; 8]).expect("v1"));
        }
        let step = assembler.client(&second);
        assert_eq!(step == Step::Hello, expected, "{rekey:?}, {retried}");
    }
}

#[test]
fn coalesced_packets_are_walked_and_what_is_no_quic_is_refused() {
    let message = hello();
    let initial = InitialRepr::first(Version::V1, &[1; 8], &[2; 8]);
    let mut datagram = initial.seal(Side::Client, &[1; 8], &crypto_frames(&message, &[]), 0).expect("known");
    let first = datagram.len();
    datagram.extend([0xe0, 0, 0, 0, 1, 1, 7, 0, 0x41, 0x00]);
    datagram.extend([5; 256]);
    datagram.extend(short_packet(&[1; 8], &[3; 30]));
    let all: Vec<_> = packets(&datagram).map(|packet| packet.expect("a packet")).collect();
    let [Packet::Long(one), Packet::Long(two), Packet::Short(three)] = &all[..] else { panic!("{all:?}") };
    assert_eq!((one.bytes().len(), two.kind, three.len()), (first, PacketKind::Handshake, 39));
    assert!(looks_like_quic(&datagram));
    let offer = version_negotiation(&[1; 8], &[2; 8], &[Version::V1, Version::V2]);
    assert!(looks_like_quic(&offer));
    assert_eq!(long(&offer).versions().collect::<Vec<_>>(), [Version::V1, Version::V2]);
    for no in [&b"\x01\x00\x00\x00"[..], b"GET / HTTP/1.1", &[0xc0, 1, 2, 3, 4, 5, 6, 7], &[0x80; 60]] {
        assert!(!looks_like_quic(no));
        assert!(matches!(CryptoAssembler::default().client(no), Step::NotQuic(_)), "{no:?}");
    }
}

#[test]
fn a_lying_offset_costs_no_memory() {
    let mut assembler = CryptoAssembler::new(Rekey::Any);
    let far = [0xaa; 10];
    for number in 0..2_000_u32 {
        let mut repr = InitialRepr::first(Version::V1, &[1; 8], &[]);
        repr.number = number;
        repr.number_len = 4;
        let offset = 1_000 + u64::from(number) * 1_000_003;
        let frames = [
            Frame::Crypto { offset, data: &far },
            Frame::Crypto { offset: 60_000 - u64::from(number), data: &far },
        ];
        assembler.client(&repr.seal(Side::Client, &[1; 8], &frames, 0).expect("known"));
    }
    assert!(assembler.held_bytes() < 65_536);
}

#[test]
fn every_prefix_of_a_datagram_is_answered_without_a_hello() {
    let message = preset::quic(1, Some("quic.example.org"), &[9; 5], false).emit();
    let repr = InitialRepr::first(Version::V1, &[1; 8], &[9; 5]);
    let datagram = repr.seal(Side::Client, &[1; 8], &crypto_frames(&message, &[]), 1_200).expect("known");
    for len in 0..datagram.len() {
        let step = CryptoAssembler::default().client(&datagram[..len]);
        assert!(len == 0 || matches!(step, Step::NotQuic(_) | Step::Unreadable(_)), "{len}: {step:?}");
    }
}

#[test]
fn googles_hello_names_its_server() {
    let mut chlo = b"CHLO\x02\x00\x00\x00SNI\x00\x0b\x00\x00\x00UAID\x11\x00\x00\x00".to_vec();
    chlo.extend(b"example.orgChrome");
    let mut datagram = vec![0x0d, 1, 2, 3, 4, 5, 6, 7, 8];
    datagram.extend(b"Q043\x01");
    datagram.extend([7; 12]);
    datagram.extend([0xa0, 1, 0, 4]);
    datagram.extend(&chlo);
    let mut assembler = CryptoAssembler::default();
    assert_eq!(assembler.client(&datagram), Step::Hello);
    let chlo = assembler.chlo().expect("a hello");
    assert_eq!((chlo.sni(), chlo.user_agent()), (Some(&b"example.org"[..]), Some(&b"Chrome"[..])));
    assert_eq!(assembler.version().map(Version::name).as_deref(), Some("Q043"));
}
