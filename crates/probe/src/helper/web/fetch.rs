//! The page as the helper sees it: redirects followed, over the first connection that stands.
//!
//! OONI's helper opens a further connection for the page; ours uses one of those that it measures anyway
//! (the change that oohelperd's http.go asks for), which spares the site and the helper a handshake. Only an
//! address that the helper found itself is used: what a probe names may be a censor's.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use futures::{AsyncRead, AsyncWrite};
use okno_model::{Failure, is_bogon};
use url::Url;

use super::measure::Job;
use super::protocol::{PageSeen, page_failure};
use crate::cookies::Cookies;
use crate::dns;
use crate::http::{Request, Response, Via, exchange};
use crate::net::{Dial, Endpoint, within};
use crate::page::title_of;
use crate::redirect;
use crate::tcp;
use crate::tls::{self, TlsOptions};

/// Most time for the page, all redirects in it (oohelperd http.go).
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Most redirects (Go's net/http client, which OONI's helper uses).
const REDIRECTS: usize = 10;

/// Any stream that a page can come over.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A connection that stands, past its handshake where the URL wants one.
pub struct Ready {
    /// the connection
    pub stream: Box<dyn Duplex>,
    /// where it goes, and ALPN
    pub via: Via,
}

/// Why there was no page: and whether it was the lookup.
struct Stopped {
    failure: Failure,
    resolving: bool,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self { failure, resolving: false }
    }
}

/// Fetches the page. `first` waits for the connection of the first request.
pub async fn page(job: &Job<'_>, url: &Url, first: impl Future<Output = Result<Ready, Failure>>) -> PageSeen {
    let mut seen = PageSeen::default();
    let work = follow(job, url.clone(), first, &mut seen.discovered_h3_endpoint);
    let done = within(&*job.world, PATIENCE, work).await;
    match done.unwrap_or_else(|| Err(Failure::GenericTimeout.into())) {
        Ok(response) => PageSeen {
            body_length: i64::try_from(response.body.len()).unwrap_or(i64::MAX),
            failure: None,
            title: title_of(&response.body).into_owned(),
            headers: headers(&response),
            status_code: i64::from(response.code),
            ..seen
        },
        Err(stopped) => PageSeen::failed(page_failure(stopped.failure, stopped.resolving)),
    }
}

/// Headers as the protocol has them.
pub fn headers(response: &Response) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in &response.headers {
        headers.entry(name.clone()).or_insert_with(|| String::from_utf8_lossy(value).into_owned());
    }
    headers
}

async fn follow(
    job: &Job<'_>,
    mut url: Url,
    first: impl Future<Output = Result<Ready, Failure>>,
    h3_endpoint: &mut String,
) -> Result<Response, Stopped> {
    let mut cookies = Cookies::default();
    let mut ready = first.await?;
    for sent_on in 0..=REDIRECTS {
        let mut request = Request::get(url.as_str());
        request.headers.clone_from(&job.headers);
        request.headers.extend(cookies.header(&url).map(|value| ("Cookie".to_owned(), value)));
        request.body_limit = job.options.limits.page_bytes;
        request.patience = PATIENCE;
        let response = exchange(&job.scope(), ready.stream, &ready.via, &request).await?;
        for (_, value) in response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        {
            cookies.keep(&url, &String::from_utf8_lossy(value));
        }
        if sent_on == 0 {
            *h3_endpoint = alt_svc(response.header("Alt-Svc").unwrap_or_default(), &url);
        }
        let Some(next) = redirect::target(&url, &response)? else { return Ok(response) };
        url = next;
        ready = open(job, &url).await?;
    }
    // Go's client says "stopped after 10 redirects", which has no name in df-007.
    Err(Failure::Unknown.into())
}

/// Looks the host up and connects to its addresses one after another.
async fn open(job: &Job<'_>, url: &Url) -> Result<Ready, Stopped> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let found = dns::lookup(&job.scope(), &job.options.resolver, host).await;
    if let Some(failure) = found.failure {
        return Err(Stopped { failure, resolving: true });
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let may = |ip: &IpAddr| job.options.private_targets || !is_bogon(*ip);
    let mut failure = Failure::DnsBogon;
    for ip in found.addresses.into_iter().filter(may) {
        match connect(job, Endpoint { ip, port }, url.scheme() == "https", host).await {
            Ok(ready) => return Ok(ready),
            Err(other) => failure = other,
        }
    }
    Err(failure.into())
}

async fn connect(job: &Job<'_>, remote: Endpoint, over_tls: bool, host: &str) -> Result<Ready, Failure> {
    let scope = job.scope();
    let flow = tcp::connect(&scope, Dial { patience: PATIENCE, ..Dial::to(remote) }).await?;
    if !over_tls {
        let via = Via { remote: Some(remote), alpn: String::new() };
        return Ok(Ready { stream: Box::new(flow), via });
    }
    shake(job, flow, remote, host).await
}

/// The handshake of a page on a connection that stands.
pub async fn shake(job: &Job<'_>, flow: tcp::Flow, remote: Endpoint, host: &str) -> Result<Ready, Failure> {
    let options = TlsOptions { patience: PATIENCE, ..TlsOptions::web() };
    let stream = tls::handshake(&job.scope(), flow, remote, host, &options).await?;
    let via = Via { remote: Some(remote), alpn: stream.alpn() };
    Ok(Ready { stream: Box::new(stream), via })
}

/// `host:port` of the first `h3` in an Alt-Svc header (RFC 7838 §3); empty when there is none.
fn alt_svc(header: &str, url: &Url) -> String {
    let mut offers = header.split(',').filter_map(|entry| {
        let offer = entry.split(';').next()?.trim().strip_prefix("h3=")?;
        Some(offer.trim_matches('"'))
    });
    let Some((host, port)) = offers.next().and_then(|authority| authority.rsplit_once(':')) else {
        return String::new();
    };
    let host = if host.is_empty() { url.host_str().unwrap_or_default() } else { host };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_of_http3_is_found_with_its_host_or_the_urls() {
        let url = Url::parse("https://site.example/").unwrap();
        assert_eq!(alt_svc(r#"h3=":443"; ma=3600, h2=":443""#, &url), "site.example:443");
        assert_eq!(alt_svc(r#"h2=":443", h3="alt.example:8443""#, &url), "alt.example:8443");
        assert_eq!(alt_svc(r#"h3-29=":443""#, &url), "");
        assert_eq!(alt_svc("clear", &url), "");
    }
}
