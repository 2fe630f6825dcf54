//! Cells of the evasion matrix as rows: those the record states, and those it is silent on.

use super::rows::{Rows, Said};
use super::{Expected, Observed};
use crate::evasion::strategy;
use crate::matrix::record::{RECORDED, Recorded, SILENT};
use crate::matrix::{PROFILES, columns, outcome, play, short_connections};
use crate::path::Ending;

pub(super) fn rows(rows: &mut Rows) {
    for said in RECORDED {
        for row in said.rows {
            for column in said.columns {
                recorded(rows, said, row, column);
            }
        }
    }
    for (row, column) in SILENT {
        let said = Said {
            source: "not in the public record",
            tag: '-',
            confidence: "unknown",
            profile: profile(column),
        };
        let (row, column) = (*row, *column);
        rows.add(
            said,
            Expected::Unknown,
            &format!("matrix.{column}.{row}"),
            &format!("{} under {column}", what(row)),
            move || tried(row, column),
        );
    }
}

fn recorded(rows: &mut Rows, said: &'static Recorded, row: &'static str, column: &'static str) {
    let context =
        Said { source: said.source, tag: said.tag, confidence: said.confidence, profile: profile(column) };
    let expected = if said.survives { Expected::Passes } else { Expected::Fails };
    let what = format!("{} under {column}", what(row));
    rows.add(context, expected, &format!("matrix.{column}.{row}"), &what, move || tried(row, column));
}

fn what(row: &'static str) -> &'static str {
    strategy(row).map_or(row, |strategy| strategy.what)
}

/// Profile of a column of either table.
fn profile(column: &str) -> &'static str {
    let mechanism = columns().iter().find(|known| known.id == column).map(|known| known.profile);
    let whole = PROFILES.iter().find(|(id, ..)| *id == column).map(|(_, profile, _)| *profile);
    mechanism.or(whole).unwrap_or("none")
}

fn tried(row: &str, column: &str) -> Result<Observed, String> {
    let ending = if let Some((_, profile, _)) = PROFILES.iter().find(|(id, ..)| *id == column) {
        play(profile, row)?.ending()
    } else if row == "new_connections" {
        short_connections("tspu-2025", "l4-25", 8)?
    } else {
        let known = columns().iter().find(|known| known.id == column).ok_or("no such column")?;
        let strategy = strategy(row).ok_or("no such strategy")?;
        if !known.takes(strategy) {
            return Err(format!("{row} makes no sense under {column}"));
        }
        outcome(known, strategy)?.ending
    };
    Ok(Observed::new(ending == Ending::Through, format!("{ending:?}")))
}
