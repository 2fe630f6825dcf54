//! Tunnels: the first flights and the data of WireGuard, OpenVPN, IKEv2 with ESP, L2TP and Shadowsocks.
//!
//! Sizes, order and every clear field are as on the wire; keys, ciphertexts and tags are random bytes.
//! [`answer`] is the other side: a pure function of one datagram, so that the helper holds no state that a
//! stranger could fill, and each answer but OpenVPN's reset (26 bytes to 14) is at most as long as its
//! question, so that it amplifies nothing.

use core::fmt;

use okno_wire::openvpn::{self, Opcode};
use okno_wire::tls::preset;
use okno_wire::wireguard::{self, Kind};
use okno_wire::{ike, l2tp};

use super::{Framing, Speech};
use crate::net::{Net, below, random};

/// A tunnel's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// IKEv2 and ESP in UDP
    Ikev2,
    /// L2TP version 2
    L2tp,
    /// OpenVPN over TCP
    OpenvpnTcp,
    /// OpenVPN over UDP
    OpenvpnUdp,
    /// fully encrypted over TCP, in the sizes of HTTPS inside a tunnel
    Shadowsocks,
    /// fully encrypted over UDP
    ShadowsocksUdp,
    /// WireGuard
    Wireguard,
}

impl Tunnel {
    /// Every protocol.
    pub const ALL: [Self; 7] = [
        Self::Ikev2,
        Self::L2tp,
        Self::OpenvpnTcp,
        Self::OpenvpnUdp,
        Self::Shadowsocks,
        Self::ShadowsocksUdp,
        Self::Wireguard,
    ];

    /// Its name, as the scheme of an input and as an arm's variant.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ikev2 => "ikev2",
            Self::L2tp => "l2tp",
            Self::OpenvpnTcp => "openvpn-tcp",
            Self::OpenvpnUdp => "openvpn-udp",
            Self::Shadowsocks => "shadowsocks",
            Self::ShadowsocksUdp => "shadowsocks-udp",
            Self::Wireguard => "wireguard",
        }
    }

    /// By name; `openvpn` is over UDP, `ike` is IKEv2.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "openvpn" => Some(Self::OpenvpnUdp),
            "ike" => Some(Self::Ikev2),
            _ => Self::ALL.into_iter().find(|tunnel| tunnel.as_str() == name),
        }
    }

    /// Its usual port. WireGuard's and Shadowsocks' are habits (wg-quick's and the reference server's
    /// examples); the others are IANA's. IKE may start on 4500 (RFC 7296 §2.23).
    pub const fn port(self) -> u16 {
        match self {
            Self::Ikev2 => ike::NAT_PORT,
            Self::L2tp => l2tp::PORT,
            Self::OpenvpnTcp | Self::OpenvpnUdp => 1_194,
            Self::Shadowsocks | Self::ShadowsocksUdp => 8_388,
            Self::Wireguard => 51_820,
        }
    }

    /// How its messages stand in a TCP stream; `None` over UDP.
    pub const fn framing(self) -> Option<Framing> {
        match self {
            Self::OpenvpnTcp => Some(Framing::Length),
            Self::Shadowsocks => Some(Framing::Echo),
            _ => None,
        }
    }

    /// Whether nothing of it is a protocol to look at: its control are letters, not random bytes.
    pub const fn is_featureless(self) -> bool {
        matches!(self, Self::Shadowsocks | Self::ShadowsocksUdp)
    }

    /// The client's side.
    pub fn client(self, net: &dyn Net) -> Client {
        Client { tunnel: self, own: random(net), peer: 0, next: 0 }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    tunnel: Tunnel,
    /// own index, session, SPI
    own: [u8; 8],
    /// the peer's
    peer: u64,
    /// next packet id of OpenVPN
    next: u32,
}

impl Client {
    fn session(&self) -> u64 {
        u64::from_be_bytes(self.own)
    }

    /// WireGuard's sender index and ESP's SPI: 0–255 are reserved for the latter (RFC 4303 §2.1).
    fn index(&self) -> u32 {
        u32::from_be_bytes([self.own[0], self.own[1], self.own[2], self.own[3]]) | 0x100
    }

    fn control(&mut self, opcode: Opcode, acknowledged: Vec<u32>, payload: Vec<u8>) -> Vec<u8> {
        let id = self.next;
        self.next += 1;
        let repr =
            openvpn::Repr { opcode, session: self.session(), acknowledged, remote: self.peer, id, payload };
        repr.emit()
    }
}

impl Speech for Client {
    fn steps(&self) -> usize {
        match self.tunnel {
            Tunnel::Wireguard | Tunnel::Shadowsocks | Tunnel::ShadowsocksUdp => 1,
            Tunnel::Ikev2 | Tunnel::L2tp => 2,
            Tunnel::OpenvpnTcp | Tunnel::OpenvpnUdp => 3,
        }
    }

    fn open(&mut self, step: usize, net: &dyn Net) -> Vec<u8> {
        match self.tunnel {
            Tunnel::Wireguard => wireguard_message(Kind::Initiation { sender: self.index() }, net),
            Tunnel::OpenvpnTcp | Tunnel::OpenvpnUdp => match step {
                0 => {
                    self.next = 0;
                    self.control(Opcode::ResetClientV2, Vec::new(), Vec::new())
                }
                1 => {
                    self.next = 1;
                    // The control channel's TLS is OpenSSL's; no name is in it.
                    let hello = preset::curl(below(net, u64::MAX), None).emit_record();
                    self.control(Opcode::Control, vec![0], hello)
                }
                _ => {
                    self.next = 2;
                    // Finished and the key exchange message, as records of application data.
                    let finished = okno_wire::tls::record(23, 0x0303, &filled(net, 395));
                    self.control(Opcode::Control, vec![1], finished)
                }
            },
            Tunnel::Ikev2 => ike_message(step, self.session(), self.peer, net),
            Tunnel::L2tp => l2tp_control(if step == 0 { 1 } else { 3 }, step as u16, self.peer as u16),
            // Salt, length block and an address inside (https://shadowsocks.org/doc/aead.html).
            Tunnel::Shadowsocks | Tunnel::ShadowsocksUdp => featureless(net, 180 + below(net, 60) as usize),
        }
    }

    fn accepts(&mut self, step: usize, bytes: &[u8]) -> bool {
        match self.tunnel {
            Tunnel::Wireguard => match wireguard::Message::parse(bytes).map(|message| message.kind) {
                Ok(Kind::Response { sender, receiver }) if receiver == self.index() => {
                    self.peer = u64::from(sender);
                    true
                }
                _ => false,
            },
            Tunnel::OpenvpnTcp | Tunnel::OpenvpnUdp => {
                let Ok(packet) = openvpn::Repr::parse(bytes) else { return false };
                let expected = match step {
                    0 => packet.opcode == Opcode::ResetServerV2,
                    1 => packet.opcode == Opcode::Control,
                    _ => matches!(packet.opcode, Opcode::Control | Opcode::Ack),
                };
                // An answer acknowledges this step's packet; a repeated one an earlier.
                let ours = packet.acknowledged.contains(&(step as u32));
                if expected && ours {
                    self.peer = packet.session;
                }
                expected && ours
            }
            Tunnel::Ikev2 => match ike::natted(bytes) {
                Ok(ike::Natted::Ike(header)) => {
                    self.peer = header.responder;
                    header.initiator == self.session() && header.message == step as u32
                }
                _ => false,
            },
            Tunnel::L2tp => l2tp::Control::parse(bytes).is_ok_and(|control| {
                let kind = if step == 0 { Some(2) } else { None };
                control.kind == kind && control.expected == step as u16 + 1
            }),
            Tunnel::Shadowsocks | Tunnel::ShadowsocksUdp => !bytes.is_empty(),
        }
    }

    fn data(&mut self, index: u32, len: usize, net: &dyn Net) -> Vec<u8> {
        match self.tunnel {
            Tunnel::Wireguard => {
                // Padded to 16 bytes, and a tag of 16 (paper §5.4.6).
                let size = len.next_multiple_of(16) + 16;
                let receiver = self.peer as u32;
                wireguard_message(Kind::Data { receiver, counter: u64::from(index), size }, net)
            }
            Tunnel::OpenvpnTcp | Tunnel::OpenvpnUdp => {
                // P_DATA_V2: opcode, peer id, packet id, tag and ciphertext.
                let mut bytes = vec![(Opcode::DataV2 as u8) << 3, 0, 0, 0];
                bytes.extend((index + 1).to_be_bytes());
                bytes.extend(filled(net, len.max(16)));
                bytes
            }
            Tunnel::Ikev2 => {
                let mut bytes = ike::Esp { spi: self.index(), sequence: index + 1 }
                    .emit(len.max(28).next_multiple_of(4), 0);
                net.fill_random(&mut bytes[8..]);
                bytes
            }
            Tunnel::L2tp => {
                // RFC 2661 §3.1: a data message without optional fields, then PPP (0xff 0x03).
                let mut bytes = 2_u16.to_be_bytes().to_vec();
                bytes.extend((self.peer as u16).to_be_bytes());
                bytes.extend([0, 1, 0xff, 0x03]);
                bytes.extend(filled(net, len.max(16)));
                bytes
            }
            Tunnel::Shadowsocks | Tunnel::ShadowsocksUdp => featureless(net, len),
        }
    }
}

/// Random bytes.
fn filled(net: &dyn Net, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    net.fill_random(&mut bytes);
    bytes
}

/// Random bytes whose first is that of no protocol that is told by it.
fn featureless(net: &dyn Net, len: usize) -> Vec<u8> {
    let mut bytes = filled(net, len);
    if let Some(first) = bytes.first_mut() {
        *first = 0xd0 | *first & 0x07;
    }
    bytes
}

/// A WireGuard message with random bytes after its header; mac2 is zeros unless the peer is under load
/// (https://www.wireguard.com/papers/wireguard.pdf §5.4.4).
fn wireguard_message(kind: Kind, net: &dyn Net) -> Vec<u8> {
    wireguard_filled(kind, &mut |bytes| net.fill_random(bytes))
}

fn wireguard_filled(kind: Kind, fill: &mut dyn FnMut(&mut [u8])) -> Vec<u8> {
    let mut bytes = wireguard::Message { kind, reserved: [0; 3] }.emit(0);
    let header = match kind {
        Kind::Initiation { .. } | Kind::CookieReply { .. } => 8,
        Kind::Response { .. } => 12,
        Kind::Data { .. } => 16,
    };
    fill(&mut bytes[header..]);
    if matches!(kind, Kind::Initiation { .. } | Kind::Response { .. }) {
        let at = bytes.len() - 16;
        bytes[at..].fill(0);
    }
    bytes
}

/// IKE's non-ESP marker (RFC 3948 §2.2).
const MARKER: [u8; 4] = [0; 4];
/// Exchange and payload types (https://www.iana.org/assignments/ikev2-parameters).
mod number {
    pub const SA_INIT: u8 = 34;
    pub const AUTH: u8 = 35;
    pub const SA: u8 = 33;
    pub const KE: u8 = 34;
    pub const NONCE: u8 = 40;
    pub const SK: u8 = 46;
}

/// SA_INIT with one proposal, a group's key and a nonce; then AUTH, encrypted.
fn ike_message(step: usize, own: u64, peer: u64, net: &dyn Net) -> Vec<u8> {
    let mut body = Vec::new();
    if step == 0 {
        // RFC 7296 §3.3: one proposal for IKE of AES-CBC-256, HMAC-SHA2-256 twice, group 14.
        let transforms = [(1_u8, 12_u16, true), (3, 12, false), (2, 5, false), (4, 14, false)];
        let mut proposal = Vec::new();
        for (index, (kind, id, keyed)) in transforms.into_iter().enumerate() {
            let last = index + 1 == transforms.len();
            let len: u16 = if keyed { 12 } else { 8 };
            proposal.extend([if last { 0 } else { 3 }, 0]);
            proposal.extend(len.to_be_bytes());
            proposal.extend([kind, 0]);
            proposal.extend(id.to_be_bytes());
            if keyed {
                proposal.extend([0x80, 0x0e, 1, 0]);
            }
        }
        let mut sa = vec![0, 0];
        sa.extend((8 + proposal.len() as u16).to_be_bytes());
        sa.extend([1, 1, 0, 4]);
        sa.extend(proposal);
        payload(&mut body, number::KE, &sa);
        // RFC 3526: group 14 has 2,048 bits.
        payload(&mut body, number::NONCE, &[&[0, 14, 0, 0][..], &filled(net, 256)].concat());
        payload(&mut body, 0, &filled(net, 32));
    } else {
        // What stands after SK names the first payload inside: 35, the initiator's identity.
        payload(&mut body, 35, &filled(net, 236));
    }
    let header = ike::Header {
        initiator: own,
        responder: if step == 0 { 0 } else { peer },
        next: if step == 0 { number::SA } else { number::SK },
        version: 2,
        exchange: if step == 0 { number::SA_INIT } else { number::AUTH },
        flags: 0x08,
        message: step as u32,
        length: (ike::HEADER + body.len()) as u32,
    };
    [&MARKER[..], &header.emit(), &body].concat()
}

/// A payload's generic header (RFC 7296 §3.2) and body.
fn payload(out: &mut Vec<u8>, next: u8, body: &[u8]) {
    out.extend([next, 0]);
    out.extend((4 + body.len() as u16).to_be_bytes());
    out.extend(body);
}

/// L2TP: SCCRQ (1) and SCCRP (2) with version, framing, host name and tunnel; SCCCN (3) (RFC 2661 §6.1–6.3).
fn l2tp_control(kind: u16, sent: u16, tunnel: u16) -> Vec<u8> {
    let control = l2tp::Control {
        version: 2,
        tunnel,
        session: 0,
        sent,
        expected: u16::from(kind != 1),
        kind: Some(kind),
    };
    let mut bytes = control.emit();
    if kind != 3 {
        // §4.4.3: protocol version 1.0, framing both, host name, assigned tunnel.
        for (attribute, value) in [(2_u16, &[1, 0][..]), (3, &[0, 0, 0, 3]), (7, b"lac"), (9, &[0x3a, 0x51])]
        {
            bytes.extend((0x8000 | (6 + value.len() as u16)).to_be_bytes());
            bytes.extend([0, 0]);
            bytes.extend(attribute.to_be_bytes());
            bytes.extend(value);
        }
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
    }
    bytes
}

/// What a server of any of these protocols answers to one message; `None` when it is none of them.
/// `fill` gives random bytes.
pub fn answer(bytes: &[u8], fill: &mut dyn FnMut(&mut [u8])) -> Option<Vec<u8>> {
    if let Ok(message) = wireguard::Message::parse(bytes) {
        return wireguard_answer(bytes, message.kind, fill);
    }
    if let Ok(control) = l2tp::Control::parse(bytes) {
        return l2tp_answer(&control);
    }
    if let Some(message) = bytes.strip_prefix(&MARKER[..]) {
        return ike_answer(message, fill);
    }
    openvpn_answer(bytes, fill)
}

/// Sessions are numbered by a turn of the client's own number, so that none has to be remembered.
const fn turned(session: u64) -> u64 {
    session.rotate_left(23) ^ 0x9e37_79b9_7f4a_7c15
}

fn wireguard_answer(bytes: &[u8], kind: Kind, fill: &mut dyn FnMut(&mut [u8])) -> Option<Vec<u8>> {
    match kind {
        Kind::Initiation { sender } => {
            Some(wireguard_filled(Kind::Response { sender: !sender, receiver: sender }, fill))
        }
        Kind::Data { receiver, .. } => {
            let mut answer = bytes.to_vec();
            answer[4..8].copy_from_slice(&(!receiver).to_le_bytes());
            Some(answer)
        }
        _ => None,
    }
}

fn l2tp_answer(control: &l2tp::Control) -> Option<Vec<u8>> {
    match control.kind? {
        1 => Some(l2tp_control(2, 0, 0x3a51)),
        3 => {
            let acknowledgement =
                l2tp::Control { sent: 1, expected: control.sent + 1, kind: None, ..*control };
            Some(acknowledgement.emit())
        }
        _ => None,
    }
}

fn ike_answer(message: &[u8], fill: &mut dyn FnMut(&mut [u8])) -> Option<Vec<u8>> {
    let header = ike::Header::parse(message).ok().filter(|header| header.flags & 0x20 == 0)?;
    let mut body = message.get(ike::HEADER..)?.to_vec();
    // Everything after the first payload's header is random; lengths and types remain.
    if header.is_encrypted() {
        fill(body.get_mut(4..)?);
    }
    let answer = ike::Header { responder: turned(header.initiator), flags: 0x20, ..header };
    Some([&MARKER[..], &answer.emit(), &body].concat())
}

fn openvpn_answer(bytes: &[u8], fill: &mut dyn FnMut(&mut [u8])) -> Option<Vec<u8>> {
    let packet = openvpn::Repr::parse(bytes).ok()?;
    let answer = |opcode, payload| {
        let repr = openvpn::Repr {
            opcode,
            session: turned(packet.session),
            acknowledged: vec![packet.id],
            remote: packet.session,
            id: packet.id,
            payload,
        };
        repr.emit()
    };
    match packet.opcode {
        Opcode::ResetClientV2 if packet.payload.is_empty() => Some(answer(Opcode::ResetServerV2, Vec::new())),
        Opcode::Control if packet.payload.first() == Some(&okno_wire::tls::code::content::HANDSHAKE) => {
            // A ServerHello's head, then random bytes; a real flight is longer, this one amplifies nothing.
            let mut flight = vec![0; packet.payload.len().saturating_sub(16).max(60)];
            fill(&mut flight);
            flight[..9].copy_from_slice(&[22, 3, 3, 0, 50, 2, 0, 0, 46]);
            Some(answer(Opcode::Control, flight))
        }
        Opcode::Control => Some(answer(Opcode::Ack, Vec::new())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_gets_at_most_twice_what_he_sent_and_no_input_panics() {
        let mut seed = 1_u64;
        let mut fill = |bytes: &mut [u8]| bytes.fill(7);
        for round in 0..4_000_u32 {
            let len = (round % 700) as usize;
            let mut bytes = vec![0; len];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 33) as u8;
            }
            if let Some(first) = bytes.first_mut() {
                *first = [1, 2, 4, 0, 0x38, 0x20, 0xc8][round as usize % 7];
            }
            if bytes.len() >= 4 && round % 7 < 4 {
                bytes[1..4].fill(0);
            }
            if let Some(answer) = answer(&bytes, &mut fill) {
                assert!(answer.len() <= 2 * bytes.len(), "{} for {}", answer.len(), bytes.len());
            }
        }
    }
}
