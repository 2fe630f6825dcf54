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
use okno_wire::dns::{self, MessageView};
use okno_wire::{Endpoint, Instant};
use rustls::ServerConfig;

use super::bell::Bell;
use super::faults::{Circumstances, Manners};
use super::plan::Plan;
use crate::net::{Net, TcpStream};
use crate::scenario::{Protocol, Scenario};
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
    servers: Vec<Option<[Arc<ServerConfig>; 2]>>,
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
            servers.push(speaks(Protocol::Https).then(both));
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

/// Starts the web servers of one service.
pub(crate) fn web(
    world: &World,
    host: NodeId,
    at: usize,
    object_bytes: u64,
    speaks: &[Protocol],
    certificates: &Certificates,
    house: &House,
) {
    let object = usize::try_from(object_bytes).unwrap_or(MAX_BODY).min(MAX_BODY);
    if speaks.contains(&Protocol::Http) {
        let house = house.clone();
        world.net(host).spawn(move |net| listen(net, 80, None, at, object, house));
    }
    if let Some(Some(configs)) = certificates.servers.get(at) {
        let (house, configs) = (house.clone(), configs.clone());
        world.net(host).spawn(move |net| listen(net, 443, Some(configs), at, object, house));
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
async fn listen(
    net: Net,
    port: u16,
    tls: Option<[Arc<ServerConfig>; 2]>,
    at: usize,
    object: usize,
    house: House,
) {
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
                    let (tls, house) = (tls.clone(), house.clone());
                    net.spawn(move |net| async move { serve(net, stream, tls, at, object, house).await });
                }
                Some(Err(_)) => return,
                None => {}
            }
        }
    }
}

async fn serve(
    net: Net,
    stream: TcpStream,
    tls: Option<[Arc<ServerConfig>; 2]>,
    at: usize,
    object: usize,
    house: House,
) {
    let manners = house.manners(at);
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
        let _ = answer(&mut stream, manners, wanted(&path).unwrap_or(object)).await;
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

async fn answer(stream: &mut ByteStream, manners: Manners, size: usize) -> Result<(), Failure> {
    if manners.turns_away {
        let page = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\nConnection: close\r\n\r\nnot for you\n";
        return stream.write_all(page).await;
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    let mut first = head.into_bytes();
    let block = [b'o'; 8_192];
    let mut left = size;
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

/// Names and addresses of a run, as its resolvers know them.
#[derive(Debug)]
pub(crate) struct Zone {
    /// name, position in the plan, usual addresses, spare ones
    names: std::collections::BTreeMap<String, (usize, Vec<IpAddr>, Vec<IpAddr>)>,
}

impl Zone {
    pub fn new(plan: &Plan<'_>) -> Self {
        let mut names = std::collections::BTreeMap::new();
        for (at, placed) in plan.services.iter().enumerate() {
            for name in &placed.service.names {
                let entry = (at, placed.addresses.clone(), placed.spare.clone());
                names.entry(name.text.to_ascii_lowercase()).or_insert(entry);
            }
        }
        Self { names }
    }

    /// Addresses of a name now; nothing when there is no such name.
    fn find(&self, name: &str, circumstances: &Circumstances) -> Option<Vec<IpAddr>> {
        let wild = || name.split_once('.').and_then(|(_, rest)| self.names.get(&format!("*.{rest}")));
        let (at, usual, spare) = self.names.get(name).or_else(wild)?;
        let rotated = circumstances.manners.get(at).is_some_and(|manners| manners.rotated);
        Some(if rotated { spare.clone() } else { usual.clone() })
    }
}

/// Answers queries on UDP port 53, and sends everybody to `portal` while the operator's login page stands.
pub(crate) async fn resolver(net: Net, zone: Rc<Zone>, house: House, portal: Option<IpAddr>) {
    let Ok(socket) = net.udp_bind(53) else { return };
    loop {
        let Ok(datagram) = socket.receive().await else { continue };
        let Ok(query) = MessageView::parse(&datagram.bytes) else { continue };
        let Some(question) = query.question() else { continue };
        let name = question.name.normalised();
        let circumstances = house.circumstances.borrow();
        let login = portal.filter(|_| circumstances.portal).map(|ip| vec![ip]);
        let message = match login.or_else(|| zone.find(&name, &circumstances)) {
            None => dns::nxdomain(&query),
            Some(addresses) => {
                let v4 = question.kind == dns::kind::A;
                let records = addresses.into_iter().filter(|ip| ip.is_ipv4() == v4);
                dns::answer(&query, records.map(|ip| dns::RecordRepr::address(&name, 60, ip)).collect())
            }
        };
        drop(circumstances);
        let _ = socket.send_to(&message.emit(), datagram.from);
    }
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
