//! Congestion control and quick repair for smoltcp's sockets, from outside.
//!
//! Without a congestion window a sender meets a policer with a full window each second and starves, which no
//! real host does; and smoltcp repeats nothing before a second has passed, where Linux does after 200 ms. So
//! the host watches segments and acknowledgments go by, holds data back beyond a window (NewReno: RFC 5681,
//! RFC 6582; initial window of RFC 6928), and when a repair is due it hands the socket three duplicate
//! acknowledgments of its own, which never were on the wire, so that the socket repeats its first segment.
//! There is no SACK: one hole a round trip is filled.

use core::time::Duration;

use okno_wire::Instant;
use okno_wire::packet::{TcpView, flag};

/// Linux's floor of what is added to the smoothed round trip (TCP_RTO_MIN).
const MIN_MARGIN: Duration = Duration::from_millis(200);
/// Before any round trip is measured (RFC 6298 §2.1).
const FIRST_RTO: Duration = Duration::from_secs(1);
/// RFC 6298 §2.5.
const MAX_RTO: Duration = Duration::from_secs(60);
/// smoltcp repeats nothing by itself before this.
const SOCKET_RTO: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// nothing is known to be lost
    Open,
    /// repairing after duplicate acknowledgments, until this is acknowledged
    Fast(u32),
    /// repairing after a timeout, until this is acknowledged
    Timeout(u32),
}

/// A sender's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    /// segment size, bytes
    mss: u32,
    window: u32,
    threshold: u32,
    /// first unacknowledged, next to be sent, beyond all that ever was sent
    una: u32,
    next: u32,
    top: u32,
    phase: Phase,
    started: bool,
    duplicates: u32,
    /// the other side waits for an acknowledgment
    owes_ack: bool,
    /// segments that may leave beyond the window
    extra: u32,
    /// the socket was told to repeat its first segment
    repairing: bool,
    /// since when nothing was acknowledged, or when the socket's own timer began anew
    progress: Instant,
    /// when this timer fired last
    tried: Instant,
    /// since when something waits for an acknowledgment; when a segment of the peer came last
    waits: Instant,
    heard: Instant,
    backoff: u32,
    timed: Option<(u32, Instant)>,
    smooth: Option<(Duration, Duration)>,
    /// what the peer sent last: its next sequence number and its window
    peer: Option<(u32, u16)>,
    /// segments that were sent again
    again: u32,
}

const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Congestion {
    pub const fn new(mss: u32) -> Self {
        Self {
            mss,
            window: 10 * mss,
            threshold: u32::MAX,
            una: 0,
            next: 0,
            top: 0,
            phase: Phase::Open,
            started: false,
            duplicates: 0,
            owes_ack: false,
            extra: 0,
            repairing: false,
            progress: Instant::ZERO,
            tried: Instant::ZERO,
            waits: Instant::ZERO,
            heard: Instant::ZERO,
            backoff: 0,
            timed: None,
            smooth: None,
            peer: None,
            again: 0,
        }
    }

    /// Smoothed round-trip time, segments sent again, segment size.
    pub fn facts(&self) -> (Option<Duration>, u32, u32) {
        (self.smooth.map(|(mean, _)| mean), self.again, self.mss)
    }

    const fn flight(&self) -> u32 {
        self.next.wrapping_sub(self.una)
    }

    /// Whether another segment may leave.
    pub const fn may_send(&self) -> bool {
        !self.started || self.owes_ack || self.extra > 0 || self.flight() < self.window
    }

    /// Whether data waits for the window alone, as far as can be told from here.
    pub const fn is_full(&self) -> bool {
        !self.may_send()
    }

    fn halve(&mut self) {
        self.threshold = (self.flight() / 2).max(2 * self.mss);
    }

    /// A segment from the peer, before the socket sees it. True when a repair is due after that.
    pub fn incoming(&mut self, now: Instant, tcp: TcpView<'_>) -> bool {
        self.heard = now;
        if tcp.sequence_len() > 0 {
            self.owes_ack = true;
        }
        let end = tcp.seq().wrapping_add(tcp.sequence_len());
        if self.peer.is_none_or(|(known, _)| !after(known, end)) {
            self.peer = Some((end, tcp.window()));
        }
        if !self.started || !tcp.has(flag::ACK) || after(tcp.ack(), self.top) {
            return false;
        }
        if after(tcp.ack(), self.una) {
            return self.advance(now, tcp.ack());
        }
        let plain = tcp.sequence_len() == 0 && !tcp.has(flag::RST);
        if tcp.ack() == self.una && plain && self.flight() > 0 {
            self.duplicates += 1;
            match (self.duplicates, self.phase) {
                // RFC 3042: one new segment for each of the first two.
                (1 | 2, Phase::Open) => self.extra = 1,
                (3, Phase::Open) => {
                    self.halve();
                    self.window = self.threshold + 3 * self.mss;
                    self.phase = Phase::Fast(self.top);
                    self.extra = 1;
                    self.timed = None;
                }
                (4.., Phase::Fast(_)) => self.window = self.window.saturating_add(self.mss),
                _ => {}
            }
        }
        false
    }

    /// New data are acknowledged.
    fn advance(&mut self, now: Instant, ack: u32) -> bool {
        let acked = ack.wrapping_sub(self.una);
        self.una = ack;
        if after(ack, self.next) {
            self.next = ack;
        }
        (self.progress, self.waits, self.backoff, self.duplicates) = (now, now, 0, 0);
        if let Some((end, sent)) = self.timed
            && !after(end, ack)
        {
            self.measure(now.since(sent));
            self.timed = None;
        }
        match self.phase {
            Phase::Fast(until) if after(until, ack) => {
                // RFC 6582 §3.2: a partial acknowledgment names the next hole.
                self.window = self.window.saturating_sub(acked).saturating_add(self.mss).max(self.mss);
                return true;
            }
            Phase::Fast(_) => {
                self.window = self.threshold;
                self.phase = Phase::Open;
            }
            Phase::Timeout(until) => {
                self.grow(acked);
                if after(until, ack) {
                    // Bytes that the socket will send again by itself are no hole to be named.
                    return after(self.next, ack);
                }
                self.phase = Phase::Open;
            }
            Phase::Open => self.grow(acked),
        }
        false
    }

    fn grow(&mut self, acked: u32) {
        let step = if self.window < self.threshold {
            acked.min(2 * self.mss)
        } else {
            (self.mss * self.mss / self.window.max(1)).max(1)
        };
        // Nothing in the lab has more in flight.
        self.window = self.window.saturating_add(step).min(16 << 20);
    }

    /// RFC 6298 §2.
    fn measure(&mut self, sample: Duration) {
        self.smooth = Some(match self.smooth {
            None => (sample, sample / 2),
            Some((mean, deviation)) => {
                (mean * 7 / 8 + sample / 8, deviation * 3 / 4 + mean.abs_diff(sample) / 4)
            }
        });
    }

    fn rto(&self) -> Duration {
        let first = self.smooth.map_or(FIRST_RTO, |(mean, deviation)| mean + (deviation * 4).max(MIN_MARGIN));
        (first * 2u32.saturating_pow(self.backoff)).min(MAX_RTO)
    }

    /// When something has to be done if nothing is acknowledged until then.
    ///
    /// `progress` alone will not do: beyond [`MAX_RTO`] after it, it names a moment that has passed for ever.
    pub fn due(&self) -> Option<Instant> {
        let rto = self.rto();
        (self.started && self.flight() > 0).then(|| (self.progress + rto).max(self.tried + rto / 2))
    }

    /// Whether the peer has been silent for so long while something waits for its acknowledgment. The socket
    /// cannot tell: to it the duplicates of a repair are segments of the peer.
    pub fn gives_up(&self, now: Instant, patience: Duration) -> bool {
        self.started && self.flight() > 0 && now.since(self.waits.max(self.heard)) >= patience
    }

    /// Lets the timer fire. True when a repair is due.
    pub fn timer(&mut self, now: Instant) -> bool {
        if self.due().is_none_or(|due| now < due) {
            // The socket's own timer may be due: what it repeats must not be held back.
            let late = now.since(self.progress) >= SOCKET_RTO;
            self.extra = u32::from(self.started && self.flight() > 0 && late);
            return false;
        }
        if !matches!(self.phase, Phase::Timeout(_)) {
            self.halve();
        }
        self.window = self.mss;
        self.phase = Phase::Timeout(self.top);
        self.timed = None;
        self.tried = now;
        self.backoff = self.backoff.saturating_add(1);
        true
    }

    /// The peer's next sequence number, the number to acknowledge again, the peer's window.
    pub fn repair(&mut self) -> Option<(u32, u32, u16)> {
        let (seq, window) = self.peer?;
        self.repairing = true;
        self.extra = 0;
        Some((seq, self.una, window))
    }

    /// Lets one segment leave beyond the window.
    pub const fn permit(&mut self) {
        self.extra = 1;
    }

    /// The repair is over.
    pub const fn repaired(&mut self) {
        self.repairing = false;
    }

    /// A segment that the socket sends.
    pub fn outgoing(&mut self, now: Instant, tcp: TcpView<'_>, by_timer: bool) {
        self.owes_ack = false;
        let len = tcp.sequence_len();
        if len == 0 || tcp.has(flag::RST) {
            return;
        }
        let (seq, end) = (tcp.seq(), tcp.seq().wrapping_add(len));
        if self.started && !after(end, self.top) {
            self.again += 1;
        }
        if tcp.has(flag::SYN) {
            (self.una, self.next, self.top) = (seq, end, end);
            (self.started, self.progress, self.waits) = (true, now, now);
            self.timed = self.timed.is_none().then_some((end, now));
            return;
        }
        self.extra = self.extra.saturating_sub(1);
        if self.flight() == 0 {
            (self.progress, self.waits) = (now, now);
        }
        if after(end, self.top) {
            if seq == self.top && self.timed.is_none() && self.phase == Phase::Open {
                self.timed = Some((end, now));
            }
            self.top = end;
        }
        if after(end, self.next) {
            self.next = end;
        } else if by_timer && !self.repairing && seq == self.una {
            // The socket's own timer: it begins anew from here.
            if !matches!(self.phase, Phase::Timeout(_)) {
                self.halve();
            }
            (self.window, self.phase, self.next) = (self.mss, Phase::Timeout(self.top), end);
            (self.timed, self.progress) = (None, now);
        }
    }
}
