//! `telegram` (ts-020): data centres by address, and the web client.
//!
//! The verdict keys are those of the specification and follow its rules to the letter; what they mean is
//! judged elsewhere. Unlike OONI's engine all endpoints get their full patience within the minute: a third
//! of them run at a time, so that a silent drop is told as a timeout of each.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::urlgetter::{self, Goal, Outcome, Step};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::Task;
use crate::trace::Trace;

/// The test and what it contacts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Telegram {
    /// the web client
    pub web: String,
    /// addresses of the data centres
    pub datacenters: Vec<String>,
    /// ports of each
    pub ports: Vec<u16>,
}

impl Default for Telegram {
    fn default() -> Self {
        // ts-020, "Telegram access points check": the addresses that the desktop client has built in.
        let datacenters = [
            "149.154.175.50",
            "149.154.167.51",
            "149.154.175.100",
            "149.154.167.91",
            "149.154.171.5",
            "95.161.76.100",
        ];
        Self {
            web: "https://web.telegram.org/".to_owned(),
            datacenters: datacenters.map(str::to_owned).to_vec(),
            ports: vec![80, 443],
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether Telegram's data centres and its web client answer",
    trigger: "the addresses of Telegram's data centres; the name web.telegram.org in DNS and TLS",
    control: "none of its own: data centres are compared with each other and with the web client",
    logic: "TCP blocking when no data centre accepts a connection on any port; HTTP blocking when none \
            answers a request; the web client is blocked when its page cannot be fetched",
    blind: "whether messages pass: MTProto is not spoken, so a filter that acts on the protocol, on \
            throughput or on proxies of Telegram is not seen; an outage of Telegram looks like blocking \
            until other networks are compared",
    bytes: 60_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "your network sees that you contact Telegram; where Telegram is forbidden that may be held \
                against you",
    source: "OONI ts-020 (https://github.com/ooni/spec/blob/master/nettests/ts-020-telegram.md)",
};

/// The verdict keys of ts-020.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    http_blocking: bool,
    tcp_blocking: bool,
    web: Option<Outcome>,
}

impl Verdict {
    /// From how each goal ended.
    fn of<'a>(results: impl IntoIterator<Item = (bool, &'a Outcome)>) -> Self {
        let mut verdict = Self { http_blocking: true, tcp_blocking: true, web: None };
        for (is_web, outcome) in results {
            match &outcome.failed {
                _ if is_web => verdict.web = Some(outcome.clone()),
                None => (verdict.http_blocking, verdict.tcp_blocking) = (false, false),
                // Whatever came after the connect shows that the connect worked.
                Some((step, _)) if *step > Step::Connect => verdict.tcp_blocking = false,
                Some(_) => {}
            }
        }
        verdict
    }

    fn write(&self, keys: &mut serde_json::Map<String, Value>) {
        let failure = self.web.as_ref().and_then(Outcome::failure_text);
        let status = if failure.is_some() { "blocked" } else { "ok" };
        keys.insert("telegram_http_blocking".to_owned(), json!(self.http_blocking));
        keys.insert("telegram_tcp_blocking".to_owned(), json!(self.tcp_blocking));
        keys.insert("telegram_web_failure".to_owned(), json!(failure));
        keys.insert("telegram_web_status".to_owned(), json!(status));
    }
}

impl Telegram {
    fn goals(&self) -> Vec<Goal> {
        let mut goals = vec![Goal::get(&self.web)];
        for address in &self.datacenters {
            let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
            for port in &self.ports {
                // Plain HTTP on 443 too: the data centres speak no TLS there (ts-020).
                let url =
                    if *port == 80 { format!("http://{host}/") } else { format!("http://{host}:{port}/") };
                goals.push(Goal::post(&url));
            }
        }
        goals
    }
}

impl Experiment for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    fn version(&self) -> &'static str {
        "0.3.1"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        urlgetter::contacts(&self.goals(), |goal| {
            if goal.is(&self.web) { "Telegram's web client" } else { "a data centre of Telegram" }
        })
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let (goals, trace) = (self.goals(), Trace::new(context));
            let outcomes = urlgetter::pursue_all(context, &trace, &goals, &urlgetter::Trust::World).await;
            let verdict = Verdict::of(goals.iter().map(|goal| goal.is(&self.web)).zip(&outcomes));
            let mut keys = urlgetter::test_keys(&Rc::clone(&trace));
            verdict.write(&mut keys);
            Ok(Value::Object(keys))
        })
    }
}

#[cfg(test)]
mod tests {
    use okno_model::Failure;

    use super::*;

    fn failed(step: Step) -> Outcome {
        Outcome { failed: Some((step, Failure::GenericTimeout)), addresses: Vec::new() }
    }

    #[test]
    fn one_data_centre_that_answers_is_enough() {
        let (dead, fine) = (failed(Step::Connect), Outcome::default());
        let verdict = Verdict::of([(true, &fine), (false, &dead), (false, &fine), (false, &dead)]);
        assert!(!verdict.tcp_blocking && !verdict.http_blocking);
    }

    #[test]
    fn a_connect_without_an_answer_is_blocking_of_http_alone() {
        let (dead, mute) = (failed(Step::Connect), failed(Step::Http));
        let verdict = Verdict::of([(false, &dead), (false, &mute)]);
        assert!(!verdict.tcp_blocking && verdict.http_blocking);
        let verdict = Verdict::of([(false, &dead), (false, &dead)]);
        assert!(verdict.tcp_blocking && verdict.http_blocking);
    }

    #[test]
    fn every_data_centre_is_tried_on_both_ports_with_plain_http() {
        let goals = Telegram::default().goals();
        assert_eq!(goals.len(), 13);
        assert!(goals[1..].iter().all(|goal| goal.url().is_some_and(|url| url.starts_with("http://"))));
    }
}
