//! Data quality: what was read, what could not be, and what could not be told because of it.
//!
//! The one equation of this section, lines = measurements + rejected, is printed as such and checked here: a
//! report whose books do not balance says so in red.

use super::facts::QualityFacts;
use super::format::{bytes, counted, decimal, esc_within, int, percent};
use super::html::Page;
use super::tables::{end, table};
use super::{Lang, text};

/// The section.
pub(super) fn quality(page: &mut Page<'_>) {
    let heading = page.say("Data quality", "Качество данных");
    page.open("quality", heading);
    equation(page);
    rejects(page);
    controls(page);
    let list = troubles(page);
    if !list.is_empty() {
        let heading = page.say("Clocks and places", "Часы и места");
        page.push(&format!("<h3>{heading}</h3>\n<ul>\n"));
        for entry in list {
            page.push(&format!("<li>{entry}</li>\n"));
        }
        page.push("</ul>\n");
    }
    missing(page);
    page.close();
}

fn equation(page: &mut Page<'_>) {
    let (q, lang) = (&page.facts.quality, page.lang);
    let part = |count: u64, word: &str| format!("<span><b>{}</b>{word}</span>", int(count, lang));
    let line = format!(
        "<div class=\"sum\">{} <i>=</i> {} <i>+</i> {}</div>\n",
        part(q.lines, page.say("lines read", "строк прочитано")),
        part(q.measurements, page.say("measurements kept", "измерений сохранено")),
        part(q.rejected, page.say("rejected", "отвергнуто")),
    );
    page.push(&line);
    if q.lines != q.measurements + q.rejected {
        let text = page.say(
            "These numbers do not add up. Something was lost or counted twice: do not rely on this report, and please report it as a bug.",
            "Эти числа не сходятся. Что-то потеряно или учтено дважды: не полагайтесь на этот отчёт и, пожалуйста, сообщите об ошибке.",
        );
        page.push(&format!("<p class=\"synthetic\" role=\"note\">{text}</p>\n"));
    }
    let text = intake(q, lang);
    page.paragraph("", &text);
}

fn intake(q: &QualityFacts, lang: Lang) -> String {
    let files = counted(q.files, lang, ["file", "files"], ["файл", "файла", "файлов"]);
    let (small, large) = (bytes(q.size_bytes, lang), bytes(q.text_bytes, lang));
    let duplicates = int(q.duplicates, lang);
    let partial = counted(
        q.measurements_with_rejects,
        lang,
        ["measurement", "measurements"],
        ["измерения", "измерений", "измерений"],
    );
    let mut text = match lang {
        Lang::En => format!(
            "{files}, {small} on disk, {large} of text. Of the rejected, {duplicates} were repetitions of a measurement already counted. In {partial} a part could not be read and the rest was kept."
        ),
        Lang::Ru => format!(
            "{files}, {small} на диске, {large} текста. Повторы уже учтённых измерений среди отвергнутого: {duplicates}. У {partial} не прочиталась часть, остальное сохранено."
        ),
    };
    if q.files_unreadable > 0 {
        let n = int(q.files_unreadable, lang);
        text.push_str(&match lang {
            Lang::En => format!(" Files of which nothing could be read: {n}."),
            Lang::Ru => format!(" Файлов, из которых ничего не прочиталось: {n}."),
        });
    }
    text
}

fn rejects(page: &mut Page<'_>) {
    let (facts, lang) = (page.facts, page.lang);
    if facts.quality.rejects.is_empty() {
        let text = page.say("Every part of every line could be read.", "Прочитаны все части всех строк.");
        page.paragraph("", text);
        return;
    }
    let heading = page.say("What could not be read, and why", "Что не прочиталось и почему");
    page.push(&format!("<h3>{heading}</h3>\n"));
    let headers = [
        ("", page.say("Reason", "Причина")),
        ("r", page.say("How often", "Сколько раз")),
        ("r", page.say("Rest kept", "Остальное сохранено")),
        ("r", page.say("Files", "Файлы")),
        ("", page.say("What to do", "Что делать")),
        ("", page.say("First example", "Первый пример")),
    ];
    let caption = page.say("Rejects by reason", "Отвергнутое по причинам");
    table(page, "list", caption, &headers);
    for entry in facts.quality.rejects.iter().take(page.caps.rows) {
        let (meaning, advice) = text::reject_reason(&entry.reason, lang).unwrap_or(("", ""));
        // Only the file's name: the folders of a path may carry the name of a person.
        let file = entry.example_source.rsplit(['/', '\\']).next().unwrap_or_default();
        let place = if entry.example_line == 0 { String::new() } else { format!(":{}", entry.example_line) };
        page.push(&format!(
            "<tr><th scope=\"row\">{meaning}<small><code>{}</code></small></th><td class=\"r\">{}</td><td class=\"r\">{}</td><td class=\"r\">{}</td><td>{advice}</td><td class=\"ex\"><code>{}{place}</code><small><code>{}</code></small></td></tr>\n",
            esc_within(&entry.reason, 40),
            int(entry.rows, lang),
            int(entry.rows_of_kept_measurements, lang),
            int(entry.files, lang),
            esc_within(file, 90),
            esc_within(&entry.example_part, 60),
        ));
    }
    end(page);
    page.everything(
        "SELECT source, line, byte_offset, part, reason, detail FROM rejects ORDER BY source, line, byte_offset",
    );
}

fn controls(page: &mut Page<'_>) {
    let (c, lang) = (page.facts.quality.controls, page.lang);
    let asked = c.ok + c.failed + c.absent;
    if asked + c.none == 0 {
        return;
    }
    let heading = page.say("Control measurements", "Контрольные измерения");
    page.push(&format!("<h3>{heading}</h3>\n"));
    let share = |count: u64| percent(count as f64 / asked.max(1) as f64, lang);
    let (ok, failed, absent, none) =
        (int(c.ok, lang), int(c.failed, lang), int(c.absent, lang), int(c.none, lang));
    let text = match lang {
        Lang::En => format!(
            "A control asks for the same target from outside the probe’s network at the same time. It answered for <b>{ok}</b> measurements ({}), was asked and failed for {failed} ({}), and is missing where the test has one for {absent} ({}). {none} come from tests without one. A missing control is never read as a sign of blocking.",
            share(c.ok),
            share(c.failed),
            share(c.absent)
        ),
        Lang::Ru => format!(
            "Контроль запрашивает ту же цель в то же время из-за пределов сети пробы. Он ответил в <b>{ok}</b> случаях ({}), не ответил на запрос в {failed} ({}), отсутствует, хотя в тесте предусмотрен, в {absent} ({}). Измерений из тестов без контроля: {none}. Отсутствие контроля никогда не считается признаком блокировки.",
            share(c.ok),
            share(c.failed),
            share(c.absent)
        ),
    };
    page.paragraph("", &text);
}

/// Clocks, unknown networks and countries: one entry each.
fn troubles(page: &Page<'_>) -> Vec<String> {
    let (q, lang) = (&page.facts.quality, page.lang);
    let mut list = Vec::new();
    let noun = |count: u64| {
        counted(count, lang, ["measurement", "measurements"], ["измерение", "измерения", "измерений"])
    };
    let clocks = q.clocks;
    if clocks.compared > 0 {
        list.push(match lang {
            Lang::En => {
                format!("{} carry both the probe’s and the collector’s clock.", noun(clocks.compared))
            }
            Lang::Ru => format!("Время пробы и время приёма указаны оба: {}.", noun(clocks.compared)),
        });
    }
    if clocks.ahead > 0 {
        let hours = decimal(clocks.ahead_max_s as f64 / 3600.0, lang);
        list.push(match lang {
            Lang::En => format!("{} start more than an hour after their own upload: the probe’s clock was wrong, by up to {hours}\u{a0}hours.", noun(clocks.ahead)),
            Lang::Ru => format!("Начались больше чем через час после собственной отправки: {}; часы пробы ошибались, самое большее на {hours}\u{a0}ч.", noun(clocks.ahead)),
        });
    }
    if clocks.behind > 0 {
        list.push(match lang {
            Lang::En => format!(
                "{} were uploaded more than 30 days after they started: late, or by a wrong clock.",
                noun(clocks.behind)
            ),
            Lang::Ru => format!(
                "Отправлены больше чем через 30 дней после начала: {}; поздно или по неверным часам.",
                noun(clocks.behind)
            ),
        });
    }
    if q.network_unknown > 0 {
        list.push(match lang {
            Lang::En => format!("{} come from an unknown network (AS0).", noun(q.network_unknown)),
            Lang::Ru => format!("Из неизвестной сети (AS0): {}.", noun(q.network_unknown)),
        });
    }
    if q.country_unknown > 0 {
        list.push(match lang {
            Lang::En => format!("{} come from an unknown country (ZZ).", noun(q.country_unknown)),
            Lang::Ru => format!("Из неизвестной страны (ZZ): {}.", noun(q.country_unknown)),
        });
    }
    list
}

fn missing(page: &mut Page<'_>) {
    let (facts, lang) = (page.facts, page.lang);
    if facts.quality.reference_missing.is_empty() {
        return;
    }
    let heading = page.say("Reference data that was not there", "Справочные данные, которых не было");
    page.push(&format!("<h3>{heading}</h3>\n<ul>\n"));
    for entry in &facts.quality.reference_missing {
        let cost = text::missing_reference(&entry.table, lang).unwrap_or("");
        let count = entry.measurements.map_or_else(String::new, |n| match lang {
            Lang::En => format!(" ({} measurements)", int(n, lang)),
            Lang::Ru => format!(" (измерений: {})", int(n, lang)),
        });
        page.push(&format!("<li><code>{}</code>{count}: {cost}</li>\n", esc_within(&entry.table, 60)));
    }
    let hint = page.say(
        "<code>okno reference</code> says how to import them; observing again then judges the same facts anew.",
        "<code>okno reference</code> подскажет, как их подключить; повторный запуск рассудит те же факты заново.",
    );
    page.push(&format!("</ul>\n<p class=\"fine\">{hint}</p>\n"));
}
