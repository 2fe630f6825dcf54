//! Services and clients meet: each activity succeeds on a clear path and names what went wrong on a bad one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use okno_lab::clients::dns::Transport;
use okno_lab::clients::tunnel::TunnelLoad;
use okno_lab::clients::web::{Fetch, FlightAnswer};
use okno_lab::clients::{self, Observed};
use okno_lab::net::Net;
use okno_lab::quic;
use okno_lab::services::dns::{DnsServer, NameRule, Resolver, Zones};
use okno_lab::services::web::Web;
use okno_lab::services::{self, Shared, shared};
use okno_lab::tls::{self, Authority, TlsVersions, UnknownName};
use okno_lab::world::{LinkId, LinkSetup, NatSetup, NodeId, Setup, Side, World};
use okno_model::{Failure, Layer};
use okno_wire::{Endpoint, Instant};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn end(text: &str, port: u16) -> Endpoint {
    Endpoint { ip: ip(text), port }
}

const SITE: &str = "198.51.100.1";
const RESOLVER: &str = "192.0.2.53";
const RELAY: &str = "198.51.100.3";
const PATIENCE: Duration = Duration::from_secs(10);

struct Town {
    world: World,
    client: NodeId,
    border: LinkId,
    web: Shared<Web>,
    resolver: Shared<Resolver>,
    trusted: Vec<Vec<u8>>,
}

fn year(year: u64) -> Instant {
    Instant::from_secs((year - 1970) * 31_557_600)
}

/// A client behind a CGNAT; a resolver near it; a site, a relay, tunnels abroad.
fn town(seed: u64) -> Town {
    let mut world = World::new(Setup { seed, ..Setup::default() });
    let client = world.host("client", &[ip("10.0.0.2")]);
    let nat = world.nat("cgnat", NatSetup::carrier(vec!["192.0.2.7".parse().unwrap()]));
    let core = world.router("core", &[ip("192.0.2.1")], false);
    let abroad = world.router("abroad", &[ip("203.0.113.1")], false);
    world.link(client, nat, LinkSetup::millis(4).with_rate(50_000_000));
    world.link(nat, core, LinkSetup::millis(1));
    let border = world.link(core, abroad, LinkSetup::millis(20).with_rate(100_000_000));
    let near = world.host("resolver", &[ip(RESOLVER)]);
    world.link(core, near, LinkSetup::millis(1));
    let site = world.host("site", &[ip(SITE)]);
    let relay = world.host("relay", &[ip(RELAY)]);
    for host in [site, relay] {
        world.link(abroad, host, LinkSetup::millis(1));
    }
    world.fill_routes();

    let authority = Authority::new(seed, "Lab root");
    let identity = authority.issue(&["site.example", "dns.example"], year(2020), year(2040));
    let names = [("site.example", identity.clone()), ("dns.example", identity)];
    let config = |alpn: &[&str], versions| tls::server_config(&names, UnknownName::Alert, versions, alpn);
    let https = config(&["http/1.1"], TlsVersions::Both);

    let mut zones = Zones::default();
    zones.set_addresses("site.example", 300, &[ip(SITE)]);
    let resolver = shared(Resolver::new(shared(zones)));
    let web = shared(Web::of_bytes(60_000));
    serve_all(
        &mut world,
        (near, site, relay),
        &resolver,
        &web,
        https,
        config(quic::ALPN, TlsVersions::Only13),
    );
    Town { world, client, border, web, resolver, trusted: vec![authority.certificate()] }
}

fn serve_all(
    world: &mut World,
    (near, site, relay): (NodeId, NodeId, NodeId),
    resolver: &Shared<Resolver>,
    web: &Shared<Web>,
    https: Arc<rustls::ServerConfig>,
    h3: Arc<rustls::ServerConfig>,
) {
    let server = DnsServer::new(world.net(near), resolver.clone());
    let (dot, doh) = (server.clone(), server.clone());
    let (for_dot, for_doh) = (https.clone(), https.clone());
    world.spawn(near, move |_| server.serve(53));
    world.spawn(near, move |_| dot.serve_stream(853, Some(for_dot)));
    world.spawn(near, move |_| doh.serve_https(443, for_doh));
    let (plain, secure) = (web.clone(), web.clone());
    let setup = shared(https);
    world.spawn(site, move |net| services::web::serve_http(net, 80, plain));
    world.spawn(site, move |net| services::web::serve_https(net, 443, setup, secure));
    world.spawn(site, move |net| quic::serve(net, 443, h3, |_| vec![7; 60_000]));
    world.spawn(site, |net| services::tunnel::serve_wireguard(net, 51_820));
    world.spawn(site, |net| services::tunnel::serve_openvpn(net, 1_194));
    world.spawn(site, |net| services::plain::serve_ssh(net, 22));
    world.spawn(site, |net| services::plain::serve_sip(net, 5_060));
    world.spawn(site, |net| services::covert::serve_fake_tls(net, 8_443));
    world.spawn(site, |net| services::covert::serve_random(net, 9_001));
    world.spawn(site, |net| services::covert::serve_dtls(net, 9_002));
    world.spawn(site, |net| services::call::serve_media_echo(net, 6_000));
    world.spawn(relay, |net| services::call::serve_stun(net, 3_478));
}

impl Town {
    fn run<F: Future<Output = Observed> + 'static>(&mut self, work: impl FnOnce(Net) -> F) -> Observed {
        self.world.block_on(self.client, work).unwrap()
    }

    fn https(&self) -> Fetch {
        let config = tls::client_config(&self.trusted, TlsVersions::Both, &["http/1.1"]);
        Fetch::new("site.example", ip(SITE), Some(config)).with_resolver(
            end(RESOLVER, 53),
            Transport::Udp,
            false,
        )
    }
}

fn layers(seen: &Observed) -> Vec<Layer> {
    seen.steps.iter().map(|step| step.layer).collect()
}

#[test]
fn a_page_comes_by_dns_tcp_tls_and_http_and_what_stops_it_is_named() {
    let mut town = town(1);
    let wants = town.https();
    let fetch = |town: &mut Town| {
        let wants = wants.clone();
        town.run(|net| async move { clients::web::fetch(&net, &wants).await })
    };
    let seen = fetch(&mut town);
    assert_eq!(layers(&seen), [Layer::Dns, Layer::Tcp, Layer::Tls, Layer::Http]);
    assert!(seen.is_ok(), "{seen:?}");
    assert_eq!((seen.status, seen.received, seen.address), (Some(200), 60_000, Some(ip(SITE))));

    town.web.borrow_mut().refused = vec!["192.0.2.0/24".parse().unwrap()];
    assert_eq!(fetch(&mut town).status, Some(403));
    *town.web.borrow_mut() = Web { delay: Duration::from_secs(11), ..Web::of_bytes(10) };
    assert_eq!(fetch(&mut town).failure(), Some((Layer::Http, Failure::GenericTimeout)));
    *town.web.borrow_mut() = Web { resets: true, ..Web::of_bytes(10) };
    assert_eq!(fetch(&mut town).failure(), Some((Layer::Tls, Failure::ConnectionReset)));
    *town.web.borrow_mut() = Web::of_page("<h1>blocked</h1>");
    let seen = town.run(|net| async move {
        clients::web::fetch(&net, &Fetch::new("site.example", ip(SITE), None)).await
    });
    assert_eq!(seen.excerpt, b"<h1>blocked</h1>");

    let rules = [
        (NameRule::NxDomain, Failure::DnsNxDomain),
        (NameRule::Refused, Failure::DnsRefused),
        (NameRule::Servfail, Failure::DnsServfail),
        (NameRule::Empty, Failure::DnsNoAnswer),
        (NameRule::Silence, Failure::GenericTimeout),
    ];
    for (rule, failure) in rules {
        town.resolver.borrow_mut().rules = BTreeMap::from([(String::from("example"), rule)]);
        assert_eq!(fetch(&mut town).failure(), Some((Layer::Dns, failure)));
    }
    let bogon = NameRule::Addresses(vec![ip(RELAY)]);
    town.resolver.borrow_mut().rules = BTreeMap::from([(String::from("site.example"), bogon)]);
    assert_eq!(fetch(&mut town).failure(), Some((Layer::Tcp, Failure::ConnectionRefused)));
    town.resolver.borrow_mut().rules.clear();
    town.world.set_link_up(town.border, false);
    assert_eq!(fetch(&mut town).failure(), Some((Layer::Tcp, Failure::GenericTimeout)));
}

#[test]
fn names_resolve_over_every_transport_and_answers_are_kept() {
    let mut town = town(1);
    let config = tls::client_config(&town.trusted, TlsVersions::Both, &[]);
    let name = String::from("dns.example");
    for (transport, port) in [
        (Transport::Udp, 53),
        (Transport::Tcp, 53),
        (Transport::Tls(config.clone(), name.clone()), 853),
        (Transport::Https(config, name), 443),
    ] {
        let seen = town.run(|net| async move {
            clients::dns::lookup(&net, end(RESOLVER, port), &transport, "Site.Example", false, PATIENCE).await
        });
        assert_eq!((seen.failure(), seen.answers), (None, vec![ip(SITE)]));
    }
    let ask = |net: Net| async move {
        clients::dns::lookup(&net, end(RESOLVER, 53), &Transport::Udp, "site.example", false, PATIENCE).await
    };
    assert_eq!(town.run(ask).duration().as_millis(), 12);
    town.world.run_for(Duration::from_secs(400));
    assert_eq!(town.run(ask).duration().as_millis(), 42);
}

#[test]
fn a_download_measures_the_rate_of_its_bottleneck() {
    let mut town = town(1);
    let slow = town.world.link_setup(town.border, Side::B).with_rate(2_000_000);
    town.world.change_link(town.border, Side::B, slow);
    let mut wants = town.https();
    wants.path = String::from("/bytes/1000000");
    let seen = town.run(|net| async move { clients::web::fetch(&net, &wants).await });
    let rate = seen.goodput_bps().unwrap();
    assert!((1_700_000..2_000_000).contains(&rate), "{rate}");
    assert!(seen.progress.len() > 20);
}

#[test]
fn an_upload_is_counted_by_the_server() {
    let mut town = town(1);
    let mut wants = town.https();
    wants.upload = 200_000;
    let seen = town.run(|net| async move { clients::web::fetch(&net, &wants).await });
    assert_eq!((seen.failure(), seen.excerpt), (None, b"200000 bytes\n".to_vec()));
}

#[test]
fn a_browsers_first_flight_gets_a_server_hello_and_an_unknown_name_an_alert() {
    let mut town = town(1);
    let mut answers = Vec::new();
    town.world.block_on(town.client, |net| async move {
        for name in ["site.example", "other.example"] {
            let hello = okno_wire::tls::preset::chrome(3, Some(name), false);
            answers.push(clients::web::first_flight(&net, end(SITE, 443), &hello, PATIENCE).await.1);
        }
        // access_denied is rustls's word for "no certificate for that name".
        assert_eq!(answers, [FlightAnswer::ServerHello, FlightAnswer::Alert(49)]);
    });
}

#[test]
fn quic_tunnels_calls_and_covert_streams_work_on_a_clear_path() {
    let mut town = town(1);
    let (trusted, wants) = (town.trusted.clone(), town.https());
    let seen = town.run(|net| async move { clients::web::fetch_quic(&net, &wants, &trusted).await });
    assert_eq!((seen.failure(), seen.received), (None, 60_000));
    let seen = town.run(|net| async move {
        clients::tunnel::wireguard(&net, end(SITE, 51_820), TunnelLoad::LIGHT, PATIENCE).await
    });
    assert_eq!((seen.failure(), seen.media.unwrap().received), (None, 50));
    for over_tcp in [false, true] {
        let seen = town.run(move |net| async move {
            clients::tunnel::openvpn(&net, end(SITE, 1_194), over_tcp, TunnelLoad::LIGHT, PATIENCE).await
        });
        assert_eq!((seen.failure(), seen.media.unwrap().received), (None, 50));
    }
    let seen =
        town.run(|net| async move { clients::call::stun_binding(&net, end(RELAY, 3_478), PATIENCE).await });
    assert_eq!((seen.failure(), seen.answers), (None, vec![ip("192.0.2.7")]));
    let seen = town.run(|net| async move {
        clients::call::sip_register(&net, end(SITE, 5_060), "lab.example", PATIENCE).await
    });
    assert_eq!(seen.failure(), None);
    use clients::covert::{Opening, exchange};
    for (opening, port) in [
        (Opening::Random(1_200), 9_001),
        (Opening::FakeTls(String::from("site.example")), 8_443),
        (Opening::Ssh, 22),
    ] {
        let seen = town
            .run(move |net| async move { exchange(&net, end(SITE, port), &opening, 3, 500, PATIENCE).await });
        assert_eq!((seen.failure(), seen.media.unwrap().received), (None, 4));
    }
    let seen = town.run(|net| async move {
        let hello = okno_wire::dtls::preset::pion(1);
        clients::covert::dtls_session(&net, end(SITE, 9_002), &hello, 5, PATIENCE).await
    });
    assert_eq!((seen.failure(), seen.media.unwrap().received), (None, 5));
    let seen = town.run(|net| async move {
        clients::many_connections(&net, end(SITE, 443), 20, Duration::from_secs(1), PATIENCE).await
    });
    assert_eq!((seen.failure(), seen.media.unwrap().received), (None, 20));
    let seen = town.run(|net| async move { clients::ping(&net, ip(SITE), 3, PATIENCE).await });
    assert_eq!((seen.failure(), seen.media.unwrap().received), (None, 3));
}

#[test]
fn a_call_measures_the_loss_and_jitter_of_its_path() {
    let plan = clients::call::CallPlan {
        relay: end(RELAY, 3_478),
        peer: end(SITE, 6_000),
        length: Duration::from_secs(20),
        payload: 160,
    };
    let mut town = town(1);
    let call = |net: Net| async move { clients::call::call(&net, plan, PATIENCE).await };
    let media = town.run(call).media.unwrap();
    assert_eq!((media.sent, media.received), (1_000, 1_000));
    assert!(media.jitter < 1e-4 && (0.050..0.070).contains(&media.round_trip), "{media:?}");
    for side in [Side::A, Side::B] {
        let bad =
            town.world.link_setup(town.border, side).with_loss(0.05).with_jitter(Duration::from_millis(10));
        town.world.change_link(town.border, side, bad);
    }
    let media = town.run(call).media.unwrap();
    assert!((0.06..0.14).contains(&media.loss()), "{media:?}");
    assert!((0.001..0.02).contains(&media.jitter), "{media:?}");
    town.world.set_link_up(town.border, false);
    assert_eq!(town.run(call).failure(), Some((Layer::App, Failure::GenericTimeout)));
}

#[test]
fn every_activity_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let mut town = town(seed);
        let (trusted, wants) = (town.trusted.clone(), town.https());
        town.run(|net| async move {
            let _ = clients::tunnel::wireguard(&net, end(SITE, 51_820), TunnelLoad::LIGHT, PATIENCE).await;
            let _ = clients::web::fetch_quic(&net, &wants, &trusted).await;
            clients::web::fetch(&net, &wants).await
        });
        (town.world.trace_hash(), town.world.count())
    };
    assert_eq!(run(3), run(3));
    assert_eq!(std::thread::spawn(move || run(3)).join().unwrap(), run(3));
    assert_ne!(run(3).0, run(4).0);
}

#[test]
fn an_answer_too_large_for_a_datagram_comes_over_tcp() {
    let mut town = town(1);
    let many: Vec<IpAddr> = (0..120).map(|n| IpAddr::from([198, 51, 100, n])).collect();
    town.resolver.borrow().zones.borrow_mut().set_addresses("many.example", 60, &many);
    let seen = town.run(|net| async move {
        clients::dns::lookup(&net, end(RESOLVER, 53), &Transport::Udp, "many.example", false, PATIENCE).await
    });
    assert_eq!((seen.failure(), seen.answers), (None, many));
}

#[test]
fn a_world_does_not_depend_on_the_worlds_before_it_or_beside_it() {
    let alone = {
        let mut town = town(3);
        let wants = town.https();
        town.run(|net| async move { clients::web::fetch(&net, &wants).await });
        town.world.trace_hash()
    };
    // Two worlds at once, stepped in turns, each drawing between the other's steps.
    let (mut first, mut second) = (town(9), town(3));
    let wants = second.https();
    first.world.spawn(first.client, |net| async move {
        for _ in 0..1_000 {
            let _: [u8; 8] = net.random();
            net.sleep(Duration::from_millis(1)).await;
        }
    });
    let done =
        second.world.spawn(second.client, |net| async move { clients::web::fetch(&net, &wants).await });
    while !done.has_ended() {
        first.world.run_for(Duration::from_millis(3));
        second.world.run_for(Duration::from_millis(1));
    }
    // The same events up to the end of the fetch; the closing of its connection may be in one of them.
    second.world.run_for(Duration::from_secs(1));
    let mut again = town(3);
    let wants = again.https();
    again.run(|net| async move { clients::web::fetch(&net, &wants).await });
    assert_eq!(again.world.trace_hash(), alone);
    let left = second.world.now().since(again.world.now());
    again.world.run_for(left);
    assert_eq!(second.world.trace_hash(), again.world.trace_hash());
}

#[test]
fn a_tor_like_link_shows_random_names_and_passes_cells() {
    for versions in [TlsVersions::Only12, TlsVersions::Both] {
        let mut town = town(5);
        let relay = town.world.host("tor", &[ip("198.51.100.9")]);
        town.world.spawn(relay, move |net| services::covert::serve_tor_like(net, 9_001, versions));
        let near = town.world.host("near", &[ip("198.51.100.8")]);
        let link = town.world.link(near, relay, LinkSetup::millis(5));
        let recording = okno_lab::tap::Recording::default();
        town.world.tap(link, Side::A, Box::new(recording.clone()));
        let seen = town.world.block_on(near, |net| async move {
            clients::covert::tor_like(&net, end("198.51.100.9", 9_001), 10, PATIENCE).await
        });
        let seen = seen.unwrap();
        assert_eq!((seen.failure(), seen.received), (None, 5_140));
        let sent = recording.take().into_iter().filter(|record| record.out);
        let hello =
            sent.map(|record| okno_wire::PacketView::parse(&record.packet).unwrap().payload().to_vec());
        let mut hello = hello.filter(|payload| okno_wire::tls::looks_like_tls(payload));
        let hello = hello.next().unwrap();
        let okno_wire::tls::FirstFlight::Hello(flight) = okno_wire::tls::first_flight(&hello) else {
            panic!()
        };
        let hello = okno_wire::tls::ClientHello::parse(&flight.message).unwrap();
        let name = hello.server_name().unwrap();
        assert!(name.starts_with("www.") && name.ends_with(".com"), "{name}");
    }
}
