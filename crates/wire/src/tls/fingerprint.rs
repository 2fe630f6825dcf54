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
    let parts = Parts::of(hello, transport);
    let mut out = parts.head;
    for text in [parts.ciphers, parts.rest] {
        out.push('_');
        push_short_hash(&mut out, &text);
    }
    out
}

/// The first part of the JA4, `t13d1516h2`: what it takes no hashing to know.
pub fn ja4_head(hello: &ClientHello<'_>, transport: Ja4Transport) -> String {
    head(hello, transport, &numbers(hello.ciphers()), &kinds(hello))
}

/// The JA4 before hashing (`ja4_r`), sorted.
pub fn ja4_raw(hello: &ClientHello<'_>, transport: Ja4Transport) -> String {
    let Parts { head, ciphers, rest } = Parts::of(hello, transport);
    format!("{head}_{ciphers}_{rest}")
}

/// The JA4's parts before hashing.
struct Parts {
    head: String,
    ciphers: String,
    rest: String,
}

impl Parts {
    fn of(hello: &ClientHello<'_>, transport: Ja4Transport) -> Self {
        let (mut ciphers, mut sorted) = (numbers(hello.ciphers()), kinds(hello));
        let head = head(hello, transport, &ciphers, &sorted);
        ciphers.sort_unstable();
        // The name and the protocol differ with the place visited, not with the client.
        sorted.retain(|kind| ![ext::SERVER_NAME, ext::ALPN].contains(kind));
        sorted.sort_unstable();
        let algorithms = numbers(hello.signature_algorithms());
        let mut rest = String::with_capacity((sorted.len() + algorithms.len()) * 5 + 1);
        push_list(&mut rest, &sorted);
        if !algorithms.is_empty() {
            rest.push('_');
            push_list(&mut rest, &algorithms);
        }
        let mut list = String::with_capacity(ciphers.len() * 5);
        push_list(&mut list, &ciphers);
        Self { head, ciphers: list, rest }
    }
}

/// Numbers without GREASE. Most hellos have fewer than fit at first, so that the list does not grow.
fn numbers(all: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut kept = Vec::with_capacity(32);
    kept.extend(all.filter(|number| !is_grease(*number)));
    kept
}

fn kinds(hello: &ClientHello<'_>) -> Vec<u16> {
    numbers(hello.extensions().map(|extension| extension.kind))
}

fn head(hello: &ClientHello<'_>, transport: Ja4Transport, ciphers: &[u16], kinds: &[u16]) -> String {
    let letter = match transport {
        Ja4Transport::Tcp => 't',
        Ja4Transport::Quic => 'q',
        Ja4Transport::Dtls => 'd',
    };
    let mut head = String::with_capacity(40);
    head.push(letter);
    head.push_str(version(hello.highest_version()));
    head.push(if kinds.contains(&ext::SERVER_NAME) { 'd' } else { 'i' });
    for count in [ciphers.len(), kinds.len()] {
        let count = count.min(99);
        head.push(char::from(b'0' + (count / 10) as u8));
        head.push(char::from(b'0' + (count % 10) as u8));
    }
    push_alpn(&mut head, hello.alpn().next().unwrap_or_default());
    head
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
fn push_alpn(out: &mut String, value: &[u8]) {
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return out.push_str("00") };
    let plain = first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric();
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    out.push(if plain { char::from(*first) } else { digit(first >> 4) });
    out.push(if plain { char::from(*last) } else { digit(last & 0xf) });
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn push_hex(out: &mut String, byte: u8) {
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
}

/// Numbers of four hexadecimal digits, with commas between them.
fn push_list(out: &mut String, numbers: &[u16]) {
    const SOME: usize = 32;
    for (index, some) in numbers.chunks(SOME).enumerate() {
        let mut text = [b','; SOME * 5];
        for (number, digits) in some.iter().zip(text.chunks_exact_mut(5)) {
            for (digit, shift) in digits.iter_mut().zip([12, 8, 4, 0]) {
                *digit = DIGITS[usize::from(number >> shift & 0xf)];
            }
        }
        if index > 0 {
            out.push(',');
        }
        out.push_str(core::str::from_utf8(&text[..some.len() * 5 - 1]).expect("digits and commas"));
    }
}

fn push_short_hash(out: &mut String, text: &str) {
    if text.is_empty() {
        return out.push_str("000000000000");
    }
    Sha256::digest(text.as_bytes())[..6].iter().for_each(|byte| push_hex(out, *byte));
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| push_hex(&mut out, *byte));
    out
}
