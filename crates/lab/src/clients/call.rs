//! STUN, SIP, and a call over a TURN relay.

use core::time::Duration;

use okno_model::{Failure, Layer};
use okno_wire::stun::{ChannelData, Class, Repr};
use okno_wire::{Endpoint, rtp, sip};

use super::{Media, Observed, named, within};
use crate::net::{Net, NetErrorKind, UdpSocket};
use crate::services::call::{number, read_address, xor_address};

/// Asks a STUN server for the own address as it is seen from there ([`Observed::answers`]).
pub async fn stun_binding(net: &Net, server: Endpoint, patience: Duration) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(server.ip);
    let began = net.now();
    let work = async {
        let socket = named(net.udp_connect(server))?;
        let answer = request(net, &socket, server, number::BINDING, Vec::new()).await?;
        attribute(&answer, number::XOR_MAPPED_ADDRESS)
            .and_then(|value| read_address(value, &answer.transaction))
            .ok_or(Failure::Unknown)
    };
    let result = within(net, patience, work).await;
    if let Some(mapped) = seen.step(net, Layer::App, began, result) {
        seen.answers = vec![mapped.ip];
    }
    seen
}

fn attribute(message: &Repr, wanted: u16) -> Option<&Vec<u8>> {
    message.attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Sends a request until it is answered: after 0.5 s, then twice as long each time, seven in all (RFC 8489
/// §6.2.1).
async fn request(
    net: &Net,
    socket: &UdpSocket,
    server: Endpoint,
    method: u16,
    attributes: Vec<(u16, Vec<u8>)>,
) -> Result<Repr, Failure> {
    let transaction = net.random();
    let bytes = Repr { method, class: Class::Request, transaction, attributes }.emit();
    let mut wait = Duration::from_millis(500);
    for _ in 0..7 {
        named(socket.send_to(&bytes, server))?;
        match socket.receive_for(wait).await {
            Ok(datagram) => match Repr::parse(&datagram.bytes) {
                Ok(answer) if answer.transaction == transaction => return Ok(answer),
                _ => {}
            },
            Err(error) if error.kind == NetErrorKind::TimedOut => wait *= 2,
            Err(error) => return named(Err(error)),
        }
    }
    Err(Failure::GenericTimeout)
}

/// A call's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPlan {
    /// TURN relay
    pub relay: Endpoint,
    /// who sends media back
    pub peer: Endpoint,
    /// how long media flow
    pub length: Duration,
    /// payload bytes of each packet, one every 20 ms (160 is G.711, RFC 3551 §4.5.14)
    pub payload: usize,
}

/// Binding, allocation, permission, channel, then RTP over the channel, echoed by the peer. Loss and jitter
/// are in [`Observed::media`]; the call fails at its setup, or when no packet comes back.
pub async fn call(net: &Net, plan: CallPlan, patience: Duration) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(plan.relay.ip);
    let began = net.now();
    let set_up = within(net, patience, set_up(net, plan)).await;
    let Some(socket) = seen.step(net, Layer::App, began, set_up) else { return seen };
    let began = net.now();
    let media = talk(net, &socket, plan, &mut seen).await;
    seen.media = Some(media);
    seen.note(net, Layer::App, began, (media.received == 0).then_some(Failure::GenericTimeout));
    seen
}

/// The channel's number.
const CHANNEL: u16 = 0x4001;

async fn set_up(net: &Net, plan: CallPlan) -> Result<UdpSocket, Failure> {
    let socket = named(net.udp_connect(plan.relay))?;
    request(net, &socket, plan.relay, number::BINDING, Vec::new()).await?;
    // UDP is 17 (RFC 8656 §18.8).
    let wants = (number::REQUESTED_TRANSPORT, vec![17, 0, 0, 0]);
    let refused = request(net, &socket, plan.relay, number::ALLOCATE, vec![wants.clone()]).await?;
    let nonce = attribute(&refused, number::NONCE).cloned().ok_or(Failure::Unknown)?;
    let credentials = || {
        let integrity: [u8; 20] = net.random();
        vec![
            (number::USERNAME, b"caller".to_vec()),
            (number::REALM, b"lab.example".to_vec()),
            (number::NONCE, nonce.clone()),
            (number::MESSAGE_INTEGRITY, integrity.to_vec()),
        ]
    };
    let attributes = [vec![wants], credentials()].concat();
    let allocated = request(net, &socket, plan.relay, number::ALLOCATE, attributes).await?;
    if allocated.class != Class::Success {
        return Err(Failure::Unknown);
    }
    for method in [number::CREATE_PERMISSION, number::CHANNEL_BIND] {
        let transaction = net.random();
        let mut attributes = vec![(number::XOR_PEER_ADDRESS, xor_address(plan.peer, &transaction))];
        if method == number::CHANNEL_BIND {
            attributes.insert(0, (number::CHANNEL_NUMBER, [&CHANNEL.to_be_bytes()[..], &[0, 0]].concat()));
        }
        attributes.extend(credentials());
        let repr = Repr { method, class: Class::Request, transaction, attributes };
        repeat(&socket, plan.relay, &repr).await?;
    }
    Ok(socket)
}

/// As [`request`], for a message whose transaction id its attributes depend on.
async fn repeat(socket: &UdpSocket, server: Endpoint, repr: &Repr) -> Result<Repr, Failure> {
    let bytes = repr.emit();
    let mut wait = Duration::from_millis(500);
    for _ in 0..7 {
        named(socket.send_to(&bytes, server))?;
        match socket.receive_for(wait).await {
            Ok(datagram) => match Repr::parse(&datagram.bytes) {
                Ok(answer) if answer.transaction == repr.transaction => return Ok(answer),
                _ => {}
            },
            Err(_) => wait *= 2,
        }
    }
    Err(Failure::GenericTimeout)
}

/// Sends a packet every 20 ms and takes what comes back, until a second after the last one.
async fn talk(net: &Net, socket: &UdpSocket, plan: CallPlan, seen: &mut Observed) -> Media {
    const FRAME: Duration = Duration::from_millis(20);
    let ssrc = u32::from_be_bytes(net.random());
    let frames = u32::try_from(plan.length.as_millis() / FRAME.as_millis()).unwrap_or(u32::MAX);
    let began = net.now();
    let mut media = Media::default();
    let mut transit: Option<f64> = None;
    let mut total_round_trip = 0.0;
    let end = began + FRAME * frames + Duration::from_secs(1);
    let mut next = began;
    while net.now() < end {
        if media.sent < frames && net.now() >= next {
            let mut payload = vec![0; plan.payload];
            net.fill_random(&mut payload);
            // SRTP's header is RTP's; the payload is as good as encrypted (RFC 3711 §3.1).
            let header = rtp::Header {
                marker: media.sent == 0,
                payload_type: 0,
                sequence: media.sent as u16,
                timestamp: media.sent * 160,
                ssrc,
                sources: 0,
                extension: false,
                padding: false,
            };
            let data = [&header.emit()[..], &payload].concat();
            let _ = socket.send_to(&ChannelData { channel: CHANNEL, data: &data }.emit(), plan.relay);
            seen.sent += data.len() as u64;
            media.sent += 1;
            next = next + FRAME;
        }
        let until = if media.sent < frames { next } else { end };
        let Ok(datagram) = socket.receive_for(until.since(net.now())).await else { continue };
        let Ok(data) = ChannelData::parse(&datagram.bytes) else { continue };
        let Ok(header) = rtp::Header::parse(data.data) else { continue };
        media.received += 1;
        seen.take(net, data.data);
        let sent_at = began + FRAME * u32::from(header.sequence);
        let took = datagram.at.since(sent_at).as_secs_f64();
        total_round_trip += took;
        // RFC 3550 §6.4.1: J += (|D| − J) / 16.
        if let Some(before) = transit.replace(took) {
            media.jitter += ((took - before).abs() - media.jitter) / 16.0;
        }
    }
    media.round_trip = total_round_trip / f64::from(media.received.max(1));
    media
}

/// A SIP `OPTIONS` and a `REGISTER`, repeated after 0.5 s, then twice as long (RFC 3261 §17.1.2.2).
pub async fn sip_register(net: &Net, server: Endpoint, domain: &str, patience: Duration) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(server.ip);
    for method in ["OPTIONS", "REGISTER"] {
        let began = net.now();
        let result = within(net, patience, sip_request(net, server, domain, method)).await;
        if seen.step(net, Layer::App, began, result).is_none() {
            break;
        }
    }
    seen
}

async fn sip_request(net: &Net, server: Endpoint, domain: &str, method: &str) -> Result<(), Failure> {
    let socket = named(net.udp_connect(server))?;
    let own = net.address_for(server.ip).ok_or(Failure::HostUnreachable)?;
    let id = u64::from_be_bytes(net.random());
    let via = format!("SIP/2.0/UDP {own}:{};branch=z9hG4bK{id:016x}", socket.port());
    let from = format!("<sip:caller@{domain}>;tag={:08x}", id as u32);
    let to = format!("<sip:caller@{domain}>");
    let uri = format!("sip:{domain}");
    let bytes = sip::emit_request(method, &uri, &format!("{id:016x}@{own}"), &from, &to, &via);
    let mut wait = Duration::from_millis(500);
    loop {
        named(socket.send_to(&bytes, server))?;
        match socket.receive_for(wait).await {
            Ok(datagram) => match sip::Message::parse(&datagram.bytes).map(|message| message.start) {
                Ok(sip::Start::Status { code, .. }) if code < 300 => return Ok(()),
                Ok(sip::Start::Status { .. }) => return Err(Failure::HttpUnexpectedStatus),
                _ => {}
            },
            Err(error) if error.kind == NetErrorKind::TimedOut => wait *= 2,
            Err(error) => return named(Err(error)),
        }
    }
}
