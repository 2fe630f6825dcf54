//! The echo server that ts-006 and ts-007 ask: a configured one, or port 80 of the session's helper.

use url::Url;

use crate::experiment::{Contact, Context};
use crate::net::Endpoint;

/// Where it is. `Err` says what to give.
pub(super) async fn endpoint(configured: Option<&str>, context: &Context) -> Result<Endpoint, String> {
    if let Some(text) = configured {
        return text.parse().map_err(|_| format!("backend {text:?} is no address such as 192.0.2.1:80"));
    }
    let mut ip = context.helper_addresses.first().copied();
    let url = context.helper.as_deref().and_then(|helper| Url::parse(helper).ok());
    if let (None, Some(host)) = (ip, url.as_ref().and_then(Url::host_str)) {
        ip = match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => Some(ip),
            Err(_) => context.world.lookup(host).await.ok().and_then(|found| found.first().copied()),
        };
    }
    ip.map(|ip| Endpoint { ip, port: 80 }).ok_or_else(|| {
        "needs a helper with an echo server: give its address as `backend`, such as 192.0.2.1:80".to_owned()
    })
}

/// The same for the list of contacts; without a configured one the session knows its helper's address.
pub(super) fn contact(configured: Option<&str>, purpose: &str) -> Contact {
    let end = configured.and_then(|text| text.parse().ok());
    let (host, port) =
        end.map_or(("(the helper)".to_owned(), 80), |end: Endpoint| (end.ip.to_string(), end.port));
    Contact { host, port: format!("tcp/{port}"), purpose: purpose.to_owned() }
}
