//! Where an answer sends its client on to (RFC 9110 §15.4).

use okno_model::Failure;
use url::Url;

use crate::http::Response;

/// Whether a status sends on. OONI's probe follows 301, 302, 307 and 308, ts-017 also names 303.
pub const fn sends_on(code: u16) -> bool {
    matches!(code, 301 | 302 | 303 | 307 | 308)
}

/// Where the answer of `url` sends on to; `None` when it does not. A place that is no host is
/// `http_invalid_redirect_location_host` (ooni/probe#2628).
pub fn target(url: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    if !sends_on(response.code) {
        return Ok(None);
    }
    let Some(location) = response.header("Location") else {
        return Err(Failure::HttpInvalidRedirect);
    };
    match url.join(location) {
        Ok(next) if next.has_host() && matches!(next.scheme(), "http" | "https") => Ok(Some(next)),
        _ => Err(Failure::HttpInvalidRedirect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, location: Option<&str>) -> Response {
        let header = |value: &str| ("Location".to_owned(), value.as_bytes().to_vec());
        Response { code, headers: location.into_iter().map(header).collect(), ..Response::default() }
    }

    #[test]
    fn only_a_redirect_to_a_host_is_followed() {
        let url = Url::parse("http://a.example/x/y").unwrap();
        let to = |code, location| target(&url, &answer(code, location)).map(|next| next.map(String::from));
        assert_eq!(to(302, Some("../z")), Ok(Some("http://a.example/z".to_owned())));
        assert_eq!(to(301, Some("https://b.example/")), Ok(Some("https://b.example/".to_owned())));
        assert_eq!(to(200, Some("https://b.example/")), Ok(None));
        assert_eq!(to(302, Some("http://")), Err(Failure::HttpInvalidRedirect));
        assert_eq!(to(302, Some("ftp://b.example/")), Err(Failure::HttpInvalidRedirect));
        assert_eq!(to(302, None), Err(Failure::HttpInvalidRedirect));
    }
}
