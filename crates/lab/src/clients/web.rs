//! Fetching and sending over HTTP, TLS and QUIC; first flights with a browser's fingerprint.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use okno_model::{Failure, Layer};
use okno_wire::http::ResponseView;
use okno_wire::tls::ClientHelloRepr;
use okno_wire::{Endpoint, Instant};
use rustls::ClientConfig;

use super::dns::{Transport, lookup};
use super::{Observed, named, within};
use crate::net::{Net, TcpStream};
use crate::quic;
use crate::stream::ByteStream;
use crate::tls::TlsStream;

/// Whom a client asks for addresses.
#[derive(Clone)]
pub enum Finds {
    /// nobody: it knows the address
    Address(IpAddr),
    /// this resolver, over this transport
    Resolver(Endpoint, Transport, bool),
}

/// What a client wants of a web server.
#[derive(Clone)]
pub struct Fetch {
    /// name in Host and SNI
    pub name: String,
    /// whom it asks for addresses
    pub finds: Finds,
    /// port; 0 takes the scheme's own
    pub port: u16,
    /// request target
    pub path: String,
    /// under TLS with this setup; in the clear without
    pub tls: Option<Arc<ClientConfig>>,
    /// bytes that it sends as a body, with POST; 0 is a GET
    pub upload: u64,
    /// bytes of content after which it stops and is content
    pub enough: u64,
    /// for each step, and for each wait for content
    pub patience: Duration,
    /// for the whole
    pub deadline: Duration,
}

impl Fetch {
    /// A GET of `/` from `name` at a known address, 10 s a step, 60 s in all.
    pub fn new(name: &str, address: IpAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            name: name.to_owned(),
            finds: Finds::Address(address),
            port: 0,
            path: String::from("/"),
            tls,
            upload: 0,
            enough: u64::MAX,
            patience: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
        }
    }

    /// Asks this resolver first.
    pub fn with_resolver(mut self, resolver: Endpoint, transport: Transport, ipv6: bool) -> Self {
        self.finds = Finds::Resolver(resolver, transport, ipv6);
        self
    }
}

/// DNS, TCP, TLS, HTTP: as far as it goes.
pub async fn fetch(net: &Net, wants: &Fetch) -> Observed {
    let mut seen = Observed::at(net.now());
    let Some(address) = find(net, wants, &mut seen).await else { return seen };
    let port = match (wants.port, &wants.tls) {
        (0, Some(_)) => 443,
        (0, None) => 80,
        (port, _) => port,
    };
    let remote = Endpoint { ip: address, port };
    let began = net.now();
    let connected = within(net, wants.patience, async { named(net.connect(remote).await) }).await;
    let Some(stream) = seen.step(net, Layer::Tcp, began, connected) else { return seen };
    let mut stream = match &wants.tls {
        None => ByteStream::Plain(stream),
        Some(config) => {
            let began = net.now();
            let work = TlsStream::connect(stream, config.clone(), &wants.name);
            let shaken = within(net, wants.patience, work).await;
            let Some(stream) = seen.step(net, Layer::Tls, began, shaken) else { return seen };
            ByteStream::Tls(Box::new(stream))
        }
    };
    let began = net.now();
    let left = wants.deadline.saturating_sub(net.now().since(seen.began));
    let result = within(net, left, exchange(net, wants, &mut stream, &mut seen)).await;
    seen.step(net, Layer::Http, began, result);
    seen
}

/// The address to use; notes the lookup.
async fn find(net: &Net, wants: &Fetch, seen: &mut Observed) -> Option<IpAddr> {
    let address = match &wants.finds {
        Finds::Address(address) => Some(*address),
        Finds::Resolver(resolver, transport, ipv6) => {
            let looked = lookup(net, *resolver, transport, &wants.name, *ipv6, wants.patience).await;
            seen.steps.extend(looked.steps);
            seen.answers = looked.answers;
            seen.ended = looked.ended;
            seen.answers.first().copied()
        }
    };
    seen.address = address;
    address
}

async fn exchange(
    net: &Net,
    wants: &Fetch,
    stream: &mut ByteStream,
    seen: &mut Observed,
) -> Result<(), Failure> {
    let method = if wants.upload > 0 { "POST" } else { "GET" };
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nConnection: close\r\n",
        wants.path, wants.name
    );
    if wants.upload > 0 {
        head.push_str(&format!("Content-Length: {}\r\n", wants.upload));
    }
    head.push_str("\r\n");
    within(net, wants.patience, stream.write_all(head.as_bytes())).await?;
    let block = [0x2a; 8_192];
    while seen.sent < wants.upload {
        let here = (wants.upload - seen.sent).min(block.len() as u64);
        within(net, wants.patience, stream.write_all(&block[..here as usize])).await?;
        seen.sent += here;
    }
    let body = read_head(net, wants, stream, seen).await?;
    read_body(net, wants, stream, seen, body).await?;
    stream.close().await;
    Ok(())
}

/// Reads the head; gives the length of the body, if it is announced.
async fn read_head(
    net: &Net,
    wants: &Fetch,
    stream: &mut ByteStream,
    seen: &mut Observed,
) -> Result<Option<u64>, Failure> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        match within(net, wants.patience, stream.read(&mut chunk)).await? {
            0 => return Err(Failure::Eof),
            taken => bytes.extend_from_slice(&chunk[..taken]),
        }
        match ResponseView::parse(&bytes) {
            Ok(view) if view.complete => {
                seen.status = Some(view.status);
                let length = view.header("content-length");
                let length = length.and_then(|h| core::str::from_utf8(h.value).ok()?.trim().parse().ok());
                let body = view.body().to_vec();
                if !body.is_empty() {
                    seen.take(net, &body);
                }
                return Ok(length);
            }
            Err(error) if !matches!(error.found, okno_wire::Found::Bytes(_)) => {
                return Err(Failure::HttpRequestFailed);
            }
            _ if bytes.len() > okno_wire::http::MAX_HEAD => return Err(Failure::HttpRequestFailed),
            _ => {}
        }
    }
}

async fn read_body(
    net: &Net,
    wants: &Fetch,
    stream: &mut ByteStream,
    seen: &mut Observed,
    length: Option<u64>,
) -> Result<(), Failure> {
    let mut chunk = vec![0; 16_384];
    while seen.received < length.unwrap_or(u64::MAX).min(wants.enough) {
        match within(net, wants.patience, stream.read(&mut chunk)).await? {
            0 if length.is_none() => return Ok(()),
            0 => return Err(Failure::Eof),
            taken => seen.take(net, &chunk[..taken]),
        }
    }
    Ok(())
}

/// One request over QUIC (see [`crate::quic`] for what that is and is not).
pub async fn fetch_quic(net: &Net, wants: &Fetch, trusted: &[Vec<u8>]) -> Observed {
    let mut seen = Observed::at(net.now());
    let Some(address) = find(net, wants, &mut seen).await else { return seen };
    let remote = Endpoint { ip: address, port: if wants.port == 0 { 443 } else { wants.port } };
    let began = net.now();
    let limit = usize::try_from(wants.enough).unwrap_or(usize::MAX);
    let answer = quic::fetch(net, remote, &wants.name, &wants.path, trusted, wants.deadline, limit).await;
    match answer.connected {
        None => seen.note(net, Layer::Quic, began, answer.failure.or(Some(Failure::QuicHandshake))),
        Some(at) => {
            seen.note(net, Layer::Quic, began, None);
            if let Some(step) = seen.steps.last_mut() {
                step.ended = at;
            }
            seen.excerpt = answer.body[..answer.body.len().min(super::EXCERPT)].to_vec();
            seen.received = answer.body.len() as u64;
            seen.progress = answer.progress;
            seen.note(net, Layer::Http, at, answer.failure);
        }
    }
    seen
}

/// What a server answers to a first flight that was made elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightAnswer {
    /// a ServerHello: the flight reached it whole
    ServerHello,
    /// a TLS alert with this description
    Alert(u8),
    /// something else
    Other,
    /// no answer that counts
    Failed(Failure),
}

/// Sends a hello as it is (a preset of `okno_wire::tls::preset` for a browser's fingerprint) in one write and
/// reads the first record of the answer. The handshake goes no further: nobody holds the key of the hello's
/// share.
pub async fn first_flight(
    net: &Net,
    remote: Endpoint,
    hello: &ClientHelloRepr,
    patience: Duration,
) -> (Observed, FlightAnswer) {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let began = net.now();
    let connected = within(net, patience, async { named(net.connect(remote).await) }).await;
    let Some(mut stream) = seen.step(net, Layer::Tcp, began, connected) else {
        let failure = seen.failure().map_or(Failure::Unknown, |(_, failure)| failure);
        return (seen, FlightAnswer::Failed(failure));
    };
    let began: Instant = net.now();
    let result = within(net, patience, first_record(&mut stream, &hello.emit_record())).await;
    let answer = match &result {
        Ok(record) => match record.as_slice() {
            [22, 3, _, _, _, 2, ..] => FlightAnswer::ServerHello,
            [21, 3, _, _, _, _, description, ..] => FlightAnswer::Alert(*description),
            _ => FlightAnswer::Other,
        },
        Err(failure) => FlightAnswer::Failed(*failure),
    };
    let failure = match answer {
        FlightAnswer::ServerHello => None,
        FlightAnswer::Failed(failure) => Some(failure),
        FlightAnswer::Alert(_) | FlightAnswer::Other => Some(Failure::SslFailedHandshake),
    };
    seen.note(net, Layer::Tls, began, failure);
    stream.abort();
    (seen, answer)
}

async fn first_record(stream: &mut TcpStream, flight: &[u8]) -> Result<Vec<u8>, Failure> {
    named(stream.write_all(flight).await)?;
    let mut head = [0; 7];
    named(stream.read_exact(&mut head).await)?;
    Ok(head.to_vec())
}
