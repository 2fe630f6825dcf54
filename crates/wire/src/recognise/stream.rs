//! TCP: which message stands at the head of either side's bytes.
//!
//! Every format answers with yes, no, or "more bytes may decide". Formats with a mark of their own come
//! first; short ones must be answered in kind; what nobody claims and is uniformly random on both sides is
//! told as fully encrypted, the only guess here. A connection met in its middle is only asked for TLS records
//! and for messages that may stand anywhere.

use super::{More, News, Recogniser, Stream, datagram, named, plain};
use crate::protocol::{Certainty, Protocol, Recognition};
use crate::{bittorrent, malformed::Malformed, mtproto, openvpn, proxies, rtp, socks, ssh, stun, tls, tor};

/// Looks after which a connection that told nothing is given up: segments, at most as many from each side.
const GIVE_UP: u16 = 40;

/// Looks for which a name is waited for after the protocol was told: hellos are sent in pieces of a few bytes
/// by those who hide them.
const NAMELESS: u16 = 600;

/// What is remembered of a connection between looks.
#[derive(Debug, Default)]
pub(super) struct State {
    /// the hello named a host as tor does: the relay's certificate decides
    tor: bool,
    /// bytes that the opener had sent when the other side first spoke
    burst: u16,
    /// those began with their own length
    framed: bool,
}

/// Yes, no, or more.
type Answer = Result<Option<Recognition>, More>;

/// One look.
pub(super) fn look(recogniser: &mut Recogniser, stream: &Stream<'_>) -> Option<Recognition> {
    let cap = Recogniser::PREFIX;
    let stream = Stream {
        initiator: &stream.initiator[..stream.initiator.len().min(cap)],
        responder: &stream.responder[..stream.responder.len().min(cap)],
        ..*stream
    };
    let full = stream.initiator.len() == cap || stream.responder.len() == cap;
    let news = match recogniser.told {
        None => first(&mut recogniser.stream, &stream),
        Some(Protocol::Tls) if recogniser.stream.tor => after_hello(&stream),
        Some(Protocol::Tls | Protocol::Http) => nameless(&stream),
        Some(_) => News::Final(None),
    };
    match news {
        News::Final(recognition) => {
            recogniser.finish();
            recognition
        }
        News::Told(recognition) => Some(recognition),
        News::Nothing => {
            let limit = if recogniser.told.is_none() { GIVE_UP } else { NAMELESS };
            if full || recogniser.looks >= limit {
                recogniser.finish();
            }
            None
        }
    }
}

/// A connection of which nothing is known.
fn first(state: &mut State, stream: &Stream<'_>) -> News {
    let mut more = false;
    let formats: &[fn(&Stream<'_>) -> Answer] = if stream.midstream {
        &[
            tls_head,
            http_head,
            ssh_head,
            bittorrent_head,
            openvpn_head,
            sip_head,
            dns_head,
            stun_head,
            rtp_head,
            tls_records,
        ]
    } else {
        &[
            tls_head,
            http_head,
            ssh_head,
            socks_head,
            bittorrent_head,
            openvpn_head,
            sip_head,
            dns_head,
            stun_head,
            rtp_head,
            mtproto_head,
        ]
    };
    for format in formats {
        match format(stream) {
            Ok(Some(recognition)) => {
                let is_tls = recognition.protocol == Protocol::Tls;
                state.tor = is_tls && tor::is_tor_name(&recognition.name);
                let may_name = matches!(recognition.protocol, Protocol::Tls | Protocol::Http);
                let nameless = recognition.name.is_empty() && recognition.fingerprint.is_empty();
                return if state.tor || (may_name && nameless && !stream.midstream) {
                    News::Told(recognition)
                } else {
                    News::done(recognition)
                };
            }
            Ok(None) => {}
            Err(More) => more = true,
        }
    }
    if !stream.midstream {
        match random(state, stream) {
            Ok(Some(recognition)) => return News::done(recognition),
            Ok(None) => {}
            Err(More) => more = true,
        }
    }
    let both = !stream.initiator.is_empty() && !stream.responder.is_empty();
    if !more && both { News::Final(None) } else { News::Nothing }
}

/// Told without a name: the rest of a hello or head may bring it, until the other side answers.
fn nameless(stream: &Stream<'_>) -> News {
    for format in [tls_head, http_head] {
        if let Ok(Some(recognition)) = format(stream)
            && (!recognition.name.is_empty() || !recognition.fingerprint.is_empty())
        {
            return News::done(recognition);
        }
    }
    if stream.initiator.is_empty() || stream.responder.is_empty() { News::Nothing } else { News::Final(None) }
}

/// Turns a parse into an answer: what is short may still come true.
fn answer(parsed: Result<Recognition, Malformed>) -> Answer {
    match parsed {
        Ok(recognition) => Ok(Some(recognition)),
        Err(malformed) if super::is_short(&malformed) => Err(More),
        Err(_) => Ok(None),
    }
}

/// Asks both sides' bytes, the opener's first.
fn either(stream: &Stream<'_>, ask: impl Fn(&[u8]) -> Answer) -> Answer {
    match ask(stream.initiator) {
        Ok(None) => ask(stream.responder),
        Err(More) => match ask(stream.responder) {
            Ok(Some(recognition)) => Ok(Some(recognition)),
            _ => Err(More),
        },
        told => told,
    }
}

/// TLS by a client's hello, or by a server's flight when the hello is not whole or was not seen.
fn tls_head(stream: &Stream<'_>) -> Answer {
    let client = either(stream, client_hello);
    if matches!(&client, Ok(Some(told)) if told.certainty == Certainty::Parsed) {
        return client;
    }
    match (client, either(stream, server_flight)) {
        (_, Ok(Some(told))) | (Ok(Some(told)), _) => Ok(Some(told)),
        (Err(More), _) | (_, Err(More)) => Err(More),
        _ => Ok(None),
    }
}

fn client_hello(bytes: &[u8]) -> Answer {
    if bytes.is_empty() {
        return Err(More);
    }
    match tls::first_flight(bytes) {
        tls::FirstFlight::Hello(flight) => Ok(tls::ClientHello::parse(&flight.message).ok().map(|hello| {
            let mut told = plain(Protocol::Tls, version_name(hello.highest_version()), Certainty::Parsed);
            told.name = hello.normalised_name().unwrap_or_default();
            told.fingerprint = tls::ja4(&hello, tls::Ja4Transport::Tcp);
            told
        })),
        tls::FirstFlight::SslV2(version) => {
            Ok(Some(plain(Protocol::Tls, version_name(version), Certainty::Pattern)))
        }
        // The head of a hello: record, message type, a length, a version.
        tls::FirstFlight::NeedMore if matches!(bytes, [22, 3, 0..=4, _, _, 1, 0, _, _, 3, 0..=4, ..]) => {
            Ok(Some(plain(Protocol::Tls, "", Certainty::Pattern)))
        }
        // Only what has a record header, if there are so many bytes, is waited for.
        tls::FirstFlight::NeedMore if bytes.len() < 3 || tls::looks_like_tls(bytes) => Err(More),
        _ => Ok(None),
    }
}

/// The name of a version number.
pub(super) const fn version_name(version: u16) -> &'static str {
    match version {
        0x0002 => "ssl2",
        0x0300 => "ssl3",
        0x0301 => "1.0",
        0x0302 => "1.1",
        0x0303 => "1.2",
        0x0304 => "1.3",
        _ => "",
    }
}

/// A server's hello, or an alert that is all of a refusal.
fn server_flight(bytes: &[u8]) -> Answer {
    if !tls::looks_like_tls(bytes) {
        return if bytes.len() < 3 { Err(More) } else { Ok(None) };
    }
    let joined = tls::handshake_bytes(bytes);
    match tls::messages(&joined).next() {
        Some(message) if message.is_complete() => {
            let hello = tls::ServerHello::parse(message.bytes);
            Ok(hello.ok().map(|hello| plain(Protocol::Tls, version_name(hello.version()), Certainty::Parsed)))
        }
        Some(_) => Err(More),
        None => {
            // RFC 8446 §6: two bytes, the level 1 or 2.
            let alert = matches!(bytes, [21, 3, 0..=4, 0, 2, 1 | 2, ..]);
            Ok(alert.then(|| plain(Protocol::Tls, "", Certainty::Pattern)))
        }
    }
}

/// In the middle of a connection: whole records that follow each other, on one side or on both. A side that
/// begins otherwise speaks against it, though it may be in the middle of a record: nothing is invented.
fn tls_records(stream: &Stream<'_>) -> Answer {
    let head = |bytes: &[u8]| {
        bytes.is_empty() || matches!(bytes, [20..=23, 3, 0..=4, ..] | [20..=23] | [20..=23, 3])
    };
    if !head(stream.initiator) || !head(stream.responder) {
        return Ok(None);
    }
    let whole = |bytes: &[u8]| {
        tls::records(bytes)
            .take(4)
            .take_while(|record| {
                record.as_ref().is_ok_and(|record| record.is_complete() && is_plausible(record))
            })
            .count()
    };
    let ends = |bytes: &[u8]| {
        let last = tls::records(bytes).take_while(|record| record.as_ref().is_ok_and(is_plausible)).last();
        last.is_some_and(|record| {
            record.is_ok_and(|record| record.is_complete() && record.end() == bytes.len())
        })
    };
    let (client, server) = (whole(stream.initiator), whole(stream.responder));
    // One record is enough when a segment ends with it: type, version and length all fit then.
    if client + server >= 2 || ends(stream.initiator) || ends(stream.responder) {
        return Ok(Some(plain(Protocol::Tls, "", Certainty::Pattern)));
    }
    Err(More)
}

/// Records of a running connection: versions 3.0–3.3, no empty data, alerts and changes as long as they are.
fn is_plausible(record: &tls::Record<'_>) -> bool {
    let fits = match record.kind {
        20 => record.declared == 1,
        21 => record.declared == 2 || record.declared >= 16,
        22 | 23 => record.declared > 0,
        _ => false,
    };
    fits && (0x0300..=0x0303).contains(&record.version)
}

/// After a hello with a name as tor's: the relay's certificate, in the clear up to TLS 1.2, decides.
fn after_hello(stream: &Stream<'_>) -> News {
    let joined = tls::handshake_bytes(stream.responder);
    let mut whole = false;
    for message in tls::messages(&joined).filter(tls::Message::is_complete) {
        let Ok(mut list) = tls::Certificates::parse(message.bytes) else { continue };
        whole = true;
        let names = list.next().and_then(named::certificate);
        if let Some((subject, issuer)) = names
            && tor::is_tor_certificate(&subject, &issuer)
        {
            return told_tor(stream, Certainty::Parsed);
        }
    }
    let hello = tls::messages(&joined).next().filter(tls::Message::is_complete);
    let version =
        hello.and_then(|message| tls::ServerHello::parse(message.bytes).ok()).map(|hello| hello.version());
    match version {
        // RFC 8446 §4.4.2: the certificate is encrypted; the name alone speaks.
        Some(0x0304) => told_tor(stream, Certainty::Heuristic),
        _ if whole => News::Final(None),
        _ => News::Nothing,
    }
}

fn told_tor(stream: &Stream<'_>, certainty: Certainty) -> News {
    match tls_head(stream) {
        Ok(Some(told)) => News::done(Recognition { protocol: Protocol::Tor, certainty, ..told }),
        _ => News::Final(None),
    }
}

fn http_head(stream: &Stream<'_>) -> Answer {
    either(stream, named::http)
}

fn ssh_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        answer(ssh::Banner::parse(bytes).map(|banner| {
            let mut told = plain(Protocol::Ssh, banner.version, Certainty::Parsed);
            banner.software.clone_into(&mut told.name);
            told
        }))
    })
}

/// SOCKS: the greeting or request, and an answer that fits it.
fn socks_head(stream: &Stream<'_>) -> Answer {
    let reply = stream.responder;
    match stream.initiator.first() {
        None => Err(More),
        Some(4) => match socks::Request::parse_v4(stream.initiator) {
            Ok(_) if reply.len() < 8 => {
                if matches!(reply, [] | [0] | [0, 90..=93, ..]) {
                    Err(More)
                } else {
                    Ok(None)
                }
            }
            Ok(request) => Ok(socks::is_v4_reply(reply).then(|| socks_told(&request))),
            Err(malformed) => answer(Err(malformed)),
        },
        Some(5) => socks_5(stream.initiator, reply),
        Some(_) => Ok(None),
    }
}

fn socks_5(sent: &[u8], reply: &[u8]) -> Answer {
    let methods = match socks::greeting(sent) {
        Ok(methods) => methods,
        Err(malformed) => return answer(Err(malformed)),
    };
    let rest = &sent[2 + methods.len()..];
    let &[version, method, ..] = reply else {
        return if matches!(reply, [] | [5]) { Err(More) } else { Ok(None) };
    };
    let fits = version == 5 && (method == 0xff || methods.contains(&method));
    if !fits {
        return Ok(None);
    }
    let greeted = || plain(Protocol::Socks, "5", Certainty::Pattern);
    // Without a request yet the exchange of four bytes and more is a pattern; with one it is parsed.
    Ok(Some(match socks::Request::parse_v5(rest) {
        Ok(request) => socks_told(&request),
        Err(malformed) if rest.is_empty() && method != 0xff && super::is_short(&malformed) => {
            return Err(More);
        }
        Err(_) => greeted(),
    }))
}

fn socks_told(request: &socks::Request<'_>) -> Recognition {
    let version = match (request.version, &request.target) {
        (5, _) => "5",
        (_, socks::Target::Name(_)) => "4a",
        _ => "4",
    };
    let mut told = plain(Protocol::Socks, version, Certainty::Parsed);
    told.name = match &request.target {
        socks::Target::Name(name) => (*name).to_owned(),
        socks::Target::Address(ip) => ip.to_string(),
    };
    told
}

fn bittorrent_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        answer(
            bittorrent::Handshake::parse(bytes)
                .map(|_| plain(Protocol::BitTorrent, "peer", Certainty::Parsed)),
        )
    })
}

/// OpenVPN over TCP: a framed hard reset.
fn openvpn_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        let &[high, low, ref rest @ ..] = bytes else { return Err(More) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // The resets' sizes; tls-crypt-v2 adds its wrapped key.
        if !(14..=1400).contains(&length)
            || rest.first().is_some_and(|byte| !matches!(byte >> 3, 1 | 2 | 7 | 8 | 10))
        {
            return Ok(None);
        }
        match openvpn::frames(bytes).next() {
            None => Err(More),
            Some(frame) => Ok(datagram::openvpn_of(frame)),
        }
    })
}

fn sip_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        let text = bytes.iter().take(16).all(|byte| matches!(byte, 0x20..=0x7e | b'\r' | b'\n'));
        match datagram::sip_of(bytes) {
            Some(told) => Ok(Some(told)),
            None if text && bytes.len() < 1024 => Err(More),
            None => Ok(None),
        }
    })
}

/// DNS over TCP: a length, then a message (RFC 1035 §4.2.2).
fn dns_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        let &[high, low, ref rest @ ..] = bytes else { return Err(More) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // On other ports than 53 and 853 a length and a header of twelve bytes are too little to wait for.
        if length < 17 || (rest.len() >= 12 && !may_be_dns(rest)) {
            return Ok(None);
        }
        match rest.get(..length) {
            Some(message) => Ok(named::dns(message, stream.ports)),
            None if stream.ports.has(53) => Err(More),
            None => Ok(None),
        }
    })
}

/// A header of RFC 1035 §4.1.1 as a query or response to it has it: one question, no reserved bit.
fn may_be_dns(header: &[u8]) -> bool {
    header[3] & 0x40 == 0 && header[4] == 0 && header[5] <= 1 && header[6] <= 1
}

/// STUN over TCP, with its cookie; also behind the length of RFC 4571.
fn stun_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        let framed = |at: usize| bytes.get(at + 4..at + 8) == Some(&stun::COOKIE.to_be_bytes());
        let at = match (framed(0), framed(2)) {
            (true, _) => 0,
            (_, true) => 2,
            _ if bytes.len() >= 10 => return Ok(None),
            _ => return Err(More),
        };
        answer(stun::Message::parse(&bytes[at..]).map(|message| {
            plain(Protocol::Stun, if message.is_turn() { "turn" } else { "stun" }, Certainty::Parsed)
        }))
    })
}

/// MTProto: bare, or with the key to its obfuscation.
fn mtproto_head(stream: &Stream<'_>) -> Answer {
    let bytes = stream.initiator;
    if let Ok(framing) = mtproto::plain(bytes) {
        return Ok(Some(plain(Protocol::MtProto, framing.as_str(), Certainty::Parsed)));
    }
    if bytes.len() < mtproto::OPENING {
        return if bytes.is_empty() || proxies::exemption(bytes).is_none() { Err(More) } else { Ok(None) };
    }
    if let Some(framing) = mtproto::keyed(bytes, stream.responder) {
        return Ok(Some(plain(Protocol::MtProto, framing.as_str(), Certainty::Pattern)));
    }
    // Only what nobody exempts as text or structure is worth a block of AES.
    if proxies::exemption(&bytes[..mtproto::OPENING]).is_some() {
        return Ok(None);
    }
    let found = mtproto::Obfuscated::parse(bytes).ok();
    Ok(found.map(|opening| {
        plain(Protocol::MtProto, &format!("obfuscated {}", opening.framing.as_str()), Certainty::Parsed)
    }))
}

/// Least size of the opener's first burst in a protocol that hides what it carries: a salt or key, and a
/// request or hello inside. Messengers that open with a bare key are shorter.
const FIRST_BURST: usize = 100;

/// Bytes of a side that are judged as noise.
const MOST: usize = 1500;

/// Nobody's: both sides uniformly random from the first byte on, the opener with a burst that can carry a
/// hidden request, and without a length in front.
fn random(state: &mut State, stream: &Stream<'_>) -> Answer {
    let (sent, reply) = (stream.initiator, stream.responder);
    if sent.is_empty() {
        return if reply.is_empty() { Err(More) } else { Ok(None) };
    }
    if state.burst == 0 && !reply.is_empty() {
        state.burst = sent.len() as u16;
        state.framed = has_length(sent);
    }
    let looks = |bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(MOST)];
        proxies::exemption(bytes).is_none() && proxies::is_uniform(bytes)
    };
    if state.burst == 0 {
        return Err(More);
    }
    // What a box judges is the first burst, not all that follows.
    if usize::from(state.burst) < FIRST_BURST
        || state.framed
        || !looks(&sent[..sent.len().min(state.burst.into())])
    {
        return Ok(None);
    }
    match reply.len() {
        0..48 => Err(More),
        _ if looks(reply) && !has_length(reply) => {
            Ok(Some(plain(Protocol::FullyEncrypted, "", Certainty::Heuristic)))
        }
        _ => Ok(None),
    }
}

/// Whether one of the first bytes' pairs is the burst's length, with or without what precedes it.
fn has_length(bytes: &[u8]) -> bool {
    bytes.windows(2).take(6).enumerate().any(|(at, pair)| {
        [u16::from_be_bytes([pair[0], pair[1]]), u16::from_le_bytes([pair[0], pair[1]])]
            .iter()
            .any(|&length| (bytes.len() - at - 2..=bytes.len()).contains(&usize::from(length)))
    })
}

/// RTP over TCP behind the length of RFC 4571: a run of packets of one source.
fn rtp_head(stream: &Stream<'_>) -> Answer {
    either(stream, |bytes| {
        if bytes.len() < 4 || bytes[2] >> 6 != 2 {
            return if bytes.len() < 4 { Err(More) } else { Ok(None) };
        }
        let mut track = rtp::Track::default();
        for frame in openvpn::frames(bytes) {
            match track.take(frame) {
                0 => return Ok(None),
                3.. => return Ok(Some(plain(Protocol::Rtp, "", Certainty::Pattern))),
                _ => {}
            }
        }
        Err(More)
    })
}
