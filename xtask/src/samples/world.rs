//! What the samples are about: networks, sites and their addresses, and the civil time of a measurement.
//!
//! AS numbers are real and public. Addresses lie in the address space of the AS that is named beside them;
//! nobody measured them. Resolvers of the probes' networks are either `[scrubbed]` or in documentation
//! ranges (RFC 5737), so no subscriber's or provider's machine is named.

/// A network that probes measure from.
pub struct Network {
    /// AS number
    pub asn: u32,
    /// name as a probe reports it
    pub name: &'static str,
    /// ISO code
    pub country: &'static str,
    /// mobile access
    pub mobile: bool,
    /// resolver as a probe reports it
    pub resolver: &'static str,
    /// what it is
    pub note: &'static str,
}

const fn network(
    asn: u32,
    name: &'static str,
    country: &'static str,
    mobile: bool,
    resolver: &'static str,
    note: &'static str,
) -> Network {
    Network { asn, name, country, mobile, resolver, note }
}

/// Networks of the samples.
pub const NETWORKS: &[Network] = &[
    network(12389, "PJSC Rostelecom", "RU", false, "[scrubbed]", "largest fixed network"),
    network(8402, "PJSC Vimpelcom", "RU", false, "198.51.100.10", "Beeline, fixed"),
    network(8359, "MTS PJSC", "RU", true, "198.51.100.20", "MTS, mobile and fixed"),
    network(25513, "PJSC Moscow city telephone network", "RU", false, "198.51.100.30", "MGTS, fixed, Moscow"),
    network(31133, "PJSC MegaFon", "RU", true, "198.51.100.40", "MegaFon, mobile"),
    network(9049, "JSC ER-Telecom Holding", "RU", false, "198.51.100.50", "Dom.ru, fixed"),
    network(15378, "T2 Mobile LLC", "RU", true, "[scrubbed]", "T2 (Tele2), mobile"),
    network(42610, "PJSC Rostelecom", "RU", false, "198.51.100.60", "Rostelecom Moscow (NCNet), fixed"),
    network(9198, "JSC Kazakhtelecom", "KZ", false, "203.0.113.10", "Kazakhstan, fixed"),
    network(21299, "Kar-Tel LLC", "KZ", true, "203.0.113.20", "Beeline Kazakhstan, mobile"),
    network(3320, "Deutsche Telekom AG", "DE", false, "192.0.2.10", "Germany, fixed: open control"),
    network(3209, "Vodafone GmbH", "DE", false, "192.0.2.20", "Germany, fixed: open control"),
];

/// The network with this AS number; the plan names none that is not listed.
pub fn network_of(asn: u32) -> &'static Network {
    NETWORKS.iter().find(|network| network.asn == asn).expect("the plan names listed networks only")
}

/// An address with the network that announces it.
#[derive(Clone, Copy)]
pub struct Address {
    /// textual address
    pub ip: &'static str,
    /// AS number
    pub asn: u32,
    /// organisation
    pub org: &'static str,
}

const fn at(ip: &'static str, asn: u32, org: &'static str) -> Address {
    Address { ip, asn, org }
}

/// A site that is measured.
pub struct Site {
    /// key in the plan
    pub key: &'static str,
    /// input of the measurement
    pub url: &'static str,
    /// host name
    pub host: &'static str,
    /// title of its page (ours)
    pub title: &'static str,
    /// addresses
    pub addresses: &'static [Address],
    /// length of its page
    pub body_bytes: usize,
    /// `Server` header
    pub server: &'static str,
}

const fn site(
    key: &'static str,
    url: &'static str,
    host: &'static str,
    title: &'static str,
    addresses: &'static [Address],
    body_bytes: usize,
    server: &'static str,
) -> Site {
    Site { key, url, host, title, addresses, body_bytes, server }
}

const CLOUDFLARE: &str = "Cloudflare, Inc.";
const FASTLY: &str = "Fastly, Inc.";

/// Sites of the samples.
pub const SITES: &[Site] = &[
    site(
        "example",
        "http://example.org/",
        "example.org",
        "Example page",
        &[at("93.184.215.14", 15133, "Edgecast Inc.")],
        640,
        "ECAcc",
    ),
    site(
        "ya",
        "https://ya.ru/",
        "ya.ru",
        "Search page",
        &[at("77.88.44.242", 13238, "YANDEX LLC")],
        720,
        "nginx",
    ),
    site(
        "wikipedia",
        "https://ru.wikipedia.org/",
        "ru.wikipedia.org",
        "Encyclopedia",
        &[at("185.15.59.224", 14907, "Wikimedia Foundation Inc.")],
        810,
        "mw-web",
    ),
    site(
        "gosuslugi",
        "https://www.gosuslugi.ru/",
        "www.gosuslugi.ru",
        "Services portal",
        &[at("109.207.1.97", 196747, "Rostelecom")],
        560,
        "nginx",
    ),
    site(
        "bbc",
        "https://www.bbc.com/",
        "www.bbc.com",
        "News page",
        &[at("151.101.0.81", 54113, FASTLY)],
        900,
        "Varnish",
    ),
    site(
        "meduza",
        "https://meduza.io/",
        "meduza.io",
        "News page in Russian",
        &[at("104.22.30.100", 13335, CLOUDFLARE)],
        870,
        "cloudflare",
    ),
    site(
        "twitter",
        "https://twitter.com/",
        "twitter.com",
        "Social network",
        &[at("104.244.42.1", 13414, "Twitter Inc.")],
        690,
        "tsa_f",
    ),
    site(
        "facebook",
        "https://www.facebook.com/",
        "www.facebook.com",
        "Social network",
        &[at("157.240.205.35", 32934, "Facebook, Inc.")],
        750,
        "proxygen",
    ),
    site(
        "youtube",
        "https://www.youtube.com/",
        "www.youtube.com",
        "Video site",
        &[at("142.250.74.46", 15169, "Google LLC")],
        1_180,
        "ESF",
    ),
    site(
        "freeze",
        "https://www.cloudflare.com/",
        "www.cloudflare.com",
        "Hosting company",
        &[at("104.16.123.96", 13335, CLOUDFLARE)],
        1_020,
        "cloudflare",
    ),
    site(
        "rutracker",
        "http://rutracker.org/",
        "rutracker.org",
        "Forum",
        &[at("104.21.32.39", 13335, CLOUDFLARE)],
        780,
        "cloudflare",
    ),
    site(
        "grani",
        "http://graniru.org/",
        "graniru.org",
        "News archive",
        &[at("172.67.178.12", 13335, CLOUDFLARE)],
        660,
        "cloudflare",
    ),
    site(
        "dw",
        "https://www.dw.com/",
        "www.dw.com",
        "Broadcaster",
        &[at("23.206.229.137", 20940, "Akamai International B.V.")],
        840,
        "AkamaiGHost",
    ),
    site(
        "signal",
        "https://signal.org/",
        "signal.org",
        "Messenger's site",
        &[at("13.224.189.51", 16509, "Amazon.com, Inc.")],
        590,
        "AmazonS3",
    ),
    site(
        "linkedin",
        "https://www.linkedin.com/",
        "www.linkedin.com",
        "Professional network",
        &[at("13.107.42.14", 8068, "Microsoft Corporation")],
        770,
        "Play",
    ),
    site(
        "down",
        "https://www.example.net/",
        "www.example.net",
        "Example page",
        &[at("93.184.215.15", 15133, "Edgecast Inc.")],
        640,
        "ECAcc",
    ),
    site(
        "expired",
        "https://expired.badssl.com/",
        "expired.badssl.com",
        "expired",
        &[at("104.154.89.105", 396982, "Google LLC")],
        510,
        "nginx",
    ),
    site(
        "geo",
        "https://www.hulu.com/",
        "www.hulu.com",
        "Video service",
        &[at("23.59.247.10", 20940, "Akamai International B.V.")],
        910,
        "AkamaiGHost",
    ),
    site(
        "cdn",
        "https://cdn.jsdelivr.net/",
        "cdn.jsdelivr.net",
        "Library CDN",
        &[at("151.101.1.229", 54113, FASTLY), at("151.101.65.229", 54113, FASTLY)],
        620,
        "Varnish",
    ),
    site(
        "captcha",
        "http://www.udemy.com/",
        "www.udemy.com",
        "Course catalogue",
        &[at("104.16.142.237", 13335, CLOUDFLARE)],
        940,
        "cloudflare",
    ),
    site(
        "debian",
        "https://www.debian.org/",
        "www.debian.org",
        "Operating system",
        &[
            at("130.89.148.77", 1133, "University of Twente"),
            at("2001:67c:2564:a119::77", 1133, "University of Twente"),
        ],
        700,
        "Apache",
    ),
];

/// The site with this key; the plan names none that is not listed.
pub fn site_of(key: &str) -> &'static Site {
    SITES.iter().find(|site| site.key == key).expect("the plan names listed sites only")
}

/// 2025-06-02 00:00 UTC, a Monday: the first second of the samples.
pub const FIRST_SECOND: i64 = 1_748_822_400;
/// Days that the samples cover, up to 2025-07-13.
pub const DAYS: u64 = 42;

/// Year, month, day, hour, minute, second of a second since 1970 (Hinnant's civil-from-days).
pub fn civil(seconds: i64) -> [i64; 6] {
    let days = seconds.div_euclid(86_400) + 719_468;
    let rest = seconds.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let doe = days.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    [year, month, day, rest / 3_600, rest / 60 % 60, rest % 60]
}

/// `2025-06-02 10:30:00`, as OONI's JSON writes times.
pub fn stamp(seconds: i64) -> String {
    let [y, mo, d, h, mi, s] = civil(seconds);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
}

/// `20250602103000`, as ids write them.
pub fn digits(seconds: i64) -> String {
    let [y, mo, d, h, mi, s] = civil(seconds);
    format!("{y:04}{mo:02}{d:02}{h:02}{mi:02}{s:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_time_is_that_of_the_calendar() {
        assert_eq!(stamp(FIRST_SECOND), "2025-06-02 00:00:00");
        assert_eq!(digits(FIRST_SECOND + 42 * 86_400 - 1), "20250713235959");
        assert_eq!(stamp(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(stamp(951_782_400), "2000-02-29 00:00:00");
    }
}
