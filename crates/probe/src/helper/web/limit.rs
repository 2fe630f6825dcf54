//! How much a helper does at once, and for whom: no client can take it away from the others.
//!
//! OONI's helper counts requests in flight alone (25 for all, 50 for OONI's own probes; ooni/probe#2649). We
//! count them per client too, with a bucket that refills, since an address is all that is known of one.

use core::cell::RefCell;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use okno_wire::Instant;
use serde::Deserialize;

/// What a helper allows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HelperLimits {
    /// requests in flight (oohelperd handler.go: 50; ours spends one connection less on each)
    pub at_once: usize,
    /// requests in flight of one client
    pub at_once_each: usize,
    /// requests that one client may send in a burst
    pub burst: f64,
    /// requests a second that one client may send in the long run
    pub per_second: f64,
    /// connections that are open
    pub connections: usize,
    /// connections that one client has open
    pub connections_each: usize,
    /// longest request, bytes
    pub request_bytes: usize,
    /// most of a page that is read, bytes. Probes read 2^19 and compare no page that they cut, so more than
    /// twice that changes no comparison; OONI's helper reads 2^24.
    pub page_bytes: usize,
    /// addresses of one request that are tried
    pub addresses: usize,
    /// seconds for a connection to the helper, all requests in it
    pub connection_seconds: u64,
}

impl Default for HelperLimits {
    fn default() -> Self {
        Self {
            at_once: 100,
            at_once_each: 50,
            burst: 120.0,
            per_second: 4.0,
            connections: 200,
            connections_each: 64,
            request_bytes: 1 << 16,
            page_bytes: 1 << 20,
            addresses: 48,
            connection_seconds: 120,
        }
    }
}

/// Most clients that are remembered; above it those that left nothing behind are forgotten.
const REMEMBERED: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Client {
    in_flight: usize,
    tokens: f64,
    at: Instant,
}

/// Who is being served.
#[derive(Debug, Default)]
pub struct Gate {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    clients: BTreeMap<IpAddr, Client>,
}

/// One request that was let in; ends with its drop.
#[derive(Debug)]
pub struct Pass<'a> {
    gate: &'a Gate,
    client: IpAddr,
}

impl Gate {
    /// Lets a request in, or not.
    pub fn enter(&self, limits: &HelperLimits, client: IpAddr, now: Instant) -> Option<Pass<'_>> {
        let client = subscriber(client);
        let mut state = self.state.borrow_mut();
        if state.in_flight >= limits.at_once {
            return None;
        }
        let refilled = |known: &Client| {
            (known.tokens + limits.per_second * since(now, known.at).as_secs_f64()).min(limits.burst)
        };
        if state.clients.len() >= REMEMBERED && !state.clients.contains_key(&client) {
            state.clients.retain(|_, known| known.in_flight > 0 || refilled(known) < limits.burst);
            if state.clients.len() >= REMEMBERED {
                return None;
            }
        }
        let fresh = Client { in_flight: 0, tokens: limits.burst, at: now };
        let known = state.clients.entry(client).or_insert(fresh);
        known.tokens = refilled(known);
        known.at = now;
        if known.in_flight >= limits.at_once_each || known.tokens < 1.0 {
            return None;
        }
        known.tokens -= 1.0;
        known.in_flight += 1;
        state.in_flight += 1;
        Some(Pass { gate: self, client })
    }
}

fn since(now: Instant, then: Instant) -> Duration {
    now.since(then)
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.borrow_mut();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(known) = state.clients.get_mut(&self.client) {
            known.in_flight = known.in_flight.saturating_sub(1);
        }
    }
}

/// What one subscriber has: an IPv4 address, or a /64 of IPv6 (RFC 6177 §2).
pub fn subscriber(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
    }

    #[test]
    fn one_client_cannot_take_the_helper_from_the_others() {
        let limits = HelperLimits { at_once: 3, at_once_each: 2, ..HelperLimits::default() };
        let gate = Gate::default();
        let [greedy, modest]: [IpAddr; 2] = ["11.0.0.1", "11.0.0.2"].map(|text| text.parse().unwrap());
        let first = gate.enter(&limits, greedy, at(0));
        let second = gate.enter(&limits, greedy, at(0));
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(&limits, greedy, at(0)).is_none(), "its share is used up");
        let other = gate.enter(&limits, modest, at(0));
        assert!(other.is_some());
        assert!(gate.enter(&limits, "11.0.0.3".parse().unwrap(), at(0)).is_none(), "the helper is full");
        drop(first);
        assert!(gate.enter(&limits, greedy, at(0)).is_some());
    }

    #[test]
    fn a_client_that_asked_too_often_is_served_again_later() {
        let limits = HelperLimits { burst: 2.0, per_second: 0.5, ..HelperLimits::default() };
        let gate = Gate::default();
        let client: IpAddr = "2a0f::1:0:0:0:7".parse().unwrap();
        let neighbour: IpAddr = "2a0f::1:0:0:0:8".parse().unwrap();
        assert!(gate.enter(&limits, client, at(0)).is_some());
        assert!(gate.enter(&limits, neighbour, at(0)).is_some(), "of the same subscriber");
        assert!(gate.enter(&limits, client, at(1)).is_none());
        assert!(gate.enter(&limits, client, at(2)).is_some());
    }
}
