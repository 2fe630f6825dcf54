//! Bytes of a recognised file to rows; whatever cannot be read is counted.

use std::net::IpAddr;

use hashbrown::HashMap;
use okno_model::{Country, FingerprintScope, Timestamp};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::networks::{Networks, RangeTable, country_value};
use super::ranges::{Ranges, Row};
use super::recognise::Format;

/// How a fingerprint's pattern is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PatternType {
    /// equal to the whole
    Full,
    /// the whole begins with it
    Prefix,
    /// somewhere inside
    Contains,
    /// a regular expression, `.` matches line ends too
    Regexp,
}

/// One fingerprint as tables hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FingerprintRow {
    pub id: String,
    /// names that other tables give it
    pub other_names: Vec<String>,
    /// OONI's word
    pub scope: String,
    /// `dns`, `body`, `header` (any) or `header.NAME`
    pub location: String,
    pub pattern_type: PatternType,
    pub pattern: String,
    /// country codes, sorted
    pub countries: Vec<String>,
}

/// One host of a test list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct HostRow {
    pub host: String,
    pub category: String,
    /// whether the list names the host itself, not one page of it
    pub root: bool,
}

/// The content of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Networks(RangeTable),
    Countries(RangeTable),
    Fingerprints(Vec<FingerprintRow>),
    Hosts(Vec<HostRow>),
}

/// What reading a file gave.
#[derive(Debug)]
pub(super) struct Parsed {
    pub content: Content,
    pub rows: u64,
    pub skipped: u64,
    pub overlapping: u64,
    pub notes: Vec<String>,
    /// date that the content itself names, `YYYY-MM-DD`
    pub date: Option<String>,
    /// part of the name that only the content knows: a registry, a country
    pub qualifier: String,
}

impl Parsed {
    fn new(content: Content) -> Self {
        Self {
            content,
            rows: 0,
            skipped: 0,
            overlapping: 0,
            notes: Vec::new(),
            date: None,
            qualifier: String::new(),
        }
    }
}

/// Reads bytes as a format. Any bytes give a table, an empty one at worst.
pub(super) fn parse(format: Format, bytes: &[u8]) -> Parsed {
    match format {
        Format::AsnCsv | Format::CountryCsv => range_csv(format, bytes),
        Format::Delegated => delegated(bytes),
        Format::Ipverse => ipverse(bytes),
        Format::OoniFingerprints => super::fingerprint_tables::ooni(bytes),
        Format::CitizenLabHttp => super::fingerprint_tables::citizen_lab_http(bytes),
        Format::CitizenLabDns => super::fingerprint_tables::citizen_lab_dns(bytes),
        Format::CensoredPlanet => super::fingerprint_tables::censored_planet(bytes),
        Format::TestList => test_list(bytes),
    }
}

/// A CSV reader that takes rows of any length.
pub(super) fn csv_reader(bytes: &[u8], has_headers: bool) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(has_headers).flexible(true).from_reader(bytes)
}

/// An address in its usual form, or as a number (the `-num` files of ip-location-db).
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match text.parse::<u32>() {
        Ok(number) => Some(IpAddr::V4(number.into())),
        Err(_) => text.parse::<u128>().ok().map(|number| IpAddr::V6(number.into())),
    }
}

/// Collects ranges of both families.
#[derive(Default)]
struct RangeRows {
    v4: Vec<Row<u32>>,
    v6: Vec<Row<u128>>,
}

impl RangeRows {
    /// `None` when the ends are of two families or in the wrong order.
    fn push(&mut self, start: IpAddr, end: IpAddr, value: u32) -> Option<()> {
        match (start, end) {
            (IpAddr::V4(a), IpAddr::V4(b)) if a <= b => {
                self.v4.push(Row { start: a.into(), end: b.into(), value });
            }
            (IpAddr::V6(a), IpAddr::V6(b)) if a <= b => {
                self.v6.push(Row { start: a.into(), end: b.into(), value });
            }
            _ => return None,
        }
        Some(())
    }

    fn finish(mut self, networks: &[(u32, String)], parsed: &mut Parsed) {
        let (networks, places) = Networks::sorted(networks);
        if !places.is_empty() {
            let place = |value: u32| places[value as usize - 1] + 1;
            self.v4.iter_mut().for_each(|row| row.value = place(row.value));
            self.v6.iter_mut().for_each(|row| row.value = place(row.value));
        }
        let (v4, overlapping4) = Ranges::build(self.v4);
        let (v6, overlapping6) = Ranges::build(self.v6);
        parsed.overlapping = overlapping4 + overlapping6;
        let table = RangeTable { v4, v6, networks };
        match &mut parsed.content {
            Content::Networks(empty) | Content::Countries(empty) => *empty = table,
            Content::Fingerprints(_) | Content::Hosts(_) => {}
        }
    }
}

/// ip-location-db, README "CSV Format": inclusive range, then AS number and organisation, or country.
fn range_csv(format: Format, bytes: &[u8]) -> Parsed {
    let is_asn = format == Format::AsnCsv;
    let empty = RangeTable::default();
    let mut parsed = Parsed::new(if is_asn { Content::Networks(empty) } else { Content::Countries(empty) });
    let mut rows = RangeRows::default();
    let mut networks: Vec<(u32, String)> = Vec::new();
    let mut known: HashMap<u32, Vec<u32>, Xxh3DefaultBuilder> = HashMap::default();
    let mut reader = csv_reader(bytes, false);
    let mut record = csv::StringRecord::new();
    let mut value_of = |record: &csv::StringRecord| -> Option<u32> {
        if !is_asn {
            return Country::parse(record.get(2)?).map(country_value);
        }
        let asn: u32 = record.get(2)?.parse().ok()?;
        let org = record.get(3).unwrap_or_default();
        let values = known.entry(asn).or_default();
        if let Some(value) = values.iter().find(|&&v| networks[v as usize - 1].1 == org) {
            return Some(*value);
        }
        networks.push((asn, org.to_owned()));
        let value = u32::try_from(networks.len()).ok()?;
        values.push(value);
        Some(value)
    };
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let row = (|| {
                    let (start, end) = (address(record.get(0)?)?, address(record.get(1)?)?);
                    rows.push(start, end, value_of(&record)?)
                })();
                match row {
                    Some(()) => parsed.rows += 1,
                    None => parsed.skipped += 1,
                }
            }
            Err(_) => parsed.skipped += 1,
        }
    }
    rows.finish(&networks, &mut parsed);
    parsed
}

/// RIR statistics exchange format: `registry|cc|type|start|value|date|status[|…]`, version line first.
fn delegated(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::new(Content::Countries(RangeTable::default()));
    let mut rows = RangeRows::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let fields: Vec<&str> = line.trim().split('|').collect();
        match fields[..] {
            // version|registry|serial|records|startdate|enddate|UTCoffset
            [version, registry, _, _, _, end, _] if version.starts_with(|c: char| c.is_ascii_digit()) => {
                registry.clone_into(&mut parsed.qualifier);
                parsed.date = date_in(end);
            }
            // Summary lines, AS numbers, and space that nobody has, are no rows of ours.
            [_, _, _, _, _, "summary"] | [_, _, "asn", ..] => {}
            [_, _, "ipv4" | "ipv6", _, _, _, "available" | "reserved", ..] => {}
            [_, country, family @ ("ipv4" | "ipv6"), start, size, _, _, ..] => {
                let row = delegated_range(family, start, size)
                    .and_then(|(start, end)| rows.push(start, end, country_value(Country::parse(country)?)));
                match row {
                    Some(()) => parsed.rows += 1,
                    None => parsed.skipped += 1,
                }
            }
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => parsed.skipped += 1,
        }
    }
    rows.finish(&[], &mut parsed);
    parsed
}

/// IPv4 rows give a count of addresses, IPv6 rows a prefix length.
fn delegated_range(family: &str, start: &str, size: &str) -> Option<(IpAddr, IpAddr)> {
    if family == "ipv6" {
        return prefix_range(start, size);
    }
    let IpAddr::V4(start) = start.parse().ok()? else { return None };
    let end = u32::from(start).checked_add(size.parse::<u32>().ok()?.checked_sub(1)?)?;
    Some((start.into(), IpAddr::V4(end.into())))
}

/// First and last address of a prefix.
fn prefix_range(start: &str, length: &str) -> Option<(IpAddr, IpAddr)> {
    let length: u32 = length.parse().ok()?;
    match start.parse().ok()? {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            (length <= 32).then(|| (IpAddr::V4(v4), IpAddr::V4((u32::from(v4) | hosts).into())))
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(length).unwrap_or(0);
            (length <= 128).then(|| (IpAddr::V6(v6), IpAddr::V6((u128::from(v6) | hosts).into())))
        }
    }
}

#[derive(Deserialize)]
struct IpverseFile {
    #[serde(rename = "countryCode")]
    country: String,
    prefixes: IpversePrefixes,
}

#[derive(Deserialize)]
struct IpversePrefixes {
    #[serde(default)]
    ipv4: Vec<String>,
    #[serde(default)]
    ipv6: Vec<String>,
}

/// ipverse/rir-ip, `aggregated.json`: the prefixes of one country.
fn ipverse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::new(Content::Countries(RangeTable::default()));
    let Ok(file) = serde_json::from_slice::<IpverseFile>(bytes) else {
        parsed.skipped = 1;
        return parsed;
    };
    let Some(country) = Country::parse(&file.country) else {
        parsed.skipped = 1;
        return parsed;
    };
    parsed.qualifier = country.as_str().to_ascii_lowercase();
    let mut rows = RangeRows::default();
    for prefix in file.prefixes.ipv4.iter().chain(&file.prefixes.ipv6) {
        let row = prefix
            .split_once('/')
            .and_then(|(start, length)| prefix_range(start, length))
            .and_then(|(start, end)| rows.push(start, end, country_value(country)));
        match row {
            Some(()) => parsed.rows += 1,
            None => parsed.skipped += 1,
        }
    }
    rows.finish(&[], &mut parsed);
    parsed
}

/// Citizen Lab test list: `url,category_code,category_description,date_added,source,notes`. Where the
/// file has no date of its own, the youngest `date_added` stands for it.
fn test_list(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::new(Content::Hosts(Vec::new()));
    let mut hosts = Vec::new();
    let mut reader = csv_reader(bytes, true);
    let date_column =
        reader.headers().ok().and_then(|headers| headers.iter().position(|name| name == "date_added"));
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let row = record.get(0).and_then(url_host).zip(record.get(1).map(str::trim));
                let Some(((host, root), category)) = row.filter(|(_, category)| !category.is_empty()) else {
                    parsed.skipped += 1;
                    continue;
                };
                parsed.rows += 1;
                hosts.push(HostRow { host, category: category.to_owned(), root });
                let added = date_column.and_then(|column| record.get(column)).and_then(date_in);
                parsed.date = parsed.date.take().max(added);
            }
            Err(_) => parsed.skipped += 1,
        }
    }
    hosts.sort();
    let before = hosts.len();
    hosts.dedup();
    parsed.overlapping = (before - hosts.len()) as u64;
    parsed.content = Content::Hosts(hosts);
    parsed
}

/// Host of a URL in ASCII, lower case, without the final dot, and whether the URL names the host alone.
fn url_host(text: &str) -> Option<(String, bool)> {
    let text = text.trim();
    let url = url::Url::parse(text).or_else(|_| url::Url::parse(&format!("http://{text}"))).ok()?;
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    let root = url.path() == "/" && url.query().is_none();
    (!host.is_empty()).then_some((host, root))
}

/// The first date in a text, `YYYY-MM-DD` or eight digits, of the years 1990 to 2099.
pub(super) fn date_in(text: &str) -> Option<String> {
    let starts = text.char_indices().map(|(at, _)| at);
    starts
        .filter(|at| !text[..*at].ends_with(|c: char| c.is_ascii_digit()))
        .find_map(|at| date_at_start(&text[at..]))
}

/// The date that a text begins with.
pub(super) fn date_at_start(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digits = match bytes.get(..10) {
        Some([y @ .., b'-', m1, m2, b'-', d1, d2]) => [y, &[*m1, *m2, *d1, *d2]].concat(),
        _ => bytes.get(..8)?.to_vec(),
    };
    if !digits.iter().all(u8::is_ascii_digit) || !(digits.starts_with(b"199") || digits.starts_with(b"20")) {
        return None;
    }
    let digits = String::from_utf8(digits).ok()?;
    let date = format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..8]);
    Timestamp::parse(&date).is_some().then_some(date)
}

/// OONI's scope of a word of another table: a benign injection or a provider's own notice is no
/// evidence of blocking (Citizen Lab filtering-annotations, README: `injb`, `prov`).
pub(super) fn scope(word: &str) -> FingerprintScope {
    match word.trim() {
        "injb" | "prov" => FingerprintScope::Fp,
        other => FingerprintScope::parse(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn countries(parsed: &Parsed) -> &RangeTable {
        match &parsed.content {
            Content::Countries(table) | Content::Networks(table) => table,
            _ => panic!("not a range table"),
        }
    }

    #[test]
    fn garbage_rows_of_a_network_table_are_counted_and_the_rest_is_kept() {
        let csv = b"1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\nnonsense\n1.0.4.0,::1,1,x\n1.0.8.0,1.0.7.0,1,x\n\
                    1.0.0.128,1.0.0.200,7,Overlap\n2001:200::,2001:200:1b9:ffff:ffff:ffff:ffff:ffff,2500,WIDE\n\xff,\xfe,1,x\n";
        let parsed = parse(Format::AsnCsv, csv);
        assert_eq!((parsed.rows, parsed.skipped, parsed.overlapping), (3, 4, 1));
        let Content::Networks(table) = &parsed.content else { panic!() };
        let place = table.v4.value(0x0100_0001) as usize - 1;
        assert_eq!(
            (table.networks.asns[place], table.networks.name(place)),
            (13335, Some("Cloudflare, Inc."))
        );
        assert_ne!(table.v6.value(0x2001_0200 << 96), 0);
    }

    #[test]
    fn numeric_country_files_are_read_as_their_readme_says() {
        let parsed = parse(
            Format::CountryCsv,
            b"16777216,16777471,AU\n42540528726795050063891204319802818560,42540528806023212578155541913346768895,JP\n",
        );
        assert_eq!(countries(&parsed).v4.value(0x0100_0000), country_value(Country::parse("AU").unwrap()));
        assert_eq!(
            countries(&parsed).v6.value(0x2001_0200 << 96),
            country_value(Country::parse("JP").unwrap())
        );
    }

    #[test]
    fn delegations_count_ipv4_addresses_and_ipv6_prefix_lengths() {
        let text = "2|ripencc|1404165599|85681|19830705|20140630|+0200\nripencc|*|ipv4|*|49932|summary\n\
                    ripencc|FR|ipv4|2.0.0.0|1048576|20100712|allocated\nripencc||ipv4|2.64.0.0|256||available\n\
                    ripencc|DE|ipv6|2001:600::|32|19990826|allocated\nripencc|FR|asn|248|1|19930901|allocated\n\
                    ripencc|XX1|ipv4|2.99.0.0|256|20100712|allocated\n";
        let parsed = parse(Format::Delegated, text.as_bytes());
        assert_eq!((parsed.rows, parsed.skipped), (2, 1));
        assert_eq!((parsed.date.as_deref(), parsed.qualifier.as_str()), (Some("2014-06-30"), "ripencc"));
        let table = countries(&parsed);
        assert_eq!(table.v4.value(0x020f_ffff), country_value(Country::parse("FR").unwrap()));
        assert_eq!(table.v4.value(0x0210_0000), 0);
        assert_ne!(table.v6.value((0x2001_0600 << 96) | 5), 0);
    }

    #[test]
    fn test_list_hosts_are_ascii_and_the_youngest_row_dates_the_list() {
        let csv = "url,category_code,category_description,date_added,source,notes\n\
                   http://Пример.рф/,NEWS,News,2014-04-15,x,\nhttps://www.Example.org/page,HUMR,x,2020-02-03,x,\n\
                   http:///www.blackblocg.info,HATE,Hate,2014-04-15,x,\n,X,,,,\n";
        let parsed = parse(Format::TestList, csv.as_bytes());
        let Content::Hosts(hosts) = &parsed.content else { panic!() };
        let names: Vec<_> = hosts.iter().map(|h| (h.host.as_str(), h.root)).collect();
        assert_eq!(
            names,
            [("www.blackblocg.info", true), ("www.example.org", false), ("xn--e1afmkfd.xn--p1ai", true)]
        );
        assert_eq!((parsed.rows, parsed.skipped, parsed.date.as_deref()), (3, 1, Some("2020-02-03")));
    }

    #[test]
    fn dates_are_found_in_file_names_and_package_versions() {
        assert_eq!(date_in("asn-ipv4-2025040218.csv.zst").as_deref(), Some("2025-04-02"));
        assert_eq!(date_in("2.3.2026061719").as_deref(), Some("2026-06-17"));
        assert_eq!(date_in("2026-01-02T114003_a98e416e.txt").as_deref(), Some("2026-01-02"));
        assert_eq!(date_in("1404165599"), None);
        assert_eq!(date_in("asn-ipv4.csv"), None);
        assert_eq!(date_in("20259999"), None);
    }
}
