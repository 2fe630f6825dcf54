//! The judge: facts in, verdicts out, never an error.
//!
//! One pass per host and hop: name resolution first, because what it says of an address decides
//! whether connections to that address may accuse anybody. Evidence is a small set of bits on the
//! stack; text is written only for verdicts that are not `ok`.

mod app;
mod arms;
mod dns;
mod http;
mod page;
mod tcp;
mod tls;
mod witness;

use okno_model::{Asn, Control, FailureKind, Layer, Mechanism, Observation, State, Timestamp, Verdict};

use crate::baseline::{Baseline, Tally};
use crate::facts::{self, Facts, Unit};
use crate::knowledge::Knowledge;
use crate::rules::{Evaluator, Limits, Outcome, Ruleset};
use crate::signs::{Sign, Signs};
use crate::{hash, v5, votes};

/// Judges measurements by a ruleset, a baseline and outside knowledge. Cheap to make, shared between threads.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'k> {
    pub(crate) rules: &'k Ruleset,
    pub(crate) baseline: &'k Baseline,
    pub(crate) knowledge: &'k Knowledge,
}

impl<'k> Judge<'k> {
    /// A judge.
    pub fn new(rules: &'k Ruleset, baseline: &'k Baseline, knowledge: &'k Knowledge) -> Self {
        Self { rules, baseline, knowledge }
    }

    /// Appends one verdict per host, hop and layer that the measurement has data about; one that says
    /// `insufficient` when it has none, so that no measurement is missing from any count.
    pub fn judge<'a>(&self, facts: &Facts<'_, 'a>, out: &mut Vec<Verdict<'a>>) {
        let first = out.len();
        match self.rules.evaluator() {
            Evaluator::OoniV5 => v5::judge(self, facts, out),
            Evaluator::Native => self.judge_native(facts, out),
        }
        if out.len() == first {
            let measurement = facts.measurement;
            out.push(Verdict {
                measurement_uid: measurement.measurement_uid.clone(),
                test_name: measurement.test_name.clone(),
                target: measurement.target.clone(),
                hostname: measurement.hostname.clone(),
                country: measurement.country,
                network: measurement.network,
                start_utc: measurement.start_utc,
                layer: Layer::App,
                state: State::Insufficient,
                rule: "no_evidence".into(),
                rules_fired: "no_evidence".into(),
                ruleset: self.rules.stamp_text(),
                reference: self.knowledge.stamp_text(),
                ..Verdict::default()
            });
        }
    }

    fn judge_native<'a>(&self, facts: &Facts<'_, 'a>, out: &mut Vec<Verdict<'a>>) {
        let first = out.len();
        let units = facts.units();
        let scene = Scene::new(self, facts);
        for unit in &units {
            let view = scene.view(unit, out);
            tcp::judge(&view, out);
            tls::judge(&view, out);
            tls::judge_quic(&view, out);
            http::judge(&view, out);
        }
        arms::judge(&scene, out);
        app::judge(&scene, first, out);
    }
}

/// What stands beside every host of one measurement.
pub(crate) struct Scene<'s, 'f, 'a> {
    judge: &'s Judge<'s>,
    facts: &'s Facts<'f, 'a>,
    shared: Signs,
    ipv6_broken: bool,
    control_page: Option<&'f Control<'a>>,
    last: Option<page::Last>,
    version: Option<u64>,
}

/// One host at one hop, and what name resolution said of it.
pub(crate) struct View<'s, 'f, 'a> {
    scene: &'s Scene<'s, 'f, 'a>,
    unit: &'s Unit<'f, 'a>,
    /// signs that every layer of this host shares
    shared: Signs,
    /// the user's answer was found false
    dns_false: bool,
}

/// What a layer found.
#[derive(Default)]
pub(crate) struct Evidence<'f, 'a> {
    signs: Signs,
    row: Option<&'f Observation<'a>>,
    control: Option<&'f Control<'a>>,
    fingerprint: Option<String>,
    /// the arms that were compared, where the test compares
    arms: Vec<&'f Observation<'a>>,
}

impl<'s, 'f, 'a> Scene<'s, 'f, 'a> {
    fn new(judge: &'s Judge<'s>, facts: &'s Facts<'f, 'a>) -> Self {
        let control_page = facts.controls.iter().find(|control| {
            control.kind == "http" && control.failure.is_none() && control.http_status.is_some()
        });
        let mut scene = Self {
            judge,
            facts,
            shared: Signs::default(),
            ipv6_broken: is_ipv6_broken(facts.observations),
            control_page,
            last: page::last(facts, control_page),
            version: votes::version(facts.measurement),
        };
        scene.shared = scene.shared_signs();
        scene
    }

    fn shared_signs(&self) -> Signs {
        let mut signs = Signs::default();
        let measurement = self.facts.measurement;
        signs.add(match measurement.control.as_ref() {
            "ok" => Sign::ControlOk,
            "failed" => Sign::ControlFailed,
            "absent" => Sign::ControlAbsent,
            _ => Sign::ControlNone,
        });
        signs.add_if(self.control_page.is_some(), Sign::ControlHttpOk);
        let page_failed = self.control_page.is_none()
            && self.facts.controls.iter().any(|c| c.kind == "http" && c.failure.is_some());
        signs.add_if(page_failed, Sign::ControlHttpFailed);
        let offline = !signs.has(Sign::ControlOk) && !self.facts.observations.iter().any(facts::has_success);
        signs.add_if(offline, Sign::ProbeOffline);
        let connected = self.facts.observations.iter().any(|row| {
            row.tcp_success == Some(true) || row.tls_success == Some(true) || row.http_status.is_some()
        });
        signs.add_if(signs.has(Sign::ControlFailed) && !connected, Sign::NoConnection);
        signs.add_if(is_clock_off(measurement.start_utc, measurement.upload_utc), Sign::ClockOff);
        if let Some(test) = arms::Test::of(&measurement.test_name) {
            signs.add(test.sign);
        }
        if let Some(sign) = app::test_sign(&measurement.test_name) {
            signs.add(sign);
            signs.add_if(app::servers_work(self.facts), Sign::ProbeServersOk);
            let messengers = [Sign::TestTelegram, Sign::TestWhatsapp, Sign::TestFacebook, Sign::TestSignal];
            signs.add_if(messengers.contains(&sign), Sign::TestMessenger);
        }
        signs
    }

    /// Judges the names of a host, and says what the other layers must know of them.
    fn view(&'s self, unit: &'s Unit<'f, 'a>, out: &mut Vec<Verdict<'a>>) -> View<'s, 'f, 'a> {
        let mut shared = self.shared;
        shared.add_if(unit.hop > 0, Sign::Hop);
        shared.add_if(unit.hop > 0 && self.control_page.is_some(), Sign::ChainControlOk);
        let mut view = View { scene: self, unit, shared, dns_false: false };
        view.dns_false = dns::judge(&view, out);
        view
    }

    fn tally(&self, key: u64) -> Tally {
        if self.judge.baseline.is_empty() {
            return Tally::default();
        }
        let measurement = self.facts.measurement;
        self.judge.baseline.tally(key, measurement.start_utc, measurement.network)
    }

    /// Adds what other networks say of a failure here: works elsewhere, fails everywhere, instrument defect.
    fn add_baseline(&self, signs: &mut Signs, key: u64, ok: Sign, fails: Sign) {
        if self.judge.baseline.is_empty() {
            return;
        }
        let limits = self.limits();
        let all = self.tally(key);
        signs.add_if(all.worked >= limits.baseline_networks, ok);
        let everywhere = all.worked == 0
            && all.failed >= limits.baseline_networks
            && all.failed_countries >= limits.baseline_countries;
        signs.add_if(everywhere, fails);
        let Some(version) = self.version else { return };
        let same = self.tally(hash::mix(key, version));
        let defect = same.worked == 0
            && same.failed >= limits.baseline_networks
            && same.failed_countries >= limits.baseline_countries
            && all.worked >= limits.baseline_networks
            // Networks that fail with other versions would point to the network, not to the version.
            && all.failed <= same.failed;
        signs.add_if(defect, Sign::InstrumentDefect);
    }

    fn limits(&self) -> Limits {
        self.judge.rules.limits()
    }

    /// The network of an address: from the tables, or else as the helper said (ts-017 `ip_info`).
    fn network_of(&self, row: &Observation<'a>) -> Option<Asn> {
        row.ip_network.filter(|asn| asn.is_known()).or_else(|| {
            let ip = row.ip.as_deref()?;
            self.facts
                .controls
                .iter()
                .find(|control| {
                    control.ip_network.is_some_and(|asn| asn.is_known())
                        && control.ip.as_deref().is_some_and(|other| facts::same_address(ip, other))
                })
                .and_then(|control| control.ip_network)
        })
    }

    /// Whether a verified certificate for the name was seen at an address, by the probe or by the helper.
    fn is_validated(&self, host: &str, ip: &str) -> bool {
        let by_probe = self.facts.observations.iter().any(|row| {
            row.tls_success == Some(true)
                && !row.tls_unverified
                && row.tls_server_name.as_deref().or(row.hostname.as_deref()) == Some(host)
                && row.ip.as_deref().is_some_and(|other| facts::same_address(ip, other))
        });
        by_probe
            || self.facts.controls.iter().any(|control| {
                matches!(control.kind.as_ref(), "tls" | "quic")
                    && worked(control)
                    && control.server_name.as_deref().or(control.hostname.as_deref()) == Some(host)
                    && control.ip.as_deref().is_some_and(|other| facts::same_address(ip, other))
            })
    }

    /// Rules on the signs, and the verdict.
    fn conclude(
        &self,
        unit: Option<&Unit<'f, 'a>>,
        layer: Layer,
        evidence: &Evidence<'f, 'a>,
        out: &mut Vec<Verdict<'a>>,
    ) -> Option<Mechanism> {
        let rules = self.judge.rules;
        let decision = rules.decide(layer, &evidence.signs);
        let (state, mechanism, probability) = match decision.rule.map(crate::rules::Rule::outcome) {
            Some(Outcome::Finding { state, mechanism, probability }) => (state, mechanism, probability),
            _ => (State::Insufficient, None, 0.0),
        };
        let measurement = self.facts.measurement;
        let row = evidence.row;
        let named = unit.and_then(|unit| unit.rows.first()).and_then(|row| row.hostname.clone());
        let witness = (state != State::Ok).then(|| witness::text(self, layer, state, evidence)).flatten();
        out.push(Verdict {
            measurement_uid: measurement.measurement_uid.clone(),
            test_name: measurement.test_name.clone(),
            target: measurement.target.clone(),
            hostname: named,
            hop: unit.map_or(0, |unit| unit.hop),
            country: measurement.country,
            network: measurement.network,
            start_utc: measurement.start_utc,
            layer,
            state,
            mechanism: mechanism.map(|mechanism| mechanism.as_str().into()),
            probability,
            rule: decision.rule.map_or("no_rule".into(), crate::rules::Rule::stable_id),
            rules_fired: rules.fired_ids(&decision),
            witness: witness.map(Into::into),
            witness_observation: row.map(|row| row.observation),
            fingerprint: evidence.fingerprint.clone().map(Into::into),
            ruleset: rules.stamp_text(),
            reference: self.judge.knowledge.stamp_text(),
        });
        mechanism
    }
}

impl<'s, 'f, 'a> View<'s, 'f, 'a> {
    fn host(&self) -> Option<&'f str> {
        self.unit.host
    }

    /// Whether something other than the user's own resolver gives this address for the name.
    fn is_vouched(&self, row: &Observation<'a>) -> bool {
        let (Some(ip), Some(host)) = (row.ip.as_deref(), self.host()) else { return false };
        self.scene.facts.controls_for("dns", Some(host)).any(|control| shares_network(row, control))
            || self
                .encrypted_answers()
                .any(|answer| answer.ip.as_deref().is_some_and(|other| facts::same_address(ip, other)))
            || self.scene.is_validated(host, ip)
    }

    /// Whether the row is about an address that only a false answer gave.
    fn is_false_address(&self, row: &Observation<'a>) -> bool {
        if !self.dns_false {
            return false;
        }
        match row.ip {
            Some(_) => !self.is_vouched(row),
            // An HTTP row without an address: it went to some address of the answer.
            None => !self.unit.rows.iter().any(|other| {
                other.ip.is_some()
                    && facts::is_lookup(other)
                    && facts::is_user_lookup(other)
                    && self.is_vouched(other)
            }),
        }
    }

    fn encrypted_answers(&self) -> impl Iterator<Item = &'f Observation<'a>> + '_ {
        self.unit.rows.iter().copied().filter(|row| {
            facts::is_lookup(row) && facts::is_encrypted(row) && row.ip.is_some() && !facts::is_bogon(row)
        })
    }

    /// The helper's row about an address and port, of one kind.
    fn control_at(&self, kind: &str, row: &Observation<'a>) -> Option<&'f Control<'a>> {
        let ip = row.ip.as_deref()?;
        self.scene.facts.controls.iter().find(|control| {
            control.kind == kind
                && (row.port.is_none() || control.port.is_none() || control.port == row.port)
                && control.ip.as_deref().is_some_and(|other| facts::same_address(ip, other))
        })
    }
}

/// Whether the helper's operation worked.
fn worked(control: &Control<'_>) -> bool {
    control.failure.is_none() && control.success.unwrap_or(true)
}

/// Whether an answer shares address, network or organisation with one of the helper's.
fn shares_network(row: &Observation<'_>, control: &Control<'_>) -> bool {
    let same = |a: &str| control.ip.as_deref().is_some_and(|b| facts::same_address(a, b));
    row.ip.as_deref().is_some_and(same)
        || (row.ip_network.is_some_and(|asn| asn.is_known()) && row.ip_network == control.ip_network)
}

fn is_ipv6_broken(rows: &[Observation<'_>]) -> bool {
    let (mut failed, mut v4) = (false, false);
    for row in rows {
        let Some(opened) = row.tcp_success else { continue };
        match (row.ip.as_deref().is_some_and(facts::is_ipv6), opened) {
            (true, true) => return false,
            (true, false) => failed = true,
            (false, opened) => v4 |= opened,
        }
    }
    failed && v4
}

fn is_clock_off(start: Timestamp, upload: Option<Timestamp>) -> bool {
    const DAY_US: i64 = 86_400_000_000;
    upload.is_some_and(|upload| start.micros().saturating_sub(upload.micros()).saturating_abs() > DAY_US)
}

/// How a connection was cut, as far as two cuts can be called the same.
fn cut(failure: Option<okno_model::Failure>) -> Option<FailureKind> {
    match failure?.kind() {
        kind @ (FailureKind::Reset | FailureKind::Timeout | FailureKind::Eof) => Some(kind),
        _ => None,
    }
}
