//! UDP ports.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::task::{Context, Poll};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use okno_probe::net::{Datagram, Datagrams, Endpoint, IcmpNotice, NetError, NetErrorKind, UdpSetup};
use socket2::{Protocol, SockAddr, Socket, Type};

use crate::errors;
use crate::kernel::{Kernel, Trouble, domain, endpoint, set_ttl, socket_address, tell_more};
use crate::net::Shared;

/// The kernel's default (ip-sysctl `ip_default_ttl`).
const DEFAULT_TTL: u8 = 64;
/// How often a send is tried again when it only told of an earlier error.
const SENDS: usize = 4;

struct KernelDatagrams {
    kernel: Kernel,
    local: Endpoint,
    peer: Option<Endpoint>,
    ttl: Cell<u8>,
    default_ttl: u8,
    notices: RefCell<Vec<IcmpNotice>>,
    failed: Cell<Option<NetError>>,
    shared: Rc<Shared>,
}

/// Opens a UDP port.
pub(crate) fn udp(shared: Rc<Shared>, setup: UdpSetup) -> Result<Rc<dyn Datagrams>, NetError> {
    match open(shared.clone(), setup) {
        Ok(port) => Ok(Rc::new(port)),
        Err(error) => Err(errors::at(shared.now(), &error)),
    }
}

fn open(shared: Rc<Shared>, setup: UdpSetup) -> io::Result<KernelDatagrams> {
    let v4 = match (setup.local, setup.peer) {
        (Some(ip), _) => ip.is_ipv4(),
        (None, Some(peer)) => peer.ip.is_ipv4(),
        (None, None) => true,
    };
    let any = if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let ip = setup.local.unwrap_or(any);
    let socket = Socket::new(domain(ip), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if !v4 {
        socket.set_only_v6(true)?;
    }
    tell_more(&socket, v4)?;
    socket.bind(&SockAddr::from(socket_address(Endpoint { ip, port: setup.port })))?;
    if let Some(peer) = setup.peer {
        socket.connect(&SockAddr::from(socket_address(peer)))?;
    }
    let default_ttl = match v4 {
        true => socket.ttl_v4()?,
        false => socket.unicast_hops_v6()?,
    };
    let default_ttl = u8::try_from(default_ttl).unwrap_or(DEFAULT_TTL);
    let local = socket.local_addr()?.as_socket().map(endpoint);
    Ok(KernelDatagrams {
        local: local.ok_or(io::ErrorKind::AddrNotAvailable)?,
        kernel: Kernel::new(socket)?,
        peer: setup.peer,
        ttl: Cell::new(default_ttl),
        default_ttl,
        notices: RefCell::default(),
        failed: Cell::new(None),
        shared,
    })
}

impl KernelDatagrams {
    /// Empties the error queue. A connected port fails by "destination unreachable"; "time exceeded" is a
    /// notice alone, as programs without the error queue never learn of it (udp(7)).
    fn drain(&self) {
        while let Some(Trouble { errno, notice, .. }) = self.kernel.trouble(self.shared.now()) {
            let expired = notice.is_some_and(|notice| notice.is_time_exceeded());
            self.notices.borrow_mut().extend(notice);
            if self.peer.is_some() && !expired && errno != 0 && self.failed.get().is_none() {
                let error = io::Error::from_raw_os_error(errno);
                self.failed.set(Some(errors::at(self.shared.now(), &error)));
            }
        }
    }

    fn put(&self, bytes: &[u8], to: Endpoint, ttl: Option<u8>) -> io::Result<()> {
        let ttl = ttl.unwrap_or(self.default_ttl);
        if self.ttl.replace(ttl) != ttl {
            set_ttl(self.kernel.socket(), self.local.ip.is_ipv4(), ttl)?;
        }
        if self.peer.is_some() {
            return self.kernel.send(bytes);
        }
        self.kernel.send_to(bytes, socket_address(to))
    }
}

impl Datagrams for KernelDatagrams {
    fn local(&self) -> Endpoint {
        self.local
    }

    fn send_to(&self, bytes: &[u8], to: Endpoint, ttl: Option<u8>) -> Result<(), NetError> {
        let now = self.shared.now();
        if self.peer.is_some_and(|peer| peer != to) {
            return Err(NetError { kind: NetErrorKind::Local, at: now });
        }
        let mut last = NetErrorKind::Local;
        for _ in 0..SENDS {
            self.drain();
            match self.put(bytes, to, ttl) {
                Ok(()) => return Ok(()),
                // a full send buffer: lost, as on any path
                Err(error) if errors::waits(&error) => return Ok(()),
                Err(error) => last = errors::kind(&error),
            }
            // an earlier datagram's ICMP error shows here once, and this one was not sent
            if !matches!(last, NetErrorKind::Refused | NetErrorKind::HostUnreachable) {
                break;
            }
        }
        Err(NetError { kind: last, at: now })
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Datagram, NetError>> {
        loop {
            match self.kernel.poll_receive(context) {
                Poll::Ready(Ok(come)) => {
                    let Some(from) = come.from.or(self.peer) else { continue };
                    let at = self.shared.moment(come.at);
                    return Poll::Ready(Ok(Datagram { at, from, bytes: come.bytes, ttl: come.ttl }));
                }
                // the errno of something in the error queue, which is read below
                Poll::Ready(Err(_)) => self.drain(),
                Poll::Pending => {
                    self.drain();
                    if let Some(error) = self.failed.take() {
                        return Poll::Ready(Err(error));
                    }
                    if self.kernel.poll_trouble(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn notices(&self) -> Vec<IcmpNotice> {
        self.drain();
        self.notices.take()
    }
}
