//! Servers of the parity suite, written once over the probe's `Net`.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt};
use okno_lab::tls::Authority;
use okno_probe::dns::Resolver;
use okno_probe::experiment::Context;
use okno_probe::helper::udp_echo::{self, EchoSetup};
use okno_probe::helper::web::{Helper, HelperOptions};
use okno_probe::net::{Endpoint, Instant, Stream, UdpSetup, sleep};
use okno_probe::trace::{Scope, Trace};
use okno_probe::{Task, World, http, quic, tls};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

pub const DAY: u64 = 86_400_000_000_000;

/// What a case's servers know.
#[derive(Clone)]
pub struct Tools {
    pub trusted: Authority,
    pub foreign: Authority,
    /// addresses of names
    pub zone: Rc<BTreeMap<String, IpAddr>>,
}

/// A server: its world, its own address and name.
pub type Program = fn(World, IpAddr, &'static str, Tools) -> Task<'static, ()>;

#[derive(Debug)]
struct One(Arc<CertifiedKey>, Option<String>);

impl ResolvesServerCert for One {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = self.1.as_deref().is_none_or(|only| hello.server_name() == Some(only));
        fits.then(|| self.0.clone())
    }
}

/// What a TLS server differs in.
pub struct Tls {
    pub names: Vec<&'static str>,
    pub foreign: bool,
    pub expired: bool,
    pub only: Option<String>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub alpn: Vec<&'static str>,
}

impl Tls {
    pub fn of(name: &'static str) -> Self {
        Self {
            names: vec![name],
            foreign: false,
            expired: false,
            only: None,
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: vec!["http/1.1"],
        }
    }

    pub fn config(&self, world: &World, tools: &Tools) -> Arc<ServerConfig> {
        let now = world.now().nanos();
        let authority = if self.foreign { &tools.foreign } else { &tools.trusted };
        let to = if self.expired { now - 30 * DAY } else { now + 300 * DAY };
        let key = authority.issue(&self.names, Instant::from_nanos(now - 60 * DAY), Instant::from_nanos(to));
        let ground = world.tls();
        let mut config = ServerConfig::builder_with_details(ground.provider, ground.clock)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(One(key.certified_key(), self.only.clone())));
        config.send_tls13_tickets = 0;
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Accepts for ever, one program a connection.
pub async fn accept<F>(world: World, at: Endpoint, each: impl Fn(Box<dyn Stream>) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let mut listener = world.listen(at).unwrap();
    while let Ok(stream) = listener.accept().await {
        world.spawn(Box::pin(each(stream)));
    }
}

pub async fn read_some(stream: &mut (impl futures::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = vec![0; 8_192];
    let len = stream.read(&mut bytes).await.unwrap_or(0);
    bytes.truncate(len);
    bytes
}

async fn page(asked: http::Asked) -> http::Answer {
    let header = |name: &str, value: &str| (name.to_string(), value.to_string());
    match asked.target.as_str() {
        "/away" => http::Answer {
            code: 302,
            headers: vec![header("Location", "http://elsewhere.example/there")],
            body: Vec::new(),
        },
        "/big" => http::Answer { code: 200, headers: vec![header("Server", "p")], body: vec![b'x'; 300_000] },
        _ => http::Answer {
            code: 200,
            headers: vec![header("Content-Type", "text/html"), header("Server", "parity")],
            body: b"<html><title>Parity</title>hello</html>".to_vec(),
        },
    }
}

/// HTTP on 80.
pub fn web(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    Box::pin(accept(world, Endpoint { ip, port: 80 }, |stream| http::serve(stream, false, 1 << 20, page)))
}

pub async fn serve_tls(world: World, at: Endpoint, config: Arc<ServerConfig>) {
    accept(world, at, move |stream| {
        let config = config.clone();
        async move {
            if let Ok(stream) = tls::accept(stream, config).await {
                let http2 = stream.alpn() == "h2";
                http::serve(stream, http2, 1 << 20, page).await;
            }
        }
    })
    .await;
}

fn tls_with(world: World, ip: IpAddr, tools: &Tools, setup: &Tls) -> Task<'static, ()> {
    let config = setup.config(&world, tools);
    Box::pin(serve_tls(world, Endpoint { ip, port: 443 }, config))
}

pub fn web_tls(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls::of(name))
}

pub fn web_both(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    world.spawn(web(world.clone(), ip, name, tools.clone()));
    web_tls(world, ip, name, tools)
}

pub fn web_h2(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls { alpn: vec!["h2"], ..Tls::of(name) })
}

pub fn tls_12(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls { versions: vec![&rustls::version::TLS12], ..Tls::of(name) })
}

pub fn tls_wrong_name(world: World, ip: IpAddr, _: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls::of("other.example"))
}

pub fn tls_foreign(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls { foreign: true, ..Tls::of(name) })
}

pub fn tls_expired(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls { expired: true, ..Tls::of(name) })
}

pub fn tls_alert(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    tls_with(world, ip, &tools, &Tls { only: Some("nobody.example".to_string()), ..Tls::of(name) })
}

/// Reads a first message on 80 and 443 and resets.
pub fn resets(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    both(world, ip, |mut stream| async move {
        read_some(&mut stream).await;
        stream.abort();
    })
}

/// Reads a first message and closes in order.
pub fn closes(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    both(world, ip, |mut stream| async move {
        read_some(&mut stream).await;
        let _ = stream.close().await;
    })
}

/// Accepts and says nothing.
pub fn silent(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    let clock = world.clone();
    both(world, ip, move |stream| {
        let clock = clock.clone();
        async move {
            sleep(&*clock, Duration::from_secs(120)).await;
            drop(stream);
        }
    })
}

fn both<F>(
    world: World,
    ip: IpAddr,
    each: impl Fn(Box<dyn Stream>) -> F + Clone + 'static,
) -> Task<'static, ()>
where
    F: Future<Output = ()> + 'static,
{
    world.spawn(Box::pin(accept(world.clone(), Endpoint { ip, port: 80 }, each.clone())));
    Box::pin(accept(world, Endpoint { ip, port: 443 }, each))
}

fn answers(
    world: World,
    ip: IpAddr,
    head: &'static str,
    then: fn(World, Box<dyn Stream>) -> Task<'static, ()>,
) -> Task<'static, ()> {
    let clock = world.clone();
    Box::pin(accept(world, Endpoint { ip, port: 80 }, move |mut stream| {
        let clock = clock.clone();
        async move {
            read_some(&mut stream).await;
            let _ = stream.write_all(head.as_bytes()).await;
            sleep(&*clock, Duration::from_millis(300)).await;
            then(clock, stream).await;
        }
    }))
}

const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nServer: half\r\n\r\nonly this much";

/// Promises more than it sends, and closes.
pub fn truncates(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    answers(world, ip, HALF, |_, mut stream| Box::pin(async move { drop(stream.close().await) }))
}

/// Promises more than it sends, and resets.
pub fn breaks_off(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    answers(world, ip, HALF, |_, stream| Box::pin(async move { stream.abort() }))
}

/// Promises more than it sends, and falls silent.
pub fn stalls(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    answers(world, ip, HALF, |clock, stream| {
        Box::pin(async move {
            sleep(&*clock, Duration::from_secs(120)).await;
            drop(stream);
        })
    })
}

/// Answers HTTP with something else.
pub fn gibberish(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    both(world, ip, |mut stream| async move {
        read_some(&mut stream).await;
        let _ = stream.write_all(b"\x00\x01\x02\x03 this is no HTTP and no TLS at all\r\n\r\n").await;
        let _ = stream.close().await;
    })
}

/// An answer to a DNS message by the first label of its name; `None` says nothing.
fn dns_answer(query: &[u8], zone: &BTreeMap<String, IpAddr>) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + len)?).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let (code, address) = match labels.first()?.as_str() {
        "silent" => return None,
        "nx" => (3, None),
        "servfail" => (2, None),
        "refused" => (5, None),
        "empty" => (0, None),
        "bogon" => (0, Some(IpAddr::from([10, 10, 34, 36]))),
        _ => match zone.get(&labels.join(".")) {
            Some(ip) => (0, Some(*ip)),
            None => (3, None),
        },
    };
    let address = address.filter(|_| kind == 1);
    let mut out = query.get(..2)?.to_vec();
    out.extend_from_slice(&[0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    out.extend_from_slice(question);
    if let Some(IpAddr::V4(v4)) = address {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend_from_slice(&v4.octets());
    }
    Some(out)
}

async fn dns_stream(mut stream: impl futures::AsyncRead + futures::AsyncWrite + Unpin, tools: Tools) {
    loop {
        let mut len = [0; 2];
        if stream.read_exact(&mut len).await.is_err() {
            return;
        }
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        if let Some(answer) = dns_answer(&query, &tools.zone) {
            let mut out = (answer.len() as u16).to_be_bytes().to_vec();
            out.extend_from_slice(&answer);
            if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

async fn dns_udp(world: World, ip: IpAddr, tools: Tools) {
    let socket = world.udp(UdpSetup { port: 53, local: Some(ip), peer: None }).unwrap();
    loop {
        let Ok(come) = core::future::poll_fn(|poller| socket.poll_receive(poller)).await else { continue };
        if let Some(answer) = dns_answer(&come.bytes, &tools.zone) {
            let _ = socket.send_to(&answer, come.from, None);
        }
    }
}

async fn dns_https(asked: http::Asked, tools: Tools, world: World) -> http::Answer {
    if asked.target == "/broken" {
        return http::Answer { code: 500, ..http::Answer::default() };
    }
    let Some(body) = dns_answer(&asked.body, &tools.zone) else {
        sleep(&*world, Duration::from_secs(60)).await;
        return http::Answer::default();
    };
    let headers = vec![("Content-Type".to_string(), "application/dns-message".to_string())];
    http::Answer { code: 200, headers, body }
}

/// DNS over UDP, TCP, TLS and HTTPS.
pub fn dns(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    let end = |port| Endpoint { ip, port };
    let dot = Tls { alpn: Vec::new(), ..Tls::of(name) }.config(&world, &tools);
    let doh = Tls { alpn: vec!["h2", "http/1.1"], ..Tls::of(name) }.config(&world, &tools);
    world.spawn(Box::pin(dns_udp(world.clone(), ip, tools.clone())));
    let of = tools.clone();
    world.spawn(Box::pin(accept(world.clone(), end(53), move |stream| dns_stream(stream, of.clone()))));
    let of = tools.clone();
    let over_tls = accept(world.clone(), end(853), move |stream| {
        let (config, tools) = (dot.clone(), of.clone());
        async move {
            if let Ok(stream) = tls::accept(stream, config).await {
                dns_stream(stream, tools).await;
            }
        }
    });
    world.spawn(Box::pin(over_tls));
    let clock = world.clone();
    Box::pin(accept(world, end(443), move |stream| {
        let (config, tools, clock) = (doh.clone(), tools.clone(), clock.clone());
        async move {
            if let Ok(stream) = tls::accept(stream, config).await {
                let http2 = stream.alpn() == "h2";
                let handler = move |asked| dns_https(asked, tools.clone(), clock.clone());
                http::serve(stream, http2, 1 << 16, handler).await;
            }
        }
    }))
}

/// The helper's UDP services (STUN on 3478), and an echo on 7; 9 takes and says nothing.
pub fn datagrams(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    let setup = EchoSetup { udp: vec![3_478, 51_820], tcp: Vec::new(), ..EchoSetup::at(ip) };
    udp_echo::serve(&world, &setup).unwrap();
    let echo = world.udp(UdpSetup { port: 7, local: Some(ip), peer: None }).unwrap();
    let sink = world.udp(UdpSetup { port: 9, local: Some(ip), peer: None }).unwrap();
    Box::pin(async move {
        let _sink = sink;
        loop {
            if let Ok(come) = core::future::poll_fn(|poller| echo.poll_receive(poller)).await {
                let _ = echo.send_to(&come.bytes, come.from, None);
            }
        }
    })
}

/// The test helper, without TLS, on 8080; it asks the resolver at the case's first server.
pub fn helper(world: World, ip: IpAddr, _: &'static str, tools: Tools) -> Task<'static, ()> {
    let resolver = Resolver::Udp(Endpoint { ip: tools.zone["dns.example"], port: 53 });
    let options = HelperOptions { resolver, private_targets: true, ..HelperOptions::default() };
    let listener = world.listen(Endpoint { ip, port: 8_080 }).unwrap();
    Box::pin(Helper::new(world, options).run(listener, None))
}

fn quic_with(world: World, ip: IpAddr, tools: &Tools, setup: &Tls) -> Task<'static, ()> {
    let setup = Tls { alpn: vec!["h3"], versions: vec![&rustls::version::TLS13], ..clone_of(setup) };
    let config = setup.config(&world, tools);
    let socket = world.udp(UdpSetup { port: 443, local: Some(ip), peer: None }).unwrap();
    Box::pin(async move {
        let context = Context::new(world);
        loop {
            let scope = Scope::new(&context, &Trace::with_event_limit(&context, 0), &[]);
            if let Ok(connection) = quic::accept(&scope, &socket, config.clone()).await {
                quic::serve(&connection, page).await;
            }
        }
    })
}

fn clone_of(tls: &Tls) -> Tls {
    Tls { names: tls.names.clone(), only: tls.only.clone(), foreign: tls.foreign, ..Tls::of("unused") }
}

pub fn quic_ok(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    quic_with(world, ip, &tools, &Tls::of(name))
}

pub fn quic_wrong_name(world: World, ip: IpAddr, _: &'static str, tools: Tools) -> Task<'static, ()> {
    quic_with(world, ip, &tools, &Tls::of("other.example"))
}

pub fn quic_foreign(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    quic_with(world, ip, &tools, &Tls { foreign: true, ..Tls::of(name) })
}

pub fn quic_alert(world: World, ip: IpAddr, name: &'static str, tools: Tools) -> Task<'static, ()> {
    quic_with(world, ip, &tools, &Tls { only: Some("nobody.example".to_string()), ..Tls::of(name) })
}

/// Takes datagrams on 443 and says nothing.
pub fn quic_silent(world: World, ip: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    let sink = world.udp(UdpSetup { port: 443, local: Some(ip), peer: None }).unwrap();
    Box::pin(async move {
        let _sink = sink;
        core::future::pending().await
    })
}

/// Nothing listens.
pub fn nothing(_: World, _: IpAddr, _: &'static str, _: Tools) -> Task<'static, ()> {
    Box::pin(core::future::ready(()))
}
