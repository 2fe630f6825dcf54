//! Where engines of the field went wrong: numbers near their wrap, both address families, triggers out of
//! order, the moment just after a timer, texts longer than they should be.

use super::*;
use crate::switches::Reassembly;

fn resets(drops: bool) -> Decision {
    let decision = Decision::new(Action::Nothing, Evidence::default())
        .forging(Forge::reset(Direction::Down))
        .forging(Forge::reset(Direction::Up));
    if drops { decision.dropping_this() } else { decision }
}

/// Lines of both families whose numbers wrap within the hello.
fn wrapping_lines() -> [Line; 2] {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let (a, b) = (ip("2001:db8:d0::7"), ip("2001:db8:f0::9"));
    let (mut old, mut new) = (Line::new(1000), Line::new(1000));
    (new.client, new.server) = (IpRepr::new(a, b), IpRepr::new(b, a));
    for line in [&mut old, &mut new] {
        (line.seq, line.ack) = (u32::MAX - 100, u32::MAX - 3);
    }
    [old, new]
}

fn tcp_of(packet: &[u8]) -> (u32, u32, u8) {
    let view = PacketView::parse(packet).expect("a packet");
    assert!(view.transport_checksum_holds() && view.ip_checksum_holds());
    let tcp = view.tcp().expect("tcp");
    (tcp.seq(), tcp.ack(), tcp.flags())
}

#[test]
fn a_trigger_put_together_out_of_order_across_the_wrap_is_reset_with_the_number_each_side_expects() {
    for (mut line, drops) in wrapping_lines().into_iter().zip([false, true]) {
        let switches = Switches {
            tcp: crate::switches::TcpSwitches { reassembly: Reassembly::Queue, ..Default::default() },
            ..Default::default()
        };
        let mut bench = Bench::new(engine(switches, resets(drops)));
        bench.handshake(5, &mut line);
        bench.down(5, &line.down(DATA, &[0; 50]));
        let bytes = hello("blocked.example");
        let start = line.seq;
        let pieces: Vec<Vec<u8>> = bytes.chunks(120).map(|piece| line.up(DATA, piece)).collect();
        assert!(line.seq < start && line.ack < 100, "both numbers wrapped");
        for piece in pieces[1..].iter().rev() {
            assert_eq!(bench.up(5, piece), Verdict::Pass);
        }
        assert!(bench.effects.injections.is_empty());
        assert_eq!(bench.up(5, &pieces[0]) == Verdict::Drop, drops);
        let [down, up] = bench.effects.injections.as_slice() else { panic!("two packets") };
        assert_eq!(tcp_of(&down.packet), (line.ack, line.seq, flag::RST | flag::ACK));
        assert_eq!(tcp_of(&up.packet), (line.seq, line.ack, flag::RST | flag::ACK));
    }
}

#[test]
fn a_rewritten_answer_holds_its_checksums_and_numbers_across_the_wrap_in_both_families() {
    for mut line in wrapping_lines() {
        let decision = Decision::new(Action::RewriteToReset { way: Direction::Down }, Evidence::default());
        let mut bench = Bench::new(engine(Switches::default(), decision));
        bench.handshake(5, &mut line);
        bench.up(5, &line.up(DATA, &hello("blocked.example")));
        let (seq, ack) = (line.ack, line.seq);
        let Verdict::Rewrite(packet) = bench.down(5, &line.down(DATA, &[7; 901])) else { panic!("passed") };
        assert_eq!(tcp_of(&packet), (seq, ack, flag::RST | flag::ACK));
    }
}

#[test]
fn a_window_check_holds_across_the_wrap() {
    for (mut line, far) in wrapping_lines().into_iter().zip([false, true]) {
        let mut switches = Switches::default();
        switches.tcp.check_window = true;
        let mut bench = Bench::new(engine(switches, drop_for(75)));
        bench.handshake(5, &mut line);
        line.seq = line.seq.wrapping_add(if far { 1 << 20 } else { 200 });
        let verdict = bench.up(5, &line.up(DATA, &hello("blocked.example")));
        assert_eq!(verdict, if far { Verdict::Pass } else { Verdict::Drop });
    }
}

#[test]
fn a_trigger_that_is_the_first_packet_after_the_end_of_its_rules_time_begins_it_anew() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    bench.handshake(100, &mut line);
    let trigger = line.up(DATA, &hello("blocked.example"));
    assert_eq!(bench.up(100, &trigger), Verdict::Drop);
    assert_eq!(bench.up(175, &trigger), Verdict::Drop);
    let answer = line.down(flag::ACK, &[]);
    assert_eq!(bench.down(249, &answer), Verdict::Drop);
    assert_eq!(bench.down(250, &answer), Verdict::Pass);
}

#[test]
fn what_replaces_an_action_that_is_over_spares_the_packet_at_hand_as_any_new_action_does() {
    let decision = Decision::new(Action::DROP, Evidence::default()).lasting(Duration::from_secs(75));
    let mut bench = Bench::new(engine(Switches::default(), decision));
    let mut line = Line::new(1000);
    bench.handshake(100, &mut line);
    let trigger = line.up(DATA, &hello("blocked.example"));
    for at in [100, 175] {
        assert_eq!(bench.up(at, &trigger), Verdict::Pass, "{at} s");
        assert_eq!(bench.up(at, &trigger), Verdict::Drop, "{at} s");
    }
}

#[test]
fn a_packet_that_is_not_believed_does_not_move_the_numbers_of_forged_ones() {
    let mut switches = Switches::default();
    switches.tcp.verify_checksum = true;
    let mut bench = Bench::new(engine(switches, resets(false)));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    let fake = TcpRepr { break_checksum: true, ..TcpRepr::data(1000, 443, line.seq, line.ack) };
    let low = IpRepr { ttl: 3, ..line.client.clone() };
    assert_eq!(bench.up(5, &fake.emit(&low, &[1; 1400])), Verdict::Pass);
    bench.up(5, &line.up(DATA, &hello("blocked.example")));
    let to_server = &bench.effects.injections[1].packet;
    assert_eq!(tcp_of(to_server).0, line.seq);
    assert_eq!(PacketView::parse(to_server).expect("a packet").ttl, line.client.ttl);
}

#[test]
fn of_a_name_longer_than_names_are_only_the_beginning_is_remembered() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    bench.up(5, &line.up(DATA, &hello(&"ж.".repeat(900))));
    bench.engine.finish();
    let summaries = bench.engine.drain_flow_summaries();
    assert!((250..=255).contains(&summaries[0].name.len()), "{}", summaries[0].name.len());
}

#[test]
fn what_comes_into_force_hears_of_the_opening_of_flows_under_way() {
    #[derive(Debug)]
    struct Silence;
    impl Technique for Silence {
        fn rule(&self) -> &str {
            "silence"
        }
        fn mechanism(&self) -> Mechanism {
            Mechanism::parse("ip.drop").expect("in the taxonomy")
        }
        fn interest(&self) -> Interest {
            Interest::OPENED
        }
        fn on_event(&mut self, _: &mut FlowView<'_>, _: &Event<'_>, decisions: &mut Decisions) {
            decisions.push(Decision::new(Action::DROP, Evidence::default()).from_this());
        }
    }
    let mut bench = Bench::new(Engine::new(Switches::default(), Vec::new()));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    bench.engine.replace_techniques(vec![Box::new(Silence)], true);
    assert_eq!(bench.up(6, &line.up(DATA, b"x")), Verdict::Drop);
    bench.engine.replace_techniques(Vec::new(), true);
    assert_eq!(bench.up(7, &line.up(DATA, b"x")), Verdict::Pass);
}

#[test]
fn a_trigger_dated_a_century_ahead_blocks_nothing_once_the_clock_is_right_again() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75).on(Scope::Remote)));
    let mut line = Line::new(1000);
    bench.handshake(100, &mut line);
    let trigger = line.up(DATA, &hello("blocked.example"));
    assert_eq!(bench.up(3_155_760_100, &trigger), Verdict::Drop);
    assert_eq!(bench.up(101, &line.up(flag::ACK, &[])), Verdict::Pass);
    let mut other = Line::new(1001);
    bench.handshake(102, &mut other);
    // And the rule acts as ever.
    assert_eq!(bench.up(102, &other.up(DATA, &hello("blocked.example"))), Verdict::Drop);
    assert_eq!(bench.down(176, &other.down(flag::ACK, &[])), Verdict::Drop);
    assert_eq!(bench.down(177, &other.down(flag::ACK, &[])), Verdict::Pass);
}

#[test]
fn a_port_used_again_after_the_residual_is_read_again_where_streams_are_joined() {
    for reassembly in [Reassembly::None, Reassembly::InOrder, Reassembly::Queue] {
        let mut switches = Switches::default();
        switches.tcp.reassembly = reassembly;
        let mut bench = Bench::new(engine(switches, drop_for(40)));
        for (at, seq) in [(100, 1000), (145, 7_000_000), (190, 3_000_000_000)] {
            let mut line = Line::new(1000);
            line.seq = seq;
            bench.handshake(at, &mut line);
            let verdict = bench.up(at, &line.up(DATA, &hello("blocked.example")));
            assert_eq!(verdict, Verdict::Drop, "{reassembly:?} at {at} s");
            assert_eq!(bench.down(at + 39, &line.down(flag::ACK, &[])), Verdict::Drop);
        }
    }
}
