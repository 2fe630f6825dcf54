//! Protocols against whole profiles on a day, lists as shipped.
//!
//! A protocol's exchange is played across the box, both ends as recorded traffic has them; it survives when
//! every packet passes unchanged. The far end is a foreign address that no list names, unless the protocol
//! needs a certain one (a public resolver, Cloudflare).

use okno_wire::dns::{query, tcp_framed};
use okno_wire::dtls::preset as dtls;
use okno_wire::openvpn::{Opcode, Repr};
use okno_wire::quic::Version;
use okno_wire::ssh::Banner;
use okno_wire::tls::preset::{self, random_bytes};
use okno_wire::tls::{extension, record as tls_record};
use okno_wire::wireguard::{Kind, Message};
use okno_wire::{ike, stun};

use super::{Agreement, Cell, Head, Table, record};
use crate::evasion::initial_for;
use crate::fidelity::{Seen, Stage, Tcp, Trial, Udp};
use crate::path::Ending;

/// Profiles and days, as columns.
pub const PROFILES: &[(&str, &str, &str)] = &[
    ("RU-2021-05", "tspu-2021@2021-05-01", "Russia, 1 May 2021"),
    ("RU-2022-03", "tspu-2022@2022-03-15", "Russia, 15 March 2022"),
    ("RU-2023-09", "tspu-2022@2023-09-15", "Russia, 15 September 2023"),
    ("RU-2024-09", "tspu-2024@2024-09-01", "Russia, 1 September 2024"),
    ("RU-2024-12", "tspu-2024@2024-12-01", "Russia, 1 December 2024"),
    ("RU-2025-07", "tspu-2025@2025-07-01", "Russia, 1 July 2025"),
    ("RU-2025-11", "tspu-2025@2025-11-15", "Russia, 15 November 2025"),
    ("RU-2026-04", "tspu-2026@2026-04-15", "Russia, 15 April 2026"),
    ("RU-2026-09", "tspu-2026@2026-09-25", "Russia, 25 September 2026"),
    ("RU-whitelist", "ru-mobile-whitelist-2025", "Russia, mobile whitelist"),
    ("RU-dns", "ru-dns-2026@2026-09-10", "Russia, national DNS, 10 September 2026"),
    ("CN-2022", "china-gfw@2022-06-01", "China, 1 June 2022"),
    ("CN-2024", "china-gfw@2024-09-01", "China, 1 September 2024"),
    ("IR", "iran@2024-01-01", "Iran, 1 January 2024"),
    ("KZ", "kazakhstan@2024-01-01", "Kazakhstan, 1 January 2024"),
];

/// What came of a played exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// packets sent
    pub sent: u32,
    /// packets that passed unchanged
    pub passed: u32,
    /// packets that became RST, or RSTs that came beside them
    pub resets: u32,
    /// other packets that the box changed or sent
    pub forged: u32,
}

impl Played {
    /// How that looks to the client.
    pub const fn ending(self) -> Ending {
        if self.resets > 0 {
            Ending::Reset
        } else if self.forged > 0 {
            Ending::Forged
        } else if self.passed == self.sent {
            Ending::Through
        } else if self.passed == 0 {
            Ending::NeverArrived
        } else if self.passed * 2 < self.sent {
            Ending::Unanswered
        } else {
            Ending::Frozen
        }
    }
}

type Play = fn(&mut Line);

/// Names, descriptions and exchanges.
pub const PROTOCOLS: &[(&str, &str, Play)] = &[
    ("tls", "TLS with an innocent name", |line| {
        line.tls(FAR, &preset::firefox(1, Some("www.example.org"), false).emit_record())
    }),
    ("tls_pq", "TLS with post-quantum shares", |line| {
        line.tls(FAR, &preset::firefox(1, Some("www.example.org"), true).emit_record())
    }),
    ("tls_facebook", "TLS to www.facebook.com", |line| {
        line.tls(FAR, &preset::firefox(1, Some("www.facebook.com"), false).emit_record())
    }),
    ("tls_ech", "TLS with ECH, to Cloudflare", |line| line.tls(CLOUDFLARE, &ech())),
    ("quic_v1", "QUIC version 1, innocent name", |line| line.quic(Version::V1, "www.example.org")),
    ("quic_v1_facebook", "QUIC version 1 to www.facebook.com", |line| {
        line.quic(Version::V1, "www.facebook.com")
    }),
    ("quic_v2_facebook", "QUIC version 2 to www.facebook.com", |line| {
        line.quic(Version::V2, "www.facebook.com")
    }),
    ("http_facebook", "HTTP to www.facebook.com", Line::http),
    ("dns_udp", "DNS over UDP to 8.8.8.8, youtube.com", Line::dns_udp),
    ("dns_tcp", "DNS over TCP to 8.8.8.8, youtube.com", Line::dns_tcp),
    ("wireguard", "WireGuard", Line::wireguard),
    ("amneziawg", "WireGuard with junk, other sizes and types", Line::amnezia),
    ("openvpn_udp", "OpenVPN over UDP", Line::openvpn),
    ("ike_esp", "IKEv2 and ESP in UDP", Line::ike),
    ("tls_hosting", "64 kB over TLS from a foreign hoster", Line::transfer),
    ("ssh", "SSH", |line| line.ssh(FAR)),
    ("ssh_hosting", "SSH to a foreign hoster", |line| line.ssh(HOSTER)),
    ("shadowsocks_443", "bytes that look like nothing, to port 443 of DigitalOcean", |line| line.random(443)),
    ("shadowsocks_5555", "the same to port 5555", |line| line.random(5_555)),
    ("mtproxy_0xfe02", "MTProxy FakeTLS of March 2026", |line| {
        line.tls(FAR, &preset::telegram(1, "www.example.org").emit_record())
    }),
    ("mtproxy_chrome", "MTProxy FakeTLS with Chrome's fingerprint", |line| {
        line.tls(FAR, &preset::chrome(1, Some("www.example.org"), false).emit_record())
    }),
    ("snowflake_pion", "Snowflake with pion's DTLS 1.2 hello", |line| {
        line.dtls(&dtls::datagram(&dtls::pion(1)))
    }),
    ("snowflake_random", "Snowflake with a randomised hello", |line| {
        line.dtls(&dtls::datagram(&dtls::randomised(1)))
    }),
    ("snowflake_dtls13", "Snowflake with DTLS 1.3", |line| line.dtls(&dtls::datagram(&dtls::dtls13(1)))),
    ("call_telegram", "a Telegram call: STUN to port 1400", |line| line.call(1_400)),
    ("call_whatsapp", "a WhatsApp call: STUN to port 3478", |line| line.call(3_478)),
    ("call_other", "a call by STUN to port 19302", |line| line.call(19_302)),
];

/// A foreign address that no list names (TEST-NET-1).
const FAR: &str = "192.0.2.80";
/// An address of DigitalOcean.
const HOSTER: &str = "134.209.10.20";
const CLOUDFLARE: &str = "104.16.132.229";
const RESOLVER: &str = "8.8.8.8";

/// Plays one protocol across a profile's box.
pub fn play(profile: &str, protocol: &str) -> Result<Played, String> {
    let (_, _, run) = PROTOCOLS.iter().find(|(id, ..)| *id == protocol).ok_or("no such protocol")?;
    let stage = Trial::new(profile)?.stage()?;
    let mut line = Line { stage, played: Played { sent: 0, passed: 0, resets: 0, forged: 0 } };
    run(&mut line);
    let Line { stage, mut played } = line;
    for sent in &stage.sent {
        if is_reset(&sent.packet) {
            played.resets += 1;
        } else {
            played.forged += 1;
        }
    }
    Ok(played)
}

fn is_reset(packet: &[u8]) -> bool {
    okno_wire::PacketView::parse(packet)
        .is_ok_and(|view| view.tcp().is_some_and(|tcp| tcp.has(okno_wire::packet::flag::RST)))
}

/// An exchange being played.
#[derive(Debug)]
pub struct Line {
    stage: Stage,
    played: Played,
}

impl Line {
    fn count(&mut self, seen: &Seen) {
        self.played.sent += 1;
        match seen {
            Seen::Passed => self.played.passed += 1,
            Seen::Changed(packet) if is_reset(packet) => self.played.resets += 1,
            Seen::Changed(_) => self.played.forged += 1,
            Seen::Dropped | Seen::Held => {}
        }
    }

    fn up(&mut self, tcp: &mut Tcp, payload: &[u8]) {
        for piece in payload.chunks(1_400) {
            let seen = tcp.up(&mut self.stage, piece);
            self.count(&seen);
        }
    }

    fn down(&mut self, tcp: &mut Tcp, payload: &[u8]) {
        for piece in payload.chunks(1_400) {
            let seen = tcp.down(&mut self.stage, piece);
            self.count(&seen);
        }
    }

    fn datagram(&mut self, udp: Udp, up: bool, payload: &[u8]) {
        let seen = if up { udp.up(&mut self.stage, payload) } else { udp.down(&mut self.stage, payload) };
        self.count(&seen);
    }

    fn open(&mut self, ip: &str, port: u16) -> Tcp {
        let mut tcp = Tcp::new(50_000).to(ip).port(port);
        let open = tcp.open(&mut self.stage);
        self.played.sent += 3;
        self.played.passed += if open { 3 } else { 0 };
        tcp
    }

    /// A handshake and six records each way.
    fn tls(&mut self, ip: &str, hello: &[u8]) {
        let mut tcp = self.open(ip, 443);
        self.up(&mut tcp, hello);
        self.down(&mut tcp, &tls_record(22, 0x0303, &[2, 0, 0, 2, 3, 3]));
        for _ in 0..6 {
            self.up(&mut tcp, &tls_record(23, 0x0303, &[7; 160]));
            self.down(&mut tcp, &tls_record(23, 0x0303, &[8; 900]));
        }
    }

    /// A download of 64 kB, every second segment acknowledged.
    fn transfer(&mut self) {
        let mut tcp = self.open(HOSTER, 443);
        self.up(&mut tcp, &preset::firefox(1, Some("www.example.org"), false).emit_record());
        for index in 0..46 {
            self.down(&mut tcp, &tls_record(23, 0x0303, &[8; 1_395]));
            if index % 2 == 1 {
                let seen = tcp.ack_up(&mut self.stage);
                self.count(&seen);
            }
        }
    }

    fn quic(&mut self, version: Version, name: &str) {
        let udp = Udp::new(50_000).to(FAR);
        self.datagram(udp, true, &initial_for(version, Some(name), 1_200));
        for index in 0..8 {
            let mut short = random_bytes(index, "short", 600);
            short[0] = 0x40 | short[0] & 0x3f;
            self.datagram(udp, index % 2 == 1, &short);
        }
    }

    fn http(&mut self) {
        let mut tcp = self.open(FAR, 80);
        self.up(&mut tcp, b"GET / HTTP/1.1\r\nHost: www.facebook.com\r\nUser-Agent: x\r\n\r\n");
        self.down(&mut tcp, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    fn dns_udp(&mut self) {
        let udp = Udp::new(50_000).port(53).to(RESOLVER);
        self.datagram(udp, true, &query(7, "youtube.com", 1).emit());
    }

    fn dns_tcp(&mut self) {
        let mut tcp = self.open(RESOLVER, 53);
        self.up(&mut tcp, &tcp_framed(&query(7, "youtube.com", 1).emit()));
        self.down(&mut tcp, &[0; 60]);
    }

    fn wireguard(&mut self) {
        let udp = Udp::new(50_000).port(51_820).to(FAR);
        let message = |kind| Message { kind, reserved: [0; 3] }.emit(0xa5);
        self.datagram(udp, true, &message(Kind::Initiation { sender: 7 }));
        self.datagram(udp, false, &message(Kind::Response { sender: 9, receiver: 7 }));
        for counter in 0..12 {
            self.datagram(udp, counter % 2 == 0, &message(Kind::Data { receiver: 7, counter, size: 96 }));
        }
    }

    fn amnezia(&mut self) {
        let udp = Udp::new(50_000).port(51_820).to(FAR);
        for index in 0..16_u64 {
            let size = [53, 66, 79, 92, 185, 143, 113, 119][index as usize % 8];
            self.datagram(udp, index < 5 || index % 2 == 0, &random_bytes(index, "amnezia", size));
        }
    }

    fn openvpn(&mut self) {
        let udp = Udp::new(50_000).port(1_194).to(FAR);
        let (mine, theirs) = (0x8f31_c2d4_95e6_0a7b_u64, 0x3b90_7de1_46fa_c825_u64);
        let control = |opcode, session, acknowledged: Vec<u32>, id, payload: Vec<u8>| {
            let remote = if session == mine { theirs } else { mine };
            Repr { opcode, session, acknowledged, remote, id, payload }.emit()
        };
        let hello = preset::curl(1, Some("vpn.example")).emit_record();
        self.datagram(udp, true, &control(Opcode::ResetClientV2, mine, vec![], 0, vec![]));
        self.datagram(udp, false, &control(Opcode::ResetServerV2, theirs, vec![0], 0, vec![]));
        self.datagram(udp, true, &control(Opcode::Ack, mine, vec![0], 0, vec![]));
        self.datagram(udp, true, &control(Opcode::Control, mine, vec![], 1, hello));
        self.datagram(udp, false, &control(Opcode::Control, theirs, vec![1], 1, vec![0x16; 300]));
        for index in 0..24_u32 {
            let mut bytes = vec![(Opcode::DataV2 as u8) << 3, 0, 0, 1];
            bytes.extend(index.to_be_bytes());
            bytes.extend(random_bytes(u64::from(index), "data", 120));
            self.datagram(udp, index % 2 == 0, &bytes);
        }
    }

    fn ike(&mut self) {
        let udp = Udp::new(500).port(500).to(FAR);
        self.datagram(udp, true, &crate::fidelity::ike_init(false));
        self.datagram(udp, false, &crate::fidelity::ike_init(true));
        let natted = Udp::new(4_500).port(4_500).to(FAR);
        for sequence in 1..20_u32 {
            let packet = ike::Esp { spi: 0x1122_3344, sequence }.emit(116, sequence as u8);
            self.datagram(natted, sequence % 2 == 1, &packet);
        }
    }

    fn ssh(&mut self, ip: &str) {
        let mut tcp = self.open(ip, 22);
        let banner = |software| Banner { version: "2.0", software, comment: "", size: 0 }.emit();
        self.down(&mut tcp, &banner("OpenSSH_9.6"));
        self.up(&mut tcp, &banner("OpenSSH_9.7"));
        for index in 0..30 {
            self.up(&mut tcp, &random_bytes(index, "ssh", 90));
            self.down(&mut tcp, &random_bytes(index, "answer", 900));
        }
    }

    fn random(&mut self, port: u16) {
        let mut tcp = self.open(HOSTER, port);
        for index in 0..8 {
            self.up(&mut tcp, &random_bytes(index, "client", 600));
            self.down(&mut tcp, &random_bytes(index, "server", 1_200));
        }
    }

    fn dtls(&mut self, hello: &[u8]) {
        let udp = Udp::new(50_000).port(40_123).to(FAR);
        self.datagram(udp, true, hello);
        self.stage.wait_s(2.0);
        for index in 0..40 {
            self.datagram(udp, index % 2 == 1, &random_bytes(index, "dtls", 120));
        }
    }

    fn call(&mut self, port: u16) {
        let udp = Udp::new(50_000).port(port).to(FAR);
        let binding =
            |class| stun::Repr { method: 1, class, transaction: [9; 12], attributes: Vec::new() }.emit();
        for _ in 0..20 {
            self.datagram(udp, true, &binding(stun::Class::Request));
            self.datagram(udp, false, &binding(stun::Class::Success));
        }
    }
}

fn ech() -> Vec<u8> {
    let (enc, payload) = (random_bytes(1, "enc", 32), random_bytes(1, "payload", 208));
    let outer = preset::firefox(1, Some("cloudflare-ech.com"), false);
    outer.with_extension(extension::ech_outer(7, &enc, &payload)).emit_record()
}

pub(super) fn table() -> Result<Table, String> {
    let mut cells = Vec::new();
    for (protocol, ..) in PROTOCOLS {
        for (column, profile, _) in PROFILES {
            let ending = play(profile, protocol)?.ending();
            let survives = ending == Ending::Through;
            let recorded = record::of(protocol, column);
            cells.push(Cell {
                row: (*protocol).to_owned(),
                column: (*column).to_owned(),
                survives,
                ending,
                recorded: recorded.map(|said| said.survives),
                agreement: Agreement::of(survives, recorded.map(|said| said.survives)),
                source: recorded.map_or_else(String::new, |said| said.source.to_owned()),
            });
        }
    }
    let head = |id: &str, title: &str| Head { id: id.to_owned(), title: title.to_owned() };
    Ok(Table {
        rows: PROTOCOLS.iter().map(|(id, title, _)| head(id, title)).collect(),
        columns: PROFILES.iter().map(|(id, _, title)| head(id, title)).collect(),
        cells,
    })
}
