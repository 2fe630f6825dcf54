//! Tests of the fragment queue, named after what was measured.

use okno_wire::build::{IpRepr, udp_segment};
use okno_wire::packet::number;

use super::*;

fn ends() -> [IpRepr; 2] {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    [IpRepr::new(ip("192.0.2.1"), ip("198.51.100.2")), IpRepr::new(ip("2001:db8::1"), ip("2001:db8::2"))]
}

fn pieces(ip: &IpRepr, count: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let payload: Vec<u8> = (0..count * 8).map(|byte| byte as u8).collect();
    let segment = udp_segment(ip, 5000, 443, &payload[..count * 8 - 8]);
    let cuts: Vec<usize> = (1..count).map(|index| index * 8).collect();
    (ip.emit_fragments(number::UDP, 77, &cuts, &segment), segment)
}

fn feed(queue: &mut FragmentQueue, now: u64, packet: &[u8], switches: &FragmentSwitches) -> Queued {
    let view = PacketView::parse(packet).expect("a packet");
    queue.push(Instant::from_secs(now), &view, view.fragment.expect("a fragment"), switches)
}

#[test]
fn forty_five_fragments_pass_still_fragmented_and_the_46th_discards_the_packet() {
    for ip in ends() {
        let switches = FragmentSwitches::default();
        for count in [2, 45, 46] {
            let mut queue = FragmentQueue::new();
            let (sent, segment) = pieces(&ip, count);
            assert_eq!(sent.len(), count);
            let outcomes: Vec<Queued> =
                sent.iter().map(|piece| feed(&mut queue, 1, piece, &switches)).collect();
            assert!(outcomes[..count - 1].iter().all(|outcome| *outcome == Queued::Held));
            match &outcomes[count - 1] {
                Queued::Whole { packet, pieces } => {
                    assert!(count <= 45);
                    assert_eq!(pieces, &sent);
                    let whole = PacketView::parse(packet).expect("a packet");
                    assert_eq!(whole.ip_payload(), segment);
                    assert!(whole.fragment.is_none() && whole.ip_checksum_holds());
                    assert!(whole.transport_checksum_holds());
                }
                outcome => assert!(count == 46 && matches!(outcome, Queued::Discarded(_)), "{outcome:?}"),
            }
            assert_eq!(queue.bytes(), 0);
        }
    }
}

#[test]
fn the_first_fragments_ttl_is_copied_into_the_others_in_any_order() {
    for mut ip in ends() {
        let mut sent = Vec::new();
        let (shape, _) = pieces(&ip, 4);
        for (index, _) in shape.iter().enumerate() {
            ip.ttl = 10 + index as u8;
            sent.push(pieces(&ip, 4).0[index].clone());
        }
        sent.reverse();
        let mut queue = FragmentQueue::new();
        let switches = FragmentSwitches::default();
        let last = sent.iter().map(|piece| feed(&mut queue, 1, piece, &switches)).last();
        let Some(Queued::Whole { pieces, .. }) = last else { panic!("{last:?}") };
        for piece in pieces {
            let view = PacketView::parse(&piece).expect("a packet");
            assert_eq!(view.ttl, 10);
            assert!(view.ip_checksum_holds());
        }
    }
}

#[test]
fn overlaps_go_as_the_switch_says() {
    let ip = &ends()[0];
    let fragment = |offset, more, fill: u8, len| {
        ip.emit(number::UDP, Some(Fragment { id: 5, offset, more }), &vec![fill; len])
    };
    let sent = [fragment(0, true, 1, 16), fragment(8, true, 2, 16), fragment(24, false, 3, 8)];
    let run = |overlap| {
        let switches = FragmentSwitches { overlap, ..FragmentSwitches::default() };
        let mut queue = FragmentQueue::new();
        sent.iter().map(|piece| feed(&mut queue, 1, piece, &switches)).last()
    };
    let byte_at_8 = |outcome| match outcome {
        Some(Queued::Whole { packet, .. }) => packet[20 + 8],
        other => panic!("{other:?}"),
    };
    assert_eq!(byte_at_8(run(FragmentOverlap::First)), 1);
    assert_eq!(byte_at_8(run(FragmentOverlap::Last)), 2);
    assert!(matches!(run(FragmentOverlap::Discard), Some(Queued::Discarded(_))));
}

#[test]
fn a_repeated_fragment_is_no_overlap_but_counts() {
    let (sent, _) = pieces(&ends()[0], 3);
    let switches = FragmentSwitches { max_fragments: 4, ..FragmentSwitches::default() };
    let mut queue = FragmentQueue::new();
    for piece in [&sent[0], &sent[0], &sent[1]] {
        assert_eq!(feed(&mut queue, 1, piece, &switches), Queued::Held);
    }
    assert!(matches!(feed(&mut queue, 1, &sent[2], &switches), Queued::Whole { .. }));
}

#[test]
fn what_waits_too_long_or_is_too_much_goes_and_is_counted() {
    let (sent, _) = pieces(&ends()[0], 2);
    let switches = FragmentSwitches::default();
    let mut queue = FragmentQueue::new();
    assert_eq!(feed(&mut queue, 100, &sent[0], &switches), Queued::Held);
    assert!(matches!(feed(&mut queue, 129, &sent[1], &switches), Queued::Whole { .. }));
    assert_eq!(feed(&mut queue, 200, &sent[0], &switches), Queued::Held);
    assert_eq!(feed(&mut queue, 230, &sent[1], &switches), Queued::Held);
    assert_eq!(queue.discarded(), 1);
    let tight = FragmentSwitches { max_bytes: 1000, ..FragmentSwitches::default() };
    for id in 0..10_000_u32 {
        let fragment = Fragment { id, offset: 0, more: true };
        feed(&mut queue, 231, &ends()[0].emit(number::UDP, Some(fragment), &[0; 64]), &tight);
        assert!(queue.bytes() <= 1000);
    }
}

#[test]
fn discarded_packets_are_remembered_only_up_to_a_number() {
    let switches = FragmentSwitches::default();
    let mut queue = FragmentQueue::new();
    for id in 0..60_000_u32 {
        for offset in [0, 8] {
            let fragment = Fragment { id, offset, more: true };
            let piece = ends()[1].emit(number::UDP, Some(fragment), &[0; 16]);
            feed(&mut queue, 1, &piece, &switches);
        }
    }
    assert!(queue.waiting.len() <= MAX_WAITING && queue.order.len() <= MAX_WAITING + 1);
}

#[test]
fn packets_that_become_whole_behind_one_that_never_does_leave_nothing_where_time_stands_still() {
    let switches = FragmentSwitches::default();
    let mut queue = FragmentQueue::new();
    let [ip, _] = ends();
    feed(&mut queue, 1, &pieces(&ip, 2).0[0], &switches);
    for id in 1000..21_000 {
        let sent = ip.emit_fragments(number::UDP, id, &[8], &[0; 16]);
        feed(&mut queue, 1, &sent[0], &switches);
        assert!(matches!(feed(&mut queue, 1, &sent[1], &switches), Queued::Whole { .. }));
    }
    assert!(queue.order.len() <= 1100, "{}", queue.order.len());
}
