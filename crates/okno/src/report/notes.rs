//! How to read the report, what made it, and how to cite it.

use okno_model::{Layer, State};

use super::Lang;
use super::format::{esc, esc_within, int, period};
use super::html::{Page, place};
use super::tables::{end, table};
use super::text::{layer_word, state_class, state_meaning, state_word};

/// States, intervals, cautions, rules.
pub(super) fn reading(page: &mut Page<'_>) {
    let heading = page.say("How to read this", "Как это читать");
    page.open("reading", heading);
    let lang = page.lang;
    page.push("<dl class=\"states\">\n");
    for state in [State::Blocked, State::Throttled, State::Down, State::Ok, State::Insufficient] {
        page.push(&format!(
            "<div><dt><i class=\"key {}\"></i>{} <code>{state}</code></dt><dd>{}</dd></div>\n",
            state_class(state.as_str()),
            state_word(state, lang),
            state_meaning(state, lang)
        ));
    }
    page.push("</dl>\n");
    cautions(page);
    layers(page);
    rules(page);
    page.close();
}

fn cautions(page: &mut Page<'_>) {
    let items: [(&str, &str); 6] = [
        (
            "<b>One measurement is no verdict.</b> A target is called blocked only if at least three measurements show it, on at least one network where most judged measurements do. Anything less stands under “Signs, not findings”.",
            "<b>Одно измерение ещё не вывод.</b> Цель названа заблокированной, только если это показывают хотя бы три измерения и есть сеть, где это показывает большинство измерений, о которых можно судить. Всё остальное стоит в разделе «Признаки, но не выводы».",
        ),
        (
            "<b>The interval</b> is the 95% Wilson score interval of the share of blocked and throttled among the measurements that could be judged. It tells how far chance alone may have moved the share. It takes measurements as independent; several by one person in one evening are not, so read it as the least doubt, not the whole.",
            "<b>Интервал</b> – это 95-процентный интервал Уилсона для доли заблокированных и замедленных среди измерений, о которых можно судить. Он показывает, насколько долю мог сдвинуть один лишь случай. Он считает измерения независимыми; несколько измерений одного человека за вечер такими не являются, поэтому интервал – это наименьшее сомнение, а не всё сомнение.",
        ),
        (
            "<b>The measurements are no random sample.</b> Volunteers choose when, where and what to measure. Shares describe these measurements, not all people of a country.",
            "<b>Это не случайная выборка.</b> Когда, где и что измерять, решают добровольцы. Доли описывают эти измерения, а не всех жителей страны.",
        ),
        (
            "<b>A mechanism says what was seen, not who did it.</b> The provider, a box of the state, or somebody further along the way can leave the same trace. The dot path names the deepest cause that the evidence supports; a shorter path means that less is known.",
            "<b>Способ говорит, что было видно, а не кто это сделал.</b> Провайдер, государственное оборудование или кто-то дальше по пути могут оставить одинаковый след. Путь через точки называет самую точную причину, которую подтверждают данные; короткий путь значит, что известно меньше.",
        ),
        (
            "<b>First seen</b> is the first measurement that shows it, not the day it began; before it there may be silence. Days are UTC.",
            "<b>«Впервые»</b> – это первое измерение, которое показывает блокировку, а не день её начала; до него могла быть тишина. Дни указаны по UTC.",
        ),
        (
            "<b>Silence is not peace.</b> Where nothing was measured, nothing is known. In a shutdown, measurements are the first to vanish.",
            "<b>Тишина – не порядок.</b> Где ничего не измеряли, там ничего не известно. При отключении интернета первыми пропадают измерения.",
        ),
    ];
    page.push("<ul class=\"prose\">\n");
    for (en, ru) in items {
        let text = page.say(en, ru);
        page.push(&format!("<li>{text}</li>\n"));
    }
    page.push("</ul>\n");
}

fn layers(page: &mut Page<'_>) {
    let names: Vec<String> =
        Layer::ALL.iter().map(|layer| layer_word(*layer, page.lang).to_owned()).collect();
    let text = match page.lang {
        Lang::En => format!(
            "Each measurement is judged layer by layer, from the wire up: {}. The layer named is the one where the interference showed.",
            names.join(", ")
        ),
        Lang::Ru => format!(
            "Каждое измерение судится по уровням, снизу вверх: {}. Назван тот уровень, на котором вмешательство проявилось.",
            names.join(", ")
        ),
    };
    page.paragraph("", &text);
}

/// The rules that decided, folded away.
fn rules(page: &mut Page<'_>) {
    let (facts, lang) = (page.facts, page.lang);
    let intro = page.say(
        "Rules decide, and rules are data: each verdict in the lake names the rule that decided it, all rules that fired, and the versions of rules and reference data.",
        "Решают правила, и правила – это данные: каждый вывод в хранилище называет правило, которое его дало, все сработавшие правила и версии правил и справочных данных.",
    );
    page.paragraph("", intro);
    if facts.rules.is_empty() {
        return;
    }
    let summary = page.say("Rules that decided in this report", "Правила, давшие выводы в этом отчёте");
    page.push(&format!("<details><summary>{summary}</summary>\n"));
    let headers = [
        ("", page.say("Rule", "Правило")),
        ("", page.say("State", "Состояние")),
        ("", page.say("Meaning", "Смысл")),
        ("r", page.say("Measurements", "Измерения")),
    ];
    table(page, "list", summary, &headers);
    for rule in facts.rules.iter().take(page.caps.rows) {
        let class = state_class(&rule.state);
        let word = state_word(State::parse(&rule.state).unwrap_or_default(), lang);
        page.push(&format!(
            "<tr><th scope=\"row\"><code>{}</code></th><td><i class=\"sw {class}\"></i>{word}</td><td lang=\"en\">{}</td><td class=\"r\">{}</td></tr>\n",
            esc_within(&rule.rule, 60),
            esc_within(&rule.meaning, 240),
            int(rule.measurements, lang)
        ));
    }
    end(page);
    page.push("</details>\n");
    let left = facts.rules.len().saturating_sub(page.caps.rows);
    page.more(
        left,
        "SELECT rule, state, count(*) AS verdicts FROM verdicts GROUP BY rule, state ORDER BY verdicts DESC",
    );
}

/// Versions of everything.
pub(super) fn versions(page: &mut Page<'_>) {
    let v = &page.facts.versions;
    let heading = page.say("Versions of everything", "Версии всего");
    page.open("versions", heading);
    let unknown = page.say("none", "нет");
    let code = |text: &str| {
        if text.trim().is_empty() {
            unknown.to_owned()
        } else {
            format!("<code>{}</code>", esc_within(text, 600))
        }
    };
    let commit =
        v.okno_commit.as_deref().map_or_else(String::new, |c| format!(" <code>{}</code>", esc_within(c, 60)));
    let lake =
        v.lake_hash.as_deref().map_or_else(String::new, |h| format!(" <code>{}</code>", esc_within(h, 80)));
    let rows = [
        (page.say("Okno", "Окно"), format!("{}{commit}", esc_within(&v.okno, 60))),
        (page.say("Rules", "Правила"), code(&v.ruleset)),
        (page.say("Reference data", "Справочные данные"), code(&v.reference)),
        (page.say("Lake", "Хранилище"), format!("{}{lake}", code(&v.lake))),
        (page.say("Command", "Команда"), code(&v.command)),
        (page.say("Shape of --json", "Формат --json"), int(u64::from(page.facts.format_version), page.lang)),
    ];
    page.push("<dl class=\"vers\">\n");
    for (name, value) in rows {
        page.push(&format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    page.push("</dl>\n");
    reference_tables(page);
    software(page);
    page.close();
}

fn reference_tables(page: &mut Page<'_>) {
    let facts = page.facts;
    if facts.versions.reference_tables.is_empty() {
        return;
    }
    let headers = [
        ("", page.say("Reference table", "Справочная таблица")),
        ("", page.say("Version", "Версия")),
        ("r", page.say("Rows", "Строк")),
        ("", page.say("Source", "Источник")),
        ("", page.say("Licence", "Лицензия")),
    ];
    let caption =
        page.say("Reference data behind the verdicts", "Справочные данные, на которых стоят выводы");
    table(page, "list", caption, &headers);
    for entry in facts.versions.reference_tables.iter().take(page.caps.rows) {
        page.push(&format!(
            "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td class=\"r\">{}</td><td>{}</td><td>{}</td></tr>\n",
            esc_within(&entry.name, 60),
            esc_within(&entry.version, 80),
            int(entry.rows, page.lang),
            esc_within(&entry.source, 160),
            esc_within(&entry.licence, 60)
        ));
    }
    end(page);
}

fn software(page: &mut Page<'_>) {
    let facts = page.facts;
    let lang = page.lang;
    if facts.versions.probe_software.is_empty() {
        return;
    }
    let shown: Vec<String> = facts
        .versions
        .probe_software
        .iter()
        .take(page.caps.rows.min(12))
        .map(|s| format!("{}\u{a0}({})", esc_within(&s.software, 60), int(s.measurements, lang)))
        .collect();
    let left = facts.versions.probe_software.len() - shown.len();
    let rest = match (left, lang) {
        (0, _) => String::new(),
        (n, Lang::En) => format!(", and {n} more"),
        (n, Lang::Ru) => format!(", и ещё {n}"),
    };
    let lead = page.say("Software of the probes (measurements):", "Программы проб (измерения):");
    page.paragraph("fine", &format!("{lead} {}{rest}.", shown.join(", ")));
}

/// How to cite, and under which licence the data is.
pub(super) fn citing(page: &mut Page<'_>) {
    let (facts, lang) = (page.facts, page.lang);
    let heading = page.say("Citing, and the licence of the data", "Как ссылаться и лицензия данных");
    page.open("cite", heading);
    let when = period(&facts.scope.first_utc, &facts.scope.last_utc, lang);
    let (place, n, version) =
        (esc(&place(facts, lang)), int(facts.scope.measurements, lang), esc_within(&facts.versions.okno, 40));
    let rules = esc_within(&facts.versions.ruleset, 120);
    let cite = match lang {
        Lang::En => format!("Okno {version}: report on {n} measurements, {place}, {when}. Rules: {rules}."),
        Lang::Ru => {
            format!("Окно {version}: отчёт по данным измерений ({n}), {place}, {when}. Правила: {rules}.")
        }
    };
    page.push(&format!("<blockquote>{cite}</blockquote>\n"));
    let licence = page.say(
        "The report adds no rights to those of its data. Measurements from OONI’s archive (ooni.org) are under CC BY-NC-SA 4.0: name OONI, share alike, not for commercial use. Reference tables keep the licences listed above.",
        "Отчёт не добавляет прав к правам на данные. Измерения из архива OONI (ooni.org) распространяются по лицензии CC BY-NC-SA 4.0: указывайте OONI, на тех же условиях, не в коммерческих целях. Справочные таблицы сохраняют указанные выше лицензии.",
    );
    page.paragraph("", licence);
    let privacy = page.say(
        "No address of a probe and no content of a page is in this file or in the lake behind it. The file loads nothing from the internet and runs no script.",
        "Ни в этом файле, ни в хранилище за ним нет адресов проб и содержимого страниц. Файл ничего не загружает из интернета и не исполняет скриптов.",
    );
    page.paragraph("", privacy);
    page.close();
}
