//! WireGuard and OpenVPN responders: formats, sizes and order of messages as on the wire, with random bytes
//! where keys, ciphertexts and tags would be. No tunnel is made; data messages come back as data messages
//! of the same size.

use std::collections::BTreeMap;

use okno_wire::Endpoint;
use okno_wire::openvpn::{self, Opcode};
use okno_wire::wireguard::{self, Kind};

use crate::net::{Net, NetError, TcpStream, UdpSocket};

/// A WireGuard message with random bytes after its header
/// (https://www.wireguard.com/papers/wireguard.pdf §5.4).
pub(crate) fn wireguard_message(net: &Net, kind: Kind) -> Vec<u8> {
    let mut bytes = wireguard::Message { kind, reserved: [0; 3] }.emit(0);
    let header = match kind {
        Kind::Initiation { .. } | Kind::CookieReply { .. } => 8,
        Kind::Response { .. } => 12,
        Kind::Data { .. } => 16,
    };
    net.fill_random(&mut bytes[header..]);
    if matches!(kind, Kind::Initiation { .. } | Kind::Response { .. }) {
        // mac2 is zeros unless the peer is under load (§5.4.4).
        let at = bytes.len() - 16;
        bytes[at..].fill(0);
    }
    bytes
}

/// A WireGuard responder on UDP `port`.
pub async fn serve_wireguard(net: Net, port: u16) -> Result<(), NetError> {
    let socket = net.udp_bind(port)?;
    // Per own index: the peer's index and the next counter.
    let mut sessions: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
    loop {
        let datagram = socket.receive().await?;
        let Ok(message) = wireguard::Message::parse(&datagram.bytes) else { continue };
        let answer = match message.kind {
            Kind::Initiation { sender: peer } => {
                let own = u32::from_le_bytes(net.random());
                // Handshakes are renewed every two minutes: old sessions go (§6.1).
                if sessions.len() >= 1_000 {
                    sessions.pop_first();
                }
                sessions.insert(own, (peer, 0));
                Some(Kind::Response { sender: own, receiver: peer })
            }
            Kind::Data { receiver, size, .. } => sessions.get_mut(&receiver).map(|(peer, counter)| {
                *counter += 1;
                Kind::Data { receiver: *peer, counter: *counter - 1, size }
            }),
            _ => None,
        };
        if let Some(kind) = answer {
            let _ = socket.send_to(&wireguard_message(&net, kind), datagram.from);
        }
    }
}

/// Bytes of a server's TLS flight, in control packets of at most this payload.
const CONTROL_PAYLOAD: usize = 1_200;
/// Size of the pretended ServerHello flight.
const SERVER_FLIGHT: usize = 2_600;

/// One side's state of an OpenVPN session (https://openvpn.net/community-docs/openvpn-protocol.html).
pub(crate) struct OpenvpnSide {
    pub own: u64,
    pub peer: u64,
    next: u32,
}

impl OpenvpnSide {
    pub fn new(net: &Net) -> Self {
        Self { own: u64::from_be_bytes(net.random()), peer: 0, next: 0 }
    }

    /// A control packet that acknowledges `acknowledged`.
    pub fn control(&mut self, opcode: Opcode, acknowledged: &[u32], payload: Vec<u8>) -> Vec<u8> {
        let id = self.next;
        if opcode != Opcode::Ack {
            self.next += 1;
        }
        let repr = openvpn::Repr {
            opcode,
            session: self.own,
            acknowledged: acknowledged.to_vec(),
            remote: self.peer,
            id,
            payload,
        };
        repr.emit()
    }
}

/// A data packet with `size` random bytes (P_DATA_V2: opcode, peer id, ciphertext).
pub(crate) fn openvpn_data(net: &Net, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; 4 + size.max(16)];
    net.fill_random(&mut bytes[4..]);
    bytes[0] = (Opcode::DataV2 as u8) << 3;
    bytes
}

/// What the server answers to one packet.
fn openvpn_answers(net: &Net, side: &mut OpenvpnSide, bytes: &[u8]) -> Vec<Vec<u8>> {
    if openvpn::Packet::parse(bytes).is_ok_and(|packet| packet.opcode.is_data()) {
        return vec![openvpn_data(net, bytes.len() - 4)];
    }
    let Ok(packet) = openvpn::Repr::parse(bytes) else { return Vec::new() };
    side.peer = packet.session;
    if packet.opcode == Opcode::ResetClientV2 {
        return vec![side.control(Opcode::ResetServerV2, &[packet.id], Vec::new())];
    }
    if packet.opcode != Opcode::Control || packet.payload.is_empty() {
        return Vec::new();
    }
    let hello = packet.payload.first() == Some(&okno_wire::tls::code::content::HANDSHAKE);
    if !hello {
        return vec![side.control(Opcode::Ack, &[packet.id], Vec::new())];
    }
    // The server's TLS flight: record headers as they are, the rest random.
    let mut flight = vec![0; SERVER_FLIGHT];
    net.fill_random(&mut flight);
    flight[..5].copy_from_slice(&[22, 3, 3, 0, 122]);
    flight[127..132].copy_from_slice(&[
        23,
        3,
        3,
        ((SERVER_FLIGHT - 132) >> 8) as u8,
        (SERVER_FLIGHT - 132) as u8,
    ]);
    let mut acknowledged = vec![packet.id];
    let pieces = flight.chunks(CONTROL_PAYLOAD);
    pieces
        .map(|piece| side.control(Opcode::Control, &core::mem::take(&mut acknowledged), piece.to_vec()))
        .collect()
}

/// An OpenVPN server on UDP and TCP `port`, without tls-auth or tls-crypt.
pub async fn serve_openvpn(net: Net, port: u16) -> Result<(), NetError> {
    let socket = net.udp_bind(port)?;
    net.spawn(move |net| openvpn_udp(net, socket));
    let mut listener = net.listen(port)?;
    loop {
        let stream = listener.accept().await?;
        net.spawn(move |net| openvpn_tcp(net, stream));
    }
}

async fn openvpn_udp(net: Net, socket: UdpSocket) {
    let mut sides: BTreeMap<Endpoint, OpenvpnSide> = BTreeMap::new();
    while let Ok(datagram) = socket.receive().await {
        if sides.len() >= 1_000 && !sides.contains_key(&datagram.from) {
            sides.pop_first();
        }
        let opens = openvpn::Repr::parse(&datagram.bytes).is_ok_and(|p| p.opcode == Opcode::ResetClientV2);
        if opens {
            sides.insert(datagram.from, OpenvpnSide::new(&net));
        }
        let Some(side) = sides.get_mut(&datagram.from) else { continue };
        for answer in openvpn_answers(&net, side, &datagram.bytes) {
            let _ = socket.send_to(&answer, datagram.from);
        }
    }
}

async fn openvpn_tcp(net: Net, mut stream: TcpStream) {
    let mut side = OpenvpnSide::new(&net);
    loop {
        let mut len = [0; 2];
        if stream.read_exact(&mut len).await.is_err() {
            return;
        }
        let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
        if stream.read_exact(&mut packet).await.is_err() {
            return;
        }
        for answer in openvpn_answers(&net, &mut side, &packet) {
            if stream.write_all(&openvpn::framed(&answer)).await.is_err() {
                return;
            }
        }
    }
}
