//! One non-blocking socket under tokio's watch, with control messages and the kernel's error queue.
//!
//! The error queue (`IP_RECVERR`, ip(7)) is the one place where an unprivileged program learns *who* sent an
//! ICMP error. A waiting error shows as `EPOLLERR`, which tokio counts neither as readable nor as writable,
//! and mio as the end of writing, for ever: only the interest in errors itself can be waited for repeatedly.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use okno_probe::net::{Endpoint, IcmpNotice, Instant};
use socket2::{Domain, SockAddr, Socket};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// Longest datagram.
const LONGEST: usize = 65_535;
/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` (linux/errqueue.h).
const ORIGINS: [u8; 2] = [2, 3];

/// What came.
pub(crate) struct Received {
    pub(crate) from: Option<Endpoint>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ttl: Option<u8>,
    /// when the kernel took it in
    pub(crate) at: Option<Instant>,
}

/// An entry of the error queue.
pub(crate) struct Trouble {
    /// errno that goes with it
    pub(crate) errno: i32,
    /// the ICMP message; `None` for errors of the own stack
    pub(crate) notice: Option<IcmpNotice>,
    /// the packet's own content, from the transport's payload on
    pub(crate) quoted: Vec<u8>,
}

/// The socket.
pub(crate) struct Kernel {
    fd: Rc<AsyncFd<Socket>>,
    error: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    let ip = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    Endpoint { ip, port: address.port() }
}

pub(crate) fn socket_address(end: Endpoint) -> SocketAddr {
    SocketAddr::new(end.ip, end.port)
}

pub(crate) fn domain(ip: IpAddr) -> Domain {
    if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

/// Sets the TTL or hop limit of what a socket sends.
pub(crate) fn set_ttl(socket: &Socket, v4: bool, ttl: u8) -> io::Result<()> {
    if v4 { socket.set_ttl_v4(u32::from(ttl)) } else { socket.set_unicast_hops_v6(u32::from(ttl)) }
}

/// Asks for the TTL of what comes and for the error queue.
pub(crate) fn tell_more(socket: &Socket, v4: bool) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    if v4 {
        setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    }
    Ok(())
}

fn of_storage(address: &SockaddrStorage) -> Option<Endpoint> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(Endpoint { ip: IpAddr::V4(v4.ip()), port: v4.port() });
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(endpoint(SocketAddr::new(IpAddr::V6(v6.ip()), v6.port())))
}

fn small(ttl: i32) -> Option<u8> {
    u8::try_from(ttl).ok()
}

impl Kernel {
    /// Takes a socket under watch.
    #[expect(
        deprecated,
        reason = "a Socket owns its descriptor for as long as it lives; the successor is unsafe"
    )]
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let fd = AsyncFd::with_interest(socket, Interest::READABLE | Interest::ERROR)?;
        Ok(Self { fd: Rc::new(fd), error: RefCell::new(None) })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Socket {
        self.fd.get_ref()
    }

    /// Sends, without waiting.
    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket().send_to(bytes, &SockAddr::from(to)).map(|_| ())
    }

    /// Sends to the peer that the socket is connected to.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket().send(bytes).map(|_| ())
    }

    fn receive(&self) -> io::Result<Received> {
        let mut bytes = vec![0; LONGEST];
        let mut control = cmsg_space!(libc::c_int, libc::timespec);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<SockaddrStorage>(
            self.fd.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let from = message.address.as_ref().and_then(of_storage);
        let (mut ttl, mut at) = (None, None);
        for control in message.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                    ttl = small(value)
                }
                ControlMessageOwned::ScmTimestampns(time) => {
                    let since = core::time::Duration::from(time);
                    at = u64::try_from(since.as_nanos()).ok().map(Instant::from_nanos);
                }
                _ => {}
            }
        }
        let len = message.bytes;
        bytes.truncate(len);
        bytes.shrink_to_fit();
        Ok(Received { from, bytes, ttl, at })
    }

    /// The next entry of the error queue, now.
    pub(crate) fn trouble(&self, now: Instant) -> Option<Trouble> {
        trouble_of(self.socket(), now)
    }

    /// The next message. `Poll::Pending` also when only the error queue has changed: look into it first.
    /// An error of the socket itself comes as an error.
    pub(crate) fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<Received>> {
        loop {
            let Poll::Ready(guard) = self.fd.poll_read_ready(context) else { return Poll::Pending };
            match self.receive() {
                Err(error) if super::errors::waits(&error) => guard?.clear_ready(),
                done => return Poll::Ready(done),
            }
        }
    }

    /// Arms the wake-up for errors; ready when the queue may hold something new.
    pub(crate) fn poll_trouble(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut error = self.error.borrow_mut();
        let wait = error.get_or_insert_with(|| {
            let fd = self.fd.clone();
            Box::pin(async move {
                if let Ok(mut guard) = fd.ready(Interest::ERROR).await {
                    guard.clear_ready_matching(Ready::ERROR);
                } else {
                    core::future::pending::<()>().await; // the runtime ends
                }
            })
        });
        let done = wait.as_mut().poll(context);
        if done.is_ready() {
            *error = None;
        }
        done
    }
}

/// The next entry of a socket's error queue, now.
pub(crate) fn trouble_of(socket: &impl AsRawFd, now: Instant) -> Option<Trouble> {
    let mut bytes = vec![0; 1_500];
    let mut control =
        cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6, libc::c_int, libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let mut found = Trouble { errno: 0, notice: None, quoted: Vec::new() };
    for control in message.cmsgs().into_iter().flatten() {
        let (extended, from) = match control {
            ControlMessageOwned::Ipv4RecvErr(extended, from) => {
                let ip = from.map(|a| IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(a.sin_addr.s_addr))));
                (extended, ip)
            }
            ControlMessageOwned::Ipv6RecvErr(extended, from) => {
                (extended, from.map(|a| IpAddr::V6(Ipv6Addr::from(a.sin6_addr.s6_addr))))
            }
            _ => continue,
        };
        found.errno = i32::try_from(extended.ee_errno).unwrap_or_default();
        if let (Some(from), true) = (from, ORIGINS.contains(&extended.ee_origin)) {
            found.notice = Some(IcmpNotice { at: now, from, kind: extended.ee_type, code: extended.ee_code });
        }
    }
    let len = message.bytes;
    bytes.truncate(len);
    found.quoted = bytes;
    Some(found)
}
