//! No input panics: emitted samples and real evasions, damaged by seed; and the fuzzers' corpora.

#![expect(clippy::unwrap_used, reason = "a failed read fails the test")]

mod walk;

use std::path::{Path, PathBuf};

use okno_wire::quic::{InitialRepr, Side, Version, crypto_frames};
use okno_wire::{PacketView, dns, dtls, http, quic, tls};

/// A small generator of our own (https://prng.di.unimi.it/splitmix64.c), so that runs repeat.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to eight wounds: bits, bytes, lengths, cuts, repeats, grafts from another sample.
fn damage(random: &mut SplitMix, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = samples[random.below(samples.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let tail = bytes[at..(at + random.below(64)).min(bytes.len())].to_vec();
                bytes.splice(at..at, tail);
            }
            2 => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let other = &samples[random.below(samples.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            4 => bytes.insert(at, random.next() as u8),
            kind => {
                let value = [0, 0xff, 0x7f, random.next() as u8][random.below(4)];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if kind == 5 { *byte ^ 1 << random.below(8) } else { value };
                }
            }
        }
    }
    bytes
}

fn hurt(seed: u64, rounds: u32, samples: &[Vec<u8>], walk: fn(&[u8])) {
    let mut random = SplitMix(seed);
    samples.iter().for_each(|sample| walk(sample));
    walk(&[]);
    for _ in 0..rounds {
        walk(&damage(&mut random, samples));
    }
}

fn hellos() -> Vec<tls::ClientHelloRepr> {
    vec![
        tls::preset::chrome(1, Some("www.example.org"), true),
        tls::preset::firefox(2, Some("example.org"), false),
        tls::preset::telegram_short(3, "example.com"),
        tls::preset::curl(4, Some("example.net")).padded_to(700),
    ]
}

fn tls_samples() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = hellos().iter().map(tls::ClientHelloRepr::emit_record).collect();
    all.extend(hellos().iter().map(tls::ClientHelloRepr::emit));
    all.extend(hellos().iter().map(|repr| tls::records_of(0x0301, &repr.emit(), 50)));
    let server = tls::ServerHelloRepr::tls12([7; 32]);
    let chain = tls::certificate_message(&[&[0x30, 3, 2, 1, 1], b"root"]);
    all.push([tls::record(22, 0x0303, &server.emit()), tls::record(22, 0x0303, &chain)].concat());
    all.push([tls::record(20, 0x0301, &[1]), hellos()[0].emit_record()].concat());
    all
}

fn quic_samples() -> Vec<Vec<u8>> {
    let message = tls::preset::quic(1, Some("quic.example.org"), &[9; 5], true).emit();
    let mut all = Vec::new();
    for version in [Version::V1, Version::V2, Version::DRAFT_29] {
        let frames = crypto_frames(&message, &[40, 700, 900]);
        let mut repr = InitialRepr::first(version, &[1; 8], &[2; 4]);
        all.push(repr.seal(Side::Client, &[1; 8], &frames[..2], 1_200).unwrap());
        repr.number = 1;
        all.push(repr.seal(Side::Client, &[1; 8], &frames[2..], 1_200).unwrap());
    }
    all.push(quic::retry(Version::V1, &[1; 8], &[2; 8], b"token", &[3; 8]).unwrap());
    all.push(quic::version_negotiation(&[1; 8], &[2; 8], &[Version::V1, Version::V2]));
    // Frames in the clear: the walk seals them.
    let mut plain = Vec::new();
    for frame in crypto_frames(&message, &[40, 700, 900]).iter().rev() {
        frame.emit(Version::V1, &mut plain);
    }
    quic::Frame::Ack { largest: 7 }.emit(Version::V1, &mut plain);
    quic::Frame::ConnectionClose { application: false, code: 0x128 }.emit(Version::V1, &mut plain);
    all.push(plain);
    let mut google = b"\x0d12345678Q043\x01abcdefghijkl\xa0\x01\x04\x00".to_vec();
    google.extend(b"CHLO\x01\x00\x00\x00SNI\x00\x0b\x00\x00\x00example.org");
    all.push(google);
    all
}

fn dns_samples() -> Vec<Vec<u8>> {
    let query = dns::query(7, "www.example.org", dns::kind::HTTPS).emit();
    let view = dns::MessageView::parse(&query).unwrap();
    let records = vec![
        dns::RecordRepr::cname("www.example.org", 60, "cdn.example.net"),
        dns::RecordRepr::address("cdn.example.net", 30, "192.0.2.7".parse().unwrap()),
        dns::RecordRepr::https("www.example.org", 60, 1, ".", &[(1, b"\x02h2"), (5, b"ech")]),
        dns::RecordRepr::text("www.example.org", 60, "hello"),
        dns::RecordRepr::soa("example.org", 60, "a.example.org", 60),
    ];
    let answer = dns::answer(&view, records).emit();
    let framed = [dns::tcp_framed(&query), dns::tcp_framed(&answer)].concat();
    vec![dns::nxdomain(&view).emit(), query.clone(), answer, framed]
}

fn http_samples() -> Vec<Vec<u8>> {
    let plain = http::RequestRepr::get("www.example.org", "/");
    let mut odd = http::RequestRepr::get("WWW.example.org.:80", "http://user@example.net/x");
    odd.headers.push(("hOsT ".to_owned(), "\tb.example ".to_owned()));
    odd.headers.push((" folded".to_owned(), "x".to_owned()));
    odd.line_end = "\n";
    let moved = http::response(302, "Found", &[("Location", "http://block.example/")], b"gone");
    vec![plain.emit(), odd.emit(), [b"\r\n\n", &plain.emit()[..]].concat(), moved]
}

fn dtls_samples() -> Vec<Vec<u8>> {
    let body = dtls::preset::pion(1).emit_body();
    let mut all = dtls::fragments_of(1, 0xfeff, 0, 0, &body, 60);
    all.extend(
        [dtls::preset::pion(1), dtls::preset::randomised(2), dtls::preset::dtls13(3)]
            .map(|r| dtls::preset::datagram(&r)),
    );
    all.extend([
        dtls::hello_verify(b"biscuit"),
        dtls::server_hello(&dtls::preset::pion_server_2021(1), 1),
        body,
    ]);
    all.push(vec![0x2e, 1, 2, 0, 4, 9, 9, 9, 9, 0x2a, 7, 7, 5]);
    all
}

#[test]
fn damaged_tls_is_read_or_refused() {
    hurt(1, 20_000, &tls_samples(), walk::tls);
}

#[test]
fn damaged_quic_is_read_or_refused() {
    hurt(2, 4_000, &quic_samples(), walk::quic);
}

#[test]
fn damaged_dns_is_read_or_refused() {
    hurt(3, 40_000, &dns_samples(), walk::dns);
}

#[test]
fn damaged_http_is_read_or_refused() {
    hurt(4, 40_000, &http_samples(), walk::http);
}

#[test]
fn damaged_dtls_is_read_or_refused() {
    hurt(5, 20_000, &dtls_samples(), walk::dtls);
}

/// The certificate of the lab's own kind, written by hand in the unit tests, is not at hand here; DER grows
/// from nested noise instead.
#[test]
fn noise_in_the_form_of_der_is_read_or_refused() {
    let mut random = SplitMix(6);
    for _ in 0..40_000 {
        let mut bytes: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
        for _ in 0..random.below(12) {
            let tag = [0x30, 0x31, 0x06, 0x17, 0xa0, 0xa3, 0x02, 0x04][random.below(8)];
            let head = if bytes.len() < 128 {
                vec![tag, bytes.len() as u8]
            } else {
                vec![tag, 0x81, bytes.len() as u8]
            };
            bytes = [head, bytes.clone(), bytes[..bytes.len().min(60)].to_vec()].concat();
        }
        walk::x509(&bytes);
    }
}

#[test]
fn the_corpora_of_the_fuzzers_are_read_or_refused() {
    type Walk = fn(&[u8]);
    let walks: [(&str, Walk); 5] = [
        ("wire_tls", walk::tls),
        ("wire_quic", walk::quic),
        ("wire_dns", walk::dns),
        ("wire_http", walk::http),
        ("wire_dtls", walk::dtls),
    ];
    for (target, walk) in walks {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files: Vec<PathBuf> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 4, "{}", folder.display());
        files.iter().for_each(|file| walk(&std::fs::read(file).unwrap()));
    }
}

/// Classic pcap with Ethernet, which all evasion captures are: the IP packets.
fn packets(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = &file[24..];
    let mut out = Vec::new();
    while let Some(header) = rest.get(..16) {
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = rest.get(16..16 + len) else { break };
        out.extend(frame.get(14..));
        rest = &rest[16 + len..];
    }
    out
}

#[test]
fn damaged_payloads_of_the_evasion_captures_are_read_or_refused() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from).join("evasion");
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("skipped: no shared data");
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut samples = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pcap")) {
        let file = std::fs::read(path).unwrap();
        for packet in packets(&file) {
            let Ok(view) = PacketView::parse(packet) else { continue };
            if !view.payload().is_empty() {
                samples.push(view.payload().to_vec());
            }
        }
    }
    assert!(samples.len() > 100);
    for (seed, walk) in [walk::tls, walk::quic, walk::dns, walk::http, walk::dtls].into_iter().enumerate() {
        hurt(100 + seed as u64, 2_000, &samples, walk);
    }
}

/// `OKNO_WRITE_CORPORA=1` writes the samples anew.
#[test]
fn the_fuzzers_begin_with_todays_samples() {
    for (target, samples) in [
        ("wire_tls", tls_samples()),
        ("wire_quic", quic_samples()),
        ("wire_dns", dns_samples()),
        ("wire_http", http_samples()),
        ("wire_dtls", dtls_samples()),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        for (index, sample) in samples.iter().enumerate() {
            let path = folder.join(format!("{index:02}"));
            if std::env::var_os("OKNO_WRITE_CORPORA").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, sample).unwrap();
            }
            assert!(std::fs::read(&path).unwrap() == *sample, "{}", path.display());
        }
    }
}
