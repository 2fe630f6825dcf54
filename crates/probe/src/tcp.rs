//! TCP: a connect that is recorded, and a stream that records its reads and writes.

use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::task::{Context as Poller, Poll, ready};
use std::io;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_model::Failure;

use crate::net::{Dial, Endpoint, IcmpNotice, Instant, NetError, NetErrorKind, Stream, TcpFacts};
use crate::trace::{Scope, TcpRecord, TcpStatus};

/// What went over a stream so far. It stays readable after the stream was moved into TLS or HTTP.
#[derive(Debug, Default)]
pub struct Counters {
    received: Cell<u64>,
    reads: Cell<u64>,
    sent: Cell<u64>,
    writes: Cell<u64>,
    first_read: Cell<Option<Instant>>,
    last_read: Cell<Option<Instant>>,
    progress: RefCell<Option<Vec<(Instant, u64)>>>,
    failure: Cell<Option<Failure>>,
}

impl Counters {
    /// Bytes received.
    pub fn received_bytes(&self) -> u64 {
        self.received.get()
    }

    /// Reads that brought bytes.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Bytes sent.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.get()
    }

    /// Writes.
    pub fn writes(&self) -> u64 {
        self.writes.get()
    }

    /// When the first byte came.
    pub fn first_read(&self) -> Option<Instant> {
        self.first_read.get()
    }

    /// When the last byte came.
    pub fn last_read(&self) -> Option<Instant> {
        self.last_read.get()
    }

    /// The first error or end of the stream that a read or write met.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// Keeps the received total after each read from now on, for throughput over time.
    pub fn keep_progress(&self) {
        self.progress.borrow_mut().get_or_insert_with(Vec::new);
    }

    /// Received totals by moment, as far as they were kept.
    pub fn progress(&self) -> Vec<(Instant, u64)> {
        self.progress.borrow().clone().unwrap_or_default()
    }
}

/// A TCP connection that records.
pub struct Flow {
    stream: Box<dyn Stream>,
    scope: Scope,
    remote: Endpoint,
    counters: Rc<Counters>,
    reading_since: Option<Instant>,
    writing_since: Option<Instant>,
}

/// Connects and records it (`tcp_connect`, and a `connect` event).
pub async fn connect(scope: &Scope, how: Dial) -> Result<Flow, Failure> {
    connect_detailed(scope, how).await.map_err(|error| error.kind.failure())
}

/// The same with the error's own kind and time, for tests that keep classes apart.
pub async fn connect_detailed(scope: &Scope, how: Dial) -> Result<Flow, NetError> {
    let from = scope.now();
    let result = scope.world.connect(how).await;
    let failure = result.as_ref().err().map(|error| error.kind.failure());
    scope.trace.add_tcp(TcpRecord {
        ip: how.remote.ip.to_string(),
        port: how.remote.port,
        status: TcpStatus { blocked: None, failure, success: failure.is_none() },
        stamp: scope.stamp(from),
    });
    scope.event("connect", "tcp", Some(how.remote), from, failure.map_or(Ok(0), Err));
    result.map(|stream| Flow::new(scope, stream))
}

impl Flow {
    /// Records what goes over a stream that is open already.
    pub fn new(scope: &Scope, stream: Box<dyn Stream>) -> Self {
        let (_, remote) = stream.ends();
        Self {
            stream,
            scope: scope.clone(),
            remote,
            counters: Rc::default(),
            reading_since: None,
            writing_since: None,
        }
    }

    /// The other end.
    pub const fn remote(&self) -> Endpoint {
        self.remote
    }

    /// The own end; never written to a measurement.
    pub fn local(&self) -> Endpoint {
        self.stream.ends().0
    }

    /// What went over it so far; shared, so it can be read while TLS or HTTP own the stream.
    pub fn counters(&self) -> Rc<Counters> {
        self.counters.clone()
    }

    /// Sets the TTL of what is sent from now on.
    pub fn set_ttl(&self, ttl: u8) -> Result<(), NetError> {
        self.stream.set_ttl(ttl)
    }

    /// What the stack knows of the connection.
    pub fn facts(&self) -> TcpFacts {
        self.stream.facts()
    }

    /// ICMP messages since the last call.
    pub fn notices(&self) -> Vec<IcmpNotice> {
        self.stream.notices()
    }

    /// Ends it with a reset.
    pub fn abort(self) {
        self.stream.abort();
    }
}

impl AsyncRead for Flow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let from = *this.reading_since.get_or_insert_with(|| this.scope.world.now());
        let result = ready!(Pin::new(&mut this.stream).poll_read(poller, bytes));
        this.reading_since = None;
        let done = match &result {
            // OONI writes the end of a stream as a failed read (df-008).
            Ok(0) => Err(Failure::Eof),
            Ok(taken) => Ok(*taken),
            Err(error) => Err(NetErrorKind::of(error).failure()),
        };
        let counters = &this.counters;
        match done {
            Ok(taken) => {
                let now = this.scope.world.now();
                counters.received.set(counters.received.get() + taken as u64);
                counters.reads.set(counters.reads.get() + 1);
                if counters.first_read.get().is_none() {
                    counters.first_read.set(Some(now));
                }
                counters.last_read.set(Some(now));
                if let Some(progress) = counters.progress.borrow_mut().as_mut() {
                    progress.push((now, counters.received.get()));
                }
            }
            Err(failure) => {
                if counters.failure.get().is_none() {
                    counters.failure.set(Some(failure));
                }
            }
        }
        this.scope.event("read", "tcp", Some(this.remote), from, done);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Flow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let from = *this.writing_since.get_or_insert_with(|| this.scope.world.now());
        let result = ready!(Pin::new(&mut this.stream).poll_write(poller, bytes));
        this.writing_since = None;
        let done = match &result {
            Ok(taken) => Ok(*taken),
            Err(error) => Err(NetErrorKind::of(error).failure()),
        };
        let counters = &this.counters;
        match done {
            Ok(taken) => {
                counters.sent.set(counters.sent.get() + taken as u64);
                counters.writes.set(counters.writes.get() + 1);
            }
            Err(failure) => {
                if counters.failure.get().is_none() {
                    counters.failure.set(Some(failure));
                }
            }
        }
        this.scope.event("write", "tcp", Some(this.remote), from, done);
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(poller)
    }

    fn poll_close(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(poller)
    }
}
