//! `signal` (ts-029): the servers of Signal, whose certificates come from an authority of Signal's own.
//!
//! That authority's certificate is public and stands below. The older one of 2013, which the specification
//! names too, is left out: it ended in March 2023, so nothing can verify against it any more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::urlgetter::{self, Goal, Outcome, Trust};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::Task;
use crate::trace::Trace;

/// Signal's root certificate, DER in base64: `Signal Messenger, LLC`, 2022-01-26 to 2032-01-24 (ts-029).
#[rustfmt::skip]
const AUTHORITY: &str = concat!(
    "MIIF2zCCA8OgAwIBAgIUAMHz4g60cIDBpPr1gyZ/JDaaPpcwDQYJKoZIhvcNAQELBQAwdTELMAkGA1UEBhMCVVMxEzARBgNV",
    "BAgTCkNhbGlmb3JuaWExFjAUBgNVBAcTDU1vdW50YWluIFZpZXcxHjAcBgNVBAoTFVNpZ25hbCBNZXNzZW5nZXIsIExMQzEZ",
    "MBcGA1UEAxMQU2lnbmFsIE1lc3NlbmdlcjAeFw0yMjAxMjYwMDQ1NTFaFw0zMjAxMjQwMDQ1NTBaMHUxCzAJBgNVBAYTAlVT",
    "MRMwEQYDVQQIEwpDYWxpZm9ybmlhMRYwFAYDVQQHEw1Nb3VudGFpbiBWaWV3MR4wHAYDVQQKExVTaWduYWwgTWVzc2VuZ2Vy",
    "LCBMTEMxGTAXBgNVBAMTEFNpZ25hbCBNZXNzZW5nZXIwggIiMA0GCSqGSIb3DQEBAQUAA4ICDwAwggIKAoICAQDEecifxMHH",
    "lDhxbERVdErOhGsLO08PUdNkATjZ1kT51uPf5JPiRbus9F4J/GgBQ4ANSAjIDZuFY0WOvG/i0qvxthpW70ocp8IjkiWTNiA8",
    "1zQNQdCiWbGDU4B1sLi2o4JgJMweSkQFiyDynqWgHpw+KmvytCzRWnvrrptIfE4GPxNOsAtXFbVH++8JO42IaKRVlbfpe/lU",
    "HbjiYmIpQroZPGPY4Oql8KM3o39ObPnTo1WoM4moyOOZpU3lV1awftvWBx1sbTBL02sQWfHRxgNVF+Pj0fdDMMFdFJobArrL",
    "VfK2Ua+dYN4pV5XIxzVarSRW73CXqQ+2qloPW/ynpa3gRtYeGWV4jl7eD0PmeHpKOY78idP4H1jfAv0TAVeKpuB5ZFZ2szcy",
    "SxrQa8d7FIf0kNJe9gIRjbQ+XrvnN+ZZvj6d+8uBJq8LfQaFhlVfI0/aIdggScapR7w8oLpvdflUWqcTLeXVNLVrg15cEDwd",
    "lV8PVscT/KT0bfNzKI80qBq8LyRmauAqP0CDjayYGb2UAabnhefgmRY6aBE5mXxdbyAEzzCS3vDxjeTD8v8nbDq+SD6lJi0i",
    "7jgwEfNDhe9XK50baK15Udc8Cr/ZlhGMjNmWqBd0jIpaZm1rzWA0k4VwXtDwpBXSz8oBFshiXs3FD6jHY2IhOR3ppbyd4qRU",
    "pwIDAQABo2MwYTAOBgNVHQ8BAf8EBAMCAQYwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUtfNLxuXWS9DlgGuMUMNnW7yx",
    "83EwHwYDVR0jBBgwFoAUtfNLxuXWS9DlgGuMUMNnW7yx83EwDQYJKoZIhvcNAQELBQADggIBABUeiryS0qjykBN75aoHO9bV",
    "PrrX+DSJIB9V2YzkFVyh/io65QJMG8naWVGOSpVRwUwhZVKh3JVp/miPgzTGAo7zhrDIoXc+ih7orAMb19qol/2Ha8OZLa75",
    "LojJNRbZoCR5C+gM8C+spMLjFf9k3JVxdajhtRUcR0zYhwsBS7qZ5Me0d6gRXD0ZiSbadMMxSw6KfKk3ePmPb9gX+MRTS63c",
    "8mLzVYB/3fe/bkpq4RUwzUHvoZf+SUD7NzSQRQQMfvAHlxk11TVNxScYPtxXDyiy3Cssl9gWrrWqQ/omuHipoH62J7h8KAYb",
    "r6oEIq+Czuenc3eCIBGBBfvCpuFOgckAXXE4MlBasEU0MO66GrTCgMt9bAmSw3TrRP12+ZUFxYNtqWluRU8JWQ4FCCPcz9pg",
    "MRBOgn4lTxDZG+I47OKNuSRjFEP94cdgxd3H/5BK7WHUz1tAGQ4BgepSXgmjzifFT5FVTDTl3ZnWUVBXiHYtbOBgLiSIkbqG",
    "MCLtrBtFIeQ7RRTb3L+IE9R0UB0cJB3AXbf1lVkOcmrdu2h8A32aCwtr5S1fBF1unlG7imPmqJfpOMWa8yIF/KWVm29JAPq8",
    "Lrsybb0z5gg8w7ZblEuB9zOW9M3l60DXuJO6l7g+deV6P96rv2unHS8UlvWiVWDy9qfgAJizyy3kqM4lOwBH",
);

/// The test and what it contacts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Signal {
    /// servers that must answer over HTTPS
    pub endpoints: Vec<String>,
    /// a name that Signal takes out of DNS when its service is down; looked up, never judged
    pub uptime: String,
    /// authorities that are trusted beside the world's own, DER in base64
    pub authorities: Vec<String>,
}

impl Default for Signal {
    fn default() -> Self {
        // ts-029; which of Signal's hosts are worth asking: https://github.com/ooni/probe/issues/2636.
        let endpoints = [
            "https://cdsi.signal.org/",
            "https://chat.signal.org/",
            "https://sfu.voip.signal.org/",
            "https://storage.signal.org/",
        ];
        Self {
            endpoints: endpoints.map(str::to_owned).to_vec(),
            uptime: "uptime.signal.org".to_owned(),
            authorities: vec![AUTHORITY.to_owned()],
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether Signal's servers answer over HTTPS",
    trigger: "the names of Signal's servers in DNS and TLS, and their addresses",
    control: "Signal's own certificate authority: a certificate of anybody else's is not accepted",
    logic: "blocked when any of the servers cannot be fetched, whatever the status of the answer",
    blind: "whether messages and calls pass: the connection is not used beyond one request, calls over UDP \
            are not tried, and the proxies that Signal offers are not measured; a server that Signal retired \
            looks blocked until this list is renewed",
    bytes: 60_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "your network sees that you contact Signal; where Signal is forbidden that may be held \
                against you",
    source: "OONI ts-029 (https://github.com/ooni/spec/blob/master/nettests/ts-029-signal.md)",
};

impl Signal {
    fn goals(&self) -> Vec<Goal> {
        let endpoints = self.endpoints.iter().map(|url| Goal::get(url));
        endpoints.chain([Goal::lookup(&self.uptime)]).collect()
    }

    fn trust(&self) -> Result<Trust, String> {
        let decode = |text: &String| {
            STANDARD.decode(text).map_err(|_| "an authority is no certificate in DER and base64".to_owned())
        };
        self.authorities.iter().map(decode).collect::<Result<_, _>>().map(Trust::Also)
    }
}

/// The failure of the backend: the last endpoint's that failed; names alone do not count.
fn backend_failure<'a>(results: impl IntoIterator<Item = (&'a Goal, &'a Outcome)>) -> Option<String> {
    let judged = results.into_iter().filter(|(goal, _)| goal.url().is_some());
    judged.filter_map(|(_, outcome)| outcome.failure_text()).last()
}

fn write(failure: Option<String>, keys: &mut Map<String, Value>) {
    let status = if failure.is_some() { "blocked" } else { "ok" };
    keys.insert("signal_backend_status".to_owned(), json!(status));
    keys.insert("signal_backend_failure".to_owned(), json!(failure));
}

impl Experiment for Signal {
    fn name(&self) -> &'static str {
        "signal"
    }

    fn version(&self) -> &'static str {
        "0.2.5"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        urlgetter::contacts(&self.goals(), |_| "a server of Signal")
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let (goals, trust, trace) = (self.goals(), self.trust()?, Trace::new(context));
            let outcomes = urlgetter::pursue_all(context, &trace, &goals, &trust).await;
            let mut keys = urlgetter::test_keys(&trace);
            write(backend_failure(goals.iter().zip(&outcomes)), &mut keys);
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
    fn the_authority_is_signals_root_of_2022() {
        let Trust::Also(list) = Signal::default().trust().unwrap() else { unreachable!("one is built in") };
        let (_, root) = x509_parser::parse_x509_certificate(&list[0]).unwrap();
        assert!(root.subject().to_string().contains("Signal Messenger"), "{}", root.subject());
        assert_eq!(root.subject(), root.issuer());
        assert_eq!(root.validity().not_after.to_datetime().year(), 2032);
        let mut roots = rustls::RootCertStore::empty();
        assert_eq!(roots.add_parsable_certificates([list[0].clone().into()]), (1, 0));
    }

    #[test]
    fn the_uptime_name_is_never_judged() {
        let test = Signal { endpoints: vec!["https://a/".to_owned()], ..Signal::default() };
        let goals = test.goals();
        let gone = Outcome { failed: Some((Step::Resolve, Failure::DnsNxDomain)), addresses: Vec::new() };
        assert_eq!(backend_failure(goals.iter().zip([&Outcome::default(), &gone])), None);
        let failure = backend_failure(goals.iter().zip([&gone, &Outcome::default()]));
        assert_eq!(failure.as_deref(), Some("dns_nxdomain_error"));
    }
}
