//! Outside formats to rows and counted rejects: bytes in, facts out, no network and no conclusions.
//!
//! ```text
//!   file ──source──► lines ──ooni──► Measurement, Observation*, Control*, Reject*
//!                              ▲
//!                          reference (who announces an address, which page is a blockpage)
//! ```
//!
//! ```
//! use okno_ingest::{Extractor, Line, Origin, reference::Reference};
//! let text = r#"{"test_name":"telegram","probe_cc":"RU","probe_asn":"AS12389",
//!   "measurement_start_time":"2026-03-20 10:00:00","test_keys":{"telegram_web_status":"blocked"}}"#;
//! let reference = Reference::empty();
//! let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
//! let rows = Extractor::new(&reference).line(Origin { source: "example", line }, text);
//! assert_eq!(rows.measurement.unwrap().target, "telegram");
//! assert_eq!(rows.observations[0].app_success, Some(false));
//! ```

pub mod host;
pub mod json;
mod ooni;
pub mod reference;
pub mod source;
mod tarball;

pub use ooni::{Extracted, Extractor, Origin};
pub use source::Line;

/// Reads any bytes as lines of measurements; for fuzzing and for replaying its corpora. Gives the number of
/// lines that became a measurement and of those that did not.
pub fn fuzz_line(bytes: &[u8]) -> (usize, usize) {
    let reference = reference::Reference::empty();
    let mut extractor = Extractor::new(&reference);
    let mut lines = source::Lines::new(bytes, source::Shape::Lines, None);
    let (mut kept, mut lost) = (0, 0);
    loop {
        match lines.next_batch() {
            source::Next::Bytes(raw) => {
                let batch = source::Batch::prepare(raw);
                for line in &batch.lines {
                    let origin = Origin { source: "fuzz", line: *line };
                    let out = extractor.line(origin, &batch.text[line.start..line.end]);
                    assert!(
                        out.measurement.is_some() || !out.rejects.is_empty(),
                        "a line was dropped in silence"
                    );
                    if out.measurement.is_some() { kept += 1 } else { lost += 1 }
                }
            }
            source::Next::Reject(_) => lost += 1,
            source::Next::End => return (kept, lost),
        }
    }
}
