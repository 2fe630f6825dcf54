//! The engine: one box on the path, which carries out what its techniques decide.
//!
//! Order for each packet: fragments, checks, flow, residuals, inspection, techniques, actions, verdict. A
//! packet that fails a check is not believed: it changes no state and is not looked into, but what is
//! already decided about its flow holds for it. Forged packets are made after the verdict, so that they
//! carry the sequence numbers which the receivers then expect.

mod act;
mod flow;
mod forge;
mod stats;
mod waiting;

use std::sync::Arc;

use okno_wire::{Endpoint, FlowKey, Instant, PacketView, Transport};

use crate::fragments::{FragmentQueue, Queued};
use crate::memory::Memory;
use crate::middlebox::{Context, Direction, Injection, Middlebox, Verdict};
use crate::residual::Residuals;
use crate::summary::FlowSummary;
use crate::switches::{Defragmentation, Switches};
use crate::technique::{Decision, Interest, Technique};
use crate::track::{Flow, FlowTable};

pub use stats::Stats;
use waiting::Waiting;

/// How a box works as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// as its techniques say
    #[default]
    Normal,
    /// bypassed: everything passes and nothing is seen (training material of 2021: the bypass switch opens
    /// when heartbeats stop; https://github.com/DanielLavrushin/tspu-docs, tag V medium)
    FailOpen,
    /// overloaded: this many of a million packets are lost, the rest is treated as ever
    Overload {
        /// chance of each packet to be lost, in millionths
        drop_ppm: u32,
    },
}

/// A technique with what the engine keeps about it.
#[derive(Debug)]
struct Rule {
    technique: Box<dyn Technique>,
    name: String,
    interest: Interest,
    /// bit among those that hear of each packet
    watch_bit: u64,
    /// no longer asked; what it decided stays
    retired: bool,
}

/// Packets of one way rewritten for a far end that was replaced: the end that was asked for.
type Translations = Memory<FlowKey, Endpoint>;

/// A box on the path.
#[derive(Debug)]
pub struct Engine {
    switches: Arc<Switches>,
    rules: Vec<Rule>,
    /// union of the interests of rules in force
    wanted: Interest,
    /// the same for flows that are not armed
    wanted_unarmed: Interest,
    recognise_all: bool,
    summarise: bool,
    mode: Mode,
    /// the packet at hand came in fragments that are not read
    unread: bool,
    table: FlowTable,
    fragments: FragmentQueue,
    residuals: Residuals,
    translations: Translations,
    waiting: Waiting,
    summaries: Vec<FlowSummary>,
    stats: Stats,
    /// decisions of the packet at hand, by rule
    decided: Vec<(u16, Decision)>,
    /// second of the last look at what expired
    second: u64,
    /// bytes of all inspections
    stream_bytes: usize,
}

impl Engine {
    /// Techniques that can hear of each packet or each data packet; a profile with more is refused.
    pub const MOST_WATCHERS: usize = 64;

    /// A box that looks as `switches` say and does what `techniques` decide, in their order.
    pub fn new(switches: Switches, techniques: Vec<Box<dyn Technique>>) -> Self {
        let limits = &switches.limits;
        let day = core::time::Duration::from_secs(86_400);
        let mut engine = Self {
            table: FlowTable::new(limits.flows as usize),
            fragments: FragmentQueue::new(),
            residuals: Residuals::new(limits.residuals as usize),
            translations: Memory::new(day, limits.flows as usize),
            waiting: Waiting::new(limits.waiting_bytes),
            switches: Arc::new(switches),
            rules: Vec::new(),
            wanted: Interest::NONE,
            wanted_unarmed: Interest::NONE,
            recognise_all: false,
            summarise: false,
            mode: Mode::Normal,
            unread: false,
            summaries: Vec::new(),
            stats: Stats::default(),
            decided: Vec::new(),
            second: 0,
            stream_bytes: 0,
        };
        engine.add(techniques);
        engine
    }

    /// Recognise every flow, whether or not a technique asks for it, and keep a summary of each: for
    /// replay. Summaries have to be drained.
    #[must_use]
    pub const fn with_summaries(mut self) -> Self {
        self.recognise_all = true;
        self.summarise = true;
        self
    }

    /// Puts other techniques in force. Flows stay, and so does what was decided about them; bans and blocks
    /// of the old techniques end when `lift` says so.
    pub fn replace_techniques(&mut self, techniques: Vec<Box<dyn Technique>>, lift: bool) {
        for rule in &mut self.rules {
            rule.retired = true;
        }
        let old = self.rules.len() as u16;
        self.add(techniques);
        // Flows under way are heard by the new techniques, too.
        let watchers = |armed: bool| {
            let rules = self.rules.iter().filter(|rule| !rule.retired);
            let heard = rules.filter(|rule| armed || rule.interest.has(Interest::UNARMED_TOO));
            heard.fold(0, |bits, rule| bits | rule.watch_bit)
        };
        let (armed, unarmed) = (watchers(true), watchers(false));
        self.table.for_each(|flow| {
            flow.watchers = if flow.armed { armed } else { unarmed };
            flow.unheard = true;
        });
        if lift {
            self.residuals.retain(|rule| rule >= old);
            self.table.for_each(|flow| {
                flow.exempt = false;
                if let Some(hot) = &mut flow.hot {
                    hot.installed.retain(|installed| installed.rule >= old);
                }
            });
        }
    }

    /// Switches the box as a whole.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// How it looks.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Counters since the start, and what is in memory now.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.flows_open = self.table.len() as u64;
        stats.flows_opened = self.table.opened;
        stats.flows_expired = self.table.expired;
        stats.flows_evicted = self.table.evicted;
        stats.residuals = self.residuals.len() as u64;
        stats.residuals_evicted = self.residuals.evicted();
        stats.packets_discarded_in_fragments = self.fragments.discarded();
        stats.memory_bytes =
            (self.table.memory() + self.stream_bytes + self.fragments.bytes() + self.waiting.bytes()) as u64;
        stats
    }

    /// Summaries of flows that ended since the last call, in the order of their end.
    pub fn drain_flow_summaries(&mut self) -> Vec<FlowSummary> {
        core::mem::take(&mut self.summaries)
    }

    /// Ends all flows, as at the end of a capture.
    pub fn finish(&mut self) {
        for flow in self.table.drain() {
            self.close(flow);
        }
    }

    fn add(&mut self, techniques: Vec<Box<dyn Technique>>) {
        let each_packet = Interest(Interest::DATA.0 | Interest::PACKET.0);
        let mut watchers = 0;
        for technique in techniques {
            let interest = technique.interest();
            let mut watch_bit = 0;
            if interest.any(each_packet) {
                watch_bit = 1_u64 << watchers.min(63);
                watchers += 1;
            }
            let name = technique.rule().to_owned();
            self.rules.push(Rule { technique, name, interest, watch_bit, retired: false });
        }
        let union = |filter: &dyn Fn(&Rule) -> bool| {
            let rules = self.rules.iter().filter(|rule| !rule.retired && filter(rule));
            rules.fold(Interest::NONE, |union, rule| union | rule.interest)
        };
        self.wanted = union(&|_| true);
        self.wanted_unarmed = union(&|rule| rule.interest.has(Interest::UNARMED_TOO));
    }

    /// A fragment: it waits, or with the last one the whole packet is dealt with and the pieces go on.
    fn on_fragment(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Some(fragment) = packet.fragment else { return Verdict::Pass };
        self.stats.fragments += 1;
        match self.fragments.push(now, packet, fragment, &self.switches.fragments) {
            Queued::Held => Verdict::Hold,
            Queued::Discarded(_) => Verdict::Drop,
            Queued::Whole { packet, pieces } => {
                let Ok(view) = PacketView::parse(&packet) else { return Verdict::Drop };
                let inject = |packet| Injection { direction, delay: core::time::Duration::ZERO, packet };
                // Forged packets follow the pieces, which are the packet at hand.
                let before = core::mem::take(&mut context.effects.injections);
                self.unread = self.switches.fragments.mode == Defragmentation::HoldUnread;
                let verdict = self.on_whole(now, direction, &view, context);
                self.unread = false;
                let forged = core::mem::replace(&mut context.effects.injections, before);
                let dropped = verdict == Verdict::Drop;
                match verdict {
                    Verdict::Pass => context.effects.injections.extend(pieces.into_iter().map(inject)),
                    Verdict::Rewrite(packet) => context.effects.injections.push(inject(packet)),
                    Verdict::Drop | Verdict::Hold => {}
                }
                context.effects.injections.extend(forged);
                if dropped { Verdict::Drop } else { Verdict::Hold }
            }
        }
    }

    /// Whether the packet passes the checks that the switches ask for.
    fn believes(&self, packet: &PacketView<'_>) -> bool {
        let ip = &self.switches.ip;
        let extensions = packet.extensions;
        let has_extensions = extensions.hop_by_hop || extensions.destination || extensions.routing;
        if packet.ttl < ip.ttl_floor
            || (has_extensions && !ip.v6_extensions)
            || (ip.verify_checksum && !packet.ip_checksum_holds())
        {
            return false;
        }
        match packet.transport {
            Transport::Tcp(tcp) => {
                let switches = &self.switches.tcp;
                let checksum = !switches.verify_checksum || packet.transport_checksum_holds();
                checksum && flow::segment_is_sane(&tcp, switches)
            }
            Transport::Udp(_) => !self.switches.udp.verify_checksum || packet.transport_checksum_holds(),
            Transport::Icmp(_) | Transport::Opaque(_) => true,
            Transport::Malformed(..) => false,
        }
    }

    /// Counts what inspections keep.
    pub(super) const fn account(&mut self, before: usize, after: usize) {
        self.stream_bytes = (self.stream_bytes + after).saturating_sub(before);
    }

    fn expire(&mut self, now: Instant, context: &mut Context<'_>) {
        self.second = now.nanos() / 1_000_000_000;
        let mut gone: Vec<Flow> = Vec::new();
        self.table.expire(now, &self.switches.timeouts, self.stats.packets, |flow| gone.push(flow));
        for flow in gone {
            self.close(flow);
        }
        self.expire_residuals(now, context);
        let timeout = core::time::Duration::from_secs(u64::from(self.switches.fragments.timeout_s));
        self.fragments.expire(now, timeout);
    }
}

impl Middlebox for Engine {
    fn on_packet(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: &PacketView<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.stats.packets += 1;
        self.stats.bytes += packet.bytes().len() as u64;
        match self.mode {
            Mode::Normal => {}
            Mode::FailOpen => return Verdict::Pass,
            Mode::Overload { drop_ppm } => {
                if crate::chance::coin(context.seed, "overload", &self.stats.packets, drop_ppm) {
                    self.stats.dropped += 1;
                    return Verdict::Drop;
                }
            }
        }
        if now.nanos() / 1_000_000_000 != self.second {
            self.expire(now, context);
        }
        if packet.source.is_ipv6() && !self.switches.ip.v6 {
            return Verdict::Pass;
        }
        let verdict = match (packet.fragment, self.switches.fragments.mode) {
            (None, _) => self.on_whole(now, direction, packet, context),
            (Some(_), Defragmentation::Hold | Defragmentation::HoldUnread) => {
                self.on_fragment(now, direction, packet, context)
            }
            (Some(fragment), Defragmentation::InspectFirst) if fragment.offset == 0 => {
                self.on_whole(now, direction, packet, context)
            }
            (Some(_), _) => Verdict::Pass,
        };
        self.stats.count(&verdict);
        verdict
    }

    fn on_timer(&mut self, now: Instant, context: &mut Context<'_>) {
        self.waiting.release(now, context.effects);
    }

    fn next_timer(&self) -> Option<Instant> {
        self.waiting.next()
    }
}

#[cfg(test)]
#[path = "../engine_tests.rs"]
mod tests;
