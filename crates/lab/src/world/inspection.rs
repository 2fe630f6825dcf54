//! A middlebox as a node: a bump in the wire with a subscriber's side (port 0) and a core's side (port 1).
//!
//! It takes no TTL and has no address, as the real ones do not (IMC'22,
//! https://ensa.fi/papers/tspu-imc22.pdf, [P], high). What it does is the engine's matter; the node adds how
//! boxes fail: bypass, overload, sight of one way only.

use okno_censor::{Act, Context, Direction, Effects, Middlebox, Verdict};
use okno_wire::{Instant, PacketView};

use super::queue::Event;
use super::{NodeId, Packet, Wires, chance};

/// How a box works at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum BoxMode {
    /// every packet is inspected
    #[default]
    Active,
    /// no packet is: fail-open, or switched off
    Bypass,
    /// too much traffic: a packet is lost with the first probability, passes uninspected with the second
    Overload {
        /// lost
        drop: f64,
        /// passes uninspected
        bypass: f64,
    },
}

/// What a box did to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoxCount {
    /// packets that reached the engine
    pub inspected: u64,
    /// packets that passed uninspected
    pub bypassed: u64,
    /// packets that the engine dropped or held
    pub dropped: u64,
    /// packets that the engine changed
    pub rewritten: u64,
    /// packets that the engine forged or let go late
    pub injected: u64,
    /// packets lost to overload
    pub overloaded: u64,
}

/// A deed and the box that did it: the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// the box
    pub node: NodeId,
    /// what it did
    pub act: Act,
}

/// A middlebox between two links.
pub(crate) struct Inspection {
    pub engine: Box<dyn Middlebox>,
    pub mode: BoxMode,
    /// sees packets from the core; boxes on asymmetric paths do not
    pub sees_down: bool,
    pub count: BoxCount,
    seed: u64,
    effects: Effects,
    timer: Option<Instant>,
    seen: u64,
}

impl Inspection {
    pub fn new(engine: Box<dyn Middlebox>, seed: u64) -> Self {
        Self {
            engine,
            mode: BoxMode::Active,
            sees_down: true,
            count: BoxCount::default(),
            seed,
            effects: Effects::default(),
            timer: None,
            seen: 0,
        }
    }

    pub fn arrive(&mut self, node: NodeId, wires: &mut Wires, port: u16, mut packet: Packet) {
        let direction = if port == 0 { Direction::Up } else { Direction::Down };
        self.seen += 1;
        if self.misses(direction) {
            self.count.bypassed += 1;
            return wires.send(node, 1 - port, packet);
        }
        if let BoxMode::Overload { drop, .. } = self.mode
            && chance::happens(drop, chance::hash(self.seed, &[2, self.seen]))
        {
            self.count.overloaded += 1;
            return;
        }
        self.count.inspected += 1;
        let mut context = Context { seed: self.seed, effects: &mut self.effects };
        let verdict = match PacketView::parse(&packet.bytes) {
            Ok(view) => self.engine.on_packet(wires.now, direction, &view, &mut context),
            Err(_) => Verdict::Pass,
        };
        if wires.watches_box(node) {
            let comment = comment(&self.effects.acts, &verdict);
            wires.record_box(node, direction, &packet.bytes, comment);
        }
        match verdict {
            Verdict::Pass => wires.send(node, 1 - port, packet),
            Verdict::Drop | Verdict::Hold => self.count.dropped += 1,
            Verdict::Rewrite(bytes) => {
                self.count.rewritten += 1;
                packet.bytes = bytes;
                packet.note = Some(format!("rewritten by {}", wires.name(node)).into());
                wires.send(node, 1 - port, packet);
            }
        }
        self.flush(node, wires);
    }

    /// Whether the packet passes without the engine seeing it.
    fn misses(&self, direction: Direction) -> bool {
        match self.mode {
            BoxMode::Bypass => true,
            _ if direction == Direction::Down && !self.sees_down => true,
            BoxMode::Overload { bypass, .. } => {
                chance::happens(bypass, chance::hash(self.seed, &[1, self.seen]))
            }
            BoxMode::Active => false,
        }
    }

    pub fn timer(&mut self, node: NodeId, wires: &mut Wires) {
        if self.timer != Some(wires.now) {
            return;
        }
        self.timer = None;
        let mut context = Context { seed: self.seed, effects: &mut self.effects };
        self.engine.on_timer(wires.now, &mut context);
        self.flush(node, wires);
    }

    /// Replaces the engine; what the old one held is lost with it.
    pub fn replace(&mut self, engine: Box<dyn Middlebox>) {
        self.engine = engine;
        self.timer = None;
    }

    fn flush(&mut self, node: NodeId, wires: &mut Wires) {
        for injection in self.effects.injections.drain(..) {
            self.count.injected += 1;
            let port = match injection.direction {
                Direction::Up => 1,
                Direction::Down => 0,
            };
            let note = Some(format!("sent by {}", wires.name(node)).into());
            let packet = Packet { bytes: injection.packet, note };
            if injection.delay.is_zero() {
                wires.send(node, port, packet);
            } else {
                let at = wires.now + injection.delay;
                wires.queue.push(at, Event::Leave { node, port, packet });
            }
        }
        for act in self.effects.acts.drain(..) {
            wires.deeds.push(Deed { node, act });
        }
        if let Some(at) = self.engine.next_timer() {
            // A timer that is overdue fires after the events of this moment.
            let at = at.max(wires.now);
            if self.timer.is_none_or(|pending| at < pending) {
                self.timer = Some(at);
                wires.queue.push(at, Event::BoxTimer { node });
            }
        }
    }
}

/// What a trace says at the packet on which a box acted.
fn comment(acts: &[Act], verdict: &Verdict) -> Option<String> {
    if acts.is_empty() && *verdict == Verdict::Pass {
        return None;
    }
    let mut text = match verdict {
        Verdict::Pass => String::from("passed"),
        Verdict::Drop => String::from("dropped"),
        Verdict::Rewrite(_) => String::from("rewritten"),
        Verdict::Hold => String::from("held"),
    };
    for act in acts {
        text.push_str(&format!("; {:?} {}", act.kind, act.rule));
        for part in [&act.evidence.name, &act.evidence.detail] {
            if !part.is_empty() {
                text.push_str(&format!(" ({part})"));
            }
        }
    }
    Some(text)
}
