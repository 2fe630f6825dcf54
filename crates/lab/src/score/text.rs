//! The board for people: plain text, losses included.

use core::fmt::{self, Display, Formatter};

use super::Boards;
use super::board::{Board, Row};
use super::figures::{Calibration, Share};

fn share(share: &Share) -> String {
    match (share.share, share.low, share.high) {
        (Some(value), Some(low), Some(high)) => {
            format!("{:6.2} % ({:.2}–{:.2})", value * 100.0, low * 100.0, high * 100.0)
        }
        _ => String::from("     —"),
    }
}

fn head(f: &mut Formatter<'_>, what: &str) -> fmt::Result {
    writeln!(
        f,
        "  {what:<26} {:>7} {:>6} {:>6} {:>7}  {:<24} {:<24}",
        "TP", "FP", "FN", "TN", "precision (95 %)", "recall (95 %)"
    )
}

fn row(f: &mut Formatter<'_>, row: &Row) -> fmt::Result {
    let counts = row.counts;
    writeln!(
        f,
        "  {:<26} {:>7} {:>6} {:>6} {:>7}  {:<24} {:<24}",
        row.name,
        counts.tp,
        counts.fp,
        counts.r#fn,
        counts.tn,
        share(&row.precision),
        share(&row.recall)
    )
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => String::from("—"),
        Some(s) if s < 120.0 => format!("{s:.0} s"),
        Some(s) if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        Some(s) => format!("{:.1} h", s / 3_600.0),
    }
}

fn calibration(f: &mut Formatter<'_>, what: &str, of: &Calibration) -> fmt::Result {
    let number = |value: Option<f64>| value.map_or_else(|| String::from("—"), |value| format!("{value:.4}"));
    writeln!(f, "  {what}: {} statements, Brier {}, ECE {}", of.count, number(of.brier), number(of.ece))?;
    for bin in &of.bins {
        writeln!(
            f,
            "    {:.2}–{:.2}  {:>7}  claimed {:.3}  observed {:.3}",
            bin.from,
            bin.from + 1.0 / super::figures::BINS as f64,
            bin.count,
            bin.claimed,
            bin.observed
        )?;
    }
    Ok(())
}

impl Display for Board {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenarios.join(" "))?;
        let excluded: Vec<String> =
            self.excluded.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let excluded = if excluded.is_empty() { "none".to_owned() } else { excluded.join(", ") };
        writeln!(f, "{} measurements scored, excluded: {excluded}", self.measurements)?;
        if self.beside_accused > 0 {
            writeln!(f, "of those beside the target, {} were accused", self.beside_accused)?;
        }
        writeln!(f, "insufficient: {} of them\n", self.insufficient)?;
        head(f, "measurements")?;
        row(f, &self.detection)?;
        writeln!(f, "  right mechanism of those rightly accused: {}\n", share(&self.right_mechanism))?;
        for (what, rows) in [
            ("mechanism", &self.mechanisms),
            ("layer", &self.layers),
            ("network", &self.networks),
            ("test", &self.tests),
        ] {
            head(f, what)?;
            for one in rows {
                row(f, one)?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  {:<26} {:<26} {:>8}", "truth", "verdict", "count")?;
        for (truth, named, count) in &self.confusion {
            writeln!(f, "  {truth:<26} {named:<26} {count:>8}")?;
        }
        if !self.delays.is_empty() {
            writeln!(
                f,
                "\n  {:<26} {:>6} {:>6} {:>9} {:>9} {:>12}",
                "delay", "cells", "found", "median", "90 %", "cell's state"
            )?;
        }
        for delay in &self.delays {
            writeln!(
                f,
                "  {:<26} {:>6} {:>6} {:>9} {:>9} {:>12}",
                delay.mechanism,
                delay.cells,
                delay.found,
                seconds(delay.median_s),
                seconds(delay.p90_s),
                seconds(delay.state_median_s)
            )?;
        }
        writeln!(f)?;
        calibration(f, "measurements", &self.calibration)?;
        calibration(f, "verdicts", &self.verdict_calibration)
    }
}

impl Display for Boards {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (what, board) in [("Scenarios with a censor", &self.censored), ("Benign twins", &self.benign)] {
            if board.measurements + board.excluded.values().sum::<u64>() > 0 {
                writeln!(f, "{what}, judged by {}: {board}", board.ruleset)?;
            }
        }
        Ok(())
    }
}
