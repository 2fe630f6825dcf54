//! QUIC (quinn-proto) over a UDP port of the world, and HTTP/3 (h3) above it; first flights by hand besides.
//!
//! Connection ids, seeds and keys come from the world. quinn-proto counts time in `std::time::Instant`, which
//! only the wall clock can make: one is taken once a process as the origin and only differences to it are
//! used. quinn-proto speaks version 1 and drafts alone, so other versions go as hand-built Initials
//! ([`first_initial`]): a filter that looks at versions shows itself there, before any key is agreed on.
//! Everything of a connection is polled in one task, so nothing below registers wakers of its own.

use core::cell::RefCell;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context as Poller, Poll};
use core::time::Duration;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Instant as Moment;

use bytes::BytesMut;
use okno_model::Failure;
use quinn_proto::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, ConnectionId, ConnectionIdGenerator,
    DatagramEvent, EndpointConfig, Event, IdleTimeout, Transmit, TransportConfig, VarInt,
};
use ring::hmac;

use crate::hpke;
use crate::limits;
use crate::net::{Datagrams, Endpoint, Instant, NetError, Task, UdpSetup, World, random, within};
use crate::tls::{self, Setup, TlsOptions, Versions};
use crate::trace::{HandshakeRecord, Scope};

mod first;
mod http3;
mod serve;

pub use first::{FirstInitial, QuicCame, QuicFirst, first_initial};
pub use http3::get;
pub use serve::{accept, serve};

/// How a QUIC connection is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicOptions {
    /// version on the wire: 1, or a draft that quinn-proto speaks
    pub version: u32,
    /// name, ALPN, groups; versions and ECH as the handshake allows (QUIC is TLS 1.3 alone)
    pub tls: TlsOptions,
    /// own port; 0 takes a free one
    pub own_port: u16,
    /// most time for the handshake
    pub patience: Duration,
}

impl Default for QuicOptions {
    fn default() -> Self {
        let tls =
            TlsOptions { alpn: vec!["h3".to_owned()], versions: Versions::Only13, ..TlsOptions::default() };
        Self { version: 1, tls, own_port: 0, patience: limits::QUIC }
    }
}

/// The world's time as quinn-proto wants it.
fn moment_of(now: Instant) -> Moment {
    static ORIGIN: OnceLock<(Moment, Instant)> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an origin for differences; its value is never looked at")]
    let (origin, zero) = *ORIGIN.get_or_init(|| (Moment::now(), Instant::from_secs(0)));
    origin + now.since(zero)
}

/// Connection ids of eight bytes out of one seed: quinn-proto's generators cannot hold a world.
#[derive(Debug)]
struct Ids {
    key: hmac::Key,
    count: u64,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.count += 1;
        ConnectionId::new(&hmac::sign(&self.key, &self.count.to_be_bytes()).as_ref()[..8])
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn endpoint_config(world: &World, version: u32) -> Arc<EndpointConfig> {
    let reset_key: [u8; 32] = random(&**world);
    let ids_key: [u8; 32] = random(&**world);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset_key)));
    config.rng_seed(Some(random(&**world))).supported_versions(vec![version]);
    let ids = move || -> Box<dyn ConnectionIdGenerator> {
        Box::new(Ids { key: hmac::Key::new(hmac::HMAC_SHA256, &ids_key), count: 0 })
    };
    config.cid_generator(ids);
    // The bit is what boxes look at; deployed clients leave it alone.
    config.grease_quic_bit(false);
    Arc::new(config)
}

fn transport(idle: Duration) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let idle = VarInt::try_from(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)).unwrap_or(VarInt::MAX);
    config.max_idle_timeout(Some(IdleTimeout::from(idle)));
    config.mtu_discovery_config(None);
    Arc::new(config)
}

/// One connection on one UDP port.
struct Driver {
    scope: Scope,
    socket: Rc<dyn Datagrams>,
    remote: Endpoint,
    endpoint: quinn_proto::Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    buffer: Vec<u8>,
    timer: Option<(Instant, Task<'static, ()>)>,
    connected: bool,
    lost: Option<Failure>,
    read_from: Instant,
    read_bytes: u64,
}

impl Driver {
    /// Sends what is due and hands events between endpoint and connection.
    fn pump(&mut self) {
        let now = moment_of(self.scope.now());
        let mut answers = Vec::new();
        while let Some(event) = self.connection.poll_endpoint_events() {
            answers.extend(self.endpoint.handle_event(self.handle, event));
        }
        for event in answers {
            self.connection.handle_event(event);
        }
        loop {
            self.buffer.clear();
            let Some(transmit) = self.connection.poll_transmit(now, 1, &mut self.buffer) else { break };
            self.send(&transmit);
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => {
                    self.lost.get_or_insert(failure_of(&reason));
                }
                _ => {}
            }
        }
    }

    fn send(&self, transmit: &Transmit) {
        let size = transmit.segment_size.unwrap_or(transmit.size).max(1);
        for datagram in self.buffer[..transmit.size.min(self.buffer.len())].chunks(size) {
            let sent = self.socket.send_to(datagram, self.remote, None);
            let sent = sent.map(|()| datagram.len()).map_err(|error| error.kind.failure());
            self.scope.event("write_to", "udp", Some(self.remote), self.scope.now(), sent);
        }
    }

    /// Gives a datagram to the endpoint.
    fn take(&mut self, bytes: &[u8]) {
        let now = moment_of(self.scope.now());
        let from = SocketAddr::new(self.remote.ip, self.remote.port);
        self.buffer.clear();
        let bytes = BytesMut::from(bytes);
        match self.endpoint.handle(now, from, None, None, bytes, &mut self.buffer) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => self.connection.handle_event(event),
            Some(DatagramEvent::Response(transmit)) => self.send(&transmit),
            _ => {}
        }
    }

    /// Does all that can be done now; true when something came or a timer fired.
    fn drive(&mut self, poller: &mut Poller<'_>) -> bool {
        let mut moved = false;
        loop {
            self.pump();
            if let Poll::Ready(received) = self.socket.poll_receive(poller) {
                moved = true;
                let now = self.scope.now();
                match received {
                    Ok(datagram) => {
                        self.read_bytes += datagram.bytes.len() as u64;
                        let taken = Ok(datagram.bytes.len());
                        self.scope.event("read_from", "udp", Some(self.remote), self.read_from, taken);
                        self.take(&datagram.bytes);
                    }
                    Err(NetError { kind, .. }) => {
                        let failure = kind.failure();
                        self.scope.event("read_from", "udp", Some(self.remote), self.read_from, Err(failure));
                        self.lost.get_or_insert(failure);
                    }
                }
                self.read_from = now;
                if self.lost.is_some() {
                    return true;
                }
                continue;
            }
            if !self.poll_timer(poller) {
                return moved;
            }
            moved = true;
        }
    }

    /// Drives it until the handshake is done or has failed.
    fn poll_connected(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Failure>> {
        self.drive(poller);
        match (self.lost, self.connected) {
            (Some(failure), _) => Poll::Ready(Err(failure)),
            (None, true) => Poll::Ready(Ok(())),
            (None, false) => Poll::Pending,
        }
    }

    /// Whether the connection's timer fired.
    fn poll_timer(&mut self, poller: &mut Poller<'_>) -> bool {
        let now = self.scope.now();
        let moment = moment_of(now);
        let Some(due) = self.connection.poll_timeout() else { return false };
        if due <= moment {
            self.connection.handle_timeout(moment);
            self.timer = None;
            return true;
        }
        let at = (now + due.duration_since(moment)).max(now + Duration::from_micros(1));
        if self.timer.as_ref().is_none_or(|(known, _)| *known != at) {
            self.timer = Some((at, self.scope.world.sleep_until(at)));
        }
        let Some((_, sleep)) = &mut self.timer else { return false };
        if sleep.as_mut().poll(poller).is_ready() {
            self.timer = None;
            self.connection.handle_timeout(moment_of(self.scope.now()));
            return true;
        }
        false
    }
}

/// A QUIC connection after its handshake.
pub struct QuicConnection {
    driver: Rc<RefCell<Driver>>,
    remote: Endpoint,
}

impl QuicConnection {
    /// The other end.
    pub const fn remote(&self) -> Endpoint {
        self.remote
    }

    /// The protocol that ALPN chose; empty when none.
    pub fn alpn(&self) -> String {
        alpn(&self.driver.borrow().connection)
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        self.driver.borrow().connection.rtt()
    }

    /// Bytes that came in datagrams.
    pub fn received_bytes(&self) -> u64 {
        self.driver.borrow().read_bytes
    }

    /// Closes it in order.
    pub fn close(self) {
        close(&self.driver);
    }
}

fn close(driver: &Rc<RefCell<Driver>>) {
    let mut driver = driver.borrow_mut();
    let now = moment_of(driver.scope.now());
    driver.connection.close(now, VarInt::from_u32(0), bytes::Bytes::new());
    driver.pump();
}

fn alpn(connection: &Connection) -> String {
    let data = connection.crypto_session().handshake_data();
    let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
    let chosen = data.and_then(|data| data.protocol).unwrap_or_default();
    String::from_utf8_lossy(&chosen).into_owned()
}

/// Runs `work` while the connection is driven beside it.
async fn beside<T>(driver: &Rc<RefCell<Driver>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    core::future::poll_fn(|poller| {
        loop {
            driver.borrow_mut().drive(poller);
            if let Poll::Ready(done) = work.as_mut().poll(poller) {
                driver.borrow_mut().pump();
                return Poll::Ready(done);
            }
            // What the work wrote goes out; if that brought something, the work wants to see it.
            if !driver.borrow_mut().drive(poller) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Shakes hands with `name` at `remote`, and records it in `quic_handshakes`.
pub async fn handshake(
    scope: &Scope,
    remote: Endpoint,
    name: &str,
    options: &QuicOptions,
) -> Result<QuicConnection, Failure> {
    let from = scope.now();
    scope.event("quic_handshake_start", "udp", Some(remote), from, Ok(0));
    let mut chain = Vec::new();
    let result = run(scope, remote, name, options, &mut chain).await;
    let record = HandshakeRecord {
        network: "udp".to_owned(),
        address: remote.to_string(),
        failure: result.as_ref().err().copied(),
        no_tls_verify: !options.tls.verify,
        peer_certificates: chain,
        server_name: tls::shown_text(&options.tls, name),
        negotiated_protocol: result.as_ref().map(QuicConnection::alpn).unwrap_or_default(),
        tls_version: if result.is_ok() { "TLSv1.3".to_owned() } else { String::new() },
        quic_version: Some(format!("{:#x}", options.version)),
        stamp: scope.stamp(from),
        ..HandshakeRecord::default()
    };
    let done = record.failure.map_or(Ok(0), Err);
    scope.trace.add_quic(record);
    scope.event("quic_handshake_done", "udp", Some(remote), scope.now(), done);
    result
}

async fn run(
    scope: &Scope,
    remote: Endpoint,
    name: &str,
    options: &QuicOptions,
    chain: &mut Vec<crate::trace::Binary>,
) -> Result<QuicConnection, Failure> {
    let ground = scope.world.tls();
    let tls = TlsOptions { versions: Versions::Only13, ..options.tls.clone() };
    let setup = tls::setup(&ground, name, &tls)?;
    let driver = hpke::with_provider(&ground.provider, || open(scope, remote, &setup, options))?;
    let driver = Rc::new(RefCell::new(driver));
    let shaken = core::future::poll_fn(|poller| driver.borrow_mut().poll_connected(poller));
    let result = within(&*scope.world, options.patience, shaken).await;
    *chain = setup.take_chain();
    if let Some(Ok(())) = result {
        return Ok(QuicConnection { driver, remote });
    }
    // A server that did answer shall not keep trying.
    close(&driver);
    let failure = result.and_then(Result::err).unwrap_or(Failure::GenericTimeout);
    Err(setup.refused().unwrap_or(failure))
}

fn open(scope: &Scope, remote: Endpoint, setup: &Setup, options: &QuicOptions) -> Result<Driver, Failure> {
    let world = &scope.world;
    let crypto = QuicClientConfig::try_from(setup.config.clone()).map_err(|_| Failure::QuicHandshake)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let first_id: [u8; 8] = random(&**world);
    config
        .transport_config(transport(options.patience.max(limits::HTTP)))
        .initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&first_id)))
        .version(options.version);
    let peer = UdpSetup { port: options.own_port, peer: Some(remote), ..UdpSetup::default() };
    let socket = world.udp(peer).map_err(|error| error.kind.failure())?;
    let mut endpoint = quinn_proto::Endpoint::new(endpoint_config(world, options.version), None, false, None);
    let shown = setup.shown_name.to_str();
    let to = SocketAddr::new(remote.ip, remote.port);
    let (handle, connection) =
        endpoint.connect(moment_of(world.now()), config, to, &shown).map_err(|_| Failure::QuicHandshake)?;
    Ok(Driver {
        scope: scope.clone(),
        socket,
        remote,
        endpoint,
        handle,
        connection,
        buffer: Vec::new(),
        timer: None,
        connected: false,
        lost: None,
        read_from: world.now(),
        read_bytes: 0,
    })
}

/// Why a connection was lost, under OONI's name (probe-cli `internal/netxlite/classify.go`,
/// ClassifyQUICHandshakeError).
fn failure_of(reason: &ConnectionError) -> Failure {
    match reason {
        ConnectionError::VersionMismatch => Failure::QuicIncompatibleVersion,
        ConnectionError::TimedOut => Failure::GenericTimeout,
        ConnectionError::Reset => Failure::ConnectionReset,
        ConnectionError::TransportError(error) => alert_failure(u64::from(error.code)),
        ConnectionError::ConnectionClosed(close) => alert_failure(u64::from(close.error_code)),
        ConnectionError::ApplicationClosed(_) => Failure::Eof,
        _ => Failure::QuicHandshake,
    }
}

/// RFC 9001 §4.8: an alert is 0x0100 plus its code. OONI sorts the alerts about certificates.
const fn alert_failure(code: u64) -> Failure {
    match code {
        // bad_certificate, unsupported, revoked, expired, certificate_unknown (RFC 8446 §6)
        0x12a..=0x12e => Failure::SslInvalidCertificate,
        // unknown_ca
        0x130 => Failure::SslUnknownAuthority,
        // unrecognized_name
        0x170 => Failure::SslInvalidHostname,
        0x100..=0x1ff => Failure::SslFailedHandshake,
        _ => Failure::QuicHandshake,
    }
}
