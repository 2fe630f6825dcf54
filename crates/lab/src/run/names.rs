//! Resolvers of a cell: the operator's own over UDP and TCP, public ones over TLS and HTTPS as well.

use core::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_probe::net::Stream;
use okno_probe::{World as ProbeWorld, http, tls};
use okno_wire::dns::{self, MessageView};
use rustls::ServerConfig;

use super::faults::Circumstances;
use super::plan::Plan;
use super::servers::House;
use crate::net::Net;

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

    /// What a resolver abroad says: of names with several addresses others than at home, as the resolvers of
    /// large sites do.
    pub fn find_abroad(&self, name: &str, circumstances: &Circumstances) -> Option<Vec<IpAddr>> {
        let usual = self.find(name, circumstances)?;
        let wild = || name.split_once('.').and_then(|(_, rest)| self.names.get(&format!("*.{rest}")));
        let (_, at_home, spare) = self.names.get(name).or_else(wild)?;
        let several = at_home.iter().filter(|ip| ip.is_ipv4()).count() > 1;
        let other = if usual == *spare { at_home } else { spare };
        Some(if several { other.clone() } else { usual })
    }

    /// Addresses of a name now; nothing when there is no such name.
    pub fn find(&self, name: &str, circumstances: &Circumstances) -> Option<Vec<IpAddr>> {
        let wild = || name.split_once('.').and_then(|(_, rest)| self.names.get(&format!("*.{rest}")));
        let (at, usual, spare) = self.names.get(name).or_else(wild)?;
        let rotated = circumstances.manners.get(at).is_some_and(|manners| manners.rotated);
        Some(if rotated { spare.clone() } else { usual.clone() })
    }
}

/// A resolver of a cell.
#[derive(Clone)]
pub(crate) struct CellResolver {
    pub zone: Rc<Zone>,
    pub house: House,
    /// where it sends everybody while the operator's login page stands
    pub portal: Option<IpAddr>,
}

impl CellResolver {
    /// The answer to a query; nothing for what is none.
    fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let query = MessageView::parse(bytes).ok()?;
        let question = query.question()?;
        let name = question.name.normalised();
        let circumstances = self.house.circumstances.borrow();
        let login = self.portal.filter(|_| circumstances.portal).map(|ip| vec![ip]);
        let message = match login.or_else(|| self.zone.find(&name, &circumstances)) {
            None => dns::nxdomain(&query),
            Some(addresses) => {
                let wanted = |ip: &IpAddr| match question.kind {
                    dns::kind::A => ip.is_ipv4(),
                    dns::kind::AAAA => ip.is_ipv6(),
                    _ => false,
                };
                let records = addresses.into_iter().filter(wanted);
                dns::answer(&query, records.map(|ip| dns::RecordRepr::address(&name, 60, ip)).collect())
            }
        };
        Some(message.emit())
    }

    /// Answers on UDP port 53.
    pub async fn over_udp(self, net: Net) {
        let Ok(socket) = net.udp_bind(53) else { return };
        loop {
            let Ok(datagram) = socket.receive().await else { continue };
            if let Some(answer) = self.answer(&datagram.bytes) {
                let _ = socket.send_to(&answer, datagram.from);
            }
        }
    }

    /// Answers on TCP port 53, and with a certificate on 853 (RFC 7858) and 443 (RFC 8484).
    pub fn over_streams(&self, world: &ProbeWorld, config: Option<&Arc<ServerConfig>>) {
        self.listen(world, 53, None, false);
        if let Some(config) = config {
            self.listen(world, 853, Some(config.clone()), false);
            self.listen(world, 443, Some(config.clone()), true);
        }
    }

    fn listen(&self, world: &ProbeWorld, port: u16, config: Option<Arc<ServerConfig>>, https: bool) {
        let Ok(mut listener) = world.listen(super::probe_side::any(port)) else { return };
        let (resolver, inner) = (self.clone(), world.clone());
        world.spawn(Box::pin(async move {
            while let Ok(stream) = listener.accept().await {
                let (resolver, config) = (resolver.clone(), config.clone());
                inner.spawn(Box::pin(async move { resolver.connection(stream, config, https).await }));
            }
        }));
    }

    async fn connection(self, stream: Box<dyn Stream>, config: Option<Arc<ServerConfig>>, https: bool) {
        let Some(config) = config else { return self.messages(stream).await };
        let Ok(stream) = tls::accept(stream, config).await else { return };
        if !https {
            return self.messages(stream).await;
        }
        http::serve(stream, false, 65_535, move |asked| {
            let answer = self.answer(&asked.body);
            core::future::ready(match answer {
                Some(body) => http::Answer {
                    code: 200,
                    headers: vec![("Content-Type".to_owned(), "application/dns-message".to_owned())],
                    body,
                },
                None => http::Answer { code: 400, ..http::Answer::default() },
            })
        })
        .await;
    }

    /// Messages with their length before them (RFC 1035 §4.2.2).
    async fn messages(self, mut stream: impl futures::AsyncRead + futures::AsyncWrite + Unpin) {
        let mut len = [0; 2];
        while stream.read_exact(&mut len).await.is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            if stream.read_exact(&mut query).await.is_err() {
                return;
            }
            let Some(answer) = self.answer(&query) else { return };
            let sent = stream.write_all(&dns::tcp_framed(&answer)).await.is_ok();
            if !sent || stream.flush().await.is_err() {
                return;
            }
        }
    }
}
