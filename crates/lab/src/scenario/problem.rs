//! What is wrong with a scenario, where, and how to put it right.
//!
//! Reading goes on after a mistake, so that one run names them all; the list is capped, because a hostile
//! file could otherwise make a gigabyte of complaints.

use core::fmt;

/// Complaints kept about one scenario.
pub const MAX_PROBLEMS: usize = 40;

/// A place in one of a scenario's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// position in [`super::Scenario::files`]
    pub file: u16,
    /// line, from 1; 0 when the whole file is meant
    pub line: u32,
    /// column in characters, from 1
    pub column: u32,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// file as it was named
    pub file: String,
    /// line, from 1; 0 when the whole file is meant
    pub line: u32,
    /// column in characters, from 1
    pub column: u32,
    /// what is wrong
    pub what: String,
    /// what to do about it; empty when the first part says it
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what)?,
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.what)?,
        }
        match self.fix.as_str() {
            "" => Ok(()),
            fix => write!(f, "\n  fix: {fix}"),
        }
    }
}

/// Why a scenario was not accepted: all its mistakes, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioError {
    /// at least one; at most [`MAX_PROBLEMS`]
    pub problems: Vec<Problem>,
    /// mistakes beyond those
    pub left_out: usize,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl core::error::Error for ScenarioError {}

/// The candidate nearest to a mistyped word, when one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).collect();
    let allowed = (word.len() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = distance(&word, candidate, allowed + 1);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words; `limit` when there are more.
fn distance(word: &[char], candidate: &str, limit: usize) -> usize {
    let other: Vec<char> = candidate.chars().take(64).collect();
    if word.len().abs_diff(other.len()) >= limit {
        return limit;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, &a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in other.iter().enumerate() {
            let same = a.eq_ignore_ascii_case(&b);
            let mut least = (last[j] + usize::from(!same)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == other[j - 1] && word[i - 1] == b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = core::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_word_that_was_meant() {
        let words = ["profile", "networks", "regions", "until"];
        assert_eq!(nearest("profle", words), Some("profile"));
        assert_eq!(nearest("netwroks", words), Some("networks"));
        assert_eq!(nearest("region", words), Some("regions"));
        assert_eq!(nearest("something-else", words), None);
    }

    #[test]
    fn a_problem_names_file_line_what_and_fix() {
        let problem = Problem {
            file: "scenario.toml".into(),
            line: 7,
            column: 3,
            what: "unknown key `profle`".into(),
            fix: "write `profile`".into(),
        };
        assert_eq!(problem.to_string(), "scenario.toml:7:3: unknown key `profle`\n  fix: write `profile`");
    }
}
