//! What is judged together: one measurement and everything it carries.

use okno_model::{Control, Failure, FailureKind, Measurement, Observation, Transport};

/// One measurement with its observations and controls, as ingest gives them.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f, 'a> {
    /// the measurement
    pub measurement: &'f Measurement<'a>,
    /// its chains
    pub observations: &'f [Observation<'a>],
    /// what a helper saw of the same target
    pub controls: &'f [Control<'a>],
}

/// A host at a hop, with the rows about it.
#[derive(Clone, Debug)]
pub(crate) struct Unit<'f, 'a> {
    pub(crate) hop: u32,
    pub(crate) host: Option<&'f str>,
    pub(crate) rows: Vec<&'f Observation<'a>>,
}

/// Hosts and hops told apart in one measurement; what goes beyond joins the last one.
const MAX_UNITS: usize = 512;

impl<'f, 'a> Facts<'f, 'a> {
    /// The hosts and hops, in order of first appearance.
    pub(crate) fn units(&self) -> Vec<Unit<'f, 'a>> {
        let mut units: Vec<Unit<'f, 'a>> = Vec::with_capacity(4);
        let compared = self.compared();
        for row in self.observations.iter().filter(|row| !is_compared(row, &compared)) {
            let host = row.hostname.as_deref();
            // Rows of one host follow each other, so the search starts at the end.
            let at = units.iter().rposition(|unit| unit.hop == row.hop && unit.host == host);
            match at {
                Some(at) => units[at].rows.push(row),
                None if units.len() < MAX_UNITS => {
                    let mut rows = Vec::with_capacity(self.observations.len().min(16));
                    rows.push(row);
                    units.push(Unit { hop: row.hop, host, rows });
                }
                None => units[MAX_UNITS - 1].rows.push(row),
            }
        }
        units
    }

    /// Transactions of operations that belong to arms: what they mean is said by comparison, not one by one.
    pub(crate) fn compared(&self) -> Vec<u64> {
        let arms = self.observations.iter().filter(|row| row.arm.is_some() && row.transaction != 0);
        arms.map(|row| row.transaction).collect()
    }

    /// Helper's rows of one kind about one host; a row without a host name is about the input's.
    pub(crate) fn controls_for<'s>(
        &'s self,
        kind: &'s str,
        host: Option<&'s str>,
    ) -> impl Iterator<Item = &'f Control<'a>> + 's {
        let own = self.measurement.hostname.as_deref();
        self.controls
            .iter()
            .filter(move |control| control.kind == kind && host == control.hostname.as_deref().or(own))
    }
}

/// Whether a row is an arm, or an operation of one.
pub(crate) fn is_compared(row: &Observation<'_>, compared: &[u64]) -> bool {
    row.arm.is_some() || (row.transaction != 0 && compared.contains(&row.transaction))
}

/// Whether two texts are the same address; NAT64 answers count as the IPv4 address they carry (RFC 6052:
/// phone networks without IPv4 answer that way, and no helper does).
pub(crate) fn same_address(a: &str, b: &str) -> bool {
    a == b
        || match (embedded_ipv4(a), embedded_ipv4(b)) {
            (None, None) => false,
            (Some(a), None) => b.parse() == Ok(a),
            (None, Some(b)) => a.parse() == Ok(b),
            (Some(a), Some(b)) => a == b,
        }
}

pub(crate) fn embedded_ipv4(text: &str) -> Option<std::net::Ipv4Addr> {
    let rest = text.strip_prefix("64:ff9b:")?;
    if !rest.starts_with(':') && !rest.starts_with("0:") {
        return None;
    }
    let octets = text.parse::<std::net::Ipv6Addr>().ok()?.octets();
    (octets[4..12].iter().all(|octet| *octet == 0))
        .then(|| std::net::Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]))
}

/// Whether an answer is no public address; a NAT64 answer is judged by the address it carries.
pub(crate) fn is_bogon(row: &Observation<'_>) -> bool {
    match row.ip.as_deref().and_then(embedded_ipv4) {
        Some(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_unspecified() || v4.is_link_local() || shared
        }
        None => row.ip_is_bogon == Some(true),
    }
}

/// Whether a failure is the probe's own business, or says nothing.
pub(crate) fn is_local(failure: Option<Failure>) -> bool {
    matches!(failure.map(Failure::kind), None | Some(FailureKind::Local))
}

/// Whether the lookup went the way a user's would: not to a resolver of the test's choice.
pub(crate) fn is_user_lookup(row: &Observation<'_>) -> bool {
    row.classic || matches!(row.dns_engine.as_deref(), None | Some("system" | "unknown"))
}

/// Whether the row belongs to a lookup.
pub(crate) fn is_lookup(row: &Observation<'_>) -> bool {
    row.dns_lookup.is_some() || row.dns_failure.is_some()
}

/// Whether the lookup went over an encrypted channel.
pub(crate) fn is_encrypted(row: &Observation<'_>) -> bool {
    matches!(row.dns_engine.as_deref(), Some("doh" | "dot" | "doh3" | "doq"))
}

pub(crate) fn is_quic(row: &Observation<'_>) -> bool {
    row.transport == Some(Transport::Quic)
}

pub(crate) fn is_ipv6(ip: &str) -> bool {
    ip.contains(':')
}

/// Whether anything at all worked, as the probe saw it.
pub(crate) fn has_success(row: &Observation<'_>) -> bool {
    row.tcp_success == Some(true)
        || row.tls_success == Some(true)
        || row.http_status.is_some()
        || row.app_success == Some(true)
        || row.arm_success == Some(true)
        || (is_lookup(row) && row.dns_failure.is_none() && row.ip.is_some() && !is_bogon(row))
}
