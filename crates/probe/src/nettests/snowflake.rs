//! What a Snowflake client says before Tor begins: the offer, the broker's envelope, ICE's checks.
//!
//! Only as much of WebRTC as shows that a volunteer's proxy can be reached: no certificate stands behind the
//! fingerprint of the offer, and no data channel is opened. Sources: Snowflake's broker specification
//! (https://gitlab.torproject.org/tpo/anti-censorship/pluggable-transports/snowflake/-/blob/main/doc/broker-spec.txt),
//! RFC 8839 (SDP of ICE), RFC 8445 (ICE), RFC 8489 (STUN).

use core::net::IpAddr;

use okno_wire::Endpoint;
use okno_wire::stun::{COOKIE, Class, Repr};
use ring::hmac;
use serde_json::{Value, json};

/// STUN's method `Binding` (RFC 8489 §18.2).
const BINDING: u16 = 1;
/// Attributes (RFC 8489 §18.3, RFC 8445 §20.1).
mod attribute {
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLING: u16 = 0x802a;
}

/// One side's name and password of ICE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `ice-ufrag`
    pub name: String,
    /// `ice-pwd`
    pub password: String,
}

/// Letters and digits from random bytes (RFC 8839 §5.4: at least 4 for the name, 22 for the password).
fn word(bytes: &[u8]) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ab";
    bytes.iter().map(|byte| char::from(letters[usize::from(byte % 64)])).collect()
}

impl Credentials {
    /// From random bytes.
    pub fn of(random: [u8; 40]) -> Self {
        Self { name: word(&random[..8]), password: word(&random[8..]) }
    }
}

/// The offer: one data channel, DTLS in either role, reachable at `reflexive`.
pub fn offer(own: &Credentials, reflexive: &[Endpoint], random: [u8; 40]) -> String {
    let fingerprint: Vec<String> = random[..32].iter().map(|byte| format!("{byte:02X}")).collect();
    let session = u64::from_le_bytes([
        random[32], random[33], random[34], random[35], random[36], random[37], random[38], 0,
    ]);
    let mut lines = vec![
        "v=0".to_owned(),
        format!("o=- {session} 2 IN IP4 0.0.0.0"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        format!("a=fingerprint:sha-256 {}", fingerprint.join(":")),
        "a=group:BUNDLE 0".to_owned(),
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel".to_owned(),
        "c=IN IP4 0.0.0.0".to_owned(),
        "a=setup:actpass".to_owned(),
        "a=mid:0".to_owned(),
        "a=sendrecv".to_owned(),
        "a=sctp-port:5000".to_owned(),
        format!("a=ice-ufrag:{}", own.name),
        format!("a=ice-pwd:{}", own.password),
    ];
    for (number, end) in reflexive.iter().enumerate() {
        // Priority of a server-reflexive candidate (RFC 8445 §5.1.2.1); the local address stays unsaid.
        lines.push(format!(
            "a=candidate:{} 1 udp 1694498815 {} {} typ srflx raddr 0.0.0.0 rport 0",
            number + 1,
            end.ip,
            end.port
        ));
    }
    lines.push("a=end-of-candidates".to_owned());
    lines.join("\r\n") + "\r\n"
}

/// The request to the broker: a version line and a JSON object (broker specification, client polls).
pub fn poll(offer: &str, bridge: &str) -> Vec<u8> {
    let inner = json!({"type": "offer", "sdp": offer}).to_string();
    let body = json!({"offer": inner, "nat": "unknown", "fingerprint": bridge});
    format!("1.0\n{body}").into_bytes()
}

/// What the broker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// a proxy
    Proxy(Proxy),
    /// the broker works and has no proxy just now; its own words
    Nobody(String),
}

/// The proxy that the broker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// its credentials
    pub credentials: Credentials,
    /// where it says it is; addresses of volunteers, never written
    pub candidates: Vec<Endpoint>,
    /// whether it waits for our hello (`a=setup:passive`)
    pub is_passive: bool,
}

/// Reads the broker's response; `None` when it is none of a broker.
pub fn matched(body: &[u8]) -> Option<Matched> {
    let value: Value = serde_json::from_slice(body).ok()?;
    if let Some(error) = value.get("error").and_then(Value::as_str).filter(|error| !error.is_empty()) {
        return Some(Matched::Nobody(error.chars().take(80).collect()));
    }
    let answer: Value = serde_json::from_str(value.get("answer")?.as_str()?).ok()?;
    proxy(answer.get("sdp")?.as_str()?).map(Matched::Proxy)
}

fn proxy(sdp: &str) -> Option<Proxy> {
    let mut proxy = Proxy::default();
    for line in sdp.lines().take(200) {
        let Some((key, value)) = line.trim().strip_prefix("a=").and_then(|line| line.split_once(':')) else {
            continue;
        };
        match key {
            "ice-ufrag" => value.clone_into(&mut proxy.credentials.name),
            "ice-pwd" => value.clone_into(&mut proxy.credentials.password),
            "setup" => proxy.is_passive = value == "passive",
            "candidate" if proxy.candidates.len() < 8 => proxy.candidates.extend(candidate(value)),
            _ => {}
        }
    }
    let usable = !proxy.credentials.name.is_empty() && !proxy.credentials.password.is_empty();
    usable.then_some(proxy)
}

/// `1 1 udp 2130706431 192.0.2.1 50000 typ host` (RFC 8839 §5.1); names and TCP are left out.
fn candidate(value: &str) -> Option<Endpoint> {
    let mut words = value.split_ascii_whitespace();
    let (_, component, transport) = (words.next()?, words.next()?, words.next()?);
    let (_, ip, port) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (component == "1" && transport.eq_ignore_ascii_case("udp")).then_some(Endpoint { ip, port })
}

/// A plain Binding request (RFC 8489 §6.1).
pub fn binding(transaction: [u8; 12]) -> Vec<u8> {
    Repr { method: BINDING, class: Class::Request, transaction, attributes: Vec::new() }.emit()
}

/// A message of ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ice {
    /// a check of the other side, to be answered
    Request([u8; 12]),
    /// an answer, with the address that it tells
    Success([u8; 12], Option<Endpoint>),
    /// another STUN message
    Other,
}

/// Reads a datagram as STUN.
pub fn ice(bytes: &[u8]) -> Option<Ice> {
    let message = Repr::parse(bytes).ok()?;
    Some(match (message.method, message.class) {
        (BINDING, Class::Request) => Ice::Request(message.transaction),
        (BINDING, Class::Success) => Ice::Success(message.transaction, reflexive(&message)),
        _ => Ice::Other,
    })
}

/// The address in an answer (RFC 8489 §14.1, §14.2).
fn reflexive(message: &Repr) -> Option<Endpoint> {
    let find = |kind| message.attributes.iter().find(|(known, _)| *known == kind);
    let (is_masked, value) = match find(attribute::XOR_MAPPED_ADDRESS) {
        Some((_, value)) => (true, value),
        None => (false, &find(attribute::MAPPED_ADDRESS)?.1),
    };
    let mut mask = [0; 16];
    if is_masked {
        mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(&message.transaction);
    }
    let port = u16::from_be_bytes([value.get(2)? ^ mask[0], value.get(3)? ^ mask[1]]);
    let bytes: Vec<u8> = value.get(4..)?.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match *value.get(1)? {
        1 => IpAddr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?),
        2 => IpAddr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?),
        _ => return None,
    };
    Some(Endpoint { ip, port })
}

/// CRC-32 of ISO 3309, as FINGERPRINT uses it (RFC 8489 §14.7).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Adds MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489 §14.5, §14.7): each covers what stands before it, under
/// a length that counts itself already.
fn signed(mut message: Repr, password: &str) -> Vec<u8> {
    let covered = |message: &Repr, kind: u16, len: usize| {
        let mut longer = message.clone();
        longer.attributes.push((kind, vec![0; len]));
        let mut bytes = longer.emit();
        bytes.truncate(bytes.len() - 4 - len);
        bytes
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let tag = hmac::sign(&key, &covered(&message, attribute::MESSAGE_INTEGRITY, 20));
    message.attributes.push((attribute::MESSAGE_INTEGRITY, tag.as_ref().to_vec()));
    let crc = crc32(&covered(&message, attribute::FINGERPRINT, 4)) ^ 0x5354_554e;
    message.attributes.push((attribute::FINGERPRINT, crc.to_be_bytes().to_vec()));
    message.emit()
}

/// A connectivity check of the controlling side that also nominates (RFC 8445 §7.1).
pub fn check(own: &Credentials, peer: &Credentials, transaction: [u8; 12], tie_breaker: [u8; 8]) -> Vec<u8> {
    let username = format!("{}:{}", peer.name, own.name).into_bytes();
    let attributes = vec![
        (attribute::USERNAME, username),
        (attribute::ICE_CONTROLLING, tie_breaker.to_vec()),
        (attribute::USE_CANDIDATE, Vec::new()),
        // A peer-reflexive candidate's priority (RFC 8445 §5.1.2.1).
        (attribute::PRIORITY, 1_862_270_975_u32.to_be_bytes().to_vec()),
    ];
    let message = Repr { method: BINDING, class: Class::Request, transaction, attributes };
    signed(message, &peer.password)
}

/// The answer to the other side's check, which tells it where it came from.
pub fn check_answer(own: &Credentials, transaction: [u8; 12], from: Endpoint) -> Vec<u8> {
    let mut mask = COOKIE.to_be_bytes().to_vec();
    mask.extend(transaction);
    let (family, address) = match from.ip {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let masked = from.port.to_be_bytes().into_iter().zip([mask[0], mask[1]]);
    let mut value = vec![0, family];
    value.extend(masked.chain(address.into_iter().zip(mask.clone())).map(|(byte, mask)| byte ^ mask));
    let attributes = vec![(attribute::XOR_MAPPED_ADDRESS, value)];
    signed(Repr { method: BINDING, class: Class::Success, transaction, attributes }, &own.password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrity_and_fingerprint_stand_last_and_fit() {
        // The request of RFC 5769 §2.1 with its first attribute alone: its others end in padding that is
        // not zero. The values come from Python's hmac and zlib.
        let message = Repr {
            method: BINDING,
            class: Class::Request,
            transaction: *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae",
            attributes: vec![(0x8022, b"STUN test client".to_vec())],
        };
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let bytes = signed(message, "VOkJxbRl1RmTxUk/WvJxBt");
        let parsed = Repr::parse(&bytes).unwrap();
        let kinds: Vec<u16> = parsed.attributes.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [0x8022, attribute::MESSAGE_INTEGRITY, attribute::FINGERPRINT]);
        let tag: String = parsed.attributes[1].1.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(tag, "ad3823938d3106f569f8cadf557cfe8d94dd2bc3");
        assert_eq!(parsed.attributes[2].1, 0x9fc9f0e9_u32.to_be_bytes());
    }

    #[test]
    fn a_check_and_its_answer_are_read_back() {
        let (own, peer) = (Credentials::of([1; 40]), Credentials::of([2; 40]));
        let request = check(&own, &peer, [7; 12], [9; 8]);
        assert_eq!(ice(&request), Some(Ice::Request([7; 12])));
        for end in ["192.0.2.9:50000", "[2001:db8::9]:1"] {
            let end: Endpoint = end.parse().unwrap();
            let answer = check_answer(&peer, [7; 12], end);
            assert_eq!(ice(&answer), Some(Ice::Success([7; 12], Some(end))));
        }
        assert_eq!(ice(b"\x16\xfe\xfd"), None);
    }

    #[test]
    fn an_answer_gives_the_proxy_and_an_error_gives_the_brokers_words() {
        let sdp = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secretsecretsecretsecret\r\na=setup:active\r\n\
                   a=candidate:1 1 udp 2130706431 198.51.100.7 50000 typ host\r\n\
                   a=candidate:2 1 tcp 2130706431 198.51.100.7 9 typ host tcptype active\r\n\
                   a=candidate:3 1 udp 1 5c3c.local 50000 typ host\r\n";
        let inner = json!({"type": "answer", "sdp": sdp}).to_string();
        let Some(Matched::Proxy(proxy)) = matched(json!({"answer": inner}).to_string().as_bytes()) else {
            unreachable!("it is an answer")
        };
        assert_eq!(proxy.candidates, ["198.51.100.7:50000".parse().unwrap()]);
        assert!(!proxy.is_passive);
        let nobody = matched(br#"{"error":"no snowflake proxies currently available"}"#);
        assert!(matches!(nobody, Some(Matched::Nobody(words)) if words.starts_with("no snowflake")));
        assert_eq!(matched(b"<html>"), None);
        assert_eq!(matched(br#"{"answer":"{}"}"#), None);
    }

    #[test]
    fn the_offer_names_no_local_address() {
        let end: Endpoint = "203.0.113.5:40000".parse().unwrap();
        let offer = offer(&Credentials::of([3; 40]), &[end], [4; 40]);
        assert!(offer.contains("203.0.113.5 40000 typ srflx raddr 0.0.0.0"));
        assert_eq!(offer.matches("a=candidate").count(), 1);
    }
}
