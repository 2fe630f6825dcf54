//! Country codes: two letters, `ZZ` when unknown (OONI df-000).

/// An ISO 3166-1 alpha-2 code in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// OONI's mark for an unknown country.
    pub const UNKNOWN: Self = Self(*b"ZZ");

    /// Reads two ASCII letters, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters by construction")
    }

    /// Whether the country is known.
    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }
}

impl Default for Country {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_two_letters_in_upper_case() {
        assert_eq!(Country::parse("ru").map(|c| c.to_string()).as_deref(), Some("RU"));
        assert_eq!(Country::parse("R1"), None);
        assert_eq!(Country::parse("RUS"), None);
        assert!(!Country::default().is_known());
    }
}
