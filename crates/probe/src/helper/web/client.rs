//! The probe's side: asks a helper, within 30 seconds (webconnectivitylte/control.go).

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Failure;
use url::Url;

use super::protocol::{HelperRequest, HelperResponse};
use crate::dns::{self, Resolver};
use crate::experiment::Context;
use crate::http::{Request, Via, exchange};
use crate::net::{Dial, Endpoint, within};
use crate::tcp;
use crate::tls::{self, TlsOptions};
use crate::trace::{Scope, Trace};

/// Most time for an answer (webconnectivitylte/control.go).
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer: a page's headers and some dozens of addresses.
const LONGEST: usize = 1 << 20;

/// Which helper to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// `https://helper.example/`
    pub url: &'a str,
    /// its addresses, when its name shall not be looked up
    pub addresses: &'a [IpAddr],
}

/// Asks. Nothing of the exchange with the helper is recorded in the measurement, as in OONI's. A status other
/// than 200 is `http_request_failed`, an answer that is no answer `json_parse_error`.
pub async fn ask(
    context: &Context,
    whom: Ask<'_>,
    request: &HelperRequest,
) -> Result<HelperResponse, Failure> {
    let trace = Trace::with_event_limit(context, 0);
    let scope = Scope { world: context.world.clone(), trace, transaction: 0, tags: Vec::new() };
    let work = exchange_with(&scope, whom, request);
    within(&*context.world, PATIENCE, work).await.unwrap_or(Err(Failure::GenericTimeout))
}

async fn exchange_with(
    scope: &Scope,
    whom: Ask<'_>,
    request: &HelperRequest,
) -> Result<HelperResponse, Failure> {
    let url = Url::parse(whom.url).map_err(|_| Failure::HttpRequestFailed)?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let addresses = if whom.addresses.is_empty() {
        let found = dns::lookup(scope, &Resolver::System, &host).await;
        if let Some(failure) = found.failure {
            return Err(failure);
        }
        found.addresses
    } else {
        whom.addresses.to_vec()
    };
    let port = url.port_or_known_default().unwrap_or(443);
    let body = serde_json::to_vec(request).map_err(|_| Failure::JsonParse)?;
    let mut message = Request::post(whom.url, "application/json", body);
    message.headers.retain(|(name, _)| name == "Content-Type");
    message.headers.push(("User-Agent".to_owned(), concat!("okno/", env!("CARGO_PKG_VERSION")).to_owned()));
    message.body_limit = LONGEST;
    message.patience = PATIENCE;
    let mut failure = Failure::DnsNoAnswer;
    for ip in addresses {
        match post(scope, Endpoint { ip, port }, url.scheme() == "https", &host, &message).await {
            Ok(bytes) => return serde_json::from_slice(&bytes).map_err(|_| Failure::JsonParse),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

async fn post(
    scope: &Scope,
    remote: Endpoint,
    over_tls: bool,
    host: &str,
    message: &Request,
) -> Result<Vec<u8>, Failure> {
    let flow = tcp::connect(scope, Dial { patience: Duration::from_secs(10), ..Dial::to(remote) }).await?;
    let response = if over_tls {
        let stream = tls::handshake(scope, flow, remote, host, &TlsOptions::web()).await?;
        let via = Via { remote: Some(remote), alpn: stream.alpn() };
        exchange(scope, stream, &via, message).await?
    } else {
        exchange(scope, flow, &Via { remote: Some(remote), alpn: String::new() }, message).await?
    };
    if response.code == 200 { Ok(response.body) } else { Err(Failure::HttpRequestFailed) }
}
