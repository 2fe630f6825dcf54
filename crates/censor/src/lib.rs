//! Documented interference as deterministic machines over packets.
//!
//! The models exist to be recognised. They see packets that a caller hands them and answer what a
//! documented box would have done; there is no code path from here to a socket or an interface, and
//! `cargo xtask tidy` proves it. A profile is data: each number carries its source and confidence.

pub mod action;
mod bucket;
pub mod chance;
mod engine;
pub mod explain;
mod fragments;
mod inspect;
mod installed;
pub mod lists;
mod memory;
mod middlebox;
pub mod presets;
pub mod profile;
mod reassembly;
mod residual;
mod summary;
pub mod switches;
pub mod technique;
pub mod techniques;
mod track;

pub use action::{Action, Forge, ForgedTtl, Rate, Refresh, Scope, Ways};
pub use engine::{Engine, Mode, Stats};
pub use explain::{Explanation, explain};
pub use memory::Memory;
pub use middlebox::{Act, ActKind, Context, Direction, Effects, Evidence, Injection, Middlebox, Verdict};
pub use profile::{Profile, ProfileError};
pub use summary::{FlowDeed, FlowSummary};
pub use switches::Switches;
pub use technique::{Decision, Decisions, Event, FlowView, Hello, Interest, PerWay, Technique};
