//! `[[probe]]`: who measures with the probe, where, what, and how often.
//!
//! A probe is a host of its own that runs its measurements one after another, so that what a box does to a
//! flow can be laid to one measurement. Options of a test are a table of its name below `[probe.options]`; a
//! text
//! `service:ID` in options and inputs stands for that service's first address.

use core::time::Duration;
use std::rc::Rc;

use okno_probe::Experiment;
use okno_probe::nettests;
use okno_wire::Instant;
use serde_json::Value;

use super::fields::{Fields, Report, Word, did_you_mean};
use super::model::{Scenario, Where};
use super::problem::Place;

/// Probes that do the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeGroup {
    /// its name
    pub id: Word,
    /// where they are
    pub target: Where,
    /// how many in each cell
    pub per_cell: u32,
    /// tests, one after another in each round
    pub tests: Vec<ProbeTest>,
    /// what each test that takes an input measures, one after another
    pub inputs: Vec<Word>,
    /// time between two rounds of one probe
    pub every: Duration,
    /// each round begins up to this much later
    pub jitter: Duration,
    /// most rounds of one probe; 0 means as many as fit
    pub rounds: u64,
    /// name and version of the software, as measurements tell it
    pub software: (String, String),
    /// id of the service that is the test helper; empty means none
    pub helper: Word,
    /// id of a public resolver that its system uses; empty means the network's
    pub resolver: Word,
    /// from when; nothing means the start
    pub from: Option<Instant>,
    /// until when; nothing means the end
    pub until: Option<Instant>,
    /// where it stands
    pub place: Place,
}

/// A test of a probe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeTest {
    /// its name
    pub name: Word,
    /// its options, `service:ID` not yet replaced
    pub options: Value,
    /// where the options stand; the name's place without options
    pub place: Place,
}

impl ProbeTest {
    /// The test itself; `address` gives a service's address.
    ///
    /// # Errors
    /// What the test says of its options, or that there is no such test.
    pub fn experiment(&self, address: &dyn Fn(&str) -> Option<String>) -> Result<Rc<dyn Experiment>, String> {
        nettests::by_name(&self.name.text, &replaced(&self.options, address))
    }
}

/// A value with addresses in the place of `service:ID`.
fn replaced(value: &Value, address: &dyn Fn(&str) -> Option<String>) -> Value {
    match value {
        Value::String(text) => Value::String(replaced_text(text, address)),
        Value::Array(items) => items.iter().map(|item| replaced(item, address)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, item)| (key.clone(), replaced(item, address))).collect()
        }
        other => other.clone(),
    }
}

/// A text with addresses in the place of `service:ID`: `service:ID:443`, `https://service:ID/`.
pub(crate) fn replaced_text(text: &str, address: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("service:") {
        out.push_str(before);
        let id = after.split(|c: char| !is_of_id(c)).next().unwrap_or("");
        match address(id) {
            Some(address) => out.push_str(&address),
            None => out.push_str(&format!("service:{id}")),
        }
        rest = after.get(id.len()..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

const fn is_of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

/// The ids after `service:` in a value.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let mut parts = text.split("service:");
            parts.next();
            found
                .extend(parts.map(|part| part.split(|c: char| !is_of_id(c)).next().unwrap_or("").to_owned()));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| references(item, found)),
        _ => {}
    }
}

impl ProbeGroup {
    /// Ids of the services that options and inputs name as `service:ID`.
    pub fn referred(&self) -> Vec<String> {
        let mut found = Vec::new();
        for test in &self.tests {
            references(&test.options, &mut found);
        }
        for input in &self.inputs {
            references(&Value::String(input.text.clone()), &mut found);
        }
        found.sort();
        found.dedup();
        found
    }

    /// Rounds of one probe within the scenario.
    pub fn rounds_within(&self, scenario: &Scenario) -> u64 {
        let from = self.from.unwrap_or(scenario.start).max(scenario.start);
        let until = self.until.unwrap_or(scenario.end).min(scenario.end);
        let every = u64::try_from(self.every.max(LEAST_EVERY).as_millis()).unwrap_or(u64::MAX);
        let fit = u64::try_from(until.since(from).as_millis()).unwrap_or(u64::MAX).div_ceil(every);
        if self.rounds == 0 { fit } else { fit.min(self.rounds) }
    }
}

/// Shortest time between two rounds of a probe.
const LEAST_EVERY: Duration = Duration::from_secs(1);

/// Most measurements that a scenario may ask for.
pub const MAX_MEASUREMENTS: u64 = 10_000_000;

/// Reads one `[[probe]]`.
pub(super) fn probe(fields: &Fields<'_, '_>) -> ProbeGroup {
    if !fields.has("tests") {
        fields.missing("tests", "[\"web_connectivity\"]");
    }
    let options = fields.table("options").map(|table| table.values()).unwrap_or_default();
    let names = fields.texts("tests", 64);
    for (name, _) in &options {
        if !names.iter().any(|known| known.text == name.text) {
            let known: Vec<&str> = names.iter().map(|word| &*word.text).collect();
            let what = format!("options of `{}`, which is not among `tests`", name.text);
            fields.wrong_at(name.place, what, did_you_mean(&name.text, &known));
        }
    }
    let tests = names.into_iter().map(|name| {
        let own = options.iter().find(|(known, _)| known.text == name.text);
        let empty = || Value::Object(serde_json::Map::new());
        let (options, place) =
            own.map_or_else(|| (empty(), name.place), |(known, value)| (value.clone(), known.place));
        ProbeTest { name, options, place }
    });
    let tests = tests.collect();
    let software = fields.text("software").map_or_else(|| "okno-probe 0.1.0".to_owned(), |word| word.text);
    let software = software.split_once(' ').unwrap_or((&software, "0"));
    let per_cell = fields.count("per_cell", 1, 1_000).and_then(|count| u32::try_from(count).ok());
    let group = ProbeGroup {
        id: fields.required_text("id", "\"probe\""),
        target: super::parse::target(fields),
        per_cell: per_cell.unwrap_or(1),
        tests,
        inputs: fields.texts("inputs", 10_000),
        every: fields.duration("every").unwrap_or(Duration::from_secs(6 * 3_600)),
        jitter: fields.duration("jitter").unwrap_or(Duration::from_secs(600)),
        rounds: fields.count("rounds", 1, 1_000_000).unwrap_or(0),
        software: (software.0.to_owned(), software.1.to_owned()),
        helper: fields.text("helper").unwrap_or_default(),
        resolver: fields.text("resolver").unwrap_or_default(),
        from: fields.moment("from"),
        until: fields.moment("until"),
        place: fields.place,
    };
    fields.text("note");
    fields.finish();
    group
}

/// Checks all groups of probes.
pub(super) fn check(scenario: &Scenario, report: &Report) {
    let services = || scenario.services.iter().map(|service| &*service.id.text);
    let known: Vec<&str> = services().collect();
    let unknown = |place: Place, id: &str| {
        report.add(place, format!("unknown service `{id}`"), did_you_mean(id, &known));
    };
    let mut all: u64 = 0;
    let cells = scenario.nation.cells().len() as u64;
    for group in &scenario.probes {
        super::check::target(&group.target, scenario, report);
        for word in [&group.helper, &group.resolver] {
            if !word.text.is_empty() && !known.contains(&&*word.text) {
                unknown(word.place, &word.text);
            }
        }
        for input in &group.inputs {
            let mut found = Vec::new();
            references(&Value::String(input.text.clone()), &mut found);
            found.iter().filter(|id| !known.contains(&id.as_str())).for_each(|id| unknown(input.place, id));
        }
        let mut each: u64 = 0;
        for test in &group.tests {
            each += check_test(group, test, &known, report);
        }
        if group.every < LEAST_EVERY {
            report.add(group.place, "`every` is shorter than a second", "take \"1s\" or more");
        }
        let rounds = group.rounds_within(scenario);
        all =
            all.saturating_add(each.saturating_mul(rounds).saturating_mul(cells * u64::from(group.per_cell)));
        if all > MAX_MEASUREMENTS {
            let what = format!("{all} measurements, more than {MAX_MEASUREMENTS}");
            report.add(group.place, what, "take fewer probes, a longer `every`, or `rounds`");
            return;
        }
    }
}

/// Makes the test once, and says how many measurements a round has of it.
fn check_test(group: &ProbeGroup, test: &ProbeTest, known: &[&str], report: &Report) -> u64 {
    let mut found = Vec::new();
    references(&test.options, &mut found);
    for id in found.iter().filter(|id| !known.contains(&id.as_str())) {
        report.add(test.place, format!("unknown service `{id}`"), did_you_mean(id, known));
    }
    if !nettests::ALL.contains(&&*test.name.text) {
        let what = format!("unknown test `{}`", test.name.text);
        report.add(test.name.place, what, did_you_mean(&test.name.text, nettests::ALL));
        return 0;
    }
    // any address will do to see whether the options fit
    match test.experiment(&|_| Some("192.0.2.1".to_owned())) {
        Err(problem) => {
            let fix = format!("see `okno probe manual {}`", test.name.text);
            report.add(test.place, format!("options of `{}`: {problem}", test.name.text), fix);
            0
        }
        Ok(experiment) if experiment.takes_input() && group.inputs.is_empty() => {
            let what = format!("`{}` measures inputs, and there are none", test.name.text);
            report.add(test.name.place, what, "add `inputs = [\"https://example.org/\"]`");
            0
        }
        Ok(experiment) if experiment.takes_input() => group.inputs.len() as u64,
        Ok(_) => 1,
    }
}
