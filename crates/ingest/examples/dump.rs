//! Prints what ingest makes of a file, one row a line: for looking at odd measurements.
//!
//! `cargo run -p okno-ingest --example dump -- FILE`

use okno_ingest::source::{self, Batch, Next};
use okno_ingest::{Extractor, Origin, reference::Reference};
use okno_model::{RowSink, Table};

/// Prints the filled columns of a row.
struct Printer<'c> {
    columns: std::slice::Iter<'c, okno_model::ColumnDoc>,
    text: String,
}

impl Printer<'_> {
    fn add(&mut self, value: Option<String>) {
        let column = self.columns.next().expect("one value a column");
        if let Some(value) = value.filter(|v| v != "false" && !v.is_empty()) {
            self.text.push_str(&format!(" {}={value}", column.name));
        }
    }
}

impl RowSink for Printer<'_> {
    fn put_str(&mut self, value: Option<&str>) {
        self.add(value.map(str::to_owned));
    }
    fn put_u32(&mut self, value: Option<u32>) {
        self.add(value.map(|v| v.to_string()));
    }
    fn put_u64(&mut self, value: Option<u64>) {
        self.add(value.map(|v| v.to_string()));
    }
    fn put_i64(&mut self, value: Option<i64>) {
        self.add(value.map(|v| v.to_string()));
    }
    fn put_f64(&mut self, value: Option<f64>) {
        self.add(value.map(|v| v.to_string()));
    }
    fn put_bool(&mut self, value: Option<bool>) {
        self.add(value.map(|v| v.to_string()));
    }
    fn put_time(&mut self, value: Option<i64>) {
        self.add(value.map(|v| okno_model::Timestamp::from_micros(v).to_string()));
    }
}

fn print<'a, T: Table<'a>>(mark: &str, row: &T) {
    let doc = T::doc();
    let mut printer = Printer { columns: doc.columns.iter(), text: String::new() };
    row.put(&mut printer);
    println!("{mark}{}", printer.text);
}

fn main() -> std::io::Result<()> {
    let reference = Reference::empty();
    let mut extractor = Extractor::new(&reference);
    for path in std::env::args().skip(1) {
        let mut lines = source::open(path.as_ref())?;
        loop {
            let raw = match lines.next_batch() {
                Next::Bytes(raw) => raw,
                Next::Reject(reject) => {
                    println!("STREAM {reject:?}");
                    continue;
                }
                Next::End => break,
            };
            let batch = Batch::prepare(raw);
            for line in &batch.lines {
                let text = &batch.text[line.start..line.end];
                let out = extractor.line(Origin { source: &path, line: *line }, text);
                out.measurement.iter().for_each(|row| print("M", row));
                out.observations.iter().for_each(|row| print("  O", row));
                out.controls.iter().for_each(|row| print("  C", row));
                out.rejects.iter().for_each(|row| print("  R", row));
            }
        }
    }
    Ok(())
}
