//! Name resolution: what the user's resolver said, against everything else that knows the name.

use okno_model::{Failure, FailureKind, FingerprintScope, Layer, Observation, Verdict};

use super::{Evidence, View, app, page, shares_network, worked};
use crate::facts;
use crate::signs::{Sign, Signs};
use crate::votes;

/// Judges, and says whether the user's answer was found false.
pub(super) fn judge<'a>(view: &View<'_, '_, 'a>, out: &mut Vec<Verdict<'a>>) -> bool {
    if !view.unit.rows.iter().any(|row| facts::is_lookup(row)) {
        return false;
    }
    let lookups = Lookups::of(view);
    let mut evidence = Evidence { signs: view.shared, ..Evidence::default() };
    control_signs(view, &mut evidence.signs);
    if lookups.answers().next().is_some() {
        answer_signs(view, &lookups, &mut evidence);
    } else {
        failure_signs(view, &lookups, &mut evidence);
    }
    other_resolvers(view, &lookups, &mut evidence.signs);
    let twice = lookups.rows.iter().any(|row| row.dns_second_answer == Some(true));
    evidence.signs.add_if(twice, Sign::DnsSecondAnswer);
    evidence.signs.add_if(lookups.explicit, Sign::DnsExplicitResolver);
    let portal = same_for_all(view, &lookups);
    evidence.signs.add_if(portal, Sign::DnsSameForAll);
    let confirmed = evidence.signs.has(Sign::DnsControlMatch) || evidence.signs.has(Sign::DnsValidated);
    let mechanism = view.scene.conclude(Some(view.unit), Layer::Dns, &evidence, out);
    mechanism.is_some_and(|mechanism| mechanism.as_str().starts_with(INJECTION)) || (portal && !confirmed)
}

/// Whether the user's resolver gave one and the same address for this name and for every unrelated one
/// that was asked in this measurement, as hotspots do before a guest has signed in.
fn same_for_all(view: &View<'_, '_, '_>, lookups: &Lookups<'_, '_, '_>) -> bool {
    let Some(host) = view.host() else { return false };
    let mut own = lookups.answers().filter_map(|row| row.ip.as_deref());
    let Some(address) = own.next() else { return false };
    if lookups.explicit || !own.all(|other| other == address) {
        return false;
    }
    let related = |other: &str| other.ends_with(host) || host.ends_with(other);
    let mut unrelated = view.scene.facts.observations.iter().filter(|row| {
        let asked = facts::is_lookup(row) && facts::is_user_lookup(row) && row.hop == 0;
        asked && row.ip.is_some() && row.hostname.as_deref().is_some_and(|other| !related(other))
    });
    let Some(first) = unrelated.next() else { return false };
    first.ip.as_deref() == Some(address) && unrelated.all(|row| row.ip.as_deref() == Some(address))
}

/// Every mechanism below it means that the answer is false.
const INJECTION: &str = "dns.injection";

/// The rows of one host's lookups that a user would depend on.
struct Lookups<'s, 'f, 'a> {
    rows: &'s [&'f Observation<'a>],
    /// no user's lookup is there: the test sent its queries to resolvers of its choice
    explicit: bool,
}

impl<'s, 'f, 'a> Lookups<'s, 'f, 'a> {
    fn of(view: &View<'s, 'f, 'a>) -> Self {
        let rows = view.unit.rows.as_slice();
        Self { rows, explicit: !rows.iter().any(|row| facts::is_lookup(row) && facts::is_user_lookup(row)) }
    }

    fn all(&self) -> impl Iterator<Item = &'f Observation<'a>> + '_ {
        self.rows
            .iter()
            .copied()
            .filter(|row| facts::is_lookup(row) && (self.explicit || facts::is_user_lookup(row)))
    }

    fn answers(&self) -> impl Iterator<Item = &'f Observation<'a>> + '_ {
        self.all().filter(|row| row.dns_failure.is_none() && row.ip.is_some())
    }

    /// Answers of resolvers that the user does not use.
    fn others(&self) -> impl Iterator<Item = &'f Observation<'a>> + '_ {
        self.rows
            .iter()
            .copied()
            .filter(|row| facts::is_lookup(row) && !self.explicit && !facts::is_user_lookup(row))
    }
}

fn control_signs(view: &View<'_, '_, '_>, signs: &mut Signs) {
    let (mut addresses, mut bogons) = (0, 0);
    for control in view.scene.facts.controls_for("dns", view.host()) {
        match (&control.ip, control.failure) {
            (Some(_), _) => {
                addresses += 1;
                bogons += u32::from(control.ip_is_bogon == Some(true));
            }
            (None, Some(failure)) => signs.add(match failure.kind() {
                FailureKind::NxDomain => Sign::DnsControlNxDomain,
                FailureKind::NoAnswer => Sign::DnsControlNoAnswer,
                _ => Sign::DnsControlError,
            }),
            (None, None) => signs.add(Sign::DnsControlNoAnswer),
        }
    }
    signs.add_if(addresses > bogons, Sign::DnsControlAnswered);
    signs.add_if(addresses > 0 && addresses == bogons, Sign::DnsControlBogon);
}

fn answer_signs<'f, 'a>(
    view: &View<'_, 'f, 'a>,
    lookups: &Lookups<'_, 'f, 'a>,
    evidence: &mut Evidence<'f, 'a>,
) {
    let scene = view.scene;
    let own = scene.facts.measurement.network;
    let mut signs = Signs::default();
    signs.add(Sign::DnsAnswered);
    let (mut all_bogon, mut own_network) = (true, own.is_known());
    let (mut tried, mut opened, mut unknown) = (false, false, true);
    for row in lookups.answers() {
        let ip = row.ip.as_deref().unwrap_or_default();
        let bogon = facts::is_bogon(row);
        if evidence.row.is_none() {
            evidence.row = Some(row);
        }
        all_bogon &= bogon;
        signs.add_if(bogon && is_zero(ip), Sign::DnsBogonZero);
        // Looked up only as long as it matters.
        let network = if own_network || unknown { scene.network_of(row) } else { None };
        own_network &= network == Some(own);
        unknown &= network.is_none();
        for control in scene.facts.controls_for("dns", view.host()) {
            if control.ip.as_deref().is_some_and(|other| facts::same_address(ip, other)) {
                signs.add(Sign::DnsControlMatch);
            } else {
                signs.add_if(shares_network(row, control), Sign::DnsSameNetwork);
            }
            own_network &= control.ip_network != Some(own);
        }
        if let Some(info) = scene.judge.knowledge.dns(ip) {
            // A bogon has rules of its own: home filters answer with one, too. A vague fingerprint
            // is no proof.
            let vague =
                matches!(info.scope, FingerprintScope::Fp | FingerprintScope::Svr | FingerprintScope::Vbw);
            if !vague && !bogon && info.is_expected_in(scene.facts.measurement.country) {
                signs.add(Sign::DnsFingerprint);
                evidence.fingerprint = Some(info.id.clone());
                evidence.row = Some(row);
            }
        }
        tried |= row.tcp_success.is_some();
        opened |= row.tcp_success == Some(true);
    }
    signs.add_if(all_bogon, Sign::DnsBogon);
    signs.add_if(own_network && !all_bogon, Sign::DnsOwnNetwork);
    signs.add_if(unknown && !all_bogon, Sign::DnsNetworkUnknown);
    signs.add_if(tried && !opened, Sign::DnsUnreachable);
    served_signs(view, lookups, &mut signs, evidence);
    // Other networks are asked only where the measurement itself does not settle it.
    let settled = signs.has(Sign::DnsControlMatch) || signs.has(Sign::DnsSameNetwork);
    if let (false, Some(host)) = (settled || scene.judge.baseline.is_empty(), view.host()) {
        let enough = scene.limits().baseline_networks;
        let valid = lookups
            .answers()
            .filter_map(|row| row.ip.as_deref())
            .any(|ip| scene.tally(votes::valid(host, ip)).worked >= enough);
        signs.add_if(valid, Sign::DnsBaselineValidated);
        scene.add_baseline(
            &mut signs,
            votes::resolve(host),
            Sign::DnsBaselineResolves,
            Sign::DnsBaselineFails,
        );
    }
    evidence.signs = evidence.signs.with(signs);
}

/// What came from the addresses of the answer: certificates and pages.
fn served_signs<'f, 'a>(
    view: &View<'_, 'f, 'a>,
    lookups: &Lookups<'_, 'f, 'a>,
    signs: &mut Signs,
    evidence: &mut Evidence<'f, 'a>,
) {
    let Some(host) = view.host() else { return };
    let scene = view.scene;
    let (mut shown, mut contradicted) = (0, 0);
    for row in lookups.answers() {
        let Some(ip) = row.ip.as_deref() else { continue };
        if !signs.has(Sign::DnsValidated) && scene.is_validated(host, ip) {
            signs.add(Sign::DnsValidated);
        }
        if row.tls_success.is_some() {
            shown += 1;
            // A clock that is off contradicts the dates of every certificate.
            let dates = row.tls_failure == Some(Failure::SslInvalidCertificate);
            contradicted += u32::from(
                row.tls_failure.is_some_and(Failure::is_certificate)
                    && !(dates && view.shared.has(Sign::ClockOff)),
            );
        }
        if row.http_status.is_some() {
            match page::compare(row, scene.control_page) {
                page::Likeness::Same => signs.add(Sign::DnsContentSame),
                page::Likeness::Different => signs.add(Sign::DnsContentDiffers),
                page::Likeness::Unclear => {}
            }
            if let Some(id) = page::blockpage(row, scene) {
                signs.add(Sign::DnsLeadsToBlockpage);
                if evidence.fingerprint.is_none() {
                    evidence.fingerprint = Some(id.to_owned());
                    evidence.row = Some(row);
                }
            }
        }
    }
    // Before web_connectivity 0.5 requests carry no address: they went to what the system resolver gave.
    for row in
        view.unit.rows.iter().filter(|row| row.ip.is_none() && row.http_status.is_some() && row.classic)
    {
        signs.add_if(page::is_authenticated(row), Sign::DnsValidated);
        signs.add_if(page::compare(row, scene.control_page) == page::Likeness::Same, Sign::DnsContentSame);
    }
    let valid_elsewhere = scene.facts.controls.iter().any(|control| {
        control.kind == "tls"
            && worked(control)
            && control.server_name.as_deref().or(control.hostname.as_deref()) == Some(host)
    });
    // Helpers of web_connectivity 0.4 shake no hands of their own: a page over https took a valid
    // certificate.
    let input = scene.facts.measurement.input.as_deref();
    let valid_elsewhere = valid_elsewhere
        || (view.unit.hop == 0
            && input.is_some_and(|input| input.starts_with("https:"))
            && scene.facts.measurement.hostname.as_deref() == Some(host)
            && scene.control_page.is_some()
            && !signs.has(Sign::DnsSameNetwork));
    signs.add_if(shown > 0 && shown == contradicted && valid_elsewhere, Sign::DnsCertificateContradicts);
}

fn failure_signs<'f, 'a>(
    view: &View<'_, 'f, 'a>,
    lookups: &Lookups<'_, 'f, 'a>,
    evidence: &mut Evidence<'f, 'a>,
) {
    let worst = lookups.all().filter(|row| row.dns_failure.is_some()).max_by_key(|row| {
        // The earliest of the most telling failures, so that the order of rows does not matter beyond ties.
        (row.dns_failure.map_or(0, weight), std::cmp::Reverse(row.observation))
    });
    let Some(row) = worst else { return };
    evidence.row = Some(row);
    let signs = &mut evidence.signs;
    signs.add(Sign::DnsFailed);
    signs.add_if(view.host().is_some_and(app::is_known_name), Sign::DnsKnownName);
    let failure = row.dns_failure.unwrap_or_default();
    signs.add(match (failure, failure.kind()) {
        (Failure::DnsBogon, _) => Sign::DnsBogon,
        (Failure::AndroidDnsCacheNoData, _) => Sign::DnsAndroidNoData,
        (Failure::DnsRefused, _) => Sign::DnsRefused,
        (_, FailureKind::NxDomain) => Sign::DnsNxDomain,
        (_, FailureKind::NoAnswer) => Sign::DnsNoAnswer,
        (_, FailureKind::Timeout) => Sign::DnsTimeout,
        (_, FailureKind::Local | FailureKind::Unreachable | FailureKind::Unknown) => Sign::DnsLocal,
        _ => Sign::DnsServfail,
    });
    let only_aaaa = lookups.all().all(|row| row.dns_query_type.as_deref() == Some("AAAA"));
    let control_v6 = view
        .scene
        .facts
        .controls_for("dns", view.host())
        .any(|control| control.ip.as_deref().is_some_and(facts::is_ipv6));
    signs.add_if(only_aaaa && !control_v6, Sign::DnsOnlyAaaa);
    let key = if lookups.explicit { votes::resolver(row) } else { view.host().map(votes::resolve) };
    if let Some(key) = key {
        view.scene.add_baseline(signs, key, Sign::DnsBaselineResolves, Sign::DnsBaselineFails);
    }
}

/// How telling a failure is, when the queries for A and AAAA fail differently.
fn weight(failure: Failure) -> u32 {
    match failure.kind() {
        FailureKind::Local | FailureKind::Unknown => 1,
        FailureKind::Unreachable => 2,
        FailureKind::NoAnswer => 3,
        FailureKind::Timeout => 4,
        FailureKind::NxDomain => 6,
        _ => 5,
    }
}

/// What resolvers that the user does not use said of the same name.
fn other_resolvers(view: &View<'_, '_, '_>, lookups: &Lookups<'_, '_, '_>, signs: &mut Signs) {
    let mut encrypted = [false; 3];
    for other in lookups.others() {
        let secret = facts::is_encrypted(other);
        let Some(ip) = other.ip.as_deref() else {
            let nothing = other.dns_failure.map(Failure::kind) == Some(FailureKind::NxDomain);
            signs.add_if(secret && nothing, Sign::DnsEncryptedNxDomain);
            continue;
        };
        if facts::is_bogon(other) {
            continue;
        }
        let matches_control = view
            .scene
            .facts
            .controls_for("dns", view.host())
            .any(|control| control.ip.as_deref().is_some_and(|known| facts::same_address(ip, known)));
        let same_address =
            lookups.answers().any(|row| row.ip.as_deref().is_some_and(|own| facts::same_address(ip, own)));
        let same_network = lookups.answers().any(|row| {
            row.ip_network.is_some_and(|asn| asn.is_known()) && row.ip_network == other.ip_network
        });
        if secret {
            encrypted[0] = true;
            encrypted[1] |= same_address || same_network;
            encrypted[2] |= matches_control;
        } else {
            signs.add(Sign::DnsPlainAnswered);
            signs.add_if(same_address, Sign::DnsPlainAgrees);
            signs.add_if(matches_control, Sign::DnsPlainMatchesControl);
        }
    }
    signs.add_if(encrypted[0], Sign::DnsEncryptedAnswered);
    signs.add_if(encrypted[1], Sign::DnsEncryptedAgrees);
    signs.add_if(encrypted[0] && !encrypted[1], Sign::DnsEncryptedDisagrees);
    signs.add_if(encrypted[2], Sign::DnsEncryptedMatchesControl);
}

fn is_zero(ip: &str) -> bool {
    matches!(ip, "0.0.0.0" | "::" | "::1") || ip.starts_with("127.")
}
