//! Takes the probe's own address out of everything that is kept.
//!
//! Some published measurements carry it (2,300 lines of the sample archive do). It can hide in any text:
//! an answer of a whoami name, a redirect to `?ip=…`, a page title, a reverse name. Every text of a row
//! passes here before the row leaves this crate.

use std::borrow::Cow;
use std::net::IpAddr;

use okno_model::Text;

use crate::host::SCRUBBED;

/// The spellings of one address that must not be kept.
#[derive(Debug, Default)]
pub struct Scrubber {
    ip: Option<IpAddr>,
    /// in lower case, longest first, so that no shorter one leaves a rest of a longer
    needles: Vec<String>,
}

impl Scrubber {
    /// From `probe_ip` as written. Loopback and other addresses that OONI writes in place of the real one
    /// name nobody and need no scrubbing.
    pub fn new(probe_ip: Option<&str>) -> Self {
        let Some(ip) = probe_ip.and_then(|text| text.trim().parse::<IpAddr>().ok()) else {
            return Self::default();
        };
        if ip.is_loopback() || ip.is_unspecified() {
            return Self::default();
        }
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
        needles.sort_unstable_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
        needles.dedup();
        Self { ip: Some(ip), needles }
    }

    /// Whether anything must be scrubbed.
    pub fn is_idle(&self) -> bool {
        self.ip.is_none()
    }

    /// The text without the probe's address.
    pub fn text<'a>(&self, text: Text<'a>) -> Text<'a> {
        if self.ip.is_none() || text.len() < 7 {
            return text;
        }
        let lower = text.to_ascii_lowercase();
        if !self.needles.iter().any(|needle| lower.contains(needle)) {
            return text;
        }
        let mut clean = text.into_owned();
        for needle in &self.needles {
            clean = replace_ignoring_case(&clean, needle);
        }
        Cow::Owned(clean)
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
        let scrubber = Scrubber::new(Some("198.51.100.77"));
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
        let v6 = Scrubber::new(Some("2001:db8::1:2"));
        assert!(v6.text(Cow::Borrowed("ip=2001:DB8::1:2")).contains(SCRUBBED));
        let reverse = "2.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert!(v6.text(Cow::Borrowed(reverse)).contains(SCRUBBED));
        assert!(v6.text(Cow::Borrowed("2001-0db8-0000-0000-0000-0000-0001-0002.x")).contains(SCRUBBED));
    }

    #[test]
    fn placeholders_are_nobodys_address() {
        assert!(Scrubber::new(Some("127.0.0.1")).is_idle());
        assert!(Scrubber::new(Some("[scrubbed]")).is_idle());
        assert!(Scrubber::new(None).is_idle());
    }
}
