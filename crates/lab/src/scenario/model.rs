//! What a scenario says, once read: plain data, every word with its place.
//!
//! Times are absolute from the start, because a timeline is compared with the record's dates.

use core::time::Duration;
use std::collections::BTreeMap;

use okno_wire::Instant;

use super::fields::Word;
use super::probes::ProbeGroup;
use super::problem::Place;
use crate::nation::Nation;

/// One scenario, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// name of the folder or file
    pub name: String,
    /// one line for people
    pub title: String,
    /// what it shows
    pub shows: String,
    /// public sources of what it imitates
    pub sources: Vec<String>,
    /// whether it promises that no censor acts in it
    pub benign: bool,
    /// seed of all chance
    pub seed: u64,
    /// first moment of virtual time
    pub start: Instant,
    /// last moment of virtual time
    pub end: Instant,
    /// regions, networks, exchanges, border links, hosting; only the selected ones
    pub nation: Nation,
    /// profiles that come with the scenario: id to TOML text
    pub profiles: BTreeMap<String, ProfileFile>,
    /// named lists of names, addresses and prefixes
    pub lists: BTreeMap<String, Vec<Word>>,
    /// what can be reached
    pub services: Vec<Service>,
    /// what the censor does, by time
    pub policies: Vec<Policy>,
    /// what goes wrong by itself, by time
    pub faults: Vec<Fault>,
    /// who measures what
    pub clients: Vec<ClientGroup>,
    /// who measures with the probe
    pub probes: Vec<ProbeGroup>,
    /// names of the files, for [`Place::file`]
    pub files: Vec<String>,
    /// ids of all networks of the model, selected or not
    pub known_networks: Vec<String>,
    /// ids of all regions of the model, selected or not
    pub known_regions: Vec<String>,
}

/// A profile that a scenario brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileFile {
    /// the file's name
    pub file: String,
    /// its text
    pub text: String,
    /// where the scenario names it
    pub place: Place,
}

/// Something that clients reach, at one hosting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// first name, by which the scenario calls it
    pub id: Word,
    /// all names it answers to; `*.` at the beginning stands for any name below
    pub names: Vec<Word>,
    /// id of its hosting
    pub hosting: Word,
    /// what it speaks
    pub speaks: Vec<Protocol>,
    /// addresses it has, 1–16
    pub addresses: u32,
    /// size of the object it serves, in bytes
    pub object_bytes: u64,
    /// whether it also has IPv6 addresses
    pub ipv6: bool,
    /// port when it is not the protocol's own
    pub port: Option<u16>,
    /// what it is for people
    pub note: String,
    /// where it stands
    pub place: Place,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// plain HTTP on TCP port 80
    Http,
    /// HTTP over TLS on TCP port 443
    Https,
    /// HTTP over QUIC on UDP port 443
    Quic,
    /// public DNS resolver on UDP and TCP port 53
    Dns,
    /// STUN on UDP port 3478
    Stun,
    /// relay for calls
    Turn,
    /// WireGuard responder on UDP port 51820
    Wireguard,
    /// OpenVPN responder on UDP port 1194
    Openvpn,
    /// SIP server on UDP port 5060
    Sip,
    /// MTProto proxy that looks like TLS, on TCP port 443
    FakeTls,
    /// DTLS as a Snowflake proxy or a call's peer speaks it, on UDP port 40001
    Dtls,
    /// the probe's test helper, HTTPS on TCP port 443
    Helper,
    /// the partner of the probe's own tests: replays, uploads, calls back
    Partner,
    /// echo of datagrams for tests that send noise of a protocol's sizes
    UdpEcho,
    /// HTTP requests and other lines sent back, on TCP port 80
    HttpEcho,
    /// a data centre of Telegram: plain HTTP on TCP ports 80 and 443
    TelegramDc,
    /// a chat's endpoint that keeps silent to strangers, on TCP ports 443 and 5222
    Chat,
}

/// Names of [`Protocol`] in a scenario.
pub const PROTOCOLS: &[(&str, Protocol)] = &[
    ("http", Protocol::Http),
    ("https", Protocol::Https),
    ("quic", Protocol::Quic),
    ("dns", Protocol::Dns),
    ("stun", Protocol::Stun),
    ("turn", Protocol::Turn),
    ("wireguard", Protocol::Wireguard),
    ("openvpn", Protocol::Openvpn),
    ("sip", Protocol::Sip),
    ("fake-tls", Protocol::FakeTls),
    ("dtls", Protocol::Dtls),
    ("helper", Protocol::Helper),
    ("partner", Protocol::Partner),
    ("udp-echo", Protocol::UdpEcho),
    ("http-echo", Protocol::HttpEcho),
    ("telegram-dc", Protocol::TelegramDc),
    ("chat", Protocol::Chat),
];

/// Whom a policy, a fault or a group of clients concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Where {
    /// ids of networks, `fixed`, `mobile`, `datacentre`, or `*`; empty means all
    pub networks: Vec<Word>,
    /// ids of regions or `*`; empty means all
    pub regions: Vec<Word>,
}

/// Where on the path a box stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placement {
    /// the state's box at the access operator, hop 1–5
    #[default]
    Tspu,
    /// a second one that sees only what subscribers send
    Upstream,
    /// second echelon in the core, hop 6–9, addresses only
    Core,
    /// the operator's own older filter, hop 5–8
    Legacy,
    /// the national gateway
    Border,
}

/// Names of [`Placement`] in a scenario.
pub const PLACEMENTS: &[(&str, Placement)] = &[
    ("tspu", Placement::Tspu),
    ("upstream", Placement::Upstream),
    ("core", Placement::Core),
    ("legacy", Placement::Legacy),
    ("border", Placement::Border),
];

impl Placement {
    /// Its name in a scenario.
    pub fn as_str(self) -> &'static str {
        PLACEMENTS.iter().find(|(_, placement)| *placement == self).map_or("tspu", |(name, _)| name)
    }
}

/// One dated change of what the censor does.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// from when
    pub at: Instant,
    /// until when; nothing means to the end
    pub until: Option<Instant>,
    /// whom it concerns
    pub target: Where,
    /// what changes
    pub action: PolicyAction,
    /// what it imitates, for people
    pub note: String,
    /// public source
    pub source: String,
    /// where it stands
    pub place: Place,
}

/// What a policy changes.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyAction {
    /// puts a box with this profile on the path
    Install {
        /// name of the box, by which later policies call it
        slot: Word,
        /// profile's id
        profile: Word,
        /// where it stands
        placement: Placement,
    },
    /// takes the box away
    Remove {
        /// name of the box
        slot: Word,
    },
    /// gives the box another profile; its state is lost, as with a restart
    Replace {
        /// name of the box
        slot: Word,
        /// profile's id
        profile: Word,
    },
    /// changes a list
    List {
        /// the list's name
        list: Word,
        /// how
        change: ListChange,
        /// names, addresses, prefixes
        entries: Vec<Word>,
    },
    /// the box lets everything pass
    FailOpen {
        /// name of the box; empty means all
        slot: Word,
    },
    /// the box is overloaded and drops packets
    Overload {
        /// name of the box; empty means all
        slot: Word,
        /// share of packets dropped, 0–1
        drop: f64,
    },
}

/// How a list changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange {
    /// the entries replace it
    Set,
    /// the entries are added
    Add,
    /// the entries are taken out
    Remove,
}

/// Something that goes wrong, or is otherwise, without any censor.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// from when
    pub at: Instant,
    /// until when
    pub until: Instant,
    /// whom it concerns
    pub target: Where,
    /// ids of the services or hostings that it concerns; empty means the whole network
    pub services: Vec<Word>,
    /// what goes wrong
    pub kind: FaultKind,
    /// in words
    pub cause: String,
    /// where it stands
    pub place: Place,
}

/// Kinds of natural trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// nothing passes: a cable, a power cut
    Outage,
    /// queues are full
    Congestion {
        /// share of packets lost, 0–1
        loss: f64,
        /// added one-way delay
        delay: Duration,
        /// rate that is left for one client, bits per second; nothing means unchanged
        rate_bps: Option<u64>,
    },
    /// the server answers nothing
    ServerDown,
    /// the server refuses connections
    ServerRefuses,
    /// the server answers slowly
    ServerSlow {
        /// added to each answer
        delay: Duration,
    },
    /// IPv6 packets vanish
    BrokenIpv6,
    /// the name moves to other addresses of the same hosting
    CdnRotation,
    /// the server turns visitors of this country away, with status 403
    GeoBlock,
    /// the certificate has expired
    ExpiredCertificate,
    /// a login page answers for everything
    CaptivePortal,
    /// the operator's resolver fails
    ResolverDown,
}

impl FaultKind {
    /// Its name in a scenario and in the truth.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Congestion { .. } => "congestion",
            Self::ServerDown => "server-down",
            Self::ServerRefuses => "server-refuses",
            Self::ServerSlow { .. } => "server-slow",
            Self::BrokenIpv6 => "broken-ipv6",
            Self::CdnRotation => "cdn-rotation",
            Self::GeoBlock => "geo-block",
            Self::ExpiredCertificate => "expired-certificate",
            Self::CaptivePortal => "captive-portal",
            Self::ResolverDown => "resolver-down",
        }
    }

    /// Whether it needs to be told which services it concerns.
    pub fn needs_service(self) -> bool {
        matches!(
            self,
            Self::ServerDown
                | Self::ServerRefuses
                | Self::ServerSlow { .. }
                | Self::CdnRotation
                | Self::GeoBlock
                | Self::ExpiredCertificate
        )
    }
}

/// Clients that do the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientGroup {
    /// its name
    pub id: Word,
    /// where they are
    pub target: Where,
    /// how many in each cell
    pub per_cell: u32,
    /// how many in all, shared out by the cells' weight; 0 means [`Self::per_cell`] decides
    pub total: u32,
    /// ids of services, one after another in each round
    pub targets: Vec<Word>,
    /// what they do with each target
    pub does: Vec<Activity>,
    /// time between two rounds of one client
    pub every: Duration,
    /// each round begins up to this much later
    pub jitter: Duration,
    /// most rounds of one client; 0 means as many as fit
    pub rounds: u64,
    /// how much they fetch or send, in bytes; 0 means the service's object
    pub bytes: u64,
    /// how many connections or packets at once, where that matters
    pub parallel: u32,
    /// how long they wait for an answer
    pub timeout: Duration,
    /// whether they use their network's resolver instead of knowing the address
    pub resolve: bool,
    /// id of a public resolver they ask instead of their network's; empty means the network's
    pub resolver: Word,
    /// whether they use IPv6 where both ends have it
    pub ipv6: bool,
    /// whether what they fetch over TCP goes over to IPv4 when IPv6 does not connect at once, as browsers do
    pub fallback: bool,
    /// from when; nothing means the start
    pub from: Option<Instant>,
    /// until when; nothing means the end
    pub until: Option<Instant>,
    /// where it stands
    pub place: Place,
}

/// What a client does with one target in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// asks for its addresses
    Dns,
    /// fetches over plain HTTP
    Http,
    /// fetches over TLS
    Https,
    /// fetches over QUIC
    Quic,
    /// sends over TLS
    Upload,
    /// opens several TLS connections at once
    Parallel,
    /// asks for its own address by STUN
    Stun,
    /// holds a call over the relay
    Call,
    /// WireGuard handshake and data
    Wireguard,
    /// OpenVPN handshake and data
    Openvpn,
    /// registers by SIP
    Sip,
    /// ICMP echo
    Ping,
    /// sends a browser's hello of two segments and waits for the ServerHello
    Hello,
    /// the same with an encrypted hello under Cloudflare's outer name
    Ech,
    /// Telegram's camouflaged connection to a proxy
    FakeTls,
    /// the default DTLS hello of the pion library, then data, as Snowflake
    Dtls,
}

/// Names of [`Activity`] in a scenario.
pub const ACTIVITIES: &[(&str, Activity)] = &[
    ("dns", Activity::Dns),
    ("http", Activity::Http),
    ("https", Activity::Https),
    ("quic", Activity::Quic),
    ("upload", Activity::Upload),
    ("parallel", Activity::Parallel),
    ("stun", Activity::Stun),
    ("call", Activity::Call),
    ("wireguard", Activity::Wireguard),
    ("openvpn", Activity::Openvpn),
    ("sip", Activity::Sip),
    ("ping", Activity::Ping),
    ("hello", Activity::Hello),
    ("ech", Activity::Ech),
    ("fake-tls", Activity::FakeTls),
    ("dtls", Activity::Dtls),
];

impl Activity {
    /// Its name in a scenario.
    pub fn as_str(self) -> &'static str {
        ACTIVITIES.iter().find(|(_, activity)| *activity == self).map_or("dns", |(name, _)| name)
    }

    /// What the target must speak for it; nothing when any host will do.
    pub fn needs(self) -> Option<Protocol> {
        match self {
            Self::Dns | Self::Ping => None,
            Self::Http => Some(Protocol::Http),
            Self::Https | Self::Upload | Self::Parallel | Self::Hello | Self::Ech => Some(Protocol::Https),
            Self::Quic => Some(Protocol::Quic),
            Self::Stun => Some(Protocol::Stun),
            Self::Call => Some(Protocol::Turn),
            Self::Wireguard => Some(Protocol::Wireguard),
            Self::Openvpn => Some(Protocol::Openvpn),
            Self::Sip => Some(Protocol::Sip),
            Self::FakeTls => Some(Protocol::FakeTls),
            Self::Dtls => Some(Protocol::Dtls),
        }
    }
}

impl Where {
    /// Whether it concerns this network in this region.
    pub fn covers(&self, network: &crate::nation::Network, region: &str) -> bool {
        let of_network =
            |word: &Word| word.text == "*" || word.text == network.id || word.text == network.access.as_str();
        (self.networks.is_empty() || self.networks.iter().any(of_network))
            && (self.regions.is_empty()
                || self.regions.iter().any(|word| word.text == "*" || word.text == region))
    }
}
