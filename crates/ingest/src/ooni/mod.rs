//! OONI's measurements: one line of JSON to rows.
//!
//! ```text
//!   line ──parse──► Raw ──chain──► Observation*     (one row a chain)
//!                    │  └─control─► Control*
//!                    ├──nettests──► Observation*     (application statements)
//!                    ├──arms──────► Observation*     (things that a comparing test tried)
//!                    └──issues────► Reject*          (everything that could not be read)
//!   and every text passes scrub before it leaves
//! ```

mod arms;
mod body;
mod cert;
mod chain;
mod control;
mod fields;
mod identity;
mod late;
mod nettests;
mod operations;
mod parse;
mod raw;
mod rows;
mod scrub;
mod traffic;

use std::borrow::Cow;

use okno_model::{Control, Measurement, Observation, Reject, RejectReason, Table, Text};

use crate::json::{Broken, RawValue, Reader, path_at};
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

/// Every `probe_ip` that a broken line writes, found as text.
fn behind(text: &str) -> Vec<&str> {
    let values = text.match_indices("\"probe_ip\"").filter_map(|(at, key)| {
        let value = text[at + key.len()..].trim_start_matches([' ', ':', '\t']);
        // A value that is cut is not the address.
        value.strip_prefix('"')?.split_once('"').map(|(address, _)| address)
    });
    values.collect()
}

/// Most rejects that one line may give; the rest is counted in one more.
const MAX_REJECTS: usize = 64;
/// Bytes of text that may be walked to name the parts of one line's rejects; then they are called `line`.
const MAX_WALK: usize = 64 << 20;
/// Longest text of any column, in bytes; what is longer is cut and noted.
const MAX_TEXT: usize = 8 << 10;

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

    /// The lines that a JSON array of measurements stands for, one an element, in the array's own text;
    /// `None` when the line is no array of objects. Elements are numbered on from the line's own number.
    pub fn elements(text: &str, line: Line) -> Option<Vec<Line>> {
        let inner = &text[line.start..line.end];
        let mark = inner.len() - inner.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len();
        let first = inner[mark..].strip_prefix('[')?.trim_ascii_start();
        if !first.starts_with('{') {
            return None;
        }
        let mut reader = Reader::part(RawValue { text: &inner[mark..], offset: mark });
        let mut found = Vec::new();
        let mut run = || -> Result<(), Broken> {
            if reader.enter_array()? {
                while reader.next_element()? {
                    let RawValue { text, offset } = reader.take_raw()?;
                    found.push((offset, text.len()));
                }
            }
            Ok(())
        };
        if run().is_err() || !reader.at_end() {
            // What comes after the last whole element, or after the array, is one line more: it keeps what
            // it can and says where it breaks.
            let from = found.last().map_or(mark + 1, |(offset, length)| offset + length);
            let rest = inner[from..].trim_start_matches([',', ']', ' ', '\t', '\r', '\n']).len();
            found.push((inner.len() - rest, rest));
        }
        let lines = found.into_iter().zip(0u64..).map(|((offset, length), index)| Line {
            start: line.start + offset,
            end: line.start + offset + length,
            number: line.number + index,
            offset: line.offset + offset as u64,
            invalid_utf8: line.invalid_utf8.and_then(|at| at.checked_sub(offset)).filter(|at| *at < length),
        });
        Some(lines.collect())
    }

    /// Extracts one line. Never fails and never panics, whatever the line.
    pub fn line<'a>(&mut self, origin: Origin<'a>, text: &'a str) -> Extracted<'a> {
        let fingerprints = &self.reference.fingerprints;
        let raw = Parser { fingerprints, scratch: &mut self.scratch }.read(text);
        let mut out = Extracted::default();
        if let Some((measurement, absent)) = identity::of(&raw, &origin) {
            self.rows(&raw, measurement, &mut out);
            self.absent(&origin, absent, &mut out);
        }
        self.rejects(&origin, text, &raw, &mut out);
        self.scrub(text, &raw, &mut out);
        cut(&origin, &mut out);
        let rejects = u32::try_from(out.rejects.len()).unwrap_or(u32::MAX);
        if let Some(measurement) = &mut out.measurement {
            measurement.rejects = rejects;
            measurement.observations = u32::try_from(out.observations.len()).unwrap_or(u32::MAX);
        }
        out
    }

    /// Takes the probe's address out of every text.
    fn scrub<'a>(&self, text: &str, raw: &raw::Raw<'a>, out: &mut Extracted<'a>) {
        let mut written: Vec<&str> = raw.probe_ips.iter().map(AsRef::as_ref).collect();
        if raw.broken.is_some() {
            // The line breaks before its end: the address may stand behind the break, or be lost with it.
            let behind = behind(text);
            if written.is_empty() && behind.is_empty() && out.measurement.is_some() {
                // Which address is the probe's is not known: nothing that could name it is kept.
                out.observations.clear();
                out.controls.clear();
                if let Some(measurement) = &mut out.measurement {
                    measurement.resolver_prefix = None;
                }
                // The break's own reject was written last; it must not claim more than is true.
                if let Some(reject) = out.rejects.last_mut() {
                    let kept = "only the measurement's row was kept: it breaks before the probe's address";
                    reject.detail = Some(Cow::Borrowed(kept));
                }
                return;
            }
            written.extend(behind);
        }
        let scrubber = scrub::Scrubber::new(written);
        if scrubber.is_idle() {
            return;
        }
        each_text(out, &mut |text| *text = scrubber.text(std::mem::take(text)));
        // An address that is written after the bodies came too late to keep their hashes from telling it.
        if self.scratch.bodies_before_probe_ip || raw.broken.is_some() || raw.probe_ips.len() > 1 {
            out.observations.iter_mut().for_each(|row| row.http_body_hash = None);
        }
    }

    fn rows<'a>(&self, raw: &raw::Raw<'a>, measurement: Measurement<'a>, out: &mut Extracted<'a>) {
        out.observations = rows::observations(raw, &measurement, self.reference);
        out.controls = rows::controls(raw, &measurement, self.reference);
        out.measurement = Some(measurement);
    }

    fn absent<'a>(
        &self,
        origin: &Origin<'a>,
        absent: Vec<(&'static str, RejectReason)>,
        out: &mut Extracted<'a>,
    ) {
        for (part, reason) in absent {
            out.rejects.push(Reject {
                source: Cow::Borrowed(origin.source),
                line: origin.line.number,
                byte_offset: origin.line.offset,
                part: Cow::Borrowed(part),
                reason,
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
        let mut walked = 0;
        for (offset, reason) in raw.issues.iter().take(MAX_REJECTS) {
            walked += offset;
            let part =
                if walked > MAX_WALK { Cow::Borrowed("line") } else { Cow::Owned(part_at(text, *offset)) };
            push(*offset, part, *reason, None);
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

/// The path of the part at `offset`, past a byte order mark.
fn part_at(text: &str, offset: usize) -> String {
    let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
    path_at(plain, offset.saturating_sub(text.len() - plain.len()))
}

fn each_text<'a>(out: &mut Extracted<'a>, change: &mut dyn FnMut(&mut Text<'a>)) {
    out.measurement.iter_mut().for_each(|row| row.each_text(change));
    out.observations.iter_mut().for_each(|row| row.each_text(change));
    out.controls.iter_mut().for_each(|row| row.each_text(change));
    out.rejects.iter_mut().for_each(|row| row.each_text(change));
}

/// Cuts what no column should hold: a single text may be as long as a line.
fn cut<'a>(origin: &Origin<'a>, out: &mut Extracted<'a>) {
    let mut long = 0;
    each_text(out, &mut |text| {
        if text.len() > MAX_TEXT {
            long += 1;
            let end = text.floor_char_boundary(MAX_TEXT);
            *text = match std::mem::take(text) {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(text) => Cow::Owned(text[..end].to_owned()),
            };
        }
    });
    if long > 0 {
        out.rejects.push(Reject {
            source: Cow::Borrowed(origin.source),
            line: origin.line.number,
            byte_offset: origin.line.offset,
            part: Cow::Borrowed("line"),
            reason: RejectReason::TooLong,
            detail: Some(Cow::Owned(format!("{long} texts in its rows were cut to {MAX_TEXT} bytes"))),
            measurement_uid: out.measurement.as_ref().map(|m| m.measurement_uid.clone()),
        });
    }
}
