//! Measurements, written once, run in two worlds.
//!
//! ```text
//!   Experiment ──► dns, tcp, tls, http, quic ──► Net ──► kernel sockets (okno-sockets)
//!       │               │                         └────► hosts of the lab, virtual time (okno-lab)
//!       ▼               ▼
//!   test keys ◄──── Trace (OONI's archival records)  ──► one JSON line, scrubbed
//! ```
//!
//! This crate opens no socket and knows no clock: a [`net::Net`] is an argument. It knows nothing of any
//! censor; what a test concludes belongs to `okno-detect`.

pub mod address;
pub mod arm_book;
pub mod arms;
pub mod cookies;
pub mod dns;
pub mod experiment;
pub mod flow;
pub mod guard;
pub mod helper;
mod hpke;
pub mod http;
pub mod limits;
pub mod measurement;
pub mod net;
pub mod nettests;
pub mod own_address;
pub mod page;
pub mod quic;
pub mod redirect;
pub mod scrub;
pub mod session;
pub mod talk;
pub mod tcp;
pub mod tls;
pub mod trace;
pub mod trial;

pub use experiment::{Context, Experiment, Manual, Risk};
pub use net::{Net, Task, World};
