//! A certificate built here byte by byte, read back, cut and broken.

use super::*;

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![tag];
    match body.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => out.extend([&[0x82][..], &(long as u16).to_be_bytes()].concat()),
    }
    out.extend(body);
    out
}

fn name(common: &str, organisation: &str) -> Vec<u8> {
    let part = |oid: &[u8], text: &str| {
        der(0x31, &[&der(0x30, &[&der(tag::OID, &[oid]), &der(0x0c, &[text.as_bytes()])])])
    };
    der(0x30, &[&part(ORGANISATION, organisation), &part(COMMON_NAME, common)])
}

fn certificate() -> Vec<u8> {
    let names = der(
        0x30,
        &[
            &der(tag::DNS_NAME, &[b"*.example.org"]),
            &der(tag::DNS_NAME, &[b"example.org"]),
            &der(tag::IP_ADDRESS, &[&[192, 0, 2, 1]]),
        ],
    );
    let extension = der(0x30, &[&der(tag::OID, &[ALTERNATIVE_NAMES]), &der(tag::OCTET_STRING, &[&names])]);
    let validity = der(
        0x30,
        &[&der(tag::UTC_TIME, &[b"240301000000Z"]), &der(tag::GENERALIZED_TIME, &[b"20500101000001Z"])],
    );
    let filler = der(tag::OCTET_STRING, &[&[0; 200]]);
    let body = der(
        0x30,
        &[
            &der(tag::VERSION, &[&der(2, &[&[2]])]),
            &der(2, &[&[1, 2, 3]]),
            &der(0x30, &[]),
            &name("Test Authority", "Ministry"),
            &validity,
            &name("example.org", "Example"),
            &der(0x30, &[&filler]),
            &der(tag::EXTENSIONS, &[&der(0x30, &[&extension])]),
        ],
    );
    der(0x30, &[&body, &der(0x30, &[]), &der(3, &[&[0; 64]])])
}

#[test]
fn names_dates_and_alternative_names_are_read() {
    let bytes = certificate();
    let view = CertificateView::parse(&bytes).expect("a certificate");
    assert_eq!(view.serial, [1, 2, 3]);
    assert_eq!(view.issuer.common_name(), Some("Test Authority"));
    assert_eq!(view.issuer.organisation(), Some("Ministry"));
    assert_eq!((view.subject.common_name(), view.subject.country()), (Some("example.org"), None));
    // date -u -d 2024-03-01 +%s; date -u -d '2050-01-01 00:00:01' +%s
    assert_eq!(view.validity, [Some(1_709_251_200), Some(2_524_608_001)]);
    assert_eq!(view.dns_names().collect::<Vec<_>>(), ["*.example.org", "example.org"]);
    assert_eq!(view.addresses().collect::<Vec<_>>(), [core::net::IpAddr::from([192, 0, 2, 1])]);
    assert!(view.names("WWW.example.org.") && view.names("example.org") && !view.is_self_issued());
    assert!(!view.names("a.b.example.org") && !view.names("example.net"));
}

#[test]
fn every_prefix_says_where_it_breaks() {
    let bytes = certificate();
    for len in 0..bytes.len() {
        assert!(CertificateView::parse(&bytes[..len]).is_err_and(|malformed| malformed.offset <= len));
    }
}
