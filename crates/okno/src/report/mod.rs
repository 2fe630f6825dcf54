//! The report of `okno observe`: one HTML file that says what was found, how surely, and what was not told.

pub mod facts;
pub mod findings;
