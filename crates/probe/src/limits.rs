//! Limits of operations: OONI's, so that our measurements compare with theirs.

use core::time::Duration;

/// A query to a resolver over UDP, TCP, TLS or HTTPS (probe-cli `internal/netxlite/dnsoverudp.go`: 10 s for
/// one exchange; web_connectivity 0.5 gives the whole lookup 4 s, `dnsresolvers.go`).
pub const DNS: Duration = Duration::from_secs(4);
/// A lookup by the system (probe-cli `webconnectivitylte/dnsresolvers.go`: 4 s).
pub const DNS_SYSTEM: Duration = Duration::from_secs(4);
/// A TCP connect (probe-cli `internal/netxlite/dialer.go`: 15 s).
pub const TCP: Duration = Duration::from_secs(15);
/// A TLS handshake (probe-cli `internal/netxlite/tls.go`: 10 s).
pub const TLS: Duration = Duration::from_secs(10);
/// A QUIC handshake (probe-cli `webconnectivitylte`, as for TLS: 10 s).
pub const QUIC: Duration = Duration::from_secs(10);
/// An HTTP round trip with its body (probe-cli `webconnectivitylte/cleartextflow.go`: 10 s).
pub const HTTP: Duration = Duration::from_secs(10);
/// Most bytes of a body that are kept (probe-cli `webconnectivitylte`: 1 << 19).
pub const BODY: usize = 1 << 19;
/// Most network events of one transaction (probe-cli `internal/measurexlite/trace.go`: buffers of 64).
pub const EVENTS: usize = 64;
