//! A network around the network: what a session may not do, it cannot.
//!
//! A [`Ledger`] belongs to a session: budgets, pace, who was contacted and what was refused. A [`Guard`]
//! belongs to one measurement and knows the hosts that its test named beforehand. Refusals are
//! [`NetErrorKind::Refusal`], so that a measurement records them as `operation_canceled`, never as
//! interference. Ports are shown to people but not enforced: one test tries many of one host.

use core::net::IpAddr;
use core::pin::Pin;
use core::str::FromStr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_model::Failure;

use crate::address;
use crate::experiment::Contact;
use crate::net::{
    Datagram, Datagrams, Dial, Echo, Endpoint, IcmpNotice, Instant, Listener, Net, NetError, NetErrorKind,
    Packets, RawWatch, Stream, Task, TcpFacts, TlsGround, UdpSetup, World,
};

/// The contact that stands for any public host: redirects lead anywhere.
pub const ANYWHERE: &str = "*";

/// A range of addresses, `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// an address of it
    pub base: IpAddr,
    /// bits that all its addresses share
    pub length: u8,
}

impl Range {
    /// Whether the address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (a, b, width) = match (self.base, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.length).min(width);
        a.checked_shr(shift) == b.checked_shr(shift)
    }
}

impl FromStr for Range {
    type Err = String;

    /// `192.0.2.0/24`, or one address.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range of addresses such as 192.0.2.0/24");
        let (base, length) = match text.split_once('/') {
            Some((base, length)) => (base, Some(length.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let base: IpAddr = base.trim_matches(['[', ']']).parse().map_err(|_| wrong())?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        match length.unwrap_or(widest) {
            length if length <= widest => Ok(Self { base, length }),
            _ => Err(wrong()),
        }
    }
}

/// What a session may spend, and where it may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// bytes of content, both ways together
    pub bytes: u64,
    /// datagrams, raw packets and echo requests sent
    pub packets: u64,
    /// least time between new connections to one address, once [`Limits::burst`] are open at once
    pub gap: Duration,
    /// connections to one address that need not wait
    pub burst: u32,
    /// most datagrams a second to one address
    pub datagrams_per_second: u32,
    /// reserved ranges that may be targets all the same: labs and namespaces
    pub allowed: Vec<Range>,
    /// refuse and record everything
    pub dry: bool,
}

impl Default for Limits {
    /// For one person's session: 256 MiB, five connections a second to one host after the first 24 (a
    /// browser opens six at once), and no more datagrams than a video call has.
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            packets: 200_000,
            gap: Duration::from_millis(200),
            burst: 24,
            datagrams_per_second: 500,
            allowed: Vec::new(),
            dry: false,
        }
    }
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// a private, local or reserved address
    Reserved,
    /// not among the hosts that the test named
    Unnamed,
    /// the bytes or packets are spent
    Budget,
    /// too many datagrams a second
    Pace,
    /// a dry run
    Dry,
}

/// One host that was contacted or would have been.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// name or address
    pub host: String,
    /// `tcp/443`, `udp/53`, `icmp`, `ip/45`, `lookup`
    pub port: String,
    /// `None` when it went out
    pub refused: Option<Why>,
}

/// What was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// bytes of content sent
    pub sent: u64,
    /// bytes of content received
    pub received: u64,
    /// datagrams, raw packets and echo requests sent
    pub packets: u64,
    /// connections asked for
    pub connections: u64,
}

/// The account of a session.
pub struct Ledger {
    limits: Limits,
    spent: Cell<Spent>,
    attempts: RefCell<BTreeSet<Attempt>>,
    /// theoretical arrival time of the next connection, by address (GCRA, ITU-T I.371)
    connections: RefCell<BTreeMap<IpAddr, Instant>>,
    datagrams: RefCell<BTreeMap<IpAddr, Instant>>,
    own: RefCell<BTreeSet<IpAddr>>,
}

impl Ledger {
    /// An empty account.
    pub fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            spent: Cell::default(),
            attempts: RefCell::default(),
            connections: RefCell::default(),
            datagrams: RefCell::default(),
            own: RefCell::default(),
        })
    }

    /// What was spent until now.
    pub fn spent(&self) -> Spent {
        self.spent.get()
    }

    /// Who was contacted and what was refused, in order of names.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.borrow().iter().cloned().collect()
    }

    /// Own addresses that connections had or that others told.
    pub fn own_addresses(&self) -> BTreeSet<IpAddr> {
        self.own.borrow().clone()
    }

    /// In a namespace the own address may be the target's too, and then hides nothing.
    fn has(&self, own: IpAddr, remote: IpAddr) {
        if own != remote && !own.is_unspecified() {
            self.own.borrow_mut().insert(own);
        }
    }

    fn note(&self, host: String, port: String, refused: Option<Why>) {
        self.attempts.borrow_mut().insert(Attempt { host, port, refused });
    }

    fn broke(&self) -> bool {
        let spent = self.spent.get();
        spent.sent + spent.received >= self.limits.bytes || spent.packets >= self.limits.packets
    }

    fn sends(&self, bytes: usize, packets: u64) {
        let mut spent = self.spent.get();
        spent.sent += bytes as u64;
        spent.packets += packets;
        self.spent.set(spent);
    }

    fn receives(&self, bytes: usize) {
        let mut spent = self.spent.get();
        spent.received += bytes as u64;
        self.spent.set(spent);
    }

    /// When a connection to `ip` may begin.
    fn turn(&self, ip: IpAddr, now: Instant) -> Instant {
        let mut spent = self.spent.get();
        spent.connections += 1;
        self.spent.set(spent);
        let mut due = self.connections.borrow_mut();
        let due = due.entry(ip).or_insert(now);
        let begins = (*due).max(now);
        *due = begins + self.limits.gap;
        let ahead = self.limits.gap * self.limits.burst;
        let nanos = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(begins.nanos().saturating_sub(nanos)).max(now)
    }

    /// Whether a datagram to `ip` keeps the pace; up to a second's worth may go at once.
    fn keeps_pace(&self, ip: IpAddr, now: Instant) -> bool {
        let gap = Duration::from_secs(1) / self.limits.datagrams_per_second.max(1);
        let mut due = self.datagrams.borrow_mut();
        let due = due.entry(ip).or_insert(now);
        let begins = (*due).max(now);
        if begins - now > Duration::from_secs(1) {
            return false;
        }
        *due = begins + gap;
        true
    }
}

fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// The network of one measurement.
pub struct Guard {
    inner: World,
    shared: Rc<Shared>,
}

struct Shared {
    ledger: Rc<Ledger>,
    /// names, and how long the prefixes are that come with their addresses
    names: BTreeMap<String, Option<u8>>,
    ranges: Vec<Range>,
    anywhere: bool,
    resolver: Option<Endpoint>,
    found: RefCell<BTreeSet<IpAddr>>,
    near: RefCell<Vec<Range>>,
}

impl Guard {
    /// A guard for a measurement that named `contacts`.
    pub fn around(inner: World, ledger: Rc<Ledger>, contacts: &[Contact]) -> Rc<Self> {
        let mut names = BTreeMap::new();
        let mut ranges = Vec::new();
        for contact in contacts {
            if let Ok(range) = contact.host.parse() {
                ranges.push(range);
                continue;
            }
            // `site.example/24`: the name, and what lies beside its IPv4 addresses
            let (name, near) = match contact.host.split_once('/') {
                Some((name, length)) => (name, length.parse().ok()),
                None => (contact.host.as_str(), None),
            };
            let known: &mut Option<u8> = names.entry(plain(name)).or_default();
            *known = known.or(near);
        }
        let (anywhere, resolver) = (names.contains_key(ANYWHERE), inner.system_resolver());
        let (found, near) = (RefCell::default(), RefCell::default());
        let shared = Rc::new(Shared { ledger, names, ranges, anywhere, resolver, found, near });
        Rc::new(Self { inner, shared })
    }

    fn refusal(&self) -> NetError {
        NetError { kind: NetErrorKind::Refusal, at: self.inner.now() }
    }

    fn admits(&self, remote: Endpoint, what: &str) -> Result<(), NetError> {
        if self.shared.admits(remote, what) { Ok(()) } else { Err(self.refusal()) }
    }
}

impl Shared {
    fn judge(&self, remote: Endpoint) -> Option<Why> {
        let limits = &self.ledger.limits;
        let is_resolver = self.resolver == Some(remote);
        let allowed = limits.allowed.iter().any(|range| range.contains(remote.ip));
        if !address::is_public(remote.ip) && !allowed && !is_resolver {
            return Some(Why::Reserved);
        }
        let named = self.anywhere
            || is_resolver
            || self.ranges.iter().any(|range| range.contains(remote.ip))
            || self.found.borrow().contains(&remote.ip)
            || self.near.borrow().iter().any(|range| range.contains(remote.ip));
        if !named {
            return Some(Why::Unnamed);
        }
        if limits.dry {
            return Some(Why::Dry);
        }
        self.ledger.broke().then_some(Why::Budget)
    }

    fn admits(&self, remote: Endpoint, what: &str) -> bool {
        let refused = self.judge(remote);
        let port = if remote.port == 0 { what.to_string() } else { format!("{what}/{}", remote.port) };
        self.ledger.note(remote.ip.to_string(), port, refused);
        refused.is_none()
    }

    fn names(&self, name: &str) -> bool {
        self.anywhere || self.names.contains_key(&plain(name))
    }

    /// Addresses of a name that may be contacted.
    fn finds(&self, name: &str, addresses: &[IpAddr]) {
        self.found.borrow_mut().extend(addresses);
        if let Some(Some(length)) = self.names.get(&plain(name)) {
            let v4 = addresses.iter().filter(|ip| ip.is_ipv4() && *length <= 32);
            self.near.borrow_mut().extend(v4.map(|ip| Range { base: *ip, length: *length }));
        }
    }
}

impl Net for Guard {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.inner.fill_random(bytes);
    }

    fn sleep_until(&self, at: Instant) -> Task<'static, ()> {
        self.inner.sleep_until(at)
    }

    fn spawn(&self, work: Task<'static, ()>) {
        self.inner.spawn(work);
    }

    fn connect(&self, how: Dial) -> Task<'static, Result<Box<dyn Stream>, NetError>> {
        if let Err(error) = self.admits(how.remote, "tcp") {
            return Box::pin(core::future::ready(Err(error)));
        }
        let turn = self.shared.ledger.turn(how.remote.ip, self.inner.now());
        let (inner, ledger) = (self.inner.clone(), self.shared.ledger.clone());
        Box::pin(async move {
            if turn > inner.now() {
                inner.sleep_until(turn).await;
            }
            let stream = inner.connect(how).await?;
            ledger.has(stream.ends().0.ip, how.remote.ip);
            Ok(Box::new(Counted { stream, ledger, clock: inner }) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: Endpoint) -> Result<Box<dyn Listener>, NetError> {
        if self.shared.ledger.limits.dry {
            return Err(self.refusal());
        }
        let listener = self.inner.listen(local)?;
        let (ledger, clock) = (self.shared.ledger.clone(), self.inner.clone());
        Ok(Box::new(CountedListener { listener, ledger, clock }))
    }

    fn udp(&self, setup: UdpSetup) -> Result<Rc<dyn Datagrams>, NetError> {
        if let Some(peer) = setup.peer {
            self.admits(peer, "udp")?;
        }
        if self.shared.ledger.limits.dry {
            return Err(self.refusal());
        }
        let inner = self.inner.udp(setup)?;
        if let Some(peer) = setup.peer {
            self.shared.ledger.has(inner.local().ip, peer.ip);
        }
        Ok(Rc::new(GuardedDatagrams { inner, shared: self.shared.clone(), clock: self.inner.clone() }))
    }

    fn lookup(&self, name: &str) -> Task<'static, Result<Vec<IpAddr>, Failure>> {
        let dry = self.shared.ledger.limits.dry;
        let refused = match self.shared.names(name) {
            false => Some(Why::Unnamed),
            true => dry.then_some(Why::Dry),
        };
        self.shared.ledger.note(plain(name), "lookup".to_string(), refused);
        if refused.is_some() {
            return Box::pin(core::future::ready(Err(Failure::OperationCanceled)));
        }
        let (work, shared, name) = (self.inner.lookup(name), self.shared.clone(), name.to_string());
        Box::pin(async move {
            let found = work.await?;
            shared.finds(&name, &found);
            Ok(found)
        })
    }

    fn resolved(&self, name: &str, addresses: &[IpAddr]) {
        if self.shared.names(name) {
            self.shared.finds(name, addresses);
        }
        self.inner.resolved(name, addresses);
    }

    fn saw_own_address(&self, ip: IpAddr) {
        self.shared.ledger.own.borrow_mut().insert(ip);
        self.inner.saw_own_address(ip);
    }

    fn system_resolver(&self) -> Option<Endpoint> {
        self.inner.system_resolver()
    }

    fn ping(
        &self,
        remote: IpAddr,
        ttl: Option<u8>,
        len: usize,
        patience: Duration,
    ) -> Task<'static, Result<Echo, NetError>> {
        let now = self.inner.now();
        let admitted = self.admits(Endpoint { ip: remote, port: 0 }, "icmp");
        if let Err(error) = admitted {
            return Box::pin(core::future::ready(Err(error)));
        }
        if !self.shared.ledger.keeps_pace(remote, now) {
            self.shared.ledger.note(remote.to_string(), "icmp".to_string(), Some(Why::Pace));
            return Box::pin(core::future::ready(Err(self.refusal())));
        }
        self.shared.ledger.sends(len, 1);
        self.inner.ping(remote, ttl, len, patience)
    }

    fn raw(&self, watch: RawWatch) -> Result<Rc<dyn Packets>, NetError> {
        self.admits(Endpoint { ip: watch.remote, port: 0 }, &format!("ip/{}", watch.protocol))?;
        let inner = self.inner.raw(watch)?;
        Ok(Rc::new(GuardedPackets { inner, shared: self.shared.clone(), clock: self.inner.clone() }))
    }

    fn own_address(&self, remote: IpAddr) -> Option<IpAddr> {
        self.inner.own_address(remote)
    }

    fn tls(&self) -> TlsGround {
        self.inner.tls()
    }

    fn platform(&self) -> &'static str {
        self.inner.platform()
    }
}

/// A connection whose bytes are counted.
struct Counted {
    stream: Box<dyn Stream>,
    ledger: Rc<Ledger>,
    clock: World,
}

impl Counted {
    fn spent(&self) -> Option<io::Error> {
        let refusal = NetError { kind: NetErrorKind::Refusal, at: self.clock.now() };
        self.ledger.broke().then(|| refusal.into())
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(refusal) = self.spent() {
            return Poll::Ready(Err(refusal));
        }
        let done = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(len)) = done {
            self.ledger.receives(len);
        }
        done
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refusal) = self.spent() {
            return Poll::Ready(Err(refusal));
        }
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(len)) = done {
            self.ledger.sends(len, 0);
        }
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Stream for Counted {
    fn ends(&self) -> (Endpoint, Endpoint) {
        self.stream.ends()
    }

    fn set_ttl(&self, ttl: u8) -> Result<(), NetError> {
        self.stream.set_ttl(ttl)
    }

    fn facts(&self) -> TcpFacts {
        self.stream.facts()
    }

    fn notices(&self) -> Vec<IcmpNotice> {
        self.stream.notices()
    }

    fn abort(self: Box<Self>) {
        self.stream.abort();
    }
}

struct CountedListener {
    listener: Box<dyn Listener>,
    ledger: Rc<Ledger>,
    clock: World,
}

impl Listener for CountedListener {
    fn local(&self) -> Endpoint {
        self.listener.local()
    }

    fn accept(&mut self) -> Task<'_, Result<Box<dyn Stream>, NetError>> {
        Box::pin(async {
            let stream = self.listener.accept().await?;
            let (ledger, clock) = (self.ledger.clone(), self.clock.clone());
            Ok(Box::new(Counted { stream, ledger, clock }) as Box<dyn Stream>)
        })
    }
}

struct GuardedDatagrams {
    inner: Rc<dyn Datagrams>,
    shared: Rc<Shared>,
    clock: World,
}

impl Shared {
    /// One datagram or packet.
    fn admits_packet(&self, remote: Endpoint, what: &str, now: Instant) -> Result<(), NetError> {
        let refusal = Err(NetError { kind: NetErrorKind::Refusal, at: now });
        if !self.admits(remote, what) {
            return refusal;
        }
        if !self.ledger.keeps_pace(remote.ip, now) {
            self.ledger.note(remote.ip.to_string(), what.to_string(), Some(Why::Pace));
            return refusal;
        }
        Ok(())
    }
}

impl Datagrams for GuardedDatagrams {
    fn local(&self) -> Endpoint {
        self.inner.local()
    }

    fn send_to(&self, bytes: &[u8], to: Endpoint, ttl: Option<u8>) -> Result<(), NetError> {
        self.shared.admits_packet(to, "udp", self.clock.now())?;
        self.shared.ledger.sends(bytes.len(), 1);
        self.inner.send_to(bytes, to, ttl)
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Datagram, NetError>> {
        let come = self.inner.poll_receive(context);
        if let Poll::Ready(Ok(datagram)) = &come {
            self.shared.ledger.receives(datagram.bytes.len());
        }
        come
    }

    fn notices(&self) -> Vec<IcmpNotice> {
        self.inner.notices()
    }
}

struct GuardedPackets {
    inner: Rc<dyn Packets>,
    shared: Rc<Shared>,
    clock: World,
}

/// Whom an IP packet is for.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)),
        _ => None,
    }
}

impl Packets for GuardedPackets {
    fn send(&self, packet: &[u8]) -> Result<(), NetError> {
        let now = self.clock.now();
        let ip = destination(packet).ok_or(NetError { kind: NetErrorKind::Refusal, at: now })?;
        self.shared.admits_packet(Endpoint { ip, port: 0 }, "raw", now)?;
        self.shared.ledger.sends(packet.len(), 1);
        self.inner.send(packet)
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<(Instant, Vec<u8>)> {
        let come = self.inner.poll_receive(context);
        if let Poll::Ready((_, packet)) = &come {
            self.shared.ledger.receives(packet.len());
        }
        come
    }
}
