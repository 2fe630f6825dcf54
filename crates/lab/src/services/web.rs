//! HTTP/1.1 servers, in the clear and under TLS: pages of a given size, redirects, block pages, refusals.
//!
//! One request line decides: `GET /bytes/N` gives N bytes, any other `GET` the page; `POST` and `PUT` are
//! read to their end and counted. Connections are kept open until the client closes them or asks to.

use core::time::Duration;
use std::sync::Arc;

use okno_model::Failure;
use okno_wire::http::RequestView;
use rustls::ServerConfig;

use super::Shared;
use crate::net::{Net, NetError, TcpStream};
use crate::stream::ByteStream;
use crate::tls::TlsStream;
use crate::world::Prefix;

/// What a web server is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Web {
    /// status of an ordinary answer
    pub status: u16,
    /// bytes of the page where [`Self::page`] is empty
    pub page_bytes: u64,
    /// the page itself: a block page, a login page
    pub page: Vec<u8>,
    /// where to send the client instead (status 302)
    pub redirect: String,
    /// clients from these blocks get status 403, by the server's own choice
    pub refused: Vec<Prefix>,
    /// waits before it answers
    pub delay: Duration,
    /// resets each connection that it accepts
    pub resets: bool,
    /// value of Alt-Svc (RFC 7838), such as `h3=":443"`; empty for none
    pub alt_svc: String,
}

impl Web {
    /// A server with a page of so many bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self {
            status: 200,
            page_bytes: bytes,
            page: Vec::new(),
            redirect: String::new(),
            refused: Vec::new(),
            delay: Duration::ZERO,
            resets: false,
            alt_svc: String::new(),
        }
    }

    /// A server with this page.
    pub fn of_page(page: &str) -> Self {
        Self { page: page.as_bytes().to_vec(), ..Self::of_bytes(0) }
    }
}

/// Serves HTTP on `port`.
pub async fn serve_http(net: Net, port: u16, web: Shared<Web>) -> Result<(), NetError> {
    let mut listener = net.listen(port)?;
    loop {
        let stream = listener.accept().await?;
        if web.borrow().resets {
            stream.abort();
            continue;
        }
        let web = web.clone();
        net.spawn(move |net| async move {
            // A client that goes away mid-way is its own affair.
            let _ = answer_all(&net, ByteStream::Plain(stream), &web).await;
        });
    }
}

/// Serves HTTP under TLS on `port`; the certificates are looked up anew for each connection.
pub async fn serve_https(
    net: Net,
    port: u16,
    tls: Shared<Arc<ServerConfig>>,
    web: Shared<Web>,
) -> Result<(), NetError> {
    let mut listener = net.listen(port)?;
    loop {
        let stream = listener.accept().await?;
        if web.borrow().resets {
            stream.abort();
            continue;
        }
        let (config, web) = (tls.borrow().clone(), web.clone());
        net.spawn(move |net| async move {
            if let Ok(stream) = TlsStream::accept(stream, config).await {
                let _ = answer_all(&net, ByteStream::Tls(Box::new(stream)), &web).await;
            }
        });
    }
}

/// A page's filler: text that compresses to nothing and is told from a block page at once.
const FILLER: &[u8; 64] = b"The quick brown fox of the lab jumps over the lazy dog, again.\r\n";

/// Reads requests and answers them until the client has had enough.
async fn answer_all(net: &Net, mut stream: ByteStream, web: &Shared<Web>) -> Result<(), Failure> {
    let mut buffer = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer, &mut chunk).await? else {
            stream.close().await;
            return Ok(());
        };
        let manners = web.borrow().clone();
        if !manners.delay.is_zero() {
            net.sleep(manners.delay).await;
        }
        let client = stream.tcp().ends().1.ip;
        let refused = manners.refused.iter().any(|prefix| prefix.contains(client));
        answer(&mut stream, &request, &manners, refused).await?;
        if request.closes {
            stream.close().await;
            return Ok(());
        }
    }
}

/// What counts of a request.
struct Request {
    is_get: bool,
    path: String,
    closes: bool,
    body_bytes: u64,
}

/// The next request with its body read; `None` at the end of the stream or when it is no HTTP.
async fn read_request(
    stream: &mut ByteStream,
    buffer: &mut Vec<u8>,
    chunk: &mut [u8],
) -> Result<Option<Request>, Failure> {
    let (request, head) = loop {
        if let Ok(view) = RequestView::parse(buffer)
            && view.complete
        {
            let header = |name| {
                view.header(name).map_or(String::new(), |h| String::from_utf8_lossy(h.value).to_lowercase())
            };
            let request = Request {
                is_get: view.method == b"GET" || view.method == b"HEAD",
                path: String::from_utf8_lossy(view.target).into_owned(),
                closes: header("connection") == "close",
                body_bytes: header("content-length").parse().unwrap_or(0),
            };
            break (request, view.head_len);
        }
        if buffer.len() > okno_wire::http::MAX_HEAD {
            return Ok(None);
        }
        match stream.read(chunk).await? {
            0 => return Ok(None),
            taken => buffer.extend_from_slice(&chunk[..taken]),
        }
    };
    buffer.drain(..head);
    let mut left = request.body_bytes;
    loop {
        let here = left.min(buffer.len() as u64);
        buffer.drain(..here as usize);
        left -= here;
        if left == 0 {
            return Ok(Some(request));
        }
        match stream.read(chunk).await? {
            0 => return Ok(None),
            taken => buffer.extend_from_slice(&chunk[..taken]),
        }
    }
}

async fn answer(stream: &mut ByteStream, request: &Request, web: &Web, refused: bool) -> Result<(), Failure> {
    let counted = format!("{} bytes\n", request.body_bytes);
    let wanted = request.path.strip_prefix("/bytes/").and_then(|count| count.parse::<u64>().ok());
    let (status, page, filler): (u16, &[u8], u64) = match wanted {
        _ if refused => (403, b"Not available in your country.\n", 0),
        _ if !web.redirect.is_empty() => (302, b"", 0),
        _ if !request.is_get => (200, counted.as_bytes(), 0),
        Some(count) => (web.status, b"", count),
        None if web.page.is_empty() => (web.status, b"", web.page_bytes),
        None => (web.status, &web.page, 0),
    };
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nServer: lab\r\nContent-Type: text/html\r\nContent-Length: {}\r\n",
        reason(status),
        page.len() as u64 + filler,
    );
    if status == 302 {
        head.push_str(&format!("Location: {}\r\n", web.redirect));
    }
    if !web.alt_svc.is_empty() {
        head.push_str(&format!("Alt-Svc: {}\r\n", web.alt_svc));
    }
    head.push_str(if request.closes { "Connection: close\r\n\r\n" } else { "\r\n" });
    stream.write_all(&[head.as_bytes(), page].concat()).await?;
    let block = FILLER.repeat(256);
    let mut left = filler;
    while left > 0 {
        let here = left.min(block.len() as u64);
        stream.write_all(&block[..here as usize]).await?;
        left -= here;
    }
    Ok(())
}

/// The reason phrase; any will do (RFC 9112 §4).
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        403 => "Forbidden",
        404 => "Not Found",
        451 => "Unavailable For Legal Reasons",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

/// A stream on which nothing is ever answered: connects, reads, stays silent.
pub async fn serve_silence(net: Net, port: u16) -> Result<(), NetError> {
    let mut listener = net.listen(port)?;
    let mut held: Vec<TcpStream> = Vec::new();
    loop {
        held.push(listener.accept().await?);
        // The kernel would keep them too; a hundred are enough to look busy.
        if held.len() > 100 {
            held.remove(0);
        }
    }
}
