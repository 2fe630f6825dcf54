//! The tests, one module each.

pub mod vpn_protocols;
pub mod web_connectivity;
