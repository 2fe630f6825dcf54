//! What the test helper saw (ts-017-web-connectivity, "control").
//!
//! A control speaks of the input's host only; redirects have none of their own (trap 6). An address that
//! stands under `tls_handshake` and not under `tcp_connect` is as good as any other (trap 7).

use std::borrow::Cow;

use okno_model::{RejectReason, Text};

use super::fields::{endpoint, outcome};
use super::raw::{Outcome, Raw, RawControl};
use crate::json::{Broken, Kind, RawValue, Reader};

/// Most endpoints of one control that become rows.
const MAX_ROWS: usize = 1_024;
/// Most addresses of one control's lookup.
const MAX_ADDRESSES: usize = 256;

/// Reads a control object into rows; leaves `control_present` false when it holds none of a helper's parts.
pub fn read<'a>(part: RawValue<'a>, raw: &mut Raw<'a>) {
    let mut reader = Reader::part(part);
    let mut rows = Vec::new();
    // The part was balanced when it was taken, so a break ends only an odd inner value.
    let present = rows_of(&mut reader, &mut rows).unwrap_or(!rows.is_empty());
    raw.issues.extend(reader.issues.iter().map(|issue| (issue.offset, issue.reason)));
    if present {
        raw.control_present = true;
        raw.controls.append(&mut rows);
    }
}

fn rows_of<'a>(reader: &mut Reader<'a>, rows: &mut Vec<RawControl<'a>>) -> Result<bool, Broken> {
    let mut present = false;
    if !reader.enter_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.next_key()? {
        let is_object = reader.peek()? == Kind::Object;
        match key.as_ref() {
            "dns" if is_object => {
                present = true;
                dns(reader, rows)?;
            }
            "tcp_connect" if is_object => {
                present = true;
                endpoints("tcp", reader, rows)?;
            }
            "tls_handshake" if is_object => endpoints("tls", reader, rows)?,
            "quic_handshake" if is_object => endpoints("quic", reader, rows)?,
            "http_request" if is_object => {
                present = true;
                http(reader, rows)?;
            }
            _ => reader.skip()?,
        }
    }
    Ok(present)
}

fn dns<'a>(reader: &mut Reader<'a>, rows: &mut Vec<RawControl<'a>>) -> Result<(), Broken> {
    let (mut ended, mut addrs): (Outcome, Vec<Text<'a>>) = (Outcome::Absent, Vec::new());
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "failure" => ended = outcome(reader)?,
            "addrs" => {
                if reader.enter_array()? {
                    let mut count = 0;
                    while reader.next_element()? {
                        count += 1;
                        if count <= MAX_ADDRESSES {
                            addrs.extend(reader.take_str()?);
                            continue;
                        }
                        if count == MAX_ADDRESSES + 1 {
                            reader.note(reader.offset(), RejectReason::TooMany);
                        }
                        reader.skip()?;
                    }
                }
            }
            _ => reader.skip()?,
        }
    }
    let failure = ended.failure();
    let mut any = false;
    for text in addrs {
        // Before 2018 helpers listed aliases among the addresses; those are no addresses.
        if let Some((ip, _)) = endpoint(text) {
            any = true;
            rows.push(RawControl { kind: "dns", ip: Some(ip), success: Some(true), ..RawControl::default() });
        }
    }
    if !any {
        // An empty answer without an error is an answer: the name has no address.
        let success = if failure.is_some() || ended == Outcome::Fine { Some(false) } else { None };
        rows.push(RawControl { kind: "dns", failure, success, ..RawControl::default() });
    }
    Ok(())
}

fn endpoints<'a>(
    kind: &'static str,
    reader: &mut Reader<'a>,
    rows: &mut Vec<RawControl<'a>>,
) -> Result<(), Broken> {
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        let at = reader.offset();
        let mut row = RawControl { kind, ..RawControl::default() };
        match endpoint(key.clone()) {
            Some((ip, port)) => {
                row.ip = Some(ip);
                row.port = port;
            }
            // Before 2021 aliases stand here by name.
            None => {
                let (name, port) = key.rsplit_once(':').unwrap_or((&key, ""));
                row.port = port.parse::<u16>().ok().map(u32::from);
                row.host = crate::host::canonical(name).map(|name| Cow::Owned(name.into_owned()));
                if row.host.is_none() {
                    reader.note(at, RejectReason::InvalidAddress);
                    reader.skip()?;
                    continue;
                }
            }
        }
        if !reader.enter_object()? {
            continue;
        }
        while let Some(key) = reader.next_key()? {
            match key.as_ref() {
                "status" => row.success = reader.take_bool()?,
                "failure" => row.failure = outcome(reader)?.failure(),
                "server_name" => row.server_name = reader.take_str()?.and_then(super::fields::canonical),
                _ => reader.skip()?,
            }
        }
        row.success = row.success.or(Some(row.failure.is_none()));
        if rows.len() < MAX_ROWS {
            rows.push(row);
        } else if rows.len() == MAX_ROWS {
            reader.note(at, RejectReason::TooMany);
            return finish(reader);
        }
    }
    Ok(())
}

/// Passes over what is left of the object that was entered.
fn finish(reader: &mut Reader<'_>) -> Result<(), Broken> {
    while reader.next_key()?.is_some() {
        reader.skip()?;
    }
    Ok(())
}

fn http<'a>(reader: &mut Reader<'a>, rows: &mut Vec<RawControl<'a>>) -> Result<(), Broken> {
    let mut row = RawControl { kind: "http", ..RawControl::default() };
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            // −1 says that there was none (ts-017; trap 6).
            "body_length" => row.body_bytes = reader.take_i64()?.and_then(|n| u64::try_from(n).ok()),
            "status_code" => {
                row.status =
                    reader.take_i64()?.and_then(|code| u32::try_from(code).ok()).filter(|code| *code != 0);
            }
            "title" => {
                row.title = reader.take_str()?.filter(|t| !t.is_empty()).map(|t| {
                    let folded: String =
                        t.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(160).collect();
                    Cow::Owned(folded)
                });
            }
            "failure" => row.failure = outcome(reader)?.failure(),
            "headers" => row.headers = header_names(reader)?,
            _ => reader.skip()?,
        }
    }
    row.success = Some(row.failure.is_none() && row.status.is_some());
    rows.push(row);
    Ok(())
}

fn header_names(reader: &mut Reader<'_>) -> Result<Option<String>, Broken> {
    if !reader.enter_object()? {
        return Ok(None);
    }
    let mut names = Vec::new();
    while let Some(key) = reader.next_key()? {
        let lower = key.to_ascii_lowercase();
        if super::body::is_uncommon(&lower) && lower.len() <= 40 && !lower.is_empty() {
            names.push(lower);
        }
        reader.skip()?;
    }
    names.sort_unstable();
    names.dedup();
    names.truncate(super::parse::MAX_NAMES);
    Ok(Some(names.join(" ")))
}
