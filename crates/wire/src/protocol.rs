//! What a flow was recognised as.

/// Protocols that `wire` can tell. The names are those of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// DNS over UDP or TCP
    Dns,
    /// HTTP/1
    Http,
    /// TLS over TCP
    Tls,
    /// QUIC, any version
    Quic,
    /// DTLS
    Dtls,
    /// STUN and TURN
    Stun,
    /// RTP, SRTP and RTCP
    Rtp,
    /// SIP
    Sip,
    /// WireGuard
    WireGuard,
    /// OpenVPN over UDP or TCP
    OpenVpn,
    /// IKE, of IPsec
    Ike,
    /// ESP, bare or over UDP
    Esp,
    /// L2TP
    L2tp,
    /// SSH
    Ssh,
    /// SOCKS 4, 4a, 5
    Socks,
    /// Tor, by its link protocol's TLS
    Tor,
    /// MTProto, of Telegram
    MtProto,
    /// BitTorrent, uTP or its DHT
    BitTorrent,
    /// looks like nothing: obfs4, Shadowsocks, VMess and the like
    FullyEncrypted,
}

impl Protocol {
    /// All of them, in the order of the enum.
    pub const ALL: &'static [Self] = &[
        Self::Dns,
        Self::Http,
        Self::Tls,
        Self::Quic,
        Self::Dtls,
        Self::Stun,
        Self::Rtp,
        Self::Sip,
        Self::WireGuard,
        Self::OpenVpn,
        Self::Ike,
        Self::Esp,
        Self::L2tp,
        Self::Ssh,
        Self::Socks,
        Self::Tor,
        Self::MtProto,
        Self::BitTorrent,
        Self::FullyEncrypted,
    ];

    /// The name in tables, JSON and profiles.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Dtls => "dtls",
            Self::Stun => "stun",
            Self::Rtp => "rtp",
            Self::Sip => "sip",
            Self::WireGuard => "wireguard",
            Self::OpenVpn => "openvpn",
            Self::Ike => "ike",
            Self::Esp => "esp",
            Self::L2tp => "l2tp",
            Self::Ssh => "ssh",
            Self::Socks => "socks",
            Self::Tor => "tor",
            Self::MtProto => "mtproto",
            Self::BitTorrent => "bittorrent",
            Self::FullyEncrypted => "fully_encrypted",
        }
    }

    /// Reads a name; `None` when there is no such protocol.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|protocol| protocol.as_str() == name)
    }
}

/// What the first packets of a flow say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognition {
    /// the protocol
    pub protocol: Protocol,
    /// version or flavour in the protocol's own words: `1.3`, `v2`, `tls-crypt`; empty when unknown
    pub version: String,
    /// server name: SNI, Host header, query name; empty when the flow names none
    pub name: String,
    /// JA4 for TLS, DTLS and QUIC hellos; empty otherwise
    pub fingerprint: String,
    /// how surely
    pub certainty: Certainty,
}

/// How surely a protocol was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// by statistics or by sizes: other traffic may look so
    Heuristic,
    /// by a short pattern on a port or in an order that fits
    Pattern,
    /// by a message that parses whole
    Parsed,
}
