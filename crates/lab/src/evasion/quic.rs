//! Evasions of QUIC filters: versions, decoys, and Initials that are hard to read.

use okno_wire::quic::{Frame, InitialRepr, Side, Version, crypto_frames};
use okno_wire::tls::preset;

use super::catalogue::of;
use super::{Carrier, Conversation, Sequence, Strategy};

const SEED: u64 = 13;

/// RFC 9000 §14.1: a client's Initial fills 1,200 bytes.
const SIZE: usize = 1_200;

/// All of them.
pub(super) const INITIALS: &[Strategy] = &[
    of(Carrier::Quic, "quic_v1", "nothing: one Initial of version 1", "browsers", v1),
    of(Carrier::Quic, "quic_v1_1000", "an Initial padded to 1,000 bytes only", "net4people 108", v1_1000),
    of(Carrier::Quic, "quic_v1_1001", "an Initial padded to 1,001 bytes", "net4people 108", v1_1001),
    of(Carrier::Quic, "quic_v2", "an Initial of version 2", "FOCI'26", v2),
    of(Carrier::Quic, "quic_draft_29", "an Initial of draft-29", "IMC'22", draft_29),
    of(
        Carrier::Quic,
        "quic_version_bait",
        "an unknown version first, to be negotiated",
        "IMC'22, ooniprobe quicping",
        bait,
    ),
    of(
        Carrier::Quic,
        "quic_fake_first",
        "an Initial with an innocent name first, low TTL",
        "zapret fake-quic",
        fake_first,
    ),
    of(
        Carrier::Quic,
        "quic_fake_first_arriving",
        "an Initial with an innocent name first, which arrives",
        "zapret fake-quic",
        fake_arriving,
    ),
    of(
        Carrier::Quic,
        "quic_junk_first",
        "three datagrams of junk first",
        "net4people 108, zapret",
        junk_first,
    ),
    of(Carrier::Quic, "quic_two_datagrams", "the hello over two datagrams", "Chrome post-quantum", two),
    of(
        Carrier::Quic,
        "quic_two_datagrams_disorder",
        "the hello over two datagrams, second first",
        "Chrome",
        two_disorder,
    ),
    of(Carrier::Quic, "quic_name_cut", "the name cut between two datagrams", "quic-go SNI slicing", name_cut),
    of(
        Carrier::Quic,
        "quic_crypto_shuffled",
        "CRYPTO frames out of order with PING between",
        "Chrome chaos protection",
        shuffled,
    ),
    of(Carrier::Quic, "quic_name_absent", "no server name", "-", absent),
    of(Carrier::Quic, "quic_other_port", "an Initial of version 1 to port 8443", "IMC'22", other_port),
    of(Carrier::Quic, "quic_ipfrag", "two IP fragments", "zapret ipfrag2", ipfrag),
];

fn dcid() -> Vec<u8> {
    preset::random_bytes(SEED, "dcid", 8)
}

fn hello(name: Option<&str>, post_quantum: bool) -> Vec<u8> {
    preset::quic(SEED, name, &[], post_quantum).emit()
}

/// One Initial of `version` with these frames.
pub fn initial(version: Version, number: u32, frames: &[Frame<'_>], size: usize) -> Vec<u8> {
    let mut repr = InitialRepr::first(version, &dcid(), &[]);
    repr.number = number;
    repr.seal(Side::Client, &dcid(), frames, size).expect("a version with known keys")
}

/// An ordinary first Initial for `name`.
pub fn initial_for(version: Version, name: Option<&str>, size: usize) -> Vec<u8> {
    let message = hello(name, false);
    initial(version, 0, &crypto_frames(&message, &[]), size)
}

fn one(talk: &Conversation, datagram: Vec<u8>) -> Sequence {
    talk.datagrams(&[(talk.ttl, datagram)])
}

fn v1(talk: &Conversation) -> Sequence {
    one(talk, initial_for(Version::V1, Some(&talk.host), SIZE))
}

fn v1_1000(talk: &Conversation) -> Sequence {
    one(talk, initial_for(Version::V1, Some(&talk.host), 1_000))
}

fn v1_1001(talk: &Conversation) -> Sequence {
    one(talk, initial_for(Version::V1, Some(&talk.host), 1_001))
}

fn v2(talk: &Conversation) -> Sequence {
    one(talk, initial_for(Version::V2, Some(&talk.host), SIZE))
}

fn draft_29(talk: &Conversation) -> Sequence {
    one(talk, initial_for(Version::DRAFT_29, Some(&talk.host), SIZE))
}

/// A long header of a version reserved to force negotiation (RFC 9000 §15), 1,200 bytes long.
pub fn bait_datagram() -> Vec<u8> {
    let mut out = vec![0xc0, 0xba, 0xba, 0xba, 0xba, 8];
    out.extend(dcid());
    out.push(0);
    out.resize(SIZE, 0);
    out
}

fn bait(talk: &Conversation) -> Sequence {
    let real = initial_for(Version::V1, Some(&talk.host), SIZE);
    talk.datagrams(&[(talk.ttl, bait_datagram()), (talk.ttl, real)])
}

fn innocent() -> Vec<u8> {
    initial_for(Version::V1, Some("www.example.org"), SIZE)
}

fn fake_first(talk: &Conversation) -> Sequence {
    let real = other_connection(talk);
    talk.datagrams(&[(talk.decoy_ttl, innocent()), (talk.ttl, real)])
}

/// The real Initial under another connection id than the decoy's.
fn other_connection(talk: &Conversation) -> Vec<u8> {
    let message = hello(Some(&talk.host), false);
    let dcid = preset::random_bytes(SEED, "other dcid", 8);
    let repr = InitialRepr::first(Version::V1, &dcid, &[]);
    repr.seal(Side::Client, &dcid, &crypto_frames(&message, &[]), SIZE).expect("version 1 has keys")
}

fn fake_arriving(talk: &Conversation) -> Sequence {
    let real = other_connection(talk);
    talk.datagrams(&[(talk.ttl, innocent()), (talk.ttl, real)])
}

fn junk_first(talk: &Conversation) -> Sequence {
    let real = initial_for(Version::V1, Some(&talk.host), SIZE);
    let mut all: Vec<(u8, Vec<u8>)> = (0..3).map(|_| (talk.ttl, vec![0; 64])).collect();
    all.push((talk.ttl, real));
    talk.datagrams(&all)
}

fn in_two(talk: &Conversation, post_quantum: bool, at: impl Fn(&[u8]) -> usize) -> Vec<(u8, Vec<u8>)> {
    let message = hello(Some(&talk.host), post_quantum);
    let frames = crypto_frames(&message, &[at(&message)]);
    let datagram = |(number, frame): (usize, &Frame<'_>)| {
        (talk.ttl, initial(Version::V1, number as u32, core::slice::from_ref(frame), SIZE))
    };
    frames.iter().enumerate().map(datagram).collect()
}

fn two(talk: &Conversation) -> Sequence {
    talk.datagrams(&in_two(talk, true, |message| message.len() / 2))
}

fn two_disorder(talk: &Conversation) -> Sequence {
    let mut all = in_two(talk, true, |message| message.len() / 2);
    all.reverse();
    talk.datagrams(&all)
}

fn name_cut(talk: &Conversation) -> Sequence {
    let name = talk.host.as_bytes();
    let middle = |message: &[u8]| super::find(message, name).map_or(100, |at| at + name.len() / 2);
    talk.datagrams(&in_two(talk, false, middle))
}

fn shuffled(talk: &Conversation) -> Sequence {
    let message = hello(Some(&talk.host), false);
    let pieces = crypto_frames(&message, &[40, 90, 150, 200]);
    let mut frames = Vec::new();
    for index in [3, 0, 4, 2, 1] {
        frames.extend(pieces.get(index).cloned());
        frames.push(Frame::Ping);
    }
    one(talk, initial(Version::V1, 0, &frames, SIZE))
}

fn other_port(talk: &Conversation) -> Sequence {
    let mut talk = talk.clone();
    talk.server.port = 8_443;
    v1(&talk)
}

fn absent(talk: &Conversation) -> Sequence {
    one(talk, initial_for(Version::V1, None, SIZE)).content_with("")
}

fn ipfrag(talk: &Conversation) -> Sequence {
    let mut talk = talk.clone();
    talk.first = initial_for(Version::V1, Some(&talk.host), SIZE);
    super::catalogue::udp_fragmented(&talk, false)
}
