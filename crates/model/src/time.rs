//! UTC timestamps in microseconds. Nothing here reads a clock.

use jiff::civil;

/// Microseconds since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

impl Timestamp {
    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From a UTC date and time of day; `None` when there is no such date.
    pub fn from_civil(year: i16, month: i8, day: i8, hour: i8, minute: i8, second: i8) -> Option<Self> {
        let date = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Self(zoned.timestamp().as_microsecond()))
    }

    /// Reads `YYYY-MM-DD HH:MM:SS[.ffffff]`, with `T` for the blank and an optional `Z`, and the bare
    /// date. OONI writes the first form, in UTC (df-000 `measurement_start_time`).
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let (year, month, day) = (number(&bytes[0..4])?, number(&bytes[5..7])?, number(&bytes[8..10])?);
        let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
        if bytes.len() > 10 {
            if bytes.len() < 19 || !matches!(bytes[10], b' ' | b'T') || bytes[13] != b':' || bytes[16] != b':'
            {
                return None;
            }
            hour = number(&bytes[11..13])?;
            minute = number(&bytes[14..16])?;
            second = number(&bytes[17..19])?;
            let rest = bytes[19..].strip_suffix(b"Z").unwrap_or(&bytes[19..]);
            if let Some(fraction) = rest.strip_prefix(b".") {
                let digits = &fraction[..fraction.len().min(6)];
                micros = number(digits)? * 10_i64.pow(6 - u32::try_from(digits.len()).ok()?);
            } else if !rest.is_empty() {
                return None;
            }
        }
        let narrow = |v: i64| i8::try_from(v).ok();
        let whole = Self::from_civil(
            i16::try_from(year).ok()?,
            narrow(month)?,
            narrow(day)?,
            narrow(hour)?,
            narrow(minute)?,
            narrow(second.min(59))?,
        )?;
        Some(Self(whole.0 + micros))
    }

    /// From seconds since the epoch, as legacy reports write times; `None` when out of range.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        // Year 1 to 9999, so that every timestamp of a lake can be printed.
        ((-6.2e10..2.5e11).contains(&seconds)).then_some(Self((seconds * 1e6) as i64))
    }

    /// Start of the UTC hour.
    pub const fn hour(self) -> Self {
        Self(self.0.div_euclid(HOUR_US) * HOUR_US)
    }

    /// Hours since the epoch.
    pub const fn hour_index(self) -> i64 {
        self.0.div_euclid(HOUR_US)
    }

    /// From hours since the epoch.
    pub const fn from_hour_index(hours: i64) -> Self {
        Self(hours * HOUR_US)
    }

    /// Days since the epoch.
    pub const fn day_index(self) -> i64 {
        self.0.div_euclid(DAY_US)
    }

    /// `YYYY-MM`, the lake's partition key; years outside 1–9999 become `unknown`.
    pub fn month(self) -> String {
        self.civil().map_or_else(|| "unknown".into(), |c| format!("{:04}-{:02}", c.year(), c.month()))
    }

    /// `YYYY-MM-DD`.
    pub fn date(self) -> String {
        self.civil().map_or_else(|| "unknown".into(), |c| c.date().to_string())
    }

    fn civil(self) -> Option<civil::DateTime> {
        let timestamp = jiff::Timestamp::from_microsecond(self.0).ok()?;
        Some(timestamp.to_zoned(jiff::tz::TimeZone::UTC).datetime())
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits
        .iter()
        .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.civil() {
            Some(c) => write!(
                f,
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                c.year(),
                c.month(),
                c.day(),
                c.hour(),
                c.minute(),
                c.second()
            ),
            None => write!(f, "unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ooni_and_iso_times_are_read_and_printed() {
        let t = Timestamp::parse("2020-09-21 00:13:17").unwrap();
        assert_eq!(t.micros(), 1_600_647_197_000_000);
        assert_eq!(t.to_string(), "2020-09-21 00:13:17");
        assert_eq!(t.month(), "2020-09");
        assert_eq!(t.hour().to_string(), "2020-09-21 00:00:00");
        assert_eq!(Timestamp::parse("2020-09-21T00:13:17Z"), Some(t));
        assert_eq!(Timestamp::parse("2020-09-21 00:13:17.25").unwrap().micros(), t.micros() + 250_000);
        assert_eq!(Timestamp::parse("2020-09-21").unwrap().date(), "2020-09-21");
        for bad in
            ["", "2020-13-01 00:00:00", "2020-02-30", "yesterday", "2020-09-21 00:13", "2020/09/21 00:13:17"]
        {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn legacy_epoch_seconds_are_read_within_range() {
        assert_eq!(Timestamp::from_seconds(1_407_420_650.56).unwrap().date(), "2014-08-07");
        assert_eq!(Timestamp::from_seconds(1e300), None);
        assert_eq!(Timestamp::from_seconds(f64::NAN), None);
    }
}
