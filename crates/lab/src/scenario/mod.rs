//! Scenario files: what happens in a lab run, as data.
//!
//! A scenario is a folder with `scenario.toml` (or one file), may include further files of its folder, and is
//! checked as a whole before anything runs: unknown keys, unknown names and hostile numbers are errors that
//! name file, line and fix.

mod check;
pub(crate) mod fields;
mod load;
mod model;
mod parse;
pub(crate) mod probes;
pub(crate) mod problem;

pub use check::{MAX_CLIENTS, MAX_DAYS, MAX_ROUNDS};
pub use fields::{MAX_FILE_BYTES, Word, format_moment, parse_moment};
pub use load::{Files, Folder, Memory, Overrides};
pub use model::{
    ACTIVITIES, Activity, ClientGroup, Fault, FaultKind, ListChange, PLACEMENTS, PROTOCOLS, Placement,
    Policy, PolicyAction, ProfileFile, Protocol, Scenario, Service, Where,
};
pub use probes::{MAX_MEASUREMENTS, ProbeGroup, ProbeTest};
pub use problem::{MAX_PROBLEMS, Place, Problem, ScenarioError};

#[cfg(test)]
mod tests;
