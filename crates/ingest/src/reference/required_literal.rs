//! The text that every match of a regular expression must contain.
//!
//! A body is searched for these texts together with all other fingerprints, and an expression runs
//! only where its text was found. The reading is deliberately narrow: whatever it does not know
//! (flags, top-level alternation, Unicode classes) gives no text, and the expression always runs.

/// What an expression consists of at its outermost level.
enum Piece {
    /// one character that must stand here
    Char(char),
    /// anything that matches an unknown text: a class, a group, an anchor, `.`
    Other,
    /// the piece before may be absent
    MayBeAbsent,
    /// the piece before may be repeated
    Repeated,
}

/// The longest text that every match contains; `None` when none can be told.
pub(super) fn required_text(pattern: &str) -> Option<String> {
    let mut best = String::new();
    let mut run = String::new();
    let mut close = |run: &mut String| {
        if run.len() > best.len() {
            best.clone_from(run);
        }
        run.clear();
    };
    for piece in pieces(pattern)? {
        match piece {
            Piece::Char(c) => run.push(c),
            Piece::Other | Piece::Repeated => close(&mut run),
            Piece::MayBeAbsent => {
                run.pop();
                close(&mut run);
            }
        }
    }
    close(&mut run);
    (!best.is_empty()).then_some(best)
}

/// The text itself when the expression is nothing but text.
pub(super) fn plain_text(pattern: &str) -> Option<String> {
    let pieces = pieces(pattern)?;
    pieces.into_iter().map(|piece| if let Piece::Char(c) = piece { Some(c) } else { None }).collect()
}

/// The texts of an expression that is nothing but texts with `.*` between them. Such an expression
/// matches wherever the texts follow each other, as long as what lies between is text (UTF-8) too.
pub(super) fn sequence(pattern: &str) -> Option<Vec<String>> {
    // An escaped dot, a class or a group that is cut apart here leaves parts that are no plain text.
    let parts = pattern.split(".*").filter(|part| !part.is_empty());
    let texts = parts.map(plain_text).collect::<Option<Vec<String>>>()?;
    (!texts.is_empty()).then_some(texts)
}

/// Escapes each `{` that begins no counted repetition: RE2 and Python read it as itself (OONI's table
/// has `{"msg":.*"id":`), the regex crate refuses it.
pub(super) fn escape_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if c == '\\' {
            taken += rest[1..].chars().next().map_or(0, char::len_utf8);
        } else if c == '{' && counted(rest).is_none() {
            out.push('\\');
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// Length of a counted repetition (`{3}`, `{2,}`, `{2,5}`) at the start of `text`.
fn counted(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('{')?;
    let end = inside.find('}')?;
    let (low, high) = inside[..end].split_once(',').unwrap_or((&inside[..end], ""));
    let is_number = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    (!low.is_empty() && is_number(low) && is_number(high)).then_some(end + 2)
}

fn pieces(pattern: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let (piece, taken) = match c {
            '|' | ')' => return None,
            '\\' => {
                let (piece, length) = escaped(after)?;
                (piece, 1 + length)
            }
            '.' | '^' | '$' => (Piece::Other, 1),
            '*' | '?' => (Piece::MayBeAbsent, 1),
            '+' => (Piece::Repeated, 1),
            '[' => (Piece::Other, class_length(rest)?),
            '(' => (Piece::Other, group_length(rest)?),
            '{' => match counted(rest) {
                Some(length) => (Piece::MayBeAbsent, length),
                None => (Piece::Char('{'), 1),
            },
            other => (Piece::Char(other), other.len_utf8()),
        };
        pieces.push(piece);
        rest = &rest[taken..];
    }
    Some(pieces)
}

fn escaped(after: &str) -> Option<(Piece, usize)> {
    let c = after.chars().next()?;
    let piece = match c {
        'n' => Piece::Char('\n'),
        'r' => Piece::Char('\r'),
        't' => Piece::Char('\t'),
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'b' | 'B' => Piece::Other,
        c if c.is_ascii_punctuation() && c != '<' && c != '>' => Piece::Char(c),
        _ => return None,
    };
    Some((piece, c.len_utf8()))
}

/// Length of a bracketed class; nested classes are not read.
fn class_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    if bytes.get(at) == Some(&b'^') {
        at += 1;
    }
    if bytes.get(at) == Some(&b']') {
        at += 1;
    }
    loop {
        match bytes.get(at)? {
            b']' => return Some(at + 1),
            b'[' => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Length of a group without flags, nested ones included.
fn group_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    loop {
        match bytes.get(at)? {
            b'(' if bytes.get(at + 1) == Some(&b'?') => return None,
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'[' => at += class_length(text.get(at..)?)? - 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_outside_of_choices_is_required() {
        for (pattern, text) in [
            (r"URL .* Sp.*er Gate", Some("er Gate")),
            (r"block please.*http://www\.internet\.gov\.sa", Some("http://www.internet.gov.sa")),
            (r"colou?r bar", Some("r bar")),
            (r"abc+d", Some("abc")),
            (r"abcd*", Some("abc")),
            (r"abc{2}d", Some("ab")),
            (r#"{"msg":.*"id":"#, Some(r#"{"msg":"#)),
            (r"�.*�", Some("�")),
            (r"(one|two) three", Some(" three")),
            (r"[a-z\]]+ three", Some(" three")),
            (r"one|two", None),
            (r"(?i)one", None),
            (r".*", None),
            (r"\p{L}abc", None),
            (r"abc\", None),
            ("", None),
        ] {
            assert_eq!(required_text(pattern).as_deref(), text, "{pattern}");
        }
    }

    #[test]
    fn required_text_stands_in_whatever_the_expression_matches() {
        let bodies =
            ["ab+c abbbc", "xaabcc", "color bar", "colour bar", "abccd", "a{b}", "onetwo three", "aa\nbb"];
        for pattern in
            ["ab+c", "a*bc+", "colou?r", "abc{2}d", r"a\{b}", "(one|two)+ three", r"a\nb", "[ab]{2}.b"]
        {
            let regex = super::super::fingerprints::compile(pattern).unwrap();
            let text = required_text(pattern);
            for body in bodies.iter().filter(|b| regex.is_match(b.as_bytes())) {
                assert!(text.as_ref().is_none_or(|t| body.contains(t.as_str())), "{pattern} {body}");
            }
        }
    }

    #[test]
    fn texts_with_gaps_are_told_from_every_other_expression() {
        let texts = |pattern: &str| sequence(pattern).map(|texts| texts.join("|"));
        assert_eq!(texts(r"URL .* Sp.*er Gate").as_deref(), Some("URL | Sp|er Gate"));
        assert_eq!(texts(r"U\.S\..*Command").as_deref(), Some("U.S.|Command"));
        assert_eq!(texts(r".*abc.*.*").as_deref(), Some("abc"));
        for other in [r"a\.*b", r"a.*?b", r"(a.*b)", r"[.*]", r"a.b", r"a.*{2}b", r"a|b", r"a.*b+", ".*", ""]
        {
            assert_eq!(texts(other), None, "{other}");
        }
    }

    #[test]
    fn plain_text_is_told_from_expressions() {
        assert_eq!(plain_text(r"<b>a\.b/c{d}</b>").as_deref(), Some("<b>a.b/c{d}</b>"));
        assert_eq!(plain_text(r"a.b"), None);
        assert_eq!(plain_text(r"ab+"), None);
        assert_eq!(escape_braces(r#"{"a{2}\{"#), r#"\{"a{2}\{"#);
    }
}
