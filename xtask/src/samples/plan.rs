//! What is put into the samples: scenarios with their source and their truth, and the series that play them.
//!
//! A scenario says what really happened; a series says where, when and how often it was measured. Where a
//! documented case lies outside the six weeks, its scenario says so: the samples move it.

use super::envelope::{DEFECT, OLD, Software};
use super::web::Case;
use super::world::Address;

/// What really happened in a group of measurements.
pub struct Scenario {
    /// short name, as in `truth.csv`
    pub id: &'static str,
    /// what the measurements show
    pub what: &'static str,
    /// where it is documented
    pub source: &'static str,
    /// somebody on the path interferes
    pub interference: bool,
    /// the state that a right verdict names
    pub state: &'static str,
    /// layer at which it shows; empty when nothing does; several with blanks where each is right
    pub layer: &'static str,
    /// node of the taxonomy; empty when there is no interference; one for each layer
    pub mechanism: &'static str,
}

const fn blocked(
    id: &'static str,
    layer: &'static str,
    mechanism: &'static str,
    what: &'static str,
    source: &'static str,
) -> Scenario {
    Scenario { id, what, source, interference: true, state: "blocked", layer, mechanism }
}

const fn innocent(
    id: &'static str,
    state: &'static str,
    what: &'static str,
    source: &'static str,
) -> Scenario {
    Scenario { id, what, source, interference: false, state, layer: "", mechanism: "" }
}

const IMC22: &str = "https://ensa.fi/papers/tspu-imc22.pdf";
const OONI22: &str = "https://ooni.org/post/2022-russia-blocks-amid-ru-ua-conflict/";
const OONI24: &str = "https://ooni.org/post/2024-russia-report/";
const TOR: &str = "https://github.com/net4people/bbs/issues/97";
const NDSS20: &str = "https://censoredplanet.org/russia";

/// Every scenario, interference first.
pub const SCENARIOS: &[Scenario] = &[
    blocked(
        "tls-reset",
        "tls",
        "tls.reset",
        "RST after the ClientHello of a news site or social network",
        OONI22,
    ),
    blocked("tls-silence", "tls", "tls.timeout", "silence after the ClientHello", IMC22),
    Scenario {
        id: "throttle",
        what: "YouTube's bytes trickle at some 130 kbit/s until the probe gives up; the page is long outside. \
               YouTube: net4people 382; the shape of bursts and gaps is that of the Twitter case of 2021 \
               (https://censoredplanet.org/throttling)",
        source: "https://github.com/net4people/bbs/issues/382",
        interference: true,
        state: "throttled",
        layer: "tls",
        mechanism: "tls.throttle",
    },
    blocked(
        "freeze-16k",
        "tcp",
        "tcp.packet_budget",
        "handshake and some 16 KB pass, then nothing more, from 2025-06-09 on",
        "https://blog.cloudflare.com/russian-internet-users-are-unable-to-access-the-open-internet/",
    ),
    blocked(
        "dns-blockpage",
        "dns",
        "dns.injection",
        "the provider's resolver gives the address of its block page; other resolvers give the site's",
        NDSS20,
    ),
    blocked(
        "dns-nxdomain",
        "dns",
        "dns.nxdomain",
        "the provider's resolver denies a name that exists (documented 2026-02, moved to 2025)",
        "public reports of 2026-02-10 and 11: names removed from the national resolvers",
    ),
    blocked(
        "http-redirect",
        "http http",
        "http.redirect http.blockpage",
        "302 to the provider's warning page",
        NDSS20,
    ),
    blocked("http-blockpage", "http", "http.blockpage", "200 with a block page in the site's place", NDSS20),
    blocked("http-reset", "http", "http.reset", "RST after the request", NDSS20),
    blocked(
        "tcp-silence",
        "tcp",
        "tcp.timeout",
        "SYNs to one address unanswered (the target is illustrative)",
        IMC22,
    ),
    blocked(
        "tls-mitm",
        "tls",
        "tls.mitm.self_signed",
        "a certificate for facebook.com by an authority that clients do not trust (Kazakhstan 2019, moved to 2025; \
         the certificate is an imitation)",
        "https://censoredplanet.org/kazakhstan",
    ),
    blocked(
        "signal-silence",
        "app tls",
        "messenger.endpoints tls.timeout",
        "Signal's back ends: silence after the ClientHello (since 2024-08)",
        OONI24,
    ),
    blocked(
        "messenger-dns",
        "dns app",
        "dns.nxdomain messenger",
        "Messenger's names denied by the provider's resolver (documented 2026-02, moved to 2025)",
        "public reports of 2026-02-10 and 11: names removed from the national resolvers",
    ),
    blocked(
        "telegram-silence",
        "app tcp tls",
        "messenger.endpoints tcp.timeout tls.reset",
        "Telegram's data centres do not answer and its web client is reset (documented 2026-03, moved to 2025)",
        "OONI Explorer: Telegram in Russia, from 2026-03-20",
    ),
    blocked(
        "tor-relays",
        "app tcp",
        "tor tcp.timeout",
        "directory authorities and default bridges do not answer",
        TOR,
    ),
    blocked("tor-bootstrap", "app", "tor", "Tor stops at the first relay", TOR),
    blocked(
        "torsf-bootstrap",
        "app",
        "tor.snowflake",
        "Snowflake connects and nothing flows",
        "https://github.com/net4people/bbs/issues/422",
    ),
    blocked(
        "openvpn-silence",
        "app",
        "vpn.openvpn",
        "TCP opens, the OpenVPN handshake gets no answer",
        "https://github.com/net4people/bbs/issues/274",
    ),
    blocked(
        "quic-silence",
        "quic",
        "quic.timeout",
        "QUIC's Initial unanswered; quicping, which asks with an unknown version, passes",
        "https://github.com/net4people/bbs/issues/108",
    ),
    blocked(
        "ech-silence",
        "tls",
        "tls.timeout.ech",
        "hellos with ECH and the outer name cloudflare-ech.com unanswered, without ECH fine",
        "https://github.com/net4people/bbs/issues/417",
    ),
    blocked(
        "stun-silence",
        "app",
        "calls.stun",
        "STUN unanswered (calls restricted from 2025-08-13, moved to July)",
        "regulator's statement of 2025-08-13",
    ),
    blocked(
        "hirl-proxy",
        "http",
        "http.tampering",
        "a proxy answers malformed requests itself",
        "https://github.com/ooni/spec/blob/master/nettests/ts-007-http-invalid-request-line.md",
    ),
    innocent("fine", "ok", "nothing happens", ""),
    innocent("open-control", "ok", "the same targets from networks that do not block them", ""),
    innocent("before-freeze", "ok", "the same site on the same networks before 2025-06-09", ""),
    innocent("site-down", "down", "the server answers nobody, the test helper neither", ""),
    innocent(
        "expired-certificate",
        "down",
        "the certificate has expired for everybody; the test helper says so too",
        "",
    ),
    innocent(
        "geo-refusal",
        "ok",
        "the server itself refuses visitors from Russia, over verified TLS (403)",
        "Ramesh et al., Network Responses to Russia's Invasion of Ukraine in 2022, USENIX Security 2023",
    ),
    innocent("cdn-rotation", "ok", "another address of the same CDN than the test helper was given", ""),
    innocent("captcha", "ok", "a CDN's challenge instead of the page, over cleartext HTTP", ""),
    innocent("no-control", "ok", "the test helper could not be asked; the visit went well", ""),
    innocent("ipv6-broken", "ok", "IPv6 leads nowhere on one network; IPv4 works", ""),
    innocent(
        "defect",
        "insufficient ok",
        "release 3.25.99 of the probe (it never existed) trusts no certificate, in three countries",
        "",
    ),
];

/// The scenario with this id; the plan names none that is not listed.
pub fn scenario_of(id: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.id == id).expect("the plan names listed scenarios only")
}

/// The nettests other than web_connectivity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each is the nettest of that name")]
pub enum Service {
    Telegram,
    Whatsapp,
    Signal,
    FacebookMessenger,
    Tor,
    VanillaTor,
    Torsf,
    Dnscheck,
    Openvpn,
    Stunreachability,
    Psiphon,
    Quicping,
    Echcheck,
    Urlgetter,
    HttpInvalidRequestLine,
    HttpHeaderFieldManipulation,
    Ndt,
    Dash,
}

/// What is measured in a series.
#[derive(Clone, Copy)]
pub enum What {
    /// web_connectivity of a site; 0.5 or 0.4
    Web(&'static str, Case, bool),
    /// another nettest, with its trouble or without
    Service(Service, bool),
}

impl What {
    /// A name for the stream of random numbers.
    pub fn label(self) -> String {
        match self {
            Self::Web(site, _, v05) => format!("web {site} {v05}"),
            Self::Service(service, trouble) => format!("{service:?} {trouble}"),
        }
    }
}

/// Measurements of one kind, spread evenly over some days.
pub struct Series {
    /// what really happened
    pub scenario: &'static str,
    /// what was measured
    pub what: What,
    /// from where
    pub networks: &'static [u32],
    /// first day, from 0
    pub from: u64,
    /// day after the last
    pub to: u64,
    /// measurements per network
    pub count: u64,
    /// instead: once on each of these days, so that several networks speak of the same day
    pub rounds: &'static [u64],
    /// always with this software
    pub software: Option<Software>,
}

/// Days on which MegaFon's probes are silent, 2025-07-05 and 06: modelled on the mobile shutdowns of early
/// July 2025 (69 regions on 5 July; https://github.com/net4people/bbs/issues/515).
pub const SILENT: (u32, std::ops::Range<u64>) = (31133, 33..35);

const fn web(
    scenario: &'static str,
    site: &'static str,
    case: Case,
    networks: &'static [u32],
    (from, to): (u64, u64),
    count: u64,
) -> Series {
    Series {
        scenario,
        what: What::Web(site, case, true),
        networks,
        from,
        to,
        count,
        rounds: &[],
        software: None,
    }
}

const fn service(
    scenario: &'static str,
    service: Service,
    trouble: bool,
    networks: &'static [u32],
    rounds: &'static [u64],
) -> Series {
    let what = What::Service(service, trouble);
    Series { scenario, what, networks, from: 0, to: 42, count: 0, rounds, software: None }
}

/// 5.3.3.17 is ER-Telecom's block page in OONI's list of DNS fingerprints (ooni.ru_96).
const ERTELECOM_PAGE: Address = Address { ip: "5.3.3.17", asn: 9049, org: "JSC ER-Telecom Holding" };
/// warning.rt.ru is Rostelecom's in OONI's list of HTTP fingerprints (ooni.ru_6).
const ROSTELECOM_PAGE: Address = Address { ip: "95.167.13.50", asn: 12389, org: "PJSC Rostelecom" };
const OTHER_EDGE: Address = Address { ip: "151.101.193.229", asn: 54113, org: "Fastly, Inc." };

const WHOLE: (u64, u64) = (0, 42);
const RU: &[u32] = &[12389, 8402, 8359, 25513, 9049, 15378, 42610];
const DE: &[u32] = &[3320, 3209];
const KZ: &[u32] = &[9198, 21299];

/// Every series.
pub fn series() -> Vec<Series> {
    let mut all = blocked_sites();
    all.extend(open_sites());
    all.extend(innocent_trouble());
    all.extend(services());
    all
}

fn blocked_sites() -> Vec<Series> {
    let mut old = web("tls-reset", "bbc", Case::TlsReset, &[8359], WHOLE, 4);
    old.what = What::Web("bbc", Case::TlsReset, false);
    old.software = Some(OLD);
    vec![
        web("tls-reset", "bbc", Case::TlsReset, &[12389, 8359, 9049], WHOLE, 7),
        old,
        web("tls-silence", "bbc", Case::TlsTimeout, &[31133, 15378], WHOLE, 6),
        web("tls-silence", "twitter", Case::TlsTimeout, &[12389, 25513, 15378], WHOLE, 6),
        web("tls-reset", "facebook", Case::TlsReset, &[12389, 42610, 8402], WHOLE, 6),
        web("tls-reset", "meduza", Case::TlsReset, &[8402, 42610], WHOLE, 6),
        web("tls-silence", "signal", Case::TlsTimeout, &[31133, 8402], WHOLE, 5),
        web("throttle", "youtube", Case::Throttle, &[12389, 8402, 9049, 25513], WHOLE, 6),
        web("before-freeze", "freeze", Case::Fine, &[12389, 8359, 31133, 25513], (0, 7), 3),
        web("freeze-16k", "freeze", Case::Freeze, &[12389, 8359, 31133, 25513], (7, 42), 6),
        web("dns-blockpage", "rutracker", Case::DnsAnswer(ERTELECOM_PAGE), &[9049], WHOLE, 8),
        web(
            "http-redirect",
            "rutracker",
            Case::Redirect("warning.rt.ru", ROSTELECOM_PAGE),
            &[12389],
            WHOLE,
            8,
        ),
        web("http-blockpage", "rutracker", Case::BlockPage, &[25513], WHOLE, 8),
        web("http-reset", "grani", Case::HttpReset, &[8402], WHOLE, 7),
        web("dns-nxdomain", "dw", Case::DnsNxdomain, &[15378], WHOLE, 8),
        web("tcp-silence", "linkedin", Case::TcpTimeout, &[12389, 8359], WHOLE, 5),
        web("tls-mitm", "facebook", Case::Mitm, &[9198], (10, 24), 5),
    ]
}

fn open_sites() -> Vec<Series> {
    let mut all = Vec::new();
    for key in [
        "bbc",
        "twitter",
        "facebook",
        "meduza",
        "signal",
        "youtube",
        "freeze",
        "rutracker",
        "grani",
        "dw",
        "linkedin",
    ] {
        all.push(web("open-control", key, Case::Fine, DE, WHOLE, 3));
        if key != "facebook" {
            all.push(web("open-control", key, Case::Fine, KZ, WHOLE, 2));
        }
    }
    for key in ["example", "ya", "wikipedia", "gosuslugi"] {
        all.push(web("fine", key, Case::Fine, RU, WHOLE, 3));
        all.push(web("fine", key, Case::Fine, KZ, WHOLE, 1));
        // MegaFon is measured daily, so that two silent days stand out.
        all.push(web("fine", key, Case::Fine, &[31133], WHOLE, 14));
    }
    let mut old = web("fine", "wikipedia", Case::Fine, &[8402, 12389], WHOLE, 4);
    old.what = What::Web("wikipedia", Case::Fine, false);
    old.software = Some(OLD);
    all.push(old);
    all
}

fn innocent_trouble() -> Vec<Series> {
    let mut defect = web("defect", "wikipedia", Case::Defect, &[12389, 8402, 9198, 3320], WHOLE, 0);
    (defect.software, defect.rounds) = (Some(DEFECT), &[21, 22]);
    let mut defect_too = web("defect", "ya", Case::Defect, &[9049, 21299, 3320, 3209], WHOLE, 0);
    (defect_too.software, defect_too.rounds) = (Some(DEFECT), &[21]);
    // The same days with other releases: only against them does the defect stand out.
    let mut healthy = web("fine", "wikipedia", Case::Fine, &[8359, 25513, 42610], WHOLE, 0);
    healthy.rounds = &[21];
    let mut healthy_too = web("fine", "ya", Case::Fine, &[8359, 25513, 42610], WHOLE, 0);
    healthy_too.rounds = &[21];
    vec![
        web("site-down", "down", Case::Down, &[12389, 31133, 9198, 3320], WHOLE, 2),
        web("expired-certificate", "expired", Case::Expired, &[12389, 8359, 3320], WHOLE, 2),
        web("geo-refusal", "geo", Case::Refusal, &[12389, 8402, 15378], WHOLE, 2),
        web("open-control", "geo", Case::Fine, DE, WHOLE, 2),
        web("cdn-rotation", "cdn", Case::Rotation(OTHER_EDGE), &[8402, 25513, 9049], WHOLE, 2),
        web("fine", "cdn", Case::Fine, &[12389, 3320], WHOLE, 2),
        web("captcha", "captcha", Case::Challenge, &[12389, 15378, 9198], WHOLE, 2),
        web("no-control", "ya", Case::NoControl, &[8359, 42610], WHOLE, 3),
        web("ipv6-broken", "debian", Case::BrokenIpv6, &[42610], WHOLE, 7),
        web("fine", "debian", Case::Fine, &[12389, 3320], WHOLE, 3),
        defect,
        defect_too,
        healthy,
        healthy_too,
    ]
}

/// Days on which the nettests without a test helper run everywhere: only then can other networks speak for
/// them.
const ROUNDS: &[u64] = &[9, 30];
/// Networks without interference that take part.
const OPEN: &[u32] = &[3320, 3209, 9198];

fn services() -> Vec<Series> {
    use Service as S;
    let mut all = Vec::new();
    for (scenario, test, networks) in [
        ("signal-silence", S::Signal, &[12389, 8402, 31133][..]),
        ("messenger-dns", S::FacebookMessenger, &[15378, 8359]),
        ("tor-relays", S::Tor, &[12389, 8359]),
        ("tor-bootstrap", S::VanillaTor, &[12389, 9049]),
        ("torsf-bootstrap", S::Torsf, &[12389, 31133]),
        ("openvpn-silence", S::Openvpn, &[12389, 31133, 8402]),
        ("ech-silence", S::Echcheck, &[12389, 15378]),
        ("quic-silence", S::Urlgetter, &[12389, 31133]),
    ] {
        all.push(service(scenario, test, true, networks, ROUNDS));
        all.push(service("open-control", test, false, OPEN, ROUNDS));
    }
    all.extend([
        service("fine", S::Telegram, false, &[12389, 3320, 3209, 9198], ROUNDS),
        service("fine", S::Telegram, false, &[15378], &[9]),
        service("telegram-silence", S::Telegram, true, &[15378], &[29, 30, 31]),
        service("fine", S::Stunreachability, false, &[12389, 3320, 3209, 9198], ROUNDS),
        service("stun-silence", S::Stunreachability, true, &[15378], &[29, 30, 31]),
        service("fine", S::Whatsapp, false, &[12389, 31133, 3320], ROUNDS),
        service("fine", S::Dnscheck, false, &[12389, 25513, 3320], ROUNDS),
        service("fine", S::Psiphon, false, &[8402, 3320], ROUNDS),
        service("fine", S::Quicping, false, &[12389, 25513, 3320], ROUNDS),
        service("hirl-proxy", S::HttpInvalidRequestLine, true, &[15378], ROUNDS),
        service("fine", S::HttpInvalidRequestLine, false, &[12389, 3320], ROUNDS),
        service("fine", S::HttpHeaderFieldManipulation, false, &[12389, 9049], ROUNDS),
        service("fine", S::Ndt, false, &[12389, 8402], ROUNDS),
        service("fine", S::Dash, false, &[12389], ROUNDS),
    ]);
    all
}
