//! Reads a TOML table key by key and remembers where everything stood.
//!
//! Deserialising by serde would say neither which of several keys was meant nor more than the first mistake,
//! so the tables are walked by hand: each key asked for is known, each other key is an error with the nearest
//! known key beside it.

use core::cell::RefCell;
use core::ops::Range;
use core::time::Duration;

use okno_wire::Instant;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{MAX_PROBLEMS, Place, Problem, ScenarioError, nearest};

/// Most bytes of one file.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// A word of a scenario and where it stood.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// the word
    pub text: String,
    /// where it stood
    pub place: Place,
}

impl core::ops::Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// The mistakes found so far and the names of the files.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: RefCell<Vec<(Place, Problem)>>,
    left_out: RefCell<usize>,
    unread: RefCell<bool>,
    files: RefCell<Vec<String>>,
}

impl Report {
    /// Begins a file; its position is part of every [`Place`] in it.
    pub fn begin_file(&self, name: &str) -> u16 {
        let mut files = self.files.borrow_mut();
        files.push(name.to_owned());
        u16::try_from(files.len() - 1).unwrap_or(u16::MAX)
    }

    /// Names of the files, in the order of reading.
    pub fn files(&self) -> Vec<String> {
        self.files.borrow().clone()
    }

    /// Notes a mistake.
    pub fn add(&self, place: Place, what: impl Into<String>, fix: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= MAX_PROBLEMS {
            *self.left_out.borrow_mut() += 1;
            return;
        }
        let file = self.files.borrow().get(usize::from(place.file)).cloned().unwrap_or_default();
        let cut = |text: String| text.chars().take(600).collect::<String>();
        let (what, fix) = (cut(what.into()), cut(fix.into()));
        problems.push((place, Problem { file, line: place.line, column: place.column, what, fix }));
    }

    /// Notes that a file was not read.
    pub fn unread(&self) {
        *self.unread.borrow_mut() = true;
    }

    /// Whether a file was not read.
    pub fn has_unread(&self) -> bool {
        *self.unread.borrow()
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// The mistakes as an error; nothing when there are none.
    pub fn error(&self) -> Option<ScenarioError> {
        let mut problems = self.problems.borrow().clone();
        problems.sort_by_key(|(place, _)| *place);
        problems.dedup();
        let left_out = *self.left_out.borrow();
        let problems: Vec<Problem> = problems.into_iter().map(|(_, problem)| problem).collect();
        (!problems.is_empty()).then_some(ScenarioError { problems, left_out })
    }
}

/// A text and its lines.
pub(crate) struct Text<'t> {
    pub file: u16,
    pub text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Text<'t> {
    pub fn new(file: u16, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file, text, starts: core::iter::once(0).chain(ends).collect() }
    }

    /// Where a span begins.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let line = self.starts.partition_point(|start| *start <= span.start);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column =
            self.text.get(start..span.start).map_or(0, |head| head.chars().take(100_000).count()) + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place { file: self.file, line: narrow(line), column: narrow(column) }
    }
}

/// One table that is being read.
pub(crate) struct Fields<'a, 't> {
    table: &'a DeTable<'t>,
    source: &'a Text<'t>,
    report: &'a Report,
    known: RefCell<Vec<&'static str>>,
    /// what this table is, for messages: `[[service]]`
    title: String,
    /// where it begins
    pub place: Place,
}

impl<'a, 't> Fields<'a, 't> {
    pub fn new(
        table: &'a DeTable<'t>,
        span: &Range<usize>,
        title: &str,
        source: &'a Text<'t>,
        report: &'a Report,
    ) -> Self {
        let place = source.place(span);
        Self { table, source, report, known: RefCell::default(), title: title.to_owned(), place }
    }

    fn look(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether the table has the key; does not make it known.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Place of a key's value; the table's where it is absent.
    pub fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or(self.place, |value| self.source.place(&value.span()))
    }

    /// Notes a mistake about a key.
    pub fn wrong(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.report.add(self.place_of(key), what, fix);
    }

    fn expected(&self, key: &'static str, value: &Spanned<DeValue<'t>>, kind: &str, example: &str) {
        let what = format!("`{key}` in {} must be {kind}, not {}", self.title, kind_of(value.get_ref()));
        self.report.add(self.source.place(&value.span()), what, format!("for example `{key} = {example}`"));
    }

    /// Notes that a key is missing.
    pub fn missing(&self, key: &'static str, example: &str) {
        let what = format!("{} lacks `{key}`", self.title);
        self.report.add(self.place, what, format!("add `{key} = {example}`"));
    }

    pub fn text(&self, key: &'static str) -> Option<Word> {
        let value = self.look(key)?;
        match value.get_ref() {
            DeValue::String(text) => {
                Some(Word { text: text.to_string(), place: self.source.place(&value.span()) })
            }
            _ => {
                self.expected(key, value, "a string", "\"…\"");
                None
            }
        }
    }

    pub fn required_text(&self, key: &'static str, example: &str) -> Word {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.text(key).unwrap_or_default()
    }

    pub fn texts(&self, key: &'static str, most: usize) -> Vec<Word> {
        let Some(value) = self.look(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.expected(key, value, "a list of strings", "[\"…\"]");
            return Vec::new();
        };
        if items.len() > most {
            let what = format!("`{key}` in {} has {} entries, more than {most}", self.title, items.len());
            self.report.add(self.source.place(&value.span()), what, "shorten the list");
            return Vec::new();
        }
        let mut words = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    words.push(Word { text: text.to_string(), place: self.source.place(&item.span()) });
                }
                _ => self.expected(key, item, "a list of strings", "[\"…\"]"),
            }
        }
        words
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.look(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.expected(key, value, "true or false", "true");
        }
        flag
    }

    /// A whole number between two bounds, both inclusive.
    pub fn count(&self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let value = self.look(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            self.expected(key, value, "a whole number", &least.max(1).to_string());
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let inside = parsed.filter(|number| (least..=most).contains(number));
        if inside.is_none() {
            let what = format!("`{key} = {number}` in {} is out of bounds", self.title);
            self.report.add(
                self.source.place(&value.span()),
                what,
                format!("take a whole number from {least} to {most}"),
            );
        }
        inside
    }

    /// A number between two bounds, both inclusive.
    pub fn number(&self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let value = self.look(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => {
                self.expected(key, value, "a number", &least.to_string());
                return None;
            }
        };
        let inside = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        if inside.is_none() {
            let what = format!("`{key} = {text}` in {} is out of bounds", self.title);
            let fix = format!("take a number from {least} to {most}");
            self.report.add(self.source.place(&value.span()), what, fix);
        }
        inside
    }

    /// One word of a closed set.
    pub fn choice<T: Copy>(&self, key: &'static str, options: &[(&'static str, T)]) -> Option<T> {
        let word = self.text(key)?;
        if let Some((_, found)) = options.iter().find(|(name, _)| *name == word.text) {
            return Some(*found);
        }
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        let what = format!("`{key} = \"{}\"` in {} is unknown", word.text, self.title);
        self.report.add(word.place, what, did_you_mean(&word.text, &names));
        None
    }

    /// A length of time such as `"90s"`, `"1h30m"`, `"250ms"`.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        let word = self.text(key)?;
        let duration = parse_duration(&word.text);
        if duration.is_none() {
            let what = format!("`{key} = \"{}\"` in {} is no length of time", word.text, self.title);
            self.report.add(
                word.place,
                what,
                "write a number and a unit (ms, s, m, h, d, w), for example \"90s\" or \"1h30m\"",
            );
        }
        duration
    }

    /// A moment: a TOML date or date-time; without an offset it is UTC.
    pub fn moment(&self, key: &'static str) -> Option<Instant> {
        let value = self.look(key)?;
        let text = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => {
                self.expected(key, value, "a date", "2025-06-09T00:00:00Z");
                return None;
            }
        };
        let moment = parse_moment(&text);
        if moment.is_none() {
            let what = format!("`{key} = {text}` in {} is no moment after 1970", self.title);
            let fix = format!("for example `{key} = 2025-06-09T00:00:00Z`");
            self.report.add(self.source.place(&value.span()), what, fix);
        }
        moment
    }

    /// A sub-table.
    pub fn table(&self, key: &'static str) -> Option<Fields<'a, 't>> {
        let value = self.look(key)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let title = format!("[{key}]");
                Some(Fields::new(table, &value.span(), &title, self.source, self.report))
            }
            _ => {
                self.expected(key, value, "a table", "{ … }");
                None
            }
        }
    }

    /// An array of tables.
    pub fn tables(&self, key: &'static str, most: usize) -> Vec<Fields<'a, 't>> {
        let Some(value) = self.look(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.expected(key, value, "an array of tables", &format!("… as `[[{key}]]`"));
            return Vec::new();
        };
        if items.len() > most {
            let what = format!("{} tables `[[{key}]]`, more than {most}", items.len());
            self.report.add(self.source.place(&value.span()), what, "leave some out");
            return Vec::new();
        }
        self.collect(key, items)
    }

    fn collect(&self, key: &'static str, items: &'a DeArray<'t>) -> Vec<Fields<'a, 't>> {
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let title = format!("[[{key}]]");
                    tables.push(Fields::new(table, &item.span(), &title, self.source, self.report));
                }
                _ => self.expected(key, item, "an array of tables", &format!("… as `[[{key}]]`")),
            }
        }
        tables
    }

    /// Every key with a list of strings: the table's keys are names chosen by the author.
    pub fn lists(&self, most_lists: usize, most_entries: usize) -> Vec<(Word, Vec<Word>)> {
        let mut lists = Vec::new();
        if self.table.len() > most_lists {
            let what = format!("{} has {} lists, more than {most_lists}", self.title, self.table.len());
            self.report.add(self.place, what, "leave some out");
            return lists;
        }
        for (key, value) in self.table.iter() {
            let name = Word { text: key.get_ref().to_string(), place: self.source.place(&key.span()) };
            let DeValue::Array(items) = value.get_ref() else {
                let what = format!("list `{}` must be a list of strings", name.text);
                self.report.add(name.place, what, format!("for example `{} = [\"example.org\"]`", name.text));
                continue;
            };
            if items.len() > most_entries {
                let what =
                    format!("list `{}` has {} entries, more than {most_entries}", name.text, items.len());
                self.report.add(name.place, what, "shorten the list");
                continue;
            }
            let mut words = Vec::new();
            for item in items.iter() {
                let place = self.source.place(&item.span());
                match item.get_ref().as_str() {
                    Some(text) => words.push(Word { text: text.to_owned(), place }),
                    None => {
                        let what = format!("list `{}` holds something that is no string", name.text);
                        self.report.add(place, what, "put it in quotes");
                    }
                }
            }
            lists.push((name, words));
        }
        lists
    }

    /// Notes a mistake at a place of this table.
    pub fn wrong_at(&self, place: Place, what: impl Into<String>, fix: impl Into<String>) {
        self.report.add(place, what, fix);
    }

    /// Every key with its value as JSON, whatever it is: what another part of the program reads.
    pub fn values(&self) -> Vec<(Word, serde_json::Value)> {
        let word =
            |key: &Spanned<_>, name: String| Word { text: name, place: self.source.place(&key.span()) };
        self.table
            .iter()
            .map(|(key, value)| (word(key, key.get_ref().to_string()), json(value.get_ref())))
            .collect()
    }

    /// Says of each key that nobody asked for that it is unknown.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let what = format!("unknown key `{name}` in {}", self.title);
                self.report.add(self.source.place(&key.span()), what, did_you_mean(name, &known));
            }
        }
    }
}

/// A value of TOML as JSON; dates become texts, numbers that JSON does not have become null.
fn json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(serde_json::Value::Null, Into::into)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(serde_json::Value::Null, Into::into),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, item)| (key.get_ref().to_string(), json(item.get_ref()))).collect()
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A fix for an unknown word: the nearest one, or all of them.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(word, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let mut sorted = known.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.is_empty() {
        return String::new();
    }
    let shown = sorted.iter().take(24).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!("known here: {shown}{}", if sorted.len() > 24 { " …" } else { "" })
}

/// Reads `1h30m`, `90s`, `250ms`; nothing for anything else and for more than a hundred years.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    if rest.is_empty() || rest.len() > 40 {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_ms: u64 = match rest.get(..letters)? {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = rest.get(letters..)?.trim_start();
    }
    (total_ms <= 100 * 366 * 86_400_000).then(|| Duration::from_millis(total_ms))
}

/// Reads an RFC 3339 moment, or a civil date or date-time taken as UTC; nothing before 1970.
pub fn parse_moment(text: &str) -> Option<Instant> {
    let text = text.trim();
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    u64::try_from(timestamp.as_nanosecond()).ok().map(Instant::from_nanos)
}

/// The moment as RFC 3339 in UTC, seconds precise; for people and for truth rows.
pub fn format_moment(moment: Instant) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(moment.nanos() / 1_000_000_000) * 1_000_000_000) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => moment.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_nonsense_is_not() {
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2w"), Some(Duration::from_secs(1_209_600)));
        for nonsense in ["", "5", "h", "5x", "99999999999999999999s", "-5s", "200000w"] {
            assert_eq!(parse_duration(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn moments_without_an_offset_are_utc_and_those_with_one_are_converted() {
        let noon = parse_moment("2021-03-10T07:00:00Z").unwrap();
        assert_eq!(parse_moment("2021-03-10T10:00:00+03:00"), Some(noon));
        assert_eq!(parse_moment("2021-03-10T07:00:00"), Some(noon));
        assert_eq!(parse_moment("2021-03-10").map(format_moment).as_deref(), Some("2021-03-10T00:00:00Z"));
        assert_eq!(parse_moment("1969-01-01"), None);
        assert_eq!(parse_moment("soon"), None);
    }
}
