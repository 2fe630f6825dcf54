//! Fills the report's facts from the lake, by SQL: whatever the page says, a reader can ask again.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use okno_detect::Ruleset;
use okno_ingest::reference::Reference;
use okno_store::{Format, Session};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::report::facts::{
    BucketFacts, CellFacts, ClockFacts, ControlCounts, CountryCount, FORMAT_VERSION, MechanismCount,
    MissingReference, NettestFacts, NetworkFacts, QualityFacts, ReferenceTable, RejectFacts, ReportFacts,
    RuleFacts, Scope, SoftwareCount, StateCounts, VersionFacts, Witness,
};
use crate::report::findings::{assemble, bucket_hours};

/// What the run itself knows.
pub struct Run<'r> {
    /// the rules
    pub rules: &'r Ruleset,
    /// reference data
    pub reference: &'r Reference,
    /// folder of the lake as given
    pub lake: String,
    /// hash of the lake's content
    pub lake_hash: String,
    /// the command line
    pub command: String,
}

/// Counts by state, as SQL gives them.
const STATES: &str = "count(*) FILTER (WHERE v.state = 'ok') AS ok, \
     count(*) FILTER (WHERE v.state = 'down') AS down, \
     count(*) FILTER (WHERE v.state = 'blocked') AS blocked, \
     count(*) FILTER (WHERE v.state = 'throttled') AS throttled, \
     count(*) FILTER (WHERE v.state = 'insufficient') AS insufficient";

/// Measurements with their verdict.
const JUDGED: &str = "measurement_verdicts v JOIN measurements m ON v.measurement_uid = m.measurement_uid";

/// Collects everything that the report says.
pub fn collect(session: &Session, run: &Run<'_>) -> Result<ReportFacts> {
    let asking = Asking { session };
    let scope = scope(&asking)?;
    let hours = bucket_hours(&scope.first_utc, &scope.last_utc);
    let mut facts = ReportFacts {
        format_version: FORMAT_VERSION,
        targets: targets(&asking, run)?,
        networks: networks(&asking, run, hours)?,
        mechanisms: asking.rows(
            "SELECT mechanism, network, country, count(*) AS measurements, count(DISTINCT target) AS targets \
             FROM measurement_verdicts WHERE mechanism IS NOT NULL GROUP BY mechanism, network, country \
             ORDER BY measurements DESC, mechanism, network, country",
        )?,
        nettests: nettests(&asking)?,
        rules: rules(&asking, run)?,
        quality: quality(&asking, run)?,
        versions: versions(&asking, run)?,
        scope,
    };
    if facts.scope.measurements == 0 {
        facts.scope.first_utc.clear();
        facts.scope.last_utc.clear();
    }
    Ok(facts)
}

struct Asking<'s> {
    session: &'s Session,
}

impl Asking<'_> {
    fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>> {
        let answer = self.session.query(sql).with_context(|| format!("in the report's query {sql}"))?;
        let mut text = Vec::new();
        answer.write(Format::Json, &mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn row<T: DeserializeOwned + Default>(&self, sql: &str) -> Result<T> {
        Ok(self.rows(sql)?.into_iter().next().unwrap_or_default())
    }
}

fn scope(asking: &Asking<'_>) -> Result<Scope> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Row {
        measurements: u64,
        first_utc: Option<String>,
        last_utc: Option<String>,
        networks: u64,
        targets: u64,
        reports: u64,
        observations: u64,
        synthetic: u64,
    }
    let row: Row = asking.row(
        "SELECT count(*) AS measurements, min(start_utc) FILTER (WHERE plausible) AS first_utc, \
         max(start_utc) FILTER (WHERE plausible) AS last_utc, \
         count(DISTINCT network) FILTER (WHERE network > 0) AS networks, count(DISTINCT target) AS targets, \
         count(DISTINCT report_id) AS reports, coalesce(sum(observations), 0) AS observations, \
         count(*) FILTER (WHERE origin = 'synthetic') AS synthetic \
         FROM (SELECT *, start_utc >= TIMESTAMP '2012-01-01T00:00:00Z' AND \
           (upload_utc IS NULL OR start_utc <= upload_utc + INTERVAL '1 day') AS plausible FROM measurements)",
    )?;
    let countries: Vec<CountryCount> = asking.rows(
        "SELECT country, count(*) AS measurements FROM measurements GROUP BY country \
         ORDER BY measurements DESC, country",
    )?;
    let states: StateCounts = asking.row(&format!("SELECT {STATES} FROM measurement_verdicts v"))?;
    Ok(Scope {
        countries,
        first_utc: row.first_utc.unwrap_or_default(),
        last_utc: row.last_utc.unwrap_or_default(),
        measurements: row.measurements,
        states,
        networks: row.networks,
        targets: row.targets,
        reports: row.reports,
        observations: row.observations,
        // A lake that holds anything made up says so, whatever else it holds.
        synthetic: row.synthetic > 0,
    })
}

/// Key of a cell: country, target, network.
type Key = (String, String, u32);

fn targets(asking: &Asking<'_>, run: &Run<'_>) -> Result<Vec<crate::report::facts::TargetFacts>> {
    #[derive(Deserialize)]
    struct Row {
        target: String,
        country: String,
        network: u32,
        #[serde(flatten)]
        counts: StateCounts,
        reports: u64,
        first_utc: String,
        last_utc: String,
        first_interference_utc: Option<String>,
        last_interference_utc: Option<String>,
    }
    let rows: Vec<Row> = asking.rows(&format!(
        "SELECT v.target, v.country, v.network, {STATES}, count(DISTINCT m.report_id) AS reports, \
         min(m.start_utc) AS first_utc, max(m.start_utc) AS last_utc, \
         min(m.start_utc) FILTER (WHERE v.anomaly) AS first_interference_utc, \
         max(m.start_utc) FILTER (WHERE v.anomaly) AS last_interference_utc \
         FROM {JUDGED} GROUP BY v.target, v.country, v.network ORDER BY v.country, v.target, v.network"
    ))?;
    let mut mechanisms = cell_mechanisms(asking)?;
    let cells: Vec<CellFacts> = rows
        .into_iter()
        .map(|row| CellFacts {
            mechanisms: mechanisms
                .remove(&(row.country.clone(), row.target.clone(), row.network))
                .unwrap_or_default(),
            target: row.target,
            country: row.country,
            network: row.network,
            counts: row.counts,
            reports: row.reports,
            first_utc: row.first_utc,
            last_utc: row.last_utc,
            first_interference_utc: row.first_interference_utc,
            last_interference_utc: row.last_interference_utc,
            ..CellFacts::default()
        })
        .collect();
    let categories: BTreeMap<String, String> = cells
        .iter()
        .filter_map(|cell| {
            let category = run.reference.test_lists.category(&cell.target)?;
            Some((cell.target.clone(), category.to_owned()))
        })
        .collect();
    let mut targets = assemble(cells, witnesses(asking)?, &categories);
    let mut undecided = undecided(asking)?;
    for target in &mut targets {
        let key = (target.country.clone(), target.target.clone());
        target.insufficient_rules = undecided.remove(&key).unwrap_or_default();
    }
    Ok(targets)
}

fn cell_mechanisms(asking: &Asking<'_>) -> Result<BTreeMap<Key, Vec<MechanismCount>>> {
    #[derive(Deserialize)]
    struct Row {
        target: String,
        country: String,
        network: u32,
        mechanism: String,
        measurements: u64,
    }
    let rows: Vec<Row> = asking.rows(
        "SELECT target, country, network, mechanism, count(*) AS measurements FROM measurement_verdicts \
         WHERE mechanism IS NOT NULL AND anomaly GROUP BY target, country, network, mechanism \
         ORDER BY target, country, network, measurements DESC, mechanism",
    )?;
    let mut map: BTreeMap<Key, Vec<MechanismCount>> = BTreeMap::new();
    for row in rows {
        let count = MechanismCount { mechanism: row.mechanism, measurements: row.measurements };
        map.entry((row.country, row.target, row.network)).or_default().push(count);
    }
    Ok(map)
}

fn undecided(
    asking: &Asking<'_>,
) -> Result<BTreeMap<(String, String), Vec<crate::report::facts::RuleCount>>> {
    #[derive(Deserialize)]
    struct Row {
        target: String,
        country: String,
        rule: String,
        measurements: u64,
    }
    let rows: Vec<Row> = asking.rows(
        "SELECT target, country, rule, count(DISTINCT measurement_uid) AS measurements FROM verdicts \
         WHERE state = 'insufficient' GROUP BY target, country, rule \
         ORDER BY target, country, measurements DESC, rule",
    )?;
    let mut map: BTreeMap<(String, String), Vec<crate::report::facts::RuleCount>> = BTreeMap::new();
    for row in rows {
        let list = map.entry((row.country, row.target)).or_default();
        if list.len() < 3 {
            list.push(crate::report::facts::RuleCount { rule: row.rule, measurements: row.measurements });
        }
    }
    Ok(map)
}

fn witnesses(asking: &Asking<'_>) -> Result<Vec<Witness>> {
    asking.rows(
        "SELECT target, country, network, state, measurement_uid, test_name, start_utc, witness, mechanism, \
         rule, probability, fingerprint FROM (\
           SELECT *, row_number() OVER (PARTITION BY country, target, state, network \
             ORDER BY probability DESC, start_utc DESC, measurement_uid, hop, layer, hostname, witness) AS place, \
             row_number() OVER (PARTITION BY country, target, state \
             ORDER BY probability DESC, start_utc DESC, measurement_uid, hop, layer, hostname, witness) AS overall \
           FROM verdicts WHERE state IN ('blocked', 'throttled', 'down') AND witness IS NOT NULL) \
         WHERE place = 1 OR overall = 1 ORDER BY country, target, state, overall",
    )
}

fn networks(asking: &Asking<'_>, run: &Run<'_>, hours: u32) -> Result<Vec<NetworkFacts>> {
    #[derive(Deserialize)]
    struct Row {
        network: u32,
        country: String,
        name: Option<String>,
        #[serde(flatten)]
        counts: StateCounts,
        measurements: u64,
        targets: u64,
        reports: u64,
        last_utc: String,
    }
    #[derive(Deserialize)]
    struct Bucket {
        network: u32,
        country: String,
        #[serde(flatten)]
        bucket: BucketFacts,
    }
    let rows: Vec<Row> = asking.rows(&format!(
        "SELECT v.network, v.country, max(m.network_name) AS name, {STATES}, count(*) AS measurements, \
         count(DISTINCT v.target) AS targets, count(DISTINCT m.report_id) AS reports, \
         max(m.start_utc) AS last_utc FROM {JUDGED} GROUP BY v.network, v.country \
         ORDER BY measurements DESC, v.network, v.country"
    ))?;
    // By number: `start_utc` would be the measurement's, not the bucket's.
    let buckets: Vec<Bucket> = asking.rows(&format!(
        "SELECT v.network, v.country, \
         date_bin(INTERVAL '{hours} hours', m.start_utc, TIMESTAMP '1970-01-01T00:00:00Z') AS start_utc, \
         count(*) AS measurements, count(*) FILTER (WHERE v.anomaly) AS interference, \
         count(*) FILTER (WHERE v.state = 'insufficient') AS insufficient \
         FROM {JUDGED} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ))?;
    let mut volume: BTreeMap<(String, u32), Vec<BucketFacts>> = BTreeMap::new();
    for row in buckets {
        volume.entry((row.country, row.network)).or_default().push(row.bucket);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let at = okno_model::Timestamp::parse(&row.last_utc).unwrap_or_default();
            let announced = run.reference.networks.org_of(okno_model::Asn(row.network), at);
            NetworkFacts {
                network: row.network,
                name: row.name.or_else(|| announced.map(str::to_owned)),
                measurements: row.measurements,
                counts: row.counts,
                targets: row.targets,
                reports: row.reports,
                volume: volume.remove(&(row.country.clone(), row.network)).unwrap_or_default(),
                bucket_hours: hours,
                country: row.country,
            }
        })
        .collect())
}

fn nettests(asking: &Asking<'_>) -> Result<Vec<NettestFacts>> {
    #[derive(Deserialize)]
    struct Row {
        test_name: String,
        measurements: u64,
        #[serde(flatten)]
        counts: StateCounts,
        networks: u64,
        targets: u64,
        observations: u64,
        with_rejects: u64,
    }
    let rows: Vec<Row> = asking.rows(&format!(
        "SELECT m.test_name, count(*) AS measurements, {STATES}, count(DISTINCT m.network) AS networks, \
         count(DISTINCT m.target) AS targets, sum(m.observations) AS observations, \
         count(*) FILTER (WHERE m.rejects > 0) AS with_rejects FROM {JUDGED} GROUP BY m.test_name \
         ORDER BY measurements DESC, m.test_name"
    ))?;
    Ok(rows
        .into_iter()
        .map(|row| NettestFacts {
            test_name: row.test_name,
            measurements: row.measurements,
            counts: row.counts,
            networks: row.networks,
            targets: row.targets,
            observations: row.observations,
            with_rejects: row.with_rejects,
        })
        .collect())
}

fn rules(asking: &Asking<'_>, run: &Run<'_>) -> Result<Vec<RuleFacts>> {
    let mut rows: Vec<RuleFacts> = asking.rows(
        "SELECT rule, state, count(DISTINCT measurement_uid) AS measurements FROM verdicts \
         GROUP BY rule, state ORDER BY measurements DESC, rule, state",
    )?;
    for row in &mut rows {
        if let Some(rule) = run.rules.rules().iter().find(|rule| rule.id() == row.rule) {
            row.meaning = rule.doc().to_owned();
        }
    }
    Ok(rows)
}

fn quality(asking: &Asking<'_>, run: &Run<'_>) -> Result<QualityFacts> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Sources {
        files: u64,
        size_bytes: Option<u64>,
        text_bytes: Option<u64>,
        lines: Option<u64>,
        measurements: Option<u64>,
        rejected: Option<u64>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Odd {
        measurements_with_rejects: u64,
        network_unknown: u64,
        country_unknown: u64,
    }
    let sources: Sources = asking.row(
        "SELECT count(*) AS files, sum(size_bytes) AS size_bytes, sum(text_bytes) AS text_bytes, \
         sum(lines) AS lines, sum(measurements) AS measurements, sum(rejected) AS rejected FROM sources",
    )?;
    let odd: Odd = asking.row(
        "SELECT count(*) FILTER (WHERE rejects > 0) AS measurements_with_rejects, \
         count(*) FILTER (WHERE network = 0) AS network_unknown, \
         count(*) FILTER (WHERE country = 'ZZ') AS country_unknown FROM measurements",
    )?;
    let rejects: Vec<RejectFacts> = asking.rows(
        "SELECT reason, count(*) AS rows, \
         count(*) FILTER (WHERE measurement_uid IS NOT NULL AND reason <> 'duplicate_measurement') \
           AS rows_of_kept_measurements, count(DISTINCT source) AS files, \
         first_value(source ORDER BY source, line, byte_offset, part) AS example_source, \
         first_value(line ORDER BY source, line, byte_offset, part) AS example_line, \
         first_value(part ORDER BY source, line, byte_offset, part) AS example_part \
         FROM rejects GROUP BY reason ORDER BY rows DESC, reason",
    )?;
    let count = |reason: &str| rejects.iter().find(|row| row.reason == reason).map_or(0, |row| row.rows);
    Ok(QualityFacts {
        files: sources.files,
        files_unreadable: count("unreadable"),
        size_bytes: sources.size_bytes.unwrap_or(0),
        text_bytes: sources.text_bytes.unwrap_or(0),
        lines: sources.lines.unwrap_or(0),
        measurements: sources.measurements.unwrap_or(0),
        rejected: sources.rejected.unwrap_or(0),
        duplicates: count("duplicate_measurement"),
        measurements_with_rejects: odd.measurements_with_rejects,
        rejects,
        controls: controls(asking)?,
        clocks: clocks(asking)?,
        network_unknown: odd.network_unknown,
        country_unknown: odd.country_unknown,
        reference_missing: missing(run),
    })
}

fn controls(asking: &Asking<'_>) -> Result<ControlCounts> {
    asking.row(
        "SELECT count(*) FILTER (WHERE control = 'ok') AS ok, \
         count(*) FILTER (WHERE control = 'failed') AS failed, \
         count(*) FILTER (WHERE control = 'absent') AS absent, \
         count(*) FILTER (WHERE control = 'none') AS none FROM measurements",
    )
}

/// Clock trouble by the documented thresholds (trap 15: the probe's clock against the collector's).
fn clocks(asking: &Asking<'_>) -> Result<ClockFacts> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Row {
        compared: u64,
        ahead: u64,
        behind: u64,
        ahead_max_s: Option<i64>,
    }
    let row: Row = asking.row(
        "SELECT count(*) AS compared, count(*) FILTER (WHERE lead_s > 3600) AS ahead, \
         count(*) FILTER (WHERE lead_s < -2592000) AS behind, max(lead_s) AS ahead_max_s FROM \
         (SELECT to_unixtime(start_utc) - to_unixtime(upload_utc) AS lead_s FROM measurements \
          WHERE upload_utc IS NOT NULL)",
    )?;
    Ok(ClockFacts {
        compared: row.compared,
        ahead: row.ahead,
        behind: row.behind,
        ahead_max_s: row.ahead_max_s.and_then(|s| u64::try_from(s).ok()).unwrap_or(0),
    })
}

fn missing(run: &Run<'_>) -> Vec<MissingReference> {
    let mut tables = Vec::new();
    let fingerprints = &run.reference.fingerprints;
    for (table, absent) in [
        ("ip_to_network", run.reference.networks.is_empty()),
        ("fingerprints_dns", fingerprints.dns_infos().next().is_none()),
        ("fingerprints_http", fingerprints.http_infos().next().is_none()),
        ("test_lists", run.reference.test_lists.is_empty()),
    ] {
        if absent {
            tables.push(MissingReference { table: table.to_owned(), measurements: None });
        }
    }
    tables
}

fn versions(asking: &Asking<'_>, run: &Run<'_>) -> Result<VersionFacts> {
    let probe_software: Vec<SoftwareCount> = asking.rows(
        "SELECT coalesce(software_name, '?') || ' ' || coalesce(software_version, '?') AS software, \
         count(*) AS measurements FROM measurements GROUP BY software ORDER BY measurements DESC, software \
         LIMIT 40",
    )?;
    let reference_tables = run
        .reference
        .tables()
        .iter()
        .map(|table| ReferenceTable {
            name: table.name.clone(),
            version: table.version.clone(),
            rows: table.rows,
            source: table.origin.clone(),
            licence: table.licence.clone(),
        })
        .collect();
    Ok(VersionFacts {
        okno: env!("CARGO_PKG_VERSION").to_owned(),
        okno_commit: option_env!("OKNO_COMMIT").map(str::to_owned),
        ruleset: run.rules.stamp().to_owned(),
        reference: run.reference.stamp().text,
        reference_tables,
        lake: run.lake.clone(),
        lake_hash: Some(run.lake_hash.clone()),
        command: run.command.clone(),
        probe_software,
    })
}
