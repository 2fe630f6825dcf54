//! The end-entity certificate of a chain: who it is for, who signed it, from when to when.
//!
//! OONI writes `peer_certificates` leaf first, each as base64 DER (df-006; trap 19).

use okno_model::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use super::raw::Chain;

/// Longest name that is kept.
const NAME: usize = 200;

/// Reads a leaf certificate; `None` when it is none.
pub fn leaf(der: &[u8], sha256: String) -> Option<Chain> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(extension)) = cert.subject_alternative_name() {
        for name in extension.value.general_names.iter().take(2_000) {
            if let GeneralName::DNSName(dns) = name {
                names.push(dns.to_ascii_lowercase());
            }
        }
    }
    let subject = common_name(cert.subject());
    if names.is_empty() {
        names.extend(subject.as_deref().map(str::to_ascii_lowercase));
    }
    let seconds = |t: i64| Timestamp::from_seconds(t as f64);
    Some(Chain {
        length: 1,
        sha256: Some(sha256),
        subject,
        issuer: common_name(cert.issuer()).or_else(|| organization(cert.issuer())),
        names,
        not_before: seconds(cert.validity().not_before.timestamp()),
        not_after: seconds(cert.validity().not_after.timestamp()),
    })
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().find_map(|attribute| short(attribute.as_str().ok()?))
}

fn organization(name: &X509Name<'_>) -> Option<String> {
    name.iter_organization().find_map(|attribute| short(attribute.as_str().ok()?))
}

fn short(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(NAME).collect();
    (!text.is_empty()).then_some(text)
}

/// Whether a certificate for `names` covers `host` (RFC 9525 §6.3: one label for a leading `*`).
pub fn covers(names: &[String], host: &str) -> bool {
    names.iter().any(|name| {
        name == host
            || name.strip_prefix("*.").is_some_and(|suffix| {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let names = ["example.org".to_owned(), "*.example.net".to_owned()];
        assert!(covers(&names, "example.org") && covers(&names, "a.example.net"));
        assert!(
            !covers(&names, "a.b.example.net")
                && !covers(&names, "example.net")
                && !covers(&names, "www.example.org")
        );
    }

    #[test]
    fn bytes_that_are_no_certificate_are_none() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0x30; 400]] {
            assert_eq!(leaf(bytes, String::new()), None);
        }
    }
}
