//! The path with boxes of the test's own.

use okno_censor::Injection;
use okno_wire::Endpoint;
use okno_wire::tls::preset;

use super::*;
use crate::evasion::{Segment, strategy};

/// A box that answers by a function and remembers what it saw.
struct Probe<F> {
    seen: Vec<(Instant, Direction, u8, usize)>,
    rule: F,
}

impl<F: FnMut(Direction, &PacketView<'_>, &mut Effects) -> Verdict> Middlebox for Probe<F> {
    fn on_packet(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.seen.push((now, direction, packet.ttl, packet.payload().len()));
        (self.rule)(direction, packet, context.effects)
    }

    fn on_timer(&mut self, _now: Instant, _context: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

fn probe<F: FnMut(Direction, &PacketView<'_>, &mut Effects) -> Verdict>(rule: F) -> Probe<F> {
    Probe { seen: Vec::new(), rule }
}

fn talk() -> Conversation {
    let end = |ip: &str, port| Endpoint { ip: ip.parse().expect("an address"), port };
    let hello = preset::curl(1, Some("www.example.org")).emit_record();
    Conversation::new(end("10.0.0.2", 40_000), end("198.51.100.7", 443), hello, "www.example.org")
}

fn plain(talk: &Conversation) -> Sequence {
    talk.sequence(&[Segment::data(0, &talk.first)])
}

fn start() -> Road {
    Road::new(Instant::from_secs(1_700_000_000))
}

#[test]
fn without_a_box_the_client_gets_the_whole_answer() {
    let talk = talk();
    let outcome = walk(&talk, &plain(&talk), &mut [], &start());
    assert_eq!(outcome.ending, Ending::Through);
    assert_eq!(outcome.read, "www.example.org");
    assert!(outcome.answered >= 4_000 && outcome.answered == outcome.answer);
}

#[test]
fn a_box_sees_packets_with_the_ttl_that_its_hop_leaves_and_in_order_of_time() {
    let talk = talk();
    let mut boxed = probe(|_, _, _| Verdict::Pass);
    walk(&talk, &plain(&talk), &mut [Placed { hop: 3, middlebox: &mut boxed }], &start());
    let up = boxed.seen.iter().filter(|(_, direction, ..)| *direction == Direction::Up);
    let down = boxed.seen.iter().filter(|(_, direction, ..)| *direction == Direction::Down);
    assert!(up.clone().count() > 3 && up.clone().all(|(_, _, ttl, _)| *ttl == 61));
    assert!(down.clone().count() > 3 && down.clone().all(|(_, _, ttl, _)| *ttl == 64 - 7));
    assert!(boxed.seen.windows(2).all(|pair| pair[0].0 <= pair[1].0));
}

#[test]
fn a_packet_of_low_ttl_passes_the_box_and_never_arrives() {
    let talk = talk();
    let sequence = (strategy("fake_ttl").expect("a strategy").build)(&talk);
    let mut boxed = probe(|_, _, _| Verdict::Pass);
    let outcome = walk(&talk, &sequence, &mut [Placed { hop: 2, middlebox: &mut boxed }], &start());
    let hellos = |seen: &[(Instant, Direction, u8, usize)]| {
        seen.iter().filter(|(_, way, _, len)| *way == Direction::Up && *len == talk.first.len()).count()
    };
    assert_eq!(hellos(&boxed.seen), 2);
    assert_eq!(outcome.ending, Ending::Through);
    assert!(!outcome.at_server.iter().any(|(_, fate)| *fate == Fate::TtlEnded));
}

#[test]
fn boxes_act_in_the_order_of_their_hops_and_a_dropped_packet_meets_no_further_one() {
    let talk = talk();
    let mut near = probe(|direction, view: &PacketView<'_>, _: &mut Effects| {
        if direction == Direction::Up && !view.payload().is_empty() { Verdict::Drop } else { Verdict::Pass }
    });
    let mut far = probe(|_, _, _| Verdict::Pass);
    let mut boxes = [Placed { hop: 2, middlebox: &mut near }, Placed { hop: 6, middlebox: &mut far }];
    let outcome = walk(&talk, &plain(&talk), &mut boxes, &start());
    assert_eq!(outcome.ending, Ending::NeverArrived);
    assert!(far.seen.iter().all(|(_, _, _, len)| *len == 0));
    assert_eq!(far.seen.len(), 3, "the handshake");
}

#[test]
fn a_forged_reset_with_the_right_number_ends_it_and_one_with_a_wrong_number_does_not() {
    for (shift, ending) in [(0, Ending::Reset), (5, Ending::Through)] {
        let talk = talk();
        let (client, server, isn) = (talk.client, talk.server, talk.server_isn);
        let mut boxed = probe(move |direction, view: &PacketView<'_>, effects: &mut Effects| {
            if direction == Direction::Up && !view.payload().is_empty() {
                let mut tcp = TcpRepr::data(server.port, client.port, isn.wrapping_add(1 + shift), 0);
                tcp.flags = flag::RST;
                let packet = tcp.emit(&IpRepr::new(server.ip, client.ip), &[]);
                effects.injections.push(Injection {
                    direction: Direction::Down,
                    delay: Duration::ZERO,
                    packet,
                });
            }
            Verdict::Pass
        });
        let outcome = walk(&talk, &plain(&talk), &mut [Placed { hop: 2, middlebox: &mut boxed }], &start());
        assert_eq!(outcome.ending, ending, "shift {shift}");
    }
}

#[test]
fn what_the_box_keeps_silent_about_shows_in_the_ending() {
    let answers = |keep: usize| {
        let talk = talk();
        let mut passed = 0;
        let mut boxed = probe(move |direction, view: &PacketView<'_>, _: &mut Effects| {
            if direction == Direction::Down && !view.payload().is_empty() {
                passed += 1;
                if passed > keep {
                    return Verdict::Drop;
                }
            }
            Verdict::Pass
        });
        walk(&talk, &plain(&talk), &mut [Placed { hop: 2, middlebox: &mut boxed }], &start()).ending
    };
    assert_eq!(answers(0), Ending::Unanswered);
    assert_eq!(answers(1), Ending::Frozen);
    assert_eq!(answers(100), Ending::Through);
}

#[test]
fn a_lowered_ttl_keeps_a_right_checksum_right_and_a_wrong_one_wrong() {
    let talk = talk();
    let mut packet = talk.syn().emit(&talk.ip(64), &[]);
    assert!(lower_ttl(&mut packet, 9));
    assert!(PacketView::parse(&packet).is_ok_and(|view| view.ttl == 55 && view.ip_checksum_holds()));
    packet[10] ^= 0x40;
    assert!(lower_ttl(&mut packet, 5));
    assert!(PacketView::parse(&packet).is_ok_and(|view| view.ttl == 50 && !view.ip_checksum_holds()));
    assert!(!lower_ttl(&mut packet, 50));
}
