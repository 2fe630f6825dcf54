//! A capture through a box: what was recognised in each flow, and what the box would have done to it.
//!
//! ```text
//!   capture ──packets──► Replay ──► box (any Middlebox)
//!                          │ own flow table, own classifier
//!                          └──► FlowRow when a flow ends, Summary at the end
//! ```
//!
//! What is recorded has happened: the box's verdicts are what it *would have* done, and the rest of a flow
//! stays as it was recorded. Packet time alone counts. A file that begins where the one before ended (within
//! an hour) goes on with its flows and the box's memory; any other file begins anew.

mod flows;
mod prefix;
mod row;
mod side;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::Read;

use okno_censor::{Act, Context, Direction, Effects, Middlebox, Verdict};
use okno_wire::packet::{flag, number};
use okno_wire::recognise::{Ports, Side, Stream};
use okno_wire::{FlowKey, Instant, PacketView, Protocol, Transport};

use crate::capture::{Capture, CaptureError, Packet};
use flows::{Flow, Flows, Working};
use prefix::Prefix;
pub use row::{Broken, Deed, FlowRow, OpenedBy, RuleTally, Summary, Tally};
pub use side::{Cidr, NoCidr, is_private};

/// A following file goes on with the flows of the one before when it begins within this time of its end.
const GOES_ON: Duration = Duration::from_secs(3_600);
/// Deeds that are told of one flow.
const DEEDS_TOLD: usize = 16;
/// Names that are told apart in a rule's tally.
const NAMES_TOLD: usize = 1_000;
/// Bytes of unrecognised flows that are held for the classifier, over all flows.
const HELD_MOST: usize = 48 << 20;
/// Calls of the classifier after which a flow stays unrecognised.
const LOOKS_MOST: u16 = 700;
/// First fragments whose flow later fragments look up.
const FRAGMENTS_KNOWN: usize = 256;
/// Packets between two calls of the progress function.
const PROGRESS_EVERY: u64 = 16_384;

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// ranges of subscribers; empty decides by private addresses and by who opened the flow
    pub subscribers: Vec<Cidr>,
    /// seed of the box's chance
    pub seed: u64,
    /// flows that may be open at once; the one that was silent longest goes when there are more
    pub most_flows: usize,
    /// hand out the first bytes of each TCP connection, [`FlowRow::streams`]
    pub keep_streams: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { subscribers: Vec::new(), seed: 1, most_flows: 150_000, keep_streams: false }
    }
}

/// Where reading stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// which capture, from 0
    pub capture: usize,
    /// bytes of it that were read
    pub position: u64,
    /// packets of the whole run
    pub packets: u64,
    /// packet time
    pub at: Instant,
}

/// A run over one or several captures. See the module.
#[derive(Debug)]
pub struct Replay<B, F> {
    options: Options,
    make: F,
    middlebox: B,
    effects: Effects,
    flows: Flows,
    fragments: VecDeque<(IpAddr, IpAddr, u32, FlowKey)>,
    held: usize,
    captures: usize,
    ordinal: u64,
    now: Instant,
    summary: Summary,
}

impl<B: Middlebox, F: FnMut() -> B> Replay<B, F> {
    /// `make` makes a box without memory: one at first, one for each capture that begins anew.
    pub fn new(options: Options, mut make: F) -> Self {
        let (middlebox, flows) = (make(), Flows::new(options.most_flows));
        Self {
            options,
            make,
            middlebox,
            effects: Effects::default(),
            flows,
            fragments: VecDeque::new(),
            held: 0,
            captures: 0,
            ordinal: 0,
            now: Instant::ZERO,
            summary: Summary::default(),
        }
    }

    /// Reads one capture to its end. Flows go to `each` as they end. An error ends this capture alone; it
    /// stands in the summary too, as `name`'s.
    pub fn capture<R: Read>(
        &mut self,
        name: &str,
        reader: R,
        each: &mut dyn FnMut(FlowRow),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), CaptureError> {
        let result = self.read(reader, each, progress);
        if let Err(error) = &result {
            self.summary.cut_short.push((name.to_owned(), error.to_string()));
        }
        self.captures += 1;
        result
    }

    fn read<R: Read>(
        &mut self,
        reader: R,
        each: &mut dyn FnMut(FlowRow),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), CaptureError> {
        let mut capture = Capture::open(reader)?;
        let mut result = Ok(());
        let mut count = 0_u64;
        loop {
            match capture.next() {
                Some(Ok(packet)) => {
                    if count == 0 {
                        self.begin(packet.at, each);
                    }
                    count += 1;
                    self.packet(&packet, each);
                }
                Some(Err(error)) => {
                    result = Err(error);
                    break;
                }
                None => break,
            }
            if count % PROGRESS_EVERY == 0 {
                let (capture_at, position) = (self.captures, capture.position());
                progress(Progress {
                    capture: capture_at,
                    position,
                    packets: self.summary.packets,
                    at: self.now,
                });
            }
        }
        for (reason, count) in capture.set_aside() {
            *self.summary.set_aside.entry(reason.to_string()).or_default() += count;
        }
        result
    }

    /// A capture begins: it goes on with what is known, or anew.
    fn begin(&mut self, at: Instant, each: &mut dyn FnMut(FlowRow)) {
        let goes_on = at >= self.now && at.since(self.now) <= GOES_ON;
        if self.captures > 0 && !goes_on {
            self.end_all(each);
            self.middlebox = (self.make)();
            self.now = Instant::ZERO;
        }
    }

    /// Ends the run.
    pub fn finish(mut self, each: &mut dyn FnMut(FlowRow)) -> Summary {
        self.end_all(each);
        self.summary
    }

    fn end_all(&mut self, each: &mut dyn FnMut(FlowRow)) {
        for flow in self.flows.drain() {
            self.end(flow, each);
        }
        self.fragments.clear();
        self.held = 0;
    }

    /// One IP packet, in the order of the capture. A time that goes back counts as the latest before it.
    pub fn packet(&mut self, packet: &Packet<'_>, each: &mut dyn FnMut(FlowRow)) {
        let now = packet.at.max(self.now);
        self.now = now;
        self.summary.packets += 1;
        self.summary.bytes += packet.ip.len() as u64;
        let (first, last) = self.summary.span.unwrap_or((packet.at, packet.at));
        self.summary.span = Some((first.min(packet.at), last.max(packet.at)));
        while let Some((flow, crowded)) = self.flows.expired(now) {
            self.summary.crowded_out += u64::from(crowded);
            self.end(flow, each);
        }
        self.fire_timers(now);
        let view = match PacketView::parse(packet.ip) {
            Ok(view) => view,
            Err(malformed) => {
                let key = (malformed.layer, malformed.expected);
                self.summary.malformed.entry(key).or_insert((0, packet.number)).0 += 1;
                return;
            }
        };
        let (key, from_high) = self.key_of(&view);
        let slot = self.slot_of(key, from_high, &view, packet, each);
        let direction = self.count(slot, from_high, &view, packet);
        self.recognise(slot, from_high, &view);
        self.pass(slot, direction, &view, packet);
        self.note_end(slot, from_high, &view);
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some(due) = self.middlebox.next_timer().filter(|due| *due <= now) {
            let mut context = Context { seed: self.options.seed, effects: &mut self.effects };
            self.middlebox.on_timer(due, &mut context);
            self.take_effects(None, 0);
            if self.middlebox.next_timer().is_some_and(|next| next <= due) {
                break;
            }
        }
    }

    /// The flow's key; later fragments take that of their first one while it is remembered.
    #[inline]
    fn key_of(&mut self, view: &PacketView<'_>) -> (FlowKey, bool) {
        let (key, from_high) = view.flow();
        let Some(fragment) = view.fragment else { return (key, from_high) };
        let (source, destination) = (view.source, view.destination);
        if fragment.offset == 0 {
            if self.fragments.len() >= FRAGMENTS_KNOWN {
                self.fragments.pop_front();
            }
            self.fragments.push_back((source, destination, fragment.id, key));
            return (key, from_high);
        }
        let known = self.fragments.iter().rev().find(|(from, to, id, key)| {
            (*from, *to, *id, key.protocol) == (source, destination, fragment.id, view.protocol)
        });
        known
            .map_or((key, from_high), |(from, _, _, key)| (*key, key.high.ip == *from && key.low.ip != *from))
    }

    /// The flow of a packet: the one at hand, or a new one.
    fn slot_of(
        &mut self,
        key: FlowKey,
        from_high: bool,
        view: &PacketView<'_>,
        packet: &Packet<'_>,
        each: &mut dyn FnMut(FlowRow),
    ) -> u32 {
        if let Some(slot) = self.flows.find(&key) {
            // The ports are used again: another connection.
            let again = view.tcp().is_some_and(|tcp| tcp.has(flag::SYN) && !tcp.has(flag::ACK));
            if !again || self.flows.flow(slot).closed == 0 {
                return slot;
            }
            let flow = self.flows.remove(slot);
            self.end(flow, each);
        }
        self.ordinal += 1;
        let opener = side::opener(view);
        let sender_is_subscriber = side::sender_is_subscriber(&self.options.subscribers, view, opener);
        let mut flow = Flow::new(key, self.now, packet.number, self.ordinal);
        flow.capture = u32::try_from(self.captures).unwrap_or(u32::MAX);
        flow.subscriber_is_high = from_high == sender_is_subscriber;
        flow.initiator_is_high = from_high == opener.sender;
        flow.opened_by = match (opener.sure, opener.sender == sender_is_subscriber) {
            (false, _) => OpenedBy::Unknown,
            (true, true) => OpenedBy::Subscriber,
            (true, false) => OpenedBy::Remote,
        };
        flow.saw_syn = opener.sure && view.tcp().is_some();
        self.flows.insert(flow)
    }

    #[inline]
    fn count(&mut self, slot: u32, from_high: bool, view: &PacketView<'_>, packet: &Packet<'_>) -> Direction {
        let now = self.now;
        let flow = self.flows.flow(slot);
        let down = usize::from(from_high != flow.subscriber_is_high);
        flow.last = now;
        flow.packets[down] += 1;
        flow.bytes[down] += view.bytes().len() as u64;
        flow.fragments += u32::from(view.fragment.is_some());
        if let Transport::Malformed(malformed, _) = view.transport {
            flow.broken_packets += 1;
            let number = packet.number;
            flow.broken.get_or_insert_with(|| Box::new(Broken { malformed, number }));
            let key = (malformed.layer, malformed.expected);
            self.summary.malformed.entry(key).or_insert((0, number)).0 += 1;
        }
        if down == 0 { Direction::Up } else { Direction::Down }
    }

    /// Feeds the classifier while it wants to be fed.
    #[inline]
    fn recognise(&mut self, slot: u32, from_high: bool, view: &PacketView<'_>) {
        let flow = self.flows.flow(slot);
        if flow.working.is_none() {
            return;
        }
        let done = look(flow, &mut self.held, from_high, view);
        let over = (done && !self.options.keep_streams) || self.held > HELD_MOST;
        if over && let Some(working) = flow.working.take() {
            self.summary.unread += u64::from(!done || self.options.keep_streams);
            self.held -= working.held().min(self.held);
        }
    }

    /// Shows the packet to the box.
    #[inline]
    fn pass(&mut self, slot: u32, direction: Direction, view: &PacketView<'_>, packet: &Packet<'_>) {
        let mut context = Context { seed: self.options.seed, effects: &mut self.effects };
        let verdict = self.middlebox.on_packet(self.now, direction, view, &mut context);
        if matches!(verdict, Verdict::Drop) {
            self.flows.flow(slot).dropped += 1;
            self.summary.dropped += 1;
        }
        if !self.effects.acts.is_empty() || !self.effects.injections.is_empty() {
            self.take_effects(Some(slot), packet.number);
        }
    }

    /// Books what the box did besides its verdict.
    #[cold]
    fn take_effects(&mut self, slot: Option<u32>, number: u64) {
        let forged = self.effects.injections.len();
        self.effects.injections.clear();
        self.summary.forged += forged as u64;
        if let Some(slot) = slot {
            let flow = self.flows.flow(slot);
            flow.forged = flow.forged.saturating_add(u32::try_from(forged).unwrap_or(u32::MAX));
        }
        let mut acts = core::mem::take(&mut self.effects.acts);
        for act in acts.drain(..) {
            let own = slot.filter(|slot| self.flows.flow(*slot).key == act.flow);
            let number = if own.is_some() { number } else { 0 };
            self.book(own.or_else(|| self.flows.find(&act.flow)), number, act);
        }
        self.effects.acts = acts;
    }

    fn book(&mut self, slot: Option<u32>, number: u64, act: Act) {
        let flow = slot.map(|slot| self.flows.flow(slot));
        let known = flow.as_ref().is_some_and(|flow| flow.deeds.iter().any(|deed| deed.rule == act.rule));
        let tally = self.summary.rules.entry(act.rule.clone()).or_default();
        tally.mechanism = act.mechanism.as_str();
        tally.flows += u64::from(!known);
        *tally.deeds.entry(act.kind).or_default() += 1;
        if !known {
            let on = match (&*act.evidence.name, &*act.evidence.matched) {
                ("", "") => act.evidence.protocol.map_or("", Protocol::as_str),
                ("", matched) => matched,
                (name, _) => name,
            };
            if tally.on.len() < NAMES_TOLD || tally.on.contains_key(on) {
                *tally.on.entry(on.to_owned()).or_default() += 1;
            }
        }
        let Some(flow) = flow else { return };
        let told = flow.deeds.iter().any(|deed| deed.rule == act.rule && deed.kind == act.kind);
        if told || flow.deeds.len() >= DEEDS_TOLD {
            return;
        }
        self.summary.flows_acted_on += u64::from(flow.deeds.is_empty());
        flow.deeds.push(Deed {
            at: act.at,
            rule: act.rule,
            kind: act.kind,
            mechanism: act.mechanism.as_str(),
            packet: flow.index(),
            number,
            protocol: act.evidence.protocol,
            name: act.evidence.name,
            matched: act.evidence.matched,
            fingerprint: act.evidence.fingerprint,
            detail: act.evidence.detail,
        });
    }

    /// A closed connection is told soon.
    #[inline]
    fn note_end(&mut self, slot: u32, from_high: bool, view: &PacketView<'_>) {
        let Some(tcp) = view.tcp() else { return };
        if tcp.flags() & (flag::FIN | flag::RST) == 0 {
            return;
        }
        let flow = self.flows.flow(slot);
        flow.closed |= if tcp.has(flag::RST) { 3 } else { 1 << u8::from(from_high) };
        if flow.closed == 3 {
            self.flows.close(slot);
        }
    }

    fn end(&mut self, flow: Flow, each: &mut dyn FnMut(FlowRow)) {
        if let Some(working) = &flow.working {
            self.held -= working.held().min(self.held);
        }
        let keep = self.options.keep_streams && flow.key.protocol == number::TCP;
        let streams = flow.working.filter(|_| keep).map(|working| {
            let [low, high] = working.sides.map(Prefix::into_bytes);
            if flow.initiator_is_high { [high, low] } else { [low, high] }
        });
        let recognition = flow.recognition.map(|recognition| *recognition);
        let protocol = recognition.as_ref().map_or("", |recognition| recognition.protocol.as_str());
        let tally = self.summary.protocols.entry(protocol).or_default();
        tally.flows += 1;
        tally.packets += flow.packets[0] + flow.packets[1];
        tally.bytes += flow.bytes[0] + flow.bytes[1];
        self.summary.flows += 1;
        each(FlowRow {
            flow: flow.ordinal,
            capture: flow.capture as usize,
            number: flow.number,
            first: flow.first,
            last: flow.last,
            key: flow.key,
            subscriber_is_high: flow.subscriber_is_high,
            opened_by: flow.opened_by,
            packets: flow.packets,
            bytes: flow.bytes,
            recognition,
            fragments: flow.fragments,
            broken: flow.broken.map(|broken| *broken),
            broken_packets: flow.broken_packets,
            deeds: flow.deeds,
            dropped: flow.dropped,
            forged: flow.forged,
            streams,
        });
    }
}

impl Working {
    fn held(&self) -> usize {
        self.sides[0].held() + self.sides[1].held()
    }
}

/// One look of the classifier; whether it was the last.
fn look(flow: &mut Flow, held: &mut usize, from_high: bool, view: &PacketView<'_>) -> bool {
    let Some(working) = flow.working.as_deref_mut() else { return true };
    if working.told && view.tcp().is_none() {
        return true;
    }
    let (low, high) = (flow.key.low.port, flow.key.high.port);
    let ports = if flow.initiator_is_high {
        Ports { initiator: high, responder: low }
    } else {
        Ports { initiator: low, responder: high }
    };
    let from_initiator = from_high == flow.initiator_is_high;
    let news = match view.transport {
        Transport::Tcp(tcp) => {
            let before = working.held();
            let grew = working.sides[usize::from(from_high)].push(&tcp);
            *held = (*held + working.held()).saturating_sub(before);
            if !grew || working.told {
                return working.told;
            }
            let first = usize::from(flow.initiator_is_high);
            working.recogniser.stream(&Stream {
                initiator: working.sides[first].bytes(),
                responder: working.sides[1 - first].bytes(),
                ports,
                midstream: !flow.saw_syn,
            })
        }
        Transport::Udp(udp) => {
            let side = if from_initiator { Side::Initiator } else { Side::Responder };
            working.recogniser.datagram(side, udp.payload(), ports)
        }
        Transport::Opaque(bytes) if view.fragment.is_none() => working.recogniser.raw(view.protocol, bytes),
        _ => None,
    };
    working.looks += 1;
    if let Some(news) = news {
        flow.recognition = Some(Box::new(news));
    }
    working.told = working.recogniser.is_done()
        || working.looks >= LOOKS_MOST
        || working.sides.iter().all(Prefix::is_full);
    working.told
}
