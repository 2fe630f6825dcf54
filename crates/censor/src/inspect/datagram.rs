//! QUIC, DNS and DTLS in the datagrams of a flow, under the switches.

use okno_wire::dns::MessageView;
use okno_wire::dtls;
use okno_wire::quic::{CryptoAssembler, LongView, PacketKind, Rekey, Step, Version, looks_like_quic};
use okno_wire::tls::{ClientHello, Ja4Transport, code, ja4};

use super::{Seen, Tell};
use crate::switches::{Crypto, PartialHello, QuicRekey, Switches};
use crate::technique::{Dtls, Event, Hello, Initial, Interest, Query};

/// What is remembered of a flow's datagrams.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    quic: Option<Box<CryptoAssembler>>,
    quic_done: bool,
    hellos: u32,
    junk: u32,
    count: u32,
    dtls: Option<Box<dtls::Assembler>>,
}

impl Datagrams {
    /// Bytes that it keeps.
    pub fn memory(&self) -> usize {
        self.quic.as_ref().map_or(0, |quic| size_of::<CryptoAssembler>() + quic.held_bytes())
            + self.dtls.as_ref().map_or(0, |dtls| size_of::<dtls::Assembler>() + dtls.held_bytes())
    }

    /// Looks at one datagram.
    pub fn look(&mut self, switches: &Switches, wanted: Interest, seen: &Seen<'_>, tell: Tell<'_>) {
        self.count += 1;
        if wanted.has(Interest::QUIC_INITIAL) && !self.quic_done && seen.server_port_in(&switches.quic.ports)
        {
            self.quic(switches, seen, tell);
        }
        if wanted.has(Interest::DNS_QUERY)
            && seen.is_from_opener()
            && seen.server_port_in(&switches.dns.ports)
        {
            query(seen.payload, switches, tell);
        }
        if wanted.has(Interest::DTLS_HELLO) && dtls::looks_like_dtls(seen.payload) {
            self.dtls(seen, tell);
        }
    }

    fn quic(&mut self, switches: &Switches, seen: &Seen<'_>, tell: Tell<'_>) {
        let quirks = &switches.quic;
        if !seen.is_from_opener() {
            if let Some(quic) = &mut self.quic {
                quic.server(seen.payload);
            }
            return;
        }
        self.quic_done = quirks.first_datagram_only;
        let view = if looks_like_quic(seen.payload) { LongView::parse(seen.payload).ok() } else { None };
        let Some(view) = view.filter(|view| view.kind == PacketKind::Initial) else {
            self.junk += 1;
            self.quic_done |= quirks.junk_until_give_up.is_some_and(|limit| self.junk >= limit);
            return;
        };
        let version = view.version;
        let known = quirks.versions.is_empty() || quirks.versions.contains(&version.0);
        if quirks.crypto == Crypto::None || !known {
            tell(&Event::QuicInitial(&Initial { version: version.0, hello: None, datagram: seen.payload }));
            return;
        }
        self.initial(version, switches, seen, tell);
    }

    fn initial(&mut self, version: Version, switches: &Switches, seen: &Seen<'_>, tell: Tell<'_>) {
        let quirks = &switches.quic;
        if quirks.crypto == Crypto::Datagram {
            self.quic = None;
        }
        let rekey = match quirks.rekey {
            QuicRekey::Never => Rekey::Never,
            QuicRekey::AfterRetry => Rekey::AfterRetry,
            QuicRekey::Any => Rekey::Any,
        };
        let assembler = self.quic.get_or_insert_with(|| Box::new(CryptoAssembler::new(rekey)));
        let step = assembler.client(seen.payload);
        if matches!(step, Step::Unreadable(_) | Step::NotQuic(_)) {
            self.junk += 1;
            self.quic_done |= quirks.junk_until_give_up.is_some_and(|limit| self.junk >= limit);
        }
        let whole = step == Step::Hello;
        let message = if whole { assembler.hello() } else { Some(assembler.joined()) };
        let hello = message
            .filter(|message| whole || quirks.partial != PartialHello::Never && !message.is_empty())
            .and_then(|message| ClientHello::parse_prefix(message).ok());
        let name = hello.as_ref().and_then(ClientHello::server_name).map(|name| switches.normalise(name));
        // A hello that is not whole counts once its name is there.
        let read = hello.filter(|_| whole || name.is_some());
        let facts = read.map(|hello| Hello {
            name: name.as_deref().unwrap_or(""),
            message: hello.message(),
            ech: hello.ech().is_some(),
            esni: hello.esni().is_some(),
            direction: seen.direction,
            segments: assembler.datagrams(),
            records: 0,
            offset: 0,
        });
        tell(&Event::QuicInitial(&Initial {
            version: version.0,
            hello: facts.as_ref(),
            datagram: seen.payload,
        }));
        if facts.is_some() {
            self.hellos += 1;
            self.quic_done |= !quirks.later_hellos;
        }
    }

    fn dtls(&mut self, seen: &Seen<'_>, tell: Tell<'_>) {
        let kind =
            if seen.is_from_opener() { code::handshake::CLIENT_HELLO } else { code::handshake::SERVER_HELLO };
        let mut server = dtls::Assembler::new(kind);
        let assembler = if seen.is_from_opener() {
            &mut **self.dtls.get_or_insert_with(|| Box::new(dtls::Assembler::client_hello()))
        } else {
            &mut server
        };
        if assembler.datagram(seen.payload) != dtls::Step::Whole {
            return;
        }
        let fingerprint = match assembler.body().filter(|_| seen.is_from_opener()) {
            Some(body) => ja4(&dtls::client_hello_prefix(body), Ja4Transport::Dtls),
            None => String::new(),
        };
        tell(&Event::DtlsHello(&Dtls {
            from_server: !seen.is_from_opener(),
            version: assembler.record_version(),
            fingerprint: &fingerprint,
            datagram: seen.payload,
        }));
        self.dtls = None;
    }
}

/// Tells a DNS query.
pub(super) fn query(message: &[u8], switches: &Switches, tell: Tell<'_>) {
    let Ok(view) = MessageView::parse(message) else { return };
    if view.is_response() {
        return;
    }
    let Some(question) = view.question() else { return };
    let name = switches.normalise(&question.name.to_text());
    tell(&Event::DnsQuery(&Query { name: &name, kind: question.kind, message }));
}
