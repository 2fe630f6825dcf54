//! What is known from outside: who announces an address, which page is a blockpage.

use crate::{Asn, Country, Text};

/// Who announces an address, as of a date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInfo<'a> {
    /// AS number
    pub asn: Asn,
    /// organisation
    pub org: Option<Text<'a>>,
    /// country of registration
    pub country: Option<Country>,
}

/// Whose page a fingerprint is (OONI blocking-fingerprints, README).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FingerprintScope {
    /// national
    Nat,
    /// one provider
    Isp,
    /// a filtering product
    Prod,
    /// an institution: a school, a company
    Inst,
    /// very broad: no country or provider known
    #[default]
    Vbw,
    /// evidence of a false positive: a captcha, a server's own page
    Fp,
    /// server-side: the site itself refuses (geo-blocking)
    Svr,
}

impl FingerprintScope {
    /// Reads OONI's word; an unknown one is `vbw`, the weakest.
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "nat" => Self::Nat,
            "isp" => Self::Isp,
            "prod" => Self::Prod,
            "inst" => Self::Inst,
            "fp" => Self::Fp,
            "serv" | "svr" | "srv" => Self::Svr,
            _ => Self::Vbw,
        }
    }

    /// OONI's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Isp => "isp",
            Self::Prod => "prod",
            Self::Inst => "inst",
            Self::Vbw => "vbw",
            Self::Fp => "fp",
            Self::Svr => "serv",
        }
    }
}

/// What a rule may know of a fingerprint that matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FingerprintInfo {
    /// its name
    pub id: String,
    /// whose page it is
    pub scope: FingerprintScope,
    /// countries where it is expected; empty when any
    pub countries: Vec<Country>,
}

impl FingerprintInfo {
    /// Whether a match in this country is evidence of blocking, as OONI documents it: expected there,
    /// or bound to no country.
    pub fn is_expected_in(&self, country: Country) -> bool {
        self.countries.is_empty() || self.countries.contains(&country)
    }
}

/// Which reference data stood behind a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceStamp {
    /// `name@version` of each table, sorted, joined with a blank; `none` without any
    pub text: String,
}
