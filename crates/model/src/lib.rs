//! The vocabulary of Okno.
//!
//! ```text
//!   bytes ──ingest──► Measurement + Observation* + Control* + Reject*      (what happened)
//!                                   │
//!                                 detect ──► Verdict* ──► Cell*             (what it means)
//! ```
//!
//! Everything that crosses a crate border is a type of this crate, and every table that reaches the
//! disk is one struct here: `table!` derives its schema, its documentation and the order of its
//! columns from the same lines, so code, files and `okno tables` cannot disagree.
//!
//! ```
//! use okno_model::{Failure, Layer, Mechanism};
//! let failure = Failure::from_ooni("connection_reset");
//! assert_eq!(failure, Failure::ConnectionReset);
//! let mechanism = Mechanism::parse("tls.reset.sni").unwrap();
//! assert_eq!(mechanism.layer(), Some(Layer::Tls));
//! ```

mod addresses;
mod asn;
mod cell;
mod column;
mod country;
mod facts;
mod failure;
mod lab;
mod mechanism;
mod reference;
mod state;
mod time;
mod truth;
mod verdict;

pub use addresses::{is_bogon, unmap_nat64};
pub use asn::Asn;
pub use cell::Cell;
pub use column::{Column, ColumnDoc, ColumnKind, RowSink, RowSource, Table, TableDoc};
pub use country::Country;
pub use facts::{Control, Measurement, Observation, Reject, RejectReason, Source, Text, Transport};
pub use failure::{Failure, FailureKind};
pub use lab::Flow;
pub use mechanism::{Mechanism, TAXONOMY, TaxonomyNode};
pub use reference::{FingerprintInfo, FingerprintScope, NetworkInfo, ReferenceStamp};
pub use state::{Layer, State};
pub use time::Timestamp;
pub use truth::{Outcome, Truth};
pub use verdict::Verdict;

/// Every table of the lake, in the order `okno tables` prints them.
pub fn tables() -> Vec<TableDoc> {
    vec![
        Source::doc(),
        Measurement::doc(),
        Observation::doc(),
        Control::doc(),
        Reject::doc(),
        Verdict::doc(),
        Cell::doc(),
        Flow::doc(),
        Truth::doc(),
        Outcome::doc(),
    ]
}
