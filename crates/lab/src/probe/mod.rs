//! Probes inside the lab: [`LabNet`] is a lab host as measurements see it, [`Bench`] a small world for tests.
//!
//! Time, chance and packets are the lab's own, so that the same seed gives the same measurement byte for
//! byte. A measurement runs as one program of its host: what it draws comes from that program's stream.

pub mod bench;
mod envelope;
mod lookup;

use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_model::Failure;
use okno_probe::Task;
use okno_probe::net::{
    self as world, Datagram, Datagrams, Dial, Echo, IcmpNotice, Listener, NetError, NetErrorKind, Packets,
    RawWatch, Stream, TcpFacts, TlsGround, UdpSetup,
};
use okno_wire::{Endpoint, Instant};

use crate::host::{PingAnswer, RawClaim};
use crate::net::{self, Net, RawSocket, TcpListener, TcpStream, UdpSocket};

pub use bench::{Bench, Server};
pub use envelope::{Envelope, Finished};

/// A host of the lab as the world of measurements.
#[derive(Clone)]
pub struct LabNet {
    net: Net,
    resolver: Option<Endpoint>,
    names: Option<Names>,
    tls: TlsGround,
}

/// Answers to names without packets.
pub type Names = Rc<dyn Fn(&str) -> Result<Vec<IpAddr>, Failure>>;

impl LabNet {
    /// The host of `net`, which asks `resolver` for names and trusts what `tls` trusts
    /// ([`crate::tls::ground`]).
    pub const fn new(net: Net, resolver: Option<Endpoint>, tls: TlsGround) -> Self {
        Self { net, resolver, names: None, tls }
    }

    /// The same with names that it need not ask for: a helper whose own network is none of the lab's.
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = Some(names);
        self
    }

    /// As measurements take it.
    pub fn world(self) -> okno_probe::World {
        Rc::new(self)
    }

    fn error(&self, kind: NetErrorKind) -> NetError {
        NetError { kind, at: self.net.now() }
    }
}

/// The lab's failure under the probe's name.
const fn told(error: net::NetError) -> NetError {
    let kind = match error.kind {
        net::NetErrorKind::Refused => NetErrorKind::Refused,
        net::NetErrorKind::Reset => NetErrorKind::Reset,
        net::NetErrorKind::TimedOut => NetErrorKind::TimedOut,
        net::NetErrorKind::Unreachable => NetErrorKind::HostUnreachable,
        net::NetErrorKind::NetworkUnreachable => NetErrorKind::NetworkUnreachable,
        net::NetErrorKind::InUse => NetErrorKind::InUse,
        net::NetErrorKind::Closed => NetErrorKind::Closed,
        net::NetErrorKind::TooLong => NetErrorKind::TooLong,
    };
    NetError { kind, at: error.at }
}

struct LabStream(TcpStream);

impl AsyncRead for LabStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_receive(context, bytes).map_err(|error| told(error).into())
    }
}

impl AsyncWrite for LabStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, bytes).map_err(|error| told(error).into())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown();
        Poll::Ready(Ok(()))
    }
}

impl Stream for LabStream {
    fn ends(&self) -> (Endpoint, Endpoint) {
        self.0.ends()
    }

    fn set_ttl(&self, ttl: u8) -> Result<(), NetError> {
        self.0.set_ttl(ttl);
        Ok(())
    }

    fn facts(&self) -> TcpFacts {
        let (rtt, retransmits, mss) = self.0.facts();
        TcpFacts {
            rtt,
            retransmits: Some(retransmits),
            unacknowledged: Some(self.0.unacknowledged()),
            mss: Some(mss),
        }
    }

    fn notices(&self) -> Vec<IcmpNotice> {
        self.0.notices()
    }

    fn abort(self: Box<Self>) {
        self.0.abort();
    }
}

struct LabListener {
    listener: TcpListener,
    local: Endpoint,
}

impl Listener for LabListener {
    fn local(&self) -> Endpoint {
        self.local
    }

    fn accept(&mut self) -> Task<'_, Result<Box<dyn Stream>, NetError>> {
        Box::pin(async {
            let stream = self.listener.accept().await.map_err(told)?;
            Ok(Box::new(LabStream(stream)) as Box<dyn Stream>)
        })
    }
}

struct LabDatagrams {
    socket: UdpSocket,
    local: Endpoint,
}

impl Datagrams for LabDatagrams {
    fn local(&self) -> Endpoint {
        self.local
    }

    fn send_to(&self, bytes: &[u8], to: Endpoint, ttl: Option<u8>) -> Result<(), NetError> {
        self.socket.send_with(bytes, to, ttl).map_err(told)
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Datagram, NetError>> {
        self.socket.poll_receive(context).map(|received| match received {
            Ok(datagram) => Ok(Datagram {
                at: datagram.at,
                from: datagram.from,
                bytes: datagram.bytes,
                ttl: Some(datagram.ttl),
            }),
            Err(error) => Err(told(error)),
        })
    }

    fn notices(&self) -> Vec<IcmpNotice> {
        self.socket.notices()
    }
}

struct LabPackets {
    net: Net,
    socket: RawSocket,
}

impl Packets for LabPackets {
    fn send(&self, packet: &[u8]) -> Result<(), NetError> {
        self.net.send_raw(packet.to_vec());
        Ok(())
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<(Instant, Vec<u8>)> {
        self.socket.poll_receive(context)
    }
}

impl world::Net for LabNet {
    fn now(&self) -> Instant {
        self.net.now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.net.fill_random(bytes);
    }

    fn sleep_until(&self, at: Instant) -> Task<'static, ()> {
        Box::pin(self.net.sleep_until(at))
    }

    fn spawn(&self, work: Task<'static, ()>) {
        self.net.spawn(|_| work);
    }

    fn connect(&self, how: Dial) -> Task<'static, Result<Box<dyn Stream>, NetError>> {
        let net = self.net.clone();
        Box::pin(async move {
            let shake = net.connect_with(how.remote, how.own_port, how.ttl);
            let stream = net.timeout(how.patience, shake).await.and_then(|done| done).map_err(told)?;
            Ok(Box::new(LabStream(stream)) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: Endpoint) -> Result<Box<dyn Listener>, NetError> {
        // A port of the lab is a port of all the host's addresses.
        if !local.ip.is_unspecified() && !self.net.addresses().contains(&local.ip) {
            return Err(self.error(NetErrorKind::NetworkUnreachable));
        }
        let listener = self.net.listen(local.port).map_err(told)?;
        let local = Endpoint { ip: local.ip, port: listener.port() };
        Ok(Box::new(LabListener { listener, local }))
    }

    fn udp(&self, setup: UdpSetup) -> Result<Rc<dyn Datagrams>, NetError> {
        if setup.local.is_some_and(|own| !own.is_unspecified() && !self.net.addresses().contains(&own)) {
            return Err(self.error(NetErrorKind::NetworkUnreachable));
        }
        let own = setup.peer.and_then(|peer| self.net.address_for(peer.ip));
        if setup.peer.is_some() && own.is_none() {
            return Err(self.error(NetErrorKind::NetworkUnreachable));
        }
        let socket = self.net.udp_bind(setup.port).map_err(told)?;
        if let Some(peer) = setup.peer {
            socket.set_peer(peer);
        }
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        let local = Endpoint { ip: setup.local.or(own).unwrap_or(unspecified), port: socket.port() };
        Ok(Rc::new(LabDatagrams { socket, local }))
    }

    fn lookup(&self, name: &str) -> Task<'static, Result<Vec<IpAddr>, Failure>> {
        if let Some(names) = &self.names {
            let found = name.parse().map_or_else(|_| names(name), |ip| Ok(vec![ip]));
            return Box::pin(core::future::ready(found));
        }
        let (net, resolver, name) = (self.net.clone(), self.resolver, name.to_owned());
        Box::pin(async move { lookup::lookup(&net, resolver, &name).await })
    }

    fn system_resolver(&self) -> Option<Endpoint> {
        self.resolver
    }

    fn ping(
        &self,
        remote: IpAddr,
        ttl: Option<u8>,
        len: usize,
        patience: Duration,
    ) -> Task<'static, Result<Echo, NetError>> {
        let net = self.net.clone();
        Box::pin(async move {
            let reply = net.ping(remote, ttl, len, patience).await.map_err(told)?;
            let reached = match reply.answer {
                PingAnswer::Reply => true,
                PingAnswer::TimeExceeded => false,
                PingAnswer::Unreachable(kind, code) => {
                    let no_route = matches!((remote.is_ipv4(), kind, code), (true, 3, 0) | (false, 1, 0));
                    let kind = if no_route {
                        NetErrorKind::NetworkUnreachable
                    } else {
                        NetErrorKind::HostUnreachable
                    };
                    return Err(NetError { kind, at: net.now() });
                }
            };
            Ok(Echo { from: reply.from, reached, rtt: reply.after, ttl: Some(reply.ttl) })
        })
    }

    fn raw(&self, watch: RawWatch) -> Result<Rc<dyn Packets>, NetError> {
        let socket = self.net.raw(RawClaim {
            protocol: watch.protocol,
            port: watch.own_port,
            remote: Some(watch.remote),
            takes: watch.take,
        });
        Ok(Rc::new(LabPackets { net: self.net.clone(), socket }))
    }

    fn own_address(&self, remote: IpAddr) -> Option<IpAddr> {
        self.net.address_for(remote)
    }

    fn tls(&self) -> TlsGround {
        self.tls.clone()
    }

    fn platform(&self) -> &'static str {
        "lab"
    }
}
