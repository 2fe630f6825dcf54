//! A pull reader over one JSON text: one pass, no tree, no panic, no recursion into what nobody asked for.
//!
//! Why not a library: a library's typed reader gives up on the whole text at the first odd value, and
//! a tree costs more than the rest of the job. Here a value of the wrong type is noted with its offset and
//! skipped, the rest is read on, and long strings (bodies) are decoded into one reused buffer. What a
//! library gives, speed of the tokeniser, is measured beside one in `benches/ingest.rs`.

use std::borrow::Cow;

use okno_model::{RejectReason, Text};

/// Deepest nesting that is read; OONI's own data stays below 12.
pub const MAX_DEPTH: u32 = 96;

/// Most issues that are noted for one text.
const MAX_ISSUES: usize = 65_536;

/// Something that could not be read: where in the text, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issue {
    /// byte offset in the text
    pub offset: usize,
    /// why
    pub reason: RejectReason,
}

/// The kind of value that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// a number
    Number,
    /// a string
    String,
    /// an array
    Array,
    /// an object
    Object,
}

/// The text breaks here and cannot be read on. What was read before it stays.
pub type Broken = Issue;

/// The reader. Every `take_*` consumes exactly one value, whatever its type.
pub struct Reader<'a> {
    text: &'a str,
    pos: usize,
    base: usize,
    depth: u32,
    /// values that were skipped because they could not be read, in order
    pub issues: Vec<Issue>,
}

const fn broadcast(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// Marks the bytes of `word` that equal `byte`; exact for the lowest marked one.
#[inline(always)]
const fn marks(word: u64, byte: u8) -> u64 {
    let x = word ^ broadcast(byte);
    x.wrapping_sub(broadcast(1)) & !x & broadcast(0x80)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(chunk.try_into().ok()?))
}

/// Position of the next `"` or `\` at or after `at`.
#[inline]
fn next_special(bytes: &[u8], mut at: usize) -> Option<usize> {
    // Keys and most values end within 32 bytes; only longer ones are worth the call.
    for _ in 0..4 {
        let Some(w) = word(bytes, at) else {
            return bytes.get(at..)?.iter().position(|b| matches!(b, b'"' | b'\\')).map(|p| at + p);
        };
        let hit = marks(w, b'"') | marks(w, b'\\');
        if hit != 0 {
            return Some(at + (hit.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &bytes[at..]).map(|p| at + p)
}

impl<'a> Reader<'a> {
    /// Reads `text` from its start.
    pub fn new(text: &'a str) -> Self {
        Self { text, pos: 0, base: 0, depth: 0, issues: Vec::new() }
    }

    /// Reads a part of a larger text, whose offsets it keeps.
    pub fn part(part: RawValue<'a>) -> Self {
        Self { text: part.text, pos: 0, base: part.offset, depth: 0, issues: Vec::new() }
    }

    /// Where the reader stands.
    pub fn offset(&self) -> usize {
        self.base + self.pos
    }

    /// Notes that the value at `offset` could not be used.
    pub fn note(&mut self, offset: usize, reason: RejectReason) {
        // A line may hold millions of odd values; what follows this many is one kind of line.
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue { offset, reason });
        }
    }

    /// Hash of the text from `offset` up to where the reader stands.
    pub fn hash_since(&self, offset: usize) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.bytes()[offset - self.base..self.pos])
    }

    fn broken<T>(&self, reason: RejectReason) -> Result<T, Broken> {
        let reason = if self.pos >= self.text.len() { RejectReason::TruncatedJson } else { reason };
        Err(Issue { offset: self.offset(), reason })
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    fn blank(&mut self) {
        let bytes = self.bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.pos) {
            self.pos += 1;
        }
    }

    /// The kind of the next value.
    #[inline]
    pub fn peek(&mut self) -> Result<Kind, Broken> {
        self.blank();
        match self.bytes().get(self.pos) {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            _ => self.broken(RejectReason::InvalidJson),
        }
    }

    /// Whether nothing but blanks is left.
    pub fn at_end(&mut self) -> bool {
        self.blank();
        self.pos >= self.text.len()
    }

    /// Enters an object; `false`, with the value skipped and noted, when it is something else. `null`
    /// is skipped without a note: in OONI's data every field may be null (trap 32).
    pub fn enter_object(&mut self) -> Result<bool, Broken> {
        self.enter(Kind::Object)
    }

    /// Enters an array; see [`Self::enter_object`].
    pub fn enter_array(&mut self) -> Result<bool, Broken> {
        self.enter(Kind::Array)
    }

    fn enter(&mut self, wanted: Kind) -> Result<bool, Broken> {
        let kind = self.peek()?;
        if kind != wanted {
            if kind != Kind::Null {
                self.note(self.offset(), RejectReason::WrongType);
            }
            self.skip()?;
            return Ok(false);
        }
        if self.depth >= MAX_DEPTH {
            self.note(self.offset(), RejectReason::TooDeep);
            self.skip()?;
            return Ok(false);
        }
        self.depth += 1;
        self.pos += 1;
        Ok(true)
    }

    /// The next key of the object that was entered; `None` at its end.
    #[inline]
    pub fn next_key(&mut self) -> Result<Option<Text<'a>>, Broken> {
        self.blank();
        match self.bytes().get(self.pos) {
            Some(b'}') => {
                self.pos += 1;
                self.depth -= 1;
                return Ok(None);
            }
            Some(b',') => {
                self.pos += 1;
                self.blank();
            }
            Some(b'"') => {}
            _ => return self.broken(RejectReason::InvalidJson),
        }
        if self.bytes().get(self.pos) != Some(&b'"') {
            return self.broken(RejectReason::InvalidJson);
        }
        let key = self.string()?;
        self.blank();
        if self.bytes().get(self.pos) != Some(&b':') {
            return self.broken(RejectReason::InvalidJson);
        }
        self.pos += 1;
        Ok(Some(key))
    }

    /// Whether another element follows in the array that was entered.
    #[inline]
    pub fn next_element(&mut self) -> Result<bool, Broken> {
        self.blank();
        match self.bytes().get(self.pos) {
            Some(b']') => {
                self.pos += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') => {
                self.pos += 1;
                self.blank();
                match self.bytes().get(self.pos) {
                    Some(b']') | None => self.broken(RejectReason::InvalidJson),
                    Some(_) => Ok(true),
                }
            }
            Some(_) => Ok(true),
            None => self.broken(RejectReason::InvalidJson),
        }
    }

    /// A string; the reader stands on its opening quote.
    #[inline]
    fn string(&mut self) -> Result<Text<'a>, Broken> {
        let bytes = self.bytes();
        let start = self.pos + 1;
        let Some(end) = next_special(bytes, start) else {
            self.pos = bytes.len();
            return self.broken(RejectReason::TruncatedJson);
        };
        if bytes[end] == b'"' {
            self.pos = end + 1;
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        let opened = self.pos;
        self.skip_string()?;
        let closed = self.pos;
        // The rest of the text ends with this string, so that its buffer is no longer than it.
        let mut part =
            Reader { text: &self.text[..closed], pos: opened, base: self.base, depth: 0, issues: Vec::new() };
        let mut buffer = Vec::new();
        let length = part.string_into(&mut buffer)?;
        self.issues.append(&mut part.issues);
        buffer.truncate(length);
        Ok(Cow::Owned(String::from_utf8(buffer).expect("decoding valid UTF-8 gives valid UTF-8")))
    }

    /// Decodes a string into `buffer`, which only ever grows, and gives the decoded length; the reader
    /// stands on the opening quote.
    fn string_into(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Broken> {
        let start = self.pos + 1;
        let source = &self.bytes()[start..];
        // Decoded text is never longer than its source; eight more bytes let whole words be copied.
        if buffer.len() < source.len() + 8 {
            buffer.resize(source.len() + 8, 0);
        }
        let (mut at, mut out) = (0, 0);
        loop {
            let byte = match source.get(at..at + 8) {
                // Plain runs go by eight bytes; what is copied beyond a run's end is overwritten.
                Some(chunk) => {
                    buffer[out..out + 8].copy_from_slice(chunk);
                    let w = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
                    let hit = marks(w, b'"') | marks(w, b'\\');
                    let plain = if hit == 0 { 8 } else { (hit.trailing_zeros() / 8) as usize };
                    at += plain;
                    out += plain;
                    if hit == 0 {
                        continue;
                    }
                    source[at]
                }
                None => match source.get(at) {
                    Some(byte) => *byte,
                    None => {
                        self.pos = self.text.len();
                        return self.broken(RejectReason::TruncatedJson);
                    }
                },
            };
            match byte {
                b'"' => {
                    self.pos = start + at + 1;
                    return Ok(out);
                }
                b'\\' => match source.get(at + 1).map(|escape| ESCAPES[*escape as usize]) {
                    Some(b'u') => {
                        let (taken, written) = self.unicode(start + at, &mut buffer[out..])?;
                        at += taken;
                        out += written;
                    }
                    Some(0) | None => {
                        self.pos = (start + at + 1).min(self.text.len());
                        return self.broken(RejectReason::InvalidJson);
                    }
                    Some(character) => {
                        buffer[out] = character;
                        out += 1;
                        at += 2;
                    }
                },
                plain => {
                    buffer[out] = plain;
                    out += 1;
                    at += 1;
                }
            }
        }
    }

    /// Decodes `\uXXXX`, with its partner when it is a surrogate; a lone surrogate becomes U+FFFD and is
    /// noted (RFC 8259 §8.2 leaves it open). Gives bytes taken and bytes written.
    fn unicode(&mut self, at: usize, out: &mut [u8]) -> Result<(usize, usize), Broken> {
        let Some(first) = hex4(self.bytes(), at + 2) else {
            self.pos = (at + 6).min(self.text.len());
            return self.broken(RejectReason::InvalidJson);
        };
        let (code, taken) = match first {
            0xD800..=0xDBFF => {
                let second = (self.bytes().get(at + 6..at + 8) == Some(b"\\u"))
                    .then(|| hex4(self.bytes(), at + 8))
                    .flatten();
                match second {
                    Some(low @ 0xDC00..=0xDFFF) => (0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00), 12),
                    _ => (0xFFFD, 6),
                }
            }
            0xDC00..=0xDFFF => (0xFFFD, 6),
            code => (code, 6),
        };
        if code == 0xFFFD && first != 0xFFFD {
            self.note(self.base + at, RejectReason::InvalidUtf8);
        }
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        Ok((taken, character.encode_utf8(out).len()))
    }

    /// A string; `None` for null, and for anything else, which is noted.
    #[inline]
    pub fn take_str(&mut self) -> Result<Option<Text<'a>>, Broken> {
        match self.peek()? {
            Kind::String => self.string().map(Some),
            Kind::Null => self.skip().map(|()| None),
            _ => self.wrong_type(),
        }
    }

    /// A string, decoded into `buffer`; its length, or `None` for null and for anything else.
    pub fn take_str_into(&mut self, buffer: &mut Vec<u8>) -> Result<Option<usize>, Broken> {
        match self.peek()? {
            Kind::String => self.string_into(buffer).map(Some),
            Kind::Null => self.skip().map(|()| None),
            _ => self.wrong_type(),
        }
    }

    /// A boolean; `None` for null, and for anything else, which is noted.
    pub fn take_bool(&mut self) -> Result<Option<bool>, Broken> {
        match self.peek()? {
            Kind::Bool => {
                let value = self.bytes()[self.pos] == b't';
                self.skip()?;
                Ok(Some(value))
            }
            Kind::Null => self.skip().map(|()| None),
            _ => self.wrong_type(),
        }
    }

    /// A number; `None` for null, and for anything else, which is noted.
    #[inline]
    pub fn take_f64(&mut self) -> Result<Option<f64>, Broken> {
        match self.peek()? {
            Kind::Number => {
                let (offset, digits) = (self.offset(), self.number()?);
                match digits.parse::<f64>() {
                    Ok(value) if value.is_finite() => Ok(Some(value)),
                    _ => {
                        self.note(offset, RejectReason::NumberOutOfRange);
                        Ok(None)
                    }
                }
            }
            Kind::Null => self.skip().map(|()| None),
            _ => self.wrong_type(),
        }
    }

    /// A whole number; fractions are cut off; out of range is noted.
    #[inline]
    pub fn take_i64(&mut self) -> Result<Option<i64>, Broken> {
        match self.peek()? {
            Kind::Number => {
                let (offset, digits) = (self.offset(), self.number()?);
                if let Ok(value) = digits.parse::<i64>() {
                    return Ok(Some(value));
                }
                match digits.parse::<f64>() {
                    Ok(value) if value.abs() < 9e18 => Ok(Some(value as i64)),
                    _ => {
                        self.note(offset, RejectReason::NumberOutOfRange);
                        Ok(None)
                    }
                }
            }
            Kind::Null => self.skip().map(|()| None),
            _ => self.wrong_type(),
        }
    }

    fn wrong_type<T>(&mut self) -> Result<Option<T>, Broken> {
        self.note(self.offset(), RejectReason::WrongType);
        self.skip()?;
        Ok(None)
    }

    #[inline]
    fn number(&mut self) -> Result<&'a str, Broken> {
        let start = self.pos;
        let bytes = self.bytes();
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = bytes.get(self.pos) {
            self.pos += 1;
        }
        Ok(&self.text[start..self.pos])
    }

    /// The next value as it stands, unread but checked for balance.
    pub fn take_raw(&mut self) -> Result<RawValue<'a>, Broken> {
        self.peek()?;
        let start = self.pos;
        self.skip()?;
        Ok(RawValue { text: &self.text[start..self.pos], offset: self.base + start })
    }

    /// Skips one value of any kind, without recursion.
    pub fn skip(&mut self) -> Result<(), Broken> {
        match self.peek()? {
            Kind::String => self.skip_string(),
            Kind::Number => self.number().map(drop),
            Kind::Null => self.literal("null"),
            Kind::Bool => {
                let word = if self.bytes()[self.pos] == b't' { "true" } else { "false" };
                self.literal(word)
            }
            Kind::Array | Kind::Object => self.skip_container(),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Broken> {
        if self.text[self.pos..].starts_with(word) {
            self.pos += word.len();
            return Ok(());
        }
        if word.starts_with(&self.text[self.pos..]) {
            self.pos = self.text.len();
        }
        self.broken(RejectReason::InvalidJson)
    }

    fn skip_string(&mut self) -> Result<(), Broken> {
        let bytes = self.bytes();
        let mut at = self.pos + 1;
        loop {
            match next_special(bytes, at) {
                Some(end) if bytes[end] == b'"' => {
                    self.pos = end + 1;
                    return Ok(());
                }
                Some(escape) => at = escape + 2,
                None => {
                    self.pos = bytes.len();
                    return self.broken(RejectReason::TruncatedJson);
                }
            }
        }
    }

    fn skip_container(&mut self) -> Result<(), Broken> {
        // Kinds of the open containers, one bit each; deeper ones only count.
        let bytes = self.bytes();
        let mut open = 0usize;
        loop {
            match bytes.get(self.pos) {
                Some(b'"') => {
                    self.skip_string()?;
                    continue;
                }
                Some(b'{' | b'[') => open += 1,
                Some(b'}' | b']') => {
                    open -= 1;
                    if open == 0 {
                        self.pos += 1;
                        return Ok(());
                    }
                }
                Some(_) => {}
                None => return self.broken(RejectReason::TruncatedJson),
            }
            self.pos += 1;
        }
    }
}

/// What stands behind a backslash: the character it means, `u` for itself, 0 for what is no escape.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table[b'b' as usize] = 8;
    table[b'f' as usize] = 12;
    table[b'n' as usize] = b'\n';
    table[b'r' as usize] = b'\r';
    table[b't' as usize] = b'\t';
    table[b'u' as usize] = b'u';
    table
};

/// Values of hexadecimal digits; 255 for anything else.
const DIGITS: [u8; 256] = {
    let mut table = [255; 256];
    let mut value = 0;
    while value < 10 {
        table[b'0' as usize + value] = value as u8;
        value += 1;
    }
    while value < 16 {
        table[b'a' as usize + value - 10] = value as u8;
        table[b'A' as usize + value - 10] = value as u8;
        value += 1;
    }
    table
};

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let [a, b, c, d] = digits.map(|digit| u32::from(DIGITS[digit as usize]));
    (a | b | c | d < 16).then_some(a << 12 | b << 8 | c << 4 | d)
}

/// A value that was passed over, to be read later.
#[derive(Clone, Copy, Debug)]
pub struct RawValue<'a> {
    /// its text
    pub text: &'a str,
    /// where it stands in the whole text
    pub offset: usize,
}

/// The JSON path of whatever stands at `offset` in `text`: `test_keys.requests[3].response.body`. Only
/// called for what could not be read, so it may be slow.
pub fn path_at(text: &str, offset: usize) -> String {
    let mut path = String::new();
    let mut reader = Reader::new(text);
    let _ = walk(&mut reader, offset, &mut path);
    if path.is_empty() { "line".into() } else { path }
}

fn walk(reader: &mut Reader<'_>, offset: usize, path: &mut String) -> Result<bool, Broken> {
    let kind = reader.peek()?;
    if !matches!(kind, Kind::Object | Kind::Array) || reader.offset() == offset {
        let found = reader.offset() == offset;
        reader.skip().inspect_err(|_| ())?;
        return Ok(found || reader.offset() > offset);
    }
    let length = path.len();
    let mut index = 0;
    let entered = if kind == Kind::Object { reader.enter_object()? } else { reader.enter_array()? };
    if !entered {
        return Ok(reader.offset() > offset);
    }
    loop {
        if kind == Kind::Object {
            let at = reader.offset();
            let Some(key) = reader.next_key()? else { break };
            if !path.is_empty() {
                path.push('.');
            }
            // A key of the data may be anything, an address too: only plain names are shown.
            let plain = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let named = plain && key.bytes().any(|b| b.is_ascii_alphabetic());
            path.push_str(if named { &key } else { "*" });
            if offset >= at && offset < reader.offset() {
                return Ok(true);
            }
        } else {
            if !reader.next_element()? {
                break;
            }
            path.push_str(&format!("[{index}]"));
            index += 1;
        }
        if walk(reader, offset, path)? {
            return Ok(true);
        }
        path.truncate(length);
    }
    Ok(reader.offset() > offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_str(json: &str) -> (Option<String>, Vec<Issue>) {
        let mut reader = Reader::new(json);
        let text = reader.take_str().ok().flatten().map(Cow::into_owned);
        (text, reader.issues)
    }

    #[test]
    fn strings_are_decoded_as_the_standard_says() {
        for json in [
            r#""""#,
            r#""plain""#,
            r#""a longer plain text that takes several words of eight bytes""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u003ctitle\u003eЯндекс\u003c/title\u003e \ud83d\ude00 and more text after it""#,
            r#""1234567\n""#,
            r#""12345678\"90""#,
        ] {
            let expected: String = serde_json::from_str(json).unwrap();
            assert_eq!(read_str(json), (Some(expected), vec![]), "{json}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_replaced_and_noted() {
        let (text, issues) = read_str(r#""a\ud800b\udc00""#);
        assert_eq!(text.as_deref(), Some("a\u{fffd}b\u{fffd}"));
        assert_eq!(issues.len(), 2);
        assert!(issues.iter().all(|issue| issue.reason == RejectReason::InvalidUtf8));
    }

    #[test]
    fn broken_texts_say_where_and_never_panic() {
        let whole = r#"{"a":[1,{"b":"c\u0041\n"},true,null,-1.5e3],"d":"e"}"#;
        for end in 0..whole.len() {
            let mut reader = Reader::new(&whole[..end]);
            let issue = reader.skip().unwrap_err();
            assert!(issue.offset <= end);
            assert_eq!(issue.reason, RejectReason::TruncatedJson, "{end}");
        }
        assert!(Reader::new(whole).skip().is_ok());
        for bad in ["nul", "tru", "{1:2}", "[1,]", "{\"a\"}", "\"\\x\"", "\"\\u12\"", "@"] {
            let mut reader = Reader::new(bad);
            let mut deep = || -> Result<(), Broken> {
                match reader.peek()? {
                    Kind::Object if reader.enter_object()? => {
                        while reader.next_key()?.is_some() {
                            reader.skip()?;
                        }
                    }
                    Kind::Array if reader.enter_array()? => {
                        while reader.next_element()? {
                            reader.skip()?;
                        }
                    }
                    Kind::String => drop(reader.take_str()?),
                    _ => reader.skip()?,
                }
                Ok(())
            };
            assert!(deep().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_noted_and_the_rest_is_read() {
        let mut reader = Reader::new("[1e999, 99999999999999999999, 7, 2.9, \"x\"]");
        assert!(reader.enter_array().unwrap());
        let mut seen = Vec::new();
        while reader.next_element().unwrap() {
            seen.push(reader.take_i64().unwrap());
        }
        assert_eq!(seen, [None, None, Some(7), Some(2), None]);
        let reasons: Vec<_> = reader.issues.iter().map(|issue| issue.reason).collect();
        assert_eq!(
            reasons,
            [RejectReason::NumberOutOfRange, RejectReason::NumberOutOfRange, RejectReason::WrongType]
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let mut reader = Reader::new(&deep);
        for _ in 0..MAX_DEPTH {
            assert!(reader.enter_array().unwrap() && reader.next_element().unwrap());
        }
        assert!(!reader.enter_array().unwrap());
        assert_eq!(reader.issues[0].reason, RejectReason::TooDeep);
        assert!(Reader::new(&deep).skip().is_ok());
    }

    #[test]
    fn a_path_names_the_part_and_no_value() {
        let text = r#"{"a":{"b":[{"c":1},{"c":"x"}],"8.8.8.8:53":{"d":2}}}"#;
        assert_eq!(path_at(text, text.find("\"x\"").unwrap()), "a.b[1].c");
        assert_eq!(path_at(text, text.find('2').unwrap()), "a.*.d");
        assert_eq!(path_at(text, 0), "line");
        assert_eq!(path_at(text, 10_000), "line");
    }
}
