//! DNS servers: resolvers with a policy, authorities; over UDP, TCP, TLS and HTTPS.
//!
//! A resolver answers from the lab's zones, or asks another server for what it does not hold, and keeps
//! what it learnt for the records' time to live. What a national resolver does to names is its policy, and
//! is nobody else's: boxes on the path are `okno-censor`'s. DNS over HTTPS is HTTP/1.1 here; RFC 8484 §5.2
//! recommends HTTP/2, whose framing the lab does not speak.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use okno_model::Failure;
use okno_wire::dns::{self, MessageRepr, MessageView, RecordRepr, flag, kind, rcode};
use okno_wire::http::RequestView;
use okno_wire::{Endpoint, Instant};
use rustls::ServerConfig;

use super::Shared;
use crate::net::{Net, NetError};
use crate::stream::ByteStream;
use crate::tls::TlsStream;

/// Records by name (lower case, no final dot) and type. `*.example` answers for all names below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    records: BTreeMap<(String, u16), Vec<RecordRepr>>,
    names: BTreeMap<String, ()>,
}

impl Zones {
    /// Replaces the addresses of a name, both families.
    pub fn set_addresses(&mut self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        for (kind, is_v4) in [(kind::A, true), (kind::AAAA, false)] {
            let records = addresses
                .iter()
                .filter(|ip| ip.is_ipv4() == is_v4)
                .map(|ip| RecordRepr::address(name, ttl, *ip))
                .collect();
            self.set(name, kind, records);
        }
    }

    /// Replaces a name's records of one type.
    pub fn set(&mut self, name: &str, kind: u16, records: Vec<RecordRepr>) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.names.insert(name.clone(), ());
        self.records.insert((name, kind), records);
    }

    /// A name's records; `None` when there is no such name, no records when it lacks the type. A CNAME is
    /// followed inside the zones.
    pub fn find(&self, name: &str, kind: u16) -> Option<Vec<RecordRepr>> {
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut found = Vec::new();
        // RFC 1034 §3.6.2: chains are followed; eight links are more than any sane zone has.
        for _ in 0..8 {
            let owner = self.owner(&name);
            let Some(owner) = owner else { return (!found.is_empty()).then_some(found) };
            let named = |mut record: RecordRepr| {
                record.name.clone_from(&name);
                record
            };
            if let Some(records) = self.records.get(&(owner.clone(), kind)).filter(|list| !list.is_empty()) {
                found.extend(records.iter().cloned().map(named));
                return Some(found);
            }
            let Some([alias, ..]) = self.records.get(&(owner, kind::CNAME)).map(Vec::as_slice) else {
                return Some(found);
            };
            found.push(named(alias.clone()));
            name = target_of(alias);
        }
        Some(found)
    }

    fn owner(&self, name: &str) -> Option<String> {
        if self.names.contains_key(name) {
            return Some(name.to_owned());
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            let wildcard = format!("*.{parent}");
            if self.names.contains_key(&wildcard) {
                return Some(wildcard);
            }
            rest = parent;
        }
        None
    }
}

/// What fits into the datagram that the client takes (512 bytes, or what its OPT says, RFC 6891 §6.2.3): an
/// answer that does not is sent empty with TC, so that the client asks again over TCP.
fn truncated(answer: Vec<u8>, query: &[u8]) -> Vec<u8> {
    let Ok(query) = MessageView::parse(query) else { return answer };
    let opt = query.records().map_while(Result::ok).find(|record| record.kind == kind::OPT);
    let room = opt.map_or(512, |record| usize::from(record.class).max(512));
    if answer.len() <= room {
        return answer;
    }
    let mut repr = dns::answer(&query, Vec::new());
    repr.flags |= flag::TC;
    repr.emit()
}

/// The name that an uncompressed CNAME record points to.
fn target_of(record: &RecordRepr) -> String {
    let mut labels = Vec::new();
    let mut rest = record.data.as_slice();
    while let Some((len, tail)) = rest.split_first()
        && *len != 0
        && tail.len() >= usize::from(*len)
    {
        labels.push(String::from_utf8_lossy(&tail[..usize::from(*len)]).to_ascii_lowercase());
        rest = &tail[usize::from(*len)..];
    }
    labels.join(".")
}

/// What a resolver's policy makes of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// these addresses instead: a block page, a bogon
    Addresses(Vec<IpAddr>),
    /// "no such name"
    NxDomain,
    /// "I will not"
    Refused,
    /// "I cannot"
    Servfail,
    /// the name exists and has no records
    Empty,
    /// no answer at all
    Silence,
}

/// What a DNS server is like.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// what it knows by itself
    pub zones: Shared<Zones>,
    /// whom it asks for the rest; nobody means that the rest does not exist
    pub upstream: Option<Endpoint>,
    /// names (and all below them) under a policy
    pub rules: BTreeMap<String, NameRule>,
    /// how long it takes to find out what it has not kept
    pub recursion: Duration,
    /// answers nothing
    pub down: bool,
    /// sets AA: it is the authority
    pub authoritative: bool,
}

impl Resolver {
    /// A resolver over these zones: 30 ms for what it has not kept, no policy.
    pub fn new(zones: Shared<Zones>) -> Self {
        Self {
            zones,
            upstream: None,
            rules: BTreeMap::new(),
            recursion: Duration::from_millis(30),
            down: false,
            authoritative: false,
        }
    }

    /// An authority for these zones.
    pub fn authority(zones: Shared<Zones>) -> Self {
        Self { recursion: Duration::ZERO, authoritative: true, ..Self::new(zones) }
    }

    fn rule(&self, name: &str) -> Option<&NameRule> {
        let mut rest = name;
        loop {
            if let Some(rule) = self.rules.get(rest) {
                return Some(rule);
            }
            rest = rest.split_once('.')?.1;
        }
    }
}

/// Until when, and the upstream's bytes where it was one.
type KeptAnswer = (Instant, Option<Vec<u8>>);

/// Answers kept from upstream, and names found out about lately.
#[derive(Clone, Debug, Default)]
struct Kept {
    until: BTreeMap<(String, u16), KeptAnswer>,
}

/// Entries kept; the rest is asked again.
const MAX_KEPT: usize = 10_000;

/// A running server: one policy and one memory for all transports.
#[derive(Clone)]
pub struct DnsServer {
    net: Net,
    resolver: Shared<Resolver>,
    kept: Rc<core::cell::RefCell<Kept>>,
}

impl DnsServer {
    /// A server on a host; nothing listens yet.
    pub fn new(net: Net, resolver: Shared<Resolver>) -> Self {
        Self { net, resolver, kept: Rc::default() }
    }

    /// Answers on UDP and TCP `port`.
    pub async fn serve(self, port: u16) -> Result<(), NetError> {
        let tcp = self.clone();
        self.net.spawn(move |_| async move { tcp.serve_stream(port, None).await });
        let socket = Rc::new(self.net.udp_bind(port)?);
        loop {
            let datagram = socket.receive().await?;
            let (server, socket) = (self.clone(), socket.clone());
            self.net.spawn(move |_| async move {
                if let Some(answer) = server.answer(&datagram.bytes).await {
                    let answer = truncated(answer, &datagram.bytes);
                    // A client without a way back hears nothing.
                    let _ = socket.send_to(&answer, datagram.from);
                }
            });
        }
    }

    /// Answers on TCP `port`, under TLS when a setup is given (DoT, RFC 7858).
    pub async fn serve_stream(self, port: u16, tls: Option<Arc<ServerConfig>>) -> Result<(), NetError> {
        let mut listener = self.net.listen(port)?;
        loop {
            let stream = listener.accept().await?;
            let (server, tls) = (self.clone(), tls.clone());
            self.net.spawn(move |_| async move {
                let stream = match tls {
                    None => ByteStream::Plain(stream),
                    Some(config) => match TlsStream::accept(stream, config).await {
                        Ok(stream) => ByteStream::Tls(Box::new(stream)),
                        Err(_) => return,
                    },
                };
                let _ = server.answer_stream(stream).await;
            });
        }
    }

    async fn answer_stream(&self, mut stream: ByteStream) -> Result<(), Failure> {
        loop {
            let mut len = [0; 2];
            stream.read_exact(&mut len).await?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut query).await?;
            if let Some(answer) = self.answer(&query).await {
                stream.write_all(&dns::tcp_framed(&answer)).await?;
            }
        }
    }

    /// Answers `POST` of `application/dns-message` under TLS on `port` (RFC 8484, over HTTP/1.1).
    pub async fn serve_https(self, port: u16, tls: Arc<ServerConfig>) -> Result<(), NetError> {
        let mut listener = self.net.listen(port)?;
        loop {
            let stream = listener.accept().await?;
            let (server, tls) = (self.clone(), tls.clone());
            self.net.spawn(move |_| async move {
                if let Ok(stream) = TlsStream::accept(stream, tls).await {
                    let _ = server.answer_https(stream).await;
                }
            });
        }
    }

    async fn answer_https(&self, mut stream: TlsStream) -> Result<(), Failure> {
        let (mut buffer, mut chunk) = (Vec::new(), [0; 4_096]);
        loop {
            let whole = RequestView::parse(&buffer).ok().filter(|view| view.complete).and_then(|view| {
                let len = view.header("content-length")?.value;
                let len: usize = core::str::from_utf8(len).ok()?.parse().ok()?;
                buffer.get(view.head_len..view.head_len.checked_add(len)?).map(<[u8]>::to_vec)
            });
            if let Some(query) = whole {
                buffer.clear();
                let Some(answer) = self.answer(&query).await else { continue };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: {}\r\n\r\n",
                    answer.len()
                );
                stream.write_all(&[head.as_bytes(), &answer].concat()).await?;
                continue;
            }
            match stream.read(&mut chunk).await? {
                0 => return Ok(()),
                // A DNS message and its head are far below this.
                _ if buffer.len() > 100_000 => return Err(Failure::MessageTooLong),
                taken => buffer.extend_from_slice(&chunk[..taken]),
            }
        }
    }

    /// The answer to a query; `None` for silence.
    async fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let query = MessageView::parse(bytes).ok()?;
        let question = query.question()?;
        let (name, kind) = (question.name.normalised(), question.kind);
        let resolver = self.resolver.borrow().clone();
        if resolver.down || query.flags & flag::QR != 0 {
            return None;
        }
        let with_code = |code: u8| {
            let mut repr = dns::answer(&query, Vec::new());
            repr.flags |= u16::from(code);
            repr
        };
        let repr = match resolver.rule(&name) {
            Some(NameRule::Silence) => return None,
            Some(NameRule::NxDomain) => with_code(rcode::NXDOMAIN),
            Some(NameRule::Refused) => with_code(rcode::REFUSED),
            Some(NameRule::Servfail) => with_code(rcode::SERVFAIL),
            Some(NameRule::Empty) => with_code(0),
            Some(NameRule::Addresses(addresses)) => {
                let fits = |ip: &&IpAddr| kind == if ip.is_ipv4() { kind::A } else { kind::AAAA };
                let records = addresses.iter().filter(fits).map(|ip| RecordRepr::address(&name, 60, *ip));
                dns::answer(&query, records.collect())
            }
            None => self.resolve(&resolver, &query, &name, kind).await?,
        };
        let mut repr = repr;
        if resolver.authoritative {
            repr.flags |= flag::AA;
        }
        Some(repr.emit())
    }

    /// From the zones, from memory, from upstream.
    async fn resolve(
        &self,
        resolver: &Resolver,
        query: &MessageView<'_>,
        name: &str,
        kind: u16,
    ) -> Option<MessageRepr> {
        let found = resolver.zones.borrow().find(name, kind);
        let key = (name.to_owned(), kind);
        let now = self.net.now();
        let known = self.kept.borrow().until.get(&key).filter(|(until, _)| *until > now).cloned();
        if let Some(records) = found {
            if known.is_none() && !resolver.recursion.is_zero() {
                self.net.sleep(resolver.recursion).await;
                let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(60);
                self.keep(key, ttl, None);
            }
            let mut repr = dns::answer(query, records);
            if repr.answers.is_empty() {
                repr.authorities.push(RecordRepr::soa(name, 60, "ns.lab.example", 60));
            }
            return Some(repr);
        }
        let Some(upstream) = resolver.upstream else { return Some(dns::nxdomain(query)) };
        let bytes = match known {
            Some((_, Some(bytes))) => bytes,
            _ => {
                let bytes = self.ask(upstream, name, kind).await?;
                self.keep(key, 60, Some(bytes.clone()));
                bytes
            }
        };
        let view = MessageView::parse(&bytes).ok()?;
        let mut repr = dns::answer(query, Vec::new());
        repr.flags |= view.flags & 0x000f;
        repr.answers.extend(view.addresses().map(|ip| RecordRepr::address(name, 60, ip)));
        Some(repr)
    }

    fn keep(&self, key: (String, u16), ttl: u32, bytes: Option<Vec<u8>>) {
        let until = self.net.now() + Duration::from_secs(u64::from(ttl));
        let mut kept = self.kept.borrow_mut();
        if kept.until.len() >= MAX_KEPT {
            kept.until.clear();
        }
        kept.until.insert(key, (until, bytes));
    }

    async fn ask(&self, upstream: Endpoint, name: &str, kind: u16) -> Option<Vec<u8>> {
        let socket = self.net.udp_connect(upstream).ok()?;
        // Three tries, as resolvers make them; then the client hears nothing.
        for _ in 0..3 {
            let id = u16::from_be_bytes(self.net.random());
            let query = dns::query(id, name, kind).emit();
            socket.send_to(&query, upstream).ok()?;
            if let Ok(datagram) = socket.receive_for(Duration::from_secs(2)).await
                && MessageView::parse(&datagram.bytes).is_ok_and(|view| view.id == id)
            {
                return Some(datagram.bytes);
            }
        }
        None
    }
}
