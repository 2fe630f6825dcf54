//! Hellos out: a repr that keeps order and odd values, records around it, splits over records.
//!
//! Extensions are kept as number and body, in order, so that what was parsed is emitted byte for byte.

use super::code::{content, ext, handshake};
use super::hello::ClientHello;

/// `body` behind its length in `width` bytes; a longer body is cut to what the length can say.
pub(crate) fn vector(width: usize, body: &[u8]) -> Vec<u8> {
    let limit = (1_usize << (8 * width.min(3))) - 1;
    let body = &body[..body.len().min(limit)];
    let mut out = Vec::with_capacity(width + body.len());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[4 - width..]);
    out.extend_from_slice(body);
    out
}

/// A handshake message: type, length, body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(vector(3, body));
    out
}

/// Extensions one after another, without the block's length.
pub(crate) fn extension_block(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, body) in extensions {
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend(vector(2, body));
    }
    out
}

/// One record of at most 65,535 bytes.
pub fn record(kind: u8, version: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&version.to_be_bytes());
    out.extend(vector(2, body));
    out
}

/// A handshake message in records of at most `limit` bytes.
pub fn records_of(version: u16, message: &[u8], limit: usize) -> Vec<u8> {
    let chunks = message.chunks(limit.clamp(1, 16_384));
    chunks.flat_map(|chunk| record(content::HANDSHAKE, version, chunk)).collect()
}

/// A handshake message in records cut at the message offsets `cuts` (rising); what byedpi's `-r` and tpws's
/// `--tlsrec` do.
pub fn split_records(version: u16, message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut start = 0;
    for cut in cuts.iter().copied().chain([message.len()]) {
        if cut > start && cut <= message.len() {
            out.extend(record(content::HANDSHAKE, version, &message[start..cut]));
            start = cut;
        }
    }
    out
}

/// Extension bodies.
pub mod extension {
    use super::super::code::ext;
    use super::vector;

    /// One entry of `extensions`.
    pub type Entry = (u16, Vec<u8>);

    fn numbers(list: &[u16]) -> Vec<u8> {
        list.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// server_name with one host name, as given.
    pub fn server_name(name: &[u8]) -> Entry {
        let mut entry = vec![0];
        entry.extend(vector(2, name));
        (ext::SERVER_NAME, vector(2, &entry))
    }

    /// ALPN.
    pub fn alpn(protocols: &[&str]) -> Entry {
        let list: Vec<u8> = protocols.iter().flat_map(|name| vector(1, name.as_bytes())).collect();
        (ext::ALPN, vector(2, &list))
    }

    /// supported_versions of a client.
    pub fn supported_versions(list: &[u16]) -> Entry {
        (ext::SUPPORTED_VERSIONS, vector(1, &numbers(list)))
    }

    /// supported_groups.
    pub fn supported_groups(list: &[u16]) -> Entry {
        (ext::SUPPORTED_GROUPS, vector(2, &numbers(list)))
    }

    /// signature_algorithms.
    pub fn signature_algorithms(list: &[u16]) -> Entry {
        (ext::SIGNATURE_ALGORITHMS, vector(2, &numbers(list)))
    }

    /// ec_point_formats: uncompressed only.
    pub fn point_formats() -> Entry {
        (ext::EC_POINT_FORMATS, vec![1, 0])
    }

    /// key_share of a client.
    pub fn key_share(shares: &[(u16, Vec<u8>)]) -> Entry {
        let mut list = Vec::new();
        for (group, key) in shares {
            list.extend_from_slice(&group.to_be_bytes());
            list.extend(vector(2, key));
        }
        (ext::KEY_SHARE, vector(2, &list))
    }

    /// encrypted_client_hello of an outer hello (RFC 9849 §5): HKDF-SHA256, AES-128-GCM.
    pub fn ech_outer(config_id: u8, enc: &[u8], payload: &[u8]) -> Entry {
        let mut body = vec![0, 0, 1, 0, 1, config_id];
        body.extend(vector(2, enc));
        body.extend(vector(2, payload));
        (ext::ECH, body)
    }

    /// use_srtp (RFC 5764 §4.1.1) without MKI.
    pub fn use_srtp(profiles: &[u16]) -> Entry {
        let mut body = vector(2, &numbers(profiles));
        body.push(0);
        (ext::USE_SRTP, body)
    }
}

/// A ClientHello to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHelloRepr {
    /// legacy version
    pub legacy_version: u16,
    /// random
    pub random: [u8; 32],
    /// session id, at most 32 bytes
    pub session_id: Vec<u8>,
    /// DTLS only: the cookie, empty in a first hello; `None` makes it TLS's form
    pub cookie: Option<Vec<u8>>,
    /// cipher suites in order
    pub ciphers: Vec<u16>,
    /// compression methods
    pub compression: Vec<u8>,
    /// extensions in order; `None` leaves even the block's length out
    pub extensions: Option<Vec<extension::Entry>>,
}

impl ClientHelloRepr {
    /// Takes over a hello that parsed whole.
    pub fn from_view(hello: &ClientHello<'_>) -> Self {
        let mut random = [0; 32];
        let len = hello.random.len().min(32);
        random[..len].copy_from_slice(&hello.random[..len]);
        let extensions = hello.extensions().map(|extension| (extension.kind, extension.body.to_vec()));
        Self {
            legacy_version: hello.legacy_version,
            random,
            session_id: hello.session_id.to_vec(),
            cookie: hello.cookie.map(<[u8]>::to_vec),
            ciphers: hello.ciphers().collect(),
            compression: hello.compression.to_vec(),
            extensions: hello.has_extensions.then(|| extensions.collect()),
        }
    }

    /// The body without a message header.
    pub fn emit_body(&self) -> Vec<u8> {
        let mut out = self.legacy_version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.random);
        out.extend(vector(1, &self.session_id));
        if let Some(cookie) = &self.cookie {
            out.extend(vector(1, cookie));
        }
        let ciphers: Vec<u8> = self.ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
        out.extend(vector(2, &ciphers));
        out.extend(vector(1, &self.compression));
        if let Some(extensions) = &self.extensions {
            out.extend(vector(2, &extension_block(extensions)));
        }
        out
    }

    /// The handshake message with its four-byte header.
    pub fn emit(&self) -> Vec<u8> {
        message(handshake::CLIENT_HELLO, &self.emit_body())
    }

    /// The message in one TLS record of version 3.1, as clients send it (RFC 8446 §5.1).
    pub fn emit_record(&self) -> Vec<u8> {
        record(content::HANDSHAKE, 0x0301, &self.emit())
    }

    /// With `entry` in the place of the extension of the same number, or at the end (before pre_shared_key,
    /// which has to be last, RFC 8446 §4.2.11).
    pub fn with_extension(mut self, entry: extension::Entry) -> Self {
        let list = self.extensions.get_or_insert_default();
        if let Some(place) = list.iter_mut().find(|(kind, _)| *kind == entry.0) {
            *place = entry;
        } else {
            let psk = list.last().is_some_and(|(kind, _)| *kind == ext::PRE_SHARED_KEY);
            list.insert(list.len() - usize::from(psk), entry);
        }
        self
    }

    /// Without extensions of that number.
    pub fn without_extension(mut self, kind: u16) -> Self {
        if let Some(list) = &mut self.extensions {
            list.retain(|(have, _)| *have != kind);
        }
        self
    }

    /// With another server name, or with none.
    pub fn with_name(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.with_extension(extension::server_name(name.as_bytes())),
            None => self.without_extension(ext::SERVER_NAME),
        }
    }

    /// With a padding extension (RFC 7685) that makes the handshake message `len` bytes long. A message that
    /// is longer already, or shorter by less than the extension's four bytes, is left as it is.
    pub fn padded_to(self, len: usize) -> Self {
        let bare = self.without_extension(ext::PADDING);
        match len.checked_sub(bare.emit().len() + 4) {
            Some(fill) => bare.with_extension((ext::PADDING, vec![0; fill])),
            None => bare,
        }
    }
}
