//! Real QUIC (quinn-proto) over the lab's UDP ports, driven by the lab's programs.
//!
//! Connection ids, seeds and keys come from the running program's stream. quinn-proto counts time in
//! `std::time::Instant`, which only the wall clock can make: one is taken once a process as the origin and
//! only differences to it, which are virtual, are ever used. One GET is a plain request and response on one
//! bidirectional stream (the lines of HTTP/0.9, ALPN `hq-interop`, as QUIC implementations use for interop
//! tests); the handshake offers `h3` besides so that the hello looks like HTTP/3's, but no HTTP/3 framing is
//! spoken.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Instant as Moment, SystemTime};

use bytes::BytesMut;
use okno_model::Failure;
use okno_wire::{Endpoint, Instant};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, ConnectionId, ConnectionIdGenerator,
    DatagramEvent, Dir, EndpointConfig, Event, IdleTimeout, ServerConfig, StreamEvent, StreamId, TimeSource,
    Transmit, TransportConfig, VarInt,
};
use ring::{hkdf, hmac};

use crate::net::{Net, NetErrorKind, UdpSocket};
use crate::world::{chance, moment};

/// ALPN of the lab's QUIC.
pub const ALPN: &[&str] = &["h3", "hq-interop"];

/// Virtual time as quinn-proto wants it.
fn moment_of(now: Instant) -> Moment {
    static ORIGIN: OnceLock<(Moment, Instant)> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an origin for differences; its value is never looked at")]
    let (origin, zero) = *ORIGIN.get_or_init(|| (Moment::now(), Instant::from_secs(0)));
    origin + now.since(zero)
}

/// The other way round.
fn instant_of(now: Instant, at: Moment) -> Instant {
    now + at.saturating_duration_since(moment_of(now))
}

struct VirtualTime;

impl TimeSource for VirtualTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(moment::now().nanos())
    }
}

/// Connection ids of eight bytes from the running program's stream.
#[derive(Debug)]
struct ProgramIds;

fn random_id() -> ConnectionId {
    let mut bytes = [0; 8];
    chance::fill(&mut bytes);
    ConnectionId::new(&bytes)
}

impl ConnectionIdGenerator for ProgramIds {
    fn generate_cid(&mut self) -> ConnectionId {
        random_id()
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn endpoint_config() -> Arc<EndpointConfig> {
    let mut seed = [0; 32];
    chance::fill(&mut seed);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &seed)));
    chance::fill(&mut seed);
    config.rng_seed(Some(seed)).cid_generator(|| Box::new(ProgramIds));
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

/// An endpoint with its connections on one UDP port.
struct Driver {
    net: Net,
    socket: UdpSocket,
    endpoint: quinn_proto::Endpoint,
    connections: BTreeMap<ConnectionHandle, Connection>,
    buffer: Vec<u8>,
}

const fn socket_address(end: Endpoint) -> SocketAddr {
    SocketAddr::new(end.ip, end.port)
}

impl Driver {
    fn send(&self, transmit: &Transmit) {
        let to = Endpoint { ip: transmit.destination.ip(), port: transmit.destination.port() };
        let size = transmit.segment_size.unwrap_or(transmit.size).max(1);
        for datagram in self.buffer[..transmit.size.min(self.buffer.len())].chunks(size) {
            // A destination without an address of its family is as good as loss.
            let _ = self.socket.send_to(datagram, to);
        }
    }

    /// Gives a datagram to the endpoint.
    fn take(&mut self, from: Endpoint, bytes: &[u8]) {
        let now = moment_of(self.net.now());
        self.buffer.clear();
        let event = self.endpoint.handle(
            now,
            socket_address(from),
            None,
            None,
            BytesMut::from(bytes),
            &mut self.buffer,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.connections.get_mut(&handle) {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.buffer.clear();
                match self.endpoint.accept(incoming, now, &mut self.buffer, None) {
                    Ok((handle, connection)) => {
                        self.connections.insert(handle, connection);
                    }
                    Err(error) => {
                        if let Some(transmit) = error.response {
                            self.send(&transmit);
                        }
                    }
                }
            }
            Some(DatagramEvent::Response(transmit)) => self.send(&transmit),
            None => {}
        }
    }

    /// Sends what is due, hands events between endpoint and connections, lets timers fire.
    fn pump(&mut self) {
        let at = self.net.now();
        let now = moment_of(at);
        let handles: Vec<_> = self.connections.keys().copied().collect();
        for handle in handles {
            let Some(connection) = self.connections.get_mut(&handle) else { continue };
            if connection.poll_timeout().is_some_and(|due| due <= now) {
                connection.handle_timeout(now);
            }
            let mut answers = Vec::new();
            while let Some(event) = connection.poll_endpoint_events() {
                answers.extend(self.endpoint.handle_event(handle, event));
            }
            for event in answers {
                connection.handle_event(event);
            }
            loop {
                self.buffer.clear();
                let Some(connection) = self.connections.get_mut(&handle) else { break };
                let Some(transmit) = connection.poll_transmit(now, 1, &mut self.buffer) else { break };
                self.send(&transmit);
            }
            if self.connections.get(&handle).is_some_and(Connection::is_drained) {
                self.connections.remove(&handle);
            }
        }
    }

    /// When the next timer of a connection is due.
    fn due(&mut self) -> Option<Instant> {
        let now = self.net.now();
        let due = self.connections.values_mut().filter_map(Connection::poll_timeout).min()?;
        Some(instant_of(now, due).max(now + Duration::from_micros(1)))
    }

    /// Waits for a datagram or a timer, at most until `limit`; false when that has come.
    async fn wait(&mut self, limit: Option<Instant>) -> Result<bool, NetErrorKind> {
        let due = [self.due(), limit].into_iter().flatten().min();
        let received = match due {
            Some(at) => {
                let span = at.since(self.net.now());
                self.net.timeout(span, self.socket.receive()).await
            }
            None => Ok(self.socket.receive().await),
        };
        match received {
            Ok(Ok(datagram)) => self.take(datagram.from, &datagram.bytes),
            Ok(Err(error)) => return Err(error.kind),
            Err(_) => {}
        }
        Ok(limit.is_none_or(|limit| self.net.now() < limit))
    }
}

/// What one request over QUIC brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuicAnswer {
    /// when the handshake was done
    pub connected: Option<Instant>,
    /// the answer's bytes
    pub body: Vec<u8>,
    /// bytes received by each moment in which some came
    pub progress: Vec<(Instant, u64)>,
    /// what went wrong
    pub failure: Option<Failure>,
}

/// Asks `name` at `remote` for `path` and reads the whole answer (at most `limit` bytes).
pub async fn fetch(
    net: &Net,
    remote: Endpoint,
    name: &str,
    path: &str,
    trusted: &[Vec<u8>],
    patience: Duration,
    limit: usize,
) -> QuicAnswer {
    let mut answer = QuicAnswer::default();
    if let Err(failure) = try_fetch(net, remote, (name, path), trusted, patience, limit, &mut answer).await {
        answer.failure = Some(failure);
    }
    answer
}

async fn try_fetch(
    net: &Net,
    remote: Endpoint,
    (name, path): (&str, &str),
    trusted: &[Vec<u8>],
    patience: Duration,
    limit: usize,
    answer: &mut QuicAnswer,
) -> Result<(), Failure> {
    let tls = crate::tls::client_config(trusted, crate::tls::TlsVersions::Only13, ALPN);
    let crypto = QuicClientConfig::try_from(tls).map_err(|_| Failure::QuicHandshake)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(patience)).initial_dst_cid_provider(Arc::new(random_id));
    let socket = net.udp_connect(remote).map_err(|error| crate::tls::net_failure(error.kind))?;
    let mut driver = Driver {
        net: net.clone(),
        socket,
        endpoint: quinn_proto::Endpoint::new(endpoint_config(), None, false, None),
        connections: BTreeMap::new(),
        buffer: Vec::new(),
    };
    let (handle, connection) = driver
        .endpoint
        .connect(moment_of(net.now()), config, socket_address(remote), name)
        .map_err(|_| Failure::QuicHandshake)?;
    driver.connections.insert(handle, connection);
    let give_up = net.now() + patience;
    let result = exchange(&mut driver, handle, path, give_up, limit, answer).await;
    if let Some(connection) = driver.connections.get_mut(&handle) {
        connection.close(moment_of(net.now()), VarInt::from_u32(0), bytes::Bytes::new());
        driver.pump();
    }
    result
}

/// The handshake, the request, the answer.
async fn exchange(
    driver: &mut Driver,
    handle: ConnectionHandle,
    path: &str,
    give_up: Instant,
    limit: usize,
    answer: &mut QuicAnswer,
) -> Result<(), Failure> {
    let mut stream = None;
    loop {
        driver.pump();
        let Some(connection) = driver.connections.get_mut(&handle) else {
            return Err(Failure::QuicHandshake);
        };
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => answer.connected = Some(driver.net.now()),
                Event::ConnectionLost { reason } => return Err(failure_of(&reason)),
                _ => {}
            }
        }
        if answer.connected.is_some() && stream.is_none() {
            stream = connection.streams().open(Dir::Bi);
            if let Some(id) = stream {
                let request = format!("GET {path}\r\n");
                let _ = connection.send_stream(id).write(request.as_bytes());
                let _ = connection.send_stream(id).finish();
            }
            continue;
        }
        if let Some(id) = stream {
            let before = answer.body.len();
            let ended = drain(connection, id, &mut answer.body, limit)?;
            if answer.body.len() > before {
                answer.progress.push((driver.net.now(), answer.body.len() as u64));
            }
            if ended {
                return Ok(());
            }
        }
        driver.pump();
        if !driver.wait(Some(give_up)).await.map_err(crate::tls::net_failure)? {
            return Err(Failure::GenericTimeout);
        }
    }
}

/// Reads what has come on a stream; true at its end.
fn drain(
    connection: &mut Connection,
    id: StreamId,
    body: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, Failure> {
    let mut stream = connection.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return Ok(false) };
    loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk.bytes),
            Ok(None) => return Ok(true),
            Err(quinn_proto::ReadError::Blocked) => {
                let _ = chunks.finalize();
                return if body.len() > limit { Err(Failure::MessageTooLong) } else { Ok(false) };
            }
            Err(quinn_proto::ReadError::Reset(_)) => return Err(Failure::ConnectionReset),
        }
    }
}

fn failure_of(reason: &ConnectionError) -> Failure {
    match reason {
        ConnectionError::VersionMismatch => Failure::QuicIncompatibleVersion,
        ConnectionError::TimedOut => Failure::GenericTimeout,
        ConnectionError::Reset => Failure::ConnectionReset,
        // RFC 9001 §4.8: an alert is 0x0100 plus its code.
        ConnectionError::TransportError(error) if u64::from(error.code) & !0xff == 0x100 => {
            Failure::SslFailedHandshake
        }
        ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => Failure::Eof,
        _ => Failure::QuicHandshake,
    }
}

/// Serves QUIC on UDP `port`: for each request line the bytes that `answer` makes of its path.
pub async fn serve(
    net: Net,
    port: u16,
    tls: Arc<rustls::ServerConfig>,
    answer: impl Fn(&str) -> Vec<u8>,
) -> Result<(), NetErrorKind> {
    let socket = net.udp_bind(port).map_err(|error| error.kind)?;
    let mut key = [0; 32];
    chance::fill(&mut key);
    let crypto = QuicServerConfig::try_from(tls).expect("the setup has TLS 1.3 and a suite for Initials");
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key);
    let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(token_key));
    config.transport_config(transport(Duration::from_secs(30))).time_source(Arc::new(VirtualTime));
    let endpoint = quinn_proto::Endpoint::new(endpoint_config(), Some(Arc::new(config)), false, None);
    let mut driver = Driver { net, socket, endpoint, connections: BTreeMap::new(), buffer: Vec::new() };
    let mut exchanges: BTreeMap<(ConnectionHandle, StreamId), Exchange> = BTreeMap::new();
    loop {
        driver.pump();
        for (handle, connection) in &mut driver.connections {
            answer_streams(*handle, connection, &mut exchanges, &answer);
        }
        exchanges.retain(|(handle, _), _| driver.connections.contains_key(handle));
        driver.pump();
        // An ICMP error cannot reach a port without a peer; nothing else ends the wait.
        let _ = driver.wait(None).await;
    }
}

/// A request that is read, then an answer that is written.
#[derive(Default)]
struct Exchange {
    request: Vec<u8>,
    answer: Option<Vec<u8>>,
    written: usize,
}

fn answer_streams(
    handle: ConnectionHandle,
    connection: &mut Connection,
    exchanges: &mut BTreeMap<(ConnectionHandle, StreamId), Exchange>,
    answer: &impl Fn(&str) -> Vec<u8>,
) {
    while let Some(event) = connection.poll() {
        if let Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) = event {
            while let Some(id) = connection.streams().accept(Dir::Bi) {
                exchanges.insert((handle, id), Exchange::default());
            }
        }
    }
    let first = (handle, StreamId::new(quinn_proto::Side::Client, Dir::Bi, 0));
    for ((owner, id), exchange) in exchanges.range_mut(first..) {
        if *owner != handle {
            break;
        }
        if exchange.answer.is_none() && drain(connection, *id, &mut exchange.request, 65_536).unwrap_or(true)
        {
            let line = String::from_utf8_lossy(&exchange.request);
            let path = line.trim_end().strip_prefix("GET ").unwrap_or("/").to_owned();
            exchange.answer = Some(answer(&path));
        }
        let Some(bytes) = &exchange.answer else { continue };
        while exchange.written < bytes.len() {
            match connection.send_stream(*id).write(&bytes[exchange.written..]) {
                Ok(taken) => exchange.written += taken,
                Err(_) => break,
            }
        }
        if exchange.written == bytes.len() {
            let _ = connection.send_stream(*id).finish();
            exchange.written += 1;
        }
    }
}
