//! Names of hosts and addresses in their one canonical spelling.
//!
//! Python's `urlparse`, ClickHouse's `domain()` and browsers disagree on user info, IDNA, trailing dots
//! and IPv6 literals (trap 41). Okno follows the WHATWG URL Standard (crate `url`), then drops the trailing
//! dot.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use okno_model::Text;
use url::{Host, Url};

/// The value that OONI writes in place of an address it hides (df-000).
pub const SCRUBBED: &str = "[scrubbed]";

/// A host name as ASCII in lower case without a trailing dot; `None` when it is none.
pub fn canonical(name: &str) -> Option<Text<'_>> {
    let trimmed = name.trim().trim_end_matches('.');
    if trimmed.is_empty() || trimmed.len() > 253 || trimmed.contains(['[', ']', '/', ' ']) {
        return None;
    }
    let plain = trimmed.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'));
    if plain && !trimmed.starts_with("xn--") {
        return Some(Cow::Borrowed(trimmed));
    }
    // UTS 46 processing, as browsers do.
    let ascii = idna::domain_to_ascii(trimmed).ok()?;
    (!ascii.is_empty()).then(|| Cow::Owned(ascii.trim_end_matches('.').to_owned()))
}

/// What a URL says, without user name, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// the URL, cleaned
    pub url: String,
    /// `http`, `https`, `dot` …
    pub scheme: String,
    /// host name in ASCII, or address
    pub host: Option<String>,
    /// port, where the scheme or the URL names one
    pub port: Option<u16>,
}

/// Reads a URL; `None` when it is none. Relative ones are resolved against `base`.
pub fn place(text: &str, base: Option<&str>) -> Option<Place> {
    let parsed = match base {
        Some(base) => Url::parse(base).ok()?.join(text).ok()?,
        None => Url::parse(text.trim()).ok()?,
    };
    let mut cleaned = parsed.clone();
    let _ = cleaned.set_username("");
    let _ = cleaned.set_password(None);
    cleaned.set_fragment(None);
    let host = match parsed.host() {
        Some(Host::Domain(name)) => canonical(name).map(Cow::into_owned),
        Some(Host::Ipv4(ip)) => Some(ip.to_string()),
        Some(Host::Ipv6(ip)) => Some(ip.to_string()),
        None => None,
    };
    let well_known = match parsed.scheme() {
        "dot" => Some(853),
        "stun" | "turn" => Some(3478),
        _ => None,
    };
    Some(Place {
        scheme: parsed.scheme().to_owned(),
        port: parsed.port_or_known_default().or(well_known),
        host,
        url: cleaned.into(),
    })
}

/// An address and a port, as `1.2.3.4:443`, `[2001:db8::1]:443` or `[scrubbed]:443`.
pub fn endpoint(text: &str) -> Option<(Text<'_>, Option<u32>)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix(SCRUBBED) {
        return Some((Cow::Borrowed(SCRUBBED), rest.strip_prefix(':').and_then(|p| p.parse().ok())));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']')?;
        let ip: Ipv6Addr = address.split('%').next()?.parse().ok()?;
        return Some((ip_text(IpAddr::V6(ip)), rest.strip_prefix(':').and_then(|p| p.parse().ok())));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip_text(ip), None));
    }
    let (address, port) = text.rsplit_once(':')?;
    let ip: IpAddr = address.parse().ok()?;
    Some((ip_text(ip), port.parse::<u16>().ok().map(u32::from)))
}

/// An address in its canonical text (RFC 5952 for IPv6).
pub fn ip_text(ip: IpAddr) -> Text<'static> {
    Cow::Owned(ip.to_string())
}

/// The network part of an address that may belong to a person's line: /24 or /48, never more.
pub fn truncated(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_41_one_parser_for_every_spelling_of_a_host() {
        for (url, host, port) in [
            ("http://яндекс.рф/", Some("xn--d1acpjx3f.xn--p1ai"), Some(80)),
            ("https://EXAMPLE.org./x?y#z", Some("example.org"), Some(443)),
            ("http://user:secret@example.org:80/", Some("example.org"), Some(80)),
            ("https://[2001:DB8::1]:8443/", Some("2001:db8::1"), Some(8443)),
            ("http://127.0.0.1:8080", Some("127.0.0.1"), Some(8080)),
            ("dot://dns.example/", Some("dns.example"), Some(853)),
            ("stun://stun.example:3479", Some("stun.example"), Some(3479)),
            ("https://b%C3%BCcher.example/", Some("xn--bcher-kva.example"), Some(443)),
        ] {
            let place = place(url, None).unwrap();
            assert_eq!((place.host.as_deref(), place.port), (host, port), "{url}");
            assert!(!place.url.contains("secret"));
        }
        assert_eq!(place("not a url", None), None);
        let hop = place("/next", Some("https://example.org/a/b")).unwrap();
        assert_eq!(hop.url, "https://example.org/next");
    }

    #[test]
    fn host_names_have_one_spelling() {
        assert_eq!(canonical("WWW.Example.ORG.").as_deref(), Some("www.example.org"));
        assert_eq!(canonical("правительство.рф").as_deref(), Some("xn--80aealotwbjpid2k.xn--p1ai"));
        assert_eq!(canonical("_dmarc.example.org").as_deref(), Some("_dmarc.example.org"));
        assert_eq!(canonical(""), None);
        assert_eq!(canonical("[scrubbed]"), None);
    }

    #[test]
    fn trap_12_scrubbed_addresses_are_present_but_hidden() {
        assert_eq!(endpoint("[scrubbed]:443"), Some((Cow::Borrowed(SCRUBBED), Some(443))));
        assert_eq!(endpoint("[2001:DB8:0:0::1]:443"), Some((Cow::Borrowed("2001:db8::1"), Some(443))));
        assert_eq!(endpoint("192.0.2.1:80"), Some((Cow::Borrowed("192.0.2.1"), Some(80))));
        assert_eq!(endpoint("2001:db8::1"), Some((Cow::Borrowed("2001:db8::1"), None)));
        assert_eq!(endpoint("example.org:80"), None);
    }

    #[test]
    fn addresses_of_lines_are_cut_to_their_network() {
        assert_eq!(truncated("203.0.113.77".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(truncated("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::/48");
    }
}
