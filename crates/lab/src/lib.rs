//! A sovereign internet in a box: virtual time, hosts with real stacks, links, services, scenarios, truth.
//!
//! Everything happens in virtual time and inside this process: no socket, no interface, no thread that
//! outlives a run. The same scenario and seed give the same bytes.

pub mod accept;
pub mod audit;
pub mod capture;
pub mod clients;
pub mod evasion;
pub mod fidelity;
mod host;
pub mod matrix;
pub mod nation;
pub mod net;
pub mod path;
pub mod probe;
pub mod quic;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod score;
pub mod services;
pub mod stream;
pub mod summary;
pub mod tap;
pub mod tls;
pub mod truth;
pub mod world;

pub use host::{Datagram, HostSetup, PingAnswer, PingReply, RawClaim};

/// The guide's Rust examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/lab.md")]
struct Guide;
