//! Looking names up: over UDP with repeats and the turn to TCP, over TLS, over HTTPS.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use okno_model::{Failure, Layer};
use okno_wire::Endpoint;
use okno_wire::dns::{self, MessageView, flag, kind, rcode};
use okno_wire::http::ResponseView;
use rustls::ClientConfig;

use super::{Observed, named, within};
use crate::net::Net;
use crate::stream::ByteStream;
use crate::tls::TlsStream;

/// How a resolver is asked.
#[derive(Clone)]
pub enum Transport {
    /// UDP, and TCP when the answer is cut
    Udp,
    /// TCP
    Tcp,
    /// TLS with this server name
    Tls(Arc<ClientConfig>, String),
    /// HTTPS (over HTTP/1.1) with this server name
    Https(Arc<ClientConfig>, String),
}

/// Asks `resolver` for the addresses of `name`.
pub async fn lookup(
    net: &Net,
    resolver: Endpoint,
    transport: &Transport,
    name: &str,
    ipv6: bool,
    patience: Duration,
) -> Observed {
    let mut seen = Observed::at(net.now());
    let kind = if ipv6 { kind::AAAA } else { kind::A };
    let result = within(net, patience, ask(net, resolver, transport, name, kind, patience)).await;
    let began = seen.began;
    if let Some(addresses) = seen.step(net, Layer::Dns, began, result) {
        seen.answers = addresses;
    }
    seen
}

async fn ask(
    net: &Net,
    resolver: Endpoint,
    transport: &Transport,
    name: &str,
    kind: u16,
    patience: Duration,
) -> Result<Vec<IpAddr>, Failure> {
    let id = u16::from_be_bytes(net.random());
    let query = dns::query(id, name, kind).emit();
    match transport {
        Transport::Udp => match over_udp(net, resolver, id, &query, patience).await? {
            Some(bytes) => read(&bytes, id),
            None => over_stream(ByteStream::Plain(named(net.connect(resolver).await)?), id, &query).await,
        },
        Transport::Tcp => {
            over_stream(ByteStream::Plain(named(net.connect(resolver).await)?), id, &query).await
        }
        Transport::Tls(config, server) => {
            let stream = named(net.connect(resolver).await)?;
            let stream = TlsStream::connect(stream, config.clone(), server).await?;
            over_stream(ByteStream::Tls(Box::new(stream)), id, &query).await
        }
        Transport::Https(config, server) => {
            let stream = named(net.connect(resolver).await)?;
            let stream = TlsStream::connect(stream, config.clone(), server).await?;
            over_https(stream, server, id, &query).await
        }
    }
}

/// The first answer that fits; `None` when it is cut. Repeats as glibc does: every five seconds.
async fn over_udp(
    net: &Net,
    resolver: Endpoint,
    id: u16,
    query: &[u8],
    patience: Duration,
) -> Result<Option<Vec<u8>>, Failure> {
    let socket = named(net.udp_connect(resolver))?;
    let give_up = net.now() + patience;
    while net.now() < give_up {
        named(socket.send_to(query, resolver))?;
        let repeat = (net.now() + Duration::from_secs(5)).min(give_up);
        while net.now() < repeat {
            let Ok(datagram) = socket.receive_for(repeat.since(net.now())).await else { break };
            // What does not belong to the question is not an answer (RFC 5452 §9.1).
            match MessageView::parse(&datagram.bytes) {
                Ok(view) if view.id == id && view.flags & flag::QR != 0 => {
                    return Ok((view.flags & flag::TC == 0).then_some(datagram.bytes));
                }
                _ => {}
            }
        }
    }
    Err(Failure::GenericTimeout)
}

async fn over_stream(mut stream: ByteStream, id: u16, query: &[u8]) -> Result<Vec<IpAddr>, Failure> {
    stream.write_all(&dns::tcp_framed(query)).await?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).await?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer).await?;
    stream.close().await;
    read(&answer, id)
}

async fn over_https(
    mut stream: TlsStream,
    server: &str,
    id: u16,
    query: &[u8],
) -> Result<Vec<IpAddr>, Failure> {
    let head = format!(
        "POST /dns-query HTTP/1.1\r\nHost: {server}\r\nAccept: application/dns-message\r\n\
         Content-Type: application/dns-message\r\nContent-Length: {}\r\n\r\n",
        query.len()
    );
    stream.write_all(&[head.as_bytes(), query].concat()).await?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        if let Ok(view) = ResponseView::parse(&bytes)
            && view.complete
        {
            if view.status != 200 {
                return Err(Failure::DnsServerMisbehaving);
            }
            let len =
                view.header("content-length").and_then(|h| core::str::from_utf8(h.value).ok()?.parse().ok());
            let len: usize = len.unwrap_or(0);
            if view.body().len() >= len {
                let result = read(&view.body()[..len], id);
                stream.close().await;
                return result;
            }
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(Failure::Eof),
            _ if bytes.len() > 100_000 => return Err(Failure::MessageTooLong),
            taken => bytes.extend_from_slice(&chunk[..taken]),
        }
    }
}

/// Addresses of an answer, or what its code says.
fn read(bytes: &[u8], id: u16) -> Result<Vec<IpAddr>, Failure> {
    let view = MessageView::parse(bytes).map_err(|_| Failure::DnsServerMisbehaving)?;
    if view.id != id {
        return Err(Failure::DnsReplyWithWrongQueryId);
    }
    match (view.flags & 0x000f) as u8 {
        rcode::NXDOMAIN => Err(Failure::DnsNxDomain),
        rcode::SERVFAIL => Err(Failure::DnsServfail),
        rcode::REFUSED => Err(Failure::DnsRefused),
        0 => {
            let addresses: Vec<_> = view.addresses().collect();
            if addresses.is_empty() { Err(Failure::DnsNoAnswer) } else { Ok(addresses) }
        }
        _ => Err(Failure::DnsServerMisbehaving),
    }
}
