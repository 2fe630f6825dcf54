//! What the application reads first: a TLS ClientHello, an HTTP request, a QUIC Initial.
//!
//! The server's readers are lenient where servers are: an HTTP server skips empty lines before the request
//! (RFC 9112 §2.2), takes field names in any case and white space around values (RFC 9112 §5), and a
//! TLS server joins records (RFC 8446 §5.1). What a box makes of the same bytes is the box's business.

use okno_wire::quic::{CryptoAssembler, Packet, Rekey, Step, packets};
use okno_wire::tls::{ClientHello, FirstFlight, first_flight};

/// What a server read at the start of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// nothing, or not enough yet
    Incomplete,
    /// a ClientHello; its server name as sent (empty when there is none), and the message
    Tls {
        /// server name as sent
        name: String,
        /// handshake message with its header
        message: Vec<u8>,
    },
    /// an HTTP/1 request; the host as sent, without white space
    Http {
        /// Host header of each request on the connection
        hosts: Vec<String>,
    },
    /// something else
    Other,
}

impl Greeting {
    /// The name it gives, in lower case, without a dot at the end; the last host of several requests.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Tls { name, .. } => name.as_str(),
            Self::Http { hosts } => hosts.last().map_or("", String::as_str),
            Self::Incomplete | Self::Other => "",
        };
        name.trim_end_matches('.').to_ascii_lowercase()
    }
}

/// Reads the start of a stream as a server on `port` does: HTTP on 80 and 8080, TLS elsewhere.
pub fn greeting(stream: &[u8], port: u16) -> Greeting {
    if matches!(port, 80 | 8080) { http(stream) } else { tls(stream) }
}

fn tls(stream: &[u8]) -> Greeting {
    match first_flight(stream) {
        FirstFlight::NeedMore => Greeting::Incomplete,
        FirstFlight::Hello(flight) => match ClientHello::parse(&flight.message) {
            Ok(hello) => Greeting::Tls {
                name: hello.sni().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default(),
                message: flight.message.to_vec(),
            },
            Err(_) => Greeting::Other,
        },
        FirstFlight::SslV2(_) | FirstFlight::NotTls(_) | FirstFlight::Broken(_) => Greeting::Other,
    }
}

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE"];

fn http(stream: &[u8]) -> Greeting {
    let mut hosts = Vec::new();
    let mut rest = stream;
    loop {
        while let Some((b'\r' | b'\n', after)) = rest.split_first() {
            rest = after;
        }
        let Some((head, after)) = head_of(rest) else { break };
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let method = lines.next().and_then(|line| line.split_ascii_whitespace().next()).unwrap_or("");
        if !METHODS.contains(&method) {
            return Greeting::Other;
        }
        let fields = lines.filter_map(|line| line.split_once(':'));
        let mut host =
            fields.filter(|(name, _)| name.trim().eq_ignore_ascii_case("host")).map(|(_, value)| value);
        hosts.push(host.next_back().unwrap_or("").trim().to_owned());
        rest = after;
    }
    if hosts.is_empty() { Greeting::Incomplete } else { Greeting::Http { hosts } }
}

/// A request's head without the empty line that ends it, and what follows.
fn head_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let crlf = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| (at, 4));
    let lf = bytes.windows(2).position(|window| window == b"\n\n").map(|at| (at, 2));
    let (at, len) = [crlf, lf].into_iter().flatten().min()?;
    Some((&bytes[..at], &bytes[at + len..]))
}

/// The name in the QUIC hello that the datagrams give, in lower case; empty when it has none, `None` while
/// no hello is whole. Each connection id of a first Initial is a connection of its own (RFC 9000 §5.2), and
/// the last that became whole counts: a decoy on another connection does not hide the real one.
pub fn quic_name(datagrams: &[Vec<u8>]) -> Option<String> {
    let mut connections: Vec<(Vec<u8>, CryptoAssembler)> = Vec::new();
    let mut name = None;
    for datagram in datagrams {
        let Some(Ok(Packet::Long(view))) = packets(datagram).next() else { continue };
        let at = connections.iter().position(|(id, _)| id.as_slice() == view.dcid);
        let at = at.unwrap_or_else(|| {
            connections.push((view.dcid.to_vec(), CryptoAssembler::new(Rekey::Never)));
            connections.len() - 1
        });
        let assembler = &mut connections[at].1;
        if assembler.client(datagram) == Step::Hello
            && let Some(hello) = assembler.hello().and_then(|message| ClientHello::parse(message).ok())
        {
            name = Some(hello.normalised_name().unwrap_or_default());
        }
    }
    name
}
