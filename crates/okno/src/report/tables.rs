//! The tables: blocked targets, mechanisms by network, tests.

use std::collections::BTreeMap;

use super::countries;
use super::facts::{MechanismFacts, StateCounts, TargetFacts};
use super::findings::Group;
use super::format::{capital, date_short, esc, esc_within, int, percent, percent_range};
use super::found::{interval_bar, witness_text};
use super::html::Page;
use super::{mechanisms, text};

/// Opens a table that scrolls sideways on a narrow screen; `headers` are (class, escaped text).
pub(super) fn table(page: &mut Page<'_>, class: &str, caption: &str, headers: &[(&str, &str)]) {
    page.push(&format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table class=\"{class}\"><caption><span>{caption}</span></caption><thead><tr>"
    ));
    for (class, header) in headers {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        page.push(&format!("<th scope=\"col\"{class}>{header}</th>"));
    }
    page.push("</tr></thead><tbody>\n");
}

/// Closes it.
pub(super) fn end(page: &mut Page<'_>) {
    page.push("</tbody></table></div>\n");
}

/// Every target that was blocked or throttled firmly.
pub(super) fn blocked(page: &mut Page<'_>) {
    let (blocked, throttled) = (page.group(Group::Blocked), page.group(Group::Throttled));
    // Where the statement above already carries the witness: its anchor, if this table shall not repeat it.
    let (of_blocked, of_throttled) = (page.caps.headlines, page.caps.headlines.div_ceil(2));
    let anchor = |kind: char, at: usize, stated: usize| {
        (at < stated && !page.caps.repeat_witness).then(|| format!("{kind}{at}-{}", page.lang.code()))
    };
    let mut targets: Vec<(&TargetFacts, Option<String>)> =
        blocked.into_iter().enumerate().map(|(at, t)| (t, anchor('b', at, of_blocked))).collect();
    targets.extend(throttled.into_iter().enumerate().map(|(at, t)| (t, anchor('t', at, of_throttled))));
    let heading = page.say("Blocked and throttled targets", "Заблокированные и замедленные цели");
    page.open("table", heading);
    if targets.is_empty() {
        let none = page.say("None.", "Нет.");
        page.paragraph("", none);
        page.close();
        return;
    }
    let headers = [
        ("", page.say("Target", "Цель")),
        ("", page.say("How", "Как")),
        ("r", page.say("Networks", "Сети")),
        ("r", page.say("Measurements", "Измерения")),
        ("", page.say("Share, 95% interval", "Доля, 95-процентный интервал")),
        ("", page.say("First seen", "Впервые")),
        ("", page.say("Last seen", "Последний раз")),
        ("", page.say("Witness", "Свидетельство")),
    ];
    let caption = page.say(
        "Networks: those that show it, of those judged. Measurements: those that show it, of those judged.",
        "Сети: сколько показывают, из скольких, о которых можно судить. Измерения: так же.",
    );
    table(page, "list marks", caption, &headers);
    for (target, anchor) in targets.iter().take(page.caps.blocked_rows) {
        let row = blocked_row(page, target, anchor.as_deref());
        page.push(&row);
    }
    end(page);
    let left = targets.len().saturating_sub(page.caps.blocked_rows);
    page.more(left, "SELECT target, country, network, mechanism, count(*) AS measurements FROM measurement_verdicts WHERE state IN ('blocked', 'throttled') GROUP BY target, country, network, mechanism ORDER BY measurements DESC");
    page.close();
}

fn blocked_row(page: &Page<'_>, target: &TargetFacts, stated: Option<&str>) -> String {
    let lang = page.lang;
    let mut under: Vec<String> = Vec::new();
    if page.many_countries() {
        under.push(esc(&countries::name(&target.country, lang)));
    }
    under.extend(target.category.as_deref().map(|code| esc_within(&text::category(code, lang), 40)));
    let under =
        if under.is_empty() { String::new() } else { format!("<small>{}</small>", under.join(" · ")) };
    let how = target.mechanism.as_deref().map_or_else(
        || page.say("way not known", "способ неизвестен").to_owned(),
        |path| {
            format!(
                "{}<small><code>{}</code></small>",
                capital(mechanisms::clause(path, lang).unwrap_or("")),
                esc(path)
            )
        },
    );
    let share = match (target.interference_share, target.interference_low, target.interference_high) {
        (Some(share), Some(low), Some(high)) => format!(
            "{}<small>{} ({})</small>",
            interval_bar(Some(share), Some(low), Some(high)),
            percent(share, lang),
            percent_range(low, high, lang)
        ),
        _ => "–".to_owned(),
    };
    let day = |time: &Option<String>| time.as_deref().map_or_else(|| "–".to_owned(), |t| date_short(t, lang));
    let witness = match (target.witnesses.first(), stated) {
        (None, _) => "–".to_owned(),
        (Some(_), Some(anchor)) => format!("<a href=\"#{anchor}\">{}</a>", page.say("see above", "см. выше")),
        (Some(witness), None) => format!(
            "<details><summary>{}</summary><div class=\"wit\">{}</div></details>",
            page.say("Show", "Показать"),
            witness_text(page, witness)
        ),
    };
    format!(
        "<tr><th scope=\"row\"><i class=\"sw {}\"></i><bdi>{}</bdi>{under}</th><td>{how}</td><td class=\"r\">{}/{}</td><td class=\"r\">{}/{}</td><td>{share}</td><td>{}</td><td>{}</td><td>{witness}</td></tr>\n",
        text::state_class(&target.state),
        esc_within(&target.target, 80),
        int(target.networks_in_state, lang),
        int(target.networks_judged, lang),
        int(target.counts.interference(), lang),
        int(target.counts.judged(), lang),
        day(&target.first_interference_utc),
        day(&target.last_interference_utc),
    )
}

/// How interference was done, and on which networks.
pub(super) fn mechanisms(page: &mut Page<'_>) {
    let facts = page.facts;
    let mut groups: BTreeMap<&str, Vec<&MechanismFacts>> = BTreeMap::new();
    for entry in facts.mechanisms.iter().filter(|entry| entry.measurements > 0) {
        groups.entry(&entry.mechanism).or_default().push(entry);
    }
    if groups.is_empty() {
        return;
    }
    let mut rows: Vec<(u64, &str, Vec<&MechanismFacts>)> = groups
        .into_iter()
        .map(|(path, entries)| (entries.iter().map(|e| e.measurements).sum(), path, entries))
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.0), row.1));
    let heading = page.say("How it is done: mechanisms by network", "Как это делается: способы по сетям");
    page.open("how", heading);
    let headers = [
        ("", page.say("Mechanism", "Способ")),
        ("r", page.say("Measurements", "Измерения")),
        ("", page.say("Networks: measurements (targets)", "Сети: измерения (цели)")),
    ];
    let caption = page.say(
        "All blocked and throttled measurements, signs included, by the deepest cause that the evidence supports",
        "Все измерения с блокировкой или замедлением, включая признаки, по самому точному способу, который подтверждают данные",
    );
    table(page, "list", caption, &headers);
    for (total, path, entries) in rows.iter().take(page.caps.rows) {
        let row = mechanism_row(page, *total, path, entries);
        page.push(&row);
    }
    end(page);
    let left = rows.len().saturating_sub(page.caps.rows);
    page.more(left, "SELECT mechanism, network, count(*) AS measurements FROM measurement_verdicts WHERE mechanism IS NOT NULL GROUP BY mechanism, network ORDER BY mechanism, measurements DESC");
    page.close();
}

fn mechanism_row(page: &Page<'_>, total: u64, path: &str, entries: &[&MechanismFacts]) -> String {
    let lang = page.lang;
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|e| (std::cmp::Reverse(e.measurements), e.network));
    let shown = page.caps.heat_columns.min(10);
    let mut names: Vec<String> = sorted
        .iter()
        .take(shown)
        .map(|e| {
            format!(
                "<span class=\"nb\">{}: <b>{}</b> ({})</span>",
                page.network_name(e.network),
                int(e.measurements, lang),
                int(e.targets, lang)
            )
        })
        .collect();
    if sorted.len() > shown {
        names.push(format!("{} {}", page.say("and more:", "и ещё:"), sorted.len() - shown));
    }
    format!(
        "<tr><th scope=\"row\">{}<small><code>{}</code></small></th><td class=\"r\">{}</td><td>{}</td></tr>\n",
        capital(mechanisms::clause(path, lang).unwrap_or("")),
        esc(path),
        int(total, lang),
        names.join(", ")
    )
}

/// One row per test.
pub(super) fn nettests(page: &mut Page<'_>) {
    let (facts, lang) = (page.facts, page.lang);
    if facts.nettests.is_empty() {
        return;
    }
    let heading = page.say("Tests", "Тесты");
    page.open("tests", heading);
    let headers = [
        ("", page.say("Test", "Тест")),
        ("r", page.say("Measurements", "Измерения")),
        ("r", page.say("Blocked", "Заблокировано")),
        ("r", page.say("Throttled", "Замедлено")),
        ("r", page.say("Down", "Не работает")),
        ("r", page.say("Works", "Работает")),
        ("r", page.say("Cannot tell", "Судить нельзя")),
        ("r", page.say("Networks", "Сети")),
        ("r", page.say("Targets", "Цели")),
        ("r", page.say("Read in part", "Прочитано частично")),
    ];
    let caption = page.say("Measurements by test and state", "Измерения по тестам и состояниям");
    table(page, "nums", caption, &headers);
    for test in facts.nettests.iter().take(page.caps.rows) {
        let words =
            text::nettest(&test.test_name, lang).map_or_else(String::new, |w| format!("<small>{w}</small>"));
        let numbers: String = numbers(&test.counts, test.measurements)
            .into_iter()
            .chain([test.networks, test.targets, test.with_rejects])
            .map(|n| {
                if n == 0 {
                    "<td class=\"r z\">0</td>".to_owned()
                } else {
                    format!("<td class=\"r\">{}</td>", int(n, lang))
                }
            })
            .collect();
        page.push(&format!(
            "<tr><th scope=\"row\"><code>{}</code>{words}</th>{numbers}</tr>\n",
            esc_within(&test.test_name, 60)
        ));
    }
    end(page);
    let left = facts.nettests.len().saturating_sub(page.caps.rows);
    page.more(left, "SELECT test_name, state, count(*) AS measurements FROM measurement_verdicts GROUP BY test_name, state ORDER BY test_name, state");
    page.close();
}

fn numbers(counts: &StateCounts, measurements: u64) -> [u64; 6] {
    [measurements, counts.blocked, counts.throttled, counts.down, counts.ok, counts.insufficient]
}
