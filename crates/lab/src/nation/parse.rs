//! Reads the tables of a nation: from its model and, over that, from a scenario.
//!
//! A table with an id that is known already changes only the keys it names.

use super::address::{MAX_CELLS, MAX_HOSTINGS};
use super::{ACCESSES, Border, Exchange, Hosting, Nation, Network, Region};
use crate::scenario::fields::{Fields, Report, Word, did_you_mean};

/// Most tables of one kind in one file.
const MAX_TABLES: usize = 2_000;

/// Reads the tables `region`, `exchange`, `border`, `network`, `hosting` of a file into the nation.
pub(crate) fn parse_nation(root: &Fields<'_, '_>, nation: &mut Nation) {
    for fields in root.tables("region", MAX_TABLES) {
        let id = id_of(&fields);
        let base = nation.regions.iter().position(|region| region.id == id);
        let region = region(&fields, id, base.and_then(|at| nation.regions.get(at)));
        put(&mut nation.regions, base, region);
    }
    for fields in root.tables("exchange", MAX_TABLES) {
        let id = id_of(&fields);
        let base = nation.exchanges.iter().position(|exchange| exchange.id == id);
        let old = base.and_then(|at| nation.exchanges.get(at)).cloned().unwrap_or_default();
        let exchange = Exchange {
            name: text_or(&fields, "name", if base.is_some() { &old.name } else { &id }),
            delay_us: delay_us(&fields, "delay_ms", old.delay_us),
            border: text_or(&fields, "border", &old.border),
            id,
        };
        noted(&fields);
        put(&mut nation.exchanges, base, exchange);
    }
    for fields in root.tables("border", MAX_TABLES) {
        let id = id_of(&fields);
        let base = nation.borders.iter().position(|border| border.id == id);
        let old = base.and_then(|at| nation.borders.get(at)).cloned().unwrap_or_default();
        let border = Border {
            name: text_or(&fields, "name", if base.is_some() { &old.name } else { &id }),
            delay_us: delay_us(&fields, "delay_ms", old.delay_us),
            loss: fields.number("loss", 0.0, 1.0).unwrap_or(old.loss),
            id,
        };
        noted(&fields);
        put(&mut nation.borders, base, border);
    }
    for fields in root.tables("hosting", MAX_TABLES) {
        let id = id_of(&fields);
        let base = nation.hostings.iter().position(|hosting| hosting.id == id);
        let hosting = hosting(&fields, id, base.and_then(|at| nation.hostings.get(at)), &nation.country);
        put(&mut nation.hostings, base, hosting);
    }
    for fields in root.tables("network", MAX_TABLES) {
        let id = id_of(&fields);
        let base = nation.networks.iter().position(|network| network.id == id);
        let network = network(&fields, id, base.and_then(|at| nation.networks.get(at)));
        put(&mut nation.networks, base, network);
    }
}

fn put<T>(items: &mut Vec<T>, at: Option<usize>, item: T) {
    match at.and_then(|at| items.get_mut(at)) {
        Some(old) => *old = item,
        None => items.push(item),
    }
}

fn id_of(fields: &Fields<'_, '_>) -> String {
    let id = fields.required_text("id", "\"name\"");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !id.is_empty() && (id.len() > 40 || !id.chars().all(plain)) {
        fields.wrong("id", format!("`id = \"{}\"` is no id", id.text), "take a–z, 0–9 and `-`, at most 40");
    }
    id.text
}

fn text_or(fields: &Fields<'_, '_>, key: &'static str, otherwise: &str) -> String {
    fields.text(key).map_or_else(|| otherwise.to_owned(), |word| word.text)
}

/// Reads a delay in milliseconds as microseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by 0 and 60,000")]
fn delay_us(fields: &Fields<'_, '_>, key: &'static str, otherwise: u64) -> u64 {
    fields.number(key, 0.0, 60_000.0).map_or(otherwise, |ms| (ms * 1_000.0).round() as u64)
}

/// Reads a rate in Mbit/s as bit/s.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by 0.001 and 100,000")]
fn rate_bps(fields: &Fields<'_, '_>, key: &'static str, otherwise: u64) -> u64 {
    fields.number(key, 0.001, 100_000.0).map_or(otherwise, |mbit| (mbit * 1e6).round() as u64)
}

/// Accepts `source` and `note`, which are for people, and ends the table.
fn noted(fields: &Fields<'_, '_>) {
    fields.text("source");
    fields.text("note");
    fields.finish();
}

fn region(fields: &Fields<'_, '_>, id: String, old: Option<&Region>) -> Region {
    let is_new = old.is_none();
    let old = old.cloned().unwrap_or_default();
    let region = Region {
        name: text_or(fields, "name", if is_new { &id } else { &old.name }),
        people_millions: fields.number("people_millions", 0.0, 2_000.0).unwrap_or(if is_new {
            1.0
        } else {
            old.people_millions
        }),
        exchange: text_or(fields, "exchange", &old.exchange),
        delay_us: delay_us(fields, "delay_ms", old.delay_us),
        id,
    };
    noted(fields);
    region
}

fn hosting(fields: &Fields<'_, '_>, id: String, old: Option<&Hosting>, home: &str) -> Hosting {
    let is_new = old.is_none();
    let old = old.cloned().unwrap_or_default();
    let country = text_or(fields, "country", if is_new { home } else { &old.country });
    let hosting = Hosting {
        name: text_or(fields, "name", if is_new { &id } else { &old.name }),
        asn: asn(fields, old.asn),
        foreign: fields.flag("foreign").unwrap_or(country != home),
        delay_us: delay_us(fields, "delay_ms", old.delay_us),
        country,
        id,
    };
    noted(fields);
    hosting
}

fn asn(fields: &Fields<'_, '_>, otherwise: u32) -> u32 {
    let number = fields.count("asn", 1, u64::from(u32::MAX));
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(otherwise)
}

fn hop(fields: &Fields<'_, '_>, key: &'static str, least: u64, most: u64, otherwise: u8) -> u8 {
    let Some(hop) = fields.count(key, 0, most) else { return otherwise };
    if hop != 0 && hop < least {
        fields.wrong(
            key,
            format!("`{key} = {hop}` is too near"),
            format!("0 for none, or {least} to {most}"),
        );
    }
    u8::try_from(hop).unwrap_or(otherwise)
}

/// Placement of boxes: TSPU at subscriber hop 1–5 (Xue et al., IMC 2022,
/// https://ensa.fi/papers/tspu-imc22.pdf, [P] high), default 2; ISP boxes at hops 5–8
/// (https://censoredplanet.org/throttling, [P] high); second echelon in the core
/// (https://github.com/DanielLavrushin/tspu-docs, [V] medium).
fn network(fields: &Fields<'_, '_>, id: String, old: Option<&Network>) -> Network {
    let is_new = old.is_none();
    let fresh = Network {
        share: 0.1,
        tspu_hop: 2,
        regions: vec!["*".into()],
        delay_us: 3_000,
        down_bps: 100_000_000,
        up_bps: 50_000_000,
        ..Network::default()
    };
    let old = old.cloned().unwrap_or(fresh);
    if is_new && !fields.has("access") {
        fields.missing("access", "\"fixed\"");
    }
    let regions: Vec<String> = fields.texts("regions", 200).into_iter().map(|word| word.text).collect();
    let network = Network {
        name: text_or(fields, "name", if is_new { &id } else { &old.name }),
        asn: asn(fields, old.asn),
        access: fields.choice("access", ACCESSES).unwrap_or(old.access),
        share: fields.number("share", 0.0, 1.0).unwrap_or(old.share),
        regions: if regions.is_empty() { old.regions } else { regions },
        host: text_or(fields, "host", &old.host),
        cgnat: fields.flag("cgnat").unwrap_or(old.cgnat),
        ipv6: fields.number("ipv6", 0.0, 1.0).unwrap_or(old.ipv6),
        delay_us: delay_us(fields, "delay_ms", old.delay_us),
        loss: fields.number("loss", 0.0, 1.0).unwrap_or(old.loss),
        down_bps: rate_bps(fields, "down_mbit", old.down_bps),
        up_bps: rate_bps(fields, "up_mbit", old.up_bps),
        tspu_hop: hop(fields, "tspu_hop", 1, 5, old.tspu_hop),
        upstream_hop: hop(fields, "upstream_hop", 1, 5, old.upstream_hop),
        legacy_hop: hop(fields, "legacy_hop", 5, 8, old.legacy_hop),
        core_hop: hop(fields, "core_hop", 6, 9, old.core_hop),
        place: fields.place,
        id,
    };
    noted(fields);
    network
}

/// Keeps the chosen regions and networks and checks that everything refers to something.
pub(crate) fn select(nation: &mut Nation, networks: &[Word], regions: &[Word], report: &Report) {
    keep(&mut nation.regions, regions, |region| &region.id, "region", report);
    keep(&mut nation.networks, networks, |network| &network.id, "network", report);
    let exchanges: Vec<&str> = nation.exchanges.iter().map(|exchange| exchange.id.as_str()).collect();
    let whole_file = crate::scenario::Place::default();
    for region in &nation.regions {
        if !region.exchange.is_empty() && !exchanges.contains(&region.exchange.as_str()) {
            let what = format!("region `{}` uses unknown exchange `{}`", region.id, region.exchange);
            report.add(whole_file, what, did_you_mean(&region.exchange, &exchanges));
        }
    }
    let borders: Vec<&str> = nation.borders.iter().map(|border| border.id.as_str()).collect();
    for exchange in &nation.exchanges {
        if !exchange.border.is_empty() && !borders.contains(&exchange.border.as_str()) {
            let what = format!("exchange `{}` uses unknown border link `{}`", exchange.id, exchange.border);
            report.add(whole_file, what, did_you_mean(&exchange.border, &borders));
        }
    }
    if nation.hostings.len() > MAX_HOSTINGS {
        let what = format!("{} hostings, more than {MAX_HOSTINGS}", nation.hostings.len());
        report.add(whole_file, what, "leave some out");
    }
    // before the cells are listed, so that a hostile file makes no long list
    let most: usize = nation.networks.len().saturating_mul(nation.regions.len());
    if most > MAX_CELLS * 16 || nation.cells().len() > MAX_CELLS {
        let what = format!(
            "{} networks in {} regions make more than {MAX_CELLS} cells",
            nation.networks.len(),
            nation.regions.len()
        );
        report.add(whole_file, what, "choose some with `networks` and `regions` in [topology]");
        nation.networks.clear();
    }
}

fn keep<T>(items: &mut Vec<T>, chosen: &[Word], id: impl Fn(&T) -> &String, kind: &str, report: &Report) {
    if chosen.is_empty() || chosen.iter().any(|word| word.text == "*") {
        return;
    }
    let known: Vec<&str> = items.iter().map(|item| id(item).as_str()).collect();
    for word in chosen.iter().filter(|word| !known.contains(&word.text.as_str())) {
        report.add(word.place, format!("unknown {kind} `{}`", word.text), did_you_mean(&word.text, &known));
    }
    items.retain(|item| chosen.iter().any(|word| word.text == *id(item)));
}
