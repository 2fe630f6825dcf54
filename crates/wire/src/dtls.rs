//! DTLS 1.0 to 1.3: records, fragments, hellos.
//!
//! The hello inside is TLS's with a cookie, so [`crate::tls::ClientHello`] and JA4 serve here too. What is
//! new is that a hello may be fragmented by message offset and that records are told from STUN and RTP on
//! the same port by their first byte (RFC 7983).

mod emit;
pub mod preset;
#[cfg(test)]
mod tests;

pub use emit::{fragments_of, hello_verify, record, server_hello};

use crate::cursor::Cursor;
use crate::malformed::Malformed;
use crate::tls::code::{content, ext, handshake};
use crate::tls::{ClientHello, MAX_HELLO};

/// Pieces of one message held before the assembler gives up on more.
const MAX_FRAGMENTS: usize = 128;

/// One record with the plain header (RFC 6347 §4.1), or one of DTLS 1.3's encrypted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// content type; see [`content`]. For a DTLS 1.3 ciphertext its first byte, 0x20 to 0x3f
    pub kind: u8,
    /// version in the header; DTLS 1.3's ciphertext has none and gives 0xfefc
    pub version: u16,
    /// epoch; of a ciphertext its two low bits
    pub epoch: u16,
    /// sequence number; of a ciphertext 0, since it is masked
    pub sequence: u64,
    /// body, as far as it is there
    pub body: &'a [u8],
    /// all of it is there
    pub complete: bool,
}

/// The records of a datagram; stops after the first error.
pub const fn records(datagram: &[u8]) -> Records<'_> {
    Records { datagram, at: 0 }
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    fn step(&mut self) -> Result<Record<'a>, Malformed> {
        let mut cursor = Cursor::at_base("dtls", &self.datagram[self.at..], self.at);
        let kind = cursor.u8("record type")?;
        if kind & 0xe0 == 0x20 {
            return self.unified(kind, cursor);
        }
        if !(content::CHANGE_CIPHER_SPEC..=content::ACK).contains(&kind) {
            return Err(Malformed::value("dtls", self.at, "record type 20 to 26", u64::from(kind)));
        }
        let version = cursor.u16("record version")?;
        // 0x0100 is what OpenSSL's DTLS before the RFC sent, and Cisco's AnyConnect sends still.
        if !matches!(version, 0xfeff | 0xfefd | 0xfefc | 0x0100) {
            let expected = "record version of DTLS";
            return Err(Malformed::value("dtls", self.at + 1, expected, u64::from(version)));
        }
        let epoch = cursor.u16("epoch")?;
        let sequence = cursor.number(6, "sequence number")?;
        let declared = usize::from(cursor.u16("record length")?);
        let body = cursor.take_up_to(declared);
        self.at = cursor.offset();
        Ok(Record { kind, version, epoch, sequence, body, complete: body.len() == declared })
    }

    /// RFC 9147 §4: 001, connection id present, 16-bit sequence, length present, epoch bits. A connection id
    /// cannot be told from outside, so such a record takes the rest.
    fn unified(&mut self, kind: u8, mut cursor: Cursor<'a>) -> Result<Record<'a>, Malformed> {
        let id = kind & 0x10 != 0;
        let sequence = if kind & 0x08 != 0 { 2 } else { 1 };
        let (body, complete) = if id || kind & 0x04 == 0 {
            (cursor.take_up_to(usize::MAX), true)
        } else {
            cursor.take(sequence, "sequence number")?;
            let declared = usize::from(cursor.u16("record length")?);
            let body = cursor.take_up_to(declared);
            (body, body.len() == declared)
        };
        self.at = cursor.offset();
        Ok(Record { kind, version: 0xfefc, epoch: u16::from(kind & 3), sequence: 0, body, complete })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.datagram.len() {
            return None;
        }
        let step = self.step();
        if step.as_ref().map_or(true, |record| !record.complete) {
            self.at = self.datagram.len();
        }
        Some(step)
    }
}

/// Whether a datagram begins with a whole plain DTLS header and a length that fits it. Touches 13 bytes.
pub fn looks_like_dtls(datagram: &[u8]) -> bool {
    match datagram {
        &[20..=26, major, minor, _, _, _, _, _, _, _, _, high, low, ref rest @ ..] => {
            let known = matches!((major, minor), (0xfe, 0xff | 0xfd | 0xfc) | (1, 0));
            known && usize::from(u16::from_be_bytes([high, low])) <= rest.len()
        }
        _ => false,
    }
}

/// A piece of a handshake message (RFC 6347 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// message type; see [`handshake`]
    pub kind: u8,
    /// length of the whole message's body
    pub declared: usize,
    /// message number
    pub sequence: u16,
    /// where this piece begins in the body
    pub offset: usize,
    /// the piece
    pub body: &'a [u8],
}

impl Fragment<'_> {
    /// It is the whole message.
    pub const fn is_whole(&self) -> bool {
        self.offset == 0 && self.body.len() == self.declared
    }
}

/// The fragments in a handshake record's body; stops after the first error.
pub fn fragments(body: &[u8]) -> impl Iterator<Item = Result<Fragment<'_>, Malformed>> {
    let mut cursor = Cursor::new("dtls", body);
    let mut failed = false;
    core::iter::from_fn(move || {
        if failed || cursor.left() == 0 {
            return None;
        }
        let step = fragment(&mut cursor);
        failed = step.is_err();
        Some(step)
    })
}

fn fragment<'a>(cursor: &mut Cursor<'a>) -> Result<Fragment<'a>, Malformed> {
    let kind = cursor.u8("handshake header")?;
    let declared = cursor.number(3, "handshake header")? as usize;
    let sequence = cursor.u16("handshake header")?;
    let offset = cursor.number(3, "handshake header")? as usize;
    let len = cursor.number(3, "handshake header")? as usize;
    if offset + len > declared {
        let at = cursor.offset() - 3;
        return Err(Malformed::value("dtls", at, "fragment inside its message", (offset + len) as u64));
    }
    let body = cursor.take(len, "fragment")?;
    Ok(Fragment { kind, declared, sequence, offset, body })
}

/// Reads a whole ClientHello's body.
pub fn client_hello(body: &[u8]) -> Result<ClientHello<'_>, Malformed> {
    let hello = ClientHello::parse_dtls(body);
    hello.cut.map_or(Ok(hello), Err)
}

/// Reads as much of a ClientHello's body as there is; `cut` says where it ended.
pub fn client_hello_prefix(body: &[u8]) -> ClientHello<'_> {
    ClientHello::parse_dtls(body)
}

/// SRTP protection profiles offered (RFC 5764 §4.1.1).
pub fn srtp_profiles<'a>(hello: &ClientHello<'a>) -> impl Iterator<Item = u16> + use<'a> {
    let body = hello.extension(ext::USE_SRTP).map_or(&[][..], |extension| extension.body);
    let list = Cursor::new("dtls", body).vector(2, "profiles").unwrap_or_default();
    list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// The cookie of a HelloVerifyRequest's body (RFC 6347 §4.2.1).
pub fn verify_cookie(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new("dtls", body);
    cursor.u16("server version")?;
    cursor.vector(1, "cookie")
}

/// What a datagram added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// the message is whole; see [`Assembler::body`]
    Whole,
    /// it is DTLS; the message is not whole, or has not begun
    NeedMore,
    /// not DTLS, or broken
    NotDtls(Malformed),
}

/// Joins the fragments of the first message of one type, over records and datagrams, in any order.
///
/// Bounded by [`MAX_HELLO`]. A piece of a later message of the same type starts it anew: after a
/// HelloVerifyRequest the client sends its hello again, with the cookie.
#[derive(Clone, Debug)]
pub struct Assembler {
    kind: u8,
    sequence: Option<u16>,
    declared: usize,
    /// pieces by offset; they may overlap, and then the one that begins first stays
    pieces: Vec<(usize, Vec<u8>)>,
    body: Vec<u8>,
    version: u16,
}

impl Assembler {
    /// For messages of type `kind`.
    pub const fn new(kind: u8) -> Self {
        Self { kind, sequence: None, declared: 0, pieces: Vec::new(), body: Vec::new(), version: 0 }
    }

    /// For ClientHellos.
    pub const fn client_hello() -> Self {
        Self::new(handshake::CLIENT_HELLO)
    }

    /// Takes a datagram.
    pub fn datagram(&mut self, datagram: &[u8]) -> Step {
        let mut first = true;
        for record in records(datagram) {
            match record {
                Err(malformed) if first => return Step::NotDtls(malformed),
                Err(_) => break,
                Ok(record) if first && !record.complete => {
                    let left = record.body.len();
                    return Step::NotDtls(Malformed::short(
                        "dtls",
                        datagram.len() - left,
                        "record body",
                        left,
                    ));
                }
                Ok(record) if record.kind == content::HANDSHAKE && record.epoch == 0 => {
                    for fragment in fragments(record.body) {
                        match fragment {
                            Ok(fragment) if fragment.kind == self.kind => self.add(&fragment, record.version),
                            Ok(_) => {}
                            Err(malformed) if first => return Step::NotDtls(malformed),
                            Err(_) => break,
                        }
                    }
                }
                Ok(_) => {}
            }
            first = false;
        }
        if self.body().is_some() { Step::Whole } else { Step::NeedMore }
    }

    fn add(&mut self, fragment: &Fragment<'_>, version: u16) {
        if fragment.declared > MAX_HELLO {
            return;
        }
        if self.sequence != Some(fragment.sequence) || self.declared != fragment.declared {
            if self.sequence.is_some_and(|sequence| fragment.sequence < sequence) {
                return;
            }
            *self = Self::new(self.kind);
            (self.sequence, self.declared) = (Some(fragment.sequence), fragment.declared);
        }
        self.version = version;
        let known = self.pieces.iter().any(|(at, piece)| {
            *at <= fragment.offset && at + piece.len() >= fragment.offset + fragment.body.len()
        });
        let full = self.pieces.len() >= MAX_FRAGMENTS || self.held_bytes() > 2 * MAX_HELLO;
        if known || full || self.body.len() == self.declared {
            return;
        }
        let place = self.pieces.partition_point(|(at, _)| *at <= fragment.offset);
        self.pieces.insert(place, (fragment.offset, fragment.body.to_vec()));
        self.join();
    }

    /// Appends the pieces that touch what was joined.
    fn join(&mut self) {
        for (at, piece) in &self.pieces {
            let have = self.body.len();
            if *at > have {
                break;
            }
            if let Some(tail) = piece.get(have - at..) {
                self.body.extend_from_slice(tail);
            }
        }
    }

    /// The message's body, when it is whole.
    pub fn body(&self) -> Option<&[u8]> {
        self.sequence.filter(|_| self.body.len() == self.declared).map(|_| &*self.body)
    }

    /// The record version of its last piece.
    pub const fn record_version(&self) -> u16 {
        self.version
    }

    /// Bytes held, for a tracker that counts its memory; each piece with what a queue and an allocator need.
    pub fn held_bytes(&self) -> usize {
        let each = size_of::<(usize, Vec<u8>)>() + 16;
        self.body.len() + self.pieces.iter().map(|(_, piece)| piece.len() + each).sum::<usize>()
    }
}
