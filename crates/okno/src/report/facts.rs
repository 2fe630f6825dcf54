//! What a report says, as data: the input of the HTML page and the output of `okno observe --json`.
//!
//! Everything here is counted over the lake by the caller; this module reads no file and no clock.
//! Counts are of measurements unless the name says otherwise. Times are text in UTC, in any form that
//! [`okno_model::Timestamp::parse`] reads (`2025-06-02 14:03:11`, `2025-06-02`); units stand last in the
//! names. Words (states, layers, mechanisms, reasons) are those of `okno-model`; a word that it does not
//! know is shown as it is and never taken for `ok`.
//!
//! Filling it takes a handful of `GROUP BY`s: one for [`CellFacts`], one for [`MechanismCount`] inside
//! them, one for [`Witness`]; [`super::findings::assemble`] makes [`TargetFacts`] out of these.

use serde::{Deserialize, Serialize};

/// Version of this shape; a field that changes its meaning raises it.
pub const FORMAT_VERSION: u32 = 1;

/// Everything a report says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportFacts {
    /// [`FORMAT_VERSION`]
    pub format_version: u32,
    /// what was measured, where and when
    pub scope: Scope,
    /// one per target and country, most alarming and best witnessed first ([`super::findings::assemble`])
    pub targets: Vec<TargetFacts>,
    /// one per network and country, most measurements first
    pub networks: Vec<NetworkFacts>,
    /// one per mechanism, network and country, most measurements first
    pub mechanisms: Vec<MechanismFacts>,
    /// one per test name, most measurements first
    pub nettests: Vec<NettestFacts>,
    /// one per rule that decided a measurement, most frequent first
    pub rules: Vec<RuleFacts>,
    /// what could not be read, or not be told
    pub quality: QualityFacts,
    /// what made this report
    pub versions: VersionFacts,
}

/// What was measured, where and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// countries of the probes, most measurements first
    pub countries: Vec<CountryCount>,
    /// start of the earliest measurement; leave out those whose clock is known to be wrong
    /// ([`ClockFacts`]), or one probe living in 1970 stretches every chart
    pub first_utc: String,
    /// start of the latest measurement, likewise
    pub last_utc: String,
    /// measurements in the lake
    pub measurements: u64,
    /// what they say, each measurement once (`measurement_verdicts`)
    pub states: StateCounts,
    /// distinct networks of probes, unknown ones (AS0) not counted
    pub networks: u64,
    /// distinct targets
    pub targets: u64,
    /// distinct reports: one run of one test by one probe
    pub reports: u64,
    /// observations
    pub observations: u64,
    /// the measurements were made by a generator or a laboratory, not on the internet; the page says so
    /// in its first line and links no measurement to OONI's archive
    pub synthetic: bool,
}

/// Measurements of one country.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CountryCount {
    /// two letters, `ZZ` when unknown
    pub country: String,
    /// measurements
    pub measurements: u64,
}

/// Measurements by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateCounts {
    /// works as it does elsewhere
    pub ok: u64,
    /// fails here and elsewhere
    pub down: u64,
    /// fails or is altered here and not elsewhere
    pub blocked: u64,
    /// works, but held down in speed
    pub throttled: u64,
    /// not enough evidence
    pub insufficient: u64,
}

/// One target on one network: the sum of all hours. Fill by
/// `SELECT target, country, network, count(*) FILTER (WHERE state = 'ok') … FROM
/// measurement_verdicts GROUP BY 1, 2, 3`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CellFacts {
    /// what was measured
    pub target: String,
    /// country of the probes
    pub country: String,
    /// AS number, 0 when unknown
    pub network: u32,
    /// measurements by state
    pub counts: StateCounts,
    /// distinct reports
    pub reports: u64,
    /// state of most judged measurements, ties to the less alarming; `insufficient` when none was judged.
    /// Filled by `assemble`.
    pub state: String,
    /// mechanisms among blocked and throttled, most frequent first
    pub mechanisms: Vec<MechanismCount>,
    /// share of blocked and throttled among the judged, 0 to 1. Filled by `assemble`.
    pub interference_share: Option<f64>,
    /// lower end of its 95 % Wilson interval. Filled by `assemble`.
    pub interference_low: Option<f64>,
    /// upper end of it. Filled by `assemble`.
    pub interference_high: Option<f64>,
    /// start of the earliest measurement
    pub first_utc: String,
    /// start of the latest measurement
    pub last_utc: String,
    /// start of the earliest blocked or throttled measurement
    pub first_interference_utc: Option<String>,
    /// start of the latest blocked or throttled measurement
    pub last_interference_utc: Option<String>,
}

/// How often a mechanism was named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MechanismCount {
    /// dot path of the taxonomy
    pub mechanism: String,
    /// measurements
    pub measurements: u64,
}

/// One measurement whose evidence may be looked up: the highest probability, then the earliest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Witness {
    /// its target
    pub target: String,
    /// country of its probe
    pub country: String,
    /// AS number of its probe's network
    pub network: u32,
    /// its state: blocked, throttled, down
    pub state: String,
    /// OONI's id of it
    pub measurement_uid: String,
    /// name of the test
    pub test_name: String,
    /// when it started
    pub start_utc: String,
    /// the failed operation, as `verdicts.witness` has it
    pub witness: String,
    /// dot path, where one was named
    pub mechanism: Option<String>,
    /// id of the deciding rule
    pub rule: String,
    /// how probable the state is, given the evidence, 0 to 1
    pub probability: f64,
    /// fingerprint that matched, if one did
    pub fingerprint: Option<String>,
}

/// How firmly a finding of blocking or throttling stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// at least [`super::findings::FIRM_MEASUREMENTS`] measurements show it on networks where most show it
    Firm,
    /// most measurements of a network show it, but they are fewer than that
    Few,
    /// on no network do most measurements show it
    Minority,
    /// nothing of the kind was seen
    #[default]
    None,
}

/// One target in one country.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetFacts {
    /// what was measured: a host, an application, a service
    pub target: String,
    /// country of the probes
    pub country: String,
    /// Citizen Lab's category code (`NEWS`), where a test list has the target
    pub category: Option<String>,
    /// ok, down, blocked, throttled, insufficient
    pub state: String,
    /// how firmly, when blocked or throttled was seen
    pub strength: Strength,
    /// measurements by state
    pub counts: StateCounts,
    /// distinct reports
    pub reports: u64,
    /// networks with a measurement
    pub networks_measured: u64,
    /// networks where at least one measurement could be judged
    pub networks_judged: u64,
    /// networks where most judged measurements show the state `state`
    pub networks_in_state: u64,
    /// most frequent mechanism among blocked and throttled
    pub mechanism: Option<String>,
    /// all of them, most frequent first
    pub mechanisms: Vec<MechanismCount>,
    /// share of blocked and throttled among the judged, 0 to 1
    pub interference_share: Option<f64>,
    /// lower end of its 95 % Wilson interval
    pub interference_low: Option<f64>,
    /// upper end of it
    pub interference_high: Option<f64>,
    /// start of the earliest measurement
    pub first_utc: String,
    /// start of the latest measurement
    pub last_utc: String,
    /// start of the earliest blocked or throttled measurement
    pub first_interference_utc: Option<String>,
    /// start of the latest blocked or throttled measurement
    pub last_interference_utc: Option<String>,
    /// rules that left measurements undecided, most frequent first; optional
    pub insufficient_rules: Vec<RuleCount>,
    /// best first
    pub witnesses: Vec<Witness>,
    /// measurements over time; optional, buckets of `NetworkFacts::bucket_hours`' kind
    pub timeline: Vec<BucketFacts>,
    /// hours per bucket of `timeline`
    pub bucket_hours: u32,
    /// one per network, by AS number
    pub cells: Vec<CellFacts>,
}

/// How often a rule decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleCount {
    /// stable id
    pub rule: String,
    /// measurements
    pub measurements: u64,
}

/// One rule: how often it decided, and what it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleFacts {
    /// stable id
    pub rule: String,
    /// state that it gives
    pub state: String,
    /// what it says, in English, from the ruleset; may be empty
    pub meaning: String,
    /// measurements that it decided
    pub measurements: u64,
}

/// Measurements within one stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketFacts {
    /// its start; a multiple of the bucket's length since 1970-01-01 UTC
    pub start_utc: String,
    /// measurements
    pub measurements: u64,
    /// of these blocked or throttled
    pub interference: u64,
    /// of these insufficient
    pub insufficient: u64,
}

/// One network in one country.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkFacts {
    /// AS number, 0 when unknown
    pub network: u32,
    /// its name, where known
    pub name: Option<String>,
    /// country of the probes
    pub country: String,
    /// measurements
    pub measurements: u64,
    /// by state
    pub counts: StateCounts,
    /// distinct targets
    pub targets: u64,
    /// distinct reports
    pub reports: u64,
    /// measurements over time, by time; a bucket that is absent is silence
    pub volume: Vec<BucketFacts>,
    /// hours per bucket of `volume` ([`super::findings::bucket_hours`])
    pub bucket_hours: u32,
}

/// One mechanism on one network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MechanismFacts {
    /// dot path of the taxonomy
    pub mechanism: String,
    /// AS number
    pub network: u32,
    /// country of the probes
    pub country: String,
    /// measurements that show it
    pub measurements: u64,
    /// distinct targets that show it
    pub targets: u64,
}

/// One test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NettestFacts {
    /// name of the test, as in OONI's specification
    pub test_name: String,
    /// measurements
    pub measurements: u64,
    /// by state
    pub counts: StateCounts,
    /// distinct networks
    pub networks: u64,
    /// distinct targets
    pub targets: u64,
    /// observations
    pub observations: u64,
    /// measurements of which a part could not be read
    pub with_rejects: u64,
}

/// What could not be read, or not be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QualityFacts {
    /// input files
    pub files: u64,
    /// input files of which nothing could be read
    pub files_unreadable: u64,
    /// size of the input on disk
    pub size_bytes: u64,
    /// size after decompression
    pub text_bytes: u64,
    /// lines (or documents); always `measurements + rejected`
    pub lines: u64,
    /// lines that became a measurement
    pub measurements: u64,
    /// lines of which nothing could be kept, duplicates among them
    pub rejected: u64,
    /// of the rejected: measurements that the lake already held
    pub duplicates: u64,
    /// kept measurements of which a part could not be read
    pub measurements_with_rejects: u64,
    /// one per reason, most frequent first
    pub rejects: Vec<RejectFacts>,
    /// test helper: measurements by `measurements.control`
    pub controls: ControlCounts,
    /// clocks
    pub clocks: ClockFacts,
    /// measurements whose network is unknown (AS0)
    pub network_unknown: u64,
    /// measurements whose country is unknown (ZZ)
    pub country_unknown: u64,
    /// reference tables that were not there
    pub reference_missing: Vec<MissingReference>,
}

/// Rows of `rejects` with one reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RejectFacts {
    /// word of `okno_model::RejectReason`
    pub reason: String,
    /// rows in `rejects`
    pub rows: u64,
    /// of these: parts of measurements whose rest was kept
    pub rows_of_kept_measurements: u64,
    /// distinct files
    pub files: u64,
    /// the first one (by file, line, offset): its file
    pub example_source: String,
    /// its line, from 1; 0 when the whole file is meant
    pub example_line: u64,
    /// its part: a JSON path, `line`, `file`
    pub example_part: String,
}

/// What became of the test helper (`measurements.control`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlCounts {
    /// it answered
    pub ok: u64,
    /// it was asked and gave no answer
    pub failed: u64,
    /// the test has one, this measurement does not
    pub absent: u64,
    /// the test has none
    pub none: u64,
}

/// Probe clocks against the collector's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockFacts {
    /// measurements that carry both clocks
    pub compared: u64,
    /// started more than an hour after their upload: the probe's clock is wrong
    pub ahead: u64,
    /// started more than 30 days before their upload: late upload or wrong clock
    pub behind: u64,
    /// the largest lead, in seconds
    pub ahead_max_s: u64,
}

/// A reference table that was not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingReference {
    /// `ip_to_network`, `bogons`, `fingerprints_dns`, `fingerprints_http`, `test_lists`, or another name
    pub table: String,
    /// measurements whose judgement lacked it, where that is known
    pub measurements: Option<u64>,
}

/// What made this report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionFacts {
    /// version of okno
    pub okno: String,
    /// commit it was built from, when known
    pub okno_commit: Option<String>,
    /// name, version and hash of the rules
    pub ruleset: String,
    /// versions of the reference data, as in `verdicts.reference`
    pub reference: String,
    /// one per reference table that was used
    pub reference_tables: Vec<ReferenceTable>,
    /// folder of the lake as given
    pub lake: String,
    /// hash of the lake's content or manifest, when there is one
    pub lake_hash: Option<String>,
    /// the command line; the caller writes `~` for the user's home folder
    pub command: String,
    /// versions of the probes' software, most measurements first: (name and version, measurements)
    pub probe_software: Vec<SoftwareCount>,
}

/// A reference table that was used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReferenceTable {
    /// its name
    pub name: String,
    /// its version: a date, a commit, a hash
    pub version: String,
    /// rows
    pub rows: u64,
    /// who publishes it, and where
    pub source: String,
    /// its licence
    pub licence: String,
}

/// Measurements by one version of probe software.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoftwareCount {
    /// name and version
    pub software: String,
    /// measurements
    pub measurements: u64,
}

impl StateCounts {
    /// All measurements.
    pub fn total(&self) -> u64 {
        self.judged() + self.insufficient
    }

    /// Those that could be judged.
    pub fn judged(&self) -> u64 {
        self.ok + self.down + self.blocked + self.throttled
    }

    /// Those that show interference.
    pub fn interference(&self) -> u64 {
        self.blocked + self.throttled
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.down += other.down;
        self.blocked += other.blocked;
        self.throttled += other.throttled;
        self.insufficient += other.insufficient;
    }
}
