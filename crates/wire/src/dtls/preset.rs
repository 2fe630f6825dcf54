//! DTLS hellos of WebRTC stacks, which Snowflake and calls send.
//!
//! Pion's plain hello was what Russian boxes dropped in March 2026, while DTLS 1.3 and a randomised hello
//! passed (https://github.com/net4people/bbs/issues/603).

use crate::tls::code::{ext, group, handshake, version};
use crate::tls::preset::random_bytes;
use crate::tls::{ClientHelloRepr, ServerHelloRepr, extension};

/// SRTP profiles (https://www.iana.org/assignments/srtp-protection): AES-128-CM-HMAC-SHA1-80,
/// AEAD-AES-128-GCM, AEAD-AES-256-GCM.
const SRTP: [u16; 3] = [7, 8, 1];

/// pion's DTLS 1.2 hello, as a call or Snowflake sends it.
pub fn pion(seed: u64) -> ClientHelloRepr {
    let algorithms = [0x0403, 0x0503, 0x0603, 0x0401, 0x0501, 0x0601, 0x0807];
    hello(
        seed,
        vec![0xc02b, 0xc02f, 0xc00a, 0xc014, 0xc02c, 0xc030],
        vec![
            extension::signature_algorithms(&algorithms),
            (ext::RENEGOTIATION_INFO, vec![0]),
            extension::supported_groups(&[group::X25519, group::SECP256R1, group::SECP384R1]),
            extension::point_formats(),
            extension::use_srtp(&SRTP),
            (ext::EXTENDED_MASTER_SECRET, Vec::new()),
        ],
    )
}

/// A hello of pion's parts in an order, and with a choice of ciphers, that the seed draws: what covert-dtls
/// does so that no one fingerprint fits.
pub fn randomised(seed: u64) -> ClientHelloRepr {
    let mut repr = pion(seed);
    let draws = random_bytes(seed, "shuffle", 64);
    shuffle(&mut repr.ciphers, &draws);
    let keep = 3 + usize::from(draws[63]) % (repr.ciphers.len() - 2);
    repr.ciphers.truncate(keep);
    if let Some(extensions) = &mut repr.extensions {
        shuffle(extensions, &draws[16..]);
        if draws[62] & 1 == 0 {
            extensions.insert(0, extension::alpn(&["webrtc"]));
        }
        if draws[61] & 1 == 0 {
            extensions.push((ext::SESSION_TICKET, Vec::new()));
        }
    }
    repr
}

/// Fisher-Yates by the bytes of `draws`; a list longer than that is shuffled at its end only.
fn shuffle<T>(list: &mut [T], draws: &[u8]) {
    for (index, draw) in (1..list.len()).rev().zip(draws) {
        list.swap(index, usize::from(*draw) % (index + 1));
    }
}

/// A DTLS 1.3 hello (RFC 9147 §5.3).
pub fn dtls13(seed: u64) -> ClientHelloRepr {
    let repr = hello(
        seed,
        vec![0x1301, 0x1302, 0x1303],
        vec![
            extension::supported_versions(&[version::DTLS13]),
            extension::supported_groups(&[group::X25519, group::SECP256R1]),
            extension::signature_algorithms(&[
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ]),
            extension::key_share(&[(group::X25519, random_bytes(seed, "x25519", 32))]),
            extension::use_srtp(&SRTP),
        ],
    );
    ClientHelloRepr { legacy_version: version::DTLS12, ..repr }
}

/// The ServerHello of pion's 2021: it carried the groups, whose bytes at a fixed place betrayed Snowflake
/// (https://ntc.party/t/ooni-reports-of-tor-blocking-in-certain-isps-since-2021-12-01/1477).
pub fn pion_server_2021(seed: u64) -> ServerHelloRepr {
    let mut random = [0; 32];
    random.copy_from_slice(&random_bytes(seed, "server random", 32));
    ServerHelloRepr {
        legacy_version: version::DTLS12,
        random,
        session_id: Vec::new(),
        cipher: 0xc02b,
        extensions: vec![
            (ext::RENEGOTIATION_INFO, vec![0]),
            (ext::EXTENDED_MASTER_SECRET, Vec::new()),
            extension::use_srtp(&[1]),
            extension::supported_groups(&[group::X25519, group::SECP256R1, group::SECP384R1]),
            extension::point_formats(),
        ],
    }
}

/// A hello in one datagram, the first of its flow.
pub fn datagram(repr: &ClientHelloRepr) -> Vec<u8> {
    let body = repr.emit_body();
    // pion and browsers put DTLS 1.2 or 1.0 there; RFC 6347 §4.1 lets either be.
    super::fragments_of(handshake::CLIENT_HELLO, version::DTLS12, 0, 0, &body, body.len()).concat()
}

fn hello(seed: u64, ciphers: Vec<u16>, extensions: Vec<extension::Entry>) -> ClientHelloRepr {
    let mut random = [0; 32];
    random.copy_from_slice(&random_bytes(seed, "random", 32));
    ClientHelloRepr {
        legacy_version: version::DTLS12,
        random,
        session_id: Vec::new(),
        cookie: Some(Vec::new()),
        ciphers,
        compression: vec![0],
        extensions: Some(extensions),
    }
}
