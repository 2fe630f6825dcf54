//! How a packet fails to be what it claims.

use core::fmt;

/// What stood where something else was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// so many bytes were left
    Bytes(usize),
    /// this value, as read from the wire
    Value(u64),
}

/// A departure from a format: layer, place, what was expected, what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer} at byte {offset}: expected {expected}, found {found}")]
pub struct Malformed {
    /// format whose rule is broken, in lower case: `ipv4`, `tcp`, `tls`, `quic` …
    pub layer: &'static str,
    /// byte offset from the start of what the parser was given
    pub offset: usize,
    /// the rule, as a noun
    pub expected: &'static str,
    /// what stood there
    pub found: Found,
}

impl Malformed {
    /// Too few bytes.
    pub const fn short(layer: &'static str, offset: usize, expected: &'static str, left: usize) -> Self {
        Self { layer, offset, expected, found: Found::Bytes(left) }
    }

    /// A value that the format does not allow.
    pub const fn value(layer: &'static str, offset: usize, expected: &'static str, value: u64) -> Self {
        Self { layer, offset, expected, found: Found::Value(value) }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(count) => write!(f, "{count} bytes"),
            Self::Value(value) => write!(f, "{value:#x}"),
        }
    }
}
