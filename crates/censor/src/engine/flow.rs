//! One whole packet: its flow, what is learned from it, what is done to it.

use okno_wire::packet::{TcpView, flag, tcp_option};
use okno_wire::{FlowKey, Instant, PacketView, Transport};

use super::{Engine, act};
use crate::inspect::{Inspection, Progress, Seen};
use crate::middlebox::{Context, Direction, Verdict};
use crate::switches::{Initiator, SecondSyn, Switches, TcpSwitches, Teardown, Urgent};
use crate::technique::{Event, Interest, PerWay};
use crate::track::{Flow, Stage, Way, hash_of};

/// Whether a segment passes the checks that need no flow.
pub(super) fn segment_is_sane(tcp: &TcpView<'_>, switches: &TcpSwitches) -> bool {
    let bare_data = !tcp.payload().is_empty() && !tcp.has(flag::ACK) && !tcp.has(flag::SYN);
    let with_md5 = || tcp.options().any(|(kind, _)| kind == tcp_option::MD5);
    let urgent = switches.urgent == Urgent::IgnoreSegment && tcp.has(flag::URG);
    !(switches.require_ack_flag && bare_data || urgent || switches.reject_md5 && with_md5())
}

impl Engine {
    /// Deals with a packet that is no fragment.
    pub(super) fn on_whole(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        let (mut key, _) = packet.flow();
        let mut asked_for = None;
        if direction == Direction::Down && !self.translations.is_empty() {
            asked_for = self.translations.peek(now, &key).copied();
            if let Some(end) = asked_for {
                key = FlowKey::of(end, packet.destination_end(), packet.protocol).0;
            }
        }
        let believed = self.believes(packet);
        self.stats.not_believed += u64::from(!believed);
        self.stats.malformed += u64::from(matches!(packet.transport, Transport::Malformed(..)));
        let hash = hash_of(&key);
        let known = self.table.find(hash, &key);
        let restart = known.is_some_and(|at| self.begins_anew(at, now, direction, packet, believed));
        let at = match known {
            Some(at) if !restart => at,
            Some(at) => {
                if let Some(flow) = self.table.remove(at) {
                    self.close(flow);
                }
                self.open(hash, key, now, direction, packet)
            }
            None => self.open(hash, key, now, direction, packet),
        };
        let fresh = known.is_none() || restart;
        self.count(at, now, direction, packet, believed, fresh);
        self.decided.clear();
        let unheard = self.table.at_mut(at).is_some_and(|flow| core::mem::take(&mut flow.unheard));
        if fresh || unheard {
            self.tell(at, now, direction, context.seed, &Event::Opened { packet });
        }
        let residuals = self.residuals.generation();
        if fresh || self.table.at(at).is_some_and(|flow| flow.generation != residuals) {
            self.inherit(at, now);
        }
        if believed && !self.unread {
            self.look(at, now, direction, packet, context.seed);
        }
        let verdict = self.act(at, now, direction, packet, believed, context);
        match (verdict, asked_for) {
            (Verdict::Pass, Some(_)) => Verdict::Rewrite(super::forge::readdressed(packet, asked_for, None)),
            (Verdict::Rewrite(bytes), Some(_)) => match PacketView::parse(&bytes) {
                Ok(view) => Verdict::Rewrite(super::forge::readdressed(&view, asked_for, None)),
                Err(_) => Verdict::Drop,
            },
            (verdict, _) => verdict,
        }
    }

    /// Whether a packet of a known key belongs to a new flow: the old one was idle for its time, or the
    /// packet is another SYN that the switches take for a new connection.
    fn begins_anew(
        &self,
        at: usize,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        believed: bool,
    ) -> bool {
        if self.table.is_idle(at, now, &self.switches.timeouts) {
            return true;
        }
        let (Some(flow), Some(tcp)) = (self.table.at(at), packet.tcp()) else { return false };
        let syn = tcp.flags() & (flag::SYN | flag::ACK | flag::RST) == flag::SYN;
        let way = flow.ways.of(direction);
        let other_number = !way.has_seq || tcp.seq().wrapping_add(1) != way.next_seq;
        if !believed || !syn || (!flow.ended && direction != flow.opened_by) {
            return false;
        }
        match self.switches.tcp.second_syn {
            SecondSyn::AfterClose => flow.ended,
            SecondSyn::Always => other_number,
            SecondSyn::Never => false,
        }
    }

    fn open(
        &mut self,
        hash: u64,
        key: FlowKey,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
    ) -> usize {
        let armed = direction == Direction::Up || self.switches.initiator == Initiator::Either;
        let inside = match direction {
            Direction::Up => packet.source_end(),
            Direction::Down => packet.destination_end(),
        };
        let wanted = if armed { self.wanted } else { self.wanted_unarmed };
        let recognise = self.recognise_all || wanted.has(Interest::RECOGNISED);
        let looks_inside = Interest(
            Interest::CLIENT_HELLO.0
                | Interest::CLIENT_HELLO_EITHER_SIDE.0
                | Interest::QUIC_INITIAL.0
                | Interest::HTTP_REQUEST.0
                | Interest::DNS_QUERY.0
                | Interest::DTLS_HELLO.0,
        );
        let inspected = (recognise || wanted.any(looks_inside)) && packet.fragment.is_none();
        let mut watchers = 0;
        for rule in self.rules.iter().filter(|rule| !rule.retired && rule.watch_bit != 0) {
            if armed || rule.interest.has(Interest::UNARMED_TOO) {
                watchers |= rule.watch_bit;
            }
        }
        let inspection = Inspection::new(recognise);
        if inspected {
            self.account(0, inspection.memory());
        }
        let flow = Flow {
            key,
            stage: if packet.tcp().is_some() { Stage::Established } else { Stage::Datagrams },
            inside_is_low: key.low == inside,
            opened_by: direction,
            armed,
            exempt: false,
            ended: false,
            used: true,
            unheard: false,
            protocol: None,
            generation: self.residuals.generation(),
            serial: 0,
            opened: now,
            last: now,
            packets: PerWay::default(),
            data_packets: PerWay::default(),
            bytes: PerWay::default(),
            ways: PerWay::default(),
            inspection: inspected.then(|| Box::new(inspection)),
            watchers,
            hot: None,
            known: None,
        };
        let (at, gone) = self.table.insert(hash, flow, &self.switches.timeouts);
        if let Some(gone) = gone {
            self.close(gone);
        }
        at
    }

    /// Counters, times and the state of the connection; what does not pass a check changes no state.
    fn count(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        believed: bool,
        fresh: bool,
    ) {
        let Some(flow) = self.table.at_mut(at) else { return };
        let payload = packet.payload().len() as u64;
        let count = flow.packets.of_mut(direction);
        *count = count.saturating_add(1);
        if payload > 0 {
            let count = flow.data_packets.of_mut(direction);
            *count = count.saturating_add(1);
            let bytes = flow.bytes.of_mut(direction);
            *bytes = bytes.saturating_add(payload);
        }
        flow.used = true;
        // A clock that goes back makes no flow older.
        flow.last = flow.last.max(now);
        if believed {
            flow.ways.of_mut(direction).ttl = packet.ttl;
        }
        if let Transport::Malformed(malformed, _) = packet.transport {
            flow.known.get_or_insert_default().malformed.get_or_insert(malformed);
        }
        if let Some(tcp) = packet.tcp().filter(|_| believed) {
            track_tcp(flow, &tcp, direction, fresh, &self.switches);
        }
    }

    /// Looks into the packet and tells the techniques.
    fn look(&mut self, at: usize, now: Instant, direction: Direction, packet: &PacketView<'_>, seed: u64) {
        let Some(flow) = self.table.at_mut(at) else { return };
        if flow.watchers != 0 {
            self.tell_watchers(at, now, direction, seed, packet);
        }
        let Some(flow) = self.table.at_mut(at) else { return };
        let wanted = if flow.armed { self.wanted } else { self.wanted_unarmed };
        let pointless =
            flow.exempt || flow.stage == Stage::Closed || wanted == Interest::NONE && !self.recognise_all;
        if pointless && let Some(inspection) = flow.inspection.take() {
            self.account(inspection.memory(), 0);
        }
        self.look_anew(at, direction, packet, pointless);
        let Some(flow) = self.table.at_mut(at).filter(|flow| flow.inspection.is_some()) else { return };
        if !may_look(flow, direction, packet, &self.switches) {
            return;
        }
        let Some(mut inspection) = flow.inspection.take() else { return };
        let hidden = !self.switches.tcp.syn_data && packet.tcp().is_some_and(|tcp| tcp.has(flag::SYN));
        let seen = Seen {
            packet,
            payload: if hidden { &[] } else { packet.payload() },
            now,
            opened: flow.opened,
            direction,
            opened_by: flow.opened_by,
            inside_port: flow.inside().port,
            outside_port: flow.outside().port,
            packets: flow.packet_count(),
            midstream: !flow.ways.up.syn && !flow.ways.down.syn,
            seed,
            flow_hash: hash_of(&flow.key),
        };
        let before = inspection.memory();
        let progress = self.inspect(at, &mut inspection, wanted, &seen);
        let finished = progress == Progress::Finished;
        if self.stream_bytes > self.switches.limits.stream_bytes {
            let (freed, flows) = self.table.relieve(now);
            self.account(freed, 0);
            self.stats.streams_evicted += flows;
        }
        let full = self.stream_bytes > self.switches.limits.stream_bytes;
        self.stats.streams_evicted += u64::from(full && !finished);
        let finished = finished || full;
        self.account(before, if finished { 0 } else { inspection.memory() });
        if let Some(flow) = self.table.at_mut(at).filter(|_| !finished) {
            flow.inspection = Some(inspection);
        }
    }

    /// Ports are used again before a flow is forgotten: a SYN of the opener with another number begins a
    /// stream whose names are read as the first one's were, though what was decided about the flow stays.
    fn look_anew(&mut self, at: usize, direction: Direction, packet: &PacketView<'_>, pointless: bool) {
        let Some(tcp) = packet.tcp().filter(|tcp| tcp.has(flag::SYN) && !tcp.has(flag::ACK)) else { return };
        let Some(flow) = self.table.at_mut(at) else { return };
        let way = flow.ways.of(direction);
        let begins = way.has_seq && tcp.seq().wrapping_add(1) != way.next_seq;
        if !begins || pointless || direction != flow.opened_by || flow.inspection.is_some() {
            return;
        }
        let inspection = Inspection::new(false);
        let memory = inspection.memory();
        flow.inspection = Some(Box::new(inspection));
        self.account(0, memory);
    }

    fn inspect(
        &mut self,
        at: usize,
        inspection: &mut Inspection,
        wanted: Interest,
        seen: &Seen<'_>,
    ) -> Progress {
        let switches = std::sync::Arc::clone(&self.switches);
        let (now, direction, seed) = (seen.now, seen.direction, seen.seed);
        let tell = &mut |event: &Event<'_>| self.tell(at, now, direction, seed, event);
        match seen.packet.transport {
            Transport::Tcp(tcp) => {
                if tcp.has(flag::SYN) {
                    inspection.begin(direction, tcp.seq(), &switches);
                }
                if seen.payload.is_empty() {
                    inspection.control(direction, tcp.seq(), &switches);
                    return Progress::Going;
                }
                let seq = tcp.seq().wrapping_add(u32::from(tcp.has(flag::SYN)));
                inspection.tcp(&switches, wanted, seen, seq, tell)
            }
            Transport::Udp(_) => inspection.udp(&switches, wanted, seen, tell),
            _ => inspection.other(seen, tell),
        }
    }

    fn act(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        believed: bool,
        context: &mut Context<'_>,
    ) -> Verdict {
        let nothing = |flow: &Flow| flow.hot.as_ref().is_none_or(|hot| hot.installed.is_empty());
        let idle = self.decided.is_empty() && self.table.at(at).is_none_or(nothing);
        let (verdict, forge) =
            if idle { (Verdict::Pass, Vec::new()) } else { self.obey(at, now, direction, packet, context) };
        if let Some(flow) = self.table.at_mut(at)
            && let Some(tcp) = packet.tcp()
            && believed
            && !matches!(verdict, Verdict::Drop)
        {
            act::advance(flow.ways.of_mut(direction), &tcp);
        }
        self.forge(at, now, direction, packet, forge, context);
        verdict
    }
}

/// The connection's state after a segment that is believed.
fn track_tcp(flow: &mut Flow, tcp: &TcpView<'_>, direction: Direction, fresh: bool, switches: &Switches) {
    let (syn, ack) = (tcp.has(flag::SYN), tcp.has(flag::ACK));
    let from_opener = direction == flow.opened_by;
    if fresh {
        flow.stage = if syn && !ack { Stage::SynSent } else { Stage::Established };
        if !syn && !switches.tcp.midstream {
            flow.armed = false;
        }
    } else if syn && !ack && !from_opener && switches.tcp.remote_syn_disarms {
        flow.armed = false;
    } else if syn && ack && flow.stage == Stage::SynSent {
        flow.stage = Stage::SynReceived;
    } else if ack && !syn && from_opener && matches!(flow.stage, Stage::SynSent | Stage::SynReceived) {
        flow.stage = Stage::Established;
    }
    let expected = {
        let peer = flow.ways.of(direction.flip());
        let own = flow.ways.of(direction);
        in_window(tcp, own, peer)
    };
    let way = flow.ways.of_mut(direction);
    way.syn |= syn;
    if syn {
        let scale = tcp.options().find(|(kind, _)| *kind == tcp_option::WINDOW_SCALE);
        way.scale = scale.and_then(|(_, data)| data.first().copied()).unwrap_or(0).min(14);
    }
    // RFC 7323 §2.2: the window of a SYN is never scaled.
    way.window = u32::from(tcp.window()) << if syn { 0 } else { way.scale };
    if ack {
        (way.acked, way.has_ack) = (tcp.ack(), true);
    }
    way.fin |= tcp.has(flag::FIN);
    let accepts = |teardown| match teardown {
        Teardown::Ignore => false,
        Teardown::Any => true,
        Teardown::InWindow => expected,
    };
    let rst = tcp.has(flag::RST);
    let both_fins = flow.ways.up.fin && flow.ways.down.fin;
    flow.ended |= rst && expected || both_fins;
    if rst && accepts(switches.tcp.rst) || tcp.has(flag::FIN) && accepts(switches.tcp.fin) {
        flow.stage = Stage::Closed;
        flow.ended = true;
    }
}

/// Whether a segment's number is within what the receiver may take; true where it cannot be told.
fn in_window(tcp: &TcpView<'_>, own: &Way, peer: &Way) -> bool {
    let expected = match (peer.has_ack, own.has_seq) {
        (true, _) => peer.acked,
        (false, true) => own.next_seq,
        (false, false) => return true,
    };
    let window = peer.window.max(65_535);
    let ahead = tcp.seq().wrapping_sub(expected);
    let behind = expected.wrapping_sub(tcp.seq());
    // Data that is sent again lies behind what was acknowledged.
    ahead <= window || behind <= window && !tcp.payload().is_empty()
}

/// Whether the switches let this packet of this flow be looked into.
fn may_look(flow: &Flow, direction: Direction, packet: &PacketView<'_>, switches: &Switches) -> bool {
    let Some(tcp) = packet.tcp() else { return true };
    let switches = &switches.tcp;
    if tcp.has(flag::SYN) {
        return true;
    }
    let shaken = flow.stage == Stage::Established && flow.ways.up.syn && flow.ways.down.syn;
    if switches.require_handshake && !shaken {
        return false;
    }
    let other = flow.packets.of(direction.flip());
    if !switches.one_way && *other == 0 {
        return false;
    }
    !switches.check_window || in_window(&tcp, flow.ways.of(direction), flow.ways.of(direction.flip()))
}
