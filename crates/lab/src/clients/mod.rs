//! What clients do, and what an honest client sees of it.
//!
//! Every activity is an async function over [`Net`] that returns an [`Observed`]: its steps with times and
//! failures under OONI's names, bytes, and rate over time. It knows nothing of boxes; the truth is elsewhere.

pub mod call;
pub mod covert;
pub mod dns;
pub mod tunnel;
pub mod web;

use core::net::IpAddr;
use core::time::Duration;

use okno_model::{Failure, Layer};
use okno_wire::{Endpoint, Instant};

use crate::host::PingAnswer;
use crate::net::{Net, NetError};
use crate::tls::net_failure;

/// One step of an activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// at which layer
    pub layer: Layer,
    /// when it began
    pub began: Instant,
    /// when it ended
    pub ended: Instant,
    /// how it failed
    pub failure: Option<Failure>,
}

/// A call's media as the caller measures them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Media {
    /// packets sent
    pub sent: u32,
    /// packets that came back
    pub received: u32,
    /// interarrival jitter (RFC 3550 §6.4.1), seconds
    pub jitter: f64,
    /// mean time there and back, seconds
    pub round_trip: f64,
}

impl Media {
    /// Share of packets that did not come back.
    pub fn loss(&self) -> f64 {
        1.0 - f64::from(self.received) / f64::from(self.sent.max(1))
    }
}

/// What a client saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// when it began
    pub began: Instant,
    /// when it ended
    pub ended: Instant,
    /// steps in order
    pub steps: Vec<Step>,
    /// address that was used
    pub address: Option<IpAddr>,
    /// addresses that the resolver gave
    pub answers: Vec<IpAddr>,
    /// status of an HTTP answer
    pub status: Option<u16>,
    /// content bytes sent
    pub sent: u64,
    /// content bytes received
    pub received: u64,
    /// content bytes received by each moment, one entry a tenth of a second in which something came
    pub progress: Vec<(Instant, u64)>,
    /// first bytes of the answer's content, at most [`EXCERPT`]
    pub excerpt: Vec<u8>,
    /// a call's media
    pub media: Option<Media>,
}

/// Bytes of an answer that are kept.
pub const EXCERPT: usize = 256;

impl Observed {
    /// Nothing yet.
    pub const fn at(began: Instant) -> Self {
        Self {
            began,
            ended: began,
            steps: Vec::new(),
            address: None,
            answers: Vec::new(),
            status: None,
            sent: 0,
            received: 0,
            progress: Vec::new(),
            excerpt: Vec::new(),
            media: None,
        }
    }

    /// Whether no step failed.
    pub fn is_ok(&self) -> bool {
        self.failure().is_none()
    }

    /// The first failure and its layer.
    pub fn failure(&self) -> Option<(Layer, Failure)> {
        self.steps.iter().find_map(|step| Some((step.layer, step.failure?)))
    }

    /// How long it took.
    pub const fn duration(&self) -> Duration {
        self.ended.since(self.began)
    }

    /// Content bits per second from the first to the last moment in which content came; nothing when that
    /// is shorter than a tenth of a second.
    pub fn goodput_bps(&self) -> Option<u64> {
        let ((first, early), (last, late)) = (self.progress.first()?, self.progress.last()?);
        let span = last.since(*first).as_micros();
        if span < 100_000 {
            return None;
        }
        u64::try_from(u128::from(late - early) * 8_000_000 / span).ok()
    }

    /// Notes a step that began at `began` and ends now.
    pub fn note(&mut self, net: &Net, layer: Layer, began: Instant, failure: Option<Failure>) {
        self.ended = net.now();
        self.steps.push(Step { layer, began, ended: self.ended, failure });
    }

    /// Notes a step by its result; gives what it brought.
    pub fn step<T>(
        &mut self,
        net: &Net,
        layer: Layer,
        began: Instant,
        result: Result<T, Failure>,
    ) -> Option<T> {
        let failure = result.as_ref().err().copied();
        self.note(net, layer, began, failure);
        result.ok()
    }

    /// Notes content that came now.
    pub fn take(&mut self, net: &Net, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        let room = EXCERPT.saturating_sub(self.excerpt.len());
        self.excerpt.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let now = net.now();
        // The last entry is always this moment's, the one before it a tenth of a second older.
        let len = self.progress.len();
        let fresh = len >= 2 && now.since(self.progress[len - 2].0) < Duration::from_millis(100);
        if fresh {
            self.progress.truncate(len - 1);
        }
        self.progress.push((now, self.received));
    }
}

/// A network result with its failure under OONI's name.
pub(crate) fn named<T>(result: Result<T, NetError>) -> Result<T, Failure> {
    result.map_err(|error| net_failure(error.kind))
}

/// Runs `work` for at most `patience`; longer is a timeout.
pub(crate) async fn within<T>(
    net: &Net,
    patience: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    net.timeout(patience, work).await.unwrap_or(Err(Failure::GenericTimeout))
}

/// `count` echo requests, a second apart; fails when none is answered.
pub async fn ping(net: &Net, remote: IpAddr, count: u32, patience: Duration) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote);
    let mut media = Media::default();
    let mut failure = Failure::GenericTimeout;
    for index in 0..count {
        if index > 0 {
            net.sleep(Duration::from_secs(1)).await;
        }
        media.sent += 1;
        match net.ping(remote, None, 56, patience).await {
            Ok(reply) if reply.answer == PingAnswer::Reply => {
                media.received += 1;
                media.round_trip += reply.after.as_secs_f64();
            }
            Ok(_) => failure = Failure::HostUnreachable,
            Err(_) => {}
        }
    }
    media.round_trip /= f64::from(media.received.max(1));
    seen.media = Some(media);
    let began = seen.began;
    seen.note(net, Layer::App, began, (media.received == 0).then_some(failure));
    seen
}

/// Opens `count` connections to `remote` at once, holds them for `hold` and closes them; says how many
/// handshakes were done in `media`.
pub async fn many_connections(
    net: &Net,
    remote: Endpoint,
    count: u32,
    hold: Duration,
    patience: Duration,
) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let handles: Vec<_> = (0..count)
        .map(|_| {
            net.spawn(move |net| async move {
                let stream = within(&net, patience, async { named(net.connect(remote).await) }).await?;
                net.sleep(hold).await;
                drop(stream);
                Ok::<(), Failure>(())
            })
        })
        .collect();
    let mut media = Media { sent: count, ..Media::default() };
    let mut failure = None;
    for handle in handles {
        match handle.await {
            Ok(()) => media.received += 1,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    seen.media = Some(media);
    let began = seen.began;
    seen.note(net, Layer::Tcp, began, failure);
    seen
}
