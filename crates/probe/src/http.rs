//! HTTP/1.1 and HTTP/2 by hyper over any stream: one round trip, recorded; and a small server.
//!
//! Redirects are not followed: which to follow is a test's decision. hyper's connection runs beside the
//! request in the same task, so nothing outlives the round trip. Names of headers go out as they stand in the
//! request where hyper can (it writes either all small or all in title case); a test that needs other letters
//! writes its bytes itself.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context as Poller, Poll, ready};
use core::time::Duration;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use okno_model::Failure;

use crate::limits;
use crate::net::{Endpoint, NetErrorKind, Task, within};
use crate::tls::failure_of as tls_failure;
use crate::trace::{Headers, HttpRecord, Scope};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// the whole URL; its path goes into the request line, its host into `Host` unless that is given
    pub url: String,
    /// headers in their order; `Host` may be among them
    pub headers: Vec<(String, String)>,
    /// body
    pub body: Vec<u8>,
    /// most bytes of the response's body that are kept
    pub body_limit: usize,
    /// most time for the whole round trip
    pub patience: Duration,
}

/// User-Agent of OONI's probe (probe-cli `internal/model/http.go`, HTTPHeaderUserAgent).
pub const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
     Gecko) Chrome/117.0.0.0 Safari/537.3";
/// Accept of OONI's probe (probe-cli `internal/model/http.go`, HTTPHeaderAccept).
pub const ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// Accept-Language of OONI's probe (probe-cli `internal/model/http.go`, HTTPHeaderAcceptLanguage).
pub const ACCEPT_LANGUAGE: &str = "en-US,en;q=0.9";

impl Request {
    /// A GET with the headers of OONI's probe.
    pub fn get(url: &str) -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: vec![
                header("Accept", ACCEPT),
                header("Accept-Language", ACCEPT_LANGUAGE),
                header("User-Agent", USER_AGENT),
            ],
            body: Vec::new(),
            body_limit: limits::BODY,
            patience: limits::HTTP,
        }
    }

    /// A POST of `body`.
    pub fn post(url: &str, content_type: &str, body: Vec<u8>) -> Self {
        let mut request = Self::get(url);
        "POST".clone_into(&mut request.method);
        request.headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        request.body = body;
        request
    }
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// status
    pub code: u16,
    /// headers in their order, names in title case
    pub headers: Headers,
    /// body, cut at the request's limit
    pub body: Vec<u8>,
    /// whether it was cut
    pub truncated: bool,
}

impl Response {
    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(value).ok()
    }

    /// The body as text, bytes that are no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Where a round trip goes: for its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// the other end
    pub remote: Option<Endpoint>,
    /// ALPN: `h2` makes it HTTP/2, everything else HTTP/1.1; empty over plain TCP
    pub alpn: String,
}

/// One round trip, recorded in `requests`, with `http_transaction_start` and `http_transaction_done` among
/// the events. A body that breaks off is a failure, and what had come of it is in the record.
pub async fn exchange<S>(scope: &Scope, stream: S, via: &Via, request: &Request) -> Result<Response, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let from = scope.now();
    scope.event("http_transaction_start", "tcp", via.remote, from, Ok(0));
    let sent = sent_headers(request);
    let partial = RefCell::new(Response::default());
    let work = async {
        if via.alpn == "h2" {
            Box::pin(over_http2(stream, request, &sent, &partial)).await
        } else {
            Box::pin(over_http1(stream, request, &sent, &partial)).await
        }
    };
    let result = within(&*scope.world, request.patience, work).await.unwrap_or(Err(Failure::GenericTimeout));
    let response = partial.into_inner();
    scope.trace.add_request(record(scope, via, "tcp", request, sent, &response, result.err(), from));
    scope.event("http_transaction_done", "tcp", via.remote, scope.now(), Ok(0));
    result.map(|()| response)
}

/// A round trip's record; also of HTTP/3.
#[expect(clippy::too_many_arguments, reason = "a record has these parts")]
pub(crate) fn record(
    scope: &Scope,
    via: &Via,
    network: &str,
    request: &Request,
    sent: Vec<(String, String)>,
    response: &Response,
    failure: Option<Failure>,
    from: okno_wire::Instant,
) -> HttpRecord {
    HttpRecord {
        network: network.to_owned(),
        address: via.remote.map(|remote| remote.to_string()).unwrap_or_default(),
        alpn: via.alpn.clone(),
        failure,
        method: request.method.clone(),
        url: request.url.clone(),
        request_headers: sent.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
        request_body: request.body.clone(),
        code: response.code,
        response_headers: response.headers.clone(),
        response_body: response.body.clone(),
        response_truncated: response.truncated,
        stamp: scope.stamp(from),
    }
}

/// Records a request that could not be sent, since something below it failed: OONI writes one too, so that
/// `requests` tells the whole story.
pub fn record_unsent(scope: &Scope, via: &Via, request: &Request, failure: Failure) {
    let from = scope.now();
    let sent = sent_headers(request);
    let nothing = Response::default();
    scope.trace.add_request(record(scope, via, "tcp", request, sent, &nothing, Some(failure), from));
}

/// The headers as they go out: with `Host` from the URL unless it is given.
pub(crate) fn sent_headers(request: &Request) -> Vec<(String, String)> {
    let mut headers = request.headers.clone();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        headers.insert(0, ("Host".to_owned(), authority(&request.url)));
    }
    headers
}

/// `host` or `host:port` of a URL, without a default port.
pub fn authority(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else { return String::new() };
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Path and query of a URL.
pub(crate) fn target(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else { return "/".to_owned() };
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn build(
    request: &Request,
    uri: String,
    sent: &[(String, String)],
    skip_host: bool,
) -> Result<http::Request<Full<Bytes>>, Failure> {
    let mut builder = http::Request::builder().method(request.method.as_str()).uri(uri);
    for (name, value) in sent {
        if !(skip_host && name.eq_ignore_ascii_case("host")) {
            builder = builder.header(name.as_str(), value.as_str());
        }
    }
    builder.body(Full::new(Bytes::from(request.body.clone()))).map_err(|_| Failure::HttpRequestFailed)
}

/// Runs `work` while `connection` runs beside it; the connection's error is the failure when it ends first
/// and the work ends for it.
async fn beside<T>(
    connection: impl Future<Output = Option<Failure>>,
    work: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, Failure> {
    let mut connection = pin!(connection);
    let mut work = pin!(work);
    let mut ended: Option<Option<Failure>> = None;
    core::future::poll_fn(|poller| {
        if ended.is_none()
            && let Poll::Ready(end) = connection.as_mut().poll(poller)
        {
            ended = Some(end);
        }
        let result = ready!(work.as_mut().poll(poller));
        Poll::Ready(result.map_err(|error| match ended {
            Some(Some(failure)) => failure,
            _ => failure_of(&error),
        }))
    })
    .await
}

async fn over_http1<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    request: &Request,
    sent: &[(String, String)],
    partial: &RefCell<Response>,
) -> Result<(), Failure> {
    let message = build(request, target(&request.url), sent, false)?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(sent.iter().all(|(name, _)| name.starts_with(|c: char| !c.is_ascii_lowercase())))
        .handshake(Io::new(stream))
        .await
        .map_err(|error| failure_of(&error))?;
    let connection = async { connection.await.err().map(|error| failure_of(&error)) };
    let work = async {
        let response = sender.send_request(message).await?;
        receive(response, request.body_limit, partial).await
    };
    beside(connection, work).await
}

async fn over_http2<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    request: &Request,
    sent: &[(String, String)],
    partial: &RefCell<Response>,
) -> Result<(), Failure> {
    // RFC 9113 §8.3.1: the authority stands in its pseudo-header, not in Host.
    let host = sent.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|(_, value)| value.as_str()).unwrap_or_default();
    let message = build(request, format!("https://{host}{}", target(&request.url)), sent, true)?;
    let tasks = Tasks::default();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(tasks.clone())
        .handshake(Io::new(stream))
        .await
        .map_err(|error| failure_of(&error))?;
    let connection = async {
        let mut connection = pin!(connection);
        core::future::poll_fn(|poller| tasks.poll_beside(connection.as_mut(), poller))
            .await
            .err()
            .map(|error| failure_of(&error))
    };
    let work = async {
        let response = sender.send_request(message).await?;
        receive(response, request.body_limit, partial).await
    };
    beside(connection, work).await
}

/// Takes status, headers and body.
async fn receive(
    response: http::Response<Incoming>,
    limit: usize,
    partial: &RefCell<Response>,
) -> Result<(), hyper::Error> {
    {
        let mut partial = partial.borrow_mut();
        partial.code = response.status().as_u16();
        let headers = response.headers().iter();
        partial.headers =
            headers.map(|(name, value)| (title_case(name.as_str()), value.as_bytes().to_vec())).collect();
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let mut partial = partial.borrow_mut();
        let room = limit - partial.body.len().min(limit);
        partial.body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            partial.truncated = true;
            return Ok(());
        }
    }
    Ok(())
}

/// `Content-Type`, as Go's library and therefore OONI writes names.
pub fn title_case(name: &str) -> String {
    let mut start = true;
    let letter = |c: char| {
        let out = if start { c.to_ascii_uppercase() } else { c };
        start = c == '-';
        out
    };
    name.chars().map(letter).collect()
}

/// What a hyper error is, under OONI's name.
pub fn failure_of(error: &hyper::Error) -> Failure {
    let mut source: Option<&(dyn core::error::Error + 'static)> = core::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return tls_failure(error);
            }
            let failure = NetErrorKind::of(error).failure();
            if failure != Failure::Unknown {
                return failure;
            }
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Failure::Eof;
    }
    if error.is_timeout() {
        return Failure::GenericTimeout;
    }
    Failure::Unknown
}

/// Futures that hyper's HTTP/2 wants to run, polled with the connection.
#[derive(Clone, Default)]
struct Tasks {
    waiting: Rc<RefCell<Vec<Task<'static, ()>>>>,
}

impl Tasks {
    /// Polls a connection, and then what it has spawned: nobody else wakes a task that was never polled.
    fn poll_beside<F: Future>(&self, connection: Pin<&mut F>, poller: &mut Poller<'_>) -> Poll<F::Output> {
        let done = connection.poll(poller);
        if done.is_pending() {
            self.poll_all(poller);
        }
        done
    }

    fn poll_all(&self, poller: &mut Poller<'_>) {
        let mut running = core::mem::take(&mut *self.waiting.borrow_mut());
        running.retain_mut(|task| task.as_mut().poll(poller).is_pending());
        let mut waiting = self.waiting.borrow_mut();
        let new = core::mem::replace(&mut *waiting, running);
        if !new.is_empty() {
            // They have not been polled yet.
            poller.waker().wake_by_ref();
        }
        waiting.extend(new);
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.waiting.borrow_mut().push(Box::pin(async move {
            future.await;
        }));
    }
}

/// A stream as hyper wants it.
struct Io<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S> Io<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; 16_384] }
    }
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        mut into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let room = into.remaining().min(this.buffer.len());
        let taken = ready!(Pin::new(&mut this.stream).poll_read(poller, &mut this.buffer[..room]))?;
        into.put_slice(&this.buffer[..taken]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(poller, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(poller)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(poller)
    }
}

/// A request as a server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`
    pub method: String,
    /// path and query
    pub target: String,
    /// headers, names in small letters
    pub headers: Headers,
    /// body, at most the server's limit
    pub body: Vec<u8>,
}

/// What a server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// status
    pub code: u16,
    /// headers
    pub headers: Vec<(String, String)>,
    /// body
    pub body: Vec<u8>,
}

/// Serves HTTP/1.1 (or HTTP/2 when `http2`) on one connection until its client leaves. Requests with bodies
/// above `limit` bytes get 413.
pub async fn serve<S, H, F>(stream: S, http2: bool, limit: usize, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Asked) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let handler = Rc::new(handler);
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(answer(request, limit, &*handler).await) }
    });
    if http2 {
        let tasks = Tasks::default();
        let connection = hyper::server::conn::http2::Builder::new(tasks.clone())
            .auto_date_header(false)
            .serve_connection(Io::new(stream), service);
        let mut connection = pin!(connection);
        // A client that breaks off is not the server's concern.
        let _ = core::future::poll_fn(|poller| tasks.poll_beside(connection.as_mut(), poller)).await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .title_case_headers(true)
            .auto_date_header(false)
            .half_close(true)
            .serve_connection(Io::new(stream), service)
            .await;
    }
}

async fn answer<H, F>(
    request: http::Request<Incoming>,
    limit: usize,
    handler: &H,
) -> http::Response<Full<Bytes>>
where
    H: Fn(Asked) -> F,
    F: Future<Output = Answer>,
{
    let (head, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, limit).collect().await;
    let made = match body {
        Ok(body) => {
            let headers = head.headers.iter();
            handler(Asked {
                method: head.method.as_str().to_owned(),
                target: head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
                headers: headers
                    .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                body: body.to_bytes().to_vec(),
            })
            .await
        }
        Err(_) => Answer { code: 413, ..Answer::default() },
    };
    let mut builder = http::Response::builder().status(made.code);
    for (name, value) in &made.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    builder.body(Full::new(Bytes::from(made.body))).unwrap_or_else(|_| {
        let mut broken = http::Response::new(Full::default());
        *broken.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}
