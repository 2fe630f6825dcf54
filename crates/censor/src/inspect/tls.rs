//! The ClientHello in a stream or in a segment, under the switches.

use std::borrow::Cow;

use okno_wire::tls::{ClientHello, code, records};

use super::Tell;
use crate::middlebox::Direction;
use crate::switches::{PartialHello, Records, Switches};
use crate::technique::{Event, Hello};

/// What a look at the start of a stream found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    NeedMore,
    Hello,
    Not,
}

/// Whether bytes can begin a TLS stream.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    okno_wire::tls::looks_like_tls(bytes)
}

/// Looks for a ClientHello at the start of `stream`, which came in `segments` segments and stands at
/// `offset` of its way, and tells it.
pub(super) fn read(
    stream: &[u8],
    segments: u32,
    offset: u32,
    switches: &Switches,
    direction: Direction,
    tell: Tell<'_>,
) -> Found {
    let joined = match join(stream, segments, switches) {
        Ok(joined) => joined,
        Err(found) => return found,
    };
    let Ok(hello) = ClientHello::parse_prefix(&joined.message) else { return Found::Not };
    let blind = switches.tls.blind_from_padding;
    if blind.is_some_and(|least| hello.padding().is_some_and(|len| len >= least as usize)) {
        return Found::Not;
    }
    if switches.tls.strict && repeats_an_extension(&hello) {
        return Found::Not;
    }
    let name = match hello.server_name() {
        Some(name) => switches.normalise(name),
        None if joined.whole => String::new(),
        None if switches.tls.partial == PartialHello::NameCut => switches.normalise(cut_name(&hello)),
        None => return Found::NeedMore,
    };
    if !joined.whole && name.is_empty() {
        return Found::NeedMore;
    }
    tell(&Event::ClientHello(&Hello {
        name: &name,
        message: &joined.message,
        ech: hello.ech().is_some(),
        esni: hello.esni().is_some(),
        direction,
        segments,
        records: joined.records,
        offset,
    }));
    Found::Hello
}

fn repeats_an_extension(hello: &ClientHello<'_>) -> bool {
    let mut kinds: Vec<u16> = hello.extensions().map(|extension| extension.kind).collect();
    kinds.sort_unstable();
    kinds.windows(2).any(|pair| pair[0] == pair[1])
}

/// A ClientHello out of its records, whole or as far as the switches let it be read.
struct Joined<'a> {
    message: Cow<'a, [u8]>,
    records: u32,
    whole: bool,
}

fn join<'a>(stream: &'a [u8], segments: u32, switches: &Switches) -> Result<Joined<'a>, Found> {
    let mut message: Cow<'a, [u8]> = Cow::Borrowed(&[]);
    let mut count = 0;
    for record in records(stream) {
        let Ok(record) = record else { break };
        if record.kind != code::content::HANDSHAKE {
            if count == 0 && switches.tls.skip_other_records && looks_like(stream) {
                continue;
            }
            return Err(Found::Not);
        }
        count += 1;
        if count == 1 {
            message = Cow::Borrowed(record.body);
        } else {
            message.to_mut().extend_from_slice(record.body);
        }
        if message.first().is_some_and(|kind| *kind != code::handshake::CLIENT_HELLO) {
            return Err(Found::Not);
        }
        if count == 1 && record.is_complete() && switches.tls.whole_handshake_header && message.len() < 4 {
            return Err(Found::Not);
        }
        if let Some(whole) = take_whole(&mut message) {
            return if whole { Ok(Joined { message, records: count, whole }) } else { Err(Found::Not) };
        }
        let may_join = match switches.tls.records {
            Records::First => false,
            Records::SameSegment => segments == 1,
            Records::Join => true,
        };
        if record.is_complete() && !may_join {
            break;
        }
    }
    if count == 0 {
        return Err(if stream.len() < 5 && maybe(stream) { Found::NeedMore } else { Found::Not });
    }
    if switches.tls.partial != PartialHello::Never && !message.is_empty() {
        return Ok(Joined { message, records: count, whole: false });
    }
    Err(Found::NeedMore)
}

/// Cuts the message to its own length; `Some(false)` when that length cannot be.
fn take_whole(message: &mut Cow<'_, [u8]>) -> Option<bool> {
    let &[_, a, b, c, ..] = &**message else { return None };
    let len = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
    if len > okno_wire::tls::MAX_HELLO {
        return Some(false);
    }
    if message.len() < len {
        return None;
    }
    match message {
        Cow::Borrowed(bytes) => *bytes = &bytes[..len],
        Cow::Owned(bytes) => bytes.truncate(len),
    }
    Some(true)
}

/// Whether fewer than five bytes may become a record header.
fn maybe(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [kind] => (code::content::CHANGE_CIPHER_SPEC..=code::content::HANDSHAKE).contains(kind),
        [kind, major, ..] => {
            (code::content::CHANGE_CIPHER_SPEC..=code::content::HANDSHAKE).contains(kind) && *major == 3
        }
    }
}

/// What there is of a server name that is cut by the end of the message.
fn cut_name<'a>(hello: &ClientHello<'a>) -> &'a str {
    let body = hello.extension(code::ext::SERVER_NAME).map_or(&[][..], |extension| extension.body);
    core::str::from_utf8(body.get(5..).unwrap_or(&[])).unwrap_or("")
}
