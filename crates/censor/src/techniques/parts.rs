//! One rule, several machines: where a rule covers several protocols, each part names what it does.
//!
//! A rule on names in TLS and QUIC is one line of a profile, but its deeds are `tls.…` and `quic.…`: the
//! truth log has to name the deepest node of the taxonomy that holds.

use okno_model::Mechanism;

use super::maker::Maker;
use crate::profile::{ProfileError, Rule};

/// A part of a rule.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// parameter that is narrowed; empty for none
    pub(super) param: &'static str,
    /// what of it this part keeps
    pub(super) words: Vec<String>,
    /// what its deeds are named
    pub(super) mechanism: Mechanism,
}

impl Part {
    fn whole(mechanism: Mechanism) -> Self {
        Self { param: "", words: Vec::new(), mechanism }
    }
}

/// The parts of a rule; one, the whole, where nothing is to be told apart.
pub(super) fn parts(maker: &Maker<'_>, rule: &Rule) -> Result<Vec<Part>, ProfileError> {
    let whole = Part::whole(rule.mechanism);
    if maker.knows("on") {
        let on = maker.texts("on", &[])?;
        if on.len() > 1 {
            return Ok(on.into_iter().map(|word| carried(rule.mechanism, word)).collect());
        }
    }
    match (rule.technique.as_str(), rule.mechanism.as_str()) {
        ("vpn", "vpn") => tunnels(maker, whole),
        ("whitelist", "whitelist") => {
            let mode = maker.text("mode", &[])?;
            Ok(vec![Part { mechanism: below(rule.mechanism, &mode), ..whole }])
        }
        ("blackout", "blackout") if maker.number("rate_bps")? > 0.0 => {
            Ok(vec![Part { mechanism: below(rule.mechanism, "throttle"), ..whole }])
        }
        ("http_block", path) if path.starts_with("http.") => {
            let path = match maker.text("outcome", &[])?.as_str() {
                "page" => "http.blockpage",
                "redirect" => "http.redirect",
                "reset" => "http.reset.host",
                _ => "http.timeout.host",
            };
            Ok(vec![Part { mechanism: Mechanism::parse(path).unwrap_or(rule.mechanism), ..whole }])
        }
        _ => Ok(vec![whole]),
    }
}

fn below(mechanism: Mechanism, word: &str) -> Mechanism {
    Mechanism::parse(&format!("{}.{word}", mechanism.as_str())).unwrap_or(mechanism)
}

/// The same deed on another protocol: `tls.timeout.sni` over QUIC is `quic.timeout.sni`, over HTTP
/// `http.timeout.host`; where the taxonomy lacks it, the nearest node above.
fn carried(mechanism: Mechanism, protocol: String) -> Part {
    let mut path = mechanism.as_str().to_owned();
    if let Some((family @ ("tls" | "quic" | "http"), rest)) = mechanism.as_str().split_once('.')
        && family != protocol
    {
        path = format!("{protocol}.{rest}");
        if protocol == "http" {
            path = path.replace(".sni", ".host");
        }
    }
    let mut known = Mechanism::parse(&path);
    while known.is_none() {
        let Some((above, _)) = path.rsplit_once('.') else { break };
        path = above.to_owned();
        known = Mechanism::parse(&path);
    }
    Part { param: "on", words: vec![protocol], mechanism: known.unwrap_or(mechanism) }
}

/// One part for each kind of tunnel.
fn tunnels(maker: &Maker<'_>, whole: Part) -> Result<Vec<Part>, ProfileError> {
    const KINDS: [(&str, &[&str]); 4] = [
        ("wireguard", &["wireguard"]),
        ("openvpn", &["openvpn"]),
        ("ike", &["ike", "esp"]),
        ("l2tp", &["l2tp"]),
    ];
    let protocols = maker.texts("protocols", &[])?;
    let mut parts = Vec::new();
    let mut left = protocols.clone();
    for (kind, members) in KINDS {
        let words: Vec<String> =
            protocols.iter().filter(|word| members.contains(&word.as_str())).cloned().collect();
        left.retain(|word| !words.contains(word));
        if !words.is_empty() {
            parts.push(Part { param: "protocols", words, mechanism: below(whole.mechanism, kind) });
        }
    }
    if !left.is_empty() {
        parts.push(Part { param: "protocols", words: left, mechanism: whole.mechanism });
    }
    Ok(parts)
}
