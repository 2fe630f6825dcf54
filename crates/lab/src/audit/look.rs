//! Where an observer looks: datagrams as they pass, the first bytes of streams when they are over.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use okno_censor::{Context, Direction, Middlebox, Verdict};
use okno_wire::dns::MessageView;
use okno_wire::http::{RequestView, looks_like_request};
use okno_wire::quic::{CryptoAssembler, Rekey, looks_like_quic};
use okno_wire::sip::Message;
use okno_wire::ssh::Banner;
use okno_wire::tls::{self, Certificates, ClientHello, FirstFlight};
use okno_wire::x509::CertificateView;
use okno_wire::{FlowKey, Instant, PacketView, dns, stun};
use xxhash_rust::xxh3::Xxh3Builder;

use super::found::{Channel, Found, Learned};
use super::is_local;

/// QUIC flows whose hello is not whole yet.
const HELLOS: usize = 4_096;
/// Requests of one connection that are looked at.
const REQUESTS: usize = 64;
/// STUN's USERNAME (RFC 8489 §14.3).
const STUN_USERNAME: u16 = 0x0006;

/// A box that lets everything pass and looks.
#[derive(Debug)]
pub(super) struct Observer {
    found: Rc<RefCell<Found>>,
    hellos: HashMap<FlowKey, CryptoAssembler, Xxh3Builder>,
}

impl Observer {
    pub(super) fn new(found: Rc<RefCell<Found>>) -> Self {
        Self { found, hellos: HashMap::with_hasher(Xxh3Builder::new()) }
    }

    fn datagram(&mut self, packet: &PacketView<'_>, payload: &[u8], direction: Direction) {
        let (key, _) = packet.flow();
        let remote = if direction == Direction::Up { packet.destination } else { packet.source };
        let local = is_local(remote);
        let (source, destination) = packet.ports();
        let on = |ports: &[u16]| ports.contains(&source) || ports.contains(&destination);
        let mut found = self.found.borrow_mut();
        if on(&[53]) {
            question(&mut found, &key, Channel::DnsQuestion, payload, local);
        } else if on(&[5353, 5355]) {
            // RFC 6762, RFC 4795: such names are often those of people's devices.
            question(&mut found, &key, Channel::DeviceName, payload, local);
        } else if let Ok(message) = Message::parse(payload) {
            for identity in [message.from, message.to] {
                found.see_in(&key, Channel::SipIdentity, address_of(identity), local);
            }
            found.see_in(&key, Channel::SipAgent, message.agent, local);
        } else if let Ok(message) = stun::Message::parse(payload) {
            let user = message.attributes().find(|(kind, _)| *kind == STUN_USERNAME);
            let user = user.and_then(|(_, value)| core::str::from_utf8(value).ok()).unwrap_or_default();
            found.see_in(&key, Channel::StunUser, user, local);
        } else if looks_like_quic(payload) && payload.len() > 100 {
            if self.hellos.len() >= HELLOS && !self.hellos.contains_key(&key) {
                self.hellos.clear();
            }
            let hello = self.hellos.entry(key).or_insert_with(|| CryptoAssembler::new(Rekey::Any));
            hello.client(payload);
            let Some(message) = hello.hello() else { return };
            if let Ok(hello) = ClientHello::parse(message) {
                let mut learned = found.take_learned(&key);
                offered(&mut found, &mut learned, &hello, local);
                found.put_learned(&key, learned);
            }
            self.hellos.remove(&key);
        }
    }
}

impl Middlebox for Observer {
    fn on_packet(
        &mut self,
        _: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        _: &mut Context<'_>,
    ) -> Verdict {
        if let Some(udp) = packet.udp() {
            self.datagram(packet, udp.payload(), direction);
        }
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

fn question(found: &mut Found, key: &FlowKey, channel: Channel, payload: &[u8], local: bool) {
    let Ok(message) = MessageView::parse(payload) else { return };
    if message.is_response() {
        return;
    }
    if let Some(question) = message.question() {
        found.see_in(key, channel, &question.name.normalised(), local);
    }
}

/// `<sip:anna@example.org>;tag=1` to `anna@example.org`.
fn address_of(header: &str) -> &str {
    let rest = header.split_once("sips:").or_else(|| header.split_once("sip:")).map_or("", |(_, rest)| rest);
    rest.split(['>', ';', '?', ' ', ',']).next().unwrap_or_default()
}

/// What a hello offers besides its name.
fn offered(found: &mut Found, learned: &mut Learned, hello: &ClientHello<'_>, local: bool) {
    if hello.ech().is_some() || hello.esni().is_some() {
        let outer = hello.normalised_name().unwrap_or_default();
        let outer = if outer.is_empty() { "(no outer name)".to_owned() } else { outer };
        found.see(Channel::Ech, &outer, local, learned);
    }
    let protocols: Vec<String> =
        hello.alpn().map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect();
    found.see(Channel::Alpn, &protocols.join(" "), local, learned);
}

/// The first bytes of a connection, of the end that opened it and of the other.
pub(super) fn streams(found: &mut Found, learned: &mut Learned, client: &[u8], server: &[u8], local: bool) {
    if tls::looks_like_tls(client) || tls::looks_like_tls(server) {
        handshake(found, learned, client, server, local);
    } else if looks_like_request(client) {
        requests(found, learned, client, local);
        if server.starts_with(b"HTTP/") {
            found.see(Channel::HttpAnswer, "yes", local, learned);
        }
    } else if let Ok(banner) = Banner::parse(client) {
        found.see(Channel::SshSoftware, banner.software, local, learned);
    } else if let Ok(message) = Message::parse(client) {
        for identity in [message.from, message.to] {
            found.see(Channel::SipIdentity, address_of(identity), local, learned);
        }
        found.see(Channel::SipAgent, message.agent, local, learned);
    } else {
        for message in dns::tcp_messages(client).filter_map(|bytes| MessageView::parse(bytes).ok()) {
            if !message.is_plausible() || message.is_response() {
                break;
            }
            if let Some(question) = message.question() {
                found.see(Channel::DnsQuestion, &question.name.normalised(), local, learned);
            }
        }
    }
}

fn handshake(found: &mut Found, learned: &mut Learned, client: &[u8], server: &[u8], local: bool) {
    if let FirstFlight::Hello(flight) = tls::first_flight(client)
        && let Ok(hello) = ClientHello::parse(&flight.message)
    {
        found.see(Channel::TlsName, &hello.normalised_name().unwrap_or_default(), local, learned);
        offered(found, learned, &hello, local);
    }
    let messages = tls::handshake_bytes(server);
    for message in
        tls::messages(&messages).filter(|message| message.kind == tls::code::handshake::CERTIFICATE)
    {
        let Ok(mut certificates) = Certificates::parse(message.bytes) else { continue };
        let Some(Ok(leaf)) = certificates.next().map(CertificateView::parse) else { continue };
        let name = leaf.dns_names().next().or_else(|| leaf.subject.common_name()).unwrap_or_default();
        found.see(Channel::Certificate, name, local, learned);
    }
}

fn requests(found: &mut Found, learned: &mut Learned, mut bytes: &[u8], local: bool) {
    for _ in 0..REQUESTS {
        let Ok(request) = RequestView::parse(bytes) else { return };
        let host = String::from_utf8_lossy(request.host().unwrap_or_default()).to_lowercase();
        found.see(Channel::HttpHost, &host, local, learned);
        if request.target.len() > 1 && request.target.first() == Some(&b'/') {
            found.see(Channel::HttpPath, "yes", local, learned);
        }
        for (header, channel) in [
            ("cookie", Channel::HttpCookie),
            ("authorization", Channel::HttpCredentials),
            ("proxy-authorization", Channel::HttpCredentials),
            ("referer", Channel::HttpReferer),
        ] {
            if request.header(header).is_some() {
                found.see(channel, "yes", local, learned);
            }
        }
        let agent =
            request.header("user-agent").map(|agent| String::from_utf8_lossy(agent.value).into_owned());
        found.see(Channel::UserAgent, &agent.unwrap_or_default(), local, learned);
        let length = request.header("content-length").and_then(|length| {
            core::str::from_utf8(length.value).ok().and_then(|text| text.trim().parse::<usize>().ok())
        });
        let next = request.head_len.saturating_add(length.unwrap_or(0));
        match bytes.get(next..) {
            Some(rest) if request.complete && next > 0 && looks_like_request(rest) => bytes = rest,
            _ => return,
        }
    }
}
