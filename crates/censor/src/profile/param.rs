//! A parameter: a value with its provenance, its alternatives, or the word that it is unknown.

use core::fmt;

use super::ProfileError;

/// Where a figure comes from. The letters stand beside each figure in `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// peer-reviewed result, or the authors' own account of it
    Paper,
    /// a paper's figure as quoted by somebody else
    Secondary,
    /// a paper's figure from a machine-extracted corpus of findings
    Corpus,
    /// recalled of a paper, to be checked against it
    Recalled,
    /// field report: forum, issue thread, operator's log, practitioners' capture
    Field,
    /// constant or behaviour in a measurement tool's source
    Code,
    /// vendor or training material: design, not measurement
    Vendor,
    /// a large operator about its own traffic
    Operator,
    /// news, non-governmental organisation, press tally
    News,
    /// the lab's own choice where the record is silent; no fact
    Lab,
}

impl Tag {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Paper,
        Self::Secondary,
        Self::Corpus,
        Self::Recalled,
        Self::Field,
        Self::Code,
        Self::Vendor,
        Self::Operator,
        Self::News,
        Self::Lab,
    ];

    /// The letter in profiles and tables.
    pub const fn letter(self) -> char {
        match self {
            Self::Paper => 'P',
            Self::Secondary => 'S',
            Self::Corpus => 'K',
            Self::Recalled => 'R',
            Self::Field => 'F',
            Self::Code => 'C',
            Self::Vendor => 'V',
            Self::Operator => 'O',
            Self::News => 'N',
            Self::Lab => 'L',
        }
    }

    /// What the letter stands for.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Paper => "peer-reviewed paper or its authors",
            Self::Secondary => "a paper as quoted by others",
            Self::Corpus => "machine-extracted corpus of papers",
            Self::Recalled => "recalled of a paper, to be checked",
            Self::Field => "field report",
            Self::Code => "source of a measurement tool",
            Self::Vendor => "vendor or training material",
            Self::Operator => "operator about its own traffic",
            Self::News => "news or NGO",
            Self::Lab => "the lab's choice, no fact",
        }
    }

    /// Reads a letter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tag| text.chars().eq([tag.letter()]))
    }
}

/// How well a figure is borne out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// a single field report, or reports that conflict
    #[default]
    Low,
    /// between a single report and one paper
    LowMedium,
    /// one paper, or several independent field reports with the same number
    Medium,
    /// between one paper and a corroborated one
    MediumHigh,
    /// at least one paper and independent corroboration
    High,
}

impl Confidence {
    /// All of them, rising.
    pub const ALL: &'static [Self] =
        &[Self::Low, Self::LowMedium, Self::Medium, Self::MediumHigh, Self::High];

    /// The word in profiles and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::LowMedium => "low-medium",
            Self::Medium => "medium",
            Self::MediumHigh => "medium-high",
            Self::High => "high",
        }
    }

    /// Reads a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|confidence| confidence.as_str() == text)
    }
}

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// kind of source
    pub tag: Tag,
    /// how surely
    pub confidence: Confidence,
    /// keys of the profile's sources
    pub sources: Vec<String>,
    /// anything to add
    pub note: String,
}

impl Provenance {
    /// The lab's own choice.
    pub const fn lab() -> Self {
        Self { tag: Tag::Lab, confidence: Confidence::Low, sources: Vec::new(), note: String::new() }
    }
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// yes or no
    Flag(bool),
    /// a number in the parameter's unit
    Number(f64),
    /// drawn uniformly, once for each flow, from here to there, both included
    Range(f64, f64),
    /// words
    Text(String),
    /// several numbers
    Numbers(Vec<f64>),
    /// several words
    Texts(Vec<String>),
}

impl Value {
    /// Reads what stands behind `--set RULE.PARAM=`.
    pub fn from_words(words: &str) -> Self {
        let words = words.trim();
        match words {
            "true" | "on" | "yes" => return Self::Flag(true),
            "false" | "off" | "no" => return Self::Flag(false),
            _ => {}
        }
        if let Ok(number) = words.parse::<f64>() {
            return Self::Number(number);
        }
        if let Some((low, high)) = words.split_once("..")
            && let (Ok(low), Ok(high)) = (low.trim().parse(), high.trim().parse())
        {
            return Self::Range(low, high);
        }
        Self::Text(words.to_owned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Range(low, high) => write!(f, "{low}–{high}"),
            Self::Text(text) => f.write_str(text),
            Self::Numbers(numbers) => {
                let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
                f.write_str(&words.join(", "))
            }
            Self::Texts(texts) => f.write_str(&texts.join(", ")),
        }
    }
}

/// Another value that another source gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// how it is chosen: `--set rule.param=NAME`
    pub name: String,
    /// its value
    pub value: Value,
    /// its source
    pub provenance: Provenance,
}

/// A parameter of a rule, or a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// what is used
    pub value: Value,
    /// unit of its numbers; empty for none
    pub unit: String,
    /// name under which the value can be chosen again, where there are alternatives
    pub name: String,
    /// where it comes from
    pub provenance: Provenance,
    /// the record does not say: the value is what the lab assumes, and nothing rests on it
    pub unknown: bool,
    /// what other sources say
    pub alternatives: Vec<Alternative>,
    /// line it stands on, from 1
    pub line: usize,
}

impl Param {
    /// Chooses an alternative by name, or a value in words, which is then the user's and no fact.
    pub fn choose(&mut self, place: &str, words: &str) -> Result<(), ProfileError> {
        if words == self.name && !words.is_empty() {
            return Ok(());
        }
        if let Some(at) = self.alternatives.iter().position(|alternative| alternative.name == words) {
            let alternative = &mut self.alternatives[at];
            core::mem::swap(&mut self.value, &mut alternative.value);
            core::mem::swap(&mut self.provenance, &mut alternative.provenance);
            core::mem::swap(&mut self.name, &mut alternative.name);
            return Ok(());
        }
        let value = Value::from_words(words);
        let offered = || {
            let values = self.alternatives.iter().map(|alternative| &alternative.value).chain([&self.value]);
            self.alternatives.is_empty() || values.into_iter().any(|value| value.to_string() == words)
        };
        let fits = match (&self.value, &value) {
            (Value::Text(_), _) if !offered() => false,
            (Value::Flag(_), Value::Flag(_)) | (Value::Text(_), _) | (Value::Texts(_), _) => true,
            (Value::Flag(_), _) => false,
            (_, Value::Number(_) | Value::Range(..)) => true,
            _ => false,
        };
        if !fits {
            let mut names: Vec<&str> = self.alternatives.iter().map(|a| a.name.as_str()).collect();
            names.push(&self.name);
            names.retain(|name| !name.is_empty());
            let fix = if names.is_empty() {
                format!("give a value like `{}`", self.value)
            } else {
                format!("choose one of {}, or give a value like `{}`", names.join(", "), self.value)
            };
            return Err(ProfileError::new(place, 0, format!("`{words}` does not fit here"), fix));
        }
        self.value = match (&self.value, value) {
            (Value::Text(_), value) => Value::Text(value.to_string()),
            (Value::Texts(_), _) => {
                Value::Texts(words.split(',').map(|word| word.trim().to_owned()).collect())
            }
            (Value::Numbers(_), Value::Number(number)) => Value::Numbers(vec![number]),
            (_, value) => value,
        };
        self.provenance = Provenance { note: format!("set by {place}"), ..Provenance::lab() };
        Ok(())
    }
}
