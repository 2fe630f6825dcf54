//! When a verdict names the right mechanism: the only place where truth and verdict are compared.
//!
//! The truth names what a box did (`ip.drop`), a verdict what a client saw (`tcp.timeout`). A named node is
//! right for a true mechanism when it is that mechanism, lies above it in the taxonomy, or is a symptom of
//! it: what the same packets look like to a test that did not make the decisive comparison. Symptoms are
//! listed here, one by one, because each entry makes a board look better; docs/scoring.md prints the list
//! with its reasons.

use okno_model::{Layer, Mechanism};

/// What a true mechanism looks like where the decisive comparison was not made: (mechanism, symptoms, why).
/// An entry holds for everything below the mechanism, too.
pub const SYMPTOMS: &[(&str, &[&str], &str)] = &[
    (
        "ip.drop",
        &["tcp.timeout", "quic.timeout", "dns.timeout"],
        "packets to an address are dropped: silence in answer to whatever is sent there",
    ),
    (
        "ip.ban",
        &["tcp.timeout", "tls.timeout", "http.timeout", "quic.timeout"],
        "as ip.drop, and a ban may begin within a connection",
    ),
    (
        "ip.prefix_null_route",
        &["tcp.timeout", "ip.unreachable", "quic.timeout"],
        "a router without a route drops, or says so",
    ),
    (
        "whitelist",
        &["tcp.timeout", "tls.timeout", "http.timeout", "quic.timeout", "dns.timeout", "ip.drop"],
        "one unlisted target is silent; that others pass shows only beside them",
    ),
    (
        "blackout",
        &["tcp.timeout", "tls.timeout", "http.timeout", "quic.timeout", "dns.timeout", "ip.drop"],
        "one target is silent; that nothing passes shows only beside others",
    ),
    (
        "blackout.throttle",
        &["tls.throttle", "http.throttle", "quic.throttle"],
        "a trickle is slow, whatever it carries",
    ),
    (
        "tcp.connection_limit",
        &["tcp.timeout", "tls.timeout", "tcp.reset"],
        "what is over the limit is silent; the limit shows only in a series",
    ),
    (
        "tcp.first_segment",
        &["tls.timeout", "http.timeout"],
        "the first segment is lost for good: no answer to what it carried",
    ),
    ("tcp.packet_budget", &["tls.timeout"], "a budget that ends within the handshake freezes the handshake"),
    (
        "tcp.protocol_filter",
        &["tls.timeout", "http.timeout"],
        "what is not the port's protocol stays without answer",
    ),
    (
        "tls.timeout",
        &["http.timeout"],
        "a box that lets some more packets pass lets the handshake complete and silences the request",
    ),
    ("tls.fin", &["tls.eof"], "a forged FIN is an orderly close to the client"),
    (
        "tls.throttle",
        &["http.throttle", "tls.timeout", "http.timeout"],
        "speed shows in the transfer; some hundred bytes a second stall handshake and page beyond any patience",
    ),
    (
        "tor.directory",
        &["tcp.timeout", "ip.drop"],
        "relays are dropped by address; that it is for Tor shows in Tor's own tests",
    ),
    (
        "dns.redirect",
        &["dns.nxdomain", "dns.injection", "dns.no_answer"],
        "the other resolver's answer is what arrives",
    ),
    (
        "dns.injection.blockpage",
        &["dns.injection.other"],
        "a page that no table of fingerprints knows makes it any false answer",
    ),
    ("http.blockpage", &["http.redirect"], "a box that answers may write the page or send to it"),
    ("http.redirect", &["http.blockpage"], "the page at the end of the redirect"),
    (
        "vpn.fully_encrypted",
        &["vpn.shadowsocks", "tor.bridge", "messenger.mtproxy"],
        "what looks like nothing has no name of its own",
    ),
    ("degradation", &["calls", "vpn", "quic.timeout"], "lost packets of the protocol under test"),
];

/// Families whose nodes say which part of an application is interfered with, and not by what.
const APPLICATIONS: [&str; 4] = ["messenger", "tor", "vpn", "calls"];

/// Whether `named` is right for `true_one`; see the module. Texts that are no nodes never match.
pub fn is_right(true_one: &str, named: &str) -> bool {
    let (Some(truth), Some(named)) = (Mechanism::parse(true_one), Mechanism::parse(named)) else {
        return false;
    };
    truth.is_within(named)
        || symptoms(truth).any(|symptom| named.is_within(symptom) || symptom.is_within(named))
}

/// Whether a verdict on an application is right whatever was done to its flows: its node names the part of
/// the application that suffers.
pub fn names_application(layer: Layer, named: &str) -> bool {
    layer == Layer::App && APPLICATIONS.iter().any(|family| named.split('.').next() == Some(family))
}

fn symptoms(truth: Mechanism) -> impl Iterator<Item = Mechanism> {
    let of = move |path: &str| Mechanism::parse(path).is_some_and(|node| truth.is_within(node));
    let entries = SYMPTOMS.iter().filter(move |(path, _, _)| of(path));
    entries.flat_map(|(_, symptoms, _)| symptoms.iter().filter_map(|path| Mechanism::parse(path)))
}

/// The layer that a true mechanism is counted under.
pub fn layer(true_one: &str) -> Layer {
    Mechanism::parse(true_one).and_then(Mechanism::layer).unwrap_or(Layer::App)
}

/// The layers at which a true mechanism can show: its own, and those of its symptoms; for mechanisms of no
/// layer every one.
pub fn layers(true_one: &str) -> Vec<Layer> {
    let Some(truth) = Mechanism::parse(true_one) else { return Vec::new() };
    let mut layers: Vec<Layer> =
        truth.layer().into_iter().chain(symptoms(truth).filter_map(Mechanism::layer)).collect();
    if truth.layer().is_none() {
        layers = Layer::ALL.to_vec();
    }
    // A step that was cut keeps the later steps of the same chain from happening, and applications see all.
    if layers.iter().any(|layer| matches!(layer, Layer::Tcp | Layer::Tls)) {
        layers.push(Layer::Http);
    }
    layers.push(Layer::App);
    layers.sort_unstable();
    layers.dedup();
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_names_nodes_of_the_taxonomy_and_gives_a_reason() {
        for (truth, symptoms, why) in SYMPTOMS {
            assert!(Mechanism::parse(truth).is_some(), "{truth}");
            assert!(symptoms.iter().all(|path| Mechanism::parse(path).is_some()), "{truth}");
            assert!(why.len() > 15, "{truth}");
        }
    }

    #[test]
    fn the_document_prints_this_list() {
        let document = include_str!("../../../../docs/scoring.md");
        for (truth, symptoms, why) in SYMPTOMS {
            let symptoms: Vec<String> = symptoms.iter().map(|path| format!("`{path}`")).collect();
            let row = format!("| `{truth}` | {} | {why} |", symptoms.join(", "));
            assert!(document.contains(&row), "{row}");
        }
    }

    #[test]
    fn ancestors_and_symptoms_are_right_and_neighbours_are_not() {
        for (truth, named) in [
            ("tls.reset.sni", "tls.reset.sni"),
            ("tls.reset.sni", "tls.reset"),
            ("ip.drop", "tcp.timeout"),
            ("whitelist.cidr", "tcp.timeout"),
            ("tls.fin.sni", "tls.eof"),
            ("dns.redirect", "dns.injection.other"),
        ] {
            assert!(is_right(truth, named), "{truth} as {named}");
        }
        for (truth, named) in [
            ("tls.reset.sni", "tls.timeout"),
            ("tls.reset", "tls.reset.sni"),
            ("ip.drop", "tcp.reset"),
            ("tls.timeout.sni", "ip.drop"),
            ("tls.reset.sni", "nonsense"),
        ] {
            assert!(!is_right(truth, named), "{truth} as {named}");
        }
    }
}
