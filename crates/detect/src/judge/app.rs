//! What whole applications say of themselves: messengers, Tor, VPNs, calls.
//!
//! One verdict a measurement. These tests have no helper, so other networks, the parts of the same
//! application and what else worked in the same measurement stand in for one.

use okno_model::{Failure, FailureKind, Layer, Observation, State, Verdict};

use super::{Evidence, Scene, cut};
use crate::facts;
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
        "http_invalid_request_line" | "http_header_field_manipulation" => Sign::TestTampering,
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
    let (mut worked, mut failed) = (0u32, 0u32);
    let mut signs = Signs::default();
    for row in rows.iter().filter(|row| row.app.is_some()) {
        match row.app_success {
            Some(true) => worked += 1,
            Some(false) => {
                failed += 1;
                if evidence.row.is_none() {
                    evidence.row = Some(row);
                    failure_signs(scene, row, &mut signs);
                }
            }
            None => {}
        }
    }
    signs.add_if(worked > 0 && failed == 0, Sign::AppOk);
    signs.add_if(failed > 0, Sign::AppFailed);
    signs.add_if(worked > 0 && failed > 0, Sign::AppPartial);
    signs.add_if(worked + failed == 0, Sign::AppNotRun);
    signs.add_if(signal_is_outdated(scene), Sign::AppInvalidated);
    endpoints(scene, &mut signs);
    let forged = out[first..].iter().any(|v| v.layer == Layer::Dns && v.state == State::Blocked);
    signs.add_if(forged, Sign::AppNameForged);
    evidence.row = evidence.row.or_else(|| rows.iter().find(|row| row.app.is_some()));
    evidence.signs = evidence.signs.with(signs);
    scene.conclude(None, Layer::App, &evidence, out);
}

fn failure_signs(scene: &Scene<'_, '_, '_>, row: &Observation<'_>, signs: &mut Signs) {
    match cut(row.app_failure) {
        Some(FailureKind::Timeout) => signs.add(Sign::AppTimeout),
        Some(_) => signs.add(Sign::AppReset),
        None => {
            signs.add_if(row.app_failure.map(Failure::kind) == Some(FailureKind::Refused), Sign::AppReset)
        }
    }
    if let Some(app) = row.app.as_deref() {
        let key = votes::app(&scene.facts.measurement.test_name, app, row.role.as_deref());
        scene.add_baseline(signs, key, Sign::AppBaselineOk, Sign::AppBaselineFails);
    }
}

/// Endpoints: addresses without a host name, which is how messengers and Tor name their servers.
fn endpoints(scene: &Scene<'_, '_, '_>, signs: &mut Signs) {
    let (mut tried, mut opened, mut silent) = (0u32, 0u32, 0u32);
    let mut web = [false; 2];
    for row in scene.facts.observations {
        if row.hostname.is_none() {
            if let Some(worked) = row.tcp_success {
                tried += 1;
                opened += u32::from(worked);
                silent += u32::from(cut(row.tcp_failure) == Some(FailureKind::Timeout));
            }
        } else {
            let answered = row.http_status.is_some() || row.tls_success == Some(true);
            web[usize::from(!answered)] |=
                answered || (row.http_failure.is_some() && !facts::is_local(row.http_failure));
        }
    }
    signs.add_if(tried >= 3 && opened == 0, Sign::AppEndpointsAllFailed);
    signs.add_if(opened > 0, Sign::AppEndpointsOk);
    signs.add_if(tried >= 5 && opened * 5 < tried, Sign::AppEndpointsMost);
    signs.add_if(silent > 0 && silent == tried, Sign::AppTimeout);
    signs.add_if(web[0], Sign::AppWebOk);
    signs.add_if(web[1] && !web[0], Sign::AppWebFailed);
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
    let engine = version(measurement.engine_version.as_deref().or(measurement.software_version.as_deref()));
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
