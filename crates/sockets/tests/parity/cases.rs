//! What is measured: one list for both worlds.

use core::net::IpAddr;
use core::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use okno_model::Failure;
use okno_probe::dns::{self, RecordType, Resolver};
use okno_probe::experiment::Context;
use okno_probe::helper::web::{Ask, ask, protocol::HelperRequest};
use okno_probe::http::{self, Request, Via};
use okno_probe::net::{self, Dial, Endpoint, IcmpNotice, NetErrorKind, RawWatch, UdpSetup, sleep};
use okno_probe::nettests;
use okno_probe::quic::{self, QuicOptions};
use okno_probe::tls::{self, TlsOptions, Versions};
use okno_probe::trace::{Scope, Trace};
use okno_probe::{Task, tcp};
use okno_wire::build::{IpRepr, TcpRepr};
use okno_wire::packet::{PacketView, Transport, flag};
use okno_wire::stun;
use serde_json::{Value, json};

use super::servers::{self, Program};

/// What a case runs in.
pub struct Scene {
    pub context: Context,
    /// addresses of the case's servers, in their order
    pub ips: Vec<IpAddr>,
    /// an address of the servers' network that nobody has
    pub nobody: IpAddr,
}

/// A case.
pub struct Case {
    pub name: &'static str,
    /// name and program of each server
    pub servers: Vec<(&'static str, Program)>,
    pub run: fn(Scene) -> Task<'static, Value>,
}

const PATIENCE: Duration = Duration::from_secs(3);

fn scope(scene: &Scene) -> Scope {
    Scope::new(&scene.context, &Trace::new(&scene.context), &[])
}

fn end(scene: &Scene, port: u16) -> Endpoint {
    Endpoint { ip: scene.ips[0], port }
}

/// What was recorded, and what the call said.
fn told<T>(scope: &Scope, result: Result<T, Failure>) -> Value {
    json!({ "keys": scope.trace.test_keys(), "failure": result.err().map(Failure::as_str) })
}

fn plain_http(scene: Scene, path: &'static str) -> Task<'static, Value> {
    Box::pin(async move {
        let scope = scope(&scene);
        let result = async {
            let flow = tcp::connect(&scope, Dial::to(end(&scene, 80))).await?;
            let via = Via { remote: Some(flow.remote()), alpn: String::new() };
            let url = format!("http://site.example{path}");
            http::exchange(&scope, flow, &via, &Request::get(&url)).await
        };
        let result = result.await;
        told(&scope, result)
    })
}

fn https_with(scene: Scene, name: &'static str, options: TlsOptions) -> Task<'static, Value> {
    Box::pin(async move {
        let scope = scope(&scene);
        let result = async {
            let to = end(&scene, 443);
            let flow = tcp::connect(&scope, Dial::to(to)).await?;
            let options = TlsOptions { patience: PATIENCE, ..options };
            let stream = tls::handshake(&scope, flow, to, name, &options).await?;
            let via = Via { remote: Some(to), alpn: stream.alpn() };
            http::exchange(&scope, stream, &via, &Request::get(&format!("https://{name}/"))).await
        };
        let result = result.await;
        told(&scope, result)
    })
}

fn https(scene: Scene) -> Task<'static, Value> {
    https_with(scene, "site.example", TlsOptions::http1())
}

fn quic_handshake(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let scope = scope(&scene);
        let options = QuicOptions { patience: PATIENCE, ..QuicOptions::default() };
        let done = quic::handshake(&scope, end(&scene, 443), "site.example", &options).await;
        told(&scope, done.map(quic::QuicConnection::close))
    })
}

fn http3(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let scope = scope(&scene);
        let options = QuicOptions { patience: PATIENCE, ..QuicOptions::default() };
        let result = async {
            let connection = quic::handshake(&scope, end(&scene, 443), "site.example", &options).await?;
            quic::get(&scope, &connection, &Request::get("https://site.example/")).await
        };
        let result = result.await;
        told(&scope, result)
    })
}

fn resolver(scene: &Scene, kind: &str) -> Resolver {
    let endpoint = |port| Endpoint { ip: scene.ips[0], port };
    match kind {
        "system" => Resolver::System,
        "udp" => Resolver::Udp(endpoint(53)),
        "tcp" => Resolver::Tcp(endpoint(53)),
        "dot" => Resolver::Dot { endpoint: endpoint(853), name: "dns.example".to_string() },
        "dot-wrong" => Resolver::Dot { endpoint: endpoint(853), name: "wrong.example".to_string() },
        "doh" => Resolver::Doh { endpoint: endpoint(443), url: "https://dns.example/dns-query".to_string() },
        _ => Resolver::Doh { endpoint: endpoint(443), url: "https://dns.example/broken".to_string() },
    }
}

fn query(scene: Scene, kind: &'static str, name: &'static str) -> Task<'static, Value> {
    Box::pin(async move {
        let scope = scope(&scene);
        let resolver = resolver(&scene, kind);
        let answers = dns::lookup(&scope, &resolver, name).await;
        json!({ "keys": scope.trace.test_keys(), "addresses": format!("{:?}", answers.addresses) })
    })
}

/// One question, where two at once would end in any order.
fn one_query(scene: Scene, kind: &'static str) -> Task<'static, Value> {
    Box::pin(async move {
        let scope = scope(&scene);
        let answer = dns::query(&scope, &resolver(&scene, kind), "dns.example", RecordType::A).await;
        json!({ "keys": scope.trace.test_keys(), "failure": answer.failure.map(Failure::as_str) })
    })
}

fn notices(all: &[IcmpNotice]) -> Vec<String> {
    all.iter().map(|one| format!("{} {}/{}", one.from, one.kind, one.code)).collect()
}

/// A datagram to a port of the first server, and what comes back.
fn datagram(scene: Scene, port: u16, connected: bool) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let to = end(&scene, port);
        let peer = connected.then_some(to);
        let socket = world.udp(UdpSetup { peer, ..UdpSetup::default() }).unwrap();
        let sent = socket.send_to(b"hello", to, None).is_ok();
        let come = net::receive(&*world, &*socket, PATIENCE).await;
        json!({
            "sent": sent,
            "failure": come.as_ref().err().map(|error| format!("{:?}", error.kind)),
            "bytes": come.as_ref().ok().map(|come| come.bytes.len()),
            "ttl": come.as_ref().ok().map(|come| come.ttl),
            "from": come.ok().map(|come| come.from.to_string()),
            "notices": notices(&socket.notices()),
        })
    })
}

fn udp_steps(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let mut seen = Vec::new();
        for connected in [false, true] {
            let to = end(&scene, 9);
            let peer = connected.then_some(to);
            let socket = world.udp(UdpSetup { peer, ..UdpSetup::default() }).unwrap();
            for ttl in 1..=3 {
                socket.send_to(b"step", to, Some(ttl)).unwrap();
                sleep(&*world, Duration::from_millis(200)).await;
            }
            let come = net::receive(&*world, &*socket, Duration::from_millis(500)).await;
            seen.push(json!([notices(&socket.notices()), come.is_err()]));
        }
        Value::Array(seen)
    })
}

fn connect_with_ttl(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let mut kinds = Vec::new();
        for ttl in [1, 3, 64] {
            let how = Dial { ttl: Some(ttl), patience: PATIENCE, ..Dial::to(end(&scene, 80)) };
            let stream = scene.context.world.connect(how).await;
            kinds.push(stream.err().map(|error| format!("{:?}", error.kind)));
        }
        json!(kinds)
    })
}

/// A request whose first transmission dies at the first router, as TTL-limited tests send it.
fn stream_with_ttl(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let mut stream = world.connect(Dial::to(end(&scene, 80))).await.unwrap();
        stream.set_ttl(2).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        sleep(&*world, Duration::from_millis(100)).await;
        let heard = notices(&stream.notices());
        stream.set_ttl(64).unwrap();
        let mut page = Vec::new();
        let read = stream.read_to_end(&mut page).await.is_ok();
        // Some kernels are not permitted to hear: then there is nothing to compare.
        json!({ "heard": heard.first(), "read": read, "page": page.ends_with(b"</html>") })
    })
}

fn facts(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let mut stream = world.connect(Dial::to(end(&scene, 80))).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let _ = servers::read_some(&mut stream).await;
        let facts = stream.facts();
        json!({
            "rtt": facts.rtt.is_some(),
            "retransmits": facts.retransmits,
            "unacknowledged": facts.unacknowledged,
            "mss": facts.mss.is_some_and(|mss| (1_000..1_500).contains(&mss)),
        })
    })
}

fn pings(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let mut seen = Vec::new();
        for (ip, ttl) in
            [(scene.ips[0], None), (scene.ips[0], Some(1)), (scene.ips[0], Some(3)), (scene.nobody, None)]
        {
            let echo = world.ping(ip, ttl, 32, PATIENCE).await;
            seen.push(match echo {
                Ok(echo) => format!("{} {} {:?}", echo.from, echo.reached, echo.ttl.filter(|_| echo.reached)),
                Err(error) => format!("{:?}", error.kind),
            });
        }
        json!(seen)
    })
}

fn unreachable(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let to = Endpoint { ip: scene.nobody, port: 443 };
        let tcp = world.connect(Dial { patience: PATIENCE, ..Dial::to(to) }).await;
        let socket = world.udp(UdpSetup { peer: Some(to), ..UdpSetup::default() }).unwrap();
        let _ = socket.send_to(b"hello", to, None);
        let udp = net::receive(&*world, &*socket, PATIENCE).await;
        let kind = |error: Option<NetErrorKind>| error.map(|kind| format!("{kind:?}"));
        json!({
            "tcp": kind(tcp.err().map(|error| error.kind)),
            "udp": kind(udp.err().map(|error| error.kind)),
            "notices": notices(&socket.notices()),
        })
    })
}

/// A SYN by hand: what comes back, with and without the own stack seeing it. Where the stack sees the answer
/// it resets the connection that it does not know, and the server does not answer again.
fn raw_handshake(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let to = end(&scene, 80);
        let own = world.own_address(to.ip).unwrap();
        let mut seen = Vec::new();
        for (own_port, take) in [(40_001, false), (40_002, true)] {
            let packets = world.raw(RawWatch { remote: to.ip, protocol: 6, own_port, take }).unwrap();
            let ip = IpRepr::new(own, to.ip);
            let syn = TcpRepr { flags: flag::SYN, ..TcpRepr::data(own_port, to.port, 1_000, 0) };
            packets.send(&syn.emit(&ip, b"")).unwrap();
            let mut came = 0;
            let from = world.now();
            while world.now() - from < PATIENCE {
                let next = core::future::poll_fn(|poller| packets.poll_receive(poller));
                let Some((_, bytes)) = net::within(&*world, Duration::from_secs(1), next).await else {
                    continue;
                };
                let packet = PacketView::parse(&bytes).unwrap();
                let Transport::Tcp(tcp) = &packet.transport else { continue };
                came += u32::from(tcp.has(flag::SYN | flag::ACK) && tcp.ack() == 1_001);
            }
            seen.push(json!([take, came.min(2)]));
        }
        Value::Array(seen)
    })
}

fn own_port(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let how = Dial { own_port: Some(31_337), ..Dial::to(end(&scene, 80)) };
        let first = world.connect(how).await.unwrap();
        let port = first.ends().0.port;
        let again = world.connect(how).await.err().map(|error| format!("{:?}", error.kind));
        first.abort();
        sleep(&*world, Duration::from_millis(300)).await;
        json!([port, again, world.connect(how).await.is_ok()])
    })
}

fn binding(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let world = scene.context.world.clone();
        let to = end(&scene, 3_478);
        let socket = world.udp(UdpSetup { peer: Some(to), ..UdpSetup::default() }).unwrap();
        let transaction = net::random(&*world);
        let ask = stun::Repr { method: 1, class: stun::Class::Request, transaction, attributes: Vec::new() };
        socket.send_to(&ask.emit(), to, None).unwrap();
        let come = net::receive(&*world, &*socket, PATIENCE).await.unwrap();
        let answer = stun::Repr::parse(&come.bytes).unwrap();
        let same = answer.transaction == transaction;
        let kinds: Vec<u16> = answer.attributes.iter().map(|(kind, _)| *kind).collect();
        json!([same, format!("{:?}", answer.class), kinds])
    })
}

fn helper_round_trip(scene: Scene) -> Task<'static, Value> {
    Box::pin(async move {
        let site = scene.ips[1];
        let request = HelperRequest {
            http_request: "http://site.example/".to_string(),
            tcp_connect: vec![format!("{site}:80"), format!("{site}:443")],
            ..HelperRequest::default()
        };
        let url = format!("http://{}:8080/", scene.ips[2]);
        let whom = Ask { url: &url, addresses: &[] };
        let scope = scope(&scene);
        let answer = ask(&scene.context, whom, &request).await;
        json!({ "answer": answer.map_err(|failure| format!("{failure:?}")).ok(), "keys": scope.trace.test_keys() })
    })
}

/// A whole test of OONI's, with the helper.
fn web_connectivity(scene: Scene, url: &'static str) -> Task<'static, Value> {
    Box::pin(async move {
        let mut context = scene.context.clone();
        let options = json!({
            "udp_resolvers": [format!("{}:53", scene.ips[0])], "doh": [], "private_targets": true,
        });
        let test = nettests::by_name("web_connectivity", &options).unwrap();
        context.helper = Some(format!("http://{}:8080/", scene.ips[2]));
        context.helper_addresses = vec![scene.ips[2]];
        test.run(&context, Some(url)).await.unwrap()
    })
}

macro_rules! case {
    ($name:literal, [$(($host:literal, $program:ident)),*], $run:expr) => {
        Case { name: $name, servers: vec![$(($host, servers::$program as Program)),*], run: $run }
    };
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = web_cases();
    cases.extend(tls_cases());
    cases.extend(quic_cases());
    cases.extend(dns_cases());
    cases.extend(path_cases());
    cases
}

fn web_cases() -> Vec<Case> {
    vec![
        case!("http ok", [("site.example", web)], |scene| plain_http(scene, "/")),
        case!("http redirect", [("site.example", web)], |scene| plain_http(scene, "/away")),
        case!("http large body", [("site.example", web)], |scene| plain_http(scene, "/big")),
        case!("tcp refused", [("site.example", nothing)], |scene| plain_http(scene, "/")),
        case!("reset after request", [("site.example", resets)], |scene| plain_http(scene, "/")),
        case!("eof after request", [("site.example", closes)], |scene| plain_http(scene, "/")),
        case!("silence after request", [("site.example", silent)], |scene| plain_http(scene, "/")),
        case!("truncated body", [("site.example", truncates)], |scene| plain_http(scene, "/")),
        case!("body broken off by a reset", [("site.example", breaks_off)], |scene| plain_http(scene, "/")),
        case!("stalled body", [("site.example", stalls)], |scene| plain_http(scene, "/")),
        case!("no http", [("site.example", gibberish)], |scene| plain_http(scene, "/")),
    ]
}

fn tls_cases() -> Vec<Case> {
    vec![
        case!("https ok", [("site.example", web_tls)], https),
        case!("https over http/2", [("site.example", web_h2)], |scene| {
            https_with(scene, "site.example", TlsOptions::web())
        }),
        case!("tls 1.2", [("site.example", tls_12)], https),
        case!("no common version", [("site.example", tls_12)], |scene| {
            let only = TlsOptions { versions: Versions::Only13, ..TlsOptions::http1() };
            https_with(scene, "site.example", only)
        }),
        case!("no common protocol", [("site.example", web_h2)], https),
        case!("reset in the handshake", [("site.example", resets)], https),
        case!("eof in the handshake", [("site.example", closes)], https),
        case!("silence in the handshake", [("site.example", silent)], https),
        case!("alert", [("site.example", tls_alert)], https),
        case!("no tls", [("site.example", gibberish)], https),
        case!("wrong name", [("site.example", tls_wrong_name)], https),
        case!("unknown authority", [("site.example", tls_foreign)], https),
        case!("expired certificate", [("site.example", tls_expired)], https),
        case!("unverified", [("site.example", tls_foreign)], |scene| {
            https_with(scene, "site.example", TlsOptions { verify: false, ..TlsOptions::http1() })
        }),
    ]
}

fn quic_cases() -> Vec<Case> {
    vec![
        case!("quic ok", [("site.example", quic_ok)], quic_handshake),
        case!("http/3", [("site.example", quic_ok)], http3),
        case!("quic silence", [("site.example", quic_silent)], quic_handshake),
        case!("quic port unreachable", [("site.example", nothing)], quic_handshake),
        case!("quic wrong name", [("site.example", quic_wrong_name)], quic_handshake),
        case!("quic unknown authority", [("site.example", quic_foreign)], quic_handshake),
        case!("quic alert", [("site.example", quic_alert)], quic_handshake),
    ]
}

fn dns_cases() -> Vec<Case> {
    vec![
        case!("udp dns ok", [("dns.example", dns)], |scene| query(scene, "udp", "dns.example")),
        case!("udp dns nxdomain", [("dns.example", dns)], |scene| query(scene, "udp", "nx.example")),
        case!("udp dns servfail", [("dns.example", dns)], |scene| query(scene, "udp", "servfail.example")),
        case!("udp dns refused", [("dns.example", dns)], |scene| query(scene, "udp", "refused.example")),
        case!("udp dns no answer", [("dns.example", dns)], |scene| query(scene, "udp", "empty.example")),
        case!("udp dns timeout", [("dns.example", dns)], |scene| query(scene, "udp", "silent.example")),
        case!("udp dns bogon", [("dns.example", dns)], |scene| query(scene, "udp", "bogon.example")),
        case!("udp dns on a closed port", [("dns.example", nothing)], |scene| one_query(scene, "udp")),
        case!("tcp dns ok", [("dns.example", dns)], |scene| query(scene, "tcp", "dns.example")),
        case!("tcp dns nxdomain", [("dns.example", dns)], |scene| query(scene, "tcp", "nx.example")),
        case!("tcp dns on a closed port", [("dns.example", nothing)], |scene| query(
            scene,
            "tcp",
            "dns.example"
        )),
        case!("dot ok", [("dns.example", dns)], |scene| query(scene, "dot", "dns.example")),
        case!("dot servfail", [("dns.example", dns)], |scene| query(scene, "dot", "servfail.example")),
        case!("dot with another name", [("dns.example", dns)], |scene| query(
            scene,
            "dot-wrong",
            "dns.example"
        )),
        case!("doh ok", [("dns.example", dns)], |scene| query(scene, "doh", "dns.example")),
        case!("doh nxdomain", [("dns.example", dns)], |scene| query(scene, "doh", "nx.example")),
        case!("doh timeout", [("dns.example", dns)], |scene| query(scene, "doh", "silent.example")),
        case!("doh error", [("dns.example", dns)], |scene| query(scene, "broken", "dns.example")),
        case!("system ok", [("dns.example", dns)], |scene| query(scene, "system", "dns.example")),
        case!("system nxdomain", [("dns.example", dns)], |scene| query(scene, "system", "nx.example")),
        case!("system no answer", [("dns.example", dns)], |scene| query(scene, "system", "empty.example")),
        case!("system servfail", [("dns.example", dns)], |scene| query(scene, "system", "servfail.example")),
        case!("system refused", [("dns.example", dns)], |scene| query(scene, "system", "refused.example")),
        case!("system bogon", [("dns.example", dns)], |scene| query(scene, "system", "bogon.example")),
    ]
}

fn path_cases() -> Vec<Case> {
    vec![
        case!("udp echo", [("echo.example", datagrams)], |scene| datagram(scene, 7, false)),
        case!("udp echo, connected", [("echo.example", datagrams)], |scene| datagram(scene, 7, true)),
        case!("udp silence", [("echo.example", datagrams)], |scene| datagram(scene, 9, true)),
        case!("udp port unreachable", [("echo.example", nothing)], |scene| datagram(scene, 9, true)),
        case!("udp port unreachable, unconnected", [("echo.example", nothing)], |scene| {
            datagram(scene, 9, false)
        }),
        case!("stun", [("stun.example", datagrams)], binding),
        case!("udp by ttl", [("echo.example", datagrams)], udp_steps),
        case!("connect by ttl", [("site.example", web)], connect_with_ttl),
        case!("stream by ttl", [("site.example", web)], stream_with_ttl),
        case!("echo requests", [("site.example", nothing)], pings),
        case!("host unreachable", [("site.example", nothing)], unreachable),
        case!("a handshake by hand", [("site.example", web)], raw_handshake),
        case!("own port", [("site.example", web)], own_port),
        case!("facts of a connection", [("site.example", web)], facts),
        case!(
            "helper round trip",
            [("dns.example", dns), ("site.example", web_both), ("helper.example", helper)],
            helper_round_trip
        ),
        case!(
            "web_connectivity of a page that works",
            [("dns.example", dns), ("whole.example", web_both), ("helper.example", helper)],
            |scene| web_connectivity(scene, "https://whole.example/")
        ),
    ]
}
