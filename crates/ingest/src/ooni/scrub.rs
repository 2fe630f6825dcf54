//! Takes the probe's own address out of everything that is kept.
//!
//! Some published measurements carry it (2,300 lines of the sample archive do). It can hide in any text:
//! an answer of a whoami name, a redirect to `?ip=…`, a page title, a reverse name. Every text of a row
//! passes here before the row leaves this crate.

use std::borrow::Cow;
use std::net::IpAddr;

use okno_model::Text;

use crate::host::SCRUBBED;

/// The spellings of the addresses that must not be kept.
#[derive(Debug, Default)]
pub struct Scrubber {
    ips: Vec<IpAddr>,
    /// in lower case, longest first, so that no shorter one leaves a rest of a longer
    needles: Vec<String>,
}

/// Bytes that stand in addresses.
fn is_part(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, '.' | ':')
}

/// The addresses that a text holds, whatever stands around them: a port, a mask, a zone, brackets.
fn addresses(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    text.split(|c| !is_part(c)).filter_map(|token| {
        let token = token.trim_end_matches('.');
        token.parse().ok().or_else(|| token.trim_matches(':').parse().ok()).or_else(|| {
            let (address, _port) = token.rsplit_once(':')?;
            address.parse().ok()
        })
    })
}

/// The IPv4 address that an IPv6 one carries: mapped (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn inner(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            IpAddr::from([a, b, c, d])
        }
        _ => IpAddr::V6(v6),
    }
}

impl Scrubber {
    /// From every `probe_ip` as written. Loopback and other values that OONI writes in place of the real one
    /// name nobody and need no scrubbing.
    pub fn new<'t>(written: impl IntoIterator<Item = &'t str>) -> Self {
        let mut scrubber = Self::default();
        for text in written {
            let before = scrubber.ips.len();
            for ip in addresses(text).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()) {
                scrubber.hide(ip);
                scrubber.hide(inner(ip));
            }
            let text = text.trim();
            // What is no address may still be one in a spelling that nobody reads.
            if scrubber.ips.len() == before && text.len() >= 7 && text.chars().any(|c| c.is_ascii_digit()) {
                let known = text.parse::<IpAddr>().is_ok();
                scrubber.needles.extend((!known).then(|| text.to_ascii_lowercase()));
            }
        }
        scrubber.needles.sort_unstable_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
        scrubber.needles.dedup();
        scrubber
    }

    fn hide(&mut self, ip: IpAddr) {
        if self.ips.contains(&ip) {
            return;
        }
        self.ips.push(ip);
        let mut needles = match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                vec![
                    format!("{a}.{b}.{c}.{d}"),
                    format!("{d}.{c}.{b}.{a}"),
                    format!("{a}-{b}-{c}-{d}"),
                    format!("{d}-{c}-{b}-{a}"),
                    format!("{a}_{b}_{c}_{d}"),
                    format!("{a}%2E{b}%2E{c}%2E{d}"),
                    format!("{a:03}.{b:03}.{c:03}.{d:03}"),
                    format!("{a:03}-{b:03}-{c:03}-{d:03}"),
                    u32::from(v4).to_string(),
                    format!("{:08x}", u32::from(v4)),
                    // As the tail of an IPv6 address: NAT64, 6to4, IPv4-mapped.
                    format!("{a:x}{b:02x}:{c:x}{d:02x}"),
                    format!("{a:02x}{b:02x}:{c:02x}{d:02x}"),
                ]
            }
            IpAddr::V6(v6) => {
                let full: Vec<String> = v6.segments().iter().map(|s| format!("{s:04x}")).collect();
                let short: Vec<String> = v6.segments().iter().map(|s| format!("{s:x}")).collect();
                vec![
                    v6.to_string(),
                    full.join(":"),
                    short.join(":"),
                    full.join("-"),
                    v6.to_string().replace(':', "-"),
                    v6.to_string().replace(':', "%3a"),
                    full.concat(),
                    full.join("_"),
                    v6.to_string().replace(':', "_"),
                    // The name of its reverse zone.
                    full.concat().chars().rev().map(String::from).collect::<Vec<_>>().join("."),
                ]
            }
        };
        needles.iter_mut().for_each(|needle| needle.make_ascii_lowercase());
        self.needles.append(&mut needles);
    }

    /// Whether `ip` is the probe's.
    pub fn is_probe(&self, ip: IpAddr) -> bool {
        self.ips.contains(&ip) || self.ips.contains(&inner(ip))
    }

    /// Whether anything must be scrubbed.
    pub fn is_idle(&self) -> bool {
        self.needles.is_empty()
    }

    /// The text without the probe's address.
    pub fn text<'a>(&self, text: Text<'a>) -> Text<'a> {
        if self.needles.is_empty() || text.len() < 3 {
            return text;
        }
        let lower = text.to_ascii_lowercase();
        let mut clean = text;
        if self.needles.iter().any(|needle| lower.contains(needle)) {
            let mut replaced = clean.into_owned();
            for needle in &self.needles {
                replaced = replace_ignoring_case(&replaced, needle);
            }
            clean = Cow::Owned(replaced);
        }
        // Spellings that no list foresees: whatever reads as the address is the address.
        if addresses(&clean).any(|ip| self.is_probe(ip)) {
            let hidden = clean
                .split_inclusive(|c| !is_part(c))
                .map(|piece| if addresses(piece).any(|ip| self.is_probe(ip)) { SCRUBBED } else { piece });
            clean = Cow::Owned(hidden.collect());
        }
        clean
    }
}

fn replace_ignoring_case(text: &str, needle: &str) -> String {
    // ASCII lower case keeps byte positions.
    let lower = text.to_ascii_lowercase();
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = lower[from..].find(needle) {
        clean.push_str(&text[from..from + at]);
        clean.push_str(SCRUBBED);
        from += at + needle.len();
    }
    clean.push_str(&text[from..]);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_probes_address_is_taken_out() {
        let scrubber = Scrubber::new(["198.51.100.77"]);
        for text in [
            "your address is 198.51.100.77.",
            "https://portal.example/?ip=198.51.100.77&x=1",
            "198-51-100-77.dyn.example",
            "77.100.51.198.in-addr.arpa",
            "https://x.example/?c=3325256781",
            "https://x.example/?c=C633644D",
            "64:ff9b::c633:644d",
            "198-51-100-077.pool.example 198-051-100-077.pool.example",
        ] {
            let clean = scrubber.text(Cow::Borrowed(text));
            assert!(clean.contains(SCRUBBED), "{text} → {clean}");
            assert!(!clean.contains("198.51.100.77"));
        }
        assert_eq!(scrubber.text(Cow::Borrowed("198.51.100.7")), "198.51.100.7");
        let v6 = Scrubber::new(["2001:db8::1:2"]);
        assert!(v6.text(Cow::Borrowed("ip=2001:DB8::1:2")).contains(SCRUBBED));
        let reverse = "2.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert!(v6.text(Cow::Borrowed(reverse)).contains(SCRUBBED));
        assert!(v6.text(Cow::Borrowed("2001-0db8-0000-0000-0000-0000-0001-0002.x")).contains(SCRUBBED));
    }

    #[test]
    fn placeholders_are_nobodys_address() {
        assert!(Scrubber::new(["127.0.0.1"]).is_idle());
        assert!(Scrubber::new(["[scrubbed]"]).is_idle());
        assert!(Scrubber::new([]).is_idle());
    }

    #[test]
    fn an_address_in_any_dress_is_known() {
        for written in [
            "::ffff:198.51.100.77",
            "198.51.100.77:4433",
            "198.51.100.77/32",
            " [198.51.100.77] ",
            "[\"127.0.0.1\",\"198.51.100.77\"]",
        ] {
            let clean = Scrubber::new([written]).text(Cow::Borrowed("you are 198.51.100.77, welcome"));
            assert!(!clean.contains("198.51.100.77"), "{written}: {clean}");
        }
        let both = Scrubber::new(["198.51.100.77", "127.0.0.1"]);
        assert!(both.text(Cow::Borrowed("198.51.100.77:80")).contains(SCRUBBED));
        let v6 = Scrubber::new(["2a00:1fa0:4:6::77%eth0"]);
        for text in ["at 2a00:1fa0:0004:0006:0:0:0:77.", "[2A00:1fa0:4:6::77]:443", "2a00:1fa0:4:6:0::77"] {
            let clean = v6.text(Cow::Borrowed(text));
            assert!(clean.contains(SCRUBBED), "{text} → {clean}");
        }
        assert_eq!(v6.text(Cow::Borrowed("2a00:1fa0:4:6::78")), "2a00:1fa0:4:6::78");
    }
}
