//! Messages that name their server: DNS, HTTP, DTLS hellos, certificates, as recognitions.

use super::{More, News, Ports, plain};
use crate::protocol::{Certainty, Protocol, Recognition};
use crate::{dns, dtls, http, tls, x509};

/// Longest request line worth waiting for; browsers and servers stop at 8 KiB or before.
const MAX_LINE: usize = 8192;

/// A DNS message that fills a datagram or a frame. On port 53 a header and a question do; elsewhere all of
/// it has to parse and to ask for something that exists.
pub(super) fn dns(payload: &[u8], ports: Ports) -> Option<Recognition> {
    // A known operation and few questions: cheaper than the parse, and refuses most of all traffic.
    if payload.len() < 12
        || payload[4] != 0
        || payload[5] > 8
        || !matches!(payload[2] >> 3 & 15, 0..=2 | 4..=6)
    {
        return None;
    }
    let message = dns::MessageView::parse(payload).ok()?;
    let may_be = message.is_plausible() || (ports.has(53) && is_rare(&message));
    if !may_be {
        return None;
    }
    let question = message.question();
    if !ports.has(53) {
        let question = question?;
        let host = question.name.labels().count() > 1
            && question
                .name
                .labels()
                .flatten()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        // https://www.iana.org/assignments/dns-parameters: types in use; Z is reserved (RFC 1035 §4.1.1).
        // DNSCrypt asks for its certificate so, on its own ports (https://dnscrypt.info/protocol): not DNS.
        let crypt = question.name.labels().nth(1).is_some_and(|label| label == b"dnscrypt-cert");
        let kind = matches!(question.kind, 1..=65 | 99 | 108 | 249..=257);
        let asks = message.is_response() || message.counts[1] == 0;
        let whole = message.counts[0] == 1 && message.flags & 0x0040 == 0 && message.check().is_ok();
        if !(host && kind && !crypt && question.class == 1 && asks && whole) {
            return None;
        }
    }
    let mut told = plain(Protocol::Dns, "", Certainty::Parsed);
    told.name = question.map_or_else(String::new, |question| question.name.normalised());
    Some(told)
}

/// On port 53: old operations, errors that repeat no question, and messages whose names are damaged. Flags
/// and counts must be such as occur (RFC 1035 §4.1.1).
fn is_rare(message: &dns::MessageView<'_>) -> bool {
    let [questions, answers, authorities, additionals] = message.counts;
    let bare = message.counts == [0; 4] && message.is_response() && message.rcode() != 0;
    let asks = (1..=16).contains(&questions) && (message.is_response() || answers == 0);
    let few = answers <= 64 && authorities <= 64 && additionals <= 64 && message.flags & 0x0040 == 0;
    let inverse = message.opcode() == 1 && answers == 1;
    few && (bare || ((asks || inverse) && message.bytes().len() >= 17))
}

/// The head of an HTTP/1 request or response; `Err` when more bytes may decide.
pub(super) fn http(stream: &[u8]) -> Result<Option<Recognition>, More> {
    match stream.first() {
        None => return Err(More),
        Some(byte) if byte.is_ascii_alphabetic() || matches!(byte, b'\r' | b'\n') => {}
        Some(_) => return Ok(None),
    }
    if stream.starts_with(&b"HTTP/1."[..stream.len().min(7)]) {
        return match http::ResponseView::parse(stream) {
            Ok(response) => Ok(Some(plain(Protocol::Http, text(response.version), Certainty::Parsed))),
            Err(malformed) if super::is_short(&malformed) => Err(More),
            Err(_) => Ok(None),
        };
    }
    match http::RequestView::parse(stream) {
        Ok(request) if request.version.starts_with(b"HTTP/1.") || request.version == b"HTTP/0.9" => {
            let mut told = plain(Protocol::Http, text(request.version), Certainty::Parsed);
            told.name = request.host().map(tls::normalise_name).unwrap_or_default();
            Ok(Some(told))
        }
        // HTTP/0.9 knows no version (https://www.w3.org/Protocols/HTTP/AsImplemented.html).
        Ok(request)
            if request.version.is_empty() && request.method == b"GET" && request.target.starts_with(b"/") =>
        {
            Ok(Some(plain(Protocol::Http, "0.9", Certainty::Pattern)))
        }
        Ok(_) => Ok(None),
        Err(malformed) if super::is_short(&malformed) && stream.len() < MAX_LINE => {
            // Before its first blank anything of letters may be a method: only a short piece is waited for.
            if http::looks_like_request(stream) || stream.len() < 24 { Err(More) } else { Ok(None) }
        }
        // A usual method, and a target that does not end.
        Err(_) if http::looks_like_request(stream) && stream.len() >= MAX_LINE => {
            Ok(Some(plain(Protocol::Http, "", Certainty::Pattern)))
        }
        Err(_) => Ok(None),
    }
}

/// The version's number.
fn text(version: &[u8]) -> &str {
    core::str::from_utf8(version.get(5..).unwrap_or_default()).unwrap_or_default()
}

/// The DTLS of one flow: told by its first record, named by the client's hello.
#[derive(Debug, Default)]
pub(super) struct Dtls {
    assembler: Option<Box<dtls::Assembler>>,
    fed: u8,
}

/// Datagrams of DTLS after which a hello is no longer waited for.
const PATIENCE: u8 = 12;

impl Dtls {
    /// Bytes of what is being joined.
    pub(super) fn held_bytes(&self) -> usize {
        self.assembler.as_ref().map_or(0, |assembler| size_of::<dtls::Assembler>() + assembler.held_bytes())
    }

    /// Takes a datagram; `first` when DTLS was not told yet.
    pub(super) fn take(&mut self, payload: &[u8], first: bool) -> Option<News> {
        if !dtls::looks_like_dtls(payload) {
            return None;
        }
        self.fed = self.fed.saturating_add(1);
        if let Some(told) = self.hello(payload) {
            return Some(News::done(told));
        }
        if self.fed >= PATIENCE {
            return Some(News::Final(None));
        }
        if !first {
            return Some(News::Nothing);
        }
        // Without a hello (a server's flight, or the middle): every record whole, the last at the end.
        let mut size = 0;
        for record in dtls::records(payload) {
            let record = record.ok().filter(|record| record.complete)?;
            size += record.body.len();
        }
        (size > 0).then(|| News::Told(plain(Protocol::Dtls, "", Certainty::Pattern)))
    }

    fn hello(&mut self, payload: &[u8]) -> Option<Recognition> {
        let mut fresh = dtls::Assembler::client_hello();
        let assembler = self.assembler.as_deref_mut().unwrap_or(&mut fresh);
        let step = assembler.datagram(payload);
        if step == dtls::Step::Whole {
            let hello = dtls::client_hello_prefix(assembler.body()?);
            let mut told = plain(Protocol::Dtls, version_of(hello.highest_version()), Certainty::Parsed);
            told.name = hello.normalised_name().unwrap_or_default();
            told.fingerprint = tls::ja4(&hello, tls::Ja4Transport::Dtls);
            return Some(told);
        }
        if self.assembler.is_none() && fresh.held_bytes() > 0 {
            self.assembler = Some(Box::new(fresh));
        }
        None
    }
}

/// DTLS counts its versions downwards from 0xfeff.
const fn version_of(version: u16) -> &'static str {
    match version {
        0xfeff | 0x0100 => "1.0",
        0xfefd => "1.2",
        0xfefc => "1.3",
        _ => "",
    }
}

/// The common names of a certificate's subject and issuer.
pub(super) fn certificate(der: &[u8]) -> Option<(String, String)> {
    let view = x509::CertificateView::parse(der).ok()?;
    Some((view.subject.common_name()?.to_owned(), view.issuer.common_name()?.to_owned()))
}
