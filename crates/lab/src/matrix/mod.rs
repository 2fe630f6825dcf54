//! Which evasion survives which mechanism, which protocol survives which year.
//!
//! Nothing here is looked up: each cell runs a packet sequence through the shipped profile's rule, over
//! routers, to a modelled server, and reports how it ended for the client. A third table asks the servers
//! alone. Where the public record states
//! what came of it, the cell says whether the model agrees; the record is in [`record`], apart from the
//! computation.

mod evasions;
mod protocols;
pub mod record;
mod servers;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use evasions::{Column, Flight, columns, outcome, short_connections};
pub use protocols::{PROFILES, PROTOCOLS, Played, play};

use crate::path::Ending;

/// Whether the model does what the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// it does
    Agree,
    /// it does not
    Disagree,
    /// the record is silent
    Unknown,
}

impl Agreement {
    fn of(survives: bool, recorded: Option<bool>) -> Self {
        match recorded {
            None => Self::Unknown,
            Some(recorded) if recorded == survives => Self::Agree,
            Some(_) => Self::Disagree,
        }
    }
}

/// One cell.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// evasion or protocol
    pub row: String,
    /// mechanism and year, or profile
    pub column: String,
    /// the client got what it wanted
    pub survives: bool,
    /// how it ended
    pub ending: Ending,
    /// what the record says: the traffic survives; absent where it is silent
    pub recorded: Option<bool>,
    /// the model against the record
    pub agreement: Agreement,
    /// where the record stands; empty where it is silent
    pub source: String,
}

/// A head of a row or a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// its name
    pub id: String,
    /// what it is
    pub title: String,
}

/// A table of cells. Cells that make no sense (an HTTP trick under a TLS rule) are absent.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// rows in order
    pub rows: Vec<Head>,
    /// columns in order
    pub columns: Vec<Head>,
    /// cells, row by row
    pub cells: Vec<Cell>,
}

/// The tables.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// evasions by mechanism and year
    pub evasions: Table,
    /// protocols by profile and day
    pub protocols: Table,
    /// evasions by server, no box between
    pub servers: Table,
}

/// Computes the tables. The same on every run.
pub fn matrix() -> Result<Matrix, String> {
    Ok(Matrix { evasions: evasions::table()?, protocols: protocols::table()?, servers: servers::table() })
}

impl Table {
    /// The cell of a row and a column.
    pub fn cell(&self, row: &str, column: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row == row && cell.column == column)
    }

    /// Cells that agree with the record, that do not, and those on which it is silent.
    pub fn tally(&self) -> (usize, usize, usize) {
        let count = |kind| self.cells.iter().filter(|cell| cell.agreement == kind).count();
        (count(Agreement::Agree), count(Agreement::Disagree), count(Agreement::Unknown))
    }

    /// As text: a legend of the columns, then a line a row. A mark behind a word says that the record
    /// agrees (`=`) or disagrees (`!`).
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (index, head) in self.columns.iter().enumerate() {
            out.push_str(&format!("{:>3}  {:<14} {}\n", index + 1, head.id, head.title));
        }
        let width = self.rows.iter().map(|head| head.id.len()).max().unwrap_or(0);
        out.push_str(&format!("\n{:<width$}", ""));
        for index in 0..self.columns.len() {
            out.push_str(&format!(" {:>8}", index + 1));
        }
        out.push('\n');
        for row in &self.rows {
            out.push_str(&format!("{:<width$}", row.id));
            for column in &self.columns {
                let word = self.cell(&row.id, &column.id).map_or_else(|| "-".to_owned(), Cell::word);
                out.push_str(&format!(" {word:>8}"));
            }
            out.push('\n');
        }
        let (agree, disagree, unknown) = self.tally();
        out.push_str(&format!(
            "\n{} cells: {agree} as recorded (=), {disagree} not (!), {unknown} on which the record is silent\n",
            self.cells.len()
        ));
        out
    }
}

impl Cell {
    /// A short word for the ending, with the record's mark.
    pub fn word(&self) -> String {
        let word = match self.ending {
            Ending::Through => "passes",
            Ending::Throttled => "slow",
            Ending::Forged => "forged",
            Ending::Reset => "reset",
            Ending::Frozen => "frozen",
            Ending::Unanswered => "silent",
            Ending::NeverArrived => "dropped",
        };
        let mark = match self.agreement {
            Agreement::Agree => "=",
            Agreement::Disagree => "!",
            Agreement::Unknown => " ",
        };
        format!("{word}{mark}")
    }
}
