//! The own address as others see it, by STUN; asked for so that it can be taken out of what is written.

use core::net::IpAddr;
use core::time::Duration;

use okno_wire::stun::{COOKIE, Class, Repr};

use crate::net::{Endpoint, UdpSetup, World, random, receive};

/// Binding (RFC 8489 §14).
const BINDING: u16 = 1;
/// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
const XOR_MAPPED_ADDRESS: u16 = 0x20;
/// Time for one server.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks a STUN server (name or address, and port). `None` when it does not answer; the address is told to the
/// world ([`crate::Net::saw_own_address`]).
pub async fn ask(world: &World, host: &str, port: u16) -> Option<IpAddr> {
    let ip = match host.trim_matches(['[', ']']).parse() {
        Ok(ip) => ip,
        Err(_) => *world.lookup(host).await.ok()?.first()?,
    };
    let server = Endpoint { ip, port };
    let socket = world.udp(UdpSetup { peer: Some(server), ..UdpSetup::default() }).ok()?;
    let transaction = random(&**world);
    let question = Repr { method: BINDING, class: Class::Request, transaction, attributes: Vec::new() };
    socket.send_to(&question.emit(), server, None).ok()?;
    let answer = receive(&**world, &*socket, PATIENCE).await.ok()?;
    let own = read(&answer.bytes, &transaction)?;
    world.saw_own_address(own);
    Some(own)
}

/// The mapped address of an answer to this transaction.
fn read(bytes: &[u8], transaction: &[u8; 12]) -> Option<IpAddr> {
    let answer = Repr::parse(bytes).ok()?;
    if answer.transaction != *transaction || answer.class != Class::Success {
        return None;
    }
    let (_, value) = answer.attributes.iter().find(|(kind, _)| *kind == XOR_MAPPED_ADDRESS)?;
    let mut mask = COOKIE.to_be_bytes().to_vec();
    mask.extend_from_slice(transaction);
    let plain: Vec<u8> = value.get(4..)?.iter().zip(mask).map(|(a, b)| a ^ b).collect();
    match value.get(1)? {
        1 => Some(IpAddr::from(<[u8; 4]>::try_from(plain.get(..4)?).ok()?)),
        2 => Some(IpAddr::from(<[u8; 16]>::try_from(plain.get(..16)?).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapped_address_of_rfc_5769_is_read() {
        // RFC 5769 §2.2: 192.0.2.1 port 32853.
        let transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let mapped = vec![0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let attributes = vec![(XOR_MAPPED_ADDRESS, mapped)];
        let answer = Repr { method: BINDING, class: Class::Success, transaction, attributes }.emit();
        assert_eq!(read(&answer, &transaction), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(read(&answer, &[0; 12]), None, "another transaction's answer");
        assert_eq!(read(&answer[..24], &transaction), None);
    }
}
