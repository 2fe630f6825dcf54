//! Claims about what an observer learns, on captures built here.

use okno_wire::tls::preset;

use super::{Audit, Channel, Found, shortened};

const ME: [u8; 4] = [192, 168, 0, 2];
const SITE: [u8; 4] = [203, 0, 113, 5];

fn ip(from: [u8; 4], to: [u8; 4], protocol: u8, rest: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
    [&[0x45, 0][..], &total, &[0, 1, 0, 0, 64, protocol, 0, 0], &from, &to, rest].concat()
}

fn tcp(from: u16, to: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let head = [&from.to_be_bytes()[..], &to.to_be_bytes(), &seq.to_be_bytes()].concat();
    [&head[..], &[0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0], payload].concat()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0], payload].concat()
}

/// A connection on which the client says this.
fn says(port: u16, to: u16, text: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = vec![ip(ME, SITE, 6, &tcp(port, to, 9, 2, b""))];
    let mut seq = 10;
    for chunk in text.chunks(700) {
        packets.push(ip(ME, SITE, 6, &tcp(port, to, seq, 24, chunk)));
        seq += u32::try_from(chunk.len()).unwrap();
    }
    packets
}

fn audit(packets: &[Vec<u8>], show: bool) -> Found {
    let mut file =
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0].to_vec();
    for packet in packets {
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend([&[1, 0, 0, 0, 0, 0, 0, 0][..], &length, &length, packet].concat());
    }
    let mut audit = Audit::new(Vec::new(), show);
    audit.capture("test", &file[..], &mut |_| {}).unwrap();
    audit.finish().0
}

fn values(found: &Found, channel: Channel) -> Vec<&str> {
    found
        .channels
        .get(&channel)
        .map(|finding| finding.values.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

#[test]
fn requests_in_clear_tell_hosts_and_that_there_were_paths_cookies_and_credentials_but_not_which() {
    let text = b"GET /secret-path HTTP/1.1\r\nHost: Example.org\r\nCookie: id=topsecret\r\nUser-Agent: curl/8.1\r\n\r\n\
        POST /second HTTP/1.1\r\nHost: example.net\r\nAuthorization: Basic dXNlcjpwdw==\r\nContent-Length: 4\r\n\r\nbody\
        GET / HTTP/1.1\r\nHost: third.example\r\nReferer: http://before.example/\r\n\r\n";
    let found = audit(&says(5000, 80, text), false);
    assert_eq!(values(&found, Channel::HttpHost), ["example.net", "example.org", "third.example"]);
    assert_eq!(values(&found, Channel::UserAgent), ["curl/8.1"]);
    let times = |channel| found.channels.get(&channel).map_or(0, |finding| finding.times);
    assert_eq!(times(Channel::HttpPath), 2);
    assert_eq!(
        (times(Channel::HttpCookie), times(Channel::HttpCredentials), times(Channel::HttpReferer)),
        (1, 1, 1)
    );
    let all = format!("{found:?}");
    for secret in ["secret", "dXNlcjpwdw", "before.example", "192.168.0.2", "second"] {
        assert!(!all.contains(secret), "{secret} is kept");
    }
}

#[test]
fn a_hello_tells_its_name_and_software_and_without_a_name_it_is_not_invented() {
    let hello = preset::chrome(1, Some("news.example"), true).emit_record();
    let found = audit(&says(5000, 443, &hello), false);
    assert_eq!(values(&found, Channel::TlsName), ["news.example"]);
    assert_eq!(values(&found, Channel::Ja4).len(), 1);
    assert!(values(&found, Channel::Alpn)[0].contains("h2"));
    let nameless = preset::curl(1, None).emit_record();
    let found = audit(&says(5000, 443, &nameless), false);
    assert!(values(&found, Channel::TlsName).is_empty());
    assert_eq!(found.protocols["tls"].names, 0);
}

#[test]
fn callers_are_shortened_unless_asked_for() {
    let text = b"INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1\r\nFrom: <sip:anna@example.com>;tag=1\r\n\
        To: <sip:bob@example.org>\r\nCall-ID: 7\r\nUser-Agent: phone/1\r\n\r\n";
    let packets = [ip(ME, SITE, 17, &udp(5060, 5060, text))];
    let hidden = audit(&packets, false);
    assert_eq!(values(&hidden, Channel::SipIdentity).len(), 2);
    assert!(!format!("{hidden:?}").contains("anna"));
    assert!(values(&hidden, Channel::SipIdentity)[0].starts_with("a…@example.com #"));
    let shown = audit(&packets, true);
    assert_eq!(values(&shown, Channel::SipIdentity), ["anna@example.com", "bob@example.org"]);
    let swapped = [ip(ME, SITE, 17, &udp(5060, 5060, text)), ip(ME, SITE, 17, &udp(5061, 5060, text))];
    let twice = audit(&swapped, false);
    assert_eq!(values(&twice, Channel::SipIdentity), values(&hidden, Channel::SipIdentity));
}

#[test]
fn a_caller_whose_domain_is_an_address_does_not_tell_the_address() {
    for caller in ["anna@192.168.0.2:5060", "anna@192.168.0.2", "anna@[2001:db8::2]:5060"] {
        assert_eq!(shortened(caller, 7), "a…@… #7");
    }
    assert!(shortened("anna@example.com:5060", 1).starts_with("a…@example.com:5060 #"));
}

#[test]
fn an_answer_in_clear_is_content_even_when_the_request_had_no_path() {
    let mut packets = says(5000, 80, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    let page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npiano";
    packets.push(ip(SITE, ME, 6, &tcp(80, 5000, 100, 18, b"")));
    packets.push(ip(SITE, ME, 6, &tcp(80, 5000, 101, 24, page)));
    let found = audit(&packets, false);
    assert_eq!(found.channels[&Channel::HttpAnswer].times, 1);
    assert_eq!(found.protocols["http"].contents, 1);
    assert!(!format!("{found:?}").contains("piano"), "contents are never kept");
    let unanswered = audit(&says(5000, 80, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), false);
    assert!(!unanswered.channels.contains_key(&Channel::HttpAnswer));
}

#[test]
fn a_flow_that_tells_nothing_is_silent_and_a_question_to_the_router_is_local() {
    let question = [
        0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'w', b'w', 7, b'e', b'x', b'a', b'm', b'p', b'l', b'e',
        0, 0, 1, 0, 1,
    ];
    let packets = [
        ip(ME, [192, 168, 0, 1], 17, &udp(5000, 53, &question)),
        ip(ME, [9, 9, 9, 9], 17, &udp(5000, 53, &question)),
        ip(ME, SITE, 50, &[7; 60]),
    ];
    let found = audit(&packets, false);
    let asked = &found.channels[&Channel::DnsQuestion];
    assert_eq!((asked.times, asked.local, asked.values["www.example"]), (2, 1, 2));
    assert_eq!(found.protocols["esp"].silent, 1);
    assert_eq!((found.addresses.len(), found.subscribers.len()), (2, 1));
}

#[test]
fn no_damage_makes_it_panic() {
    let hello = preset::chrome(1, Some("news.example"), false).emit_record();
    let mut packets = says(5000, 443, &hello);
    packets.extend(says(5001, 80, b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    packets.push(ip(ME, SITE, 17, &udp(5060, 5060, b"OPTIONS sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n")));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..3_000 {
        let mut damaged = packets.clone();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state % damaged.len() as u64).unwrap();
            let byte = usize::try_from((state >> 20) % damaged[at].len() as u64).unwrap();
            damaged[at][byte] = (state >> 50) as u8;
        }
        audit(&damaged, false);
    }
}
