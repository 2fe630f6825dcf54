//! Tor as seen on the wire: its link protocol's TLS, and what obfs4 is not.
//!
//! A Tor client names a random host in its hello and a relay shows a certificate of random names (tor's
//! `crypto_random_hostname(8, 20, "www.", ".com")` in `tortls.c`, `".net"` for the subject; tor-spec §2.1).
//! From TLS 1.3 on the certificate is encrypted and the name is all there is: then it is a heuristic.
//! obfs4 and Snowflake have no message of their own: obfs4 is uniformly random
//! (https://github.com/Yawning/obfs4/blob/master/doc/obfs4-spec.txt §4: 1948 … 8192 bytes of padded
//! handshake), Snowflake is DTLS of a library.

/// Letters and digits of base32 in lower case, which random host names of tor are made of.
const fn is_base32(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

/// The random label of a name such as `www.ct7ctrgb6cr7.com`; `None` when the name's form is another.
fn label<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let label = name.strip_prefix("www.")?.strip_suffix(end)?;
    // tor draws 4–25 characters of base32.
    ((4..=25).contains(&label.len()) && label.bytes().all(is_base32)).then_some(label)
}

/// Whether a label looks drawn at random rather than chosen by people: digits amid letters, or letters that
/// no language would put so. One random label in ten fails it, when it is short.
fn is_random(label: &str) -> bool {
    let bytes = label.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    // A digit between two letters; people put them at the end.
    let inner = bytes.windows(3).filter(|three| {
        three[1].is_ascii_digit() && three[0].is_ascii_lowercase() && three[2].is_ascii_lowercase()
    });
    let vowel = |byte: u8| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let (mut run, mut longest) = (0_usize, 0_usize);
    for &byte in bytes {
        run = if byte.is_ascii_lowercase() && !vowel(byte) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let score = inner.count() * 2 + usize::from(digits >= 2) + longest.saturating_sub(3);
    score >= 2
}

/// Whether a server name could be that of a Tor client's hello.
pub fn is_tor_name(name: &str) -> bool {
    label(name, ".com").is_some_and(is_random)
}

/// Whether a certificate's names are those of a Tor relay's link certificate: subject `www.….net`, issuer
/// `www.….com`, both of base32 (tor-spec §2.1: nothing but a common name).
pub fn is_tor_certificate(subject: &str, issuer: &str) -> bool {
    label(subject, ".net").is_some()
        && label(issuer, ".com").is_some()
        && !subject[4..].starts_with(&issuer[4..8])
}

/// Whether the sizes of the first flights fit obfs4: both sides' handshakes padded to 141–8192 (client) and
/// 96–8192 bytes (server, obfs4-spec §4), and neither side's first bytes exempt as in [`crate::proxies`].
/// A heuristic: any fully encrypted protocol with large first flights fits.
pub fn obfs4_fits(client: &[u8], server: &[u8]) -> bool {
    let random =
        |bytes: &[u8]| crate::proxies::exemption(bytes).is_none() && crate::proxies::is_uniform(bytes);
    (141..=8192).contains(&client.len())
        && (96..=8192).contains(&server.len())
        && random(client)
        && random(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_are_told_from_those_of_people() {
        for name in
            ["www.ct7ctrgb6cr7.com", "www.q4cyamnc6mtokjurvdclt.com", "www.t3i3ru.com", "www.jmts2id.com"]
        {
            assert!(is_tor_name(name), "{name}");
        }
        for name in [
            "www.facebook.com",
            "www.google.com",
            "www.youtube.com",
            "www.microsoft.com",
            "www.web2.com",
            "www.office365.com",
            "www.base32.com",
            "www.torproject.org",
            "ct7ctrgb6cr7.com",
            "www.a-b2c3d4.com",
            "www.wikipedia.com",
            "www.linkedin.com",
            "www.flickr.com",
            "www.tumblr.com",
        ] {
            assert!(!is_tor_name(name), "{name}");
        }
    }

    #[test]
    fn a_relays_certificate_has_random_names_of_net_and_com() {
        assert!(is_tor_certificate("www.g6ghvisevf3ibuu5.net", "www.xkgk7fdx362yyyxib.com"));
        assert!(!is_tor_certificate("www.example.net", "Example CA"));
        assert!(!is_tor_certificate("www.g6ghvisevf3ibuu5.com", "www.xkgk7fdx362yyyxib.com"));
    }
}
