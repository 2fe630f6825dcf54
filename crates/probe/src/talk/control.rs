//! OpenVPN's control channel as a stream: TLS goes through it as through a connection.
//!
//! Either side, over UDP or TCP, without tls-auth and tls-crypt
//! (https://openvpn.net/community-docs/openvpn-protocol.html). Packets are numbered, acknowledged at once,
//! put in order, and over UDP sent again until they are acknowledged. Each packet is told to a [`Log`], which
//! keeps what OONI's openvpn test writes of it and no contents.

use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Context as Poller, Poll, ready};
use core::time::Duration;
use std::io;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use okno_wire::openvpn::{self, Opcode, Repr};
use okno_wire::{Endpoint, Instant};

use crate::net::{Datagrams, NetError, NetErrorKind, Task, World, random};

/// A packet, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// when
    pub at: Instant,
    /// sent, not received
    pub out: bool,
    /// received and of no use
    pub dropped: bool,
    /// opcode
    pub opcode: Opcode,
    /// packet id; 0 for an acknowledgment
    pub id: u32,
    /// packet ids that it acknowledges
    pub acks: Vec<u32>,
    /// bytes of TLS in it
    pub payload: usize,
    /// how often it was sent by now
    pub attempts: u32,
    /// the first byte of TLS in it and the sixth, which tell a hello: 22 and 1 or 2
    pub head: Option<(u8, u8)>,
}

/// Where packets are told.
pub type Log = Rc<dyn Fn(Packet)>;

/// What carries packets.
pub enum Wire {
    /// a UDP port, and whom it talks to
    Udp(Rc<dyn Datagrams>, Endpoint),
    /// a connection, in which each packet has its length before it
    Tcp(Box<dyn crate::net::Stream>),
    /// the same, recorded
    Flow(Box<crate::tcp::Flow>),
}

/// TLS bytes of one packet: with headers below every usual MTU.
const PAYLOAD: usize = 1_100;
/// OpenVPN's `--tls-timeout`.
const REPEAT: Duration = Duration::from_secs(2);
/// Packets under way, after which writing waits.
const WINDOW: usize = 16;

/// One end of a control channel.
pub struct Control {
    world: World,
    wire: Wire,
    log: Log,
    own: u64,
    peer: u64,
    opened: bool,
    next_out: u32,
    next_in: u32,
    /// id, packet, times sent
    unacknowledged: Vec<(Repr, u32)>,
    timer: Option<Task<'static, ()>>,
    incoming: Vec<u8>,
    /// bytes of a stream, in and out
    buffer: (Vec<u8>, Vec<u8>),
}

fn broken(kind: NetErrorKind, world: &World) -> io::Error {
    NetError { kind, at: world.now() }.into()
}

impl Control {
    /// An end at which nothing has happened.
    pub fn new(world: &World, wire: Wire, log: Log) -> Self {
        Self {
            world: world.clone(),
            wire,
            log,
            own: u64::from_be_bytes(random(&**world)),
            peer: 0,
            opened: false,
            next_out: 0,
            next_in: 0,
            unacknowledged: Vec::new(),
            timer: None,
            incoming: Vec::new(),
            buffer: (Vec::new(), Vec::new()),
        }
    }

    /// Opens the session as a client: a hard reset and its answer.
    pub async fn open(&mut self) -> io::Result<()> {
        self.number(Opcode::ResetClientV2, Vec::new())?;
        self.opening().await
    }

    /// Waits for a client's hard reset, which is answered.
    pub async fn accept(&mut self) -> io::Result<()> {
        self.opening().await
    }

    async fn opening(&mut self) -> io::Result<()> {
        core::future::poll_fn(|poller| {
            while !self.opened {
                ready!(self.poll_packet(poller))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn number(&mut self, opcode: Opcode, payload: Vec<u8>) -> io::Result<()> {
        let repr = Repr {
            opcode,
            session: self.own,
            acknowledged: Vec::new(),
            remote: self.peer,
            id: self.next_out,
            payload,
        };
        self.next_out += 1;
        self.put(&repr, 1)?;
        self.unacknowledged.push((repr, 1));
        Ok(())
    }

    fn acknowledge(&mut self, id: u32) -> io::Result<()> {
        let repr = Repr {
            opcode: Opcode::Ack,
            session: self.own,
            acknowledged: vec![id],
            remote: self.peer,
            id: 0,
            payload: Vec::new(),
        };
        self.put(&repr, 1)
    }

    fn put(&mut self, repr: &Repr, attempts: u32) -> io::Result<()> {
        let bytes = repr.emit();
        self.tell(repr, true, false, attempts);
        match &mut self.wire {
            Wire::Udp(socket, remote) => socket.send_to(&bytes, *remote, None).map_err(io::Error::from),
            Wire::Tcp(_) | Wire::Flow(_) => {
                self.buffer.1.extend(openvpn::framed(&bytes));
                Ok(())
            }
        }
    }

    fn tell(&self, repr: &Repr, out: bool, dropped: bool, attempts: u32) {
        let payload = &repr.payload;
        (self.log)(Packet {
            at: self.world.now(),
            out,
            dropped,
            opcode: repr.opcode,
            id: repr.id,
            acks: repr.acknowledged.clone(),
            payload: payload.len(),
            attempts,
            head: payload.first().zip(payload.get(5)).map(|(first, sixth)| (*first, *sixth)),
        });
    }

    /// Sends what waits, takes the next packet, and repeats what had no answer.
    fn poll_packet(&mut self, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = self.poll_drain(poller) {
            result?;
        }
        let bytes = match self.poll_wire(poller) {
            Poll::Ready(bytes) => bytes?,
            Poll::Pending => {
                self.poll_repeat(poller)?;
                return Poll::Pending;
            }
        };
        // What does not parse is data, or a stranger's noise.
        if let Ok(repr) = Repr::parse(&bytes) {
            self.take(repr)?;
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, repr: Repr) -> io::Result<()> {
        let opens = matches!(repr.opcode, Opcode::ResetClientV2 | Opcode::ResetServerV2);
        let stranger = self.opened && repr.session != self.peer;
        let late = repr.opcode == Opcode::Control && repr.id != self.next_in;
        self.tell(&repr, false, stranger || late, 0);
        if stranger {
            return Ok(());
        }
        self.unacknowledged.retain(|(sent, _)| !repr.acknowledged.contains(&sent.id));
        if opens {
            if !self.opened {
                self.opened = true;
                self.peer = repr.session;
                self.next_in = 1;
                if repr.opcode == Opcode::ResetClientV2 {
                    return self.answer_reset(repr.id);
                }
            }
            return self.acknowledge(repr.id);
        }
        if repr.opcode != Opcode::Control || !self.opened {
            return Ok(());
        }
        if repr.id == self.next_in {
            self.next_in += 1;
            self.incoming.extend(repr.payload);
        } else if repr.id > self.next_in {
            // It comes again: only what is in order is kept.
            return Ok(());
        }
        self.acknowledge(repr.id)
    }

    fn answer_reset(&mut self, id: u32) -> io::Result<()> {
        let repr = Repr {
            opcode: Opcode::ResetServerV2,
            session: self.own,
            acknowledged: vec![id],
            remote: self.peer,
            id: self.next_out,
            payload: Vec::new(),
        };
        self.next_out += 1;
        self.put(&repr, 1)?;
        self.unacknowledged.push((repr, 1));
        Ok(())
    }

    /// The next packet's bytes.
    fn poll_wire(&mut self, poller: &mut Poller<'_>) -> Poll<io::Result<Vec<u8>>> {
        loop {
            let stream: &mut (dyn AsyncRead + Unpin) = match &mut self.wire {
                Wire::Udp(socket, remote) => {
                    let datagram = ready!(socket.poll_receive(poller)).map_err(io::Error::from)?;
                    if datagram.from == *remote {
                        return Poll::Ready(Ok(datagram.bytes));
                    }
                    continue;
                }
                Wire::Tcp(stream) => stream,
                Wire::Flow(flow) => &mut **flow,
            };
            let frame = openvpn::frames(&self.buffer.0).next().map(<[u8]>::to_vec);
            if let Some(frame) = frame {
                self.buffer.0.drain(..2 + frame.len());
                return Poll::Ready(Ok(frame));
            }
            let mut chunk = [0; 4_096];
            let taken = ready!(Pin::new(stream).poll_read(poller, &mut chunk))?;
            if taken == 0 {
                return Poll::Ready(Err(broken(NetErrorKind::Closed, &self.world)));
            }
            self.buffer.0.extend_from_slice(&chunk[..taken]);
        }
    }

    /// Hands framed packets to the stream.
    fn poll_drain(&mut self, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.1.is_empty() {
            let stream: &mut (dyn AsyncWrite + Unpin) = match &mut self.wire {
                Wire::Udp(..) => return Poll::Ready(Ok(())),
                Wire::Tcp(stream) => stream,
                Wire::Flow(flow) => &mut **flow,
            };
            let taken = ready!(Pin::new(stream).poll_write(poller, &self.buffer.1))?;
            if taken == 0 {
                return Poll::Ready(Err(broken(NetErrorKind::Closed, &self.world)));
            }
            self.buffer.1.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }

    /// Over UDP: what is not acknowledged goes out again.
    fn poll_repeat(&mut self, poller: &mut Poller<'_>) -> io::Result<()> {
        if !matches!(self.wire, Wire::Udp(..)) {
            return Ok(());
        }
        loop {
            if self.unacknowledged.is_empty() {
                self.timer = None;
                return Ok(());
            }
            let world = &self.world;
            let timer = self.timer.get_or_insert_with(|| world.sleep_until(world.now() + REPEAT));
            if timer.as_mut().poll(poller).is_pending() {
                return Ok(());
            }
            self.timer = None;
            let mut waiting = core::mem::take(&mut self.unacknowledged);
            for (repr, attempts) in &mut waiting {
                *attempts += 1;
                self.put(repr, *attempts)?;
            }
            self.unacknowledged = waiting;
        }
    }
}

impl AsyncRead for Control {
    fn poll_read(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        while self.incoming.is_empty() {
            ready!(self.poll_packet(poller))?;
        }
        // An acknowledgment may still wait for the stream.
        if let Poll::Ready(result) = self.poll_drain(poller) {
            result?;
        }
        let taken = bytes.len().min(self.incoming.len());
        bytes[..taken].copy_from_slice(&self.incoming[..taken]);
        self.incoming.drain(..taken);
        Poll::Ready(Ok(taken))
    }
}

impl AsyncWrite for Control {
    fn poll_write(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        while self.unacknowledged.len() >= WINDOW {
            ready!(self.poll_packet(poller))?;
        }
        let taken = bytes.len().min(PAYLOAD);
        self.number(Opcode::Control, bytes[..taken].to_vec())?;
        if let Poll::Ready(result) = self.poll_drain(poller) {
            result?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(poller)
    }

    fn poll_close(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(poller)
    }
}

/// A log that keeps packets.
pub fn keeping() -> (Log, Rc<RefCell<Vec<Packet>>>) {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let inner = kept.clone();
    (Rc::new(move |packet| inner.borrow_mut().push(packet)), kept)
}
