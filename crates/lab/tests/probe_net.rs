//! The lab as the world of measurements: what a probe's host tells it.

use core::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use okno_lab::probe::Bench;
use okno_lab::services::dns::NameRule;
use okno_lab::services::web::Web;
use okno_model::Failure;
use okno_probe::net::{self, Dial, NetErrorKind, RawWatch, UdpSetup};
use okno_wire::Endpoint;

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_ttl_that_runs_out_ends_a_connect_and_is_told_of_datagrams() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("x"));
    let (kind, notices, reached) = bench.run(move |context| async move {
        let world = context.world;
        let dial = Dial { ttl: Some(2), ..Dial::to(server.end(443)) };
        let failure = world.connect(dial).await.err().unwrap().kind;
        let socket = world.udp(UdpSetup { peer: Some(server.end(9)), ..UdpSetup::default() }).unwrap();
        for ttl in 1..=3 {
            socket.send_to(b"x", server.end(9), Some(ttl)).unwrap();
        }
        net::sleep(&*world, Duration::from_secs(1)).await;
        let notices = socket.notices();
        let reached = {
            socket.send_to(b"x", server.end(9), None).unwrap();
            net::receive(&*world, &*socket, PATIENCE).await.err().unwrap().kind
        };
        (failure, notices, reached)
    });
    assert_eq!(kind, NetErrorKind::HostUnreachable);
    assert!(notices.iter().all(net::IcmpNotice::is_time_exceeded));
    let from: Vec<String> = notices.iter().map(|notice| notice.from.to_string()).collect();
    assert_eq!(from, ["11.19.0.2", "11.19.0.3", "11.19.0.4"]);
    assert_eq!(reached, NetErrorKind::Refused);
}

#[test]
fn a_connection_learns_of_routers_where_its_segments_end() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    let (notices, page, facts) = bench.run(move |context| async move {
        let world = context.world;
        let mut stream = world.connect(Dial::to(server.end(80))).await.unwrap();
        stream.set_ttl(1).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        net::sleep(&*world, Duration::from_millis(50)).await;
        let notices = stream.notices();
        stream.set_ttl(64).unwrap();
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await.unwrap();
        (notices, page, stream.facts())
    });
    assert_eq!(notices.len(), 1, "one segment, one message");
    assert_eq!(notices[0].from.to_string(), "11.19.0.2");
    assert!(page.ends_with(b"hello"));
    assert!(facts.retransmits.unwrap() >= 1 && facts.rtt.is_some());
}

#[test]
fn a_lookup_fails_as_getaddrinfo_does() {
    let mut bench = Bench::open();
    let server = bench.server("site.example");
    for (name, rule) in [
        ("no.example", NameRule::NxDomain),
        ("empty.example", NameRule::Empty),
        ("refused.example", NameRule::Refused),
        ("silent.example", NameRule::Silence),
    ] {
        bench.lie(name, rule);
    }
    let (got, waited) = bench.run(|context| async move {
        let mut got = Vec::new();
        for name in ["site.example", "no.example", "empty.example", "refused.example"] {
            got.push(context.world.lookup(name).await);
        }
        let before = context.world.now();
        got.push(context.world.lookup("silent.example").await);
        (got, context.world.now().since(before))
    });
    assert_eq!(
        got,
        [
            Ok(vec![server.v4]),
            Err(Failure::DnsNxDomain),
            Err(Failure::DnsNoAnswer),
            Err(Failure::DnsTemporary),
            Err(Failure::DnsTemporary),
        ]
    );
    assert_eq!(waited, Duration::from_secs(10));
}

#[test]
fn datagrams_and_echoes_tell_the_ttl_they_came_with() {
    let mut bench = Bench::open();
    let server = bench.server("echo.example");
    bench.serve(server, |net| okno_lab::services::plain::serve_echo(net, 7));
    let (datagram, echo, step) = bench.run(move |context| async move {
        let world = context.world;
        let socket = world.udp(UdpSetup::default()).unwrap();
        socket.send_to(b"x", server.end(7), None).unwrap();
        let datagram = net::receive(&*world, &*socket, PATIENCE).await.unwrap();
        let echo = world.ping(server.v4, None, 32, PATIENCE).await.unwrap();
        let step = world.ping(server.v4, Some(3), 32, PATIENCE).await.unwrap();
        (datagram, echo, step)
    });
    // Four routers: 64 − 4.
    assert_eq!((datagram.ttl, echo.ttl, echo.reached), (Some(60), Some(60), true));
    assert_eq!((step.from.to_string().as_str(), step.reached), ("11.19.0.4", false));
}

#[test]
fn a_raw_socket_watches_or_takes() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("x"));
    let (seen, connected) = bench.run(move |context| async move {
        let world = context.world;
        let watch = RawWatch { remote: server.v4, protocol: 6, own_port: 0, take: false };
        let packets = world.raw(watch).unwrap();
        let connected = world.connect(Dial::to(server.end(443))).await.is_ok();
        let next = core::future::poll_fn(|task| packets.poll_receive(task));
        (net::within(&*world, PATIENCE, next).await.unwrap().1.len(), connected)
    });
    assert!(connected && seen >= 40);
}

#[test]
fn a_profile_on_the_bench_resets_the_listed_name_alone() {
    let mut bench = Bench::with_profile("tspu-2024", &[("sni.blocked", &["blocked.example"])]);
    let server = bench.web("blocked.example", Web::of_page("x"));
    bench.serve_web(server, &["other.example"], Web::of_page("x"));
    let mut tried = Vec::new();
    for name in ["blocked.example", "other.example"] {
        let hello = okno_wire::tls::preset::curl(3, Some(name)).emit_record();
        tried.push(bench.run(move |context| async move {
            let mut stream = context.world.connect(Dial::to(server.end(443))).await.unwrap();
            stream.write_all(&hello).await.unwrap();
            let mut bytes = [0; 100];
            stream.read(&mut bytes).await.map_err(|error| NetErrorKind::of(&error)).map(|taken| taken > 0)
        }));
    }
    assert_eq!(tried, [Err(NetErrorKind::Reset), Ok(true)]);
}

#[test]
fn the_same_seed_draws_the_same_bytes_and_another_does_not() {
    let draw = |seed: u64| {
        let mut bench = Bench::new(seed, None);
        bench.run(|context| async move { net::random::<16>(&*context.world) })
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}

#[test]
fn the_bench_has_addresses_that_count_as_public() {
    let mut bench = Bench::open();
    let server = bench.server("site.example");
    let own = bench.run(move |context| async move { context.world.own_address(server.v4) });
    for ip in [server.v4, server.v6, bench.public_dns.v4, own.unwrap()] {
        assert!(!okno_model::is_bogon(ip), "{ip}");
    }
    assert_eq!(server.end(1), Endpoint { ip: server.v4, port: 1 });
}
