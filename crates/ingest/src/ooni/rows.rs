//! Rows from what was read: facts are annotated with who announces an address, and nothing is concluded.

use std::borrow::Cow;
use std::net::IpAddr;

use okno_model::{Control, Failure, Measurement, Observation, Text, Timestamp};

use super::chain::{self, Link};
use super::raw::{Connect, Handshake, Outcome, Query, Raw, Request};
use super::{arms, late, nettests, traffic};
use crate::host;
use crate::reference::{Reference, is_bogon};

/// Everything that rows of one measurement share.
struct Frame<'f, 'a> {
    raw: &'f Raw<'a>,
    measurement: &'f Measurement<'a>,
    reference: &'f Reference,
    depths: Vec<u32>,
    hosts: Vec<Option<String>>,
    late: Vec<Query<'a>>,
}

/// The observations of a measurement.
pub fn observations<'a>(
    raw: &Raw<'a>,
    measurement: &Measurement<'a>,
    reference: &Reference,
) -> Vec<Observation<'a>> {
    let depths = chain::request_depths(raw);
    let hosts = raw.requests.iter().map(|r| host::place(r.url.as_deref()?, None)?.host).collect::<Vec<_>>();
    let links = chain::link(raw, &depths, &hosts);
    let frame = Frame { raw, measurement, reference, depths, hosts, late: late::answers(raw) };
    let mut rows: Vec<Observation<'a>> = links.iter().map(|link| frame.row(link)).collect();
    let statements = nettests::statements(&measurement.test_name, raw);
    rows.extend(statements.into_iter().map(|row| frame.statement(row)));
    rows.extend(arms::arms(raw).into_iter().map(|arm| frame.arm(arm)));
    frame.stated_lookup(&mut rows);
    for (number, row) in rows.iter_mut().enumerate() {
        row.observation = u32::try_from(number).unwrap_or(u32::MAX);
    }
    rows
}

impl<'a> Frame<'_, 'a> {
    fn blank(&self) -> Observation<'a> {
        Observation {
            measurement_uid: self.measurement.measurement_uid.clone(),
            test_name: self.measurement.test_name.clone(),
            country: self.measurement.country,
            network: self.measurement.network,
            start_utc: self.measurement.start_utc,
            classic: true,
            ..Observation::default()
        }
    }

    fn after(&self, offset_us: Option<i64>) -> Timestamp {
        let start = self.measurement.start_utc.micros();
        Timestamp::from_micros(start.saturating_add(offset_us.unwrap_or(0)))
    }

    fn row(&self, link: &Link) -> Observation<'a> {
        let raw = self.raw;
        let mut row = self.blank();
        let mut first = None;
        if let Some(common) = chain::head(raw, link) {
            row.transaction = common.transaction;
            row.fetch_body = common.fetch_body;
            row.classic = !raw.has_classic || common.classic;
            row.role = common.role.map(|role| raw.roles[role].clone());
            first = common.t0_us.or(common.t_us);
        }
        row.hop = chain::depth_of(raw, link, &self.depths, &self.hosts);
        if let Some((index, answer)) = link.query {
            first = self.lookup(index, answer, link, &mut row).or(first);
        }
        if let Some(connect) = link.connect.map(|i| &raw.connects[i]) {
            fill_connect(connect, &mut row);
        }
        if let Some(handshake) = link.handshake.map(|i| &raw.handshakes[i]) {
            fill_handshake(handshake, &mut row);
        }
        if let Some(index) = link.request {
            self.request(&raw.requests[index], index, &mut row);
            // What went through the tunnel under test says nothing of the probe's own network.
            if row.role.is_none() && nettests::is_tunnelled(&self.measurement.test_name, raw) {
                row.role = Some(Cow::Borrowed("tunnel"));
            }
        }
        traffic::fill(raw, link, &mut row);
        row.start_utc = self.after(first);
        self.name_host(&mut row);
        self.annotate(&mut row);
        row
    }

    fn lookup(
        &self,
        index: usize,
        answer: Option<usize>,
        link: &Link,
        row: &mut Observation<'a>,
    ) -> Option<i64> {
        let query = &self.raw.queries[index];
        let engine = chain::engine_of(self.raw, query);
        let alone = link.connect.is_none() && link.handshake.is_none() && link.request.is_none();
        if alone {
            row.transaction = query.common.transaction;
            row.hop = query.common.depth.unwrap_or(0);
            row.role = query.common.role.map(|role| self.raw.roles[role].clone());
        }
        // What follows from another resolver than the system's is no way that a user would have gone.
        if alone || !self.raw.has_classic {
            row.classic = chain::is_classic_query(self.raw, query);
        }
        row.dns_lookup = u32::try_from(index).ok();
        row.dns_engine = Some(Cow::Borrowed(engine));
        if !matches!(engine, "system" | "unknown") {
            // A router's address within somebody's home is nobody's business.
            let is_home = |text: &str| {
                let ip = host::endpoint(text).and_then(|(ip, _)| ip.parse().ok());
                ip.is_some_and(crate::reference::is_bogon)
            };
            row.dns_resolver = query.resolver.clone().filter(|text| text.len() <= 200 && !is_home(text));
        }
        row.dns_query_type = query.query_type.clone();
        row.dns_failure = query.outcome.failure();
        row.dns_cname = query.answers.iter().find_map(|answer| answer.cname.clone());
        row.dns_answers = u32::try_from(query.answers.iter().filter(|a| a.ip.is_some()).count()).ok();
        row.dns_us = query.common.took_us();
        row.dns_second_answer = late::differs(&self.late, query);
        row.hostname = query.hostname.clone();
        if let Some(answer) = answer {
            row.ip = query.answers[answer].ip.clone();
        }
        query.common.t0_us.or(query.common.t_us)
    }

    fn request(&self, request: &Request<'a>, index: usize, row: &mut Observation<'a>) {
        row.http_url = request.url.as_deref().map(|url| match host::place(url, None) {
            Some(place) => Cow::Owned(short(&place.url, 1024)),
            None => Cow::Owned(short(url, 1024)),
        });
        row.http_method = request.method.as_deref().map(|text| Cow::Owned(short(text, 16)));
        row.http_failure = request.outcome.failure();
        row.http_status = request.status;
        if let Some(body) = &request.body {
            row.http_body_bytes = Some(body.bytes);
            row.http_body_hash = (body.hash != 0).then(|| Cow::Owned(format!("{:032x}", body.hash)));
            row.http_title = body.title.clone().map(Cow::Owned);
        }
        row.http_body_truncated = request.truncated;
        row.http_location = request.location.as_deref().map(|text| Cow::Owned(short(text, 512)));
        row.http_server = request.server.as_deref().map(|text| Cow::Owned(short(text, 128)));
        row.http_headers = (!request.uncommon.is_empty()).then(|| Cow::Owned(request.uncommon.clone()));
        row.http_fingerprints = self.fingerprints(request);
        row.http_us = request.common.took_us();
        if row.ip.is_none()
            && let Some((ip, port)) = request.address.as_deref().and_then(host::endpoint)
        {
            row.ip = Some(Cow::Owned(ip.into_owned()));
            row.port = port;
        }
        if row.hostname.is_none() {
            row.hostname = self.hosts[index].clone().map(Cow::Owned);
        }
        if row.tls_alpn.is_none() {
            row.tls_alpn = request.alpn.clone();
        }
    }

    fn fingerprints(&self, request: &Request<'_>) -> Option<Text<'a>> {
        let body = request.body.iter().flat_map(|body| body.hits.iter());
        let mut ids: Vec<&str> = body
            .chain(&request.header_hits)
            .map(|hit| self.reference.fingerprints.info(*hit).id.as_str())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        (!ids.is_empty()).then(|| Cow::Owned(ids.join(" ")))
    }

    /// A chain's host: what it was asked for by name; for hop 0 of a chain that names none, the input's.
    fn name_host(&self, row: &mut Observation<'a>) {
        if let Some(sni) = &row.tls_server_name
            && row.hostname.is_none()
        {
            row.hostname = Some(sni.clone());
        }
        if row.hostname.is_none() && row.role.is_none() {
            row.hostname = match row.hop {
                0 => self.measurement.hostname.clone(),
                // A connection of a later hop that got no further: the host of that hop's lookup.
                hop => self
                    .raw
                    .queries
                    .iter()
                    .find(|query| query.common.depth == Some(hop))
                    .and_then(|query| query.hostname.clone()),
            };
        }
    }

    fn annotate(&self, row: &mut Observation<'a>) {
        let Some(ip) = row.ip.as_deref().and_then(|text| text.parse::<IpAddr>().ok()) else { return };
        row.ip_is_bogon = Some(is_bogon(ip));
        if let Some(info) = self.reference.networks.lookup(ip, self.measurement.start_utc) {
            row.ip_network = Some(info.asn);
            row.ip_org = info.org.map(|org| Cow::Owned(org.into_owned()));
            row.ip_country = info.country;
        }
    }

    /// Probes before 2021 told the failure of the input's lookup beside the list of lookups, not in it.
    fn stated_lookup(&self, rows: &mut Vec<Observation<'a>>) {
        let Outcome::Failed(failure) = self.raw.key_outcome("dns_experiment_failure") else { return };
        let Some(host) = &self.measurement.hostname else { return };
        let of_input = |row: &Observation<'_>| {
            row.hop == 0 && row.dns_lookup.is_some() && row.hostname.as_ref() == Some(host)
        };
        if rows.iter().any(|row| of_input(row) && (row.dns_failure.is_some() || row.ip.is_some())) {
            return;
        }
        if let Some(row) = rows.iter_mut().find(|row| of_input(row)) {
            row.dns_failure = Some(failure);
            return;
        }
        let mut row = self.blank();
        row.hostname = Some(host.clone());
        row.dns_lookup = u32::try_from(self.raw.queries.len()).ok();
        row.dns_engine = Some(Cow::Borrowed("unknown"));
        row.dns_failure = Some(failure);
        row.dns_answers = Some(0);
        rows.push(row);
    }

    fn arm(&self, arm: arms::Arm<'a>) -> Observation<'a> {
        let mut row = self.blank();
        row.start_utc = self.after(arm.t0_us);
        arms::fill(arm, &mut row);
        self.annotate(&mut row);
        row
    }

    fn statement(&self, statement: nettests::AppRow<'a>) -> Observation<'a> {
        let mut row = self.blank();
        row.role = statement.role;
        row.app = Some(statement.app);
        row.app_success = statement.success;
        row.app_failure = statement.failure;
        row.app_value = statement.value;
        row.app_unit = statement.unit.map(Cow::Borrowed);
        if let Some((ip, port)) = statement.endpoint.as_deref().and_then(host::endpoint) {
            row.ip = Some(Cow::Owned(ip.into_owned()));
            row.port = port;
        }
        self.annotate(&mut row);
        row
    }
}

fn short(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(limit).collect()
}

fn fill_connect<'a>(connect: &Connect<'a>, row: &mut Observation<'a>) {
    row.ip = connect.ip.clone().or_else(|| row.ip.take());
    row.hostname = row.hostname.take().or_else(|| connect.host.clone());
    row.port = connect.port;
    row.tcp_failure = connect.outcome.failure();
    row.tcp_success = match connect.outcome {
        Outcome::Fine => Some(true),
        Outcome::Failed(_) => Some(false),
        Outcome::Absent => connect.success,
        Outcome::NotRun => None,
    };
    row.tcp_us = connect.common.took_us();
}

fn fill_handshake<'a>(handshake: &Handshake<'a>, row: &mut Observation<'a>) {
    row.ip = handshake.ip.clone().or_else(|| row.ip.take());
    row.port = handshake.port.or(row.port);
    row.transport = Some(handshake.transport);
    row.tls_success = match handshake.outcome {
        Outcome::Fine => Some(true),
        Outcome::Failed(_) => Some(false),
        Outcome::Absent | Outcome::NotRun => None,
    };
    row.tls_failure = handshake.outcome.failure();
    row.tls_server_name = handshake.server_name.clone();
    row.tls_ech = match (&handshake.ech, &handshake.outer_name) {
        (None, None) => None,
        (Some(config), outer) => {
            let kind = if config.eq_ignore_ascii_case("grease") { "grease" } else { "ech" };
            Some(Cow::Owned(match outer {
                Some(outer) => format!("{kind} {outer}"),
                None => kind.to_owned(),
            }))
        }
        (None, Some(outer)) => Some(Cow::Owned(format!("ech {outer}"))),
    };
    row.tls_version = handshake.version.clone();
    row.tls_cipher = handshake.cipher.clone();
    row.tls_alpn = handshake.alpn.clone();
    // Trap 18: without verification, success says nothing of the certificate.
    row.tls_unverified = handshake.no_verify;
    row.tls_us = handshake.common.took_us();
    let Some(chain) = &handshake.chain else { return };
    row.cert_chain = Some(chain.length);
    row.cert_sha256 = chain.sha256.clone().map(Cow::Owned);
    row.cert_subject = chain.subject.clone().map(Cow::Owned);
    row.cert_issuer = chain.issuer.clone().map(Cow::Owned);
    row.cert_not_before_utc = chain.not_before;
    row.cert_not_after_utc = chain.not_after;
    if !chain.names.is_empty() {
        row.cert_matches_name =
            handshake.server_name.as_deref().map(|name| super::cert::covers(&chain.names, name));
    }
}

/// The control's rows.
pub fn controls<'a>(raw: &Raw<'a>, measurement: &Measurement<'a>, reference: &Reference) -> Vec<Control<'a>> {
    let mut rows = Vec::with_capacity(raw.controls.len());
    for control in &raw.controls {
        let mut row = Control {
            measurement_uid: measurement.measurement_uid.clone(),
            start_utc: measurement.start_utc,
            kind: Cow::Borrowed(control.kind),
            hostname: control
                .host
                .clone()
                .or_else(|| control.server_name.clone())
                .or_else(|| measurement.hostname.clone()),
            ip: control.ip.clone(),
            port: control.port,
            success: control.success,
            failure: control
                .failure
                .filter(|failure| *failure != Failure::Unknown || control.success != Some(true)),
            server_name: control.server_name.clone(),
            http_status: control.status,
            http_body_bytes: control.body_bytes,
            http_title: control.title.clone(),
            http_headers: control.headers.clone().map(Cow::Owned),
            ..Control::default()
        };
        if let Some(ip) = row.ip.as_deref().and_then(|text| text.parse::<IpAddr>().ok()) {
            row.ip_is_bogon = Some(is_bogon(ip));
            row.ip_network = reference.networks.lookup(ip, measurement.start_utc).map(|info| info.asn);
        }
        rows.push(row);
    }
    rows
}
