//! The manual of the detector: how each kind of interference looks in the data, what looks like it and is
//! none, and how earlier tools were fooled.
//!
//! # Name resolution
//!
//! *Evidence.* The answer of the resolver that the machine itself uses, against the test helper's, an
//! encrypted resolver's, other networks', and what the addresses of the answer serve. A bogon for a public
//! name, NXDOMAIN for a name that exists, an address whose certificate or page is another's.
//!
//! *Look-alikes.* Content networks answer by place: other addresses, often of another AS, sometimes inside
//! the provider's own network; the site's certificate at the address settles it. DNS64 wraps IPv4 addresses
//! into `64:ff9b::/96`. Names may resolve to 127.0.0.1 for everybody. Home filters answer 0.0.0.0. An empty
//! answer for AAAA is how IPv4-only names look.
//!
//! *A valid certificate is not always the end.* A transparent proxy that forwards by server name shows the
//! site's own certificate. It is found by agreement: every resolver in the clear names one address in the
//! probe's own network, while the encrypted resolver and the helper, in different places, agree exactly on
//! another. A provider's legitimate cache differs: only the provider's own resolver names it, or the name is
//! answered by place and nobody abroad agrees with anybody.
//!
//! *Who was fooled.* OONI's pipeline v5 takes any answer without a helper's confirmation for blocked at 0.75,
//! so a failed helper, an international name or a redirect hop accuses; it takes any certificate for proof.
//!
//! # Connections
//!
//! *Evidence.* A connection that fails at an address and port where the helper's opens. The helper's
//! connection to the *same* address and port makes even a false answer's address judgeable.
//!
//! *Look-alikes.* A site that is down for all; IPv6 that does not work on the line; one dead address of
//! several; a machine without network. An address from a false answer may be anything and says nothing of
//! the site. Connections tagged `fetch_body=false` validate addresses; no user would have made them.
//!
//! *Freezing.* Bytes come fast and stop for good after some tens of packets, without FIN or RST: a budget per
//! connection towards listed networks. A path that loses large packets freezes, too, but at the first one.
//!
//! # TLS
//!
//! *Evidence.* RST, close or silence after the ClientHello where the helper completes the handshake with the
//! same address and name. The server name is named as the trigger (`.sni`) only when another name passes at
//! the same address. A foreign certificate at the site's own address is interception.
//!
//! *Look-alikes.* Expired and self-signed certificates that the helper sees, too; a probe whose clock is off;
//! alerts, which servers send to whole countries. When the plain request to the same host is cut in the same
//! way, one filter by name explains both, and it is counted once, here.
//!
//! # HTTP
//!
//! *Evidence.* A known block page, expected in the country; a page in the clear that shares neither length
//! nor title nor headers with the helper's and is shorter; RST, close or silence after the request. An answer
//! over a verified connection was written by the site that the certificate names, whatever it says; where a
//! redirect in the clear led to another site, that is a provider's page as easily as the site's new home.
//!
//! *Look-alikes.* Captchas, geographical refusals, pages for another country, a helper that was shown a stub.
//! Fingerprints of scope `fp` exist to say so. A page that the helper gets, too, accuses nobody.
//!
//! # Throttling
//!
//! *Evidence.* A page that the helper fetched whole begins and does not complete in time; bytes that trickle
//! steadily and never all. One long pause is a server thinking. A slow line looks the same to a single
//! measurement: a slow page that completes accuses nobody, and the probabilities are modest;
//! targets compared in the same network are what settles it.
//!
//! # Applications
//!
//! *Evidence.* Other networks within a day, and the parts of one application against each other: servers that
//! are silent while the web page answers, directory servers that are dead while bridges live.
//!
//! *Look-alikes.* A line that is down; retired servers; tests older than the servers' new root certificate;
//! Facebook's caches inside providers' networks; a Tor target with `failure: false`, which was not run.
//!
//! # Baselines
//!
//! Other networks vote, one vote each for a thing and a day. Three must agree. What fails in
//! several countries
//! and works nowhere is down; what fails in one country only may be blocked by all its networks, so that is
//! never called down. A software version that fails in several countries where other versions succeed is an
//! instrument defect. Votes are as honest as the AS numbers that probes report: who forges many networks can
//! forge a baseline.

use crate::arms::{Ending, Role};
use crate::{Outcome, Ruleset, Sign};

/// The signs, and the rules of a ruleset in the order in which they decide, as Markdown.
pub fn text(rules: &Ruleset) -> String {
    let mut text = format!("# Signs and rules of {}\n\n## Signs\n\n", rules.stamp());
    for sign in Sign::ALL.iter().filter(|sign| !sign.is_of_arm()) {
        text += &format!("- `{}`: {}\n", sign.name(), sign.doc());
    }
    text += "\n## Signs of arms\n\n`arm.<role>.<ending>`: at least one arm of the role ended so. Roles:\n\n";
    for role in Role::ALL {
        text += &format!("- `{}`: {}\n", role.as_str(), role.doc());
    }
    text += "\nEndings:\n\n";
    for ending in Ending::ALL {
        text += &format!("- `{}`: {}\n", ending.as_str(), ending.doc());
    }
    let mut layer = None;
    for rule in rules.rules() {
        if layer != Some(rule.layer()) {
            layer = Some(rule.layer());
            text += &format!("\n## Rules of layer {}\n\n", rule.layer());
        }
        let names = |signs: &crate::Signs| signs.iter().map(Sign::name).collect::<Vec<_>>().join(", ");
        let outcome = match rule.outcome() {
            Outcome::Finding { state, mechanism: Some(mechanism), probability } => {
                format!("{state} ({mechanism}), {probability}")
            }
            Outcome::Finding { state, mechanism: None, probability } => format!("{state}, {probability}"),
            Outcome::Triple { blocked, down, ok } => format!("blocked {blocked}, down {down}, ok {ok}"),
        };
        text += &format!("- `{}`: {} → {outcome}. When: {}", rule.id(), rule.doc(), names(rule.when()));
        if !rule.unless().is_empty() {
            text += &format!("; unless: {}", names(rule.unless()));
        }
        text += &format!(". Source: {}; {}.\n", rule.source(), rule.basis());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_and_every_rule_is_in_the_manual() {
        let rules = Ruleset::native();
        let text = text(&rules);
        let written_out = |sign: &&Sign| !sign.is_of_arm();
        assert!(
            Sign::ALL.iter().filter(written_out).all(|sign| text.contains(&format!("`{}`", sign.name())))
        );
        assert!(rules.rules().iter().all(|rule| text.contains(&format!("`{}`", rule.id()))));
    }

    #[test]
    fn every_sign_that_rules_ask_for_can_be_given_and_unused_ones_are_few() {
        let (native, v5) = (Ruleset::native(), Ruleset::ooni_v5());
        let asked: Vec<Sign> = native
            .rules()
            .iter()
            .chain(v5.rules())
            .flat_map(|rule| rule.when().iter().chain(rule.unless().iter()))
            .collect();
        let unused: Vec<&str> =
            // Those of arms are a product; nobody needs all of it.
            Sign::ALL.iter().filter(|sign| !sign.is_of_arm() && !asked.contains(sign)).map(|s| s.name()).collect();
        // Signs that no rule asks for yet are recorded nowhere, so there must be a limit to them.
        assert!(unused.len() < 40, "{unused:?}");
    }
}
