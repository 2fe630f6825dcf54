//! Boxes that do everything, and traffic out of any bytes: shared by the hostile tests and the fuzz target.

use core::time::Duration;

use okno_censor::presets::Preset;
use okno_censor::profile::{BUILTIN, builtin};
use okno_censor::{
    Action, Context, Decision, Decisions, Direction, Effects, Engine, Event, Evidence, FlowView, Forge,
    Interest, Middlebox, Rate, Refresh, Scope, Switches, Technique, Ways,
};
use okno_model::Mechanism;
use okno_wire::{Instant, PacketView};

/// Hears everything and does, by turns, everything that can be decided.
#[derive(Debug, Default)]
struct Everything(usize);

impl Technique for Everything {
    fn rule(&self) -> &str {
        "everything"
    }

    fn mechanism(&self) -> Mechanism {
        Mechanism::parse("tls").expect("in the taxonomy")
    }

    fn interest(&self) -> Interest {
        Interest(u32::MAX)
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, _: &Event<'_>, decisions: &mut Decisions) {
        self.0 += 1;
        *flow.slot += 1;
        let turn = self.0;
        let rate = Some(Rate { bits_per_second: 8_000, burst_bytes: 2_000 });
        let action = match turn % 9 {
            0 => Action::Nothing,
            1 => Action::Drop { ways: Ways::Up, after: 2, pass_ppm: 500_000, data_only: true },
            2 => Action::RewriteToReset { way: flow.direction },
            3 => Action::Police { up: rate, down: None },
            4 => Action::Shape { up: None, down: rate, queue_bytes: 20_000 },
            5 => Action::Delay { ways: Ways::Both, time: Duration::from_millis(50) },
            6 => Action::Budget { packets: Some(9), bytes_up: Some(3_000), bytes_down: None },
            7 => Action::Redirect { to: "198.51.100.53:0".parse().expect("an end") },
            _ => return if turn % 90 == 8 { decisions.exempt_flow() } else { decisions.ignore_flow() },
        };
        let scopes = [Scope::Flow, Scope::FourTuple, Scope::ThreeTuple, Scope::HostPair, Scope::Remote];
        let refreshes = [Refresh::Never, Refresh::Trigger, Refresh::Packet];
        let forges = [
            Forge::reset(Direction::Up),
            Forge::segment(Direction::Down, 0x19, b"page".to_vec()),
            Forge::datagram(Direction::Down, b"answer".to_vec()),
        ];
        let mut decision = Decision::new(action, Evidence::default())
            .on(scopes[turn % scopes.len()])
            .lasting(Duration::from_secs(turn as u64 % 300))
            .after(Duration::from_secs(turn as u64 % 3))
            .refreshed_by(refreshes[turn % 3])
            .forging(forges[turn % 3].clone());
        (decision.drop_this, decision.from_this) = (turn % 5 == 0, turn % 2 == 0);
        decisions.push(decision);
    }
}

/// How many boxes there are.
pub fn count() -> usize {
    Preset::all().len() + BUILTIN.len() + 1
}

/// One of the boxes, with its name: presets with a technique that does everything, profiles with their own,
/// and the default switches.
pub fn one(at: usize) -> (String, Engine) {
    let all = || vec![Box::new(Everything::default()) as Box<dyn Technique>];
    let presets = Preset::all();
    if let Some(preset) = presets.get(at) {
        return (preset.name.clone(), Engine::new(preset.switches.clone(), all()).with_summaries());
    }
    match BUILTIN.get(at - presets.len()) {
        Some((name, _)) => {
            ((*name).to_owned(), builtin(name).expect("shipped").engine().expect("a test builds each"))
        }
        None => ("default".to_owned(), Engine::new(Switches::default(), all())),
    }
}

/// Sends packets through one box. The first byte chooses the box; then, again and again: a byte whose lowest
/// bit is the way and whose others are a step in time, two bytes of length, and the packet.
pub fn traffic(bytes: &[u8]) {
    let Some((&choice, mut rest)) = bytes.split_first() else { return };
    let (_, mut engine) = one(usize::from(choice) % count());
    let mut effects = Effects::default();
    let mut now = Instant::from_secs(1_700_000_000);
    while let &[step, low, high, ref more @ ..] = rest {
        let len = usize::from(u16::from_le_bytes([low, high])).min(more.len());
        let (packet, next) = more.split_at(len);
        rest = next;
        now = now + Duration::from_millis(1 << (step >> 3));
        let direction = if step & 1 == 0 { Direction::Up } else { Direction::Down };
        let mut context = Context { seed: 7, effects: &mut effects };
        while engine.next_timer().is_some_and(|due| due <= now) {
            engine.on_timer(now, &mut context);
        }
        if let Ok(view) = PacketView::parse(packet) {
            engine.on_packet(now, direction, &view, &mut context);
        }
        effects.injections.clear();
        effects.acts.clear();
    }
    engine.finish();
    assert!(engine.stats().memory_bytes < 8 << 20);
}
