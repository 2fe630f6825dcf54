//! What was found, counted; bounded whatever the capture.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use okno_wire::FlowKey;
use xxhash_rust::xxh3::{Xxh3Builder, xxh3_64};

/// Hidden identities that get a number of their own.
const PEOPLE: usize = 100_000;

/// Different values that a channel remembers.
const VALUES: usize = 10_000;
/// Addresses that are told apart.
const ADDRESSES: usize = 200_000;
/// Flows whose datagrams told something and that are not over.
const OPEN: usize = 100_000;

/// Where something shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// names asked of a resolver in clear
    DnsQuestion,
    /// server name in a TLS hello
    TlsName,
    /// server name in a QUIC hello, which is encrypted with keys that everyone can derive (RFC 9001 §5.2)
    QuicName,
    /// server name in a DTLS hello
    DtlsName,
    /// names in a certificate that travels in clear (TLS 1.2 and older)
    Certificate,
    /// Host of a request in clear
    HttpHost,
    /// hellos with an encrypted part (ECH): the name shown is the outer one, or the extension is a decoy,
    /// which nobody on the path can tell apart (RFC 9849 §6.2)
    Ech,
    /// requests in clear whose path shows
    HttpPath,
    /// requests in clear with cookies
    HttpCookie,
    /// requests in clear with credentials
    HttpCredentials,
    /// requests in clear that say where the user came from
    HttpReferer,
    /// answers in clear: headers and pages, whole
    HttpAnswer,
    /// the browser or app as it names itself
    UserAgent,
    /// who calls whom
    SipIdentity,
    /// telephone software
    SipAgent,
    /// SSH software
    SshSoftware,
    /// names of devices as they tell them in their own network (mDNS, LLMNR)
    DeviceName,
    /// user part of STUN and TURN requests
    StunUser,
    /// fingerprint of a hello
    Ja4,
    /// application protocols offered in a hello
    Alpn,
}

impl Channel {
    /// All of them, in the order of the report.
    pub const ALL: &'static [Self] = &[
        Self::DnsQuestion,
        Self::TlsName,
        Self::QuicName,
        Self::DtlsName,
        Self::Ech,
        Self::Certificate,
        Self::HttpHost,
        Self::HttpPath,
        Self::HttpCookie,
        Self::HttpCredentials,
        Self::HttpReferer,
        Self::HttpAnswer,
        Self::SipIdentity,
        Self::DeviceName,
        Self::StunUser,
        Self::UserAgent,
        Self::SipAgent,
        Self::SshSoftware,
        Self::Ja4,
        Self::Alpn,
    ];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DnsQuestion => "dns_question",
            Self::TlsName => "tls_name",
            Self::QuicName => "quic_name",
            Self::DtlsName => "dtls_name",
            Self::Certificate => "certificate",
            Self::HttpHost => "http_host",
            Self::Ech => "ech",
            Self::HttpPath => "http_path",
            Self::HttpCookie => "http_cookie",
            Self::HttpCredentials => "http_credentials",
            Self::HttpReferer => "http_referer",
            Self::HttpAnswer => "http_answer",
            Self::UserAgent => "user_agent",
            Self::SipIdentity => "sip_identity",
            Self::SipAgent => "sip_agent",
            Self::SshSoftware => "ssh_software",
            Self::DeviceName => "device_name",
            Self::StunUser => "stun_user",
            Self::Ja4 => "ja4",
            Self::Alpn => "alpn",
        }
    }

    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::DnsQuestion => "names asked of a resolver in clear",
            Self::TlsName => "server names in TLS hellos",
            Self::QuicName => "server names in QUIC hellos",
            Self::DtlsName => "server names in DTLS hellos",
            Self::Certificate => "names in certificates (TLS 1.2 and older)",
            Self::HttpHost => "hosts of requests in clear",
            Self::Ech => "hellos with an encrypted part, or a decoy of one",
            Self::HttpPath => "requests in clear with a path",
            Self::HttpCookie => "requests in clear with cookies",
            Self::HttpCredentials => "requests in clear with credentials",
            Self::HttpReferer => "requests in clear that name the page before",
            Self::HttpAnswer => "connections whose answers are in clear, pages and all",
            Self::UserAgent => "browsers and apps by their own words",
            Self::SipIdentity => "callers and called",
            Self::SipAgent => "telephone software",
            Self::SshSoftware => "SSH software",
            Self::DeviceName => "names of devices and services in the local network",
            Self::StunUser => "user parts of STUN and TURN requests",
            Self::Ja4 => "client software by its hello (JA4)",
            Self::Alpn => "application protocols offered",
        }
    }

    /// What kind of knowledge it is.
    pub const fn group(self) -> Group {
        match self {
            Self::DnsQuestion
            | Self::TlsName
            | Self::QuicName
            | Self::DtlsName
            | Self::Certificate
            | Self::HttpHost
            | Self::Ech => Group::Names,
            Self::HttpPath
            | Self::HttpCookie
            | Self::HttpCredentials
            | Self::HttpReferer
            | Self::HttpAnswer => Group::Contents,
            Self::SipIdentity | Self::DeviceName | Self::StunUser => Group::Identities,
            _ => Group::Software,
        }
    }
}

/// Kinds of knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// which sites and services
    Names,
    /// what is said
    Contents,
    /// who
    Identities,
    /// with what
    Software,
}

/// What one channel tells.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// how often
    pub times: u64,
    /// of these, how often only the local network saw it
    pub local: u64,
    /// values with their counts; empty where values are not kept
    pub values: BTreeMap<String, u64>,
    /// how often a value came that did not fit
    pub others: u64,
}

/// What one flow, or all flows of a protocol, tell.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// flows
    pub flows: u64,
    /// of these, flows that only the local network saw
    pub local: u64,
    /// packets
    pub packets: u64,
    /// bytes
    pub bytes: u64,
    /// flows that tell names
    pub names: u64,
    /// flows that tell contents
    pub contents: u64,
    /// flows that tell identities
    pub identities: u64,
    /// flows that tell the software
    pub software: u64,
    /// flows that tell nothing but what protocol they are, addresses, sizes and times
    pub silent: u64,
}

/// All that was found.
#[derive(Debug)]
pub struct Found {
    show_identities: bool,
    /// by channel
    pub channels: BTreeMap<Channel, Finding>,
    /// by protocol; `""` stands for what was not recognised
    pub protocols: BTreeMap<&'static str, Learned>,
    /// far addresses, local ones left out
    pub addresses: BTreeSet<IpAddr>,
    /// subscribers, as hashes: they are counted, not told
    pub subscribers: BTreeSet<u64>,
    /// hidden identities, as hashes, with the number each is shown by
    people: BTreeMap<u64, usize>,
    /// what datagrams of open flows told
    open: HashMap<FlowKey, Learned, Xxh3Builder>,
}

impl Found {
    pub(super) fn new(show_identities: bool) -> Self {
        Self {
            show_identities,
            channels: BTreeMap::new(),
            protocols: BTreeMap::new(),
            addresses: BTreeSet::new(),
            subscribers: BTreeSet::new(),
            people: BTreeMap::new(),
            open: HashMap::with_hasher(Xxh3Builder::new()),
        }
    }

    /// The number of a hidden identity; those beyond [`PEOPLE`] share the last.
    fn number_of(&mut self, identity: &str) -> usize {
        let next = self.people.len() + 1;
        let hash = xxh3_64(identity.as_bytes());
        if next > PEOPLE && !self.people.contains_key(&hash) {
            return next;
        }
        *self.people.entry(hash).or_insert(next)
    }

    /// Books a value; an empty one is none.
    pub(super) fn see(&mut self, channel: Channel, value: &str, local: bool, learned: &mut Learned) {
        if value.is_empty() {
            return;
        }
        match channel.group() {
            Group::Names => learned.names = 1,
            Group::Contents => learned.contents = 1,
            Group::Identities => learned.identities = 1,
            Group::Software => learned.software = 1,
        }
        // `_airplay._tcp.local` names a kind of service and nobody.
        let kind = channel == Channel::DeviceName && value.starts_with('_');
        let identity = channel.group() == Group::Identities && !self.show_identities && !kind;
        let number = if identity { self.number_of(value) } else { 0 };
        let finding = self.channels.entry(channel).or_default();
        finding.times += 1;
        finding.local += u64::from(local);
        if channel.group() == Group::Contents {
            return;
        }
        let value = if identity { shortened(value, number) } else { value.chars().take(120).collect() };
        if finding.values.len() < VALUES || finding.values.contains_key(&value) {
            *finding.values.entry(value).or_default() += 1;
        } else {
            finding.others += 1;
        }
    }

    /// Books something that a datagram of a flow tells before the flow is over.
    pub(super) fn see_in(&mut self, key: &FlowKey, channel: Channel, value: &str, local: bool) {
        let mut learned = self.open.remove(key).unwrap_or_default();
        self.see(channel, value, local, &mut learned);
        self.put_learned(key, learned);
    }

    pub(super) fn take_learned(&mut self, key: &FlowKey) -> Learned {
        self.open.remove(key).unwrap_or_default()
    }

    pub(super) fn put_learned(&mut self, key: &FlowKey, learned: Learned) {
        if self.open.len() < OPEN {
            self.open.insert(*key, learned);
        }
    }

    pub(super) fn address(&mut self, remote: IpAddr, subscriber: IpAddr, local: bool) {
        if !local && self.addresses.len() < ADDRESSES {
            self.addresses.insert(remote);
        }
        if self.subscribers.len() < ADDRESSES {
            self.subscribers.insert(xxh3_64(subscriber.to_string().as_bytes()));
        }
    }

    pub(super) fn protocol(&mut self, name: &'static str, learned: &Learned, local: bool) {
        let all = self.protocols.entry(name).or_default();
        all.flows += learned.flows;
        all.local += u64::from(local);
        all.packets += learned.packets;
        all.bytes += learned.bytes;
        all.names += learned.names;
        all.contents += learned.contents;
        all.identities += learned.identities;
        all.software += learned.software;
        let told = learned.names + learned.contents + learned.identities + learned.software;
        all.silent += u64::from(told == 0);
    }
}

/// An identity so that it can be told from others and not be read: its first letter, its domain, and a
/// number in the order of appearance. (A hash would let anybody confirm a guess.) A telephone without a
/// provider has its own address in the domain's place: that would be the subscriber's, and is left out.
pub fn shortened(identity: &str, number: usize) -> String {
    let (user, domain) = identity.rsplit_once('@').map_or((identity, ""), |(user, domain)| (user, domain));
    let first: String = user.chars().find(|c| c.is_alphanumeric()).into_iter().collect();
    let at = if domain.is_empty() { "" } else { "@" };
    let domain: String = if is_address(domain) { "…".into() } else { domain.chars().take(60).collect() };
    format!("{first}…{at}{domain} #{number}")
}

/// Whether a host, with a port or without, is an address and no name.
fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let bare = bare.unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    [host, bare].iter().any(|text| text.parse::<IpAddr>().is_ok())
}
