//! Cookies of one chain of redirects: kept for its length, sent back where they belong, forgotten after
//! (RFC 6265; ts-017 extension E002: "record and honour the cookies").
//!
//! A chain is seconds long, so `Expires` and `Max-Age` are read only as far as they delete a cookie.

use url::Url;

/// Most cookies of one chain; RFC 6265 §6.1 asks browsers for 50 a domain.
const MOST: usize = 64;
/// Longest cookie that is kept, name and value (RFC 6265 §6.1).
const LONGEST: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    domain: String,
    /// for that host alone
    host_only: bool,
    path: String,
    secure: bool,
}

/// The cookies of one chain.
#[derive(Clone, Debug, Default)]
pub struct Cookies(Vec<Cookie>);

impl Cookies {
    /// Keeps what one `Set-Cookie` header of an answer from `url` says (RFC 6265 §5.2, §5.3).
    pub fn keep(&mut self, url: &Url, header: &str) {
        let Some(host) = url.host_str() else { return };
        let mut parts = header.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() + value.len() > LONGEST {
            return;
        }
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: host.to_ascii_lowercase(),
            host_only: true,
            path: default_path(url.path()),
            secure: false,
        };
        let mut gone = false;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "domain" => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    // A whole public suffix is no domain; one label is the part of that list we need not
                    // read. Wider scopes live for one chain only.
                    if !domain.contains('.') || !belongs(host, &domain) {
                        return;
                    }
                    cookie.domain = domain;
                    cookie.host_only = false;
                }
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "secure" => cookie.secure = true,
                "max-age" => gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                _ => {}
            }
        }
        let same = |c: &Cookie| c.name == cookie.name && c.domain == cookie.domain && c.path == cookie.path;
        self.0.retain(|known| !same(known));
        if !gone && self.0.len() < MOST {
            self.0.push(cookie);
        }
    }

    /// The `Cookie` header of a request to `url` (RFC 6265 §5.4); `None` without one.
    pub fn header(&self, url: &Url) -> Option<String> {
        let host = url.host_str()?.to_ascii_lowercase();
        let fits = |cookie: &&Cookie| {
            (if cookie.host_only { host == cookie.domain } else { belongs(&host, &cookie.domain) })
                && path_fits(url.path(), &cookie.path)
                && (!cookie.secure || url.scheme() == "https")
        };
        let pairs: Vec<String> =
            self.0.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// RFC 6265 §5.1.3; an address belongs to itself alone.
fn belongs(host: &str, domain: &str) -> bool {
    host == domain
        || (host.parse::<core::net::IpAddr>().is_err()
            && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

/// RFC 6265 §5.1.4.
fn default_path(path: &str) -> String {
    match path.rfind('/') {
        Some(at) if at > 0 => path[..at].to_owned(),
        _ => "/".to_owned(),
    }
}

fn path_fits(path: &str, of: &str) -> bool {
    path == of || (path.starts_with(of) && (of.ends_with('/') || path[of.len()..].starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_cookie_goes_back_to_its_own_host_and_path_alone() {
        let mut cookies = Cookies::default();
        cookies.keep(&url("http://a.example/x/y"), "s=1");
        assert_eq!(cookies.header(&url("http://a.example/x/z")).as_deref(), Some("s=1"));
        assert_eq!(cookies.header(&url("http://a.example/xz")), None);
        assert_eq!(cookies.header(&url("http://b.example/x/z")), None);
        assert_eq!(cookies.header(&url("http://sub.a.example/x/z")), None);
    }

    #[test]
    fn a_domain_cookie_needs_a_domain_that_the_host_belongs_to() {
        let mut cookies = Cookies::default();
        cookies.keep(&url("https://www.site.example/"), "a=1; Domain=.site.example; Secure; Path=/");
        cookies.keep(&url("https://www.site.example/"), "b=2; Domain=example");
        cookies.keep(&url("https://www.site.example/"), "c=3; Domain=other.example");
        assert_eq!(cookies.header(&url("https://site.example/")).as_deref(), Some("a=1"));
        assert_eq!(cookies.header(&url("http://site.example/")), None, "secure means TLS");
    }

    #[test]
    fn a_later_cookie_replaces_and_max_age_deletes() {
        let mut cookies = Cookies::default();
        let site = url("http://a.example/");
        cookies.keep(&site, "s=1");
        cookies.keep(&site, "s=2; Path=/");
        assert_eq!(cookies.header(&site).as_deref(), Some("s=2"));
        cookies.keep(&site, "s=; Max-Age=0");
        assert_eq!(cookies.header(&site), None);
        cookies.keep(&site, "noise");
        assert_eq!(cookies.header(&site), None);
    }
}
