//! Names by the system's resolver.
//!
//! getaddrinfo's codes reach us as glibc's or musl's texts alone, in English, since nothing here calls
//! `setlocale`. OONI maps the codes (netxlite, getaddrinfo): so do we.

use core::net::IpAddr;
use std::io;

use okno_model::Failure;
use okno_probe::net::Endpoint;

/// Texts of `gai_strerror` in glibc and musl, macOS and Windows.
const TEXTS: &[(&str, Failure)] = &[
    ("name or service not known", Failure::DnsNxDomain), // EAI_NONAME, glibc
    ("name does not resolve", Failure::DnsNxDomain),     // EAI_NONAME, musl
    ("nodename nor servname provided", Failure::DnsNxDomain), // EAI_NONAME, macOS
    ("no such host is known", Failure::DnsNxDomain),     // WSAHOST_NOT_FOUND
    ("temporary failure in name resolution", Failure::DnsTemporary), // EAI_AGAIN, glibc
    ("try again", Failure::DnsTemporary),                // EAI_AGAIN, musl
    ("non-recoverable", Failure::DnsNonRecoverable),     // EAI_FAIL
    ("no address associated with hostname", Failure::DnsNoAnswer), // EAI_NODATA, glibc
    ("name has no usable address", Failure::DnsNoAnswer), // EAI_NODATA, musl
];

/// OONI's failure for an error of getaddrinfo (df-007-errors).
pub fn failure_of_lookup(error: &io::Error) -> Failure {
    let text = error.to_string().to_lowercase();
    if let Some((_, failure)) = TEXTS.iter().find(|(part, _)| text.contains(part)) {
        return *failure;
    }
    match error.kind() {
        io::ErrorKind::TimedOut => Failure::GenericTimeout,
        io::ErrorKind::InvalidInput => Failure::DnsNxDomain, // no name that a resolver could be asked for
        _ => Failure::Unknown,
    }
}

/// Asks.
pub(crate) async fn lookup(name: String) -> Result<Vec<IpAddr>, Failure> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for found in found.map_err(|error| failure_of_lookup(&error))? {
        if !addresses.contains(&found.ip()) {
            addresses.push(found.ip());
        }
    }
    if addresses.is_empty() { Err(Failure::DnsNoAnswer) } else { Ok(addresses) }
}

/// The first `nameserver` of a resolv.conf(5).
pub(crate) fn nameserver(text: &str) -> Option<Endpoint> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let ip = words.next()?.split('%').next()?.parse().ok()?;
        Some(Endpoint { ip, port: 53 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_getaddrinfo_has_ooni_s_failure() {
        let of = |text: &str| failure_of_lookup(&io::Error::other(text));
        let glibc = "failed to lookup address information: ";
        assert_eq!(of(&format!("{glibc}Name or service not known")), Failure::DnsNxDomain);
        assert_eq!(of(&format!("{glibc}Temporary failure in name resolution")), Failure::DnsTemporary);
        assert_eq!(
            of(&format!("{glibc}Non-recoverable failure in name resolution")),
            Failure::DnsNonRecoverable
        );
        assert_eq!(of(&format!("{glibc}No address associated with hostname")), Failure::DnsNoAnswer);
        assert_eq!(of("something else"), Failure::Unknown);
    }

    #[test]
    fn the_first_nameserver_counts() {
        let text = "# made by hand\nsearch example\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\n";
        assert_eq!(nameserver(text).map(|end| end.to_string()), Some("[fe80::1]:53".to_string()));
        assert_eq!(nameserver("options edns0"), None);
    }
}
