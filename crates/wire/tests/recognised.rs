//! What flows are told, what they are not mistaken for, and that no bytes make the classifier panic.

mod watch;

use std::path::Path;

use okno_wire::openvpn::{Opcode, framed};
use okno_wire::{
    Ports, Protocol, Recogniser, Side, Stream, bittorrent, dns, dtls, http, ike, l2tp, mtproto, openvpn,
    quic, rtp, sip, socks, ssh, stun, tls, wireguard,
};

const HIGH: Ports = Ports { initiator: 40_000, responder: 50_000 };

/// Bytes of a fixed generator (xorshift*, 64 bits).
struct Noise(u64);

impl Noise {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next() as u8).collect()
    }
}

fn of_datagrams(datagrams: &[(Side, Vec<u8>)], ports: Ports) -> Vec<okno_wire::Recognition> {
    let mut recogniser = Recogniser::new();
    datagrams.iter().filter_map(|(side, bytes)| recogniser.datagram(*side, bytes, ports)).collect()
}

/// The protocol told last.
fn udp(datagrams: &[(Side, Vec<u8>)], ports: Ports) -> Option<Protocol> {
    of_datagrams(datagrams, ports).last().map(|told| told.protocol)
}

fn tcp(initiator: &[u8], responder: &[u8], ports: Ports, midstream: bool) -> Option<Protocol> {
    let mut recogniser = Recogniser::new();
    let mut told = None;
    for (sent, answered) in [(initiator, &[][..]), (initiator, responder)] {
        let stream = Stream { initiator: sent, responder: answered, ports, midstream };
        told = recogniser.stream(&stream).map(|news| news.protocol).or(told);
    }
    told
}

fn up(bytes: Vec<u8>) -> (Side, Vec<u8>) {
    (Side::Initiator, bytes)
}

fn down(bytes: Vec<u8>) -> (Side, Vec<u8>) {
    (Side::Responder, bytes)
}

fn stun_request() -> stun::Repr {
    stun::Repr {
        method: 1,
        class: stun::Class::Request,
        transaction: [7; 12],
        attributes: vec![(0x8022, b"okno".to_vec()), (0x0006, b"a:b".to_vec())],
    }
}

fn openvpn_resets() -> (openvpn::Repr, openvpn::Repr) {
    let client = openvpn::Repr {
        opcode: Opcode::ResetClientV2,
        session: 0x1234_5678_9abc_def1,
        acknowledged: vec![],
        remote: 0,
        id: 0,
        payload: vec![],
    };
    let server = openvpn::Repr {
        opcode: Opcode::ResetServerV2,
        session: 0x9f8e_7d6c_5b4a_3921,
        acknowledged: vec![0],
        remote: client.session,
        ..client.clone()
    };
    (client, server)
}

fn initiation() -> wireguard::Message {
    wireguard::Message { kind: wireguard::Kind::Initiation { sender: 0xdead_beef }, reserved: [0; 3] }
}

fn ike_message() -> Vec<u8> {
    // One SA payload of eight bytes.
    let header = ike::Header {
        initiator: 0x1122_3344_5566_7788,
        responder: 0,
        next: 33,
        version: 2,
        exchange: 34,
        flags: 0x08,
        message: 0,
        length: 36,
    };
    [&header.emit()[..], &[0, 0, 0, 8, 1, 2, 3, 4]].concat()
}

fn media(sequence: u16) -> Vec<u8> {
    let header = rtp::Header {
        marker: false,
        payload_type: 111,
        sequence,
        timestamp: 960 * u32::from(sequence),
        ssrc: 0x00c0_ffee,
        sources: 0,
        extension: false,
        padding: false,
    };
    [&header.emit()[..], &[0x55; 80]].concat()
}

fn sip_request() -> Vec<u8> {
    let party = "<sip:bob@example.org>;tag=1";
    sip::emit_request(
        "INVITE",
        "sip:bob@voip.example.org:5060;transport=udp",
        "77@a",
        party,
        party,
        "SIP/2.0/UDP a",
    )
}

fn client_hello(name: &str) -> Vec<u8> {
    tls::ClientHelloRepr::from_view(&hello_view()).with_name(Some(name)).emit_record()
}

fn hello_view() -> tls::ClientHello<'static> {
    // A whole hello of a browser, kept for the process's life: the view borrows from it.
    let bytes: &'static [u8] =
        Box::leak(okno_wire::tls::preset::firefox(5, Some("a.example"), false).emit().into());
    tls::ClientHello::parse(bytes).expect("a preset parses")
}

#[test]
fn what_is_emitted_parses_back() {
    let request = stun_request();
    assert_eq!(stun::Repr::parse(&request.emit()), Ok(request));
    let channel = stun::ChannelData { channel: 0x4001, data: b"media" };
    assert_eq!(stun::ChannelData::parse(&channel.emit()), Ok(channel));
    let (client, server) = openvpn_resets();
    assert_eq!(openvpn::Repr::parse(&client.emit()).as_ref(), Ok(&client));
    assert_eq!(openvpn::Repr::parse(&server.emit()).as_ref(), Ok(&server));
    let ack = openvpn::Repr { opcode: Opcode::Ack, ..server.clone() };
    assert_eq!(openvpn::Repr::parse(&ack.emit()), Ok(ack));
    assert_eq!(
        openvpn::Packet::parse(&server.emit()).map(|packet| packet.acknowledges()),
        Ok(Some(client.session))
    );
    for kind in [
        wireguard::Kind::Initiation { sender: 1 },
        wireguard::Kind::Response { sender: 2, receiver: 1 },
        wireguard::Kind::CookieReply { receiver: 3 },
        wireguard::Kind::Data { receiver: 4, counter: 1 << 40, size: 16 },
    ] {
        let message = wireguard::Message { kind, reserved: [0; 3] };
        assert_eq!(wireguard::Message::parse(&message.emit(9)), Ok(message));
    }
    let header = ike::Header::parse(&ike_message());
    assert_eq!(header.map(|header| header.emit().to_vec()), Ok(ike_message()[..28].to_vec()));
    let esp = ike::Esp { spi: 0x1000, sequence: 1 };
    assert_eq!(ike::Esp::parse(&esp.emit(48, 3)), Ok(esp));
    let control = l2tp::Control { version: 2, tunnel: 1, session: 0, sent: 3, expected: 4, kind: Some(1) };
    assert_eq!(l2tp::Control::parse(&control.emit()), Ok(control));
    let banner = ssh::Banner { version: "2.0", software: "OpenSSH_9.6", comment: "Debian", size: 28 };
    assert_eq!(ssh::Banner::parse(&banner.emit()), Ok(banner));
    let names = ssh::KexInit { lists: ["a,b", "c", "", "d", "e", "f", "none", "none", "", ""] };
    assert_eq!(ssh::KexInit::parse(&names.emit()), Ok(names));
    let packet = media(5);
    assert_eq!(rtp::Header::parse(&packet).map(|header| header.emit().to_vec()), Ok(packet[..12].to_vec()));
    let peer = bittorrent::Handshake { reserved: [1; 8], info_hash: [2; 20], peer: &[3; 20] };
    assert_eq!(bittorrent::Handshake::parse(&peer.emit()), Ok(peer));
}

#[test]
fn socks_requests_of_all_kinds_parse_back() {
    let ip = core::net::IpAddr::from([192, 0, 2, 1]);
    let six = core::net::IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    for (version, target) in [
        (4, socks::Target::Address(ip)),
        (4, socks::Target::Name("example.org")),
        (5, socks::Target::Address(ip)),
        (5, socks::Target::Address(six)),
        (5, socks::Target::Name("example.org")),
    ] {
        let mut request = socks::Request { version, command: 1, target, port: 443, size: 0 };
        let bytes = request.emit();
        request.size = bytes.len();
        let parsed =
            if version == 4 { socks::Request::parse_v4(&bytes) } else { socks::Request::parse_v5(&bytes) };
        assert_eq!(parsed, Ok(request));
    }
}

#[test]
fn datagrams_are_told_on_any_port() {
    let (client, server) = openvpn_resets();
    let dht = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe".to_vec();
    let data = |counter| {
        let kind = wireguard::Kind::Data { receiver: 77, counter, size: 64 };
        wireguard::Message { kind, reserved: [0; 3] }.emit(0x5a)
    };
    let control = l2tp::Control { version: 2, tunnel: 0, session: 0, sent: 0, expected: 0, kind: Some(1) };
    let syn = bittorrent::Utp {
        kind: 4,
        extension: 0,
        connection: 900,
        timestamp: 5,
        difference: 0,
        window: 9,
        sequence: 1,
        acknowledged: 0,
        payload_at: 20,
    };
    let query = dns::query(7, "www.example.org", dns::kind::A).emit();
    let relay = [&[0x5a; 16][..], &[0xff; 12], &[0xfe, 0xff, 0xff, 0xff], &[1; 8]].concat();
    for (expected, flow) in [
        (Protocol::Stun, vec![up(stun_request().emit())]),
        (Protocol::OpenVpn, vec![up(client.emit()), down(server.emit())]),
        (Protocol::OpenVpn, vec![down(server.emit())]),
        (Protocol::WireGuard, vec![up(initiation().emit(0x77))]),
        (Protocol::WireGuard, vec![up(data(5)), up(data(6))]),
        (Protocol::Ike, vec![up(ike_message())]),
        (Protocol::Rtp, vec![up(media(1)), up(media(2)), up(media(3))]),
        (Protocol::Sip, vec![up(sip_request())]),
        (Protocol::L2tp, vec![up(control.emit())]),
        (Protocol::BitTorrent, vec![up(dht)]),
        (Protocol::BitTorrent, vec![up(syn.emit().to_vec())]),
        (Protocol::Dns, vec![up(query)]),
        (Protocol::Dtls, vec![up(dtls::preset::datagram(&dtls::preset::pion(3)))]),
        (Protocol::MtProto, vec![up(relay)]),
    ] {
        assert_eq!(udp(&flow, HIGH), Some(expected));
    }
}

#[test]
fn a_flow_of_ice_is_stun_until_dtls_names_its_hello() {
    let hello = dtls::preset::datagram(&dtls::preset::pion(3));
    let told = of_datagrams(&[up(stun_request().emit()), up(media(1)), up(hello), up(media(2))], HIGH);
    assert_eq!(told.iter().map(|news| news.protocol).collect::<Vec<_>>(), [Protocol::Stun, Protocol::Dtls]);
    assert!(told[1].fingerprint.starts_with('d'), "{}", told[1].fingerprint);
}

#[test]
fn tunnels_on_the_ports_of_others_are_told_all_the_same() {
    let (client, server) = openvpn_resets();
    for responder in [53, 67, 123, 137, 161, 443, 500, 1900, 4500, 5353] {
        let ports = Ports { initiator: 40_000, responder };
        let flow = [up(client.emit()), down(server.emit())];
        assert_eq!(udp(&flow, ports), Some(Protocol::OpenVpn), "port {responder}");
        assert_eq!(udp(&[up(initiation().emit(0x77))], ports), Some(Protocol::WireGuard), "port {responder}");
    }
}

#[test]
fn quic_is_named_whoever_is_taken_for_the_opener() {
    let hello = okno_wire::tls::preset::quic(4, Some("quic.example"), b"scid", false).emit();
    let initial = quic::InitialRepr::first(quic::Version::V1, b"8 bytes!", b"scid");
    let frames = quic::crypto_frames(&hello, &[]);
    let sealed = initial.seal(quic::Side::Client, b"8 bytes!", &frames, 1200).expect("v1 has keys");
    for side in [Side::Initiator, Side::Responder] {
        let told = of_datagrams(&[(side, sealed.clone())], HIGH);
        assert_eq!(
            told.last().map(|news| (news.protocol, &*news.name)),
            Some((Protocol::Quic, "quic.example"))
        );
    }
}

#[test]
fn esp_on_its_port_is_told_and_wireguard_there_is_not_esp() {
    let ports = Ports { initiator: 4500, responder: 4500 };
    let esp = |sequence| up(ike::Esp { spi: 0xabcd_ef01, sequence }.emit(48, 3));
    assert_eq!(udp(&[esp(1), esp(2)], ports), Some(Protocol::Esp));
    assert_eq!(udp(&[esp(1 << 30), esp((1 << 30) + 1)], ports), Some(Protocol::Esp));
    assert_eq!(udp(&[esp(1), esp(2)], HIGH), None);
    let marked = [&[0; 4][..], &ike_message()].concat();
    assert_eq!(udp(&[up(marked)], ports), Some(Protocol::Ike));
    assert_eq!(udp(&[up(initiation().emit(0x77))], ports), Some(Protocol::WireGuard));
}

#[test]
fn streams_are_told_on_any_port_and_by_either_side() {
    let (client, server) = openvpn_resets();
    let peer = bittorrent::Handshake { reserved: [1; 8], info_hash: [2; 20], peer: &[3; 20] }.emit();
    let ssh = b"SSH-2.0-OpenSSH_9.6\r\n".to_vec();
    let get = http::RequestRepr::get("example.org", "/").emit();
    let query = dns::tcp_framed(&dns::query(7, "www.example.org", dns::kind::A).emit());
    let random: [u8; 64] = core::array::from_fn(|at| Noise::new(99 + at as u64).next() as u8);
    let telegram =
        mtproto::Obfuscated { framing: mtproto::Framing::Padded, centre: 2 }.emit(&random).to_vec();
    for (expected, sent, answered) in [
        (Protocol::Tls, client_hello("example.org"), vec![]),
        (Protocol::Http, get, vec![]),
        (Protocol::Ssh, vec![], ssh.clone()),
        (Protocol::Ssh, ssh, vec![]),
        (Protocol::Socks, vec![5, 1, 0], vec![5, 0]),
        (Protocol::BitTorrent, peer, vec![]),
        (Protocol::OpenVpn, framed(&client.emit()), framed(&server.emit())),
        (Protocol::Sip, sip_request(), vec![]),
        (Protocol::Dns, query, vec![]),
        (Protocol::Stun, stun_request().emit(), vec![]),
        (Protocol::MtProto, telegram, vec![]),
    ] {
        let told = tcp(&sent, &answered, HIGH, false);
        // A bare SOCKS greeting and its answer wait for the request.
        let told = if expected == Protocol::Socks {
            tcp(&[&sent[..], &[5, 1, 0, 1, 192, 0, 2, 1, 1, 187]].concat(), &answered, HIGH, false)
        } else {
            told
        };
        assert_eq!(told, Some(expected));
    }
}

#[test]
fn names_and_fingerprints_are_told() {
    let mut recogniser = Recogniser::new();
    let hello = client_hello("Example.ORG");
    let stream = |sent| Stream { initiator: sent, responder: &[], ports: HIGH, midstream: false };
    let early = recogniser.stream(&stream(&hello[..60])).expect("the head of a hello is TLS");
    assert_eq!((early.protocol, &*early.name), (Protocol::Tls, ""));
    assert!(!recogniser.is_done());
    let whole = recogniser.stream(&stream(&hello)).expect("the rest brings the name");
    assert_eq!(whole.name, "example.org");
    assert!(whole.fingerprint.starts_with('t') && recogniser.is_done());
    assert_eq!(recogniser.stream(&stream(&hello)), None, "a decided flow tells nothing more");
    let told = of_datagrams(&[up(sip_request())], HIGH);
    assert_eq!(told[0].name, "voip.example.org");
}

#[test]
fn a_name_cut_into_pieces_of_four_bytes_is_told() {
    let hello = client_hello("hidden.example.org");
    let mut recogniser = Recogniser::new();
    let told = (1..=hello.len().div_ceil(4)).filter_map(|pieces| {
        let initiator = &hello[..(4 * pieces).min(hello.len())];
        recogniser.stream(&Stream { initiator, responder: &[], ports: HIGH, midstream: false })
    });
    let names: Vec<_> = told.map(|news| (news.protocol, news.name)).collect();
    assert_eq!(names, [(Protocol::Tls, String::new()), (Protocol::Tls, "hidden.example.org".to_owned())]);
}

#[test]
fn only_what_is_random_on_both_sides_is_fully_encrypted() {
    let mut noise = Noise::new(3);
    let (sent, answered) = (noise.bytes(300), noise.bytes(300));
    assert_eq!(tcp(&sent, &answered, HIGH, false), Some(Protocol::FullyEncrypted));
    assert_eq!(tcp(&sent, &answered, HIGH, true), None, "a connection met in its middle is left alone");
    assert_eq!(tcp(&sent, b"220 mail.example.org ESMTP ready and waiting for you\r\n", HIGH, false), None);
    assert_eq!(tcp(&sent[..48], &answered, HIGH, false), None, "a bare key is no hidden request");
    let framed = [&300_u16.to_be_bytes()[..], &sent[..298]].concat();
    assert_eq!(tcp(&framed, &answered, HIGH, false), None, "a length in front is no noise");
}

/// First messages of protocols that are not ours, with their ports.
fn neighbours() -> Vec<(&'static str, u16, Vec<u8>)> {
    let pad = |head: &[u8], size: usize| {
        let mut bytes = head.to_vec();
        bytes.extend(Noise::new(size as u64).bytes(size - head.len()));
        bytes
    };
    vec![
        ("radius access request", 1812, pad(&[1, 9, 0, 60], 60)),
        ("gtp-c v2 create session", 2123, pad(&[0x48, 0x20, 0, 56, 0, 0, 0, 0, 0, 0, 1, 0], 60)),
        ("gtp-u", 2152, pad(&[0x30, 0xff, 0, 92, 0, 0, 0, 1], 100)),
        ("coap get", 5683, pad(&[0x41, 0x01, 0x12, 0x34, 0x77, 0xb5], 20)),
        ("vxlan", 4789, pad(&[8, 0, 0, 0, 0, 0, 1, 0], 100)),
        ("geneve", 6081, pad(&[0, 0, 0x65, 0x58, 0, 0, 1, 0], 100)),
        ("teredo bubble", 3544, pad(&[0x60, 0, 0, 0, 0, 0, 0x3b, 0x15], 40)),
        ("teredo with authentication", 3544, pad(&[0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x60], 61)),
        ("ntp client", 123, pad(&[0x23, 0, 6, 0xec], 48)),
        ("ntp control", 123, pad(&[0x16, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 24)),
        ("snmp get", 161, pad(&[0x30, 0x29, 2, 1, 1, 4, 6, b'p', b'u', b'b'], 43)),
        ("dhcp discover", 67, pad(&[1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0], 300)),
        ("syslog", 514, b"<34>Oct 11 22:14:15 host su: 'su root' failed".to_vec()),
        ("tftp read", 69, b"\0\x01file.bin\0octet\0".to_vec()),
        ("tftp data", 2069, pad(&[0, 3, 0, 4], 516)),
        ("netbios name", 137, dns::query(9, "fhepfcelehfcepfffacacacacacacabn", 0x20).emit()),
        ("mdns", 5353, dns::query(0, "_http._tcp.local", 12).emit()),
        ("llmnr", 5355, dns::query(3, "printer.local", 1).emit()),
        ("ssdp", 1900, b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n".to_vec()),
        ("discord discovery", 50_004, pad(&[0, 1, 0, 70, 0, 0, 1, 2], 74)),
        ("source engine", 27_015, pad(&[0xff, 0xff, 0xff, 0xff, 0x54], 25)),
        ("warp's own framing", 2408, pad(&[0xc1, 0, 0, 0, 0, 0x90, 0x83, 1], 194)),
        ("mpeg transport stream", 1234, pad(&[0x47, 0x40, 0, 0x10], 1316)),
        ("bacnet", 47_808, pad(&[0x81, 0x0a, 0, 0x11, 1, 4], 17)),
        ("quake", 27_960, b"\xff\xff\xff\xffgetinfo xxx".to_vec()),
    ]
}

#[test]
fn neighbouring_datagrams_are_not_mistaken() {
    for (name, port, bytes) in neighbours() {
        let ports = Ports { initiator: 40_000, responder: port };
        let flow: Vec<_> = (0..4).map(|_| up(bytes.clone())).chain([down(bytes.clone())]).collect();
        assert_eq!(udp(&flow, ports), None, "{name}");
    }
}

#[test]
fn neighbouring_streams_are_not_mistaken() {
    let mut noise = Noise::new(8);
    let message = noise.bytes(60);
    let smb = [b"\0\0\0\x9b\xffSMBr\0\0\0\0\x18S\xc8", &[0; 120][..]].concat();
    let mongo =
        [&[0x3a, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xd4, 7, 0, 0][..], b"admin.$cmd\0", &[0; 31]].concat();
    let rtmp = [&[3, 0, 0, 0, 0, 0, 0, 0, 0][..], &noise.bytes(1528)].concat();
    let tpkt = b"\x03\0\0\x2f\x2a\xe0\0\0\0\0\0Cookie: mstshash=user\r\n\x01\0\x08\0\x03\0\0\0".to_vec();
    let pushed = [&[0x25, 0, 69, 0x14, 4][..], &noise.bytes(64)].concat();
    for (name, sent, answered) in [
        ("smb", smb, vec![]),
        ("mongo", mongo, vec![]),
        ("rtmp", rtmp.clone(), rtmp),
        ("rdp", tpkt, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\x1f\x08\0\x02\0\0\0".to_vec()),
        ("smtp", b"EHLO me\r\n".to_vec(), b"220 mail.example.org ESMTP\r\n".to_vec()),
        (
            "http/2 in the clear",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            vec![0, 0, 6, 4, 0, 0, 0, 0, 0],
        ),
        ("rtsp", b"OPTIONS rtsp://a/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_vec(), b"RTSP/1.0 200 OK\r\n".to_vec()),
        ("mqtt", b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04okno".to_vec(), vec![0x20, 2, 0, 0]),
        ("redis", b"*1\r\n$4\r\nPING\r\n".to_vec(), b"+PONG\r\n".to_vec()),
        ("huawei push", pushed, [&[0x26, 0, 16, 0][..], &message[..12]].concat()),
        ("socks without an answer of its kind", vec![5, 1, 0], vec![0x16, 0, 1]),
    ] {
        for midstream in [false, true] {
            assert_eq!(tcp(&sent, &answered, HIGH, midstream), None, "{name}, midstream {midstream}");
        }
    }
}

/// Whole first messages of everything, to mutate.
fn seeds() -> Vec<Vec<u8>> {
    let (client, server) = openvpn_resets();
    let mut seeds = vec![
        stun_request().emit(),
        client.emit(),
        server.emit(),
        framed(&client.emit()),
        initiation().emit(1),
        ike_message(),
        [&[0; 4][..], &ike_message()].concat(),
        media(1),
        sip_request(),
        sip::emit_status(200, "OK", "7@b", "<sip:a@b>", "<sip:c@d>", "SIP/2.0/UDP e"),
        client_hello("example.org"),
        dtls::preset::datagram(&dtls::preset::pion(3)),
        dns::query(7, "www.example.org", dns::kind::A).emit(),
        dns::tcp_framed(&dns::query(7, "www.example.org", dns::kind::A).emit()),
        http::RequestRepr::get("example.org", "/").emit(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        ssh::KexInit { lists: ["a", "b", "c", "d", "e", "f", "g", "h", "", ""] }.emit(),
        socks::Request { version: 5, command: 1, target: socks::Target::Name("a.example"), port: 1, size: 0 }
            .emit(),
        socks::Request { version: 4, command: 1, target: socks::Target::Name("a.example"), port: 1, size: 0 }
            .emit(),
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe".to_vec(),
        b"d1:rd2:id20:abcdefghij01234567895:nodes0:6:valuesl6:abcdefee1:t2:aa1:y1:re".to_vec(),
        l2tp::Control { version: 2, tunnel: 0, session: 0, sent: 0, expected: 0, kind: Some(1) }.emit(),
        [&[0x80, 200, 0, 6][..], &[0; 24], &[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0]].concat(),
        [&[0xef, 10][..], &[0; 8], &[1; 8], &[20, 0, 0, 0], &[7; 20]].concat(),
        bittorrent::Handshake { reserved: [1; 8], info_hash: [2; 20], peer: &[3; 20] }.emit(),
    ];
    seeds.extend(neighbours().into_iter().map(|(_, _, bytes)| bytes));
    seeds
}

fn mutate(noise: &mut Noise, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=noise.next() % 4 {
        let at = noise.next() as usize % bytes.len().max(1);
        match noise.next() % 6 {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] = noise.next() as u8,
            2 if !bytes.is_empty() => bytes[at] = [0, 0xff, 0x7f, 0x80][noise.next() as usize % 4],
            3 if !bytes.is_empty() => bytes[at] ^= 1 << (noise.next() % 8),
            4 => bytes.insert(at.min(bytes.len()), noise.next() as u8),
            _ => {
                let tail = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend(tail);
            }
        }
    }
    bytes
}

#[test]
fn no_mutation_of_a_message_makes_a_parser_or_the_classifier_panic() {
    let seeds = seeds();
    let mut noise = Noise::new(20_261_122);
    let ports = [53, 123, 443, 500, 3478, 4500, 5060, 5353, 40_000];
    for round in 0..16_000 {
        let seed = &seeds[round % seeds.len()];
        let bytes = mutate(&mut noise, seed);
        watch::parse_all(&bytes);
        let ports = Ports { initiator: 40_001, responder: ports[noise.next() as usize % ports.len()] };
        let mut recogniser = Recogniser::new();
        for side in [Side::Initiator, Side::Responder, Side::Initiator, Side::Initiator] {
            recogniser.datagram(side, &bytes, ports);
            recogniser.datagram(side, seed, ports);
        }
        let mut recogniser = Recogniser::new();
        let midstream = noise.next() % 4 == 0;
        let half = bytes.len() / 2;
        for (initiator, responder) in
            [(&bytes[..half], &[][..]), (&bytes, &[][..]), (&bytes, seed), (seed, &bytes)]
        {
            recogniser.stream(&Stream { initiator, responder, ports, midstream });
        }
        recogniser.raw(50, &bytes);
    }
}

#[test]
fn random_datagrams_and_streams_are_not_told_in_forty_thousand_flows() {
    let mut noise = Noise::new(5);
    let mut mistaken = Vec::new();
    for _ in 0..40_000 {
        let size = 1 + noise.next() as usize % 300;
        let flow = [up(noise.bytes(size)), down(noise.bytes(size)), up(noise.bytes(size))];
        mistaken.extend(udp(&flow, HIGH));
        // In the middle of a connection noise must not become a protocol.
        mistaken.extend(tcp(&flow[0].1, &flow[1].1, HIGH, true));
    }
    assert!(mistaken.is_empty(), "{mistaken:?}");
}

#[test]
fn a_flow_that_tells_nothing_is_given_up() {
    let mut noise = Noise::new(6);
    let mut recogniser = Recogniser::new();
    let fed = (0..1000).take_while(|_| {
        recogniser.datagram(Side::Initiator, &noise.bytes(40), HIGH);
        !recogniser.is_done()
    });
    assert!(fed.count() < 64);
    let mut recogniser = Recogniser::new();
    let bytes = noise.bytes(64 * 1024);
    let fed = (1..1000).take_while(|segments| {
        let initiator = &bytes[..(segments * 700).min(bytes.len())];
        recogniser.stream(&Stream { initiator, responder: &[], ports: HIGH, midstream: false });
        !recogniser.is_done()
    });
    assert!(fed.count() < 64);
}

/// A flow in the form of [`watch::flow`].
fn as_input(flags: u8, port: u16, pieces: &[(Side, Vec<u8>)]) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let mut bytes = vec![flags, high, low];
    for (side, piece) in pieces {
        for part in piece.chunks(254) {
            // The last piece of odd length takes a byte of what follows: no matter for a fuzzer's start.
            let side = if *side == Side::Responder { 0x80 } else { 0 };
            bytes.push(side | part.len().div_ceil(2) as u8);
            bytes.extend(part);
        }
    }
    bytes
}

fn samples() -> Vec<Vec<u8>> {
    let (client, server) = openvpn_resets();
    let hello = dtls::preset::datagram(&dtls::preset::pion(3));
    let request =
        socks::Request { version: 5, command: 1, target: socks::Target::Name("a.example"), port: 1, size: 0 };
    vec![
        as_input(0, 3478, &[up(stun_request().emit()), down(stun_request().emit()), up(hello)]),
        as_input(0, 1194, &[up(client.emit()), down(server.emit())]),
        as_input(0, 51_820, &[up(initiation().emit(1))]),
        as_input(0, 500, &[up(ike_message())]),
        as_input(0, 5004, &[up(media(1)), up(media(2)), up(media(3))]),
        as_input(0, 5060, &[up(sip_request())]),
        as_input(1, 1080, &[up(vec![5, 1, 0, 0]), down(vec![5, 0]), up(request.emit())]),
        as_input(1, 443, &[up(client_hello("example.org"))]),
        as_input(3, 443, &[up(tls::record(23, 0x0303, &[7; 59])), down(tls::record(23, 0x0303, &[8; 59]))]),
        as_input(1, 1194, &[up(framed(&client.emit())), down(framed(&server.emit()))]),
    ]
}

#[test]
fn the_corpus_of_flows_is_what_the_tests_make_and_is_told_the_same_twice() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/wire_recognise");
    for (index, sample) in samples().iter().enumerate() {
        let path = folder.join(format!("{index:02}"));
        if std::env::var_os("OKNO_WRITE_CORPORA").is_some() {
            std::fs::create_dir_all(&folder).expect("the corpus can be written");
            std::fs::write(&path, sample).expect("the corpus can be written");
        }
        let kept = std::fs::read(&path).expect("the corpus is part of the repository");
        assert!(kept == *sample, "{}", path.display());
        watch::flow(&kept);
    }
}

#[test]
fn no_mutation_of_a_flow_breaks_what_was_decided() {
    let samples = samples();
    let mut noise = Noise::new(77);
    for round in 0..5_000 {
        watch::flow(&mutate(&mut noise, &samples[round % samples.len()]));
    }
}
