//! The numbers of a board: shares with intervals, forecasts against events.

use serde::Serialize;

/// A share with its 95 % Wilson interval; nothing of nothing has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// so many
    pub hits: u64,
    /// of so many
    pub of: u64,
    /// their ratio
    pub share: Option<f64>,
    /// lower end of the interval
    pub low: Option<f64>,
    /// upper end
    pub high: Option<f64>,
}

impl Share {
    /// `hits` of `of`.
    pub fn new(hits: u64, of: u64) -> Self {
        let interval = okno_detect::cells::wilson(hits, of);
        Self {
            hits,
            of,
            share: (of > 0).then(|| hits as f64 / of as f64),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
        }
    }
}

/// The four counts of a yes-or-no question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// said and so
    pub tp: u64,
    /// said and not so
    pub fp: u64,
    /// not said and so
    pub r#fn: u64,
    /// not said and not so
    pub tn: u64,
}

impl Counts {
    /// Counts one answer.
    pub fn add(&mut self, so: bool, said: bool) {
        *match (so, said) {
            (true, true) => &mut self.tp,
            (false, true) => &mut self.fp,
            (true, false) => &mut self.r#fn,
            (false, false) => &mut self.tn,
        } += 1;
    }

    /// Of what was said, so much was so.
    pub fn precision(&self) -> Share {
        Share::new(self.tp, self.tp + self.fp)
    }

    /// Of what was so, so much was said.
    pub fn recall(&self) -> Share {
        Share::new(self.tp, self.tp + self.r#fn)
    }
}

/// Bins of a reliability curve, of equal width from 0 to 1.
pub const BINS: usize = 20;

/// One bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// lower end; the last bin includes 1
    pub from: f64,
    /// statements in it
    pub count: u64,
    /// mean of what was claimed
    pub claimed: f64,
    /// share of what was so
    pub observed: f64,
}

/// Forecasts against events.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Calibration {
    /// statements
    pub count: u64,
    /// mean squared difference between the claimed probability and what was so (Brier 1950)
    pub brier: Option<f64>,
    /// expected calibration error: the bins' differences, weighted by their counts
    pub ece: Option<f64>,
    /// the reliability curve; empty bins are left out
    pub bins: Vec<Bin>,
}

impl Calibration {
    /// From (claimed probability, whether it was so), in any order.
    pub fn of(pairs: &[(f64, bool)]) -> Self {
        let mut sums = [(0u64, 0.0f64, 0u64); BINS];
        let mut squares = 0.0;
        for (claimed, so) in pairs {
            let at = ((claimed * BINS as f64) as usize).min(BINS - 1);
            let (count, total, hits) = &mut sums[at];
            *count += 1;
            *total += claimed;
            *hits += u64::from(*so);
            squares += (claimed - f64::from(u8::from(*so))).powi(2);
        }
        let all = pairs.len() as f64;
        let bins: Vec<Bin> = (0..BINS)
            .filter(|at| sums[*at].0 > 0)
            .map(|at| {
                let (count, total, hits) = sums[at];
                let of = count as f64;
                Bin { from: at as f64 / BINS as f64, count, claimed: total / of, observed: hits as f64 / of }
            })
            .collect();
        let ece = bins.iter().map(|bin| bin.count as f64 / all * (bin.claimed - bin.observed).abs()).sum();
        let any = !pairs.is_empty();
        Self { count: pairs.len() as u64, brier: any.then(|| squares / all), ece: any.then_some(ece), bins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_that_come_true_as_often_as_they_claim_are_calibrated() {
        let pairs: Vec<(f64, bool)> = (0..1000).map(|n| (0.9, n % 10 != 0)).collect();
        let good = Calibration::of(&pairs);
        assert!(good.ece.unwrap() < 1e-9 && (good.brier.unwrap() - 0.09).abs() < 1e-9);
        let sure: Vec<(f64, bool)> = pairs.iter().map(|(_, so)| (1.0, *so)).collect();
        assert!((Calibration::of(&sure).ece.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(Calibration::of(&[]), Calibration::default());
    }

    #[test]
    fn shares_have_the_textbooks_interval() {
        let share = Share::new(41, 44);
        assert!((share.share.unwrap() - 0.9318).abs() < 1e-3);
        assert!(share.low.unwrap() > 0.80 && share.high.unwrap() < 0.98);
        assert_eq!(Share::new(0, 0), Share::default());
    }
}
