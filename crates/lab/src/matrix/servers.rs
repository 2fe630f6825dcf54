//! Evasions against servers: whether the real name arrives at all, without any box on the path.
//!
//! A trick that the server does not take is no evasion. The columns are the systems of
//! [`crate::accept`], and Linux behind routers that let hop-by-hop options through.

use okno_wire::Instant;

use super::{Agreement, Cell, Head, Table};
use crate::accept::{Hops, Stack, quic_name, replay};
use crate::evasion::{Carrier, Conversation, Manner, Strategy, strategies};
use crate::fidelity::{BLOCKED, end};
use crate::path::Ending;

const SERVERS: [(&str, &str, Stack, bool); 3] = [
    ("linux", "Linux; routers drop IPv6 hop-by-hop options", Stack::linux(), true),
    ("windows", "Windows; routers drop IPv6 hop-by-hop options", Stack::windows(), true),
    ("linux-open", "Linux; routers forward IPv6 hop-by-hop options", Stack::linux(), false),
];

const MEASURED: &str = "our sequences fed to Linux 6.18 through a TUN device, November 2026";

/// What a real server read, where one was asked: Linux 6.18, over TCP. The split handshake needs a server
/// that plays along, and no Windows was at hand.
fn measured(strategy: &Strategy, column: &str) -> Option<bool> {
    let over_udp = matches!(strategy.carrier, Carrier::Udp | Carrier::Quic);
    if over_udp || column == "windows" || strategy.id == "split_handshake" {
        return None;
    }
    Some(!(column == "linux-open" && strategy.id == "hop_by_hop_fake"))
}

pub(super) fn table() -> Table {
    let mut cells = Vec::new();
    let mut rows = Vec::new();
    for strategy in strategies() {
        rows.push(Head { id: strategy.id.to_owned(), title: strategy.what.to_owned() });
        for (column, _, stack, filters_hop_by_hop) in SERVERS {
            let survives = arrives(strategy, stack, filters_hop_by_hop);
            let recorded = measured(strategy, column);
            cells.push(Cell {
                row: strategy.id.to_owned(),
                column: column.to_owned(),
                survives,
                ending: if survives { Ending::Through } else { Ending::NeverArrived },
                recorded,
                agreement: Agreement::of(survives, recorded),
                source: recorded.map_or_else(String::new, |_| MEASURED.to_owned()),
            });
        }
    }
    let head = |(id, title, ..): &(&str, &str, Stack, bool)| Head {
        id: (*id).to_owned(),
        title: (*title).to_owned(),
    };
    Table { rows, columns: SERVERS.iter().map(head).collect(), cells }
}

/// The conversation of the rows: a TLS hello, an HTTP request, or bytes of a datagram.
fn talk(carrier: Carrier) -> Conversation {
    let (ips, port) = match carrier {
        Carrier::Http => (("10.0.0.2", "198.51.100.7"), 80),
        Carrier::Tcp6 => (("2001:db8:77::2", "2001:db8:1::7"), 443),
        _ => (("10.0.0.2", "198.51.100.7"), 443),
    };
    let first = match carrier {
        Carrier::Http => format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\nUser-Agent: x\r\n\r\n").into_bytes(),
        Carrier::Udp => crate::evasion::initial_for(okno_wire::quic::Version::V1, Some(BLOCKED), 1_200),
        _ => okno_wire::tls::preset::curl(21, Some(BLOCKED)).padded_to(512).emit_record(),
    };
    let mut talk = Conversation::new(end(ips.0, 50_000), end(ips.1, port), first, BLOCKED);
    talk.decoy_ttl = 5;
    talk
}

fn arrives(strategy: &Strategy, mut stack: Stack, filters_hop_by_hop: bool) -> bool {
    let talk = talk(strategy.carrier);
    let sequence = (strategy.build)(&talk);
    stack.data_in_syn |= sequence.manner == Manner::DataInSyn;
    let packets: Vec<(Instant, &[u8])> =
        sequence.steps.iter().map(|step| (Instant::ZERO + step.at, step.packet.as_slice())).collect();
    let got = replay(&packets, stack, Hops { routers: 9, filters_hop_by_hop });
    let name = match strategy.carrier {
        Carrier::Udp | Carrier::Quic => quic_name(&got.datagrams),
        _ => Some(got.greeting().name()),
    };
    name.as_deref() == Some(sequence.name.as_str()) && !got.reset
}
