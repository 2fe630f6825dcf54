//! TCP connections and listening ports.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_probe::Task;
use okno_probe::net::{Dial, Endpoint, IcmpNotice, Listener, NetError, NetErrorKind, Stream, TcpFacts};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::errors;
use crate::icmp::{Ear, Inbox};
use crate::kernel::{endpoint, socket_address};
use crate::net::Shared;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

struct KernelStream {
    tcp: TcpStream,
    ends: (Endpoint, Endpoint),
    shared: Rc<Shared>,
    inbox: Option<Inbox>,
}

fn set_ttl(tcp: SockRef<'_>, remote: Endpoint, ttl: u8) -> io::Result<()> {
    if remote.ip.is_ipv4() { tcp.set_ttl_v4(u32::from(ttl)) } else { tcp.set_unicast_hops_v6(u32::from(ttl)) }
}

fn prepare(how: &Dial) -> io::Result<TcpSocket> {
    let v4 = how.remote.ip.is_ipv4();
    let socket = if v4 { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(port) = how.own_port {
        // A port that was just used lingers in TIME_WAIT; a test that asks for it means it.
        socket.set_reuseaddr(true)?;
        let any = if v4 { "0.0.0.0:0" } else { "[::]:0" };
        let mut local: core::net::SocketAddr = any.parse().expect("a constant address");
        local.set_port(port);
        socket.bind(local)?;
    }
    if let Some(ttl) = how.ttl {
        set_ttl(SockRef::from(&socket), how.remote, ttl)?;
    }
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Opens a connection.
pub(crate) async fn connect(shared: Rc<Shared>, how: Dial) -> Result<Box<dyn Stream>, NetError> {
    let failed = |error: &io::Error| {
        let errno = error.raw_os_error();
        let mut error = errors::at(shared.now(), error);
        if error.kind == NetErrorKind::Reset {
            error.kind = NetErrorKind::Refused; // a reset in answer to the SYN, by whatever name
        }
        if how.own_port.is_some() && errno == Some(nix::libc::EADDRNOTAVAIL) {
            error.kind = NetErrorKind::InUse; // the same two ends are connected already (connect(2))
        }
        error
    };
    let socket = prepare(&how).map_err(|error| failed(&error))?;
    let work = tokio::time::timeout(how.patience, socket.connect(socket_address(how.remote)));
    match work.await {
        Ok(Ok(tcp)) => KernelStream::wrap(tcp, how.remote, shared.clone()).map_err(|error| failed(&error)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(NetError { kind: NetErrorKind::TimedOut, at: shared.now() }),
    }
}

impl KernelStream {
    fn wrap(tcp: TcpStream, remote: Endpoint, shared: Rc<Shared>) -> io::Result<Box<dyn Stream>> {
        let ends = (endpoint(tcp.local_addr()?), remote);
        let inbox = shared.ear().map(|ear: &Ear| ear.listen_for(6, ends.0.port, ends.1));
        Ok(Box::new(Self { tcp, ends, shared, inbox }))
    }
}

impl AsyncRead for KernelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(buf);
        let done = Pin::new(&mut self.tcp).poll_read(cx, &mut into);
        done.map(|result| match result {
            Ok(()) => Ok(into.filled().len()),
            Err(error) => Err(errors::of_stream(self.shared.now(), &error)),
        })
    }
}

impl AsyncWrite for KernelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.tcp).poll_write(cx, buf);
        done.map_err(|error| errors::of_stream(self.shared.now(), &error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.tcp).poll_flush(cx);
        done.map_err(|error| errors::of_stream(self.shared.now(), &error))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.tcp).poll_shutdown(cx) {
            // the other side has already closed: there is nothing left to say
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => done.map_err(|error| errors::of_stream(self.shared.now(), &error)),
        }
    }
}

impl Stream for KernelStream {
    fn ends(&self) -> (Endpoint, Endpoint) {
        self.ends
    }

    fn set_ttl(&self, ttl: u8) -> Result<(), NetError> {
        set_ttl(SockRef::from(&self.tcp), self.ends.1, ttl)
            .map_err(|error| errors::at(self.shared.now(), &error))
    }

    fn facts(&self) -> TcpFacts {
        let mut facts =
            self.shared.diag().map(|diag| diag.facts(self.ends.0, self.ends.1)).unwrap_or_default();
        if facts.mss.is_none() {
            facts.mss = SockRef::from(&self.tcp).tcp_mss().ok();
        }
        facts
    }

    fn notices(&self) -> Vec<IcmpNotice> {
        self.inbox.as_ref().map(Inbox::take).unwrap_or_default()
    }

    fn abort(self: Box<Self>) {
        // SO_LINGER of 0 turns the close into a reset (socket(7))
        let _ = SockRef::from(&self.tcp).set_linger(Some(core::time::Duration::ZERO));
    }
}

struct KernelListener {
    tcp: TcpListener,
    local: Endpoint,
    shared: Rc<Shared>,
}

/// Opens a listening port.
pub(crate) fn listen(shared: Rc<Shared>, local: Endpoint) -> Result<Box<dyn Listener>, NetError> {
    let open = || -> io::Result<KernelListener> {
        let v4 = local.ip.is_ipv4();
        let socket = if v4 { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !v4 {
            SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.set_reuseaddr(true)?;
        socket.bind(socket_address(local))?;
        let tcp = socket.listen(BACKLOG)?;
        let local = endpoint(tcp.local_addr()?);
        Ok(KernelListener { tcp, local, shared: shared.clone() })
    };
    match open() {
        Ok(listener) => Ok(Box::new(listener)),
        Err(error) => Err(errors::at(shared.now(), &error)),
    }
}

impl Listener for KernelListener {
    fn local(&self) -> Endpoint {
        self.local
    }

    fn accept(&mut self) -> Task<'_, Result<Box<dyn Stream>, NetError>> {
        Box::pin(async {
            let failed = |error: io::Error| errors::at(self.shared.now(), &error);
            let (tcp, from) = self.tcp.accept().await.map_err(failed)?;
            let _ = tcp.set_nodelay(true);
            KernelStream::wrap(tcp, endpoint(from), self.shared.clone()).map_err(failed)
        })
    }
}
