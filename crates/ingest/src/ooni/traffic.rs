//! Network events (df-008-netevents), summed up by connection and bound to the chain that they belong to.
//!
//! With transaction ids or addresses that is plain. Probes of 2019–2022 wrote neither (trap 21): there the
//! list itself tells, because it was appended connection by connection. A `connect` opens one, what follows
//! without a mark belongs to it, and the time of its handshake's end is the handshake's own.

use std::borrow::Cow;

use okno_model::{Observation, RejectReason, Text};

use super::chain::{Link, endpoint_of, head};
use super::fields::{Step, common, filled, outcome};
use super::raw::{Common, Outcome, Raw, Traffic};
use crate::host;
use crate::json::Reader;

/// Most connections of one measurement whose events are told apart.
const MAX_CONNECTIONS: usize = 4_096;
/// How far the probe's two records of one handshake's end lie apart at most, µs.
const SAME_MOMENT_US: i64 = 1_000;

/// Reads one event; the reader stands inside its object.
pub fn event<'a>(reader: &mut Reader<'a>, raw: &mut Raw<'a>, role: Option<usize>) -> Step {
    let start = reader.offset();
    let mut at = Common { role, ..Common::default() };
    let (mut operation, mut bytes, mut ended, mut address, mut cumulative) =
        (None, None, Outcome::Absent, None, false);
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "operation" => operation = filled(reader)?,
            "num_bytes" => bytes = reader.take_i64()?.and_then(|n| u64::try_from(n).ok()),
            "failure" => ended = outcome(reader)?,
            "address" => address = filled(reader)?,
            "tags" => {
                if reader.enter_array()? {
                    while reader.next_element()? {
                        cumulative |= reader.take_str()?.is_some_and(|tag| tag.contains("cumulative"));
                    }
                }
            }
            _ => common(&key, reader, &mut at)?,
        }
    }
    let Some(operation) = operation else { return Ok(()) };
    let Some(traffic) = slot(raw, &at, &operation, address) else {
        reader.note(start, RejectReason::TooMany);
        return Ok(());
    };
    let failed = ended.failure();
    match operation.as_ref() {
        "bytes_received_cumulative" => traffic.snapshot(bytes, at.t_us),
        _ if cumulative => traffic.snapshot(bytes, at.t_us),
        // QUIC's sockets read from and write to (trap 20).
        "read" | "read_from" => traffic.read(failed.is_none().then_some(bytes.unwrap_or(0)), at.t_us),
        "write" | "write_to" => {
            traffic.moved = true;
            if failed.is_none() {
                traffic.tx_bytes = traffic.tx_bytes.saturating_add(bytes.unwrap_or(0));
            }
        }
        "tls_handshake_start" | "quic_handshake_start" => traffic.handshakes += 1,
        "tls_handshake_done" | "quic_handshake_done" => traffic.handshake_us = at.t_us,
        _ => {}
    }
    if !matches!(operation.as_ref(), "close" | "resolve_start" | "resolve_done") {
        traffic.last = Some((operation, failed));
    }
    Ok(())
}

/// The connection that an event belongs to; `None` when there are too many.
fn slot<'r, 'a>(
    raw: &'r mut Raw<'a>,
    at: &Common,
    operation: &str,
    address: Option<Text<'a>>,
) -> Option<&'r mut Traffic<'a>> {
    let marked = at.transaction != 0;
    let opens = !marked && operation == "connect" && address.is_some();
    let found = if opens {
        None
    } else if marked {
        raw.traffic.iter().rposition(|t| t.role == at.role && t.transaction == at.transaction)
    } else if address.is_some() {
        raw.traffic.iter().rposition(|t| t.role == at.role && t.transaction == 0 && t.address == address)
    } else {
        // Unmarked: what was opened last, else one slot for all such events of this place.
        let last = raw.traffic.len().checked_sub(1).filter(|last| {
            raw.traffic[*last].opened_us.is_some()
                && raw.traffic[*last].role == at.role
                && !operation.starts_with("resolve_")
        });
        let unmarked = |t: &Traffic<'_>| t.role == at.role && t.transaction == 0 && t.address.is_none();
        last.or_else(|| raw.traffic.iter().rposition(unmarked))
    };
    let index = match found {
        Some(index) => index,
        None if raw.traffic.len() >= MAX_CONNECTIONS => return None,
        None => {
            raw.traffic.push(Traffic {
                transaction: at.transaction,
                role: at.role,
                opened_us: if opens { at.t_us } else { None },
                ..Traffic::default()
            });
            raw.traffic.len() - 1
        }
    };
    let traffic = &mut raw.traffic[index];
    if traffic.address.is_none() {
        traffic.address = address;
    }
    Some(traffic)
}

impl Traffic<'_> {
    fn read(&mut self, bytes: Option<u64>, t_us: Option<i64>) {
        self.moved = true;
        let Some(bytes) = bytes else { return };
        self.rx_bytes = self.rx_bytes.saturating_add(bytes);
        self.rx_reads += 1;
        self.moment(t_us);
    }

    fn snapshot(&mut self, bytes: Option<u64>, t_us: Option<i64>) {
        self.moved = true;
        if bytes > self.cumulative {
            self.cumulative = bytes;
            self.moment(t_us);
        }
    }

    fn moment(&mut self, t_us: Option<i64>) {
        let Some(t) = t_us else { return };
        if let Some(last) = self.rx_last_us {
            self.rx_gap_us = self.rx_gap_us.max(t - last);
        }
        self.rx_first_us = Some(self.rx_first_us.map_or(t, |first| first.min(t)));
        self.rx_last_us = self.rx_last_us.max(Some(t));
    }

    /// Whether unmarked events were rightly taken for those of one connection: it shook hands once at most.
    fn is_one_connection(&self) -> bool {
        self.opened_us.is_none() || self.handshakes <= 1
    }
}

/// Binds connections that their address names to the connects among `links`; the same moment decides where
/// one address was connected to several times.
pub fn join_opened(raw: &Raw<'_>, links: &mut [Link]) {
    for (index, traffic) in raw.traffic.iter().enumerate() {
        let Some(opened) = traffic.opened_us else { continue };
        let Some((ip, port)) = traffic.address.as_deref().and_then(host::endpoint) else { continue };
        let fits = |link: &Link| {
            link.traffic.is_none()
                && head(raw, link).is_some_and(|c| c.transaction == 0 && c.role == traffic.role)
                && endpoint_of(raw, link) == (Some(&*ip), port)
        };
        let same = |link: &Link| link.connect.is_some_and(|i| raw.connects[i].common.t_us == Some(opened));
        let slot =
            links.iter().position(|link| fits(link) && same(link)).or_else(|| links.iter().position(fits));
        if let Some(slot) = slot {
            links[slot].traffic = Some(index);
        }
    }
}

/// The chain whose recorded events end a handshake at this moment.
pub fn chain_of_handshake(raw: &Raw<'_>, links: &[Link], handshake: &Common) -> Option<usize> {
    let ended = handshake.t_us?;
    links.iter().position(|link| {
        link.handshake.is_none()
            && link.traffic.is_some_and(|i| {
                let traffic = &raw.traffic[i];
                traffic.role == handshake.role
                    && traffic.is_one_connection()
                    && traffic.handshake_us.is_some_and(|t| (t - ended).abs() <= SAME_MOMENT_US)
            })
    })
}

/// Binds what [`join_opened`] left: by id, by address, or to the only chain there is.
pub fn join_rest(raw: &Raw<'_>, links: &mut [Link]) {
    let mut bound = vec![false; raw.traffic.len()];
    links.iter().filter_map(|link| link.traffic).for_each(|index| bound[index] = true);
    for (index, traffic) in raw.traffic.iter().enumerate().filter(|(index, _)| !bound[*index]) {
        let ours = |link: &Link| {
            head(raw, link).is_some_and(|c| c.role == traffic.role && c.transaction == traffic.transaction)
        };
        let slot = if traffic.transaction != 0 {
            links.iter().position(|link| link.traffic.is_none() && ours(link))
        } else if let Some((ip, port)) = traffic.address.as_deref().and_then(host::endpoint) {
            links.iter().position(|link| {
                link.traffic.is_none()
                    && head(raw, link).is_some_and(|c| c.role == traffic.role)
                    && endpoint_of(raw, link) == (Some(&*ip), port)
            })
        } else {
            let mut fitting =
                links.iter().enumerate().filter(|(_, link)| link.traffic.is_none() && ours(link));
            let first = fitting.next().map(|(slot, _)| slot);
            first.filter(|_| fitting.next().is_none())
        };
        if let Some(slot) = slot {
            links[slot].traffic = Some(index);
        }
    }
}

/// Fills the columns of network events.
pub fn fill(raw: &Raw<'_>, link: &Link, row: &mut Observation<'_>) {
    let Some(traffic) = link.traffic.map(|i| &raw.traffic[i]) else { return };
    row.last_operation = traffic.last.as_ref().map(|(operation, failure)| {
        let known = KNOWN_OPERATIONS.iter().find(|known| *known == operation).copied().unwrap_or("other");
        let text: Text<'static> = match failure {
            Some(failure) => Cow::Owned(format!("{known} {failure}")),
            None => Cow::Borrowed(known),
        };
        text
    });
    // Where no read and no write was recorded, nothing is known of bytes: that is not zero bytes.
    if !traffic.moved || !traffic.is_one_connection() {
        return;
    }
    // Cumulative snapshots are what throttling shows in; single reads are capped at 64 events (dd-007).
    row.rx_bytes = Some(traffic.rx_bytes.max(traffic.cumulative.unwrap_or(0)));
    row.tx_bytes = Some(traffic.tx_bytes);
    row.rx_reads = Some(traffic.rx_reads);
    row.rx_us = traffic.rx_first_us.zip(traffic.rx_last_us).map(|(first, last)| last - first);
    row.rx_gap_us = traffic.rx_last_us.map(|_| traffic.rx_gap_us);
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
