//! The manual of the detector: each sign and rule as data prints it. Prose follows in the next commit.

use crate::{Ruleset, Sign};

/// The signs and the rules of a ruleset, as Markdown.
pub fn text(rules: &Ruleset) -> String {
    let mut text = format!("# Signs and rules of {}\n\n", rules.stamp());
    for sign in Sign::ALL {
        text += &format!("- `{}`: {}\n", sign.name(), sign.doc());
    }
    text
}
