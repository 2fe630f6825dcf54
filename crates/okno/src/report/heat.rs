//! The map: what was seen of each target on each network, one table per country.
//!
//! A cell says its state three times: by colour, by a mark, and by a word that a screen reader or a text
//! browser finds; and it shows its counts. Colours alone would fail colour-blind readers and printers.

use std::collections::BTreeMap;

use okno_model::State;

use super::Lang;
use super::countries;
use super::facts::{CellFacts, TargetFacts};
use super::findings::FIRM_MEASUREMENTS;
use super::format::{esc, esc_within, int, percent_range};
use super::html::Page;
use super::text::{state_class, state_word};

/// The legend and one map per country.
pub(super) fn maps(page: &mut Page<'_>) {
    if page.facts.targets.is_empty() {
        return;
    }
    let heading = page.say("Map: target by network", "Карта: цели и сети");
    page.open("map", heading);
    legend(page);
    let facts = page.facts;
    let mut weight: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for target in &facts.targets {
        let entry = weight.entry(&target.country).or_default();
        entry.0 += target.counts.interference();
        entry.1 += target.counts.total();
    }
    let mut countries: Vec<_> = weight.into_iter().collect();
    countries.sort_by_key(|(country, counts)| (std::cmp::Reverse(*counts), *country));
    for (country, _) in countries.iter().take(page.caps.countries) {
        map(page, country);
    }
    let left = countries.len().saturating_sub(page.caps.countries);
    if left > 0 {
        let heading = page.say("Countries without a map here", "Страны, для которых карты здесь нет");
        page.push(&format!("<h3>{heading}</h3>\n"));
    }
    page.more(
        left,
        "SELECT country, target, network, state, count(*) AS measurements FROM measurement_verdicts GROUP BY country, target, network, state ORDER BY country, target, network",
    );
    page.close();
}

fn legend(page: &mut Page<'_>) {
    let lang = page.lang;
    let label = page.say("Legend", "Условные знаки");
    page.push(&format!("<ul class=\"legend\" aria-label=\"{label}\">"));
    for state in [State::Blocked, State::Throttled, State::Down, State::Ok, State::Insufficient] {
        let class = state_class(state.as_str());
        page.push(&format!("<li><i class=\"key {class}\"></i>{}</li>", state_word(state, lang)));
    }
    let silent = page.say("no measurement", "нет измерений");
    let mixed = page.say(
        "works, but some measurements show interference",
        "работает, но часть измерений показывает вмешательство",
    );
    let few =
        page.say("fewer than three judged measurements", "меньше трёх измерений, о которых можно судить");
    page.push(&format!(
        "<li><i class=\"key s\"></i>{silent}</li><li><i class=\"key o m\"></i>{mixed}</li><li><i class=\"key f\"></i>{few}</li></ul>\n"
    ));
    let note = page.say(
        "Numbers in a cell: measurements that show the cell’s state, of those that could be judged. In hatched cells: measurements, none of which could be judged. The cell’s title adds the 95% interval of the share of interference.",
        "Числа в клетке: сколько измерений показывает это состояние, из скольких, о которых можно судить. В заштрихованных клетках: сколько измерений, ни об одном из которых судить нельзя. Во всплывающей подсказке – 95-процентный интервал доли вмешательства.",
    );
    page.paragraph("fine", note);
}

/// One country's table.
fn map(page: &mut Page<'_>, country: &str) {
    let (facts, caps, lang) = (page.facts, page.caps, page.lang);
    let rows: Vec<&TargetFacts> = facts.targets.iter().filter(|t| t.country == country).collect();
    let mut volume: BTreeMap<u32, u64> = BTreeMap::new();
    for cell in rows.iter().flat_map(|t| &t.cells) {
        *volume.entry(cell.network).or_default() += cell.counts.total();
    }
    let mut columns: Vec<(u32, u64)> = volume.into_iter().collect();
    columns.sort_by_key(|(network, count)| (std::cmp::Reverse(*count), *network));
    let shown: Vec<u32> = columns.iter().take(caps.heat_columns).map(|c| c.0).collect();
    let caption = caption(page, country, (rows.len(), columns.len()), shown.len());
    page.push(&format!("<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\"><table class=\"heat\"><caption><span>{caption}</span></caption><thead><tr><th scope=\"col\">{}</th>", esc(&countries::name(country, lang)), page.say("Target", "Цель")));
    for network in &shown {
        let name = page.network_name(*network);
        let number = if name == format!("AS{network}") || *network == 0 {
            String::new()
        } else {
            format!("<small>AS{network}</small>")
        };
        page.push(&format!("<th scope=\"col\" class=\"v\"><span>{name}{number}</span></th>"));
    }
    page.push("</tr></thead><tbody>\n");
    for target in rows.iter().take(caps.heat_rows) {
        row(page, target, &shown);
    }
    page.push("</tbody></table></div>\n");
    if rows.len() > caps.heat_rows || columns.len() > shown.len() {
        let only = okno_model::Country::parse(country)
            .map_or_else(String::new, |c| format!(" WHERE country = '{c}'"));
        page.everything(&format!("SELECT target, network, state, count(*) AS measurements FROM measurement_verdicts{only} GROUP BY target, network, state ORDER BY target, network"));
    }
}

fn caption(page: &Page<'_>, country: &str, all: (usize, usize), columns: usize) -> String {
    let lang = page.lang;
    let name = esc(&countries::name(country, lang));
    let rows = all.0.min(page.caps.heat_rows);
    let (targets, networks) = (int(all.0 as u64, lang), int(all.1 as u64, lang));
    if rows == all.0 && columns == all.1 {
        return match lang {
            Lang::En => format!("{name}: all {targets} targets, all {networks} networks"),
            Lang::Ru => format!("{name}: все цели ({targets}), все сети ({networks})"),
        };
    }
    match lang {
        Lang::En => format!(
            "{name}: {rows} of {targets} targets, most alarming first; {columns} of {networks} networks, most measurements first"
        ),
        Lang::Ru => format!(
            "{name}: {rows} из {targets} целей, самые тревожные сверху; {columns} из {networks} сетей, по числу измерений"
        ),
    }
}

fn row(page: &mut Page<'_>, target: &TargetFacts, columns: &[u32]) {
    page.push(&format!("<tr><th scope=\"row\"><bdi>{}</bdi></th>", esc_within(&target.target, 60)));
    for network in columns {
        match target.cells.iter().find(|cell| cell.network == *network && cell.counts.total() > 0) {
            Some(cell) => {
                let html = cell_html(cell, page.lang);
                page.push(&html);
            }
            None => page.push("<td class=s>"),
        }
    }
    page.push("\n");
}

fn cell_html(cell: &CellFacts, lang: Lang) -> String {
    let counts = &cell.counts;
    let state = State::parse(&cell.state).unwrap_or_default();
    let hits = match state {
        State::Ok => counts.ok,
        State::Down => counts.down,
        State::Blocked => counts.blocked,
        State::Throttled => counts.throttled,
        State::Insufficient => 0,
    };
    let mut class = state_class(&cell.state).to_owned();
    if !state.is_interference() && counts.interference() > 0 {
        class.push_str(" m");
    }
    if (1..FIRM_MEASUREMENTS).contains(&counts.judged()) {
        class.push_str(" f");
    }
    let quoted = if class.contains(' ') { format!("\"{class}\"") } else { class };
    let word = state_word(state, lang);
    if state == State::Insufficient {
        return format!("<td class={quoted}><i>{word}</i>{}", counts.total());
    }
    let title = match (cell.interference_low, cell.interference_high) {
        (Some(low), Some(high)) => {
            format!(" title=\"{hits}/{}, {}\"", counts.judged(), percent_range(low, high, lang))
        }
        _ => String::new(),
    };
    format!("<td class={quoted}{title}><i>{word}</i>{hits}/{}", counts.judged())
}
