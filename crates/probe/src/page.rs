//! What two fetches of a page are compared by: title, length, uncommon headers, status
//! (ts-017-web-connectivity, "Local processing of the measurement results").
//!
//! Probe and helper must read a title alike, or the comparison finds a difference that is ours; so both call
//! this module, which reads as probe-cli's measurexlite/web.go does: `<title>` without attributes.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Longest title that is read, in characters (probe-cli measurexlite/web.go).
const LONGEST_TITLE: usize = 512;

/// The page's title; empty when it has none.
pub fn title_of(body: &[u8]) -> Cow<'_, str> {
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        rest = &rest[at..];
        if rest.get(..7).is_some_and(|tag| tag.eq_ignore_ascii_case(b"<title>")) {
            let window = &rest[7..rest.len().min(7 + 4 * LONGEST_TITLE + 1)];
            if let Some(end) = window.iter().position(|byte| *byte == b'<')
                && end > 0
                && rest.get(7 + end..7 + end + 8).is_some_and(|tag| tag.eq_ignore_ascii_case(b"</title>"))
            {
                let text = String::from_utf8_lossy(&window[..end]);
                if text.chars().count() <= LONGEST_TITLE {
                    return text;
                }
            }
        }
        rest = &rest[1..];
    }
    Cow::Borrowed("")
}

/// Headers that most sites send, lower case, sorted (probe-cli minipipeline/httpdiff.go).
const COMMON_HEADERS: [&str; 25] = [
    "accept-ranges",
    "age",
    "cache-control",
    "cf-ray",
    "content-encoding",
    "content-language",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "p3p",
    "pragma",
    "server",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "via",
    "x-content-type-options",
    "x-frame-options",
    "x-powered-by",
    "x-varnish",
    "x-xss-protection",
];

/// Whether both sides sent a header with one name that few sites send.
pub fn share_uncommon_header<'a>(
    ours: impl Iterator<Item = &'a str>,
    theirs: impl Iterator<Item = &'a str>,
) -> bool {
    let uncommon = |name: &str| {
        let lower = name.to_ascii_lowercase();
        COMMON_HEADERS.binary_search(&lower.as_str()).is_err().then_some(lower)
    };
    let ours: BTreeSet<String> = ours.filter_map(uncommon).collect();
    theirs.filter_map(uncommon).any(|name| ours.contains(&name))
}

/// The smaller length over the larger one; `None` unless both are known and positive.
pub fn proportion(ours: u64, theirs: i64) -> Option<f64> {
    let theirs = u64::try_from(theirs).ok().filter(|length| *length > 0)?;
    (ours > 0).then(|| ours.min(theirs) as f64 / ours.max(theirs) as f64)
}

/// Whether the status codes agree. `None` when the helper itself was turned away with another code, which
/// says nothing of the path (ooni/probe#2287).
pub fn same_status(ours: u16, theirs: i64) -> Option<bool> {
    if ours == 0 || theirs <= 0 {
        return None;
    }
    let same = i64::from(ours) == theirs;
    (same || theirs / 100 == 2).then_some(same)
}

/// Whether the titles have the same long words; words of fewer than five bytes are passed over.
pub fn same_title(ours: &str, theirs: &str) -> bool {
    let words = |title: &str| -> BTreeSet<String> {
        title.split(' ').filter(|word| word.len() >= 5).map(str::to_lowercase).collect()
    };
    words(ours) == words(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_read_as_the_test_helper_reads_it() {
        assert_eq!(title_of(b"<HTML><Title>A page</TITLE>"), "A page");
        assert_eq!(title_of("<title>Доступ ограничен</title>".as_bytes()), "Доступ ограничен");
        assert_eq!(title_of(b"<title lang=en>A</title>"), "");
        assert_eq!(title_of(b"<title></title><title>b</title>"), "b");
        assert_eq!(title_of(b"<title>a<b>c</title>"), "");
        assert_eq!(title_of(b"<title>cut"), "");
        let long = format!("<title>{}</title>", "x".repeat(513));
        assert_eq!(title_of(long.as_bytes()), "");
        assert_eq!(title_of(&long.as_bytes()[1..]), "");
    }

    #[test]
    fn only_headers_that_few_sites_send_make_two_answers_alike() {
        assert!(COMMON_HEADERS.is_sorted());
        assert!(!share_uncommon_header(["Server", "Date"].into_iter(), ["server", "date"].into_iter()));
        assert!(share_uncommon_header(["X-Site"].into_iter(), ["x-site"].into_iter()));
        assert!(!share_uncommon_header(["X-Site"].into_iter(), ["x-box"].into_iter()));
    }

    #[test]
    fn lengths_titles_and_codes_compare_as_the_specification_says() {
        assert_eq!(proportion(50, 100), Some(0.5));
        assert_eq!(proportion(100, 50), Some(0.5));
        assert_eq!((proportion(0, 50), proportion(9, -1)), (None, None));
        assert_eq!(same_status(403, 200), Some(false));
        assert_eq!(same_status(403, 403), Some(true));
        assert_eq!(same_status(200, 403), None);
        assert_eq!(same_status(200, -1), None);
        assert!(same_title("Example Domain", "example domain of"));
        assert!(!same_title("Access denied", "Example Domain"));
    }
}
