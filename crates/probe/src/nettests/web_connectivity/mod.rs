//! web_connectivity

pub mod seen;
pub mod verdict;

/// What OONI's probe writes when it is sent on more than ten times.
pub const TOO_MANY_REDIRECTS: &str = "unknown_failure: stopped after too many redirects";
