//! The test keys of version 0.5, in OONI's shape (webconnectivitylte/testkeys.go).

use serde_json::{Map, Value, json};

use super::measure::Measure;
use super::seen::{Control, Seen};
use super::verdict::judge;
use super::{NO_HELPER, TOO_MANY_REDIRECTS};
use crate::helper::web::protocol::HelperResponse;
use crate::trace::{NetworkEvent, Trace};

/// Lists of a trace that stand apart, under these keys.
fn apart(trace: &Trace, wanted: &[&str]) -> Value {
    let mut keys = trace.test_keys();
    keys.retain(|key, _| wanted.contains(&key.as_str()));
    Value::Object(keys)
}

/// The same of the lookups over HTTPS. OONI's probe has a list of their requests and leaves it empty: what
/// they brought stands in `queries`.
fn doh(trace: &Trace) -> Value {
    let mut keys = apart(trace, &["network_events", "queries", "tcp_connect", "tls_handshakes"]);
    keys["requests"] = json!([]);
    keys
}

/// Networks of answers as far as the helper told them; the probe has no table of its own.
fn name_networks(keys: &mut Map<String, Value>, said: Option<&HelperResponse>) {
    let Some(said) = said else { return };
    let queries = keys.get_mut("queries").and_then(Value::as_array_mut).into_iter().flatten();
    for answer in queries.filter_map(|query| query["answers"].as_array_mut()).flatten() {
        let ip = answer["ipv4"].as_str().or(answer["ipv6"].as_str());
        let asn = ip.and_then(|ip| said.ip_info.get(ip)).map_or(0, |info| info.asn);
        if asn != 0 {
            answer["asn"] = asn.into();
            answer["as_org_name"] = "".into();
        }
    }
}

/// Everything that a measurement writes.
pub fn of(measure: &Measure<'_>) -> Value {
    let helped = measure.helped.borrow();
    let mut host = String::new();
    let control = helped
        .request
        .as_ref()
        .zip(helped.response.as_ref())
        .and_then(|(asked, said)| Control::of(asked, said, &mut host));
    let too_many = measure.too_many.borrow();
    let verdict = judge(&Seen::of(&measure.trace, &too_many), control.as_ref());
    if !measure.options.bodies {
        measure.trace.forget_bodies();
    }
    let mut keys = measure.trace.test_keys();
    if !measure.options.quic {
        keys.remove("quic_handshakes");
    }
    let events = measure.trace.network_events();
    let snapshots = measure.snapshots.borrow();
    let mut events: Vec<&NetworkEvent> = events.iter().chain(snapshots.iter()).collect();
    events.sort_by(|a, b| a.stamp.t.total_cmp(&b.stamp.t));
    keys.insert("network_events".to_owned(), json!(events));
    name_too_many(&mut keys, &too_many);
    name_networks(&mut keys, helped.response.as_ref());
    let failure = match (&helped.failure, &helped.request) {
        (Some(failure), _) => Value::from(failure.as_str()),
        (None, None) => Value::from(NO_HELPER),
        (None, Some(_)) => Value::Null,
    };
    let Value::Object(own) = json!({
        "agent": "redirect",
        // Whoever the resolver is stays with the person who measures; OONI writes its address.
        "client_resolver": "127.0.0.2",
        "retries": null,
        "socksproxy": null,
        "x_dns_whoami": {"system_v4": [], "udp_v4": {}},
        "x_doh": doh(&measure.doh),
        "x_do53": apart(&measure.do53, &["network_events", "queries"]),
        "x_dns_duplicate_responses": *measure.late.queries(),
        "x_control_request": helped.request,
        "control": helped.response,
        "x_conn_priority_log": *measure.log.borrow(),
        "control_failure": failure,
    }) else {
        return Value::Object(keys);
    };
    keys.extend(own);
    verdict.write(&mut keys);
    Value::Object(keys)
}

/// df-007 has no name for it, so the record says it in words.
fn name_too_many(keys: &mut Map<String, Value>, too_many: &[u64]) {
    let Some(requests) = keys.get_mut("requests").and_then(Value::as_array_mut) else { return };
    for request in requests {
        if request["transaction_id"].as_u64().is_some_and(|id| too_many.contains(&id)) {
            request["failure"] = TOO_MANY_REDIRECTS.into();
        }
    }
}
