//! ClientHellos as real clients send them.
//!
//! Every random byte comes from the `seed`, so equal arguments give equal bytes; keys are random bytes, which
//! no box can tell from keys. Chrome shuffles its extensions since version 110 (JA4 sorts them); here they
//! stand in one order, so that JA3 is stable too.

use sha2::{Digest as _, Sha256};

use super::code::{ext, group, version};
use super::emit::{ClientHelloRepr, extension};

/// `len` bytes that depend on `seed` and `label` alone (SHA-256 in counter mode).
pub fn random_bytes(seed: u64, label: &str, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 32);
    let mut counter = 0_u64;
    while out.len() < len {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(counter.to_be_bytes());
        hash.update(label.as_bytes());
        out.extend_from_slice(&hash.finalize());
        counter += 1;
    }
    out.truncate(len);
    out
}

fn random32(seed: u64, label: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(&random_bytes(seed, label, 32));
    out
}

/// The `index`th GREASE value of this seed (RFC 8701 §2).
fn grease(seed: u64, index: usize) -> u16 {
    let draw = u16::from(random_bytes(seed, "grease", 8)[index % 8] & 0xf0);
    (draw | 0xa) << 8 | draw | 0xa
}

/// The two GREASE extensions of a hello have to differ (RFC 8701 §3.1).
fn other_grease(seed: u64, first: u16) -> u16 {
    let second = grease(seed, 4);
    if second == first { first ^ 0x1010 } else { second }
}

const CHROME_CIPHERS: [u16; 15] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];
const CHROME_ALGORITHMS: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

/// Chrome 133 and later over TCP: GREASE, ALPN `h2`, ECH as GREASE. With `post_quantum` the key shares hold
/// X25519MLKEM768 and the hello takes two segments (about 1.8 kB).
///
/// JA4 `t13d1516h2_8daaf6152771_d8a2da3f94cd` with a name.
pub fn chrome(seed: u64, name: Option<&str>, post_quantum: bool) -> ClientHelloRepr {
    let (first, group_grease) = (grease(seed, 1), grease(seed, 2));
    let mut groups = vec![group_grease];
    let mut shares = vec![(group_grease, vec![0])];
    if post_quantum {
        groups.push(group::X25519_MLKEM768);
        shares.push((group::X25519_MLKEM768, random_bytes(seed, "mlkem", 1_216)));
    }
    groups.extend([group::X25519, group::SECP256R1, group::SECP384R1]);
    shares.push((group::X25519, random_bytes(seed, "x25519", 32)));
    let mut ciphers = vec![grease(seed, 0)];
    ciphers.extend(CHROME_CIPHERS);
    let ech = extension::ech_outer(
        random_bytes(seed, "ech id", 1)[0],
        &random_bytes(seed, "ech enc", 32),
        &random_bytes(seed, "ech payload", 144 + 32 * usize::from(random_bytes(seed, "ech len", 1)[0] % 4)),
    );
    let mut extensions = vec![(first, Vec::new())];
    extensions.extend(name.map(|name| extension::server_name(name.as_bytes())));
    extensions.extend([
        (ext::EXTENDED_MASTER_SECRET, Vec::new()),
        (ext::RENEGOTIATION_INFO, vec![0]),
        extension::supported_groups(&groups),
        extension::point_formats(),
        (ext::SESSION_TICKET, Vec::new()),
        extension::alpn(&["h2", "http/1.1"]),
        (ext::STATUS_REQUEST, vec![1, 0, 0, 0, 0]),
        extension::signature_algorithms(&CHROME_ALGORITHMS),
        (ext::SCT, Vec::new()),
        extension::key_share(&shares),
        (ext::PSK_KEY_EXCHANGE_MODES, vec![1, 1]),
        extension::supported_versions(&[grease(seed, 3), version::TLS13, version::TLS12]),
        (ext::COMPRESS_CERTIFICATE, vec![2, 0, 2]),
        (ext::APPLICATION_SETTINGS, vec![0, 3, 2, b'h', b'2']),
        ech,
        (other_grease(seed, first), vec![0]),
    ]);
    hello(seed, ciphers, extensions)
}

/// Firefox 135 and later over TCP: no GREASE but in ECH, two or three key shares, delegated credentials.
///
/// JA4 `t13d1717h2_5b57614c22b0_3cbfd9057e0d` with a name.
pub fn firefox(seed: u64, name: Option<&str>, post_quantum: bool) -> ClientHelloRepr {
    let mut groups = vec![group::X25519, group::SECP256R1, group::SECP384R1, group::SECP521R1, 256, 257];
    let mut shares = vec![
        (group::X25519, random_bytes(seed, "x25519", 32)),
        (group::SECP256R1, [vec![4], random_bytes(seed, "p256", 64)].concat()),
    ];
    if post_quantum {
        groups.insert(0, group::X25519_MLKEM768);
        shares.insert(0, (group::X25519_MLKEM768, random_bytes(seed, "mlkem", 1_216)));
    }
    let ciphers = vec![
        0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc00a, 0xc009, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let algorithms = [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201];
    let mut extensions = Vec::new();
    extensions.extend(name.map(|name| extension::server_name(name.as_bytes())));
    extensions.extend([
        (ext::EXTENDED_MASTER_SECRET, Vec::new()),
        (ext::RENEGOTIATION_INFO, vec![0]),
        extension::supported_groups(&groups),
        extension::point_formats(),
        (ext::SESSION_TICKET, Vec::new()),
        extension::alpn(&["h2", "http/1.1"]),
        (ext::STATUS_REQUEST, vec![1, 0, 0, 0, 0]),
        (ext::DELEGATED_CREDENTIALS, vec![0, 8, 4, 3, 5, 3, 6, 3, 2, 3]),
        (ext::SCT, Vec::new()),
        extension::key_share(&shares),
        extension::supported_versions(&[version::TLS13, version::TLS12]),
        extension::signature_algorithms(&algorithms),
        (ext::PSK_KEY_EXCHANGE_MODES, vec![1, 1]),
        (ext::RECORD_SIZE_LIMIT, vec![0x40, 1]),
        (ext::COMPRESS_CERTIFICATE, vec![6, 0, 1, 0, 2, 0, 3]),
        extension::ech_outer(
            random_bytes(seed, "ech id", 1)[0],
            &random_bytes(seed, "ech enc", 32),
            &random_bytes(seed, "ech payload", 239),
        ),
    ]);
    hello(seed, ciphers, extensions)
}

/// Telegram's camouflage of spring 2026: a Chrome-like hello whose encrypted-hello extension bears the old
/// number 0xfe02 and announces a key of 32 bytes, of which 20 are there
/// (https://github.com/telegramdesktop/tdesktop/pull/30513). Clients that were corrected (Telegram Desktop
/// 6.7.3) have the JA4 of [`chrome`].
pub fn telegram(seed: u64, name: &str) -> ClientHelloRepr {
    old_draft(seed, chrome(seed, Some(name), true))
}

/// The same without a post-quantum key, padded to 517 bytes of stream, as clients sent it that were seen cut
/// after 408 bytes (https://github.com/telegramdesktop/tdesktop/issues/30734).
pub fn telegram_short(seed: u64, name: &str) -> ClientHelloRepr {
    old_draft(seed, chrome(seed, Some(name), false)).padded_to(512)
}

fn old_draft(seed: u64, mut repr: ClientHelloRepr) -> ClientHelloRepr {
    let mut body = vec![0, 0, 1, 0, 1, random_bytes(seed, "ech id", 1)[0], 0, 32];
    body.extend(random_bytes(seed, "ech enc", 20));
    body.extend(super::emit::vector(2, &random_bytes(seed, "ech payload", 144)));
    for entry in repr.extensions.iter_mut().flatten() {
        if entry.0 == ext::ECH {
            *entry = (ext::ECH_DRAFT_08, body.clone());
        }
    }
    repr
}

/// A small TLS 1.3 hello such as curl with OpenSSL sends: no GREASE, no ECH, about 250 bytes.
pub fn curl(seed: u64, name: Option<&str>) -> ClientHelloRepr {
    let ciphers = vec![
        0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x009e,
        0xc024, 0xc028, 0x006b, 0xc023, 0xc027, 0x0067, 0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033,
        0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x00ff,
    ];
    let algorithms = [
        0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401,
        0x0501, 0x0601,
    ];
    let mut extensions = Vec::new();
    extensions.extend(name.map(|name| extension::server_name(name.as_bytes())));
    extensions.extend([
        (ext::EC_POINT_FORMATS, vec![3, 0, 1, 2]),
        extension::supported_groups(&[group::X25519, group::SECP256R1, 30, 25, 24]),
        extension::alpn(&["h2", "http/1.1"]),
        (22, Vec::new()),
        (ext::EXTENDED_MASTER_SECRET, Vec::new()),
        extension::signature_algorithms(&algorithms),
        extension::supported_versions(&[version::TLS13, version::TLS12]),
        (ext::PSK_KEY_EXCHANGE_MODES, vec![1, 1]),
        extension::key_share(&[(group::X25519, random_bytes(seed, "x25519", 32))]),
    ]);
    hello(seed, ciphers, extensions)
}

/// A hello for QUIC, Chrome-like: TLS 1.3 only, ALPN `h3`, no session id, transport parameters with
/// `source_cid` (RFC 9000 §18.2, initial_source_connection_id).
pub fn quic(seed: u64, name: Option<&str>, source_cid: &[u8], post_quantum: bool) -> ClientHelloRepr {
    let mut groups = vec![group::X25519, group::SECP256R1, group::SECP384R1];
    let mut shares = vec![(group::X25519, random_bytes(seed, "x25519", 32))];
    if post_quantum {
        groups.insert(0, group::X25519_MLKEM768);
        shares.insert(0, (group::X25519_MLKEM768, random_bytes(seed, "mlkem", 1_216)));
    }
    let mut parameters = vec![1, 4, 0x80, 0, 0x75, 0x30, 3, 2, 0x45, 0xc0, 4, 4, 0x80, 0xf0, 0, 0, 0x0f];
    parameters.extend(super::emit::vector(1, source_cid));
    let mut extensions = Vec::new();
    extensions.extend(name.map(|name| extension::server_name(name.as_bytes())));
    extensions.extend([
        extension::supported_groups(&groups),
        extension::alpn(&["h3"]),
        extension::signature_algorithms(&[
            0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201,
        ]),
        extension::key_share(&shares),
        (ext::PSK_KEY_EXCHANGE_MODES, vec![1, 1]),
        extension::supported_versions(&[version::TLS13]),
        (ext::COMPRESS_CERTIFICATE, vec![2, 0, 2]),
        (ext::QUIC_TRANSPORT_PARAMETERS, parameters),
    ]);
    let mut repr = hello(seed, vec![0x1301, 0x1302, 0x1303], extensions);
    repr.session_id.clear();
    repr
}

fn hello(seed: u64, ciphers: Vec<u16>, extensions: Vec<extension::Entry>) -> ClientHelloRepr {
    ClientHelloRepr {
        legacy_version: version::TLS12,
        random: random32(seed, "random"),
        session_id: random_bytes(seed, "session id", 32),
        cookie: None,
        ciphers,
        compression: vec![0],
        extensions: Some(extensions),
    }
}
