//! Telling techniques, and doing what they decided.

use core::time::Duration;

use okno_wire::packet::TcpView;
use okno_wire::{FlowKey, Instant, PacketView};

use super::{Engine, Rule, forge};
use crate::action::{Action, Forge, Refresh, Scope};
use crate::installed::{AtHand, Deal, Installed, holds};
use crate::middlebox::{Act, ActKind, Context, Direction, Evidence, Verdict};
use crate::residual::{Residual, ResidualKey};
use crate::summary::{Deed, FlowDeed, FlowSummary};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, PerWay};
use crate::track::{Flow, Known, Way};

/// What lasts as long as the flow, on a wider scope, lasts so long.
const DAY: Duration = Duration::from_secs(86_400);

/// Deeds remembered per flow; a rule can tell a handful of kinds.
const MAX_DEEDS: usize = 32;

/// Which interest an event answers.
fn interest_of(event: &Event<'_>, flow: &Flow) -> Interest {
    match event {
        Event::Opened { .. } => Interest::OPENED,
        Event::ClientHello(hello) if hello.direction == flow.opened_by => {
            Interest(Interest::CLIENT_HELLO.0 | Interest::CLIENT_HELLO_EITHER_SIDE.0)
        }
        Event::ClientHello(_) => Interest::CLIENT_HELLO_EITHER_SIDE,
        Event::QuicInitial(_) => Interest::QUIC_INITIAL,
        Event::HttpRequest(_) => Interest::HTTP_REQUEST,
        Event::DnsQuery(_) => Interest::DNS_QUERY,
        Event::DtlsHello(_) => Interest::DTLS_HELLO,
        Event::Recognised(_) => Interest::RECOGNISED,
        Event::Data { .. } => Interest::DATA,
        Event::Packet { .. } => Interest::PACKET,
        Event::Closed => Interest::CLOSED,
    }
}

/// What the flow itself remembers of an event; what only its summary tells, only when there will be one.
fn learn(flow: &mut Flow, event: &Event<'_>, summarise: bool) {
    let name = match event {
        Event::ClientHello(hello) => hello.name,
        Event::QuicInitial(initial) => initial.hello.map_or("", |hello| hello.name),
        Event::HttpRequest(request) => request.host,
        Event::DnsQuery(query) => query.name,
        Event::Recognised(recognition) => {
            flow.protocol = Some(recognition.protocol);
            if summarise {
                let known = flow.known.get_or_insert_default();
                kept(&recognition.version).clone_into(&mut known.version);
                kept(&recognition.fingerprint).clone_into(&mut known.fingerprint);
            }
            recognition.name.as_str()
        }
        _ => "",
    };
    if !name.is_empty() {
        let known = flow.known.get_or_insert_default();
        if known.name.is_empty() {
            kept(name).clone_into(&mut known.name);
        }
    }
}

/// As much of a text as is remembered: no name in DNS is longer (RFC 1035 §2.3.4), but a hostile hello's may
/// have thousands of bytes, and a table of such flows gigabytes.
fn kept(text: &str) -> &str {
    const MOST: usize = 255;
    &text[..text.floor_char_boundary(MOST)]
}

/// Tells one rule and collects what it decides.
#[expect(clippy::too_many_arguments, reason = "parts of the engine that are borrowed apart")]
fn tell_one(
    rules: &mut [Rule],
    index: usize,
    flow: &mut Flow,
    now: Instant,
    direction: Direction,
    seed: u64,
    event: &Event<'_>,
    decided: &mut Vec<(u16, Decision)>,
) {
    let count = rules.len();
    let rule = &mut rules[index];
    let (inside, outside) = (flow.inside(), flow.outside());
    let hot = flow.hot.as_deref_mut();
    let mut fresh_slot = 0;
    let slot = match hot {
        Some(hot) if hot.slots.len() > index => &mut hot.slots[index],
        _ => &mut fresh_slot,
    };
    let mut view = FlowView {
        key: flow.key,
        inside,
        outside,
        opened_by: flow.opened_by,
        armed: flow.armed,
        opened: flow.opened,
        now,
        direction,
        packets: flow.packets,
        data_packets: flow.data_packets,
        bytes: flow.bytes,
        recognised: flow.protocol,
        name: flow.known.as_ref().map_or("", |known| known.name.as_str()),
        slot,
        seed,
    };
    let mut decisions = Decisions::default();
    rule.technique.on_event(&mut view, event, &mut decisions);
    if fresh_slot != 0 {
        let hot = flow.hot.get_or_insert_default();
        hot.slots.resize(count, 0);
        hot.slots[index] = fresh_slot;
    }
    if decisions.ignore {
        flow.watchers &= !rule.watch_bit;
    }
    if decisions.allow {
        flow.exempt = true;
        flow.watchers = 0;
        if let Some(hot) = &mut flow.hot {
            hot.installed.retain(|installed| installed.scope != Scope::Flow);
        }
    }
    decided.extend(decisions.list.into_iter().map(|decision| (index as u16, decision)));
}

/// Moves what the receiver expects next past a segment that passes.
pub(super) fn advance(way: &mut Way, tcp: &TcpView<'_>) {
    let end = tcp.seq().wrapping_add(tcp.sequence_len());
    // A segment far from what was seen (a fake with a wrong number) must not move it.
    let ahead = end.wrapping_sub(way.next_seq);
    if !way.has_seq || (ahead < 1 << 20) {
        (way.next_seq, way.has_seq) = (end, true);
    }
}

impl Engine {
    /// Tells all rules that want an event of this kind.
    pub(super) fn tell(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        seed: u64,
        event: &Event<'_>,
    ) {
        let Some(flow) = self.table.at_mut(at) else { return };
        learn(flow, event, self.summarise);
        let kinds = interest_of(event, flow);
        if flow.exempt || !self.wanted.any(kinds) {
            return;
        }
        for index in 0..self.rules.len() {
            let rule = &self.rules[index];
            let may = flow.armed || rule.interest.has(Interest::UNARMED_TOO);
            if may && !rule.retired && rule.interest.any(kinds) && !flow.exempt {
                tell_one(&mut self.rules, index, flow, now, direction, seed, event, &mut self.decided);
            }
        }
    }

    /// Tells the rules that want each packet of this flow.
    pub(super) fn tell_watchers(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        seed: u64,
        packet: &PacketView<'_>,
    ) {
        let Some(flow) = self.table.at_mut(at) else { return };
        let has_data = !packet.payload().is_empty();
        let index_of_data = *flow.data_packets.of(direction);
        for index in 0..self.rules.len() {
            let rule = &self.rules[index];
            // A flow may have been disarmed after its watchers were named.
            let may = flow.armed || rule.interest.has(Interest::UNARMED_TOO);
            if rule.watch_bit & flow.watchers == 0 || rule.retired || !may {
                continue;
            }
            if rule.interest.has(Interest::PACKET) {
                let event = Event::Packet { packet };
                tell_one(&mut self.rules, index, flow, now, direction, seed, &event, &mut self.decided);
            } else if has_data {
                let event = Event::Data { packet, index: index_of_data };
                tell_one(&mut self.rules, index, flow, now, direction, seed, &event, &mut self.decided);
            }
        }
    }

    /// Installs on a flow what earlier or other flows left behind.
    pub(super) fn inherit(&mut self, at: usize, now: Instant) {
        let generation = self.residuals.generation();
        let Some(flow) = self.table.at_mut(at) else { return };
        flow.generation = generation;
        if self.residuals.is_empty() {
            return;
        }
        for (scope, entry) in self.residuals.matching(flow.inside(), flow.outside(), flow.key.protocol) {
            let hot = flow.hot.get_or_insert_default();
            let same = |known: &Installed| {
                known.rule == entry.rule && known.scope == scope && known.action.is_like(&entry.action)
            };
            let known = hot.installed.iter().any(same);
            if holds(now, entry.from, entry.until, entry.lasting) && !known {
                hot.installed.push(Installed {
                    rule: entry.rule,
                    scope,
                    action: entry.action,
                    from: entry.from,
                    until: entry.until,
                    lasting: entry.lasting,
                    refresh: entry.refresh,
                    seen: 0,
                    buckets: PerWay::default(),
                    told: false,
                    inherited: entry.origin != flow.key,
                    evidence: None,
                });
            }
        }
    }

    /// Carries out what was decided about this packet and what is installed on its flow.
    pub(super) fn obey(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> (Verdict, Vec<(u16, Forge)>) {
        let mut forge = Vec::new();
        let mut drop_this = None;
        // What is over goes first: a trigger just after the end of its rule's time begins it anew.
        self.end_installed(at, now);
        let first_new =
            self.table.at(at).and_then(|flow| flow.hot.as_ref()).map_or(0, |hot| hot.installed.len());
        let mut spare = Vec::new();
        for (rule, decision) in core::mem::take(&mut self.decided) {
            forge.extend(decision.forge.iter().map(|forge| (rule, forge.clone())));
            if decision.drop_this {
                drop_this = Some(rule);
            }
            let from_this = decision.from_this;
            if let Some(place) = self.install(at, now, direction, rule, decision, context)
                && !from_this
            {
                spare.push(place);
            }
        }
        let verdict = self.deal(at, now, direction, packet, first_new, &spare, context);
        match drop_this {
            Some(rule) if verdict != Verdict::Drop => {
                self.tell_deed(at, now, direction, rule, ActKind::Dropped, Evidence::default(), context);
                (Verdict::Drop, forge)
            }
            _ => (verdict, forge),
        }
    }

    /// Puts a decision in force. Answers where it stands among the flow's actions, when it is new there.
    fn install(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        rule: u16,
        decision: Decision,
        context: &mut Context<'_>,
    ) -> Option<usize> {
        // What begins at once holds for packets of an earlier time, too, when the clock goes back.
        let from = if decision.after.is_zero() { Instant::ZERO } else { now + decision.after };
        let lasting =
            decision.lasting.unwrap_or(if decision.scope == Scope::Flow { Duration::MAX } else { DAY });
        let until = now + decision.after + lasting;
        let flow = self.table.at_mut(at)?;
        let (inside, outside, protocol) = (flow.inside(), flow.outside(), flow.key.protocol);
        let key = flow.key;
        let hot = flow.hot.get_or_insert_default();
        let same = |known: &&mut Installed| {
            known.rule == rule && known.scope == decision.scope && known.action.is_like(&decision.action)
        };
        if let Some(known) = hot.installed.iter_mut().find(same) {
            if known.refresh == Refresh::Trigger {
                known.until = known.until.max(until);
                let end = known.until;
                self.residuals.extend(&ResidualKey::of(decision.scope, inside, outside, protocol), rule, end);
            }
            return None;
        }
        let place = hot.installed.len();
        // A budget does nothing until it is spent: only then it has triggered.
        let dormant = matches!(decision.action, Action::Budget { .. });
        if decision.action != Action::Nothing {
            if decision.scope != Scope::Flow {
                let residual = Residual {
                    id: 0,
                    rule,
                    action: decision.action.clone(),
                    from,
                    until,
                    lasting,
                    refresh: decision.refresh,
                    origin: key,
                };
                self.residuals.add(ResidualKey::of(decision.scope, inside, outside, protocol), residual);
            }
            hot.installed.push(Installed {
                rule,
                scope: decision.scope,
                action: decision.action,
                from,
                until,
                lasting,
                refresh: decision.refresh,
                seen: 0,
                buckets: PerWay::default(),
                told: false,
                inherited: false,
                evidence: dormant.then(|| Box::new(decision.evidence.clone())),
            });
        }
        if !dormant {
            self.stats.triggered += 1;
            self.tell_deed(at, now, direction, rule, ActKind::Triggered, decision.evidence, context);
        }
        Some(place)
    }

    /// Lets the flow's actions deal with the packet; the first that does not pass it wins.
    #[expect(clippy::too_many_arguments, reason = "one packet's circumstances")]
    fn deal(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        first_new: usize,
        spare: &[usize],
        context: &mut Context<'_>,
    ) -> Verdict {
        let Some(flow) = self.table.at_mut(at) else { return Verdict::Pass };
        let (inside, outside, protocol) = (flow.inside(), flow.outside(), flow.key.protocol);
        let mut at_hand = AtHand {
            now,
            direction,
            size: packet.bytes().len(),
            has_data: !packet.payload().is_empty(),
            packets: flow.packet_count(),
            bytes: flow.bytes,
            key: flow.key,
            seed: context.seed,
            rule: "",
        };
        let Some(hot) = &mut flow.hot else { return Verdict::Pass };
        let mut outcome = None;
        for (place, installed) in hot.installed.iter_mut().enumerate() {
            if place >= first_new && spare.contains(&place) {
                continue;
            }
            at_hand.rule = &self.rules[usize::from(installed.rule)].name;
            // A packet that an earlier action took does not reach the next one's bucket or count.
            let deal = if outcome.is_none() { installed.deal(&at_hand) } else { Deal::Pass };
            if installed.refresh == Refresh::Packet && now >= installed.from {
                installed.until = now + installed.lasting;
                if installed.scope != Scope::Flow {
                    let key = ResidualKey::of(installed.scope, inside, outside, protocol);
                    self.residuals.extend(&key, installed.rule, installed.until);
                }
            }
            if deal != Deal::Pass && outcome.is_none() {
                let first = !core::mem::replace(&mut installed.told, true);
                let slept = installed.evidence.take();
                outcome = Some((deal, installed.rule, first, installed.inherited, slept));
            }
        }
        let Some((deal, rule, first, inherited, slept)) = outcome else { return Verdict::Pass };
        if let Some(evidence) = slept {
            self.stats.triggered += 1;
            self.tell_deed(at, now, direction, rule, ActKind::Triggered, *evidence, context);
        }
        let (verdict, kind) = self.carry_out(deal, now, direction, packet, outside);
        if first {
            let detail = if inherited { "still in force from another flow" } else { "" };
            let evidence = Evidence { detail: detail.to_owned(), ..Evidence::default() };
            self.tell_deed(at, now, direction, rule, kind, evidence, context);
        }
        verdict
    }

    fn carry_out(
        &mut self,
        deal: Deal,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        outside: okno_wire::Endpoint,
    ) -> (Verdict, ActKind) {
        match deal {
            Deal::Pass => (Verdict::Pass, ActKind::Triggered),
            Deal::Drop => (Verdict::Drop, ActKind::Dropped),
            Deal::Police => (Verdict::Drop, ActKind::Policed),
            // What is no TCP segment cannot become a RST: it is dropped.
            Deal::Reset => {
                (forge::reset_of(packet).map_or(Verdict::Drop, Verdict::Rewrite), ActKind::Rewritten)
            }
            Deal::Delay(time) => {
                let held = self.waiting.hold(now + time, direction, packet.bytes().to_vec());
                (if held { Verdict::Hold } else { Verdict::Drop }, ActKind::Delayed)
            }
            Deal::Redirect(mut to) => {
                if direction == Direction::Down {
                    return (Verdict::Pass, ActKind::Rewritten);
                }
                if to.port == 0 {
                    to.port = outside.port;
                }
                let answers = FlowKey::of(to, packet.source_end(), packet.protocol).0;
                self.translations.touch(now, answers, || outside);
                (Verdict::Rewrite(forge::readdressed(packet, None, Some(to))), ActKind::Rewritten)
            }
        }
    }

    /// Takes off what is over; a residual that was refreshed elsewhere goes on.
    fn end_installed(&mut self, at: usize, now: Instant) {
        let Some(flow) = self.table.at_mut(at) else { return };
        let (inside, outside, protocol) = (flow.inside(), flow.outside(), flow.key.protocol);
        let Some(hot) = &mut flow.hot else { return };
        let residuals = &self.residuals;
        hot.installed.retain_mut(|installed| {
            if holds(now, installed.from, installed.until, installed.lasting) {
                return true;
            }
            let key = ResidualKey::of(installed.scope, inside, outside, protocol);
            let (from, lasting) = (installed.from, installed.lasting);
            let extended =
                residuals.until(&key, installed.rule).filter(|until| holds(now, from, *until, lasting));
            if let Some(until) = extended.filter(|_| installed.scope != Scope::Flow) {
                installed.until = until;
                return true;
            }
            false
        });
        if hot.installed.is_empty() && hot.slots.is_empty() {
            flow.hot = None;
        }
    }

    /// Makes the packets that decisions about `packet` asked for.
    pub(super) fn forge(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        forge: Vec<(u16, Forge)>,
        context: &mut Context<'_>,
    ) {
        let sent = packet.tcp().map(|tcp| (direction, tcp.seq().wrapping_add(tcp.sequence_len())));
        for (rule, forge) in forge {
            let Some(flow) = self.table.at(at) else { return };
            context.effects.injections.push(forge::packet(flow, &forge, sent));
            self.stats.injected += 1;
            self.tell_deed(at, now, direction, rule, ActKind::Injected, Evidence::default(), context);
        }
    }

    /// Writes a deed into the truth log and the flow's memory: the first of each kind and rule.
    #[expect(clippy::too_many_arguments, reason = "the parts of an act")]
    fn tell_deed(
        &mut self,
        at: usize,
        now: Instant,
        direction: Direction,
        rule: u16,
        kind: ActKind,
        evidence: Evidence,
        context: &mut Context<'_>,
    ) {
        let Some(flow) = self.table.at_mut(at) else { return };
        let packet = flow.packet_count();
        let known = flow.known.get_or_insert_default();
        let told = known.deeds.iter().any(|deed| deed.rule == rule && deed.kind == kind);
        if told || known.deeds.len() >= MAX_DEEDS {
            return;
        }
        let mut evidence = evidence;
        if evidence.name.len() > kept(&evidence.name).len() {
            evidence.name = kept(&evidence.name).to_owned();
        }
        known.deeds.push(Deed { rule, kind, packet, at: now, evidence: evidence.clone() });
        let rule = &self.rules[usize::from(rule)];
        context.effects.acts.push(Act {
            at: now,
            rule: rule.name.clone(),
            kind,
            mechanism: rule.technique.mechanism(),
            flow: flow.key,
            direction,
            packet,
            evidence,
        });
    }

    /// Ends residuals whose time is over, and says so.
    pub(super) fn expire_residuals(&mut self, now: Instant, context: &mut Context<'_>) {
        let rules = &self.rules;
        self.residuals.expire(now, |entry| {
            let rule = &rules[usize::from(entry.rule)];
            context.effects.acts.push(Act {
                at: entry.until,
                rule: rule.name.clone(),
                kind: ActKind::Expired,
                mechanism: rule.technique.mechanism(),
                flow: entry.origin,
                direction: Direction::Up,
                packet: 0,
                evidence: Evidence::default(),
            });
        });
    }

    /// A flow is over.
    pub(super) fn close(&mut self, mut flow: Flow) {
        if let Some(inspection) = &flow.inspection {
            self.account(inspection.memory(), 0);
        }
        if self.wanted.has(Interest::CLOSED) && !flow.exempt {
            let (now, by) = (flow.last, flow.opened_by);
            let mut nothing = Vec::new();
            for index in 0..self.rules.len() {
                let rule = &self.rules[index];
                let may = flow.armed || rule.interest.has(Interest::UNARMED_TOO);
                if may && !rule.retired && rule.interest.has(Interest::CLOSED) {
                    tell_one(&mut self.rules, index, &mut flow, now, by, 0, &Event::Closed, &mut nothing);
                }
            }
        }
        if self.summarise {
            let summary = self.summarise_flow(flow);
            self.summaries.push(summary);
        }
    }

    fn summarise_flow(&self, flow: Flow) -> FlowSummary {
        let (inside, outside) = (flow.inside(), flow.outside());
        let known: Known = flow.known.map_or_else(Known::default, |known| *known);
        let deeds = known.deeds.into_iter().map(|deed| {
            let rule = &self.rules[usize::from(deed.rule)];
            FlowDeed {
                rule: rule.name.clone(),
                mechanism: rule.technique.mechanism(),
                kind: deed.kind,
                packet: deed.packet,
                at: deed.at,
                evidence: deed.evidence,
            }
        });
        FlowSummary {
            key: flow.key,
            inside,
            outside,
            opened_by: flow.opened_by,
            opened: flow.opened,
            last: flow.last,
            packets: flow.packets,
            bytes: flow.bytes,
            protocol: flow.protocol,
            version: known.version,
            name: known.name,
            fingerprint: known.fingerprint,
            malformed: known.malformed,
            deeds: deeds.collect(),
        }
    }
}
