//! Arms: what tests that compare write down, one record a tried thing, in `test_keys.arms`.
//!
//! The probe's format (okno-probe, `arms.rs`) is read here as any other text is: an unknown key is passed
//! over, a value of another type counts as absent, and nothing is compared. An arm becomes one observation;
//! columns that other observations have keep their meaning, the rest is in `arm_…`.

use std::borrow::Cow;

use okno_model::{Observation, Text};

use super::fields::{canonical, endpoint, filled, number_u32, outcome, seconds};
use super::raw::{Outcome, Raw, Value};
use crate::json::{Broken, Kind, Reader};

/// Most arms of one measurement that are read; a search by TTL over both names has some hundred.
const MAX_ARMS: usize = 4_096;

/// One tried thing, as written.
#[derive(Clone, Debug, Default)]
pub struct Arm<'a> {
    name: Option<Text<'a>>,
    role: Option<Text<'a>>,
    round: Option<u32>,
    transaction: u64,
    operation: Option<Text<'a>>,
    endpoint: Option<Text<'a>>,
    server_name: Option<Text<'a>>,
    variant: Option<Text<'a>>,
    outcome: Outcome,
    failed_at: Option<Text<'a>>,
    /// start, µs after the measurement's start
    pub t0_us: Option<i64>,
    t_us: Option<i64>,
    sent_bytes: Option<u64>,
    received_bytes: Option<u64>,
    sent_packets: Option<u64>,
    received_packets: Option<u64>,
    goodput: Option<f64>,
    loss: Option<f64>,
    rtt_ms: Option<f64>,
    rtt_first_ms: Option<f64>,
    jitter_ms: Option<f64>,
    ttl: Option<u32>,
    value: Option<f64>,
    note: Option<Text<'a>>,
}

/// The arms of a measurement, in the order in which they were written.
pub fn arms<'a>(raw: &Raw<'a>) -> Vec<Arm<'a>> {
    let Some(Value::Raw(part)) = raw.key("arms") else { return Vec::new() };
    let mut reader = Reader::part(*part);
    let mut arms = Vec::new();
    let mut run = || -> Result<(), Broken> {
        if reader.peek()? != Kind::Array {
            return Ok(());
        }
        reader.enter_array()?;
        while arms.len() < MAX_ARMS && reader.next_element()? {
            if reader.enter_object()? {
                arms.push(arm(&mut reader)?);
            }
        }
        Ok(())
    };
    // The part is balanced; what is odd inside ends the list and was noted when it was searched.
    let _ = run();
    arms
}

fn arm<'a>(reader: &mut Reader<'a>) -> Result<Arm<'a>, Broken> {
    let mut arm = Arm::default();
    while let Some(key) = reader.next_key()? {
        match key.as_ref() {
            "name" => arm.name = filled(reader)?,
            "role" => arm.role = filled(reader)?,
            "round" => arm.round = number_u32(reader)?,
            "transaction_id" => arm.transaction = count(reader)?.unwrap_or(0),
            "operation" => arm.operation = filled(reader)?,
            "endpoint" => arm.endpoint = filled(reader)?,
            "server_name" => arm.server_name = filled(reader)?,
            "variant" => arm.variant = filled(reader)?,
            "failure" => arm.outcome = outcome(reader)?,
            "failed_at" => arm.failed_at = filled(reader)?,
            "t0" => arm.t0_us = seconds(reader)?,
            "t" => arm.t_us = seconds(reader)?,
            "sent_bytes" => arm.sent_bytes = count(reader)?,
            "received_bytes" => arm.received_bytes = count(reader)?,
            "sent_packets" => arm.sent_packets = count(reader)?,
            "received_packets" => arm.received_packets = count(reader)?,
            "goodput" => arm.goodput = positive(reader)?,
            "loss" => arm.loss = positive(reader)?.filter(|share| *share <= 1.0),
            "rtt_ms" => arm.rtt_ms = positive(reader)?,
            "rtt_first_ms" => arm.rtt_first_ms = positive(reader)?,
            "jitter_ms" => arm.jitter_ms = positive(reader)?,
            "ttl" => arm.ttl = number_u32(reader)?,
            "value" => arm.value = reader.take_f64()?,
            "note" => arm.note = filled(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(arm)
}

fn count(reader: &mut Reader<'_>) -> Result<Option<u64>, Broken> {
    Ok(reader.take_i64()?.and_then(|number| u64::try_from(number).ok()))
}

fn positive(reader: &mut Reader<'_>) -> Result<Option<f64>, Broken> {
    Ok(reader.take_f64()?.filter(|number| *number >= 0.0))
}

/// Writes an arm into an observation.
pub fn fill<'a>(arm: Arm<'a>, row: &mut Observation<'a>) {
    row.transaction = arm.transaction;
    row.arm = Some(arm.name.unwrap_or(Cow::Borrowed("unnamed")));
    row.arm_role = arm.role;
    row.arm_round = arm.round;
    row.arm_operation = arm.operation;
    row.arm_variant = arm.variant;
    row.arm_success = match arm.outcome {
        Outcome::Fine => Some(true),
        Outcome::Failed(_) => Some(false),
        Outcome::Absent | Outcome::NotRun => None,
    };
    row.arm_failure = arm.outcome.failure();
    row.arm_failed_at = arm.failed_at;
    row.arm_us = match (arm.t0_us, arm.t_us) {
        (Some(t0), Some(t)) if t >= t0 => Some(t - t0),
        _ => None,
    };
    row.tx_bytes = arm.sent_bytes;
    row.rx_bytes = arm.received_bytes;
    row.arm_tx_packets = arm.sent_packets;
    row.arm_rx_packets = arm.received_packets;
    row.arm_goodput_bytes_s = arm.goodput;
    row.arm_loss_share = arm.loss;
    row.arm_rtt_ms = arm.rtt_ms;
    row.arm_rtt_first_ms = arm.rtt_first_ms;
    row.arm_jitter_ms = arm.jitter_ms;
    row.arm_ttl = arm.ttl;
    row.arm_value = arm.value;
    row.arm_note = arm.note;
    row.tls_server_name = arm.server_name.and_then(canonical);
    row.hostname = row.tls_server_name.clone();
    match arm.endpoint.clone().and_then(endpoint) {
        Some((ip, port)) => {
            row.ip = Some(ip);
            row.port = port;
        }
        // A test that was given a name writes `name:port` when the name did not resolve.
        None => {
            let name = arm.endpoint.map(|text| match text.rsplit_once(':') {
                Some((name, _)) => Cow::Owned(name.to_owned()),
                None => text,
            });
            row.hostname = row.hostname.take().or_else(|| name.and_then(canonical));
        }
    }
}
