//! The partition key of the lake: the month of a measurement's start, in UTC.
//!
//! Probes' clocks may show any year. Only months in which OONI existed, and some to come, get a folder
//! of their own; all others share `unknown`, so that a wrong clock cannot make thousands of folders.

use std::sync::LazyLock;

use okno_model::Timestamp;

/// First year with folders of its own: OONI's archive begins in 2012.
const FIRST_YEAR: i16 = 2012;
/// Years with folders of their own.
const YEARS: i16 = 26;
/// Months with folders of their own.
const MONTHS: u16 = 12 * YEARS as u16;

/// A partition of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u16);

/// Microseconds at which each month begins, and at which the last one ends.
static STARTS: LazyLock<Vec<i64>> = LazyLock::new(|| {
    (0..=MONTHS)
        .map(|index| {
            let (year, month) = (FIRST_YEAR + (index / 12) as i16, (index % 12) as i8 + 1);
            Timestamp::from_civil(year, month, 1, 0, 0, 0).expect("these years exist").micros()
        })
        .collect()
});

impl Month {
    /// Measurements whose clock showed a year outside 2012 to 2037.
    pub const UNKNOWN: Self = Self(MONTHS);

    /// The month of a moment.
    pub fn of(time: Timestamp) -> Self {
        let index = STARTS.partition_point(|start| *start <= time.micros());
        if index == 0 || index > usize::from(MONTHS) { Self::UNKNOWN } else { Self(index as u16 - 1) }
    }

    /// Reads `2025-07` or `unknown`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "unknown" {
            return Some(Self::UNKNOWN);
        }
        let (year, month) = text.split_once('-')?;
        let (year, month) = (year.parse::<u16>().ok()?, month.parse::<u16>().ok()?);
        let index =
            year.checked_sub(FIRST_YEAR as u16)?.checked_mul(12)?.checked_add(month.checked_sub(1)?)?;
        (month <= 12 && index < MONTHS).then_some(Self(index))
    }

    /// The month before; `None` for the first one and for `unknown`.
    pub fn previous(self) -> Option<Self> {
        (self != Self::UNKNOWN && self.0 > 0).then(|| Self(self.0 - 1))
    }

    /// The month after; `None` for the last one and for `unknown`.
    pub fn next(self) -> Option<Self> {
        (self.0 + 1 < MONTHS).then(|| Self(self.0 + 1))
    }

    /// Start of the month and start of the next; `None` for `unknown`.
    pub fn bounds(self) -> Option<(Timestamp, Timestamp)> {
        let index = usize::from(self.0);
        let (start, end) = (STARTS.get(index)?, STARTS.get(index + 1)?);
        Some((Timestamp::from_micros(*start), Timestamp::from_micros(*end)))
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::UNKNOWN {
            return f.write_str("unknown");
        }
        write!(f, "{:04}-{:02}", FIRST_YEAR as u16 + self.0 / 12, self.0 % 12 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_agree_with_the_calendar_and_wrong_clocks_share_one_folder() {
        for text in ["2012-01", "2016-02", "2025-07", "2025-12", "2037-12"] {
            let month = Month::parse(text).unwrap();
            assert_eq!(month.to_string(), text);
            let (start, end) = month.bounds().unwrap();
            assert_eq!(Month::of(start), month);
            assert_eq!(start.month(), text);
            assert_eq!(Month::of(Timestamp::from_micros(end.micros() - 1)), month);
            assert_ne!(Month::of(end), month);
        }
        for wrong in ["1970-01-01", "2011-12-31", "2038-01-01", "2099-01-01"] {
            assert_eq!(Month::of(Timestamp::parse(wrong).unwrap()), Month::UNKNOWN, "{wrong}");
        }
        assert_eq!(Month::UNKNOWN.to_string(), "unknown");
        assert_eq!(Month::parse("2025-13"), None);
        assert_eq!(Month::parse("2025-07").unwrap().next(), Month::parse("2025-08"));
        assert_eq!(Month::parse("2025-01").unwrap().previous(), Month::parse("2024-12"));
        assert_eq!(Month::parse("2037-12").unwrap().next(), None);
    }
}
