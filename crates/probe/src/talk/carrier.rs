//! What carries a conversation: a UDP port of its own, or a TCP connection with or without frames.

use core::pin::Pin;
use core::task::Poll;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_wire::{Endpoint, Instant};

use crate::net::{Datagrams, Net, NetError, NetErrorKind, Stream, UdpSetup, within};

/// How messages stand in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// a length of two bytes before each (OpenVPN over TCP)
    Length,
    /// nothing: the answer to a message has its length
    Echo,
}

/// What carries messages.
pub enum Carrier {
    /// a UDP port, and whom it talks to
    Udp {
        /// the port
        socket: Rc<dyn Datagrams>,
        /// the far end
        remote: Endpoint,
    },
    /// a connection
    Tcp {
        /// the connection
        stream: Box<dyn Stream>,
        /// how messages stand in it
        framing: Framing,
        /// bytes that came and make no whole message yet
        buffer: Vec<u8>,
        /// lengths of answers to come, for [`Framing::Echo`]
        expected: VecDeque<usize>,
    },
}

impl Carrier {
    /// A fresh UDP port that talks to `remote` alone.
    pub fn udp(net: &dyn Net, remote: Endpoint) -> Result<Self, NetError> {
        let socket = net.udp(UdpSetup { peer: Some(remote), ..UdpSetup::default() })?;
        Ok(Self::Udp { socket, remote })
    }

    /// Over a connection.
    pub fn tcp(stream: Box<dyn Stream>, framing: Framing) -> Self {
        Self::Tcp { stream, framing, buffer: Vec::new(), expected: VecDeque::new() }
    }

    /// Whether lost messages are sent again below.
    pub const fn repeats(&self) -> bool {
        matches!(self, Self::Tcp { .. })
    }

    /// Sends one message.
    pub async fn send(&mut self, net: &dyn Net, message: &[u8]) -> Result<(), NetError> {
        match self {
            Self::Udp { socket, remote } => socket.send_to(message, *remote, None),
            Self::Tcp { stream, framing, expected, .. } => {
                expected.push_back(message.len());
                let framed = match framing {
                    Framing::Length => okno_wire::openvpn::framed(message),
                    Framing::Echo => message.to_vec(),
                };
                write_all(net, stream.as_mut(), &framed).await
            }
        }
    }

    /// The next message until `until`, and when it came; `None` when the time is up.
    pub async fn receive(
        &mut self,
        net: &dyn Net,
        until: Instant,
    ) -> Result<Option<(Instant, Vec<u8>)>, NetError> {
        loop {
            if let Some(message) = self.whole() {
                return Ok(Some((net.now(), message)));
            }
            let left = until.since(net.now());
            if left.is_zero() {
                return Ok(None);
            }
            match self {
                Self::Udp { socket, .. } => {
                    let next = core::future::poll_fn(|context| socket.poll_receive(context));
                    return match within(net, left, next).await {
                        None => Ok(None),
                        Some(Ok(datagram)) => Ok(Some((datagram.at, datagram.bytes))),
                        Some(Err(error)) => Err(error),
                    };
                }
                Self::Tcp { stream, buffer, .. } => {
                    let Some(taken) = within(net, left, read_some(stream.as_mut(), buffer)).await else {
                        return Ok(None);
                    };
                    let failed = |kind| NetError { kind, at: net.now() };
                    if taken.map_err(|error| failed(NetErrorKind::of(&error)))? == 0 {
                        return Err(failed(NetErrorKind::Closed));
                    }
                }
            }
        }
    }

    /// A whole message out of what has come.
    fn whole(&mut self) -> Option<Vec<u8>> {
        let Self::Tcp { framing, buffer, expected, .. } = self else { return None };
        match framing {
            Framing::Length => {
                let len = usize::from(u16::from_be_bytes([*buffer.first()?, *buffer.get(1)?]));
                (buffer.len() >= 2 + len).then(|| buffer.drain(..2 + len).skip(2).collect())
            }
            Framing::Echo => {
                let len = *expected.front()?;
                (buffer.len() >= len).then(|| {
                    expected.pop_front();
                    buffer.drain(..len).collect()
                })
            }
        }
    }
}

/// Reads once; the number of bytes that came.
pub async fn read_some(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut chunk = [0; 4_096];
    let mut stream = Pin::new(stream);
    let taken =
        core::future::poll_fn(|context| AsyncRead::poll_read(stream.as_mut(), context, &mut chunk)).await?;
    buffer.extend_from_slice(&chunk[..taken]);
    Ok(taken)
}

/// Hands all bytes to the stack.
pub async fn write_all(net: &dyn Net, stream: &mut dyn Stream, bytes: &[u8]) -> Result<(), NetError> {
    let failed = |kind| NetError { kind, at: net.now() };
    let mut stream = Pin::new(stream);
    let mut at = 0;
    let work = core::future::poll_fn(|context| {
        while at < bytes.len() {
            match AsyncWrite::poll_write(stream.as_mut(), context, &bytes[at..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(NetErrorKind::Closed)),
                Poll::Ready(Ok(taken)) => at += taken,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(NetErrorKind::of(&error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        match AsyncWrite::poll_flush(stream.as_mut(), context) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(NetErrorKind::of(&error))),
            Poll::Pending => Poll::Pending,
        }
    });
    // A stack whose buffer is full and whose peer is silent would never take the rest.
    let done = within(net, core::time::Duration::from_secs(10), work).await;
    done.unwrap_or(Err(NetErrorKind::TimedOut)).map_err(failed)
}
