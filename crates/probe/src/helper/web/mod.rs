//! The test helper of web_connectivity: OONI's protocol, as server and as client.
//!
//! ```text
//!   probe ── POST {url, endpoints} ──► Helper ── lookup, connects, handshakes, page ──► the same site
//!         ◄────── what it saw ────────
//! ```
//! The server is a handler over any [`crate::net::Net`]: the same code runs on kernel sockets and on hosts of
//! the lab. It connects to the ports of the URL's scheme alone, whatever ports a probe names, so that it is
//! no scanner, and to public addresses alone unless it is told otherwise.

mod client;
mod fetch;
mod limit;
mod measure;
pub mod protocol;
mod quic;
mod serve;

pub use client::{Ask, ask};
pub use limit::HelperLimits;
pub use serve::{Helper, HelperOptions};
