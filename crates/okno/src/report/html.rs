//! The frame of the page: head, language switch, title and summary, and the order of the sections.
//!
//! Each language is a whole document of its own inside the file. That costs bytes, and buys sentences, titles
//! and table headers that a screen reader speaks in the right voice. Class names are one letter where they
//! stand in every cell: o ok, d down, b blocked, t throttled, i insufficient, s silent.

use std::collections::BTreeMap;

use okno_model::State;

use super::facts::{ReportFacts, TargetFacts};
use super::findings::{Group, group};
use super::format::{counted, esc, int, percent, period, plural, series};
use super::text::state_word;
use super::{Caps, Lang, chart, countries, found, heat, notes, quality, tables};

const STYLE: &str = include_str!("style.css");

/// One language's document while it is being written.
pub(super) struct Page<'a> {
    /// what it says
    pub facts: &'a ReportFacts,
    /// its language
    pub lang: Lang,
    /// how much of it
    pub caps: Caps,
    /// the HTML so far
    pub out: String,
    names: BTreeMap<u32, &'a str>,
}

impl<'a> Page<'a> {
    fn new(facts: &'a ReportFacts, lang: Lang, caps: Caps) -> Self {
        let named = facts.networks.iter().rev();
        let names =
            named.filter_map(|n| Some((n.network, n.name.as_deref()?.trim()))).filter(|n| !n.1.is_empty());
        Self { facts, lang, caps, out: String::new(), names: names.collect() }
    }

    /// Appends HTML.
    pub(super) fn push(&mut self, html: &str) {
        self.out.push_str(html);
    }

    /// The text of this page's language.
    pub(super) fn say<'t>(&self, en: &'t str, ru: &'t str) -> &'t str {
        self.lang.pick(en, ru)
    }

    /// Opens a section under a heading.
    pub(super) fn open(&mut self, id: &str, heading: &str) {
        let lang = self.lang.code();
        self.push(&format!("<section id=\"{id}-{lang}\" aria-labelledby=\"h-{id}-{lang}\"><h2 id=\"h-{id}-{lang}\">{heading}</h2>\n"));
    }

    /// Closes it.
    pub(super) fn close(&mut self) {
        self.push("</section>\n");
    }

    /// A paragraph; `html` is already escaped.
    pub(super) fn paragraph(&mut self, class: &str, html: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.push(&format!("<p{class}>{html}</p>\n"));
    }

    /// A network by name and number: `MTS (AS8359)`.
    pub(super) fn network(&self, number: u32) -> String {
        match (number, self.names.get(&number)) {
            (0, _) => self.say("unknown network", "неизвестная сеть").to_owned(),
            (_, Some(name)) => format!(
                "<bdi>{}</bdi> <span class=\"as\">AS{number}</span>",
                super::format::esc_within(name, 40)
            ),
            (_, None) => format!("AS{number}"),
        }
    }

    /// A network's bare name (escaped), its number where it has none.
    pub(super) fn network_name(&self, number: u32) -> String {
        match (number, self.names.get(&number)) {
            (0, _) => self.say("unknown", "неизвестно").to_owned(),
            (_, Some(name)) => super::format::esc_within(name, 24),
            (_, None) => format!("AS{number}"),
        }
    }

    /// Whether the report covers more than one country, so that each finding must name its own.
    pub(super) fn many_countries(&self) -> bool {
        self.facts.scope.countries.len() > 1
    }

    /// "and K more", with the query that shows them; nothing when nothing is left out.
    pub(super) fn more(&mut self, left_out: usize, query: &str) {
        if left_out == 0 {
            return;
        }
        let lead = match self.lang {
            Lang::En => format!("And {} more:", int(left_out as u64, self.lang)),
            Lang::Ru => format!("И ещё {}:", int(left_out as u64, self.lang)),
        };
        let command = self.command(query);
        self.paragraph("more", &format!("{lead} <code>{command}</code>"));
    }

    /// The query that shows all of something.
    pub(super) fn everything(&mut self, query: &str) {
        let lead = self.say("All of it:", "Полностью:");
        let command = self.command(query);
        self.paragraph("more", &format!("{lead} <code>{command}</code>"));
    }

    /// The command that runs a query over this report's lake, escaped.
    pub(super) fn command(&self, query: &str) -> String {
        let lake = self.facts.versions.lake.trim_end_matches('/');
        let option = match lake.strip_prefix("./").unwrap_or(lake) {
            "" | "okno-data" => String::new(),
            _ => format!("--lake '{}' ", lake.replace('\'', r"'\''")),
        };
        super::format::esc_within(&format!("okno sql {option}\"{query}\""), 1000)
    }

    /// Targets of one group, in the report's order.
    pub(super) fn group(&self, wanted: Group) -> Vec<&'a TargetFacts> {
        self.facts.targets.iter().filter(|target| group(target) == wanted).collect()
    }
}

/// The whole file.
pub(super) fn page(facts: &ReportFacts, first: Lang, caps: Caps) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"okno {}\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        first.code(),
        esc(&facts.versions.okno),
        esc(&title(facts, first)),
    );
    for lang in Lang::ALL {
        let checked = if lang == first { " checked" } else { "" };
        let (code, name) = (lang.code(), lang.pick("English", "Русский"));
        out.push_str(&format!(
            "<input type=\"radio\" name=\"lang\" id=\"{code}\" class=\"pick\" aria-label=\"{name}\"{checked}>\n"
        ));
    }
    out.push_str(
        "<div class=\"langs\"><label for=\"en\" lang=\"en\">English</label>\
         <label for=\"ru\" lang=\"ru\">Русский</label></div>\n<main>\n",
    );
    let mut languages = Lang::ALL;
    languages.sort_by_key(|lang| *lang != first);
    for lang in languages {
        out.push_str(&document(facts, lang, caps));
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// One language's document.
fn document(facts: &ReportFacts, lang: Lang, caps: Caps) -> String {
    let mut page = Page::new(facts, lang, caps);
    let code = lang.code();
    page.push(&format!("<article class=\"doc {code}\" lang=\"{code}\">\n"));
    header(&mut page);
    found::found(&mut page);
    found::signs(&mut page);
    found::throttled(&mut page);
    found::down(&mut page);
    found::untold(&mut page);
    found::works(&mut page);
    tables::blocked(&mut page);
    heat::maps(&mut page);
    chart::volume(&mut page);
    tables::mechanisms(&mut page);
    tables::nettests(&mut page);
    quality::quality(&mut page);
    notes::reading(&mut page);
    notes::versions(&mut page);
    notes::citing(&mut page);
    page.push("</article>\n");
    page.out
}

/// The countries, as a heading names them; unescaped.
pub(super) fn place(facts: &ReportFacts, lang: Lang) -> String {
    let codes = &facts.scope.countries;
    let names: Vec<String> = codes.iter().take(3).map(|c| countries::name(&c.country, lang)).collect();
    match codes.len() {
        0 => lang.pick("No measurements", "Измерений нет").to_owned(),
        1..=3 => series(&names, lang),
        n => match lang {
            Lang::En => format!("{n} countries"),
            Lang::Ru => counted(n as u64, lang, ["", ""], ["страна", "страны", "стран"]),
        },
    }
}

/// The report's headline: the firmest thing it can say; unescaped.
pub(super) fn title(facts: &ReportFacts, lang: Lang) -> String {
    let place = place(facts, lang);
    let total = facts.targets.len() as u64;
    let of = |wanted: Group| facts.targets.iter().filter(|t| group(t) == wanted).count() as u64;
    let (blocked, throttled) = (of(Group::Blocked), of(Group::Throttled));
    let judged = facts.targets.iter().filter(|t| t.counts.judged() > 0).count();
    let targets = plural(total, lang, ["target", "targets"], ["цели", "целей", "целей"]);
    let (count, slowed, all) = (int(blocked, lang), int(throttled, lang), int(total, lang));
    match lang {
        _ if total == 0 => place,
        Lang::En if blocked > 0 => format!("{place}: {count} of {all} {targets} blocked"),
        Lang::Ru if blocked > 0 => format!("{place}: заблокировано {count} из {all} {targets}"),
        Lang::En if throttled > 0 => format!("{place}: {slowed} of {all} {targets} throttled"),
        Lang::Ru if throttled > 0 => format!("{place}: замедлено {slowed} из {all} {targets}"),
        Lang::En if judged == 0 => format!("{place}: not enough evidence on {all} {targets}"),
        Lang::Ru if judged == 0 => format!("{place}: данных недостаточно, целей: {all}"),
        Lang::En => format!("{place}: no firm finding of blocking on {all} {targets}"),
        Lang::Ru => format!("{place}: твёрдых признаков блокировки нет, целей: {all}"),
    }
}

fn header(page: &mut Page<'_>) {
    let (facts, lang) = (page.facts, page.lang);
    page.push("<header>\n");
    let kicker =
        page.say("Okno · report on measured interference", "Окно · отчёт об измеренных вмешательствах");
    page.paragraph("kicker", kicker);
    page.push(&format!("<h1>{}</h1>\n", esc(&title(facts, lang))));
    if facts.scope.synthetic {
        let text = page.say(
            "<strong>These measurements are made up.</strong> They come from a generator or a laboratory, to show how such a report looks. They say nothing about any real network, site or country.",
            "<strong>Эти измерения выдуманы.</strong> Они сделаны генератором или в лаборатории, чтобы показать, как выглядит такой отчёт. О настоящих сетях, сайтах и странах они ничего не говорят.",
        );
        page.push(&format!("<p class=\"synthetic\" role=\"note\">{text}</p>\n"));
    }
    let lede = lede(page);
    page.paragraph("lede", &lede);
    tally(page);
    contents(page);
    page.push("</header>\n");
}

/// The measured counts, in two sentences.
fn lede(page: &Page<'_>) -> String {
    let (scope, lang) = (&page.facts.scope, page.lang);
    if scope.measurements == 0 {
        return page
            .say(
                "No measurement could be read; the section on data quality says why.",
                "Ни одного измерения прочитать не удалось; почему, сказано в разделе о качестве данных.",
            )
            .to_owned();
    }
    let measurements = counted(
        scope.measurements,
        lang,
        ["measurement", "measurements"],
        ["измерение", "измерения", "измерений"],
    );
    let networks = counted(scope.networks, lang, ["network", "networks"], ["сеть", "сети", "сетей"]);
    let targets = counted(scope.targets, lang, ["target", "targets"], ["цель", "цели", "целей"]);
    let reports = counted(scope.reports, lang, ["report", "reports"], ["отчёт", "отчёта", "отчётов"]);
    let when = period(&scope.first_utc, &scope.last_utc, lang);
    let (left, all) = (scope.states.insufficient, scope.states.total().max(1));
    let untold = percent(left as f64 / all as f64, lang);
    let mut text = match lang {
        Lang::En => format!(
            "{when}: {measurements} of {targets} (sites, apps, services) from {networks}, in {reports} (runs of a test). {untold} of the measurements could not be judged."
        ),
        Lang::Ru => format!(
            "{when}: {measurements}, {targets} (сайты, приложения, сервисы), {networks}, {reports} (прогоны теста). По {untold} измерений судить нельзя."
        ),
    };
    if page.many_countries() {
        text.push_str(page.say(
            " A target counts once in each country where it was measured.",
            " Цель считается один раз в каждой стране, где её измеряли.",
        ));
    }
    text
}

/// Targets by what is said of them: one bar, six numbers.
fn tally(page: &mut Page<'_>) {
    let lang = page.lang;
    let rows: Vec<(Group, &str, &str, u64)> = [
        (Group::Blocked, "b", page.say("blocked", "заблокировано")),
        (Group::Throttled, "t", state_word(State::Throttled, lang)),
        (Group::Sign, "g", page.say("signs, not findings", "признаки, но не выводы")),
        (Group::Down, "d", state_word(State::Down, lang)),
        (Group::Untold, "i", state_word(State::Insufficient, lang)),
        (Group::Works, "o", page.say("works", "работает")),
    ]
    .into_iter()
    .map(|(of, class, word)| (of, class, word, page.group(of).len() as u64))
    .collect();
    let total: u64 = rows.iter().map(|row| row.3).sum();
    if total == 0 {
        return;
    }
    page.push("<div class=\"bar\" aria-hidden=\"true\">");
    for (_, class, _, count) in rows.iter().filter(|row| row.3 > 0) {
        page.push(&format!("<span class=\"{class}\" style=\"flex-grow:{count}\"></span>"));
    }
    let caption = page.say("targets", "цели");
    page.push(&format!("</div>\n<ul class=\"tally\" aria-label=\"{caption}\">"));
    for (_, class, word, count) in &rows {
        page.push(&format!(
            "<li><span class=\"sw {class}\" aria-hidden=\"true\"></span><b>{}</b> {word}</li>",
            int(*count, lang)
        ));
    }
    page.push("</ul>\n");
}

fn contents(page: &mut Page<'_>) {
    let code = page.lang.code();
    let entries = [
        ("found", page.say("What we found", "Что найдено")),
        ("untold", page.say("What we cannot tell", "Чего мы не знаем")),
        ("table", page.say("Table", "Таблица")),
        ("map", page.say("Map by network", "Карта по сетям")),
        ("time", page.say("Over time", "Во времени")),
        ("quality", page.say("Data quality", "Качество данных")),
        ("reading", page.say("How to read this", "Как это читать")),
        ("versions", page.say("Versions", "Версии")),
    ];
    let label = page.say("Contents", "Содержание");
    page.push(&format!("<nav aria-label=\"{label}\"><ul>"));
    let timed = page.facts.networks.iter().any(|network| !network.volume.is_empty());
    let mapped = !page.facts.targets.is_empty();
    for (id, name) in entries.into_iter().filter(|e| (e.0 != "time" || timed) && (e.0 != "map" || mapped)) {
        page.push(&format!("<li><a href=\"#{id}-{code}\">{name}</a></li>"));
    }
    page.push("</ul></nav>\n");
}
