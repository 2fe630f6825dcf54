//! The helper's server: HTTP requests in, answers out, within limits.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use rustls::ServerConfig;

use super::limit::{Gate, HelperLimits, subscriber};
use super::measure::measure;
use super::protocol::HelperRequest;
use crate::dns::Resolver;
use crate::http::{Answer, Asked, serve};
use crate::net::{Listener, Stream, World, sleep, within};
use crate::tls;

/// What a helper is set to.
#[derive(Clone)]
pub struct HelperOptions {
    /// whom it asks for names; OONI's asks over HTTPS, so that its own network does not answer
    pub resolver: Resolver,
    /// whether it connects to private, local and other special addresses; for tests in own networks
    pub private_targets: bool,
    /// network of an address, 0 when not known
    pub network_of: Rc<dyn Fn(IpAddr) -> u32>,
    /// whether it also tries QUIC for probes that ask for it
    pub quic: bool,
    /// limits
    pub limits: HelperLimits,
}

impl Default for HelperOptions {
    fn default() -> Self {
        Self {
            resolver: Resolver::System,
            private_targets: false,
            network_of: Rc::new(|_| 0),
            quic: true,
            limits: HelperLimits::default(),
        }
    }
}

/// How long a server waits after a failed `accept`, so that a lack of descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A helper.
pub struct Helper {
    world: World,
    options: HelperOptions,
    gate: Gate,
    open: RefCell<BTreeMap<IpAddr, usize>>,
}

impl Helper {
    /// A helper in this world.
    pub fn new(world: World, options: HelperOptions) -> Rc<Self> {
        Rc::new(Self { world, options, gate: Gate::default(), open: RefCell::default() })
    }

    /// Accepts connections for ever, with TLS or in the clear. Clients' addresses are kept in memory while
    /// they are counted, and nowhere else.
    pub async fn run(self: Rc<Self>, mut listener: Box<dyn Listener>, tls: Option<Arc<ServerConfig>>) {
        loop {
            let Ok(stream) = listener.accept().await else {
                sleep(&*self.world, PAUSE).await;
                continue;
            };
            let client = subscriber(stream.ends().1.ip);
            if !self.opens(client) {
                stream.abort();
                continue;
            }
            let (helper, tls) = (self.clone(), tls.clone());
            self.world.spawn(Box::pin(async move {
                let limit = Duration::from_secs(helper.options.limits.connection_seconds);
                // A client that stays longer is cut off; it comes again.
                let _ = within(&*helper.world, limit, helper.clone().connection(stream, tls)).await;
                helper.closes(client);
            }));
        }
    }

    /// Counts a connection, unless this client or all together have too many.
    fn opens(&self, client: IpAddr) -> bool {
        let limits = &self.options.limits;
        let mut open = self.open.borrow_mut();
        let own = open.get(&client).copied().unwrap_or(0);
        if own >= limits.connections_each || open.values().sum::<usize>() >= limits.connections {
            return false;
        }
        open.insert(client, own + 1);
        true
    }

    fn closes(&self, client: IpAddr) {
        let mut open = self.open.borrow_mut();
        let left = open.get(&client).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            open.remove(&client);
        } else {
            open.insert(client, left);
        }
    }

    async fn connection(self: Rc<Self>, stream: Box<dyn Stream>, tls: Option<Arc<ServerConfig>>) {
        let (_, remote) = stream.ends();
        match tls {
            None => self.requests(stream, false, remote.ip).await,
            Some(config) => {
                if let Ok(stream) = tls::accept(stream, config).await {
                    let http2 = stream.alpn() == "h2";
                    self.requests(stream, http2, remote.ip).await;
                }
            }
        }
    }

    async fn requests<S>(self: Rc<Self>, stream: S, http2: bool, client: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let limit = self.options.limits.request_bytes;
        serve(stream, http2, limit, move |asked| {
            let helper = self.clone();
            async move { helper.respond(client, &asked).await }
        })
        .await;
    }

    /// Answers one request of a client (oohelperd handler.go): GET says that the helper is there, POST
    /// measures, all else is 400; 503 when this client or all together ask too much.
    pub async fn respond(&self, client: IpAddr, asked: &Asked) -> Answer {
        match asked.method.as_str() {
            "GET" => return json(&serde_json::json!({ "message": "okno's test helper: POST measures" })),
            "POST" => {}
            _ => return plain(400),
        }
        let Some(_pass) = self.gate.enter(&self.options.limits, client, self.world.now()) else {
            return plain(503);
        };
        let Ok(request) = serde_json::from_slice::<HelperRequest>(&asked.body) else { return plain(400) };
        match measure(&self.world, &self.options, &request).await {
            Ok(response) => json(&response),
            Err(_) => plain(400),
        }
    }
}

fn server_header() -> (String, String) {
    ("Server".to_owned(), concat!("okno-helper/", env!("CARGO_PKG_VERSION")).to_owned())
}

fn plain(code: u16) -> Answer {
    Answer { code, headers: vec![server_header()], body: Vec::new() }
}

fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let kind = ("Content-Type".to_owned(), "application/json".to_owned());
            Answer { code: 200, headers: vec![server_header(), kind], body }
        }
        Err(_) => plain(500),
    }
}
