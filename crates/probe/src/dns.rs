//! DNS: questions to the system's resolver or to one of our choice, over UDP, TCP, TLS or HTTPS.
//!
//! Messages are written and read by hickory-proto; nothing of its resolver is used. A query over UDP takes
//! the first answer that bears its id and question, as a program does, and keeps the port open: a second
//! answer to one question is what an injector cannot hide ([`Answer::late`]).

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
pub use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::BinEncodable as _;
use okno_model::Failure;

use crate::http::{Request, Via, exchange};
use crate::limits;
use crate::net::{Datagrams, Dial, Endpoint, Instant, UdpSetup, random, receive, within};
use crate::tcp;
use crate::tls::{self, TlsOptions};
use crate::trace::{DnsAnswer, DnsRecord, Scope};

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// the system, as an ordinary program asks it
    System,
    /// over UDP (RFC 1035 §4.2.1)
    Udp(Endpoint),
    /// over TCP (RFC 7766)
    Tcp(Endpoint),
    /// over TLS (RFC 7858)
    Dot {
        /// address, port 853
        endpoint: Endpoint,
        /// name that its certificate must bear
        name: String,
    },
    /// over HTTPS (RFC 8484, POST)
    Doh {
        /// address, port 443
        endpoint: Endpoint,
        /// `https://dns.example/dns-query`
        url: String,
    },
}

impl Resolver {
    /// OONI's name of the transport (df-002, `engine`).
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::System => "getaddrinfo",
            Self::Udp(_) => "udp",
            Self::Tcp(_) => "tcp",
            Self::Dot { .. } => "dot",
            Self::Doh { .. } => "doh",
        }
    }

    /// Where it is; the system's is not known.
    pub const fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::System => None,
            Self::Udp(end) | Self::Tcp(end) => Some(*end),
            Self::Dot { endpoint, .. } | Self::Doh { endpoint, .. } => Some(*endpoint),
        }
    }

    /// How OONI writes its address (df-002, `resolver_address`).
    pub fn address(&self) -> String {
        match self {
            Self::System => String::new(),
            Self::Udp(end) | Self::Tcp(end) | Self::Dot { endpoint: end, .. } => end.to_string(),
            Self::Doh { url, .. } => url.clone(),
        }
    }
}

/// What one question brought.
#[derive(Clone, Default)]
pub struct Answer {
    /// failure; an answer's code too
    pub failure: Option<Failure>,
    /// addresses, in the answer's order
    pub addresses: Vec<IpAddr>,
    /// aliases on the way to them
    pub aliases: Vec<String>,
    /// smallest TTL of the addresses' records
    pub ttl: Option<u32>,
    /// the answer's code, where one came
    pub rcode: Option<u16>,
    /// the message as it came; empty from the system
    pub raw: Vec<u8>,
    /// the message, read
    pub message: Option<Message>,
    /// when the question went out
    pub sent: Option<Instant>,
    /// when the answer came
    pub came: Option<Instant>,
    /// TTL of the datagram that brought it, where the system tells
    pub datagram_ttl: Option<u8>,
    open: Option<Rc<Open>>,
}

/// A question over UDP whose port is still open.
struct Open {
    socket: Rc<dyn Datagrams>,
    remote: Endpoint,
    question: Message,
    resolver: Resolver,
}

impl Answer {
    fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// Further answers to the same question that come within `patience` (over UDP; else none). They are
    /// recorded as queries of the same transaction with the tag `late`.
    pub async fn late(&self, scope: &Scope, patience: Duration) -> Vec<Self> {
        let Some(open) = &self.open else { return Vec::new() };
        let give_up = scope.now() + patience;
        let mut late = Vec::new();
        loop {
            let left = give_up.since(scope.now());
            let Ok(datagram) = receive(&*scope.world, &*open.socket, left).await else { return late };
            let Some(mut answer) = read_datagram(open, &datagram) else { continue };
            answer.sent = self.sent;
            let mut scope = scope.clone();
            scope.tags.push("late".to_owned());
            write_record(&scope, &open.resolver, &open.question, self.sent.unwrap_or(datagram.at), &answer);
            late.push(answer);
        }
    }

    /// ECH configuration of the first HTTPS record that has one (RFC 9848).
    pub fn ech_config(&self) -> Option<Vec<u8>> {
        let records = self.message.as_ref()?.answers.iter();
        let mut params = records.filter_map(|record| match &record.data {
            RData::HTTPS(https) => Some(&https.0.svc_params),
            _ => None,
        });
        params.find_map(|params| {
            params.iter().find_map(|(key, value)| match (key, value) {
                (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(list)) => Some(list.0.clone()),
                _ => None,
            })
        })
    }
}

/// Asks one question and records it.
pub async fn query(scope: &Scope, resolver: &Resolver, name: &str, kind: RecordType) -> Answer {
    query_within(scope, resolver, name, kind, limits::DNS).await
}

/// The same with another limit of time.
pub async fn query_within(
    scope: &Scope,
    resolver: &Resolver,
    name: &str,
    kind: RecordType,
    patience: Duration,
) -> Answer {
    let from = scope.now();
    let Some(question) = question(scope, name, kind) else {
        // A name that no message can hold does not exist.
        return Answer::failed(Failure::DnsNxDomain);
    };
    // OONI's pipeline takes the first event of a transaction for one of the connection, and wants its
    // address.
    scope.event("resolve_start", resolver.engine(), resolver.endpoint(), from, Ok(0));
    // Futures of whole connections are large: they live on the heap, or every lookup would carry their
    // weight.
    let work = async {
        match resolver {
            Resolver::System => ask_system(scope, name, kind).await,
            Resolver::Udp(remote) => ask_udp(scope, resolver, *remote, &question).await,
            Resolver::Tcp(remote) => Box::pin(ask_tcp(scope, *remote, &question)).await,
            Resolver::Dot { endpoint, name } => Box::pin(ask_dot(scope, *endpoint, name, &question)).await,
            Resolver::Doh { endpoint, url } => Box::pin(ask_doh(scope, *endpoint, url, &question)).await,
        }
    };
    let answer = within(&*scope.world, patience, work).await;
    let mut answer = answer.unwrap_or_else(|| Answer::failed(Failure::GenericTimeout));
    answer.sent = Some(from);
    scope.world.resolved(name, &answer.addresses);
    write_record(scope, resolver, &question, from, &answer);
    let done = answer.failure.map_or(Ok(0), Err);
    scope.event("resolve_done", resolver.engine(), resolver.endpoint(), scope.now(), done);
    answer
}

/// A and AAAA together.
#[derive(Clone, Default)]
pub struct Addresses {
    /// failure: that of A when neither gave an address
    pub failure: Option<Failure>,
    /// addresses, IPv4 first
    pub addresses: Vec<IpAddr>,
}

/// The addresses of a name: one lookup of the system, or A and AAAA at once of any other resolver. An IP
/// address is its own answer and asks nobody.
pub async fn lookup(scope: &Scope, resolver: &Resolver, name: &str) -> Addresses {
    if let Ok(ip) = name.trim_matches(['[', ']']).parse() {
        return Addresses { failure: None, addresses: vec![ip] };
    }
    if *resolver == Resolver::System {
        let answer = query_within(scope, resolver, name, RecordType::ANY, limits::DNS_SYSTEM).await;
        return Addresses { failure: answer.failure, addresses: answer.addresses };
    }
    let (v4, v6) = futures::future::join(
        query(scope, resolver, name, RecordType::A),
        query(scope, resolver, name, RecordType::AAAA),
    )
    .await;
    let addresses: Vec<_> = v4.addresses.iter().chain(&v6.addresses).copied().collect();
    let failure = if addresses.is_empty() { v4.failure.or(v6.failure) } else { None };
    Addresses { failure, addresses }
}

fn question(scope: &Scope, name: &str, kind: RecordType) -> Option<Message> {
    let mut parsed = Name::from_ascii(name).ok()?;
    parsed.set_fqdn(true);
    let mut message =
        Message::new(u16::from_be_bytes(random(&*scope.world)), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(parsed, kind));
    Some(message)
}

fn encode(question: &Message) -> Result<Vec<u8>, Failure> {
    question.to_bytes().map_err(|_| Failure::DnsNxDomain)
}

async fn ask_system(scope: &Scope, name: &str, kind: RecordType) -> Answer {
    match scope.world.lookup(name).await {
        Ok(mut addresses) => {
            match kind {
                RecordType::A => addresses.retain(IpAddr::is_ipv4),
                RecordType::AAAA => addresses.retain(IpAddr::is_ipv6),
                _ => {}
            }
            let failure = addresses.is_empty().then_some(Failure::DnsNoAnswer);
            Answer { failure, addresses, came: Some(scope.now()), ..Answer::default() }
        }
        Err(failure) => Answer { came: Some(scope.now()), ..Answer::failed(failure) },
    }
}

async fn ask_udp(scope: &Scope, resolver: &Resolver, remote: Endpoint, question: &Message) -> Answer {
    let from = scope.now();
    let open = match open_udp(scope, resolver, remote, question) {
        Ok(open) => open,
        Err(failure) => return Answer::failed(failure),
    };
    loop {
        // The caller's limit ends this.
        let datagram = match core::future::poll_fn(|poller| open.socket.poll_receive(poller)).await {
            Ok(datagram) => datagram,
            Err(error) => {
                let failure = error.kind.failure();
                scope.event("read_from", "udp", Some(remote), from, Err(failure));
                return Answer::failed(failure);
            }
        };
        scope.event("read_from", "udp", Some(remote), from, Ok(datagram.bytes.len()));
        if let Some(mut answer) = read_datagram(&open, &datagram) {
            answer.open = Some(Rc::new(open));
            return answer;
        }
    }
}

fn open_udp(
    scope: &Scope,
    resolver: &Resolver,
    remote: Endpoint,
    question: &Message,
) -> Result<Open, Failure> {
    let bytes = encode(question)?;
    let setup = UdpSetup { peer: Some(remote), ..UdpSetup::default() };
    let socket = scope.world.udp(setup).map_err(|error| error.kind.failure())?;
    let sent = socket.send_to(&bytes, remote, None).map_err(|error| error.kind.failure());
    scope.event("write_to", "udp", Some(remote), scope.now(), sent.map(|()| bytes.len()));
    sent?;
    Ok(Open { socket, remote, question: question.clone(), resolver: resolver.clone() })
}

/// An answer out of a datagram; `None` when it is not one to this question.
fn read_datagram(open: &Open, datagram: &crate::net::Datagram) -> Option<Answer> {
    if datagram.from != open.remote {
        return None;
    }
    let mut answer = read_message(&open.question, &datagram.bytes)?;
    answer.came = Some(datagram.at);
    answer.datagram_ttl = datagram.ttl;
    Some(answer)
}

/// Reads an answer. `None` when id or question are others'.
fn read_message(question: &Message, bytes: &[u8]) -> Option<Answer> {
    let Ok(message) = Message::from_vec(bytes) else {
        // Only the header may be readable: still an answer if the id fits.
        let id = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
        let broken = Answer { raw: bytes.to_vec(), ..Answer::failed(Failure::DnsServerMisbehaving) };
        return (id == question.metadata.id).then_some(broken);
    };
    let same_question = message.queries.is_empty() || message.queries == question.queries;
    if message.metadata.id != question.metadata.id
        || message.metadata.message_type != MessageType::Response
        || !same_question
    {
        return None;
    }
    let mut answer = Answer { raw: bytes.to_vec(), ..Answer::default() };
    answer.rcode = Some(u16::from(message.metadata.response_code));
    for record in &message.answers {
        match &record.data {
            RData::A(ip) => answer.addresses.push(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => answer.addresses.push(IpAddr::V6(ip.0)),
            RData::CNAME(alias) => {
                answer.aliases.push(plain_name(&alias.0));
                continue;
            }
            _ => continue,
        }
        answer.ttl = Some(answer.ttl.map_or(record.ttl, |known| known.min(record.ttl)));
    }
    let kind = question.queries.first().map(Query::query_type);
    answer.failure = failure_of(message.metadata.response_code, kind, &answer, &message);
    answer.message = Some(message);
    Some(answer)
}

/// OONI's name for an answer without what was asked for (probe-cli `internal/netxlite/dnsdecoder.go`).
fn failure_of(
    code: ResponseCode,
    kind: Option<RecordType>,
    answer: &Answer,
    message: &Message,
) -> Option<Failure> {
    match code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Some(Failure::DnsNxDomain),
        ResponseCode::Refused => return Some(Failure::DnsRefused),
        ResponseCode::ServFail => return Some(Failure::DnsServfail),
        _ => return Some(Failure::DnsServerMisbehaving),
    }
    let found = match kind {
        Some(RecordType::A) => answer.addresses.iter().any(IpAddr::is_ipv4),
        Some(RecordType::AAAA) => answer.addresses.iter().any(IpAddr::is_ipv6),
        _ => !message.answers.is_empty(),
    };
    (!found).then_some(Failure::DnsNoAnswer)
}

fn plain_name(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

async fn ask_tcp(scope: &Scope, remote: Endpoint, question: &Message) -> Answer {
    match tcp::connect(scope, Dial::to(remote)).await {
        Ok(flow) => over_stream(scope, flow, question).await,
        Err(failure) => Answer::failed(failure),
    }
}

async fn ask_dot(scope: &Scope, remote: Endpoint, name: &str, question: &Message) -> Answer {
    let flow = match tcp::connect(scope, Dial::to(remote)).await {
        Ok(flow) => flow,
        Err(failure) => return Answer::failed(failure),
    };
    // RFC 7858 names no ALPN; `dot` is registered and OONI's probe offers it.
    let options = TlsOptions { alpn: vec!["dot".to_owned()], ..TlsOptions::default() };
    match tls::handshake(scope, flow, remote, name, &options).await {
        Ok(stream) => over_stream(scope, stream, question).await,
        Err(failure) => Answer::failed(failure),
    }
}

/// One message each way, behind its length (RFC 1035 §4.2.2).
async fn over_stream<S: AsyncRead + AsyncWrite + Unpin>(
    scope: &Scope,
    mut stream: S,
    question: &Message,
) -> Answer {
    let bytes = match encode(question) {
        Ok(bytes) => bytes,
        Err(failure) => return Answer::failed(failure),
    };
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let framed = [&len.to_be_bytes()[..], &bytes].concat();
    let work = async {
        stream.write_all(&framed).await?;
        stream.flush().await?;
        let mut len = [0; 2];
        stream.read_exact(&mut len).await?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    match work.await {
        Ok(bytes) => read_reply(scope, question, &bytes),
        Err(error) => Answer::failed(tls::stream_failure(&error)),
    }
}

fn read_reply(scope: &Scope, question: &Message, bytes: &[u8]) -> Answer {
    let answer = read_message(question, bytes);
    let mut answer = answer.unwrap_or_else(|| Answer::failed(Failure::DnsReplyWithWrongQueryId));
    answer.came = Some(scope.now());
    answer
}

async fn ask_doh(scope: &Scope, remote: Endpoint, url: &str, question: &Message) -> Answer {
    match try_doh(scope, remote, url, question).await {
        Ok(bytes) => {
            let mut id_zero = question.clone();
            id_zero.metadata.id = 0;
            read_reply(scope, &id_zero, &bytes)
        }
        Err(failure) => Answer::failed(failure),
    }
}

async fn try_doh(scope: &Scope, remote: Endpoint, url: &str, question: &Message) -> Result<Vec<u8>, Failure> {
    let mut question = question.clone();
    // RFC 8484 §4.1: an id of 0 lets caches work.
    question.metadata.id = 0;
    let mut request = Request::post(url, "application/dns-message", encode(&question)?);
    request.headers.retain(|(name, _)| name == "Content-Type" || name == "User-Agent");
    request.headers.insert(0, ("Accept".to_owned(), "application/dns-message".to_owned()));
    let parsed = url::Url::parse(url).map_err(|_| Failure::HttpRequestFailed)?;
    let name = parsed.host_str().unwrap_or_default().to_owned();
    let flow = tcp::connect(scope, Dial::to(remote)).await?;
    let response = if parsed.scheme() == "https" {
        let stream = tls::handshake(scope, flow, remote, &name, &TlsOptions::web()).await?;
        let via = Via { remote: Some(remote), alpn: stream.alpn() };
        exchange(scope, stream, &via, &request).await?
    } else {
        exchange(scope, flow, &Via { remote: Some(remote), alpn: String::new() }, &request).await?
    };
    if response.code == 200 { Ok(response.body) } else { Err(Failure::HttpRequestFailed) }
}

fn write_record(scope: &Scope, resolver: &Resolver, question: &Message, from: Instant, answer: &Answer) {
    let Some(query) = question.queries.first() else { return };
    let aliases = answer.aliases.iter().map(|alias| DnsAnswer {
        answer_type: "CNAME".to_owned(),
        hostname: Some(alias.clone()),
        ttl: answer.ttl,
        ..DnsAnswer::default()
    });
    let addresses = answer.addresses.iter().map(|ip| DnsAnswer::address(*ip, answer.ttl));
    let answers: Vec<_> = aliases.chain(addresses).collect();
    let kind = if *resolver == Resolver::System { RecordType::ANY } else { query.query_type() };
    scope.trace.add_query(DnsRecord {
        answers: (!answers.is_empty()).then_some(answers),
        engine: resolver.engine().to_owned(),
        failure: answer.failure,
        hostname: plain_name(query.name()),
        query_type: kind.to_string(),
        raw_response: answer.raw.clone(),
        rcode: answer.rcode,
        resolver_hostname: None,
        resolver_port: None,
        resolver_address: resolver.address(),
        stamp: scope.stamp_between(from, answer.came.unwrap_or_else(|| scope.now())),
    });
}

#[cfg(test)]
mod tests {
    use okno_wire::tls::preset::random_bytes;

    use super::*;

    fn question() -> Message {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii("site.example.").unwrap(), RecordType::A));
        message
    }

    #[test]
    fn no_bytes_make_the_reader_panic_and_foreign_ids_are_no_answers() {
        let question = question();
        let whole = question.to_bytes().unwrap();
        for seed in 0..2_000_u64 {
            let mut bytes = whole.clone();
            let noise = random_bytes(seed, "noise", 64);
            for (index, byte) in noise.iter().enumerate().take(1 + noise[63] as usize % 40) {
                let at = noise[(index + 1) % 64] as usize % bytes.len();
                bytes[at] ^= byte;
            }
            bytes.truncate(noise[62] as usize % (whole.len() + 1));
            if let Some(answer) = read_message(&question, &bytes) {
                assert_eq!(bytes[..2], [0x12, 0x34], "an answer bears the question's id");
                assert_eq!(answer.raw, bytes);
            }
        }
    }

    #[test]
    fn a_question_that_comes_back_is_no_answer() {
        let question = question();
        assert!(read_message(&question, &question.to_bytes().unwrap()).is_none());
        let mut other = question.clone().into_response();
        other.queries = vec![Query::query(Name::from_ascii("other.example.").unwrap(), RecordType::A)];
        assert!(read_message(&question, &other.to_bytes().unwrap()).is_none());
    }

    #[test]
    fn codes_have_oonis_names() {
        let question = question();
        for (code, name) in [
            (ResponseCode::NXDomain, "dns_nxdomain_error"),
            (ResponseCode::Refused, "dns_refused_error"),
            (ResponseCode::ServFail, "dns_servfail_error"),
            (ResponseCode::NotImp, "dns_server_misbehaving"),
            (ResponseCode::NoError, "dns_no_answer"),
        ] {
            let mut message = question.clone();
            message.metadata.message_type = MessageType::Response;
            message.metadata.response_code = code;
            let answer = read_message(&question, &message.to_bytes().unwrap()).unwrap();
            assert_eq!(answer.failure.map(Failure::as_str), Some(name));
        }
    }
}
