//! JA3 and JA4 of a ClientHello: how a box knows a client by its hello without its name.
//!
//! Both leave GREASE out, because clients draw it anew each time.
//! JA3: https://github.com/salesforce/ja3. JA4:
//! https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md.

use core::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::code::ext;
use super::hello::{ClientHello, is_grease};

/// First letter of a JA4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ja4Transport {
    /// TLS over TCP: `t`
    Tcp,
    /// QUIC: `q`
    Quic,
    /// DTLS: `d`
    Dtls,
}

/// The text whose MD5 is the JA3: version, ciphers, extensions, groups, point formats, in decimal.
pub fn ja3_text(hello: &ClientHello<'_>) -> String {
    let mut out = hello.legacy_version.to_string();
    let mut join = |numbers: &mut dyn Iterator<Item = u16>| {
        out.push(',');
        for (index, number) in numbers.filter(|number| !is_grease(*number)).enumerate() {
            let dash = if index == 0 { "" } else { "-" };
            let _ = write!(out, "{dash}{number}");
        }
    };
    join(&mut hello.ciphers());
    join(&mut hello.extensions().map(|extension| extension.kind));
    join(&mut hello.groups());
    join(&mut hello.point_formats().iter().map(|format| u16::from(*format)));
    out
}

/// The JA3: 32 hexadecimal digits.
pub fn ja3(hello: &ClientHello<'_>) -> String {
    hex(&Md5::digest(ja3_text(hello).as_bytes()))
}

/// The JA4: `t13d1516h2_8daaf6152771_02713d6af862`.
pub fn ja4(hello: &ClientHello<'_>, transport: Ja4Transport) -> String {
    let (mut head, ciphers, rest) = parts(hello, transport);
    for text in [ciphers, rest] {
        head.push('_');
        head.push_str(&short_hash(&text));
    }
    head
}

/// The JA4 before hashing (`ja4_r`), sorted.
pub fn ja4_raw(hello: &ClientHello<'_>, transport: Ja4Transport) -> String {
    let (head, ciphers, rest) = parts(hello, transport);
    format!("{head}_{ciphers}_{rest}")
}

fn parts(hello: &ClientHello<'_>, transport: Ja4Transport) -> (String, String, String) {
    let mut ciphers: Vec<u16> = hello.ciphers().filter(|number| !is_grease(*number)).collect();
    let mut sorted: Vec<u16> =
        hello.extensions().map(|extension| extension.kind).filter(|kind| !is_grease(*kind)).collect();
    let letter = match transport {
        Ja4Transport::Tcp => 't',
        Ja4Transport::Quic => 'q',
        Ja4Transport::Dtls => 'd',
    };
    let mut head = String::with_capacity(40);
    head.push(letter);
    head.push_str(version(hello.highest_version()));
    head.push(if sorted.contains(&ext::SERVER_NAME) { 'd' } else { 'i' });
    for count in [ciphers.len(), sorted.len()] {
        let count = count.min(99);
        head.push(char::from(b'0' + (count / 10) as u8));
        head.push(char::from(b'0' + (count % 10) as u8));
    }
    head.push_str(&alpn(hello.alpn().next().unwrap_or_default()));
    ciphers.sort_unstable();
    // The name and the protocol differ with the place visited, not with the client.
    sorted.retain(|kind| ![ext::SERVER_NAME, ext::ALPN].contains(kind));
    sorted.sort_unstable();
    let mut rest = list(&sorted);
    let algorithms: Vec<u16> = hello.signature_algorithms().filter(|number| !is_grease(*number)).collect();
    if !algorithms.is_empty() {
        rest.push('_');
        rest.push_str(&list(&algorithms));
    }
    (head, list(&ciphers), rest)
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the first ALPN value; of its hexadecimal form when either is not
/// alphanumeric.
fn alpn(value: &[u8]) -> String {
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return "00".to_owned() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0xf)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn push_hex(out: &mut String, byte: u8) {
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
}

fn list(numbers: &[u16]) -> String {
    let digit = |number: u16, shift: u32| DIGITS[usize::from(number >> shift & 0xf)];
    let mut out = Vec::with_capacity(numbers.len() * 5 + 1);
    for number in numbers.iter().copied() {
        out.extend([digit(number, 12), digit(number, 8), digit(number, 4), digit(number, 0), b',']);
    }
    out.pop();
    String::from_utf8(out).unwrap_or_default()
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    hex(&Sha256::digest(text.as_bytes())[..6])
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| push_hex(&mut out, *byte));
    out
}
