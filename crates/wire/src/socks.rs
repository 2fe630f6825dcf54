//! SOCKS 4, 4a and 5: greeting, choice, request (RFC 1928; https://www.openssh.com/txt/socks4.protocol,
//! .../socks4a.protocol).
//!
//! The messages are short and unmarked, so the recogniser asks for both directions to agree.

use core::net::IpAddr;

use crate::bytes::{be16, be32};
use crate::malformed::Malformed;

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// an address
    Address(IpAddr),
    /// a name, to be resolved by the proxy
    Name(&'a str),
}

/// A request of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// 4 or 5
    pub version: u8,
    /// 1 connect, 2 bind, 3 UDP associate (5 only); Tor adds 0xf0 and 0xf1, resolve
    pub command: u8,
    /// target
    pub target: Target<'a>,
    /// its port
    pub port: u16,
    /// bytes of the request
    pub size: usize,
}

impl<'a> Request<'a> {
    /// Reads a SOCKS 4 or 4a request from its first byte.
    pub fn parse_v4(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (Some(port), Some(address)) = (be16(bytes, 2), be32(bytes, 4)) else {
            return Err(Malformed::short("socks", 0, "8 bytes of request", bytes.len()));
        };
        if bytes[0] != 4 {
            return Err(Malformed::value("socks", 0, "version 4", u64::from(bytes[0])));
        }
        if !matches!(bytes[1], 1 | 2) {
            return Err(Malformed::value("socks", 1, "a command of 1–2", u64::from(bytes[1])));
        }
        let (_, at) = text(bytes, 8)?;
        // 4a: an address of 0.0.0.x with x ≠ 0 says that a name follows the user id.
        let (target, size) = if (1..=255).contains(&address) {
            let (name, end) = text(bytes, at)?;
            (Target::Name(name), end)
        } else {
            (Target::Address(IpAddr::from(address.to_be_bytes())), at)
        };
        Ok(Self { version: 4, command: bytes[1], target, port, size })
    }

    /// Reads a SOCKS 5 request (RFC 1928 §4) from its first byte.
    pub fn parse_v5(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let &[version, command, reserved, kind, ..] = bytes else {
            return Err(Malformed::short("socks", 0, "4 bytes of request", bytes.len()));
        };
        if version != 5 {
            return Err(Malformed::value("socks", 0, "version 5", u64::from(version)));
        }
        if !matches!(command, 1..=3 | 0xf0 | 0xf1) {
            return Err(Malformed::value("socks", 1, "a command of 1–3", u64::from(command)));
        }
        if reserved != 0 {
            return Err(Malformed::value("socks", 2, "a zero byte", u64::from(reserved)));
        }
        let short = Malformed::short("socks", 4, "the address and the port", bytes.len() - 4);
        let (target, at) = match kind {
            1 => {
                let octets: [u8; 4] = *bytes[4..].first_chunk().ok_or(short)?;
                (Target::Address(IpAddr::from(octets)), 8)
            }
            4 => {
                let octets: [u8; 16] = *bytes[4..].first_chunk().ok_or(short)?;
                (Target::Address(IpAddr::from(octets)), 20)
            }
            3 => {
                let length = usize::from(*bytes.get(4).ok_or(short)?);
                let name = bytes.get(5..5 + length).ok_or(short)?;
                (Target::Name(name_of(name, 5)?), 5 + length)
            }
            other => {
                return Err(Malformed::value("socks", 3, "an address type of 1, 3, 4", u64::from(other)));
            }
        };
        let port = be16(bytes, at).ok_or(short)?;
        Ok(Self { version: 5, command, target, port, size: at + 2 })
    }

    /// Writes the request; SOCKS 4 with an empty user id.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.version, self.command];
        if self.version == 4 {
            bytes.extend(self.port.to_be_bytes());
            match &self.target {
                Target::Address(IpAddr::V4(ip)) => bytes.extend(ip.octets()),
                _ => bytes.extend([0, 0, 0, 1]),
            }
            bytes.push(0);
            if let Target::Name(name) = self.target {
                bytes.extend(name.as_bytes());
                bytes.push(0);
            }
            return bytes;
        }
        bytes.push(0);
        match &self.target {
            Target::Address(IpAddr::V4(ip)) => {
                bytes.push(1);
                bytes.extend(ip.octets());
            }
            Target::Address(IpAddr::V6(ip)) => {
                bytes.push(4);
                bytes.extend(ip.octets());
            }
            Target::Name(name) => {
                bytes.extend([3, name.len() as u8]);
                bytes.extend(name.as_bytes());
            }
        }
        bytes.extend(self.port.to_be_bytes());
        bytes
    }
}

/// A zero-terminated string, and where it ends.
fn text(bytes: &[u8], at: usize) -> Result<(&str, usize), Malformed> {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let end = memchr::memchr(0, &rest[..rest.len().min(256)]);
    let end = end.ok_or(Malformed::short("socks", at, "a zero byte", rest.len()))?;
    Ok((name_of(&rest[..end], at)?, at + end + 1))
}

fn name_of(bytes: &[u8], at: usize) -> Result<&str, Malformed> {
    match core::str::from_utf8(bytes) {
        Ok(name) if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) => Ok(name),
        _ => Err(Malformed::value("socks", at, "printable ASCII", bytes.len() as u64)),
    }
}

/// The methods that a SOCKS 5 greeting offers (RFC 1928 §3).
pub fn greeting(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let &[version, count, ..] = bytes else {
        return Err(Malformed::short("socks", 0, "2 bytes of greeting", bytes.len()));
    };
    if version != 5 || count == 0 {
        return Err(Malformed::value("socks", 0, "version 5 and a method", u64::from(version)));
    }
    let methods = bytes.get(2..2 + usize::from(count));
    let methods = methods.ok_or(Malformed::short("socks", 2, "the methods", bytes.len() - 2))?;
    // https://www.iana.org/assignments/socks-methods: 0–9 are assigned, 0x80–0xfe private.
    match methods.iter().position(|method| !matches!(method, 0..=9 | 0x80..=0xfe)) {
        Some(at) => Err(Malformed::value("socks", 2 + at, "a method", u64::from(methods[at]))),
        None => Ok(methods),
    }
}

/// Whether `reply` is the server's answer to a SOCKS 4 request: 0, then 90–93.
pub fn is_v4_reply(reply: &[u8]) -> bool {
    reply.len() >= 8 && reply[0] == 0 && (90..=93).contains(&reply[1])
}
