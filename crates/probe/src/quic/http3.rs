//! HTTP/3: h3's traits over a connection that is driven beside the request.

use core::task::{Context as Poller, Poll};
use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{
    BidiStream, Connection as QuicTrait, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream,
    StreamErrorIncoming, StreamId, WriteBuf,
};
use okno_model::Failure;
use quinn_proto::{Dir, VarInt, WriteError};

use super::{Driver, QuicConnection, beside};
use crate::http::{Request, Response, Via, record, sent_headers, title_case};
use crate::net::within;
use crate::trace::Scope;

type Shared = Rc<RefCell<Driver>>;

/// What h3 is told when the connection is gone; the driver knows why.
fn gone(driver: &Shared) -> Option<ConnectionErrorIncoming> {
    driver.borrow().lost.map(|failure| match failure {
        Failure::GenericTimeout => ConnectionErrorIncoming::Timeout,
        _ => ConnectionErrorIncoming::InternalError(failure.as_str().to_owned()),
    })
}

fn gone_stream(driver: &Shared) -> Option<StreamErrorIncoming> {
    gone(driver).map(|connection_error| StreamErrorIncoming::ConnectionErrorIncoming { connection_error })
}

fn unknown(what: &str) -> StreamErrorIncoming {
    StreamErrorIncoming::Unknown(what.into())
}

/// The connection as h3 sees it.
pub(super) struct Carrier(pub(super) Shared);

/// One stream, either way.
pub(super) struct Lane {
    driver: Shared,
    id: quinn_proto::StreamId,
    outgoing: Option<WriteBuf<Bytes>>,
    finished: bool,
}

impl Lane {
    const fn new(driver: Shared, id: quinn_proto::StreamId) -> Self {
        Self { driver, id, outgoing: None, finished: false }
    }

    fn h3_id(&self) -> StreamId {
        // Both count streams as RFC 9000 §2.1 does; quinn-proto's ids are below 2^62.
        StreamId::try_from(VarInt::from(self.id).into_inner()).unwrap_or_else(|_| first_stream())
    }
}

fn first_stream() -> StreamId {
    StreamId::try_from(0).expect("0 is a stream id")
}

impl Carrier {
    fn open(&self, dir: Dir) -> Poll<Result<Lane, StreamErrorIncoming>> {
        if let Some(error) = gone_stream(&self.0) {
            return Poll::Ready(Err(error));
        }
        let id = self.0.borrow_mut().connection.streams().open(dir);
        id.map_or(Poll::Pending, |id| Poll::Ready(Ok(Lane::new(self.0.clone(), id))))
    }

    fn accept(&self, dir: Dir) -> Poll<Result<Lane, ConnectionErrorIncoming>> {
        let id = self.0.borrow_mut().connection.streams().accept(dir);
        match (id, gone(&self.0)) {
            (Some(id), _) => Poll::Ready(Ok(Lane::new(self.0.clone(), id))),
            (None, Some(error)) => Poll::Ready(Err(error)),
            (None, None) => Poll::Pending,
        }
    }

    fn close_with(&self, code: Code, reason: &[u8]) {
        let mut driver = self.0.borrow_mut();
        let now = super::moment_of(driver.scope.now());
        let code = VarInt::try_from(code.value()).unwrap_or(VarInt::MAX);
        driver.connection.close(now, code, Bytes::copy_from_slice(reason));
    }
}

impl OpenStreams<Bytes> for Carrier {
    type BidiStream = Lane;
    type SendStream = Lane;

    fn poll_open_bidi(&mut self, _: &mut Poller<'_>) -> Poll<Result<Lane, StreamErrorIncoming>> {
        self.open(Dir::Bi)
    }

    fn poll_open_send(&mut self, _: &mut Poller<'_>) -> Poll<Result<Lane, StreamErrorIncoming>> {
        self.open(Dir::Uni)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.close_with(code, reason);
    }
}

impl QuicTrait<Bytes> for Carrier {
    type RecvStream = Lane;
    type OpenStreams = Self;

    fn poll_accept_recv(&mut self, _: &mut Poller<'_>) -> Poll<Result<Lane, ConnectionErrorIncoming>> {
        self.accept(Dir::Uni)
    }

    fn poll_accept_bidi(&mut self, _: &mut Poller<'_>) -> Poll<Result<Lane, ConnectionErrorIncoming>> {
        self.accept(Dir::Bi)
    }

    fn opener(&self) -> Self {
        Self(self.0.clone())
    }
}

impl SendStream<Bytes> for Lane {
    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(outgoing) = &mut self.outgoing {
            if !outgoing.has_remaining() {
                self.outgoing = None;
                break;
            }
            let mut driver = self.driver.borrow_mut();
            let written = driver.connection.send_stream(self.id).write(outgoing.chunk());
            match written {
                Ok(taken) => outgoing.advance(taken),
                Err(WriteError::Blocked) if driver.lost.is_none() => return Poll::Pending,
                Err(WriteError::Stopped(code)) => {
                    let error_code = code.into_inner();
                    return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
                }
                Err(_) => {
                    drop(driver);
                    let error = gone_stream(&self.driver).unwrap_or_else(|| unknown("stream is closed"));
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.outgoing.is_some() {
            return Err(unknown("written before the last write was done"));
        }
        self.outgoing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if self.poll_ready(poller)?.is_pending() {
            return Poll::Pending;
        }
        if !self.finished {
            self.finished = true;
            let _ = self.driver.borrow_mut().connection.send_stream(self.id).finish();
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: u64) {
        let code = VarInt::try_from(code).unwrap_or(VarInt::MAX);
        let _ = self.driver.borrow_mut().connection.send_stream(self.id).reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.h3_id()
    }
}

impl RecvStream for Lane {
    type Buf = Bytes;

    fn poll_data(&mut self, _: &mut Poller<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let mut driver = self.driver.borrow_mut();
        let mut stream = driver.connection.recv_stream(self.id);
        let Ok(mut chunks) = stream.read(true) else { return Poll::Ready(Ok(None)) };
        let next = chunks.next(usize::MAX);
        let _ = chunks.finalize();
        match next {
            Ok(chunk) => Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes))),
            Err(quinn_proto::ReadError::Reset(code)) => {
                let error_code = code.into_inner();
                Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }))
            }
            Err(quinn_proto::ReadError::Blocked) => {
                drop(driver);
                gone_stream(&self.driver).map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        let code = VarInt::try_from(code).unwrap_or(VarInt::MAX);
        let _ = self.driver.borrow_mut().connection.recv_stream(self.id).stop(code);
    }

    fn recv_id(&self) -> StreamId {
        self.h3_id()
    }
}

impl BidiStream<Bytes> for Lane {
    type SendStream = Self;
    type RecvStream = Self;

    fn split(self) -> (Self, Self) {
        let other = Self::new(self.driver.clone(), self.id);
        (self, other)
    }
}

/// One GET over HTTP/3, recorded in `requests`.
pub async fn get(scope: &Scope, connection: &QuicConnection, request: &Request) -> Result<Response, Failure> {
    let from = scope.now();
    let sent = sent_headers(request);
    let partial = RefCell::new(Response::default());
    let work = beside(&connection.driver, round_trip(&connection.driver, request, &sent, &partial));
    let result = within(&*scope.world, request.patience, work).await;
    let lost = connection.driver.borrow().lost;
    let result = match result {
        Some(Ok(())) => Ok(()),
        Some(Err(failure)) => Err(lost.unwrap_or(failure)),
        None => Err(Failure::GenericTimeout),
    };
    let response = partial.into_inner();
    let via = Via { remote: Some(connection.remote), alpn: "h3".to_owned() };
    scope.trace.add_request(record(scope, &via, "udp", request, sent, &response, result.err(), from));
    result.map(|()| response)
}

async fn round_trip(
    driver: &Shared,
    request: &Request,
    sent: &[(String, String)],
    partial: &RefCell<Response>,
) -> Result<(), Failure> {
    let broken = Failure::HttpRequestFailed;
    let mut builder = h3::client::builder();
    // GREASE would come from a source of chance that is not the world's.
    builder.send_grease(false);
    let (mut connection, mut sender) = builder.build(Carrier(driver.clone())).await.map_err(|_| broken)?;
    let host = sent.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|(_, value)| value.as_str()).unwrap_or_default();
    let target = crate::http::target(&request.url);
    let mut message =
        http::Request::builder().method(request.method.as_str()).uri(format!("https://{host}{target}"));
    for (name, value) in sent.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        message = message.header(name.as_str(), value.as_str());
    }
    let message = message.body(()).map_err(|_| broken)?;
    let work = async {
        let mut stream = sender.send_request(message).await.map_err(|_| broken)?;
        stream.finish().await.map_err(|_| broken)?;
        let response = stream.recv_response().await.map_err(|_| broken)?;
        {
            let mut partial = partial.borrow_mut();
            partial.code = response.status().as_u16();
            let headers = response.headers().iter();
            partial.headers =
                headers.map(|(name, value)| (title_case(name.as_str()), value.as_bytes().to_vec())).collect();
        }
        while let Some(mut data) = stream.recv_data().await.map_err(|_| broken)? {
            let data = data.copy_to_bytes(data.remaining());
            let mut partial = partial.borrow_mut();
            let room = request.body_limit - partial.body.len().min(request.body_limit);
            partial.body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                partial.truncated = true;
                break;
            }
        }
        Ok(())
    };
    let mut work = core::pin::pin!(work);
    core::future::poll_fn(|poller| {
        // Settings and control streams are h3's business; an end of the connection is the driver's to name.
        let ended = connection.poll_close(poller).is_ready();
        match work.as_mut().poll(poller) {
            Poll::Pending if ended => Poll::Ready(Err(broken)),
            polled => polled,
        }
    })
    .await
}
