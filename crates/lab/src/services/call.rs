//! STUN and TURN (RFC 8489, RFC 8656): reflexive addresses, allocations, channels.
//!
//! Credentials are asked for and not checked: message integrity is random bytes. A relayed call is real
//! otherwise: media goes through a port of the relay's own to the peer and back.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use okno_wire::Endpoint;
use okno_wire::stun::{COOKIE, ChannelData, Class, Repr};

use super::{Shared, shared};
use crate::net::{Net, NetError, UdpSocket};

/// Methods and attributes (https://www.iana.org/assignments/stun-parameters).
pub(crate) mod number {
    pub const BINDING: u16 = 1;
    pub const ALLOCATE: u16 = 3;
    pub const CREATE_PERMISSION: u16 = 8;
    pub const CHANNEL_BIND: u16 = 9;
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const CHANNEL_NUMBER: u16 = 0x000c;
    pub const LIFETIME: u16 = 0x000d;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const SOFTWARE: u16 = 0x8022;
}

/// An address under the cookie and the transaction id (RFC 8489 §14.2).
pub(crate) fn xor_address(end: Endpoint, transaction: &[u8; 12]) -> Vec<u8> {
    let mask = [&COOKIE.to_be_bytes()[..], transaction].concat();
    let (family, octets) = match end.ip {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let port = end.port ^ (COOKIE >> 16) as u16;
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    value.extend(octets.iter().zip(&mask).map(|(octet, mask)| octet ^ mask));
    value
}

/// The other way round.
pub(crate) fn read_address(value: &[u8], transaction: &[u8; 12]) -> Option<Endpoint> {
    let mask = [&COOKIE.to_be_bytes()[..], transaction].concat();
    let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (COOKIE >> 16) as u16;
    let octets: Vec<u8> = value.get(4..)?.iter().zip(&mask).map(|(octet, mask)| octet ^ mask).collect();
    let ip = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some(Endpoint { ip, port })
}

/// A client's allocation.
struct Allocation {
    relay: Rc<UdpSocket>,
    channels: BTreeMap<u16, Endpoint>,
}

/// Allocations that a relay holds at once.
const MAX_ALLOCATIONS: usize = 1_000;
/// An idle allocation's life (RFC 8656 §3.2: 10 minutes).
const LIFETIME: Duration = Duration::from_secs(600);

/// A STUN and TURN server on UDP `port`.
pub async fn serve_stun(net: Net, port: u16) -> Result<(), NetError> {
    let socket = Rc::new(net.udp_bind(port)?);
    let allocations: Shared<BTreeMap<Endpoint, Allocation>> = shared(BTreeMap::new());
    loop {
        let datagram = socket.receive().await?;
        let client = datagram.from;
        if let Ok(data) = ChannelData::parse(&datagram.bytes) {
            let allocations = allocations.borrow();
            if let Some(allocation) = allocations.get(&client)
                && let Some(peer) = allocation.channels.get(&data.channel)
            {
                let _ = allocation.relay.send_to(data.data, *peer);
            }
            continue;
        }
        let Ok(request) = Repr::parse(&datagram.bytes) else { continue };
        if request.class != Class::Request {
            continue;
        }
        let answer = match request.method {
            number::BINDING => success(&request, vec![mapped(&request, client)]),
            _ if !request.attributes.iter().any(|(kind, _)| *kind == number::USERNAME) => {
                unauthorised(&net, &request)
            }
            number::ALLOCATE => match allocate(&net, &socket, &allocations, client) {
                Some(relayed) => success(
                    &request,
                    vec![
                        (number::XOR_RELAYED_ADDRESS, xor_address(relayed, &request.transaction)),
                        mapped(&request, client),
                        (number::LIFETIME, 600u32.to_be_bytes().to_vec()),
                    ],
                ),
                None => continue,
            },
            number::CHANNEL_BIND => {
                bind_channel(&request, &allocations, client);
                success(&request, Vec::new())
            }
            _ => success(&request, Vec::new()),
        };
        let _ = socket.send_to(&answer.emit(), client);
    }
}

fn mapped(request: &Repr, client: Endpoint) -> (u16, Vec<u8>) {
    (number::XOR_MAPPED_ADDRESS, xor_address(client, &request.transaction))
}

fn success(request: &Repr, mut attributes: Vec<(u16, Vec<u8>)>) -> Repr {
    attributes.push((number::SOFTWARE, b"lab".to_vec()));
    Repr { method: request.method, class: Class::Success, transaction: request.transaction, attributes }
}

/// 401 with a realm and a nonce (RFC 8489 §9.2.4).
fn unauthorised(net: &Net, request: &Repr) -> Repr {
    let nonce: [u8; 8] = net.random();
    let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    Repr {
        method: request.method,
        class: Class::Error,
        transaction: request.transaction,
        attributes: vec![
            (number::ERROR_CODE, [&[0, 0, 4, 1][..], b"Unauthorized"].concat()),
            (number::REALM, b"lab.example".to_vec()),
            (number::NONCE, nonce.into_bytes()),
        ],
    }
}

/// Opens a relay port for a client; what reaches it from a bound peer goes back as channel data.
fn allocate(
    net: &Net,
    socket: &Rc<UdpSocket>,
    allocations: &Shared<BTreeMap<Endpoint, Allocation>>,
    client: Endpoint,
) -> Option<Endpoint> {
    let ip = net.address_for(client.ip)?;
    if let Some(known) = allocations.borrow().get(&client) {
        return Some(Endpoint { ip, port: known.relay.port() });
    }
    if allocations.borrow().len() >= MAX_ALLOCATIONS {
        return None;
    }
    let relay = Rc::new(net.udp_bind(0).ok()?);
    let port = relay.port();
    let allocation = Allocation { relay: relay.clone(), channels: BTreeMap::new() };
    allocations.borrow_mut().insert(client, allocation);
    let (socket, allocations) = (socket.clone(), allocations.clone());
    net.spawn(move |_| async move {
        while let Ok(datagram) = relay.receive_for(LIFETIME).await {
            let channel = allocations.borrow().get(&client).and_then(|allocation| {
                allocation
                    .channels
                    .iter()
                    .find(|(_, peer)| **peer == datagram.from)
                    .map(|(number, _)| *number)
            });
            if let Some(channel) = channel {
                let _ = socket.send_to(&ChannelData { channel, data: &datagram.bytes }.emit(), client);
            }
        }
        allocations.borrow_mut().remove(&client);
    });
    Some(Endpoint { ip, port })
}

fn bind_channel(request: &Repr, allocations: &Shared<BTreeMap<Endpoint, Allocation>>, client: Endpoint) {
    let value = |wanted: u16| request.attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
    let channel =
        value(number::CHANNEL_NUMBER).and_then(|v| Some(u16::from_be_bytes([*v.first()?, *v.get(1)?])));
    let peer = value(number::XOR_PEER_ADDRESS).and_then(|v| read_address(v, &request.transaction));
    if let (Some(channel), Some(peer), Some(allocation)) =
        (channel, peer, allocations.borrow_mut().get_mut(&client))
    {
        allocation.channels.insert(channel, peer);
    }
}

/// A peer that sends media back: what a call's other side is to the network.
pub async fn serve_media_echo(net: Net, port: u16) -> Result<(), NetError> {
    let socket = net.udp_bind(port)?;
    loop {
        let datagram = socket.receive().await?;
        let _ = socket.send_to(&datagram.bytes, datagram.from);
    }
}
