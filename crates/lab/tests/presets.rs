//! The eight presets against what eight engines made of 51 captures.
//!
//! A cell is 1 when the engine saw the blocked name. Every cell has to agree, except for those that a preset
//! lists as the other engine's bug, and those have to disagree: a listed bug that agrees is no bug.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use okno_censor::presets::Preset;
use okno_censor::{
    Action, Context, Decision, Decisions, Direction, Effects, Engine, Event, Evidence, FlowView, Interest,
    Middlebox, Technique,
};
use okno_lab::capture::Capture;
use okno_model::Mechanism;
use okno_wire::PacketView;

const NAME: &str = "www.facebook.com";

/// Acts on the name wherever the switches let it be seen.
#[derive(Debug)]
struct Listed;

impl Technique for Listed {
    fn rule(&self) -> &str {
        "listed"
    }

    fn mechanism(&self) -> Mechanism {
        Mechanism::parse("tls.timeout.sni").unwrap()
    }

    fn interest(&self) -> Interest {
        Interest::CLIENT_HELLO | Interest::QUIC_INITIAL | Interest::HTTP_REQUEST
    }

    fn on_event(&mut self, _: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let name = match event {
            Event::ClientHello(hello) => hello.name,
            Event::QuicInitial(initial) => initial.hello.map_or("", |hello| hello.name),
            Event::HttpRequest(request) => request.host,
            _ => "",
        };
        if name == NAME {
            decisions.push(Decision::new(Action::Nothing, Evidence::default()));
        }
    }
}

fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from);
    let evasion = root.join("evasion");
    evasion.is_dir().then_some(evasion)
}

/// Whether the preset sees the name in the capture. The side that sends first is the subscriber.
fn sees(preset: &Preset, capture: &Path) -> bool {
    let mut engine = Engine::new(preset.switches.clone(), vec![Box::new(Listed)]);
    let mut effects = Effects::default();
    let mut capture = Capture::open(File::open(capture).unwrap()).unwrap();
    let mut client = None;
    while let Some(packet) = capture.next() {
        let packet = packet.unwrap();
        let Ok(view) = PacketView::parse(packet.ip) else { continue };
        let client = *client.get_or_insert(view.source);
        let direction = if view.source == client { Direction::Up } else { Direction::Down };
        engine.on_packet(packet.at, direction, &view, &mut Context { seed: 0, effects: &mut effects });
    }
    !effects.acts.is_empty()
}

#[test]
fn switches_alone_reproduce_eight_engines_on_every_capture_of_the_matrix() {
    let Some(folder) = shared() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let matrix = std::fs::read_to_string(folder.join("matrix.tsv")).unwrap();
    let mut lines = matrix.lines();
    let engines: Vec<&str> = lines.next().unwrap().split('\t').skip(1).collect();
    let presets: BTreeMap<String, Preset> =
        Preset::all().into_iter().map(|preset| (preset.name.clone(), preset)).collect();
    let (mut cells, mut wrong, mut stale) = (0, Vec::new(), Vec::new());
    for line in lines {
        let mut fields = line.split('\t');
        let case = fields.next().unwrap();
        for (engine, cell) in engines.iter().zip(fields) {
            let preset = &presets[*engine];
            let seen = sees(preset, &folder.join(format!("{case}.pcap")));
            let listed = preset.deviation.iter().any(|deviation| deviation.case == case);
            cells += 1;
            match (seen == (cell == "1"), listed) {
                (false, false) => wrong.push(format!("{case} {engine}: {cell}, here {}", u8::from(seen))),
                (true, true) => stale.push(format!("{case} {engine}")),
                _ => {}
            }
        }
    }
    assert_eq!(cells, 51 * 8);
    assert!(wrong.is_empty(), "{} of {cells} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(stale.is_empty(), "listed as a bug, but reproduced: {stale:?}");
}
