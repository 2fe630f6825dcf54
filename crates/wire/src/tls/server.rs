//! What the server says in the clear: ServerHello, the TLS 1.2 certificate chain, alerts.

use super::code::{content, ext, handshake, version};
use super::emit::{message, vector};
use super::hello::{Extension, Extensions};
use crate::cursor::Cursor;
use crate::malformed::Malformed;

/// RFC 8446 §4.1.3: a ServerHello with this random is a HelloRetryRequest.
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A ServerHello (RFC 8446 §4.1.3).
#[derive(Clone, Copy, Debug)]
pub struct ServerHello<'a> {
    /// legacy version
    pub legacy_version: u16,
    /// random
    pub random: &'a [u8],
    /// session id
    pub session_id: &'a [u8],
    /// the cipher suite chosen
    pub cipher: u16,
    /// the compression chosen
    pub compression: u8,
    extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// Reads a whole message, which begins with its four-byte header.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new("tls", message);
        let kind = cursor.u8("handshake header")?;
        if kind != handshake::SERVER_HELLO {
            return Err(Malformed::value("tls", 0, "server hello", u64::from(kind)));
        }
        let body = cursor.vector(3, "server hello")?;
        Self::read(Cursor::at_base("tls", body, 4))
    }

    /// Reads the body of a DTLS message: the same form.
    pub fn parse_body(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(Cursor::new("dtls", body))
    }

    fn read(mut cursor: Cursor<'a>) -> Result<Self, Malformed> {
        let legacy_version = cursor.u16("server version")?;
        let random = cursor.take(32, "random of 32 bytes")?;
        let session_id = cursor.vector(1, "session id")?;
        let cipher = cursor.u16("cipher suite")?;
        let compression = cursor.u8("compression method")?;
        let mut extensions = Extensions::new(&[], 0);
        if cursor.left() > 0 {
            let block = cursor.vector(2, "extensions")?;
            extensions = Extensions::new(block, cursor.offset() - block.len());
        }
        Ok(Self { legacy_version, random, session_id, cipher, compression, extensions })
    }

    /// Extensions in order.
    pub const fn extensions(&self) -> Extensions<'a> {
        self.extensions
    }

    /// The first extension of that number.
    pub fn extension(&self, kind: u16) -> Option<Extension<'a>> {
        self.extensions.into_iter().find(|extension| extension.kind == kind)
    }

    /// The version chosen: supported_versions before the legacy field.
    pub fn version(&self) -> u16 {
        match self.extension(ext::SUPPORTED_VERSIONS).map(|extension| extension.body) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => self.legacy_version,
        }
    }

    /// The protocol chosen by ALPN; in TLS 1.3 it is encrypted and not here.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        let body = self.extension(ext::ALPN)?.body;
        let mut list = Cursor::new("tls", Cursor::new("tls", body).vector(2, "list").ok()?);
        list.vector(1, "protocol").ok()
    }

    /// It asks for another ClientHello.
    pub fn is_retry_request(&self) -> bool {
        self.random == RETRY_RANDOM
    }
}

/// A ServerHello to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHelloRepr {
    /// legacy version
    pub legacy_version: u16,
    /// random
    pub random: [u8; 32],
    /// session id
    pub session_id: Vec<u8>,
    /// cipher suite
    pub cipher: u16,
    /// extensions in order: number and body
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl ServerHelloRepr {
    /// TLS 1.2, AES-128-GCM, without extensions.
    pub const fn tls12(random: [u8; 32]) -> Self {
        Self {
            legacy_version: version::TLS12,
            random,
            session_id: Vec::new(),
            cipher: 0xc02f,
            extensions: Vec::new(),
        }
    }

    /// The body without a message header, as DTLS wants it.
    pub fn emit_body(&self) -> Vec<u8> {
        let mut out = self.legacy_version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.random);
        out.extend(vector(1, &self.session_id));
        out.extend_from_slice(&self.cipher.to_be_bytes());
        out.push(0);
        if !self.extensions.is_empty() {
            out.extend(vector(2, &super::emit::extension_block(&self.extensions)));
        }
        out
    }

    /// The handshake message.
    pub fn emit(&self) -> Vec<u8> {
        message(handshake::SERVER_HELLO, &self.emit_body())
    }
}

/// The certificates of a TLS 1.2 Certificate message (RFC 5246 §7.4.2), leaf first, each as DER.
#[derive(Clone, Copy, Debug)]
pub struct Certificates<'a> {
    list: &'a [u8],
}

impl<'a> Certificates<'a> {
    /// Reads a message, which begins with its four-byte header. A cut message gives those that are whole.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new("tls", message);
        let kind = cursor.u8("handshake header")?;
        if kind != handshake::CERTIFICATE {
            return Err(Malformed::value("tls", 0, "certificate", u64::from(kind)));
        }
        cursor.number(3, "handshake header")?;
        let len = cursor.number(3, "certificate list")? as usize;
        Ok(Self { list: cursor.take_up_to(len) })
    }

    /// Reads the body of a DTLS message.
    pub fn parse_body(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new("dtls", body);
        let len = cursor.number(3, "certificate list")? as usize;
        Ok(Self { list: cursor.take_up_to(len) })
    }
}

impl<'a> Iterator for Certificates<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut cursor = Cursor::new("tls", self.list);
        let certificate = cursor.vector(3, "certificate").ok()?;
        self.list = cursor.rest();
        Some(certificate)
    }
}

/// A TLS 1.2 Certificate message around DER certificates.
pub fn certificate_message(chain: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = chain.iter().flat_map(|certificate| vector(3, certificate)).collect();
    message(handshake::CERTIFICATE, &vector(3, &list))
}

/// An alert in the clear (RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// 1 warning, 2 fatal
    pub level: u8,
    /// description, e.g. 40 handshake_failure, 112 unrecognized_name
    pub description: u8,
}

impl Alert {
    /// Reads a record's body; `None` when it is encrypted or no alert.
    pub const fn parse(kind: u8, body: &[u8]) -> Option<Self> {
        match body {
            &[level @ (1 | 2), description] if kind == content::ALERT => Some(Self { level, description }),
            _ => None,
        }
    }

    /// The record.
    pub fn emit(self, version: u16) -> Vec<u8> {
        super::emit::record(content::ALERT, version, &[self.level, self.description])
    }
}
