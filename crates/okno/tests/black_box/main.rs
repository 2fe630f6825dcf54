//! The real binary, run from outside in folders of its own: what `okno observe` and its sisters promise to
//! people and scripts.
//!
//! One test binary for all of it: the runs share two processors, and it is linked once. Real data is looked
//! for in `../shared/data`; where it is absent, the tests that need it say `skipped:` and pass.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accuracy;
mod binary;
mod commands;
mod crowd;
mod damaged;
mod determinism;
mod first_command;
mod hostile;
mod interop;
mod killed;
mod lab;
mod privacy;
mod probe;
mod score;
