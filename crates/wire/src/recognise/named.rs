//! Messages that name their server: DNS, HTTP, DTLS, as recognitions.

use super::Ports;
use crate::protocol::Recognition;

/// A DNS message that fills a datagram.
pub(super) fn dns(payload: &[u8], ports: Ports) -> Option<Recognition> {
    let _ = (payload, ports);
    None
}

/// A DTLS record; with name and fingerprint when it holds a client's hello.
pub(super) fn dtls(payload: &[u8]) -> Option<Recognition> {
    let _ = payload;
    None
}

/// The head of an HTTP/1 request or response; `Err` when more bytes may decide.
pub(super) fn http(stream: &[u8]) -> Result<Option<Recognition>, super::More> {
    let _ = stream;
    Ok(None)
}

/// The common names of a certificate's subject and issuer.
pub(super) fn certificate(der: &[u8]) -> Option<(String, String)> {
    let _ = der;
    None
}
