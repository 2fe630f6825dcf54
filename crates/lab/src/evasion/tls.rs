//! Evasions that change the ClientHello itself: its name, its size, what it hides.

use okno_wire::tls::code::ext;
use okno_wire::tls::{extension, preset};

use super::catalogue::of;
use super::{Carrier, Conversation, Segment, Sequence, Strategy};

/// Seed of every hello made here; equal conversations give equal bytes.
const SEED: u64 = 11;

/// An innocent name to show instead.
const FRONT: &str = "www.example.org";

/// All of them.
pub(super) const HELLOS: &[Strategy] = &[
    of(Carrier::Tls, "hello_padded", "padding extension beyond one MSS, before the name", "IMC'21", padded),
    of(Carrier::Tls, "hello_padded_517", "padding extension up to 517 bytes", "browsers", padded_517),
    of(
        Carrier::Tls,
        "hello_post_quantum",
        "a key share of 1,216 bytes: two segments",
        "browsers since 2024",
        post_quantum,
    ),
    of(Carrier::Tls, "name_trailing_dot", "a dot after the name", "IMC'21", trailing_dot),
    of(Carrier::Tls, "name_upper_case", "the name in upper case", "-", upper_case),
    of(Carrier::Tls, "name_absent", "no server name", "Xray, IMC'22", absent),
    of(Carrier::Tls, "fronting", "an innocent name; the real one only inside", "domain fronting", fronting),
    of(Carrier::Tls, "ech", "ECH with the name cloudflare-ech.com outside", "Firefox, Chrome", ech),
    of(Carrier::Tls, "ech_other_outer", "ECH with another name outside", "FOCI'25", ech_other),
    of(Carrier::Tls, "ech_split", "ECH in two segments", "FOCI'25", ech_split),
    of(Carrier::Tls, "ech_record_split", "ECH in two records", "FOCI'25", ech_record_split),
    of(Carrier::Tls, "ech_record_and_tcp_split", "ECH in two records and two segments", "FOCI'25", ech_both),
];

fn send(talk: &Conversation, hello: &[u8]) -> Sequence {
    talk.sequence(&Segment::chunks(hello, 1_448))
}

/// Chrome's hello with the padding moved before the name, so that the name lies in the second segment.
fn padded(talk: &Conversation) -> Sequence {
    let mut hello = preset::curl(SEED, Some(&talk.host));
    if let Some(list) = &mut hello.extensions {
        list.insert(0, (ext::PADDING, vec![0; 1_600]));
    }
    send(talk, &hello.emit_record())
}

fn padded_517(talk: &Conversation) -> Sequence {
    send(talk, &preset::curl(SEED, Some(&talk.host)).padded_to(512).emit_record())
}

fn post_quantum(talk: &Conversation) -> Sequence {
    send(talk, &preset::chrome(SEED, Some(&talk.host), true).emit_record())
}

fn trailing_dot(talk: &Conversation) -> Sequence {
    let name = format!("{}.", talk.host);
    send(talk, &preset::curl(SEED, Some(&name)).emit_record())
}

fn upper_case(talk: &Conversation) -> Sequence {
    send(talk, &preset::curl(SEED, Some(&talk.host.to_ascii_uppercase())).emit_record())
}

fn absent(talk: &Conversation) -> Sequence {
    send(talk, &preset::curl(SEED, None).emit_record()).content_with("")
}

fn fronting(talk: &Conversation) -> Sequence {
    send(talk, &preset::curl(SEED, Some(FRONT)).emit_record()).content_with(FRONT)
}

/// A hello of curl's shape with `outer` in the clear and an ECH extension.
fn ech_hello(outer: &str) -> Vec<u8> {
    let enc = preset::random_bytes(SEED, "enc", 32);
    let payload = preset::random_bytes(SEED, "payload", 208);
    let hello = preset::curl(SEED, Some(outer)).with_extension(extension::ech_outer(7, &enc, &payload));
    hello.emit_record()
}

/// Outer name of all hellos with ECH to Cloudflare (https://github.com/net4people/bbs/issues/417).
const CLOUDFLARE: &str = "cloudflare-ech.com";

fn ech(talk: &Conversation) -> Sequence {
    send(talk, &ech_hello(CLOUDFLARE)).content_with(CLOUDFLARE)
}

fn ech_other(talk: &Conversation) -> Sequence {
    send(talk, &ech_hello(FRONT)).content_with(FRONT)
}

/// The strategy of this name on a hello with ECH.
fn ech_by(talk: &Conversation, id: &str) -> Sequence {
    let talk = talk.clone().with_first(ech_hello(CLOUDFLARE), CLOUDFLARE);
    super::strategy(id).map_or_else(|| send(&talk, &talk.first), |strategy| (strategy.build)(&talk))
}

fn ech_split(talk: &Conversation) -> Sequence {
    ech_by(talk, "split_name")
}

fn ech_record_split(talk: &Conversation) -> Sequence {
    ech_by(talk, "record_split")
}

fn ech_both(talk: &Conversation) -> Sequence {
    ech_by(talk, "record_and_tcp_split")
}
