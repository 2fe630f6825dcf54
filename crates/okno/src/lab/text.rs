//! Words for people: times, sizes, and names from captures, which are not to be trusted.

use okno_model::Timestamp;
use okno_wire::Instant;

/// Longest name that is printed.
const LONGEST: usize = 120;

/// Text from a capture, fit for a terminal: no control characters, not too long.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// A moment in UTC, to the microsecond.
pub fn time(at: Instant) -> Timestamp {
    Timestamp::from_micros(i64::try_from(at.micros()).unwrap_or(i64::MAX))
}

/// A number of bytes, as one says it.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{} GB", count / 1_000_000_000),
    }
}

/// `1 flow`, `2 flows`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_captures_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(plain("evil\u{202e}gro.elpmaxe"), "evil\\u{202e}gro.elpmaxe");
        assert_eq!(plain(&"x".repeat(500)).chars().count(), LONGEST + 1);
        assert_eq!(plain("пример.рф a…@b"), "пример.рф a…@b");
    }
}
