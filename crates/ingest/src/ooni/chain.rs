//! Joins operations to chains: lookup → connect → handshake → request, one row each.
//!
//! OONI's transaction ids bind an endpoint's operations to each other and never a lookup to its
//! connections (trap 1); addresses do that, at the same redirect depth and for the same name, the system's
//! resolver first. An operation that nothing binds stays a row of its own.

use std::collections::BTreeMap;

use super::raw::{Common, Query, Raw, Request};
use super::traffic;
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
pub fn engine_of(raw: &Raw<'_>, query: &Query<'_>) -> &'static str {
    match query.engine.as_deref() {
        Some("system" | "getaddrinfo" | "golang_net_resolver" | "go") => "system",
        Some("udp") => "udp",
        Some("tcp") => "tcp",
        Some("dot") => "dot",
        Some("doh" | "doh3") => "doh",
        // dns_consistency says no engine, but which resolver is its control (ts-002).
        None if query.resolver.is_some()
            && raw.key_text("control_resolver").map(AsRef::as_ref) == query.resolver.as_deref() =>
        {
            "udp"
        }
        Some("netx") | None => "unknown",
        Some(_) => "other",
    }
}

/// Whether a lookup is what the machine itself would have done.
pub fn is_classic_query(raw: &Raw<'_>, query: &Query<'_>) -> bool {
    if raw.has_classic {
        return query.common.classic;
    }
    matches!(engine_of(raw, query), "system" | "unknown")
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
        let (newer, older) = (&requests[i], &requests[i + 1]);
        if newer.common.role == older.common.role && (leads_to(older, newer) || is_followed(older, newer)) {
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

/// Probes of 2016 wrote the first hop's URL beside every hop: an answer under the URL of a redirect that
/// leads elsewhere, and that is no such redirect itself, is what the redirect led to.
fn is_followed(from: &Request<'_>, to: &Request<'_>) -> bool {
    let redirects = from.status.is_some_and(|code| (300..400).contains(&code)) && from.location.is_some();
    redirects && from.url == to.url && to.status.is_some_and(|code| !(300..400).contains(&code))
}

/// Joins everything.
pub fn link(raw: &Raw<'_>, request_depth: &[u32], request_host: &[Option<String>]) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::with_capacity(raw.connects.len() + raw.queries.len());
    for connect in 0..raw.connects.len() {
        links.push(Link { connect: Some(connect), ..Link::default() });
    }
    traffic::join_opened(raw, &mut links);
    join_handshakes(raw, &mut links);
    join_requests(raw, request_depth, request_host, &mut links);
    traffic::join_rest(raw, &mut links);
    join_queries(raw, request_depth, request_host, &mut links);
    links
}

fn same_place(a: &Common, b: &Common) -> bool {
    a.role == b.role && a.depth == b.depth
}

fn join_handshakes(raw: &Raw<'_>, links: &mut Vec<Link>) {
    let connects = links.len();
    for (index, handshake) in raw.handshakes.iter().enumerate() {
        let common = &handshake.common;
        let over_tcp = handshake.transport == okno_model::Transport::Tcp;
        let connect = |link: &Link| link.connect.map(|i| &raw.connects[i]);
        let free = |link: &Link| link.handshake.is_none() && over_tcp;
        let by_id = || {
            links[..connects].iter().position(|link| {
                free(link)
                    && common.transaction != 0
                    && connect(link).is_some_and(|c| {
                        c.common.role == common.role && c.common.transaction == common.transaction
                    })
            })
        };
        let by_address = || {
            links[..connects].iter().position(|link| {
                free(link)
                    && connect(link).is_some_and(|c| {
                        (c.common.transaction == 0 || common.transaction == 0)
                            && same_place(&c.common, common)
                            && c.ip.is_some()
                            && c.ip == handshake.ip
                            && c.port == handshake.port
                    })
            })
        };
        // Before 2021 a handshake names neither its connection nor its address.
        let nameless = over_tcp && common.transaction == 0 && handshake.ip.is_none();
        let by_events = || traffic::chain_of_handshake(raw, &links[..connects], common).filter(|_| nameless);
        let slot = by_id()
            .or_else(by_address)
            .or_else(by_events)
            .or_else(|| only_connect(raw, &links[..connects], index).filter(|_| nameless));
        match slot {
            Some(slot) => links[slot].handshake = Some(index),
            None => links.push(Link { handshake: Some(index), ..Link::default() }),
        }
    }
}

/// A handshake without id, address and events belongs to the connect before it when only one endpoint can be
/// meant: an address that its name resolved to, where a lookup of the name is recorded.
fn only_connect(raw: &Raw<'_>, links: &[Link], handshake: usize) -> Option<usize> {
    let handshake = &raw.handshakes[handshake];
    let role = handshake.common.role;
    let mut answers = raw
        .queries
        .iter()
        .filter(|query| query.common.role == role && query.hostname == handshake.server_name)
        .flat_map(|query| query.answers.iter().filter_map(|answer| answer.ip.as_deref()))
        .peekable();
    let resolved: Option<Vec<&str>> = answers.peek().is_some().then(|| answers.collect());
    let mut best: Option<(usize, Option<i64>)> = None;
    let mut endpoint = None;
    for (slot, link) in links.iter().enumerate() {
        let Some(connect) = link.connect.map(|i| &raw.connects[i]) else { continue };
        let (Some(ip), Some(port)) = (connect.ip.as_deref(), connect.port) else { continue };
        let before =
            connect.common.t_us.zip(handshake.common.t_us).is_none_or(|(opened, ended)| opened <= ended);
        let fits = link.handshake.is_none()
            && connect.common.role == role
            && connect.succeeded()
            && before
            && !matches!(port, 53 | 80)
            && resolved.as_ref().is_none_or(|resolved| resolved.contains(&ip));
        if !fits {
            continue;
        }
        if *endpoint.get_or_insert((ip, port)) != (ip, port) {
            return None;
        }
        if best.is_none_or(|(_, t)| connect.common.t_us >= t) {
            best = Some((slot, connect.common.t_us));
        }
    }
    best.map(|(slot, _)| slot)
}

/// The common part that names a chain's transaction and depth.
pub fn head<'r, 'a>(raw: &'r Raw<'a>, link: &Link) -> Option<&'r Common> {
    link.connect
        .map(|i| &raw.connects[i].common)
        .or_else(|| link.handshake.map(|i| &raw.handshakes[i].common))
        .or_else(|| link.request.map(|i| &raw.requests[i].common))
}

/// The redirect depth of a chain. A handshake without id and tags belongs to the first request over TLS for
/// its name: web_connectivity 0.4 tags nothing, and follows redirects from plain HTTP to handshakes.
pub fn depth_of(raw: &Raw<'_>, link: &Link, depths: &[u32], hosts: &[Option<String>]) -> u32 {
    if let Some(index) = link.request {
        return depths[index];
    }
    let Some(common) = head(raw, link) else { return 0 };
    if let Some(depth) = common.depth {
        return depth;
    }
    let Some(handshake) = link.handshake.map(|i| &raw.handshakes[i]) else { return 0 };
    if common.transaction != 0 || handshake.server_name.is_none() {
        return 0;
    }
    let over_tls = |index: &usize| {
        let request = &raw.requests[*index];
        request.common.role == common.role
            && hosts[*index].as_deref() == handshake.server_name.as_deref()
            && is_over_tls(request)
    };
    (0..raw.requests.len()).filter(over_tls).map(|index| depths[index]).min().unwrap_or(0)
}

fn is_over_tls(request: &Request<'_>) -> bool {
    request.url.as_deref().is_some_and(|url| url.starts_with("https:"))
}

/// The address and port of a chain.
pub fn endpoint_of<'r>(raw: &'r Raw<'_>, link: &Link) -> (Option<&'r str>, Option<u32>) {
    let connect = link.connect.map(|i| (raw.connects[i].ip.as_deref(), raw.connects[i].port));
    let handshake = || link.handshake.map(|i| (raw.handshakes[i].ip.as_deref(), raw.handshakes[i].port));
    connect.or_else(handshake).unwrap_or_default()
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
        // An address in the URL is as good as one beside it: telegram's and tor's requests have it there.
        let by_address = || {
            let (ip, port) = match request.address.as_deref() {
                Some(address) => host::endpoint(address)?,
                None => literal_endpoint(request.url.as_deref()?)?,
            };
            links[..chains].iter().position(|link| {
                free(link)
                    && head(raw, link).is_some_and(|c| c.transaction == 0 && c.role == request.common.role)
                    && endpoint_of(raw, link) == (Some(&*ip), port)
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

/// The address and port of a URL whose host is an address.
fn literal_endpoint(url: &str) -> Option<(okno_model::Text<'static>, Option<u32>)> {
    let place = host::place(url, None)?;
    let ip: std::net::IpAddr = place.host?.parse().ok()?;
    Some((host::ip_text(ip), place.port.map(u32::from)))
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
    // A request in the clear shook no hands.
    if request.common.transaction != 0 || depth != 0 || !is_over_tls(request) {
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

fn name_of<'r>(raw: &'r Raw<'_>, link: &Link, hosts: &'r [Option<String>]) -> Option<&'r str> {
    link.handshake
        .and_then(|i| raw.handshakes[i].server_name.as_deref())
        .or_else(|| link.request.and_then(|i| hosts[i].as_deref()))
}

/// The system's resolver is what a user's connections follow; the others only compare.
fn rank(raw: &Raw<'_>, query: &Query<'_>) -> u32 {
    match engine_of(raw, query) {
        "system" | "unknown" => 0,
        "udp" => 1,
        "doh" => 2,
        _ => 3,
    }
}

fn join_queries(raw: &Raw<'_>, depths: &[u32], hosts: &[Option<String>], links: &mut Vec<Link>) {
    let mut by_ip: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (slot, link) in links.iter().enumerate() {
        if let Some(ip) = endpoint_of(raw, link).0 {
            by_ip.entry(ip).or_default().push(slot);
        }
    }
    let contested = contested_answers(raw, &by_ip);
    let mut order: Vec<usize> = (0..raw.queries.len()).collect();
    order.sort_by_key(|index| (rank(raw, &raw.queries[*index]), *index));
    let mut alone = Vec::new();
    for index in order {
        let query = &raw.queries[index];
        if query.answers.iter().all(|answer| answer.ip.is_none()) {
            alone.push((index, None));
        }
        for (position, answer) in query.answers.iter().enumerate() {
            let Some(ip) = answer.ip.as_deref() else { continue };
            let shared = contested.contains(&(ip, rank(raw, query)));
            let (mut joined, mut ports) = (false, Vec::new());
            for slot in by_ip.get(ip).into_iter().flatten() {
                let link = &links[*slot];
                if link.query.is_some() || !leads_into(raw, query, link, depths, hosts) {
                    continue;
                }
                // Several names with one address, and connects that say no name: one of each port a name.
                let port = endpoint_of(raw, link).1;
                if shared && name_of(raw, link, hosts).is_none() {
                    if ports.contains(&port) {
                        continue;
                    }
                    ports.push(port);
                }
                links[*slot].query = Some((index, Some(position)));
                joined = true;
            }
            if !joined {
                alone.push((index, Some(position)));
            }
        }
    }
    join_surplus(raw, depths, hosts, &contested, links);
    alone.sort_unstable();
    links.extend(alone.into_iter().map(|query| Link { query: Some(query), ..Link::default() }));
}

/// Connects that outnumber the names of their address follow the first of these.
fn join_surplus(
    raw: &Raw<'_>,
    depths: &[u32],
    hosts: &[Option<String>],
    contested: &[(&str, u32)],
    links: &mut [Link],
) {
    if contested.is_empty() {
        return;
    }
    for link in links.iter_mut().filter(|link| link.query.is_none()) {
        let Some(ip) = endpoint_of(raw, link).0 else { continue };
        let Some((_, wanted)) = contested.iter().find(|(shared, _)| *shared == ip) else { continue };
        link.query = raw.queries.iter().enumerate().find_map(|(index, query)| {
            let position = query.answers.iter().position(|answer| answer.ip.as_deref() == Some(ip))?;
            (rank(raw, query) == *wanted && leads_into(raw, query, link, depths, hosts))
                .then_some((index, Some(position)))
        });
    }
}

/// Addresses that lookups of several names gave, with the rank of those lookups.
fn contested_answers<'r>(raw: &'r Raw<'_>, by_ip: &BTreeMap<&str, Vec<usize>>) -> Vec<(&'r str, u32)> {
    let mut names: BTreeMap<(&str, u32), Option<&str>> = BTreeMap::new();
    let mut contested = Vec::new();
    for query in &raw.queries {
        let rank = rank(raw, query);
        for ip in query.answers.iter().filter_map(|answer| answer.ip.as_deref()) {
            if by_ip.get(ip).is_none_or(|slots| slots.len() < 2) {
                continue;
            }
            let name = query.hostname.as_deref();
            let known = names.entry((ip, rank)).or_insert(name);
            if *known != name {
                contested.push((ip, rank));
            }
        }
    }
    contested.sort_by_key(|(ip, rank)| (*rank, *ip));
    contested.dedup();
    contested
}

/// Whether a connection may follow from a lookup that gave its address.
fn leads_into(
    raw: &Raw<'_>,
    query: &Query<'_>,
    link: &Link,
    depths: &[u32],
    hosts: &[Option<String>],
) -> bool {
    let Some(head) = head(raw, link) else { return false };
    let depth = link.request.map(|i| depths[i]).or(head.depth);
    head.role == query.common.role
        && (query.common.depth.is_none() || depth.is_none() || query.common.depth == depth)
        && name_of(raw, link, hosts)
            .is_none_or(|name| query.hostname.as_deref().is_none_or(|asked| asked == name))
}
