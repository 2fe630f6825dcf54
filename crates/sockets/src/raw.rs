//! Whole IP packets, with CAP_NET_RAW.
//!
//! Packets are taken from the link's side (packet(7), `SOCK_DGRAM`), before the stack reassembles fragments.
//! The kernel may have merged segments of one flow by then (GRO): sizes of packets are upper bounds there.
//! So that the stack does not answer packets of ours with resets, `take` holds the port with a socket whose
//! filter drops everything: the stack finds an owner, and the owner hears nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::task::{Context, Poll};
use std::io;
use std::rc::Rc;

use nix::libc;
use okno_probe::net::{Endpoint, Instant, NetError, NetErrorKind, Packets, RawWatch};
use okno_wire::packet::PacketView;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::errors;
use crate::kernel::{Kernel, domain, socket_address};
use crate::net::Shared;

/// `ETH_P_IP` and `ETH_P_IPV6` in network order (linux/if_ether.h).
const ETHER: [i32; 2] = [0x0800_u16.to_be() as i32, 0x86dd_u16.to_be() as i32];

struct KernelPackets {
    /// hears
    link: Kernel,
    /// speaks
    out: Socket,
    watch: RawWatch,
    shared: Rc<Shared>,
    /// keeps the own stack quiet
    _hold: Option<Socket>,
}

/// Opens a raw socket.
pub(crate) fn raw(shared: Rc<Shared>, watch: RawWatch) -> Result<Rc<dyn Packets>, NetError> {
    match open(shared.clone(), watch) {
        Ok(packets) => Ok(Rc::new(packets)),
        Err(error) => Err(errors::at(shared.now(), &error)),
    }
}

fn open(shared: Rc<Shared>, watch: RawWatch) -> io::Result<KernelPackets> {
    let v4 = watch.remote.is_ipv4();
    let hold = if watch.take { Some(hold(watch)?) } else { None };
    let ether = Protocol::from(if v4 { ETHER[0] } else { ETHER[1] });
    let link = Socket::new(Domain::PACKET, Type::DGRAM.cloexec(), Some(ether))?;
    let _ = link.set_recv_buffer_size(4 << 20);
    // IPPROTO_RAW: packets carry their own header (raw(7))
    let out =
        Socket::new(domain(watch.remote), Type::RAW.cloexec(), Some(Protocol::from(libc::IPPROTO_RAW)))?;
    out.set_nonblocking(true)?;
    Ok(KernelPackets { link: Kernel::new(link)?, out, watch, shared, _hold: hold })
}

/// Holds the own port with a socket that drops all it gets.
fn hold(watch: RawWatch) -> io::Result<Socket> {
    let kind = match (watch.protocol, watch.own_port) {
        (_, 0) => return Err(io::ErrorKind::Unsupported.into()),
        (6, _) => Type::STREAM,
        (17, _) => Type::DGRAM,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let v4 = watch.remote.is_ipv4();
    let ip = if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = Socket::new(domain(ip), kind.cloexec(), None)?;
    if !v4 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(socket_address(Endpoint { ip, port: watch.own_port })))?;
    // BPF_RET of 0 bytes: drop (linux/filter.h)
    socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
    if watch.protocol == 6 {
        socket.listen(1)?;
    }
    Ok(socket)
}

impl KernelPackets {
    fn wants(&self, bytes: &[u8]) -> bool {
        let Ok(packet) = PacketView::parse(bytes) else { return false };
        let fragment = packet.fragment.is_some_and(|fragment| fragment.offset > 0);
        let port = packet.ports().1;
        packet.source == self.watch.remote
            && packet.protocol == self.watch.protocol
            && (self.watch.own_port == 0 || fragment || port == self.watch.own_port)
    }
}

impl Packets for KernelPackets {
    fn send(&self, packet: &[u8]) -> Result<(), NetError> {
        let now = self.shared.now();
        let Some(ip) = destination(packet) else {
            return Err(NetError { kind: NetErrorKind::Local, at: now });
        };
        let to = SockAddr::from(socket_address(Endpoint { ip, port: 0 }));
        match self.out.send_to(packet, &to) {
            Ok(_) => Ok(()),
            Err(error) if errors::waits(&error) => Ok(()), // a full buffer: lost, as on any path
            Err(error) => Err(errors::at(now, &error)),
        }
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<(Instant, Vec<u8>)> {
        loop {
            match self.link.poll_receive(context) {
                Poll::Ready(Ok(come)) if self.wants(&come.bytes) => {
                    return Poll::Ready((self.shared.moment(come.at), come.bytes));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)),
        _ => None,
    }
}
