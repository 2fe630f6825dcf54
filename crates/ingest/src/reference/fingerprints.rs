//! Blockpage fingerprints, compiled for matching: bodies, headers, DNS answers.
//!
//! Comparison is on bytes and exact: `contains` is a substring, `full` the whole (nothing trimmed),
//! `prefix` the beginning, `regexp` a match anywhere with `.` matching line ends too (df trap 26).
//! Scope `fp`, evidence that a page is no blockpage, is matched like every other and told by its scope.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;
use okno_model::{Country, FingerprintInfo};
use regex::bytes::{Regex, RegexBuilder};

use super::literals::{Literals, is_ordinary};
use super::required_literal::{escape_braces, required_text, sequence};
use super::tables::{FingerprintRow, PatternType, scope};

/// Bytes that a compiled expression may take.
const REGEX_BYTES: usize = 1 << 20;

/// Compiles an expression of a table; `None` when it is none, or too large.
pub(super) fn compile(pattern: &str) -> Option<Regex> {
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.dot_matches_new_line(true).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES);
        builder.build().ok()
    };
    build(pattern).or_else(|| build(&escape_braces(pattern)))
}

/// A regular expression that is compiled when first needed.
#[derive(Debug)]
struct Expression {
    pattern: String,
    /// the texts, when it is nothing but texts with `.*` between them
    sequence: Vec<memmem::Finder<'static>>,
    index: u32,
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    fn new(row: &FingerprintRow, index: u32) -> Self {
        let texts = sequence(&row.pattern).unwrap_or_default();
        let sequence = texts.iter().map(|text| memmem::Finder::new(text).into_owned()).collect();
        Self { pattern: row.pattern.clone(), sequence, index, compiled: OnceLock::new() }
    }

    fn is_match(&self, text: &[u8]) -> bool {
        if let Some(answer) = self.is_sequence_in(text) {
            return answer;
        }
        self.compiled.get_or_init(|| compile(&self.pattern)).as_ref().is_some_and(|r| r.is_match(text))
    }

    /// Looks for the texts one after the other; `None` when only the expression itself can tell: it is
    /// more than texts, or there are bytes between them that `.` does not match.
    fn is_sequence_in(&self, text: &[u8]) -> Option<bool> {
        let mut span: Option<(usize, usize)> = None;
        for finder in &self.sequence {
            let (first, from) = span.unwrap_or((usize::MAX, 0));
            let Some(found) = finder.find(&text[from..]) else { return Some(false) };
            let start = from + found;
            span = Some((first.min(start), start + finder.needle().len()));
        }
        let (start, end) = span?;
        std::str::from_utf8(&text[start..end]).is_ok().then_some(true)
    }
}

/// The text of an expression to search bodies for: the longest that is not ordinary.
fn telling_text(pattern: &str) -> Option<String> {
    let texts = sequence(pattern).or_else(|| required_text(pattern).map(|text| vec![text]))?;
    texts.into_iter().max_by_key(|text| (!is_ordinary(text), text.len()))
}

/// What a text found in a body leads to.
#[derive(Clone, Copy, Debug)]
enum Consequence {
    /// this fingerprint matched
    Hit(u32),
    /// this expression must be tried
    Try(u32),
}

/// Fingerprints of bodies.
#[derive(Debug, Default)]
struct Bodies {
    literals: Literals,
    /// behind each text of `literals`
    consequences: Vec<Vec<Consequence>>,
    expressions: Vec<Expression>,
    /// expressions without a required text
    always: Vec<u32>,
    full: BTreeMap<Vec<u8>, Vec<u32>>,
    prefix: Vec<(Vec<u8>, u32)>,
}

impl Bodies {
    fn build(rows: &[(u32, &FingerprintRow)]) -> Self {
        let mut bodies = Self::default();
        let mut texts: BTreeMap<Vec<u8>, Vec<Consequence>> = BTreeMap::new();
        for &(index, row) in rows {
            let pattern = row.pattern.clone().into_bytes();
            match row.pattern_type {
                PatternType::Full => bodies.full.entry(pattern).or_default().push(index),
                PatternType::Prefix => bodies.prefix.push((pattern, index)),
                PatternType::Contains => texts.entry(pattern).or_default().push(Consequence::Hit(index)),
                PatternType::Regexp => {
                    let number = u32::try_from(bodies.expressions.len()).unwrap_or(u32::MAX);
                    bodies.expressions.push(Expression::new(row, index));
                    match telling_text(&row.pattern) {
                        Some(text) => {
                            texts.entry(text.into_bytes()).or_default().push(Consequence::Try(number));
                        }
                        None => bodies.always.push(number),
                    }
                }
            }
        }
        let (texts, consequences) = texts.into_iter().unzip();
        bodies.literals = Literals::build(texts);
        bodies.consequences = consequences;
        bodies
    }

    fn find(&self, body: &[u8], hits: &mut Vec<u32>) {
        for text in self.literals.find(body).texts() {
            for consequence in &self.consequences[text as usize] {
                match *consequence {
                    Consequence::Hit(index) => hits.push(index),
                    Consequence::Try(number) => self.try_expression(number, body, hits),
                }
            }
        }
        for &number in &self.always {
            self.try_expression(number, body, hits);
        }
        hits.extend(self.full.get(body).into_iter().flatten());
        hits.extend(self.prefix.iter().filter(|(text, _)| body.starts_with(text)).map(|(_, index)| index));
    }

    fn try_expression(&self, number: u32, body: &[u8], hits: &mut Vec<u32>) {
        let expression = &self.expressions[number as usize];
        if expression.is_match(body) {
            hits.push(expression.index);
        }
    }
}

/// Fingerprints of one short field: a header, or a DNS answer.
#[derive(Debug, Default)]
struct Field {
    /// finds every text of `patterns`, overlapping ones too
    automaton: Option<AhoCorasick>,
    patterns: Vec<(PatternType, usize, u32)>,
    expressions: Vec<Expression>,
}

impl Field {
    fn build(rows: &[(u32, &FingerprintRow)]) -> Self {
        let mut field = Self::default();
        let mut texts = Vec::new();
        for &(index, row) in rows {
            if row.pattern_type == PatternType::Regexp {
                field.expressions.push(Expression::new(row, index));
            } else {
                field.patterns.push((row.pattern_type, row.pattern.len(), index));
                texts.push(row.pattern.as_bytes());
            }
        }
        // The automaton of some hundred short texts is always small enough to be built.
        field.automaton = AhoCorasick::new(texts).ok();
        field
    }

    fn find(&self, value: &[u8], hits: &mut Vec<u32>) {
        for found in self.automaton.iter().flat_map(|a| a.find_overlapping_iter(value)) {
            let (pattern_type, length, index) = self.patterns[found.pattern().as_usize()];
            let is_match = match pattern_type {
                PatternType::Full => length == value.len(),
                PatternType::Prefix => found.start() == 0,
                PatternType::Contains | PatternType::Regexp => true,
            };
            if is_match {
                hits.push(index);
            }
        }
        hits.extend(self.expressions.iter().filter(|e| e.is_match(value)).map(|e| e.index));
    }
}

/// Fingerprints of blockpages and of their look-alikes, in DNS answers, headers and bodies.
#[derive(Debug, Default)]
pub struct Fingerprints {
    /// HTTP first, then DNS
    infos: Vec<FingerprintInfo>,
    http_count: usize,
    bodies: Bodies,
    /// by name in lower case
    headers: Vec<(String, Field)>,
    any_header: Option<Field>,
    dns: Field,
    /// answers that stand for one fingerprint as a whole
    dns_answers: Vec<(String, u32)>,
}

impl Fingerprints {
    /// Compiles rows. `adapted` are OONI's: a row of `others` is left out when OONI's table has it, under
    /// its own or as another name, because OONI corrected patterns and places when it took them over.
    pub(super) fn build(adapted: Vec<FingerprintRow>, others: Vec<FingerprintRow>) -> Self {
        let is_dns = |row: &FingerprintRow| row.location == "dns";
        let mut known: BTreeSet<(bool, &str)> = BTreeSet::new();
        for row in &adapted {
            known.insert((is_dns(row), &row.id));
            known.extend(row.other_names.iter().map(|name| (is_dns(row), name.as_str())));
        }
        let mut rows: Vec<FingerprintRow> =
            others.into_iter().filter(|row| !known.contains(&(is_dns(row), row.id.as_str()))).collect();
        rows.extend(adapted);
        rows.sort_by(|a, b| is_dns(a).cmp(&is_dns(b)).then_with(|| a.cmp(b)));
        rows.dedup();
        Self::compile(&rows)
    }

    fn compile(rows: &[FingerprintRow]) -> Self {
        let mut places: BTreeMap<&str, Vec<(u32, &FingerprintRow)>> = BTreeMap::new();
        for (index, row) in (0u32..).zip(rows) {
            places.entry(&row.location).or_default().push((index, row));
        }
        let mut fingerprints = Self {
            infos: rows.iter().map(info).collect(),
            http_count: rows.iter().filter(|row| row.location != "dns").count(),
            ..Self::default()
        };
        for (location, rows) in places {
            if location == "dns" {
                let full = rows.iter().filter(|(_, row)| row.pattern_type == PatternType::Full);
                fingerprints.dns_answers =
                    full.map(|(index, row)| (row.pattern.to_string(), *index)).collect();
            }
            match location.strip_prefix("header.") {
                Some(name) => fingerprints.headers.push((name.to_owned(), Field::build(&rows))),
                None if location == "dns" => fingerprints.dns = Field::build(&rows),
                None if location == "header" => fingerprints.any_header = Some(Field::build(&rows)),
                None => fingerprints.bodies = Bodies::build(&rows),
            }
        }
        fingerprints
    }

    /// Appends the indices of all body fingerprints that match, ascending, each once.
    pub fn match_body(&self, body: &[u8], hits: &mut Vec<u32>) {
        let before = hits.len();
        self.bodies.find(body, hits);
        settle(hits, before);
    }

    /// Appends the indices of all fingerprints of this header that match, ascending, each once; the name
    /// is compared without case.
    pub fn match_header(&self, name: &str, value: &str, hits: &mut Vec<u32>) {
        let before = hits.len();
        if let Some((_, field)) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            field.find(value.as_bytes(), hits);
        }
        if let Some(field) = &self.any_header {
            field.find(value.as_bytes(), hits);
        }
        settle(hits, before);
    }

    /// Appends the indices of all DNS fingerprints that match an answer: an address in its usual form,
    /// or a name.
    pub fn match_dns(&self, answer: &str, hits: &mut Vec<u32>) {
        let before = hits.len();
        self.dns.find(answer.as_bytes(), hits);
        settle(hits, before);
    }

    /// What is known of a fingerprint.
    ///
    /// # Panics
    /// When `index` was not given by a match of this very table.
    pub fn info(&self, index: u32) -> &FingerprintInfo {
        &self.infos[index as usize]
    }

    /// All fingerprints of headers and bodies.
    pub fn http_infos(&self) -> impl Iterator<Item = &FingerprintInfo> {
        self.infos[..self.http_count].iter()
    }

    /// Every answer that is a fingerprint by itself, and what is known of it.
    pub fn dns_answers(&self) -> impl Iterator<Item = (&str, &FingerprintInfo)> {
        self.dns_answers.iter().map(|(answer, index)| (answer.as_str(), self.info(*index)))
    }

    /// All fingerprints of DNS answers.
    pub fn dns_infos(&self) -> impl Iterator<Item = &FingerprintInfo> {
        self.infos[self.http_count..].iter()
    }

    /// Number of fingerprints.
    pub fn len(&self) -> usize {
        self.infos.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }

    /// Regular expressions over bodies that no required text spares: they run on every body.
    pub fn always_run(&self) -> usize {
        self.bodies.always.len()
    }
}

fn info(row: &FingerprintRow) -> FingerprintInfo {
    FingerprintInfo {
        id: row.id.clone(),
        scope: scope(&row.scope),
        countries: row.countries.iter().filter_map(|code| Country::parse(code)).collect(),
    }
}

/// Sorts what was appended and drops repetitions.
fn settle(hits: &mut Vec<u32>, before: usize) {
    hits[before..].sort_unstable();
    let mut kept = before;
    for i in before..hits.len() {
        if i == before || hits[i] != hits[kept - 1] {
            hits[kept] = hits[i];
            kept += 1;
        }
    }
    hits.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, location: &str, pattern_type: PatternType, pattern: &str) -> FingerprintRow {
        FingerprintRow {
            id: id.into(),
            other_names: Vec::new(),
            scope: "isp".into(),
            location: location.into(),
            pattern_type,
            pattern: pattern.into(),
            countries: vec!["RU".into()],
        }
    }

    fn ids(fingerprints: &Fingerprints, find: impl Fn(&Fingerprints, &mut Vec<u32>)) -> Vec<String> {
        let mut hits = vec![u32::MAX];
        find(fingerprints, &mut hits);
        assert_eq!(hits[0], u32::MAX, "what was there stays");
        hits[1..].iter().map(|i| fingerprints.info(*i).id.clone()).collect()
    }

    #[test]
    fn df_trap_26_every_pattern_type_matches_as_documented_in_bodies() {
        let fingerprints = Fingerprints::build(
            vec![
                row("contains", "body", PatternType::Contains, "access to this page"),
                row("full", "body", PatternType::Full, "exactly this"),
                row("prefix", "body", PatternType::Prefix, "<html>first"),
                row("regexp", "body", PatternType::Regexp, "Access.*denied here"),
                row("bad", "body", PatternType::Regexp, "((("),
                row("choice", "body", PatternType::Regexp, "one1|two2"),
            ],
            Vec::new(),
        );
        let body = |text: &str| ids(&fingerprints, |f, hits| f.match_body(text.as_bytes(), hits));
        assert_eq!(body("no access to this page, no access to this page"), ["contains"]);
        assert_eq!(body("exactly this"), ["full"]);
        assert!(body("exactly this ").is_empty(), "nothing is trimmed");
        assert_eq!(body("<html>first"), ["prefix"]);
        assert!(body(" <html>first").is_empty());
        assert_eq!(body("Access is\ndenied here"), ["regexp"], "the dot matches line ends");
        assert!(body("denied here: Access").is_empty());
        assert_eq!(body("a two2"), ["choice"]);
        assert_eq!(fingerprints.always_run(), 2);
    }

    #[test]
    fn df_trap_26_header_patterns_of_every_type_match_by_name_without_case() {
        let fingerprints = Fingerprints::build(
            vec![
                row("c", "header.location", PatternType::Contains, "block.example"),
                row("f", "header.location", PatternType::Full, "http://block.example/"),
                row("p", "header.location", PatternType::Prefix, "http://block"),
                row("r", "header.location", PatternType::Regexp, "id=[0-9]+$"),
                row("s", "header.server", PatternType::Prefix, "Filter"),
                row("any", "header", PatternType::Contains, "warning"),
            ],
            Vec::new(),
        );
        let header =
            |name: &str, value: &str| ids(&fingerprints, |f, hits| f.match_header(name, value, hits));
        assert_eq!(header("Location", "http://block.example/"), ["c", "f", "p"]);
        assert_eq!(header("LOCATION", "https://block.example/?id=7"), ["c", "r"]);
        assert_eq!(header("server", "Filter/1.0 warning"), ["any", "s"]);
        assert!(header("server", "http://block.example/").is_empty());
        assert!(header("x-none", "").is_empty());
    }

    #[test]
    fn dns_answers_match_in_full_only() {
        let fingerprints =
            Fingerprints::build(vec![row("d", "dns", PatternType::Full, "10.10.34.35")], Vec::new());
        let dns = |answer: &str| ids(&fingerprints, |f, hits| f.match_dns(answer, hits));
        assert_eq!(dns("10.10.34.35"), ["d"]);
        assert!(dns("110.10.34.35").is_empty());
        assert!(dns("10.10.34.355").is_empty());
        assert_eq!((fingerprints.http_infos().count(), fingerprints.dns_infos().count()), (0, 1));
    }

    #[test]
    fn texts_with_gaps_match_exactly_where_the_expression_does() {
        let bodies: [&[u8]; 8] = [
            b"ab cd ef",
            b"cd ab ef",
            b"abcdef",
            b"ab\xffcd ef",
            b"ab\xff ab cd\nef",
            b"ab cd\xffef ab cd ef",
            "ab\u{fffd}cd\u{fffd}ef".as_bytes(),
            b"",
        ];
        for pattern in ["ab.*cd.*ef", "ab.*ef", ".*cd", "ab.*ab", "\u{fffd}.*\u{fffd}", "a.*b.*\\."] {
            let regex = compile(pattern).unwrap();
            let fingerprints =
                Fingerprints::build(vec![row("r", "body", PatternType::Regexp, pattern)], Vec::new());
            for body in bodies {
                let found = !ids(&fingerprints, |f, hits| f.match_body(body, hits)).is_empty();
                assert_eq!(found, regex.is_match(body), "{pattern} {body:?}");
            }
        }
    }

    #[test]
    fn a_row_that_ooni_adapted_is_not_matched_in_its_raw_form() {
        let mut adapted = row("ooni.x", "body", PatternType::Contains, "the corrected page text");
        adapted.other_names = vec!["cl.x".into()];
        let fingerprints = Fingerprints::build(
            vec![adapted],
            vec![
                row("cl.x", "body", PatternType::Contains, "page"),
                row("cl.y", "body", PatternType::Contains, "other text"),
            ],
        );
        let names: Vec<_> = fingerprints.http_infos().map(|i| i.id.as_str()).collect();
        assert_eq!(names, ["cl.y", "ooni.x"]);
    }

    #[test]
    fn empty_fingerprints_match_nothing() {
        let fingerprints = Fingerprints::default();
        assert!(
            ids(&fingerprints, |f, hits| {
                f.match_body(b"<html>", hits);
                f.match_header("location", "x", hits);
                f.match_dns("127.0.0.1", hits);
            })
            .is_empty()
        );
    }
}
