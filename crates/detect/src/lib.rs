//! Observations to verdicts to cells.
//!
//! ```text
//!   Measurement + Observation* + Control*          Ruleset (data)   Knowledge (fingerprints)
//!            │            │                             │                │
//!            ├─► BaselineBuilder ─► Baseline ───────────┤                │
//!            │   (what other networks saw)              ▼                ▼
//!            └──────────────────────────────► Judge::judge ─► Verdict* ─► CellBuilder ─► Cell*
//!                                              facts → signs → rules   └► sum_up ─► Summary
//! ```
//!
//! Code only turns facts into named [`Sign`]s; what signs mean is written in rule files
//! (`rules/native.toml` and the pieces beside it, `rules/ooni-v5.toml`). Judging cannot fail: facts that say
//! nothing give
//! `insufficient`. Nothing here reads a clock, a file or the network.
//!
//! ```
//! use okno_detect::{sum_up, Baseline, Facts, Judge, Knowledge, Ruleset};
//! use okno_model::{Failure, Measurement, Observation, State};
//!
//! let measurement = Measurement { control: "none".into(), ..Measurement::default() };
//! let lookup = Observation {
//!     hostname: Some("example.org".into()),
//!     classic: true,
//!     dns_lookup: Some(0),
//!     dns_failure: Some(Failure::DnsNxDomain),
//!     ..Observation::default()
//! };
//! let (rules, baseline, knowledge) = (Ruleset::native(), Baseline::empty(), Knowledge::empty());
//! let judge = Judge::new(&rules, &baseline, &knowledge);
//! let mut verdicts = Vec::new();
//! judge.judge(
//!     &Facts { measurement: &measurement, observations: &[lookup], controls: &[] },
//!     &mut verdicts,
//! );
//! // NXDOMAIN alone is no accusation: nobody says that the name exists.
//! assert_eq!(sum_up(&verdicts).state, State::Insufficient);
//! ```

pub mod arms;
mod baseline;
pub mod cells;
mod facts;
mod fitted;
mod hash;
mod judge;
mod knowledge;
pub mod manual;
mod rules;
mod signs;
mod summary;
mod v5;
mod votes;

pub use baseline::{Baseline, BaselineBuilder, DEFAULT_CAP, Tally};
pub use facts::Facts;
pub use fitted::Fit;
pub use judge::Judge;
pub use knowledge::Knowledge;
pub use rules::{Evaluator, Limits, Outcome, Rule, RulesError, Ruleset};
pub use signs::{Sign, Signs};
pub use summary::{Summary, sum_up};
