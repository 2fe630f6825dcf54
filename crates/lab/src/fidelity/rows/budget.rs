//! To come.
pub(super) fn rows(_rows: &mut super::Rows) {}
