//! Which table a file is, told from its first bytes, never from its name alone.

/// A format that can be read as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// ip-location-db: `start,end,asn,"organisation"`
    AsnCsv,
    /// ip-location-db: `start,end,CC`
    CountryCsv,
    /// regional registry: `registry|CC|ipv4|start|count|date|status`
    Delegated,
    /// ipverse: one country, prefixes by family
    Ipverse,
    /// OONI blocking-fingerprints, DNS and HTTP alike
    OoniFingerprints,
    /// Citizen Lab filtering-annotations, `http.csv`
    CitizenLabHttp,
    /// Citizen Lab filtering-annotations, `dns.csv`
    CitizenLabDns,
    /// Censored Planet signatures, one JSON object a line
    CensoredPlanet,
    /// Citizen Lab test list
    TestList,
}

impl Format {
    /// Every format, for fuzzing.
    pub const ALL: [Self; 9] = [
        Self::AsnCsv,
        Self::CountryCsv,
        Self::Delegated,
        Self::Ipverse,
        Self::OoniFingerprints,
        Self::CitizenLabHttp,
        Self::CitizenLabDns,
        Self::CensoredPlanet,
        Self::TestList,
    ];
}

/// Bytes of a file that are looked at.
pub(super) const HEAD_BYTES: usize = 8 << 10;

/// Tells the format from the first bytes of the unpacked file.
pub(super) fn recognise(head: &[u8]) -> Option<Format> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = String::from_utf8_lossy(head);
    let first = text.lines().next()?.trim_end();
    if first.starts_with("name,") && first.contains("location_found,pattern_type,pattern") {
        return Some(Format::OoniFingerprints);
    }
    if first.starts_with("name,common_name,pattern,location_found") {
        return Some(Format::CitizenLabHttp);
    }
    if first.starts_with("name,response,confidence_no_fp") {
        return Some(Format::CitizenLabDns);
    }
    if first.starts_with("url,category_code") {
        return Some(Format::TestList);
    }
    if first.starts_with("{\"fingerprint\"") && first.contains("\"pattern\"") {
        return Some(Format::CensoredPlanet);
    }
    if first.starts_with('{') {
        let is_prefixes = text.contains("\"countryCode\"") && text.contains("\"prefixes\"");
        return is_prefixes.then_some(Format::Ipverse);
    }
    let mut rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.by_ref().take(20).find_map(row_format)
}

fn row_format(line: &str) -> Option<Format> {
    let mut bars = line.split('|');
    if let (Some(_), Some(country), Some("asn" | "ipv4" | "ipv6"), Some(_)) =
        (bars.next(), bars.next(), bars.next(), bars.next())
        && (country == "*" || country.is_empty() || country.len() == 2)
    {
        return Some(Format::Delegated);
    }
    let mut fields = line.split(',');
    let (start, end, value) = (fields.next()?, fields.next()?, fields.next()?);
    super::tables::address(start)?;
    super::tables::address(end)?;
    let value = value.trim_matches('"');
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) && fields.next().is_some() {
        return Some(Format::AsnCsv);
    }
    (value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic())).then_some(Format::CountryCsv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_told_from_its_first_lines() {
        for (head, format) in [
            ("1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n", Some(Format::AsnCsv)),
            ("garbage\n2001:200::,2001:200::ff,JP\n", Some(Format::CountryCsv)),
            ("16777216,16777471,AU\n", Some(Format::CountryCsv)),
            (
                "# conditions\n2|ripencc|1|2|3|20140630|+0200\nripencc|*|ipv4|*|49932|summary\n",
                Some(Format::Delegated),
            ),
            ("{\n \"countryCode\" : \"RU\",\n \"prefixes\" : {", Some(Format::Ipverse)),
            (
                "name,scope,other_names,location_found,pattern_type,pattern,x\n",
                Some(Format::OoniFingerprints),
            ),
            ("name,common_name,pattern,location_found,exp_url\n", Some(Format::CitizenLabHttp)),
            ("name,response,confidence_no_fp\n", Some(Format::CitizenLabDns)),
            ("{\"fingerprint\":\"a\",\"pattern\":\"b\"}\n", Some(Format::CensoredPlanet)),
            ("url,category_code,category_description\n", Some(Format::TestList)),
            ("ip,country\n", None),
            ("{\"a\":1}", None),
            ("", None),
        ] {
            assert_eq!(recognise(head.as_bytes()), format, "{head}");
        }
    }
}
