//! TCP connections: one smoltcp interface with one socket each.
//!
//! The host finds the connection; smoltcp does TCP. What smoltcp does not tell (why a socket is closed) is
//! learnt from the packet at hand: a reset, a timer, an ICMP message.

use core::task::Waker;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use okno_probe::net::IcmpNotice;
use okno_wire::build::{IpRepr, TcpRepr};
use okno_wire::packet::{PacketView, TcpView, flag};
use okno_wire::{Endpoint, Instant};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as TcpInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, IpListenEndpoint};

use super::Host;
use super::congestion::Congestion;
use crate::net::{NetError, NetErrorKind};
use crate::world::hasher::FixedMap;
use crate::world::queue::Event;
use crate::world::{NodeId, Packet, Wires, chance};

/// Own end and remote end.
pub(crate) type Ends = (Endpoint, Endpoint);

/// How long a connection that nobody holds may wait for the other side's FIN (Linux's tcp_fin_timeout).
const ORPHAN_LIFE: Duration = Duration::from_secs(60);

/// ICMP errors that a connection keeps until somebody asks for them.
const MAX_NOTICES: usize = 64;

/// A connection.
pub(crate) struct Connection {
    pub ends: Ends,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
    pub failure: Option<NetError>,
    /// ICMP errors about segments of this connection, the oldest first
    pub notices: Vec<IcmpNotice>,
    /// when the handshake was done
    pub established: Option<Instant>,
    /// a program holds it, or it waits to be accepted
    held: bool,
    listener: Option<u16>,
    orphaned: Option<Instant>,
    timer: Option<Instant>,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    seed: u64,
    pub congestion: Congestion,
}

/// A listening port.
#[derive(Default)]
pub(crate) struct Listener {
    pub ready: VecDeque<u32>,
    pub waker: Option<Waker>,
    backlog: usize,
    waiting: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// All connections of a host.
#[derive(Default)]
pub(crate) struct TcpTable {
    by_ends: FixedMap<Ends, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    pub listeners: BTreeMap<u16, Listener>,
    made: u64,
}

impl TcpTable {
    /// A connection that is held.
    pub fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.connection.as_deref_mut()
    }

    fn insert(&mut self, connection: Connection) -> u32 {
        let ends = connection.ends;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections")
        });
        self.slots[index as usize].connection = Some(Box::new(connection));
        self.by_ends.insert(ends, index);
        index
    }

    fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let Some(connection) = slot.connection.take() else { return };
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        if self.by_ends.get(&connection.ends) == Some(&index) {
            self.by_ends.remove(&connection.ends);
        }
        if let Some(listener) = connection.listener.and_then(|port| self.listeners.get_mut(&port)) {
            listener.waiting = listener.waiting.saturating_sub(1);
        }
    }

    /// Connections that exist, in whatever state.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// The link layer that smoltcp sees: at most one packet in, any number out.
struct Pipe<'a> {
    incoming: Option<&'a [u8]>,
    out: &'a mut Vec<Vec<u8>>,
    mtu: u16,
    now: Instant,
    congestion: &'a mut Congestion,
    by_timer: bool,
}

struct Incoming<'a>(&'a [u8]);
struct Outgoing<'a> {
    out: &'a mut Vec<Vec<u8>>,
    now: Instant,
    congestion: &'a mut Congestion,
    by_timer: bool,
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let result = f(&mut bytes);
        if let Some(tcp) = PacketView::parse(&bytes).ok().and_then(|view| view.tcp()) {
            self.congestion.outgoing(self.now, tcp, self.by_timer);
        }
        self.out.push(bytes);
        result
    }
}

impl Device for Pipe<'_> {
    type RxToken<'b>
        = Incoming<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Outgoing<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: TcpInstant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let incoming = self.incoming.take()?;
        Some((Incoming(incoming), self.token()))
    }

    fn transmit(&mut self, _: TcpInstant) -> Option<Outgoing<'_>> {
        self.congestion.may_send().then(|| self.token())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(self.mtu);
        capabilities
    }
}

impl Pipe<'_> {
    const fn token(&mut self) -> Outgoing<'_> {
        Outgoing { out: self.out, now: self.now, congestion: self.congestion, by_timer: self.by_timer }
    }
}

fn tcp_instant(at: Instant) -> TcpInstant {
    TcpInstant::from_micros(i64::try_from(at.micros()).unwrap_or(i64::MAX))
}

fn address(end: Endpoint) -> IpEndpoint {
    IpEndpoint { addr: IpAddress::from(end.ip), port: end.port }
}

fn interface(own: Endpoint, mtu: u16, seed: u64, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let congestion = &mut Congestion::new(536);
    let mut pipe = Pipe { incoming: None, out: &mut Vec::new(), mtu, now, congestion, by_timer: false };
    let mut interface = Interface::new(config, &mut pipe, tcp_instant(now));
    let len = if own.ip.is_ipv4() { 32 } else { 128 };
    interface.update_ip_addrs(|addresses| {
        // The list of a new interface is empty and takes at least one.
        let _ = addresses.push(IpCidr::new(IpAddress::from(own.ip), len));
    });
    interface
}

impl Connection {
    pub fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.handle).state()
    }

    /// Lets smoltcp take `incoming` and send what is due; collects packets in `out`.
    fn poll(&mut self, now: Instant, mtu: u16, incoming: Option<&[u8]>, out: &mut Vec<Vec<u8>>) {
        let tcp = incoming.and_then(|packet| PacketView::parse(packet).ok()).and_then(|view| view.tcp());
        let repairs = match tcp {
            Some(tcp) => self.congestion.incoming(now, tcp),
            None => self.congestion.timer(now),
        };
        self.poll_socket(now, mtu, incoming, out);
        if repairs {
            self.repair(now, mtu, out);
        }
    }

    fn poll_socket(&mut self, now: Instant, mtu: u16, incoming: Option<&[u8]>, out: &mut Vec<Vec<u8>>) {
        let congestion = &mut self.congestion;
        let mut pipe = Pipe { incoming, out, mtu, now, congestion, by_timer: incoming.is_none() };
        self.interface.poll(tcp_instant(now), &mut pipe, &mut self.sockets);
    }

    /// Makes the socket repeat its first segment: two changes of the window, which end its count of
    /// duplicates, then three duplicates. None of these five were on the wire.
    fn repair(&mut self, now: Instant, mtu: u16, out: &mut Vec<Vec<u8>>) {
        // A SYN or FIN alone is the socket's own timer's: duplicates would only stop that.
        if self.socket().send_queue() == 0 {
            return self.congestion.permit();
        }
        let Some((seq, ack, window)) = self.congestion.repair() else { return };
        let (own, remote) = self.ends;
        let ip = IpRepr::new(remote.ip, own.ip);
        for (index, window) in [window ^ 1, window, window, window, window].into_iter().enumerate() {
            if index == 4 {
                self.congestion.permit();
            }
            let mut tcp = TcpRepr::data(remote.port, own.port, seq, ack);
            (tcp.flags, tcp.window) = (flag::ACK, window);
            self.poll_socket(now, mtu, Some(&tcp.emit(&ip, &[])), out);
        }
        self.congestion.repaired();
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn fail(&mut self, kind: NetErrorKind, at: Instant) {
        if self.failure.is_none() {
            self.failure = Some(NetError { kind, at });
        }
    }
}

impl Host {
    fn new_connection(&mut self, now: Instant, ends: Ends) -> Connection {
        self.tcp.made += 1;
        let seed = chance::hash(self.seed, &[4, self.tcp.made]);
        let (receive, send) = self.setup.tcp_buffers;
        let buffer = |len: u32| SocketBuffer::new(vec![0; len as usize]);
        let mut socket = Socket::new(buffer(receive), buffer(send));
        let millis = u64::try_from(self.setup.tcp_timeout.as_millis()).unwrap_or(u64::MAX);
        socket.set_timeout(Some(smoltcp::time::Duration::from_millis(millis)));
        socket.set_nagle_enabled(false);
        socket.set_hop_limit(Some(self.setup.ttl));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let mss = self.mtu_to(ends.1.ip).saturating_sub(if ends.0.ip.is_ipv4() { 40 } else { 60 });
        Connection {
            ends,
            reader: None,
            writer: None,
            failure: None,
            notices: Vec::new(),
            established: None,
            held: false,
            listener: None,
            orphaned: None,
            timer: None,
            interface: interface(ends.0, self.mtu_to(ends.1.ip), seed, now),
            sockets,
            handle,
            seed,
            congestion: Congestion::new(u32::from(mss)),
        }
    }

    /// Begins a connection from `own_port` or a free port.
    pub fn tcp_connect(
        &mut self,
        node: NodeId,
        wires: &mut Wires,
        own_port: Option<u16>,
        remote: Endpoint,
        ttl: Option<u8>,
    ) -> Result<u32, NetErrorKind> {
        let ip = self.address_for(remote.ip).ok_or(NetErrorKind::NetworkUnreachable)?;
        let taken = |host: &Self, port| {
            host.tcp.by_ends.contains_key(&(Endpoint { ip, port }, remote))
                || host.tcp.listeners.contains_key(&port)
        };
        let port = match own_port {
            Some(port) if taken(self, port) => return Err(NetErrorKind::InUse),
            Some(port) => port,
            None => self.ephemeral(taken).ok_or(NetErrorKind::InUse)?,
        };
        let own = Endpoint { ip, port };
        let mut connection = self.new_connection(wires.now, (own, remote));
        connection.held = true;
        let handle = connection.handle;
        let socket = connection.sockets.get_mut::<Socket<'_>>(handle);
        if let Some(ttl) = ttl {
            socket.set_hop_limit(Some(ttl.max(1)));
        }
        socket
            .connect(connection.interface.context(), address(remote), address(own))
            .map_err(|_| NetErrorKind::Unreachable)?;
        let index = self.tcp.insert(connection);
        self.tcp_drive(node, wires, index, None);
        Ok(index)
    }

    /// Opens a port.
    pub fn tcp_listen(&mut self, port: u16, backlog: usize) -> Result<(), NetErrorKind> {
        if self.tcp.listeners.contains_key(&port) {
            return Err(NetErrorKind::InUse);
        }
        self.tcp.listeners.insert(port, Listener { backlog, ..Listener::default() });
        Ok(())
    }

    /// Closes a port; connections that nobody accepted are reset.
    pub fn tcp_unlisten(&mut self, node: NodeId, wires: &mut Wires, port: u16) {
        let Some(listener) = self.tcp.listeners.remove(&port) else { return };
        for index in listener.ready {
            self.tcp_release(node, wires, index, true);
        }
    }

    pub(super) fn tcp_in(&mut self, node: NodeId, wires: &mut Wires, view: &PacketView<'_>) {
        let Some(tcp) = view.tcp() else { return };
        let ends = (view.destination_end(), view.source_end());
        let opens = tcp.flags() & (flag::SYN | flag::ACK | flag::RST) == flag::SYN;
        if let Some(index) = self.tcp.by_ends.get(&ends).copied() {
            // RFC 9293 §3.10.7.4: a new SYN may reopen a connection in TIME-WAIT.
            let reopens =
                opens && self.tcp.at(index).is_some_and(|c| c.state() == State::TimeWait && !c.held);
            if !reopens {
                return self.tcp_drive(node, wires, index, Some(view.bytes()));
            }
            self.tcp.remove(index);
        }
        let room = self.tcp.listeners.get(&ends.0.port).map(|l| l.waiting < l.backlog);
        match room {
            Some(true) if opens => self.tcp_open(node, wires, ends, view),
            // A full backlog is silent, as Linux's is.
            Some(false) if opens => {}
            _ => self.tcp_refuse(node, wires, view, tcp),
        }
    }

    /// A SYN for a listening port.
    fn tcp_open(&mut self, node: NodeId, wires: &mut Wires, ends: Ends, view: &PacketView<'_>) {
        let mut connection = self.new_connection(wires.now, ends);
        connection.listener = Some(ends.0.port);
        let own = address(ends.0);
        let listen = IpListenEndpoint { addr: Some(own.addr), port: own.port };
        if connection.socket().listen(listen).is_err() {
            return;
        }
        if let Some(listener) = self.tcp.listeners.get_mut(&ends.0.port) {
            listener.waiting += 1;
        }
        let index = self.tcp.insert(connection);
        self.tcp_drive(node, wires, index, Some(view.bytes()));
    }

    /// A reset for a segment that belongs to no connection (RFC 9293 §3.10.7.1).
    fn tcp_refuse(&mut self, node: NodeId, wires: &mut Wires, view: &PacketView<'_>, tcp: TcpView<'_>) {
        if !self.setup.answers_closed || tcp.has(flag::RST) || !view.transport_checksum_holds() {
            return;
        }
        let mut reset = TcpRepr::data(tcp.destination_port(), tcp.source_port(), 0, 0);
        reset.window = 0;
        if tcp.has(flag::ACK) {
            (reset.flags, reset.seq) = (flag::RST, tcp.ack());
        } else {
            reset.flags = flag::RST | flag::ACK;
            reset.ack = tcp.seq().wrapping_add(tcp.sequence_len());
        }
        let mut ip = IpRepr::new(view.destination, view.source);
        ip.ttl = self.setup.ttl;
        let packet = reset.emit(&ip, &[]);
        self.send(node, wires, packet);
    }

    /// A connection's timer.
    pub fn tcp_timer(&mut self, node: NodeId, wires: &mut Wires, index: u32, generation: u32) {
        let Some(slot) = self.tcp.slots.get_mut(index as usize) else { return };
        let Some(connection) = &mut slot.connection else { return };
        // A timer that was overtaken by an earlier one, or is of the slot's former tenant, is stale.
        if slot.generation != generation || connection.timer != Some(wires.now) {
            return;
        }
        connection.timer = None;
        if connection.orphaned.is_some_and(|since| wires.now.since(since) >= ORPHAN_LIFE) {
            return self.tcp.remove(index);
        }
        self.tcp_drive(node, wires, index, None);
    }

    /// Lets a connection go on: with a packet, after a program's deed, by its timer.
    pub fn tcp_drive(&mut self, node: NodeId, wires: &mut Wires, index: u32, incoming: Option<&[u8]>) {
        let (now, up, mtu, patience) = (wires.now, self.up, self.setup.mtu, self.setup.tcp_timeout);
        let path_mtu = self.tcp.at(index).map(|c| c.ends.1.ip).map_or(mtu, |remote| self.mtu_to(remote));
        let Some(connection) = self.tcp.at(index) else { return };
        let before = connection.state();
        let mut out = Vec::new();
        // A SYN's patience is the socket's own, which no repair disturbs.
        if incoming.is_none() && before != State::SynSent && connection.congestion.gives_up(now, patience) {
            connection.socket().abort();
        }
        connection.poll(now, path_mtu, incoming, &mut out);
        let after = connection.state();
        if after == State::Closed && before != State::Closed {
            connection.closed(before, incoming, now);
        }
        if matches!(after, State::Established | State::CloseWait) && connection.established.is_none() {
            connection.established = Some(now);
        }
        if before != after || incoming.is_some() {
            connection.wake();
        }
        for bytes in out {
            if up {
                wires.send(node, 0, Packet::new(bytes));
            }
        }
        self.tcp_settle(node, wires, index, after);
    }

    /// After a poll: hands over, frees, sets the timer.
    fn tcp_settle(&mut self, node: NodeId, wires: &mut Wires, index: u32, state: State) {
        let Some(connection) = self.tcp.slots[index as usize].connection.as_deref_mut() else { return };
        if let Some(port) = connection.listener {
            match state {
                State::Established | State::CloseWait => {
                    connection.listener = None;
                    connection.held = true;
                    if let Some(listener) = self.tcp.listeners.get_mut(&port) {
                        listener.waiting = listener.waiting.saturating_sub(1);
                        listener.ready.push_back(index);
                        if let Some(waker) = listener.waker.take() {
                            waker.wake();
                        }
                    }
                }
                // smoltcp goes back to LISTEN when a reset answers its SYN+ACK.
                State::Listen | State::Closed => return self.tcp.remove(index),
                _ => {}
            }
        }
        if state == State::Closed {
            let ends = connection.ends;
            if !connection.held {
                return self.tcp.remove(index);
            }
            if self.tcp.by_ends.get(&ends) == Some(&index) {
                self.tcp.by_ends.remove(&ends);
            }
            return;
        }
        self.tcp_schedule(node, wires, index);
    }

    fn tcp_schedule(&mut self, node: NodeId, wires: &mut Wires, index: u32) {
        let now = wires.now;
        let slot = &mut self.tcp.slots[index as usize];
        let Some(connection) = slot.connection.as_deref_mut() else { return };
        let due = connection.interface.poll_at(tcp_instant(now), &connection.sockets);
        let due = due.map(|at| Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)));
        // What waits for the congestion window is due at an acknowledgment, not now.
        let due = due.filter(|due| *due > now || !connection.congestion.is_full());
        let orphan = connection.orphaned.map(|since| since + ORPHAN_LIFE);
        let repair = connection.congestion.due();
        let Some(at) = [due, orphan, repair].into_iter().flatten().min() else { return };
        // smoltcp was polled a moment ago: what it still calls due cannot be done now. A microsecond would be
        // enough for its clock; a millisecond keeps a mistake from filling the queue.
        let at = if at <= now { now + Duration::from_millis(1) } else { at };
        if connection.timer.is_none_or(|pending| at < pending) {
            connection.timer = Some(at);
            let generation = slot.generation;
            wires.queue.push(at, Event::TcpTimer { node, connection: index, generation });
        }
    }

    /// A program lets go of a connection: with a FIN, or with a reset when it says so or left bytes unread
    /// (as Linux does, RFC 1122 §4.2.2.13).
    pub fn tcp_release(&mut self, node: NodeId, wires: &mut Wires, index: u32, abort: bool) {
        let Some(connection) = self.tcp.at(index) else { return };
        connection.held = false;
        connection.reader = None;
        connection.writer = None;
        if connection.failure.is_some() || connection.state() == State::Closed {
            return self.tcp.remove(index);
        }
        if abort || connection.socket().can_recv() {
            connection.socket().abort();
        } else {
            connection.socket().close();
        }
        connection.orphaned = Some(wires.now);
        self.tcp_drive(node, wires, index, None);
        // A socket that was closed before it could say so has nothing left to do.
        if self.tcp.at(index).is_some_and(|connection| connection.state() == State::Closed) {
            self.tcp.remove(index);
        }
    }

    /// Notes an ICMP error for those who ask.
    pub(super) fn tcp_notice(&mut self, ends: Ends, notice: IcmpNotice) {
        let Some(index) = self.tcp.by_ends.get(&ends).copied() else { return };
        if let Some(connection) = self.tcp.at(index)
            && connection.notices.len() < MAX_NOTICES
        {
            connection.notices.push(notice);
        }
    }

    /// An ICMP error about a segment of this host: it ends a connection attempt (Linux's tcp_v4_err), and is
    /// no more than a hint to a connection that stands (RFC 5461 §2).
    pub(super) fn tcp_error(&mut self, _: NodeId, wires: &mut Wires, ends: Ends, _: u32, kind: NetErrorKind) {
        let Some(index) = self.tcp.by_ends.get(&ends).copied() else { return };
        let Some(connection) = self.tcp.at(index) else { return };
        if connection.state() == State::SynSent {
            connection.fail(kind, wires.now);
            connection.wake();
            self.tcp.by_ends.remove(&ends);
        }
    }

    /// A path takes less than was thought: the connection's interface is made anew with that MTU, and its
    /// unacknowledged bytes go out again when their timer fires.
    pub(super) fn tcp_shrink(&mut self, _: NodeId, wires: &mut Wires, ends: Ends, mtu: u16) {
        let Some(index) = self.tcp.by_ends.get(&ends).copied() else { return };
        if let Some(connection) = self.tcp.at(index) {
            connection.interface = interface(ends.0, mtu, connection.seed, wires.now);
        }
    }
}

impl Connection {
    /// Says why a socket is closed.
    fn closed(&mut self, before: State, incoming: Option<&[u8]>, now: Instant) {
        let reset = incoming
            .and_then(|packet| PacketView::parse(packet).ok())
            .and_then(|view| view.tcp().map(|tcp| tcp.has(flag::RST)))
            .unwrap_or(false);
        match (reset, before) {
            (true, State::SynSent) => self.fail(NetErrorKind::Refused, now),
            (true, _) => self.fail(NetErrorKind::Reset, now),
            (false, State::TimeWait | State::LastAck) => {}
            (false, _) if self.orphaned.is_none() => self.fail(NetErrorKind::TimedOut, now),
            (false, _) => {}
        }
    }
}
