//! ICMP: echo requests, and an ear for errors about established TCP connections.
//!
//! For an established connection the kernel tells no program who sent an ICMP error (net/ipv4/tcp_ipv4.c
//! queues it in SYN_SENT alone). With CAP_NET_RAW one raw socket hears all errors and hands each to the
//! connection that it quotes; without, streams have no notices.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::task::Poll;
use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::{Rc, Weak};

use okno_probe::net::{Echo, Endpoint, IcmpNotice, Instant, NetError, NetErrorKind};
use socket2::{Protocol, SockAddr, Socket, Type};

use crate::errors;
use crate::kernel::{Kernel, Received, domain, set_ttl, socket_address, tell_more};
use crate::net::Shared;

type Key = (u8, u16, Endpoint);
type Notices = RefCell<Vec<IcmpNotice>>;

/// Hears ICMP errors.
#[derive(Default)]
pub(crate) struct Ear {
    flows: RefCell<BTreeMap<Key, Weak<Notices>>>,
}

/// Where notices for one connection gather.
pub(crate) struct Inbox(Rc<Notices>);

impl Inbox {
    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<IcmpNotice> {
        self.0.take()
    }
}

impl Ear {
    /// Gathers errors about a flow until the inbox is dropped.
    pub(crate) fn listen_for(&self, protocol: u8, own_port: u16, remote: Endpoint) -> Inbox {
        let notices = Rc::new(Notices::default());
        let mut flows = self.flows.borrow_mut();
        flows.retain(|_, notices| notices.strong_count() > 0);
        flows.insert((protocol, own_port, remote), Rc::downgrade(&notices));
        Inbox(notices)
    }

    fn hear(&self, at: Instant, from: IpAddr, message: &[u8]) {
        let (Some(&kind), Some(&code)) = (message.first(), message.get(1)) else { return };
        let is_error = match from {
            IpAddr::V4(_) => matches!(kind, 3 | 11 | 12), // RFC 792
            IpAddr::V6(_) => kind < 128,                  // RFC 4443 §2.1
        };
        let Some(key) = message.get(8..).filter(|_| is_error).and_then(quoted) else { return };
        if let Some(notices) = self.flows.borrow().get(&key).and_then(Weak::upgrade) {
            notices.borrow_mut().push(IcmpNotice { at, from, kind, code });
        }
    }
}

/// Protocol, source port and destination of a quoted packet, which may end after eight bytes of transport.
fn quoted(packet: &[u8]) -> Option<Key> {
    let first = *packet.first()?;
    let (protocol, ip, transport) = match first >> 4 {
        4 => {
            let ip: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (*packet.get(9)?, IpAddr::V4(Ipv4Addr::from(ip)), usize::from(first & 15) * 4)
        }
        6 => {
            let ip: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (*packet.get(6)?, IpAddr::V6(Ipv6Addr::from(ip)), 40)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    Some((protocol, port(transport)?, Endpoint { ip, port: port(transport + 2)? }))
}

fn protocol(v4: bool) -> Protocol {
    if v4 { Protocol::ICMPV4 } else { Protocol::ICMPV6 }
}

/// A raw IPv4 socket gives the IP header too; everything else begins with ICMP.
fn without_header(bytes: &[u8], v4: bool) -> &[u8] {
    let header = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
    if v4 { bytes.get(header..).unwrap_or_default() } else { bytes }
}

/// Starts an ear for both families; `None` without the privilege. Needs a `LocalSet`.
pub(crate) fn ear(shared: &Weak<Shared>) -> Option<Rc<Ear>> {
    let ear = Rc::new(Ear::default());
    let mut hears = false;
    for ip in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let v4 = ip.is_ipv4();
        let Ok(socket) = Socket::new(domain(ip), Type::RAW.cloexec(), Some(protocol(v4))) else { continue };
        let Ok(kernel) = Kernel::new(socket) else { continue };
        hears = true;
        let (ear, shared) = (Rc::downgrade(&ear), shared.clone());
        tokio::task::spawn_local(async move {
            loop {
                let come = core::future::poll_fn(|context| kernel.poll_receive(context)).await;
                let (Some(ear), Some(shared)) = (ear.upgrade(), shared.upgrade()) else { return };
                match come {
                    Ok(Received { from: Some(from), bytes, .. }) => {
                        ear.hear(shared.now(), from.ip, without_header(&bytes, v4));
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
    }
    hears.then_some(ear)
}

struct Ping {
    kernel: Kernel,
    raw: bool,
    remote: IpAddr,
    id: u16,
    sent: Instant,
    shared: Rc<Shared>,
}

fn open(remote: IpAddr, ttl: Option<u8>) -> io::Result<(Kernel, bool)> {
    let v4 = remote.is_ipv4();
    // Echo sockets need no privilege where net.ipv4.ping_group_range lets this group (icmp(7)).
    let dgram = Socket::new(domain(remote), Type::DGRAM.cloexec(), Some(protocol(v4)));
    let (socket, raw) = match dgram {
        Ok(socket) => (socket, false),
        Err(_) => (Socket::new(domain(remote), Type::RAW.cloexec(), Some(protocol(v4)))?, true),
    };
    tell_more(&socket, v4)?;
    if let Some(ttl) = ttl {
        set_ttl(&socket, v4, ttl)?;
    }
    socket.connect(&SockAddr::from(socket_address(Endpoint { ip: remote, port: 0 })))?;
    Ok((Kernel::new(socket)?, raw))
}

/// An echo request; `len` bytes of content.
fn request(v4: bool, id: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; 8 + len];
    bytes[0] = if v4 { 8 } else { 128 };
    bytes[4..6].copy_from_slice(&id.to_be_bytes());
    bytes[7] = 1;
    for (index, byte) in bytes[8..].iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    if v4 {
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    bytes // the kernel computes ICMPv6's (RFC 3542 §3.1)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

impl Ping {
    /// Whether this is the answer.
    fn answers(&self, bytes: &[u8]) -> bool {
        let v4 = self.remote.is_ipv4();
        let message = if self.raw { without_header(bytes, v4) } else { bytes };
        let id = message.get(4..6).map(|id| u16::from_be_bytes([id[0], id[1]]));
        message.first() == Some(&if v4 { 0 } else { 129 }) && (!self.raw || id == Some(self.id))
    }

    fn trouble(&self) -> Option<Result<Echo, NetError>> {
        let trouble = self.kernel.trouble(self.shared.now())?;
        let error = io::Error::from_raw_os_error(trouble.errno);
        Some(match trouble.notice {
            Some(notice) if notice.is_time_exceeded() => {
                let rtt = notice.at - self.sent;
                Ok(Echo { from: notice.from, reached: false, rtt, ttl: None })
            }
            _ => Err(errors::at(self.shared.now(), &error)),
        })
    }

    fn poll(&self, context: &mut core::task::Context<'_>) -> Poll<Result<Echo, NetError>> {
        loop {
            if let Some(done) = self.trouble() {
                return Poll::Ready(done);
            }
            match self.kernel.poll_receive(context) {
                Poll::Ready(Ok(come)) if self.answers(&come.bytes) => {
                    let at = self.shared.moment(come.at);
                    let from = come.from.map_or(self.remote, |end| end.ip);
                    return Poll::Ready(Ok(Echo { from, reached: true, rtt: at - self.sent, ttl: come.ttl }));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    let done = self.trouble().unwrap_or_else(|| Err(errors::at(self.shared.now(), &error)));
                    return Poll::Ready(done);
                }
                Poll::Pending if self.kernel.poll_trouble(context).is_pending() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}

/// Sends an echo request and waits.
pub(crate) async fn ping(
    shared: Rc<Shared>,
    remote: IpAddr,
    ttl: Option<u8>,
    len: usize,
    patience: Duration,
) -> Result<Echo, NetError> {
    let failed = |error: io::Error| errors::at(shared.now(), &error);
    let (kernel, raw) = open(remote, ttl).map_err(failed)?;
    let mut id = [0; 2];
    shared.fill_random(&mut id);
    let id = u16::from_be_bytes(id);
    let sent = shared.now();
    kernel.send(&request(remote.is_ipv4(), id, len)).map_err(failed)?;
    let ping = Ping { kernel, raw, remote, id, sent, shared: shared.clone() };
    let answer = tokio::time::timeout(patience, core::future::poll_fn(|context| ping.poll(context)));
    answer.await.unwrap_or_else(|_| Err(NetError { kind: NetErrorKind::TimedOut, at: shared.now() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_packet_may_be_cut_after_eight_bytes_of_transport() {
        let mut packet = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 1, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
        packet.extend_from_slice(&[0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1]);
        let remote = Endpoint { ip: IpAddr::from([198, 51, 100, 7]), port: 443 };
        assert_eq!(quoted(&packet), Some((6, 40_000, remote)));
        assert_eq!(quoted(&packet[..22]), None, "no ports, no flow");
    }

    #[test]
    fn an_echo_request_sums_to_zero() {
        assert_eq!(checksum(&request(true, 0xbeef, 33)), 0);
    }
}
