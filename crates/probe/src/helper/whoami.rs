//! A name whose address is the network of whoever asks for it: which resolver really stands behind another.
//!
//! An authoritative answer for `whoami.<zone>` over UDP and TCP. Only the network is told (/24, /48): it is
//! enough to see that another operator asked, and names no machine. TTL is 0, so that nothing is remembered.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use okno_wire::dns::{self, MessageRepr, MessageView, RecordRepr, flag, kind, rcode};
use okno_wire::{Endpoint, openvpn};

use crate::net::{Datagrams, NetError, Stream, UdpSetup, World, within};
use crate::talk::carrier::{read_some, write_all};

/// The network of an address, as an address.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80).into(),
    }
}

/// What a question from `from` is answered with; `None` for what is no question. Names outside the zone are
/// refused.
pub fn answer(bytes: &[u8], from: IpAddr, zone: &str) -> Option<Vec<u8>> {
    let query = MessageView::parse(bytes).ok().filter(|view| !view.is_response() && view.opcode() == 0)?;
    let question = query.question()?;
    let name = question.name.normalised();
    let asker = network(from);
    let mut repr: MessageRepr = dns::answer(&query, Vec::new());
    repr.flags = repr.flags & !flag::RA | flag::AA;
    let within = name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    if !within {
        repr.flags = repr.flags & !flag::AA | u16::from(rcode::REFUSED);
    } else if name.strip_suffix(zone) == Some("whoami.") {
        let wanted = if asker.is_ipv4() { kind::A } else { kind::AAAA };
        if question.kind == wanted {
            repr.answers.push(RecordRepr::address(&question.name.to_text(), 0, asker));
        }
    } else if name != zone {
        repr.flags |= u16::from(rcode::NXDOMAIN);
    }
    // RFC 6891 §6.1.1: whoever is asked with EDNS answers with it.
    if query.records().map_while(Result::ok).any(|record| record.kind == kind::OPT) {
        repr.additionals.push(RecordRepr::opt(1_232));
    }
    Some(repr.emit())
}

/// Opens UDP and TCP `local` and answers for `zone` until the session ends.
pub fn serve(world: &World, local: Endpoint, zone: &str) -> Result<(), NetError> {
    let ip = (!local.ip.is_unspecified()).then_some(local.ip);
    let socket = world.udp(UdpSetup { port: local.port, local: ip, peer: None })?;
    let mut listener = world.listen(local)?;
    let zone = zone.trim_end_matches('.').to_ascii_lowercase();
    let (net, name) = (world.clone(), zone.clone());
    world.spawn(Box::pin(async move { datagrams(&net, &*socket, &name).await }));
    let net = world.clone();
    world.spawn(Box::pin(async move {
        while let Ok(stream) = listener.accept().await {
            let (inner, zone) = (net.clone(), zone.clone());
            net.spawn(Box::pin(async move { stream_of(&inner, stream, &zone).await }));
        }
    }));
    Ok(())
}

async fn datagrams(net: &World, socket: &dyn Datagrams, zone: &str) {
    loop {
        match core::future::poll_fn(|context| socket.poll_receive(context)).await {
            Ok(datagram) => {
                if let Some(answer) = answer(&datagram.bytes, datagram.from.ip, zone) {
                    // An asker without a way back hears nothing.
                    let _ = socket.send_to(&answer, datagram.from, None);
                }
            }
            // The pause keeps a socket that is broken for good from turning in circles.
            Err(_) => crate::net::sleep(&**net, Duration::from_millis(10)).await,
        }
    }
}

async fn stream_of(net: &World, mut stream: Box<dyn Stream>, zone: &str) {
    let (_, remote) = stream.ends();
    let mut buffer = Vec::new();
    loop {
        let work = read_some(stream.as_mut(), &mut buffer);
        let Some(Ok(1..)) = within(&**net, Duration::from_secs(10), work).await else { return };
        // DNS over TCP has OpenVPN's framing: two bytes of length (RFC 1035 §4.2.2).
        let mut done = 0;
        let mut answers = Vec::new();
        for frame in openvpn::frames(&buffer) {
            done += 2 + frame.len();
            let Some(answer) = answer(frame, remote.ip, zone) else { return };
            answers.extend(dns::tcp_framed(&answer));
        }
        buffer.drain(..done);
        if buffer.len() > 4_096 || write_all(&**net, stream.as_mut(), &answers).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoami_tells_the_network_and_never_the_address() {
        let from: IpAddr = "198.51.100.77".parse().expect("an address");
        let ask = |name: &str| {
            let answer = answer(&dns::query(7, name, kind::A).emit(), from, "h.example").expect("an answer");
            let view = MessageView::parse(&answer).expect("a message");
            (view.rcode(), view.addresses().next())
        };
        assert_eq!(ask("whoami.h.example"), (0, Some("198.51.100.0".parse().expect("an address"))));
        assert_eq!(ask("WhoAmI.H.example"), ask("whoami.h.example"));
        assert_eq!(ask("x.h.example"), (rcode::NXDOMAIN, None));
        assert_eq!(ask("h.example"), (0, None));
        assert_eq!(ask("whoami.xh.example"), (rcode::REFUSED, None));
        assert_eq!(answer(b"no message", from, "h.example"), None);
    }
}
