//! What all measurements share: who measures, what may be spent, what is too risky without a word more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use okno_ingest::reference::Reference;
use okno_probe::experiment::{Contact, Risk};
use okno_probe::guard::{Attempt, Guard, Ledger, Limits, Why};
use okno_probe::measurement::Identity;
use okno_probe::nettests;
use okno_probe::session::{Job, Plan, contacts};
use okno_probe::{Experiment, World, own_address};
use okno_sockets::{Setup, TokioNet};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::cli::Common;
use crate::Unusable;

/// Categories of Citizen Lab's test lists whose sites it is punished to visit in some countries
/// (https://github.com/citizenlab/test-lists, lists/00-LEGEND-new_category_codes.csv).
const RISKY: &[(&str, &str)] = &[
    ("ALDR", "alcohol and drugs"),
    ("HATR", "hate speech"),
    ("LGBT", "LGBT"),
    ("MILX", "terrorism and militants"),
    ("PORN", "pornography"),
];

/// The tests of these names, with their options.
pub fn tests(names: &[String], options: &[String]) -> Result<Vec<Rc<dyn Experiment>>> {
    let mut by_name = BTreeMap::new();
    for option in options {
        let (name, text) = option
            .split_once('=')
            .ok_or_else(|| Unusable(format!("--option {option}: write NAME={{\"option\": value}}")))?;
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Unusable(format!("--option {name}: no JSON ({error})")))?;
        by_name.insert(name.to_string(), value);
    }
    let tests: Result<Vec<_>, String> =
        names.iter().map(|name| nettests::by_name(name, by_name.get(name).unwrap_or(&Value::Null))).collect();
    if let Some(name) = by_name.keys().find(|name| !names.contains(name)) {
        return Err(Unusable(format!("--option {name}: that test does not run; add --test {name}")).into());
    }
    Ok(tests.map_err(Unusable)?)
}

/// The plan of a session.
pub fn plan(common: &Common, parallel: usize) -> Result<Plan> {
    if let Some(helper) = &common.helper {
        let usable =
            Url::parse(helper).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        usable.ok_or_else(|| Unusable(format!("--helper {helper}: write https://host/")))?;
    }
    let country = common.country.to_ascii_uppercase();
    if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Unusable(format!("--country {}: two letters, as KZ", common.country)).into());
    }
    let number = common.network.trim_start_matches(['A', 'S', 'a', 's']);
    let number: u32 =
        number.parse().map_err(|_| Unusable(format!("--network {}: write AS64500", common.network)))?;
    let identity = Identity {
        country,
        asn: format!("AS{number}"),
        network_name: common.network_name.clone(),
        network_type: common.network_type.clone(),
        resolver_asn: "AS0".to_string(),
        resolver_network_name: String::new(),
        software_name: "okno".to_string(),
        software_version: env!("CARGO_PKG_VERSION").to_string(),
        platform: std::env::consts::OS.to_string(),
        origin: "manual".to_string(),
    };
    let mut annotations = Map::new();
    annotations.insert("network_type".to_string(), json!(identity.network_type));
    annotations.insert("origin".to_string(), json!(identity.origin));
    annotations.insert("platform".to_string(), json!(identity.platform));
    let limits = Limits {
        bytes: common.budget_bytes,
        allowed: common.allow_range.clone(),
        dry: common.dry_run,
        ..Limits::default()
    };
    let helper_addresses = common.helper_address.clone();
    let own_addresses = Vec::new();
    Ok(Plan {
        identity,
        limits,
        parallel,
        helper: common.helper.clone(),
        helper_addresses,
        own_addresses,
        annotations,
    })
}

/// Refuses what is risky until its warning was read.
pub fn check_risks(common: &Common, jobs: &[Job], reference: &Reference) -> Result<()> {
    if common.i_understand || common.dry_run {
        return Ok(());
    }
    let mut warning = String::new();
    let mut warned = Vec::new();
    for job in jobs {
        let (name, manual) = (job.experiment.name(), job.experiment.manual());
        if manual.risk == Risk::High && !warned.contains(&name) {
            warned.push(name);
            let _ = write!(warning, "\n  {name} (high risk): {}.", manual.risk_note.trim_end_matches('.'));
        }
        if let Some((host, topic)) = job.input.as_deref().and_then(|input| risky(input, reference)) {
            let _ = write!(
                warning,
                "\n  {host}: on lists of sites about {topic}; being seen to open it may harm you."
            );
        }
    }
    if warning.is_empty() {
        return Ok(());
    }
    let text = format!(
        "not run, because it can put you at risk:{warning}\n\
         Your network sees these connections as yours. If you have weighed that, add --i-understand;\n\
         `okno probe manual` tells what each test sends, --dry-run whom it would contact."
    );
    Err(Unusable(text).into())
}

fn risky(input: &str, reference: &Reference) -> Option<(String, &'static str)> {
    let url = Url::parse(input).or_else(|_| Url::parse(&format!("https://{input}/"))).ok()?;
    let host = match url.host()? {
        Host::Domain(name) => name.to_string(),
        Host::Ipv4(_) | Host::Ipv6(_) => return None,
    };
    let category = reference.test_lists.category(&host)?;
    let (_, topic) = RISKY.iter().find(|(code, _)| *code == category)?;
    Some((host, topic))
}

/// Certificates of further authorities.
pub fn sockets(common: &Common) -> Result<Setup> {
    let mut authorities = Vec::new();
    for path in &common.authority {
        let wrong = || Unusable(format!("--authority {}: no certificate in PEM", path.display()));
        let read = CertificateDer::pem_file_iter(path).map_err(|_| wrong())?;
        let read: Result<Vec<_>, _> = read.collect();
        authorities.extend(read.map_err(|_| wrong())?);
    }
    Ok(Setup { authorities, resolver: None })
}

/// Host and port of the STUN server; `None` when none shall be asked.
pub fn stun(common: &Common) -> Result<Option<(String, u16)>> {
    if common.stun == "none" {
        return Ok(None);
    }
    let wrong = || Unusable(format!("--stun {}: write HOST:PORT or none", common.stun));
    let (host, port) = common.stun.rsplit_once(':').ok_or_else(wrong)?;
    Ok(Some((host.to_string(), port.parse().map_err(|_| wrong())?)))
}

/// What a dry run lists, for people or as JSON: every host, and what for.
pub fn dry(plan: &Plan, jobs: &[Job], stun: Option<&(String, u16)>, json: bool) -> Result<String> {
    let mut all = contacts(plan, jobs);
    if let Some((host, port)) = stun {
        let purpose = "tells the own address, so that it is taken out of results".to_string();
        all.push((Contact { host: host.clone(), port: format!("udp/{port}"), purpose }, vec!["session"]));
    }
    if json {
        let rows: Vec<Value> = all
            .iter()
            .map(|(contact, tests)| {
                json!({ "host": contact.host, "port": contact.port, "purpose": contact.purpose, "tests": tests })
            })
            .collect();
        return serde_json::to_string_pretty(&json!({ "measurements": jobs.len(), "contacts": rows }))
            .context("JSON");
    }
    let count = counted(jobs.len());
    let mut out = format!("{count} would contact these hosts; nobody was contacted:\n");
    for (contact, tests) in &all {
        let host =
            if contact.host == okno_probe::guard::ANYWHERE { "any public host" } else { &contact.host };
        let _ = writeln!(out, "  {host:40} {:12} {} ({})", contact.port, contact.purpose, tests.join(", "));
    }
    let bytes: u64 = jobs.iter().map(|job| job.experiment.manual().bytes).sum();
    let _ = write!(out, "About {:.1} MB would go over the line.", bytes as f64 / 1e6);
    Ok(out)
}

/// `1 measurement`, `2 measurements`.
pub fn counted(measurements: usize) -> String {
    format!("{measurements} measurement{}", if measurements == 1 { "" } else { "s" })
}

/// Tells which hosts were not contacted because the session may not.
pub fn tell_refusals(attempts: &[Attempt]) {
    for one in attempts {
        let why = match one.refused {
            Some(Why::Reserved) => "a private or reserved address; --allow-range is for labs of your own",
            Some(Why::Unnamed) => "the test had not named it; please report this",
            Some(Why::Budget) => "the budget is spent; --budget-bytes raises it",
            Some(Why::Pace) => "too much at once",
            Some(Why::Dry) | None => continue,
        };
        eprintln!("okno: {} {} was not contacted: {why}", one.host, one.port);
    }
}

/// The kernel's network, and the own public address where a server tells it.
pub async fn open(setup: &Setup, plan: &mut Plan, stun: Option<&(String, u16)>, quiet: bool) -> World {
    let world: World = TokioNet::new(setup);
    if let Some((host, port)) = stun {
        let contact =
            Contact { host: host.clone(), port: format!("udp/{port}"), purpose: "own address".to_string() };
        let guard: World = Guard::around(world.clone(), Ledger::new(plan.limits.clone()), &[contact]);
        match own_address::ask(&guard, host, *port).await {
            Some(own) => plan.own_addresses.push(own),
            None if !quiet => eprintln!(
                "okno: {host} did not tell the own public address; a page that shows it would keep it in the results"
            ),
            None => {}
        }
    }
    world
}
