//! A scene in a few lines of text becomes the facts that ingest would make of such a measurement.
//!
//! ```text
//! get https://site.example/                        input; its host is the target
//! probe AS137 IT                                   network and country (the default)
//! test telegram                                    another nettest; operations count as a user's
//! control dns site.example = 20.0.0.1              `= !nxdomain` for a failure; several addresses
//! with blanks
//! control tcp 20.0.0.1:443 ok                      or `!refused`
//! control tls 20.0.0.1:443 site.example ok
//! control http 200 1533 title=Home_page headers=alt-svc        or `control http !dns_lookup_error`
//! control failed connection_reset                  also `absent`, `none`
//! system site.example = 20.0.0.1                   also udp, doh, dot; `hop=1`
//! chain site.example 20.0.0.1:443 tcp=ok tls=ok http=200 body=1533 title=Home_page
//!                                    `other`: not a user's; `check`: fetch_body=false
//! app bootstrap !timeout role=dc1
//! ```
//!
//! The first number of an IPv4 address is its AS number; 10.x, 127.x, 100.64.x and 0.x are bogons.

#![allow(dead_code, clippy::unwrap_used)]

use okno_detect::{Baseline, BaselineBuilder, Facts, Judge, Knowledge, Ruleset, sum_up};
use okno_model::{
    Asn, Control, Country, Failure, Measurement, Observation, State, Timestamp, Transport, Verdict,
};

/// Owned facts of one measurement.
#[derive(Clone, Default)]
pub struct Scene {
    pub measurement: Measurement<'static>,
    pub observations: Vec<Observation<'static>>,
    pub controls: Vec<Control<'static>>,
}

pub fn failure(text: &str) -> Failure {
    let name = text.trim_start_matches('!');
    match name {
        "nxdomain" => Failure::DnsNxDomain,
        "no_answer" => Failure::DnsNoAnswer,
        "servfail" => Failure::DnsServfail,
        "refused_query" => Failure::DnsRefused,
        "timeout" => Failure::GenericTimeout,
        "reset" => Failure::ConnectionReset,
        "refused" => Failure::ConnectionRefused,
        "eof" => Failure::Eof,
        "authority" => Failure::SslUnknownAuthority,
        "hostname" => Failure::SslInvalidHostname,
        "expired" => Failure::SslInvalidCertificate,
        "alert" => Failure::SslFailedHandshake,
        "unreachable" => Failure::NetworkUnreachable,
        "unknown" => Failure::Unknown,
        other => {
            let failure = Failure::from_ooni(other);
            assert_ne!(failure, Failure::Unknown, "no failure called {other}");
            failure
        }
    }
}

fn own(text: &str) -> Option<std::borrow::Cow<'static, str>> {
    Some(text.to_owned().into())
}

fn number_of(ip: &str) -> Option<Asn> {
    let first: u32 = ip.trim_start_matches("2a").split(['.', ':']).next()?.parse().ok()?;
    (!is_bogon(ip)).then_some(Asn(first))
}

fn is_bogon(ip: &str) -> bool {
    ["10.", "127.", "0.", "100.64.", "192.168."].iter().any(|head| ip.starts_with(head))
        || ip == "::1"
        || ip == "::"
}

fn endpoint(text: &str) -> (String, u32) {
    let (ip, port) = text.rsplit_once(':').unwrap();
    (ip.trim_matches(['[', ']']).to_owned(), port.parse().unwrap())
}

impl Scene {
    pub fn parse(text: &str) -> Self {
        let mut scene = Self::default();
        let m = &mut scene.measurement;
        m.measurement_uid = "uid".into();
        m.test_name = "web_connectivity".into();
        m.control = "none".into();
        m.network = Asn(137);
        m.country = Country::parse("IT").unwrap();
        m.start_utc = Timestamp::parse("2024-05-06 07:08:09").unwrap();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            scene.line(&words);
        }
        let web = scene.measurement.test_name == "web_connectivity";
        for (number, row) in scene.observations.iter_mut().enumerate() {
            row.observation = number as u32;
            row.test_name = scene.measurement.test_name.clone();
            if !web {
                row.fetch_body = None;
            }
        }
        scene
    }

    fn line(&mut self, words: &[&str]) {
        let m = &mut self.measurement;
        match words[0] {
            "get" => {
                let host = words[1].split("://").last().unwrap().split(['/', ':']).next().unwrap();
                m.input = own(words[1]);
                m.hostname = own(host);
                m.target = host.to_owned().into();
            }
            "probe" => {
                m.network = Asn::parse(words[1]).unwrap();
                m.country = Country::parse(words[2]).unwrap();
            }
            "test" => {
                m.test_name = words[1].to_owned().into();
                m.target = words[1].to_owned().into();
            }
            "version" => {
                m.software_name = own("ooniprobe-android");
                m.software_version = own(words[1]);
                m.test_version = words.get(2).and_then(|v| own(v));
                m.engine_version = own(words[1]);
            }
            "date" => m.start_utc = Timestamp::parse(words[1]).unwrap(),
            "uploaded" => m.upload_utc = Timestamp::parse(words[1]),
            "uid" => m.measurement_uid = words[1].to_owned().into(),
            "control" => self.control(&words[1..]),
            "system" | "udp" | "doh" | "dot" | "unknown" => self.lookup(words),
            "chain" => self.chain(&words[1..]),
            "app" => self.app(&words[1..]),
            other => panic!("no such line: {other}"),
        }
    }

    fn control(&mut self, words: &[&str]) {
        match words[0] {
            "none" | "absent" => self.measurement.control = words[0].to_owned().into(),
            "failed" => {
                self.measurement.control = "failed".into();
                self.measurement.control_failure = Some(failure(words[1]));
            }
            "ok" => self.measurement.control = "ok".into(),
            "dns" => {
                for answer in &words[3..] {
                    let mut row = Control { hostname: own(words[1]), ..self.control_row("dns") };
                    if answer.starts_with('!') {
                        row.failure = Some(failure(answer));
                    } else {
                        row.ip = own(answer);
                        row.ip_network = number_of(answer);
                        row.ip_is_bogon = Some(is_bogon(answer));
                    }
                    row.success = Some(row.failure.is_none());
                    self.controls.push(row);
                }
            }
            "http" => {
                let mut row = self.control_row("http");
                if words[1].starts_with('!') {
                    row.failure = Some(failure(words[1]));
                } else {
                    row.http_status = words[1].parse().ok();
                    row.http_body_bytes = words.get(2).and_then(|bytes| bytes.parse().ok());
                    for word in words {
                        match word.split_once('=') {
                            Some(("title", title)) => row.http_title = own(&title.replace('_', " ")),
                            Some(("headers", names)) => row.http_headers = own(&names.replace(',', " ")),
                            _ => {}
                        }
                    }
                }
                row.success = Some(row.failure.is_none());
                self.controls.push(row);
            }
            kind => {
                let (ip, port) = endpoint(words[1]);
                let mut row = self.control_row(kind);
                row.ip_network = number_of(&ip);
                (row.ip, row.port) = (own(&ip), Some(port));
                if words.len() > 3 {
                    row.server_name = own(words[2]);
                }
                row.failure = words.last().filter(|word| word.starts_with('!')).map(|word| failure(word));
                row.success = Some(row.failure.is_none());
                self.controls.push(row);
            }
        }
    }

    fn control_row(&mut self, kind: &str) -> Control<'static> {
        self.measurement.control = "ok".into();
        Control {
            measurement_uid: "uid".into(),
            kind: kind.to_owned().into(),
            hostname: self.measurement.hostname.clone(),
            ..Control::default()
        }
    }

    fn row(&self, words: &[&str]) -> Observation<'static> {
        let mut row = Observation {
            measurement_uid: "uid".into(),
            country: self.measurement.country,
            network: self.measurement.network,
            classic: !words.contains(&"other"),
            fetch_body: Some(!words.contains(&"check")),
            ..Observation::default()
        };
        for word in words {
            match word.split_once('=') {
                Some(("hop", hop)) => row.hop = hop.parse().unwrap(),
                Some(("role", role)) => row.role = own(role),
                _ => {}
            }
        }
        row
    }

    fn lookup(&mut self, words: &[&str]) {
        let number = self.observations.iter().filter_map(|row| row.dns_lookup).max().map_or(0, |n| n + 1);
        let answers: Vec<&str> = words[3..].iter().copied().filter(|word| !word.contains('=')).collect();
        for answer in &answers {
            let mut row = self.row(words);
            row.fetch_body = None;
            row.hostname = own(words[1]);
            row.dns_lookup = Some(number);
            row.dns_engine = own(words[0]);
            row.classic = matches!(words[0], "system" | "unknown");
            row.dns_query_type = own(if words.contains(&"type=AAAA") { "AAAA" } else { "A" });
            row.dns_answers = Some(answers.len() as u32);
            if words[0] != "system" {
                row.dns_resolver =
                    own(if words[0] == "udp" { "1.1.1.1:53" } else { "https://dns.google/dns-query" });
            }
            if answer.starts_with('!') {
                row.dns_failure = Some(failure(answer));
                row.dns_answers = Some(0);
            } else {
                row.ip_network = number_of(answer);
                row.ip_is_bogon = Some(is_bogon(answer));
                row.ip = own(answer);
            }
            self.observations.push(row);
        }
    }

    fn chain(&mut self, words: &[&str]) {
        let blank = self.row(words);
        let host = (words[0] != "-").then(|| words[0].to_owned());
        let (ip, port) = endpoint(words[1]);
        // As ingest does: the first row of a lookup that gave this address and is not taken, a
        // user's for a user's.
        let found = self.observations.iter().position(|row| {
            row.ip.as_deref() == Some(ip.as_str())
                && row.hostname.as_deref() == host.as_deref()
                && row.hop == blank.hop
                && row.classic == blank.classic
                && row.dns_lookup.is_some()
        });
        let mut row = match found {
            Some(at) if self.observations[at].tcp_success.is_none() => self.observations.remove(at),
            Some(at) => {
                let dns = self.observations[at].clone();
                Observation {
                    dns_lookup: dns.dns_lookup,
                    dns_engine: dns.dns_engine,
                    dns_query_type: dns.dns_query_type,
                    dns_answers: dns.dns_answers,
                    ..blank.clone()
                }
            }
            None => blank.clone(),
        };
        row.fetch_body = blank.fetch_body;
        row.hostname = host.map(Into::into);
        row.ip_network = number_of(&ip);
        row.ip_is_bogon = Some(is_bogon(&ip));
        (row.ip, row.port) = (own(&ip), Some(port));
        let scheme = if port == 80 { "http" } else { "https" };
        for word in &words[2..] {
            step(&mut row, word, scheme);
        }
        self.observations.push(row);
    }

    fn app(&mut self, words: &[&str]) {
        let mut row = self.row(words);
        row.app = own(words[0]);
        match words[1] {
            "ok" => row.app_success = Some(true),
            "not_run" => {}
            "failed" => row.app_success = Some(false),
            text => {
                row.app_success = Some(false);
                row.app_failure = Some(failure(text));
            }
        }
        self.observations.push(row);
    }

    pub fn facts(&self) -> Facts<'_, 'static> {
        Facts { measurement: &self.measurement, observations: &self.observations, controls: &self.controls }
    }
}

fn step(row: &mut Observation<'static>, word: &str, scheme: &str) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let failed = value.starts_with('!').then(|| failure(value));
    match key {
        "tcp" => (row.tcp_success, row.tcp_failure) = (Some(failed.is_none()), failed),
        "tls" | "quic" => {
            row.transport = Some(if key == "quic" { Transport::Quic } else { Transport::Tcp });
            row.tls_server_name = row.tls_server_name.take().or(row.hostname.clone());
            (row.tls_success, row.tls_failure) = (Some(failed.is_none()), failed);
        }
        "sni" => row.tls_server_name = own(value),
        "ech" => row.tls_ech = own(value),
        "unverified" => row.tls_unverified = true,
        "http" => {
            let host = row.hostname.clone().unwrap_or_default();
            row.http_url = Some(format!("{scheme}://{host}/").into());
            row.http_failure = failed;
            row.http_status = value.parse().ok();
        }
        "then" => row.http_failure = Some(failure(value)),
        "body" => row.http_body_bytes = value.parse().ok(),
        "title" => row.http_title = own(&value.replace('_', " ")),
        "headers" => row.http_headers = own(&value.replace(',', " ")),
        "server" => row.http_server = own(value),
        "loc" => row.http_location = own(value),
        "fp" => row.http_fingerprints = own(value),
        "cut_off" => row.http_body_truncated = Some(true),
        "rx" => {
            let parts: Vec<u64> = value.split('/').map(|part| part.parse().unwrap()).collect();
            row.rx_bytes = Some(parts[0]);
            row.rx_us = Some(parts[1] as i64);
            row.rx_gap_us = Some(parts[2] as i64);
            row.rx_reads = Some(parts[3] as u32);
        }
        "hop" | "role" | "other" | "check" => {}
        other => panic!("no such step: {other}"),
    }
}

pub fn baseline_of(scenes: &[Scene]) -> Baseline {
    let mut builder = BaselineBuilder::new();
    scenes.iter().for_each(|scene| builder.add(&scene.facts()));
    builder.finish()
}

/// The native rules, read once for all tests of a file.
pub fn native() -> &'static Ruleset {
    static RULES: std::sync::OnceLock<Ruleset> = std::sync::OnceLock::new();
    RULES.get_or_init(Ruleset::native)
}

pub fn judge_with(scene: &Scene, baseline: &Baseline, knowledge: &Knowledge) -> Vec<Verdict<'static>> {
    let mut verdicts = Vec::new();
    Judge::new(native(), baseline, knowledge).judge(&scene.facts(), &mut verdicts);
    verdicts
}

pub fn judge(text: &str) -> Vec<Verdict<'static>> {
    judge_with(&Scene::parse(text), &Baseline::empty(), &Knowledge::empty())
}

pub fn show(verdicts: &[Verdict<'_>]) -> String {
    verdicts
        .iter()
        .map(|v| {
            format!(
                "  {}#{} {} {} {} {:.2} {} [{}] {}\n",
                v.hostname.as_deref().unwrap_or("-"),
                v.hop,
                v.layer,
                v.state,
                v.mechanism.as_deref().unwrap_or("-"),
                v.probability,
                v.rule,
                v.rules_fired,
                v.witness.as_deref().unwrap_or("-"),
            )
        })
        .collect()
}

/// The accusations are exactly these, as `layer mechanism`, hops after the first as `layer#1 mechanism`.
pub fn accused(verdicts: &[Verdict<'_>], expected: &[&str]) {
    let found: Vec<String> = verdicts
        .iter()
        .filter(|v| v.state.is_interference())
        .map(|v| {
            let hop = if v.hop > 0 { format!("#{}", v.hop) } else { String::new() };
            format!("{}{hop} {}", v.layer, v.mechanism.as_deref().unwrap_or("-"))
        })
        .collect();
    assert_eq!(found, expected, "\n{}", show(verdicts));
    assert_eq!(sum_up(verdicts).anomaly, !expected.is_empty(), "\n{}", show(verdicts));
}

/// These layers have these states (at hop 0 unless `layer#hop`).
pub fn states(verdicts: &[Verdict<'_>], expected: &[(&str, State)]) {
    for (layer, state) in expected {
        let (name, hop) = layer.split_once('#').unwrap_or((layer, "0"));
        let hop: u32 = hop.parse().unwrap();
        let found: Vec<State> =
            verdicts.iter().filter(|v| v.layer.as_str() == name && v.hop == hop).map(|v| v.state).collect();
        assert_eq!(found, [*state], "{layer}\n{}", show(verdicts));
    }
}
