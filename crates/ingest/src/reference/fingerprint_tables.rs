//! Fingerprint tables of OONI, Citizen Lab and Censored Planet, read as one kind of row.
//!
//! Censored Planet writes regular expressions over whole responses. Those that are plain text become
//! `contains`; those that are a bare URL are matched in `Location`, where they were seen: in a body
//! they would accuse every page that links there.

use serde::Deserialize;

use super::required_literal::plain_text;
use super::tables::{Content, FingerprintRow, Parsed, PatternType, csv_reader};

fn parsed(rows: Vec<FingerprintRow>, skipped: u64, qualifier: &str) -> Parsed {
    let mut notes = Vec::new();
    for row in rows.iter().filter(|row| row.pattern_type == PatternType::Regexp) {
        if super::fingerprints::compile(&row.pattern).is_none() {
            notes.push(format!("{}: its regular expression does not compile; it never matches", row.id));
        }
    }
    Parsed {
        rows: rows.len() as u64,
        content: Content::Fingerprints(rows),
        skipped,
        overlapping: 0,
        notes,
        date: None,
        qualifier: qualifier.to_owned(),
    }
}

/// Country codes in any of the spellings: `RU`, `AE, SA`, `['ID']`. df trap 26: comma and blank.
/// `ZZ` is OONI's word for unknown and names no country.
fn countries(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    let mut codes: Vec<String> =
        words.filter(|w| w.len() == 2).map(str::to_ascii_uppercase).filter(|w| w != "ZZ").collect();
    codes.sort();
    codes.dedup();
    codes
}

fn names(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Reads rows with `row`, which gives `None` for those that cannot be used.
fn csv_rows<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    row: impl Fn(T) -> Option<FingerprintRow>,
) -> (Vec<FingerprintRow>, u64) {
    let (mut rows, mut skipped) = (Vec::new(), 0);
    for record in csv_reader(bytes, true).deserialize::<T>() {
        // A pattern without text would match everything.
        match record.ok().and_then(&row).filter(|r| !r.pattern.is_empty() && !r.id.is_empty()) {
            Some(row) => rows.push(row),
            None => skipped += 1,
        }
    }
    (rows, skipped)
}

#[derive(Deserialize)]
struct OoniRow {
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    other_names: String,
    location_found: String,
    pattern_type: String,
    pattern: String,
    #[serde(default)]
    expected_countries: String,
}

/// ooni/blocking-fingerprints, README: columns and their meaning.
pub(super) fn ooni(bytes: &[u8]) -> Parsed {
    let (rows, skipped) = csv_rows(bytes, |row: OoniRow| {
        let pattern_type = match row.pattern_type.trim() {
            "full" => PatternType::Full,
            "prefix" => PatternType::Prefix,
            "contains" => PatternType::Contains,
            "regexp" => PatternType::Regexp,
            _ => return None,
        };
        let location = row.location_found.trim().to_ascii_lowercase();
        let is_known = matches!(location.as_str(), "body" | "dns") || location.starts_with("header.");
        is_known.then(|| FingerprintRow {
            id: row.name,
            other_names: names(&row.other_names),
            scope: row.scope,
            location,
            pattern_type,
            pattern: row.pattern,
            countries: countries(&row.expected_countries),
        })
    });
    let is_dns = !rows.is_empty() && rows.iter().all(|row| row.location == "dns");
    parsed(rows, skipped, if is_dns { "dns" } else { "http" })
}

#[derive(Deserialize)]
struct CitizenLabHttpRow {
    name: String,
    pattern: String,
    location_found: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    expected_countries: String,
}

/// citizenlab/filtering-annotations, `data/v1/http.csv`: patterns are plain substrings.
pub(super) fn citizen_lab_http(bytes: &[u8]) -> Parsed {
    let (rows, skipped) = csv_rows(bytes, |row: CitizenLabHttpRow| {
        let location = row.location_found.trim().to_ascii_lowercase();
        matches!(location.as_str(), "body" | "header").then(|| FingerprintRow {
            id: format!("cl.{}", row.name),
            other_names: Vec::new(),
            scope: row.scope,
            location,
            pattern_type: PatternType::Contains,
            pattern: row.pattern,
            countries: countries(&row.expected_countries),
        })
    });
    parsed(rows, skipped, "http")
}

#[derive(Deserialize)]
struct CitizenLabDnsRow {
    name: String,
    response: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    expected_countries: String,
}

/// citizenlab/filtering-annotations, `data/v1/dns.csv`: the whole answer. Scope `br` (a bogon by
/// convention, such as 127.0.0.1) is left to the bogon list.
pub(super) fn citizen_lab_dns(bytes: &[u8]) -> Parsed {
    let (rows, skipped) = csv_rows(bytes, |row: CitizenLabDnsRow| {
        (row.scope != "br").then(|| FingerprintRow {
            id: format!("cl.{}", row.name),
            other_names: Vec::new(),
            scope: row.scope,
            location: "dns".into(),
            pattern_type: PatternType::Full,
            pattern: row.response,
            countries: countries(&row.expected_countries),
        })
    });
    parsed(rows, skipped, "dns")
}

#[derive(Deserialize)]
struct Signature {
    fingerprint: String,
    pattern: String,
}

/// Censored Planet, `assets-censoredplanet`: the first letter of a name is its class (a product,
/// b national, c provider, d organisation, e and f unknown or generic; r, p and x are no blockpage).
pub(super) fn censored_planet(bytes: &[u8]) -> Parsed {
    let (mut signatures, mut skipped) = (Vec::new(), 0);
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        match serde_json::from_slice::<Signature>(line).ok().filter(|s| !s.pattern.is_empty()) {
            Some(signature) => signatures.push(signature),
            None => skipped += 1,
        }
    }
    // The file of false positives has many prefixes of its own (`sa`, `s3` …), but mostly these.
    let of_fp = signatures.iter().filter(|s| signature_scope(&s.fingerprint) == "fp").count();
    let is_fp = of_fp * 2 > signatures.len();
    let rows = signatures.iter().map(|signature| signature_row(signature, is_fp)).collect();
    parsed(rows, skipped, if is_fp { "false-positives" } else { "blockpages" })
}

fn signature_scope(name: &str) -> &'static str {
    match name.get(..2) {
        Some("a_") => "prod",
        Some("b_") => "nat",
        Some("c_") => "isp",
        Some("d_") => "inst",
        Some("p_" | "r_" | "x_") => "fp",
        _ => "vbw",
    }
}

fn signature_row(signature: &Signature, is_fp_table: bool) -> FingerprintRow {
    let name = signature.fingerprint.as_str();
    let scope = if is_fp_table { "fp" } else { signature_scope(name) };
    // `b_nat_kr_comm`, `c_isp_ru_mark`: the third word of national and provider pages is a country.
    let third = name.split('_').nth(2).filter(|word| word.len() == 2 && matches!(scope, "nat" | "isp"));
    let (pattern_type, pattern) = match plain_text(&signature.pattern) {
        Some(text) => (PatternType::Contains, text),
        None => (PatternType::Regexp, signature.pattern.clone()),
    };
    let (location, pattern) = signature_location(pattern_type, pattern);
    FingerprintRow {
        // OONI's table calls Censored Planet's false positives cp.fp_NAME.
        id: if scope == "fp" { format!("cp.fp_{name}") } else { format!("cp.{name}") },
        other_names: Vec::new(),
        scope: scope.into(),
        location,
        pattern_type,
        pattern,
        countries: third.map(countries).unwrap_or_default(),
    }
}

fn signature_location(pattern_type: PatternType, pattern: String) -> (String, String) {
    if pattern_type != PatternType::Contains {
        return ("body".into(), pattern);
    }
    let is_url = (pattern.starts_with("http://") || pattern.starts_with("https://"))
        && !pattern.contains([' ', '<', '"', '\'']);
    if is_url {
        return ("header.location".into(), pattern);
    }
    for header in ["Server", "Location", "Via"] {
        if let Some(value) = pattern.strip_prefix(header).and_then(|rest| rest.strip_prefix(": "))
            && !value.is_empty()
        {
            return (format!("header.{}", header.to_ascii_lowercase()), value.to_owned());
        }
    }
    ("body".into(), pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(parsed: &Parsed) -> &[FingerprintRow] {
        match &parsed.content {
            Content::Fingerprints(rows) => rows,
            _ => panic!("no fingerprints"),
        }
    }

    #[test]
    fn df_trap_26_countries_are_split_at_comma_and_blank_and_fields_may_hold_line_ends() {
        let csv = "name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries,source,exp_url,notes\n\
                   ooni.ae_0,nat,ooni.sa_1,header.Server,prefix,Protected,5,\"AE, SA\",ooni,,\n\
                   ooni.xx,fp,,body,contains,\"two\nlines\",5,\"GR,ZZ\",ooni,,\"a \"\"quoted\"\" note\"\n\
                   ooni.bad,fp,,body,glob,x,5,,ooni,,\nooni.empty,fp,,body,contains,,5,,ooni,,\nshort\n";
        let parsed = ooni(csv.as_bytes());
        assert_eq!((parsed.rows, parsed.skipped), (2, 3));
        let rows = rows(&parsed);
        assert_eq!(
            (rows[0].location.as_str(), &rows[0].countries[..]),
            ("header.server", &["AE".into(), "SA".into()][..])
        );
        assert_eq!((rows[1].pattern.as_str(), &rows[1].countries[..]), ("two\nlines", &["GR".into()][..]));
    }

    #[test]
    fn censored_planet_text_is_unescaped_and_bare_urls_are_matched_where_redirects_point() {
        let lines = concat!(
            r#"{"fingerprint":"a_prod_f_2","pattern":"fortinet\\.net"}"#,
            "\n",
            r#"{"fingerprint":"c_isp_ru_x","pattern":"http://block\\.example\\.ru/"}"#,
            "\n",
            r#"{"fingerprint":"a_prod_b","pattern":"Server: Barracuda/NGFirewall"}"#,
            "\n",
            r#"{"fingerprint":"e_unk_s","pattern":"URL .* Sp.*er Gate"}"#,
            "\n",
            r#"{"fingerprint":"x_nginx","pattern":"Thank you"}"#,
            "\nnot json\n",
        );
        let parsed = censored_planet(lines.as_bytes());
        assert_eq!((parsed.rows, parsed.skipped), (5, 1));
        let seen: Vec<_> = rows(&parsed)
            .iter()
            .map(|r| {
                (
                    r.id.as_str(),
                    r.location.as_str(),
                    r.pattern_type,
                    r.pattern.as_str(),
                    r.countries.join(","),
                )
            })
            .collect();
        assert_eq!(seen[0], ("cp.a_prod_f_2", "body", PatternType::Contains, "fortinet.net", String::new()));
        assert_eq!(
            seen[1],
            (
                "cp.c_isp_ru_x",
                "header.location",
                PatternType::Contains,
                "http://block.example.ru/",
                "RU".into()
            )
        );
        assert_eq!(
            seen[2],
            ("cp.a_prod_b", "header.server", PatternType::Contains, "Barracuda/NGFirewall", String::new())
        );
        assert_eq!(seen[3].2, PatternType::Regexp);
        assert_eq!((seen[4].0, rows(&parsed)[4].scope.as_str()), ("cp.fp_x_nginx", "fp"));
    }

    #[test]
    fn a_regular_expression_that_does_not_compile_is_noted_by_name() {
        let csv = "name,scope,other_names,location_found,pattern_type,pattern\nbad,isp,,body,regexp,(((\n";
        let parsed = ooni(csv.as_bytes());
        assert_eq!(parsed.rows, 1);
        assert!(parsed.notes[0].starts_with("bad: "));
    }
}
