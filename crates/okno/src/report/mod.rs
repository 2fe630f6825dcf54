//! The report of `okno observe`: one HTML file that says what was found, how surely, and what cannot be told.
//!
//! ```text
//!   lake ──SQL──► CellFacts, Witness ──findings::assemble──► ReportFacts ──render──► one HTML file
//!                                                                 └────────serde───► --json
//! ```
//!
//! The page asks for nothing from outside: no script, no font, no image, and a content policy that forbids
//! them. Both languages are in the file; a pair of radio buttons chooses, so the switch needs no script either.
//! [`render`] is pure: same facts, same bytes.

mod chart;
mod countries;
pub mod facts;
pub mod findings;
mod format;
mod found;
mod heat;
mod html;
mod mechanisms;
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
    headlines: usize,
    blocked_rows: usize,
    signs: usize,
    names: usize,
    countries: usize,
    heat_rows: usize,
    heat_columns: usize,
    charts: usize,
    bars: i64,
    rows: usize,
}

impl Caps {
    /// From generous to meagre; [`render`] takes the first that fits.
    fn level(level: u32) -> Self {
        let scale = |most: usize, least: usize| (most * 3usize.pow(level) / 4usize.pow(level)).max(least);
        Self {
            headlines: scale(16, 4),
            blocked_rows: scale(80, 5),
            signs: scale(24, 4),
            names: scale(120, 10),
            countries: scale(6, 1),
            heat_rows: scale(60, 6),
            heat_columns: scale(20, 4),
            charts: scale(18, 2),
            bars: scale(100, 30) as i64,
            rows: scale(40, 8),
        }
    }
}

/// The report as one HTML file of less than [`MAX_BYTES`], showing `lang` first.
pub fn render(facts: &ReportFacts, lang: Lang) -> String {
    // Level 24 leaves every list at its least; a page of that size is far below the limit.
    (0..24)
        .map(|level| html::page(facts, lang, Caps::level(level)))
        .find(|page| page.len() < MAX_BYTES)
        .unwrap_or_else(|| html::page(facts, lang, Caps::level(24)))
}
