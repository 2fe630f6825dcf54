//! As much of a certificate as tells a substituted one: names, organisation, alternative names, validity.
//!
//! A walker over DER (X.690) of our own instead of a parser of certificates: it reads what a box or a
//! detector looks at, out of hostile bytes, and skips the rest by length. Nothing is verified here.

#[cfg(test)]
mod tests;

use core::net::IpAddr;

use crate::cursor::Cursor;
use crate::malformed::Malformed;

/// One DER element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element<'a> {
    tag: u8,
    body: &'a [u8],
}

/// Tags (X.690 §8, RFC 5280 §4.1).
mod tag {
    pub(super) const OID: u8 = 0x06;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const EXTENSIONS: u8 = 0xa3;
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const IP_ADDRESS: u8 = 0x87;
    pub(super) const OCTET_STRING: u8 = 0x04;
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const COUNTRY: &[u8] = &[0x55, 4, 6];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 17];

fn element<'a>(cursor: &mut Cursor<'a>) -> Result<Element<'a>, Malformed> {
    let tag = cursor.u8("DER tag")?;
    let at = cursor.offset();
    let len = match cursor.u8("DER length")? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => cursor.number(usize::from(long & 0x7f), "DER length")? as usize,
        other => return Err(Malformed::value("x509", at, "definite DER length", u64::from(other))),
    };
    Ok(Element { tag, body: cursor.take(len, "DER body")? })
}

fn expect<'a>(cursor: &mut Cursor<'a>, tag: u8, expected: &'static str) -> Result<&'a [u8], Malformed> {
    let at = cursor.offset();
    let element = element(cursor)?;
    if element.tag == tag {
        Ok(element.body)
    } else {
        Err(Malformed::value("x509", at, expected, u64::from(element.tag)))
    }
}

fn elements(body: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut cursor = Cursor::new("x509", body);
    core::iter::from_fn(move || if cursor.left() == 0 { None } else { element(&mut cursor).ok() })
}

/// A distinguished name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistinguishedName<'a> {
    body: &'a [u8],
}

impl<'a> DistinguishedName<'a> {
    fn attribute(&self, oid: &[u8]) -> Option<&'a str> {
        elements(self.body).flat_map(|set| elements(set.body)).find_map(|pair| {
            let mut parts = elements(pair.body);
            let kind = parts.next().filter(|kind| kind.tag == tag::OID && kind.body == oid);
            kind.and_then(|_| core::str::from_utf8(parts.next()?.body).ok())
        })
    }

    /// Common name.
    pub fn common_name(&self) -> Option<&'a str> {
        self.attribute(COMMON_NAME)
    }

    /// Organisation.
    pub fn organisation(&self) -> Option<&'a str> {
        self.attribute(ORGANISATION)
    }

    /// Country.
    pub fn country(&self) -> Option<&'a str> {
        self.attribute(COUNTRY)
    }

    /// The DER within its sequence, to compare names by.
    pub const fn raw(&self) -> &'a [u8] {
        self.body
    }
}

/// A certificate (RFC 5280 §4.1).
#[derive(Clone, Copy, Debug)]
pub struct CertificateView<'a> {
    /// serial number, big-endian
    pub serial: &'a [u8],
    /// issuer
    pub issuer: DistinguishedName<'a>,
    /// subject
    pub subject: DistinguishedName<'a>,
    /// start and end of validity, seconds since 1970 (UTC); `None` for a date that does not parse
    pub validity: [Option<i64>; 2],
    extensions: &'a [u8],
}

impl<'a> CertificateView<'a> {
    /// Reads one certificate in DER.
    pub fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let outer = expect(&mut Cursor::new("x509", der), tag::SEQUENCE, "certificate")?;
        let body = expect(&mut Cursor::new("x509", outer), tag::SEQUENCE, "certificate to be signed")?;
        let mut cursor = Cursor::at_base("x509", body, der.len() - outer.len());
        let mut first = element(&mut cursor)?;
        if first.tag == tag::VERSION {
            first = element(&mut cursor)?;
        }
        expect(&mut cursor, tag::SEQUENCE, "signature algorithm")?;
        let issuer = DistinguishedName { body: expect(&mut cursor, tag::SEQUENCE, "issuer")? };
        let validity = expect(&mut cursor, tag::SEQUENCE, "validity")?;
        let subject = DistinguishedName { body: expect(&mut cursor, tag::SEQUENCE, "subject")? };
        let mut dates = elements(validity).map(|date| seconds(date.tag, date.body));
        let extensions = elements(cursor.rest()).find(|element| element.tag == tag::EXTENSIONS);
        Ok(Self {
            serial: first.body,
            issuer,
            subject,
            validity: [dates.next().flatten(), dates.next().flatten()],
            extensions: extensions.map_or(&[], |element| element.body),
        })
    }

    /// Subject and issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    fn alternative_names(&self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let list = elements(self.extensions).next().map_or(&[][..], |list| list.body);
        let names = elements(list).find_map(|extension| {
            let mut parts = elements(extension.body);
            let kind = parts.next().filter(|kind| kind.tag == tag::OID && kind.body == ALTERNATIVE_NAMES);
            kind.and_then(|_| parts.find(|part| part.tag == tag::OCTET_STRING))
        });
        let sequence = elements(names.map_or(&[], |names| names.body)).next();
        elements(sequence.map_or(&[], |sequence| sequence.body))
    }

    /// DNS names among the subject's alternative names.
    pub fn dns_names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let names = self.alternative_names().filter(|name| name.tag == tag::DNS_NAME);
        names.filter_map(|name| core::str::from_utf8(name.body).ok())
    }

    /// Addresses among the subject's alternative names.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        self.alternative_names().filter(|name| name.tag == tag::IP_ADDRESS).filter_map(|name| {
            let four = <[u8; 4]>::try_from(name.body).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(name.body).map(IpAddr::from)).ok()
        })
    }

    /// Whether the certificate names `host`, by its alternative names or, without any, its common name; a
    /// first label `*` stands for one label (RFC 9525 §6.3).
    pub fn names(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let fits = |name: &str| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        };
        let mut names = self.dns_names().peekable();
        if names.peek().is_some() { names.any(fits) } else { self.subject.common_name().is_some_and(fits) }
    }
}

/// UTCTime or GeneralizedTime in the form of RFC 5280 §4.1.2.5, to seconds since 1970.
fn seconds(kind: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        Some(digits.get(from..to)?.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, rest) = match (kind, digits.len()) {
        (tag::UTC_TIME, 12) => {
            let short = number(0, 2)?;
            (if short < 50 { 2000 + short } else { 1900 + short }, 2)
        }
        (tag::GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |index: usize| number(rest + 2 * index, rest + 2 * index + 2);
    let (month, day) = (part(0)?, part(1)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    // Days by the civil calendar with years that begin in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 719_469;
    valid.then_some(((days * 24 + part(2)?) * 60 + part(3)?) * 60 + part(4)?)
}
