//! Evasions against one mechanism at a time.

use core::time::Duration;

use okno_censor::Engine;
use okno_wire::Instant;
use okno_wire::quic::Version;
use okno_wire::tls::{extension, preset};

use super::{Agreement, Cell, Head, Table, record};
use crate::evasion::{Carrier, Conversation, Strategy, initial_for, strategies};
use crate::fidelity::{BLOCKED, Trial, end};
use crate::path::{Ending, Outcome, Placed, Road, Service, walk};

/// What the client's first flight is, before it is disguised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// a TLS hello of one segment for the listed name
    Tls,
    /// the same with ECH
    Ech,
    /// a hello of the listed fingerprint
    Fingerprint,
    /// a hello with post-quantum shares
    Large,
    /// an HTTP request for the listed name
    Http,
    /// QUIC Initials for the listed name
    Quic,
}

/// One mechanism at one time.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// its name
    pub id: &'static str,
    /// what it is
    pub title: &'static str,
    /// profile as given to `--profile`
    pub profile: &'static str,
    /// the rule
    pub rule: &'static str,
    /// what the client sends
    pub flight: Flight,
    /// bytes of the server's answer, or its datagrams over QUIC
    pub answer: usize,
}

const fn column(
    id: &'static str,
    title: &'static str,
    profile: &'static str,
    rule: &'static str,
    flight: Flight,
    answer: usize,
) -> Column {
    Column { id, title, profile, rule, flight, answer }
}

use Flight::{Ech, Fingerprint, Http, Large, Quic, Tls};

const COLUMNS: &[Column] = &[
    column("M8-2021", "throttled after the name, 130–150 kbit/s", "tspu-2021", "twitter-exact", Tls, 120_000),
    column("M1-2022", "answers turned into RST/ACK", "tspu-2022", "sni-1", Tls, 4_000),
    column("M2-2022", "silence after a few packets", "tspu-2022", "sni-2", Tls, 12_000),
    column("M3-2022", "throttled to 600–700 bytes/s", "tspu-2022", "sni-3", Tls, 12_000),
    column("M4-2022", "the hello dropped", "tspu-2022", "sni-4", Tls, 4_000),
    column("M6-2022", "QUIC version 1 dropped by size and version", "tspu-2022", "quic-1", Quic, 4),
    column("M1-2024", "answers turned into RST/ACK", "tspu-2024", "sni-1", Tls, 4_000),
    column("M10-2024", "YouTube slowed", "tspu-2024", "googlevideo-slow", Tls, 60_000),
    column("M11-2024", "ECH to Cloudflare dropped", "tspu-2024", "ech", Ech, 4_000),
    column("M12-2025", "frozen after 25 packets", "tspu-2025", "l4-25", Tls, 64_000),
    column("M1-2026", "answers turned into RST/ACK", "tspu-2026", "sni-1", Tls, 4_000),
    column("M4-2026", "the hello dropped", "tspu-2026", "sni-4", Tls, 4_000),
    column("M7-2026", "QUIC version 1 dropped by name", "tspu-2026", "quic-2", Quic, 4),
    column("M11-2026", "ECH to Cloudflare dropped", "tspu-2026", "ech", Ech, 4_000),
    column("M17-2026", "a fingerprint dropped", "tspu-2026", "telegram-ja4", Fingerprint, 4_000),
    column(
        "M18-2026",
        "stalled after the first segment, half of the flows",
        "tspu-2026",
        "first-segment-stall",
        Large,
        4_000,
    ),
    column(
        "M24-2025",
        "mobile whitelist by address",
        "ru-mobile-whitelist-2025:cidr",
        "whitelist",
        Tls,
        4_000,
    ),
    column("M22", "block page by the operator's filter", "ru-legacy-isp", "blockpage", Http, 1_000),
    column("CN-http", "China: RSTs for a Host", "china-gfw", "http", Http, 1_000),
    column("CN-sni", "China: RSTs for a name", "china-gfw", "sni", Tls, 4_000),
    column("CN-quic", "China: QUIC silenced by name", "china-gfw", "quic", Quic, 4),
    column("IR-names", "Iran: silence for a name", "iran", "names", Tls, 4_000),
    column("IR-hosts", "Iran: silence for a Host", "iran", "hosts", Http, 1_000),
    column("KZ-names", "Kazakhstan: silence for a name", "kazakhstan", "names", Tls, 4_000),
];

/// The columns in order.
pub const fn columns() -> &'static [Column] {
    COLUMNS
}

/// Routers between client and server, between client and box, and the TTL that ends between the two.
const ROUTERS: u8 = 10;
const HOP: u8 = 2;
const DECOY_TTL: u8 = 5;

/// A seed under which the plain flow is among those that stall.
const STALLING_SEED: u64 = 2;

/// An address outside the whitelist that a trial sets, and one inside the other lists.
const UNLISTED: &str = "192.0.2.80";
const LISTED: &str = "198.51.100.7";

impl Column {
    /// Whether a strategy makes sense here: its carrier fits, and it does not replace a hello that the
    /// mechanism is about.
    pub fn takes(&self, strategy: &Strategy) -> bool {
        let own_hello = matches!(self.flight, Ech | Fingerprint | Large);
        match strategy.carrier {
            Carrier::Tcp => self.flight != Quic,
            Carrier::Tcp6 => !matches!(self.flight, Quic | Http) && self.id != "M24-2025",
            Carrier::Tls if own_hello => !strategy.remakes_hello(),
            Carrier::Tls => !matches!(self.flight, Quic | Http),
            Carrier::Http => self.flight == Http,
            Carrier::Quic => self.flight == Quic,
            Carrier::Udp => false,
        }
    }

    /// The box with this one rule, and the stage's names in its lists.
    pub fn engine(&self) -> Result<Engine, String> {
        Trial::new(self.profile)?.rules(&[self.rule])?.engine()
    }

    fn first(&self) -> Vec<u8> {
        match self.flight {
            Tls => preset::curl(21, Some(BLOCKED)).padded_to(512).emit_record(),
            Ech => {
                let (enc, payload) =
                    (preset::random_bytes(1, "enc", 32), preset::random_bytes(1, "payload", 208));
                let ech = extension::ech_outer(7, &enc, &payload);
                preset::curl(21, Some(BLOCKED)).with_extension(ech).emit_record()
            }
            Fingerprint => preset::chrome(21, Some(BLOCKED), false).emit_record(),
            Large => preset::chrome(21, Some(BLOCKED), true).emit_record(),
            Http => format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n")
                .into_bytes(),
            Quic => initial_for(Version::V1, Some(BLOCKED), 1_200),
        }
    }

    /// The conversation before it is disguised.
    pub fn conversation(&self, v6: bool) -> Conversation {
        let port = if self.flight == Http { 80 } else { 443 };
        let server = match (v6, self.id == "M24-2025") {
            (true, _) => "2001:db8:1::7",
            (false, true) => UNLISTED,
            (false, false) => LISTED,
        };
        let client = if v6 { "2001:db8:77::2" } else { "10.0.0.2" };
        let mut talk = Conversation::new(end(client, 50_000), end(server, port), self.first(), BLOCKED);
        talk.decoy_ttl = DECOY_TTL;
        talk
    }

    fn road(&self) -> Road {
        let service = match self.flight {
            Quic => Service::Quic { datagrams: self.answer as u32 },
            _ => Service::Web { answer: self.answer },
        };
        // Half of the flows stall under M18: this seed's flow is one of them.
        let seed = if self.flight == Large { STALLING_SEED } else { 1 };
        Road { routers: ROUTERS, service, seed, ..Road::new(Instant::from_secs(1_700_000_000)) }
    }
}

/// One conversation, disguised, against one mechanism.
pub fn outcome(column: &Column, strategy: &Strategy) -> Result<Outcome, String> {
    let mut engine = column.engine()?;
    Ok(run(column, strategy, &mut engine))
}

fn run(column: &Column, strategy: &Strategy, engine: &mut Engine) -> Outcome {
    let talk = column.conversation(strategy.carrier == Carrier::Tcp6);
    let sequence = (strategy.build)(&talk);
    let mut boxes = [Placed { hop: HOP, middlebox: engine }];
    walk(&talk, &sequence, &mut boxes, &column.road())
}

/// A new connection for each few packets: short exchanges one after another, all of which have to come
/// through. The mechanism is a packet budget or a count of connections.
pub fn short_connections(profile: &str, rule: &str, number: u16) -> Result<Ending, String> {
    let mut engine = Trial::new(profile)?.rules(&[rule])?.engine()?;
    let base = COLUMNS.iter().find(|column| column.id == "M17-2026").ok_or("no such column")?;
    let mut road = base.road();
    for index in 0..number {
        let mut talk = base.conversation(false);
        talk.client.port += index;
        let sequence = talk.sequence(&[crate::evasion::Segment::data(0, &talk.first)]);
        let mut boxes = [Placed { hop: HOP, middlebox: &mut engine }];
        let outcome = walk(&talk, &sequence, &mut boxes, &road);
        if outcome.ending != Ending::Through {
            return Ok(outcome.ending);
        }
        road.start = road.start + Duration::from_millis(150);
    }
    Ok(Ending::Through)
}

/// The row of short connections.
const SHORT: &str = "new_connections";

pub(super) fn table() -> Result<Table, String> {
    let mut cells = Vec::new();
    let mut rows: Vec<Head> = Vec::new();
    let engines: Vec<&Column> = COLUMNS.iter().collect();
    for strategy in strategies().filter(|strategy| strategy.carrier != Carrier::Udp) {
        rows.push(Head { id: strategy.id.to_owned(), title: strategy.what.to_owned() });
        for column in engines.iter().filter(|column| column.takes(strategy)) {
            let outcome = outcome(column, strategy)?;
            cells.push(cell(strategy.id, column.id, outcome.ending));
        }
    }
    rows.push(Head { id: SHORT.to_owned(), title: "a new connection for every few packets".to_owned() });
    let budget = short_connections("tspu-2025", "l4-25", 8)?;
    cells.push(cell(SHORT, "M12-2025", budget));
    let columns =
        COLUMNS.iter().map(|column| Head { id: column.id.to_owned(), title: column.title.to_owned() });
    Ok(Table { rows, columns: columns.collect(), cells })
}

fn cell(row: &str, column: &str, ending: Ending) -> Cell {
    let survives = ending == Ending::Through;
    let recorded = record::of(row, column);
    Cell {
        row: row.to_owned(),
        column: column.to_owned(),
        survives,
        ending,
        recorded: recorded.map(|said| said.survives),
        agreement: Agreement::of(survives, recorded.map(|said| said.survives)),
        source: recorded.map_or_else(String::new, |said| said.source.to_owned()),
    }
}
