//! Nobody who speaks nonsense can make a service or a client of the lab panic or hang.

use core::net::IpAddr;
use core::time::Duration;

use okno_lab::clients::covert::{Opening, dtls_session, exchange};
use okno_lab::clients::dns::{Transport, lookup};
use okno_lab::clients::tunnel::{TunnelLoad, openvpn, wireguard};
use okno_lab::clients::web::{Fetch, fetch, fetch_quic, first_flight};
use okno_lab::clients::{self, call};
use okno_lab::net::Net;
use okno_lab::services::dns::{DnsServer, Resolver, Zones};
use okno_lab::services::web::Web;
use okno_lab::services::{self, shared};
use okno_lab::tls::{self, Authority, TlsVersions, UnknownName};
use okno_lab::world::{LinkSetup, NodeId, Setup, World};
use okno_lab::{HostSetup, quic};
use okno_wire::{Endpoint, Instant, dns, sip, stun};

const SERVER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(198, 51, 100, 1));
const PATIENCE: Duration = Duration::from_secs(2);

fn pair(seed: u64) -> (World, NodeId, NodeId) {
    let mut world = World::new(Setup { seed, ..Setup::default() });
    let client = world.host("client", &[IpAddr::from([192, 0, 2, 1])]);
    let server = world.host_with("server", HostSetup::new(&[SERVER]).with_buffers(16_384, 16_384));
    world.link(client, server, LinkSetup::millis(2));
    (world, client, server)
}

/// A message of one of many protocols, damaged.
fn nonsense(net: &Net) -> Vec<u8> {
    let hello = okno_wire::tls::preset::chrome(net.below(9), Some("site.example"), false);
    let request = stun::Repr {
        method: [1, 3, 8, 9][net.below(4) as usize],
        class: stun::Class::Request,
        transaction: net.random(),
        attributes: vec![
            (6, b"user".to_vec()),
            (12, vec![0x40, 1, 0, 0]),
            (18, vec![0, 1, 9, 9, 8, 8, 8, 8]),
        ],
    };
    let mut bytes = match net.below(9) {
        0 => dns::query(7, "site.example", 1).emit(),
        1 => dns::tcp_framed(&dns::query(7, "site.example", 1).emit()),
        2 => hello.emit_record(),
        3 => request.emit(),
        4 => stun::ChannelData { channel: 0x4001, data: &[7; 40] }.emit(),
        5 => sip::emit_request("REGISTER", "sip:a", "1", "<sip:a>", "<sip:a>", "SIP/2.0/UDP a"),
        6 => b"POST /bytes/9 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
        7 => [&[56][..], &net.random::<8>(), &[0, 0, 0, 0, 0, 0]].concat(),
        _ => net.random::<200>().to_vec(),
    };
    for _ in 0..net.below(5) {
        let at = net.below(bytes.len() as u64) as usize;
        bytes[at] = net.random::<1>()[0];
    }
    if net.below(4) == 0 {
        bytes.truncate(net.below(bytes.len() as u64 + 1) as usize);
    }
    if net.below(9) == 0 {
        let len = bytes.len().min(net.below(5) as usize);
        bytes[..len].fill(4);
    }
    bytes
}

const PORTS: [u16; 13] = [22, 53, 80, 443, 853, 1_194, 3_478, 5_060, 6_000, 8_443, 9_001, 9_002, 51_820];

fn serve_all(world: &mut World, server: NodeId) {
    let authority = Authority::new(1, "Root");
    let identity = authority.issue(&["site.example"], Instant::ZERO, Instant::from_secs(4_000_000_000));
    let names = [("site.example", identity)];
    let config = |versions| tls::server_config(&names, UnknownName::Alert, versions, &[]);
    let (both, only13) = (config(TlsVersions::Both), config(TlsVersions::Only13));
    let mut zones = Zones::default();
    zones.set_addresses("site.example", 60, &[SERVER]);
    let dns = DnsServer::new(world.net(server), shared(Resolver::new(shared(zones))));
    let (dot, setup) = (dns.clone(), shared(both.clone()));
    world.spawn(server, move |_| dns.serve(53));
    world.spawn(server, move |_| dot.serve_stream(853, Some(both)));
    world.spawn(server, |net| services::web::serve_http(net, 80, shared(Web::of_bytes(100))));
    world.spawn(server, |net| services::web::serve_https(net, 443, setup, shared(Web::of_bytes(100))));
    world.spawn(server, |net| quic::serve(net, 443, only13, |_| vec![7; 100]));
    world.spawn(server, |net| services::plain::serve_ssh(net, 22));
    world.spawn(server, |net| services::plain::serve_sip(net, 5_060));
    world.spawn(server, |net| services::tunnel::serve_openvpn(net, 1_194));
    world.spawn(server, |net| services::tunnel::serve_wireguard(net, 51_820));
    world.spawn(server, |net| services::call::serve_stun(net, 3_478));
    world.spawn(server, |net| services::call::serve_media_echo(net, 6_000));
    world.spawn(server, |net| services::covert::serve_fake_tls(net, 8_443));
    world.spawn(server, |net| services::covert::serve_random(net, 9_001));
    world.spawn(server, |net| services::covert::serve_dtls(net, 9_002));
}

#[test]
fn services_survive_clients_that_speak_nonsense() {
    let (mut world, client, server) = pair(1);
    serve_all(&mut world, server);
    let done = world.block_on(client, |net| async move {
        let socket = net.udp_bind(0).unwrap();
        for round in 0..1_200u32 {
            let port = PORTS[net.below(PORTS.len() as u64) as usize];
            let _ = socket.send_to(&nonsense(&net), Endpoint { ip: SERVER, port });
            if round % 8 == 0
                && let Ok(mut stream) = net.connect(Endpoint { ip: SERVER, port }).await
            {
                for _ in 0..net.below(4) {
                    let _ = stream.write_all(&nonsense(&net)).await;
                }
                net.sleep(Duration::from_millis(net.below(30))).await;
            }
            net.sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(done.is_some());
    // And they still serve.
    world.run_for(Duration::from_secs(300));
    let seen = world.block_on(client, |net| async move {
        let at = |port| Endpoint { ip: SERVER, port };
        let resolver = lookup(&net, at(53), &Transport::Tcp, "site.example", false, PATIENCE).await;
        let page = fetch(&net, &Fetch::new("site.example", SERVER, None)).await;
        let binding = call::stun_binding(&net, at(3_478), PATIENCE).await;
        [resolver.failure(), page.failure(), binding.failure()]
    });
    assert_eq!(seen, Some([None, None, None]));
    assert!(world.net(server).tcp_connections() < 50);
}

#[test]
fn clients_survive_servers_that_speak_nonsense() {
    let (mut world, client, server) = pair(2);
    for port in PORTS {
        world.spawn(server, move |net| async move {
            let socket = net.udp_bind(port).unwrap();
            net.spawn(move |net| async move {
                while let Ok(datagram) = socket.receive().await {
                    let _ = socket.send_to(&nonsense(&net), datagram.from);
                }
            });
            let mut listener = net.listen(port).unwrap();
            while let Ok(mut stream) = listener.accept().await {
                net.spawn(|net| async move {
                    let mut chunk = [0; 2_000];
                    while let Ok(1..) = stream.read(&mut chunk).await {
                        let _ = stream.write_all(&nonsense(&net)).await;
                    }
                });
            }
        });
    }
    let config = tls::client_config(&[], TlsVersions::Both, &[]);
    let done = world.block_on(client, move |net| async move {
        let at = |port| Endpoint { ip: SERVER, port };
        let mut failed = 0;
        for _ in 0..15 {
            let mut plain = Fetch::new("site.example", SERVER, None);
            plain.patience = PATIENCE;
            let mut secure = Fetch::new("site.example", SERVER, Some(config.clone()));
            secure.deadline = PATIENCE;
            let hello = okno_wire::tls::preset::firefox(1, Some("site.example"), false);
            let dot = Transport::Tls(config.clone(), String::from("site.example"));
            let plan = call::CallPlan {
                relay: at(3_478),
                peer: at(6_000),
                length: Duration::from_secs(1),
                payload: 160,
            };
            let load = TunnelLoad { packets: 3, ..TunnelLoad::LIGHT };
            let pion = okno_wire::dtls::preset::pion(1);
            let seen = [
                fetch(&net, &plain).await,
                fetch(&net, &secure).await,
                fetch_quic(&net, &secure, &[]).await,
                first_flight(&net, at(443), &hello, PATIENCE).await.0,
                lookup(&net, at(53), &Transport::Udp, "site.example", false, PATIENCE).await,
                lookup(&net, at(53), &Transport::Tcp, "site.example", false, PATIENCE).await,
                lookup(&net, at(853), &dot, "site.example", false, PATIENCE).await,
                wireguard(&net, at(51_820), load, PATIENCE).await,
                openvpn(&net, at(1_194), false, load, PATIENCE).await,
                openvpn(&net, at(1_194), true, load, PATIENCE).await,
                call::call(&net, plan, PATIENCE).await,
                call::sip_register(&net, at(5_060), "site.example", PATIENCE).await,
                dtls_session(&net, at(9_002), &pion, 2, PATIENCE).await,
                exchange(&net, at(9_001), &Opening::Ssh, 2, 100, PATIENCE).await,
                clients::many_connections(&net, at(80), 3, Duration::ZERO, PATIENCE).await,
            ];
            failed += seen.iter().filter(|seen| !seen.is_ok()).count();
        }
        failed
    });
    assert!(done.is_some_and(|failed| failed > 120), "{done:?}");
}
