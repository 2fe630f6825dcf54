//! A replayed flow as a row of the lake, a line of JSON, a line for people.

use std::collections::BTreeMap;
use std::net::IpAddr;

use okno_lab::replay::{Deed, FlowRow};
use okno_model::Flow;
use okno_wire::protocol::Certainty;
use serde_json::{Value, json};

use super::text::{plain, time};

/// Subscribers that are told apart in one run; all further ones are number 0.
const SUBSCRIBERS: usize = 1 << 20;

/// Subscribers as numbers, in the order in which their flows end: no row has their addresses.
#[derive(Default)]
pub struct Subscribers(BTreeMap<IpAddr, u32>);

impl Subscribers {
    /// The number of an address, from 1.
    pub fn number(&mut self, ip: IpAddr) -> u32 {
        let next = u32::try_from(self.0.len() + 1).unwrap_or(0);
        if self.0.len() < SUBSCRIBERS {
            return *self.0.entry(ip).or_insert(next);
        }
        self.0.get(&ip).copied().unwrap_or(0)
    }
}

/// What all rows of a run share.
pub struct Run {
    /// its id
    pub id: String,
    /// the profile as named
    pub profile: String,
    /// names of the captures
    pub captures: Vec<String>,
}

fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Parsed => "parsed",
        Certainty::Pattern => "pattern",
        Certainty::Heuristic => "heuristic",
    }
}

/// The words of a deed's kind.
pub fn kind(deed: &Deed) -> &'static str {
    use okno_censor::ActKind as K;
    match deed.kind {
        K::Triggered => "triggered",
        K::Dropped => "dropped",
        K::Rewritten => "rewritten",
        K::Injected => "injected",
        K::Policed => "policed",
        K::Delayed => "delayed",
        K::Expired => "expired",
    }
}

/// What a deed rests on, in words.
pub fn evidence(deed: &Deed) -> String {
    let mut parts = Vec::new();
    if let Some(protocol) = deed.protocol {
        parts.push(protocol.as_str().to_owned());
    }
    for (what, value) in [("", &deed.name), ("ja4 ", &deed.fingerprint), ("", &deed.detail)] {
        if !value.is_empty() {
            parts.push(format!("{what}{}", plain(value)));
        }
    }
    if !deed.matched.is_empty() && deed.matched != deed.name {
        parts.push(format!("by the entry {}", plain(&deed.matched)));
    }
    parts.join(", ")
}

/// Ids of the rules that would have acted, each once.
fn rules(row: &FlowRow) -> String {
    let mut rules: Vec<&str> = Vec::new();
    for deed in &row.deeds {
        if !rules.contains(&deed.rule.as_str()) {
            rules.push(&deed.rule);
        }
    }
    rules.join(" ")
}

fn named(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| plain(text))
}

/// The row of the table `flows`.
pub fn table<'a>(row: &FlowRow, run: &'a Run, subscriber: u32) -> Flow<'a> {
    let recognition = row.recognition.as_ref();
    let first = row.deeds.first();
    let (remote_ip, remote_port) = row.remote();
    Flow {
        run: run.id.as_str().into(),
        profile: run.profile.as_str().into(),
        capture: run.captures.get(row.capture).map_or("", String::as_str).into(),
        flow: row.flow,
        first_packet: row.number,
        first_utc: time(row.first),
        duration_us: u64::try_from(row.last.since(row.first).as_micros()).unwrap_or(u64::MAX),
        transport: row.transport().into(),
        subscriber,
        subscriber_port: row.subscriber().1.into(),
        remote_ip: remote_ip.to_string().into(),
        remote_port: remote_port.into(),
        opened_by: row.opened_by.as_str().into(),
        packets_up: row.packets[0],
        packets_down: row.packets[1],
        bytes_up: row.bytes[0],
        bytes_down: row.bytes[1],
        protocol: recognition.map(|r| r.protocol.as_str().into()),
        version: recognition.and_then(|r| named(&r.version)).map(Into::into),
        name: recognition.and_then(|r| named(&r.name)).map(Into::into),
        fingerprint: recognition.and_then(|r| named(&r.fingerprint)).map(Into::into),
        certainty: recognition.map(|r| certainty(r.certainty).into()),
        fragments: row.fragments,
        malformed: row.broken_packets,
        malformed_first: row.broken.map(|broken| broken.malformed.to_string().into()),
        rule: first.map(|deed| deed.rule.clone().into()),
        mechanism: first.map(|deed| deed.mechanism.into()),
        act: first.map(|deed| kind(deed).into()),
        act_packet: first.map(|deed| deed.packet),
        act_number: first.and_then(|deed| (deed.number != 0).then_some(deed.number)),
        evidence: first.map(|deed| evidence(deed).into()),
        rules: rules(row).into(),
        dropped: row.dropped,
        forged: row.forged,
    }
}

/// The flow as JSON.
pub fn json(row: &FlowRow, run: &Run, subscriber: u32) -> Value {
    let recognition = row.recognition.as_ref();
    let (remote_ip, remote_port) = row.remote();
    let deeds: Vec<Value> = row.deeds.iter().map(deed_json).collect();
    json!({
        "flow": row.flow,
        "capture": run.captures.get(row.capture),
        "first_packet": row.number,
        "first_utc": time(row.first).to_string(),
        "duration_us": u64::try_from(row.last.since(row.first).as_micros()).unwrap_or(u64::MAX),
        "transport": row.transport(),
        "subscriber": subscriber,
        "subscriber_port": row.subscriber().1,
        "remote_ip": remote_ip.to_string(),
        "remote_port": remote_port,
        "opened_by": row.opened_by.as_str(),
        "packets": { "up": row.packets[0], "down": row.packets[1] },
        "bytes": { "up": row.bytes[0], "down": row.bytes[1] },
        "recognised": recognition.map(|r| json!({
            "protocol": r.protocol.as_str(),
            "version": r.version,
            "name": r.name,
            "fingerprint": r.fingerprint,
            "certainty": certainty(r.certainty),
        })),
        "fragments": row.fragments,
        "malformed": row.broken.map(|broken| json!({
            "packets": row.broken_packets,
            "first_packet": broken.number,
            "layer": broken.malformed.layer,
            "offset": broken.malformed.offset,
            "expected": broken.malformed.expected,
            "found": broken.malformed.found.to_string(),
        })),
        "would": deeds,
        "dropped": row.dropped,
        "forged": row.forged,
    })
}

fn deed_json(deed: &Deed) -> Value {
    json!({
        "rule": deed.rule,
        "act": kind(deed),
        "mechanism": deed.mechanism,
        "packet": deed.packet,
        "capture_packet": (deed.number != 0).then_some(deed.number),
        "at_utc": time(deed.at).to_string(),
        "protocol": deed.protocol.map(okno_wire::Protocol::as_str),
        "name": deed.name,
        "matched": deed.matched,
        "fingerprint": deed.fingerprint,
        "detail": deed.detail,
    })
}

/// The flow in one line, and one more for each rule that would have acted.
pub fn lines(row: &FlowRow, subscriber: u32) -> String {
    let (remote, port) = row.remote();
    let what = row.recognition.as_ref().map_or_else(
        || "not recognised".to_owned(),
        |r| {
            let parts = [r.protocol.as_str(), &r.version, &r.name].map(plain);
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        },
    );
    let end = if remote.is_ipv6() { format!("[{remote}]:{port}") } else { format!("{remote}:{port}") };
    let mut text = format!(
        "#{} {} subscriber {subscriber} {} {end}  {what}  {} + {} packets\n",
        row.number,
        row.transport(),
        if row.opened_by.as_str() == "remote" { "<-" } else { "->" },
        row.packets[0],
        row.packets[1],
    );
    for deed in &row.deeds {
        let packet = if deed.number == 0 { "by a timer".to_owned() } else { format!("#{}", deed.number) };
        let why = evidence(deed);
        text.push_str(&format!(
            "    {} {} at packet {} ({packet}){}{}\n",
            deed.rule,
            kind(deed),
            deed.packet,
            if why.is_empty() { "" } else { ": " },
            why
        ));
    }
    if let Some(broken) = &row.broken {
        let more = row.broken_packets;
        text.push_str(&format!("    malformed: {} (#{}, {more} in all)\n", broken.malformed, broken.number));
    }
    text
}
