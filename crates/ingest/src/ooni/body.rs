//! What remains of an HTTP body: length, hash, title, fingerprints. The body itself is never kept.

use xxhash_rust::xxh3::xxh3_128;

use crate::reference::Fingerprints;

/// Longest title that is kept, in characters.
const TITLE: usize = 160;

/// Features of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// length in bytes, decoded
    pub bytes: u64,
    /// XXH3-128; 0 for an empty body and for one that tells the probe's address
    pub hash: u128,
    /// title of the page
    pub title: Option<String>,
    /// fingerprints that matched
    pub hits: Vec<u32>,
}

/// Bodies up to this length may be an address and little else.
const SHORT: usize = 1024;

/// Whether the hash of this body would give away an address: a short text around one can be found again by
/// trying all addresses, so an echo service's answer is never hashed, nor anything that holds the probe's.
fn tells_an_address(body: &[u8], probe_ip: &[u8]) -> bool {
    if body.len() <= SHORT {
        let is_part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':');
        return body
            .split(|b| !is_part(b))
            .filter(|word| (7..=45).contains(&word.len()) || word.contains(&b':'))
            .filter_map(|word| std::str::from_utf8(word).ok())
            .any(|word| word.trim_matches(['.', ':']).parse::<std::net::IpAddr>().is_ok());
    }
    probe_ip.len() > 6 && probe_ip != b"127.0.0.1" && memchr::memmem::find(body, probe_ip).is_some()
}

/// Looks at a body once; `probe_ip` is the probe's address as written, or empty.
pub fn look(body: &[u8], fingerprints: &Fingerprints, probe_ip: &[u8]) -> BodyFacts {
    let mut hits = Vec::new();
    if !body.is_empty() {
        fingerprints.match_body(body, &mut hits);
    }
    BodyFacts {
        bytes: body.len() as u64,
        hash: if body.is_empty() || tells_an_address(body, probe_ip) { 0 } else { xxh3_128(body) },
        title: title_of(body),
        hits,
    }
}

/// The text of the first `<title>` element, blanks folded, as OONI's test helper reads it
/// (ts-017: `<title.*?>(.*?)</title>`, any case); `None` when there is none or it is empty.
pub fn title_of(body: &[u8]) -> Option<String> {
    let mut from = 0;
    loop {
        let open = from + memchr::memchr(b'<', &body[from..])?;
        from = open + 1;
        let tag = body.get(open + 1..open + 6)?;
        if !tag.eq_ignore_ascii_case(b"title") {
            continue;
        }
        let start = open + 6 + memchr::memchr(b'>', &body[open + 6..])? + 1;
        let window = &body[start..body.len().min(start + 4096)];
        let end = memchr::memchr(b'<', window)?;
        let text = String::from_utf8_lossy(&window[..end]);
        let folded: String =
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TITLE).collect();
        return (!folded.is_empty()).then_some(folded);
    }
}

/// Headers that say nothing about a site, lower case: OONI's list of common headers (ts-017,
/// `headers_match` compares only the others) and those of the connection itself.
const COMMON: [&str; 24] = [
    "accept-ranges",
    "age",
    "alt-svc",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "location",
    "p3p",
    "pragma",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "via",
    "x-powered-by",
];

/// Whether a header's name says something about the site.
pub fn is_uncommon(lower: &str) -> bool {
    COMMON.binary_search(&lower).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_found_in_any_case_and_folded() {
        assert_eq!(title_of(b"<html><TITLE lang=ru>  A\n b </TITLE>").as_deref(), Some("A b"));
        assert_eq!(title_of(b"<title></title>"), None);
        assert_eq!(title_of(b"<titl"), None);
        assert_eq!(title_of(b"<p><p><title>x"), None);
        assert_eq!(
            title_of("<title>Доступ ограничен</title>".as_bytes()).as_deref(),
            Some("Доступ ограничен")
        );
    }

    #[test]
    fn an_answer_that_tells_an_address_is_not_hashed() {
        for body in [r#"{"ip":"198.51.100.7"}"#, "2001:db8::7", "Your address: 198.51.100.7."] {
            assert!(tells_an_address(body.as_bytes(), b""), "{body}");
        }
        assert!(!tells_an_address(b"<p>version 1.2.3, 10:30</p>", b""));
        let long = format!("{}198.51.100.7", "x".repeat(2000));
        assert!(tells_an_address(long.as_bytes(), b"198.51.100.7"));
        assert!(!tells_an_address(long.as_bytes(), b"127.0.0.1"));
    }

    #[test]
    fn common_headers_are_sorted_for_the_search() {
        assert!(COMMON.is_sorted());
        assert!(is_uncommon("x-test-helper") && !is_uncommon("server"));
    }
}
