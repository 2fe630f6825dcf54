//! The tests, one module each.
