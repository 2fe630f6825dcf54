//! Looking into flows: from packets to events, as far as the switches let an engine see.
//!
//! A flow has an [`Inspection`] only while something is to be learned; then it is dropped with all buffers.
//! A segment that begins the stream is looked at in place and copied only when more has to follow.

mod datagram;
mod http;
mod tls;

use datagram::Datagrams;
use okno_wire::recognise::{Ports, Recogniser, Side, Stream};
use okno_wire::{Instant, PacketView};

use crate::chance;
use crate::middlebox::Direction;
use crate::reassembly::{Assembler, Offered};
use crate::switches::{Reassembly, Switches, port_is_in};
use crate::technique::{Event, Interest, PerWay};

/// What one way's stream was looked at for.
#[derive(Debug, Default)]
struct Lane {
    assembler: Assembler,
    /// the TLS hello was read, or cannot come
    tls_done: bool,
    /// where in what is kept of the stream TLS may begin
    tls_base: u32,
    /// requests read
    requests: u32,
    /// where in it the next request may begin
    http_base: u32,
    http_done: bool,
    data_packets: u32,
    /// DNS queries read
    queries: usize,
}

/// The state of looking into one flow.
#[derive(Debug)]
pub(crate) struct Inspection {
    lanes: PerWay<Lane>,
    recogniser: Option<Recogniser>,
    /// data packets that may still be looked at
    budget: u32,
    datagrams: Datagrams,
}

/// The packet at hand, in its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub packet: &'a PacketView<'a>,
    pub payload: &'a [u8],
    pub now: Instant,
    pub opened: Instant,
    pub direction: Direction,
    pub opened_by: Direction,
    pub inside_port: u16,
    pub outside_port: u16,
    /// of the flow, this packet included
    pub packets: u32,
    pub midstream: bool,
    pub seed: u64,
    pub flow_hash: u64,
}

impl Seen<'_> {
    fn is_from_opener(&self) -> bool {
        self.direction == self.opened_by
    }

    fn ports(&self) -> Ports {
        match self.opened_by {
            Direction::Up => Ports { initiator: self.inside_port, responder: self.outside_port },
            Direction::Down => Ports { initiator: self.outside_port, responder: self.inside_port },
        }
    }

    fn server_port_in(&self, ports: &[u16]) -> bool {
        port_is_in(ports, self.ports().responder)
    }
}

/// Whether there is more to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Going,
    Finished,
}

/// Where events go.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(&Event<'_>);

impl Inspection {
    pub fn new(recognise: bool) -> Self {
        Self {
            lanes: PerWay::default(),
            recogniser: recognise.then(Recogniser::new),
            budget: u32::MAX,
            datagrams: Datagrams::default(),
        }
    }

    /// Bytes that it keeps.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.lanes.up.assembler.memory()
            + self.lanes.down.assembler.memory()
            + self.datagrams.memory()
            + self.recogniser.as_ref().map_or(0, Recogniser::held_bytes)
    }

    /// A SYN of one way: data begins after it.
    pub fn begin(&mut self, direction: Direction, seq: u32, switches: &Switches) {
        let lane = self.lanes.of_mut(direction);
        if !lane.assembler.has_begun() {
            lane.assembler.begin(seq.wrapping_add(1), &switches.tcp);
        }
    }

    /// A segment without data.
    pub fn control(&mut self, direction: Direction, seq: u32, switches: &Switches) {
        self.lanes.of_mut(direction).assembler.control(seq, &switches.tcp);
    }

    /// Whether the windows of the switches are over.
    fn is_over(&mut self, switches: &Switches, seen: &Seen<'_>) -> bool {
        let window = &switches.window;
        if self.budget == 0 {
            return true;
        }
        self.budget -= 1;
        let data_packets = self.lanes.up.data_packets + self.lanes.down.data_packets;
        let exceeds = |limit: Option<u32>, count| limit.is_some_and(|limit| limit > 0 && count > limit);
        let late = |limit: u32| limit > 0 && seen.now.since(seen.opened).as_secs() >= u64::from(limit);
        exceeds(window.packets, seen.packets)
            || exceeds(window.data_packets, data_packets)
            || window.seconds.is_some_and(late)
            || (window.first_data_only && self.lanes.up.data_packets > 1 && self.lanes.down.data_packets > 1)
    }

    /// Whether this way was looked at as far as it is, though the other may still be.
    fn is_spent(&self, switches: &Switches, seen: &Seen<'_>) -> bool {
        switches.window.first_data_only && self.lanes.of(seen.direction).data_packets > 1
    }

    /// Looks at the data of one TCP segment whose first byte has sequence number `seq`.
    pub fn tcp(
        &mut self,
        switches: &Switches,
        wanted: Interest,
        seen: &Seen<'_>,
        seq: u32,
        tell: Tell<'_>,
    ) -> Progress {
        self.lanes.of_mut(seen.direction).data_packets += 1;
        if self.is_over(switches, seen) {
            return Progress::Finished;
        }
        if self.is_spent(switches, seen) {
            return Progress::Going;
        }
        let first = self.lanes.up.data_packets + self.lanes.down.data_packets == 1;
        let cap = switches.window.bytes as usize;
        let alone = switches.tcp.reassembly == Reassembly::None;
        if alone || !switches.http.joined {
            self.look_at_segment(switches, wanted, seen, alone, tell);
        }
        let fresh = self.lanes.of(seen.direction).assembler.is_next(seq, cap);
        let mut lane = core::mem::take(self.lanes.of_mut(seen.direction));
        let mut seen_len = seen.payload.len();
        if fresh {
            let segments = 1;
            self.look_at_stream(switches, wanted, seen, &mut lane, seen.payload, segments, tell);
        } else {
            let offered = lane.assembler.offer(seq, seen.payload, cap, &switches.tcp);
            if offered == Offered::Grew {
                let (bytes, segments) = (lane.assembler.lend(), lane.assembler.segments);
                self.look_at_stream(switches, wanted, seen, &mut lane, &bytes, segments, tell);
                lane.assembler.give_back(bytes);
            }
            if offered == Offered::GaveUp {
                (lane.tls_done, lane.http_done) = (true, true);
            }
            seen_len = lane.assembler.bytes().len();
        }
        let needed = self.needs_bytes(switches, wanted, seen, &lane, seen_len);
        *self.lanes.of_mut(seen.direction) = lane;
        if first {
            self.judge_first(switches, seen);
        }
        if self.is_finished(switches, wanted, seen) {
            return Progress::Finished;
        }
        let lane = self.lanes.of_mut(seen.direction);
        match (needed, fresh) {
            (true, true) => {
                lane.assembler.offer(seq, seen.payload, cap, &switches.tcp);
            }
            (true, false) => {}
            (false, _) => {
                lane.assembler.pass_over(seq, if fresh { seen.payload.len() } else { 0 });
                (lane.tls_base, lane.http_base) = (0, 0);
            }
        }
        Progress::Going
    }

    /// Whether what was looked at of a stream has to be kept for what follows.
    fn needs_bytes(
        &self,
        switches: &Switches,
        wanted: Interest,
        seen: &Seen<'_>,
        lane: &Lane,
        len: usize,
    ) -> bool {
        let learning = self.recogniser.as_ref().is_some_and(|recogniser| !recogniser.is_done());
        let queries = wanted.has(Interest::DNS_QUERY) && seen.server_port_in(&switches.dns.ports);
        let joins = switches.tcp.reassembly != Reassembly::None;
        let hello = !lane.tls_done && (lane.tls_base as usize) < len && wants_hello(switches, wanted, seen);
        let request = !lane.http_done && switches.http.joined && wants_request(switches, wanted, seen);
        learning || (queries && switches.dns.tcp) || (joins && (hello || request))
    }

    /// The rules of a first data packet: junk ends it, a known protocol limits it.
    fn judge_first(&mut self, switches: &Switches, seen: &Seen<'_>) {
        let window = &switches.window;
        let known =
            tls::looks_like(seen.payload) || http::looks_like(seen.payload) || looks_like_socks(seen.payload);
        if !known && window.junk_first_min.is_some_and(|least| seen.payload.len() >= least as usize) {
            self.budget = 0;
        } else if let Some((least, most)) = window.budget_after_first.filter(|_| known) {
            let budget =
                chance::between(seen.seed, "budget_after_first", &seen.flow_hash, least.into(), most.into());
            self.budget = budget as u32;
        }
    }

    /// One segment by itself, when nothing is joined.
    fn look_at_segment(
        &mut self,
        switches: &Switches,
        wanted: Interest,
        seen: &Seen<'_>,
        alone: bool,
        tell: Tell<'_>,
    ) {
        let hellos = alone && wants_hello(switches, wanted, seen);
        let lane = self.lanes.of_mut(seen.direction);
        if hellos && !lane.tls_done {
            let found = tls::read(seen.payload, 1, 0, switches, seen.direction, tell);
            lane.tls_done = found == tls::Found::Hello && !switches.tls.later_hellos;
        }
        if wants_request(switches, wanted, seen) && !lane.http_done {
            let index = lane.requests + 1;
            if http::read(seen.payload, index, switches, tell).is_some() {
                lane.requests = index;
            }
            lane.http_done = switches.http.requests.is_some_and(|limit| lane.requests >= limit);
        }
    }

    /// The contiguous start of one way.
    #[expect(
        clippy::too_many_arguments,
        reason = "the lane is taken apart from the rest while it is looked at"
    )]
    fn look_at_stream(
        &mut self,
        switches: &Switches,
        wanted: Interest,
        seen: &Seen<'_>,
        lane: &mut Lane,
        stream: &[u8],
        segments: u32,
        tell: Tell<'_>,
    ) {
        if switches.tcp.reassembly != Reassembly::None {
            if !lane.tls_done && wants_hello(switches, wanted, seen) {
                look_for_hello(switches, seen, lane, stream, segments, tell);
            }
            if !lane.http_done && switches.http.joined && wants_request(switches, wanted, seen) {
                look_for_requests(switches, lane, stream, tell);
            }
        }
        let queries = wanted.has(Interest::DNS_QUERY) && switches.dns.tcp && seen.is_from_opener();
        if queries && seen.server_port_in(&switches.dns.ports) {
            look_for_queries(switches, lane, stream, tell);
        }
        let other = self.lanes.of(seen.direction.flip()).assembler.bytes();
        if let Some(recogniser) = self.recogniser.as_mut().filter(|recogniser| !recogniser.is_done()) {
            let (initiator, responder) =
                if seen.is_from_opener() { (stream, other) } else { (other, stream) };
            let stream = Stream { initiator, responder, ports: seen.ports(), midstream: seen.midstream };
            if let Some(recognition) = recogniser.stream(&stream) {
                tell(&Event::Recognised(&recognition));
            }
        }
    }

    /// Looks at one UDP datagram.
    pub fn udp(
        &mut self,
        switches: &Switches,
        wanted: Interest,
        seen: &Seen<'_>,
        tell: Tell<'_>,
    ) -> Progress {
        self.lanes.of_mut(seen.direction).data_packets += 1;
        if self.is_over(switches, seen) {
            return Progress::Finished;
        }
        if self.is_spent(switches, seen) {
            return Progress::Going;
        }
        if let Some(recogniser) = &mut self.recogniser {
            let side = if seen.is_from_opener() { Side::Initiator } else { Side::Responder };
            if let Some(recognition) = recogniser.datagram(side, seen.payload, seen.ports()) {
                tell(&Event::Recognised(&recognition));
            }
        }
        self.datagrams.look(switches, wanted, seen, tell);
        let datagrams = Interest(Interest::QUIC_INITIAL.0 | Interest::DNS_QUERY.0 | Interest::DTLS_HELLO.0);
        let learning = self.recogniser.as_ref().is_some_and(|recogniser| !recogniser.is_done());
        if learning || wanted.any(datagrams) { Progress::Going } else { Progress::Finished }
    }

    /// Looks at one packet that is neither TCP nor UDP.
    pub fn other(&mut self, seen: &Seen<'_>, tell: Tell<'_>) -> Progress {
        if let Some(recogniser) = &mut self.recogniser
            && let Some(recognition) = recogniser.raw(seen.packet.protocol, seen.packet.ip_payload())
        {
            tell(&Event::Recognised(&recognition));
        }
        Progress::Finished
    }

    fn is_finished(&self, switches: &Switches, wanted: Interest, seen: &Seen<'_>) -> bool {
        if self.recogniser.as_ref().is_some_and(|recogniser| !recogniser.is_done()) {
            return false;
        }
        if wanted.has(Interest::DNS_QUERY) && switches.dns.tcp && seen.server_port_in(&switches.dns.ports) {
            return false;
        }
        let hellos = switches.tls.enabled && seen.server_port_in(&switches.tls.ports);
        let requests = switches.http.enabled
            && wanted.has(Interest::HTTP_REQUEST)
            && seen.server_port_in(&switches.http.ports);
        [Direction::Up, Direction::Down].into_iter().all(|direction| {
            let (lane, opener) = (self.lanes.of(direction), direction == seen.opened_by);
            let wants = wanted.has(Interest::CLIENT_HELLO_EITHER_SIDE)
                || (opener && wanted.has(Interest::CLIENT_HELLO));
            (lane.tls_done || !hellos || !wants) && (lane.http_done || !requests || !opener)
        })
    }
}

/// Whether a hello of this way is wanted.
fn wants_hello(switches: &Switches, wanted: Interest, seen: &Seen<'_>) -> bool {
    let either = wanted.has(Interest::CLIENT_HELLO_EITHER_SIDE);
    switches.tls.enabled
        && (either || (wanted.has(Interest::CLIENT_HELLO) && seen.is_from_opener()))
        && seen.server_port_in(&switches.tls.ports)
}

/// Whether a request of this way is wanted.
fn wants_request(switches: &Switches, wanted: Interest, seen: &Seen<'_>) -> bool {
    switches.http.enabled
        && wanted.has(Interest::HTTP_REQUEST)
        && seen.is_from_opener()
        && seen.server_port_in(&switches.http.ports)
}

fn look_for_hello(
    switches: &Switches,
    seen: &Seen<'_>,
    lane: &mut Lane,
    stream: &[u8],
    segments: u32,
    tell: Tell<'_>,
) {
    let passed = lane.assembler.passed();
    if lane.data_packets == 1 && (stream.len() as u64) < u64::from(switches.tls.first_segment_min) {
        lane.tls_done = true;
        return;
    }
    let Some(rest) = stream.get(lane.tls_base as usize..) else { return };
    let offset = passed.saturating_add(lane.tls_base);
    match tls::read(rest, segments, offset, switches, seen.direction, tell) {
        tls::Found::NeedMore => {}
        tls::Found::Hello => lane.tls_done = true,
        // What begins with another protocol may turn into TLS at the next segment (CONNECT, STARTTLS).
        tls::Found::Not => lane.tls_base = stream.len() as u32,
    }
}

fn look_for_requests(switches: &Switches, lane: &mut Lane, stream: &[u8], tell: Tell<'_>) {
    while let Some(rest) = stream.get(lane.http_base as usize..).filter(|rest| !rest.is_empty()) {
        let index = lane.requests + 1;
        let Some(len) = http::read(rest, index, switches, tell) else {
            // What begins otherwise is no HTTP, or a request's body: the next segment may begin a request.
            if rest.len() >= http::LONGEST_METHOD && !http::looks_like(rest) {
                lane.http_done = lane.requests == 0;
                lane.http_base = stream.len() as u32;
            }
            return;
        };
        lane.requests = index;
        lane.http_base += len as u32;
        if switches.http.requests.is_some_and(|limit| index >= limit) {
            lane.http_done = true;
            return;
        }
    }
}

/// DNS over TCP (RFC 1035 §4.2.2): each message of the stream once.
fn look_for_queries(switches: &Switches, lane: &mut Lane, stream: &[u8], tell: Tell<'_>) {
    for message in okno_wire::dns::tcp_messages(stream).skip(lane.queries) {
        lane.queries += 1;
        datagram::query(message, switches, tell);
    }
}

/// SOCKS 4 and 5 greetings (RFC 1928 §3).
const fn looks_like_socks(payload: &[u8]) -> bool {
    matches!(payload, [5, 1..=8, ..] | [4, 1 | 2, ..])
}
