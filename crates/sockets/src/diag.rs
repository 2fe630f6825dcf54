//! What the kernel knows of one TCP connection, asked over netlink (sock_diag(7)).
//!
//! `TCP_INFO` is a `getsockopt` that no safe wrapper of ours offers; the same structure comes as the
//! attribute `INET_DIAG_INFO`, without any privilege. Where the kernel lacks `tcp_diag`, nothing is told.

use core::net::IpAddr;
use core::time::Duration;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use okno_probe::net::{Endpoint, TcpFacts};

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `INET_DIAG_INFO` (linux/inet_diag.h).
const INET_DIAG_INFO: u16 = 2;
/// Length of `nlmsghdr`.
const HEADER: usize = 16;
/// Length of `inet_diag_msg`.
const MESSAGE: usize = 72;

/// A netlink socket.
pub(crate) struct Diag {
    fd: OwnedFd,
}

impl Diag {
    /// Opens it; `None` where the kernel has no such family.
    pub(crate) fn open() -> Option<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)
            .ok()
            .map(|fd| Self { fd })
    }

    /// The facts of one connection. The kernel answers within the call.
    pub(crate) fn facts(&self, own: Endpoint, remote: Endpoint) -> TcpFacts {
        let question = question(own, remote);
        let to = NetlinkAddr::new(0, 0);
        if sendto(self.fd.as_raw_fd(), &question, &to, MsgFlags::empty()).is_err() {
            return TcpFacts::default();
        }
        let mut answer = vec![0; 4_096];
        match recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => answer.get(..len).and_then(read).unwrap_or_default(),
            Err(_) => TcpFacts::default(),
        }
    }
}

/// `nlmsghdr` and `inet_diag_req_v2` for one exact socket (linux/inet_diag.h).
fn question(own: Endpoint, remote: Endpoint) -> Vec<u8> {
    let family = if own.ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = Vec::with_capacity(HEADER + 56);
    bytes.extend_from_slice(&72_u32.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&1_u16.to_ne_bytes()); // NLM_F_REQUEST
    bytes.extend_from_slice(&[0; 8]); // sequence and port
    bytes.push(u8::try_from(family).unwrap_or_default());
    bytes.push(6); // TCP
    bytes.push(1 << (INET_DIAG_INFO - 1));
    bytes.push(0);
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes()); // any state
    bytes.extend_from_slice(&own.port.to_be_bytes());
    bytes.extend_from_slice(&remote.port.to_be_bytes());
    for ip in [own.ip, remote.ip] {
        let mut field = [0; 16];
        match ip {
            IpAddr::V4(v4) => field[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => field = v6.octets(),
        }
        bytes.extend_from_slice(&field);
    }
    bytes.extend_from_slice(&[0; 4]); // any interface
    bytes.extend_from_slice(&[0xff; 8]); // INET_DIAG_NOCOOKIE
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// Finds the attribute `INET_DIAG_INFO` and reads `tcp_info` (linux/tcp.h).
fn read(answer: &[u8]) -> Option<TcpFacts> {
    if half(answer, 4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let unacknowledged = usize::try_from(word(answer, HEADER + 60)?).ok();
    let mut rest = answer.get(HEADER + MESSAGE..)?;
    while let (Some(len), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let len = usize::from(len);
        let body = rest.get(4..len)?;
        if kind == INET_DIAG_INFO {
            // eight bytes of small fields come first; tcpi_snd_mss, tcpi_rtt, tcpi_total_retrans follow
            return Some(TcpFacts {
                rtt: word(body, 68).filter(|rtt| *rtt > 0).map(|rtt| Duration::from_micros(rtt.into())),
                retransmits: word(body, 100),
                unacknowledged,
                mss: word(body, 16),
            });
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}
