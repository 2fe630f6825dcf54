//! Tests of the engine as a whole, with small techniques of their own.

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::build::{IpRepr, TcpRepr};
use okno_wire::packet::flag;
use okno_wire::tls::{preset, record};

use super::*;
use crate::action::{Action, Forge, Refresh, Scope};
use crate::middlebox::{ActKind, Effects, Evidence};
use crate::technique::{Decisions, Event, FlowView};

#[path = "engine_edge_tests.rs"]
mod edges;

/// Does `decision` for each ClientHello that names `name`.
#[derive(Debug)]
struct Sni {
    name: &'static str,
    decision: Decision,
}

impl Technique for Sni {
    fn rule(&self) -> &str {
        "sni"
    }

    fn mechanism(&self) -> Mechanism {
        Mechanism::parse("tls.timeout.sni").expect("in the taxonomy")
    }

    fn interest(&self) -> Interest {
        Interest::CLIENT_HELLO
    }

    fn on_event(&mut self, _flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        if let Event::ClientHello(hello) = event
            && hello.name == self.name
        {
            decisions.push(self.decision.clone());
        }
    }
}

fn engine(switches: Switches, decision: Decision) -> Engine {
    Engine::new(switches, vec![Box::new(Sni { name: "blocked.example", decision })]).with_summaries()
}

fn drop_for(seconds: u64) -> Decision {
    Decision::new(Action::DROP, Evidence { name: "blocked.example".to_owned(), ..Evidence::default() })
        .on(Scope::FourTuple)
        .lasting(Duration::from_secs(seconds))
        .dropping_this()
}

/// One client and one server, each with its next sequence number.
struct Line {
    client: IpRepr,
    server: IpRepr,
    port: u16,
    seq: u32,
    ack: u32,
}

impl Line {
    fn new(port: u16) -> Self {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (a, b) = (ip("10.0.0.7"), ip("192.0.2.44"));
        let (mut client, mut server) = (IpRepr::new(a, b), IpRepr::new(b, a));
        (client.ttl, server.ttl) = (63, 52);
        Self { client, server, port, seq: 1000, ack: 9000 }
    }

    fn up(&mut self, flags: u8, payload: &[u8]) -> Vec<u8> {
        let tcp = TcpRepr { flags, ..TcpRepr::data(self.port, 443, self.seq, self.ack) };
        self.seq = self.seq.wrapping_add(payload.len() as u32 + u32::from(flags & flag::SYN != 0));
        tcp.emit(&self.client, payload)
    }

    fn down(&mut self, flags: u8, payload: &[u8]) -> Vec<u8> {
        let tcp = TcpRepr { flags, ..TcpRepr::data(443, self.port, self.ack, self.seq) };
        self.ack = self.ack.wrapping_add(payload.len() as u32 + u32::from(flags & flag::SYN != 0));
        tcp.emit(&self.server, payload)
    }
}

struct Bench {
    engine: Engine,
    effects: Effects,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        Self { engine, effects: Effects::default() }
    }

    fn send(&mut self, at: Instant, direction: Direction, packet: &[u8]) -> Verdict {
        let view = PacketView::parse(packet).expect("a packet");
        let mut context = Context { seed: 1, effects: &mut self.effects };
        self.engine.on_packet(at, direction, &view, &mut context)
    }

    fn up(&mut self, seconds: u64, packet: &[u8]) -> Verdict {
        self.send(Instant::from_secs(seconds), Direction::Up, packet)
    }

    fn down(&mut self, seconds: u64, packet: &[u8]) -> Verdict {
        self.send(Instant::from_secs(seconds), Direction::Down, packet)
    }

    fn handshake(&mut self, seconds: u64, line: &mut Line) {
        let syn = line.up(flag::SYN, &[]);
        assert_eq!(self.up(seconds, &syn), Verdict::Pass);
        let answer = line.down(flag::SYN | flag::ACK, &[]);
        assert_eq!(self.down(seconds, &answer), Verdict::Pass);
        let ack = line.up(flag::ACK, &[]);
        assert_eq!(self.up(seconds, &ack), Verdict::Pass);
    }
}

fn hello(name: &str) -> Vec<u8> {
    record(22, 0x0301, &preset::curl(1, Some(name)).emit())
}

const DATA: u8 = flag::PSH | flag::ACK;

#[test]
fn state_belongs_to_the_flow_so_a_rule_acts_on_each_flow_that_names_the_name() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    for port in [1000, 1001, 1002] {
        let mut line = Line::new(port);
        bench.handshake(100, &mut line);
        assert_eq!(bench.up(100, &line.up(DATA, &hello("blocked.example"))), Verdict::Drop, "{port}");
        assert_eq!(bench.down(100, &line.down(flag::ACK, &[])), Verdict::Drop);
        let mut other = Line::new(port + 100);
        bench.handshake(100, &mut other);
        assert_eq!(bench.up(100, &other.up(DATA, &hello("free.example"))), Verdict::Pass);
    }
    let triggered = bench.effects.acts.iter().filter(|act| act.kind == ActKind::Triggered).count();
    assert_eq!(triggered, 3);
}

#[test]
fn a_residual_holds_for_its_four_tuple_until_just_before_its_end() {
    for (after, verdict) in [(74, Verdict::Drop), (75, Verdict::Pass)] {
        let mut switches = Switches::default();
        switches.tcp.second_syn = crate::switches::SecondSyn::Always;
        let mut bench = Bench::new(engine(switches, drop_for(75)));
        let mut line = Line::new(1000);
        bench.handshake(100, &mut line);
        bench.up(100, &line.up(DATA, &hello("blocked.example")));
        let mut again = Line::new(1000);
        again.seq = 777_777;
        assert_eq!(bench.up(100 + after, &again.up(flag::SYN, &[])), verdict, "{after} s");
        let mut fresh = Line::new(1001);
        assert_eq!(bench.up(100 + after, &fresh.up(flag::SYN, &[])), Verdict::Pass);
    }
}

#[test]
fn a_trigger_renews_a_residual_only_where_the_rule_says_so() {
    for (refresh, verdict) in [(Refresh::Never, Verdict::Pass), (Refresh::Trigger, Verdict::Drop)] {
        let decision = drop_for(75).refreshed_by(refresh);
        let mut bench = Bench::new(engine(Switches::default(), decision));
        let mut line = Line::new(1000);
        bench.handshake(100, &mut line);
        let trigger = line.up(DATA, &hello("blocked.example"));
        assert_eq!(bench.up(100, &trigger), Verdict::Drop);
        assert_eq!(bench.up(150, &trigger), Verdict::Drop);
        assert_eq!(bench.down(180, &line.down(flag::ACK, &[])), verdict);
    }
}

#[test]
fn who_opened_the_flow_decides_and_a_remote_syn_disarms() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    // Opened from outside: the far end sends the SYN, the near end the hello.
    assert_eq!(bench.down(1, &line.down(flag::SYN, &[])), Verdict::Pass);
    assert_eq!(bench.up(1, &line.up(flag::SYN | flag::ACK, &[])), Verdict::Pass);
    assert_eq!(bench.up(1, &line.up(DATA, &hello("blocked.example"))), Verdict::Pass);
    // Split handshake: opened from inside, a SYN of the far end within.
    let mut line = Line::new(1001);
    assert_eq!(bench.up(1, &line.up(flag::SYN, &[])), Verdict::Pass);
    assert_eq!(bench.down(1, &line.down(flag::SYN, &[])), Verdict::Pass);
    assert_eq!(bench.up(1, &line.up(flag::SYN | flag::ACK, &[])), Verdict::Pass);
    assert_eq!(bench.up(1, &line.up(DATA, &hello("blocked.example"))), Verdict::Pass);
}

#[test]
fn forged_resets_come_after_the_trigger_with_the_number_each_side_expects() {
    let decision = Decision::new(Action::Nothing, Evidence::default())
        .forging(Forge::reset(Direction::Down))
        .forging(Forge::reset(Direction::Up));
    for passes in [true, false] {
        let decision = if passes { decision.clone() } else { decision.clone().dropping_this() };
        let mut bench = Bench::new(engine(Switches::default(), decision));
        let mut line = Line::new(1000);
        bench.handshake(5, &mut line);
        let before = line.seq;
        let trigger = line.up(DATA, &hello("blocked.example"));
        let verdict = bench.up(5, &trigger);
        assert_eq!(verdict, if passes { Verdict::Pass } else { Verdict::Drop });
        let [to_client, to_server] = bench.effects.injections.as_slice() else { panic!("two packets") };
        let client_got = PacketView::parse(&to_client.packet).expect("a packet");
        let server_got = PacketView::parse(&to_server.packet).expect("a packet");
        assert_eq!((to_client.direction, to_server.direction), (Direction::Down, Direction::Up));
        let (to_client, to_server) = (client_got.tcp().expect("tcp"), server_got.tcp().expect("tcp"));
        assert!(to_client.has(flag::RST | flag::ACK) && client_got.transport_checksum_holds());
        // The server has the hello only if it passed; the client has sent it in any case.
        let server_expects = if passes { line.seq } else { before };
        assert_eq!((to_client.seq(), to_client.ack()), (line.ack, line.seq));
        assert_eq!(to_server.seq(), server_expects);
        assert_eq!(to_server.ack(), line.ack);
        assert_eq!((client_got.ttl, server_got.ttl), (52, 63));
        assert_eq!(client_got.source, line.server.source);
    }
}

#[test]
fn a_server_packet_becomes_rst_ack_with_its_own_numbers_and_ttl_and_without_payload() {
    let decision = Decision::new(Action::RewriteToReset { way: Direction::Down }, Evidence::default());
    let mut bench = Bench::new(engine(Switches::default(), decision));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    assert_eq!(bench.up(5, &line.up(DATA, &hello("blocked.example"))), Verdict::Pass);
    let seq = line.ack;
    let Verdict::Rewrite(packet) = bench.down(5, &line.down(DATA, b"server hello")) else { panic!("passed") };
    let view = PacketView::parse(&packet).expect("a packet");
    let tcp = view.tcp().expect("tcp");
    assert_eq!((tcp.flags(), tcp.seq(), view.ttl), (flag::RST | flag::ACK, seq, 52));
    assert!(tcp.payload().is_empty() && view.transport_checksum_holds() && view.ip_checksum_holds());
    assert_eq!(bench.up(5, &line.up(DATA, b"more")), Verdict::Pass);
}

#[test]
fn a_budget_counts_both_ways_and_the_packet_after_it_is_the_first_lost() {
    #[derive(Debug)]
    struct Budget;
    impl Technique for Budget {
        fn rule(&self) -> &str {
            "budget"
        }
        fn mechanism(&self) -> Mechanism {
            Mechanism::parse("tcp.packet_budget").expect("in the taxonomy")
        }
        fn interest(&self) -> Interest {
            Interest::OPENED
        }
        fn on_event(&mut self, _: &mut FlowView<'_>, _: &Event<'_>, decisions: &mut Decisions) {
            let action = Action::Budget { packets: Some(25), bytes_up: None, bytes_down: None };
            decisions.push(Decision::new(action, Evidence::default()));
        }
    }
    let mut bench = Bench::new(Engine::new(Switches::default(), vec![Box::new(Budget)]));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    let passed = (0..30)
        .map(|n| {
            if n % 2 == 0 { bench.up(6, &line.up(DATA, b"x")) } else { bench.down(6, &line.down(DATA, b"y")) }
        })
        .take_while(|verdict| *verdict == Verdict::Pass)
        .count();
    assert_eq!(passed + 3, 25);
    let dropped = bench.effects.acts.iter().find(|act| act.kind == ActKind::Dropped).expect("told");
    assert_eq!(dropped.packet, 26);
}

#[test]
fn segmentation_hides_a_name_exactly_where_the_switches_do_not_join() {
    use crate::switches::{Reassembly, Records};
    let verdict = |reassembly, records, tcp_cut: bool, record_cut: bool| {
        let mut switches = Switches::default();
        switches.tcp.reassembly = reassembly;
        switches.tls.records = records;
        let mut bench = Bench::new(engine(switches, drop_for(75)));
        let mut line = Line::new(1000);
        bench.handshake(5, &mut line);
        let message = preset::curl(1, Some("blocked.example")).emit();
        let half = message.len() / 2;
        let bytes = if record_cut {
            [record(22, 0x0301, &message[..half]), record(22, 0x0301, &message[half..])].concat()
        } else {
            record(22, 0x0301, &message)
        };
        let cut = if tcp_cut { bytes.len() / 2 } else { bytes.len() };
        let first = bench.up(5, &line.up(DATA, &bytes[..cut]));
        if tcp_cut { bench.up(5, &line.up(DATA, &bytes[cut..])) } else { first }
    };
    let seen = |reassembly, records| {
        [(false, false), (true, false), (false, true), (true, true)]
            .map(|(tcp, rec)| verdict(reassembly, records, tcp, rec) == Verdict::Drop)
    };
    assert_eq!(seen(Reassembly::None, Records::First), [true, false, false, false]);
    assert_eq!(seen(Reassembly::InOrder, Records::First), [true, true, false, false]);
    assert_eq!(seen(Reassembly::InOrder, Records::SameSegment), [true, true, true, false]);
    assert_eq!(seen(Reassembly::Queue, Records::Join), [true, true, true, true]);
}

#[test]
fn packet_time_that_goes_back_changes_no_decision() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    bench.handshake(1000, &mut line);
    assert_eq!(bench.up(999, &line.up(DATA, &hello("blocked.example"))), Verdict::Drop);
    assert_eq!(bench.down(400, &line.down(flag::ACK, &[])), Verdict::Drop);
    assert_eq!(bench.down(1073, &line.down(flag::ACK, &[])), Verdict::Drop);
    assert_eq!(bench.down(1074, &line.down(flag::ACK, &[])), Verdict::Pass);
}

#[test]
fn two_runs_over_the_same_packets_say_and_do_the_same() {
    let run = || {
        let action = Action::Drop { ways: Default::default(), after: 0, pass_ppm: 300_000, data_only: false };
        let mut bench = Bench::new(engine(Switches::default(), Decision::new(action, Evidence::default())));
        let mut verdicts = Vec::new();
        for port in 1000..1050 {
            let mut line = Line::new(port);
            bench.handshake(5, &mut line);
            bench.up(5, &line.up(DATA, &hello("blocked.example")));
            verdicts.extend((0..20).map(|_| bench.up(6, &line.up(DATA, b"x"))));
        }
        bench.engine.finish();
        (verdicts, bench.effects.acts, bench.engine.drain_flow_summaries())
    };
    let (verdicts, acts, summaries) = run();
    assert_eq!((&verdicts, &acts, &summaries), (&run().0, &run().1, &run().2));
    let passed = verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count();
    assert!((230..370).contains(&passed), "{passed} of 1000");
    assert!(summaries.iter().all(|summary| summary.name == "blocked.example" && !summary.deeds.is_empty()));
}

#[test]
fn mutated_packets_never_panic_and_are_counted() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    let packets =
        [line.up(flag::SYN, &[]), line.up(DATA, &hello("blocked.example")), line.down(DATA, b"answer")];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..20_000_u64 {
        let mut packet = packets[(round % 3) as usize].clone();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % packet.len();
            packet[at] = (state >> 24) as u8;
        }
        if let Ok(view) = PacketView::parse(&packet) {
            let mut context = Context { seed: 1, effects: &mut bench.effects };
            let direction = if state & 1 == 0 { Direction::Up } else { Direction::Down };
            bench.engine.on_packet(Instant::from_micros(state >> 20), direction, &view, &mut context);
        }
    }
    assert!(bench.engine.stats().malformed > 0);
}

/// Drops what names `blocked.example` in QUIC, HTTP or DNS, and remembers what it heard.
#[derive(Debug)]
struct Names;

impl Technique for Names {
    fn rule(&self) -> &str {
        "names"
    }

    fn mechanism(&self) -> Mechanism {
        Mechanism::parse("quic.timeout.sni").expect("in the taxonomy")
    }

    fn interest(&self) -> Interest {
        Interest::QUIC_INITIAL | Interest::HTTP_REQUEST | Interest::DNS_QUERY
    }

    fn on_event(&mut self, _: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let name = match event {
            Event::QuicInitial(initial) => initial.hello.map_or("", |hello| hello.name),
            Event::HttpRequest(request) => request.host,
            Event::DnsQuery(query) => query.name,
            _ => "",
        };
        if name == "blocked.example" {
            decisions.push(Decision::new(Action::DROP, Evidence::default()).dropping_this());
        }
    }
}

fn quic_datagrams(version: u32, cut: bool) -> Vec<Vec<u8>> {
    use okno_wire::quic::{InitialRepr, Side, Version, crypto_frames};
    let hello = preset::quic(1, Some("blocked.example"), b"scid", false).emit();
    let frames = crypto_frames(&hello, if cut { &[60] } else { &[] });
    let repr = |number| InitialRepr { number, ..InitialRepr::first(Version(version), b"dcid1234", b"scid") };
    let seal = |number: u32, frames: &[_]| {
        repr(number).seal(Side::Client, b"dcid1234", frames, 1200).expect("a known version")
    };
    if cut { vec![seal(0, &frames[1..]), seal(1, &frames[..1])] } else { vec![seal(0, &frames)] }
}

#[test]
fn a_quic_name_is_read_over_frames_and_datagrams_as_far_as_the_switches_join() {
    use crate::switches::Crypto;
    let seen = |crypto, versions: &[u32], version, cut| {
        let mut switches = Switches::default();
        (switches.quic.crypto, switches.quic.versions) = (crypto, versions.to_vec());
        let mut bench = Bench::new(Engine::new(switches, vec![Box::new(Names)]));
        let line = Line::new(1000);
        let packets = quic_datagrams(version, cut);
        let verdicts = packets
            .iter()
            .map(|payload| bench.up(1, &okno_wire::build::udp(&line.client, 1000, 443, payload)));
        verdicts.last() == Some(Verdict::Drop)
    };
    let v2 = okno_wire::quic::Version::V2.0;
    assert!(seen(Crypto::Flow, &[], 1, false) && seen(Crypto::Flow, &[], 1, true));
    assert!(seen(Crypto::Datagram, &[], 1, false) && !seen(Crypto::Datagram, &[], 1, true));
    assert!(!seen(Crypto::None, &[], 1, false));
    assert!(seen(Crypto::Flow, &[], v2, false) && !seen(Crypto::Flow, &[1], v2, false));
}

#[test]
fn http_hosts_and_dns_names_are_read_with_the_quirks_that_are_switched_on() {
    let http = |text: &str, any_case| {
        let mut switches = Switches::default();
        switches.http.any_case = any_case;
        let mut bench = Bench::new(Engine::new(switches, vec![Box::new(Names)]));
        let mut line = Line::new(1000);
        bench.handshake(5, &mut line);
        bench.up(5, &line.up(DATA, text.as_bytes())) == Verdict::Drop
    };
    assert!(http("GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n", false));
    assert!(http("GET / HTTP/1.1\r\nhoSt: blocked.example:80\r\n\r\n", true));
    assert!(!http("GET / HTTP/1.1\r\nhoSt: blocked.example\r\n\r\n", false));
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07blocked\x07ExAmple\x00\x00\x01\x00\x01";
    let mut bench = Bench::new(Engine::new(Switches::default(), vec![Box::new(Names)]));
    let packet = okno_wire::build::udp(&Line::new(1).client, 5353, 53, query);
    assert_eq!(bench.up(1, &packet), Verdict::Drop);
    let elsewhere = okno_wire::build::udp(&Line::new(1).client, 5353, 5300, query);
    assert_eq!(bench.up(1, &elsewhere), Verdict::Pass);
}

#[test]
fn fragments_are_held_and_go_on_together_once_the_last_is_there() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let line = Line::new(1000);
    for (name, passes) in [("free.example", true), ("blocked.example", false)] {
        let mut line = Line { port: line.port + u16::from(passes), ..Line::new(1000) };
        bench.handshake(5, &mut line);
        let tcp = TcpRepr::data(line.port, 443, line.seq, line.ack);
        let pieces =
            line.client.emit_fragments(6, 99, &[64, 128], &tcp.emit_segment(&line.client, &hello(name)));
        assert_eq!(bench.up(5, &pieces[0]), Verdict::Hold);
        assert_eq!(bench.up(5, &pieces[2]), Verdict::Hold);
        bench.effects.injections.clear();
        let last = bench.up(5, &pieces[1]);
        let sent: Vec<_> =
            bench.effects.injections.iter().map(|injection| injection.packet.clone()).collect();
        if passes {
            assert_eq!(last, Verdict::Hold);
            assert_eq!(sent, [&pieces[0], &pieces[2], &pieces[1]].map(Clone::clone));
        } else {
            assert_eq!((last, sent.len()), (Verdict::Drop, 0));
        }
    }
}

#[test]
fn delayed_packets_come_back_from_the_timer_and_a_bypassed_box_sees_nothing() {
    let action = Action::Delay { ways: crate::action::Ways::Down, time: Duration::from_millis(300) };
    let mut bench = Bench::new(engine(Switches::default(), Decision::new(action, Evidence::default())));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    bench.up(5, &line.up(DATA, &hello("blocked.example")));
    let answer = line.down(DATA, b"late");
    assert_eq!(bench.down(6, &answer), Verdict::Hold);
    let due = bench.engine.next_timer().expect("one waits");
    assert_eq!(due, Instant::from_secs(6) + Duration::from_millis(300));
    bench.engine.on_timer(due, &mut Context { seed: 1, effects: &mut bench.effects });
    assert_eq!(bench.effects.injections.pop().map(|injection| injection.packet), Some(answer));
    assert_eq!(bench.engine.next_timer(), None);
    bench.engine.set_mode(Mode::FailOpen);
    assert_eq!(bench.down(7, &line.down(DATA, b"now")), Verdict::Pass);
}

#[test]
fn a_redirected_query_goes_to_another_server_whose_answer_bears_the_old_address() {
    let to = "198.51.100.53:53".parse().expect("an end");
    #[derive(Debug)]
    struct Dnat(Endpoint);
    impl Technique for Dnat {
        fn rule(&self) -> &str {
            "dnat"
        }
        fn mechanism(&self) -> Mechanism {
            Mechanism::parse("dns.nxdomain").expect("in the taxonomy")
        }
        fn interest(&self) -> Interest {
            Interest::OPENED
        }
        fn on_event(&mut self, _: &mut FlowView<'_>, _: &Event<'_>, decisions: &mut Decisions) {
            let action = Action::Redirect { to: self.0 };
            decisions.push(Decision::new(action, Evidence::default()).from_this());
        }
    }
    let mut bench = Bench::new(Engine::new(Switches::default(), vec![Box::new(Dnat(to))]));
    let line = Line::new(1000);
    let query = okno_wire::build::udp(&line.client, 1000, 53, b"question");
    let Verdict::Rewrite(sent) = bench.up(1, &query) else { panic!("not rewritten") };
    let sent = PacketView::parse(&sent).expect("a packet");
    assert_eq!((sent.destination_end(), sent.payload()), (to, &b"question"[..]));
    assert!(sent.transport_checksum_holds() && sent.ip_checksum_holds());
    let mut other = line.server.clone();
    other.source = to.ip;
    let answer = okno_wire::build::udp(&other, 53, 1000, b"answer");
    let Verdict::Rewrite(got) = bench.down(1, &answer) else { panic!("not rewritten") };
    let got = PacketView::parse(&got).expect("a packet");
    assert_eq!((got.source, got.payload()), (line.server.source, &b"answer"[..]));
    assert!(got.transport_checksum_holds());
}

#[test]
fn a_hello_inside_a_proxy_tunnel_is_read_where_streams_are_joined() {
    let mut switches = Switches::default();
    switches.tcp.reassembly = crate::switches::Reassembly::Queue;
    let mut bench = Bench::new(engine(switches, drop_for(75)));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    let connect = b"CONNECT blocked.example:443 HTTP/1.1\r\nHost: blocked.example:443\r\n\r\n";
    assert_eq!(bench.up(5, &line.up(DATA, connect)), Verdict::Pass);
    bench.down(5, &line.down(DATA, b"HTTP/1.1 200 OK\r\n\r\n"));
    let bytes = hello("blocked.example");
    assert_eq!(bench.up(5, &line.up(DATA, &bytes[..100])), Verdict::Pass);
    assert_eq!(bench.up(5, &line.up(DATA, &bytes[100..])), Verdict::Drop);
}

#[test]
fn what_was_looked_at_is_not_kept_and_stream_memory_has_an_end() {
    let mut switches = Switches::default();
    switches.tcp.reassembly = crate::switches::Reassembly::Queue;
    switches.limits.stream_bytes = 200_000;
    let techniques: Vec<Box<dyn Technique>> = vec![Box::new(Sni { name: "x", decision: drop_for(1) })];
    let mut bench = Bench::new(Engine::new(switches, techniques));
    // Something that is no TLS, at length: nothing of it has to stay.
    let mut line = Line::new(999);
    bench.handshake(5, &mut line);
    let before = bench.engine.stats().memory_bytes;
    for _ in 0..10 {
        bench.up(5, &line.up(DATA, &[0x41; 1400]));
    }
    assert!(bench.engine.stats().memory_bytes < before + 1000);
    // Hellos that never end: what waits for them is bounded.
    for port in 1000..2000 {
        let mut line = Line::new(port);
        bench.handshake(5, &mut line);
        bench.up(5, &line.up(DATA, &hello("blocked.example")[..200]));
        bench.up(5, &line.up(DATA, &[0; 100]));
    }
    let stats = bench.engine.stats();
    assert!(stats.streams_evicted > 0 && stats.memory_bytes < 900_000, "{stats:?}");
}

#[test]
fn how_a_packet_is_malformed_is_kept_as_evidence_of_its_flow() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    let mut packet = line.up(DATA, b"x");
    packet[20 + 12] = 0x10;
    assert_eq!(bench.up(1, &packet), Verdict::Pass);
    bench.engine.finish();
    let summary = bench.engine.drain_flow_summaries().pop().expect("a flow");
    let malformed = summary.malformed.expect("said");
    assert_eq!((malformed.layer, malformed.offset), ("tcp", 12));
    assert_eq!(bench.engine.stats().malformed, 1);
}

#[test]
fn techniques_that_are_put_in_force_later_hear_of_flows_under_way_and_lift_what_the_old_ones_did() {
    let mut bench = Bench::new(engine(Switches::default(), drop_for(75)));
    let mut line = Line::new(1000);
    bench.handshake(5, &mut line);
    bench.up(5, &line.up(DATA, &hello("blocked.example")));
    assert_eq!(bench.down(6, &line.down(flag::ACK, &[])), Verdict::Drop);
    bench.engine.replace_techniques(Vec::new(), false);
    assert_eq!(bench.down(7, &line.down(flag::ACK, &[])), Verdict::Drop);
    let decision = Decision::new(Action::DROP, Evidence::default()).dropping_this();
    bench.engine.replace_techniques(vec![Box::new(Sni { name: "other.example", decision })], true);
    assert_eq!(bench.down(8, &line.down(flag::ACK, &[])), Verdict::Pass);
    let mut other = Line::new(1001);
    bench.handshake(9, &mut other);
    assert_eq!(bench.up(9, &other.up(DATA, &hello("other.example"))), Verdict::Drop);
    assert_eq!(bench.up(9, &Line::new(1002).up(DATA, &hello("blocked.example"))), Verdict::Pass);
}

#[test]
fn a_first_packet_window_counts_each_way_by_itself() {
    let mut switches = Switches::default();
    switches.window.first_data_only = true;
    switches.initiator = crate::switches::Initiator::Either;
    // The far end opens the flow and speaks twice before the near end says its first word.
    let seen = |words: usize| {
        let mut bench = Bench::new(engine(switches.clone(), drop_for(75)));
        let mut line = Line::new(1000);
        bench.down(1, &line.down(flag::SYN, &[]));
        for _ in 0..2 {
            bench.up(1, &line.up(DATA, b"banner"));
        }
        for _ in 0..words {
            bench.down(1, &line.down(DATA, b"junk"));
        }
        bench.down(1, &line.down(DATA, &hello("blocked.example"))) == Verdict::Drop
    };
    assert!(seen(0) && !seen(1));
}

#[test]
fn a_first_packet_of_junk_ends_the_inspection_and_a_known_one_limits_it() {
    let mut switches = Switches::default();
    switches.window.junk_first_min = Some(101);
    switches.window.budget_after_first = Some((3, 3));
    let seen = |first: &[u8], between: usize| {
        let mut bench = Bench::new(engine(switches.clone(), drop_for(75)));
        let mut line = Line::new(1000);
        bench.handshake(1, &mut line);
        bench.up(1, &line.up(DATA, first));
        for _ in 0..between {
            bench.up(1, &line.up(DATA, b"x"));
        }
        bench.up(1, &line.up(DATA, &hello("blocked.example"))) == Verdict::Drop
    };
    assert!(seen(&[0xff; 100], 0) && !seen(&[0xff; 101], 0));
    assert!(seen(&[5, 1, 0], 2) && !seen(&[5, 1, 0], 3));
    assert!(seen(&[0xff; 100], 20));
}
