//! Records, fragments and messages out.

use crate::tls::ServerHelloRepr;
use crate::tls::code::{content, handshake, version};

/// One plain record; a body beyond 65,535 bytes is cut.
pub fn record(kind: u8, version: u16, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(usize::from(u16::MAX))];
    let mut out = vec![kind];
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes()[2..]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A handshake message in records of epoch 0, one for each fragment of at most `limit` bytes, numbered from
/// `first_record`.
pub fn fragments_of(
    kind: u8,
    version: u16,
    sequence: u16,
    first_record: u64,
    body: &[u8],
    limit: usize,
) -> Vec<Vec<u8>> {
    let number24 = |number: usize| (number as u32).to_be_bytes();
    let starts = (0..body.len().max(1)).step_by(limit.max(1));
    let pieces =
        starts.map(|start| (start, &body[start..body.len().min(start.saturating_add(limit.max(1)))]));
    let records = pieces.enumerate().map(|(index, (start, piece))| {
        let mut message = vec![kind];
        message.extend_from_slice(&number24(body.len())[1..]);
        message.extend_from_slice(&sequence.to_be_bytes());
        message.extend_from_slice(&number24(start)[1..]);
        message.extend_from_slice(&number24(piece.len())[1..]);
        message.extend_from_slice(piece);
        record(content::HANDSHAKE, version, 0, first_record + index as u64, &message)
    });
    records.collect()
}

/// A HelloVerifyRequest in one datagram (RFC 6347 §4.2.1).
pub fn hello_verify(cookie: &[u8]) -> Vec<u8> {
    let cookie = &cookie[..cookie.len().min(255)];
    let body = [&version::DTLS10.to_be_bytes()[..], &[cookie.len() as u8], cookie].concat();
    fragments_of(handshake::HELLO_VERIFY_REQUEST, version::DTLS10, 0, 0, &body, body.len()).concat()
}

/// A ServerHello in one datagram.
pub fn server_hello(repr: &ServerHelloRepr, sequence: u16) -> Vec<u8> {
    let body = repr.emit_body();
    fragments_of(handshake::SERVER_HELLO, version::DTLS12, sequence, u64::from(sequence), &body, body.len())
        .concat()
}
