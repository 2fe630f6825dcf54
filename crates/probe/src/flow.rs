//! What becomes of the bytes of one flow: when they came, how many, and how the flow ended.
//!
//! A rate alone does not tell policing from a slow line; the series of arrivals does. The clock starts when
//! the caller says so, because a request's way there is no part of the transfer.

use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use std::io;

use futures::{AsyncRead, AsyncWrite};
use okno_model::Failure;
use okno_wire::Instant;

use crate::net::{Net, NetErrorKind, within};

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// all that was wanted came, or went
    Complete,
    /// nothing more came for the time that was granted to a pause
    Quiet,
    /// the other side closed in order before the end
    Closed,
    /// the stack told a failure
    Failed(NetErrorKind),
    /// bytes still came when the time was up
    OutOfTime,
}

impl Ending {
    /// OONI's name (df-007), or none when bytes flowed to the end of what was wanted or granted.
    pub const fn failure(self) -> Option<Failure> {
        match self {
            Self::Complete | Self::OutOfTime => None,
            Self::Quiet => Some(Failure::GenericTimeout),
            Self::Closed => Some(Failure::Eof),
            Self::Failed(kind) => Some(kind.failure()),
        }
    }

    /// One word for an arm's note.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Quiet => "quiet",
            Self::Closed => "closed",
            Self::Failed(NetErrorKind::Reset) => "reset",
            Self::Failed(_) => "failed",
            Self::OutOfTime => "out_of_time",
        }
    }
}

/// How long a flow may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// longest pause between bytes
    pub quiet: Duration,
    /// longest time in all, from the call
    pub total: Duration,
}

impl Limits {
    /// Limits of so many seconds.
    pub const fn secs(quiet: u64, total: u64) -> Self {
        Self { quiet: Duration::from_secs(quiet), total: Duration::from_secs(total) }
    }
}

/// When bytes came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    began: Instant,
    ended: Instant,
    points: Vec<(Instant, u64)>,
}

impl Series {
    /// Nothing yet; the clock starts at `began`.
    pub const fn new(began: Instant) -> Self {
        Self { began, ended: began, points: Vec::new() }
    }

    /// So many bytes came at `at`.
    pub fn add(&mut self, at: Instant, bytes: usize) {
        let total = self.bytes() + bytes as u64;
        self.points.push((at, total));
        self.ended = self.ended.max(at);
    }

    /// The flow was given up, or ended, at `at`.
    pub fn end(&mut self, at: Instant) {
        self.ended = self.ended.max(at);
    }

    /// From totals by moment; what came before `began` counts into the first bytes after it.
    pub fn of_totals(began: Instant, totals: &[(Instant, u64)]) -> Self {
        let mut series = Self::new(began);
        for (at, total) in totals.iter().filter(|(at, _)| *at > began) {
            series.add(*at, total.saturating_sub(series.bytes()) as usize);
        }
        series
    }

    /// When the clock started.
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// When the flow ended, or the last byte came.
    pub const fn ended(&self) -> Instant {
        self.ended
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.points.last().map_or(0, |(_, total)| *total)
    }

    /// How often bytes came.
    pub const fn reads(&self) -> usize {
        self.points.len()
    }

    /// When the last byte came.
    pub fn last(&self) -> Option<Instant> {
        self.points.last().map(|(at, _)| *at)
    }

    /// Bytes a second, from the start of the clock to the end; `None` without bytes or time.
    pub fn goodput(&self) -> Option<f64> {
        let seconds = self.ended.since(self.began).as_secs_f64();
        (self.bytes() > 0 && seconds > 0.0).then(|| self.bytes() as f64 / seconds)
    }

    /// Share of the `bin`s between first and last byte in which nothing came, 0–1; `None` for fewer than
    /// five bins. A bucket that is filled in bursts leaves most of them empty, a queue none
    /// (IMC 2021, doi:10.1145/3487552.3487858: 16 KB in 100 ms, then a gap of 900 ms).
    pub fn idle_share(&self, bin: Duration) -> Option<f64> {
        let (first, _) = *self.points.first()?;
        let width = bin.as_nanos().max(1);
        let place = |at: Instant| (at.since(first).as_nanos() / width) as usize;
        let bins = place(self.last()?) + 1;
        if bins < 5 {
            return None;
        }
        let mut filled = 0;
        let mut before = None;
        for (at, _) in &self.points {
            let here = place(*at);
            if before != Some(here) {
                filled += 1;
                before = Some(here);
            }
        }
        Some(1.0 - f64::from(filled) / bins as f64)
    }

    /// At most about `most` points: seconds from the start of the clock, and bytes until then.
    pub fn thinned(&self, most: usize) -> Vec<(f64, u64)> {
        let step = self.points.len().div_ceil(most.max(1)).max(1);
        let last = self.points.len().saturating_sub(1);
        let kept = self.points.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
        kept.map(|(_, (at, bytes))| (round(at.since(self.began).as_secs_f64()), *bytes)).collect()
    }
}

/// Seconds to the microsecond, so that texts do not carry noise.
pub fn round(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// One read within `patience`: how many bytes, or how it ended. An orderly end is [`Ending::Closed`].
pub async fn read<S>(
    net: &dyn Net,
    stream: &mut S,
    chunk: &mut [u8],
    patience: Duration,
) -> Result<usize, Ending>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let one = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, chunk));
    match within(net, patience, one).await {
        None => Err(Ending::Quiet),
        Some(result) => ended(result),
    }
}

fn ended(result: io::Result<usize>) -> Result<usize, Ending> {
    match result {
        Ok(0) => Err(Ending::Closed),
        Ok(taken) => Ok(taken),
        Err(error) => Err(match NetErrorKind::of(&error) {
            NetErrorKind::TimedOut => Ending::Quiet,
            NetErrorKind::Closed => Ending::Closed,
            kind => Ending::Failed(kind),
        }),
    }
}

/// Fills `bytes` within `patience` in all.
pub async fn read_exact<S>(
    net: &dyn Net,
    stream: &mut S,
    bytes: &mut [u8],
    patience: Duration,
) -> Result<(), Ending>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let until = net.now() + patience;
    let mut filled = 0;
    while filled < bytes.len() {
        filled += read(net, stream, &mut bytes[filled..], until.since(net.now())).await?;
    }
    Ok(())
}

/// Writes all of `bytes` and flushes, within `patience` in all.
pub async fn write_all<S>(
    net: &dyn Net,
    stream: &mut S,
    bytes: &[u8],
    patience: Duration,
) -> Result<(), Ending>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    let until = net.now() + patience;
    let mut sent = 0;
    while sent < bytes.len() {
        let one = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, &bytes[sent..]));
        match within(net, until.since(net.now()), one).await {
            None => return Err(Ending::Quiet),
            Some(result) => sent += ended(result)?,
        }
    }
    let flush = poll_fn(|context| Pin::new(&mut *stream).poll_flush(context));
    match within(net, until.since(net.now()), flush).await {
        None => Err(Ending::Quiet),
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => ended(Err(error)).map(|_| ()),
    }
}

/// Reads until `want` bytes have come, and notes when.
pub async fn take<S>(net: &dyn Net, stream: &mut S, want: u64, limits: Limits, series: &mut Series) -> Ending
where
    S: AsyncRead + Unpin + ?Sized,
{
    let until = net.now() + limits.total;
    let mut chunk = vec![0; 16_384];
    let goal = series.bytes() + want;
    let ending = loop {
        if series.bytes() >= goal {
            break Ending::Complete;
        }
        let left = until.since(net.now());
        if left.is_zero() {
            break Ending::OutOfTime;
        }
        let len = usize::try_from(goal - series.bytes()).unwrap_or(usize::MAX).min(chunk.len());
        match read(net, stream, &mut chunk[..len], left.min(limits.quiet)).await {
            Ok(taken) => series.add(net.now(), taken),
            // What the total cut short was no pause of its own.
            Err(Ending::Quiet) if left < limits.quiet && !silent(net, series, limits) => {
                break Ending::OutOfTime;
            }
            Err(ending) => break ending,
        }
    };
    series.end(net.now());
    ending
}

/// Whether nothing has come for half of the time that a pause may take.
fn silent(net: &dyn Net, series: &Series, limits: Limits) -> bool {
    series.last().is_none_or(|last| net.now().since(last) * 2 >= limits.quiet)
}

/// Writes `want` random-looking bytes and notes when the stack took them. Of what it took, some may not have
/// been acknowledged: ask the stack.
pub async fn give<S>(
    net: &dyn Net,
    stream: &mut S,
    block: &[u8],
    want: u64,
    limits: Limits,
    series: &mut Series,
) -> Ending
where
    S: AsyncWrite + Unpin + ?Sized,
{
    let until = net.now() + limits.total;
    let goal = series.bytes() + want;
    let ending = loop {
        if series.bytes() >= goal || block.is_empty() {
            // What TLS holds back goes too.
            let left = until.since(net.now()).min(limits.quiet);
            break write_all(net, stream, &[], left).await.err().unwrap_or(Ending::Complete);
        }
        let left = until.since(net.now());
        if left.is_zero() {
            break Ending::OutOfTime;
        }
        let len = usize::try_from(goal - series.bytes()).unwrap_or(usize::MAX).min(block.len());
        let one = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, &block[..len]));
        match within(net, left.min(limits.quiet), one).await {
            Some(result) => match ended(result) {
                Ok(taken) => series.add(net.now(), taken),
                Err(ending) => break ending,
            },
            None if left < limits.quiet && !silent(net, series, limits) => break Ending::OutOfTime,
            None => break Ending::Quiet,
        }
    };
    series.end(net.now());
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn bursts_with_gaps_are_idle_and_an_even_flow_is_not() {
        let (mut bursts, mut even) = (Series::new(at(0)), Series::new(at(0)));
        for second in 0..5 {
            bursts.add(at(second * 1_000), 8_000);
            bursts.add(at(second * 1_000 + 40), 8_000);
            (0..20).for_each(|step| even.add(at(second * 1_000 + step * 50), 800));
        }
        let bin = Duration::from_millis(100);
        assert!(bursts.idle_share(bin).is_some_and(|share| share > 0.85));
        assert!(even.idle_share(bin).is_some_and(|share| share < 0.05));
        assert_eq!(bursts.bytes(), even.bytes());
    }

    #[test]
    fn goodput_counts_the_silence_at_the_end() {
        let mut series = Series::new(at(0));
        series.add(at(1_000), 10_000);
        assert_eq!(series.goodput(), Some(10_000.0));
        series.end(at(10_000));
        assert_eq!(series.goodput(), Some(1_000.0));
        assert_eq!(Series::new(at(0)).goodput(), None);
    }

    #[test]
    fn a_thinned_series_keeps_its_end() {
        let mut series = Series::new(at(0));
        (1..=1_000).for_each(|step| series.add(at(step), 1));
        let thin = series.thinned(50);
        assert!(thin.len() <= 52);
        assert_eq!(thin.last(), Some(&(1.0, 1_000)));
    }
}
