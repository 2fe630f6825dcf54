//! Answers as text: an aligned table for people, CSV and JSON for programs.
//!
//! Cells come from web pages and from whoever submits measurements, so the table shows control
//! characters as `·`: nothing in a title can move a terminal's cursor.

use std::io::{self, Write};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header; null is nothing, empty text is `""`
    Csv,
    /// an array of objects
    Json,
    /// aligned columns for people
    #[default]
    Table,
}

/// Characters of a cell that a table shows.
const CELL_CHARS: usize = 80;
/// Rows that a table shows.
const TABLE_ROWS: usize = 1000;

/// The rows that a query gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// names of the columns
    pub columns: Vec<String>,
    /// rows, in batches
    pub batches: Vec<RecordBatch>,
    schema: SchemaRef,
}

impl Answer {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|f| f.name().clone()).collect();
        Self { columns, batches: Vec::new(), schema: SchemaRef::clone(schema) }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Writes the answer.
    pub fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        if format == Format::Table {
            return self.write_table(out);
        }
        let mut writer = StreamWriter::begin(format, &self.schema, out)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.end().map(drop)
    }

    /// The answer in a format.
    pub fn text(&self, format: Format) -> String {
        let mut out = Vec::new();
        self.write(format, &mut out).expect("memory takes all writes");
        String::from_utf8(out).expect("all cells are text")
    }

    fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let options = options(TABLE_TIME);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for batch in &self.batches {
            let cells = formatters(batch, &options)?;
            for row in 0..batch.num_rows().min(TABLE_ROWS - rows.len()) {
                rows.push(cells.iter().map(|cell| visible(&cell.value(row).to_string())).collect());
            }
        }
        let headers: Vec<String> = self.columns.iter().map(|name| visible(name)).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| &row[column]).chain([&headers[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headers.len()).map(width).collect();
        let right: Vec<bool> = self.schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
        write_line(out, &headers, &widths, &right)?;
        let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        write_line(out, &rules, &widths, &right)?;
        for row in &rows {
            write_line(out, row, &widths, &right)?;
        }
        match self.rows() {
            1 => writeln!(out, "1 row"),
            n if n > rows.len() => {
                writeln!(out, "{n} rows, the first {} shown; --format csv or json gives all", rows.len())
            }
            n => writeln!(out, "{n} rows"),
        }
    }
}

fn write_line(out: &mut dyn Write, cells: &[String], widths: &[usize], right: &[bool]) -> io::Result<()> {
    let mut line = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        let fill = " ".repeat(width - cell.chars().count());
        let parts = if *right { [&*fill, cell] } else { [cell, &*fill] };
        parts.iter().for_each(|part| line.push_str(part));
    }
    writeln!(out, "{}", line.trim_end())
}

/// A cell as a table may show it: on one line, of bearable length, without control characters.
fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = text.chars().take(CELL_CHARS).map(|c| if hidden(c) { '·' } else { c }).collect();
    if text.chars().nth(CELL_CHARS).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

const TABLE_TIME: &str = "%Y-%m-%d %H:%M:%S%.f";
const FILE_TIME: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

fn options(time: &'static str) -> FormatOptions<'static> {
    FormatOptions::new()
        .with_null("")
        .with_timestamp_format(Some(time))
        .with_timestamp_tz_format(Some(time))
        .with_display_error(false)
}

fn formatters<'a>(
    batch: &'a RecordBatch,
    options: &FormatOptions<'a>,
) -> io::Result<Vec<ArrayFormatter<'a>>> {
    let formatter = |column: &'a arrow::array::ArrayRef| ArrayFormatter::try_new(column, options);
    batch.columns().iter().map(formatter).collect::<Result<_, _>>().map_err(io::Error::other)
}

/// Writes CSV or JSON as batches come.
pub(crate) struct StreamWriter<'w> {
    out: &'w mut dyn Write,
    format: Format,
    names: Vec<String>,
    rows: u64,
}

impl<'w> StreamWriter<'w> {
    pub(crate) fn begin(format: Format, schema: &Schema, out: &'w mut dyn Write) -> io::Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        if format == Format::Csv {
            let header: Vec<String> = names.iter().map(|name| csv_cell(name)).collect();
            out.write_all(header.join(",").as_bytes())?;
            out.write_all(b"\r\n")?;
        } else {
            out.write_all(b"[")?;
        }
        Ok(Self { out, format, names, rows: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let options = options(FILE_TIME);
        let cells = formatters(batch, &options)?;
        let mut line = String::new();
        for row in 0..batch.num_rows() {
            line.clear();
            match self.format {
                Format::Csv => csv_line(batch, &cells, row, &mut line),
                _ => {
                    line.push_str(if self.rows == 0 { "\n" } else { ",\n" });
                    self.json_line(batch, &cells, row, &mut line);
                }
            }
            self.out.write_all(line.as_bytes())?;
            self.rows += 1;
        }
        Ok(())
    }

    fn json_line(&self, batch: &RecordBatch, cells: &[ArrayFormatter<'_>], row: usize, line: &mut String) {
        line.push('{');
        for (index, (column, cell)) in batch.columns().iter().zip(cells).enumerate() {
            if index > 0 {
                line.push(',');
            }
            line.push_str(&json_text(&self.names[index]));
            line.push(':');
            if column.is_null(row) || matches!(column.data_type(), DataType::Null) {
                line.push_str("null");
                continue;
            }
            let text = cell.value(row).to_string();
            let bare = matches!(column.data_type(), DataType::Boolean) || column.data_type().is_numeric();
            match bare && !matches!(text.as_str(), "NaN" | "inf" | "-inf") {
                true => line.push_str(&text),
                // JSON has no such numbers.
                false if bare => line.push_str("null"),
                false => line.push_str(&json_text(&text)),
            }
        }
        line.push('}');
    }

    /// Ends the text; returns the number of rows.
    pub(crate) fn end(self) -> io::Result<u64> {
        if self.format == Format::Json {
            self.out.write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()?;
        Ok(self.rows)
    }
}

fn csv_line(batch: &RecordBatch, cells: &[ArrayFormatter<'_>], row: usize, line: &mut String) {
    for (index, (column, cell)) in batch.columns().iter().zip(cells).enumerate() {
        if index > 0 {
            line.push(',');
        }
        if column.is_valid(row) {
            line.push_str(&csv_cell(&cell.value(row).to_string()));
        }
    }
    line.push_str("\r\n");
}

fn csv_cell(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}
