//! Single values of a measurement in all the forms that OONI wrote them: what the readers of the shared
//! structures have in common.
//!
//! A value of another type than expected is noted by the JSON reader and counts as absent; here only what
//! OONI's own history allows is allowed.

use std::borrow::Cow;

use okno_model::{Failure, RejectReason, Text};
use xxhash_rust::xxh3::xxh3_64;

use super::raw::{Common, Outcome, Value};
use crate::host;
use crate::json::{Broken, Kind, Reader};

/// What a step of reading gives.
pub type Step = Result<(), Broken>;

/// Where the next value starts.
pub fn here(reader: &mut Reader<'_>) -> Result<usize, Broken> {
    reader.peek()?;
    Ok(reader.offset())
}

/// Any value, containers unread.
pub fn value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Broken> {
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.skip()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(reader.take_bool()?.unwrap_or_default()),
        Kind::Number => reader.take_f64()?.map_or(Value::Null, Value::Number),
        Kind::String => reader.take_str()?.map_or(Value::Null, Value::Text),
        Kind::Array | Kind::Object => Value::Raw(reader.take_raw()?),
    })
}

/// A text that is not empty.
pub fn filled<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Broken> {
    Ok(reader.take_str()?.filter(|text| !text.is_empty()))
}

/// A host name in canonical spelling.
pub fn name<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Broken> {
    Ok(filled(reader)?.and_then(canonical))
}

/// [`host::canonical`] for text that may be owned.
pub fn canonical(text: Text<'_>) -> Option<Text<'_>> {
    match text {
        Cow::Borrowed(text) => host::canonical(text),
        Cow::Owned(text) => host::canonical(&text).map(|name| Cow::Owned(name.into_owned())),
    }
}

/// [`host::endpoint`] for text that may be owned.
pub fn endpoint(text: Text<'_>) -> Option<(Text<'_>, Option<u32>)> {
    match text {
        Cow::Borrowed(text) => host::endpoint(text),
        Cow::Owned(text) => host::endpoint(&text).map(|(ip, port)| (Cow::Owned(ip.into_owned()), port)),
    }
}

/// An address with an optional port; what is none is noted.
pub fn address<'a>(reader: &mut Reader<'a>, ip: &mut Option<Text<'a>>, port: &mut Option<u32>) -> Step {
    let at = here(reader)?;
    if let Some(text) = filled(reader)? {
        match endpoint(text) {
            Some((address, its_port)) => {
                *ip = Some(address);
                *port = its_port.or(*port);
            }
            None => reader.note(at, RejectReason::InvalidAddress),
        }
    }
    Ok(())
}

/// A failure in any of the forms that OONI wrote (trap 11).
pub fn outcome(reader: &mut Reader<'_>) -> Result<Outcome, Broken> {
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.skip()?;
            Outcome::Fine
        }
        Kind::Bool => match reader.take_bool()? {
            Some(true) => Outcome::Failed(Failure::Unknown),
            _ => Outcome::NotRun,
        },
        Kind::String => Outcome::Failed(Failure::from_ooni(&reader.take_str()?.unwrap_or_default())),
        _ => {
            reader.note(reader.offset(), RejectReason::WrongType);
            reader.skip()?;
            Outcome::Absent
        }
    })
}

/// A small whole number, also as text; what does not fit is noted.
pub fn number_u32(reader: &mut Reader<'_>) -> Result<Option<u32>, Broken> {
    let at = here(reader)?;
    // Ports and codes are strings in some legacy data.
    let value = match reader.peek()? {
        Kind::String => reader.take_str()?.and_then(|text| text.trim().parse().ok()),
        _ => reader.take_i64()?,
    };
    Ok(value.and_then(|value| {
        let narrow = u32::try_from(value).ok();
        if narrow.is_none() {
            reader.note(at, RejectReason::NumberOutOfRange);
        }
        narrow
    }))
}

/// Seconds as written to microseconds; what cannot be a time within a test is left out.
pub fn seconds(reader: &mut Reader<'_>) -> Result<Option<i64>, Broken> {
    Ok(reader.take_f64()?.filter(|s| s.abs() < 1e7).map(|s| (s * 1e6).round() as i64))
}

/// A key that every operation may have; any other is skipped.
pub fn common(key: &str, reader: &mut Reader<'_>, common: &mut Common) -> Step {
    match key {
        "t" => common.t_us = seconds(reader)?,
        "t0" => common.t0_us = seconds(reader)?,
        "transaction_id" => {
            common.transaction = reader.take_i64()?.and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        }
        // The id's name before 2021; it binds connect, handshake and events just so.
        "conn_id" if common.transaction == 0 => {
            common.transaction = reader.take_i64()?.and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        }
        "tags" => {
            if reader.enter_array()? {
                while reader.next_element()? {
                    let Some(tag) = reader.take_str()? else { continue };
                    common.tagged = true;
                    // Tags of web_connectivity 0.5 (trap 25; probe-cli webconnectivitylte).
                    match tag.as_ref() {
                        "classic" => common.classic = true,
                        "fetch_body=true" => common.fetch_body = Some(true),
                        "fetch_body=false" => common.fetch_body = Some(false),
                        tag => {
                            if let Some(depth) = tag.strip_prefix("depth=") {
                                common.depth = depth.parse().ok().filter(|depth| *depth <= 64);
                            }
                        }
                    }
                }
            }
        }
        _ => reader.skip()?,
    }
    Ok(())
}

/// Hash of a text, stable across runs.
pub fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}
