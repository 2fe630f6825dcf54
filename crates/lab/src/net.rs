//! What a program on a host may do: connect, listen, send, wait, draw.
//!
//! The handle is cheap to clone and belongs to one host. Every failure says what it was and when, because
//! what a client observes is the point of the lab. Streams also speak `futures`' `AsyncRead` and
//! `AsyncWrite`, so that libraries written against those run here.

use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::net::IpAddr;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_probe::net::IcmpNotice;
use okno_wire::{Endpoint, Instant};
use smoltcp::socket::tcp::State;

use crate::host::{Datagram, Host, PingReply, RawClaim};
use crate::world::queue::Event;
use crate::world::{Core, NodeId, Wires, chance};

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetErrorKind {
    /// the other side does not listen: a reset while connecting, ICMP port unreachable
    Refused,
    /// a reset
    Reset,
    /// no answer in time
    TimedOut,
    /// ICMP says that the host cannot be reached
    Unreachable,
    /// ICMP says that there is no route, or the host has no address of that family
    NetworkUnreachable,
    /// the port is taken
    InUse,
    /// the connection was closed before all that was expected had come
    Closed,
    /// more bytes than the caller allowed
    TooLong,
}

/// A failure and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} at {at}")]
pub struct NetError {
    /// what
    pub kind: NetErrorKind,
    /// when the host learnt of it
    pub at: Instant,
}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> Self {
        let kind = match error.kind {
            NetErrorKind::Refused => io::ErrorKind::ConnectionRefused,
            NetErrorKind::Reset => io::ErrorKind::ConnectionReset,
            NetErrorKind::TimedOut => io::ErrorKind::TimedOut,
            NetErrorKind::Unreachable => io::ErrorKind::HostUnreachable,
            NetErrorKind::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
            NetErrorKind::InUse => io::ErrorKind::AddrInUse,
            NetErrorKind::Closed => io::ErrorKind::UnexpectedEof,
            NetErrorKind::TooLong => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A program's result, once there is one. Also a future of it.
#[derive(Debug)]
pub struct Handle<T> {
    slot: Rc<RefCell<Outcome<T>>>,
}

#[derive(Debug)]
struct Outcome<T> {
    result: Option<T>,
    ended: bool,
    waker: Option<Waker>,
}

impl<T> Handle<T> {
    /// Whether the program has ended.
    pub fn has_ended(&self) -> bool {
        self.slot.borrow().ended
    }

    /// The result; `None` while the program runs and after it was taken.
    pub fn take(&self) -> Option<T> {
        self.slot.borrow_mut().result.take()
    }
}

impl<T> Future for Handle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A host's network, as its programs see it.
#[derive(Clone)]
pub struct Net {
    core: Rc<RefCell<Core>>,
    node: NodeId,
}

impl Net {
    pub(crate) const fn new(core: Rc<RefCell<Core>>, node: NodeId) -> Self {
        Self { core, node }
    }

    fn with<T>(&self, body: impl FnOnce(&mut Host, &mut Wires, NodeId) -> T) -> T {
        let mut core = self.core.borrow_mut();
        let (host, wires) = core.host(self.node);
        body(host, wires, self.node)
    }

    fn error(&self, kind: NetErrorKind) -> NetError {
        NetError { kind, at: self.now() }
    }

    /// The host.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.core.borrow().wires.now
    }

    /// The host's addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.with(|host, _, _| host.setup.addresses.clone())
    }

    /// The host's address of the same family as `remote`.
    pub fn address_for(&self, remote: IpAddr) -> Option<IpAddr> {
        self.with(|host, _, _| host.address_for(remote))
    }

    /// Random bytes from the stream of the program that runs.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        chance::fill(bytes);
    }

    /// `N` random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        chance::fill(&mut bytes);
        bytes
    }

    /// A random number below `limit` (0 when that is 0).
    pub fn below(&self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { chance::next_u64() % limit }
    }

    /// Starts another program on this host.
    pub fn spawn<F, T>(&self, program: impl FnOnce(Self) -> F) -> Handle<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let slot = Rc::new(RefCell::new(Outcome { result: None, ended: false, waker: None }));
        let shared = slot.clone();
        let seed = self.with(|host, _, _| host.program_seed());
        // What the program draws before its first await is its own as well.
        let mut building = chance::Stream::new(chance::hash(seed, &[1]));
        let future = chance::scope(&mut building, || program(self.clone()));
        let task = async move {
            let result = future.await;
            let mut slot = shared.borrow_mut();
            slot.result = Some(result);
            slot.ended = true;
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        };
        let mut core = self.core.borrow_mut();
        core.spawned.push((self.node, Box::pin(task), seed));
        Handle { slot }
    }

    /// Waits for `span`.
    pub fn sleep(&self, span: Duration) -> Sleep {
        self.sleep_until(self.now() + span)
    }

    /// Waits until `at`.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { core: self.core.clone(), at, set: false }
    }

    /// Waits for `work` for at most `span`.
    pub async fn timeout<F: Future>(&self, span: Duration, work: F) -> Result<F::Output, NetError> {
        let mut sleep = self.sleep(span);
        let mut work = pin!(work);
        let done = poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            Pin::new(&mut sleep).poll(context).map(|()| None)
        });
        done.await.ok_or_else(|| self.error(NetErrorKind::TimedOut))
    }

    /// Opens a TCP connection.
    pub async fn connect(&self, remote: Endpoint) -> Result<TcpStream, NetError> {
        self.connect_with(remote, None, None).await
    }

    /// Opens a TCP connection from a chosen port, with a chosen TTL.
    pub async fn connect_with(
        &self,
        remote: Endpoint,
        own_port: Option<u16>,
        ttl: Option<u8>,
    ) -> Result<TcpStream, NetError> {
        let index = self
            .with(|host, wires, node| host.tcp_connect(node, wires, own_port, remote, ttl))
            .map_err(|kind| self.error(kind))?;
        let stream = TcpStream { net: self.clone(), index };
        poll_fn(|context| {
            self.with(|host, _, _| {
                let Some(connection) = host.tcp.at(index) else {
                    unreachable!("a held connection exists until it is released")
                };
                if let Some(failure) = connection.failure {
                    return Poll::Ready(Err(failure));
                }
                if connection.established.is_some() {
                    return Poll::Ready(Ok(()));
                }
                connection.writer = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await?;
        Ok(stream)
    }

    /// Opens a TCP port on all of the host's addresses; 0 takes a free one.
    pub fn listen(&self, port: u16) -> Result<TcpListener, NetError> {
        let taken = |host: &Host, port: u16| host.tcp.listeners.contains_key(&port);
        let free = || self.with(|host, _, _| host.ephemeral(taken));
        let port = if port == 0 { free().ok_or_else(|| self.error(NetErrorKind::InUse))? } else { port };
        self.with(|host, _, _| host.tcp_listen(port, 1_024)).map_err(|kind| self.error(kind))?;
        Ok(TcpListener { net: self.clone(), port })
    }

    /// Opens a UDP port; 0 takes a free one.
    pub fn udp_bind(&self, port: u16) -> Result<UdpSocket, NetError> {
        let bound = self.with(|host, _, _| {
            let taken = |host: &Host, port: u16| host.udp.contains_key(&port);
            let port = match port {
                0 => host.ephemeral(taken)?,
                port if taken(host, port) => return None,
                port => port,
            };
            host.udp.insert(port, crate::host::UdpPort::default());
            Some(port)
        });
        let port = bound.ok_or_else(|| self.error(NetErrorKind::InUse))?;
        Ok(UdpSocket { net: self.clone(), port })
    }

    /// Opens a UDP port that talks to one end alone and learns of ICMP errors.
    pub fn udp_connect(&self, remote: Endpoint) -> Result<UdpSocket, NetError> {
        let socket = self.udp_bind(0)?;
        socket.set_peer(remote);
        Ok(socket)
    }

    /// An echo request of `len` bytes and its answer; `ttl` finds routers on the way.
    pub async fn ping(
        &self,
        remote: IpAddr,
        ttl: Option<u8>,
        len: usize,
        patience: Duration,
    ) -> Result<PingReply, NetError> {
        let key = self.with(|host, wires, node| host.ping(node, wires, remote, ttl, len));
        let key = key.ok_or_else(|| self.error(NetErrorKind::NetworkUnreachable))?;
        let answer = poll_fn(|context| {
            self.with(|host, _, _| match host.pings.pending.get_mut(&key) {
                Some(pending) => match pending.answer {
                    Some(answer) => Poll::Ready(answer),
                    None => {
                        pending.waker = Some(context.waker().clone());
                        Poll::Pending
                    }
                },
                None => Poll::Pending,
            })
        });
        let result = self.timeout(patience, answer).await;
        self.with(|host, _, _| host.pings.pending.remove(&key));
        result
    }

    /// Takes packets out of the host's stack; they can be sent without a claim by [`Net::send_raw`].
    pub fn raw(&self, claim: RawClaim) -> RawSocket {
        let index = self.with(|host, _, _| {
            host.raw.next += 1;
            host.raw.sockets.insert(host.raw.next, (claim, Default::default()));
            host.raw.next
        });
        RawSocket { net: self.clone(), index }
    }

    /// Puts a whole IP packet on the wire as it is.
    pub fn send_raw(&self, packet: Vec<u8>) {
        self.with(|host, wires, node| host.send(node, wires, packet));
    }

    /// TCP connections that the host holds, in whatever state.
    pub fn tcp_connections(&self) -> usize {
        self.with(|host, _, _| host.tcp.len())
    }
}

/// Waits; see [`Net::sleep`].
pub struct Sleep {
    core: Rc<RefCell<Core>>,
    at: Instant,
    set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut core = self.core.borrow_mut();
        if core.wires.now >= self.at {
            return Poll::Ready(());
        }
        if !self.set {
            core.wires.queue.push(self.at, Event::Wake(context.waker().clone()));
        }
        drop(core);
        self.set = true;
        Poll::Pending
    }
}

/// A TCP connection. Dropping it closes it: with a FIN, or a reset when bytes were left unread.
pub struct TcpStream {
    net: Net,
    index: u32,
}

impl TcpStream {
    fn with<T>(&self, body: impl FnOnce(&mut Host, &mut Wires, NodeId) -> T) -> T {
        self.net.with(body)
    }

    /// Own end and remote end.
    pub fn ends(&self) -> (Endpoint, Endpoint) {
        self.with(|host, _, _| {
            host.tcp.at(self.index).expect("a held connection exists until it is released").ends
        })
    }

    /// Sets the TTL of what is sent from now on.
    pub fn set_ttl(&self, ttl: u8) {
        self.with(|host, _, _| {
            if let Some(connection) = host.tcp.at(self.index) {
                connection.socket().set_hop_limit(Some(ttl.max(1)));
            }
        });
    }

    /// Bytes that were sent and are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.with(|host, _, _| host.tcp.at(self.index).map_or(0, |c| c.socket().send_queue()))
    }

    /// Smoothed round-trip time, segments sent again, segment size.
    pub fn facts(&self) -> (Option<Duration>, u32, u32) {
        self.with(|host, _, _| host.tcp.at(self.index).map_or((None, 0, 0), |c| c.congestion.facts()))
    }

    /// Takes the ICMP errors about this connection that came since the last call.
    pub fn notices(&self) -> Vec<IcmpNotice> {
        self.with(|host, _, _| {
            host.tcp.at(self.index).map(|c| core::mem::take(&mut c.notices)).unwrap_or_default()
        })
    }

    /// Takes what has come; 0 at the end of the stream.
    pub fn poll_receive(&self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, NetError>> {
        let index = self.index;
        self.with(|host, wires, node| {
            let connection = host.tcp.at(index).expect("a held connection exists until it is released");
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if connection.socket().can_recv() {
                let taken = connection.socket().recv_slice(bytes).unwrap_or(0);
                host.tcp_drive(node, wires, index, None);
                return Poll::Ready(Ok(taken));
            }
            if let Some(failure) = connection.failure {
                return Poll::Ready(Err(failure));
            }
            if !connection.socket().may_recv() {
                return Poll::Ready(Ok(0));
            }
            connection.reader = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Gives bytes to the stack; says how many it took.
    pub fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, NetError>> {
        let index = self.index;
        self.with(|host, wires, node| {
            let now = wires.now;
            let connection = host.tcp.at(index).expect("a held connection exists until it is released");
            if let Some(failure) = connection.failure {
                return Poll::Ready(Err(failure));
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if connection.socket().can_send() {
                let taken = connection.socket().send_slice(bytes).unwrap_or(0);
                host.tcp_drive(node, wires, index, None);
                return Poll::Ready(Ok(taken));
            }
            if !connection.socket().may_send() {
                return Poll::Ready(Err(NetError { kind: NetErrorKind::Closed, at: now }));
            }
            connection.writer = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Reads once; 0 at the end of the stream.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, NetError> {
        poll_fn(|context| self.poll_receive(context, bytes)).await
    }

    /// Fills `bytes`; [`NetErrorKind::Closed`] when the stream ends before.
    pub async fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), NetError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read(&mut bytes[filled..]).await? {
                0 => return Err(self.net.error(NetErrorKind::Closed)),
                taken => filled += taken,
            }
        }
        Ok(())
    }

    /// Reads to the end of the stream, at most `limit` bytes ([`NetErrorKind::TooLong`]).
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, NetError> {
        let mut all = Vec::new();
        let mut chunk = vec![0; 4_096];
        loop {
            match self.read(&mut chunk).await? {
                0 => return Ok(all),
                taken if all.len() + taken > limit => return Err(self.net.error(NetErrorKind::TooLong)),
                taken => all.extend_from_slice(&chunk[..taken]),
            }
        }
    }

    /// Gives all bytes to the stack.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), NetError> {
        while !bytes.is_empty() {
            let taken = poll_fn(|context| self.poll_send(context, bytes)).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Ends the own way with a FIN; reading goes on.
    pub fn shutdown(&self) {
        self.with(|host, wires, node| {
            if let Some(connection) = host.tcp.at(self.index) {
                connection.socket().close();
                host.tcp_drive(node, wires, self.index, None);
            }
        });
    }

    /// Waits until the connection has failed or the other side has closed its way; bytes stay unread.
    pub async fn ended(&self) -> Option<NetErrorKind> {
        poll_fn(|context| {
            self.with(|host, _, _| {
                let connection =
                    host.tcp.at(self.index).expect("a held connection exists until it is released");
                if let Some(failure) = connection.failure {
                    return Poll::Ready(Some(failure.kind));
                }
                if !matches!(connection.state(), State::Established | State::FinWait1 | State::FinWait2) {
                    return Poll::Ready(None);
                }
                connection.reader = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await
    }

    /// Ends the connection with a reset.
    pub fn abort(self) {
        self.with(|host, wires, node| host.tcp_release(node, wires, self.index, true));
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.with(|host, wires, node| host.tcp_release(node, wires, self.index, false));
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_receive(context, bytes).map_err(io::Error::from)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, bytes).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}

/// A listening port. Dropping it closes the port.
pub struct TcpListener {
    net: Net,
    port: u16,
}

impl TcpListener {
    /// The own port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The next connection whose handshake is done.
    pub async fn accept(&mut self) -> Result<TcpStream, NetError> {
        let index = poll_fn(|context| {
            self.net.with(|host, wires, _| {
                let Some(listener) = host.tcp.listeners.get_mut(&self.port) else {
                    return Poll::Ready(Err(NetError { kind: NetErrorKind::Closed, at: wires.now }));
                };
                if let Some(index) = listener.ready.pop_front() {
                    return Poll::Ready(Ok(index));
                }
                listener.waker = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await?;
        Ok(TcpStream { net: self.net.clone(), index })
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.net.with(|host, wires, node| host.tcp_unlisten(node, wires, self.port));
    }
}

/// A UDP port. Dropping it closes the port.
pub struct UdpSocket {
    net: Net,
    port: u16,
}

impl UdpSocket {
    /// The own port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on only datagrams and ICMP errors of this end count.
    pub fn set_peer(&self, remote: Endpoint) {
        self.net.with(|host, _, _| {
            if let Some(port) = host.udp.get_mut(&self.port) {
                port.peer = Some(remote);
            }
        });
    }

    /// Sends a datagram; in fragments when it is larger than the path takes.
    pub fn send_to(&self, bytes: &[u8], to: Endpoint) -> Result<(), NetError> {
        self.send_with(bytes, to, None)
    }

    /// Sends a datagram with a chosen TTL.
    pub fn send_with(&self, bytes: &[u8], to: Endpoint, ttl: Option<u8>) -> Result<(), NetError> {
        self.net
            .with(|host, wires, node| host.udp_send(node, wires, (self.port, to), ttl, bytes))
            .ok_or_else(|| self.net.error(NetErrorKind::NetworkUnreachable))
    }

    /// Takes the ICMP errors about datagrams of this port that came since the last call.
    pub fn notices(&self) -> Vec<IcmpNotice> {
        self.net.with(|host, _, _| {
            host.udp.get_mut(&self.port).map(|p| core::mem::take(&mut p.notices)).unwrap_or_default()
        })
    }

    /// The next datagram, or the ICMP error about one that a connected port sent.
    pub fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Datagram, NetError>> {
        self.net.with(|host, _, _| {
            let port = host.udp.get_mut(&self.port).expect("a bound port exists until it is dropped");
            if let Some(datagram) = port.queue.pop_front() {
                return Poll::Ready(Ok(datagram));
            }
            if let Some(failure) = port.failure.take() {
                return Poll::Ready(Err(failure));
            }
            port.reader = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// The next datagram; see [`Self::poll_receive`].
    pub async fn receive(&self) -> Result<Datagram, NetError> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// The next datagram within `patience`.
    pub async fn receive_for(&self, patience: Duration) -> Result<Datagram, NetError> {
        self.net.timeout(patience, self.receive()).await?
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.net.with(|host, _, _| host.udp.remove(&self.port));
    }
}

/// Packets taken out of the host's stack; see [`Net::raw`].
pub struct RawSocket {
    net: Net,
    index: u32,
}

impl RawSocket {
    /// The next packet, whole, and when it came.
    pub fn poll_receive(&self, context: &mut Context<'_>) -> Poll<(Instant, Vec<u8>)> {
        self.net.with(|host, _, _| {
            let (_, socket) =
                host.raw.sockets.get_mut(&self.index).expect("a raw socket exists until it is dropped");
            if let Some(packet) = socket.queue.pop_front() {
                return Poll::Ready(packet);
            }
            socket.reader = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// The next packet; see [`Self::poll_receive`].
    pub async fn receive(&self) -> (Instant, Vec<u8>) {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// The next packet within `patience`.
    pub async fn receive_for(&self, patience: Duration) -> Result<(Instant, Vec<u8>), NetError> {
        self.net.timeout(patience, self.receive()).await
    }
}

impl Drop for RawSocket {
    fn drop(&mut self) {
        self.net.with(|host, _, _| host.raw.sockets.remove(&self.index));
    }
}
