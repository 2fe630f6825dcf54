//! Numbers, plurals, dates and safe text, in both languages.
//!
//! Everything that comes out of a measurement is hostile until it went through [`esc`]: targets, network
//! names and witnesses are written by whoever submits. Besides HTML's own characters that means controls and
//! bidirectional overrides, which can make a page show another name than it carries; they are spelled out.

use okno_model::Timestamp;

use super::Lang;

/// A no-break space: thousands and units in Russian, dates in both languages.
pub(super) const NBSP: char = '\u{a0}';

/// Text for HTML content and for quoted attributes. Cuts after 400 characters.
pub(super) fn esc(text: &str) -> String {
    esc_within(text, 400)
}

/// [`esc`] with another limit, in characters of the input.
pub(super) fn esc_within(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (position, c) in text.chars().enumerate() {
        if position == limit {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if is_deceptive(c) => out.push_str(&format!("[U+{:04X}]", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Controls, and characters that change the direction or presence of the text around them
/// (Unicode TR 36 §3: bidirectional overrides and isolates, zero-width characters, tags).
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A whole number: `1,234`, `1 234`.
pub(super) fn int(value: u64, lang: Lang) -> String {
    let digits = value.to_string();
    // Russian typesetting leaves four digits together; so do English newspapers not.
    if digits.len() <= 3 || (lang == Lang::Ru && digits.len() == 4) {
        return digits;
    }
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(lang.pick_char(',', NBSP));
        }
        out.push(digit);
    }
    out
}

/// One decimal: `1,234.5`, `1 234,5`.
pub(super) fn decimal(value: f64, lang: Lang) -> String {
    if !value.is_finite() || value < 0.0 {
        return "–".into();
    }
    let tenths = (value * 10.0).round() as u64;
    let mut whole = int(tenths / 10, lang);
    if lang == Lang::Ru && (1000..10_000).contains(&(tenths / 10)) {
        whole.insert(1, NBSP); // with decimals the group is set off even there
    }
    format!("{whole}{}{}", lang.pick_char('.', ','), tenths % 10)
}

/// The number of a share in percent, without the sign. Never rounds to 0 or 100 what is neither.
fn percent_number(share: f64, lang: Lang) -> String {
    let percent = (share * 100.0).clamp(0.0, 100.0);
    if percent > 0.0 && percent < 0.05 {
        return format!("<{}", decimal(0.1, lang)).replace('<', "&lt;");
    }
    if percent > 99.95 && percent < 100.0 {
        return format!("&gt;{}", decimal(99.9, lang));
    }
    if (percent > 0.0 && percent < 1.0) || (percent > 99.0 && percent < 100.0) {
        return decimal(percent, lang);
    }
    format!("{}", percent.round() as u64)
}

/// A share: `93%`, `93 %`.
pub(super) fn percent(share: f64, lang: Lang) -> String {
    format!("{}{}", percent_number(share, lang), percent_sign(lang))
}

/// An interval of shares: `82–98%`, `82–98 %`.
pub(super) fn percent_range(low: f64, high: f64, lang: Lang) -> String {
    format!("{}–{}{}", percent_number(low, lang), percent_number(high, lang), percent_sign(lang))
}

fn percent_sign(lang: Lang) -> &'static str {
    lang.pick("%", "\u{a0}%")
}

/// Bytes with a decimal unit: `12.3 MB`, `12,3 МБ`.
pub(super) fn bytes(value: u64, lang: Lang) -> String {
    let units = [(1e9, "GB", "ГБ"), (1e6, "MB", "МБ"), (1e3, "kB", "кБ")];
    for (size, en, ru) in units {
        if value as f64 >= size {
            return format!("{}{NBSP}{}", decimal(value as f64 / size, lang), lang.pick(en, ru));
        }
    }
    format!("{value}{NBSP}{}", lang.pick("bytes", "Б"))
}

/// The plural form of a count. English takes `[one, other]`; Russian `[one, few, many]`:
/// 1 сеть, 2 сети, 5 сетей, 11 сетей, 21 сеть (CLDR plural rules).
pub(super) fn plural<'t>(count: u64, lang: Lang, en: [&'t str; 2], ru: [&'t str; 3]) -> &'t str {
    match lang {
        Lang::En => en[usize::from(count != 1)],
        Lang::Ru => match (count % 10, count % 100) {
            (1, tail) if tail != 11 => ru[0],
            (2..=4, tail) if !(12..=14).contains(&tail) => ru[1],
            _ => ru[2],
        },
    }
}

/// A count and its noun, never torn apart at a line's end.
pub(super) fn counted(count: u64, lang: Lang, en: [&str; 2], ru: [&str; 3]) -> String {
    format!("{}{NBSP}{}", int(count, lang), plural(count, lang, en, ru))
}

#[rustfmt::skip]
const MONTHS: [(&str, &str, &str, &str); 12] = [
    ("January", "Jan", "января", "янв."), ("February", "Feb", "февраля", "февр."),
    ("March", "Mar", "марта", "мар."), ("April", "Apr", "апреля", "апр."),
    ("May", "May", "мая", "мая"), ("June", "June", "июня", "июн."),
    ("July", "July", "июля", "июл."), ("August", "Aug", "августа", "авг."),
    ("September", "Sept", "сентября", "сент."), ("October", "Oct", "октября", "окт."),
    ("November", "Nov", "ноября", "нояб."), ("December", "Dec", "декабря", "дек."),
];

/// (year, month 1–12, day, `HH:MM`) of a time in any form that `Timestamp` reads.
fn civil(text: &str) -> Option<(String, usize, u32, String)> {
    let printed = Timestamp::parse(text)?.to_string();
    let month = printed.get(5..7)?.parse().ok()?;
    let day = printed.get(8..10)?.parse().ok()?;
    Some((printed.get(..4)?.to_owned(), month, day, printed.get(11..16)?.to_owned()))
}

fn month(number: usize, lang: Lang, short: bool) -> &'static str {
    let (en, en_short, ru, ru_short) = MONTHS[(number - 1) % 12];
    if short { lang.pick(en_short, ru_short) } else { lang.pick(en, ru) }
}

/// A date in full: `2 June 2025`, `2 июня 2025`. Text that is no time is shown as it is.
pub(super) fn date(text: &str, lang: Lang) -> String {
    civil(text).map_or_else(
        || esc_within(text, 40),
        |(year, number, day, _)| format!("{day}{NBSP}{}{NBSP}{year}", month(number, lang, false)),
    )
}

/// A date for tables: `2 Jun 2025`, `2 июн. 2025`.
pub(super) fn date_short(text: &str, lang: Lang) -> String {
    civil(text).map_or_else(
        || esc_within(text, 40),
        |(year, number, day, _)| format!("{day}{NBSP}{}{NBSP}{year}", month(number, lang, true)),
    )
}

/// Date and time of day: `2 June 2025, 14:03 UTC`.
pub(super) fn moment(text: &str, lang: Lang) -> String {
    civil(text)
        .map_or_else(|| esc_within(text, 40), |(.., time)| format!("{}, {time}{NBSP}UTC", date(text, lang)))
}

/// A period, without saying anything twice: `2–13 June 2025`, `2 June – 13 July 2025`.
pub(super) fn period(first: &str, last: &str, lang: Lang) -> String {
    let (Some(a), Some(b)) = (civil(first), civil(last)) else {
        return [first, last]
            .iter()
            .filter(|t| !t.is_empty())
            .map(|t| date(t, lang))
            .collect::<Vec<_>>()
            .join(" – ");
    };
    if (&a.0, a.1, a.2) == (&b.0, b.1, b.2) {
        return date(last, lang);
    }
    if (&a.0, a.1) == (&b.0, b.1) {
        return format!("{}–{}", a.2, date(last, lang));
    }
    if a.0 == b.0 {
        return format!("{}{NBSP}{}{NBSP}– {}", a.2, month(a.1, lang, false), date(last, lang));
    }
    format!("{}{NBSP}– {}", date(first, lang), date(last, lang))
}

/// A list in prose: `a, b and c`.
pub(super) fn series(items: &[String], lang: Lang) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} {} {last}", head.join(", "), lang.pick("and", "и")),
    }
}

/// The text with its first letter in upper case.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_language() {
        assert_eq!(int(1_234_567, Lang::En), "1,234,567");
        assert_eq!(int(1_234_567, Lang::Ru), "1\u{a0}234\u{a0}567");
        assert_eq!(decimal(1234.5, Lang::En), "1,234.5");
        assert_eq!(decimal(1234.5, Lang::Ru), "1\u{a0}234,5");
        assert_eq!(percent_range(0.82, 0.981, Lang::Ru), "82–98\u{a0}%");
        assert_eq!(bytes(12_345_678, Lang::Ru), "12,3\u{a0}МБ");
    }

    #[test]
    fn a_share_that_is_not_all_is_never_printed_as_all() {
        assert_eq!(percent(0.9999, Lang::En), "&gt;99.9%");
        assert_eq!(percent(0.0001, Lang::En), "&lt;0.1%");
        assert_eq!(percent(0.995, Lang::En), "99.5%");
        assert_eq!(percent(1.0, Lang::En), "100%");
        assert_eq!(percent(0.0, Lang::Ru), "0\u{a0}%");
    }

    #[test]
    fn russian_has_three_plural_forms() {
        let form = |n| plural(n, Lang::Ru, ["", ""], ["сеть", "сети", "сетей"]);
        for (n, word) in
            [(0, "сетей"), (1, "сеть"), (2, "сети"), (4, "сети"), (5, "сетей"), (11, "сетей"), (12, "сетей")]
        {
            assert_eq!(form(n), word, "{n}");
        }
        for (n, word) in [(21, "сеть"), (22, "сети"), (111, "сетей"), (114, "сетей"), (101, "сеть")]
        {
            assert_eq!(form(n), word, "{n}");
        }
        assert_eq!(counted(1, Lang::En, ["network", "networks"], ["", "", ""]), "1\u{a0}network");
    }

    #[test]
    fn periods_say_nothing_twice() {
        assert_eq!(
            period("2025-06-02 01:00:00", "2025-06-13", Lang::En).replace(NBSP, " "),
            "2–13 June 2025"
        );
        assert_eq!(period("2025-06-02", "2025-07-13", Lang::Ru).replace(NBSP, " "), "2 июня – 13 июля 2025");
        assert_eq!(
            period("2024-12-30", "2025-01-02", Lang::En).replace(NBSP, " "),
            "30 December 2024 – 2 January 2025"
        );
        assert_eq!(
            period("2025-06-02 01:00:00", "2025-06-02 05:00:00", Lang::En).replace(NBSP, " "),
            "2 June 2025"
        );
        assert_eq!(period("", "", Lang::En), "");
        assert_eq!(period("<b>", "", Lang::En), "&lt;b&gt;");
    }

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(esc("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(esc("moc.\u{202e}knab"), "moc.[U+202E]knab");
        assert_eq!(esc("a\u{0}b\nc\u{200b}"), "a[U+0000]b c[U+200B]");
        assert_eq!(esc_within("абвгд", 3), "абв…");
    }
}
