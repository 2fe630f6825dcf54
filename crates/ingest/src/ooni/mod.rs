//! OONI's measurements: one line of JSON to rows.
//!
//! ```text
//!   line ──parse──► Raw ──chain──► Observation*     (one row a chain)
//!                    │  └─control─► Control*
//!                    ├──nettests──► Observation*     (application statements)
//!                    └──issues────► Reject*          (everything that could not be read)
//!   and every text passes scrub before it leaves
//! ```

mod body;
mod cert;
mod chain;
mod control;
mod identity;
mod nettests;
mod parse;
mod raw;
mod rows;
mod scrub;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use okno_model::{Control, Measurement, Observation, Reject, RejectReason, Table, Text};

use crate::json::path_at;
use crate::reference::Reference;
use crate::source::Line;
use parse::{Parser, Scratch};

/// Where a line comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// path of the file, as it will stand in the tables
    pub source: &'a str,
    /// the line
    pub line: Line,
}

/// What one line gave.
#[derive(Debug, Default)]
pub struct Extracted<'a> {
    /// the measurement, unless nothing of it could be kept
    pub measurement: Option<Measurement<'a>>,
    /// its observations
    pub observations: Vec<Observation<'a>>,
    /// what its test helper saw
    pub controls: Vec<Control<'a>>,
    /// what could not be read
    pub rejects: Vec<Reject<'a>>,
}

/// Most rejects that one line may give; the rest is counted in one more.
const MAX_REJECTS: usize = 64;

/// Extracts rows; holds the buffers that live across lines.
pub struct Extractor<'r> {
    reference: &'r Reference,
    scratch: Scratch,
}

impl<'r> Extractor<'r> {
    /// With the reference data that facts are annotated with.
    pub fn new(reference: &'r Reference) -> Self {
        Self { reference, scratch: Scratch::default() }
    }

    /// Extracts one line. Never fails and never panics, whatever the line.
    pub fn line<'a>(&mut self, origin: Origin<'a>, text: &'a str) -> Extracted<'a> {
        let fingerprints = &self.reference.fingerprints;
        let raw = Parser { fingerprints, scratch: &mut self.scratch }.read(text);
        let mut out = Extracted::default();
        let identity = identity::of(&raw, &origin);
        if let Some((measurement, missing)) = identity {
            self.rows(&raw, measurement, &mut out);
            self.missing(&origin, missing, &mut out);
        }
        self.rejects(&origin, text, &raw, &mut out);
        let scrubber = scrub::Scrubber::new(raw.text("probe_ip").map(AsRef::as_ref));
        if !scrubber.is_idle() {
            let mut clean = |text: &mut Text<'a>| *text = scrubber.text(std::mem::take(text));
            out.measurement.iter_mut().for_each(|row| row.each_text(&mut clean));
            out.observations.iter_mut().for_each(|row| row.each_text(&mut clean));
            out.controls.iter_mut().for_each(|row| row.each_text(&mut clean));
            out.rejects.iter_mut().for_each(|row| row.each_text(&mut clean));
        }
        let rejects = u32::try_from(out.rejects.len()).unwrap_or(u32::MAX);
        if let Some(measurement) = &mut out.measurement {
            measurement.rejects = rejects;
            measurement.observations = u32::try_from(out.observations.len()).unwrap_or(u32::MAX);
        }
        out
    }

    fn rows<'a>(&self, raw: &raw::Raw<'a>, measurement: Measurement<'a>, out: &mut Extracted<'a>) {
        out.observations = rows::observations(raw, &measurement, self.reference);
        out.controls = rows::controls(raw, &measurement, self.reference);
        out.measurement = Some(measurement);
    }

    fn missing<'a>(&self, origin: &Origin<'a>, missing: Vec<&'static str>, out: &mut Extracted<'a>) {
        for part in missing {
            out.rejects.push(Reject {
                source: Cow::Borrowed(origin.source),
                line: origin.line.number,
                byte_offset: origin.line.offset,
                part: Cow::Borrowed(part),
                reason: RejectReason::Missing,
                detail: None,
                measurement_uid: out.measurement.as_ref().map(|m| m.measurement_uid.clone()),
            });
        }
    }

    fn rejects<'a>(&self, origin: &Origin<'a>, text: &'a str, raw: &raw::Raw<'a>, out: &mut Extracted<'a>) {
        let uid = out.measurement.as_ref().map(|m| m.measurement_uid.clone());
        let mut push = |offset: usize, part: Text<'a>, reason, detail: Option<Text<'a>>| {
            out.rejects.push(Reject {
                source: Cow::Borrowed(origin.source),
                line: origin.line.number,
                byte_offset: origin.line.offset + offset as u64,
                part,
                reason,
                detail,
                measurement_uid: uid.clone(),
            });
        };
        if let Some(at) = origin.line.invalid_utf8 {
            let detail = "bytes that are no UTF-8 were replaced; offsets after them are approximate";
            push(at, Cow::Borrowed("line"), RejectReason::InvalidUtf8, Some(Cow::Borrowed(detail)));
        }
        for (offset, reason) in raw.issues.iter().take(MAX_REJECTS) {
            push(*offset, Cow::Owned(path_at(text, *offset)), *reason, None);
        }
        if raw.issues.len() > MAX_REJECTS {
            let (offset, _) = raw.issues[MAX_REJECTS];
            let detail =
                format!("{} more parts of this line could not be read", raw.issues.len() - MAX_REJECTS);
            push(offset, Cow::Borrowed("line"), RejectReason::TooMany, Some(Cow::Owned(detail)));
        }
        if let Some(broken) = raw.broken {
            let kept =
                if uid.is_some() { "what came before was kept" } else { "nothing of it could be kept" };
            push(broken.offset, Cow::Borrowed("line"), broken.reason, Some(Cow::Borrowed(kept)));
        } else if uid.is_none() {
            push(
                0,
                Cow::Borrowed("line"),
                RejectReason::NotAMeasurement,
                Some(Cow::Borrowed("neither test_name nor test_keys; give files of OONI measurements")),
            );
        }
    }
}
