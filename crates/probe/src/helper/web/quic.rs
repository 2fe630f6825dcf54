//! The same over QUIC, for a probe that asks for it and a site whose Alt-Svc offers it (oohelperd measure.go,
//! quic.go).

use core::cell::RefCell;

use futures::future::join_all;
use url::Url;

use super::fetch::{PATIENCE, headers};
use super::measure::Job;
use super::protocol::{HandshakeSeen, HelperResponse, PageSeen, page_failure};
use crate::http::Request;
use crate::net::Endpoint;
use crate::page::title_of;
use crate::quic::{QuicConnection, QuicOptions, get, handshake};

/// Shakes hands with all endpoints, and fetches the page over the first connection that stands.
pub async fn over_quic(job: &Job<'_>, host: &str, ends: &[Endpoint], response: &mut HelperResponse) {
    let first: RefCell<Option<QuicConnection>> = RefCell::default();
    let options = QuicOptions { patience: PATIENCE, ..QuicOptions::default() };
    let tried = ends.iter().map(|end| async {
        let shaken = handshake(&job.scope(), *end, host, &options).await;
        let failure = shaken.as_ref().err().map(|failure| failure.as_str().to_owned());
        if let Ok(connection) = shaken {
            first.borrow_mut().get_or_insert(connection);
        }
        HandshakeSeen { server_name: host.to_owned(), status: failure.is_none(), failure }
    });
    let seen = join_all(tried).await;
    response.quic_handshake = ends.iter().map(ToString::to_string).zip(seen).collect();
    let url = format!("https://{}/", response.http_request.discovered_h3_endpoint);
    let connection = first.into_inner();
    response.http3_request = Some(match connection {
        Some(connection) => page(job, &connection, &url).await,
        None => PageSeen::failed("unknown_error"),
    });
}

async fn page(job: &Job<'_>, connection: &QuicConnection, url: &str) -> PageSeen {
    // An offer of another host would need another lookup: then only the handshakes are told.
    if Url::parse(url).is_err() {
        return PageSeen::failed("unknown_error");
    }
    let mut request = Request::get(url);
    request.headers.clone_from(&job.headers);
    request.body_limit = job.options.limits.page_bytes;
    request.patience = PATIENCE;
    match get(&job.scope(), connection, &request).await {
        Ok(answer) => PageSeen {
            body_length: i64::try_from(answer.body.len()).unwrap_or(i64::MAX),
            failure: None,
            title: title_of(&answer.body).into_owned(),
            headers: headers(&answer),
            status_code: i64::from(answer.code),
            ..PageSeen::default()
        },
        Err(failure) => PageSeen::failed(page_failure(failure, false)),
    }
}
