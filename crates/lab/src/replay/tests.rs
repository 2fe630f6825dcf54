//! Claims about the replay itself, with boxes made here.

use core::time::Duration;

use okno_censor::{Act, ActKind, Context, Direction, Evidence, Injection, Middlebox, Verdict};
use okno_model::Mechanism;
use okno_wire::{FlowKey, Instant, PacketView, Protocol};

use super::{FlowRow, OpenedBy, Options, Replay, Summary};
use crate::capture::Packet;

/// Drops every packet to port 443 from the third of the run on, and forges one each time.
#[derive(Debug, Default)]
struct Box443 {
    seen: u32,
    up: Vec<(Instant, Direction)>,
}

impl Middlebox for Box443 {
    fn on_packet(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.seen += 1;
        self.up.push((now, direction));
        if self.seen < 3 || packet.ports().1 != 443 {
            return Verdict::Pass;
        }
        let flow: FlowKey = packet.flow().0;
        context.effects.injections.push(Injection { direction, delay: Duration::ZERO, packet: vec![] });
        context.effects.acts.push(Act {
            at: now,
            rule: "three".into(),
            kind: ActKind::Dropped,
            mechanism: Mechanism::parse("tls.timeout.sni").unwrap(),
            flow,
            direction,
            packet: self.seen,
            evidence: Evidence { name: "example.org".into(), ..Evidence::default() },
        });
        Verdict::Drop
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

fn ip(from: [u8; 4], to: [u8; 4], protocol: u8, rest: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
    [&[0x45, 0][..], &total, &[0, 1, 0, 0, 64, protocol, 0, 0], &from, &to, rest].concat()
}

fn tcp(from: u16, to: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let head = [&from.to_be_bytes()[..], &to.to_be_bytes(), &seq.to_be_bytes()].concat();
    [&head[..], &[0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0], payload].concat()
}

const ME: [u8; 4] = [192, 168, 0, 2];
const SITE: [u8; 4] = [203, 0, 113, 5];
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

fn run(packets: &[(u64, Vec<u8>)], options: Options) -> (Vec<FlowRow>, Summary) {
    let mut rows = Vec::new();
    let mut replay = Replay::new(options, Box443::default);
    for (index, (seconds, bytes)) in packets.iter().enumerate() {
        let packet =
            Packet { at: Instant::from_secs(*seconds), ip: bytes, number: index as u64 + 1, link_type: 101 };
        replay.packet(&packet, &mut |row| rows.push(row));
    }
    let summary = replay.finish(&mut |row| rows.push(row));
    (rows, summary)
}

#[test]
fn a_flow_tells_who_opened_it_what_was_dropped_and_why() {
    let request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    let packets = [
        (1, ip(ME, SITE, 6, &tcp(5000, 443, 9, SYN, b""))),
        (1, ip(SITE, ME, 6, &tcp(443, 5000, 1, SYN | ACK, b""))),
        (2, ip(ME, SITE, 6, &tcp(5000, 443, 10, ACK, request))),
        (2, ip(ME, SITE, 6, &tcp(5000, 443, 10, ACK, request))),
        (3, ip(SITE, ME, 6, &tcp(443, 5000, 2, RST, b""))),
    ];
    let (rows, summary) = run(&packets, Options::default());
    let [row] = &rows[..] else { panic!("{} flows", rows.len()) };
    assert_eq!((row.opened_by, row.packets, row.dropped, row.forged), (OpenedBy::Subscriber, [3, 2], 2, 2));
    assert_eq!(row.remote(), (SITE.into(), 443));
    let [deed] = &row.deeds[..] else { panic!("{:?}", row.deeds) };
    assert_eq!((deed.packet, deed.number, &*deed.name), (3, 3, "example.org"));
    assert_eq!((summary.dropped, summary.flows_acted_on, summary.rules["three"].flows), (2, 1, 1));
    assert_eq!(summary.rules["three"].on["example.org"], 1);
}

#[test]
fn ports_used_again_after_a_close_are_another_flow() {
    let packets = [
        (1, ip(ME, SITE, 6, &tcp(5000, 80, 9, SYN, b""))),
        (2, ip(SITE, ME, 6, &tcp(80, 5000, 0, RST, b""))),
        (3, ip(ME, SITE, 6, &tcp(5000, 80, 90, SYN, b""))),
    ];
    let (rows, summary) = run(&packets, Options::default());
    assert_eq!((rows.len(), summary.flows), (2, 2));
    assert_eq!(rows[0].packets, [1, 1]);
}

#[test]
fn silence_ends_a_flow_by_packet_time_and_time_never_goes_back() {
    let datagram = |from: [u8; 4], to: [u8; 4]| ip(from, to, 17, &[19, 136, 19, 137, 0, 8, 0, 0]);
    let packets = [
        (1_000, datagram(ME, SITE)),
        (1_060, datagram(ME, SITE)),
        (900, datagram(ME, SITE)),
        (1_500, datagram(ME, SITE)),
    ];
    let (rows, _) = run(&packets, Options::default());
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].packets, rows[0].last), ([3, 0], Instant::from_secs(1_060)));
}

#[test]
fn the_oldest_flow_goes_when_there_are_too_many() {
    let packets: Vec<(u64, Vec<u8>)> =
        (0..100).map(|at| (1, ip(ME, SITE, 17, &[19, at, 19, 137, 0, 8, 0, 0]))).collect();
    let (rows, summary) = run(&packets, Options { most_flows: 10, ..Options::default() });
    assert_eq!((rows.len(), summary.crowded_out), (100, 90));
    assert!(rows.windows(2).all(|pair| pair[0].flow < pair[1].flow));
}

#[test]
fn later_fragments_and_malformed_packets_are_counted_where_they_belong() {
    let mut first = ip(ME, SITE, 17, &[19, 136, 1, 187, 0, 100, 0, 0]);
    first[6] = 0x20;
    let mut second = ip(ME, SITE, 17, &[7; 16]);
    second[7] = 1;
    let short = ip(ME, SITE, 6, &[1, 2, 3]);
    let packets = [(1, first), (1, second), (1, short), (1, vec![0x45, 0])];
    let (rows, summary) = run(&packets, Options::default());
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].fragments, rows[0].packets), (2, [2, 0]));
    assert_eq!((rows[1].broken_packets, rows[1].broken.unwrap().malformed.layer), (1, "tcp"));
    assert_eq!(summary.malformed[&("tcp", "20 bytes of header")], (1, 3));
    assert_eq!(summary.malformed[&("ipv4", "20 bytes of header")], (1, 4));
}

#[test]
fn the_subscriber_is_whom_the_user_names_then_the_private_end_then_the_opener() {
    let syn = |from: [u8; 4], to: [u8; 4]| (1, ip(from, to, 6, &tcp(5000, 80, 9, SYN, b"")));
    let other = [198, 51, 100, 7];
    let subscriber = |packet: (u64, Vec<u8>), ranges: &[&str]| {
        let subscribers = ranges.iter().map(|range| range.parse().unwrap()).collect();
        let (rows, _) = run(&[packet], Options { subscribers, ..Options::default() });
        (rows[0].subscriber().0, rows[0].opened_by)
    };
    assert_eq!(subscriber(syn(SITE, ME), &[]), (ME.into(), OpenedBy::Remote));
    assert_eq!(subscriber(syn(SITE, other), &[]), (SITE.into(), OpenedBy::Subscriber));
    assert_eq!(subscriber(syn(SITE, ME), &["203.0.113.0/24"]), (SITE.into(), OpenedBy::Subscriber));
    assert_eq!(subscriber(syn(SITE, other), &["198.51.100.7"]), (other.into(), OpenedBy::Remote));
}

#[test]
fn an_unrecognised_protocol_has_no_name_and_esp_has() {
    let packets = [(1, ip(ME, SITE, 50, &[1; 40])), (1, ip(ME, SITE, 89, &[1; 40]))];
    let (rows, summary) = run(&packets, Options::default());
    let protocols: Vec<_> = rows.iter().map(|row| row.recognition.as_ref().map(|r| r.protocol)).collect();
    assert_eq!(protocols, [Some(Protocol::Esp), None]);
    assert_eq!(summary.protocols[""].flows, 1);
}

#[test]
fn what_does_not_fit_into_memory_is_let_go_and_counted() {
    let mut rows = 0;
    let mut replay = Replay::new(Options { keep_streams: true, ..Options::default() }, Box443::default);
    let text = [7; 1_400];
    for port in 0..6_000_u16 {
        for piece in 0..12 {
            let bytes = ip(ME, SITE, 6, &tcp(2_000 + port, 9_999, piece * 1_400, ACK, &text));
            let packet = Packet { at: Instant::from_secs(1), ip: &bytes, number: 1, link_type: 101 };
            replay.packet(&packet, &mut |_| rows += 1);
            assert!(replay.held < super::HELD_MOST + 100_000);
        }
    }
    let summary = replay.finish(&mut |_| rows += 1);
    assert_eq!((rows, summary.flows), (6_000, 6_000));
    assert!(summary.unread > 1_000, "{} unread", summary.unread);
}
