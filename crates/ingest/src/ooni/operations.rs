//! Lookups and connects (df-002-dnst, df-005-tcpconnect), one element each.

use okno_model::RejectReason;

use super::fields::{address, canonical, common, endpoint, filled, here, name, number_u32, outcome};
use super::raw::{Answer, Connect, Outcome, Query};
use crate::json::{Broken, Reader};

/// Most answers of one lookup that are read; a zone's largest real answer has fewer.
const MAX_ANSWERS: usize = 256;

/// A lookup; the reader stands inside its object.
pub fn query<'a>(reader: &mut Reader<'a>, role: Option<usize>) -> Result<Query<'a>, Broken> {
    let mut query = Query::default();
    let (mut resolver_host, mut resolver_port) = (None, None);
    query.common.role = role;
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "engine" => query.engine = filled(reader)?,
            "hostname" => query.hostname = name(reader)?,
            "query_type" => query.query_type = filled(reader)?,
            "failure" => query.outcome = outcome(reader)?,
            "resolver_address" => query.resolver = filled(reader)?,
            // The form before 2019, where the test says itself which resolver it asked (ts-002).
            "resolver_hostname" => resolver_host = filled(reader)?,
            "resolver_port" => resolver_port = number_u32(reader)?,
            "answers" => {
                if reader.enter_array()? {
                    let mut count = 0;
                    while reader.next_element()? {
                        count += 1;
                        if count > MAX_ANSWERS {
                            if count == MAX_ANSWERS + 1 {
                                reader.note(reader.offset(), RejectReason::TooMany);
                            }
                            reader.skip()?;
                        } else if reader.enter_object()? {
                            query.answers.push(answer(reader)?);
                        }
                    }
                }
            }
            _ => common(&key, reader, &mut query.common)?,
        }
    }
    if let (None, Some(host), Some(port)) = (&query.resolver, resolver_host, resolver_port) {
        query.resolver = Some(format!("{host}:{port}").into());
    }
    // Some probes repeat the name asked for beside each address; that is no alias.
    for answer in &mut query.answers {
        answer.cname = answer.cname.take().filter(|alias| query.hostname.as_ref() != Some(alias));
    }
    query.answers.retain(|answer| answer.ip.is_some() || answer.cname.is_some());
    Ok(query)
}

fn answer<'a>(reader: &mut Reader<'a>) -> Result<Answer<'a>, Broken> {
    let mut answer = Answer::default();
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            // `ivp6` is what dnsping 0.1 and 0.2 wrote.
            "ipv4" | "ipv6" | "ivp6" => {
                let mut port = None;
                address(reader, &mut answer.ip, &mut port)?;
            }
            "hostname" => answer.cname = name(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(answer)
}

/// A connect; the reader stands inside its object.
pub fn connect<'a>(reader: &mut Reader<'a>, role: Option<usize>) -> Result<Connect<'a>, Broken> {
    let mut connect = Connect::default();
    connect.common.role = role;
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "ip" => {
                // Before 2021 probes connected to aliases by name.
                let at = here(reader)?;
                if let Some(text) = filled(reader)? {
                    match endpoint(text.clone()) {
                        Some((ip, port)) => {
                            connect.ip = Some(ip);
                            connect.port = connect.port.or(port);
                        }
                        None => connect.host = canonical(text),
                    }
                    if connect.ip.is_none() && connect.host.is_none() {
                        reader.note(at, RejectReason::InvalidAddress);
                    }
                }
            }
            "port" => connect.port = number_u32(reader)?.filter(|port| *port <= 65_535),
            "status" => {
                if reader.enter_object()? {
                    while let Some(key) = reader.next_key()? {
                        match key.as_ref() {
                            "failure" => connect.outcome = outcome(reader)?,
                            "success" => connect.success = reader.take_bool()?,
                            _ => reader.skip()?,
                        }
                    }
                }
            }
            _ => common(&key, reader, &mut connect.common)?,
        }
    }
    // `failure: false` with a status object is legacy for "did not fail".
    if connect.outcome == Outcome::NotRun && connect.success == Some(true) {
        connect.outcome = Outcome::Fine;
    }
    Ok(connect)
}
