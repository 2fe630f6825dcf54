//! What serves in a cell: resolvers, HTTP in the clear, over TLS and over QUIC, with the manners that natural
//! faults give them.

use core::cell::RefCell;
use core::net::IpAddr;
use core::pin::pin;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use futures::future::{Either, select};
use okno_model::Failure;
use okno_wire::{Endpoint, Instant};
use rustls::ServerConfig;

use super::bell::Bell;
use super::faults::{Circumstances, Manners};
use super::plan::Plan;
use crate::nation::AddressPlan;
use crate::net::{Net, TcpStream};
use crate::scenario::{Protocol, Scenario, Service};
use crate::stream::ByteStream;
use crate::tls::{self, Authority, Identity, TlsStream, TlsVersions, UnknownName};
use crate::world::{NodeId, World};

/// Largest head of a request.
const MAX_HEAD: usize = 16_384;
/// Largest object or body.
pub(crate) const MAX_BODY: usize = 1 << 26;

/// Certificates and TLS setups of a run, shared by all its cells.
pub(crate) struct Certificates {
    /// certificates that clients trust, DER
    pub trusted: Vec<Vec<u8>>,
    /// client's setup
    pub client: Arc<rustls::ClientConfig>,
    /// ground for probes' TLS
    pub ground: okno_probe::net::TlsGround,
    /// by position in the plan: valid and expired
    pub servers: Vec<Option<[Arc<ServerConfig>; 2]>>,
    quic: Vec<Option<Arc<ServerConfig>>>,
}

impl Certificates {
    /// Issues what the services of a scenario need.
    pub fn new(scenario: &Scenario, plan: &Plan<'_>) -> Self {
        const DAY: u64 = 86_400_000_000_000;
        let authority = Authority::new(scenario.seed, "Okno lab root");
        let trusted = vec![authority.certificate()];
        let back = |days: u64| Instant::from_nanos(scenario.start.nanos().saturating_sub(days * DAY));
        let end = scenario.end + Duration::from_secs(90 * 86_400);
        let mut servers = Vec::new();
        let mut quic = Vec::new();
        for placed in &plan.services {
            let names: Vec<&str> = placed.service.names.iter().map(|name| &**name).collect();
            let config = |from: Instant, to: Instant, alpn: &[&str]| {
                let identity = authority.issue(&names, from, to);
                let by_name: Vec<(&str, Identity)> =
                    names.iter().map(|name| (*name, identity.clone())).collect();
                tls::server_config(&by_name, UnknownName::FirstCertificate, TlsVersions::Both, alpn)
            };
            let speaks = |protocol| placed.service.speaks.contains(&protocol);
            let alpn = ["http/1.1"];
            let both = || [config(back(60), end, &alpn), config(back(400), back(2), &alpn)];
            let dns = speaks(Protocol::Dns) && !names.is_empty();
            let web = speaks(Protocol::Https) || speaks(Protocol::Helper) || dns;
            servers.push(web.then(both));
            quic.push(speaks(Protocol::Quic).then(|| config(back(60), end, crate::quic::ALPN)));
        }
        let client = tls::client_config(&trusted, TlsVersions::Both, &["http/1.1"]);
        let ground = tls::ground(&trusted);
        Self { trusted, client, ground, servers, quic }
    }
}

/// What servers of a cell look at.
#[derive(Clone, Default)]
pub(crate) struct House {
    pub circumstances: Rc<RefCell<Circumstances>>,
    pub bell: Rc<Bell>,
}

impl House {
    fn manners(&self, at: usize) -> Manners {
        self.circumstances.borrow().manners.get(&at).copied().unwrap_or_default()
    }
}

/// How every page of the lab's web servers begins; a block page does not.
pub(crate) const PAGE_BEGINS: &[u8] = b"<!doctype html><html><head><title>Welcome to ";

/// What a web server shows.
#[derive(Clone)]
struct Shown {
    /// position in the plan
    at: usize,
    /// bytes of the object
    object: usize,
    /// what the page begins with
    head: Rc<[u8]>,
}

/// Starts the web servers of one service.
pub(crate) fn web(
    world: &World,
    host: NodeId,
    at: usize,
    service: &Service,
    certificates: &Certificates,
    house: &House,
) {
    let object = usize::try_from(service.object_bytes).unwrap_or(MAX_BODY).min(MAX_BODY);
    let speaks = &service.speaks;
    let name = &service.id.text;
    let rest = format!("{name}</title></head><body><p>");
    let shown = Shown { at, object, head: [PAGE_BEGINS, rest.as_bytes()].concat().into() };
    if speaks.contains(&Protocol::Http) {
        let (house, shown) = (house.clone(), shown.clone());
        world.net(host).spawn(move |net| listen(net, 80, None, shown, house));
    }
    if let (Some(Some(configs)), true) = (certificates.servers.get(at), speaks.contains(&Protocol::Https)) {
        let (house, configs) = (house.clone(), configs.clone());
        world.net(host).spawn(move |net| listen(net, 443, Some(configs), shown, house));
    }
    if let Some(Some(config)) = certificates.quic.get(at) {
        let (house, config) = (house.clone(), config.clone());
        world.net(host).spawn(move |net| async move {
            let answer = move |path: &str| match house.manners(at) {
                Manners { turns_away: true, .. } => b"403".to_vec(),
                _ => vec![b'o'; wanted(path).unwrap_or(object)],
            };
            let _ = crate::quic::serve(net, 443, config, answer).await;
        });
    }
}

/// Accepts as long as the port is open; a fault that closes it ends the listener, its end opens it again.
async fn listen(net: Net, port: u16, tls: Option<[Arc<ServerConfig>; 2]>, shown: Shown, house: House) {
    let at = shown.at;
    loop {
        if house.manners(at).refuses {
            house.bell.next().await;
            continue;
        }
        let Ok(mut listener) = net.listen(port) else { return };
        while !house.manners(at).refuses {
            let accepted = {
                let (bell, accept) = (pin!(house.bell.next()), pin!(listener.accept()));
                match select(accept, bell).await {
                    Either::Left((accepted, _)) => Some(accepted),
                    Either::Right(_) => None,
                }
            };
            match accepted {
                Some(Ok(stream)) => {
                    let (tls, house, shown) = (tls.clone(), house.clone(), shown.clone());
                    net.spawn(move |net| async move { serve(net, stream, tls, shown, house).await });
                }
                Some(Err(_)) => return,
                None => {}
            }
        }
    }
}

async fn serve(net: Net, stream: TcpStream, tls: Option<[Arc<ServerConfig>; 2]>, shown: Shown, house: House) {
    let mut manners = house.manners(shown.at);
    // it turns away visitors from the country, not those from abroad: the test helper gets the page
    manners.turns_away &= !AddressPlan::is_hosting(stream.ends().1.ip);
    let patience = Duration::from_secs(60);
    let work = async {
        let mut stream = match tls {
            None => ByteStream::Plain(stream),
            Some([valid, expired]) => {
                let config = if manners.expired { expired } else { valid };
                let Ok(stream) = TlsStream::accept(stream, config).await else { return };
                ByteStream::Tls(Box::new(stream))
            }
        };
        let Some(path) = request(&mut stream).await else { return };
        if !manners.slow.is_zero() {
            net.sleep(manners.slow).await;
        }
        let _ = answer(&mut stream, manners, &shown.head, wanted(&path).unwrap_or(shown.object)).await;
        stream.close().await;
    };
    let _ = net.timeout(patience, work).await;
}

/// Reads one request with its body; gives its path.
async fn request(stream: &mut ByteStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MAX_HEAD {
            return None;
        }
        match stream.read(&mut chunk).await {
            Ok(taken @ 1..) => bytes.extend_from_slice(chunk.get(..taken)?),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(bytes.get(..head)?).into_owned();
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut left = length.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0);
    left = left.min(MAX_BODY).saturating_sub(bytes.len() - head);
    while left > 0 {
        match stream.read(&mut chunk).await {
            Ok(taken @ 1..) => left = left.saturating_sub(taken),
            _ => return None,
        }
    }
    text.split(' ').nth(1).map(str::to_owned)
}

/// `/bytes/N` asks for that many.
fn wanted(path: &str) -> Option<usize> {
    path.strip_prefix("/bytes/").and_then(|number| number.parse().ok()).map(|size: usize| size.min(MAX_BODY))
}

async fn answer(stream: &mut ByteStream, manners: Manners, page: &[u8], size: usize) -> Result<(), Failure> {
    if manners.turns_away {
        let page = "<html><head><title>Not available</title></head><body>Not available in your country";
        let head = format!(
            "HTTP/1.1 403 Forbidden\r\nServer: lab\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{page}",
            page.len()
        );
        return stream.write_all(head.as_bytes()).await;
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Type: text/html\r\nContent-Length: {size}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut first = head.into_bytes();
    let block = [b'o'; 8_192];
    let page = page.get(..size.min(page.len())).unwrap_or(page);
    first.extend_from_slice(page);
    let mut left = size - page.len();
    let with_head = left.min(block.len());
    first.extend_from_slice(&block[..with_head]);
    left -= with_head;
    stream.write_all(&first).await?;
    while left > 0 {
        let part = left.min(block.len());
        stream.write_all(&block[..part]).await?;
        left -= part;
    }
    Ok(())
}

/// The login page behind a captive portal: a redirect on port 80, nothing on 443.
pub(crate) async fn login_page(net: Net) {
    let Ok(mut listener) = net.listen(80) else { return };
    while let Ok(stream) = listener.accept().await {
        net.spawn(|_| async move {
            let mut stream = ByteStream::Plain(stream);
            if request(&mut stream).await.is_some() {
                let page = b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(page).await;
            }
            stream.close().await;
        });
    }
}

/// An end of an address.
pub(crate) const fn end(ip: IpAddr, port: u16) -> Endpoint {
    Endpoint { ip, port }
}
