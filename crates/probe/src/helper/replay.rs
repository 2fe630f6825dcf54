//! A conversation that looks like TLS 1.3 and is none: what the partner and the probe say to each other.
//!
//! A throttling test needs the same bytes in the same sizes with one thing changed: the name, or all contents
//! at once. So hello and answers are records of the sizes that TLS has, their contents are random, and a
//! scrambled replay is the same stream with every bit inverted, as in the measurements of 2021 (IMC 2021,
//! doi:10.1145/3487552.3487858) and in Wehe's replays. No key is exchanged; nothing here is secret.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use futures::{AsyncRead, AsyncWrite};
use okno_wire::Instant;
use okno_wire::tls::code::content;
use okno_wire::tls::{ClientHello, ServerHelloRepr, preset, record};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::flow::{self, Ending, Limits, Series};
use crate::net::{Net, Stream, random};

/// Most bytes that a partner gives or takes on one connection.
pub const MOST_BYTES: u64 = 8 << 20;
/// Longest record of TLS 1.3 (RFC 8446 §5.1).
const RECORD: usize = 16_384;
/// A server's first flight under the record layer: about what certificates take.
const FLIGHT: usize = 2_400;
/// Seed of the mark in the session id by which a partner knows a probe.
const MARK: u64 = 0x6f6b_6e6f_7265_706c;
/// Patience of a partner with its guest.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a probe asks a partner for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// send so many bytes of content
    Down(u64),
    /// take so many bytes of content
    Up(u64),
    /// send a ClientHello with this name towards the probe, then so many bytes
    HelloDown(String, u64),
    /// open a connection to this port of the address that asks, and answer there as here
    DialBack(u16),
}

impl Request {
    /// As a line.
    pub fn text(&self) -> String {
        match self {
            Self::Down(bytes) => format!("down {bytes}"),
            Self::Up(bytes) => format!("up {bytes}"),
            Self::HelloDown(name, bytes) => format!("hello {bytes} {name}"),
            Self::DialBack(port) => format!("dial {port}"),
        }
    }

    /// Reads a line; `None` when it asks for nothing that a partner does.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let word = words.next()?;
        let number: u64 = words.next()?.parse().ok()?;
        let name = words.next();
        if words.next().is_some() {
            return None;
        }
        match (word, name) {
            ("down", None) if number <= MOST_BYTES => Some(Self::Down(number)),
            ("up", None) if number <= MOST_BYTES => Some(Self::Up(number)),
            ("hello", Some(name)) if number <= MOST_BYTES && !name.is_empty() && name.len() <= 255 => {
                Some(Self::HelloDown(name.to_owned(), number))
            }
            // A port below 1024 could be a service of that address.
            ("dial", None) if (1_024..=65_535).contains(&number) => Some(Self::DialBack(number as u16)),
            _ => None,
        }
    }
}

/// A stream whose bits can be inverted, both ways.
pub struct Talk {
    stream: Box<dyn Stream>,
    inverted: bool,
}

impl Talk {
    /// Over `stream`.
    pub fn new(stream: Box<dyn Stream>, inverted: bool) -> Self {
        Self { stream, inverted }
    }

    /// The stream below.
    pub fn stream(&self) -> &dyn Stream {
        &*self.stream
    }
}

impl AsyncRead for Talk {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_read(context, bytes);
        if let Poll::Ready(Ok(taken)) = taken
            && self.inverted
        {
            bytes[..taken].iter_mut().for_each(|byte| *byte = !*byte);
        }
        taken
    }
}

impl AsyncWrite for Talk {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.inverted {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        let inverted: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        Pin::new(&mut self.stream).poll_write(context, &inverted)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// A hello that a partner knows: a browser's, with a mark in its session id.
pub fn marked_hello(net: &dyn Net, name: Option<&str>) -> Vec<u8> {
    let mut hello = preset::curl(u64::from_le_bytes(random(net)), name);
    let mut session = random::<32>(net);
    let mark = xxh3_64_with_seed(&session[..24], MARK).to_be_bytes();
    session[24..].copy_from_slice(&mark);
    hello.session_id = session.to_vec();
    hello.emit_record()
}

fn is_marked(session_id: &[u8]) -> bool {
    session_id.len() == 32 && xxh3_64_with_seed(&session_id[..24], MARK).to_be_bytes() == session_id[24..]
}

/// Contents of a small record: random, so that no two look alike, and the text masked by it.
fn sealed(net: &dyn Net, text: &str) -> Vec<u8> {
    let salt = random::<16>(net);
    let mask = preset::random_bytes(xxh3_64_with_seed(&salt, MARK), "mask", text.len());
    let masked = text.bytes().zip(mask).map(|(byte, mask)| byte ^ mask);
    let body: Vec<u8> = salt.iter().copied().chain(masked).collect();
    record(content::APPLICATION_DATA, 0x0303, &body)
}

fn unsealed(body: &[u8]) -> Option<String> {
    let (salt, masked) = body.split_at_checked(16)?;
    let mask = preset::random_bytes(xxh3_64_with_seed(salt, MARK), "mask", masked.len().min(512));
    String::from_utf8(masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()).ok()
}

/// The next record: its type and body.
async fn next_record(net: &dyn Net, talk: &mut Talk, patience: Duration) -> Result<(u8, Vec<u8>), Ending> {
    let mut head = [0; 5];
    flow::read_exact(net, talk, &mut head, patience).await?;
    let [kind, _, _, high, low] = head;
    let mut body = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    flow::read_exact(net, talk, &mut body, patience).await?;
    Ok((kind, body))
}

/// What the probe plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play<'a> {
    /// name in the hello; none when `None`
    pub name: Option<&'a str>,
    /// every bit inverted
    pub inverted: bool,
    /// what is asked for
    pub request: Request,
    /// patience with the answer to the hello
    pub patience: Duration,
    /// limits of the transfer
    pub limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// when the partner's answer to the hello had come
    pub answered: Option<Instant>,
    /// step at which it ended early: `tls`, `transfer`; empty when it did not
    pub failed_at: &'static str,
    /// how it ended
    pub ending: Ending,
    /// arrivals of content (or what the stack took, going up)
    pub series: Series,
    /// what the partner said about a request that is no transfer
    pub reply: String,
}

/// Says the hello, asks, and takes or gives the content. The stream stays with the caller.
pub async fn play(net: &dyn Net, talk: &mut Talk, what: &Play<'_>) -> Played {
    let mut played = Played {
        answered: None,
        failed_at: "tls",
        ending: Ending::Quiet,
        series: Series::new(net.now()),
        reply: String::new(),
    };
    if let Err(ending) = greet(net, talk, what).await {
        played.ending = ending;
        return played;
    }
    played.answered = Some(net.now());
    played.failed_at = "transfer";
    played.series = Series::new(net.now());
    played.ending = match &what.request {
        Request::Down(bytes) | Request::HelloDown(_, bytes) => {
            // Records' heads are counted with the content: they are on the wire too.
            let with_heads = bytes + bytes.div_ceil(RECORD as u64) * 5;
            flow::take(net, talk, with_heads, what.limits, &mut played.series).await
        }
        Request::Up(bytes) => give_up(net, talk, *bytes, what.limits, &mut played.series).await,
        Request::DialBack(_) => match next_record(net, talk, what.limits.total).await {
            Ok((_, body)) => {
                played.reply = unsealed(&body).unwrap_or_default();
                Ending::Complete
            }
            Err(ending) => ending,
        },
    };
    if played.ending.failure().is_none() {
        played.failed_at = "";
    }
    played
}

/// Hello, the partner's flight, and the request in the client's second flight.
async fn greet(net: &dyn Net, talk: &mut Talk, what: &Play<'_>) -> Result<(), Ending> {
    flow::write_all(net, talk, &marked_hello(net, what.name), what.patience).await?;
    for _ in 0..3 {
        next_record(net, talk, what.patience).await?;
    }
    let change = record(content::CHANGE_CIPHER_SPEC, 0x0303, &[1]);
    let request = sealed(net, &what.request.text());
    flow::write_all(net, talk, &[change, request].concat(), what.patience).await
}

async fn give_up(net: &dyn Net, talk: &mut Talk, bytes: u64, limits: Limits, series: &mut Series) -> Ending {
    let block = record_of(net);
    let with_heads = bytes + bytes.div_ceil(RECORD as u64) * 5;
    let ending = flow::give(net, talk, &block, with_heads, limits, series).await;
    if ending != Ending::Complete {
        return ending;
    }
    // The partner says when it has all: what the stack took is no proof.
    match next_record(net, talk, limits.total).await {
        Ok(_) => {
            series.end(net.now());
            Ending::Complete
        }
        Err(ending) => ending,
    }
}

/// A record of random content, of the greatest size.
fn record_of(net: &dyn Net) -> Vec<u8> {
    let mut body = vec![0; RECORD];
    net.fill_random(&mut body);
    record(content::APPLICATION_DATA, 0x0303, &body)
}

/// Takes a guest's hello on a fresh connection and reads what it asks for; `None` for anyone who is no probe.
pub async fn receive(net: &dyn Net, stream: Box<dyn Stream>) -> Option<(Talk, Request)> {
    let mut talk = Talk::new(stream, false);
    let mut head = [0; 5];
    flow::read_exact(net, &mut talk, &mut head, PATIENCE).await.ok()?;
    if head[0] == !content::HANDSHAKE {
        talk.inverted = true;
        head.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let [content::HANDSHAKE, 3, _, high, low] = head else { return None };
    let mut message = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    flow::read_exact(net, &mut talk, &mut message, PATIENCE).await.ok()?;
    let session_id = match ClientHello::parse(&message) {
        Ok(hello) if is_marked(hello.session_id) => hello.session_id.to_vec(),
        _ => return None,
    };
    flow::write_all(net, &mut talk, &flight(net, session_id), PATIENCE).await.ok()?;
    let (_, _) = next_record(net, &mut talk, PATIENCE).await.ok()?;
    let (_, body) = next_record(net, &mut talk, PATIENCE).await.ok()?;
    Some((talk, Request::parse(&unsealed(&body)?)?))
}

/// A server's first flight: ServerHello, change of cipher, and one record in the place of the rest.
fn flight(net: &dyn Net, session_id: Vec<u8>) -> Vec<u8> {
    let mut share = vec![0, 29, 0, 32];
    share.extend(random::<32>(net));
    let hello = ServerHelloRepr {
        session_id,
        cipher: 0x1301,
        // supported_versions and key_share (RFC 8446 §4.2.1, §4.2.8)
        extensions: vec![(43, vec![3, 4]), (51, share)],
        ..ServerHelloRepr::tls12(random(net))
    };
    let mut rest = vec![0; FLIGHT];
    net.fill_random(&mut rest);
    [
        record(content::HANDSHAKE, 0x0303, &hello.emit()),
        record(content::CHANGE_CIPHER_SPEC, 0x0303, &[1]),
        record(content::APPLICATION_DATA, 0x0303, &rest),
    ]
    .concat()
}

/// Does what a guest asked for; dialling back is the partner's own.
pub async fn serve(net: &dyn Net, talk: &mut Talk, request: &Request) -> Result<(), Ending> {
    // The guest's test takes a minute; what lasts longer is no test.
    let limits = Limits::secs(60, 300);
    match request {
        Request::Down(bytes) => send(net, talk, *bytes, limits).await,
        Request::HelloDown(name, bytes) => {
            flow::write_all(net, talk, &marked_hello(net, Some(name)), limits.quiet).await?;
            send(net, talk, *bytes, limits).await
        }
        Request::Up(bytes) => {
            let mut series = Series::new(net.now());
            let with_heads = bytes + bytes.div_ceil(RECORD as u64) * 5;
            match flow::take(net, talk, with_heads, limits, &mut series).await {
                Ending::Complete => say(net, talk, "done").await,
                ending => Err(ending),
            }
        }
        Request::DialBack(_) => Ok(()),
    }
}

async fn send(net: &dyn Net, talk: &mut Talk, bytes: u64, limits: Limits) -> Result<(), Ending> {
    let with_heads = bytes + bytes.div_ceil(RECORD as u64) * 5;
    let mut series = Series::new(net.now());
    match flow::give(net, talk, &record_of(net), with_heads, limits, &mut series).await {
        Ending::Complete => Ok(()),
        ending => Err(ending),
    }
}

/// Tells the guest something.
pub async fn say(net: &dyn Net, talk: &mut Talk, text: &str) -> Result<(), Ending> {
    flow::write_all(net, talk, &sealed(net, text), PATIENCE).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back_and_nothing_else_does() {
        let all = [
            Request::Down(400_000),
            Request::Up(1),
            Request::HelloDown("t.co".to_owned(), 9),
            Request::DialBack(40_000),
        ];
        for request in all {
            assert_eq!(Request::parse(&request.text()), Some(request));
        }
        for text in [
            "",
            "down",
            "down x",
            "down 1 2",
            "dial 22",
            "dial 70000",
            "down 999999999999",
            "hello 1 ",
            "x 1",
        ] {
            assert_eq!(Request::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_session_id_without_the_mark_is_no_probe() {
        assert!(!is_marked(&[7; 32]));
        assert!(!is_marked(&[]));
    }
}
