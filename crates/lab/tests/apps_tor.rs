//! Tor's and Snowflake's tests against authorities, bridges, a broker and a volunteer of the lab.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_detect::Baseline;
use okno_lab::net::Net;
use okno_lab::probe::{Bench, LabNet, Server};
use okno_lab::services::shared;
use okno_lab::services::web::{Web, serve_https};
use okno_model::State;
use okno_probe::net::{Endpoint, Stream, UdpSetup, World, random, receive};
use okno_probe::nettests::obfs4::{self, Cert, Seen};
use okno_probe::nettests::snowflake::{self, Credentials, Ice};
use okno_probe::nettests::{by_name, tor};
use okno_probe::{Experiment, http, tls};
use okno_wire::dtls;
use serde_json::{Value, json};

mod judged;

use judged::{elsewhere, judged};

fn test(name: &str, options: &Value) -> Rc<dyn Experiment> {
    by_name(name, options).unwrap_or_else(|error| panic!("{error}"))
}

/// A server's host, as programs that are written against the probe's trait take it.
fn world_of(net: Net) -> World {
    LabNet::new(net, None, okno_lab::tls::ground(&[])).world()
}

const ANY: core::net::IpAddr = core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);

/// Serves each connection of a port with a program.
async fn serve<F, P>(world: World, port: u16, program: P)
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

fn seconds(world: &World) -> u64 {
    world.now().nanos() / 1_000_000_000
}

/// A bridge: answers who knows its line, and nobody else.
async fn bridge(world: World, mut stream: Box<dyn Stream>, cert: Cert) -> Option<()> {
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
async fn directory(_: World, mut stream: Box<dyn Stream>) -> Option<()> {
    let mut chunk = [0; 4_096];
    stream.read(&mut chunk).await.ok()?;
    let headers = [("X-Your-Address-Is", "11.19.0.200"), ("Content-Type", "text/plain")];
    let response = okno_wire::http::response(200, "OK", &headers, &[b'x'; 5_000]);
    stream.write_all(&response).await.ok()?;
    stream.flush().await.ok()
}

fn cert(number: u8) -> Cert {
    Cert::of([number; 20], [number; 32])
}

const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

/// Five authorities at 11.18.0.2–6 and five bridges at 11.18.0.7–11; the options that name them.
fn tor_network(bench: &mut Bench) -> Value {
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

fn blocks(numbers: core::ops::RangeInclusive<u8>) -> Vec<String> {
    numbers.map(|number| format!("11.18.0.{number}/32")).collect()
}

fn counts(keys: &Value) -> [u64; 6] {
    [
        "dir_port_accessible",
        "dir_port_total",
        "or_port_dirauth_accessible",
        "or_port_dirauth_total",
        "obfs4_accessible",
        "obfs4_total",
    ]
    .map(|key| keys[key].as_u64().unwrap_or(99))
}

#[test]
fn tor_works_where_nothing_interferes() {
    let mut bench = Bench::open();
    let test = test("tor", &tor_network(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(counts(&keys), [5; 6]);
    assert_eq!(judged(&*test, &keys, &elsewhere(&*test, &keys)).0.state, State::Ok);
    assert!(!keys.to_string().contains("11.19.0.200"), "a directory's header told the own address");
    let target = &keys["targets"]["11.18.0.2:9030"];
    assert_eq!(target["requests"][0]["response"]["body"].as_str().map(str::len), Some(256));
    assert_eq!(target["summary"], json!({"connect": {"failure": null}}));
    let target = &keys["targets"]["11.18.0.2:9001"];
    let both = json!({"connect": {"failure": null}, "handshake": {"failure": null}});
    assert_eq!(target["summary"], both);
}

#[test]
fn tors_authorities_dropped_by_address_leave_the_bridges() {
    let dropped = blocks(2..=6);
    let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
    let mut bench = Bench::with_profile("tspu-2022", &[("net.tor_relays", &dropped)]);
    let test = test("tor", &tor_network(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(counts(&keys), [0, 5, 0, 5, 5, 5]);
    let (summary, mechanisms) = judged(&*test, &keys, &Baseline::empty());
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.contains(&"tor.directory".to_owned()), "{mechanisms:?}");
}

#[test]
fn tors_bridges_dropped_by_address_leave_the_authorities() {
    let dropped = blocks(7..=11);
    let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
    let mut bench = Bench::with_profile("tspu-2022", &[("net.tor_relays", &dropped)]);
    let test = test("tor", &tor_network(&mut bench));
    let keys = bench.measure(&test, None);
    assert_eq!(counts(&keys), [5, 5, 5, 5, 0, 5]);
    let (summary, mechanisms) = judged(&*test, &keys, &Baseline::empty());
    assert_eq!(summary.state, State::Blocked);
    assert!(mechanisms.contains(&"tor.bridge".to_owned()), "{mechanisms:?}");
}

#[test]
fn a_server_that_accepts_everybody_is_no_bridge() {
    let mut bench = Bench::open();
    let server = bench.server("imposter");
    bench.serve(server, |net| okno_lab::services::covert::serve_random(net, 443));
    let target = json!({
        "address": server.end(443).to_string(),
        "params": {"cert": [cert(1).text()]},
        "protocol": "obfs4",
        "source": "bridgedb",
    });
    let test = test("tor", &json!({"targets": {"private": target}}));
    let keys = bench.measure(&test, None);
    assert_eq!(keys["obfs4_accessible"], 0);
    assert_eq!(keys["targets"]["private"]["failure"], "generic_timeout_error");
    assert_eq!(keys["targets"]["private"]["target_address"], "[scrubbed]");
    assert!(!keys.to_string().contains("11.18."), "the address of a private bridge was written");
}

/// A volunteer's proxy on UDP 50000: answers checks and shakes hands as pion does, as client or server.
async fn proxy(world: World, own: Credentials, is_passive: bool) -> Option<()> {
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

async fn stun(world: World) -> Option<()> {
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
fn broker_says(server: Server, own: &Credentials, is_passive: bool, polls: &[u8]) -> Vec<u8> {
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

const FRONT: &str = "www.front.example";

/// STUN at 11.18.0.2–3, the front at 11.18.0.4, a proxy at 11.18.0.5.
fn snowflake_network(bench: &mut Bench, is_passive: bool, has_proxy: bool) -> Value {
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

/// `name failure note` of each arm.
fn arms(keys: &Value) -> Vec<String> {
    let text = |arm: &Value, key: &str| arm[key].as_str().unwrap_or("-").to_owned();
    let each = |arm: &Value| format!("{} {} {}", text(arm, "name"), text(arm, "failure"), text(arm, "note"));
    keys["arms"].as_array().map(|arms| arms.iter().map(each).collect()).unwrap_or_default()
}

#[test]
fn snowflakes_way_is_open_where_nothing_interferes_in_either_role_of_dtls() {
    for is_passive in [false, true] {
        let mut bench = Bench::open();
        let test = test("torsf", &snowflake_network(&mut bench, is_passive, true));
        let keys = bench.measure(&test, None);
        let expected = ["stun.1 - -", "stun.2 - -", "broker - proxy", "proxy - dtls_both_ways"];
        assert_eq!(arms(&keys), expected);
        assert_eq!(keys["failure"], Value::Null);
        assert_eq!(keys["success"], Value::Null, "nothing was bootstrapped");
        let text = keys.to_string();
        assert!(!text.contains("11.19.0.200"), "the own address was written");
        assert!(!text.contains("11.18.0.5"), "the volunteer's address was written");
        assert_ne!(judged(&*test, &keys, &Baseline::empty()).0.state, State::Blocked);
    }
}

#[test]
fn a_broker_without_a_proxy_has_answered() {
    let mut bench = Bench::open();
    let test = test("torsf", &snowflake_network(&mut bench, false, false));
    let keys = bench.measure(&test, None);
    assert_eq!(arms(&keys)[2..], ["broker - no_proxy"]);
    assert_eq!(keys["failure"], Value::Null);
}

#[test]
fn the_front_reset_by_name_ends_the_rendezvous() {
    let mut open = Bench::open();
    let healthy = test("torsf", &snowflake_network(&mut open, false, true));
    let baseline = elsewhere(&*healthy, &open.measure(&healthy, None));
    let mut bench = Bench::with_profile("tspu-2022", &[("sni.blocked", &[FRONT])]);
    let test = test("torsf", &snowflake_network(&mut bench, false, true));
    let keys = bench.measure(&test, None);
    assert_eq!(arms(&keys)[2..], ["broker connection_reset -"]);
    assert_eq!(keys["failure"], "connection_reset");
    let (summary, mechanisms) = judged(&*test, &keys, &baseline);
    assert_eq!(summary.state, State::Blocked, "{mechanisms:?}");
}

#[test]
fn pions_hello_that_ends_the_flow_shows_as_silence_after_dtls() {
    let mut bench = Bench::with_profile("tspu-2026", &[]);
    let test = test("torsf", &snowflake_network(&mut bench, true, true));
    let keys = bench.measure(&test, None);
    // The same profile silences STUN abroad, as for calls; the meeting needs it only behind a NAT.
    let expected = [
        "stun.1 generic_timeout_error -",
        "stun.2 generic_timeout_error -",
        "broker - proxy",
        "proxy generic_timeout_error silent_after_dtls",
    ];
    assert_eq!(arms(&keys), expected);
    assert_eq!(keys["failure"], "generic_timeout_error");
    assert_eq!(keys["error"], "timeout-reached");
}

#[test]
fn stun_servers_dropped_by_address_are_the_first_failure() {
    let mut bench = Bench::with_profile("tspu-2022", &[("net.blocked", &["11.18.0.2/31"])]);
    let test = test("torsf", &snowflake_network(&mut bench, false, false));
    let keys = bench.measure(&test, None);
    assert_eq!(arms(&keys)[..2], ["stun.1 generic_timeout_error -", "stun.2 generic_timeout_error -"]);
    assert_eq!(keys["failure"], "generic_timeout_error");
}
