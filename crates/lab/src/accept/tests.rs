//! The receiver against the captures of `evasion`, and against each rule alone.

use okno_wire::tls::preset;
use okno_wire::{Endpoint, Instant, PacketView};

use super::*;
use crate::capture::Capture;
use crate::evasion::{Carrier, Conversation, Sequence, strategies, strategy};

fn talk(port: u16) -> Conversation {
    let end = |ip: &str, port| Endpoint { ip: ip.parse().expect("an address"), port };
    let hello = preset::curl(1, Some("www.blocked.example")).emit_record();
    let first = if port == 80 {
        b"GET / HTTP/1.1\r\nHost: www.blocked.example\r\nUser-Agent: x\r\n\r\n".to_vec()
    } else {
        hello
    };
    Conversation::new(end("10.0.0.2", 40_000), end("198.51.100.7", port), first, "www.blocked.example")
}

/// The same over IPv6.
fn talk6() -> Conversation {
    let mut talk = talk(443);
    talk.client.ip = "2001:db8::2".parse().expect("an address");
    talk.server.ip = "2001:db8:1::7".parse().expect("an address");
    talk
}

fn taken(talk: &Conversation, sequence: &Sequence, stack: Stack) -> Accepted {
    let mut stack = stack;
    stack.data_in_syn = sequence.manner == crate::evasion::Manner::DataInSyn;
    let syn = talk.tcp(0, 0);
    assert_eq!(syn.source_port, talk.client.port);
    let packets: Vec<(Instant, &[u8])> =
        sequence.steps.iter().map(|step| (Instant::ZERO + step.at, step.packet.as_slice())).collect();
    replay(&packets, stack, Hops { routers: 9, filters_hop_by_hop: true })
}

#[test]
fn linux_takes_the_real_hello_of_every_strategy_over_tcp() {
    for strategy in strategies() {
        let talk = match strategy.carrier {
            Carrier::Http => talk(80),
            Carrier::Tcp6 => talk6(),
            Carrier::Udp | Carrier::Quic => continue,
            Carrier::Tcp | Carrier::Tls => talk(443),
        };
        let got = taken(&talk, &(strategy.build)(&talk), Stack::linux());
        let sequence = (strategy.build)(&talk);
        assert_eq!(got.greeting().name(), sequence.name, "{}: {:?}", strategy.id, got.fates);
    }
}

#[test]
fn windows_takes_decoys_that_linux_refuses_by_md5_and_by_timestamp() {
    let talk = talk(443);
    for id in ["fake_md5", "fake_timestamp"] {
        let sequence = (strategy(id).expect("a strategy").build)(&talk);
        let linux = taken(&talk, &sequence, Stack::linux());
        let windows = taken(&talk, &sequence, Stack::windows());
        assert_eq!(linux.greeting().name(), "www.blocked.example", "{id}");
        assert_ne!(windows.greeting().name(), "www.blocked.example", "{id}");
    }
}

#[test]
fn each_decoy_fails_for_its_own_reason() {
    let expected = [
        ("fake_ttl", Fate::TtlEnded),
        ("fake_badsum", Fate::TransportChecksum),
        ("fake_badseq", Fate::OutOfWindow),
        ("fake_badack", Fate::BadAck),
        ("fake_md5", Fate::UnexpectedMd5),
        ("fake_noack", Fate::NoAckFlag),
        ("fake_timestamp", Fate::OldTimestamp),
        ("rst_badsum", Fate::TransportChecksum),
        ("rstack_badseq", Fate::OutOfWindow),
    ];
    let talk = talk(443);
    for (id, fate) in expected {
        let got = taken(&talk, &(strategy(id).expect("a strategy").build)(&talk), Stack::linux());
        assert_eq!(got.fates[2], fate, "{id}");
    }
}

#[test]
fn only_an_exact_reset_ends_a_connection() {
    let talk = talk(443);
    for (shift, reset) in [(0, true), (1, false), (60_000, false), (70_000, false), (-1, false)] {
        let segment = crate::evasion::Segment::data(0, &[]);
        let segment = segment.with(|s| {
            s.flags = okno_wire::packet::flag::RST;
            s.offset = shift;
        });
        assert_eq!(taken(&talk, &talk.sequence(&[segment]), Stack::linux()).reset, reset, "{shift}");
    }
}

#[test]
fn the_exact_number_of_fragments_does_not_matter_to_a_server_but_an_overlap_does() {
    let talk = talk(443);
    for id in ["ipfrag_45", "ipfrag_46"] {
        let got = taken(&talk, &(strategy(id).expect("a strategy").build)(&talk), Stack::linux());
        assert_eq!(got.greeting().name(), "www.blocked.example", "{id}");
    }
    let mut sequence = (strategy("ipfrag").expect("a strategy").build)(&talk);
    let mut bent = sequence.steps[3].clone();
    // The second fragment once more, eight bytes earlier: it overlaps the first.
    let field = u16::from_be_bytes([bent.packet[6], bent.packet[7]]) - 1;
    bent.packet[6..8].copy_from_slice(&field.to_be_bytes());
    okno_wire::build::mend_checksums(&mut bent.packet);
    sequence.steps.insert(3, bent);
    let got = taken(&talk, &sequence, Stack::linux());
    assert!(got.fates.contains(&Fate::FragmentOverlap), "{:?}", got.fates);
    assert_eq!(got.greeting(), Greeting::Incomplete);
}

#[test]
fn a_first_ipv6_fragment_without_the_tcp_header_is_dropped_and_one_of_ipv4_is_not() {
    for (talk, taken_whole) in [(talk(443), true), (talk6(), false)] {
        let tcp = talk.tcp(0, okno_wire::packet::flag::ACK);
        let ip = talk.ip(64);
        let pieces = ip.emit_fragments(6, 9, &[8], &tcp.emit_segment(&ip, &talk.first));
        let mut sequence = talk.sequence(&[]);
        let at = talk.rtt * 2;
        sequence.steps.extend(pieces.into_iter().map(|packet| crate::evasion::Step { at, packet }));
        let got = taken(&talk, &sequence, Stack::linux());
        assert_eq!(got.stream == talk.first, taken_whole, "{:?}", got.fates);
        assert_eq!(got.fates.contains(&Fate::FragmentTooShort), !taken_whole);
    }
}

#[test]
fn queued_overlaps_follow_each_system() {
    let talk = talk(80);
    let at = |offset: usize, bytes: &[u8]| crate::evasion::Segment::data(offset, bytes);
    // Queued: 4..8 "bbbb". Then a segment that begins earlier, 2..6 "aaaa". Then the start.
    let sequence = talk.sequence(&[at(4, b"bbbb"), at(2, b"aaaa"), at(0, b"..")]);
    assert_eq!(taken(&talk, &sequence, Stack::linux()).stream, b"..aaaabb");
    assert_eq!(taken(&talk, &sequence, Stack::windows()).stream, b"..aabbbb");
    // A segment that begins later loses on both.
    let sequence = talk.sequence(&[at(2, b"aaaa"), at(4, b"bbbb"), at(0, b"..")]);
    assert_eq!(taken(&talk, &sequence, Stack::linux()).stream, b"..aaaabb");
    assert_eq!(taken(&talk, &sequence, Stack::windows()).stream, b"..aaaabb");
}

#[test]
fn heaps_of_overlaps_give_what_linux_6_18_delivered() {
    /// Offset, letter and length of each segment.
    type Heap = &'static [(i64, u8, usize)];
    // Each with what the kernel's application read.
    let cases: [(Heap, &str); 2] = [
        (
            &[(10, b'A', 37), (30, b'B', 45), (42, b'C', 15), (-3, b'D', 46), (2, b'E', 50), (54, b'F', 15)],
            "43D 4A 28B 125z",
        ),
        (
            &[
                (6, b'A', 38),
                (53, b'B', 26),
                (9, b'C', 36),
                (37, b'D', 5),
                (75, b'E', 8),
                (33, b'F', 39),
                (-1, b'G', 45),
            ],
            "44G 1C 27F 7B 4E 117z",
        ),
    ];
    for (heap, read) in cases {
        let talk = talk(443);
        let piece = |(offset, letter, len): &(i64, u8, usize)| {
            crate::evasion::Segment::data(0, &vec![*letter; *len]).with(|segment| segment.offset = *offset)
        };
        let mut pieces: Vec<_> = heap.iter().map(piece).collect();
        pieces.push(crate::evasion::Segment::data(0, &[b'z'; 200]));
        let got = taken(&talk, &talk.sequence(&pieces), Stack::linux());
        let runs: Vec<String> = got
            .stream
            .chunk_by(|one, next| one == next)
            .map(|run| format!("{}{}", run.len(), char::from(run[0])))
            .collect();
        assert_eq!(runs.join(" "), read);
    }
}

#[test]
fn any_order_and_any_overlap_of_honest_pieces_gives_the_flight() {
    let talk = talk(443);
    let mut state = 7_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below.max(1)
    };
    for _ in 0..500 {
        let mut pieces: Vec<_> = crate::evasion::Segment::chunks(&talk.first, 1 + draw(90));
        for _ in 0..draw(6) {
            let start = draw(talk.first.len());
            let len = draw(talk.first.len() - start);
            pieces.push(crate::evasion::Segment::data(start, &talk.first[start..start + len]));
        }
        for index in (1..pieces.len()).rev() {
            pieces.swap(index, draw(index + 1));
        }
        for stack in [Stack::linux(), Stack::windows()] {
            let got = taken(&talk, &talk.sequence(&pieces), stack);
            assert_eq!(got.stream, talk.first, "{:?}", stack.os);
        }
    }
}

#[test]
fn cut_and_changed_packets_never_panic_the_receiver() {
    let talk = talk(443);
    let mut state = 11_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below.max(1)
    };
    for strategy in strategies() {
        for _ in 0..40 {
            let mut sequence = (strategy.build)(&talk);
            for step in &mut sequence.steps {
                let at = draw(step.packet.len());
                if draw(3) == 0 {
                    step.packet[at] = draw(256) as u8;
                }
                if draw(10) == 0 {
                    step.packet.truncate(at);
                }
            }
            let got = taken(&talk, &sequence, Stack::linux());
            assert!(got.stream.len() <= 70_000, "{}", strategy.id);
        }
    }
}

/// Packets of one capture of the evasion set.
fn packets_of(path: &std::path::Path) -> Vec<(Instant, Vec<u8>)> {
    let file = std::fs::File::open(path).expect("a readable capture");
    let mut capture = Capture::open(file).expect("a capture");
    let mut out = Vec::new();
    while let Some(packet) = capture.next() {
        let packet = packet.expect("a packet");
        out.push((packet.at, packet.ip.to_vec()));
    }
    out
}

fn shared(folder: &str) -> Option<std::path::PathBuf> {
    let root = std::env::var_os("OKNO_SHARED_DATA")
        .map(std::path::PathBuf::from)
        .unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

#[test]
fn the_captures_of_the_evasion_set_all_give_the_real_hello_on_linux() {
    let Some(folder) = shared("evasion") else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "pcap"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 51);
    let mut failed = Vec::new();
    for path in files {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("").to_owned();
        let packets = packets_of(&path);
        let first = PacketView::parse(&packets[0].1).expect("a packet");
        let flights: Vec<(Instant, &[u8])> = packets.iter().map(|(at, ip)| (*at, ip.as_slice())).collect();
        let got = replay(&flights, Stack::linux(), Hops { routers: 9, filters_hop_by_hop: true });
        let over_udp = first.udp().is_some();
        let read = if over_udp { quic_name(&got.datagrams) } else { Some(got.greeting().name()) };
        let read = read.unwrap_or_default();
        if read != "www.facebook.com" {
            failed.push((name, got.fates, read));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_server_reads_the_real_name_of_every_quic_strategy() {
    let talk = talk(443);
    for strategy in strategies().filter(|strategy| strategy.carrier == Carrier::Quic) {
        let sequence = (strategy.build)(&talk);
        let got = taken(&talk, &sequence, Stack::linux());
        assert_eq!(quic_name(&got.datagrams).as_deref(), Some(sequence.name.as_str()), "{}", strategy.id);
    }
}
