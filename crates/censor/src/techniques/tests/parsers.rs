//! What each year's parser sees: the evasions' cells, rule by rule.

use okno_wire::build::{IpRepr, TcpRepr};
use okno_wire::packet::flag;
use okno_wire::tls::{extension, preset, record, split_records};

use super::bench::{Bench, Line, hello};
use crate::middlebox::{Direction, Verdict};

/// How a hello is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    Whole,
    Segments,
    Records,
    SegmentsAndRecords,
    RecordFirst,
    Padded,
    JunkFirst,
    TrailingDot,
}

fn payloads(sent: Sent, name: &str, ech: bool) -> Vec<Vec<u8>> {
    let mut repr = preset::curl(1, Some(name));
    if ech {
        repr = repr.with_extension(extension::ech_outer(7, &[1; 32], &[2; 160]));
    }
    let message = repr.emit();
    let whole = record(22, 0x0301, &message);
    let cut = whole.len() / 2;
    match sent {
        Sent::Whole => vec![whole],
        Sent::Segments => vec![whole[..cut].to_vec(), whole[cut..].to_vec()],
        Sent::Records => vec![split_records(0x0301, &message, &[60])],
        Sent::SegmentsAndRecords => {
            let records = split_records(0x0301, &message, &[60]);
            vec![records[..30].to_vec(), records[30..].to_vec()]
        }
        Sent::RecordFirst => vec![[record(20, 0x0301, &[1]), whole].concat()],
        Sent::Padded => {
            let padded = record(22, 0x0301, &repr.padded_to(2000).emit());
            padded.chunks(1400).map(<[u8]>::to_vec).collect()
        }
        Sent::JunkFirst => vec![vec![0xf7; 120], whole],
        Sent::TrailingDot => vec![record(22, 0x0301, &preset::curl(1, Some(&format!("{name}."))).emit())],
    }
}

/// Whether the rule triggered.
fn seen(profile: &str, rule: &str, sent: Sent, name: &str, to: &str) -> bool {
    let mut bench = Bench::of(profile, rule);
    let mut line = Line::to(to, 443);
    bench.open(&mut line);
    for payload in payloads(sent, name, rule == "ech") {
        bench.up(&mut line, &payload);
    }
    bench.triggered() == 1
}

#[test]
fn each_years_parser_sees_what_the_record_says_it_saw() {
    use Sent::{JunkFirst, Padded, RecordFirst, Records, Segments, SegmentsAndRecords, TrailingDot, Whole};
    let (twitter, facebook, outer) = ("twitter.com", "www.facebook.com", "cloudflare-ech.com");
    let (host, cloudflare) = ("192.0.2.44", "104.16.1.1");
    for (profile, rule, name, to, sent, expected) in [
        ("tspu-2021", "twitter-exact", twitter, host, Whole, true),
        ("tspu-2021", "twitter-exact", twitter, host, Segments, false),
        ("tspu-2021", "twitter-exact", twitter, host, Records, false),
        ("tspu-2021", "twitter-exact", twitter, host, RecordFirst, false),
        ("tspu-2021", "twitter-exact", twitter, host, Padded, false),
        ("tspu-2021", "twitter-exact", twitter, host, JunkFirst, false),
        ("tspu-2021", "twitter-exact", twitter, host, TrailingDot, false),
        ("tspu-2022", "sni-1", facebook, host, Whole, true),
        ("tspu-2022", "sni-1", facebook, host, Segments, false),
        ("tspu-2022", "sni-1", facebook, host, Records, false),
        ("tspu-2022", "sni-1", facebook, host, RecordFirst, false),
        ("tspu-2022", "sni-1", facebook, cloudflare, Padded, false),
        ("tspu-2022", "sni-2", "nordvpn.com", host, Segments, false),
        ("tspu-2022", "sni-4", "rutracker.org", host, Segments, false),
        ("tspu-2024", "sni-2", "nordvpn.com", host, Segments, false),
        ("tspu-2026", "sni-2", "nordvpn.com", host, Segments, true),
        ("tspu-2024", "sni-1", facebook, cloudflare, Padded, true),
        ("tspu-2024", "sni-1", facebook, host, Padded, false),
        ("tspu-2024", "ech", outer, cloudflare, Whole, true),
        ("tspu-2024", "ech", outer, cloudflare, Segments, true),
        ("tspu-2024", "ech", outer, cloudflare, Records, true),
        ("tspu-2024", "ech", outer, cloudflare, SegmentsAndRecords, false),
        ("tspu-2025", "ech", outer, cloudflare, SegmentsAndRecords, false),
        ("tspu-2026", "sni-1", facebook, host, Segments, true),
        ("tspu-2026", "sni-4", "rutracker.org", host, Segments, true),
        ("tspu-2026:old-node", "sni-1", facebook, host, Segments, false),
    ] {
        assert_eq!(seen(profile, rule, sent, name, to), expected, "{profile} {rule} {sent:?} {to}");
    }
}

#[test]
fn forty_five_fragments_go_on_and_hide_nothing_and_forty_six_are_discarded() {
    let run = |count: usize| {
        let mut bench = Bench::of("tspu-2022", "sni-1");
        let mut line = Line::new(1000);
        bench.open(&mut line);
        let ip = IpRepr::new(line.inside, line.outside);
        let tcp = TcpRepr::data(1000, 443, line.seq.0, line.seq.1);
        let hello = record(22, 0x0301, &preset::chrome(1, Some("www.facebook.com"), true).emit());
        let segment = tcp.emit_segment(&ip, &hello[..1400.min(hello.len())]);
        let cuts: Vec<usize> = (1..count).map(|n| n * 8).collect();
        let pieces = ip.emit_fragments(6, 7, &cuts, &segment);
        assert_eq!(pieces.len(), count);
        let verdicts: Vec<Verdict> = pieces.iter().map(|piece| bench.send(Direction::Up, piece)).collect();
        assert_eq!(bench.triggered(), 0);
        (bench.injected().len(), verdicts)
    };
    let (forwarded, verdicts) = run(45);
    assert_eq!(forwarded, 45, "{verdicts:?}");
    let (forwarded, verdicts) = run(46);
    assert_eq!(forwarded, 0, "{verdicts:?}");
}

#[test]
fn a_syn_of_the_server_disarms_the_rule() {
    let mut bench = Bench::of("tspu-2022", "sni-1");
    let mut line = Line::new(1000);
    let syn = line.packet(Direction::Up, flag::SYN, &[]);
    assert!(bench.passes(Direction::Up, &syn));
    let split = line.packet(Direction::Down, flag::SYN, &[]);
    assert!(bench.passes(Direction::Down, &split));
    let ack = line.packet(Direction::Up, flag::SYN | flag::ACK, &[]);
    assert!(bench.passes(Direction::Up, &ack));
    bench.up(&mut line, &hello("www.facebook.com"));
    assert_eq!(bench.triggered(), 0);
}

#[test]
fn a_decoy_that_repeats_an_ip_identification_is_punished_on_googles_ranges() {
    let silent = |to: &str, ids: &[u16]| {
        let mut bench = Bench::of("tspu-2024", "googlevideo-decoys");
        let mut line = Line::to(to, 443);
        bench.open(&mut line);
        let passes = |id: &u16| {
            line.ip_id = *id;
            bench.up(&mut line, b"x")
        };
        !ids.iter().all(passes)
    };
    assert!(silent("142.250.1.1", &[77, 77]));
    assert!(silent("142.250.1.1", &[77, 78, 0, 77]), "a decoy before, another between");
    assert!(!silent("142.250.1.1", &[77, 78, 79, 80, 81]));
    assert!(!silent("142.250.1.1", &[0, 0, 0]));
    assert!(!silent("192.0.2.44", &[77, 77]));
}
