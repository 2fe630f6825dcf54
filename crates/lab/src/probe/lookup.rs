//! The system's resolver as a program meets it: a stub that asks one recursive resolver over UDP.
//!
//! As glibc does: A and AAAA at once from one port, twice, five seconds each, over TCP after a truncated
//! answer (resolv.conf(5): timeout 5, attempts 2). What fails is told as getaddrinfo tells it, which knows
//! fewer kinds than DNS does.

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Failure;
use okno_wire::Endpoint;
use okno_wire::dns::kind::{A, AAAA};
use okno_wire::dns::{self, MessageView, flag, rcode};

use crate::net::Net;

/// resolv.conf(5), options timeout and attempts.
const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 2;

/// What is known of one record type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Addresses(Vec<IpAddr>),
    Code(u8),
    Truncated,
}

/// Addresses of a name, IPv4 first as they came, then IPv6.
pub(super) async fn lookup(
    net: &Net,
    resolver: Option<Endpoint>,
    name: &str,
) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    // EAI_AGAIN: nobody could be asked.
    let resolver = resolver.ok_or(Failure::DnsTemporary)?;
    let mut known: [Option<Known>; 2] = [None, None];
    for _ in 0..ATTEMPTS {
        exchange(net, resolver, name, &mut known).await;
        if known.iter().all(Option::is_some) {
            break;
        }
    }
    for (index, kind) in [A, AAAA].into_iter().enumerate() {
        if known[index] == Some(Known::Truncated) {
            known[index] = over_tcp(net, resolver, name, kind).await;
        }
    }
    verdict(&known)
}

/// As getaddrinfo tells it: addresses win; then "no such name", "no data", and "try again" for all else.
fn verdict(known: &[Option<Known>; 2]) -> Result<Vec<IpAddr>, Failure> {
    let mut all = Vec::new();
    for known in known.iter().flatten() {
        if let Known::Addresses(addresses) = known {
            all.extend(addresses);
        }
    }
    if !all.is_empty() {
        return Ok(all);
    }
    let has = |wanted: &Known| known.iter().flatten().any(|known| known == wanted);
    Err(match () {
        () if has(&Known::Code(rcode::NXDOMAIN)) => Failure::DnsNxDomain,
        // EAI_AGAIN: SERVFAIL, REFUSED, no answer.
        () if known.iter().any(|known| !matches!(known, Some(Known::Addresses(_)))) => Failure::DnsTemporary,
        () => Failure::DnsNoAnswer,
    })
}

/// One try: both questions from one fresh port, until both are answered or the time is up.
async fn exchange(net: &Net, resolver: Endpoint, name: &str, known: &mut [Option<Known>; 2]) {
    let Ok(socket) = net.udp_connect(resolver) else { return };
    let ids: [u16; 2] = [u16::from_be_bytes(net.random()), u16::from_be_bytes(net.random())];
    for (index, kind) in [A, AAAA].into_iter().enumerate() {
        if known[index].is_none()
            && socket.send_to(&dns::query(ids[index], name, kind).emit(), resolver).is_err()
        {
            return;
        }
    }
    let limit = net.now() + TIMEOUT;
    while known.iter().any(Option::is_none) {
        let left = limit.since(net.now());
        if left.is_zero() {
            return;
        }
        let Ok(datagram) = socket.receive_for(left).await else { return };
        for (index, kind) in [A, AAAA].into_iter().enumerate() {
            if known[index].is_none()
                && let Some(answer) = read(&datagram.bytes, ids[index], name, kind)
            {
                known[index] = Some(answer);
            }
        }
    }
}

async fn over_tcp(net: &Net, resolver: Endpoint, name: &str, kind: u16) -> Option<Known> {
    let id = u16::from_be_bytes(net.random());
    let ask = async {
        let mut stream = net.connect(resolver).await?;
        stream.write_all(&dns::tcp_framed(&dns::query(id, name, kind).emit())).await?;
        let mut len = [0; 2];
        stream.read_exact(&mut len).await?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).await?;
        Ok::<_, crate::net::NetError>(answer)
    };
    let answer = net.timeout(TIMEOUT, ask).await.ok()?.ok()?;
    read(&answer, id, name, kind)
}

/// An answer to this question, or nothing: what answers another one is thrown away (RFC 5452 §9.1).
fn read(bytes: &[u8], id: u16, name: &str, kind: u16) -> Option<Known> {
    let view = MessageView::parse(bytes).ok()?;
    let question = view.question()?;
    let asked = name.trim_end_matches('.').to_ascii_lowercase();
    if view.id != id || question.kind != kind || question.name.normalised() != asked {
        return None;
    }
    if view.flags & flag::TC != 0 {
        return Some(Known::Truncated);
    }
    match (view.flags & 0x000f) as u8 {
        0 => {
            let wanted = |ip: &IpAddr| ip.is_ipv4() == (kind == A);
            Some(Known::Addresses(view.addresses().filter(wanted).collect()))
        }
        code => Some(Known::Code(code)),
    }
}
