//! The kernel's errors in the probe's words.

use std::io;

use okno_probe::net::{Instant, NetError, NetErrorKind};

/// The kind behind an error of a system call.
///
/// The kernel gives one errno for several ICMP codes (net/ipv4/icmp.c, `icmp_err_convert`); errno classes are
/// kept apart as far as they are.
pub(crate) fn kind(error: &io::Error) -> NetErrorKind {
    use nix::libc;
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => NetErrorKind::Refused,
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => NetErrorKind::Reset,
        Some(libc::ETIMEDOUT) => NetErrorKind::TimedOut,
        Some(libc::EHOSTUNREACH | libc::EHOSTDOWN | libc::ENOPROTOOPT) => NetErrorKind::HostUnreachable,
        Some(
            libc::ENETUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::ENONET,
        ) => NetErrorKind::NetworkUnreachable,
        Some(libc::EADDRINUSE) => NetErrorKind::InUse,
        Some(libc::EMSGSIZE) => NetErrorKind::TooLong,
        Some(libc::EPERM | libc::EACCES) => NetErrorKind::NotPermitted,
        _ => NetErrorKind::of(error),
    }
}

/// The same with its moment.
pub(crate) fn at(now: Instant, error: &io::Error) -> NetError {
    NetError { kind: kind(error), at: now }
}

/// The same as an error of a stream.
pub(crate) fn of_stream(now: Instant, error: &io::Error) -> io::Error {
    at(now, error).into()
}

/// Whether an operation only has to wait.
pub(crate) fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
