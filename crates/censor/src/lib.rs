//! Documented interference as deterministic machines over packets.
//!
//! The models exist to be recognised. They see packets that a caller hands them and answer what a
//! documented box would have done; there is no code path from here to a socket or an interface, and
//! `cargo xtask tidy` proves it. A profile is data: each number carries its source and confidence.

pub mod action;
pub mod chance;
mod memory;
mod middlebox;
pub mod technique;

pub use action::{Action, Forge, ForgedTtl, Rate, Refresh, Scope, Ways};
pub use memory::Memory;
pub use middlebox::{Act, ActKind, Context, Direction, Effects, Evidence, Injection, Middlebox, Verdict};
pub use technique::{Decision, Decisions, Event, FlowView, Hello, Interest, PerWay, Technique};
