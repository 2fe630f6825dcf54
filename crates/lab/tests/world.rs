//! The world's own claims: TCP over bad links, TTL, NAT, boxes, fragments, determinism, traces.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use core::net::IpAddr;
use core::time::Duration;

use okno_censor::{Act, ActKind, Context, Direction, Evidence, Injection, Middlebox, Verdict};
use okno_lab::net::NetErrorKind;
use okno_lab::tap::{Pcapng, Recording, TapRecord};
use okno_lab::world::{BoxMode, LinkSetup, NatSetup, NodeId, Prefix, Setup, Side, World};
use okno_lab::{HostSetup, PingAnswer, RawClaim};
use okno_model::Mechanism;
use okno_wire::build::{self, IpRepr, TcpRepr};
use okno_wire::packet::{flag, number};
use okno_wire::{Endpoint, Instant, PacketView};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn end(text: &str, port: u16) -> Endpoint {
    Endpoint { ip: ip(text), port }
}

const CLIENT: &str = "10.0.0.2";
const SERVER: &str = "198.51.100.1";
const SERVER6: &str = "2001:db8:2::1";

/// client, server: client - middle - r1 - r2 - server; the middle is made by the caller.
struct Line {
    world: World,
    client: NodeId,
    server: NodeId,
}

fn line(seed: u64, core: LinkSetup, middle: impl FnOnce(&mut World) -> Option<NodeId>) -> Line {
    let mut world = World::new(Setup { seed, ..Setup::default() });
    let client = world.host("client", &[ip(CLIENT), ip("2001:db8:1::2")]);
    let server = world.host("server", &[ip(SERVER), ip(SERVER6)]);
    let r1 = world.router("r1", &[ip("100.64.0.1"), ip("2001:db8:1::1")], false);
    let r2 = world.router("r2", &[ip("203.0.113.1"), ip("2001:db8:2::ffff")], false);
    match middle(&mut world) {
        Some(node) => {
            world.link(client, node, LinkSetup::millis(5));
            world.link(node, r1, LinkSetup::millis(1));
        }
        None => {
            world.link(client, r1, LinkSetup::millis(5));
        }
    }
    world.link(r1, r2, core);
    world.link(r2, server, LinkSetup::millis(1));
    world.fill_routes();
    Line { world, client, server }
}

/// The server sends `len` bytes to whoever connects to port 80; gives what the client read.
fn download(line: &mut Line, len: usize, to: Endpoint) -> Option<Result<Vec<u8>, NetErrorKind>> {
    line.world.spawn(line.server, move |net| async move {
        let mut listener = net.listen(80).unwrap();
        while let Ok(mut stream) = listener.accept().await {
            net.spawn(|_| async move {
                let body: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
                let _ = stream.write_all(&body).await;
            });
        }
    });
    line.world.block_on(line.client, move |net| async move {
        let mut stream = net.connect(to).await.map_err(|e| e.kind)?;
        stream.read_to_end(100_000_000).await.map_err(|e| e.kind)
    })
}

#[test]
fn a_tcp_transfer_over_a_lossy_link_completes_intact_in_either_family() {
    for to in [end(SERVER, 80), end(SERVER6, 80)] {
        let core = LinkSetup::millis(20).with_rate(20_000_000).with_loss(0.03);
        let mut line = line(3, core, |_| None);
        let body = download(&mut line, 300_000, to).unwrap().unwrap();
        assert_eq!(body.len(), 300_000);
        assert!(body.iter().enumerate().all(|(n, byte)| *byte == (n / 7) as u8));
    }
}

#[test]
fn a_closed_port_refuses_and_a_silent_host_times_out() {
    let mut line = line(1, LinkSetup::millis(20), |_| None);
    let refused = line
        .world
        .block_on(line.client, |net| async move {
            let failure = net.connect(end(SERVER, 81)).await.err().unwrap();
            (failure.kind, failure.at.since(Setup::default().start).as_millis())
        })
        .unwrap();
    assert_eq!(refused, (NetErrorKind::Refused, 52));
    line.world.set_host_up(line.server, false);
    let timed_out = line
        .world
        .block_on(line.client, |net| async move { net.connect(end(SERVER, 81)).await.err().unwrap().kind });
    assert_eq!(timed_out, Some(NetErrorKind::TimedOut));
    let nowhere = line.world.block_on(line.client, |net| async move {
        net.connect(end("192.0.2.99", 81)).await.err().unwrap().kind
    });
    assert_eq!(nowhere, Some(NetErrorKind::NetworkUnreachable));
}

#[test]
fn an_expired_ttl_brings_an_icmp_message_of_each_router_in_turn() {
    let mut line = line(1, LinkSetup::millis(20), |_| None);
    for (to, hops) in [
        (SERVER, ["100.64.0.1", "203.0.113.1", SERVER]),
        (SERVER6, ["2001:db8:1::1", "2001:db8:2::ffff", SERVER6]),
    ] {
        for (index, hop) in hops.into_iter().enumerate() {
            let reply = line
                .world
                .block_on(line.client, move |net| async move {
                    net.ping(ip(to), Some(index as u8 + 1), 56, Duration::from_secs(2)).await.unwrap()
                })
                .unwrap();
            assert_eq!(reply.from, ip(hop));
            assert_eq!(reply.answer == PingAnswer::Reply, index == 2);
        }
    }
}

#[test]
fn a_nat_maps_expires_and_limits_ports() {
    let mut setup = NatSetup::carrier(vec!["192.0.2.7".parse().unwrap()]);
    setup.per_subscriber = 2;
    let mut nat = None;
    let mut line = line(1, LinkSetup::millis(20), |world| {
        nat = Some(world.nat("cgnat", setup));
        nat
    });
    let nat = nat.unwrap();
    line.world.spawn(line.server, |net| async move {
        let socket = net.udp_bind(53).unwrap();
        while let Ok(datagram) = socket.receive().await {
            // Answers at once and, for "late", once more after the mapping has ended.
            let _ = socket.send_to(datagram.from.to_string().as_bytes(), datagram.from);
            if datagram.bytes == b"late" {
                net.sleep(Duration::from_secs(301)).await;
                let _ = socket.send_to(b"too late", datagram.from);
            }
        }
    });
    let seen = line.world.block_on(line.client, |net| async move {
        let socket = net.udp_bind(0).unwrap();
        socket.send_to(b"late", end(SERVER, 53)).unwrap();
        let first = socket.receive().await.unwrap();
        let second = socket.receive_for(Duration::from_secs(400)).await;
        (String::from_utf8(first.bytes).unwrap(), second.is_err())
    });
    let (seen, expired) = seen.unwrap();
    assert!(seen.starts_with("192.0.2.7:"), "{seen}");
    assert!(expired);
    assert_eq!(line.world.nat_count(nat).refused, 1);
    let third = line.world.block_on(line.client, |net| async move {
        let mut answers = Vec::new();
        let mut sockets = Vec::new();
        for _ in 0..3 {
            let socket = net.udp_bind(0).unwrap();
            socket.send_to(b"x", end(SERVER, 53)).unwrap();
            answers.push(socket.receive_for(Duration::from_secs(2)).await.is_ok());
            sockets.push(socket);
        }
        answers
    });
    assert_eq!(third.unwrap(), [true, true, false]);
    // TCP, a ping and a router's complaint about an inner packet come through as well.
    let mut setup = NatSetup::carrier(vec!["192.0.2.7".parse().unwrap()]);
    setup.filters_by_end = false;
    let mut line = self::line(1, LinkSetup::millis(20), |world| Some(world.nat("cgnat", setup)));
    assert_eq!(download(&mut line, 5_000, end(SERVER, 80)).unwrap().unwrap().len(), 5_000);
    let hop = line.world.block_on(line.client, |net| async move {
        let hop = net.ping(ip(SERVER), Some(3), 56, Duration::from_secs(2)).await.unwrap();
        let whole = net.ping(ip(SERVER), None, 56, Duration::from_secs(2)).await.unwrap();
        (hop.from, hop.answer, whole.answer)
    });
    assert_eq!(hop, Some((ip("203.0.113.1"), PingAnswer::TimeExceeded, PingAnswer::Reply)));
}

/// Resets a connection when it sees a payload with `forbidden` going up.
struct Resetter {
    forbidden: &'static [u8],
}

impl Middlebox for Resetter {
    fn on_packet(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Some(tcp) = packet.tcp() else { return Verdict::Pass };
        if direction == Direction::Down || !tcp.payload().windows(4).any(|w| w == self.forbidden) {
            return Verdict::Pass;
        }
        let mut reset = TcpRepr::data(tcp.destination_port(), tcp.source_port(), tcp.ack(), 0);
        reset.flags = flag::RST;
        let ip = IpRepr::new(packet.destination, packet.source);
        context.effects.injections.push(Injection {
            direction: Direction::Down,
            delay: Duration::from_millis(1),
            packet: reset.emit(&ip, &[]),
        });
        context.effects.acts.push(Act {
            at: now,
            rule: String::from("reset"),
            kind: ActKind::Triggered,
            mechanism: Mechanism::parse("tls.reset").unwrap(),
            flow: packet.flow().0,
            direction,
            packet: 4,
            evidence: Evidence::default(),
        });
        Verdict::Drop
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

/// Sends `hello` and a word to an echo server; what came back.
fn say(line: &mut Line, word: &'static [u8]) -> Result<Vec<u8>, NetErrorKind> {
    line.world
        .block_on(line.client, move |net| async move {
            let mut stream = net.connect(end(SERVER, 7)).await.map_err(|e| e.kind)?;
            stream.write_all(word).await.map_err(|e| e.kind)?;
            let mut back = vec![0; word.len()];
            stream.read_exact(&mut back).await.map_err(|e| e.kind)?;
            Ok(back)
        })
        .unwrap()
}

fn echo_line(seed: u64) -> (Line, NodeId) {
    let mut node = None;
    let mut line = line(seed, LinkSetup::millis(20).with_jitter(Duration::from_millis(3)), |world| {
        node = Some(world.middlebox("box", Box::new(Resetter { forbidden: b"evil" })));
        node
    });
    line.world.spawn(line.server, |net| async move {
        let mut listener = net.listen(7).unwrap();
        while let Ok(mut stream) = listener.accept().await {
            net.spawn(|_| async move {
                let mut chunk = [0; 512];
                while let Ok(taken @ 1..) = stream.read(&mut chunk).await {
                    if stream.write_all(&chunk[..taken]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (line, node.unwrap())
}

#[test]
fn a_box_acts_while_it_is_on_and_not_while_it_is_bypassed_or_replaced() {
    let (mut line, node) = echo_line(1);
    assert_eq!(say(&mut line, b"good"), Ok(b"good".to_vec()));
    assert_eq!(say(&mut line, b"evil"), Err(NetErrorKind::Reset));
    assert_eq!(line.world.take_deeds().len(), 1);
    line.world.set_box_mode(node, BoxMode::Bypass);
    assert_eq!(say(&mut line, b"evil"), Ok(b"evil".to_vec()));
    line.world.set_box_mode(node, BoxMode::Active);
    line.world.replace_engine(node, Box::new(Resetter { forbidden: b"good" }));
    assert_eq!(say(&mut line, b"evil"), Ok(b"evil".to_vec()));
    assert_eq!(say(&mut line, b"good"), Err(NetErrorKind::Reset));
    line.world.set_box_mode(node, BoxMode::Overload { drop: 1.0, bypass: 0.0 });
    assert_eq!(say(&mut line, b"fine"), Err(NetErrorKind::TimedOut));
    // A policy that begins at a moment of the timeline.
    line.world.set_box_mode(node, BoxMode::Bypass);
    let at = line.world.now() + Duration::from_secs(60);
    line.world.at(at, move |world| world.set_box_mode(node, BoxMode::Active));
    assert_eq!(say(&mut line, b"good"), Ok(b"good".to_vec()));
    line.world.run_until(at);
    assert_eq!(say(&mut line, b"good"), Err(NetErrorKind::Reset));
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let run = |seed| {
        let (mut line, _) = echo_line(seed);
        let _ = say(&mut line, b"good");
        let _ = say(&mut line, b"evil");
        (line.world.trace_hash(), line.world.count(), line.world.now())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
    let elsewhere = std::thread::spawn(move || run(7)).join().unwrap();
    assert_eq!(elsewhere, run(7));
}

#[test]
fn a_large_datagram_goes_in_fragments_and_a_narrow_link_narrows_tcp() {
    let narrow = LinkSetup::millis(5).with_mtu(1280);
    let mut line = line(1, narrow, |_| None);
    for to in [SERVER, SERVER6] {
        let back = line.world.block_on(line.client, move |net| async move {
            let socket = net.udp_bind(0).unwrap();
            socket.send_to(&[5; 3_000], end(to, 9)).unwrap();
            // DF: the router says what it takes; the second try comes in smaller pieces.
            net.sleep(Duration::from_secs(1)).await;
            socket.send_to(&[6; 3_000], end(to, 9)).unwrap();
        });
        assert!(back.is_some());
    }
    let body = download(&mut line, 50_000, end(SERVER, 80)).unwrap().unwrap();
    assert_eq!(body.len(), 50_000);
    line.world.run_for(Duration::from_secs(1));
    let recording = Recording::default();
    let link = okno_lab::world::LinkId(2);
    line.world.tap(link, Side::B, Box::new(recording.clone()));
    let received = line.world.spawn(line.server, |net| async move {
        net.udp_bind(99).unwrap().receive_for(Duration::from_secs(5)).await.unwrap().bytes
    });
    line.world.block_on(line.client, |net| async move {
        // The client makes its own fragments, out of order.
        let ip = IpRepr::new(ip(CLIENT), ip(SERVER));
        let segment = build::udp_segment(&ip, 5_000, 99, &[9; 1_000]);
        for piece in ip.emit_fragments(number::UDP, 77, &[8, 512], &segment).into_iter().rev() {
            net.send_raw(piece);
        }
        net.sleep(Duration::from_secs(1)).await;
    });
    let got = recording.take();
    assert_eq!(got.len(), 3);
    assert!(
        got.iter().all(|record| !record.out && PacketView::parse(&record.packet).unwrap().fragment.is_some())
    );
    assert_eq!(received.take().unwrap(), [9; 1_000]);
}

#[test]
fn a_raw_claim_keeps_the_stack_from_answering() {
    let (mut line, _) = echo_line(1);
    let flags = line.world.block_on(line.client, |net| async move {
        let raw = net.raw(RawClaim::of(number::TCP, 4_444));
        let ip = IpRepr::new(ip(CLIENT), ip(SERVER));
        let mut syn = TcpRepr::data(4_444, 7, 100, 0);
        syn.flags = flag::SYN;
        net.send_raw(syn.emit(&ip, &[]));
        let (_, packet) = raw.receive_for(Duration::from_secs(3)).await.unwrap();
        PacketView::parse(&packet).unwrap().tcp().unwrap().flags()
    });
    assert_eq!(flags, Some(flag::SYN | flag::ACK));
}

#[test]
fn links_down_and_blackholed_prefixes_are_silence() {
    let mut world = World::new(Setup::default());
    let client = world.host("client", &[ip(CLIENT)]);
    let server = world.host_with("server", HostSetup::new(&[ip(SERVER)]));
    let router = world.router("r", &[ip("100.64.0.1")], false);
    world.link(client, router, LinkSetup::millis(1));
    let far = world.link(router, server, LinkSetup::millis(1));
    world.fill_routes();
    let mut ping = |change: &dyn Fn(&mut World)| {
        change(&mut world);
        world
            .block_on(client, |net| async move {
                net.ping(ip(SERVER), None, 8, Duration::from_secs(1)).await.map(|reply| reply.answer).ok()
            })
            .unwrap()
    };
    assert_eq!(ping(&|_| ()), Some(PingAnswer::Reply));
    assert_eq!(ping(&|world| world.set_link_up(far, false)), None);
    assert_eq!(ping(&|world| world.set_link_up(far, true)), Some(PingAnswer::Reply));
    let host = Prefix::host(ip(SERVER));
    assert_eq!(ping(&|world| world.unroute(router, host, true)), None);
    assert_eq!(ping(&|world| world.unroute(router, host, false)), Some(PingAnswer::Unreachable(3, 13)));
    assert_eq!(ping(&|world| world.route(router, host, far)), Some(PingAnswer::Reply));
}

#[test]
fn a_written_trace_reads_back_packet_by_packet_with_times_and_comments() {
    let write = || {
        let (mut line, node) = echo_line(5);
        let recording = Recording::default();
        line.world.tap_box(node, Box::new(recording.clone()));
        let _ = say(&mut line, b"evil");
        let records = recording.take();
        let mut trace = Pcapng::new(Vec::new(), &["box"]).unwrap();
        for record in &records {
            let comment = record.comment.as_deref();
            let record = TapRecord { at: record.at, out: record.out, packet: &record.packet, comment };
            trace.write(0, record).unwrap();
        }
        (records, trace.into_inner())
    };
    let (records, bytes) = write();
    assert_eq!(bytes, write().1);
    assert!(records.iter().any(|record| record.comment.as_deref().is_some_and(|c| c.starts_with("dropped"))));
    let read = read_back(&bytes);
    let expected: Vec<_> = records.iter().map(|record| (record.at.nanos(), record.packet.clone())).collect();
    assert_eq!(read, expected);
}

/// Times and packets, by a reader that is not the writer's.
fn read_back(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
    use pcap_parser::{Block, PcapBlockOwned, PcapError, PcapNGReader};
    let mut reader = PcapNGReader::new(65_536, bytes).unwrap();
    let mut read = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let PcapBlockOwned::NG(Block::EnhancedPacket(packet)) = block {
                    let at = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                    read.push((at, packet.packet_data().to_vec()));
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return read,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn no_damaged_packet_makes_anything_panic() {
    let mut setup = NatSetup::carrier(vec!["192.0.2.7".parse().unwrap()]);
    setup.filters_by_end = false;
    let mut line = line(1, LinkSetup::millis(2), |world| Some(world.nat("cgnat", setup)));
    for host in [line.server, line.client] {
        line.world.spawn(host, |net| async move {
            let mut listener = net.listen(80).unwrap();
            let _socket = net.udp_bind(53).unwrap();
            while listener.accept().await.is_ok() {}
        });
    }
    let random = |net: &okno_lab::net::Net, packets: &[Vec<u8>]| {
        let mut packet = packets[net.below(packets.len() as u64) as usize].clone();
        for _ in 0..net.below(4) {
            let at = net.below(packet.len() as u64) as usize;
            packet[at] = net.random::<1>()[0];
        }
        if net.below(3) == 0 {
            packet.truncate(net.below(packet.len() as u64 + 1) as usize);
        }
        if net.below(2) == 0 {
            build::mend_checksums(&mut packet);
        }
        packet
    };
    for (host, from, to) in [
        (line.client, CLIENT, SERVER),
        (line.client, "2001:db8:1::2", SERVER6),
        (line.server, SERVER, "192.0.2.7"),
        (line.server, SERVER6, "2001:db8:1::2"),
    ] {
        let ip = IpRepr::new(ip(from), ip(to));
        let mut syn = TcpRepr::data(1_000, 80, 1, 0);
        syn.flags = flag::SYN;
        syn.options = vec![2, 4, 5, 0xb4, 3, 3, 7, 4, 2];
        let inner = build::udp(&IpRepr::new(ip.destination, ip.source), 53, 53, &[1; 40]);
        let echo = if ip.source.is_ipv4() { 8 } else { 128 };
        let mut packets = vec![
            syn.emit(&ip, &[]),
            TcpRepr::data(1_000, 80, 2, 9).emit(&ip, &[7; 50]),
            build::udp(&ip, 53, 53, &[1; 40]),
            build::icmp(&ip, echo, 0, 7, &[1; 20]),
            build::icmp(&ip, 3, 1, 0, &inner),
            build::icmp(&ip, 11, 0, 0, &inner),
            build::icmp(&ip, 3, 4, 1_000, &inner),
            build::icmp(&ip, 2, 0, 1_300, &inner),
        ];
        packets.extend(ip.emit_fragments(
            number::UDP,
            5,
            &[16, 32],
            &build::udp_segment(&ip, 53, 53, &[3; 60]),
        ));
        line.world.block_on(host, move |net| async move {
            for _ in 0..10_000 {
                net.send_raw(random(&net, &packets));
                if net.below(50) == 0 {
                    net.sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    line.world.run_for(Duration::from_secs(300));
    assert!(line.world.count().packets > 60_000, "{:?}", line.world.count());
}

#[test]
fn streams_speak_the_async_traits_of_futures() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let (mut line, _) = echo_line(1);
    let back = line.world.block_on(line.client, |net| async move {
        let stream = net.connect(end(SERVER, 7)).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        writer.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        reader.read_exact(&mut back).await.unwrap();
        writer.close().await.unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        (back, rest.len())
    });
    assert_eq!(back, Some((*b"hello", 0)));
}

/// Drops what goes down beyond a rate: a bucket of `depth` bytes that fills at `rate` bytes a second.
struct Policer {
    rate: f64,
    depth: f64,
    level: f64,
    last: Instant,
}

impl Middlebox for Policer {
    fn on_packet(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        _: &mut Context<'_>,
    ) -> Verdict {
        if direction == Direction::Up {
            return Verdict::Pass;
        }
        self.level = (self.level + now.since(self.last).as_secs_f64() * self.rate).min(self.depth);
        self.last = now;
        let len = packet.bytes().len() as f64;
        if self.level < len {
            return Verdict::Drop;
        }
        self.level -= len;
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn a_download_through_a_policer_gets_most_of_its_rate() {
    // 130 and 150 kbit/s, as measured of the throttling of 2021 (https://censoredplanet.org/throttling).
    for (rate, depth) in [(130_000.0, 8_000.0), (150_000.0, 18_000.0), (1_000_000.0, 30_000.0)] {
        let policer = Policer { rate: rate / 8.0, depth, level: depth, last: Instant::ZERO };
        let mut line =
            line(1, LinkSetup::millis(20), |world| Some(world.middlebox("box", Box::new(policer))));
        let start = line.world.now();
        let body = download(&mut line, 400_000, end(SERVER, 80)).unwrap().unwrap();
        let took = line.world.now().since(start).as_secs_f64();
        let goodput = body.len() as f64 * 8.0 / took;
        eprintln!("policed {rate} depth {depth}: goodput {goodput:.0} in {took:.1} s");
        assert!((0.6..1.1).contains(&(goodput / rate)), "{goodput} of {rate}");
    }
}

#[test]
fn transfers_both_ways_complete_on_forty_bad_paths() {
    for seed in 0..40u64 {
        let pick = |salt: u64, below: u64| okno_lab::world::chance::hash(seed, &[salt]) % below;
        let core = LinkSetup::millis(pick(1, 150))
            .with_rate([0, 300_000, 2_000_000, 50_000_000][pick(2, 4) as usize])
            .with_queue(4_000 + pick(3, 60_000))
            .with_loss(pick(4, 10) as f64 / 100.0)
            .with_jitter(Duration::from_millis(pick(5, 30)))
            .with_mtu([1500, 1400, 700][pick(6, 3) as usize]);
        let mut line = line(seed, core, |_| None);
        let len = 40_000 + pick(7, 100_000) as usize;
        let took = line.world.spawn(line.server, move |net| async move {
            let mut stream = net.listen(80).unwrap().accept().await.unwrap();
            let mut got = vec![0; len];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
            stream.shutdown();
            assert_eq!(stream.read(&mut [0; 1]).await, Ok(0));
        });
        let back = line.world.block_on(line.client, move |net| async move {
            let mut stream = net.connect(end(SERVER, 80)).await.map_err(|e| e.kind)?;
            let body: Vec<u8> = (0..len).map(|n| (n / 11) as u8).collect();
            stream.write_all(&body).await.map_err(|e| e.kind)?;
            let back = stream.read_to_end(len).await.map_err(|e| e.kind)?;
            Ok::<bool, NetErrorKind>(back == body)
        });
        assert_eq!(back, Some(Ok(true)), "seed {seed}: {core:?} {len}");
        line.world.run_for(Duration::from_secs(200));
        assert!(took.has_ended(), "seed {seed}");
        let open = [line.client, line.server].map(|host| line.world.net(host).tcp_connections());
        assert_eq!(open, [0, 0], "seed {seed}: every connection is freed");
    }
}

#[test]
fn taps_stream_into_one_trace_and_extension_headers_reach_the_stack() {
    let (mut line, _) = echo_line(2);
    let trace =
        std::rc::Rc::new(core::cell::RefCell::new(Pcapng::new(Vec::new(), &["near", "far"]).unwrap()));
    line.world.tap(okno_lab::world::LinkId(0), Side::A, Box::new(Pcapng::sink(&trace, 0)));
    line.world.tap(okno_lab::world::LinkId(3), Side::B, Box::new(Pcapng::sink(&trace, 1)));
    let flags = line.world.block_on(line.client, |net| async move {
        let raw = net.raw(RawClaim::of(number::TCP, 4_444));
        let mut ip = IpRepr::new(ip("2001:db8:1::2"), ip(SERVER6));
        ip.extensions = vec![(number::DESTINATION_OPTIONS, vec![0; 8]), (number::FRAGMENT, vec![0; 8])];
        let mut syn = TcpRepr::data(4_444, 7, 100, 0);
        syn.flags = flag::SYN;
        net.send_raw(syn.emit(&ip, &[]));
        let (_, packet) = raw.receive_for(Duration::from_secs(3)).await.unwrap();
        PacketView::parse(&packet).unwrap().tcp().unwrap().flags()
    });
    assert_eq!(flags, Some(flag::SYN | flag::ACK));
    drop(line);
    let trace = std::rc::Rc::try_unwrap(trace).ok().unwrap().into_inner().into_inner();
    let read = read_back(&trace);
    assert_eq!(read.len(), 4);
    assert!(read.is_sorted_by_key(|(at, _)| *at));
}

#[test]
fn ipv6_passes_a_nat_and_the_routers_behind_it_both_ways_untranslated() {
    let mut world = World::new(Setup { seed: 1, ..Setup::default() });
    let r0 = world.router("r0", &[ip("100.64.0.1"), ip("2001:db8:9::1")], false);
    let inside = world.router("inside", &[ip("100.64.0.3"), ip("2001:db8:9::2")], false);
    world.link(r0, inside, LinkSetup::millis(1));
    let nat = world.nat("nat", NatSetup::carrier(vec!["192.0.2.7".parse().unwrap()]));
    world.link(inside, nat, LinkSetup::millis(1));
    let r1 = world.router("r1", &[ip("203.0.113.1"), ip("2001:db8:9::3")], false);
    world.link(nat, r1, LinkSetup::millis(1));
    let server = world.host("server", &[ip(SERVER), ip(SERVER6)]);
    world.link(r1, server, LinkSetup::millis(1));
    let client = world.host("client", &[ip(CLIENT), ip("2001:db8:1::2")]);
    world.link(client, r0, LinkSetup::millis(5));
    world.fill_routes();
    let mut line = Line { world, client, server };
    let got = download(&mut line, 5_000, end(SERVER6, 80));
    assert_eq!(got.map(|got| got.map(|bytes| bytes.len())), Some(Ok(5_000)));
}

/// Passes what carries no payload until `frozen`, then drops all of TCP, both ways, for ever.
struct Freezer {
    frozen: bool,
}

impl Middlebox for Freezer {
    fn on_packet(
        &mut self,
        _: Instant,
        _: Direction,
        packet: &PacketView<'_>,
        _: &mut Context<'_>,
    ) -> Verdict {
        let Some(tcp) = packet.tcp() else { return Verdict::Pass };
        self.frozen |= !tcp.payload().is_empty();
        if self.frozen { Verdict::Drop } else { Verdict::Pass }
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn connections_that_are_frozen_for_ever_cost_few_events_and_end() {
    let freezer = Freezer { frozen: false };
    let mut line = line(1, LinkSetup::millis(20), |world| Some(world.middlebox("box", Box::new(freezer))));
    line.world.spawn(line.server, |net| async move {
        let mut listener = net.listen(443).unwrap();
        while let Ok(mut stream) = listener.accept().await {
            net.spawn(move |net| async move {
                net.sleep(Duration::from_secs(1)).await;
                let _ = stream.write_all(&[1; 30_000]).await;
                let mut chunk = [0; 64];
                let _ = stream.read(&mut chunk).await;
            });
        }
    });
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(line.world.spawn(line.client, |net| async move {
            let began = net.now();
            let mut stream = net.connect(end(SERVER, 443)).await.unwrap();
            net.sleep(Duration::from_secs(1)).await;
            let _ = stream.write_all(&[2; 20_000]).await;
            let mut chunk = [0; 64];
            let failure = stream.read(&mut chunk).await.map_err(|error| error.kind);
            (failure, net.now().since(began).as_secs())
        }));
    }
    line.world.run_for(Duration::from_secs(3_600));
    for handle in handles {
        let (failure, seconds) = handle.take().unwrap();
        assert_eq!(failure, Err(NetErrorKind::TimedOut));
        assert!((120..300).contains(&seconds), "{seconds}");
    }
    let count = line.world.count();
    assert!(count.events < 5_000 && count.polls < 500, "{count:?}");
}

#[test]
fn a_program_that_goes_in_circles_stops_the_world_with_its_hosts_name() {
    let mut line = line(1, LinkSetup::millis(20), |_| None);
    let _handle = line.world.spawn(line.server, |_| {
        core::future::poll_fn(|context: &mut core::task::Context<'_>| {
            context.waker().wake_by_ref();
            core::task::Poll::<()>::Pending
        })
    });
    let begin = line.world.now();
    line.world.run_for(Duration::from_secs(1));
    let why = line.world.stalled().unwrap();
    assert!(why.starts_with("server goes in circles"), "{why}");
    assert_eq!(line.world.now(), begin);
}
