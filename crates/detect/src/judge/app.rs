//! What whole applications say of themselves: messengers, Tor, VPNs, calls.
//!
//! One verdict a measurement. These tests have no helper, so other networks, the parts of the same
//! application and what else worked in the same measurement stand in for one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use okno_model::{Failure, FailureKind, Layer, Observation, State, Verdict};

use super::{Evidence, Scene, cut};
use crate::facts::{self, Facts};
use crate::signs::{Sign, Signs};
use crate::votes;

pub(super) fn test_sign(test: &str) -> Option<Sign> {
    Some(match test {
        "telegram" => Sign::TestTelegram,
        "whatsapp" => Sign::TestWhatsapp,
        "facebook_messenger" => Sign::TestFacebook,
        "signal" => Sign::TestSignal,
        "tor" | "vanilla_tor" => Sign::TestTor,
        "torsf" => Sign::TestSnowflake,
        "psiphon" => Sign::TestPsiphon,
        "openvpn" => Sign::TestOpenvpn,
        "riseupvpn" => Sign::TestRiseup,
        "stunreachability" => Sign::TestStun,
        "http_invalid_request_line" => Sign::TestEcho,
        "http_header_field_manipulation" => Sign::TestHeaders,
        "sni_blocking" | "tlsmiddlebox" => Sign::TestSni,
        "echcheck" => Sign::TestEch,
        _ => return None,
    })
}

pub(super) fn judge<'a>(scene: &Scene<'_, '_, 'a>, first: usize, out: &mut Vec<Verdict<'a>>) {
    let rows = scene.facts.observations;
    if !rows.iter().any(|row| row.app.is_some()) {
        return;
    }
    let mut evidence = Evidence { signs: scene.shared, ..Evidence::default() };
    let mut signs = Signs::default();
    let parts = Parts::of(scene, &mut signs, &mut evidence);
    parts.add_signs(&mut signs);
    signs.add_if(signal_is_outdated(scene), Sign::AppInvalidated);
    endpoints(scene, &mut signs);
    named_servers(scene, &mut signs);
    let forged = out[first..].iter().any(|v| v.layer == Layer::Dns && v.state == State::Blocked);
    signs.add_if(forged, Sign::AppNameForged);
    evidence.row = evidence.row.or_else(|| rows.iter().find(|row| row.app.is_some()));
    evidence.signs = evidence.signs.with(signs);
    // Some applications test one layer alone; their word is about that layer.
    let layer = match scene.facts.measurement.test_name.as_ref() {
        "http_invalid_request_line" | "http_header_field_manipulation" => Layer::Http,
        "quicping" | "simplequicping" => Layer::Quic,
        _ => Layer::App,
    };
    translate(layer, &mut evidence.signs);
    scene.conclude(None, layer, &evidence, out);
}

/// The same statements in the words of the layer that they are about.
fn translate(layer: Layer, signs: &mut Signs) {
    let (failed, worked) = (signs.has(Sign::AppFailed), signs.has(Sign::AppOk));
    match layer {
        Layer::Http => {
            signs.add_if(failed, Sign::HttpTampered);
            signs.add_if(worked, Sign::HttpIntact);
        }
        Layer::Quic => {
            signs.add_if(worked, Sign::QuicOk);
            signs.add_if(failed, Sign::QuicFailed);
            signs.add_if(failed && signs.has(Sign::AppTimeout), Sign::QuicTimeout);
            signs.add_if(signs.has(Sign::AppBaselineOk), Sign::QuicBaselineOk);
            signs.add_if(signs.has(Sign::AppBaselineFails), Sign::QuicBaselineFails);
        }
        _ => {}
    }
}

/// How the parts of an application fared.
#[derive(Default)]
struct Parts {
    worked: u32,
    failed: u32,
    bridges: [u32; 2],
    directory: [u32; 2],
    /// statements about the application's own servers: not its web page, not its names
    core: [u32; 2],
}

impl Parts {
    fn of<'f, 'a>(scene: &Scene<'_, 'f, 'a>, signs: &mut Signs, evidence: &mut Evidence<'f, 'a>) -> Self {
        let mut parts = Self::default();
        let mut heard = 0;
        for row in scene.facts.observations {
            let (Some(app), Some(worked)) = (row.app.as_deref(), row.app_success) else { continue };
            let side = usize::from(!worked);
            // Facebook's own addresses inside providers' networks count as inconsistent there (ts-019).
            if app == "dns_consistent" {
                continue;
            }
            if worked {
                parts.worked += 1;
            } else {
                parts.failed += 1;
                if evidence.row.is_none() {
                    evidence.row = Some(row);
                    failure_signs(row, signs);
                }
                // A part that works elsewhere speaks for all; asking about a dozen is enough.
                if heard < 12 && !signs.has(Sign::AppBaselineOk) {
                    heard += 1;
                    let key = votes::app(&scene.facts.measurement.target, app, row);
                    scene.add_baseline(signs, key, Sign::AppBaselineOk, Sign::AppBaselineFails);
                    if signs.has(Sign::AppBaselineOk) {
                        evidence.row = Some(row);
                    }
                }
            }
            match (app, row.role.as_deref()) {
                ("target", Some("obfs4")) => parts.bridges[side] += 1,
                ("target", _) => parts.directory[side] += 1,
                ("web", _) => {}
                _ => parts.core[side] += 1,
            }
        }
        parts
    }

    fn add_signs(&self, signs: &mut Signs) {
        signs.add_if(self.worked > 0 && self.failed == 0, Sign::AppOk);
        signs.add_if(self.failed > 0, Sign::AppFailed);
        signs.add_if(self.worked > 0 && self.failed > 0, Sign::AppPartial);
        signs.add_if(self.worked + self.failed == 0, Sign::AppNotRun);
        signs.add_if(self.core[1] > 0 && self.core[0] == 0, Sign::AppCoreFailed);
        signs.add_if(self.core[0] > 0 && self.core[1] == 0, Sign::AppCoreOk);
        let fails = |tally: [u32; 2]| tally[0] == 0 && tally[1] >= 5;
        signs.add_if(fails(self.bridges) && self.directory[0] >= 3, Sign::AppBridgesFailed);
        signs.add_if(fails(self.directory) && self.bridges[0] >= 3, Sign::AppDirectoryFailed);
    }
}

fn failure_signs(row: &Observation<'_>, signs: &mut Signs) {
    match row.app_failure.map(Failure::kind) {
        Some(FailureKind::Timeout) => signs.add(Sign::AppTimeout),
        Some(FailureKind::Reset | FailureKind::Eof | FailureKind::Refused) => signs.add(Sign::AppReset),
        _ => {}
    }
}

/// Servers that are named by address, which is how messengers and Tor name theirs, and all the others.
fn endpoints(scene: &Scene<'_, '_, '_>, signs: &mut Signs) {
    let (mut tried, mut opened, mut silent) = (0u32, 0u32, 0u32);
    let mut web = [false; 2];
    let mut cut_hosts: Vec<&str> = Vec::new();
    let mut completed = false;
    for row in scene.facts.observations {
        let named = row.hostname.as_deref().filter(|host| host.parse::<IpAddr>().is_err());
        completed |= row.tls_success == Some(true);
        let Some(host) = named else {
            if let Some(worked) = row.tcp_success {
                tried += 1;
                opened += u32::from(worked);
                silent += u32::from(cut(row.tcp_failure) == Some(FailureKind::Timeout));
            }
            continue;
        };
        let answered = row.http_status.is_some() || row.tls_success == Some(true);
        let broken = row.http_failure.is_some() && !facts::is_local(row.http_failure);
        web[0] |= answered;
        web[1] |= !answered && broken;
        let is_cut = row.tcp_success == Some(true) && cut(row.tls_failure).is_some();
        if is_cut && !cut_hosts.contains(&host) {
            cut_hosts.push(host);
        }
    }
    signs.add_if(tried >= 3 && opened == 0, Sign::AppEndpointsAllFailed);
    signs.add_if(opened > 0, Sign::AppEndpointsOk);
    signs.add_if(tried >= 5 && opened * 5 < tried, Sign::AppEndpointsMost);
    signs.add_if(silent > 0 && silent == tried, Sign::AppTimeout);
    signs.add_if(web[0], Sign::AppWebOk);
    signs.add_if(web[1] && !web[0], Sign::AppWebFailed);
    signs.add_if(cut_hosts.len() >= 3 && !completed, Sign::AppHandshakesCut);
}

/// Hosts that only take connections, as WhatsApp's and Facebook's do: whether all of them failed.
fn named_servers(scene: &Scene<'_, '_, '_>, signs: &mut Signs) {
    let mut hosts: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    let mut speaks: Vec<&str> = Vec::new();
    for row in scene.facts.observations {
        let Some(host) = row.hostname.as_deref().filter(|host| host.parse::<IpAddr>().is_err()) else {
            continue;
        };
        if row.tls_success.is_some() || row.http_status.is_some() || row.http_failure.is_some() {
            speaks.push(host);
        }
        if let Some(opened) = row.tcp_success {
            let told =
                opened || !matches!(kind(row), None | Some(FailureKind::Local | FailureKind::Unreachable));
            let entry = hosts.entry(host).or_default();
            entry.0 |= opened;
            entry.1 |= told;
        }
    }
    let servers = || hosts.iter().filter(|(host, _)| !speaks.contains(host)).map(|(_, fate)| *fate);
    let failed = servers().filter(|(opened, told)| !opened && *told).count();
    signs.add_if(failed >= 3 && !servers().any(|(opened, _)| opened), Sign::AppServersFailed);
}

fn kind(row: &Observation<'_>) -> Option<FailureKind> {
    row.tcp_failure.map(Failure::kind)
}

/// Whether the application says that its servers, not its web page alone, work.
pub(super) fn servers_work(facts: &Facts<'_, '_>) -> bool {
    let mut servers = facts
        .observations
        .iter()
        .filter(|row| row.app.as_deref().is_some_and(|app| !matches!(app, "web" | "dns_consistent")))
        .filter_map(|row| row.app_success)
        .peekable();
    servers.peek().is_some() && servers.all(|worked| worked)
}

/// Whether a name is one of a messenger's that has stood for years. Signal's are left out: it
/// retired several,
/// and tests that still ask for those get NXDOMAIN everywhere.
pub(super) fn is_known_name(host: &str) -> bool {
    const DOMAINS: [&str; 6] =
        ["telegram.org", "whatsapp.net", "whatsapp.com", "facebook.com", "fbcdn.net", "fbsbx.com"];
    let host = host.trim_end_matches('.');
    DOMAINS
        .iter()
        .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Signal rotated its root certificate: tests older than the new root fail everywhere from these dates on
/// (ooni/backend fastpath `score_signal`: test 0.2.3 and older from 2023-11-07, older than 0.2.2 from
/// 2022-10-19; 0.2.4 never worked; engines older than 3.17.2 from 2023-05-02).
fn signal_is_outdated(scene: &Scene<'_, '_, '_>) -> bool {
    let measurement = scene.facts.measurement;
    if measurement.test_name != "signal" {
        return false;
    }
    let test = version(measurement.test_version.as_deref());
    // The dates are of OONI's engine; other software that runs the test counts its versions otherwise.
    let is_oonis = measurement.software_name.as_deref().is_none_or(|name| name.contains("ooni"));
    let software = measurement.software_version.as_deref().filter(|_| is_oonis);
    let engine = version(measurement.engine_version.as_deref().or(software));
    let day = measurement.start_utc.day_index();
    // Days since 1970 of the dates above.
    const OCTOBER_2022: i64 = 19_284;
    const MAY_2023: i64 = 19_479;
    const NOVEMBER_2023: i64 = 19_668;
    test == Some([0, 2, 4])
        || (day >= NOVEMBER_2023 && test.is_some_and(|test| test <= [0, 2, 3]))
        || (day >= OCTOBER_2022 && test.is_some_and(|test| test < [0, 2, 2]))
        || (day >= MAY_2023 && engine.is_some_and(|engine| engine < [3, 17, 2]))
}

/// The first three numbers of a version; `None` when it does not start with a number.
fn version(text: Option<&str>) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    for (slot, part) in numbers.iter_mut().zip(text?.split('.')) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        *slot = part[..digits].parse().ok()?;
    }
    Some(numbers)
}
