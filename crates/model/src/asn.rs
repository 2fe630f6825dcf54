//! Autonomous system numbers, as OONI writes them (`AS1234`) and as tables hold them (a number).

/// An AS number; 0 means unknown, as in OONI's data (`AS0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl Asn {
    /// OONI's mark for an unknown network (`AS0`, data format df-000).
    pub const UNKNOWN: Self = Self(0);

    /// Reads `AS123`, `as123` or `123`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = match text.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("as") => &text[2..],
            _ => text,
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Self)
    }

    /// Whether the network is known.
    pub fn is_known(self) -> bool {
        self.0 != 0
    }

    /// Whether the number is reserved for private use (RFC 6996) or documentation (RFC 5398).
    pub fn is_private(self) -> bool {
        matches!(self.0, 64496..=65551 | 4_200_000_000..=4_294_967_295)
    }
}

impl std::fmt::Display for Asn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_as_number_is_read() {
        assert_eq!(Asn::parse("AS30722"), Some(Asn(30722)));
        assert_eq!(Asn::parse("as137"), Some(Asn(137)));
        assert_eq!(Asn::parse("12389"), Some(Asn(12389)));
        assert_eq!(Asn::parse("AS"), None);
        assert_eq!(Asn::parse("AS-1"), None);
        assert_eq!(Asn::parse("AS99999999999"), None);
        assert_eq!(Asn(137).to_string(), "AS137");
        assert!(Asn(64512).is_private());
    }
}
