//! What is wrong in a profile or a list, where, and what to do about it.

use core::fmt;

/// An error in a profile, a list or a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// file, or `--set` and the like
    pub file: String,
    /// line from 1; 0 when no line is to blame
    pub line: usize,
    /// what is wrong
    pub problem: String,
    /// what to do
    pub fix: String,
}

impl ProfileError {
    /// An error at a line.
    pub fn new(file: &str, line: usize, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}; {}", self.problem, self.fix)
    }
}

impl std::error::Error for ProfileError {}

/// The known word nearest to a misspelt one, when one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean …", or all that is known.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("use one of: {}", known.join(", ")),
    }
}

/// Levenshtein's distance over bytes; both words are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
