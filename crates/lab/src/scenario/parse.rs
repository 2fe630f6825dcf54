//! From TOML tables to the scenario's structures.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use okno_wire::Instant;

use super::fields::{Fields, Report, Text, Word, did_you_mean};
use super::model::{
    ACTIVITIES, Activity, ClientGroup, Fault, FaultKind, ListChange, PLACEMENTS, PROTOCOLS, Placement,
    Policy, PolicyAction, Protocol, Scenario, Service, Where,
};
use super::probes::{self, ProbeGroup};
use super::problem::Place;
use crate::nation::{Nation, parse_nation};

/// Most services, policies, faults, groups in one file.
const MAX_TABLES: usize = 10_000;
/// Most entries of one list.
const MAX_ENTRIES: usize = 200_000;

/// A scenario that is still being read.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub nation: Nation,
    pub networks: Vec<Word>,
    pub regions: Vec<Word>,
    pub profiles: Vec<(Word, Place)>,
    /// whether the file at hand is a national model
    pub in_model: bool,
    model_lists: BTreeSet<String>,
    title: String,
    shows: String,
    sources: Vec<String>,
    benign: bool,
    seed: Option<u64>,
    start: Option<Instant>,
    end: Option<Instant>,
    lists: BTreeMap<String, Vec<Word>>,
    services: Vec<Service>,
    policies: Vec<DraftPolicy>,
    faults: Vec<DraftFault>,
    clients: Vec<ClientGroup>,
    probes: Vec<ProbeGroup>,
}

#[derive(Debug)]
struct DraftPolicy {
    at: Option<Instant>,
    lasts: Option<Duration>,
    policy: Policy,
}

#[derive(Debug)]
struct DraftFault {
    at: Option<Instant>,
    until: Option<Instant>,
    lasts: Option<Duration>,
    fault: Fault,
}

impl Draft {
    /// Reads all tables of one file but `topology` and `include`, which the loader has read.
    pub fn read(&mut self, root: &Fields<'_, '_>, report: &Report) {
        if let Some(format) = root.count("format", 1, 1_000)
            && format != 1
        {
            root.wrong(
                "format",
                format!("format {format} is newer than this lab"),
                "this lab reads `format = 1`",
            );
        }
        set(&mut self.title, root.text("title"));
        set(&mut self.shows, root.text("shows"));
        set(&mut self.nation.country, root.text("country"));
        self.sources.extend(root.texts("sources", 200).into_iter().map(|word| word.text));
        self.benign |= root.flag("benign").unwrap_or(false);
        self.seed = root.count("seed", 0, u64::MAX >> 1).or(self.seed);
        self.start = root.moment("start").or(self.start);
        self.end = root.moment("end").or(self.end);
        parse_nation(root, &mut self.nation);
        for file in root.texts("profiles", 32) {
            let place = file.place;
            self.profiles.push((file, place));
        }
        if let Some(lists) = root.table("lists") {
            for (name, entries) in lists.lists(1_000, MAX_ENTRIES) {
                let known = self.lists.insert(name.text.clone(), entries).is_some();
                // a model's list may be replaced, once; the lists of one scenario may not repeat each other
                let of_model = self.model_lists.remove(&name.text);
                if self.in_model {
                    self.model_lists.insert(name.text);
                } else if known && !of_model {
                    report.add(
                        name.place,
                        format!("list `{}` exists already", name.text),
                        "rename one of them",
                    );
                }
            }
        }
        self.services.extend(root.tables("service", MAX_TABLES).iter().map(service));
        self.policies.extend(root.tables("policy", MAX_TABLES).iter().map(policy));
        self.faults.extend(root.tables("fault", MAX_TABLES).iter().map(fault));
        self.clients.extend(root.tables("client", MAX_TABLES).iter().map(client));
        self.probes.extend(root.tables("probe", MAX_TABLES).iter().map(probes::probe));
    }

    /// Puts what was read together; what is missing or contradicts itself goes to the report.
    pub fn finish(&mut self, name: &str, report: &Report) -> Scenario {
        let place = Place::default();
        let start = self.start.unwrap_or_else(|| {
            report.add(place, "the scenario lacks `start`", "add `start = 2025-06-09T00:00:00Z`");
            Instant::ZERO
        });
        let end = self.end.unwrap_or_else(|| {
            report.add(place, "the scenario lacks `end`", "add `end = 2025-06-30T00:00:00Z`");
            Instant::MAX
        });
        if self.title.is_empty() {
            report.add(place, "the scenario lacks `title`", "add `title = \"…\"`");
        }
        let mut policies: Vec<Policy> =
            core::mem::take(&mut self.policies).into_iter().map(|draft| draft.finish(start)).collect();
        policies.sort_by_key(|policy| policy.at);
        let mut faults: Vec<Fault> =
            core::mem::take(&mut self.faults).into_iter().map(|draft| draft.finish(start, end)).collect();
        faults.sort_by_key(|fault| fault.at);
        Scenario {
            name: name.to_owned(),
            title: core::mem::take(&mut self.title),
            shows: core::mem::take(&mut self.shows),
            sources: core::mem::take(&mut self.sources),
            benign: self.benign,
            seed: self.seed.unwrap_or(1),
            start,
            end,
            nation: core::mem::take(&mut self.nation),
            profiles: BTreeMap::new(),
            lists: core::mem::take(&mut self.lists),
            services: core::mem::take(&mut self.services),
            policies,
            faults,
            clients: core::mem::take(&mut self.clients),
            probes: core::mem::take(&mut self.probes),
            files: Vec::new(),
            known_networks: Vec::new(),
            known_regions: Vec::new(),
        }
    }
}

impl DraftPolicy {
    fn finish(self, start: Instant) -> Policy {
        let at = self.at.unwrap_or(start);
        let until = self.policy.until.or_else(|| self.lasts.map(|lasts| at + lasts));
        Policy { at, until, ..self.policy }
    }
}

impl DraftFault {
    fn finish(self, start: Instant, end: Instant) -> Fault {
        let at = self.at.unwrap_or(start);
        let until = self.until.or_else(|| self.lasts.map(|lasts| at + lasts)).unwrap_or(end);
        Fault { at, until, ..self.fault }
    }
}

/// A key with more parts than any scenario needs: dotted keys make a table each, which would nest without
/// bound.
pub(crate) fn too_deep(source: &Text<'_>) -> Option<Place> {
    let mut at = 0;
    for line in source.text.split('\n') {
        let key = line.split(['=', '#', '"', '\'']).next().unwrap_or("");
        if key.bytes().filter(|byte| *byte == b'.').count() > 16 {
            return Some(source.place(&(at..at)));
        }
        at += line.len() + 1;
    }
    None
}

fn set(field: &mut String, word: Option<Word>) {
    if let Some(word) = word {
        *field = word.text;
    }
}

pub(super) fn target(fields: &Fields<'_, '_>) -> Where {
    Where { networks: fields.texts("networks", 1_000), regions: fields.texts("regions", 1_000) }
}

fn narrow(number: Option<u64>, otherwise: u32) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(otherwise)
}

fn service(fields: &Fields<'_, '_>) -> Service {
    let id = fields.required_text("id", "\"example.org\"");
    let mut names = fields.texts("names", 100);
    if names.is_empty() && id.contains('.') {
        names.push(id.clone());
    }
    let mut speaks = Vec::new();
    for word in fields.texts("speaks", 16) {
        match PROTOCOLS.iter().find(|(name, _)| *name == word.text) {
            Some((_, protocol)) => speaks.push(*protocol),
            None => {
                let known: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
                let what = format!("unknown protocol `{}` in `speaks`", word.text);
                fields.wrong("speaks", what, did_you_mean(&word.text, &known));
            }
        }
    }
    if speaks.is_empty() {
        speaks = vec![Protocol::Http, Protocol::Https];
    }
    let service = Service {
        names,
        hosting: fields.required_text("hosting", "\"cloudflare\""),
        speaks,
        addresses: narrow(fields.count("addresses", 1, 16), 1),
        object_bytes: fields.count("object_bytes", 0, 1 << 26).unwrap_or(20_000),
        ipv6: fields.flag("ipv6").unwrap_or(false),
        port: fields.count("port", 1, 65_535).and_then(|port| u16::try_from(port).ok()),
        note: fields.text("note").map_or_else(String::new, |word| word.text),
        place: fields.place,
        id,
    };
    fields.text("source");
    fields.finish();
    service
}

const POLICY_KINDS: &[(&str, u8)] =
    &[("install", 0), ("remove", 1), ("replace", 2), ("list", 3), ("fail-open", 4), ("overload", 5)];

fn policy(fields: &Fields<'_, '_>) -> DraftPolicy {
    if !fields.has("do") {
        fields.missing("do", "\"install\"");
    }
    let action = match fields.choice("do", POLICY_KINDS) {
        Some(0) => {
            let profile = fields.required_text("profile", "\"tspu-2025\"");
            let slot = fields.text("box").unwrap_or_else(|| profile.clone());
            let placement = fields.choice("place", PLACEMENTS).unwrap_or(Placement::Tspu);
            PolicyAction::Install { slot, profile, placement }
        }
        Some(1) => PolicyAction::Remove { slot: fields.required_text("box", "\"tspu\"") },
        Some(2) => PolicyAction::Replace {
            slot: fields.required_text("box", "\"tspu\""),
            profile: fields.required_text("profile", "\"tspu-2025\""),
        },
        Some(3) => {
            let changes =
                [("set", ListChange::Set), ("add", ListChange::Add), ("remove", ListChange::Remove)];
            PolicyAction::List {
                list: fields.required_text("list", "\"sni\""),
                change: fields.choice("change", &changes).unwrap_or(ListChange::Add),
                entries: fields.texts("entries", MAX_ENTRIES),
            }
        }
        Some(5) => PolicyAction::Overload {
            slot: fields.text("box").unwrap_or_default(),
            drop: fields.number("drop", 0.0, 1.0).unwrap_or(0.1),
        },
        _ => PolicyAction::FailOpen { slot: fields.text("box").unwrap_or_default() },
    };
    let draft = DraftPolicy {
        at: fields.moment("at"),
        lasts: fields.duration("lasts"),
        policy: Policy {
            at: Instant::ZERO,
            until: fields.moment("until"),
            target: target(fields),
            action,
            note: fields.text("note").map_or_else(String::new, |word| word.text),
            source: fields.text("source").map_or_else(String::new, |word| word.text),
            place: fields.place,
        },
    };
    if draft.policy.until.is_some() && draft.lasts.is_some() {
        fields.wrong("lasts", "both `until` and `lasts`", "keep one of them");
    }
    fields.finish();
    draft
}

/// Kinds of faults by name; the parameters are read after.
const FAULT_KINDS: &[(&str, FaultKind)] = &[
    ("outage", FaultKind::Outage),
    ("congestion", FaultKind::Congestion { loss: 0.0, delay: Duration::ZERO, rate_bps: None }),
    ("server-down", FaultKind::ServerDown),
    ("server-refuses", FaultKind::ServerRefuses),
    ("server-slow", FaultKind::ServerSlow { delay: Duration::ZERO }),
    ("broken-ipv6", FaultKind::BrokenIpv6),
    ("cdn-rotation", FaultKind::CdnRotation),
    ("geo-block", FaultKind::GeoBlock),
    ("expired-certificate", FaultKind::ExpiredCertificate),
    ("captive-portal", FaultKind::CaptivePortal),
    ("resolver-down", FaultKind::ResolverDown),
];

fn fault(fields: &Fields<'_, '_>) -> DraftFault {
    if !fields.has("kind") {
        fields.missing("kind", "\"outage\"");
    }
    let mut kind = fields.choice("kind", FAULT_KINDS).unwrap_or(FaultKind::Outage);
    match &mut kind {
        FaultKind::Congestion { loss, delay, rate_bps } => {
            *loss = fields.number("loss", 0.0, 1.0).unwrap_or(0.02);
            *delay = fields.duration("delay").unwrap_or(Duration::from_millis(80));
            *rate_bps = fields.count("rate_kbit", 1, 100_000_000).map(|kbit| kbit * 1_000);
        }
        FaultKind::ServerSlow { delay } => {
            *delay = fields.duration("delay").unwrap_or(Duration::from_secs(3));
        }
        _ => {}
    }
    let draft = DraftFault {
        at: fields.moment("at"),
        until: fields.moment("until"),
        lasts: fields.duration("lasts"),
        fault: Fault {
            at: Instant::ZERO,
            until: Instant::MAX,
            target: target(fields),
            services: fields.texts("services", 1_000),
            kind,
            cause: fields.text("cause").map_or_else(String::new, |word| word.text),
            place: fields.place,
        },
    };
    if draft.until.is_some() && draft.lasts.is_some() {
        fields.wrong("lasts", "both `until` and `lasts`", "keep one of them");
    }
    if kind.needs_service() && draft.fault.services.is_empty() {
        fields.missing("services", "[\"example.org\"]");
    }
    fields.text("source");
    fields.finish();
    draft
}

fn client(fields: &Fields<'_, '_>) -> ClientGroup {
    let mut does = Vec::new();
    for word in fields.texts("does", 32) {
        match ACTIVITIES.iter().find(|(name, _)| *name == word.text) {
            Some((_, activity)) => does.push(*activity),
            None => {
                let known: Vec<&str> = ACTIVITIES.iter().map(|(name, _)| *name).collect();
                let what = format!("unknown activity `{}` in `does`", word.text);
                fields.wrong("does", what, did_you_mean(&word.text, &known));
            }
        }
    }
    if does.is_empty() && !fields.has("does") {
        does.push(Activity::Https);
    }
    if !fields.has("targets") {
        fields.missing("targets", "[\"example.org\"]");
    }
    if fields.has("per_cell") && fields.has("total") {
        fields.wrong("total", "both `per_cell` and `total`", "keep one of them");
    }
    let total = narrow(fields.count("total", 1, 1_000_000), 0);
    let per_cell = narrow(fields.count("per_cell", 1, 100_000), u32::from(total == 0));
    let group = ClientGroup {
        id: fields.required_text("id", "\"measure\""),
        target: target(fields),
        per_cell,
        total,
        targets: fields.texts("targets", 1_000),
        does,
        every: fields.duration("every").unwrap_or(Duration::from_secs(3600)),
        jitter: fields.duration("jitter").unwrap_or(Duration::from_secs(60)),
        rounds: fields.count("rounds", 1, 1_000_000).unwrap_or(0),
        bytes: fields.count("bytes", 1, 1 << 26).unwrap_or(0),
        parallel: narrow(fields.count("parallel", 1, 64), 1),
        timeout: fields.duration("timeout").unwrap_or(Duration::from_secs(10)),
        resolve: fields.flag("resolve").unwrap_or(true),
        resolver: fields.text("resolver").unwrap_or_default(),
        ipv6: fields.flag("ipv6").unwrap_or(false),
        fallback: fields.flag("fallback").unwrap_or(false),
        from: fields.moment("from"),
        until: fields.moment("until"),
        place: fields.place,
    };
    fields.text("note");
    fields.finish();
    group
}
