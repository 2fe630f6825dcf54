//! The ClientHello as a borrowed view, for TLS, QUIC and DTLS.
//!
//! A hello that is cut keeps what stood before the cut: a box that looks at one segment reads exactly that,
//! and most names stand in the first.

use core::ops::Range;

use super::code::{ext, handshake};
use crate::cursor::Cursor;
use crate::malformed::Malformed;

/// RFC 8701: both bytes equal, low nibbles 0xa.
pub const fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

/// A name as lists keep it: ASCII lower case, no trailing dots.
pub fn normalise_name(raw: &[u8]) -> String {
    let end = raw.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
    String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase()
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// number; see [`ext`]
    pub kind: u16,
    /// body, shorter than declared when the message is cut inside it
    pub body: &'a [u8],
    /// offset of the body in the message
    pub at: usize,
    /// all of the body is there
    pub complete: bool,
}

/// Extensions in the order they stand.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Extensions<'a> {
    /// Over a block without its length field, standing at `at` of the message.
    pub(crate) const fn new(block: &'a [u8], at: usize) -> Self {
        Self { block, at }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let &[k0, k1, l0, l1, ref rest @ ..] = self.block else { return None };
        let declared = usize::from(u16::from_be_bytes([l0, l1]));
        let (body, rest) = rest.split_at(declared.min(rest.len()));
        let at = self.at + 4;
        self.block = rest;
        self.at = at + body.len();
        Some(Extension { kind: u16::from_be_bytes([k0, k1]), body, at, complete: body.len() == declared })
    }
}

/// Big-endian 16-bit numbers of a list.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    pub(crate) const fn new(list: &'a [u8]) -> Self {
        Self(list)
    }
}

impl Iterator for Numbers<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let &[high, low, ref rest @ ..] = self.0 else { return None };
        self.0 = rest;
        Some(u16::from_be_bytes([high, low]))
    }
}

/// An encrypted_client_hello extension (RFC 9849 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ech<'a> {
    /// the outer hello's
    Outer {
        /// KDF number
        kdf: u16,
        /// AEAD number
        aead: u16,
        /// which of the server's configurations
        config_id: u8,
        /// encapsulated key
        enc: &'a [u8],
        /// length of the encrypted inner hello
        payload_len: usize,
    },
    /// the inner hello's marker
    Inner,
    /// another number or a form that does not parse: its kind and length
    Draft(u16, usize),
}

/// A ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2, RFC 6347 §4.2.1).
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    message: &'a [u8],
    /// legacy version
    pub legacy_version: u16,
    /// 32 bytes, fewer when cut
    pub random: &'a [u8],
    /// session id
    pub session_id: &'a [u8],
    /// DTLS only
    pub cookie: Option<&'a [u8]>,
    ciphers: &'a [u8],
    /// compression methods
    pub compression: &'a [u8],
    extensions: Extensions<'a>,
    /// there is an extension block, perhaps an empty one
    pub has_extensions: bool,
    /// where the message broke or ended early; the fields before that place hold
    pub cut: Option<Malformed>,
}

impl<'a> ClientHello<'a> {
    /// Reads a whole message, which begins with its four-byte header.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let hello = Self::parse_prefix(message)?;
        hello.cut.map_or(Ok(hello), Err)
    }

    /// Reads what there is of a message: `cut` says where it ended. Fails only on what is no ClientHello.
    pub fn parse_prefix(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new("tls", message);
        let kind = cursor.u8("handshake header")?;
        if kind != handshake::CLIENT_HELLO {
            return Err(Malformed::value("tls", 0, "client hello", u64::from(kind)));
        }
        let declared = cursor.number(3, "handshake header")? as usize;
        let message = &message[..message.len().min(declared + 4)];
        let body = Cursor::at_base("tls", &message[4..], 4);
        let mut hello = Self::parse_body(message, body, false);
        if message.len() < declared + 4 {
            let short = Malformed::short("tls", message.len(), "client hello as long as declared", 0);
            hello.cut = hello.cut.or(Some(short));
        }
        Ok(hello)
    }

    /// Reads the body of a DTLS message, already joined over fragments.
    pub(crate) fn parse_dtls(body: &'a [u8]) -> Self {
        Self::parse_body(body, Cursor::new("dtls", body), true)
    }

    fn parse_body(message: &'a [u8], mut cursor: Cursor<'a>, dtls: bool) -> Self {
        let mut hello = Self {
            message,
            legacy_version: 0,
            random: &[],
            session_id: &[],
            cookie: None,
            ciphers: &[],
            compression: &[],
            extensions: Extensions::new(&[], 0),
            has_extensions: false,
            cut: None,
        };
        hello.cut = hello.fill(&mut cursor, dtls).err();
        hello
    }

    fn fill(&mut self, cursor: &mut Cursor<'a>, dtls: bool) -> Result<(), Malformed> {
        self.legacy_version = cursor.u16("client version")?;
        self.random = cursor.take(32, "random of 32 bytes")?;
        self.session_id = cursor.vector(1, "session id")?;
        if dtls {
            self.cookie = Some(cursor.vector(1, "cookie")?);
        }
        self.ciphers = cursor.vector(2, "cipher suites")?;
        self.compression = cursor.vector(1, "compression methods")?;
        if cursor.left() == 0 {
            return Ok(());
        }
        let declared = usize::from(cursor.u16("extensions")?);
        self.has_extensions = true;
        let (at, left) = (cursor.offset(), cursor.left());
        let block = cursor.take_up_to(declared);
        self.extensions = Extensions::new(block, at);
        if left < declared {
            return Err(Malformed::short("tls", at, "extensions", left));
        }
        if left > declared {
            return Err(Malformed::short("tls", at + declared, "end of message", left - declared));
        }
        let walked = self.extensions.try_fold(at, |_, extension| {
            if extension.complete {
                Ok(extension.at + extension.body.len())
            } else {
                Err(Malformed::short("tls", extension.at, "extension body", extension.body.len()))
            }
        })?;
        self.extensions = Extensions::new(block, at);
        if walked < at + block.len() {
            return Err(Malformed::short("tls", walked, "extension header", at + block.len() - walked));
        }
        Ok(())
    }

    /// The message as read, with its header (DTLS: the body).
    pub const fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Cipher suites in order.
    pub const fn ciphers(&self) -> Numbers<'a> {
        Numbers::new(self.ciphers)
    }

    /// Extensions in order.
    pub const fn extensions(&self) -> Extensions<'a> {
        self.extensions
    }

    /// The first extension of that number.
    pub fn extension(&self, kind: u16) -> Option<Extension<'a>> {
        self.extensions.into_iter().find(|extension| extension.kind == kind)
    }

    fn list(&self, kind: u16, width: usize) -> &'a [u8] {
        let Some(extension) = self.extension(kind) else { return &[] };
        let mut cursor = Cursor::at_base("tls", extension.body, extension.at);
        let Ok(len) = cursor.number(width, "list") else { return &[] };
        cursor.take_up_to(len as usize)
    }

    /// Where the server name stands in the message: the first entry of type 0 (RFC 6066 §3). `None` when
    /// there is none or it is cut.
    pub fn sni_range(&self) -> Option<Range<usize>> {
        let extension = self.extension(ext::SERVER_NAME)?;
        let mut cursor = Cursor::at_base("tls", extension.body, extension.at);
        cursor.u16("server name list").ok()?;
        loop {
            let kind = cursor.u8("name type").ok()?;
            let name = cursor.vector(2, "name").ok()?;
            if kind == 0 {
                return Some(cursor.offset() - name.len()..cursor.offset());
            }
        }
    }

    /// The server name as it was sent: case and trailing dot kept.
    pub fn sni(&self) -> Option<&'a [u8]> {
        self.sni_range().map(|range| &self.message[range])
    }

    /// The server name when it is UTF-8.
    pub fn server_name(&self) -> Option<&'a str> {
        self.sni().and_then(|name| core::str::from_utf8(name).ok())
    }

    /// The server name in lower case without trailing dots.
    pub fn normalised_name(&self) -> Option<String> {
        self.sni().map(normalise_name)
    }

    /// Protocols offered by ALPN, in order.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut cursor = Cursor::new("tls", self.list(ext::ALPN, 2));
        core::iter::from_fn(move || cursor.vector(1, "protocol").ok())
    }

    /// supported_versions, with GREASE.
    pub fn supported_versions(&self) -> Numbers<'a> {
        Numbers::new(self.list(ext::SUPPORTED_VERSIONS, 1))
    }

    /// The highest version offered, GREASE aside; the legacy version when there is no extension. DTLS counts
    /// downwards, which is seen to.
    pub fn highest_version(&self) -> u16 {
        let offered = self.supported_versions().filter(|version| !is_grease(*version));
        let best = if self.cookie.is_some() { offered.min() } else { offered.max() };
        best.unwrap_or(self.legacy_version)
    }

    /// supported_groups, with GREASE.
    pub fn groups(&self) -> Numbers<'a> {
        Numbers::new(self.list(ext::SUPPORTED_GROUPS, 2))
    }

    /// signature_algorithms, with GREASE.
    pub fn signature_algorithms(&self) -> Numbers<'a> {
        Numbers::new(self.list(ext::SIGNATURE_ALGORITHMS, 2))
    }

    /// ec_point_formats.
    pub fn point_formats(&self) -> &'a [u8] {
        self.list(ext::EC_POINT_FORMATS, 1)
    }

    /// Key shares: group and key.
    pub fn key_shares(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new("tls", self.list(ext::KEY_SHARE, 2));
        core::iter::from_fn(move || {
            let group = cursor.u16("group").ok()?;
            Some((group, cursor.vector(2, "key").ok()?))
        })
    }

    /// Encrypted ClientHello, or a draft of it.
    pub fn ech(&self) -> Option<Ech<'a>> {
        let drafts = 0xfe02..=0xfe0c;
        let extension = self
            .extensions
            .into_iter()
            .find(|extension| extension.kind == ext::ECH || drafts.contains(&extension.kind))?;
        let unread = Ech::Draft(extension.kind, extension.body.len());
        Some(if extension.kind == ext::ECH { ech_body(extension.body).unwrap_or(unread) } else { unread })
    }

    /// The encrypted_server_name extension of 2018 to 2020, its length.
    pub fn esni(&self) -> Option<usize> {
        self.extension(ext::ESNI).map(|extension| extension.body.len())
    }

    /// Length of the padding extension's body.
    pub fn padding(&self) -> Option<usize> {
        self.extension(ext::PADDING).map(|extension| extension.body.len())
    }

    /// Offers to resume a session by pre-shared key.
    pub fn has_psk(&self) -> bool {
        self.extension(ext::PRE_SHARED_KEY).is_some()
    }

    /// Sends early data.
    pub fn has_early_data(&self) -> bool {
        self.extension(ext::EARLY_DATA).is_some()
    }

    /// A GREASE value stands among ciphers or extensions.
    pub fn has_grease(&self) -> bool {
        self.ciphers().any(is_grease)
            || self.extensions.into_iter().any(|extension| is_grease(extension.kind))
    }
}

fn ech_body(body: &[u8]) -> Option<Ech<'_>> {
    let mut cursor = Cursor::new("tls", body);
    match cursor.u8("type").ok()? {
        1 => Some(Ech::Inner),
        0 => {
            let (kdf, aead) = (cursor.u16("kdf").ok()?, cursor.u16("aead").ok()?);
            let config_id = cursor.u8("config id").ok()?;
            let enc = cursor.vector(2, "enc").ok()?;
            let payload_len = usize::from(cursor.u16("payload").ok()?);
            Some(Ech::Outer { kdf, aead, config_id, enc, payload_len })
        }
        _ => None,
    }
}
