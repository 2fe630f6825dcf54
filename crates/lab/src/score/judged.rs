//! What `okno observe` would say of measurements, without its lake: lines to rows to verdicts.
//!
//! Two passes as the command makes: what all networks saw first, verdicts second. A test of the command
//! compares both on the same lines.

use core::net::IpAddr;

use okno_detect::{Baseline, BaselineBuilder, Facts, Judge, Knowledge, Ruleset, Summary, sum_up};
use okno_ingest::reference::Reference;
use okno_ingest::{Extracted, Extractor, Line, Origin};
use okno_model::{Layer, Observation, State, Verdict};

/// One verdict, as far as scoring needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// layer
    pub layer: Layer,
    /// state
    pub state: State,
    /// mechanism, empty unless it accuses
    pub mechanism: String,
    /// how probable the state is
    pub probability: f64,
    /// rule that decided
    pub rule: String,
    /// host that it is about
    pub host: Option<String>,
    /// addresses of that host in the measurement; all of it where the verdict is about no host
    pub addresses: Vec<IpAddr>,
}

/// One measurement, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// id of the measurement
    pub uid: String,
    /// test
    pub test: String,
    /// what was measured
    pub target: String,
    /// in one row
    pub summary: Summary,
    /// verdicts
    pub findings: Vec<Finding>,
    /// addresses that it had to do with, sorted
    pub addresses: Vec<IpAddr>,
    /// addresses at which operations were tried and every one worked, at ordinary speed; sorted
    pub unharmed: Vec<IpAddr>,
}

/// Reads and judges lines by rules. Reference data is what the command has without any: none.
pub struct Desk<'r> {
    rules: &'r Ruleset,
    reference: &'r Reference,
    knowledge: &'r Knowledge,
}

impl<'r> Desk<'r> {
    /// A desk with these rules and this outside knowledge.
    pub const fn new(rules: &'r Ruleset, reference: &'r Reference, knowledge: &'r Knowledge) -> Self {
        Self { rules, reference, knowledge }
    }

    /// Judges lines that belong together: they are each other's baseline. `None` for a line that is no
    /// measurement.
    pub fn judge(&self, lines: &[impl AsRef<str>]) -> Vec<Option<Judged>> {
        let mut builder = BaselineBuilder::new();
        self.each(lines, |out| {
            if let Some(measurement) = &out.measurement {
                builder.add(&Facts { measurement, observations: &out.observations, controls: &out.controls });
            }
        });
        let baseline = builder.finish();
        let mut all = Vec::with_capacity(lines.len());
        self.each(lines, |out| all.push(self.one(&out, &baseline)));
        all
    }

    fn each(&self, lines: &[impl AsRef<str>], mut take: impl FnMut(Extracted<'_>)) {
        let mut extractor = Extractor::new(self.reference);
        for (number, text) in (1..).zip(lines) {
            let text = text.as_ref().trim_end();
            let line = Line { start: 0, end: text.len(), number, offset: 0, invalid_utf8: None };
            take(extractor.line(Origin { source: "lab", line }, text));
        }
    }

    fn one(&self, out: &Extracted<'_>, baseline: &Baseline) -> Option<Judged> {
        let measurement = out.measurement.as_ref()?;
        let facts = Facts { measurement, observations: &out.observations, controls: &out.controls };
        let mut verdicts = Vec::new();
        Judge::new(self.rules, baseline, self.knowledge).judge(&facts, &mut verdicts);
        Some(Judged {
            uid: measurement.measurement_uid.to_string(),
            test: measurement.test_name.to_string(),
            target: measurement.target.to_string(),
            summary: sum_up(&verdicts),
            findings: verdicts.iter().map(|verdict| finding(verdict, out)).collect(),
            addresses: sorted(out.observations.iter().filter_map(address).collect()),
            unharmed: unharmed(out, self.rules),
        })
    }
}

fn address(row: &Observation<'_>) -> Option<IpAddr> {
    row.ip.as_deref()?.parse().ok()
}

fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Addresses at which something was tried and nothing failed or was slow.
fn unharmed(out: &Extracted<'_>, rules: &Ruleset) -> Vec<IpAddr> {
    let limits = rules.limits();
    let tried = |row: &Observation<'_>| {
        row.tcp_success.or(row.tls_success).or(row.arm_success).is_some() || row.http_status.is_some()
    };
    let is_slow = |row: &Observation<'_>| {
        let by_arm = row.arm_goodput_bytes_s.is_some_and(|rate| rate < limits.slow_bytes_per_s as f64 * 4.0);
        let by_reads = match (row.rx_bytes, row.rx_us) {
            (Some(bytes), Some(us)) if us >= limits.slow_us => {
                (bytes as f64) < limits.slow_bytes_per_s as f64 * us as f64 / 1e6
            }
            _ => false,
        };
        by_arm || by_reads || row.arm_loss_share.is_some_and(|share| share >= 0.1)
    };
    let failed = |row: &Observation<'_>| {
        row.tcp_failure.or(row.tls_failure).or(row.http_failure).or(row.arm_failure).is_some()
    };
    let of = |bad: bool| {
        let rows = out.observations.iter().filter(|row| tried(row));
        sorted(rows.filter(|row| (failed(row) || is_slow(row)) == bad).filter_map(address).collect())
    };
    let harmed = of(true);
    of(false).into_iter().filter(|ip| !harmed.contains(ip)).collect()
}

fn finding(verdict: &Verdict<'_>, out: &Extracted<'_>) -> Finding {
    let about = |host: &Option<okno_model::Text<'_>>| verdict.hostname.is_none() || *host == verdict.hostname;
    // Arms are compared with each other: a verdict on them is about every address that they tried.
    let compares = verdict.hostname.is_some() && out.observations.iter().any(|row| row.arm.is_some());
    let rows = out.observations.iter().filter(|row| about(&row.hostname) || (compares && row.arm.is_some()));
    let addresses = sorted(rows.filter_map(address).collect());
    Finding {
        layer: verdict.layer,
        state: verdict.state,
        mechanism: verdict.mechanism.as_deref().unwrap_or_default().to_owned(),
        probability: verdict.probability,
        rule: verdict.rule.to_string(),
        host: verdict.hostname.as_deref().map(str::to_owned),
        addresses,
    }
}
