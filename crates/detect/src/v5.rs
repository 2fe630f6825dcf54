//! OONI pipeline v5's rules, for comparison.

use okno_model::Verdict;

use crate::facts::Facts;
use crate::judge::Judge;

pub(crate) fn judge<'a>(_judge: &Judge<'_>, _facts: &Facts<'_, 'a>, _out: &mut Vec<Verdict<'a>>) {}
