//! The report of `okno observe`: one HTML file that says what was found, how surely, and what cannot be told.
//!
//! ```text
//!   lake ──SQL──► CellFacts, Witness ──findings::assemble──► ReportFacts ──render──► one HTML file
//!                                                                 └────────serde───► --json
//! ```
//!
//! The page asks for nothing from outside: no script, no font, no image, and a content policy that forbids
//! them. Both languages are in the file; a pair of radio buttons chooses, so the switch needs no
//! script either.
//! [`render`] is pure: same facts, same bytes.

mod chart;
mod countries;
pub mod facts;
pub mod findings;
mod format;
mod found;
mod heat;
mod html;
pub mod mechanisms;
mod notes;
mod quality;
mod tables;
mod text;

#[cfg(test)]
pub(crate) mod tests;

use facts::ReportFacts;

/// No report is larger than this, whatever it reports: readers sit behind throttled links.
pub const MAX_BYTES: usize = 300_000;

/// A language of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lang {
    /// English
    #[default]
    En,
    /// Russian
    Ru,
}

impl Lang {
    /// Both, in the order of the switch.
    pub const ALL: [Self; 2] = [Self::En, Self::Ru];

    /// The BCP 47 tag.
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// Reads the tag, with or without a region: `ru`, `ru_RU.UTF-8`.
    pub fn parse(text: &str) -> Option<Self> {
        let tag = text.split(['-', '_', '.']).next()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|lang| lang.code() == tag)
    }

    const fn pick<'t>(self, en: &'t str, ru: &'t str) -> &'t str {
        match self {
            Self::En => en,
            Self::Ru => ru,
        }
    }

    const fn pick_char(self, en: char, ru: char) -> char {
        match self {
            Self::En => en,
            Self::Ru => ru,
        }
    }
}

/// How many entries each list of the page may have; what is left out is named, with the query that shows it.
#[derive(Clone, Copy, Debug)]
struct Caps {
    /// statements with everything to them; half as many for throttling
    headlines: usize,
    /// networks named under a statement
    networks: usize,
    /// rows of the table of blocked targets
    blocked_rows: usize,
    /// whether that table repeats the witnesses that stand in the statements
    repeat_witness: bool,
    /// signs
    signs: usize,
    /// names in a bare list
    names: usize,
    /// countries with a map
    countries: usize,
    /// rows of a map
    heat_rows: usize,
    /// columns of a map
    heat_columns: usize,
    /// networks with a chart
    charts: usize,
    /// bars of a chart
    bars: i64,
    /// rows of any other table
    rows: usize,
}

/// From generous to meagre; [`render`] takes the first that fits. The map gives way last: it says
/// most per byte.
#[rustfmt::skip]
const LEVELS: [Caps; 8] = [
    Caps { headlines: 16, networks: 12, blocked_rows: 80, repeat_witness: true, signs: 24, names: 120, countries: 6, heat_rows: 60, heat_columns: 20, charts: 18, bars: 100, rows: 40 },
    Caps { headlines: 14, networks: 10, blocked_rows: 60, repeat_witness: false, signs: 20, names: 90, countries: 4, heat_rows: 48, heat_columns: 18, charts: 15, bars: 80, rows: 40 },
    Caps { headlines: 12, networks: 8, blocked_rows: 40, repeat_witness: false, signs: 14, names: 60, countries: 3, heat_rows: 40, heat_columns: 16, charts: 12, bars: 60, rows: 30 },
    Caps { headlines: 10, networks: 6, blocked_rows: 30, repeat_witness: false, signs: 10, names: 48, countries: 3, heat_rows: 32, heat_columns: 14, charts: 12, bars: 60, rows: 30 },
    Caps { headlines: 8, networks: 0, blocked_rows: 24, repeat_witness: false, signs: 8, names: 40, countries: 3, heat_rows: 24, heat_columns: 12, charts: 9, bars: 50, rows: 24 },
    Caps { headlines: 6, networks: 0, blocked_rows: 18, repeat_witness: false, signs: 6, names: 30, countries: 2, heat_rows: 24, heat_columns: 12, charts: 6, bars: 40, rows: 20 },
    Caps { headlines: 5, networks: 0, blocked_rows: 12, repeat_witness: false, signs: 5, names: 20, countries: 1, heat_rows: 20, heat_columns: 10, charts: 4, bars: 40, rows: 12 },
    Caps { headlines: 4, networks: 0, blocked_rows: 6, repeat_witness: false, signs: 4, names: 10, countries: 1, heat_rows: 8, heat_columns: 6, charts: 2, bars: 30, rows: 6 },
];

/// The report as one HTML file of less than [`MAX_BYTES`], showing `lang` first.
pub fn render(facts: &ReportFacts, lang: Lang) -> String {
    let [fullest, leaner @ ..] = LEVELS;
    let mut page = html::page(facts, lang, fullest);
    for caps in leaner {
        if page.len() < MAX_BYTES {
            break;
        }
        page = html::page(facts, lang, caps);
    }
    page
}
