//! Truth and outcomes as lines of JSON.
//!
//! A line names its columns as the table does, in its order, and leaves out what is empty, so that the same
//! run gives the same bytes. Times are RFC 3339 in UTC with microseconds.

use okno_model::{ColumnDoc, RowSink, Table};

/// Writes rows of one table as lines of JSON.
#[derive(Debug)]
pub struct JsonLines {
    columns: Vec<ColumnDoc>,
}

impl JsonLines {
    /// For rows of this table.
    pub fn of<'a, T: Table<'a>>() -> Self {
        Self { columns: T::doc().columns }
    }

    /// The row as one line with its line end.
    pub fn line<'a, T: Table<'a>>(&self, row: &T) -> String {
        let mut line = Line { columns: self.columns.iter(), text: String::from("{") };
        row.put(&mut line);
        line.text.push_str("}\n");
        line.text
    }
}

struct Line<'c> {
    columns: core::slice::Iter<'c, ColumnDoc>,
    text: String,
}

impl Line<'_> {
    fn put(&mut self, value: Option<String>) {
        let name = self.columns.next().map_or("", |column| column.name);
        if let Some(value) = value {
            let comma = if self.text.len() > 1 { "," } else { "" };
            self.text.push_str(&format!("{comma}\"{name}\":{value}"));
        }
    }
}

impl RowSink for Line<'_> {
    fn put_str(&mut self, value: Option<&str>) {
        self.put(value.filter(|text| !text.is_empty()).map(|text| serde_json::Value::from(text).to_string()));
    }

    fn put_u32(&mut self, value: Option<u32>) {
        self.put(value.map(|number| number.to_string()));
    }

    fn put_u64(&mut self, value: Option<u64>) {
        self.put(value.map(|number| number.to_string()));
    }

    fn put_i64(&mut self, value: Option<i64>) {
        self.put(value.map(|number| number.to_string()));
    }

    fn put_f64(&mut self, value: Option<f64>) {
        self.put(value.map(|number| serde_json::Value::from(number).to_string()));
    }

    fn put_bool(&mut self, value: Option<bool>) {
        self.put(value.map(|flag| flag.to_string()));
    }

    fn put_time(&mut self, value: Option<i64>) {
        let moment = value.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
        self.put(moment.map(|moment| format!("\"{moment:.6}\"")));
    }
}

#[cfg(test)]
mod tests {
    use okno_model::{Asn, Timestamp, Truth};

    use super::*;

    #[test]
    fn a_row_is_one_line_that_says_what_is_not_empty() {
        let row = Truth {
            scenario: "t".into(),
            sequence: 3,
            at_utc: Timestamp::from_micros(1_646_352_000_000_001),
            class: "act".into(),
            network: Asn(12389),
            detail: "a \"quote\"".into(),
            ..Truth::default()
        };
        let line = JsonLines::of::<Truth<'_>>().line(&row);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        assert_eq!(read["at_utc"], "2022-03-04T00:00:00.000001Z");
        assert_eq!(read["detail"], "a \"quote\"");
        assert_eq!(read["network"], 12389);
        assert!(read.get("until_utc").is_none() && read.get("rule").is_none());
    }
}
