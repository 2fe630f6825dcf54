//! `whatsapp` (ts-018): the endpoints of the app, its registration service, its web client.
//!
//! The verdict keys are those of the specification. `whatsapp_endpoints_dns_inconsistent` stays empty, as the
//! specification wants it: which addresses are WhatsApp's is left to those who know routing tables.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::urlgetter::{self, Goal, Outcome};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::Task;
use crate::trace::Trace;

/// The test and what it contacts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Whatsapp {
    /// names of the endpoints
    pub endpoints: Vec<String>,
    /// ports of each
    pub ports: Vec<u16>,
    /// the registration service
    pub registration: String,
    /// the web client
    pub web: String,
}

impl Default for Whatsapp {
    fn default() -> Self {
        Self {
            // ts-018, "WhatsApp endpoints check".
            endpoints: (1..=16).map(|number| format!("e{number}.whatsapp.net")).collect(),
            ports: vec![443, 5222],
            registration: "https://v.whatsapp.net/v2/register".to_owned(),
            web: "https://web.whatsapp.com/".to_owned(),
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether WhatsApp's endpoints, registration and web client can be reached",
    trigger: "the names of WhatsApp's servers in DNS and TLS, and their addresses",
    control: "none of its own: sixteen endpoints on two ports are compared with each other and with the web",
    logic: "endpoints are blocked when not one opens a TCP connection on any port; registration and web are \
            blocked when an HTTPS exchange with them fails, whatever its status",
    blind: "whether messages and calls pass: the app's own protocol (Noise) and calls over UDP are not \
            spoken, so slowing of calls or of media is not seen; an outage looks like blocking until other \
            networks are compared",
    bytes: 400_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "your network sees that you contact WhatsApp; where WhatsApp is forbidden that may be held \
                against you",
    source: "OONI ts-018 (https://github.com/ooni/spec/blob/master/nettests/ts-018-whatsapp.md)",
};

/// The verdict keys of ts-018.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    blocked: Vec<String>,
    some_endpoint: bool,
    registration: Option<String>,
    web: Option<String>,
}

/// `ok` or `blocked`.
const fn status(fine: bool) -> &'static str {
    if fine { "ok" } else { "blocked" }
}

impl Whatsapp {
    fn goals(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for host in &self.endpoints {
            goals.extend(self.ports.iter().map(|port| Goal::connect(host, *port)));
        }
        goals.push(Goal::get(&self.registration));
        goals.push(Goal::get(&self.web));
        goals
    }

    fn verdict<'a>(&self, results: impl IntoIterator<Item = (&'a Goal, &'a Outcome)>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
        for (goal, outcome) in results {
            let failure = outcome.failure_text();
            match goal {
                Goal::Connect { host, .. } if failure.is_some() => *failed.entry(host).or_default() += 1,
                Goal::Connect { .. } => verdict.some_endpoint = true,
                _ if goal.is(&self.registration) => verdict.registration = failure,
                _ => verdict.web = failure,
            }
        }
        // Blocked only when every port failed (ts-018).
        let all_failed = |host: &&String| failed.get(host.as_str()) == Some(&self.ports.len());
        verdict.blocked = self.endpoints.iter().filter(all_failed).cloned().collect();
        verdict
    }
}

impl Verdict {
    fn write(self, keys: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        put("registration_server_status", json!(status(self.registration.is_none())));
        put("registration_server_failure", json!(self.registration));
        put("whatsapp_endpoints_blocked", json!(self.blocked));
        put("whatsapp_endpoints_dns_inconsistent", json!([]));
        put("whatsapp_endpoints_status", json!(status(self.some_endpoint)));
        put("whatsapp_web_status", json!(status(self.web.is_none())));
        put("whatsapp_web_failure", json!(self.web));
    }
}

impl Experiment for Whatsapp {
    fn name(&self) -> &'static str {
        "whatsapp"
    }

    fn version(&self) -> &'static str {
        "0.11.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        urlgetter::contacts(&self.goals(), |goal| match goal {
            Goal::Connect { .. } => "an endpoint of WhatsApp",
            _ if goal.is(&self.registration) => "WhatsApp's registration",
            _ => "WhatsApp's web client",
        })
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let (goals, trace) = (self.goals(), Trace::new(context));
            let outcomes = urlgetter::pursue_all(context, &trace, &goals, &urlgetter::Trust::World).await;
            let mut keys = urlgetter::test_keys(&trace);
            self.verdict(goals.iter().zip(&outcomes)).write(&mut keys);
            Ok(Value::Object(keys))
        })
    }
}

#[cfg(test)]
mod tests {
    use okno_model::Failure;

    use super::super::urlgetter::Step;
    use super::*;

    #[test]
    fn an_endpoint_is_blocked_when_all_its_ports_fail() {
        let test = Whatsapp { endpoints: vec!["e1".to_owned(), "e2".to_owned()], ..Whatsapp::default() };
        let goals = test.goals();
        let dead = Outcome { failed: Some((Step::Connect, Failure::GenericTimeout)), addresses: Vec::new() };
        let fine = Outcome::default();
        let verdict = test.verdict(goals.iter().zip([&dead, &dead, &dead, &fine, &fine, &dead]));
        assert_eq!(verdict.blocked, ["e1"]);
        assert!(verdict.some_endpoint);
        assert_eq!(verdict.registration, None);
        assert_eq!(verdict.web.as_deref(), Some("generic_timeout_error"));
    }

    #[test]
    fn all_endpoints_of_the_specification_are_tried() {
        assert_eq!(Whatsapp::default().goals().len(), 34);
    }
}
