//! Checks a scenario as a whole: names refer to something, times are in order, nothing exceeds the limits.

use core::time::Duration;

use super::fields::{Report, Word, did_you_mean, format_moment};
use super::model::{ClientGroup, PolicyAction, Scenario, Where};
use super::problem::Place;
use crate::nation::{ACCESSES, Cell, MAX_SUBSCRIBERS};

/// Most clients of one scenario.
pub const MAX_CLIENTS: u64 = 100_000;
/// Most activities of one scenario: clients × rounds × targets × what they do.
pub const MAX_ROUNDS: u64 = 100_000_000;
/// Longest virtual time, in days.
pub const MAX_DAYS: u64 = 3_660;
/// Shortest time between two rounds of a client.
const LEAST_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn check(scenario: &Scenario, report: &Report) {
    times(scenario, report);
    services(scenario, report);
    for entry in scenario.lists.values().flatten() {
        list_entry(entry, scenario, report);
    }
    policies(scenario, report);
    faults(scenario, report);
    clients(scenario, report);
    super::probes::check(scenario, report);
}

fn times(scenario: &Scenario, report: &Report) {
    let place = Place::default();
    if scenario.end <= scenario.start {
        let (end, start) = (format_moment(scenario.end), format_moment(scenario.start));
        report.add(place, format!("the end, {end}, is not after the start, {start}"), "end it later");
    }
    let days = scenario.end.since(scenario.start).as_secs() / 86_400;
    if days > MAX_DAYS {
        report.add(place, format!("{days} days of virtual time, more than {MAX_DAYS}"), "put `end` earlier");
    }
    if scenario.nation.cells().is_empty() {
        report.add(
            place,
            "there is no network in any region",
            "add `[topology]` with `model = \"russia\"`, or `[[region]]` and `[[network]]` tables",
        );
    }
}

fn known_or<'a>(word: &Word, known: impl IntoIterator<Item = &'a str>, kind: &str, report: &Report) -> bool {
    let known: Vec<&str> = known.into_iter().collect();
    let found = known.contains(&word.text.as_str());
    if !found {
        report.add(word.place, format!("unknown {kind} `{}`", word.text), did_you_mean(&word.text, &known));
    }
    found
}

/// Names of networks and regions are checked against the whole model, so that a scenario cut down by
/// overrides stays valid; a place that exists nowhere is a typo.
pub(super) fn target(target: &Where, scenario: &Scenario, report: &Report) {
    let all = |word: &&Word| word.text != "*";
    let accesses = ACCESSES.iter().map(|(name, _)| *name);
    for word in target.networks.iter().filter(all) {
        let known = scenario.known_networks.iter().map(String::as_str).chain(accesses.clone());
        known_or(word, known, "network", report);
    }
    for word in target.regions.iter().filter(all) {
        known_or(word, scenario.known_regions.iter().map(String::as_str), "region", report);
    }
}

fn services(scenario: &Scenario, report: &Report) {
    let mut ids: Vec<&Word> = scenario.services.iter().map(|service| &service.id).collect();
    ids.sort();
    for pair in ids.windows(2) {
        if let [first, second] = pair
            && first.text == second.text
        {
            report.add(
                second.place,
                format!("service `{}` exists already", second.text),
                "rename one of them",
            );
        }
    }
    let mut servers = std::collections::BTreeMap::<&str, u64>::new();
    for service in &scenario.services {
        let hostings = scenario.nation.hostings.iter().map(|hosting| hosting.id.as_str());
        known_or(&service.hosting, hostings, "hosting", report);
        let held = servers.entry(&service.hosting.text).or_default();
        // twice: rotation moves a service to as many further addresses
        *held += 2 * u64::from(service.addresses);
        if *held > 250 {
            let what = format!("hosting `{}` has more services than its 250 addresses", service.hosting.text);
            report.add(service.place, what, "spread them over several hostings");
            return;
        }
        for name in &service.names {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            let body = name.strip_prefix("*.").unwrap_or(name);
            if body.is_empty() || name.len() > 253 || !body.chars().all(plain) {
                report.add(name.place, format!("`{}` is no name", name.text), "write it in ASCII (punycode)");
            }
        }
    }
}

/// `@ID` in a list stands for addresses of a service or hosting.
fn list_entry(entry: &Word, scenario: &Scenario, report: &Report) {
    if let Some(reference) = entry.strip_prefix('@')
        && !crate::run::Plan::refers(scenario, reference)
    {
        let hostings = scenario.nation.hostings.iter().map(|hosting| hosting.id.as_str());
        let services = scenario.services.iter().map(|service| &*service.id.text);
        let known: Vec<&str> = hostings.chain(services).chain(["foreign", "domestic"]).collect();
        let what = format!("`@{reference}` is neither a hosting nor a service");
        report.add(entry.place, what, did_you_mean(reference, &known));
    }
}

fn policies(scenario: &Scenario, report: &Report) {
    let slots: Vec<&str> = scenario
        .policies
        .iter()
        .filter_map(|policy| match &policy.action {
            PolicyAction::Install { slot, .. } => Some(slot.text.as_str()),
            _ => None,
        })
        .collect();
    if scenario.benign
        && let Some(policy) = scenario.policies.first()
    {
        report.add(policy.place, "a benign scenario has a policy", "remove it, or `benign = true`");
    }
    for policy in &scenario.policies {
        target(&policy.target, scenario, report);
        if policy.until.is_some_and(|until| until <= policy.at) {
            let at = format_moment(policy.at);
            report.add(policy.place, format!("it ends before it begins at {at}"), "put `until` later");
        }
        match &policy.action {
            PolicyAction::Remove { slot } | PolicyAction::Replace { slot, .. } => {
                known_or(slot, slots.iter().copied(), "box", report);
            }
            PolicyAction::FailOpen { slot } | PolicyAction::Overload { slot, .. } => {
                if !slot.is_empty() {
                    known_or(slot, slots.iter().copied(), "box", report);
                }
                if policy.until.is_none() {
                    report.add(policy.place, "it never ends", "add `lasts = \"10m\"` or `until = …`");
                }
            }
            PolicyAction::List { entries, .. } => {
                entries.iter().for_each(|entry| list_entry(entry, scenario, report));
            }
            PolicyAction::Install { .. } => {}
        }
    }
}

fn faults(scenario: &Scenario, report: &Report) {
    let known = || {
        let services = scenario.services.iter().map(|service| service.id.text.as_str());
        services.chain(scenario.nation.hostings.iter().map(|hosting| hosting.id.as_str()))
    };
    for fault in &scenario.faults {
        target(&fault.target, scenario, report);
        if fault.until <= fault.at {
            let at = format_moment(fault.at);
            report.add(fault.place, format!("it ends before it begins at {at}"), "put `until` later");
        }
        for service in &fault.services {
            known_or(service, known(), "service or hosting", report);
        }
    }
}

impl ClientGroup {
    /// How many clients of this group each of these cells holds.
    pub fn per_cell(&self, scenario: &Scenario, cells: &[Cell]) -> Vec<u32> {
        let nation = &scenario.nation;
        let covered = |cell: &Cell| match (nation.networks.get(cell.network), nation.regions.get(cell.region))
        {
            (Some(network), Some(region)) => self.target.covers(network, &region.id),
            _ => false,
        };
        if self.total == 0 {
            return cells.iter().map(|cell| if covered(cell) { self.per_cell } else { 0 }).collect();
        }
        let weight = |cell: &Cell| if covered(cell) { nation.weight(*cell).max(1e-9) } else { 0.0 };
        share_out(self.total, &cells.iter().map(weight).collect::<Vec<_>>())
    }

    /// Rounds of one client within the scenario.
    pub fn rounds_within(&self, scenario: &Scenario) -> u64 {
        let from = self.from.unwrap_or(scenario.start).max(scenario.start);
        let until = self.until.unwrap_or(scenario.end).min(scenario.end);
        let every = u64::try_from(self.every.max(LEAST_EVERY).as_millis()).unwrap_or(u64::MAX);
        let fit = u64::try_from(until.since(from).as_millis()).unwrap_or(u64::MAX).div_ceil(every);
        if self.rounds == 0 { fit } else { fit.min(self.rounds) }
    }
}

/// Shares a number out by weights, largest remainders first; the parts add up to the number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "parts of a u32, never negative")]
fn share_out(total: u32, weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * f64::from(total)).collect();
    let mut parts: Vec<u32> = exact.iter().map(|part| part.floor() as u32).collect();
    let mut order: Vec<usize> = (0..weights.len()).filter(|at| weights[*at] > 0.0).collect();
    order.sort_by(|a, b| (exact[*b] - exact[*b].floor()).total_cmp(&(exact[*a] - exact[*a].floor())));
    let left = total.saturating_sub(parts.iter().sum());
    for at in order.iter().cycle().take(left as usize) {
        parts[*at] += 1;
    }
    parts
}

fn clients(scenario: &Scenario, report: &Report) {
    let cells = scenario.nation.cells();
    let (mut all, mut rounds): (u64, u64) = (0, 0);
    let mut in_cell = vec![0_u64; cells.len()];
    for group in &scenario.clients {
        target(&group.target, scenario, report);
        if group.every < LEAST_EVERY {
            report.add(group.place, "`every` is shorter than a second", "take \"1s\" or more");
        }
        if group.timeout.is_zero() || group.timeout > Duration::from_secs(600) {
            report.add(group.place, "`timeout` is zero or above ten minutes", "for example \"10s\"");
        }
        for word in &group.targets {
            client_target(group, word, scenario, report);
        }
        if !group.resolver.is_empty() {
            known_or(
                &group.resolver,
                scenario.services.iter().map(|service| &*service.id.text),
                "service",
                report,
            );
        }
        let counts = group.per_cell(scenario, &cells);
        for (held, count) in in_cell.iter_mut().zip(&counts) {
            *held = held.saturating_add(u64::from(*count));
        }
        let count: u64 = counts.into_iter().map(u64::from).sum();
        let each = (group.targets.len() as u64).saturating_mul(group.does.len() as u64);
        all = all.saturating_add(count);
        rounds = rounds
            .saturating_add(count.saturating_mul(group.rounds_within(scenario)).saturating_mul(each.max(1)));
        if all > MAX_CLIENTS {
            report.add(group.place, format!("{all} clients, more than {MAX_CLIENTS}"), "take fewer");
            return;
        }
        if rounds > MAX_ROUNDS {
            let what = format!("{rounds} activities, more than {MAX_ROUNDS}");
            report.add(group.place, what, "take fewer clients, a longer `every`, or `rounds`");
            return;
        }
        let fullest = in_cell.iter().copied().max().unwrap_or(0);
        if fullest > u64::from(MAX_SUBSCRIBERS) {
            let what =
                format!("{fullest} clients in one cell, whose network has {MAX_SUBSCRIBERS} addresses");
            report.add(group.place, what, "take fewer, or more networks and regions");
            return;
        }
    }
}

fn client_target(group: &ClientGroup, word: &Word, scenario: &Scenario, report: &Report) {
    if !known_or(word, scenario.services.iter().map(|service| &*service.id.text), "service", report) {
        return;
    }
    let Some(service) = scenario.services.iter().find(|service| service.id.text == word.text) else { return };
    // one group may do several things with several targets: each needs at least one that fits
    let fits =
        |activity: &super::Activity| activity.needs().is_none_or(|needs| service.speaks.contains(&needs));
    if !group.does.iter().any(fits) {
        let does: Vec<&str> = group.does.iter().map(|activity| activity.as_str()).collect();
        let what = format!("`{}` speaks nothing that `{}` needs", word.text, does.join("`, `"));
        report.add(word.place, what, "add it to the service's `speaks`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_follow_the_weights() {
        assert_eq!(share_out(10, &[1.0, 1.0, 2.0, 0.0]), vec![3, 2, 5, 0]);
        assert_eq!(share_out(3, &[0.0, 0.0]), vec![0, 0]);
        assert_eq!(share_out(200, &[0.3, 0.3, 0.4]).iter().sum::<u32>(), 200);
    }
}
