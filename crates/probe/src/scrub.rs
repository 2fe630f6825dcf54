//! Takes the own addresses out of a measurement, wherever they stand.
//!
//! Servers love to tell a client its address: in bodies, headers, names of errors, STUN answers, whoami
//! names. Texts and keys get `[scrubbed]` as in OONI (probe-cli internal/scrubber); inside binary values the
//! bytes become zeros, so that lengths and checksums of the rest keep their places. An IPv6 address counts as
//! own with its whole /64, which is one household (RFC 6177 §2).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use okno_wire::stun::COOKIE;
use serde_json::{Map, Value};

/// What stands in place of an address.
pub const SCRUBBED: &str = "[scrubbed]";
/// Shortest text that is looked at as base64.
const SHORTEST_BASE64: usize = 8;

/// Own addresses, in all their forms.
#[derive(Clone, Debug, Default)]
pub struct Scrubber {
    v4: BTreeSet<Ipv4Addr>,
    v6: BTreeSet<Ipv6Addr>,
    /// lower-case texts
    texts: Vec<Needle>,
    /// patterns of bytes
    bytes: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Needle {
    text: String,
    /// a digit may not stand on either side
    bounded: bool,
}

impl Scrubber {
    /// Takes out these addresses. Unspecified and loopback addresses identify nobody and are left.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut own = Self::default();
        for ip in addresses {
            match ip {
                IpAddr::V4(v4) => own.add_v4(v4),
                IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                    Some(v4) => own.add_v4(v4),
                    None => own.add_v6(v6),
                },
            }
        }
        own
    }

    /// Whether there is nothing to take out.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn needle(&mut self, text: String, bounded: bool) {
        self.texts.push(Needle { text, bounded });
    }

    fn add_v4(&mut self, ip: Ipv4Addr) {
        if ip.is_unspecified() || ip.is_loopback() || !self.v4.insert(ip) {
            return;
        }
        let [a, b, c, d] = ip.octets();
        self.needle(format!("{a}.{b}.{c}.{d}"), true);
        // names that networks give to customers' addresses
        self.needle(format!("{a}-{b}-{c}-{d}"), true);
        self.needle(format!("{d}-{c}-{b}-{a}"), true);
        self.needle(format!("{d}.{c}.{b}.{a}.in-addr.arpa"), true);
        self.needle(ip.to_bits().to_string(), true);
        self.needle(format!("{:08x}", ip.to_bits()), false);
        self.needle(format!("{:02x}{:02x}:{:02x}{:02x}", a, b, c, d), false);
        self.bytes.push(ip.octets().to_vec());
        // XOR-MAPPED-ADDRESS (RFC 8489 §14.2)
        self.bytes.push((ip.to_bits() ^ COOKIE).to_be_bytes().to_vec());
    }

    fn add_v6(&mut self, ip: Ipv6Addr) {
        if ip.is_unspecified() || ip.is_loopback() || !self.v6.insert(ip) {
            return;
        }
        let octets = ip.octets();
        let hex: String = octets.iter().map(|byte| format!("{byte:02x}")).collect();
        let nibbles: Vec<String> = hex.chars().rev().map(String::from).collect();
        self.needle(nibbles.join("."), false);
        self.needle(hex, false);
        self.needle(ip.segments().map(|segment| format!("{segment:x}")).join("-"), false);
        self.bytes.push(octets.to_vec());
        self.bytes.push(octets[..8].to_vec());
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(v4) => self.v4.contains(&v4),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => self.v4.contains(&v4),
                None => self.v6.iter().any(|own| own.octets()[..8] == v6.octets()[..8]),
            },
        }
    }

    /// The text without own addresses; `None` when it has none.
    pub fn text(&self, text: &str) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        let mut cuts: Vec<Range<usize>> =
            self.texts.iter().flat_map(|needle| needle.places(&lower)).collect();
        if !self.v6.is_empty() {
            cuts.extend(self.written_addresses(&lower));
        }
        if cuts.is_empty() {
            return None;
        }
        cuts.sort_by_key(|cut| cut.start);
        let (mut out, mut kept) = (String::with_capacity(text.len()), 0);
        for cut in cuts {
            if cut.start >= kept {
                out.push_str(&text[kept..cut.start]);
                out.push_str(SCRUBBED);
            }
            kept = kept.max(cut.end);
        }
        out.push_str(&text[kept..]);
        Some(out)
    }

    /// Own IPv6 addresses in any of their spellings (RFC 4291 §2.2).
    fn written_addresses(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut start = None;
        for (at, byte) in text.bytes().chain([b' ']).enumerate() {
            let part = byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
            match (part, start) {
                (true, None) => start = Some(at),
                (false, Some(begin)) => {
                    start = None;
                    let run = text[begin..at].trim_end_matches(['.', ':']);
                    let address = run.contains(':').then(|| run.parse().ok()).flatten();
                    if address.is_some_and(|ip| self.is_own(ip)) {
                        found.push(begin..begin + run.len());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Takes addresses out of bytes, in place; gives whether there were any.
    pub fn bytes(&self, bytes: &mut Vec<u8>) -> bool {
        let mut found = false;
        if let Ok(text) = core::str::from_utf8(bytes) {
            if let Some(clean) = self.text(text) {
                *bytes = clean.into_bytes();
                found = true;
            }
        } else {
            found |= self.ascii(bytes);
        }
        let mut patterns: Vec<(Vec<u8>, usize)> =
            self.bytes.iter().map(|pattern| (pattern.clone(), pattern.len())).collect();
        patterns.extend(self.masked(bytes));
        for (pattern, len) in patterns {
            let mut from = 0;
            while let Some(at) = place(&bytes[from..], &pattern) {
                let at = from + at;
                // the interface's half of an own /64 goes with its prefix
                let end = if pattern.len() == 8 { at + 16 } else { at + len }.min(bytes.len());
                bytes[at..end].fill(0);
                from = end;
                found = true;
            }
        }
        found
    }

    /// Texts between other bytes, each overwritten in place.
    fn ascii(&self, bytes: &mut [u8]) -> bool {
        let lower = bytes.to_ascii_lowercase();
        let mut found = false;
        for needle in &self.texts {
            let mut from = 0;
            while let Some(at) = place(&lower[from..], needle.text.as_bytes()) {
                let (at, end) = (from + at, from + at + needle.text.len());
                from = end;
                let digit = |at: usize| lower.get(at).is_some_and(u8::is_ascii_digit);
                if !needle.bounded || !((at > 0 && digit(at - 1)) || digit(end)) {
                    bytes[at..end].fill(b'x');
                    found = true;
                }
            }
        }
        found
    }

    /// IPv6 in XOR-MAPPED-ADDRESS is masked with the transaction's id, which follows the cookie.
    fn masked(&self, bytes: &[u8]) -> Vec<(Vec<u8>, usize)> {
        let cookie = COOKIE.to_be_bytes();
        let Some(mask) = place(bytes, &cookie).and_then(|at| bytes.get(at..at + 16)) else {
            return Vec::new();
        };
        self.v6
            .iter()
            .map(|ip| ip.octets().iter().zip(mask).map(|(a, b)| a ^ b).collect::<Vec<u8>>())
            .map(|pattern| (pattern, 16))
            .collect()
    }

    /// Takes addresses out of a value: texts, keys, base64.
    pub fn value(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        match value {
            Value::String(text) => self.string(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.value(value)),
            Value::Object(map) => {
                if map.keys().any(|key| self.text(key).is_some()) {
                    let clean: Map<String, Value> = core::mem::take(map)
                        .into_iter()
                        .map(|(key, value)| (self.text(&key).unwrap_or(key), value))
                        .collect();
                    *map = clean;
                }
                map.values_mut().for_each(|value| self.value(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn string(&self, text: &mut String) {
        if let Some(clean) = self.text(text) {
            *text = clean;
        }
        if text.len() < SHORTEST_BASE64 || text.len() % 4 != 0 {
            return;
        }
        if let Ok(mut bytes) = STANDARD.decode(text.as_bytes())
            && self.bytes(&mut bytes)
        {
            *text = STANDARD.encode(bytes);
        }
    }
}

impl Needle {
    fn places(&self, lower: &str) -> Vec<Range<usize>> {
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        let bytes = lower.as_bytes();
        lower
            .match_indices(&self.text)
            .map(|(at, found)| at..at + found.len())
            .filter(|cut| {
                !self.bounded
                    || !(digit(cut.start.checked_sub(1).and_then(|at| bytes.get(at)))
                        || digit(bytes.get(cut.end)))
            })
            .collect()
    }
}

fn place(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let last = bytes.len().checked_sub(pattern.len())?;
    (0..=last).find(|&at| bytes[at] == first && bytes[at..].starts_with(pattern))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scrubber() -> Scrubber {
        Scrubber::new(["198.51.100.23".parse().unwrap(), "2001:db8:7:1::42".parse().unwrap()])
    }

    fn clean(mut value: Value) -> Value {
        scrubber().value(&mut value);
        value
    }

    #[test]
    fn texts_keys_and_names_lose_the_address() {
        let found = clean(json!({
            "198.51.100.23": "you are 198.51.100.23:4711",
            "name": "cable-198-51-100-23.isp.example",
            "reverse": "23.100.51.198.in-addr.arpa.",
            "mapped": "::ffff:198.51.100.23",
            "hex": "0Xc6336417",
            "six": "[2001:DB8:7:1:0:0:0:42]:443",
            "neighbour in the household": "2001:db8:7:1:abcd::9.",
        }));
        let text = found.to_string().to_lowercase();
        for gone in ["198.51.100.23", "198-51-100-23", "23.100.51.198", "c6336417", "db8:7:1"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        assert_eq!(found["six"], "[[scrubbed]]:443");
    }

    #[test]
    fn others_addresses_stay() {
        let others = json!({
            "a": "198.51.100.231", "b": "1198.51.100.23", "c": "2001:db8:7:2::42", "d": "198.51.100.2", "e": 7,
            "f": "aGVsbG8gd29ybGQh",
        });
        assert_eq!(clean(others.clone()), others);
    }

    #[test]
    fn binary_values_keep_their_length_and_lose_the_address() {
        let mut stun = vec![0x01, 0x01, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        stun.extend_from_slice(&[0xee; 12]);
        stun.extend_from_slice(&[0, 0x20, 0, 8, 0, 1, 0x11, 0x22]);
        let masked = u32::from(Ipv4Addr::new(198, 51, 100, 23)) ^ COOKIE;
        stun.extend_from_slice(&masked.to_be_bytes());
        let found = clean(json!({ "data": STANDARD.encode(&stun), "format": "base64" }));
        let bytes = STANDARD.decode(found["data"].as_str().unwrap()).unwrap();
        assert_eq!(bytes.len(), stun.len());
        assert_eq!(bytes[..28], stun[..28]);
        assert_eq!(bytes[28..], [0; 4]);
    }

    #[test]
    fn a_masked_ipv6_address_goes_too() {
        let own = "2001:db8:7:1::42".parse::<Ipv6Addr>().unwrap().octets();
        let mut stun = vec![0x01, 0x01, 0, 24, 0x21, 0x12, 0xa4, 0x42];
        stun.extend_from_slice(&[0x77; 12]);
        stun.extend_from_slice(&[0, 0x20, 0, 20, 0, 2, 0x11, 0x22]);
        let masked: Vec<u8> = own.iter().zip(&stun[4..20]).map(|(a, b)| a ^ b).collect();
        stun.extend_from_slice(&masked);
        assert!(scrubber().bytes(&mut stun));
        assert_eq!(stun[28..], [0; 16]);
    }

    #[test]
    fn texts_inside_base64_bodies_go() {
        let body = b"\xff\xfe<p>ip=198.51.100.23</p>".to_vec();
        let found = clean(json!({ "body": { "data": STANDARD.encode(body), "format": "base64" } }));
        let bytes = STANDARD.decode(found["body"]["data"].as_str().unwrap()).unwrap();
        assert!(place(&bytes, b"198.51.100.23").is_none());
    }

    #[test]
    fn loopback_is_nobody_s_address() {
        assert!(Scrubber::new(["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]).is_empty());
    }
}
