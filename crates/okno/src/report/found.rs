//! The findings in sentences: blocked, signs, throttled, down, untold, works.
//!
//! Each statement carries its denominator, its interval and its witness. Sentences are in the past tense: a
//! report speaks of its period, and may be read long after it.

use okno_model::{State, Timestamp};

use super::facts::{Strength, TargetFacts, Witness};
use super::findings::Group;
use super::format::{counted, date, esc, esc_within, int, moment, percent, percent_range, period, plural};
use super::html::Page;
use super::{Lang, chart, countries, mechanisms, text};

const MEASUREMENTS: ([&str; 2], [&str; 3]) =
    (["measurement", "measurements"], ["измерение", "измерения", "измерений"]);

/// What was blocked, firmly.
pub(super) fn found(page: &mut Page<'_>) {
    let heading = page.say("What we found", "Что найдено");
    page.open("found", heading);
    let targets = page.group(Group::Blocked);
    if targets.is_empty() {
        let text = page.say(
            "No target was found blocked firmly enough to say so: that takes at least three measurements, and a network on which most of them show it. This does not mean that nothing is blocked; see what we cannot tell.",
            "Ни об одной цели нельзя твёрдо сказать, что она заблокирована: для этого нужны хотя бы три измерения и сеть, где это показывает большинство из них. Это не значит, что ничего не блокируется; смотрите раздел «Чего мы не знаем».",
        );
        page.paragraph("", text);
    }
    let shown = page.caps.headlines;
    statements(page, &targets, 'b', shown);
    let left = targets.len().saturating_sub(shown);
    if left > 0 {
        let (code, n) = (page.lang.code(), int(left as u64, page.lang));
        let text = match page.lang {
            Lang::En => {
                format!("And {n} more in <a href=\"#table-{code}\">the table of blocked targets</a>.")
            }
            Lang::Ru => format!("И ещё {n} в <a href=\"#table-{code}\">таблице заблокированных целей</a>."),
        };
        page.paragraph("more", &text);
    }
    page.close();
}

/// What was held down in speed, firmly.
pub(super) fn throttled(page: &mut Page<'_>) {
    let targets = page.group(Group::Throttled);
    if targets.is_empty() {
        return;
    }
    let heading = page.say("Throttled", "Замедлено");
    page.open("throttled", heading);
    let shown = page.caps.headlines.div_ceil(2);
    statements(page, &targets, 't', shown);
    let left = targets.len().saturating_sub(shown);
    page.more(
        left,
        "SELECT target, country, network, count(*) AS measurements FROM measurement_verdicts WHERE state = 'throttled' GROUP BY target, country, network ORDER BY measurements DESC",
    );
    page.close();
}

fn statements(page: &mut Page<'_>, targets: &[&TargetFacts], kind: char, shown: usize) {
    if targets.is_empty() {
        return;
    }
    page.push("<ol class=\"found\">\n");
    for (at, target) in targets.iter().take(shown).enumerate() {
        page.push(&format!("<li id=\"{kind}{at}-{}\">", page.lang.code()));
        statement(page, target);
    }
    page.push("</ol>\n");
}

fn statement(page: &mut Page<'_>, target: &TargetFacts) {
    dots(page, target);
    let sentence = sentence(page, target);
    page.paragraph("say", &sentence);
    page.push("<div class=\"fig\">");
    let numbers = numbers(page, target);
    page.paragraph("num", &numbers);
    if !target.timeline.is_empty() {
        chart::timeline(page, target);
    }
    page.push("</div><div class=\"why\">");
    let others = other_mechanisms(page, target);
    if !others.is_empty() {
        page.paragraph("fine", &others);
    }
    if let Some(witness) = target.witnesses.first() {
        let text = witness_text(page, witness);
        page.push(&format!("<div class=\"wit\">{text}</div>"));
    }
    by_network(page, target);
    page.push("</div></li>\n");
}

/// One square per network, in the colour and pattern of what was seen there.
fn dots(page: &mut Page<'_>, target: &TargetFacts) {
    page.push("<div class=\"dots\" aria-hidden=\"true\">");
    let mut cells: Vec<_> = target.cells.iter().collect();
    cells.sort_by_key(|c| std::cmp::Reverse((State::parse(&c.state), c.counts.interference())));
    for cell in cells.iter().take(24) {
        page.push(&format!("<i class=\"{}\"></i>", text::state_class(&cell.state)));
    }
    page.push("</div>");
}

/// "www.bbc.com was blocked on 5 of 6 networks in Russia: …"
pub(super) fn sentence(page: &Page<'_>, target: &TargetFacts) -> String {
    let lang = page.lang;
    let name = format!("<strong><bdi>{}</bdi></strong>", esc_within(&target.target, 120));
    let verb = match (State::parse(&target.state), lang) {
        (Some(State::Throttled), Lang::En) => "was slowed down",
        (Some(State::Throttled), Lang::Ru) => "замедлялся",
        (_, Lang::En) => "was blocked",
        (_, Lang::Ru) => "блокировался",
    };
    let networks = networks(target.networks_in_state, target.networks_judged, lang);
    let place = match lang {
        Lang::En => format!(" in {}", esc(&countries::name_in_sentence(&target.country))),
        Lang::Ru if page.many_countries() => format!(" ({})", esc(&countries::name(&target.country, lang))),
        Lang::Ru => String::new(),
    };
    let how =
        target.mechanism.as_deref().map_or_else(String::new, |path| match mechanisms::clause(path, lang) {
            Some(clause) => format!(": {clause}"),
            None => format!(" ({})", esc(path)),
        });
    format!("{name} {verb} {networks}{place}{how}.")
}

/// "on 5 of 6 networks", with words for one and both.
fn networks(hit: u64, judged: u64, lang: Lang) -> String {
    let (n, all) = (int(hit, lang), int(judged, lang));
    match (hit, judged, lang) {
        (1, 1, Lang::En) => "on the one network measured".into(),
        (1, 1, Lang::Ru) => "в единственной измеренной сети".into(),
        (2, 2, Lang::En) => "on both networks measured".into(),
        (2, 2, Lang::Ru) => "в обеих измеренных сетях".into(),
        (h, j, Lang::En) if h == j => format!("on all {all} networks measured"),
        (h, j, Lang::Ru) if h == j => {
            format!("во всех {all} измеренных {}", plural(j, lang, ["", ""], ["сети", "сетях", "сетях"]))
        }
        (_, _, Lang::En) => format!("on {n} of {all} networks"),
        (h, _, Lang::Ru) => {
            format!("в {n} {} из {all}", plural(h, lang, ["", ""], ["сети", "сетях", "сетях"]))
        }
    }
}

/// Denominator, share, interval and period.
fn numbers(page: &Page<'_>, target: &TargetFacts) -> String {
    let (lang, counts) = (page.lang, &target.counts);
    let mut text = interval_bar(target.interference_share, target.interference_low, target.interference_high);
    let (none, all) = (percent(0.0, lang), percent(1.0, lang));
    text.push_str(&format!(
        "<span class=\"ax\" aria-hidden=\"true\"><span>{none}</span><span>{all}</span></span>"
    ));
    text.push_str(&share_text(page, target));
    text.push(' ');
    text.push_str(&seen(target, lang));
    if counts.insufficient > 0 {
        let more = counted(counts.insufficient, lang, MEASUREMENTS.0, MEASUREMENTS.1);
        text.push_str(&match lang {
            Lang::En => format!(" {more} could not be judged."),
            Lang::Ru => format!(" Ещё {more}: судить нельзя."),
        });
    }
    text
}

/// When it was seen, against when it was measured at all: the first sighting is an onset only when
/// measurements without it come before.
fn seen(target: &TargetFacts, lang: Lang) -> String {
    let (begin, end) = (&target.first_utc, &target.last_utc);
    let measured = period(begin, end, lang);
    let (Some(first), Some(last)) = (&target.first_interference_utc, &target.last_interference_utc) else {
        return match lang {
            Lang::En => format!("Measured {measured}."),
            Lang::Ru => format!("Период измерений: {measured}."),
        };
    };
    let (from, to) = (date(first, lang), date(last, lang));
    match (same_day(begin, first), same_day(end, last), lang) {
        _ if same_day(begin, end) => match lang {
            Lang::En => format!("Seen on {to}, the only day measured."),
            Lang::Ru => format!("Видно {to}, в единственный день измерений."),
        },
        (true, true, Lang::En) => format!("Seen from the first day measured, {from}, to the last, {to}."),
        (true, true, Lang::Ru) => format!("Видно с первого дня измерений, {from}, до последнего, {to}."),
        (true, false, Lang::En) => {
            format!("Seen from the first day measured, {from}, until {to}; measured {measured}.")
        }
        (true, false, Lang::Ru) => {
            format!("Видно с первого дня измерений, {from}, до {to}; измерения: {measured}.")
        }
        (false, true, Lang::En) => {
            format!("First seen {from}, and still on the last day measured; measured {measured}.")
        }
        (false, true, Lang::Ru) => {
            format!("Впервые {from}, видно и в последний день; измерения: {measured}.")
        }
        (false, false, Lang::En) => format!("Seen {}; measured {measured}.", period(first, last, lang)),
        (false, false, Lang::Ru) => format!("Видно: {}; измерения: {measured}.", period(first, last, lang)),
    }
}

/// "41 of 44 measurements that could be judged: 93% (95% interval 82–98%)."
fn share_text(page: &Page<'_>, target: &TargetFacts) -> String {
    let (lang, counts) = (page.lang, &target.counts);
    let (hits, judged) = (int(counts.interference(), lang), int(counts.judged(), lang));
    let interval = match (target.interference_share, target.interference_low, target.interference_high) {
        (Some(share), Some(low), Some(high)) => match lang {
            Lang::En => {
                let range = percent_range(low, high, lang);
                format!(": {} <span class=\"nb\">(95% interval {range})</span>", percent(share, lang))
            }
            Lang::Ru => {
                let range = percent_range(low, high, lang);
                format!(
                    ": {} <span class=\"nb\">(95-процентный интервал {range})</span>",
                    percent(share, lang)
                )
            }
        },
        _ => String::new(),
    };
    match lang {
        Lang::En => format!(
            "<b>{hits} of {judged}</b> judged {}{interval}.",
            plural(counts.judged(), lang, MEASUREMENTS.0, [""; 3])
        ),
        Lang::Ru => format!("<b>{hits} из {judged}</b> измерений, о которых можно судить{interval}."),
    }
}

fn same_day(a: &str, b: &str) -> bool {
    matches!((Timestamp::parse(a), Timestamp::parse(b)), (Some(a), Some(b)) if a.day_index() == b.day_index())
}

/// A share and its interval as a line with a dot; the numbers stand beside it in text.
pub(super) fn interval_bar(share: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    let (Some(share), Some(low), Some(high)) = (share, low, high) else { return String::new() };
    let at = |value: f64| (value.clamp(0.0, 1.0) * 100.0).round() as i64 + 3;
    format!(
        "<svg class=\"iv\" viewBox=\"0 0 106 12\" width=\"106\" height=\"12\" aria-hidden=\"true\"><path class=\"a\" d=\"M3 6h100M3 3v6M103 3v6\"/><path class=\"r\" d=\"M{} 6H{}\"/><circle cx=\"{}\" cy=\"6\" r=\"3\"/></svg> ",
        at(low),
        at(high),
        at(share)
    )
}

fn other_mechanisms(page: &Page<'_>, target: &TargetFacts) -> String {
    let lang = page.lang;
    let others: Vec<String> = target
        .mechanisms
        .iter()
        .skip(1)
        .take(3)
        .map(|entry| {
            let words = mechanisms::clause(&entry.mechanism, lang)
                .map_or_else(|| esc(&entry.mechanism), str::to_owned);
            format!("{words} ({})", counted(entry.measurements, lang, MEASUREMENTS.0, MEASUREMENTS.1))
        })
        .collect();
    if others.is_empty() {
        return String::new();
    }
    format!("{} {}.", page.say("Also seen:", "Встречалось и другое:"), others.join("; "))
}

/// Who saw it: measurement, time, network, the failed operation, rule and probability.
pub(super) fn witness_text(page: &Page<'_>, witness: &Witness) -> String {
    let lang = page.lang;
    let mut text = format!(
        "<b>{}</b> <span lang=\"en\">{}</span>",
        page.say("Witness:", "Свидетельство:"),
        esc(&witness.witness)
    );
    let uid = esc_within(&witness.measurement_uid, 90);
    let linked = !page.facts.scope.synthetic && is_archived(&witness.measurement_uid);
    let id = if linked {
        format!(
            "<a href=\"https://explorer.ooni.org/m/{uid}\" rel=\"noreferrer noopener\"><code>{uid}</code></a>"
        )
    } else {
        format!("<code>{uid}</code>")
    };
    text.push_str(&format!(
        "<br>{} {id}, {}, {}; {} <code>{}</code>, {} {}",
        page.say("Measurement", "Измерение"),
        page.network(witness.network),
        moment(&witness.start_utc, lang),
        page.say("rule", "правило"),
        esc_within(&witness.rule, 60),
        page.say("probability", "вероятность"),
        probability(witness.probability, lang),
    ));
    if let Some(fingerprint) = &witness.fingerprint {
        text.push_str(&format!(
            ", {} <code>{}</code>",
            page.say("known block page", "известная заглушка"),
            esc_within(fingerprint, 60)
        ));
    }
    text.push('.');
    text
}

fn probability(value: f64, lang: Lang) -> String {
    let hundredths = (value.clamp(0.0, 1.0) * 100.0).round() as u64;
    if hundredths >= 100 && value < 1.0 {
        return format!("&gt;0{}99", lang.pick(".", ","));
    }
    format!("{}{}{:02}", hundredths / 100, lang.pick(".", ","), hundredths % 100)
}

/// Whether an id is one that OONI's archive hands out (`YYYYMMDDhhmmss.micros_CC_test_hash`), so
/// that a link to
/// it leads somewhere.
fn is_archived(uid: &str) -> bool {
    let parts: Vec<&str> = uid.split('_').collect();
    let [time, country, test, hash] = parts.as_slice() else { return false };
    time.len() >= 15
        && time.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && !test.is_empty()
        && test.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && hash.len() == 16
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

fn by_network(page: &mut Page<'_>, target: &TargetFacts) {
    if target.cells.len() < 2 || page.caps.networks == 0 {
        return;
    }
    let summary = page.say("By network", "По сетям");
    page.push(&format!("<details><summary>{summary}</summary><ul class=\"nets\">"));
    let mut cells: Vec<_> = target.cells.iter().collect();
    cells.sort_by_key(|c| std::cmp::Reverse((c.counts.interference(), c.counts.total())));
    for cell in cells.iter().take(page.caps.networks) {
        let word = text::state_word(State::parse(&cell.state).unwrap_or_default(), page.lang);
        let name = page.network(cell.network);
        let (hits, judged) = (cell.counts.interference(), cell.counts.judged());
        let of = page.say("of", "из");
        let class = text::state_class(&cell.state);
        page.push(&format!(
            "<li><i class=\"sw {class}\"></i>{name}: {word}, {hits}\u{a0}{of}\u{a0}{judged}</li>"
        ));
    }
    let left = cells.len().saturating_sub(page.caps.networks);
    if left > 0 {
        let more = match page.lang {
            Lang::En => format!("<li>and {left} more</li>"),
            Lang::Ru => format!("<li>и ещё {left}</li>"),
        };
        page.push(&more);
    }
    page.push("</ul></details>");
}

/// Interference that was seen, but too rarely to be called a finding.
pub(super) fn signs(page: &mut Page<'_>) {
    let targets = page.group(Group::Sign);
    if targets.is_empty() {
        return;
    }
    let heading = page.say("Signs, not findings", "Признаки, но не выводы");
    page.open("signs", heading);
    let text = page.say(
        "Interference was seen here, but in fewer than three measurements, or in a minority of them on every network. One measurement is no verdict: please do not report these as blocked. Measure them again.",
        "Здесь вмешательство было замечено, но меньше чем в трёх измерениях либо в меньшинстве измерений каждой сети. Одно измерение ещё не вывод: пожалуйста, не сообщайте об этих целях как о заблокированных. Их нужно измерить снова.",
    );
    page.paragraph("", text);
    page.push("<ul class=\"signs\">\n");
    for target in targets.iter().take(page.caps.signs) {
        let entry = sign(page, target);
        page.push(&entry);
    }
    page.push("</ul>\n");
    let left = targets.len().saturating_sub(page.caps.signs);
    page.more(
        left,
        "SELECT target, country, network, state, mechanism, count(*) AS measurements FROM measurement_verdicts WHERE state IN ('blocked', 'throttled') GROUP BY target, country, network, state, mechanism ORDER BY measurements",
    );
    page.close();
}

fn sign(page: &Page<'_>, target: &TargetFacts) -> String {
    let mut text = format!("<li>{}", named(page, target));
    if let Some(path) = &target.mechanism {
        let words = mechanisms::clause(path, page.lang).map_or_else(|| esc(path), str::to_owned);
        text.push_str(&format!(": {words}"));
    }
    text.push_str(". ");
    text.push_str(&share_text(page, target));
    if target.strength == Strength::Minority {
        text.push_str(page.say(" Most measurements show none.", " Большинство измерений его не показывает."));
    }
    if let Some(witness) = target.witnesses.first().filter(|w| w.state == "blocked" || w.state == "throttled")
    {
        let summary = page.say("Witness", "Свидетельство");
        text.push_str(&format!(
            "<details><summary>{summary}</summary><div class=\"wit\">{}</div></details>",
            witness_text(page, witness)
        ));
    }
    text.push_str("</li>\n");
    text
}

/// The target's name, with its country where several are reported.
fn named(page: &Page<'_>, target: &TargetFacts) -> String {
    let name = format!("<b><bdi>{}</bdi></b>", esc_within(&target.target, 80));
    if !page.many_countries() {
        return name;
    }
    format!("{name} <span class=\"as\">{}</span>", esc(&countries::name(&target.country, page.lang)))
}

/// Down here and elsewhere: nobody is accused.
pub(super) fn down(page: &mut Page<'_>) {
    let targets = page.group(Group::Down);
    if targets.is_empty() {
        return;
    }
    let heading =
        page.say("Down for everyone (nobody accused)", "Не работает ни у кого (никого не обвиняем)");
    page.open("down", heading);
    let text = page.say(
        "These targets failed here, and failed elsewhere at the same time as well. That is their own trouble. The numbers: measurements that show it, of those that could be judged.",
        "Эти цели не отвечали здесь, но в то же время не отвечали и в других местах. Это их собственная неполадка. Числа: сколько измерений это показывают, из скольких, о которых можно судить.",
    );
    page.paragraph("", text);
    page.push("<ul class=\"cols\">\n");
    for target in targets.iter().take(page.caps.names) {
        let (lang, counts) = (page.lang, &target.counts);
        let name = named(page, target);
        let of = page.say("of", "из");
        page.push(&format!(
            "<li><i class=\"sw d\"></i>{name} <span class=\"n\">{} {of} {}</span></li>\n",
            int(counts.down, lang),
            int(counts.judged(), lang)
        ));
    }
    page.push("</ul>\n");
    let left = targets.len().saturating_sub(page.caps.names);
    page.more(
        left,
        "SELECT target, country, count(*) AS measurements FROM measurement_verdicts WHERE state = 'down' GROUP BY target, country ORDER BY measurements DESC",
    );
    page.close();
}

/// What cannot be told, and why.
pub(super) fn untold(page: &mut Page<'_>) {
    let heading = page.say("What we cannot tell", "Чего мы не знаем");
    page.open("untold", heading);
    let (lang, states) = (page.lang, page.facts.scope.states);
    let share = percent(states.insufficient as f64 / states.total().max(1) as f64, lang);
    let (left, all) = (int(states.insufficient, lang), int(states.total(), lang));
    let text = match lang {
        Lang::En => format!(
            "<b>{left} of {all}</b> measurements ({share}) do not carry enough evidence to say anything. They count neither as working nor as blocked, and stand in no denominator above."
        ),
        Lang::Ru => format!(
            "<b>{left} из {all}</b> измерений ({share}) не дают достаточных оснований что-либо утверждать. Они не считаются ни работающими, ни заблокированными и не входят ни в один знаменатель выше."
        ),
    };
    page.paragraph("", &text);
    undecided_rules(page);
    let targets = page.group(Group::Untold);
    if !targets.is_empty() {
        let heading = page
            .say("Targets without a single judged measurement", "Цели, о которых не судит ни одно измерение");
        page.push(&format!("<h3>{heading}</h3>\n"));
        names(page, &targets, "i");
        let left = targets.len().saturating_sub(page.caps.names);
        page.more(
            left,
            "SELECT target, country, count(*) AS measurements FROM measurement_verdicts GROUP BY target, country HAVING max(CASE WHEN state = 'insufficient' THEN 0 ELSE 1 END) = 0 ORDER BY measurements DESC",
        );
    }
    page.close();
}

fn undecided_rules(page: &mut Page<'_>) {
    let facts = page.facts;
    let rules: Vec<_> =
        facts.rules.iter().filter(|r| text::state_class(&r.state) == "i" && r.measurements > 0).collect();
    if rules.is_empty() {
        return;
    }
    let (why, rule, count) =
        (page.say("Why", "Почему"), page.say("Rule", "Правило"), page.say("Measurements", "Измерения"));
    let caption = page.say("Reasons for saying nothing", "Причины не делать вывода");
    page.push(&format!("<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table><caption><span>{caption}</span></caption><thead><tr><th scope=\"col\">{rule}</th><th scope=\"col\">{why}</th><th scope=\"col\" class=\"r\">{count}</th></tr></thead><tbody>\n"));
    for entry in rules.iter().take(page.caps.rows) {
        let row = format!(
            "<tr><th scope=\"row\"><code>{}</code></th><td lang=\"en\">{}</td><td class=\"r\">{}</td></tr>\n",
            esc_within(&entry.rule, 60),
            esc_within(&entry.meaning, 200),
            int(entry.measurements, page.lang)
        );
        page.push(&row);
    }
    page.push("</tbody></table></div>\n");
}

/// What worked.
pub(super) fn works(page: &mut Page<'_>) {
    let targets = page.group(Group::Works);
    if targets.is_empty() {
        return;
    }
    let heading = page.say("Works", "Работает");
    page.open("works", heading);
    let text = page.say(
        "Most judged measurements of these targets show that they answered as they do elsewhere.",
        "Большинство измерений этих целей, о которых можно судить, показывает: они отвечали так же, как в других местах.",
    );
    page.paragraph("", text);
    names(page, &targets, "o");
    let left = targets.len().saturating_sub(page.caps.names);
    page.more(
        left,
        "SELECT target, country, count(*) AS measurements FROM measurement_verdicts WHERE state = 'ok' GROUP BY target, country ORDER BY measurements DESC",
    );
    page.close();
}

fn names(page: &mut Page<'_>, targets: &[&TargetFacts], class: &str) {
    page.push("<ul class=\"cols\">\n");
    for target in targets.iter().take(page.caps.names) {
        let counts = &target.counts;
        let shown = if class == "o" { counts.ok } else { counts.insufficient };
        let of = if class == "o" { counts.judged() } else { counts.total() };
        let entry = format!(
            "<li><i class=\"sw {class}\"></i>{} <span class=\"n\">{} {} {}</span></li>\n",
            named(page, target),
            int(shown, page.lang),
            page.say("of", "из"),
            int(of, page.lang),
        );
        page.push(&entry);
    }
    page.push("</ul>\n");
}
