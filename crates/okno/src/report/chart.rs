//! Measurements over time, with silence drawn as silence.
//!
//! A chart is three stacked paths and a band for every stretch without a measurement: an empty day is not a
//! day of zero trouble. Text stands outside the drawing, so that it scales, prints and is read aloud.

use okno_model::Timestamp;

use super::Lang;
use super::countries;
use super::facts::{NetworkFacts, TargetFacts};
use super::findings::{Rebinned, rebin};
use super::format::{counted, date_short, esc, int, period, plural};
use super::html::Page;

/// One small chart per network.
pub(super) fn volume(page: &mut Page<'_>) {
    let facts = page.facts;
    if facts.networks.iter().all(|network| network.volume.is_empty()) {
        return;
    }
    let heading = page.say("Measurements over time", "Измерения во времени");
    page.open("time", heading);
    let text = page.say(
        "Each chart has its own scale. Bars: <span class=\"k r\">blocked or throttled</span>, <span class=\"k j\">other judged</span>, <span class=\"k u\">could not be judged</span>. <span class=\"k gap\">Shaded with a dashed line: no measurement at all</span>; nothing is known about that time.",
        "У каждого графика свой масштаб. Столбцы: <span class=\"k r\">заблокировано или замедлено</span>, <span class=\"k j\">прочие, о которых можно судить</span>, <span class=\"k u\">судить нельзя</span>. <span class=\"k gap\">Тень с пунктиром: измерений нет</span>; об этом времени ничего не известно.",
    );
    page.paragraph("fine", text);
    page.push("<div class=\"charts\">\n");
    let mut drawn = 0;
    for network in facts.networks.iter().take(page.caps.charts) {
        drawn += 1;
        chart(page, network);
    }
    page.push("</div>\n");
    let left = facts.networks.len() - drawn;
    page.more(left, "SELECT network, date_trunc('day', start_utc) AS day, count(*) AS measurements FROM measurements GROUP BY 1, 2 ORDER BY 1, 2");
    page.close();
}

fn chart(page: &mut Page<'_>, network: &NetworkFacts) {
    let (scope, lang) = (&page.facts.scope, page.lang);
    let bins =
        rebin(&network.volume, network.bucket_hours, &scope.first_utc, &scope.last_utc, page.caps.bars);
    let Some(bins) = bins else { return };
    let mut name = page.network(network.network);
    if page.many_countries() {
        name.push_str(&format!(" · {}", esc(&countries::name(&network.country, lang))));
    }
    let count = counted(
        network.measurements,
        lang,
        ["measurement", "measurements"],
        ["измерение", "измерения", "измерений"],
    );
    let silence = silence_text(&bins, lang);
    let most = bins.bars.values().map(|bar| bar.0).max().unwrap_or(0);
    let per = bucket_word(bins.hours, lang);
    let peak = match lang {
        Lang::En => format!("at most {} per {per}", int(most, lang)),
        Lang::Ru => format!("не больше {} за {per}", int(most, lang)),
    };
    let html = format!(
        "<figure><figcaption><b>{name}</b><br>{count}, {peak}. {silence}</figcaption>{}<div class=\"ax\" aria-hidden=\"true\"><span>{}</span><span>{}</span></div></figure>\n",
        drawing(&bins, 40),
        date_short(&scope.first_utc, lang),
        date_short(&scope.last_utc, lang),
    );
    page.push(&html);
}

/// A target's own strip, under its statement.
pub(super) fn timeline(page: &mut Page<'_>, target: &TargetFacts) {
    let (scope, lang) = (&page.facts.scope, page.lang);
    let limit = page.caps.bars.min(60);
    let Some(bins) = rebin(&target.timeline, target.bucket_hours, &scope.first_utc, &scope.last_utc, limit)
    else {
        return;
    };
    let label = page.say(
        "Measurements over time; blocked or throttled at the bottom",
        "Измерения во времени; снизу заблокированные или замедленные",
    );
    let html = format!(
        "<div class=\"strip\" role=\"img\" aria-label=\"{label}\">{}<div class=\"ax\"><span>{}</span><span>{}</span></div></div>",
        drawing(&bins, 24),
        date_short(&scope.first_utc, lang),
        date_short(&scope.last_utc, lang),
    );
    page.push(&html);
}

/// The bars, `height` units high and 4 units apart: strokes from the ground up, the larger sum behind the
/// smaller. A bar that is not empty is at least one unit high.
fn drawing(bins: &Rebinned, height: u64) -> String {
    let most = bins.bars.values().map(|bar| bar.0).max().unwrap_or(0).max(1);
    let tall = |count: u64| (count * height).div_ceil(most);
    let (mut red, mut judged, mut untold) = (String::new(), String::new(), String::new());
    for (index, (all, hits, left)) in &bins.bars {
        let x = index * 4 + 2;
        let told = all - left.min(all);
        let bar = |path: &mut String, count: u64| {
            if count > 0 {
                path.push_str(&format!("M{x} {height}V{}", height - tall(count)));
            }
        };
        if told < *all {
            bar(&mut untold, *all);
        }
        if *hits < told {
            bar(&mut judged, told);
        }
        bar(&mut red, *hits.min(all));
    }
    let width = bins.count * 4;
    let (gaps, dashes) = silence(bins, height);
    let mut svg = format!(
        "<svg class=\"bars\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    );
    for (class, path) in [("gap", gaps), ("dash", dashes), ("u", untold), ("j", judged), ("r", red)] {
        if !path.is_empty() {
            svg.push_str(&format!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A band and a dashed line for every stretch without a measurement.
fn silence(bins: &Rebinned, height: u64) -> (String, String) {
    let (mut bands, mut dashes) = (String::new(), String::new());
    let mut index = 0;
    while index < bins.count {
        let from = index;
        while index < bins.count && !bins.bars.contains_key(&index) {
            index += 1;
        }
        if index > from {
            let (x, wide) = (from * 4, (index - from) * 4);
            bands.push_str(&format!("M{x} 0h{wide}v{height}H{x}z"));
            dashes.push_str(&format!("M{x} {}h{wide}", height / 2));
        }
        index += 1;
    }
    (bands, dashes)
}

/// "Silent on 5 of 42 days, longest 3–5 July."
fn silence_text(bins: &Rebinned, lang: Lang) -> String {
    let silent = bins.count - bins.bars.len() as i64;
    if silent <= 0 {
        return lang.pick("No silence.", "Без перерывов.").to_owned();
    }
    let (mut longest, mut run, mut from) = ((0, 0), 0, 0);
    for index in 0..bins.count {
        if bins.bars.contains_key(&index) {
            run = 0;
            from = index + 1;
        } else {
            run += 1;
            if run > longest.0 {
                longest = (run, from);
            }
        }
    }
    let at = |index: i64| Timestamp::from_hour_index(bins.origin_hour + index * bins.hours).to_string();
    let end =
        Timestamp::from_hour_index(bins.origin_hour + (longest.1 + longest.0) * bins.hours - 1).to_string();
    let stretch = period(&at(longest.1), &end, lang);
    let (silent, all) = (silent as u64, bins.count as u64);
    match lang {
        Lang::En => format!(
            "Silent in {} of {} {}, longest: {stretch}.",
            int(silent, lang),
            int(all, lang),
            unit(bins.hours, all, lang)
        ),
        Lang::Ru => format!(
            "Тишина: {} из {} {}, дольше всего {stretch}.",
            int(silent, lang),
            int(all, lang),
            unit(bins.hours, all, lang)
        ),
    }
}

fn bucket_word(hours: i64, lang: Lang) -> String {
    match (hours, lang) {
        (1, Lang::En) => "hour".into(),
        (1, Lang::Ru) => "час".into(),
        (24, Lang::En) => "day".into(),
        (24, Lang::Ru) => "день".into(),
        (168, Lang::En) => "week".into(),
        (168, Lang::Ru) => "неделю".into(),
        (h, _) if h % 24 == 0 => counted((h / 24) as u64, lang, ["day", "days"], ["день", "дня", "дней"]),
        (h, _) => counted(h as u64, lang, ["hour", "hours"], ["час", "часа", "часов"]),
    }
}

/// The name of a bucket after "of N".
fn unit(hours: i64, count: u64, lang: Lang) -> &'static str {
    match hours {
        1 => plural(count, lang, ["hour", "hours"], ["часа", "часов", "часов"]),
        24 => plural(count, lang, ["day", "days"], ["дня", "дней", "дней"]),
        168 => plural(count, lang, ["week", "weeks"], ["недели", "недель", "недель"]),
        _ => plural(count, lang, ["interval", "intervals"], ["промежутка", "промежутков", "промежутков"]),
    }
}
