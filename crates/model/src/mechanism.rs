//! The taxonomy of interference: dot paths `layer.action.qualifier`.
//!
//! Nodes of the family dns, tcp, tls, http and ip are those of OONI's ontology, vocabulary v1
//! (ooni/data, docs/ontology.md §12.3), so labels can be exchanged; the rest is ours and marked so. A
//! label names the deepest node that the evidence supports: `tls.reset` is complete where the trigger
//! is not known. The layer is the one where the interference showed.

use crate::Layer;

/// One node of the taxonomy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaxonomyNode {
    /// dot path
    pub path: &'static str,
    /// OONI's vocabulary v1 has it
    pub in_ooni_v1: bool,
    /// what it means
    pub doc: &'static str,
}

const fn ooni(path: &'static str, doc: &'static str) -> TaxonomyNode {
    TaxonomyNode { path, in_ooni_v1: true, doc }
}

const fn ours(path: &'static str, doc: &'static str) -> TaxonomyNode {
    TaxonomyNode { path, in_ooni_v1: false, doc }
}

/// Every node, parents before children.
pub const TAXONOMY: &[TaxonomyNode] = &[
    ooni("dns", "name resolution is interfered with"),
    ooni("dns.injection", "a false answer"),
    ooni("dns.injection.blockpage", "a false answer that leads to a known blockpage"),
    ooni("dns.injection.bogon", "a false answer that is no public address"),
    ooni("dns.injection.other", "a false answer that is neither"),
    ooni("dns.nxdomain", "NXDOMAIN for a name that resolves elsewhere"),
    ours("dns.no_answer", "an empty answer for a name that resolves elsewhere"),
    ours(
        "dns.redirect",
        "queries are turned to another resolver, which answers in the place of the one asked",
    ),
    ooni("dns.refused", "REFUSED for a name that resolves elsewhere"),
    ours("dns.servfail", "SERVFAIL or another error for a name that resolves elsewhere"),
    ooni("dns.timeout", "no answer for a name that resolves elsewhere"),
    ooni("tcp", "connections are interfered with"),
    ooni("tcp.refused", "RST in answer to SYN"),
    ooni("tcp.reset", "RST while the connection is set up"),
    ooni("tcp.timeout", "SYN unanswered"),
    ours("tcp.packet_budget", "a connection freezes after a number of packets or bytes"),
    ours("tcp.connection_limit", "the first connections pass, further ones fail for a while"),
    ours("tcp.first_segment", "the first segment passes, or is lost, and the rest fares otherwise"),
    ours("tcp.protocol_filter", "what is not the port's own protocol is dropped"),
    ooni("tls", "the TLS handshake is interfered with"),
    ours("tls.eof", "the connection is closed in the handshake"),
    ours("tls.eof.sni", "closed after the ClientHello, triggered by the server name"),
    ours("tls.fin", "the connection is closed by a forged FIN"),
    ours("tls.fin.sni", "a forged FIN after the ClientHello, triggered by the server name"),
    ooni("tls.mitm", "a certificate that is not the site's"),
    ooni("tls.mitm.ca_signed", "validly signed, for an unexpected name or issuer"),
    ooni("tls.mitm.self_signed", "not signed by an authority that clients trust"),
    ooni("tls.reset", "RST in the handshake"),
    ooni("tls.reset.sni", "RST after the ClientHello, triggered by the server name"),
    ours("tls.reset.esni", "RST in the handshake, triggered by an encrypted server name"),
    ours("tls.reset.fingerprint", "RST in the handshake, triggered by the ClientHello's fingerprint"),
    ooni("tls.reset.other", "RST in the handshake, triggered by something else"),
    ours("tls.alert", "the handshake breaks with an alert or a protocol error"),
    ooni("tls.throttle", "speed is held down after the handshake"),
    ooni("tls.throttle.sni", "speed is held down, triggered by the server name"),
    ooni("tls.timeout", "the handshake stalls"),
    ours("tls.timeout.sni", "the handshake stalls after the ClientHello, triggered by the server name"),
    ours("tls.timeout.ech", "the handshake stalls when ECH is used"),
    ours("tls.timeout.esni", "the handshake stalls when ESNI is used"),
    ours("tls.timeout.fingerprint", "the handshake stalls, triggered by the ClientHello's fingerprint"),
    ours("tls.timeout.decoy", "the handshake stalls, triggered by decoy packets"),
    ours("quic", "QUIC is interfered with"),
    ours("quic.timeout", "Initial unanswered"),
    ours("quic.timeout.sni", "Initial unanswered, triggered by the server name"),
    ours("quic.timeout.version", "Initial unanswered, triggered by the version"),
    ours("quic.throttle", "QUIC's speed is held down"),
    ours("quic.throttle.sni", "QUIC's speed is held down, triggered by the server name"),
    ours("quic.reset", "the QUIC handshake is broken off"),
    ooni("http", "the HTTP exchange is interfered with"),
    ooni("http.blockpage", "a block page is served"),
    ours("http.eof", "closed after the request"),
    ooni("http.error", "a status-code refusal"),
    ooni("http.redirect", "a redirect to a block page"),
    ooni("http.reset", "RST after the request"),
    ooni("http.reset.host", "RST after the request line or Host header"),
    ours("http.tampering", "request or answer is altered on the way"),
    ooni("http.timeout", "no answer to the request"),
    ours("http.timeout.host", "no answer to the request, triggered by the Host header"),
    ooni("http.throttle", "speed is held down"),
    ooni("http.throttle.host", "speed is held down, triggered by the Host header"),
    ooni("ip", "addresses are interfered with"),
    ooni("ip.unreachable", "ICMP unreachable or no route"),
    ooni("ip.prefix_null_route", "a whole prefix has no route"),
    ours("ip.drop", "packets to an address are dropped"),
    ours("ip.ban", "packets to an address are dropped some time after it was used"),
    ours("udp", "datagrams are interfered with, whatever they carry"),
    ours("udp.drop", "no datagram passes"),
    ours("vpn", "a VPN protocol is interfered with"),
    ours("vpn.ike", "IPsec: IKE and ESP"),
    ours("vpn.l2tp", "L2TP"),
    ours("vpn.openvpn", "OpenVPN"),
    ours("vpn.wireguard", "WireGuard"),
    ours("vpn.psiphon", "Psiphon"),
    ours("vpn.riseup", "RiseupVPN"),
    ours("vpn.shadowsocks", "Shadowsocks"),
    ours("vpn.fully_encrypted", "protocols that look like nothing"),
    ours("tor", "Tor is interfered with"),
    ours("tor.bridge", "bridges and pluggable transports"),
    ours("tor.directory", "directory authorities and relays"),
    ours("tor.snowflake", "Snowflake"),
    ours("messenger", "a messenger is interfered with"),
    ours("messenger.endpoints", "its servers cannot be reached"),
    ours("messenger.mtproxy", "its proxies are told by their TLS"),
    ours("messenger.registration", "its registration service cannot be reached"),
    ours("messenger.web", "its web client cannot be reached"),
    ours("calls", "calls are interfered with"),
    ours("calls.stun", "STUN or TURN"),
    ours("calls.turn", "relays of calls"),
    ours("whitelist", "only listed destinations pass"),
    ours("whitelist.cidr", "listed by address"),
    ours("whitelist.sni", "listed by server name"),
    ours("whitelist.both", "listed by address and server name at once"),
    ours("blackout", "nothing passes"),
    ours("blackout.throttle", "a trickle passes"),
    ours("degradation", "packets of a recognised protocol are lost at random"),
    ours("overload", "the filtering device itself fails"),
    ours("overload.drop", "packets are lost under load, whatever they carry"),
    ours("overload.fail_open", "nothing is filtered for a while"),
];

/// A node of the taxonomy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mechanism(&'static str);

impl Mechanism {
    /// Reads a dot path; `None` when the taxonomy has no such node.
    pub fn parse(path: &str) -> Option<Self> {
        TAXONOMY.iter().find(|node| node.path == path).map(|node| Self(node.path))
    }

    /// The dot path.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The node above; `None` for a family.
    pub fn parent(self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('.')?;
        Self::parse(parent)
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(self, other: Self) -> bool {
        self.0 == other.0 || self.0.strip_prefix(other.0).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The layer at which it shows, where the family names one.
    pub fn layer(self) -> Option<Layer> {
        match self.0.split('.').next()? {
            "dns" => Some(Layer::Dns),
            "tcp" | "ip" => Some(Layer::Tcp),
            "tls" => Some(Layer::Tls),
            "quic" => Some(Layer::Quic),
            "http" => Some(Layer::Http),
            "udp" | "vpn" | "tor" | "messenger" | "calls" => Some(Layer::App),
            _ => None,
        }
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_parent_before_it_and_stands_once() {
        for (position, node) in TAXONOMY.iter().enumerate() {
            assert_eq!(TAXONOMY.iter().filter(|other| other.path == node.path).count(), 1, "{}", node.path);
            if let Some((parent, _)) = node.path.rsplit_once('.') {
                let at = TAXONOMY.iter().position(|other| other.path == parent);
                assert!(at.is_some_and(|at| at < position), "{} lacks its parent", node.path);
            }
        }
    }

    #[test]
    fn nodes_know_their_ancestors() {
        let sni = Mechanism::parse("tls.reset.sni").unwrap();
        let tls = Mechanism::parse("tls").unwrap();
        assert!(sni.is_within(tls) && !tls.is_within(sni));
        assert_eq!(sni.parent(), Mechanism::parse("tls.reset"));
        assert_eq!(Mechanism::parse("tls.none"), None);
        assert!(
            !Mechanism::parse("tls.throttle").unwrap().is_within(Mechanism::parse("tls.t").unwrap_or(sni))
        );
    }
}
