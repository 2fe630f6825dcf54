//! Runs a scenario: one world a cell, on one or several threads, the same bytes on any number of them.

mod plan;
mod timeline;

pub use plan::{Placed, Plan};
pub use timeline::{FilterState, Mode, State, Timeline};
