//! The fidelity suite: each documented behaviour as a row with its source, tried on the shipped profiles.
//!
//! A row says what is done, what the record says should come of it, how surely and where that is written,
//! and carries the code that tries it. Where the record is silent the row says "unknown" and asserts
//! nothing: what the model does is shown, not judged. Rows take a shipped profile and, mostly, keep only the
//! rules of one technique and put [`stage::BLOCKED`] and its kin into its lists, so that a row tests
//! the mechanism's numbers and not the illustrative lists; rows about the lists themselves say so.

pub mod live;
mod matrix_rows;
mod rows;
mod stage;
mod trial;

#[cfg(test)]
mod tests;

use core::fmt;

pub use rows::ike_init;
pub use rows::rows;
pub use stage::{BLOCKED, HARMLESS, Seen, Sent, Stage, Tcp, Udp, end};
pub use trial::Trial;

/// What the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// the traffic gets through
    Passes,
    /// the traffic is stopped, reset, frozen or held down
    Fails,
    /// the statement holds
    Holds,
    /// the record does not say
    Unknown,
}

/// What a row observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// the traffic passed, or the statement held
    pub yes: bool,
    /// what was seen, for people
    pub detail: String,
}

impl Observed {
    /// An observation.
    pub fn new(yes: bool, detail: impl Into<String>) -> Self {
        Self { yes, detail: detail.into() }
    }
}

/// What a row came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// as the record says
    Passed,
    /// not as the record says, or it could not be tried
    Failed,
    /// the record does not say
    Unknown,
}

/// Tries a row.
pub type Run = Box<dyn Fn() -> Result<Observed, String> + Send + Sync>;

/// One documented behaviour.
pub struct Row {
    /// name, unique: mechanism of the specification, then what
    pub id: String,
    /// public source
    pub source: &'static str,
    /// kind of source: P paper, S paper as quoted, K machine-extracted corpus, R recalled, F field report, V
    /// vendor, O operator, N news, C a tool's code, M measured by the lab's makers
    pub tag: char,
    /// `high`, `medium`, `low` and between
    pub confidence: &'static str,
    /// profile it is tried on, as given to `--profile`
    pub profile: String,
    /// what is done
    pub what: String,
    /// what the record says should come of it
    pub expected: Expected,
    /// the trial; `None` where there is nothing to try
    pub run: Option<Run>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("id", &self.id).field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// A row and what it came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RowResult {
    /// the row's name
    pub id: String,
    /// public source
    pub source: String,
    /// kind of source
    pub tag: char,
    /// how surely
    pub confidence: String,
    /// profile it was tried on
    pub profile: String,
    /// what was done
    pub what: String,
    /// what the record says
    pub expected: Expected,
    /// what it came to
    pub outcome: Outcome,
    /// what was seen
    pub detail: String,
}

/// The whole suite's result.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// in the order of the rows
    pub rows: Vec<RowResult>,
    /// rows that came to what the record says
    pub passed: usize,
    /// rows that did not
    pub failed: usize,
    /// rows on which the record is silent
    pub unknown: usize,
}

/// Tries every row.
pub fn fidelity() -> Report {
    let results: Vec<RowResult> = rows().iter().map(Row::result).collect();
    let count = |outcome| results.iter().filter(|row| row.outcome == outcome).count();
    Report {
        passed: count(Outcome::Passed),
        failed: count(Outcome::Failed),
        unknown: count(Outcome::Unknown),
        rows: results,
    }
}

impl Row {
    /// Tries it.
    pub fn result(&self) -> RowResult {
        let tried = self.run.as_ref().map(|run| run());
        let (outcome, detail) = match (self.expected, tried) {
            (Expected::Unknown, Some(Ok(seen))) => {
                let did = if seen.yes { "passes" } else { "stopped" };
                (Outcome::Unknown, format!("the model: {did}; {}", seen.detail))
            }
            (Expected::Unknown, Some(Err(problem))) => (Outcome::Unknown, problem),
            (Expected::Unknown, None) => (Outcome::Unknown, "not modelled".to_owned()),
            (_, None) => (Outcome::Failed, "nothing to try".to_owned()),
            (_, Some(Err(problem))) => (Outcome::Failed, problem),
            (expected, Some(Ok(seen))) => {
                let wanted = expected != Expected::Fails;
                let outcome = if seen.yes == wanted { Outcome::Passed } else { Outcome::Failed };
                (outcome, seen.detail)
            }
        };
        RowResult {
            id: self.id.clone(),
            source: self.source.to_owned(),
            tag: self.tag,
            confidence: self.confidence.to_owned(),
            profile: self.profile.clone(),
            what: self.what.clone(),
            expected: self.expected,
            outcome,
            detail,
        }
    }
}

impl Report {
    /// The rows that failed, each with what was expected, what was seen and where the record is.
    pub fn failures(&self) -> String {
        let failed = self.rows.iter().filter(|row| row.outcome == Outcome::Failed);
        failed
            .map(|row| {
                format!(
                    "{} [{}] {}\n  expected {:?}, seen: {}\n  source: {} ({}, {})\n",
                    row.id,
                    row.profile,
                    row.what,
                    row.expected,
                    row.detail,
                    row.source,
                    row.tag,
                    row.confidence
                )
            })
            .collect()
    }

    /// The whole table as text, one line a row, totals last.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let mark = match row.outcome {
                Outcome::Passed => "passed ",
                Outcome::Failed => "FAILED ",
                Outcome::Unknown => "unknown",
            };
            out.push_str(&format!(
                "{mark}  {:<34}  {}  [{} {}]\n",
                row.id, row.what, row.tag, row.confidence
            ));
        }
        out.push_str(&format!(
            "{} rows: {} passed, {} failed, {} unknown\n",
            self.rows.len(),
            self.passed,
            self.failed,
            self.unknown
        ));
        out
    }
}
