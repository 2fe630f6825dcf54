//! The real network behind the probe's `Net`: the kernel's sockets by tokio, on one thread.
//!
//! It stands apart from `okno-probe`, because the lab links that crate and must reach no socket. Everything
//! here is safe code: what the kernel tells of a connection is asked over netlink, not by `getsockopt`.
//! It wants Linux; a port to another system would replace `diag`, `errors` and the error queue.

mod datagrams;
mod diag;
mod errors;
mod icmp;
mod kernel;
mod lookup;
mod net;
mod raw;
mod stream;

pub use lookup::failure_of_lookup;
pub use net::{Setup, TokioNet, run};
