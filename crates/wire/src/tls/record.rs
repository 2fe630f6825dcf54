//! The record layer, twice: record by record, and joined as the receiver joins it.
//!
//! Whether a box joins records decides whether a name split over two of them is seen, so both views are
//! offered and neither is the default of the other.

use std::borrow::Cow;

use super::code::{content, handshake};
use crate::malformed::Malformed;

/// A handshake message longer than this is given up: no client sends as much, and a box has to have a limit.
pub const MAX_HELLO: usize = 65_536;

/// Ciphertext limit of TLS 1.2 (RFC 5246 §6.2.3); TLS 1.3 allows less.
const MAX_RECORD: usize = 16_384 + 2_048;

/// Records skipped before the first handshake record (CCS and alerts), before the walk gives up.
const MAX_SKIPPED: usize = 32;

/// One TLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// content type; see [`content`]
    pub kind: u8,
    /// version in the header
    pub version: u16,
    /// length in the header
    pub declared: usize,
    /// as many bytes of the body as are there
    pub body: &'a [u8],
    /// offset of the header in the stream
    pub at: usize,
}

impl Record<'_> {
    /// All of the body is there.
    pub const fn is_complete(&self) -> bool {
        self.body.len() == self.declared
    }

    /// Offset in the stream of the byte after the record, were it whole.
    pub const fn end(&self) -> usize {
        self.at + 5 + self.declared
    }
}

/// The records of a contiguous piece of stream that starts with a record header. Stops after the first
/// incomplete record or error.
pub const fn records(stream: &[u8]) -> Records<'_> {
    Records { stream, at: 0, stopped: false }
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    stream: &'a [u8],
    at: usize,
    stopped: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.stream.get(at..).filter(|rest| !rest.is_empty() && !self.stopped)?;
        if let Err(malformed) = check_header(rest, at) {
            self.stopped = true;
            return Some(Err(malformed));
        }
        let &[kind, major, minor, high, low, ref body @ ..] = rest else {
            self.stopped = true;
            return Some(Err(Malformed::short("tls", at, "record header", rest.len())));
        };
        let declared = usize::from(u16::from_be_bytes([high, low]));
        let body = &body[..declared.min(body.len())];
        self.at = at + 5 + declared;
        self.stopped = body.len() < declared;
        Some(Ok(Record { kind, version: u16::from_be_bytes([major, minor]), declared, body, at }))
    }
}

/// Checks as many bytes of a record header as are there.
fn check_header(rest: &[u8], at: usize) -> Result<(), Malformed> {
    let byte = |index: usize| rest.get(index).copied();
    if let Some(kind) =
        byte(0).filter(|kind| !(content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(kind))
    {
        return Err(Malformed::value("tls", at, "record type 20 to 24", u64::from(kind)));
    }
    if let Some(major) = byte(1).filter(|major| *major != 3) {
        return Err(Malformed::value("tls", at + 1, "record version 3.x", u64::from(major)));
    }
    if let (Some(high), Some(low)) = (byte(3), byte(4)) {
        let declared = u16::from_be_bytes([high, low]);
        if usize::from(declared) > MAX_RECORD {
            return Err(Malformed::value("tls", at + 3, "record length up to 18432", u64::from(declared)));
        }
    }
    Ok(())
}

/// Whether the bytes can be the start of a TLS stream from either side: a record header of a type that may
/// come first (handshake, alert, CCS) and major version 3. Cheap; wants at least three bytes.
pub fn looks_like_tls(stream: &[u8]) -> bool {
    matches!(stream, [content::CHANGE_CIPHER_SPEC..=content::HANDSHAKE, 3, 0..=4, ..])
}

/// What a client's stream starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstFlight<'a> {
    /// it may become a ClientHello
    NeedMore,
    /// a whole ClientHello
    Hello(HelloFlight<'a>),
    /// an SSLv2-compatible hello (RFC 5246 appendix E.2): evidence, carries no name; its version
    SslV2(u16),
    /// the first bytes are not TLS
    NotTls(Malformed),
    /// it began as TLS, then broke a rule or carried something other than a ClientHello
    Broken(Malformed),
}

/// A ClientHello out of the record layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloFlight<'a> {
    /// the message with its four-byte header; borrowed when it lay in one record
    pub message: Cow<'a, [u8]>,
    /// over how many records it was spread
    pub records: usize,
    /// records of another type (CCS, alert) that stood before it
    pub skipped: usize,
    /// version in the header of its first record
    pub record_version: u16,
    /// offset in the stream of the first byte after the message
    pub end: usize,
}

/// Reads the ClientHello out of the contiguous start of a client's stream, joining records.
///
/// CCS and alert records before it are skipped, as a box that reads on past them does (a server would
/// refuse the connection; that is the endpoint's matter).
pub fn first_flight(stream: &[u8]) -> FirstFlight<'_> {
    if let Some(version) = ssl_v2(stream) {
        return FirstFlight::SslV2(version);
    }
    let mut walk = Walk::default();
    for record in records(stream) {
        let record = match record {
            Ok(record) => record,
            // A header cut by the end of the stream is no fault.
            Err(malformed) if is_cut(&malformed) => return FirstFlight::NeedMore,
            Err(malformed) if malformed.offset < 5 => return FirstFlight::NotTls(malformed),
            Err(malformed) => return FirstFlight::Broken(malformed),
        };
        if let Some(found) = walk.step(&record) {
            return found;
        }
    }
    FirstFlight::NeedMore
}

fn is_cut(malformed: &Malformed) -> bool {
    malformed.expected == "record header"
}

/// The state of [`first_flight`] between records.
#[derive(Default)]
struct Walk<'a> {
    joined: Cow<'a, [u8]>,
    records: usize,
    skipped: usize,
    version: u16,
}

impl<'a> Walk<'a> {
    fn step(&mut self, record: &Record<'a>) -> Option<FirstFlight<'a>> {
        match record.kind {
            content::CHANGE_CIPHER_SPEC | content::ALERT if self.joined.is_empty() => {
                self.skipped += 1;
                (self.skipped > MAX_SKIPPED).then(|| {
                    let expected = "handshake record";
                    FirstFlight::Broken(Malformed::value("tls", record.at, expected, u64::from(record.kind)))
                })
            }
            content::HANDSHAKE => self.handshake(record),
            kind => {
                let malformed = Malformed::value("tls", record.at, "handshake record", u64::from(kind));
                Some(if record.at == 0 {
                    FirstFlight::NotTls(malformed)
                } else {
                    FirstFlight::Broken(malformed)
                })
            }
        }
    }

    fn handshake(&mut self, record: &Record<'a>) -> Option<FirstFlight<'a>> {
        if self.records == 0 {
            self.version = record.version;
            self.joined = Cow::Borrowed(record.body);
        } else {
            self.joined.to_mut().extend_from_slice(record.body);
        }
        self.records += 1;
        if let Some(kind) = self.joined.first().filter(|kind| **kind != handshake::CLIENT_HELLO) {
            let malformed = Malformed::value("tls", record.at + 5, "client hello", u64::from(*kind));
            return Some(FirstFlight::Broken(malformed));
        }
        let &[_, a, b, c, ..] = &*self.joined else { return None };
        let len = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
        if len > MAX_HELLO {
            let expected = "client hello up to 65536 bytes";
            return Some(FirstFlight::Broken(Malformed::value("tls", record.at + 6, expected, len as u64)));
        }
        if self.joined.len() < len {
            return None;
        }
        let end = record.at + 5 + record.body.len() - (self.joined.len() - len);
        let message = match core::mem::take(&mut self.joined) {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..len]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(len);
                Cow::Owned(bytes)
            }
        };
        Some(FirstFlight::Hello(HelloFlight {
            message,
            records: self.records,
            skipped: self.skipped,
            record_version: self.version,
            end,
        }))
    }
}

/// The version of an SSLv2 CLIENT-HELLO: two-byte length with the high bit set, message type 1, version,
/// then three lengths that add up.
fn ssl_v2(stream: &[u8]) -> Option<u16> {
    let &[high, low, 1, major, minor, c0, c1, s0, s1, r0, r1, ..] = stream else { return None };
    let declared = usize::from(u16::from_be_bytes([high & 0x7f, low]));
    let sum: usize =
        [[c0, c1], [s0, s1], [r0, r1]].iter().map(|pair| usize::from(u16::from_be_bytes(*pair))).sum();
    let version = u16::from_be_bytes([major, minor]);
    (high & 0x80 != 0 && declared == 9 + sum && (version == 2 || major == 3)).then_some(version)
}

/// All handshake bytes at the start of either side's stream, joined over records until another content type,
/// an error or the end of `stream`; at most [`MAX_HELLO`] bytes. CCS and alerts before them are skipped.
pub fn handshake_bytes(stream: &[u8]) -> Cow<'_, [u8]> {
    let mut joined = Cow::Borrowed(&[][..]);
    for record in records(stream).map_while(Result::ok) {
        match record.kind {
            content::HANDSHAKE if joined.is_empty() => joined = Cow::Borrowed(record.body),
            content::HANDSHAKE if joined.len() < MAX_HELLO => joined.to_mut().extend_from_slice(record.body),
            content::CHANGE_CIPHER_SPEC | content::ALERT if joined.is_empty() => {}
            _ => break,
        }
    }
    joined
}

/// One handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// type; see [`handshake`]
    pub kind: u8,
    /// length in its header
    pub declared: usize,
    /// the message with its header, as far as it is there
    pub bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// All of it is there.
    pub const fn is_complete(&self) -> bool {
        self.bytes.len() == self.declared + 4
    }

    /// Without the header.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[4..]
    }
}

/// The messages in joined handshake bytes; the last may be incomplete.
pub const fn messages(handshake: &[u8]) -> Messages<'_> {
    Messages { rest: handshake }
}

/// See [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let &[kind, a, b, c, ..] = self.rest else { return None };
        let declared = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let (bytes, rest) = self.rest.split_at((declared + 4).min(self.rest.len()));
        self.rest = rest;
        Some(Message { kind, declared, bytes })
    }
}
