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
    /// XXH3-128; 0 for an empty body
    pub hash: u128,
    /// title of the page
    pub title: Option<String>,
    /// fingerprints that matched
    pub hits: Vec<u32>,
}

/// Looks at a body once.
pub fn look(body: &[u8], fingerprints: &Fingerprints) -> BodyFacts {
    let mut hits = Vec::new();
    if !body.is_empty() {
        fingerprints.match_body(body, &mut hits);
    }
    BodyFacts {
        bytes: body.len() as u64,
        hash: if body.is_empty() { 0 } else { xxh3_128(body) },
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
    fn common_headers_are_sorted_for_the_search() {
        assert!(COMMON.is_sorted());
        assert!(is_uncommon("x-test-helper") && !is_uncommon("server"));
    }
}
