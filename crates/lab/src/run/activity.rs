//! What a client does with one target, and what it notes: a failure by OONI's name, the step, bytes, goodput.

use core::cell::Cell;
use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use okno_model::Failure;
use okno_wire::Instant;
use okno_wire::dns::{self, MessageView};

use super::servers::{MAX_BODY, PAGE_BEGINS, end};
use crate::PingAnswer;
use crate::net::{Net, NetError, TcpStream};
use crate::scenario::Activity;
use crate::stream::ByteStream;
use crate::tls::{TlsStream, net_failure};

/// What is needed to do something.
#[derive(Clone)]
pub(crate) struct Job {
    pub activity: Activity,
    /// name to ask for
    pub name: String,
    /// address to use; nothing means that `resolver` is asked
    pub address: Option<IpAddr>,
    pub resolver: IpAddr,
    pub ipv6: bool,
    /// go over to IPv4 when IPv6 does not connect
    pub fallback: bool,
    /// the service's addresses, to tell a false answer
    pub genuine: Vec<IpAddr>,
    pub port: Option<u16>,
    pub bytes: u64,
    pub object: u64,
    pub parallel: u32,
    pub timeout: Duration,
    pub client: Arc<rustls::ClientConfig>,
    pub trusted: Vec<Vec<u8>>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub failure: Option<Failure>,
    pub failed_at: &'static str,
    pub address: Option<IpAddr>,
    pub received: u64,
    pub goodput_bps: Option<u64>,
    pub status: Option<u32>,
}

/// Least bytes over which goodput is said.
const LEAST_FOR_GOODPUT: u64 = 8_192;
/// Longest wait for a resolver, and how often it is asked.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(5);

/// How long IPv6 is tried alone (RFC 8305 §5, Connection Attempt Delay).
const IPV6_ALONE: Duration = Duration::from_millis(250);

/// Steps and findings, kept outside of the work so that a timeout does not lose them.
#[derive(Default)]
struct Notes {
    step: Cell<&'static str>,
    address: Cell<Option<IpAddr>>,
    received: Cell<u64>,
    first: Cell<Option<Instant>>,
    last: Cell<Option<Instant>>,
    status: Cell<Option<u32>>,
}

impl Notes {
    fn arrived(&self, now: Instant, bytes: usize) {
        if self.first.get().is_none() {
            self.first.set(Some(now));
        } else {
            // what came first has no beginning, so it counts for no speed
            self.received.set(self.received.get() + bytes as u64);
        }
        self.last.set(Some(now));
    }

    fn goodput(&self) -> Option<u64> {
        let (first, last) = (self.first.get()?, self.last.get()?);
        let micros = u64::try_from(last.since(first).as_micros()).ok()?;
        (self.received.get() >= LEAST_FOR_GOODPUT && micros > 0)
            .then(|| self.received.get().saturating_mul(8_000_000) / micros)
    }
}

/// Does it, within its timeout.
pub(crate) async fn perform(net: &Net, job: &Job) -> Report {
    let notes = Notes::default();
    let result = net.timeout(job.timeout, act(net, job, &notes)).await;
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some(Failure::GenericTimeout),
    };
    Report {
        failure,
        failed_at: if failure.is_some() { notes.step.get() } else { "" },
        address: notes.address.get(),
        received: notes.received.get(),
        goodput_bps: notes.goodput(),
        status: notes.status.get(),
    }
}

async fn act(net: &Net, job: &Job, notes: &Notes) -> Result<(), Failure> {
    notes.step.set("dns");
    let address = match job.address {
        Some(address) if job.activity != Activity::Dns => address,
        _ => resolve(net, job).await?,
    };
    notes.address.set(Some(address));
    match job.activity {
        Activity::Dns => match job.genuine.contains(&address) {
            true => Ok(()),
            // a private or other impossible answer; an honest resolver of the lab gives none
            false => Err(Failure::DnsBogon),
        },
        Activity::Http => fetch(net, job, notes, address, 80, false).await,
        Activity::Https => fetch(net, job, notes, address, 443, false).await,
        Activity::Upload => fetch(net, job, notes, address, 443, true).await,
        Activity::Parallel => parallel(net, job, notes, address).await,
        Activity::Quic => quic(net, job, notes, address).await,
        Activity::Ping => {
            notes.step.set("tcp");
            let answer = net.ping(address, None, 56, job.timeout).await;
            match answer.map_err(|error| net_failure(error.kind))?.answer {
                PingAnswer::Reply => Ok(()),
                _ => Err(Failure::HostUnreachable),
            }
        }
        Activity::Hello | Activity::Ech => {
            notes.step.set("tls");
            super::apps::first_flight(net, job, address).await
        }
        Activity::Stun
        | Activity::Call
        | Activity::Wireguard
        | Activity::Openvpn
        | Activity::Sip
        | Activity::FakeTls
        | Activity::Dtls => {
            notes.step.set("app");
            super::apps::perform(net, job, address).await
        }
    }
}

/// Asks the resolver, twice at most.
async fn resolve(net: &Net, job: &Job) -> Result<IpAddr, Failure> {
    let kind = if job.ipv6 { dns::kind::AAAA } else { dns::kind::A };
    let socket = net.udp_connect(end(job.resolver, 53)).map_err(|error| net_failure(error.kind))?;
    for _ in 0..2 {
        let [a, b] = net.random::<2>();
        let id = u16::from_be_bytes([a, b]);
        let query = dns::query(id, &job.name, kind).emit();
        socket.send_to(&query, end(job.resolver, 53)).map_err(|error| net_failure(error.kind))?;
        let datagram = match socket.receive_for(RESOLVER_PATIENCE).await {
            Ok(datagram) => datagram,
            Err(error) if error.kind == crate::net::NetErrorKind::TimedOut => continue,
            Err(error) => return Err(net_failure(error.kind)),
        };
        let Ok(message) = MessageView::parse(&datagram.bytes) else {
            return Err(Failure::DnsServerMisbehaving);
        };
        return match message.rcode() {
            dns::rcode::NOERROR => message.addresses().next().ok_or(Failure::DnsNoAnswer),
            dns::rcode::NXDOMAIN => Err(Failure::DnsNxDomain),
            dns::rcode::SERVFAIL => Err(Failure::DnsServfail),
            dns::rcode::REFUSED => Err(Failure::DnsRefused),
            _ => Err(Failure::DnsServerMisbehaving),
        };
    }
    Err(Failure::GenericTimeout)
}

/// Connects, by IPv4 when IPv6 does not answer at once and the client minds. Both at once (RFC 8305)
/// would show the same and cost more events.
async fn connect(
    net: &Net,
    job: &Job,
    notes: &Notes,
    address: IpAddr,
    port: u16,
) -> Result<TcpStream, Failure> {
    let named = |error: NetError| net_failure(error.kind);
    if !job.fallback || address.is_ipv4() {
        return net.connect(end(address, port)).await.map_err(named);
    }
    if let Ok(Ok(stream)) = net.timeout(IPV6_ALONE, net.connect(end(address, port))).await {
        return Ok(stream);
    }
    let other = match job.address {
        Some(_) => job.genuine.iter().copied().find(IpAddr::is_ipv4).ok_or(Failure::DnsNoAnswer)?,
        None => resolve(net, &Job { ipv6: false, ..job.clone() }).await?,
    };
    notes.address.set(Some(other));
    net.connect(end(other, port)).await.map_err(named)
}

async fn fetch(
    net: &Net,
    job: &Job,
    notes: &Notes,
    address: IpAddr,
    port: u16,
    upload: bool,
) -> Result<(), Failure> {
    notes.step.set("tcp");
    let port = job.port.unwrap_or(port);
    let stream = connect(net, job, notes, address, port).await?;
    let mut stream = if job.activity == Activity::Http {
        ByteStream::Plain(stream)
    } else {
        notes.step.set("tls");
        ByteStream::Tls(Box::new(TlsStream::connect(stream, job.client.clone(), &job.name).await?))
    };
    notes.step.set("http");
    let name = &job.name;
    if upload {
        let size = usize::try_from(job.bytes.max(1)).unwrap_or(MAX_BODY).min(MAX_BODY);
        let head = format!("POST /bytes/64 HTTP/1.1\r\nHost: {name}\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let block = [b'u'; 8_192];
        let mut left = size;
        while left > 0 {
            let part = left.min(block.len());
            stream.write_all(&block[..part]).await?;
            left -= part;
        }
    } else {
        let path = if job.bytes == 0 { "/".to_owned() } else { format!("/bytes/{}", job.bytes) };
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: okno\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
    }
    let wanted = match (upload, job.bytes) {
        (true, _) => 64,
        (false, 0) => job.object,
        (false, bytes) => bytes,
    };
    let result = read_answer(net, notes, &mut stream, wanted).await;
    stream.close().await;
    result
}

/// Reads head and body; only the whole body of a 200 is a success.
async fn read_answer(net: &Net, notes: &Notes, stream: &mut ByteStream, wanted: u64) -> Result<(), Failure> {
    let mut head = Vec::new();
    let mut chunk = [0; 8_192];
    let mut body = None::<u64>;
    loop {
        let taken = stream.read(&mut chunk).await?;
        if taken == 0 {
            return Err(Failure::Eof);
        }
        notes.arrived(net.now(), taken);
        match &mut body {
            Some(body) => *body += taken as u64,
            None => {
                head.extend_from_slice(&chunk[..taken]);
                let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    if head.len() > 65_536 {
                        return Err(Failure::HttpRequestFailed);
                    }
                    continue;
                };
                notes.status.set(status(&head));
                match notes.status.get() {
                    Some(200) => {}
                    Some(300..=399) => return Err(Failure::HttpUnexpectedRedirect),
                    Some(_) => return Err(Failure::HttpUnexpectedStatus),
                    None => return Err(Failure::HttpRequestFailed),
                }
                // a block page may say 200 as well: the lab's own pages begin in one way
                let content = &head[at + 4..];
                if content.iter().zip(PAGE_BEGINS).any(|(one, own)| one != own) {
                    return Err(Failure::HttpRequestFailed);
                }
                body = Some(content.len() as u64);
            }
        }
        if body.is_some_and(|body| body >= wanted) {
            return Ok(());
        }
    }
}

fn status(head: &[u8]) -> Option<u32> {
    let line = core::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok())
}

/// Several handshakes at once; one failure is the failure of all.
async fn parallel(net: &Net, job: &Job, notes: &Notes, address: IpAddr) -> Result<(), Failure> {
    notes.step.set("tls");
    let port = job.port.unwrap_or(443);
    let mut handles = Vec::new();
    for _ in 0..job.parallel.max(1) {
        let (config, name, timeout) = (job.client.clone(), job.name.clone(), job.timeout);
        handles.push(net.spawn(move |net| async move {
            let shake = async {
                let stream =
                    net.connect(end(address, port)).await.map_err(|error| net_failure(error.kind))?;
                let mut stream = TlsStream::connect(stream, config, &name).await?;
                stream.close().await;
                Ok(())
            };
            net.timeout(timeout, shake).await.unwrap_or(Err(Failure::GenericTimeout))
        }));
    }
    let mut result = Ok(());
    for handle in handles {
        result = result.and(handle.await);
    }
    result
}

async fn quic(net: &Net, job: &Job, notes: &Notes, address: IpAddr) -> Result<(), Failure> {
    notes.step.set("quic");
    let path = if job.bytes == 0 { "/".to_owned() } else { format!("/bytes/{}", job.bytes) };
    let remote = end(address, job.port.unwrap_or(443));
    let answer = crate::quic::fetch(net, remote, &job.name, &path, &job.trusted, job.timeout, MAX_BODY).await;
    if answer.connected.is_some() {
        notes.step.set("http");
    }
    notes.received.set(answer.body.len() as u64);
    match answer.failure {
        Some(failure) => Err(failure),
        None if answer.body == b"403" => {
            notes.status.set(Some(403));
            Err(Failure::HttpUnexpectedStatus)
        }
        None => Ok(()),
    }
}
