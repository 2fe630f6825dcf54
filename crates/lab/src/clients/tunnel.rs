//! WireGuard and OpenVPN initiators: the responders' counterparts (see [`crate::services::tunnel`] for what
//! is exact and what is random).

use core::time::Duration;

use okno_model::{Failure, Layer};
use okno_wire::Endpoint;
use okno_wire::openvpn::{self, Opcode};
use okno_wire::tls::preset;
use okno_wire::wireguard::{self, Kind};

use super::{Media, Observed, named, within};
use crate::net::{Net, TcpStream, UdpSocket};
use crate::services::tunnel::{OpenvpnSide, openvpn_data, wireguard_message};

/// A tunnel's traffic after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLoad {
    /// data packets
    pub packets: u32,
    /// time between two
    pub every: Duration,
    /// payload bytes of each
    pub size: usize,
}

impl TunnelLoad {
    /// 50 packets of 1,000 bytes, 20 ms apart.
    pub const LIGHT: Self = Self { packets: 50, every: Duration::from_millis(20), size: 1_008 };
}

/// A WireGuard handshake (repeated every five seconds as the real one is, §6.4), then data. Fails at the
/// handshake by a timeout, or in the data phase when nothing comes back.
pub async fn wireguard(net: &Net, remote: Endpoint, load: TunnelLoad, patience: Duration) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let began = net.now();
    let socket = named(net.udp_connect(remote));
    let Some(socket) = (match socket {
        Ok(socket) => Some(socket),
        Err(failure) => seen.step(net, Layer::App, began, Err(failure)),
    }) else {
        return seen;
    };
    let shaken = within(net, patience, wireguard_handshake(net, &socket, remote)).await;
    let Some(peer) = seen.step(net, Layer::App, began, shaken) else { return seen };
    let message = |counter: u32| {
        // RFC-less but fixed: data is padded to 16 bytes and has a tag of 16 (paper §5.4.6).
        let size = load.size.next_multiple_of(16) + 16;
        wireguard_message(net, Kind::Data { receiver: peer, counter: u64::from(counter), size })
    };
    data_phase(net, &mut seen, load, message, Carrier::Udp(&socket, remote)).await;
    seen
}

async fn wireguard_handshake(net: &Net, socket: &UdpSocket, remote: Endpoint) -> Result<u32, Failure> {
    loop {
        let own = u32::from_le_bytes(net.random());
        named(socket.send_to(&wireguard_message(net, Kind::Initiation { sender: own }), remote))?;
        let datagram = match socket.receive_for(Duration::from_secs(5)).await {
            Ok(datagram) => datagram,
            Err(error) if error.kind == crate::net::NetErrorKind::TimedOut => continue,
            Err(error) => return named(Err(error)),
        };
        if let Ok(wireguard::Message { kind: Kind::Response { sender, receiver }, .. }) =
            wireguard::Message::parse(&datagram.bytes)
            && receiver == own
        {
            return Ok(sender);
        }
    }
}

/// Whether a packet carries a tunnel's data.
fn is_data(bytes: &[u8]) -> bool {
    let wireguard = wireguard::Message::parse(bytes).map(|message| message.kind);
    matches!(wireguard, Ok(Kind::Data { .. }))
        || openvpn::Packet::parse(bytes).is_ok_and(|packet| packet.opcode.is_data())
}

/// What carries data packets.
enum Carrier<'a> {
    Udp(&'a UdpSocket, Endpoint),
    Tcp(&'a mut TcpStream),
}

/// Sends data on schedule and counts what comes back until two seconds after the last one.
async fn data_phase(
    net: &Net,
    seen: &mut Observed,
    load: TunnelLoad,
    message: impl Fn(u32) -> Vec<u8>,
    mut carrier: Carrier<'_>,
) {
    let began = net.now();
    let mut media = Media::default();
    let mut failure = None;
    for counter in 0..load.packets {
        let bytes = message(counter);
        let sent = match &mut carrier {
            Carrier::Udp(socket, remote) => named(socket.send_to(&bytes, *remote)),
            Carrier::Tcp(stream) => named(stream.write_all(&openvpn::framed(&bytes)).await),
        };
        if let Err(error) = sent {
            failure = Some(error);
            break;
        }
        media.sent += 1;
        seen.sent += load.size as u64;
        let next = net.now() + load.every;
        collect(net, seen, &mut media, &mut carrier, next, load.size).await;
    }
    let until = net.now() + Duration::from_secs(2);
    collect(net, seen, &mut media, &mut carrier, until, load.size).await;
    if media.received == 0 && media.sent > 0 {
        failure = failure.or(Some(Failure::GenericTimeout));
    }
    seen.media = Some(media);
    seen.note(net, Layer::App, began, failure);
}

async fn collect(
    net: &Net,
    seen: &mut Observed,
    media: &mut Media,
    carrier: &mut Carrier<'_>,
    until: okno_wire::Instant,
    size: usize,
) {
    while media.received < media.sent.max(1) || net.now() < until {
        let left = until.since(net.now());
        if left.is_zero() {
            return;
        }
        let got = match carrier {
            Carrier::Udp(socket, _) => {
                socket.receive_for(left).await.ok().map(|datagram| is_data(&datagram.bytes))
            }
            Carrier::Tcp(stream) => {
                let mut head = [0; 2];
                let work = async {
                    stream.read_exact(&mut head).await?;
                    let mut packet = vec![0; usize::from(u16::from_be_bytes(head))];
                    stream.read_exact(&mut packet).await.map(|()| is_data(&packet))
                };
                net.timeout(left, work).await.ok().and_then(Result::ok)
            }
        };
        match got {
            Some(true) => {}
            // A late acknowledgement of the handshake.
            Some(false) => continue,
            None => {
                // A timeout ends the wait; a failed stream would be asked again and again.
                net.sleep_until(until).await;
                return;
            }
        }
        media.received += 1;
        seen.take(net, &vec![0; size]);
    }
}

/// An OpenVPN session over UDP or TCP, without tls-auth or tls-crypt: hard reset, TLS flights in control
/// packets (the hello is OpenSSL-like, as `curl`'s), then data.
pub async fn openvpn(
    net: &Net,
    remote: Endpoint,
    over_tcp: bool,
    load: TunnelLoad,
    patience: Duration,
) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let began = net.now();
    let data = |_: u32| openvpn_data(net, load.size);
    if over_tcp {
        let connected = within(net, patience, async { named(net.connect(remote).await) }).await;
        let Some(mut stream) = seen.step(net, Layer::Tcp, began, connected) else { return seen };
        let began = net.now();
        let shaken = within(net, patience, openvpn_handshake(net, &mut Carrier::Tcp(&mut stream))).await;
        if seen.step(net, Layer::App, began, shaken).is_some() {
            data_phase(net, &mut seen, load, data, Carrier::Tcp(&mut stream)).await;
        }
        return seen;
    }
    match named(net.udp_connect(remote)) {
        Err(failure) => seen.note(net, Layer::App, began, Some(failure)),
        Ok(socket) => {
            let mut carrier = Carrier::Udp(&socket, remote);
            let shaken = within(net, patience, openvpn_handshake(net, &mut carrier)).await;
            if seen.step(net, Layer::App, began, shaken).is_some() {
                data_phase(net, &mut seen, load, data, Carrier::Udp(&socket, remote)).await;
            }
        }
    }
    seen
}

impl Carrier<'_> {
    async fn send(&mut self, packet: &[u8]) -> Result<(), Failure> {
        match self {
            Carrier::Udp(socket, remote) => named(socket.send_to(packet, *remote)),
            Carrier::Tcp(stream) => named(stream.write_all(&openvpn::framed(packet)).await),
        }
    }

    /// The next control packet; `None` after two quiet seconds, when the last packet is sent again (OpenVPN's
    /// --tls-timeout). TCP repeats by itself.
    async fn receive(&mut self) -> Result<Option<openvpn::Repr>, Failure> {
        let bytes = match self {
            Carrier::Udp(socket, _) => match socket.receive_for(Duration::from_secs(2)).await {
                Ok(datagram) => datagram.bytes,
                Err(error) if error.kind == crate::net::NetErrorKind::TimedOut => return Ok(None),
                Err(error) => return named(Err(error)),
            },
            Carrier::Tcp(stream) => {
                let mut head = [0; 2];
                named(stream.read_exact(&mut head).await)?;
                let mut packet = vec![0; usize::from(u16::from_be_bytes(head))];
                named(stream.read_exact(&mut packet).await)?;
                packet
            }
        };
        openvpn::Repr::parse(&bytes).map(Some).map_err(|_| Failure::SslFailedHandshake)
    }
}

async fn openvpn_handshake(net: &Net, carrier: &mut Carrier<'_>) -> Result<(), Failure> {
    let mut side = OpenvpnSide::new(net);
    let reset = side.control(Opcode::ResetClientV2, &[], Vec::new());
    carrier.send(&reset).await?;
    let answer = loop {
        match carrier.receive().await? {
            Some(packet) if packet.opcode == Opcode::ResetServerV2 => break packet,
            Some(_) => {}
            None => carrier.send(&reset).await?,
        }
    };
    side.peer = answer.session;
    carrier.send(&side.control(Opcode::Ack, &[answer.id], Vec::new())).await?;
    let hello = preset::curl(net.below(u64::MAX), None).emit_record();
    let hello = side.control(Opcode::Control, &[], hello);
    carrier.send(&hello).await?;
    // The server's flight comes in pieces; its length is the first packets' business, so the end is told by
    // a piece that is not full.
    loop {
        match carrier.receive().await? {
            Some(packet) if packet.opcode == Opcode::Control => {
                carrier.send(&side.control(Opcode::Ack, &[packet.id], Vec::new())).await?;
                if packet.payload.len() < 1_200 {
                    break;
                }
            }
            Some(_) => {}
            None => carrier.send(&hello).await?,
        }
    }
    // The client's Finished and the key exchange message of the control channel.
    let mut finished = vec![0; 400];
    net.fill_random(&mut finished);
    finished[..5].copy_from_slice(&[23, 3, 3, 1, 139]);
    carrier.send(&side.control(Opcode::Control, &[], finished)).await
}
