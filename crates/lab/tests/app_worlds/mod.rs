//! Small worlds in which each application test of OONI's finds what it looks for.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_lab::net::Net;
use okno_lab::probe::{Bench, LabNet, Server};
use okno_lab::services::shared;
use okno_lab::services::web::{Web, serve_http, serve_https};
use okno_probe::helper::echo;
use okno_probe::helper::web::{Helper, HelperOptions};
use okno_probe::net::{Endpoint, Stream, UdpSetup, World, random, receive};
use okno_probe::nettests::obfs4::{self, Cert, Seen};
use okno_probe::nettests::snowflake::{self, Credentials, Ice};
use okno_probe::nettests::{by_name, tor};
use okno_probe::talk::control::{Control, Wire};
use okno_probe::{Experiment, http, tls};
use okno_wire::dtls;
use rustls::ServerConfig;
use serde_json::{Value, json};

pub fn test(name: &str, options: &Value) -> Rc<dyn Experiment> {
    by_name(name, options).unwrap_or_else(|error| panic!("{error}"))
}

/// Servers get their addresses in order; the resolver abroad has the first.
pub fn address(number: u8) -> String {
    format!("11.18.0.{number}")
}

/// A server on which these ports answer plain HTTP.
pub fn plain(bench: &mut Bench, name: &str, ports: &[u16]) -> Server {
    let (server, web) = (bench.server(name), shared(Web::of_page("ok")));
    for port in ports {
        let (port, web) = (*port, web.clone());
        bench.serve(server, move |net| serve_http(net, port, web));
    }
    server
}

/// Telegram: six data centres at 11.18.0.2–7 and the web client; the options that name them.
pub fn telegram(bench: &mut Bench) -> Value {
    let centres: Vec<String> =
        (1..=6).map(|number| plain(bench, &format!("dc{number}.test"), &[80, 443]).v4.to_string()).collect();
    assert_eq!(centres, (2..=7).map(address).collect::<Vec<_>>());
    bench.web("web.telegram.org", Web::of_page("<title>Telegram Web</title>"));
    json!({"datacenters": centres})
}

/// WhatsApp's endpoints, all on one server, with registration and web.
pub fn whatsapp(bench: &mut Bench) {
    let server = plain(bench, "e1.whatsapp.net", &[443, 5222]);
    for number in 2..=16 {
        bench.zones.borrow_mut().set_addresses(&format!("e{number}.whatsapp.net"), 60, &[server.v4]);
    }
    bench.web("v.whatsapp.net", Web::of_page("{}"));
    bench.web("web.whatsapp.com", Web::of_page("<title>WhatsApp Web</title>"));
}

/// Facebook's names on one server; the options that call its block Facebook's.
pub fn facebook(bench: &mut Bench) -> Value {
    let names = [
        "b-api.facebook.com",
        "b-graph.facebook.com",
        "edge-mqtt.facebook.com",
        "external.xx.fbcdn.net",
        "scontent.xx.fbcdn.net",
        "star.c10r.facebook.com",
        "stun.fbsbx.com",
    ];
    let server = bench.server("facebook.com");
    bench.serve_web(server, &names, Web::of_page("ok"));
    for name in names {
        bench.zones.borrow_mut().set_addresses(name, 60, &[server.v4]);
    }
    json!({"networks": ["11.18.0.0/24"]})
}

pub fn signal(bench: &mut Bench) {
    for host in ["cdsi", "chat", "sfu.voip", "storage"] {
        bench.web(&format!("{host}.signal.org"), Web::of_page("ok"));
    }
    bench.zones.borrow_mut().set_addresses("uptime.signal.org", 60, &[[127, 0, 0, 1].into()]);
}

/// A server's host, as programs that are written against the probe's trait take it.
pub fn world_of(net: Net) -> World {
    LabNet::new(net, None, okno_lab::tls::ground(&[])).world()
}

pub const ANY: core::net::IpAddr = core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);

/// Serves each connection of a port with a program.
pub async fn serve<F, P>(world: World, port: u16, program: P)
where
    F: Future<Output = Option<()>> + 'static,
    P: Fn(World, Box<dyn Stream>) -> F,
{
    let mut listener = world.listen(Endpoint { ip: ANY, port }).expect("the port is free");
    while let Ok(stream) = listener.accept().await {
        let work = program(world.clone(), stream);
        world.spawn(Box::pin(async move {
            // What a client does is its own affair.
            let _ = work.await;
        }));
    }
}

pub fn seconds(world: &World) -> u64 {
    world.now().nanos() / 1_000_000_000
}

/// A bridge: answers who knows its line, and nobody else.
pub async fn bridge(world: World, mut stream: Box<dyn Stream>, cert: Cert) -> Option<()> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    while obfs4::client_hello(&cert, &bytes, seconds(&world)) != Seen::Handshake {
        let taken = stream.read(&mut chunk).await.ok().filter(|taken| *taken > 0)?;
        bytes.extend_from_slice(&chunk[..taken]);
    }
    let answer = obfs4::server_flight(&cert, random(&*world), &[7; 1_000], seconds(&world));
    stream.write_all(&answer).await.ok()?;
    stream.flush().await.ok()?;
    stream.read(&mut chunk).await.ok().map(|_| ())
}

/// A directory, which tells everybody where he comes from.
pub async fn directory(_: World, mut stream: Box<dyn Stream>) -> Option<()> {
    let mut chunk = [0; 4_096];
    stream.read(&mut chunk).await.ok().filter(|taken| *taken > 0)?;
    let headers = [("X-Your-Address-Is", "11.19.0.200"), ("Content-Type", "text/plain")];
    let response = okno_wire::http::response(200, "OK", &headers, &[b'x'; 5_000]);
    stream.write_all(&response).await.ok()?;
    stream.flush().await.ok()
}

pub fn cert(number: u8) -> Cert {
    Cert::of([number; 20], [number; 32])
}

pub const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

/// Five authorities at 11.18.0.2–6 and five bridges at 11.18.0.7–11; the options that name them.
pub fn tor_network(bench: &mut Bench) -> Value {
    let mut targets = BTreeMap::new();
    for number in 1..=5 {
        let server = bench.server(&format!("authority{number}"));
        let config = bench.foreign_tls(&["www.ct7ctrgb6cr7.com"], &[]);
        bench.serve(server, move |net| serve_https(net, 9001, shared(config), shared(Web::of_page(""))));
        bench.serve(server, |net| serve(world_of(net), 9030, directory));
        for (port, protocol) in [(9001, "or_port_dirauth"), (9030, "dir_port")] {
            let address = server.end(port).to_string();
            let target =
                json!({"address": address, "name": format!("authority{number}"), "protocol": protocol});
            targets.insert(address, target);
        }
    }
    for number in 1..=5 {
        let server = bench.server(&format!("bridge{number}"));
        bench.serve(server, move |net| {
            serve(world_of(net), 443, move |world, stream| bridge(world, stream, cert(number)))
        });
        let address = server.end(443).to_string();
        let target = json!({
            "address": address,
            "fingerprint": FINGERPRINT,
            "params": {"cert": [cert(number).text()], "iat-mode": ["0"]},
            "protocol": "obfs4",
        });
        targets.insert(tor::bridge_id(&address, FINGERPRINT), target);
    }
    json!({"targets": targets})
}

/// A volunteer's proxy on UDP 50000: answers checks and shakes hands as pion does, as client or server.
pub async fn proxy(world: World, own: Credentials, is_passive: bool) -> Option<()> {
    let socket = world.udp(UdpSetup { port: 50_000, ..UdpSetup::default() }).ok()?;
    loop {
        let patience = core::time::Duration::from_secs(3_600);
        let datagram = receive(&*world, &*socket, patience).await.ok()?;
        let send = |bytes: &[u8]| socket.send_to(bytes, datagram.from, None).ok();
        if let Some(Ice::Request(transaction)) = snowflake::ice(&datagram.bytes) {
            send(&snowflake::check_answer(&own, transaction, datagram.from))?;
            if !is_passive {
                send(&dtls::preset::datagram(&dtls::preset::pion(9)))?;
            }
            continue;
        }
        let record = dtls::records(&datagram.bytes).next()?.ok()?;
        match dtls::fragments(record.body).next()?.ok()?.kind {
            1 => send(&dtls::hello_verify(&[1; 20]))?,
            3 => {
                let message = dtls::fragments(record.body).next()?.ok()?;
                let mut hello = dtls::preset::pion(9);
                hello.cookie = Some(dtls::verify_cookie(message.body).ok()?.to_vec());
                send(&dtls::preset::datagram(&hello))?;
            }
            _ => {}
        }
    }
}

pub async fn stun(world: World) -> Option<()> {
    let socket = world.udp(UdpSetup { port: 3_478, ..UdpSetup::default() }).ok()?;
    loop {
        let patience = core::time::Duration::from_secs(3_600);
        let datagram = receive(&*world, &*socket, patience).await.ok()?;
        if let Some(Ice::Request(transaction)) = snowflake::ice(&datagram.bytes) {
            let answer = snowflake::check_answer(&Credentials::default(), transaction, datagram.from);
            socket.send_to(&answer, datagram.from, None).ok()?;
        }
    }
}

/// The broker's word to a poll: this proxy, or that there is none.
pub fn broker_says(server: Server, own: &Credentials, is_passive: bool, polls: &[u8]) -> Vec<u8> {
    let polls = String::from_utf8_lossy(polls);
    assert!(polls.starts_with("1.0\n{") && polls.contains("a=setup:actpass"), "{polls}");
    let setup = if is_passive { "passive" } else { "active" };
    let sdp = format!(
        "v=0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=setup:{setup}\r\n\
         a=candidate:1 1 udp 2130706431 {} 50000 typ host\r\n",
        own.name, own.password, server.v4
    );
    let inner = json!({"type": "answer", "sdp": sdp}).to_string();
    json!({"answer": inner}).to_string().into_bytes()
}

pub const FRONT: &str = "www.front.example";

/// STUN at 11.18.0.2–3, the front at 11.18.0.4, a proxy at 11.18.0.5.
pub fn snowflake_network(bench: &mut Bench, is_passive: bool, has_proxy: bool) -> Value {
    for name in ["stun1.example", "stun2.example"] {
        let server = bench.server(name);
        bench.serve(server, |net| async move { stun(world_of(net)).await });
    }
    let (front, volunteer) = (bench.server(FRONT), bench.server("volunteer"));
    let own = Credentials::of([5; 40]);
    let proxy_own = own.clone();
    bench.serve(volunteer, move |net| proxy(world_of(net), proxy_own, is_passive));
    let config = bench.tls(&[FRONT], &["http/1.1"]);
    bench.serve(front, move |net| {
        serve(world_of(net), 443, move |_, stream| {
            let (config, own) = (config.clone(), own.clone());
            async move {
                let stream = tls::accept(stream, config).await.ok()?;
                http::serve(stream, false, 65_536, move |asked| {
                    let host = asked.headers.iter().find(|(name, _)| name == "host");
                    assert_eq!(host.map(|(_, value)| value.as_slice()), Some(&b"broker.example"[..]));
                    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/client"));
                    let body = if has_proxy {
                        broker_says(volunteer, &own, is_passive, &asked.body)
                    } else {
                        br#"{"error":"no snowflake proxies currently available"}"#.to_vec()
                    };
                    core::future::ready(http::Answer { code: 200, headers: Vec::new(), body })
                })
                .await;
                Some(())
            }
        })
    });
    json!({
        "broker": "https://broker.example/",
        "front": FRONT,
        "stun": ["stun1.example:3478", "stun2.example:3478"],
    })
}

pub const PORT: Endpoint = Endpoint { ip: core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), port: 80 };

/// The helper, and a test that asks it.
pub fn with_helper(bench: &mut Bench, name: &str) -> Rc<dyn Experiment> {
    let server = bench.server("helper.example");
    bench.serve(server, |net| async move {
        let world = world_of(net);
        let listener = world.listen(PORT).expect("the port is free");
        echo::serve(world, listener).await;
    });
    test(name, &json!({"backend": server.end(80).to_string()}))
}

/// What Squid answers to what it cannot read, as ts-007 shows, with the address of who asked.
pub const REFUSAL: &[u8] = b"HTTP/1.0 400 Bad Request\r\nServer: squid/2.6.STABLE21\r\n\
    X-Squid-Error: ERR_INVALID_REQ 0\r\nX-Forwarded-For: 11.19.0.200\r\nProxy-Connection: close\r\n\r\n";

/// A proxy in the helper's place: every connection to port 80 ends at it.
pub fn with_proxy(bench: &mut Bench, name: &str) -> Rc<dyn Experiment> {
    let server = bench.server("helper.example");
    bench.serve(server, |net| async move {
        let world = world_of(net);
        let mut listener = world.listen(PORT).expect("the port is free");
        while let Ok(mut stream) = listener.accept().await {
            world.spawn(Box::pin(async move {
                let mut chunk = [0; 4_096];
                if stream.read(&mut chunk).await.is_ok() && stream.write_all(REFUSAL).await.is_ok() {
                    // The client may be gone.
                    let _ = stream.close().await;
                }
            }));
        }
    });
    test(name, &json!({"backend": server.end(80).to_string()}))
}

/// The far end of OpenVPN: keys for keys, options for a request.
pub async fn session(mut control: Control, config: Arc<ServerConfig>) -> Option<()> {
    control.accept().await.ok()?;
    let mut stream = tls::accept(control, config).await.ok()?;
    let mut keys = [0; 5 + 112];
    stream.read_exact(&mut keys).await.ok()?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).await.ok()?;
    let mut rest = vec![0; usize::from(u16::from_be_bytes(len)) + 4];
    stream.read_exact(&mut rest).await.ok()?;
    let mut answer = vec![0, 0, 0, 0, 2];
    answer.extend([7; 64]);
    answer.extend([0, 4]);
    answer.extend(b"V4,\0");
    stream.write_all(&answer).await.ok()?;
    let mut request = [0; 13];
    stream.read_exact(&mut request).await.ok()?;
    assert_eq!(&request, b"PUSH_REQUEST\0");
    stream.write_all(b"PUSH_REPLY,route 10.8.0.1,ifconfig 10.8.0.6 10.8.0.5\0").await.ok()?;
    stream.flush().await.ok()?;
    // The client hangs up.
    let _ = stream.read(&mut [0; 1]).await;
    Some(())
}

/// An OpenVPN server on port 1194, over UDP and TCP.
pub fn openvpn_server(bench: &mut Bench) -> Server {
    let server = bench.server("vpn.example");
    let config = bench.tls(&["vpn.example"], &[]);
    let ground = okno_lab::tls::ground(&[]);
    bench.serve(server, move |net| async move {
        let world: World = LabNet::new(net, None, ground).world();
        let local = Endpoint { ip: [0, 0, 0, 0].into(), port: 1_194 };
        let setup = okno_probe::net::UdpSetup { port: 1_194, ..Default::default() };
        let socket = world.udp(setup).expect("the lab gives it");
        let (inner, udp_config) = (world.clone(), config.clone());
        world.spawn(Box::pin(async move {
            // The first datagram says who comes; the client sends it again.
            let first = core::future::poll_fn(|context| socket.poll_receive(context))
                .await
                .expect("the lab gives it");
            let control = Control::new(&inner, Wire::Udp(socket, first.from), Rc::new(|_| {}));
            let _ = session(control, udp_config).await;
        }));
        let mut listener = world.listen(local).expect("the lab gives it");
        while let Ok(stream) = listener.accept().await {
            let control = Control::new(&world, Wire::Tcp(stream), Rc::new(|_| {}));
            let config = config.clone();
            world.spawn(Box::pin(async move {
                let _ = session(control, config).await;
            }));
        }
    });
    server
}

/// The tests of OONI's that are measured here.
pub const TESTS: &[&str] = &[
    "dnscheck",
    "echcheck",
    "facebook_messenger",
    "http_header_field_manipulation",
    "http_invalid_request_line",
    "openvpn",
    "quicping",
    "signal",
    "sni_blocking",
    "stunreachability",
    "telegram",
    "tlsmiddlebox",
    "tor",
    "torsf",
    "web_connectivity",
    "whatsapp",
];

const SITE: &str = "site.example";
pub const HELPER: &str = "https://helper.example/";

/// A site, a harmless one, and a helper of web_connectivity.
fn sites(bench: &mut Bench) {
    for name in [SITE, "example.org", "example.com"] {
        bench.web(name, Web::of_page("<html><title>A page</title><body>hello</body></html>"));
    }
    let server = bench.server("helper.example");
    let (config, world) = (bench.tls(&["helper.example"], &["http/1.1"]), bench.world_of(server));
    bench.serve(server, move |_| async move {
        let world = world.world();
        let listener = world.listen(Endpoint { ip: ANY, port: 443 }).expect("the port is free");
        Helper::new(world, HelperOptions::default()).run(listener, Some(config)).await;
    });
}

/// What a test needs: its options and its input.
fn prepared(bench: &mut Bench, name: &str) -> (Value, Option<String>) {
    let of = |input: &str| Some(input.to_owned());
    match name {
        "facebook_messenger" => (facebook(bench), None),
        "signal" => {
            signal(bench);
            (Value::Null, None)
        }
        "telegram" => (telegram(bench), None),
        "tor" => (tor_network(bench), None),
        "torsf" => (snowflake_network(bench, false, true), None),
        "whatsapp" => {
            whatsapp(bench);
            (Value::Null, None)
        }
        "web_connectivity" => {
            sites(bench);
            let resolvers = json!({
                "udp_resolvers": [bench.public_dns.end(53).to_string()],
                "doh": ["https://dns.example/dns-query"],
            });
            (resolvers, of("https://site.example/"))
        }
        "echcheck" => {
            sites(bench);
            (Value::Null, of("https://site.example/"))
        }
        "dnscheck" => {
            sites(bench);
            (Value::Null, of("https://dns.example/dns-query"))
        }
        "quicping" => {
            sites(bench);
            (Value::Null, of(SITE))
        }
        "sni_blocking" => {
            sites(bench);
            (Value::Null, of(SITE))
        }
        "tlsmiddlebox" => {
            sites(bench);
            (Value::Null, of("tlstrace://site.example"))
        }
        "openvpn" => {
            let end = openvpn_server(bench).end(1_194);
            let input = format!("openvpn://riseup.corp/?address={end}&transport=tcp");
            (json!({"timeout_s": 20}), Some(input))
        }
        "stunreachability" => {
            let server = bench.server("stun.example");
            bench.serve(server, |net| okno_lab::services::call::serve_stun(net, 19_302));
            (Value::Null, of("stun://stun.example:19302"))
        }
        _ => panic!("there is no world for {name}"),
    }
}

/// The test, its input, its keys.
pub type Measured = (Rc<dyn Experiment>, Option<String>, Value);

/// Measures where nothing interferes.
pub fn measured(name: &str) -> Measured {
    measured_in(Bench::open(), name)
}

/// Measures where every server's address is dropped, and where every name is answered by resets.
pub fn measured_under_interference(name: &str) -> [Measured; 2] {
    let reset = Bench::with_profile("tspu-2022", &[("sni.blocked", &[".example", ".org", ".com", ".net"])]);
    [dropped(), reset].map(|bench| measured_in(bench, name))
}

/// Where every server's address is dropped.
pub fn dropped() -> Bench {
    Bench::with_profile("tspu-2022", &[("net.blocked", &["11.18.0.0/24"])])
}

/// What a test needs in this world: itself, its input.
pub fn made(bench: &mut Bench, name: &str) -> (Rc<dyn Experiment>, Option<String>) {
    if name.starts_with("http_") {
        return (with_helper(bench, name), None);
    }
    let (options, input) = prepared(bench, name);
    (test(name, &options), input)
}

fn measured_in(mut bench: Bench, name: &str) -> Measured {
    let (test, input) = made(&mut bench, name);
    let keys =
        bench.measure_with(&test, input.as_deref(), |context| context.helper = Some(HELPER.to_owned()));
    (test, input, keys)
}
