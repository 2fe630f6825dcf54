//! The truth of one measurement: what boxes did to its flows, and whether its client could see it.

use core::net::IpAddr;

use super::judged::{Finding, Judged};
use super::matching;

/// One deed of a box on a flow of the measurement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deed {
    /// mechanism, a dot path
    pub mechanism: String,
    /// kind of act, as in the table `truth`
    pub kind: String,
    /// address outside of the flow
    pub remote: Option<IpAddr>,
    /// name as the box read it; empty when it read none
    pub name: String,
    /// the flow went to the measurement's own helper or to a resolver that the test chose, not to its target
    pub beside: bool,
}

impl Deed {
    /// Whether the deed changed packets: recognising a flow, or forgetting one, changes nothing.
    fn changes(&self) -> bool {
        matches!(self.kind.as_str(), "dropped" | "rewritten" | "injected" | "policed" | "delayed")
    }

    /// Whether the deed is the filtering device's own failure, which is not aimed at anybody.
    fn is_breakdown(&self) -> bool {
        self.mechanism.starts_with("overload")
    }
}

/// The truth of one measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Label {
    /// name of the scenario
    pub scenario: String,
    /// the scenario is a benign twin
    pub benign: bool,
    /// access network and region
    pub cell: String,
    /// `fixed`, `mobile`, `datacentre`
    pub network_type: String,
    /// when the measurement began, µs since 1970
    pub began_us: i64,
    /// when it ended, µs since 1970
    pub ended_us: i64,
    /// what boxes did to its flows, in order
    pub deeds: Vec<Deed>,
    /// natural faults that held in its cell meanwhile
    pub faults: Vec<String>,
}

/// Why a measurement is not scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excluded {
    /// the line is no measurement
    NoMeasurement,
    /// a box broke down on its flows, and did nothing else to it
    Breakdown,
    /// a box acted on flows beside the target only
    Beside,
    /// a box acted, and every operation on that flow worked as if it had not
    Unseen,
}

impl Excluded {
    /// All of them, as the board lists them.
    pub const ALL: [Self; 4] = [Self::NoMeasurement, Self::Breakdown, Self::Beside, Self::Unseen];

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMeasurement => "no measurement",
            Self::Breakdown => "only a breakdown of the box",
            Self::Beside => "a box acted beside the target only",
            Self::Unseen => "a box acted and the client saw nothing of it",
        }
    }
}

/// The true mechanisms of a measurement that its client could see, each once; or why it is not scored.
///
/// # Errors
/// See [`Excluded`].
pub fn mechanisms(label: &Label, judged: &Judged) -> Result<Vec<String>, Excluded> {
    let changing: Vec<&Deed> = label.deeds.iter().filter(|deed| deed.changes()).collect();
    let aimed: Vec<&Deed> = changing.iter().copied().filter(|deed| !deed.is_breakdown()).collect();
    if aimed.is_empty() {
        return if changing.is_empty() { Ok(Vec::new()) } else { Err(Excluded::Breakdown) };
    }
    let mut seen: Vec<String> =
        aimed.iter().filter(|deed| counts(deed, judged)).map(|deed| deed.mechanism.clone()).collect();
    seen.sort_unstable();
    seen.dedup();
    if aimed.iter().all(|deed| deed.beside) {
        return Err(Excluded::Beside);
    }
    if seen.is_empty() { Err(Excluded::Unseen) } else { Ok(seen) }
}

/// Whether a deed counts: it changed packets of a flow to what the measurement is about, aimed, and seen.
fn counts(deed: &Deed, judged: &Judged) -> bool {
    deed.changes() && !deed.is_breakdown() && !deed.beside && is_seen(deed, judged)
}

/// A packet that was forged or changed is seen; lost, late and policed ones when the operation failed or was
/// slow.
fn is_seen(deed: &Deed, judged: &Judged) -> bool {
    let harmless = deed.remote.is_some_and(|remote| judged.unharmed.contains(&remote));
    matches!(deed.kind.as_str(), "injected" | "rewritten") || !harmless
}

/// Whether what a verdict says of its layer and host is true: interference where a deed can show there, none
/// where none can. `None` for a verdict that says nothing.
pub fn state_is_true(label: &Label, judged: &Judged, finding: &Finding) -> Option<bool> {
    use okno_model::State;
    let shows = label.deeds.iter().filter(|deed| counts(deed, judged)).any(|deed| {
        concerns(deed, finding, judged)
            && (matching::layers(&deed.mechanism).contains(&finding.layer)
                || matching::is_right(&deed.mechanism, &finding.mechanism))
    });
    match finding.state {
        State::Insufficient => None,
        State::Blocked | State::Throttled => Some(shows),
        State::Ok => Some(!shows_at(label, judged, finding)),
        State::Down => Some(!shows),
    }
}

/// Whether a deed shows at the verdict's own layer; what is cut above does not make a layer below untrue.
fn shows_at(label: &Label, judged: &Judged, finding: &Finding) -> bool {
    let own = |deed: &&Deed| matching::layer(&deed.mechanism) == finding.layer;
    let deeds = label.deeds.iter().filter(|deed| counts(deed, judged));
    deeds.filter(own).any(|deed| concerns(deed, finding, judged))
}

/// Whether a deed was done to a flow that the verdict is about: by address, else by name, else (a resolver's
/// address, say) to any.
fn concerns(deed: &Deed, finding: &Finding, judged: &Judged) -> bool {
    let Some(host) = &finding.host else { return true };
    match deed.remote {
        Some(remote) if finding.addresses.contains(&remote) => true,
        Some(remote) if judged.addresses.contains(&remote) => false,
        _ => deed.name.is_empty() || deed.name == *host || host.ends_with(&format!(".{}", deed.name)),
    }
}
