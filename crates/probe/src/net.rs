//! What a measurement may ask of the world: the kernel's sockets and the lab both answer it.
//!
//! The trait is used through [`World`], a shared pointer: measurements are compiled once, and a guard
//! (budgets, refused targets, dry runs) is one more `Net` around another. One thread runs everything.

use core::future::Future;
use core::net::IpAddr;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use okno_model::Failure;
pub use okno_wire::{Endpoint, Instant};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;

/// Work in progress; of one thread.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The world of a measurement, shared.
pub type World = Rc<dyn Net>;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetErrorKind {
    /// the other side does not listen: a reset while connecting, ICMP port unreachable
    Refused,
    /// a reset on an open connection
    Reset,
    /// no answer in time
    TimedOut,
    /// ICMP says that the host cannot be reached
    HostUnreachable,
    /// no route, or no address of that family on this machine
    NetworkUnreachable,
    /// the port is taken
    InUse,
    /// closed in order before all that was expected had come
    Closed,
    /// the datagram is longer than the path or the stack takes
    TooLong,
    /// the system forbids it (raw packets without the privilege)
    NotPermitted,
    /// this session may not: a private target, a spent budget, a dry run
    Refusal,
    /// this world cannot do it
    Unsupported,
    /// anything else of this machine
    Local,
}

/// A failure and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} at {at}")]
pub struct NetError {
    /// what
    pub kind: NetErrorKind,
    /// when this host learnt of it
    pub at: Instant,
}

impl NetErrorKind {
    /// OONI's name for it (df-007-errors).
    pub const fn failure(self) -> Failure {
        match self {
            Self::Refused => Failure::ConnectionRefused,
            Self::Reset => Failure::ConnectionReset,
            Self::TimedOut => Failure::GenericTimeout,
            Self::HostUnreachable => Failure::HostUnreachable,
            Self::NetworkUnreachable => Failure::NetworkUnreachable,
            Self::InUse => Failure::AddressInUse,
            Self::Closed => Failure::Eof,
            Self::TooLong => Failure::MessageTooLong,
            Self::NotPermitted => Failure::PermissionDenied,
            Self::Refusal => Failure::OperationCanceled,
            Self::Unsupported | Self::Local => Failure::Unknown,
        }
    }

    /// The kind behind an error of a stream: streams give `io::Error`s of these kinds.
    pub fn of(error: &io::Error) -> Self {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<NetError>()) {
            return inner.kind;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable => Self::HostUnreachable,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Self::NetworkUnreachable,
            io::ErrorKind::AddrInUse => Self::InUse,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Local,
        }
    }
}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> Self {
        let kind = match error.kind {
            NetErrorKind::Refused => io::ErrorKind::ConnectionRefused,
            NetErrorKind::Reset => io::ErrorKind::ConnectionReset,
            NetErrorKind::TimedOut => io::ErrorKind::TimedOut,
            NetErrorKind::HostUnreachable => io::ErrorKind::HostUnreachable,
            NetErrorKind::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
            NetErrorKind::InUse => io::ErrorKind::AddrInUse,
            NetErrorKind::Closed => io::ErrorKind::UnexpectedEof,
            NetErrorKind::TooLong => io::ErrorKind::InvalidInput,
            NetErrorKind::NotPermitted | NetErrorKind::Refusal => io::ErrorKind::PermissionDenied,
            NetErrorKind::Unsupported => io::ErrorKind::Unsupported,
            NetErrorKind::Local => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// How a TCP connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// whom
    pub remote: Endpoint,
    /// from which port; a fresh one when `None`
    pub own_port: Option<u16>,
    /// TTL or hop limit of everything sent, until [`Stream::set_ttl`]
    pub ttl: Option<u8>,
    /// most time for the handshake
    pub patience: Duration,
}

impl Dial {
    /// OONI's limit for a connect: 15 s (probe-cli netxlite dialer).
    pub const PATIENCE: Duration = Duration::from_secs(15);

    /// To `remote`, with nothing special.
    pub const fn to(remote: Endpoint) -> Self {
        Self { remote, own_port: None, ttl: None, patience: Self::PATIENCE }
    }
}

/// What the stack knows of a connection; absent where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// smoothed round-trip time
    pub rtt: Option<Duration>,
    /// segments sent again
    pub retransmits: Option<u32>,
    /// bytes handed over and not acknowledged
    pub unacknowledged: Option<usize>,
    /// largest segment agreed on
    pub mss: Option<u32>,
}

/// An ICMP message about something that this socket sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpNotice {
    /// when it came
    pub at: Instant,
    /// who sent it: a router or the target
    pub from: IpAddr,
    /// ICMP type as on the wire, of the address family's own ICMP
    pub kind: u8,
    /// ICMP code
    pub code: u8,
}

impl IcmpNotice {
    /// Time exceeded in transit (RFC 792 type 11, RFC 4443 type 3).
    pub const fn is_time_exceeded(&self) -> bool {
        match self.from {
            IpAddr::V4(_) => self.kind == 11,
            IpAddr::V6(_) => self.kind == 3,
        }
    }
}

/// A TCP connection. Reads give `Ok(0)` at an orderly end; errors carry a [`NetError`]
/// ([`NetErrorKind::of`]). Dropping closes it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Own end and remote end.
    fn ends(&self) -> (Endpoint, Endpoint);
    /// Sets the TTL of what is sent from now on.
    fn set_ttl(&self, ttl: u8) -> Result<(), NetError>;
    /// What the stack knows.
    fn facts(&self) -> TcpFacts;
    /// ICMP messages that came since the last call; empty where the system does not tell.
    fn notices(&self) -> Vec<IcmpNotice>;
    /// Ends the connection with a reset.
    fn abort(self: Box<Self>);
}

/// A listening TCP port; of the test helper and of servers in tests. Dropping closes it.
pub trait Listener {
    /// The own end.
    fn local(&self) -> Endpoint;
    /// The next connection.
    fn accept(&mut self) -> Task<'_, Result<Box<dyn Stream>, NetError>>;
}

/// A datagram that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// when
    pub at: Instant,
    /// from whom
    pub from: Endpoint,
    /// its bytes
    pub bytes: Vec<u8>,
    /// TTL or hop limit that it came with, where the system tells
    pub ttl: Option<u8>,
}

/// How a UDP port is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpSetup {
    /// own port; 0 takes a free one
    pub port: u16,
    /// own address; the unspecified one of the peer's family when `None`
    pub local: Option<IpAddr>,
    /// the only peer; then ICMP errors are told as failures too
    pub peer: Option<Endpoint>,
}

/// A UDP port. Dropping it closes it.
pub trait Datagrams {
    /// The own end.
    fn local(&self) -> Endpoint;
    /// Sends a datagram; does not wait.
    fn send_to(&self, bytes: &[u8], to: Endpoint, ttl: Option<u8>) -> Result<(), NetError>;
    /// The next datagram, or the ICMP error about one that a connected port sent.
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Datagram, NetError>>;
    /// ICMP messages that came since the last call; empty where the system does not tell.
    fn notices(&self) -> Vec<IcmpNotice>;
}

/// Which packets a raw socket sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawWatch {
    /// packets from this address alone
    pub remote: IpAddr,
    /// of this IP protocol
    pub protocol: u8,
    /// packets to this own port alone; 0 is all
    pub own_port: u16,
    /// whether the host's own stack shall not see them (it would answer with resets)
    pub take: bool,
}

/// Whole IP packets, where the system permits.
pub trait Packets {
    /// Puts a whole IP packet on the wire.
    fn send(&self, packet: &[u8]) -> Result<(), NetError>;
    /// The next packet, whole, and when it came.
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<(Instant, Vec<u8>)>;
}

/// An answer to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// who answered: the target, or a router where the TTL ended
    pub from: IpAddr,
    /// whether it was the target
    pub reached: bool,
    /// round-trip time
    pub rtt: Duration,
    /// TTL that the answer came with, where known
    pub ttl: Option<u8>,
}

/// What TLS needs of a world: in the lab randomness and time are the lab's, so that handshakes repeat.
#[derive(Clone)]
pub struct TlsGround {
    /// cipher suites, key exchange, randomness
    pub provider: Arc<CryptoProvider>,
    /// authorities that are trusted
    pub roots: Arc<RootCertStore>,
    /// the time by which certificates are judged
    pub clock: Arc<dyn TimeProvider>,
}

/// What a measurement may ask of the world.
pub trait Net {
    /// The time: nanoseconds since the Unix epoch; never goes back within a session.
    fn now(&self) -> Instant;
    /// Random bytes.
    fn fill_random(&self, bytes: &mut [u8]);
    /// Ends at `at`.
    fn sleep_until(&self, at: Instant) -> Task<'static, ()>;
    /// Runs beside what runs; ends with the session.
    fn spawn(&self, work: Task<'static, ()>);
    /// Opens a TCP connection.
    fn connect(&self, how: Dial) -> Task<'static, Result<Box<dyn Stream>, NetError>>;
    /// Opens a TCP port; port 0 takes a free one, an unspecified address takes all.
    fn listen(&self, local: Endpoint) -> Result<Box<dyn Listener>, NetError>;
    /// Opens a UDP port.
    fn udp(&self, setup: UdpSetup) -> Result<Rc<dyn Datagrams>, NetError>;
    /// Asks the system's resolver for addresses, as an ordinary program does.
    fn lookup(&self, name: &str) -> Task<'static, Result<Vec<IpAddr>, Failure>>;
    /// Tells which addresses were found for `name`, by whatever resolver or helper. A guard lets connections
    /// to them pass when the name itself is among the test's contacts; the others need not know.
    fn resolved(&self, _name: &str, _addresses: &[IpAddr]) {}
    /// Tells an own address that somebody outside has told, as STUN servers do. A session scrubs it; the
    /// others need not know.
    fn saw_own_address(&self, _ip: IpAddr) {}
    /// The system's resolver, where it is known.
    fn system_resolver(&self) -> Option<Endpoint>;
    /// An echo request of `len` bytes and its answer.
    fn ping(
        &self,
        remote: IpAddr,
        ttl: Option<u8>,
        len: usize,
        patience: Duration,
    ) -> Task<'static, Result<Echo, NetError>>;
    /// Whole packets, both ways; [`NetErrorKind::NotPermitted`] without the privilege.
    fn raw(&self, watch: RawWatch) -> Result<Rc<dyn Packets>, NetError>;
    /// The own address from which `remote` is reached. For scrubbing and raw packets; never written.
    fn own_address(&self, remote: IpAddr) -> Option<IpAddr>;
    /// Ground for TLS.
    fn tls(&self) -> TlsGround;
    /// `linux`, `macos`, `windows`, `lab` …
    fn platform(&self) -> &'static str;
}

/// Waits for `work` for at most `span`; `None` when the time is up.
pub async fn within<F: Future>(net: &dyn Net, span: Duration, work: F) -> Option<F::Output> {
    let mut sleep = net.sleep_until(net.now() + span);
    let mut work = pin!(work);
    core::future::poll_fn(|context| {
        if let Poll::Ready(result) = work.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Waits.
pub async fn sleep(net: &dyn Net, span: Duration) {
    net.sleep_until(net.now() + span).await;
}

/// The next datagram within `patience`.
pub async fn receive(
    net: &dyn Net,
    socket: &dyn Datagrams,
    patience: Duration,
) -> Result<Datagram, NetError> {
    within(net, patience, core::future::poll_fn(|context| socket.poll_receive(context)))
        .await
        .unwrap_or_else(|| Err(NetError { kind: NetErrorKind::TimedOut, at: net.now() }))
}

/// `N` random bytes.
pub fn random<const N: usize>(net: &dyn Net) -> [u8; N] {
    let mut bytes = [0; N];
    net.fill_random(&mut bytes);
    bytes
}

/// A random number below `limit` (0 when that is 0).
pub fn below(net: &dyn Net, limit: u64) -> u64 {
    if limit == 0 { 0 } else { u64::from_le_bytes(random(net)) % limit }
}
