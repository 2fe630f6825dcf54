//! Joins operations to chains: lookup → connect → handshake → request, one row each.
//!
//! OONI's transaction ids bind an endpoint's operations to each other and never a lookup to its
//! connections (trap 1); addresses do that, at the same redirect depth and for the same name, the system's
//! resolver first. An operation that nothing binds stays a row of its own.

use std::borrow::Cow;

use okno_model::{Observation, Text};

use super::raw::{Common, Query, Raw, Request};
use crate::host;

/// Parts of one row, as indexes into [`Raw`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// lookup and answer
    pub query: Option<(usize, Option<usize>)>,
    /// connect
    pub connect: Option<usize>,
    /// handshake
    pub handshake: Option<usize>,
    /// request
    pub request: Option<usize>,
    /// summed network events
    pub traffic: Option<usize>,
}

/// The normalised engine of a lookup (trap 3).
pub fn engine_of(query: &Query<'_>) -> &'static str {
    match query.engine.as_deref() {
        Some("system" | "getaddrinfo" | "golang_net_resolver" | "go") => "system",
        Some("udp") => "udp",
        Some("tcp") => "tcp",
        Some("dot") => "dot",
        Some("doh" | "doh3") => "doh",
        Some("netx") | None => "unknown",
        Some(_) => "other",
    }
}

/// Whether a lookup is what the machine itself would have done.
pub fn is_classic_query(raw: &Raw<'_>, query: &Query<'_>) -> bool {
    if raw.has_classic {
        return query.common.classic;
    }
    matches!(engine_of(query), "system" | "unknown")
}

/// Redirect depth of each request. Tags say it where there are any; else the list is newest first
/// (trap 2) when each element's `Location` leads to the one before it.
pub fn request_depths(raw: &Raw<'_>) -> Vec<u32> {
    let requests = &raw.requests;
    let mut depths: Vec<u32> = requests.iter().map(|r| r.common.depth.unwrap_or(0)).collect();
    if requests.iter().any(|r| r.common.depth.is_some()) {
        return depths;
    }
    // A run of hops may be followed by another run: other roles, other tests.
    for i in (0..requests.len().saturating_sub(1)).rev() {
        if requests[i].common.role == requests[i + 1].common.role && leads_to(&requests[i + 1], &requests[i])
        {
            depths[i] = depths[i + 1] + 1;
        }
    }
    depths
}

/// Whether `from` redirects to `to`, by URL resolution: `Location` may be relative (trap 2).
fn leads_to(from: &Request<'_>, to: &Request<'_>) -> bool {
    let (Some(location), Some(base), Some(url)) = (&from.location, &from.url, &to.url) else { return false };
    if !from.status.is_some_and(|code| (300..400).contains(&code)) {
        return false;
    }
    match (host::place(location, Some(base)), host::place(url, None)) {
        (Some(next), Some(here)) => next.url == here.url,
        _ => false,
    }
}

/// Joins everything.
pub fn link(raw: &Raw<'_>, request_depth: &[u32], request_host: &[Option<String>]) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::with_capacity(raw.connects.len() + raw.queries.len());
    for connect in 0..raw.connects.len() {
        links.push(Link { connect: Some(connect), ..Link::default() });
    }
    join_handshakes(raw, &mut links);
    join_requests(raw, request_depth, request_host, &mut links);
    join_traffic(raw, &mut links);
    let chains = links.len();
    join_queries(raw, request_depth, request_host, &mut links, chains);
    links
}

fn same_place(a: &Common, b: &Common) -> bool {
    a.role == b.role && a.depth == b.depth
}

fn join_handshakes(raw: &Raw<'_>, links: &mut Vec<Link>) {
    let connects = links.len();
    for (index, handshake) in raw.handshakes.iter().enumerate() {
        let over_tcp = handshake.transport == okno_model::Transport::Tcp;
        let free = |link: &Link| link.handshake.is_none() && over_tcp;
        let by_id = (handshake.common.transaction != 0).then(|| {
            links[..connects].iter().position(|link| {
                let connect = &raw.connects[link.connect.unwrap_or(0)];
                free(link)
                    && connect.common.role == handshake.common.role
                    && connect.common.transaction == handshake.common.transaction
            })
        });
        let slot = by_id.flatten().or_else(|| {
            links[..connects].iter().position(|link| {
                let connect = &raw.connects[link.connect.unwrap_or(0)];
                free(link)
                    && (connect.common.transaction == 0 || handshake.common.transaction == 0)
                    && same_place(&connect.common, &handshake.common)
                    && connect.ip.is_some()
                    && connect.ip == handshake.ip
                    && connect.port == handshake.port
            })
        });
        match slot {
            Some(slot) => links[slot].handshake = Some(index),
            None => links.push(Link { handshake: Some(index), ..Link::default() }),
        }
    }
}

/// The common part that names a chain's transaction and depth.
pub fn head<'r, 'a>(raw: &'r Raw<'a>, link: &Link) -> Option<&'r Common> {
    link.connect
        .map(|i| &raw.connects[i].common)
        .or_else(|| link.handshake.map(|i| &raw.handshakes[i].common))
        .or_else(|| link.request.map(|i| &raw.requests[i].common))
}

fn endpoint_of(raw: &Raw<'_>, link: &Link) -> (Option<String>, Option<u32>) {
    let connect = link.connect.map(|i| (&raw.connects[i].ip, raw.connects[i].port));
    let handshake = || link.handshake.map(|i| (&raw.handshakes[i].ip, raw.handshakes[i].port));
    connect.or_else(handshake).map_or((None, None), |(ip, port)| (ip.as_deref().map(str::to_owned), port))
}

fn join_requests(raw: &Raw<'_>, depths: &[u32], hosts: &[Option<String>], links: &mut Vec<Link>) {
    let chains = links.len();
    for (index, request) in raw.requests.iter().enumerate() {
        let free = |link: &Link| link.request.is_none();
        let by_id = (request.common.transaction != 0).then(|| {
            links[..chains].iter().position(|link| {
                free(link)
                    && head(raw, link).is_some_and(|common| {
                        common.transaction == request.common.transaction && common.role == request.common.role
                    })
            })
        });
        let by_address = || {
            let (ip, port) = request.address.as_deref().and_then(host::endpoint)?;
            links[..chains].iter().position(|link| {
                free(link)
                    && head(raw, link).is_some_and(|c| c.transaction == 0 && c.role == request.common.role)
                    && endpoint_of(raw, link) == (Some(ip.to_string()), port)
            })
        };
        let slot = by_id.flatten().or_else(by_address).or_else(|| {
            only_candidate(raw, &links[..chains], request, depths[index], hosts[index].as_deref())
        });
        match slot {
            Some(slot) => links[slot].request = Some(index),
            None => links.push(Link { request: Some(index), ..Link::default() }),
        }
    }
}

/// A request without id and address belongs to a chain only when one alone can be meant: the handshake
/// for its host, in tests that record one chain a request.
fn only_candidate(
    raw: &Raw<'_>,
    links: &[Link],
    request: &Request<'_>,
    depth: u32,
    host: Option<&str>,
) -> Option<usize> {
    if request.common.transaction != 0 || depth != 0 {
        return None;
    }
    let host = host?;
    let mut fitting = links.iter().enumerate().filter(|(_, link)| {
        link.request.is_none()
            && link.handshake.is_some_and(|i| {
                let handshake = &raw.handshakes[i];
                handshake.common.role == request.common.role && handshake.server_name.as_deref() == Some(host)
            })
    });
    let (slot, _) = fitting.next()?;
    fitting.next().is_none().then_some(slot)
}

fn join_traffic(raw: &Raw<'_>, links: &mut [Link]) {
    for (index, traffic) in raw.traffic.iter().enumerate() {
        let slot = if traffic.transaction != 0 {
            links.iter().position(|link| {
                link.traffic.is_none()
                    && head(raw, link)
                        .is_some_and(|c| c.transaction == traffic.transaction && c.role == traffic.role)
            })
        } else if let Some((ip, port)) = traffic.address.as_deref().and_then(host::endpoint) {
            links.iter().position(|link| {
                link.traffic.is_none()
                    && head(raw, link).is_some_and(|c| c.role == traffic.role)
                    && endpoint_of(raw, link) == (Some(ip.to_string()), port)
            })
        } else {
            None
        };
        // Events without any mark (trap 21) belong to a chain only where there is just one.
        let slot = slot.or_else(|| {
            let mut fitting = links
                .iter()
                .enumerate()
                .filter(|(_, l)| l.traffic.is_none() && head(raw, l).is_some_and(|c| c.role == traffic.role));
            let (slot, _) = fitting.next()?;
            (traffic.transaction == 0 && fitting.next().is_none()).then_some(slot)
        });
        if let Some(slot) = slot {
            links[slot].traffic = Some(index);
        }
    }
}

fn name_of<'r>(raw: &'r Raw<'_>, link: &Link, hosts: &'r [Option<String>]) -> Option<&'r str> {
    link.handshake
        .and_then(|i| raw.handshakes[i].server_name.as_deref())
        .or_else(|| link.request.and_then(|i| hosts[i].as_deref()))
}

fn join_queries(
    raw: &Raw<'_>,
    depths: &[u32],
    hosts: &[Option<String>],
    links: &mut Vec<Link>,
    chains: usize,
) {
    // The system's resolver is what a user's connections follow; the others only compare.
    let rank = |query: &Query<'_>| match engine_of(query) {
        "system" | "unknown" => 0,
        "udp" => 1,
        "doh" => 2,
        _ => 3,
    };
    let mut order: Vec<usize> = (0..raw.queries.len()).collect();
    order.sort_by_key(|index| (rank(&raw.queries[*index]), *index));
    let mut extra = Vec::new();
    for index in order {
        let query = &raw.queries[index];
        if query.answers.iter().all(|answer| answer.ip.is_none()) {
            extra.push(Link { query: Some((index, None)), ..Link::default() });
            continue;
        }
        for (position, answer) in query.answers.iter().enumerate() {
            let Some(ip) = &answer.ip else { continue };
            let mut joined = false;
            for link in links[..chains].iter_mut().filter(|link| link.query.is_none()) {
                let depth = link.request.map(|i| depths[i]).or_else(|| head(raw, link)?.depth);
                let fits = head(raw, link).is_some_and(|c| c.role == query.common.role)
                    && endpoint_of(raw, link).0.as_deref() == Some(ip.as_ref())
                    && (query.common.depth.is_none() || depth.is_none() || query.common.depth == depth)
                    && name_of(raw, link, hosts)
                        .is_none_or(|name| query.hostname.as_deref().is_none_or(|asked| asked == name));
                if fits {
                    link.query = Some((index, Some(position)));
                    joined = true;
                }
            }
            if !joined {
                extra.push(Link { query: Some((index, Some(position))), ..Link::default() });
            }
        }
    }
    extra.sort_by_key(|link| link.query);
    links.append(&mut extra);
}

/// Fills the columns of network events.
pub fn fill_traffic(raw: &Raw<'_>, link: &Link, row: &mut Observation<'_>) {
    let Some(traffic) = link.traffic.map(|i| &raw.traffic[i]) else { return };
    // Cumulative snapshots are what throttling shows in; single reads are capped at 64 events (dd-007).
    row.rx_bytes = Some(traffic.rx_bytes.max(traffic.cumulative.unwrap_or(0)));
    row.tx_bytes = Some(traffic.tx_bytes);
    row.rx_reads = Some(traffic.rx_reads);
    row.rx_us = traffic.rx_first_us.zip(traffic.rx_last_us).map(|(first, last)| last - first);
    row.rx_gap_us = traffic.rx_last_us.map(|_| traffic.rx_gap_us);
    row.last_operation = traffic.last.as_ref().map(|(operation, failure)| {
        let known = KNOWN_OPERATIONS.iter().find(|known| *known == operation).copied().unwrap_or("other");
        let text: Text<'static> = match failure {
            Some(failure) => Cow::Owned(format!("{known} {failure}")),
            None => Cow::Borrowed(known),
        };
        text
    });
}

/// Operations of df-008; others are shown as `other`, because a text could be anything.
const KNOWN_OPERATIONS: [&str; 19] = [
    "bytes_received_cumulative",
    "connect",
    "http_transaction_done",
    "http_transaction_start",
    "quic_handshake_done",
    "quic_handshake_start",
    "read",
    "read_from",
    "resolve_done",
    "resolve_start",
    "tls_handshake_done",
    "tls_handshake_start",
    "write",
    "write_to",
    "handshake",
    "packet_in",
    "packet_out",
    "state",
    "http_first_response_byte",
];
