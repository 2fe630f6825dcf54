//! Which packets belong together.

use core::fmt;
use core::net::{AddrParseError, IpAddr, SocketAddr};
use core::str::FromStr;

/// One end of a flow. The port is 0 where the transport has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// address
    pub ip: IpAddr,
    /// port, 0 for transports without ports
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = AddrParseError;

    /// `192.0.2.1:443` or `[2001:db8::1]:443`.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse::<SocketAddr>().map(|end| Self { ip: end.ip(), port: end.port() })
    }
}

/// Both ends and the transport's protocol number, the same for either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// the smaller end
    pub low: Endpoint,
    /// the greater end
    pub high: Endpoint,
    /// IANA protocol number of the transport (6 TCP, 17 UDP …)
    pub protocol: u8,
}

impl FlowKey {
    /// The key of a packet from `source` to `destination`, and whether `source` is the greater end.
    pub fn of(source: Endpoint, destination: Endpoint, protocol: u8) -> (Self, bool) {
        if source <= destination {
            (Self { low: source, high: destination, protocol }, false)
        } else {
            (Self { low: destination, high: source, protocol }, true)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}
