//! `TokioNet`: the kernel behind the probe's trait.

use core::net::IpAddr;
use core::time::Duration;
use std::cell::OnceCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use okno_model::Failure;
use okno_probe::net::{
    Datagrams, Dial, Echo, Endpoint, Instant, Listener, NetError, Packets, RawWatch, Stream, TlsGround,
    UdpSetup,
};
use okno_probe::{Net, Task};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::time_provider::DefaultTimeProvider;
use socket2::{SockAddr, Socket, Type};
use tokio::task::LocalSet;

use crate::diag::Diag;
use crate::icmp::{self, Ear};
use crate::kernel::{domain, endpoint, socket_address};
use crate::{datagrams, lookup, raw, stream};

/// How far the kernel's clock of packets may be from ours before it is not believed.
const CLOCKS: Duration = Duration::from_secs(1);

/// What may differ from the ordinary.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// authorities that are trusted beside those of browsers; for tests against own servers
    pub authorities: Vec<CertificateDer<'static>>,
    /// the system's resolver; the first of `/etc/resolv.conf` when `None`
    pub resolver: Option<Endpoint>,
}

/// The real network.
pub struct TokioNet {
    shared: Rc<Shared>,
}

/// What sockets share.
pub(crate) struct Shared {
    /// the wall clock when the session began, and the monotonic clock then
    anchor: (u64, std::time::Instant),
    random: SystemRandom,
    ground: TlsGround,
    resolver: Option<Endpoint>,
    diag: OnceCell<Option<Diag>>,
    ear: OnceCell<Option<Rc<Ear>>>,
}

impl Shared {
    pub(crate) fn now(&self) -> Instant {
        let elapsed = u64::try_from(self.anchor.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(self.anchor.0.saturating_add(elapsed))
    }

    /// The kernel's time for a packet, unless the wall clock was set since the session began.
    pub(crate) fn moment(&self, kernel: Option<Instant>) -> Instant {
        let now = self.now();
        kernel.filter(|at| *at <= now && now - *at < CLOCKS).unwrap_or(now)
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        self.random.fill(bytes).expect("the system gives random bytes");
    }

    pub(crate) fn diag(&self) -> Option<&Diag> {
        self.diag.get_or_init(Diag::open).as_ref()
    }

    pub(crate) fn ear(&self) -> Option<&Ear> {
        self.ear.get().and_then(Option::as_deref)
    }
}

impl TokioNet {
    /// The network of this machine. Must be called within [`run`].
    #[expect(clippy::disallowed_methods, reason = "the shell of the real network: here time comes in")]
    pub fn new(setup: &Setup) -> Rc<Self> {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let anchor = (u64::try_from(wall.as_nanos()).unwrap_or_default(), std::time::Instant::now());
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(setup.authorities.iter().cloned());
        let ground = TlsGround {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            roots: Arc::new(roots),
            clock: Arc::new(DefaultTimeProvider),
        };
        let system = || lookup::nameserver(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
        let resolver = setup.resolver.or_else(system);
        let (diag, ear) = (OnceCell::new(), OnceCell::new());
        let shared = Rc::new(Shared { anchor, random: SystemRandom::new(), ground, resolver, diag, ear });
        let heard: Weak<Shared> = Rc::downgrade(&shared);
        shared.ear.get_or_init(|| icmp::ear(&heard));
        Rc::new(Self { shared })
    }
}

impl Net for TokioNet {
    fn now(&self) -> Instant {
        self.shared.now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.shared.fill_random(bytes);
    }

    fn sleep_until(&self, at: Instant) -> Task<'static, ()> {
        Box::pin(tokio::time::sleep(at - self.shared.now()))
    }

    fn spawn(&self, work: Task<'static, ()>) {
        tokio::task::spawn_local(work);
    }

    fn connect(&self, how: Dial) -> Task<'static, Result<Box<dyn Stream>, NetError>> {
        Box::pin(stream::connect(self.shared.clone(), how))
    }

    fn listen(&self, local: Endpoint) -> Result<Box<dyn Listener>, NetError> {
        stream::listen(self.shared.clone(), local)
    }

    fn udp(&self, setup: UdpSetup) -> Result<Rc<dyn Datagrams>, NetError> {
        datagrams::udp(self.shared.clone(), setup)
    }

    fn lookup(&self, name: &str) -> Task<'static, Result<Vec<IpAddr>, Failure>> {
        Box::pin(lookup::lookup(name.to_string()))
    }

    fn system_resolver(&self) -> Option<Endpoint> {
        self.shared.resolver
    }

    fn ping(
        &self,
        remote: IpAddr,
        ttl: Option<u8>,
        len: usize,
        patience: Duration,
    ) -> Task<'static, Result<Echo, NetError>> {
        Box::pin(icmp::ping(self.shared.clone(), remote, ttl, len, patience))
    }

    fn raw(&self, watch: RawWatch) -> Result<Rc<dyn Packets>, NetError> {
        raw::raw(self.shared.clone(), watch)
    }

    fn own_address(&self, remote: IpAddr) -> Option<IpAddr> {
        // Connecting a UDP socket asks the routing table and sends nothing (udp(7)).
        let socket = Socket::new(domain(remote), Type::DGRAM.cloexec(), None).ok()?;
        socket.connect(&SockAddr::from(socket_address(Endpoint { ip: remote, port: 9 }))).ok()?;
        socket.local_addr().ok()?.as_socket().map(|address| endpoint(address).ip)
    }

    fn tls(&self) -> TlsGround {
        self.shared.ground.clone()
    }

    fn platform(&self) -> &'static str {
        std::env::consts::OS
    }
}

/// Runs `work` on this thread, with sockets and timers. What it spawned ends with it.
pub fn run<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build()?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, work);
    drop(local);
    // A lookup may hang in the C library for its own long timeouts: nobody waits for it.
    runtime.shutdown_background();
    Ok(result)
}
